/* /proc and /sys that are links, volumes, or swapped; and what a runtime writes in a false procfs.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attack.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSFS "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs'}"

static void linked(const char *name, const char *to)
{
    CHECK(rmdir(image(name)) == 0);
    image_link(to, name);
}

static void proc_to_host(void) { linked("proc", host("empty")); }
static void sys_to_host(void) { linked("sys", host("empty")); }
static void naive_proc(void) { naive_mount("proc", "proc", "proc", 0); }
static void naive_sys(void) { naive_mount("tmpfs", "sysfs", "sys", 0); }
static void spec_proc(json_object *spec) { spec_add(spec, "mounts", PROC); }
static void spec_sys(json_object *spec) { spec_add(spec, "mounts", SYSFS); }

/* The masks are made below /proc, and the procfs lies elsewhere. */
static void proc_elsewhere(void)
{
    image_directory("elsewhere", 0755);
    linked("proc", "elsewhere");
    image_directory("real", 0755);
}

static void relink_proc(void)
{
    if (unlink(image("proc")) == 0)
        CHECK(symlink(image("real"), image("proc")) == 0);
}

static void naive_masked(void)
{
    naive_proc();
    relink_proc();
    naive_mask("proc/keys");
}

static bool is_open(const char *root, const char *name)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", root, name);
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool keys_are_open(const char *root)
{
    return is_open(root, "elsewhere/keys");
}

static void spec_masked(json_object *spec)
{
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "linux.maskedPaths", "'/proc/keys'");
}

/* Between rfs_prepare and rfs_finalize. */
static void swap_proc(void)
{
    CHECK(rename(image("proc"), image("proc2")) == 0 && mkdir(image("proc"), 0755) == 0);
}

static void naive_swap(void)
{
    naive_proc();
    umount2(image("proc"), MNT_DETACH); /* in this namespace a mount point can't be renamed */
    swap_proc();
    naive_mount("proc", "proc", "proc2", 0);
}

static void naive_swapped(void)
{
    naive_swap();
    naive_mask("proc/keys");
}

static bool keys_of_proc2_are_open(const char *root)
{
    return is_open(root, "proc2/keys");
}

static void spec_readonly(json_object *spec)
{
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "linux.readonlyPaths", "'/proc/sys'");
}

static void naive_swapped_readonly(void)
{
    naive_swap();
    mount(image("proc/sys"), image("proc/sys"), NULL, MS_BIND, NULL);
}

static bool proc2_sys_is_writable(const char *root)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/proc2/sys/kernel/hostname", root);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    close(fd);
    return fd >= 0;
}

/* With something in its place that can be masked. */
static void swap_proc_for_decoy(void)
{
    swap_proc();
    make_file(in_work("bundle/rootfs/proc/keys"), "decoy");
}

static void naive_decoy(void)
{
    naive_proc();
    umount2(image("proc"), MNT_DETACH);
    swap_proc_for_decoy();
    naive_mount("proc", "proc", "proc2", 0);
    naive_mask("proc/keys");
}

/* A volume as /proc: what the runtime writes there goes to the image's author. */
static void fake_proc(void)
{
    make_file(in_work("volume/self/attr/exec"), "");
    make_file(in_work("volume/sys/kernel/hostname"), "");
}

static void naive_fake(void)
{
    mkdir(image("proc"), 0755);
    CHECK(mount(in_work("volume"), image("proc"), NULL, MS_BIND, NULL) == 0);
    int fd = open(image("proc/self/attr/exec"), O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "exec label", 10) == 10);
    close(fd);
}

static bool label_is_lost(const char *root) { return begins_with(root, "proc/self/attr/exec", "exec label"); }
static void spec_fake(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'bind', 'source': '%s/volume'}", work);
}

static void fake_by_link(void)
{
    fake_proc();
    image_link("/proc", "p");
}

static void spec_fake_by_link(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/p', 'type': 'bind', 'source': '%s/volume'}", work);
}

/* The write goes to another file of procfs, or to none. */
static void naive_redirected(void)
{
    naive_proc();
    CHECK(mount("tmpfs", image("proc/sys"), "tmpfs", 0, NULL) == 0);
    make_file(in_work("bundle/rootfs/proc/sys/kernel/hostname"), "taken");
}

static bool write_is_lost(const char *root) { return begins_with(root, "proc/sys/kernel/hostname", "taken"); }

static void spec_redirected(json_object *spec)
{
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", "{'destination': '/proc/sys', 'type': 'tmpfs', 'source': 'tmpfs'}");
}

static void redirected_by_link(void)
{
    image_link("/proc/sys", "innocent");
}

static void spec_redirected_by_link(json_object *spec)
{
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", "{'destination': '/innocent', 'type': 'tmpfs', 'source': 'tmpfs'}");
}

int main(void)
{
    static const struct attack attacks[] = {
        {.cves = "CVE-2019-19921", .name = "/proc is a link to the host", .arrange = proc_to_host, .naive = naive_proc,
         .spec = spec_proc, .outcome = IS_REFUSED},
        {.cves = "CVE-2023-27561, CVE-2025-54867", .name = "/sys is a link to the host", .arrange = sys_to_host,
         .naive = naive_sys,
         .spec = spec_sys, .outcome = IS_REFUSED},
        {.cves = "CVE-2023-28642", .name = "/proc is a link in the image, and the masks miss it",
         .arrange = proc_elsewhere,
         .naive = naive_masked, .spec = spec_masked, .won = keys_are_open, .outcome = IS_REFUSED},
        {.cves = "CVE-2019-16884", .name = "a volume is mounted on /proc", .arrange = fake_proc, .naive = naive_fake,
         .spec = spec_fake, .won = label_is_lost, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-62596", .name = "a volume is mounted on /proc by a link", .arrange = fake_by_link,
         .naive = naive_fake,
         .spec = spec_fake_by_link, .won = label_is_lost, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-52881", .name = "a tmpfs takes the writes to /proc/sys", .naive = naive_redirected,
         .spec = spec_redirected, .won = write_is_lost, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-52881", .name = "a tmpfs takes the writes to /proc/sys by a link",
         .arrange = redirected_by_link,
         .naive = naive_redirected, .spec = spec_redirected_by_link, .won = write_is_lost, .outcome = IS_REFUSED},
        {.cves = "CVE-2023-28642", .name = "/proc is renamed before it is masked", .naive = naive_swapped,
         .spec = spec_masked,
         .outside = swap_proc, .won = keys_of_proc2_are_open, .outcome = IS_REFUSED},
        {.cves = "CVE-2023-28642", .name = "/proc is renamed before it is made read-only",
         .naive = naive_swapped_readonly,
         .spec = spec_readonly, .outside = swap_proc, .won = proc2_sys_is_writable, .outcome = IS_REFUSED},
        {.cves = "CVE-2023-28642", .name = "/proc is swapped for a decoy before it is masked", .naive = naive_decoy,
         .spec = spec_masked, .outside = swap_proc_for_decoy, .won = keys_of_proc2_are_open, .outcome = IS_REFUSED},
    };
    return run_attacks(attacks, COUNT(attacks));
}
