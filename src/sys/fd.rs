// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors that belong to the caller.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

/// For a directory that is only a place to look things up in.
pub const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// For a place of any kind, also of a link itself.
pub const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// openat(2) of something that exists.
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

    /// A descriptor of ours for what it refers to.
    pub fn duplicate(self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(self.as_fd(), 0)
    }
}

impl AsFd for CallersFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is not -1. The header demands that the descriptor stay open during the call. Where it does not,
        // system calls fail with EBADF or act on what the caller has opened in its place; no memory depends on it.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// Takes over the number that a callback returned, which may not be open at all.
///
/// # Errors
/// EBADF if it is not.
pub fn adopt(raw: RawFd) -> Result<OwnedFd> {
    CallersFd::new(raw)?;
    // SAFETY: it is open, and the header says that the library owns what the callback returns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// 0, 1 and 2, each of which may be closed: a system call on it then fails with EBADF.
pub const STANDARD: [StandardFd; 3] = [StandardFd(0), StandardFd(1), StandardFd(2)];

/// One of the process's standard descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandardFd(RawFd);

impl AsFd for StandardFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is not -1, and nothing of this library closes it.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl StandardFd {
    /// dup3(2) onto it, without O_CLOEXEC.
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
