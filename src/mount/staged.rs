// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes mounts by mount(2) in a stage, which is a tmpfs on /proc/self/task. Nobody has a path to a mount in the
//! stage until the mount is complete and moved to its place. The stage exists only while mounts are made.

use core::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use core::ffi::CStr;

use libc::MOUNT_ATTR_RDONLY;
use rustix::fs::{FileType, Mode};

use super::procfd::{Name, ProcFd, name};
use super::{NewSuperblock, refusal};
use crate::error::{During, Result};
use crate::mount::status_of;
use crate::plan::data::Data;
use crate::sys::fd::{ENTRY, open};
use crate::sys::flags::{self, MS_RDONLY};
use crate::sys::mount::Attributes;
use crate::sys::path::of_descriptor;

/// The mount points of the stage.
pub const FOR_DIRECTORY: &CStr = c"directory";
pub const FOR_FILE: &CStr = c"file";
/// The stage's name in errors.
const STAGE: &[u8] = b"/proc/self/task";

pub struct MountStage {
    procfd: ProcFd,
    /// The tmpfs, with an empty directory and an empty file. It is mounted when it is first needed.
    root: RefCell<Option<OwnedFd>>,
}

/// A mount in the stage. Dropping this unmounts it.
pub struct Place<'a> {
    stage: &'a MountStage,
    name: Name,
}

impl Drop for MountStage {
    fn drop(&mut self) {
        // If this fails, the stage is gone when the process is gone.
        let _ = self.leave();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // If this fails, the mount stays where nobody sees it.
        let _ = self.stage.procfd.unmount(&self.name);
    }
}

impl Place<'_> {
    /// The mount has left the stage: it is attached elsewhere.
    pub fn vacate(self) {
        core::mem::forget(self);
    }

    /// Moves the mount to its place: MS_MOVE.
    pub fn attach(&self, mount: impl AsFd, target: BorrowedFd<'_>) -> Result<()> {
        self.stage.procfd.attach(mount, target)
    }

    /// Binds the mount to its place, with all mounts below it.
    pub fn attach_copy(&self, mount: impl AsFd, target: BorrowedFd<'_>) -> Result<()> {
        self.stage.procfd.bind(mount, target, true)
    }
}

impl MountStage {
    pub fn new(procfd: ProcFd) -> Self {
        MountStage {
            procfd,
            root: RefCell::new(None),
        }
    }

    pub fn procfd(&self) -> &ProcFd {
        &self.procfd
    }

    pub fn leave(&self) -> Result<()> {
        match self.root.take() {
            Some(root) => self.procfd.unmount(&name(&root)),
            None => Ok(()),
        }
    }

    /// The stage is not mounted any more.
    pub fn forget(&self) {
        self.root.take();
    }

    fn set_up(&self) -> Result<OwnedFd> {
        let flags = flags::MS_NOSUID | flags::MS_NODEV | flags::MS_NOEXEC;
        let data = c"nr_blocks=1,nr_inodes=4,mode=0700";
        self.procfd.tmpfs(self.procfd.open_task()?, flags, data)?;
        let root = self.procfd.open_task()?;
        if let Err(error) = self.fill(&root) {
            // An error of the clean-up would hide the first error, which matters.
            let _ = self.procfd.unmount(&name(&root));
            return Err(error);
        }
        Ok(root)
    }

    fn fill(&self, root: &OwnedFd) -> Result<()> {
        // MS_MOVE refuses a mount whose parent is shared, and a recursive bind of /proc must not take the stage
        // along.
        let unbindable = Attributes::propagation(flags::MS_UNBINDABLE);
        self.procfd.set_attributes(root, false, &unbindable)?;
        rustix::fs::mkdirat(root, FOR_DIRECTORY, Mode::RWXU).during("mkdirat", STAGE)?;
        rustix::fs::mknodat(root, FOR_FILE, FileType::RegularFile, Mode::RUSR, 0)
            .during("mknodat", STAGE)
    }

    /// Makes a mount on the mount point of its kind, and opens its root.
    fn take_in(
        &self,
        is_directory: bool,
        mount: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<(OwnedFd, Place<'_>)> {
        if self.root.borrow().is_none() {
            let root = self.set_up()?;
            self.root.replace(Some(root));
        }
        let root = self.root.borrow();
        let open = || {
            let name = if is_directory {
                FOR_DIRECTORY
            } else {
                FOR_FILE
            };
            let root = root.as_ref().map_or(rustix::fs::CWD, AsFd::as_fd);
            open(root, name, ENTRY).during("openat", STAGE)
        };
        mount(open()?.as_fd())?;
        let fd = open()?;
        let place = Place {
            stage: self,
            name: name(&fd),
        };
        Ok((fd, place))
    }

    pub fn clone(&self, source: BorrowedFd<'_>, recursive: bool) -> Result<(OwnedFd, Place<'_>)> {
        let is_directory = status_of(source, b"")?.is_directory();
        self.take_in(is_directory, |at| self.procfd.bind(source, at, recursive))
    }

    pub fn adopt(&self, detached: &OwnedFd, is_directory: bool) -> Result<(OwnedFd, Place<'_>)> {
        self.take_in(is_directory, |at| self.procfd.attach(detached, at))
    }

    pub fn superblock(&self, wanted: &NewSuperblock<'_>) -> Result<(OwnedFd, Place<'_>)> {
        let mut data = Data::new(wanted.parameters)?;
        if let Some(mode) = wanted.mode {
            data.push(c"mode", Some(mode))?;
        }
        // MS_RDONLY would also make the superblock read-only, which nobody asked for.
        let is_only_mount =
            wanted.attributes & MOUNT_ATTR_RDONLY != 0 && data.flags & MS_RDONLY == 0;
        let now = if is_only_mount {
            !MOUNT_ATTR_RDONLY
        } else {
            !0
        };
        let flags = data.flags | flags::to_ms(wanted.attributes & now);
        let flags = rustix::mount::MountFlags::from_bits_retain(flags as u32);
        let mount = |at: BorrowedFd<'_>| {
            // This runs in the caller's working directory, because the source and paths in the data may be relative.
            rustix::mount::mount(
                wanted.source,
                &*of_descriptor(at),
                wanted.fstype,
                flags,
                data.text(),
            )
            .during("mount", wanted.fstype.to_bytes())
            .map_err(|error| refusal::explain(error, wanted))
        };
        let (fd, place) = self.take_in(true, mount)?;
        if is_only_mount {
            self.procfd
                .set_attributes(&fd, false, &Attributes::READ_ONLY)?;
        }
        Ok((fd, place))
    }
}
