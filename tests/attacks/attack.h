/* An attack by an image, or by somebody who can write in it: first on a naive runtime, where it must succeed, and then
 * on librfs, where it must not: by the new calls, by mount(2), and without openat2(2).
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_ATTACK_H
#define RFS_ATTACK_H

#include "bundle.h"

enum outcome { SUCCEEDS, IS_REFUSED, EITHER };

struct attack {
    const char *cves, *name;
    /* Makes the hostile image, after make_image() and make_host(). May be NULL. */
    void (*arrange)(void);
    /* What a naive runtime does, with paths on the host alone. In mount and pid namespaces of its own. */
    void (*naive)(void);
    /* The same for librfs; NULL: an empty one. */
    void (*spec)(json_object *spec);
    /* RFS_OPTION_*, and a line for rfs_config_add_fstab(). May be 0 and NULL. */
    uint64_t flags;
    const char *(*fstab)(void);
    /* Gives a descriptor for the source of the first mount. May be NULL. */
    int (*source)(void);
    /* Somebody outside acts: whenever librfs makes one of these system calls, or else once between rfs_prepare and
     * rfs_finalize. */
    void (*outside)(void);
    int calls[4];
    /* Only of those whose second argument is this path. NULL: any. */
    const char *at;
    /* With the container's root: whether the attack has got what it is for, besides a change of the host. May be
     * NULL. */
    bool (*won)(const char *root);
    /* rfs_prepare to rfs_finalize, or any call before. */
    enum outcome outcome;
    /* The container's process gives /dev/console: after rfs_prepare, or before the switch, when the host can be
     * reached. */
    bool console, early_console;
};

/* Runs them as the cases of a test. What main() must return. */
int run_attacks(const struct attack *attacks, size_t n);

/* The decoy: a directory of the host that no container is given. */
const char *host(const char *path);
/* Everything below it, with contents, inode numbers and times. malloced. */
char *snapshot(const char *path);

/* The naive runtime's steps, all of them by path below the image. Like its models' they go on if something is
 * missing. */
void naive_mount(const char *type, const char *source, const char *target, unsigned long flags);
void naive_bind_file(const char *source, const char *target);
void naive_devices(void);
void naive_node(const char *path);
void naive_mask(const char *path);

/* The text of a file below the container's root begins so. */
bool begins_with(const char *root, const char *path, const char *text);

#endif
