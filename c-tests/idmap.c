/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
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

static bool write_map(pid_t pid, const char *name, uint32_t first)
{
    char path[64], map[64];
    snprintf(path, sizeof path, "%d/%s", pid, name);
    int length = snprintf(map, sizeof map, "0 %u 65536\n", first);
    int fd = openat(host_proc, path, O_WRONLY | O_CLOEXEC);
    bool ok = write(fd, map, (size_t)length) == length;
    close(fd);
    return ok;
}

int user_namespace_from(uint32_t first)
{
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0)
        for (;;)
            pause();
    REQUIRE(pid > 0 && write_map(pid, "uid_map", first) && write_map(pid, "gid_map", first));
    char path[64];
    snprintf(path, sizeof path, "%d/ns/user", pid);
    int fd = openat(host_proc, path, O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    kill(pid, SIGKILL);
    REQUIRE(waitpid(pid, NULL, 0) == pid);
    return fd;
}

static struct stat hosts_null;

static uid_t seen_inside(uid_t id)
{
    return id >= 100000 && id < 165536 ? id - 100000 : 65534;
}

void check_hosts_null(void)
{
    struct stat st;
    CHECK(stat("/dev/null", &st) == 0 && st.st_dev == hosts_null.st_dev && st.st_ino == hosts_null.st_ino);
    CHECK_OWNER(AT_FDCWD, "/dev/null", seen_inside(hosts_null.st_uid), seen_inside(hosts_null.st_gid));
}

pid_t start_child(unsigned long namespaces, void (*inside)(void *), void *data, int *userns)
{
    REQUIRE(stat("/dev/null", &hosts_null) == 0);
    int ready[2];
    char byte;
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
    pid_t pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, 0);
    REQUIRE_THAT(pid >= 0, "clone(%#lx)", namespaces);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[1]);
        if (namespaces & CLONE_NEWUSER)
            REQUIRE(read(ready[0], &byte, 1) == 1 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0);
        close(ready[0]);
        inside(data);
        end_case();
    }
    close(ready[0]);
    if (namespaces & CLONE_NEWUSER) {
        char path[64];
        REQUIRE(write_map(pid, "uid_map", 100000) && write_map(pid, "gid_map", 100000) && write(ready[1], "", 1) == 1);
        snprintf(path, sizeof path, "%d/ns/user", pid);
        *userns = openat(host_proc, path, O_RDONLY | O_CLOEXEC);
        REQUIRE(*userns >= 0);
    }
    close(ready[1]);
    return pid;
}

void wait_for_child(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status))
        CHECK_THAT(false, "the child was killed by signal %d", WTERMSIG(status));
    else
        CHECK_THAT(WEXITSTATUS(status) == 0, "the child has failed");
}

void check_owner_at(const char *file, int line, int directory, const char *path, uid_t uid, gid_t gid)
{
    struct stat st;
    if (check_at(fstatat(directory, path, &st, AT_SYMLINK_NOFOLLOW) == 0, file, line, "stat %s", path))
        check_at(st.st_uid == uid && st.st_gid == gid, file, line, "%s is owned by %u:%u, expected %u:%u", path,
                 st.st_uid, st.st_gid, uid, gid);
}

void create_as(uid_t uid, gid_t gid, int directory, const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
            _exit(2);
        _exit(openat(directory, path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644) >= 0 ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    CHECK_THAT(status == 0, "%u:%u can't create %s", uid, gid, path);
}

void attach(int mount, const char *path)
{
    REQUIRE_THAT(syscall(SYS_move_mount, UNREFUSED(mount), "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0,
                 "move_mount %s", path);
}

bool kernel_idmaps(void)
{
    struct mount_attr nothing = {0};
    return syscall(SYS_mount_setattr, UNREFUSED(-1), "", AT_EMPTY_PATH, &nothing, sizeof nothing) == 0 ||
           errno != ENOSYS;
}

struct lacking lacking_on_host(void)
{
    if (is_refused(syscall(SYS_open_tree, -1, "", 0)))
        return (struct lacking){"open_tree", -errno};
    if (is_refused(syscall(SYS_fsopen, NULL, 0)))
        return (struct lacking){"fsopen", -errno};
    if (!has_mount_setattr())
        return (struct lacking){"mount_setattr", -errno};
    return (struct lacking){NULL, 0};
}

int idmap(int tree, int userns, unsigned recursive)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
    return syscall(SYS_mount_setattr, UNREFUSED(tree), "", AT_EMPTY_PATH | recursive, &attr, sizeof attr) == 0 ? 0
                                                                                                               : errno;
}

bool can_be_idmapped(const char *path)
{
    int tree = (int)syscall(SYS_open_tree, UNREFUSED(AT_FDCWD), path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
        userns = user_namespace_from(100000);
    REQUIRE_THAT(tree >= 0, "open_tree %s", path);
    int failed = idmap(tree, userns, 0);
    REQUIRE_THAT(!failed || failed == EINVAL || failed == ENOSYS, "mount_setattr %s: %s", path, strerror(failed));
    close(tree);
    close(userns);
    return !failed;
}

void mount_idmappable(const char *path)
{
    REQUIRE_THAT(mount("test", path, "tmpfs", 0, "mode=755") == 0, "mount %s", path);
    if (!kernel_idmaps() || can_be_idmapped(path))
        return;
    REQUIRE(umount(path) == 0);
    mount_image("ext4", path);
}

static void make_owned_file(const char *path, uid_t uid, gid_t gid)
{
    make_file(path, "x");
    REQUIRE(chown(path, uid, gid) == 0);
}

void make_source(const char *name)
{
    mount_idmappable(work);
    const char *source = in_work("%s", name), *below = in_work("%s/below", name);
    make_directory(source, 01777);
    make_owned_file(in_work("%s/file", name), 7, 8);
    make_directory(below, 0755);
    mount_idmappable(below);
    REQUIRE(chmod(below, 01777) == 0);
    make_owned_file(in_work("%s/below/file", name), 9, 10);
}

static bool run(const char *const *arguments)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execvp(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    int status = -1;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* A loop device that goes with its last user. */
static int loop_device(int image, char *path, size_t size)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), device = -1;
    REQUIRE_THAT(control >= 0, "/dev/loop-control");
    for (int tries = 0; tries < 10; tries++) { /* Another process may have taken the device. */
        struct loop_config config = {.fd = (unsigned)image, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
        snprintf(path, size, "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
        device = open(path, O_RDWR | O_CLOEXEC);
        if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) == 0)
            break;
        close(device);
        device = -1;
    }
    REQUIRE_THAT(device >= 0, "no loop device");
    close(control);
    return device;
}

void mount_image(const char *type, const char *path)
{
    char program[32], file[32], device[64];
    int image = memfd_create("image", 0); /* Few pages of the file are used. */
    REQUIRE(image >= 0 && ftruncate(image, 400 << 20) == 0);
    snprintf(program, sizeof program, "mkfs.%s", type);
    snprintf(file, sizeof file, "/proc/self/fd/%d", image);
    REQUIRE_THAT(run((const char *const[]){program, "-q", file, NULL}), "%s fails: is it installed?", program);
    int loop = loop_device(image, device, sizeof device);
    REQUIRE_THAT(mount(device, path, type, 0, NULL) == 0, "mount -t %s: %s", type, strerror(errno));
    close(loop);
    close(image);
}

void owned_by(uid_t id)
{
    static const char *const paths[] = {"", "bin", "dev", "etc", "proc", "sys", "tmp"};
    for (size_t i = 0; i < COUNT(paths); i++)
        REQUIRE(lchown(image(paths[i]), id, id) == 0);
}

json_object *add_user_namespace(json_object *spec)
{
    if (access(image("bin"), F_OK) != 0)
        make_image();
    owned_by(100000);
    spec_add(spec, "linux.namespaces", "{'type': 'user'}");
    spec_set(spec, "linux.uidMappings", "[{'containerID': 0, 'hostID': 100000, 'size': 65536}]");
    spec_set(spec, "linux.gidMappings", "[{'containerID': 0, 'hostID': 100000, 'size': 65536}]");
    return spec;
}
