// SPDX-License-Identifier: MIT OR Apache-2.0
//! Identifies this process's mount namespace, so that a forgotten unshare(2) is noticed.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::{Errno, Result};
use rustix::mount::OpenTreeFlags;

/// What tells one mount namespace from another. A field is `None` if the kernel or a seccomp filter does not tell it.
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

/// Reads every identity of this process's mount namespace that the kernel tells.
pub fn identify() -> Identity {
    Identity {
        unique_root: root_mount(MNT_ID_UNIQUE),
        inode: inode(),
        root: root_mount(StatxFlags::MNT_ID),
    }
}

/// Whether this process is in the namespace that was identified before. `None` if nothing can be compared.
pub fn is_same(then: &Identity) -> Option<bool> {
    // The inode number comes second because a look at /proc/self/ns/mnt costs a new process three inodes of procfs.
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

/// Enters a new mount namespace that is a copy of this one: unshare(2).
pub fn copy() -> Result<()> {
    unshare(libc::CLONE_NEWNS)
}

/// Enters a new mount namespace that has nothing but an empty root, which becomes the working directory too. This is
/// Linux 7.1's; older kernels answer EINVAL.
pub fn empty() -> Result<()> {
    /// From <linux/sched.h>.
    const UNSHARE_EMPTY_MNTNS: libc::c_int = 0x0010_0000;
    unshare(UNSHARE_EMPTY_MNTNS)
}

/// A new mount namespace whose "/" is a copy of what is mounted at a directory and below it. It belongs to this
/// process's user namespace, which need not own the directory's mount. This is Linux 7.0's; older kernels answer
/// EINVAL.
pub fn of_tree(directory: impl AsFd) -> Result<OwnedFd> {
    /// From <linux/mount.h>.
    const OPEN_TREE_NAMESPACE: OpenTreeFlags = OpenTreeFlags::from_bits_retain(2);
    let flags = OPEN_TREE_NAMESPACE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(directory, c"", flags)
}

/// Joins a mount namespace: setns(2). Its root becomes "/" and the working directory.
pub fn join(namespace: impl AsFd) -> Result<()> {
    set(namespace, libc::CLONE_NEWNS)
}

/// Joins a user namespace, in which this process then has all capabilities. EINVAL if the process is in it already.
pub fn join_user(namespace: impl AsFd) -> Result<()> {
    set(namespace, libc::CLONE_NEWUSER)
}

fn set(namespace: impl AsFd, kind: libc::c_int) -> Result<()> {
    // SAFETY: setns(2) takes no pointer and changes no descriptor.
    if unsafe { libc::setns(namespace.as_fd().as_raw_fd(), kind) } == 0 {
        return Ok(());
    }
    Err(super::mount::last_errno())
}

fn unshare(flags: libc::c_int) -> Result<()> {
    // SAFETY: unshare(2) takes no pointer, and with these flags it leaves descriptors and memory as they are.
    if unsafe { libc::unshare(flags) } == 0 {
        return Ok(());
    }
    Err(super::mount::last_errno())
}

/// Whether the mount that a descriptor lies on is attached in this process's namespace. No caller needs to tell a
/// detached mount from one attached in another namespace, because the kernel refuses to move the latter.
pub fn is_attached(mount: impl AsFd, mount_id: u64) -> Result<bool> {
    match super::mount::attached_attributes(mount) {
        Ok(attached) => Ok(attached.is_some()),
        Err(_) => is_listed(mount_id),
    }
}

/// Whether proc_pid_mountinfo(5), which lists the attached mounts, has a mount of this id.
fn is_listed(mount_id: u64) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let list = rustix::fs::openat(CWD, c"/proc/self/mountinfo", flags, Mode::empty())?;
    let mut buffer = [0; 4096];
    // The number at the start of the line, or `None` once the number has ended.
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
