/* What a runtime asks of the interface beyond the ordinary start: rfs_attach(), mounts from the host's side,
 * descriptors from before the fork, and options for runtimes that order things themselves.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "filter.h"
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A container that stays until the other end of a pipe is closed. */
struct running {
    rfs_container *container;
    int ready[2], stop[2];
};

static void stay(void *data)
{
    struct running *r = data;
    char byte;
    close(r->ready[0]);
    close(r->stop[1]);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(r->container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(r->container, &err), &err);
    REQUIRE(write(r->ready[1], "", 1) == 1);
    CHECK(read(r->stop[0], &byte, 1) == 0);
}

static pid_t start_in(struct running *r, const rfs_plan *plan, unsigned long namespaces, int *userns)
{
    char byte;
    r->container = container_of(plan);
    REQUIRE(pipe2(r->ready, O_CLOEXEC) == 0 && pipe2(r->stop, O_CLOEXEC) == 0);
    pid_t pid = start_child(namespaces, stay, r, userns);
    close(r->ready[1]);
    close(r->stop[0]);
    REQUIRE(read(r->ready[0], &byte, 1) == 1);
    return pid;
}

static pid_t start(struct running *r, const rfs_plan *plan)
{
    return start_in(r, plan, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC, NULL);
}

/* Whether the host's side opens mounts here; if not, it says why. */
static bool host_opens(const rfs_plan *plan, uint64_t index)
{
    struct lacking lacking = lacking_on_host();
    rfs_error err = fresh_error();
    if (lacking.call)
        CHECK_ERROR(rfs_mountfd_open(plan, index, -1, -1, &err), &err, .code = lacking.code, .says = lacking.call);
    return !lacking.call;
}

struct joining {
    const rfs_plan *plan;
    int userns, pidns, mntns, fds[10];
};

enum { DIRECTORY, A_FILE, A_TMPFS, REMOUNT, BELOW_A_LINK, ON_ROOT, ON_PROC };

static void join_and_attach(void *data)
{
    const struct joining *j = data;
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_attach(j->plan, DIRECTORY, j->fds[DIRECTORY], &err), &err, .code = -EINVAL,
                .stage = RFS_STAGE_MOUNTS, .says = "in which the plan was made");
    REQUIRE(setns(j->mntns, CLONE_NEWNS) == 0);
    int attached = open("/", O_PATH | O_CLOEXEC), plain = open("/etc", O_PATH | O_CLOEXEC);
    REQUIRE(attached >= 0 && plain >= 0);
    CHECK_ERROR(rfs_attach(j->plan, DIRECTORY, attached, &err), &err, .code = -EINVAL, .object = RFS_OBJECT_MOUNT,
                .says = "not a detached mount");
    CHECK_ERROR(rfs_attach(j->plan, DIRECTORY, plain, &err), &err, .code = -EINVAL, .says = "not a detached mount");
    CHECK_ERROR(rfs_attach(j->plan, DIRECTORY, 900, &err), &err, .code = -EBADF, .says = "mountfd 900 is not open");
    CHECK_ERROR(rfs_attach(j->plan, DIRECTORY, -1, &err), &err, .code = -EBADF);
    CHECK_ERROR(rfs_attach(j->plan, 7, j->fds[DIRECTORY], &err), &err, .code = -EINVAL, .says = "7 mounts");
    CHECK_ERROR(rfs_attach(j->plan, RFS_MOUNTFD_ROOTFS, j->fds[DIRECTORY], &err), &err, .code = -EINVAL);
    CHECK_ERROR(rfs_attach(j->plan, REMOUNT, j->fds[DIRECTORY], &err), &err, .code = -EINVAL, .index = REMOUNT,
                .object = RFS_OBJECT_MOUNT, .says = "remount");
    CHECK_ERROR(rfs_attach(j->plan, ON_ROOT, j->fds[DIRECTORY], &err), &err, .code = -EINVAL, .says = "\"/\"");
    CHECK_ERROR(rfs_attach(j->plan, ON_PROC, j->fds[DIRECTORY], &err), &err, .code = -EINVAL, .says = "/proc");
    check_no_mount("/volume/new");
    umask(077);
    CHECK_SUCCESS(rfs_attach(j->plan, DIRECTORY, j->fds[DIRECTORY], &err), &err);
    CHECK_SUCCESS(rfs_attach(j->plan, A_FILE, j->fds[A_FILE], &err), &err);
    CHECK_SUCCESS(rfs_attach(j->plan, A_TMPFS, j->fds[A_TMPFS], &err), &err);
    CHECK_SUCCESS(rfs_attach(j->plan, BELOW_A_LINK, j->fds[BELOW_A_LINK], &err), &err);
    CHECK(umask(0) == 077);
    CHECK(fcntl(j->fds[DIRECTORY], F_GETFD) == FD_CLOEXEC); /* borrowed */
    CHECK_ERROR(rfs_attach(j->plan, DIRECTORY, j->fds[DIRECTORY], &err), &err, .code = -EINVAL,
                .says = "not a detached mount");
}

/* Another process of the same container sees what was attached. */
static void join_and_look(void *data)
{
    const struct joining *j = data;
    REQUIRE(setns(j->mntns, CLONE_NEWNS) == 0);
    check_mount("/volume/new /source ro,nosuid,relatime* - * rw*");
    check_mount("/volume/file /source/file rw,relatime* - * rw*");
    check_mount("/volume/tmp / rw,nodev,relatime - tmpfs tmp rw*");
    check_mount("/etc/x /source rw,relatime* - * rw*");
    CHECK_OWNER(AT_FDCWD, "/volume/new/file", 7, 8);
    struct stat st;
    CHECK(stat("/volume", &st) == 0 && (st.st_mode & 07777) == 0755);
}

static void attach_into_running(void)
{
    make_source("source");
    make_image();
    image_directory("etc", 0755);
    image_link("/../../../etc", "link");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    struct running r;
    pid_t pid = start(&r, plan_of(spec));
    json_object *added = empty_spec();
    spec_add(added, "mounts", BIND("source", "/volume/new", "'bind', 'ro', 'nosuid'"));
    spec_add(added, "mounts", BIND("source/file", "/volume/file", "'bind'"));
    spec_add(added, "mounts", "{'destination': '/volume/tmp', 'type': 'tmpfs', 'source': 'tmp', 'options': ['nodev']}");
    spec_add(added, "mounts", "{'destination': '/volume/tmp', 'type': 'bind', 'options': ['remount', 'bind', 'ro']}");
    spec_add(added, "mounts", BIND("source", "/link/x", "'bind'"));
    spec_add(added, "mounts", BIND("source", "/", "'bind'"));
    spec_add(added, "mounts", BIND("source", "/proc", "'bind'"));
    struct joining j = {.plan = plan_of(added)};
    static const int opened[] = {DIRECTORY, A_FILE, A_TMPFS, BELOW_A_LINK};
    rfs_error err = fresh_error();
    for (size_t i = 0; i < COUNT(opened) && host_opens(j.plan, DIRECTORY); i++) {
        int fd = rfs_mountfd_open(j.plan, (uint64_t)opened[i], -1, -1, &err);
        REQUIRE_THAT(fd >= 0, "mounts[%d]: %.900s", opened[i], err.message);
        j.fds[opened[i]] = fd;
    }
    CHECK_ERROR(rfs_mountfd_open(j.plan, REMOUNT, -1, -1, &err), &err, .code = -EINVAL, .says = "remount");
    char path[64];
    snprintf(path, sizeof path, "%d/ns/mnt", pid);
    REQUIRE((j.mntns = openat(host_proc, path, O_RDONLY | O_CLOEXEC)) >= 0);
    char *mounts = mount_table();
    if (!lacking_on_host().call) {
        in_child(0, join_and_attach, &j);
        in_child(0, join_and_look, &j);
    }
    char *after = mount_table();
    CHECK(strcmp(mounts, after) == 0);
    free(mounts);
    free(after);
    close(r.stop[1]);
    wait_for_child(pid);
}

static int tree_of(const char *path)
{
    return (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

/* ---- rfs_attach() of what needs the host's side most ---- */

enum { A_PROC, A_SYSFS, A_CGROUP, ON_A_PROC_FILE, OTHER_PROC_FILE, IDMAPPED, BELOW_SHARED, BELOW_SHARED_PRIVATE };

static void join(const struct joining *j)
{
    if (j->userns >= 0)
        REQUIRE(setns(j->userns, CLONE_NEWUSER) == 0 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0);
    if (j->pidns >= 0)
        REQUIRE(setns(j->pidns, CLONE_NEWPID) == 0);
    REQUIRE(setns(j->mntns, CLONE_NEWNS) == 0);
}

/* A child of the process that has joined the namespaces, because only a child is in the pid namespace. */
static void attach_all_joined(void *data)
{
    const struct joining *j = data;
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_attach(j->plan, OTHER_PROC_FILE, j->fds[OTHER_PROC_FILE], &err), &err, .code = -EINVAL,
                .object = RFS_OBJECT_MOUNT, .index = OTHER_PROC_FILE, .says = "the container's own /proc");
    static const int attached[] = {A_PROC, A_SYSFS, A_CGROUP, ON_A_PROC_FILE, IDMAPPED, BELOW_SHARED,
                                   BELOW_SHARED_PRIVATE};
    for (size_t i = 0; i < COUNT(attached); i++) {
        note("mounts[%d]", attached[i]);
        CHECK_SUCCESS(rfs_attach(j->plan, (uint64_t)attached[i], j->fds[attached[i]], &err), &err);
    }
}

static void join_and_attach_all(void *data)
{
    join(data);
    in_child(0, attach_all_joined, data);
}

static void join_and_look_at_all(void *data)
{
    const struct joining *j = data;
    join(j);
    check_mount("/proc / rw,nosuid,nodev,noexec,relatime - proc proc rw*");
    check_mount("/sys / ro,nosuid,relatime - sysfs sysfs rw*");
    check_mount("/sys/fs/cgroup / rw,nosuid,relatime - cgroup2 cgroup rw*");
    check_mount("/proc/uptime /file ro,relatime* - * rw*");
    check_mount("/idmapped / rw,relatime,idmapped* - * rw*");
    check_mount("/shared/a /source rw,relatime shared* - * rw*");
    check_mount("/shared/b /source rw,relatime - * rw*");
    if (j->userns >= 0) { /* These are the ids of the container. */
        CHECK_OWNER(AT_FDCWD, "/idmapped/file", 7, 8);
        create_as(0, 0, AT_FDCWD, "/idmapped/new");
    }
}

static void attach_all(unsigned long namespaces)
{
    make_source("source");
    make_directory(in_work("idmappable"), 0755);
    mount_idmappable(in_work("idmappable"));
    make_file(in_work("idmappable/file"), "x");
    REQUIRE(chown(in_work("idmappable/file"), 7, 8) == 0);
    make_file(in_work("file"), "x");
    make_image();
    only_cgroup2();
    bool in_user_namespace = namespaces & CLONE_NEWUSER;
    json_object *spec = empty_spec();
    if (in_user_namespace)
        add_user_namespace(spec);
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", "{'destination': '/shared', 'type': 'tmpfs', 'options': ['rshared']}");
    struct joining j = {.userns = -1, .pidns = -1};
    struct running r;
    pid_t pid = start_in(&r, plan_of(spec), CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | namespaces, &j.userns);
    json_object *added = empty_spec();
    if (in_user_namespace)
        add_user_namespace(added);
    spec_add(added, "mounts", "{'destination': '/proc', 'type': 'proc', 'source': 'proc', "
             "'options': ['nosuid', 'noexec', 'nodev']}");
    spec_add(added, "mounts", "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', "
             "'options': ['ro', 'nosuid']}");
    spec_add(added, "mounts", "{'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup', "
             "'options': ['nosuid']}");
    spec_add(added, "mounts", BIND("file", "/proc/uptime", "'bind', 'ro'"));
    spec_add(added, "mounts", BIND("file", "/proc/version", "'bind', 'relative'"));
    if (can_be_idmapped(in_work("idmappable")))
        spec_add(added, "mounts", BIND_WITH("idmappable", "/idmapped", "'bind'", MAPPED));
    else
        REQUIRE(lacking_on_host().call);
    spec_add(added, "mounts", BIND("source", "/shared/a", "'bind'"));
    spec_add(added, "mounts", BIND("source", "/shared/b", "'bind', 'private'"));
    j.plan = plan_of(added);
    rfs_error err = fresh_error();
    if (host_opens(j.plan, BELOW_SHARED)) {
        for (int i = 0; i <= BELOW_SHARED_PRIVATE; i++)
            if ((j.fds[i] = rfs_mountfd_open(j.plan, (uint64_t)i, j.userns, -1, &err)) < 0)
                REQUIRE_THAT(i == OTHER_PROC_FILE, "mounts[%d]: %.900s", i, err.message);
        j.fds[OTHER_PROC_FILE] = tree_of(in_work("file"));
        char path[64];
        snprintf(path, sizeof path, "%d/ns/mnt", pid);
        REQUIRE((j.mntns = openat(host_proc, path, O_RDONLY | O_CLOEXEC)) >= 0);
        snprintf(path, sizeof path, "%d/ns/pid", pid);
        if (namespaces & CLONE_NEWPID)
            REQUIRE((j.pidns = openat(host_proc, path, O_RDONLY | O_CLOEXEC)) >= 0);
        in_child(0, join_and_attach_all, &j);
        in_child(0, join_and_look_at_all, &j);
    }
    close(r.stop[1]);
    wait_for_child(pid);
}

static void attach_every_kind(void) { attach_all(0); }
static void attach_in_user_namespace(void) { attach_all(CLONE_NEWUSER | CLONE_NEWPID); }

static void attach_refused(void *data)
{
    const struct joining *j = data;
    rfs_error err = fresh_error();
    REQUIRE(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    REQUIRE(chroot(image("")) == 0 && chdir("/") == 0);
    REQUIRE(filter_refuse(SYS_move_mount, EACCES) == 0);
    CHECK_ERROR(rfs_attach(j->plan, 0, j->fds[0], &err), &err, .code = -EACCES, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT, .says = "move_mount", .says_too = "there is no other call for it");
    check_no_mount("/target");
}

/* There is no fall-back: mount(2) can't attach what is detached. */
static void attach_without_move_mount(void)
{
    make_source("source");
    make_image();
    image_directory("target", 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("source", "/target", "'bind'"));
    struct joining j = {.plan = plan_of(spec)};
    if ((j.fds[0] = tree_of(in_work("source"))) < 0)
        skip_case("open_tree(2) is missing or refused");
    in_child(0, attach_refused, &j);
}

/* ---- RFS_MOUNT_FROM_HOST ---- */

/* A file step, which has an index among the mounts, but no mount. */
enum { A_FILE_STEP = 1 };

static rfs_plan *plan_from_host(size_t first, size_t end)
{
    if (access(image("bin"), F_OK) != 0)
        make_image();
    rfs_config *config = config_from_json(empty_spec());
    static char source[4096];
    snprintf(source, sizeof source, "%s/source", work);
    const rfs_mount mounts[] = {
        {.size = sizeof mounts[0], .flags = RFS_MOUNT_FROM_HOST, .destination = "/bound", .type = "bind",
         .source = source, .options = (const char *const[]){"bind", "ro"}, .n_options = 2},
        {.size = sizeof mounts[0], .flags = RFS_MOUNT_FROM_HOST, .destination = "/proc", .type = "proc",
         .source = "proc", .options = (const char *const[]){"nosuid"}, .n_options = 1},
        {.size = sizeof mounts[0], .flags = RFS_MOUNT_FROM_HOST, .destination = "/tmp", .type = "tmpfs",
         .source = "hosts", .options = (const char *const[]){"mode=1777"}, .n_options = 1},
    };
    rfs_error err = fresh_error();
    for (size_t i = first; i < end && i < COUNT(mounts); i++)
        REQUIRE_SUCCESS(rfs_config_add_mount(config, &mounts[i], &err), &err);
    return plan_of_config(config);
}

static void inside_from_host(void *data)
{
    (void)data;
    check_mount("/bound /source ro,relatime* - * rw*");
    check_mount("/proc / rw,nosuid,relatime* - proc proc rw*");
    check_mount("/tmp / rw,relatime* - tmpfs hosts rw*");
    char name[64];
    ssize_t n = readlink("/proc/self", name, sizeof name);
    CHECK_THAT(n > 0 && strtol(name, NULL, 10) != 1, "the host's pids"); /* The host's side has made this procfs. */
}

static int opens[3];

static int open_on_host(void *userdata, const rfs_mount_request *request)
{
    REQUIRE(request->mount_index < COUNT(opens));
    (void)userdata;
    int fd = opens[request->mount_index];
    opens[request->mount_index] = -1;
    return fd;
}

static void from_host(void)
{
    make_source("source");
    rfs_plan *plan = plan_from_host(0, SIZE_MAX);
    rfs_error err = fresh_error();
    for (size_t i = 0; i < COUNT(opens); i++) {
        CHECK(rfs_plan_mountfd_needed(plan, i) == RFS_MOUNTFD_CERTAINLY);
        if (!host_opens(plan, 0))
            return;
        opens[i] = rfs_mountfd_open(plan, i, -1, -1, &err);
        REQUIRE_THAT(opens[i] >= 0, "%.900s", err.message);
    }
    rfs_callbacks callbacks = {.size = sizeof callbacks, .mountfd = open_on_host};
    run_container(plan, &callbacks, inside_from_host, NULL);
}

static void from_host_without_callback(void)
{
    make_source("source");
    for (size_t i = 0; i < COUNT(opens); i++)
        run_refused("RFS_MOUNT_FROM_HOST", plan_from_host(i, i + 1), NULL,
                    &(struct expected){.code = -EOPNOTSUPP, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                       .says = "RFS_MOUNT_FROM_HOST", .says_too = "rfs_callbacks.mountfd"});
}

static void attach_file_step(void *data)
{
    const struct joining *j = data;
    rfs_error err = fresh_error();
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    CHECK_ERROR(rfs_attach(j->plan, A_FILE_STEP, j->fds[0], &err), &err, .code = -EINVAL, .object = RFS_OBJECT_MOUNT,
                .index = A_FILE_STEP, .says = "makes a file");
}

static void steps_are_no_mounts(void)
{
    make_source("source");
    make_image();
    rfs_error err = fresh_error();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("source", "/target", "'bind'"));
    rfs_config *config = config_from_json(spec);
    rfs_file file = {.size = sizeof file, .path = "/etc/made", .type = 'd'};
    REQUIRE_SUCCESS(rfs_config_add_file(config, &file, &err), &err);
    struct joining j = {.plan = plan_of_config(config)};
    CHECK(rfs_plan_mountfd_needed(j.plan, A_FILE_STEP) == RFS_MOUNTFD_NEVER);
    CHECK_ERROR(rfs_mountfd_open(j.plan, A_FILE_STEP, -1, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                .says = "makes a file");
    rfs_container *container = container_of(j.plan);
    CHECK_ERROR(rfs_container_set_source_fd(container, A_FILE_STEP, 0, &err), &err, .code = -EINVAL,
                .says = "only a bind");
    j.fds[0] = tree_of(in_work("source"));
    if (j.fds[0] >= 0)
        in_child(0, attach_file_step, &j);
}

struct served {
    rfs_container *container;
    int sockets[2];
};

static int end_serving(void *userdata, rfs_point point)
{
    struct served *served = userdata;
    if (point == RFS_POINT_MOUNTS_READY)
        CHECK(close(served->sockets[1]) == 0);
    return 0;
}

static int ask(void *userdata, const rfs_mount_request *request)
{
    struct served *served = userdata;
    return rfs_mountfd_request(&served->sockets[1], request);
}

static void served_container(void *data)
{
    struct served *served = data;
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = served, .mountfd = ask, .point = end_serving};
    rfs_error err = fresh_error();
    close(served->sockets[0]);
    REQUIRE_SUCCESS(rfs_prepare(served->container, &callbacks, &err), &err);
    inside_from_host(NULL);
}

/* rfs_mountfd_serve() returns at RFS_POINT_MOUNTS_READY, as the container closes its end. */
static void from_host_served(void)
{
    make_source("source");
    rfs_plan *plan = plan_from_host(0, SIZE_MAX);
    if (!host_opens(plan, 0))
        return;
    struct served served = {.container = container_of(plan)};
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, served.sockets) == 0);
    pid_t pid = start_child(CONTAINER_NAMESPACES, served_container, &served, NULL);
    close(served.sockets[1]);
    rfs_error err = fresh_error();
    CHECK_SUCCESS(rfs_mountfd_serve(plan, served.sockets[0], -1, -1, &err), &err);
    wait_for_child(pid);
}

/* ---- rfs_mountfd_answer() ---- */

struct asker {
    int socket, rc;
    uint64_t index;
};

static void ask_once(void *data)
{
    struct asker *a = data;
    rfs_error err = fresh_error();
    rfs_mount_request request = {.size = sizeof request, .mount_index = a->index, .err = &err};
    int rc = rfs_mountfd_request(&a->socket, &request);
    if (a->rc == 0)
        CHECK_THAT(rc >= 0, "%d: %.900s", rc, err.message);
    else
        CHECK_THAT(rc == a->rc, "%d: %.900s", rc, err.message);
}

static void answer_one_by_one(void)
{
    make_source("source");
    rfs_plan *plan = plan_from_host(0, SIZE_MAX);
    if (!host_opens(plan, 0))
        return;
    static const struct {
        uint64_t index;
        int rc;
    } asked[] = {{0, 0}, {2, 0}, {2, 0}, {3, -EPERM}, {1, 0}};
    rfs_error err = fresh_error();
    int sockets[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    for (size_t i = 0; i < COUNT(asked); i++) {
        struct asker asker = {.socket = sockets[1], .rc = asked[i].rc, .index = asked[i].index};
        pid_t pid = start_child(0, ask_once, &asker, NULL);
        int rc = rfs_mountfd_answer(plan, sockets[0], -1, -1, &err);
        CHECK_THAT(rc == 1, "request %zu: %d %.900s", i, rc, err.message);
        wait_for_child(pid);
    }
    REQUIRE(send(sockets[1], "rubbish", 7, 0) == 7);
    CHECK_ERROR(rfs_mountfd_answer(plan, sockets[0], -1, -1, &err), &err, .code = -EBADMSG, .stage = RFS_STAGE_MOUNTFD);
    close(sockets[1]);
    CHECK(rfs_mountfd_answer(plan, sockets[0], -1, -1, &err) == 0);
}

/* ---- mntns_fd ---- */

struct elsewhere {
    int ready[2], stop[2];
};

static void mount_elsewhere(void *data)
{
    struct elsewhere *e = data;
    char byte;
    close(e->stop[1]);
    REQUIRE(mount("elsewhere", in_work("only"), "tmpfs", 0, NULL) == 0);
    make_directory(in_work("only/here"), 0755);
    make_file(in_work("only/here/file"), "x");
    REQUIRE(write(e->ready[1], "", 1) == 1);
    CHECK(read(e->stop[0], &byte, 1) == 0);
}

static void another_mount_namespace(void)
{
    make_image();
    make_directory(in_work("only"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("only/here", "/target", "'bind', 'noexec'"));
    rfs_plan *plan = plan_of(spec);
    struct elsewhere e;
    char path[64], byte;
    REQUIRE(pipe2(e.ready, O_CLOEXEC) == 0 && pipe2(e.stop, O_CLOEXEC) == 0);
    pid_t pid = start_child(CLONE_NEWNS, mount_elsewhere, &e, NULL);
    REQUIRE(read(e.ready[0], &byte, 1) == 1);
    snprintf(path, sizeof path, "%d/ns/mnt", pid);
    int mntns = openat(host_proc, path, O_RDONLY | O_CLOEXEC);
    rfs_error err = fresh_error();
    struct lacking lacking = lacking_on_host();
    CHECK(rfs_plan_mountfd_needed(plan, 0) != RFS_MOUNTFD_CERTAINLY);
    int fd = rfs_mountfd_open(plan, 0, -1, mntns, &err);
    if (lacking.call) {
        CHECK_ERROR(fd, &err, .code = lacking.code, .says = lacking.call);
    } else {
        REQUIRE_THAT(fd >= 0, "%d: %.900s", fd, err.message);
        CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, -1, &err), &err, .code = -ENOENT, .stage = RFS_STAGE_MOUNTFD);
        CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && faccessat(fd, "file", F_OK, 0) == 0);
        make_directory(in_work("at"), 0755);
        attach(fd, in_work("at"));
        check_mount(in_work("at /here rw,noexec,relatime* - tmpfs elsewhere rw*"));
    }
    CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, 900, &err), &err, .code = -EBADF, .stage = RFS_STAGE_MOUNTFD,
                .says = "mntns_fd");
    CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, host_proc, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                .says = "mntns_fd");
    int userns = openat(host_proc, "self/ns/user", O_RDONLY | O_CLOEXEC);
    CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, userns, &err), &err, .code = -EINVAL, .says = "mntns_fd");
    close(e.stop[1]);
    wait_for_child(pid);
}

/* ---- Descriptors from before the fork ---- */

static void given_descriptors(void *data)
{
    rfs_container *container = data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    CHECK_ERROR(rfs_container_set_rootfs_fd(container, 0, &err), &err, .code = -EINVAL, .says = "before rfs_prepare()");
    CHECK_ERROR(rfs_container_set_source_fd(container, 0, 0, &err), &err, .code = -EINVAL,
                .says = "before rfs_prepare()");
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    check_mount("/a / ro,nosuid,relatime* - tmpfs given rw*");
    CHECK(access("/a/file", F_OK) == 0);
    CHECK(access("/marker", F_OK) == 0);
}

static void before_the_fork(void)
{
    make_image();
    make_directory(in_work("given"), 0755);
    REQUIRE(mount("given", in_work("given"), "tmpfs", 0, NULL) == 0);
    make_file(in_work("given/file"), "x");
    image_file("marker", "x");
    static const uint64_t flags[] = {0, RFS_OPTION_CLASSIC_MOUNT};
    for (size_t i = 0; i < COUNT(flags); i++) {
        note("options %llu", (unsigned long long)flags[i]);
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", PROC);
        spec_add(spec, "mounts", BIND("missing", "/a", "'bind', 'ro', 'nosuid'"));
        rfs_container *container = container_of(plan_with_flags(spec, flags[i]));
        rfs_error err = fresh_error();
        int rootfs = tree_of(image("")), source = tree_of(in_work("given"));
        if (rootfs < 0)
            skip_case("open_tree(2) is missing or refused");
        CHECK_ERROR(rfs_container_set_rootfs_fd(container, -1, &err), &err, .code = -EBADF);
        CHECK_ERROR(rfs_container_set_source_fd(container, 1, -5, &err), &err, .code = -EBADF);
        CHECK_ERROR(rfs_container_set_source_fd(container, 2, source, &err), &err, .code = -EINVAL, .says = "2 mounts");
        CHECK_ERROR(rfs_container_set_source_fd(container, 0, source, &err), &err, .code = -EINVAL, .index = 0,
                    .object = RFS_OBJECT_MOUNT, .says = "only a bind");
        REQUIRE_SUCCESS(rfs_container_set_rootfs_fd(container, rootfs, &err), &err);
        REQUIRE_SUCCESS(rfs_container_set_source_fd(container, 1, source, &err), &err);
        in_child(CONTAINER_NAMESPACES, given_descriptors, container);
        CHECK(fcntl(rootfs, F_GETFD) >= 0 && fcntl(source, F_GETFD) >= 0);
        close(rootfs);
        close(source);
    }
}

/* A descriptor that nobody would use is refused, and so is one that an option of the mount can't go with. */
static void unused_descriptors(void)
{
    make_source("source");
    make_image();
    rfs_error err = fresh_error();
    rfs_container *container = container_of(plan_from_host(0, 1));
    CHECK_ERROR(rfs_container_set_source_fd(container, 0, host_proc, &err), &err, .code = -EINVAL, .index = 0,
                .object = RFS_OBJECT_MOUNT, .stage = RFS_STAGE_MOUNTS, .says = "RFS_MOUNT_FROM_HOST");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("source", "/a", "'bind', 'idmap=uids=0-1-1;gids=0-1-1'"));
    spec_add(spec, "mounts", BIND("source", "/b", "'bind', 'copy-symlink'"));
    spec_add(spec, "mounts", BIND("source", "/c", "'bind', 'src-nofollow'"));
    spec_add(spec, "mounts", "{'destination': '/d', 'type': 'bind', 'source': 'etc', 'options': ['bind', 'relative']}");
    container = container_of(plan_of(spec));
    static const char *const says[] = {"idmapped", "copy-symlink", "src-nofollow", "relative"};
    for (size_t i = 0; i < COUNT(says); i++)
        CHECK_ERROR(rfs_container_set_source_fd(container, i, host_proc, &err), &err, .code = -EINVAL, .index = (int)i,
                    .object = RFS_OBJECT_MOUNT, .stage = RFS_STAGE_MOUNTS, .says = says[i]);
    static const struct {
        uint64_t flag;
        const char *says;
    } without_rootfs[] = {{RFS_OPTION_HOST_ROOT, "RFS_OPTION_HOST_ROOT"},
                          {RFS_OPTION_TMPFS_ROOTFS, "RFS_OPTION_TMPFS_ROOTFS"}};
    for (size_t i = 0; i < COUNT(without_rootfs); i++) {
        rfs_config *config = NULL;
        REQUIRE_SUCCESS(rfs_config_new(NULL, &config, &err), &err);
        rfs_options options = {.size = sizeof options, .flags = without_rootfs[i].flag};
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        container = container_of(plan_of_config(config));
        CHECK_ERROR(rfs_container_set_rootfs_fd(container, host_proc, &err), &err, .code = -EINVAL,
                    .stage = RFS_STAGE_ROOT, .says = without_rootfs[i].says);
    }
}

/* ---- A rootfs that the container's root can't reach ---- */

struct unreachable {
    rfs_container *container;
    bool asks;
    int fd;
    unsigned asked;
};

static int open_rootfs(void *userdata, const rfs_mount_request *request)
{
    struct unreachable *u = userdata;
    u->asked++;
    CHECK(request->mount_index == RFS_MOUNTFD_ROOTFS && strcmp(request->source, in_work("bundle/rootfs")) == 0);
    int fd = u->fd;
    u->fd = -1;
    return fd;
}

static void start_unreachable(void *data)
{
    struct unreachable *u = data;
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = u, .mountfd = u->asks ? open_rootfs : NULL};
    rfs_error err = fresh_error();
    CHECK(access(image(""), F_OK) == -1 && errno == EACCES);
    int rc = rfs_prepare(u->container, &callbacks, &err);
    if (!u->asks) {
        CHECK_ERROR(rc, &err, .code = -EACCES, .stage = RFS_STAGE_ROOT);
        return;
    }
    REQUIRE_SUCCESS(rc, &err);
    CHECK(u->asked == 1 && access("/marker", F_OK) == 0);
    check_mount("/ /bundle/rootfs rw,relatime* - * rw*");
}

static void unreachable_rootfs(void)
{
    make_image();
    image_file("marker", "x");
    REQUIRE(chown(image(""), 100000, 100000) == 0 && chown(image("dev"), 100000, 100000) == 0);
    REQUIRE(chmod(in_work("bundle"), 0700) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    rfs_plan *plan = plan_of(spec);
    CHECK(rfs_plan_mountfd_needed(plan, RFS_MOUNTFD_ROOTFS) == RFS_MOUNTFD_POSSIBLY);
    if (!host_opens(plan, RFS_MOUNTFD_ROOTFS))
        return;
    for (int asks = 0; asks < 2; asks++) {
        rfs_error err = fresh_error();
        struct unreachable u = {.container = container_of(plan), .asks = asks, .fd = -1};
        u.fd = rfs_mountfd_open(plan, RFS_MOUNTFD_ROOTFS, -1, -1, &err);
        REQUIRE_THAT(u.fd >= 0, "%.900s", err.message);
        int userns;
        wait_for_child(start_child(CONTAINER_NAMESPACES | CLONE_NEWUSER, start_unreachable, &u, &userns));
    }
}

/* ---- rfs_container_root_fd() ---- */

static unsigned points_seen;

static int look_at_root(void *userdata, rfs_point point)
{
    (void)userdata;
    struct stat seen, root;
    int fd = rfs_container_root_fd(this_container);
    REQUIRE_THAT(fd >= 0, "point %u: %d", point, fd);
    CHECK((fcntl(fd, F_GETFL) & O_PATH) && fstat(fd, &seen) == 0);
    CHECK(stat(point == RFS_POINT_AFTER_SWITCH ? "/" : image(""), &root) == 0);
    CHECK_THAT(seen.st_dev == root.st_dev && seen.st_ino == root.st_ino, "point %u", point);
    /* A mount that it makes belongs to the container. */
    if (point == RFS_POINT_MOUNTS_READY) {
        char path[64];
        REQUIRE(mkdirat(fd, "brought", 0755) == 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d/brought", fd);
        REQUIRE(mount("brought", path, "tmpfs", 0, NULL) == 0);
    }
    points_seen++;
    return 0;
}

static void inside_root_fd(void *data)
{
    (void)data;
    CHECK(points_seen == 6);
    CHECK(rfs_container_root_fd(this_container) == -EINVAL);
    check_mount("/brought / rw,relatime* - tmpfs brought rw*");
}

static void root_descriptor(void)
{
    make_image();
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = look_at_root};
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    run_container(plan_of(spec), &callbacks, inside_root_fd, NULL);
    CHECK(rfs_container_root_fd(this_container) == -EINVAL);
}

/* ---- Options ---- */

static int look_at_umask(void *userdata, rfs_point point)
{
    (void)userdata, (void)point;
    mode_t now = umask(0);
    umask(now);
    CHECK_THAT(now == 031, "umask %o", now);
    return 0;
}

static void inside_keep_umask(void *data)
{
    mode_t now = umask(0);
    CHECK_THAT(now == *(const mode_t *)data, "umask %o", now);
}

static void keep_umask(void)
{
    make_image();
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = look_at_umask};
    mode_t kept = 031, set = 022;
    umask(031);
    run_container(plan_with_flags(empty_spec(), RFS_OPTION_KEEP_UMASK), &callbacks, inside_keep_umask, &kept);
    run_container(plan_of(empty_spec()), &callbacks, inside_keep_umask, &set);
}

static void later_rootfs(void *data)
{
    rfs_error err = fresh_error();
    make_directory(in_work("later/rootfs"), 0755);
    REQUIRE(mount("storage", in_work("later/rootfs"), "tmpfs", 0, NULL) == 0);
    make_file(in_work("later/rootfs/marker"), "x");
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    check_mount("/ / rw,relatime* - tmpfs storage rw*");
    CHECK(access("/marker", F_OK) == 0);
}

static void rootfs_later(void)
{
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    make_directory(in_work("later"), 0755);
    for (int later = 0; later < 2; later++) {
        rfs_config *config = NULL;
        REQUIRE_SUCCESS(rfs_config_new(in_work("later/rootfs"), &config, &err), &err);
        rfs_options options = {.size = sizeof options, .flags = later ? RFS_OPTION_ROOTFS_LATER : 0};
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        int rc = rfs_plan_new(config, &plan, &err);
        if (later)
            REQUIRE_SUCCESS(rc, &err);
        else
            CHECK_ERROR(rc, &err, .code = -ENOENT);
        rfs_config_free(config);
    }
    in_child(CONTAINER_NAMESPACES, later_rootfs, container_of(plan));
}

static void inside_relative_source(void *data)
{
    (void)data;
    CHECK(access("/data/file", F_OK) == 0);
}

static void relative_source(void)
{
    make_image();
    make_directory(in_work("bundle/data"), 0755);
    make_file(in_work("bundle/data/file"), "x");
    rfs_error err = fresh_error();
    for (int given = 0; given < 2; given++) {
        rfs_config *config = NULL;
        rfs_plan *plan = NULL;
        REQUIRE_SUCCESS(rfs_config_new(image(""), &config, &err), &err);
        rfs_mount mount = {.size = sizeof mount, .destination = "/data", .type = "bind", .source = "data"};
        REQUIRE_SUCCESS(rfs_config_add_mount(config, &mount, &err), &err);
        rfs_options options = {.size = sizeof options, .bundle = given ? in_work("bundle") : NULL};
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        int rc = rfs_plan_new(config, &plan, &err);
        if (given)
            REQUIRE_SUCCESS(rc, &err);
        else
            CHECK_ERROR(rc, &err, .code = -EINVAL, .object = RFS_OBJECT_MOUNT, .index = 0);
        rfs_config_free(config);
        if (given)
            run_container(plan, NULL, inside_relative_source, NULL);
    }
}

static void warnings(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", TMPFS("relative", ""));
    spec_add(spec, "mounts", TMPFS("another", ""));
    rfs_plan *plan = plan_of(spec);
    char said[sizeof logged_warnings] = "";
    uint64_t n = 0;
    for (; rfs_plan_warning(plan, n); n++) {
        size_t used = strlen(said);
        snprintf(said + used, sizeof said - used, "%s\n", rfs_plan_warning(plan, n));
    }
    CHECK_THAT(n == 2 && strstr(said, "relative"), "%s", said);
    CHECK(rfs_plan_warning(plan, UINT64_MAX) == NULL && rfs_plan_warning(NULL, 0) == NULL);
    char *described = describe(plan);
    CHECK(strstr(described, "relative"));
    free(described);
    logged_warnings[0] = 0;
    rfs_error err = fresh_error();
    this_container = container_of(plan);
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    REQUIRE_SUCCESS(rfs_prepare(this_container, &with_warnings, &err), &err);
    CHECK_THAT(strcmp(logged_warnings, said) == 0, "log: %splan: %s", logged_warnings, said);
}

static void points_are_no_kinds(void)
{
    make_image();
    rfs_plan *plan = plan_of(empty_spec());
    rfs_error err = fresh_error();
    rfs_config *config = config_from_json(empty_spec());
    const rfs_hook hook = {.size = sizeof hook, .path = "/bin/true"};
    for (rfs_point point = RFS_POINT_ROOT_READY; point <= RFS_POINT_AFTER_SWITCH; point++) {
        CHECK_ERROR(rfs_config_add_hook(config, point, &hook, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG);
        CHECK_ERROR(rfs_run_hooks(plan, point, "{}", 2, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_HOOKS);
    }
    CHECK_SUCCESS(rfs_run_hooks(plan, RFS_HOOKS_CREATE_CONTAINER, "{}", 2, &err), &err);
}

static void with_few_descriptors(void *data)
{
    rfs_error err = fresh_error();
    struct rlimit few = {20, 20};
    for (int fd = 3; fd < 20; fd++) /* The harness keeps host_proc and a pipe open. */
        if (fd != host_proc && fcntl(fd, F_GETFD) >= 0)
            note("descriptor %d is open", fd);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
}

static void few_descriptors(void)
{
    make_image();
    in_child(CONTAINER_NAMESPACES, with_few_descriptors, container_of(plan_of(default_spec("runc"))));
}

int main(void)
{
    static const struct test_case cases[] = {
        {"rfs_attach into a running container", attach_into_running},
        {"rfs_attach of every kind of mount", attach_every_kind},
        {"rfs_attach in a user namespace", attach_in_user_namespace},
        {"rfs_attach where move_mount(2) is refused", attach_without_move_mount},
        {"a step that makes a file is no mount", steps_are_no_mounts},
        {"mounts from the host's side", from_host},
        {"mounts from the host's side, without a callback", from_host_without_callback},
        {"mounts from the host's side, served until the mounts are ready", from_host_served},
        {"requests answered one by one", answer_one_by_one},
        {"a source in another mount namespace", another_mount_namespace},
        {"detached mounts from before the fork", before_the_fork},
        {"descriptors that nobody would use", unused_descriptors},
        {"a rootfs that the container's root can't reach", unreachable_rootfs},
        {"the root's descriptor in callbacks", root_descriptor},
        {"the umask is kept", keep_umask},
        {"a rootfs that is mounted after the fork", rootfs_later},
        {"a relative source of a configuration built by hand", relative_source},
        {"warnings on the host's side", warnings},
        {"points are no kinds of hooks", points_are_no_kinds},
        {"20 descriptors", few_descriptors},
    };
    return run_cases(cases, COUNT(cases));
}
