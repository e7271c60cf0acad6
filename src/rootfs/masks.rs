//! Paths hidden or made read-only, in the container's own root.

use core::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::process::{DEV_NULL, not_null};
use crate::detached::set_parameter;
use crate::error::{During, Error, Object, Result, Stage};
use crate::plan::{IndexedPath, Parameter, Plan};
use crate::sys::fd::{Fd, Fds};
use crate::sys::mount::{Attributes, Superblock, attach, clone_tree, set_attributes, status};
use crate::sys::resolve::Root;

/// Binds each path on itself and makes the top of that read-only.
pub fn readonly_paths<'a>(root: &Root<'a>, paths: &[IndexedPath]) -> Result<()> {
    for path in paths {
        make_readonly(root, &path.path).map_err(|error| {
            error
                .at(Stage::ReadonlyPaths)
                .about(Object::ReadonlyPath(path.index), path.path.as_bytes())
        })?;
    }
    Ok(())
}

fn make_readonly(root: &Root<'_>, path: &CStr) -> Result<()> {
    let Some(target) = open(root, path)? else {
        return Ok(());
    };
    let tree = clone_tree(root.fds(), &target, c"", true).during("open_tree", path.to_bytes())?;
    set_attributes(&tree, c"", false, &Attributes::READ_ONLY)
        .during("mount_setattr", path.to_bytes())?;
    attach(&tree, &target).during("move_mount", path.to_bytes())
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
pub fn mask_paths<'a>(fds: &'a Fds, root: &Root<'a>, plan: &Plan) -> Result<()> {
    if plan.masked_paths.is_empty() {
        return Ok(());
    }
    let locate = |error: Error| error.at(Stage::MaskedPaths);
    let mut masks = Masks {
        null: open_null(root).map_err(locate)?,
        empty: None,
        label: plan.mount_label.as_ref(),
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
    label: Option<&'p Parameter>,
    fds: &'a Fds,
}

impl Masks<'_, '_> {
    fn cover(&mut self, root: &Root<'_>, path: &CStr) -> Result<()> {
        let Some(target) = open(root, path)? else {
            return Ok(());
        };
        let bytes = path.to_bytes();
        if !status(&target, c"").during("statx", bytes)?.is_directory() {
            let null = clone_tree(self.fds, &self.null, c"", false)
                .during("open_tree", DEV_NULL.to_bytes())?;
            return attach(&null, &target).during("move_mount", bytes);
        }
        if let Some(empty) = &self.empty {
            let again = clone_tree(self.fds, empty, c"", false).during("open_tree", bytes)?;
            return attach(&again, &target).during("move_mount", bytes);
        }
        let empty = empty_tmpfs(self.fds, self.label)?;
        attach(&empty, target.as_fd()).during("move_mount", bytes)?;
        self.empty = Some(empty);
        Ok(())
    }
}

/// As small as the kernel lets it be: one inode, or two with what Ubuntu's 5.4 adds.
pub fn empty_tmpfs<'a>(fds: &'a Fds, label: Option<&Parameter>) -> Result<Fd<'a>> {
    match tmpfs_of(fds, label, c"1") {
        Err(error) if error.errno == Errno::NOSPC => tmpfs_of(fds, label, c"2"),
        result => result,
    }
}

fn tmpfs_of<'a>(fds: &'a Fds, label: Option<&Parameter>, inodes: &CStr) -> Result<Fd<'a>> {
    let superblock = Superblock::open(fds, c"tmpfs").during("fsopen", b"tmpfs")?;
    let with_messages = |error: Error| error.said_by_kernel(superblock.messages());
    let label = label.map(|label| (label.key.as_c_str(), label.value.as_deref()));
    let parameters = [
        (c"source", Some(c"tmpfs")),
        (c"ro", None),
        (c"nr_blocks", Some(c"1")),
        (c"nr_inodes", Some(inodes)),
    ];
    for (key, value) in parameters.into_iter().chain(label) {
        set_parameter(&superblock, key, value)?;
    }
    superblock
        .create()
        .during("fsconfig", b"tmpfs")
        .map_err(with_messages)?;
    superblock
        .mount(libc::MOUNT_ATTR_RDONLY)
        .during("fsmount", b"tmpfs")
        .map_err(with_messages)
}
