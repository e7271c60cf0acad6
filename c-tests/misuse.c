/* Calls in the wrong place, order or number: each is -EINVAL with a sentence, and changes nothing.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static rfs_plan *plan_with(uint64_t flags)
{
    only_cgroup2();
    make_image();
    rfs_config *config = config_from_json(default_spec("runc"));
    rfs_options options = {.size = sizeof options, .flags = flags};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    return plan_of_config(config);
}

static void expect_refusal(int rc, const rfs_error *err, const char *says)
{
    CHECK_ERROR(rc, err, .code = -EINVAL, .says = says);
}

static void succeed(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
}

static void forgotten_unshare(void)
{
    rfs_container *container = container_of(plan_with(0));
    rfs_error err = fresh_error();
    char *before = read_all(host_proc, "self/mountinfo"), *root = list_directory(image(""));
    for (int i = 0; i < 2; i++) {
        expect_refusal(rfs_prepare(container, NULL, &err), &err, "unshare(CLONE_NEWNS)");
        CHECK(err.stage == RFS_STAGE_ROOT || err.stage == RFS_STAGE_PLAN);
    }
    CHECK(rfs_prepare(container, NULL, NULL) == -EINVAL);
    expect_refusal(rfs_finalize(container, &err), &err, "rfs_prepare");
    char *after = read_all(host_proc, "self/mountinfo"), *root_after = list_directory(image(""));
    CHECK(strcmp(before, after) == 0 && strcmp(root, root_after) == 0);
    CHECK(access("/proc/self/mountinfo", F_OK) == 0);
    in_child(CONTAINER_NAMESPACES, succeed, container); /* The container is as it was. */
}

static void forgotten_in_a_child(void)
{
    /* The other namespaces are new, and the mount namespace is not. */
    rfs_container *container = container_of(plan_with(0));
    rfs_error err = fresh_error();
    REQUIRE(unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) == 0);
    expect_refusal(rfs_prepare(container, NULL, &err), &err, "unshare(CLONE_NEWNS)");
    /* After this call the mount namespace is new. */
    in_child(CONTAINER_NAMESPACES, succeed, container);
}

static void unshared_after_refusal(void)
{
    /* A refusal has done nothing, so the process may correct its mistake. */
    rfs_container *container = container_of(plan_with(0));
    rfs_error err = fresh_error();
    expect_refusal(rfs_prepare(container, NULL, &err), &err, "unshare(CLONE_NEWNS)");
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    succeed(container);
}

static void planned_inside(void *data)
{
    (void)data;
    succeed(container_of(plan_with(RFS_OPTION_PLANNED_INSIDE)));
    check_mount("/ /bundle/rootfs ro,relatime - tmpfs test rw*");
}

static void plan_made_inside(void)
{
    in_child(CONTAINER_NAMESPACES, planned_inside, NULL);
}

static void seams_before_prepare(void *data)
{
    rfs_error err = fresh_error();
    expect_refusal(rfs_finalize(data, &err), &err, "rfs_prepare");
    expect_refusal(rfs_mask_paths(data, &err), &err, "rfs_prepare");
    expect_refusal(rfs_readonly_paths(data, &err), &err, "rfs_prepare");
    expect_refusal(rfs_bind_fd(data, host_proc, "/x", &err), &err, "rfs_prepare");
    expect_refusal(rfs_bind_console(data, host_proc, &err), &err, "rfs_prepare");
    CHECK(rfs_container_root_fd(data) == -EINVAL);
    CHECK(rfs_finalize(data, NULL) == -EINVAL && rfs_mask_paths(data, NULL) == -EINVAL &&
          rfs_readonly_paths(data, NULL) == -EINVAL);
    struct stat st;
    CHECK(stat("/proc/keys", &st) != 0 || S_ISREG(st.st_mode));
    CHECK(access("/proc/sys/kernel/domainname", W_OK) == 0);
}

static void before_prepare(void)
{
    rfs_container *container = container_of(plan_with(RFS_OPTION_SEPARATE_MASKS));
    char *before = read_all(host_proc, "self/mountinfo");
    seams_before_prepare(container);
    in_child(CONTAINER_NAMESPACES, seams_before_prepare, container);
    in_child(CONTAINER_NAMESPACES, succeed, container); /* The container is as it was. */
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK(strcmp(before, after) == 0);
}

/* A container is started once. */
static void twice(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    char *before = mount_table();
    expect_refusal(rfs_prepare(data, NULL, &err), &err, "started once");
    expect_refusal(rfs_container_set_rootfs_fd(data, host_proc, &err), &err, "before rfs_prepare()");
    expect_refusal(rfs_container_set_source_fd(data, 0, host_proc, &err), &err, "before rfs_prepare()");
    CHECK(rfs_container_root_fd(data) == -EINVAL);
    char *after = mount_table();
    CHECK(strcmp(before, after) == 0);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    expect_refusal(rfs_prepare(data, NULL, &err), &err, "started once");
}

static void prepare_twice(void)
{
    in_child(CONTAINER_NAMESPACES, twice, container_of(plan_with(0)));
}

static void finalized_twice(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    char *before = mount_table();
    expect_refusal(rfs_finalize(data, &err), &err, "rfs_finalize() has been called");
    expect_refusal(rfs_bind_fd(data, host_proc, "/x", &err), &err, "rfs_finalize() has been called");
    expect_refusal(rfs_bind_console(data, host_proc, &err), &err, "rfs_finalize() has been called");
    char *after = mount_table();
    CHECK(strcmp(before, after) == 0);
}

static void finalize_twice(void)
{
    in_child(CONTAINER_NAMESPACES, finalized_twice, container_of(plan_with(0)));
}

static void another_container(void *data)
{
    rfs_container **containers = data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(containers[0], NULL, &err), &err);
    expect_refusal(rfs_finalize(containers[1], &err), &err, "rfs_prepare");
    REQUIRE_SUCCESS(rfs_finalize(containers[0], &err), &err);
}

static void finalize_of_another_container(void)
{
    const rfs_plan *plan = plan_with(0);
    rfs_container *containers[2] = {container_of(plan), container_of(plan)};
    in_child(CONTAINER_NAMESPACES, another_container, containers);
}

static void finalize_in_the_parent(void)
{
    rfs_container *container = container_of(plan_with(0));
    in_child(CONTAINER_NAMESPACES, succeed, container);
    rfs_error err = fresh_error();
    expect_refusal(rfs_finalize(container, &err), &err, "rfs_prepare() has not succeeded");
}

static void prepare_only(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
}

/* This process shares the memory of the child that prepared the container, but not its namespace. */
static void finalize_outside_of_shared_memory(void)
{
    rfs_container *container = container_of(plan_with(RFS_OPTION_SEPARATE_MASKS));
    char *before = read_all(host_proc, "self/mountinfo");
    in_sharing_child(CONTAINER_NAMESPACES, prepare_only, container);
    rfs_error err = fresh_error();
    expect_refusal(rfs_finalize(container, &err), &err, "is not the root that rfs_prepare() has made");
    expect_refusal(rfs_mask_paths(container, &err), &err, "is not the root that rfs_prepare() has made");
    expect_refusal(rfs_readonly_paths(container, &err), &err, "is not the root that rfs_prepare() has made");
    expect_refusal(rfs_bind_fd(container, host_proc, "/x", &err), &err, "is not the root that rfs_prepare() has made");
    expect_refusal(rfs_bind_console(container, host_proc, &err), &err, "is not the root that rfs_prepare() has made");
    expect_refusal(rfs_prepare(container, NULL, &err), &err, "started once");
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK(strcmp(before, after) == 0 && access("/x", F_OK) == -1);
}

/* In a callback rfs_prepare() has not ended yet, so a call that belongs before or after it changes nothing. */
static int call_all(void *userdata, rfs_point point)
{
    rfs_error err = fresh_error();
    unsigned *points = userdata;
    char *before = mount_table();
    expect_refusal(rfs_prepare(this_container, NULL, &err), &err, "started once");
    expect_refusal(rfs_finalize(this_container, &err), &err, "has not succeeded");
    expect_refusal(rfs_mask_paths(this_container, &err), &err, "has not succeeded");
    expect_refusal(rfs_readonly_paths(this_container, &err), &err, "has not succeeded");
    expect_refusal(rfs_container_set_rootfs_fd(this_container, host_proc, &err), &err, "before rfs_prepare()");
    expect_refusal(rfs_container_set_source_fd(this_container, 0, host_proc, &err), &err, "before rfs_prepare()");
    char *after = mount_table();
    CHECK_THAT(strcmp(before, after) == 0, "point %u", point);
    free(before);
    free(after);
    *points += 1;
    return 0;
}

static void in_callbacks(void *data)
{
    unsigned points = 0;
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &points, .point = call_all};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, &callbacks, &err), &err);
    CHECK(points == 6);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    check_mount("/ * ro,relatime*");
}

static void calls_in_a_callback(void)
{
    this_container = container_of(plan_with(RFS_OPTION_SEPARATE_MASKS));
    in_child(CONTAINER_NAMESPACES, in_callbacks, this_container);
}

static int fail_at(void *userdata, rfs_point point)
{
    return point == *(const rfs_point *)userdata ? -ECANCELED : 0;
}

static rfs_point failing_point;

static void failed(void *data)
{
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &failing_point, .point = fail_at};
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, &callbacks, &err), &err, .code = -ECANCELED, .stage = RFS_STAGE_HOOKS);
    expect_refusal(rfs_prepare(data, NULL, &err), &err, "started once");
    expect_refusal(rfs_finalize(data, &err), &err, "has not succeeded");
    expect_refusal(rfs_mask_paths(data, &err), &err, "has not succeeded");
    expect_refusal(rfs_readonly_paths(data, &err), &err, "has not succeeded");
    expect_refusal(rfs_bind_fd(data, host_proc, "/x", &err), &err, "after rfs_prepare() has succeeded");
    expect_refusal(rfs_bind_console(data, host_proc, &err), &err, "after rfs_prepare() has succeeded");
    CHECK(rfs_container_root_fd(data) == -EINVAL);
}

static void after_a_failure(void)
{
    rfs_plan *plan = plan_with(RFS_OPTION_SEPARATE_MASKS);
    for (failing_point = RFS_POINT_ROOT_READY; failing_point <= RFS_POINT_AFTER_SWITCH; failing_point++)
        in_child(CONTAINER_NAMESPACES, failed, container_of(plan));
}

static void masks_unseparated(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    expect_refusal(rfs_mask_paths(data, &err), &err, "RFS_OPTION_SEPARATE_MASKS");
    expect_refusal(rfs_readonly_paths(data, &err), &err, "RFS_OPTION_SEPARATE_MASKS");
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    expect_refusal(rfs_mask_paths(data, &err), &err, "RFS_OPTION_SEPARATE_MASKS");
    expect_refusal(rfs_readonly_paths(data, &err), &err, "RFS_OPTION_SEPARATE_MASKS");
}

static void masks_without_the_option(void)
{
    in_child(CONTAINER_NAMESPACES, masks_unseparated, container_of(plan_with(0)));
}

static bool domainname_is_writable(void)
{
    return access("/proc/sys/kernel/domainname", W_OK) == 0;
}

static bool uptime_is_masked(void)
{
    struct stat st;
    return stat("/proc/uptime", &st) == 0 && S_ISCHR(st.st_mode);
}

static void separate_masks(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    CHECK(domainname_is_writable() && !uptime_is_masked());
    REQUIRE_SUCCESS(rfs_readonly_paths(data, &err), &err);
    CHECK(!domainname_is_writable() && !uptime_is_masked());
    REQUIRE_SUCCESS(rfs_mask_paths(data, &err), &err);
    CHECK(!domainname_is_writable() && uptime_is_masked());
}

static void separate_masks_before_finalize(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_mask_paths(data, &err), &err);
    REQUIRE_SUCCESS(rfs_readonly_paths(data, &err), &err);
    CHECK(!domainname_is_writable() && uptime_is_masked());
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
}

static void masks_with_the_option(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'proc', 'source': 'proc'}");
    spec_add(spec, "linux.maskedPaths", "'/proc/uptime'");
    spec_add(spec, "linux.maskedPaths", "'/proc/no-such-file'");
    spec_add(spec, "linux.readonlyPaths", "'/proc/sys'");
    rfs_config *config = config_from_json(spec);
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_SEPARATE_MASKS};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    rfs_plan *plan = plan_of_config(config);
    in_child(CONTAINER_NAMESPACES, separate_masks, container_of(plan));
    in_child(CONTAINER_NAMESPACES, separate_masks_before_finalize, container_of(plan));
}

static void without_privilege(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -EPERM, .stage = RFS_STAGE_ROOT);
}

static void as_an_ordinary_user(void)
{
    in_child(CONTAINER_NAMESPACES, without_privilege, container_of(plan_with(0)));
}

static void chroot_inside(void *data)
{
    rfs_error err = fresh_error();
    struct stat root, now;
    REQUIRE(stat(image(""), &root) == 0);
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    CHECK(stat("/", &now) == 0 && now.st_dev == root.st_dev && now.st_ino == root.st_ino);
    CHECK(access("/bin/busybox", X_OK) == 0);
}

/* With a plan for a plain chroot the mount namespace may be the caller's. Here it is the test's own. */
static void plain_chroot(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_set(spec, "linux.namespaces", "[]");
    in_child(0, chroot_inside, container_of(plan_of(spec)));
}

static void chroot_fails(void *data)
{
    rfs_error err = fresh_error();
    char *before = read_all(host_proc, "self/mountinfo");
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -ENOENT, .stage = RFS_STAGE_MOUNTS);
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(strcmp(before, after) == 0, "the mounts were\n%sand are\n%s", before, after);
    free(before);
    free(after);
}

/* Without a mount namespace of its own what was mounted would stay on the host. */
static void plain_chroot_that_fails(void)
{
    make_image();
    static const char *const flags[] = {"[]", "['ro']"};
    for (size_t i = 0; i < COUNT(flags); i++) {
        json_object *spec = empty_spec();
        spec_set(spec, "linux.namespaces", "[]");
        spec_add(spec, "mounts", "{'destination': '/t', 'type': 'tmpfs', 'options': %s}", flags[i]);
        spec_add(spec, "mounts", "{'destination': '/x', 'type': 'bind', 'source': '/does/not/exist'}");
        for (uint64_t classic = 0; classic < 2; classic++)
            in_child(0, chroot_fails, container_of(plan_with_flags(json_object_get(spec),
                classic ? RFS_OPTION_CLASSIC_MOUNT : 0)));
    }
}

static void no_pivot_inside(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    CHECK(access("/bin/busybox", X_OK) == 0 && access("/bundle", F_OK) == -1);
    char cwd[64];
    CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") == 0);
}

static void no_pivot(void)
{
    in_child(CONTAINER_NAMESPACES, no_pivot_inside, container_of(plan_with(RFS_OPTION_NO_PIVOT)));
}

int main(void)
{
    static const struct test_case cases[] = {
        {"rfs_prepare without unshare(CLONE_NEWNS)", forgotten_unshare},
        {"rfs_prepare with other namespaces only", forgotten_in_a_child},
        {"unshare after the refusal", unshared_after_refusal},
        {"RFS_OPTION_PLANNED_INSIDE", plan_made_inside},
        {"finalize and masks before rfs_prepare", before_prepare},
        {"rfs_prepare twice", prepare_twice},
        {"rfs_finalize twice", finalize_twice},
        {"rfs_finalize of another container", finalize_of_another_container},
        {"rfs_finalize in the parent", finalize_in_the_parent},
        {"rfs_finalize in the parent of a child that shared its memory", finalize_outside_of_shared_memory},
        {"calls in a callback", calls_in_a_callback},
        {"calls after a failure", after_a_failure},
        {"masks without RFS_OPTION_SEPARATE_MASKS", masks_without_the_option},
        {"masks with RFS_OPTION_SEPARATE_MASKS", masks_with_the_option},
        {"as an ordinary user", as_an_ordinary_user},
        {"plain chroot", plain_chroot},
        {"plain chroot that fails", plain_chroot_that_fails},
        {"RFS_OPTION_NO_PIVOT", no_pivot},
    };
    return run_cases(cases, COUNT(cases));
}
