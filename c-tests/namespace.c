/* RFS_OPTION_OWN_NAMESPACE: rfs_prepare() makes the mount namespace. Inside it is the same as after unshare(2), the
 * host sees nothing, and a failure before the namespace is entered changes nothing for the process.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "descriptors.h"
#include "filter.h"
#include "idmap.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OTHER_NAMESPACES (CONTAINER_NAMESPACES & ~CLONE_NEWNS)
#define TEXT ((size_t)1 << 17)

/* The state that a container shows. The container writes it, and the case reads it. */
struct view {
    char mounts[TEXT], dev[TEXT], root[TEXT], log[TEXT];
};

static struct view *new_view(void)
{
    struct view *view = mmap(NULL, sizeof *view, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(view != MAP_FAILED);
    return view;
}

static void keep_log(void *userdata, rfs_log_level level, const char *message)
{
    struct view *view = userdata;
    (void)level;
    snprintf(view->log + strlen(view->log), TEXT - strlen(view->log), "%s\n", message);
}

static void take_view(void *data)
{
    struct view *view = data;
    char *table = mount_table(), *dev = list_directory("/dev"), *root = list_directory("/");
    snprintf(view->mounts, TEXT, "%s", table);
    snprintf(view->dev, TEXT, "%s", dev);
    snprintf(view->root, TEXT, "%s", root);
    free(table);
    free(dev);
    free(root);
}

struct start {
    rfs_container *container;
    const rfs_callbacks *callbacks;
    void (*inside)(void *);
    void *data;
};

static void start_container(void *data)
{
    const struct start *start = data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(start->container, start->callbacks, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(start->container, &err), &err);
    start->inside(start->data);
}

/* Starts the container of a spec, which it frees; and checks that the mounts outside stay as they are. */
static void view_container(json_object *spec, uint64_t flags, unsigned long namespaces, struct view *view)
{
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = view, .log = keep_log};
    rfs_plan *plan = plan_with_flags(spec, flags);
    char *before = read_all(host_proc, "self/mountinfo");
    struct start start = {container_of(plan), &callbacks, take_view, view};
    if (flags & RFS_OPTION_OWN_NAMESPACE)
        namespaces &= ~(unsigned long)CLONE_NEWNS;
    if (namespaces & CLONE_NEWUSER) {
        int userns = -1;
        wait_for_child(start_child(namespaces, start_container, &start, &userns));
        close(userns);
    } else {
        in_child(namespaces, start_container, &start);
    }
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(strcmp(before, after) == 0, "the mounts outside were\n%sand are\n%s", before, after);
    free(before);
    free(after);
    rfs_plan_free(plan);
}

/* Everything outside is shared: what propagates would be seen. */
static void share_all(void)
{
    only_cgroup2();
    make_image();
    make_directory(in_work("source/below"), 0755);
    make_file(in_work("file"), "text");
    image_directory("/t", 0755); /* The first container would make it, and the second would see another mode. */
    REQUIRE(mount("below", in_work("source/below"), "tmpfs", 0, "size=64k") == 0);
    REQUIRE(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0);
}

static const char *const copied = "unshare(CLONE_NEWNS) comes first";

/* A mount can be attached to a detached one: since Linux 6.15, and if nobody refuses the calls. */
static bool attaches_to_detached(void)
{
    struct { uint64_t set, clear, propagation, userns; } private = {.propagation = MS_PRIVATE};
    int trees[2];
    bool ok = true;
    for (int i = 0; i < 2; i++) {
        trees[i] = (int)syscall(SYS_open_tree, AT_FDCWD, work, 1 | O_CLOEXEC /* OPEN_TREE_CLONE */);
        ok = ok && trees[i] >= 0 && syscall(SYS_mount_setattr, trees[i], "", AT_EMPTY_PATH, &private,
            sizeof private) == 0;
    }
    ok = ok && syscall(SYS_move_mount, trees[1], "", trees[0], "", 0x44 /* both paths are empty */) == 0;
    for (int i = 0; i < 2; i++)
        close(trees[i]);
    return ok;
}

static json_object *spec_with_all(void)
{
    json_object *spec = default_spec("runc");
    spec_add(spec, "mounts", "{'destination': '/bound', 'type': 'bind', 'source': '%s', 'options': ['rbind', 'ro']}",
        in_work("source"));
    spec_add(spec, "mounts",
        "{'destination': '/slave', 'type': 'bind', 'source': '%s', 'options': ['rbind', 'rslave', 'nosuid']}",
        in_work("source"));
    spec_add(spec, "mounts",
        "{'destination': '/file', 'type': 'bind', 'source': '%s', 'options': ['bind', 'private']}", in_work("file"));
    spec_add(spec, "mounts",
        "{'destination': '/t', 'type': 'tmpfs', 'source': 't', 'options': ['ro', 'size=64k', 'tmpcopyup']}");
    spec_add(spec, "mounts",
        "{'destination': '/shared', 'type': 'bind', 'source': '%s', 'options': ['rbind', 'rshared']}",
        in_work("source"));
    return spec;
}

/* `views`: after unshare(2), and with the option. */
static void check_same(struct view *const *views, bool is_copied)
{
    CHECK_THAT(strcmp(views[0]->mounts, views[1]->mounts) == 0, "after unshare:\n%swith the option:\n%s",
        views[0]->mounts, views[1]->mounts);
    CHECK_THAT(strcmp(views[0]->dev, views[1]->dev) == 0, "/dev after unshare:\n%swith the option:\n%s",
        views[0]->dev, views[1]->dev);
    CHECK_THAT(strcmp(views[0]->root, views[1]->root) == 0, "/ after unshare:\n%swith the option:\n%s",
        views[0]->root, views[1]->root);
    CHECK_THAT(strlen(views[0]->mounts) > 500 && strstr(views[1]->mounts, "/bound"), "only:\n%s", views[1]->mounts);
    CHECK_THAT(!strstr(views[1]->log, copied) == !is_copied, "the log: %s", views[1]->log);
}

static void same_as_unshare(uint64_t flags, const char *propagation, bool is_copied)
{
    share_all();
    struct view *views[2];
    for (int own = 0; own < 2; own++) {
        json_object *spec = spec_with_all();
        if (propagation)
            spec_set(spec, "linux.rootfsPropagation", propagation);
        views[own] = new_view();
        view_container(spec, flags | (own ? RFS_OPTION_OWN_NAMESPACE : 0), CONTAINER_NAMESPACES, views[own]);
    }
    is_copied |= !attaches_to_detached();
    check_same(views, is_copied);
}

static void default_container(void) { same_as_unshare(0, NULL, false); }
static void private_container(void) { same_as_unshare(0, "'rprivate'", false); }
static void slave_container(void) { same_as_unshare(0, "'rslave'", false); }
static void shared_container(void) { same_as_unshare(0, "'shared'", true); }
static void by_mount2(void) { same_as_unshare(RFS_OPTION_CLASSIC_MOUNT, NULL, true); }
static void without_pivot(void) { same_as_unshare(RFS_OPTION_NO_PIVOT, NULL, true); }

/* ---- In a user namespace, which does not own the host's mounts ---- */

/* A mount namespace can be made of one directory: OPEN_TREE_NAMESPACE, since Linux 7.0. Without an effect. */
static bool begins_with_one_tree(void)
{
    return syscall(SYS_open_tree, -1, "", 2 | 0x8000 | AT_EMPTY_PATH) < 0 && errno == EBADF;
}

static void in_user_namespace(uint64_t flags, unsigned long without, void (*change)(json_object *), bool is_copied)
{
    share_all();
    struct view *views[2];
    for (int own = 0; own < 2; own++) {
        json_object *spec = add_user_namespace(spec_with_all());
        REQUIRE(lchown(image("t"), 100000, 100000) == 0);
        if (change)
            change(spec);
        views[own] = new_view();
        view_container(spec, flags | (own ? RFS_OPTION_OWN_NAMESPACE : 0),
            (CONTAINER_NAMESPACES | CLONE_NEWUSER) & ~without, views[own]);
    }
    check_same(views, is_copied || !begins_with_one_tree());
}

static void user_namespace(void) { in_user_namespace(0, 0, NULL, false); }

static void add_remount(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/bound', 'type': 'bind', 'source': '/none', "
        "'options': ['remount', 'bind', 'ro', 'nosuid']}");
}
static void user_namespace_remount(void) { in_user_namespace(0, 0, add_remount, false); }

static void user_namespace_sysfs(void) { in_user_namespace(RFS_OPTION_SYSFS_FROM_HOST, CLONE_NEWNET, NULL, false); }

static void add_link(json_object *spec)
{
    remove(in_work("link"));
    REQUIRE(symlink("file", in_work("link")) == 0);
    spec_add(spec, "mounts", "{'destination': '/link', 'type': 'bind', 'source': '%s', 'options': ['bind']}",
        in_work("link"));
}
static void user_namespace_link(void) { in_user_namespace(0, 0, add_link, true); }

static void add_many(json_object *spec)
{
    for (int i = 0; i < 9; i++) {
        make_directory(in_work("many%d", i), 0755);
        spec_add(spec, "mounts", "{'destination': '/many%d', 'type': 'bind', 'source': '%s', 'options': ['bind']}", i,
            in_work("many%d", i));
    }
}
static void user_namespace_many(void) { in_user_namespace(0, 0, add_many, true); }

static void with_few_descriptors(void *data)
{
    struct rlimit few = {20, 20};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
    start_container(data);
}

static void user_namespace_few_descriptors(void)
{
    share_all();
    struct view *view = new_view();
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = view, .log = keep_log};
    rfs_plan *plan = plan_with_flags(add_user_namespace(default_spec("runc")), RFS_OPTION_OWN_NAMESPACE);
    struct start start = {container_of(plan), &callbacks, take_view, view};
    int userns = -1;
    wait_for_child(start_child(OTHER_NAMESPACES | CLONE_NEWUSER, with_few_descriptors, &start, &userns));
    CHECK_THAT(strstr(view->mounts, "\n/proc "), "%s", view->mounts);
    CHECK_THAT(!strstr(view->log, copied) == begins_with_one_tree(), "the log: %s", view->log);
    close(userns);
}

/* ---- A failure changes nothing for the process ---- */

static char *here(void)
{
    static char text[3 * 4096];
    char cwd[4096];
    struct stat root;
    REQUIRE(getcwd(cwd, sizeof cwd) && stat("/", &root) == 0);
    mode_t mask = umask(0);
    umask(mask);
    char *mounts = read_all(host_proc, "self/mountinfo");
    snprintf(text, sizeof text, "%s %ju:%ju %o %zu", cwd, (uintmax_t)root.st_dev, (uintmax_t)root.st_ino, mask,
        strlen(mounts));
    char *all = NULL;
    REQUIRE(asprintf(&all, "%s\n%s", text, mounts) > 0);
    free(mounts);
    return all;
}

static void fail_and_go_on(void *data)
{
    rfs_plan *const *plans = data;
    rfs_error err = fresh_error();
    REQUIRE(chdir(in_work("source")) == 0);
    umask(027);
    char *before = here();
    CHECK_ERROR(rfs_prepare(container_of(plans[0]), NULL, &err), &err, .code = -ENOENT, .stage = RFS_STAGE_MOUNTS,
        .says = "does not exist");
    char *after = here();
    if (!attaches_to_detached()) { /* rfs_prepare() has made its namespace first. */
        CHECK(strcmp(before, after) != 0);
        return;
    }
    CHECK_THAT(strcmp(before, after) == 0, "before:\n%s\nafter the failure:\n%s", before, after);
    free(before);
    free(after);
    start_container(&(struct start){container_of(plans[1]), NULL, take_view, new_view()});
}

static void failure_then_another(void)
{
    share_all();
    json_object *bad = default_spec("runc");
    spec_add(bad, "mounts", "{'destination': '/bound', 'type': 'bind', 'source': '%s', 'options': ['rbind', 'ro']}",
        in_work("source"));
    spec_add(bad, "mounts", "{'destination': '/x', 'type': 'bind', 'source': '/does/not/exist', 'options': ['bind']}");
    rfs_plan *plans[] = {plan_with_flags(bad, RFS_OPTION_OWN_NAMESPACE), plan_with_flags(default_spec("runc"),
        RFS_OPTION_OWN_NAMESPACE)};
    in_child(OTHER_NAMESPACES, fail_and_go_on, plans);
}

/* ---- A call that the kernel refuses ---- */

struct refusal {
    rfs_container *container;
    int call, code;
    bool stays; /* The call comes before the namespace is made. */
};

/* A process in a user namespace enters the container's namespace first. */
static void refused_in_user_namespace(void *data)
{
    const struct refusal *r = data;
    static struct descriptors before, after;
    rfs_error err = fresh_error();
    list_descriptors(&before);
    REQUIRE(filter_refuse((unsigned)r->call, (unsigned)r->code) == 0);
    int rc = rfs_prepare(r->container, NULL, &err);
    list_descriptors(&after);
    if (rc != 0) /* otherwise the container's /dev/null stands for the host's */
        check_descriptors(&before, &after, "after rfs_prepare()");
    CHECK_THAT(rc == 0 || rc == -r->code || rc == -EINVAL || rc == -EPERM || rc == -EACCES, "call %d: %s",
        r->call, err.message);
    CHECK_THAT(rc != 0 || access("/bin", F_OK) == 0, "call %d: \"/\" is not the rootfs", r->call);
}

static void refused_calls_in_user_namespace(void)
{
    static const int calls[] = {SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_symlinkat, SYS_setns, SYS_unshare,
        SYS_open_tree, SYS_move_mount, SYS_mount_setattr, SYS_fchdir, SYS_chroot, SYS_openat2, SYS_statx};
    static const int codes[] = {ENOSYS, EINVAL, EPERM, ENOSPC, ENOMEM};
    share_all();
    char *before = read_all(host_proc, "self/mountinfo");
    for (size_t i = 0; i < COUNT(calls); i++)
        for (size_t k = 0; k < COUNT(codes); k++) {
            rfs_plan *plan = plan_with_flags(add_user_namespace(default_spec("runc")), RFS_OPTION_OWN_NAMESPACE);
            int userns = -1;
            wait_for_child(start_child(OTHER_NAMESPACES | CLONE_NEWUSER, refused_in_user_namespace,
                &(struct refusal){container_of(plan), calls[i], codes[k], false}, &userns));
            close(userns);
            rfs_plan_free(plan);
            remove(image("dev/null")); /* A container without a /dev of its own has made it. */
        }
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(strcmp(before, after) == 0, "the mounts outside were\n%sand are\n%s", before, after);
    free(before);
    free(after);
}

static ino_t mount_namespace(void)
{
    struct stat st;
    REQUIRE(fstatat(host_proc, "self/ns/mnt", &st, 0) == 0);
    return st.st_ino;
}

static void refused(void *data)
{
    const struct refusal *r = data;
    static struct descriptors before, after;
    rfs_error err = fresh_error();
    bool detached = attaches_to_detached();
    char *was = here();
    ino_t namespace = mount_namespace();
    list_descriptors(&before);
    REQUIRE(filter_refuse((unsigned)r->call, (unsigned)r->code) == 0);
    int rc = rfs_prepare(r->container, NULL, &err);
    if (rc == 0) {
        CHECK_THAT(!r->stays || !detached, "call %d was not needed", r->call);
        return;
    }
    list_descriptors(&after);
    check_descriptors(&before, &after, "after rfs_prepare()");
    CHECK_THAT(rc == -r->code || rc == -EINVAL, "call %d: %s", r->call, err.message);
    CHECK_THAT(!r->stays || !detached || mount_namespace() == namespace, "call %d: %s", r->call, err.message);
    if (mount_namespace() == namespace) {
        char *is = here();
        CHECK_THAT(strcmp(was, is) == 0, "call %d: %s: before:\n%s\nafter:\n%s", r->call, err.message, was, is);
        free(is);
    }
    free(was);
}

static void refused_calls(void)
{
    const struct { int call; bool stays; } calls[] = {
        {SYS_fsopen, true}, {SYS_fsconfig, true}, {SYS_fsmount, true}, {SYS_mknodat, true}, {SYS_symlinkat, true},
        {SYS_unshare, !begins_with_one_tree()}, {SYS_open_tree, false}, {SYS_move_mount, false},
        {SYS_mount_setattr, false}, {SYS_mount, false},
        {SYS_fchdir, false}, {SYS_chroot, false}, {SYS_pivot_root, false}, {SYS_umount2, false}, {SYS_statx, false}};
    static const int codes[] = {ENOSYS, EINVAL, EACCES, ENOSPC, ENOMEM};
    share_all();
    char *before = read_all(host_proc, "self/mountinfo");
    for (size_t i = 0; i < COUNT(calls); i++)
        for (size_t k = 0; k < COUNT(codes); k++) {
            rfs_plan *plan = plan_with_flags(default_spec("runc"), RFS_OPTION_OWN_NAMESPACE);
            in_child(OTHER_NAMESPACES, refused, &(struct refusal){container_of(plan), calls[i].call, codes[k],
                calls[i].stays});
            rfs_plan_free(plan);
            remove(image("dev/null")); /* A container without a /dev of its own has made it. */
        }
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(strcmp(before, after) == 0, "the mounts outside were\n%sand are\n%s", before, after);
    free(before);
    free(after);
}

static void start_without_unshare(void *data)
{
    REQUIRE(filter_refuse(SYS_unshare, EINVAL) == 0);
    start_container(data);
}

/* Behaves as Linux 7.0, which makes no empty mount namespace. */
static void namespace_of_the_rootfs(void)
{
    if (!begins_with_one_tree())
        return; /* `refused_calls` sees that it fails */
    share_all();
    struct view *views[] = {new_view(), new_view()};
    view_container(spec_with_all(), 0, CONTAINER_NAMESPACES, views[0]);
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = views[1], .log = keep_log};
    rfs_plan *plan = plan_with_flags(spec_with_all(), RFS_OPTION_OWN_NAMESPACE);
    char *before = read_all(host_proc, "self/mountinfo");
    in_child(OTHER_NAMESPACES, start_without_unshare,
        &(struct start){container_of(plan), &callbacks, take_view, views[1]});
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(strcmp(before, after) == 0, "the mounts outside were\n%sand are\n%s", before, after);
    check_same(views, false);
    rfs_plan_free(plan);
}

/* ---- A mount namespace bound below a source, as snapd has them ---- */

static void hold_namespace(void *data)
{
    int *pipes = data;
    char byte;
    close(pipes[3]);
    REQUIRE(write(pipes[1], "", 1) == 1 && read(pipes[2], &byte, 1) == 0);
}

struct pinned {
    rfs_container *container;
    bool may_fail;
};

static void start_pinned(void *data)
{
    const struct pinned *p = data;
    rfs_error err = fresh_error();
    int rc = rfs_prepare(p->container, NULL, &err);
    if (rc != 0 && p->may_fail) {
        CHECK_ERROR(rc, &err, .code = -ELOOP, .says = "has a mount namespace bound below it");
        return;
    }
    REQUIRE_SUCCESS(rc, &err);
    REQUIRE_SUCCESS(rfs_finalize(p->container, &err), &err);
    /* The source itself is there. Whether the namespace is goes by the two namespaces' numbers, which grow on each CPU
     * by themselves: mnt_ns_loop() in fs/namespace.c. */
    check_mount("/bound /source* ro,relatime* - tmpfs test rw*");
    check_mount("/bound/below / rw,relatime* - tmpfs below rw*");
    CHECK(access("/bound/pin", F_OK) == 0);
}

static void with_pinned_namespace(bool in_user_namespace)
{
    int pipes[4];
    REQUIRE(pipe2(pipes, O_CLOEXEC) == 0 && pipe2(pipes + 2, O_CLOEXEC) == 0);
    char byte, path[64];
    pid_t pid = start_child(CLONE_NEWNS, hold_namespace, pipes, NULL);
    close(pipes[2]);
    REQUIRE(read(pipes[0], &byte, 1) == 1);
    share_all(); /* Any earlier, the child's namespace would get the mounts that are made here. */
    make_file(in_work("source/pin"), "");
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
    REQUIRE(mount(path, in_work("source/pin"), NULL, MS_BIND, NULL) == 0);
    for (int own = 0; own < 2; own++) {
        json_object *spec = default_spec("runc");
        if (in_user_namespace)
            add_user_namespace(spec);
        spec_add(spec, "mounts",
            "{'destination': '/bound', 'type': 'bind', 'source': '%s', 'options': ['rbind', 'ro']}", in_work("source"));
        rfs_plan *plan = plan_with_flags(spec, own ? RFS_OPTION_OWN_NAMESPACE : 0);
        struct pinned pinned = {container_of(plan), own && !in_user_namespace};
        unsigned long namespaces = own ? OTHER_NAMESPACES : CONTAINER_NAMESPACES;
        if (in_user_namespace)
            namespaces |= CLONE_NEWUSER;
        int userns = -1;
        wait_for_child(start_child(namespaces, start_pinned, &pinned, &userns));
        close(userns);
        rfs_plan_free(plan);
    }
    close(pipes[3]);
    wait_for_child(pid);
}

static void pinned_namespace(void) { with_pinned_namespace(false); }
static void pinned_in_user_namespace(void) { with_pinned_namespace(true); }

/* ---- Many mounts ---- */

static void many_mounts(void)
{
    make_directory(in_work("many"), 0755);
    REQUIRE(mount("many", in_work("many"), "tmpfs", 0, NULL) == 0);
    for (int i = 0; i < 5000; i++) {
        REQUIRE(mkdir(in_work("many/%d", i), 0755) == 0);
        REQUIRE(mount("many", in_work("many/%d", i), "tmpfs", 0, "size=4k") == 0);
    }
    default_container();
}

/* ---- What can't go together ---- */

static void combinations(void)
{
    make_image();
    static const struct { uint64_t flag; const char *says; } cases[] = {
        {RFS_OPTION_CHROOT, "RFS_OPTION_OWN_NAMESPACE: the container has no mount namespace of its own"},
        {RFS_OPTION_PLANNED_INSIDE, "RFS_OPTION_OWN_NAMESPACE and RFS_OPTION_PLANNED_INSIDE"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        rfs_error err = fresh_error();
        rfs_config *config = config_from_json(default_spec("runc"));
        rfs_options options = {.size = sizeof options, .flags = RFS_OPTION_OWN_NAMESPACE | cases[i].flag};
        rfs_plan *plan = NULL;
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        CHECK_ERROR(rfs_plan_new(config, &plan, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_PLAN,
            .says = cases[i].says);
        rfs_config_free(config);
    }
}

/* ---- Descriptors of the caller's namespace ---- */

static void cannot_start(void *data)
{
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(data, NULL, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_ROOT,
        .says = "opened before unshare(2)");
}

/* A mount that the container makes on its copies must not propagate to the originals. */
static void check_nothing_outside(void)
{
    char *mounts = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(!strstr(mounts, "/rootfs/"), "%s", mounts);
    free(mounts);
}

static void by_descriptors(uint64_t flags)
{
    share_all();
    json_object *spec = default_spec("runc");
    spec_add(spec, "mounts", "{'destination': '/bound', 'type': 'bind', 'source': '/none', 'options': ['rbind']}");
    uint64_t last = json_object_array_length(json_object_object_get(spec, "mounts")) - 1;
    rfs_plan *plan = plan_with_flags(spec, RFS_OPTION_OWN_NAMESPACE | flags);
    rfs_container *container = container_of(plan);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_container_set_rootfs_fd(container, open(image(""), O_PATH | O_CLOEXEC), &err), &err);
    REQUIRE_SUCCESS(rfs_container_set_source_fd(container, last, open(in_work("source"), O_PATH | O_CLOEXEC), &err),
        &err);
    struct view *view = new_view();
    /* OPEN_TREE_CLONE makes the copies that go into the new namespace. */
    if ((flags || !attaches_to_detached()) && is_refused(syscall(SYS_open_tree, AT_FDCWD, work, 1 | O_CLOEXEC))) {
        in_child(OTHER_NAMESPACES, cannot_start, container);
    } else {
        in_child(OTHER_NAMESPACES, start_container, &(struct start){container, NULL, take_view, view});
        CHECK_THAT(strstr(view->mounts, "\n/bound "), "%s", view->mounts);
        CHECK_THAT(strstr(view->mounts, "\n/bound/below "), "%s", view->mounts);
        check_nothing_outside();
    }
    rfs_plan_free(plan);
}

static void descriptors(void) { by_descriptors(0); }
static void descriptors_by_mount2(void) { by_descriptors(RFS_OPTION_CLASSIC_MOUNT); }

int main(void)
{
    static const struct test_case cases[] = {
        {"the same as after unshare", default_container},
        {"the same as after unshare: rprivate", private_container},
        {"the same as after unshare: rslave", slave_container},
        {"the same as after unshare: shared, which takes unshare", shared_container},
        {"the same as after unshare: mount(2)", by_mount2},
        {"the same as after unshare: no pivot", without_pivot},
        {"in a user namespace: the same as after unshare", user_namespace},
        {"in a user namespace: a mount that is changed later", user_namespace_remount},
        {"in a user namespace: the host's sysfs", user_namespace_sysfs},
        {"in a user namespace: a link to a file, which takes unshare", user_namespace_link},
        {"in a user namespace: many sources, which take unshare", user_namespace_many},
        {"in a user namespace: 20 descriptors", user_namespace_few_descriptors},
        {"in a user namespace: each call refused", refused_calls_in_user_namespace},
        {"a failure leaves the process where it was", failure_then_another},
        {"each call refused", refused_calls},
        {"no empty namespace: one of the rootfs", namespace_of_the_rootfs},
        {"a mount namespace bound below a source", pinned_namespace},
        {"a mount namespace bound below a source: in a user namespace", pinned_in_user_namespace},
        {"5,000 mounts on the host", many_mounts},
        {"options that exclude each other", combinations},
        {"descriptors of the caller's namespace", descriptors},
        {"descriptors of the caller's namespace: mount(2)", descriptors_by_mount2},
    };
    return run_cases(cases, COUNT(cases));
}
