/* examples/rfsrun.c with mappings that have no id 0.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "idmap.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USER = 12345 };

/* Returns rfsrun's exit status. The output of rfsrun and of the container is in work/output. */
static int rfsrun(json_object *spec, uid_t user, const char *option)
{
    const char *program = getenv("RFSRUN");
    if (!program)
        skip_case("rfsrun was not built");
    unlink(in_work("bundle/config.json"));
    make_file(in_work("bundle/config.json"), json_object_to_json_string(spec));
    unlink(in_work("output"));
    pid_t pid = fork();
    int status;
    REQUIRE(pid >= 0);
    if (pid == 0) {
        int output = open(in_work("output"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (dup2(input, 0) != 0 || dup2(output, 1) != 1 || dup2(output, 2) != 2
            || (user && (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0
                         || setresuid(user, user, user) != 0)))
            _exit(124);
        execl(program, program, option ? option : bundle(), option ? bundle() : (char *)NULL, (char *)NULL);
        _exit(124);
    }
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void check_runs(json_object *spec, uid_t user, const char *option)
{
    int status = rfsrun(spec, user, option);
    char *output = read_all(AT_FDCWD, in_work("output"));
    CHECK_THAT(status == 0, "rfsrun: %d: %s", status, output);
    free(output);
}

/* runc's bundle as 1000:1001, which are `uid` and `gid` of the host. Its script looks at itself. */
static json_object *spec_for(uid_t uid, gid_t gid)
{
    char map[128];
    make_image();
    owned_by(uid);
    json_object *spec = default_spec("runc");
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    snprintf(map, sizeof map, "[{'containerID': 1000, 'hostID': %u, 'size': 1}]", uid);
    spec_set(spec, "linux.uidMappings", map);
    snprintf(map, sizeof map, "[{'containerID': 1001, 'hostID': %u, 'size': 1}]", gid);
    spec_set(spec, "linux.gidMappings", map);
    spec_set(spec, "root.readonly", "false");
    spec_set(spec, "process.user", "{'uid': 1000, 'gid': 1001}");
    spec_set(spec, "process.args", "['/bin/sh', '-ec', 'b=/bin/busybox; [ $($b id -u):$($b id -g) = 1000:1001 ]; "
             "$b touch /tmp/made /dev/shm/made; [ $($b stat -c %u:%g /dev/shm/made) = 1000:1001 ]; "
             "[ $($b stat -c %u:%g /dev) = 1000:1001 ]; [ -c /dev/null ]; : >/dev/null; $b mount | $b grep -q proc']");
    return spec;
}

static void as_root(void)
{
    only_cgroup2();
    json_object *spec = spec_for(101000, 101001);
    make_file(in_work("private/inner/file"), "x");
    REQUIRE(chmod(in_work("private"), 0700) == 0);
    if (!lacking_on_host().call) /* The host's side opens this source. */
        spec_add(spec, "mounts", BIND("private/inner", "/hidden", "'bind', 'ro'"));
    check_runs(spec, 0, NULL);
    CHECK_OWNER(AT_FDCWD, image("tmp/made"), 101000, 101001);
}

static void as_user(void)
{
    only_cgroup2();
    check_runs(spec_for(USER, USER), USER, "--rootless");
    CHECK_OWNER(AT_FDCWD, image("tmp/made"), USER, USER);
}

static void as_nobody(void)
{
    json_object *spec = spec_for(101000, 101001);
    spec_set(spec, "process.user", "{'uid': 0, 'gid': 0}");
    CHECK(rfsrun(spec, 0, NULL) == 125);
    char *output = read_all(AT_FDCWD, in_work("output"));
    static const char says[] = "becoming root, or process.user, in the user namespace: Invalid argument";
    CHECK_THAT(output && strstr(output, says), "%s", output);
    free(output);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"rfsrun: mappings without 0", as_root},
        {"rfsrun: an ordinary user's mapping without 0", as_user},
        {"rfsrun: a user that is not mapped", as_nobody},
    };
    return run_cases(cases, COUNT(cases));
}
