/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "mounts.h"
#include "bundle.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue */
static void write_line(FILE *out, char *line)
{
    char root[4096], mountpoint[4096], options[512], *rest = strstr(line, " - ");
    int end = 0;
    REQUIRE_THAT(rest && sscanf(line, "%*d %*d %*s %4095s %4095s %511s%n", root, mountpoint, options, &end) == 3,
                 "mountinfo: %s", line);
    fprintf(out, "%s %s %s", mountpoint, root, options);
    *rest = '\0';
    for (char *tag = strtok(line + end, " "); tag; tag = strtok(NULL, " "))
        fprintf(out, " %.*s", (int)strcspn(tag, ":"), tag);
    fprintf(out, " %s\n", rest + 1);
}

char *mount_table(void)
{
    char *text = read_all(host_proc, "self/mountinfo"), *table = NULL;
    size_t size;
    REQUIRE(text);
    FILE *out = open_memstream(&table, &size);
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        *end = '\0';
        write_line(out, line);
        line = end + 1;
    }
    fclose(out);
    free(text);
    return table;
}

void check_mount_table(const char *expected)
{
    char *table = mount_table(), *patterns = strdup(expected);
    char *have = table, *want = patterns;
    for (;;) {
        char *line = strsep(&have, "\n"), *pattern = strsep(&want, "\n");
        bool end = !line || !*line, end_wanted = !pattern || !*pattern;
        if (end && end_wanted)
            break;
        if (end)
            CHECK_THAT(false, "missing mount: %s", pattern);
        else if (end_wanted)
            CHECK_THAT(false, "unexpected mount: %s", line);
        else
            CHECK_THAT(fnmatch(pattern, line, FNM_NOESCAPE) == 0, "mount: %s, expected: %s", line, pattern);
    }
    free(table);
    free(patterns);
}

/* The last line for the mountpoint, or NULL. Ends `table` there. */
static char *line_of(char *table, const char *mountpoint)
{
    size_t length = strlen(mountpoint);
    char *found = NULL;
    for (char *line; (line = strsep(&table, "\n"));)
        if (strncmp(line, mountpoint, length) == 0 && line[length] == ' ')
            found = line;
    return found;
}

bool check_mount(const char *pattern)
{
    char mountpoint[4096];
    snprintf(mountpoint, sizeof mountpoint, "%.*s", (int)strcspn(pattern, " "), pattern);
    char *table = mount_table();
    char *line = line_of(table, mountpoint);
    bool same = line && fnmatch(pattern, line, FNM_NOESCAPE) == 0;
    CHECK_THAT(same, "mount: %s, expected: %s", line ? line : "none", pattern);
    free(table);
    return same;
}

void check_no_mount(const char *mountpoint)
{
    char *table = mount_table();
    char *line = line_of(table, mountpoint);
    CHECK_THAT(!line, "unexpected mount: %s", line);
    free(table);
}

static bool in_proc(const char *path)
{
    return strncmp(path, "/proc/", 6) == 0;
}

void expect_readonly_paths(FILE *out, json_object *spec)
{
    const char *path;
    for (size_t i = 0; (path = path_in_spec(spec, "linux.readonlyPaths", i)); i++) {
        REQUIRE(in_proc(path));
        if (stat(path, &(struct stat){0}) == 0)
            fprintf(out, "%s %s ro*,relatime - proc proc rw\n", path, path + strlen("/proc"));
    }
}

void expect_masked_paths(FILE *out, json_object *spec)
{
    const char *path;
    for (size_t i = 0; (path = path_in_spec(spec, "linux.maskedPaths", i)); i++) {
        struct stat st;
        if (stat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            fprintf(out, "%s / ro,*relatime - tmpfs tmpfs ro*\n", path);
        else
            fprintf(out, "%s /null ro,nosuid,noexec - tmpfs tmpfs rw,size=65536k,mode=755*\n", path);
    }
}

size_t mounts_on(const char *mountpoint)
{
    char *table = mount_table();
    size_t n = 0, length = strlen(mountpoint);
    for (char *rest = table, *line; (line = strsep(&rest, "\n"));)
        n += strncmp(line, mountpoint, length) == 0 && line[length] == ' ';
    free(table);
    return n;
}
