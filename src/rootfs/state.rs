//! Which process has prepared a plan. The plan itself is shared by both sides of a fork; after it
//! each side has its own copy of this, but for a child that shares its parent's memory.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::error::{Error, Result, Stage};
use crate::plan::{Mount, Plan, Switch};
use crate::sys::namespace::{self, Identity};

pub struct State {
    planned_in: Identity,
    /// The process that began to prepare, and its namespace: pids come again in new pid namespaces.
    pid: AtomicI32,
    namespace: AtomicU64,
    /// The bits of the Steps that have succeeded.
    done: AtomicU32,
    /// The optional mounts that failed, by their place in the plan.
    passed_over: Box<[AtomicBool]>,
    /// The rootfs's descriptor, or -1: while a hooks callback runs for which the host's files can still be reached.
    root: AtomicI32,
    /// Mounts are made by mount(2).
    classic: AtomicBool,
}

impl State {
    /// To be made together with the plan.
    pub fn new(plan: &Plan) -> Self {
        State {
            planned_in: namespace::identify(),
            pid: AtomicI32::new(0),
            namespace: AtomicU64::new(0),
            done: AtomicU32::new(0),
            passed_over: plan.mounts.iter().map(|_| AtomicBool::new(false)).collect(),
            root: AtomicI32::new(-1),
            classic: AtomicBool::new(false),
        }
    }

    /// The start of rfs_prepare.
    pub(super) fn begin(&self, plan: &Plan) -> Result<()> {
        let refuse = |sentence| Err(Error::invalid(sentence).at(Stage::Root));
        let current = namespace::current_like(&self.planned_in);
        if plan.switch != Switch::Chroot && !plan.planned_inside {
            match current {
                None => {
                    return refuse(
                        "can't tell whether this is a new mount namespace: neither /proc/self/ns/mnt nor \
                         statx(2)'s mount id is to be had; with RFS_OPTION_PLANNED_INSIDE it is not checked",
                    );
                }
                Some(current) if self.planned_in.contains(&Some(current)) => {
                    return refuse(
                        "this is the mount namespace in which the plan was made: call unshare(CLONE_NEWNS) or \
                         clone with it before rfs_prepare(), or set RFS_OPTION_PLANNED_INSIDE if rfs_plan_new() came after it",
                    );
                }
                Some(_) => {}
            }
        }
        let namespace = current.map_or(0, namespace::Namespace::number);
        let pid = own_pid();
        if self.pid.swap(pid, Relaxed) == pid && self.namespace.load(Relaxed) == namespace {
            return refuse(
                "rfs_prepare() was called in this process before; a rootfs is prepared once, and after a failure in a new namespace",
            );
        }
        self.namespace.store(namespace, Relaxed);
        self.done.store(0, Relaxed);
        Ok(())
    }

    pub(super) fn pass_over(&self, mount: &Mount) {
        if let Some(passed_over) = self.passed_over.get(mount.index) {
            passed_over.store(true, Relaxed);
        }
    }

    pub(super) fn was_passed_over(&self, mount: &Mount) -> bool {
        let passed_over = self.passed_over.get(mount.index);
        passed_over.is_some_and(|passed_over| passed_over.load(Relaxed))
    }

    pub(super) fn set_classic(&self, classic: bool) {
        self.classic.store(classic, Relaxed);
    }

    pub(super) fn is_classic(&self) -> bool {
        self.classic.load(Relaxed)
    }

    /// For rfs_bind_fd: until `call` returns.
    pub(super) fn with_root<T>(&self, root: BorrowedFd<'_>, call: impl FnOnce() -> T) -> T {
        self.root.store(root.as_raw_fd(), Relaxed);
        let result = call();
        self.root.store(-1, Relaxed);
        result
    }

    /// The number of the rootfs's descriptor, in a hooks callback before the switch.
    pub(super) fn root(&self) -> Result<RawFd> {
        match self.root.load(Relaxed) {
            root if root >= 0 && self.pid.load(Relaxed) == own_pid() => Ok(root),
            _ => Err(Error::invalid(
                "it is to be called by a hooks callback of rfs_prepare() with this plan, before RFS_HOOK_AFTER_PIVOT",
            )),
        }
    }

    /// The end of a step.
    pub(super) fn finish(&self, step: Step) {
        self.done.fetch_or(1 << step as u32, Relaxed);
    }

    /// The start of a step that comes after rfs_prepare, and only once: a second would mount all again.
    pub(super) fn begin_after(&self, step: Step, stage: Stage) -> Result<()> {
        let is_done = |step| self.done.load(Relaxed) & (1 << step as u32) != 0;
        if !is_done(Step::Prepare) || self.pid.load(Relaxed) != own_pid() {
            return Err(Error::invalid(
                "rfs_prepare() has not succeeded with this plan in this process",
            )
            .at(stage));
        }
        if is_done(step) {
            return Err(Error::invalid("this was done before; it is done once").at(stage));
        }
        Ok(())
    }
}

/// What is done once, by one function of the interface each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Prepare,
    Finalize,
    ReadonlyPaths,
    MaskPaths,
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}
