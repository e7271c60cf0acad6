/* What files are masked with is the container's /dev/null, and the image may have its own.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void secret(void) { image_file("etc/hidden", "hidden"); }

/* Like /proc/sys/kernel/core_pattern: what is bound over the masked path is that file, and can be written. */
static void null_is_link(void)
{
    secret();
    make_file(in_work("bundle/rootfs/etc/core_pattern"), "core");
    image_link("../etc/core_pattern", "dev/null");
}

static void naive_mask_hidden(void) { naive_mask("etc/hidden"); }
static bool is_another_file(const char *root) { return begins_with(root, "etc/hidden", "core"); }
static bool is_readable(const char *root) { return begins_with(root, "etc/hidden", "hidden"); }

static void spec_masked(json_object *spec) { spec_add(spec, "linux.maskedPaths", "'/etc/hidden'"); }

static void no_null(void) { secret(); }

static void spec_without_null(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/volume'}", work);
    spec_masked(spec);
}

static void null_is_fifo(void)
{
    secret();
    CHECK(mkfifo(image("dev/null"), 0666) == 0);
}

static bool is_not_null(const char *root)
{
    struct stat st;
    int dir = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool other = fstatat(dir, "etc/hidden", &st, 0) == 0 && (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3));
    close(dir);
    return other;
}

static void null_is_zero(void)
{
    secret();
    CHECK(mknod(image("dev/null"), S_IFCHR | 0666, makedev(1, 5)) == 0);
}

/* After rfs_prepare has looked at it. */
static void swap_null(void)
{
    CHECK(unlink(image("dev/null")) == 0 && symlink("/etc/hidden", image("dev/null")) == 0);
}

static void naive_swapped(void)
{
    naive_node("dev/null");
    swap_null();
    naive_mask("etc/hidden");
}

int main(void)
{
    static const struct attack attacks[] = {
        {.cves = "CVE-2025-31133", .name = "/dev/null is a link to another file", .arrange = null_is_link,
         .naive = naive_mask_hidden,
         .spec = spec_masked, .won = is_another_file, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-31133", .name = "/dev/null is missing", .arrange = no_null, .naive = naive_mask_hidden,
         .spec = spec_without_null, .won = is_readable, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-31133, CVE-2025-62161", .name = "/dev/null is a fifo", .arrange = null_is_fifo,
         .naive = naive_mask_hidden,
         .spec = spec_masked, .won = is_not_null, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-31133, CVE-2025-62161", .name = "/dev/null is another device", .arrange = null_is_zero,
         .naive = naive_mask_hidden, .spec = spec_masked, .won = is_not_null, .outcome = IS_REFUSED},
        {.cves = "CVE-2025-31133", .name = "/dev/null becomes a link before it masks", .arrange = no_null,
         .naive = naive_swapped,
         .spec = spec_masked, .outside = swap_null, .won = is_readable, .outcome = IS_REFUSED},
    };
    return run_attacks(attacks, COUNT(attacks));
}
