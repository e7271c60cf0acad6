//! Paths hidden or made read-only, in the container's own root.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::process::{DEV_NULL, not_null};
use super::way::Way;
use crate::error::{During, Error, Object, Result, Stage};
use crate::plan::{IndexedPath, Plan};
use crate::sys::classic::change_attributes;
use crate::sys::fd::{Fd, Fds};
use crate::sys::mount::{Attributes, status};
use crate::sys::resolve::Root;

/// Binds each path on itself and makes the top of that read-only.
pub fn readonly_paths<'a>(root: &Root<'a>, way: &Way<'a>, paths: &[IndexedPath]) -> Result<()> {
    for path in paths {
        make_readonly(root, way, &path.path).map_err(|error| {
            error
                .at(Stage::ReadonlyPaths)
                .about(Object::ReadonlyPath(path.index), path.path.as_bytes())
        })?;
    }
    Ok(())
}

fn make_readonly<'a>(root: &Root<'a>, way: &Way<'a>, path: &CStr) -> Result<()> {
    let Some(target) = open(root, path)? else {
        return Ok(());
    };
    let mut tree = way
        .clone_descriptor(root.fds(), target.as_fd(), true)
        .map_err(|error| error.on(path.to_bytes()))?;
    change_attributes(way.names(), &tree, false, &Attributes::READ_ONLY)
        .and_then(|()| tree.attach(&target))
        .map_err(|error| error.on(path.to_bytes()))
}

/// `None`: nothing is there.
fn open<'a>(root: &Root<'a>, path: &CStr) -> Result<Option<Fd<'a>>> {
    match root.open(path, OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::system(errno, "openat2").on(path.to_bytes())),
    }
}

/// Covers files with /dev/null, and directories with an empty tmpfs that all of them share.
pub fn mask_paths<'a>(fds: &'a Fds, root: &Root<'a>, way: &Way<'a>, plan: &Plan) -> Result<()> {
    if plan.masked_paths.is_empty() {
        return Ok(());
    }
    let locate = |error: Error| error.at(Stage::MaskedPaths);
    let mut masks = Masks {
        null: open_null(root).map_err(locate)?,
        empty: None,
        plan,
        way,
        fds,
    };
    for path in &plan.masked_paths {
        masks.cover(root, &path.path).map_err(|error| {
            locate(error).about(Object::MaskedPath(path.index), path.path.as_bytes())
        })?;
    }
    Ok(())
}

/// A missing or false /dev/null is an error, not a path left open (CVE-2025-31133).
fn open_null<'a>(root: &Root<'a>) -> Result<Fd<'a>> {
    let null = root
        .open_plain(DEV_NULL, OFlags::PATH | OFlags::NOFOLLOW)
        .during("openat2", DEV_NULL.to_bytes())
        .map_err(|error| error.explain("masking files needs the container's /dev/null"))?;
    if !status(&null, c"")
        .during("statx", DEV_NULL.to_bytes())?
        .is_dev_null()
    {
        return Err(not_null());
    }
    Ok(null)
}

struct Masks<'a, 'p> {
    null: Fd<'a>,
    /// Attached over the first directory masked: an attached mount can be cloned on every kernel.
    empty: Option<Fd<'a>>,
    plan: &'p Plan,
    way: &'p Way<'a>,
    fds: &'a Fds,
}

impl<'a> Masks<'a, '_> {
    fn cover(&mut self, root: &Root<'a>, path: &CStr) -> Result<()> {
        let Some(target) = open(root, path)? else {
            return Ok(());
        };
        let is_directory = status(&target, c"")
            .during("statx", path.to_bytes())?
            .is_directory();
        let cover = match &self.empty {
            _ if !is_directory => &self.null,
            Some(empty) => empty,
            None => {
                let empty = hide_directory(self.fds, self.way, target.as_fd(), self.plan)?;
                self.empty = Some(empty);
                return Ok(());
            }
        };
        self.way
            .clone_descriptor(self.fds, cover.as_fd(), false)
            .and_then(|mut cover| cover.attach(&target))
            .map_err(|error| error.on(path.to_bytes()))
    }
}

/// Covers a directory with an empty tmpfs, and gives that: to be bound elsewhere too, as an attached mount can on every
/// kernel.
pub fn hide_directory<'a>(
    fds: &'a Fds,
    way: &Way<'a>,
    target: BorrowedFd<'_>,
    plan: &Plan,
) -> Result<Fd<'a>> {
    let [one_inode, two_inodes] = &plan.empty;
    let mut empty = match way.superblock(fds, one_inode, None) {
        Err(error) if error.errno == Errno::NOSPC => way.superblock(fds, two_inodes, None),
        empty => empty,
    }?;
    empty.attach(target).map_err(|error| error.on(b"tmpfs"))?;
    Ok(empty.into_fd())
}
