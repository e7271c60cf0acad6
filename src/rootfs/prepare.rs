// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out rfs_prepare, from a new mount namespace to the container's root.

use std::os::fd::AsRawFd;

use rustix::fs::OFlags;

use super::callbacks::{Callbacks, Level, Point};
use super::container::Container;
use super::root::{self, Entered, LastStep};
use super::{Caller, Context, Umask, assembly, devices, mounts, stdio, switch};
use crate::error::{During, Error, Object, Result, Stage};
use crate::hooks;
use crate::mount::unmount;
use crate::plan::{HookKind, Plan, Switch};
use crate::sys::mount::status;

pub fn prepare(container: &Container, callbacks: &dyn Callbacks) -> Result<()> {
    demand_hooks(&container.plan, callbacks)?;
    container.begin()?;
    container.end_prepare(carry_out(container, callbacks))
}

fn carry_out(container: &Container, callbacks: &dyn Callbacks) -> Result<()> {
    let plan = &*container.plan;
    if callbacks.wants_log() {
        for warning in &plan.warnings {
            callbacks.log(Level::Warning, &warning.to_string_lossy());
        }
    }
    let umask = Umask::cleared();
    let caller = Caller {
        callbacks,
        umask: &umask,
    };
    let entered = root::enter(container, caller).map_err(|error| error.at(Stage::Root))?;
    let Entered {
        rootfs,
        api,
        last_step,
    } = entered;
    container.set_classic(api.is_classic());
    let mut cx = Context {
        plan,
        container,
        caller,
        api: &api,
        root: rootfs,
    };
    let started = start(&mut cx, last_step);
    if started.is_err() && plan.switch == Switch::Chroot {
        // Without a mount namespace of its own the mounts would stay on the host. If this fails too, the first error
        // tells why.
        let _ = unmount(&cx.root);
    }
    started
}

fn start(cx: &mut Context<'_>, last_step: LastStep) -> Result<()> {
    let plan = cx.plan;
    point(cx, Point::RootReady)?;
    for mount in &plan.mounts {
        let made = mounts::mount(cx, mount).map_err(|error| {
            error
                .at(Stage::Mounts)
                .about(Object::Mount(mount.index), mount.destination.as_bytes())
        })?;
        if let Some(root) = made.filter(|_| mount.is_on_root()) {
            cx.root = root;
        }
    }
    let before = dev_mount(cx);
    point(cx, Point::Mounted)?;
    let after = dev_mount(cx);
    if after.is_some() && after != before {
        cx.container.leave_dev();
    }
    if cx.container.fills_dev() {
        devices::fill(cx, &plan.devices).map_err(|error| error.at(Stage::Devices))?;
    }
    // pivot_root(2) takes the stage away with the old root. To unmount it alone costs as much as that does.
    let stage_goes_with_old_root = last_step == LastStep::Switch
        && plan.switch == Switch::PivotRoot
        && !cx.caller.callbacks.wants_points()
        && cx.caller.callbacks.state().is_none();
    if !stage_goes_with_old_root {
        cx.api.leave().map_err(|error| error.at(Stage::Mounts))?;
    }
    cx.container.mounts_are_ready();
    point(cx, Point::MountsReady)?;
    match last_step {
        LastStep::Switch => leave_old_root(cx)?,
        LastStep::MakeNamespace => assembly::enter(cx).map_err(|error| error.at(Stage::Pivot))?,
        LastStep::StandIn => assembly::stand_in(cx).map_err(|error| error.at(Stage::Pivot))?,
    }
    if stage_goes_with_old_root {
        cx.api.forget_stage();
    }
    let new_root = status(&cx.root, c"")
        .during("statx", b"/")
        .map_err(|error| error.at(Stage::Pivot))?;
    cx.container.set_root_mount(new_root.mount_id);
    stdio::enter(cx).map_err(|error| error.at(Stage::Process))?;
    point(cx, Point::AfterSwitch)
}

/// The last steps before the switch, which still see the old root.
fn leave_old_root(cx: &Context<'_>) -> Result<()> {
    let (plan, caller) = (cx.plan, cx.caller);
    rustix::process::fchdir(&cx.root)
        .during("fchdir", plan.rootfs.path.as_bytes())
        .map_err(|error| error.at(Stage::Pivot))?;
    point(cx, Point::CreateContainer)?;
    if let Some(state) = caller.callbacks.state() {
        caller.call(|_| hooks::run(plan, HookKind::CreateContainer, state))?;
    }
    point(cx, Point::BeforeSwitch)?;
    switch::switch(cx).map_err(|error| error.at(Stage::Pivot))
}

/// Nobody would run the hooks, and "the createContainer hooks MUST be called" (config.md of the runtime-spec).
fn demand_hooks(plan: &Plan, callbacks: &dyn Callbacks) -> Result<()> {
    let kind = HookKind::CreateContainer;
    let Some(first) = plan.hooks[kind as usize].first() else {
        return Ok(());
    };
    if callbacks.state().is_some() || callbacks.wants_points() {
        return Ok(());
    }
    Err(Error::invalid(
        "nobody would run it: set rfs_callbacks.state, or run it in an rfs_callbacks.point",
    )
    .at(Stage::Root)
    .about(Object::Hook(kind.name(), 0), first.path.as_bytes()))
}

/// The id of the mount whose root /dev is. A callback may have mounted something there.
fn dev_mount(cx: &Context<'_>) -> Option<u64> {
    if !cx.caller.callbacks.wants_points() {
        return None;
    }
    let dev = cx.root().open(c"/dev", OFlags::PATH).ok()?;
    let there = status(&dev, c"").ok()?;
    there.is_mount_root.then_some(there.mount_id)
}

fn point(cx: &Context<'_>, point: Point) -> Result<()> {
    if !cx.caller.callbacks.wants_points() {
        return Ok(());
    }
    let name = match point {
        Point::RootReady => "RFS_POINT_ROOT_READY",
        Point::Mounted => "RFS_POINT_MOUNTED",
        Point::MountsReady => "RFS_POINT_MOUNTS_READY",
        Point::CreateContainer => "RFS_POINT_CREATE_CONTAINER",
        Point::BeforeSwitch => "RFS_POINT_BEFORE_SWITCH",
        Point::AfterSwitch => "RFS_POINT_AFTER_SWITCH",
    };
    // The stage is taken away, because the caller's code should see the container as it will be.
    cx.api.leave().map_err(|error| error.at(Stage::Mounts))?;
    cx.container
        .with_root(cx.root.as_raw_fd(), || {
            cx.caller.call(|callbacks| callbacks.point(point))
        })
        .during("point callback", name.as_bytes())
        .map_err(|error| error.at(Stage::Hooks))
}
