/* Every mount option of the table, applied and read back from the mount table inside.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>


/* The warnings that were logged in this process. */
static char logged[8192];

static void take_log(void *userdata, rfs_log_level level, const char *message)
{
    (void)userdata;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%s%s\n", level == RFS_LOG_WARNING ? "W: " : "", message);
}

static const rfs_callbacks with_log = {.size = sizeof(rfs_callbacks), .log = take_log};

/* Options, the mount's own flags they give, and a word that the superblock's options must have, or (after "!") must
 * not. */
struct flags {
    const char *options, *flags, *superblock;
};

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at++)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

/* The superblock's options are the last field. */
static void check_superblock(const char *mountpoint, const char *wanted)
{
    char *table = mount_table(), *super = NULL;
    size_t length = strlen(mountpoint);
    for (char *rest = table, *line; (line = strsep(&rest, "\n"));)
        if (strncmp(line, mountpoint, length) == 0 && line[length] == ' ')
            super = strrchr(line, ' ') + 1;
    bool unwanted = wanted[0] == '!';
    CHECK_THAT(super && has_word(super, wanted + unwanted) == !unwanted, "%s: superblock \"%s\", expected %s",
               mountpoint, super, wanted);
    free(table);
}

struct flags_test {
    const struct flags *list;
    size_t n;
    const char *rest; /* This part of the line follows the flags. */
};

static void look_at_flags(void *data)
{
    const struct flags_test *test = data;
    for (size_t i = 0; i < test->n; i++) {
        const struct flags *f = &test->list[i];
        char mountpoint[32], pattern[512];
        snprintf(mountpoint, sizeof mountpoint, "/%zu", i);
        snprintf(pattern, sizeof pattern, "%s / %s %s", mountpoint, f->flags, test->rest);
        if (!check_mount(pattern))
            note("... for options %s", f->options);
        if (f->superblock)
            check_superblock(mountpoint, f->superblock);
    }
}

static const struct flags new_flags[] = {
    {"", "rw,relatime", "!sync"},
    {"'defaults'", "rw,relatime", "rw"},
    {"'ro'", "ro,relatime", NULL},
    {"'ro', 'rw'", "rw,relatime", "rw"},
    {"'rw', 'ro'", "ro,relatime", NULL},
    {"'ro', 'rw', 'ro'", "ro,relatime", NULL},
    {"'nosuid'", "rw,nosuid,relatime", NULL},
    {"'nosuid', 'suid'", "rw,relatime", NULL},
    {"'suid', 'nosuid'", "rw,nosuid,relatime", NULL},
    {"'nodev'", "rw,nodev,relatime", NULL},
    {"'nodev', 'dev'", "rw,relatime", NULL},
    {"'dev', 'nodev'", "rw,nodev,relatime", NULL},
    {"'noexec'", "rw,noexec,relatime", NULL},
    {"'noexec', 'exec'", "rw,relatime", NULL},
    {"'exec', 'noexec'", "rw,noexec,relatime", NULL},
    {"'nosymfollow'", "rw,relatime,nosymfollow", NULL},
    {"'nosymfollow', 'symfollow'", "rw,relatime", NULL},
    {"'symfollow', 'nosymfollow'", "rw,relatime,nosymfollow", NULL},
    {"'noatime'", "rw,noatime", NULL},
    {"'noatime', 'atime'", "rw,relatime", NULL},
    {"'atime', 'noatime'", "rw,noatime", NULL},
    {"'nodiratime'", "rw,nodiratime,relatime", NULL},
    {"'nodiratime', 'diratime'", "rw,relatime", NULL},
    {"'diratime', 'nodiratime'", "rw,nodiratime,relatime", NULL},
    {"'noatime', 'nodiratime'", "rw,noatime,nodiratime", NULL},
    {"'relatime'", "rw,relatime", NULL},
    {"'relatime', 'norelatime'", "rw,relatime", NULL}, /* the kernel's default */
    {"'strictatime'", "rw", NULL},
    {"'strictatime', 'nostrictatime'", "rw,relatime", NULL},
    {"'nostrictatime', 'strictatime'", "rw", NULL},
    {"'noatime', 'strictatime'", "rw", NULL}, /* path_mount(): strictatime wins */
    {"'strictatime', 'noatime'", "rw", NULL},
    {"'relatime', 'noatime'", "rw,noatime", NULL},
    {"'noatime', 'norelatime'", "rw,noatime", NULL},
    {"'sync'", "rw,relatime", "sync"},
    {"'sync', 'async'", "rw,relatime", "!sync"},
    {"'async', 'sync'", "rw,relatime", "sync"},
    {"'dirsync'", "rw,relatime", "dirsync"},
    {"'lazytime'", "rw,relatime", "lazytime"},
    {"'lazytime', 'nolazytime'", "rw,relatime", "!lazytime"},
    {"'nolazytime', 'lazytime'", "rw,relatime", "lazytime"},
    {"'mand', 'nomand'", "rw,relatime", "!mand"},
    {"'iversion', 'noiversion'", "rw,relatime", NULL},
    {"'silent'", "rw,relatime", NULL},
    {"'loud'", "rw,relatime", NULL},
    {"'silent', 'loud'", "rw,relatime", NULL},
    {"'size=64k', 'nosuid', 'mode=0701', 'nodev'", "rw,nosuid,nodev,relatime", "size=64k"},
};

static const struct flags new_recursive_flags[] = {
    {"'rro'", "ro,relatime", "rw"}, /* The mount has the flag, and the superblock has not. */
    {"'rnosuid', 'rnoexec', 'rnoatime'", "rw,nosuid,noexec,noatime", NULL},
    {"'nosuid', 'rsuid'", "rw,relatime", NULL},
};

static rfs_plan *plan_of_new(const struct flags *list, size_t n)
{
    make_image();
    json_object *spec = empty_spec();
    for (size_t i = 0; i < n; i++)
        spec_add(spec, "mounts", "{'destination': '/%zu', 'type': 'tmpfs', 'source': 'new', 'options': [%s]}", i,
                 list[i].options);
    return plan_of(spec);
}

static void flags_of_new(void)
{
    run_container(plan_of_new(new_flags, COUNT(new_flags)), NULL, look_at_flags,
                  &(struct flags_test){new_flags, COUNT(new_flags), "- tmpfs new r*"});
}

static void recursive_flags_of_new(void)
{
    run_recursive(plan_of_new(new_recursive_flags, COUNT(new_recursive_flags)), 0, look_at_flags,
                  &(struct flags_test){new_recursive_flags, COUNT(new_recursive_flags), "- tmpfs new r*"});
}

static void inside_mand(void *data)
{
    (void)data;
    check_superblock("/mand", "mand");
}

/* Linux 5.15 and later ignore it, with a warning in the kernel's log, but show it. */
static void mandatory_locking(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", TMPFS("/mand", "'mand'"));
    run_container(plan_of(spec), NULL, inside_mand, NULL);
}

/* The source has no flag. */
static const struct flags bare_flags[] = {
    {"", "rw,relatime", NULL},
    {"'ro'", "ro,relatime", "rw"},
    {"'nosuid'", "rw,nosuid,relatime", NULL},
    {"'nodev'", "rw,nodev,relatime", NULL},
    {"'noexec'", "rw,noexec,relatime", NULL},
    {"'nosymfollow'", "rw,relatime,nosymfollow", NULL},
    {"'noatime'", "rw,noatime", NULL},
    {"'nodiratime'", "rw,nodiratime,relatime", NULL},
    {"'relatime'", "rw,relatime", NULL},
    {"'strictatime'", "rw", NULL},
    {"'ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'nosymfollow'",
     "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow", NULL},
    {"'ro', 'rw', 'nodev', 'dev', 'noexec', 'exec', 'nosuid', 'suid', 'nosymfollow', 'symfollow'", "rw,relatime", NULL},
    {"'noatime', 'atime', 'nodiratime', 'diratime'", "rw,relatime", NULL},
    {"'strictatime', 'nostrictatime'", "rw,relatime", NULL},
};

/* The source has all flags. The options replace them, except the mode of access times, which must be named. */
#define ATIMES "noatime,nodiratime"
static const struct flags full_flags[] = {
    {"", "ro,nosuid,nodev,noexec," ATIMES ",nosymfollow", NULL},
    {"'defaults'", "ro,nosuid,nodev,noexec," ATIMES ",nosymfollow", NULL},
    {"'private'", "ro,nosuid,nodev,noexec," ATIMES ",nosymfollow", NULL},
    {"'rw'", "rw," ATIMES, NULL},
    {"'suid'", "rw," ATIMES, NULL},
    {"'dev'", "rw," ATIMES, NULL},
    {"'exec'", "rw," ATIMES, NULL},
    {"'symfollow'", "rw," ATIMES, NULL},
    {"'atime'", "rw," ATIMES, NULL},
    {"'diratime'", "rw," ATIMES, NULL},
    {"'norelatime'", "rw," ATIMES, NULL},
    {"'nostrictatime'", "rw," ATIMES, NULL},
    {"'ro'", "ro," ATIMES, NULL},
    {"'nosuid', 'noexec'", "rw,nosuid,noexec," ATIMES, NULL},
    {"'ro', 'relatime'", "ro,relatime", NULL},
    {"'strictatime'", "rw", NULL},
    {"'noatime'", "rw,noatime", NULL},
    {"'nodiratime'", "rw,nodiratime,relatime", NULL},
    /* These ask for no flag of a mount, nor for one of a superblock. */
    {"'silent'", "ro,nosuid,nodev,noexec," ATIMES ",nosymfollow", NULL},
    {"'async', 'nolazytime', 'nomand', 'noiversion', 'loud'", "ro,nosuid,nodev,noexec," ATIMES ",nosymfollow", NULL},
};

static void bind_all(const struct flags *list, size_t n, unsigned long source_flags)
{
    make_image();
    make_directory(in_work("from"), 0755);
    REQUIRE(mount("source", in_work("from"), "tmpfs", source_flags & ~(unsigned long)MS_RDONLY, "mode=755") == 0);
    REQUIRE(mount(NULL, in_work("from"), NULL, MS_REMOUNT | MS_BIND | source_flags, NULL) == 0);
    json_object *spec = empty_spec();
    for (size_t i = 0; i < n; i++)
        spec_add(spec, "mounts", "{'destination': '/%zu', 'type': 'bind', 'source': '%s', 'options': ['bind'%s%s]}", i,
                 in_work("from"),
                 *list[i].options ? ", " : "", list[i].options);
    run_container(plan_of(spec), NULL, look_at_flags, &(struct flags_test){list, n, "- tmpfs source rw*"});
}

static void flags_of_bare_bind(void)
{
    bind_all(bare_flags, COUNT(bare_flags), 0);
}

#define MS_NOSYMFOLLOW_OF_KERNEL 256ul
#define ALL_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_NOSYMFOLLOW_OF_KERNEL)

static void flags_of_full_bind(void)
{
    bind_all(full_flags, COUNT(full_flags), ALL_FLAGS);
}

/* Recursive attributes: the same flags on a mount, on one below it, and on one below that. */
static const struct flags recursive_set[] = {
    {"", "rw,relatime", NULL},
    {"'rro'", "ro,relatime", NULL},
    {"'rnosuid'", "rw,nosuid,relatime", NULL},
    {"'rnodev'", "rw,nodev,relatime", NULL},
    {"'rnoexec'", "rw,noexec,relatime", NULL},
    {"'rnosymfollow'", "rw,relatime,nosymfollow", NULL},
    {"'rnodiratime'", "rw,nodiratime,relatime", NULL},
    {"'rnoatime'", "rw,noatime", NULL},
    {"'rstrictatime'", "rw", NULL},
    {"'rrelatime'", "rw,relatime", NULL},
    {"'rro', 'rrw'", "rw,relatime", NULL},
    {"'rrw', 'rro'", "ro,relatime", NULL},
    {"'rnoatime', 'rstrictatime'", "rw", NULL},
    {"'rstrictatime', 'rnoatime'", "rw,noatime", NULL},
    {"'rnoatime', 'rrelatime'", "rw,relatime", NULL},
    {"'rnosuid', 'rro', 'rnodev', 'rsuid', 'rnoexec'", "ro,nodev,noexec,relatime", NULL},
    {"'rro', 'rnosuid', 'rnodev', 'rnoexec', 'rnoatime', 'rnodiratime', 'rnosymfollow'",
     "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow", NULL},
    {"'ro', 'rrw'", "rw,relatime", NULL}, /* These come after the flags of the bind. */
};

static const struct flags recursive_clear[] = {
    {"", "ro,nosuid,nodev,noexec," ATIMES ",nosymfollow", NULL},
    {"'rrw'", "rw,nosuid,nodev,noexec," ATIMES ",nosymfollow", NULL},
    {"'rsuid'", "ro,nodev,noexec," ATIMES ",nosymfollow", NULL},
    {"'rdev'", "ro,nosuid,noexec," ATIMES ",nosymfollow", NULL},
    {"'rexec'", "ro,nosuid,nodev," ATIMES ",nosymfollow", NULL},
    {"'rsymfollow'", "ro,nosuid,nodev,noexec," ATIMES, NULL},
    {"'rdiratime'", "ro,nosuid,nodev,noexec,noatime,nosymfollow", NULL},
    {"'ratime'", "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow", NULL},
    {"'rrelatime'", "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow", NULL},
    {"'rnorelatime'", "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow", NULL},
    {"'rnostrictatime'", "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow", NULL},
    {"'rstrictatime'", "ro,nosuid,nodev,noexec,nodiratime,nosymfollow", NULL},
    {"'rrw', 'rsuid', 'rdev', 'rexec', 'ratime', 'rdiratime', 'rsymfollow'", "rw,relatime", NULL},
};

static void look_at_tree(void *data)
{
    const struct flags_test *test = data;
    static const char *const below[] = {"", "/sub", "/sub/deep"};
    for (size_t i = 0; i < test->n; i++) {
        for (size_t j = 0; j < COUNT(below); j++) {
            char pattern[512];
            snprintf(pattern, sizeof pattern, "/%zu%s / %s - tmpfs *", i, below[j], test->list[i].flags);
            if (!check_mount(pattern))
                note("... for options %s", test->list[i].options);
        }
    }
}

static void bind_tree(const struct flags *list, size_t n, unsigned long source_flags)
{
    make_image();
    const char *const tree[] = {in_work("from"), in_work("from/sub"), in_work("from/sub/deep")};
    for (size_t i = 0; i < COUNT(tree); i++) {
        make_directory(tree[i], 0755);
        REQUIRE(mount("source", tree[i], "tmpfs", 0, "mode=755") == 0);
    }
    for (size_t i = 0; i < COUNT(tree); i++)
        REQUIRE(mount(NULL, tree[i], NULL, MS_REMOUNT | MS_BIND | source_flags, NULL) == 0);
    json_object *spec = empty_spec();
    for (size_t i = 0; i < n; i++)
        spec_add(spec, "mounts", "{'destination': '/%zu', 'type': 'bind', 'source': '%s', 'options': ['rbind'%s%s]}", i,
                 in_work("from"),
                 *list[i].options ? ", " : "", list[i].options);
    /* The first mount has no flag. */
    run_recursive(plan_of(spec), 1, look_at_tree, &(struct flags_test){list, n, NULL});
}

static void recursive_setting(void)
{
    bind_tree(recursive_set, COUNT(recursive_set), 0);
}

static void recursive_clearing(void)
{
    bind_tree(recursive_clear, COUNT(recursive_clear), ALL_FLAGS);
}

/* Propagation: several options, one after the other, on a bind of a shared mount with another below it. */
static const struct propagation {
    const char *options, *top, *below;
} propagations[] = {
    {"'bind'", " shared", NULL},
    {"'rbind'", " shared", " shared"},
    {"'rbind', 'private'", "", " shared"},
    {"'rbind', 'rprivate'", "", ""},
    {"'rbind', 'slave'", " master", " shared"},
    {"'rbind', 'rslave'", " master", " master"},
    {"'rbind', 'unbindable'", " unbindable", " shared"},
    {"'rbind', 'runbindable'", " unbindable", " unbindable"},
    {"'rbind', 'rslave', 'shared'", " shared master", " master"},
    {"'rbind', 'rslave', 'rshared'", " shared master", " shared master"},
    {"'rbind', 'rshared', 'rslave'", " master", " master"},
    {"'rbind', 'rprivate', 'rshared'", " shared", " shared"},
    {"'rbind', 'runbindable', 'private'", "", " unbindable"},
    {"'rbind', 'rslave', 'private', 'ro'", "", " master"},
};

static void look_at_propagation(void *data)
{
    (void)data;
    for (size_t i = 0; i < COUNT(propagations); i++) {
        const struct propagation *p = &propagations[i];
        char pattern[200];
        snprintf(pattern, sizeof pattern, "/%zu / r?,relatime%s - tmpfs volume rw*", i, p->top);
        bool ok = check_mount(pattern);
        snprintf(pattern, sizeof pattern, "/%zu/sub / rw,relatime%s - tmpfs volume rw*", i, p->below ? p->below : "");
        if (p->below)
            ok &= check_mount(pattern);
        if (!ok)
            note("... for options %s", p->options);
    }
}

static void propagation_in_order(void)
{
    make_image();
    const char *const tree[] = {in_work("from"), in_work("from/sub")};
    for (size_t i = 0; i < COUNT(tree); i++) {
        make_directory(tree[i], 0755);
        REQUIRE(mount("volume", tree[i], "tmpfs", 0, "mode=755") == 0);
        REQUIRE(mount(NULL, tree[i], NULL, MS_SHARED, NULL) == 0);
    }
    json_object *spec = empty_spec();
    spec_set(spec, "linux.rootfsPropagation", "'private'"); /* The mounts outside stay as they are. */
    for (size_t i = 0; i < COUNT(propagations); i++)
        spec_add(spec, "mounts", "{'destination': '/%zu', 'type': 'bind', 'source': '%s', 'options': [%s]}", i,
                 in_work("from"), propagations[i].options);
    run_container(plan_of(spec), NULL, look_at_propagation, NULL);
}

/* crun's options for symbolic links. */

static void check_link(const char *path, const char *target)
{
    char text[256];
    ssize_t n = readlink(path, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    CHECK_THAT(strcmp(text, target) == 0, "%s -> \"%s\", expected \"%s\"", path, text, target);
}

static void inside_copied_links(void *data)
{
    (void)data;
    check_link("/absolute", "/etc/target");
    check_link("/relative", "file");
    check_link("/dangling", "/nowhere/../at/all");
    check_link("/new/parents/link", "file");
    check_link("/same", "file");
    check_link("/data/through", "file");
    static const char *const links[] = {"/absolute", "/relative", "/dangling", "/new/parents/link", "/same",
                                        "/data/through"};
    for (size_t i = 0; i < COUNT(links); i++)
        check_no_mount(links[i]);
    struct stat st;
    CHECK(lstat("/plain", &st) == 0 && S_ISREG(st.st_mode));
    check_mount("/plain /from/file ro,relatime - tmpfs test rw*");
    check_mount("/directory /from rw,relatime - tmpfs test rw*");
    CHECK(stat("/new/parents", &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0755);
}

static void copy_symlink(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    REQUIRE(symlink("/etc/target", in_work("from/absolute")) == 0 && symlink("file", in_work("from/relative")) == 0 &&
            symlink("/nowhere/../at/all", in_work("from/dangling")) == 0);
    image_link("file", "same");
    image_link("/data", "alias");
    json_object *spec = empty_spec();
#define COPIED "'bind', 'copy-symlink', 'ro'"
    spec_add(spec, "mounts", BIND("from/absolute", "/absolute", COPIED));
    spec_add(spec, "mounts", BIND("from/relative", "/relative", COPIED));
    spec_add(spec, "mounts", BIND("from/dangling", "/dangling", COPIED));
    spec_add(spec, "mounts", BIND("from/relative", "/new/parents/link", COPIED));
    spec_add(spec, "mounts", BIND("from/relative", "/same", COPIED));
    spec_add(spec, "mounts", BIND("from/relative", "/alias/through", COPIED));
    spec_add(spec, "mounts", BIND("from/file", "/plain", COPIED));
    spec_add(spec, "mounts", BIND("from", "/directory", "'rbind', 'copy-symlink'"));
    run_container(plan_of(spec), NULL, inside_copied_links, NULL);
    CHECK(access("/data/through", F_OK) == -1);
}

static void copy_symlink_refused(void)
{
    static const struct {
        const char *what, *destination, *source;
        int code;
    } list[] = {
        {"another link there", "/other", "relative", -EEXIST},
        {"a longer link there", "/longer", "relative", -EEXIST},
        {"a file there", "/file", "relative", -EEXIST},
        {"a directory there", "/etc", "relative", -EEXIST},
        {"no source", "/new", "missing", -ENOENT},
    };
    make_image();
    make_file(in_work("from/file"), "x");
    REQUIRE(symlink("file", in_work("from/relative")) == 0);
    image_link("other", "other");
    image_link("file2", "longer");
    image_file("file", "x");
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts",
                 "{'destination': '%s', 'type': 'bind', 'source': '%s/from/%s', 'options': ['bind', 'copy-symlink']}",
                 list[i].destination, work, list[i].source);
        run_refused(list[i].what, plan_of(spec), NULL,
                    &(struct expected){.code = list[i].code, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                       .index = 0, .says = "mounts[0]"});
    }
    CHECK(access(image("new"), F_OK) == -1); /* No mount point is made for a source that can't be mounted. */
}

static void inside_link_sources(void *data)
{
    (void)data;
    check_mount("/followed /from/file rw,relatime - tmpfs test rw*");
    check_mount("/bound /from/link rw,relatime - tmpfs test rw*");
    check_mount("/dangling /from/dangling rw,relatime - tmpfs test rw*");
    check_mount("/plain /from/file rw,relatime - tmpfs test rw*");
    check_link("/bound", "file");
    check_link("/dangling", "/nowhere");
    check_link("/list/link", "file");
    struct stat st;
    CHECK(lstat("/followed", &st) == 0 && S_ISREG(st.st_mode));
    CHECK(lstat("/plain", &st) == 0 && S_ISREG(st.st_mode));
}

static void source_nofollow(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    REQUIRE(symlink("file", in_work("from/link")) == 0 && symlink("/nowhere", in_work("from/dangling")) == 0);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from/link", "/followed", "'bind'"));
    spec_add(spec, "mounts", BIND("from/link", "/bound", "'bind', 'src-nofollow'"));
    spec_add(spec, "mounts", BIND("from/dangling", "/dangling", "'bind', 'src-nofollow'"));
    spec_add(spec, "mounts", BIND("from/file", "/plain", "'bind', 'src-nofollow'"));
    spec_add(spec, "mounts", BIND("from", "/list", "'bind', 'src-nofollow'"));
    run_container(plan_of(spec), NULL, inside_link_sources, NULL);
}

static void inside_link_targets(void *data)
{
    (void)data;
    check_mount("/link /from/file ro,relatime - tmpfs test rw*"); /* The mount lies on the link itself. */
    check_no_mount("/data/file");
    check_mount("/data/dangling /from/file rw,relatime - tmpfs test rw*");
    check_mount("/data/plain /from/file rw,relatime - tmpfs test rw*");
    check_mount("/both /from/link rw,relatime - tmpfs test rw*");
    struct stat st;
    CHECK(lstat("/link", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 5);
    CHECK(stat("/data/file", &st) == 0 && st.st_size == 1);
    CHECK(access("/nowhere", F_OK) == -1);
    check_link("/both", "file");
}

static void destination_nofollow(void)
{
    make_image();
    make_file(in_work("from/file"), "hello");
    REQUIRE(symlink("file", in_work("from/link")) == 0);
    image_file("data/file", "x");
    image_file("data/plain", "x");
    image_link("data/file", "link");
    image_link("/nowhere", "data/dangling");
    image_link("data", "alias"); /* A link on the way is followed. */
    image_link("data/file", "both");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from/file", "/link", "'bind', 'dest-nofollow', 'ro'"));
    spec_add(spec, "mounts", BIND("from/file", "/alias/dangling", "'bind', 'dest-nofollow'"));
    spec_add(spec, "mounts", BIND("from/file", "/data/plain", "'bind', 'dest-nofollow'"));
    spec_add(spec, "mounts", BIND("from/link", "/both", "'bind', 'src-nofollow', 'dest-nofollow'"));
    run_container(plan_of(spec), NULL, inside_link_targets, NULL);
    CHECK(access("/nowhere", F_OK) == -1 && access(image("nowhere"), F_OK) == -1);
}

static void destination_nofollow_refused(void)
{
    static const struct {
        const char *what, *destination;
        int code;
        const char *says;
    } list[] = {
        {"nothing there", "/missing", -ENOENT, "dest-nofollow"},
        {"no parent there", "/missing/too", -ENOENT, "dest-nofollow"},
        {"below /proc through a link", "/link/sys", -EINVAL, "below /proc"},
    };
    make_image();
    make_file(in_work("from/file"), "hello");
    image_directory("proc/sys", 0755);
    image_link("proc", "link");
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts",
                 "{'destination': '%s', 'type': 'bind', 'source': '%s/from/file', 'options': ['bind', "
                 "'dest-nofollow']}",
                 list[i].destination, work);
        run_refused(list[i].what, plan_of(spec), NULL,
                    &(struct expected){.code = list[i].code, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                       .index = 0,
                                       .says = "mounts[0]", .says_too = list[i].says});
    }
    CHECK(access(image("missing"), F_OK) == -1);
}

/* LXC's options. */

static void inside_optional(void *data)
{
    (void)data;
    check_mount("/before / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/after / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/there /from rw,relatime - tmpfs test rw*");
    static const char *const passed_over[] = {"/missing", "/unknown", "/data", "/loop", "/parameter"};
    for (size_t i = 0; i < COUNT(passed_over); i++)
        check_no_mount(passed_over[i]);
    CHECK(access("/missing", F_OK) == -1 && errno == ENOENT);
    static const char *const warnings[] = {"W: optional, and passed over: mounts[1] (/missing)",
                                           "W: optional, and passed over: mounts[2] (/unknown)",
                                           "W: optional, and passed over: mounts[3] (/data)",
                                               "W: optional, and passed over: mounts[4] (/loop)",
                                           "Unknown parameter 'nosuchopt'"};
    for (size_t i = 0; i < COUNT(warnings); i++)
        CHECK_THAT(strstr(logged, warnings[i]), "not logged: \"%s\" in: %s", warnings[i], logged);
    CHECK_THAT(!strstr(logged, "mounts[6]") && !strstr(logged, "mounts[7]"), "logged: %s", logged);
}

static void optional(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    image_file("data", "x");
    image_link("loop", "loop");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", TMPFS("/before", ""));
    spec_add(spec, "mounts", BIND("missing", "/missing", "'bind', 'optional'"));
    spec_add(spec, "mounts", "{'destination': '/unknown', 'type': 'nosuchfs', 'source': 'x', 'options': ['optional']}");
    spec_add(spec, "mounts", TMPFS("/data", "'optional'"));
    spec_add(spec, "mounts", TMPFS("/loop", "'optional'"));
    spec_add(spec, "mounts", TMPFS("/parameter", "'optional', 'nosuchopt'"));
    spec_add(spec, "mounts", BIND("from", "/there", "'bind', 'optional'"));
    spec_add(spec, "mounts", TMPFS("/after", ""));
    run_container(plan_of(spec), &with_log, inside_optional, NULL);
}

static void inside_created(void *data)
{
    (void)data;
    struct stat st;
    check_mount("/new/file /from/file rw,relatime - tmpfs test rw*");
    check_mount("/new/dir /from rw,relatime - tmpfs test rw*");
    check_mount("/new/tmpfs / rw,relatime - tmpfs tmpfs rw*");
    check_mount("/old/file /from/file rw,relatime - tmpfs test rw*");
    check_mount("/old/dir /from rw,relatime - tmpfs test rw*");
    CHECK(stat("/new", &st) == 0 && (st.st_mode & 07777) == 0755);
    REQUIRE(umount2("/new/file", MNT_DETACH) == 0 && umount2("/new/dir", MNT_DETACH) == 0);
    CHECK(lstat("/new/file", &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0644 && st.st_size == 0);
    CHECK(lstat("/new/dir", &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0755);
}

static void create(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    image_file("old/file", "old");
    image_directory("old/dir", 0700);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from/file", "/new/file", "'bind', 'create=file'"));
    spec_add(spec, "mounts", BIND("from", "/new/dir", "'bind', 'create=dir'"));
    spec_add(spec, "mounts", TMPFS("/new/tmpfs", "'create=dir'"));
    spec_add(spec, "mounts", BIND("from/file", "/old/file", "'bind', 'create=file'"));
    spec_add(spec, "mounts", BIND("from", "/old/dir", "'bind', 'create=file', 'create=dir'"));
    run_container(plan_of(spec), NULL, inside_created, NULL);
}

static void create_refused(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from", "/new", "'bind', 'create=file'"));
    run_refused("a directory on a file", plan_of(spec), NULL,
                &(struct expected){.code = -ENOTDIR, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT, .index = 0,
                                   .says = "but the destination is a file"});
    spec = empty_spec();
    spec_add(spec, "mounts", BIND("from/file", "/new2", "'bind', 'create=dir'"));
    run_refused("a file on a directory", plan_of(spec), NULL,
                &(struct expected){.code = -ENOTDIR, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT, .index = 0,
                                   .says = "but the destination is a directory"});
}

static void inside_not_planned(void *data)
{
    (void)data;
    check_mount("/after / rw,relatime - tmpfs tmpfs rw*");
    static const char *const warnings[] = {"optional, and passed over: mounts[0] (/proc/sys/fs/binfmt_misc): nothing "
                                           "may be mounted below /proc",
                                           "optional, and passed over: mounts[2] (/nothing): type: missing"};
    for (size_t i = 0; i < COUNT(warnings); i++)
        CHECK_THAT(strstr(logged, warnings[i]), "not logged: \"%s\" in: %s", warnings[i], logged);
}

/* An optional mount that the plan refuses is passed over too, and the other mounts keep their index. */
static void optional_not_planned(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts",
             "{'destination': '/proc/sys/fs/binfmt_misc', 'type': 'bind', 'source': '/proc/sys/fs/binfmt_misc', "
             "'options': ['rbind', 'optional']}");
    spec_add(spec, "mounts", TMPFS("/after", ""));
    spec_add(spec, "mounts", "{'destination': '/nothing', 'options': ['optional']}");
    spec_add(spec, "mounts", BIND("", "/bound", "'bind'"));
    rfs_plan *plan = plan_of(spec);
    CHECK(rfs_plan_mountfd_needed(plan, 0) == RFS_MOUNTFD_NEVER
          && rfs_plan_mountfd_needed(plan, 2) == RFS_MOUNTFD_NEVER);
    CHECK(rfs_plan_mountfd_needed(plan, 3) == RFS_MOUNTFD_POSSIBLY && rfs_plan_mountfd_needed(plan, 4) == -EINVAL);
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_mountfd_open(plan, 0, -1, -1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_MOUNTFD,
                .object = RFS_OBJECT_MOUNT, .index = 0);
    run_container(plan, &with_log, inside_not_planned, NULL);

    spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/nothing', 'options': ['optional']}");
    spec_add(spec, "mounts", BIND("missing", "/bound", "'bind'"));
    run_refused("after an optional mount that was not planned", plan_of(spec), NULL,
                &(struct expected){.code = -ENOENT, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT, .index = 1,
                                   .says = "mounts[1] (/bound)"});
}

/* Mounts that a plan refuses before anything has been touched. */
static void contradictions(void)
{
    static const struct {
        const char *mount, *says;
    } list[] = {
        {"{'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['copy-symlink', 'src-nofollow']}",
         "copy-symlink"},
        {"{'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['copy-symlink', 'dest-nofollow']}",
         "copy-symlink"},
        {TMPFS("/x", "'copy-symlink'"), "copy-symlink"},
        {TMPFS("/x", "'src-nofollow'"), "src-nofollow"},
        {TMPFS("/x", "'create=file'"), "create=file"},
        {TMPFS("/x", "'remount'"), "remount"},
        {"{'destination': '/x', 'type': 'tmpfs', 'source': 't', 'options': ['iversion'], 'uidMappings': "
         "[{'containerID': 0, 'hostID': 1000, 'size': 1}], 'gidMappings': [{'containerID': 0, 'hostID': 1000, 'size': "
         "1}]}",
         "has no \"iversion\""},
        {TMPFS("/x", "'idmap'"), "container has none"},
        {TMPFS("/x", "'ridmap'"), "container has none"},
        {"{'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['bind', 'idmap']}", "idmap"},
        {"{'destination': '/x', 'type': 'bind', 'source': '/etc', 'options': ['bind', 'ridmap']}", "idmap"},
        {"{'destination': '/x', 'type': 'sysfs', 'source': 'x', 'options': ['tmpcopyup']}", "tmpcopyup"},
        {TMPFS("/x", "'=1'"), "name"},
        {TMPFS("/x", "'size='"), "value"},
        {"{'destination': '/x', 'options': ['ro']}", "type"},
        {"{'destination': '/x', 'type': 'bind', 'options': ['ro']}", "source"},
    };
    make_image();
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", TMPFS("/ok", ""));
        spec_add(spec, "mounts", "%s", list[i].mount);
        refuse_plan(list[i].mount, spec,
                    &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_PLAN, .object = RFS_OBJECT_MOUNT, .index = 1,
                                       .says = "mounts[1]", .says_too = list[i].says});
    }
}

/* More than the 255 bytes that fsconfig(2) takes. */
static char long_name[240];

static void inside_only_mount(void *data)
{
    (void)data;
    char path[sizeof long_name + 20];
    snprintf(path, sizeof path, "/merged/%s", "lower-file");
    CHECK(access(path, F_OK) == 0 && access("/merged/second", F_OK) == 0);
    check_mount("/versions / rw,relatime - tmpfs versions rw*");
    check_mount("/flags / ro,nosuid,nodev,noexec,relatime - tmpfs flags rw*,size=64k*");
    check_mount("/bound /from ro,relatime - tmpfs test rw*");
}

static void inside_only_mount_recursive(void *data)
{
    (void)data;
    check_mount("/all /from ro,nosuid,relatime - tmpfs test rw*");
}

static void only_mount(void)
{
    make_image();
    memset(long_name, 'l', sizeof long_name - 1);
    make_directory(in_work("%s", long_name), 0755);
    make_directory(in_work("%s2", long_name), 0755);
    make_file(in_work("%s/lower-file", long_name), "x");
    make_file(in_work("%s2/second", long_name), "x");
    make_directory(in_work("from"), 0755);
    static const char versions[] = "{'destination': '/versions', 'type': 'tmpfs', 'source': 'versions', 'options': "
                                   "['iversion']}";
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", versions);
    spec_add(spec, "mounts",
             "{'destination': '/merged', 'type': 'overlay', 'source': 'overlay', 'options': ['lowerdir=%s/%s:%s/%s2']}",
                 work,
             long_name, work, long_name);
    rfs_plan *plan = plan_of(json_object_get(spec));
    char *steps = describe(plan);
    CHECK_THAT(strstr(steps, "\"mount2\":true") && !strstr(steps, "\"classic_mount\":true"), "%s", steps);
    free(steps);
    rfs_plan_free(plan);
    /* The other mounts are made in the usual way. */
    spec_add(spec, "mounts",
             "{'destination': '/flags', 'type': 'tmpfs', 'source': 'flags', 'options': ['size=64k', 'nosuid', 'nodev', "
             "'noexec', 'ro']}");
    spec_add(spec, "mounts", BIND("from", "/bound", "'bind', 'ro'"));
    run_container(plan_of(spec), NULL, inside_only_mount, NULL);
    spec = empty_spec();
    spec_add(spec, "mounts", versions);
    spec_add(spec, "mounts", BIND("from", "/all", "'rbind', 'rro', 'rnosuid'"));
    run_recursive(plan_of(spec), 1, inside_only_mount_recursive, NULL);
}

static void too_long(void)
{
    json_object *spec = empty_spec();
    char *many = malloc(4200);
    REQUIRE(many);
    memset(many, 'x', 4199);
    many[4199] = 0;
    spec_add(spec, "mounts", "{'destination': '/x', 'type': 'overlay', 'source': 'o', 'options': ['lowerdir=/%s']}",
             many);
    free(many);
    make_image();
    refuse_plan("more than a page", spec,
                &(struct expected){.code = -E2BIG, .stage = RFS_STAGE_PLAN, .object = RFS_OBJECT_MOUNT, .index = 0,
                                   .says = "more than mount(2) takes"});
}

/* Some file systems do not write to the fsopen(2) descriptor which option they refuse. */
static bool kernel_names(const char *type, const char *option)
{
    char text[256] = "";
    int fd = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    if (is_refused(fd))
        return true; /* The library can't read the message either. */
    REQUIRE_THAT(fd >= 0, "fsopen %s", type);
    CHECK(syscall(SYS_fsconfig, fd, FSCONFIG_SET_FLAG, option, NULL, 0) != 0 ||
          syscall(SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0);
    bool named = read(fd, text, sizeof text - 1) > 0 && strstr(text, option);
    close(fd);
    return named;
}

static void unknown(void)
{
    struct {
        const char *mount, *says;
        int code;
    } list[] = {
        {TMPFS("/x", "'nosuchopt'"), "(the kernel says: tmpfs: Unknown parameter 'nosuchopt')", -EINVAL},
        {TMPFS("/x", "'nosuchopt=5'"), "(the kernel says: tmpfs: Unknown parameter 'nosuchopt')", -EINVAL},
        {TMPFS("/x", "'rosuid'"), "(the kernel says: tmpfs: Unknown parameter 'rosuid')", -EINVAL},
        {TMPFS("/x", "'RO'"), "(the kernel says: tmpfs: Unknown parameter 'RO')", -EINVAL},
        {TMPFS("/x", "'create=link'"), "(the kernel says: tmpfs: Unknown parameter 'create')", -EINVAL},
        {TMPFS("/x", "'size=many'"), "(the kernel says: tmpfs: Bad value for 'size')", -EINVAL},
        {"{'destination': '/x', 'type': 'devpts', 'source': 'd', 'options': ['nosuchopt']}",
         kernel_names("devpts", "nosuchopt") ? "nosuchopt" : "fsconfig devpts", -EINVAL},
        {"{'destination': '/x', 'type': 'nosuchfs', 'source': 'd'}", "the kernel knows no file system of this type",
         -ENODEV},
    };
    make_image();
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", "%s", list[i].mount);
        run_refused(list[i].mount, plan_of(spec), NULL,
                    &(struct expected){.code = list[i].code, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT,
                                       .index = 0, .says = "mounts[0] (/x)",
                                       .says_too = list[i].says});
    }
}

static void inside_ignored(void *data)
{
    (void)data;
    check_mount("/x /from rw,relatime - tmpfs test rw*");
    static const char *const options[] = {"nocopy", "mode=777", "copy"};
    for (size_t i = 0; i < COUNT(options); i++) {
        char warning[100];
        snprintf(warning, sizeof warning, "W: mounts[0]: the option \"%s\" means nothing for a bind", options[i]);
        CHECK_THAT(strstr(logged, warning), "not logged: \"%s\" in: %s", warning, logged);
    }
}

/* Options that engines write although they mean nothing. */
static void ignored_of_bind(void)
{
    make_image();
    make_directory(in_work("from"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", BIND("from", "/x", "'bind', 'nocopy', 'mode=777', 'copy'"));
    run_container(plan_of(spec), &with_log, inside_ignored, NULL);
}

/* Ignored, most of these would leave a mount writable that was to be read-only. */
static void meaningless_of_bind(void)
{
    static const struct {
        const char *option, *says;
    } list[] = {
        {"rbind,ro", "options[1]: \"rbind,ro\" means nothing for a bind; probably meant: \"rbind\", \"ro\", each an "
                     "option of its own"},
        {"ro,nosuid", "probably meant: \"ro\", \"nosuid\""},
        {"readonly", "options[1]: \"readonly\" means nothing for a bind; probably meant: \"ro\""},
        {" ro", "options[1]: \" ro\" means nothing for a bind; probably meant: \"ro\""},
        {"ro ", "probably meant: \"ro\""},
        {"RO", "probably meant: \"ro\""},
        {"rroo", "probably meant: \"rro\""},
        {"nosiud", "probably meant: \"nosuid\""},
        {"", "options[1]: \"\" is empty"},
        {"nonsense", "means nothing for a bind; leave it out"},
        {"nonsense=5", "means nothing for a bind; leave it out"},
        {"size=5", "means nothing for a bind; leave it out"},
        {"uid=5", "means nothing for a bind; leave it out"},
        {"mode", "means nothing for a bind"},
        {"tmpcopyup", "\"tmpcopyup\" is for a tmpfs only"},
        {"sync", "\"sync\" is for a new file system"},
        {"lazytime", "\"lazytime\" is for a new file system"},
    };
    make_image();
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", "{'destination': '/x', 'type': 'none', 'source': '/etc', 'options': ['bind', '%s']}",
                 list[i].option);
        refuse_plan(list[i].option, spec,
                    &(struct expected){.code = -EINVAL, .stage = RFS_STAGE_PLAN, .object = RFS_OBJECT_MOUNT, .index = 0,
                                       .says = "mounts[0] (/x)",
                                       .says_too = list[i].says});
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"flags of a new file system, set and cleared", flags_of_new},
        {"recursive flags of a new file system", recursive_flags_of_new},
        {"mand", mandatory_locking},
        {"flags of a bind of a mount without any", flags_of_bare_bind},
        {"flags of a bind of a mount with all", flags_of_full_bind},
        {"recursive attributes set", recursive_setting},
        {"recursive attributes cleared", recursive_clearing},
        {"propagation: several, in order", propagation_in_order},
        {"copy-symlink", copy_symlink},
        {"copy-symlink: refused", copy_symlink_refused},
        {"src-nofollow", source_nofollow},
        {"dest-nofollow", destination_nofollow},
        {"dest-nofollow: refused", destination_nofollow_refused},
        {"optional", optional},
        {"optional: refused by the plan", optional_not_planned},
        {"create=file, create=dir", create},
        {"create=: refused", create_refused},
        {"options that the plan refuses", contradictions},
        {"options that only mount(2) takes", only_mount},
        {"options that are too long", too_long},
        {"unknown options and file systems", unknown},
        {"options that engines give a bind", ignored_of_bind},
        {"options that mean nothing for a bind", meaningless_of_bind},
    };
    return run_cases(cases, COUNT(cases));
}
