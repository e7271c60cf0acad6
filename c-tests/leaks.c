/* The descriptor table is the same before rfs_prepare() and after rfs_finalize(): on success, when any
 * step fails, with 0, 1 and 2 closed, and with next to no descriptors allowed.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "broken.h"
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static struct test_case cases[64];
static struct descriptors before, after;

static rfs_plan *default_plan(void)
{
    only_cgroup2();
    make_image();
    return plan_of(default_spec("runc"));
}

/* 0 to 2: pipes, so that nothing is to be reopened. */
static void pipe_stdio(void)
{
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    for (int fd = 0; fd <= 2; fd++)
        dup3(ends[fd != 0], fd, 0);
    close(ends[0]);
    close(ends[1]);
}

static void null_stdio(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++)
        dup3(null, fd, 0);
    close(null);
}

static void succeed(void *data)
{
    rfs_error err = fresh_error();
    list_descriptors(&before);
    int rc = rfs_prepare(data, NULL, &err);
    list_descriptors(&after);
    REQUIRE_SUCCESS(rc, &err);
    check_descriptors(&before, &after, "after rfs_prepare");
    rc = rfs_finalize(data, &err);
    list_descriptors(&after);
    REQUIRE_SUCCESS(rc, &err);
    check_descriptors(&before, &after, "after rfs_finalize");
}

static void success(void)
{
    rfs_plan *plan = default_plan();
    pipe_stdio();
    in_child(CONTAINER_NAMESPACES, succeed, container_of(plan));
}

static void podman(void)
{
    make_image();
    only_cgroup2();
    make_directory(in_work("state/shm"), 01777);
    static const char *const files[] = {"resolv.conf", "hostname", "hosts", ".containerenv"};
    for (size_t i = 0; i < COUNT(files); i++)
        make_file(in_work("state/%s", files[i]), files[i]);
    rfs_plan *plan = plan_of(spec_from_data("podman.json"));
    pipe_stdio();
    in_child(CONTAINER_NAMESPACES | CLONE_NEWCGROUP, succeed, container_of(plan));
}

static void planning(void)
{
    make_image();
    json_object *spec = default_spec("runc");
    list_descriptors(&before);
    rfs_config *config = config_from_json(spec);
    rfs_plan *plan = plan_of_config(config);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after rfs_plan_new");
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    list_descriptors(&before);
    rfs_error err = fresh_error();
    CHECK_SUCCESS(rfs_plan_describe(plan, null, &err), &err);
    rfs_plan_free(plan);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after rfs_plan_describe");
}

struct combination {
    rfs_container *container;
    unsigned closed; /* Bit n stands for descriptor n. */
};

static void with_some_closed(void *data)
{
    const struct combination *c = data;
    for (int fd = 0; fd <= 2; fd++)
        if (c->closed & 1u << fd)
            close(fd);
    succeed(c->container);
}

static void some_closed(void)
{
    struct combination c = {.container = container_of(default_plan())};
    pipe_stdio();
    for (c.closed = 1; c.closed < 8; c.closed++)
        in_child(CONTAINER_NAMESPACES, with_some_closed, &c);
}

static void with_null(void *data)
{
    const struct combination *c = data;
    for (int fd = 0; fd <= 2; fd++)
        if (c->closed & 1u << fd)
            close(fd);
    list_descriptors(&before);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(c->container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(c->container, &err), &err);
    list_descriptors(&after);
    struct stat own;
    REQUIRE(stat("/dev/null", &own) == 0);
    for (int fd = 0; fd <= 2; fd++) {
        if (c->closed & 1u << fd)
            continue;
        CHECK_THAT(after.table[fd].inode == own.st_ino && after.table[fd].device == own.st_dev &&
                       !after.table[fd].close_on_exec,
                   "descriptor %d is not the container's /dev/null", fd);
        before.table[fd] = after.table[fd];
    }
    check_descriptors(&before, &after, "with /dev/null");
}

static void null_some_closed(void)
{
    struct combination c = {.container = container_of(default_plan())};
    null_stdio();
    for (c.closed = 0; c.closed < 8; c.closed++)
        in_child(CONTAINER_NAMESPACES, with_null, &c);
}

struct limited {
    rfs_container *container;
    rlim_t limit;
};

static void with_limit(void *data)
{
    const struct limited *l = data;
    struct rlimit limit = {l->limit, l->limit};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    rfs_error err = fresh_error();
    list_descriptors(&before);
    int rc = rfs_prepare(l->container, NULL, &err);
    if (rc == 0)
        rc = rfs_finalize(l->container, &err);
    list_descriptors(&after);
    check_descriptors(&before, &after, "with a low limit");
    if (rc < 0)
        CHECK_ERROR(rc, &err, .code = -EMFILE);
    CHECK(rc < 0 || l->limit > 3);
    note("%d descriptors: %s", (int)l->limit - 3, rc < 0 ? err.message : "enough");
}

static void few_descriptors(void)
{
    struct limited l = {.container = container_of(default_plan())};
    pipe_stdio();
    /* No descriptor is allowed at first, and one more each time. */
    for (l.limit = 3; l.limit < 16; l.limit++)
        in_child(CONTAINER_NAMESPACES, with_limit, &l);
}

static void succeed_with_limit(void *data)
{
    struct rlimit limit = {64, 64};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    succeed(data);
}

/* How many there are at once does not grow with the mounts. */
static void descriptors_in_use(void)
{
    only_cgroup2();
    make_image();
    make_directory(in_work("from"), 0755);
    json_object *spec = default_spec("runc");
    for (int i = 0; i < 200; i++)
        spec_add(spec, "mounts",
                 "{'destination': '/new/mount%d', 'type': 'bind', 'source': '%s/from', 'options': ['bind', 'ro']}", i,
                 work);
    rfs_plan *plan = plan_of(spec);
    pipe_stdio();
    in_child(CONTAINER_NAMESPACES, succeed_with_limit, container_of(plan));
}

static int check_close_on_exec(void *userdata, rfs_point point)
{
    (void)userdata;
    list_descriptors(&after);
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        CHECK_THAT(before.table[fd].open || !after.table[fd].open || after.table[fd].close_on_exec,
                   "at point %u descriptor %d is not O_CLOEXEC", point, fd);
    return 0;
}

static int check_close_on_exec_of_mounts(void *userdata, const rfs_mount_request *request)
{
    (void)request;
    check_close_on_exec(userdata, 0);
    return -EPERM;
}

static void with_hooks(void *data)
{
    rfs_callbacks callbacks = {
        .size = sizeof callbacks, .point = check_close_on_exec, .mountfd = check_close_on_exec_of_mounts};
    rfs_error err = fresh_error();
    list_descriptors(&before);
    CHECK(rfs_prepare(data, &callbacks, &err) == 0 || err.code == -EPERM);
    list_descriptors(&after);
    check_descriptors(&before, &after, "with hooks");
}

static void close_on_exec(void)
{
    rfs_plan *plan = default_plan();
    pipe_stdio();
    in_child(CONTAINER_NAMESPACES, with_hooks, container_of(plan));
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/x', 'type': 'bind', 'source': '/no/such/source'}");
    in_child(CONTAINER_NAMESPACES, with_hooks, container_of(plan_of(spec)));
}

static int fail_at_hook(void *userdata, rfs_point point)
{
    return point == *(rfs_point *)userdata ? -EIO : 0;
}

struct hook_failure {
    rfs_container *container;
    rfs_point at;
};

static void with_failing_hook(void *data)
{
    struct hook_failure *f = data;
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &f->at, .point = fail_at_hook};
    rfs_error err = fresh_error();
    list_descriptors(&before);
    int rc = rfs_prepare(f->container, &callbacks, &err);
    list_descriptors(&after);
    CHECK_ERROR(rc, &err, .code = -EIO, .stage = RFS_STAGE_HOOKS);
    check_descriptors(&before, &after, "after a hook's failure");
}

static void failing_hooks(void)
{
    struct hook_failure f = {.container = container_of(default_plan())};
    pipe_stdio();
    for (f.at = RFS_POINT_ROOT_READY; f.at <= RFS_POINT_AFTER_SWITCH; f.at++)
        in_child(CONTAINER_NAMESPACES, with_failing_hook, &f);
}

static void fail(void *data)
{
    const struct broken *broken = &all_broken[this_case - cases];
    if (broken->before)
        broken->before();
    rfs_error err = fresh_error();
    list_descriptors(&before);
    int rc = rfs_prepare(data, NULL, &err);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after rfs_prepare");
    if (rc == 0)
        rc = rfs_finalize(data, &err);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after rfs_finalize");
    CHECK(rc < 0);
}

static void one_failure(void)
{
    only_cgroup2();
    rfs_plan *plan = broken_plan(&all_broken[this_case - cases]);
    pipe_stdio();
    in_child(CONTAINER_NAMESPACES, fail, container_of(plan));
}

int main(void)
{
    size_t n = 0;
    for (; n < n_broken; n++)
        cases[n] = (struct test_case){all_broken[n].name, one_failure};
    static const struct test_case others[] = {
        {"parsing, planning, describing", planning},
        {"default bundle", success},
        {"Podman's bundle", podman},
        {"0, 1, 2 closed in every combination", some_closed},
        {"0, 1, 2 on /dev/null or closed", null_some_closed},
        {"too few descriptors allowed", few_descriptors},
        {"64 descriptors are enough, also for 200 binds", descriptors_in_use},
        {"O_CLOEXEC in callbacks", close_on_exec},
        {"a hook fails", failing_hooks},
    };
    memcpy(cases + n, others, sizeof others);
    return run_cases(cases, n + COUNT(others));
}
