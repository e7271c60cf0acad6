/* Runs a program in a container with a terminal of its own, which is also /dev/console:
 * console ROOTFS PROGRAM [ARGUMENT...]
 *
 * The container's process opens the terminal from the container's devpts, and sends the controlling end to the host's
 * side, as runtimes do by --console-socket. What the program writes is copied to standard output. It must be started
 * by root.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <librfs.h>

#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int rc, const rfs_error *error)
{
    if (rc < 0)
        errx(125, "%s", error->message);
}

static void add_mount(rfs_config *config, const char *type, const char *destination, const char *options)
{
    rfs_error error = {.size = sizeof error};
    /* One string may have several options for a new file system. */
    rfs_mount mount = {.size = sizeof mount, .type = type, .source = type, .destination = destination,
                       .options = &options, .n_options = 1};
    must(rfs_config_add_mount(config, &mount, &error), &error);
}

/* A message with one byte and one descriptor: sends `fd`, or receives one if it is -1. */
static int pass(int socket, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte = 0;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (fd >= 0) {
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
        return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
    }
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || !(header = CMSG_FIRSTHDR(&message)))
        return -1;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

static _Noreturn void run(rfs_container *container, int socket, char **program)
{
    rfs_error error = {.size = sizeof error};
    int terminal = -1;
    if (unshare(CLONE_NEWNS) < 0)
        err(125, "unshare");
    must(rfs_prepare(container, NULL, &error), &error);

    /* The root is the container's now: this is its own /dev/ptmx. */
    int controlling = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (controlling >= 0 && unlockpt(controlling) == 0)
        terminal = ioctl(controlling, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0 || pass(socket, controlling) < 0)
        err(125, "the terminal");
    must(rfs_bind_console(container, terminal, &error), &error);
    must(rfs_finalize(container, &error), &error);

    if (setsid() < 0 || ioctl(terminal, TIOCSCTTY, 0) < 0 || dup2(terminal, 0) < 0 || dup2(terminal, 1) < 0 ||
        dup2(terminal, 2) < 0)
        err(125, "the terminal");
    execv(program[0], program);
    err(127, "%s", program[0]);
}

int main(int argc, char **argv)
{
    rfs_error error = {.size = sizeof error};
    rfs_config *config;
    rfs_plan *plan;
    rfs_container *container;
    int sockets[2], status;
    char buffer[4096];
    ssize_t n;
    if (argc < 3)
        errx(125, "usage: console ROOTFS PROGRAM [ARGUMENT...]");
    must(rfs_config_new(argv[1], &config, &error), &error);
    add_mount(config, "proc", "/proc", "nosuid,nodev,noexec");
    add_mount(config, "tmpfs", "/dev", "nosuid,mode=755,size=64k");
    add_mount(config, "devpts", "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=620");
    must(rfs_plan_new(config, &plan, &error), &error);
    must(rfs_container_new(plan, &container, &error), &error);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        err(125, "socketpair");
    pid_t pid = fork();
    if (pid == 0) {
        close(sockets[0]);
        run(container, sockets[1], argv + 2);
    }
    close(sockets[1]);
    int controlling = pid < 0 ? -1 : pass(sockets[0], -1);
    /* read(2) is EIO when nobody has the terminal open any more. */
    while (controlling >= 0 && (n = read(controlling, buffer, sizeof buffer)) > 0)
        if (write(STDOUT_FILENO, buffer, (size_t)n) != n)
            err(125, "standard output");
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        err(125, "the child");
    rfs_container_free(container);
    rfs_plan_free(plan);
    rfs_config_free(config);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
