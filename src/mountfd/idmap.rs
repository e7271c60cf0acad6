//! Which user namespace has the mapping of an idmapped mount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use crate::error::{During, Error, Result};
use crate::plan::{Idmap, Mappings};
use crate::sys::{fd, userns};

/// The container's user namespace, and those made for the mounts' own mappings: one for all that are equal.
pub struct Namespaces<'a> {
    containers: Option<BorrowedFd<'a>>,
    made: Vec<(&'a Mappings, OwnedFd)>,
}

impl<'a> Namespaces<'a> {
    /// `raw`: the caller's descriptor of the container's user namespace, or -1.
    pub fn new(userns: RawFd, mntns: RawFd) -> Result<Self> {
        let containers = match userns {
            -1 => None,
            raw => Some(borrow(raw)?),
        };
        if mntns != -1 {
            return Err(Error::check(rustix::io::Errno::OPNOTSUPP, "mntns_fd"));
        }
        Ok(Namespaces {
            containers,
            made: Vec::new(),
        })
    }

    pub(super) fn of(&mut self, idmap: &'a Idmap) -> Result<BorrowedFd<'_>> {
        let Some(mappings) = &idmap.mappings else {
            return self.containers.ok_or_else(|| {
                Error::invalid(
                    "the mount is idmapped, but neither has mappings of its own nor is userns_fd given, the container's user namespace",
                )
            });
        };
        let known = self.made.iter().position(|(of, _)| *of == mappings);
        let index = match known {
            Some(index) => index,
            None => {
                let made = userns::with_mappings(&mappings.uids, &mappings.gids)?;
                self.made.push((mappings, made));
                self.made.len() - 1
            }
        };
        Ok(self.made[index].1.as_fd())
    }
}

fn borrow<'a>(raw: RawFd) -> Result<BorrowedFd<'a>> {
    let fd = fd::borrow(raw)
        .during("fcntl", b"userns_fd")
        .map_err(|error| {
            error.explain(format_args!("userns_fd {raw} is not open; -1 means none"))
        })?;
    if !userns::is_user_namespace(fd) {
        return Err(Error::invalid(format_args!(
            "userns_fd {raw} is no user namespace, as /proc/PID/ns/user is one"
        )));
    }
    Ok(fd)
}
