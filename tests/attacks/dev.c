/* /dev, and the directories of devices, that are links of the image to the host or into a volume.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attack.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define VOLUME "{'destination': '/volume', 'type': 'bind', 'source': '%s/host', 'options': ['bind', 'rw']}", work

static void dev_is_link(const char *to)
{
    CHECK(rmdir(image("dev")) == 0);
    image_link(to, "dev");
}

static void to_host(void) { dev_is_link(host("dev")); }

static void into_volume(void)
{
    image_directory("volume", 0755);
    dev_is_link("volume/dev");
}

static void naive_volume(void) { CHECK(mount(host(""), image("volume"), NULL, MS_BIND, NULL) == 0); }

static void naive_into_volume(void)
{
    naive_volume();
    naive_devices();
}

static void spec_volume(json_object *spec) { spec_add(spec, "mounts", VOLUME); }

/* The usual tmpfs is mounted first, where the volume covers it. */
static void naive_covered(void)
{
    mkdir(image("volume/dev"), 0755);
    naive_mount("tmpfs", "tmpfs", "volume/dev", 0);
    naive_into_volume();
}

static void spec_covered(json_object *spec)
{
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "mounts", VOLUME);
}

/* ptmx is a file there, or an empty directory. */
static void ptmx_is_file(void)
{
    into_volume();
    CHECK(rmdir(host("dev/ptmx")) == 0);
    make_file(host("dev/ptmx"), "the host's");
}

static void parent_into_volume(void)
{
    image_directory("volume", 0755);
    image_link("/volume/empty", "nodes");
}

static void naive_parent(void)
{
    naive_volume();
    CHECK(symlink(host("empty"), image("nodes2")) == 0);
    naive_node("nodes2/null");
}

static void spec_parent(json_object *spec)
{
    spec_add(spec, "mounts", VOLUME);
    spec_add(spec, "linux.devices", "{'path': '/nodes/made', 'type': 'c', 'major': 1, 'minor': 3}");
}

static void parent_to_host(void) { image_link(host("empty"), "nodes"); }
static void naive_parent_to_host(void) { naive_node("nodes/null"); }
static void spec_parent_alone(json_object *spec)
{
    spec_add(spec, "linux.devices", "{'path': '/nodes/made', 'type': 'c', 'major': 1, 'minor': 3}");
}

/* /dev/console, once rfs_prepare is over. */
static void image_volume(void) { image_directory("volume", 0755); }

static void swap_dev(void)
{
    CHECK(rename(image("dev"), image("dev2")) == 0 && rename(image("volume"), image("dev")) == 0);
}

static void naive_console(void)
{
    swap_dev();
    CHECK(mount(host(""), image("dev"), NULL, MS_BIND, NULL) == 0);
    close(open(image("dev/console"), O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
}

/* Opened by path, a link there leads the terminal to another file. */
static void console_is_link(void)
{
    image_link("../etc/precious", "dev/console");
    image_file("etc/precious", "precious");
}
static void naive_linked_console(void) { naive_bind_file("/dev/null", "dev/console"); }
static bool is_covered(const char *root) { return !begins_with(root, "etc/precious", "precious"); }

/* To nothing: whoever makes the console's file there by path makes it on the host. */
static void console_leads_out(void) { image_link(host("new-console"), "dev/console"); }

/* The image's /dev/null becomes a standard stream, which is given to the container's user. What the link leads to is in
 * the image too, for who follows it after the switch. */
static void null_leads_out(void)
{
    image_file(host("secret") + 1, "the image's");
    image_link(host("secret"), "dev/null");
}

static void naive_stdio(void)
{
    int null = open(image("dev/null"), O_RDWR | O_CLOEXEC);
    CHECK(null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO && fchown(STDIN_FILENO, 1000, 1000) == 0);
    close(null);
}

static bool stdin_is_a_file(const char *root)
{
    (void)root;
    struct stat st;
    return fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode);
}

int main(void)
{
    static const struct attack attacks[] = {
        {.cves = "CVE-2026-41579, CVE-2026-47766", .name = "/dev is a link to the host", .arrange = to_host,
         .naive = naive_devices},
        {.cves = "CVE-2026-41579, CVE-2026-47766", .name = "/dev is a link into a volume", .arrange = into_volume,
         .naive = naive_into_volume,
         .spec = spec_volume, .outcome = IS_REFUSED},
        {.cves = "CVE-2026-41579, CVE-2026-47766", .name = "/dev is a link into a volume that covers its tmpfs",
         .arrange = into_volume,
         .naive = naive_covered, .spec = spec_covered, .outcome = IS_REFUSED},
        {.cves = "CVE-2026-41579, CVE-2026-47766", .name = "/dev is a link into a volume that has a file ptmx",
         .arrange = ptmx_is_file,
         .naive = naive_into_volume, .spec = spec_volume, .outcome = IS_REFUSED},
        {.cves = "CVE-2026-47766", .name = "a device's directory is a link into a volume",
         .arrange = parent_into_volume,
         .naive = naive_parent, .spec = spec_parent, .outcome = IS_REFUSED},
        {.cves = "CVE-2026-47766", .name = "a device's directory is a link to the host", .arrange = parent_to_host,
         .naive = naive_parent_to_host, .spec = spec_parent_alone},
        {.cves = "CVE-2025-52565", .name = "a volume is renamed to /dev before the console is made",
         .arrange = image_volume,
         .naive = naive_console, .spec = spec_volume, .outside = swap_dev, .console = true, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-52565", .name = "/dev/console is a link to another file", .arrange = console_is_link,
         .naive = naive_linked_console, .won = is_covered, .console = true, .outcome = EITHER},
        {.cves = "CVE-2026-88264", .name = "/dev/console is a link to nothing on the host",
         .arrange = console_leads_out,
         .naive = naive_linked_console, .early_console = true, .outcome = EITHER},
        {.cves = "CVE-2026-88265", .name = "/dev/null, which becomes a standard stream, is a link to the host",
         .arrange = null_leads_out, .naive = naive_stdio, .won = stdin_is_a_file, .outcome = IS_REFUSED},
    };
    return run_attacks(attacks, COUNT(attacks));
}
