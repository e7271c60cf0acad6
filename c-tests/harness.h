/* The harness of every C test of librfs. It runs named cases, each in its own process and mount namespace, and
 * reports them as TAP. It checks the error that a call must give. It compares the host's mounts and /dev before and
 * after. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RFS_TEST_HARNESS_H
#define RFS_TEST_HARNESS_H

#include "unrefused.h"

#include <librfs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct test_case {
    const char *name;
    void (*run)(void);
};

/* Runs every case, or those that the program's arguments name, in a child that has a mount namespace of its own, where
 * everything is private and `work` is an empty tmpfs. Returns what main() must return. */
int run_cases(const struct test_case *cases, size_t n);

/* The same in this process, one after the other and without any set-up, for cases that only parse. */
int run_cases_here(const struct test_case *cases, size_t n);

/* Prints a plan of no tests, if this machine or build can't run them. Returns what main() must return. */
int skip_all(const char *why);

/* The name of the case that runs. */
extern const struct test_case *this_case;

/* An absolute path without symlinks; see run_cases(). */
extern const char *work;

/* /proc of the test itself, which a container with another root and pid namespace can still read. */
extern int host_proc;

/* Fails the case, which goes on. */
bool check_at(bool ok, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define CHECK(condition) check_at((condition), __FILE__, __LINE__, "%s", #condition)
#define CHECK_THAT(condition, ...) check_at((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Fails the case and ends its process (not for run_cases_here). */
#define REQUIRE(condition) do { if (!CHECK(condition)) end_case(); } while (0)
#define REQUIRE_THAT(condition, ...) do { if (!CHECK_THAT(condition, __VA_ARGS__)) end_case(); } while (0)
_Noreturn void end_case(void);

/* Ends the case's process, because this machine or this build can't run it (not for run_cases_here). */
_Noreturn void skip_case(const char *why);

/* A line of explanation in the output. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs `inside` in a child made by a bare clone(2) with these CLONE_NEW* flags, and waits. A check that fails there
 * fails the case. */
void in_child(unsigned long namespaces, void (*inside)(void *), void *data);

/* The same in a child that shares this process's memory (CLONE_VM | CLONE_VFORK), as after vfork(2). */
void in_sharing_child(unsigned long namespaces, void (*inside)(void *), void *data);

/* The namespaces of an ordinary container. */
#define CONTAINER_NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)

/* An rfs_error for a call. It is filled with rubbish, which a failing call must replace. */
rfs_error fresh_error(void);

/* The error that a call must give. Zero or NULL means any. index counts only with object. */
struct expected {
    int code;
    rfs_stage stage;
    rfs_object object;
    int64_t index;
    const char *says;
    const char *says_too;
    const char *path;
};
bool check_error_at(const char *file, int line, int rc, const rfs_error *err, const struct expected *expected);
#define CHECK_ERROR(rc, err, ...) \
    check_error_at(__FILE__, __LINE__, (rc), (err), &(struct expected){__VA_ARGS__})

/* Checks that a call succeeds. If it fails, the message is shown. */
bool check_success_at(const char *file, int line, int rc, const rfs_error *err, const char *call);
#define CHECK_SUCCESS(rc, err) check_success_at(__FILE__, __LINE__, (rc), (err), #rc)
#define REQUIRE_SUCCESS(rc, err) do { if (!CHECK_SUCCESS(rc, err)) end_case(); } while (0)

/* A path in `work`. It is in a ring of buffers, and so valid for the next few calls. */
const char *in_work(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether a system call is missing or refused altogether. The call is made only to learn this. */
bool is_refused(long result);
/* mount_setattr(2) came with Linux 5.12. No other call changes the attributes of a whole tree, or idmaps a mount. */
bool has_mount_setattr(void);

/* Lists a directory's entries (name, type, mode, device), to compare it before and after. malloced. */
char *list_directory(const char *path);
char *read_all(int directory, const char *path);

#endif
