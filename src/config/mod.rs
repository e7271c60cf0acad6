// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration, as the caller gave it. It is checked when it becomes a plan.
#![forbid(unsafe_code)]

pub mod fstab;
pub mod oci;
pub mod options;
mod strict;

use std::os::fd::RawFd;

pub type Bytes = Vec<u8>;

/// The whole configuration of one container's file system.
#[derive(Clone, Debug)]
pub struct Config {
    /// On the host.
    pub rootfs: Option<Bytes>,
    /// Borrowed from the caller.
    pub rootfs_fd: Option<RawFd>,
    /// The directory from which relative sources of binds are taken.
    pub bundle: Option<Bytes>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub default_devices: bool,
    pub masked_paths: Vec<Bytes>,
    pub readonly_paths: Vec<Bytes>,
    /// The hooks of each `HookKind`.
    pub hooks: [Vec<Hook>; HookKind::ALL.len()],
    pub readonly_rootfs: bool,
    pub rootfs_propagation: Option<Bytes>,
    pub cwd: Option<Bytes>,
    pub umask: u32,
    pub keep_umask: bool,
    pub keep_locked: bool,
    pub mounts_below_proc: bool,
    /// The rootfs may still be missing when the plan is made.
    pub rootfs_later: bool,
    pub mount_label: Option<Bytes>,
    /// The parameter by which a file system takes the mount label.
    pub mount_context_type: Option<Bytes>,
    pub cgroup_path: Option<Bytes>,
    /// The rootfs's mapping, written like a mount's option: "idmap" or "ridmap", with or without "=" and a mapping.
    pub rootfs_idmap: Option<Bytes>,
    /// The mappings of the container's user namespace, as far as they are known.
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
    pub mount_namespace: bool,
    pub user_namespace: bool,
    pub cgroup_namespace: bool,
    pub no_pivot: bool,
    pub planned_inside: bool,
    pub own_namespace: bool,
    pub rootless: bool,
    pub rootless_cgroups: bool,
    pub separate_masks: bool,
    pub classic_mount: bool,
    /// The propagation that rfs_finalize() gives the root at its end.
    pub final_propagation: Option<Bytes>,
    /// RFS_OPTION_HOST_ROOT.
    pub host_root: bool,
    /// RFS_OPTION_TMPFS_ROOTFS.
    pub tmpfs_rootfs: bool,
    pub sysfs_from_host: bool,
    pub ptmx_bind: bool,
    /// Warnings about entries that were passed over while the configuration was made.
    pub warnings: Vec<String>,
}

impl Config {
    pub fn new(rootfs: Option<Bytes>) -> Self {
        Config {
            rootfs,
            rootfs_fd: None,
            bundle: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            default_devices: true,
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            hooks: Default::default(),
            readonly_rootfs: false,
            rootfs_propagation: None,
            cwd: None,
            umask: 0o022,
            keep_umask: false,
            keep_locked: false,
            mounts_below_proc: false,
            rootfs_later: false,
            mount_label: None,
            mount_context_type: None,
            cgroup_path: None,
            rootfs_idmap: None,
            uid_mappings: Vec::new(),
            gid_mappings: Vec::new(),
            mount_namespace: true,
            user_namespace: false,
            cgroup_namespace: false,
            no_pivot: false,
            planned_inside: false,
            own_namespace: false,
            rootless: false,
            rootless_cgroups: false,
            separate_masks: false,
            classic_mount: false,
            final_propagation: None,
            host_root: false,
            tmpfs_rootfs: false,
            sysfs_from_host: false,
            ptmx_bind: false,
            warnings: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Mount {
    pub destination: Bytes,
    pub fstype: Option<Bytes>,
    pub source: Option<Bytes>,
    /// Borrowed from the caller.
    pub source_fd: Option<RawFd>,
    /// RFS_MOUNT_FROM_HOST.
    pub from_host: bool,
    /// RFS_MOUNT_KEEP_FLAGS.
    pub keep_flags: bool,
    /// RFS_MOUNT_KEEP_RESTRICTIONS.
    pub keep_restrictions: bool,
    /// Borrowed from the caller, on the host's side.
    pub userns_fd: Option<RawFd>,
    /// The mount comes from a line of fstab(5), in which an option that means nothing for a bind is only a warning.
    pub from_fstab: bool,
    /// This is made at the destination instead of a mount.
    pub file: Option<File>,
    pub options: Vec<Bytes>,
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
}

#[derive(Clone, Debug)]
pub struct File {
    pub kind: FileKind,
    /// Permission bits.
    pub mode: Option<u32>,
    /// uid and gid.
    pub owner: Option<(u32, u32)>,
}

#[derive(Clone, Debug)]
pub enum FileKind {
    Directory,
    Regular(Content),
    /// A symbolic link with this target.
    Link(Bytes),
    /// The file that is there already, which gets another mode or owner.
    Existing,
}

#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Bytes),
    /// Borrowed from the caller.
    Descriptor(RawFd),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    pub container_id: u32,
    pub host_id: u32,
    pub count: u32,
}

#[derive(Clone, Debug)]
pub struct Device {
    pub path: Bytes,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits. They are 0666 if none are given.
    pub file_mode: Option<u32>,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    Block,
    Character,
    Fifo,
}

/// When a hook runs: config.md of the runtime-spec, "POSIX-platform Hooks".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookKind {
    /// All kinds, in the order of a container's life.
    pub const ALL: [Self; 6] = [
        HookKind::Prestart,
        HookKind::CreateRuntime,
        HookKind::CreateContainer,
        HookKind::StartContainer,
        HookKind::Poststart,
        HookKind::Poststop,
    ];

    /// The name in config.json.
    pub const fn name(self) -> &'static str {
        match self {
            HookKind::Prestart => "prestart",
            HookKind::CreateRuntime => "createRuntime",
            HookKind::CreateContainer => "createContainer",
            HookKind::StartContainer => "startContainer",
            HookKind::Poststart => "poststart",
            HookKind::Poststop => "poststop",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Hook {
    pub path: Bytes,
    /// The arguments, with the program's name first. An empty list stands for the path alone.
    pub args: Vec<Bytes>,
    pub env: Vec<Bytes>,
    /// The timeout in seconds.
    pub timeout: Option<u32>,
}
