// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attaches a mount of the plan in a running container. The calling process has joined its namespaces.

use std::os::fd::{AsFd, RawFd};

use rustix::fs::CWD;

use super::complete::{finish, set_propagation};
use super::source::{Position, position};
use super::target::{self, Target};
use super::{Umask, bind};
use crate::error::{During, Error, Object, Result, Stage};
use crate::mount::{MountApi, is_refusal, unmount};
use crate::plan::{Kind, Mount, Plan, Shape, Switch, proc};
use crate::sys::fd::{CallersFd, DIRECTORY, open};
use crate::sys::mount::{PROC, Status, fs_type};
use crate::sys::namespace::{self, Identity};
use crate::sys::resolve::Root;

/// `planned_in` is the mount namespace in which the plan was made.
pub fn attach(plan: &Plan, planned_in: &Identity, index: u64, raw: RawFd) -> Result<()> {
    let index = plan
        .configured(index)
        .map_err(|error| error.at(Stage::Mounts))?;
    let mount = plan.mount(index);
    attach_planned(plan, planned_in, mount, raw).map_err(|error| {
        let destination = mount.map(|mount| mount.destination.as_bytes());
        error
            .at(Stage::Mounts)
            .about(Object::Mount(index), destination.unwrap_or_default())
    })
}

fn attach_planned(
    plan: &Plan,
    planned_in: &Identity,
    mount: Option<&Mount>,
    raw: RawFd,
) -> Result<()> {
    let mount = mount.ok_or_else(|| {
        Error::invalid("it is optional, and was passed over when the plan was made")
    })?;
    if mount.is_made() {
        return Err(Error::invalid(
            "this step makes a file: there is no mount to attach",
        ));
    }
    if matches!(mount.kind, Kind::Remount(_)) {
        return Err(Error::invalid(
            "a remount changes a mount, and has none to attach",
        ));
    }
    if mount.is_on_root() {
        return Err(Error::invalid(
            "its destination is \"/\": the processes of a running container would not see a mount there",
        ));
    }
    demand_joined(plan, planned_in)?;
    let tree = CallersFd::new(raw)
        .during("fcntl", b"mountfd")
        .map_err(|error| error.explain(format_args!("mountfd {raw} is not open")))?;
    let (status, position) = position(tree)?;
    if position != Position::Detached {
        return Err(Error::invalid(format_args!(
            "mountfd {raw} is not a detached mount, as rfs_mountfd_open() and open_tree(2) with OPEN_TREE_CLONE give"
        )));
    }
    let _umask = Umask::cleared();
    let root = open(CWD, c"/", DIRECTORY).during("openat", b"/")?;
    let root = Root::new(root.as_fd());
    let target = target_of(&root, mount, &status)?;
    check(&root, mount, tree, &status, &target)?;
    let api = MountApi::new(false);
    let mut tree = api.adopt(tree.duplicate().during("fcntl", b"mountfd")?, b"")?;
    tree.attach(&target).map_err(|error| match error.errno {
        errno if is_refusal(errno) => error.explain(
            "a detached mount is attached by move_mount(2), which this kernel, a seccomp policy or a security module \
             refuses, and there is no other call for it",
        ),
        _ => error,
    })?;
    // The plan does not tell whether the target lies below a shared mount.
    let propagated = set_propagation(&api, mount, &tree);
    propagated
        .and_then(|()| finish(&api, mount, &tree))
        .inspect_err(|_| {
            // If this fails too, the first error still tells why the mount is wrong.
            let _ = unmount(&tree);
        })
}

/// Refuses the mount namespace in which the plan was made, because there "/" is the host's root.
fn demand_joined(plan: &Plan, planned_in: &Identity) -> Result<()> {
    if plan.planned_inside || plan.switch == Switch::Chroot {
        return Ok(());
    }
    match namespace::is_same(planned_in) {
        Some(false) => Ok(()),
        Some(true) => Err(Error::invalid(
            "this is the mount namespace in which the plan was made: join the container's with setns(2) first",
        )),
        None => Err(Error::invalid(
            "can't tell whether this is the container's mount namespace: statx(2) gives no mount id, and there is no \
             /proc/self/ns/mnt; with RFS_OPTION_PLANNED_INSIDE it is not checked",
        )),
    }
}

fn target_of<'a>(root: &Root<'a>, mount: &Mount, status: &Status) -> Result<Target<'a>> {
    match &mount.kind {
        Kind::Filesystem(it) if it.plain_target => target::plain_directory(root, mount),
        _ => target::of_mount(root, mount, Shape::of(status)),
    }
}

fn check(
    root: &Root<'_>,
    mount: &Mount,
    tree: CallersFd,
    status: &Status,
    target: &Target<'_>,
) -> Result<()> {
    if target.is_below_proc {
        bind::check_below_proc(root, mount, tree, b"mountfd", status, target)?;
    }
    if target.is_proc && fs_type(tree).during("fstatfs", b"mountfd")? != PROC {
        return Err(Error::invalid(proc::NOT_PROCFS));
    }
    Ok(())
}
