/* Failures in the middle: what the error says, that nothing works afterwards with that container, and
 * that the outside is as before.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "broken.h"
#include "mounts.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

struct attempt {
    const struct broken *broken;
    rfs_container *container;
};

static void fail(void *data)
{
    const struct attempt *attempt = data;
    const struct broken *broken = attempt->broken;
    if (broken->before)
        broken->before();
    rfs_error err = fresh_error();
    int rc = rfs_prepare(attempt->container, NULL, &err);
    if (broken->in_finalize) {
        REQUIRE_SUCCESS(rc, &err);
        rc = rfs_finalize(attempt->container, &err);
    }
    check_error_at(__FILE__, __LINE__, rc, &err, &broken->expected);
    note("says: %s", err.message);
    if (!broken->in_finalize) {
        CHECK_ERROR(rfs_finalize(attempt->container, &err), &err, .code = -EINVAL, .says = "rfs_prepare");
        CHECK_ERROR(rfs_prepare(attempt->container, NULL, &err), &err, .code = -EINVAL);
    }
}

static struct test_case cases[64];

static void one_failure(void)
{
    const struct broken *current = &all_broken[this_case - cases];
    only_cgroup2();
    struct attempt attempt = {current, container_of(broken_plan(current))};
    char *before = read_all(host_proc, "self/mountinfo"), *dev = list_directory("/dev");
    in_child(CONTAINER_NAMESPACES, fail, &attempt);
    char *after = read_all(host_proc, "self/mountinfo"), *dev_after = list_directory("/dev");
    /* The test itself fills this namespace's tmpfs or makes it read-only. */
    CHECK(strcmp(before, after) == 0 || current->before);
    CHECK(strcmp(dev, dev_after) == 0);
}

/* The same with NULL for the rfs_error. */
static void fail_without_error(void *data)
{
    CHECK(rfs_prepare(data, NULL, NULL) == -ENOENT);
    CHECK(rfs_finalize(data, NULL) == -EINVAL);
}

static void without_error(void)
{
    only_cgroup2();
    in_child(CONTAINER_NAMESPACES, fail_without_error, container_of(broken_plan(&all_broken[0])));
}

/* A plan serves many containers, also after one has failed. */
static void succeed(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
}

static void fail_with_enoent(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -ENOENT);
}

static void plan_used_again(void)
{
    only_cgroup2();
    rfs_plan *plan = broken_plan(&all_broken[0]);
    in_child(CONTAINER_NAMESPACES, fail_with_enoent, container_of(plan));
    make_directory(in_work("missing"), 0755);
    in_child(CONTAINER_NAMESPACES, succeed, container_of(plan));
    in_child(CONTAINER_NAMESPACES, succeed, container_of(plan));
}

int main(void)
{
    size_t n = 0;
    for (; n < n_broken; n++)
        cases[n] = (struct test_case){all_broken[n].name, one_failure};
    cases[n++] = (struct test_case){"without an rfs_error", without_error};
    cases[n++] = (struct test_case){"a plan used again after a failure", plan_used_again};
    return run_cases(cases, n);
}
