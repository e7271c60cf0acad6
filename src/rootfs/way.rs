//! The way mounts are made before they are attached: detached, by the mount API of Linux 5.2 to 5.12; or, where that
//! is missing or refused, by mount(2) in a stage.
//!
//! The stage is a tmpfs on /proc/self/task: nobody has a path to what is mounted in it until that is complete and moved to
//! its place. It is there as long as mounts are made.

use core::cell::Cell;
use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::container::Container;
use crate::detached;
use crate::error::{During, Error, Result};
use crate::plan::data::Data;
use crate::plan::{Bind, Filesystem};
use crate::sys::classic::{self, Name, Names};
use crate::sys::fd::{Fd, Fds};
use crate::sys::flags;
use crate::sys::mount::{self, Attributes, clone_tree, status};
use crate::sys::path::of_descriptor;
use crate::sys::resolve::mounted_on;

/// The mount points of the stage.
const DIRECTORY: &CStr = c"directory";
const FILE: &CStr = c"file";
/// For errors.
const STAGE: &[u8] = b"/proc/self/task";

pub enum Way<'a> {
    Detached,
    Staged(Stage<'a>),
}

pub struct Stage<'a> {
    names: Names<'a>,
    /// The tmpfs, with an empty directory and an empty file. Mounted when it is first needed.
    root: Cell<Option<OwnedFd>>,
    fds: &'a Fds,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A mount that nobody can see until it is attached.
pub struct Tree<'s, 'a> {
    /// Where it is until then, if it is not detached.
    staged: Option<Staged<'s, 'a>>,
    fd: Fd<'a>,
}

/// Takes a mount out of the stage that nobody has attached elsewhere.
struct Staged<'s, 'a> {
    stage: &'s Stage<'a>,
    name: Name,
}

impl Drop for Staged<'_, '_> {
    fn drop(&mut self) {
        // If this fails, it stays where nobody sees it.
        let _ = self.stage.names.unmount(&self.name);
    }
}

impl AsFd for Tree<'_, '_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<'a> Way<'a> {
    pub fn staged(fds: &'a Fds) -> Result<Self> {
        Ok(Way::Staged(Stage {
            names: Names::open(fds)?,
            root: Cell::new(None),
            fds,
        }))
    }

    /// As rfs_prepare did it, for what comes later.
    pub fn of(container: &Container, fds: &'a Fds) -> Result<Self> {
        if container.is_classic() {
            Way::staged(fds)
        } else {
            Ok(Way::Detached)
        }
    }

    /// For what mount(2) does on mounts that are attached.
    pub fn names(&self) -> Option<&Names<'a>> {
        match self {
            Way::Detached => None,
            Way::Staged(stage) => Some(&stage.names),
        }
    }

    /// Takes the stage away, before others look at this process.
    pub fn leave(&self) {
        if let Way::Staged(stage) = self {
            stage.leave();
        }
    }

    /// A copy of the mount that a descriptor lies on, with its root there.
    pub fn clone_descriptor(
        &self,
        fds: &'a Fds,
        source: BorrowedFd<'_>,
        recursive: bool,
    ) -> Result<Tree<'_, 'a>> {
        match self {
            Way::Detached => Tree::cloned(clone_tree(fds, source, c"", recursive)),
            Way::Staged(stage) => stage.clone(source, recursive),
        }
    }

    /// The same of a bind's source, by its path.
    pub fn clone_source(&self, fds: &'a Fds, bind: &Bind) -> Result<Tree<'_, 'a>> {
        match self {
            Way::Detached => Tree::cloned(detached::clone_source(fds, bind)),
            Way::Staged(stage) => {
                let source = detached::open_source(fds, bind).during("openat", b"")?;
                stage.clone(source.as_fd(), bind.recursive)
            }
        }
    }

    /// The same of a file of the host's, by its path.
    pub fn clone_file(&self, fds: &'a Fds, path: &CStr) -> Result<Tree<'_, 'a>> {
        match self {
            Way::Detached => Tree::cloned(clone_tree(fds, CWD, path, false)),
            Way::Staged(stage) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let file = rustix::fs::openat(CWD, path, flags, Mode::empty());
                stage.clone(fds.own(file.during("openat", b"")?).as_fd(), false)
            }
        }
    }

    /// A new superblock, configured and mounted.
    pub fn superblock(
        &self,
        fds: &'a Fds,
        wanted: &Filesystem,
        mode: Option<&CStr>,
    ) -> Result<Tree<'_, 'a>> {
        match self {
            Way::Detached => detached::superblock(fds, wanted, mode).map(Tree::detached),
            Way::Staged(stage) => stage.superblock(wanted, mode),
        }
    }

    /// Attaches a detached mount that is complete.
    pub fn attach_descriptor(&self, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
        attach(self.names(), mount, target)
    }

    /// A detached mount that the host's side has opened.
    pub fn adopt(&self, tree: Fd<'a>, is_directory: bool) -> Result<Tree<'_, 'a>> {
        match self {
            Way::Detached => Ok(Tree::detached(tree)),
            Way::Staged(stage) => stage
                .take_in(is_directory, |at| stage.names.attach(&tree, at))
                .map_err(|error| match error.errno {
                    Errno::ACCESS => error.explain(
                        "a security module refuses to move mounts, and what the host's side has opened can't be attached otherwise",
                    ),
                    _ => error,
                }),
        }
    }
}

impl<'a> Stage<'a> {
    fn set_up(&self) -> Result<OwnedFd> {
        let flags = flags::MS_NOSUID | flags::MS_NODEV | flags::MS_NOEXEC;
        let data = c"nr_blocks=1,nr_inodes=4,mode=0700";
        let below = self.names.open_task(self.fds)?;
        self.names.tmpfs(&below, flags, data)?;
        let root = self.names.open_task(self.fds)?;
        let filled = self.fill(&root);
        let root = root.release();
        if let Err(error) = filled {
            self.root.set(Some(root));
            self.leave();
            return Err(error);
        }
        Ok(root)
    }

    fn fill(&self, root: &Fd<'_>) -> Result<()> {
        // MS_MOVE wants a mount's parent not to be shared, and a recursive bind of /proc must not take it along.
        let unbindable = Attributes::propagation(flags::MS_UNBINDABLE);
        self.names.set_attributes(root, false, &unbindable)?;
        rustix::fs::mkdirat(root, DIRECTORY, Mode::RWXU).during("mkdirat", STAGE)?;
        rustix::fs::mknodat(root, FILE, FileType::RegularFile, Mode::RUSR, 0)
            .during("mknodat", STAGE)
    }

    fn leave(&self) {
        if let Some(root) = self.root.take() {
            // If this fails, it goes with the process.
            let _ = self.names.unmount(&classic::name(&root));
        }
    }

    /// A mount on the mount point of its kind, with a descriptor of its root.
    fn take_in(
        &self,
        is_directory: bool,
        mount: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<Tree<'_, 'a>> {
        let root = match self.root.take() {
            Some(root) => root,
            None => self.set_up()?,
        };
        let open = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let name = if is_directory { DIRECTORY } else { FILE };
            let opened = rustix::fs::openat(&root, name, flags, Mode::empty());
            opened.map(|fd| self.fds.own(fd)).during("openat", STAGE)
        };
        let mounted = open()
            .and_then(|at| mount(at.as_fd()))
            .and_then(|()| open());
        self.root.set(Some(root));
        let fd = mounted?;
        let staged = Staged {
            stage: self,
            name: classic::name(&fd),
        };
        Ok(Tree {
            staged: Some(staged),
            fd,
        })
    }

    fn clone(&self, source: BorrowedFd<'_>, recursive: bool) -> Result<Tree<'_, 'a>> {
        let is_directory = status(source, c"").during("statx", b"")?.is_directory();
        self.take_in(is_directory, |at| self.names.bind(source, at, recursive))
    }

    fn superblock(&self, wanted: &Filesystem, mode: Option<&CStr>) -> Result<Tree<'_, 'a>> {
        let mut data = Data::new(&wanted.parameters)?;
        if let Some(mode) = mode {
            data.push(c"mode", Some(mode))?;
        }
        let flags =
            MountFlags::from_bits_retain((data.flags | flags::to_ms(wanted.attributes)) as u32);
        let mount = |at: BorrowedFd<'_>| {
            // From the caller's directory: a source may be relative, and so may paths in the data.
            let path = of_descriptor(at);
            rustix::mount::mount(
                &wanted.source,
                path.as_c_str(),
                &wanted.fstype,
                flags,
                data.text(),
            )
            .during("mount", wanted.fstype.to_bytes())
        };
        let mounted = self.take_in(true, mount);
        mounted.map_err(|error| match error.errno {
            Errno::NODEV => error.explain(detached::NO_SUCH_TYPE),
            Errno::INVAL => error.explain(
                "the file system refuses one of its options; the kernel's log may say which",
            ),
            _ => error,
        })
    }
}

impl<'a> Tree<'_, 'a> {
    fn detached(fd: Fd<'a>) -> Self {
        Tree { staged: None, fd }
    }

    fn cloned(clone: rustix::io::Result<Fd<'a>>) -> Result<Self> {
        clone.during("open_tree", b"").map(Tree::detached)
    }

    /// Attaches it over what `target` refers to. No path is looked at.
    pub fn attach(&mut self, target: impl AsFd) -> Result<()> {
        let stage = self.staged.as_ref().map(|it| it.stage);
        match (attach(stage.map(|it| &it.names), &self.fd, &target), stage) {
            (Err(error), Some(stage)) if error.errno == Errno::ACCESS => {
                self.attach_copy(stage, target.as_fd())
            }
            (attached, _) => {
                attached?;
                // It is no longer in the stage.
                core::mem::forget(self.staged.take());
                Ok(())
            }
        }
    }

    /// Where a security module refuses all moves, the mount is bound, and taken out of the stage.
    fn attach_copy(&mut self, stage: &Stage<'a>, target: BorrowedFd<'_>) -> Result<()> {
        stage.names.bind(&self.fd, target, true)?;
        self.staged = None;
        // Nothing more is done to a file.
        if status(target, c"").during("statx", b"")?.is_directory() {
            self.fd = stage.fds.own(mounted_on(target).during("openat2", b"..")?);
        }
        Ok(())
    }

    pub fn into_fd(self) -> Fd<'a> {
        self.fd
    }
}

fn attach(classic: Option<&Names<'_>>, mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let attached = match classic {
        None => mount::attach(&mount, &target).during("move_mount", b""),
        Some(names) => names.attach(&mount, &target),
    };
    attached.map_err(|error| explain(error, mount, target))
}

/// move_mount(2) says EINVAL where mount(2) says ENOTDIR.
fn explain(mut error: Error, mount: impl AsFd, target: impl AsFd) -> Error {
    if !matches!(error.errno, Errno::INVAL | Errno::NOTDIR) {
        return error;
    }
    let is_directory = |fd: BorrowedFd<'_>| status(fd, c"").map(|it| it.is_directory()).ok();
    let sentence = match (is_directory(mount.as_fd()), is_directory(target.as_fd())) {
        (Some(true), Some(false)) => {
            "what is mounted is a directory, but the destination is a file"
        }
        (Some(false), Some(true)) => {
            "what is mounted is a file, but the destination is a directory"
        }
        _ => return error,
    };
    error.errno = Errno::NOTDIR;
    error.explain(sentence)
}
