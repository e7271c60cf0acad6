//! The rootfs becomes "/". The working directory is the rootfs before, and "/" after.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::mountinfo::{self, Entry};
use super::{Context, root};
use crate::error::{During, Error, Result};
use crate::plan::Switch;
use crate::sys::classic::change_attributes;
use crate::sys::flags;
use crate::sys::mount::Attributes;

pub fn switch(cx: &Context<'_>) -> Result<()> {
    match cx.plan.switch {
        Switch::PivotRoot => pivot_root(cx)?,
        Switch::Move => move_root(cx)?,
        Switch::Chroot => chroot()?,
    }
    match cx.plan.propagation {
        // Private it is already: its parent was, before it was bound.
        Some(flags) if flags & flags::MS_PRIVATE == 0 => root::change_propagation(flags),
        _ => Ok(()),
    }
}

/// pivot_root(".", "."): the old root ends up mounted over the new one, and umount2(2) of "." takes
/// it off (pivot_root(2), NOTES). It becomes a slave first, so that its unmounting does not reach
/// the host; by its own descriptor, as "." is the new root to every other call.
fn pivot_root(cx: &Context<'_>) -> Result<()> {
    const OLD_ROOT: &[u8] = b"the old root";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old_root =
        rustix::fs::openat(CWD, c"/", flags, Mode::empty()).during("openat", OLD_ROOT)?;
    let old_root = cx.fds.own(old_root);
    rustix::process::pivot_root(c".", c".")
        .during("pivot_root", b".")
        .map_err(|error| match error.errno {
            Errno::INVAL => error.explain(
                "the old root is the initial ramfs or not the root of a mount: set RFS_OPTION_NO_PIVOT, or switch_root(8) first",
            ),
            _ => error,
        })?;
    let slave = Attributes::propagation(flags::MS_SLAVE);
    change_attributes(cx.way.names(), &old_root, true, &slave)
        .map_err(|error| error.on(OLD_ROOT))?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).during("umount2", OLD_ROOT)?;
    rustix::process::chdir(c"/").during("chdir", b"/")
}

fn chroot() -> Result<()> {
    rustix::process::chroot(c".").during("chroot", b".")?;
    rustix::process::chdir(c"/").during("chdir", b"/")
}

/// MS_MOVE over "/". The old root stays below, and with it the host's procfs and sysfs, which
/// would let the container mount them anew without masks: every whole one is unmounted or covered.
fn move_root(cx: &Context<'_>) -> Result<()> {
    let rootfs = rustix::process::getcwd(Vec::new()).during("getcwd", b".")?;
    let mounts = mountinfo::read()?;
    let to_hide = |mount: &Entry| {
        let whole = mount.root == b"/" && (mount.fstype == b"proc" || mount.fstype == b"sysfs");
        whole && !is_below(&mount.mountpoint, rootfs.as_bytes())
    };
    for (index, mount) in mounts
        .iter()
        .enumerate()
        .filter(|(_, mount)| to_hide(mount))
    {
        let same_place = |other: &&Entry| other.mountpoint == mount.mountpoint;
        if mounts[index + 1..].iter().filter(same_place).any(to_hide) {
            continue;
        }
        let stacked = mounts.iter().filter(same_place).count() > 1;
        hide(cx, &mount.mountpoint, stacked)?;
    }
    rustix::mount::mount_move(rootfs.as_c_str(), c"/").during("mount", rootfs.as_bytes())?;
    chroot()
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// `stacked`: it is one of several mounts on each other, of which a path reaches the uppermost only.
fn hide(cx: &Context<'_>, mountpoint: &[u8], stacked: bool) -> Result<()> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    match rustix::mount::mount_change(mountpoint, slave) {
        // Gone with one above it.
        Err(Errno::NOENT) => return Ok(()),
        result => result.during("mount", mountpoint)?,
    }
    if !stacked {
        separate_from_parent(cx, mountpoint)?;
        match rustix::mount::unmount(mountpoint, UnmountFlags::DETACH) {
            // Locked, in a user namespace: cover it.
            Err(Errno::INVAL | Errno::PERM) => {}
            result => return result.during("umount2", mountpoint),
        }
    }
    rustix::mount::mount(c"tmpfs", mountpoint, c"tmpfs", MountFlags::empty(), None)
        .during("mount", mountpoint)
        .map_err(|error: Error| {
            error
                .explain("a whole proc or sysfs of the host could be neither unmounted nor covered")
        })
}

/// An unmount goes where the parent's propagation leads, whatever the mount's own is: with
/// rootfsPropagation "shared", to the host.
fn separate_from_parent(cx: &Context<'_>, mountpoint: &[u8]) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = [mountpoint, b"/.."].concat();
    let parent =
        rustix::fs::openat(CWD, parent, flags, Mode::empty()).during("openat", mountpoint)?;
    root::separate_parent(cx.way.names(), parent.as_fd(), flags::MS_SLAVE)
        .map_err(|error| error.on(mountpoint))
}
