/* What stays LXC's own in its setup of the file system: cgroups, hooks and terminals.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include "lxc.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* A directory of the container, without a link on the way. */
static int open_below(int directory, const char *path)
{
    char copy[256], *save;
    int fd = dup(directory);
    snprintf(copy, sizeof copy, "%s", path);
    for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
        int next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            err(125, "%s of the container", path);
        close(fd);
        fd = next;
    }
    return fd;
}

static void mount_below(int directory, const char *path, const char *type, const char *data)
{
    char target[64];
    int fd = open_below(directory, path);
    snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    if (mount(type, target, type, MS_NOSUID | MS_NODEV | MS_NOEXEC, data) != 0)
        err(125, "%s (%s) on %s of the container", type, data, path);
    close(fd);
}

/* The code of LXC's own for cgroups. They are of the new cgroup namespace: cgroup_namespaces(7). */
void mount_cgroups(int root)
{
    struct statfs host;
    char line[512], data[600];
    if (statfs("/sys/fs/cgroup", &host) == 0 && host.f_type == CGROUP2_SUPER_MAGIC) {
        mount_below(root, "sys/fs/cgroup", "cgroup2", "");
        return;
    }
    mount_below(root, "sys/fs/cgroup", "tmpfs", "size=10240k,mode=755");
    int top = open_below(root, "sys/fs/cgroup");
    FILE *file = opened("/proc/self/cgroup", "re"); /* "4:cpu,cpuacct:/", "3:name=systemd:/" or "0::/" */
    while (fgets(line, sizeof line, file)) {
        char *save, *controllers = strchr(line, ':') + 1;
        bool v2 = *controllers == ':', named = strncmp(controllers, "name=", 5) == 0;
        const char *name = v2 ? "unified" : strtok_r(controllers + (named ? 5 : 0), ":", &save);
        snprintf(data, sizeof data, "/sys/fs/cgroup/%s", name);
        if (access(data, F_OK) != 0) continue; /* not mounted on the host */
        snprintf(data, sizeof data, "%s%s", named ? "none,name=" : "", v2 ? "" : name);
        if (mkdirat(top, name, 0755) != 0) err(125, "%s", name);
        mount_below(top, name, v2 ? "cgroup2" : "cgroup", data);
    }
    fclose(file);
    close(top);
}

void run_hooks(const struct list *hooks, int root)
{
    char path[64];
    int fd = dup(root); /* which the hooks inherit */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    setenv("LXC_ROOTFS_MOUNT", path, 1);
    for (size_t i = 0; i < hooks->n; i++)
        if (system(hooks->values[i]) != 0)
            errx(125, "the hook failed: %s", hooks->values[i]);
    unsetenv("LXC_ROOTFS_MOUNT");
    close(fd);
}

/* The controlling end is for lxc-start, which would take it from the socket. Here it is kept there. */
static void hand_over(int socket, int fd)
{
    char byte = 0;
    union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control = {
        {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {&byte, 1};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    const struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                                   .msg_controllen = sizeof control};
    if (sendmsg(socket, &message, 0) != 1) err(125, "sendmsg");
    close(fd);
}

void add_terminal(const struct lxc *lxc, int root, const char *name)
{
    rfs_error error = {.size = sizeof error};
    char path[256], target[128];
    int unlock = 0, terminal = -1, dev = open_below(root, "dev"), pts = open_below(dev, "pts");
    int master = openat(pts, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) != 0
        || (terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        err(125, "a terminal for %s", name);
    snprintf(target, sizeof target, "%s%s%s", lxc->tty_directory ? lxc->tty_directory : "",
             lxc->tty_directory ? "/" : "", name);
    snprintf(path, sizeof path, "/dev/%s", target);
    if (lxc->tty_directory || !is(name, "console"))
        must(rfs_bind_fd(lxc->container, terminal, path, &error), &error);
    if (is(name, "console"))
        must(rfs_bind_console(lxc->container, terminal, &error), &error);
    else if (lxc->tty_directory && ((unlinkat(dev, name, 0) != 0 && errno != ENOENT)
                                    || symlinkat(target, dev, name) != 0))
        err(125, "/dev/%s", name);
    hand_over(lxc->socket, master);
    close(terminal);
    close(pts);
    close(dev);
}
