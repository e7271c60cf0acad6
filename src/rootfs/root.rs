//! The rootfs made ready: nothing propagates to the host, and it is a mount of its own.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use super::callbacks::Level;
use super::container::Container;
use super::way::Way;
use super::{Caller, mounts, source};
use crate::error::{During, Error, Result, Stage};
use crate::plan::{Plan, Switch};
use crate::sys::classic::{Names, change_attributes, is_refusal};
use crate::sys::fd::{self, Fd, Fds};
use crate::sys::flags;
use crate::sys::mount::{Attributes, set_attributes, status};
use crate::sys::path::PATH_MAX;

/// Whether the rootfs is one, while the caller can still be told before the fork.
pub fn check(plan: &Plan) -> Result<()> {
    if plan.rootfs.fd.is_some() || !plan.rootfs.is_checked {
        return Ok(());
    }
    let fds = Fds::new();
    open(&plan.rootfs.path, None, &fds)
        .map(drop)
        .map_err(|error| error.at(Stage::Plan))
}

/// Binds the rootfs on itself, and gives that mount; and the way all others are made, for which this is the trial.
pub(super) fn enter<'a>(container: &Container, caller: Caller<'a>) -> Result<(Fd<'a>, Way<'a>)> {
    let plan = &*container.plan;
    if plan.switch != Switch::Chroot {
        change_propagation(plan.start_propagation())?;
    }
    let rootfs = open(&plan.rootfs.path, container.rootfs_fd(), caller.fds)?;
    let rootfs = rootfs.as_fd();
    let mut way = if plan.classic_mount {
        Way::staged(caller.fds)?
    } else {
        Way::Detached
    };
    if let Err(error) = separate(plan, &way, rootfs) {
        way = fall_back(plan, caller, rootfs, &way, error)?;
    }
    let bound = match bind_on_itself(plan, caller, rootfs, &way) {
        // The host's side is asked but once.
        Err(error) if plan.rootfs.idmap.is_none() => {
            way = fall_back(plan, caller, rootfs, &way, error)?;
            bind_on_itself(plan, caller, rootfs, &way)
        }
        bound => bound,
    };
    Ok((bound?, way))
}

/// The other way, unless that would fail alike.
fn fall_back<'a>(
    plan: &Plan,
    caller: Caller<'a>,
    rootfs: BorrowedFd<'_>,
    way: &Way<'a>,
    error: Error,
) -> Result<Way<'a>> {
    if way.names().is_some() || !is_refusal(error.errno) {
        return Err(error);
    }
    caller.log(
        Level::Debug,
        format_args!("all mounts are made by mount(2): {error}"),
    );
    let way = Way::staged(caller.fds)?;
    separate(plan, &way, rootfs)?;
    Ok(way)
}

/// What the mount that the rootfs lies on becomes, and its own.
fn propagation_of(plan: &Plan) -> u64 {
    match plan.propagation {
        Some(flags) if flags & flags::MS_SLAVE != 0 => flags::MS_SLAVE,
        _ => flags::MS_PRIVATE,
    }
}

/// Nothing that is mounted on the rootfs, or in the stage, may reach the outside.
fn separate(plan: &Plan, way: &Way<'_>, rootfs: BorrowedFd<'_>) -> Result<()> {
    if plan.switch == Switch::Chroot {
        return Ok(());
    }
    if let Some(names) = way.names() {
        names.separate()?;
    }
    separate_parent(way.names(), rootfs, propagation_of(plan))
        .map_err(|error| explain_foreign(plan, error))
}

fn bind_on_itself<'a>(
    plan: &Plan,
    caller: Caller<'a>,
    rootfs: BorrowedFd<'_>,
    way: &Way<'a>,
) -> Result<Fd<'a>> {
    let name = plan.rootfs.path.as_bytes();
    let own_namespace = plan.switch != Switch::Chroot;
    let mut tree = match &plan.rootfs.idmap {
        None => way
            .clone_descriptor(caller.fds, rootfs, true)
            .map_err(|error| explain_foreign(plan, error))?,
        Some(idmap) => way.adopt(source::rootfs(caller, &plan.rootfs, idmap)?, true)?,
    };
    // Without a namespace of its own nothing is asked for, but whether the call is there.
    let attributes = if own_namespace {
        Attributes::propagation(propagation_of(plan))
    } else {
        Attributes::default()
    };
    if !own_namespace || plan.rootfs.idmap.is_some() {
        change_attributes(way.names(), &tree, false, &attributes)
            .map_err(|error| error.on(name))?;
    }
    tree.attach(rootfs).map_err(|error| error.on(name))?;
    if plan.rootfs.idmap.is_some() {
        mounts::check_idmapped(tree.as_fd())?;
    }
    Ok(tree.into_fd())
}

/// Sets the propagation of the root mount, with what is below it if MS_REC is in `flags`.
pub(super) fn change_propagation(flags: u64) -> Result<()> {
    // MS_* of mount(2) are 32 bits wide.
    let flags = MountPropagationFlags::from_bits_retain(flags as u32);
    rustix::mount::mount_change(c"/", flags)
        .during("mount", b"/")
        .map_err(|error| match error.errno {
            Errno::PERM => error.explain(
                "changing mounts needs CAP_SYS_ADMIN in the user namespace that owns this mount namespace",
            ),
            Errno::INVAL => error.explain(
                "\"/\" is not the root of a mount: this process lives in a chroot(2), where only RFS_OPTION_CHROOT works",
            ),
            _ => error,
        })
}

fn explain_foreign(plan: &Plan, error: Error) -> Error {
    let error = error.on(plan.rootfs.path.as_bytes());
    match error.errno {
        Errno::INVAL => error.explain(
            "the rootfs lies on no mount of this namespace: its descriptor was opened before unshare(2), or this process lives in a chroot(2), or the mount is unbindable",
        ),
        _ => error,
    }
}

enum Opened<'a> {
    Ours(Fd<'a>),
    Callers(BorrowedFd<'a>),
}

impl AsFd for Opened<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Opened::Ours(fd) => fd.as_fd(),
            Opened::Callers(fd) => *fd,
        }
    }
}

fn open<'a>(path: &'a CStr, given: Option<RawFd>, fds: &'a Fds) -> Result<Opened<'a>> {
    if let Some(raw) = given {
        let fd = fd::borrow(raw)
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
        return Ok(Opened::Callers(fd));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(opened) => Ok(Opened::Ours(fds.own(opened))),
        Err(errno) => Err(explain_rootfs(path, errno)),
    }
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
        Errno::NOENT => error.explain("the rootfs does not exist"),
        Errno::NOTDIR => {
            error.explain("the rootfs, or what is on the way to it, is not a directory")
        }
        _ => error,
    }
}

/// Makes the mount that a directory lies on private (or a slave): pivot_root(2) refuses a shared
/// parent, and a bind below one would appear on the host. That mount's root is found by going up.
pub(super) fn separate_parent(
    classic: Option<&Names<'_>>,
    directory: BorrowedFd<'_>,
    propagation: u64,
) -> Result<()> {
    const UP: &[u8] = b"../";
    let mut path = [0; PATH_MAX];
    let mut below = None;
    for start in (0..path.len() - UP.len()).step_by(UP.len()) {
        let up = CStr::from_bytes_until_nul(&path).unwrap_or_default();
        let status = status(directory, up).during("statx", b"..")?;
        if status.is_mount_root {
            let attributes = Attributes::propagation(propagation);
            if classic.is_none() {
                return set_attributes(directory, up, false, &attributes)
                    .during("mount_setattr", b"");
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let up = if up.is_empty() { c"." } else { up };
            let mount =
                rustix::fs::openat(directory, up, flags, Mode::empty()).during("openat", b"..")?;
            return change_attributes(classic, mount, false, &attributes);
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
