/* Mounts a directory of the host in a container that runs: attach PID SOURCE DESTINATION
 *
 * PID is a process of the container. The mount is read-only. It must be started by root.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <librfs.h>

#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static void must(int rc, const rfs_error *error)
{
    if (rc < 0)
        errx(1, "%s", error->message);
}

/* A namespace of a process, or -1 if this process is in it. */
static int namespace_of(const char *pid, const char *name)
{
    char path[64], own[64];
    struct stat theirs, ours;
    snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, name);
    snprintf(own, sizeof own, "/proc/self/ns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &theirs) < 0 || stat(own, &ours) < 0)
        err(1, "%s", path);
    return theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev ? -1 : fd;
}

int main(int argc, char **argv)
{
    static const char *const read_only[] = {"rbind", "ro", "nosuid", "nodev"};
    rfs_error error = {.size = sizeof error};
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_TMPFS_ROOTFS};
    rfs_config *config;
    rfs_plan *plan;
    if (argc != 4)
        errx(1, "usage: attach PID SOURCE DESTINATION");
    int userns = namespace_of(argv[1], "user"), mntns = namespace_of(argv[1], "mnt");
    rfs_mount mount = {.size = sizeof mount, .type = "bind", .source = argv[2], .destination = argv[3],
                       .options = read_only, .n_options = 4};

    /* The plan has this mount alone. It needs no rootfs: the container has its root already. */
    must(rfs_config_new(NULL, &config, &error), &error);
    if (userns >= 0)
        options.flags |= RFS_OPTION_USER_NAMESPACE;
    must(rfs_config_set_options(config, &options, &error), &error);
    must(rfs_config_add_mount(config, &mount, &error), &error);
    must(rfs_plan_new(config, &plan, &error), &error);

    /* Here the source is a path of the host; after setns(2) paths are the container's. */
    int tree = rfs_mountfd_open(plan, 0, userns, -1, &error);
    must(tree, &error);
    if ((userns >= 0 && setns(userns, CLONE_NEWUSER) < 0) || (mntns >= 0 && setns(mntns, CLONE_NEWNS) < 0))
        err(1, "setns");
    must(rfs_attach(plan, 0, tree, &error), &error);
    rfs_plan_free(plan);
    rfs_config_free(config);
    return 0;
}
