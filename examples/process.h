/* The parts of config.json that do not concern the file system.
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

enum { FAILED = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127 }; /* exit statuses */

/* The strings belong to the JSON object. */
struct process {
    char **args, **env;
    const char *cwd, *hostname, *domainname, *rootfs;
    bool terminal, no_new_privs;
    bool host_hooks; /* there are prestart or createRuntime hooks */
    struct winsize size;
    uid_t uid;
    gid_t gid, *groups;
    size_t n_groups;
    uint64_t bounding, effective, permitted, inheritable, ambient; /* capabilities, a bit each */
    struct rlimit limits[RLIM_NLIMITS];
    bool limited[RLIM_NLIMITS];
};

/* Reads the process. Ends the program with a message if something can't be done. */
void process_read(struct process *process, struct json_object *config);
void process_free(struct process *process);

/* In the container: applies limits, user and capabilities. Returns NULL, or the name of the call that failed (see
 * errno). */
const char *process_become(const struct process *process);

/* The container's state, which hooks get (runtime-spec, "State"). Free it with free(3). */
char *process_state(struct json_object *config, const char *bundle, pid_t pid, const char *status);

/* Prints "rfsrun: ..." and exits with status FAILED. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A part of an object of config.json, by JSON pointer. NULL if it is missing. */
struct json_object *json_at(struct json_object *object, const char *pointer);
const char *json_string_at(struct json_object *object, const char *pointer);
/* The length of a list. 0 if there is no list. */
size_t json_length(struct json_object *array);

/* Reads a whole file, and puts a NUL at the end. Free it with free(3). */
char *read_file(const char *directory, const char *name);

#endif
