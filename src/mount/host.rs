// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives a process in a user namespace access to the host's mounts after it has left the host's mount namespace
//! without a copy of it. Each directory of the host from which something is mounted is the root of a mount namespace
//! of its own (open_tree(2) with OPEN_TREE_NAMESPACE, Linux 7.0). The process joins such a namespace for one call.

use core::cell::Cell;
use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::error::{During, Error, Result};
use crate::mount::status_of;
use crate::sys::fd::{DIRECTORY, ENTRY, open};
use crate::sys::mount::{Attributes, set_attributes};
use crate::sys::namespace;
use crate::sys::path::{PathBuf, below, split};
use crate::sys::resolve::Root;

/// The most directories that are kept. Each takes a descriptor, and a start must work with 20 descriptors.
const MOST: usize = 8;

pub struct HostMounts {
    directories: [Option<KeptDirectory>; MOST],
    /// The host's "/" and the caller's working directory, which this process keeps until the end. A path still leads
    /// where it led before. The file there can be looked at, but not mounted.
    root: OwnedFd,
    cwd: OwnedFd,
    /// The container's mount namespace.
    container: Option<OwnedFd>,
    /// Set if the process could not come back to the container's mount namespace.
    is_lost: Cell<bool>,
}

struct KeptDirectory {
    path: PathBuf,
    namespace: OwnedFd,
}

/// Why a directory can't be kept.
pub enum Obstacle {
    /// The kernel or a security module refuses a system call.
    Refused(Error),
    /// The configuration asks for something that this way can't do.
    Plan(&'static str),
    /// The process has left the host's mount namespace already, so that it is too late for another way.
    Failed(Error),
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Self {
        Obstacle::Refused(error)
    }
}

impl HostMounts {
    pub fn new() -> Result<Self> {
        Ok(HostMounts {
            directories: [const { None }; MOST],
            root: open(CWD, c"/", DIRECTORY).during("openat", b"/")?,
            cwd: open(CWD, c".", DIRECTORY).during("openat", b".")?,
            container: None,
            is_lost: Cell::new(false),
        })
    }

    /// Keeps the directory or file at a path for later. A path that can't be reached is no error here: the call that
    /// mounts it will tell.
    pub fn keep(&mut self, path: &CStr, follow: bool) -> core::result::Result<(), Obstacle> {
        if path.to_bytes().first() != Some(&b'/') {
            return Err(Obstacle::Plan("a source is a relative path"));
        }
        let Ok(there) = open(CWD, path, ENTRY) else {
            return Ok(());
        };
        let kind = status_of(&there, path.to_bytes())?;
        if follow && kind.mode & libc::S_IFMT == libc::S_IFLNK {
            return match open(CWD, path, DIRECTORY) {
                Ok(directory) => self.keep_directory(path.to_bytes(), directory.as_fd()),
                Err(_) => Err(Obstacle::Plan("a source is a symbolic link to a file")),
            };
        }
        if kind.is_directory() {
            return self.keep_directory(path.to_bytes(), there.as_fd());
        }
        let above = PathBuf::new(split(path.to_bytes()).0).during("mmap", b"")?;
        match open(CWD, above.as_c_str(), DIRECTORY) {
            Ok(directory) => self.keep_directory(above.as_c_str().to_bytes(), directory.as_fd()),
            Err(_) => Ok(()),
        }
    }

    fn keep_directory(
        &mut self,
        path: &[u8],
        directory: BorrowedFd<'_>,
    ) -> core::result::Result<(), Obstacle> {
        let path = PathBuf::new(path).during("mmap", b"")?;
        for slot in &mut self.directories {
            match slot {
                Some(kept) if kept.path.as_c_str() == path.as_c_str() => return Ok(()),
                Some(_) => {}
                None => {
                    let namespace = namespace::of_tree(directory)
                        .during("open_tree", path.as_c_str().to_bytes())?;
                    *slot = Some(KeptDirectory { path, namespace });
                    return Ok(());
                }
            }
        }
        Err(Obstacle::Plan(
            "there are too many directories to mount from",
        ))
    }

    /// Enters a mount namespace that has the rootfs alone, and returns its root. Its mounts are peers of the host's
    /// until they get `propagation`.
    pub fn leave(
        &mut self,
        rootfs: BorrowedFd<'_>,
        name: &[u8],
        propagation: u64,
    ) -> core::result::Result<OwnedFd, Obstacle> {
        let container = namespace::of_tree(rootfs).during("open_tree", name)?;
        namespace::join(&container).during("setns", name)?;
        self.container = Some(container);
        self.enter(name, propagation).map_err(Obstacle::Failed)
    }

    fn enter(&self, name: &[u8], propagation: u64) -> Result<OwnedFd> {
        let root = open(CWD, c"/", DIRECTORY).during("openat", name)?;
        set_attributes(&root, c"", true, &Attributes::propagation(propagation))
            .during("mount_setattr", name)?;
        self.stand_on_host().during("chroot", b"/")?;
        Ok(root)
    }

    fn stand_on_host(&self) -> rustix::io::Result<()> {
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(c".")?;
        rustix::process::fchdir(&self.cwd)
    }

    /// Whether the process is in the container's mount namespace, to which it returns after each visit to another.
    pub fn check(&self) -> Result<()> {
        if self.is_lost.get() {
            return Err(Error::system(Errno::INVAL, "setns")
                .explain("the process could not come back to the container's mount namespace"));
        }
        Ok(())
    }

    /// Runs `act` on the file at a path, in the mount namespace that has it. `None` if no directory that was kept has
    /// it.
    pub fn visit<T>(
        &self,
        path: &CStr,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<T>,
    ) -> Option<Result<T>> {
        let path = PathBuf::new(path.to_bytes()).ok()?;
        let path = path.as_c_str().to_bytes();
        let kept = self.directories.iter().flatten();
        let above = kept.filter_map(|it| Some((it, below(it.path.as_c_str().to_bytes(), path)?)));
        let (directory, rest) = above.min_by_key(|(_, rest)| rest.len())?;
        Some(self.visit_directory(directory, path, rest, act))
    }

    fn visit_directory<T>(
        &self,
        directory: &KeptDirectory,
        path: &[u8],
        rest: &[u8],
        act: impl FnOnce(BorrowedFd<'_>) -> Result<T>,
    ) -> Result<T> {
        let rest = PathBuf::new(rest).during("mmap", b"")?;
        namespace::join(&directory.namespace).during("setns", path)?;
        let root = open(CWD, c"/", DIRECTORY);
        // A link would be followed in this namespace's root instead of the host's.
        let there =
            root.and_then(|root| Root::new(root.as_fd()).open_plain(rest.as_c_str(), ENTRY));
        let done = there
            .during("openat2", path)
            .and_then(|there| act(there.as_fd()));
        let back = self.container.as_ref().map_or(Ok(()), |container| {
            namespace::join(container).and_then(|()| self.stand_on_host())
        });
        self.is_lost.set(self.is_lost.get() || back.is_err());
        back.during("setns", path).and(done)
    }
}
