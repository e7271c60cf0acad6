/* A bundle directory for tests that only parse and plan, and one attempt at it.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_ATTEMPT_H
#define RFS_TEST_ATTEMPT_H

#include "harness.h"

/* The value of outputs before a call that must not write them. */
#define SENTINEL ((void *)(uintptr_t)0x5a5a5a5a)

/* Makes a directory that has rootfs (empty), file, link (to rootfs) and loop (to itself). */
extern const char *test_bundle;
extern const char *test_rootfs;

struct attempt {
    int rc;
    rfs_stage stage; /* which call failed: RFS_STAGE_CONFIG or RFS_STAGE_PLAN */
    rfs_error err;
};

/* Calls rfs_config_from_oci and rfs_plan_new, and frees everything. It checks that outputs are written only on
 * success. */
struct attempt attempt_json(const char *json, size_t length);

/* Calls rfs_plan_new, and frees the config. */
struct attempt attempt_plan(rfs_config *config);

/* Copies text with ' turned into ". */
char *quoted(const char *text);

/* If the plan failed and `says` is "mounts[1]" or the like, err must have that object and index. */
void attempt_expects_object(const struct attempt *attempt, const char *says, struct expected *expected);

/* run_cases_here() with the bundle made before and removed after. */
int run_attempts(const struct test_case *cases, size_t n);

#endif
