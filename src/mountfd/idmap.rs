// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the user namespace that has the mapping of an idmapped mount.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use libc::{CLONE_NEWNS, CLONE_NEWUSER};

use super::Wanted;
use super::lock::{LockNamespace, is_restricted};
use crate::error::{During, Error, Result};
use crate::plan::{Idmap, Ids, Plan};
use crate::sys::fd::CallersFd;
use crate::sys::userns;

/// The container's user namespace, and the user namespaces made for the mounts' own mappings. Equal mappings share
/// one.
pub struct Namespaces<'a> {
    containers: Option<OwnedFd>,
    /// The mount namespace in which paths are looked up. `None` is the caller's own.
    mounts: Option<CallersFd>,
    made: Vec<(&'a Ids, OwnedFd)>,
    /// The namespace in which mounts are locked. It is made when it is first needed.
    stage: Option<LockNamespace>,
}

impl<'a> Namespaces<'a> {
    /// `userns` is the caller's descriptor of the container's user namespace, and `mntns` of a mount namespace. -1
    /// means none.
    pub fn new(userns: RawFd, mntns: RawFd) -> Result<Self> {
        let containers = borrow(userns, "userns_fd", CLONE_NEWUSER)?;
        let containers = containers.map(CallersFd::duplicate).transpose();
        Ok(Namespaces {
            containers: containers.during("fcntl", b"userns_fd")?,
            mounts: borrow(mntns, "mntns_fd", CLONE_NEWNS)?,
            made: Vec::new(),
            stage: None,
        })
    }

    /// A copy of a mount whose flags the container's root can't clear. `None` if the mount has no such flags, if the
    /// container has no user namespace of its own, or if the mount comes from the container's mount namespace.
    pub(super) fn lock(
        &mut self,
        plan: &Plan,
        wanted: Wanted<'_>,
        tree: &OwnedFd,
    ) -> Result<Option<OwnedFd>> {
        let Some(userns) = self.containers.as_ref().filter(|_| plan.user_namespace) else {
            return Ok(None);
        };
        let may_clear = self.mounts.is_none() && !userns::is_own(userns);
        if !may_clear || !is_restricted(tree, wanted.is_recursive())? {
            return Ok(None);
        }
        let stage = match self.stage.take() {
            Some(stage) => stage,
            None => LockNamespace::new()?,
        };
        self.stage.insert(stage).lock(userns, tree).map(Some)
    }

    pub(super) fn mounts(&self) -> Option<CallersFd> {
        self.mounts
    }

    pub(super) fn of(&mut self, idmap: &'a Idmap) -> Result<&OwnedFd> {
        let ids = &idmap.mappings;
        if *ids == Ids::Containers {
            return self.containers.as_ref().ok_or_else(|| {
                Error::invalid(
                    "the mount is idmapped, but neither has mappings of its own nor is userns_fd given, the \
                        container's user namespace",
                )
            });
        }
        let known = self.made.iter().position(|(of, _)| *of == ids);
        let index = match known {
            Some(index) => index,
            None => {
                let made = namespace_of(ids)?;
                self.made.push((ids, made));
                self.made.len() - 1
            }
        };
        Ok(&self.made[index].1)
    }
}

fn namespace_of(ids: &Ids) -> Result<OwnedFd> {
    match ids {
        Ids::Own(mappings) => userns::with_mappings(&mappings.uids, &mappings.gids),
        Ids::Namespace(raw) => borrow(*raw, "rfs_mount.userns_fd", CLONE_NEWUSER)?
            .ok_or_else(|| Error::invalid("rfs_mount.userns_fd: none is given"))?
            .duplicate()
            .during("fcntl", b"rfs_mount.userns_fd"),
        Ids::Containers => Err(Error::invalid(
            "the container's user namespace is not known",
        )),
    }
}

fn borrow(raw: RawFd, name: &'static str, kind: i32) -> Result<Option<CallersFd>> {
    if raw == -1 {
        return Ok(None);
    }
    let fd = CallersFd::new(raw)
        .during("fcntl", name.as_bytes())
        .map_err(|error| error.explain(format_args!("{name} {raw} is not open; -1 means none")))?;
    if !userns::is_namespace(fd.as_fd(), kind) {
        let (what, file) = if kind == CLONE_NEWUSER {
            ("user", "user")
        } else {
            ("mount", "mnt")
        };
        return Err(Error::invalid(format_args!(
            "{name} {raw} is no {what} namespace, as /proc/PID/ns/{file} is one"
        )));
    }
    Ok(Some(fd))
}
