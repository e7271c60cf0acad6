/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <librfs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* The stack that a call may take (librfs(7)), and the size that is watched, which is less than the smallest stack
 * that a test gives. */
#define LIMIT (48 << 10)
#define AREA (128 << 10)
#define PATTERN UINT64_C(0x5a5aa5a5c3c33c3c)
/* The stack that the functions of this file take. */
#define OWN 1024
#define REPORT_FD 1000

static struct watched here;
static struct watched *shared = &here;

struct call {
    unsigned number;
    struct call *outer;
    uint64_t *low; /* the end of the area */
    size_t deepest;
};
/* NULL in the caller's own code. A child that shares memory has that of the thread which waits for it. */
static _Thread_local struct call *current __attribute__((tls_model("initial-exec")));

static const char *const names[] = {
#define NAME(call) #call,
    WATCHED_CALLS(NAME)
#undef NAME
};

const struct watched *watched_memory(void)
{
    return shared;
}

/* ---- The heap ---- */

static void refuse(const char *format, ...)
{
    char text[200];
    current = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (write(fcntl(REPORT_FD, F_GETFD) >= 0 ? REPORT_FD : STDERR_FILENO, text, (size_t)length) > 0)
        abort();
    abort();
}

static void count(size_t *counter, const char *what)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
    if (current)
        refuse("# FAILED watch: %s calls %s\n", names[current->number], what);
}

void *malloc(size_t size)
{
    count(&shared->allocations, "malloc");
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count(&shared->allocations, "calloc");
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    count(&shared->allocations, "realloc");
    return __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t n, size_t size)
{
    count(&shared->allocations, "reallocarray");
    return size && n > SIZE_MAX / size ? NULL : __libc_realloc(old, n * size);
}

void *memalign(size_t alignment, size_t size)
{
    count(&shared->allocations, "memalign");
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count(&shared->allocations, "aligned_alloc");
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count(&shared->allocations, "posix_memalign");
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

void free(void *memory)
{
    if (memory)
        count(&shared->frees, "free");
    __libc_free(memory);
}

/* ---- The stack: painted before a call, and looked at after it ---- */

__attribute__((noinline)) static void paint(uint64_t *low)
{
    const uint64_t *end = (uint64_t *)((uintptr_t)__builtin_frame_address(0) - OWN);
    for (volatile uint64_t *at = low; at < end; at++)
        *at = PATTERN;
}

__attribute__((noinline)) static void look(struct call *call)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    const volatile uint64_t *at = call->low;
    while ((uintptr_t)at < frame - OWN && *at == PATTERN)
        at++;
    if (frame - (uintptr_t)at > call->deepest)
        call->deepest = frame - (uintptr_t)at;
}

static void enter(struct call *call, unsigned number)
{
    *call =
        (struct call){number, current, (uint64_t *)(((uintptr_t)__builtin_frame_address(0) - AREA) & ~(uintptr_t)7), 0};
    paint(call->low);
    current = call;
}

static int leave(struct call *call, int rc)
{
    look(call);
    current = call->outer;
    size_t *most = &shared->stack[call->number], before = __atomic_load_n(most, __ATOMIC_RELAXED);
    while (call->deepest > before &&
           !__atomic_compare_exchange_n(most, &before, call->deepest, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    if (call->deepest > LIMIT)
        refuse("# FAILED watch: %s takes %zu bytes of stack\n", names[call->number], call->deepest);
    return rc;
}

/* ---- The calls ---- */

#define WATCH(name, parameters, ...) \
    static int (*real_##name) parameters; \
    int name parameters \
    { \
        struct call frame; \
        enter(&frame, watched_##name); \
        return leave(&frame, real_##name(__VA_ARGS__)); \
    }

WATCH(rfs_finalize, (rfs_container *container, rfs_error *err), container, err)
WATCH(rfs_mask_paths, (rfs_container *container, rfs_error *err), container, err)
WATCH(rfs_readonly_paths, (rfs_container *container, rfs_error *err), container, err)
WATCH(rfs_bind_console, (rfs_container *container, int pty, rfs_error *err), container, pty, err)
WATCH(rfs_bind_fd, (rfs_container *container, int fd, const char *target, rfs_error *err), container, fd, target, err)
WATCH(rfs_run_hooks, (const rfs_plan *plan, rfs_hook_kind kind, const char *state, size_t length, rfs_error *err), plan,
      kind, state, length, err)
WATCH(rfs_mountfd_request, (void *socket, const rfs_mount_request *request), socket, request)
WATCH(rfs_attach, (const rfs_plan *plan, uint64_t index, int mountfd, rfs_error *err), plan, index, mountfd, err)
WATCH(rfs_container_set_rootfs_fd, (rfs_container *container, int fd, rfs_error *err), container, fd, err)
WATCH(rfs_container_set_source_fd, (rfs_container *container, uint64_t index, int fd, rfs_error *err), container, index,
      fd, err)

/* The caller's code in the midst of a call. */

static struct call *begin_callback(void)
{
    struct call *call = current;
    look(call);
    current = NULL;
    return call;
}

static void end_callback(struct call *call)
{
    paint(call->low);
    current = call;
}

static int call_mountfd(void *userdata, const rfs_mount_request *request)
{
    const rfs_callbacks *theirs = userdata;
    struct call *call = begin_callback();
    int rc = theirs->mountfd(theirs->userdata, request);
    end_callback(call);
    return rc;
}

static int call_point(void *userdata, rfs_point point)
{
    const rfs_callbacks *theirs = userdata;
    struct call *call = begin_callback();
    int rc = theirs->point(theirs->userdata, point);
    end_callback(call);
    return rc;
}

static void call_log(void *userdata, rfs_log_level level, const char *message)
{
    const rfs_callbacks *theirs = userdata;
    struct call *call = begin_callback();
    theirs->log(theirs->userdata, level, message);
    end_callback(call);
}

static int (*real_rfs_prepare)(rfs_container *, const rfs_callbacks *, rfs_error *);

int rfs_prepare(rfs_container *container, const rfs_callbacks *callbacks, rfs_error *err)
{
    /* They serve to the container's end. */
    static _Thread_local rfs_callbacks theirs __attribute__((tls_model("initial-exec")));
    rfs_callbacks ours;
    struct call frame;
    if (callbacks && callbacks->size >= sizeof callbacks->size && callbacks->size <= sizeof ours) {
        memset(&theirs, 0, sizeof theirs);
        memcpy(&theirs, callbacks, callbacks->size);
        ours = theirs;
        ours.userdata = &theirs;
        ours.mountfd = theirs.mountfd ? call_mountfd : NULL;
        ours.point = theirs.point ? call_point : NULL;
        ours.log = theirs.log ? call_log : NULL;
        callbacks = &ours;
    }
    enter(&frame, watched_rfs_prepare);
    return leave(&frame, real_rfs_prepare(container, callbacks, err));
}

/* Runs before everything else, because later code may run in the child of a raw clone. */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("RFS_WATCH");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0 && ftruncate(fd, sizeof here) != 0)
        abort();
    void *memory =
        mmap(NULL, sizeof here, PROT_READ | PROT_WRITE, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED)
        shared = memory;
    if (fd >= 0)
        close(fd);
#define FIND(call) memcpy(&real_##call, &(void *){dlsym(RTLD_NEXT, #call)}, sizeof(void *));
    WATCHED_CALLS(FIND)
#undef FIND
}
