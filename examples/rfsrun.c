/* rfsrun: a small container runtime on librfs, from which others may copy.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   on the host's side                        in the container's process
 *   ------------------                        --------------------------
 *   read config.json, rfs_plan_new, rfs_container_new
 *   clone3 -------------------------------->  namespaces, by path and new (namespaces.c)
 *   user namespace: the mappings ---------->  become its root
 *                                             rfs_prepare: mounts, devices
 *   rfs_mountfd_serve: open it <------------  rfs_mountfd_request: a mount out of reach
 *   prestart, createRuntime hooks <---------  all is mounted
 *   go on --------------------------------->  createContainer hooks, pivot_root
 *                                             host name, terminal (terminal.c)
 *                                             rfs_finalize: read-only and masked paths
 *                                             limits, user, capabilities (process.c)
 *                                             startContainer hooks
 *   timings, terminal <---- struct report --  ready
 *   relay the terminal, forward signals       execve
 *   print it <------------- struct report --  (only if something failed)
 *   poststart hooks
 *   wait, poststop hooks, exit with its status
 *
 * It has no cgroups, network set-up or seccomp. */
#define _GNU_SOURCE
#include "namespaces.h"
#include "process.h"
#include "report.h"
#include "sealed.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <librfs.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The container to run. All of this is made before the clone, and the child only reads it. */
struct run {
    bool verbose, show_time, started;
    rfs_config *config;
    rfs_plan *plan;
    rfs_container *container;
    struct json_object *json;
    struct namespaces namespaces;
    struct process process;
    struct terminal terminal;
    const char *bundle;
    sigset_t signals; /* the mask that rfsrun was started with */
    pid_t pid;        /* the container's process, as the host sees it */
    int sock;         /* to the other side */
    int mounts;       /* the same for mounts that the host's side opens. -1 if it opens none */
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static bool run_hooks(const struct run *run, rfs_hook_kind kind, const char *status, rfs_error *err)
{
    char *state = process_state(run->json, run->bundle, run->pid, status);
    int rc = rfs_run_hooks(run->plan, kind, state, strlen(state), err);
    free(state);
    return rc == 0;
}

/* ---- In the container's process ---- */

static void print_log(void *userdata, rfs_log_level level, const char *message)
{
    const struct run *run = userdata;
    if (level == RFS_LOG_WARNING || run->verbose)
        dprintf(STDERR_FILENO, "rfsrun: %s: %s\n", level == RFS_LOG_WARNING ? "warning" : "debug", message);
}

/* Lets the host's side open a mount. */
static int ask_for_mount(void *userdata, const rfs_mount_request *request)
{
    struct run *run = userdata;
    return rfs_mountfd_request(&run->mounts, request);
}

/* Lets the host's side run its hooks. */
static int wait_for_host(void *userdata, rfs_point point)
{
    const struct run *run = userdata;
    struct report report = {.kind = MOUNTED};
    char go_on;
    if (point != RFS_POINT_MOUNTS_READY)
        return 0;
    report_send(run->sock, &report, -1);
    if (recv(run->sock, &go_on, sizeof(go_on), 0) != sizeof(go_on))
        _exit(FAILED); /* the host's side has printed the reason */
    return 0;
}

static _Noreturn void container(struct run *run)
{
    const struct process *process = &run->process;
    int sock = run->sock;
    rfs_error err = {.size = sizeof(err)};
    rfs_callbacks callbacks = {.size = sizeof(callbacks), .userdata = run, .log = print_log};
    struct report report = {.kind = READY};
    char cwd[4096];
    const char *failed;
    int master = -1;

    /* A process in a session of its own can't push input into the terminal that rfsrun was started from. */
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (recv(sock, &run->pid, sizeof(run->pid), 0) != sizeof(run->pid))
        _exit(FAILED);
    if ((failed = namespaces_enter(&run->namespaces, process->uid, process->gid)))
        report_error(sock, FAILED, "%s: %s", failed, strerror(errno));
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user clears it */
    callbacks.mountfd = run->mounts >= 0 ? ask_for_mount : NULL;
    callbacks.point = process->host_hooks ? wait_for_host : NULL;
    callbacks.state = process_state(run->json, run->bundle, run->pid, "creating");
    callbacks.state_len = strlen(callbacks.state);

    report.prepare_ns = -now_ns();
    if (rfs_prepare(run->container, &callbacks, &err) < 0)
        report_error(sock, FAILED, "%s", err.message);
    report.prepare_ns += now_ns();
    close(run->mounts); /* that ends rfs_mountfd_serve */

    if ((process->hostname && sethostname(process->hostname, strlen(process->hostname)) != 0) ||
        (process->domainname && setdomainname(process->domainname, strlen(process->domainname)) != 0))
        report_error(sock, FAILED, "setting the host name: %s", strerror(errno));
    if (process->terminal && (master = terminal_open(run->container, process->uid, &process->size, &err)) < 0)
        report_error(sock, FAILED, "%s", err.message);

    report.finalize_ns = -now_ns();
    if (rfs_finalize(run->container, &err) < 0)
        report_error(sock, FAILED, "%s", err.message);
    report.finalize_ns += now_ns();

    /* getcwd(3) fails if the directory is not below the root. Such a directory would lead back to the host. */
    if (chdir(process->cwd) != 0 || !getcwd(cwd, sizeof(cwd)))
        report_error(sock, FAILED, "process.cwd: %s: %s", process->cwd, strerror(errno));
    /* Linux 5.10 has close_range, but not yet this flag. */
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        for (int fd = 3; fd < sysconf(_SC_OPEN_MAX); fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    if ((failed = process_become(process)))
        report_error(sock, FAILED, "%s: %s", failed, strerror(errno));
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user has cleared it */
    if (!run_hooks(run, RFS_HOOKS_START_CONTAINER, "created", &err))
        report_error(sock, FAILED, "%s", err.message);

    report_send(sock, &report, master);
    sigprocmask(SIG_SETMASK, &run->signals, NULL);
    environ = process->env; /* execvp searches the container's PATH */
    execvp(process->args[0], process->args);
    report_error(sock, errno == ENOENT ? NOT_FOUND : CANNOT_EXECUTE, "%s: %s", process->args[0], strerror(errno));
}

/* ---- On the host's side ---- */

/* A container without its hooks must not run. */
static void run_host_hooks(struct run *run)
{
    rfs_error err = {.size = sizeof(err)};
    if (run_hooks(run, RFS_HOOKS_PRESTART, "creating", &err) &&
        run_hooks(run, RFS_HOOKS_CREATE_RUNTIME, "creating", &err)) {
        send(run->sock, "", 1, MSG_NOSIGNAL);
    } else {
        fprintf(stderr, "rfsrun: %s\n", err.message);
        shutdown(run->sock, SHUT_WR);
    }
}

/* Handles a report. False when the other end is closed, because the program was executed or the process is gone. */
static bool receive_report(struct run *run)
{
    struct report report;
    int master;
    if (!report_receive(run->sock, &report, &master))
        return false;
    run->started = report.kind == READY;
    if (report.kind == ERROR)
        fprintf(stderr, "rfsrun: %s\n", report.message);
    else if (report.kind == MOUNTED)
        run_host_hooks(run);
    else if (run->show_time)
        fprintf(stderr, "rfsrun: rfs_prepare %ld us, rfs_finalize %ld us\n",
            (long)(report.prepare_ns / 1000), (long)(report.finalize_ns / 1000));
    if (master >= 0)
        terminal_attach(&run->terminal, master);
    return true;
}

/* Runs until the container's process has ended and its output is relayed. Returns its wait status. */
static int supervise(struct run *run, int signals)
{
    enum { REPORTS, SIGNALS, TERMINAL };
    struct pollfd fds[TERMINAL + 2] = {{run->sock, POLLIN, 0}, {signals, POLLIN, 0}};
    struct signalfd_siginfo info;
    rfs_error err = {.size = sizeof(err)};
    bool exited = false;
    int status = 0;

    while (!exited || run->terminal.master >= 0 || fds[REPORTS].fd >= 0) {
        terminal_poll(&run->terminal, &fds[TERMINAL]);
        if (poll(fds, COUNT(fds), exited ? 0 : -1) < 0)
            continue;

        if (fds[REPORTS].revents && !receive_report(run)) {
            fds[REPORTS].fd = -1;
            if (run->started && !run_hooks(run, RFS_HOOKS_POSTSTART, "running", &err)) {
                fprintf(stderr, "rfsrun: %s\n", err.message);
                kill(run->pid, SIGKILL);
            }
        }
        terminal_relay(&run->terminal, &fds[TERMINAL], exited);
        if (!fds[SIGNALS].revents || read(signals, &info, sizeof(info)) != sizeof(info))
            continue;
        if (info.ssi_signo == SIGCHLD)
            exited = waitpid(run->pid, &status, WNOHANG) == run->pid || exited;
        else if (info.ssi_signo == SIGWINCH && run->terminal.master >= 0)
            terminal_copy_size(&run->terminal);
        else if (!exited)
            kill(run->pid, (int)info.ssi_signo);
    }
    terminal_restore(&run->terminal);
    return status;
}

/* Whether the host's side must open a mount for the container's process. If both are in one user namespace, the
 * host's side can't reach more sources than the container's process. */
static bool needs_mounts(const struct run *run)
{
    int enough = namespaces_have(&run->namespaces, CLONE_NEWUSER) ? RFS_MOUNTFD_POSSIBLY : RFS_MOUNTFD_CERTAINLY, need;
    for (uint64_t i = 0; (need = rfs_plan_mountfd_needed(run->plan, i)) >= 0; i++)
        if (need >= enough)
            return true;
    return false;
}

/* Opens mounts in a process of its own, so that this process can go on to serve signals and the terminal. It ends
 * when the other end of the socket is closed. */
static pid_t serve_mounts(const struct run *run)
{
    rfs_error err = {.size = sizeof(err)};
    pid_t pid = fork();
    if (pid == 0) {
        close(run->sock);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (rfs_mountfd_serve(run->plan, run->mounts, run->namespaces.user.fd, -1, &err) < 0)
            fprintf(stderr, "rfsrun: %s\n", err.message);
        _exit(0);
    }
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    return pid;
}

static int start(struct run *run)
{
    static const int handled[] = {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};
    rfs_error err = {.size = sizeof(err)};
    sigset_t mask;
    int sockets[2], mounts[2] = {-1, -1};
    pid_t helper = -1;

    sigemptyset(&mask);
    for (size_t i = 0; i < COUNT(handled); i++)
        sigaddset(&mask, handled[i]);
    sigprocmask(SIG_BLOCK, &mask, &run->signals);
    int signals = signalfd(-1, &mask, SFD_CLOEXEC);
    if (signals < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0 ||
        (needs_mounts(run) && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, mounts) != 0))
        fail("signalfd, socketpair: %s", strerror(errno));

    run->pid = namespaces_clone(&run->namespaces);
    run->sock = sockets[run->pid == 0];
    run->mounts = mounts[run->pid == 0];
    if (run->pid == 0) {
        close(signals);
        close(sockets[0]);
        close(mounts[0]);
        container(run);
    }
    close(sockets[1]);
    close(mounts[1]);
    namespaces_map_ids(&run->namespaces, run->pid);
    if (run->mounts >= 0)
        helper = serve_mounts(run);
    if (send(run->sock, &run->pid, sizeof(run->pid), MSG_NOSIGNAL) < 0)
        fail("the container's process is gone");
    int status = supervise(run, signals);
    /* A container without a mount namespace of its own (chroot(2) alone) leaves its mounts behind. All of them are
     * below its root. */
    if (!namespaces_have(&run->namespaces, CLONE_NEWNS) && run->started &&
        (chdir(run->bundle) != 0 || umount2(run->process.rootfs, MNT_DETACH) != 0))
        fprintf(stderr, "rfsrun: warning: unmounting %s: %s\n", run->process.rootfs, strerror(errno));
    if (!run_hooks(run, RFS_HOOKS_POSTSTOP, "stopped", &err))
        fprintf(stderr, "rfsrun: warning: %s\n", err.message);
    if (helper > 0)
        waitpid(helper, NULL, 0);
    close(run->sock);
    close(run->mounts);
    close(signals);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"no-pivot", no_argument, NULL, 'n'},
        {"own-namespace", no_argument, NULL, 'o'}, {"plan", no_argument, NULL, 'p'},
        {"rootless", no_argument, NULL, 'r'}, {"time", no_argument, NULL, 't'},
        {"unshare", no_argument, NULL, 'u'},
        {"verbose", no_argument, NULL, 'v'}, {"version", no_argument, NULL, 'V'}, {0}};
    static const char usage[] =
        "usage: rfsrun [options] BUNDLE\n"
        "Runs the container that BUNDLE/config.json (OCI runtime-spec) describes.\n\n"
        "  --plan         print what would be done to the file system, and do nothing\n"
        "  --rootless     as an ordinary user, in a user namespace\n"
        "  --time         print how long rfs_prepare and rfs_finalize took\n"
        "  --no-pivot     move the root instead of pivot_root (for a host on an initial ramfs)\n"
        "  --own-namespace  leave the mount namespace to rfs_prepare, before Linux 7 too\n"
        "  --unshare      make the mount namespace before rfs_prepare, which copies the host's mounts, on Linux 7 too\n"
        "  -v, --verbose  print the library's choices\n"
        "  --version      print the library's version\n"
        "  --help         print this\n\n"
        "The exit status is the container's; 128 + N if signal N ended it; 125 if it could not be\n"
        "set up; 126 if its program could not be executed, 127 if there is no such program.\n";
    struct run run = {.terminal.master = -1, .namespaces.user.fd = -1};
    rfs_options changes = {.size = sizeof(changes), .flags = RFS_OPTION_SYSFS_FROM_HOST};
    rfs_error err = {.size = sizeof(err)};
    bool show_plan = false, rootless = false, unshare_first = !namespaces_begin_empty();
    int status = run_sealed(argv);

    if (status < 0)
        fail("no sealed copy of this program can be executed: %s", strerror(-status));

    for (int option; (option = getopt_long(argc, argv, "+vh", options, NULL)) != -1;)
        switch (option) {
        case 'n': changes.flags |= RFS_OPTION_NO_PIVOT; break;
        case 'o': unshare_first = false; break;
        case 'p': show_plan = true; break;
        case 'r':
            rootless = true;
            changes.flags |= RFS_OPTION_USER_NAMESPACE | RFS_OPTION_ROOTLESS | RFS_OPTION_ROOTLESS_CGROUPS;
            break;
        case 't': run.show_time = true; break;
        case 'u': unshare_first = true; break;
        case 'v': run.verbose = true; break;
        case 'V': printf("rfsrun, librfs %s\n", rfs_version()); return 0;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return FAILED;
        }
    if (argc - optind != 1) {
        fputs(usage, stderr);
        return FAILED;
    }

    char *bundle = realpath(argv[optind], NULL);
    if (!bundle || chdir(bundle) != 0) /* hooks expect to be in the bundle */
        fail("%s: %s", argv[optind], strerror(errno));
    run.bundle = bundle;
    char *text = read_file(bundle, "config.json");
    rfs_id_mapping uid = {0, geteuid(), 1}, gid = {0, getegid(), 1};
    run.json = json_tokener_parse(text);
    if (rootless && namespaces_without_mappings(run.json)) {
        changes.uid_mappings = &uid;
        changes.gid_mappings = &gid;
        changes.n_uid_mappings = changes.n_gid_mappings = 1;
    }
    if (namespaces_makes_mount(run.json) && !unshare_first)
        changes.flags |= RFS_OPTION_OWN_NAMESPACE;
    run.namespaces.mount_later = changes.flags & RFS_OPTION_OWN_NAMESPACE;
    if (rfs_config_from_oci(text, strlen(text), bundle, &run.config, &err) < 0 ||
        rfs_config_set_options(run.config, &changes, &err) < 0 ||
        rfs_plan_new(run.config, &run.plan, &err) < 0)
        fail("%s", err.message);

    if (show_plan) {
        if (rfs_plan_describe(run.plan, STDOUT_FILENO, &err) < 0)
            fail("%s", err.message);
    } else {
        process_read(&run.process, run.json);
        namespaces_read(&run.namespaces, run.json, rootless);
        if (rfs_container_new(run.plan, &run.container, &err) < 0)
            fail("%s", err.message);
        status = start(&run);
    }

    namespaces_free(&run.namespaces);
    process_free(&run.process);
    json_object_put(run.json);
    rfs_container_free(run.container);
    rfs_plan_free(run.plan);
    rfs_config_free(run.config);
    free(text);
    free(bundle);
    return status;
}
