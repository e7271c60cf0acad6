/* Runs a container of LXC's configuration: lxc-like CONFIG PROGRAM [ARGUMENT...]
 *
 * It reads these keys of lxc.container.conf(5): lxc.include, lxc.rootfs.path, lxc.mount.entry, .fstab and .auto,
 * lxc.autodev, lxc.tty.max, lxc.pty.max, lxc.hook.mount, lxc.hook.autodev and lxc.idmap.
 * Others are passed over. docs/porting.md says what a real port needs.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <librfs.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_VALUES = 128, MAX_IDS = 16 };

struct list { char *values[MAX_VALUES]; size_t n; };

struct lxc {
    char *rootfs;
    struct list entries, hooks[2]; /* lxc.hook.mount, lxc.hook.autodev */
    size_t n_uids, n_gids;
    rfs_id_mapping uids[MAX_IDS], gids[MAX_IDS];
    bool autodev, proc, sys, sys_rw, cgroup;
    int ttys, ptys;
    rfs_container *container;
};
static void must(int rc, const rfs_error *error)
{
    if (rc < 0)
        errx(125, "%s", error->message);
}

static FILE *opened(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    return file ? file : (err(125, "%s", path), NULL);
}

static void push(struct list *list, const char *value)
{
    if (list->n == MAX_VALUES)
        errx(125, "more than %d values: %s", MAX_VALUES, value);
    list->values[list->n++] = strdup(value);
}

static void read_configuration(struct lxc *lxc, const char *path);

static void include(struct lxc *lxc, const char *path)
{
    glob_t files = {0};
    char pattern[4200];
    snprintf(pattern, sizeof pattern, "%s%s", path, path[strlen(path) - 1] == '/' ? "*.conf" : "");
    for (size_t i = glob(pattern, 0, NULL, &files) == 0 ? 0 : files.gl_pathc; i < files.gl_pathc; i++)
        read_configuration(lxc, files.gl_pathv[i]);
    globfree(&files);
}

static void take_key(struct lxc *lxc, const char *key, const char *value)
{
#define IS(name) (strcmp(key, name) == 0)
    rfs_id_mapping id;
    char kind, line[4096];
    if (IS("lxc.include")) include(lxc, value);
    else if (IS("lxc.rootfs.path")) lxc->rootfs = strdup(strncmp(value, "dir:", 4) == 0 ? value + 4 : value);
    else if (IS("lxc.mount.entry")) push(&lxc->entries, value);
    else if (IS("lxc.mount.fstab")) {
        FILE *file = opened(value, "re");
        while (fgets(line, sizeof line, file))
            push(&lxc->entries, line);
        fclose(file);
    } else if (IS("lxc.mount.auto")) {
        lxc->proc |= strstr(value, "proc") != NULL;
        lxc->sys |= strstr(value, "sys") != NULL;
        lxc->sys_rw = strstr(value, "sys:rw") != NULL;
        lxc->cgroup |= strstr(value, "cgroup") != NULL;
    } else if (IS("lxc.autodev")) lxc->autodev = atoi(value) != 0;
    else if (IS("lxc.tty.max")) lxc->ttys = atoi(value);
    else if (IS("lxc.pty.max")) lxc->ptys = atoi(value);
    else if (IS("lxc.hook.mount")) push(&lxc->hooks[0], value);
    else if (IS("lxc.hook.autodev")) push(&lxc->hooks[1], value);
    else if (IS("lxc.idmap") && sscanf(value, "%c %u %u %u", &kind, &id.container_id, &id.host_id, &id.count) == 4) {
        if (lxc->n_uids + lxc->n_gids == MAX_IDS)
            errx(125, "more than %d lxc.idmap", MAX_IDS);
        *(kind == 'u' ? &lxc->uids[lxc->n_uids++] : &lxc->gids[lxc->n_gids++]) = id;
    }
}

static void read_configuration(struct lxc *lxc, const char *path)
{
    char line[4096], key[64];
    FILE *file = opened(path, "re");
    while (fgets(line, sizeof line, file)) {
        int start = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, " %63[a-z_.0-9] = %n", key, &start) == 1 && start > 0 && line[start] != '\0')
            take_key(lxc, key, line + start);
    }
    fclose(file);
}

/* options: separated by commas. */
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
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_PTMX_BIND, .final_propagation = "rshared",
                           .uid_mappings = lxc->uids, .n_uid_mappings = lxc->n_uids,
                           .gid_mappings = lxc->gids, .n_gid_mappings = lxc->n_gids};
    if (lxc->n_uids)
        options.flags |= RFS_OPTION_USER_NAMESPACE | RFS_OPTION_SYSFS_FROM_HOST;
    if (!lxc->rootfs) options.flags = RFS_OPTION_HOST_ROOT;
    must(rfs_config_set_options(config, &options, &error), &error);
    if (lxc->autodev && lxc->rootfs)
        add(config, "none", "/dev", "tmpfs", "create=dir,mode=755,size=500k");
    if (lxc->proc) { /* proc:mixed */
        add(config, "proc", "/proc", "proc", "nodev,noexec,nosuid");
        add(config, "proc/sys/net", "/proc/sys/net", NULL, "bind,relative");
        add(config, "proc/sys", "/proc/sys", NULL, "rbind,relative,ro");
        add(config, "proc/sysrq-trigger", "/proc/sysrq-trigger", NULL, "bind,relative,ro,optional");
    }
    if (lxc->sys) {
        add(config, "sysfs", "/sys", "sysfs", "nodev,noexec,nosuid");
        if (!lxc->sys_rw)
            add(config, "sys", "/sys", NULL, "rbind,relative,ro,nodev,noexec,nosuid");
    }
    if (lxc->cgroup)
        add(config, "cgroup", "/sys/fs/cgroup", "cgroup", "optional,ro,nodev,noexec,nosuid");
    const char *prefixes[] = {lxc->rootfs, NULL};
    for (size_t i = 0; i < lxc->entries.n; i++)
        must(rfs_config_add_fstab(config, lxc->entries.values[i], prefixes, NULL, &error), &error);
    snprintf(pts, sizeof pts, "newinstance,ptmxmode=0666,mode=0620,gid=5,nosuid,noexec,max=%d", lxc->ptys);
    if (lxc->rootfs)
        add(config, "devpts", "/dev/pts", "devpts", pts);
    must(rfs_plan_new(config, &plan, &error), &error);
    for (size_t i = 0; rfs_plan_warning(plan, i); i++)
        fprintf(stderr, "lxc-like: %s\n", rfs_plan_warning(plan, i));
    rfs_config_free(config);
    return plan;
}

/* LXC makes the cgroups here, too, with its own code. */
static int at_point(void *data, rfs_point point)
{
    struct lxc *lxc = data;
    if (point != RFS_POINT_MOUNTED) return 0;
    char root[64];
    int fd = dup(rfs_container_root_fd(lxc->container)); /* which the hooks inherit */
    snprintf(root, sizeof root, "/proc/self/fd/%d", fd);
    setenv("LXC_ROOTFS_MOUNT", root, 1);
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < lxc->hooks[kind].n; i++)
            if (system(lxc->hooks[kind].values[i]) != 0)
                return -ECANCELED;
    return close(fd);
}

static _Noreturn void run(struct lxc *lxc, char **program)
{
    rfs_error error = {.size = sizeof error};
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = lxc, .point = at_point};
    must(rfs_prepare(lxc->container, &callbacks, &error), &error);
    for (int i = 1; lxc->rootfs && i <= lxc->ttys; i++) {
        char tty[32];
        int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY), unlock = 0, terminal;
        snprintf(tty, sizeof tty, "/dev/tty%d", i);
        if (ioctl(master, TIOCSPTLCK, &unlock) != 0
            || (terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
            err(125, "%s", tty);
        must(rfs_bind_fd(lxc->container, terminal, tty, &error), &error); /* the master is for lxc-start */
        close(terminal);
    }
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
        if (lxc.n_uids && (unshare(CLONE_NEWUSER) != 0 || write(ready[1], "", 1) != 1 || read(ready[1], &byte, 1) != 1
                           || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0))
            err(125, "the user namespace");
        if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) != 0)
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
