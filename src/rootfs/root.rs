// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the rootfs ready: it becomes a mount of its own, and no mount propagates to the host.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use crate::mount::status_of;
use crate::sys::flags::{MS_PRIVATE, MS_REC, MS_SLAVE};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use super::Caller;
use super::assembly::{self, Begun};
use super::callbacks::Level;
use super::complete::check_idmapped;
use super::container::Container;
use super::source::{self, Position, position};
use crate::error::{During, Error, Result, Stage};
use crate::explain::{self, Wanted};
use crate::mount::attributes::set_root_propagation;
use crate::mount::{MountApi, Source, is_refusal};
use crate::plan::{Filesystem, Plan, Switch};
use crate::sys::fd::{CallersFd, DIRECTORY, open};
use crate::sys::mount::{Attributes, status};
use crate::sys::page::Page;
use crate::sys::path::PATH_MAX;

/// Checks the rootfs while the caller can still be told before the fork.
pub fn check(plan: &Plan) -> Result<()> {
    if plan.rootfs.fd.is_some() || !plan.rootfs.is_checked {
        return Ok(());
    }
    open_path(&plan.rootfs.path)
        .map(drop)
        .map_err(|error| error.at(Stage::Plan))
}

/// The source of the rootfs's mount.
enum Origin<'a> {
    /// A directory of this mount namespace, which is bound on itself.
    Directory(RootfsDirectory),
    /// A detached mount. It is attached over the rootfs's path or, if there is no such directory, over "/".
    Detached {
        tree: OwnedFd,
        over: Option<OwnedFd>,
        /// The host's side has opened the mount.
        is_from_host: bool,
        /// The mount is a copy that replaces the caller's descriptor.
        is_copy: bool,
    },
    /// A new tmpfs, attached over "/".
    Tmpfs(&'a Filesystem),
}

pub(super) enum RootfsDirectory {
    Ours(OwnedFd),
    Callers(CallersFd),
}

impl AsFd for RootfsDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            RootfsDirectory::Ours(fd) => fd.as_fd(),
            RootfsDirectory::Callers(fd) => fd.as_fd(),
        }
    }
}

/// The rootfs as a mount of its own, and the way in which all mounts are made: by the calls that worked for this one.
pub(super) struct Entered {
    pub rootfs: OwnedFd,
    pub api: MountApi,
    pub last_step: LastStep,
}

/// The step that is left for the rootfs to become "/".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastStep {
    /// The rootfs lies below the old root, so the root is switched.
    Switch,
    /// The rootfs is detached, so its namespace is made.
    MakeNamespace,
    /// The rootfs is the root of this process's namespace, but not yet of the process.
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

/// "/" stays the root. A copy of it, which is never attached, tells by which calls mounts can be made.
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
        if position(fd)?.1 != Position::Detached {
            return Ok(Origin::Directory(RootfsDirectory::Callers(fd)));
        }
        return Ok(Origin::Detached {
            tree: fd.duplicate().during("fcntl", rootfs.path.to_bytes())?,
            over: open_path(&rootfs.path).ok(),
            is_from_host: false,
            is_copy: container.is_copy(raw),
        });
    }
    match open_path(&rootfs.path) {
        Ok(fd) => Ok(Origin::Directory(RootfsDirectory::Ours(fd))),
        Err(error) if error.errno == Errno::ACCESS && rootfs.ask_if_unreachable => {
            let remedy = "the rootfs can't be reached from here; rfs_callbacks.mountfd could open it on the \
                host's side";
            from_host(container, caller, None)?.ok_or_else(|| error.explain(remedy))
        }
        Err(error) => Err(error),
    }
}

/// Asks the host's side for the rootfs. `None` if there is nobody to ask.
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

/// The propagation of the mount that the rootfs lies on, and of the rootfs's own mount.
pub(super) fn propagation_of(plan: &Plan) -> u64 {
    match plan.propagation {
        Some(flags) if flags & MS_SLAVE != 0 => MS_SLAVE,
        _ => MS_PRIVATE,
    }
}

/// The propagation that all mounts get at the start. `None` if one may stay shared.
pub(super) fn separated(plan: &Plan) -> Option<u64> {
    let start = plan.start_propagation();
    let propagation = start & (MS_PRIVATE | MS_SLAVE);
    (start & MS_REC != 0 && propagation != 0).then_some(propagation)
}

/// Makes the parent of the rootfs unshared, because no mount on the rootfs or in the stage may propagate to the
/// outside, and because pivot_root(2) refuses a shared parent.
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
    // Without a mount namespace of its own the mount gets no change. The call only shows whether it exists.
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

/// Opens the directory that is the rootfs. `None` if the rootfs is a detached mount or a new tmpfs, or if the host's
/// side opens it.
pub(super) fn directory(container: &Container) -> Result<Option<RootfsDirectory>> {
    let rootfs = &container.plan.rootfs;
    if rootfs.tmpfs.is_some() {
        return Ok(None);
    }
    let Some(raw) = container.rootfs_fd() else {
        return match open_path(&rootfs.path) {
            Err(error) if error.errno == Errno::ACCESS && rootfs.ask_if_unreachable => Ok(None),
            opened => opened.map(|fd| Some(RootfsDirectory::Ours(fd))),
        };
    };
    let fd = callers(raw, &rootfs.path)?;
    let is_detached = position(fd)?.1 == Position::Detached;
    Ok((!is_detached).then_some(RootfsDirectory::Callers(fd)))
}

fn callers(raw: RawFd, path: &CStr) -> Result<CallersFd> {
    let fd = CallersFd::new(raw)
        .during("fcntl", path.to_bytes())
        .map_err(|error| {
            error.explain(format_args!("rootfs_fd {raw} is not open in this process"))
        })?;
    let status = status_of(fd, path.to_bytes())?;
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
    // With O_DIRECTORY and O_NOFOLLOW a link is ENOTDIR as well (open(2)). This tells the two apart.
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
        _ => match explain::component(explain::Base::Host, path.to_bytes(), Wanted::Directory) {
            Some(it) => error.explain(format_args!("the rootfs: {}", it.as_str())),
            None => error,
        },
    }
}

/// Makes the mount that a directory lies on private or a slave. The mount's root is found by going up.
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
        // "/" is its own parent. If it is not the root of a mount, chroot(2) has put this process there.
        let identity = Some((status.mount_id, status.inode));
        if below == identity {
            return Err(Error::system(Errno::INVAL, "mount_setattr"));
        }
        below = identity;
        path[start..start + UP.len()].copy_from_slice(UP);
    }
    Err(Error::system(Errno::NAMETOOLONG, "statx"))
}
