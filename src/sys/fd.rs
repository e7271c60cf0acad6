//! Descriptors that live no longer than one call of the library.

use core::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// How many descriptors may wait to be closed: about what a default container's start opens, and
/// far from any limit (RLIMIT_NOFILE is 1,024 by default).
const WAITING: usize = 32;

/// Closes descriptors several at a time: a third of the system calls of a container's start would
/// be close(2), and neighbours can go in one close_range(2).
pub struct Fds {
    waiting: [Cell<RawFd>; WAITING],
    len: Cell<usize>,
}

impl Fds {
    pub fn new() -> Self {
        Fds {
            waiting: [const { Cell::new(-1) }; WAITING],
            len: Cell::new(0),
        }
    }

    /// Takes over a descriptor, to be closed some time after its drop and before that of `self`.
    pub fn own(&self, fd: OwnedFd) -> Fd<'_> {
        Fd {
            raw: fd.into_raw_fd(),
            fds: self,
        }
    }

    /// Takes over the number that a callback returned, which may not be open at all.
    ///
    /// # Errors
    /// EBADF if it is not.
    pub fn adopt(&self, raw: RawFd) -> rustix::io::Result<Fd<'_>> {
        if raw < 0 {
            return Err(rustix::io::Errno::BADF);
        }
        // SAFETY: borrowed for one call that fails with EBADF if it is not open.
        rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(raw) })?;
        Ok(Fd { raw, fds: self })
    }

    /// Closes all that wait, as must be before foreign code runs.
    pub fn flush(&self) {
        let mut raw = [0; WAITING];
        let raw = &mut raw[..self.len.replace(0)];
        for (copy, waiting) in raw.iter_mut().zip(&self.waiting) {
            *copy = waiting.get();
        }
        for run in raw.chunk_by(|a, b| a + 1 == *b) {
            close_run(run);
        }
    }

    /// Keeps those that wait in the order of their numbers.
    fn retire(&self, raw: RawFd) {
        if self.len.get() == WAITING {
            self.flush();
        }
        let mut place = self.len.get();
        self.len.set(place + 1);
        while place > 0 && self.waiting[place - 1].get() > raw {
            self.waiting[place].set(self.waiting[place - 1].get());
            place -= 1;
        }
        self.waiting[place].set(raw);
    }
}

impl Default for Fds {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Fds {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Closes descriptors with consecutive numbers.
fn close_run(run: &[RawFd]) {
    if let [first, .., last] = *run {
        // SAFETY: an Fd owned each of them, and none is used any more.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        // ENOSYS before Linux 5.9 and under old seccomp policies.
        if closed == 0 {
            return;
        }
    }
    for &raw in run {
        // SAFETY: as above.
        unsafe { rustix::io::close(raw) };
    }
}

/// A descriptor that `Fds` closes.
pub struct Fd<'a> {
    raw: RawFd,
    fds: &'a Fds,
}

impl Fd<'_> {
    /// Gives it to somebody else, who closes it.
    pub fn release(self) -> OwnedFd {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: an Fd owns its descriptor, and this one is not dropped.
        unsafe { OwnedFd::from_raw_fd(this.raw) }
    }
}

impl AsFd for Fd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until the drop of self, from which the borrow's lifetime comes.
        unsafe { BorrowedFd::borrow_raw(self.raw) }
    }
}

impl AsRawFd for Fd<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.raw
    }
}

impl Drop for Fd<'_> {
    fn drop(&mut self) {
        self.fds.retire(self.raw);
    }
}

/// Borrows a number that the C caller promised to keep open (`rootfs_fd`, `source_fd`).
///
/// # Errors
/// EBADF if it is not open now.
pub fn borrow<'a>(raw: RawFd) -> rustix::io::Result<BorrowedFd<'a>> {
    if raw < 0 {
        return Err(rustix::io::Errno::BADF);
    }
    // SAFETY: the header demands that it stay open during the call; if it does not, system calls fail with EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_getfd(fd)?;
    Ok(fd)
}

/// One of the caller's standard descriptors, which may be closed: only for calls that then fail with EBADF.
pub fn standard(raw: RawFd) -> BorrowedFd<'static> {
    // SAFETY: never closed by this library; system calls on it fail cleanly.
    unsafe { BorrowedFd::borrow_raw(raw) }
}

/// dup3(2) onto one of the standard descriptors, without O_CLOEXEC.
pub fn replace_standard(with: BorrowedFd<'_>, raw: RawFd) -> rustix::io::Result<()> {
    loop {
        // SAFETY: 0, 1 and 2 belong to the caller, who asked for this.
        if unsafe { libc::syscall(libc::SYS_dup3, with.as_raw_fd(), raw, 0) } >= 0 {
            return Ok(());
        }
        match super::mount::last_errno() {
            rustix::io::Errno::INTR | rustix::io::Errno::BUSY => {}
            errno => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn every_descriptor_is_closed_whatever_their_order() {
        let fds = Fds::new();
        let mut open: Vec<_> = (0..WAITING * 3).map(|_| fds.own(open_null())).collect();
        let raw: Vec<_> = open.iter().map(|fd| fd.as_raw_fd()).collect();
        while !open.is_empty() {
            open.swap_remove(open.len() / 2);
        }
        drop(open);
        fds.flush();
        let still_open: Vec<_> = raw
            .iter()
            .filter(|raw| {
                std::fs::read_link(format!("/proc/self/fd/{raw}"))
                    .is_ok_and(|link| link.as_os_str() == "/dev/null")
            })
            .collect();
        // Other tests' threads may have taken a number again, but not for /dev/null all at once.
        assert!(still_open.len() < raw.len() / 4, "{still_open:?}");
    }

    #[test]
    fn numbers_that_are_not_open_are_refused() {
        let fds = Fds::new();
        assert_eq!(fds.adopt(-1).err(), Some(rustix::io::Errno::BADF));
        assert_eq!(fds.adopt(1 << 20).err(), Some(rustix::io::Errno::BADF));
        assert_eq!(borrow(1 << 20).err(), Some(rustix::io::Errno::BADF));
    }
}
