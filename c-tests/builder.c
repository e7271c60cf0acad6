/* The interface as C sees it: the builder's bad input, NULL everywhere, the sizes of structs, rfs_error
 * itself, rfs_plan_describe(). Runs without root, and quickly enough for valgrind.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static rfs_config *new_config(void)
{
    rfs_error err = fresh_error();
    rfs_config *config = NULL;
    CHECK_SUCCESS(rfs_config_new(test_rootfs, &config, &err), &err);
    return config;
}

static rfs_plan *new_plan(void)
{
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    rfs_config *config = new_config();
    CHECK_SUCCESS(rfs_plan_new(config, &plan, &err), &err);
    rfs_config_free(config);
    return plan;
}

static const char *const no_options[] = {NULL};

/* Adds a good mount, then this one, then plans. */
static struct attempt attempt_mount(const rfs_mount *mount)
{
    rfs_config *config = new_config();
    rfs_mount good = {.size = sizeof good, .destination = "/ok", .type = "tmpfs"};
    struct attempt a = {.stage = RFS_STAGE_CONFIG, .err = fresh_error()};
    CHECK_SUCCESS(rfs_config_add_mount(config, &good, &a.err), &a.err);
    a.err = fresh_error();
    a.rc = rfs_config_add_mount(config, mount, &a.err);
    if (a.rc == 0)
        return attempt_plan(config);
    /* A refused call has left nothing behind. */
    struct attempt rest = attempt_plan(config);
    CHECK_SUCCESS(rest.rc, &rest.err);
    return a;
}

struct bad_mount {
    const char *says; /* too_many: -E2BIG, else -EINVAL */
    rfs_mount mount;
};

static const char too_many[] = "mounts[1]";

static void bad_mounts(void)
{
    static const char *const null_option[] = {"ro", NULL}, *const no_value[] = {"size="},
                            *const rbind[] = {"rbind"};
    static const rfs_id_mapping one[] = {{0, 1000, 1}}, overlap[] = {{0, 1000, 5}, {4, 2000, 5}},
        none[] = {{0, 1000, 0}};
    const struct bad_mount list[] = {
        {"destination", {.type = "tmpfs"}},
        {"root", {.type = "proc", .destination = ""}},
        {"root", {.type = "sysfs", .destination = "//.."}},
        {"type", {.destination = "/x"}},
        {"type", {.destination = "/x", .type = ""}},
        {"source", {.destination = "/x", .type = "bind"}},
        {"source", {.destination = "/x", .type = "bind", .source = ""}},
        {"source", {.destination = "/x", .type = "bind", .source = "relative"}},
        {"source", {.destination = "/x", .options = rbind, .n_options = 1}},
        {"/proc", {.destination = "/proc", .type = "tmpfs"}},
        {"/proc", {.destination = "/proc/self", .type = "bind", .source = "/etc"}},
        {"option", {.destination = "/x", .type = "tmpfs", .options = null_option, .n_options = 2}},
        {"option", {.destination = "/x", .type = "tmpfs", .options = NULL, .n_options = 2}},
        {too_many, {.destination = "/x", .type = "tmpfs", .options = no_options, .n_options = SIZE_MAX}},
        {"size", {.destination = "/x", .type = "tmpfs", .options = no_value, .n_options = 1}},
        {NULL, {.destination = "/x", .type = "bind", .source = "/etc", .uid_mappings = NULL, .n_uid_mappings = 1,
                .gid_mappings = one, .n_gid_mappings = 1}},
        {NULL, {.destination = "/x", .type = "bind", .source = "/etc", .uid_mappings = one, .n_uid_mappings = 1}},
        {NULL, {.destination = "/x", .type = "bind", .source = "/etc", .gid_mappings = one, .n_gid_mappings = 1}},
        {NULL, {.destination = "/x", .type = "bind", .source = "/etc", .uid_mappings = overlap, .n_uid_mappings = 2,
                .gid_mappings = one, .n_gid_mappings = 1}},
        {NULL, {.destination = "/x", .type = "bind", .source = "/etc", .uid_mappings = none, .n_uid_mappings = 1,
                .gid_mappings = one, .n_gid_mappings = 1}},
        {too_many, {.destination = "/x", .type = "bind", .source = "/etc", .uid_mappings = one,
                    .n_uid_mappings = SIZE_MAX / 2, .gid_mappings = one, .n_gid_mappings = 1}},
        {"source_fd", {.destination = "/x", .type = "tmpfs", .flags = RFS_MOUNT_SOURCE_FD, .source_fd = 0}},
        {"source_fd", {.destination = "/x", .type = "bind", .source = "/etc", .flags = RFS_MOUNT_SOURCE_FD,
                       .source_fd = -1}},
        {"flag", {.destination = "/x", .type = "tmpfs", .flags = 1ull << 62}},
        {"flag", {.destination = "/x", .type = "tmpfs", .flags = 1ull << 63}},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        rfs_mount mount = list[i].mount;
        mount.size = sizeof mount;
        struct attempt a = attempt_mount(&mount);
        struct expected expected = {.code = list[i].says == too_many ? -E2BIG : -EINVAL, .stage = a.stage,
                                    .says = list[i].says};
        if (a.stage == RFS_STAGE_PLAN)
            expected.object = RFS_OBJECT_MOUNT, expected.index = 1, expected.says_too = "mounts[1]";
        if (!check_error_at(__FILE__, __LINE__, a.rc, &a.err, &expected))
            note("... with bad_mounts[%zu]", i);
    }
}

static void bad_devices(void)
{
    static const struct {
        const char *says;
        rfs_device device;
    } list[] = {
        {"path", {.type = 'c', .major = 1, .minor = 3}},
        {NULL, {.path = "", .type = 'c', .major = 1, .minor = 3}},
        {NULL, {.path = "/", .type = 'c', .major = 1, .minor = 3}},
        {"type", {.path = "/dev/x", .type = 0}},
        {"type", {.path = "/dev/x", .type = 'a'}},
        {"type", {.path = "/dev/x", .type = 'x'}},
        {"type", {.path = "/dev/x", .type = 0x1000 + 'c'}},
        {"major", {.path = "/dev/x", .type = 'c', .major = 4096}},
        {"minor", {.path = "/dev/x", .type = 'b', .minor = 1u << 20}},
        {"fileMode: 0o200000 has more than", {.path = "/dev/x", .type = 'p', .flags = RFS_DEVICE_FILE_MODE,
                                              .file_mode = 0200000}},
        {"type bits", {.path = "/dev/x", .type = 'p', .flags = RFS_DEVICE_FILE_MODE, .file_mode = 020666}},
        {"flag", {.path = "/dev/x", .type = 'p', .flags = 2}},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        rfs_config *config = new_config();
        rfs_device device = list[i].device;
        device.size = sizeof device;
        struct attempt a = {.stage = RFS_STAGE_CONFIG, .err = fresh_error()};
        a.rc = rfs_config_add_device(config, &device, &a.err);
        if (a.rc == 0)
            a = attempt_plan(config);
        else
            rfs_config_free(config);
        if (!CHECK_ERROR(a.rc, &a.err, .code = -EINVAL, .stage = a.stage, .says = list[i].says))
            note("... with bad_devices list[%zu]", i);
    }
}

static void bad_options(void)
{
    static const struct {
        int code;
        const char *says;
        rfs_options options;
    } list[] = {
        {-EINVAL, "flag", {.flags = 1ull << 40}},
        {-EINVAL, "flag", {.flags = RFS_OPTION_MOUNTS_BELOW_PROC << 1}},
        {-EINVAL, "umask", {.flags = RFS_OPTION_UMASK, .umask = 01000}},
        {-EINVAL, "ropagation", {.rootfs_propagation = "rprivat"}},
        {-EINVAL, "cwd", {.cwd = "relative"}},
        {-EINVAL, "cgroup_path", {.cgroup_path = "relative"}},
        {-EINVAL, "rootfs_fd", {.flags = RFS_OPTION_ROOTFS_FD, .rootfs_fd = -1}},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        rfs_config *config = new_config();
        rfs_options options = list[i].options;
        options.size = sizeof options;
        struct attempt a = {.stage = RFS_STAGE_CONFIG, .err = fresh_error()};
        a.rc = rfs_config_set_options(config, &options, &a.err);
        if (a.rc == 0)
            a = attempt_plan(config);
        else
            rfs_config_free(config);
        if (!CHECK_ERROR(a.rc, &a.err, .code = list[i].code, .stage = a.stage, .says = list[i].says))
            note("... with bad_options list[%zu]", i);
    }
}

static void bad_paths(void)
{
    static const char *const paths[] = {"", "/", "/.."};
    for (size_t i = 0; i < COUNT(paths); i++) {
        for (int mask = 0; mask < 2; mask++) {
            if (!mask && paths[i][0] == '/')
                continue;
            rfs_config *config = new_config();
            struct attempt a = {.stage = RFS_STAGE_CONFIG, .err = fresh_error()};
            a.rc = mask ? rfs_config_add_masked_path(config, paths[i], &a.err)
                        : rfs_config_add_readonly_path(config, paths[i], &a.err);
            if (a.rc == 0)
                a = attempt_plan(config);
            else
                rfs_config_free(config);
            if (!CHECK_ERROR(a.rc, &a.err, .code = -EINVAL, .stage = a.stage))
                note("... with %s path \"%s\"", mask ? "masked" : "read-only", paths[i]);
        }
    }
}

static void bad_rootfs(void)
{
    static const struct {
        int code;
        const char *rootfs;
    } list[] = {
        {-EINVAL, ""}, {-EINVAL, "relative"}, {-EINVAL, "/"}, {-EINVAL, "/.."}, {-EINVAL, "//"},
        {-ENOENT, "/no/such/directory"},
        {-EINVAL, NULL}, /* and no rootfs_fd */
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        rfs_config *config = SENTINEL;
        struct attempt a = {.stage = RFS_STAGE_CONFIG, .err = fresh_error()};
        a.rc = rfs_config_new(list[i].rootfs, &config, &a.err);
        CHECK((a.rc == 0) == (config != SENTINEL));
        if (a.rc == 0)
            a = attempt_plan(config);
        if (!CHECK_ERROR(a.rc, &a.err, .code = list[i].code, .stage = a.stage, .says = "root"))
            note("... with rootfs %s", list[i].rootfs ? list[i].rootfs : "NULL");
    }
}

static void null_arguments(void)
{
    static const char json[] = "{\"root\": {\"path\": \"rootfs\"}}";
    rfs_config *config = new_config();
    rfs_plan *plan = new_plan();
    rfs_mount mount = {.size = sizeof mount, .destination = "/x", .type = "tmpfs"};
    rfs_device device = {.size = sizeof device, .path = "/dev/x", .type = 'p'};
    rfs_options options = {.size = sizeof options};
    rfs_config *out = SENTINEL;
    rfs_plan *plan_out = SENTINEL;
    rfs_container *container_out = SENTINEL;
    for (int with = 0; with < 2; with++) {
        rfs_error error = fresh_error(), *err = with ? &error : NULL;
        const struct {
            const char *call;
            int rc;
        } calls[] = {
#define CALL(call) {#call, (error = fresh_error(), call)}
            CALL(rfs_config_from_oci(NULL, 5, test_bundle, &out, err)),
            CALL(rfs_config_from_oci(NULL, 0, test_bundle, &out, err)),
            CALL(rfs_config_from_oci(json, strlen(json), NULL, &out, err)),
            CALL(rfs_config_from_oci(json, strlen(json), test_bundle, NULL, err)),
            CALL(rfs_config_new(test_rootfs, NULL, err)),
            CALL(rfs_config_add_mount(NULL, &mount, err)),
            CALL(rfs_config_add_mount(config, NULL, err)),
            CALL(rfs_config_add_device(NULL, &device, err)),
            CALL(rfs_config_add_device(config, NULL, err)),
            CALL(rfs_config_add_masked_path(NULL, "/x", err)),
            CALL(rfs_config_add_masked_path(config, NULL, err)),
            CALL(rfs_config_add_readonly_path(NULL, "/x", err)),
            CALL(rfs_config_add_readonly_path(config, NULL, err)),
            CALL(rfs_config_set_options(NULL, &options, err)),
            CALL(rfs_config_set_options(config, NULL, err)),
            CALL(rfs_plan_new(NULL, &plan_out, err)),
            CALL(rfs_plan_new(config, NULL, err)),
            CALL(rfs_plan_describe(NULL, 1, err)),
            CALL(rfs_container_new(NULL, &container_out, err)),
            CALL(rfs_container_new(plan, NULL, err)),
            CALL(rfs_container_set_rootfs_fd(NULL, 0, err)),
            CALL(rfs_container_set_source_fd(NULL, 0, 0, err)),
            CALL(rfs_container_root_fd(NULL)),
            CALL(rfs_prepare(NULL, NULL, err)),
            CALL(rfs_finalize(NULL, err)),
            CALL(rfs_mask_paths(NULL, err)),
            CALL(rfs_readonly_paths(NULL, err)),
            CALL(rfs_bind_console(NULL, 0, err)),
            CALL(rfs_bind_fd(NULL, 0, "/x", err)),
            CALL(rfs_attach(NULL, 0, 0, err)),
#undef CALL
        };
        for (size_t i = 0; i < COUNT(calls); i++)
            CHECK_THAT(calls[i].rc == -EINVAL, "%s returned %d", calls[i].call, calls[i].rc);
        if (with)
            CHECK_ERROR(rfs_readonly_paths(NULL, err), err, .code = -EINVAL, .says = "container");
    }
    CHECK(out == SENTINEL && plan_out == SENTINEL && container_out == SENTINEL);
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_config_from_oci(json, strlen(json), NULL, &out, &err), &err, .code = -EINVAL, .says = "bundle");
    CHECK_ERROR(rfs_plan_new(config, NULL, &err), &err, .code = -EINVAL, .says = "out");
    rfs_config_free(NULL);
    rfs_plan_free(NULL);
    rfs_container_free(NULL);
    rfs_config_free(config);
    rfs_plan_free(plan);
}

/* Calls with a struct at the end of an allocation of exactly `size` bytes, so that valgrind and ASAN see any read
 * after it. */
typedef int call_with(rfs_config *config, const void *structure, rfs_error *err);

static int call_add_mount(rfs_config *config, const void *structure, rfs_error *err)
{
    return rfs_config_add_mount(config, structure, err);
}

static int call_add_device(rfs_config *config, const void *structure, rfs_error *err)
{
    return rfs_config_add_device(config, structure, err);
}

static int call_set_options(rfs_config *config, const void *structure, rfs_error *err)
{
    return rfs_config_set_options(config, structure, err);
}

static void check_size(call_with *call, const void *structure, size_t known, size_t size, unsigned char tail,
                       int expected)
{
    size_t allocated = size < sizeof(uint64_t) ? sizeof(uint64_t) : size;
    unsigned char *copy = malloc(allocated);
    memset(copy, tail, allocated);
    memcpy(copy, structure, known < allocated ? known : allocated);
    uint64_t stated = size;
    memcpy(copy, &stated, sizeof stated);
    rfs_config *config = new_config();
    rfs_error err = fresh_error();
    int rc = call(config, copy, &err);
    CHECK_THAT(rc == expected, "size %zu of %zu, tail %#x: returned %d, expected %d", size, known, tail, rc, expected);
    if (rc < 0)
        CHECK_ERROR(rc, &err, .code = expected, .stage = RFS_STAGE_CONFIG);
    rfs_config_free(config);
    free(copy);
}

static void struct_sizes(void)
{
    rfs_mount mount = {.size = sizeof mount, .destination = "/x", .type = "tmpfs"};
    rfs_device device = {.size = sizeof device, .path = "/dev/x", .type = 'p'};
    rfs_options options = {.size = sizeof options};
    const struct {
        call_with *call;
        const void *structure;
        size_t known;
        size_t enough; /* This is the smallest size that has the required fields. */
    } list[] = {
        {call_add_mount, &mount, sizeof mount, offsetof(rfs_mount, type)},
        {call_add_device, &device, sizeof device, offsetof(rfs_device, major)},
        {call_set_options, &options, sizeof options, sizeof(uint64_t)},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        size_t known = list[i].known;
        for (size_t size = 0; size < sizeof(uint64_t); size++)
            check_size(list[i].call, list[i].structure, known, size, 0, -EINVAL);
        for (size_t size = sizeof(uint64_t); size <= known; size += sizeof(uint64_t))
            check_size(list[i].call, list[i].structure, known, size, 0, size >= list[i].enough ? 0 : -EINVAL);
        check_size(list[i].call, list[i].structure, known, known + 1, 0, 0);
        check_size(list[i].call, list[i].structure, known, known + 100, 0, 0);
        check_size(list[i].call, list[i].structure, known, known + 1, 1, -E2BIG);
        check_size(list[i].call, list[i].structure, known, known + 100, 0x80, -E2BIG);
    }
}

/* An address that no object of the type can have. A program gets one by a cast. */
static void misaligned(void)
{
    static unsigned char bytes[sizeof(rfs_error) + sizeof(uint64_t)] __attribute__((aligned(16)));
    rfs_mount mount = {.size = sizeof mount, .destination = "/x", .type = "tmpfs"};
    rfs_device device = {.size = sizeof device, .path = "/dev/x", .type = 'p'};
    rfs_options options = {.size = sizeof options};
    const struct {
        call_with *call;
        const void *structure;
        size_t size;
        const char *name;
    } list[] = {
        {call_add_mount, &mount, sizeof mount, "rfs_mount is misaligned"},
        {call_add_device, &device, sizeof device, "rfs_device is misaligned"},
        {call_set_options, &options, sizeof options, "rfs_options is misaligned"},
    };
    rfs_config *config = new_config();
    rfs_error err = fresh_error();
    for (size_t i = 0; i < COUNT(list); i++) {
        memcpy(bytes + 1, list[i].structure, list[i].size);
        CHECK_ERROR(list[i].call(config, bytes + 1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONFIG,
                    .says = list[i].name);
    }
    mount.options = (const char *const *)(const void *)(bytes + 1);
    mount.n_options = 1;
    CHECK_ERROR(rfs_config_add_mount(config, &mount, &err), &err, .code = -EINVAL, .says = "options is misaligned");
    CHECK_ERROR(rfs_plan_new(config, (rfs_plan **)(void *)(bytes + 1), &err), &err, .code = -EINVAL,
                .says = "out is misaligned");
    memset(bytes, 0x5a, sizeof bytes);
    CHECK(rfs_config_add_mount(config, NULL, (rfs_error *)(void *)(bytes + 1)) == -EINVAL);
    for (size_t i = 0; i < sizeof bytes; i++)
        CHECK_THAT(bytes[i] == 0x5a, "byte %zu of a misaligned rfs_error was written", i);
    rfs_config_free(config);
}

static void absurd_struct_size(void)
{
    rfs_config *config = new_config();
    rfs_options options = {.size = UINT64_MAX};
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_config_set_options(config, &options, &err), &err, .code = -E2BIG);
    options.size = (uint64_t)1 << 32;
    CHECK_ERROR(rfs_config_set_options(config, &options, &err), &err, .code = -E2BIG);
    rfs_config_free(config);
}

static void error_sizes(void)
{
    size_t needed = offsetof(rfs_error, index) + sizeof(int64_t);
    for (size_t size = 0; size <= sizeof(rfs_error); size += size < 64 ? 1 : 61) {
        unsigned char *bytes = malloc(sizeof(rfs_error) + 16);
        memset(bytes, 0x5a, sizeof(rfs_error) + 16);
        rfs_error *err = (rfs_error *)(void *)bytes;
        err->size = size;
        rfs_config *config = SENTINEL;
        int rc = rfs_config_from_oci("x", 1, test_bundle, &config, err);
        CHECK_THAT(rc == -EINVAL, "err.size %zu: %d", size, rc);
        size_t from = size < needed ? sizeof(uint64_t) : size;
        for (size_t i = from; i < sizeof(rfs_error) + 16; i++)
            if (!CHECK_THAT(bytes[i] == 0x5a, "err.size %zu: byte %zu was written", size, i))
                break;
        CHECK_THAT(err->size == size, "err.size %zu became %llu", size, (unsigned long long)err->size);
        if (size >= needed)
            CHECK(err->code == -EINVAL && err->index == -1);
        size_t message = offsetof(rfs_error, message);
        if (size > message)
            CHECK_THAT(memchr(bytes + message, 0, size - message), "err.size %zu: the message does not end", size);
        /* A struct that is too small is an error of its own, and nothing is done. */
        config = SENTINEL;
        err->size = size;
        rc = rfs_config_new(test_rootfs, &config, err);
        CHECK_THAT(rc == (size < needed ? -EINVAL : 0), "err.size %zu: %d", size, rc);
        CHECK((rc == 0) == (config != SENTINEL));
        if (rc == 0)
            rfs_config_free(config);
        free(bytes);
    }
}

static void larger_error(void)
{
    struct {
        rfs_error known;
        unsigned char tail[32];
    } err = {.known.size = sizeof err};
    rfs_config *config = SENTINEL;
    CHECK(rfs_config_from_oci("x", 1, test_bundle, &config, &err.known) == -EINVAL);
    CHECK(err.known.code == -EINVAL && strlen(err.known.message) > 10);
    /* what a newer header adds is the caller's to write in, and need not be zero: it is only an output */
    memset(err.tail, 0x5a, sizeof err.tail);
    CHECK(rfs_config_from_oci("x", 1, test_bundle, &config, &err.known) == -EINVAL);
    for (size_t i = 0; i < sizeof err.tail; i++)
        CHECK(err.tail[i] == 0x5a);
    CHECK(config == SENTINEL);
}

static void options_add_up(void)
{
    rfs_config *config = new_config();
    rfs_error err = fresh_error();
    rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_READONLY_ROOTFS, .cwd = "/first\n\xff"};
    CHECK_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    options = (rfs_options){.size = sizeof options, .flags = RFS_OPTION_NO_DEFAULT_DEVICES};
    CHECK_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    rfs_plan *plan = NULL;
    CHECK_SUCCESS(rfs_plan_new(config, &plan, &err), &err);
    rfs_config_free(config);
    FILE *file = tmpfile();
    CHECK_SUCCESS(rfs_plan_describe(plan, fileno(file), &err), &err);
    char text[65536];
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    CHECK(strstr(text, "\"/first\\\\x0a\\\\xff\""));
    CHECK(!strstr(text, "/dev/zero"));
    fclose(file);
    rfs_plan_free(plan);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The time it takes to plan masked paths and devices that come in the worst order, each twice. */
static double time_of_plan(int n)
{
    rfs_config *config = new_config();
    rfs_error err = fresh_error();
    rfs_device device = {.size = sizeof device, .type = 'c', .major = 1, .minor = 3};
    char path[64];
    for (int i = 2 * n; i-- > 0;) {
        snprintf(path, sizeof path, "/masked/%07d", i / 2);
        REQUIRE(rfs_config_add_masked_path(config, path, &err) == 0);
        snprintf(path, sizeof path, "/dev/%07d", i / 2);
        device.path = path;
        REQUIRE(rfs_config_add_device(config, &device, &err) == 0);
    }
    rfs_plan *plan = NULL;
    double start = seconds();
    CHECK_SUCCESS(rfs_plan_new(config, &plan, &err), &err);
    double end = seconds();
    rfs_config_free(config);
    rfs_plan_free(plan);
    return end - start;
}

/* Ten times as many take ten times as long, not a hundred times. */
static void duplicates_in_linear_time(void)
{
    double few = time_of_plan(10000), many = time_of_plan(100000);
    CHECK_THAT(many < 40 * few, "20,000 paths and devices: %.3f s; 200,000: %.3f s", few, many);
}

static void strings_are_copied(void)
{
    rfs_config *config = new_config();
    rfs_error err = fresh_error();
    char destination[] = "/destination", type[] = "tmpfs", option[] = "size=4k";
    const char *options[] = {option};
    rfs_mount mount = {.size = sizeof mount, .destination = destination, .type = type, .options = options,
                       .n_options = 1};
    CHECK_SUCCESS(rfs_config_add_mount(config, &mount, &err), &err);
    memset(destination, 'x', sizeof destination - 1);
    memset(type, 'x', sizeof type - 1);
    memset(option, 'x', sizeof option - 1);
    rfs_plan *plan = NULL;
    CHECK_SUCCESS(rfs_plan_new(config, &plan, &err), &err);
    rfs_config_free(config); /* the plan stays */
    FILE *file = tmpfile();
    CHECK_SUCCESS(rfs_plan_describe(plan, fileno(file), &err), &err);
    char text[65536];
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    CHECK(strstr(text, "/destination") && strstr(text, "tmpfs") && strstr(text, "4k"));
    size_t lines = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line; lines++)
        CHECK_THAT(line[0] == '{' && line[strlen(line) - 1] == '}', "not one object a line: %s", line);
    CHECK(lines >= 3);
    fclose(file);
    rfs_plan_free(plan);
}

static void describe_to_bad_descriptors(void)
{
    rfs_plan *plan = new_plan();
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_plan_describe(plan, -1, &err), &err, .code = -EBADF, .stage = RFS_STAGE_PLAN);
    CHECK_ERROR(rfs_plan_describe(plan, 987654, &err), &err, .code = -EBADF, .stage = RFS_STAGE_PLAN);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_ERROR(rfs_plan_describe(plan, fd, &err), &err, .code = -EBADF, .stage = RFS_STAGE_PLAN);
    close(fd);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK_ERROR(rfs_plan_describe(plan, fd, &err), &err, .code = -ENOSPC, .stage = RFS_STAGE_PLAN);
    close(fd);
    rfs_plan_free(plan);
}

static void before_anything(void)
{
    rfs_plan *plan = new_plan();
    rfs_container *container = NULL;
    rfs_error err = fresh_error();
    if (!CHECK_SUCCESS(rfs_container_new(plan, &container, &err), &err))
        return;
    rfs_plan_free(plan); /* the container stays valid */
    CHECK_ERROR(rfs_bind_console(container, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONSOLE);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_ERROR(rfs_bind_console(container, fd, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_CONSOLE);
    CHECK(rfs_bind_console(container, -1, NULL) == -EINVAL);
    CHECK_ERROR(rfs_bind_fd(container, fd, "/x", &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTS);
    CHECK_ERROR(rfs_finalize(container, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_FINALIZE);
    CHECK(rfs_container_root_fd(container) == -EINVAL);
    close(fd);
    rfs_container_free(container);
}

static void version(void)
{
    char built[32];
    snprintf(built, sizeof built, "%d.%d.%d", RFS_VERSION_MAJOR, RFS_VERSION_MINOR, RFS_VERSION_PATCH);
    CHECK(strcmp(rfs_version(), RFS_VERSION) == 0);
    CHECK(strcmp(rfs_version(), built) == 0);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"bad mounts", bad_mounts},
        {"bad devices", bad_devices},
        {"bad options", bad_options},
        {"bad masked and read-only paths", bad_paths},
        {"bad rootfs", bad_rootfs},
        {"NULL for every pointer", null_arguments},
        {"struct sizes", struct_sizes},
        {"misaligned pointers", misaligned},
        {"absurd struct sizes", absurd_struct_size},
        {"rfs_error: small sizes", error_sizes},
        {"rfs_error: larger than known", larger_error},
        {"options add up", options_add_up},
        {"strings are copied, plans outlive their config", strings_are_copied},
        {"200,000 masked paths and devices", duplicates_in_linear_time},
        {"rfs_plan_describe to descriptors that fail", describe_to_bad_descriptors},
        {"rfs_container before rfs_prepare", before_anything},
        {"version", version},
    };
    return run_attempts(cases, COUNT(cases));
}
