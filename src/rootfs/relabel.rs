//! "z" and "Z": what a bind brings in gets the container's SELinux label, on the host too. Allocates.
//!
//! Whoever shares the tree may change it meanwhile: all is found from the bind's own descriptor, and no link is
//! followed. Trees of any depth are walked with one directory open at a time.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, RawDir, XattrFlags, lsetxattr, setxattr};
use rustix::io::{Errno, retry_on_intr};

use super::names::Names;
use crate::error::{During, Error, Result};
use crate::plan::label::{NEVER_RELABELLED, refused};
use crate::sys::fd::{Fd, Fds};
use crate::sys::path::of_descriptor;

const ATTRIBUTE: &CStr = c"security.selinux";
/// Far deeper than trees are; it ends the walk of one that somebody makes deeper all the while.
const MAX_DEPTH: usize = 16_384;
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Labels what a descriptor refers to, which may be a link. By a path in procfs: descriptors from O_PATH
/// have no other way before Linux 6.13.
pub fn label(fd: BorrowedFd<'_>, label: &CStr) -> Result<()> {
    let path = of_descriptor(fd);
    let set = || {
        setxattr(
            path.as_c_str(),
            ATTRIBUTE,
            label.to_bytes(),
            XattrFlags::empty(),
        )
    };
    retry_on_intr(set).map_err(|errno| failed("setxattr", errno, ATTRIBUTE.to_bytes()))
}

/// Labels all that is in the tree, and its root last: a label there says that all is done.
pub fn relabel(fds: &Fds, tree: BorrowedFd<'_>, value: &CStr) -> Result<()> {
    let root = rustix::fs::fstat(tree).during("fstat", b"")?;
    // By whatever links, mounts or descriptors it was found.
    for path in NEVER_RELABELLED {
        if let Ok(there) = rustix::fs::stat(path)
            && (there.st_dev, there.st_ino) == (root.st_dev, root.st_ino)
        {
            return Err(refused(path.to_bytes()));
        }
    }
    if FileType::from_raw_mode(root.st_mode) == FileType::Directory {
        below(fds, tree, value)?;
    }
    label(tree, value)
}

/// A directory whose entries have been labelled.
struct Directory {
    device: u64,
    inode: u64,
    /// The directories in it.
    names: Names,
    /// Of its own path.
    path_length: usize,
}

fn below(fds: &Fds, tree: BorrowedFd<'_>, value: &CStr) -> Result<()> {
    let open = |at: BorrowedFd<'_>, name: &CStr| {
        rustix::fs::openat(at, name, DIRECTORY, Mode::empty()).map(|fd| fds.own(fd))
    };
    // Relative to the root, for errors.
    let mut path = Vec::new();
    let mut at = open(tree, c".").map_err(|errno| failed("openat", errno, b"."))?;
    let mut stack = vec![entries(&at, value, &mut path)?];
    while let Some(directory) = stack.last_mut() {
        path.truncate(directory.path_length);
        if let Some(name) = directory.names.take() {
            append(&mut path, name);
            match open(at.as_fd(), name) {
                // Removed or replaced since it was listed.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                opened => at = opened.map_err(|errno| failed("openat", errno, &path))?,
            }
            if stack.len() == MAX_DEPTH {
                return Err(failed("openat", Errno::NAMETOOLONG, &path));
            }
            stack.push(entries(&at, value, &mut path)?);
            continue;
        }
        stack.pop();
        if let Some(parent) = stack.last() {
            at = open(at.as_fd(), c"..").map_err(|errno| failed("openat", errno, &path))?;
            let found = rustix::fs::fstat(&at).during("fstat", &path)?;
            // Whoever moved the directory elsewhere must not have us walk on there.
            if (found.st_dev, found.st_ino) != (parent.device, parent.inode) {
                return Err(failed("openat", Errno::BUSY, &path));
            }
        }
    }
    Ok(())
}

/// Labels a directory's entries. One that is removed meanwhile needs no label.
fn entries(directory: &Fd<'_>, value: &CStr, path: &mut Vec<u8>) -> Result<Directory> {
    let status = rustix::fs::fstat(directory).during("fstat", path)?;
    let path_length = path.len();
    let mut names = Names::default();
    let mut target = of_descriptor(directory.as_fd());
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| failed("getdents64", errno, path))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let labelled = target.push(name.to_bytes()).and_then(|()| {
            let flags = XattrFlags::empty();
            retry_on_intr(|| lsetxattr(target.as_c_str(), ATTRIBUTE, value.to_bytes(), flags))
        });
        match labelled {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                append(path, name);
                return Err(failed("lsetxattr", errno, path));
            }
        }
        target.pop();
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            names.push(name);
        }
    }
    Ok(Directory {
        device: status.st_dev,
        inode: status.st_ino,
        names,
        path_length,
    })
}

fn append(path: &mut Vec<u8>, name: &CStr) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
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
