//! mount(2) and umount2(2), which take nothing but paths, on descriptors: by their names in procfs. For where the
//! mount API of `mount.rs` is missing (before Linux 5.2; mount_setattr(2) before 5.12) or refused.

use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::fd::{Fd, Fds};
use super::flags;
use super::mount::{Attributes, attributes_of, has_set_attributes, set_attributes, status};
use super::resolve::DIRECTORY;
use crate::error::{During, Error, Result, Text};

/// <linux/magic.h>
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// Only the root of a procfs has it: <linux/proc_fs.h>.
pub const PROC_ROOT_INO: u64 = 1;

/// The process's own directory in a procfs, opened once: neither an image nor the switch of the root can change where
/// the names in it lead. Without one there is "." for what concerns a single directory.
pub struct Names<'a> {
    process: Option<Process<'a>>,
}

struct Process<'a> {
    /// /proc
    procfs: Fd<'a>,
    /// /proc/self
    directory: Fd<'a>,
    /// /proc/self/fd
    names: Fd<'a>,
}

impl<'a> Names<'a> {
    pub fn open(fds: &'a Fds) -> Result<Self> {
        let process = open_process(fds).during("openat", b"/proc/self")?;
        Ok(Names { process })
    }

    fn process(&self) -> Result<&Process<'a>> {
        self.process.as_ref().ok_or_else(no_procfs)
    }

    /// What is on /proc/self/task, a directory that is always there and that only this process misses: the place of
    /// the stage. What is mounted on it goes with the process at the latest.
    pub fn open_task(&self, fds: &'a Fds) -> Result<Fd<'a>> {
        let task = rustix::fs::openat(
            &self.process()?.directory,
            c"task",
            DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        );
        task.map(|fd| fds.own(fd))
            .during("openat", b"/proc/self/task")
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
fn open_process(fds: &Fds) -> rustix::io::Result<Option<Process<'_>>> {
    let open = |at: BorrowedFd<'_>, path: &CStr| match rustix::fs::openat(
        at,
        path,
        DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    ) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => opened.map(|fd| Some(fds.own(fd))),
    };
    let Some(procfs) = open(CWD, c"/proc")? else {
        return Ok(None);
    };
    if !is_procfs(&procfs)? || status(&procfs, c"")?.inode != PROC_ROOT_INO {
        return Ok(None);
    }
    // A link, of the procfs itself.
    let directory = match rustix::fs::openat(&procfs, c"self", DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        directory => fds.own(directory?),
    };
    let Some(names) = open(directory.as_fd(), c"fd")? else {
        return Ok(None);
    };
    Ok(Some(Process {
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

/// Runs a call in another directory, and returns to that of the caller.
fn within(directory: BorrowedFd<'_>, call: impl FnOnce() -> rustix::io::Result<()>) -> Result<()> {
    let before = rustix::fs::openat(CWD, c".", DIRECTORY, Mode::empty())
        .during("openat", b".")
        .map_err(|error| error.explain("mount(2) on descriptors leaves the working directory for a moment, and must be able to return"))?;
    rustix::process::fchdir(directory).during("fchdir", b"")?;
    let result = call();
    rustix::process::fchdir(&before).during("fchdir", b".")?;
    result.during("mount", b"")
}

/// mount_setattr(2) on a descriptor's mount; where it is missing or refused, and the mount is attached, mount(2).
pub fn change_attributes(
    classic: Option<&Names<'_>>,
    mount: impl AsFd,
    recursive: bool,
    change: &Attributes,
) -> Result<()> {
    let mount = mount.as_fd();
    let errno = match (set_attributes(mount, c"", recursive, change), classic) {
        (Ok(()), _) => return Ok(()),
        // EINVAL: before Linux 5.14 it does not know MOUNT_ATTR_NOSYMFOLLOW.
        (Err(errno @ (Errno::NOSYS | Errno::PERM | Errno::INVAL)), Some(names)) => {
            match names.set_attributes(mount, recursive, change) {
                // It is beyond mount(2), and EPERM may be the kernel's own.
                Err(error) if error.errno == Errno::NOSYS && has_set_attributes() => errno,
                result => return result,
            }
        }
        (Err(Errno::INVAL), None) => match without_nosymfollow(mount, change) {
            Some(change) => match set_attributes(mount, c"", recursive, &change) {
                Ok(()) => return Ok(()),
                Err(errno) => errno,
            },
            None => Errno::INVAL,
        },
        (Err(errno), _) => errno,
    };
    Err(Error::system(errno, "mount_setattr"))
}

/// The same change where mount_setattr(2) does not know MOUNT_ATTR_NOSYMFOLLOW, before Linux 5.14; `None` if it makes a
/// difference.
fn without_nosymfollow(mount: BorrowedFd<'_>, change: &Attributes) -> Option<Attributes> {
    let matters = attributes_of(mount).ok()? | change.set;
    (change.clear & !matters & MOUNT_ATTR_NOSYMFOLLOW != 0).then_some(Attributes {
        clear: change.clear & !MOUNT_ATTR_NOSYMFOLLOW,
        ..*change
    })
}

/// Whether a call was not made at all: it is missing, a seccomp policy answers for it, or a security module refuses
/// it. All that a lack of privilege refuses mount(2) refuses too.
pub fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM | Errno::ACCESS)
}

pub fn is_procfs(fd: impl AsFd) -> rustix::io::Result<bool> {
    let filesystem = rustix::fs::fstatfs(fd)?;
    #[allow(clippy::useless_conversion)] // f_type has another width elsewhere.
    Ok(i64::from(filesystem.f_type) == PROC_SUPER_MAGIC)
}

/// A descriptor's number.
pub type Name = Text<16>;

pub fn name(fd: impl AsFd) -> Name {
    Text::format(fd.as_fd().as_raw_fd())
}
