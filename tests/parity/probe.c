/* What a container's process sees of its file system, a fact a line: KIND TAB NAME TAB VALUE.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * probe [COMMAND PATH]...   always: mountinfo, the standard descriptors, umask, working directory, /dev, and
 *                           every mount point's inode and whether it can be written
 *   touch PATH              the same for a path that is no mount point
 *   list PATH               everything below it, with contents and extended attributes
 *
 * Nothing that existed is changed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *error_name(void) { return strerrorname_np(errno); }

static const char *type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR: return "directory";
    case S_IFREG: return "file";
    case S_IFLNK: return "link";
    case S_IFCHR: return "char";
    case S_IFBLK: return "block";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return "?";
    }
}

static void print_inode(const char *kind, const char *path, bool follow)
{
    struct stat st;
    char target[4096];
    ssize_t n;
    if ((follow ? stat(path, &st) : lstat(path, &st)) != 0) {
        printf("%s\t%s\t%s\n", kind, path, error_name());
        return;
    }
    printf("%s\t%s\t%s %04o %u:%u", kind, path, type_name(st.st_mode), st.st_mode & 07777, st.st_uid, st.st_gid);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        printf(" %u:%u", major(st.st_rdev), minor(st.st_rdev));
    if (S_ISLNK(st.st_mode) && (n = readlink(path, target, sizeof(target))) >= 0)
        printf(" -> %.*s", (int)n, target);
    putchar('\n');
}

/* A directory: can a file be made in it? A file: can it be opened for writing? */
static void print_writable(const char *path)
{
    struct stat st;
    char file[4200];
    int fd;
    if (stat(path, &st) != 0 || S_ISBLK(st.st_mode))
        return;
    if (S_ISDIR(st.st_mode)) {
        snprintf(file, sizeof(file), "%s/.librfs-probe", path);
        if ((fd = open(file, O_WRONLY | O_CREAT | O_EXCL, 0600)) >= 0)
            unlink(file);
    } else {
        fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    }
    printf("writable\t%s\t%s\n", path, fd >= 0 ? "yes" : error_name());
    if (fd >= 0)
        close(fd);
}

/* What a reader gets: of a directory how many entries, of a file its beginning. */
static void print_contents(const char *path)
{
    struct stat st;
    char buffer[33] = "";
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        printf("reads\t%s\t%s\n", path, error_name());
    } else if (S_ISDIR(st.st_mode)) {
        DIR *dir = fdopendir(dup(fd));
        int n = -2;
        while (dir && readdir(dir))
            n++;
        if (dir)
            closedir(dir);
        printf("reads\t%s\t%d entries\n", path, n);
    } else if (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))) {
        ssize_t n = read(fd, buffer, sizeof(buffer) - 1);
        buffer[n > 0 ? strcspn(buffer, "\t\r\n") : 0] = 0;
        printf("reads\t%s\t%zd bytes: %s\n", path, n, buffer);
    }
    if (fd >= 0)
        close(fd);
}

static void print_list(const char *path)
{
    struct dirent **entries;
    struct stat st;
    char names[4096], value[257];
    ssize_t n, m;
    int count;

    print_inode("entry", path, false);
    if (lstat(path, &st) != 0)
        return;
    if (S_ISREG(st.st_mode)) {
        printf("size\t%s\t%lld, %s, %u links\n", path, (long long)st.st_size,
            st.st_blocks * 512 < st.st_size ? "sparse" : "whole", (unsigned)st.st_nlink);
        print_contents(path);
    }
    n = llistxattr(path, names, sizeof(names));
    for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        m = lgetxattr(path, name, value, sizeof(value) - 1);
        printf("xattr\t%s %s\t%.*s\n", path, name, (int)(m < 0 ? 0 : m), value);
    }
    if (!S_ISDIR(st.st_mode) || (count = scandir(path, &entries, NULL, alphasort)) < 0)
        return;
    for (int i = 0; i < count; i++) {
        char child[4096];
        if (strcmp(entries[i]->d_name, ".") == 0 || strcmp(entries[i]->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
        print_list(child);
    }
}

static void print_descriptors(void)
{
    struct stat st, null;
    bool have_null = stat("/dev/null", &null) == 0;
    for (int fd = 0; fd < 64; fd++) {
        if (fstat(fd, &st) != 0)
            continue;
        printf("descriptor\t%d\t%s", fd, type_name(st.st_mode));
        if (S_ISCHR(st.st_mode))
            printf(" %u:%u%s%s", major(st.st_rdev), minor(st.st_rdev), isatty(fd) ? " terminal" : "",
                have_null && st.st_dev == null.st_dev && st.st_ino == null.st_ino ? ", the container's /dev/null" : "");
        putchar('\n');
    }
}

int main(int argc, char **argv)
{
    char line[8192], cwd[4096], name[300];
    mode_t mask = umask(0);
    struct dirent **entries;
    FILE *mounts;
    int n;

    print_descriptors();
    umask(mask);
    printf("process\tumask\t%04o\n", mask);
    printf("process\tcwd\t%s\n", getcwd(cwd, sizeof(cwd)) ? cwd : error_name());
    print_inode("inode", ".", true);

    if ((n = scandir("/dev", &entries, NULL, alphasort)) > 0)
        for (int i = 2; i < n; i++) { /* without . and .. */
            snprintf(name, sizeof(name), "/dev/%s", entries[i]->d_name);
            print_inode("dev", name, false);
        }

    if (!(mounts = fopen("/proc/self/mountinfo", "re")))
        printf("mountinfo\t-\t%s\n", error_name());
    while (mounts && fgets(line, sizeof(line), mounts)) {
        char *save = NULL, *path = NULL, *copy = strdup(line);
        line[strcspn(line, "\n")] = 0;
        printf("mountinfo\t-\t%s\n", line);
        for (int i = 0; i < 5; i++)
            path = strtok_r(i ? NULL : copy, " ", &save);
        print_inode("inode", path, true);
        print_writable(path);
        if (strcmp(path, "/dev") != 0 && !strstr(line, " - proc ") && !strstr(line, " - cgroup"))
            print_contents(path);
        free(copy);
    }

    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "list") == 0) {
            print_list(argv[i + 1]);
        } else {
            print_inode("inode", argv[i + 1], true);
            print_writable(argv[i + 1]);
            print_contents(argv[i + 1]);
        }
    printf("process\tend\treached\n");
    return fflush(stdout);
}
