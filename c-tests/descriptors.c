/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "descriptors.h"
#include "harness.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void list_descriptors(struct descriptors *list)
{
    memset(list, 0, sizeof *list);
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        int flags = fcntl(fd, F_GETFD);
        struct stat st;
        if (flags < 0 || fstat(fd, &st) != 0)
            continue;
        list->table[fd] = (struct descriptor){true, flags & FD_CLOEXEC, fcntl(fd, F_GETFL), st.st_dev, st.st_ino};
    }
}

void check_descriptors(const struct descriptors *before, const struct descriptors *after, const char *when)
{
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        const struct descriptor *was = &before->table[fd], *is = &after->table[fd];
        CHECK_THAT(was->open || !is->open, "%s: descriptor %d was left open", when, fd);
        CHECK_THAT(!was->open || is->open, "%s: descriptor %d was closed", when, fd);
        if (was->open && is->open)
            CHECK_THAT(was->device == is->device && was->inode == is->inode &&
                           was->close_on_exec == is->close_on_exec && was->status_flags == is->status_flags,
                       "%s: descriptor %d is another", when, fd);
    }
}
