/* The cgroup mount: version 2 and what takes its place in a user namespace, and the version 1 hierarchies.
 * Cgroups are made in the host's hierarchies, as there are no others, and removed.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "intervene.h"
#include "mounts.h"
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CGROUP \
    "{'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'fresh', 'options': ['nosuid', 'noexec', " \
    "'nodev'%s]}"
#define FLAGS "nosuid,nodev,noexec,relatime"

static char own_name[32]; /* This is the name of the container's cgroup. */

/* A cgroup below a hierarchy's mount point. */
static const char *own_cgroup(const char *hierarchy)
{
    static char paths[4][300];
    static size_t next;
    char *path = paths[next++ % COUNT(paths)];
    snprintf(path, sizeof paths[0], "%s/%s", hierarchy, own_name);
    return path;
}

static void make_own_cgroup(const char *hierarchy)
{
    REQUIRE_THAT(mkdir(own_cgroup(hierarchy), 0755) == 0, "mkdir %s", own_cgroup(hierarchy));
}

static void join_own_cgroup(const char *hierarchy)
{
    char procs[320];
    snprintf(procs, sizeof procs, "%.300s/cgroup.procs", own_cgroup(hierarchy));
    int fd = open(procs, O_WRONLY | O_CLOEXEC);
    CHECK_THAT(fd >= 0 && write(fd, "0", 1) == 1, "%s", procs);
    close(fd);
}

/* The processes in it have ended, but the kernel may take a moment to notice. */
static void remove_own_cgroup(const char *hierarchy)
{
    for (int i = 0; i < 100 && rmdir(own_cgroup(hierarchy)) != 0 && errno == EBUSY; i++)
        usleep(10000);
    CHECK_THAT(access(own_cgroup(hierarchy), F_OK) == -1, "%s is left", own_cgroup(hierarchy));
}

static void begin(void)
{
    snprintf(own_name, sizeof own_name, "librfs-test-%d", getpid());
    make_image();
}

static json_object *spec_with_cgroup(const char *more_options)
{
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/sys', 'type': 'tmpfs', 'source': 'tmpfs'}");
    spec_add(spec, "mounts", CGROUP, more_options);
    spec_add(spec, "mounts", DEV_TMPFS);
    return spec;
}

/* One container: its namespaces, its options, and the mounts that it must see. */
struct container {
    unsigned long namespaces;     /* These are added to the namespaces of every container. */
    bool user_namespace;
    uint64_t options;             /* RFS_OPTION_* */
    const char *cgroup_path;
    const char *more_options;     /* of the mount */
    const char *pattern;          /* This is the line of the mount that there must be. */
    const struct expected *error; /* the failure */
    void (*inside)(void);
    rfs_container *container;
    const char *const *join;      /* The container has a cgroup of its own in these hierarchies. */
};

static void container_process(void *data)
{
    const struct container *c = data;
    rfs_error err = fresh_error();
    int rc = rfs_prepare(c->container, NULL, &err);
    if (c->error) {
        CHECK_ERROR(rc, &err, .code = c->error->code, .stage = c->error->stage, .object = RFS_OBJECT_MOUNT, .index = 1,
                    .says = c->error->says);
        return;
    }
    REQUIRE_SUCCESS(rc, &err);
    REQUIRE_SUCCESS(rfs_finalize(c->container, &err), &err);
    if (c->pattern)
        check_mount(c->pattern);
    if (c->inside)
        c->inside();
}

static void member_process(void *data)
{
    const struct container *c = data;
    for (size_t i = 0; c->join && c->join[i]; i++)
        join_own_cgroup(c->join[i]);
    if (c->user_namespace)
        enter_user_namespace();
    in_child(CONTAINER_NAMESPACES | c->namespaces, container_process, data);
}

/* A check that fails in it fails the case, which goes on, so that cgroups are removed. */
static void run(struct container c)
{
    json_object *spec = spec_with_cgroup(c.more_options ? c.more_options : "");
    rfs_config *config = config_from_json(spec);
    rfs_options options = {.size = sizeof options, .flags = c.options, .cgroup_path = c.cgroup_path};
    rfs_error err = fresh_error();
    CHECK_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    rfs_plan *plan = NULL;
    if (CHECK_SUCCESS(rfs_plan_new(config, &plan, &err), &err) &&
        CHECK_SUCCESS(rfs_container_new(plan, &c.container, &err), &err))
        in_child(0, member_process, &c);
    rfs_container_free(c.container);
    rfs_config_free(config);
    rfs_plan_free(plan);
    json_object_put(spec);
}

#define V2 "/sys/fs/cgroup"
static const char *const in_v2[] = {V2, NULL};

static void sees_whole(void)
{
    CHECK(access(V2 "/cgroup.procs", F_OK) == 0 &&
          access(V2 "/cgroup.events", F_OK) == -1); /* The root of the hierarchy does not have this file. */
    CHECK(access(own_cgroup(V2), F_OK) == 0);
}

static void sees_own(void)
{
    CHECK(access(V2 "/cgroup.procs", F_OK) == 0 && access(V2 "/cgroup.events", F_OK) == 0);
    CHECK(access(own_cgroup(V2), F_OK) == -1);
}

static void is_read_only(void)
{
    sees_whole();
    CHECK(mkdir(V2 "/librfs-test-x", 0755) == -1 && errno == EROFS);
}

static void v2(void)
{
    only_cgroup2();
    begin();
    make_own_cgroup(V2);
    run((struct container){.join = in_v2, .inside = sees_whole, .pattern = V2 " / rw," FLAGS " - cgroup2 fresh rw*"});
    run((struct container){.join = in_v2,
                           .inside = is_read_only,
                           .more_options = ", 'ro', 'relatime'",
                           .pattern = V2 " / ro," FLAGS " - cgroup2 fresh r*"});
    run((struct container){.join = in_v2,
                           .inside = sees_own,
                           .namespaces = CLONE_NEWCGROUP,
                           .options = RFS_OPTION_CGROUP_NAMESPACE,
                           .pattern = V2 " / rw," FLAGS " - cgroup2 fresh rw*"});
    run((struct container){.join = in_v2,
                           .inside = sees_own,
                           .namespaces = CLONE_NEWCGROUP,
                           .options = RFS_OPTION_CGROUP_NAMESPACE,
                           .user_namespace = true,
                           .pattern = V2 " / rw," FLAGS " - cgroup2 fresh rw*"});
    remove_own_cgroup(V2);
}

/* Then the kernel refuses it (EPERM), and what the host has is bound. */
static void v2_bound(void)
{
    only_cgroup2();
    begin();
    char own[400];
    make_own_cgroup(V2);
    run((struct container){.join = in_v2,
                           .user_namespace = true,
                           .inside = sees_whole,
                           .pattern = V2 " / rw," FLAGS " - cgroup2 cgroup2 rw*"});
    run((struct container){.join = in_v2, .user_namespace = true, .inside = is_read_only, .more_options = ", 'ro'",
                           .pattern = V2 " / ro," FLAGS " - cgroup2 cgroup2 rw*"});
    /* It is the container's own cgroup if a cgroup namespace was asked for, which is missing here. */
    snprintf(own, sizeof own, V2 " /%s rw," FLAGS " - cgroup2 cgroup2 rw*", own_name);
    run((struct container){.join = in_v2,
                           .user_namespace = true,
                           .inside = sees_own,
                           .options = RFS_OPTION_CGROUP_NAMESPACE,
                           .cgroup_path = own_cgroup(V2),
                           .pattern = own});
    /* rfs_prepare() finds it by itself. */
    run((struct container){.join = in_v2,
                           .user_namespace = true,
                           .inside = sees_own,
                           .options = RFS_OPTION_CGROUP_NAMESPACE,
                           .pattern = own});
    run((struct container){.join = in_v2, .user_namespace = true, .inside = sees_whole, .cgroup_path = own_cgroup(V2),
                           .pattern = V2 " / rw," FLAGS " - cgroup2 cgroup2 rw*"});
    remove_own_cgroup(V2);
}

static void sees_nothing(void)
{
    CHECK(access(V2 "/cgroup.procs", F_OK) == -1 && errno == ENOENT);
    CHECK(mkdir(V2 "/x", 0755) == -1 && errno == EROFS);
}

static void v2_masked(void)
{
    only_cgroup2();
    begin();
    run((struct container){.user_namespace = true,
                           .inside = sees_nothing,
                           .options = RFS_OPTION_CGROUP_NAMESPACE | RFS_OPTION_ROOTLESS_CGROUPS,
                           .cgroup_path = V2 "/no/such/cgroup",
                           .pattern = V2 " / ro,relatime - tmpfs tmpfs ro*"});
    static const struct expected error = {
        .code = -ENOENT, .stage = RFS_STAGE_MOUNTS, .says = "/sys/fs/cgroup/no/such/cgroup: No such file or directory"};
    run((struct container){.user_namespace = true,
                           .options = RFS_OPTION_CGROUP_NAMESPACE,
                           .cgroup_path = V2 "/no/such/cgroup",
                           .error = &error});
}

static void no_cgroups(void)
{
    while (umount2("/sys/fs/cgroup", MNT_DETACH) == 0)
        ;
    begin();
    static const struct expected error = {.code = -ENODEV, .stage = RFS_STAGE_MOUNTS,
                                          .says = "the host has no cgroup hierarchy mounted"};
    run((struct container){.error = &error});
    run((struct container){.options = RFS_OPTION_ROOTLESS_CGROUPS, .inside = sees_nothing,
                           .pattern = V2 " / ro,relatime - tmpfs tmpfs ro*"});
}

static int answer_busy(const struct seccomp_notif *call)
{
    static bool is_cgroup2;
    const __u64 *arguments = call->data.args;
    switch (call->data.nr) {
    case SYS_fsopen:
        is_cgroup2 = strcmp(string_argument(call, 0), "cgroup2") == 0;
        return 0;
    case SYS_fsconfig:
        return is_cgroup2 && arguments[1] == FSCONFIG_CMD_CREATE ? EBUSY : 0;
    default:
        return arguments[2] && strcmp(string_argument(call, 2), "cgroup2") == 0 ? EBUSY : 0;
    }
}

/* As EPERM. */
static void v2_busy(void)
{
    only_cgroup2();
    begin();
    make_own_cgroup(V2);
    intervene((const int[]){SYS_fsopen, SYS_fsconfig, SYS_mount}, 3, answer_busy);
    run((struct container){.join = in_v2, .inside = sees_whole, .pattern = V2 " / rw," FLAGS " - cgroup2 cgroup2 rw*"});
    remove_own_cgroup(V2);
}

/* If the kernel refuses for another reason, that is an error, and nothing is bound. */
static void v2_refused(void)
{
    only_cgroup2();
    begin();
    static const struct expected error = {.code = -EINVAL,
                                          .stage = RFS_STAGE_MOUNTS,
                                          .says = "(the kernel says: cgroup2: Unknown parameter 'nosuchopt')"};
    run((struct container){.more_options = ", 'nosuchopt'", .error = &error});
}

/* Version 1: a hierarchy of two controllers, one that has only a name, as systemd's, and another such. The machine's
 * own are taken off, in this namespace. */

#define MERGED "/sys/fs/cgroup/net_cls,net_prio"
#define SYSTEMD "/sys/fs/cgroup/systemd"
#define NAMED "/sys/fs/cgroup/other"
static const char *const in_v1[] = {MERGED, SYSTEMD, NAMED, NULL};

static const char *const v1_options[] = {"net_cls,net_prio", "none,name=systemd", "none,name=librfs-test"};

static bool mount_hierarchies(void)
{
    for (size_t i = 0; in_v1[i]; i++) {
        if (mount("cgroup", in_v1[i], "cgroup", 0, v1_options[i]) != 0) {
            note("mount %s: %s", v1_options[i], strerror(errno));
            return false;
        }
    }
    return true;
}

static bool make_hierarchies(void)
{
    REQUIRE(umount2("/sys/fs/cgroup", MNT_DETACH) == 0 || errno == EINVAL);
    REQUIRE(mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "mode=755") == 0);
    for (size_t i = 0; in_v1[i]; i++)
        REQUIRE(mkdir(in_v1[i], 0755) == 0);
    return mount_hierarchies();
}

/* Whether /proc/self/cgroup shows a hierarchy that this test makes. */
static bool is_known(const char *hierarchy)
{
    char *cgroups = read_all(host_proc, "self/cgroup");
    bool known = !cgroups || strstr(cgroups, hierarchy);
    free(cgroups);
    return known;
}

/* A hierarchy ends some time after its last mount, but not if there still was a cgroup in it then, and those go slowly.
 */
static void end_hierarchies(bool had_merged)
{
    for (int tries = 0; tries < 10; tries++) {
        if (tries > 0 && !CHECK(mount_hierarchies()))
            return;
        for (size_t i = 0; in_v1[i]; i++)
            CHECK(umount2(in_v1[i], 0) == 0);
        for (int i = 0; i < 50; i++) {
            if (!is_known("name=librfs-test") && (had_merged || !is_known("net_cls,net_prio")))
                return;
            usleep(20000);
        }
    }
    CHECK_THAT(false, "a hierarchy is left");
}

static const char *link_target = "net_cls,net_prio";

static void check_links(void)
{
    static const char *const links[] = {"/sys/fs/cgroup/net_cls", "/sys/fs/cgroup/net_prio"};
    for (size_t i = 0; i < COUNT(links); i++) {
        char target[64] = "";
        CHECK_THAT(readlink(links[i], target, sizeof target - 1) > 0 && strcmp(target, link_target) == 0, "%s -> %s",
                   links[i], target);
    }
    CHECK(access("/sys/fs/cgroup/net_cls/cgroup.procs", F_OK) == 0);
    struct stat st;
    CHECK(stat("/sys/fs/cgroup", &st) == 0 && (st.st_mode & 07777) == 0755);
    check_mount("/sys/fs/cgroup / rw," FLAGS " - tmpfs tmpfs rw,mode=755*");
}

/* Checks that each hierarchy has this root in mountinfo, and these flags. */
static void check_hierarchies(const char *root, const char *rw, const char *sources[3])
{
    char pattern[300];
    snprintf(pattern, sizeof pattern, MERGED " %s %s," FLAGS " - cgroup %s rw*,net_cls,net_prio", root, rw, sources[0]);
    check_mount(pattern);
    snprintf(pattern, sizeof pattern, SYSTEMD " %s %s," FLAGS " - cgroup %s rw*,name=systemd", root, rw, sources[1]);
    check_mount(pattern);
    snprintf(pattern, sizeof pattern, NAMED " %s %s," FLAGS " - cgroup %s rw*,name=librfs-test", root, rw, sources[2]);
    check_mount(pattern);
    check_links();
    for (size_t i = 0; in_v1[i]; i++)
        CHECK_THAT(access(own_cgroup(in_v1[i]), F_OK) == -1, "more than the container's own cgroup is seen in %s",
                   in_v1[i]);
    bool made = mkdir(MERGED "/below", 0755) == 0;
    CHECK_THAT(made == (strcmp(rw, "rw") == 0) && (made || errno == EROFS), "mkdir in a hierarchy");
    if (made)
        rmdir(MERGED "/below");
}

static void sees_bound(void)
{
    char root[40];
    snprintf(root, sizeof root, "/%s", own_name);
    check_hierarchies(root, "rw", (const char *[]){"cgroup", "cgroup", "cgroup"});
}

static void sees_bound_read_only(void)
{
    char root[40];
    snprintf(root, sizeof root, "/%s", own_name);
    check_hierarchies(root, "ro", (const char *[]){"cgroup", "cgroup", "cgroup"});
}

static void sees_new(void)
{
    check_hierarchies("/", "rw", (const char *[]){"cgroup", "systemd", "librfs-test"});
}

static void sees_new_read_only(void)
{
    check_hierarchies("/", "ro", (const char *[]){"cgroup", "systemd", "librfs-test"});
}

static void v1(bool in_namespace)
{
    begin();
    bool had_merged = is_known("net_cls,net_prio");
    if (!make_hierarchies())
        skip_case("there are no version 1 hierarchies");
    for (size_t i = 0; in_v1[i]; i++)
        CHECK(mkdir(own_cgroup(in_v1[i]), 0755) == 0);
    struct container c = {.join = in_v1,
                          .inside = in_namespace ? sees_new : sees_bound,
                          .namespaces = in_namespace ? CLONE_NEWCGROUP : 0,
                          .options = in_namespace ? RFS_OPTION_CGROUP_NAMESPACE : 0};
    run(c);
    c.user_namespace = true;
    run(c);
    c.user_namespace = false;
    c.inside = in_namespace ? sees_new_read_only : sees_bound_read_only;
    c.more_options = ", 'ro'";
    run(c);
    for (size_t i = 0; in_v1[i]; i++)
        remove_own_cgroup(in_v1[i]);
    end_hierarchies(had_merged);
}

static void v1_bound(void)
{
    v1(false);
}

static void v1_in_namespace(void)
{
    v1(true);
}

static int link_before(const struct seccomp_notif *call)
{
    const char *name = string_argument(call, 2);
    char path[100];
    snprintf(path, sizeof path, "%s/%.20s", descriptor_argument(call, 1), name);
    if (strncmp(name, "net_", 4) == 0)
        CHECK_THAT(symlink(link_target, path) == 0, "%s", path);
    return 0;
}

static void v1_linked(void)
{
    link_target = "./net_cls,net_prio";
    intervene((const int[]){SYS_symlinkat}, 1, link_before);
    v1(false);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"version 2: new, with and without a cgroup namespace", v2},
        {"version 2 in a user namespace without a cgroup namespace: bound", v2_bound},
        {"version 2 is busy: bound", v2_busy},
        {"version 2, rootless and missing: masked", v2_masked},
        {"version 2: another refusal is an error", v2_refused},
        {"no cgroups on the host", no_cgroups},
        {"version 1: merged and named hierarchies, bound", v1_bound},
        {"version 1: merged and named hierarchies, in a cgroup namespace", v1_in_namespace},
        {"version 1: links that are there already are kept", v1_linked},
    };
    return run_cases(cases, COUNT(cases));
}
