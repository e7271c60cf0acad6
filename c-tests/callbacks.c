/* rfs_callbacks: when hooks are called and what they see, what a mountfd callback may return, and the log.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Newer than the C library's headers. */
#define SYS_STATMOUNT 457 /* on x86_64 and most others */
#define MNT_ID_UNIQUE 0x4000

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Hooks */

struct seen {
    struct stat old_root, rootfs;
    char cwd[4096];
    rfs_point points[16];
    size_t n;
    rfs_point fail_at;
    int fail_with;
};

static void check_mounted(const char *below, bool expected)
{
    char *table = mount_table(), needle[4200];
    snprintf(needle, sizeof needle, "\n%s ", below);
    CHECK_THAT((strstr(table, needle) != NULL) == expected, "%s in the mount table", below);
    free(table);
}

static void check_old_root(const struct seen *seen, rfs_point point)
{
    struct stat st;
    bool mounted = point != RFS_POINT_ROOT_READY, has_dev = mounted && point != RFS_POINT_MOUNTED;
    CHECK(stat("/", &st) == 0 && same_file(&st, &seen->old_root));
    CHECK(stat(image(""), &st) == 0 && same_file(&st, &seen->rootfs));
    check_mounted(in_work("bundle/rootfs"), true);
    check_mounted(image("proc"), mounted);
    check_mounted(image("sys/fs/cgroup"), mounted);
    CHECK(has_dev ? lstat(image("dev/zero"), &st) == 0 && S_ISCHR(st.st_mode) && (st.st_mode & 07777) == 0666
                  : lstat(image("dev/zero"), &st) == -1 && errno == ENOENT);
    CHECK((lstat(image("dev/ptmx"), &st) == 0 && S_ISLNK(st.st_mode)) == has_dev);
    CHECK((lstat(image("dev/stdout"), &st) == 0 && S_ISLNK(st.st_mode)) == has_dev);
}

static void check_new_root(const struct seen *seen)
{
    struct stat st;
    char cwd[4096];
    CHECK(stat("/", &st) == 0 && same_file(&st, &seen->rootfs));
    CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") == 0);
    check_mounted(image(""), false);
    char *table = mount_table();
    CHECK_THAT(strncmp(table, "/ /bundle/rootfs rw", strlen("/ /bundle/rootfs rw")) == 0, "the mounts are %.200s",
               table);
    free(table);
    /* Nothing is read-only or masked yet. */
    CHECK(mkdir("/made-by-hook", 0700) == 0);
    CHECK(access("/proc/sys/kernel/domainname", W_OK) == 0);
    CHECK(stat("/proc/keys", &st) != 0 || S_ISREG(st.st_mode));
}

static int look_at_hook(void *userdata, rfs_point point)
{
    struct seen *seen = userdata;
    char cwd[4096];
    if (seen->n < COUNT(seen->points))
        seen->points[seen->n++] = point;
    mode_t mask = umask(0077);
    CHECK_THAT(mask == 0077, "umask %o at point %u", mask, point);
    struct stat here;
    switch (point) {
    case RFS_POINT_ROOT_READY:
    case RFS_POINT_MOUNTED:
    case RFS_POINT_MOUNTS_READY:
        check_old_root(seen, point);
        CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, seen->cwd) == 0);
        break;
    case RFS_POINT_CREATE_CONTAINER:
    case RFS_POINT_BEFORE_SWITCH:
        check_old_root(seen, point);
        CHECK(stat(".", &here) == 0 && same_file(&here, &seen->rootfs));
        CHECK_THAT(getcwd(cwd, sizeof cwd) && strcmp(cwd, in_work("bundle/rootfs")) == 0, "cwd %s", cwd);
        break;
    case RFS_POINT_AFTER_SWITCH:
        check_new_root(seen);
        break;
    default:
        CHECK_THAT(false, "unknown point %u", point);
    }
    return seen->fail_at == point ? seen->fail_with : 0;
}

static void begin(struct seen *seen)
{
    REQUIRE(stat("/", &seen->old_root) == 0 && stat(image(""), &seen->rootfs) == 0);
    REQUIRE(chdir(work) == 0 && getcwd(seen->cwd, sizeof seen->cwd));
    umask(0077);
}

static const rfs_point all_points[] = {RFS_POINT_ROOT_READY,       RFS_POINT_MOUNTED,       RFS_POINT_MOUNTS_READY,
                                       RFS_POINT_CREATE_CONTAINER, RFS_POINT_BEFORE_SWITCH, RFS_POINT_AFTER_SWITCH};

static void with_hooks(void *data)
{
    struct seen seen = {0};
    begin(&seen);
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &seen, .point = look_at_hook};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, &callbacks, &err), &err);
    CHECK(seen.n == COUNT(all_points) && memcmp(seen.points, all_points, sizeof all_points) == 0);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    CHECK(seen.n == COUNT(all_points));
    CHECK(access("/made-by-hook", F_OK) == 0);
    CHECK(mkdir("/another", 0700) == -1 && errno == EROFS);
}

static rfs_plan *default_plan(void)
{
    only_cgroup2();
    make_image();
    return plan_of(default_spec("runc"));
}

static void hooks_in_order(void)
{
    in_child(CONTAINER_NAMESPACES, with_hooks, container_of(default_plan()));
}

/* A forbidden act of a point's callback, and the point. */
struct misbehaviour {
    rfs_container *container;
    rfs_point at;
    int returns;
    bool calls_back, closes;
};

static void call_back(rfs_container *container)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(container, NULL, &err), &err, .code = -EINVAL);
    CHECK_ERROR(rfs_finalize(container, &err), &err, .code = -EINVAL);
    CHECK_ERROR(rfs_container_set_rootfs_fd(container, host_proc, &err), &err, .code = -EINVAL);
    CHECK_ERROR(rfs_container_set_source_fd(container, 0, host_proc, &err), &err, .code = -EINVAL);
    CHECK(rfs_container_root_fd(container) >= 0);
}

static int misbehave(void *userdata, rfs_point point)
{
    const struct misbehaviour *m = userdata;
    if (point != m->at)
        return 0;
    if (m->calls_back)
        call_back(m->container);
    /* Closes every descriptor of librfs, because the test has only its procfs above 2. */
    for (int fd = 3; m->closes && fd < 100; fd++)
        if (fd != host_proc)
            close(fd);
    return m->returns;
}

static void misbehaving(void *data)
{
    const struct misbehaviour *m = data;
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = data, .point = misbehave};
    rfs_error err = fresh_error();
    int rc = rfs_prepare(m->container, &callbacks, &err);
    if (rc == 0)
        rc = rfs_finalize(m->container, &err);
    if (rc != 0)
        CHECK_THAT(err.code == rc && err.message[0] != '\0', "point %u: %d: %s", m->at, rc, err.message);
    if (m->returns < 0)
        CHECK(rc < 0);
    /* Whatever it did, a success is one. */
    if (rc == 0)
        CHECK(access("/proc/sys/kernel/domainname", W_OK) == -1 && access("/bin/busybox", X_OK) == 0);
    if (!m->closes && m->returns >= 0)
        CHECK_SUCCESS(rc, &err);
}

static void point_callbacks_that_misbehave(void)
{
    const rfs_plan *plan = default_plan();
    const struct misbehaviour all[] = {
        {.calls_back = true},  {.returns = 1},       {.returns = INT_MAX},
        {.returns = INT_MIN},  {.returns = -100000}, {.closes = true},
    };
    for (size_t i = 0; i < COUNT(all); i++)
        for (size_t at = 0; at < COUNT(all_points); at++) {
            struct misbehaviour m = all[i];
            m.container = container_of(plan);
            m.at = all_points[at];
            char *before = read_all(host_proc, "self/mountinfo");
            in_child(CONTAINER_NAMESPACES, misbehaving, &m);
            char *after = read_all(host_proc, "self/mountinfo");
            CHECK(strcmp(before, after) == 0);
            free(before);
            free(after);
        }
}

struct failing {
    rfs_container *container;
    rfs_point at;
    int with;
};

static void with_failing_hook(void *data)
{
    const struct failing *f = data;
    struct seen seen = {.fail_at = f->at, .fail_with = f->with};
    begin(&seen);
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &seen, .point = look_at_hook};
    rfs_error err = fresh_error();
    int rc = rfs_prepare(f->container, &callbacks, &err);
    CHECK_ERROR(rc, &err, .code = f->with, .stage = RFS_STAGE_HOOKS, .says = "point callback");
    CHECK(seen.n > 0 && seen.points[seen.n - 1] == f->at &&
          memcmp(seen.points, all_points, seen.n * sizeof seen.points[0]) == 0);
    rc = rfs_finalize(f->container, &err);
    CHECK_ERROR(rc, &err, .code = -EINVAL);
}

static void hooks_that_fail(void)
{
    const rfs_plan *plan = default_plan();
    static const int errors[COUNT(all_points)] = {-EPERM, -EXDEV, -ENOENT, -E2BIG, -EIO, -ECANCELED};
    for (size_t i = 0; i < COUNT(all_points); i++) {
        struct failing failing = {container_of(plan), all_points[i], errors[i]};
        char *before = read_all(host_proc, "self/mountinfo");
        in_child(CONTAINER_NAMESPACES, with_failing_hook, &failing);
        char *after = read_all(host_proc, "self/mountinfo");
        CHECK(strcmp(before, after) == 0);
        rmdir(image("made-by-hook"));
    }
}

/* The log */

struct log {
    char text[4096];
    unsigned warnings, others;
};

static void keep_log(void *userdata, rfs_log_level level, const char *message)
{
    struct log *log = userdata;
    CHECK(level == RFS_LOG_WARNING || level == RFS_LOG_DEBUG);
    CHECK_THAT(!strpbrk(message, "\n\033") && strlen(message) > 5, "log: %s", message);
    if (level != RFS_LOG_WARNING) {
        log->others++;
        return;
    }
    log->warnings++;
    size_t used = strlen(log->text);
    snprintf(log->text + used, sizeof log->text - used, "%s|", message);
}

static void warnings(void)
{
    make_image();
    struct log log = {0};
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &log, .log = keep_log};
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/absolute', 'type': 'tmpfs'}");
    spec_add(spec, "mounts", "{'destination': 'some/rel\\na\\u001btive', 'type': 'tmpfs'}");
    rfs_container *container = container_of(plan_of(spec));
    /* This process has a namespace that is new to the plan. */
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(container, &callbacks, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    CHECK_THAT(log.warnings == 1 && strstr(log.text, "\"some/rel\\x0aa\\x1btive\""), "%u warnings: %s", log.warnings,
               log.text);
    check_mount("/some/rel\\012a\033tive / rw,relatime - tmpfs *");
}

/* mountfd */

struct answer {
    int (*open)(const rfs_mount_request *request);
    unsigned calls;
    int fd;
    rfs_mount_request request;
    char source[4096], destination[4096];
};

static int answer_request(void *userdata, const rfs_mount_request *request)
{
    struct answer *answer = userdata;
    answer->calls++;
    CHECK(request->size == sizeof *request);
    answer->request = *request;
    snprintf(answer->source, sizeof answer->source, "%s", request->source);
    snprintf(answer->destination, sizeof answer->destination, "%s", request->destination);
    return answer->fd = answer->open(request);
}

static int clone_tree(const char *path, unsigned flags)
{
    int fd = (int)syscall(SYS_open_tree, UNREFUSED(AT_FDCWD), path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
    REQUIRE_THAT(fd >= 0, "open_tree %s", path);
    return fd;
}

/* Made before the container, as a runtime's host side would. */
static int user_namespace = -1;

static int open_idmapped(const rfs_mount_request *request)
{
    int fd = clone_tree(request->source, request->flags & RFS_REQUEST_RECURSIVE ? AT_RECURSIVE : 0);
    int failed = idmap(fd, user_namespace, request->flags & RFS_REQUEST_IDMAP_RECURSIVE ? AT_RECURSIVE : 0);
    if (failed)
        close(fd);
    return failed ? -failed : fd;
}

static int open_other(const rfs_mount_request *request)
{
    (void)request;
    return clone_tree(in_work("other"), 0);
}

static int open_other_file(const rfs_mount_request *request)
{
    (void)request;
    return clone_tree(in_work("other/file"), 0);
}

static int open_plain(const rfs_mount_request *request)
{
    return clone_tree(request->source, 0);
}

static int answer_eperm(const rfs_mount_request *request)
{
    (void)request;
    return -EPERM;
}

static int answer_closed(const rfs_mount_request *request)
{
    (void)request;
    int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 300);
    close(fd);
    return fd;
}

static int answer_pipe(const rfs_mount_request *request)
{
    (void)request;
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    close(ends[1]);
    return ends[0];
}

static int answer_regular_file(const rfs_mount_request *request)
{
    (void)request;
    return open(in_work("other/file"), O_RDONLY | O_CLOEXEC);
}

static int answer_plain_directory(const rfs_mount_request *request)
{
    (void)request;
    return open(in_work("other"), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int answer_attached_mount(const rfs_mount_request *request)
{
    (void)request;
    return open(in_work("volume"), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int answer_attached_file(const rfs_mount_request *request)
{
    (void)request;
    return open(in_work("bound"), O_PATH | O_CLOEXEC);
}

static int answer_below_a_clone(const rfs_mount_request *request)
{
    (void)request;
    int tree = clone_tree(work, 0);
    int fd = openat(tree, "other", O_PATH | O_DIRECTORY | O_CLOEXEC);
    close(tree);
    return fd;
}

#define ANY_ERROR (-1000)

struct exchange {
    const char *name;
    const char *mount;
    int (*open)(const rfs_mount_request *request); /* NULL: no callback */
    uint64_t flags;
    const char *source; /* in work */
    int code;           /* 0: it works */
    const char *mounted;
    void (*inside)(void);
    uint64_t options;
};

static void exchange_in_container(void *data)
{
    const struct exchange *x = data;
    struct answer answer = {.open = x->open, .fd = -1};
    rfs_callbacks callbacks = {
        .size = sizeof callbacks, .userdata = &answer, .mountfd = x->open ? answer_request : NULL};
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/ok', 'type': 'tmpfs', 'source': 'tmpfs'}");
    spec_add(spec, "mounts", x->mount, work);
    rfs_config *config = config_from_json(spec);
    rfs_options options = {.size = sizeof options, .flags = x->options};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    rfs_container *container = container_of(plan_of_config(config));
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    char source[4096];
    snprintf(source, sizeof source, "%s/%s", work, x->source);
    int rc = rfs_prepare(container, x->open || x->options ? &callbacks : NULL, &err);
    if (x->code < 0) {
        CHECK_ERROR(rc, &err, .code = x->code == ANY_ERROR ? 0 : x->code, .stage = RFS_STAGE_MOUNTS,
                    .object = RFS_OBJECT_MOUNT, .index = 1, .says = "mounts[1]", .says_too = "/target");
    } else {
        REQUIRE_SUCCESS(rc, &err);
        REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
        check_mount(x->mounted);
        x->inside();
    }
    if (x->code < 0) { /* Nothing was moved away. */
        check_mount(in_work("volume / rw,relatime - tmpfs volume rw*"));
        check_mount(in_work("bound /other/file rw,relatime - * rw*"));
    }
    CHECK_THAT(answer.calls == (x->open && !(x->options & RFS_OPTION_ROOTLESS) ? 1 : 0),
               "the callback was called %u times", answer.calls);
    if (answer.calls) {
        CHECK(answer.request.mount_index == 1);
        CHECK_THAT(answer.request.flags == x->flags, "flags %#llx", (unsigned long long)answer.request.flags);
        CHECK_THAT(strcmp(answer.source, source) == 0, "source %s", answer.source);
        CHECK_THAT(strcmp(answer.destination, "/target") == 0, "destination %s", answer.destination);
        /* The library has closed it in any case. */
        CHECK_THAT(answer.fd < 0 || fcntl(answer.fd, F_GETFD) == -1, "the callback's descriptor is still open");
    }
}

static void inside_idmapped(void)
{
    struct stat st;
    CHECK(stat("/target/file", &st) == 0 && st.st_uid == 100007 && st.st_gid == 100008);
}

static void inside_other(void)
{
    struct stat st;
    CHECK(stat("/target/file", &st) == 0 && st.st_uid == 7);
}

static void inside_other_file(void)
{
    struct stat st;
    CHECK(stat("/target", &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 7);
}

#define IDMAPPED(options) \
    "{'destination': '/target', 'type': 'bind', 'source': '%s/other', 'options': [" options "]" MAPPED "}"
#define MISSING(options) "{'destination': '/target', 'type': 'bind', 'source': '%s/missing', 'options': [" options "]}"

/* The library learns from statmount(2) of Linux 6.8, and by the id that it takes, whether a mount is idmapped. */
static bool can_tell_idmapped(void)
{
    return !is_refused(syscall(SYS_STATMOUNT, NULL, NULL, 0, 0)) &&
           !is_refused(syscall(SYS_statx, -1, "", 0, MNT_ID_UNIQUE, NULL));
}

static void exchange(const struct exchange *as_hoped)
{
    struct exchange copy = *as_hoped, *x = &copy;
    mount_idmappable(work);
    make_image();
    user_namespace = user_namespace_from(100000);
    if (x->open == open_idmapped && !kernel_idmaps())
        x->code = -ENOSYS;
    if (x->open == open_plain && !can_tell_idmapped())
        x->code = 0;
    make_file(in_work("other/file"), "x");
    REQUIRE(chown(in_work("other/file"), 7, 8) == 0);
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", 0, NULL) == 0);
    make_file(in_work("bound"), "x");
    REQUIRE(mount(in_work("other/file"), in_work("bound"), NULL, MS_BIND, NULL) == 0);
    char *before = read_all(host_proc, "self/mountinfo");
    in_child(0, exchange_in_container, x);
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK(strcmp(before, after) == 0);
}

#define EXCHANGE(function, ...) \
    static void function(void) \
    { \
        static const struct exchange x = {#function, __VA_ARGS__}; \
        exchange(&x); \
    }

EXCHANGE(idmapped, IDMAPPED("'bind'"), open_idmapped, RFS_REQUEST_IDMAP, "other", 0,
         "/target /other rw,relatime,idmapped - * rw*", inside_idmapped, 0)
EXCHANGE(idmapped_flags, IDMAPPED("'bind', 'idmap', 'ro', 'nosuid'"), open_idmapped, RFS_REQUEST_IDMAP, "other", 0,
         "/target /other ro,nosuid,relatime,idmapped - * rw*", inside_idmapped, 0)
EXCHANGE(idmapped_tree, IDMAPPED("'rbind', 'idmap'"), open_idmapped, RFS_REQUEST_IDMAP | RFS_REQUEST_RECURSIVE, "other",
         0, "/target /other rw,relatime,idmapped - * rw*", inside_idmapped, 0)
EXCHANGE(idmapped_whole_tree, IDMAPPED("'rbind', 'ridmap'"), open_idmapped,
         RFS_REQUEST_IDMAP | RFS_REQUEST_RECURSIVE | RFS_REQUEST_IDMAP_RECURSIVE, "other", 0,
         "/target /other rw,relatime,idmapped - * rw*", inside_idmapped, 0)
EXCHANGE(not_idmapped, IDMAPPED("'bind'"), open_plain, RFS_REQUEST_IDMAP, "other", -EINVAL,
         "/target /other rw,relatime - * rw*", inside_other, 0)
EXCHANGE(of_another_kind, IDMAPPED("'bind'"), open_other_file, RFS_REQUEST_IDMAP, "other", -EINVAL, NULL, NULL, 0)
EXCHANGE(missing_source, MISSING("'bind'"), open_other, 0, "missing", 0, "/target /other rw,relatime - * rw*",
         inside_other, 0)
EXCHANGE(missing_source_flags, MISSING("'rbind', 'ro'"), open_other, RFS_REQUEST_RECURSIVE, "missing", 0,
         "/target /other ro,relatime - * rw*", inside_other, 0)
EXCHANGE(missing_file, MISSING("'bind'"), open_other_file, 0, "missing", 0, "/target /other/file rw,relatime - * rw*",
         inside_other_file, 0)
EXCHANGE(refused, MISSING("'bind'"), answer_eperm, 0, "missing", -EPERM, NULL, NULL, 0)
EXCHANGE(refused_idmap, IDMAPPED("'bind'"), answer_eperm, RFS_REQUEST_IDMAP, "other", -EPERM, NULL, NULL, 0)
EXCHANGE(closed, MISSING("'bind'"), answer_closed, 0, "missing", -EBADF, NULL, NULL, 0)
EXCHANGE(a_pipe, MISSING("'bind'"), answer_pipe, 0, "missing", ANY_ERROR, NULL, NULL, 0)
EXCHANGE(a_file, MISSING("'bind'"), answer_regular_file, 0, "missing", ANY_ERROR, NULL, NULL, 0)
EXCHANGE(a_directory, MISSING("'bind'"), answer_plain_directory, 0, "missing", ANY_ERROR, NULL, NULL, 0)
EXCHANGE(an_attached_mount, MISSING("'bind'"), answer_attached_mount, 0, "missing", ANY_ERROR, NULL, NULL, 0)
EXCHANGE(an_attached_file, MISSING("'bind'"), answer_attached_file, 0, "missing", ANY_ERROR, NULL, NULL, 0)
EXCHANGE(below_a_clone, MISSING("'bind'"), answer_below_a_clone, 0, "missing", ANY_ERROR, NULL, NULL, 0)
EXCHANGE(no_callback, MISSING("'bind'"), NULL, 0, "missing", -ENOENT, NULL, NULL, 0)
EXCHANGE(no_callback_idmap, IDMAPPED("'bind'"), NULL, 0, "other", ANY_ERROR, NULL, NULL, 0)
EXCHANGE(rootless, MISSING("'bind'"), open_other, 0, "missing", -ENOENT, NULL, NULL, RFS_OPTION_ROOTLESS)

/* Callbacks that are there but not needed. */

static int not_to_be_called(void *userdata, const rfs_mount_request *request)
{
    (void)userdata;
    CHECK_THAT(false, "mountfd was called for %s", request->source);
    return -EIO;
}

static void with_needless_callback(void *data)
{
    rfs_callbacks callbacks = {.size = sizeof callbacks, .mountfd = not_to_be_called};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, &callbacks, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
}

static void callback_not_needed(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/target', 'type': 'bind', 'source': '%s/from'}", work);
    spec_add(spec, "mounts", "{'destination': '/tmp', 'type': 'tmpfs', 'source': '/no/such/path'}");
    in_child(CONTAINER_NAMESPACES, with_needless_callback, container_of(plan_of(spec)));
}

static void with_callbacks_of_sizes(void *data)
{
    rfs_error err = fresh_error();
    struct {
        rfs_callbacks known;
        unsigned char tail[16];
    } larger = {.known = {.size = sizeof larger}, .tail = {[3] = 1}};
    CHECK_ERROR(rfs_prepare(data, &larger.known, &err), &err, .code = -E2BIG);
    rfs_callbacks callbacks = {.size = 0};
    CHECK_ERROR(rfs_prepare(data, &callbacks, &err), &err, .code = -EINVAL);
    callbacks.size = 7;
    CHECK_ERROR(rfs_prepare(data, &callbacks, &err), &err, .code = -EINVAL);
    callbacks = (rfs_callbacks){.size = sizeof callbacks, .state = "{}", .state_len = ((size_t)64 << 20) + 1};
    CHECK_ERROR(rfs_prepare(data, &callbacks, &err), &err, .code = -E2BIG, .says = "state");
    larger.tail[3] = 0;
    REQUIRE_SUCCESS(rfs_prepare(data, &larger.known, &err), &err);
}

static void callbacks_of_sizes(void)
{
    make_image();
    in_child(CONTAINER_NAMESPACES, with_callbacks_of_sizes, container_of(plan_of(empty_spec())));
}

int main(void)
{
    static const struct test_case cases[] = {
        {"hooks: in order, each in its state", hooks_in_order},
        {"hooks: an error ends it", hooks_that_fail},
        {"points: callbacks that call back, return nonsense or close what is not theirs",
         point_callbacks_that_misbehave},
        {"log: a relative destination", warnings},
        {"mountfd: idmapped", idmapped},
        {"mountfd: idmapped, with flags", idmapped_flags},
        {"mountfd: idmapped rbind", idmapped_tree},
        {"mountfd: ridmap", idmapped_whole_tree},
        {"mountfd: not idmapped, though it must be", not_idmapped},
        {"mountfd: a file for a directory", of_another_kind},
        {"mountfd: source out of reach", missing_source},
        {"mountfd: source out of reach, rbind,ro", missing_source_flags},
        {"mountfd: source out of reach, a file", missing_file},
        {"mountfd: error", refused},
        {"mountfd: error for an idmapped mount", refused_idmap},
        {"mountfd: closed descriptor", closed},
        {"mountfd: pipe", a_pipe},
        {"mountfd: regular file", a_file},
        {"mountfd: directory that is no mount", a_directory},
        {"mountfd: attached mount", an_attached_mount},
        {"mountfd: attached mount of a file", an_attached_file},
        {"mountfd: directory below a clone", below_a_clone},
        {"mountfd: no callback", no_callback},
        {"mountfd: no callback, idmapped", no_callback_idmap},
        {"mountfd: rootless never asks", rootless},
        {"mountfd: not called without need", callback_not_needed},
        {"rfs_callbacks of other sizes", callbacks_of_sizes},
    };
    return run_cases(cases, COUNT(cases));
}
