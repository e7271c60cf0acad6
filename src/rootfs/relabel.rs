// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out "z" and "Z": a bind's files get the container's SELinux label, on the host too.

use core::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, XattrFlags, lsetxattr, setxattr};
use rustix::io::{Errno, retry_on_intr};

use super::walk::{Entry, READABLE, Visitor, walk};
use crate::error::{During, Error, Result};
use crate::plan::label::{NEVER_RELABELLED, refused};
use crate::sys::fd::open;
use crate::sys::path::{PathBuf, of_descriptor};

const ATTRIBUTE: &CStr = c"security.selinux";

/// Labels the file or link behind a descriptor. The label is set by a path in procfs, because Linux before 6.13 has
/// no other call for O_PATH descriptors.
pub fn label(fd: BorrowedFd<'_>, label: &CStr) -> Result<()> {
    let path = of_descriptor(fd);
    let set = || setxattr(&*path, ATTRIBUTE, label.to_bytes(), XattrFlags::empty());
    retry_on_intr(set).map_err(|errno| failed("setxattr", errno, ATTRIBUTE.to_bytes()))
}

/// Labels all files in the tree. Its root is last, so that a label on it means that all are done.
pub fn relabel(tree: BorrowedFd<'_>, value: &CStr) -> Result<()> {
    let root = rustix::fs::fstat(tree).during("fstat", b"")?;
    // Device and inode numbers are compared, because links, mounts and descriptors may lead to the same file.
    for path in NEVER_RELABELLED {
        let is_root = rustix::fs::stat(path)
            .is_ok_and(|there| (there.st_dev, there.st_ino) == (root.st_dev, root.st_ino));
        if is_root {
            return Err(refused(path.to_bytes()));
        }
    }
    if FileType::from_raw_mode(root.st_mode) == FileType::Directory {
        let top = open(tree, c".", READABLE).map_err(|errno| failed("openat", errno, b"."))?;
        walk(top, &mut Labels(value))?;
    }
    label(tree, value)
}

struct Labels<'a>(&'a CStr);

impl Visitor for Labels<'_> {
    /// A file that is removed or replaced meanwhile needs no label.
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Option<OwnedFd>> {
        let labelled = retry_on_intr(|| label_at(entry, self.0));
        match labelled {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("lsetxattr", errno, entry.path)),
        }
        if !matches!(entry.kind, FileType::Directory | FileType::Unknown) {
            return Ok(None);
        }
        match open(entry.directory, entry.name, READABLE) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            opened => opened
                .map(Some)
                .map_err(|errno| failed("openat", errno, entry.path)),
        }
    }

    fn leave(&mut self, _: BorrowedFd<'_>, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn failed(&self, operation: &'static str, errno: Errno, path: &[u8]) -> Error {
        failed(operation, errno, path)
    }
}

fn label_at(entry: &Entry<'_>, value: &CStr) -> rustix::io::Result<()> {
    let mut path = PathBuf::new(of_descriptor(entry.directory).to_bytes())?;
    path.push(entry.name.to_bytes())?;
    let flags = XattrFlags::empty();
    lsetxattr(path.as_c_str(), ATTRIBUTE, value.to_bytes(), flags)
}

#[cold]
#[inline(never)]
fn failed(operation: &'static str, errno: Errno, path: &[u8]) -> Error {
    let error = Error::system(errno, operation).on(path);
    match errno {
        Errno::OPNOTSUPP => error.explain(
            "this file system takes no SELinux labels, or the kernel runs without SELinux",
        ),
        Errno::INVAL => error.explain("SELinux's policy does not know the label"),
        Errno::BUSY => error.explain("the directory was moved while its files were labelled"),
        Errno::NAMETOOLONG => error.explain("the tree is too deep to be labelled"),
        Errno::NOENT => error.explain("labelling files needs a procfs on /proc"),
        _ => error,
    }
}
