// SPDX-License-Identifier: MIT OR Apache-2.0
//! What will be done: a configuration checked, with every string ready for the kernel. Pure: no
//! system call is made here, and nothing is allocated when the plan is carried out.
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

/// Far below the kernel's default limit for a namespace, 100,000 (fs.mount-max, proc_sys_fs(5)).
pub const MAX_MOUNTS: usize = 65_536;
/// fsconfig(2) takes a key or value of at most as many bytes.
pub const PARAMETER_MAX: usize = 255;
/// Extents of a user namespace's mapping: UID_GID_MAP_MAX_EXTENTS, user_namespaces(7).
pub const MAX_ID_MAPPINGS: usize = 340;

#[derive(Debug)]
pub struct Plan {
    pub rootfs: Rootfs,
    /// MS_* of linux.rootfsPropagation.
    pub propagation: Option<u64>,
    /// MS_* that the root gets last of all.
    pub final_propagation: Option<u64>,
    /// /dev/ptmx is a bind.
    pub ptmx_bind: bool,
    /// In the order of their index. Optional ones that could not be planned are missing.
    pub mounts: Vec<Mount>,
    /// With those that are missing.
    pub configured_mounts: usize,
    /// What is made in /dev, unless it is the host's.
    pub devices: Vec<Device>,
    pub switch: Switch,
    /// To be created; `None` if it is the root.
    pub cwd: Option<CString>,
    pub readonly_rootfs: bool,
    /// `None`: it is left alone.
    pub umask: Option<u32>,
    pub readonly_paths: Vec<IndexedPath>,
    pub masked_paths: Vec<IndexedPath>,
    /// By `HookKind`.
    pub hooks: [Vec<Hook>; HookKind::ALL.len()],
    /// What covers directories: an empty tmpfs as small as the kernel lets it be, of one inode, or of two where some of
    /// Ubuntu's kernels add one.
    pub empty: [Filesystem; 2],
    /// rfs_readonly_paths and rfs_mask_paths are the caller's to call.
    pub separate_masks: bool,
    /// Made in the namespace in which it is carried out.
    pub planned_inside: bool,
    /// The caller has not made the mount namespace: rfs_prepare does.
    pub own_namespace: bool,
    pub user_namespace: bool,
    /// All mounts are made by mount(2), also where there is more.
    pub classic_mount: bool,
    /// What works, but probably not as meant.
    pub warnings: Vec<CString>,
}

impl Plan {
    /// The index of a mount, as the interface takes it.
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

    /// What the namespace's mounts become at the start, as MS_*. Unless told otherwise slaves: these
    /// still follow the host's unmounts.
    pub fn start_propagation(&self) -> u64 {
        self.propagation.unwrap_or(flags::MS_SLAVE | flags::MS_REC)
    }
}

#[derive(Debug)]
pub struct Rootfs {
    /// On the host; if `fd` is given, only its name.
    pub path: CString,
    pub fd: Option<RawFd>,
    /// It must be there when the plan is made.
    pub is_checked: bool,
    /// It is a new tmpfs.
    pub tmpfs: Option<Filesystem>,
    pub idmap: Option<Idmap>,
    /// The host's side may be asked for it if it can't be opened.
    pub ask_if_unreachable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    PivotRoot,
    /// MS_MOVE and chroot.
    Move,
    /// chroot alone: there is no mount namespace of its own.
    Chroot,
    /// None: the root stays.
    Stay,
}

#[derive(Debug)]
pub struct IndexedPath {
    /// In the configuration.
    pub index: usize,
    pub path: CString,
}

#[derive(Debug)]
pub struct Mount {
    pub index: usize,
    /// Absolute, in the container, without ".." and doubled slashes.
    pub destination: CString,
    pub kind: Kind,
    /// What is made if the mount point is missing; `None`: what the mount's root is.
    pub create: Option<Create>,
    /// It goes below /proc: only what lies in the container's procfs may.
    pub below_proc: proc::Below,
    /// The mount point must exist, and may be a symbolic link.
    pub destination_nofollow: bool,
    /// The host's side makes it: RFS_MOUNT_FROM_HOST.
    pub from_host: bool,
    /// A failure is passed over, with a warning.
    pub optional: bool,
    /// Read-only only in finalize: things are still to be made in it.
    pub readonly_later: bool,
    /// The directory it lies in is a new tmpfs of this plan, so that the mount point is surely missing:
    /// a hint that saves a look-up.
    pub surely_missing: bool,
    /// For the mount and all below it, before it is attached.
    pub recursive: Option<Change>,
    /// MS_* in turn.
    pub propagation: Vec<u64>,
    /// Attaching under a shared mount makes this one shared: the propagation must be set once more.
    pub below_shared: bool,
    /// It is found again by its id: something else of this plan lies below (/dev's files, a device, a read-only or
    /// masked path), or it becomes read-only later.
    pub is_recognised: bool,
}

impl Mount {
    /// It becomes the root that later mounts lie on.
    pub fn is_on_root(&self) -> bool {
        self.destination.as_c_str() == c"/"
    }

    /// It is no mount, but a step that makes a file.
    pub fn is_made(&self) -> bool {
        matches!(self.kind, Kind::Make(_))
    }

    pub fn is_on_dev(&self) -> bool {
        self.destination.as_c_str() == c"/dev" && !self.is_made()
    }

    /// On /dev: a bind, or the one devtmpfs of the machine, belongs to the host, too.
    pub fn brings_foreign_dev(&self) -> bool {
        match &self.kind {
            Kind::Bind(_) | Kind::Remount(_) => true,
            Kind::Filesystem(it) => it.fstype.as_c_str() == c"devtmpfs",
            Kind::Cgroup(_) | Kind::Make(_) => false,
        }
    }

    /// It is attached with a mapping of ids.
    pub fn is_idmapped(&self) -> bool {
        match &self.kind {
            Kind::Filesystem(it) => it.idmap.is_some(),
            Kind::Bind(it) => it.idmap.is_some(),
            Kind::Remount(_) | Kind::Cgroup(_) | Kind::Make(_) => false,
        }
    }

    /// What is left of a path below the destination: empty, or from a slash on. `None`: it lies elsewhere.
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

    /// Its source is a descriptor of the caller's.
    pub fn takes_descriptor(&self) -> bool {
        matches!(&self.kind, Kind::Bind(bind) if bind.source_fd.is_some())
    }
}

/// What is made where a mount point is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// It must exist.
    Nothing,
    Shape(Shape),
}

#[derive(Debug)]
pub enum Kind {
    Filesystem(Filesystem),
    Bind(Bind),
    /// What is mounted there already gets other flags: mount(2), MS_REMOUNT | MS_BIND.
    Remount(BindChange),
    Cgroup(Box<Cgroup>),
    Make(Make),
}

/// A step between the mounts: a directory, file or link is made, or what is there changes.
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
    /// With its target.
    Link(CString),
    Existing,
}

/// A mount with a superblock of its own.
#[derive(Debug)]
pub struct Filesystem {
    pub fstype: CString,
    pub source: CString,
    pub parameters: Vec<Parameter>,
    /// MOUNT_ATTR_*.
    pub attributes: u64,
    /// No component of the target may be a symbolic link: proc and sysfs.
    pub plain_target: bool,
    /// A tmpfs without a mode takes that of a directory that was there before.
    pub copy_mode: bool,
    /// A tmpfs that begins with what it covers.
    pub copy_up: Option<CopyUp>,
    /// An SELinux label for the root inode, where the file system takes none as a parameter.
    pub root_label: Option<CString>,
    pub idmap: Option<Idmap>,
    /// fsconfig(2) can't express all of it: mount(2) makes it.
    pub needs_mount2: bool,
    /// With these parameters instead fsconfig(2) can, if the kernel's overlay takes its lower directories one by one.
    pub layers: Option<Vec<Parameter>>,
    /// What is bound if the kernel refuses a new one with EPERM, as RFS_OPTION_SYSFS_FROM_HOST asks for.
    pub instead: Option<Instead>,
}

/// The host's sysfs, in a user namespace that may not mount one.
#[derive(Debug)]
pub struct Instead {
    pub source: CString,
    /// For it and all that is mounted below.
    pub change: Change,
    /// The cgroups below are covered: no mount of the plan is made there.
    pub hides_cgroup: bool,
}

/// What of a directory's own attributes its copy gets; a tmpfs's root keeps what a parameter gave it.
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

/// Parameters of a superblock, in the order in which they are set.
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
    /// Decides how it is made.
    fn choose_calls(&mut self) -> Result<()> {
        let is_overlay = self.fstype.as_c_str() == c"overlay";
        // Before Linux 6.5 an overlay's directory may not have a comma in its name with fsconfig(2):
        // legacy_parse_param() in fs/fs_context.c.
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

    /// fsconfig(2) can't take all of it.
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
    /// On the host; if `source_fd` is given, only its name.
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
    /// The host's side may be asked for a source that can't be opened.
    pub ask_if_unreachable: bool,
}

impl Bind {
    /// By path, and not in the container.
    fn is_itself_below_proc(&self, destination: &CStr) -> bool {
        let by_path = self.source_fd.is_none() && self.idmap.is_none() && !self.relative;
        by_path
            && proc::target(destination.to_bytes()) != proc::Target::Proc
            && destination.to_bytes().starts_with(b"/proc/")
            && self.source.as_c_str() == destination
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Follow,
    /// Bound itself.
    Bind,
    /// Made anew in the container.
    Copy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idmap {
    /// With the mounts below.
    pub recursive: bool,
    pub mappings: Ids,
}

/// Whose mappings an idmapped mount has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Those of the container's user namespace.
    Containers,
    /// Its own.
    Own(Mappings),
    /// Those of a user namespace, by a descriptor of the caller's on the host's side.
    Namespace(RawFd),
}

/// As /proc/PID/uid_map and gid_map take them: user_namespaces(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mappings {
    pub uids: Vec<u8>,
    pub gids: Vec<u8>,
}

/// Where every host has its cgroups: cgroups(7).
pub const CGROUP_MOUNTPOINT: &CStr = c"/sys/fs/cgroup";

/// Which of the host's hierarchies a cgroup mount shows.
#[derive(Debug)]
pub enum Hierarchies {
    /// cgroup2 where the host has it alone, otherwise all of v1.
    All,
    /// cgroup2, also beside v1.
    Unified,
    /// One of v1, by its controllers or name: "cpu,cpuacct", "name=systemd".
    One(CString),
}

#[derive(Debug)]
pub struct Cgroup {
    pub hierarchies: Hierarchies,
    /// cgroup2, where the host has it alone.
    pub unified: Filesystem,
    /// The container's cgroup2 directory on the host, bound where cgroup2 may not be mounted. `None`: the caller has
    /// not told it.
    pub path: Option<CString>,
    /// For what is bound.
    pub change: Option<BindChange>,
    /// For the root of the v1 hierarchies.
    pub tmpfs: Filesystem,
    /// MOUNT_ATTR_* of a v1 hierarchy in the container's own cgroup namespace.
    pub hierarchy: u64,
    pub namespace: bool,
    /// It was asked for by the type cgroup2: v1 hierarchies don't do.
    pub is_unified: bool,
    /// What can't be mounted without root is masked.
    pub mask_if_missing: bool,
}

#[derive(Debug)]
pub struct Device {
    /// `None`: one of the default devices.
    pub index: Option<usize>,
    /// Absolute, in the container.
    pub path: CString,
    /// `path` in two.
    pub directory: CString,
    pub name: CString,
    /// S_IFBLK, S_IFCHR or S_IFIFO, with permission bits.
    pub mode: u32,
    pub major: u32,
    pub minor: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug)]
pub struct Hook {
    /// Absolute, where the hook runs.
    pub path: CString,
    /// Never empty.
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub timeout: Option<Duration>,
}
