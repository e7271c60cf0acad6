/* Runs a program in a container with hooks, each where it belongs: hooks ROOTFS HOOK PROGRAM [ARGUMENT...]
 *
 * HOOK is a program of the host. The host runs it as a createRuntime hook when the mounts are ready, and as a poststop
 * hook at the end. The container's process runs it as a createContainer hook. Its argument says which hook it is, and
 * its standard input is the container's state. It must be started by root.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <librfs.h>

#include <err.h>
#include <errno.h>
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

static void add_hook(rfs_config *config, rfs_hook_kind kind, const char *program, const char *name)
{
    rfs_error error = {.size = sizeof error};
    const char *const args[] = {program, name};
    const rfs_hook hook = {.size = sizeof hook, .path = program, .args = args, .n_args = 2, .timeout = 10};
    must(rfs_config_add_hook(config, kind, &hook, &error), &error);
}

/* The container's process waits here until the host has run its hooks. */
static int at_point(void *userdata, rfs_point point)
{
    const int *socket = userdata;
    char byte;
    if (point != RFS_POINT_MOUNTS_READY)
        return 0;
    return write(*socket, "", 1) == 1 && read(*socket, &byte, 1) == 1 ? 0 : -ECANCELED;
}

static _Noreturn void run(rfs_container *container, int socket, const char *state, char **program)
{
    rfs_error error = {.size = sizeof error};
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = &socket, .point = at_point,
                                     .state = state, .state_len = strlen(state)};
    if (unshare(CLONE_NEWNS) < 0)
        err(125, "unshare");
    must(rfs_prepare(container, &callbacks, &error), &error);
    must(rfs_finalize(container, &error), &error);
    execv(program[0], program);
    err(127, "%s", program[0]);
}

int main(int argc, char **argv)
{
    rfs_error error = {.size = sizeof error};
    rfs_mount proc = {.size = sizeof proc, .type = "proc", .source = "proc", .destination = "/proc"};
    rfs_config *config;
    rfs_plan *plan;
    rfs_container *container;
    int sockets[2], status;
    char byte, state[512];
    if (argc < 4)
        errx(125, "usage: hooks ROOTFS HOOK PROGRAM [ARGUMENT...]");
    must(rfs_config_new(argv[1], &config, &error), &error);
    must(rfs_config_add_mount(config, &proc, &error), &error);
    add_hook(config, RFS_HOOKS_CREATE_RUNTIME, argv[2], "createRuntime");
    add_hook(config, RFS_HOOKS_CREATE_CONTAINER, argv[2], "createContainer");
    add_hook(config, RFS_HOOKS_POSTSTOP, argv[2], "poststop");
    must(rfs_plan_new(config, &plan, &error), &error);
    must(rfs_container_new(plan, &container, &error), &error);
    snprintf(state, sizeof state,
             "{\"ociVersion\":\"1.2.0\",\"id\":\"hooks\",\"status\":\"creating\",\"bundle\":\"/\"}");

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        err(125, "socketpair");
    pid_t pid = fork();
    if (pid == 0) {
        close(sockets[0]);
        run(container, sockets[1], state, argv + 3);
    }
    close(sockets[1]);
    /* If the child fails before the point, the read ends without a byte. If a hook fails, the child gets no answer. */
    if (pid > 0 && read(sockets[0], &byte, 1) == 1) {
        if (rfs_run_hooks(plan, RFS_HOOKS_CREATE_RUNTIME, state, strlen(state), &error) < 0)
            warnx("%s", error.message);
        else if (write(sockets[0], "", 1) != 1)
            warn("the container's process");
    }
    close(sockets[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        err(125, "the child");
    if (rfs_run_hooks(plan, RFS_HOOKS_POSTSTOP, state, strlen(state), &error) < 0)
        warnx("%s", error.message);
    rfs_container_free(container);
    rfs_plan_free(plan);
    rfs_config_free(config);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
