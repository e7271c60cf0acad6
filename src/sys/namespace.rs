// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which mount namespace this is, to catch a forgotten unshare(2).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::{Errno, Result};
use rustix::mount::OpenTreeFlags;

/// What tells one mount namespace from another. What the kernel or a filter does not tell is missing.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The unique id of the mount that "/" lies on (STATX_MNT_ID_UNIQUE, Linux 6.8). A new namespace has copies with
    /// other ids (mount_namespaces(7)), and no id is ever used again.
    unique_root: Option<u64>,
    /// The inode number of /proc/self/ns/mnt: namespaces(7).
    inode: Option<u64>,
    /// The id of the mount that "/" lies on, which may be used again after that mount is gone.
    root: Option<u64>,
}

/// Every identity of this process's namespace that can be read.
pub fn identify() -> Identity {
    Identity {
        unique_root: root_mount(MNT_ID_UNIQUE),
        inode: inode(),
        root: root_mount(StatxFlags::MNT_ID),
    }
}

/// Whether this process is in the namespace that was identified before. `None`: that can't be told.
pub fn is_same(then: &Identity) -> Option<bool> {
    // A look at /proc/self/ns/mnt makes three inodes of procfs for a new process: it comes second.
    compare(then.unique_root, || root_mount(MNT_ID_UNIQUE))
        .or_else(|| compare(then.inode, inode))
        .or_else(|| compare(then.root, || root_mount(StatxFlags::MNT_ID)))
}

fn compare(then: Option<u64>, now: impl FnOnce() -> Option<u64>) -> Option<bool> {
    let then = then?;
    now().map(|now| now == then)
}

/// STATX_MNT_ID_UNIQUE of <linux/stat.h>.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

fn inode() -> Option<u64> {
    let stat = rustix::fs::stat(c"/proc/self/ns/mnt").ok()?;
    Some(stat.st_ino)
}

fn root_mount(kind: StatxFlags) -> Option<u64> {
    let stat = rustix::fs::statx(CWD, c"/", AtFlags::empty(), kind).ok()?;
    let known = stat.stx_mask & kind.bits() != 0;
    known.then_some(stat.stx_mnt_id)
}

/// A mount namespace that is a copy of this one.
pub fn copy() -> Result<()> {
    unshare(libc::CLONE_NEWNS)
}

/// A mount namespace with nothing but an empty root, which is also the working directory: since Linux 7.1. EINVAL
/// before.
pub fn empty() -> Result<()> {
    /// Of <linux/sched.h>.
    const UNSHARE_EMPTY_MNTNS: libc::c_int = 0x0010_0000;
    unshare(UNSHARE_EMPTY_MNTNS)
}

/// A mount namespace with a copy of what is mounted at a directory and below, which is its "/": since Linux 7.0.
/// EINVAL before. It belongs to this process's user namespace, which need not own the directory's mount.
pub fn of_tree(directory: impl AsFd) -> Result<OwnedFd> {
    /// Of <linux/mount.h>.
    const OPEN_TREE_NAMESPACE: OpenTreeFlags = OpenTreeFlags::from_bits_retain(2);
    let flags = OPEN_TREE_NAMESPACE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(directory, c"", flags)
}

/// Goes to a mount namespace, whose root becomes "/" and the working directory: setns(2).
pub fn join(namespace: impl AsFd) -> Result<()> {
    set(namespace, libc::CLONE_NEWNS)
}

/// Goes to a user namespace, in which this process then has all capabilities. EINVAL if it is there already.
pub fn join_user(namespace: impl AsFd) -> Result<()> {
    set(namespace, libc::CLONE_NEWUSER)
}

fn set(namespace: impl AsFd, kind: libc::c_int) -> Result<()> {
    // SAFETY: it takes no pointer, and touches no descriptor.
    if unsafe { libc::setns(namespace.as_fd().as_raw_fd(), kind) } == 0 {
        return Ok(());
    }
    Err(super::mount::last_errno())
}

fn unshare(flags: libc::c_int) -> Result<()> {
    // SAFETY: it takes no pointer, and with these flags it leaves descriptors and memory as they are.
    if unsafe { libc::unshare(flags) } == 0 {
        return Ok(());
    }
    Err(super::mount::last_errno())
}

/// Whether the mount that a descriptor lies on is attached in this process's namespace. (A mount attached in another
/// namespace can't be moved from here in any case.)
pub fn is_attached(mount: impl AsFd, mount_id: u64) -> Result<bool> {
    match super::mount::attached_attributes(mount) {
        Ok(attached) => Ok(attached.is_some()),
        Err(_) => is_listed(mount_id),
    }
}

/// proc_pid_mountinfo(5) lists the attached mounts by their ids.
fn is_listed(mount_id: u64) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let list = rustix::fs::openat(CWD, c"/proc/self/mountinfo", flags, Mode::empty())?;
    let mut buffer = [0; 4096];
    // The number at the start of the line; None behind it.
    let mut number = Some(0_u64);
    loop {
        let length = match rustix::io::read(&list, &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        for byte in &buffer[..length] {
            number = match (byte, number) {
                (b'\n', _) => Some(0),
                (b'0'..=b'9', Some(n)) => {
                    Some(n.wrapping_mul(10).wrapping_add((byte - b'0').into()))
                }
                (_, Some(n)) if n == mount_id => return Ok(true),
                _ => None,
            };
        }
    }
}
