/* The least that a container's start can cost: the system calls of the default bundle made
 * straight, without checks, by paths that are trusted. Nothing is safe here; it is a yardstick.
 * usage: floor ROOTFS PROGRAM [ARGUMENT]...
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void must(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

static void make(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
    if (mkdir(target, 0755) < 0 && errno != EEXIST)
        err(1, "%s", target);
    must(mount(source, target, type, flags, data), target);
}

static void container(const char *rootfs, char **program)
{
    static const struct { const char *name; unsigned int major, minor; } devices[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
        {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    static const char *const links[][2] = {
        {"pts/ptmx", "dev/ptmx"}, {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
        {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"}};
    static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
    static const char *const files[] = {"/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                                        "/proc/sched_debug"};
    static const char *const directories[] = {"/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware"};
    const unsigned long no_exec = MS_NOSUID | MS_NODEV | MS_NOEXEC;

    must(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL), "/");
    must(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), rootfs);
    must(mount(NULL, rootfs, NULL, MS_PRIVATE, NULL), rootfs);
    must(chdir(rootfs), rootfs);
    umask(0);
    make("proc", "proc", "proc", 0, NULL);
    make("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    make("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    make("shm", "dev/shm", "tmpfs", no_exec, "mode=1777,size=65536k");
    make("mqueue", "dev/mqueue", "mqueue", no_exec, NULL);
    make("sysfs", "sys", "sysfs", no_exec | MS_RDONLY, NULL);
    make("cgroup", "sys/fs/cgroup", "cgroup2", no_exec | MS_RDONLY, NULL);
    for (size_t i = 0; i < COUNT(devices); i++)
        must(mknod(devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)), devices[i].name);
    for (size_t i = 0; i < COUNT(links); i++)
        must(symlink(links[i][0], links[i][1]), links[i][1]);
    must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount2");
    must(chdir("/"), "/");
    must(mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), "/");
    umask(022);
    for (size_t i = 0; i < COUNT(readonly); i++)
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) == 0)
            must(mount(NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), readonly[i]);
    for (size_t i = 0; i < COUNT(files); i++)
        if (mount("/dev/null", files[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            err(1, "%s", files[i]);
    for (size_t i = 0; i < COUNT(directories); i++)
        if (mount("tmpfs", directories[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1") < 0 && errno != ENOENT)
            err(1, "%s", directories[i]);
    execv(program[0], program);
    err(127, "%s", program[0]);
}

int main(int argc, char **argv)
{
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS, .exit_signal = SIGCHLD};
    int status;
    if (argc < 3)
        errx(2, "usage: floor ROOTFS PROGRAM [ARGUMENT]...");
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    must(pid, "clone3");
    if (pid == 0)
        container(argv[1], argv + 2);
    must(waitpid(pid, &status, 0), "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
