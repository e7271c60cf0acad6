/* What real configurations asked for, and got wrong: Podman's, Docker's, containerd's, Kubernetes'.
 */
#include "bundle.h"
#include "mounts.h"
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void is_device(const char *path, unsigned major_number, unsigned minor_number)
{
    struct stat st;
    CHECK_THAT(stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(major_number, minor_number), "%s", path);
}

/* podman run -v /dev/urandom:/dev/random: what a mount has put at the path of a device or a link stays. */

static void inside_bound_devices(void *data)
{
    (void)data;
    is_device("/dev/random", 1, 9);
    is_device("/dev/null", 1, 3);
    char text[8] = "";
    static const char *const files[] = {"/dev/zero", "/dev/ptmx", "/dev/stdin", "/dev/mine"};
    for (size_t i = 0; i < COUNT(files); i++) {
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        CHECK_THAT(fd >= 0 && read(fd, text, sizeof text) == 1 && text[0] == 'x', "%s", files[i]);
        close(fd);
    }
    check_mount("/dev/random /urandom * - *");
    check_mount("/dev/ptmx /from/file * - *");
}

static json_object *spec_with_bound_devices(void)
{
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    spec_add(spec, "mounts", "{'destination': '/dev/random', 'type': 'bind', 'source': '/dev/urandom', 'options': ['bind']}");
    static const char *const files[] = {"zero", "ptmx", "stdin", "mine"};
    for (size_t i = 0; i < COUNT(files); i++)
        spec_add(spec, "mounts", "{'destination': '/dev/%s', 'type': 'bind', 'source': '%s/from/file', 'options': ['bind']}", files[i], work);
    spec_add(spec, "linux.devices", "{'path': '/dev/mine', 'type': 'c', 'major': 1, 'minor': 7}");
    return spec;
}

static void bound_devices(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    run_container(plan_of(spec_with_bound_devices()), NULL, inside_bound_devices, NULL);
}

static void in_user_namespace(void *container)
{
    rfs_error err = fresh_error();
    enter_user_namespace();
    REQUIRE(unshare(CLONE_NEWNS) == 0);
    REQUIRE_SUCCESS(rfs_prepare(container, NULL, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    inside_bound_devices(NULL);
}

static void bound_devices_in_a_user_namespace(void)
{
    make_image();
    make_file(in_work("from/file"), "x");
    in_child(0, in_user_namespace, container_of(plan_with_flags(spec_with_bound_devices(), RFS_OPTION_USER_NAMESPACE)));
}

/* Something else of the image's at the path of a configured device stays an error, as the runtime-spec demands. */
static void image_over_device(void)
{
    make_image();
    image_file("dev/mine", "x");
    json_object *spec = empty_spec();
    spec_add(spec, "linux.devices", "{'path': '/dev/mine', 'type': 'c', 'major': 1, 'minor': 7}");
    run_refused("a file of the image", plan_of(spec), NULL,
                &(struct expected){.code = -EEXIST, .stage = RFS_STAGE_DEVICES, .object = RFS_OBJECT_DEVICE, .says = "/dev/mine"});
}

/* What lies on /dev is decided when it is known. */

static void has_devices(void *data)
{
    (void)data;
    is_device("/dev/null", 1, 3);
    is_device("/dev/tty", 5, 0);
    CHECK(access("/dev/fd", F_OK) == 0 || errno == ENOENT); /* without a /proc it leads nowhere */
    struct stat st;
    CHECK(lstat("/dev/fd", &st) == 0 && S_ISLNK(st.st_mode));
}

static void optional_bind_on_dev(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '/no/such/dev', 'options': ['bind', 'optional']}");
    run_container(plan_of(spec), &with_warnings, has_devices, NULL);
}

static void tmpfs_over_bound_dev(void)
{
    make_image();
    make_directory(in_work("hostdev"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/hostdev', 'options': ['bind']}", work);
    spec_add(spec, "mounts", DEV_TMPFS);
    run_container(plan_of(spec), NULL, has_devices, NULL);
    CHECK(rmdir(in_work("hostdev")) == 0); /* nothing was made in it */
}

static void has_nothing(void *data)
{
    (void)data;
    char *list = list_directory("/dev");
    CHECK_THAT(list && strcmp(list, "") == 0, "%s", list);
    free(list);
}

static void remount_of_dev(void)
{
    make_image();
    make_directory(in_work("hostdev"), 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '%s/hostdev', 'options': ['bind']}", work);
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'bind', 'source': '/dev', 'options': ['bind', 'remount', 'nosuid']}");
    run_container(plan_of(spec), NULL, has_nothing, NULL);
}

/* There is one devtmpfs on a machine: what is made in it is made on the host. */
static void devtmpfs(void)
{
    json_object *spec = empty_spec();
    make_image();
    spec_add(spec, "mounts", "{'destination': '/dev', 'type': 'devtmpfs', 'source': 'dev'}");
    rfs_plan *plan = plan_of(spec);
    char *steps = describe(plan);
    /* before anything is touched */
    REQUIRE_THAT(!strstr(steps, "\"device\"") && !strstr(steps, "dev-links"), "%s", steps);
    free(steps);
    char *before = list_directory("/dev");
    run_container(plan, NULL, NULL, NULL);
    char *after = list_directory("/dev");
    CHECK(before && after && strcmp(before, after) == 0);
    free(before);
    free(after);
}

/* A masked file is no way to the container's own /dev/null, and a masked directory can't be entered to write. */

static void inside_masks(void *data)
{
    (void)data;
    struct stat before, after;
    CHECK(stat("/dev/null", &before) == 0);
    CHECK(chmod("/secret", 0777) == -1 && errno == EROFS);
    CHECK(chown("/secret", 1, 1) == -1 && errno == EROFS);
    CHECK(stat("/dev/null", &after) == 0 && before.st_mode == after.st_mode && before.st_uid == after.st_uid);
    CHECK(stat("/secrets", &after) == 0 && (after.st_mode & 07777) == 0555);
    int fd = open("/secret", O_RDONLY | O_CLOEXEC);
    char byte;
    CHECK(fd >= 0 && read(fd, &byte, 1) == 0);
    close(fd);
    check_mount("/secret /null ro,nosuid,noexec* - *");
    check_mount("/secret2 /null ro,nosuid,noexec* - *");
}

static void masks(void)
{
    make_image();
    image_file("secret", "x");
    image_file("secret2", "x");
    image_directory("secrets", 0755);
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", DEV_TMPFS);
    static const char *const paths[] = {"/secret", "/secret2", "/secrets"};
    for (size_t i = 0; i < COUNT(paths); i++)
        spec_add(spec, "linux.maskedPaths", "'%s'", paths[i]);
    run_container(plan_of(spec), NULL, inside_masks, NULL);
}

/* Peers' test suites know these words. */
static void proc_on_a_link(void)
{
    make_image();
    image_link("tmp", "linked");
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/linked', 'type': 'sysfs', 'source': 'sysfs'}");
    run_refused("sysfs on a link", plan_of(spec), NULL,
                &(struct expected){.object = RFS_OBJECT_MOUNT, .says = "must be mounted on ordinary directory"});
}

int main(void)
{
    static const struct test_case cases[] = {
        {"binds over devices and links", bound_devices},
        {"binds over devices in a user namespace", bound_devices_in_a_user_namespace},
        {"a file of the image over a device", image_over_device},
        {"an optional bind on /dev that fails", optional_bind_on_dev},
        {"a tmpfs over a bound /dev", tmpfs_over_bound_dev},
        {"a remount of a bound /dev", remount_of_dev},
        {"devtmpfs on /dev", devtmpfs},
        {"masks can't be written to", masks},
        {"a sysfs on a link", proc_on_a_link},
    };
    return run_cases(cases, COUNT(cases));
}
