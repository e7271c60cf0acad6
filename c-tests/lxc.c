/* What LXC's containers need: lines of fstab(5) with the entries that LXC ships, what a source forbids, binds of the
 * container's own files, the order of the points, propagation at the end, no rootfs at all.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static rfs_config *config;
/* RFS_OPTION_* of every container of a case. */
static uint64_t always;

static void set_options(rfs_options options)
{
    rfs_error err = fresh_error();
    options.size = sizeof options;
    options.flags |= always;
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
}

static void set_flags(uint64_t flags)
{
    set_options((rfs_options){.flags = flags});
}

static void begin_without_rootfs(void)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_new(NULL, &config, &err), &err);
    set_flags(RFS_OPTION_HOST_ROOT);
}

static void begin(void)
{
    rfs_error err = fresh_error();
    if (access(image("bin"), F_OK) != 0)
        make_image();
    REQUIRE_SUCCESS(rfs_config_new(image(""), &config, &err), &err);
    set_flags(0);
}

/* Adds the entry and returns its index. */
static uint64_t line(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *prefixes[] = {image(""), in_work("lxcpath/c1/rootfs"), NULL};
    uint64_t index = 4711;
    rfs_error err = fresh_error();
    CHECK_SUCCESS(rfs_config_add_fstab(config, text, prefixes, &index, &err), &err);
    return index;
}

/* `options` has commas between them, and `flags` are RFS_MOUNT_*. */
static void add_mount(const char *source, const char *destination, const char *type, const char *options,
                      uint64_t flags, int userns)
{
    const char *list[16];
    size_t n = 0;
    char *copy = strdup(options);
    for (char *option = strtok(copy, ","); option; option = strtok(NULL, ","))
        list[n++] = option;
    const rfs_mount mount = {.size = sizeof mount, .flags = flags, .source = source, .destination = destination,
                             .type = type,
                             .options = list, .n_options = n, .userns_fd = userns};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_add_mount(config, &mount, &err), &err);
    free(copy);
}

static void plan_fails(const char *says)
{
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    CHECK_ERROR(rfs_plan_new(config, &plan, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_PLAN, .says = says);
    rfs_config_free(config);
}

static bool warns(const rfs_plan *plan, const char *says)
{
    for (size_t i = 0; rfs_plan_warning(plan, i); i++)
        if (strstr(rfs_plan_warning(plan, i), says))
            return true;
    note("no warning says \"%s\"", says);
    return false;
}

/* 1: the entries of common.conf, nesting.conf and of distributions' files, and what may be in others. */
static void look_at_lines(void *data)
{
    (void)data;
    check_mount("/proc / rw,nosuid,nodev,noexec,relatime - proc proc rw*");
    check_mount("/dev/.lxc/proc / rw,relatime - proc proc rw*");
    check_mount("/dev/mqueue / rw,relatime - mqueue mqueue rw*");
    check_mount("/mnt/a\\040b * ro,relatime - *");
    check_mount("/etc/file * rw,relatime - *");
    check_mount("/real * ro,relatime - *");
    check_mount("/prefixed * rw,relatime - *");
    check_no_mount("/elsewhere");
    check_no_mount("/sys/fs/fuse/connections");
    CHECK(access("/sys/fs/fuse/connections", F_OK) != 0 && access("/missing", F_OK) != 0);
    struct stat st;
    CHECK(stat("/etc/file", &st) == 0 && S_ISREG(st.st_mode));
}

static void lines(void)
{
    begin();
    make_directory(in_work("volume"), 0755);
    make_file(in_work("file"), "x");
    image_directory("real", 0755);
    image_directory("prefixed", 0755);
    image_link("/real", "link");
    CHECK(line("tmpfs dev tmpfs create=dir,mode=755,size=500k 0 0") == 0);
    CHECK(line("") == RFS_NO_MOUNT && line(" # a comment\n") == RFS_NO_MOUNT);
    CHECK(line("proc proc proc nodev,noexec,nosuid 0 0\n") == 1);
    line("/sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0");
    line("proc dev/.lxc/proc proc create=dir,optional 0 0");
    line("sys dev/.lxc/sys sysfs create=dir,optional 0 0");
    line("mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0");
    line("%s mnt/a\\040b none bind,remount,ro,create=dir", in_work("volume"));
    line("%s etc/file none bind,create=file,uid=5,size=1m", in_work("file"));
    line("%s link none rbind,ro", in_work("volume"));
    line("%s missing none bind,optional", in_work("volume"));
    line("%s %s none bind", in_work("volume"), in_work("lxcpath/c1/rootfs/prefixed"));
    CHECK(line("%s /elsewhere none bind,create=dir", in_work("volume")) == RFS_NO_MOUNT);
    rfs_plan *plan = plan_of_config(config);
    CHECK(warns(plan, "\"/elsewhere\" is passed over"));
    CHECK(warns(plan, "\"uid=5\" means nothing for a bind") && warns(plan, "\"size=1m\" means nothing"));
    CHECK(rfs_plan_warning(plan, 3) == NULL);
    run_container(plan, NULL, look_at_lines, NULL);
}

static void refused_lines(void)
{
    static const struct {
        const char *line, *says;
    } refused[] = {
        {"proc", "the field destination is missing"},
        {"proc proc", "the field type is missing"},
        {"proc proc proc defaults 0 0\nproc proc proc", "newline"},
        {"a\\000 b none bind", "NUL"},
        {"/a b none bind,idmap=/proc/1/ns/user", "rfs_mount.userns_fd"},
    };
    begin();
    rfs_error err;
    uint64_t index = 4711;
    for (size_t i = 0; i < COUNT(refused); i++) {
        err = fresh_error();
        CHECK_ERROR(rfs_config_add_fstab(config, refused[i].line, NULL, &index, &err), &err, .code = -EINVAL,
                    .stage = RFS_STAGE_CONFIG, .object = RFS_OBJECT_MOUNT, .says = refused[i].says);
    }
    CHECK(index == 4711);
    CHECK_ERROR(rfs_config_add_fstab(NULL, "", NULL, NULL, &err), &err, .code = -EINVAL, .says = "config is NULL");
    CHECK_ERROR(rfs_config_add_fstab(config, NULL, NULL, NULL, &err), &err, .code = -EINVAL, .says = "line is NULL");
    line("%s missing none bind", work);
    run_refused("no mount point", plan_of_config(config), NULL,
                &(struct expected){-ENOENT, RFS_STAGE_MOUNTS, RFS_OBJECT_MOUNT, 0, "create=dir", NULL, "/missing"});
    /* the other doors */
    static const char *const meaningless[] = {"nonsense", "newinstance"};
    for (size_t i = 0; i < COUNT(meaningless); i++) {
        char options[64];
        snprintf(options, sizeof options, "bind,%s", meaningless[i]);
        begin();
        add_mount(work, "/x", "bind", options, 0, 0);
        plan_fails(meaningless[i]);
    }
}

/* 2: what a source forbids. */
static void look_at_restrictions(void *data)
{
    (void)data;
    check_mount("/fstab / ro,nosuid,nodev,noexec,relatime - tmpfs strict *");
    check_mount("/cleared / rw,nosuid,noexec,relatime - tmpfs strict *");
    check_mount("/builder / ro,relatime - tmpfs strict *");
    check_mount("/flag / ro,nosuid,nodev,noexec,noatime - tmpfs strict *");
    check_mount("/readonly / ro,nosuid,relatime - tmpfs readonly *");
}

static void restrictions(void)
{
    begin();
    make_directory(in_work("strict"), 0755);
    make_directory(in_work("readonly"), 0755);
    REQUIRE(mount("strict", in_work("strict"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0);
    REQUIRE(mount("readonly", in_work("readonly"), "tmpfs", MS_RDONLY, NULL) == 0);
    line("%s fstab none bind,ro,create=dir", in_work("strict"));
    line("%s cleared none bind,suid,dev,exec,create=dir", in_work("strict"));
    add_mount(in_work("strict"), "/builder", "bind", "ro", 0, 0);
    add_mount(in_work("strict"), "/flag", "bind", "ro,noatime", RFS_MOUNT_KEEP_RESTRICTIONS, 0);
    line("%s readonly none bind,rw,nosuid,create=dir", in_work("readonly"));
    run_container(plan_of_config(config), NULL, look_at_restrictions, NULL);
    begin();
    add_mount("proc", "/proc", "proc", "", RFS_MOUNT_KEEP_RESTRICTIONS, 0);
    plan_fails("RFS_MOUNT_KEEP_RESTRICTIONS");
}

/* The mount that the host's side has opened, which the callback returns. */
static int given_mountfd(void *userdata, const rfs_mount_request *request)
{
    (void)request;
    return fcntl(*(int *)userdata, F_DUPFD_CLOEXEC, 0);
}

static void look_at_hosts_restrictions(void *data)
{
    (void)data;
    check_mount("/kept / ro,nosuid,nodev,noexec,relatime - tmpfs strict *");
}

static void restrictions_from_host(void)
{
    begin();
    make_directory(in_work("strict"), 0755);
    REQUIRE(mount("strict", in_work("strict"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0);
    add_mount(in_work("strict"), "/kept", "bind", "ro,suid,exec", RFS_MOUNT_KEEP_RESTRICTIONS | RFS_MOUNT_FROM_HOST, 0);
    rfs_plan *plan = plan_of_config(config);
    rfs_error err = fresh_error();
    int fd = rfs_mountfd_open(plan, 0, -1, -1, &err);
    struct lacking lacking = lacking_on_host();
    if (lacking.call) {
        CHECK_ERROR(fd, &err, .code = lacking.code, .stage = RFS_STAGE_MOUNTFD, .says = lacking.call);
        return;
    }
    REQUIRE_SUCCESS(fd >= 0 ? 0 : fd, &err);
    REQUIRE(umount2(in_work("strict"), MNT_DETACH) == 0); /* The path leads elsewhere now. */
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &fd, .mountfd = given_mountfd};
    run_container(plan, &callbacks, look_at_hosts_restrictions, NULL);
}

/* 3 and 4: sys:mixed and proc:mixed. */
static void look_at_relative(void *data)
{
    (void)data;
    check_mount("/sys / ro,relatime - sysfs sysfs rw");
    check_mount("/sys/devices/virtual/net /devices/virtual/net rw,relatime - sysfs sysfs rw");
    check_mount("/proc/sys /sys ro,relatime - proc proc rw");
    check_mount("/proc/sys/net /sys/net rw,relatime - proc proc rw");
    check_mount("/proc/version /version ro,relatime - proc proc rw");
    check_mount("/seen / rw,relatime - tmpfs earlier rw*");
    CHECK(access("/bound/inside", F_OK) == 0 && access("/bound/outside", F_OK) != 0);
}

static void relative(void)
{
    begin();
    make_directory(in_work("outside"), 0755);
    make_file(in_work("outside/outside"), "");
    image_directory(in_work("outside"), 0755); /* This is the same path in the rootfs. */
    image_file("real/inside", "");
    image_link("/real", "link");
    image_directory("early", 0755);
    add_mount("proc", "/proc", "proc", "", 0, 0);
    add_mount("sysfs", "/sys", "sysfs", "", 0, 0);
    add_mount("sys", "/sys", NULL, "bind,relative,ro", 0, 0);
    add_mount("/sys/devices/virtual/net", "/sys/devices/virtual/net", NULL, "bind,relative,rw,optional", 0, 0);
    line("proc/sys proc/sys none bind,relative,ro");
    add_mount("proc/sys/net", "/proc/sys/net", NULL, "bind,relative,rw", 0, 0);
    line("proc/version proc/version none bind,relative,ro");
    add_mount("earlier", "/early", "tmpfs", "", 0, 0);
    add_mount("early", "/seen", NULL, "bind,relative", 0, 0);
    add_mount("../../../link", "/bound", NULL, "bind,relative", 0, 0);
    add_mount("etc", "/proc/fs", NULL, "bind,relative,optional", 0, 0); /* of another superblock */
    add_mount(work, "/proc/fs", NULL, "bind,optional", 0, 0);            /* The plan refuses it. */
    run_container(plan_of_config(config), NULL, look_at_relative, NULL);
}

static void refused_relative(void)
{
    static const struct {
        const char *source, *destination, *options, *says;
        int code;
    } refused[] = {
        {"etc", "/proc/fs", "bind,relative", "of the container's own /proc", -EINVAL},
        {"missing", "/x", "bind,relative", "is a path in the container", -ENOENT},
        {"other/sys", "/proc/sys", "bind,relative", "of the container's own /proc", -EINVAL},
        {"proc/self/exe", "/proc/fs", "bind,relative", "", -ELOOP}, /* a magic link */
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        begin();
        image_directory("other", 0755);
        add_mount("proc", "/proc", "proc", "", 0, 0);
        add_mount("proc", "/other", "proc", "", 0, 0);
        add_mount(refused[i].source, refused[i].destination, NULL, refused[i].options, 0, 0);
        run_refused(refused[i].source, plan_of_config(config), NULL,
                    &(struct expected){.code = refused[i].code, .object = RFS_OBJECT_MOUNT, .index = 2,
                                       .says = refused[i].says});
    }
    static const char *const contradictions[] = {"bind,relative,copy-symlink", "bind,relative,remount",
                                                 "bind,relative,idmap"};
    for (size_t i = 0; i < COUNT(contradictions); i++) {
        begin();
        set_flags(RFS_OPTION_USER_NAMESPACE);
        add_mount("etc", "/x", NULL, contradictions[i], 0, 0);
        plan_fails("\"relative\" excludes");
    }
    begin();
    add_mount("x", "/x", "tmpfs", "relative", 0, 0);
    plan_fails("\"relative\" is for binds");
    begin();
    add_mount("/proc/sys", "/proc/sys", NULL, "bind,ro", 0, 0);
    plan_fails("below /proc");
}

/* 5: the order, and what a hook has made. */
struct points {
    rfs_point seen[8];
    size_t n;
    bool covers_dev;
};

static int hook(void *userdata, rfs_point point)
{
    struct points *p = userdata;
    p->seen[p->n++] = point;
    if (point != RFS_POINT_MOUNTED)
        return 0;
    int root = rfs_container_root_fd(this_container);
    struct stat st;
    CHECK(fstatat(root, "dev/zero", &st, 0) != 0 && fstatat(root, "dev/fd", &st, AT_SYMLINK_NOFOLLOW) != 0);
    char dev[64];
    snprintf(dev, sizeof dev, "/proc/self/fd/%d/dev", root);
    if (p->covers_dev)
        CHECK(mount("hook", dev, "tmpfs", 0, NULL) == 0);
    else
        CHECK(mknodat(root, "dev/null", S_IFCHR | 0600, makedev(1, 3)) == 0);
    rfs_error err = fresh_error();
    int fd = open(in_work("file"), O_RDONLY | O_CLOEXEC);
    CHECK_SUCCESS(rfs_bind_fd(this_container, fd, "/dev/bound", &err), &err);
    CHECK_ERROR(rfs_bind_console(this_container, fd, &err), &err, .code = -EINVAL, .says = "RFS_POINT_MOUNTS_READY");
    close(fd);
    return 0;
}

static void look_at_points(void *data)
{
    const struct points *p = data;
    static const rfs_point expected[] = {RFS_POINT_ROOT_READY, RFS_POINT_MOUNTED, RFS_POINT_MOUNTS_READY,
                                         RFS_POINT_CREATE_CONTAINER, RFS_POINT_BEFORE_SWITCH, RFS_POINT_AFTER_SWITCH};
    CHECK(p->n == COUNT(expected) && memcmp(p->seen, expected, sizeof expected) == 0);
    struct stat st;
    check_mount("/dev/bound /file rw,relatime - *");
    if (p->covers_dev) {
        check_mount("/dev / rw,relatime - tmpfs hook rw*");
        CHECK(stat("/dev/null", &st) != 0 && lstat("/dev/fd", &st) != 0);
        return;
    }
    CHECK(stat("/dev/null", &st) == 0 && st.st_rdev == makedev(1, 3) && (st.st_mode & 07777) == 0600);
    CHECK(stat("/dev/zero", &st) == 0 && st.st_rdev == makedev(1, 5) && (st.st_mode & 07777) == 0666);
}

static void points(void)
{
    make_file(in_work("file"), "x");
    for (int covers = 0; covers < 2; covers++) {
        begin();
        add_mount("dev", "/dev", "tmpfs", "mode=755", 0, 0);
        struct points p = {.covers_dev = covers};
        const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &p, .point = hook};
        run_container(plan_of_config(config), &callbacks, look_at_points, &p);
    }
}

/* 6: propagation at the end. */
static int peer_group(const char *mountpoint)
{
    char line[4096], path[2048];
    int group, found = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%*d %*d %*s %*s %2047s %*s shared:%d", path, &group) == 2 && strcmp(path, mountpoint) == 0)
            found = group;
    CHECK_THAT(found != 0, "%s is not shared", mountpoint);
    if (file)
        fclose(file);
    return found;
}

static void look_at_propagation(void *data)
{
    (void)data;
    check_mount("/ /bundle/rootfs *relatime shared master - *");
    check_mount("/proc / *relatime shared - proc proc *");
    check_mount("/volume / *relatime shared master - tmpfs volume *");
    check_mount("/proc/sys /sys ro,relatime shared - proc proc *");
    /* The mount is no peer of the one that it covers: a mount on /proc/sys must not appear below it. */
    CHECK(peer_group("/proc/sys") != peer_group("/proc") && peer_group("/") != peer_group("/proc"));
}

static void final_propagation(void)
{
    begin();
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", 0, NULL) == 0);
    REQUIRE(mount(NULL, work, NULL, MS_SHARED | MS_REC, NULL) == 0);
    add_mount("proc", "/proc", "proc", "", 0, 0);
    add_mount(in_work("volume"), "/volume", "bind", "rbind", 0, 0);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_add_readonly_path(config, "/proc/sys", &err), &err);
    set_options((rfs_options){.rootfs_propagation = "rslave", .final_propagation = "rshared"});
    run_container(plan_of_config(config), NULL, look_at_propagation, NULL);
    begin();
    set_options((rfs_options){.final_propagation = "nonsense"});
    plan_fails("final_propagation: \"nonsense\"");
}

/* 7: idmap=PATH. */
static void look_at_idmapped(void *data)
{
    (void)data;
    CHECK_OWNER(AT_FDCWD, "/x/file", 100007, 100008);
}

static void user_namespace(void)
{
    begin();
    make_directory(in_work("source"), 0755);
    mount_idmappable(in_work("source"));
    REQUIRE(chmod(in_work("source"), 0777) == 0);
    create_as(7, 8, AT_FDCWD, in_work("source/file"));
    int userns = user_namespace_from(100000);
    add_mount(in_work("source"), "/x", "bind", "bind", RFS_MOUNT_USERNS_FD, userns);
    add_mount(in_work("source"), "/y", "bind", "bind", RFS_MOUNT_USERNS_FD, 999);
    set_flags(RFS_OPTION_USER_NAMESPACE);
    line("%s z none bind,create=dir,idmap=container", in_work("source"));
    rfs_plan *plan = plan_of_config(config);
    CHECK(rfs_plan_mountfd_needed(plan, 0) == RFS_MOUNTFD_CERTAINLY);
    rfs_error err = fresh_error();
    int fd = rfs_mountfd_open(plan, 0, -1, -1, &err);
    struct lacking lacking = lacking_on_host();
    if (lacking.call) {
        CHECK_ERROR(fd, &err, .code = lacking.code, .stage = RFS_STAGE_MOUNTFD, .says = lacking.call);
        return;
    }
    REQUIRE_SUCCESS(fd >= 0 ? 0 : fd, &err);
    CHECK_OWNER(fd, "file", 100007, 100008);
    CHECK(rfs_plan_mountfd_needed(plan, 2) == RFS_MOUNTFD_CERTAINLY);
    int containers = rfs_mountfd_open(plan, 2, user_namespace_from(200000), -1, &err);
    REQUIRE_SUCCESS(containers >= 0 ? 0 : containers, &err);
    CHECK_OWNER(containers, "file", 200007, 200008);
    CHECK_ERROR(rfs_mountfd_open(plan, 1, -1, -1, &err), &err, .code = -EBADF, .says = "rfs_mount.userns_fd 999");
    begin();
    add_mount(in_work("source"), "/x", "bind", "bind", RFS_MOUNT_USERNS_FD, userns);
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &fd, .mountfd = given_mountfd};
    run_container(plan_of_config(config), &callbacks, look_at_idmapped, NULL);
    begin();
    add_mount(in_work("source"), "/x", "bind", "bind,idmap=uids=0-1-1;gids=0-1-1", RFS_MOUNT_USERNS_FD, userns);
    plan_fails("userns_fd: it excludes mappings");
    begin();
    add_mount("proc", "/proc", "proc", "", RFS_MOUNT_USERNS_FD, userns);
    plan_fails("can't be idmapped");
}

/* 8: no rootfs. */
/* How many mounts have "/" as their mount point. */
static int mounts_on_root(void)
{
    char *table = mount_table();
    int n = strncmp(table, "/ ", 2) == 0;
    for (const char *at = table; (at = strstr(at, "\n/ ")); at++)
        n++;
    free(table);
    return n;
}

static int mounts_on_hosts_root;

static void look_at_host_root(void *data)
{
    const char *there = data;
    char pattern[4300];
    CHECK_THAT(mounts_on_root() == mounts_on_hosts_root, "the root has been bound on itself");
    snprintf(pattern, sizeof pattern, "%s/../there/frozen", there);
    CHECK(access(pattern, W_OK) == -1 && errno == EROFS);
    snprintf(pattern, sizeof pattern, "%s/../there/hidden", there);
    CHECK(rmdir(pattern) == -1 && errno == EBUSY); /* a mount */
    snprintf(pattern, sizeof pattern, "%s / rw,relatime - tmpfs here rw*", there);
    check_mount(pattern);
    snprintf(pattern, sizeof pattern, "%s/made / ro,relatime - tmpfs made *", there);
    check_mount(pattern);
    check_mount("/proc / ro,nosuid,nodev,noexec,relatime - proc proc r?*");
    CHECK(access("/bin/busybox", X_OK) == 0);
}

static int in_host_root(void *userdata, rfs_point point)
{
    struct points *p = userdata;
    p->seen[p->n++] = point;
    struct stat root, here;
    CHECK(fstat(rfs_container_root_fd(this_container), &root) == 0 && stat("/", &here) == 0);
    CHECK(root.st_dev == here.st_dev && root.st_ino == here.st_ino);
    return 0;
}

static void host_root(void)
{
    make_directory(in_work("here"), 0755);
    char *dev = list_directory("/dev");
    begin_without_rootfs();
    add_mount("proc", "/proc", "proc", "ro,nosuid,nodev,noexec", 0, 0);
    add_mount("here", in_work("here"), "tmpfs", "", 0, 0);
    add_mount("made", in_work("here/made"), "tmpfs", "ro,create=dir", 0, 0);
    rfs_error err = fresh_error();
    make_directory(in_work("there/frozen"), 0755);
    make_directory(in_work("there/hidden"), 0755);
    REQUIRE_SUCCESS(rfs_config_add_readonly_path(config, in_work("there/frozen"), &err), &err);
    REQUIRE_SUCCESS(rfs_config_add_masked_path(config, in_work("there/hidden"), &err), &err);
    mounts_on_hosts_root = mounts_on_root();
    struct points p = {0};
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &p, .point = in_host_root};
    run_container(plan_of_config(config), &callbacks, look_at_host_root, (void *)in_work("here"));
    char *after = list_directory("/dev");
    CHECK(strcmp(dev, after) == 0);
    CHECK(access(in_work("here/made"), F_OK) != 0);
    begin_without_rootfs();
    add_mount("x", in_work("missing"), "tmpfs", "", 0, 0);
    run_refused("no mount point", plan_of_config(config), NULL,
                &(struct expected){-ENOENT, RFS_STAGE_MOUNTS, RFS_OBJECT_MOUNT, 0, "create=dir", NULL,
                                   in_work("missing")});
    CHECK(access(in_work("missing"), F_OK) != 0);
    const rfs_options refused[] = {{.flags = RFS_OPTION_CHROOT}, {.flags = RFS_OPTION_NO_PIVOT},
                                   {.flags = RFS_OPTION_ROOTFS_LATER},
                                   {.flags = RFS_OPTION_PTMX_BIND}, {.rootfs_propagation = "rshared"}, {.cwd = "/x"}};
    for (size_t i = 0; i < COUNT(refused); i++) {
        begin_without_rootfs();
        set_options(refused[i]);
        plan_fails("RFS_OPTION_HOST_ROOT: ");
    }
    begin();
    set_flags(RFS_OPTION_HOST_ROOT);
    plan_fails("there is a rootfs");
    free(dev);
    free(after);
}

/* 9: what is asked for by itself. */
static void look_at_hosts_sysfs(void)
{
    check_mount("/sys / ro,* - sysfs * *");
    CHECK(access("/sys/kernel", X_OK) == 0);
}

static void start_in_user_namespace(void *data)
{
    const struct expected *refused = data;
    rfs_error err = fresh_error();
    int rc = rfs_prepare(this_container, NULL, &err);
    if (refused) {
        check_error_at(__FILE__, __LINE__, rc, &err, refused);
        return;
    }
    REQUIRE_SUCCESS(rc, &err);
    REQUIRE_SUCCESS(rfs_finalize(this_container, &err), &err);
    look_at_hosts_sysfs();
}

/* The caller's network namespace is not the user namespace's. */
static void sysfs_from_host(void)
{
    only_cgroup2();
    static const rfs_id_mapping mapping = {.container_id = 0, .host_id = 100000, .count = 65536};
    struct expected refused = {.code = -EPERM, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                               .says = "sysfs", .says_too = "RFS_OPTION_SYSFS_FROM_HOST"};
    for (int asked = 0; asked < 2; asked++) {
        int userns;
        begin();
        owned_by(100000);
        set_options((rfs_options){.flags = RFS_OPTION_USER_NAMESPACE | (asked ? RFS_OPTION_SYSFS_FROM_HOST : 0),
                                  .uid_mappings = &mapping, .n_uid_mappings = 1,
                                  .gid_mappings = &mapping, .n_gid_mappings = 1});
        add_mount("sysfs", "/sys", "sysfs", "ro,nosuid,nodev,noexec", 0, 0);
        this_container = container_of(plan_of_config(config));
        wait_for_child(start_child((CONTAINER_NAMESPACES & ~CLONE_NEWNET) | CLONE_NEWUSER, start_in_user_namespace,
                                   asked ? NULL : &refused, &userns));
        close(userns);
    }
}

static void look_at_ptmx(void *data)
{
    (void)data;
    check_mount("/dev/ptmx /ptmx rw,relatime - devpts devpts rw,*");
    struct stat st;
    CHECK(lstat("/dev/ptmx", &st) == 0 && st.st_rdev == makedev(5, 2));
    int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(pty >= 0 && grantpt(pty) == 0);
}

static void ptmx(void)
{
    static const char *const before[] = {NULL, "link", "file"};
    for (size_t i = 0; i < COUNT(before); i++) {
        begin();
        unlink(image("dev/ptmx"));
        image_directory("dev/pts", 0755);
        if (i == 1)
            image_link("/bin/busybox", "dev/ptmx");
        else if (i == 2)
            image_file("dev/ptmx", "");
        set_flags(RFS_OPTION_PTMX_BIND);
        add_mount("devpts", "/dev/pts", "devpts", "newinstance,ptmxmode=0666", 0, 0);
        run_container(plan_of_config(config), NULL, look_at_ptmx, NULL);
    }
    begin();
    set_flags(RFS_OPTION_PTMX_BIND);
    run_refused("no devpts", plan_of_config(config), NULL,
                &(struct expected){.code = -ENOENT, .stage = RFS_STAGE_DEVICES, .says = "no devpts"});
}

static void look_at_hierarchy(void *data)
{
    (void)data;
    check_mount("/sys/fs/cgroup/one / *relatime - cgroup * *name=rfstest*");
    check_mount("/sys/fs/cgroup/unified / *relatime - cgroup2 * *");
    CHECK(access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0);
}

static void one_hierarchy(void)
{
    make_directory(in_work("v1"), 0755);
    if (mount("cgroup", in_work("v1"), "cgroup", 0, "none,name=rfstest") != 0)
        skip_case("this kernel has no cgroup v1");
    only_cgroup2();
    begin();
    add_mount("tmpfs", "/sys/fs/cgroup", "tmpfs", "", 0, 0);
    add_mount("cgroup", "/sys/fs/cgroup/one", "cgroup", "name=rfstest", 0, 0);
    add_mount("cgroup", "/sys/fs/cgroup/unified", "cgroup", "unified", 0, 0);
    run_container(plan_of_config(config), NULL, look_at_hierarchy, NULL);
    begin();
    add_mount("cgroup", "/cgroup", "cgroup", "name=missing", 0, 0);
    run_refused("no such hierarchy", plan_of_config(config), NULL,
                &(struct expected){.code = -ENODEV, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                   .says = "no hierarchy of cgroup v1"});
    begin();
    add_mount("cgroup", "/cgroup", "cgroup", "unified,memory", 0, 0);
    plan_fails("\"unified\" excludes");
    begin();
    add_mount("cgroup", "/cgroup", "cgroup", "memory,nonsense", 0, 0);
    plan_fails("\"nonsense\" is no controller");
}

/* A hierarchy of the host's: one of a controller, not of the host's own cgroup if there is such a one. */
struct hierarchy {
    char controller[64], own[256];
};

static bool find_hierarchy(struct hierarchy *found)
{
    char line[512], controllers[256], own[256], pattern[300];
    char *table = mount_table();
    FILE *file = fopen("/proc/self/cgroup", "re");
    REQUIRE(file);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*d:%255[^:]:%255s", controllers, own) != 2 || strpbrk(controllers, "=,"))
            continue;
        snprintf(pattern, sizeof pattern, " rw,%s\n", controllers);
        if (!strstr(table, pattern) || (found->controller[0] && strcmp(own, "/") == 0))
            continue;
        snprintf(found->controller, sizeof found->controller, "%.63s", controllers);
        snprintf(found->own, sizeof found->own, "%s", own);
    }
    fclose(file);
    free(table);
    return found->controller[0];
}

/* A controller that cgroup2 does not have, for a host that has only cgroup2. */
static void mount_hierarchy(void)
{
    static const char *const controllers[] = {"freezer", "devices", "net_cls", "net_prio"};
    make_directory(in_work("controller"), 0755);
    for (size_t i = 0; i < COUNT(controllers); i++)
        if (mount("cgroup", in_work("controller"), "cgroup", 0, controllers[i]) == 0)
            return;
    skip_case("this kernel has no controller of cgroup v1");
}

static void look_at_controller(void *data)
{
    const struct hierarchy *h = data;
    char pattern[512];
    snprintf(pattern, sizeof pattern, "/cgroup %s rw,nosuid,*relatime - cgroup * *%s*", h->own, h->controller);
    check_mount(pattern);
    snprintf(pattern, sizeof pattern, "/frozen %s ro,*relatime - cgroup * *%s*", h->own, h->controller);
    check_mount(pattern);
    CHECK(access("/cgroup/cgroup.procs", W_OK) == 0 && access("/cgroup/notify_on_release", F_OK) == 0);
    CHECK(mkdir("/frozen/x", 0755) == -1 && errno == EROFS);
    if (access("/unified", F_OK) != 0)
        return;
    check_mount("/unified / rw,*relatime - cgroup2 * *");
    CHECK(access("/unified/cgroup.procs", F_OK) == 0 && access("/unified/notify_on_release", F_OK) != 0);
}

static void start_in_cgroup_namespace(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(this_container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(this_container, &err), &err);
    look_at_controller(data);
}

static void real_controller(void)
{
    struct hierarchy h = {.controller = ""};
    if (!find_hierarchy(&h)) {
        mount_hierarchy();
        REQUIRE(find_hierarchy(&h));
    }
    char *table = mount_table();
    const bool unified = strstr(table, " - cgroup2 ");
    free(table);
    for (int namespace = 0; namespace < 2; namespace++) {
        begin();
        char options[128];
        snprintf(options, sizeof options, "nosuid,%s", h.controller);
        add_mount("cgroup", "/cgroup", "cgroup", options, 0, 0);
        snprintf(options, sizeof options, "ro,%s", h.controller);
        add_mount("cgroup", "/frozen", "cgroup", options, 0, 0);
        if (unified)
            add_mount("cgroup", "/unified", "cgroup", "unified", 0, 0);
        if (!namespace) {
            run_container(plan_of_config(config), NULL, look_at_controller, &h);
            continue;
        }
        set_flags(RFS_OPTION_CGROUP_NAMESPACE);
        snprintf(h.own, sizeof h.own, "/");
        this_container = container_of(plan_of_config(config));
        in_child(CONTAINER_NAMESPACES | CLONE_NEWCGROUP, start_in_cgroup_namespace, &h);
    }
    begin();
    char options[128];
    snprintf(options, sizeof options, "name=rfstest,%s", h.controller);
    add_mount("cgroup", "/cgroup", "cgroup", options, 0, 0);
    run_refused("of two hierarchies", plan_of_config(config), NULL,
                &(struct expected){.code = -ENODEV, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                   .says = "no hierarchy of cgroup v1"});
}

/* 10: examples/lxc-like.c with all that LXC's common.conf, userns.conf and nesting.conf say. */
#define ALLOW(devices) "lxc.cgroup.devices.allow = " devices "\nlxc.cgroup2.devices.allow = " devices "\n"

static const char common_conf[] =
    "# Default configuration\n\n"
    "lxc.tty.dir = lxc\n"
    "lxc.pty.max = 1024\n"
    "lxc.tty.max = 4\n"
    "lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio\n"
    "lxc.hook.clone = /usr/share/lxc/hooks/clonehostname\n"
    "lxc.cgroup.devices.deny = a\nlxc.cgroup2.devices.deny = a\n"
    ALLOW("c *:* m") ALLOW("b *:* m") ALLOW("c 1:3 rwm") ALLOW("c 1:5 rwm") ALLOW("c 1:7 rwm") ALLOW("c 5:0 rwm")
    ALLOW("c 5:1 rwm") ALLOW("c 5:2 rwm") ALLOW("c 1:8 rwm") ALLOW("c 1:9 rwm") ALLOW("c 136:* rwm")
    ALLOW("c 10:229 rwm")
    "lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed\n"
    "lxc.mount.entry = /sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0\n"
    "lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp\n"
    "lxc.include = %s/\n"; /* common.conf.d */

static const char userns_conf[] =
    "lxc.cgroup.devices.deny =\nlxc.cgroup.devices.allow =\nlxc.cgroup2.devices.deny =\nlxc.cgroup2.devices.allow =\n"
    "lxc.cap.drop =\nlxc.cap.keep =\n"
    "lxc.tty.dir =\n"
    "lxc.mount.auto = sys:rw\n";

static const char nesting_conf[] =
    "lxc.apparmor.profile = lxc-container-default-with-nesting\n"
    "lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0\n"
    "lxc.mount.entry = sys dev/.lxc/sys sysfs create=dir,optional 0 0\n";

/* The mounts that both look for. M checks a mount and the beginning of its options. */
#define LOOK \
    "b=/bin/busybox; fail() { echo \"failed: $*\"; $b cat /proc/self/mountinfo; exit 1; }; " \
    "M() { $b grep -q \" $1\" /proc/self/mountinfo || fail \"$1\"; }; " \
    "T() { test \"$@\" || fail test \"$@\"; }; " \
    "M \"/ r.*shared:\"; M \"/proc rw,nosuid,nodev,noexec\"; M \"/proc/sys ro\"; M \"/proc/sys/net rw\"; " \
    "test ! -e /proc/sysrq-trigger || M \"/proc/sysrq-trigger ro\"; M \"/dev rw.* tmpfs none rw,size=\"; " \
    "M \"/dev/.lxc/proc rw\"; M \"/dev/.lxc/sys rw\"; " \
    "M \"/dev/pts rw,nosuid,noexec.*ptmxmode=666,max=1028\"; M \"/dev/ptmx \"; M \"/dev/console rw.* - devpts \"; " \
    "M \"/volume ro,nosuid\"; T -c /dev/null; T -c /dev/ptmx; T -L /dev/fd; T $$ = 1; T -f /dev/hooked/autodev; " \
    "for t in 1 2 3 4; do T -c /dev/tty$t; : </dev/tty$t || fail tty$t; done; : </dev/console || fail console; " \
    "c=/sys/fs/cgroup; test -n \"$($b ls $c/cgroup.procs $c/*/cgroup.procs 2>/dev/null)\" || fail cgroups; "

/* Runs a script in a shell of the container. Its output goes to the test's output. */
static void run_example(const char *configuration, const char *look)
{
    const char *program = getenv("LXC_LIKE");
    if (!program)
        skip_case("there is no LXC_LIKE");
    make_file(in_work("config"), configuration);
    char command[8192];
    snprintf(command, sizeof command, "%s %s /bin/busybox sh -c '%s' >&2", program, in_work("config"), look);
    CHECK_THAT(system(command) == 0, "%s", command);
}

/* userns: what comes of userns.conf, or "". */
static void run_shipped(const char *userns, const char *look)
{
    if (access(image("bin"), F_OK) != 0)
        make_image();
    image_directory("volume", 0755);
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", MS_NOSUID, NULL) == 0);
    make_directory(in_work("conf.d"), 0755);
    make_file(in_work("conf.d/nesting.conf"), nesting_conf);
    make_file(in_work("conf.d/other"), "lxc.mount.entry = /missing missing none bind 0 0\n"); /* no *.conf */
    make_file(in_work("fstab"), "# source destination type options\n\n");
    char common[4096], text[8192];
    snprintf(common, sizeof common, common_conf, in_work("conf.d"));
    make_file(in_work("common.conf"), common);
    make_file(in_work("userns.conf"), userns);
    snprintf(text, sizeof text,
             "lxc.mount.entry = /missing missing none bind 0 0\nlxc.mount.entry =\n"
             "lxc.include = %s\nlxc.include = %s\n"
             "lxc.mount.fstab = %s\n"
             "lxc.mount.entry = %s %s/volume none bind,ro 0 0\n"
             "lxc.hook.mount = c=$LXC_ROOTFS_MOUNT/sys/fs/cgroup; test ! -e $LXC_ROOTFS_MOUNT/dev/null &&"
             " test -n \"$(ls $c/cgroup.procs $c/*/cgroup.procs 2>/dev/null)\"\n"
             "lxc.hook.mount = mkdir $LXC_ROOTFS_MOUNT/dev/hooked\n"
             "lxc.hook.autodev = : >$LXC_ROOTFS_MOUNT/dev/hooked/autodev\n"
             "lxc.rootfs.path = dir:%s\n",
             in_work("common.conf"), in_work("userns.conf"), in_work("fstab"), in_work("volume"), image(""), image(""));
    run_example(text, look);
}

static void example(void)
{
    run_shipped("", LOOK
                "M \"/sys ro,nosuid,nodev,noexec\"; M \"/sys/devices/virtual/net rw\"; "
                "M \"/dev/lxc/tty1 .* - devpts\"; M \"/dev/lxc/console .* - devpts\"; "
                "T $($b readlink /dev/tty4) = lxc/tty4; ");
}

static void example_in_user_namespace(void)
{
    char text[4096];
    snprintf(text, sizeof text, "%slxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n", userns_conf);
    make_image();
    static const char *const owned[] = {"", "bin", "dev", "etc", "proc", "sys", "tmp"};
    for (size_t i = 0; i < COUNT(owned); i++)
        CHECK(lchown(image(owned[i]), 100000, 100000) == 0);
    run_shipped(text, LOOK "M \"/sys rw,\"; M \"/dev/tty1 .* - devpts\"; T ! -e /dev/lxc; T ! -L /dev/tty1; "
                           "M \"/dev/null rw,nosuid,noexec\"; ");
}

static void example_without_rootfs(void)
{
    char text[4096], look[4096];
    make_directory(in_work("here"), 0755);
    snprintf(text, sizeof text, "lxc.mount.auto = proc:mixed\nlxc.mount.entry = here %s tmpfs rw,nodev\n"
                                "lxc.hook.mount = mkdir $LXC_ROOTFS_MOUNT%s/hooked\n",
             in_work("here") + 1, in_work("here"));
    snprintf(look, sizeof look, "test -d %s/hooked -a $$ = 1 && grep -q \" /proc/sys ro\" /proc/self/mountinfo &&"
                                " grep -q \" %s rw,nodev\" /proc/self/mountinfo", in_work("here"), in_work("here"));
    run_example(text, look);
    CHECK(access(in_work("here/hooked"), F_OK) != 0);
}

/* The same with mounts made by mount(2). */
#define BY_MOUNT2(name) \
    static void name##_by_mount2(void) \
    { \
        always = RFS_OPTION_CLASSIC_MOUNT; \
        name(); \
    }
BY_MOUNT2(lines)
BY_MOUNT2(restrictions)
BY_MOUNT2(relative)
BY_MOUNT2(refused_relative)
BY_MOUNT2(points)
BY_MOUNT2(final_propagation)
BY_MOUNT2(host_root)
BY_MOUNT2(ptmx)
BY_MOUNT2(one_hierarchy)
BY_MOUNT2(real_controller)

int main(void)
{
    static const struct test_case cases[] = {
        {"lines of fstab, with LXC's own entries", lines},
        {"lines that are refused", refused_lines},
        {"what a source forbids stays", restrictions},
        {"what a source forbids stays, by the host's side", restrictions_from_host},
        {"relative binds, and below /proc", relative},
        {"relative binds that are refused", refused_relative},
        {"the order of the points, and what a hook has made", points},
        {"propagation at the end", final_propagation},
        {"a user namespace for a mount", user_namespace},
        {"no rootfs", host_root},
        {"the host's sysfs is asked for", sysfs_from_host},
        {"ptmx as a bind", ptmx},
        {"one hierarchy of cgroups", one_hierarchy},
        {"a controller of the host's cgroup v1", real_controller},
        {"by mount(2): lines of fstab", lines_by_mount2},
        {"by mount(2): what a source forbids stays", restrictions_by_mount2},
        {"by mount(2): relative binds, and below /proc", relative_by_mount2},
        {"by mount(2): relative binds that are refused", refused_relative_by_mount2},
        {"by mount(2): the order of the points", points_by_mount2},
        {"by mount(2): propagation at the end", final_propagation_by_mount2},
        {"by mount(2): no rootfs", host_root_by_mount2},
        {"by mount(2): ptmx as a bind", ptmx_by_mount2},
        {"by mount(2): one hierarchy of cgroups", one_hierarchy_by_mount2},
        {"by mount(2): a controller of the host's cgroup v1", real_controller_by_mount2},
        {"the example", example},
        {"the example in a user namespace", example_in_user_namespace},
        {"the example without a rootfs", example_without_rootfs},
    };
    return run_cases(cases, COUNT(cases));
}
