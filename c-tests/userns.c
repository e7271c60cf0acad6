/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "userns.h"
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* All ids that exist: (uid_t)-1 is no id. */
static const char everyone[] = "0 0 4294967295";

static int write_map(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "%d/%s", pid, file);
    int fd = openat(host_proc, path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, everyone, strlen(everyone)) == (ssize_t)strlen(everyone);
    close(fd);
    return written ? 0 : -1;
}

void enter_user_namespace(void)
{
    int entered[2], status;
    char byte;
    REQUIRE(pipe2(entered, O_CLOEXEC) == 0);
    pid_t pid = getpid(), writer = fork(); /* The writer stays outside, where it may write any mapping. */
    REQUIRE(writer >= 0);
    if (writer == 0)
        _exit(read(entered[0], &byte, 1) != 1 || write_map(pid, "uid_map") != 0 || write_map(pid, "gid_map") != 0);
    REQUIRE(unshare(CLONE_NEWUSER) == 0);
    REQUIRE(write(entered[1], "", 1) == 1 && waitpid(writer, &status, 0) == writer);
    REQUIRE_THAT(status == 0, "the id mappings could not be written: %#x", status);
    close(entered[0]);
    close(entered[1]);
    REQUIRE(geteuid() == 0);
}
