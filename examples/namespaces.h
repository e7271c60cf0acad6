/* Makes a container's namespaces, joins others by path, and writes the mappings of a new user namespace.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef NAMESPACES_H
#define NAMESPACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct json_object;

/* A namespace that config.json gives by its path. */
struct joined {
    int fd, type; /* CLONE_NEW* */
    const char *path;
};

/* An extent, as user_namespaces(7) calls it. */
struct id_range {
    uint32_t inside, outside, count;
};

struct namespaces {
    uint64_t made;           /* CLONE_NEW* */
    struct joined joined[8]; /* but for a user namespace */
    size_t n_joined;
    /* The user namespace. path is NULL if none is joined. fd is the descriptor of a new one once its ids are mapped,
     * and -1 before. */
    struct joined user;
    struct id_range *uids, *gids; /* of the user namespace that is made */
    size_t n_uids, n_gids;
    bool mount_later; /* a new mount namespace is left to rfs_prepare */
};

/* Reads linux.namespaces and the mappings. Ends the program with a message if something can't be done. With rootless
 * there is always a user namespace. */
void namespaces_read(struct namespaces *namespaces, struct json_object *config, bool rootless);
void namespaces_free(struct namespaces *namespaces);

/* Whether config.json leaves the mappings of the container's user namespace to the runtime. */
bool namespaces_without_mappings(struct json_object *config);

/* Whether config.json asks for a new mount namespace. */
bool namespaces_makes_mount(struct json_object *config);

/* Whether the kernel makes mount namespaces that do not begin with copies of the host's mounts (Linux 7.0). Before that
 * RFS_OPTION_OWN_NAMESPACE saves nothing. */
bool namespaces_begin_empty(void);

/* Whether a namespace of this type is made or joined. */
bool namespaces_have(const struct namespaces *namespaces, int type);

/* Like fork(2), but the child is in the container's namespaces. It makes some of them itself with namespaces_enter.
 * The host's side stays in its own. */
pid_t namespaces_clone(const struct namespaces *namespaces);

/* On the host's side: writes the mappings of pid's user namespace if it is new. An ordinary user needs newuidmap(1)
 * for it. */
void namespaces_map_ids(struct namespaces *namespaces, pid_t pid);

/* In the container, once the mappings are written: becomes its root, or these ids if the mappings have no 0. Then it
 * makes the namespaces that the process was not made with. Returns NULL, or the name of the call that failed (see
 * errno). */
const char *namespaces_enter(const struct namespaces *namespaces, uid_t uid, gid_t gid);

#endif
