/* What real configurations asked for, and got wrong: Podman's, Docker's, containerd's, Kubernetes'.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void is_device(const char *path, unsigned major_number, unsigned minor_number)
{
    struct stat st;
    CHECK_THAT(stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(major_number, minor_number),
             "%s", path);
}

/* podman run -v /dev/urandom:/dev/random: what a mount has put at the path of a device or a link stays. */

static const char *const covered[] = {"zero", "full", "urandom", "tty", "ptmx", "fd", "stdin", "stdout", "stderr",
    "mine"};

static void inside_bound_devices(void *data)
{
    (void)data;
    is_device("/dev/random", 1, 9);
    is_device("/dev/null", 1, 3);
    for (size_t i = 0; i < COUNT(covered); i++) {
        char path[32], text[8] = "";
        snprintf(path, sizeof path, "/dev/%s", covered[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK_THAT(fd >= 0 && read(fd, text, sizeof text) == 1 && text[0] == 'x', "%s", path);
        close(fd);
    }
    check_mount("/dev/random /urandom * - *");
    check_mount("/dev/ptmx /from/file * - *");
}

static json_object *spec_with_bound_devices(void)
{
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "mounts", "{'destination': '/dev/random', 'type': 'bind', 'source': '/dev/urandom', "
             "'options': ['bind']}");
    for (size_t i = 0; i < COUNT(covered); i++)
        spec_add(spec, "mounts", "{'destination': '/dev/%s', 'type': 'bind', 'source': '%s/from/file', "
                 "'options': ['bind']}", covered[i], work);
    spec_add(spec, "linux.devices", "{'path': '/dev/mine', 'type': 'c', 'major': 1, 'minor': 7}");
    return spec;
}

static void bound_devices(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    run_container(plan_of(spec_with_bound_devices()), NULL, inside_bound_devices, NULL);
}

struct in_user_namespace {
    rfs_container *container;
    void (*inside)(void *);
};

static void in_user_namespace(void *data)
{
    const struct in_user_namespace *user = data;
    rfs_error err = fresh_error();
    enter_user_namespace();
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    REQUIRE_SUCCESS(rfs_prepare(user->container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(user->container, &err), &err);
    user->inside(NULL);
}

static void bound_devices_in_a_user_namespace(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    rfs_plan *plan = plan_with_flags(spec_with_bound_devices(), RFS_OPTION_USER_NAMESPACE);
    in_child(0, in_user_namespace, &(struct in_user_namespace){container_of(plan), inside_bound_devices});
}

/* Something else of the image's at the path of a configured device stays an error, as the runtime-spec demands. */
static void image_over_device(void)
{
    make_image();
    image_file("dev/mine", "x");
    json_object *spec = empty_spec();
    spec_add(spec, "linux.devices", "{'path': '/dev/mine', 'type': 'c', 'major': 1, 'minor': 7}");
    run_refused("a file of the image", plan_of(spec), NULL,
                &(struct expected){.code = -EEXIST, .stage = RFS_STAGE_DEVICES, .object = RFS_OBJECT_DEVICE,
                         .says = "/dev/mine"});
}

/* The mount on /dev is judged once all mounts are known. */

static void has_devices(void *data)
{
    (void)data;
    is_device("/dev/null", 1, 3);
    is_device("/dev/tty", 5, 0);
    CHECK(access("/dev/fd", F_OK) == 0 || errno == ENOENT); /* Without a /proc the link leads nowhere. */
    struct stat st;
    CHECK(lstat("/dev/fd", &st) == 0 && S_ISLNK(st.st_mode));
}

static void optional_bind_on_dev(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '/no/such/dev', 'options': ['bind', "
             "'optional']}");
    run_container(plan_of(spec), &with_warnings, has_devices, NULL);
}

static void tmpfs_over_bound_dev(void)
{
    make_image();
    make_directory(in_work("hostdev"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/hostdev', 'options': ['bind']}",
             work);
    spec_add(spec, "mounts", DEV_TMPFS);
    run_container(plan_of(spec), NULL, has_devices, NULL);
    CHECK(rmdir(in_work("hostdev")) == 0); /* Nothing was made in it. */
}

static void has_nothing(void *data)
{
    (void)data;
    char *list = list_directory("/dev");
    CHECK_THAT(list && strcmp(list, "") == 0, "%s", list);
    free(list);
}

static void remount_of_dev(void)
{
    make_image();
    make_directory(in_work("hostdev"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/hostdev', 'options': ['bind']}",
             work);
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '/dev', 'options': ['bind', "
             "'remount', 'nosuid']}");
    run_container(plan_of(spec), NULL, has_nothing, NULL);
}

/* There is one devtmpfs on a machine: what is made in it is made on the host. */
static void devtmpfs(void)
{
    json_object *spec = empty_spec();
    make_image();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'devtmpfs', 'source': 'dev'}");
    rfs_plan *plan = plan_of(spec);
    char *steps = describe(plan);
    /* This happens before anything is touched. */
    REQUIRE_THAT(!strstr(steps, "\"device\"") && !strstr(steps, "dev-links"), "%s", steps);
    free(steps);
    char *before = list_directory("/dev");
    run_container(plan, NULL, NULL, NULL);
    char *after = list_directory("/dev");
    CHECK(before && after && strcmp(before, after) == 0);
    free(before);
    free(after);
}

/* A masked file is no way to the container's own /dev/null, and a masked directory can't be entered to write. */

static void inside_masks(void *data)
{
    (void)data;
    struct stat before, after;
    CHECK(stat("/dev/null", &before) == 0);
    CHECK(chmod("/secret", 0777) == -1 && errno == EROFS);
    CHECK(chown("/secret", 1, 1) == -1 && errno == EROFS);
    CHECK(stat("/dev/null", &after) == 0 && before.st_mode == after.st_mode && before.st_uid == after.st_uid);
    CHECK(stat("/secrets", &after) == 0 && (after.st_mode & 07777) == 0555);
    int fd = open("/secret", O_RDONLY | O_CLOEXEC);
    char byte;
    CHECK(fd >= 0 && read(fd, &byte, 1) == 0);
    close(fd);
    check_mount("/secret /null ro,nosuid,noexec* - *");
    check_mount("/secret2 /null ro,nosuid,noexec* - *");
}

static void masks(void)
{
    make_image();
    image_file("secret", "x");
    image_file("secret2", "x");
    image_directory("secrets", 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    static const char *const paths[] = {"/secret", "/secret2", "/secrets"};
    for (size_t i = 0; i < COUNT(paths); i++)
        spec_add(spec, "linux.maskedPaths", "'%s'", paths[i]);
    run_container(plan_of(spec), NULL, inside_masks, NULL);
}

/* Peers' test suites know these words. */
static void proc_on_a_link(void)
{
    make_image();
    image_link("tmp", "linked");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/linked', 'type': 'sysfs', 'source': 'sysfs'}");
    run_refused("sysfs on a link", plan_of(spec), NULL,
                &(struct expected){.object = RFS_OBJECT_MOUNT, .says = "must be mounted on ordinary directory"});
}

/* podman run --tmpfs /, and a volume on "/". */

static void inside_tmpfs_root(void *data)
{
    (void)data;
    check_mount("/ / rw,relatime - tmpfs newroot rw*");
    check_mount("/later / rw,relatime - tmpfs tmpfs rw*");
    CHECK(access("/bin/busybox", X_OK) == 0 && access("/marker", F_OK) == 0);
    int fd = open("/written", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
    struct stat st;
    CHECK(stat("/secret", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK(access("/dev/null", W_OK) == 0);
}

static void tmpfs_on_root(void)
{
    make_image();
    image_file("marker", "x");
    image_file("secret", "x");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '', 'type': 'tmpfs', 'source': 'newroot', 'options': ['tmpcopyup']}");
    spec_add(spec, "mounts", TMPFS("/later", ""));
    spec_add(spec, "linux.maskedPaths", "'/secret'");
    run_container(plan_of(json_object_get(spec)), NULL, inside_tmpfs_root, NULL);
    in_child(0, in_user_namespace, &(struct in_user_namespace){
        container_of(plan_with_flags(spec, RFS_OPTION_USER_NAMESPACE)), inside_tmpfs_root});
    CHECK(access(image("written"), F_OK) == -1 && access(image("later"), F_OK) == -1);
}

static void inside_bound_root(void *data)
{
    (void)data;
    check_mount("/ /volume ro,relatime - tmpfs test *");
    check_mount("/tmp / rw,relatime - tmpfs tmpfs rw*");
    CHECK(access("/mine", F_OK) == 0 && access("/bin/busybox", F_OK) == -1);
    CHECK(mkdir("/x", 0755) == -1 && errno == EROFS);
}

static void bind_on_root(void)
{
    make_image();
    make_file(in_work("volume/mine"), "x");
    json_object *spec = empty_spec();
    spec_set(spec, "root.readonly", "true");
    spec_add(spec, "mounts", "{'destination': '/', 'type': 'bind', 'source': '%s/volume', 'options': ['rbind']}", work);
    spec_add(spec, "mounts", TMPFS("/tmp", ""));
    run_container(plan_of(json_object_get(spec)), NULL, inside_bound_root, NULL);
    run_container(plan_with_flags(json_object_get(spec), RFS_OPTION_CLASSIC_MOUNT), NULL, inside_bound_root, NULL);
    in_child(0, in_user_namespace, &(struct in_user_namespace){
        container_of(plan_with_flags(spec, RFS_OPTION_USER_NAMESPACE)), inside_bound_root});
    CHECK(access(in_work("volume/tmp"), F_OK) == 0);
}

/* podman run -v d:/app:ro -v /app/node_modules: the mount point is made in the source, which then becomes read-only. */

static void inside_mount_below_readonly(void *data)
{
    (void)data;
    check_mount("/app /from ro,relatime - tmpfs test *");
    check_mount("/app/node_modules / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/other /from ro,relatime - tmpfs test *");
    CHECK(mkdir("/app/x", 0755) == -1 && errno == EROFS);
    CHECK(mkdir("/app/node_modules/x", 0755) == 0);
}

static void mount_below_readonly_bind(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    json_object *spec = empty_spec();
    spec_set(spec, "process.cwd", "'/app/made/for/it'");
    spec_add(spec, "mounts", "{'destination': '/app', 'type': 'bind', 'source': '%s/from', 'options': ['rbind', "
             "'ro']}", work);
    spec_add(spec, "mounts", TMPFS("/app/node_modules", ""));
    spec_add(spec, "mounts", "{'destination': '/other', 'type': 'bind', 'source': '%s/from', 'options': ['rbind', "
             "'ro']}", work);
    run_container(plan_of(spec), NULL, inside_mount_below_readonly, NULL);
    CHECK(access(in_work("from/made/for/it"), F_OK) == 0);
}

/* If a mount point can't be made on a read-only source, that is an error. The source must not become writable for a
 * moment. */
static void mount_below_readonly_source(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    REQUIRE(mount(in_work("from"), in_work("from"), NULL, MS_BIND, NULL) == 0);
    REQUIRE(mount(NULL, in_work("from"), NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/app', 'type': 'bind', 'source': '%s/from', 'options': ['rbind', "
             "'ro']}", work);
    spec_add(spec, "mounts", TMPFS("/app/node_modules", ""));
    run_refused("a read-only source", plan_of(spec), NULL, &(struct expected){.code = -EROFS,
             .object = RFS_OBJECT_MOUNT, .index = 1});
}

/* The mount that was asked to be read-only is made so, and no other that lies at its path. */

static void inside_covered(void *data)
{
    (void)data;
    check_mount("/a /from rw,relatime - tmpfs test *");
    CHECK(mkdir("/a/x", 0755) == 0);
    REQUIRE(umount2("/a", MNT_DETACH) == 0);
    check_mount("/a / ro,relatime - tmpfs covered *");
}

static void covered_readonly_tmpfs(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/a', 'type': 'tmpfs', 'source': 'covered', 'options': ['ro']}");
    spec_add(spec, "mounts", "{'destination': '/a', 'type': 'bind', 'source': '%s/from', 'options': ['bind', 'rw']}",
             work);
    run_container(plan_of(spec), NULL, inside_covered, NULL);
}

static int swap_a(void *userdata, rfs_point point)
{
    (void)userdata;
    if (point == RFS_POINT_AFTER_SWITCH)
        REQUIRE(mount("other", "/a", "tmpfs", 0, NULL) == 0);
    return 0;
}

static void swapped(void *container)
{
    rfs_error err = fresh_error();
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .point = swap_a};
    REQUIRE_SUCCESS(rfs_prepare(container, &callbacks, &err), &err);
    int rc = rfs_finalize(container, &err);
    CHECK_ERROR(rc, &err, .code = -EINVAL, .stage = RFS_STAGE_FINALIZE, .object = RFS_OBJECT_MOUNT,
             .says = "another mount");
    check_mount("/a / rw,relatime - tmpfs other *");
}

static void swapped_readonly_tmpfs(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/a', 'type': 'tmpfs', 'source': 'mine', 'options': ['ro']}");
    in_child(CONTAINER_NAMESPACES, swapped, container_of(plan_of(spec)));
}

/* A network namespace has one superblock of sysfs. If one container of a pod has it read-only, the next must not. */

static void inside_readonly_sysfs(void *data)
{
    (void)data;
    check_mount("/sys / ro,relatime - sysfs sysfs rw*");
}

static void inside_writable_sysfs(void *data)
{
    (void)data;
    check_mount("/sys / rw,relatime - sysfs sysfs rw*");
}

struct in_pod {
    rfs_container *container;
    void (*inside)(void *);
};

static void in_pod(void *data)
{
    const struct in_pod *c = data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(c->container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(c->container, &err), &err);
    c->inside(NULL);
}

static void pod(void *data)
{
    (void)data;
    static const struct {
        const char *option;
        void (*inside)(void *);
    } members[] = {{"ro", inside_readonly_sysfs}, {"rw", inside_writable_sysfs}};
    for (size_t classic = 0; classic < 2; classic++)
        for (size_t i = 0; i < COUNT(members); i++) {
            json_object *spec = empty_spec();
            spec_add(spec, "mounts", "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', "
                     "'options': ['%s']}", members[i].option);
            struct in_pod c = {container_of(plan_with_flags(spec, classic ? RFS_OPTION_CLASSIC_MOUNT : 0)),
                     members[i].inside};
            in_child(CLONE_NEWNS, in_pod, &c);
        }
}

static void sysfs_of_a_pod(void)
{
    make_image();
    in_child(CLONE_NEWNET, pod, NULL);
}

/* Engines add "rw" to every bind: a locked source then fails, or keeps its flags where that is asked for. */

static const struct locked {
    uint64_t flags;
    int code;
} locked[] = {{0, -EPERM}, {RFS_OPTION_KEEP_LOCKED, 0}};

struct locked_start {
    rfs_container *container;
    int code;
};

static void start_locked(void *data)
{
    const struct locked_start *c = data;
    rfs_error err = fresh_error();
    enter_user_namespace();
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    int rc = rfs_prepare(c->container, &with_warnings, &err);
    if (c->code) {
        CHECK_ERROR(rc, &err, .code = c->code, .object = RFS_OBJECT_MOUNT, .index = 0,
                 .says = "RFS_OPTION_KEEP_LOCKED", .says_too = "RFS_MOUNT_FROM_HOST");
        return;
    }
    REQUIRE_SUCCESS(rc, &err);
    REQUIRE_SUCCESS(rfs_finalize(c->container, &err), &err);
    check_mount("/x /from ro,nosuid,relatime* - tmpfs test *");
    CHECK_THAT(strstr(logged_warnings, "locked") && strstr(logged_warnings, "ro,nosuid"), "%s", logged_warnings);
}

static void locked_sources(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    REQUIRE(mount(in_work("from"), in_work("from"), NULL, MS_BIND, NULL) == 0);
    REQUIRE(mount(NULL, in_work("from"), NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL) == 0);
    for (size_t i = 0; i < COUNT(locked); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", "{'destination': '/x', 'type': 'bind', 'source': '%s/from', 'options': ['rbind', "
                 "'rw', 'suid']}", work);
        struct locked_start c = {container_of(plan_with_flags(spec, RFS_OPTION_USER_NAMESPACE | locked[i].flags)),
                 locked[i].code};
        in_child(0, start_locked, &c);
    }
}

/* bubblewrap --remount-ro: what the options do not name stays. */

static void inside_remounted(void *data)
{
    (void)data;
    check_mount("/x / ro,nosuid,nodev,noatime - tmpfs mine *");
}

static void remount_keeps_flags(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/x', 'type': 'tmpfs', 'source': 'mine', 'options': ['nosuid', 'nodev', "
             "'noexec', 'noatime']}");
    rfs_config *config = config_from_json(spec);
    static const char *const options[] = {"bind", "remount", "ro", "exec"};
    rfs_mount again = {.size = sizeof again, .flags = RFS_MOUNT_KEEP_FLAGS, .destination = "/x", .options = options,
             .n_options = COUNT(options)};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_add_mount(config, &again, &err), &err);
    run_container(plan_of_config(config), NULL, inside_remounted, NULL);
}

/* rootfsPropagation rslave leaves the mounts what they asked for. */

static void inside_slave_root(void *data)
{
    (void)data;
    check_mount("/shared / rw,relatime shared - tmpfs tmpfs *");
    check_mount("/plain / rw,relatime - tmpfs tmpfs *");
}

static void shared_in_slave(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_set(spec, "linux.rootfsPropagation", "'rslave'");
    spec_add(spec, "mounts", TMPFS("/plain", ""));
    spec_add(spec, "mounts", "{'destination': '/shared', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['rshared']}");
    run_container(plan_of(spec), NULL, inside_slave_root, NULL);
}

/* ---- A sysfs with "ro" lets a nested user namespace have its own ---- */

static void mount_own_sysfs(void *data)
{
    (void)data;
    REQUIRE(unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) == 0);
    CHECK_THAT(mount("own", "/tmp", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0, "sysfs");
    check_mount("/tmp / ro,nosuid,nodev,noexec* - sysfs own *");
}

static void nested(void *data)
{
    (void)data;
    check_mount("/sys / ro,* - sysfs sysfs rw*");
    in_child(0, mount_own_sysfs, NULL);
}

static void sysfs_of_a_nested_user_namespace(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", TMPFS("/tmp", ""));
    spec_add(spec, "mounts", "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', "
             "'options': ['ro', 'nosuid', 'nodev', 'noexec']}");
    run_container(plan_of(spec), NULL, nested, NULL);
}

/* ---- podman run -v /proc/sys/net:/proc/sys/net: RFS_OPTION_MOUNTS_BELOW_PROC ---- */

static void write_forwarding(int expected)
{
    int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
    CHECK_THAT((fd < 0 ? errno : 0) == expected, "ip_forward: %s", strerror(errno));
    close(fd);
}

static void inside_mounts_below_proc(void *data)
{
    (void)data;
    check_mount("/proc/version /from/file rw,* - *");
    check_mount("/proc/sys/net /sys/net rw,* - proc proc rw*");
    struct stat own, proc;
    CHECK(stat("/proc/sys/net", &own) == 0 && stat("/proc", &proc) == 0 && own.st_dev == proc.st_dev);
    write_forwarding(0);
    int fd = open("/proc/sys/kernel/domainname", O_WRONLY | O_CLOEXEC);
    CHECK(fd < 0 && errno == EROFS); /* The rest of /proc/sys is read-only as before. */
    char text[8] = "";
    fd = open("/etc/mtab", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof text) == 1 && text[0] == 'x');
    close(fd);
}

static void inside_readonly_proc_sys(void *data)
{
    (void)data;
    write_forwarding(EROFS);
}

static json_object *spec_below_proc(void)
{
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "linux.readonlyPaths", "'/proc/sys'");
    return spec;
}

static void mounts_below_proc(void)
{
    make_image();
    image_directory("etc", 0755);
    image_link("../proc/self/mounts", "etc/mtab");
    make_file(in_work("from/file"), "x");
    json_object *spec = spec_below_proc();
    run_container(plan_of(json_object_get(spec)), NULL, inside_readonly_proc_sys, NULL);
    spec_add(spec, "mounts", BIND("from/file", "/proc/version", "'bind'"));
    spec_add(spec, "mounts", BIND("from/file", "/etc/mtab", "'bind'"));
    spec_add(spec, "mounts", "{'destination': '/proc/sys/net', 'type': 'bind', 'source': '/proc/sys/net', "
             "'options': ['rbind', 'rw']}");
    rfs_plan *plan = plan_with_flags(spec, RFS_OPTION_MOUNTS_BELOW_PROC);
    CHECK_THAT(strstr(rfs_plan_warning(plan, 0), "that of the container's own /proc"), "%s", rfs_plan_warning(plan, 0));
    run_container(plan, NULL, inside_mounts_below_proc, NULL);
}

static void refused_below_proc(void)
{
    make_image();
    image_directory("image-proc", 0755);
    make_file(in_work("from/file"), "x");
    make_directory(in_work("from/directory"), 0755);
    static const struct {
        const char *source, *destination, *type, *says;
        uint64_t flags;
    } cases[] = {
        {"%s/from/directory", "/proc/sys", "bind", "only a file on a file", RFS_OPTION_MOUNTS_BELOW_PROC},
        {"/proc/self", "/proc/sys", "bind", "only a file on a file", RFS_OPTION_MOUNTS_BELOW_PROC},
        {"%s/from/file", "/proc/sys", "bind", "only a file on a file", RFS_OPTION_MOUNTS_BELOW_PROC},
        {"tmpfs", "/proc/sys", "tmpfs", "nothing may be mounted below /proc", RFS_OPTION_MOUNTS_BELOW_PROC},
        {"%s/from/file", "/proc/version", "bind", "RFS_OPTION_MOUNTS_BELOW_PROC allows it", 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char source[4096];
        snprintf(source, sizeof source, cases[i].source, work);
        rfs_error err = fresh_error();
        rfs_plan *plan = NULL;
        json_object *spec = spec_below_proc();
        spec_add(spec, "mounts", "{'destination': '%s', 'type': '%s', 'source': '%s'}", cases[i].destination,
                 cases[i].type, source);
        rfs_config *config = config_from_json(spec);
        rfs_options options = {.size = sizeof options, .flags = cases[i].flags};
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        int rc = rfs_plan_new(config, &plan, &err);
        if (rc != 0)
            CHECK_ERROR(rc, &err, .code = -EINVAL, .object = RFS_OBJECT_MOUNT, .index = 1, .says = cases[i].says);
        else
            run_refused(source, plan, NULL,
                        &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                           .index = 1, .says = cases[i].says});
        rfs_config_free(config);
    }
}

/* The image's own /proc is no procfs, and no file may be bound on a file in it. */
static void no_procfs_below_proc(void)
{
    make_image();
    if (access(image("proc"), F_OK) != 0)
        image_directory("proc", 0755);
    image_file("proc/version", "of the image");
    make_file(in_work("from/file"), "x");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from/file", "/proc/version", "'bind'"));
    run_refused("a false /proc", plan_with_flags(spec, RFS_OPTION_MOUNTS_BELOW_PROC), NULL,
                &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                   .says = "only a file on a file"});
}

int main(void)
{
    static const struct test_case cases[] = {
        {"binds over devices and links", bound_devices},
        {"binds over devices in a user namespace", bound_devices_in_a_user_namespace},
        {"a file of the image over a device", image_over_device},
        {"an optional bind on /dev that fails", optional_bind_on_dev},
        {"a tmpfs over a bound /dev", tmpfs_over_bound_dev},
        {"a remount of a bound /dev", remount_of_dev},
        {"devtmpfs on /dev", devtmpfs},
        {"masks can't be written to", masks},
        {"a sysfs on a link", proc_on_a_link},
        {"a tmpfs on /, with what it covers", tmpfs_on_root},
        {"a bind on /", bind_on_root},
        {"a mount and the working directory below a read-only bind", mount_below_readonly_bind},
        {"a mount below a bind of a read-only source", mount_below_readonly_source},
        {"a read-only tmpfs that a bind covers", covered_readonly_tmpfs},
        {"a read-only tmpfs that something covers before the end", swapped_readonly_tmpfs},
        {"a read-only sysfs in a pod", sysfs_of_a_pod},
        {"a read-only sysfs, and that of a nested user namespace", sysfs_of_a_nested_user_namespace},
        {"rw on locked sources", locked_sources},
        {"a remount that keeps flags", remount_keeps_flags},
        {"a shared mount in a slave root", shared_in_slave},
        {"mounts below /proc", mounts_below_proc},
        {"mounts below /proc that are refused", refused_below_proc},
        {"mounts below a /proc that is no procfs", no_procfs_below_proc},
    };
    return run_cases(cases, COUNT(cases));
}
