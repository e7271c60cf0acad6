// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a bind: a copy of a mount of the host.

use core::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::callbacks::Level;
use super::complete::{attach, attach_complete, change_bind};
use super::target::{self, Target};
use super::{Context, relabel, source};
use crate::error::{During, Error, Result};
use crate::mount::status_of;
use crate::mount::{Tree, open_source};
use crate::plan::{Bind, Link, Mount, Shape, proc};
use crate::sys::fd::{ENTRY, open};
use crate::sys::mount::{PROC, PROC_ROOT_INO, Status, fs_type};
use crate::sys::page::Page;
use crate::sys::path::{Name, split};
use crate::sys::resolve::{Root, read_link};
use crate::text::Quoted;

/// Returns the root of the mount. `None` if a link was made instead.
pub fn mount(cx: &Context<'_>, mount: &Mount, wanted: &Bind) -> Result<Option<OwnedFd>> {
    if wanted.link == Link::Copy && copy_link(cx, mount, wanted)? {
        return Ok(None);
    }
    let tree = source::of_bind(cx, mount, wanted)?;
    let root = status_of(&tree, tree.name())?;
    let target = target::of_mount(&cx.root(), mount, Shape::of(&root))?;
    if target.is_below_proc {
        check_below_proc(&cx.root(), mount, &tree, tree.name(), &root, &target)?;
    }
    if target.is_proc {
        check_procfs(cx, mount, wanted, &tree, &root)?;
    }
    if mount.from_host {
        return attach_complete(cx, mount, tree, &target).map(Some);
    }
    // Files are relabelled as late as possible, because the host keeps the labels, but before the mount becomes
    // read-only.
    if let Some(label) = &wanted.relabel {
        relabel::relabel(tree.as_fd(), label)?;
    }
    if let Some(wanted) = &wanted.change {
        change_bind(cx, mount, &tree, wanted, tree.name())?;
    }
    attach(cx, mount, tree, &target).map(Some)
}

/// Refuses mounts below /proc, except of files of the container's own procfs, or of a file on a file of it.
pub fn check_below_proc(
    container: &Root<'_>,
    mount: &Mount,
    tree: impl AsFd,
    name: &[u8],
    root: &Status,
    target: &Target<'_>,
) -> Result<()> {
    let proc = container
        .open_plain(c"/proc", OFlags::PATH | OFlags::DIRECTORY)
        .during("openat2", b"/proc")?;
    let containers = status_of(&proc, b"/proc")?;
    let is_own = |other: &Status| containers.file_system == other.file_system;
    let is_procfs =
        fs_type(&proc).during("fstatfs", b"/proc")? == PROC && containers.inode == PROC_ROOT_INO;
    if is_procfs && fs_type(tree).during("fstatfs", name)? == PROC && is_own(root) {
        return Ok(());
    }
    if mount.below_proc == proc::Below::OwnProcfs {
        return Err(Error::invalid(
            "below /proc only something of the container's own /proc may be bound, with \"relative\"",
        ));
    }
    let there = status_of(target, mount.destination.to_bytes())?;
    if is_procfs && is_own(&there) && !there.is_directory() && !root.is_directory() {
        return Ok(());
    }
    Err(Error::invalid(
        "below /proc only a file on a file, or something of the container's own /proc, may be bound \
         (RFS_OPTION_MOUNTS_BELOW_PROC)",
    ))
}

fn check_procfs(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Bind,
    tree: &Tree<'_>,
    root: &Status,
) -> Result<()> {
    if fs_type(tree).during("fstatfs", tree.name())? != PROC {
        return Err(Error::invalid(format_args!(
            "{}, but {} is in another file system",
            proc::NOT_PROCFS,
            Quoted(wanted.source.to_bytes())
        )));
    }
    if root.inode != PROC_ROOT_INO {
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

/// Carries out "copy-symlink": if the source is a link, the same link is made at the destination. False if the source
/// is no link and must be bound.
fn copy_link(cx: &Context<'_>, mount: &Mount, bind: &Bind) -> Result<bool> {
    let source = bind.source.as_bytes();
    let Ok(link) = open_source(&bind.source, false) else {
        // The bind will fail in the same way, and reports the error.
        return Ok(false);
    };
    let mut target = Page::zeroed().during("mmap", source)?;
    if read_link(link.as_fd(), &mut target)
        .during("readlinkat", source)?
        .is_none()
    {
        return Ok(false);
    }
    // The target is shorter than the buffer, which was all zero, so a NUL ends it.
    let target = CStr::from_bytes_until_nul(&*target).unwrap_or_default();
    let destination = mount.destination.as_bytes();
    let path = cx
        .root()
        .follow_directory(&mount.destination)
        .during("openat2", destination)?;
    let (directory, name) = split(path.as_c_str().to_bytes());
    let name = Name::new(name).during("symlinkat", destination)?;
    let directory = cx
        .root()
        .open_or_make(directory)
        .during("mkdirat", destination)?;
    match rustix::fs::symlinkat(target, &directory, &*name) {
        Err(Errno::EXIST) => {}
        result => return result.during("symlinkat", destination).map(|()| true),
    }
    let existing = open(&directory, &*name, ENTRY).during("openat", destination)?;
    let mut there = Page::zeroed().during("mmap", source)?;
    match read_link(existing.as_fd(), &mut there).during("readlinkat", destination)? {
        Some(length) if there[..length] == *target.to_bytes() => Ok(true),
        _ => Err(Error::check(
            Errno::EXIST,
            "with \"copy-symlink\" nothing else than the same link may be at the destination",
        )),
    }
}
