/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broken.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The default bundle has 7 mounts; what is added has this index. */
#define ADDED .object = RFS_OBJECT_MOUNT, .index = 7, .says = "mounts[7]"

static void missing_source(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/target', 'type': 'bind', 'source': '%s/missing', 'options': ['rbind']}",
             work);
}

static void source_below_file(json_object *spec)
{
    make_file(in_work("file"), "x");
    spec_add(spec, "mounts",
             "{'destination': '/target', 'type': 'bind', 'source': '%s/file/below', 'options': ['bind']}", work);
}

static void unknown_option(json_object *spec)
{
    spec_add(spec, "mounts",
             "{'destination': '/target', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['nosuchopt']}");
}

static void bad_value(json_object *spec)
{
    spec_add(spec, "mounts",
             "{'destination': '/target', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['size=lots']}");
}

static void unknown_type(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/target', 'type': 'nosuchfs', 'source': 'x'}");
}

static void overlay_without_lower(json_object *spec)
{
    spec_add(spec, "mounts",
             "{'destination': '/target', 'type': 'overlay', 'source': 'x', 'options': ['lowerdir=/no/such/dir']}");
}

static void target_is_file(json_object *spec)
{
    image_file("target", "x");
    spec_add(spec, "mounts", "{'destination': '/target/below', 'type': 'tmpfs', 'source': 'tmpfs'}");
}

static void target_in_proc(json_object *spec)
{
    image_link("/proc/sys", "target");
    spec_add(spec, "mounts", "{'destination': '/target', 'type': 'tmpfs', 'source': 'tmpfs'}");
}

static void target_is_no_text(json_object *spec)
{
    image_link("/proc/\xff\xfe", "target");
    spec_add(spec, "mounts", "{'destination': '/target', 'type': 'tmpfs', 'source': 'tmpfs'}");
}

static void target_has_control_characters(json_object *spec)
{
    image_link("/proc/self/attr/\n\033[31m\xe2\x80\xae", "target");
    spec_add(spec, "mounts", "{'destination': '/target', 'type': 'tmpfs', 'source': 'tmpfs'}");
}

static void proc_is_a_link(json_object *spec)
{
    (void)spec;
    REQUIRE(rmdir(image("proc")) == 0);
    image_link("/tmp", "proc");
}

static void nothing(json_object *spec)
{
    (void)spec;
}

static void new_target(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/target/a/b', 'type': 'tmpfs', 'source': 'tmpfs'}");
}

/* The file system has no inode left. */
static void fill_up(void)
{
    REQUIRE(mount(NULL, work, NULL, MS_REMOUNT, "nr_inodes=200") == 0);
    char name[32];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "filler%d", i);
        int fd = open(in_work("%s", name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0) {
            REQUIRE(errno == ENOSPC);
            return;
        }
        close(fd);
    }
    REQUIRE_THAT(false, "the tmpfs does not fill up");
}

static void make_read_only(void)
{
    REQUIRE(mount(NULL, work, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
}

static void remove_rootfs(void)
{
    REQUIRE(rename(in_work("bundle/rootfs"), in_work("bundle/elsewhere")) == 0);
}

static void replace_rootfs_by_link(void)
{
    remove_rootfs();
    REQUIRE(symlink("elsewhere", in_work("bundle/rootfs")) == 0);
}

static void replace_rootfs_by_file(void)
{
    remove_rootfs();
    make_file(in_work("bundle/rootfs"), "");
}

static void device_parent_is_file(json_object *spec)
{
    image_file("file", "x");
    spec_add(spec, "linux.devices", "{'path': '/file/device', 'type': 'c', 'major': 1, 'minor': 3}");
}

static void device_is_a_directory(json_object *spec)
{
    image_directory("device", 0755);
    spec_add(spec, "linux.devices", "{'path': '/device', 'type': 'c', 'major': 1, 'minor': 3}");
}

static void device_is_another(json_object *spec)
{
    REQUIRE(mknod(image("device"), S_IFCHR | 0666, makedev(1, 5)) == 0);
    spec_add(spec, "linux.devices", "{'path': '/device', 'type': 'c', 'major': 1, 'minor': 3}");
}

/* Without its mount on /dev the container uses the image's own /dev. */
static void drop_dev(json_object *spec)
{
    spec_set(spec, "mounts", "[{'destination': '/proc', 'type': 'proc', 'source': 'proc'}]");
}

static void null_is_a_file(json_object *spec)
{
    drop_dev(spec);
    image_file("dev/null", "not a device");
}

static void null_is_a_link(json_object *spec)
{
    drop_dev(spec);
    image_link("zero", "dev/null");
}

static void null_is_bound(json_object *spec)
{
    make_file(in_work("file"), "x");
    spec_set(spec, "mounts", "[]");
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'proc', 'source': 'proc'}");
    spec_add(spec, "mounts", "{'destination': '/dev/null', 'type': 'bind', 'source': '%s/file', 'options': ['bind']}",
             work);
}

/* Whose /dev/null becomes the container's. */
static void read_from_null(void)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO);
    if (null != STDIN_FILENO)
        close(null);
}

static void cwd_is_a_file(json_object *spec)
{
    image_file("file", "x");
    spec_set(spec, "process.cwd", "'/file/cwd'");
}

static void masked_below_file(json_object *spec)
{
    image_file("file", "x");
    spec_set(spec, "linux.maskedPaths", "['/proc/keys', '/file/below']");
}

static void readonly_below_file(json_object *spec)
{
    image_file("file", "x");
    spec_set(spec, "linux.readonlyPaths", "['/proc/sys', '/proc/fs', '/file/below']");
}

static void readonly_loop(json_object *spec)
{
    image_link("loop", "loop");
    spec_set(spec, "linux.readonlyPaths", "['/loop']");
}

/* Docker's way of taking devices away: the image's /dev bound, so that none are made, and no null in it. */
static void no_null_for_masks(json_object *spec)
{
    make_directory(in_work("dev"), 0755);
    spec_set(spec, "mounts", "[{'destination': '/proc', 'type': 'proc', 'source': 'proc'}]");
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/dev', 'options': ['bind']}", work);
    spec_set(spec, "linux.maskedPaths", "['/proc/uptime']");
}

static void wrong_null_for_masks(json_object *spec)
{
    make_file(in_work("dev/null"), "not a device");
    spec_set(spec, "mounts", "[{'destination': '/proc', 'type': 'proc', 'source': 'proc'}]");
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/dev', 'options': ['bind']}", work);
    spec_set(spec, "linux.maskedPaths", "['/proc/uptime']");
}

#define MOUNTS .stage = RFS_STAGE_MOUNTS
#define DEVICES .stage = RFS_STAGE_DEVICES

const struct broken all_broken[] = {
    {"missing bind source", missing_source, NULL, false, {-ENOENT, MOUNTS, ADDED, .says_too = "missing"}},
    {"bind source below a file", source_below_file, NULL, false,
     {-ENOTDIR, MOUNTS, ADDED, .says_too = "file/below"}},
    {"unknown option of tmpfs", unknown_option, NULL, false,
     {-EINVAL, MOUNTS, ADDED, .says_too = "Unknown parameter 'nosuchopt'"}},
    {"bad value for tmpfs", bad_value, NULL, false,
     {-EINVAL, MOUNTS, ADDED, .says_too = "Bad value for 'size'"}},
    {"unknown file system type", unknown_type, NULL, false, {-ENODEV, MOUNTS, ADDED, .says_too = "nosuchfs"}},
    /* -EINVAL without a word before Linux 6.5, then -ENOENT and a message */
    {"overlay without its lower directory", overlay_without_lower, NULL, false, {0, MOUNTS, ADDED}},
    {"target below a file", target_is_file, NULL, false, {-ENOTDIR, MOUNTS, ADDED, .path = "/target/below"}},
    {"target in /proc", target_in_proc, NULL, false, {-EINVAL, MOUNTS, ADDED, .path = "/target"}},
    {"target is a link to bytes that are no text", target_is_no_text, NULL, false,
     {-EINVAL, MOUNTS, ADDED, .says_too = "it leads to /proc/\\xff\\xfe:"}},
    {"target is a link to control characters", target_has_control_characters, NULL, false,
     {-EINVAL, MOUNTS, ADDED, .says_too = "/attr/\\x0a\\x1b[31m\\xe2\\x80\\xae:"}},
    {"/proc is a link", proc_is_a_link, NULL, false,
     {0, MOUNTS, .object = RFS_OBJECT_MOUNT, .index = 0, .says = "mounts[0]", .path = "/proc"}},
    {"full rootfs", new_target, fill_up, false, {-ENOSPC, MOUNTS, ADDED, .says_too = "/target"}},
    {"read-only rootfs without the target", new_target, make_read_only, false,
     {-EROFS, MOUNTS, ADDED, .says_too = "/target"}},
    {"rootfs gone since the plan", nothing, remove_rootfs, false,
     {-ENOENT, .stage = RFS_STAGE_ROOT, .says = "rootfs"}},
    {"rootfs a link since the plan", nothing, replace_rootfs_by_link, false,
     {0, .stage = RFS_STAGE_ROOT, .says = "rootfs"}},
    {"rootfs a file since the plan", nothing, replace_rootfs_by_file, false,
     {-ENOTDIR, .stage = RFS_STAGE_ROOT, .says = "rootfs"}},
    {"device below a file", device_parent_is_file, NULL, false,
     {-ENOTDIR, DEVICES, .object = RFS_OBJECT_DEVICE, .index = 0, .says = "devices[0]", .path = "/file/device"}},
    {"device is a directory", device_is_a_directory, NULL, false,
     {0, DEVICES, .object = RFS_OBJECT_DEVICE, .index = 0, .path = "/device"}},
    {"device is another", device_is_another, NULL, false,
     {0, DEVICES, .object = RFS_OBJECT_DEVICE, .index = 0, .path = "/device"}},
    {"/dev/null is a file", null_is_a_file, NULL, false, {0, .says = "/dev/null"}},
    {"/dev/null is a link", null_is_a_link, NULL, false, {0, .says = "/dev/null"}},
    {"/dev/null has a file bound on it", null_is_bound, read_from_null, false, {0, .says = "/dev/null"}},
    {"cwd below a file", cwd_is_a_file, NULL, false,
     {-ENOTDIR, .stage = RFS_STAGE_PROCESS, .says = "/file/cwd"}},
    {"masked path below a file", masked_below_file, NULL, true,
     {-ENOTDIR, .stage = RFS_STAGE_MASKED_PATHS, .object = RFS_OBJECT_MASKED_PATH, .index = 1, .says = "maskedPaths[1]",
     .path = "/file/below"}},
    {"read-only path below a file", readonly_below_file, NULL, true,
     {-ENOTDIR, .stage = RFS_STAGE_READONLY_PATHS, .object = RFS_OBJECT_READONLY_PATH, .index = 2,
     .says = "readonlyPaths[2]", .path = "/file/below"}},
    {"read-only path is a loop", readonly_loop, NULL, true,
     {-ELOOP, .stage = RFS_STAGE_READONLY_PATHS, .object = RFS_OBJECT_READONLY_PATH, .index = 0, .path = "/loop"}},
    {"no /dev/null for the masks", no_null_for_masks, NULL, true,
     {-ENOENT, .stage = RFS_STAGE_MASKED_PATHS, .says = "/dev/null"}},
    {"a wrong /dev/null for the masks", wrong_null_for_masks, NULL, true,
     {0, .stage = RFS_STAGE_MASKED_PATHS, .says = "/dev/null"}},
};
const size_t n_broken = COUNT(all_broken);

rfs_plan *broken_plan(const struct broken *broken)
{
    make_image();
    json_object *spec = default_spec("runc");
    broken->make(spec);
    return plan_of(spec);
}
