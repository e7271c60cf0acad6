// SPDX-License-Identifier: MIT OR Apache-2.0
//! User namespaces that no process lives in: mappings for idmapped mounts.

use core::ffi::{CStr, c_int, c_long};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::error::{During, Error, Result};
use crate::sys::path::ShortString;
use crate::sys::process::{Blocked, clone, reap};

/// A mapping must be shorter than a page: map_write() in kernel/user_namespace.c.
const SMALLEST_PAGE: usize = 4096;

/// Makes a user namespace with these mappings (the text of /proc/PID/uid_map and gid_map) and returns a descriptor of
/// it. The kernel makes one only with a process in it. That process is gone when this returns, and the caller's
/// wait(2) and SIGCHLD handler never see it.
pub fn with_mappings(uids: &[u8], gids: &[u8]) -> Result<OwnedFd> {
    let holder = Holder::start()
        .during("clone", b"a user namespace")
        .map_err(explain_clone)?;
    let proc = holder.directory()?;
    write_map(proc.as_fd(), c"uid_map", uids)?;
    write_map(proc.as_fd(), c"gid_map", gids)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&proc, c"ns/user", flags, Mode::empty())
        .during("openat", b"/proc/PID/ns/user")
}

fn explain_clone(error: Error) -> Error {
    match error.errno {
        Errno::NOSPC | Errno::USERS => error.explain(
            "there are too many user namespaces (/proc/sys/user/max_user_namespaces), or too many in one another",
        ),
        Errno::PERM => error.explain(
            "user namespaces may not be made here: this process lives in a chroot(2), or a policy forbids it",
        ),
        Errno::INVAL => error.explain("this kernel has no user namespaces"),
        Errno::AGAIN => error.explain("this user has as many processes as RLIMIT_NPROC allows"),
        _ => error,
    }
}

/// Writes a mapping in one write(2), because the kernel takes no second one.
fn write_map(proc: BorrowedFd<'_>, name: &CStr, text: &[u8]) -> Result<()> {
    let file = rustix::fs::openat(proc, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .during("openat", name.to_bytes())?;
    rustix::io::write(&file, text)
        .during("write", name.to_bytes())
        .map(drop)
        .map_err(|error| match error.errno {
            Errno::PERM => error.explain(
                "it takes CAP_SETUID and CAP_SETGID (and CAP_SETFCAP to map 0), and ids that are mapped in the \
                    caller's own user namespace",
            ),
            Errno::INVAL if text.len() >= SMALLEST_PAGE => error.explain(format_args!(
                "{} bytes of mappings are more than the kernel takes; use fewer ranges",
                text.len()
            )),
            Errno::INVAL => error.explain("the kernel refuses these mappings"),
            _ => error,
        })
}

/// Whether a descriptor refers to a namespace of the given kind, a CLONE_NEW* flag: NS_GET_NSTYPE in ioctl_ns(2).
pub fn is_namespace(fd: BorrowedFd<'_>, kind: c_int) -> bool {
    /// _IO(0xb7, 3) of <linux/nsfs.h>.
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: this ioctl(2) takes no argument and writes to no memory.
    let found = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) };
    found == kind
}

/// Whether a user namespace is the one that this process is in. Without a procfs the answer is no.
pub fn is_own(namespace: impl AsFd) -> bool {
    let own = rustix::fs::stat(c"/proc/self/ns/user");
    let it = rustix::fs::fstat(namespace);
    own.and_then(|own| Ok((own, it?)))
        .is_ok_and(|(own, it)| (own.st_dev, own.st_ino) == (it.st_dev, it.st_ino))
}

/// A process that only keeps a new user namespace alive. Dropping it kills and reaps the process.
struct Holder(OwnedFd);

impl Holder {
    /// The child sends no signal at its end, so that only a wait(2) with __WALL or by its pidfd sees it. It shares
    /// the table of descriptors, so that it keeps none of them open.
    fn start() -> rustix::io::Result<Self> {
        let parent = rustix::process::getpid().as_raw_nonzero().get();
        // Signals are blocked because the caller's handlers must not run in the child.
        let blocked = Blocked::all();
        let child = clone(libc::CLONE_NEWUSER | libc::CLONE_FILES, || be_still(parent));
        drop(blocked);
        child.map(Holder)
    }

    /// The process's directory in /proc. That procfs may be of a pid namespace above this one, so the number is read
    /// from /proc itself.
    fn directory(&self) -> Result<OwnedFd> {
        let raw = self.0.as_raw_fd();
        let fdinfo = ShortString::format(format_args!("/proc/self/fdinfo/{raw}"));
        let name = fdinfo.to_bytes();
        let hint = "is /proc mounted, and of this pid namespace or one above it?";
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &*fdinfo, flags, Mode::empty())
            .during("openat", name)
            .map_err(|error| error.explain(hint))?;
        let mut text = [0; 1024];
        let length = rustix::io::read(&file, &mut text).during("read", name)?;
        let pid = pid_in(&text[..length]).ok_or_else(|| {
            Error::check(
                Errno::SRCH,
                format_args!("/proc does not show a new process: {hint}"),
            )
        })?;
        let directory = ShortString::format(format_args!("/proc/{pid}"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &*directory, flags, Mode::empty())
            .during("openat", directory.to_bytes())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // An error here leaves nothing behind: the kernel reaps the process together with this one at the latest.
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
        reap(&self.0);
    }
}

/// Reads the line "Pid:\t1234" of a pidfd's fdinfo. 0 and -1 mean that /proc does not show the process
/// (pidfd_open(2)).
fn pid_in(fdinfo: &[u8]) -> Option<i32> {
    let line = fdinfo
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"Pid:"))?;
    let pid: i32 = core::str::from_utf8(line).ok()?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// The child's whole life. It makes system calls only.
fn be_still(parent: c_int) {
    // SAFETY: none of these system calls touches memory.
    unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_SET_PDEATHSIG,
            libc::SIGKILL,
            0,
            0,
            0,
        );
        // The parent may have died before prctl(2) took effect.
        while libc::syscall(libc::SYS_getppid) == c_long::from(parent) {
            libc::syscall(libc::SYS_ppoll, 0, 0, 0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_fdinfo() {
        let text =
            b"pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t4\nPid:\t1234\nNSpid:\t1234\t1\n";
        assert_eq!(pid_in(text), Some(1234));
        assert_eq!(pid_in(b"pos:\t0\nPid:\t-1\n"), None);
        assert_eq!(pid_in(b"pos:\t0\n"), None);
    }

    #[test]
    fn a_namespace_outlives_its_process() {
        // Unprivileged users may not make user namespaces on every system.
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        if uid != 0 {
            return;
        }
        let map = |id| format!("0 {id} 1\n").into_bytes();
        let namespace = with_mappings(&map(uid), &map(gid)).unwrap();
        assert!(is_namespace(namespace.as_fd(), libc::CLONE_NEWUSER));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_namespace(file.as_fd(), libc::CLONE_NEWUSER));
        let refused = with_mappings(b"0 0 1\n0 0 1\n", &map(gid)).unwrap_err();
        assert_eq!(refused.errno, Errno::INVAL);
    }
}
