/* Containers whose set-up fails, each at another step. The tests of errors, descriptors and allocation use them.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RFS_TEST_BROKEN_H
#define RFS_TEST_BROKEN_H

#include "bundle.h"

struct broken {
    const char *name;
    /* Makes the image (after make_image()) and changes the spec (of default_spec()). */
    void (*make)(json_object *spec);
    /* In the container's namespaces, before rfs_prepare(). May be NULL. */
    void (*before)(void);
    bool in_finalize; /* rfs_prepare() succeeds */
    struct expected expected;
};

extern const struct broken all_broken[];
extern const size_t n_broken;

rfs_plan *broken_plan(const struct broken *broken);

#endif
