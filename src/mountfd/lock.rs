// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks the flags of a mount before the container gets it. A container's root may change every flag of a detached
//! mount that it is given. The kernel locks flags when it copies mounts into a mount namespace of a less privileged
//! user namespace (mount_namespaces(7)). So the mount is attached in a mount namespace of the host's side, that
//! namespace is copied for the container's user namespace, and the mount in the copy is handed over.

use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};

use super::wire::{ANSWER, Answer};
use crate::error::{During, Error, Result};
use crate::mount::attributes::set_root_propagation;
use crate::mount::status_of;
use crate::mount::{FOR_DIRECTORY, FOR_FILE};
use crate::sys::fd::{DIRECTORY, ENTRY, open};
use crate::sys::flags::{MS_PRIVATE, MS_REC};
use crate::sys::mount::{Superblock, attach, attributes_of, clone_tree};
use crate::sys::resolve::make_file;
use crate::sys::{namespace, process};

/// A mount namespace of the host's side with two places to attach a mount. It has few mounts, because all are copied
/// each time.
pub struct LockNamespace(OwnedFd);

/// Whether a mount has flags that a lock keeps. The mounts below it can't be asked, so for them the answer is yes.
pub fn is_restricted(tree: &OwnedFd, recursive: bool) -> Result<bool> {
    let restrictions = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    Ok(recursive || attributes_of(tree).during("fstatfs", b"")? & restrictions != 0)
}

impl LockNamespace {
    pub fn new() -> Result<Self> {
        in_child(make_stage).map(LockNamespace).map_err(explain)
    }

    /// The mount's copy, with its flags locked. The process that attaches the mount takes it along when it ends.
    pub fn lock(&self, userns: &OwnedFd, tree: &OwnedFd) -> Result<OwnedFd> {
        in_child(|| copy(&self.0, userns, tree)).map_err(explain)
    }
}

fn explain(error: Error) -> Error {
    match error.errno {
        Errno::NOSPC => error.explain(
            "the mount's flags are locked by two more mount namespaces: there are too many (user.max_mnt_namespaces)",
        ),
        _ => error.explain(
            "so the mount's flags can't be locked, and the container's root could clear them",
        ),
    }
}

/// Runs `call` in a process of its own, which shares this process's descriptors.
fn in_child(call: impl FnOnce() -> Result<OwnedFd>) -> Result<OwnedFd> {
    let answer = process::in_child(|| match call() {
        Ok(fd) => Answer::giving(fd.into_raw_fd() as u64).encode(),
        Err(error) => Answer::refusing(0, &error).encode(),
    });
    let answer: Option<[u8; ANSWER]> = answer.during("clone", b"")?;
    super::open::accept(answer.as_ref().and_then(Answer::decode))
}

fn make_stage() -> Result<OwnedFd> {
    let namespaces = open(CWD, c"/proc/self/ns", DIRECTORY).during("openat", b"/proc/self/ns")?;
    // Before Linux 7.1 the host's mounts are copied.
    if namespace::empty().is_err() {
        namespace::copy().during("unshare", b"CLONE_NEWNS")?;
        set_root_propagation(MS_PRIVATE | MS_REC)?;
    }
    let stage = namespaces_file(&namespaces)?;
    let tmpfs = Superblock::new(c"tmpfs").during("fsopen", b"tmpfs")?;
    tmpfs.create().during("fsconfig", b"tmpfs")?;
    let tmpfs = tmpfs.mount(0).during("fsmount", b"tmpfs")?;
    rustix::fs::mkdirat(&tmpfs, FOR_DIRECTORY, Mode::from_raw_mode(0o755))
        .during("mkdirat", b"")?;
    make_file(&tmpfs, FOR_FILE, 0o644).during("openat", b"")?;
    let over = open(CWD, c"/", DIRECTORY).during("openat", b"/")?;
    attach(&tmpfs, &over).during("move_mount", b"/")?;
    rustix::process::fchdir(&tmpfs).during("fchdir", b"/")?;
    // In the initial ramfs, a chroot(2) or an empty namespace the kernel refuses this. Then the mounts below stay.
    if rustix::process::pivot_root(c".", c".").is_ok() {
        rustix::mount::unmount(c".", UnmountFlags::DETACH).during("umount2", b"/")?;
    }
    Ok(stage)
}

fn namespaces_file(namespaces: &OwnedFd) -> Result<OwnedFd> {
    open(namespaces, c"mnt", OFlags::RDONLY | OFlags::CLOEXEC)
        .during("openat", b"/proc/self/ns/mnt")
}

fn copy(stage: &OwnedFd, userns: &OwnedFd, tree: &OwnedFd) -> Result<OwnedFd> {
    let is_directory = status_of(tree, b"")?.is_directory();
    let name = if is_directory {
        FOR_DIRECTORY
    } else {
        FOR_FILE
    };
    namespace::join(stage).during("setns", b"")?;
    namespace::copy().during("unshare", b"CLONE_NEWNS")?;
    let place = open(CWD, name, ENTRY).during("openat", name.to_bytes())?;
    attach(tree, &place).during("move_mount", b"")?;
    namespace::join_user(userns.as_fd()).during("setns", b"userns_fd")?;
    namespace::copy().during("unshare", b"CLONE_NEWNS")?;
    clone_tree(CWD, name, OpenTreeFlags::AT_RECURSIVE).during("open_tree", b"")
}
