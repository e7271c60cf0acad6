/* Each system call of a set-up fails in turn, with an errno of many. A set-up that reports success must be like one
 * without a fault, or differ as the table of fall-backs says; one that fails says why; and the host stays as it is.
 * FAULTS_ALL=1 tries each call with every errno, otherwise with one, another for each call.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "intervene.h"
#include "mounts.h"
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All that data/syscalls.expected has, but close(2), which has done its work when it fails, and what mount(2)'s way
 * takes. */
static const int calls[] = {
    SYS_access, SYS_chdir, SYS_chroot, SYS_dup3, SYS_fchdir, SYS_fchmodat, SYS_fchownat, SYS_fsconfig, SYS_fsmount,
    SYS_fsopen, SYS_getcwd, SYS_mkdirat, SYS_mknodat, SYS_mount, SYS_mount_setattr, SYS_move_mount, SYS_newfstatat,
    SYS_open_tree, SYS_openat, SYS_openat2, SYS_pivot_root, SYS_readlinkat, SYS_statfs, SYS_fstatfs, SYS_statx,
    SYS_symlinkat, SYS_umount2, SYS_unlinkat, SYS_fcntl,
};

static const int errnos[] = {EPERM, EACCES, ENOSYS, EINVAL, ENOENT, ENOMEM, EIO, EBUSY, EAGAIN, EINTR, ENOSPC};

enum { RESULT = 32768 };

static struct {
    bool is_running; /* what comes before and after is the test's own */
    unsigned count, fail_at;
    int error, failed_call, rc;
    char message[1024], result[RESULT];
} *shared;

static int decide(const struct seccomp_notif *call)
{
    if (!shared->is_running || ++shared->count != shared->fail_at)
        return 0;
    shared->failed_call = call->data.nr;
    return shared->error;
}

/* Success that differs, as documented, and where: the beginning of a line, or what it has in it. */
#define CGROUP2 "ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup"
#define EMPTY " / ro,relatime - tmpfs tmpfs ro,size=4k,nr_inodes="
static const struct {
    int call, error; /* 0: any */
    const char *begins, *has, *why;
} fallbacks[] = {
    {SYS_access, 0, "core ", "", "without a /proc/kcore there is no link /dev/core"},
    {0, EPERM, "/sys/fs/cgroup ", CGROUP2, "a cgroup2 that may not be mounted is bound, with the flags asked for"},
    {0, EBUSY, "/sys/fs/cgroup ", CGROUP2, "the same"},
    {SYS_mknodat, EPERM, "/dev/", "", "a device that may not be made is bound from the host"},
    {SYS_mknodat, EPERM, "", " 20", "the same: with the host's mode"},
    {SYS_mknodat, EPERM, "/proc/", " /null ro,nosuid,noexec", "the same: files are masked with it"},
    {0, 0, "/", EMPTY, "an empty tmpfs that can't be made gets an inode more"},
    {SYS_openat2, ENOENT, "/proc/", "", "a masked or read-only path that is missing is passed over"},
    {SYS_openat2, ENOENT, "/sys/", "", "the same"},
};

static bool may_differ(const char *line, int call, int error)
{
    for (size_t i = 0; i < COUNT(fallbacks); i++)
        if ((fallbacks[i].call == 0 || fallbacks[i].call == call) &&
            (fallbacks[i].error == 0 || fallbacks[i].error == error) &&
            strncmp(line, fallbacks[i].begins, strlen(fallbacks[i].begins)) == 0 && strstr(line, fallbacks[i].has))
            return true;
    return false;
}

/* Whether each line of `text` is in `other` too, or may be missing there. */
static bool is_in(const char *text, const char *other, int call, int error)
{
    char line[1024];
    for (int n; sscanf(text, "%1023[^\n]%n", line, &n) == 1; text += n + (text[n] == '\n')) {
        const char *there = strstr(other, line);
        if (!there && !may_differ(line, call, error))
            return false;
    }
    return true;
}

/* All that a container's process can see of what was made. */
static void describe_container(void)
{
    char cwd[4096] = "?", *table = mount_table(), *dev = list_directory("/dev");
    mode_t mask = umask(0);
    int sys = open("/proc/sys/kernel/hostname", O_WRONLY | O_CLOEXEC);
    int error = sys < 0 ? errno : 0;
    close(sys);
    unsigned open_descriptors = 0;
    for (int fd = 0; fd < 256; fd++)
        open_descriptors += fcntl(fd, F_GETFD) >= 0;
    snprintf(shared->result, RESULT, "umask %o\ncwd %s\n/proc/sys %d\ndescriptors %u\n%s%s", mask,
             getcwd(cwd, sizeof cwd) ? cwd : "-", error,
             open_descriptors, dev, table);
    free(table);
    free(dev);
}

static void set_up(void *data)
{
    (void)data;
    rfs_error err = fresh_error();
    shared->is_running = true;
    shared->rc = rfs_prepare(this_container, NULL, &err);
    if (shared->rc == 0)
        shared->rc = rfs_finalize(this_container, &err);
    shared->is_running = false;
    if (shared->rc == 0)
        describe_container();
    else
        snprintf(shared->message, sizeof shared->message, "%s", err.message);
}

/* As the root of one in which every id is itself. */
static void in_user_namespace(void *data)
{
    enter_user_namespace();
    in_child(CONTAINER_NAMESPACES, set_up, data);
}

static const struct kind {
    const char *name;
    uint64_t flags;
    bool rich, user_namespace;
} kinds[] = {
    {.name = "default"},
    {.name = "rich", .rich = true},
    {.name = "mount(2)", .flags = RFS_OPTION_CLASSIC_MOUNT},
    {.name = "no pivot", .flags = RFS_OPTION_NO_PIVOT},
    {.name = "user namespace", .user_namespace = true},
};

static const struct kind *kind;

static void one_run(void *data)
{
    (void)data;
    REQUIRE(mount("test", work, "tmpfs", 0, "mode=755") == 0);
    make_image();
    json_object *spec = default_spec("runc");
    if (kind->rich) {
        image_directory("data", 0755);
        image_link("data", "link");
        make_directory(in_work("volume"), 0755);
        spec_add(spec, "mounts",
            "{'destination': '/link/ro', 'type': 'bind', 'source': '%s/volume', 'options': ['rbind', 'ro', 'nosuid']}",
                 work);
        spec_add(spec, "mounts",
            "{'destination': '/data/tmp', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro', 'mode=700']}");
        spec_add(spec, "linux.devices",
            "{'path': '/dev/more', 'type': 'c', 'major': 1, 'minor': 5, 'uid': 5, 'gid': 6}");
    }
    if (kind->user_namespace)
        spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    rfs_plan *plan = plan_with_flags(spec, kind->flags);
    this_container = container_of(plan);
    char *before = read_all(host_proc, "self/mountinfo");
    intervene(calls, COUNT(calls), decide);
    if (kind->user_namespace)
        in_child(0, in_user_namespace, NULL);
    else
        in_child(CONTAINER_NAMESPACES, set_up, NULL);
    shared->is_running = false; /* the call may have been its last */
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(strcmp(before, after) == 0, "the host's mounts were changed");
}

static void run(unsigned fail_at, int error)
{
    memset(shared, 0, sizeof *shared);
    shared->fail_at = fail_at;
    shared->error = error;
    in_child(CLONE_NEWNS, one_run, NULL);
}

static void faults(void)
{
    static char right[RESULT];
    unsigned tried = 0, clean = 0, survived = 0;
    bool all = getenv("FAULTS_ALL");
    if (all)
        alarm(0); /* it takes as long as it takes */
    for (kind = kinds; strcmp(kind->name, this_case->name) != 0;)
        kind++;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    only_cgroup2();
    run(0, 0);
    REQUIRE_THAT(shared->rc == 0, "%s", shared->message);
    memcpy(right, shared->result, RESULT);
    unsigned n = shared->count;
    CHECK_THAT(n > 50, "only %u system calls", n);
    for (unsigned at = 1; at <= n; at++)
        for (size_t i = 0; i < (all ? COUNT(errnos) : 1); i++) {
            size_t e = all ? i : (at + (size_t)(kind - kinds)) % COUNT(errnos);
            run(at, errnos[e]);
            int call = shared->failed_call, error = errnos[e];
            bool is_clean = shared->rc != 0 ? shared->message[0] != '\0'
                                            : is_in(right, shared->result, call, error) &&
                                                  is_in(shared->result, right, call, error);
            tried++;
            clean += is_clean;
            survived += shared->rc == 0;
            CHECK_THAT(is_clean, "call %u (number %d) fails with %s, and success is another:\n%.3000s", at, call,
                       strerrorname_np(error), shared->result);
        }
    note("faults of %s: %u tried, %u clean, %u of them set up all the same", kind->name, tried, clean, survived);
}

int main(void)
{
    static struct test_case cases[COUNT(kinds)];
    for (size_t i = 0; i < COUNT(kinds); i++)
        cases[i] = (struct test_case){kinds[i].name, faults};
    return run_cases(cases, COUNT(cases));
}
