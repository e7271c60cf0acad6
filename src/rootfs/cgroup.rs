// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the "cgroup" mount: cgroup2 if the host has nothing else, the v1 hierarchies otherwise.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::callbacks::Level;
use super::complete::{attach, change_bind};
use super::hierarchies::{self, Hierarchy, discover};
use super::mountinfo;
use super::{Context, filesystem, masks, target};
use crate::error::{During, Error, Result};
use crate::mount::{MountApi, NewSuperblock, Source};
use crate::plan::{CGROUP_MOUNTPOINT, Cgroup, Hierarchies as Asked, Mount, Parameters, Shape};
use crate::sys::fd::{DIRECTORY, open};
use crate::sys::mount::{CGROUP2, FsType};
use crate::sys::path::{Name, PathBuf, components};
use crate::text::Quoted;

const MEMBERSHIP: &str = "/proc/self/cgroup";

pub fn mount(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    if wanted.is_unified {
        return unified(cx, mount, wanted);
    }
    match &wanted.hierarchies {
        Asked::All => {}
        Asked::Unified => return unified(cx, mount, wanted),
        Asked::One(controllers) => return one(cx, mount, wanted, controllers),
    }
    match rustix::fs::statfs(CGROUP_MOUNTPOINT) {
        Ok(it) if FsType(it.f_type as u32) == CGROUP2 => unified(cx, mount, wanted),
        Ok(_) => hierarchies(cx, mount, wanted),
        Err(_) if wanted.mask_if_missing => hide(cx, mount),
        Err(errno) => Err(Error::system(errno, "statfs")
            .on(CGROUP_MOUNTPOINT.to_bytes())
            .explain("the host has no cgroups mounted there")),
    }
}

/// Whether the host has cgroup2 alone at the place from which the container's is taken.
pub fn is_unified_alone() -> bool {
    rustix::fs::statfs(CGROUP_MOUNTPOINT).is_ok_and(|it| FsType(it.f_type as u32) == CGROUP2)
}

/// Masks the mount point for a rootless runtime that can't mount cgroup2, because the host's hierarchy below must not
/// stay writable (CVE-2023-25809).
fn hide(cx: &Context<'_>, mount: &Mount) -> Result<()> {
    let target = target::of_mount(&cx.root(), mount, Shape::Directory)?;
    masks::hide_directory(cx.api, target.as_fd(), cx.plan).map(drop)
}

/// Binds the host's hierarchy. The kernel answers EPERM or EBUSY to a new cgroup2 in a user namespace without a
/// cgroup namespace of its own.
fn unified(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    let target = target::of_mount(&cx.root(), mount, Shape::Directory)?;
    let error = match cx.api.superblock(&wanted.unified.superblock()) {
        Ok(tree) => return attach(cx, mount, tree, &target).map(drop),
        Err(error) if matches!(error.errno, Errno::PERM | Errno::BUSY) => error,
        Err(error) => return Err(error),
    };
    let own;
    let source = match wanted.path.as_deref() {
        Some(path) => path,
        None => {
            own = own_directory(wanted)?;
            own.as_c_str()
        }
    };
    cx.log(
        Level::Debug,
        format_args!(
            "mounts[{}]: cgroup2 can't be mounted here, and {} is bound: {error}",
            mount.index,
            Quoted(source.to_bytes())
        ),
    );
    match bind(cx, mount, wanted, source, false, target.as_fd()) {
        Err(error) if error.errno == Errno::NOENT && wanted.mask_if_missing => {
            masks::hide_directory(cx.api, target.as_fd(), cx.plan).map(drop)
        }
        result => result,
    }
}

/// The directory of this process's cgroup, which the caller knows only after the clone. It is the whole hierarchy if
/// the container has no cgroup namespace, or if only the namespace's root is visible.
fn own_directory(wanted: &Cgroup) -> Result<PathBuf> {
    let mut path = match wanted.hierarchies {
        Asked::Unified => unified_mountpoint()?,
        _ => PathBuf::new(CGROUP_MOUNTPOINT.to_bytes()).during("mmap", b"")?,
    };
    if !wanted.namespace {
        return Ok(path);
    }
    let text = mountinfo::read_file(MEMBERSHIP)?;
    let Some(own) = hierarchies::unified(&text) else {
        return Ok(path);
    };
    for component in components(own) {
        path.push(component).during("open_tree", own)?;
    }
    Ok(path)
}

/// The place at which the host has cgroup2, alone or beside v1.
fn unified_mountpoint() -> Result<PathBuf> {
    let mounts = mountinfo::read_file("/proc/self/mountinfo")?;
    let mut all = mountinfo::entries(&mounts).filter(|mount| mount.fstype == b"cgroup2");
    let Some(first) = all.next() else {
        return Err(not_there(
            "options: \"unified\", but the host has no cgroup2 mounted",
        ));
    };
    first.unescaped_mountpoint().during("mmap", b"")
}

fn not_there(sentence: &'static str) -> Error {
    Error::check(Errno::NODEV, sentence)
}

/// Mounts one v1 hierarchy at the destination itself.
fn one(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup, controllers: &CStr) -> Result<()> {
    let own = mountinfo::read_file(MEMBERSHIP)?;
    let mounts = mountinfo::read_file("/proc/self/mountinfo")?;
    let found = discover(&own, &mounts).find(|it| has_all(it.controllers, controllers.to_bytes()));
    let Some(hierarchy) = found else {
        return Err(not_there(
            "the host has no hierarchy of cgroup v1 with these controllers mounted that this process is in",
        ));
    };
    let target = target::of_mount(&cx.root(), mount, Shape::Directory)?;
    attach_hierarchy(cx, mount, wanted, &hierarchy, target.as_fd())
}

/// Whether a hierarchy has all wanted controllers.
fn has_all(controllers: &[u8], wanted: &[u8]) -> bool {
    let mut wanted = wanted.split(|&b| b == b',');
    wanted.all(|wanted| controllers.split(|&b| b == b',').any(|it| it == wanted))
}

fn bind(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Cgroup,
    source: &CStr,
    recursive: bool,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let path = Source::Path {
        path: source,
        follow: true,
    };
    // The name is borrowed separately, because it is the name of a source that may be made here.
    let api: &MountApi = cx.api;
    let tree = api.clone(path, recursive, source.to_bytes())?;
    if let Some(change) = &wanted.change {
        change_bind(cx, mount, &tree, change, tree.name())?;
    }
    attach(cx, mount, tree, target).map(drop)
}

/// Makes a tmpfs with one mount for each hierarchy, and a link for each controller that shares one.
fn hierarchies(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    let own = mountinfo::read_file(MEMBERSHIP)?;
    let mounts = mountinfo::read_file("/proc/self/mountinfo")?;
    if discover(&own, &mounts).next().is_none() {
        if wanted.mask_if_missing {
            return hide(cx, mount);
        }
        return Err(Error::check(
            Errno::NODEV,
            "the host has no cgroup hierarchy mounted that this process is in",
        ));
    }
    let tmpfs = filesystem::make(cx, mount, &wanted.tmpfs)?;
    let mut all = discover(&own, &mounts);
    all.try_for_each(|hierarchy| add(cx, mount, wanted, &tmpfs, &hierarchy))
        .inspect_err(|_| {
            // An incomplete mount must not stay. If this fails too, the first error tells why.
            let _ = crate::mount::unmount(&tmpfs);
        })
}

fn add(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Cgroup,
    tmpfs: &OwnedFd,
    hierarchy: &Hierarchy<'_>,
) -> Result<()> {
    let mountpoint = hierarchy.mountpoint().during("mmap", b"")?;
    let path = mountpoint.as_c_str().to_bytes();
    let name = components(path).last().unwrap_or_default();
    let directory = Name::new(name).during("mkdirat", name)?;
    rustix::fs::mkdirat(tmpfs, &*directory, Mode::from_raw_mode(0o755)).during("mkdirat", name)?;
    let target = open(tmpfs, &*directory, DIRECTORY).during("openat", name)?;
    attach_hierarchy(cx, mount, wanted, hierarchy, target.as_fd())?;
    for controller in name
        .split(|&b| b == b',')
        .filter(|controller| *controller != name)
    {
        let link = Name::new(controller).during("symlinkat", controller)?;
        match rustix::fs::symlinkat(&*directory, tmpfs, &*link) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::system(errno, "symlinkat").on(controller)),
        }
    }
    Ok(())
}

fn attach_hierarchy(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Cgroup,
    hierarchy: &Hierarchy<'_>,
    target: BorrowedFd<'_>,
) -> Result<()> {
    if wanted.namespace {
        // In a cgroup namespace a new mount of a hierarchy begins at the container's own cgroup.
        let controllers = Controllers(hierarchy.controllers);
        let source = Name::new(controllers.named().unwrap_or(b"cgroup"))
            .during("fsconfig", hierarchy.controllers)?;
        let api: &MountApi = cx.api;
        let tree = api.superblock(&NewSuperblock {
            fstype: c"cgroup",
            source: &source,
            parameters: &controllers,
            mode: None,
            attributes: wanted.hierarchy,
            needs_mount2: false,
            layers: None,
        })?;
        return attach(cx, mount, tree, target).map(drop);
    }
    let source = hierarchy.own_directory(hierarchy.mountpoint().during("mmap", b"")?)?;
    bind(cx, mount, wanted, source.as_c_str(), true, target)
}

/// Makes the parameters of a v1 hierarchy from "cpu,cpuacct" or "name=systemd".
struct Controllers<'a>(&'a [u8]);

impl<'a> Controllers<'a> {
    fn named(&self) -> Option<&'a [u8]> {
        self.0.strip_prefix(b"name=")
    }
}

impl Parameters for Controllers<'_> {
    fn each(&self, set: &mut dyn FnMut(&CStr, Option<&CStr>) -> Result<()>) -> Result<()> {
        if let Some(name) = self.named() {
            set(c"none", None)?;
            return set(c"name", Some(&*Name::new(name).during("fsconfig", name)?));
        }
        self.0.split(|&b| b == b',').try_for_each(|controller| {
            set(&Name::new(controller).during("fsconfig", controller)?, None)
        })
    }
}
