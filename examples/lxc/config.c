/* The keys of a file of lxc.container.conf(5) that lxc-like knows.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include "lxc.h"

#include <err.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

void must(int rc, const rfs_error *error)
{
    if (rc < 0)
        errx(125, "%s", error->message);
}

FILE *opened(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    return file ? file : (err(125, "%s", path), NULL);
}

bool is(const char *value, const char *word)
{
    return value && strcmp(value, word) == 0;
}

/* An empty value removes what the key was given before: lxc.container.conf(5). */
static void push(struct list *list, const char *value)
{
    if (!*value) {
        while (list->n > 0)
            free(list->values[--list->n]);
        return;
    }
    if (list->n == MAX_VALUES)
        errx(125, "more than %d values: %s", MAX_VALUES, value);
    list->values[list->n++] = strdup(value);
}

static void set(char **to, const char *value)
{
    free(*to);
    *to = *value ? strdup(value) : NULL;
}

static void take_automatic(struct lxc *lxc, const char *value)
{
    static const char *const kinds[KINDS] = {"proc", "sys", "cgroup"};
    char *words = strdup(value), *save = words;
    for (char *word = strtok_r(words, " \t", &save); word; word = strtok_r(NULL, " \t", &save))
        for (size_t kind = 0; kind < KINDS; kind++)
            if (strncmp(word, kinds[kind], strlen(kinds[kind])) == 0)
                lxc->automatic[kind] = strchr(word, ':') ? strchr(word, ':') + 1 : "mixed";
    if (*value == '\0')
        memset(lxc->automatic, 0, sizeof lxc->automatic);
}

static void include(struct lxc *lxc, const char *path)
{
    glob_t files = {0};
    char pattern[4200];
    snprintf(pattern, sizeof pattern, "%s%s", path, path[strlen(path) - 1] == '/' ? "*.conf" : "");
    for (size_t i = glob(pattern, 0, NULL, &files) == 0 ? 0 : files.gl_pathc; i < files.gl_pathc; i++)
        read_configuration(lxc, files.gl_pathv[i]);
    globfree(&files);
}

static void take_key(struct lxc *lxc, const char *key, const char *value)
{
#define IS(name) (strcmp(key, name) == 0)
    rfs_id_mapping id;
    char kind, line[4096];
    if (IS("lxc.include")) include(lxc, value);
    else if (IS("lxc.rootfs.path")) set(&lxc->rootfs, strncmp(value, "dir:", 4) == 0 ? value + 4 : value);
    else if (IS("lxc.mount.entry")) push(&lxc->entries, value);
    else if (IS("lxc.mount.fstab")) {
        FILE *file = opened(value, "re");
        while (fgets(line, sizeof line, file))
            push(&lxc->fstab, line);
        fclose(file);
    } else if (IS("lxc.mount.auto")) take_automatic(lxc, value);
    else if (IS("lxc.autodev")) lxc->autodev = atoi(value) != 0;
    else if (IS("lxc.tty.dir")) set(&lxc->tty_directory, value);
    else if (IS("lxc.tty.max")) lxc->ttys = atoi(value);
    else if (IS("lxc.pty.max")) lxc->ptys = atoi(value);
    else if (IS("lxc.hook.mount")) push(&lxc->hooks[0], value);
    else if (IS("lxc.hook.autodev")) push(&lxc->hooks[1], value);
    else if (IS("lxc.idmap") && !*value) lxc->n_uids = lxc->n_gids = 0;
    else if (IS("lxc.idmap") && sscanf(value, "%c %u %u %u", &kind, &id.container_id, &id.host_id, &id.count) == 4) {
        if (lxc->n_uids + lxc->n_gids == MAX_IDS)
            errx(125, "more than %d lxc.idmap", MAX_IDS);
        *(kind == 'u' ? &lxc->uids[lxc->n_uids++] : &lxc->gids[lxc->n_gids++]) = id;
    }
}

void read_configuration(struct lxc *lxc, const char *path)
{
    char line[4096], key[64];
    FILE *file = opened(path, "re");
    while (fgets(line, sizeof line, file)) {
        int start = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, " %63[a-z_.0-9] = %n", key, &start) == 1 && start > 0)
            take_key(lxc, key, line + start);
    }
    fclose(file);
}
