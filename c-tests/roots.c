/* The rootfs and the switch to it: propagation before and after, chroot, the switch without a pivot, the file
 * systems that a rootfs can lie on, and the ways to name it.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "idmap.h"
#include "intervene.h"
#include "mounts.h"
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs'}"

/* `mountpoint root flags[tags] - ...` */
static bool check_tags(const char *mountpoint, const char *tags)
{
    char pattern[4300];
    snprintf(pattern, sizeof pattern, "%s * r?,*relatime%s - *", mountpoint, tags);
    return check_mount(pattern);
}

static const struct propagation {
    const char *value;                         /* JSON, or NULL if the field is missing. */
    /* Before the switch these are the tags of "/", of the rootfs's parent, and of a mount elsewhere. */
    const char *root, *parent, *other;
    const char *rootfs, *rootfs_after;         /* These are the tags of the rootfs itself. */
} propagations[] = {
    {NULL, " master", " master", " master", "", ""},
    {"'private'", "", "", " shared", "", ""},
    {"'rprivate'", "", "", "", "", ""},
    {"'slave'", " master", " master", " shared", " master", " master"},
    {"'rslave'", " master", " master", " master", " master", " master"},
    {"'shared'", " shared", "", " shared", "", " shared"},
    {"'rshared'", " shared", "", " shared", "", " shared"},
    {"'unbindable'", " unbindable", "", " shared", "", " unbindable"},
    {"'runbindable'", " unbindable", "", " unbindable", "", " unbindable"},
};

static int before_switch(void *userdata, rfs_point point)
{
    const struct propagation *p = userdata;
    if (point != RFS_POINT_BEFORE_SWITCH)
        return 0;
    bool ok = check_tags("/", p->root);
    ok &= check_tags(work, p->parent);
    ok &= check_tags(in_work("other"), p->other);
    ok &= check_tags(in_work("bundle/rootfs"), p->rootfs);
    if (!ok)
        note("... before the switch, with %s", p->value ? p->value : "no rootfsPropagation");
    return 0;
}

static void after_switch(void *data)
{
    const struct propagation *p = data;
    if (!check_tags("/", p->rootfs_after))
        note("... after the switch, with %s", p->value ? p->value : "no rootfsPropagation");
}

static void propagation(void)
{
    make_image();
    make_directory(in_work("other"), 0755);
    REQUIRE(mount("other", in_work("other"), "tmpfs", 0, NULL) == 0);
    REQUIRE(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    for (size_t i = 0; i < COUNT(propagations); i++) {
        struct propagation p = propagations[i];
        json_object *spec = empty_spec();
        if (p.value)
            spec_set(spec, "linux.rootfsPropagation", p.value);
        const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &p, .point = before_switch};
        run_container(plan_of(spec), &callbacks, after_switch, &p);
    }
}

/* The container has no mount namespace: everything stays in the caller's. */

static void chrooted(void *container)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    char cwd[256];
    struct stat st;
    CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") == 0);
    CHECK(access("/bin/busybox", X_OK) == 0 && access("/proc/self/stat", F_OK) == 0 && access(work, F_OK) == -1);
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK(mkdir("/x", 0700) == -1 && errno == EROFS);
    check_mount("/ /bundle/rootfs ro,relatime* - tmpfs test rw*");
    check_mount("/data / ro,relatime - tmpfs tmpfs rw*");
}

static void chroot_alone(const char *propagation, const char *tags)
{
    json_object *spec = empty_spec();
    spec_set(spec, "linux.namespaces", "[]");
    spec_set(spec, "root.readonly", "true");
    if (propagation)
        spec_set(spec, "linux.rootfsPropagation", propagation);
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro']}");
    char *before = mount_table();
    in_child(0, chrooted, container_of(plan_of(spec)));
    char *after = mount_table(), pattern[4300];
    CHECK(strncmp(before, after, strlen(before)) == 0); /* The other mounts are as they were, with their propagation. */
    snprintf(pattern, sizeof pattern, "%s /bundle/rootfs ro,relatime%s - tmpfs test rw*", in_work("bundle/rootfs"),
             tags);
    check_mount(pattern);
    snprintf(pattern, sizeof pattern, "%s / rw,relatime* - proc proc rw", image("proc"));
    check_mount(pattern);
    CHECK(umount2(in_work("bundle/rootfs"), MNT_DETACH) == 0);
    char *undone = mount_table();
    CHECK(strcmp(before, undone) == 0);
    free(before);
    free(after);
    free(undone);
}

static void without_mount_namespace(void)
{
    make_image();
    REQUIRE(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == 0);
    chroot_alone(NULL, "");
    chroot_alone("'shared'", " shared");
    chroot_alone("'unbindable'", " unbindable");
}

/* This is the switch without a pivot. */

struct no_pivot {
    rfs_container *container;
    bool covered; /* They are not unmounted, because they are locked. */
};

static struct host_mount {
    char path[300], escaped[300]; /* mountinfo writes the name so. */
    bool is_sysfs, below;
    size_t stacked; /* These mounts lie on the lowest one. */
} host_mounts[8];
static size_t n_host_mounts;

static struct host_mount *add_host_mount(const char *path, bool is_sysfs)
{
    struct host_mount *m = &host_mounts[n_host_mounts++];
    snprintf(m->path, sizeof m->path, "%s", path);
    snprintf(m->escaped, sizeof m->escaped, "%s", path);
    m->is_sysfs = is_sysfs;
    return m;
}

static struct host_mount *make_host_mount(const char *name, bool is_sysfs)
{
    make_directory(in_work("%s", name), 0755);
    REQUIRE(mount("more", in_work("%s", name), is_sysfs ? "sysfs" : "proc", 0, NULL) == 0);
    return add_host_mount(in_work("%s", name), is_sysfs);
}

static void look_below(const struct no_pivot *n, int old_root)
{
    check_mount("/ /bundle/rootfs rw,relatime - tmpfs test rw*");
    check_mount("/proc / rw,relatime - proc proc rw");
    check_mount("/sys / rw,relatime - sysfs sysfs rw");
    CHECK(access("/proc/self/stat", F_OK) == 0 && access(work, F_OK) == -1);
    /* Root can leave a chroot like this. */
    REQUIRE(fchdir(old_root) == 0 && chroot(".") == 0);
    CHECK(access(work, F_OK) == 0);
    /* The container's own mounts begin with "/" too in this list, so /proc and /sys stand in it once more. */
    CHECK(mounts_on("/proc") == (n->covered ? 3 : 1) && mounts_on("/sys") == (n->covered ? 3 : 1));
    for (size_t i = 0; i < n_host_mounts; i++) {
        const struct host_mount *m = &host_mounts[i];
        char below[320];
        snprintf(below, sizeof below, "%.300s/%s", m->path, m->is_sysfs ? "kernel" : "self");
        CHECK_THAT(access(below, F_OK) == -1 && errno == ENOENT, "%s can still be seen", m->path);
        if (strncmp(m->path, work, strlen(work)) == 0 && !m->below)
            CHECK_THAT(mounts_on(m->escaped) == (n->covered || m->stacked ? m->stacked + 2 : 0), "%zu mounts on %s",
                       mounts_on(m->escaped), m->path);
    }
    char pattern[4300];
    snprintf(pattern, sizeof pattern, "%s /sys rw,relatime - proc *", in_work("partial"));
    check_mount(pattern); /* This is not a whole procfs, so it stays. */
}

static void not_pivoted(void *data)
{
    const struct no_pivot *n = data;
    rfs_error err = fresh_error();
    int old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(old_root >= 0);
    REQUIRE_SUCCESS(rfs_prepare(n->container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(n->container, &err), &err);
    look_below(n, old_root);
}

static void not_pivoted_in_user_namespace(void *data)
{
    enter_user_namespace();
    in_child(CONTAINER_NAMESPACES, not_pivoted, data);
}

static void no_pivot(bool in_user_namespace)
{
    make_image();
    add_host_mount("/proc", false);
    add_host_mount("/sys", true);
    make_host_mount("second", false);
    struct host_mount *escaped = make_host_mount("a b", true);
    snprintf(escaped->escaped, sizeof escaped->escaped, "%s", in_work("a\\040b"));
    make_host_mount("bundle/rootfs2", false); /* This path begins like the rootfs. */
    struct host_mount *stacked = make_host_mount("stacked", false);
    REQUIRE(mount("/proc", in_work("stacked"), NULL, MS_BIND, NULL) == 0);
    stacked->stacked = 1;
    REQUIRE(mount("more", in_work("second/tty"), "sysfs", 0, NULL) == 0); /* It goes with the mount that it lies on. */
    add_host_mount(in_work("second/tty"), true)->below = true;
    make_directory(in_work("partial"), 0755);
    REQUIRE(mount("/proc/sys", in_work("partial"), NULL, MS_BIND, NULL) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", SYS);
    struct no_pivot n = {container_of(plan_with_flags(spec, RFS_OPTION_NO_PIVOT)), in_user_namespace};
    char *before = mount_table();
    in_child(in_user_namespace ? 0 : CONTAINER_NAMESPACES,
             in_user_namespace ? not_pivoted_in_user_namespace : not_pivoted, &n);
    char *after = mount_table();
    CHECK(strcmp(before, after) == 0);
    free(before);
    free(after);
}

static void no_pivot_unmounts(void)
{
    no_pivot(false);
}

static void no_pivot_covers(void)
{
    no_pivot(true);
}

/* Everything is shared with the outside: what is unmounted inside must not be unmounted there. */
static void no_pivot_shared(void)
{
    make_directory(in_work("stacked"), 0755);
    REQUIRE(mount("stacked", in_work("stacked"), "proc", 0, NULL) == 0 &&
            mount(NULL, in_work("stacked"), NULL, MS_SHARED, NULL) == 0);
    REQUIRE(mount("stacked", in_work("stacked"), "sysfs", 0, NULL) == 0); /* Its parent is the mount below. */
    REQUIRE(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    static const char *const values[] = {NULL, "'private'", "'shared'", "'rshared'"};
    make_image();
    for (size_t i = 0; i < COUNT(values); i++) {
        json_object *spec = empty_spec();
        if (values[i])
            spec_set(spec, "linux.rootfsPropagation", values[i]);
        spec_add(spec, "mounts", PROC);
        run_container(plan_with_flags(spec, RFS_OPTION_NO_PIVOT), NULL, NULL, NULL);
    }
}

static int refuse_tmpfs(const struct seccomp_notif *call)
{
    if (!call->data.args[2] || strcmp(string_argument(call, 2), "tmpfs") != 0)
        return 0;
    return strcmp(string_argument(call, 1), "/proc") == 0 ? EPERM : 0;
}

static void refused_in_user_namespace(void *plan)
{
    enter_user_namespace();
    run_refused("a whole procfs that can't be covered", plan, NULL,
                &(struct expected){.code = -EPERM,
                                   .stage = RFS_STAGE_PIVOT,
                                   .says = "mount /proc",
                                   .says_too = "could be neither unmounted nor covered"});
}

static void no_pivot_fails(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    rfs_plan *plan = plan_with_flags(spec, RFS_OPTION_NO_PIVOT);
    intervene((const int[]){SYS_mount}, 1, refuse_tmpfs);
    in_child(0, refused_in_user_namespace, plan);
}

/* The kernel answers the same on the initial ramfs and where "/" is no mount. */
static int lose_root(void *userdata, rfs_point point)
{
    (void)userdata;
    return point == RFS_POINT_BEFORE_SWITCH ? chroot("/etc") : 0;
}

static void pivot_refused(void)
{
    static const rfs_callbacks callbacks = {.size = sizeof callbacks, .point = lose_root};
    make_image();
    run_refused(
        "a root that is no mount", plan_of(empty_spec()), &callbacks,
        &(struct expected){
            .code = -EINVAL, .stage = RFS_STAGE_PIVOT, .says = "pivot_root", .says_too = "RFS_OPTION_NO_PIVOT"});
}

/* File systems that a rootfs can lie on. */

static void inside_overlay(void *data)
{
    (void)data;
    check_mount("/ / rw,relatime - overlay overlay rw*");
    check_mount("/proc / rw,relatime - proc proc rw");
    CHECK(access("/bin/busybox", X_OK) == 0 && mkdir("/x", 0700) == 0);
}

static void on_overlay(void)
{
    make_image();
    REQUIRE(rename(image(""), in_work("lower")) == 0);
    make_directory(in_work("bundle/rootfs"), 0755);
    make_directory(in_work("upper"), 0755);
    make_directory(in_work("workdir"), 0755);
    char options[13000];
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", in_work("lower"), in_work("upper"),
             in_work("workdir"));
    REQUIRE(mount("overlay", in_work("bundle/rootfs"), "overlay", 0, options) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    run_container(plan_of(spec), NULL, inside_overlay, NULL);
    CHECK(access(in_work("upper/x"), F_OK) == 0 && access(in_work("lower/x"), F_OK) == -1);
}

static void inside_own(void *type)
{
    char pattern[100];
    snprintf(pattern, sizeof pattern, "/ / ro,relatime - %s * rw*", (const char *)type);
    check_mount(pattern);
    check_mount("/volume / rw,relatime* - tmpfs volume rw*"); /* A mount below the rootfs is copied too. */
    check_mount("/data / rw,relatime - tmpfs tmpfs rw*");
    CHECK(access("/bin/busybox", X_OK) == 0 && mkdir("/x", 0700) == -1 && errno == EROFS);
}

static void run_on_own_file_system(const char *type)
{
    make_image();
    image_directory("volume", 0755);
    image_directory("data", 0755);
    REQUIRE(mount("volume", image("volume"), "tmpfs", 0, NULL) == 0);
    json_object *spec = empty_spec();
    spec_set(spec, "root.readonly", "true");
    spec_add(spec, "mounts", TMPFS("/data", ""));
    run_container(plan_of(spec), NULL, inside_own, (void *)(uintptr_t)type);
}

static void on_tmpfs(void)
{
    make_directory(in_work("bundle/rootfs"), 0755);
    REQUIRE(mount("own", in_work("bundle/rootfs"), "tmpfs", 0, "mode=755") == 0);
    REQUIRE(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    run_on_own_file_system("tmpfs");
}

static void on_ext4(void)
{
    make_directory(in_work("bundle/rootfs"), 0755);
    mount_image("ext4", in_work("bundle/rootfs"));
    run_on_own_file_system("ext4");
}

static void inside_locked_root(void *data)
{
    (void)data;
    check_mount("/ / ro,nosuid,nodev,noatime - tmpfs own rw*");
    check_mount("/path / ro,nosuid,nodev,noexec,noatime - tmpfs volume rw*");
    check_mount("/made-ro / ro,nosuid,nodev,noexec,noatime - tmpfs volume rw*");
    CHECK(mkdir("/x", 0700) == -1 && errno == EROFS);
}

static void locked_in_user_namespace(void *plan)
{
    enter_user_namespace();
    run_container(plan, NULL, inside_locked_root, NULL);
}

/* Made read-only in a user namespace, it keeps the flags that are locked; so do read-only paths. */
static void readonly_with_locked_flags(void)
{
    make_directory(in_work("bundle/rootfs"), 0755);
    REQUIRE(mount("own", in_work("bundle/rootfs"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOATIME, "mode=755") == 0);
    make_image();
    image_directory("path", 0755);
    image_directory("made-ro", 0755);
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, NULL) == 0);
    json_object *spec = empty_spec();
    spec_set(spec, "root.readonly", "true");
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", "{'destination': '/path', 'type': 'bind', 'source': '%s', 'options': ['bind']}",
             in_work("volume"));
    spec_add(spec, "mounts", "{'destination': '/made-ro', 'type': 'bind', 'source': '%s', 'options': ['bind', 'ro']}",
             in_work("volume"));
    spec_add(spec, "linux.readonlyPaths", "'/path'");
    in_child(0, locked_in_user_namespace, plan_of(spec));
}

/* The rootfs can be named in these ways. */

static void inside_image(void *data)
{
    (void)data;
    check_mount("/ /bundle/rootfs rw,relatime - tmpfs test rw*");
    CHECK(access("/bin/busybox", X_OK) == 0);
}

static void paths(void)
{
    make_image();
    make_directory(in_work("bundle/x"), 0755);
    REQUIRE(symlink("bundle", in_work("link")) == 0 && symlink(work, in_work("bundle/x/up")) == 0);
    REQUIRE(rename(in_work("bundle/x"), in_work("bundle/with space")) == 0);
    static const char *const list[] = {"%s/bundle/rootfs/",
                                       "%s/bundle/rootfs///",
                                       "%s//bundle/./rootfs",
                                       "%s/bundle/../bundle/rootfs",
                                       "%s/link/rootfs",
                                       "%s/link/rootfs/",
                                       "%s/bundle/with space/up/link/rootfs",
                                       "%s/link/../bundle/rootfs",
                                       "%s/bundle/rootfs/../rootfs/."};
    for (size_t i = 0; i < COUNT(list); i++) {
        char path[4300], json[4400];
        snprintf(path, sizeof path, "%.*s%s", (int)strlen(work), work, list[i] + 2);
        snprintf(json, sizeof json, "'%s'", path);
        json_object *spec = empty_spec();
        spec_set(spec, "root.path", json);
        note("rootfs %s", path);
        run_container(plan_of(spec), NULL, inside_image, NULL);
    }
}

#define ROOTFS_FD 77

static void by_descriptor(void *container)
{
    int fd = open(in_work("link/rootfs"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(fd >= 0 && dup3(fd, ROOTFS_FD, O_CLOEXEC) == ROOTFS_FD && close(fd) == 0);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    inside_image(NULL);
    check_mount("/data / rw,relatime - tmpfs tmpfs rw*");
}

static void descriptors(void)
{
    static const uint64_t flags[] = {0, RFS_OPTION_NO_PIVOT};
    make_image();
    REQUIRE(symlink("bundle", in_work("link")) == 0);
    for (size_t i = 0; i < COUNT(flags); i++) {
        rfs_config *config;
        rfs_error err = fresh_error();
        REQUIRE_SUCCESS(rfs_config_new("/a/name/that/is/nowhere", &config, &err), &err);
        rfs_options options = {
            .size = sizeof options, .flags = RFS_OPTION_ROOTFS_FD | flags[i], .rootfs_fd = ROOTFS_FD};
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        rfs_mount mount = {.size = sizeof mount, .destination = "/data", .type = "tmpfs", .source = "tmpfs"};
        REQUIRE_SUCCESS(rfs_config_add_mount(config, &mount, &err), &err);
        in_child(CONTAINER_NAMESPACES, by_descriptor, container_of(plan_of_config(config)));
    }
}

/* pivot_root(2) is impossible in a chroot(2) whose root is no mount. */
static void in_chroot(void *container)
{
    REQUIRE(chroot(in_work("jail")) == 0 && chdir("/") == 0);
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, NULL, &err);
    CHECK_ERROR(rc, &err, .code = -EINVAL, .stage = RFS_STAGE_ROOT, .says = "chroot(2)");
}

static void in_mounted_chroot(void *container)
{
    REQUIRE(mount(in_work("jail"), in_work("jail"), NULL, MS_BIND | MS_REC, NULL) == 0);
    REQUIRE(chroot(in_work("jail")) == 0 && chdir("/") == 0);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    CHECK(access("/bin/busybox", X_OK) == 0 && access("/jail-only", F_OK) == -1);
}

static void chrooted_caller(void)
{
    make_image();
    make_directory(in_work("jail%s/bundle", work), 0755);
    make_file(in_work("jail/jail-only"), "x");
    make_directory(in_work("jail/proc"), 0755);
    REQUIRE(mount("proc", in_work("jail/proc"), "proc", 0, NULL) == 0);
    json_object *spec = empty_spec();
    rfs_plan *plan = plan_of(spec);
    /* at the same path in the jail as outside, where the plan is made */
    REQUIRE(rename(in_work("bundle/rootfs"), in_work("jail%s/bundle/rootfs", work)) == 0);
    in_child(CONTAINER_NAMESPACES, in_chroot, container_of(plan));
    in_child(CONTAINER_NAMESPACES, in_mounted_chroot, container_of(plan));
}

int main(void)
{
    static const struct test_case cases[] = {
        {"rootfsPropagation before and after the switch", propagation},
        {"no mount namespace: chroot", without_mount_namespace},
        {"no pivot: whole procfs and sysfs are unmounted", no_pivot_unmounts},
        {"no pivot in a user namespace: they are covered", no_pivot_covers},
        {"no pivot: what can't be covered either is an error", no_pivot_fails},
        {"no pivot, everything shared outside", no_pivot_shared},
        {"pivot_root refused: the error names the option", pivot_refused},
        {"rootfs on an overlay", on_overlay},
        {"rootfs on its own tmpfs, shared, with a mount below", on_tmpfs},
        {"rootfs on ext4", on_ext4},
        {"read-only root with locked flags", readonly_with_locked_flags},
        {"rootfs paths: links above, \"..\", slashes", paths},
        {"rootfs by descriptor, and a path that is nowhere", descriptors},
        {"a caller in a chroot", chrooted_caller},
    };
    return run_cases(cases, COUNT(cases));
}
