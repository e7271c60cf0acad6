/* A real distribution: a minimal Debian made by debootstrap, kept between runs in /var/tmp (or where
 * RFS_TEST_DEBIAN says), started in this process and through rfsrun (RFSRUN), with and without a terminal.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUITE "bookworm"

static char debian[4096];

/* Runs a program with its output in `output`, and returns its wait status. Ends it after a minute. */
static int run(char *const arguments[], bool terminal, char *output, size_t size)
{
    int master = -1, ends[2] = {-1, -1};
    pid_t pid;
    if (terminal) {
        pid = forkpty(&master, NULL, NULL, NULL);
    } else {
        REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
        pid = fork();
    }
    REQUIRE(pid >= 0);
    if (pid == 0) {
        if (!terminal) {
            int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
            dup2(null, 0);
            dup2(ends[1], 1);
            dup2(ends[1], 2);
        }
        alarm(60);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    close(ends[1]);
    int from = terminal ? master : ends[0];
    size_t used = 0;
    for (ssize_t n; used < size - 1 && (n = read(from, output + used, size - 1 - used)) > 0;)
        used += (size_t)n;
    output[used] = '\0';
    close(from);
    int status = -1;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return status;
}

static void make_debian(void)
{
    alarm(900);
    const char *chosen = getenv("RFS_TEST_DEBIAN");
    snprintf(debian, sizeof debian, "%s", chosen ? chosen : "/var/tmp/librfs-test-debian-" SUITE);
    char apt[4200], unfinished[4200];
    snprintf(apt, sizeof apt, "%s/usr/bin/apt-get", debian);
    if (access(apt, X_OK) == 0)
        return;
    snprintf(unfinished, sizeof unfinished, "%s.XXXXXX", debian);
    REQUIRE(mkdtemp(unfinished));
    int log = open(in_work("debootstrap.log"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(log, 1);
        dup2(log, 2);
        execlp("debootstrap", "debootstrap", "--variant=minbase", SUITE, unfinished, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        char *text = read_all(AT_FDCWD, in_work("debootstrap.log"));
        size_t length = strlen(text);
        REQUIRE_THAT(false, "debootstrap failed (%#x; left in %s): %s", status, unfinished,
                     text + (length > 1000 ? length - 1000 : 0));
    }
    REQUIRE(chmod(unfinished, 0755) == 0 && rename(unfinished, debian) == 0);
}

/* A spec of runc's or crun's with the Debian as its root. */
static json_object *debian_spec(const char *tool, bool readonly, bool terminal, const char *arguments)
{
    make_debian();
    only_cgroup2();
    make_directory(bundle(), 0755);
    json_object *spec = default_spec(tool);
    char root[4200];
    snprintf(root, sizeof root, "{'path': '%s', 'readonly': %s}", debian, readonly ? "true" : "false");
    spec_set(spec, "root", root);
    spec_set(spec, "process.terminal", terminal ? "true" : "false");
    spec_set(spec, "process.args", arguments);
    return spec;
}

static int run_spec(json_object *spec, bool terminal, char *output, size_t size)
{
    const char *rfsrun = getenv("RFSRUN");
    REQUIRE_THAT(rfsrun, "RFSRUN is not set: to the rfsrun of examples/");
    unlink(in_work("bundle/config.json"));
    make_file(in_work("bundle/config.json"), json_object_to_json_string(spec));
    json_object_put(spec);
    char *arguments[] = {(char *)(uintptr_t)rfsrun, (char *)(uintptr_t)bundle(), NULL};
    int status = run(arguments, terminal, output, size);
    REQUIRE_THAT(WIFEXITED(status), "rfsrun: wait status %#x, output: %s", status, output);
    return WEXITSTATUS(status);
}

#define APT "['apt-get', '--version']"

static void run_apt(const char *tool, bool readonly)
{
    char output[65536];
    int status = run_spec(debian_spec(tool, readonly, false, APT), false, output, sizeof output);
    CHECK_THAT(status == 0 && strncmp(output, "apt ", 4) == 0, "status %d, output: %.1000s", status, output);
}

static void apt_with_runc_spec(void)
{
    run_apt("runc", true);
}

static void apt_with_crun_spec(void)
{
    run_apt("crun", true);
}

static void apt_writable(void)
{
    run_apt("runc", false);
}

static void writable_root(void)
{
    char output[65536];
    int status =
        run_spec(debian_spec("runc", false, false, "['sh', '-ec', 'echo hello > /root/f; cat /root/f; rm /root/f']"),
                 false, output, sizeof output);
    CHECK_THAT(status == 0 && strcmp(output, "hello\n") == 0, "status %d, output: %.1000s", status, output);
    status = run_spec(debian_spec("runc", true, false, "['sh', '-c', 'echo hello > /root/f']"), false, output,
                      sizeof output);
    CHECK_THAT(status != 0 && strstr(output, "Read-only file system"), "status %d, output: %.1000s", status, output);
}

static void exit_statuses(void)
{
    static const struct {
        const char *arguments;
        int status;
    } list[] = {
        {"['sh', '-c', 'exit 42']", 42}, {"['true']", 0}, {"['false']", 1}, {"['/etc/passwd']", 126},
        {"['/no/such/program']", 127},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        char output[65536];
        int status = run_spec(debian_spec("runc", true, false, list[i].arguments), false, output, sizeof output);
        CHECK_THAT(status == list[i].status, "%s: status %d, output: %.1000s", list[i].arguments, status, output);
    }
}

static void broken_bundle(void)
{
    char output[65536];
    json_object *spec = debian_spec("runc", true, false, APT);
    spec_add(spec, "mounts", "{'destination': '/x', 'type': 'tmpfs', 'source': 'x', 'options': ['nosuchopt']}");
    int status = run_spec(spec, false, output, sizeof output);
    CHECK_THAT(status == 125 && strstr(output, "mounts[7]") && strstr(output, "nosuchopt"),
               "status %d, output: %.1000s", status, output);
}

static void terminal(void)
{
    char output[65536];
    int status =
        run_spec(debian_spec("runc", true, true,
                             "['sh', '-c', 'tty; test -t 0 && test -t 1 && test -t 2 && echo all; "
                             "stat -c %t:%F /dev/console; echo yes > /dev/console; stat -L -c %h /dev/fd/0; exit 7']"),
                 true, output, sizeof output);
    CHECK_THAT(status == 7, "status %d, output: %.1000s", status, output);
    CHECK_THAT(strstr(output, "/dev/pts/0\r\n") || strstr(output, "/dev/console\r\n"), "output: %.1000s", output);
    CHECK_THAT(strstr(output, "all\r\n") && strstr(output, "88:character special file\r\n") &&
                   strstr(output, "yes\r\n"),
               "output: %.1000s", output);
}

static void no_terminal(void)
{
    char output[65536];
    int status =
        run_spec(debian_spec("runc", true, false, "['sh', '-c', 'tty; test -t 1 || echo none; ls /dev/console']"),
                 false, output, sizeof output);
    CHECK_THAT(status != 0 && strstr(output, "not a tty") && strstr(output, "none") && strstr(output, "No such file"),
               "status %d, output: %.1000s", status, output);
}

static int output_end;

static void execute(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    dup2(output_end, 1);
    execl("/usr/bin/apt-get", "apt-get", "--version", (char *)NULL);
    REQUIRE_THAT(false, "execl");
}

static void in_process(void)
{
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    output_end = ends[1];
    in_child(CONTAINER_NAMESPACES, execute, container_of(plan_of(debian_spec("runc", true, false, APT))));
    close(ends[1]);
    char text[256] = "";
    CHECK(read(ends[0], text, sizeof text - 1) > 0 && strncmp(text, "apt ", 4) == 0);
}

/* dpkg is a thorough user of a root: of its links, /dev and locks. */
static void audit(void)
{
    char output[65536];
    int status =
        run_spec(debian_spec("runc", true, false,
                             "['sh', '-ec', 'dpkg --audit; dpkg -l apt | tail -1; id -u; ls -ld /proc/self/fd/0']"),
                 false, output, sizeof output);
    CHECK_THAT(status == 0 && strstr(output, "ii  apt"), "status %d, output: %.1000s", status, output);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"apt-get --version, in this process", in_process},
        {"apt-get --version through rfsrun, runc spec", apt_with_runc_spec},
        {"apt-get --version through rfsrun, crun spec", apt_with_crun_spec},
        {"apt-get --version through rfsrun, writable root", apt_writable},
        {"dpkg", audit},
        {"writable and read-only root", writable_root},
        {"exit statuses", exit_statuses},
        {"rfsrun prints the library's error", broken_bundle},
        {"terminal", terminal},
        {"no terminal", no_terminal},
    };
    return run_cases(cases, COUNT(cases));
}
