/* Messages from the container's process, with a descriptor.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "process.h"
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; };

void report_send(int sock, const struct report *report, int fd)
{
    union control control = {0};
    struct iovec data = {.iov_base = (void *)report, .iov_len = sizeof(*report)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd >= 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control.space);
    }
    if (sendmsg(sock, &message, MSG_NOSIGNAL) < 0)
        _exit(FAILED);
}

bool report_receive(int sock, struct report *report, int *fd)
{
    union control control;
    struct iovec data = {.iov_base = report, .iov_len = sizeof(*report)};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    *fd = -1;
    if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) != sizeof(*report))
        return false;
    if (CMSG_FIRSTHDR(&message))
        memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(*fd));
    return true;
}

void report_error(int sock, int status, const char *format, ...)
{
    struct report report = {.kind = ERROR};
    va_list args;
    va_start(args, format);
    vsnprintf(report.message, sizeof(report.message), format, args);
    va_end(args);
    report_send(sock, &report, -1);
    _exit(status);
}
