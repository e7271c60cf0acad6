/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define _GNU_SOURCE
#include "sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC /* Linux 6.3 */
#define MFD_EXEC 0x0010U
#endif

static const int all_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

/* The file is a memfd without a name in any file system. Nobody can change it, not even by /proc/PID/exe. */
static int sealed_copy(int program)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    struct stat status;
    int copy = memfd_create("rfsrun", flags | MFD_EXEC);
    if (copy < 0 && errno == EINVAL)
        copy = memfd_create("rfsrun", flags);
    if (copy < 0 || fstat(program, &status) != 0)
        return -1;
    for (off_t done = 0; done < status.st_size;)
        if (sendfile(copy, program, &done, (size_t)(status.st_size - done)) <= 0)
            return -1;
    return fcntl(copy, F_ADD_SEALS, all_seals) == 0 ? copy : -1;
}

int run_sealed(char **argv)
{
    int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (program < 0)
        return -errno;
    if (fcntl(program, F_GET_SEALS) == all_seals) { /* EINVAL for an ordinary file */
        close(program);
        prctl(PR_SET_NAME, "rfsrun"); /* of a descriptor's number otherwise */
        return 0;
    }
    int copy = sealed_copy(program);
    if (copy >= 0)
        syscall(SYS_execveat, copy, "", argv, environ, AT_EMPTY_PATH);
    int error = errno;
    close(program);
    close(copy);
    return -error;
}
