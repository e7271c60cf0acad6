/* No heap allocation from the start of rfs_prepare() to the end of rfs_finalize(). The malloc family is
 * defined here, in the program, so that the library's calls come here too.
 */
#include "broken.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

int main(void)
{
    return skip_all("the sanitizer has its own malloc");
}

#else

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static struct {
    bool on;
    unsigned allocations, frees;
} counted;

void *malloc(size_t size)
{
    counted.allocations += counted.on;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    counted.allocations += counted.on;
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    counted.allocations += counted.on;
    return __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
    counted.allocations += counted.on;
    return size && n > SIZE_MAX / size ? NULL : __libc_realloc(old, n * size);
}

void *memalign(size_t alignment, size_t size)
{
    counted.allocations += counted.on;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    counted.allocations += counted.on;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    counted.allocations += counted.on;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

void free(void *memory)
{
    counted.frees += counted.on && memory;
    __libc_free(memory);
}

static void count(bool on)
{
    if (on)
        counted.allocations = counted.frees = 0;
    counted.on = on;
}

static struct test_case cases[64];

static void planning_is_counted(void)
{
    make_image();
    rfs_config *config = config_from_json(default_spec("runc"));
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    count(true);
    int rc = rfs_plan_new(config, &plan, &err);
    count(false);
    REQUIRE_SUCCESS(rc, &err);
    CHECK_THAT(counted.allocations > 0, "rfs_plan_new made %u allocations: the counter does not see the library's", counted.allocations);
    count(true);
    rfs_plan_free(plan);
    count(false);
    CHECK(counted.frees > 0);
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
    count(true);
    int rc = rfs_prepare(data, &callbacks, &err);
    count(false);
    REQUIRE_SUCCESS(rc, &err);
    CHECK(points_seen == 6);
    CHECK_THAT(counted.allocations == 0 && counted.frees == 0, "rfs_prepare: %u allocations, %u frees", counted.allocations, counted.frees);
    count(true);
    rc = rfs_finalize(data, &err);
    count(false);
    REQUIRE_SUCCESS(rc, &err);
    CHECK_THAT(counted.allocations == 0 && counted.frees == 0, "rfs_finalize: %u allocations, %u frees", counted.allocations, counted.frees);
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
    count(true);
    int rc = rfs_prepare(hooked->container, &callbacks, &err);
    count(false);
    REQUIRE_SUCCESS(rc, &err);
    CHECK_THAT(counted.allocations == 0 && counted.frees == 0, "rfs_prepare: %u allocations, %u frees", counted.allocations, counted.frees);
    count(true);
    rc = rfs_run_hooks(hooked->plan, RFS_HOOKS_START_CONTAINER, STATE, strlen(STATE), &err);
    count(false);
    CHECK_ERROR(rc, &err, .code = -ECANCELED, .says = "no luck");
    CHECK_THAT(counted.allocations == 0 && counted.frees == 0, "rfs_run_hooks: %u allocations, %u frees", counted.allocations, counted.frees);
}

static void hooks(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_set(spec, "hooks", "{'createContainer': [{'path': '/bin/sh', 'args': ['sh', '-c', 'exit 0'], 'env': ['A=1']}], "
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
    count(true);
    int rc = rfs_prepare(data, NULL, &err);
    if (rc == 0)
        rc = rfs_finalize(data, &err);
    count(false);
    CHECK(rc < 0);
    CHECK_THAT(counted.allocations == 0 && counted.frees == 0, "%u allocations, %u frees: %s", counted.allocations, counted.frees, err.message);
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

#endif
