// SPDX-License-Identifier: MIT OR Apache-2.0
//! Puts the container together for RFS_OPTION_OWN_NAMESPACE, while the caller is still in the host's mount namespace.
//! Since Linux 6.15 the container's tree of mounts can be put together detached, and its namespace is made at the
//! end. Until then nothing has changed for the caller. A process in a user namespace that does not own the host's
//! mounts can't copy any of them. Since Linux 7.0 it can first enter a namespace that has a copy of the rootfs alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::callbacks::Level;
use super::container::Container;
use super::root::{self, propagation_of, separated};
use super::source::{Position, position};
use super::{Caller, Context, cgroup, switch};
use crate::error::{During, Error, Result};
use crate::mount::attributes::set_root_propagation;
use crate::mount::host::{HostMounts, Obstacle};
use crate::mount::{MountApi, Source, Tree};
use crate::plan::{CGROUP_MOUNTPOINT, HookKind, Kind, Link, Mount, Plan, Switch};
use crate::sys::fd::{CallersFd, DIRECTORY, open};
use crate::sys::mount::{Attributes, attach, set_attributes};
use crate::sys::namespace;

/// The place where the container is put together, if it is not below the old root.
pub enum Begun {
    /// A detached tree, whose namespace is made at the end.
    Detached(OwnedFd, MountApi),
    /// Its own namespace, where nothing else is mounted. The process keeps its root directory on the host until the
    /// end.
    Entered(OwnedFd, MountApi),
}

/// Begins without a new namespace if that is possible. `None` if a namespace must be made first, and the log tells
/// why.
pub fn begin(container: &Container, caller: Caller<'_>) -> Result<Option<Begun>> {
    let plan = &*container.plan;
    let log = |why: &dyn core::fmt::Display| {
        let first = "unshare(CLONE_NEWNS) comes first, which copies the host's mounts";
        caller.log(Level::Debug, format_args!("{first}: {why}"));
        Ok(None)
    };
    let copies = match obstacle(plan, caller) {
        Ok(copies) => copies,
        Err(why) => return log(&why),
    };
    let Some(directory) = root::directory(container)? else {
        return log(&"the rootfs is no directory of this namespace");
    };
    let api = MountApi::separating(copies);
    match rehearse(plan, &api, directory.as_fd()) {
        // The host's mounts belong to another user namespace, or a filter refuses the call.
        Err(error) if error.errno == Errno::PERM => {
            return match leave(container, directory.as_fd(), copies) {
                Ok((rootfs, host)) => Ok(Some(Begun::Entered(rootfs, api.with_host(host)))),
                Err(Obstacle::Plan(why)) => log(&why),
                Err(Obstacle::Refused(error)) if is_missing(error.errno) => log(&error),
                Err(Obstacle::Refused(error) | Obstacle::Failed(error)) => Err(error),
            };
        }
        Err(error) if is_missing(error.errno) => return log(&error),
        rehearsed => rehearsed?,
    }
    if let Some(why) = detached_obstacle(plan) {
        return log(&why);
    }
    match clone(plan, &api, directory.as_fd()) {
        Ok(rootfs) => Ok(Some(Begun::Detached(rootfs, api))),
        Err(error) if is_missing(error.errno) => log(&error),
        Err(error) => Err(error),
    }
}

/// Whether a system call is missing, refused, or not yet able to do this.
fn is_missing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::NOSPC
    )
}

/// The propagation that copies of the host's mounts get. The error tells why the container must be put together below
/// the old root.
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
    if plan.rootfs.idmap.is_some() {
        return Err("the host's side opens the rootfs");
    }
    separated(plan).ok_or("linux.rootfsPropagation lets mounts propagate")
}

/// The part of the plan that forbids mounts on a detached tree.
fn detached_obstacle(plan: &Plan) -> Option<&'static str> {
    if plan.mounts.iter().any(Mount::is_idmapped) {
        return Some("whether a mount is idmapped can be seen only once it is attached");
    }
    if plan.mounts.iter().any(changes_attached) {
        return Some("a mount is changed after it is attached");
    }
    None
}

fn needs_mount2(mount: &Mount) -> bool {
    match &mount.kind {
        Kind::Filesystem(it) => it.needs_mount2,
        Kind::Cgroup(it) => it.unified.needs_mount2 || it.tmpfs.needs_mount2,
        Kind::Bind(_) | Kind::Remount(_) | Kind::Make(_) => false,
    }
}

/// mount_setattr(2) and umount2(2) answer EINVAL to a mount below the root of a detached tree.
fn changes_attached(mount: &Mount) -> bool {
    let is_partly_undone = mount.optional && matches!(mount.kind, Kind::Cgroup(_));
    matches!(mount.kind, Kind::Remount(_))
        || mount.below_shared
        || is_partly_undone
        || mount.is_on_root()
}

/// Tries to attach one detached mount to another, which leaves no trace. The kernel answers EINVAL before Linux 6.15,
/// and a security module may refuse it.
fn rehearse(plan: &Plan, api: &MountApi, directory: BorrowedFd<'_>) -> Result<()> {
    let name = plan.rootfs.path.as_bytes();
    let below = api.clone(Source::Fd(directory), true, name)?;
    let mut above = api.clone(Source::Fd(directory), true, name)?;
    above.attach(&below)
}

/// Keeps the directories of the host that the plan mounts from, and enters a namespace that has the rootfs alone.
fn leave(
    container: &Container,
    directory: BorrowedFd<'_>,
    copies: u64,
) -> core::result::Result<(OwnedFd, HostMounts), Obstacle> {
    let plan = &*container.plan;
    let mut host = HostMounts::new()?;
    for mount in &plan.mounts {
        keep_sources(container, &mut host, mount)?;
    }
    if container.may_fill_dev() {
        // A process in a user namespace can't make device nodes: mknod(2).
        for device in &plan.devices {
            host.keep(&device.path, true)?;
        }
    }
    let name = plan.rootfs.path.as_bytes();
    let root = host.leave(directory, name, copies)?;
    let own = Attributes::propagation(propagation_of(plan));
    match set_attributes(&root, c"", false, &own).during("mount_setattr", name) {
        Ok(()) => Ok((root, host)),
        Err(error) => Err(Obstacle::Failed(error)),
    }
}

/// The sources of a mount on the host, and the file systems that must be visible for it to be made.
fn keep_sources(
    container: &Container,
    host: &mut HostMounts,
    mount: &Mount,
) -> core::result::Result<(), Obstacle> {
    if mount.is_on_root() {
        return Err(Obstacle::Plan("a mount becomes the root"));
    }
    if mount.from_host {
        return Ok(());
    }
    match &mount.kind {
        Kind::Filesystem(it) if it.idmap.is_some() => Ok(()),
        Kind::Filesystem(it) => {
            match it.fstype.to_bytes() {
                b"proc" => host.keep(c"/proc", true)?,
                b"sysfs" => host.keep(c"/sys", true)?,
                b"tmpfs" | b"ramfs" | b"devpts" | b"mqueue" | b"cgroup2" => {}
                // Overlay takes the names in the same way.
                _ => {
                    return Err(Obstacle::Plan(
                        "a file system may take paths of the host as its parameters",
                    ));
                }
            }
            match &it.instead {
                Some(instead) => host.keep(&instead.source, true),
                None => Ok(()),
            }
        }
        Kind::Bind(it) => match container.source_fd(mount) {
            Some(raw) => {
                let fd = CallersFd::new(raw).during("fcntl", it.source.as_bytes())?;
                match position(fd)?.1 {
                    Position::Detached => Ok(()),
                    _ => Err(Obstacle::Plan("a source is a descriptor of this namespace")),
                }
            }
            None if it.relative || it.idmap.is_some() => Ok(()),
            None => host.keep(&it.source, it.link == Link::Follow),
        },
        Kind::Cgroup(it) => {
            if !it.is_unified && !cgroup::is_unified_alone() {
                return Err(Obstacle::Plan(
                    "cgroup v1 is found in the host's list of mounts",
                ));
            }
            host.keep(it.path.as_deref().unwrap_or(CGROUP_MOUNTPOINT), true)
        }
        Kind::Remount(_) | Kind::Make(_) => Ok(()),
    }
}

fn clone(plan: &Plan, api: &MountApi, directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let tree = api.clone(Source::Fd(directory), true, plan.rootfs.path.as_bytes())?;
    tree.change(false, &Attributes::propagation(propagation_of(plan)))?;
    Ok(tree.into_fd())
}

/// Makes the namespace first. The caller's descriptors are replaced by detached copies, because a new namespace does
/// not accept mounts of another one.
pub fn copy_namespace(container: &Container) -> Result<()> {
    let api = MountApi::new(false);
    container.copy_descriptors(|raw, recursive| {
        let fd = CallersFd::new(raw).ok()?;
        if position(fd).ok()?.1 == Position::Detached {
            return None;
        }
        // A descriptor that can't be copied is an error where it is used.
        let tree = api.clone(Source::Fd(fd.as_fd()), recursive, b"");
        tree.ok().map(|tree| tree.into_fd())
    });
    namespace::copy()
        .during("unshare", b"CLONE_NEWNS")
        .map_err(explain_unshare)
}

/// Such a copy is still a peer of the host's mounts. mount_setattr(2) may be missing, so its propagation is changed
/// after it is attached.
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

/// Makes the container's root the root directory of this process, which is in the container's namespace already.
pub fn stand_in(cx: &Context<'_>) -> Result<()> {
    cx.api.check_namespace()?;
    rustix::process::fchdir(&cx.root).during("fchdir", b"/")?;
    switch::chroot()
}

/// Makes the namespace with the detached tree as its root, in the cheapest way that the kernel has.
pub fn enter(cx: &Context<'_>) -> Result<()> {
    let root = cx.root.as_fd();
    if namespace::empty().is_ok() {
        // The new namespace's empty root is both "/" and the working directory.
        attach(root, CWD)
            .during("move_mount", b"/")
            .map_err(explain_attach)?;
        rustix::process::fchdir(root).during("fchdir", b"/")?;
        return switch::chroot();
    }
    // The tree itself is attached over the namespace's root, because the mounts of a copy would have other ids.
    let is_small = namespace::of_tree(root).is_ok_and(|copy| namespace::join(copy).is_ok());
    if !is_small {
        namespace::copy()
            .during("unshare", b"CLONE_NEWNS")
            .map_err(explain_unshare)?;
    }
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
            "a source of a recursive bind has a mount namespace bound below it (as snapd does), which a newer \
                namespace can't have: call unshare(CLONE_NEWNS) before rfs_prepare() and leave \
                RFS_OPTION_OWN_NAMESPACE out",
        ),
        _ => error,
    }
}
