/* A container's terminal.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int terminal_open(rfs_container *container, uid_t owner, const struct winsize *size, rfs_error *err)
{
    int terminal = -1, master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master >= 0 && unlockpt(master) == 0)
        terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0) {
        snprintf(err->message, sizeof(err->message), "opening a terminal by the container's /dev/ptmx: %s",
                 strerror(errno));
        return -1;
    }
    if (rfs_bind_console(container, terminal, err) < 0)
        return -1;
    if (fchown(terminal, owner, (gid_t)-1) != 0 || ioctl(terminal, TIOCSCTTY, 0) != 0 ||
        (size->ws_row && ioctl(terminal, TIOCSWINSZ, size) != 0) ||
        dup2(terminal, 0) < 0 || dup2(terminal, 1) < 0 || dup2(terminal, 2) < 0) {
        snprintf(err->message, sizeof(err->message), "setting up the terminal: %s", strerror(errno));
        return -1;
    }
    return master;
}

void terminal_attach(struct terminal *t, int master)
{
    struct termios mode;
    t->master = master;
    fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
    terminal_copy_size(t);
    if (tcgetattr(STDIN_FILENO, &t->saved) == 0) {
        mode = t->saved;
        cfmakeraw(&mode);
        t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &mode) == 0;
    }
}

void terminal_poll(const struct terminal *t, struct pollfd fds[2])
{
    fds[0] = (struct pollfd){t->master, t->pending ? POLLIN | POLLOUT : POLLIN, 0};
    fds[1] = (struct pollfd){t->master >= 0 && !t->pending && !t->input_closed ? STDIN_FILENO : -1, POLLIN, 0};
}

/* Takes the output that there is. False when nobody has the terminal open any more. */
static bool relay_output(int master)
{
    char buffer[4096];
    ssize_t n = read(master, buffer, sizeof(buffer));
    for (ssize_t done = 0, m; done < n; done += m)
        if ((m = write(STDOUT_FILENO, buffer + done, (size_t)(n - done))) < 0)
            break;
    return n > 0 || (n < 0 && errno == EAGAIN);
}

void terminal_relay(struct terminal *t, const struct pollfd fds[2], bool process_gone)
{
    ssize_t n;
    if (fds[1].revents) {
        t->pending = read(STDIN_FILENO, t->input, sizeof(t->input));
        if (t->pending <= 0) { /* the end of a file or pipe: what a person would type */
            t->input[0] = 4;
            t->pending = 1;
            t->input_closed = true;
        }
    }
    if (t->pending && t->master >= 0 && (n = write(t->master, t->input, (size_t)t->pending)) > 0) {
        t->pending -= n;
        memmove(t->input, t->input + n, (size_t)t->pending);
    }
    if (fds[0].fd < 0) /* it came after the poll(2) */
        return;
    /* Once the process is gone, this waits no longer, because a process that it left behind may keep the terminal
     * open. */
    if (fds[0].revents & (POLLIN | POLLHUP) ? !relay_output(t->master) : process_gone) {
        close(t->master);
        t->master = -1;
    }
}

void terminal_copy_size(const struct terminal *t)
{
    struct winsize size;
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        ioctl(t->master, TIOCSWINSZ, &size);
}

void terminal_restore(const struct terminal *t)
{
    if (t->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
}
