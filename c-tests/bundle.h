/* Bundles for the tests: an image with busybox in `work`, the specs that runc and crun write, and the
 * two ways from a spec to a plan. Specs are json-c objects; JSON in arguments may use ' for ".
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_BUNDLE_H
#define RFS_TEST_BUNDLE_H

#include "harness.h"

#include <json-c/json.h>

/* Makes work/bundle/rootfs: a small image with empty /proc, /sys, /dev and /bin/busybox. */
void make_image(void);

/* Paths of the bundle and in its image. */
const char *bundle(void);
const char *image(const char *path);

/* Makes a file, directory or link in the image, and its parents. */
void image_directory(const char *path, mode_t mode);
void image_file(const char *path, const char *text);
void image_link(const char *target, const char *path);
/* The same, at any path. */
void make_directory(const char *path, mode_t mode);
void make_file(const char *path, const char *text);

/* The spec that `runc spec` or `crun spec` writes, with the terminal off. */
json_object *default_spec(const char *tool);
/* A file of data/, with @WORK@ replaced by `work`. */
json_object *spec_from_data(const char *name);
/* A spec with root.path "rootfs" and nothing else. */
json_object *empty_spec(void);
/* Entries for "mounts". PROC is needed where mount(2) is used, because then rfs_finalize() and rfs_bind_console()
 * need a procfs. */
#define PROC "{'destination': '/proc', 'type': 'proc', 'source': 'proc'}"
#define TMPFS(destination, options) \
    "{'destination': '" destination "', 'type': 'tmpfs', 'source': 'tmpfs', 'options': [" options "]}"
/* The source is in `work`; `more` are other fields. */
#define BIND_WITH(source, destination, options, more) \
    "{'destination': '" destination "', 'type': 'bind', 'source': '%s/" source "', 'options': [" options "]" more "}", \
        work
#define BIND(source, destination, options) BIND_WITH(source, destination, options, "")
/* A /dev of its own, so that no file of the image or the host is touched. */
#define DEV_TMPFS "{'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['mode=755']}"
/* Sets a field, such as "linux.rootfsPropagation". */
void spec_set(json_object *spec, const char *field, const char *json);
/* Appends to a list, such as "mounts" or "linux.maskedPaths". */
void spec_add(json_object *spec, const char *list, const char *json, ...) __attribute__((format(printf, 3, 4)));

/* An entry of a list of strings, such as linux.maskedPaths[i]. NULL after the last. */
const char *path_in_spec(json_object *spec, const char *list, size_t i);

rfs_config *config_from_json(json_object *spec);
/* The same with the functions that a program without config.json calls. */
rfs_config *config_from_builder(json_object *spec);
rfs_plan *plan_of_config(rfs_config *config); /* which it frees */
rfs_plan *plan_of(json_object *spec);         /* which it frees */
rfs_plan *plan_with_flags(json_object *spec, uint64_t flags); /* the same, with RFS_OPTION_* */
/* A container of the plan, which must be made before the fork. It lives as long as the process. */
rfs_container *container_of(const rfs_plan *plan);
/* The text that rfs_plan_describe() writes. malloced. */
char *describe(const rfs_plan *plan);

/* Callbacks that keep the warnings, each with a newline. */
extern char logged_warnings[2048];
extern const rfs_callbacks with_warnings;

/* The container that run_container() or run_refused() has made last, for callbacks. */
extern rfs_container *this_container;

/* In a container's namespaces: prepares and finalizes, which must succeed, and calls inside.
 * Checks that this namespace's mounts stay as they were. */
void run_container(const rfs_plan *plan, const rfs_callbacks *callbacks, void (*inside)(void *), void *data);

/* In a container's namespaces: rfs_prepare() must fail as expected, and the mounts outside stay as they were.
 * what: for the output. */
void run_refused(const char *what, const rfs_plan *plan, const rfs_callbacks *callbacks,
                 const struct expected *expected);

/* run_container() of a plan with recursive attributes: without mount_setattr(2) it must fail instead, for the first
 * mount that has any. */
void run_recursive(const rfs_plan *plan, int64_t first, void (*inside)(void *), void *data);

/* rfs_plan_new() must fail as expected. Frees the spec. */
void refuse_plan(const char *what, json_object *spec, const struct expected *expected);

/* Leaves only cgroup2 on /sys/fs/cgroup, in this namespace. */
void only_cgroup2(void);

#endif
