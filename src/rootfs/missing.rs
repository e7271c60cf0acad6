// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds out why a missing file could not be made in the rootfs: in which directory, and what prevented it. It runs
//! only after a failure, and decides only the message.

use core::ffi::CStr;
use core::fmt::{self, Display};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::Context;
use crate::error::{Error, Sentence};
use crate::plan::{Kind, Mount};
use crate::sys::fd::DIRECTORY;
use crate::sys::mount::status;
use crate::sys::path::{PathBuf, components};
use crate::text::{Escaped, Text};

/// Explains an error of making a directory or file. Other errors stay as they are.
pub fn explain(cx: &Context<'_>, path: &CStr, error: Error) -> Error {
    if error.details().operation != "mkdirat" {
        return error;
    }
    match sentence(cx, path, error.errno) {
        Some(sentence) => error.explain(sentence.as_str()),
        None => error,
    }
}

fn sentence(cx: &Context<'_>, path: &CStr, errno: Errno) -> Option<Sentence> {
    let followed = cx.root().follow(path).ok()?;
    let (directory, first) = first_missing(cx, followed.as_c_str())?;
    let first = Escaped(first.as_c_str().to_bytes());
    let place = LiesOn::of(cx, &directory, followed.as_c_str());
    Some(match errno {
        Errno::ROFS => Text::format(format_args!(
            "{first} is missing in {place}, which is read-only: create it there first"
        )),
        Errno::NOSPC => {
            let space = rustix::fs::fstatvfs(&directory).ok()?;
            let what = if space.f_files > 0 && space.f_ffree == 0 {
                Text::<64>::format(format_args!("none of {} inodes is free", space.f_files))
            } else {
                Text::format(format_args!(
                    "{} bytes are free",
                    space.f_bavail * space.f_frsize
                ))
            };
            Text::format(format_args!(
                "{first} is missing in {place}, whose file system is full ({}): create it there first, or make that \
                 larger (a tmpfs by its size= and nr_inodes=)",
                what.as_str()
            ))
        }
        Errno::DQUOT => Text::format(format_args!(
            "{first} is missing in {place}, where the disk quota is used up: create it there first"
        )),
        Errno::ACCESS | Errno::PERM | Errno::OVERFLOW => {
            let there = rustix::fs::fstat(&directory).ok()?;
            let (uid, gid) = (there.st_uid, there.st_gid);
            let why = if uid == OVERFLOW_ID || gid == OVERFLOW_ID {
                "which this user namespace does not map: give it to an id of the mappings"
            } else {
                "which does not let this process write"
            };
            Text::format(format_args!(
                "{first} is missing in {place}, in a directory of user {uid} and group {gid} with mode {:04o}, {why}",
                there.st_mode & 0o7777
            ))
        }
        _ => return None,
    })
}

/// The id that an unmapped id reads as: the default of /proc/sys/kernel/overflowuid.
const OVERFLOW_ID: u32 = 65534;

/// The last directory that exists on a path without links, and the name that is missing in it.
fn first_missing(cx: &Context<'_>, path: &CStr) -> Option<(OwnedFd, PathBuf)> {
    let mut directory = cx.root().open_plain(c"/", DIRECTORY).ok()?;
    let mut first = PathBuf::root().ok()?;
    for name in components(path.to_bytes()) {
        first.push(name).ok()?;
        match cx.root().open_plain(first.as_c_str(), DIRECTORY) {
            Ok(there) => directory = there,
            Err(Errno::NOENT) => return Some((directory, first)),
            Err(_) => return None,
        }
    }
    None
}

/// The mount that a directory lies on: the rootfs, or a mount of the plan.
enum LiesOn<'a> {
    Rootfs,
    Mount(&'a Mount),
    Unknown,
}

impl<'a> LiesOn<'a> {
    fn of(cx: &Context<'a>, directory: &OwnedFd, path: &CStr) -> Self {
        let mount_id = |fd: std::os::fd::BorrowedFd<'_>| status(fd, c"").ok().map(|it| it.mount_id);
        if mount_id(directory.as_fd()) == mount_id(cx.root.as_fd()) {
            return LiesOn::Rootfs;
        }
        let is_on = |mount: &&Mount| {
            let rest = path
                .to_bytes()
                .strip_prefix(mount.destination.to_bytes())
                .unwrap_or(b"-");
            rest.starts_with(b"/")
        };
        let lies_on = cx.plan.mounts.iter().filter(is_on);
        lies_on
            .max_by_key(|mount| mount.destination.as_bytes().len())
            .map_or(LiesOn::Unknown, LiesOn::Mount)
    }
}

impl Display for LiesOn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mount = match self {
            LiesOn::Rootfs => return f.write_str("the rootfs"),
            LiesOn::Unknown => return f.write_str("a mount below the rootfs"),
            LiesOn::Mount(mount) => mount,
        };
        let destination = Escaped(mount.destination.as_bytes());
        match &mount.kind {
            Kind::Bind(bind) => {
                let source = Escaped(bind.source.as_bytes());
                write!(
                    f,
                    "mounts[{}] ({destination}, bound from {source})",
                    mount.index
                )
            }
            _ => write!(f, "mounts[{}] ({destination})", mount.index),
        }
    }
}
