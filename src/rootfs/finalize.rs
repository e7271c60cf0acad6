//! rfs_finalize: what is to be read-only becomes so, once everything has been written.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::callbacks::Callbacks;
use super::container::{Container, Step};
use super::masks;
use super::way::Way;
use crate::error::{During, Error, Object, Result, Stage};
use crate::plan::{Kind, Mount};
use crate::sys::classic::change_attributes;
use crate::sys::fd::{Fd, Fds};
use crate::sys::mount::{Attributes, status};
use crate::sys::resolve::Root;

const BUSY_TRIES: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

pub fn finalize(container: &Container, callbacks: &dyn Callbacks) -> Result<()> {
    let plan = &*container.plan;
    after_prepare(
        container,
        (Step::Finalize, Stage::Finalize),
        |fds, root, way| {
            for mount in &plan.mounts {
                let readonly_later = matches!(&mount.kind, Kind::Filesystem(filesystem) if filesystem.readonly_later);
                if readonly_later && !container.was_passed_over(mount) {
                    remount_readonly(container, root, way, mount).map_err(|error| {
                        let object = Object::Mount(mount.index);
                        error
                            .at(Stage::Finalize)
                            .about(object, mount.destination.as_bytes())
                    })?;
                }
            }
            if plan.readonly_rootfs {
                set_readonly(way, root.as_fd())
                    .map_err(|error| error.on(b"/").at(Stage::Finalize))?;
            }
            if let Some(umask) = plan.umask {
                rustix::process::umask(Mode::from_raw_mode(umask));
            }
            if !plan.separate_masks {
                masks::readonly_paths(root, way, &plan.readonly_paths)?;
                masks::mask_paths(fds, root, way, plan)?;
            }
            let _ = callbacks;
            Ok(())
        },
    )
}

pub fn readonly_paths(container: &Container) -> Result<()> {
    let step = (Step::ReadonlyPaths, Stage::ReadonlyPaths);
    after_prepare(container, step, |_, root, way| {
        masks::readonly_paths(root, way, &container.plan.readonly_paths)
    })
}

pub fn mask_paths(container: &Container) -> Result<()> {
    let step = (Step::MaskPaths, Stage::MaskedPaths);
    after_prepare(container, step, |fds, root, way| {
        masks::mask_paths(fds, root, way, &container.plan)
    })
}

fn after_prepare(
    container: &Container,
    (step, stage): (Step, Stage),
    carry_out: impl for<'a> FnOnce(&'a Fds, &Root<'a>, &Way<'a>) -> Result<()>,
) -> Result<()> {
    container.begin_after(step, stage)?;
    let fds = Fds::new();
    let root = open_root(container, &fds).map_err(|error| error.at(stage))?;
    let way = Way::of(container, &fds).map_err(|error| error.at(stage))?;
    carry_out(&fds, &Root::new(root.as_fd(), &fds), &way)?;
    container.finish(step);
    Ok(())
}

/// "/", which must be the root that rfs_prepare() has made: in another process that shares the container's memory it
/// is the host's.
pub(super) fn open_root<'a>(container: &Container, fds: &'a Fds) -> Result<Fd<'a>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty()).during("openat", b"/")?;
    let root = fds.own(root);
    if status(&root, c"").during("statx", b"/")?.mount_id != container.root_mount() {
        return Err(Error::invalid(
            "\"/\" is not the root that rfs_prepare() has made: this is another process, or the root was changed since",
        ));
    }
    Ok(root)
}

/// Finds the mount that rfs_prepare() has made, and no other that lies at its destination now.
fn remount_readonly(
    container: &Container,
    root: &Root<'_>,
    way: &Way<'_>,
    mount: &Mount,
) -> Result<()> {
    let destination = mount.destination.to_bytes();
    let target = root
        .open(&mount.destination, OFlags::PATH)
        .during("openat2", destination)?;
    let found = status(&target, c"").during("statx", destination)?;
    if found.mount_id != container.mount_id(mount) {
        return Err(Error::invalid(
            "options: \"ro\": another mount than the one of rfs_prepare() lies at the destination, so that this one can't become read-only",
        ));
    }
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
