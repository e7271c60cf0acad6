// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last steps of a mount: the attributes of the mounts below it, its propagation, and attaching it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::Context;
use super::callbacks::Level;
use crate::error::{Error, Result};
use crate::mount::attributes::AttributeNames;
use crate::mount::status_of;
use crate::mount::{MountApi, Tree, unmount};
use crate::plan::Mount;
use crate::plan::attributes::BindChange;
use crate::sys::mount::is_idmapped;

/// Completes a mount that nobody can see yet, and attaches it. Returns its root.
pub fn attach(
    cx: &Context<'_>,
    mount: &Mount,
    tree: Tree<'_>,
    target: impl AsFd,
) -> Result<OwnedFd> {
    change_all(cx, mount, &tree, tree.name())?;
    attach_complete(cx, mount, tree, target)
}

/// Attaches a complete mount, and returns its root. If a later step fails, the mount is unmounted again.
pub fn attach_complete(
    cx: &Context<'_>,
    mount: &Mount,
    mut tree: Tree<'_>,
    target: impl AsFd,
) -> Result<OwnedFd> {
    tree.attach(target)?;
    let name = tree.name();
    let completed = finish(cx.api, mount, &tree);
    let fd = tree.into_fd();
    let completed = completed.and_then(|()| remember(cx, mount, &fd, name));
    match completed {
        Ok(()) => Ok(fd),
        Err(error) => {
            // If this fails too, the first error still tells why the mount is wrong.
            let _ = unmount(&fd);
            Err(error)
        }
    }
}

/// The steps that are possible only once a mount is attached.
pub fn finish(api: &MountApi, mount: &Mount, tree: impl AsFd) -> Result<()> {
    // A mount that is attached under a shared mount becomes shared.
    if mount.below_shared {
        set_propagation(api, mount, &tree)?;
    }
    if mount.is_idmapped() {
        check_idmapped(tree)?;
    }
    Ok(())
}

/// The mounts of cgroup v1 are several. The first is the one at the destination.
fn remember(cx: &Context<'_>, mount: &Mount, fd: impl AsFd, name: &[u8]) -> Result<()> {
    if mount.is_recognised && cx.container.mount_id(mount) == 0 {
        let attached = status_of(fd, name)?;
        cx.container.set_mount_id(mount, attached.mount_id);
    }
    Ok(())
}

/// Sets the attributes of all mounts below, and the propagation.
pub fn change_all(cx: &Context<'_>, mount: &Mount, fd: impl AsFd, name: &[u8]) -> Result<()> {
    if let Some(recursive) = mount.recursive {
        cx.api.change_recursively(&fd, recursive, name)?;
    }
    set_propagation(cx.api, mount, fd)
}

pub fn set_propagation(api: &MountApi, mount: &Mount, fd: impl AsFd) -> Result<()> {
    let mut all = mount.propagation.iter();
    all.try_for_each(|&flags| api.set_propagation(&fd, flags))
}

/// Sets a bind's own flags, and logs the flags that are not as they were asked for.
pub fn change_bind(
    cx: &Context<'_>,
    mount: &Mount,
    fd: impl AsFd,
    wanted: &BindChange,
    name: &[u8],
) -> Result<()> {
    match cx.api.change_bind(fd, wanted, name)? {
        Some(inherited) if inherited.kept != 0 => cx.log(
            Level::Warning,
            format_args!(
                "mounts[{}]: the source's attributes are locked, and stay against the options: {}",
                mount.index,
                AttributeNames(inherited.kept)
            ),
        ),
        Some(inherited) => cx.log(
            Level::Debug,
            format_args!(
                "mounts[{}]: the source's attributes are locked, and inherited: {}",
                mount.index,
                AttributeNames(inherited.change.set)
            ),
        ),
        None => {}
    }
    Ok(())
}

/// The kernel tells this only for an attached mount.
pub fn check_idmapped(tree: impl AsFd) -> Result<()> {
    if is_idmapped(tree) != Some(false) {
        return Ok(());
    }
    Err(Error::check(
        Errno::INVAL,
        "the mountfd callback returned a mount that is not idmapped",
    ))
}
