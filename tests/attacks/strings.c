/* Names and paths that mean something else to whoever cuts, joins or decodes them.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void naive_bind(const char *source)
{
    mkdir(image("data"), 0755);
    mount(source, image("data"), NULL, MS_BIND, NULL);
}

static bool sees_secret(const char *root) { return begins_with(root, "data/secret", "the host's secret"); }

/* A source that was found to end as it must, and ends before for who takes it for a C string. */
static void naive_nul(void)
{
    char source[8192];
    size_t length = (size_t)snprintf(source, sizeof source, "%s%c/volume", host(""), '\0');
    CHECK(length > 7 && memcmp(source + length - 7, "/volume", 7) == 0);
    naive_bind(source);
}

static void spec_nul(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'bind', 'source': '%s\\u0000/volume'}", host(""));
}

static void spec_nul_destination(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/data\\u0000/below', 'type': 'bind', 'source': '%s'}", host(""));
}

/* A destination of two lines, of which the second is a mount of its own. */
static const char *two_lines(void)
{
    static char line[8192];
    snprintf(line, sizeof line, "%s /none none bind,optional,create=dir 0 0\n%s data none bind,create=dir 0 0",
        in_work("volume"), host(""));
    return line;
}

static void naive_lines(void)
{
    char *line = strdup(two_lines());
    FILE *file = fmemopen(line, strlen(line), "r");
    for (struct mntent *entry; (entry = getmntent(file));)
        if (strcmp(entry->mnt_dir, "data") == 0)
            naive_bind(entry->mnt_fsname);
    fclose(file);
    free(line);
}

/* A volume whose name decodes to another, which leads to the host. */
static void escaped_name(void)
{
    make_directory(in_work("a\\040b"), 0755);
    CHECK(symlink(host(""), in_work("a b")) == 0);
}

static void naive_escaped(void)
{
    char line[8192];
    snprintf(line, sizeof line, "%s/a\\040b data none bind 0 0\n", work);
    FILE *file = fmemopen(line, strlen(line), "r");
    struct mntent *entry = getmntent(file);
    naive_bind(entry->mnt_fsname);
    fclose(file);
}

static void spec_escaped(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'bind', 'source': '%s/a\\\\040b'}", work);
}

/* What mountinfo calls a directory that was removed: proc_pid_mountinfo(5). Who cuts that off binds another. */
static void deleted_name(void)
{
    make_directory(in_work("host//deleted"), 0755);
}

static void naive_deleted(void)
{
    char source[8192];
    snprintf(source, sizeof source, "%s//deleted", host(""));
    *strstr(source, "//deleted") = '\0';
    naive_bind(source);
}

static void spec_deleted(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'bind', 'source': '%s//deleted'}", host(""));
}

/* A path that is cut where PATH_MAX ends leads elsewhere. */
static const char *long_source(void)
{
    static char path[PATH_MAX + 64];
    size_t n = (size_t)snprintf(path, sizeof path, "%s", host(""));
    memset(path + n, '/', sizeof path - n);
    snprintf(path + PATH_MAX, 64, "../volume");
    return path;
}

static void naive_long(void)
{
    char source[PATH_MAX];
    strncpy(source, long_source(), sizeof source - 1);
    source[sizeof source - 1] = '\0';
    naive_bind(source);
}

static void spec_long(json_object *spec)
{
    spec_add(spec, "mounts", "{'destination': '/data', 'type': 'bind', 'source': '%s'}", long_source());
}

/* The naive runtime follows so many links, and takes what it has then for a path without any; but that leads out. */
enum { LINKS = 255 };

static void nested_links(void)
{
    for (int i = 0; i < LINKS; i++) {
        char from[32], to[32];
        snprintf(from, sizeof from, "link%d", i);
        snprintf(to, sizeof to, "link%d", i + 1);
        image_link(to, from);
    }
    image_link(host("empty"), "link255");
}

static void naive_nested(void)
{
    char path[PATH_MAX] = "link0", to[PATH_MAX];
    for (int i = 0; i < LINKS; i++) {
        ssize_t n = readlink(image(path), to, sizeof to - 1);
        if (n < 0)
            break;
        to[n] = '\0';
        memcpy(path, to, (size_t)n + 1);
    }
    CHECK(mount("tmpfs", image(path), "tmpfs", 0, NULL) == 0);
}

static void spec_nested(json_object *spec) { spec_add(spec, "mounts", TMPFS("/link0", "")); }

/* A source in the image, which is a link to the host. */
static void source_link(void) { image_link(host(""), "innocent"); }
static void naive_source_link(void) { naive_bind(image("innocent")); }
static const char *relative_source(void) { return "/innocent data none bind,relative,create=dir 0 0"; }

int main(void)
{
    static const struct attack attacks[] = {
        {.cves = "none", .name = "a source has a NUL byte in it", .naive = naive_nul, .spec = spec_nul, .won =
         sees_secret,
         .outcome = IS_REFUSED},
        {.cves = "none", .name = "a destination has a NUL byte in it", .naive = naive_nul, .spec = spec_nul_destination,
         .won = sees_secret, .outcome = IS_REFUSED},
        {.cves = "none", .name = "a line of an fstab is two", .naive = naive_lines, .fstab = two_lines, .won =
         sees_secret,
         .outcome = IS_REFUSED},
        {.cves = "none", .name = "a source's name has an escape of mountinfo in it", .arrange = escaped_name,
         .naive = naive_escaped, .spec = spec_escaped, .won = sees_secret},
        {.cves = "none", .name = "a source's name is //deleted", .arrange = deleted_name, .naive = naive_deleted,
         .spec = spec_deleted, .won = sees_secret},
        {.cves = "none", .name = "a source is longer than PATH_MAX", .naive = naive_long, .spec = spec_long,
         .won = sees_secret, .outcome = IS_REFUSED},
        {.cves = "none", .name = "a target is a link after 255 others", .arrange = nested_links, .naive = naive_nested,
         .spec = spec_nested, .outcome = IS_REFUSED},
        {.cves = "CVE-2024-1753", .name = "a source in the image is a link to the host", .arrange = source_link,
         .naive = naive_source_link, .fstab = relative_source, .won = sees_secret, .outcome = IS_REFUSED},
    };
    return run_attacks(attacks, COUNT(attacks));
}
