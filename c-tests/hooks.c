/* OCI hooks: how rfs_run_hooks() runs a program and what it says when one fails, createContainer hooks in
 * rfs_prepare(), and hooks that rfs_plan_new() refuses. This program is itself the hook that looks around.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "bundle.h"
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STATE "{\"ociVersion\": \"1.0.2\", \"id\": \"test\", \"status\": \"creating\"}"

/* ---- This program as a hook: "hook FILE" writes what it sees to FILE ---- */

extern char **environ;

static int be_hook(int argc, char **argv)
{
    static struct descriptors open_now;
    list_descriptors(&open_now);
    int fd = open(argv[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        fprintf(stderr, "cannot make %s\n", argv[1]);
        return 1;
    }
    for (int i = 2; i < argc; i++)
        dprintf(fd, "arg %s\n", argv[i]);
    for (char **variable = environ; *variable; variable++)
        dprintf(fd, "env %s\n", *variable);
    for (int i = 0; i < DESCRIPTORS; i++)
        if (open_now.table[i].open)
            dprintf(fd, "fd %d%s\n", i, open_now.table[i].close_on_exec ? " close-on-exec" : "");
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i <= SIGRTMAX; i++) {
        struct sigaction action;
        if (sigismember(&mask, i) == 1)
            dprintf(fd, "blocked %d\n", i);
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            dprintf(fd, "ignored %d\n", i);
    }
    char *cwd = getcwd(NULL, 0);
    mode_t umask_now = umask(0);
    dprintf(fd, "cwd %s\numask %03o\n", cwd, umask_now);
    free(cwd);
    char *mounts = read_all(AT_FDCWD, "/proc/self/mountinfo");
    if (mounts && strstr(mounts, "/rootfs/made-by-plan "))
        dprintf(fd, "mounts of the container\n");
    free(mounts);
    char input[4096];
    for (ssize_t n; (n = read(STDIN_FILENO, input, sizeof input)) > 0;)
        dprintf(fd, "input %.*s\n", (int)n, input);
    close(fd);
    return 0;
}

static const char *own_path(void)
{
    static char path[4096];
    REQUIRE(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    return path;
}

/* ---- Plans with hooks ---- */

static rfs_config *new_config(void)
{
    rfs_error err = fresh_error();
    rfs_config *config = NULL;
    make_directory(image(""), 0755);
    REQUIRE_SUCCESS(rfs_config_new(in_work("bundle/rootfs"), &config, &err), &err);
    return config;
}

static void add(rfs_config *config, rfs_hook_kind kind, const rfs_hook *hook)
{
    rfs_error err = fresh_error();
    REQUIRE_SUCCESS(rfs_config_add_hook(config, kind, hook, &err), &err);
}

static void add_script(rfs_config *config, rfs_hook_kind kind, uint32_t timeout, const char *script)
{
    static const char *const env[] = {"PATH=/bin:/usr/bin"};
    const char *const args[] = {"sh", "-c", script, "sh", work};
    add(config, kind, &(rfs_hook){.size = sizeof(rfs_hook), .path = "/bin/sh", .args = args, .n_args = COUNT(args),
                                  .env = env, .n_env = 1, .timeout = timeout});
}

static rfs_plan *plan_of_script(uint32_t timeout, const char *script)
{
    rfs_config *config = new_config();
    add_script(config, RFS_HOOKS_PRESTART, timeout, script);
    return plan_of_config(config);
}

static void add_looking(rfs_config *config, rfs_hook_kind kind, const char *file)
{
    const char *const args[] = {"hook", file, "-x", "", "two words"}, *const env[] = {"A=1", "B=", "EMPTY"};
    add(config, kind, &(rfs_hook){.size = sizeof(rfs_hook), .path = own_path(), .args = args, .n_args = COUNT(args),
                                  .env = env, .n_env = COUNT(env)});
}

static int run(const rfs_plan *plan, rfs_hook_kind kind, rfs_error *err)
{
    *err = fresh_error();
    return rfs_run_hooks(plan, kind, STATE, strlen(STATE), err);
}

static void check_file(const char *path, const char *expected)
{
    char *text = read_all(AT_FDCWD, path);
    CHECK_THAT(text && strcmp(text, expected) == 0, "%s: %s", path, text ? text : "missing");
    free(text);
    unlink(path);
}

#define SEEN_BY_HOOK "arg -x\narg \narg two words\nenv A=1\nenv B=\nenv EMPTY\nfd 0\nfd 1\nfd 2\n"

static void check_seen(const char *file, const char *cwd, const char *umask_and_more)
{
    char expected[8192];
    snprintf(expected, sizeof expected, SEEN_BY_HOOK "cwd %s\n%sinput " STATE "\n", cwd, umask_and_more);
    check_file(file, expected);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Waits for a process that is not a child, by the number in a file. */
static bool is_gone(const char *file)
{
    char *text = read_all(AT_FDCWD, file);
    REQUIRE_THAT(text && atoi(text) > 1, "%s", file);
    pid_t pid = atoi(text);
    free(text);
    for (int i = 0; i < 100; i++) {
        char path[64];
        snprintf(path, sizeof path, "%d/stat", pid);
        char *stat = read_all(host_proc, path);
        bool gone = !stat || strstr(stat, ") Z ");
        free(stat);
        if (gone)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return false;
}

/* ---- How a hook runs ---- */

static void in_order(void)
{
    rfs_config *config = new_config();
    add_script(config, RFS_HOOKS_POSTSTART, 0, "echo other >> $1/order");
    for (int i = 0; i < 3; i++) {
        char script[64];
        snprintf(script, sizeof script, "sleep 0.%d; echo %d >> $1/order", 2 - i, i);
        add_script(config, RFS_HOOKS_CREATE_RUNTIME, 0, script);
    }
    rfs_plan *plan = plan_of_config(config);
    rfs_error err;
    CHECK_SUCCESS(run(plan, RFS_HOOKS_CREATE_RUNTIME, &err), &err);
    check_file(in_work("order"), "0\n1\n2\n");
    CHECK_SUCCESS(run(plan, RFS_HOOKS_POSTSTART, &err), &err);
    check_file(in_work("order"), "other\n");
    CHECK_SUCCESS(run(plan, RFS_HOOKS_PRESTART, &err), &err); /* there are none */
    rfs_plan_free(plan);
}

static void first_failure(void)
{
    for (rfs_hook_kind kind = RFS_HOOKS_PRESTART; kind <= RFS_HOOKS_POSTSTOP; kind++) {
        rfs_config *config = new_config();
        add_script(config, kind, 0, "echo 0 >> $1/order");
        add_script(config, kind, 0, "echo 1 >> $1/order; exit 1");
        add_script(config, kind, 0, "echo 2 >> $1/order; exit 2");
        rfs_plan *plan = plan_of_config(config);
        rfs_error err;
        int rc = run(plan, kind, &err);
        CHECK_ERROR(rc, &err, .code = -ECANCELED, .stage = RFS_STAGE_HOOKS, .object = RFS_OBJECT_HOOK, .index = 1,
                    .says = "status 1", .path = "/bin/sh");
        check_file(in_work("order"), kind == RFS_HOOKS_POSTSTOP ? "0\n1\n2\n" : "0\n1\n");
        rfs_plan_free(plan);
    }
}

static void looking(void)
{
    rfs_config *config = new_config();
    add_looking(config, RFS_HOOKS_PRESTART, in_work("seen"));
    rfs_plan *plan = plan_of_config(config);
    rfs_error err;
    setenv("LEAKED", "1", 1);
    int leaked = open("/", O_RDONLY | O_DIRECTORY); /* not close-on-exec */
    REQUIRE(leaked >= 0 && chdir(in_work("bundle")) == 0);
    umask(027);
    sigset_t mask, after;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGRTMIN, SIG_IGN);
    CHECK_SUCCESS(run(plan, RFS_HOOKS_PRESTART, &err), &err);
    sigprocmask(SIG_SETMASK, NULL, &after);
    for (int i = 1; i <= SIGRTMAX; i++)
        CHECK_THAT(sigismember(&mask, i) == sigismember(&after, i), "the mask has changed at signal %d", i);
    CHECK(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
    check_seen(in_work("seen"), in_work("bundle"), "umask 027\n");
    rfs_plan_free(plan);
}

static void path_alone(void)
{
    make_file(in_work("alone"), "#!/bin/sh\n[ $# = 0 ] && /usr/bin/env > \"${0%/*}/env\"\n");
    REQUIRE(chmod(in_work("alone"), 0755) == 0);
    rfs_config *config = new_config();
    add(config, RFS_HOOKS_PRESTART, &(rfs_hook){.size = sizeof(rfs_hook), .path = in_work("alone")});
    rfs_plan *plan = plan_of_config(config);
    rfs_error err;
    REQUIRE(setenv("LEAKED", "1", 1) == 0);
    CHECK_SUCCESS(run(plan, RFS_HOOKS_PRESTART, &err), &err);
    char *env = read_all(AT_FDCWD, in_work("env"));
    /* what the shell adds by itself, and nothing of ours */
    CHECK_THAT(env && strstr(env, "PWD=") && !strstr(env, "HOME=") && !strstr(env, "LEAKED="), "environment: %s", env);
    free(env);
    rfs_plan_free(plan);
}

static void standard_descriptors_closed(void)
{
    static struct descriptors before, after;
    rfs_config *config = new_config();
    add_looking(config, RFS_HOOKS_PRESTART, in_work("seen"));
    rfs_plan *plan = plan_of_config(config);
    REQUIRE(chdir(work) == 0);
    int saved[3];
    for (int fd = 0; fd <= 2; fd++)
        saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    for (int closed = 0; closed < 8; closed++) {
        rfs_error err;
        for (int fd = 0; fd <= 2; fd++)
            if (closed & 1 << fd)
                close(fd);
        list_descriptors(&before);
        int rc = run(plan, RFS_HOOKS_PRESTART, &err);
        list_descriptors(&after);
        CHECK_SUCCESS(rc, &err);
        check_descriptors(&before, &after, "after a hook");
        for (int fd = 0; fd <= 2; fd++)
            if (saved[fd] >= 0)
                dup3(saved[fd], fd, 0);
        check_seen(in_work("seen"), work, "umask 022\n");
    }
    rfs_plan_free(plan);
}

#define LARGE (1 << 20)

static char *large_state(void)
{
    char *state = malloc(LARGE);
    REQUIRE(state);
    for (int i = 0; i < LARGE; i++)
        state[i] = (char)('a' + i % 23);
    state[7] = '\0'; /* These are bytes and not a string. */
    return state;
}

static void large_input(void)
{
    rfs_config *config = new_config();
    add_script(config, RFS_HOOKS_PRESTART, 0, "cat > $1/first");
    add_script(config, RFS_HOOKS_PRESTART, 0, "head -c 10; cat /dev/stdin > $1/second");
    rfs_plan *plan = plan_of_config(config);
    rfs_error err = fresh_error();
    char *state = large_state();
    CHECK_SUCCESS(rfs_run_hooks(plan, RFS_HOOKS_PRESTART, state, LARGE, &err), &err);
    int fd = open(in_work("first"), O_RDONLY | O_CLOEXEC);
    char *copy = malloc(LARGE + 1);
    CHECK(read(fd, copy, LARGE + 1) == LARGE && memcmp(copy, state, LARGE) == 0);
    struct stat st;
    CHECK(stat(in_work("second"), &st) == 0 && st.st_size > 0);
    close(fd);
    free(copy);
    free(state);
    rfs_plan_free(plan);
}

static void input_unread(void)
{
    rfs_plan *plan = plan_of_script(0, "exec <&-; sleep 0.1");
    rfs_error err = fresh_error();
    char *state = large_state();
    signal(SIGPIPE, SIG_DFL);
    CHECK_SUCCESS(rfs_run_hooks(plan, RFS_HOOKS_PRESTART, state, LARGE, &err), &err);
    free(state);
    rfs_plan_free(plan);
}

/* ---- Failures ---- */

struct failing {
    const char *script;
    int code;
    const char *says, *says_too;
    double at_least, at_most; /* seconds */
    uint32_t timeout;
};

static void check_failing(const struct failing *f)
{
    rfs_plan *plan = plan_of_script(f->timeout, f->script);
    rfs_error err;
    double start = seconds();
    int rc = run(plan, RFS_HOOKS_PRESTART, &err);
    double took = seconds() - start;
    if (f->code)
        CHECK_ERROR(rc, &err, .code = f->code, .stage = RFS_STAGE_HOOKS, .object = RFS_OBJECT_HOOK, .index = 0,
                    .says = f->says, .says_too = f->says_too, .path = "/bin/sh");
    else
        CHECK_SUCCESS(rc, &err);
    CHECK_THAT(took >= f->at_least && (!f->at_most || took < f->at_most), "`%s` took %.2f s", f->script, took);
    if (rc < 0)
        note("%s", err.message);
    rfs_plan_free(plan);
}

static void failures_and_output(void)
{
    static const struct failing list[] = {
        {.script = "exit 3", .code = -ECANCELED, .says = "hooks.prestart[0] (/bin/sh): it exited with status 3"},
        {.script = "echo to stdout; echo to stderr >&2; exit 255", .code = -ECANCELED, .says = "status 255",
         .says_too = "to stdout\\x0ato stderr"},
        {.script = "kill -TERM $$", .code = -ECANCELED, .says = "killed by signal 15"},
        {.script = "kill -KILL $$", .code = -ECANCELED, .says = "killed by signal 9", .timeout = 60},
        {.script = "printf 'a\\033[31m\\tb\\377\\n\\n'; exit 1", .code = -ECANCELED,
         .says = "its output: a\\x1b[31m\\x09b\\xff"},
        {.script = "kill -KILL $PPID; sleep 0.1", .code = -ECHILD, .says = "was killed"},
    };
    for (size_t i = 0; i < COUNT(list); i++)
        check_failing(&list[i]);
}

static void timeouts(void)
{
    static const struct failing list[] = {
        {.script = "echo $$ > $1/pid; echo still here; exec sleep 60", .code = -ETIMEDOUT, .timeout = 1, .says = "1 s",
         .says_too = "still here",
         .at_least = 1, .at_most = 20},
        {.script = "echo $$ > $1/pid; exec yes", .code = -ETIMEDOUT, .timeout = 1, .says = "1 s", .says_too = "y\\x0ay",
         .at_least = 1, .at_most = 20},
        {.script = "echo $$ > $1/pid; exec >&- 2>&-; trap '' TERM INT; exec sleep 60", .code = -ETIMEDOUT, .timeout = 1,
         .at_least = 1, .at_most = 20},
        {.script = "echo $$ > $1/pid; kill -STOP $$", .code = -ETIMEDOUT, .timeout = 1, .at_least = 1, .at_most = 20},
        {.script = "echo $$ > $1/pid; sleep 0.2", .timeout = 60, .at_least = 0.2, .at_most = 20},
        {.script = "echo $$ > $1/pid; sleep 0.2", .timeout = UINT32_MAX, .at_least = 0.2, .at_most = 20},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        check_failing(&list[i]);
        CHECK_THAT(is_gone(in_work("pid")), "the hook `%s` is still there", list[i].script);
    }
}

static void floods(void)
{
    static const struct failing list[] = {
        {.script = "head -c 50000000 /dev/zero; echo the end; exit 3", .code = -ECANCELED, .says = "status 3",
         .says_too = "the end"},
        {.script = "yes | head -c 50000000"},
        {.script = "yes xyz | head -n 100000 >&2; exit 1", .code = -ECANCELED, .says = "; its output: ...",
         .says_too = "xyz\\x0axyz"},
    };
    for (size_t i = 0; i < COUNT(list); i++)
        check_failing(&list[i]);
}

static void background(void)
{
    static const struct failing list[] = {
        {.script = "sleep 60 & echo $! > $1/pid; exit 0", .at_most = 20},
        {.script = "sleep 60 & echo $! > $1/pid; echo failed; exit 7", .code = -ECANCELED, .says = "status 7",
         .says_too = "failed", .at_most = 20},
        {.script = "(echo ready; exec yes) & echo $! > $1/pid; sleep 0.2; exit 0", .at_most = 20},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        check_failing(&list[i]);
        char *pid = read_all(AT_FDCWD, in_work("pid"));
        REQUIRE(pid && atoi(pid) > 1);
        if (i < 2)
            CHECK_THAT(kill(atoi(pid), SIGKILL) == 0, "what the hook left behind is gone");
        else
            CHECK_THAT(is_gone(in_work("pid")), "what nobody reads is still written");
        free(pid);
    }
}

static void not_executed(void)
{
    make_file(in_work("plain"), "#!/bin/sh\n");
    make_file(in_work("orphan"), "#!/no/such/interpreter\n");
    make_file(in_work("text"), "nothing to execute\n");
    REQUIRE(chmod(in_work("orphan"), 0755) == 0 && chmod(in_work("text"), 0755) == 0);
    const struct {
        const char *path;
        int code;
        const char *says;
    } list[] = {
        {in_work("missing"), -ENOENT, "No such file"},
        {in_work("orphan"), -ENOENT, "interpreter"},
        {in_work("plain"), -EACCES, "Permission denied"},
        {in_work("bundle"), -EACCES, "Permission denied"},
        {in_work("text"), -ENOEXEC, "Exec format"},
        {in_work("plain/below"), -ENOTDIR, "Not a directory"},
    };
    static struct descriptors before, after;
    for (size_t i = 0; i < COUNT(list); i++) {
        rfs_config *config = new_config();
        add_script(config, RFS_HOOKS_POSTSTART, 0, "true");
        add(config, RFS_HOOKS_POSTSTART, &(rfs_hook){.size = sizeof(rfs_hook), .path = list[i].path});
        rfs_plan *plan = plan_of_config(config);
        rfs_error err;
        list_descriptors(&before);
        int rc = run(plan, RFS_HOOKS_POSTSTART, &err);
        list_descriptors(&after);
        check_descriptors(&before, &after, "after a hook that was not executed");
        CHECK_ERROR(rc, &err, .code = list[i].code, .stage = RFS_STAGE_HOOKS, .object = RFS_OBJECT_HOOK, .index = 1,
                    .says = "hooks.poststart[1]", .says_too = list[i].says, .path = list[i].path);
        CHECK(strcmp(err.operation, "execve") == 0);
        rfs_plan_free(plan);
    }
}

/* ---- Callers that do things with their children ---- */

static volatile sig_atomic_t n_sigchld;

static void count_sigchld(int signal)
{
    (void)signal;
    n_sigchld++;
}

/* However the caller treats its children. */
static void check_statuses(void)
{
    static const struct failing list[] = {
        {.script = "exit 0"},
        {.script = "exit 5", .code = -ECANCELED, .says = "status 5"},
        {.script = "kill -USR1 $$", .code = -ECANCELED, .says = "signal 10"},
        {.script = "sleep 60", .code = -ETIMEDOUT, .timeout = 1},
    };
    for (size_t i = 0; i < COUNT(list); i++)
        check_failing(&list[i]);
}

static void sigchld_ignored(void)
{
    signal(SIGCHLD, SIG_IGN);
    check_statuses();
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGCHLD, &action, NULL);
    check_statuses();
}

static void sigchld_handled(void)
{
    signal(SIGCHLD, count_sigchld);
    check_statuses();
    CHECK_THAT(n_sigchld == 0, "%d SIGCHLD arrived", (int)n_sigchld);
    CHECK(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
}

static void *reap_all(void *options)
{
    for (;;)
        if (waitpid(-1, NULL, *(int *)options) < 0)
            usleep(200);
    return NULL;
}

static void children_reaped(void)
{
    static int options[] = {0, __WALL};
    for (size_t i = 0; i < COUNT(options); i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, reap_all, &options[i]) == 0);
        for (int j = 0; j < 2; j++)
            check_statuses();
    }
}

/* ---- createContainer hooks, in rfs_prepare() ---- */

static int note_point(void *userdata, rfs_point point)
{
    (void)userdata;
    if (point == RFS_POINT_CREATE_CONTAINER)
        make_file(in_work("callback"), "first");
    if (point == RFS_POINT_BEFORE_SWITCH)
        CHECK(access(in_work("seen"), F_OK) == 0 || access(in_work("not-run"), F_OK) == 0);
    return 0;
}

static json_object *spec_with_mount(void)
{
    make_image();
    json_object *spec = empty_spec();
    spec_add(spec, "mounts", "{'destination': '/made-by-plan', 'type': 'tmpfs'}");
    return spec;
}

static rfs_plan *container_plan(void)
{
    rfs_config *config = config_from_json(spec_with_mount());
    add_script(config, RFS_HOOKS_PRESTART, 0, "exit 1"); /* The host's side runs this hook. */
    add_looking(config, RFS_HOOKS_CREATE_CONTAINER, in_work("seen"));
    add_script(config, RFS_HOOKS_CREATE_CONTAINER, 0,
               "[ $(cat $1/callback) = first ] && [ -d ../rootfs/made-by-plan ]");
    add_script(config, RFS_HOOKS_START_CONTAINER, 0, "exit 1");
    return plan_of_config(config);
}

static void with_state(void *container)
{
    static struct descriptors before, after;
    rfs_callbacks callbacks = {
        .size = sizeof callbacks, .point = note_point, .state = STATE, .state_len = strlen(STATE)};
    rfs_error err = fresh_error();
    umask(077);
    int root = open("/", O_PATH | O_CLOEXEC); /* With this no /dev/null is replaced. */
    for (int fd = 0; fd <= 2; fd++)
        dup3(root, fd, 0);
    list_descriptors(&before);
    int rc = rfs_prepare(container, &callbacks, &err);
    list_descriptors(&after);
    REQUIRE_SUCCESS(rc, &err);
    check_descriptors(&before, &after, "after createContainer hooks");
    REQUIRE_SUCCESS(rfs_finalize(container, &err), &err);
    CHECK(waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
}

static void create_container(void)
{
    rfs_plan *plan = container_plan();
    in_child(CONTAINER_NAMESPACES, with_state, container_of(plan));
    check_seen(in_work("seen"), in_work("bundle/rootfs"), "umask 077\nmounts of the container\n");
}

static int run_them(void *plan, rfs_point point)
{
    rfs_error err = fresh_error();
    if (point != RFS_POINT_CREATE_CONTAINER)
        return 0;
    make_file(in_work("callback"), "first");
    return rfs_run_hooks(plan, RFS_HOOKS_CREATE_CONTAINER, STATE, strlen(STATE), &err);
}


static void by_the_callback(void)
{
    rfs_plan *plan = container_plan();
    rfs_callbacks callbacks = {.size = sizeof callbacks, .userdata = plan, .point = run_them};
    run_container(plan, &callbacks, NULL, NULL);
    check_seen(in_work("seen"), in_work("bundle/rootfs"), "umask 022\nmounts of the container\n");
}

static void with_nobody(void *container)
{
    rfs_callbacks callbacks = {.size = sizeof callbacks, .point = note_point, .state = STATE};
    rfs_error err = fresh_error();
    CHECK_ERROR(rfs_prepare(container, NULL, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_ROOT,
                .object = RFS_OBJECT_HOOK, .index = 0, .says = "hooks.createContainer[0]",
                .says_too = "rfs_callbacks.state");
    CHECK_ERROR(rfs_prepare(container, &callbacks, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_ROOT,
                .says = "state_len");
    callbacks.state = NULL;
    callbacks.state_len = 1;
    CHECK_ERROR(rfs_prepare(container, &callbacks, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_ROOT,
                .says = "state_len");
    callbacks.state_len = 0;
    /* An older header has no state, so the callback runs the hooks. */
    callbacks.size = offsetof(rfs_callbacks, state);
    callbacks.state = (const char *)(uintptr_t)1;
    make_file(in_work("not-run"), "");
    CHECK_SUCCESS(rfs_prepare(container, &callbacks, &err), &err);
}

static void nobody_runs_them(void)
{
    in_child(CONTAINER_NAMESPACES, with_nobody, container_of(container_plan()));
    CHECK(access(in_work("seen"), F_OK) != 0);
}

static void with_a_failing_one(void *container)
{
    rfs_callbacks callbacks = {.size = sizeof callbacks, .state = STATE, .state_len = strlen(STATE)};
    rfs_error err = fresh_error();
    int rc = rfs_prepare(container, &callbacks, &err);
    CHECK_ERROR(rc, &err, .code = -ECANCELED, .stage = RFS_STAGE_HOOKS, .object = RFS_OBJECT_HOOK, .index = 1,
                .says = "hooks.createContainer[1]", .says_too = "status 4; its output: no luck");
    CHECK_ERROR(rfs_finalize(container, &err), &err, .code = -EINVAL);
}

static void create_container_fails(void)
{
    rfs_config *config = config_from_json(spec_with_mount());
    add_script(config, RFS_HOOKS_CREATE_CONTAINER, 0, "true");
    add_script(config, RFS_HOOKS_CREATE_CONTAINER, 0, "echo no luck; exit 4");
    add_script(config, RFS_HOOKS_CREATE_CONTAINER, 0, "touch $1/third");
    in_child(CONTAINER_NAMESPACES, with_a_failing_one, container_of(plan_of_config(config)));
    CHECK(access(in_work("third"), F_OK) != 0);
}

static void start_container(void *plan)
{
    rfs_error err = fresh_error();
    CHECK_SUCCESS(rfs_run_hooks(plan, RFS_HOOKS_START_CONTAINER, STATE, strlen(STATE), &err), &err);
    char *text = read_all(AT_FDCWD, "/tmp/hook");
    CHECK_THAT(text && strcmp(text, "/ " STATE) == 0, "the hook left %s", text);
    free(text);
}

static void in_the_container(void)
{
    make_image();
    rfs_config *config = config_from_json(empty_spec());
    const char *const args[] = {"sh", "-c", "echo -n \"$PWD $(/bin/busybox cat)\" > /tmp/hook"};
    add(config, RFS_HOOKS_START_CONTAINER,
        &(rfs_hook){.size = sizeof(rfs_hook), .path = "/bin/busybox", .args = args, .n_args = COUNT(args)});
    rfs_plan *plan = plan_of_config(config);
    run_container(plan, NULL, start_container, plan);
}

/* ---- rfsrun ---- */

static int rfsrun(json_object *spec)
{
    unlink(in_work("bundle/config.json"));
    make_file(in_work("bundle/config.json"), json_object_to_json_string(spec));
    json_object_put(spec);
    pid_t pid = fork();
    if (pid == 0) {
        int out = open(in_work("output"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        dup3(out, STDERR_FILENO, 0);
        execl(getenv("RFSRUN"), "rfsrun", bundle(), (char *)NULL);
        _exit(99);
    }
    int status;
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *const kinds[] = {"prestart", "createRuntime", "createContainer", "startContainer", "poststart",
    "poststop"};

/* Each hook writes a line with its kind, its working directory and its state. A hook in the container writes it to
 * the container's own /tmp. */
static json_object *spec_with_hooks(size_t failing)
{
    json_object *spec = default_spec("runc");
    spec_set(spec, "root.readonly", "false");
    spec_set(spec, "process.args", "['/bin/sh', '-c', 'sleep 0.5; exit 7']");
    spec_set(spec, "annotations", "{'some.key': 'some/value'}");
    spec_set(spec, "hooks", "{}");
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char list[64];
        snprintf(list, sizeof list, "hooks.%s", kinds[i]);
        spec_add(spec, list,
                 "{'path': '/bin/sh', 'env': ['PATH=/bin:/usr/bin'], 'args': ['sh', '-c', "
                 "'read -r state; log=%s/log; [ -d %s ] || { cd /tmp; log=log; }; echo \"%s $PWD $state\" >> $log; "
                 "exit %d']}",
                 work, work, kinds[i], i == failing ? 3 : 0);
    }
    return spec;
}

static void check_log(const char *path, const char *const *patterns, size_t n)
{
    char *log = read_all(AT_FDCWD, path), *line = log;
    REQUIRE_THAT(log, "%s", path);
    for (size_t i = 0; i < n; i++) {
        size_t length = strcspn(line, "\n");
        char text[4096];
        snprintf(text, sizeof text, "%.*s", (int)length, line);
        CHECK_THAT(fnmatch(patterns[i], text, 0) == 0, "the log has \"%s\", not \"%s\"", text, patterns[i]);
        line += length + (line[length] == '\n');
    }
    CHECK_THAT(*line == '\0', "the log goes on: %s", line);
    free(log);
    unlink(path);
}

static void rfsrun_runs_them(void)
{
    only_cgroup2();
    make_image();
    if (!getenv("RFSRUN"))
        skip_case("rfsrun was not built");
    CHECK(rfsrun(spec_with_hooks(SIZE_MAX)) == 7);
    char patterns[6][4096];
    const char *expected[COUNT(kinds)], *const status[] = {"creating", "creating", "creating", "created", "running",
        "stopped"};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        snprintf(patterns[i], sizeof patterns[i],
                 "%s %s {\"ociVersion\":\"1.0.2*\",\"id\":\"rfsrun-*\",\"status\":\"%s\",\"pid\":*,\"bundle\":\"%s\","
                 "\"annotations\":{\"some.key\":\"some/value\"}}",
                 kinds[i], i == 2 ? in_work("bundle/rootfs") : i == 3 ? "/tmp" : bundle(), status[i], bundle());
        expected[i] = patterns[i];
    }
    check_log(image("tmp/log"), &expected[3], 1);
    memmove(&expected[3], &expected[4], 2 * sizeof expected[0]);
    check_log(in_work("log"), expected, 5);
}

static void rfsrun_when_they_fail(void)
{
    only_cgroup2();
    make_image();
    for (size_t i = 0; i < COUNT(kinds) && getenv("RFSRUN"); i++) {
        int status = rfsrun(spec_with_hooks(i));
        CHECK_THAT(status == (i < 4 ? 125 : i == 4 ? 137 : 7), "%s: status %d", kinds[i], status);
        char *output = read_all(AT_FDCWD, in_work("output")), expected[200];
        snprintf(expected, sizeof expected, "rfsrun: %shooks.%s[0] (/bin/sh): it exited with status 3\n",
                 i == 5 ? "warning: " : "", kinds[i]);
        CHECK_THAT(output && strcmp(output, expected) == 0, "%s: the output is %s", kinds[i], output);
        free(output);
        char *log = read_all(AT_FDCWD, in_work("log"));
        CHECK_THAT(log && strstr(log, "poststop ") && (i >= 4 || !strstr(log, kinds[i + 1])), "%s: the log is %s",
                   kinds[i], log);
        free(log);
        unlink(in_work("log"));
        unlink(image("tmp/log"));
    }
}

/* ---- Configurations ---- */

static void from_json(void)
{
    make_directory(image(""), 0755);
    json_object *spec = empty_spec();
    char json[8192];
    snprintf(json, sizeof json,
             "{'createRuntime': [{'path': '%s', 'args': ['hook', '%s/seen', '-x', '', 'two words'], 'env': ['A=1', "
             "'B=', 'EMPTY'], 'timeout': 30}],"
             " 'poststop': [{'path': '/bin/false'}], 'prestart': [], 'poststart': null, 'unknown': 7}",
             own_path(), work);
    spec_set(spec, "hooks", json);
    rfs_plan *plan = plan_of(spec);
    rfs_error err;
    REQUIRE(chdir(work) == 0);
    CHECK_SUCCESS(run(plan, RFS_HOOKS_CREATE_RUNTIME, &err), &err);
    check_seen(in_work("seen"), work, "umask 022\n");
    CHECK_ERROR(run(plan, RFS_HOOKS_POSTSTOP, &err), &err, .code = -ECANCELED, .path = "/bin/false",
                .says = "hooks.poststop[0]");
    CHECK_SUCCESS(run(plan, RFS_HOOKS_PRESTART, &err), &err);
    char *text = describe(plan);
    const char *runtime = strstr(text, "{\"step\":\"hook\",\"kind\":\"createRuntime\",\"index\":0,\"path\":"),
               *pivot = strstr(text, "\"step\":\"switch\""),
               *stop = strstr(text, "{\"step\":\"hook\",\"kind\":\"poststop\",\"index\":0,\"path\":\"/bin/"
                                    "false\",\"args\":[\"/bin/false\"]}\n");
    CHECK_THAT(runtime && pivot && stop && runtime < pivot && pivot < stop && strstr(runtime, "\"timeout\":30}"),
               "the plan is %s", text);
    free(text);
    rfs_plan_free(plan);
}

static void bad_json(void)
{
    static const struct {
        const char *hooks, *says;
        int64_t index; /* with RFS_STAGE_PLAN */
        rfs_stage stage;
    } list[] = {
        {"7", "hooks: invalid type: integer `7`, expected an object", 0, RFS_STAGE_CONFIG},
        {"{'prestart': {}}", "hooks.prestart: invalid type: object, expected an array", 0, RFS_STAGE_CONFIG},
        {"{'createRuntime': ['x']}", "hooks.createRuntime[0]: invalid type: string \"x\", expected an object", 0,
         RFS_STAGE_CONFIG},
        {"{'createContainer': [{'path': '/x'}, {}]}", "hooks.createContainer[1]: missing field `path`", 0,
         RFS_STAGE_CONFIG},
        {"{'startContainer': [{'path': 1}]}", "hooks.startContainer[0].path: invalid type: integer `1`, expected a "
         "string", 0, RFS_STAGE_CONFIG},
        {"{'poststart': [{'path': '/x', 'args': 'x'}]}",
         "hooks.poststart[0].args: invalid type: string \"x\", expected an array", 0, RFS_STAGE_CONFIG},
        {"{'poststop': [{'path': '/x', 'env': ['A=', null]}]}",
         "hooks.poststop[0].env[1]: invalid type: null, expected a string", 0, RFS_STAGE_CONFIG},
        {"{'poststop': [{'path': '/x', 'timeout': '5'}]}",
         "hooks.poststop[0].timeout: invalid type: string \"5\", expected a whole number", 0, RFS_STAGE_CONFIG},
        {"{'poststop': [{'path': '/x', 'timeout': -1}]}", "hooks.poststop[0].timeout: it is -1, but must be", 0,
         RFS_STAGE_CONFIG},
        {"{'poststop': [{'path': '/x', 'timeout': 1.5}]}",
         "hooks.poststop[0].timeout: invalid type: floating point `1.5`, expected a whole number", 0, RFS_STAGE_CONFIG},
        {"{'poststop': [{'path': '/x', 'timeout': 0}]}", "hooks.poststop[0] (/x): timeout: it is 0", 0, RFS_STAGE_PLAN},
        {"{'createContainer': [{'path': '/x'}, {'path': 'bin/x'}]}",
         "hooks.createContainer[1] (bin/x): path: it is not absolute", 1, RFS_STAGE_PLAN},
        {"{'prestart': [{'path': ''}]}", "hooks.prestart[0]: path: it is missing or empty", 0, RFS_STAGE_PLAN},
        {"{'prestart': [{'path': '/x\\u0000'}]}", "path: it has a NUL", 0, RFS_STAGE_PLAN},
        {"{'prestart': [{'path': '/x', 'args': ['a', '\\u0000']}]}", "args[1]: it has a NUL", 0, RFS_STAGE_PLAN},
        {"{'prestart': [{'path': '/x', 'env': ['\\u0000']}]}", "env[0]: it has a NUL", 0, RFS_STAGE_PLAN},
    };
    make_directory(image(""), 0755);
    for (size_t i = 0; i < COUNT(list); i++) {
        json_object *spec = empty_spec();
        spec_set(spec, "hooks", list[i].hooks);
        const char *json = json_object_to_json_string(spec);
        rfs_config *config = NULL;
        rfs_plan *plan = NULL;
        rfs_error err = fresh_error();
        int rc = rfs_config_from_oci(json, strlen(json), bundle(), &config, &err);
        if (rc == 0)
            rc = rfs_plan_new(config, &plan, &err);
        CHECK_ERROR(rc, &err, .code = -EINVAL, .stage = list[i].stage, .says = list[i].says,
                    .object = list[i].stage == RFS_STAGE_PLAN ? RFS_OBJECT_HOOK : RFS_OBJECT_NONE,
                    .index = list[i].index);
        CHECK(!plan);
        rfs_config_free(config);
        json_object_put(spec);
    }
}

static void bad_arguments(void)
{
    static const char *const with_null[] = {"x", NULL};
    static const char *const none[] = {NULL};
    static const struct {
        const char *says;
        rfs_hook_kind kind;
        rfs_hook hook;
    } list[] = {
        {"kind: 0", 0, {.size = sizeof(rfs_hook), .path = "/x"}},
        {"kind: 7", 7, {.size = sizeof(rfs_hook), .path = "/x"}},
        {"rfs_hook.size", 1, {.path = "/x"}},
        {"unknown bits 0x1", 1, {.size = sizeof(rfs_hook), .flags = 1, .path = "/x"}},
        {"path is NULL", 1, {.size = sizeof(rfs_hook)}},
        {"path is NULL", 6, {.size = 16}},
        {"args is NULL", 1, {.size = sizeof(rfs_hook), .path = "/x", .n_args = 1}},
        {"an argument is NULL", 1, {.size = sizeof(rfs_hook), .path = "/x", .args = with_null, .n_args = 2}},
        {"a variable is NULL", 1, {.size = sizeof(rfs_hook), .path = "/x", .env = none, .n_env = 1}},
    };
    rfs_config *config = new_config();
    rfs_error err = fresh_error();
    for (size_t i = 0; i < COUNT(list); i++)
        CHECK_ERROR(rfs_config_add_hook(config, list[i].kind, &list[i].hook, &err), &err, .code = -EINVAL,
                    .stage = RFS_STAGE_CONFIG, .says = list[i].says);
    CHECK_ERROR(rfs_config_add_hook(NULL, 1, &list[0].hook, &err), &err, .code = -EINVAL, .says = "config is NULL");
    CHECK_ERROR(rfs_config_add_hook(config, 1, NULL, &err), &err, .code = -EINVAL, .says = "rfs_hook is NULL");
    struct {
        rfs_hook known;
        unsigned char tail[16];
    } larger = {.known = {.size = sizeof larger, .path = "/x"}, .tail = {[3] = 1}};
    CHECK_ERROR(rfs_config_add_hook(config, 1, &larger.known, &err), &err, .code = -E2BIG);

    rfs_plan *plan = plan_of_config(config);
    CHECK_ERROR(rfs_run_hooks(NULL, 1, STATE, 1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_HOOKS,
                .says = "plan is NULL");
    CHECK_ERROR(rfs_run_hooks(plan, 0, STATE, 1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_HOOKS,
                .says = "kind: 0");
    CHECK_ERROR(rfs_run_hooks(plan, 1, NULL, 1, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_HOOKS,
                .says = "state is NULL");
    CHECK_ERROR(rfs_run_hooks(plan, 1, STATE, 0, &err), &err, .code = -EINVAL, .stage = RFS_STAGE_HOOKS,
                .says = "state is empty");
    CHECK(rfs_run_hooks(plan, 1, STATE, 1, NULL) == 0);
    rfs_plan_free(plan);
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {
        {"in order, and only of one kind", in_order},
        {"the first failure ends it, but for poststop", first_failure},
        {"arguments, environment, descriptors, signals, cwd, umask, input", looking},
        {"a path alone", path_alone},
        {"0, 1, 2 of the caller closed in every combination", standard_descriptors_closed},
        {"a state of 1 MiB", large_input},
        {"a state that is not read", input_unread},
        {"exit statuses, signals, output", failures_and_output},
        {"timeout", timeouts},
        {"a flood of output", floods},
        {"a child in the background", background},
        {"missing, not executable, without interpreter", not_executed},
        {"the caller ignores SIGCHLD", sigchld_ignored},
        {"the caller handles SIGCHLD", sigchld_handled},
        {"the caller reaps all children in another thread", children_reaped},
        {"createContainer: in rfs_prepare", create_container},
        {"createContainer: in the hooks callback", by_the_callback},
        {"createContainer: nobody would run them", nobody_runs_them},
        {"createContainer: one fails", create_container_fails},
        {"startContainer: in the container", in_the_container},
        {"rfsrun: each kind in order and place", rfsrun_runs_them},
        {"rfsrun: each kind fails", rfsrun_when_they_fail},
        {"config.json", from_json},
        {"config.json with mistakes", bad_json},
        {"arguments that are refused", bad_arguments},
    };
    if (argc > 1 && strcmp(argv[0], "hook") == 0)
        return be_hook(argc, argv);
    return run_cases(cases, COUNT(cases));
}
