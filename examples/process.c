/* The part of a container runtime that has nothing to do with librfs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <json.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const limit_names[RLIM_NLIMITS] = {
    [RLIMIT_AS] = "AS", [RLIMIT_CORE] = "CORE", [RLIMIT_CPU] = "CPU", [RLIMIT_DATA] = "DATA",
    [RLIMIT_FSIZE] = "FSIZE", [RLIMIT_LOCKS] = "LOCKS", [RLIMIT_MEMLOCK] = "MEMLOCK",
    [RLIMIT_MSGQUEUE] = "MSGQUEUE", [RLIMIT_NICE] = "NICE", [RLIMIT_NOFILE] = "NOFILE",
    [RLIMIT_NPROC] = "NPROC", [RLIMIT_RSS] = "RSS", [RLIMIT_RTPRIO] = "RTPRIO",
    [RLIMIT_RTTIME] = "RTTIME", [RLIMIT_SIGPENDING] = "SIGPENDING", [RLIMIT_STACK] = "STACK",
};

/* In the order of the kernel's numbers, from 0. */
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
    exit(125);
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

static struct json_object *json_at(struct json_object *object, const char *pointer)
{
    struct json_object *found = NULL;
    return json_pointer_get(object, pointer, &found) ? NULL : found;
}

static const char *json_string_at(struct json_object *object, const char *pointer)
{
    return json_object_get_string(json_at(object, pointer));
}

static size_t json_length(struct json_object *array)
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

static void read_namespaces(struct process *process, struct json_object *config)
{
    static const struct { const char *name; int type; } known[] = {
        {"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC},
        {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP}, {"mount", CLONE_NEWNS}, {"user", CLONE_NEWUSER}};
    struct json_object *list = json_at(config, "/linux/namespaces");
    uint64_t seen = 0;
    for (size_t i = 0, k; i < json_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        const char *name = json_string_at(entry, "/type"), *path = json_string_at(entry, "/path");
        for (k = 0; k < COUNT(known) && strcmp(name ? name : "", known[k].name) != 0; k++)
            ;
        if (k == COUNT(known) || (seen & (uint64_t)known[k].type))
            fail("config.json: linux.namespaces[%zu]: \"%s\" comes twice, or this program can't make it", i, name);
        seen |= (uint64_t)known[k].type;
        if (!path) {
            process->new_namespaces |= (uint64_t)known[k].type;
            continue;
        }
        if (known[k].type == CLONE_NEWUSER)
            fail("config.json: linux.namespaces[%zu]: this program joins no user namespace", i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        /* For a pid namespace, setns concerns the children of the caller. */
        if (fd < 0 || (known[k].type == CLONE_NEWPID && setns(fd, CLONE_NEWPID) != 0))
            fail("config.json: linux.namespaces[%zu].path: %s: %s", i, path, strerror(errno));
        process->joined[process->n_joined].fd = fd;
        process->joined[process->n_joined++].type = known[k].type;
    }
    process->own_mounts = seen & CLONE_NEWNS;
    process->rootfs = json_string_at(config, "/root/path");
    if ((process->hostname || process->domainname) && !(seen & CLONE_NEWUTS))
        fail("config.json: hostname: it needs a uts namespace, or the host would be renamed");
}

static size_t read_ranges(struct id_range **ranges, struct json_object *list)
{
    *ranges = calloc(json_length(list) + 1, sizeof(**ranges));
    if (!*ranges)
        fail("out of memory");
    for (size_t i = 0; i < json_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        (*ranges)[i].inside = (uint32_t)json_object_get_int64(json_at(entry, "/containerID"));
        (*ranges)[i].outside = (uint32_t)json_object_get_int64(json_at(entry, "/hostID"));
        (*ranges)[i].count = (uint32_t)json_object_get_int64(json_at(entry, "/size"));
    }
    return json_length(list);
}

bool process_has_mappings(struct json_object *config)
{
    return json_length(json_at(config, "/linux/uidMappings")) > 0 || json_length(json_at(config, "/linux/gidMappings")) > 0;
}

static void read_mappings(struct process *process, struct json_object *config, bool rootless)
{
    process->n_uids = read_ranges(&process->uids, json_at(config, "/linux/uidMappings"));
    process->n_gids = read_ranges(&process->gids, json_at(config, "/linux/gidMappings"));
    if (rootless) {
        process->new_namespaces |= CLONE_NEWUSER;
        if (!process->n_uids && !process->n_gids) {
            process->uids[process->n_uids++] = (struct id_range){0, geteuid(), 1};
            process->gids[process->n_gids++] = (struct id_range){0, getegid(), 1};
        }
    }
    if (process->new_namespaces & CLONE_NEWUSER && !(process->n_uids && process->n_gids))
        fail("config.json: linux.uidMappings, gidMappings: a user namespace needs both");
    if (process->new_namespaces & CLONE_NEWUSER && process->n_joined)
        fail("config.json: linux.namespaces: from a new user namespace this program can't join others");
}

void process_read(struct process *process, struct json_object *config, bool rootless)
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
    read_namespaces(process, config);
    read_mappings(process, config, rootless);
}

/* One write: the kernel takes no second one. */
static bool write_proc(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

static void write_map(pid_t pid, const char *name, const struct id_range *ranges, size_t n)
{
    char text[4096]; /* the kernel takes less */
    size_t length = 0;
    for (size_t i = 0; i < n && length < sizeof(text); i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%u %u %u\n", ranges[i].inside, ranges[i].outside, ranges[i].count);
    if (length >= sizeof(text) || !write_proc(pid, name, text))
        fail("writing /proc/%d/%s: %s", (int)pid, name, length >= sizeof(text) ? "too many ranges" : strerror(errno));
}

/* A program with the privilege to map the ranges that /etc/subuid or /etc/subgid gives this user. */
static void run_mapper(const char *program, pid_t pid, const struct id_range *ranges, size_t n)
{
    char **args = calloc(3 * n + 3, sizeof(*args));
    int status;
    if (!args || (args[0] = strdup(program)) == NULL || asprintf(&args[1], "%d", (int)pid) < 0)
        fail("out of memory");
    for (size_t i = 0; i < 3 * n; i++) {
        const struct id_range *range = &ranges[i / 3];
        if (asprintf(&args[i + 2], "%u", i % 3 == 0 ? range->inside : i % 3 == 1 ? range->outside : range->count) < 0)
            fail("out of memory");
    }
    pid_t child = fork();
    if (child == 0) {
        execvp(program, args);
        fail("%s: %s; it is needed for more than one id (Debian: uidmap)", program, strerror(errno));
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fail("%s could not map the ids", program);
    for (size_t i = 0; args[i]; i++)
        free(args[i]);
    free(args);
}

void process_map_ids(const struct process *process, pid_t pid)
{
    bool own_ids_alone = process->n_uids == 1 && process->uids[0].count == 1 && process->uids[0].outside == geteuid() &&
        process->n_gids == 1 && process->gids[0].count == 1 && process->gids[0].outside == getegid();
    if (geteuid() != 0 && !own_ids_alone) {
        run_mapper("newuidmap", pid, process->uids, process->n_uids);
        run_mapper("newgidmap", pid, process->gids, process->n_gids);
        return;
    }
    /* Without it a user could leave a group that is kept from something. */
    if (geteuid() != 0 && !write_proc(pid, "setgroups", "deny"))
        fail("writing /proc/%d/setgroups: %s", (int)pid, strerror(errno));
    write_map(pid, "uid_map", process->uids, process->n_uids);
    write_map(pid, "gid_map", process->gids, process->n_gids);
}

bool process_be_root(void)
{
    /* With the user's own ids alone, the kernel lets no groups be set. */
    return (setgroups(0, NULL) == 0 || errno == EPERM) && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0;
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
    for (size_t i = 0; i < process->n_joined; i++)
        close(process->joined[i].fd);
    free(process->args);
    free(process->env);
    free(process->groups);
    free(process->uids);
    free(process->gids);
}

const char *process_become(const struct process *process)
{
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (process->limited[i] && setrlimit((__rlimit_resource_t)i, &process->limits[i]) != 0)
            return "process.rlimits";

    /* Beyond the last capability that the kernel knows, prctl says EINVAL. */
    for (unsigned cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (!(process->bounding >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) != 0)
            return "process.capabilities.bounding";

    /* Otherwise the capabilities would go with user 0. */
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
    /* runc spec asks for ambient capabilities that are not inheritable, which no kernel grants. */
    uint64_t ambient = process->ambient & process->inheritable & process->permitted;
    for (unsigned cap = 0; cap < 64; cap++)
        if (ambient >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
            return "process.capabilities.ambient";

    if (process->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return "process.noNewPrivileges";
    return NULL;
}
