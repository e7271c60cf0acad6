//! Detached mounts as a plan wants them. Made in the same way in the container's process and, for what
//! it can't reach or may not do, on the host's side.
#![forbid(unsafe_code)]

use core::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{During, Error, Result};
use crate::plan::attributes::{BindChange, Change, Locked};
use crate::plan::label::is_label;
use crate::plan::{Bind, Filesystem, Link};
use crate::sys::classic::{self, Names};
use crate::sys::fd::{self, Fd, Fds};
use crate::sys::mount::{Attributes, Superblock, attributes_of, clone_tree};

impl From<Change> for Attributes {
    fn from(change: Change) -> Self {
        Attributes {
            set: change.set,
            clear: change.clear,
            ..Attributes::default()
        }
    }
}

/// A detached copy of a bind's source, by its path.
pub fn clone_source<'a>(fds: &'a Fds, bind: &Bind) -> rustix::io::Result<Fd<'a>> {
    match bind.link {
        Link::Follow => clone_tree(fds, CWD, &bind.source, bind.recursive),
        Link::Bind | Link::Copy => {
            open_source(fds, bind).and_then(|link| clone_tree(fds, link, c"", bind.recursive))
        }
    }
}

/// The same by the number of the caller's descriptor.
pub fn clone_descriptor<'a>(fds: &'a Fds, bind: &Bind, raw: i32) -> Result<Fd<'a>> {
    let fd = borrow_source(bind, raw)?;
    clone_tree(fds, fd, c"", bind.recursive)
        .during("open_tree", b"")
        .map_err(|error| explain_descriptor(bind, raw, error))
}

pub fn borrow_source<'a>(bind: &Bind, raw: i32) -> Result<BorrowedFd<'a>> {
    let borrowed = fd::borrow(raw).during("fcntl", bind.source.as_bytes());
    borrowed
        .map_err(|error| error.explain(format_args!("source_fd {raw} is not open in this process")))
}

pub fn explain_descriptor(bind: &Bind, raw: i32, error: Error) -> Error {
    let error = error.on(bind.source.as_bytes());
    match error.errno {
        Errno::INVAL => error.explain(format_args!(
            "source_fd {raw} is of another mount namespace, if it was opened before unshare(2), or of a detached or unbindable mount"
        )),
        _ => error,
    }
}

/// The source, or what it leads to if it is a link that is to be followed.
pub fn open_source<'a>(fds: &'a Fds, bind: &Bind) -> rustix::io::Result<Fd<'a>> {
    let nofollow = match bind.link {
        Link::Follow => OFlags::empty(),
        Link::Bind | Link::Copy => OFlags::NOFOLLOW,
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC | nofollow;
    Ok(fds.own(rustix::fs::openat(CWD, &bind.source, flags, Mode::empty())?))
}

/// ENODEV of fsopen(2) and mount(2).
pub const NO_SUCH_TYPE: &str = "the kernel knows no file system of this type";

/// A new superblock, configured and mounted but not attached.
pub fn superblock<'a>(fds: &'a Fds, wanted: &Filesystem, mode: Option<&CStr>) -> Result<Fd<'a>> {
    let fstype = wanted.fstype.to_bytes();
    let superblock = Superblock::open(fds, &wanted.fstype)
        .during("fsopen", fstype)
        .map_err(|error| match error.errno {
            Errno::NODEV => error.explain(NO_SUCH_TYPE),
            _ => error,
        })?;
    let with_messages = |error: Error| error.said_by_kernel(superblock.messages());
    set_parameter(&superblock, c"source", Some(&wanted.source))?;
    for parameter in &wanted.parameters {
        set_parameter(&superblock, &parameter.key, parameter.value.as_deref())?;
    }
    if let Some(mode) = mode {
        set_parameter(&superblock, c"mode", Some(mode))?;
    }
    superblock
        .create()
        .during("fsconfig", fstype)
        .map_err(with_messages)?;
    superblock
        .mount(wanted.attributes)
        .during("fsmount", fstype)
        .map_err(with_messages)
}

pub fn set_parameter(superblock: &Superblock<'_>, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let explain = |error: Error| {
        let error = error.said_by_kernel(superblock.messages());
        if matches!(key.to_bytes(), b"uid" | b"gid") && error.errno == Errno::INVAL {
            return error.explain("the user namespace may have no such id");
        }
        if !is_label(key.to_bytes()) || error.errno != Errno::INVAL {
            return error;
        }
        // With SELinux it would have taken the parameter before the file system was asked.
        if error
            .details()
            .kernel
            .as_str()
            .contains("Unknown parameter")
        {
            return error.explain("SELinux is not enabled: without it no mount can have a label");
        }
        error.explain("SELinux's policy may not know the label")
    };
    superblock
        .set(key, value)
        .during("fsconfig", key.to_bytes())
        .map_err(explain)
}

/// Sets what a bind asks for, replacing the source's attributes; where some of those are locked, adding to
/// them: then it gives what is set.
pub fn change_attributes(
    classic: Option<&Names<'_>>,
    tree: BorrowedFd<'_>,
    change: &BindChange,
) -> Result<Option<u64>> {
    let set = |change: Change| classic::change_attributes(classic, tree, false, &change.into());
    match set(change.replacing()) {
        Err(error) if error.errno == Errno::PERM => {}
        result => return result.map(|()| None),
    }
    let inherited = change
        .inheriting(attributes_of(tree).during("fstatfs", b"")?)
        .map_err(|locked| {
            let (sentence, attributes) = match locked {
                Locked::CannotClear(attributes) => {
                    ("can't clear what is locked on the source", attributes)
                }
                Locked::CannotChangeAtime(attributes) => (
                    "can't change the mode of access times, which is locked on the source",
                    attributes,
                ),
            };
            Error::system(Errno::PERM, "mount_setattr")
                .explain(format_args!("{sentence}: {}", AttributeNames(attributes)))
        })?;
    set(inherited)
        .map_err(|error| error.explain("also with the source's locked attributes added"))?;
    Ok(Some(inherited.set))
}

/// MOUNT_ATTR_*, by their options.
pub struct AttributeNames(pub u64);

impl core::fmt::Display for AttributeNames {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut names = crate::sys::flags::names(self.0).peekable();
        if names.peek().is_none() {
            return f.write_str("relatime");
        }
        names.enumerate().try_for_each(|(index, name)| {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}")
        })
    }
}
