/* Bad configurations in JSON: each gives its errno and a sentence that names the field, and writes no
 * output. Runs without root, and quickly enough for valgrind.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attempt.h"

struct bad {
    int code;
    const char *says;     /* "mounts[1]" also demands that err.object and err.index agree */
    const char *says_too;
    const char *json;     /* with ' for " */
};

#define ROOT "'root': {'path': 'rootfs'}"
#define MOUNT(fields) "{" ROOT ", 'mounts': [{'destination': '/ok', 'type': 'tmpfs', 'source': 'tmpfs'}, {" fields "}]}"
#define OPTIONS(type, options) \
    MOUNT("'destination': '/x', 'type': '" type "', 'source': '/etc', 'options': [" options "]")
#define TARGET(type, destination) MOUNT("'destination': '" destination "', 'type': '" type "', 'source': '/etc'")
#define LINUX(fields) "{" ROOT ", 'mounts': [], 'linux': {" fields "}}"
#define DEVICE(fields) LINUX("'devices': [{'path': '/dev/ok', 'type': 'c', 'major': 1, 'minor': 3}, {" fields "}]")
#define PROCESS(fields) "{" ROOT ", 'mounts': [], 'process': {" fields "}}"
#define IDS(c, h, n) "{'containerID': " #c ", 'hostID': " #h ", 'size': " #n "}"
#define IDMAP(uids, gids, options) \
    MOUNT("'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['bind'" options "], " \
          "'uidMappings': [" uids "], 'gidMappings': [" gids "]")

static void try_each(const struct bad *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *json = quoted(list[i].json);
        struct attempt a = attempt_json(json, strlen(json));
        struct expected expected = {.code = list[i].code, .stage = a.stage, .says = list[i].says,
                                    .says_too = list[i].says_too};
        attempt_expects_object(&a, list[i].says, &expected);
        if (!check_error_at(__FILE__, __LINE__, a.rc, &a.err, &expected))
            note("... with %.300s", list[i].json);
        free(json);
    }
}

static void json_text(void)
{
    static const struct bad list[] = {
        {-EINVAL, NULL, NULL, ""},
        {-EINVAL, NULL, NULL, " "},
        {-EINVAL, NULL, NULL, "not json"},
        {-EINVAL, NULL, NULL, "{"},
        {-EINVAL, NULL, NULL, "{" ROOT},
        {-EINVAL, NULL, NULL, "{" ROOT "} {}"},
        {-EINVAL, NULL, NULL, "{" ROOT ",}"},
        {-EINVAL, NULL, NULL, "[]"},
        {-EINVAL, NULL, NULL, "null"},
        {-EINVAL, NULL, NULL, "17"},
        {-EINVAL, NULL, NULL, "'text'"},
        {-EINVAL, NULL, NULL, "{'root': {'path': 'root\xff\xfe" "fs'}}"},
        {-EINVAL, NULL, NULL, "{'root': {'path': 'rootfs\\ud800'}}"},
        {-EINVAL, NULL, NULL, "\xef\xbb\xbf{" ROOT "}"},
    };
    try_each(list, COUNT(list));
}

static void json_with_nul_after_it(void)
{
    static const char json[] = "{\"root\": {\"path\": \"rootfs\"}}\0\0";
    struct attempt a = attempt_json(json, sizeof json - 1);
    CHECK_ERROR(a.rc, &a.err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG);
}

static void json_needs_no_nul(void)
{
    static const char json[] = "{\"root\": {\"path\": \"rootfs\"}}";
    char *exact = malloc(sizeof json - 1);
    memcpy(exact, json, sizeof json - 1);
    struct attempt a = attempt_json(exact, sizeof json - 1);
    CHECK_SUCCESS(a.rc, &a.err);
    free(exact);
}

static void deep_json(void)
{
    size_t depth = 100000;
    char *json = malloc(depth + 1);
    memset(json, '[', depth);
    struct attempt a = attempt_json(json, depth);
    CHECK_ERROR(a.rc, &a.err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG);
    for (size_t i = 0; i + 5 <= depth; i += 5)
        memcpy(json + i, "{\"a\":", 5);
    a = attempt_json(json, depth);
    CHECK_ERROR(a.rc, &a.err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG);
    free(json);
}

static void truncated_json(void)
{
    char *json = quoted("{" ROOT ", "
                        "'mounts': [{'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['ro']}], "
                        "'linux': {'maskedPaths': ['/proc/kcore'], 'devices': [{'path': '/dev/d', 'type': 'b', "
                        "'major': 7}]}}");
    for (size_t length = strlen(json); length-- > 0;) {
        struct attempt a = attempt_json(json, length);
        if (!CHECK_ERROR(a.rc, &a.err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG))
            note("... cut at %zu", length);
    }
    free(json);
}

static void root_section(void)
{
    static const struct bad list[] = {
        {-EINVAL, "root", NULL, "{'mounts': []}"},
        {-EINVAL, "root", NULL, "{'root': null}"},
        {-EINVAL, "root", NULL, "{'root': 5}"},
        {-EINVAL, "root", NULL, "{'root': []}"},
        {-EINVAL, "root", "path", "{'root': {}}"},
        {-EINVAL, "root.path", NULL, "{'root': {'path': 5}}"},
        {-EINVAL, "root.path", NULL, "{'root': {'path': ''}}"},
        {-EINVAL, "root", NULL, "{'root': {'path': 'root\\u0000fs'}}"},
        {-EINVAL, "root.readonly", NULL, "{'root': {'path': 'rootfs', 'readonly': 'yes'}}"},
        {-EINVAL, "/", NULL, "{'root': {'path': '/'}}"},
        {-EINVAL, "/", NULL, "{'root': {'path': '/.'}}"},
        {-EINVAL, "/", NULL, "{'root': {'path': '//'}}"},
        {-EINVAL, "/", NULL, "{'root': {'path': '/etc/..'}}"},
        {-ENOENT, "missing", NULL, "{'root': {'path': 'missing'}}"},
        {-ENOTDIR, "file", NULL, "{'root': {'path': 'file'}}"},
        {-ENOTDIR, "file", NULL, "{'root': {'path': 'file/below'}}"},
        {-ELOOP, "link", NULL, "{'root': {'path': 'link'}}"},
        {-ELOOP, "link", NULL, "{'root': {'path': 'link/'}}"},
        {-ELOOP, "link", NULL, "{'root': {'path': 'link/.'}}"},
        {-ELOOP, "link", NULL, "{'root': {'path': 'link/.//'}}"},
        {-ELOOP, "loop", NULL, "{'root': {'path': 'loop'}}"},
    };
    try_each(list, COUNT(list));
}

static void mounts_section(void)
{
    static const struct bad list[] = {
        {-EINVAL, "mounts", NULL, "{" ROOT ", 'mounts': {}}"},
        {-EINVAL, "mounts", NULL, "{" ROOT ", 'mounts': 'all'}"},
        {-EINVAL, "mounts[0]", NULL, "{" ROOT ", 'mounts': [3]}"},
        {-EINVAL, "mounts[1]", "destination", MOUNT("'type': 'tmpfs'")},
        {-EINVAL, "mounts[1].destination", NULL, MOUNT("'destination': 5, 'type': 'tmpfs'")},
        {-EINVAL, "mounts[1]", NULL, TARGET("tmpfs", "/a\\u0000b")},
        {-EINVAL, "mounts[1].type", NULL, MOUNT("'destination': '/x', 'type': ['tmpfs']")},
        {-EINVAL, "mounts[1]", "type", MOUNT("'destination': '/x', 'source': 'x'")},
        {-EINVAL, "mounts[1]", "type", TARGET("", "/x")},
        {-EINVAL, "mounts[1]", NULL, TARGET("tm\\u0000pfs", "/x")},
        {-EINVAL, "mounts[1].source", NULL, MOUNT("'destination': '/x', 'type': 'tmpfs', 'source': 1")},
        {-EINVAL, "mounts[1]", NULL, MOUNT("'destination': '/x', 'type': 'tmpfs', 'source': 'a\\u0000b'")},
        {-EINVAL, "mounts[1]", "source", MOUNT("'destination': '/x', 'type': 'bind'")},
        {-EINVAL, "mounts[1]", "source", MOUNT("'destination': '/x', 'options': ['rbind']")},
        {-EINVAL, "mounts[1]", "source", MOUNT("'destination': '/x', 'type': 'bind', 'source': ''")},
        {-EINVAL, "mounts[1]", "an object",
         "{" ROOT ", 'mounts': [{'destination': '/x', 'type': 'tmpfs'}, ['/y', 'tmpfs']]}"},
        {-EINVAL, "mounts", "duplicate", "{" ROOT ", 'mounts': [], 'mounts': []}"},
    };
    try_each(list, COUNT(list));
}

static void mounts_over_the_root(void)
{
    static const struct bad list[] = {
        {-EINVAL, "mounts[1]", "proc can't be the container's root", TARGET("proc", "/./")},
        {-EINVAL, "mounts[1]", "sysfs can't be the container's root", TARGET("sysfs", "/foo/..")},
        {-EINVAL, "mounts[1]", "cgroup can't be the container's root", TARGET("cgroup", ".")},
    };
    try_each(list, COUNT(list));
}

static void mounts_in_proc(void)
{
    static const struct bad list[] = {
        {-EINVAL, "mounts[1]", "/proc", TARGET("tmpfs", "/proc")},
        {-EINVAL, "mounts[1]", "/proc", TARGET("tmpfs", "/proc/")},
        {-EINVAL, "mounts[1]", "/proc", TARGET("sysfs", "/x/../proc")},
        {-EINVAL, "mounts[1]", "/proc", TARGET("tmpfs", "proc")},
        {-EINVAL, "mounts[1]", "/proc/1", TARGET("bind", "/proc/1/attr")},
        {-EINVAL, "mounts[1]", "/proc/sys", TARGET("bind", "/proc/sys")},
        {-EINVAL, "mounts[1]", "/proc/sys", TARGET("proc", "/proc/sys")},
        {-EINVAL, "mounts[1]", "/proc", TARGET("bind", "/proc/uptimes")},
        {-EINVAL, "mounts[1]", "/proc", TARGET("bind", "/proc/uptime/x")},
    };
    try_each(list, COUNT(list));
}

static void mount_options(void)
{
    static const struct bad list[] = {
        {-EINVAL, "mounts[1].options", NULL, MOUNT("'destination': '/x', 'type': 'tmpfs', 'options': 'ro'")},
        {-EINVAL, "mounts[1].options[1]", NULL, OPTIONS("tmpfs", "'ro', 7")},
        {-EINVAL, "mounts[1]", "size", OPTIONS("tmpfs", "'size='")},
        {-EINVAL, "mounts[1]", "mode", OPTIONS("tmpfs", "'mode='")},
        {-EINVAL, "mounts[1]", NULL, OPTIONS("tmpfs", "'=64m'")},
        {-EINVAL, "mounts[1]", NULL, OPTIONS("tmpfs", "'size=6\\u00004m'")},
        {-EINVAL, "mounts[1]", NULL, OPTIONS("tmpfs", "'\\u0000'")},
    };
    try_each(list, COUNT(list));
}

static void id_mappings(void)
{
    static const struct bad list[] = {
        {-EINVAL, "mounts[1]", "gidMappings: missing, though there are uidMappings; the runtime-spec demands both",
         MOUNT("'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['bind'], 'uidMappings': ["
               IDS(0, 1000, 1) "]")},
        {-EINVAL, "mounts[1]", "uidMappings",
         MOUNT("'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['bind'], 'gidMappings': ["
               IDS(0, 1000, 1) "]")},
        {-EINVAL, "mounts[1]", "gidMappings", IDMAP(IDS(0, 1000, 1), "", "")},
        {-EINVAL, "mounts[1].uidMappings[0]", "size", IDMAP("{'containerID': 0, 'hostID': 0}", IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1].gidMappings[1]", "hostID",
         IDMAP(IDS(0, 1, 1), IDS(0, 1, 1) ", {'containerID': 0, 'size': 7}", "")},
        {-EINVAL, "mounts[1].gidMappings[0]", "an object", IDMAP(IDS(0, 1, 1), "[0, 0, 1]", "")},
        {-EINVAL, "linux.uidMappings[0]", "containerID", LINUX("'uidMappings': [{'hostID': 0, 'size': 1}]")},
        {-EINVAL, "mounts[1]", "uidMappings", IDMAP(IDS(0, 1000, 10) "," IDS(5, 3000, 10), IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1]", "uidMappings", IDMAP(IDS(0, 1000, 10) "," IDS(20, 1005, 10), IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1]", "gidMappings", IDMAP(IDS(0, 1000, 1), IDS(0, 1000, 2) "," IDS(1, 4000, 1), "")},
        {-EINVAL, "mounts[1]", "uidMappings", IDMAP(IDS(0, 1000, 0), IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1]", "uidMappings", IDMAP(IDS(0, 4294967295, 2), IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1]", "uidMappings", IDMAP(IDS(4294967295, 0, 2), IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1]", "uidMappings", IDMAP(IDS(0, 4294967296, 1), IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1]", "uidMappings", IDMAP(IDS(-1, 0, 1), IDS(0, 1000, 1), "")},
        {-EINVAL, "mounts[1]", "uidMappings",
         MOUNT("'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['bind'], 'uidMappings': 7, "
               "'gidMappings': []")},
        {-EINVAL, "mounts[1]", "can't be idmapped",
         MOUNT("'destination': '/x', 'type': 'mqueue', 'source': 'tmpfs', 'uidMappings': ["
               IDS(0, 1, 1) "], 'gidMappings': [" IDS(0, 1, 1) "]")},
        {-EINVAL, "mounts[1]", "idmap", OPTIONS("bind", "'bind', 'idmap'")},
        {-EINVAL, "mounts[1]", "ridmap", OPTIONS("bind", "'rbind', 'ridmap'")},
        {-EINVAL, "mounts[1]", "idmap", OPTIONS("tmpfs", "'idmap'")},
        {-EINVAL, "mounts[1]", "can't be idmapped", OPTIONS("sysfs", "'idmap=uids=0-1-1;gids=0-1-1'")},
        {-EINVAL, "mounts[1]", "tmpcopyup", OPTIONS("tmpfs", "'tmpcopyup', 'idmap=uids=0-1-1;gids=0-1-1'")},
        {-EINVAL, "mounts[1]", "exclude each other",
         IDMAP(IDS(0, 1, 1), IDS(0, 1, 1), ", 'idmap=uids=0-1-1;gids=0-1-1'")},
        {-EINVAL, "mounts[1]", "has no uids", OPTIONS("bind", "'bind', 'idmap='")},
        {-EINVAL, "mounts[1]", "has no gids", OPTIONS("bind", "'bind', 'idmap=uids=0-1-1'")},
        {-EINVAL, "mounts[1]", "neither", OPTIONS("bind", "'bind', 'idmap=0-1-1'")},
        {-EINVAL, "mounts[1]", "three numbers", OPTIONS("bind", "'bind', 'ridmap=uids=0-1;gids=0-1-1'")},
        {-EINVAL, "mounts[1]", "no one range", OPTIONS("bind", "'bind', 'idmap=uids=@0-1-1;gids=0-1-1'")},
    };
    try_each(list, COUNT(list));
}

static void too_many_id_mappings(void)
{
    char *json = NULL;
    size_t size;
    FILE *out = open_memstream(&json, &size);
    fputs("{\"root\": {\"path\": \"rootfs\"}, "
          "\"mounts\": [{\"destination\": \"/x\", \"type\": \"bind\", \"source\": \"/etc\", "
          "\"options\": [\"bind\"], \"gidMappings\": [{\"containerID\": 0, \"hostID\": 0, \"size\": 1}], "
          "\"uidMappings\": [", out);
    for (int i = 0; i < 341; i++)
        fprintf(out, "%s{\"containerID\": %d, \"hostID\": %d, \"size\": 1}", i ? "," : "", 2 * i, 2 * i);
    fputs("]}]}", out);
    fclose(out);
    struct attempt a = attempt_json(json, size);
    CHECK_ERROR(a.rc, &a.err, .code = -EINVAL, .stage = a.stage, .says = "mounts[0]", .says_too = "340");
    free(json);
}

static void devices(void)
{
    static const struct bad list[] = {
        {-EINVAL, "linux.devices", NULL, LINUX("'devices': {}")},
        {-EINVAL, "devices[1]", "type", DEVICE("'path': '/dev/x', 'type': 'a', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", "type", DEVICE("'path': '/dev/x', 'type': 'x', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", "type", DEVICE("'path': '/dev/x', 'type': '', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", "type", DEVICE("'path': '/dev/x', 'type': 'char', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", "type", DEVICE("'path': '/dev/x', 'type': 5, 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", "type", DEVICE("'path': '/dev/x', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", "path", DEVICE("'type': 'c', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", NULL, DEVICE("'path': '', 'type': 'c', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", NULL, DEVICE("'path': '/', 'type': 'c', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", NULL, DEVICE("'path': '/dev/..', 'type': 'c', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", NULL, DEVICE("'path': '/dev/a\\u0000', 'type': 'c', 'major': 1, 'minor': 3")},
        {-EINVAL, "devices[1]", "major", DEVICE("'path': '/dev/x', 'type': 'c', 'major': -1, 'minor': 3")},
        {-EINVAL, "devices[1]", "minor", DEVICE("'path': '/dev/x', 'type': 'c', 'major': 1, 'minor': -3")},
        {-EINVAL, "devices[1]", "major", DEVICE("'path': '/dev/x', 'type': 'c', 'major': 4096, 'minor': 3")},
        {-EINVAL, "devices[1]", "minor", DEVICE("'path': '/dev/x', 'type': 'c', 'major': 1, 'minor': 1048576")},
        {-EINVAL, "devices[1]", "major", DEVICE("'path': '/dev/x', 'type': 'c', 'major': 4294967297, 'minor': 3")},
        {-EINVAL, "devices[1]", "fileMode",
         DEVICE("'path': '/dev/x', 'type': 'c', 'major': 1, 'minor': 3, 'fileMode': 65536")},
        {-EINVAL, "devices[1]", "type bits",
         DEVICE("'path': '/dev/x', 'type': 'c', 'major': 1, 'minor': 3, 'fileMode': 25014")},
        {-EINVAL, "devices[1]", "fileMode",
         DEVICE("'path': '/dev/x', 'type': 'c', 'major': 1, 'minor': 3, 'fileMode': '0666'")},
        {-EINVAL, "devices[1]", "uid", DEVICE("'path': '/dev/x', 'type': 'c', 'major': 1, 'minor': 3, 'uid': -1")},
    };
    try_each(list, COUNT(list));
}

static void process_and_linux(void)
{
    static const struct bad list[] = {
        {-EINVAL, "process", NULL, "{" ROOT ", 'process': 1}"},
        {-EINVAL, "cwd", NULL, PROCESS("'cwd': 'tmp'")},
        {-EINVAL, "cwd", NULL, PROCESS("'cwd': './'")},
        {-EINVAL, "cwd", NULL, PROCESS("'cwd': '/tmp\\u0000/x'")},
        {-EINVAL, "process.cwd", NULL, PROCESS("'cwd': 1")},
        {-EINVAL, "umask", NULL, PROCESS("'cwd': '/', 'user': {'uid': 0, 'gid': 0, 'umask': 512}")},
        {-EINVAL, "umask", NULL, PROCESS("'cwd': '/', 'user': {'uid': 0, 'gid': 0, 'umask': -1}")},
        {-EINVAL, "umask", NULL, PROCESS("'cwd': '/', 'user': {'uid': 0, 'gid': 0, 'umask': '022'}")},
        {-EINVAL, "linux", NULL, "{" ROOT ", 'linux': []}"},
        {-EINVAL, "linux.rootfsPropagation", NULL, LINUX("'rootfsPropagation': 1")},
        {-EINVAL, "rootfsPropagation", NULL, LINUX("'rootfsPropagation': 'sometimes'")},
        {-EINVAL, "rootfsPropagation", NULL, LINUX("'rootfsPropagation': 'rSHARED'")},
        {-EINVAL, "linux.maskedPaths", NULL, LINUX("'maskedPaths': '/proc/kcore'")},
        {-EINVAL, "maskedPaths[1]", NULL, LINUX("'maskedPaths': ['/proc/kcore', '']")},
        {-EINVAL, "maskedPaths[1]", NULL, LINUX("'maskedPaths': ['/proc/kcore', '/']")},
        {-EINVAL, "maskedPaths[1]", NULL, LINUX("'maskedPaths': ['/proc/kcore', '/proc/..']")},
        {-EINVAL, "maskedPaths[1]", NULL, LINUX("'maskedPaths': ['/proc/kcore', '/proc/k\\u0000']")},
        {-EINVAL, "maskedPaths[1]", NULL, LINUX("'maskedPaths': ['/proc/kcore', 2]")},
        {-EINVAL, "readonlyPaths[0]", NULL, LINUX("'readonlyPaths': ['']")},
        {-EINVAL, "readonlyPaths[1]", "the container's root itself", LINUX("'readonlyPaths': ['/x', '/x/..']")},
        {-EINVAL, "linux.readonlyPaths[0]", NULL, LINUX("'readonlyPaths': [null]")},
        {-EINVAL, "linux.mountLabel", NULL, LINUX("'mountLabel': 7")},
        {-EINVAL, "mountLabel", NULL, LINUX("'mountLabel': 'a\\u0000b'")},
        {-EINVAL, "linux.namespaces", NULL, LINUX("'namespaces': 'mount'")},
        {-EINVAL, "linux.namespaces[0]", NULL, LINUX("'namespaces': [{'type': 5}]")},
        {-EINVAL, "linux.namespaces[1].type", "mount", LINUX("'namespaces': [{'type': 'user'}, {'type': 'mnt'}]")},
        {-EINVAL, "linux.namespaces[0].path", NULL, LINUX("'namespaces': [{'type': 'user', 'path': 5}]")},
        {-EINVAL, "hooks.poststart[0].timeout", "-3",
         "{" ROOT ", 'hooks': {'poststart': [{'path': '/x', 'timeout': -3}]}}"},
        {-EINVAL, "hooks.poststart[0]", "path", "{" ROOT ", 'hooks': {'poststart': [{'timeout': 3}]}}"},
    };
    try_each(list, COUNT(list));
}

/* {"root": ..., "mounts": [MOUNT with @ replaced by `length` times 'a']} */
static void check_long(const char *json, size_t length, int code, const char *says)
{
    char *template = quoted(json), *text = NULL, *at = strchr(template, '@');
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fwrite(template, 1, (size_t)(at - template), out);
    for (size_t i = 0; i < length; i++)
        fputc('a', out);
    fputs(at + 1, out);
    fclose(out);
    struct attempt a = attempt_json(text, size);
    if (!CHECK_ERROR(a.rc, &a.err, .code = code, .stage = a.stage, .says = says))
        note("... %zu bytes in %s", length, json);
    free(text);
    free(template);
}

#define MEGABYTE ((size_t)1 << 20)

static void long_names(void)
{
    check_long(TARGET("tmpfs", "/ok/@"), 300, -ENAMETOOLONG, "mounts[1]");
    check_long(TARGET("tmpfs", "/ok/@/ok"), 256, -ENAMETOOLONG, "mounts[1]");
    check_long(LINUX("'maskedPaths': ['/@']"), 300, -ENAMETOOLONG, "maskedPaths[0]");
    check_long(LINUX("'readonlyPaths': ['/@']"), 300, -ENAMETOOLONG, "readonlyPaths[0]");
    check_long(DEVICE("'path': '/dev/@', 'type': 'p'"), 300, -ENAMETOOLONG, "devices[1]");
    check_long(PROCESS("'cwd': '/@'"), 300, -ENAMETOOLONG, "cwd");
    check_long("{'root': {'path': '@'}}", 300, -ENAMETOOLONG, "root");
    check_long(MOUNT("'destination': '/x', 'type': 'bind', 'source': '/@'"), 300, -ENAMETOOLONG, "mounts[1]");
}

static void megabyte_strings(void)
{
    check_long(TARGET("tmpfs", "/@"), MEGABYTE, -ENAMETOOLONG, "mounts[1]");
    check_long(TARGET("@", "/x"), MEGABYTE, 0, "mounts[1]");
    check_long(MOUNT("'destination': '/x', 'type': 'bind', 'source': '/@'"), MEGABYTE, -ENAMETOOLONG, "mounts[1]");
    check_long(OPTIONS("tmpfs", "'@'"), MEGABYTE, 0, "mounts[1]");
    check_long(OPTIONS("tmpfs", "'size=@'"), MEGABYTE, 0, "mounts[1]");
    check_long(LINUX("'maskedPaths': ['/@']"), MEGABYTE, -ENAMETOOLONG, "maskedPaths[0]");
    check_long(DEVICE("'path': '/@', 'type': 'p'"), MEGABYTE, -ENAMETOOLONG, "devices[1]");
    check_long(LINUX("'rootfsPropagation': '@'"), MEGABYTE, -EINVAL, "rootfsPropagation");
    check_long(PROCESS("'cwd': '/@'"), MEGABYTE, -ENAMETOOLONG, "cwd");
    check_long("{'root': {'path': '@'}}", MEGABYTE, -ENAMETOOLONG, "root");
    check_long("{@", MEGABYTE, -EINVAL, NULL);
}

static void path_over_path_max(void)
{
    char *json = NULL;
    size_t size;
    FILE *out = open_memstream(&json, &size);
    fputs("{\"root\": {\"path\": \"rootfs\"}, \"mounts\": [{\"type\": \"tmpfs\", \"destination\": \"", out);
    for (int i = 0; i < PATH_MAX / 2 + 1; i++)
        fputs("/a", out);
    fputs("\"}]}", out);
    fclose(out);
    struct attempt a = attempt_json(json, size);
    CHECK_ERROR(a.rc, &a.err, .code = -ENAMETOOLONG, .stage = a.stage, .says = "mounts[0]");
    CHECK(strncmp(a.err.path, "...", 3) == 0 && strlen(a.err.path) == sizeof a.err.path - 1);
    free(json);
}

static void hundred_thousand_mounts(void)
{
    char *json = NULL;
    size_t size;
    FILE *out = open_memstream(&json, &size);
    fputs("{\"root\": {\"path\": \"rootfs\"}, \"mounts\": [", out);
    for (int i = 0; i < 100000; i++)
        fprintf(out, "%s{\"destination\":\"/m\",\"type\":\"tmpfs\"}", i ? "," : "");
    fputs("]}", out);
    fclose(out);
    struct attempt a = attempt_json(json, size);
    CHECK_ERROR(a.rc, &a.err, .code = -E2BIG, .stage = a.stage, .says = "mounts");
    free(json);
}

/* The library must not read beyond the limit, because no memory is mapped there. */
static void over_64_mib(void)
{
    rfs_error err = fresh_error();
    rfs_config *config = SENTINEL;
    int rc = rfs_config_from_oci("{}", ((size_t)64 << 20) + 1, test_bundle, &config, &err);
    CHECK_ERROR(rc, &err, .code = -E2BIG, .stage = RFS_STAGE_CONFIG, .says = "json");
    CHECK(config == SENTINEL);
}

static void bundle_argument(void)
{
    static const char json[] = "{\"root\": {\"path\": \"rootfs\"}}";
    static const char *const bundles[] = {"", "bundle", "./", "../bundle"};
    for (size_t i = 0; i < COUNT(bundles); i++) {
        rfs_error err = fresh_error();
        rfs_config *config = SENTINEL;
        int rc = rfs_config_from_oci(json, strlen(json), bundles[i], &config, &err);
        CHECK_ERROR(rc, &err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG, .says = "bundle");
        CHECK(config == SENTINEL);
    }
}

static void good_configurations(void)
{
    static const char *const list[] = {
        "{" ROOT "}",
        "{" ROOT ", 'mounts': null}",
        "{" ROOT ", 'mounts': []}",
        TARGET("tmpfs", "relative/destination"),
        TARGET("bind", "/proc/uptime"),
        TARGET("bind", "/proc/./sys/kernel/ns_last_pid"),
        TARGET("proc", "/proc"),
        TARGET("tmpfs", "/procession"),
        TARGET("tmpfs", "/"),
        TARGET("tmpfs", "//"),
        TARGET("tmpfs", "/.."),
        TARGET("bind", "/foo/../.."),
        TARGET("tmpfs", ""), /* podman run --tmpfs / */
        MOUNT("'destination': '/x', 'source': '/etc', 'options': ['bind']"),
        MOUNT("'destination': '/x', 'source': 'relative', 'options': ['rbind', 'ro']"),
        MOUNT("'destination': '/x', 'type': 'tmpfs'"),
        IDMAP(IDS(0, 1000, 10) "," IDS(10, 3000, 10), IDS(0, 1000, 4294966295), ""),
        IDMAP(IDS(0, 1000, 1), IDS(0, 1000, 1), ", 'idmap'"),
        OPTIONS("tmpfs", "'size=1m', 'idmap=uids=0-100000-65536#70000-5-1;gids=0-100000-1'"),
        OPTIONS("bind", "'rbind', 'ridmap=gids=0-100000-1;uids=0-5-1;'"),
        MOUNT("'destination': '/x', 'type': 'tmpfs', 'source': 'tmpfs', 'uidMappings': ["
              IDS(0, 1, 1) "], 'gidMappings': [" IDS(0, 1, 1) "]"),
        DEVICE("'path': '/dev/x', 'type': 'b', 'major': 4095, 'minor': 1048575, 'fileMode': 438, 'uid': 4294967294, "
               "'gid': 5"),
        DEVICE("'path': '/dev/x', 'type': 'u', 'major': 1, 'minor': 3"),
        DEVICE("'path': '/dev/x', 'type': 'p'"),
        DEVICE("'path': 'dev/x', 'type': 'p'"),
        DEVICE("'path': '/dev/x', 'type': 'b', 'major': 7, 'fileMode': 25008"), /* 060660 */
        /* The plan refuses this optional mount, which is in LXC's default configuration. */
        MOUNT("'destination': '/proc/sys/fs/binfmt_misc', 'type': 'bind', 'source': '/proc/sys/fs/binfmt_misc', "
              "'options': ['bind', 'optional']"),
        MOUNT("'destination': '/x', 'options': ['optional']"),
        MOUNT("'destination': '/', 'type': 'tmpfs', 'options': ['optional', 'size=1m']"),
        OPTIONS("tmpfs", "'ro', ''"),
        LINUX("'rootfsPropagation': ''"),
        LINUX("'rootfsPropagation': 'rslave'"),
        LINUX("'namespaces': [{'type': 'mount', 'path': ''}, {'type': 'time', 'path': null}]"),
        LINUX("'maskedPaths': null, 'readonlyPaths': null, 'devices': null, 'mountLabel': ''"),
        PROCESS("'cwd': '/../../foo/bar', 'user': {'uid': 0, 'gid': 0, 'umask': 511}"),
        "{'root': {'path': 'rootfs', 'readonly': true}, 'process': {'cwd': '/'}}",
        /* These parts are none of librfs's business. */
        "{" ROOT ", 'ociVersion': 7, 'hooks': null, 'vm': 'x', 'windows': 1, 'x-future': {'a': [1, {}]}, "
                 "'annotations': {'a': 7}}",
        PROCESS("'cwd': '/', 'args': 'sh', 'env': 1, 'capabilities': [], 'rlimits': 'none', 'terminal': 3"),
        LINUX("'seccomp': 17, 'resources': 'many', 'sysctl': [1], 'cgroupsPath': 4, 'timeOffsets': 0"),
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        char *json = quoted(list[i]);
        struct attempt a = attempt_json(json, strlen(json));
        if (!CHECK_SUCCESS(a.rc, &a.err))
            note("... with %.300s", list[i]);
        free(json);
    }
}

static void without_an_error(void)
{
    static const char bad[] = "{\"root\": 5}";
    rfs_config *config = SENTINEL;
    CHECK(rfs_config_from_oci(bad, strlen(bad), test_bundle, &config, NULL) == -EINVAL);
    CHECK(config == SENTINEL);
    static const char missing[] = "{\"root\": {\"path\": \"missing\"}}";
    rfs_plan *plan = SENTINEL;
    CHECK(rfs_config_from_oci(missing, strlen(missing), test_bundle, &config, NULL) == 0);
    CHECK(rfs_plan_new(config, &plan, NULL) == -ENOENT);
    CHECK(plan == SENTINEL);
    rfs_config_free(config);
}

static bool is_option_name(const char *name)
{
    const char *const *names = rfs_mount_option_names();
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

static void option_names(void)
{
    const char *const *names = rfs_mount_option_names();
    CHECK(names == rfs_mount_option_names());
    CHECK(names[0] != NULL);
    for (size_t i = 1; names[0] && names[i]; i++)
        CHECK_THAT(strcmp(names[i - 1], names[i]) < 0, "%s comes before %s", names[i - 1], names[i]);
    static const char *const known[] = {"ro", "symfollow", "rnosymfollow", "rstrictatime", "ridmap", "rslave",
                                        "create=dir", "z"};
    for (size_t i = 0; i < COUNT(known); i++)
        CHECK_THAT(is_option_name(known[i]), "%s", known[i]);
    CHECK(!is_option_name("size=5") && !is_option_name("mode") && !is_option_name(""));
}

/* Options that a runtime knows and that librfs leaves to the file system. */
static bool is_data(const char *name)
{
    /* acl(5): MS_POSIXACL means nothing from outside the kernel. The others are crun's, "recursive" flags of a
     * superblock, which has nothing below. */
    static const char *const data[] = {"acl", "noacl", "rasync", "rdirsync", "rmand", "rnomand", "rsync"};
    for (size_t i = 0; i < COUNT(data); i++)
        if (strcmp(name, data[i]) == 0)
            return true;
    return false;
}

/* How many names `mountOptions` has in what the command prints. */
static int check_features(const char *command)
{
    static char text[65536];
    int count = 0;
    FILE *output = popen(command, "r");
    text[fread(text, 1, sizeof text - 1, output)] = '\0';
    pclose(output);
    char *start = strstr(text, "\"mountOptions\":"), *end = start ? strchr(start, ']') : NULL;
    if (!end)
        return 0;
    *end = '\0';
    strtok(strchr(start, '['), "\"");
    for (char *name; (name = strtok(NULL, "\"")) != NULL; strtok(NULL, "\""), count++)
        CHECK_THAT(is_option_name(name) || is_data(name), "%s: %s is not known here", command, name);
    return count;
}

/* runc has `features` since 1.1, crun since 1.9. */
static void options_of_other_runtimes(void)
{
    CHECK(check_features("runc features 2>&1") > 50);
    int count = check_features("crun features 2>&1");
    CHECK_THAT(count == 0 || count > 50, "crun: %d", count);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"broken JSON", json_text},
        {"NUL after the JSON", json_with_nul_after_it},
        {"JSON that ends at its length", json_needs_no_nul},
        {"JSON 100,000 deep", deep_json},
        {"JSON cut at every byte", truncated_json},
        {"root", root_section},
        {"mounts: wrong types, missing fields, NUL", mounts_section},
        {"mounts over the root", mounts_over_the_root},
        {"mounts on and in /proc", mounts_in_proc},
        {"mount options", mount_options},
        {"id mappings", id_mappings},
        {"341 id mappings", too_many_id_mappings},
        {"linux.devices", devices},
        {"process and linux", process_and_linux},
        {"names of 300 bytes", long_names},
        {"strings of 1 MB", megabyte_strings},
        {"a path over PATH_MAX", path_over_path_max},
        {"100,000 mounts", hundred_thousand_mounts},
        {"over 64 MiB", over_64_mib},
        {"the bundle argument", bundle_argument},
        {"configurations that are good", good_configurations},
        {"failures without an rfs_error", without_an_error},
        {"names of mount options", option_names},
        {"mount options that runc and crun know", options_of_other_runtimes},
    };
    return run_attempts(cases, COUNT(cases));
}
