/* How much of its caller's stack a call takes: with destinations, masked paths and sources that are links or as long as
 * a path can be. watch.c ends any process in which a call takes more than 48 KiB; here are the worst, and the numbers.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A path below `start` of as many bytes as there may be. malloced. */
static char *longest(const char *start)
{
    char *path = malloc(PATH_MAX);
    REQUIRE(path);
    size_t length = (size_t)snprintf(path, PATH_MAX, "%s", start);
    while (length < PATH_MAX - 1) {
        size_t name = PATH_MAX - 2 - length > NAME_MAX ? NAME_MAX - 10 : PATH_MAX - 2 - length;
        path[length++] = '/';
        memset(path + length, 'x', name);
        length += name;
    }
    path[length] = '\0';
    return path;
}

static void make_directories(const char *path)
{
    char name[NAME_MAX + 1];
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (const char *rest = path + 1; *rest; rest += *rest == '/') {
        size_t length = strcspn(rest, "/");
        snprintf(name, sizeof name, "%.*s", (int)length, rest);
        REQUIRE(mkdirat(fd, name, 0755) == 0 || errno == EEXIST);
        int next = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        REQUIRE(next >= 0 && close(fd) == 0);
        fd = next;
        rest += length;
    }
    close(fd);
}

static char *deep; /* in the container */

static int bind_deep(void *userdata, rfs_point point)
{
    (void)userdata;
    if (point != RFS_POINT_MOUNTS_READY)
        return 0;
    rfs_error err = fresh_error();
    int fd = open(in_work("from/file"), O_PATH | O_CLOEXEC);
    CHECK_SUCCESS(rfs_bind_fd(this_container, fd, "/links/19/bound", &err), &err);
    CHECK_ERROR(rfs_bind_fd(this_container, fd, deep, &err), &err, .code = -ENOTDIR);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(master >= 0 && unlockpt(master) == 0);
    int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK_SUCCESS(rfs_bind_console(this_container, terminal, &err), &err);
    close(terminal);
    close(master);
    close(fd);
    return 0;
}

/* Twenty links, one after the other. The kernel follows forty, but counts them twice where it repeats a look-up. */
static void make_links(void)
{
    image_directory("links/real", 0755);
    image_link("/links/real", "links/0");
    for (int i = 1; i < 20; i++) {
        char target[32], name[32];
        snprintf(target, sizeof target, "../links/%d", i - 1);
        snprintf(name, sizeof name, "links/%d", i);
        image_link(target, name);
    }
    /* and one whose target is as long as it can be */
    char *target = longest("/far-away");
    image_link(target, "far");
    free(target);
}

static json_object *spec_with_long_paths(void)
{
    make_image();
    make_links();
    make_file(in_work("from/file"), "x");
    REQUIRE(symlink("file", in_work("from/link")) == 0 && symlink("from", in_work("through")) == 0);
    char *source = longest(in_work("from"));
    make_directories(source);
    deep = longest("");
    json_object *spec = default_spec("runc");
    spec_add(spec, "mounts", "{'destination': '%s', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro']}", deep);
    spec_add(spec, "mounts",
             "{'destination': '/links/19/tmpfs', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro', 'tmpcopyup']}");
    spec_add(spec, "mounts", "{'destination': '/far', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['ro']}");
    spec_add(spec, "mounts",
             "{'destination': '/deep-source', 'type': 'bind', 'source': '%s', 'options': ['bind', 'ro']}", source);
    spec_add(spec, "mounts",
             "{'destination': '/links/19/copied', 'type': 'bind', 'source': '%s/through/link', 'options': ['bind', "
             "'copy-symlink']}",
             work);
    static const char *const lists[] = {"linux.maskedPaths", "linux.readonlyPaths"};
    for (size_t i = 0; i < COUNT(lists); i++) {
        spec_add(spec, lists[i], "'%s'", deep);
        spec_add(spec, lists[i], "'/links/19'");
        spec_add(spec, lists[i], "'/far'");
    }
    free(source);
    return spec;
}

static void tell(void)
{
    static const char *const names[] = {
#define NAME(call) #call,
        WATCHED_CALLS(NAME)
#undef NAME
    };
    for (size_t i = 0; i < WATCHED_COUNT; i++)
        if (watched_memory()->stack[i])
            note("%s: %zu bytes of stack", names[i], watched_memory()->stack[i]);
    CHECK(watched_memory()->stack[watched_rfs_prepare] > 1024);
}

static void long_paths(uint64_t flags)
{
    only_cgroup2();
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = bind_deep};
    json_object *spec = spec_with_long_paths();
    if (!(flags & RFS_OPTION_CLASSIC_MOUNT) && has_mount_setattr()) /* Recursive attributes take this call. */
        spec_add(spec, "mounts",
                 "{'destination': '/data', 'type': 'bind', 'source': '%s/from', 'options': ['rbind', 'rro']}", work);
    run_container(plan_with_flags(spec, flags), &callbacks, NULL, NULL);
    tell();
}

static void detached(void)
{
    long_paths(0);
}

static void classic(void)
{
    long_paths(RFS_OPTION_CLASSIC_MOUNT);
}

static void no_pivot(void)
{
    long_paths(RFS_OPTION_NO_PIVOT);
}

/* The longest messages. */
static void errors(void)
{
    make_image();
    image_link("loop", "loop");
    deep = longest("");
    char *missing = longest("/missing");
    static const struct {
        const char *mount;
        int code;
    } list[] = {
        {"{'destination': '/a', 'type': 'bind', 'source': '%s', 'options': ['rbind']}", -ENOENT},
        {"{'destination': '%s', 'type': 'nosuchfs', 'source': 'x'}", -ENODEV},
        {"{'destination': '/loop', 'type': 'tmpfs', 'source': '%.255s'}", -ELOOP},
        {"{'destination': '/bin/sh', 'type': 'tmpfs', 'source': '%.255s'}", -ENOTDIR},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", list[i].mount, missing);
        run_refused(list[i].mount, plan_of(spec), NULL,
                    &(struct expected){.code = list[i].code, .stage = RFS_STAGE_MOUNTS});
    }
    free(missing);
    tell();
}

int main(void)
{
    static const struct test_case cases[] = {
        {"long paths and links", detached},
        {"long paths and links, by mount(2)", classic},
        {"long paths and links, without a pivot", no_pivot},
        {"errors about long paths", errors},
    };
    return run_cases(cases, COUNT(cases));
}
