# SPDX-License-Identifier: MIT OR Apache-2.0
"""The mistakes. Each is a bundle of tests/parity that must not start, see Case there."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../parity"))
from cases import (B, CASES, Case, DEV, DIR, LOCKED, M, MAPPED, NESTED, OWN, PRIVATE, PROC, SYS, THINGS, USER, device,
        devices, hook, masked, ranges_of_mount, readonly)

MISTAKES = []
CASES.clear()


class Mistake(Case):
    """title    the mistake, a heading of docs/errors.md
    says     what rfsrun's message must name: the component or value, and the remedy
    edit     changes config.json, and may return what to write instead
    """

    def __init__(self, title, mounts=(), setup="", *, says, edit=None, **more):
        super().__init__(f"errors/{len(MISTAKES):03}", mounts, setup, fails=says[0], **more)
        self.title, self.says, self.edit = title, says, edit
        MISTAKES.append(self)

    def config(self, work, cgroup):
        config = super().config(work, cgroup)
        return self.edit and self.edit(config) or config


class Chapter(str):
    """A heading above mistakes."""

    def __init__(self, title):
        MISTAKES.append(self)


def put(path, value):
    """An edit: a field of config.json, whose parts may be indexes."""
    def edit(config):
        place, *keys = [config, *path.split("/")]
        for key in keys[:-1]:
            place = place[int(key) if key.isdigit() else key]
        if value is None:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
    return edit


# ---- config.json ----

Chapter("config.json")
Mistake("config.json is not JSON", edit=lambda config: '{"root": {"path": "rootfs"},\n}\n',
        says=["config.json", "line 2"])
Mistake("config.json is empty", edit=lambda config: "\n", says=["config.json"])
Mistake("There is no `root`", edit=put("root", None), says=["root"])
Mistake("`root.path` is missing", edit=put("root", {}), says=["root.path"])
Mistake("`mounts` is an object", edit=put("mounts", {"destination": "/t"}), says=["mounts"])
Mistake("A mount has no destination", edit=put("mounts", [{"type": "tmpfs"}]), says=["mounts[0]", "destination"])
Mistake("A mount's destination is a number", edit=put("mounts/0/destination", 5), says=["mounts[0].destination"])
Mistake("A mount's options are one string", edit=put("mounts/0/options", "nosuid,ro"), says=["mounts[0].options"])
Mistake("A destination has a NUL byte in it", edit=put("mounts/0/destination", "/a\0b"),
        says=["mounts[0]", "destination"])
Mistake("A destination is longer than PATH_MAX", [M("/t" + "/directory" * 500, "tmpfs", "tmpfs")],
        says=["mounts[1]", "4095"])
Mistake("A component of a destination is longer than NAME_MAX", [M("/t/" + "n" * 256, "tmpfs", "tmpfs")],
        says=["mounts[1]", "255"])
Mistake("A mapping of ids has no size", edit=put("linux/uidMappings", [{"containerID": 0, "hostID": 1000}]),
        says=["uidMappings[0]", "size"])
Mistake("`linux.maskedPaths` is a string", edit=put("linux/maskedPaths", "/proc/kcore"), says=["linux.maskedPaths"])
Mistake("`linux.rootfsPropagation` is misspelt", change={"linux/rootfsPropagation": "rslaves"},
        says=["rslaves", "slave"])
Mistake("`process.user.umask` has more than permission bits",
        change={"process/user": {"uid": 0, "gid": 0, "umask": 0o1022}}, says=["umask", "0777"])

# ---- The rootfs ----

NEW_ROOTFS = "cp -a $R $H/image; mount -t tmpfs -o mode=755 none $R; cp -a $H/image/. $R\n"
READ_ONLY = NEW_ROOTFS + "%s\nmount -o remount,ro $R\n"

Chapter("The rootfs")
Mistake("The rootfs does not exist", setup="mv $R $H/image", says=["rootfs", "does not exist"])
Mistake("The rootfs is a symbolic link", setup="mv $R $H/image; ln -s host/image $R",
        says=["rootfs", "symbolic link"])
Mistake("The rootfs is a file", setup="mv $R $H/image; touch $R", says=["rootfs", "directory"])
Mistake("A directory on the way to the rootfs is a file", change={"root/path": "host/file/rootfs"},
        setup="touch $H/file", says=["host/file", "directory"])
Mistake("The rootfs is read-only and has no mount point for a bind", [B("/new/a")], DIR + READ_ONLY % "",
        says=["/new", "read-only"])
Mistake("The rootfs is read-only and has no mount point for a bound file", [B("/new/a", "file")],
        THINGS + READ_ONLY % "", says=["/new", "read-only"])
Mistake("The rootfs is read-only and has no /proc", setup=READ_ONLY % "rmdir $R/proc", says=["/proc", "read-only"])
Mistake("The rootfs is read-only and has no /sys", [SYS], READ_ONLY % "rmdir $R/sys", says=["/sys", "read-only"])
Mistake("The rootfs is read-only and has no /dev", [DEV], READ_ONLY % "rm -r $R/dev", says=["/dev", "read-only"])
Mistake("The rootfs is read-only, and the working directory is missing", change={"process/cwd": "/srv/app"},
        setup=READ_ONLY % "", only=[PROC, DEV], says=["process.cwd", "/srv", "read-only"])
Mistake("The rootfs is full", [B("/new/a")],
        DIR + "cp -a $R $H/image; mount -t tmpfs -o mode=755,nr_inodes=30 none $R; cp -a $H/image/. $R\n"
              "i=0; while touch $R/t/full$i 2>/dev/null; do i=$((i + 1)); done\n",
        says=["/new", "full"])
Mistake("The rootfs belongs to a user whom the user namespace does not map", [B("/new/a")], DIR + "cp -a $R $H/image",
        change={"root/path": "$H/image"}, ids=MAPPED, says=["/new", "65534", "map"])
Mistake("A directory above the rootfs can't be searched by an ordinary user",
        setup="mkdir $H/above; cp -a $R $H/above/rootfs; chmod 0700 $H/above",
        change={"root/path": "$H/above/rootfs"}, ids=(OWN, OWN), user=USER, says=["host/above", "search"])
Mistake("`linux.rootfsPropagation` is `runbindable`", [B("/t/a", options="rbind")], NESTED,
        change={"linux/rootfsPropagation": "runbindable"}, says=["rootfsPropagation", "unbindable"])

# ---- File systems ----

Chapter("File systems")
Mistake("The type is unknown", [M("/t/a", "nosuchfs", "none")],
        says=["mounts[1] (/t/a)", "nosuchfs", "/proc/filesystems"])
Mistake("There is neither a type nor \"bind\"", [M("/t/a", source="$H/dir", options="ro")], DIR,
        says=["mounts[1] (/t/a)", "type"])
Mistake("tmpfs: an unknown option", [M("/t/a", "tmpfs", "tmpfs", "sice=1m")], says=["mounts[1] (/t/a)", "sice=1m"])
Mistake("tmpfs: an option in capital letters", [M("/t/a", "tmpfs", "tmpfs", "RO")],
        says=["mounts[1] (/t/a)", "RO", "\"ro\""])
Mistake("tmpfs: a size that is no number", [M("/t/a", "tmpfs", "tmpfs", "size=1mb")],
        says=["mounts[1] (/t/a)", "size=1mb"])
Mistake("tmpfs: a mode that is not octal", [M("/t/a", "tmpfs", "tmpfs", "mode=rwx")],
        says=["mounts[1] (/t/a)", "mode=rwx"])
Mistake("tmpfs: an owner that the user namespace does not map", [M("/t/a", "tmpfs", "tmpfs", "uid=70000")],
        ids=MAPPED, says=["mounts[1] (/t/a)", "uid=70000", "user namespace"])
Mistake("tmpfs: an option without its value", [M("/t/a", "tmpfs", "tmpfs", "size=")],
        says=["mounts[1] (/t/a)", "size="])
Mistake("tmpfs: the destination is a file", [M("/etc/f", "tmpfs", "tmpfs")], says=["mounts[1] (/etc/f)", "directory"])
Mistake("tmpfs: `tmpcopyup` finds more than the tmpfs holds", [M("/t", "tmpfs", "tmpfs", "tmpcopyup,size=16k")],
        "head -c 100000 /dev/zero >$R/t/large", says=["mounts[1] (/t)", "large", "size"])
Mistake("proc: an unknown option", only=[M("/proc", "proc", "proc", "hidepids=2"), DEV],
        says=["mounts[0] (/proc)", "hidepids=2"])
Mistake("proc: the image's /proc is a symbolic link", setup="rmdir $R/proc; mkdir $R/real; ln -s real $R/proc",
        says=["mounts[0] (/proc)", "symbolic link"])
Mistake("proc: the image's /proc is a file", setup="rmdir $R/proc; touch $R/proc",
        says=["mounts[0] (/proc)", "directory"])
Mistake("proc: the pid namespace belongs to another user namespace", only=[PROC, DEV], ids=MAPPED, namespaces="iumc",
        says=["mounts[0] (/proc)", "pid namespace", "\"pid\""])
Mistake("proc: a directory of the outer /proc is covered", setup="mount -t tmpfs none /proc/fs", user_namespace=True,
        says=["mounts[0] (/proc)", "too revealing", "/proc"])
Mistake("A tmpfs on /proc", only=[M("/proc", "tmpfs", "tmpfs"), DEV], says=["mounts[0] (/proc)", "proc file system"])
Mistake("A bind of a directory on /proc", [B("/proc")], DIR,
        says=["mounts[1] (/proc)", "host/dir", "proc file system"])
Mistake("A bind below /proc", [B("/proc/bus")], DIR, says=["mounts[1] (/proc/bus)", "below /proc"])
Mistake("A bind below /proc by a link of the image", [B("/t/link")], DIR + "ln -s /proc/bus $R/t/link",
        says=["mounts[1] (/t/link)", "leads to /proc/bus"])
Mistake("sysfs: the image's /sys is a symbolic link", [SYS], "rmdir $R/sys; mkdir $R/real; ln -s real $R/sys",
        says=["mounts[1] (/sys)", "symbolic link"])
Mistake("sysfs: an unknown option", [M("/sys", "sysfs", "sysfs", "nonsense")], says=["mounts[1] (/sys)", "nonsense"])
Mistake("mqueue: the ipc namespace belongs to another user namespace",
        [DEV, M("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev")], ids=MAPPED, namespaces="pumc",
        says=["mounts[2] (/dev/mqueue)", "ipc namespace", "\"ipc\""])
Mistake("devpts: an unknown option", [DEV, M("/dev/pts", "devpts", "devpts", "newinstanse")],
        says=["mounts[2] (/dev/pts)", "newinstanse"])
Mistake("devpts: an owner that the user namespace does not map",
        [DEV, M("/dev/pts", "devpts", "devpts", "uid=70000")], ids=MAPPED,
        says=["mounts[2] (/dev/pts)", "uid=70000", "user namespace"])
Mistake("ext4: the source does not exist", [M("/t/a", "ext4", "/dev/absent")],
        says=["mounts[1] (/t/a)", "/dev/absent"])
Mistake("ext4: the source is a file, not a block device", [M("/t/a", "ext4", "$H/image.ext4")],
        "truncate -s 1M $H/image.ext4", says=["mounts[1] (/t/a)", "host/image.ext4", "block device"])
Mistake("ext4: the container has a user namespace", [M("/t/a", "ext4", "/dev/absent")],
        ids=MAPPED, says=["mounts[1] (/t/a)", "ext4"])

OVERLAY = "mkdir $H/lower $H/upper $H/work\n"


def overlay(title, options, setup="", **more):
    Mistake("overlay: " + title, [M("/t/a", "overlay", "overlay", options)], OVERLAY + setup, **more)


overlay("the lower directory does not exist", "lowerdir=$H/absent,upperdir=$H/upper,workdir=$H/work",
        says=["mounts[1] (/t/a)", "lowerdir", "host/absent", "does not exist"])
overlay("the second of three lower directories does not exist", "lowerdir=$H/lower:$H/absent:$H/lower2",
        "mkdir $H/lower2", says=["mounts[1] (/t/a)", "lowerdir", "host/absent", "does not exist"])
overlay("the upper directory does not exist", "lowerdir=$H/lower,upperdir=$H/absent,workdir=$H/work",
        says=["mounts[1] (/t/a)", "upperdir", "host/absent", "does not exist"])
overlay("the work directory does not exist", "lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/absent",
        says=["mounts[1] (/t/a)", "workdir", "host/absent", "does not exist"])
overlay("a lower directory is a file", "lowerdir=$H/file,upperdir=$H/upper,workdir=$H/work", "touch $H/file",
        says=["mounts[1] (/t/a)", "lowerdir", "host/file", "directory"])
overlay("an upper directory without a work directory", "lowerdir=$H/lower,upperdir=$H/upper",
        says=["mounts[1] (/t/a)", "upperdir", "workdir"])
overlay("a work directory without an upper directory, and one lower directory", "lowerdir=$H/lower,workdir=$H/work",
        says=["mounts[1] (/t/a)", "workdir", "upperdir"])
overlay("no lower directory", "upperdir=$H/upper,workdir=$H/work", says=["mounts[1] (/t/a)", "lowerdir"])
overlay("upper and work directory are on different file systems",
        "lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/work", "mount -t tmpfs none $H/work",
        says=["mounts[1] (/t/a)", "host/work", "file system"])
overlay("upper and work directory are the same", "lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/upper",
        says=["mounts[1] (/t/a)", "host/upper", "workdir"])
overlay("the upper directory is on a read-only mount", "lowerdir=$H/lower,upperdir=$H/ro/upper,workdir=$H/ro/work",
        "mkdir $H/ro; mount -t tmpfs none $H/ro; mkdir $H/ro/upper $H/ro/work; mount -o remount,ro $H/ro",
        says=["mounts[1] (/t/a)", "host/ro/upper", "read-only"])
overlay("an unknown option", "lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/work,redirectdir=on",
        says=["mounts[1] (/t/a)", "redirectdir=on"])
overlay("an option with a bad value", "lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/work,redirect_dir=yes",
        says=["mounts[1] (/t/a)", "redirect_dir=yes"])

# ---- Binds ----

Chapter("Binds")
Mistake("The source does not exist", [B("/t/a", "absent/dir")],
        says=["mounts[1] (/t/a)", "host/absent/dir", "does not exist"])
Mistake("The source is a dangling symbolic link", [B("/t/a", "link")], "ln -s nowhere $H/link",
        says=["mounts[1] (/t/a)", "host/link", "symbolic link"])
Mistake("The source is a loop of symbolic links", [B("/t/a", "link/x")], "ln -s other $H/link; ln -s link $H/other",
        says=["mounts[1] (/t/a)", "host/link", "loop"])
Mistake("A directory on the way to the source is a file", [B("/t/a", "file/below")], THINGS,
        says=["mounts[1] (/t/a)", "host/file", "not a directory"])
Mistake("There is no source", [M("/t/a", "bind", options="bind")], says=["mounts[1] (/t/a)", "source"])
Mistake("The source can't be reached by an ordinary user", [B("/t/a", "private/dir")], PRIVATE, ids=(OWN, OWN),
        user=USER, says=["mounts[1] (/t/a)", "host/private", "reached"])
Mistake("A directory is bound on a file", [B("/etc/f")], DIR, says=["mounts[1] (/etc/f)", "host/dir", "directory"])
Mistake("A file is bound on a directory", [B("/t", "file")], THINGS,
        says=["mounts[1] (/t)", "host/file", "directory"])
Mistake("A directory on the way to the destination is a file", [B("/etc/f/x/y")], DIR,
        says=["mounts[1] (/etc/f/x/y)", "/etc/f is a regular file"])
Mistake("The destination is a loop of symbolic links", [B("/t/a/x")], DIR + "ln -s b $R/t/a; ln -s a $R/t/b",
        says=["mounts[1] (/t/a/x)", "/t/a", "loop"])
Mistake("The mount point is missing on a read-only source of an earlier mount", [B("/t/a", "ro"), B("/t/a/x")],
        DIR + "mkdir $H/ro; mount -t tmpfs -o ro none $H/ro", says=["mounts[2] (/t/a/x)", "mounts[1]", "host/ro"])
Mistake("A mount point in the source is locked, and the bind is not recursive", [B("/t/a")],
        "mkdir -p $H/dir/sub; mount -t tmpfs none $H/dir/sub", user_namespace=True,
        says=["mounts[1] (/t/a)", "host/dir", "rbind"])
Mistake("`suid` is asked for, and a `nosuid` of the source is locked", [B("/t/a", options="bind,suid")], LOCKED,
        ids=MAPPED, says=["mounts[1] (/t/a)", "nosuid", "locked"])
Mistake("`rw` is asked for, and an `ro` of the source is locked", [B("/t/a", options="bind,rw")],
        "mkdir $H/dir; mount -t tmpfs -o ro none $H/dir", ids=MAPPED, says=["mounts[1] (/t/a)", "ro", "locked"])
Mistake("Another atime mode than the locked one is asked for", [B("/t/a", options="bind,noatime")], LOCKED,
        ids=MAPPED, says=["mounts[1] (/t/a)", "atime", "locked"])
Mistake("`rsuid` is asked for, and a `nosuid` is locked", [B("/t/a", options="rbind,rsuid")], LOCKED, ids=MAPPED,
        says=["mounts[1] (/t/a)", "nosuid", "locked"])
Mistake("A remount where nothing is mounted", [B("/t", options="bind,remount,ro")], DIR,
        says=["mounts[1] (/t)", "nothing is mounted"])

# ---- Idmapped mounts ----

Chapter("Idmapped mounts")
Mistake("`idmap` without a user namespace or mappings", [B("/t/a", options="bind,idmap")], DIR,
        says=["mounts[1] (/t/a)", "uidMappings"])
Mistake("The file system can't be idmapped", [M("/t/a", "bind", "/proc", "bind,idmap=uids=0-1000-10;gids=0-1000-10")],
        says=["mounts[1] (/t/a)", "proc", "idmap"])
Mistake("A mapping in an option is garbled", [B("/t/a", options="bind,idmap=uids=0:1000:10;gids=0-1000-10")], DIR,
        says=["mounts[1] (/t/a)", "0:1000:10"])
Mistake("Ranges of a mapping overlap",
        [M("/t/a", "bind", "$H/dir", "bind", **ranges_of_mount([(0, 1000, 10), (5, 2000, 10)], [(0, 1000, 10)]))],
        DIR, says=["mounts[1] (/t/a)", "uidMappings"])
Mistake("Only users are mapped",
        [M("/t/a", "bind", "$H/dir", "bind", uidMappings=[{"containerID": 0, "hostID": 1000, "size": 10}])], DIR,
        says=["mounts[1] (/t/a)", "gidMappings"])

# ---- Devices ----

Chapter("Devices")
Mistake("The image has another device at the path", setup="mknod -m 0666 $R/t/null c 1 5",
        change=devices(device("/t/null")), says=["linux.devices[0] (/t/null)", "1:5"])
Mistake("The image has a file at the path", setup="echo x >$R/t/null", change=devices(device("/t/null")),
        says=["linux.devices[0] (/t/null)", "file"])
Mistake("The image has a symbolic link at the path", setup="ln -s ../etc/f $R/t/null",
        change=devices(device("/t/null")), says=["linux.devices[0] (/t/null)", "symbolic link"])
Mistake("A directory on the way to a device is a file", change=devices(device("/etc/f/null")),
        says=["linux.devices[0] (/etc/f/null)", "/etc/f is a regular file"])
Mistake("The type of a device is unknown", [DEV], change=devices(device("/dev/x", "q")),
        says=["linux.devices[0]", "type", "q"])
Mistake("A device has no path", [DEV], change=devices({"type": "c", "major": 1, "minor": 3}),
        says=["linux.devices[0]", "path"])
Mistake("The mode of a device has unknown bits", [DEV], change=devices(device("/dev/x", fileMode=0o1000666)),
        says=["linux.devices[0]", "fileMode"])
Mistake("The host has no such device to bind into a user namespace", [DEV], change=devices(device("/dev/null-too")),
        ids=MAPPED, says=["linux.devices[0] (/dev/null-too)", "host"])
Mistake("The host has another device at the path", [DEV],
        "mount -t tmpfs -o mode=755 none /dev/shm; mknod /dev/shm/x c 1 7", ids=MAPPED,
        change=devices(device("/dev/shm/x")), says=["linux.devices[0] (/dev/shm/x)", "not that device", "1:7"])
Mistake("The /dev of the image has a wrong null, and nothing is mounted on /dev", only=[PROC],
        setup="mknod -m 0666 $R/dev/null c 1 5", says=["/dev/null", "1:5"])
Mistake("The rootfs is read-only, and a device is missing", setup=READ_ONLY % "", only=[PROC, DEV],
        change=devices(device("/srv/null")), says=["linux.devices[0] (/srv/null)", "read-only"])

# ---- Masked and read-only paths ----

Chapter("Masked and read-only paths")
Mistake("A masked path lies below a file", change=masked("/etc/f/below"),
        says=["linux.maskedPaths[0] (/etc/f/below)", "/etc/f is a regular file"])
Mistake("A masked path is a loop of symbolic links", setup="ln -s b $R/t/a; ln -s a $R/t/b", change=masked("/t/a"),
        says=["linux.maskedPaths[0] (/t/a)", "loop"])
Mistake("A file is masked, and /dev/null is missing", only=[PROC, B("/dev")], setup=DIR, change=masked("/etc/f"),
        says=["linux.maskedPaths[0] (/etc/f)", "/dev/null"])
Mistake("A file is masked, and /dev/null is a file", only=[PROC, B("/dev")], setup=DIR + "touch $H/dir/null",
        change=masked("/etc/f"), says=["linux.maskedPaths[0] (/etc/f)", "/dev/null"])
Mistake("A masked path is the root", change=masked("/"), says=["linux.maskedPaths[0]", "root"])
Mistake("A read-only path lies below a file", change=readonly("/etc/f/below"),
        says=["linux.readonlyPaths[0] (/etc/f/below)", "/etc/f is a regular file"])
Mistake("A read-only path is a loop of symbolic links", setup="ln -s b $R/t/a; ln -s a $R/t/b",
        change=readonly("/t/a"), says=["linux.readonlyPaths[0] (/t/a)", "loop"])

# ---- Hooks ----

HOOK = "hooks.createContainer[0]"


def create_container(*hooks):
    return {"hooks/createContainer": list(hooks)}


Chapter("Hooks")
Mistake("A hook fails and says why", change=create_container(hook("echo 'the network is down' >&2; exit 3")),
        says=[HOOK, "status 3", "the network is down"])
Mistake("A hook is killed by a signal", change=create_container(hook("kill -9 $$")), says=[HOOK, "signal 9"])
Mistake("A hook takes too long", change=create_container(hook("sleep 2", timeout=1)), says=[HOOK, "1 s"])
Mistake("The program of a hook does not exist", change=create_container({"path": "/no/such/program"}),
        says=[HOOK, "/no/such/program"])
Mistake("The program of a hook can't be executed", setup="echo '#!/bin/sh' >$H/hook",
        change=create_container({"path": "$H/hook"}), says=[HOOK, "host/hook", "execut"])
Mistake("The interpreter of a hook does not exist", setup="echo '#!/no/such/sh' >$H/hook; chmod 755 $H/hook",
        change=create_container({"path": "$H/hook"}), says=[HOOK, "host/hook", "interpreter"])
Mistake("A hook's path is relative", change=create_container({"path": "bin/hook"}),
        says=[HOOK, "bin/hook", "absolute"])
Mistake("A hook's timeout is negative", change=create_container(hook("true", timeout=-1)),
        says=[HOOK, "timeout", "-1"])

# ---- The process ----

Chapter("The process")
Mistake("The working directory is a file", change={"process/cwd": "/etc/f"},
        says=["process.cwd", "/etc/f is a regular file"])
Mistake("A directory on the way to the working directory is a file", change={"process/cwd": "/etc/f/x"},
        says=["process.cwd", "/etc/f is a regular file"])
Mistake("The working directory is a loop of symbolic links", setup="ln -s b $R/t/a; ln -s a $R/t/b",
        change={"process/cwd": "/t/a"}, says=["process.cwd", "/t/a", "loop"])
Mistake("The working directory is relative", change={"process/cwd": "srv"},
        says=["process.cwd", "\"srv\"", "absolute"])

# ---- Limits, labels, names ----

Chapter("Limits, labels, names")
Mistake("RLIMIT_NOFILE is too low", [B(f"/t/{i}") for i in range(4)], DIR, prefix=["prlimit", "--nofile=6:6"],
        change={"process/rlimits": None},
        says=["RLIMIT_NOFILE"])
Mistake("A mount label without SELinux", [M("/t/a", "tmpfs", "tmpfs", "mode=755")],
        change={"linux/mountLabel": "system_u:object_r:container_file_t:s0:c1,c2"},
        says=["mounts[1] (/t/a)", "SELinux"])
Mistake("A link of the image has control characters in its target", [B("/t/a")],
        DIR + "ln -s \"$(printf '/proc/self/attr/\\n\\033[31mroot@host# ')\" $R/t/a",
        says=["mounts[1] (/t/a)", "\\x0a\\x1b[31m"])
Mistake("A link of the image has bytes that are not UTF-8 in its target", [B("/t/a")],
        DIR + "ln -s \"$(printf '/proc/\\377\\376')\" $R/t/a", says=["mounts[1] (/t/a)", "/proc/\\xff\\xfe"])
Mistake("A source has control characters in its name", [M("/t/a", "bind", "$H/absent\n\x1b[31m\u202e", "bind")],
        says=["mounts[1] (/t/a)", "absent\\x0a\\x1b[31m\\xe2\\x80\\xae"])
