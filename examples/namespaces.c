/* Makes and joins namespaces, as linux.namespaces, uidMappings and gidMappings of config.json ask.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "namespaces.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <json.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void read_namespaces(struct namespaces *n, struct json_object *config)
{
    static const struct { const char *name; int type; } known[] = {
        {"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC},
        {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP}, {"mount", CLONE_NEWNS}, {"user", CLONE_NEWUSER}};
    struct json_object *list = json_at(config, "/linux/namespaces");
    for (size_t i = 0, k; i < json_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        const char *name = json_string_at(entry, "/type"), *path = json_string_at(entry, "/path");
        for (k = 0; k < COUNT(known) && strcmp(name ? name : "", known[k].name) != 0; k++)
            ;
        if (k == COUNT(known) || namespaces_have(n, known[k].type))
            fail("config.json: linux.namespaces[%zu]: \"%s\" comes twice, or this program can't make it", i, name);
        if (!path || !*path) { /* Go writes an empty path for a missing one */
            n->made |= (uint64_t)known[k].type;
            continue;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            fail("config.json: linux.namespaces[%zu].path: %s: %s", i, path, strerror(errno));
        if (ioctl(fd, NS_GET_NSTYPE) != known[k].type)
            fail("config.json: linux.namespaces[%zu].path: %s: it is no %s namespace", i, path, name);
        struct joined *joined = known[k].type == CLONE_NEWUSER ? &n->user : &n->joined[n->n_joined++];
        *joined = (struct joined){fd, known[k].type, path};
    }
    if ((json_at(config, "/hostname") || json_at(config, "/domainname")) && !namespaces_have(n, CLONE_NEWUTS))
        fail("config.json: hostname: it needs a uts namespace, or the host would be renamed");
}

static size_t read_ranges(struct id_range **ranges, struct json_object *list)
{
    *ranges = calloc(json_length(list) + 1, sizeof(**ranges));
    if (!*ranges)
        fail("out of memory");
    for (size_t i = 0; i < json_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        (*ranges)[i].inside = (uint32_t)json_object_get_int64(json_at(entry, "/containerID"));
        (*ranges)[i].outside = (uint32_t)json_object_get_int64(json_at(entry, "/hostID"));
        (*ranges)[i].count = (uint32_t)json_object_get_int64(json_at(entry, "/size"));
    }
    return json_length(list);
}

bool namespaces_begin_empty(void)
{
    /* OPEN_TREE_NAMESPACE, AT_RECURSIVE, AT_EMPTY_PATH */
    enum { NAMESPACE = 2, RECURSIVE = 0x8000, EMPTY_PATH = 0x1000 };

    /* This call changes nothing: a kernel that knows the flags refuses the descriptor, and another kernel refuses
     * the flags. */
    return syscall(SYS_open_tree, -1, "", NAMESPACE | RECURSIVE | EMPTY_PATH) < 0 && errno == EBADF;
}

bool namespaces_makes_mount(struct json_object *config)
{
    struct json_object *list = json_at(config, "/linux/namespaces");
    for (size_t i = 0; i < json_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        const char *name = json_string_at(entry, "/type"), *path = json_string_at(entry, "/path");
        if (name && strcmp(name, "mount") == 0)
            return !path || !*path;
    }
    return false;
}

bool namespaces_without_mappings(struct json_object *config)
{
    struct json_object *list = json_at(config, "/linux/namespaces");
    for (size_t i = 0; i < json_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        const char *name = json_string_at(entry, "/type"), *path = json_string_at(entry, "/path");
        if (name && strcmp(name, "user") == 0 && path && *path)
            return false; /* it has its own */
    }
    return json_length(json_at(config, "/linux/uidMappings")) == 0 &&
        json_length(json_at(config, "/linux/gidMappings")) == 0;
}

void namespaces_read(struct namespaces *n, struct json_object *config, bool rootless)
{
    read_namespaces(n, config);
    n->n_uids = read_ranges(&n->uids, json_at(config, "/linux/uidMappings"));
    n->n_gids = read_ranges(&n->gids, json_at(config, "/linux/gidMappings"));
    if (rootless && !n->user.path)
        n->made |= CLONE_NEWUSER;
    if (rootless && namespaces_without_mappings(config)) {
        n->uids[n->n_uids++] = (struct id_range){0, geteuid(), 1};
        n->gids[n->n_gids++] = (struct id_range){0, getegid(), 1};
    }
    if (n->made & CLONE_NEWUSER && !(n->n_uids && n->n_gids))
        fail("config.json: linux.uidMappings, gidMappings: a user namespace needs both");
}

void namespaces_free(struct namespaces *n)
{
    for (size_t i = 0; i < n->n_joined; i++)
        close(n->joined[i].fd);
    close(n->user.fd);
    free(n->uids);
    free(n->gids);
}

bool namespaces_have(const struct namespaces *n, int type)
{
    for (size_t i = 0; i < n->n_joined; i++)
        if (n->joined[i].type == type)
            return true;
    return n->made & (uint64_t)type || (type == CLONE_NEWUSER && n->user.path);
}

/* Joins a namespace. False if the kernel refuses it, so that it may be tried again. */
static bool join(const struct joined *joined, bool again)
{
    if (setns(joined->fd, joined->type) == 0)
        return true;
    if (errno != EPERM || !again)
        fail("joining the namespace %s: %s", joined->path, strerror(errno));
    return false;
}

/* The owner of a namespace decides which user namespace may join it (setns(2)). The host's user namespace joins what
 * it may, and the container's joins the rest, as in nsenter(1). */
static void join_all(const struct namespaces *n)
{
    bool done[COUNT(n->joined)];
    for (size_t i = 0; i < n->n_joined; i++)
        done[i] = join(&n->joined[i], n->user.path);
    if (n->user.path)
        join(&n->user, false);
    for (size_t i = 0; i < n->n_joined; i++)
        if (!done[i])
            join(&n->joined[i], false);
}

static const char making[] = "making the namespaces, which takes root or --rootless";

/* The namespaces that a process can only be made in. It makes the others after it has become root there, because the
 * inode of an ipc namespace's mqueue belongs to the user who makes the namespace. */
static const uint64_t made_by_clone = CLONE_NEWUSER | CLONE_NEWPID;

static pid_t make_process(const struct namespaces *n, uint64_t flags, uint64_t exit_signal)
{
    struct clone_args args = {.flags = (n->made & made_by_clone) | flags, .exit_signal = exit_signal};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args)); /* like fork(2), but into new namespaces */
    if (pid < 0)
        fail("%s: %s", making, strerror(errno));
    return pid;
}

/* Closes the descriptors of namespaces, which the container's process does not need. */
static void close_joined(const struct namespaces *n)
{
    for (size_t i = 0; i < n->n_joined; i++)
        close(n->joined[i].fd);
    if (n->user.path)
        close(n->user.fd);
}

/* An intermediate process joins the namespaces. This process can't, because it has the host's hooks to run, and a
 * process in a new user namespace has no privilege to join others. The container's process is still this one's child
 * (CLONE_PARENT). Its exit signal is the one of the intermediate process. */
pid_t namespaces_clone(const struct namespaces *n)
{
    int ends[2], status;
    pid_t pid;
    if (n->n_joined == 0 && !n->user.path)
        return make_process(n, 0, SIGCHLD);
    if (pipe2(ends, O_CLOEXEC) != 0)
        fail("pipe: %s", strerror(errno));
    pid_t between = fork();
    if (between == 0) {
        /* The root of a joined user namespace may trace the processes in it, and would find the host's root
         * directory in this one (CVE-2016-9962). This setting lasts until the container's program is executed. A new
         * user namespace has no other process yet, and a user must be able to write its mappings. */
        if (!(n->made & CLONE_NEWUSER))
            prctl(PR_SET_DUMPABLE, 0);
        join_all(n);
        pid = make_process(n, CLONE_PARENT, 0);
        if (pid == 0) {
            close_joined(n);
            close(ends[0]);
            close(ends[1]);
            return 0;
        }
        _exit(write(ends[1], &pid, sizeof(pid)) != sizeof(pid));
    }
    if (between < 0 || waitpid(between, &status, 0) != between)
        fail("fork: %s", strerror(errno));
    if (status != 0 || read(ends[0], &pid, sizeof(pid)) != sizeof(pid))
        exit(FAILED); /* it has printed the reason */
    close(ends[0]);
    close(ends[1]);
    return pid;
}

/* Writes a mapping in one write(2), because the kernel takes no second one. */
static bool write_proc(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

static void write_map(pid_t pid, const char *name, const struct id_range *ranges, size_t n)
{
    char text[4096]; /* the kernel takes less */
    size_t length = 0;
    for (size_t i = 0; i < n && length < sizeof(text); i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%u %u %u\n", ranges[i].inside,
            ranges[i].outside, ranges[i].count);
    if (length >= sizeof(text) || !write_proc(pid, name, text))
        fail("writing /proc/%d/%s: %s", (int)pid, name, length >= sizeof(text) ? "too many ranges" : strerror(errno));
}

/* Runs a program that has the privilege to map the ranges that /etc/subuid or /etc/subgid gives this user. */
static void run_mapper(const char *program, pid_t pid, const struct id_range *ranges, size_t n)
{
    char **args = calloc(3 * n + 3, sizeof(*args));
    int status;
    if (!args || (args[0] = strdup(program)) == NULL || asprintf(&args[1], "%d", (int)pid) < 0)
        fail("out of memory");
    for (size_t i = 0; i < 3 * n; i++) {
        const struct id_range *range = &ranges[i / 3];
        if (asprintf(&args[i + 2], "%u", i % 3 == 0 ? range->inside : i % 3 == 1 ? range->outside : range->count) < 0)
            fail("out of memory");
    }
    pid_t child = fork();
    if (child == 0) {
        execvp(program, args);
        fail("%s: %s; it is needed for more than one id (Debian: uidmap)", program, strerror(errno));
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fail("%s could not map the ids", program);
    for (size_t i = 0; args[i]; i++)
        free(args[i]);
    free(args);
}

/* The file can be opened until that process has become another user. */
static int open_user_namespace(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail("%s: %s", path, strerror(errno));
    return fd;
}

void namespaces_map_ids(struct namespaces *n, pid_t pid)
{
    bool own_ids_alone = n->n_uids == 1 && n->uids[0].count == 1 && n->uids[0].outside == geteuid() &&
        n->n_gids == 1 && n->gids[0].count == 1 && n->gids[0].outside == getegid();
    if (!(n->made & CLONE_NEWUSER))
        return;
    if (geteuid() != 0 && !own_ids_alone) {
        run_mapper("newuidmap", pid, n->uids, n->n_uids);
        run_mapper("newgidmap", pid, n->gids, n->n_gids);
    } else {
        /* Without this a user could leave a group to which access is denied. */
        if (geteuid() != 0 && !write_proc(pid, "setgroups", "deny"))
            fail("writing /proc/%d/setgroups: %s", (int)pid, strerror(errno));
        write_map(pid, "uid_map", n->uids, n->n_uids);
        write_map(pid, "gid_map", n->gids, n->n_gids);
    }
    n->user.fd = open_user_namespace(pid);
}

/* Whether the container has an id 0. Without ranges the user namespace is a joined one, which has its own mappings. */
static bool maps_root(const struct id_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ranges[i].inside == 0 && ranges[i].count > 0)
            return true;
    return n == 0;
}

const char *namespaces_enter(const struct namespaces *n, uid_t uid, gid_t gid)
{
    if (maps_root(n->uids, n->n_uids))
        uid = 0;
    if (maps_root(n->gids, n->n_gids))
        gid = 0;
    /* If only the user's own ids are mapped, the kernel forbids setgroups(2). */
    if (namespaces_have(n, CLONE_NEWUSER) &&
        ((setgroups(0, NULL) != 0 && errno != EPERM) || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0))
        return "becoming root, or process.user, in the user namespace";
    uint64_t later = made_by_clone | (n->mount_later ? CLONE_NEWNS : 0);
    return unshare((int)(n->made & ~later)) == 0 ? NULL : making;
}
