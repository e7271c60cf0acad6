/* No heap allocation in any call of the container's process, on success, with hooks, and when something fails at any
 * point: watch.c, which is part of every other test too, ends a process that does.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "broken.h"
#include "watch.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

static struct test_case cases[64];

static void planning_is_counted(void)
{
    make_image();
    rfs_config *config = config_from_json(default_spec("runc"));
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    struct watched before = *watched_memory();
    int rc = rfs_plan_new(config, &plan, &err);
    size_t allocations = watched_memory()->allocations - before.allocations;
    REQUIRE_SUCCESS(rc, &err);
    CHECK_THAT(allocations > 0, "rfs_plan_new made no allocation: the library's are not seen");
    before = *watched_memory();
    rfs_plan_free(plan);
    CHECK(watched_memory()->frees > before.frees);
}

static unsigned points_seen;

static int count_points(void *userdata, rfs_point point)
{
    (void)userdata, (void)point;
    points_seen++;
    return 0;
}

static void succeed(void *data)
{
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = count_points};
    rfs_error err = fresh_error();
    int rc = rfs_prepare(data, &callbacks, &err);
    REQUIRE_SUCCESS(rc, &err);
    CHECK(points_seen == 6);
    rc = rfs_finalize(data, &err);
    REQUIRE_SUCCESS(rc, &err);
}

static void default_bundle(void)
{
    only_cgroup2();
    make_image();
    in_child(CONTAINER_NAMESPACES, succeed, container_of(plan_of(default_spec("runc"))));
}

static void default_bundle_of_crun(void)
{
    only_cgroup2();
    make_image();
    in_child(CONTAINER_NAMESPACES, succeed, container_of(plan_of(default_spec("crun"))));
}

static void docker(void)
{
    only_cgroup2();
    make_image();
    make_directory(in_work("state/volume"), 0755);
    make_directory(in_work("state/config"), 0755);
    make_file(in_work("state/resolv.conf"), "x");
    make_file(in_work("state/hostname"), "x");
    make_file(in_work("state/hosts"), "x");
    in_child(CONTAINER_NAMESPACES, succeed, container_of(plan_of(spec_from_data("docker.json"))));
}

#define STATE "{}"

struct hooked {
    const rfs_plan *plan;
    rfs_container *container;
};

static void with_hooks(void *data)
{
    const struct hooked *hooked = data;
    rfs_callbacks callbacks = {.size = sizeof callbacks, .state = STATE, .state_len = strlen(STATE)};
    rfs_error err = fresh_error();
    int rc = rfs_prepare(hooked->container, &callbacks, &err);
    REQUIRE_SUCCESS(rc, &err);
    rc = rfs_run_hooks(hooked->plan, RFS_HOOKS_START_CONTAINER, STATE, strlen(STATE), &err);
    CHECK_ERROR(rc, &err, .code = -ECANCELED, .says = "no luck");
}

static void hooks(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_set(spec, "hooks",
             "{'createContainer': [{'path': '/bin/sh', 'args': ['sh', '-c', 'exit 0'], 'env': ['A=1']}], "
             "'startContainer': [{'path': '/bin/sh', 'args': ['sh', '-c', 'echo no luck; exit 1'], 'timeout': 60}]}");
    const rfs_plan *plan = plan_of(spec);
    in_child(CONTAINER_NAMESPACES, with_hooks, &(struct hooked){plan, container_of(plan)});
}

static void fail(void *data)
{
    const struct broken *broken = &all_broken[this_case - cases];
    if (broken->before)
        broken->before();
    rfs_error err = fresh_error();
    int rc = rfs_prepare(data, NULL, &err);
    if (rc == 0)
        rc = rfs_finalize(data, &err);
    CHECK(rc < 0);
}

static void one_failure(void)
{
    only_cgroup2();
    in_child(CONTAINER_NAMESPACES, fail, container_of(broken_plan(&all_broken[this_case - cases])));
}

int main(void)
{
    size_t n = 0;
    for (; n < n_broken; n++)
        cases[n] = (struct test_case){all_broken[n].name, one_failure};
    static const struct test_case others[] = {
        {"rfs_plan_new is seen to allocate", planning_is_counted},
        {"default bundle of runc", default_bundle},
        {"default bundle of crun", default_bundle_of_crun},
        {"Docker's bundle", docker},
        {"hooks", hooks},
    };
    memcpy(cases + n, others, sizeof others);
    return run_cases(cases, n + COUNT(others));
}
