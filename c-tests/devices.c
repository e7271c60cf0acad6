/* Device nodes and the links in /dev: what is made, what is kept, what is refused, and what is bound from the
 * host where nodes can't be made.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "intervene.h"
#include "mounts.h"
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void check_node(const char *path, mode_t mode, dev_t device, uid_t uid, gid_t gid)
{
    struct stat st;
    if (!CHECK_THAT(lstat(path, &st) == 0, "%s", path))
        return;
    CHECK_THAT(st.st_mode == mode && st.st_rdev == device && st.st_uid == uid && st.st_gid == gid,
               "%s is %o %u:%u of %u:%u, expected %o %u:%u of %u:%u",
               path, st.st_mode, major(st.st_rdev), minor(st.st_rdev), st.st_uid, st.st_gid, mode, major(device),
                   minor(device), uid, gid);
}

static void check_link(const char *path, const char *target)
{
    char text[256];
    ssize_t n = readlink(path, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    CHECK_THAT(strcmp(text, target) == 0, "%s -> \"%s\", expected \"%s\"", path, text, target);
}

static void check_works(const char *zero)
{
    char byte = 1;
    int fd = open(zero, O_RDONLY | O_CLOEXEC);
    CHECK_THAT(fd >= 0 && read(fd, &byte, 1) == 1 && byte == 0, "%s does not work", zero);
    close(fd);
}

static void inside_kinds(void *data)
{
    (void)data;
    check_node("/dev/c", S_IFCHR | 0640, makedev(10, 229), 7, 8);
    check_node("/dev/u", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_node("/dev/b", S_IFBLK | 0604, makedev(7, 9), 0, 6);
    check_node("/dev/p", S_IFIFO | 0622, 0, 9, 0);
    check_node("/dev/p-default", S_IFIFO | 0666, 0, 0, 0);
    check_node("/dev/none", S_IFCHR, makedev(1, 5), 0, 0);
    check_node("/dev/set", S_IFCHR | 06755, makedev(1, 5), 3, 4);
    check_node("/dev/large", S_IFCHR | 0666, makedev(4095, 1048575), 0, 0);
    check_node("/dev/podman", S_IFCHR | 0620, makedev(1, 5), 0, 0);
    check_node("/dev/null", S_IFCHR | 0666, makedev(1, 3), 0, 0);
    check_node("/dev/tty", S_IFCHR | 0666, makedev(5, 0), 0, 0);
    check_works("/dev/u");
    struct stat st;
    /* New files would take this group over. */
    CHECK(stat("/dev", &st) == 0 && (st.st_mode & 07777) == 02775 && st.st_gid == 55);
    int fd = open("/dev/p", O_RDWR | O_CLOEXEC);
    char byte = 1;
    CHECK(write(fd, "x", 1) == 1 && read(fd, &byte, 1) == 1 && byte == 'x');
    close(fd);
}

static void kinds(void)
{
    static const mode_t umasks[] = {077, 0, 0777};
    for (size_t i = 0; i < COUNT(umasks); i++) {
        umask(022);
        REQUIRE(mount("test", work, "tmpfs", 0, "mode=755,size=64m") == 0);
        make_image();
        REQUIRE(chown(image("dev"), 0, 55) == 0 && chmod(image("dev"), 02775) == 0);
        json_object *spec = empty_spec();
#define DEVICE(path, type, rest) "{'path': '" path "', 'type': '" type "'" rest "}"
        spec_add(spec, "linux.devices", DEVICE("/dev/c", "c",
                                               ", 'major': 10, 'minor': 229, 'fileMode': 416, 'uid': 7, 'gid': 8"));
        spec_add(spec, "linux.devices", DEVICE("/dev/u", "u", ", 'major': 1, 'minor': 5"));
        spec_add(spec, "linux.devices", DEVICE("/dev/b", "b", ", 'major': 7, 'minor': 9, 'fileMode': 388, 'gid': 6"));
        spec_add(spec, "linux.devices", DEVICE("/dev/p", "p", ", 'fileMode': 402, 'uid': 9"));
        spec_add(spec, "linux.devices", DEVICE("/dev/p-default", "p", ", 'major': 0, 'minor': 0"));
        spec_add(spec, "linux.devices", DEVICE("/dev/none", "c", ", 'major': 1, 'minor': 5, 'fileMode': 0"));
        spec_add(spec, "linux.devices", DEVICE("/dev/set", "c",
                                               ", 'major': 1, 'minor': 5, 'fileMode': 3565, 'uid': 3, 'gid': 4"));
        spec_add(spec, "linux.devices", DEVICE("/dev/large", "c", ", 'major': 4095, 'minor': 1048575"));
        /* with S_IFCHR */
        spec_add(spec, "linux.devices", DEVICE("/dev/podman", "c", ", 'major': 1, 'minor': 5, 'fileMode': 8592"));
        umask(umasks[i]);
        run_container(plan_of(spec), NULL, inside_kinds, NULL);
        CHECK(umask(0) == umasks[i]);
        REQUIRE(umount2(work, MNT_DETACH) == 0);
    }
}

static void inside_kept(void *data)
{
    (void)data;
    check_node("/dev/null", S_IFCHR | 0600, makedev(1, 3), 11, 12); /* The image has the node with this mode. */
    check_node("/dev/mine", S_IFBLK | 0640, makedev(7, 9), 0, 6);
    check_node("/dev/pipe", S_IFIFO | 0644, 0, 0, 0);
    check_node("/dev/zero", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_link("/dev/stdin", "/elsewhere"); /* so are links */
    check_link("/dev/fd", "/proc/self/fd");
    check_link("/dev/ptmx", "pts/ptmx"); /* but for this */
}

static void kept(void)
{
    make_image();
    REQUIRE(mknod(image("dev/null"), S_IFCHR | 0600, makedev(1, 3)) == 0 && chown(image("dev/null"), 11, 12) == 0);
    REQUIRE(mknod(image("dev/mine"), S_IFBLK | 0640, makedev(7, 9)) == 0 && chown(image("dev/mine"), 0, 6) == 0);
    REQUIRE(mknod(image("dev/pipe"), S_IFIFO | 0644, 0) == 0);
    REQUIRE(mknod(image("dev/ptmx"), S_IFCHR | 0666, makedev(5, 2)) == 0);
    image_link("/elsewhere", "dev/stdin");
    json_object *spec = empty_spec();
    spec_add(spec, "linux.devices", DEVICE("/dev/mine", "b", ", 'major': 7, 'minor': 9"));
    spec_add(spec, "linux.devices", DEVICE("/dev/pipe", "p", ", 'major': 1, 'minor': 1, 'fileMode': 384"));
    run_container(plan_of(spec), NULL, inside_kept, NULL);
}

static void inside_ptmx(void *data)
{
    (void)data;
    check_link("/dev/ptmx", "pts/ptmx");
    CHECK(access("/data/ptmx", F_OK) == 0); /* A link there is replaced and not followed. */
}

static void ptmx_replaced(void)
{
    make_image();
    json_object *spec = empty_spec();
    rfs_plan *plan = plan_of(spec);
    image_file("data/ptmx", "x");
    image_file("dev/ptmx", "x");
    run_container(plan, NULL, inside_ptmx, NULL);
    REQUIRE(unlink(image("dev/ptmx")) == 0);
    image_link("/data/ptmx", "dev/ptmx");
    run_container(plan, NULL, inside_ptmx, NULL);
    REQUIRE(unlink(image("dev/ptmx")) == 0);
    image_directory("dev/ptmx", 0755);
    run_refused("a directory", plan, NULL, &(struct expected){.code = -EISDIR, .stage = RFS_STAGE_DEVICES,
                                                              .says = "/dev/ptmx"});
}

/* A file at a device's path that is not that device. */
static void wrong_nodes(void)
{
    static const struct {
        const char *what, *path;
        mode_t mode; /* 0 stands for a symbolic link to `target`. */
        dev_t device;
        const char *target;
        int64_t index; /* This is the index of the refused device, or -1 for a default device. */
    } list[] = {
        {"another number", "dev/mine", S_IFCHR | 0666, 0x109, NULL, 0},
        {"block, not character", "dev/mine", S_IFBLK | 0666, 0x105, NULL, 0},
        {"a fifo", "dev/mine", S_IFIFO | 0666, 0, NULL, 0},
        {"a file", "dev/mine", S_IFREG | 0666, 0, NULL, 0},
        {"a directory", "dev/mine", S_IFDIR | 0755, 0, NULL, 0},
        {"a link to the right one", "dev/mine", 0, 0, "right", 0},
        {"a link to nothing", "dev/mine", 0, 0, "/made/by/mknod", 0},
        {"a link to itself", "dev/mine", 0, 0, "mine", 0},
        {"/dev/null a link to a file", "dev/null", 0, 0, "/etc/precious", -1},
        {"/dev/null a link to the right one", "dev/null", 0, 0, "right-null", -1},
        {"/dev/null a file", "dev/null", S_IFREG | 0666, 0, NULL, -1},
        {"/dev/tty another device", "dev/tty", S_IFCHR | 0666, 0x103, NULL, -1},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        REQUIRE(mount("test", work, "tmpfs", 0, "mode=755,size=64m") == 0);
        make_image();
        image_file("etc/precious", "precious");
        REQUIRE(mknod(image("dev/right"), S_IFCHR | 0666, makedev(1, 5)) == 0
                && mknod(image("dev/right-null"), S_IFCHR | 0666, makedev(1, 3)) == 0);
        if (list[i].target)
            image_link(list[i].target, list[i].path);
        else if (S_ISDIR(list[i].mode))
            image_directory(list[i].path, 0755);
        else
            REQUIRE(mknod(image(list[i].path), list[i].mode, list[i].device) == 0);
        struct stat before, after;
        REQUIRE(lstat(image(list[i].path), &before) == 0);
        json_object *spec = empty_spec();
        spec_add(spec, "linux.devices", DEVICE("/dev/mine", "c",
                                               ", 'major': 1, 'minor': 5, 'fileMode': 384, 'uid': 7"));
        char path[64];
        snprintf(path, sizeof path, "/%s", list[i].path);
        run_refused(list[i].what, plan_of(spec), NULL,
                    &(struct expected){.code = -EEXIST, .stage = RFS_STAGE_DEVICES, .object = RFS_OBJECT_DEVICE,
                                       .index = list[i].index,
                                       .says = "the rootfs has something else at this path", .path = path});
        CHECK(lstat(image(list[i].path), &after) == 0 && before.st_ino == after.st_ino
              && before.st_mode == after.st_mode && before.st_uid == after.st_uid);
        CHECK(access(image("made"), F_OK) == -1);
        CHECK(stat(image("etc/precious"), &after) == 0 && S_ISREG(after.st_mode) && after.st_size == 8
              && after.st_uid == 0);
        CHECK(stat(image("dev/right"), &after) == 0 && (after.st_mode & 07777) == 0644 && after.st_uid == 0);
        REQUIRE(umount2(work, MNT_DETACH) == 0);
    }
}

/* Somebody who can write to the node's directory wants the owner and mode for something else. */
static long replaced_before;
static const char *replacement;

static int replace(const struct seccomp_notif *call)
{
    static bool made;
    const char *node = image("etc/new");
    if (strcmp(string_argument(call, 1), "new") != 0)
        return 0;
    if (call->data.nr == SYS_mknodat) {
        made = true;
    } else if (made && call->data.nr == replaced_before) {
        made = false;
        CHECK(unlink(node) == 0);
        CHECK((replacement ? link(image(replacement), node) : symlink("/file", node)) == 0);
    }
    return 0;
}

static void replaced_node(void *data)
{
    (void)data;
    json_object *spec = empty_spec();
    spec_add(spec, "linux.devices", DEVICE("/etc/new", "c", ", 'major': 1, 'minor': 5, 'uid': 7, 'gid': 8"));
    intervene((const int[]){SYS_mknodat, SYS_newfstatat, SYS_openat}, 3, replace);
    run_refused("a node that was replaced", plan_of(spec), NULL,
                &(struct expected){.code = -EEXIST, .stage = RFS_STAGE_DEVICES, .object = RFS_OBJECT_DEVICE, .index = 0,
                                   .says = replaced_before == SYS_openat
                                       ? "the new node was replaced while it was being made"
                                       : "something else at this path"});
    CHECK(unlink(image("etc/new")) == 0);
}

static void replaced(void)
{
    static const long calls[] = {SYS_newfstatat, SYS_openat};
    make_image();
    make_file(image("file"), "x");
    REQUIRE(mknod(image("device"), S_IFCHR | 0600, makedev(1, 7)) == 0);
    static const char *const replacements[] = {NULL, "file", "device"};
    for (size_t i = 0; i < COUNT(calls); i++) {
        for (size_t j = 0; j < COUNT(replacements); j++) {
            replaced_before = calls[i];
            replacement = replacements[j];
            in_child(0, replaced_node, NULL);
        }
    }
    check_node(image("file"), S_IFREG | 0644, 0, 0, 0);
    check_node(image("device"), S_IFCHR | 0600, makedev(1, 7), 0, 0);
}

static void inside_elsewhere(void *data)
{
    (void)data;
    check_node("/node", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_node("/a/b/c/node", S_IFBLK | 0660, makedev(7, 9), 1, 2);
    check_node("/data/node", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_node("/data/deep/er/node", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_node("/made/here/node", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_node("/etc/escaped/node", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_node("/dev/sub/dir/node", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    check_node("/data/cleaned", S_IFCHR | 0666, makedev(1, 5), 0, 0);
    struct stat st;
    static const char *const made[] = {"/a", "/a/b/c", "/data/deep/er", "/made/here", "/dev/sub/dir"};
    for (size_t i = 0; i < COUNT(made); i++)
        CHECK_THAT(lstat(made[i], &st) == 0 && st.st_mode == (S_IFDIR | 0755) && st.st_uid == 0, "%s", made[i]);
    check_works("/node");
}

static void elsewhere(void)
{
    make_image();
    image_directory("data", 0755);
    image_link("/data", "link");
    image_link("/made/here", "dangling");
    image_link("../../../../../etc/escaped", "data/escape");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "linux.devices", DEVICE("/node", "c", ", 'major': 1, 'minor': 5"));
    spec_add(spec, "linux.devices", DEVICE("/a/b/c/node", "b",
                                           ", 'major': 7, 'minor': 9, 'fileMode': 432, 'uid': 1, 'gid': 2"));
    spec_add(spec, "linux.devices", DEVICE("/link/node", "c", ", 'major': 1, 'minor': 5"));
    spec_add(spec, "linux.devices", DEVICE("/link/deep/er/node", "c", ", 'major': 1, 'minor': 5"));
    spec_add(spec, "linux.devices", DEVICE("/dangling/node", "c", ", 'major': 1, 'minor': 5"));
    spec_add(spec, "linux.devices", DEVICE("/link/escape/node", "c", ", 'major': 1, 'minor': 5"));
    spec_add(spec, "linux.devices", DEVICE("/dev/sub/dir/node", "c", ", 'major': 1, 'minor': 5"));
    spec_add(spec, "linux.devices", DEVICE("//data/./x/../cleaned", "c", ", 'major': 1, 'minor': 5"));
    umask(077);
    run_container(plan_of(spec), NULL, inside_elsewhere, NULL);
    CHECK(access("/etc/escaped", F_OK) == -1);
}

static void paths_refused(void)
{
    make_image();
    image_file("file", "x");
    json_object *spec = empty_spec();
    spec_add(spec, "linux.devices", DEVICE("/", "c", ", 'major': 1, 'minor': 5"));
    refuse_plan("the root", spec, &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_PLAN,
                                                     .object = RFS_OBJECT_DEVICE, .index = 0, .says = "root"});
    spec = empty_spec();
    spec_add(spec, "linux.devices", DEVICE("/dev/x/../..", "c", ", 'major': 1, 'minor': 5"));
    refuse_plan("the root, in other words", spec, &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_PLAN,
            .object = RFS_OBJECT_DEVICE, .index = 0, .says = "root"});
    spec = empty_spec();
    spec_add(spec, "linux.devices", DEVICE("/file/node", "c", ", 'major': 1, 'minor': 5"));
    run_refused("below a file", plan_of(spec), NULL,
                &(struct expected){.code = -ENOTDIR, .stage = RFS_STAGE_DEVICES, .object = RFS_OBJECT_DEVICE,
                                   .index = 0, .says = "linux.devices[0] (/file/node)"});
}

static void inside_linked_dev(void *data)
{
    (void)data;
    check_node("/host/dev/null", S_IFCHR | 0666, makedev(1, 3), 0, 0);
    check_link("/host/dev/ptmx", "pts/ptmx");
    check_link("/host/dev/stdin", "/proc/self/fd/0");
}

/* A /dev that leads out of the image leads nowhere else than into it. */
static void linked_dev(void)
{
    make_image();
    REQUIRE(rmdir(image("dev")) == 0);
    image_link("../../../../../../../../host/dev", "dev");
    run_container(plan_of(empty_spec()), NULL, inside_linked_dev, NULL);
    CHECK(access("/host", F_OK) == -1);
}

static const char *const defaults[] = {"null", "zero", "full", "random", "urandom", "tty"};

/* Every default node is the host's. */
static void check_bound_defaults(void)
{
    for (size_t i = 0; i < COUNT(defaults); i++) {
        char pattern[64];
        snprintf(pattern, sizeof pattern, "/dev/%s /%s rw,nosuid,noexec,relatime - devtmpfs * *", defaults[i],
                 defaults[i]);
        check_mount(pattern);
    }
    check_works("/dev/zero");
    check_link("/dev/ptmx", "pts/ptmx");
    check_link("/dev/fd", "/proc/self/fd");
    check_link("/dev/stderr", "/proc/self/fd/2");
}

static void without_mknod(void *container)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    REQUIRE(syscall(SYS_capget, &header, caps) == 0);
    caps[0].effective &= ~(1u << CAP_MKNOD);
    caps[0].permitted &= ~(1u << CAP_MKNOD);
    REQUIRE(syscall(SYS_capset, &header, caps) == 0);
    REQUIRE(mknod(in_work("probe"), S_IFCHR | 0600, makedev(1, 3)) == -1 && errno == EPERM);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    check_bound_defaults();
    check_mount("/dev/loop-control /loop-control rw,nosuid,noexec,relatime - devtmpfs * *");
    char pattern[300];
    snprintf(pattern, sizeof pattern, "%s /hosts rw,nosuid,noexec,relatime - tmpfs test rw*", in_work("hosts"));
    check_mount(pattern); /* This device lies outside /dev and is bound too. */
    check_works(in_work("hosts"));
    check_node("/dev/pipe", S_IFIFO | 0600, 0, 5, 0); /* Making a fifo takes no privilege. */
    check_no_mount("/dev/pipe");
    struct stat st;
    CHECK(lstat("/dev/loop-control", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 237));
    REQUIRE(umount2("/dev/zero", MNT_DETACH) == 0);
    check_node("/dev/zero", S_IFREG, 0, 0, 0);
}

static void mknod_refused(void)
{
    make_image();
    REQUIRE(mknod(in_work("hosts"), S_IFCHR | 0666, makedev(1, 5)) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "linux.devices", DEVICE("/dev/loop-control", "c", ", 'major': 10, 'minor': 237"));
    spec_add(spec, "linux.devices", DEVICE("/dev/pipe", "p", ", 'fileMode': 384, 'uid': 5"));
    spec_add(spec, "linux.devices", "{'path': '%s', 'type': 'c', 'major': 1, 'minor': 5}", in_work("hosts"));
    in_child(CONTAINER_NAMESPACES, without_mknod, container_of(plan_of(spec)));
}

static void inside_user_namespace(void *data)
{
    (void)data;
    check_bound_defaults();
    check_mount("/dev/loop-control /loop-control rw,nosuid,noexec,relatime - devtmpfs * *");
}

/* Modes and owners that the host's node can't get are reported. */
static void inside_warned(void *data)
{
    (void)data;
    static const char *const warned[] = {"mode", "owner"};
    char expected[sizeof logged_warnings] = "";
    for (size_t i = 0; i < COUNT(warned); i++)
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected),
                 "\"%s/%s\": the host's node is bound, with its own mode and owner instead of those asked for\n", work,
                     warned[i]);
    CHECK_THAT(strcmp(logged_warnings, expected) == 0, "%s", logged_warnings);
}

struct in_namespace {
    rfs_plan *plan;
    void (*inside)(void *);
};

static void user_namespace(void *data)
{
    const struct in_namespace *in = data;
    enter_user_namespace();
    run_container(in->plan, &with_warnings, in->inside, NULL);
}

/* Devices in a user namespace, whether or not the caller's options tell of it. */
static void in_user_namespace(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "linux.devices", DEVICE("/dev/loop-control", "c", ", 'major': 10, 'minor': 237"));
    rfs_plan *unsaid = plan_of_config(config_from_json(spec));
    in_child(0, user_namespace, &(struct in_namespace){unsaid, inside_user_namespace});
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    in_child(0, user_namespace, &(struct in_namespace){plan_of(spec), inside_user_namespace});
    static const char *const names[] = {"plain", "mode", "owner"};
    static const char *const wishes[] = {"'fileMode': 416", "'fileMode': 438", "'fileMode': 416, 'uid': 5"};
    spec = empty_spec();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    for (size_t i = 0; i < COUNT(names); i++) {
        REQUIRE(mknod(in_work("%s", names[i]), S_IFCHR | 0640, makedev(1, 7)) == 0);
        spec_add(spec, "linux.devices", DEVICE("%s/%s", "c", ", 'major': 1, 'minor': 7, %s"), work, names[i],
                 wishes[i]);
    }
    in_child(0, user_namespace, &(struct in_namespace){plan_of(spec), inside_warned});
}

static void inside_bound_over(void *data)
{
    (void)data;
    check_bound_defaults(); /* The image has a file, a node and a link there. */
    struct stat st;
    CHECK(stat("/etc/precious", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 8);
    check_no_mount("/etc/precious");
    CHECK(access("/made", F_OK) == -1);
}

/* RFS_OPTION_USER_NAMESPACE alone: everything is bound, and links are mounted on, not followed. */
static void bound_over_what_exists(void)
{
    make_image();
    image_file("etc/precious", "precious");
    image_file("dev/zero", "x");
    REQUIRE(mknod(image("dev/full"), S_IFCHR | 0666, makedev(1, 7)) == 0);
    image_link("/etc/precious", "dev/null");
    image_link("/made/by/bind", "dev/random");
    image_link("tty", "dev/tty");
    json_object *spec = empty_spec();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    run_container(plan_of(spec), NULL, inside_bound_over, NULL);
    CHECK(access(image("made"), F_OK) == -1);
}

static void bind_refused(void)
{
    static const struct {
        const char *what, *device;
        int code;
        const char *says;
    } list[] = {
        {"a node that the host has not", DEVICE("/dev/nosuchnode", "c", ", 'major': 1, 'minor': 5"), -ENOENT,
         "the host has none to bind"},
        {"a node that is another on the host", DEVICE("/dev/zero", "c", ", 'major': 1, 'minor': 3"), -ENODEV,
         "the host's file at this path is not that device but the character device 1:5"},
        {"a block device that is a character device on the host", DEVICE("/dev/zero", "b", ", 'major': 1, 'minor': 5"),
         -ENODEV, "is not that device but "},
        {"what is no device on the host", DEVICE("/etc/passwd", "c", ", 'major': 1, 'minor': 5"), -ENODEV,
         "is not that device but "},
        {"a directory in the image", DEVICE("/dev/loop-control", "c", ", 'major': 10, 'minor': 237"), -EEXIST,
         "something else"},
    };
    make_image();
    image_directory("dev/loop-control", 0755);
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "linux.namespaces", "{'type': 'user'}");
        spec_add(spec, "linux.devices", "%s", list[i].device);
        run_refused(list[i].what, plan_of(spec), NULL,
                    &(struct expected){.code = list[i].code, .stage = RFS_STAGE_DEVICES, .object = RFS_OBJECT_DEVICE,
                                       .index = 0,
                                       .says = "linux.devices[0]", .says_too = list[i].says});
    }
}

static void inside_bound_dev(void *line)
{
    char *list = list_directory("/dev");
    CHECK_THAT(strcmp(list, "null 20600 1:3\nptmx 100644 0:0\n") == 0, "/dev is: %s", list);
    free(list);
    CHECK(access("/elsewhere", F_OK) == -1);
    check_mount(line);
}

/* A /dev that is bound is the host's business: nothing is made in it, nor elsewhere. */
static void dev_bound(void)
{
    static const struct {
        const char *mount, *line;
    } list[] = {
        {"{'destination': '/dev', 'type': 'bind', 'source': '%s/hosts', 'options': ['rbind']}",
         "/dev /hosts rw,relatime - tmpfs test *"},
        {"{'destination': '/dev', 'source': '%s/hosts', 'options': ['bind', 'ro']}",
         "/dev /hosts ro,relatime - tmpfs test *"},
        {"{'destination': '//x/../dev/', 'type': 'bind', 'source': '%s/hosts'}",
         "/dev /hosts rw,relatime - tmpfs test *"},
    };
    make_image();
    REQUIRE(mkdir(in_work("hosts"), 0755) == 0 && mknod(in_work("hosts/null"), S_IFCHR | 0600, makedev(1, 3)) == 0);
    make_file(in_work("hosts/ptmx"), "x");
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", list[i].mount, work);
        spec_add(spec, "linux.devices", DEVICE("/elsewhere", "c", ", 'major': 1, 'minor': 5"));
        spec_add(spec, "linux.devices", DEVICE("/dev/more", "c", ", 'major': 1, 'minor': 5"));
        run_container(plan_of(spec), NULL, inside_bound_dev, (void *)(uintptr_t)list[i].line);
    }
}

static void inside_set_up(void *data)
{
    (void)data;
    check_node("/dev/null", S_IFCHR | 0666, makedev(1, 3), 0, 0);
    check_works("/dev/zero");
}

/* Only a bind on /dev itself keeps devices from being made. */
static void dev_set_up(void)
{
    make_image();
    make_directory(in_work("hosts"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "mounts", "{'destination': '/dev/shm', 'type': 'bind', 'source': '%s/hosts'}", work);
    spec_add(spec, "mounts", "{'destination': '/data/dev', 'type': 'bind', 'source': '%s/hosts'}", work);
    run_container(plan_of(spec), NULL, inside_set_up, NULL);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"kinds, modes and owners, whatever the umask and the directory's group", kinds},
        {"the image's own nodes and links are kept", kept},
        {"/dev/ptmx is replaced", ptmx_replaced},
        {"wrong nodes and links are refused", wrong_nodes},
        {"a node that is replaced while it is made", replaced},
        {"outside /dev, in /, through links", elsewhere},
        {"paths that are refused", paths_refused},
        {"/dev is a link out of the image", linked_dev},
        {"without CAP_MKNOD: bound from the host", mknod_refused},
        {"in a user namespace: bound from the host", in_user_namespace},
        {"bound over files, nodes and links", bound_over_what_exists},
        {"nodes that can't be bound", bind_refused},
        {"/dev bound: nothing is made", dev_bound},
        {"binds elsewhere: /dev is set up", dev_set_up},
    };
    return run_cases(cases, COUNT(cases));
}
