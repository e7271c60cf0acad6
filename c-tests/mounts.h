/* The mount table of this process, in a form that can be compared.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_MOUNTS_H
#define RFS_TEST_MOUNTS_H

#include <stdbool.h>
#include <stdio.h>

/* One line a mount, in the order of mounting:
 *   MOUNTPOINT ROOT OPTIONS [shared|master|propagate_from|unbindable ...] - TYPE SOURCE SUPEROPTIONS
 * Mount ids, device and peer group numbers are left out. malloced. */
char *mount_table(void);

/* Compares line by line with expected lines, each a pattern of fnmatch(3). */
void check_mount_table(const char *expected);

/* Checks that one line (the last for its mountpoint) is as expected. */
bool check_mount(const char *pattern);

/* The number of mounts at a mountpoint. */
size_t mounts_on(const char *mountpoint);
/* Checks that nothing is mounted there. */
void check_no_mount(const char *mountpoint);

/* Adds to `out` the lines that readonlyPaths and maskedPaths cause. It must be called where the paths are not masked.
 */
struct json_object;
void expect_readonly_paths(FILE *out, struct json_object *spec);
void expect_masked_paths(FILE *out, struct json_object *spec);

#endif
