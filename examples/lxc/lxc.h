/* What the files of lxc-like share: ../lxc-like.c shows librfs, config.c reads the configuration, and own.c has what
 * stays LXC's own. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef LXC_LIKE_H
#define LXC_LIKE_H

#include <librfs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { MAX_VALUES = 128, MAX_IDS = 16 };

struct list { char *values[MAX_VALUES]; size_t n; };

enum automatic { PROC, SYS, CGROUP, KINDS };

struct lxc {
    char *rootfs, *tty_directory;
    struct list fstab, entries, hooks[2]; /* lxc.hook.mount, lxc.hook.autodev */
    size_t n_uids, n_gids;
    rfs_id_mapping uids[MAX_IDS], gids[MAX_IDS];
    const char *automatic[KINDS]; /* "mixed", "ro", "rw" or NULL */
    bool autodev;
    int ttys, ptys, socket;
    rfs_container *container;
};

/* These end the program with a message on failure. */
void must(int rc, const rfs_error *error);
FILE *opened(const char *path, const char *mode);
void read_configuration(struct lxc *lxc, const char *path);
/* For RFS_POINT_MOUNTED. root: rfs_container_root_fd(). */
void mount_cgroups(int root);
void run_hooks(const struct list *hooks, int root);
/* For RFS_POINT_MOUNTS_READY: a terminal of the container's devpts on /dev/NAME. With lxc.tty.dir it is on
 * /dev/DIRECTORY/NAME, and /dev/NAME is a link to that. */
void add_terminal(const struct lxc *lxc, int root, const char *name);

/* value may be NULL. */
bool is(const char *value, const char *word);

#endif
