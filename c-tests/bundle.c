/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP2_SUPER_MAGIC 0x63677270

const char *bundle(void)
{
    return in_work("bundle");
}

const char *image(const char *path)
{
    return in_work("bundle/rootfs/%s", path);
}

static void make_parents(const char *path)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        REQUIRE_THAT(mkdir(copy, 0755) == 0 || errno == EEXIST, "mkdir %s", copy);
    }
}

void make_directory(const char *path, mode_t mode)
{
    make_parents(path);
    REQUIRE_THAT(mkdir(path, 0700) == 0 || errno == EEXIST, "mkdir %s", path);
    REQUIRE(chmod(path, mode) == 0);
}

void make_file(const char *path, const char *text)
{
    make_parents(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    REQUIRE_THAT(fd >= 0, "create %s", path);
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

void image_directory(const char *path, mode_t mode)
{
    make_directory(image(path), mode);
}

void image_file(const char *path, const char *text)
{
    make_file(image(path), text);
}

void image_link(const char *target, const char *path)
{
    make_parents(image(path));
    REQUIRE_THAT(symlink(target, image(path)) == 0, "symlink %s", path);
}

void make_image(void)
{
    static const char *const directories[] = {"bin", "dev", "etc", "proc", "sys", "tmp"};
    for (size_t i = 0; i < COUNT(directories); i++)
        image_directory(directories[i], 0755);
    int in = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
    int out = open(image("bin/busybox"), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    struct stat st;
    REQUIRE_THAT(in >= 0 && fstat(in, &st) == 0, "/bin/busybox is missing: install busybox-static");
    REQUIRE(sendfile(out, in, NULL, (size_t)st.st_size) == st.st_size);
    close(in);
    close(out);
    image_link("busybox", "bin/sh");
}

static json_object *parse(const char *json)
{
    json_object *object = json_tokener_parse(json); /* not strict, so '...' is a string */
    REQUIRE_THAT(object, "the test's own JSON: %s", json);
    return object;
}

static char *replace_all(const char *text, const char *from, const char *to)
{
    char *result = NULL;
    size_t size;
    FILE *out = open_memstream(&result, &size);
    for (const char *hit; (hit = strstr(text, from)); text = hit + strlen(from))
        fprintf(out, "%.*s%s", (int)(hit - text), text, to);
    fputs(text, out);
    fclose(out);
    return result;
}

/* The output of `TOOL spec`. If there is no such tool, RFS_TEST_SPECS names a folder with TOOL.json. */
static char *written_spec(const char *tool)
{
    const char *stored = getenv("RFS_TEST_SPECS");
    if (stored) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.json", stored, tool);
        char *text = read_all(AT_FDCWD, path);
        REQUIRE_THAT(text, "%s", path);
        return text;
    }
    make_directory(in_work("spec"), 0755);
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(in_work("spec")) == 0)
            execlp(tool, tool, "spec", (char *)NULL);
        _exit(127);
    }
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    REQUIRE_THAT(status == 0, "`%s spec` failed: is %s installed?", tool, tool);
    char *text = read_all(AT_FDCWD, in_work("spec/config.json"));
    REQUIRE(text);
    unlink(in_work("spec/config.json"));
    return text;
}

json_object *default_spec(const char *tool)
{
    char *text = written_spec(tool);
    json_object *spec = parse(text);
    free(text);
    spec_set(spec, "process.terminal", "false");
    return spec;
}

json_object *spec_from_data(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", TEST_DATA, name);
    char *text = read_all(AT_FDCWD, path);
    REQUIRE_THAT(text, "%s", path);
    char *replaced = replace_all(text, "@WORK@", work);
    json_object *spec = parse(replaced);
    free(text);
    free(replaced);
    return spec;
}

json_object *empty_spec(void)
{
    return parse("{'ociVersion': '1.0.2', 'root': {'path': 'rootfs'}, 'process': {'cwd': '/'}, 'mounts': [], "
                 "'linux': {'namespaces': [{'type': 'mount'}, {'type': 'pid'}], 'devices': [], 'maskedPaths': [], "
                 "'readonlyPaths': []}}");
}

static json_object *find(json_object *object, const char *field)
{
    char copy[200];
    snprintf(copy, sizeof copy, "%s", field);
    for (char *name = strtok(copy, "."); name && object; name = strtok(NULL, "."))
        object = json_object_object_get(object, name);
    return object;
}

void spec_set(json_object *spec, const char *field, const char *json)
{
    char parent[200];
    const char *dot = strrchr(field, '.');
    snprintf(parent, sizeof parent, "%.*s", dot ? (int)(dot - field) : 0, field);
    json_object *object = find(spec, parent);
    REQUIRE_THAT(object, "no %s in the spec", parent);
    json_object_object_add(object, dot ? dot + 1 : field, parse(json));
}

void spec_add(json_object *spec, const char *list, const char *json, ...)
{
    char text[8192];
    va_list arguments;
    va_start(arguments, json);
    vsnprintf(text, sizeof text, json, arguments);
    va_end(arguments);
    if (!find(spec, list))
        spec_set(spec, list, "[]");
    json_object_array_add(find(spec, list), parse(text));
}

rfs_config *config_from_json(json_object *spec)
{
    rfs_error err = fresh_error();
    rfs_config *config = NULL;
    const char *json = json_object_to_json_string(spec);
    REQUIRE_SUCCESS(rfs_config_from_oci(json, strlen(json), bundle(), &config, &err), &err);
    return config;
}

static const char *string_in(json_object *object, const char *field)
{
    json_object *value = find(object, field);
    return value ? json_object_get_string(value) : NULL;
}

static uint32_t number_in(json_object *object, const char *field)
{
    return (uint32_t)json_object_get_int64(find(object, field));
}

static size_t length(json_object *list)
{
    return list ? json_object_array_length(list) : 0;
}

static size_t mappings_in(json_object *list, rfs_id_mapping *mappings)
{
    for (size_t i = 0; i < length(list); i++) {
        json_object *m = json_object_array_get_idx(list, i);
        mappings[i] = (rfs_id_mapping){number_in(m, "containerID"), number_in(m, "hostID"), number_in(m, "size")};
    }
    return length(list);
}

static void build_mount(rfs_config *config, json_object *json)
{
    const char *options[64];
    rfs_id_mapping uids[16], gids[16];
    json_object *list = find(json, "options");
    bool bind = false;
    for (size_t i = 0; i < length(list); i++) {
        options[i] = json_object_get_string(json_object_array_get_idx(list, i));
        bind |= strcmp(options[i], "bind") == 0 || strcmp(options[i], "rbind") == 0;
    }
    rfs_mount mount = {.size = sizeof mount};
    mount.destination = string_in(json, "destination");
    mount.type = string_in(json, "type");
    mount.source = string_in(json, "source");
    if (bind && mount.source && mount.source[0] != '/')
        mount.source = in_work("bundle/%s", mount.source);
    mount.options = options;
    mount.n_options = length(list);
    mount.uid_mappings = uids;
    mount.n_uid_mappings = mappings_in(find(json, "uidMappings"), uids);
    mount.gid_mappings = gids;
    mount.n_gid_mappings = mappings_in(find(json, "gidMappings"), gids);
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_add_mount(config, &mount, &err), &err);
}

static void build_device(rfs_config *config, json_object *json)
{
    rfs_device device = {.size = sizeof device};
    device.path = string_in(json, "path");
    device.type = (uint32_t)string_in(json, "type")[0];
    device.major = number_in(json, "major");
    device.minor = number_in(json, "minor");
    if (find(json, "fileMode")) {
        device.flags = RFS_DEVICE_FILE_MODE;
        device.file_mode = number_in(json, "fileMode");
    }
    device.uid = number_in(json, "uid");
    device.gid = number_in(json, "gid");
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_add_device(config, &device, &err), &err);
}

static size_t strings_in(json_object *list, const char **strings)
{
    for (size_t i = 0; i < length(list); i++)
        strings[i] = json_object_get_string(json_object_array_get_idx(list, i));
    return length(list);
}

static void build_hooks(rfs_config *config, json_object *hooks)
{
    static const char *const kinds[] = {
        [RFS_HOOKS_PRESTART] = "prestart", [RFS_HOOKS_CREATE_RUNTIME] = "createRuntime",
        [RFS_HOOKS_CREATE_CONTAINER] = "createContainer", [RFS_HOOKS_START_CONTAINER] = "startContainer",
        [RFS_HOOKS_POSTSTART] = "poststart", [RFS_HOOKS_POSTSTOP] = "poststop"};
    const char *args[64], *env[64];
    for (uint32_t kind = RFS_HOOKS_PRESTART; kind <= RFS_HOOKS_POSTSTOP; kind++) {
        json_object *list = hooks ? find(hooks, kinds[kind]) : NULL;
        for (size_t i = 0; i < length(list); i++) {
            json_object *json = json_object_array_get_idx(list, i);
            rfs_hook hook = {.size = sizeof hook, .path = string_in(json, "path"), .args = args, .env = env};
            hook.n_args = strings_in(find(json, "args"), args);
            hook.n_env = strings_in(find(json, "env"), env);
            hook.timeout = number_in(json, "timeout");
            rfs_error err = fresh_error();
            REQUIRE_SUCCESS(rfs_config_add_hook(config, kind, &hook, &err), &err);
        }
    }
}

const char *path_in_spec(json_object *spec, const char *list, size_t i)
{
    json_object *paths = find(spec, list);
    return i < length(paths) ? json_object_get_string(json_object_array_get_idx(paths, i)) : NULL;
}

static rfs_options options_in(json_object *spec)
{
    rfs_options options = {.size = sizeof options};
    if (json_object_get_boolean(find(spec, "root.readonly")))
        options.flags |= RFS_OPTION_READONLY_ROOTFS;
    if (find(spec, "process.user.umask")) {
        options.flags |= RFS_OPTION_UMASK;
        options.umask = number_in(spec, "process.user.umask");
    }
    json_object *namespaces = find(spec, "linux.namespaces");
    bool own_mounts = false;
    for (size_t i = 0; i < length(namespaces); i++) {
        const char *type = string_in(json_object_array_get_idx(namespaces, i), "type");
        own_mounts |= strcmp(type, "mount") == 0;
        if (strcmp(type, "user") == 0)
            options.flags |= RFS_OPTION_USER_NAMESPACE;
        if (strcmp(type, "cgroup") == 0)
            options.flags |= RFS_OPTION_CGROUP_NAMESPACE;
    }
    if (!own_mounts)
        options.flags |= RFS_OPTION_CHROOT;
    options.rootfs_propagation = string_in(spec, "linux.rootfsPropagation");
    options.cwd = string_in(spec, "process.cwd");
    options.mount_label = string_in(spec, "linux.mountLabel");
    return options;
}

rfs_config *config_from_builder(json_object *spec)
{
    const char *root = string_in(spec, "root.path");
    rfs_config *config = NULL;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_new(root[0] == '/' ? root : in_work("bundle/%s", root), &config, &err), &err);
    json_object *list = find(spec, "mounts");
    for (size_t i = 0; i < length(list); i++)
        build_mount(config, json_object_array_get_idx(list, i));
    list = find(spec, "linux.devices");
    for (size_t i = 0; i < length(list); i++)
        build_device(config, json_object_array_get_idx(list, i));
    const char *path;
    for (size_t i = 0; (path = path_in_spec(spec, "linux.maskedPaths", i)); i++)
        REQUIRE_SUCCESS(rfs_config_add_masked_path(config, path, &err), &err);
    for (size_t i = 0; (path = path_in_spec(spec, "linux.readonlyPaths", i)); i++)
        REQUIRE_SUCCESS(rfs_config_add_readonly_path(config, path, &err), &err);
    build_hooks(config, find(spec, "hooks"));
    rfs_options options = options_in(spec);
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    return config;
}

rfs_plan *plan_of_config(rfs_config *config)
{
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    REQUIRE_SUCCESS(rfs_plan_new(config, &plan, &err), &err);
    rfs_config_free(config);
    return plan;
}

rfs_plan *plan_with_flags(json_object *spec, uint64_t flags)
{
    rfs_config *config = config_from_json(spec);
    rfs_options options = {.size = sizeof options, .flags = flags};
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_set_options(config, &options, &err), &err);
    json_object_put(spec);
    return plan_of_config(config);
}

rfs_plan *plan_of(json_object *spec)
{
    rfs_plan *plan = plan_of_config(config_from_json(spec));
    json_object_put(spec);
    return plan;
}

rfs_container *container_of(const rfs_plan *plan)
{
    rfs_error err = fresh_error();
    rfs_container *container = NULL;
    REQUIRE_SUCCESS(rfs_container_new(plan, &container, &err), &err);
    return container;
}

char *describe(const rfs_plan *plan)
{
    rfs_error err = fresh_error();
    FILE *file = tmpfile();
    CHECK(file);
    CHECK_SUCCESS(rfs_plan_describe(plan, fileno(file), &err), &err);
    rewind(file);
    char *text = NULL;
    size_t room = 0;
    ssize_t n = getdelim(&text, &room, EOF, file);
    CHECK(n > 0);
    fclose(file);
    return text;
}

rfs_container *this_container;

struct container {
    const rfs_callbacks *callbacks;
    void (*inside)(void *);
    void *data;
};

static void container_process(void *data)
{
    const struct container *c = data;
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_prepare(this_container, c->callbacks, &err), &err);
    REQUIRE_SUCCESS(rfs_finalize(this_container, &err), &err);
    if (c->inside)
        c->inside(c->data);
}

static void in_container_namespaces(const rfs_plan *plan, void (*process)(void *), void *data)
{
    this_container = container_of(plan);
    char *before = read_all(host_proc, "self/mountinfo");
    in_child(CONTAINER_NAMESPACES, process, data);
    char *after = read_all(host_proc, "self/mountinfo");
    CHECK(before && after && strcmp(before, after) == 0);
    free(before);
    free(after);
    rfs_container_free(this_container);
    this_container = NULL;
}

char logged_warnings[2048];

static void take_warning(void *userdata, rfs_log_level level, const char *message)
{
    (void)userdata;
    if (level == RFS_LOG_WARNING)
        snprintf(logged_warnings + strlen(logged_warnings), sizeof logged_warnings - strlen(logged_warnings), "%s\n",
                 message);
}

const rfs_callbacks with_warnings = {.size = sizeof with_warnings, .log = take_warning};

void run_container(const rfs_plan *plan, const rfs_callbacks *callbacks, void (*inside)(void *), void *data)
{
    in_container_namespaces(plan, container_process, &(struct container){callbacks, inside, data});
}

struct refusal {
    const char *what;
    const rfs_callbacks *callbacks;
    const struct expected *expected;
};

static void check_refusal(const char *what, int rc, const rfs_error *err, const struct expected *expected)
{
    if (!check_error_at(__FILE__, __LINE__, rc, err, expected))
        note("... for %s", what);
}

static void refused_process(void *data)
{
    const struct refusal *r = data;
    rfs_error err = fresh_error();
    int rc = rfs_prepare(this_container, r->callbacks, &err);
    check_refusal(r->what, rc, &err, r->expected);
}

void run_refused(const char *what, const rfs_plan *plan, const rfs_callbacks *callbacks,
                 const struct expected *expected)
{
    in_container_namespaces(plan, refused_process, &(struct refusal){what, callbacks, expected});
}

void run_recursive(const rfs_plan *plan, int64_t first, void (*inside)(void *), void *data)
{
    if (has_mount_setattr())
        run_container(plan, NULL, inside, data);
    else
        run_refused("recursive attributes", plan, NULL,
                    &(struct expected){.code = -ENOSYS,
                                       .stage = RFS_STAGE_MOUNTS,
                                       .object = RFS_OBJECT_MOUNT,
                                       .index = first,
                                       .says = "attributes of all mounts below take mount_setattr(2), of Linux 5.12"});
}

void refuse_plan(const char *what, json_object *spec, const struct expected *expected)
{
    rfs_error err = fresh_error();
    rfs_plan *plan = NULL;
    rfs_config *config = config_from_json(spec);
    int rc = rfs_plan_new(config, &plan, &err);
    check_refusal(what, rc, &err, expected);
    CHECK((rc == 0) == (plan != NULL));
    rfs_plan_free(plan);
    rfs_config_free(config);
    json_object_put(spec);
}

void only_cgroup2(void)
{
    struct statfs fs;
    if (statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
        return;
    umount2("/sys/fs/cgroup", MNT_DETACH);
    REQUIRE(mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) == 0);
}
