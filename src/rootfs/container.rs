// SPDX-License-Identifier: MIT OR Apache-2.0
//! One start of a plan, with all state that changes while the plan is carried out. It is made before the fork and
//! used by one process.

use core::cell::Cell;
use core::ffi::CStr;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::error::{Error, Object, Result, Stage};
use crate::plan::{Kind, Link, Mount, Plan, Switch};
use crate::sys::fd::adopt;
use crate::sys::namespace::{self, Identity};

pub struct Container {
    pub plan: Arc<Plan>,
    planned_in: Identity,
    progress: Cell<Progress>,
    /// rfs_mask_paths and rfs_readonly_paths have succeeded.
    masked: Cell<bool>,
    made_readonly: Cell<bool>,
    /// The caller's descriptor of the rootfs, if it was given to this container instead of the configuration.
    rootfs_fd: Cell<Option<RawFd>>,
    /// A detached copy of the rootfs's mount, which this library owns and which can go into another mount namespace.
    rootfs_copy: Cell<Option<RawFd>>,
    /// The state of each mount of the plan.
    mounts: Box<[MountState]>,
    /// The rootfs's descriptor while a callback runs.
    root: Cell<Option<RawFd>>,
    /// The id of the mount that the container's root is.
    root_mount: Cell<u64>,
    /// Whether mounts are made by mount(2).
    classic: Cell<bool>,
    /// Whether the mount on /dev is not the container's alone, so that nothing is made in it.
    foreign_dev: Cell<bool>,
}

#[derive(Default)]
struct MountState {
    source_fd: Cell<Option<RawFd>>,
    /// A detached copy of the source's mount, like `rootfs_copy`.
    source_copy: Cell<Option<RawFd>>,
    passed_over: Cell<bool>,
    /// The mount's id. It is 0 before the mount is attached.
    id: Cell<u64>,
}

/// How far the calls of the interface have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    New,
    /// rfs_prepare() runs, and no device has been made yet.
    Mounting,
    /// rfs_prepare() runs, and /dev is filled.
    MountsReady,
    /// rfs_prepare() has failed.
    Failed,
    Prepared,
    Finalized,
}

impl Container {
    /// `planned_in` is the mount namespace in which the plan was made.
    pub fn new(plan: &Arc<Plan>, planned_in: Identity) -> Self {
        Container {
            plan: Arc::clone(plan),
            planned_in,
            progress: Cell::new(Progress::New),
            masked: Cell::new(false),
            made_readonly: Cell::new(false),
            rootfs_fd: Cell::new(None),
            rootfs_copy: Cell::new(None),
            mounts: (0..plan.configured_mounts)
                .map(|_| MountState::default())
                .collect(),
            root: Cell::new(None),
            root_mount: Cell::new(0),
            classic: Cell::new(false),
            foreign_dev: Cell::new(false),
        }
    }

    /// Gives the rootfs as a descriptor.
    pub fn set_rootfs_fd(&self, fd: RawFd) -> Result<()> {
        self.demand_new("rfs_container_set_rootfs_fd()")?;
        if self.plan.rootfs.tmpfs.is_some() {
            return Err(Error::invalid(
                "RFS_OPTION_TMPFS_ROOTFS: the rootfs is a new tmpfs, not a descriptor",
            ));
        }
        if self.plan.switch == Switch::Stay {
            return Err(Error::invalid("RFS_OPTION_HOST_ROOT: there is no rootfs"));
        }
        self.rootfs_fd.set(Some(fd));
        Ok(())
    }

    /// Gives the source of a bind as a descriptor.
    pub fn set_source_fd(&self, index: u64, fd: RawFd) -> Result<()> {
        self.demand_new("rfs_container_set_source_fd()")?;
        let Some(mount) = self.plan.mount(self.plan.configured(index)?) else {
            return Ok(()); // the plan has passed it over
        };
        if let Some(reason) = no_source_fd(mount) {
            return Err(Error::invalid(reason)
                .about(Object::Mount(mount.index), mount.destination.as_bytes()));
        }
        self.mounts[mount.index].source_fd.set(Some(fd));
        Ok(())
    }

    /// Checks that rfs_prepare() has not been called.
    pub fn is_new(&self) -> bool {
        self.progress.get() == Progress::New
    }

    fn demand_new(&self, call: &str) -> Result<()> {
        if self.is_new() {
            return Ok(());
        }
        Err(Error::invalid(format_args!(
            "{call} comes before rfs_prepare()"
        )))
    }

    /// The descriptor that the caller gave for the rootfs, here or in the configuration.
    pub(super) fn rootfs_fd(&self) -> Option<RawFd> {
        let copy = self.rootfs_copy.get();
        copy.or(self.rootfs_fd.get()).or(self.plan.rootfs.fd)
    }

    /// The descriptor that the caller gave for a bind's source, here or in the configuration.
    pub(super) fn source_fd(&self, mount: &Mount) -> Option<RawFd> {
        let given = self
            .mounts
            .get(mount.index)
            .and_then(|it| it.source_copy.get().or(it.source_fd.get()));
        given.or(match &mount.kind {
            Kind::Bind(bind) => bind.source_fd,
            _ => None,
        })
    }

    /// Replaces the caller's descriptors by detached copies, because a new mount namespace would not accept their
    /// mounts.
    pub(super) fn copy_descriptors(&self, copy: impl Fn(RawFd, bool) -> Option<OwnedFd>) {
        let copy = |raw, recursive| copy(raw, recursive).map(IntoRawFd::into_raw_fd);
        if let Some(raw) = self.rootfs_fd() {
            self.rootfs_copy.set(copy(raw, true));
        }
        for mount in &self.plan.mounts {
            if let (Kind::Bind(bind), Some(raw)) = (&mount.kind, self.source_fd(mount)) {
                self.mounts[mount.index]
                    .source_copy
                    .set(copy(raw, bind.recursive));
            }
        }
    }

    fn copies(&self) -> impl Iterator<Item = &Cell<Option<RawFd>>> {
        let sources = self.mounts.iter().map(|it| &it.source_copy);
        sources.chain([&self.rootfs_copy])
    }

    /// Whether the descriptor is a copy that replaces the caller's.
    pub(super) fn is_copy(&self, raw: RawFd) -> bool {
        self.copies().any(|copy| copy.get() == Some(raw))
    }

    fn close_copies(&self) {
        for copy in self.copies() {
            // If the descriptor is not open any more, a callback has closed it.
            let _ = copy.take().map(adopt);
        }
    }

    /// The start of rfs_prepare.
    pub(super) fn begin(&self) -> Result<()> {
        let refuse = |sentence| Err(Error::invalid(sentence).at(Stage::Root));
        if !self.is_new() {
            return refuse(
                "rfs_prepare() was called with this container before: a container is started once; make \
                 another with rfs_container_new()",
            );
        }
        let is_inside = !self.plan.own_namespace && self.plan.switch != Switch::Chroot;
        if is_inside && !self.plan.planned_inside {
            match namespace::is_same(&self.planned_in) {
                Some(false) => {}
                Some(true) => {
                    return refuse(
                        "this is the mount namespace in which the plan was made: call unshare(CLONE_NEWNS) or \
                         clone with it before rfs_prepare(), or set RFS_OPTION_OWN_NAMESPACE if rfs_prepare() \
                         is to make one, or RFS_OPTION_PLANNED_INSIDE if rfs_plan_new() came after it",
                    );
                }
                None => {
                    return refuse(
                        "can't tell whether this is a new mount namespace: statx(2) gives no mount id, and there is no \
                         /proc/self/ns/mnt; with RFS_OPTION_PLANNED_INSIDE it is not checked",
                    );
                }
            }
        }
        self.progress.set(Progress::Mounting);
        Ok(())
    }

    /// The end of rfs_prepare.
    pub(super) fn end_prepare<T>(&self, result: Result<T>) -> Result<T> {
        self.progress.set(if result.is_ok() {
            Progress::Prepared
        } else {
            Progress::Failed
        });
        self.close_copies();
        result
    }

    /// Whether the devices and links in /dev are made.
    pub(super) fn mounts_are_ready(&self) {
        self.progress.set(Progress::MountsReady);
    }

    pub(super) fn pass_over(&self, mount: &Mount) {
        if let Some(it) = self.mounts.get(mount.index) {
            it.passed_over.set(true);
        }
    }

    pub(super) fn was_passed_over(&self, mount: &Mount) -> bool {
        self.mounts
            .get(mount.index)
            .is_some_and(|it| it.passed_over.get())
    }

    pub(super) fn set_mount_id(&self, mount: &Mount, id: u64) {
        if let Some(it) = self.mounts.get(mount.index) {
            it.id.set(id);
        }
    }

    /// Keeps the id of the mount that was made. It is 0 if none was made.
    pub(super) fn mount_id(&self, mount: &Mount) -> u64 {
        self.mounts.get(mount.index).map_or(0, |it| it.id.get())
    }

    /// The mount that a path lay below when it was made: the last one that was attached above the path. Its id and
    /// the rest of the path come with it. `None` stands for the rootfs itself.
    pub(super) fn mount_above<'a>(&self, path: &'a CStr) -> Option<(&Mount, u64, &'a CStr)> {
        let all = self.plan.mounts.iter().rev();
        all.filter(|mount| mount.is_recognised).find_map(|mount| {
            let below = mount.path_below(path).filter(|below| !below.is_empty())?;
            let id = self.mount_id(mount);
            (id != 0 && !self.was_passed_over(mount)).then_some((mount, id, below))
        })
    }

    /// Notes that another mount lies at a path now. `by` is its id if paths below can be looked for in it, and
    /// otherwise 0. The mounts below were copied or hidden by it, and are no longer recognised.
    pub(super) fn was_covered(&self, path: &CStr, by: impl Fn() -> Result<u64>) -> Result<()> {
        for mount in self.plan.mounts.iter().filter(|it| it.is_recognised) {
            if mount.destination.as_c_str() == path {
                self.set_mount_id(mount, by()?);
            } else if is_below(&mount.destination, path) {
                self.set_mount_id(mount, 0);
            }
        }
        Ok(())
    }

    pub(super) fn set_classic(&self, classic: bool) {
        self.classic.set(classic);
    }

    pub(super) fn is_classic(&self) -> bool {
        self.classic.get()
    }

    /// Notes that a mount was made. The last mount on /dev decides whether devices are made there.
    pub(super) fn cover_dev(&self, mount: &Mount) {
        if mount.is_on_dev() {
            self.foreign_dev.set(mount.brings_foreign_dev());
        }
    }

    /// Notes that a callback has mounted something on /dev, which belongs to the caller.
    pub(super) fn leave_dev(&self) {
        self.foreign_dev.set(true);
    }

    /// Notes that the devices and links in /dev are made.
    pub(super) fn fills_dev(&self) -> bool {
        self.plan.switch != Switch::Stay && !self.foreign_dev.get()
    }

    /// Tells, before the mounts are made, whether devices may be made.
    pub(super) fn may_fill_dev(&self) -> bool {
        self.plan.switch != Switch::Stay && !self.plan.devices.is_empty()
    }

    pub(super) fn set_root_mount(&self, id: u64) {
        self.root_mount.set(id);
    }

    /// The id of the mount that is "/" after the switch.
    pub(super) fn root_mount(&self) -> u64 {
        self.root_mount.get()
    }

    /// Makes the rootfs available while `call` runs the caller's code.
    pub(super) fn with_root<T>(&self, root: RawFd, call: impl FnOnce() -> T) -> T {
        self.root.set(Some(root));
        let result = call();
        self.root.set(None);
        result
    }

    /// The rootfs's descriptor, in a callback.
    pub fn root_fd(&self) -> Option<RawFd> {
        self.root.get()
    }

    /// The root below which more may be bound than the plan's mounts.
    pub(super) fn reach(&self) -> Result<Reach> {
        match (self.progress.get(), self.root.get()) {
            (Progress::Mounting | Progress::MountsReady, Some(root)) => Ok(Reach::Callback {
                root,
                has_dev: self.progress.get() == Progress::MountsReady,
            }),
            (Progress::Prepared, _) => Ok(Reach::Switched),
            (Progress::Finalized, _) => Err(Error::invalid(
                "rfs_finalize() has been called: the container's root is complete",
            )),
            _ => Err(Error::invalid(
                "it is called in an rfs_callbacks.point of this container, or after rfs_prepare() has succeeded",
            )),
        }
    }

    /// Begins a call that comes after rfs_prepare().
    pub(super) fn begin_after(&self, step: Step, stage: Stage) -> Result<()> {
        let refuse = |sentence| Err(Error::invalid(sentence).at(stage));
        let prepared = match step {
            Step::Finalize => self.progress.get() == Progress::Prepared,
            _ => matches!(
                self.progress.get(),
                Progress::Prepared | Progress::Finalized
            ),
        };
        match (self.progress.get(), step) {
            (Progress::Finalized, Step::Finalize) => {
                return refuse("rfs_finalize() has been called for this container before");
            }
            _ if !prepared => {
                return refuse("rfs_prepare() has not succeeded with this container");
            }
            _ => {}
        }
        let is_done = match step {
            Step::Finalize => false,
            Step::MaskPaths => self.masked.get(),
            Step::ReadonlyPaths => self.made_readonly.get(),
        };
        if is_done {
            return refuse("this has been done for this container before");
        }
        if step != Step::Finalize && !self.plan.separate_masks {
            return refuse("rfs_finalize() does it, unless RFS_OPTION_SEPARATE_MASKS is set");
        }
        Ok(())
    }

    /// Notes that the call has succeeded.
    pub(super) fn finish(&self, step: Step) {
        match step {
            Step::Finalize => self.progress.set(Progress::Finalized),
            Step::MaskPaths => self.masked.set(true),
            Step::ReadonlyPaths => self.made_readonly.set(true),
        }
    }
}

fn is_below(path: &CStr, above: &CStr) -> bool {
    let rest = path.to_bytes().strip_prefix(above.to_bytes());
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// The way in which the container's root is reached.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// A descriptor reaches it, while a callback runs. `has_dev` tells whether /dev is filled.
    Callback { root: RawFd, has_dev: bool },
    /// The path "/" reaches it.
    Switched,
}

/// The steps after rfs_prepare(), each of which one function of the interface takes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Finalize,
    ReadonlyPaths,
    MaskPaths,
}

/// Why a mount can't have a descriptor of the container's process as its source: it would be left unused, or an option
/// of the mount would.
fn no_source_fd(mount: &Mount) -> Option<&'static str> {
    match &mount.kind {
        Kind::Bind(_) if mount.from_host => {
            Some("RFS_MOUNT_FROM_HOST: the host's side opens the source")
        }
        Kind::Bind(bind) if bind.idmap.is_some() => {
            Some("the mount is idmapped: the host's side opens the source")
        }
        Kind::Bind(bind) if bind.relative => {
            Some("options: \"relative\" is for a source given by path")
        }
        Kind::Bind(bind) if bind.link != Link::Follow => {
            Some("options: \"copy-symlink\" and \"src-nofollow\" are for a source given by path")
        }
        Kind::Bind(_) => None,
        _ => Some("only a bind has a descriptor as its source"),
    }
}
