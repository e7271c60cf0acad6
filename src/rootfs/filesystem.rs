// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a mount with a superblock of its own.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::callbacks::Level;
use super::complete::{attach, attach_complete};
use super::copy_up::copy_up;
use super::masks::hide_directory;
use super::target::{self, Target};
use super::{Context, relabel, source};
use crate::error::{During, Error, Result};
use crate::mount::status_of;
use crate::mount::{NewSuperblock, Source, unmount};
use crate::plan::{Filesystem, Instead, Mount, Shape, proc};
use crate::sys::fd::DIRECTORY;
use crate::sys::mount::Superblock;
use crate::sys::path::{ShortString, chmod};
use crate::sys::resolve::Root;
use crate::text::Quoted;

/// The kernel refuses it in mount_too_revealing() in fs/namespace.c and sysfs_init_fs_context() in fs/sysfs/mount.c.
const SYSFS_REFUSED: &str = "a new sysfs takes CAP_SYS_ADMIN in the user namespace that owns the network namespace, \
    and a complete sysfs that is visible: give the container a network namespace of its own, bind /sys, or set \
    RFS_OPTION_SYSFS_FROM_HOST";

/// Makes the mount and returns its root.
pub fn make(cx: &Context<'_>, mount: &Mount, wanted: &Filesystem) -> Result<OwnedFd> {
    let target = if wanted.plain_target {
        target::plain_directory(&cx.root(), mount)?
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
            chmod(&tree, mode).during("chmod", tree.name())?;
        }
        tree
    } else {
        let new = NewSuperblock {
            mode: mode.as_deref(),
            ..wanted.superblock()
        };
        match (cx.api.superblock(&new), &wanted.instead) {
            (Err(error), Some(instead)) if is_forbidden(&error) => {
                return bind_instead(cx, mount, instead, &target, &error);
            }
            (Err(error), None)
                if error.errno == Errno::PERM && wanted.fstype.as_c_str() == c"sysfs" =>
            {
                return Err(error.explain(SYSFS_REFUSED));
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

/// Binds the host's sysfs. The container must not write to it, nor to the cgroups below it (CVE-2023-25809).
fn bind_instead(
    cx: &Context<'_>,
    mount: &Mount,
    instead: &Instead,
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
    // The mounts below are locked to it, so they must come along.
    let tree = cx.api.clone(path, true, source.to_bytes())?;
    cx.api
        .change_recursively(&tree, instead.change, tree.name())?;
    let root = attach(cx, mount, tree, target)?;
    if instead.hides_cgroup {
        let hidden = match Root::new(root.as_fd()).open_plain(c"/fs/cgroup", DIRECTORY) {
            Err(Errno::NOENT) => Ok(()),
            cgroup => cgroup
                .during("openat2", b"/sys/fs/cgroup")
                .and_then(|cgroup| hide_directory(cx.api, cgroup.as_fd(), cx.plan).map(drop)),
        };
        hidden.inspect_err(|_| {
            // An incomplete mount must not stay. If this fails too, the first error tells why.
            let _ = unmount(&root);
        })?;
    }
    Ok(root)
}

/// Whether the kernel refuses to mount this file system here. A seccomp filter would refuse fsopen(2) for every type.
fn is_forbidden(error: &Error) -> bool {
    error.errno == Errno::PERM
        && (error.details().operation != "fsopen" || Superblock::new(c"tmpfs").is_ok())
}

/// The permission bits of the directory that a tmpfs will cover.
fn mode_of(target: &Target<'_>) -> Result<u32> {
    Ok(status_of(target, b"")?.mode & 0o7777)
}
