/* tmpcopyup: a tmpfs that begins with a copy of what it covers.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define COPY_UP(path, options) \
    "{'destination': '" path "', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['tmpcopyup'" options "]}"
#define MANY 10000

static void list_xattrs(FILE *out, const char *path)
{
    char names[4096], value[4096];
    ssize_t size = llistxattr(path, names, sizeof names);
    /* The order of names is the file system's: a sum has none. */
    unsigned long sum = 0;
    size_t n = 0;
    for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        if (strncmp(name, "security.", 9) == 0 && strcmp(name, "security.capability") != 0)
            continue;
        ssize_t length = lgetxattr(path, name, value, sizeof value);
        unsigned long hash = 5381;
        for (const char *c = name; *c; c++)
            hash = hash * 33 + (unsigned char)*c;
        for (ssize_t i = 0; i < length; i++)
            hash = hash * 33 + (unsigned char)value[i];
        sum += hash;
        n++;
    }
    if (n)
        fprintf(out, " xattrs %zu %lx", n, sum);
}

static unsigned long sum_of(const char *path)
{
    char buffer[65536];
    unsigned long hash = 5381;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            hash = hash * 33 + (unsigned char)buffer[i];
    close(fd);
    return hash;
}

static void list_tree(FILE *out, const char *path, size_t prefix)
{
    struct stat st;
    if (!CHECK_THAT(lstat(path, &st) == 0, "%s", path))
        return;
    fprintf(out, "%s %o %u:%u %lld.%09ld", path + prefix, st.st_mode, st.st_uid, st.st_gid,
            (long long)st.st_mtim.tv_sec,
            st.st_mtim.tv_nsec);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        fprintf(out, " %u:%u", major(st.st_rdev), minor(st.st_rdev));
    if (S_ISREG(st.st_mode))
        fprintf(out, " %lld %lx links %lu", (long long)st.st_size, sum_of(path), (unsigned long)st.st_nlink);
    list_xattrs(out, path);
    if (S_ISLNK(st.st_mode)) {
        char target[4096];
        ssize_t n = readlink(path, target, sizeof target);
        fprintf(out, " -> %.*s", (int)n, target);
    }
    fputc('\n', out);
    if (!S_ISDIR(st.st_mode))
        return;
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char below[4096];
        const char *name = entries[i]->d_name;
        snprintf(below, sizeof below, "%s/%s", path, name);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            list_tree(out, below, prefix);
        free(entries[i]);
    }
    free(entries);
}

/* A line for everything in it, with all that a copy must keep. malloced. */
static char *tree(const char *path)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    list_tree(out, path, strlen(path));
    fclose(out);
    return text;
}

static void same_tree(const char *have, const char *want)
{
    while (*have || *want) {
        int a = (int)strcspn(have, "\n"), b = (int)strcspn(want, "\n");
        if (!CHECK_THAT(a == b && memcmp(have, want, (size_t)a) == 0, "have: %.*s, want: %.*s", a, have, b, want))
            return;
        have += a + (have[a] == '\n');
        want += b + (want[b] == '\n');
    }
}

static void set_xattr(const char *path, const char *name, const char *value)
{
    REQUIRE_THAT(lsetxattr(path, name, value, strlen(value), 0) == 0, "%s on %s", name, path);
}

/* A tmpfs takes user.* since Linux 6.6. */
static void try_xattr(const char *path, const char *name, const char *value)
{
    REQUIRE_THAT(lsetxattr(path, name, value, strlen(value), 0) == 0 || errno == EOPNOTSUPP, "%s on %s", name, path);
}

static void set_times(const char *path, time_t atime, time_t mtime)
{
    struct timespec times[] = {{atime, 111}, {mtime, 123456789}};
    REQUIRE(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0);
}

static void make_special_files(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", image("data/socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    close(fd);
    REQUIRE(chmod(image("data/socket"), 0666) == 0);
    REQUIRE(mkfifo(image("data/fifo"), 0620) == 0);
    REQUIRE(mknod(image("data/char"), S_IFCHR | 0644, makedev(1, 5)) == 0);
    REQUIRE(mknod(image("data/block"), S_IFBLK | 0660, makedev(7, 200)) == 0);
    REQUIRE(lchown(image("data/fifo"), 5, 6) == 0);
    set_times(image("data/fifo"), 500, 600);
    set_xattr(image("data/char"), "trusted.of-a-device", "x");
}

static void make_sparse(void)
{
    int fd = open(image("data/sparse"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    REQUIRE(pwrite(fd, "begin", 5, 0) == 5 && pwrite(fd, "middle", 6, 10 << 20) == 6);
    REQUIRE(ftruncate(fd, 30 << 20) == 0);
    close(fd);
}

/* Makes a file of every type in data. */
static void make_tree(void)
{
    /* vfs_cap_data of <linux/capability.h>, revision 2: cap_net_bind_service, effective and permitted. */
    static const unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
    make_image();
    image_file("data/suid", "suid");
    REQUIRE(chown(image("data/suid"), 12, 13) == 0 && chmod(image("data/suid"), 06755) == 0);
    image_file("data/capable", "capable");
    REQUIRE(chown(image("data/capable"), 14, 0) == 0);
    REQUIRE(setxattr(image("data/capable"), "security.capability", capability, sizeof capability, 0) == 0);
    set_xattr(image("data/capable"), "trusted.name", "value");
    try_xattr(image("data/capable"), "user.name", "another value");
    try_xattr(image("data/capable"), "user.empty", "");
    image_file("data/unreadable", "x");
    REQUIRE(chmod(image("data/unreadable"), 0) == 0);
    image_file("data/empty", "");
    image_directory("data/sticky", 01777);
    image_directory("data/group", 02775);
    REQUIRE(chown(image("data/group"), 20, 21) == 0);
    image_file("data/group/deep/er/file", "deep");
    REQUIRE(link(image("data/suid"), image("data/group/deep/link")) == 0);
    REQUIRE(link(image("data/suid"), image("data/again")) == 0);
    image_link("/etc/passwd", "data/absolute");
    image_link("no/such/file", "data/group/dangling");
    image_link("..", "data/up");
    REQUIRE(lchown(image("data/up"), 7, 8) == 0);
    set_xattr(image("data/up"), "trusted.of-a-link", "x");
    set_xattr(image("data/group"), "trusted.of-a-directory", "x");
    make_special_files();
    make_sparse();
    set_times(image("data/absolute"), 1000, 2000);
    set_times(image("data/group/deep/er/file"), 3000, 4000);
    set_times(image("data/group/deep"), 5000, 6000);
    REQUIRE(chown(image("data"), 30, 31) == 0 && chmod(image("data"), 03751) == 0);
    set_xattr(image("data"), "trusted.of-the-root", "x");
    set_times(image("data"), 7000, 8000);
}

static void inside_everything(void *data)
{
    check_mount("/data / rw,relatime - tmpfs tmpfs rw*");
    char *copy = tree("/data");
    same_tree(copy, data);
    free(copy);
    struct stat st, other;
    CHECK(stat("/data/suid", &st) == 0 && stat("/data/group/deep/link", &other) == 0 && st.st_ino == other.st_ino);
    CHECK(stat("/data/sparse", &st) == 0 && st.st_blocks <= 64);
    /* Nobody has read it. */
    CHECK(stat("/data/fifo", &st) == 0 && st.st_atim.tv_sec == 500 && st.st_atim.tv_nsec == 111);
    /* of the copy */
    CHECK(unlink("/data/suid") == 0 && chmod("/data", 0700) == 0);
    int fd = open("/data/empty", O_WRONLY | O_CLOEXEC);
    CHECK(write(fd, "x", 1) == 1);
    close(fd);
}

static void everything(void)
{
    make_tree();
    char *before = tree(image("data"));
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/data", ""));
    rfs_plan *plan = plan_of(spec);
    char *description = describe(plan);
    CHECK(strstr(description, "\"copy_up\":true"));
    free(description);
    umask(077);
    run_container(plan, NULL, inside_everything, before);
    char *after = tree(image("data"));
    same_tree(after, before);
    free(before);
    free(after);
    rfs_plan_free(plan);
}

static void inside_parameters(void *data)
{
    (void)data;
    struct stat st;
    CHECK(stat("/data", &st) == 0 && (st.st_mode & 07777) == 0711 && st.st_uid == 3 && st.st_gid == 31);
    CHECK(stat("/data/group", &st) == 0 && (st.st_mode & 07777) == 02775 && st.st_uid == 20 && st.st_gid == 21);
}

static void parameters_win(void)
{
    make_tree();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/data", ", 'mode=711', 'uid=3'"));
    run_container(plan_of(spec), NULL, inside_parameters, NULL);
}

static void inside_readonly(void *data)
{
    check_mount("/data / ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw*");
    char *copy = tree("/data");
    same_tree(copy, data);
    free(copy);
    CHECK(unlink("/data/empty") == -1 && errno == EROFS);
}

static void inside_recursively_readonly(void *data)
{
    (void)data;
    check_mount("/recursive / ro,relatime - tmpfs tmpfs rw*");
    CHECK(access("/recursive/file", F_OK) == 0);
    CHECK(unlink("/recursive/file") == -1 && errno == EROFS);
}

static void readonly(void)
{
    make_tree();
    image_file("recursive/file", "x");
    char *before = tree(image("data"));
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/data", ", 'ro', 'nosuid', 'nodev', 'noexec'"));
    run_container(plan_of(spec), NULL, inside_readonly, before);
    free(before);
    spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/recursive", ", 'rro'"));
    run_recursive(plan_of(spec), 0, inside_recursively_readonly, NULL);
}

static void inside_links(void *data)
{
    (void)data;
    check_mount("/real / rw,relatime - tmpfs tmpfs rw*");
    CHECK(access("/real/file", F_OK) == 0 && access("/alias/file", F_OK) == 0);
    CHECK(access("/missing/file", F_OK) == -1 && rmdir("/missing") == -1 && errno == EBUSY);
    /* The mount there is copied too. */
    CHECK(access("/outer/file", F_OK) == 0 && access("/outer/bound/inner", F_OK) == 0);
    struct stat outer, bound;
    CHECK(stat("/outer", &outer) == 0 && stat("/outer/bound", &bound) == 0 && outer.st_dev == bound.st_dev);
}

static void targets(void)
{
    make_image();
    image_file("real/file", "x");
    image_link("/real", "alias");
    image_file("outer/file", "x");
    image_directory("outer/bound", 0755);
    make_file(in_work("from/inner"), "x");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/alias", ""));
    spec_add(spec, "mounts", COPY_UP("/missing", ""));
    spec_add(spec, "mounts",
             "{'destination': '/outer/bound', 'type': 'bind', 'source': '%s/from', 'options': ['bind']}", work);
    spec_add(spec, "mounts", COPY_UP("/outer", ""));
    run_container(plan_of(spec), NULL, inside_links, NULL);
}

static void too_small(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -ENOSPC, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT,
                .index = 0, .says = "sub/large: No space left on device", .says_too = "size=", .path = "/data");
}

static void too_few_inodes(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -ENOSPC, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT,
                .index = 0, .says = "No space left on device", .says_too = "nr_inodes=", .path = "/data");
}

static void full(void)
{
    make_image();
    image_directory("data/sub", 0755);
    int fd = open(image("data/sub/large"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    char block[65536] = {1};
    for (int i = 0; i < 32; i++)
        REQUIRE(write(fd, block, sizeof block) == sizeof block);
    close(fd);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/data", ", 'size=1m'"));
    in_child(CONTAINER_NAMESPACES, too_small, container_of(plan_of(spec)));
    spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/data", ", 'nr_inodes=2'"));
    in_child(CONTAINER_NAMESPACES, too_few_inodes, container_of(plan_of(spec)));
}

static void inside_many(void *data)
{
    char *copy = tree("/data");
    same_tree(copy, data);
    free(copy);
    CHECK(access("/data/99/9999", F_OK) == 0);
}

static void many(void)
{
    make_image();
    char path[64];
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "data/%d/%d", i / 100, i);
        image_file(path, i % 10 ? "" : path);
    }
    char *before = tree(image("data"));
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", COPY_UP("/data", ""));
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    run_container(plan_of(spec), NULL, inside_many, before);
    clock_gettime(CLOCK_MONOTONIC, &end);
    note("%d files: %ld ms", MANY, (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
    free(before);
}

static void refuse(const char *mount, const char *says)
{
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "%s", mount);
    rfs_config *config = config_from_json(spec);
    json_object_put(spec);
    rfs_plan *plan = NULL;
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_plan_new(config, &plan, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_PLAN,
                .object = RFS_OBJECT_MOUNT,
                .index = 0, .says = says);
    rfs_config_free(config);
}

static void other_kinds(void)
{
    refuse("{'destination': '/proc', 'type': 'proc', 'source': 'proc', 'options': ['tmpcopyup']}", "tmpcopyup");
    refuse("{'destination': '/x', 'type': 'mqueue', 'source': 'mqueue', 'options': ['tmpcopyup']}", "tmpcopyup");
    refuse("{'destination': '/x', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['tmpcopyup=']}", "no value");
    refuse("{'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['bind', 'tmpcopyup']}",
           "\"tmpcopyup\" is for a tmpfs only");
}

/* A user namespace whose ids begin at 100000; this process becomes its root. */
static void enter_user_namespace(void)
{
    /* The range leaves out 65534, because ids that are not mapped are seen as 65534. */
    static const char map[] = "0 100000 65000\n";
    int ready[2];
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
    pid_t parent = getpid(), helper = fork();
    if (helper == 0) {
        char go, path[64];
        if (read(ready[0], &go, 1) != 1)
            _exit(1);
        for (int i = 0; i < 2; i++) {
            snprintf(path, sizeof path, "%d/%s", parent, i ? "uid_map" : "gid_map");
            int fd = openat(host_proc, path, O_WRONLY | O_CLOEXEC);
            if (write(fd, map, strlen(map)) != (ssize_t)strlen(map))
                _exit(1);
        }
        _exit(0);
    }
    int status;
    REQUIRE(helper > 0 && unshare(CLONE_NEWUSER) == 0 && write(ready[1], "x", 1) == 1);
    REQUIRE(waitpid(helper, &status, 0) == helper && status == 0);
    close(ready[0]);
    close(ready[1]);
    REQUIRE(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0 && unshare(CLONE_NEWNS) == 0);
}

static void inside_user_namespace(void *data)
{
    rfs_error err = fresh_error();
    enter_user_namespace();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    struct stat st;
    char value[64];
    CHECK(stat("/data", &st) == 0 && st.st_uid == 0 && st.st_gid == 0);
    CHECK(stat("/data/file", &st) == 0 && st.st_uid == 12 && st.st_gid == 13 && (st.st_mode & 07777) == 04750);
    /* This namespace sees revision 2. */
    CHECK(getxattr("/data/file", "security.capability", value, sizeof value) == 20);
}

static void with_foreign_owner(void *data)
{
    rfs_error err = fresh_error();
    enter_user_namespace();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT,
                .index = 0, .says = "file", .says_too = "user namespace", .path = "/data");
}

static int give_away(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return lchown(path, 100000, 100000);
}

static void in_a_user_namespace(void)
{
    /* Revision 3, of the namespace whose root is 100000. */
    static const unsigned char capability[24] = {1, 0, 0, 3, 0, 4, [20] = 0xa0, 0x86, 1};
    make_image();
    image_file("data/file", "x");
    REQUIRE(nftw(in_work("bundle"), give_away, 16, FTW_PHYS) == 0);
    REQUIRE(chown(image("data/file"), 100012, 100013) == 0 && chmod(image("data/file"), 04750) == 0);
    REQUIRE(setxattr(image("data/file"), "security.capability", capability, sizeof capability, 0) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    spec_add(spec, "mounts", COPY_UP("/data", ""));
    rfs_plan *plan = plan_of(spec);
    in_child(0, inside_user_namespace, container_of(plan));
    REQUIRE(chown(image("data/file"), 5, 5) == 0 && chmod(image("data/file"), 0644) == 0);
    in_child(0, with_foreign_owner, container_of(plan));
    rfs_plan_free(plan);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"everything is copied as it is, and the image stays", everything},
        {"mode= and uid= win over the directory's own", parameters_win},
        {"read-only after the copy", readonly},
        {"targets: links, missing ones, mounts below", targets},
        {"a tmpfs too small", full},
        {"10,000 files", many},
        {"in a user namespace", in_a_user_namespace},
        {"only for tmpfs", other_kinds},
    };
    return run_cases(cases, COUNT(cases));
}
