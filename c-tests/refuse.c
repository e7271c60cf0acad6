/* Runs a program without some system calls, as sandboxes and older kernels have it:
 *   refuse ENOSYS|EPERM|EACCES CALL[,CALL...] -- PROGRAM [ARGUMENT]...
 * A call is a name or a group of the table below. The filter (seccomp(2)) holds for the program and all that it
 * starts, but not for the calls of a test's own that are marked as in unrefused.h.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "filter.h"
#include "unrefused.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than some headers; the same on all architectures but alpha. */
#define CALL_STATMOUNT 457
#define CALL_LISTMOUNT 458
#define CALL_OPEN_TREE_ATTR 467
/* STATX_MNT_ID and STATX_MNT_ID_UNIQUE, since Linux 5.8 and 6.8. */
#define MOUNT_IDS (0x1000 | 0x4000)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *name;
    unsigned number;
    const char *groups[2];
    /* For statx(2), refuses only calls that ask for one of these. */
    unsigned mask;
} calls[] = {
    {"openat2", SYS_openat2, {"all"}, 0},
    {"open_tree", SYS_open_tree, {"all", "mount-api"}, 0},
    {"move_mount", SYS_move_mount, {"all", "mount-api"}, 0},
    {"fsopen", SYS_fsopen, {"all", "mount-api"}, 0},
    {"fsconfig", SYS_fsconfig, {"all", "mount-api"}, 0},
    {"fsmount", SYS_fsmount, {"all", "mount-api"}, 0},
    {"fspick", SYS_fspick, {"all", "mount-api"}, 0},
    {"open_tree_attr", CALL_OPEN_TREE_ATTR, {"all", "mount-api"}, 0},
    {"mount_setattr", SYS_mount_setattr, {"all"}, 0},
    {"close_range", SYS_close_range, {"all"}, 0},
    {"statmount", CALL_STATMOUNT, {"all"}, 0},
    {"listmount", CALL_LISTMOUNT, {"all"}, 0},
    {"statx-mnt-id", SYS_statx, {NULL}, MOUNT_IDS},
};

static const struct {
    const char *name;
    unsigned number;
} errors[] = {{"ENOSYS", ENOSYS}, {"EPERM", EPERM}, {"EACCES", EACCES}};

static bool same(const char *name, const char *other)
{
    return other && strcmp(name, other) == 0;
}

/* Marks what a name stands for. */
static bool choose(const char *name, bool *chosen)
{
    bool known = false;
    for (size_t i = 0; i < COUNT(calls); i++)
        if (same(name, calls[i].name) || same(name, calls[i].groups[0]) || same(name, calls[i].groups[1]))
            known = chosen[i] = true;
    return known;
}

static void build(struct filter *filter, const bool *chosen, unsigned refusal)
{
    filter_begin(filter);
    filter_load_argument(filter, 0, true);
    filter_if_equal(filter, UNREFUSED_MARK, 1);
    filter_answer(filter, SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT(calls); i++) {
        if (!chosen[i])
            continue;
        filter_load_number(filter);
        filter_if_equal(filter, calls[i].number, calls[i].mask ? 3 : 1);
        if (calls[i].mask) {
            filter_load_argument(filter, 3, false);
            filter_if_any(filter, calls[i].mask, 1);
        }
        filter_answer(filter, refusal);
    }
    filter_answer(filter, SECCOMP_RET_ALLOW);
}

static int usage(const char *problem)
{
    fprintf(stderr, "refuse: %s\nusage: refuse ENOSYS|EPERM|EACCES CALL[,CALL...] -- PROGRAM [ARGUMENT]...\n", problem);
    return 125;
}

int main(int argc, char **argv)
{
    if (argc < 5 || strcmp(argv[3], "--") != 0)
        return usage("arguments");
    unsigned error = 0;
    for (size_t i = 0; i < COUNT(errors); i++)
        if (same(argv[1], errors[i].name))
            error = errors[i].number;
    if (error == 0)
        return usage(argv[1]);
    bool chosen[COUNT(calls)] = {false};
    for (char *name, *rest = argv[2]; (name = strsep(&rest, ","));)
        if (!choose(name, chosen))
            return usage(name);
    struct filter filter;
    build(&filter, chosen, SECCOMP_RET_ERRNO | error);
    if (filter_install(&filter, 0) != 0) {
        perror("refuse: seccomp");
        return 125;
    }
    execvp(argv[4], argv + 4);
    perror(argv[4]);
    return 127;
}
