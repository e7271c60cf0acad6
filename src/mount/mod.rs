// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes mounts, for the container's process and for the host's side. A mount is made detached, by the mount API of
//! Linux 5.2 to 5.12. If that is missing or refused, mount(2) makes it in a stage. Nobody sees a mount before it is
//! complete and attached.
#![forbid(unsafe_code)]

pub mod attributes;
mod detached;
pub mod host;
mod procfd;
mod refusal;
mod staged;

use core::cell::OnceCell;
use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};

use crate::error::{During, Error, Result};
use crate::plan::{Filesystem, Parameters};
use crate::sys::fd::{ENTRY, open};
use crate::sys::mount::{self, Attributes, Status, clone_tree, status};
use crate::sys::path::of_descriptor;
use crate::sys::resolve::mounted_on;
use host::HostMounts;
pub use procfd::is_astray;
use procfd::{ProcFd, is_refused_by_module};
pub use staged::{FOR_DIRECTORY, FOR_FILE};
use staged::{MountStage, Place};

/// The way in which one process makes its mounts.
pub struct MountApi {
    /// mount(2) is used wherever both ways would do.
    is_classic: bool,
    /// The propagation that copies of mounts, and of the mounts below them, get: MS_SLAVE or MS_PRIVATE. 0 keeps
    /// theirs.
    copies: u64,
    /// The host's mounts, if this process has left the host's mount namespace without a copy of it.
    host: Option<HostMounts>,
    /// The stage for mount(2), which is made when it is first needed.
    stage: OnceCell<MountStage>,
}

/// The source from which a mount is cloned.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    Fd(BorrowedFd<'a>),
    /// A path, relative to the working directory. `follow` tells whether a symbolic link in its last component is
    /// followed.
    Path {
        path: &'a CStr,
        follow: bool,
    },
}

/// A superblock that is to be made.
#[derive(Clone, Copy)]
pub struct NewSuperblock<'a> {
    pub fstype: &'a CStr,
    pub source: &'a CStr,
    pub parameters: &'a dyn Parameters,
    /// One more parameter, which is known only when the mount is made.
    pub mode: Option<&'a CStr>,
    /// MOUNT_ATTR_* flags of the mount.
    pub attributes: u64,
    /// fsconfig(2) can't take all of the parameters.
    pub needs_mount2: bool,
    /// The lower directories of an overlay: see plan::Filesystem.
    pub layers: Option<&'a dyn Parameters>,
}

impl Filesystem {
    /// The superblock of the plan. Its mode may be added: only the target tells it.
    pub fn superblock(&self) -> NewSuperblock<'_> {
        NewSuperblock {
            fstype: &self.fstype,
            source: &self.source,
            parameters: &self.parameters,
            mode: None,
            attributes: self.attributes,
            needs_mount2: self.needs_mount2,
            layers: self.layers.as_ref().map(|it| it as &dyn Parameters),
        }
    }
}

/// A mount that is being made. Dropping it before it is attached unmounts it.
pub struct Tree<'a> {
    api: &'a MountApi,
    /// The place in the stage where it is until it is attached, unless it is detached. It is unmounted by the
    /// descriptor's name, so it is dropped before the descriptor.
    place: Option<Place<'a>>,
    fd: OwnedFd,
    /// The descriptor is of the mount that gets attached, not of a copy of it.
    is_reachable: bool,
    /// Its name in errors.
    name: &'a [u8],
}

impl MountApi {
    /// `is_classic` asks for mount(2).
    pub fn new(is_classic: bool) -> Self {
        MountApi {
            is_classic,
            copies: 0,
            host: None,
            stage: OnceCell::new(),
        }
    }

    /// Sets the propagation of copies of mounts, so that no later mount of their namespace reaches them.
    pub fn separating(copies: u64) -> Self {
        MountApi {
            copies,
            ..MountApi::new(false)
        }
    }

    /// Takes sources on the host from the directories of it that were kept.
    pub fn with_host(self, host: HostMounts) -> Self {
        MountApi {
            host: Some(host),
            ..self
        }
    }

    /// Whether the process is in the container's mount namespace.
    pub fn check_namespace(&self) -> Result<()> {
        self.host.as_ref().map_or(Ok(()), HostMounts::check)
    }

    pub fn is_classic(&self) -> bool {
        self.is_classic
    }

    /// Takes the stage away until it is needed again, so that nobody who sees this process's procfs finds it.
    pub fn leave(&self) -> Result<()> {
        self.stage.get().map_or(Ok(()), MountStage::leave)
    }

    /// The stage went away with the mount that it was below.
    pub fn forget_stage(&self) {
        if let Some(stage) = self.stage.get() {
            stage.forget();
        }
    }

    fn stage(&self) -> Result<&MountStage> {
        if let Some(stage) = self.stage.get() {
            return Ok(stage);
        }
        let made = MountStage::new(ProcFd::new()?);
        Ok(self.stage.get_or_init(|| made))
    }

    /// mount(2) on descriptors, if mount(2) is to be used.
    fn procfd(&self) -> Result<Option<&ProcFd>> {
        if !self.is_classic {
            return Ok(None);
        }
        self.stage().map(|stage| Some(stage.procfd()))
    }

    /// Makes this process's procfs private, so that the stage in it does not propagate to other mount namespaces.
    pub fn separate(&self) -> Result<()> {
        self.procfd()?.map_or(Ok(()), ProcFd::separate)
    }

    /// Clones the mount that the source lies on, with the source as the clone's root. `name` is the source's name in
    /// errors.
    pub fn clone<'a>(
        &'a self,
        source: Source<'_>,
        recursive: bool,
        name: &'a [u8],
    ) -> Result<Tree<'a>> {
        if self.is_classic {
            return self.clone_staged(source, recursive, name);
        }
        let below = if recursive {
            OpenTreeFlags::AT_RECURSIVE
        } else {
            OpenTreeFlags::empty()
        };
        let kept = match (&self.host, source) {
            (Some(host), Source::Path { path, .. }) => host.visit(path, |there| {
                clone_tree(there, c"", below).during("open_tree", name)
            }),
            _ => None,
        };
        let cloned = match kept {
            Some(cloned) => cloned?,
            None => clone_from_here(source, below).during("open_tree", name)?,
        };
        let tree = self.tree(cloned, None, name);
        if self.copies != 0 {
            tree.change(recursive, &Attributes::propagation(self.copies))?;
        }
        Ok(tree)
    }

    fn clone_staged<'a>(
        &'a self,
        source: Source<'_>,
        recursive: bool,
        name: &'a [u8],
    ) -> Result<Tree<'a>> {
        let opened;
        let source = match source {
            Source::Fd(fd) => fd,
            Source::Path { path, follow } => {
                opened = open_source(path, follow).during("openat", name)?;
                opened.as_fd()
            }
        };
        let (fd, place) = self
            .stage()?
            .clone(source, recursive)
            .map_err(|error| error.on(name))?;
        Ok(self.tree(fd, Some(place), name))
    }

    /// A new superblock, configured and mounted.
    pub fn superblock<'a>(&'a self, wanted: &NewSuperblock<'a>) -> Result<Tree<'a>> {
        let name = wanted.fstype.to_bytes();
        if !self.is_classic && !wanted.needs_mount2 {
            // The kernel makes another procfs or sysfs only in a namespace in which one is mounted and nothing covers
            // parts of it: mount_too_revealing() in fs/namespace.c.
            let seen = match name {
                b"proc" => Some(c"/proc"),
                b"sysfs" => Some(c"/sys"),
                _ => None,
            };
            let visited = self
                .host
                .as_ref()
                .zip(seen)
                .and_then(|(host, seen)| host.visit(seen, |_| detached::superblock(wanted)));
            let made = visited.unwrap_or_else(|| detached::superblock(wanted));
            return Ok(self.tree(made?, None, name));
        }
        if let (false, Some(parameters)) = (self.is_classic, wanted.layers) {
            if detached::overlay_takes_layers() {
                let made = detached::superblock(&NewSuperblock {
                    parameters,
                    ..*wanted
                });
                return Ok(self.tree(made?, None, name));
            }
        }
        let (fd, place) = self.stage()?.superblock(wanted)?;
        if self.is_classic {
            return Ok(self.tree(fd, Some(place), name));
        }
        // All other mounts are detached, so this one becomes detached too: a clone of it outlives the stage.
        let cloned = clone_tree(&fd, c"", OpenTreeFlags::empty()).during("open_tree", name)?;
        Ok(self.tree(cloned, None, name))
    }

    /// Takes over a detached mount that the host's side or the caller has opened. `name` is its source's name in
    /// errors.
    pub fn adopt<'a>(&'a self, detached: OwnedFd, name: &'a [u8]) -> Result<Tree<'a>> {
        if !self.is_classic {
            return Ok(self.tree(detached, None, name));
        }
        let is_directory = status_of(&detached, name)?.is_directory();
        let (fd, place) = self
            .stage()?
            .adopt(&detached, is_directory)
            .map_err(|error| match is_refused_by_module(&error) {
                true => error.on(name).explain(
                    "a security module refuses to move mounts, and a mount that somebody else has opened \
                        can't be attached otherwise",
                ),
                false => error.on(name),
            })?;
        Ok(self.tree(fd, Some(place), name))
    }

    fn tree<'a>(&'a self, fd: OwnedFd, place: Option<Place<'a>>, name: &'a [u8]) -> Tree<'a> {
        Tree {
            api: self,
            place,
            fd,
            is_reachable: true,
            name,
        }
    }
}

fn clone_from_here(source: Source<'_>, below: OpenTreeFlags) -> rustix::io::Result<OwnedFd> {
    match source {
        Source::Fd(fd) => clone_tree(fd, c"", below),
        Source::Path { path, follow: true } => clone_tree(CWD, path, below),
        Source::Path {
            path,
            follow: false,
        } => clone_tree(CWD, path, below | OpenTreeFlags::AT_SYMLINK_NOFOLLOW),
    }
}

/// Opens the file at a path. If that is a symbolic link and `follow` says so, it opens the file that the link leads
/// to.
pub fn open_source(path: &CStr, follow: bool) -> rustix::io::Result<OwnedFd> {
    let flags = if follow {
        ENTRY.difference(rustix::fs::OFlags::NOFOLLOW)
    } else {
        ENTRY
    };
    open(CWD, path, flags)
}

impl AsFd for Tree<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<'a> Tree<'a> {
    /// Its name in errors.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// Attaches it over the file that `target` refers to. No path is looked at.
    pub fn attach(&mut self, target: impl AsFd) -> Result<()> {
        let target = target.as_fd();
        let attached = match &self.place {
            None => mount::attach(&self.fd, target).during("move_mount", self.name),
            Some(place) => place.attach(&self.fd, target),
        };
        match (attached, &self.place) {
            (Err(error), Some(place)) if is_refused_by_module(&error) => {
                // A security module refuses every move, so the mount is bound to the target, and then taken out of
                // the stage.
                place.attach_copy(&self.fd, target)?;
                self.place = None;
                let target_status = status_of(target, self.name)?;
                self.is_reachable = target_status.is_directory();
                if self.is_reachable {
                    self.fd = mounted_on(target).during("openat2", b"..")?;
                }
            }
            (Err(error), _) => return Err(explain_kinds(error.on(self.name), &self.fd, target)),
            (Ok(()), _) => {
                if let Some(place) = self.place.take() {
                    place.vacate();
                }
            }
        }
        Ok(())
    }

    /// The root of the mount.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// The root of the mount after it was attached. `None` for a file that had to be bound because a security module
    /// refuses moves: no descriptor leads to that mount's root.
    pub fn into_attached(self) -> Option<OwnedFd> {
        self.is_reachable.then_some(self.fd)
    }
}

/// Unmounts an attached mount, with all mounts below it.
pub fn unmount(mount: impl AsFd) -> Result<()> {
    rustix::mount::unmount(&*of_descriptor(mount), UnmountFlags::DETACH).during("umount2", b"")
}

/// Explains a mismatch of file and directory, for which move_mount(2) says EINVAL and mount(2) ENOTDIR.
fn explain_kinds(mut error: Error, mount: impl AsFd, target: BorrowedFd<'_>) -> Error {
    if !matches!(error.errno, Errno::INVAL | Errno::NOTDIR) {
        return error;
    }
    let is_directory = |fd: BorrowedFd<'_>| status(fd, c"").map(|it| it.is_directory()).ok();
    let sentence = match (is_directory(mount.as_fd()), is_directory(target)) {
        (Some(true), Some(false)) => {
            "the mount's root is a directory, but the destination is a file"
        }
        (Some(false), Some(true)) => {
            "the mount's root is a file, but the destination is a directory"
        }
        _ => return error,
    };
    error.errno = Errno::NOTDIR;
    error.explain(sentence)
}

/// Tells about the file behind a descriptor: statx(2). `name` is the file's name in errors.
pub fn status_of(fd: impl AsFd, name: &[u8]) -> Result<Status> {
    status(fd, c"").during("statx", name)
}

/// Whether another way is worth a try: the system call is missing, or a seccomp policy or a security module refuses
/// it. If privilege is lacking, mount(2) fails as well.
pub fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM | Errno::ACCESS)
}
