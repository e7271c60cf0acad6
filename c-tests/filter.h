/* Filters of system calls, as seccomp(2) takes them.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_FILTER_H
#define RFS_TEST_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>

struct filter {
    struct sock_filter code[64];
    unsigned short length;
};

/* Begins a filter. A system call by another architecture's numbers kills the process. */
void filter_begin(struct filter *filter);
/* Loads the call's number, or one half of an argument. */
void filter_load_number(struct filter *filter);
void filter_load_argument(struct filter *filter, unsigned n, bool high_half);
/* Goes on with the next instruction if the loaded number is `value`, or has one of the bits. Otherwise it skips
 * some. */
void filter_if_equal(struct filter *filter, unsigned value, unsigned char skip);
void filter_if_any(struct filter *filter, unsigned bits, unsigned char skip);
/* Ends the call with a SECCOMP_RET_*. */
void filter_answer(struct filter *filter, unsigned action);
/* Puts the filter on this process, without PR_SET_NO_NEW_PRIVS, which takes root. Returns 0 or -1. With
 * SECCOMP_FILTER_FLAG_NEW_LISTENER it returns a descriptor. */
int filter_install(const struct filter *filter, unsigned flags);
/* Puts on a filter that answers one call with an errno, and lets all others through: 0, or -1. */
int filter_refuse(unsigned call, unsigned code);

#endif
