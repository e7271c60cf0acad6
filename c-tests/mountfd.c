/* rfs_mountfd_open() and rfs_plan_mountfd_needed(): what the host's side opens for a container.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "descriptors.h"
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void have_image(void)
{
    if (access(image("bin"), F_OK) != 0)
        make_image();
}

/* A plan of one bind of work/`source`, with these options and what else is in the JSON. */
static rfs_plan *plan_of_bind(const char *source, const char *options, const char *more)
{
    have_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/target', 'type': 'bind', 'source': '%s/%s', 'options': [%s]%s}", work,
             source, options, more);
    return plan_of(spec);
}

/* If the host's side can't open it, the error must say why, and the case ends. */
static int opened(const rfs_plan *plan, size_t index, int userns)
{
    rfs_error err = fresh_error();
    int fd = rfs_mountfd_open(plan, index, userns, -1, &err);
    struct lacking lacking = lacking_on_host();
    if (lacking.call) {
        CHECK_ERROR(fd, &err, .code = lacking.code, .stage = RFS_STAGE_MOUNTFD, .says = lacking.call);
        end_case();
    }
    REQUIRE_THAT(fd >= 0, "rfs_mountfd_open: %d: %.1024s", fd, err.message);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    return fd;
}

/* Opens it, and attaches it at work/at. */
static int open_and_attach(const rfs_plan *plan, int userns)
{
    int fd = opened(plan, 0, userns);
    make_directory(in_work("at"), 0755);
    attach(fd, in_work("at"));
    return fd;
}

#define AT in_work("at")

static void own_mappings(void)
{
    make_source("source");
    int fd = open_and_attach(plan_of_bind("source", "'bind'", MAPPED), -1);
    CHECK_OWNER(fd, "file", 100007, 100008);
    create_as(100005, 100006, fd, "new");
    CHECK_OWNER(fd, "new", 100005, 100006);
    CHECK_OWNER(AT_FDCWD, in_work("source/new"), 5, 6);
    CHECK_OWNER(AT_FDCWD, in_work("source/file"), 7, 8);
    check_mount(in_work("at /source rw,relatime,idmapped - * rw*"));
}

static void containers_mappings(void)
{
    make_source("source");
    json_object *spec = empty_spec();
    have_image();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    spec_add(spec, "mounts",
             "{'destination': '/target', 'type': 'bind', 'source': '%s/source', 'options': ['bind', 'idmap']}", work);
    rfs_plan *plan = plan_of(spec);
    int userns = user_namespace_from(200000);
    int fd = open_and_attach(plan, userns);
    CHECK_OWNER(fd, "file", 200007, 200008);
    CHECK(fcntl(userns, F_GETFD) == FD_CLOEXEC);
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                .object = RFS_OBJECT_MOUNT, .says = "mounts[0] (/target)", .says_too = "userns_fd");
    CHECK_ERROR(rfs_mountfd_open(plan, 0, 900, -1, &err), &err, .code = -EBADF, .stage = RFS_STAGE_MOUNTFD,
                .says = "userns_fd 900");
    CHECK_ERROR(rfs_mountfd_open(plan, 0, -2, -1, &err), &err, .code = -EBADF, .says = "userns_fd -2");
    CHECK_ERROR(rfs_mountfd_open(plan, 0, host_proc, -1, &err), &err, .code = -EINVAL, .says = "no user namespace");
    int own = openat(host_proc, "self/ns/user", O_RDONLY | O_CLOEXEC);
    CHECK_ERROR(rfs_mountfd_open(plan, 0, own, -1, &err), &err, .stage = RFS_STAGE_MOUNTFD,
                .says = "mount_setattr idmap");
    int other = openat(host_proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
    CHECK_ERROR(rfs_mountfd_open(plan, 0, other, -1, &err), &err, .code = -EINVAL, .says = "no user namespace");
}

/* A namespace whose mappings were not written yet maps nothing. */
static void unwritten_mappings(void)
{
    make_source("source");
    have_image();
    json_object *spec = empty_spec();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    spec_add(spec, "mounts",
             "{'destination': '/target', 'type': 'bind', 'source': '%s/source', 'options': ['bind', 'idmap']}", work);
    rfs_plan *plan = plan_of(spec);
    struct lacking lacking = lacking_on_host();
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0)
        for (;;)
            pause();
    char path[64];
    snprintf(path, sizeof path, "%d/ns/user", pid);
    int userns = openat(host_proc, path, O_RDONLY | O_CLOEXEC);
    rfs_error err = fresh_error();
    int rc = rfs_mountfd_open(plan, 0, userns, -1, &err);
    if (rc < 0)
        CHECK_ERROR(rc, &err, .stage = RFS_STAGE_MOUNTFD, .says = lacking.call ? lacking.call : "mapping");
    else
        CHECK_OWNER(rc, "file", 65534, 65534);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void recursion(void)
{
    static const struct {
        const char *options;
        bool below, below_mapped;
    } kinds[] = {
        {"'bind', 'idmap'", false, false},
        {"'rbind'", true, false},
        {"'rbind', 'idmap'", true, false},
        {"'rbind', 'ridmap'", true, true},
    };
    make_source("source");
    for (size_t i = 0; i < COUNT(kinds); i++) {
        note("%s", kinds[i].options);
        int fd = open_and_attach(plan_of_bind("source", kinds[i].options, MAPPED), -1);
        CHECK_OWNER(fd, "file", 100007, 100008);
        if (!kinds[i].below)
            CHECK(faccessat(fd, "below/file", F_OK, 0) != 0);
        else if (kinds[i].below_mapped)
            CHECK_OWNER(fd, "below/file", 100009, 100010);
        else
            CHECK_OWNER(fd, "below/file", 9, 10);
        close(fd);
        REQUIRE(umount2(AT, MNT_DETACH) == 0);
    }
}

static void attributes(void)
{
    make_source("source");
    rfs_plan *plan = plan_of_bind("source", "'rbind', 'ro', 'nosuid', 'rnoexec', 'noatime'", MAPPED);
    close(open_and_attach(plan, -1));
    check_mount(in_work("at /source ro,nosuid,noexec,noatime,idmapped - * rw*"));
    check_mount(in_work("at/below / rw,noexec,relatime - * rw*"));
    check_mount(in_work("source/below / rw,relatime - * rw*"));
    umount2(AT, MNT_DETACH);
    /* The plan asks for no flag, so the flags of the source stay. */
    REQUIRE(mount(NULL, in_work("source/below"), NULL, MS_REMOUNT | MS_BIND | MS_NODEV | MS_RDONLY, NULL) == 0);
    close(open_and_attach(plan_of_bind("source/below", "'bind'", ""), -1));
    check_mount(in_work("at / ro,nodev,relatime - * rw*"));
}

static void propagation(void)
{
    static const struct {
        const char *root, *tags;
    } kinds[] = {
        {NULL, " master"}, {"rslave", " master"}, {"slave", " shared"}, {"rprivate", ""}, {"rshared", " shared"},
         {"runbindable", " unbindable"},
    };
    make_source("source");
    REQUIRE(mount(NULL, in_work("source/below"), NULL, MS_SHARED, NULL) == 0);
    for (int user_namespace = 0; user_namespace < 2; user_namespace++)
        for (size_t i = 0; i < COUNT(kinds); i++) {
            note("rootfsPropagation %s, user namespace: %d", kinds[i].root, user_namespace);
            have_image();
            json_object *spec = empty_spec();
            char quoted[64];
            snprintf(quoted, sizeof quoted, "'%s'", kinds[i].root);
            if (kinds[i].root)
                spec_set(spec, "linux.rootfsPropagation", quoted);
            if (user_namespace)
                spec_add(spec, "linux.namespaces", "{'type': 'user'}");
            spec_add(spec, "mounts",
                     "{'destination': '/target', 'type': 'bind', 'source': '%s/source/below', 'options': ['bind']}",
                     work);
            close(open_and_attach(plan_of(spec), -1));
            const char *tags = kinds[i].tags;
            if (user_namespace && strcmp(tags, " shared") == 0)
                tags = kinds[i].root[0] == 'r' ? " shared master" : " master";
            check_mount(in_work("at / rw,relatime%s - * rw*", tags));
            umount2(AT, MNT_DETACH);
        }
}

static void different_mappings(void)
{
    make_source("source");
    have_image();
    json_object *spec = empty_spec();
    for (int i = 0; i < 2; i++)
        spec_add(spec, "mounts",
                 "{'destination': '/target%d', 'type': 'bind', 'source': '%s/source', 'options': ['bind'], "
                 "'uidMappings': [{'containerID': 0, 'hostID': %d, 'size': 8}, {'containerID': 100, 'hostID': 1, "
                 "'size': 1}], "
                 "'gidMappings': [{'containerID': 0, 'hostID': %d, 'size': 100}]}",
                 i, work, 1000 + 1000 * i, 5000 + 1000 * i);
    rfs_plan *plan = plan_of(spec);
    for (int i = 0; i < 2; i++) {
        int fd = opened(plan, (size_t)i, -1);
        CHECK_OWNER(fd, "file", (uid_t)(1007 + 1000 * i), (gid_t)(5008 + 1000 * i));
        REQUIRE(chown(in_work("source/file"), 100, 200) == 0);
        CHECK_OWNER(fd, "file", 1, 65534);
        REQUIRE(chown(in_work("source/file"), 7, 8) == 0);
        close(fd);
    }
}

/* Many ranges, and more than the kernel takes in one write. */
static void many_ranges(void)
{
    make_source("source");
    static const struct {
        unsigned ranges, first;
        int code;
    } kinds[] = {{340, 1, 0}, {340, 4000000000u, -EINVAL}};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        have_image();
        json_object *spec = empty_spec();
        spec_add(spec, "mounts",
                 "{'destination': '/target', 'type': 'bind', 'source': '%s/source', 'options': ['bind']}", work);
        json_object *mount = json_object_array_get_idx(json_object_object_get(spec, "mounts"), 0);
        json_object *list = json_object_new_array();
        for (unsigned i = 0; i < kinds[k].ranges; i++) {
            json_object *range = json_object_new_object();
            json_object_object_add(range, "containerID", json_object_new_int64(i));
            json_object_object_add(range, "hostID", json_object_new_int64((int64_t)kinds[k].first + 2 * i));
            json_object_object_add(range, "size", json_object_new_int64(1));
            json_object_array_add(list, range);
        }
        json_object_object_add(mount, "uidMappings", list);
        json_object_object_add(mount, "gidMappings", json_object_get(list));
        rfs_plan *plan = plan_of(spec);
        rfs_error err = fresh_error();
        if (kinds[k].code)
            CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, -1, &err), &err, .code = kinds[k].code,
                        .stage = RFS_STAGE_MOUNTFD, .says = "uid_map", .says_too = "fewer ranges");
        else
            CHECK_OWNER(opened(plan, 0, -1), "file", 15, 17);
    }
}

static void file_systems(void)
{
    static const char *const types[] = {"ext4", "xfs", "btrfs"};
    for (size_t i = 0; i < COUNT(types); i++) {
        note("%s", types[i]);
        make_directory(in_work("%s", types[i]), 0755);
        mount_image(types[i], in_work("%s", types[i]));
        make_file(in_work("%s/file", types[i]), "x");
        REQUIRE(chown(in_work("%s/file", types[i]), 7, 8) == 0);
        int fd = open_and_attach(plan_of_bind(types[i], "'bind'", MAPPED), -1);
        CHECK_OWNER(fd, "file", 100007, 100008);
        REQUIRE(fchmod(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0777) == 0);
        create_as(100020, 100021, fd, "new");
        CHECK_OWNER(AT_FDCWD, in_work("%s/new", types[i]), 20, 21);
        REQUIRE(umount2(AT, MNT_DETACH) == 0);
    }
}

static void without_support(void)
{
    static const struct {
        const char *type, *name;
    } kinds[] = {{"proc", "proc"}, {"sysfs", "sysfs"}, {"mqueue", "mqueue"}};
    rfs_error err = fresh_error();
    for (size_t i = 0; i < COUNT(kinds); i++) {
        make_directory(in_work("%s", kinds[i].type), 0755);
        REQUIRE(mount("x", in_work("%s", kinds[i].type), kinds[i].type, 0, NULL) == 0);
        rfs_plan *plan = plan_of_bind(kinds[i].type, "'bind'", MAPPED);
        if (lacking_on_host().call)
            opened(plan, 0, -1);
        CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                    .object = RFS_OBJECT_MOUNT, .says = kinds[i].name, .says_too = "does not support idmapped");
    }
    /* Only the mount below is idmapped. */
    make_source("source");
    REQUIRE(mount("x", in_work("source/below"), "proc", 0, NULL) == 0);
    close(opened(plan_of_bind("source", "'rbind', 'idmap'", MAPPED), 0, -1));
    CHECK_ERROR(rfs_mountfd_open(plan_of_bind("source", "'rbind', 'ridmap'", MAPPED), 0, -1, -1, &err), &err,
                .code = -EINVAL, .says = "or one mounted below it");
}

static void refused(void)
{
    have_image();
    make_directory(in_work("there"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/a', 'type': 'tmpfs'}");
    spec_add(spec, "mounts", "{'destination': '/b', 'type': 'bind', 'source': '%s/missing', 'options': ['bind']}",
             work);
    spec_add(spec, "mounts",
             "{'destination': '/c', 'type': 'bind', 'source': '%s/there', 'options': ['bind']" MAPPED "}", work);
    spec_add(spec, "mounts", "{'destination': '/d', 'type': 'cgroup'}");
    rfs_config *config = config_from_json(spec);
    rfs_mount by_descriptor = {.size = sizeof by_descriptor,
                               .flags = RFS_MOUNT_SOURCE_FD,
                               .destination = "/e",
                               .type = "bind",
                               .source_fd = 900};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_add_mount(config, &by_descriptor, &err), &err);
    rfs_plan *plan = plan_of_config(config);
    static const int needed[] = {RFS_MOUNTFD_NEVER, RFS_MOUNTFD_POSSIBLY, RFS_MOUNTFD_CERTAINLY, RFS_MOUNTFD_NEVER,
                                 RFS_MOUNTFD_NEVER};
    for (size_t i = 0; i < COUNT(needed); i++)
        CHECK_THAT(rfs_plan_mountfd_needed(plan, i) == needed[i], "mount %zu: %d", i, rfs_plan_mountfd_needed(plan, i));
    CHECK(rfs_plan_mountfd_needed(plan, COUNT(needed)) == -EINVAL);
    CHECK(rfs_plan_mountfd_needed(plan, SIZE_MAX - 1) == -EINVAL);
    CHECK(rfs_plan_mountfd_needed(plan, RFS_MOUNTFD_ROOTFS) == RFS_MOUNTFD_POSSIBLY);
    CHECK(rfs_plan_mountfd_needed(NULL, 0) == -EINVAL);
    CHECK_ERROR(rfs_mountfd_open(NULL, 0, -1, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                .says = "plan is NULL");
    CHECK_ERROR(rfs_mountfd_open(plan, 5, -1, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                .says = "5 mounts");
    CHECK_ERROR(rfs_mountfd_open(plan, 4, -1, -1, &err), &err, .code = -EBADF, .object = RFS_OBJECT_MOUNT, .index = 4,
                .says = "source_fd 900 is not open");
    bool opens = !is_refused(syscall(SYS_open_tree, -1, "", 0));
    CHECK_ERROR(rfs_mountfd_open(plan, 1, -1, -1, &err), &err, .code = opens ? -ENOENT : -errno,
                .stage = RFS_STAGE_MOUNTFD, .object = RFS_OBJECT_MOUNT, .index = 1,
                .says = opens ? "does not exist on the host" : "open_tree", .path = "/b");
}

/* The explicit mappings of an option, and relative ones. */
static void option(void)
{
    make_source("source");
    have_image();
    json_object *spec = empty_spec();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    spec_set(spec, "linux.uidMappings",
             "[{'containerID': 0, 'hostID': 300000, 'size': 10}, {'containerID': 10, 'hostID': 400000, 'size': 10}]");
    spec_set(spec, "linux.gidMappings", "[{'containerID': 0, 'hostID': 500000, 'size': 100}]");
    static const struct {
        const char *option;
        uid_t uid;
        gid_t gid;
    } kinds[] = {
        {"idmap=uids=0-1-1#7-70-1;gids=0-1000-10", 70, 1008},
        {"idmap=uids=@7-12-1;gids=@8-3-1", 400002, 500003},
        {"idmap=uids=@7-0-1", 300000, 500008},
        {"idmap=gids=8-1-1", 300007, 1},
        {"ridmap=uids=0-0-100;gids=0-0-100", 7, 8},
    };
    for (size_t i = 0; i < COUNT(kinds); i++)
        spec_add(spec, "mounts",
                 "{'destination': '/%zu', 'type': 'bind', 'source': '%s/source', 'options': ['rbind', '%s']}", i, work,
                 kinds[i].option);
    rfs_plan *plan = plan_of(spec);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        note("%s", kinds[i].option);
        CHECK(rfs_plan_mountfd_needed(plan, i) == RFS_MOUNTFD_CERTAINLY);
        int fd = opened(plan, i, -1);
        CHECK_OWNER(fd, "file", kinds[i].uid, kinds[i].gid);
        close(fd);
    }
}

/* New file systems can be idmapped too. */
static void new_file_systems(void)
{
    have_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts",
             "{'destination': '/a', 'type': 'tmpfs', 'options': ['mode=1777', 'nosuid', 'rnodev']" MAPPED "}");
    spec_add(spec, "mounts", "{'destination': '/b', 'type': 'devpts', 'source': 'x'" MAPPED "}");
    rfs_plan *plan = plan_of(spec);
    CHECK(rfs_plan_mountfd_needed(plan, 0) == RFS_MOUNTFD_CERTAINLY);
    rfs_error err = fresh_error();
    if (!lacking_on_host().call && !can_be_idmapped(work)) {
        CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, -1, &err), &err, .code = -EINVAL, .object = RFS_OBJECT_MOUNT,
                    .says = "(tmpfs) does not support idmapped");
    } else {
        int fd = open_and_attach(plan, -1);
        CHECK_OWNER(fd, ".", 100000, 100000);
        create_as(100003, 100004, fd, "new");
        check_mount(in_work("at / rw,nosuid,nodev,relatime,idmapped - tmpfs none rw*"));
    }
    CHECK_ERROR(rfs_mountfd_open(plan, 1, -1, -1, &err), &err, .code = -EINVAL, .object = RFS_OBJECT_MOUNT, .index = 1,
                .says = "devpts");
}

static void inside_overlay(void *data)
{
    (void)data;
    CHECK_OWNER(AT_FDCWD, "/merged/file", 100007, 100008);
    CHECK(chmod("/merged/file", 0600) == 0);
}

/* Layers of images, which a container engine has idmapped. */
static void overlay(void)
{
    make_source("source");
    open_and_attach(plan_of_bind("source", "'bind'", MAPPED), -1);
    make_directory(in_work("upper"), 0755);
    make_directory(in_work("work"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts",
             "{'destination': '/merged', 'type': 'overlay', 'source': 'overlay', 'options': ['lowerdir=%s/at', "
             "'upperdir=%s/upper', 'workdir=%s/work']}",
             work, work, work);
    run_container(plan_of(spec), NULL, inside_overlay, NULL);
    CHECK_OWNER(AT_FDCWD, in_work("upper/file"), 100007, 100008);
    CHECK_OWNER(AT_FDCWD, in_work("source/file"), 7, 8);
}

static rfs_plan *plan_with_rootfs(const char *idmap)
{
    rfs_config *config = config_from_json(empty_spec());
    rfs_options options = {.size = sizeof options, .rootfs_idmap = idmap};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    return plan_of_config(config);
}

static void rootfs(void)
{
    mount_idmappable(work);
    have_image();
    image_file("file", "x");
    REQUIRE(chown(image("file"), 7, 8) == 0);
    image_directory("below", 0755);
    mount_idmappable(image("below"));
    image_file("below/file", "x");
    for (int recursive = 0; recursive < 2; recursive++) {
        rfs_plan *plan = plan_with_rootfs(recursive ? "ridmap=uids=0-100000-10;gids=0-200000-10"
                                                    : "idmap=uids=0-100000-10;gids=0-200000-10");
        CHECK(rfs_plan_mountfd_needed(plan, RFS_MOUNTFD_ROOTFS) == RFS_MOUNTFD_CERTAINLY);
        int fd = opened(plan, RFS_MOUNTFD_ROOTFS, -1);
        CHECK_OWNER(fd, "file", 100007, 200008);
        CHECK_OWNER(fd, "below/file", recursive ? 100000 : 0, recursive ? 200000 : 0);
        close(fd);
    }
    rfs_error err = fresh_error();
    static const char *const wrong[] = {"", "yes", "idmap", "idmap=", "idmap=uids=0-0-1"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        rfs_config *config = config_from_json(empty_spec());
        rfs_options options = {.size = sizeof options, .rootfs_idmap = wrong[i]};
        rfs_plan *plan;
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        CHECK_ERROR(rfs_plan_new(config, &plan, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_PLAN,
                    .says = "rootfs_idmap");
        rfs_config_free(config);
    }
}

static void without_privilege(void *data)
{
    rfs_error err = fresh_error();
    /* This process may clone mounts, but it may not map ids. */
    REQUIRE(prctl(PR_SET_KEEPCAPS, 1) == 0);
    REQUIRE(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
    CHECK_ERROR(rfs_mountfd_open(data, 0, -1, -1, &err), &err, .code = -EPERM, .stage = RFS_STAGE_MOUNTFD,
                .says = "CAP_SYS_ADMIN");
}

static void inside_a_user_namespace(void *data)
{
    rfs_error err = fresh_error();
    /* the child's own mount namespace, of another user namespace: no ids are mapped to make one from */
    CHECK_ERROR(rfs_mountfd_open(data, 0, -1, -1, &err), &err, .code = -EPERM, .stage = RFS_STAGE_MOUNTFD,
                .says = "mounts[0]");
}

static void privilege(void)
{
    make_directory(in_work("source"), 0755);
    rfs_plan *plan = plan_of_bind("source", "'bind'", MAPPED);
    if (lacking_on_host().call)
        opened(plan, 0, -1);
    in_child(0, without_privilege, plan);
    in_child(CLONE_NEWUSER | CLONE_NEWNS, inside_a_user_namespace, plan);
}

/* The process that makes a user namespace is nobody's business. */

static volatile sig_atomic_t children;

static void on_child(int signal)
{
    (void)signal;
    children++;
}

static const rfs_plan *shared_plan;
static pthread_barrier_t barrier;

static void *open_in_thread(void *data)
{
    (void)data;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 25; i++) {
        rfs_error err = {.size = sizeof err};
        int fd = rfs_mountfd_open(shared_plan, 0, -1, -1, &err);
        struct stat st;
        if (fd < 0 || fstatat(fd, "file", &st, 0) != 0 || st.st_uid != 100007)
            return (void *)1;
        close(fd);
        free(malloc(1000));
    }
    return NULL;
}

static void threads(void)
{
    make_source("source");
    shared_plan = plan_of_bind("source", "'bind'", MAPPED);
    struct sigaction action = {.sa_handler = on_child};
    REQUIRE(sigaction(SIGCHLD, &action, NULL) == 0);
    static struct descriptors before, after;
    close(opened(shared_plan, 0, -1));
    list_descriptors(&before);
    pthread_t ids[4];
    pthread_barrier_init(&barrier, NULL, COUNT(ids));
    for (size_t i = 0; i < COUNT(ids); i++)
        REQUIRE(pthread_create(&ids[i], NULL, open_in_thread, NULL) == 0);
    for (size_t i = 0; i < COUNT(ids); i++) {
        void *failed;
        CHECK(pthread_join(ids[i], &failed) == 0 && !failed);
    }
    list_descriptors(&after);
    check_descriptors(&before, &after, "after 100 mounts");
    CHECK_THAT(children == 0, "%d times SIGCHLD", (int)children);
    siginfo_t info = {0};
    CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == -1 && errno == ECHILD);
    sigset_t mask;
    CHECK(sigprocmask(SIG_BLOCK, NULL, &mask) == 0 && !sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGCHLD));
    /* The same holds where the kernel reaps children by itself. */
    signal(SIGCHLD, SIG_IGN);
    close(opened(shared_plan, 0, -1));
    CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == -1 && errno == ECHILD);
}

/* /proc is of a pid namespace above this process's own. */
static void below_another_pid_namespace(void *data)
{
    int fd = opened(data, 0, -1);
    CHECK_OWNER(fd, "file", 100007, 100008);
}

static void pid_namespace(void)
{
    make_source("source");
    in_child(CLONE_NEWPID, below_another_pid_namespace, plan_of_bind("source", "'bind'", MAPPED));
}

static bool fails(const rfs_plan *plan, int userns, int code)
{
    int fd = rfs_mountfd_open(plan, 0, userns, -1, NULL);
    return lacking_on_host().call ? fd < 0 : fd == code;
}

static void failures_leak_nothing(void)
{
    make_source("source");
    rfs_plan *plan = plan_of_bind("source", "'bind'", MAPPED);
    rfs_plan *bad = plan_of_bind("missing", "'bind'", MAPPED);
    REQUIRE(mount("x", in_work("source/below"), "proc", 0, NULL) == 0);
    rfs_plan *unsupported = plan_of_bind("source", "'rbind', 'ridmap'", MAPPED);
    static struct descriptors before, after;
    list_descriptors(&before);
    for (int i = 0; i < 20; i++) {
        CHECK(fails(bad, -1, -ENOENT));
        CHECK(fails(unsupported, -1, -EINVAL));
        CHECK(fails(plan, 800, -EBADF));
        int fd = rfs_mountfd_open(plan, 0, -1, -1, NULL);
        CHECK((fd >= 0) == !lacking_on_host().call);
        close(fd);
    }
    list_descriptors(&after);
    check_descriptors(&before, &after, "after failures");
}

int main(void)
{
    static const struct test_case cases[] = {
        {"own mappings, inside and outside", own_mappings},
        {"the container's user namespace", containers_mappings},
        {"a user namespace without mappings", unwritten_mappings},
        {"bind, rbind, idmap, ridmap", recursion},
        {"flags", attributes},
        {"propagation", propagation},
        {"two mounts with different mappings", different_mappings},
        {"many ranges", many_ranges},
        {"ext4, xfs, btrfs", file_systems},
        {"file systems without support", without_support},
        {"what is not opened", refused},
        {"idmap=uids=...;gids=...", option},
        {"new file systems", new_file_systems},
        {"overlay with an idmapped lower layer", overlay},
        {"the rootfs", rootfs},
        {"without privilege", privilege},
        {"threads, SIGCHLD and wait", threads},
        {"/proc of another pid namespace", pid_namespace},
        {"failures leak nothing", failures_leak_nothing},
    };
    return run_cases(cases, COUNT(cases));
}
