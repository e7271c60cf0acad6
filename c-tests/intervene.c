/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "intervene.h"
#include "filter.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int install(const int *calls, size_t n)
{
    struct filter filter;
    filter_begin(&filter);
    filter_load_number(&filter);
    for (size_t i = 0; i < n; i++) {
        filter_if_equal(&filter, (unsigned)calls[i], 1);
        filter_answer(&filter, SECCOMP_RET_USER_NOTIF);
    }
    filter_answer(&filter, SECCOMP_RET_ALLOW);
    return filter_install(&filter, SECCOMP_FILTER_FLAG_NEW_LISTENER);
}

/* Answers until the case ends, and it with that. A caller that is killed meanwhile is ENOENT. */
static _Noreturn void answer(int listener, int (*decide)(const struct seccomp_notif *call))
{
    for (;;) {
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
            REQUIRE(errno == ENOENT || errno == EINTR);
            continue;
        }
        int error = decide(&call);
        struct seccomp_notif_resp response = {
            .id = call.id, .error = -error, .flags = error ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        REQUIRE(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 || errno == ENOENT);
    }
}

/* The other process must be without the filter, as it may make such calls too, so it is there first. */
void intervene(const int *calls, size_t n, int (*decide)(const struct seccomp_notif *call))
{
    int installed[2], taken[2], number;
    char byte;
    REQUIRE(pipe2(installed, O_CLOEXEC) == 0 && pipe2(taken, O_CLOEXEC) == 0);
    pid_t parent = getpid(), pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        REQUIRE(read(installed[0], &number, sizeof number) == sizeof number);
        int process = (int)syscall(SYS_pidfd_open, parent, 0);
        int listener = (int)syscall(SYS_pidfd_getfd, process, number, 0);
        REQUIRE_THAT(listener >= 0, "pidfd_getfd");
        REQUIRE(write(taken[1], "", 1) == 1);
        answer(listener, decide);
    }
    close(taken[1]);
    number = install(calls, n);
    REQUIRE_THAT(number >= 0, "seccomp");
    REQUIRE(write(installed[1], &number, sizeof number) == sizeof number && read(taken[0], &byte, 1) == 1);
    const int ends[] = {number, installed[0], installed[1], taken[0]};
    for (size_t i = 0; i < COUNT(ends); i++)
        close(ends[i]);
}

void read_argument(const struct seccomp_notif *call, unsigned n, void *buffer, size_t size)
{
    char path[32];
    memset(buffer, 0, size);
    snprintf(path, sizeof path, "%u/mem", call->pid);
    int memory = openat(host_proc, path, O_RDONLY | O_CLOEXEC);
    CHECK_THAT(pread(memory, buffer, size, (off_t)call->data.args[n]) > 0, "argument %u of call %d", n, call->data.nr);
    close(memory);
}

const char *string_argument(const struct seccomp_notif *call, unsigned n)
{
    static char string[4096];
    read_argument(call, n, string, sizeof string - 1);
    return string;
}

const char *descriptor_argument(const struct seccomp_notif *call, unsigned n)
{
    static char path[64];
    snprintf(path, sizeof path, "/proc/%u/fd/%d", call->pid, (int)call->data.args[n]);
    return path;
}
