/* Masked and read-only paths of every kind.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "intervene.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static json_object *spec_with_proc(void)
{
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    return spec;
}

static void check_null(const char *path)
{
    struct stat st;
    CHECK_THAT(stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3), "%s is not masked", path);
}

static void check_empty(const char *path)
{
    struct stat st;
    struct statvfs fs;
    char below[300];
    snprintf(below, sizeof below, "%s/file", path);
    CHECK_THAT(stat(below, &st) == -1 && errno == ENOENT, "%s shows what is in it", path);
    CHECK_THAT(statvfs(path, &fs) == 0 && fs.f_flag & ST_RDONLY, "%s can be written", path);
}

static void inside_kinds(void *data)
{
    (void)data;
    check_null("/secret/file");
    check_null("/secret/fifo");
    check_null("/secret/device");
    check_null("/secret/linked");
    check_null("/etc/escaped");
    check_empty("/directory");
    check_empty("/another/directory");
    check_empty("/linked");
    struct stat st, other;
    CHECK(stat("/secret/shown", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 5);
    CHECK(lstat("/link", &st) == 0 && S_ISLNK(st.st_mode)); /* The target of the link is masked, and not the link. */
    CHECK(mounts_on("/secret/file") == 1 && mounts_on("/directory") == 1);
    /* All directories have one superblock. */
    CHECK(stat("/directory", &st) == 0 && stat("/another/directory", &other) == 0 && st.st_dev == other.st_dev);
}

static void kinds(void)
{
    make_image();
    image_file("secret/file", "hello");
    image_file("secret/shown", "hello");
    image_file("secret/linked", "hello");
    image_file("etc/escaped", "hello");
    image_file("directory/file", "hello");
    image_file("another/directory/file", "hello");
    image_file("linked/file", "hello");
    REQUIRE(mkfifo(image("secret/fifo"), 0600) == 0 &&
            mknod(image("secret/device"), S_IFCHR | 0600, makedev(1, 5)) == 0);
    image_link("secret/linked", "link");
    image_link("../../../../../etc/escaped", "escape");
    image_link("/linked", "absolute");
    json_object *spec = spec_with_proc();
    static const char *const paths[] = {"/secret/file", "/secret/fifo", "/secret/device", "/link", "/escape",
                                        "/directory", "/another/directory", "/absolute", "/missing", "/missing/below",
                                        /* These paths are masked already, or are the same in another form. */
                                        "/secret/file", "/secret/../secret/file", "/directory/", "/directory",
                                        "/directory/file"};
    for (size_t i = 0; i < COUNT(paths); i++)
        spec_add(spec, "linux.maskedPaths", "'%s'", paths[i]);
    run_container(plan_of(spec), NULL, inside_kinds, NULL);
    struct stat st;
    CHECK(stat("/etc/escaped", &st) == -1 || !S_ISCHR(st.st_mode));
}

static void inside_readonly(void *data)
{
    (void)data;
    check_mount("/tree /bundle/rootfs/tree ro,relatime - tmpfs test rw*");
    check_mount("/flags / ro,nosuid,nodev,noexec,relatime - tmpfs flags rw*");
    check_mount("/flags/sub / rw,relatime - tmpfs sub rw*"); /* Only the top mount becomes read-only. */
    check_mount("/file /bundle/rootfs/file ro,relatime - tmpfs test rw*");
    check_mount("/target /bundle/rootfs/target ro,relatime - tmpfs test rw*");
    CHECK(mkdir("/tree/x", 0700) == -1 && errno == EROFS);
    CHECK(mkdir("/flags/sub/x", 0700) == 0);
    CHECK(open("/file", O_WRONLY | O_CLOEXEC) == -1 && errno == EROFS);
    CHECK(mkdir("/x", 0700) == 0);
}

static void readonly(void)
{
    make_image();
    image_directory("tree", 0755);
    image_directory("flags", 0755);
    image_directory("target", 0755);
    image_file("file", "x");
    image_link("target", "link");
    json_object *spec = spec_with_proc();
    spec_add(spec, "mounts",
             "{'destination': '/flags', 'type': 'tmpfs', 'source': 'flags', 'options': ['nosuid', 'nodev', 'noexec']}");
    spec_add(spec, "mounts", "{'destination': '/flags/sub', 'type': 'tmpfs', 'source': 'sub'}");
    static const char *const paths[] = {"/tree", "/flags", "/file", "/link", "/missing", "/missing/below"};
    for (size_t i = 0; i < COUNT(paths); i++)
        spec_add(spec, "linux.readonlyPaths", "'%s'", paths[i]);
    run_container(plan_of(spec), NULL, inside_readonly, NULL);
}

static void inside_both(void *data)
{
    (void)data;
    check_empty("/both");
    check_empty("/readonly/masked");
    struct statvfs fs;
    CHECK(statvfs("/readonly", &fs) == 0 && fs.f_flag & ST_RDONLY);
}

static void read_only_and_masked(void)
{
    make_image();
    image_file("both/file", "x");
    image_file("readonly/masked/file", "x");
    json_object *spec = spec_with_proc();
    spec_add(spec, "linux.readonlyPaths", "'/both'");
    spec_add(spec, "linux.readonlyPaths", "'/readonly'");
    spec_add(spec, "linux.maskedPaths", "'/both'");
    spec_add(spec, "linux.maskedPaths", "'/readonly/masked'");
    run_container(plan_of(spec), NULL, inside_both, NULL);
}

static void inside_without_null(void *data)
{
    (void)data;
    CHECK(mkdir("/directory/x", 0700) == -1 && errno == EROFS);
    CHECK(access("/dev/null", F_OK) == -1);
}

/* /dev is bound, so that nothing is made in it. What masks nothing needs no /dev/null. */
static void no_null_needed(void)
{
    make_image();
    make_directory(in_work("dev"), 0755);
    image_file("directory/file", "x");
    json_object *spec = spec_with_proc();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/dev', 'options': ['bind']}", work);
    spec_add(spec, "linux.readonlyPaths", "'/directory'");
    run_container(plan_of(spec), NULL, inside_without_null, NULL);
}

static void inside_many(void *data)
{
    (void)data;
    char path[64];
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "/many/%d", i);
        if (i % 2)
            check_empty(path);
        else
            check_null(path);
    }
}

static void many(void)
{
    make_image();
    json_object *spec = spec_with_proc();
    char path[64];
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, i % 2 ? "many/%d/file" : "many/%d", i);
        image_file(path, "x");
        spec_add(spec, "linux.maskedPaths", "'/many/%d'", i);
    }
    run_container(plan_of(spec), NULL, inside_many, NULL);
}

/* ---- A mask's tmpfs that can't be shared, or not be as small ---- */

static int refuse_sharing(const struct seccomp_notif *call)
{
    return call->data.nr == SYS_open_tree ? EINVAL : 0;
}

static int refuse_one_inode(const struct seccomp_notif *call)
{
    return call->data.args[1] == FSCONFIG_SET_STRING && strcmp(string_argument(call, 2), "nr_inodes") == 0 &&
           strcmp(string_argument(call, 3), "1") == 0 ? ENOSPC : 0;
}

static json_object *spec_with_two(void)
{
    make_image();
    image_file("a/file", "x");
    image_file("b/file", "x");
    json_object *spec = spec_with_proc();
    spec_add(spec, "linux.maskedPaths", "'/a'");
    spec_add(spec, "linux.maskedPaths", "'/b'");
    return spec;
}

static void see_masks(const char *mask)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_finalize(this_container, &err), &err);
    check_empty("/a");
    check_empty("/b");
    check_mount(mask);
}

static void unshared(void *data)
{
    (void)data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(this_container, NULL, &err), &err);
    intervene((const int[]){SYS_open_tree}, 1, refuse_sharing);
    see_masks("/b / ro,relatime - tmpfs tmpfs ro*nr_inodes=1*");
    struct stat a, b;
    CHECK(stat("/a", &a) == 0 && stat("/b", &b) == 0 && a.st_dev != b.st_dev);
}

static void masks_that_cannot_be_shared(void)
{
    this_container = container_of(plan_of(spec_with_two()));
    in_child(CONTAINER_NAMESPACES, unshared, NULL);
}

static void two_inodes(void *data)
{
    (void)data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(this_container, NULL, &err), &err);
    see_masks("/b / ro,relatime - tmpfs tmpfs ro*nr_inodes=2*");
}

static void masks_of_two_inodes(void)
{
    this_container = container_of(plan_of(spec_with_two()));
    intervene((const int[]){SYS_fsconfig}, 1, refuse_one_inode);
    in_child(CONTAINER_NAMESPACES, two_inodes, NULL);
}

static void finalize_refused(void *data)
{
    const char *object = data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(this_container, NULL, &err), &err);
    CHECK_ERROR(rfs_finalize(this_container, &err), &err, .code = -EINVAL, .says = object,
                .says_too = "the container's root");
}

/* A mount on the root would be an error too. */
static void paths_that_lead_to_the_root(void)
{
    static const char *const lists[][2] = {{"linux.maskedPaths", "maskedPaths[0]"},
                                           {"linux.readonlyPaths", "readonlyPaths[0]"}};
    make_image();
    image_link("/", "link");
    for (size_t i = 0; i < COUNT(lists); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, lists[i][0], "'/'");
        refuse_plan(lists[i][0], spec,
                    &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_PLAN, .says = lists[i][1]});
        spec = empty_spec();
        spec_add(spec, lists[i][0], "'/link'");
        this_container = container_of(plan_of(spec));
        in_child(CONTAINER_NAMESPACES, finalize_refused, (void *)(uintptr_t)lists[i][1]);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"masked: files, directories, links, missing, twice", kinds},
        {"read-only: directories, mounts, files, links, missing", readonly},
        {"read-only and masked", read_only_and_masked},
        {"no /dev/null, and nothing to mask", no_null_needed},
        {"300 masked paths", many},
        {"masks that can't be shared", masks_that_cannot_be_shared},
        {"masks of two inodes", masks_of_two_inodes},
        {"paths that lead to the root", paths_that_lead_to_the_root},
    };
    return run_cases(cases, COUNT(cases));
}
