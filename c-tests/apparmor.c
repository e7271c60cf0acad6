/* Containers made under an AppArmor profile that refuses some ways to mount: run by tests/kernels, which loads
 * the profiles.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void change_profile(const char *name)
{
    char text[64];
    int length = snprintf(text, sizeof text, "changeprofile %s", name);
    int fd = openat(host_proc, "self/attr/current", O_WRONLY | O_CLOEXEC);
    REQUIRE_THAT(fd >= 0 && write(fd, text, (size_t)length) == length, "%s", text);
    close(fd);
    char *now = read_all(host_proc, "self/attr/current");
    REQUIRE_THAT(strncmp(now, name, strlen(name)) == 0 && strstr(now, "(enforce)"), "the profile is %s", now);
    free(now);
}

/* 0 or the errno of a step. */
static int tried(const char *what, long result)
{
    int failed = result < 0 ? errno : 0;
    note("%s: %s", what, failed ? strerror(failed) : "allowed");
    return failed;
}

/* The calls of both ways of mounting that the profile refuses. */
static void try_mounts(void *data)
{
    int mounted = strcmp(data, "librfs-no-mount") == 0 ? EACCES : 0,
        moved = strcmp(data, "librfs-no-detached") == 0 ? 0 : EACCES;
    make_directory(in_work("a"), 0755);
    make_directory(in_work("b"), 0755);
    change_profile(data);
    int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    tried("fsopen", context);
    tried("fsconfig", syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int tmpfs = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    tried("fsmount", tmpfs);
    int clone = (int)syscall(SYS_open_tree, AT_FDCWD, in_work("a"), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    tried("open_tree", clone);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    tried("mount_setattr, detached", syscall(SYS_mount_setattr, clone, "", AT_EMPTY_PATH, &attr, sizeof attr));
    int new_mount = tried("move_mount, a new file system",
                          syscall(SYS_move_mount, tmpfs, "", AT_FDCWD, in_work("a"), MOVE_MOUNT_F_EMPTY_PATH));
    int bind = tried("move_mount, a clone",
                     syscall(SYS_move_mount, clone, "", AT_FDCWD, in_work("b"), MOVE_MOUNT_F_EMPTY_PATH));
    if (!new_mount || !bind)
        skip_case("this kernel's AppArmor does not know move_mount(2)");
    CHECK(new_mount == EACCES && bind == EACCES);
    CHECK(tried("mount, a new file system", mount("x", in_work("a"), "tmpfs", 0, NULL)) == mounted);
    CHECK(tried("mount, MS_BIND", mount(in_work("b"), in_work("b"), NULL, MS_BIND, NULL)) == mounted);
    CHECK(tried("mount, MS_REMOUNT", mount(NULL, in_work("b"), NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL)) ==
          mounted);
    CHECK(tried("mount, MS_PRIVATE", mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL)) == mounted);
    CHECK(tried("mount, MS_MOVE", mount(in_work("a"), in_work("b"), NULL, MS_MOVE, NULL)) == moved);
    tried("mount_setattr, attached", syscall(SYS_mount_setattr, AT_FDCWD, work, 0, &attr, sizeof attr));
}

static void no_detached_calls(void)
{
    in_child(CLONE_NEWNS, try_mounts, "librfs-no-detached");
}

static void no_move_calls(void)
{
    in_child(CLONE_NEWNS, try_mounts, "librfs-no-move");
}

static void no_mount_calls(void)
{
    in_child(CLONE_NEWNS, try_mounts, "librfs-no-mount");
}

struct confined {
    rfs_container *container;
    const char *profile;
};

static void confined_container(void *data)
{
    const struct confined *confined = data;
    change_profile(confined->profile);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(confined->container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(confined->container, &err), &err);
    struct stat st;
    check_mount("/ /bundle/rootfs ro,relatime - tmpfs test rw*");
    check_mount("/proc / rw,relatime - proc proc rw");
    check_mount("/dev / rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755*");
    check_mount("/dev/shm / rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k*");
    check_mount("/sys / ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw");
    check_mount("/sys/fs/cgroup / ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw*");
    check_mount("/bound /from ro,nosuid,relatime - tmpfs test rw*");
    check_mount("/proc/sys /sys ro,relatime - proc proc rw");
    check_mount("/sys/firmware / ro,relatime - tmpfs tmpfs ro*");
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK(mkdir("/x", 0700) == -1 && errno == EROFS);
    CHECK(access("/bound/file", F_OK) == 0 && mkdir("/bound/x", 0700) == -1 && errno == EROFS);
}

static json_object *bundle_with_bind(void)
{
    only_cgroup2();
    make_image();
    make_file(in_work("from/file"), "x");
    json_object *spec = default_spec("runc");
    spec_add(spec, "mounts",
             "{'destination': '/bound', 'type': 'bind', 'source': '%s/from', 'options': ['bind', 'ro', 'nosuid']}",
             work);
    return spec;
}

/* The container's mounts are made by mount(2). */
static void without_detached(void)
{
    in_child(CONTAINER_NAMESPACES, confined_container,
             &(struct confined){container_of(plan_of(bundle_with_bind())), "librfs-no-detached"});
}

static void without_moves(void)
{
    in_child(CONTAINER_NAMESPACES, confined_container,
             &(struct confined){container_of(plan_of(bundle_with_bind())), "librfs-no-move"});
}

static void refused_container(void *container)
{
    change_profile("librfs-no-mount");
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, NULL, &err);
    CHECK_ERROR(rc, &err, .code = -EACCES, .stage = RFS_STAGE_ROOT, .says = "Permission denied");
    note("says: %s", err.message);
}

static void refused(void)
{
    in_child(CONTAINER_NAMESPACES, refused_container, container_of(plan_of(bundle_with_bind())));
}

int main(void)
{
    static const struct test_case cases[] = {
        {"what a profile without detached mounts refuses", no_detached_calls},
        {"what a profile without moves refuses", no_move_calls},
        {"what a profile without mounts refuses", no_mount_calls},
        {"a container where detached mounts are refused", without_detached},
        {"a container where no mount may be moved", without_moves},
        {"no container where every mount is refused", refused},
    };
    return run_cases(cases, COUNT(cases));
}
