/* From the start of rfs_prepare() to the end of rfs_finalize(), against the least that is safe: the same mounts, made
 * straight by a program without error messages, fallbacks or callbacks, but with every target resolved once in the
 * root by openat2(2). One floor makes detached mounts, whose flags are set before they are seen. The other one makes
 * them by mount(2) on descriptors, as on kernels or under policies without move_mount(2).
 * usage: phase BUNDLE ROUNDS               (as root, in a mount namespace of its own; BUNDLE has a config.json of OCI)
 *        phase BUNDLE run PROGRAM...         the floor as a runtime: a new container that runs a program
 * It prints a line for each way: its name, the median and the least microseconds, and the median of its page faults.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <librfs.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WARM_UP 3
#define DATA 16

/* glibc's sys/mount.h and the kernel's linux/mount.h exclude each other on some distributions. */
#define OLD_RDONLY 1ul
#define OLD_NOSUID 2ul
#define OLD_NODEV 4ul
#define OLD_NOEXEC 8ul
#define OLD_REMOUNT 32ul
#define OLD_BIND 4096ul
#define OLD_REC 16384ul
#define OLD_PRIVATE (1ul << 18)
#define OLD_SLAVE (1ul << 19)
#define OLD_STRICTATIME (1ul << 24)
#define DETACH 2
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);

struct entry {
    const char *destination, *type, *source, *data[DATA], *joined;
    uint64_t attributes;
    unsigned long flags;
    bool bind, recursive;
};

static struct entry *entries;
static size_t entry_count, readonly_count, masked_count;
static const char **readonly_paths, **masked_paths;
static const char *rootfs;
static bool readonly_rootfs;

static int must(long result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
    return (int)result;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/* --- what is to be done, read before anything is measured --- */

static void add_option(struct entry *entry, const char *option, char *joined)
{
    static const struct { const char *name; uint64_t attribute; unsigned long flag; } options[] = {
        {"ro", MOUNT_ATTR_RDONLY, OLD_RDONLY}, {"nosuid", MOUNT_ATTR_NOSUID, OLD_NOSUID},
        {"nodev", MOUNT_ATTR_NODEV, OLD_NODEV}, {"noexec", MOUNT_ATTR_NOEXEC, OLD_NOEXEC},
        {"strictatime", MOUNT_ATTR_STRICTATIME, OLD_STRICTATIME}, {"relatime", 0, 0}, {"rprivate", 0, 0}};
    size_t n = 0;
    if (strcmp(option, "bind") == 0 || strcmp(option, "rbind") == 0) {
        entry->bind = true;
        entry->recursive = option[0] == 'r';
        return;
    }
    for (size_t i = 0; i < COUNT(options); i++)
        if (strcmp(option, options[i].name) == 0) {
            entry->attributes |= options[i].attribute;
            entry->flags |= options[i].flag;
            return;
        }
    while (n < DATA && entry->data[n])
        n++;
    if (n == DATA)
        errx(1, "more than %d options of a file system", DATA);
    entry->data[n] = option;
    sprintf(joined + strlen(joined), "%s%s", *joined ? "," : "", option);
}

static const char *string_in(json_object *object, const char *name)
{
    return json_object_get_string(json_object_object_get(object, name));
}

static const char **paths_in(json_object *spec, const char *name, size_t *count)
{
    json_object *list = json_object_object_get(json_object_object_get(spec, "linux"), name);
    *count = list ? json_object_array_length(list) : 0;
    const char **paths = calloc(*count + 1, sizeof(*paths));
    for (size_t i = 0; i < *count; i++)
        paths[i] = json_object_get_string(json_object_array_get_idx(list, i));
    return paths;
}

static void read_bundle(const char *bundle, json_object *spec)
{
    json_object *mounts = json_object_object_get(spec, "mounts"), *root = json_object_object_get(spec, "root");
    char *path;
    must(asprintf(&path, "%s/%s", bundle, string_in(root, "path")), "asprintf");
    rootfs = path;
    readonly_rootfs = json_object_get_boolean(json_object_object_get(root, "readonly"));
    readonly_paths = paths_in(spec, "readonlyPaths", &readonly_count);
    masked_paths = paths_in(spec, "maskedPaths", &masked_count);
    entry_count = json_object_array_length(mounts);
    entries = calloc(entry_count + 1, sizeof(*entries));
    for (size_t i = 0; i < entry_count; i++) {
        json_object *object = json_object_array_get_idx(mounts, i), *list = json_object_object_get(object, "options");
        struct entry *entry = &entries[i];
        const char *type = string_in(object, "type");
        char joined[512] = "";
        entry->destination = string_in(object, "destination");
        entry->source = string_in(object, "source");
        for (size_t j = 0; list && j < json_object_array_length(list); j++)
            add_option(entry, json_object_get_string(json_object_array_get_idx(list, j)), joined);
        entry->type = type && strcmp(type, "cgroup") == 0 ? "cgroup2" : type;
        entry->joined = strdup(joined);
    }
}

/* --- the floors --- */

static int in_root(int root, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static bool is_directory(const char *path)
{
    struct stat there;
    return must(stat(path, &there), path) == 0 && S_ISDIR(there.st_mode);
}

/* A missing mount point is made in its parent, which is there in these bundles. */
static int target_in(int root, const char *path, const struct entry *entry)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    int target = in_root(root, path, O_PATH), parent;
    if (target >= 0 || errno != ENOENT)
        return must(target, path);
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    parent = must(in_root(root, folder, O_PATH), folder);
    if (!entry->bind || is_directory(entry->source))
        must(mkdirat(parent, slash + 1, 0755), path);
    else
        close(must(openat(parent, slash + 1, O_CREAT | O_EXCL | O_CLOEXEC, 0644), path));
    target = must(openat(parent, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC), path);
    close(parent);
    return target;
}

static void attach(int tree, int target)
{
    const unsigned int flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    must(syscall(SYS_move_mount, tree, "", target, "", flags), "move_mount");
}

static void set_flags(int tree, uint64_t attributes)
{
    struct mount_attr set = {.attr_set = attributes};
    if (attributes)
        must(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &set, sizeof set), "mount_setattr");
}

static int clone_of(int folder, const char *path, bool recursive)
{
    const unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    return must(syscall(SYS_open_tree, folder, path, flags | (recursive ? 0x8000 /* AT_RECURSIVE */ : 0)), path);
}

static int new_filesystem(const struct entry *entry)
{
    int fs = must(syscall(SYS_fsopen, entry->type, FSOPEN_CLOEXEC), entry->type), tree;
    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", entry->source, 0);
    for (size_t i = 0; i < DATA && entry->data[i]; i++) {
        char key[64];
        const char *value = strchr(entry->data[i], '=');
        snprintf(key, sizeof key, "%.*s", (int)strcspn(entry->data[i], "="), entry->data[i]);
        must(syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key,
                     value ? value + 1 : NULL, 0), key);
    }
    must(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), entry->type);
    tree = must(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, entry->attributes), entry->type);
    close(fs);
    return tree;
}

static void mount_detached(int root, const struct entry *entry)
{
    int target, tree;
    if (entry->bind) {
        tree = clone_of(AT_FDCWD, entry->source, entry->recursive);
        set_flags(tree, entry->attributes);
    } else {
        tree = new_filesystem(entry);
    }
    target = target_in(root, entry->destination, entry);
    attach(tree, target);
    close(target);
    close(tree);
}

static const char *name_of(int fd)
{
    static char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    return name;
}

static void remount(int root, const char *path, unsigned long flags)
{
    int made = must(in_root(root, path, O_PATH), path);
    must(mount(NULL, name_of(made), NULL, OLD_BIND | OLD_REMOUNT | flags, NULL), path);
    close(made);
}

static void mount_classic(int root, const struct entry *entry)
{
    int target = target_in(root, entry->destination, entry);
    if (entry->bind)
        must(mount(entry->source, name_of(target), NULL, OLD_BIND | (entry->recursive ? OLD_REC : 0), NULL),
             entry->destination);
    else
        must(mount(entry->source, name_of(target), entry->type, entry->flags, entry->joined), entry->destination);
    close(target);
    if (entry->bind && entry->flags)
        remount(root, entry->destination, entry->flags);
}

static void fill_dev(int root)
{
    static const struct { const char *name; unsigned int major, minor; } devices[] = {
        {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    static const char *const links[][2] = {
        {"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
        {"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"}};
    int dev = must(in_root(root, "/dev", O_PATH | O_DIRECTORY), "/dev");
    struct stat node;
    for (size_t i = 0; i < COUNT(devices); i++) {
        const dev_t number = makedev(devices[i].major, devices[i].minor);
        if (mknodat(dev, devices[i].name, S_IFCHR | 0666, number) < 0 && errno != EEXIST)
            err(1, "%s", devices[i].name);
        must(fstatat(dev, devices[i].name, &node, AT_SYMLINK_NOFOLLOW), devices[i].name);
    }
    for (size_t i = 0; i < COUNT(links); i++)
        if (symlinkat(links[i][0], dev, links[i][1]) < 0 && errno != EEXIST)
            err(1, "%s", links[i][1]);
    close(dev);
}

static void make_readonly(int root, const char *path, bool classic)
{
    int target = in_root(root, path, O_PATH), tree;
    if (target < 0)
        return;
    if (classic) {
        char name[32];
        strcpy(name, name_of(target));
        must(mount(name, name, NULL, OLD_BIND | OLD_REC, NULL), path);
        remount(root, path, OLD_RDONLY);
    } else {
        tree = clone_of(target, "", true);
        set_flags(tree, MOUNT_ATTR_RDONLY);
        attach(tree, target);
        close(tree);
    }
    close(target);
}

/* The first mask of a kind is made, and the others are clones of it. */
static void mask(int root, const char *path, bool classic, int first[2])
{
    static const struct entry empty = {.type = "tmpfs", .source = "tmpfs", .data = {"nr_blocks=1", "nr_inodes=1"},
        .joined = "nr_blocks=1,nr_inodes=1", .attributes = MOUNT_ATTR_RDONLY, .flags = OLD_RDONLY};
    const unsigned long flags = OLD_RDONLY | OLD_NOSUID | OLD_NOEXEC;
    int target = in_root(root, path, O_PATH), tree;
    struct stat there;
    if (target < 0)
        return;
    must(fstat(target, &there), path);
    int *made = &first[S_ISDIR(there.st_mode)], made_before = *made;
    if (classic) {
        char source[32];
        strcpy(source, name_of(made_before));
        if (S_ISDIR(there.st_mode) && made_before < 0) {
            must(mount("tmpfs", name_of(target), "tmpfs", OLD_RDONLY, empty.joined), path);
            *made = must(in_root(root, path, O_PATH), path);
        } else {
            must(mount(source, name_of(target), NULL, OLD_BIND, NULL), path);
            remount(root, path, S_ISDIR(there.st_mode) ? OLD_RDONLY : flags);
        }
    } else {
        if (S_ISDIR(there.st_mode))
            tree = made_before < 0 ? new_filesystem(&empty) : clone_of(made_before, "", false);
        else
            tree = clone_of(made_before, "", false);
        if (!S_ISDIR(there.st_mode))
            set_flags(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
        attach(tree, target);
        if (S_ISDIR(there.st_mode) && made_before < 0)
            *made = tree;
        else
            close(tree);
    }
    close(target);
}

static void floor_of(bool classic)
{
    int root, first[2] = {-1, -1};
    umask(0);
    must(mount(NULL, "/", NULL, OLD_SLAVE | OLD_REC, NULL), "/");
    if (classic) {
        must(mount(rootfs, rootfs, NULL, OLD_BIND | OLD_REC, NULL), rootfs);
        root = must(open(rootfs, O_PATH | O_CLOEXEC), rootfs);
    } else {
        int under = must(open(rootfs, O_PATH | O_CLOEXEC), rootfs);
        root = clone_of(under, "", true);
        attach(root, under);
        close(under);
    }
    must(mount(NULL, name_of(root), NULL, OLD_PRIVATE, NULL), rootfs);
    for (size_t i = 0; i < entry_count; i++)
        (classic ? mount_classic : mount_detached)(root, &entries[i]);
    fill_dev(root);
    must(fchdir(root), rootfs);
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", DETACH), "umount2");
    must(chdir("/"), "/");
    if (readonly_rootfs && classic)
        must(mount(NULL, "/", NULL, OLD_BIND | OLD_REMOUNT | OLD_RDONLY, NULL), "/");
    else if (readonly_rootfs)
        set_flags(root, MOUNT_ATTR_RDONLY);
    umask(022);
    for (size_t i = 0; i < readonly_count; i++)
        make_readonly(root, readonly_paths[i], classic);
    if (masked_count) {
        struct stat null;
        first[0] = must(in_root(root, "/dev/null", O_PATH | O_NOFOLLOW), "/dev/null");
        if (must(fstat(first[0], &null), "/dev/null") == 0 && null.st_rdev != makedev(1, 3))
            errx(1, "/dev/null is something else");
    }
    for (size_t i = 0; i < masked_count; i++)
        mask(root, masked_paths[i], classic, first);
    for (size_t i = 0; i < COUNT(first); i++)
        if (first[i] >= 0)
            close(first[i]);
    close(root);
}

/* --- the ways in turn --- */

struct way {
    const char *name;
    rfs_container *container; /* NULL: a floor */
    bool classic;
    double *times, *faults;
};

struct result {
    double time;
    long faults;
};

static void librfs(rfs_container *container)
{
    rfs_error error = {.size = sizeof error};
    if (rfs_prepare(container, NULL, &error) != 0 || rfs_finalize(container, &error) != 0)
        errx(1, "%s", error.message);
}

/* In a child as a runtime makes it, whose memory is a copy: what is touched there for the first time counts. */
static void start(struct way *way, int round, struct result *result)
{
    const unsigned long namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    int status;
    pid_t pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
    must(pid, "clone");
    if (pid == 0) {
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        double begin = now();
        if (way->container)
            librfs(way->container);
        else
            floor_of(way->classic);
        result->time = now() - begin;
        getrusage(RUSAGE_SELF, &after);
        result->faults = after.ru_minflt - before.ru_minflt;
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        errx(1, "%s failed", way->name);
    if (round >= 0) {
        way->times[round] = result->time;
        way->faults[round] = (double)result->faults;
    }
}

static int run(char **program)
{
    const unsigned long namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
    int status;
    pid_t pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
    must(pid, "clone");
    if (pid == 0) {
        floor_of(false);
        execv(program[0], program);
        err(127, "%s", program[0]);
    }
    must(waitpid(pid, &status, 0), "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static rfs_container *container_of(json_object *spec, const char *bundle, bool classic)
{
    const char *json = json_object_to_json_string(spec);
    rfs_error error = {.size = sizeof error};
    rfs_options options = {.size = sizeof options, .flags = classic ? RFS_OPTION_CLASSIC_MOUNT : 0};
    rfs_config *config;
    rfs_plan *plan;
    rfs_container *container;
    if (rfs_config_from_oci(json, strlen(json), bundle, &config, &error) != 0 ||
        (classic && rfs_config_set_options(config, &options, &error) != 0) ||
        rfs_plan_new(config, &plan, &error) != 0 || rfs_container_new(plan, &container, &error) != 0)
        errx(1, "%s", error.message);
    return container;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    struct way ways[] = {{.name = "floor"}, {.name = "librfs"}, {.name = "floor-mount2", .classic = true},
                         {.name = "librfs-mount2", .classic = true}};
    const bool runs = argc > 3 && strcmp(argv[2], "run") == 0;
    const int rounds = argc == 3 ? atoi(argv[2]) : 0;
    char path[4096];
    if (rounds <= 0 && !runs)
        errx(2, "usage: phase BUNDLE ROUNDS, phase BUNDLE run PROGRAM...");
    snprintf(path, sizeof path, "%s/config.json", argv[1]);
    json_object *spec = json_object_from_file(path);
    if (!spec)
        errx(1, "%s: %s", path, json_util_get_last_err());
    read_bundle(argv[1], spec);
    if (runs)
        return run(argv + 3);
    struct result *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED)
        err(1, "mmap");
    for (size_t i = 0; i < COUNT(ways); i++) {
        ways[i].times = calloc((size_t)rounds, sizeof(double));
        ways[i].faults = calloc((size_t)rounds, sizeof(double));
        if (i % 2)
            ways[i].container = container_of(spec, argv[1], ways[i].classic);
    }
    for (int round = -WARM_UP; round < rounds; round++)
        for (size_t i = 0; i < COUNT(ways); i++)
            start(&ways[i], round, result);
    for (size_t i = 0; i < COUNT(ways); i++) {
        qsort(ways[i].times, (size_t)rounds, sizeof(double), compare);
        qsort(ways[i].faults, (size_t)rounds, sizeof(double), compare);
        printf("%s %.1f %.1f %.0f\n", ways[i].name, ways[i].times[rounds / 2], ways[i].times[0],
               ways[i].faults[rounds / 2]);
    }
    return 0;
}
