/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What linking librfs adds to the start of a process: starts programs in turn, each from posix_spawn to the end of
 * wait, and compares the medians with that of the first. See load.sh.
 * usage: load ROUNDS NAME=PROGRAM... */
#define _GNU_SOURCE
#include <err.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { WARM_UP = 20 };

static double microseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double start(char *program)
{
    char *const arguments[] = {program, NULL};
    const double before = microseconds();
    pid_t pid;
    int status;

    if (posix_spawn(&pid, program, NULL, NULL, arguments, environ) != 0 || waitpid(pid, &status, 0) != pid ||
        status != 0)
        errx(1, "%s failed", program);
    return microseconds() - before;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    const int rounds = argc > 2 ? atoi(argv[1]) : 0, n = argc - 2;
    double *times, first = 0;

    if (rounds <= 0)
        errx(2, "usage: load ROUNDS NAME=PROGRAM...");
    if ((times = calloc((size_t)rounds * (size_t)n, sizeof(*times))) == NULL)
        err(1, NULL);
    for (int round = -WARM_UP; round < rounds; round++)
        for (int i = 0; i < n; i++) {
            char *program = strchr(argv[2 + i], '=');
            const double time = start(program == NULL ? argv[2 + i] : program + 1);

            if (round >= 0)
                times[i * rounds + round] = time;
        }
    for (int i = 0; i < n; i++) {
        double *of_one = times + i * rounds;
        const int length = (int)strcspn(argv[2 + i], "=");

        qsort(of_one, (size_t)rounds, sizeof(*of_one), compare);
        if (i == 0)
            first = of_one[rounds / 2];
        else
            printf("ratio load %.*s/%.*s %.3f (%+.0f us of %.0f)\n", length, argv[2 + i],
                (int)strcspn(argv[2], "="), argv[2], of_one[rounds / 2] / first, of_one[rounds / 2] - first, first);
    }
    free(times);
    return 0;
}
