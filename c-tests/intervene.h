/* What takes luck from outside, a race or a refusal, made to happen at a system call.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_INTERVENE_H
#define RFS_TEST_INTERVENE_H

#include <linux/seccomp.h>
#include <stddef.h>

/* From now on this process and all that it starts stop at these calls and `decide` is asked, in another process outside
 * of every container: it may do something, and returns 0 for the kernel to go on with the call, or the errno that it
 * fails with. */
void intervene(const int *calls, size_t n, int (*decide)(const struct seccomp_notif *call));

/* For `decide`: what an argument points at, of which fewer bytes may be there; the string it points at, good until the
 * next such call; a path to the caller's descriptor. */
void read_argument(const struct seccomp_notif *call, unsigned n, void *buffer, size_t size);
const char *string_argument(const struct seccomp_notif *call, unsigned n);
const char *descriptor_argument(const struct seccomp_notif *call, unsigned n);

#endif
