/* The system calls from the start of rfs_prepare() to the end of rfs_finalize(), default bundle: counted
 * by name, and not more than data/syscalls.expected says. With RFS_TEST_REGENERATE set, that file is written anew.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_MOST 214
/* of the paths to be masked or read-only, those that the kernel of the table has; of one call, what another one
 * costs at most */
#define PATHS 8
#define FOR_A_PATH 2
#define MARK 0x7e57
#define TABLE TEST_DATA "/syscalls.expected"
#define NUMBERS 600

static const struct {
    long number;
    const char *name;
} names[] = {
#define NAME(call) {SYS_##call, #call}
    NAME(openat2), NAME(openat), NAME(close), NAME(read), NAME(write), NAME(fstat), NAME(newfstatat), NAME(statx),
    NAME(fstatfs), NAME(statfs), NAME(open_tree), NAME(move_mount), NAME(fsopen), NAME(fsconfig), NAME(fsmount),
    NAME(fspick), NAME(mount_setattr), NAME(mount), NAME(umount2), NAME(pivot_root), NAME(chroot), NAME(chdir),
    NAME(fchdir), NAME(mkdirat), NAME(mknodat), NAME(symlinkat), NAME(unlinkat), NAME(readlinkat), NAME(fchmod),
    NAME(fchmodat), NAME(fchown), NAME(fchownat), NAME(umask), NAME(dup3), NAME(fcntl), NAME(getpid), NAME(gettid),
    NAME(getdents64), NAME(faccessat), NAME(faccessat2), NAME(ioctl), NAME(setxattr), NAME(fsetxattr), NAME(lseek),
        NAME(brk),
    NAME(mmap), NAME(munmap), NAME(futex), NAME(madvise), NAME(getrandom), NAME(rt_sigprocmask), NAME(rt_sigaction),
#ifdef SYS_readlink
    NAME(readlink), NAME(open), NAME(stat), NAME(lstat), NAME(access), NAME(mkdir), NAME(dup2),
#endif
#undef NAME
};

static const char *name_of(size_t number)
{
    static char unknown[32];
    if (number == 436)
        return "close_range";
    if (number == 452)
        return "fchmodat2";
    if (number == 467)
        return "open_tree_attr";
    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].number == (long)number)
            return names[i].name;
    snprintf(unknown, sizeof unknown, "syscall_%zu", number);
    return unknown;
}

static rfs_container *container;

static void traced(void)
{
    rfs_error err = fresh_error();
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        end_case();
    raise(SIGSTOP);
    syscall(SYS_getpriority, MARK, 1);
    int rc = rfs_prepare(container, NULL, &err);
    if (rc == 0)
        rc = rfs_finalize(container, &err);
    syscall(SYS_getpriority, MARK, 2);
    REQUIRE_SUCCESS(rc, &err);
    end_case();
}

static void trace(unsigned *counts)
{
    pid_t pid = (pid_t)syscall(SYS_clone, CONTAINER_NAMESPACES | SIGCHLD, NULL, NULL, NULL, 0);
    REQUIRE(pid >= 0);
    if (pid == 0)
        traced();
    int status, counting = 0;
    bool whole = false;
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    REQUIRE(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
    for (;;) {
        REQUIRE(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
        REQUIRE(waitpid(pid, &status, 0) == pid);
        if (!WIFSTOPPED(status))
            break;
        struct __ptrace_syscall_info info;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
            ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) < 0
                || info.op != PTRACE_SYSCALL_INFO_ENTRY)
            continue;
        if (info.entry.nr == SYS_getpriority && info.entry.args[0] == MARK) {
            counting = info.entry.args[1] == 1;
            whole |= !counting;
        } else if (counting && info.entry.nr < NUMBERS) {
            counts[info.entry.nr]++;
        }
    }
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0 && whole);
}

static unsigned expected_count(const char *table, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = table; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return (unsigned)atoi(line + length);
    return 0;
}

static unsigned paths_in(json_object *spec, const char *list)
{
    unsigned there = 0;
    const char *path;
    for (size_t i = 0; (path = path_in_spec(spec, list, i)); i++)
        there += access(path, F_OK) == 0;
    return there;
}

/* Kernels differ in what there is to mask, and in /proc/kcore, which gets a link. */
static unsigned paths;

static unsigned count_calls(unsigned *counts)
{
    only_cgroup2();
    make_image();
    json_object *spec = default_spec("runc");
    paths = paths_in(spec, "linux.maskedPaths") + paths_in(spec,
                                                           "linux.readonlyPaths") + (access("/proc/kcore", F_OK) == 0);
    container = container_of(plan_of(spec));
    /* as for a container in the background: nothing to read, and output that somebody takes */
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), ends[2];
    REQUIRE(null >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(dup2(null, 0) == 0 && dup2(ends[1], 1) == 1 && dup2(ends[1], 2) == 2);
    trace(counts);
    unsigned total = 0;
    for (size_t i = 0; i < NUMBERS; i++)
        total += counts[i];
    return total;
}

static void regenerate(const unsigned *counts)
{
    FILE *out = fopen(TABLE, "we");
    REQUIRE_THAT(out, "%s", TABLE);
    /* in the order of the alphabet, for small diffs */
    char previous[64] = "";
    for (;;) {
        const char *next = NULL;
        static char name[64], best[64];
        unsigned count = 0;
        for (size_t i = 0; i < NUMBERS; i++) {
            snprintf(name, sizeof name, "%s", name_of(i));
            if (counts[i] && strcmp(name, previous) > 0 && (!next || strcmp(name, best) < 0)) {
                next = strcpy(best, name);
                count = counts[i];
            }
        }
        if (!next)
            break;
        fprintf(out, "%s %u\n", best, count);
        strcpy(previous, best);
    }
    fclose(out);
}

static bool falls_back(void)
{
    return is_refused(syscall(SYS_openat2, -1, "", NULL, 0)) || is_refused(syscall(SYS_fsopen, NULL, 0))
        || !has_mount_setattr() ||
           is_refused(syscall(SYS_statx, -1, "", 0, STATX_MNT_ID, NULL));
}

static void default_bundle(void)
{
    unsigned counts[NUMBERS] = {0};
    unsigned total = count_calls(counts);
    note("%u paths, %u calls in all", paths, total);
    if (falls_back()) { /* it works, with more calls */
        CHECK_THAT(total <= 5 * AT_MOST, "%u system calls", total);
        return;
    }
    if (getenv("RFS_TEST_REGENERATE"))
        regenerate(counts);
    char *table = read_all(AT_FDCWD, TABLE);
    REQUIRE_THAT(table, "%s", TABLE);
    for (size_t i = 0; i < NUMBERS; i++) {
        if (!counts[i])
            continue;
        const char *name = name_of(i);
        unsigned expected = expected_count(table, name) + (paths > PATHS ? (paths - PATHS) * FOR_A_PATH : 0);
        note("%4u %s", counts[i], name);
        CHECK_THAT(counts[i] <= expected, "%s: %u calls, expected at most %u", name, counts[i], expected);
    }
    free(table);
    CHECK_THAT(total <= AT_MOST + (paths > PATHS ? (paths - PATHS) * 3 * FOR_A_PATH : 0),
               "%u system calls, at most %d are allowed for %d paths",
               total, AT_MOST, PATHS);
    CHECK_THAT(total > 20, "only %u system calls were counted", total);
}

static void none_that_allocate(void)
{
    unsigned counts[NUMBERS] = {0};
    count_calls(counts);
    CHECK(counts[SYS_brk] == 0);
    CHECK(counts[SYS_mmap] == counts[SYS_munmap]);
    CHECK(counts[SYS_mmap] == 0 || falls_back()); /* pages for a path that is walked, and for the data of mount(2) */
    CHECK(counts[SYS_futex] == 0 && counts[SYS_getrandom] == 0 && counts[SYS_clone] == 0);
    CHECK(counts[SYS_rt_sigaction] == 0 && counts[SYS_rt_sigprocmask] == 0);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"default bundle: system calls by name", default_bundle},
        {"default bundle: no memory, lock, thread or signal call", none_that_allocate},
    };
    return run_cases(cases, COUNT(cases));
}
