/* Compares the table of open descriptors without opening a file.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_DESCRIPTORS_H
#define RFS_TEST_DESCRIPTORS_H

#include <stdbool.h>
#include <sys/types.h>

#define DESCRIPTORS 1100

struct descriptor {
    bool open, close_on_exec;
    int status_flags;
    dev_t device;
    ino_t inode;
};

struct descriptors {
    struct descriptor table[DESCRIPTORS];
};

/* It allocates nothing, so that it can be static and used anywhere. */
void list_descriptors(struct descriptors *list);

/* Fails the case for each descriptor that was opened, closed or replaced. */
void check_descriptors(const struct descriptors *before, const struct descriptors *after, const char *when);

#endif
