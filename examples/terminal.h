/* Opens a container's terminal inside it, and relays it outside.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <poll.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <termios.h>

#include <librfs.h>

/* The host's side of the terminal. */
struct terminal {
    int master; /* -1: there is none, not yet or no more */
    bool raw, input_closed;
    struct termios saved; /* of rfsrun's own terminal, if that is raw now */
    char input[1024];
    ssize_t pending; /* bytes of input that the terminal has not taken yet */
};

/* In the container, between rfs_prepare and rfs_finalize: opens a terminal of the container's own devpts and makes it
 * stdio. Returns its master end, which is for the host's side, or -1 and fills err. */
int terminal_open(rfs_container *container, uid_t owner, const struct winsize *size, rfs_error *err);

/* On the host's side, after it has received the master end: puts rfsrun's own terminal into raw mode. */
void terminal_attach(struct terminal *terminal, int master);
/* Fills in the two descriptors to poll(2). */
void terminal_poll(const struct terminal *terminal, struct pollfd fds[2]);
/* Moves the bytes that poll(2) has found. When none are left, it closes the terminal if nobody has it open or if the
 * container's process is gone. */
void terminal_relay(struct terminal *terminal, const struct pollfd fds[2], bool process_gone);
void terminal_copy_size(const struct terminal *terminal);
void terminal_restore(const struct terminal *terminal);

#endif
