/* rfs_mountfd_serve() and rfs_mountfd_request(): containers that ask, and peers that misbehave.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "descriptors.h"
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
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
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HOST, CONTAINER };

struct served {
    const rfs_plan *plan;
    rfs_container *container;
    int type; /* of socket */
    void (*inside)(void);
    struct expected fails; /* rfs_prepare() */
    int sockets[2];
    unsigned warnings;
};

/* Sets SO_PASSCRED on both ends. Then the peer's credentials come before the descriptor, as ancillary data too. */
static bool pass_credentials;

static void new_sockets(int type, int sockets[2])
{
    REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sockets) == 0);
    for (int end = 0; end < 2; end++)
        REQUIRE(setsockopt(sockets[end], SOL_SOCKET, SO_PASSCRED, &(int){pass_credentials}, sizeof(int)) == 0);
}

static void count_warnings(void *userdata, rfs_log_level level, const char *message)
{
    (void)userdata;
    if (level == RFS_LOG_WARNING)
        note("warning: %s", message);
}

static int ask(void *userdata, const rfs_mount_request *request)
{
    struct served *served = userdata;
    return rfs_mountfd_request(&served->sockets[CONTAINER], request);
}

static void container(void *data)
{
    struct served *served = data;
    rfs_error err = fresh_error();
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = served, .mountfd = ask, .log = count_warnings};
    if (!served->warnings) { /* the shortest way */
        callbacks.userdata = &served->sockets[CONTAINER];
        callbacks.mountfd = rfs_mountfd_request;
        callbacks.log = NULL;
    }
    close(served->sockets[HOST]);
    int rc = rfs_prepare(served->container, &callbacks, &err);
    if (served->fails.code) {
        CHECK_ERROR(rc, &err, .code = served->fails.code, .stage = served->fails.stage, .object = served->fails.object,
                    .index = served->fails.index, .says = served->fails.says, .says_too = served->fails.says_too);
        return;
    }
    REQUIRE_SUCCESS(rc, &err);
    REQUIRE_SUCCESS(rfs_finalize(served->container, &err), &err);
    close(served->sockets[CONTAINER]);
    served->inside();
}

static bool is_idmapped(const rfs_plan *plan)
{
    int needed = rfs_plan_mountfd_needed(plan, RFS_MOUNTFD_ROOTFS);
    for (size_t i = 0; needed >= 0 && needed != RFS_MOUNTFD_CERTAINLY; i++)
        needed = rfs_plan_mountfd_needed(plan, i);
    return needed == RFS_MOUNTFD_CERTAINLY;
}

/* Runs a container of the plan, and serves it. Where the host's side can't, the container must be told why, which ends
 * the case. */
static void serve(struct served *served, unsigned long namespaces)
{
    int userns = -1;
    static struct descriptors before, after;
    struct lacking lacking = lacking_on_host();
    bool fails = lacking.call && is_idmapped(served->plan);
    char *mounts = read_all(host_proc, "self/mountinfo");
    if (fails)
        served->fails = (struct expected){.code = lacking.code, .says = "mountfd callback", .says_too = lacking.call};
    list_descriptors(&before);
    new_sockets(served->type ? served->type : SOCK_SEQPACKET, served->sockets);
    served->container = container_of(served->plan);
    pid_t pid = start_child(namespaces, container, served, &userns);
    close(served->sockets[CONTAINER]);
    rfs_error err = fresh_error();
    CHECK_SUCCESS(rfs_mountfd_serve(served->plan, served->sockets[HOST], userns, -1, &err), &err);
    close(served->sockets[HOST]);
    close(userns);
    wait_for_child(pid);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after serving");
    char *mounts_after = read_all(host_proc, "self/mountinfo");
    CHECK(strcmp(mounts, mounts_after) == 0);
    free(mounts);
    free(mounts_after);
    if (fails)
        end_case();
}

static json_object *user_spec(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    return spec;
}

static void inside_writable(void)
{
    CHECK_OWNER(AT_FDCWD, "/a/file", 100007, 100008);
    create_as(100001, 100002, AT_FDCWD, "/a/new");
    CHECK_OWNER(AT_FDCWD, "/b/below/file", 100009, 100010);
    check_mount("/a /source rw,relatime,idmapped - * rw*");
}

static void without_user_namespace(void)
{
    static const int types[] = {SOCK_SEQPACKET, SOCK_STREAM, SOCK_SEQPACKET | SOCK_NONBLOCK,
                                SOCK_STREAM | SOCK_NONBLOCK};
    make_source("source");
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND_WITH("source", "/a", "'bind'", MAPPED));
    spec_add(spec, "mounts", BIND_WITH("source", "/b", "'rbind', 'ridmap', 'rro'", MAPPED));
    rfs_plan *plan = plan_of(spec);
    for (size_t i = 0; i < COUNT(types); i++) {
        struct served served = {.plan = plan, .type = types[i], .inside = inside_writable};
        serve(&served, CONTAINER_NAMESPACES);
        CHECK_OWNER(AT_FDCWD, in_work("source/new"), 1, 2);
        REQUIRE(unlink(in_work("source/new")) == 0);
    }
}

static void inside_user_namespace(void)
{
    CHECK_OWNER(AT_FDCWD, "/container/file", 7, 8);
    CHECK_OWNER(AT_FDCWD, "/own/file", 5007, 5008);
    create_as(33, 34, AT_FDCWD, "/container/new");
    CHECK_OWNER(AT_FDCWD, "/container/new", 33, 34);
    CHECK_OWNER(AT_FDCWD, "/plain/file", 65534, 65534);
    CHECK_OWNER(AT_FDCWD, "/hidden/file", 65534, 65534);
    check_mount("/hidden /private/inner ro,nosuid,relatime* - * rw*");
    CHECK_OWNER(AT_FDCWD, "/hidden-file", 65534, 65534);
    CHECK_OWNER(AT_FDCWD, "/both/below/file", 9, 10);
}

static void with_user_namespace(void)
{
    make_source("source");
    make_directory(in_work("private/inner"), 0755);
    REQUIRE(chmod(in_work("private"), 0700) == 0);
    make_file(in_work("private/inner/file"), "x");
    REQUIRE(mount(NULL, work, NULL, MS_SHARED, NULL) == 0);
    json_object *spec = user_spec();
    REQUIRE(chown(image(""), 100000, 100000) == 0 && chown(image("dev"), 100000, 100000) == 0);
    spec_add(spec, "mounts", BIND("source", "/container", "'bind', 'idmap'"));
    spec_add(spec, "mounts", BIND_WITH("source", "/own", "'bind'",
             ", 'uidMappings': [{'containerID': 0, 'hostID': 105000, 'size': 1000}], "
             "'gidMappings': [{'containerID': 0, 'hostID': 105000, 'size': 1000}]"));
    spec_add(spec, "mounts", BIND("source", "/plain", "'rbind'"));
    spec_add(spec, "mounts", BIND("private/inner", "/hidden", "'rbind', 'ro', 'nosuid'"));
    spec_add(spec, "mounts", BIND("private/inner/file", "/hidden-file", "'bind'"));
    spec_add(spec, "mounts", BIND("source", "/both", "'rbind', 'ridmap'"));
    struct served served = {.plan = plan_of(spec), .inside = inside_user_namespace};
    serve(&served, CONTAINER_NAMESPACES | CLONE_NEWUSER);
    CHECK_OWNER(AT_FDCWD, in_work("source/new"), 33, 34);
}

/* The container's root has CAP_SYS_ADMIN here. Returns 0 or the errno. */
static int make_writable(const char *path)
{
    struct { uint64_t set, clear, propagation, userns; } change = {.clear = 1 | 2 | 4 /* MOUNT_ATTR_RDONLY, NOSUID,
        NODEV */};
    return syscall(SYS_mount_setattr, AT_FDCWD, path, 0, &change, sizeof change) == 0 ? 0 : errno;
}

static void inside_locks(void)
{
    check_mount("/copied / ro,nosuid,nodev,relatime* - tmpfs closed rw*");
    check_mount("/opened / ro,nosuid,nodev,relatime* - tmpfs closed rw*");
    check_mount("/recursive / ro,nosuid,nodev,relatime* - tmpfs closed rw*");
    check_mount("/recursive/below / ro,nosuid,nodev,relatime* - tmpfs closed *");
    check_mount("/asked / ro,relatime* - * rw*");
    check_mount("/file /file ro,relatime* - * rw*");
    check_mount("/idmapped /inner ro,relatime,idmapped* - * rw*");
    static const char *const locked[] = {"/copied", "/opened", "/recursive", "/recursive/below", "/asked", "/file",
        "/idmapped", "/tmpfs"};
    size_t count = COUNT(locked);
    if (access("/tmpfs", F_OK) == 0)
        check_mount("/tmpfs / ro,nosuid,relatime* - tmpfs * *");
    else
        count--;
    for (size_t i = 0; i < count; i++)
        CHECK_THAT(make_writable(locked[i]) == EPERM, "%s", locked[i]);
    check_mount("/opened / ro,nosuid,nodev,relatime* - tmpfs closed rw*");
    /* A mount without restrictions stays as it was. */
    check_mount("/open / rw,relatime* - tmpfs open rw*");
    CHECK(make_writable("/open") == 0);
}

static void closed(const char *directory)
{
    make_directory(in_work("%s", directory), 0755);
    const char *path = in_work("%s", directory);
    REQUIRE(mount("closed", path, "tmpfs", 0, NULL) == 0);
    if (strstr(directory, "recursive"))
        make_directory(in_work("%s/below", directory), 0755);
    REQUIRE(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0);
}

/* A bind from the copied namespace is locked as the host has it. So is a mount that the host's side opens, with its
 * flags and those of the plan. */
static void locks(void)
{
    json_object *spec = user_spec();
    make_directory(in_work("private"), 0755);
    mount_idmappable(in_work("private"));
    make_directory(in_work("private/inner"), 0755);
    make_directory(in_work("private/open"), 0755);
    make_file(in_work("private/file"), "x");
    REQUIRE(mount("open", in_work("private/open"), "tmpfs", 0, NULL) == 0);
    closed("source");
    closed("private/closed");
    closed("private/recursive");
    REQUIRE(mount("closed", in_work("private/recursive/below"), "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0);
    REQUIRE(chmod(in_work("private"), 0700) == 0);
    REQUIRE(chown(image(""), 100000, 100000) == 0 && chown(image("dev"), 100000, 100000) == 0);
    spec_add(spec, "mounts", BIND("source", "/copied", "'bind'"));
    spec_add(spec, "mounts", BIND("private/closed", "/opened", "'bind'"));
    spec_add(spec, "mounts", BIND("private/recursive", "/recursive", "'rbind'"));
    spec_add(spec, "mounts", BIND("private", "/asked", "'bind', 'ro', 'idmap'"));
    spec_add(spec, "mounts", BIND("private/file", "/file", "'bind', 'ro'"));
    spec_add(spec, "mounts", BIND("private/inner", "/idmapped", "'bind', 'ro', 'idmap'"));
    if (can_be_idmapped(work))
        spec_add(spec, "mounts", "{'destination': '/tmpfs', 'type': 'tmpfs', 'options': ['ro', 'nosuid', 'idmap']}");
    spec_add(spec, "mounts", BIND("private/open", "/open", "'bind'"));
    struct served served = {.plan = plan_of(spec), .inside = inside_locks};
    struct lacking lacking = lacking_on_host();
    if (lacking.call)
        served.fails = (struct expected){.code = lacking.code, .says = "mountfd callback", .says_too = lacking.call};
    serve(&served, CONTAINER_NAMESPACES | CLONE_NEWUSER);
}

static void inside_new_file_systems(void)
{
    CHECK_OWNER(AT_FDCWD, "/tmp", 0, 0);
    CHECK_OWNER(AT_FDCWD, "/new", 5, 5);
    struct stat st;
    CHECK(stat("/tmp", &st) == 0 && (st.st_mode & 07777) == 01733);
    CHECK(stat("/new", &st) == 0 && (st.st_mode & 07777) == 0700);
    create_as(0, 0, AT_FDCWD, "/tmp/file");
    check_mount("/tmp / rw,nosuid,relatime,idmapped - tmpfs x rw*");
}

static void new_file_systems(void)
{
    json_object *spec = user_spec();
    image_directory("tmp", 01733);
    REQUIRE(chown(image(""), 100000, 100000) == 0 && chown(image("dev"), 100000, 100000) == 0);
    spec_add(spec, "mounts", "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'x', 'options': ['nosuid', 'idmap']}");
    spec_add(
        spec, "mounts",
        "{'destination': '/new', 'type': 'tmpfs', 'options': ['mode=700', 'idmap=uids=0-100005-10;gids=0-100005-10']}");
    struct served served = {.plan = plan_of(spec), .inside = inside_new_file_systems};
    if (!can_be_idmapped(work)) /* This kernel can idmap no tmpfs. */
        served.fails =
            (struct expected){.code = -EINVAL, .object = RFS_OBJECT_MOUNT, .says = "(tmpfs) does not support idmapped"};
    serve(&served, CONTAINER_NAMESPACES | CLONE_NEWUSER);
}

static void inside_rootfs(void)
{
    CHECK_OWNER(AT_FDCWD, "/", 0, 0);
    CHECK_OWNER(AT_FDCWD, "/etc/file", 7, 8);
    CHECK_OWNER(AT_FDCWD, "/bin/busybox", 0, 0);
    create_as(33, 34, AT_FDCWD, "/tmp/new");
    check_mount("/ /bundle/rootfs rw,relatime,idmapped - * rw*");
    check_hosts_null();
}

static void idmapped_rootfs(void)
{
    mount_idmappable(work);
    rfs_config *config = config_from_json(user_spec());
    rfs_options options = {.size = sizeof options, .rootfs_idmap = "idmap"};
    rfs_error err = fresh_error();
    image_directory("tmp", 01777);
    image_file("etc/file", "x");
    REQUIRE(chown(image("etc/file"), 7, 8) == 0);
    REQUIRE(mount(NULL, work, NULL, MS_SHARED, NULL) == 0);
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    struct served served = {.plan = plan_of_config(config), .inside = inside_rootfs};
    serve(&served, CONTAINER_NAMESPACES | CLONE_NEWUSER);
    CHECK_OWNER(AT_FDCWD, image("tmp/new"), 33, 34);
    CHECK_OWNER(AT_FDCWD, image("dev/null"), 0, 0);
}

#define MANY 200

static void inside_many(void)
{
    for (int i = 0; i < MANY; i++) {
        char path[64];
        snprintf(path, sizeof path, "/many/%d/file", i);
        CHECK_OWNER(AT_FDCWD, path, 7 + (i % 3) * 1000u, 8 + (i % 3) * 1000u);
    }
}

static void many(void)
{
    make_source("source");
    json_object *spec = user_spec();
    REQUIRE(chown(image(""), 100000, 100000) == 0 && chown(image("dev"), 100000, 100000) == 0);
    for (int i = 0; i < MANY; i++)
        spec_add(spec, "mounts",
                 "{'destination': '/many/%d', 'type': 'bind', 'source': '%s/source', 'options': ['bind'], "
                 "'uidMappings': [{'containerID': 0, 'hostID': %d, 'size': 1000}], "
                 "'gidMappings': [{'containerID': 0, 'hostID': %d, 'size': 1000}]}",
                 i, work, 100000 + 1000 * (i % 3), 100000 + 1000 * (i % 3));
    struct served served = {.plan = plan_of(spec), .inside = inside_many};
    serve(&served, CONTAINER_NAMESPACES | CLONE_NEWUSER);
}

static void inside_nothing(void)
{
    check_no_mount("/a");
    CHECK_OWNER(AT_FDCWD, "/b/file", 100007, 100008);
}

static void failures_are_told(void)
{
    make_source("source");
    make_image();
    json_object *spec = empty_spec();
    make_directory(in_work("proc"), 0755);
    REQUIRE(mount("x", in_work("proc"), "proc", 0, NULL) == 0);
    spec_add(spec, "mounts", BIND_WITH("proc", "/a", "'bind', 'optional'", MAPPED));
    spec_add(spec, "mounts", BIND_WITH("source", "/b", "'bind'", MAPPED));
    json_object *optional = NULL;
    json_object_deep_copy(spec, &optional, NULL);
    struct served served = {.plan = plan_of(optional), .inside = inside_nothing, .warnings = 1};
    serve(&served, CONTAINER_NAMESPACES);
    spec_add(spec, "mounts", BIND_WITH("proc", "/c", "'bind'", MAPPED));
    struct served fails = {.plan = plan_of(spec),
                           .fails = {.code = -EINVAL,
                                     .stage = RFS_STAGE_MOUNTS,
                                     .object = RFS_OBJECT_MOUNT,
                                     .index = 2,
                                     .says = "mounts[2] (/c): mountfd callback",
                                     .says_too = "the host's side says: mount_setattr idmap"}};
    serve(&fails, CONTAINER_NAMESPACES);
    json_object *missing = empty_spec();
    spec_add(missing, "mounts", BIND("nothing", "/d", "'bind'"));
    struct served absent = {.plan = plan_of(missing),
                            .fails = {.code = -ENOENT,
                                      .stage = RFS_STAGE_MOUNTS,
                                      .object = RFS_OBJECT_MOUNT,
                                      .says = "does not exist on the host either"}};
    serve(&absent, CONTAINER_NAMESPACES);
}

/* ---- Peers that misbehave ---- */

/* mounts[0]: idmapped; [1]: needs no help; [2]: idmapped too. */
static rfs_plan *small_plan(void)
{
    make_source("source");
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND_WITH("source", "/a", "'bind'", MAPPED));
    spec_add(spec, "mounts", "{'destination': '/b', 'type': 'tmpfs'}");
    spec_add(spec, "mounts", BIND_WITH("source", "/c", "'bind'", MAPPED));
    return plan_of(spec);
}

struct asker {
    int socket;
    uint64_t index;
};

static void ask_only(void *data)
{
    struct asker *asker = data;
    rfs_mount_request request = {.size = sizeof request, .mount_index = asker->index};
    CHECK(rfs_mountfd_request(&asker->socket, &request) == -ECONNRESET);
}

/* The packet that rfs_mountfd_request() sends. */
static size_t packet_for(uint64_t index, char *packet, size_t size)
{
    int sockets[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    struct asker asker = {sockets[1], index};
    pid_t pid = fork();
    if (pid == 0) {
        close(sockets[0]);
        ask_only(&asker);
        end_case();
    }
    close(sockets[1]);
    ssize_t n = recv(sockets[0], packet, size, 0);
    REQUIRE(n > 0 && (size_t)n < size);
    close(sockets[0]);
    wait_for_child(pid);
    return (size_t)n;
}

static void send_descriptors(int socket, const void *data, size_t size, int n)
{
    int fds[8];
    for (int i = 0; i < n; i++)
        fds[i] = STDIN_FILENO;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof fds)];
    } control = {.header = {CMSG_LEN(sizeof(int) * (size_t)n), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * (size_t)n);
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
    REQUIRE(sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)size);
}

/* Serves a peer that has sent what it will. `gone`: it has closed, too. */
static int serve_written(const rfs_plan *plan, int sockets[2], bool gone, rfs_error *err)
{
    if (gone)
        close(sockets[CONTAINER]);
    else
        REQUIRE(shutdown(sockets[CONTAINER], SHUT_WR) == 0);
    *err = fresh_error();
    int rc = rfs_mountfd_serve(plan, sockets[HOST], -1, -1, err);
    close(sockets[HOST]);
    if (!gone)
        close(sockets[CONTAINER]);
    return rc;
}

static void strange_packets(void)
{
    rfs_plan *plan = small_plan();
    char good[64], large[100000];
    size_t size = packet_for(0, good, sizeof good);
    memset(large, 'x', sizeof large);
    static struct descriptors before, after;
    list_descriptors(&before);
    static const int types[] = {SOCK_SEQPACKET, SOCK_STREAM};
    for (size_t t = 0; t < COUNT(types); t++)
        for (int gone = 0; gone < 2; gone++) {
            int sockets[2];
            rfs_error err;
            note("type %d, gone: %d", types[t], gone);
            new_sockets(types[t], sockets);
            CHECK_SUCCESS(serve_written(plan, sockets, gone, &err), &err);
            for (size_t length = 1; length < size; length++) {
                new_sockets(types[t], sockets);
                REQUIRE(send(sockets[CONTAINER], good, length, MSG_NOSIGNAL) == (ssize_t)length);
                CHECK_ERROR(serve_written(plan, sockets, gone, &err), &err, .code = -EBADMSG,
                            .stage = RFS_STAGE_MOUNTFD, .says = "something else");
            }
            static const size_t lengths[] = {17, 24, 32, 4096, 100000};
            for (size_t i = 0; i < COUNT(lengths); i++) {
                new_sockets(types[t], sockets);
                REQUIRE(send(sockets[CONTAINER], large, lengths[i], MSG_NOSIGNAL) == (ssize_t)lengths[i]);
                CHECK_ERROR(serve_written(plan, sockets, gone, &err), &err, .code = -EBADMSG);
            }
            /* descriptors with a good request, and with rubbish */
            for (int n = 1; n <= 8; n += 7) {
                new_sockets(types[t], sockets);
                send_descriptors(sockets[CONTAINER], good, size, n);
                CHECK_ERROR(serve_written(plan, sockets, gone, &err), &err, .code = -EBADMSG);
                new_sockets(types[t], sockets);
                send_descriptors(sockets[CONTAINER], large, size, n);
                CHECK_ERROR(serve_written(plan, sockets, gone, &err), &err, .code = -EBADMSG);
            }
            /* An empty packet means the end. */
            if (types[t] == SOCK_SEQPACKET) {
                new_sockets(types[t], sockets);
                REQUIRE(send(sockets[CONTAINER], "", 0, MSG_NOSIGNAL) == 0);
                CHECK_SUCCESS(serve_written(plan, sockets, gone, &err), &err);
            }
        }
    list_descriptors(&after);
    check_descriptors(&before, &after, "after strange packets");
}

/* Returns the answer for an index: 0 and a descriptor (or the call that the host's side lacks), or an errno.
 * rfs_mountfd_request() asks for it. */
static int answer_to(int socket, uint64_t index, rfs_error *err)
{
    *err = fresh_error();
    rfs_mount_request request = {.size = sizeof request, .mount_index = index, .err = err};
    int fd = rfs_mountfd_request(&socket, &request);
    struct lacking lacking = lacking_on_host();
    if (lacking.call && fd == lacking.code && strstr(err->message, lacking.call))
        return 0;
    if (fd < 0)
        return fd;
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK_OWNER(fd, "file", 100007, 100008);
    close(fd);
    return 0;
}

static pid_t serve_in_child(const rfs_plan *plan, int sockets[2], int expected)
{
    pid_t pid = fork();
    if (pid == 0) {
        close(sockets[CONTAINER]);
        rfs_error err = fresh_error();
        int rc = rfs_mountfd_serve(plan, sockets[HOST], -1, -1, &err);
        CHECK_THAT(rc == expected, "serve: %d, expected %d: %.1024s", rc, expected, rc < 0 ? err.message : "");
        end_case();
    }
    close(sockets[HOST]);
    return pid;
}

/* The rootfs may be out of the reach of the container's root. */
static void check_rootfs(int socket)
{
    rfs_error err = fresh_error();
    rfs_mount_request request = {.size = sizeof request, .mount_index = RFS_MOUNTFD_ROOTFS, .err = &err};
    int fd = rfs_mountfd_request(&socket, &request);
    struct lacking lacking = lacking_on_host();
    if (lacking.call && fd == lacking.code)
        return;
    CHECK_SUCCESS(fd < 0 ? fd : 0, &err);
    struct stat here, opened;
    CHECK(stat(image(""), &here) == 0 && fstat(fd, &opened) == 0 && here.st_ino == opened.st_ino);
    close(fd);
}

static void wrong_indices(void)
{
    rfs_plan *plan = small_plan();
    int sockets[2];
    rfs_error err;
    new_sockets(SOCK_SEQPACKET, sockets);
    pid_t pid = serve_in_child(plan, sockets, 0);
    CHECK_ERROR(answer_to(sockets[CONTAINER], 3, &err), &err, .code = -EPERM, .stage = RFS_STAGE_MOUNTFD,
                .says = "no such mount");
    CHECK_ERROR(answer_to(sockets[CONTAINER], UINT64_MAX - 1, &err), &err, .code = -EPERM, .says = "no such mount");
    check_rootfs(sockets[CONTAINER]);
    CHECK_ERROR(answer_to(sockets[CONTAINER], RFS_MOUNTFD_ROOTFS, &err), &err, .code = -EPERM,
                .says = "asked for before");
    CHECK_ERROR(answer_to(sockets[CONTAINER], UINT64_C(1) << 32, &err), &err, .code = -EPERM, .says = "no such mount");
    CHECK_ERROR(answer_to(sockets[CONTAINER], 1, &err), &err, .code = -EPERM, .says = "makes this mount itself");
    CHECK(answer_to(sockets[CONTAINER], 2, &err) == 0);
    CHECK_ERROR(answer_to(sockets[CONTAINER], 2, &err), &err, .code = -EPERM, .says = "asked for before");
    CHECK(answer_to(sockets[CONTAINER], 0, &err) == 0);
    close(sockets[CONTAINER]);
    wait_for_child(pid);

    note("10,000 requests");
    new_sockets(SOCK_SEQPACKET, sockets);
    pid = serve_in_child(plan, sockets, -EPROTO);
    unsigned refused = 0, gone = 0;
    for (int i = 0; i < 10000; i++) {
        int rc = answer_to(sockets[CONTAINER], 1, &err);
        CHECK(rc == -EPERM || rc == -ECONNRESET);
        refused += rc == -EPERM;
        gone += rc == -ECONNRESET;
    }
    CHECK_THAT(refused == 17 && gone == 9983, "%u refused, %u to nobody", refused, gone);
    close(sockets[CONTAINER]);
    wait_for_child(pid);
}

/* Sends without end and never reads. */
static void flood(void)
{
    rfs_plan *plan = small_plan();
    char packet[64];
    size_t size = packet_for(0, packet, sizeof packet);
    static const int types[] = {SOCK_SEQPACKET, SOCK_STREAM};
    for (size_t t = 0; t < COUNT(types); t++) {
        int sockets[2], sent = 0;
        new_sockets(types[t], sockets);
        pid_t pid = serve_in_child(plan, sockets, -EPROTO);
        while (sent < 10000 && send(sockets[CONTAINER], packet, size, MSG_NOSIGNAL) == (ssize_t)size)
            sent++;
        CHECK_THAT(sent > 0 && sent < 10000, "%d were sent", sent);
        close(sockets[CONTAINER]);
        wait_for_child(pid);
    }
    /* a buffer with room for few answers, and many mounts to ask for */
    json_object *spec = empty_spec();
    for (int i = 0; i < 300; i++)
        spec_add(spec, "mounts",
                 "{'destination': '/many/%d', 'type': 'bind', 'source': '%s/source', 'options': ['bind']" MAPPED "}", i,
                 work);
    plan = plan_of(spec);
    int sockets[2], small = 4096;
    new_sockets(SOCK_SEQPACKET, sockets);
    REQUIRE(setsockopt(sockets[HOST], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    pid_t pid = serve_in_child(plan, sockets, -EPROTO);
    for (int i = 0; i < 300; i++) {
        memcpy(packet + size - 8, &(uint64_t){(uint64_t)i}, 8);
        if (send(sockets[CONTAINER], packet, size, MSG_NOSIGNAL) < 0)
            break;
    }
    wait_for_child(pid);
    close(sockets[CONTAINER]);
}

static uint32_t next_random(void)
{
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static void fuzzed(void)
{
    rfs_plan *plan = small_plan();
    char good[64];
    size_t size = packet_for(0, good, sizeof good);
    static struct descriptors before, after;
    list_descriptors(&before);
    unsigned results[3] = {0};
    for (int round = 0; round < 10000; round++) {
        int sockets[2];
        rfs_error err;
        new_sockets(round & 1 ? SOCK_STREAM : SOCK_SEQPACKET, sockets);
        for (unsigned n = next_random() % 6; n > 0; n--) {
            char packet[64];
            size_t length = next_random() % 4 ? size : next_random() % sizeof packet;
            memcpy(packet, good, sizeof packet);
            if (next_random() % 2) /* another index */
                packet[size - 8] = (char)(next_random() % 5);
            for (unsigned flips = next_random() % 8 ? 0 : next_random() % 4; flips > 0; flips--)
                packet[next_random() % sizeof packet] ^= (char)(1 << next_random() % 8);
            if (length && next_random() % 16 == 0)
                send_descriptors(sockets[CONTAINER], packet, length, 1 + (int)(next_random() % 8));
            else if (send(sockets[CONTAINER], packet, length, MSG_NOSIGNAL) < 0)
                break;
        }
        int rc = serve_written(plan, sockets, next_random() % 2, &err);
        CHECK_THAT(rc == 0 || rc == -EBADMSG || rc == -EPROTO, "round %d: %d: %.1024s", round, rc, err.message);
        results[rc == 0 ? 0 : rc == -EBADMSG ? 1 : 2]++;
    }
    note("%u ended, %u malformed, %u refused", results[0], results[1], results[2]);
    CHECK(results[0] > 100 && results[1] > 100);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after 10,000 peers");
}

static void on_signal(int signal)
{
    (void)signal;
}

static void interrupted(void)
{
    rfs_plan *plan = small_plan();
    int sockets[2];
    rfs_error err;
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
    struct itimerval often = {{0, 200}, {0, 200}}, never = {0};
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        new_sockets(i & 1 ? SOCK_STREAM : SOCK_SEQPACKET, sockets);
        pid_t pid = fork();
        if (pid == 0) {
            close(sockets[CONTAINER]);
            setitimer(ITIMER_REAL, &often, NULL);
            err = fresh_error();
            CHECK_SUCCESS(rfs_mountfd_serve(plan, sockets[HOST], -1, -1, &err), &err);
            end_case();
        }
        close(sockets[HOST]);
        setitimer(ITIMER_REAL, &often, NULL);
        CHECK(answer_to(sockets[CONTAINER], 0, &err) == 0);
        usleep(2000);
        CHECK(answer_to(sockets[CONTAINER], 2, &err) == 0);
        close(sockets[CONTAINER]);
        wait_for_child(pid);
        setitimer(ITIMER_REAL, &never, NULL);
    }
    alarm(60);
}

static void killed_peers(void)
{
    rfs_plan *plan = small_plan();
    for (int i = 0; i < 10; i++) {
        int sockets[2], type = i & 1 ? SOCK_STREAM : SOCK_SEQPACKET;
        new_sockets(type, sockets);
        pid_t pid = fork();
        if (pid == 0) {
            close(sockets[HOST]);
            rfs_error err;
            for (;;)
                if (answer_to(sockets[CONTAINER], 0, &err) == -ECONNRESET)
                    pause();
        }
        close(sockets[CONTAINER]);
        pid_t killer = fork();
        if (killer == 0) {
            usleep((useconds_t)(500 * i));
            kill(pid, SIGKILL);
            _exit(0);
        }
        int rc = rfs_mountfd_serve(plan, sockets[HOST], -1, -1, NULL);
        CHECK_THAT(rc == 0 || rc == -EPROTO, "serve: %d", rc);
        close(sockets[HOST]);
        waitpid(killer, NULL, 0);
        waitpid(pid, NULL, 0);
        /* The host's side is killed while it is asked. */
        new_sockets(type, sockets);
        pid = fork();
        if (pid == 0) {
            close(sockets[CONTAINER]);
            usleep((useconds_t)(500 * i));
            kill(getpid(), SIGKILL);
        }
        close(sockets[HOST]);
        rfs_error err;
        CHECK_ERROR(answer_to(sockets[CONTAINER], 0, &err), &err, .code = -ECONNRESET, .stage = RFS_STAGE_MOUNTFD,
                    .says = "gone");
        CHECK(answer_to(sockets[CONTAINER], 0, &err) == -ECONNRESET);
        close(sockets[CONTAINER]);
        waitpid(pid, NULL, 0);
    }
}

/* ---- The container's side, with a host's side that is none ---- */

static void strange_answers(void)
{
    (void)small_plan();
    static struct descriptors before, after;
    char good[1024] = {0}, packet[64];
    int sockets[2];
    rfs_error err;
    /* This is a true answer, which the next cases change. */
    rfs_plan *plan = plan_of_config(config_from_json(empty_spec()));
    size_t size = packet_for(0, packet, sizeof packet);
    new_sockets(SOCK_SEQPACKET, sockets);
    pid_t pid = serve_in_child(plan, sockets, 0);
    REQUIRE(send(sockets[CONTAINER], packet, size, MSG_NOSIGNAL) == (ssize_t)size);
    ssize_t length = recv(sockets[CONTAINER], good, sizeof good, 0);
    REQUIRE(length > 16 && length < (ssize_t)sizeof good);
    close(sockets[CONTAINER]);
    wait_for_child(pid);
    list_descriptors(&before);
    for (int i = 0; i < 7; i++) {
        note("answer %d", i);
        char answer[1024];
        memcpy(answer, good, sizeof answer);
        new_sockets(SOCK_SEQPACKET, sockets);
        int expected = -EBADMSG;
        switch (i) {
        case 0: /* cut short */
            REQUIRE(send(sockets[HOST], answer, (size_t)length - 1, 0) == length - 1);
            break;
        case 1: /* The packet is too long and has descriptors. */
            send_descriptors(sockets[HOST], answer, (size_t)length + 1, 3);
            break;
        case 2: /* rubbish with one */
            memset(answer, 0xff, sizeof answer);
            send_descriptors(sockets[HOST], answer, (size_t)length, 1);
            break;
        case 3: /* of another mount */
            answer[8] ^= 1;
            send_descriptors(sockets[HOST], answer, (size_t)length, 1);
            break;
        case 4: /* The packet has an error and a descriptor. */
            send_descriptors(sockets[HOST], answer, (size_t)length, 2);
            expected = -EPERM;
            break;
        case 5: /* success without one */
            memset(answer + 16, 0, 4);
            REQUIRE(send(sockets[HOST], answer, (size_t)length, 0) == length);
            expected = -EMFILE;
            break;
        case 6: /* nothing */
            close(sockets[HOST]);
            expected = -ECONNRESET;
            break;
        }
        CHECK_ERROR(answer_to(sockets[CONTAINER], 0, &err), &err, .code = expected, .stage = RFS_STAGE_MOUNTFD);
        close(sockets[CONTAINER]);
        if (i != 6)
            close(sockets[HOST]);
    }
    /* more than one */
    new_sockets(SOCK_SEQPACKET, sockets);
    memset(good + 16, 0, 4);
    send_descriptors(sockets[HOST], good, (size_t)length, 8);
    rfs_mount_request request = {.size = sizeof request};
    int fd = rfs_mountfd_request(&sockets[CONTAINER], &request);
    CHECK(fd >= 0);
    close(fd);
    close(sockets[HOST]);
    close(sockets[CONTAINER]);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after strange answers");
}

static void container_with_credentials(void)
{
    pass_credentials = true;
    without_user_namespace();
}

static void strange_packets_with_credentials(void)
{
    pass_credentials = true;
    strange_packets();
}

static void strange_answers_with_credentials(void)
{
    pass_credentials = true;
    strange_answers();
}

static void arguments(void)
{
    rfs_plan *plan = small_plan();
    rfs_error err = fresh_error();
    int sockets[2], pipe_ends[2], closed = 900;
    rfs_mount_request request = {.size = sizeof request, .err = &err};
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
    CHECK_ERROR(rfs_mountfd_serve(NULL, 0, -1, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                .says = "plan is NULL");
    CHECK_ERROR(rfs_mountfd_serve(plan, -1, -1, -1, &err), &err, .code = -EBADF, .stage = RFS_STAGE_MOUNTFD,
                .says = "socket -1");
    CHECK_ERROR(rfs_mountfd_serve(plan, closed, -1, -1, &err), &err, .code = -EBADF, .says = "socket 900");
    CHECK_ERROR(rfs_mountfd_serve(plan, pipe_ends[0], -1, -1, &err), &err, .code = -ENOTSOCK);
    CHECK_ERROR(rfs_mountfd_request(&closed, &request), &err, .code = -EBADF, .stage = RFS_STAGE_MOUNTFD);
    CHECK_ERROR(rfs_mountfd_request(&pipe_ends[0], &request), &err, .code = -ENOTSOCK);
    CHECK_ERROR(rfs_mountfd_request(NULL, &request), &err, .code = -EINVAL, .says = "socket is NULL");
    CHECK(rfs_mountfd_request(&closed, NULL) == -EINVAL);
    request.size = 4;
    CHECK(rfs_mountfd_request(&closed, &request) == -EINVAL);
    request.size = sizeof request;
    REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets) == 0);
    CHECK_ERROR(rfs_mountfd_serve(plan, sockets[0], -1, -1, &err), &err, .code = -EINVAL, .says = "SOCK_SEQPACKET");
    CHECK_ERROR(rfs_mountfd_request(&sockets[0], &request), &err, .code = -EINVAL, .says = "SOCK_SEQPACKET");
    int internet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (internet >= 0)
        CHECK_ERROR(rfs_mountfd_serve(plan, internet, -1, -1, &err), &err, .code = -EINVAL, .says = "AF_UNIX");
    new_sockets(SOCK_SEQPACKET, sockets);
    CHECK_ERROR(rfs_mountfd_serve(plan, sockets[0], host_proc, -1, &err), &err, .code = -EINVAL, .says = "userns_fd");
    struct timeval short_time = {0, 20000};
    REQUIRE(setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof short_time) == 0);
    CHECK_ERROR(rfs_mountfd_serve(plan, sockets[0], -1, -1, &err), &err, .code = -EAGAIN, .stage = RFS_STAGE_MOUNTFD);
}

static void no_descriptors_left(void)
{
    rfs_plan *plan = small_plan();
    int sockets[2];
    rfs_error err;
    new_sockets(SOCK_SEQPACKET, sockets);
    pid_t pid = serve_in_child(plan, sockets, 0);
    struct rlimit limit, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    none = (struct rlimit){3, limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    int rc = answer_to(sockets[CONTAINER], 0, &err);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (!lacking_on_host().call)
        CHECK_ERROR(rc, &err, .code = -EMFILE, .says = "RLIMIT_NOFILE");
    else
        CHECK(rc == 0);
    close(sockets[CONTAINER]);
    wait_for_child(pid);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"a container without a user namespace", without_user_namespace},
        {"a container with a user namespace", with_user_namespace},
        {"which mounts are locked in a user namespace", locks},
        {"new file systems", new_file_systems},
        {"an idmapped rootfs", idmapped_rootfs},
        {"200 idmapped mounts", many},
        {"failures are told", failures_are_told},
        {"hostile: strange packets", strange_packets},
        {"hostile: wrong indices, 10,000 requests", wrong_indices},
        {"hostile: floods", flood},
        {"hostile: 10,000 fuzzed peers", fuzzed},
        {"signals", interrupted},
        {"killed peers", killed_peers},
        {"strange answers", strange_answers},
        {"SO_PASSCRED: a container", container_with_credentials},
        {"SO_PASSCRED: strange packets", strange_packets_with_credentials},
        {"SO_PASSCRED: strange answers", strange_answers_with_credentials},
        {"arguments", arguments},
        {"no descriptors left", no_descriptors_left},
    };
    return run_cases(cases, COUNT(cases));
}
