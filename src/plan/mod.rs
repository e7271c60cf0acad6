// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan: a configuration that was checked, with every string ready for the kernel. Making it takes no system
//! call, so that carrying it out needs no allocation.
#![forbid(unsafe_code)]

pub mod attributes;
mod build;
pub mod data;
mod describe;
mod devices;
mod hooks;
mod idmap;
pub mod label;
mod later;
mod layers;
mod make;
mod mounts;
mod options;
mod paths;
pub mod proc;

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::time::Duration;

pub use crate::config::{Content, HookKind};
use crate::error::{Error, Result};
use crate::sys::flags;
use attributes::{BindChange, Change};
use data::Data;

pub use crate::config::options::Shape;

/// This is far below the kernel's default limit of 100,000 mounts in a namespace (fs.mount-max, proc_sys_fs(5)).
pub const MAX_MOUNTS: usize = 65_536;
/// The most bytes that fsconfig(2) takes in a key or a value.
pub const PARAMETER_MAX: usize = 255;
/// The most extents of a user namespace's mapping: UID_GID_MAP_MAX_EXTENTS, user_namespaces(7).
pub const MAX_ID_MAPPINGS: usize = 340;

#[derive(Debug)]
pub struct Plan {
    pub rootfs: Rootfs,
    /// The MS_* flags of linux.rootfsPropagation.
    pub propagation: Option<u64>,
    /// The MS_* flags that the root gets as the last step.
    pub final_propagation: Option<u64>,
    /// /dev/ptmx is a bind instead of a link.
    pub ptmx_bind: bool,
    /// The mounts in the order of their index. Optional mounts that could not be planned are missing.
    pub mounts: Vec<Mount>,
    /// The number of mounts, with those that are missing.
    pub configured_mounts: usize,
    /// The nodes that are made in /dev, unless it is the host's.
    pub devices: Vec<Device>,
    pub switch: Switch,
    /// The working directory, which is created. `None` if it is the root.
    pub cwd: Option<CString>,
    pub readonly_rootfs: bool,
    /// The process's umask. `None` leaves it alone.
    pub umask: Option<u32>,
    pub readonly_paths: Vec<IndexedPath>,
    pub masked_paths: Vec<IndexedPath>,
    /// The hooks of each `HookKind`.
    pub hooks: [Vec<Hook>; HookKind::ALL.len()],
    /// The empty tmpfs that masks directories. It is as small as the kernel allows: one inode, or two on some of
    /// Ubuntu's kernels, which use one more.
    pub empty: [Filesystem; 2],
    /// The caller calls rfs_readonly_paths() and rfs_mask_paths() itself.
    pub separate_masks: bool,
    /// The plan is made in the mount namespace in which it is carried out.
    pub planned_inside: bool,
    /// rfs_prepare() makes the mount namespace, not the caller.
    pub own_namespace: bool,
    pub user_namespace: bool,
    /// All mounts are made by mount(2), even if the kernel has the newer calls.
    pub classic_mount: bool,
    /// Warnings about settings that work, but probably not as meant.
    pub warnings: Vec<CString>,
}

impl Plan {
    /// Checks the index of a mount that a caller of the interface gave.
    pub fn configured(&self, index: u64) -> Result<usize> {
        let count = self.configured_mounts;
        let found = usize::try_from(index).ok().filter(|index| *index < count);
        found.ok_or_else(|| {
            Error::invalid(format_args!(
                "index is {index}, but the configuration has {count} mounts"
            ))
        })
    }

    /// The mount that has this index in the configuration.
    pub fn mount(&self, index: usize) -> Option<&Mount> {
        let place = self
            .mounts
            .binary_search_by_key(&index, |mount| mount.index);
        self.mounts.get(place.ok()?)
    }

    /// The propagation that the namespace's mounts get at the start, as MS_* flags. The default is slave, because
    /// slaves still follow the host's unmounts.
    pub fn start_propagation(&self) -> u64 {
        self.propagation.unwrap_or(flags::MS_SLAVE | flags::MS_REC)
    }
}

#[derive(Debug)]
pub struct Rootfs {
    /// On the host; if `fd` is given, only its name.
    pub path: CString,
    pub fd: Option<RawFd>,
    /// The rootfs must exist when the plan is made.
    pub is_checked: bool,
    /// The rootfs is a new tmpfs.
    pub tmpfs: Option<Filesystem>,
    pub idmap: Option<Idmap>,
    /// The host's side may be asked for the rootfs if it can't be opened.
    pub ask_if_unreachable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    PivotRoot,
    /// MS_MOVE and chroot(2).
    Move,
    /// chroot(2) alone, because the container has no mount namespace of its own.
    Chroot,
    /// No switch: the root stays.
    Stay,
}

#[derive(Debug)]
pub struct IndexedPath {
    /// The index in the configuration.
    pub index: usize,
    pub path: CString,
}

#[derive(Debug)]
pub struct Mount {
    pub index: usize,
    /// The absolute path in the container, without ".." and doubled slashes.
    pub destination: CString,
    pub kind: Kind,
    /// What is made if the mount point is missing. `None` makes the kind of file that the mount's root is.
    pub create: Option<Create>,
    /// The destination lies below /proc, where only files of the container's own procfs may be mounted.
    pub below_proc: proc::Below,
    /// The mount point must exist, and it may be a symbolic link.
    pub destination_nofollow: bool,
    /// The host's side makes the mount: RFS_MOUNT_FROM_HOST.
    pub from_host: bool,
    /// If the mount fails, it is passed over with a warning.
    pub optional: bool,
    /// The mount becomes read-only in rfs_finalize(), because files are still made in it.
    pub readonly_later: bool,
    /// The destination's directory is a new tmpfs of this plan, so that the mount point is surely missing. This hint
    /// saves a look-up.
    pub surely_missing: bool,
    /// The change of the mount and all mounts below it, before it is attached.
    pub recursive: Option<Change>,
    /// The propagation: MS_* flags that are applied one after the other.
    pub propagation: Vec<u64>,
    /// The propagation must be set once more after attaching, because a mount that is attached under a shared mount
    /// becomes shared.
    pub below_shared: bool,
    /// The mount must be found again by its id, because something of this plan lies below it (/dev's files, a device,
    /// a read-only or masked path), or because it becomes read-only later.
    pub is_recognised: bool,
}

impl Mount {
    /// The mount becomes the root that later mounts lie on.
    pub fn is_on_root(&self) -> bool {
        self.destination.as_c_str() == c"/"
    }

    /// Whether this is no mount, but a step that makes a file.
    pub fn is_made(&self) -> bool {
        matches!(self.kind, Kind::Make(_))
    }

    pub fn is_on_dev(&self) -> bool {
        self.destination.as_c_str() == c"/dev" && !self.is_made()
    }

    /// Whether a mount on /dev also belongs to the host, as a bind or the machine's one devtmpfs does.
    pub fn brings_foreign_dev(&self) -> bool {
        match &self.kind {
            Kind::Bind(_) | Kind::Remount(_) => true,
            Kind::Filesystem(it) => it.fstype.as_c_str() == c"devtmpfs",
            Kind::Cgroup(_) | Kind::Make(_) => false,
        }
    }

    /// The mapping of ids that the mount is attached with.
    pub fn is_idmapped(&self) -> bool {
        match &self.kind {
            Kind::Filesystem(it) => it.idmap.is_some(),
            Kind::Bind(it) => it.idmap.is_some(),
            Kind::Remount(_) | Kind::Cgroup(_) | Kind::Make(_) => false,
        }
    }

    /// The rest of a path below the destination. It is empty or begins with a slash. `None` if the path lies
    /// elsewhere.
    pub fn path_below<'a>(&self, path: &'a CStr) -> Option<&'a CStr> {
        let destination = self.destination.as_bytes();
        let is_below = path
            .to_bytes()
            .strip_prefix(destination)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        is_below.then(|| {
            let rest = &path.to_bytes_with_nul()[destination.len()..];
            CStr::from_bytes_with_nul(rest).unwrap_or_default()
        })
    }

    /// The source is a descriptor of the caller.
    pub fn takes_descriptor(&self) -> bool {
        matches!(&self.kind, Kind::Bind(bind) if bind.source_fd.is_some())
    }
}

/// What is done if a mount point is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// The mount point must exist.
    Nothing,
    Shape(Shape),
}

#[derive(Debug)]
pub enum Kind {
    Filesystem(Filesystem),
    Bind(Bind),
    /// The mount that is there already gets other flags: MS_REMOUNT | MS_BIND of mount(2).
    Remount(BindChange),
    Cgroup(Box<Cgroup>),
    Make(Make),
}

/// A step between the mounts, which makes a directory, a file or a link, or changes the file that is there.
#[derive(Debug)]
pub struct Make {
    pub node: Node,
    /// Permission bits.
    pub mode: Option<u32>,
    /// uid and gid.
    pub owner: Option<(u32, u32)>,
}

#[derive(Debug)]
pub enum Node {
    Directory,
    Regular(Content),
    /// A symbolic link with this target.
    Link(CString),
    Existing,
}

/// A mount with a superblock of its own.
#[derive(Debug)]
pub struct Filesystem {
    pub fstype: CString,
    pub source: CString,
    pub parameters: Vec<Parameter>,
    /// The mount's MOUNT_ATTR_* flags.
    pub attributes: u64,
    /// No component of the target may be a symbolic link, as for proc and sysfs.
    pub plain_target: bool,
    /// The tmpfs has no mode in its options, and takes the mode of a directory that was there before.
    pub copy_mode: bool,
    /// The tmpfs gets a copy of the directory that it covers.
    pub copy_up: Option<CopyUp>,
    /// An SELinux label for the root inode, if the file system takes no label as a parameter.
    pub root_label: Option<CString>,
    pub idmap: Option<Idmap>,
    /// mount(2) makes the file system, because fsconfig(2) can't take all of the parameters.
    pub needs_mount2: bool,
    /// The parameters with which fsconfig(2) can make it after all, if the kernel takes an overlay's lower
    /// directories one by one.
    pub layers: Option<Vec<Parameter>>,
    /// The host's sysfs that is bound if the kernel refuses a new one with EPERM: RFS_OPTION_SYSFS_FROM_HOST.
    pub instead: Option<Instead>,
}

/// The host's sysfs, for a user namespace that may not mount one.
#[derive(Debug)]
pub struct Instead {
    pub source: CString,
    /// The change of the mount and of all mounts below it.
    pub change: Change,
    /// The cgroups below it are covered, because no mount of the plan is made there.
    pub hides_cgroup: bool,
}

/// The attributes of a directory that its copy gets. A tmpfs's root keeps the attributes that a parameter gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyUp {
    pub mode: bool,
    pub uid: bool,
    pub gid: bool,
}

impl CopyUp {
    pub const ALL: Self = CopyUp {
        mode: true,
        uid: true,
        gid: true,
    };
}

#[derive(Clone, Debug)]
pub struct Parameter {
    pub key: CString,
    pub value: Option<CString>,
}

/// The parameters of a superblock, in the order in which they are set.
pub trait Parameters {
    fn each(&self, set: &mut dyn FnMut(&CStr, Option<&CStr>) -> Result<()>) -> Result<()>;
}

impl Parameters for Vec<Parameter> {
    fn each(&self, set: &mut dyn FnMut(&CStr, Option<&CStr>) -> Result<()>) -> Result<()> {
        self.iter()
            .try_for_each(|it| set(&it.key, it.value.as_deref()))
    }
}

impl Filesystem {
    /// Decides which calls make the file system.
    fn choose_calls(&mut self) -> Result<()> {
        let is_overlay = self.fstype.as_c_str() == c"overlay";
        // Before Linux 6.5 fsconfig(2) takes no comma in the name of an overlay's directory: legacy_parse_param() in
        // fs/fs_context.c.
        let has_comma = |it: &Parameter| {
            let value = it.value.as_ref().map_or(&b""[..], |value| value.as_bytes());
            is_overlay && !label::is_label(it.key.to_bytes()) && value.contains(&b',')
        };
        self.needs_mount2 =
            self.is_beyond_fsconfig(&self.parameters) || self.parameters.iter().any(has_comma);
        if !self.needs_mount2 {
            return Ok(());
        }
        if is_overlay {
            let layers = layers::one_by_one(&self.parameters);
            self.layers = layers.filter(|layers| !self.is_beyond_fsconfig(layers));
        }
        match self.layers {
            None => Data::new(&self.parameters).map(drop),
            Some(_) => Ok(()),
        }
    }

    /// Whether fsconfig(2) can't take all of the parameters.
    fn is_beyond_fsconfig(&self, parameters: &[Parameter]) -> bool {
        let is_long = |text: &CString| text.as_bytes().len() > PARAMETER_MAX;
        is_long(&self.source)
            || parameters.iter().any(|it| match &it.value {
                None => is_long(&it.key) || it.key.as_c_str() == c"iversion",
                Some(value) => is_long(&it.key) || is_long(value),
            })
    }
}

#[derive(Debug)]
pub struct Bind {
    /// The source's path on the host. If `source_fd` is given, it is only a name.
    pub source: CString,
    /// The source is a path in the container.
    pub relative: bool,
    pub source_fd: Option<RawFd>,
    /// What is done with a source that is a symbolic link.
    pub link: Link,
    pub recursive: bool,
    pub change: Option<BindChange>,
    /// An SELinux label for every file in it.
    pub relabel: Option<CString>,
    pub idmap: Option<Idmap>,
    /// The host's side may be asked for a source that this process can't open.
    pub ask_if_unreachable: bool,
}

impl Bind {
    /// The source is given by its path on the host.
    fn is_itself_below_proc(&self, destination: &CStr) -> bool {
        let by_path = self.source_fd.is_none() && self.idmap.is_none() && !self.relative;
        by_path
            && proc::rule(destination.to_bytes()) != proc::ProcRule::Proc
            && destination.to_bytes().starts_with(b"/proc/")
            && self.source.as_c_str() == destination
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Follow,
    /// The link itself is bound.
    Bind,
    /// The same link is made in the container.
    Copy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idmap {
    /// The mounts below are mapped too.
    pub recursive: bool,
    pub mappings: Ids,
}

/// Where the mappings of an idmapped mount come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// The container's user namespace.
    Containers,
    /// The mount's own mappings.
    Own(Mappings),
    /// A user namespace, which the caller gave as a descriptor on the host's side.
    Namespace(RawFd),
}

/// Mappings in the text form of /proc/PID/uid_map and gid_map: user_namespaces(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mappings {
    pub uids: Vec<u8>,
    pub gids: Vec<u8>,
}

/// The directory at which every host has its cgroups: cgroups(7).
pub const CGROUP_MOUNTPOINT: &CStr = c"/sys/fs/cgroup";

/// The hierarchies of the host that a cgroup mount shows.
#[derive(Debug)]
pub enum Hierarchies {
    /// cgroup2 if the host has nothing else, otherwise all v1 hierarchies.
    All,
    /// cgroup2, even if the host has v1 hierarchies too.
    Unified,
    /// One v1 hierarchy, by its controllers or its name: "cpu,cpuacct", "name=systemd".
    One(CString),
}

#[derive(Debug)]
pub struct Cgroup {
    pub hierarchies: Hierarchies,
    /// The cgroup2 file system, for a host that has nothing else.
    pub unified: Filesystem,
    /// The container's cgroup2 directory on the host, which is bound if cgroup2 may not be mounted. `None` if the
    /// caller has not told it.
    pub path: Option<CString>,
    /// The change of a mount that is bound.
    pub change: Option<BindChange>,
    /// The tmpfs that holds the v1 hierarchies.
    pub tmpfs: Filesystem,
    /// The MOUNT_ATTR_* flags of a v1 hierarchy in the container's own cgroup namespace.
    pub hierarchy: u64,
    pub namespace: bool,
    /// The configuration asked for the type cgroup2, so v1 hierarchies would not do.
    pub is_unified: bool,
    /// If a rootless runtime can't mount it, the host's hierarchy is masked.
    pub mask_if_missing: bool,
}

#[derive(Debug)]
pub struct Device {
    /// The index in the configuration. `None` for a default device.
    pub index: Option<usize>,
    /// The absolute path in the container.
    pub path: CString,
    /// The directory and the name that `path` consists of.
    pub directory: CString,
    pub name: CString,
    /// S_IFBLK, S_IFCHR or S_IFIFO, and the permission bits.
    pub mode: u32,
    pub major: u32,
    pub minor: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug)]
pub struct Hook {
    /// The program's absolute path, where the hook runs.
    pub path: CString,
    /// The arguments, which are never empty.
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub timeout: Option<Duration>,
}
