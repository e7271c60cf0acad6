/* What config.json says about a container, apart from its file system.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/types.h>

struct json_object;

/* What user_namespaces(7) calls an extent. */
struct id_range {
    uint32_t inside, outside, count;
};

/* The strings are those of the JSON object. */
struct process {
    char **args, **env;
    const char *cwd, *hostname, *domainname, *rootfs;
    bool own_mounts; /* a mount namespace, new or joined */
    bool terminal, no_new_privs;
    bool host_hooks; /* there are prestart or createRuntime hooks */
    struct winsize size;
    uid_t uid;
    gid_t gid, *groups;
    size_t n_groups;
    uint64_t bounding, effective, permitted, inheritable, ambient; /* capabilities, a bit each */
    struct rlimit limits[RLIM_NLIMITS];
    bool limited[RLIM_NLIMITS];
    uint64_t new_namespaces;            /* CLONE_NEW* */
    struct id_range *uids, *gids;       /* of the new user namespace */
    size_t n_uids, n_gids;
    struct { int fd, type; } joined[8]; /* namespaces given by path */
    size_t n_joined;
};

/* Ends the program with a message if something can't be done. rootless: there is a user namespace in any case, and
 * if config.json has no mappings its root is the user who runs this. */
void process_read(struct process *process, struct json_object *config, bool rootless);
void process_free(struct process *process);

bool process_has_mappings(struct json_object *config);

/* On the host's side: writes the mappings of pid's user namespace, without root with the help of newuidmap(1). */
void process_map_ids(const struct process *process, pid_t pid);

/* In the container: becomes its root, once the mappings are written. False if that fails (see errno). */
bool process_be_root(void);

/* In the container: applies limits, user and capabilities. Returns NULL, or what failed (see errno). */
const char *process_become(const struct process *process);

/* The container's state, which hooks get (runtime-spec, "State"). Free it with free(3). */
char *process_state(struct json_object *config, const char *bundle, pid_t pid, const char *status);

/* Prints "rfsrun: ..." and exits with status 125. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A whole file, with a NUL at the end; free it with free(3). */
char *read_file(const char *directory, const char *name);

#endif
