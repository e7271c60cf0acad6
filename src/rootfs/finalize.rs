//! rfs_finalize: what is to be read-only becomes so, once everything has been written.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::masks;
use super::state::{State, Step};
use crate::error::{During, Error, Object, Result, Stage};
use crate::plan::{Kind, Mount, Plan};
use crate::sys::fd::{Fd, Fds};
use crate::sys::mount::{Attributes, set_attributes};
use crate::sys::resolve::Root;

const BUSY_TRIES: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

pub fn finalize(plan: &Plan, state: &State) -> Result<()> {
    state.begin_after(Step::Finalize, Stage::Finalize)?;
    let fds = Fds::new();
    let root = open_root(&fds).map_err(|error| error.at(Stage::Finalize))?;
    let root = Root::new(root.as_fd(), &fds);
    for mount in &plan.mounts {
        let readonly_later =
            matches!(&mount.kind, Kind::Filesystem(filesystem) if filesystem.readonly_later);
        if readonly_later && !state.was_passed_over(mount) {
            remount_readonly(&root, mount).map_err(|error| {
                let object = Object::Mount(mount.index);
                error
                    .at(Stage::Finalize)
                    .about(object, mount.destination.as_bytes())
            })?;
        }
    }
    if plan.readonly_rootfs {
        set_readonly(root.as_fd())
            .during("mount_setattr", b"/")
            .map_err(|error| error.at(Stage::Finalize))?;
    }
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    if !plan.separate_masks {
        masks::readonly_paths(&root, &plan.readonly_paths)?;
        masks::mask_paths(&fds, &root, plan)?;
    }
    state.finish(Step::Finalize);
    Ok(())
}

pub fn readonly_paths(plan: &Plan, state: &State) -> Result<()> {
    separately(
        plan,
        state,
        (Step::ReadonlyPaths, Stage::ReadonlyPaths),
        |_, root| masks::readonly_paths(root, &plan.readonly_paths),
    )
}

pub fn mask_paths(plan: &Plan, state: &State) -> Result<()> {
    separately(
        plan,
        state,
        (Step::MaskPaths, Stage::MaskedPaths),
        |fds, root| masks::mask_paths(fds, root, plan),
    )
}

fn separately(
    plan: &Plan,
    state: &State,
    (step, stage): (Step, Stage),
    carry_out: impl FnOnce(&Fds, &Root<'_>) -> Result<()>,
) -> Result<()> {
    state.begin_after(step, stage)?;
    if !plan.separate_masks {
        return Err(Error::invalid(
            "rfs_finalize() does it, unless RFS_OPTION_SEPARATE_MASKS is set",
        )
        .at(stage));
    }
    let fds = Fds::new();
    let root = open_root(&fds).map_err(|error| error.at(stage))?;
    carry_out(&fds, &Root::new(root.as_fd(), &fds))?;
    state.finish(step);
    Ok(())
}

fn open_root(fds: &Fds) -> Result<Fd<'_>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty()).during("openat", b"/")?;
    Ok(fds.own(root))
}

fn remount_readonly(root: &Root<'_>, mount: &Mount) -> Result<()> {
    let destination = mount.destination.to_bytes();
    let target = root
        .open(&mount.destination, OFlags::PATH)
        .during("openat2", destination)?;
    set_readonly(target.as_fd())
        .during("mount_setattr", destination)
        .map_err(|error| match error.errno {
            Errno::BUSY => error.explain("a file in it is still open for writing"),
            _ => error,
        })
}

/// EBUSY while a file on the mount is open for writing: a hook may still be closing it.
fn set_readonly(mount: std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<()> {
    for _ in 1..BUSY_TRIES {
        match set_attributes(mount, c"", false, &Attributes::READ_ONLY) {
            Err(Errno::BUSY) => std::thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    set_attributes(mount, c"", false, &Attributes::READ_ONLY)
}
