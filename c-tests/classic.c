/* Mounts made by mount(2), as RFS_OPTION_CLASSIC_MOUNT asks for; tests/refusals has the tests of everything else made
 * so. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "filter.h"
#include "idmap.h"
#include "intervene.h"
#include "mounts.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* An errno that no other call answers. */
#define UNUSED_ERRNO ENOTNAM

static void refuse_newer_calls(void)
{
    static const unsigned calls[] = {SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsmount};
    struct filter filter;
    filter_begin(&filter);
    filter_load_number(&filter);
    for (size_t i = 0; i < COUNT(calls); i++) {
        filter_if_equal(&filter, calls[i], 1);
        filter_answer(&filter, SECCOMP_RET_ERRNO | UNUSED_ERRNO);
    }
    filter_answer(&filter, SECCOMP_RET_ALLOW);
    REQUIRE(filter_install(&filter, 0) == 0);
}

/* A mount of the stage has a mount point that ends so. */
static bool stage_is_there(const char *table)
{
    return strstr(table, "/task ") || strstr(table, "/task/");
}

static int look_for_stage(void *userdata, rfs_point point)
{
    (void)point;
    char *table = mount_table();
    CHECK_THAT(!stage_is_there(table), "%s", table);
    free(table);
    ++*(unsigned *)userdata;
    return 0;
}

static void inside_whole(void *data)
{
    (void)data;
    check_mount("/proc / rw,relatime - proc proc rw");
    check_mount("/sys / ro,nosuid,nodev,noexec,relatime - sysfs sysfs r?");
    check_mount("/bound /bound ro,relatime - tmpfs test rw*");
    check_mount("/masked / ro,relatime - tmpfs tmpfs ro,size=4k,nr_inodes=1*");
    check_mount("/frozen / ro,relatime - tmpfs tmpfs rw*");
    char *table = mount_table();
    CHECK_THAT(!stage_is_there(table), "%s", table);
    free(table);
    CHECK(access("/proc/self/task", X_OK) == 0 && mkdir("/x", 0755) == -1 && errno == EROFS);
}

static void whole(void *plan)
{
    unsigned hooks = 0;
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &hooks, .point = look_for_stage};
    refuse_newer_calls();
    run_container(plan, &callbacks, inside_whole, NULL);
}

/* Refuses what AppArmor refuses from Linux 6.8 on, which takes move_mount(2) for MS_MOVE: tests/kernels has the
 * profile. */
static void refuse_moves(void)
{
    struct filter filter;
    filter_begin(&filter);
    filter_load_number(&filter);
    filter_if_equal(&filter, SYS_move_mount, 1);
    filter_answer(&filter, SECCOMP_RET_ERRNO | EACCES);
    filter_if_equal(&filter, SYS_mount, 3);
    filter_load_argument(&filter, 3, false);
    filter_if_any(&filter, MS_MOVE, 1);
    filter_answer(&filter, SECCOMP_RET_ERRNO | EACCES);
    filter_answer(&filter, SECCOMP_RET_ALLOW);
    REQUIRE(filter_install(&filter, 0) == 0);
}

static void whole_without_moves(void *plan)
{
    refuse_moves();
    run_container(plan, NULL, inside_whole, NULL);
}

static json_object *whole_spec(void)
{
    only_cgroup2();
    make_image();
    make_directory(in_work("bound"), 0755);
    image_directory("masked", 0755);
    json_object *spec = default_spec("runc");
    spec_add(spec, "mounts",
             "{'destination': '/bound', 'type': 'bind', 'source': '%s/bound', 'options': ['bind', 'ro']}", work);
    spec_add(spec, "mounts", TMPFS("/frozen", ""));
    spec_add(spec, "linux.maskedPaths", "'/masked'");
    spec_add(spec, "linux.readonlyPaths", "'/frozen'");
    return spec;
}

static void only_mount(void)
{
    in_child(0, whole, plan_with_flags(whole_spec(), RFS_OPTION_CLASSIC_MOUNT));
}

static void no_moves(void)
{
    in_child(0, whole_without_moves, plan_of(whole_spec()));
}

/* Without RFS_OPTION_CLASSIC_MOUNT the newer calls are used. An error that nobody knows is no reason to do without
 * them. */
static void newer_calls_are_tried(void *plan)
{
    refuse_newer_calls();
    run_refused("an error that says nothing of the call", plan, NULL,
                &(struct expected){.code = -UNUSED_ERRNO, .stage = RFS_STAGE_ROOT, .says = "open_tree"});
}

static void not_without_reason(void)
{
    make_image();
    in_child(0, newer_calls_are_tried, plan_of(empty_spec()));
}

/* A start that fails leaves no mount behind, however far it came. */

static void inside_optional(void *data)
{
    (void)data;
    check_no_mount("/none");
    check_no_mount("/file");
    check_mount("/last / rw,relatime shared - tmpfs tmpfs rw*");
}

static void optional(void)
{
    make_image();
    image_file("file", "x");
    make_directory(in_work("from"), 0755);
    json_object *spec = empty_spec();
    /* A shared mount that stayed in the stage would share the next. */
    REQUIRE(mount("from", in_work("from"), "tmpfs", 0, NULL) == 0);
    spec_set(spec, "linux.rootfsPropagation", "'rshared'");
    spec_add(spec, "mounts",
             "{'destination': '/none', 'type': 'tmpfs', 'source': 't', 'options': ['nosuchopt', 'optional']}");
    spec_add(spec, "mounts",
             "{'destination': '/file', 'type': 'bind', 'source': '%s/from', 'options': ['bind', 'optional']}", work);
    spec_add(spec, "mounts", TMPFS("/last", ""));
    run_container(plan_with_flags(spec, RFS_OPTION_CLASSIC_MOUNT), NULL, inside_optional, NULL);
}

/* A container without a mount namespace of its own has its mounts in the caller's. */
static void chrooted(void *container)
{
    rfs_error err = fresh_error();
    unsigned hooks = 0;
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &hooks, .point = look_for_stage};
    REQUIRE_SUCCESS(rfs_prepare(container, &callbacks, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    CHECK(hooks == 6);
    check_mount("/tmp / rw,relatime shared - tmpfs tmpfs rw*");
}

static void failing(void *container)
{
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, NULL, &err);
    CHECK_ERROR(rc, &err, .code = -ENOTDIR, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT, .index = 2,
                .says = "but the destination is a file");
    char *table = mount_table();
    CHECK_THAT(!stage_is_there(table), "%s", table);
    free(table);
}

static void in_the_callers_namespace(void)
{
    static const struct { void (*inside)(void *); bool fails; } ends[] = {{chrooted, false}, {failing, true}};
    make_image();
    image_file("file", "x");
    REQUIRE(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    for (size_t i = 0; i < COUNT(ends); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", PROC);
        spec_add(spec, "mounts", TMPFS("/tmp", ""));
        if (ends[i].fails)
            spec_add(spec, "mounts", TMPFS("/file", ""));
        char *before = mount_table();
        /* twice: nothing of the first start is in the way of the second */
        rfs_plan *plan = plan_with_flags(spec, RFS_OPTION_CLASSIC_MOUNT | RFS_OPTION_CHROOT);
        for (size_t k = 0; k < 2; k++) {
            in_child(0, ends[i].inside, container_of(plan));
            /* the caller's to undo, but for a start that has failed */
            CHECK(umount2(image(""), MNT_DETACH) == (ends[i].fails ? -1 : 0));
            char *after = mount_table();
            CHECK_THAT(strcmp(before, after) == 0, "%s", after);
            free(after);
        }
        free(before);
    }
}

/* mount(2) on descriptors takes a procfs: the host's, and for what comes after the switch the container's. */

static void without_procfs(void *container)
{
    REQUIRE(umount2("/proc", MNT_DETACH) == 0);
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, NULL, &err);
    CHECK_ERROR(rc, &err, .code = -ENOENT, .stage = RFS_STAGE_ROOT,
                .says = "mount(2) on descriptors needs a procfs on /proc");
}

/* These names lead to something else. */
static void make_names(const char *procfs)
{
    char path[4300];
    snprintf(path, sizeof path, "%s/self/fd", procfs);
    make_directory(path, 0755);
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "%s/self/fd/%d", procfs, fd);
        REQUIRE(symlink("/etc", path) == 0);
    }
    snprintf(path, sizeof path, "%s/self/task", procfs);
    make_directory(path, 0755);
}

static void false_procfs(void *container)
{
    REQUIRE(mount("tmpfs", "/proc", "tmpfs", 0, NULL) == 0);
    make_names("/proc");
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, NULL, &err);
    CHECK_ERROR(rc, &err, .code = -ENOENT, .stage = RFS_STAGE_ROOT,
                .says = "mount(2) on descriptors needs a procfs on /proc");
}

static void part_of_procfs(void *container)
{
    REQUIRE(mount("/proc/self", "/proc", NULL, MS_BIND, NULL) == 0);
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, NULL, &err);
    CHECK_ERROR(rc, &err, .code = -ENOENT, .stage = RFS_STAGE_ROOT,
                .says = "mount(2) on descriptors needs a procfs on /proc");
}

static void detached_without_procfs(void *container)
{
    REQUIRE(umount2("/proc", MNT_DETACH) == 0);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    CHECK(access("/secret", R_OK) == 0 && mkdir("/x", 0755) == -1 && errno == EROFS);
}

/* ---- The working directory, which mount(2) on descriptors leaves for a moment ---- */

static unsigned failing_call;

static int fail_one(const struct seccomp_notif *call)
{
    static unsigned calls;
    (void)call;
    return ++calls == failing_call ? EIO : 0;
}

static void with_a_failing_fchdir(void *data)
{
    bool *started = data;
    rfs_error err = fresh_error();
    intervene((const int[]){SYS_fchdir}, 1, fail_one);
    int rc = rfs_prepare(this_container, NULL, &err);
    *started = rc == 0;
    if (rc != 0)
        CHECK_ERROR(rc, &err, .code = -EIO, .says = "fchdir");
}

/* A failure is an error of its own, and neither a refused mount nor a success somewhere else. */
static void failing_fchdir(void)
{
    bool *started = mmap(NULL, sizeof *started, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(started != MAP_FAILED);
    json_object *spec = whole_spec();
    for (failing_call = 1; failing_call < 400 && !*started; failing_call++) {
        rfs_plan *plan = plan_with_flags(json_object_get(spec), RFS_OPTION_CLASSIC_MOUNT);
        this_container = container_of(plan);
        note("the %uth fchdir(2) fails", failing_call);
        in_child(CONTAINER_NAMESPACES, with_a_failing_fchdir, started);
        rfs_container_free(this_container);
        rfs_plan_free(plan);
    }
    CHECK_THAT(*started && failing_call > 20, "%u calls were tried", failing_call);
}

static json_object *masking_spec(void)
{
    json_object *spec = empty_spec();
    spec_add(spec, "linux.maskedPaths", "'/secret'");
    spec_set(spec, "root.readonly", "true");
    return spec;
}

static void no_procfs(void)
{
    static void (*const insides[])(void *) = {without_procfs, false_procfs, part_of_procfs};
    make_image();
    image_file("secret", "x");
    for (size_t i = 0; i < COUNT(insides); i++)
        in_child(CONTAINER_NAMESPACES, insides[i],
                 container_of(plan_with_flags(masking_spec(), RFS_OPTION_CLASSIC_MOUNT | RFS_OPTION_PLANNED_INSIDE)));
    if (!is_refused(syscall(SYS_open_tree, -1, "", 0)) && has_mount_setattr())
        in_child(CONTAINER_NAMESPACES, detached_without_procfs,
                 container_of(plan_with_flags(masking_spec(), RFS_OPTION_PLANNED_INSIDE)));
}

static void masked_in_vain(void *container)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    int rc = rfs_finalize(container, &err);
    CHECK_ERROR(rc, &err, .code = -ENOENT, .stage = RFS_STAGE_MASKED_PATHS, .object = RFS_OBJECT_MASKED_PATH,
                .index = 0, .says = "mount(2) on descriptors needs a procfs on /proc");
}

static void inside_readonly(void *data)
{
    (void)data;
    check_mount("/tmp / ro,relatime - tmpfs tmpfs rw*");
    CHECK(mkdir("/x", 0755) == -1 && errno == EROFS);
}

static void no_procfs_in_container(void)
{
    make_image();
    image_file("secret", "x");
    /* The image could have such a file. */
    make_names(image("proc"));
    in_child(CONTAINER_NAMESPACES, masked_in_vain,
             container_of(plan_with_flags(masking_spec(), RFS_OPTION_CLASSIC_MOUNT)));
    json_object *spec = empty_spec();
    spec_set(spec, "root.readonly", "true");
    spec_add(spec, "mounts", "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro']}");
    run_container(plan_with_flags(spec, RFS_OPTION_CLASSIC_MOUNT), NULL, inside_readonly, NULL);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"RFS_OPTION_CLASSIC_MOUNT: no newer call, and no stage when others look", only_mount},
        {"every move refused: bound instead", no_moves},
        {"other errors of the newer calls are errors", not_without_reason},
        {"optional mounts that fail", optional},
        {"in the caller's mount namespace", in_the_callers_namespace},
        {"a failing fchdir(2)", failing_fchdir},
        {"no procfs, or a false one", no_procfs},
        {"no procfs in the container", no_procfs_in_container},
    };
    return run_cases(cases, COUNT(cases));
}
