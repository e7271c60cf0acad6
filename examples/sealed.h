/* A program that a container can't overwrite.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef SEALED_H
#define SEALED_H

/* The first thing in main(): executes this program once more, from a copy in memory that is sealed, and returns in
 * that copy. A container's process finds the program that made it at /proc/PID/exe, and could write to its file once
 * nobody executes it any more (CVE-2019-5736). Returns 0, or -errno if there is no copy: then no container must be
 * started. */
int run_sealed(char **argv);

#endif
