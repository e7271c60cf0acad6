/* SELinux labels: of new file systems, of a message queue, and of what a bind with "z" or "Z" brings in.
 * On a kernel without SELinux, where security.selinux is an attribute like others, and with the policy of
 * tests/kernels. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LABEL "system_u:object_r:container_file_t:s0:c7,c99"
#define SHARED "system_u:object_r:container_file_t:s0"
#define DEPTH 3000

/* The label of a file on a tmpfs that nobody has labelled. NULL: it has none. */
static const char *untouched;

static void check_label(const char *path, const char *expected)
{
    char value[256] = "";
    ssize_t n = lgetxattr(path, "security.selinux", value, sizeof value - 1);
    if (expected) /* SELinux counts the NUL too. */
        CHECK_THAT(n == (ssize_t)strlen(expected) + (untouched != NULL) && strcmp(value, expected) == 0,
                   "%s has the label \"%s\"", path, value);
    else
        CHECK_THAT(n == -1 && errno == ENODATA, "%s has the label \"%s\"", path, value);
}

static json_object *labelled_spec(void)
{
    json_object *spec = empty_spec();
    spec_set(spec, "linux.mountLabel", "'" LABEL "'");
    return spec;
}

static void annotate(json_object *spec, const char *type)
{
    json_object *annotations = json_object_new_object();
    json_object_object_add(annotations, "run.oci.mount_context_type", json_object_new_string(type));
    json_object_object_add(spec, "annotations", annotations);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* The step for a mount has exactly these parameters. */
static void check_step(const char *steps, const char *path, const char *parameters, const char *root_label)
{
    char expected[400];
    snprintf(expected, sizeof expected, "\"path\":\"%s\",", path);
    const char *step = strstr(steps, expected);
    if (!CHECK_THAT(step, "no step for %s", path))
        return;
    char *line = strndup(step, strcspn(step, "\n"));
    snprintf(expected, sizeof expected, "\"parameters\":[%s]", parameters);
    CHECK_THAT(strstr(line, expected), "not %s: %s", expected, line);
    snprintf(expected, sizeof expected, "\"root_label\":\"%s\"", root_label ? root_label : "");
    CHECK_THAT((strstr(line, root_label ? expected : "root_label") != NULL) == (root_label != NULL), "root_label: %s",
               line);
    free(line);
}

static json_object *types_spec(void)
{
    json_object *spec = labelled_spec();
    static const char *const mounts[] = {
        "{'destination': '/proc', 'type': 'proc', 'source': 'proc'}",
        "{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs'}",
        "{'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup'}",
        "{'destination': '/cgroup2', 'type': 'cgroup2', 'source': 'cgroup2'}",
        "{'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue'}",
        "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['size=1m', 'nosuid']}",
        "{'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts', 'options': ['newinstance']}",
        "{'destination': '/disk', 'type': 'ext4', 'source': '/dev/x'}",
        "{'destination': '/layers', 'type': 'overlay', 'source': 'o', 'options': ['lowerdir=/a:/b']}",
        /* The label is as given, without the quotes that only mount(2) removes. */
        "{'destination': '/own/context', 'type': 'tmpfs', 'source': 'x', 'options': "
        "['context=\\\"u:r:t:s0:c1,c2\\\"']}",
        "{'destination': '/own/fscontext', 'type': 'tmpfs', 'source': 'x', 'options': ['fscontext=u:r:t:s0:c1,c2', "
        "'size=2m']}",
        "{'destination': '/own/defcontext', 'type': 'ext4', 'source': 'x', 'options': ['defcontext=\\\"u:r:t\\\"']}",
        "{'destination': '/own/rootcontext', 'type': 'tmpfs', 'source': 'x', 'options': ['rootcontext=u:r:t']}",
        "{'destination': '/own/two', 'type': 'tmpfs', 'source': 'x', 'options': ['fscontext=a:b:c', "
        "'rootcontext=u:r:t']}",
        "{'destination': '/own/mqueue', 'type': 'mqueue', 'source': 'x', 'options': ['context=u:r:t']}",
        "{'destination': '/own/quotes', 'type': 'overlay', 'source': 'x', 'options': ['lowerdir=/\\\"a\\\"']}",
    };
    for (size_t i = 0; i < COUNT(mounts); i++)
        spec_add(spec, "mounts", "%s", mounts[i]);
    return spec;
}

static void check_types(const rfs_plan *plan, const char *type)
{
    char *steps = describe(plan), label[100], parameters[200];
    snprintf(label, sizeof label, "\"%s=" LABEL "\"", type);
    for (size_t i = 0; i < 4; i++)
        check_step(steps, (const char *[]){"/proc", "/sys", "/sys/fs/cgroup", "/cgroup2"}[i], "", NULL);
    check_step(steps, "/dev/mqueue", "", LABEL);
    snprintf(parameters, sizeof parameters, "\"size=1m\",%s", label);
    check_step(steps, "/tmp", parameters, NULL);
    snprintf(parameters, sizeof parameters, "\"newinstance\",%s", label);
    check_step(steps, "/dev/pts", parameters, NULL);
    check_step(steps, "/disk", label, NULL);
    snprintf(parameters, sizeof parameters, "\"lowerdir=/a:/b\",%s", label);
    check_step(steps, "/layers", parameters, NULL);
    check_step(steps, "/own/context", "\"context=u:r:t:s0:c1,c2\"", NULL);
    check_step(steps, "/own/fscontext", "\"fscontext=u:r:t:s0:c1,c2\",\"size=2m\"", NULL);
    check_step(steps, "/own/defcontext", "\"defcontext=u:r:t\"", NULL);
    check_step(steps, "/own/rootcontext", "\"rootcontext=u:r:t\"", NULL);
    check_step(steps, "/own/two", "\"fscontext=a:b:c\",\"rootcontext=u:r:t\"", NULL);
    check_step(steps, "/own/mqueue", "\"context=u:r:t\"", NULL);
    snprintf(parameters, sizeof parameters, "\"lowerdir=/\\\"a\\\"\",%s", label);
    check_step(steps, "/own/quotes", parameters, NULL);
    CHECK(count(steps, LABEL) == 6);
    free(steps);
}

static void types(void)
{
    make_image();
    check_types(plan_of(types_spec()), "context");
    static const char *const kinds[] = {"context", "fscontext", "defcontext", "rootcontext"};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        json_object *spec = types_spec();
        rfs_config *config = config_from_builder(spec);
        rfs_options options = {.size = sizeof options, .mount_context_type = kinds[i]};
        rfs_error err = fresh_error();
        REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
        check_types(plan_of_config(config), kinds[i]);
        annotate(spec, kinds[i]);
        check_types(plan_of(spec), kinds[i]);
    }
    json_object *spec = labelled_spec();
    annotate(spec, "seclabel");
    refuse_plan("seclabel", spec, &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_PLAN,
                                         .says = "run.oci.mount_context_type", .says_too = "\"seclabel\" is none of"});
    spec = labelled_spec();
    spec_set(spec, "linux.mountLabel", "''");
    spec_add(spec, "mounts", "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'tmpfs'}");
    char *steps = describe(plan_of(spec));
    check_step(steps, "/tmp", "", NULL);
    free(steps);
}

static void failing_finalize(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    CHECK_ERROR(rfs_finalize(data, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MASKED_PATHS,
                .object = RFS_OBJECT_MASKED_PATH, .says = "fsconfig rootcontext", .says_too = "SELinux is not enabled");
}

/* The reasons that a person can do something about. */
static void without_selinux(void)
{
    make_image();
    json_object *spec = labelled_spec();
    spec_add(spec, "mounts", "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'tmpfs'}");
    run_refused("a tmpfs", plan_of(spec), NULL,
                &(struct expected){.code = -EINVAL,
                                   .stage = RFS_STAGE_MOUNTS,
                                   .object = RFS_OBJECT_MOUNT,
                                   .says = "Unknown parameter 'context'",
                                   .says_too = "SELinux is not enabled"});
    spec = empty_spec();
    spec_add(spec, "mounts",
             "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['defcontext=x']}");
    run_refused("its own option", plan_of(spec), NULL,
                &(struct expected){.code = -EINVAL,
                                   .stage = RFS_STAGE_MOUNTS,
                                   .object = RFS_OBJECT_MOUNT,
                                   .says = "Unknown parameter 'defcontext'",
                                   .says_too = "SELinux is not enabled"});
    spec = labelled_spec();
    spec_add(spec, "mounts", "{'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue'}");
    run_refused("mqueue", plan_of(spec), NULL, &(struct expected){.code = -EOPNOTSUPP, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT, .says = "setxattr security.selinux", .says_too = "without SELinux"});
    image_file("directory/file", "x");
    spec = labelled_spec();
    annotate(spec, "rootcontext");
    spec_add(spec, "mounts", PROC);
    spec_add(spec, "linux.maskedPaths", "'/directory'");
    in_child(CONTAINER_NAMESPACES, failing_finalize, container_of(plan_of(spec)));
}

static const char *const tree[] = {
    "from",      "from/file",   "from/second", "from/sub",  "from/sub/deeper", "from/sub/deeper/file",
    "from/fifo", "from/device", "from/block",  "from/link", "from/dangling",   "from/directory-link"};

static void make_tree(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    make_file(in_work("from/sub/deeper/file"), "x");
    make_file(in_work("from/mounted/hidden"), "x");
    make_file(in_work("out/file"), "x");
    REQUIRE(link(in_work("from/file"), in_work("from/second")) == 0);
    REQUIRE(mkfifo(in_work("from/fifo"), 0600) == 0);
    REQUIRE(mknod(in_work("from/device"), S_IFCHR | 0600, makedev(0, 0)) == 0);
    REQUIRE(mknod(in_work("from/block"), S_IFBLK | 0600, makedev(4095, 1)) == 0);
    REQUIRE(symlink("../out/file", in_work("from/link")) == 0 && symlink("/no/such", in_work("from/dangling")) == 0);
    REQUIRE(symlink("../out", in_work("from/directory-link")) == 0);
    REQUIRE(mount("below", in_work("from/mounted"), "tmpfs", 0, NULL) == 0);
    make_file(in_work("from/mounted/file"), "x");
}

static void inside_private(void *data)
{
    (void)data;
    check_label("/to", LABEL);
    check_label("/to/sub/deeper/file", LABEL);
    check_label("/to/mounted/hidden", LABEL); /* The bind has the files below the mount, and not the mount. */
    CHECK(mkdir("/to/x", 0700) == -1 && errno == EROFS);
}

static void inside_shared(void *data)
{
    (void)data;
    check_label("/to", SHARED);
    check_label("/to/mounted", SHARED);
    check_label("/to/mounted/file", SHARED);
}

static void relabel(void)
{
    make_tree();
    json_object *spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from", "/to", "'rbind', 'z'"));
    rfs_plan *plan = plan_of(spec);
    char *steps = describe(plan);
    CHECK(strstr(steps, "\"relabel\":\"" SHARED "\""));
    free(steps);
    run_container(plan, NULL, inside_shared, NULL);
    for (size_t i = 0; i < COUNT(tree); i++)
        check_label(in_work("%s", tree[i]), SHARED);
    check_label(in_work("from/mounted/file"), SHARED);
    REQUIRE(umount2(in_work("from/mounted"), MNT_DETACH) == 0);
    check_label(in_work("from/mounted"), untouched);
    check_label(in_work("from/mounted/hidden"), untouched);
    check_label(in_work("out"), untouched);
    check_label(in_work("out/file"), untouched);

    REQUIRE(mount("below", in_work("from/mounted"), "tmpfs", 0, NULL) == 0);
    spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from", "/to", "'bind', 'ro', 'Z', 'Z'"));
    run_container(plan_of(spec), NULL, inside_private, NULL);
    for (size_t i = 0; i < COUNT(tree); i++)
        check_label(in_work("%s", tree[i]), LABEL);
    check_label(in_work("from/mounted"), untouched);
    check_label(in_work("out/file"), untouched);
}

static void inside_file(void *data)
{
    (void)data;
    check_label("/to", LABEL);
}

static void single_files(void)
{
    make_tree();
    static const char *const files[] = {"file", "fifo", "device"};
    for (size_t i = 0; i < COUNT(files); i++) {
        json_object *spec = labelled_spec();
        spec_add(spec, "mounts", "{'destination': '/to', 'type': 'bind', 'source': '%s/from/%s', 'options': ['Z']}",
                 work, files[i]);
        run_container(plan_of(spec), NULL, inside_file, NULL);
        check_label(in_work("from/%s", files[i]), LABEL);
    }
    check_label(in_work("from"), untouched);
    /* These are the link's target and the link itself. */
    json_object *spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from/link", "/to", "'bind', 'Z'"));
    run_container(plan_of(spec), NULL, inside_file, NULL);
    check_label(in_work("out/file"), LABEL);
    check_label(in_work("from/link"), untouched);
    spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from/dangling", "/to", "'bind', 'Z', 'src-nofollow'"));
    run_container(plan_of(spec), NULL, NULL, NULL);
    check_label(in_work("from/dangling"), LABEL);
}

static void in_few_descriptors(void *container)
{
    rfs_error err = fresh_error();
    struct rlimit limit = {64, 64};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_SUCCESS(rfs_prepare(container, NULL, &err), &err);
}

/* More levels than descriptors, and a path longer than PATH_MAX. */
static void deep(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    int fd = open(in_work("from"), O_PATH | O_CLOEXEC);
    for (int i = 0; i < DEPTH; i++) {
        REQUIRE(mkdirat(fd, "level", 0755) == 0);
        int below = openat(fd, "level", O_PATH | O_CLOEXEC);
        close(fd);
        fd = below;
    }
    json_object *spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from", "/to", "'bind', 'Z'"));
    in_child(CONTAINER_NAMESPACES, in_few_descriptors, container_of(plan_of(spec)));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/.", fd);
    check_label(path, LABEL);
    close(fd);
}

static void many(void)
{
    make_image();
    for (int i = 0; i < 5000; i++)
        make_file(in_work("from/%d/%d", i % 50, i), "");
    json_object *spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from", "/to", "'bind', 'z'"));
    run_container(plan_of(spec), NULL, NULL, NULL);
    for (int i = 0; i < 5000; i++)
        check_label(in_work("from/%d/%d", i % 50, i), SHARED);
}

static void never(void)
{
    make_tree();
    static const struct {
        const char *source, *says;
    } at_plan[] = {{"/", "relabel /:"},          {"/usr", "relabel /usr:"},
                   {"//etc/.", "relabel /etc:"}, {"/var/./lib/", "relabel /var/lib:"},
                   {"/root", "relabel /root:"},  {"/etc/shadow", "relabel /etc/shadow:"},
                   {"/x/..", "relabel /:"}};
    for (size_t i = 0; i < COUNT(at_plan); i++) {
        json_object *spec = labelled_spec();
        spec_add(spec, "mounts", "{'destination': '/to', 'type': 'bind', 'source': '%s', 'options': ['rbind', '%s']}",
                 at_plan[i].source, i % 2 ? "z" : "Z");
        refuse_plan(at_plan[i].source, spec,
                    &(struct expected){
                        .code = -EPERM, .stage = RFS_STAGE_PLAN, .object = RFS_OBJECT_MOUNT, .says = at_plan[i].says});
    }
    /* These are found in other ways. They are binds, so that a mistake here does no harm. */
    make_directory(in_work("etc-below/etc"), 0755);
    REQUIRE(mount(in_work("etc-below/etc"), "/etc", NULL, MS_BIND, NULL) == 0);
    REQUIRE(symlink("/etc", in_work("to-etc")) == 0);
    make_directory(in_work("bound"), 0755);
    REQUIRE(mount("/etc", in_work("bound"), NULL, MS_BIND, NULL) == 0);
    static const char *const sources[] = {"to-etc", "bound", "etc-below/etc"};
    for (size_t i = 0; i < COUNT(sources); i++) {
        json_object *spec = labelled_spec();
        spec_add(spec, "mounts", "{'destination': '/to', 'type': 'bind', 'source': '%s/%s', 'options': ['bind', 'Z']}",
                 work, sources[i]);
        run_refused(sources[i], plan_of(spec), NULL,
                    &(struct expected){.code = -EPERM,
                                       .stage = RFS_STAGE_MOUNTS,
                                       .object = RFS_OBJECT_MOUNT,
                                       .says = "relabel /etc:",
                                       .path = "/to"});
    }
    check_label("/etc", untouched);
    static const struct {
        const char *mount, *says;
    } wrong[] = {
        {"{'destination': '/to', 'type': 'bind', 'source': '/x', 'options': ['z', 'Z']}", "exclude each other"},
        {"{'destination': '/to', 'type': 'tmpfs', 'source': 'x', 'options': ['Z']}", "are for binds"},
        {"{'destination': '/to', 'type': 'cgroup', 'source': 'x', 'options': ['z']}", "are for binds"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        json_object *spec = labelled_spec();
        spec_add(spec, "mounts", "%s", wrong[i].mount);
        refuse_plan(wrong[i].says, spec,
                    &(struct expected){
                        .code = -EINVAL, .stage = RFS_STAGE_PLAN, .object = RFS_OBJECT_MOUNT, .says = wrong[i].says});
    }
    json_object *spec = empty_spec();
    spec_set(spec, "linux.mountLabel", "'label'");
    spec_add(spec, "mounts", BIND("from", "/to", "'z'"));
    refuse_plan("no level", spec,
                &(struct expected){
                    .code = -EINVAL, .stage = RFS_STAGE_PLAN, .object = RFS_OBJECT_MOUNT, .says = "USER:ROLE:TYPE"});
}

static unsigned warned;

static void count_warnings(void *userdata, rfs_log_level level, const char *message)
{
    (void)userdata;
    if (level == RFS_LOG_DEBUG)
        return;
    CHECK_THAT(level == RFS_LOG_WARNING && strstr(message, "mounts[0]: without a mount label"), "%s", message);
    warned++;
}

static void inside_unlabelled(void *data)
{
    (void)data;
    CHECK_THAT(warned == 1, "%u warnings", warned);
    check_label("/to", untouched);
    check_label("/to/file", untouched);
}

static void without_label(void)
{
    make_tree();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from", "/to", "'Z'"));
    rfs_callbacks callbacks = {.size = sizeof callbacks, .log = count_warnings};
    run_container(plan_of(spec), &callbacks, inside_unlabelled, NULL);
}

static void without_proc(void *container)
{
    rfs_error err = fresh_error();
    REQUIRE(umount2("/proc", MNT_DETACH) == 0);
    CHECK_ERROR(rfs_prepare(container, NULL, &err), &err, .code = -ENOENT, .stage = RFS_STAGE_MOUNTS,
                .object = RFS_OBJECT_MOUNT, .says = "needs a procfs on /proc");
}

/* If a file can't be labelled, the source is not mounted, and its root keeps its old label. */
static void failures(void)
{
    make_tree();
    make_directory(in_work("from/zzz"), 0755);
    REQUIRE(mount("no attributes", in_work("from/zzz"), "ramfs", 0, NULL) == 0);
    make_directory(in_work("from/zzz/sub"), 0755);
    json_object *spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from", "/to", "'rbind', 'Z'"));
    run_refused("ramfs below", plan_of(spec), NULL,
                &(struct expected){.code = -EOPNOTSUPP,
                                   .stage = RFS_STAGE_MOUNTS,
                                   .object = RFS_OBJECT_MOUNT,
                                   .says = "lsetxattr zzz: Operation not supported",
                                   .says_too = "takes no SELinux labels"});
    check_label(in_work("from"), untouched);
    spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from/zzz", "/to", "'Z'"));
    run_refused("ramfs", plan_of(spec), NULL,
                &(struct expected){.code = -EOPNOTSUPP,
                                   .stage = RFS_STAGE_MOUNTS,
                                   .object = RFS_OBJECT_MOUNT,
                                   .says = "lsetxattr sub: Operation not supported"});
    REQUIRE(mount(NULL, in_work("from/mounted"), NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
    spec = labelled_spec();
    spec_add(spec, "mounts", BIND("from/mounted", "/to", "'Z', 'rw'"));
    run_refused("read-only source", plan_of(spec), NULL,
                &(struct expected){.code = -EROFS,
                                   .stage = RFS_STAGE_MOUNTS,
                                   .object = RFS_OBJECT_MOUNT,
                                   .says = "lsetxattr file: Read-only file system"});
    /* The mount point is there before anything is labelled. */
    spec = labelled_spec();
    spec_add(spec, "mounts",
             "{'destination': '/bin/busybox/below', 'type': 'bind', 'source': '%s/out', 'options': ['Z']}", work);
    run_refused("no mount point", plan_of(spec), NULL,
                &(struct expected){.code = -ENOTDIR, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT});
    check_label(in_work("out/file"), untouched);
    spec = labelled_spec();
    spec_add(spec, "mounts", BIND("out", "/to", "'Z'"));
    in_child(CONTAINER_NAMESPACES, without_proc, container_of(plan_of(spec)));
    check_label(in_work("out/file"), untouched);
}

static void prepare_or_busy(void *container)
{
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, NULL, &err);
    CHECK_THAT(rc == 0 || rc == -EBUSY, "%d: %s", rc, err.message);
}

/* Directories, and links to the outside, change places all the while. */
static void race(void)
{
    make_image();
    make_file(in_work("out/sub/file"), "x");
    static const char *const names[] = {"a", "b", "c/d", "c/e", "f"};
    make_file(in_work("from/a/sub/file"), "x");
    make_file(in_work("from/c/d/sub/file"), "x");
    make_file(in_work("from/f"), "x");
    REQUIRE(symlink(in_work("out"), in_work("from/b")) == 0 && symlink(in_work("out"), in_work("from/c/e")) == 0);
    char from[200];
    snprintf(from, sizeof from, "%s", in_work("from"));
    pid_t changer = fork();
    if (changer == 0) {
        if (chdir(from) != 0)
            _exit(1);
        for (unsigned i = 0;; i++)
            renameat2(AT_FDCWD, names[i % COUNT(names)], AT_FDCWD, names[(i * 3 + 1) % COUNT(names)], RENAME_EXCHANGE);
    }
    for (int i = 0; i < 100; i++) {
        json_object *spec = labelled_spec();
        spec_add(spec, "mounts", BIND("from", "/to", "'bind', 'Z'"));
        rfs_plan *plan = plan_of(spec);
        in_child(CONTAINER_NAMESPACES, prepare_or_busy, container_of(plan));
        rfs_plan_free(plan);
    }
    int status;
    CHECK(kill(changer, SIGKILL) == 0 && waitpid(changer, &status, 0) == changer && WIFSIGNALED(status));
    check_label(in_work("out"), untouched);
    check_label(in_work("out/sub"), untouched);
    check_label(in_work("out/sub/file"), untouched);
}

/* ---- With SELinux, and the policy of tests/kernels ---- */

#define UNKNOWN "system_u:object_r:no_such_t:s0"
#define SECRET "system_u:object_r:secret_t:s0"

static void inside_labelled(void *data)
{
    static const char *const labelled[] = {"/dev",     "/dev/null",     "/dev/full", "/dev/ptmx",   "/dev/stdin",
                                           "/dev/pts", "/dev/pts/ptmx", "/dev/shm",  "/dev/mqueue", "/dev/shm/new",
                                           "/masked",  "/masked-file",  "/own"};
    int fd = open("/dev/shm/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    close(fd);
    for (size_t i = 0; i < COUNT(labelled); i++)
        check_label(labelled[i], LABEL);
    check_label("/", untouched);
    check_label("/proc", "system_u:object_r:proc_t:s0");
    check_label("/sys", "system_u:object_r:sysfs_t:s0");
    check_label("/sys/fs/cgroup", "system_u:object_r:cgroup_t:s0");
    static const char *const mounts[] = {"/dev / rw,nosuid - tmpfs tmpfs",
                                         "/dev/pts / rw,nosuid,noexec,relatime - devpts devpts",
                                         "/dev/shm / rw,nosuid,nodev,noexec,relatime - tmpfs shm",
                                         "/own / rw,relatime - tmpfs x", "/masked / ro,relatime - tmpfs tmpfs"};
    for (size_t i = 0; i < COUNT(mounts); i++) {
        char pattern[200];
        snprintf(pattern, sizeof pattern, "%s r?,context=\"" LABEL "\"*", mounts[i]);
        check_mount(pattern);
    }
    (void)data;
}

static void with_selinux(void)
{
    only_cgroup2();
    make_image();
    image_file("masked/file", "x");
    image_file("masked-file", "x");
    json_object *spec = default_spec("runc");
    spec_set(spec, "root.readonly", "false");
    spec_set(spec, "linux.mountLabel", "'" LABEL "'");
    spec_set(spec, "linux.maskedPaths", "['/masked', '/masked-file']");
    spec_add(spec, "mounts",
             "{'destination': '/own', 'type': 'tmpfs', 'source': 'x', 'options': ['context=\\\"" LABEL "\\\"']}");
    run_container(plan_of(spec), NULL, inside_labelled, NULL);
}

static void inside_context(void *data)
{
    const char *type = data;
    char pattern[200];
    snprintf(pattern, sizeof pattern, "/tmp / rw,relatime - tmpfs x rw,%s=\"" LABEL "\"*", type);
    check_mount(pattern);
    check_label("/tmp",
                /* The label has the type of the file system and the level of the process. */
                strcmp(type, "fscontext") == 0 ? SHARED : LABEL);
}

static void context_types(void)
{
    static const char *const kinds[] = {"context", "fscontext", "rootcontext"};
    make_image();
    for (size_t i = 0; i < COUNT(kinds); i++) {
        json_object *spec = labelled_spec();
        annotate(spec, kinds[i]);
        spec_add(spec, "mounts", "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'x'}");
        run_container(plan_of(spec), NULL, inside_context, (void *)(uintptr_t)kinds[i]);
    }
}

static void unknown_mask(void *data)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(data, NULL, &err), &err);
    CHECK_ERROR(rfs_finalize(data, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MASKED_PATHS,
                .object = RFS_OBJECT_MASKED_PATH, .says = "fsconfig context",
                .says_too = "SELinux's policy may not know the label");
}

static void refused_labels(void)
{
    static const struct {
        const char *label, *mount;
        int code;
        const char *says, *says_too;
    } list[] = {
        {UNKNOWN, "{'destination': '/tmp', 'type': 'tmpfs', 'source': 'x'}", -EINVAL, "fsconfig context",
         "SELinux's policy may not know the label"},
        {UNKNOWN, "{'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue'}", -EINVAL,
         "setxattr security.selinux",
         "SELinux's policy does not know the label"},
        {UNKNOWN, "{'destination': '/to', 'type': 'bind', 'source': '%s/from', 'options': ['Z']}", -EINVAL,
         "lsetxattr file",
         "SELinux's policy does not know the label"},
        {SECRET, "{'destination': '/to', 'type': 'bind', 'source': '%s/from', 'options': ['z']}", -EACCES,
         "lsetxattr file", "Permission denied"},
        {SECRET, "{'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue'}", -EACCES,
         "setxattr security.selinux", "Permission denied"},
    };
    make_image();
    make_file(in_work("from/file"), "x");
    for (size_t i = 0; i < COUNT(list); i++) {
        char label[100];
        json_object *spec = empty_spec();
        snprintf(label, sizeof label, "'%s'", list[i].label);
        spec_set(spec, "linux.mountLabel", label);
        spec_add(spec, "mounts", list[i].mount, work);
        run_refused(list[i].mount, plan_of(spec), NULL,
                    &(struct expected){.code = list[i].code,
                                       .stage = RFS_STAGE_MOUNTS,
                                       .object = RFS_OBJECT_MOUNT,
                                       .says = list[i].says,
                                       .says_too = list[i].says_too});
        check_label(in_work("from/file"), untouched);
        check_label(in_work("from"), untouched);
    }
    json_object *spec = empty_spec();
    image_file("directory/file", "x");
    spec_set(spec, "linux.mountLabel", "'" UNKNOWN "'");
    spec_add(spec, "linux.maskedPaths", "'/directory'");
    in_child(CONTAINER_NAMESPACES, unknown_mask, container_of(plan_of(spec)));
}

static bool policy_knows(const char *label)
{
    int fd = open("/sys/fs/selinux/context", O_RDWR | O_CLOEXEC);
    bool known = fd >= 0 && write(fd, label, strlen(label) + 1) > 0;
    close(fd);
    return known;
}

int main(void)
{
    bool selinux = access("/sys/fs/selinux/enforce", F_OK) == 0;
    if (selinux && !(policy_knows(LABEL) && policy_knows(SECRET)))
        return skip_all("SELinux is enabled, and its policy knows other labels");
    static const struct test_case always[] = {
        {"every type is labelled once, as it must be", types},
        {"z and Z: all of a tree, and nothing else", relabel},
        {"z and Z: files and links", single_files},
        {"z and Z: a deep tree", deep},
        {"z and Z: 5000 files", many},
        {"z and Z: what is never relabelled", never},
        {"z and Z without a label", without_label},
        {"z and Z: what takes no label", failures},
        {"z and Z: a tree that changes meanwhile", race},
    }, without[] = {
        {"errors without SELinux", without_selinux},
    }, with[] = {
        {"SELinux: mounts, and what is made in them", with_selinux},
        {"SELinux: context, fscontext, rootcontext", context_types},
        {"SELinux: labels that are refused", refused_labels},
    };
    struct test_case cases[COUNT(always) + COUNT(with)];
    memcpy(cases, always, sizeof always);
    if (!selinux) {
        memcpy(cases + COUNT(always), without, sizeof without);
        return run_cases(cases, COUNT(always) + COUNT(without));
    }
    untouched = "system_u:object_r:tmpfs_t:s0";
    memcpy(cases + COUNT(always), with, sizeof with);
    return run_cases(cases, COUNT(cases));
}
