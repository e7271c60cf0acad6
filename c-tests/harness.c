/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "harness.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* High, so that it is in nobody's way when descriptors 0 to 2 are closed and low limits set. */
#define REPORT_FD 1000
#define HOST_PROC_FD 1001
#define CASE_SECONDS 120
#define SKIPPED 77

const struct test_case *this_case;
const char *work;
int host_proc = -1;

static int failures;

static void report(const char *prefix, const char *format, va_list arguments)
{
    char text[4096];
    int start = snprintf(text, sizeof text - 1, "# %s", prefix);
    int end = start + vsnprintf(text + start, sizeof text - 1 - (size_t)start, format, arguments);
    if (end > (int)sizeof text - 2)
        end = sizeof text - 2;
    for (int i = 0; i < end; i++)
        if (text[i] == '\n')
            text[i] = '|';
    text[end++] = '\n';
    if (write(fcntl(REPORT_FD, F_GETFD) >= 0 ? REPORT_FD : STDOUT_FILENO, text, (size_t)end) < 0)
        failures++;
}

void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report("", format, arguments);
    va_end(arguments);
}

bool check_at(bool ok, const char *file, int line, const char *format, ...)
{
    if (ok)
        return true;
    int saved = errno;
    char where[300];
    const char *name = strrchr(file, '/');
    snprintf(where, sizeof where, "FAILED %s:%d (errno %d): ", name ? name + 1 : file, line, saved);
    va_list arguments;
    va_start(arguments, format);
    report(where, format, arguments);
    va_end(arguments);
    failures++;
    errno = saved;
    return false;
}

_Noreturn void end_case(void)
{
    _exit(failures ? 1 : 0);
}

_Noreturn void skip_case(const char *why)
{
    note("skipped: %s", why);
    _exit(failures ? 1 : SKIPPED);
}

rfs_error fresh_error(void)
{
    rfs_error err;
    memset(&err, 0x5a, sizeof err);
    err.size = sizeof err;
    return err;
}

static bool terminated(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

/* Whether a text can be written to a terminal. It is UTF-8, which has no bytes 0xfe and 0xff, and it has no control
 * characters. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text) || (unsigned char)*text >= 0xfe)
            return false;
    return true;
}

/* err.detail is err.message, but for ": " and strerror(3)'s words where a system call failed. */
static void check_detail(const char *file, int line, const rfs_error *err)
{
    char words[128], expected[sizeof err->message];
    snprintf(words, sizeof words, ": %s", strerror(-err->code));
    const char *at = strstr(err->message, words);
    bool is_rule = strcmp(err->operation, "check") == 0 || strcmp(err->operation, "hook") == 0;
    if (strlen(err->message) == sizeof err->message - 1)
        return; /* Both texts are cut, each at another place. */
    if (is_rule)
        at = NULL;
    else
        check_at(at != NULL, file, line, "no \"%s\" in the message: %s", words, err->message);
    size_t before = at ? (size_t)(at - err->message) : strlen(err->message);
    snprintf(expected, sizeof expected, "%.*s%s", (int)before, err->message, at ? at + strlen(words) : "");
    check_at(strcmp(err->detail, expected) == 0, file, line, "err.detail is \"%s\", expected \"%s\"", err->detail,
             expected);
}

bool check_error_at(const char *file, int line, int rc, const rfs_error *err, const struct expected *expected)
{
    if (rc >= 0)
        return check_at(false, file, line, "succeeded (%d) where %d was expected", rc, expected->code);
    if (!terminated(err->message, sizeof err->message) || !terminated(err->path, sizeof err->path) ||
        !terminated(err->operation, sizeof err->operation) || !terminated(err->detail, sizeof err->detail))
        return check_at(false, file, line, "returned %d, and the error's strings do not end", rc);
    int before = failures;
    check_at(!expected->code || rc == expected->code, file, line, "returned %d, expected %d: %s", rc,
             expected->code, err->message);
    check_at(err->code == rc, file, line, "returned %d, but err.code is %d", rc, err->code);
    check_at(err->size == sizeof *err, file, line, "err.size became %llu", (unsigned long long)err->size);
    check_at(err->reserved == 0, file, line, "err.reserved is %u", err->reserved);
    check_at(err->stage >= RFS_STAGE_CONFIG && err->stage <= RFS_STAGE_MOUNTFD, file, line, "err.stage is %u",
             err->stage);
    check_at(!expected->stage || err->stage == expected->stage, file, line, "err.stage is %u, expected %u: %s",
             err->stage, expected->stage, err->message);
    check_at(err->object <= RFS_OBJECT_HOOK, file, line, "err.object is %u", err->object);
    check_at(err->object != RFS_OBJECT_NONE || err->index == -1, file, line, "err.index is %lld of no object: %s",
             (long long)err->index, err->message);
    if (expected->object)
        check_at(err->object == expected->object && err->index == expected->index, file, line,
                 "the error is about object %u index %lld, expected %u index %lld: %s", err->object,
                 (long long)err->index, expected->object, (long long)expected->index, err->message);
    size_t length = strlen(err->message);
    check_at(length >= 10, file, line, "the message is no sentence: \"%s\"", err->message);
    check_at(is_plain(err->message) && is_plain(err->path), file, line, "raw bytes in the message: %s", err->message);
    check_detail(file, line, err);
    check_at(err->operation[0] != '\0', file, line, "no operation: %s", err->message);
    check_at(!expected->says || strstr(err->message, expected->says), file, line, "the message does not say \"%s\": %s",
             expected->says, err->message);
    check_at(!expected->says_too || strstr(err->message, expected->says_too), file, line,
             "the message does not say \"%s\": %s", expected->says_too, err->message);
    check_at(!expected->path || strcmp(err->path, expected->path) == 0, file, line,
             "err.path is \"%s\", expected \"%s\": %s", err->path, expected->path, err->message);
    return failures == before;
}

bool check_success_at(const char *file, int line, int rc, const rfs_error *err, const char *call)
{
    return check_at(rc == 0, file, line, "%s: %d: stage %u operation %.32s: %.1024s", call, rc, err->stage,
                    err->operation, err->message);
}

const char *in_work(const char *format, ...)
{
    static char ring[16][4096];
    static unsigned next;
    char *path = ring[next++ % COUNT(ring)];
    int length = snprintf(path, sizeof ring[0], "%s/", work);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + length, sizeof ring[0] - (size_t)length, format, arguments);
    va_end(arguments);
    return path;
}

bool is_refused(long result)
{
    return result == -1 && (errno == ENOSYS || errno == EPERM);
}

bool has_mount_setattr(void)
{
    return !is_refused(syscall(SYS_mount_setattr, -1, "", 0, NULL, 0));
}

char *read_all(int directory, const char *path)
{
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room + 1);
    for (ssize_t n; text && (n = read(fd, text + size, room - size)) > 0;) {
        size += (size_t)n;
        if (size == room)
            text = realloc(text, (room *= 2) + 1);
    }
    close(fd);
    if (text)
        text[size] = '\0';
    return text;
}

char *list_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    char *list = NULL;
    size_t size;
    FILE *out = open_memstream(&list, &size);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < n; i++) {
        struct stat st;
        if (entries[i]->d_name[0] != '.' && fstatat(fd, entries[i]->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            fprintf(out, "%s %o %u:%u\n", entries[i]->d_name, st.st_mode, major(st.st_rdev), minor(st.st_rdev));
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    close(fd);
    fclose(out);
    return list;
}

static void wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status))
        CHECK_THAT(false, "the child was killed by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) == SKIPPED && !failures)
        _exit(SKIPPED);
    else if (WEXITSTATUS(status) != 0)
        failures++; /* The process has said why. */
}

void in_child(unsigned long namespaces, void (*inside)(void *), void *data)
{
    pid_t pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, 0);
    REQUIRE_THAT(pid >= 0, "clone(%#lx)", namespaces);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        failures = 0;
        inside(data);
        end_case();
    }
    wait_for(pid);
}

struct sharing {
    void (*inside)(void *);
    void *data;
};

static int sharing_child(void *data)
{
    const struct sharing *sharing = data;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sharing->inside(sharing->data);
    _exit(0); /* This process has counted the same failure. */
}

void in_sharing_child(unsigned long namespaces, void (*inside)(void *), void *data)
{
    static char stack[1 << 20] __attribute__((aligned(16)));
    struct sharing sharing = {inside, data};
    pid_t pid =
        clone(sharing_child, stack + sizeof stack, (int)(namespaces | CLONE_VM | CLONE_VFORK | SIGCHLD), &sharing);
    REQUIRE_THAT(pid >= 0, "clone(%#lx) with CLONE_VM", namespaces);
    wait_for(pid);
}

static _Noreturn void case_process(const struct test_case *test)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(CASE_SECONDS);
    umask(022);
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    REQUIRE(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    REQUIRE(mount("test", work, "tmpfs", 0, "mode=755,size=64m") == 0);
    test->run();
    end_case();
}

/* Returns the exit status, or 1. */
static int run_in_child(const struct test_case *test)
{
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0)
        return 1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup3(pipe_ends[1], REPORT_FD, O_CLOEXEC);
        close(pipe_ends[0]);
        close(pipe_ends[1]);
        case_process(test);
    }
    close(pipe_ends[1]);
    char text[4096];
    for (ssize_t n; (n = read(pipe_ends[0], text, sizeof text)) > 0;)
        fwrite(text, 1, (size_t)n, stdout);
    close(pipe_ends[0]);
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    if (WIFSIGNALED(status))
        printf("# FAILED: killed by signal %d%s\n", WTERMSIG(status), WTERMSIG(status) == SIGALRM ? " (too slow)" : "");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The state of the host that no test may change. */
struct host {
    char *mounts, *dev;
};

static struct host look_at_host(void)
{
    return (struct host){read_all(AT_FDCWD, "/proc/self/mountinfo"), list_directory("/dev")};
}

static bool same_host(struct host *before)
{
    struct host now = look_at_host();
    bool mounts = before->mounts && now.mounts && strcmp(before->mounts, now.mounts) == 0;
    bool dev = before->dev && now.dev && strcmp(before->dev, now.dev) == 0;
    if (!mounts)
        printf("# FAILED: the host's mounts have changed\n");
    if (!dev)
        printf("# FAILED: the host's /dev has changed\n");
    struct stat st;
    bool null = stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
    if (!null)
        printf("# FAILED: /dev/null is not char 1:3\n");
    free(now.mounts);
    free(now.dev);
    free(before->mounts);
    free(before->dev);
    return mounts && dev && null;
}

/* The program's arguments: patterns of the cases to be run. */
static char *const *patterns;

__attribute__((constructor)) static void take_arguments(int argc, char **argv)
{
    patterns = argc > 1 ? argv + 1 : NULL;
}

static bool is_wanted(const struct test_case *test)
{
    for (size_t i = 0; patterns && patterns[i]; i++)
        if (fnmatch(patterns[i], test->name, 0) == 0)
            return true;
    return !patterns;
}

static int run_all(const struct test_case *cases, size_t n, int (*run)(const struct test_case *))
{
    size_t wanted = 0, done = 0;
    for (size_t i = 0; i < n; i++)
        wanted += is_wanted(&cases[i]);
    if (wanted == 0) {
        printf("Bail out! no case is called so: a test's arguments are patterns (fnmatch(3)) of its cases' names\n");
        return 1;
    }
    struct host host = look_at_host();
    bool all = true;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("1..%zu\n", wanted + 1);
    for (size_t i = 0; i < n; i++) {
        if (!is_wanted(&cases[i]))
            continue;
        this_case = &cases[i];
        int status = run(this_case);
        bool ok = status == 0 || status == SKIPPED;
        all &= ok;
        printf("%sok %zu - %s%s\n", ok ? "" : "not ", ++done, cases[i].name, status == SKIPPED ? " # SKIP" : "");
    }
    bool ok = same_host(&host);
    printf("%sok %zu - the host's mounts and /dev are as before\n", ok ? "" : "not ", wanted + 1);
    fflush(stdout);
    return all && ok ? 0 : 1;
}

static int run_here(const struct test_case *test)
{
    failures = 0;
    fflush(stdout);
    test->run();
    return failures != 0;
}

int run_cases_here(const struct test_case *cases, size_t n)
{
    return run_all(cases, n, run_here);
}

int run_cases(const struct test_case *cases, size_t n)
{
    if (geteuid() != 0) {
        printf("Bail out! this test makes namespaces and mounts: run it as root\n");
        return 1;
    }
    char directory[] = "/tmp/librfs-test.XXXXXX", resolved[4096];
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    host_proc = dup3(proc, HOST_PROC_FD, O_CLOEXEC);
    close(proc);
    if (host_proc < 0 || !mkdtemp(directory) || !realpath(directory, resolved)) {
        printf("Bail out! cannot make a directory in /tmp or open /proc: %s\n", strerror(errno));
        return 1;
    }
    work = resolved;
    int rc = run_all(cases, n, run_in_child);
    rmdir(directory);
    return rc;
}

int skip_all(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    return 0;
}
