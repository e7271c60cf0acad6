/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *test_bundle;
const char *test_rootfs;

char *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

struct attempt attempt_plan(rfs_config *config)
{
    struct attempt a = {.stage = RFS_STAGE_PLAN, .err = fresh_error()};
    rfs_plan *plan = SENTINEL;
    a.rc = rfs_plan_new(config, &plan, &a.err);
    CHECK((a.rc == 0) == (plan != SENTINEL));
    rfs_config_free(config);
    if (a.rc == 0)
        rfs_plan_free(plan);
    return a;
}

struct attempt attempt_json(const char *json, size_t length)
{
    struct attempt a = {.stage = RFS_STAGE_CONFIG, .err = fresh_error()};
    rfs_config *config = SENTINEL;
    a.rc = rfs_config_from_oci(json, length, test_bundle, &config, &a.err);
    CHECK((a.rc == 0) == (config != SENTINEL));
    return a.rc == 0 ? attempt_plan(config) : a;
}

void attempt_expects_object(const struct attempt *attempt, const char *says, struct expected *expected)
{
    static const struct {
        const char *name;
        rfs_object object;
    } objects[] = {
        {"mounts[", RFS_OBJECT_MOUNT},
        {"devices[", RFS_OBJECT_DEVICE},
        {"maskedPaths[", RFS_OBJECT_MASKED_PATH},
        {"readonlyPaths[", RFS_OBJECT_READONLY_PATH},
    };
    for (size_t i = 0; says && attempt->stage == RFS_STAGE_PLAN && i < COUNT(objects); i++) {
        if (strncmp(says, objects[i].name, strlen(objects[i].name)) == 0) {
            expected->object = objects[i].object;
            expected->index = atoi(says + strlen(objects[i].name));
        }
    }
}

int run_attempts(const struct test_case *cases, size_t n)
{
    char directory[] = "/tmp/librfs-test.XXXXXX", resolved[4096];
    static char rootfs[4200];
    int fd, dir;
    if (!mkdtemp(directory) || !realpath(directory, resolved) ||
        (dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 || mkdirat(dir, "rootfs", 0755) != 0 ||
        (fd = openat(dir, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) < 0 || symlinkat("rootfs", dir, "link") != 0 ||
        symlinkat("loop", dir, "loop") != 0) {
        printf("Bail out! cannot make a bundle in /tmp: %s\n", strerror(errno));
        return 1;
    }
    close(fd);
    test_bundle = resolved;
    snprintf(rootfs, sizeof rootfs, "%s/rootfs", resolved);
    test_rootfs = rootfs;
    int rc = run_cases_here(cases, n);
    unlinkat(dir, "rootfs", AT_REMOVEDIR);
    unlinkat(dir, "file", 0);
    unlinkat(dir, "link", 0);
    unlinkat(dir, "loop", 0);
    close(dir);
    rmdir(directory);
    return rc;
}
