// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hides paths in the container, or makes them read-only.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::{MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};

use super::container::Container;
use super::recognise::Places;
use super::stdio::{DEV_NULL, not_null};
use crate::error::{During, Error, Object, Result, Stage};
use crate::mount::status_of;
use crate::mount::{MountApi, Source, is_astray};
use crate::plan::{IndexedPath, Plan};
use crate::sys::fd::ENTRY;
use crate::sys::mount::Attributes;
use crate::sys::resolve::Root;

/// Masks are read-only, because a container that could write to a mask's /dev/null could change the mode of the node
/// itself.
const MASK: Attributes =
    Attributes::setting(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);

/// Binds each path on itself, and makes the topmost mount of the bind read-only.
pub fn readonly_paths(
    places: &mut Places<'_>,
    api: &MountApi,
    container: &Container,
) -> Result<()> {
    for path in &container.plan.readonly_paths {
        make_readonly(places, api, container, &path.path).map_err(|error| {
            error
                .at(Stage::ReadonlyPaths)
                .about(Object::ReadonlyPath(path.index), path.path.as_bytes())
        })?;
    }
    Ok(())
}

fn make_readonly(
    places: &mut Places<'_>,
    api: &MountApi,
    container: &Container,
    path: &CStr,
) -> Result<()> {
    let Some(target) = places.locate(path)? else {
        return Ok(());
    };
    let mut tree = api.clone(Source::Fd(target.as_fd()), true, path.to_bytes())?;
    tree.change(false, &Attributes::READ_ONLY)?;
    tree.attach(&target)?;
    let copy = tree.into_fd();
    container.was_covered(path, || Ok(status_of(&copy, path.to_bytes())?.mount_id))
}

/// Covers files with /dev/null, and directories with one empty tmpfs that they share.
pub fn mask_paths(places: &mut Places<'_>, api: &MountApi, container: &Container) -> Result<()> {
    let plan = &*container.plan;
    let Some(first) = plan.masked_paths.first() else {
        return Ok(());
    };
    let locate = |error: Error| error.at(Stage::MaskedPaths);
    let about = |path: &IndexedPath, error: Error| {
        error.about(Object::MaskedPath(path.index), path.path.as_bytes())
    };
    let null = open_null(places.root).map_err(|error| locate(about(first, error)))?;
    let mut masks = Masks {
        places,
        plan,
        api,
        null: Cover::New(null),
        empty: None,
    };
    for path in &plan.masked_paths {
        masks
            .cover(&path.path)
            .map_err(|error| locate(about(path, error)))?;
        container.was_covered(&path.path, || Ok(0))?;
    }
    Ok(())
}

/// A missing or false /dev/null is an error, because the path would stay open otherwise (CVE-2025-31133).
fn open_null(root: &Root<'_>) -> Result<OwnedFd> {
    let null = root
        .open_plain(DEV_NULL, ENTRY)
        .during("openat2", DEV_NULL.to_bytes())
        .map_err(|error| error.explain("masking files needs the container's /dev/null"))?;
    let there = status_of(&null, DEV_NULL.to_bytes())?;
    if !there.is_dev_null() {
        return Err(not_null(&there));
    }
    Ok(null)
}

struct Masks<'a, 'b> {
    places: &'a mut Places<'b>,
    plan: &'a Plan,
    api: &'a MountApi,
    null: Cover,
    /// The tmpfs over the first directory that was masked.
    empty: Option<OwnedFd>,
}

/// The source that files are covered with. An attached mask can be cloned on every kernel, with its flags.
enum Cover {
    /// The container's /dev/null.
    New(OwnedFd),
    /// A mask that is attached already.
    Attached(OwnedFd),
}

impl Masks<'_, '_> {
    fn cover(&mut self, path: &CStr) -> Result<()> {
        let Some(target) = self.places.locate(path)? else {
            return Ok(());
        };
        let name = path.to_bytes();
        if status_of(&target, name)?.is_directory() {
            return self.cover_directory(target.as_fd(), name);
        }
        let (null, is_new) = match &self.null {
            Cover::New(null) => (null, true),
            Cover::Attached(mask) => (mask, false),
        };
        let mut mask = self.api.clone(Source::Fd(null.as_fd()), false, name)?;
        if is_new {
            mask.change(false, &MASK)?;
        }
        mask.attach(&target)?;
        if is_new {
            if let Some(mask) = mask.into_attached() {
                self.null = Cover::Attached(mask);
            }
        }
        Ok(())
    }

    fn cover_directory(&mut self, target: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if let Some(empty) = &self.empty {
            // If the tmpfs can't be shared, each directory gets its own.
            match self.api.clone(Source::Fd(empty.as_fd()), false, name) {
                Ok(mut mask) => return mask.attach(target),
                Err(error) if is_astray(&error) => return Err(error),
                Err(_) => {}
            }
        }
        self.empty = Some(hide_directory(self.api, target, self.plan)?);
        Ok(())
    }
}

/// Covers a directory with an empty tmpfs, and returns the tmpfs. Once attached, it can be bound elsewhere on every
/// kernel.
pub fn hide_directory(api: &MountApi, target: BorrowedFd<'_>, plan: &Plan) -> Result<OwnedFd> {
    let [one_inode, two_inodes] = &plan.empty;
    let mut empty = match api.superblock(&one_inode.superblock()) {
        // Some kernels of Ubuntu use one more inode.
        Err(error) if !is_astray(&error) => api.superblock(&two_inodes.superblock()),
        empty => empty,
    }?;
    empty.attach(target)?;
    Ok(empty.into_fd())
}
