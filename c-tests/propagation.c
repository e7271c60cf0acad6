/* rootfsPropagation and the mounts' own propagation, seen from inside, with a shared file system outside
 * (shared only in the test's own namespace); and that no mount or umount reaches the outside.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "intervene.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

struct propagation {
    const char *value; /* JSON, or NULL if the field is missing. */
    const char *root, *proc, *bound;
};

static void look_inside(void *data)
{
    const struct propagation *p = data;
    char pattern[300];
    snprintf(pattern, sizeof pattern, "/ /bundle/rootfs rw,relatime%s - tmpfs test rw*", p->root);
    check_mount(pattern);
    snprintf(pattern, sizeof pattern, "/proc / rw,relatime%s - proc proc rw", p->proc);
    check_mount(pattern);
    if (p->bound) {
        snprintf(pattern, sizeof pattern, "/bound / rw,relatime%s - tmpfs volume rw*", p->bound);
        check_mount(pattern);
    }
}

static void check_propagation(struct propagation p)
{
    make_image();
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", 0, NULL) == 0);
    REQUIRE(mount(NULL, work, NULL, MS_SHARED | MS_REC, NULL) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/proc', 'type': 'proc', 'source': 'proc'}");
    if (p.bound)
        spec_add(spec, "mounts", "{'destination': '/bound', 'type': 'bind', 'source': '%s', 'options': ['bind']}",
                 in_work("volume"));
    if (p.value)
        spec_set(spec, "linux.rootfsPropagation", p.value);
    run_container(plan_of(spec), NULL, look_inside, &p);
}

static void none(void)
{
    check_propagation((struct propagation){NULL, "", "", " master"});
}

static void private(void)
{
    check_propagation((struct propagation){"'private'", "", "", " shared"});
}

static void rprivate(void)
{
    check_propagation((struct propagation){"'rprivate'", "", "", ""});
}

static void slave(void)
{
    check_propagation((struct propagation){"'slave'", " master", "", " shared"});
}

static void rslave(void)
{
    check_propagation((struct propagation){"'rslave'", " master", "", " master"});
}

static void shared(void)
{
    check_propagation((struct propagation){"'shared'", " shared", "", " shared"});
}

static void rshared(void)
{
    check_propagation((struct propagation){"'rshared'", " shared", " shared", " shared"});
}

static void unbindable(void)
{
    check_propagation((struct propagation){"'unbindable'", " unbindable", "", " shared"});
}

static void runbindable(void)
{
    check_propagation((struct propagation){"'runbindable'", " unbindable", " unbindable", NULL});
}

static void look_at_options(void *data)
{
    (void)data;
    check_mount("/private / rw,relatime - tmpfs volume rw*");
    check_mount("/rprivate / rw,relatime - tmpfs volume rw*");
    check_mount("/slave / rw,relatime master - tmpfs volume rw*");
    check_mount("/shared / rw,relatime shared - tmpfs one rw*");
    check_mount("/rshared / rw,relatime shared master - tmpfs volume rw*");
    check_mount("/unbindable / rw,relatime unbindable - tmpfs two rw*");
    check_mount("/both / rw,relatime shared - tmpfs three rw*");
}

static void mount_options(void)
{
    make_image();
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", 0, NULL) == 0);
    REQUIRE(mount(NULL, work, NULL, MS_SHARED | MS_REC, NULL) == 0);
    json_object *spec = empty_spec();
    static const char *const binds[] = {"private", "rprivate", "slave", "rshared"};
    for (size_t i = 0; i < COUNT(binds); i++)
        spec_add(spec, "mounts", "{'destination': '/%s', 'type': 'bind', 'source': '%s', 'options': ['rbind', '%s']}",
                 binds[i], in_work("volume"), binds[i]);
    spec_add(spec, "mounts", "{'destination': '/shared', 'type': 'tmpfs', 'source': 'one', 'options': ['shared']}");
    spec_add(spec, "mounts",
             "{'destination': '/unbindable', 'type': 'tmpfs', 'source': 'two', 'options': ['unbindable']}");
    spec_add(spec, "mounts",
             "{'destination': '/both', 'type': 'tmpfs', 'source': 'three', 'options': ['private', 'shared']}");
    run_container(plan_of(spec), NULL, look_at_options, NULL);
}

static char *outside;

/* Looks at the mounts outside at every call that could show an effect of the one before. */
static int look_outside(const struct seccomp_notif *call)
{
    (void)call;
    char *now = mount_table();
    bool same = strcmp(outside, now) == 0;
    if (!same)
        note("outside: %s", now);
    free(now);
    return same ? 0 : ECANCELED;
}

/* Here the outside is shared altogether, so that a wrong mount or umount inside would show, if only for a moment. */
static void everything_shared(void)
{
    static const char *const values[] = {NULL,       "'private'", "'rprivate'",   "'slave'",      "'rslave'",
                                         "'shared'", "'rshared'", "'unbindable'", "'runbindable'"};
    only_cgroup2();
    REQUIRE(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    make_image();
    outside = mount_table();
    intervene((const int[]){SYS_mount, SYS_umount2, SYS_move_mount, SYS_pivot_root, SYS_fchdir, SYS_chdir}, 6,
              look_outside);
    for (size_t i = 0; i < COUNT(values); i++) {
        json_object *spec = default_spec("runc");
        spec_set(spec, "linux.readonlyPaths", "[]"); /* An unbindable mount can't be made so. */
        spec_set(spec, "linux.maskedPaths", "[]");
        if (values[i])
            spec_set(spec, "linux.rootfsPropagation", values[i]);
        note("rootfsPropagation %s", values[i] ? values[i] : "unset");
        run_container(plan_of(spec), NULL, NULL, NULL);
        char *after = mount_table();
        REQUIRE_THAT(strcmp(outside, after) == 0, "outside: %s", after);
        free(after);
    }
}

/* Mounts made in the container appear outside, which is the purpose of a shared volume. */
static void mount_in_volume(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    REQUIRE(mount("inner", "/bound/sub", "tmpfs", 0, NULL) == 0);
}

static void mounts_reach_the_outside(void)
{
    make_image();
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", 0, NULL) == 0);
    REQUIRE(mount(NULL, in_work("volume"), NULL, MS_SHARED, NULL) == 0);
    make_directory(in_work("volume/sub"), 0755);
    json_object *spec = empty_spec();
    spec_set(spec, "linux.rootfsPropagation", "'rshared'");
    spec_add(spec, "mounts",
             "{'destination': '/bound', 'type': 'bind', 'source': '%s', 'options': ['rbind', 'rshared']}",
             in_work("volume"));
    rfs_plan *plan = plan_of(spec);
    in_child(CONTAINER_NAMESPACES, mount_in_volume, container_of(plan));
    char pattern[4200];
    snprintf(pattern, sizeof pattern, "%s / rw,relatime shared - tmpfs inner rw*", in_work("volume/sub"));
    check_mount(pattern);
}

static int ready[2], go[2];

static void wait_for_mount(void *data)
{
    rfs_error err = fresh_error();
    char byte;
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(data, &err), &err);
    REQUIRE(write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
    check_mount("/bound/sub / rw,relatime master - tmpfs outer rw*");
}

static void mount_outside(void)
{
    char byte;
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        return; /* The container has failed and has said so. */
    REQUIRE(mount("outer", in_work("volume/sub"), "tmpfs", 0, NULL) == 0);
    REQUIRE(write(go[1], "", 1) == 1);
}

static void mounts_reach_the_container(void)
{
    make_image();
    make_directory(in_work("volume"), 0755);
    REQUIRE(mount("volume", in_work("volume"), "tmpfs", 0, NULL) == 0);
    REQUIRE(mount(NULL, in_work("volume"), NULL, MS_SHARED, NULL) == 0);
    make_directory(in_work("volume/sub"), 0755);
    json_object *spec = empty_spec();
    spec_set(spec, "linux.rootfsPropagation", "'rslave'");
    spec_add(spec, "mounts",
             "{'destination': '/bound', 'type': 'bind', 'source': '%s', 'options': ['rbind', 'rslave']}",
             in_work("volume"));
    rfs_plan *plan = plan_of(spec);
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        mount_outside();
        end_case();
    }
    in_child(CONTAINER_NAMESPACES, wait_for_mount, container_of(plan));
}

/* The rootfs is a mount of its own, below shared ones. */
static void rootfs_is_a_mount(void)
{
    make_directory(in_work("bundle/rootfs"), 0755);
    REQUIRE(mount("test", in_work("bundle/rootfs"), "tmpfs", 0, "mode=755") == 0);
    make_image();
    REQUIRE(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    run_container(plan_of(default_spec("runc")), NULL, NULL, NULL);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"no rootfsPropagation", none},
        {"private", private},
        {"rprivate", rprivate},
        {"slave", slave},
        {"rslave", rslave},
        {"shared", shared},
        {"rshared", rshared},
        {"unbindable", unbindable},
        {"runbindable", runbindable},
        {"mounts' own propagation options", mount_options},
        {"everything shared outside", everything_shared},
        {"rshared: mounts reach the outside", mounts_reach_the_outside},
        {"rslave: mounts made outside reach the container", mounts_reach_the_container},
        {"the rootfs is a mount of its own", rootfs_is_a_mount},
    };
    return run_cases(cases, COUNT(cases));
}
