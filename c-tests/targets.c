/* Where mounts land and with what flags: symlinks in the image, targets that are made, binds, and what
 * is refused.
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
#include <unistd.h>


static void inside_symlinks(void *data)
{
    (void)data;
    struct stat st;
    check_mount("/data/real / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/data/other / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/made/by/the/mount / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/made/relative / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/etc/escaped / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/data/new/directory / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/data/parent / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/data/file /from/file rw,relatime - tmpfs test rw*");
    check_mount("/made/file /from/file rw,relatime - tmpfs test rw*");
    CHECK(lstat("/dangling", &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(lstat("/made/file", &st) == 0 && S_ISREG(st.st_mode));
}

static void symlinks_in_the_image(void)
{
    make_image();
    image_directory("data/real", 0755);
    image_directory("data/other", 0755);
    image_directory("data/parent", 0755);
    image_file("data/file", "x");
    make_file(in_work("from/file"), "y");
    image_link("real", "data/link");
    image_link("/data/other", "absolute");
    image_link("/made/by/the/mount", "dangling");
    image_link("made/relative", "dangling-relative");
    image_link("../../../../../../etc/escaped", "escape");
    image_link("/data", "alias");
    image_link("../data/parent", "data/up");
    image_link("/data/file", "file-link");
    image_link("/made/file", "dangling-file");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", TMPFS("/data/link", ""));
    spec_add(spec, "mounts", TMPFS("/absolute", ""));
    spec_add(spec, "mounts", TMPFS("/dangling", ""));
    spec_add(spec, "mounts", TMPFS("/dangling-relative", ""));
    spec_add(spec, "mounts", TMPFS("/escape", ""));
    spec_add(spec, "mounts", TMPFS("/alias/new/directory", ""));
    spec_add(spec, "mounts", TMPFS("/data/up", ""));
    spec_add(spec, "mounts", BIND("from/file", "/file-link", ""));
    spec_add(spec, "mounts", BIND("from/file", "/dangling-file", ""));
    run_container(plan_of(spec), NULL, inside_symlinks, NULL);
    CHECK(access("/etc/escaped", F_OK) == -1);
}

static void inside_made_targets(void *data)
{
    (void)data;
    struct stat st;
    check_mount("/a/b/c / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/a/b/c/d/e / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/f/g/file /from/file rw,relatime - tmpfs test rw*");
    check_mount("/h/directory /from/directory rw,relatime - tmpfs test rw*");
    check_mount("/j /from/fifo rw,relatime - tmpfs test rw*");
    check_mount("/k / rw,relatime - tmpfs tmpfs rw*"); /* mounted over, twice */
    check_mount("/relative/path / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/n/m / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/o/p/proc / rw,relatime - proc proc rw");
    check_mount("/o/sys / rw,relatime - sysfs sysfs rw");
    check_mount("/o/mqueue / rw,relatime - mqueue mqueue rw");
    CHECK(stat("/a", &st) == 0 && (st.st_mode & 07777) == 0755);
    CHECK(stat("/f/g/file", &st) == 0 && S_ISREG(st.st_mode));
    CHECK(stat("/j", &st) == 0 && S_ISFIFO(st.st_mode));
    CHECK(stat("/h/directory/inside", &st) == 0);
}

static void made_targets(void)
{
    make_image();
    make_file(in_work("from/file"), "y");
    make_file(in_work("from/directory/inside"), "y");
    REQUIRE(mkfifo(in_work("from/fifo"), 0600) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", TMPFS("/a/b/c", ""));
    spec_add(spec, "mounts", TMPFS("/a/b/c/d/e", ""));
    spec_add(spec, "mounts", BIND("from/file", "/f/g/file", "'bind'"));
    spec_add(spec, "mounts", BIND("from/directory", "/h/directory", "'bind'"));
    spec_add(spec, "mounts", BIND("from/fifo", "/j", "'bind'"));
    spec_add(spec, "mounts", TMPFS("/k", ""));
    spec_add(spec, "mounts", TMPFS("/k", ""));
    spec_add(spec, "mounts", TMPFS("relative/path/", ""));
    spec_add(spec, "mounts", TMPFS("//n/./l/..//m/", ""));
    spec_add(spec, "mounts", "{'destination': '/o/p/proc', 'type': 'proc', 'source': 'proc'}");
    spec_add(spec, "mounts", "{'destination': '/o/sys', 'type': 'sysfs', 'source': 'sysfs'}");
    spec_add(spec, "mounts", "{'destination': '/o/mqueue', 'type': 'mqueue', 'source': 'mqueue'}");
    run_container(plan_of(spec), NULL, inside_made_targets, NULL);
}

/* work/from, with a mount on work/from/sub and one on work/from/sub/deep. */
static void make_tree(void)
{
    make_directory(in_work("from/sub"), 0755);
    REQUIRE(mount("subfs", in_work("from/sub"), "tmpfs", MS_NOSUID, "mode=755") == 0);
    make_directory(in_work("from/sub/deep"), 0755);
    REQUIRE(mount("deepfs", in_work("from/sub/deep"), "tmpfs", MS_NODEV, "mode=755") == 0);
}

static void inside_recursive_binds(void *data)
{
    (void)data;
    check_mount("/plain /from rw,relatime - tmpfs test rw*");
    check_no_mount("/plain/sub");
    check_mount("/recursive /from rw,relatime - tmpfs test rw*");
    check_mount("/recursive/sub / rw,nosuid,relatime - tmpfs subfs rw*");
    check_mount("/recursive/sub/deep / rw,nodev,relatime - tmpfs deepfs rw*");
    check_mount("/top /from ro,relatime - tmpfs test rw*");
    check_mount("/top/sub / rw,nosuid,relatime - tmpfs subfs rw*");
    check_mount("/top/sub/deep / rw,nodev,relatime - tmpfs deepfs rw*");
    CHECK(mkdir("/top/x", 0700) == -1 && errno == EROFS);
    CHECK(mkdir("/top/sub/x", 0700) == 0);
}

static void inside_recursive_flags(void *data)
{
    (void)data;
    check_mount("/all /from ro,relatime - tmpfs test rw*");
    check_mount("/all/sub / ro,nosuid,relatime - tmpfs subfs rw*");
    check_mount("/all/sub/deep / ro,nodev,relatime - tmpfs deepfs rw*");
    check_mount("/several /from rw,nodev,noexec,noatime - tmpfs test rw*");
    check_mount("/several/sub / rw,nodev,noexec,noatime - tmpfs subfs rw*");
    check_mount("/several/sub/deep / rw,nodev,noexec,noatime - tmpfs deepfs rw*");
    CHECK(mkdir("/all/sub/deep/x", 0700) == -1 && errno == EROFS);
}

static void recursive_binds(void)
{
    make_image();
    make_tree();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from", "/plain", "'bind'"));
    spec_add(spec, "mounts", BIND("from", "/recursive", "'rbind'"));
    spec_add(spec, "mounts", BIND("from", "/top", "'rbind', 'ro'"));
    run_container(plan_of(spec), NULL, inside_recursive_binds, NULL);
    spec = empty_spec();
    spec_add(spec, "mounts", BIND("from", "/all", "'rbind', 'rro'"));
    spec_add(spec, "mounts", BIND("from", "/several", "'rbind', 'rnodev', 'rnoexec', 'rnoatime', 'rsuid'"));
    run_recursive(plan_of(spec), 0, inside_recursive_flags, NULL);
}

static void inside_bind_flags(void *data)
{
    (void)data;
    check_mount("/kept / rw,nosuid,nodev,noexec,noatime - tmpfs locked rw*");
    check_mount("/kept-private / rw,nosuid,nodev,noexec,noatime - tmpfs locked rw*");
    check_mount("/ro / ro,noatime - tmpfs locked rw*");
    check_mount("/rw / rw,noatime - tmpfs locked rw*");
    check_mount("/exec / rw,noatime - tmpfs locked rw*");
    check_mount("/nosuid / rw,nosuid,noatime - tmpfs locked rw*");
    check_mount("/relatime / ro,relatime - tmpfs locked rw*");
    check_mount("/nosymfollow / rw,noatime,nosymfollow - tmpfs locked rw*");
    check_mount("/last-wins / ro,noatime - tmpfs locked rw*");
}

static void bind_flags(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    REQUIRE(mount("locked", in_work("from"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, NULL) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from", "/kept", "'bind'"));
    spec_add(spec, "mounts", BIND("from", "/kept-private", "'rbind', 'rprivate'"));
    spec_add(spec, "mounts", BIND("from", "/ro", "'bind', 'ro'"));
    spec_add(spec, "mounts", BIND("from", "/rw", "'bind', 'rw'"));
    spec_add(spec, "mounts", BIND("from", "/exec", "'bind', 'exec'"));
    spec_add(spec, "mounts", BIND("from", "/nosuid", "'bind', 'nosuid'"));
    spec_add(spec, "mounts", BIND("from", "/relatime", "'bind', 'ro', 'relatime'"));
    spec_add(spec, "mounts", BIND("from", "/nosymfollow", "'bind', 'nosymfollow'"));
    spec_add(spec, "mounts", BIND("from", "/last-wins", "'bind', 'rw', 'ro'"));
    run_container(plan_of(spec), NULL, inside_bind_flags, NULL);
}

static void inside_fresh_flags(void *data)
{
    (void)data;
    check_mount("/1 / rw,nosuid,nodev,noexec,noatime - tmpfs one rw*");
    check_mount("/2 / rw - tmpfs two rw*");
    check_mount("/3 / rw,nodiratime,relatime - tmpfs three rw*");
    check_mount("/4 / ro,relatime - tmpfs four rw*");
    check_mount("/5 / rw,relatime,nosymfollow - tmpfs five rw*");
    check_mount("/6 / rw,relatime - tmpfs six rw,sync,dirsync*");
    check_mount("/7 / rw,relatime - tmpfs seven rw,size=1024k,nr_inodes=77,mode=711,uid=3,gid=4*");
}

static void fresh_flags(void)
{
    make_image();
    json_object *spec = empty_spec();
#define FRESH(path, source, options) \
    "{'destination': '" path "', 'type': 'tmpfs', 'source': '" source "', 'options': [" options "]}"
    spec_add(spec, "mounts", FRESH("/1", "one", "'nosuid', 'nodev', 'noexec', 'noatime'"));
    spec_add(spec, "mounts", FRESH("/2", "two", "'strictatime'"));
    spec_add(spec, "mounts", FRESH("/3", "three", "'nodiratime'"));
    spec_add(spec, "mounts", FRESH("/4", "four", "'ro', 'defaults'"));
    spec_add(spec, "mounts", FRESH("/5", "five", "'nosymfollow'"));
    spec_add(spec, "mounts", FRESH("/6", "six", "'sync', 'dirsync'"));
    spec_add(spec, "mounts", FRESH("/7", "seven", "'size=1m', 'nr_inodes=77', 'mode=711', 'uid=3', 'gid=4'"));
    run_container(plan_of(spec), NULL, inside_fresh_flags, NULL);
}

#define SOURCE_FD 77

static void open_source(void)
{
    int fd = open(in_work("from"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(fd >= 0 && dup3(fd, SOURCE_FD, O_CLOEXEC) == SOURCE_FD);
    close(fd);
}

static void inside_source_fd(void *data)
{
    rfs_error err = fresh_error();
    open_source();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    check_mount("/by-fd /from ro,relatime - tmpfs test rw*");
    check_mount("/by-fd/sub / rw,nosuid,relatime - tmpfs subfs rw*");
    CHECK(fcntl(SOURCE_FD, F_GETFD) >= 0); /* borrowed */
}

static void with_closed_source_fd(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -EBADF, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT, .index = 0,
                .says = "mounts[0]", .says_too = "source_fd");
}

static void with_foreign_source_fd(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT, .index = 0,
                .says = "mounts[0]", .says_too = "unshare(2)");
}

static void source_by_descriptor(void)
{
    make_image();
    make_tree();
    rfs_error err = fresh_error();
    rfs_config *config = config_from_json(empty_spec());
    static const char *const options[] = {"rbind", "ro"};
    rfs_mount mount = {.size = sizeof mount, .flags = RFS_MOUNT_SOURCE_FD, .destination = "/by-fd", .type = "bind",
                       .options = options, .n_options = 2, .source_fd = SOURCE_FD};
    REQUIRE_SUCCESS(rfs_config_add_mount(config, &mount, &err), &err);
    rfs_plan *plan = plan_of_config(config);
    in_child(CONTAINER_NAMESPACES, inside_source_fd, container_of(plan));
    in_child(CONTAINER_NAMESPACES, with_closed_source_fd, container_of(plan));
    open_source(); /* This descriptor belongs to the namespace outside. */
    in_child(CONTAINER_NAMESPACES, with_foreign_source_fd, container_of(plan));
}

static void inside_overlay(void *data)
{
    (void)data;
    check_mount("/merged / rw,relatime - overlay overlay rw,lowerdir=*upperdir=*");
    CHECK(access("/merged/low", F_OK) == 0 && access("/merged/up", F_OK) == 0);
}

static void overlay(void)
{
    make_image();
    make_file(in_work("o/lower/low"), "x");
    make_file(in_work("o/upper/up"), "x");
    make_directory(in_work("o/work"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/merged', 'type': 'overlay', 'source': 'overlay', 'options': "
             "['lowerdir=%s/o/lower', 'upperdir=%s/o/upper', 'workdir=%s/o/work']}", work, work, work);
    run_container(plan_of(spec), NULL, inside_overlay, NULL);
}

static void inside_overlays(void *data)
{
    (void)data;
    check_mount("/joined / rw,relatime - overlay overlay rw,lowerdir=*upperdir=*");
    check_mount("/comma / rw,relatime - overlay overlay rw,lowerdir*=*upperdir=*"); /* or "lowerdir+" */
    check_mount("/flags / ro,nosuid,relatime - overlay overlay ro,lowerdir=*");
    CHECK(access("/joined/low", F_OK) == 0 && access("/joined/up", F_OK) == 0);
    CHECK(access("/comma/low", F_OK) == 0 && access("/comma/second", F_OK) == 0);
    CHECK(access("/flags/low", F_OK) == 0);
}

/* An overlay as containerd and buildkit write it, and one with a comma in a name, which overlay wants escaped. */
static void overlay_in_one_option(void)
{
    make_image();
    make_file(in_work("o/lower/low"), "x");
    make_file(in_work("o/upper/up"), "x");
    make_directory(in_work("o/work"), 0755);
    make_file(in_work("o/a,b/second"), "x");
    make_directory(in_work("o/work2"), 0755);
    make_directory(in_work("o/third"), 0755);
    static const uint64_t flags[] = {0, RFS_OPTION_CLASSIC_MOUNT};
    for (size_t i = 0; i < COUNT(flags); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", "{'destination': '/joined', 'type': 'overlay', 'source': 'overlay', 'options': "
                 "['lowerdir=%s/o/lower,upperdir=%s/o/upper,workdir=%s/o/work']}", work, work, work);
        spec_add(spec, "mounts", "{'destination': '/comma', 'type': 'overlay', 'source': 'overlay', 'options': "
                 "['lowerdir=%s/o/lower,upperdir=%s/o/a\\\\,b', 'workdir=%s/o/work2']}", work, work, work);
        spec_add(spec, "mounts", "{'destination': '/flags', 'type': 'overlay', 'source': 'overlay', 'options': "
                 "['ro,nosuid,lowerdir=%s/o/lower:%s/o/third']}", work, work);
        run_container(plan_with_flags(spec, flags[i]), NULL, inside_overlays, NULL);
    }
}

static void inside_modes(void *data)
{
    (void)data;
    struct stat st;
    check_mount("/old / rw,relatime - tmpfs tmpfs rw,size=1024k,mode=1770*");
    check_mount("/new / ro,nosuid,relatime - tmpfs tmpfs rw,size=1024k,mode=700*");
    CHECK(stat("/old", &st) == 0 && (st.st_mode & 07777) == 01770);
    CHECK(stat("/list", &st) == 0 && (st.st_mode & 07777) == 0711);
}

/* A mode among several is seen: that of the directory below is not taken. A list of nodes has commas of its own. */
static void tmpfs_in_one_option(void)
{
    make_image();
    image_directory("old", 0751);
    static const uint64_t flags[] = {0, RFS_OPTION_CLASSIC_MOUNT};
    for (size_t i = 0; i < COUNT(flags); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", "{'destination': '/old', 'type': 'tmpfs', 'source': 'tmpfs', "
                 "'options': ['size=1m,mode=1770']}");
        spec_add(spec, "mounts", "{'destination': '/new', 'type': 'tmpfs', 'source': 'tmpfs', "
                 "'options': ['ro,size=1m,,mode=700', 'nosuid,']}");
        spec_add(spec, "mounts", "{'destination': '/list', 'type': 'tmpfs', 'source': 'tmpfs', "
                 "'options': ['mpol=bind:0,0,mode=711']}");
        run_container(plan_with_flags(spec, flags[i]), NULL, inside_modes, NULL);
    }
}

static void inside_stripped(void *data)
{
    (void)data;
    check_mount("/target /from rw,relatime - tmpfs test rw*");
    CHECK(access("/var", F_OK) == -1);
}

/* Some engines write the path on the host; the rootfs's own part of it is taken off. */
static void destination_with_the_rootfs(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '%s/./target', 'type': 'bind', 'source': '%s/from'}", image(""), work);
    run_container(plan_of(spec), &with_warnings, inside_stripped, NULL);
}

static void inside_copied(void *data)
{
    (void)data;
    struct stat st;
    char target[16];
    check_mount("/var / rw,relatime - tmpfs tmpfs rw*");
    CHECK(stat("/var/lib/file", &st) == 0 && st.st_size == 5 && (st.st_mode & 07777) == 0600 && st.st_uid == 12);
    CHECK(stat("/var/lib", &st) == 0 && (st.st_mode & 07777) == 0710);
    ssize_t n = readlink("/var/link", target, sizeof target);
    CHECK(n == 8 && memcmp(target, "lib/file", 8) == 0);
    CHECK(unlink("/var/lib/file") == 0); /* of the copy */
}

static void tmpcopyup(void)
{
    make_image();
    image_file("var/lib/file", "hello");
    REQUIRE(chmod(image("var/lib/file"), 0600) == 0 && chown(image("var/lib/file"), 12, 13) == 0);
    REQUIRE(chmod(image("var/lib"), 0710) == 0);
    image_link("lib/file", "var/link");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", FRESH("/var", "tmpfs", "'tmpcopyup'"));
    run_container(plan_of(spec), NULL, inside_copied, NULL);
    CHECK(access(image("var/lib/file"), F_OK) == 0);
}

static void inside_lxcfs(void *data)
{
    (void)data;
    check_mount("/proc/uptime /from/uptime rw,relatime - tmpfs test rw*");
    check_mount("/proc/meminfo /from/uptime ro,relatime - tmpfs test rw*");
}

static void lxcfs_files_in_proc(void)
{
    make_image();
    make_file(in_work("from/uptime"), "1 1\n");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", BIND("from/uptime", "/proc/uptime", "'bind'"));
    spec_add(spec, "mounts", BIND("from/uptime", "/proc/./meminfo", "'bind', 'ro'"));
    run_container(plan_of(spec), NULL, inside_lxcfs, NULL);
}

static void inside_bound_proc(void *data)
{
    (void)data;
    check_mount("/proc / rw,relatime - proc proc rw*");
}

static void proc_bound(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'bind', 'source': '/proc', 'options': ['bind']}");
    run_container(plan_of(spec), NULL, inside_bound_proc, NULL);
}

/* A mount that fails only once the image is looked at. */
struct refusal {
    const char *name, *link, *target, *mount;
    int code;
    const char *says;
};

static rfs_container *container_to_refuse;

static void refused(void *data)
{
    const struct refusal *r = data;
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container_to_refuse, NULL, &err);
    if (!CHECK_ERROR(rc, &err, .code = r->code, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                          .index = 1, .says = "mounts[1]", .says_too = r->says))
        note("... for %s", r->name);
}

static void targets_refused(void)
{
    static const struct refusal list[] = {
        {"proc over a symlink", "proc", "/data", PROC, 0, NULL},
        {"proc over a symlink to nothing", "proc", "/nothing", PROC, 0, NULL},
        {"sysfs over a symlink", "sys", "/data",
         "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs'}", 0, NULL},
        {"sysfs through a symlink", "link", "/data",
         "{'destination': '/link/sys', 'type': 'sysfs', 'source': 'sysfs'}", 0, NULL},
        {"proc elsewhere, through a symlink", "link", "/data",
         "{'destination': '/link/proc', 'type': 'proc', 'source': 'proc'}", 0, NULL},
        {"tmpfs on a symlink to /", "link", "/", TMPFS("/link", ""), -EINVAL, NULL},
        {"tmpfs on a symlink to ..", "link", "../..", TMPFS("/link", ""), -EINVAL, NULL},
        {"bind on a symlink to /", "link", "/",
         "{'destination': '/link', 'type': 'bind', 'source': '%s', 'options': ['bind']}", -EINVAL, NULL},
        {"tmpfs on a symlink to /proc", "link", "/proc", TMPFS("/link", ""), -EINVAL, NULL},
        {"tmpfs on a symlink to below /proc", "link", "/proc/sys", TMPFS("/link", ""), -EINVAL, NULL},
        {"tmpfs below a symlink to /proc", "link", "/proc", TMPFS("/link/sys", ""), -EINVAL, NULL},
        {"bind on a symlink to below /proc", "link", "/proc/self/attr",
         "{'destination': '/link', 'type': 'bind', 'source': '%s', 'options': ['bind']}", -EINVAL, NULL},
        {"directory of a tree over /proc", "x", "y",
         "{'destination': '/proc', 'type': 'bind', 'source': '%s', 'options': ['bind']}", -EINVAL, NULL},
        {"a loop of symlinks", "link", "link", TMPFS("/link", ""), -ELOOP, NULL},
        {"tmpfs on a file", "link", "/file", TMPFS("/link", ""), 0, "directory"},
        {"tmpfs below a file", "link", "/file", TMPFS("/link/below", ""), -ENOTDIR, NULL},
        {"a directory on a file", "link", "/file",
         "{'destination': '/file', 'type': 'bind', 'source': '%s', 'options': ['bind']}", 0, "directory"},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        REQUIRE(mount("test", work, "tmpfs", 0, "mode=755,size=64m") == 0);
        make_image();
        image_directory("data", 0755);
        image_file("file", "x");
        rmdir(image(list[i].link)); /* of make_image() */
        image_link(list[i].target, list[i].link);
        if (strcmp(list[i].link, "proc") != 0) {
            image_directory("proc/sys", 0755);
            image_directory("proc/self/attr", 0755);
        }
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", TMPFS("/ok", ""));
        spec_add(spec, "mounts", list[i].mount, work);
        container_to_refuse = container_of(plan_of(spec));
        in_child(CONTAINER_NAMESPACES, refused, (void *)(uintptr_t)&list[i]);
        REQUIRE(umount2(work, MNT_DETACH) == 0);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"symlinks in the image", symlinks_in_the_image},
        {"targets that are made", made_targets},
        {"recursive binds and recursive flags", recursive_binds},
        {"a bind's flags: kept, replaced", bind_flags},
        {"a new file system's flags and data", fresh_flags},
        {"source by descriptor", source_by_descriptor},
        {"overlay", overlay},
        {"overlay: several options in one string", overlay_in_one_option},
        {"tmpfs: several options in one string", tmpfs_in_one_option},
        {"a destination that begins with the rootfs's path", destination_with_the_rootfs},
        {"tmpcopyup", tmpcopyup},
        {"lxcfs files in /proc", lxcfs_files_in_proc},
        {"/proc bound", proc_bound},
        {"targets that are refused", targets_refused},
    };
    return run_cases(cases, COUNT(cases));
}
