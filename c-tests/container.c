/* Whole containers, seen from inside: what `runc spec`, `crun spec`, Docker and Podman ask for.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef TMPFS_MAGIC
#define TMPFS_MAGIC 0x01021994
#endif

struct look {
    json_object *spec;
    const char *root;   /* This is the expected line of "/". */
    const char *mounts; /* These are the lines after it, up to the read-only and masked paths. */
    const char *dev;    /* This is the content of /dev in list_directory()'s form. */
    const char *cwd;
    mode_t umask;
    bool readonly_root;
};

#define FINGERPRINT_SIZE ((size_t)1 << 18)

static const char *const no_core =
    "fd 120777 0:0\nfull 20666 1:7\nmqueue 41777 0:0\nnull 20666 1:3\nptmx 120777 0:0\npts 40755 0:0\n"
    "random 20666 1:8\nshm 41777 0:0\nstderr 120777 0:0\nstdin 120777 0:0\nstdout 120777 0:0\n"
    "tty 20666 5:0\nurandom 20666 1:9\nzero 20666 1:5\n";
static const char *const with_core =
    "core 120777 0:0\nfd 120777 0:0\nfull 20666 1:7\nmqueue 41777 0:0\nnull 20666 1:3\nptmx 120777 0:0\n"
    "pts 40755 0:0\nrandom 20666 1:8\nshm 41777 0:0\nstderr 120777 0:0\nstdin 120777 0:0\n"
    "stdout 120777 0:0\ntty 20666 5:0\nurandom 20666 1:9\nzero 20666 1:5\n";

static void check_link(const char *path, const char *target)
{
    char text[256];
    ssize_t n = readlink(path, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    CHECK_THAT(strcmp(text, target) == 0, "%s -> \"%s\", expected \"%s\"", path, text, target);
}

static void check_dev(const char *expected)
{
    char *list = list_directory("/dev");
    CHECK_THAT(strcmp(list, expected) == 0, "/dev is:\n%s", list);
    free(list);
    check_link("/dev/fd", "/proc/self/fd");
    check_link("/dev/stdin", "/proc/self/fd/0");
    check_link("/dev/stdout", "/proc/self/fd/1");
    check_link("/dev/stderr", "/proc/self/fd/2");
    check_link("/dev/ptmx", "pts/ptmx");
    if (expected == with_core)
        check_link("/dev/core", "/proc/kcore");
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    for (size_t i = 0; i < COUNT(nodes); i++) {
        char path[32];
        struct stat st;
        snprintf(path, sizeof path, "/dev/%s", nodes[i]);
        CHECK_THAT(lstat(path, &st) == 0 && st.st_uid == 0 && st.st_gid == 0, "owner of %s", path);
    }
}

/* The nodes are not only there, they work. */
static void check_devices_work(void)
{
    char bytes[16];
    int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    memset(bytes, 1, sizeof bytes);
    CHECK(read(fd, bytes, sizeof bytes) == sizeof bytes && bytes[0] == 0);
    close(fd);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(write(fd, bytes, 1) == -1 && errno == ENOSPC);
    close(fd);
    fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    CHECK(fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0);
    CHECK(strcmp(ptsname(fd), "/dev/pts/0") == 0); /* The container has a devpts of its own. */
    CHECK(stat("/dev/pts/0", &st) == 0 && (st.st_mode & 07777) == 0620 && st.st_gid == 5);
    close(fd);
}

static bool is_empty_directory(const char *path)
{
    DIR *dir = opendir(path);
    int entries = 0;
    if (!dir)
        return false;
    while (readdir(dir))
        entries++;
    closedir(dir);
    return entries == 2;
}

static void check_masked_directory(const char *path)
{
    char below[4200];
    struct statfs fs;
    snprintf(below, sizeof below, "%s/x", path);
    CHECK_THAT(is_empty_directory(path), "%s is not empty", path);
    CHECK_THAT(statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC, "%s is no tmpfs", path);
    CHECK_THAT(mkdir(below, 0700) == -1 && errno == EROFS, "%s can be written", path);
}

static void check_masked_file(const char *path, const struct stat *st)
{
    char byte;
    CHECK_THAT(S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3), "%s is %o", path, st->st_mode);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_THAT(fd >= 0 && read(fd, &byte, 1) == 0, "reading %s", path);
    close(fd);
}

/* Returns how many exist. */
static size_t check_masked(json_object *spec)
{
    size_t masked = 0;
    const char *path;
    for (size_t i = 0; (path = path_in_spec(spec, "linux.maskedPaths", i)); i++) {
        struct stat st;
        if (stat(path, &st) != 0) {
            CHECK_THAT(errno == ENOENT, "stat %s", path);
            continue;
        }
        masked++;
        if (S_ISDIR(st.st_mode))
            check_masked_directory(path);
        else
            check_masked_file(path, &st);
    }
    return masked;
}

static size_t check_readonly(json_object *spec)
{
    size_t readonly = 0;
    const char *path;
    for (size_t i = 0; (path = path_in_spec(spec, "linux.readonlyPaths", i)); i++) {
        struct statvfs fs;
        if (statvfs(path, &fs) != 0)
            continue;
        readonly++;
        CHECK_THAT(fs.f_flag & ST_RDONLY, "%s can be written", path);
    }
    CHECK(open("/proc/sys/kernel/domainname", O_WRONLY | O_CLOEXEC) == -1 && errno == EROFS);
    return readonly;
}

static void check_process(const struct look *look)
{
    char cwd[256];
    struct stat st;
    CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, "/") == 0);
    mode_t mask = umask(0);
    umask(mask);
    CHECK_THAT(mask == look->umask, "umask %o", mask);
    CHECK_THAT(stat(look->cwd, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0755, "%s: %o", look->cwd,
               st.st_mode);
}

static void check_writable(bool readonly_root)
{
    CHECK_THAT((mkdir("/new", 0755) == 0) == !readonly_root, "mkdir /new");
    CHECK(!readonly_root || errno == EROFS);
    CHECK(open("/dev/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0);
    CHECK(unlink("/dev/new") == 0);
    CHECK(mkdir("/sys/new", 0755) == -1 && errno == EROFS);
}

static void check_stdio(void)
{
    struct stat own, std;
    CHECK(stat("/dev/null", &own) == 0);
    for (int fd = 0; fd <= 2; fd++)
        CHECK_THAT(fstat(fd, &std) == 0 && std.st_dev == own.st_dev && std.st_ino == own.st_ino,
                   "descriptor %d is not the container's /dev/null", fd);
}

static void look_inside(void *data)
{
    const struct look *look = data;
    check_mount_table(look->mounts);
    check_dev(look->dev);
    check_devices_work();
    size_t masked = check_masked(look->spec), readonly = check_readonly(look->spec);
    CHECK_THAT(masked >= 2 && readonly >= 3, "only %zu masked and %zu read-only paths exist", masked, readonly);
    check_process(look);
    check_writable(look->readonly_root);
    check_stdio();
}

static char *expected_table(json_object *spec, const char *root, const char *mounts)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fprintf(out, "%s\n%s", root, mounts);
    expect_readonly_paths(out, spec);
    expect_masked_paths(out, spec);
    fclose(out);
    return text;
}

static void null_stdio(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++)
        dup3(null, fd, 0);
    close(null);
}

#define ROOT_RO "/ /bundle/rootfs ro,relatime - tmpfs test rw*"
#define ROOT_RW "/ /bundle/rootfs rw,relatime - tmpfs test rw*"
#define DEFAULT_MOUNTS_BEFORE_CGROUP \
    "/proc / rw,relatime - proc proc rw\n" \
    "/dev / rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755*\n" \
    "/dev/pts / rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666\n" \
    "/dev/shm / rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k*\n" \
    "/dev/mqueue / rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw\n" \
    "/sys / ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw\n"
#define DEFAULT_MOUNTS DEFAULT_MOUNTS_BEFORE_CGROUP \
    "/sys/fs/cgroup / ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw*\n"

/* mounts: those after "/". Takes the spec. */
static void check_container(json_object *spec, rfs_plan *plan, struct look look)
{
    null_stdio();
    look.spec = spec;
    look.dev = access("/proc/kcore", F_OK) == 0 ? with_core : no_core;
    char *table = expected_table(spec, look.root, look.mounts);
    look.mounts = table;
    run_container(plan, NULL, look_inside, &look);
    free(table);
    rfs_plan_free(plan);
    json_object_put(spec);
}

static void default_bundle(const char *tool, bool readonly, bool terminal)
{
    only_cgroup2();
    make_image();
    json_object *spec = default_spec(tool);
    spec_set(spec, "root.readonly", readonly ? "true" : "false");
    spec_set(spec, "process.terminal", terminal ? "true" : "false");
    check_container(spec, plan_of_config(config_from_json(spec)),
                    (struct look){.root = readonly ? ROOT_RO : ROOT_RW,
                                  .mounts = DEFAULT_MOUNTS,
                                  .cwd = "/",
                                  .umask = 022,
                                  .readonly_root = readonly});
}

static void runc_readonly(void)
{
    default_bundle("runc", true, false);
}

static void runc_writable(void)
{
    default_bundle("runc", false, false);
}

static void runc_terminal(void)
{
    default_bundle("runc", true, true);
}

static void crun_readonly(void)
{
    default_bundle("crun", true, false);
}

static void crun_writable(void)
{
    default_bundle("crun", false, true);
}

static void builder_container(void)
{
    only_cgroup2();
    make_image();
    json_object *spec = default_spec("runc");
    check_container(
        spec, plan_of_config(config_from_builder(spec)),
        (struct look){.root = ROOT_RO, .mounts = DEFAULT_MOUNTS, .cwd = "/", .umask = 022, .readonly_root = true});
}

/* The state that Docker and Podman keep beside the image. */
static void make_state(void)
{
    static const char *const files[] = {"resolv.conf", "hostname", "hosts", ".containerenv"};
    for (size_t i = 0; i < COUNT(files); i++)
        make_file(in_work("state/%s", files[i]), files[i]);
    make_directory(in_work("state/volume"), 0755);
    make_directory(in_work("state/config"), 0700);
    make_directory(in_work("state/shm"), 01777);
    REQUIRE(mount("shm", in_work("state/shm"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=64000k") ==
            0);
}

#define BOUND(path, root, options) path " " root " " options ",relatime - tmpfs test rw*\n"

static void docker(void)
{
    only_cgroup2();
    make_image();
    make_state();
    json_object *spec = spec_from_data("docker.json");
    static const char mounts[] =
        "/proc / rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
        "/dev / rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755*\n"
        "/dev/pts / rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666\n"
        "/sys / ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw\n"
        "/sys/fs/cgroup / ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw*\n"
        "/dev/mqueue / rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw\n"
        "/dev/shm / rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k*\n"
        BOUND("/data", "/state/volume", "rw")
        BOUND("/config", "/state/config", "ro")
        BOUND("/etc/resolv.conf", "/state/resolv.conf", "rw")
        BOUND("/etc/hostname", "/state/hostname", "rw")
        BOUND("/etc/hosts", "/state/hosts", "rw");
    check_container(spec, plan_of_config(config_from_json(spec)),
                    (struct look){.root = ROOT_RW, .mounts = mounts, .cwd = "/srv/app", .umask = 022});
}

static void podman(void)
{
    only_cgroup2();
    make_image();
    make_state();
    json_object *spec = spec_from_data("podman.json");
    static const char mounts[] =
        "/proc / rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
        "/dev / rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755*\n"
        "/sys / ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw\n"
        "/dev/pts / rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666\n"
        "/dev/mqueue / rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw\n"
        BOUND("/run/.containerenv", "/state/.containerenv", "rw")
        BOUND("/etc/resolv.conf", "/state/resolv.conf", "rw")
        BOUND("/etc/hosts", "/state/hosts", "rw")
        "/dev/shm / rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=64000k*\n"
        BOUND("/etc/hostname", "/state/hostname", "rw")
        "/tmp / rw,nosuid,nodev,relatime - tmpfs tmpfs rw*\n"
        "/sys/fs/cgroup / ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw*\n";
    check_container(spec, plan_of_config(config_from_json(spec)),
                    (struct look){.root = ROOT_RO, .mounts = mounts, .cwd = "/", .umask = 022, .readonly_root = true});
}

static void same_plan(json_object *spec)
{
    rfs_plan *json = plan_of_config(config_from_json(spec)), *built = plan_of_config(config_from_builder(spec));
    char *json_text = describe(json), *built_text = describe(built);
    CHECK_THAT(strcmp(json_text, built_text) == 0, "JSON: %.1500s", json_text);
    if (strcmp(json_text, built_text) != 0)
        note("builder: %.3000s", built_text);
    /* The description is JSON, with one object a line. */
    for (char *rest = json_text, *line; (line = strsep(&rest, "\n")) && *line;) {
        json_object *step = json_tokener_parse(line);
        CHECK_THAT(json_object_is_type(step, json_type_object), "not an object: %s", line);
        json_object_put(step);
    }
    free(json_text);
    free(built_text);
    rfs_plan_free(json);
    rfs_plan_free(built);
    json_object_put(spec);
}

static void same_plans(void)
{
    make_image();
    same_plan(default_spec("runc"));
    same_plan(default_spec("crun"));
    same_plan(spec_from_data("docker.json"));
    same_plan(spec_from_data("podman.json"));
}

static void plan_with_everything(void)
{
    make_image();
    json_object *spec = default_spec("runc");
    spec_add(spec, "linux.devices",
             "{'path': '/dev/fuse', 'type': 'c', 'major': 10, 'minor': 229, 'fileMode': 384, 'uid': 7, 'gid': 8}");
    spec_add(spec, "linux.devices", "{'path': '/dev/null', 'type': 'c', 'major': 1, 'minor': 3}");
    spec_add(spec, "mounts",
             "{'destination': 'relative', 'type': 'bind', 'source': 'state', 'options': ['rbind', 'rro', 'rslave']}");
    spec_add(spec, "mounts",
             "{'destination': '/m', 'type': 'bind', 'source': '/etc', 'options': ['bind'], 'uidMappings': "
             "[{'containerID': 0, 'hostID': 1000, 'size': 2}], 'gidMappings': [{'containerID': 0, 'hostID': 9, 'size': "
             "1}]}");
    spec_set(spec, "linux.rootfsPropagation", "'rshared'");
    spec_set(spec, "process.cwd", "'/some/where/../else'");
    spec_set(spec, "process.user.umask", "63");
    spec_add(spec, "linux.namespaces", "{'type': 'cgroup'}");
    same_plan(spec);
}

static void take_fingerprint(void *shared)
{
    char *table = mount_table(), *dev = list_directory("/dev"), *root = list_directory("/");
    snprintf(shared, FINGERPRINT_SIZE, "%s%s%s", table, dev, root);
}

static void same_container(void)
{
    only_cgroup2();
    char *seen[2];
    for (int built = 0; built < 2; built++) {
        REQUIRE(mount("test", work, "tmpfs", 0, "mode=755,size=64m") == 0);
        make_image();
        make_state();
        seen[built] = mmap(NULL, FINGERPRINT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(seen[built] != MAP_FAILED);
        json_object *spec = spec_from_data("podman.json");
        rfs_plan *plan = plan_of_config(built ? config_from_builder(spec) : config_from_json(spec));
        run_container(plan, NULL, take_fingerprint, seen[built]);
        rfs_plan_free(plan);
        json_object_put(spec);
        REQUIRE(umount2(work, MNT_DETACH) == 0);
    }
    CHECK(seen[0][0] && strcmp(seen[0], seen[1]) == 0);
}

static bool has_hierarchies(void)
{
    struct statfs fs;
    return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* Version 2 alone, or every v1 controller of the host, each on its own, below a tmpfs. */
static void own_cgroups(void)
{
    if (!has_hierarchies()) {
        runc_readonly();
        return;
    }
    char *table = mount_table(), *cgroups = NULL;
    size_t size;
    FILE *out = open_memstream(&cgroups, &size);
    fputs("/sys/fs/cgroup / r?,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755*\n", out);
    for (char *rest = table, *line; (line = strsep(&rest, "\n")) && *line;) {
        char *type = strstr(line, " - cgroup cgroup ");
        if (type)
            fprintf(out, "%.*s * ro,nosuid,nodev,noexec,relatime%s\n", (int)strcspn(line, " "), line, type);
    }
    fclose(out);
    free(table);
    char mounts[16384];
    snprintf(mounts, sizeof mounts, DEFAULT_MOUNTS_BEFORE_CGROUP "%s", cgroups);
    free(cgroups);
    make_image();
    json_object *spec = default_spec("runc");
    check_container(spec, plan_of_config(config_from_json(spec)),
                    (struct look){.root = ROOT_RO, .mounts = mounts, .cwd = "/", .umask = 022, .readonly_root = true});
}

static void in_own_cgroup_namespace(void *data)
{
    bool hierarchies = has_hierarchies();
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    if (!hierarchies) {
        check_mount("/sys/fs/cgroup / ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw*");
        return;
    }
    char *table = mount_table();
    size_t controllers = 0;
    for (char *rest = table, *line; (line = strsep(&rest, "\n")) && *line;) {
        char *type = strstr(line, " - cgroup cgroup ");
        if (!type)
            continue;
        controllers++;
        /* It is a mount of its own, and its root is the container's cgroup. */
        CHECK_THAT(strstr(line, " / ro,nosuid,nodev,noexec,relatime - cgroup "), "mount: %s", line);
    }
    CHECK_THAT(controllers >= 2, "%zu controllers", controllers);
    free(table);
}

static void own_cgroup_namespace(void)
{
    make_image();
    json_object *spec = default_spec("runc");
    spec_add(spec, "linux.namespaces", "{'type': 'cgroup'}");
    in_child(CONTAINER_NAMESPACES | CLONE_NEWCGROUP, in_own_cgroup_namespace, container_of(plan_of(spec)));
}

static void inside_bound_devices(void *data)
{
    (void)data;
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    for (size_t i = 0; i < COUNT(nodes); i++) {
        char pattern[64];
        snprintf(pattern, sizeof pattern, "/dev/%s /%s rw,* - * * *", nodes[i], nodes[i]);
        check_mount(pattern);
    }
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    char byte = 1;
    CHECK(read(fd, &byte, 1) == 1 && byte == 0);
    check_link("/dev/ptmx", "pts/ptmx");
}

/* RFS_OPTION_USER_NAMESPACE without a user namespace: device nodes are bound from the host all the same. */
static void bound_devices(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    run_container(plan_of(spec), NULL, inside_bound_devices, NULL);
}

static void inside_configured_devices(void *data)
{
    (void)data;
    struct stat st;
    CHECK(lstat("/dev/fuse", &st) == 0 && st.st_mode == (S_IFCHR | 0640) && st.st_rdev == makedev(10, 229) &&
          st.st_uid == 7 && st.st_gid == 8);
    CHECK(lstat("/dev/zero", &st) == 0 && st.st_mode == (S_IFCHR | 0600) && st.st_rdev == makedev(1, 5) &&
          st.st_uid == 9);
    CHECK(lstat("/dev/deep/er/loop9", &st) == 0 && st.st_mode == (S_IFBLK | 0666) && st.st_rdev == makedev(7, 9));
    CHECK(lstat("/dev/pipe", &st) == 0 && st.st_mode == (S_IFIFO | 0666));
    CHECK(lstat("/elsewhere/u", &st) == 0 && st.st_mode == (S_IFCHR | 0666) && st.st_rdev == makedev(1, 7));
    CHECK(lstat("/dev/null", &st) == 0 && st.st_mode == (S_IFCHR | 0666) && st.st_rdev == makedev(1, 3));
    CHECK(lstat("/dev/ptmx", &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(lstat("/dev/deep", &st) == 0 && (st.st_mode & 07777) == 0755);
}

static void configured_devices(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "linux.devices",
             "{'path': '/dev/fuse', 'type': 'c', 'major': 10, 'minor': 229, 'fileMode': 416, 'uid': 7, 'gid': 8}");
    spec_add(spec, "linux.devices",
             "{'path': '/dev/zero', 'type': 'c', 'major': 1, 'minor': 5, 'fileMode': 384, 'uid': 9, 'gid': 9}");
    spec_add(spec, "linux.devices", "{'path': '/dev/deep/er/loop9', 'type': 'b', 'major': 7, 'minor': 9}");
    spec_add(spec, "linux.devices", "{'path': '/dev/pipe', 'type': 'p'}");
    spec_add(spec, "linux.devices", "{'path': '/elsewhere/u', 'type': 'u', 'major': 1, 'minor': 7}");
    spec_add(spec, "linux.devices", "{'path': '/dev/ptmx', 'type': 'c', 'major': 5, 'minor': 2}");
    umask(077); /* must not matter */
    run_container(plan_of(spec), NULL, inside_configured_devices, NULL);
}

static void inside_process(void *data)
{
    (void)data;
    struct stat st;
    mode_t mask = umask(0);
    CHECK_THAT(mask == 077, "umask %o", mask);
    CHECK(stat("/foo/bar", &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(stat("/foo", &st) == 0 && (st.st_mode & 07777) == 0755);
}

static void umask_and_cwd(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_set(spec, "process.user", "{'umask': 63}");
    spec_set(spec, "process.cwd", "'/../../foo/./x/../bar'");
    run_container(plan_of(spec), NULL, inside_process, NULL);
}

static int terminal_flags;

/* Between rfs_prepare() and rfs_finalize(), and not later. */
static int bind_own_console(void *data, rfs_point point)
{
    if (point != RFS_POINT_AFTER_SWITCH)
        return 0;
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_bind_console(this_container, *(int *)data, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONSOLE,
                .says = "open it in the container");
    CHECK(access("/dev/console", F_OK) == -1);
    int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(pty >= 0 && unlockpt(pty) == 0);
    int terminal = open(ptsname(pty), terminal_flags | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal >= 0);
    REQUIRE_SUCCESS(rfs_bind_console(this_container, terminal, &err), &err);
    struct stat st;
    CHECK(stat("/dev/console", &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == 136);
    check_mount("/dev/console /0 rw,nosuid,noexec,relatime - devpts devpts rw*");
    int console = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
    char text[8] = "";
    CHECK(isatty(console) && write(console, "hello", 5) == 5 && read(pty, text, 5) == 5 && strcmp(text, "hello") == 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_ERROR(rfs_bind_console(this_container, null, &err), &err, .code = -ENOTTY, .stage = RFS_STAGE_CONSOLE);
    CHECK_ERROR(rfs_bind_console(this_container, pty, &err), &err, .code = -ENOTTY, .stage = RFS_STAGE_CONSOLE);
    CHECK_ERROR(rfs_bind_console(this_container, -1, &err), &err, .stage = RFS_STAGE_CONSOLE);
    return 0;
}

static void no_console_any_more(void *data)
{
    (void)data;
    rfs_error err = fresh_error();
    check_mount("/dev/console /0 rw,nosuid,noexec,relatime - devpts devpts rw*");
    int terminal = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK_ERROR(rfs_bind_console(this_container, terminal, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONSOLE,
                .says = "rfs_finalize()");
}

static json_object *spec_with_terminals(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "mounts",
             "{'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts', 'options': ['nosuid', 'noexec', "
             "'newinstance', 'ptmxmode=0666', 'mode=0620']}");
    return spec;
}

static void console_by(int flags)
{
    terminal_flags = flags;
    json_object *spec = spec_with_terminals();
    int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(pty >= 0 && unlockpt(pty) == 0);
    int outside = open(ptsname(pty), O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(outside >= 0);
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &outside, .point = bind_own_console};
    run_container(plan_of(spec), &callbacks, no_console_any_more, NULL);
}

static void console(void) { console_by(O_RDWR); }
static void console_by_path(void) { console_by(O_PATH); }

static struct stat hosts_terminal;

/* A terminal of the host's devpts, which this mount namespace still has. */
static int bind_hosts_console(void *data, rfs_point point)
{
    (void)data;
    rfs_error err = fresh_error();
    if (point > RFS_POINT_MOUNTS_READY)
        return 0;
    int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(pty >= 0 && unlockpt(pty) == 0);
    int terminal = open(ptsname(pty), O_PATH | O_CLOEXEC);
    REQUIRE(terminal >= 0 && fstat(terminal, &hosts_terminal) == 0);
    if (point < RFS_POINT_MOUNTS_READY)
        CHECK_ERROR(rfs_bind_console(this_container, terminal, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONSOLE,
                    .says = "RFS_POINT_MOUNTS_READY");
    else
        CHECK_SUCCESS(rfs_bind_console(this_container, terminal, &err), &err);
    return 0;
}

static void inside_hosts_console(void *data)
{
    (void)data;
    struct stat st;
    CHECK(stat("/dev/console", &st) == 0 && st.st_dev == hosts_terminal.st_dev && st.st_ino == hosts_terminal.st_ino);
}

static void console_before_the_switch(void)
{
    struct stat before, after;
    bool has_console = stat("/dev/console", &before) == 0;
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = bind_hosts_console};
    run_container(plan_of(spec_with_terminals()), &callbacks, inside_hosts_console, NULL);
    CHECK((stat("/dev/console", &after) == 0) == has_console && (!has_console || after.st_ino == before.st_ino));
}

/* The container's /dev/console is a file in its own /dev, whatever the image has made of them. */
static int bind_misplaced_console(void *data, rfs_point point)
{
    (void)data;
    if (point != RFS_POINT_MOUNTS_READY)
        return 0;
    int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(pty >= 0 && unlockpt(pty) == 0);
    int terminal = open(ptsname(pty), O_PATH | O_CLOEXEC);
    REQUIRE(terminal >= 0);
    char *before = mount_table();
    rfs_error err = fresh_error();
    image_directory("dev/console", 0755);
    CHECK_ERROR(rfs_bind_console(this_container, terminal, &err), &err, .code = -ENOTDIR, .stage = RFS_STAGE_CONSOLE);
    REQUIRE(rmdir(image("dev/console")) == 0 && rename(image("dev"), image("real-dev")) == 0);
    image_link("etc", "dev");
    CHECK_ERROR(rfs_bind_console(this_container, terminal, &err), &err, .code = -ELOOP, .stage = RFS_STAGE_CONSOLE,
                .path = "/dev/console", .says = "symbolic link");
    REQUIRE(unlink(image("dev")) == 0);
    CHECK_ERROR(rfs_bind_console(this_container, terminal, &err), &err, .code = -ENOENT, .stage = RFS_STAGE_CONSOLE);
    CHECK(access(image("etc/console"), F_OK) == -1);
    char *after = mount_table();
    CHECK(strcmp(before, after) == 0);
    REQUIRE(rename(image("real-dev"), image("dev")) == 0);
    image_link(in_work("precious"), "dev/console"); /* The pty is mounted on the link, and the link is not followed. */
    CHECK_SUCCESS(rfs_bind_console(this_container, terminal, &err), &err);
    check_no_mount(in_work("precious"));
    return 0;
}

static void inside_linked_console(void *data)
{
    (void)data;
    struct stat st;
    check_mount("/dev/console * - devpts *");
    CHECK(stat("/dev/console", &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == 136);
}

static void console_elsewhere(void)
{
    make_image();
    image_directory("etc", 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    make_file(in_work("precious"), "x");
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = bind_misplaced_console};
    run_container(plan_of(spec), &callbacks, inside_linked_console, NULL);
}

static void inside_readonly_mounts(void *data)
{
    (void)data;
    check_mount("/dev / ro,nosuid,relatime - tmpfs tmpfs rw*");
    check_mount("/t / ro,relatime - tmpfs tmpfs rw*");
    struct stat st;
    /* The node was made before the mount became read-only. */
    CHECK(stat("/dev/null", &st) == 0 && st.st_rdev == makedev(1, 3));
    CHECK(stat("/t", &st) == 0 && (st.st_mode & 07777) == 01700);
    CHECK(stat("/t2", &st) == 0 && (st.st_mode & 07777) == 0750);  /* The image's mode is kept. */
    /* The image has no such directory, so the mode is that of tmpfs. */
    CHECK(stat("/t3", &st) == 0 && (st.st_mode & 07777) == 01777);
    CHECK(mkdir("/t/x", 0700) == -1 && errno == EROFS);
}

static void readonly_mounts(void)
{
    make_image();
    image_directory("t2", 0750);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts",
             "{'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro', 'nosuid', 'mode=755']}");
    spec_add(spec, "mounts",
             "{'destination': '/t', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro', 'mode=1700']}");
    spec_add(spec, "mounts", "{'destination': '/t2', 'type': 'tmpfs', 'source': 'tmpfs'}");
    spec_add(spec, "mounts", "{'destination': '/t3', 'type': 'tmpfs', 'source': 'tmpfs'}");
    run_container(plan_of(spec), NULL, inside_readonly_mounts, NULL);
}

/* A process of the hook's that still writes, for a while or for long. */
static int hold_open(void *userdata, rfs_point point)
{
    const int *milliseconds = userdata;
    int ready[2];
    char byte;
    if (point != RFS_POINT_AFTER_SWITCH)
        return 0;
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
    pid_t writer = fork();
    REQUIRE(writer >= 0);
    if (writer == 0) {
        int fd = open("/t/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0 && write(ready[1], "", 1) == 1)
            usleep((useconds_t)*milliseconds * 1000);
        _exit(0);
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    return 0;
}

struct busy {
    rfs_container *container;
    int milliseconds;
};

static void finalize_while_open(void *data)
{
    struct busy *busy = data;
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &busy->milliseconds, .point = hold_open};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(busy->container, &callbacks, &err), &err);
    int rc = rfs_finalize(busy->container, &err);
    if (busy->milliseconds < 400) {
        CHECK_SUCCESS(rc, &err);
        check_mount("/t / ro,relatime - tmpfs tmpfs rw*");
    } else {
        CHECK_ERROR(rc, &err, .code = -EBUSY, .stage = RFS_STAGE_FINALIZE, .object = RFS_OBJECT_MOUNT, .index = 0,
                    .says = "still open for writing");
    }
}

static void readonly_while_written(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/t', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro']}");
    const rfs_plan *plan = plan_of(spec);
    struct busy briefly = {container_of(plan), 150}, long_time = {container_of(plan), 30000};
    in_child(CONTAINER_NAMESPACES, finalize_while_open, &briefly);
    in_child(CONTAINER_NAMESPACES, finalize_while_open, &long_time);
}

static void inside_no_default_devices(void *data)
{
    (void)data;
    CHECK(access("/dev/zero", F_OK) == -1 && errno == ENOENT);
    CHECK(access("/dev/tty", F_OK) == -1 && errno == ENOENT);
}

static void no_default_devices(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "linux.devices", "{'path': '/dev/null', 'type': 'c', 'major': 1, 'minor': 3}");
    rfs_config *config = config_from_json(spec);
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_NO_DEFAULT_DEVICES};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    run_container(plan_of_config(config), NULL, inside_no_default_devices, NULL);
}

#define ROOTFS_FD 77

static rfs_plan *plan_with_rootfs_fd(void)
{
    rfs_error err = fresh_error();
    rfs_config *config;
    REQUIRE_SUCCESS(rfs_config_new(NULL, &config, &err), &err);
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_ROOTFS_FD, .rootfs_fd = ROOTFS_FD};
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    return plan_of_config(config);
}

static void open_at(int fd, const char *path, int flags)
{
    int opened = open(path, flags | O_CLOEXEC);
    REQUIRE(opened >= 0 && dup3(opened, fd, O_CLOEXEC) == fd);
    close(opened);
}

static void inside_rootfs_fd(void *data)
{
    rfs_error err = fresh_error();
    open_at(ROOTFS_FD, image(""), O_PATH | O_DIRECTORY);
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    CHECK(fcntl(ROOTFS_FD, F_GETFD) >= 0); /* borrowed */
    CHECK(access("/bin/busybox", X_OK) == 0);
    check_mount("/ /bundle/rootfs rw,relatime - tmpfs test rw*");
}

static void rootfs_by_descriptor(void)
{
    make_image();
    /* the descriptor of the process that prepares counts, not one of this process */
    in_child(CONTAINER_NAMESPACES, inside_rootfs_fd, container_of(plan_with_rootfs_fd()));
}

static void with_bad_rootfs_fd(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -EBADF, .stage = RFS_STAGE_ROOT, .says = "rootfs_fd");
}

static void with_file_as_rootfs_fd(void *data)
{
    rfs_error err = fresh_error();
    open_at(ROOTFS_FD, image("bin/busybox"), O_PATH);
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -ENOTDIR, .stage = RFS_STAGE_ROOT, .says = "rootfs_fd");
}

static void with_foreign_rootfs_fd(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_ROOT, .says = "unshare(2)");
}

static void bad_rootfs_descriptors(void)
{
    make_image();
    rfs_plan *plan = plan_with_rootfs_fd();
    in_child(CONTAINER_NAMESPACES, with_bad_rootfs_fd, container_of(plan));
    in_child(CONTAINER_NAMESPACES, with_file_as_rootfs_fd, container_of(plan));
    open_at(ROOTFS_FD, image(""), O_PATH | O_DIRECTORY); /* This descriptor belongs to the namespace outside. */
    in_child(CONTAINER_NAMESPACES, with_foreign_rootfs_fd, container_of(plan));
}

int main(void)
{
    static const struct test_case cases[] = {
        {"runc spec, read-only root", runc_readonly},
        {"runc spec, writable root", runc_writable},
        {"runc spec, terminal", runc_terminal},
        {"crun spec, read-only root", crun_readonly},
        {"crun spec, writable root, terminal", crun_writable},
        {"runc spec through the builder", builder_container},
        {"Docker", docker},
        {"Podman", podman},
        {"JSON and builder give the same plan", same_plans},
        {"JSON and builder give the same plan: all fields", plan_with_everything},
        {"JSON and builder give the same container", same_container},
        {"cgroups as this machine has them", own_cgroups},
        {"cgroups as this machine has them, in a cgroup namespace", own_cgroup_namespace},
        {"configured devices", configured_devices},
        {"devices bound from the host", bound_devices},
        {"umask and cwd", umask_and_cwd},
        {"console", console},
        {"console, by a descriptor from O_PATH", console_by_path},
        {"a console of the host's devpts, before the switch", console_before_the_switch},
        {"a console where /dev or /dev/console is something else", console_elsewhere},
        {"read-only tmpfs and /dev, modes", readonly_mounts},
        {"read-only tmpfs with a file open for writing", readonly_while_written},
        {"no default devices", no_default_devices},
        {"rootfs by descriptor", rootfs_by_descriptor},
        {"rootfs by descriptors that fail", bad_rootfs_descriptors},
    };
    return run_cases(cases, COUNT(cases));
}
