/* Makes a race or a refusal, which would need luck otherwise, happen at a system call.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_INTERVENE_H
#define RFS_TEST_INTERVENE_H

#include <linux/seccomp.h>
#include <stddef.h>

/* From now on this process and its children stop at these system calls. Then `decide` is called in another process,
 * outside of every container. It may do something first. If it returns 0, the kernel goes on with the call. If it
 * returns an errno, the call fails with it. */
void intervene(const int *calls, size_t n, int (*decide)(const struct seccomp_notif *call));

/* For `decide`. The first reads the bytes that an argument points at, which may be fewer. The second reads the
 * string that it points at, which is valid until the next such call. The third gives a path to the caller's
 * descriptor. */
void read_argument(const struct seccomp_notif *call, unsigned n, void *buffer, size_t size);
const char *string_argument(const struct seccomp_notif *call, unsigned n);
const char *descriptor_argument(const struct seccomp_notif *call, unsigned n);

#endif
