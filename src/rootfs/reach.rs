// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the container's root, for calls that may come before the switch or after it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;

use super::container::{Container, Reach};
use crate::error::{During, Error, Result};
use crate::mount::status_of;
use crate::sys::fd::{CallersFd, DIRECTORY, open};

pub enum ContainerRoot {
    /// The call comes in a callback of rfs_prepare().
    InCallback(CallersFd),
    Switched(OwnedFd),
}

impl AsFd for ContainerRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            ContainerRoot::InCallback(fd) => fd.as_fd(),
            ContainerRoot::Switched(fd) => fd.as_fd(),
        }
    }
}

impl ContainerRoot {
    /// `needs_dev` demands that /dev is filled.
    pub fn of(container: &Container, needs_dev: bool) -> Result<Self> {
        match container.reach()? {
            Reach::Callback { has_dev: false, .. } if needs_dev => Err(Error::invalid(
                "the container's /dev is not complete before RFS_POINT_MOUNTS_READY",
            )),
            Reach::Callback { root, .. } => {
                let root = CallersFd::new(root).during("fcntl", b"the rootfs")?;
                Ok(ContainerRoot::InCallback(root))
            }
            Reach::Switched => open_switched(container).map(ContainerRoot::Switched),
        }
    }
}

/// Opens "/", which must be the root that rfs_prepare() made. In another process that shares the container's memory
/// "/" is the host's.
pub fn open_switched(container: &Container) -> Result<OwnedFd> {
    let root = open(CWD, c"/", DIRECTORY).during("openat", b"/")?;
    if status_of(&root, b"/")?.mount_id != container.root_mount() {
        return Err(Error::invalid(
            "\"/\" is not the root that rfs_prepare() has made: this is another process, or the root was changed since",
        ));
    }
    Ok(root)
}
