/* Paths of the image are swapped all the time while containers are set up, by each of librfs's three ways. Afterwards
 * the host is as it was, byte for byte and inode for inode, and every mount was in the container's root.
 * RACE_ROUNDS=20000 for the long run: make attacks-long.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "attack.h"
#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXCHANGE 2U /* RENAME_EXCHANGE */

static struct {
    atomic_ulong swaps;
    unsigned long rounds, successes, refusals, escapes;
    char what[512];
} *shared;

/* What is swapped: two names of the image, of which one is a link to the host. */
struct race {
    const char *name, *path, *other, *link; /* link: NULL is a directory */
};

static const struct race races[] = {
    {"target", "data/target", "data/evil", "host"},
    {"parent", "data", "evil", "host"},
    {"file target", "file", "evil-file", "host/secret"},
    {"/dev", "dev", "evil-dev", "host/dev"},
    {"/dev and the volume", "dev", "volume", NULL},
    {"/proc", "proc", "evil-proc", NULL},
    {"/proc and a link", "proc", "evil-proc", "host"},
    {"/dev/console", "dev/console", "dev/evil-console", "host/secret"},
    {"a device's parent", "nodes", "evil-nodes", "host/empty"},
    {"a device's parent and the volume", "nodes", "volume", NULL},
    {"a masked path", "hidden", "evil-hidden", "host/secret"},
    {"the source", "../../source", "../../evil-source", "host/empty"},
};

static const struct race *race;

static void arrange(void)
{
    make_image();
    make_directory(in_work("host/empty"), 0755);
    make_directory(in_work("host/dev/ptmx"), 0755);
    make_directory(in_work("host/target/deep"), 0755);
    make_file(in_work("host/secret"), "the host's secret");
    make_directory(in_work("source"), 0755);
    image_directory("data/target/deep", 0755);
    image_directory("volume", 0755);
    image_directory("nodes", 0755);
    image_file("file", "");
    image_file("hidden", "hidden");
    image_file("dev/console", "");
    if (race->link)
        REQUIRE(symlink(in_work("%s", race->link), image(race->other)) == 0);
    else if (access(image(race->other), F_OK) != 0)
        make_directory(image(race->other), 0755);
}

static json_object *make_spec(void)
{
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", PROC);
    /* A volume: what it holds is the host's. */
    spec_add(spec, "mounts", "{'destination': '/volume', 'type': 'bind', 'source': '%s/host', 'options': ['rbind']}",
        work);
    spec_add(spec, "mounts",
        "{'destination': '/pts', 'type': 'devpts', 'source': 'devpts', 'options': ['newinstance', 'ptmxmode=0666']}");
    spec_add(spec, "mounts", "{'destination': '/data/target', 'type': 'tmpfs', 'source': 'tmpfs'}");
    spec_add(spec, "mounts", "{'destination': '/data/target/deep/er', 'type': 'tmpfs', 'source': 'tmpfs'}");
    spec_add(spec, "mounts", "{'destination': '/file', 'type': 'bind', 'source': '/proc/version'}");
    spec_add(spec, "mounts", "{'destination': '/mnt', 'type': 'bind', 'source': '%s/source'}", work);
    spec_add(spec, "linux.devices", "{'path': '/nodes/made', 'type': 'c', 'major': 1, 'minor': 3}");
    spec_add(spec, "linux.maskedPaths", "'/proc/keys'");
    spec_add(spec, "linux.maskedPaths", "'/hidden'");
    spec_add(spec, "linux.readonlyPaths", "'/proc/sys'");
    return spec;
}

/* In a process of its own, outside of the containers, until it is killed. */
static pid_t swap_all_the_time(void)
{
    char path[4096], other[4096];
    snprintf(path, sizeof path, "%s", image(race->path));
    snprintf(other, sizeof other, "%s", image(race->other));
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            if (syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, other, EXCHANGE) == 0)
                atomic_fetch_add_explicit(&shared->swaps, 1, memory_order_relaxed);
    }
    return pid;
}

static void escape(const char *what, const char *detail)
{
    shared->escapes++;
    snprintf(shared->what, sizeof shared->what, "%s: %s", what, detail);
}

enum { PLANNED = 7 }; /* mounts of make_spec() */

/* What lies in the root is what the plan has: its mounts, the rootfs, /dev/console, two masks and a read-only path.
 * Nothing of what the host has mounted. */
static void look_at_mounts(void)
{
    static const char *const types[] = {"tmpfs", "proc", "devpts", "devtmpfs"};
    char *table = read_all(host_proc, "self/mountinfo"), *rest = NULL;
    size_t mounts = 0;
    for (char *line = strtok_r(table, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char type[64];
        bool is_known = false;
        REQUIRE(sscanf(strstr(line, " - "), " - %63s", type) == 1);
        for (size_t i = 0; i < COUNT(types); i++)
            is_known = is_known || strcmp(type, types[i]) == 0;
        if (!is_known)
            escape("a mount of the host", line);
        mounts++;
    }
    if (mounts < 1 + PLANNED || mounts > 1 + PLANNED + 4)
        escape("a mount is not in the root, or one too many", table);
    free(table);
}

/* Every procfs that is in reach: its keys are masked and its sys is read-only. */
static void look_around(void)
{
    static const char *const places[] = {"/proc", "/evil-proc", "/volume", "/dev"};
    for (size_t i = 0; i < COUNT(places); i++) {
        char path[64];
        struct stat st;
        snprintf(path, sizeof path, "%s/keys", places[i]);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 && st.st_dev != 0) {
            snprintf(path, sizeof path, "%s/sys/kernel/hostname", places[i]);
            if (access(path, F_OK) == 0)
                escape("a procfs without masks", places[i]);
        }
        snprintf(path, sizeof path, "%s/sys/kernel/hostname", places[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
            escape("a writable /proc/sys", places[i]);
        close(fd);
    }
}

static void set_up(void *data)
{
    const size_t *way = data;
    rfs_error err = fresh_error();
    if (*way == 2)
        REQUIRE(filter_refuse(SYS_openat2, ENOSYS) == 0);
    int rc = rfs_prepare(this_container, NULL, &err);
    int master = rc == 0 ? open("/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1, pty = -1;
    if (master >= 0 && unlockpt(master) == 0)
        pty = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (pty >= 0)
        rc = rfs_bind_console(this_container, pty, &err);
    if (rc == 0)
        rc = rfs_finalize(this_container, &err);
    shared->rounds++;
    if (rc == 0) {
        shared->successes++;
        look_around();
        look_at_mounts();
    } else {
        shared->refusals++;
        CHECK_THAT(err.message[0] != '\0', "an error without a sentence");
    }
}

/* The host as it was, but for what the swapping itself changes: nothing in it. */
static void rounds_of(size_t way, unsigned long rounds)
{
    arrange();
    json_object *spec = make_spec();
    rfs_plan *plan = plan_with_flags(spec, way == 1 ? RFS_OPTION_CLASSIC_MOUNT : 0);
    char *before = snapshot(in_work("host")), *table = read_all(host_proc, "self/mountinfo");
    pid_t swapper = swap_all_the_time();
    for (unsigned long i = 0; i < rounds; i++) {
        this_container = container_of(plan);
        in_child(CONTAINER_NAMESPACES, set_up, &way);
        rfs_container_free(this_container);
    }
    kill(swapper, SIGKILL);
    waitpid(swapper, NULL, 0);
    char *after = snapshot(in_work("host")), *table_after = read_all(host_proc, "self/mountinfo");
    if (strcmp(before, after) != 0)
        escape("the host was changed", after);
    if (strcmp(table, table_after) != 0)
        escape("the host's mounts were changed", table_after);
    free(before);
    free(after);
    free(table);
    free(table_after);
    rfs_plan_free(plan);
}

struct part {
    size_t way;
    unsigned long rounds;
};

static void in_fresh_work(void *data)
{
    const struct part *part = data;
    REQUIRE(mount("test", work, "tmpfs", 0, "mode=755") == 0);
    rounds_of(part->way, part->rounds);
}

static void all_races(void)
{
    const char *wanted = getenv("RACE_ROUNDS");
    unsigned long total = wanted ? strtoul(wanted, NULL, 10) : 1000;
    if (wanted)
        alarm(0); /* it takes as long as it takes */
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    for (size_t i = 0; i < COUNT(races); i++)
        for (size_t way = 0; way < 3; way++) {
            unsigned long swaps = shared->swaps, successes = shared->successes, escapes = shared->escapes;
            race = &races[i];
            struct part part = {way, (total + COUNT(races) * 3 - 1) / (COUNT(races) * 3)};
            in_child(CLONE_NEWNS, in_fresh_work, &part);
            note("%s, way %zu: %lu rounds, %lu succeeded, %lu swaps", race->name, way, part.rounds,
                shared->successes - successes,
                 shared->swaps - swaps);
            CHECK_THAT(shared->swaps > swaps, "%s: nothing was swapped", race->name);
            CHECK_THAT(shared->escapes == escapes, "%s, way %zu: %s", race->name, way, shared->what);
        }
    CHECK_THAT(shared->rounds >= total, "%lu rounds", shared->rounds);
    note("races: %lu rounds (%lu set up, %lu refused), %lu swaps seen, %lu escapes", shared->rounds, shared->successes,
         shared->refusals, (unsigned long)shared->swaps, shared->escapes);
}

int main(void)
{
    static const struct test_case cases[] = {{"paths are swapped while containers are set up", all_races}};
    return run_cases(cases, COUNT(cases));
}
