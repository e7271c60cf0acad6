//! Which mount namespace this is, to catch a forgotten unshare(2).

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::{Errno, Result};

/// What tells one mount namespace from another that exists at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The inode number of /proc/self/ns/mnt: namespaces(7).
    Inode(u64),
    /// Without /proc: the id of the mount that "/" is on. A new namespace has copies with other ids (mount_namespaces(7)).
    RootMount(u64),
}

/// All of them that can be had.
pub type Identity = [Option<Namespace>; 2];

pub fn identify() -> Identity {
    [inode(), root_mount()]
}

fn inode() -> Option<Namespace> {
    let stat = rustix::fs::stat(c"/proc/self/ns/mnt").ok()?;
    Some(Namespace::Inode(stat.st_ino))
}

fn root_mount() -> Option<Namespace> {
    let stat = rustix::fs::statx(CWD, c"/", AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    let known = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    known.then_some(Namespace::RootMount(stat.stx_mnt_id))
}

/// The namespace of this process, in the terms of an earlier identity.
pub fn current_like(then: &Identity) -> Option<Namespace> {
    let inode = then[0].and_then(|_| inode());
    inode.or_else(|| then[1].and_then(|_| root_mount()))
}

/// Whether a mount is attached in this process's namespace: proc_pid_mountinfo(5) lists those by
/// id. (A mount attached in another namespace can't be moved from here in any case.)
pub fn is_attached(mount_id: u64) -> Result<bool> {
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

impl Namespace {
    pub fn number(self) -> u64 {
        match self {
            Namespace::Inode(number) | Namespace::RootMount(number) => number,
        }
    }
}
