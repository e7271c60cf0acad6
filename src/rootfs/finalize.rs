//! rfs_finalize: what is to be read-only becomes so, once everything has been written.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::masks;
use super::state::{State, Step};
use super::way::Way;
use crate::error::{During, Error, Object, Result, Stage};
use crate::plan::{Kind, Mount, Plan};
use crate::sys::classic::change_attributes;
use crate::sys::fd::{Fd, Fds};
use crate::sys::mount::Attributes;
use crate::sys::resolve::Root;

const BUSY_TRIES: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

pub fn finalize(plan: &Plan, state: &State) -> Result<()> {
    state.begin_after(Step::Finalize, Stage::Finalize)?;
    let fds = Fds::new();
    let root = open_root(&fds).map_err(|error| error.at(Stage::Finalize))?;
    let root = Root::new(root.as_fd(), &fds);
    let way = Way::of(state, &fds).map_err(|error| error.at(Stage::Finalize))?;
    for mount in &plan.mounts {
        let readonly_later =
            matches!(&mount.kind, Kind::Filesystem(filesystem) if filesystem.readonly_later);
        if readonly_later && !state.was_passed_over(mount) {
            remount_readonly(&root, &way, mount).map_err(|error| {
                let object = Object::Mount(mount.index);
                error
                    .at(Stage::Finalize)
                    .about(object, mount.destination.as_bytes())
            })?;
        }
    }
    if plan.readonly_rootfs {
        set_readonly(&way, root.as_fd()).map_err(|error| error.on(b"/").at(Stage::Finalize))?;
    }
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    if !plan.separate_masks {
        masks::readonly_paths(&root, &way, &plan.readonly_paths)?;
        masks::mask_paths(&fds, &root, &way, plan)?;
    }
    state.finish(Step::Finalize);
    Ok(())
}

pub fn readonly_paths(plan: &Plan, state: &State) -> Result<()> {
    separately(
        plan,
        state,
        (Step::ReadonlyPaths, Stage::ReadonlyPaths),
        |_, root, way| masks::readonly_paths(root, way, &plan.readonly_paths),
    )
}

pub fn mask_paths(plan: &Plan, state: &State) -> Result<()> {
    separately(
        plan,
        state,
        (Step::MaskPaths, Stage::MaskedPaths),
        |fds, root, way| masks::mask_paths(fds, root, way, plan),
    )
}

fn separately(
    plan: &Plan,
    state: &State,
    (step, stage): (Step, Stage),
    carry_out: impl for<'a> FnOnce(&'a Fds, &Root<'a>, &Way<'a>) -> Result<()>,
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
    let way = Way::of(state, &fds).map_err(|error| error.at(stage))?;
    carry_out(&fds, &Root::new(root.as_fd(), &fds), &way)?;
    state.finish(step);
    Ok(())
}

fn open_root(fds: &Fds) -> Result<Fd<'_>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty()).during("openat", b"/")?;
    Ok(fds.own(root))
}

fn remount_readonly(root: &Root<'_>, way: &Way<'_>, mount: &Mount) -> Result<()> {
    let destination = mount.destination.to_bytes();
    let target = root
        .open(&mount.destination, OFlags::PATH)
        .during("openat2", destination)?;
    set_readonly(way, target.as_fd()).map_err(|error| match error.errno {
        Errno::BUSY => error
            .on(destination)
            .explain("a file in it is still open for writing"),
        _ => error.on(destination),
    })
}

/// EBUSY while a file on the mount is open for writing: a hook may still be closing it.
fn set_readonly(way: &Way<'_>, mount: BorrowedFd<'_>) -> Result<()> {
    let set = || change_attributes(way.names(), mount, false, &Attributes::READ_ONLY);
    for _ in 1..BUSY_TRIES {
        match set() {
            Err(error) if error.errno == Errno::BUSY => std::thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    set()
}
