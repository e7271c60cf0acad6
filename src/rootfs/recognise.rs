// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks that a path leads to the mount that the plan expects there. Somebody who can write to the image may make
//! links in it and rename mount points. So a mount is recognised by its id.

use core::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::container::Container;
use crate::error::{Error, Result};
use crate::explain::{self, Wanted};
use crate::mount::status_of;
use crate::plan::Mount;
use crate::sys::mount::status;
use crate::sys::resolve::Root;

/// Demands that the directory in which `path` will be made lies on the rootfs or on the plan's own mount above that
/// path. In another mount the image would make the runtime write to a directory of the host.
pub fn check_directory(
    root: &Root<'_>,
    container: &Container,
    directory: impl AsFd,
    path: &CStr,
) -> Result<()> {
    let id = |fd| -> Result<u64> { Ok(status_of(fd, path.to_bytes())?.mount_id) };
    let found = id(directory.as_fd())?;
    let is_planned = container
        .mount_above(path)
        .is_some_and(|(_, planned, _)| planned == found);
    if is_planned || found == id(root.as_fd())? {
        return Ok(());
    }
    Err(Error::check(
        Errno::XDEV,
        "its directory leads into another mount, neither the rootfs nor one that was mounted there: nothing is made in \
         it; make it an ordinary directory in the image, or mount a tmpfs on it last",
    ))
}

/// Finds paths of the plan after rfs_prepare(). A path below a mount of the plan is looked up in that mount alone, so
/// that a rename in the image can't hide it.
pub struct Places<'a> {
    pub root: &'a Root<'a>,
    container: &'a Container,
    /// The mount that the last path lay in, with its id.
    last: Option<(u64, OwnedFd)>,
}

impl<'a> Places<'a> {
    pub fn new(root: &'a Root<'a>, container: &'a Container) -> Self {
        Places {
            root,
            container,
            last: None,
        }
    }

    /// Opens a path. `None` if no file is there.
    pub fn locate(&mut self, path: &CStr) -> Result<Option<OwnedFd>> {
        let in_root = || in_root(self.root, path);
        let Some((mount, id, below)) = self.container.mount_above(path) else {
            return in_root();
        };
        let last = self.last.take().filter(|(last, _)| *last == id);
        let (_, there) = match last {
            Some(last) => self.last.insert(last),
            None => self.last.insert((id, find(self.root, mount, id)?)),
        };
        match Root::new(there.as_fd()).open_plain(below, OFlags::PATH) {
            // Links in the rootfs may lead anywhere in the container.
            Err(Errno::LOOP) => in_root(),
            opened => found(opened, self.root, path),
        }
    }
}

/// Opens a path that may have links, which lead anywhere in the container but to its root.
fn in_root(root: &Root<'_>, path: &CStr) -> Result<Option<OwnedFd>> {
    match root.open_plain(path, OFlags::PATH) {
        Err(Errno::LOOP) => {}
        opened => return found(opened, root, path),
    }
    let Some(there) = found(root.open(path, OFlags::PATH), root, path)? else {
        return Ok(None);
    };
    let identity = |fd| -> Result<_> {
        let it = status_of(fd, path.to_bytes())?;
        Ok((it.mount_id, it.inode))
    };
    if identity(there.as_fd())? == identity(root.as_fd())? {
        return Err(Error::invalid(
            "its links lead to the container's root itself, which can't be covered",
        ));
    }
    Ok(Some(there))
}

fn find(root: &Root<'_>, mount: &Mount, id: u64) -> Result<OwnedFd> {
    let there = root.open(&mount.destination, OFlags::PATH | OFlags::DIRECTORY);
    let is_it = |fd: &OwnedFd| status(fd, c"").is_ok_and(|it| it.mount_id == id);
    there.ok().filter(is_it).ok_or_else(|| {
        Error::check(
            Errno::XDEV,
            format_args!(
                "mounts[{}], which it lies in, is no longer at its destination: the rootfs was changed since \
                    rfs_prepare()",
                mount.index
            ),
        )
    })
}

fn found(
    opened: rustix::io::Result<OwnedFd>,
    root: &Root<'_>,
    path: &CStr,
) -> Result<Option<OwnedFd>> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => {
            let error = Error::system(errno, "openat2").on(path.to_bytes());
            let base = explain::Base::Inside(*root);
            Err(explain::look_up(
                error,
                base,
                path.to_bytes(),
                Wanted::Anything,
            ))
        }
    }
}
