/* Mount targets that are links of the image, or swapped for some.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void link_to_host(void) { image_link(host(""), "data"); }
static void naive_tmpfs(void) { naive_mount("tmpfs", "tmpfs", "data", 0); }
static void spec_tmpfs(json_object *spec) { spec_add(spec, "mounts", TMPFS("/data", "")); }

static void climbing_link(void)
{
    char up[4096] = "";
    for (int i = 0; i < 40; i++)
        snprintf(up + 3 * i, sizeof up - 3 * (size_t)i, "../");
    snprintf(up + 120, sizeof up - 120, "%s", host("") + 1);
    image_link(up, "data");
}

static void dangling_link(void) { image_link(host("new"), "data"); }

static void parent_link(void) { image_link(host(""), "data"); }
static void naive_below(void) { naive_mount("tmpfs", "tmpfs", "data/a/b/c", 0); }
static void spec_below(json_object *spec) { spec_add(spec, "mounts", TMPFS("/data/a/b/c", "")); }

static void file_link(void) { image_link(host("new-file"), "data"); }
static void naive_file(void) { naive_bind_file("/proc/version", "data"); }
static void spec_file(json_object *spec)
{
    make_file(in_work("file"), "x");
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'bind', 'source': '%s/file'}", work);
}

/* The target is a directory when it is looked at, and a link when it is used. */
static void swap_target(void)
{
    syscall(SYS_renameat2, AT_FDCWD, image("data"), AT_FDCWD, image("evil"), 2 /* RENAME_EXCHANGE */);
}

static void arrange_swap(void)
{
    image_directory("data/sub", 0755);
    image_link(host(""), "evil");
}

static void naive_checked(void)
{
    struct stat st;
    CHECK(lstat(image("data"), &st) == 0 && S_ISDIR(st.st_mode)); /* no link: the check of the broken ones */
    swap_target();
    naive_mount("tmpfs", "tmpfs", "data/sub", 0);
}

static void spec_swapped(json_object *spec)
{
    spec_add(spec, "mounts", TMPFS("/data/sub", ""));
    spec_add(spec, "mounts", TMPFS("/data/sub/deep/er", ""));
    spec_add(spec, "mounts", "{'destination': '/data/empty', 'type': 'bind', 'source': '%s/volume'}", work);
}

/* mkdir -p one component at a time, while the last but one becomes a link. */
static void naive_mkdir(void)
{
    mkdir(image("data"), 0755);
    swap_target();
    mkdir(image("data/made-on-the-host"), 0755);
}

static void spec_mkdir(json_object *spec) { spec_add(spec, "mounts", TMPFS("/data/made-on-the-host/below", "")); }

/* A volume's subdirectory is what is bound, and the user of the volume makes a link of it once it was looked at. */
static void source_in_volume(void) { make_directory(in_work("volume/sub"), 0755); }

static void naive_source(void)
{
    CHECK(rename(in_work("volume/sub"), in_work("volume/was-sub")) == 0 && symlink(host(""), in_work("volume/sub")) ==
        0);
    mkdir(image("data"), 0755);
    CHECK(mount(in_work("volume/sub"), image("data"), NULL, MS_BIND, NULL) == 0);
}

static bool sees_secret(const char *root) { return begins_with(root, "data/secret", "the host's secret"); }

static void spec_source(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'bind', 'source': '%s/volume/sub'}", work);
}

/* librfs takes what the runtime has looked at, as a detached mount. */
static int looked_at(void)
{
    int sub = open(in_work("volume/sub"), O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    int tree = (int)syscall(SYS_open_tree, sub, "", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | AT_EMPTY_PATH);
    CHECK(tree >= 0);
    close(sub);
    CHECK(rename(in_work("volume/sub"), in_work("volume/was-sub")) == 0 && symlink(host(""), in_work("volume/sub")) ==
        0);
    return tree;
}

int main(void)
{
    static const struct attack attacks[] = {
        {.cves = "CVE-2015-1335", .name = "a mount target is a link to the host", .arrange = link_to_host, .naive =
         naive_tmpfs,
         .spec = spec_tmpfs},
        {.cves = "CVE-2015-1335", .name = "a mount target is a link that climbs to the host", .arrange = climbing_link,
         .naive = naive_tmpfs, .spec = spec_tmpfs},
        {.cves = "CVE-2019-18837", .name = "a mount target is a link to nothing on the host", .arrange = dangling_link,
         .naive = naive_tmpfs, .spec = spec_tmpfs},
        {.cves = "CVE-2019-18837", .name = "a file's target is a link to nothing on the host", .arrange = file_link,
         .naive = naive_file, .spec = spec_file},
        {.cves = "CVE-2021-30465", .name = "a target's parent is a link to the host", .arrange = parent_link, .naive =
         naive_below,
         .spec = spec_below},
        {.cves = "CVE-2021-30465, CVE-2025-62161", .name = "a target is swapped for a link before it is mounted on",
         .arrange = arrange_swap, .naive = naive_checked, .spec = spec_swapped, .outside = swap_target,
         .calls = {SYS_move_mount, SYS_mount, SYS_mkdirat}, .outcome = EITHER},
        {.cves = "CVE-2024-45310", .name = "a parent is swapped for a link while directories are made", .arrange =
         arrange_swap,
         .naive = naive_mkdir, .spec = spec_mkdir, .outside = swap_target, .calls = {SYS_mkdirat}, .outcome = EITHER},
        {.cves = "CVE-2024-45310", .name = "a directory is swapped for a link when it is opened to make another in it",
         .arrange = arrange_swap, .naive = naive_mkdir, .spec = spec_mkdir, .outside = swap_target,
         .calls = {SYS_openat}, .at = "data", .outcome = EITHER},
        {.cves = "CVE-2017-1002101", .name = "a source in a volume is swapped for a link", .arrange = source_in_volume,
         .naive = naive_source, .spec = spec_source, .source = looked_at, .won = sees_secret},
    };
    return run_attacks(attacks, COUNT(attacks));
}
