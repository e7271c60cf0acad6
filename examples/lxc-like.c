/* Runs a container by a configuration of LXC: lxc-like CONFIG PROGRAM [ARGUMENT...]
 *
 * It reads these keys of lxc.container.conf(5): lxc.include, lxc.rootfs.path, lxc.mount.entry, .fstab and .auto,
 * lxc.autodev, lxc.tty.max, lxc.tty.dir, lxc.pty.max, lxc.hook.mount, lxc.hook.autodev and lxc.idmap.
 * It ignores other keys, and cgroups are always as in "cgroup:rw". docs/porting.md says what a real port needs.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include "lxc/lxc.h"

#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Adds a mount. options are separated by commas. */
static void add(rfs_config *config, const char *source, const char *destination, const char *type, const char *options)
{
    char copy[256];
    const char *list[16];
    rfs_error error = {.size = sizeof error};
    rfs_mount mount = {sizeof mount, .source = source, .destination = destination, .type = type, .options = list};
    snprintf(copy, sizeof copy, "%s", options);
    for (char *option = strtok(copy, ","); option && mount.n_options < 16; option = strtok(NULL, ","))
        list[mount.n_options++] = option;
    must(rfs_config_add_mount(config, &mount, &error), &error);
}

static rfs_plan *plan_of(struct lxc *lxc)
{
    rfs_error error = {.size = sizeof error};
    rfs_config *config;
    rfs_plan *plan;
    char pts[128];
    must(rfs_config_new(lxc->rootfs, &config, &error), &error);
    rfs_options options = {.size = sizeof options, .rootfs_propagation = "rslave",
                           .uid_mappings = lxc->uids, .n_uid_mappings = lxc->n_uids,
                           .gid_mappings = lxc->gids, .n_gid_mappings = lxc->n_gids};
    if (lxc->n_uids)
        options.flags |= RFS_OPTION_USER_NAMESPACE | RFS_OPTION_SYSFS_FROM_HOST;
    if (!lxc->autodev)
        options.flags |= RFS_OPTION_NO_DEFAULT_DEVICES;
    if (lxc->rootfs && lxc->ptys > 0)
        options.flags |= RFS_OPTION_PTMX_BIND;
    if (lxc->rootfs)
        options.final_propagation = "rshared";
    else
        options.flags |= RFS_OPTION_HOST_ROOT;
    must(rfs_config_set_options(config, &options, &error), &error);
    if (lxc->autodev && lxc->rootfs)
        add(config, "none", "/dev", "tmpfs", "create=dir,mode=0755,size=500000");
    if (lxc->automatic[PROC])
        add(config, "proc", "/proc", "proc", "nodev,noexec,nosuid");
    if (is(lxc->automatic[PROC], "mixed")) {
        add(config, "proc/sys", "/proc/sys", NULL, "bind,relative,ro");
        add(config, "proc/sys/net", "/proc/sys/net", NULL, "bind,relative,rw,optional");
        add(config, "proc/sysrq-trigger", "/proc/sysrq-trigger", NULL, "bind,relative,ro,optional");
    }
    if (is(lxc->automatic[SYS], "mixed")) {
        add(config, "sysfs", "/sys", "sysfs", "ro,nodev,noexec,nosuid");
        add(config, "sys/devices/virtual/net", "/sys/devices/virtual/net", NULL, "bind,relative,rw,optional");
    } else if (lxc->automatic[SYS])
        add(config, "sysfs", "/sys", "sysfs", lxc->automatic[SYS]);
    const char *prefixes[] = {lxc->rootfs, NULL};
    for (size_t i = 0; i < lxc->fstab.n + lxc->entries.n; i++) {
        const char *line = i < lxc->fstab.n ? lxc->fstab.values[i] : lxc->entries.values[i - lxc->fstab.n];
        must(rfs_config_add_fstab(config, line, prefixes, NULL, &error), &error);
    }
    snprintf(pts, sizeof pts, "newinstance,ptmxmode=0666,mode=0620,gid=5,nosuid,noexec,max=%d", lxc->ptys + lxc->ttys);
    if (lxc->rootfs && lxc->ptys + lxc->ttys > 0)
        add(config, "devpts", "/dev/pts", "devpts", pts);
    must(rfs_plan_new(config, &plan, &error), &error);
    for (size_t i = 0; rfs_plan_warning(plan, i); i++)
        fprintf(stderr, "lxc-like: %s\n", rfs_plan_warning(plan, i));
    rfs_config_free(config);
    return plan;
}

static int at_point(void *data, rfs_point point)
{
    struct lxc *lxc = data;
    char name[32];
    int root = rfs_container_root_fd(lxc->container);
    if (point == RFS_POINT_MOUNTED) {
        if (lxc->automatic[CGROUP]) mount_cgroups(root);
        run_hooks(&lxc->hooks[0], root);
        if (lxc->autodev) run_hooks(&lxc->hooks[1], root);
    } else if (point == RFS_POINT_MOUNTS_READY && lxc->rootfs && lxc->ttys > 0) {
        add_terminal(lxc, root, "console");
        for (int i = 1; i <= lxc->ttys; i++) {
            snprintf(name, sizeof name, "tty%d", i);
            add_terminal(lxc, root, name);
        }
    }
    return 0;
}

static _Noreturn void run(struct lxc *lxc, char **program)
{
    rfs_error error = {.size = sizeof error};
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = lxc, .point = at_point};
    must(rfs_prepare(lxc->container, &callbacks, &error), &error);
    must(rfs_finalize(lxc->container, &error), &error);
    execvp(program[0], program);
    err(125, "%s", program[0]);
}

static void write_map(pid_t pid, const char *name, const rfs_id_mapping *ids, size_t n)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = opened(path, "we");
    for (size_t i = 0; i < n; i++)
        fprintf(file, "%u %u %u\n", ids[i].container_id, ids[i].host_id, ids[i].count);
    if (fclose(file) != 0) err(125, "%s", path);
}

int main(int argc, char **argv)
{
    static struct lxc lxc = {.autodev = true, .ptys = 1024};
    rfs_error error = {.size = sizeof error};
    int ready[2], status = 0;
    char byte;
    if (argc < 3)
        errx(125, "usage: lxc-like CONFIG PROGRAM [ARGUMENT...]");
    read_configuration(&lxc, argv[1]);
    rfs_plan *plan = plan_of(&lxc);
    must(rfs_container_new(plan, &lxc.container, &error), &error);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ready) != 0) err(125, "socketpair");
    pid_t child = fork();
    if (child == 0) {
        lxc.socket = ready[1];
        close(ready[0]);
        if (lxc.n_uids && (unshare(CLONE_NEWUSER) != 0 || write(ready[1], "", 1) != 1 || read(ready[1], &byte, 1) != 1
                           || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0))
            err(125, "the user namespace");
        if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP) != 0)
            err(125, "unshare");
        pid_t init = fork();
        if (init == 0) run(&lxc, argv + 2);
        if (init < 0 || waitpid(init, &status, 0) != init)
            err(125, "fork");
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    close(ready[1]);
    if (lxc.n_uids && read(ready[0], &byte, 1) == 1) {
        write_map(child, "uid_map", lxc.uids, lxc.n_uids);
        write_map(child, "gid_map", lxc.gids, lxc.n_gids);
        if (write(ready[0], "", 1) != 1) err(125, "write");
    }
    if (child < 0 || waitpid(child, &status, 0) != child) err(125, "fork");
    rfs_container_free(lxc.container);
    rfs_plan_free(plan);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
