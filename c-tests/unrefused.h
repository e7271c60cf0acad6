/* The mark of a test's own system calls, which the filter of refuse.c lets through.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_UNREFUSED_H
#define RFS_TEST_UNREFUSED_H

#include <stdint.h>

#define UNREFUSED_MARK 0x7e57u
/* Marks a call whose first argument is a descriptor. The kernel takes an int of it, but the filter sees the whole
 * register. */
#define UNREFUSED(fd) ((int64_t)((uint64_t)UNREFUSED_MARK << 32 | (uint32_t)(fd)))

#endif
