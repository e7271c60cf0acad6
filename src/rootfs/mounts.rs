//! One mount: made detached, completed, then attached to its target.

use core::ffi::CStr;
use core::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::Mode as FileMode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Context;
use super::callbacks::Level;
use super::copy_up::copy_up;
use super::target::{self, Target};
use super::way::Tree;
use super::{cgroup, relabel, source};
use crate::detached::{self, AttributeNames};
use crate::error::{During, Error, Object, Result, Text};
use crate::plan::attributes::BindChange;
use crate::plan::{Bind, Filesystem, Kind, Link, Mount, Shape, proc};
use crate::sys::classic::{PROC_ROOT_INO, change_attributes, is_procfs};
use crate::sys::flags;
use crate::sys::mount::{Attributes, is_idmapped, status};
use crate::sys::path::of_descriptor;
use crate::text::Quoted;

pub fn mount(cx: &Context<'_>, mount: &Mount) -> Result<()> {
    match attempt(cx, mount) {
        Err(error) if mount.optional => {
            cx.container.pass_over(mount);
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
    let mut tree = match &wanted.idmap {
        None => match (
            cx.way.superblock(cx.fds, wanted, mode.as_deref()),
            &wanted.instead,
        ) {
            (Err(error), Some(instead)) if error.errno == Errno::PERM => {
                return bind_instead(cx, mount, instead, &target, &error);
            }
            (tree, _) => tree?,
        },
        Some(idmap) => {
            let tree = source::new_idmapped(cx, mount, wanted, idmap)?;
            if let Some(mode) = covered {
                let path = of_descriptor(tree.as_fd());
                rustix::fs::chmod(path.as_c_str(), FileMode::from_raw_mode(mode))
                    .during("chmod", b"")?;
            }
            tree
        }
    };
    if let Some(root) = wanted.copy_up.filter(|_| target.existed) {
        copy_up(target.as_fd(), tree.as_fd(), root)?;
    }
    finish(cx, mount, &mut tree, &target)?;
    if wanted.readonly_later {
        let made = status(&tree, c"").during("statx", b"")?;
        cx.container.set_mount_id(mount, made.mount_id);
    }
    if wanted.idmap.is_some() {
        check_idmapped(tree.as_fd())?;
    }
    if let Some(label) = &wanted.root_label {
        relabel::label(tree.as_fd(), label)?;
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
            "mounts[{}]: a new one can't be mounted here, and {} is bound: {error}",
            mount.index,
            Quoted(instead.source.to_bytes())
        ),
    );
    let cloned = cx.way.clone_source(cx.fds, instead);
    let mut tree = cloned.map_err(|error| error.on(instead.source.to_bytes()))?;
    if let Some(wanted) = &instead.change {
        change(cx, mount, tree.as_fd(), wanted)?;
    }
    finish(cx, mount, &mut tree, target)
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
    let mut tree = source::open(cx, mount, wanted)?;
    let root = status(&tree, c"").during("statx", wanted.source.to_bytes())?;
    let shape = if root.is_directory() {
        Shape::Directory
    } else {
        Shape::File
    };
    let target = target::of_mount(cx, mount, shape)?;
    if target.is_proc {
        check_procfs(cx, mount, wanted, tree.as_fd(), root.inode)?;
    }
    // Late, as the host keeps the labels; but a read-only mount takes none.
    if let Some(label) = &wanted.relabel {
        relabel::relabel(cx.fds, tree.as_fd(), label)?;
    }
    if let Some(wanted) = &wanted.change {
        change(cx, mount, tree.as_fd(), wanted)?;
    }
    finish(cx, mount, &mut tree, &target)?;
    if wanted.idmap.is_some() {
        check_idmapped(tree.as_fd())?;
    }
    Ok(())
}

/// The kernel tells it only of a mount that is attached.
pub fn check_idmapped(tree: BorrowedFd<'_>) -> Result<()> {
    if is_idmapped(tree) != Some(false) {
        return Ok(());
    }
    // An optional one must not stay. If this fails, the container does not start all the same.
    let path = of_descriptor(tree);
    let _ = rustix::mount::unmount(path.as_c_str(), rustix::mount::UnmountFlags::DETACH);
    Err(Error::invalid(
        "the mountfd callback returned a mount that is not idmapped",
    ))
}

/// Logs what is not as asked for.
fn change(
    cx: &Context<'_>,
    mount: &Mount,
    tree: BorrowedFd<'_>,
    wanted: &BindChange,
) -> Result<()> {
    if let Some(inherited) = detached::change_attributes(cx.way.names(), tree, wanted)? {
        cx.log(
            Level::Debug,
            format_args!(
                "mounts[{}]: the source's attributes are locked, and inherited: {}",
                mount.index,
                AttributeNames(inherited)
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
    change(cx, mount, there.as_fd(), wanted)?;
    complete(cx, mount, there.as_fd())
}

fn check_procfs(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Bind,
    tree: BorrowedFd<'_>,
    inode: u64,
) -> Result<()> {
    if !is_procfs(tree).during("fstatfs", wanted.source.to_bytes())? {
        return Err(Error::invalid(proc::NOT_PROCFS));
    }
    if inode != PROC_ROOT_INO {
        cx.log(
            Level::Warning,
            format_args!(
                "mounts[{}]: {}, which is bound on /proc, is in a procfs but is not its root",
                mount.index,
                Quoted(wanted.source.to_bytes())
            ),
        );
    }
    Ok(())
}

/// Completes a mount that nobody can see, and attaches it.
pub fn finish(
    cx: &Context<'_>,
    mount: &Mount,
    tree: &mut Tree<'_, '_>,
    target: &Target<'_>,
) -> Result<()> {
    complete(cx, mount, tree.as_fd())?;
    tree.attach(target)?;
    if mount.below_shared {
        set_propagation(cx, mount, tree.as_fd())?;
    }
    Ok(())
}

/// What is asked for of all that is below, and the propagation.
fn complete(cx: &Context<'_>, mount: &Mount, fd: BorrowedFd<'_>) -> Result<()> {
    if let Some(recursive) = mount.recursive {
        change_attributes(cx.way.names(), fd, true, &recursive.into()).map_err(
            |error| match error.errno {
                Errno::NOSYS => error
                    .explain("attributes of all mounts below take mount_setattr(2), of Linux 5.12"),
                Errno::PERM => {
                    error.explain("one of them may be locked on the source or on a mount below")
                }
                _ => error,
            },
        )?;
    }
    set_propagation(cx, mount, fd)
}

fn set_propagation(cx: &Context<'_>, mount: &Mount, fd: BorrowedFd<'_>) -> Result<()> {
    for &flags in &mount.propagation {
        let attributes = Attributes::propagation(flags & !flags::MS_REC);
        let recursive = flags & flags::MS_REC != 0;
        let name = crate::config::options::propagation_name(flags).as_bytes();
        change_attributes(cx.way.names(), fd, recursive, &attributes)
            .map_err(|error| error.on(name))?;
    }
    Ok(())
}
