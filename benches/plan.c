/* What it takes to read and plan a configuration: time and memory for each mount, from 100 to 60,000 of them, half of
 * them binds with four options and half new file systems.
 * usage: plan; it needs neither root nor namespaces.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <librfs.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 7

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static char *configuration(int mounts, size_t *length)
{
    char *json = NULL;
    FILE *out = open_memstream(&json, length);
    if (!out)
        abort();
    fputs("{\"ociVersion\": \"1.2.0\", \"root\": {\"path\": \"rootfs\"}, "
          "\"linux\": {\"namespaces\": [{\"type\": \"mount\"}]}, \"mounts\": [",
          out);
    for (int i = 0; i < mounts; i++) {
        fputs(i ? ", " : "", out);
        if (i % 2)
            fprintf(out, "{\"destination\": \"/data/%d/etc\", \"type\": \"bind\", \"source\": \"/var/lib/volumes/%d\", "
                         "\"options\": [\"rbind\", \"rprivate\", \"ro\", \"nosuid\"]}", i, i);
        else
            fprintf(out, "{\"destination\": \"/run/%d\", \"type\": \"tmpfs\", \"source\": \"tmpfs\", "
                         "\"options\": [\"nosuid\", \"nodev\", \"mode=755\", \"size=64k\"]}", i);
    }
    fputs("]}", out);
    fclose(out);
    return json;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(void)
{
    static const int counts[] = {100, 1000, 10000, 60000};
    char bundle[] = "/tmp/librfs-plan-XXXXXX", rootfs[64];
    if (!mkdtemp(bundle))
        return perror(bundle), 1;
    snprintf(rootfs, sizeof rootfs, "%s/rootfs", bundle);
    if (mkdir(rootfs, 0755) != 0)
        return perror(rootfs), 1;
    printf("%8s %16s %16s %16s %16s\n", "mounts", "read, us/mount", "plan, us/mount", "both, us/mount",
           "plan, B/mount");
    int result = 0;
    for (size_t c = 0; c < sizeof counts / sizeof *counts && result == 0; c++) {
        double reading[ROUNDS], planning[ROUNDS], both[ROUNDS];
        size_t length, memory = 0;
        char *json = configuration(counts[c], &length);
        for (int round = 0; round < ROUNDS; round++) {
            rfs_error err = {.size = sizeof err};
            rfs_config *config;
            rfs_plan *plan;
            double start = now();
            if (rfs_config_from_oci(json, length, bundle, &config, &err) != 0) {
                result = (fprintf(stderr, "%s\n", err.message), 1);
                break;
            }
            double between = now();
            size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
            if (rfs_plan_new(config, &plan, &err) != 0) {
                result = (fprintf(stderr, "%s\n", err.message), 1);
                break;
            }
            double end = now();
            memory = mallinfo2().uordblks + mallinfo2().hblkhd - before;
            rfs_plan_free(plan);
            rfs_config_free(config);
            reading[round] = (between - start) / counts[c];
            planning[round] = (end - between) / counts[c];
            both[round] = (end - start) / counts[c];
        }
        free(json);
        double *figures[] = {reading, planning, both};
        for (size_t i = 0; i < 3; i++)
            qsort(figures[i], ROUNDS, sizeof(double), compare);
        if (result == 0)
            printf("%8d %16.3f %16.3f %16.3f %16zu\n", counts[c], reading[ROUNDS / 2], planning[ROUNDS / 2],
                   both[ROUNDS / 2], memory / (size_t)counts[c]);
    }
    rmdir(rootfs);
    rmdir(bundle);
    return result;
}
