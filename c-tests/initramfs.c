/* A host whose root is the initial ramfs, which can't be pivoted before Linux 7.0: run by tests/kernels/init before it
 * switches.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The test only makes sense on the initial ramfs. */
static void require_initial_ramfs(void)
{
    char *table = mount_table();
    REQUIRE_THAT(strncmp(table, "/ / ", 4) == 0 && strstr(table, " - rootfs ") &&
                     strstr(table, " - rootfs ") < strchr(table, '\n'),
                 "not on the initial ramfs: %.100s", table);
    free(table);
}

static void pivot(void *works)
{
    make_directory(in_work("own"), 0755);
    REQUIRE(mount("own", in_work("own"), "tmpfs", 0, NULL) == 0 && chdir(in_work("own")) == 0);
    *(bool *)works = syscall(SYS_pivot_root, ".", ".") == 0;
    CHECK(*(bool *)works || errno == EINVAL);
}

/* Since Linux 7.0 the initial ramfs is mounted on a file system without files, nullfs. */
static bool can_pivot(void)
{
    bool *works = mmap(NULL, sizeof *works, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    in_child(CLONE_NEWNS, pivot, works);
    return *works;
}

static void inside(void *data)
{
    struct stat st, *host = data;
    check_mount("/ /bundle/rootfs ro,relatime - tmpfs test rw*");
    check_mount("/proc / rw,relatime - proc proc rw");
    check_mount("/sys / ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw");
    check_mount("/proc/sys /sys ro,* - proc proc rw");
    char *table = mount_table();
    CHECK_THAT(!strstr(table, " - rootfs ") && !strstr(table, work), "the host's mounts are seen: %s", table);
    CHECK(stat("/", &st) == 0 && (st.st_dev != host->st_dev || st.st_ino != host->st_ino));
    CHECK(access("/bin/busybox", X_OK) == 0 && access("/init", F_OK) == -1 && access("/..", F_OK) == 0 &&
          access("/../init", F_OK) == -1);
    CHECK(mkdir("/x", 0700) == -1 && errno == EROFS);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    free(table);
}

static void pivoted(void)
{
    require_initial_ramfs();
    only_cgroup2();
    make_image();
    struct stat host;
    REQUIRE(access("/init", F_OK) == 0 && stat("/", &host) == 0);
    if (can_pivot())
        run_container(plan_of(default_spec("runc")), NULL, inside, &host);
    else
        run_refused("the initial ramfs", plan_of(default_spec("runc")), NULL,
                    &(struct expected){.code = -EINVAL,
                                       .stage = RFS_STAGE_PIVOT,
                                       .says = "the old root is the initial ramfs",
                                       .says_too = "RFS_OPTION_NO_PIVOT"});
}

static void moved(void)
{
    require_initial_ramfs();
    only_cgroup2();
    make_image();
    rfs_config *config = config_from_json(default_spec("runc"));
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_NO_PIVOT};
    rfs_error err = fresh_error();
    struct stat host;
    REQUIRE(access("/init", F_OK) == 0 && stat("/", &host) == 0);
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    run_container(plan_of_config(config), NULL, inside, &host);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"pivot_root, or an error that names the option", pivoted},
        {"RFS_OPTION_NO_PIVOT: the container starts", moved},
    };
    return run_cases(cases, COUNT(cases));
}
