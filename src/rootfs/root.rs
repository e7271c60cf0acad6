//! The rootfs made ready: nothing propagates to the host, and it is a mount of its own.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use super::{Caller, mounts, source};
use crate::error::{During, Error, Result, Stage};
use crate::plan::{Plan, Rootfs, Switch};
use crate::sys::fd::{self, Fd, Fds};
use crate::sys::mount::{Attributes, attach, clone_tree, set_attributes, status};
use crate::sys::path::PATH_MAX;

/// Whether the rootfs is one, while the caller can still be told before the fork.
pub fn check(plan: &Plan) -> Result<()> {
    if plan.rootfs.fd.is_some() {
        return Ok(());
    }
    let fds = Fds::new();
    open(&plan.rootfs, &fds)
        .map(drop)
        .map_err(|error| error.at(Stage::Plan))
}

/// Binds the rootfs on itself, and gives that mount.
pub(super) fn enter<'a>(plan: &Plan, caller: Caller<'a>) -> Result<Fd<'a>> {
    let fds = caller.fds;
    let name = plan.rootfs.path.as_bytes();
    let own_namespace = plan.switch != Switch::Chroot;
    if own_namespace {
        change_propagation(plan.start_propagation())?;
    }
    let rootfs = open(&plan.rootfs, fds)?;
    let stays_slave = plan
        .propagation
        .is_some_and(|flags| flags & libc::MS_SLAVE != 0);
    let propagation = if stays_slave {
        libc::MS_SLAVE
    } else {
        libc::MS_PRIVATE
    };
    if own_namespace {
        separate_parent(rootfs.as_fd(), propagation)
            .during("mount_setattr", name)
            .map_err(explain_foreign)?;
    }
    if let Some(idmap) = &plan.rootfs.idmap {
        let tree = source::rootfs(caller, &plan.rootfs, idmap)?;
        if own_namespace {
            let attributes = Attributes::propagation(propagation);
            set_attributes(&tree, c"", false, &attributes).during("mount_setattr", name)?;
        }
        attach(&tree, &rootfs).during("move_mount", name)?;
        mounts::check_idmapped(&tree)?;
        return Ok(tree);
    }
    let tree = clone_tree(fds, &rootfs, c"", true)
        .during("open_tree", name)
        .map_err(explain_foreign)?;
    attach(&tree, &rootfs).during("move_mount", name)?;
    Ok(tree)
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

fn explain_foreign(error: Error) -> Error {
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

fn open<'a>(rootfs: &Rootfs, fds: &'a Fds) -> Result<Opened<'a>> {
    let path = rootfs.path.as_c_str();
    if let Some(raw) = rootfs.fd {
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
    directory: BorrowedFd<'_>,
    propagation: u64,
) -> rustix::io::Result<()> {
    const UP: &[u8] = b"../";
    let mut path = [0; PATH_MAX];
    let mut below = None;
    for start in (0..path.len() - UP.len()).step_by(UP.len()) {
        let up = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
        let status = status(directory, up)?;
        if status.is_mount_root {
            return set_attributes(directory, up, false, &Attributes::propagation(propagation));
        }
        // "/" is its own parent; where it is no mount's root, this process was put there by chroot(2).
        let identity = Some((status.mount_id, status.inode));
        if below == identity {
            return Err(Errno::INVAL);
        }
        below = identity;
        path[start..start + UP.len()].copy_from_slice(UP);
    }
    Err(Errno::NAMETOOLONG)
}
