/* Shows a directory of the host in a container with a user namespace, with mapped owners:
 * mountfd ROOTFS DIRECTORY PROGRAM [ARGUMENT...]
 *
 * The container's ids 0 to 65535 are the host's from 100000 on. The directory is mounted on /data. A file that belongs
 * to N on the host belongs to N in the container, too. Only the host's side can make such a mount (idmapped, Linux
 * 5.12): the container's process asks for it over a socket. It must be started by root.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <librfs.h>

#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int rc, const rfs_error *error)
{
    if (rc < 0)
        errx(125, "%s", error->message);
}

static rfs_plan *plan_of(const char *rootfs, const char *directory)
{
    static const char *const idmapped[] = {"bind", "idmap", "nosuid", "nodev"};
    rfs_error error = {.size = sizeof error};
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_USER_NAMESPACE};
    rfs_mount proc = {.size = sizeof proc, .type = "proc", .source = "proc", .destination = "/proc"};
    rfs_mount data = {.size = sizeof data, .type = "bind", .source = directory, .destination = "/data",
                      .options = idmapped, .n_options = 4};
    rfs_config *config;
    rfs_plan *plan;
    must(rfs_config_new(rootfs, &config, &error), &error);
    must(rfs_config_set_options(config, &options, &error), &error);
    must(rfs_config_add_mount(config, &proc, &error), &error);
    must(rfs_config_add_mount(config, &data, &error), &error);
    must(rfs_plan_new(config, &plan, &error), &error);
    rfs_config_free(config);
    return plan;
}

/* In the container's pid 1. Its mountfd callback is rfs_mountfd_request(), whose userdata is the socket. */
static _Noreturn void run(rfs_container *container, int socket, char **program)
{
    rfs_error error = {.size = sizeof error};
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &socket, .mountfd = rfs_mountfd_request};
    must(rfs_prepare(container, &callbacks, &error), &error);
    close(socket); /* that ends rfs_mountfd_serve() */
    must(rfs_finalize(container, &error), &error);
    execv(program[0], program);
    err(127, "%s", program[0]);
}

static _Noreturn void child(rfs_container *container, int socket, char **program)
{
    char byte;
    int status;
    if (unshare(CLONE_NEWUSER) < 0 || write(socket, "", 1) != 1 || read(socket, &byte, 1) != 1)
        err(125, "the user namespace");
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 || unshare(CLONE_NEWNS | CLONE_NEWPID) < 0)
        err(125, "the namespaces");
    pid_t init = fork();
    if (init == 0)
        run(container, socket, program);
    close(socket);
    if (init < 0 || waitpid(init, &status, 0) != init)
        err(125, "fork");
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void write_map(pid_t pid, const char *name)
{
    static const char map[] = "0 100000 65536\n";
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, map, strlen(map)) < 0)
        err(125, "%s", path);
    close(fd);
}

int main(int argc, char **argv)
{
    rfs_error error = {.size = sizeof error};
    rfs_container *container;
    int sockets[2], status;
    char byte, path[64];
    if (argc < 4)
        errx(125, "usage: mountfd ROOTFS DIRECTORY PROGRAM [ARGUMENT...]");
    rfs_plan *plan = plan_of(argv[1], argv[2]);
    must(rfs_container_new(plan, &container, &error), &error);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        err(125, "socketpair");
    pid_t pid = fork();
    if (pid == 0) {
        close(sockets[0]);
        child(container, sockets[1], argv + 3);
    }
    close(sockets[1]);
    if (pid < 0 || read(sockets[0], &byte, 1) != 1)
        err(125, "the child");
    write_map(pid, "uid_map");
    write_map(pid, "gid_map");
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    int userns = open(path, O_RDONLY | O_CLOEXEC);
    if (userns < 0 || write(sockets[0], "", 1) != 1)
        err(125, "%s", path);
    if (rfs_mountfd_serve(plan, sockets[0], userns, -1, &error) < 0)
        warnx("%s", error.message); /* the child has the error, too */
    if (waitpid(pid, &status, 0) != pid)
        err(125, "waitpid");
    rfs_container_free(container);
    rfs_plan_free(plan);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
