/* rfs_bind_fd(): files of the runtime's, bound from a point callback.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "descriptors.h"
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static rfs_container *other;
static int early = -1; /* opened before unshare */
static rfs_point when;
static struct descriptors before, after;

static int bound(int fd, const char *target)
{
    rfs_error err = fresh_error();
    int rc = rfs_bind_fd(this_container, fd, target, &err);
    CHECK_THAT(rc == 0, "%s: %d: %.1024s", target, rc, err.message);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    return rc;
}

static int open_path(const char *path)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    REQUIRE_THAT(fd >= 0, "open %s", path);
    return fd;
}

static int detached(const char *path)
{
    int fd = (int)syscall(SYS_open_tree, UNREFUSED(AT_FDCWD), path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    REQUIRE_THAT(fd >= 0, "open_tree %s", path);
    return fd;
}

static int bind_all(void *userdata, rfs_point point)
{
    (void)userdata;
    if (point != when)
        return 0;
    static const char *const files[] = {"file", "socket", "directory"};
    list_descriptors(&before);
    for (size_t i = 0; i < COUNT(files); i++) {
        char target[64];
        int fd = open_path(in_work("%s", files[i]));
        snprintf(target, sizeof target, "/run/new/%s", files[i]);
        bound(fd, target);
        snprintf(target, sizeof target, "/run/detached/%s", files[i]);
        close(fd);
        fd = detached(in_work("%s", files[i]));
        bound(fd, target);
        close(fd);
    }
    int fd = open_path(in_work("file"));
    bound(fd, "/there");           /* exists */
    bound(fd, "/to-nowhere");      /* a dangling link inside the root */
    bound(fd, "/out/passwd");      /* a link that leads out, if followed on the host */
    bound(fd, "/a/.././b/./../c"); /* cleaned */
    bound(fd, "/proc/uptime");     /* This is one of the few files below /proc that may be mounted on. */
    close(fd);
    list_descriptors(&after);
    check_descriptors(&before, &after, "after rfs_bind_fd");
    return 0;
}

static void inside_all(void *data)
{
    (void)data;
    static const char *const files[] = {"/run/new/file", "/run/detached/file", "/there", "/nowhere/at/all",
        "/etc/passwd", "/c", "/proc/uptime"};
    for (size_t i = 0; i < COUNT(files); i++) {
        char *text = read_all(AT_FDCWD, files[i]);
        CHECK_THAT(text && strcmp(text, "the runtime's") == 0, "%s: %s", files[i], text ? text : "missing");
        free(text);
    }
    CHECK(access("/run/new/directory/inner/below", F_OK) == 0);
    CHECK(access("/run/detached/directory/inner", F_OK) == 0);
    struct stat st;
    CHECK(stat("/run/detached/socket", &st) == 0 && S_ISSOCK(st.st_mode));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {AF_UNIX, "/run/new/socket"};
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
}

static void make_files(void)
{
    make_image();
    make_file(in_work("file"), "the runtime's");
    make_directory(in_work("directory/inner"), 0755);
    REQUIRE(mount("x", in_work("directory/inner"), "tmpfs", 0, NULL) == 0);
    make_file(in_work("directory/inner/below"), "");
    image_file("there", "the image's");
    image_file("etc/passwd", "the image's");
    image_link("/nowhere/at/all", "to-nowhere");
    image_link("../../../../../../etc", "out");
}

static void binds(void)
{
    make_files();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    REQUIRE(chdir(work) == 0); /* a path of 108 bytes at most */
    strcpy(address.sun_path, "socket");
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(listening, (struct sockaddr *)&address, sizeof address) == 0 && listen(listening, 8) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'proc', 'source': 'proc'}");
    const rfs_plan *plan = plan_of(spec);
    char *passwd = read_all(AT_FDCWD, "/etc/passwd");
    for (when = RFS_POINT_MOUNTED; when <= RFS_POINT_BEFORE_SWITCH; when++) {
        rfs_callbacks callbacks = {.size = sizeof callbacks, .point = bind_all};
        run_container(plan, &callbacks, inside_all, NULL);
    }
    char *now = read_all(AT_FDCWD, "/etc/passwd");
    CHECK(strcmp(passwd, now) == 0);
}

static int refuse_all(void *userdata, rfs_point point)
{
    (void)userdata;
    if (point == RFS_POINT_AFTER_SWITCH)
        return 0;
    rfs_error err = fresh_error();
    int file = open_path("/bin/sh"), directory = open_path("/");
    CHECK_ERROR(rfs_bind_fd(other, file, "/target", &err), &err, .code = -EINVAL, .says = "rfs_callbacks.point");
    CHECK_ERROR(rfs_bind_fd(NULL, file, "/target", &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTS,
                .says = "container is NULL");
    CHECK_ERROR(rfs_bind_fd(this_container, file, NULL, &err), &err, .code = -EINVAL, .says = "target is NULL");
    static const char *const targets[] = {"", "relative", "/", "/.", "/..", "/a/..", "/proc", "/proc/self",
        "/a/../proc/sys", "/to-proc", "/to-proc/sys"};
    for (size_t i = 0; i < COUNT(targets); i++)
        CHECK_ERROR(rfs_bind_fd(this_container, file, targets[i], &err), &err, .code = -EINVAL,
                    .stage = RFS_STAGE_MOUNTS);
    CHECK_ERROR(rfs_bind_fd(this_container, -1, "/target", &err), &err, .code = -EBADF, .says = "descriptor -1",
                .path = "/target");
    CHECK_ERROR(rfs_bind_fd(this_container, 900, "/target", &err), &err, .code = -EBADF, .says = "descriptor 900");
    CHECK_ERROR(rfs_bind_fd(this_container, early, "/target", &err), &err, .code = -EINVAL,
                .says = "open it after unshare(2)");
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    CHECK_ERROR(rfs_bind_fd(this_container, ends[0], "/target", &err), &err, .code = -EINVAL, .says = "descriptor");
    CHECK_ERROR(rfs_bind_fd(this_container, file, "/etc", &err), &err, .code = -ENOTDIR,
                .says = "is a file, but the destination is a directory");
    CHECK_ERROR(rfs_bind_fd(this_container, directory, "/there", &err), &err, .code = -ENOTDIR,
                .says = "is a directory, but the destination is a file");
    CHECK_ERROR(rfs_bind_fd(this_container, file, "/there/below", &err), &err, .code = -ENOTDIR);
    CHECK(access(image("target"), F_OK) != 0);
    char longest[5000];
    memset(longest, 'x', sizeof longest);
    for (size_t i = 0; i < sizeof longest; i += 100)
        longest[i] = '/';
    longest[sizeof longest - 1] = '\0';
    CHECK_ERROR(rfs_bind_fd(this_container, file, longest, &err), &err, .code = -ENAMETOOLONG);
    close(file);
    close(directory);
    return 0;
}

static void refused(void)
{
    make_files();
    image_link("/proc", "to-proc");
    early = open(in_work("file"), O_PATH | O_CLOEXEC);
    const rfs_plan *plan = plan_of(empty_spec());
    other = container_of(plan);
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_bind_fd(other, early, "/target", &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTS,
                .says = "rfs_callbacks.point");
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = refuse_all};
    run_container(plan, &callbacks, NULL, NULL);
}

/* Then the source is of the container's own, or a detached mount. */
static void after_the_switch(void *container)
{
    rfs_error err = fresh_error();
    int tree = detached(in_work("file")), outside = open_path(in_work("file"));
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    int own = open_path("/there");
    CHECK_SUCCESS(rfs_bind_fd(container, own, "/run/own", &err), &err);
    CHECK_SUCCESS(rfs_bind_fd(container, tree, "/run/detached/file", &err), &err);
    CHECK_ERROR(rfs_bind_fd(container, outside, "/target", &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTS);
    CHECK_ERROR(rfs_bind_fd(container, own, "/", &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTS);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    char *text = read_all(AT_FDCWD, "/run/own"), *more = read_all(AT_FDCWD, "/run/detached/file");
    CHECK(text && strcmp(text, "the image's") == 0 && more && strcmp(more, "the runtime's") == 0);
    CHECK_ERROR(rfs_bind_fd(container, own, "/run/own", &err), &err, .code = -EINVAL, .says = "rfs_finalize()");
}

static void switched(void)
{
    make_files();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    in_child(CONTAINER_NAMESPACES, after_the_switch, container_of(plan_of(spec)));
}

static int bind_opened(void *userdata, rfs_point point)
{
    if (point == RFS_POINT_MOUNTS_READY)
        bound(*(int *)userdata, "/mapped");
    return 0;
}

static void inside_opened(void *data)
{
    (void)data;
    CHECK_OWNER(AT_FDCWD, "/mapped/file", 100007, 100008);
}

/* A mount that the host's side has opened needs no mount in the plan's list. */
static void opened_before(void)
{
    make_source("source");
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts",
             "{'destination': '/elsewhere', 'type': 'bind', 'source': '%s/source', 'options': ['bind']" MAPPED "}",
             work);
    rfs_plan *source = plan_of(spec);
    int fd = rfs_mountfd_open(source, 0, -1, -1, NULL);
    struct lacking lacking = lacking_on_host();
    if (lacking.call) {
        CHECK(fd == lacking.code);
        return;
    }
    REQUIRE(fd >= 0);
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &fd, .point = bind_opened};
    run_container(plan_of(empty_spec()), &callbacks, inside_opened, NULL);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"files, sockets, directories", binds},
        {"after the switch", switched},
        {"what is refused", refused},
        {"a mount of the host's side", opened_before},
    };
    return run_cases(cases, COUNT(cases));
}
