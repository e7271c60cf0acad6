/* The host's cgroups, where a rootless runtime can't make the container's own.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attack.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* The host's /sys is bound, as a user namespace without a network namespace needs it, and the host has no cgroups that
 * can be mounted or bound over those in it. */
static void no_cgroups(void)
{
    make_directory(host("sys/fs/cgroup"), 0755);
    CHECK(mount("tmpfs", "/sys", "tmpfs", 0, NULL) == 0);
}

static void make_a_cgroup(const char *root)
{
    int dir = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    mkdirat(dir, "sys/fs/cgroup/made", 0755);
    close(dir);
}

/* What it has got is a change of the host. */
static bool tries_to_make_one(const char *root)
{
    make_a_cgroup(root);
    return false;
}

/* It goes on without the mount, like its models. */
static void naive_cgroup(void)
{
    CHECK(mount(host("sys"), image("sys"), NULL, MS_BIND | MS_REC, NULL) == 0);
    CHECK(mount("/sys/fs/cgroup", image("sys/fs/cgroup"), NULL, MS_BIND, NULL) != 0);
    make_a_cgroup(image(""));
}

static void spec_cgroup(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/sys', 'type': 'bind', 'source': '%s/host/sys', 'options': ['rbind']}",
        work);
    spec_add(spec, "mounts", "{'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup'}");
}

int main(void)
{
    static const struct attack attacks[] = {
        {.cves = "CVE-2023-25809", .name = "a rootless container's cgroups are the host's", .arrange = no_cgroups,
         .naive = naive_cgroup, .spec = spec_cgroup, .flags = RFS_OPTION_ROOTLESS | RFS_OPTION_ROOTLESS_CGROUPS,
         .won = tries_to_make_one},
    };
    return run_attacks(attacks, COUNT(attacks));
}
