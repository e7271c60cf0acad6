/* Runs a program in a sandbox, as bubblewrap does: sandbox PROGRAM [ARGUMENT...]
 *
 * It needs no privilege: it has its own user, mount and pid namespaces, in which the caller's id is mapped. The root is
 * an empty tmpfs. The host's /usr is in it, read-only, with a /tmp, a /proc and a minimal /dev of its own. Its
 * /etc/passwd is made from memory.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <librfs.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int rc, const rfs_error *error)
{
    if (rc < 0)
        errx(125, "%s", error->message);
}

static void add_mount(rfs_config *config, const char *type, const char *source, const char *destination,
                      const char *const *options, size_t n)
{
    rfs_error error = {.size = sizeof error};
    rfs_mount mount = {.size = sizeof mount, .type = type, .source = source, .destination = destination,
                       .options = options, .n_options = n};
    must(rfs_config_add_mount(config, &mount, &error), &error);
}

static void add_file(rfs_config *config, rfs_file file)
{
    rfs_error error = {.size = sizeof error};
    file.size = sizeof file;
    must(rfs_config_add_file(config, &file, &error), &error);
}

/* Adds /bin or a similar directory: a link if the host has a link there, and otherwise a bind. */
static void add_system(rfs_config *config, const char *path)
{
    static const char *const read_only[] = {"rbind", "ro", "nosuid"};
    char target[256];
    struct stat there;
    if (lstat(path, &there) < 0)
        return;
    if (S_ISDIR(there.st_mode)) {
        add_mount(config, "bind", path, path, read_only, 3);
        return;
    }
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        err(125, "%s", path);
    target[length] = '\0';
    add_file(config, (rfs_file){.path = path, .type = 'l', .target = target});
}

static rfs_container *container_of(uid_t uid, gid_t gid)
{
    static const char *const system[] = {"/usr", "/bin", "/sbin", "/lib", "/lib64"};
    static const char *const of_tmp[] = {"nosuid", "nodev", "mode=1777"};
    static const char *const of_dev[] = {"nosuid", "mode=755"};
    static const char *const of_proc[] = {"nosuid", "nodev", "noexec"};
    rfs_error error = {.size = sizeof error};
    rfs_config *config;
    rfs_plan *plan;
    rfs_container *container;
    char passwd[128];

    must(rfs_config_new(NULL, &config, &error), &error);
    rfs_options options = {.size = sizeof options, .cwd = "/home/guest",
                           .flags = RFS_OPTION_TMPFS_ROOTFS | RFS_OPTION_USER_NAMESPACE | RFS_OPTION_ROOTLESS |
                                    RFS_OPTION_READONLY_ROOTFS};
    must(rfs_config_set_options(config, &options, &error), &error);
    for (size_t i = 0; i < sizeof system / sizeof *system; i++)
        add_system(config, system[i]);
    add_mount(config, "tmpfs", "tmpfs", "/tmp", of_tmp, 3);
    add_mount(config, "tmpfs", "tmpfs", "/dev", of_dev, 2);
    add_mount(config, "proc", "proc", "/proc", of_proc, 3);
    snprintf(passwd, sizeof passwd, "guest:x:%u:%u::/home/guest:/bin/sh\n", (unsigned)uid, (unsigned)gid);
    add_file(config, (rfs_file){.path = "/etc/passwd", .type = 'f', .content = passwd, .content_len = strlen(passwd)});
    add_file(config, (rfs_file){.path = "/home/guest", .type = 'd', .flags = RFS_FILE_MODE, .mode = 0700});

    must(rfs_plan_new(config, &plan, &error), &error);
    must(rfs_container_new(plan, &container, &error), &error);
    rfs_config_free(config);
    rfs_plan_free(plan);
    return container;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        err(125, "%s", path);
    close(fd);
}

/* Maps the caller's own id to itself. An unprivileged process may map no other id (user_namespaces(7)). */
static void enter_namespaces(uid_t uid, gid_t gid)
{
    char map[64];
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) < 0)
        err(125, "unshare");
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1\n", (unsigned)uid, (unsigned)uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1\n", (unsigned)gid, (unsigned)gid);
    write_file("/proc/self/gid_map", map);
}

int main(int argc, char **argv)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    rfs_error error = {.size = sizeof error};
    rfs_callbacks callbacks = {.size = sizeof callbacks};
    int status;
    if (argc < 2)
        errx(125, "usage: sandbox PROGRAM [ARGUMENT...]");
    rfs_container *container = container_of(uid, gid);
    enter_namespaces(uid, gid);
    pid_t child = fork();
    if (child < 0)
        err(125, "fork");
    if (child == 0) {
        must(rfs_prepare(container, &callbacks, &error), &error);
        must(rfs_finalize(container, &error), &error);
        if (chdir("/home/guest") < 0)
            err(125, "/home/guest");
        execvp(argv[1], argv + 1);
        err(errno == ENOENT ? 127 : 126, "%s", argv[1]);
    }
    if (waitpid(child, &status, 0) < 0)
        err(125, "waitpid");
    rfs_container_free(container);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
