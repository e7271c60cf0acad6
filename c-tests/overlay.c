/* Overlays with lower directories that fsconfig(2) takes only one by one.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The 255 bytes that fsconfig(2) takes for a value hold one directory, and not several. */
static char long_name[240];

/* Whether an overlay's lower directories are given one by one: the kernel takes that since Linux 6.8, and without
 * mount_setattr(2) the library uses mount(2) alone. */
static bool gives_layers(void)
{
    if (!has_mount_setattr())
        return false;
    int fd = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
    /* Before Linux 6.5 the kernel takes any option that has no comma. */
    bool takes = fd >= 0 && syscall(SYS_fsconfig, fd, FSCONFIG_SET_STRING, "lowerdir+", "/,", 0) != 0;
    takes = takes && errno == ENOENT;
    if (fd >= 0)
        close(fd);
    return takes;
}

static void inside_layers(void *data)
{
    const bool *one_by_one = data;
    check_mount(*one_by_one ? "/merged / rw,relatime - overlay overlay r[ow],lowerdir+=*"
                            : "/merged / rw,relatime - overlay overlay r[ow],lowerdir=*");
    CHECK(access("/merged/first", F_OK) == 0 && access("/merged/second", F_OK) == 0);
    CHECK(access("/merged/third", F_OK) == 0);
    char text[2] = "";
    int fd = open("/merged/all", O_RDONLY | O_CLOEXEC);
    CHECK_THAT(read(fd, text, 1) == 1 && text[0] == '1', "the first directory is not on top: %s", text);
    close(fd);
}

/* Names with what separates them, escaped as overlay wants it; the same by mount(2). */
static void layers(void)
{
    make_image();
    memset(long_name, 'l', 200);
    make_file(in_work("a:b/first"), "x");
    make_file(in_work("a:b/all"), "1");
    make_file(in_work("c,d\\e/second"), "x");
    make_file(in_work("c,d\\e/all"), "2");
    make_file(in_work("%s/third", long_name), "x");
    make_file(in_work("%s/all", long_name), "3");
    for (int classic = 0; classic < 2; classic++) {
        json_object *spec = empty_spec();
        spec_add(spec, "mounts", "{'destination': '/merged', 'type': 'overlay', 'source': 'overlay', 'options': "
                 "['lowerdir=%s/a\\\\:b:%s/c\\\\,d\\\\\\\\e:%s/%s']}", work, work, work, long_name);
        bool one_by_one = !classic && gives_layers();
        run_container(plan_with_flags(spec, classic ? RFS_OPTION_CLASSIC_MOUNT : 0), NULL, inside_layers, &one_by_one);
    }
}

static void inside_many_layers(void *data)
{
    (void)data;
    CHECK(access("/merged/0", F_OK) == 0 && access("/merged/39", F_OK) == 0);
}

/* More than the page that mount(2) takes, as engines have them with many layers. */
static void many_layers(void)
{
    make_image();
    memset(long_name, 'l', 120);
    long_name[120] = '\0';
    char *option = malloc(40 * 512), *end = option;
    REQUIRE(option);
    for (int i = 0; i < 40; i++) {
        make_file(in_work("%s%d/%d", long_name, i, i), "x");
        end += sprintf(end, "%c%s/%s%d", i ? ':' : '=', work, long_name, i);
    }
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/merged', 'type': 'overlay', 'source': 'overlay', 'options': "
             "['lowerdir%s']}", option);
    free(option);
    static const struct expected refused = {
        .code = -E2BIG, .stage = RFS_STAGE_MOUNTS, .object = RFS_OBJECT_MOUNT, .says = "more than mount(2) takes"};
    rfs_plan *plan = plan_of(json_object_get(spec));
    if (gives_layers())
        run_container(plan, NULL, inside_many_layers, NULL);
    else
        run_refused("more than a page", plan, NULL, &refused);
    run_refused("more than a page by mount(2)", plan_with_flags(spec, RFS_OPTION_CLASSIC_MOUNT), NULL, &refused);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"directories one by one", layers},
        {"more directories than a page holds", many_layers},
    };
    return run_cases(cases, COUNT(cases));
}
