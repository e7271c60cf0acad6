// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out rfs_finalize: the mounts that were left writable until now become read-only.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::callbacks::Callbacks;
use super::container::{Container, Step};
use super::masks;
use super::reach::open_switched;
use super::recognise::Places;
use crate::error::{During, Error, Object, Result, Stage};
use crate::mount::MountApi;
use crate::mount::attributes::set_root_propagation;
use crate::mount::status_of;
use crate::plan::Mount;
use crate::sys::mount::Attributes;
use crate::sys::resolve::Root;

const BUSY_TRIES: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

pub fn finalize(container: &Container, callbacks: &dyn Callbacks) -> Result<()> {
    let plan = &*container.plan;
    after_prepare(container, (Step::Finalize, Stage::Finalize), |root, api| {
        for mount in &plan.mounts {
            if mount.readonly_later && !container.was_passed_over(mount) {
                remount_readonly(container, root, api, mount).map_err(|error| {
                    let object = Object::Mount(mount.index);
                    error
                        .at(Stage::Finalize)
                        .about(object, mount.destination.as_bytes())
                })?;
            }
        }
        if plan.readonly_rootfs {
            set_readonly(api, root.as_fd(), b"/").map_err(|error| error.at(Stage::Finalize))?;
        }
        if let Some(umask) = plan.umask {
            rustix::process::umask(Mode::from_raw_mode(umask));
        }
        if !plan.separate_masks {
            let places = &mut Places::new(root, container);
            masks::readonly_paths(places, api, container)?;
            masks::mask_paths(places, api, container)?;
        }
        if let Some(propagation) = plan.final_propagation {
            api.leave()
                .and_then(|()| set_root_propagation(propagation))
                .map_err(|error| error.at(Stage::Finalize))?;
        }
        let _ = callbacks;
        Ok(())
    })
}

pub fn readonly_paths(container: &Container) -> Result<()> {
    let step = (Step::ReadonlyPaths, Stage::ReadonlyPaths);
    after_prepare(container, step, |root, api| {
        masks::readonly_paths(&mut Places::new(root, container), api, container)
    })
}

pub fn mask_paths(container: &Container) -> Result<()> {
    let step = (Step::MaskPaths, Stage::MaskedPaths);
    after_prepare(container, step, |root, api| {
        masks::mask_paths(&mut Places::new(root, container), api, container)
    })
}

fn after_prepare(
    container: &Container,
    (step, stage): (Step, Stage),
    carry_out: impl FnOnce(&Root<'_>, &MountApi) -> Result<()>,
) -> Result<()> {
    container.begin_after(step, stage)?;
    let root = open_switched(container).map_err(|error| error.at(stage))?;
    let api = MountApi::new(container.is_classic());
    carry_out(&Root::new(root.as_fd()), &api)?;
    api.leave().map_err(|error| error.at(stage))?;
    container.finish(step);
    Ok(())
}

/// Finds the mount that rfs_prepare() made. Another mount that lies at its destination now is an error.
fn remount_readonly(
    container: &Container,
    root: &Root<'_>,
    api: &MountApi,
    mount: &Mount,
) -> Result<()> {
    let destination = mount.destination.to_bytes();
    let target = root
        .open(&mount.destination, OFlags::PATH)
        .during("openat2", destination)?;
    let found = status_of(&target, destination)?;
    // The id is 0 if a policy refuses statx(2) and the container has no procfs to ask instead.
    if found.mount_id != container.mount_id(mount) && found.mount_id != 0 {
        return Err(Error::invalid(
            "options: \"ro\": another mount than the one of rfs_prepare() lies at the destination, so that \
                this one can't become read-only",
        ));
    }
    set_readonly(api, target.as_fd(), destination).map_err(|error| match error.errno {
        Errno::BUSY => error.explain("a file in it is still open for writing"),
        _ => error,
    })
}

/// The kernel answers EBUSY while a file on the mount is open for writing, and a hook may still be closing one.
fn set_readonly(api: &MountApi, mount: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let set = || api.change(mount, false, &Attributes::READ_ONLY, name);
    for _ in 1..BUSY_TRIES {
        match set() {
            Err(error) if error.errno == Errno::BUSY => std::thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    set()
}
