# SPDX-License-Identifier: MIT OR Apache-2.0
"""The bundles. Each is what `runc spec` writes, with changes; see Case."""
import copy
import functools
import json
import os
import subprocess
import tempfile

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../c-tests/data")
CAPABILITIES = ["CAP_KILL", "CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]
CASES = []


@functools.lru_cache(maxsize=None)
def runc_spec(*options):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["runc", "spec", *options, "--bundle", folder], check=True)
        with open(folder + "/config.json") as file:
            return json.load(file)


def M(destination, type=None, source=None, options=None, **more):
    """A mount. Options are written as in fstab; $H in the source is the host's folder."""
    mount = {"destination": destination, "type": type, "source": source,
             "options": options.split(",") if options is not None else None, **more}
    return {key: value for key, value in mount.items() if value is not None}


def B(destination, source="dir", options="bind"):
    return M(destination, "bind", "$H/" + source, options)


def mappings(*ranges):
    return [{"containerID": first, "hostID": there, "size": size} for first, there, size in ranges]


PROC = M("/proc", "proc", "proc")
DEV = M("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k")
PTS = M("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5")
SYS = M("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro")
# Read-only, as in every default configuration.
CGROUP = M("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro")


class Case:
    """mounts      after that of /proc, or with only= instead of it
    setup       shell, in the folder that is the bundle: $R is the rootfs (it has proc, sys, dev, t, etc/f and
                the probe), $H a folder for the host's side of binds; files there named written* are facts
    change      what else config.json has: {"linux/maskedPaths": [...]}; None removes
    namespaces  which ones, by their first letters: pid, ipc, uts, mount, cgroup, network
    look        commands for the probe, see probe.c
    fails       what rfsrun's message must contain where the container must not start
    expects     facts that rfsrun must show, if neither runc nor crun can do the same ("-": must not be there)
    ids         mappings of users and of groups, for a container with a user namespace of its own, to which the image
                belongs. Each is a list of ids inside, ids of the host, and a count
    user        an ordinary user of the host starts the runtime, with no privilege
    prefix      a command that starts the runtime: ["prlimit", "--nofile=64"]
    unshare     rfsrun makes the mount namespace before rfs_prepare(), for what RFS_OPTION_OWN_NAMESPACE can't do
    user_namespace  the whole runtime runs in a user namespace, whose ids are the host's
    """

    def __init__(self, name, mounts=(), setup="", change=None, only=None, look="", namespaces="piumc", fails=None,
                 terminal=False, user_namespace=False, hybrid_cgroups=False, host_umask=0o022, arguments=(),
                 stdin_null=False, made_modes=False, expects=None, spec=None, ids=None, user=None,
                 prefix=(), unshare=False):
        self.name, self.setup, self.fails, self.terminal = name, setup, fails, terminal
        self.user_namespace, self.hybrid_cgroups = user_namespace, hybrid_cgroups
        self.host_umask, self.arguments, self.stdin_null = host_umask, arguments, stdin_null
        self.made_modes, self.expects, self.ids, self.user = made_modes, expects or {}, ids, user
        self.mounts = list(only if only is not None else [PROC, *mounts])
        self.change, self.look, self.namespaces, self.spec = change or {}, look.split(), namespaces, spec
        self.prefix, self.unshare = list(prefix), unshare
        CASES.append(self)

    def config(self, work, cgroup):
        config = copy.deepcopy(self.spec or runc_spec())
        linux = config["linux"]
        config["process"]["terminal"] = self.terminal
        config["process"]["capabilities"] = {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")}
        config["root"] = {"path": "rootfs", "readonly": False}
        config["ociVersion"] = "1.0.2"  # crun 1.8.1 refuses later ones
        linux["cgroupsPath"] = cgroup
        # Only runc restricts devices by cgroup here.
        linux["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
        if self.spec is None:
            config["mounts"] = self.mounts
            linux["namespaces"] = [{"type": type} for type in
                                   ("pid", "ipc", "uts", "mount", "cgroup", "network") if type[0] in self.namespaces]
            for key in ("maskedPaths", "readonlyPaths"):
                linux.pop(key, None)
            if "u" not in self.namespaces:
                config.pop("hostname")
        for path, value in self.change.items():
            place, *keys = [config, *path.split("/")]
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            if value is None:
                place.pop(keys[-1], None)
            else:
                place[keys[-1]] = value
        if self.ids:
            linux["namespaces"].append({"type": "user"})
            linux["uidMappings"], linux["gidMappings"] = (mappings(*ranges) for ranges in self.ids)
        if self.user:  # has no cgroups to manage
            linux.pop("cgroupsPath")
            linux.pop("resources")
        touched = []
        for path in linux.get("maskedPaths", []) + linux.get("readonlyPaths", []):
            if path not in touched and len(touched) < 60:
                touched += ["touch", path]
        config["process"]["args"] = ["/probe", *self.look, *touched]
        return json.loads(json.dumps(config).replace("$H", work + "/host").replace("$R", work + "/rootfs"))


def masked(*paths):
    return {"linux/maskedPaths": list(paths)}


def readonly(*paths):
    return {"linux/readonlyPaths": list(paths)}


# ---- Whole configurations, as their tools write them ----

def whole(name, setup="", change=None, spec=None, **more):
    spec = copy.deepcopy(spec or runc_spec())
    # A user namespace is what ids says, and without a network of its own it has no sysfs.
    without = "user" if "ids" in more else "network"
    namespaces = [{"type": entry["type"]} for entry in spec["linux"]["namespaces"] if entry["type"] != without]
    for key in ("seccomp", "sysctl"):  # not of the file system
        spec["linux"].pop(key, None)
    spec.pop("hooks", None)
    for limit in spec["process"].get("rlimits", []):
        limit["soft"] = limit["hard"] = 1024
    Case(name, setup=setup, spec=spec, change={"linux/namespaces": namespaces, **(change or {})}, **more)


def written_by(tool):
    with open(f"{DATA}/{tool}.json") as file:
        return json.loads(file.read().replace("@WORK@/state", "$H"))


ENGINE_FILES = """
mkdir -p $H/volume $H/config $H/shm $R/tmp; chmod 1777 $H/shm $R/tmp; echo kept >$R/tmp/kept
for f in resolv.conf hostname hosts .containerenv; do echo $f >$H/$f; done
"""
whole("whole/runc-spec")
Case("whole/namespaces-without-a-path", [DEV], change={"linux/namespaces": [
    {"type": type, "path": ""} for type in ("pid", "ipc", "uts", "mount")]})
whole("whole/runc-spec-read-only", change={"root/readonly": True})
whole("whole/docker", ENGINE_FILES, spec=written_by("docker"))
whole("whole/podman", ENGINE_FILES, spec=written_by("podman"), look="list /tmp", change={"root/readonly": True})
whole("whole/terminal", terminal=True, look="touch /dev/console")
whole("whole/terminal-other-user", terminal=True, look="touch /dev/console",
      change={"process/user": {"uid": 1000, "gid": 1000}})

# ---- 1. Mount options ----

ALL_SET = "nosuid,nodev,noexec,noatime,nodiratime,ro"
DIR = "mkdir -p $H/dir; echo host >$H/dir/f\n"
FLAGGED = "mkdir -p $H/dir; mount -t tmpfs -o nosuid,nodev,noexec,noatime,nodiratime none $H/dir; " \
    "echo host >$H/dir/f\n" \
          "mount -o remount,bind,ro $H/dir\n"
NESTED = "mkdir -p $H/dir; mount -t tmpfs -o mode=755 none $H/dir; " \
    "mkdir $H/dir/sub; mount -t tmpfs -o mode=755 none $H/dir/sub\n" \
         "echo host >$H/dir/f; echo below >$H/dir/sub/f\n"


def each(options, base="bind"):
    return [B("/t/" + option, options=base + "," + option) for option in options.split()]


Case("options/bind-set", each("nosuid nodev noexec noatime nodiratime relatime strictatime ro rw silent loud defaults"),
     DIR)
Case("options/bind-clear-superblock", each("async nolazytime nomand noiversion"), DIR)
for option in "sync dirsync lazytime mand iversion".split():
    Case("options/bind-set-superblock-" + option, each(option), DIR, fails=option)
Case("options/bind-set-nosymfollow", each("nosymfollow"), DIR)
Case("options/bind-clear", each("suid dev exec atime diratime rw norelatime nostrictatime"), FLAGGED)
Case("options/bind-clear-symfollow", each("symfollow"), FLAGGED)
Case("options/bind-none-asked", [B("/t/a"), B("/t/b", options="rbind"), M("/t/c", None, "$H/dir", "bind"),
                                 B("/t/d", options="bind,private"), B("/t/e", options="bind,defaults")], FLAGGED)
Case("options/bind-replaced", [B("/t/a", options="bind,nosuid"), B("/t/b", options="bind,relatime")], FLAGGED)
Case("options/last-wins", [B("/t/a", options="bind,ro,rw"), B("/t/b", options="bind,rw,ro"),
                           B("/t/c", options="bind,nosuid,suid"), M("/t/d", "tmpfs", "none", "noexec,exec"),
                           B("/t/e", options="bind,rbind"), B("/t/f", options="rbind,bind")], NESTED)
Case("options/two-atimes", [B("/t/a", options="bind,noatime,relatime"), B("/t/b", options="bind,strictatime,noatime"),
                            M("/t/c", "tmpfs", "none", "noatime,relatime")], DIR)
Case("options/remount", [M("/t/a", "tmpfs", "none", "nosuid,nodev"), B("/t/a", options="bind,remount,ro,noexec"),
                         M("/t/b", "tmpfs", "none", "nosuid,noatime"), B("/t/b", options="bind,remount")], FLAGGED)
Case("options/remount-of-no-mount", [B("/t/a", options="bind,remount,ro")], FLAGGED,
     fails="nothing is mounted at the destination")
Case("options/tmpfs-set", [M("/t/" + option, "tmpfs", "none", option) for option in
                           "nosuid nodev noexec noatime nodiratime relatime strictatime sync dirsync lazytime ro rw "
                           "async suid dev exec".split()])
Case("options/tmpfs-silent", [M("/t/m", "tmpfs", "none", "silent")])
Case("options/tmpfs-defaults", [M("/t/m", "tmpfs", "none", "defaults,mode=755")])
Case("options/tmpfs-mand", [M("/t/m", "tmpfs", "none", "mand")])
Case("options/tmpfs-iversion", [M("/t/m", "tmpfs", "none", "iversion")])
Case("options/none", [M("/t/a", "tmpfs"), M("/t/b", "tmpfs", "tmpfs"), M("/t/c", "tmpfs", "named")])
Case("options/empty-string", [M("/t/a", "tmpfs", "none", "")])
Case("options/propagation", [B("/t/" + option, options="rbind," + option) for option in
                             "private rprivate slave rslave shared rshared unbindable runbindable".split()], NESTED)
Case("options/propagation-of-shared", [B("/t/" + option, options="rbind," + option) for option in
                                       "private rprivate slave rslave shared unbindable".split()],
     NESTED + "mount --make-rshared $H/dir")
Case("options/propagation-kept", [B("/t/a", options="rbind"), B("/t/b")], NESTED + "mount --make-rshared $H/dir")
Case("options/propagation-several", [B("/t/a", options="rbind,private,shared"), B("/t/b", options="rbind,shared,slave"),
                                     B("/t/c", options="rbind,rslave,rshared"),
                                         B("/t/d", options="rbind,rprivate,shared")],
     NESTED + "mount --make-rshared $H/dir")
Case("options/propagation-of-tmpfs", [M("/t/a", "tmpfs", "none", "shared"), M("/t/b", "tmpfs", "none", "unbindable"),
                                      M("/t/c", "tmpfs", "none", "private")])
Case("options/recursive-set", each("rro rnosuid rnodev rnoexec rrelatime rnoatime rstrictatime", "rbind"), NESTED)
Case("options/recursive-set-nodiratime", each("rnodiratime", "rbind"), NESTED)
Case("options/recursive-set-nosymfollow", each("rnosymfollow", "rbind"), NESTED)
ALL_FLAGGED = NESTED + f"for d in $H/dir $H/dir/sub; do mount -o remount,bind,{ALL_SET} $d; done\n"
Case("options/recursive-clear", each("rrw rsuid rdev rexec", "rbind"), ALL_FLAGGED)
Case("options/recursive-clear-atime", each("ratime rnorelatime rnostrictatime", "rbind"), ALL_FLAGGED,
     expects={f"mount /t/{option}{below} flags": "ro,nosuid,nodev,noexec,nodiratime,relatime"
              for option in ("ratime", "rnorelatime", "rnostrictatime") for below in ("", "/sub")})
Case("options/recursive-clear-nodiratime", each("rdiratime", "rbind"), ALL_FLAGGED)
Case("options/recursive-clear-symfollow", each("rsymfollow", "rbind"),
     NESTED + "mount -o remount,bind,nosymfollow $H/dir/sub")
Case("options/recursive-and-plain", [B("/t/a", options="rbind,ro,rnoexec"), B("/t/b", options="rbind,rro,rw"),
                                     B("/t/c", options="bind,rro")], NESTED)
Case("options/recursive-of-tmpfs", [M("/t/a", "tmpfs", "none", "rro")])
Case("options/bind-ignores-data", [B("/t/a", options="bind,mode=777,copy,nocopy")], DIR)
for name, option, hint in (("joined", "rbind,ro", "rbind"), ("synonym", "readonly", "ro"), ("space", " ro", "ro"),
                           ("misspelt", "rroo", "rro"),
                           ("empty", "", "empty"), ("unknown", "nonsense", "leave it out")):
    Case("options/bind-meaningless-" + name, [{**B("/t/a"), "options": ["bind", option]}], DIR, fails=hint)
OVERLAY = DIR + "mkdir $H/lower $H/upper $H/work; echo low >$H/lower/l; chmod 0755 $H/upper\n"
Case("options/overlay-joined", [{**M("/t/a", "overlay", "overlay"),
                                 "options": ["lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/work"]}], OVERLAY,
     look="list /t")
Case("options/tmpfs-joined", [{**M("/t", "tmpfs", "tmpfs"), "options": ["size=1m,mode=1777"]},
                              {**M("/t/a", "tmpfs", "tmpfs"), "options": ["nodev", "size=64k,nr_inodes=5,mode=700"]}],
     "chmod 0751 $R/t")
Case("options/unknown-to-tmpfs", [M("/t/a", "tmpfs", "none", "nonsense")], fails="nonsense")
Case("options/bad-value", [M("/t/a", "tmpfs", "none", "mode=rwx")], fails="mode")
Case("options/unknown-type", [M("/t/a", "nosuchfs", "none")], fails="nosuchfs")
Case("options/capital-letters", [M("/t/a", "tmpfs", "none", "RO")], fails="RO")

# ---- 2. Binds ----

THINGS = DIR + "echo file >$H/file; mkfifo $H/fifo; mknod $H/null c 1 3; ln -s dir $H/link; ln -s file $H/flink\n" \
    "python3 -c 'import os, socket; socket.socket(socket.AF_UNIX).bind(os.environ[\"H\"] + \"/socket\")'\n"
Case("bind/sources", [B("/t/" + name, name) for name in "dir file fifo null socket link flink".split()], THINGS)
Case("bind/onto-existing", [B("/t/" + name, name) for name in "dir file fifo null socket".split()],
     THINGS + "mkdir $R/t/dir; touch $R/t/file $R/t/fifo $R/t/null $R/t/socket; chmod 0700 $R/t/dir; chmod 0600 "
              "$R/t/file")
Case("bind/target-missing", [B("/new/deep/dir"), B("/new/deep/file", "file"), B("/t/x/../y", "file")], THINGS)
Case("bind/target-other-type", [B("/t/null", "file"), B("/t/fifo", "file")],
     THINGS + "mknod $R/t/null c 1 3; mkfifo $R/t/fifo")
Case("bind/dir-on-file", [B("/etc/f")], DIR, fails="/etc/f")
Case("bind/file-on-dir", [B("/t", "file")], THINGS, fails="/t")
Case("bind/below-file", [B("/etc/f/x")], DIR, fails="/etc/f")
Case("bind/source-missing", [B("/t/a", "absent")], fails="absent")
Case("bind/source-dangling", [B("/t/a", "link")], "ln -s nowhere $H/link", fails="link")
Case("bind/source-relative", [M("/t/a", "bind", "host/dir", "bind"), M("/t/b", "bind", "./host/../host/dir", "bind")],
     DIR)
Case("bind/destination-relative", [B("t/a"), B("./t/b")], DIR)
Case("bind/destination-unclean", [B("/t//a/./b/"), B("/../../../t/c"), B("/t/x/../../../../t/d")], DIR)
Case("bind/on-root", [B("/")], DIR, fails="/probe")
Case("bind/on-root-by-link", [B("/t/up")], DIR + "ln -s / $R/t/up", fails="root")
Case("bind/links-in-image", [B("/t/abs/a"), B("/t/rel/b"), B("/t/up/c"), B("/t/last")],
     DIR + "mkdir $R/real; ln -s /real $R/t/abs; ln -s ../real $R/t/rel; ln -s ../../../../real $R/t/up\n"
           "mkdir $R/real/last; ln -s /real/last $R/t/last")
Case("bind/links-dangling", [B("/t/abs"), B("/t/rel/sub"), B("/t/file", "file")],
     THINGS + "ln -s /gone/away $R/t/abs; ln -s ../lost $R/t/rel; ln -s /etc/new $R/t/file")
Case("bind/link-loop", [B("/t/a")], DIR + "ln -s b $R/t/a; ln -s a $R/t/b", fails="symbolic link")
Case("bind/link-to-host", [B("/t/a/x")], DIR + "mkdir $H/target; ln -s $H/target $R/t/a")
Case("bind/recursive", [B("/t/r", options="rbind"), B("/t/b")], NESTED)
Case("bind/recursive-read-only", [B("/t/r", options="rbind,ro"), B("/t/b", options="bind,ro")], NESTED)
Case("bind/file-read-only", [B("/etc/f", "file", "bind,ro"), B("/t/fifo", "fifo", "bind,ro")], THINGS)
Case("bind/over-a-mount", [M("/t", "tmpfs", "none", "mode=755"), B("/t/a"), M("/t/a", "tmpfs", "none", "mode=700"),
                           B("/t")], DIR)
Case("bind/into-a-bind", [B("/t/a"), B("/t/a/new"), B("/t/a/f", "file")], THINGS)
Case("bind/type-by-option", [M("/t/a", "none", "$H/dir", "bind"), M("/t/b", "ext4", "$H/dir", "rbind"),
                             M("/t/c", None, "$H/dir", "bind,ro")], DIR)
Case("bind/type-alone", [M("/t/a", "bind", "$H/dir"), M("/t/b", "bind", "$H/dir", "ro")], DIR,
     expects={"mount /t/a flags": "rw,relatime", "mount /t/b flags": "ro,relatime"})
Case("bind/of-the-rootfs", [M("/t/a", "bind", "$R/etc", "bind,ro")])
Case("bind/host-is-shared", [B("/t/a", options="rbind"), M("/t/b", "tmpfs", "none")], NESTED + "mount --make-rshared /")
Case("bind/made-modes", [B("/new/dir"), B("/new/file", "file"), M("/new/t", "tmpfs", "tmpfs")], THINGS, made_modes=True)
Case("bind/made-modes-host-umask", [B("/new/dir"), B("/new/file", "file"), M("/new/t", "tmpfs", "tmpfs")], THINGS,
     host_umask=0o077, made_modes=True)
Case("bind/locked", [B("/t/none"), B("/t/ro", options="bind,ro"), B("/t/nosuid", options="bind,nosuid"),
                     B("/t/rbind", options="rbind,noexec")],
     "mkdir $H/dir; mount -t tmpfs -o nosuid,nodev none $H/dir", user_namespace=True)
Case("bind/locked-kept-clear", [B("/t/a", options="bind,suid")],
     "mkdir $H/dir; mount -t tmpfs -o nosuid,nodev none $H/dir", user_namespace=True, fails="locked")
Case("bind/locked-read-only-clear", [B("/t/a", options="bind,rw")],
     "mkdir $H/dir; mount -t tmpfs -o ro none $H/dir", user_namespace=True, fails="locked")
Case("bind/locked-atime", [B("/t/a", options="bind,ro,noatime")],
     "mkdir $H/dir; mount -t tmpfs -o nosuid,relatime none $H/dir", user_namespace=True, fails="atime")
Case("bind/locked-atime-same", [B("/t/a", options="bind,ro,relatime")],
     "mkdir $H/dir; mount -t tmpfs -o nosuid,relatime none $H/dir", user_namespace=True)
Case("bind/optional-missing", [B("/t/a", "absent", "bind,optional"), B("/t/b", "dir", "bind,optional")], DIR,
     expects={"mount /t/a on": "-", "mount /t/b root": "/host/dir"})
Case("bind/copy-symlink", [B("/t/a", "link", "bind,copy-symlink")], THINGS, look="list /t",
     expects={"entry /t/a": "link 0777 0:0 -> dir", "mount /t/a on": "-"})
Case("bind/src-nofollow", [B("/t/dir", "dir", "bind,src-nofollow")], THINGS)
Case("bind/dest-nofollow", [B("/t/a", "dir", "bind,dest-nofollow")], DIR + "mkdir $R/t/a")
Case("bind/create", [B("/t/a", "dir", "bind,create=dir"), B("/t/b/f", "file", "bind,create=file")], THINGS)
Case("bind/src-nofollow-link", [B("/t/a", "link", "bind,src-nofollow")], THINGS, look="list /t",
     expects={"mount /t/a root": "/host/link"})
Case("bind/dest-nofollow-link", [B("/t/a", "file", "bind,dest-nofollow")], THINGS + "ln -s ../etc/f $R/t/a",
     look="list /t touch /etc/f",
     expects={"mount /t/a root": "/host/file", "mount /etc/f on": "-"})
Case("bind/relabel-without-selinux", [B("/t/a", "dir", "bind,z"), B("/t/b", "dir", "bind,Z")], DIR)

# ---- 3. tmpfs ----

Case("tmpfs/new-target", [M("/new/a", "tmpfs", "tmpfs"), M("/t/b", "tmpfs", "tmpfs", "nosuid,nodev")])
Case("tmpfs/existing-target", [M("/t", "tmpfs", "tmpfs", "nosuid,nodev"), M("/sticky", "tmpfs", "tmpfs")],
     "chmod 0751 $R/t; mkdir $R/sticky; chmod 1777 $R/sticky; chown 12:34 $R/sticky")
Case("tmpfs/mode-given", [M("/t", "tmpfs", "tmpfs", "mode=0700"), M("/new", "tmpfs", "tmpfs", "mode=1770,uid=7,gid=8")],
     "chmod 0751 $R/t")
Case("tmpfs/size", [M("/t/a", "tmpfs", "tmpfs", "size=64k"), M("/t/b", "tmpfs", "tmpfs", "size=10%,nr_inodes=1k")])
Case("tmpfs/read-only", [M("/t", "tmpfs", "tmpfs", "ro"),
                         M("/new", "tmpfs", "tmpfs", "ro,nosuid,noexec,nodev,mode=750")])
Case("tmpfs/read-only-with-mounts-below", [M("/t", "tmpfs", "tmpfs", "ro,mode=755"), B("/t/a"),
                                           M("/t/b", "tmpfs", "none", "mode=755")], DIR)
Case("tmpfs/on-link", [M("/t/a", "tmpfs", "tmpfs", "mode=755")], "ln -s ../real $R/t/a; mkdir $R/real")
Case("tmpfs/on-file", [M("/etc/f", "tmpfs", "tmpfs")], fails="/etc/f")
Case("tmpfs/copy-up", [M("/t", "tmpfs", "tmpfs", "tmpcopyup,mode=755")],
     """cd $R/t; mkdir -m 0700 a; mkdir -m 2775 a/b; chown 12:34 a/b; echo hello >a/f; chmod 4711 a/f
chown 5:6 a/b; ln a/f hard
        ln -s a/f link; ln -s /nowhere dangling; mkfifo fifo; mknod null c 1 3; truncate -s 1M sparse; echo end >>sparse
        touch -d 2001-02-03 a/f""", look="list /t")
Case("tmpfs/copy-up-xattrs", [M("/t", "tmpfs", "tmpfs", "tmpcopyup,mode=755")],
     "cd $R/t; echo x >f; python3 -c 'import os; os.setxattr(\"f\", \"user.a\", b\"value\"); os.setxattr(\".\", "
     "\"user.top\", b\"v\")'",
     look="list /t")
Case("tmpfs/copy-up-root", [M("/t", "tmpfs", "tmpfs", "tmpcopyup")],
     "chmod 0710 $R/t; chown 12:34 $R/t; echo x >$R/t/f", look="list /t")
Case("tmpfs/copy-up-10000", [M("/t", "tmpfs", "tmpfs", "tmpcopyup,mode=755")],
     "cd $R/t; mkdir a; (cd a; seq 10000 | xargs touch)",
     look="touch /t/a touch /t/a/10000")
Case("tmpfs/copy-up-read-only", [M("/t", "tmpfs", "tmpfs", "tmpcopyup,ro,nosuid,mode=755")], "echo x >$R/t/f",
     look="list /t")
Case("tmpfs/copy-up-empty", [M("/t", "tmpfs", "tmpfs", "tmpcopyup,mode=711"),
                             M("/new", "tmpfs", "tmpfs", "tmpcopyup,mode=711")])
Case("tmpfs/user-namespace", [M("/t", "tmpfs", "tmpfs", "ro,nosuid"), M("/new", "tmpfs", "tmpfs", "mode=700")],
     user_namespace=True)

# ---- 4. proc, sysfs, mqueue, devpts ----

Case("proc/options", only=[M("/proc", "proc", "proc", "nosuid,noexec,nodev,hidepid=2"), DEV])
Case("proc/read-only", only=[M("/proc", "proc", "proc", "ro,nosuid"), DEV])
Case("proc/unknown-option", only=[M("/proc", "proc", "proc", "nonsense"), DEV], fails="nonsense")
Case("proc/target-missing", setup="rmdir $R/proc")
Case("proc/target-link", setup="rmdir $R/proc; mkdir $R/real; ln -s real $R/proc", fails="/proc")
Case("proc/target-dangling", setup="rmdir $R/proc; ln -s gone $R/proc", fails="/proc")
Case("proc/target-file", setup="rmdir $R/proc; touch $R/proc", fails="/proc")
Case("proc/elsewhere", [M("/t/proc", "proc", "proc")])
Case("proc/not-mounted", only=[DEV])
Case("proc/bind-of-the-hosts", only=[M("/proc", "bind", "/proc", "rbind,nosuid"), DEV], namespaces="ium")
Case("proc/bind-of-part", only=[M("/proc", "bind", "/proc/self", "bind"), DEV], namespaces="ium")
Case("proc/bind-of-directory", [B("/proc")], DIR, fails="/proc")
Case("proc/tmpfs", only=[M("/proc", "tmpfs", "tmpfs"), DEV], fails="/proc")
Case("proc/below", [B("/proc/bus")], DIR, fails="/proc/bus")
Case("proc/below-by-link", [B("/t/link")], DIR + "ln -s /proc/bus $R/t/link", fails="/proc/bus")
Case("proc/below-sys", [B("/proc/sys/kernel/hostname", "file")], THINGS, fails="/proc/sys/kernel/hostname")
Case("proc/lxcfs", [B("/proc/" + name, "file") for name in
                    "cpuinfo diskstats meminfo stat swaps uptime loadavg".split()], THINGS)
Case("proc/lxcfs-slabinfo", [B("/proc/slabinfo", "file")], THINGS)
Case("proc/lxcfs-last-pid", [B("/proc/sys/kernel/ns_last_pid", "file")], THINGS)
Case("sysfs/plain", [M("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev")])
Case("sysfs/read-only", [SYS])
Case("sysfs/own-network", [SYS], namespaces="piumcn")
Case("sysfs/target-link", [SYS], "rmdir $R/sys; mkdir $R/real; ln -s real $R/sys", fails="/sys")
Case("sysfs/elsewhere", [M("/t/sys", "sysfs", "sysfs", "ro")])
Case("sysfs/bind-of-the-hosts", [M("/sys", "bind", "/sys", "rbind,ro,nosuid")])
Case("mqueue/own", [DEV, M("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev")])
Case("mqueue/of-the-host", [M("/t/mqueue", "mqueue", "mqueue", "ro")], namespaces="pumc")
Case("devpts/default", [DEV, PTS])
Case("devpts/modes", [DEV, M("/dev/pts", "devpts", "devpts", "newinstance,ptmxmode=0600,mode=0640,uid=3,gid=4,max=8")])
Case("devpts/two", [DEV, PTS, M("/t/pts", "devpts", "devpts", "newinstance,ptmxmode=0666")])
Case("devpts/unknown-option", [DEV, M("/dev/pts", "devpts", "devpts", "nonsense")], fails="nonsense")
Case("other/overlay", [M("/t/a", "overlay", "overlay", "lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/work"),
                       M("/t/b", "overlay", "overlay", "lowerdir=$H/lower:$H/dir,ro")],
     DIR + "mkdir $H/lower $H/upper $H/work; echo low >$H/lower/l", look="list /t")
Case("other/ramfs", [M("/t/a", "ramfs", "ramfs", "nosuid,mode=0711")])

# ---- 5. cgroup ----

Case("cgroup/unified", [SYS, CGROUP])
Case("cgroup/unified-writable", [SYS, M("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev")])
Case("cgroup/unified-cgroup2-type", [SYS, M("/sys/fs/cgroup", "cgroup2", "cgroup", "nosuid,noexec,nodev,ro")])
Case("cgroup/unified-host-namespace", [SYS, CGROUP], namespaces="pium")
Case("cgroup/unified-elsewhere", [M("/t/cgroup", "cgroup", "cgroup", "ro")])
Case("cgroup/unified-bind", [M("/t/cgroup", "bind", "/sys/fs/cgroup", "rbind,ro")])
Case("cgroup/unified-user-namespace", [M("/t/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,ro")],
     user_namespace=True)
Case("cgroup/unified-user-namespace-host", [M("/t/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,ro")],
     namespaces="pium", user_namespace=True)
Case("cgroup/hybrid", [SYS, CGROUP], hybrid_cgroups=True)
Case("cgroup/hybrid-writable", [SYS, M("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev")],
     hybrid_cgroups=True)
Case("cgroup/hybrid-host-namespace", [SYS, CGROUP], namespaces="pium", hybrid_cgroups=True)
Case("cgroup/hybrid-without-sysfs", [M("/t/cgroup", "cgroup", "cgroup", "ro")], hybrid_cgroups=True)

# ---- 6. Devices ----

def device(path, type="c", major=1, minor=3, **more):
    return {"path": path, "type": type, "major": major, "minor": minor, **more}


def devices(*list):
    return {"linux/devices": list}


Case("devices/types", [DEV], change=devices(device("/dev/x-char", "c", 10, 200), device("/dev/x-block", "b", 7, 0),
                                     {"path": "/dev/x-fifo", "type": "p"}, device("/dev/x-u", "u", 1, 7)))
Case("devices/modes-and-owners", [DEV], host_umask=0o077, change=devices(
    device("/dev/a", fileMode=0o600, uid=1, gid=2), device("/dev/b", fileMode=0o666), device("/dev/c", uid=3),
    device("/dev/d", "b", 7, 1, fileMode=0o660, gid=6), device("/dev/e", fileMode=0o4777)))
Case("devices/nested", [DEV], change=devices(device("/dev/net/tun", "c", 10, 200), device("/dev/a/b/c/d")))
Case("devices/outside-dev", [DEV], change=devices(device("/t/null"), device("/srv/new/zero", minor=5)),
     look="list /t list /srv")
Case("devices/parent-link", [DEV], setup="mkdir $R/real; ln -s /real $R/t/link", change=devices(device("/t/link/null")),
     look="list /real")
Case("devices/existing-right", setup="mknod -m 0666 $R/t/null c 1 3", change=devices(device("/t/null", fileMode=0o666)),
     look="list /t")
Case("devices/existing-wrong", setup="mknod -m 0666 $R/t/null c 1 5", change=devices(device("/t/null")),
     fails="/t/null")
Case("devices/existing-file", setup="echo x >$R/t/null", change=devices(device("/t/null")), fails="/t/null")
Case("devices/existing-link", setup="ln -s ../etc/f $R/t/null", change=devices(device("/t/null")), fails="/t/null")
Case("devices/default-with-mode", [DEV], change=devices(device("/dev/null", fileMode=0o600, uid=7),
                                                        device("/dev/tty", major=5, minor=0, fileMode=0o620)))
Case("devices/ptmx", [DEV, PTS], change=devices(device("/dev/ptmx", major=5, minor=2)))
Case("devices/bad-type", [DEV], change=devices(device("/dev/x", "q")), fails="type")
Case("devices/two-the-same", [DEV], change=devices(device("/dev/x"), device("/dev/x")))
Case("devices/dev-read-only", only=[PROC, M("/dev", "tmpfs", "tmpfs", "nosuid,mode=755,ro")])
Case("devices/dev-of-the-image", only=[PROC])
Case("devices/dev-of-the-image-filled", only=[PROC],
     setup="mknod -m 0666 $R/dev/null c 1 3; touch $R/dev/ptmx; ln -s elsewhere $R/dev/fd")
Case("devices/dev-of-the-image-wrong-null", only=[PROC], setup="mknod -m 0666 $R/dev/null c 1 5", fails="/dev/null")
Case("devices/dev-link", only=[PROC], setup="mv $R/dev $R/real; ln -s real $R/dev")
OTHER_DEV = "mkdir $H/dev; mount -t tmpfs -o mode=755 none $H/dev; " \
    "mknod -m 0666 $H/dev/null c 1 3; ln -s /proc/kcore $H/dev/core\n"
Case("devices/dev-bound", only=[PROC, B("/dev", "dev", "rbind,rslave")], setup=OTHER_DEV)
Case("devices/dev-bound-read-only", only=[PROC, B("/dev", "dev", "bind,ro")], setup=OTHER_DEV)
Case("devices/dev-bound-with-devices", only=[PROC, B("/dev", "dev", "rbind")], setup=OTHER_DEV,
     change=devices(device("/t/null")), look="list /t")
Case("devices/user-namespace", [DEV, PTS], change=devices(device("/dev/full-too", minor=7)), user_namespace=True,
     fails="full-too")
Case("devices/user-namespace-default", [DEV, M("/dev/pts", "devpts", "devpts", "newinstance,ptmxmode=0666,mode=0620")],
     user_namespace=True)

# ---- 7. Propagation and the change of root ----

for propagation in "private rprivate slave rslave shared rshared unbindable".split():
    Case("root/propagation-" + propagation, [B("/t/a", options="rbind")], NESTED + "mount --make-rshared /",
         change={"linux/rootfsPropagation": propagation})
Case("root/propagation-runbindable", [B("/t/a", options="rbind")], NESTED,
     change={"linux/rootfsPropagation": "runbindable"},
     fails="unbindable")
Case("root/propagation-default", [B("/t/a", options="rbind")], NESTED + "mount --make-rshared /")
Case("root/propagation-unknown", change={"linux/rootfsPropagation": "sideways"}, fails="sideways")
Case("root/no-pivot", [DEV, SYS, PTS], arguments=["--no-pivot"])
Case("root/no-pivot-host-is-shared", [SYS], "mount --make-rshared /", arguments=["--no-pivot"])
Case("root/no-mount-namespace", namespaces="piuc")
Case("root/on-shared-mount", [B("/t/a")], DIR + "mount --bind $R $R; mount --make-shared $R")
Case("root/on-own-file-system", [B("/new/a")],
     DIR + "cp -a $R $H/image; mount -t tmpfs -o mode=755,nosuid none $R; cp -a $H/image/. $R")
Case("root/on-overlay", [B("/new/a"), M("/t", "tmpfs", "none", "mode=755")],
     DIR + "cp -a $R $H/image; mkdir $H/upper $H/work; mount -t overlay -o "
           "lowerdir=$H/image,upperdir=$H/upper,workdir=$H/work overlay $R")
Case("root/with-mounts-below", [B("/t/a")], DIR + "mount -t tmpfs none $R/t; mkdir $R/srv; mount --bind $H/dir $R/srv")
Case("root/unbindable-below", [B("/new/a")], DIR + "mount -t tmpfs none $R/t; mount --make-unbindable $R/t",
     unshare=True)
Case("root/absolute-path", change={"root/path": "$R"})
Case("root/by-link", setup="mv $R $H/image; ln -s host/image $R", fails="symbolic link")
Case("root/missing", setup="mv $R $H/image", fails="rootfs")
Case("root/is-a-file", setup="mv $R $H/image; touch $R", fails="rootfs")
Case("root/read-only", [M("/t", "tmpfs", "tmpfs", "mode=755"), B("/new/a")], DIR, change={"root/readonly": True})
Case("root/read-only-with-flags", [DEV],
     setup="cp -a $R $H/image; mount -t tmpfs -o mode=755,nosuid,nodev,noatime none $R; cp -a $H/image/. $R",
     change={"root/readonly": True})
Case("root/read-only-user-namespace",
     setup="cp -a $R $H/image; mount -t tmpfs -o mode=755,nosuid,nodev,noatime none $R; cp -a $H/image/. $R",
     change={"root/readonly": True}, user_namespace=True)
Case("root/read-only-cwd-missing", change={"root/readonly": True, "process/cwd": "/new/cwd"})
Case("process/cwd", setup="mkdir -p $R/srv/x", change={"process/cwd": "/srv/x"})
Case("process/cwd-missing", change={"process/cwd": "/new/deep"})
Case("process/cwd-unclean", change={"process/cwd": "/t/../../../t"})
Case("process/cwd-link", setup="ln -s t $R/link", change={"process/cwd": "/link"})
Case("process/cwd-file", change={"process/cwd": "/etc/f"}, fails="/etc/f")
Case("process/umask", change={"process/user": {"uid": 0, "gid": 0, "umask": 0o077}})
Case("process/host-umask", host_umask=0o007)
Case("process/stdin-null", stdin_null=True)

# ---- 8. Masks and read-only paths ----

Case("masks/file-directory-missing", [DEV], change=masked("/etc/f", "/t", "/absent", "/absent/below"),
     setup="echo x >$R/t/f")
Case("masks/proc-and-sys", [DEV, SYS], change=masked("/proc/keys", "/proc/acpi", "/proc/kcore", "/sys/firmware",
                                                     "/proc/scsi"))
Case("masks/duplicates", change=masked("/etc/f", "/etc/f", "/t", "/t", "/t/"))
Case("masks/links", setup="ln -s etc/f $R/link; ln -s /t $R/abs; ln -s gone $R/dangling",
     change=masked("/link", "/abs", "/dangling"),
     look="touch /t touch /etc/f")
Case("masks/other-types", setup="mkfifo $R/t/fifo; mknod $R/t/zero c 1 5", change=masked("/t/fifo", "/t/zero"))
Case("masks/below-masks", setup="mkdir $R/t/sub; echo x >$R/t/sub/f", change=masked("/t", "/t/sub", "/t/sub/f"))
Case("masks/above-masks", setup="mkdir $R/t/sub; echo x >$R/t/sub/f", change=masked("/t/sub/f", "/t/sub", "/t"))
Case("masks/many", setup="for i in $(seq 300); do mkdir $R/t/$i; done",
     change=masked(*(f"/t/{i}" for i in range(1, 301))))
Case("masks/on-mounts", [B("/t/a"), B("/t/f", "file", "bind,ro")], THINGS, change=masked("/t/a", "/t/f"))
Case("masks/without-dev-null", only=[PROC, M("/dev", "bind", "$H/dir", "bind")], setup=DIR, change=masked("/etc/f"),
     fails="/dev/null")
Case("masks/and-read-only", setup="echo x >$R/t/f", change={**masked("/t", "/etc/f"), **readonly("/t", "/etc/f")})
Case("masks/relative", change=masked("t"))
Case("masks/below-file", change=masked("/etc/f/below"), fails="Not a directory")
Case("readonly/file-directory-missing", change=readonly("/etc/f", "/t", "/absent", "/absent/below"))
Case("readonly/proc-and-sys", [M("/sys", "sysfs", "sysfs")],
     change=readonly("/proc/sys", "/proc/bus", "/proc/sysrq-trigger", "/sys/kernel"))
Case("readonly/duplicates", change=readonly("/t", "/t"))
Case("readonly/links", setup="ln -s etc/f $R/link; ln -s /t $R/abs; ln -s gone $R/dangling",
     change=readonly("/link", "/abs", "/dangling"),
     look="touch /t touch /etc/f")
Case("readonly/of-mounts", [M("/t", "tmpfs", "none", "nosuid,nodev,noexec,noatime,mode=755"),
                            B("/new/f", "file", "bind,nosuid")], THINGS,
     change=readonly("/t", "/new/f"))
Case("readonly/with-mounts-below", [M("/t", "tmpfs", "none", "mode=755"), M("/t/sub", "tmpfs", "none", "mode=755")],
     change=readonly("/t"))
Case("readonly/locked", [B("/t/a")], "mkdir $H/dir; mount -t tmpfs -o nosuid,nodev,noexec,noatime none $H/dir",
     change=readonly("/t/a"), user_namespace=True)
Case("readonly/in-read-only-root", change={**readonly("/t", "/etc/f"), "root/readonly": True})
Case("readonly/below-file", change=readonly("/etc/f/below"), fails="Not a directory")

# ---- 9. Labels (this kernel has no SELinux) ----

Case("labels/mount-label-without-selinux", [M("/t/a", "tmpfs", "tmpfs", "mode=755"), DEV, PTS],
     fails="SELinux", change={"linux/mountLabel": "system_u:object_r:container_file_t:s0:c1,c2"})

# ---- 10. Hooks ----

def hook(script, **more):
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin", "NAME=value"], **more}


for point in "prestart createRuntime createContainer".split():
    Case("hooks/" + point, change={"hooks/" + point: [
        hook("echo $NAME $(cat | grep -c ociVersion) >$H/written"), hook("echo second >>$H/written")]})
Case("hooks/createContainer-directory", change={"hooks/createContainer": [
    hook("pwd | sed 's,.*/,,' >$H/written; stat -c %F t dev/null proc/self >>$H/written")]})
Case("hooks/createContainer-mounts", change={"hooks/createContainer": [
    hook("mkdir $R/t/made && mount -t tmpfs -o mode=711 none $R/t/made")]})
Case("hooks/createContainer-fails", change={"hooks/createContainer": [hook("echo 'reason: none' >&2; exit 3")]},
     fails="reason: none")
Case("hooks/createRuntime-fails", change={"hooks/createRuntime": [hook("exit 3")]}, fails="3")
Case("hooks/createContainer-timeout", change={"hooks/createContainer": [hook("sleep 2", timeout=1)]}, fails="time")
Case("hooks/startContainer", setup="mkdir -p $R/bin; cp /bin/busybox $R/bin/sh",
     change={"hooks/startContainer": [hook("echo ran >/t/written")]}, look="list /t")
Case("hooks/poststop", change={"hooks/poststop": [hook("echo ran >$H/written")]})
for key in "status bundle".split():
    Case("hooks/state-" + key, change={"hooks/" + point: [
        hook(f"tr -d '\\n\" ' | sed 's/.*[{{,]{key}:\\([^,}}]*\\).*/\\1/; s,.*/,,' >$H/written-{point}")]
        for point in "prestart createRuntime createContainer poststart poststop".split()})
Case("hooks/missing-program", change={"hooks/createContainer": [{"path": "/no/such/program"}]},
     fails="/no/such/program")

# ---- 11. Containers with a user namespace ----

RANGE = [(0, 100000, 65536)]
MAPPED = (RANGE, RANGE)


def user(name, mounts=(), setup="", ids=MAPPED, **more):
    Case("user/" + name, mounts, setup, ids=ids, **more)


PTS_WITHOUT_GID = M("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620")
PRIVATE = "mkdir -p $H/private/dir/sub; " \
    "echo host >$H/private/dir/f; echo host >$H/private/file; chmod 0700 $H/private\n"
LOCKED = "mkdir $H/dir; mount -t tmpfs -o nosuid,nodev,noexec,mode=755 none $H/dir\n"

whole("user/whole-runc-spec", ids=MAPPED)
whole("user/whole-docker", ENGINE_FILES, spec=written_by("docker"), ids=MAPPED)
whole("user/whole-podman", ENGINE_FILES, spec=written_by("podman"), ids=MAPPED)
user("devices", [DEV, PTS])
user("devices-of-the-host", [DEV],
     "mount -t tmpfs -o mode=755 none /dev/shm; mkdir /dev/shm/sub; mknod -m 0666 /dev/shm/sub/null c 1 3",
     change=devices(device("/dev/kmsg", minor=11, fileMode=0o666, uid=7), device("/dev/shm/sub/null")),
         look="list /dev/shm")
user("devices-not-of-the-host", [DEV], change=devices(device("/dev/null-too")), fails="null-too")
user("terminal", [DEV, PTS], terminal=True, look="touch /dev/console")
user("source-below-private", [B("/t/a", "private/dir"), B("/t/f", "private/file", "bind,ro"),
                              B("/t/r", "private/dir", "rbind,nosuid")],
     PRIVATE)
user("source-below-private-nested", [B("/t/r", "private/dir", "rbind,nosuid"), B("/t/a", "private/dir")],
     PRIVATE + "mount -t tmpfs -o mode=755 none $H/private/dir/sub")
user("source-nested", [B("/t/r", options="rbind"), B("/t/a")], NESTED)
user("sysfs-own-network", [SYS], namespaces="piumcn")
user("sysfs-hosts-network", [SYS])
user("sysfs-hosts-network-read-write", [M("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev")], fails="network namespace")
user("cgroup", [SYS, CGROUP], namespaces="piumcn")
user("cgroup-writable", [SYS, M("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev")], namespaces="piumcn")
user("cgroup-hosts-namespace", [SYS, CGROUP], namespaces="piumn")
user("locked", [B("/t/none"), B("/t/ro", options="bind,ro"), B("/t/nosuid", options="bind,nosuid"),
                B("/t/r", options="rbind,noexec")], LOCKED)
user("locked-clear", [B("/t/a", options="bind,suid")], LOCKED, fails="locked")
user("locked-clear-recursive", [B("/t/a", options="rbind,rsuid")], LOCKED, fails="mount_setattr")
user("locked-atime", [B("/t/a", options="bind,noatime")], LOCKED, fails="atime")
user("devpts", [DEV, PTS], ids=([(0, 100000, 6)], [(0, 100000, 6)]))
user("devpts-gid-not-mapped", [DEV, PTS], ids=([(0, 100000, 5)], [(0, 100000, 5)]))
user("tmpfs-owner", [M("/t/a", "tmpfs", "tmpfs", "uid=7,gid=8,mode=750"), M("/t", "tmpfs", "tmpfs", "ro"),
                     M("/new", "tmpfs", "tmpfs", "size=64k")],
     "chmod 0751 $R/t; chown 12:34 $R/t")
user("tmpfs-owner-not-mapped", [M("/t/a", "tmpfs", "tmpfs", "uid=70000")], fails="uid")
user("tmpfs-copy-up", [M("/t", "tmpfs", "tmpfs", "tmpcopyup,mode=755")],
     "cd $R/t; mkdir a; echo hello >a/f; chown 12:34 a a/f; chmod 4711 a/f; ln -s a/f link; mkfifo fifo",
         look="list /t")
user("masks", [DEV, SYS], "echo x >$R/t/f", change=masked("/etc/f", "/t", "/proc/keys", "/proc/kcore",
                                                          "/proc/timer_list", "/sys/firmware", "/absent"),
     namespaces="piumcn")
user("read-only-paths", [B("/new")], LOCKED, change=readonly("/proc/sys", "/proc/bus", "/proc/sysrq-trigger", "/t",
                                                             "/etc/f", "/new"))
user("read-only-root", [DEV, B("/new/a")],
     DIR + "cp -a $R $H/image; mount -t tmpfs -o mode=755,nosuid,nodev,noatime none $R; cp -a $H/image/. $R",
     change={"root/readonly": True})
user("several-ranges", [B("/t/a")],
     "mkdir $H/dir; for i in 0 50 2005 65534; do echo x >$H/dir/$i; chown $i $H/dir/$i; done; chown 1005:1006 $R/etc/f",
     ids=([(0, 100000, 1000), (1000, 2000, 100)], [(0, 300000, 1000), (1000, 2000, 100)]),
         look="touch /etc/f list /t/a")
user("image-of-another", [B("/new/a")], DIR + "cp -a $R $H/image", change={"root/path": "$H/image"},
     fails="mkdirat /new")
user("mqueue", [DEV, M("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev")])
user("mqueue-hosts", [DEV, M("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev")], namespaces="pumc",
     fails="fsconfig mqueue: Operation not permitted")
user("proc-hosts", only=[PROC, DEV], namespaces="iumc", fails="fsconfig proc: Operation not permitted")
user("proc-hosts-bound", only=[M("/proc", "bind", "/proc", "rbind,nosuid"), DEV], namespaces="ium")
user("overlay", [M("/t/a", "overlay", "overlay", "lowerdir=$H/lower,upperdir=$H/upper,workdir=$H/work")],
     DIR + "mkdir $H/lower $H/upper $H/work; chown 100000:100000 $H/*; echo low >$H/lower/l", look="list /t")
user("host-is-shared", [B("/t/a", options="rbind"), M("/t/b", "tmpfs", "none")], NESTED + "mount --make-rshared /")
user("no-pivot", [DEV, PTS], arguments=["--no-pivot"])
user("hooks", setup="chmod 0777 $H",
     change={"hooks/" + point: [hook(f"stat -c %u / >$H/written-{point}")] for point in ("createRuntime",
                                                                                         "createContainer")})
user("made-modes", [B("/new/dir"), B("/new/file", "file"), M("/new/t", "tmpfs", "tmpfs")], THINGS, made_modes=True)

# ---- 12. Containers of an ordinary user ----

USER, SUBORDINATE = 12345, 200000
OWN = [(0, USER, 1)]
OWN_AND_MORE = [(0, USER, 1), (1, SUBORDINATE, 65536)]


def rootless(name, mounts=(), setup="", ids=(OWN, OWN), **more):
    Case("rootless/" + name, mounts, setup, ids=ids, user=USER, **more)


whole("rootless/whole-runc-spec", spec=runc_spec("--rootless"), ids=(OWN, OWN), user=USER)
rootless("devices", [DEV, PTS_WITHOUT_GID])
rootless("devices-range", [DEV, PTS], ids=(OWN_AND_MORE, OWN_AND_MORE))
rootless("devpts-gid", [DEV, PTS])
rootless("binds", [B("/t/a", options="rbind"), B("/t/ro", options="rbind,ro"), B("/t/own", "own")],
         NESTED + f"mkdir $H/own; chown {USER}:{USER} $H/own")
rootless("locked", [B("/t/none"), B("/t/ro", options="bind,ro"), B("/t/nosuid", options="bind,nosuid")], LOCKED)
rootless("source-unreachable", [B("/t/a", "private/dir")], PRIVATE, fails="can't be reached")
rootless("sysfs-and-cgroup", [SYS, CGROUP], namespaces="piumcn")
rootless("sysfs-and-cgroup-hosts", [M("/sys", "bind", "/sys", "rbind,nosuid,noexec,nodev,ro"), CGROUP],
         namespaces="pium")
rootless("tmpfs", [M("/t", "tmpfs", "tmpfs", "nosuid,size=64k"), M("/new", "tmpfs", "tmpfs", "ro,mode=750")])
rootless("masks", [DEV], change={**masked("/etc/f", "/t", "/proc/keys"), **readonly("/proc/sys", "/proc/bus")})
rootless("range", [B("/t/a"), M("/t/t", "tmpfs", "tmpfs", "uid=7,gid=8")],
         f"mkdir $H/dir; echo x >$H/dir/f; chown {SUBORDINATE + 6}:{SUBORDINATE + 7} $H/dir $H/dir/f",
         ids=(OWN_AND_MORE, OWN_AND_MORE), look="list /t", change={"root/readonly": True})
rootless("terminal", [DEV, PTS_WITHOUT_GID], terminal=True, look="touch /dev/console")

# ---- 13. Idmapped mounts ----

OWNED = DIR + "chown 7:8 $H/dir/f; chmod 1777 $H/dir\n"
OWNED_NESTED = NESTED + "chown 7:8 $H/dir/f; chown 9:10 $H/dir/sub/f; chmod 1777 $H/dir $H/dir/sub\n"


def idmapped(name, mounts=(), setup=OWNED, look="touch /t/a/f touch /t/a/sub/f", **more):
    Case("idmap/" + name, mounts, setup, look=look, **more)


def ranges_of_mount(uids, gids):
    return {"uidMappings": mappings(*uids), "gidMappings": mappings(*gids)}


def sees(**owners):
    return {"inode /t/" + path.replace("_", "/"): "file 0644 " + owner for path, owner in owners.items()}


idmapped("option", [B("/t/a", options="bind,idmap")], ids=MAPPED, expects=sees(a_f="7:8"))
idmapped("option-nested", [B("/t/a", options="rbind,idmap")], OWNED_NESTED, ids=MAPPED,
         expects=sees(a_f="7:8", a_sub_f="65534:65534"))
idmapped("recursive", [B("/t/a", options="rbind,ridmap")], OWNED_NESTED, ids=MAPPED,
         expects=sees(a_f="7:8", a_sub_f="9:10"))
idmapped("read-only", [B("/t/a", options="bind,idmap,ro,nosuid,nodev")], ids=MAPPED,
         expects={**sees(a_f="7:8"), "mount /t/a flags": "ro,nosuid,nodev,relatime,idmapped"})
idmapped("mappings", [M("/t/a", "bind", "$H/dir", "rbind", **ranges_of_mount([(0, 1000, 100)], [(0, 2000, 100)]))],
         OWNED_NESTED, expects=sees(a_f="1007:2008", a_sub_f="9:10"))
idmapped("mappings-in-user-namespace", [M("/t/a", "bind", "$H/dir", "rbind",
                                          **ranges_of_mount([(0, 100010, 100)], [(0, 100020, 100)]))],
         ids=MAPPED, expects=sees(a_f="17:28"))
idmapped("mappings-in-option", [B("/t/a", options="rbind,idmap=uids=0-100000-5#7-100070-1;gids=0-100000-5#8-100080-1"),
                                B("/t/b", options="rbind,ridmap=uids=@0-0-8#9-100090-1;gids=@0-0-100")],
         OWNED_NESTED, ids=MAPPED, look="touch /t/a/f touch /t/b/f touch /t/b/sub/f",
             expects=sees(a_f="70:80", b_f="7:8", b_sub_f="90:10"))
idmapped("two-mounts", [M("/t/a", "bind", "$H/dir", "bind", **ranges_of_mount([(0, 1000, 100)], [(0, 2000, 100)])),
                        M("/t/b", "bind", "$H/dir", "bind,ro", **ranges_of_mount([(7, 3000, 1)], [(8, 4000, 1)])),
                            B("/t/c")],
         look="touch /t/a/f touch /t/b/f touch /t/c/f", expects=sees(a_f="1007:2008", b_f="3000:4000", c_f="7:8"))
idmapped("source-below-private", [B("/t/a", "private/dir", "bind,idmap"), B("/t/f", "private/file", "bind,idmap")],
         ids=MAPPED,
         setup=PRIVATE + "chown 7:8 $H/private/dir/f $H/private/file", look="touch /t/a/f",
             expects=sees(a_f="7:8", f="7:8"))
idmapped("new-file-system", [M("/t/a", "tmpfs", "tmpfs", "mode=755,uid=7,gid=8",
                               **ranges_of_mount([(0, 1000, 100)], [(0, 2000, 100)]))],
         look="", expects={"inode /t/a": "directory 0755 1007:2008"})
idmapped("refused-file-system", [M("/t/a", "bind", "/proc", "bind,idmap=uids=0-1000-10;gids=0-1000-10")], fails="idmap")
idmapped("without-user-namespace", [B("/t/a", options="bind,idmap")], fails="idmap")
