// SPDX-License-Identifier: MIT OR Apache-2.0
//! mount(2) and umount2(2), which take nothing but paths, on descriptors: by their names in /proc/self/fd. For where the
//! mount API is missing (before Linux 5.2; mount_setattr(2) before 5.12) or refused.

use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::MOUNT_ATTR_IDMAP;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::error::{During, Error, Result};
use crate::sys::fd::{DIRECTORY, open};
use crate::sys::flags;
use crate::sys::mount::{Attributes, PROC, PROC_ROOT_INO, attributes_of, fs_type, status};
use crate::text::Text;

/// The process's own directory in a procfs, opened once: neither an image nor the switch of the root can change where
/// the names in it lead. Without one there is "." for what concerns a single directory.
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
    pub fn open() -> Result<Self> {
        let process = open_process().during("openat", b"/proc/self")?;
        Ok(ProcFd { process })
    }

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().ok_or_else(no_procfs)
    }

    /// What is on /proc/self/task, a directory that is always there and that only this process misses: the place of
    /// the stage. What is mounted on it goes with the process at the latest.
    pub fn open_task(&self) -> Result<OwnedFd> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        open(&self.process()?.directory, c"task", flags).during("openat", b"/proc/self/task")
    }

    /// Keeps what is mounted in the procfs from other mount namespaces.
    pub fn separate(&self) -> Result<()> {
        let slave = Attributes::propagation(flags::MS_SLAVE);
        match &self.process {
            Some(process) => self.set_attributes(&process.procfs, false, &slave),
            None => Ok(()),
        }
    }

    /// Runs a call that takes names of descriptors as its paths.
    fn with_names(&self, call: impl FnOnce() -> rustix::io::Result<()>) -> Result<()> {
        within(self.process()?.names.as_fd(), call)
    }

    /// Runs a call that takes the path of one descriptor.
    fn with_name(
        &self,
        fd: BorrowedFd<'_>,
        call: impl FnOnce(&str) -> rustix::io::Result<()>,
    ) -> Result<()> {
        if let Some(process) = &self.process {
            return within(process.names.as_fd(), || call(name(fd).as_str()));
        }
        if !status(fd, c"").during("statx", b"")?.is_directory() {
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

    /// MS_MOVE.
    pub fn attach(&self, mount: impl AsFd, target: impl AsFd) -> Result<()> {
        let (mount, target) = (name(mount), name(target));
        self.with_names(|| rustix::mount::mount_move(mount.as_str(), target.as_str()))
    }

    /// A new tmpfs, with MS_* flags.
    pub fn tmpfs(&self, target: impl AsFd, flags: u64, data: &CStr) -> Result<()> {
        let flags = MountFlags::from_bits_retain(flags as u32);
        self.with_name(target.as_fd(), |path| {
            rustix::mount::mount(c"tmpfs", path, c"tmpfs", flags, data)
        })
    }

    /// With all that is mounted below.
    pub fn unmount(&self, mount: &Name) -> Result<()> {
        self.with_names(|| rustix::mount::unmount(mount.as_str(), UnmountFlags::DETACH))
    }

    /// What mount_setattr(2) does, on a mount that is attached.
    ///
    /// # Errors
    /// ENOSYS for what mount(2) has not: attributes of all the mounts below, and idmapping.
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

/// `None`: there is no procfs on /proc, or none that has this process.
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
    // A link, of the procfs itself.
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

/// The name of the calls that `within` runs, in errors.
const MOUNT: &str = "mount";

/// Whether the process could not return to its working directory: nothing else may be tried.
pub fn is_astray(error: &Error) -> bool {
    error.details().operation == "fchdir"
}

/// Whether the kernel has refused a call on descriptors with EACCES, as a security module does; not an error on the way to it
/// or back.
pub fn is_refused_by_module(error: &Error) -> bool {
    error.errno == Errno::ACCESS && error.details().operation == MOUNT
}

/// Runs a call in another directory, and returns to that of the caller.
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
