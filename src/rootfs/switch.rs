// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rootfs becomes "/". The working directory is the rootfs before, and "/" after.

use core::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::mountinfo::{self, Entry, unescape};
use super::{Context, root};
use crate::error::{During, Error, Result};
use crate::mount::attributes::set_root_propagation;
use crate::plan::Switch;
use crate::sys::fd::{DIRECTORY, open};
use crate::sys::flags;
use crate::sys::mount::Attributes;
use crate::sys::page::{Grown, Page};
use crate::sys::path::{PATH_MAX, getcwd};

pub fn switch(cx: &Context<'_>) -> Result<()> {
    match cx.plan.switch {
        Switch::PivotRoot => pivot_root(cx)?,
        Switch::Move => move_root(cx)?,
        Switch::Chroot => chroot()?,
        // It was made so at the start.
        Switch::Stay => return Ok(()),
    }
    match cx.plan.propagation {
        // Private it is already: it was made so before it was attached. A slave it is, too, and so are the mounts below
        // that did not ask for something else.
        Some(flags) if flags & (flags::MS_PRIVATE | flags::MS_SLAVE) == 0 => {
            set_root_propagation(flags)
        }
        _ => Ok(()),
    }
}

/// pivot_root(".", "."): the old root ends up mounted over the new one, and umount2(2) of "." takes
/// it off (pivot_root(2), NOTES). It becomes a slave first, so that its unmounting does not reach
/// the host; by its own descriptor, as "." is the new root to every other call.
pub(super) fn pivot_root(cx: &Context<'_>) -> Result<()> {
    const OLD_ROOT: &[u8] = b"the old root";
    let old_root = open(CWD, c"/", DIRECTORY).during("openat", OLD_ROOT)?;
    rustix::process::pivot_root(c".", c".")
        .during("pivot_root", b".")
        .map_err(|error| match error.errno {
            Errno::INVAL => error.explain(
                "the old root is the initial ramfs or not the root of a mount: set RFS_OPTION_NO_PIVOT, or switch_root(8) first",
            ),
            _ => error,
        })?;
    let slave = Attributes::propagation(flags::MS_SLAVE);
    cx.api.change(&old_root, true, &slave, OLD_ROOT)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).during("umount2", OLD_ROOT)?;
    rustix::process::chdir(c"/").during("chdir", b"/")
}

pub(super) fn chroot() -> Result<()> {
    rustix::process::chroot(c".").during("chroot", b".")?;
    rustix::process::chdir(c"/").during("chdir", b"/")
}

/// MS_MOVE over "/". The old root stays below, and with it the host's procfs and sysfs, which
/// would let the container mount them anew without masks: every whole one is unmounted or covered.
fn move_root(cx: &Context<'_>) -> Result<()> {
    let mut buffer = Page::<[u8; PATH_MAX]>::zeroed().during("mmap", b".")?;
    let rootfs = getcwd(&mut buffer).during("getcwd", b".")?;
    let text = mountinfo::read_file("/proc/self/mountinfo")?;
    let is_in_rootfs = |mount: &Entry<'_>| {
        let mut mountpoint = unescape(mount.mountpoint);
        let starts = rootfs
            .to_bytes()
            .iter()
            .all(|b| mountpoint.next() == Some(*b));
        starts && mountpoint.next().is_none_or(|b| b == b'/')
    };
    let to_hide = |mount: &Entry<'_>| {
        let whole = mount.root == b"/" && (mount.fstype == b"proc" || mount.fstype == b"sysfs");
        whole && !is_in_rootfs(mount)
    };
    for (index, mount) in mountinfo::entries(&text).enumerate() {
        if !to_hide(&mount) {
            continue;
        }
        let same_place = |other: &Entry<'_>| other.mountpoint == mount.mountpoint;
        let mut later = mountinfo::entries(&text).skip(index + 1);
        if later.any(|other| same_place(&other) && to_hide(&other)) {
            continue;
        }
        let stacked = mountinfo::entries(&text).filter(same_place).count() > 1;
        let mut mountpoint = Grown::new();
        unescape(mount.mountpoint)
            .chain([0])
            .try_for_each(|byte| mountpoint.push(byte))
            .during("mmap", b"")?;
        let mountpoint = CStr::from_bytes_until_nul(&mountpoint).unwrap_or_default();
        hide(cx, mountpoint, stacked)?;
    }
    rustix::mount::mount_move(rootfs, c"/").during("mount", rootfs.to_bytes())?;
    chroot()
}

/// `stacked`: it is one of several mounts on each other, of which a path reaches the uppermost only.
fn hide(cx: &Context<'_>, mountpoint: &CStr, stacked: bool) -> Result<()> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    match rustix::mount::mount_change(mountpoint, slave) {
        // Gone with one above it.
        Err(Errno::NOENT) => return Ok(()),
        result => result.during("mount", mountpoint.to_bytes())?,
    }
    if !stacked {
        separate_from_parent(cx, mountpoint)?;
        match rustix::mount::unmount(mountpoint, UnmountFlags::DETACH) {
            // Locked, in a user namespace: cover it.
            Err(Errno::INVAL | Errno::PERM) => {}
            result => return result.during("umount2", mountpoint.to_bytes()),
        }
    }
    rustix::mount::mount(c"tmpfs", mountpoint, c"tmpfs", MountFlags::empty(), None)
        .during("mount", mountpoint.to_bytes())
        .map_err(|error: Error| {
            error
                .explain("a whole proc or sysfs of the host could be neither unmounted nor covered")
        })
}

/// An unmount goes where the parent's propagation leads, whatever the mount's own is: with
/// rootfsPropagation "shared", to the host.
fn separate_from_parent(cx: &Context<'_>, mountpoint: &CStr) -> Result<()> {
    let name = mountpoint.to_bytes();
    let mount = open(CWD, mountpoint, DIRECTORY).during("openat", name)?;
    let parent = open(&mount, c"..", DIRECTORY).during("openat", name)?;
    root::separate_parent(cx.api, parent.as_fd(), flags::MS_SLAVE).map_err(|error| error.on(name))
}
