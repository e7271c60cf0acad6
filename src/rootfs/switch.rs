// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the rootfs "/". The working directory must be the rootfs before, and is "/" after.

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
        // The mounts got this propagation at the start.
        Switch::Stay => return Ok(()),
    }
    match cx.plan.propagation {
        // The rootfs was made private before it was attached. It is a slave for the same reason, as are the mounts
        // below that asked for no other propagation.
        Some(flags) if flags & (flags::MS_PRIVATE | flags::MS_SLAVE) == 0 => {
            set_root_propagation(flags)
        }
        _ => Ok(()),
    }
}

/// Calls pivot_root(".", "."). Then the old root lies over the new one, and umount2(2) of "." unmounts it (NOTES in
/// pivot_root(2)). The old root becomes a slave first, so that its unmounting does not reach the host. That goes by
/// its own descriptor, because every other call takes "." for the new root.
pub(super) fn pivot_root(cx: &Context<'_>) -> Result<()> {
    const OLD_ROOT: &[u8] = b"the old root";
    let old_root = open(CWD, c"/", DIRECTORY).during("openat", OLD_ROOT)?;
    rustix::process::pivot_root(c".", c".")
        .during("pivot_root", b".")
        .map_err(|error| match error.errno {
            Errno::INVAL => error.explain(
                "the old root is the initial ramfs or not the root of a mount: set RFS_OPTION_NO_PIVOT, or \
                    switch_root(8) first",
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

/// Moves the rootfs over "/" with MS_MOVE. The old root stays below it, with the host's procfs and sysfs. As long as
/// one of them is wholly visible, the container could mount another one without masks. So each of them is unmounted
/// or covered.
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

/// `stacked` tells that several mounts lie on each other, so that a path reaches only the topmost one.
fn hide(cx: &Context<'_>, mountpoint: &CStr, stacked: bool) -> Result<()> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    match rustix::mount::mount_change(mountpoint, slave) {
        // It is gone together with a mount above it.
        Err(Errno::NOENT) => return Ok(()),
        result => result.during("mount", mountpoint.to_bytes())?,
    }
    if !stacked {
        separate_from_parent(cx, mountpoint)?;
        match rustix::mount::unmount(mountpoint, UnmountFlags::DETACH) {
            // The mount is locked, as in a user namespace, so it is covered.
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

/// An unmount propagates by the parent's propagation, not by the mount's own. With rootfsPropagation "shared" it
/// would reach the host.
fn separate_from_parent(cx: &Context<'_>, mountpoint: &CStr) -> Result<()> {
    let name = mountpoint.to_bytes();
    let mount = open(CWD, mountpoint, DIRECTORY).during("openat", name)?;
    let parent = open(&mount, c"..", DIRECTORY).during("openat", name)?;
    root::separate_parent(cx.api, parent.as_fd(), flags::MS_SLAVE).map_err(|error| error.on(name))
}
