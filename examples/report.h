/* The messages of the container's process to the host's side.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <librfs.h>

struct report {
    enum { MOUNTED, READY, ERROR } kind;
    int64_t prepare_ns, finalize_ns; /* of READY */
    char message[sizeof(((rfs_error *)0)->message)]; /* of ERROR */
};

/* Sends a report, with a descriptor (SCM_RIGHTS) or -1. Ends the process if the other end is closed. */
void report_send(int sock, const struct report *report, int fd);
/* Receives a report. *fd becomes -1 if no descriptor came. False when the other end is closed. */
bool report_receive(int sock, struct report *report, int *fd);

/* Reports an error and ends the process. */
_Noreturn void report_error(int sock, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
