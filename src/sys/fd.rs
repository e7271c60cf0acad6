// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opening descriptors, and descriptors that belong to the caller.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

/// Opens a directory only to look things up in it.
pub const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Opens a file of any kind as a place: a symbolic link itself, too.
pub const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a file that exists: openat(2).
pub fn open(at: impl AsFd, path: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// A descriptor that the caller gave by its number and keeps (`rootfs_fd`, `source_fd`, a socket).
#[derive(Clone, Copy, Debug)]
pub struct CallersFd(RawFd);

impl CallersFd {
    /// # Errors
    /// EBADF if it is not open now.
    pub fn new(raw: RawFd) -> Result<Self> {
        let fd = CallersFd(raw);
        if raw < 0 {
            return Err(Errno::BADF);
        }
        rustix::io::fcntl_getfd(fd.as_fd())?;
        Ok(fd)
    }

    /// A descriptor that this library owns, for the same open file.
    pub fn duplicate(self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(self.as_fd(), 0)
    }
}

impl AsFd for CallersFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is not -1. The header demands that the descriptor stay open during the call. If the
        // caller closes it, system calls fail with EBADF or act on what the caller has opened in its place; no memory
        // depends on it.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// Takes over the descriptor that a callback returned. Its number may be wrong, so it is tried first.
///
/// # Errors
/// EBADF if no descriptor with that number is open.
pub fn adopt(raw: RawFd) -> Result<OwnedFd> {
    CallersFd::new(raw)?;
    // SAFETY: the descriptor is open, and the header says that the library owns what the callback returns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Standard input, output and error. Each may be closed: then a system call on it fails with EBADF.
pub const STANDARD: [StandardFd; 3] = [StandardFd(0), StandardFd(1), StandardFd(2)];

/// One of the process's standard descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandardFd(RawFd);

impl AsFd for StandardFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is not -1, and no code of this library closes it.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl StandardFd {
    /// Makes it a duplicate of another descriptor that execve(2) leaves open: dup3(2) without O_CLOEXEC.
    pub fn replace(self, with: BorrowedFd<'_>) -> Result<()> {
        loop {
            // SAFETY: dup3(2) touches no memory; 0, 1 and 2 belong to the caller, who asked for this.
            if unsafe { libc::syscall(libc::SYS_dup3, with.as_raw_fd(), self.0, 0) } >= 0 {
                return Ok(());
            }
            match super::mount::last_errno() {
                Errno::INTR | Errno::BUSY => {}
                errno => return Err(errno),
            }
        }
    }
}
