/* The part of a container runtime that has nothing to do with librfs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <grp.h>
#include <json.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const limit_names[RLIM_NLIMITS] = {
    [RLIMIT_AS] = "AS", [RLIMIT_CORE] = "CORE", [RLIMIT_CPU] = "CPU", [RLIMIT_DATA] = "DATA",
    [RLIMIT_FSIZE] = "FSIZE", [RLIMIT_LOCKS] = "LOCKS", [RLIMIT_MEMLOCK] = "MEMLOCK",
    [RLIMIT_MSGQUEUE] = "MSGQUEUE", [RLIMIT_NICE] = "NICE", [RLIMIT_NOFILE] = "NOFILE",
    [RLIMIT_NPROC] = "NPROC", [RLIMIT_RSS] = "RSS", [RLIMIT_RTPRIO] = "RTPRIO",
    [RLIMIT_RTTIME] = "RTTIME", [RLIMIT_SIGPENDING] = "SIGPENDING", [RLIMIT_STACK] = "STACK",
};

/* The names in the order of the kernel's numbers, from 0. */
static const char *const capability_names[] = {
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
};

void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("rfsrun: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(FAILED);
}

char *read_file(const char *directory, const char *name)
{
    char path[8192], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    if (!file || getdelim(&text, &size, '\0', file) < 0)
        fail("%s: %s", path, file && feof(file) ? "empty" : strerror(errno));
    fclose(file);
    return text;
}

struct json_object *json_at(struct json_object *object, const char *pointer)
{
    struct json_object *found = NULL;
    return json_pointer_get(object, pointer, &found) ? NULL : found;
}

const char *json_string_at(struct json_object *object, const char *pointer)
{
    return json_object_get_string(json_at(object, pointer));
}

size_t json_length(struct json_object *array)
{
    return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

static char **read_strings(struct json_object *array)
{
    char **list = calloc(json_length(array) + 1, sizeof(*list));
    if (!list)
        fail("out of memory");
    for (size_t i = 0; i < json_length(array); i++)
        list[i] = (char *)json_object_get_string(json_object_array_get_idx(array, i));
    return list;
}

static size_t find_name(const char *const *names, size_t n, const char *prefix, const char *name)
{
    size_t skip = strlen(prefix);
    for (size_t i = 0; name && strncmp(name, prefix, skip) == 0 && i < n; i++)
        if (names[i] && strcmp(names[i], name + skip) == 0)
            return i;
    fail("config.json: process: this program does not know \"%s\"", name ? name : "null");
}

static uint64_t read_capabilities(struct json_object *array)
{
    uint64_t set = 0;
    for (size_t i = 0; i < json_length(array); i++)
        set |= UINT64_C(1) << find_name(capability_names, COUNT(capability_names), "CAP_",
            json_object_get_string(json_object_array_get_idx(array, i)));
    return set;
}

void process_read(struct process *process, struct json_object *config)
{
    static const char *const ignored[] = {
        "/linux/seccomp", "/linux/sysctl", "/process/apparmorProfile", "/process/selinuxLabel"};
    struct json_object *list;

    for (size_t i = 0; i < COUNT(ignored); i++)
        if (json_at(config, ignored[i]))
            fprintf(stderr, "rfsrun: warning: config.json: %s is not applied by this program\n", ignored[i] + 1);

    process->args = read_strings(json_at(config, "/process/args"));
    process->env = read_strings(json_at(config, "/process/env"));
    process->cwd = json_string_at(config, "/process/cwd");
    process->rootfs = json_string_at(config, "/root/path");
    process->hostname = json_string_at(config, "/hostname");
    process->domainname = json_string_at(config, "/domainname");
    if (!process->cwd || !process->args[0])
        fail("config.json: process.%s is missing", process->cwd ? "args" : "cwd");
    process->terminal = json_object_get_boolean(json_at(config, "/process/terminal"));
    process->size.ws_row = (unsigned short)json_object_get_int(json_at(config, "/process/consoleSize/height"));
    process->size.ws_col = (unsigned short)json_object_get_int(json_at(config, "/process/consoleSize/width"));
    process->host_hooks =
        json_length(json_at(config, "/hooks/prestart")) > 0 || json_length(json_at(config, "/hooks/createRuntime")) > 0;
    process->no_new_privs = json_object_get_boolean(json_at(config, "/process/noNewPrivileges"));
    process->uid = (uid_t)json_object_get_int64(json_at(config, "/process/user/uid"));
    process->gid = (gid_t)json_object_get_int64(json_at(config, "/process/user/gid"));

    list = json_at(config, "/process/user/additionalGids");
    process->groups = calloc(json_length(list) + 1, sizeof(*process->groups));
    if (!process->groups)
        fail("out of memory");
    for (; process->n_groups < json_length(list); process->n_groups++)
        process->groups[process->n_groups] =
            (gid_t)json_object_get_int64(json_object_array_get_idx(list, process->n_groups));

    list = json_at(config, "/process/rlimits");
    for (size_t i = 0; i < json_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        size_t which = find_name(limit_names, RLIM_NLIMITS, "RLIMIT_", json_string_at(entry, "/type"));
        process->limited[which] = true;
        process->limits[which].rlim_cur = json_object_get_uint64(json_at(entry, "/soft"));
        process->limits[which].rlim_max = json_object_get_uint64(json_at(entry, "/hard"));
    }

    process->bounding = read_capabilities(json_at(config, "/process/capabilities/bounding"));
    process->effective = read_capabilities(json_at(config, "/process/capabilities/effective"));
    process->permitted = read_capabilities(json_at(config, "/process/capabilities/permitted"));
    process->inheritable = read_capabilities(json_at(config, "/process/capabilities/inheritable"));
    process->ambient = read_capabilities(json_at(config, "/process/capabilities/ambient"));
}

char *process_state(struct json_object *config, const char *bundle, pid_t pid, const char *status)
{
    struct json_object *state = json_object_new_object(), *annotations = json_at(config, "/annotations");
    const char *version = json_string_at(config, "/ociVersion");
    char id[32];
    snprintf(id, sizeof(id), "rfsrun-%d", (int)pid);
    json_object_object_add(state, "ociVersion", json_object_new_string(version ? version : "1.0.2"));
    json_object_object_add(state, "id", json_object_new_string(id));
    json_object_object_add(state, "status", json_object_new_string(status));
    json_object_object_add(state, "pid", json_object_new_int(pid));
    json_object_object_add(state, "bundle", json_object_new_string(bundle));
    if (annotations)
        json_object_object_add(state, "annotations", json_object_get(annotations));
    char *text = strdup(json_object_to_json_string_ext(state, JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(state);
    if (!text)
        fail("out of memory");
    return text;
}

void process_free(struct process *process)
{
    free(process->args);
    free(process->env);
    free(process->groups);
}

const char *process_become(const struct process *process)
{
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (process->limited[i] && setrlimit((__rlimit_resource_t)i, &process->limits[i]) != 0)
            return "process.rlimits";

    /* prctl(2) answers EINVAL beyond the last capability that the kernel knows. */
    for (unsigned cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (!(process->bounding >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) != 0)
            return "process.capabilities.bounding";

    /* Without this the process would lose its capabilities together with user 0. */
    if (prctl(PR_SET_KEEPCAPS, 1) != 0 ||
        (setgroups(process->n_groups, process->groups) != 0 && (process->n_groups || errno != EPERM)) ||
        setresgid(process->gid, process->gid, process->gid) != 0 ||
        setresuid(process->uid, process->uid, process->uid) != 0)
        return "process.user";

    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(process->effective >> (32 * i));
        data[i].permitted = (uint32_t)(process->permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(process->inheritable >> (32 * i));
    }
    if (syscall(SYS_capset, &header, data) != 0)
        return "process.capabilities";
    /* `runc spec` asks for ambient capabilities that are not inheritable. No kernel grants them. */
    uint64_t ambient = process->ambient & process->inheritable & process->permitted;
    for (unsigned cap = 0; cap < 64; cap++)
        if (ambient >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
            return "process.capabilities.ambient";

    if (process->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return "process.noNewPrivileges";
    return NULL;
}
