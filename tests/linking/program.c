/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Uses librfs and another Rust library beside it, unless ALONE is defined. Each has to work: librfs reads a
 * configuration and says what is wrong with it, the other catches its own panic. */
#include <errno.h>
#include <librfs.h>
#include <stdio.h>
#include <string.h>

int beside(void);

int main(void)
{
    static const char json[] = "{\"ociVersion\": \"1.0.0\", \"root\": {\"path\": 5}}";
    rfs_error err = {.size = sizeof(err)};
    rfs_config *config = NULL;

    if (strcmp(rfs_version(), RFS_VERSION) != 0)
        return fprintf(stderr, "librfs %s behind the header of %s\n", rfs_version(), RFS_VERSION), 1;
    if (rfs_config_from_oci(json, sizeof(json) - 1, "/", &config, &err) != -EINVAL ||
        strstr(err.message, "root.path") == NULL)
        return fprintf(stderr, "librfs read a number as a path: %s\n", err.message), 1;
#ifndef ALONE
    if (beside() != 7)
        return fprintf(stderr, "the other library did not catch its panic\n"), 1;
#endif
    return 0;
}
