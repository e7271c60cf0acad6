/* Binds: what can be a source, where it lands, and the flags it keeps where they are locked.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "intervene.h"
#include "mounts.h"
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>


static struct sockaddr_un address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    REQUIRE(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

/* A net namespace's file, as `ip netns add` leaves it. */
static struct stat netns;

static void inside_kinds(void *data)
{
    (void)data;
    struct stat st;
    char text[8] = "";
    check_mount("/made/file /from/file rw,relatime - tmpfs test rw*");
    check_mount("/made/directory /from/directory rw,relatime - tmpfs test rw*");
    check_mount("/made/socket /from/socket rw,relatime - tmpfs test rw*");
    check_mount("/made/fifo /from/fifo rw,relatime - tmpfs test rw*");
    check_mount("/made/zero /zero rw* - * * *");
    check_mount("/made/block /from/block rw,relatime - tmpfs test rw*");
    check_mount("/made/followed /from/file rw,relatime - tmpfs test rw*");
    check_mount("/made/followed-directory /from/directory ro,relatime - tmpfs test rw*");
    check_mount("/made/netns net:* rw - nsfs nsfs rw");
    check_mount("/made/relative /bundle/beside rw,relatime - tmpfs test rw*");
    int fd = open("/made/file", O_RDWR | O_CLOEXEC);
    CHECK(read(fd, text, sizeof text) == 5 && strcmp(text, "hello") == 0);
    close(fd);
    CHECK(access("/made/directory/inside", F_OK) == 0);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un to = address("/made/socket");
    CHECK(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    close(fd);
    fd = open("/made/fifo", O_RDWR | O_CLOEXEC);
    CHECK(fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && write(fd, "x", 1) == 1 && read(fd, text, 1) == 1);
    close(fd);
    fd = open("/made/zero", O_RDONLY | O_CLOEXEC);
    CHECK(read(fd, text, 1) == 1 && text[0] == 0);
    close(fd);
    CHECK(stat("/made/block", &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == makedev(7, 9));
    CHECK(lstat("/made/followed", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 5);
    CHECK(lstat("/made/followed-directory", &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(stat("/made/netns", &st) == 0 && st.st_ino == netns.st_ino && st.st_dev == netns.st_dev);
    fd = open("/made/netns", O_RDONLY | O_CLOEXEC);
    CHECK(setns(fd, CLONE_NEWNET) == 0); /* It is a namespace, not an empty file. */
    close(fd);
    /* Every mount point that is no directory is an empty file. */
    REQUIRE(umount2("/made/socket", MNT_DETACH) == 0);
    CHECK(lstat("/made/socket", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 && (st.st_mode & 07777) == 0644);
}

static void kinds(void)
{
    make_image();
    make_file(in_work("from/file"), "hello");
    make_file(in_work("from/directory/inside"), "x");
    make_directory(in_work("bundle/beside"), 0755);
    REQUIRE(mkfifo(in_work("from/fifo"), 0600) == 0 &&
            mknod(in_work("from/block"), S_IFBLK | 0600, makedev(7, 9)) == 0);
    REQUIRE(symlink("file", in_work("from/link")) == 0 && symlink("directory", in_work("from/directory-link")) == 0);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un at = address(in_work("from/socket"));
    REQUIRE(bind(server, (const struct sockaddr *)&at, sizeof at) == 0 && listen(server, 5) == 0);
    REQUIRE(fstatat(host_proc, "self/ns/net", &netns, 0) == 0);
    make_file(in_work("from/netns"), "");
    REQUIRE(mount("/proc/self/ns/net", in_work("from/netns"), NULL, MS_BIND, NULL) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from/file", "/made/file", "'bind'"));
    spec_add(spec, "mounts", BIND("from/directory", "/made/directory", "'bind'"));
    spec_add(spec, "mounts", BIND("from/socket", "/made/socket", "'bind'"));
    spec_add(spec, "mounts", BIND("from/fifo", "/made/fifo", "'bind'"));
    spec_add(spec, "mounts", BIND("from/block", "/made/block", "'bind'"));
    spec_add(spec, "mounts", BIND("from/link", "/made/followed", "'bind'"));
    spec_add(spec, "mounts", BIND("from/directory-link", "/made/followed-directory", "'bind', 'ro'"));
    spec_add(spec, "mounts", BIND("from/netns", "/made/netns", "'bind'"));
    spec_add(spec, "mounts",
             "{'destination': '/made/zero', 'source': '/dev/zero', 'options': ['bind']}"); /* without a type */
    spec_add(spec, "mounts",
             "{'destination': '/made/relative', 'type': 'none', 'source': 'beside', 'options': ['rbind']}");
    run_container(plan_of(spec), NULL, inside_kinds, NULL);
}

static void inside_magic(void *data)
{
    (void)data;
    struct stat own, bound;
    CHECK(stat("/netns", &bound) == 0 && fstatat(host_proc, "self/ns/net", &own, 0) == 0);
    CHECK(own.st_ino == bound.st_ino && own.st_dev == bound.st_dev);
    check_mount("/netns net:* rw - nsfs nsfs rw");
}

/* A source is the host's own, so /proc's links may be followed. */
static void namespace_file(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts",
             "{'destination': '/netns', 'type': 'bind', 'source': '/proc/self/ns/net', 'options': ['bind']}");
    run_container(plan_of(spec), NULL, inside_magic, NULL);
}

static void inside_targets(void *data)
{
    (void)data;
    check_mount("/data/a /from rw,relatime - tmpfs test rw*");
    check_mount("/data/b /from rw,relatime - tmpfs test rw*");
    check_mount("/made/by/link /from rw,relatime - tmpfs test rw*");
    check_mount("/made/file /from/file rw,relatime - tmpfs test rw*");
    check_mount("/data/new/one /from rw,relatime - tmpfs test rw*");
    check_mount("/outer /from rw,relatime - tmpfs test rw*");
    check_mount("/outer/in/deep /from/file rw,relatime - tmpfs test rw*");
    check_mount("/over /from/other rw,relatime - tmpfs test rw*"); /* over another one */
    CHECK(access("/over/2", F_OK) == 0);
}

static void targets(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    make_file(in_work("from/other/2"), "x");
    image_directory("data/a", 0755);
    image_directory("data/b", 0755);
    image_link("/data/a", "absolute");
    image_link("b", "data/relative");
    image_link("../../../made/by/link", "data/dangling");
    image_link("made/file", "dangling-file");
    image_link("/data", "alias");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from", "/absolute", "'bind'"));
    spec_add(spec, "mounts", BIND("from", "/data/relative", "'bind'"));
    spec_add(spec, "mounts", BIND("from", "/data/dangling", "'bind'"));
    spec_add(spec, "mounts", BIND("from/file", "/dangling-file", "'bind'"));
    spec_add(spec, "mounts", BIND("from", "/alias/new/one", "'bind'"));
    spec_add(spec, "mounts", BIND("from", "/outer", "'bind'"));
    spec_add(spec, "mounts", BIND("from/file", "/outer/in/deep", "'bind'"));
    spec_add(spec, "mounts", BIND("from", "/over", "'bind'"));
    spec_add(spec, "mounts", BIND("from/other", "/over", "'bind'"));
    run_container(plan_of(spec), NULL, inside_targets, NULL);
    struct stat st;
    /* A target below a bind is made in the source of that bind. */
    CHECK(stat(in_work("from/in/deep"), &st) == 0 && S_ISREG(st.st_mode));
    CHECK(access("/made", F_OK) == -1);
}

static void refused(void)
{
    static const struct {
        const char *what, *destination, *source, *options;
        int code;
        const char *says;
    } list[] = {
        {"no source", "/new/a", "missing", "'bind'", -ENOENT, "does not exist"},
        {"a source that leads nowhere", "/new/b", "dangling", "'bind'", -ENOENT, "does not exist"},
        {"a source below a file", "/new/c", "file/x", "'bind'", -ENOTDIR, NULL},
        {"a source that leads to itself", "/new/d", "loop", "'bind'", -ELOOP, NULL},
        {"an unbindable source", "/new/e", "mount", "'bind'", -EINVAL, "unbindable"},
        {"a file on a directory", "/data", "file", "'bind'", -ENOTDIR, "but the destination is a directory"},
        {"a directory on a file", "/file", "", "'bind'", -ENOTDIR, "but the destination is a file"},
        {"below a file", "/file/x", "", "'bind'", -ENOTDIR, NULL},
        {"a target that can't be made", "/ro/x", "", "'bind'", -EROFS,
         "is missing in a mount below the rootfs, which is read-only"},
        {"a file's target that can't be made", "/ro/x", "file", "'bind'", -EROFS,
         "is missing in a mount below the rootfs, which is read-only"},
    };
    make_image();
    image_directory("data", 0755);
    image_file("file", "x");
    image_directory("ro", 0755);
    REQUIRE(mount("ro", image("ro"), "tmpfs", MS_RDONLY, NULL) == 0);
    make_file(in_work("from/file"), "x");
    make_directory(in_work("from/mount"), 0755);
    REQUIRE(mount("mount", in_work("from/mount"), "tmpfs", 0, NULL) == 0);
    REQUIRE(symlink("nowhere", in_work("from/dangling")) == 0 && symlink("loop", in_work("from/loop")) == 0);
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        if (strcmp(list[i].source, "mount") ==
            0) /* This works only in this namespace, because a copy of it has no unbindable mounts. */
            spec_set(spec, "linux.rootfsPropagation", "'runbindable'");
        spec_add(spec, "mounts", "{'destination': '%s', 'type': 'bind', 'source': '%s/from/%s', 'options': [%s]}",
                 list[i].destination, work, list[i].source, list[i].options);
        run_refused(list[i].what, plan_of(spec), NULL,
                    &(struct expected){.code = list[i].code,
                                       .stage = RFS_STAGE_MOUNTS,
                                       .object = RFS_OBJECT_MOUNT,
                                       .index = 0,
                                       .says = "mounts[0]",
                                       .says_too = list[i].says,
                                       .path = list[i].destination});
    }
    CHECK(access(image("new"), F_OK) == -1); /* The library looks at the source first. */
}

/* The container has a user namespace, in which the flags of the mounts outside are locked: mount_namespaces(7). */

struct in_namespace {
    const rfs_plan *plan;
    void (*inside)(void *);
    void *data;
    const char *what;
    const struct expected *expected;
    bool recursive; /* see run_recursive() */
};

static void user_namespace(void *data)
{
    const struct in_namespace *n = data;
    enter_user_namespace();
    if (n->expected)
        run_refused(n->what, n->plan, NULL, n->expected);
    else if (n->recursive)
        run_recursive(n->plan, 0, n->inside, n->data);
    else
        run_container(n->plan, NULL, n->inside, n->data);
}

static void mount_source(const char *name, unsigned long flags)
{
    make_directory(in_work("%s", name), 0755);
    REQUIRE(mount(name, in_work("%s", name), "tmpfs", flags & ~(unsigned long)MS_RDONLY, "mode=755") == 0);
    make_file(in_work("%s/file", name), "x");
    REQUIRE(mount(NULL, in_work("%s", name), NULL, MS_REMOUNT | MS_BIND | flags, NULL) == 0);
}

static void mount_sources(void)
{
    mount_source("locked", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME);
    mount_source("noexec", MS_NOEXEC | MS_NOSUID);
    mount_source("strict", MS_NOSUID | MS_STRICTATIME);
    mount_source("nodiratime", MS_NODEV | MS_NODIRATIME);
    mount_source("nosymfollow", MS_NOSUID | MS_NOSYMFOLLOW);
    mount_source("atime", MS_NOATIME);
    mount_source("bare", 0);
}

struct locked {
    const char *source, *options;
    const char *flags; /* that it gets, */
    const char *says;  /* or the error */
};

static const struct locked locked[] = {
    /* Flags that are not mentioned stay as they are. */
    {"locked", "'bind'", "ro,nosuid,nodev,noatime", NULL},
    {"locked", "'rbind', 'rprivate'", "ro,nosuid,nodev,noatime", NULL},
    {"noexec", "'bind'", "rw,nosuid,noexec,relatime", NULL},
    /* Some flags are mentioned, and the rest is inherited. */
    {"locked", "'bind', 'ro'", "ro,nosuid,nodev,noatime", NULL},
    {"locked", "'bind', 'noexec'", "ro,nosuid,nodev,noexec,noatime", NULL},
    {"locked", "'bind', 'exec'", "ro,nosuid,nodev,noatime", NULL},
    {"locked", "'bind', 'nosymfollow'", "ro,nosuid,nodev,noatime,nosymfollow", NULL},
    {"noexec", "'bind', 'ro'", "ro,nosuid,noexec,relatime", NULL},
    {"noexec", "'bind', 'rw'", "rw,nosuid,noexec,relatime", NULL},
    {"noexec", "'bind', 'dev', 'ro'", "ro,nosuid,noexec,relatime", NULL},
    {"noexec", "'bind', 'suid', 'nosuid', 'ro'", "ro,nosuid,noexec,relatime", NULL}, /* the last one counts */
    /* the kernel has no lock for nosymfollow: what is asked for replaces it */
    {"nosymfollow", "'bind'", "rw,nosuid,relatime,nosymfollow", NULL},
    {"nosymfollow", "'bind', 'ro'", "ro,nosuid,relatime", NULL},
    {"nosymfollow", "'bind', 'ro', 'nosymfollow'", "ro,nosuid,relatime,nosymfollow", NULL},
    {"nosymfollow", "'bind', 'ro', 'symfollow'", "ro,nosuid,relatime", NULL},
    /* All flags are mentioned, so nothing is inherited. */
    {"locked", "'bind', 'ro', 'nosuid', 'nodev'", "ro,nosuid,nodev,noatime", NULL},
    {"bare", "'bind', 'ro', 'nodev'", "ro,nodev,relatime", NULL},
    {"bare", "'bind', 'rw', 'suid', 'dev', 'exec'", "rw,relatime", NULL},
    /* These ask for the same access times: */
    {"locked", "'bind', 'noatime'", "ro,nosuid,nodev,noatime", NULL},
    {"locked", "'bind', 'ro', 'nosuid', 'nodev', 'noatime'", "ro,nosuid,nodev,noatime", NULL},
    {"noexec", "'bind', 'relatime'", "rw,nosuid,noexec,relatime", NULL},
    {"strict", "'bind', 'strictatime'", "rw,nosuid", NULL},
    {"strict", "'bind', 'ro'", "ro,nosuid", NULL},
    {"nodiratime", "'bind', 'nodiratime', 'ro'", "ro,nodev,nodiratime,relatime", NULL},
    {"atime", "'bind', 'ro'", "ro,noatime", NULL},
    /* A mode of access times that is not named is kept, even if it is not locked. */
    {"atime", "'bind', 'atime'", "rw,noatime", NULL},
    /* These ask to clear a locked flag. */
    {"locked", "'bind', 'rw'", NULL, "can't clear options that are locked on the source: ro"},
    {"locked", "'bind', 'suid'", NULL, "can't clear options that are locked on the source: nosuid"},
    {"locked", "'bind', 'ro', 'dev'", NULL, "can't clear options that are locked on the source: nodev"},
    {"locked", "'bind', 'rw', 'suid', 'dev', 'exec'", NULL,
     "can't clear options that are locked on the source: ro,nosuid,nodev"},
    {"locked", "'bind', 'atime'", NULL, "can't clear options that are locked on the source: noatime"},
    {"noexec", "'bind', 'exec'", NULL, "can't clear options that are locked on the source: noexec"},
    {"nodiratime", "'bind', 'diratime'", NULL, "can't clear options that are locked on the source: nodiratime"},
    {"strict", "'bind', 'nostrictatime'", NULL, "can't clear options that are locked on the source: strictatime"},
    {"nosymfollow", "'bind', 'suid', 'symfollow'", NULL, "can't clear options that are locked on the source: nosuid"},
    {"noexec", "'bind', 'nosuid', 'suid'", NULL, "can't clear options that are locked on the source: nosuid"},
    /* These ask for other access times. */
    {"locked", "'bind', 'relatime'", NULL, "can't change the mode of access times, which is locked on the source: "
     "noatime"},
    {"locked", "'bind', 'ro', 'strictatime'", NULL, "can't change the mode of access times, which is locked on the "
     "source: noatime"},
    {"locked", "'bind', 'noatime', 'nodiratime'", NULL,
     "can't change the mode of access times, which is locked on the source: noatime"},
    {"atime", "'bind', 'relatime'", NULL, "can't change the mode of access times, which is locked on the source: "
     "noatime"},
    {"strict", "'bind', 'noatime'", NULL, "can't change the mode of access times, which is locked on the source: "
     "strictatime"},
    {"noexec", "'bind', 'noatime'", NULL, "can't change the mode of access times, which is locked on the source: "
     "relatime"},
};

static void inside_locked(void *data)
{
    (void)data;
    for (size_t i = 0; i < COUNT(locked); i++) {
        char pattern[200];
        if (!locked[i].flags)
            continue;
        snprintf(pattern, sizeof pattern, "/%zu / %s - tmpfs %s rw*", i, locked[i].flags, locked[i].source);
        if (!check_mount(pattern))
            note("... for options %s", locked[i].options);
    }
}

static void add_locked(json_object *spec, size_t i)
{
    spec_add(spec, "mounts", "{'destination': '/%zu', 'type': 'bind', 'source': '%s/%s', 'options': [%s]}", i, work,
             locked[i].source, locked[i].options);
}

static void locked_inherited(void)
{
    make_image();
    mount_sources();
    json_object *spec = empty_spec();
    for (size_t i = 0; i < COUNT(locked); i++)
        if (locked[i].flags)
            add_locked(spec, i);
    in_child(0, user_namespace, &(struct in_namespace){.plan = plan_of(spec), .inside = inside_locked});
}

static void locked_refused(void)
{
    make_image();
    mount_sources();
    for (size_t i = 0; i < COUNT(locked); i++) {
        if (!locked[i].says)
            continue;
        json_object *spec = empty_spec();
        add_locked(spec, i);
        const struct expected expected = {.code = -EPERM,
                                          .stage = RFS_STAGE_MOUNTS,
                                          .object = RFS_OBJECT_MOUNT,
                                          .index = 0,
                                          .says = "mounts[0]",
                                          .says_too = locked[i].says};
        in_child(0, user_namespace,
                 &(struct in_namespace){.plan = plan_of(spec), .what = locked[i].options, .expected = &expected});
    }
}

static int refuse_attributes(const struct seccomp_notif *call)
{
    struct mount_attr attributes;
    if (call->data.nr == SYS_mount)
        return call->data.args[3] & MS_REMOUNT ? EPERM : 0;
    read_argument(call, 3, &attributes, sizeof attributes);
    return attributes.attr_set | attributes.attr_clr ? EPERM : 0;
}

/* Refused with the locked flags added too, for a reason that is none of theirs. */
static void refused_again(void)
{
    make_image();
    mount_sources();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("locked", "/bound", "'bind', 'noexec'"));
    intervene((const int[]){SYS_mount_setattr, SYS_mount}, 2, refuse_attributes);
    static const struct expected expected = {.code = -EPERM,
                                             .stage = RFS_STAGE_MOUNTS,
                                             .object = RFS_OBJECT_MOUNT,
                                             .index = 0,
                                             .says = "mounts[0]",
                                             .says_too = "also with the source's locked attributes added"};
    run_refused("attributes that can't be changed", plan_of(spec), NULL, &expected);
}

static void inside_unlocked(void *data)
{
    (void)data;
    check_mount("/rw / rw,noatime - tmpfs locked rw*");
    check_mount("/relatime / rw,relatime - tmpfs locked rw*");
}

/* The same without a user namespace, so that no flag is locked. */
static void not_locked(void)
{
    make_image();
    mount_sources();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("locked", "/rw", "'bind', 'rw', 'suid'"));
    spec_add(spec, "mounts", BIND("locked", "/relatime", "'bind', 'relatime'"));
    run_container(plan_of(spec), NULL, inside_unlocked, NULL);
}

static void inside_locked_tree(void *data)
{
    (void)data;
    check_mount("/tree /tree rw,relatime - tmpfs test rw*");
    check_mount("/tree/sub / ro,nosuid,relatime - tmpfs below rw*");
    CHECK(umount2("/tree/sub", MNT_DETACH) == -1 && errno == EINVAL); /* The files below that mount stay covered. */
}

static void inside_locked_readonly_tree(void *data)
{
    (void)data;
    check_mount("/ro/sub / ro,nosuid,noexec,relatime - tmpfs below rw*");
}

/* Mounts that are locked over what they cover: bound alone, a directory would show it. */
static void locked_tree(void)
{
    make_image();
    make_file(in_work("tree/sub/secret"), "x");
    REQUIRE(mount("below", in_work("tree/sub"), "tmpfs", MS_NOSUID, NULL) == 0);
    REQUIRE(mount(NULL, in_work("tree/sub"), NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_RDONLY, NULL) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("tree", "/tree", "'rbind'"));
    spec_add(spec, "mounts", DEV_TMPFS); /* Devices are bound, and the image stays as it is. */
    in_child(0, user_namespace, &(struct in_namespace){.plan = plan_of(spec), .inside = inside_locked_tree});
    spec = empty_spec();
    spec_add(spec, "mounts", BIND("tree", "/ro", "'rbind', 'rro', 'rnoexec'"));
    spec_add(spec, "mounts", DEV_TMPFS);
    in_child(0, user_namespace,
             &(struct in_namespace){.plan = plan_of(spec), .inside = inside_locked_readonly_tree, .recursive = true});
    struct expected expected = {
        .code = -EINVAL, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT, .index = 0, .says = "rbind"};
    spec = empty_spec();
    spec_add(spec, "mounts", BIND("tree", "/tree", "'bind'"));
    in_child(
        0, user_namespace,
        &(struct in_namespace){.plan = plan_of(spec), .what = "a bind that is not recursive", .expected = &expected});
    expected.code = has_mount_setattr() ? -EPERM : -ENOSYS;
    expected.says = "mount_setattr";
    expected.says_too = has_mount_setattr() ? "may be locked" : "of Linux 5.12";
    spec = empty_spec();
    spec_add(spec, "mounts", BIND("tree", "/tree", "'rbind', 'rsuid'"));
    in_child(0, user_namespace,
             &(struct in_namespace){
                 .plan = plan_of(spec), .what = "rsuid, where nosuid is locked below", .expected = &expected});
}

static void inside_bound_proc(void *data)
{
    CHECK(strcmp(data, "with the warning") != 0 || access("/proc/kernel/hostname", F_OK) == 0);
}

static void inside_warned(void *data)
{
    CHECK_THAT(strstr(logged_warnings,
                      "mounts[0]: \"/proc/sys\", which is bound on /proc, is in a procfs but is not its root"),
               "warnings: %s", logged_warnings);
    inside_bound_proc(data);
}

static void inside_unwarned(void *data)
{
    CHECK_THAT(!*logged_warnings, "warnings: %s", logged_warnings);
    inside_bound_proc(data);
}

static void procfs_on_proc(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'bind', 'source': '/proc/sys', 'options': ['bind']}");
    run_container(plan_of(spec), &with_warnings, inside_warned, (void *)(uintptr_t)"with the warning");
    spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'bind', 'source': '/proc', 'options': ['rbind']}");
    run_container(plan_of(spec), &with_warnings, inside_unwarned, (void *)(uintptr_t)"without");
    static const struct expected expected = {.code = -EINVAL,
                                             .stage = RFS_STAGE_MOUNTS,
                                             .object = RFS_OBJECT_MOUNT,
                                             .index = 0,
                                             .says = "only a proc file system, new or bound, may be mounted on /proc"};
    spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'bind', 'source': '/sys', 'options': ['rbind']}");
    run_refused("sysfs on /proc", plan_of(spec), NULL, &expected);
    make_directory(in_work("fake/self"), 0755);
    spec = empty_spec();
    spec_add(spec, "mounts", BIND("fake", "/proc", "'bind'"));
    run_refused("a directory on /proc", plan_of(spec), NULL, &expected);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"sources: file, directory, socket, fifo, devices, links, namespace", kinds},
        {"source: a link in /proc", namespace_file},
        {"targets: links, nested, twice", targets},
        {"sources and targets that are refused", refused},
        {"locked flags are inherited", locked_inherited},
        {"locked flags can't be cleared, locked access times not changed", locked_refused},
        {"flags refused with those that are locked, too", refused_again},
        {"without a user namespace nothing is locked", not_locked},
        {"locked mounts below the source", locked_tree},
        {"procfs on /proc, its root or not; what is none", procfs_on_proc},
    };
    return run_cases(cases, COUNT(cases));
}
