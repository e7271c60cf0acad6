/* Watches the memory that librfs takes in the container's process. watch.c does so in every program that it is
 * linked into, without a line in that program. An allocation between the start of a call and its end gives a message
 * and SIGABRT, unless one of the caller's own callbacks made it. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RFS_TEST_WATCH_H
#define RFS_TEST_WATCH_H

#include <stddef.h>

/* The functions that are called in a process of the container. */
#define WATCHED_CALLS(CALL) \
    CALL(rfs_prepare) \
    CALL(rfs_finalize) CALL(rfs_mask_paths) CALL(rfs_readonly_paths) CALL(rfs_bind_console) CALL(rfs_bind_fd) \
        CALL(rfs_run_hooks) CALL(rfs_mountfd_request) CALL(rfs_attach) \
        CALL(rfs_container_set_rootfs_fd) CALL(rfs_container_set_source_fd)
enum {
#define WATCHED(call) watched_##call,
    WATCHED_CALLS(WATCHED)
#undef WATCHED
    WATCHED_COUNT
};

struct watched {
    size_t stack[WATCHED_COUNT]; /* The number of bytes of the call that took most. */
    size_t allocations, frees;   /* of the whole program */
};

/* The counts are in memory that children share, so that theirs are included. If RFS_WATCH is in the environment, it
 * names the file that holds them. */
const struct watched *watched_memory(void);

#endif
