// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rootfs made ready: nothing propagates to the host, and it is a mount of its own.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use crate::sys::flags::{MS_PRIVATE, MS_REC, MS_SLAVE};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use super::Caller;
use super::assembly::{self, Begun};
use super::callbacks::Level;
use super::complete::check_idmapped;
use super::container::Container;
use super::source::{self, Place, place};
use crate::error::{During, Error, Result, Stage};
use crate::explain::{self, Wanted};
use crate::mount::attributes::set_root_propagation;
use crate::mount::{MountApi, Source, is_refusal};
use crate::plan::{Filesystem, Plan, Switch};
use crate::sys::fd::{CallersFd, DIRECTORY, open};
use crate::sys::mount::{Attributes, status};
use crate::sys::page::Page;
use crate::sys::path::PATH_MAX;

/// Whether the rootfs is one, while the caller can still be told before the fork.
pub fn check(plan: &Plan) -> Result<()> {
    if plan.rootfs.fd.is_some() || !plan.rootfs.is_checked {
        return Ok(());
    }
    open_path(&plan.rootfs.path)
        .map(drop)
        .map_err(|error| error.at(Stage::Plan))
}

/// What the rootfs's mount is made from.
enum Origin<'a> {
    /// A directory of this mount namespace, which is bound on itself.
    Directory(Directory),
    /// A detached mount. It is attached over the rootfs's path or, if there is no such directory, over "/".
    Detached {
        tree: OwnedFd,
        over: Option<OwnedFd>,
        /// The host's side has opened it.
        is_from_host: bool,
        /// It stands for the caller's descriptor.
        is_copy: bool,
    },
    /// A new tmpfs, attached over "/".
    Tmpfs(&'a Filesystem),
}

pub(super) enum Directory {
    Ours(OwnedFd),
    Callers(CallersFd),
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Directory::Ours(fd) => fd.as_fd(),
            Directory::Callers(fd) => fd.as_fd(),
        }
    }
}

/// The rootfs, a mount of its own, and how all mounts are made: by the calls that work for this one.
pub(super) struct Entered {
    pub rootfs: OwnedFd,
    pub api: MountApi,
    pub last_step: LastStep,
}

/// What is left to do for the rootfs to become "/".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastStep {
    /// It lies below the old root: the switch.
    Switch,
    /// It is detached: its namespace is made.
    MakeNamespace,
    /// It is the root of this process's namespace, but not yet of the process.
    StandIn,
}

/// Makes the rootfs a mount of its own.
pub(super) fn enter(container: &Container, caller: Caller<'_>) -> Result<Entered> {
    let plan = &*container.plan;
    if plan.own_namespace {
        match assembly::begin(container, caller)? {
            Some(Begun::Detached(rootfs, api)) => {
                return Ok(Entered {
                    rootfs,
                    api,
                    last_step: LastStep::MakeNamespace,
                });
            }
            Some(Begun::Entered(rootfs, api)) => {
                return Ok(Entered {
                    rootfs,
                    api,
                    last_step: LastStep::StandIn,
                });
            }
            None => assembly::copy_namespace(container)?,
        }
    }
    let (rootfs, api) = attached(container, caller)?;
    Ok(Entered {
        rootfs,
        api,
        last_step: LastStep::Switch,
    })
}

fn attached(container: &Container, caller: Caller<'_>) -> Result<(OwnedFd, MountApi)> {
    let plan = &*container.plan;
    if plan.switch != Switch::Chroot {
        set_root_propagation(plan.start_propagation())?;
    }
    if plan.switch == Switch::Stay {
        return stay(plan, caller);
    }
    let origin = find(container, caller)?;
    let api = MountApi::new(plan.classic_mount);
    match attach(plan, &api, &origin) {
        Err(error) if !api.is_classic() && is_refusal(error.errno) => {
            caller.log(
                Level::Debug,
                format_args!("all mounts are made by mount(2): {error}"),
            );
            let api = MountApi::new(true);
            let rootfs = attach(plan, &api, &origin)?;
            Ok((rootfs, api))
        }
        rootfs => Ok((rootfs?, api)),
    }
}

/// "/" stays the root. What the mounts are made by is tried with a copy of it, which is not attached.
fn stay(plan: &Plan, caller: Caller<'_>) -> Result<(OwnedFd, MountApi)> {
    let root = open(CWD, c"/", DIRECTORY).during("openat", b"/")?;
    let api = MountApi::new(plan.classic_mount);
    let separate = Attributes::propagation(propagation_of(plan));
    let tried = if api.is_classic() {
        api.separate()
    } else {
        api.clone(Source::Fd(root.as_fd()), false, b"/")
            .and_then(|tree| tree.change(false, &separate))
    };
    match tried {
        Err(error) if !api.is_classic() && is_refusal(error.errno) => {
            caller.log(
                Level::Debug,
                format_args!("all mounts are made by mount(2): {error}"),
            );
            let api = MountApi::new(true);
            api.separate()?;
            Ok((root, api))
        }
        tried => tried.map(|()| (root, api)),
    }
}

fn find<'a>(container: &'a Container, caller: Caller<'_>) -> Result<Origin<'a>> {
    let rootfs = &container.plan.rootfs;
    if let Some(tmpfs) = &rootfs.tmpfs {
        return Ok(Origin::Tmpfs(tmpfs));
    }
    if rootfs.idmap.is_some() {
        let over = match container.rootfs_fd() {
            Some(raw) => callers(raw, &rootfs.path)?
                .duplicate()
                .during("fcntl", rootfs.path.to_bytes())?,
            None => open_path(&rootfs.path)?,
        };
        return from_host(container, caller, Some(over))?
            .ok_or_else(|| Error::check(Errno::OPNOTSUPP, "rfs_callbacks.mountfd is needed"));
    }
    if let Some(raw) = container.rootfs_fd() {
        let fd = callers(raw, &rootfs.path)?;
        if place(fd)?.1 != Place::Detached {
            return Ok(Origin::Directory(Directory::Callers(fd)));
        }
        return Ok(Origin::Detached {
            tree: fd.duplicate().during("fcntl", rootfs.path.to_bytes())?,
            over: open_path(&rootfs.path).ok(),
            is_from_host: false,
            is_copy: container.is_copy(raw),
        });
    }
    match open_path(&rootfs.path) {
        Ok(fd) => Ok(Origin::Directory(Directory::Ours(fd))),
        Err(error) if error.errno == Errno::ACCESS && rootfs.ask_if_unreachable => {
            from_host(container, caller, None)?.ok_or_else(|| {
                error.explain("the rootfs can't be reached from here; rfs_callbacks.mountfd could open it on the host's side")
            })
        }
        Err(error) => Err(error),
    }
}

/// `None`: there is nobody to ask.
fn from_host(
    container: &Container,
    caller: Caller<'_>,
    over: Option<OwnedFd>,
) -> Result<Option<Origin<'static>>> {
    let tree = source::rootfs(caller, &container.plan.rootfs)?;
    Ok(tree.map(|tree| Origin::Detached {
        tree,
        over,
        is_from_host: true,
        is_copy: false,
    }))
}

/// What the mount that the rootfs lies on becomes, and its own.
pub(super) fn propagation_of(plan: &Plan) -> u64 {
    match plan.propagation {
        Some(flags) if flags & MS_SLAVE != 0 => MS_SLAVE,
        _ => MS_PRIVATE,
    }
}

/// What all mounts become at the start, if none stays shared.
pub(super) fn separated(plan: &Plan) -> Option<u64> {
    let start = plan.start_propagation();
    let propagation = start & (MS_PRIVATE | MS_SLAVE);
    (start & MS_REC != 0 && propagation != 0).then_some(propagation)
}

/// Nothing that is mounted on the rootfs, or in the stage, may reach the outside, and pivot_root(2) refuses a shared
/// parent.
fn separate(plan: &Plan, api: &MountApi, over: BorrowedFd<'_>) -> Result<()> {
    if plan.switch == Switch::Chroot {
        return Ok(());
    }
    api.separate()?;
    // No mount is shared any more.
    if separated(plan).is_some() {
        return Ok(());
    }
    separate_parent(api, over, propagation_of(plan)).map_err(|error| explain_foreign(plan, error))
}

fn attach(plan: &Plan, api: &MountApi, origin: &Origin<'_>) -> Result<OwnedFd> {
    let name = plan.rootfs.path.as_bytes();
    let root;
    let (over, mut tree) = match origin {
        Origin::Directory(directory) => {
            let directory = directory.as_fd();
            separate(plan, api, directory)?;
            let tree = api
                .clone(Source::Fd(directory), true, name)
                .map_err(|error| explain_foreign(plan, error))?;
            (directory, tree)
        }
        Origin::Detached { tree, over, .. } => {
            let over = match over {
                Some(over) => over.as_fd(),
                None => {
                    root = open(CWD, c"/", DIRECTORY).during("openat", b"/")?;
                    root.as_fd()
                }
            };
            separate(plan, api, over)?;
            let tree = tree.try_clone().map_err(|_| Errno::MFILE);
            (over, api.adopt(tree.during("fcntl", name)?, name)?)
        }
        Origin::Tmpfs(wanted) => {
            root = open(CWD, c"/", DIRECTORY).during("openat", b"/")?;
            separate(plan, api, root.as_fd())?;
            (root.as_fd(), api.superblock(&wanted.superblock())?)
        }
    };
    if matches!(origin, Origin::Detached { is_copy: true, .. }) {
        assembly::separate_copy(plan, &tree)?;
    }
    // Without a mount namespace of its own nothing is asked for, but whether the call is there.
    let attributes = if plan.switch == Switch::Chroot {
        Attributes::default()
    } else {
        Attributes::propagation(propagation_of(plan))
    };
    tree.change(false, &attributes)?;
    tree.attach(over)?;
    if matches!(
        origin,
        Origin::Detached {
            is_from_host: true,
            ..
        }
    ) && plan.rootfs.idmap.is_some()
    {
        check_idmapped(&tree)?;
    }
    Ok(tree.into_fd())
}

fn explain_foreign(plan: &Plan, error: Error) -> Error {
    let error = error.on(plan.rootfs.path.as_bytes());
    match error.errno {
        Errno::INVAL => error.explain(
            "the rootfs lies on no mount of this namespace: its descriptor was opened before unshare(2), or \
                this process lives in a chroot(2), or the mount is unbindable",
        ),
        _ => error,
    }
}

/// A directory that can be the rootfs, if it is one. `None`: it is a detached mount or a new tmpfs, or the host's
/// side opens it.
pub(super) fn directory(container: &Container) -> Result<Option<Directory>> {
    let rootfs = &container.plan.rootfs;
    if rootfs.tmpfs.is_some() {
        return Ok(None);
    }
    let Some(raw) = container.rootfs_fd() else {
        return match open_path(&rootfs.path) {
            Err(error) if error.errno == Errno::ACCESS && rootfs.ask_if_unreachable => Ok(None),
            opened => opened.map(|fd| Some(Directory::Ours(fd))),
        };
    };
    let fd = callers(raw, &rootfs.path)?;
    let is_detached = place(fd)?.1 == Place::Detached;
    Ok((!is_detached).then_some(Directory::Callers(fd)))
}

fn callers(raw: RawFd, path: &CStr) -> Result<CallersFd> {
    let fd = CallersFd::new(raw)
        .during("fcntl", path.to_bytes())
        .map_err(|error| {
            error.explain(format_args!("rootfs_fd {raw} is not open in this process"))
        })?;
    let status = status(fd, c"").during("statx", path.to_bytes())?;
    if !status.is_directory() {
        return Err(Error::check(
            Errno::NOTDIR,
            format_args!("rootfs_fd {raw} is not a directory"),
        ));
    }
    Ok(fd)
}

fn open_path(path: &CStr) -> Result<OwnedFd> {
    if path.is_empty() {
        return Err(Error::invalid(
            "rootfs: neither a path nor a descriptor is given",
        ));
    }
    open(CWD, path, DIRECTORY | OFlags::NOFOLLOW).map_err(|errno| explain_rootfs(path, errno))
}

fn explain_rootfs(path: &CStr, errno: Errno) -> Error {
    // With O_DIRECTORY and O_NOFOLLOW a link is ENOTDIR (open(2)); tell the two apart.
    let is_link = status(CWD, path).is_ok_and(|status| status.mode & libc::S_IFMT == libc::S_IFLNK);
    let errno = if is_link && errno == Errno::NOTDIR {
        Errno::LOOP
    } else {
        errno
    };
    let error = Error::system(errno, "openat").on(path.to_bytes());
    match errno {
        Errno::LOOP if is_link => {
            error.explain("the rootfs is a symbolic link; give the directory it leads to")
        }
        _ => match explain::component(explain::Place::Host, path.to_bytes(), Wanted::Directory) {
            Some(it) => error.explain(format_args!("the rootfs: {}", it.as_str())),
            None => error,
        },
    }
}

/// Makes the mount that a directory lies on private (or a slave). That mount's root is found by going up.
pub(super) fn separate_parent(
    api: &MountApi,
    directory: BorrowedFd<'_>,
    propagation: u64,
) -> Result<()> {
    const UP: &[u8] = b"../";
    let mut path = Page::<[u8; PATH_MAX]>::zeroed().during("mmap", b"..")?;
    let mut below = None;
    for start in (0..path.len() - UP.len()).step_by(UP.len()) {
        let up = CStr::from_bytes_until_nul(&*path).unwrap_or_default();
        let status = status(directory, up).during("statx", b"..")?;
        if status.is_mount_root {
            let up = if up.is_empty() { c"." } else { up };
            let mount = open(directory, up, DIRECTORY).during("openat", b"..")?;
            return api.change(mount, false, &Attributes::propagation(propagation), b"");
        }
        // "/" is its own parent; where it is no mount's root, this process was put there by chroot(2).
        let identity = Some((status.mount_id, status.inode));
        if below == identity {
            return Err(Error::system(Errno::INVAL, "mount_setattr"));
        }
        below = identity;
        path[start..start + UP.len()].copy_from_slice(UP);
    }
    Err(Error::system(Errno::NAMETOOLONG, "statx"))
}
