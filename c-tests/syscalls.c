/* The system calls from the start of rfs_prepare() to the end of rfs_finalize(), for several bundles: counted by name,
 * and not more than data/syscalls.expected says. Its lines are SCENARIO CALL COUNT. With RFS_TEST_REGENERATE set, each
 * case writes its lines of that file anew.
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
        NAME(brk), NAME(mremap),
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

struct scenario {
    const char *name;
    json_object *(*spec)(void);
    uint64_t flags; /* RFS_OPTION_* */
    /* Of one call, what one more path to be masked or read-only costs at most. */
    unsigned for_a_path;
};

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

/* Every id is mapped to itself. */
static void map_ids(pid_t pid)
{
    static const char *const maps[] = {"uid_map", "gid_map"};
    for (size_t i = 0; i < COUNT(maps); i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, maps[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        REQUIRE_THAT(fd >= 0 && write(fd, "0 0 65536\n", 10) == 10, "%s: %s", path, strerror(errno));
        close(fd);
    }
}

static void trace(const struct scenario *scenario, unsigned *counts)
{
    const bool user = scenario->flags & RFS_OPTION_USER_NAMESPACE;
    const int namespaces = CONTAINER_NAMESPACES | (user ? CLONE_NEWUSER : 0);
    pid_t pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, 0);
    REQUIRE(pid >= 0);
    if (pid == 0)
        traced();
    int status, counting = 0;
    bool whole = false;
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    if (user)
        map_ids(pid);
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

/* The count in the line of a scenario's call; of "" the sum of all of its calls. */
static unsigned expected_count(const char *table, const char *scenario, const char *call)
{
    unsigned sum = 0, count;
    char whose[64], name[64];
    for (const char *line = table; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (sscanf(line, "%63s %63s %u", whose, name, &count) == 3 && strcmp(whose, scenario) == 0) {
            if (strcmp(name, call) == 0)
                return count;
            sum += strcmp(name, "paths") == 0 ? 0 : count;
        }
    return *call ? 0 : sum;
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

static unsigned count_calls(const struct scenario *scenario, unsigned *counts)
{
    only_cgroup2();
    make_image();
    json_object *spec = scenario->spec();
    paths = paths_in(spec, "linux.maskedPaths") + paths_in(spec, "linux.readonlyPaths");
    paths += access("/proc/kcore", F_OK) == 0;
    container = container_of(plan_with_flags(spec, scenario->flags));
    /* as for a container in the background: nothing to read, and output that somebody takes */
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), ends[2];
    REQUIRE(null >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(dup2(null, 0) == 0 && dup2(ends[1], 1) == 1 && dup2(ends[1], 2) == 2);
    trace(scenario, counts);
    unsigned total = 0;
    for (size_t i = 0; i < NUMBERS; i++)
        total += counts[i];
    return total;
}

static void regenerate(const struct scenario *scenario, const unsigned *counts, const char *table)
{
    FILE *out = fopen(TABLE, "we");
    const size_t length = strlen(scenario->name);
    REQUIRE_THAT(out, "%s", TABLE);
    for (const char *line = table, *end; (end = strchr(line, '\n')); line = end + 1)
        if (strncmp(line, scenario->name, length) != 0 || line[length] != ' ')
            fprintf(out, "%.*s", (int)(end + 1 - line), line);
    fprintf(out, "%s paths %u\n", scenario->name, paths);
    for (size_t i = 0; i < NUMBERS; i++)
        if (counts[i])
            fprintf(out, "%s %s %u\n", scenario->name, name_of(i), counts[i]);
    fclose(out);
}

static bool falls_back(void)
{
    return is_refused(syscall(SYS_openat2, -1, "", NULL, 0)) || is_refused(syscall(SYS_fsopen, NULL, 0))
        || !has_mount_setattr() ||
           is_refused(syscall(SYS_statx, -1, "", 0, STATX_MNT_ID, NULL));
}

static void hold_to_table(const struct scenario *scenario)
{
    unsigned counts[NUMBERS] = {0};
    unsigned total = count_calls(scenario, counts);
    char *table = read_all(AT_FDCWD, TABLE);
    REQUIRE_THAT(table, "%s", TABLE);
    if (getenv("RFS_TEST_REGENERATE")) {
        regenerate(scenario, counts, table);
        free(table);
        table = read_all(AT_FDCWD, TABLE);
        REQUIRE_THAT(table, "%s", TABLE);
    }
    unsigned at_most = expected_count(table, scenario->name, "");
    unsigned known = expected_count(table, scenario->name, "paths");
    note("%s: %u paths, %u calls in all", scenario->name, paths, total);
    CHECK_THAT(total > 20 && at_most > 20, "only %u system calls were counted, of %u", total, at_most);
    if (falls_back()) /* The start works, with more calls. */
        CHECK_THAT(total <= 5 * at_most, "%u system calls", total);
    for (size_t i = 0; i < NUMBERS && !falls_back(); i++) {
        if (!counts[i])
            continue;
        const char *name = name_of(i);
        unsigned expected = expected_count(table, scenario->name, name);
        if (paths > known)
            expected += (paths - known) * scenario->for_a_path;
        note("%4u %s", counts[i], name);
        CHECK_THAT(counts[i] <= expected, "%s: %u calls, expected at most %u", name, counts[i], expected);
    }
    free(table);
}

static json_object *runc_spec(void)
{
    return default_spec("runc");
}

static json_object *docker_spec(void)
{
    make_directory(in_work("state/volume"), 0755);
    make_directory(in_work("state/config"), 0755);
    make_file(in_work("state/resolv.conf"), "x");
    make_file(in_work("state/hostname"), "x");
    make_file(in_work("state/hosts"), "x");
    return spec_from_data("docker.json");
}

static const struct scenario of_default = {"default", runc_spec, 0, 2}, of_docker = {"docker", docker_spec, 0, 2},
                             of_mount2 = {"mount2", runc_spec, RFS_OPTION_CLASSIC_MOUNT, 8},
                             of_userns = {"userns", runc_spec, RFS_OPTION_USER_NAMESPACE, 2};

static void default_bundle(void)
{
    hold_to_table(&of_default);
}

static void docker_bundle(void)
{
    hold_to_table(&of_docker);
}

static void by_mount2(void)
{
    hold_to_table(&of_mount2);
}

static void in_user_namespace(void)
{
    hold_to_table(&of_userns);
}

static void none_that_allocate(void)
{
    unsigned counts[NUMBERS] = {0};
    count_calls(&of_default, counts);
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
        {"Docker's bundle: system calls by name", docker_bundle},
        {"default bundle by mount(2): system calls by name", by_mount2},
        {"default bundle in a user namespace: system calls by name", in_user_namespace},
        {"default bundle: no memory, lock, thread or signal call", none_that_allocate},
    };
    return run_cases(cases, COUNT(cases));
}
