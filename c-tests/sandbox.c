/* What a sandbox needs: an empty tmpfs as the rootfs, steps that make directories, files and links between the
 * mounts, and examples/sandbox.c as an ordinary user. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

static rfs_config *new_config(void)
{
    rfs_error err = fresh_error();
    rfs_config *config = NULL;
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_TMPFS_ROOTFS};
    REQUIRE_SUCCESS(rfs_config_new(NULL, &config, &err), &err);
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    return config;
}

static void add(rfs_config *config, rfs_file file)
{
    rfs_error err = fresh_error();
    file.size = sizeof file;
    REQUIRE_SUCCESS(rfs_config_add_file(config, &file, &err), &err);
}

static void add_mount(rfs_config *config, rfs_mount mount)
{
    rfs_error err = fresh_error();
    mount.size = sizeof mount;
    REQUIRE_SUCCESS(rfs_config_add_mount(config, &mount, &err), &err);
}

static void add_proc(rfs_config *config)
{
    add_mount(config, (rfs_mount){.type = "proc", .source = "proc", .destination = "/proc"});
}

static void is_file(const char *path, const char *content, mode_t mode, uid_t uid, gid_t gid)
{
    struct stat st;
    char *text = read_all(AT_FDCWD, path);
    if (CHECK_THAT(lstat(path, &st) == 0 && text, "%s: %s", path, strerror(errno))) {
        CHECK_THAT(S_ISREG(st.st_mode) && (st.st_mode & 07777) == mode, "%s: mode %o", path, st.st_mode);
        CHECK_THAT(st.st_uid == uid && st.st_gid == gid, "%s: %u:%u", path, st.st_uid, st.st_gid);
        CHECK_THAT(strcmp(text, content) == 0, "%s: %s", path, text);
    }
    free(text);
}

static void is_directory(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    struct stat st;
    if (CHECK_THAT(lstat(path, &st) == 0, "%s: %s", path, strerror(errno)))
        CHECK_THAT(st.st_mode == (S_IFDIR | mode) && st.st_uid == uid && st.st_gid == gid, "%s: %o %u:%u", path,
            st.st_mode, st.st_uid, st.st_gid);
}

static void is_link(const char *path, const char *target)
{
    char text[256] = "";
    CHECK_THAT(readlink(path, text, sizeof text - 1) > 0 && strcmp(text, target) == 0, "%s: %s", path, text);
}

/* ---- The rootfs ---- */

static void look_at_tmpfs(void *data)
{
    struct statfs fs;
    (void)data;
    is_directory("/", 0755, 0, 0);
    CHECK(statfs("/", &fs) == 0 && fs.f_type == TMPFS_MAGIC);
    CHECK(access("/dev/null", F_OK) == 0 && access("/usr", F_OK) < 0 && access("/etc", F_OK) < 0);
    CHECK(mkdir("/new", 0755) == 0);
}

static void start_empty(uint64_t flags)
{
    rfs_error err = fresh_error();
    rfs_config *config = new_config();
    rfs_options options = {.size = sizeof options, .flags = flags};
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    add_proc(config);
    run_container(plan_of_config(config), NULL, look_at_tmpfs, NULL);
}

static void empty_rootfs(void) { start_empty(0); }
static void empty_rootfs_classic(void) { start_empty(RFS_OPTION_CLASSIC_MOUNT); }
static void empty_rootfs_own_namespace(void) { start_empty(RFS_OPTION_OWN_NAMESPACE); }

static void excluded(void)
{
    static const struct { const char *rootfs, *idmap; uint64_t flags; const char *says; } list[] = {
        {"/somewhere", NULL, 0, "there is a rootfs"},
        {NULL, NULL, RFS_OPTION_ROOTFS_FD, "there is a rootfs"},
        {NULL, NULL, RFS_OPTION_ROOTFS_LATER, "there is a rootfs"},
        {NULL, "idmap", 0, "rootfs_idmap"},
        {NULL, NULL, RFS_OPTION_CHROOT, "mount namespace"},
        {NULL, NULL, RFS_OPTION_NO_PIVOT, "RFS_OPTION_NO_PIVOT"},
        {NULL, NULL, RFS_OPTION_HOST_ROOT, "RFS_OPTION_HOST_ROOT"},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        rfs_error err = fresh_error();
        rfs_config *config;
        rfs_plan *plan;
        rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_TMPFS_ROOTFS | list[i].flags,
                               .rootfs_idmap = list[i].idmap};
        REQUIRE_SUCCESS(rfs_config_new(list[i].rootfs, &config, &err), &err);
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        CHECK_ERROR(rfs_plan_new(config, &plan, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_PLAN,
            .says = "RFS_OPTION_TMPFS_ROOTFS", .says_too = list[i].says);
        rfs_config_free(config);
    }
    rfs_error err = fresh_error();
    rfs_container *container = container_of(plan_of_config(new_config()));
    CHECK_ERROR(rfs_container_set_rootfs_fd(container, 0, &err), &err, .code = -EINVAL,
                .says = "RFS_OPTION_TMPFS_ROOTFS");
}

/* ---- The steps ---- */

static void look_at_steps(void *data)
{
    const int *source = data;
    is_directory("/d", 0755, 0, 0);
    is_directory("/a/b/c", 01770, 12, 34);
    is_directory("/a/b", 0755, 0, 0);
    is_file("/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0644, 0, 0);
    is_file("/etc/empty", "", 0600, 0, 0);
    is_file("/suid", "binary", 04755, 12, 34);
    is_file("/copy", "from a descriptor\n", 0644, 0, 0);
    is_file("/piped", "from a pipe\n", 0644, 0, 0);
    CHECK(lseek(*source, 0, SEEK_CUR) == 5);
    is_link("/link", "etc");
    is_link("/dangling", "/no/where");
    is_file("/etc/through", "x", 0644, 0, 0);
    is_directory("/no/where", 0755, 0, 0);
    struct stat st;
    CHECK(lstat("/link", &st) == 0 && st.st_uid == 56 && st.st_gid == 78);
    is_file("/ro/file", "in a read-only tmpfs", 0644, 0, 0);
    is_directory("/ro", 0711, 0, 0);
    CHECK(open("/ro/other", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) < 0 && errno == EROFS);
    is_directory("/", 0751, 0, 0);
}

static void steps(void)
{
    static const char *const ro[] = {"ro"};
    int source = open(in_work("source"), O_CREAT | O_RDWR | O_CLOEXEC, 0644), pipes[2];
    REQUIRE(write(source, "from a descriptor\n", 18) == 18 && lseek(source, 5, SEEK_SET) == 5);
    REQUIRE(pipe2(pipes, O_CLOEXEC) == 0 && write(pipes[1], "from a pipe\n", 12) == 12 && close(pipes[1]) == 0);
    rfs_config *config = new_config();
    add_proc(config);
    char text[] = "root:x:0:0::/:/bin/sh\n";
    add(config, (rfs_file){.path = "/d", .type = 'd'});
    add(config, (rfs_file){.path = "/d/", .type = 'd'});
    add(config, (rfs_file){.path = "/a/b/c", .type = 'd', .flags = RFS_FILE_MODE | RFS_FILE_OWNER, .mode = 01770,
                           .uid = 12,
        .gid = 34});
    add(config, (rfs_file){.path = "/etc/passwd", .type = 'f', .content = text, .content_len = strlen(text)});
    memset(text, 'z', sizeof text); /* it was copied */
    add(config, (rfs_file){.path = "/etc/empty", .type = 'f', .flags = RFS_FILE_MODE, .mode = 0600});
    add(config, (rfs_file){.path = "/suid", .type = 'f', .flags = RFS_FILE_MODE | RFS_FILE_OWNER, .mode = 04755,
                           .uid = 12,
        .gid = 34, .content = "binary", .content_len = 6});
    add(config, (rfs_file){.path = "/copy", .type = 'f', .flags = RFS_FILE_CONTENT_FD, .content_fd = source});
    add(config, (rfs_file){.path = "/piped", .type = 'f', .flags = RFS_FILE_CONTENT_FD, .content_fd = pipes[0]});
    add(config, (rfs_file){.path = "/link", .type = 'l', .target = "etc", .flags = RFS_FILE_OWNER, .uid = 56,
                           .gid = 78});
    add(config, (rfs_file){.path = "/link/through", .type = 'f', .content = "x", .content_len = 1});
    add(config, (rfs_file){.path = "/dangling", .type = 'l', .target = "/no/where"});
    add(config, (rfs_file){.path = "/dangling/x", .type = 'd'});
    add_mount(config, (rfs_mount){.type = "tmpfs", .source = "tmpfs", .destination = "/ro", .options = ro,
                                  .n_options = 1});
    add(config, (rfs_file){.path = "/ro/file", .type = 'f', .content = "in a read-only tmpfs", .content_len = 20});
    add(config, (rfs_file){.path = "/ro", .flags = RFS_FILE_MODE, .mode = 0711});
    add(config, (rfs_file){.path = "/", .flags = RFS_FILE_MODE, .mode = 0751});
    rfs_plan *plan = plan_of_config(config);
    char *text_of = describe(plan);
    CHECK_THAT(strstr(text_of, "{\"step\":\"make\",\"index\":3,\"path\":\"/a/b/c\",\"type\":\"d\","
                               "\"mode\":\"1770\",\"uid\":12,\"gid\":34}"),
               "%s", text_of);
    CHECK_THAT(strstr(text_of, "\"path\":\"/link\",\"type\":\"l\",\"target\":\"etc\"") && !strstr(text_of, "root:x"),
               "%s", text_of);
    CHECK_THAT(strstr(text_of, "\"tmpfs\":true"), "%s", text_of);
    free(text_of);
    run_container(plan, NULL, look_at_steps, &source);
}

static void look_at_order(void *data)
{
    (void)data;
    is_file("/m/second", "2", 0644, 0, 0);
    CHECK(access("/m/first", F_OK) < 0);
    CHECK(umount2("/m", MNT_DETACH) == 0);
    is_file("/m/first", "1", 0644, 0, 0);
    CHECK(access("/m/second", F_OK) < 0);
}

static void in_order(void)
{
    rfs_config *config = new_config();
    add_proc(config);
    add(config, (rfs_file){.path = "/m/first", .type = 'f', .content = "1", .content_len = 1});
    add_mount(config, (rfs_mount){.type = "tmpfs", .source = "tmpfs", .destination = "/m"});
    add(config, (rfs_file){.path = "/m/second", .type = 'f', .content = "2", .content_len = 1});
    run_container(plan_of_config(config), NULL, look_at_order, NULL);
}

/* A remount that keeps the flags that it does not name. */
static void look_at_remount(void *data)
{
    (void)data;
    char *mounts = read_all(AT_FDCWD, "/proc/self/mountinfo");
    CHECK_THAT(mounts && strstr(mounts, " /m ro,nosuid,nodev"), "%s", mounts);
    free(mounts);
}

static void remount(void)
{
    static const char *const flags[] = {"nosuid", "nodev"}, *const ro[] = {"bind", "remount", "ro"};
    rfs_config *config = new_config();
    add_proc(config);
    add_mount(config, (rfs_mount){.type = "tmpfs", .source = "tmpfs", .destination = "/m", .options = flags,
                                  .n_options = 2});
    add_mount(config, (rfs_mount){.destination = "/m", .options = ro, .n_options = 3, .flags = RFS_MOUNT_KEEP_FLAGS});
    run_container(plan_of_config(config), NULL, look_at_remount, NULL);
}

/* ---- Refusals ---- */

static void bad_files(void)
{
    static const struct { rfs_stage stage; const char *says; rfs_file file; } list[] = {
        {RFS_STAGE_CONFIG, "path", {.type = 'd'}},
        {RFS_STAGE_CONFIG, "type", {.path = "/x", .type = 'c'}},
        {RFS_STAGE_CONFIG, "flags", {.path = "/x", .type = 'd', .flags = 8}},
        {RFS_STAGE_CONFIG, "target", {.path = "/x", .type = 'l'}},
        {RFS_STAGE_CONFIG, "target", {.path = "/x", .type = 'd', .target = "y"}},
        {RFS_STAGE_CONFIG, "content", {.path = "/x", .type = 'd', .content = "y", .content_len = 1}},
        {RFS_STAGE_CONFIG, "content", {.path = "/x", .type = 'f', .content_len = 1}},
        {RFS_STAGE_CONFIG, "content", {.path = "/x", .flags = RFS_FILE_CONTENT_FD}},
        {RFS_STAGE_CONFIG, "exclude", {.path = "/x", .type = 'f', .flags = RFS_FILE_CONTENT_FD, .content = "y",
                                       .content_len = 1}},
        {RFS_STAGE_CONFIG, "content_fd", {.path = "/x", .type = 'f', .flags = RFS_FILE_CONTENT_FD, .content_fd = -1}},
        {RFS_STAGE_PLAN, "absolute", {.path = "x", .type = 'd'}},
        {RFS_STAGE_PLAN, "absolute", {.path = "", .type = 'd'}},
        {RFS_STAGE_PLAN, "root itself", {.path = "/", .type = 'f'}},
        {RFS_STAGE_PLAN, "/proc", {.path = "/proc/x", .type = 'd'}},
        {RFS_STAGE_PLAN, "mode", {.path = "/x", .type = 'd', .flags = RFS_FILE_MODE, .mode = 010000}},
        {RFS_STAGE_PLAN, "no id", {.path = "/x", .type = 'd', .flags = RFS_FILE_OWNER, .uid = -1u}},
        {RFS_STAGE_PLAN, "target", {.path = "/x", .type = 'l', .target = ""}},
        {RFS_STAGE_PLAN, "mode", {.path = "/x", .type = 'l', .target = "y", .flags = RFS_FILE_MODE}},
        {RFS_STAGE_PLAN, "RFS_FILE_MODE", {.path = "/x"}},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        rfs_error err = fresh_error();
        rfs_config *config = new_config();
        rfs_plan *plan = NULL;
        rfs_file file = list[i].file;
        file.size = sizeof file;
        int rc = rfs_config_add_file(config, &file, &err);
        if (list[i].stage == RFS_STAGE_PLAN) {
            CHECK_SUCCESS(rc, &err);
            rc = rfs_plan_new(config, &plan, &err);
        }
        if (!CHECK_ERROR(rc, &err, .code = -EINVAL, .stage = list[i].stage, .object = RFS_OBJECT_MOUNT,
                         .says = list[i].says))
            note("... with bad_files[%zu]", i);
        rfs_config_free(config);
    }
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_config_add_file(NULL, NULL, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG);
    rfs_config *config = new_config();
    CHECK_ERROR(rfs_config_add_file(config, NULL, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG);
    rfs_config_free(config);
}

static void refused(const char *what, rfs_file first, rfs_file file, int code, const char *says)
{
    rfs_config *config = new_config();
    add_proc(config);
    add(config, first);
    add(config, file);
    run_refused(what, plan_of_config(config), NULL, &(struct expected){.code = code, .stage = RFS_STAGE_MOUNTS,
        .object = RFS_OBJECT_MOUNT, .index = 2, .path = file.path, .says = says});
}

static void refusals(void)
{
    const rfs_file link = {.path = "/x", .type = 'l', .target = "/y"}, file = {.path = "/x", .type = 'f'},
                   directory = {.path = "/x", .type = 'd'}, inside = {.path = "/x/y", .type = 'f'},
                   to_proc = {.path = "/x", .type = 'l', .target = "/proc/sys"};
    refused("a file on a file", file, file, -EEXIST, "there already");
    refused("a file on a link", link, file, -EEXIST, "there already");
    refused("a link on a directory", directory, link, -EEXIST, "there already");
    refused("a directory on a link", link, directory, -ELOOP, "not followed");
    refused("a directory on a file", file, directory, -ENOTDIR, "no directory");
    refused("a file below a file", file, inside, -ENOTDIR, NULL);
    refused("into /proc", to_proc, inside, -EINVAL, "/proc");
    refused("what is not there", file, (rfs_file){.path = "/z", .flags = RFS_FILE_MODE}, -ENOENT, NULL);
    refused("the mode of a link", link, (rfs_file){.path = "/x", .flags = RFS_FILE_MODE}, -ELOOP, "symbolic link");
    refused("a descriptor that is not open", link, (rfs_file){.path = "/z", .type = 'f', .flags = RFS_FILE_CONTENT_FD,
        .content_fd = 1000}, -EBADF, "content_fd 1000");
}

/* ---- The example ---- */

static void sandbox(uid_t id)
{
    int out[2];
    char text[1024] = "", mine[128];
    size_t length = 0;
    if (!getenv("SANDBOX"))
        skip_case("examples/sandbox.c was not built");
    int program = open(getenv("SANDBOX"), O_RDONLY | O_CLOEXEC);
    REQUIRE(program >= 0 && pipe2(out, O_CLOEXEC) == 0);
    pid_t child = fork();
    if (child == 0) {
        static char *const command[] = {"sandbox", "/bin/sh", "-c",
            "id -u; pwd; cat /etc/passwd; echo $$; test -c /dev/null && touch /tmp/x && ! touch /usr/x 2>&- && ! touch "
            "/x 2>&- && "
            "echo good > /dev/null && ls -d /home/* /root 2>&-", NULL};
        dup2(out[1], 1);
        if (setgid(id) < 0 || setuid(id) < 0)
            _exit(99);
        fexecve(program, command, environ);
        _exit(98);
    }
    close(out[1]);
    for (ssize_t n; (n = read(out[0], text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)n;
    waitpid(child, NULL, 0);
    snprintf(mine, sizeof mine, "%u\n/home/guest\nguest:x:%u:%u::/home/guest:/bin/sh\n1\n/home/guest\n", id, id, id);
    CHECK_THAT(strcmp(text, mine) == 0, "as %u it said: %s", id, text);
}

static void example_as_root(void) { sandbox(0); }
static void example_as_user(void) { sandbox(65534); }

int main(void)
{
    static const struct test_case cases[] = {
        {"an empty tmpfs is the rootfs", empty_rootfs},
        {"... by mount(2)", empty_rootfs_classic},
        {"... with RFS_OPTION_OWN_NAMESPACE", empty_rootfs_own_namespace},
        {"what RFS_OPTION_TMPFS_ROOTFS excludes", excluded},
        {"directories, files, links, modes and owners", steps},
        {"steps and mounts in order", in_order},
        {"a remount that keeps the other flags", remount},
        {"bad files", bad_files},
        {"refusals in the container", refusals},
        {"examples/sandbox.c as root", example_as_root},
        {"examples/sandbox.c as an ordinary user", example_as_user},
    };
    return run_cases(cases, COUNT(cases));
}
