/* Containers with a user namespace, made by root and by an ordinary user; by the library alone and by rfsrun.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nobody in particular. */
enum { USER = 12345, RANGE = 200000 };

struct container {
    rfs_container *container;
    void (*inside)(void);
    struct expected fails;
    char log[4096];
};

static void keep_log(void *userdata, rfs_log_level level, const char *message)
{
    struct container *c = userdata;
    size_t used = strlen(c->log);
    snprintf(c->log + used, sizeof c->log - used, "%s%s\n", level == RFS_LOG_WARNING ? "warning: " : "", message);
}

static void container(void *data)
{
    struct container *c = data;
    rfs_error err = fresh_error();
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = c, .log = keep_log};
    int rc = rfs_prepare(c->container, &callbacks, &err);
    if (c->fails.code) {
        CHECK_ERROR(rc, &err, .code = c->fails.code, .object = c->fails.object, .index = c->fails.index,
                    .says = c->fails.says, .says_too = c->fails.says_too);
        return;
    }
    REQUIRE_SUCCESS(rc, &err);
    REQUIRE_SUCCESS(rfs_finalize(c->container, &err), &err);
    c->inside();
    CHECK_THAT(!c->fails.says || strstr(c->log, c->fails.says), "the log does not say \"%s\": %s", c->fails.says,
               c->log);
    CHECK_THAT(!c->fails.says_too || strstr(c->log, c->fails.says_too), "the log does not say \"%s\": %s",
               c->fails.says_too, c->log);
}

static void run(rfs_plan *plan, unsigned long without, void (*inside)(void), struct expected fails)
{
    struct container c = {.container = container_of(plan), .inside = inside, .fails = fails};
    int userns = -1;
    wait_for_child(start_child((CONTAINER_NAMESPACES | CLONE_NEWUSER) & ~without, container, &c, &userns));
    close(userns);
}

static void inside_default(void)
{
    struct stat st;
    static const unsigned minors[] = {3, 5, 7, 8, 9};
    static const char *const names[] = {"null", "zero", "full", "random", "urandom"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/%s", names[i]);
        CHECK_THAT(stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, minors[i]), "%s", path);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        CHECK_THAT(fd >= 0, "open %s", path);
        close(fd);
    }
    CHECK(stat("/dev/tty", &st) == 0 && st.st_rdev == makedev(5, 0));
    CHECK_OWNER(AT_FDCWD, "/dev/shm", 0, 0);
    CHECK_OWNER(AT_FDCWD, "/dev/pts/ptmx", 0, 0);
    check_hosts_null();
    check_mount("/dev/pts / rw,nosuid,noexec,relatime - devpts devpts rw,gid=100005*");
    check_mount("/proc/timer_list /null ro,nosuid,noexec* - *");
    check_mount("/proc/sys /sys ro,* - proc proc rw");
    int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(pty >= 0 && grantpt(pty) == 0);
    CHECK(open("/etc/x", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
}

/* runc's bundle, as it is. */
static void default_bundle(void)
{
    only_cgroup2();
    run(plan_of(add_user_namespace(default_spec("runc"))), 0, inside_default, (struct expected){0});
}

static void inside_hosts_sysfs(void)
{
    check_mount("/sys / ro,nosuid,nodev,noexec,relatime - sysfs * rw*");
    /* CVE-2023-25809's kind: no cgroup can be written to */
    check_mount("/sys/fs/cgroup / ro,* - tmpfs * ro,*");
    CHECK(access("/sys/fs/cgroup/cgroup.procs", F_OK) == -1);
    CHECK(mkdir("/sys/fs/cgroup/x", 0755) == -1 && errno == EROFS);
    CHECK(access("/sys/kernel", F_OK) == 0);
}

static void inside_hosts_sysfs_with_cgroup(void)
{
    check_mount("/sys / ro,* - sysfs * rw*");
    check_mount("/sys/fs/cgroup / ro,* - cgroup2 * rw*");
    CHECK(access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0);
}

static void inside_new_sysfs(void)
{
    check_mount("/sys / ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw*");
    check_no_mount("/sys/fs/cgroup");
}

static void sysfs(void)
{
    only_cgroup2();
    json_object *spec = add_user_namespace(empty_spec());
    spec_add(spec, "mounts",
             "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', 'options': ['nosuid', 'noexec', 'nodev', "
             "'ro']}");
    run(plan_of(json_object_get(spec)), CLONE_NEWNET, NULL,
        (struct expected){.code = -EPERM, .object = RFS_OBJECT_MOUNT, .says = "sysfs",
                          .says_too = "RFS_OPTION_SYSFS_FROM_HOST"});
    rfs_plan *plan = plan_with_flags(spec, RFS_OPTION_SYSFS_FROM_HOST);
    run(plan, 0, inside_new_sysfs, (struct expected){0});
    run(plan, CLONE_NEWNET, inside_hosts_sysfs, (struct expected){.says = "\"/sys\" is bound: ",
                                                                  .says_too = "sysfs: Operation not permitted"});
    /* The cgroups of the plan lie over it. */
    spec = add_user_namespace(empty_spec());
    spec_add(spec, "mounts", "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', 'options': ['ro']}");
    spec_add(spec, "mounts",
             "{'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup', 'options': ['ro']}");
    run(plan_with_flags(spec, RFS_OPTION_SYSFS_FROM_HOST), CLONE_NEWNET, inside_hosts_sysfs_with_cgroup,
        (struct expected){0});
    /* A sysfs that is to be writable has no such fall-back. */
    spec = add_user_namespace(empty_spec());
    spec_add(spec, "mounts", "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', 'options': ['rw']}");
    run(plan_with_flags(spec, RFS_OPTION_SYSFS_FROM_HOST), CLONE_NEWNET, NULL,
        (struct expected){.code = -EPERM, .object = RFS_OBJECT_MOUNT, .index = 0, .says = "sysfs"});
}

static void inside_devpts_without_gid(void)
{
    check_mount("/dev/pts / rw,relatime - devpts devpts rw,mode=620,*");
}

static void inside_devpts(void)
{
    check_mount("/dev/pts / rw,relatime - devpts devpts rw,gid=100005,mode=620,*");
}

static void devpts(void)
{
    static const struct {
        const char *gids;
        void (*inside)(void);
        const char *says;
    } kinds[] = {
        {"[{'containerID': 0, 'hostID': 100000, 'size': 65536}]", inside_devpts, NULL},
        {"[{'containerID': 3, 'hostID': 100003, 'size': 3}]", inside_devpts, NULL},
        {"[{'containerID': 0, 'hostID': 100000, 'size': 5}]", inside_devpts_without_gid,
         "warning: devpts: the option \"gid=5\" is left out"},
        {"[{'containerID': 6, 'hostID': 100000, 'size': 5}]", inside_devpts_without_gid,
         "warning: devpts: the option \"gid=5\" is left out"},
        {"[]", inside_devpts, NULL},
    };
    json_object *spec = add_user_namespace(empty_spec());
    spec_add(spec, "mounts",
             "{'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts', 'options': ['newinstance', 'gid=5', "
             "'mode=620', 'ptmxmode=666']}");
    for (size_t i = 0; i < COUNT(kinds); i++) {
        json_object *copy = NULL;
        json_object_deep_copy(spec, &copy, NULL);
        spec_set(copy, "linux.gidMappings", kinds[i].gids);
        run(plan_of(copy), 0, kinds[i].inside, (struct expected){.says = kinds[i].says});
    }
    /* The caller answers for another option. */
    spec_add(spec, "mounts", "{'destination': '/tmp', 'type': 'tmpfs', 'options': ['gid=70000']}");
    run(plan_of(spec), 0, NULL, (struct expected){.code = -EINVAL, .object = RFS_OBJECT_MOUNT, .index = 1,
                                                  .says = "fsconfig gid", .says_too = "may have no such id"});
}

/* The host's mounts have flags that a bind can't clear. */
static void inside_locked(void)
{
    check_mount("/locked / ro,nosuid,nodev,relatime* - tmpfs x rw*");
}

static void locked_flags(void)
{
    make_directory(in_work("source"), 0755);
    REQUIRE(mount("x", in_work("source"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") == 0);
    json_object *spec = add_user_namespace(empty_spec());
    spec_add(spec, "mounts",
             "{'destination': '/locked', 'type': 'bind', 'source': '%s/source', 'options': ['bind', 'ro']}", work);
    run(plan_of(spec), 0, inside_locked, (struct expected){.says = "locked"});
}

/* ---- rfsrun ---- */

/* Runs rfsrun as another user, with options. Its output goes to work/output. */
static int rfsrun(json_object *spec, uid_t user, const char *option)
{
    unlink(in_work("bundle/config.json"));
    make_file(in_work("bundle/config.json"), json_object_to_json_string(spec));
    json_object_put(spec);
    unlink(in_work("output"));
    pid_t pid = fork();
    if (pid == 0) {
        int out = open(in_work("output"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        dup3(out, STDOUT_FILENO, 0);
        dup3(out, STDERR_FILENO, 0);
        if (user && (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0))
            _exit(98);
        execl(getenv("RFSRUN"), "rfsrun", option ? option : bundle(), option ? bundle() : NULL, (char *)NULL);
        _exit(99);
    }
    int status;
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    char *output = read_all(AT_FDCWD, in_work("output"));
    if (WEXITSTATUS(status) != 0)
        note("rfsrun: %s", output);
    free(output);
    return WEXITSTATUS(status);
}

static void require_rfsrun(void)
{
    if (!getenv("RFSRUN"))
        skip_case("rfsrun was not built");
}

/* Checks the container by a script that ends with 0 if all is well. */
static void set_script(json_object *spec, const char *script)
{
    json_object *args = json_object_new_array(), *process = json_object_object_get(spec, "process");
    json_object_array_add(args, json_object_new_string("/bin/sh"));
    json_object_array_add(args, json_object_new_string("-ec"));
    json_object_array_add(args, json_object_new_string(script));
    json_object_object_add(process, "args", args);
    spec_set(spec, "root.readonly", "false");
    spec_set(spec, "process.capabilities",
             "{'bounding': ['CAP_CHOWN', 'CAP_FOWNER'], 'effective': ['CAP_CHOWN', 'CAP_FOWNER'], "
             "'permitted': ['CAP_CHOWN', 'CAP_FOWNER']}");
}

#define BUSYBOX \
    "b() { /bin/busybox \"$@\"; }; " \
    "is() { [ \"$(b stat -c %u:%g $1)\" = $2 ] || { echo $1: $(b stat -c %u:%g $1); exit 1; }; }; "

static void rfsrun_user_namespace(void)
{
    require_rfsrun();
    only_cgroup2();
    make_source("source");
    make_directory(in_work("private/inner"), 0755);
    make_file(in_work("private/inner/file"), "x");
    REQUIRE(chmod(in_work("private"), 0700) == 0);
    json_object *spec = add_user_namespace(default_spec("runc"));
    spec_add(spec, "mounts",
             "{'destination': '/idmapped', 'type': 'bind', 'source': '%s/source', 'options': ['bind', 'idmap']}", work);
    spec_add(spec, "mounts",
             "{'destination': '/own', 'type': 'bind', 'source': '%s/source', 'options': ['rbind', "
             "'ridmap=uids=7-100070-1#9-100090-1;gids=@0-0-100']}", work);
    spec_add(spec, "mounts",
             "{'destination': '/hidden', 'type': 'bind', 'source': '%s/private/inner', 'options': ['rbind', 'ro']}",
                 work);
    set_script(spec, BUSYBOX "[ $(b id -u) = 0 ]; is /idmapped/file 7:8; is /own/file 70:8; is /own/below/file 90:10; "
                             "is /hidden/file 65534:65534;"
               " b touch /idmapped/new; b chown 5:6 /idmapped/new; b touch /tmp/made; ! b touch /hidden/new "
               "2>/dev/null; [ \"$(b cat /proc/self/setgroups)\" = allow ]");
    struct lacking lacking = lacking_on_host();
    if (lacking.call) {
        CHECK(rfsrun(spec, 0, NULL) == 125);
        char *output = read_all(AT_FDCWD, in_work("output"));
        CHECK_THAT(strstr(output, "the host's side says: ") && strstr(output, lacking.call), "%s", output);
        return;
    }
    CHECK(rfsrun(spec, 0, NULL) == 0);
    CHECK_OWNER(AT_FDCWD, in_work("source/new"), 5, 6);
    CHECK_OWNER(AT_FDCWD, image("tmp/made"), 100000, 100000);
    /* If a mount can't be opened, both sides end. */
    spec = default_spec("runc");
    spec_add(spec, "mounts", "{'destination': '/x', 'type': 'bind', 'source': '/proc', 'options': ['bind']" MAPPED "}");
    CHECK(rfsrun(spec, 0, NULL) == 125);
    char *output = read_all(AT_FDCWD, in_work("output"));
    CHECK_THAT(strstr(output, "the host's side says: mount_setattr idmap"), "%s", output);
}

/* The spec that `runc spec --rootless` writes, for the user. */
static json_object *rootless_spec(bool mappings)
{
    json_object *spec = default_spec("runc");
    if (mappings) {
        spec_set(spec, "linux.uidMappings",
                 "[{'containerID': 0, 'hostID': 12345, 'size': 1}, {'containerID': 1, 'hostID': 200000, 'size': "
                 "1000}]");
        spec_set(spec, "linux.gidMappings",
                 "[{'containerID': 0, 'hostID': 12345, 'size': 1}, {'containerID': 1, 'hostID': 200000, 'size': "
                 "1000}]");
    }
    return spec;
}

static void rfsrun_one_id(void)
{
    require_rfsrun();
    only_cgroup2();
    make_image();
    owned_by(USER);
    json_object *spec = rootless_spec(false);
    set_script(spec, BUSYBOX "[ $(b id -u) = 0 ]; b touch /tmp/made; is /tmp/made 0:0; is /dev/shm 0:0;"
               " [ \"$(b cat /proc/self/setgroups)\" = deny ]; b grep -q '^ *0 *12345 *1$' /proc/self/uid_map");
    CHECK(rfsrun(spec, USER, "--rootless") == 0);
    CHECK_OWNER(AT_FDCWD, image("tmp/made"), USER, USER);
    char *output = read_all(AT_FDCWD, in_work("output"));
    CHECK_THAT(strstr(output, "\"gid=5\" is left out"), "%s", output);
    /* The host's side can't help an ordinary user. */
    spec = rootless_spec(false);
    spec_add(spec, "mounts", "{'destination': '/x', 'type': 'bind', 'source': '/root/none', 'options': ['bind']}");
    CHECK(rfsrun(spec, USER, "--rootless") == 125);
    spec = rootless_spec(false);
    spec_add(spec, "mounts",
             "{'destination': '/x', 'type': 'bind', 'source': '%s/bundle', 'options': ['bind', 'idmap']}", work);
    CHECK(rfsrun(spec, USER, "--rootless") == 125);
    free(output);
    output = read_all(AT_FDCWD, in_work("output"));
    CHECK_THAT(strstr(output, "the host's side says: open_tree"), "%s", output);
    CHECK(rfsrun(rootless_spec(false), USER, NULL) == 125);
}

static bool in_path(const char *program)
{
    char path[8192];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    for (char *directory = strtok(path, ":"); directory; directory = strtok(NULL, ":"))
        if (access(in_work("../..%s/%s", directory, program), X_OK) == 0)
            return true;
    return false;
}

static void replace_file(const char *path, const char *name, const char *text)
{
    make_file(in_work("%s", name), text);
    int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
    close(fd);
    REQUIRE_THAT(mount(in_work("%s", name), path, NULL, MS_BIND, NULL) == 0, "mount %s", path);
}

static void rfsrun_range(void)
{
    require_rfsrun();
    REQUIRE_THAT(in_path("newuidmap"), "newuidmap is not installed (Debian: uidmap)");
    REQUIRE(access("/etc/subuid", F_OK) == 0 && access("/etc/subgid", F_OK) == 0);
    only_cgroup2();
    make_image();
    owned_by(USER);
    replace_file("/etc/passwd", "passwd", "root:x:0:0::/root:/bin/sh\nsomebody:x:12345:12345::/:/bin/sh\n");
    replace_file("/etc/subuid", "subuid", "somebody:200000:1000\n");
    replace_file("/etc/subgid", "subgid", "somebody:200000:1000\n");
    json_object *spec = rootless_spec(true);
    set_script(spec, BUSYBOX "b touch /tmp/made /tmp/other; b chown 33:34 /tmp/other; is /tmp/other 33:34; is "
                             "/tmp/made 0:0");
    CHECK(rfsrun(spec, USER, "--rootless") == 0);
    CHECK_OWNER(AT_FDCWD, image("tmp/made"), USER, USER);
    CHECK_OWNER(AT_FDCWD, image("tmp/other"), RANGE + 32, RANGE + 33);
    /* This range belongs to another user. */
    spec = rootless_spec(true);
    spec_set(spec, "linux.uidMappings",
             "[{'containerID': 0, 'hostID': 12345, 'size': 1}, {'containerID': 1, 'hostID': 300000, 'size': 1000}]");
    CHECK(rfsrun(spec, USER, "--rootless") == 125);
}

/* ---- Namespaces given by path ---- */

static void stay(void *data)
{
    (void)data;
    for (;;)
        pause();
}

static pid_t holder_of(unsigned long namespaces)
{
    int userns = -1;
    pid_t pid = start_child(namespaces, stay, NULL, &userns);
    close(userns);
    return pid;
}

/* A holder whose user namespace a user has made, with the mappings of rootless_spec(true). */
static pid_t users_holder(uid_t user)
{
    int made[2];
    char byte;
    REQUIRE(pipe2(made, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        REQUIRE(setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_DUMPABLE, 1); /* The change of user has made root the owner of /proc/PID. */
        REQUIRE(unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWUTS) == 0 && write(made[1], "", 1) == 1);
        stay(NULL);
    }
    REQUIRE(pid > 0 && read(made[0], &byte, 1) == 1);
    for (size_t i = 0; i < 2; i++) {
        char path[64], map[128];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, i ? "uid_map" : "gid_map");
        int length = snprintf(map, sizeof map, "0 %u 1\n1 %u 1000\n", user, RANGE),
            fd = open(path, O_WRONLY | O_CLOEXEC);
        REQUIRE_THAT(write(fd, map, (size_t)length) == length, "%s", path);
        close(fd);
    }
    close(made[0]);
    close(made[1]);
    return pid;
}

static void end(pid_t holder)
{
    REQUIRE(kill(holder, SIGKILL) == 0 && waitpid(holder, NULL, 0) == holder);
}

/* Lets the container join namespaces of the holder, and lets its script check that it did. */
static void join(json_object *spec, char *script, size_t room, const char *types, pid_t holder)
{
    static const struct { const char *type, *file; } known[] = {{"pid", "pid"}, {"network", "net"}, {"ipc", "ipc"},
                                                                {"uts", "uts"},
                                                                {"cgroup", "cgroup"}, {"mount", "mnt"},
                                                                    {"user", "user"}};
    for (size_t i = 0; i < COUNT(known); i++) {
        char path[64], link[64] = "";
        if (!strstr(types, known[i].type))
            continue;
        snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)holder, known[i].file);
        REQUIRE_THAT(readlink(path, link, sizeof link - 1) > 0, "%s", path);
        spec_add(spec, "linux.namespaces", "{'type': '%s', 'path': '%s'}", known[i].type, path);
        size_t used = strlen(script);
        snprintf(script + used, room - used,
                 "[ \"$(b readlink /proc/self/ns/%s)\" = '%s' ] || { echo no %s; exit 1; }; ", known[i].file, link,
                     path);
    }
}

static json_object *joining_spec(const char *made)
{
    json_object *spec = empty_spec();
    spec_set(spec, "linux.namespaces", made);
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'proc', 'source': 'proc'}");
    return spec;
}

static void rfsrun_joins(void)
{
    require_rfsrun();
    make_image();
    static const struct { const char *made, *joined; } kinds[] = {
        {"[{'type': 'mount'}]", "pid network ipc uts cgroup"},
        {"[{'type': 'mount'}, {'type': 'pid'}, {'type': 'ipc'}]", "network"},
        {"[{'type': 'pid'}]", "mount uts"},
    };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        pid_t holder = holder_of(CONTAINER_NAMESPACES | CLONE_NEWCGROUP);
        char script[2048] = BUSYBOX;
        json_object *spec = joining_spec(kinds[i].made);
        join(spec, script, sizeof script, kinds[i].joined, holder);
        set_script(spec, script);
        /* The host's side stays in its namespaces. */
        spec_set(spec, "hooks", "{}");
        spec_add(spec, "hooks.createRuntime",
                 "{'path': '/bin/sh', 'args': ['sh', '-c', 'for n in pid net mnt; do readlink /proc/self/ns/$n; done "
                 ">%s/hook']}", work);
        CHECK(rfsrun(spec, 0, NULL) == 0);
        char *seen = read_all(AT_FDCWD, in_work("hook")), own[256] = "";
        for (size_t k = 0; k < 3; k++)
            REQUIRE(readlink((const char *const[]){"/proc/self/ns/pid", "/proc/self/ns/net", "/proc/self/ns/mnt"}[k],
                             own + strlen(own), 60) > 0 &&
                    strcat(own, "\n"));
        CHECK_THAT(seen && strcmp(seen, own) == 0, "the hook was in %s, not in %s", seen, own);
        free(seen);
        end(holder);
    }
}

static void rfsrun_joins_in_user_namespace(void)
{
    require_rfsrun();
    make_image();
    owned_by(100000);
    pid_t outside = holder_of(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWCGROUP);
    pid_t inside = holder_of(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWNET);

    /* the host's, with a new user namespace, which could not join them any more */
    char script[2048] = BUSYBOX;
    json_object *spec = joining_spec("[{'type': 'mount'}, {'type': 'pid'}, {'type': 'ipc'}, {'type': 'user'}]");
    spec_set(spec, "linux.uidMappings", "[{'containerID': 0, 'hostID': 100000, 'size': 65536}]");
    spec_set(spec, "linux.gidMappings", "[{'containerID': 0, 'hostID': 100000, 'size': 65536}]");
    spec_add(spec, "mounts", "{'destination': '/mqueue', 'type': 'mqueue', 'source': 'mqueue'}");
    join(spec, script, sizeof script, "network cgroup", outside);
    strcat(script, "b grep -q '^ *0 *100000 *65536$' /proc/self/uid_map; is /mqueue 0:0");
    set_script(spec, script);
    CHECK(rfsrun(spec, 0, NULL) == 0);

    /* some of the host's, and some of a user namespace which only that one may join */
    strcpy(script, BUSYBOX);
    spec = joining_spec("[{'type': 'mount'}]");
    join(spec, script, sizeof script, "ipc", outside);
    join(spec, script, sizeof script, "user pid uts network", inside);
    spec_set(spec, "hostname", "'joined'");
    strcat(script, "[ $(b id -u) = 0 ]; [ $(b hostname) = joined ]; b touch /tmp/made");
    set_script(spec, script);
    CHECK(rfsrun(spec, 0, NULL) == 0);
    CHECK_OWNER(AT_FDCWD, image("tmp/made"), 100000, 100000);

    /* its mounts too */
    strcpy(script, BUSYBOX);
    spec = joining_spec("[{'type': 'pid'}]");
    join(spec, script, sizeof script, "user mount", inside);
    set_script(spec, script);
    CHECK(rfsrun(spec, 0, NULL) == 0);
    end(inside);
    end(outside);
}

static void rfsrun_idmaps_to_joined(void)
{
    require_rfsrun();
    make_source("source");
    make_image();
    owned_by(100000);
    pid_t holder = holder_of(CLONE_NEWUSER);
    char script[2048] = BUSYBOX;
    json_object *spec = joining_spec("[{'type': 'mount'}, {'type': 'pid'}]");
    join(spec, script, sizeof script, "user", holder);
    spec_add(spec, "mounts",
             "{'destination': '/idmapped', 'type': 'bind', 'source': '%s/source', 'options': ['bind', 'idmap']}", work);
    strcat(script, "is /idmapped/file 7:8");
    set_script(spec, script);
    CHECK(rfsrun(spec, 0, NULL) == (lacking_on_host().call ? 125 : 0));
    end(holder);
}

static void rfsrun_user_joins(void)
{
    require_rfsrun();
    make_image();
    owned_by(USER);
    pid_t holder = users_holder(USER);
    char script[2048] = BUSYBOX;
    json_object *spec = joining_spec("[{'type': 'mount'}, {'type': 'pid'}]");
    join(spec, script, sizeof script, "user uts network", holder);
    spec_add(spec, "mounts",
             "{'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts', 'options': ['newinstance', 'gid=5']}");
    strcat(script, "b grep -q ' - devpts devpts rw,gid=200004,' /proc/self/mountinfo; b touch /tmp/made");
    set_script(spec, script);
    CHECK(rfsrun(spec, USER, "--rootless") == 0);
    CHECK_OWNER(AT_FDCWD, image("tmp/made"), USER, USER);

    spec = joining_spec("[{'type': 'mount'}, {'type': 'pid'}]");
    make_file(in_work("network"), "");
    REQUIRE(mount("/proc/self/ns/net", in_work("network"), NULL, MS_BIND, NULL) == 0);
    spec_add(spec, "linux.namespaces", "{'type': 'network', 'path': '%s/network'}", work);
    set_script(spec, "exit 0");
    CHECK(rfsrun(spec, USER, "--rootless") == 125);
    char *output = read_all(AT_FDCWD, in_work("output"));
    CHECK_THAT(output && strstr(output, "joining the namespace /")
               && strstr(output, "/network: Operation not permitted"), "%s", output);
    free(output);
    end(holder);
}

static void rfsrun_cannot_join(void)
{
    require_rfsrun();
    make_image();
    static const struct { const char *namespace, *says; } kinds[] = {
        {"{'type': 'network', 'path': '/proc/self/ns/uts'}",
         "linux.namespaces[1].path: /proc/self/ns/uts: it is no network namespace"},
        {"{'type': 'network', 'path': '/proc/self/status'}", "/proc/self/status: it is no network namespace"},
        {"{'type': 'user', 'path': '/proc/self/ns/net'}", "/proc/self/ns/net: it is no user namespace"},
        {"{'type': 'ipc', 'path': '/no/such/file'}",
         "linux.namespaces[1].path: /no/such/file: No such file or directory"},
        {"{'type': 'mount', 'path': '/proc/self/ns/mnt'}", "linux.namespaces[1]: \"mount\" comes twice"},
        {"{'type': 'user', 'path': '/proc/self/ns/user'}",
         "joining the namespace /proc/self/ns/user: Invalid argument"},
        {"{'type': 'user'}", "a user namespace needs both"},
    };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        json_object *spec = joining_spec("[{'type': 'mount'}]");
        spec_add(spec, "linux.namespaces", "%s", kinds[i].namespace);
        set_script(spec, "exit 0");
        CHECK(rfsrun(spec, 0, NULL) == 125);
        char *output = read_all(AT_FDCWD, in_work("output"));
        CHECK_THAT(output && strstr(output, kinds[i].says), "\"%s\": %s", kinds[i].says, output);
        free(output);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"runc's bundle in a user namespace", default_bundle},
        {"sysfs: new, or the host's", sysfs},
        {"devpts: a gid that is not mapped", devpts},
        {"locked flags of the host's mounts", locked_flags},
        {"rfsrun: a user namespace", rfsrun_user_namespace},
        {"rfsrun: an ordinary user with one id", rfsrun_one_id},
        {"rfsrun: an ordinary user with a range", rfsrun_range},
        {"rfsrun: namespaces given by path", rfsrun_joins},
        {"rfsrun: namespaces given by path and a user namespace", rfsrun_joins_in_user_namespace},
        {"rfsrun: an idmapped mount in a user namespace given by path", rfsrun_idmaps_to_joined},
        {"rfsrun: an ordinary user's namespaces given by path", rfsrun_user_joins},
        {"rfsrun: paths that are refused", rfsrun_cannot_join},
    };
    return run_cases(cases, COUNT(cases));
}
