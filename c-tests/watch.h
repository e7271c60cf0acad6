/* What librfs takes of its caller's memory in the container's process: watched by watch.c, in every program that it is
 * part of, and without a word by the program. An allocation between the start of a call and its end, but for what the
 * caller's own callbacks do, is a message and SIGABRT.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_WATCH_H
#define RFS_TEST_WATCH_H

#include <stddef.h>

/* The calls that are made in a process of the container. */
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
    size_t stack[WATCHED_COUNT]; /* bytes, of the call that took most */
    size_t allocations, frees;   /* of the whole program */
};

/* In memory that children share, so that it has what they did. If RFS_WATCH is in the environment, it is that file. */
const struct watched *watched_memory(void);

#endif
