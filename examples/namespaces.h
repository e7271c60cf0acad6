/* A container's namespaces: made, joined by path, and the mappings of a new user namespace.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef NAMESPACES_H
#define NAMESPACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct json_object;

/* One given by path, as config.json has it. */
struct joined {
    int fd, type; /* CLONE_NEW* */
    const char *path;
};

/* What user_namespaces(7) calls an extent. */
struct id_range {
    uint32_t inside, outside, count;
};

struct namespaces {
    uint64_t made;           /* CLONE_NEW* */
    struct joined joined[8]; /* but for a user namespace */
    size_t n_joined;
    /* path NULL: none is joined. fd: of one that is made too, once its ids are mapped; else -1. */
    struct joined user;
    struct id_range *uids, *gids; /* of the user namespace that is made */
    size_t n_uids, n_gids;
    bool mount_later; /* a new mount namespace is left to rfs_prepare */
};

/* Ends the program with a message if something can't be done. rootless: there is a user namespace in any case. */
void namespaces_read(struct namespaces *namespaces, struct json_object *config, bool rootless);
void namespaces_free(struct namespaces *namespaces);

/* Whether config.json leaves it to the runtime who is in the container's user namespace. */
bool namespaces_without_mappings(struct json_object *config);

/* Whether config.json asks for a new mount namespace. */
bool namespaces_makes_mount(struct json_object *config);

/* Whether the kernel makes mount namespaces that do not begin with copies of the host's mounts (Linux 7.0). Before that
 * RFS_OPTION_OWN_NAMESPACE saves nothing. */
bool namespaces_begin_empty(void);

/* Whether one of this type is made or joined. */
bool namespaces_have(const struct namespaces *namespaces, int type);

/* fork(2), but into the namespaces, of which the new process makes some with namespaces_enter. The host's side stays in
 * its own. */
pid_t namespaces_clone(const struct namespaces *namespaces);

/* On the host's side: writes the mappings of pid's user namespace if it was made, without root with the help of
 * newuidmap(1). */
void namespaces_map_ids(struct namespaces *namespaces, pid_t pid);

/* In the container, once the mappings are written: becomes its root, or these ids where they have no 0, and makes the
 * namespaces that were not made with the process. Returns NULL, or what failed (see errno). */
const char *namespaces_enter(const struct namespaces *namespaces, uid_t uid, gid_t gid);

#endif
