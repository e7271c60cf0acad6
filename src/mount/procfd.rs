// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls mount(2) and umount2(2) on descriptors. These calls take only paths, so a descriptor is given by its name in
//! /proc/self/fd. They are used where the mount API is refused or missing (before Linux 5.2, for mount_setattr(2)
//! before 5.12).

use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::MOUNT_ATTR_IDMAP;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::error::{During, Error, Result};
use crate::mount::status_of;
use crate::sys::fd::{DIRECTORY, open};
use crate::sys::flags;
use crate::sys::mount::{Attributes, PROC, PROC_ROOT_INO, attributes_of, fs_type, status};
use crate::text::Text;

/// The process's own directory in a procfs. It is opened once, so that neither an image nor the switch of the root
/// can change where the names in it lead. Without a procfs a directory is still reached as ".".
pub struct ProcFd {
    process: Option<Process>,
}

struct Process {
    /// /proc
    procfs: OwnedFd,
    /// /proc/self
    directory: OwnedFd,
    /// /proc/self/fd
    names: OwnedFd,
}

/// A descriptor's number.
pub type Name = Text<16>;

pub fn name(fd: impl AsFd) -> Name {
    Text::format(fd.as_fd().as_raw_fd())
}

impl ProcFd {
    pub fn new() -> Result<Self> {
        let process = open_process().during("openat", b"/proc/self")?;
        Ok(ProcFd { process })
    }

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().ok_or_else(no_procfs)
    }

    /// Opens what is mounted on /proc/self/task, the place of the stage. This directory is always there, and only
    /// this process misses it. A mount on it is gone when the process is gone.
    pub fn open_task(&self) -> Result<OwnedFd> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        open(&self.process()?.directory, c"task", flags).during("openat", b"/proc/self/task")
    }

    /// Makes the procfs private, so that mounts in it do not propagate to other mount namespaces.
    pub fn separate(&self) -> Result<()> {
        let slave = Attributes::propagation(flags::MS_SLAVE);
        match &self.process {
            Some(process) => self.set_attributes(&process.procfs, false, &slave),
            None => Ok(()),
        }
    }

    /// Runs a system call that takes the names of descriptors as its paths.
    fn with_names(&self, call: impl FnOnce() -> rustix::io::Result<()>) -> Result<()> {
        within(self.process()?.names.as_fd(), call)
    }

    /// Runs a system call that takes the name of one descriptor as its path.
    fn with_name(
        &self,
        fd: BorrowedFd<'_>,
        call: impl FnOnce(&str) -> rustix::io::Result<()>,
    ) -> Result<()> {
        if let Some(process) = &self.process {
            return within(process.names.as_fd(), || call(name(fd).as_str()));
        }
        if !status_of(fd, b"")?.is_directory() {
            return Err(no_procfs());
        }
        within(fd, || call("."))
    }

    pub fn bind(&self, source: impl AsFd, target: impl AsFd, recursive: bool) -> Result<()> {
        let (source, target) = (name(source), name(target));
        self.with_names(|| {
            if recursive {
                rustix::mount::mount_bind_recursive(source.as_str(), target.as_str())
            } else {
                rustix::mount::mount_bind(source.as_str(), target.as_str())
            }
        })
    }

    /// Moves a mount: MS_MOVE.
    pub fn attach(&self, mount: impl AsFd, target: impl AsFd) -> Result<()> {
        let (mount, target) = (name(mount), name(target));
        self.with_names(|| rustix::mount::mount_move(mount.as_str(), target.as_str()))
    }

    /// Mounts a new tmpfs with MS_* flags.
    pub fn tmpfs(&self, target: impl AsFd, flags: u64, data: &CStr) -> Result<()> {
        let flags = MountFlags::from_bits_retain(flags as u32);
        self.with_name(target.as_fd(), |path| {
            rustix::mount::mount(c"tmpfs", path, c"tmpfs", flags, data)
        })
    }

    /// Unmounts a mount and all mounts below it.
    pub fn unmount(&self, mount: &Name) -> Result<()> {
        self.with_names(|| rustix::mount::unmount(mount.as_str(), UnmountFlags::DETACH))
    }

    /// Does what mount_setattr(2) does, on an attached mount.
    ///
    /// # Errors
    /// ENOSYS for what mount(2) can't do: to change the attributes of all mounts below, and to idmap.
    pub fn set_attributes(
        &self,
        mount: impl AsFd,
        recursive: bool,
        change: &Attributes,
    ) -> Result<()> {
        let mount = mount.as_fd();
        if change.set | change.clear != 0 {
            if recursive || change.set & MOUNT_ATTR_IDMAP != 0 {
                return Err(Error::system(Errno::NOSYS, "mount_setattr"));
            }
            let before = attributes_of(mount).during("fstatfs", b"")?;
            let flags = flags::to_ms((before & !change.clear) | change.set) | flags::MS_BIND;
            let flags = MountFlags::from_bits_retain(flags as u32);
            self.with_name(mount, |path| rustix::mount::mount_remount(path, flags, c""))?;
        }
        if change.propagation != 0 {
            let all = if recursive { flags::MS_REC } else { 0 };
            let flags = MountPropagationFlags::from_bits_retain((change.propagation | all) as u32);
            self.with_name(mount, |path| rustix::mount::mount_change(path, flags))?;
        }
        Ok(())
    }
}

/// `None` if no procfs is mounted on /proc, or one that does not show this process.
fn open_process() -> rustix::io::Result<Option<Process>> {
    let open_at =
        |at: BorrowedFd<'_>, path: &CStr| match open(at, path, DIRECTORY | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            opened => opened.map(Some),
        };
    let Some(procfs) = open_at(CWD, c"/proc")? else {
        return Ok(None);
    };
    if fs_type(&procfs)? != PROC || status(&procfs, c"")?.inode != PROC_ROOT_INO {
        return Ok(None);
    }
    // "self" is a link that procfs itself makes.
    let directory = match open(&procfs, c"self", DIRECTORY) {
        Err(Errno::NOENT) => return Ok(None),
        directory => directory?,
    };
    let names = open_at(directory.as_fd(), c"fd")?;
    Ok(names.map(|names| Process {
        procfs,
        directory,
        names,
    }))
}

fn no_procfs() -> Error {
    Error::system(Errno::NOENT, "openat")
        .on(b"/proc/self")
        .explain("mount(2) on descriptors needs a procfs on /proc")
}

/// The name in errors of the system calls around `within`.
const MOUNT: &str = "mount";

/// Whether the process could not return to its working directory. Then no other way may be tried.
pub fn is_astray(error: &Error) -> bool {
    error.details().operation == "fchdir"
}

/// Whether the kernel refused the system call itself with EACCES, as a security module does. An error of fchdir(2)
/// before or after it does not count.
pub fn is_refused_by_module(error: &Error) -> bool {
    error.errno == Errno::ACCESS && error.details().operation == MOUNT
}

/// Runs a system call in another working directory, and returns to the caller's.
fn within(directory: BorrowedFd<'_>, call: impl FnOnce() -> rustix::io::Result<()>) -> Result<()> {
    const WHY: &str = "mount(2) on descriptors leaves the working directory for a moment, and must be able to return";
    let before = open(CWD, c".", DIRECTORY)
        .during("openat", b".")
        .map_err(|error| error.explain(WHY))?;
    rustix::process::fchdir(directory).during("fchdir", b"/proc/self/fd")?;
    let result = call();
    rustix::process::fchdir(&before)
        .during("fchdir", b".")
        .map_err(|error| error.explain(WHY))?;
    result.during(MOUNT, b"")
}
