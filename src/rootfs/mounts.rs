//! One mount: made detached, completed, then attached to its target.

use core::ffi::CStr;
use core::fmt::Write;
use std::os::fd::AsFd;

use rustix::fs::Mode as FileMode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Context;
use super::callbacks::Level;
use super::copy_up::copy_up;
use super::target::{self, Target};
use super::{cgroup, relabel, source};
use crate::detached::{Names, change_attributes, clone_source, superblock};
use crate::error::{During, Error, Object, Result, Text};
use crate::plan::attributes::BindChange;
use crate::plan::{Bind, Filesystem, Kind, Link, Mount, Shape, proc};
use crate::sys::fd::Fd;
use crate::sys::mount::{Attributes, Status, attach, is_idmapped, set_attributes, status};
use crate::sys::path::of_descriptor;

/// <linux/magic.h>
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// Only the root of a procfs has it: <linux/proc_fs.h>.
const PROC_ROOT_INO: u64 = 1;

pub fn mount(cx: &Context<'_>, mount: &Mount) -> Result<()> {
    match attempt(cx, mount) {
        Err(error) if mount.optional => {
            cx.state.pass_over(mount);
            let error = error.about(Object::Mount(mount.index), mount.destination.as_bytes());
            cx.log(
                Level::Warning,
                format_args!("optional, and passed over: {error}"),
            );
            Ok(())
        }
        result => result,
    }
}

fn attempt(cx: &Context<'_>, mount: &Mount) -> Result<()> {
    match &mount.kind {
        Kind::Filesystem(it) => filesystem(cx, mount, it),
        Kind::Bind(it) => bind(cx, mount, it),
        Kind::Remount(it) => remount(cx, mount, it),
        Kind::Cgroup(it) => cgroup::mount(cx, mount, it),
    }
}

/// A mount with a superblock of its own.
pub fn filesystem(cx: &Context<'_>, mount: &Mount, wanted: &Filesystem) -> Result<()> {
    let target = if wanted.plain_target {
        target::plain_directory(cx, &mount.destination)?
    } else {
        target::of_mount(cx, mount, Shape::Directory)?
    };
    if target.is_proc && wanted.fstype.as_c_str() != c"proc" {
        return Err(Error::invalid(proc::NOT_PROCFS));
    }
    let covered = if wanted.copy_mode && target.existed {
        Some(mode_of(&target)?)
    } else {
        None
    };
    let mode = covered.map(Mode::new);
    let detached = match &wanted.idmap {
        None => match (superblock(cx.fds, wanted, mode.as_deref()), &wanted.instead) {
            (Err(error), Some(instead)) if error.errno == Errno::PERM => {
                return bind_instead(cx, mount, instead, &target, &error);
            }
            (detached, _) => detached?,
        },
        Some(idmap) => {
            let detached = source::new_idmapped(cx, mount, wanted, idmap)?;
            if let Some(mode) = covered {
                let path = of_descriptor(detached.as_fd());
                rustix::fs::chmod(path.as_c_str(), FileMode::from_raw_mode(mode))
                    .during("chmod", b"")?;
            }
            detached
        }
    };
    if let Some(root) = wanted.copy_up.filter(|_| target.existed) {
        copy_up(target.as_fd(), detached.as_fd(), root)?;
    }
    finish(mount, &detached, &target)?;
    if wanted.idmap.is_some() {
        check_idmapped(&detached)?;
    }
    if let Some(label) = &wanted.root_label {
        relabel::label(detached.as_fd(), label)?;
    }
    Ok(())
}

fn bind_instead(
    cx: &Context<'_>,
    mount: &Mount,
    instead: &Bind,
    target: &Target<'_>,
    error: &Error,
) -> Result<()> {
    cx.log(
        Level::Debug,
        format_args!(
            "mounts[{}]: a new one can't be mounted here, and {:?} is bound: {error}",
            mount.index, instead.source
        ),
    );
    let tree = clone_source(cx.fds, instead).during("open_tree", instead.source.to_bytes())?;
    if let Some(wanted) = &instead.change {
        change(cx, mount, &tree, wanted)?;
    }
    finish(mount, &tree, target)
}

/// The permission bits of what a tmpfs will cover.
fn mode_of(target: &Target<'_>) -> Result<u32> {
    Ok(status(target, c"").during("statx", b"")?.mode & 0o7777)
}

/// As a tmpfs's parameter has them.
struct Mode([u8; 8]);

impl Mode {
    fn new(mode: u32) -> Self {
        let mut text = Text::<7>::new();
        let _ = write!(text, "{mode:04o}");
        let mut bytes = [0; 8];
        bytes[..text.as_bytes().len()].copy_from_slice(text.as_bytes());
        Mode(bytes)
    }
}

impl core::ops::Deref for Mode {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"0755")
    }
}

pub fn bind(cx: &Context<'_>, mount: &Mount, wanted: &Bind) -> Result<()> {
    if wanted.link == Link::Copy && source::copy_link(cx, mount, wanted)? {
        return Ok(());
    }
    let tree = source::open(cx, mount, wanted)?;
    let root = status(&tree, c"").during("statx", wanted.source.to_bytes())?;
    let shape = if root.is_directory() {
        Shape::Directory
    } else {
        Shape::File
    };
    let target = target::of_mount(cx, mount, shape)?;
    if target.is_proc {
        check_procfs(cx, mount, wanted, &tree, root.inode)?;
    }
    // Late, as the host keeps the labels; but a read-only mount takes none.
    if let Some(label) = &wanted.relabel {
        relabel::relabel(cx.fds, tree.as_fd(), label)?;
    }
    if let Some(wanted) = &wanted.change {
        change(cx, mount, &tree, wanted)?;
    }
    finish(mount, &tree, &target)?;
    if wanted.idmap.is_some() {
        check_idmapped(&tree)?;
    }
    Ok(())
}

/// The kernel tells it only of a mount that is attached.
pub fn check_idmapped(tree: &Fd<'_>) -> Result<()> {
    if is_idmapped(tree) != Some(false) {
        return Ok(());
    }
    // An optional one must not stay. If this fails, the container does not start all the same.
    let path = of_descriptor(tree.as_fd());
    let _ = rustix::mount::unmount(path.as_c_str(), rustix::mount::UnmountFlags::DETACH);
    Err(Error::invalid(
        "the mountfd callback returned a mount that is not idmapped",
    ))
}

/// Logs what is not as asked for.
fn change(cx: &Context<'_>, mount: &Mount, tree: &Fd<'_>, wanted: &BindChange) -> Result<()> {
    if let Some(inherited) = change_attributes(tree, wanted)? {
        cx.log(
            Level::Debug,
            format_args!(
                "mounts[{}]: the source's attributes are locked, and inherited: {}",
                mount.index,
                Names(inherited)
            ),
        );
    }
    Ok(())
}

/// Gives what is mounted at the destination other flags. mount(2) wants a mount's root for that.
fn remount(cx: &Context<'_>, mount: &Mount, wanted: &BindChange) -> Result<()> {
    let destination = mount.destination.to_bytes();
    let nothing_there = |errno| {
        Error::check(
            errno,
            "options: \"remount\", but nothing is mounted at the destination",
        )
    };
    let there = match cx.root.open(&mount.destination, OFlags::PATH) {
        Err(errno @ Errno::NOENT) => return Err(nothing_there(errno)),
        there => there.during("openat2", destination)?,
    };
    if !status(&there, c"")
        .during("statx", destination)?
        .is_mount_root
    {
        return Err(nothing_there(Errno::INVAL));
    }
    change(cx, mount, &there, wanted)?;
    complete(mount, &there)
}

fn check_procfs(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Bind,
    tree: &Fd<'_>,
    inode: u64,
) -> Result<()> {
    let filesystem = rustix::fs::fstatfs(tree).during("fstatfs", wanted.source.to_bytes())?;
    #[allow(clippy::useless_conversion)] // f_type has another width elsewhere.
    if i64::from(filesystem.f_type) != PROC_SUPER_MAGIC {
        return Err(Error::invalid(proc::NOT_PROCFS));
    }
    if inode != PROC_ROOT_INO {
        cx.log(
            Level::Warning,
            format_args!(
                "mounts[{}]: {:?}, which is bound on /proc, is in a procfs but is not its root",
                mount.index, wanted.source
            ),
        );
    }
    Ok(())
}

/// Completes a detached mount and attaches it.
pub fn finish(mount: &Mount, detached: &Fd<'_>, target: &Target<'_>) -> Result<()> {
    complete(mount, detached)?;
    attach(detached, target).map_err(|errno| explain_attach(errno, detached, target))?;
    if mount.below_shared {
        set_propagation(mount, detached)?;
    }
    Ok(())
}

/// What is asked for of all that is below, and the propagation.
fn complete(mount: &Mount, fd: &Fd<'_>) -> Result<()> {
    if let Some(recursive) = mount.recursive {
        set_attributes(fd, c"", true, &recursive.into()).during("mount_setattr", b"")?;
    }
    set_propagation(mount, fd)
}

/// move_mount(2) says EINVAL where mount(2) says ENOTDIR.
fn explain_attach(errno: Errno, detached: &Fd<'_>, target: &Target<'_>) -> Error {
    let is_directory = |status: rustix::io::Result<Status>| status.map(|it| it.is_directory()).ok();
    match (
        errno,
        is_directory(status(detached, c"")),
        is_directory(status(target, c"")),
    ) {
        (Errno::INVAL, Some(true), Some(false)) => Error::system(Errno::NOTDIR, "move_mount")
            .explain("what is mounted is a directory, but the destination is a file"),
        (Errno::INVAL, Some(false), Some(true)) => Error::system(Errno::NOTDIR, "move_mount")
            .explain("what is mounted is a file, but the destination is a directory"),
        _ => Error::system(errno, "move_mount"),
    }
}

fn set_propagation(mount: &Mount, detached: &Fd<'_>) -> Result<()> {
    for &flags in &mount.propagation {
        let attributes = Attributes::propagation(flags & !libc::MS_REC);
        set_attributes(detached, c"", flags & libc::MS_REC != 0, &attributes).during(
            "mount_setattr",
            crate::config::options::propagation_name(flags).as_bytes(),
        )?;
    }
    Ok(())
}
