// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes the flags, the propagation and the idmapping of a mount: mount_setattr(2), and mount(2) where that is
//! missing.

use std::os::fd::{AsFd, BorrowedFd};

use libc::MOUNT_ATTR_NOSYMFOLLOW;
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use super::procfd::ProcFd;
use super::{MountApi, Tree};
use crate::config::options::propagation_name;
use crate::error::{During, Error, Result};
use crate::plan::attributes::{BindChange, Change, Inherited, Locked};
use crate::sys::flags::{self, MS_REC};
use crate::sys::mount::{Attributes, attributes_of, has_set_attributes, set_attributes};

/// The remedy in errors: the host's side has the privilege that the container's process lacks.
const FROM_HOST: &str = "or let the host's side make the mount (RFS_MOUNT_FROM_HOST)";

impl From<Change> for Attributes {
    fn from(change: Change) -> Self {
        Attributes {
            set: change.set,
            clear: change.clear,
            ..Attributes::default()
        }
    }
}

impl MountApi {
    /// Changes a mount, and the mounts below it too if `recursive`. `name` is the mount's name in errors.
    pub fn change(
        &self,
        mount: impl AsFd,
        recursive: bool,
        change: &Attributes,
        name: &[u8],
    ) -> Result<()> {
        change_attributes(self.procfd()?, mount.as_fd(), recursive, change)
            .map_err(|error| error.on(name))
    }

    /// Sets the attributes that a bind's options ask for in place of the source's. If some of the source's are
    /// locked, it adds to them instead, and returns what it did.
    pub fn change_bind(
        &self,
        mount: impl AsFd,
        change: &BindChange,
        name: &[u8],
    ) -> Result<Option<Inherited>> {
        let mount = mount.as_fd();
        let set = |change: Change| self.change(mount, false, &change.into(), name);
        let source = if change.keeps_restrictions() {
            attributes_of(mount).during("fstatfs", name)?
        } else {
            0
        };
        match set(change.replacing(source)) {
            Err(error) if error.errno == Errno::PERM => {}
            result => return result.map(|()| None),
        }
        let inherited = change
            .inheriting(attributes_of(mount).during("fstatfs", name)?)
            .map_err(|locked| explain_locked(locked).on(name))?;
        set(inherited.change)
            .map_err(|error| error.explain("also with the source's locked attributes added"))?;
        Ok(Some(inherited))
    }

    /// Sets the attributes of a mount and of all mounts below it, as "rro" and similar options ask.
    pub fn change_recursively(&self, mount: impl AsFd, change: Change, name: &[u8]) -> Result<()> {
        self.change(mount, true, &change.into(), name)
            .map_err(|error| match error.errno {
                Errno::NOSYS => error
                    .explain("attributes of all mounts below take mount_setattr(2), of Linux 5.12"),
                Errno::PERM => error.explain(format_args!(
                    "{} may be locked on the source or on a mount below: leave the option out, {FROM_HOST}",
                    AttributeNames(change.clear)
                )),
                _ => error,
            })
    }

    /// Sets the propagation of a mount (MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE). With MS_REC the mounts
    /// below get it too.
    pub fn set_propagation(&self, mount: impl AsFd, flags: u64) -> Result<()> {
        let attributes = Attributes::propagation(flags & !MS_REC);
        let name = propagation_name(flags).as_bytes();
        self.change(mount, flags & MS_REC != 0, &attributes, name)
    }
}

impl Tree<'_> {
    pub fn change(&self, recursive: bool, change: &Attributes) -> Result<()> {
        self.api.change(self, recursive, change, self.name)
    }
}

/// Sets the propagation of the mount that is "/". With MS_REC the mounts below get it too.
pub fn set_root_propagation(flags: u64) -> Result<()> {
    // The MS_* flags of mount(2) fit 32 bits.
    let flags = MountPropagationFlags::from_bits_retain(flags as u32);
    rustix::mount::mount_change(c"/", flags)
        .during("mount", b"/")
        .map_err(|error| match error.errno {
            Errno::PERM => error.explain(
                "changing mounts needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace",
            ),
            Errno::INVAL => error.explain(
                "\"/\" is not the root of a mount: this process lives in a chroot(2), where only \
                    RFS_OPTION_CHROOT works",
            ),
            _ => error,
        })
}

fn explain_locked(locked: Locked) -> Error {
    let error = Error::system(Errno::PERM, "mount_setattr");
    match locked {
        Locked::CannotClear(attributes) => error.explain(format_args!(
            "can't clear options that are locked on the source: {}; leave the option out, set RFS_OPTION_KEEP_LOCKED, \
                {FROM_HOST}",
            AttributeNames(attributes)
        )),
        Locked::CannotChangeAtime(attributes) => error.explain(format_args!(
            "can't change the mode of access times, which is locked on the source: {}; leave the option out, \
                {FROM_HOST}",
            AttributeNames(attributes)
        )),
    }
}

/// Calls mount_setattr(2). If that is missing or refused, and the mount is attached, mount(2) does the same.
fn change_attributes(
    procfd: Option<&ProcFd>,
    mount: BorrowedFd<'_>,
    recursive: bool,
    change: &Attributes,
) -> Result<()> {
    let errno = match (set_attributes(mount, c"", recursive, change), procfd) {
        (Ok(()), _) => return Ok(()),
        // Before Linux 5.14 mount_setattr(2) does not know MOUNT_ATTR_NOSYMFOLLOW, and answers EINVAL.
        (Err(errno @ (Errno::NOSYS | Errno::PERM | Errno::INVAL)), Some(procfd)) => {
            match procfd.set_attributes(mount, recursive, change) {
                // mount(2) can't do this either, and EPERM may be the kernel's own answer.
                Err(error) if error.errno == Errno::NOSYS && has_set_attributes() => errno,
                result => return result,
            }
        }
        (Err(Errno::INVAL), None) => match without_nosymfollow(mount, change) {
            Some(change) => match set_attributes(mount, c"", recursive, &change) {
                Ok(()) => return Ok(()),
                Err(errno) => errno,
            },
            None => Errno::INVAL,
        },
        (Err(errno), _) => errno,
    };
    Err(Error::system(errno, "mount_setattr"))
}

/// The same change without MOUNT_ATTR_NOSYMFOLLOW, for mount_setattr(2) before Linux 5.14. `None` if the change sets
/// or clears that attribute.
fn without_nosymfollow(mount: BorrowedFd<'_>, change: &Attributes) -> Option<Attributes> {
    let matters = attributes_of(mount).ok()? | change.set;
    (change.clear & !matters & MOUNT_ATTR_NOSYMFOLLOW != 0).then_some(Attributes {
        clear: change.clear & !MOUNT_ATTR_NOSYMFOLLOW,
        ..*change
    })
}

/// The names of MOUNT_ATTR_* flags, as the options have them.
pub struct AttributeNames(pub u64);

impl core::fmt::Display for AttributeNames {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut names = flags::names(self.0).peekable();
        if names.peek().is_none() {
            return f.write_str("relatime");
        }
        names.enumerate().try_for_each(|(index, name)| {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}")
        })
    }
}
