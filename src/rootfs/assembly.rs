// SPDX-License-Identifier: MIT OR Apache-2.0
//! RFS_OPTION_OWN_NAMESPACE: the caller is still in the host's mount namespace. The container's tree of mounts is put together
//! detached, which Linux can since 6.15, and its namespace is made at the end: until then nothing has changed for the caller.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::callbacks::Level;
use super::container::Container;
use super::root::{self, propagation_of, separated};
use super::source::{Place, place};
use super::{Caller, Context, switch};
use crate::error::{During, Error, Result};
use crate::mount::attributes::set_root_propagation;
use crate::mount::{MountApi, Source, Tree};
use crate::plan::{HookKind, Kind, Mount, Plan, Switch};
use crate::sys::fd::{CallersFd, DIRECTORY, open};
use crate::sys::mount::{Attributes, attach};
use crate::sys::namespace;

/// The rootfs as a detached tree. `None`: a namespace must be made first; the log is told why.
pub fn begin(container: &Container, caller: Caller<'_>) -> Result<Option<(OwnedFd, MountApi)>> {
    let plan = &*container.plan;
    let log = |why: &dyn core::fmt::Display| {
        let first = "unshare(CLONE_NEWNS) comes first, which copies the host's mounts";
        caller.log(Level::Debug, format_args!("{first}: {why}"));
    };
    let copies = match obstacle(plan, caller) {
        Ok(copies) => copies,
        Err(why) => {
            log(&why);
            return Ok(None);
        }
    };
    let Some(directory) = root::directory(container)? else {
        log(&"the rootfs is no directory of this namespace");
        return Ok(None);
    };
    let api = MountApi::separating(copies);
    match rehearse(plan, &api, directory.as_fd())
        .and_then(|()| clone(plan, &api, directory.as_fd()))
    {
        Ok(rootfs) => Ok(Some((rootfs, api))),
        Err(error) if is_missing(error.errno) => {
            log(&error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A call that this kernel does not have, or not for this, or that is refused.
fn is_missing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::NOSPC
    )
}

/// What copies of the host's mounts become; or what in the plan stands against a detached tree.
fn obstacle(plan: &Plan, caller: Caller<'_>) -> core::result::Result<u64, &'static str> {
    let old_root = [
        HookKind::Prestart,
        HookKind::CreateRuntime,
        HookKind::CreateContainer,
    ];
    let is_hooked = old_root
        .iter()
        .any(|&kind| !plan.hooks[kind as usize].is_empty());
    if is_hooked {
        return Err("hooks see the container below the old root");
    }
    if caller.callbacks.wants_points() {
        return Err("rfs_callbacks.point sees the container below the old root");
    }
    if plan.switch != Switch::PivotRoot {
        return Err("RFS_OPTION_NO_PIVOT");
    }
    if plan.classic_mount || plan.mounts.iter().any(needs_mount2) {
        return Err("mount(2) makes no detached mounts");
    }
    if plan.rootfs.idmap.is_some() || plan.mounts.iter().any(Mount::is_idmapped) {
        return Err("whether a mount is idmapped can be seen only once it is attached");
    }
    if plan.mounts.iter().any(changes_attached) {
        return Err("a mount is changed after it is attached");
    }
    separated(plan).ok_or("linux.rootfsPropagation lets mounts propagate")
}

fn needs_mount2(mount: &Mount) -> bool {
    match &mount.kind {
        Kind::Filesystem(it) => it.needs_mount2,
        Kind::Cgroup(it) => it.unified.needs_mount2 || it.tmpfs.needs_mount2,
        Kind::Bind(_) | Kind::Remount(_) | Kind::Make(_) => false,
    }
}

/// mount_setattr(2) and umount2(2) say EINVAL to a mount below the root of a detached tree.
fn changes_attached(mount: &Mount) -> bool {
    let is_partly_undone = mount.optional && matches!(mount.kind, Kind::Cgroup(_));
    matches!(mount.kind, Kind::Remount(_))
        || mount.below_shared
        || is_partly_undone
        || mount.is_on_root()
}

/// Whether a detached mount may be attached to another is found out where it leaves no trace: EINVAL before Linux 6.15, and
/// security modules may refuse it.
fn rehearse(plan: &Plan, api: &MountApi, directory: BorrowedFd<'_>) -> Result<()> {
    let name = plan.rootfs.path.as_bytes();
    let below = api.clone(Source::Fd(directory), true, name)?;
    let mut above = api.clone(Source::Fd(directory), true, name)?;
    above.attach(&below)
}

fn clone(plan: &Plan, api: &MountApi, directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let tree = api.clone(Source::Fd(directory), true, plan.rootfs.path.as_bytes())?;
    tree.change(false, &Attributes::propagation(propagation_of(plan)))?;
    Ok(tree.into_fd())
}

/// Makes the namespace first, and takes the caller's descriptors along, of which a new one would not know the mounts.
pub fn copy_namespace(container: &Container) -> Result<()> {
    let api = MountApi::new(false);
    container.copy_descriptors(|raw, recursive| {
        let fd = CallersFd::new(raw).ok()?;
        if place(fd).ok()?.1 == Place::Detached {
            return None;
        }
        // What can't be copied is told where it is used.
        let tree = api.clone(Source::Fd(fd.as_fd()), recursive, b"");
        tree.ok().map(|tree| tree.into_fd())
    });
    namespace::copy()
        .during("unshare", b"CLONE_NEWNS")
        .map_err(explain_unshare)
}

/// Such a copy is still a peer of the host's mounts. mount_setattr(2) may be missing: it is changed once it is attached.
pub fn separate_copy(plan: &Plan, tree: &Tree<'_>) -> Result<()> {
    match separated(plan) {
        Some(propagation) => tree.change(true, &Attributes::propagation(propagation)),
        None => Ok(()),
    }
}

fn explain_unshare(error: Error) -> Error {
    match error.errno {
        Errno::PERM => error.explain("a mount namespace needs CAP_SYS_ADMIN in the user namespace"),
        Errno::NOSPC => {
            error.explain("there are too many mount namespaces: user.max_mnt_namespaces")
        }
        _ => error,
    }
}

/// Makes the namespace, and the detached tree its root.
pub fn enter(cx: &Context<'_>) -> Result<()> {
    let root = cx.root.as_fd();
    if namespace::empty().is_ok() {
        // Its own root is both "/" and the working directory.
        attach(root, CWD)
            .during("move_mount", b"/")
            .map_err(explain_attach)?;
        rustix::process::fchdir(root).during("fchdir", b"/")?;
        return switch::chroot();
    }
    namespace::copy()
        .during("unshare", b"CLONE_NEWNS")
        .map_err(explain_unshare)?;
    set_root_propagation(cx.plan.start_propagation())?;
    let over = open(CWD, c"/", DIRECTORY).during("openat", b"/")?;
    attach(root, over)
        .during("move_mount", b"/")
        .map_err(explain_attach)?;
    rustix::process::fchdir(root).during("fchdir", b"/")?;
    switch::pivot_root(cx)
}

fn explain_attach(error: Error) -> Error {
    match error.errno {
        Errno::LOOP => error.explain(
            "a source of a recursive bind has a mount namespace bound below it (as snapd does), which a newer namespace can't have: call unshare(CLONE_NEWNS) before rfs_prepare() and leave RFS_OPTION_OWN_NAMESPACE out",
        ),
        _ => error,
    }
}
