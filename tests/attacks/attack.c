/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "attack.h"
#include "filter.h"
#include "intervene.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const struct {
    const char *name;
    uint64_t flags;
    bool without_openat2;
} ways[] = {
    {"the new calls", 0, false},
    {"mount(2)", RFS_OPTION_CLASSIC_MOUNT, false},
    {"no openat2", 0, true},
};

static const char *const outcomes[] = {
    [SUCCEEDS] = "contained", [IS_REFUSED] = "refused", [EITHER] = "contained or refused"};

/* What the processes of one attack tell one another. */
static struct {
    int rc;
    bool has_acted, won;
    char message[1024];
} *shared;

static const struct attack *all_attacks, *attack;

const char *host(const char *path)
{
    return in_work("host%s%s", *path ? "/" : "", path);
}

static void make_host(void)
{
    make_directory(host("empty"), 0755);
    make_directory(host("dev/ptmx"), 0755);
    make_file(host("secret"), "the host's secret");
    make_file(host("etc/passwd"), "root:x:0:0\n");
    make_directory(in_work("volume"), 0755);
}

/* Not what is mounted there: device is that of the top, 0 for the top itself. */
static void list_into(FILE *out, const char *path, dev_t device)
{
    struct stat st;
    REQUIRE(lstat(path, &st) == 0);
    fprintf(out, "%s %lu %o %u:%u %ld %lx %ld.%09ld %ld.%09ld", path, st.st_ino, st.st_mode, st.st_uid, st.st_gid,
        (long)st.st_size,
            st.st_rdev, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    if (S_ISREG(st.st_mode)) {
        char *text = read_all(AT_FDCWD, path);
        fprintf(out, " %s", text);
        free(text);
    }
    fputc('\n', out);
    if (!S_ISDIR(st.st_mode) || (device != 0 && st.st_dev != device))
        return;
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    REQUIRE(n >= 0);
    for (int i = 0; i < n; i++) {
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, names[i]->d_name);
        if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0)
            list_into(out, below, st.st_dev);
        free(names[i]);
    }
    free(names);
}

char *snapshot(const char *path)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    list_into(out, path, 0);
    fclose(out);
    return text;
}

/* ---- The naive runtime ---- */

static void naive_make_parents(char *path)
{
    for (char *slash = strchr(path + strlen(image("")), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
}

static const char *naive_target(const char *target, bool is_file)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", image(""), target);
    naive_make_parents(path);
    if (is_file)
        close(open(path, O_CREAT | O_RDONLY, 0644));
    else {
        mkdir(path, 0755);
        /* A link that leads to nothing: what it leads to is made. */
        char to[4096];
        ssize_t n = readlink(path, to, sizeof to - 1);
        if (n > 0) {
            to[n] = '\0';
            mkdir(to, 0755);
        }
    }
    return path;
}

void naive_mount(const char *type, const char *source, const char *target, unsigned long flags)
{
    CHECK_THAT(mount(source, naive_target(target, false), type, flags, NULL) == 0, "%s: %s", target, strerror(errno));
}

void naive_bind_file(const char *source, const char *target)
{
    mount(source, naive_target(target, true), NULL, MS_BIND, NULL);
}

void naive_node(const char *path)
{
    mknod(naive_target(path, true), S_IFCHR | 0666, makedev(1, 3));
}

void naive_devices(void)
{
    static const char *const names[] = {"null", "zero", "full"};
    for (size_t i = 0; i < COUNT(names); i++)
        mknod(in_work("bundle/rootfs/dev/%s", names[i]), S_IFCHR | 0666, makedev(1, 3));
    const char *ptmx = image("dev/ptmx");
    if (unlink(ptmx) != 0)
        rmdir(ptmx);
    CHECK(symlink("pts/ptmx", ptmx) == 0);
    CHECK(symlink("/proc/self/fd", image("dev/fd")) == 0 || errno == EEXIST);
}

void naive_mask(const char *path)
{
    const char *target = in_work("bundle/rootfs/%s", path);
    struct stat st;
    if (stat(target, &st) != 0)
        return;
    if (S_ISDIR(st.st_mode))
        mount("tmpfs", target, "tmpfs", MS_RDONLY, NULL);
    else
        mount(image("dev/null"), target, NULL, MS_BIND, NULL);
}

bool begins_with(const char *root, const char *path, const char *text)
{
    char full[4096], there[64] = "";
    snprintf(full, sizeof full, "%s/%s", root, path);
    int fd = open(full, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, there, sizeof there - 1);
    close(fd);
    return n >= 0 && (size_t)n >= strlen(text) && memcmp(there, text, strlen(text)) == 0;
}

/* ---- One attack ---- */

/* A mount of this namespace that lies neither in the image nor where it was before. */
static bool has_mount_outside(const char *before)
{
    char *now = read_all(host_proc, "self/mountinfo"), *rest = NULL;
    bool found = false;
    for (char *line = strtok_r(now, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char mountpoint[4096];
        size_t n = strlen(image(""));
        REQUIRE(sscanf(line, "%*s %*s %*s %*s %4095s", mountpoint) == 1);
        while (n > 0 && image("")[n - 1] == '/')
            n--;
        if (strncmp(mountpoint, image(""), n) != 0 && !strstr(before, line))
            found = true;
    }
    free(now);
    return found;
}

static void naive_process(void *data)
{
    (void)data;
    REQUIRE(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0);
    char *before = read_all(host_proc, "self/mountinfo"), *then = snapshot(host(""));
    REQUIRE(mount(image(""), image(""), NULL, MS_BIND | MS_REC, NULL) == 0);
    attack->naive();
    char *now = snapshot(host(""));
    shared->won = strcmp(then, now) != 0 || has_mount_outside(before) || (attack->won && attack->won(image("")));
    free(before);
    free(then);
    free(now);
}

static int act(const struct seccomp_notif *call)
{
    if (attack->at && strcmp(string_argument(call, 1), attack->at) != 0)
        return 0;
    shared->has_acted = true;
    attack->outside();
    return 0;
}

static int waiting[2], acted[2];
static size_t planned; /* mounts */

/* A process outside of the container that acts when it is told to. */
static void somebody_outside(void)
{
    char byte;
    REQUIRE(pipe2(waiting, O_CLOEXEC) == 0 && pipe2(acted, O_CLOEXEC) == 0);
    if (fork() == 0) {
        close(waiting[1]);
        if (read(waiting[0], &byte, 1) == 1) {
            attack->outside();
            if (write(acted[1], "", 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    close(waiting[0]);
}

static int bind_console(rfs_container *container, int root, rfs_error *err)
{
    int master = openat(root, root < 0 ? "/pts/ptmx" : "pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), pty = -1;
    REQUIRE(master >= 0 && unlockpt(master) == 0);
    REQUIRE((pty = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) >= 0);
    return rfs_bind_console(container, pty, err);
}

static int give_console(void *userdata, rfs_point point)
{
    (void)userdata;
    rfs_error err = fresh_error();
    if (point != RFS_POINT_MOUNTS_READY)
        return 0;
    return bind_console(this_container, rfs_container_root_fd(this_container), &err);
}

/* A mount of the plan that is not in the container's root lies elsewhere: on the host's, before the switch. */
static bool has_all_mounts(void)
{
    char *table = read_all(host_proc, "self/mountinfo");
    size_t mounts = 0;
    for (const char *end = table; (end = strchr(end, '\n')); end++)
        mounts++;
    free(table);
    return mounts > planned;
}

static void our_process(void *data)
{
    const bool *without_openat2 = data;
    char byte;
    rfs_error err = fresh_error();
    if (*without_openat2)
        REQUIRE(filter_refuse(SYS_openat2, ENOSYS) == 0);
    const rfs_callbacks callbacks = {.size = sizeof callbacks, .point = give_console};
    shared->rc = rfs_prepare(this_container, attack->early_console ? &callbacks : NULL, &err);
    if (attack->outside && attack->calls[0] == 0)
        REQUIRE(write(waiting[1], "", 1) == 1 && read(acted[0], &byte, 1) == 1);
    if (shared->rc == 0 && attack->console)
        shared->rc = bind_console(this_container, AT_FDCWD, &err);
    if (shared->rc == 0)
        shared->rc = rfs_finalize(this_container, &err);
    if (shared->rc == 0)
        shared->won = !has_all_mounts() || (attack->won && attack->won(""));
    else
        snprintf(shared->message, sizeof shared->message, "%s", err.message);
}

static void run_ours(size_t way)
{
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    json_object *spec = empty_spec();
    if (attack->console || attack->early_console)
        spec_add(spec, "mounts",
                 "{'destination': '/pts', 'type': 'devpts', 'source': 'devpts', "
                 "'options': ['newinstance', 'ptmxmode=0666']}");
    if (attack->spec)
        attack->spec(spec);
    json_object *mounts = json_object_object_get(spec, "mounts");
    planned = (mounts ? json_object_array_length(mounts) : 0) + (attack->fstab != NULL);
    rfs_config *config = config_from_json(spec);
    json_object_put(spec);
    rfs_options options = {.size = sizeof options, .flags = ways[way].flags | attack->flags};
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    char *then = snapshot(host("")), *table = read_all(host_proc, "self/mountinfo");
    shared->rc = attack->fstab ? rfs_config_add_fstab(config, attack->fstab(), NULL, NULL, &err) : 0;
    if (shared->rc == 0)
        shared->rc = rfs_plan_new(config, &plan, &err);
    if (shared->rc == 0) {
        this_container = container_of(plan);
        if (attack->source)
            REQUIRE_SUCCESS(rfs_container_set_source_fd(this_container, 0, attack->source(), &err), &err);
        if (attack->outside && attack->calls[0] != 0) {
            size_t n = 0;
            while (n < COUNT(attack->calls) && attack->calls[n] != 0)
                n++;
            intervene(attack->calls, n, act);
        } else if (attack->outside) {
            somebody_outside();
        }
        in_child(CONTAINER_NAMESPACES, our_process, (void *)(uintptr_t)&ways[way].without_openat2);
        CHECK_THAT(!attack->outside || attack->calls[0] == 0 || shared->has_acted, "nobody acted");
    } else {
        snprintf(shared->message, sizeof shared->message, "%s", err.message);
    }
    char *now = snapshot(host("")), *table_now = read_all(host_proc, "self/mountinfo");
    CHECK_THAT(strcmp(then, now) == 0, "%s: the host was changed: %.400s", ways[way].name, now);
    CHECK_THAT(strcmp(table, table_now) == 0, "%s: the host's mounts were changed: %.400s", ways[way].name, table_now);
    CHECK_THAT(!shared->won, "%s: the attack has got what it is for", ways[way].name);
    if (shared->rc == 0)
        CHECK_THAT(attack->outcome != IS_REFUSED, "%s: it succeeds", ways[way].name);
    else
        CHECK_THAT(attack->outcome != SUCCEEDS, "%s: %s", ways[way].name, shared->message);
}

static void in_fresh_work(void *data)
{
    const size_t *way = data;
    REQUIRE(mount("test", work, "tmpfs", 0, "mode=755") == 0);
    make_image();
    make_host();
    if (attack->arrange)
        attack->arrange();
    if (way)
        run_ours(*way);
    else
        in_child(CONTAINER_NAMESPACES, naive_process, NULL);
}

static void run_one(void)
{
    for (attack = all_attacks; strcmp(attack->name, this_case->name) != 0;)
        attack++;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    in_child(CLONE_NEWNS, in_fresh_work, NULL);
    CHECK_THAT(shared->won, "the attack does not succeed on the naive runtime, and shows nothing");
    for (size_t way = 0; way < COUNT(ways); way++) {
        memset(shared, 0, sizeof *shared);
        in_child(CLONE_NEWNS, in_fresh_work, &way);
    }
    note("attack | %s | %s | escapes | %s", attack->cves, attack->name, outcomes[attack->outcome]);
}

int run_attacks(const struct attack *attacks, size_t n)
{
    struct test_case cases[64];
    all_attacks = attacks;
    for (size_t i = 0; i < n && i < COUNT(cases); i++)
        cases[i] = (struct test_case){attacks[i].name, run_one};
    return run_cases(cases, n);
}
