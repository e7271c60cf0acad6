//! rfs_prepare: from a new mount namespace to the container's root.

use super::callbacks::{Callbacks, HookPoint, Level};
use super::state::{State, Step};
use super::{Caller, Context, Umask, devices, hooks, mounts, process, root, switch};
use crate::error::{During, Error, Object, Result, Stage};
use crate::plan::{HookKind, Plan};
use crate::sys::fd::Fds;
use crate::sys::resolve::Root;

pub fn prepare(plan: &Plan, state: &State, callbacks: &dyn Callbacks) -> Result<()> {
    demand_hooks(plan, callbacks)?;
    state.begin(plan)?;
    if callbacks.wants_log() {
        for warning in &plan.warnings {
            callbacks.log(Level::Warning, warning);
        }
    }
    let fds = Fds::new();
    let umask = Umask::cleared();
    let caller = Caller {
        callbacks,
        umask: &umask,
        fds: &fds,
    };
    let (rootfs, way) = root::enter(plan, caller).map_err(|error| error.at(Stage::Root))?;
    state.set_classic(way.names().is_some());
    let cx = Context {
        plan,
        state,
        callbacks,
        umask: &umask,
        fds: &fds,
        way: &way,
        root: Root::new(std::os::fd::AsFd::as_fd(&rootfs), &fds),
    };
    for mount in &plan.mounts {
        mounts::mount(&cx, mount).map_err(|error| {
            error
                .at(Stage::Mounts)
                .about(Object::Mount(mount.index), mount.destination.as_bytes())
        })?;
    }
    if let Some(devices) = &plan.dev {
        devices::fill(&cx, devices).map_err(|error| error.at(Stage::Devices))?;
    }
    way.leave();
    hook(&cx, HookPoint::MountsReady)?;
    rustix::process::fchdir(&rootfs)
        .during("fchdir", plan.rootfs.path.as_bytes())
        .map_err(|error| error.at(Stage::Pivot))?;
    hook(&cx, HookPoint::CreateContainer)?;
    if let Some(state) = callbacks.state() {
        cx.call(|_| hooks::run(plan, HookKind::CreateContainer, state))?;
    }
    hook(&cx, HookPoint::BeforePivot)?;
    switch::switch(&cx).map_err(|error| error.at(Stage::Pivot))?;
    process::enter(&cx).map_err(|error| error.at(Stage::Process))?;
    hook(&cx, HookPoint::AfterPivot)?;
    state.finish(Step::Prepare);
    Ok(())
}

/// Nobody would run them, and "the createContainer hooks MUST be called" (config.md of the runtime-spec).
fn demand_hooks(plan: &Plan, callbacks: &dyn Callbacks) -> Result<()> {
    let kind = HookKind::CreateContainer;
    let Some(first) = plan.hooks[kind as usize].first() else {
        return Ok(());
    };
    if callbacks.state().is_some() || callbacks.wants_hooks() {
        return Ok(());
    }
    Err(Error::invalid(
        "nobody would run it: set rfs_callbacks.state, or run it in an rfs_callbacks.hooks",
    )
    .at(Stage::Root)
    .about(Object::Hook(kind.name(), 0), first.path.as_bytes()))
}

fn hook(cx: &Context<'_>, point: HookPoint) -> Result<()> {
    if !cx.callbacks.wants_hooks() {
        return Ok(());
    }
    let name = match point {
        HookPoint::MountsReady => "RFS_HOOK_MOUNTS_READY",
        HookPoint::CreateContainer => "RFS_HOOK_CREATE_CONTAINER",
        HookPoint::BeforePivot => "RFS_HOOK_BEFORE_PIVOT",
        HookPoint::AfterPivot => "RFS_HOOK_AFTER_PIVOT",
    };
    let call = || cx.call(|callbacks| callbacks.hook(point));
    let result = match point {
        HookPoint::AfterPivot => call(),
        _ => cx.state.with_root(cx.root.as_fd(), call),
    };
    result
        .during("hooks callback", name.as_bytes())
        .map_err(|error| error.at(Stage::Hooks))
}
