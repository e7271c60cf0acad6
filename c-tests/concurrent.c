/* One plan and many containers: in the children of threads, made in every way, at the same time; in children that share
 * memory, one after another; and beside threads that allocate all the time.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 200
#define STACK (256 << 10)
/* There is no network namespace among them, because two hundred of those take long to be removed. */
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)

/* The result of a child, in memory that every child shares. */
struct outcome {
    bool prepared, finalized;
    pid_t pid; /* This is the pid that the child sees. */
    rfs_error err;
};

static struct outcome *outcomes;
static rfs_container *containers[CHILDREN];
/* Pipes. Each child writes to the first when it has prepared its container, and waits until the second is closed. */
static int prepared[2] = {-1, -1}, go_on[2] = {-1, -1};

static void make_containers(const rfs_plan *plan, size_t n)
{
    outcomes = mmap(NULL, CHILDREN * sizeof *outcomes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(outcomes != MAP_FAILED);
    for (size_t i = 0; i < n; i++) {
        containers[i] = container_of(plan);
        outcomes[i].err = (rfs_error){.size = sizeof(rfs_error)};
    }
}

/* Runs in the child, which may do no more than after a vfork(2). */
static int start(size_t i, bool wait)
{
    struct outcome *outcome = &outcomes[i];
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(go_on[1]);
    outcome->pid = getpid();
    if (rfs_prepare(containers[i], NULL, &outcome->err) != 0)
        return 1;
    outcome->prepared = true;
    if (wait && (write(prepared[1], "", 1) != 1 || read(go_on[0], &byte, 1) != 0))
        return 1;
    if (rfs_finalize(containers[i], &outcome->err) != 0)
        return 1;
    outcome->finalized = access("/bin/busybox", X_OK) == 0 && access(work, F_OK) == -1;
    return !outcome->finalized;
}

static void check_outcomes(size_t n)
{
    size_t well = 0;
    for (size_t i = 0; i < n; i++) {
        const struct outcome *outcome = &outcomes[i];
        bool ok = outcome->finalized && outcome->pid == 1;
        well += ok;
        if (!ok && i - well < 5)
            note("child %zu, pid %d, %s: %.600s", i, (int)outcome->pid, outcome->prepared ? "prepared" : "not prepared",
                 outcome->err.message);
    }
    CHECK_THAT(well == n, "%zu of %zu containers started", well, n);
}

static rfs_plan *default_plan(void)
{
    only_cgroup2();
    make_image();
    return plan_of(default_spec("runc"));
}

/* Makes a child by fork(2), with all namespaces new. */
static pid_t forked(size_t i)
{
    if (unshare(CLONE_NEWPID) != 0) /* for the children of this thread */
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(NAMESPACES & ~CLONE_NEWPID) != 0 || start(i, true));
    return pid;
}

static int sharing_child(void *number)
{
    _exit(start((size_t)(uintptr_t)number, true));
}

/* Makes a child as vfork(2) does: the calling thread stops, and the others go on. */
static pid_t sharing(size_t i)
{
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -1;
    pid_t pid =
        clone(sharing_child, stack + STACK, NAMESPACES | CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)(uintptr_t)i);
    munmap(stack, STACK);
    return pid;
}

static pid_t cloned(size_t i)
{
    struct clone_args arguments = {.flags = NAMESPACES, .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0)
        _exit(start(i, true));
    return pid;
}

static void *thread(void *number)
{
    static pid_t (*const ways[])(size_t) = {forked, sharing, cloned};
    size_t i = (size_t)(uintptr_t)number;
    int status = -1;
    pid_t pid = ways[i % COUNT(ways)](i);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        note("child %zu: pid %d, status %#x, errno %d", i, (int)pid, (unsigned)status, errno);
    /* Another thread may wait for a child that has ended. */
    if (!outcomes[i].prepared && write(prepared[1], "", 1) != 1)
        note("write: errno %d", errno);
    return NULL;
}

static void at_once(void)
{
    pthread_t threads[CHILDREN];
    pthread_attr_t attributes;
    char byte;
    make_containers(default_plan(), CHILDREN);
    REQUIRE(pipe2(prepared, O_CLOEXEC) == 0 && pipe2(go_on, O_CLOEXEC) == 0);
    REQUIRE(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK) == 0);
    for (size_t i = 0; i < CHILDREN; i++)
        REQUIRE(pthread_create(&threads[i], &attributes, thread, (void *)(uintptr_t)i) == 0);
    for (size_t i = 0; i < CHILDREN; i++)
        REQUIRE(read(prepared[0], &byte, 1) == 1);
    /* All children have prepared their containers. */
    close(go_on[1]);
    for (size_t i = 0; i < CHILDREN; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    check_outcomes(CHILDREN);
}

static void start_alone(void *number)
{
    start((size_t)(uintptr_t)number, false);
}

/* The containers share one rootfs and have no /dev of their own. Each replaces the image's ptmx, unless another has
 * done so. */
static void in_one_dev(void)
{
    make_image();
    for (int round = 0; round < 5; round++) {
        pid_t pids[CHILDREN / 4];
        unlink(image("dev/ptmx"));
        image_file("dev/ptmx", "the image's");
        make_containers(plan_of(empty_spec()), COUNT(pids));
        for (size_t i = 0; i < COUNT(pids); i++) {
            pids[i] = (pid_t)syscall(SYS_clone, NAMESPACES | SIGCHLD, NULL, NULL, NULL, 0);
            if (pids[i] == 0)
                _exit(start(i, false));
        }
        for (size_t i = 0; i < COUNT(pids); i++)
            CHECK(pids[i] > 0 && waitpid(pids[i], NULL, 0) == pids[i]);
        check_outcomes(COUNT(pids));
        char target[16] = "";
        CHECK(readlink(image("dev/ptmx"), target, sizeof target - 1) > 0 && strcmp(target, "pts/ptmx") == 0);
    }
}

static void one_after_another(void)
{
    make_containers(default_plan(), 100);
    for (size_t i = 0; i < 100; i++)
        in_sharing_child(NAMESPACES, start_alone, (void *)(uintptr_t)i);
    check_outcomes(100);
}

/* Beside threads that allocate all the time a raw clone has a copy of malloc's lock, and often one that is taken, which
 * nobody will ever give back. */

static atomic_bool allocating;

/* Sizes of which no thread keeps a store of its own. */
static void *allocate(void *unused)
{
    void *kept[16] = {NULL};
    for (unsigned i = 0; allocating; i++) {
        free(kept[i % COUNT(kept)]);
        kept[i % COUNT(kept)] = malloc(2000 + i * 7919 % 60000);
    }
    for (size_t i = 0; i < COUNT(kept); i++)
        free(kept[i]);
    return unused;
}

#define AT_A_TIME 20

/* Waits for them until none has ended for ten seconds. Returns how many have not: they are killed. */
static size_t wait_for_all(const pid_t *pids, size_t n, int *statuses)
{
    bool ended[AT_A_TIME] = {false};
    size_t left = n;
    for (unsigned idle = 0; left > 0 && idle < 1000; idle++) {
        for (size_t i = 0; i < n; i++) {
            if (!ended[i] && waitpid(pids[i], &statuses[i], WNOHANG) == pids[i]) {
                ended[i] = true;
                left--;
                idle = 0;
            }
        }
        usleep(10000);
    }
    for (size_t i = 0; i < n; i++)
        if (!ended[i] && kill(pids[i], SIGKILL) == 0)
            waitpid(pids[i], &statuses[i], 0);
    return left;
}

static void beside_allocations(rfs_plan *plan, bool fails)
{
    pthread_t threads[2];
    size_t hung = 0, wrong = 0;
    const char *says = "";
    make_containers(plan, CHILDREN);
    mallopt(M_ARENA_MAX, 1); /* Otherwise each thread has a lock of its own. */
    allocating = true;
    for (size_t i = 0; i < COUNT(threads); i++)
        REQUIRE(pthread_create(&threads[i], NULL, allocate, NULL) == 0);
    for (size_t first = 0; first < CHILDREN; first += AT_A_TIME) {
        pid_t pids[AT_A_TIME];
        int statuses[AT_A_TIME];
        for (size_t i = 0; i < AT_A_TIME; i++) {
            pids[i] = (pid_t)syscall(SYS_clone, NAMESPACES | SIGCHLD, NULL, NULL, NULL, 0);
            if (pids[i] == 0)
                _exit(start(first + i, false));
            REQUIRE(pids[i] > 0);
        }
        hung += wait_for_all(pids, AT_A_TIME, statuses);
        for (size_t i = 0; i < AT_A_TIME; i++)
            if (WIFEXITED(statuses[i]) ? (statuses[i] != 0) != fails : WTERMSIG(statuses[i]) != SIGKILL)
                wrong++, says = outcomes[first + i].err.message;
    }
    allocating = false;
    for (size_t i = 0; i < COUNT(threads); i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    CHECK_THAT(hung == 0, "%zu of %d children hang, or were killed", hung, CHILDREN);
    CHECK_THAT(wrong == 0, "%zu children did not end as they should: %.600s", wrong, says);
}

static void cgroup2(void)
{
    beside_allocations(default_plan(), false);
}

static void hosts_cgroups(void)
{
    make_image();
    beside_allocations(plan_of(default_spec("runc")), false);
}

/* The host's hierarchies of cgroup v1 without cgroup2, or one of v1 where the host has none. */
static void cgroup1(void)
{
    umount2("/sys/fs/cgroup/unified", MNT_DETACH);
    struct statfs fs;
    if (statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC) {
        umount2("/sys/fs/cgroup", MNT_DETACH);
        REQUIRE(mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, NULL) == 0 && mkdir("/sys/fs/cgroup/one", 0755) == 0);
        if (mount("cgroup", "/sys/fs/cgroup/one", "cgroup", 0, "none,name=rfstest") != 0)
            skip_case("this kernel has no cgroup v1");
    }
    char *mounts = mount_table();
    REQUIRE(strstr(mounts, " - cgroup ") && !strstr(mounts, " - cgroup2 "));
    free(mounts);
    make_image();
    beside_allocations(plan_of(default_spec("runc")), false);
}

static void tmpcopyup(void)
{
    make_image();
    image_file("data/file", "x");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['tmpcopyup']}");
    beside_allocations(plan_of(spec), false);
}

static void relabelled(void)
{
    make_image();
    make_file(in_work("from/directory/file"), "x");
    json_object *spec = empty_spec();
    spec_set(spec, "linux.mountLabel", "'system_u:object_r:container_file_t:s0'");
    spec_add(spec, "mounts",
             "{'destination': '/labelled', 'type': 'bind', 'source': '%s/from', 'options': ['rbind', 'z']}", work);
    beside_allocations(plan_of(spec), false);
}

static void with_flags(uint64_t flags)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs'}");
    beside_allocations(plan_with_flags(spec, flags), false);
}

static void no_pivot(void)
{
    with_flags(RFS_OPTION_NO_PIVOT);
}

static void classic_mounts(void)
{
    with_flags(RFS_OPTION_CLASSIC_MOUNT);
}

static void link_that_is_no_text(void)
{
    make_image();
    image_link("/proc/\xff\xfe", "bad");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/bad', 'type': 'tmpfs', 'source': 'tmpfs'}");
    beside_allocations(plan_of(spec), true);
}

/* All that a program may do with one configuration and one plan in many threads. */
struct shared_by_threads {
    rfs_config *config;
    rfs_plan *plan;
    atomic_uint wrong;
};

static void *use_all(void *data)
{
    struct shared_by_threads *shared = data;
    rfs_error err = fresh_error();
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < 200; i++) {
        rfs_plan *plan = NULL;
        rfs_container *container = NULL;
        bool good = rfs_plan_new(shared->config, &plan, &err) == 0;
        good = good && rfs_plan_describe(shared->plan, null, &err) == 0;
        good = good && rfs_container_new(shared->plan, &container, &err) == 0;
        good = good && rfs_container_new(shared->plan, NULL, &err) == -EINVAL;
        good = good && rfs_plan_warning(shared->plan, 1000) == NULL;
        rfs_container_free(container);
        rfs_plan_free(plan);
        if (!good)
            atomic_fetch_add(&shared->wrong, 1);
    }
    close(null);
    return NULL;
}

static void many_threads(void)
{
    enum { THREADS = 8 };
    make_image();
    json_object *spec = default_spec("runc");
    rfs_error err = fresh_error();
    struct shared_by_threads shared = {.config = config_from_json(spec)};
    REQUIRE_SUCCESS(rfs_plan_new(shared.config, &shared.plan, &err), &err);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, use_all, &shared) == 0);
    for (size_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    CHECK_THAT(shared.wrong == 0, "%u", shared.wrong);
    rfs_plan_free(shared.plan);
    rfs_config_free(shared.config);
    json_object_put(spec);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"one plan: 8 threads that plan, describe and make containers", many_threads},
        {"one plan: 200 containers at once, by fork, vfork and clone3 in threads", at_once},
        {"one rootfs without a /dev of its own: 50 containers at once", in_one_dev},
        {"one plan: 100 children that share memory, one after another", one_after_another},
        {"raw clones beside threads that allocate: cgroup2", cgroup2},
        {"raw clones beside threads that allocate: the host's cgroups", hosts_cgroups},
        {"raw clones beside threads that allocate: cgroup v1 alone", cgroup1},
        {"raw clones beside threads that allocate: tmpcopyup", tmpcopyup},
        {"raw clones beside threads that allocate: z", relabelled},
        {"raw clones beside threads that allocate: no pivot", no_pivot},
        {"raw clones beside threads that allocate: mount(2)", classic_mounts},
        {"raw clones beside threads that allocate: a link to below /proc that is no text", link_that_is_no_text},
    };
    return run_cases(cases, COUNT(cases));
}
