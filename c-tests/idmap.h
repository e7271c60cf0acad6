/* Sources and user namespaces for the tests of idmapped mounts.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_IDMAP_H
#define RFS_TEST_IDMAP_H

#include "bundle.h"

/* Makes a user namespace whose ids 0 to 65535 are the ids of the host from `first` on. */
int user_namespace_from(uint32_t first);

/* Checks that the file at `path` below a directory has this owner and group. */
void check_owner_at(const char *file, int line, int directory, const char *path, uid_t uid, gid_t gid);
#define CHECK_OWNER(directory, path, uid, gid) check_owner_at(__FILE__, __LINE__, (directory), (path), (uid), (gid))

/* Makes an empty file as another user, which must succeed. */
void create_as(uid_t uid, gid_t gid, int directory, const char *path);

/* The mappings of a mount: 0 to 65535 are seen as the ids from 100000 on. */
#define MAPPED ", 'uidMappings': [{'containerID': 0, 'hostID': 100000, 'size': 65536}], " \
               "'gidMappings': [{'containerID': 0, 'hostID': 100000, 'size': 65536}]"

/* Attaches a detached mount at a path of this namespace. */
void attach(int mount, const char *path);

/* Starts a process in new namespaces, as in_child() does, and does not wait. With CLONE_NEWUSER it is root there,
 * and its ids 0 to 65535 are the ids of the host from 100000 on. *userns becomes that namespace. */
pid_t start_child(unsigned long namespaces, void (*inside)(void *), void *data, int *userns);
/* Gives the image's directories to an id of the host. */
void owned_by(uid_t id);
/* Adds such a user namespace to a spec, and gives the image to its root. */
json_object *add_user_namespace(json_object *spec);
/* In the container of such a process: /dev/null is the host's node, with its owner as that user namespace shows it. */
void check_hosts_null(void);
/* Waits for such a process. A check that failed there fails the case. */
void wait_for_child(pid_t pid);

/* Whether the kernel has idmapped mounts, since Linux 5.12: mount_setattr(2). For what a test itself does. */
bool kernel_idmaps(void);

/* The system call without which the host's side opens nothing, if it is missing or refused here, and the error that
 * must name it. */
struct lacking {
    const char *call;
    int code;
};
struct lacking lacking_on_host(void);

/* Idmaps a detached mount. recursive: AT_RECURSIVE or 0. Returns 0 or the errno. */
int idmap(int tree, int userns, unsigned recursive);

/* Whether the mount there can be idmapped. A tmpfs can be since Linux 6.3, and an ext4 since 5.12. */
bool can_be_idmapped(const char *path);

/* Mounts an empty file system on the directory, one that can be idmapped if the kernel has such. */
void mount_idmappable(const char *path);

/* Mounts such a one on `work`, with `name` in it: a directory with a file of 7:8, and on below another with a file of
 * 9:10. */
void make_source(const char *name);

/* Makes a file system of the type in memory, and mounts it on the directory. */
void mount_image(const char *type, const char *path);

#endif
