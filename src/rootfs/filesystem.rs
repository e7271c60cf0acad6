// SPDX-License-Identifier: MIT OR Apache-2.0
//! A mount with a superblock of its own.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::callbacks::Level;
use super::complete::{attach, attach_complete, change_bind};
use super::copy_up::copy_up;
use super::target::{self, Target};
use super::{Context, relabel, source};
use crate::error::{During, Error, Result};
use crate::mount::{NewSuperblock, Source};
use crate::plan::{Bind, Filesystem, Mount, Shape, proc};
use crate::sys::mount::status;
use crate::sys::path::{ShortString, of_descriptor};
use crate::text::Quoted;

/// Gives the root of the mount.
pub fn make(cx: &Context<'_>, mount: &Mount, wanted: &Filesystem) -> Result<OwnedFd> {
    let target = if wanted.plain_target {
        target::plain_directory(&cx.root(), &mount.destination)?
    } else {
        target::of_mount(&cx.root(), mount, Shape::Directory)?
    };
    if target.is_proc && wanted.fstype.as_c_str() != c"proc" {
        return Err(Error::invalid(proc::NOT_PROCFS));
    }
    if mount.from_host {
        let tree = source::filesystem_from_host(cx, mount, wanted)?;
        return attach_complete(cx, mount, tree, &target);
    }
    let covered = if wanted.copy_mode && target.existed {
        Some(mode_of(&target)?)
    } else {
        None
    };
    let mode = covered.map(|mode| ShortString::format(format_args!("{mode:04o}")));
    let tree = if wanted.idmap.is_some() {
        let tree = source::filesystem_from_host(cx, mount, wanted)?;
        if let Some(mode) = covered {
            rustix::fs::chmod(&*of_descriptor(&tree), Mode::from_raw_mode(mode))
                .during("chmod", tree.name())?;
        }
        tree
    } else {
        let new = NewSuperblock {
            mode: mode.as_deref(),
            ..wanted.superblock()
        };
        match (cx.api.superblock(&new), &wanted.instead) {
            (Err(error), Some(instead)) if error.errno == Errno::PERM => {
                return bind_instead(cx, mount, instead, &target, &error);
            }
            (tree, _) => tree?,
        }
    };
    if let Some(root) = wanted.copy_up.filter(|_| target.existed) {
        copy_up(target.as_fd(), tree.as_fd(), root)?;
    }
    if let Some(label) = &wanted.root_label {
        relabel::label(tree.as_fd(), label)?;
    }
    attach(cx, mount, tree, &target)
}

fn bind_instead(
    cx: &Context<'_>,
    mount: &Mount,
    instead: &Bind,
    target: &Target<'_>,
    error: &Error,
) -> Result<OwnedFd> {
    let source = instead.source.as_c_str();
    cx.log(
        Level::Debug,
        format_args!(
            "mounts[{}]: a new one can't be mounted here, and {} is bound: {error}",
            mount.index,
            Quoted(source.to_bytes())
        ),
    );
    let path = Source::Path {
        path: source,
        follow: true,
    };
    let tree = cx.api.clone(path, instead.recursive, source.to_bytes())?;
    if let Some(wanted) = &instead.change {
        change_bind(cx, mount, &tree, wanted, tree.name())?;
    }
    attach(cx, mount, tree, target)
}

/// The permission bits of what a tmpfs will cover.
fn mode_of(target: &Target<'_>) -> Result<u32> {
    Ok(status(target, c"").during("statx", b"")?.mode & 0o7777)
}
