// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a configuration is made of.

use core::ffi::{c_char, c_int, c_void};

/// A range of ids in a mapping. The fields are those of config.json.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_id_mapping {
    /// First id inside the container (of a mount: on the source's file system).
    pub container_id: u32,
    /// First id outside it (of a mount: as seen through the mount).
    pub host_id: u32,
    /// How many ids there are; at least 1.
    pub count: u32,
}

/// One mount, like an element of config.json's `mounts`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_mount {
    /// sizeof(rfs_mount).
    pub size: u64,
    /// RFS_MOUNT_*.
    pub flags: u64,
    /// Where the mount is made, in the container. It is required, and absolute. A relative path is taken from "/", and
    /// a path that begins with the path of the rootfs is taken from the rootfs; both with a warning.
    pub destination: *const c_char,
    /// The file system type, or "bind"; NULL is allowed for a bind.
    pub r#type: *const c_char,
    /// What to mount. For a bind it is an absolute path on the host. For another type it is what that file system takes
    /// as its source; many take none, and ignore it. NULL: none.
    pub source: *const c_char,
    /// n_options mount options, as in config.json. An option that is no mount flag is data for the file system; it may
    /// be several options with commas between them. Such an option is -EINVAL for a bind, except for a few that engines
    /// write (rfs_config_new(3)).
    pub options: *const *const c_char,
    /// How many options there are.
    pub n_options: usize,
    /// The uids of an idmapped mount, which is a bind or a new file system: n_uid_mappings mappings.
    pub uid_mappings: *const rfs_id_mapping,
    /// How many uid mappings there are.
    pub n_uid_mappings: usize,
    /// The gids of an idmapped mount: n_gid_mappings mappings.
    pub gid_mappings: *const rfs_id_mapping,
    /// How many gid mappings there are.
    pub n_gid_mappings: usize,
    /// With RFS_MOUNT_SOURCE_FD: what to bind, as a descriptor (O_PATH is enough). Borrowed: the library notes the
    /// number, uses what it refers to when rfs_prepare() runs, and does not close it. It is one of two things. A
    /// detached mount (open_tree(2) with OPEN_TREE_CLONE) is attached itself, and may have been opened before the fork.
    /// Any other descriptor must have been opened after unshare(2): one from before lies on a mount of the old
    /// namespace, and the kernel does not bind that.
    pub source_fd: c_int,
    /// With RFS_MOUNT_USERNS_FD: the user namespace whose mappings an idmapped mount has, as a descriptor of
    /// /proc/PID/ns/user. Borrowed: the library notes the number, and uses what it refers to when the host's side opens
    /// the mount.
    pub userns_fd: c_int,
}
/// rfs_mount.source_fd is given. The mount must be a bind; `source` then only names it in messages.
pub const RFS_MOUNT_SOURCE_FD: u64 = 1;
/// The host's side makes this mount, of whatever type: rfs_callbacks.mountfd is always asked for it, and what it
/// returns is attached as it is. For what the container's process may not do: a proc or mqueue of a namespace that was
/// joined with a new user namespace, or a bind whose locked flags only the host can clear. It excludes "remount" and
/// the type cgroup.
pub const RFS_MOUNT_FROM_HOST: u64 = 2;
/// What the bind's source forbids stays: its ro, nosuid, nodev, noexec and nosymfollow are added to what is asked for.
/// The option "dev" clears nodev. Other options that clear a flag have no effect on the added ones.
pub const RFS_MOUNT_KEEP_RESTRICTIONS: u64 = 4;
/// rfs_mount.userns_fd is given. It makes the mount idmapped, also without the option "idmap".
pub const RFS_MOUNT_USERNS_FD: u64 = 8;
/// With the options "bind" and "remount": flags that the options do not name stay as they are. Otherwise they are
/// cleared.
pub const RFS_MOUNT_KEEP_FLAGS: u64 = 0x10;
/// The index that rfs_config_add_fstab() gives for a line that adds no mount.
pub const RFS_NO_MOUNT: u64 = u64::MAX - 1;

/// A directory, file or symbolic link that is made in the container, or the mode and owner of what is there.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_file {
    /// sizeof(rfs_file).
    pub size: u64,
    /// RFS_FILE_*.
    pub flags: u64,
    /// Where the step is done, in the container. It is required, and absolute. A symbolic link on the way is followed
    /// inside the rootfs; a link at the end is not followed. Missing directories on the way are made (0755).
    pub path: *const c_char,
    /// What is made: 'd' a directory, 'f' a regular file, 'l' a symbolic link. With 'd' the directory may be there
    /// already; with 'f' and 'l' whatever is there is -EEXIST. 0: nothing is made; only the mode and owner of what is
    /// there change.
    pub r#type: u32,
    /// With RFS_FILE_MODE: permission bits, which the umask does not change. Otherwise a new directory has 0755 and a
    /// new file 0644.
    pub mode: u32,
    /// With RFS_FILE_OWNER: the owner. Otherwise what is new belongs to the process that calls rfs_prepare().
    pub uid: u32,
    /// With RFS_FILE_OWNER: the group.
    pub gid: u32,
    /// Where a symbolic link leads. Required for one, and only for one.
    pub target: *const c_char,
    /// A regular file's content: content_len bytes, which are copied. NULL: it is empty.
    pub content: *const c_void,
    /// How many bytes there are.
    pub content_len: usize,
    /// With RFS_FILE_CONTENT_FD: a descriptor from which the content of a regular file is read. Borrowed: the library
    /// notes the number, and uses what it refers to when rfs_prepare() runs. A file is read from its start, and its
    /// position stays. A pipe is read to its end.
    pub content_fd: c_int,
}
/// rfs_file.mode is given.
pub const RFS_FILE_MODE: u64 = 1;
/// rfs_file.uid and gid are given.
pub const RFS_FILE_OWNER: u64 = 2;
/// rfs_file.content_fd is given.
pub const RFS_FILE_CONTENT_FD: u64 = 4;

/// One device node, like an element of config.json's `linux.devices`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_device {
    /// sizeof(rfs_device).
    pub size: u64,
    /// RFS_DEVICE_*.
    pub flags: u64,
    /// Where the device is made, in the container. It is required, and absolute. A relative path is taken from "/",
    /// with a warning.
    pub path: *const c_char,
    /// 'b' block, 'c' or 'u' character, 'p' fifo.
    pub r#type: u32,
    /// Major number; ignored for a fifo.
    pub major: u32,
    /// Minor number; ignored for a fifo.
    pub minor: u32,
    /// With RFS_DEVICE_FILE_MODE: permission bits, independent of the umask. Otherwise 0666. The bits of the file's
    /// type (S_IFMT) may be there if they agree with type.
    pub file_mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}
/// rfs_device.file_mode is given.
pub const RFS_DEVICE_FILE_MODE: u64 = 1;

/// The kinds of hooks in config.json.
pub type rfs_hook_kind = u32;
/// They are deprecated by the runtime-spec. The host runs them at RFS_POINT_MOUNTS_READY, before those of
/// createRuntime.
pub const RFS_HOOKS_PRESTART: u32 = 1;
/// The host runs them at RFS_POINT_MOUNTS_READY.
pub const RFS_HOOKS_CREATE_RUNTIME: u32 = 2;
/// They are run in the container's namespaces at RFS_POINT_CREATE_CONTAINER. rfs_prepare() runs them itself if it has a
/// state.
pub const RFS_HOOKS_CREATE_CONTAINER: u32 = 3;
/// They are run in the container, just before its program is executed.
pub const RFS_HOOKS_START_CONTAINER: u32 = 4;
/// The host runs them after the container's program was executed.
pub const RFS_HOOKS_POSTSTART: u32 = 5;
/// The host runs them after the container is gone.
pub const RFS_HOOKS_POSTSTOP: u32 = 6;

/// A program that is run at a certain point, like an element of one of config.json's `hooks`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_hook {
    /// sizeof(rfs_hook).
    pub size: u64,
    /// 0.
    pub flags: u64,
    /// The program. It is required, and absolute. It is looked for when and where the hook runs.
    pub path: *const c_char,
    /// n_args arguments, of which the first is the program's name. Without any, the path is the only argument.
    pub args: *const *const c_char,
    /// How many arguments there are.
    pub n_args: usize,
    /// n_env variables, "NAME=value" each. The hook gets these and no others.
    pub env: *const *const c_char,
    /// How many variables there are.
    pub n_env: usize,
    /// After how many seconds the hook is killed; 0: never.
    pub timeout: u32,
}

/// The options of a container. A member that is zero or NULL leaves the configuration as it is.
/// Flags are added to those that config.json or an earlier call has set.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_options {
    /// sizeof(rfs_options).
    pub size: u64,
    /// RFS_OPTION_*.
    pub flags: u64,
    /// With RFS_OPTION_ROOTFS_FD: the rootfs as a directory's descriptor (O_PATH is enough). The rootfs path
    /// then only names it. Borrowed, like rfs_mount.source_fd, which says what it may be.
    pub rootfs_fd: c_int,
    /// With RFS_OPTION_UMASK: the umask that rfs_finalize() sets. Otherwise 0022.
    pub umask: u32,
    /// The propagation of the root, as config.json's linux.rootfsPropagation: [r]private, [r]slave, [r]shared or
    /// [r]unbindable. NULL: the namespace's mounts become slaves before the switch, and the new root is left alone.
    pub rootfs_propagation: *const c_char,
    /// The directory the container starts in: created if missing (0755), but not entered. Absolute.
    pub cwd: *const c_char,
    /// The SELinux label of the mounts, as config.json's linux.mountLabel. Binds get none, but for an option:
    /// "Z" relabels all the files in the source, for this container, and "z" for every container (level s0).
    /// Without SELinux it is an error when a file system is mounted.
    pub mount_label: *const c_char,
    /// With RFS_OPTION_CGROUP_NAMESPACE: the container's own cgroup2 directory on the host, bound where cgroup2
    /// can't be mounted. Absolute. NULL: rfs_prepare() takes the one that /proc/self/cgroup names.
    pub cgroup_path: *const c_char,
    /// Which mount option carries mount_label, as the annotation run.oci.mount_context_type: context, fscontext,
    /// defcontext or rootcontext (see mount(8)). NULL: context. A mount with one of them among its own options keeps
    /// that.
    pub mount_context_type: *const c_char,
    /// The uids of the container's user namespace, as far as they are known: n_uid_mappings mappings, as config.json's
    /// linux.uidMappings. For "@" in the option "idmap=".
    pub uid_mappings: *const rfs_id_mapping,
    /// How many uid mappings there are.
    pub n_uid_mappings: usize,
    /// The gids of the container's user namespace: n_gid_mappings mappings.
    pub gid_mappings: *const rfs_id_mapping,
    /// How many gid mappings there are.
    pub n_gid_mappings: usize,
    /// The rootfs is idmapped, with the mappings of the container's user namespace ("idmap") or others
    /// ("idmap=uids=0-100000-65536;gids=0-100000-65536"); "ridmap" with the mounts below it. The mountfd callback is
    /// asked for RFS_MOUNTFD_ROOTFS. NULL: it is not.
    pub rootfs_idmap: *const c_char,
    /// The bundle's directory, from which relative sources of binds are taken; absolute. rfs_config_from_oci() has set
    /// it.
    pub bundle: *const c_char,
    /// The propagation that rfs_finalize() gives the root as its last step, by the names of rootfs_propagation. With
    /// "rshared" all mounts become peer groups of their own then. NULL: it is left alone.
    pub final_propagation: *const c_char,
}
/// Make the root read-only in rfs_finalize().
pub const RFS_OPTION_READONLY_ROOTFS: u64 = 0x1;
/// rfs_options.rootfs_fd is given.
pub const RFS_OPTION_ROOTFS_FD: u64 = 0x2;
/// rfs_options.umask is given.
pub const RFS_OPTION_UMASK: u64 = 0x4;
/// Switch with MS_MOVE and chroot instead of pivot_root, which the initial ramfs refuses before Linux 7.0. This is
/// weaker: the host's proc and sysfs are unmounted or covered first, but the old root stays below the new one.
pub const RFS_OPTION_NO_PIVOT: u64 = 0x8;
/// The container has no mount namespace of its own: enter the rootfs by chroot alone. The mounts stay in the caller's
/// namespace, and the caller must unmount them.
pub const RFS_OPTION_CHROOT: u64 = 0x10;
/// The plan is made after unshare(CLONE_NEWNS), by the process that prepares it. Otherwise rfs_prepare()
/// refuses to run in the mount namespace where the plan was made.
pub const RFS_OPTION_PLANNED_INSIDE: u64 = 0x20;
/// The container has its own user namespace: device nodes are bound from the host, and not made.
pub const RFS_OPTION_USER_NAMESPACE: u64 = 0x40;
/// The container has its own cgroup namespace.
pub const RFS_OPTION_CGROUP_NAMESPACE: u64 = 0x80;
/// The runtime is not root on the host: never ask for a mountfd because a bind source can't be reached.
pub const RFS_OPTION_ROOTLESS: u64 = 0x100;
/// Cgroups are managed without root: mask /sys/fs/cgroup if neither cgroup2 nor cgroup_path can be mounted.
pub const RFS_OPTION_ROOTLESS_CGROUPS: u64 = 0x200;
/// Do not make the devices that the runtime-spec demands in every container (null, zero, full, random, urandom, tty).
pub const RFS_OPTION_NO_DEFAULT_DEVICES: u64 = 0x400;
/// rfs_finalize() leaves the read-only and masked paths to rfs_readonly_paths() and rfs_mask_paths().
pub const RFS_OPTION_SEPARATE_MASKS: u64 = 0x800;
/// Make all mounts by mount(2), as is done where the mount API of Linux 5.2 to 5.12 is missing or refused, or an
/// option of a file system is too long for it. Needs a procfs on /proc, and in the container for rfs_finalize().
pub const RFS_OPTION_CLASSIC_MOUNT: u64 = 0x1000;
/// rfs_finalize() leaves the umask as it is.
pub const RFS_OPTION_KEEP_UMASK: u64 = 0x2000;
/// rfs_plan_new() does not look whether the rootfs is there: its path is made or mounted after the fork, or
/// rfs_container_set_rootfs_fd() gives it.
pub const RFS_OPTION_ROOTFS_LATER: u64 = 0x4000;
/// rfs_prepare() makes the container's mount namespace: its caller has not. From Linux 7.1 that does not copy the
/// host's mounts, and from 6.15 a failure before the namespace is entered leaves the caller where it was. In a user
/// namespace it does not copy them from 7.0 on, and the namespace is entered first. If the kernel, a hook, a point
/// callback or another option does not allow this, rfs_prepare() calls unshare(CLONE_NEWNS) first, and the log says
/// why.
pub const RFS_OPTION_OWN_NAMESPACE: u64 = 0x8000;
/// There is no rootfs: the mounts and points are made on "/" of the new mount namespace, which stays the root. Nothing
/// is made in /dev, and a missing mount point only with the option "create=".
pub const RFS_OPTION_HOST_ROOT: u64 = 0x10000;
/// Where the kernel refuses a new sysfs with EPERM, bind the host's /sys instead, with all mounts below it. It does so
/// in a user namespace that does not own the network namespace, or that sees no complete sysfs.
pub const RFS_OPTION_SYSFS_FROM_HOST: u64 = 0x20000;
/// /dev/ptmx is a bind of /dev/pts/ptmx instead of a link to it.
pub const RFS_OPTION_PTMX_BIND: u64 = 0x40000;
/// In a user namespace, flags that are locked on the source of a bind (mount_namespaces(7)) win over the options "rw",
/// "exec", "suid" and "dev", with a warning. Otherwise such a bind is -EPERM. For engines that add "rw" to every bind.
pub const RFS_OPTION_KEEP_LOCKED: u64 = 0x80000;
/// The rootfs is a new, empty tmpfs (mode 0755). It has no path, and rfs_config_new() takes NULL.
/// It excludes rootfs_fd, rootfs_idmap, RFS_OPTION_CHROOT, RFS_OPTION_NO_PIVOT and RFS_OPTION_HOST_ROOT.
pub const RFS_OPTION_TMPFS_ROOTFS: u64 = 0x100000;
/// Binds may go below /proc: a file over a file, and something of the container's own procfs. A bind of a path below
/// /proc on itself ("/proc/sys/net" on "/proc/sys/net") is one of the container's own /proc. Otherwise only the files
/// that lxcfs provides may be mounted there. For what crun and Podman allow: a process that trusts /proc can be
/// misled by a mount there (CVE-2019-16884).
pub const RFS_OPTION_MOUNTS_BELOW_PROC: u64 = 0x200000;
