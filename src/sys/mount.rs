// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mount API of Linux 5.2 and later: detached mounts that are complete before they are attached.

use core::ffi::CStr;
use core::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, OFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::fd::{ENTRY, open};
use super::flags;
use super::path::ShortString;
use crate::text::Text;

/// The arguments of mount_setattr(2), laid out as the kernel's `struct mount_attr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Attributes {
    /// MOUNT_ATTR_* to set.
    pub set: u64,
    /// MOUNT_ATTR_* to clear first.
    pub clear: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, or 0 to keep the mount's propagation.
    pub propagation: u64,
    /// The descriptor of a user namespace, used with MOUNT_ATTR_IDMAP.
    pub userns_fd: u64,
}

impl Attributes {
    pub const READ_ONLY: Self = Self::setting(libc::MOUNT_ATTR_RDONLY);

    pub const fn setting(set: u64) -> Self {
        Attributes {
            set,
            clear: 0,
            propagation: 0,
            userns_fd: 0,
        }
    }

    /// Asks for the mapping of a user namespace.
    pub fn idmapped(userns: impl AsFd) -> Self {
        Attributes {
            userns_fd: userns.as_fd().as_raw_fd() as u64,
            ..Self::setting(libc::MOUNT_ATTR_IDMAP)
        }
    }

    pub const fn propagation(propagation: u64) -> Self {
        Attributes {
            set: 0,
            clear: 0,
            propagation,
            userns_fd: 0,
        }
    }
}

pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn recursive_flag(recursive: bool) -> libc::c_int {
    if recursive { libc::AT_RECURSIVE } else { 0 }
}

/// mount_setattr(2) on the mount at `path` relative to `dir`; on `dir` itself if `path` is empty.
/// ENOSYS before Linux 5.12.
pub fn set_attributes(
    dir: impl AsFd,
    path: &CStr,
    recursive: bool,
    attributes: &Attributes,
) -> Result<()> {
    // SAFETY: the struct is laid out as the kernel's, its size is given, and the path ends with NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_fd().as_raw_fd(),
            path.as_ptr(),
            libc::AT_EMPTY_PATH | recursive_flag(recursive),
            attributes as *const Attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Whether the kernel has mount_setattr(2) and no filter refuses it. It answers EINVAL here because it looks at its
/// arguments.
pub fn has_set_attributes() -> bool {
    // SAFETY: the kernel reads nothing from a struct whose size is given as 0.
    let result = unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, 0_usize, 0) };
    result != 0 && last_errno() == Errno::INVAL
}

/// The MOUNT_ATTR_* of the mount that a descriptor lies on.
pub fn attributes_of(mount: impl AsFd) -> Result<u64> {
    let filesystem = rustix::fs::fstatfs(mount)?;
    #[allow(clippy::unnecessary_cast)] // f_flags has another width on other architectures.
    Ok(flags::from_st(filesystem.f_flags as u64))
}

/// A detached copy of the mount that `path` below `dir` lies on: open_tree(2). Its root is what is at that path.
/// Before Linux 6.15 EINVAL if that mount is itself detached. `flags`: AT_RECURSIVE for the mounts below,
/// AT_SYMLINK_NOFOLLOW.
pub fn clone_tree(dir: impl AsFd, path: &CStr, flags: OpenTreeFlags) -> Result<OwnedFd> {
    let flags = flags
        | OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(dir, path, flags)
}

/// Attaches a detached mount over the file that `target` refers to: move_mount(2). No path is looked at.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    rustix::mount::move_mount(
        mount,
        c"",
        target,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// A superblock that is being configured: fsopen(2).
pub struct Superblock(OwnedFd);

impl Superblock {
    /// ENODEV if the kernel doesn't know the type.
    pub fn new(fstype: &CStr) -> Result<Self> {
        rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map(Superblock)
    }

    /// Gives a parameter, with or without a value: fsconfig(2). A value has at most 255 bytes.
    pub fn set(&self, key: &CStr, value: Option<&CStr>) -> Result<()> {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&self.0, key, value),
            None => rustix::mount::fsconfig_set_flag(&self.0, key),
        }
    }

    pub fn create(&self) -> Result<()> {
        rustix::mount::fsconfig_create(&self.0)
    }

    /// A detached mount of the superblock, with MOUNT_ATTR_* set: fsmount(2).
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        // The system call takes a u32, and all attributes that exist fit.
        let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
        rustix::mount::fsmount(&self.0, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    /// The kernel's messages about the last failure, joined with "; ". Empty if it wrote none.
    pub fn messages(&self) -> Text<256> {
        use core::fmt::Write;
        let mut text = Text::new();
        let mut buffer = [0; 256];
        // Each read gives one message, and ENODATA follows the last. The kernel keeps eight: fs/fsopen.c.
        for _ in 0..8 {
            let Ok(length) = rustix::io::read(&self.0, &mut buffer) else {
                break;
            };
            let message = buffer[..length].trim_ascii();
            // A message begins with "e " (an error), "w " (a warning) or "i " (information).
            let message = message.get(2..).unwrap_or(message);
            if !text.is_empty() {
                let _ = text.write_str("; ");
            }
            let _ = text.write_str(Text::<256>::path(message).as_str());
        }
        text
    }
}

/// The file system types that are looked for, as f_type of statfs(2) tells them: <linux/magic.h>.
pub const PROC: FsType = FsType(0x9fa0);
pub const DEVPTS: FsType = FsType(0x1cd1);
pub const CGROUP2: FsType = FsType(0x6367_7270);

/// f_type of statfs(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsType(pub u32);

/// The type of the file system that a descriptor lies on.
pub fn fs_type(fd: impl AsFd) -> Result<FsType> {
    // f_type has another width on each architecture, and every magic number fits 32 bits.
    rustix::fs::fstatfs(fd).map(|filesystem| FsType(filesystem.f_type as u32))
}

/// The inode number that only the root of a procfs has: <linux/proc_fs.h>.
pub const PROC_ROOT_INO: u64 = 1;

/// What statx(2) tells about a file.
pub struct Status {
    pub mode: u32,
    pub inode: u64,
    pub device: (u32, u32),
    /// The device number of the superblock.
    pub file_system: (u32, u32),
    /// The file is the root of a mount: STATX_ATTR_MOUNT_ROOT, since Linux 5.8.
    pub is_mount_root: bool,
    pub mount_id: u64,
}

/// Calls statx(2) on `path` below `dir`, or on `dir` itself if `path` is empty. Symbolic links are not followed.
pub fn status(dir: impl AsFd, path: &CStr) -> Result<Status> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
    let dir = dir.as_fd();
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let stat = match rustix::fs::statx(dir, path, flags, wanted) {
        Err(Errno::NOSYS | Errno::PERM) => return status_without_statx(dir, path),
        stat => stat?,
    };
    Ok(Status {
        mode: stat.stx_mode.into(),
        inode: stat.stx_ino,
        device: (stat.stx_rdev_major, stat.stx_rdev_minor),
        file_system: (stat.stx_dev_major, stat.stx_dev_minor),
        is_mount_root: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        mount_id: stat.stx_mnt_id,
    })
}

/// Stands in for statx(2) under a seccomp policy that refuses it, by comparing mount ids. A directory is the root of
/// its mount if its ".." lies on another mount or is the directory itself. A named file is one if it lies on another
/// mount than its directory. A file without a name is taken for a root, because the system calls that want a root
/// check it again.
fn status_without_statx(dir: BorrowedFd<'_>, path: &CStr) -> Result<Status> {
    let opened;
    let fd = if path.is_empty() {
        dir
    } else {
        opened = open(dir, path, ENTRY)?;
        opened.as_fd()
    };
    let stat = rustix::fs::fstat(fd)?;
    let mount_id = mount_id(fd)?;
    let is_mount_root = match open(fd, c"..", ENTRY) {
        // It is a file: only a directory has "..".
        Err(Errno::NOTDIR) => path.is_empty() || self::mount_id(dir)? != mount_id,
        up => {
            let up = up?;
            let above = rustix::fs::fstat(&up)?;
            let is_itself = (above.st_dev, above.st_ino) == (stat.st_dev, stat.st_ino);
            is_itself || self::mount_id(up.as_fd())? != mount_id
        }
    };
    Ok(Status {
        mode: stat.st_mode,
        inode: stat.st_ino,
        device: (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        ),
        file_system: (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        ),
        is_mount_root,
        mount_id,
    })
}

/// The id of the mount that a descriptor lies on, from /proc/self/fdinfo: proc_pid_fdinfo(5). 0 without a procfs.
fn mount_id(fd: BorrowedFd<'_>) -> Result<u64> {
    const KEY: &[u8] = b"mnt_id:";
    let mut buffer = [0; 256];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = ShortString::format(format_args!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let length = match open(CWD, &*path, flags) {
        Err(Errno::NOENT) => 0,
        info => rustix::io::read(info?, &mut buffer)?,
    };
    let mut lines = buffer[..length].split(|&b| b == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(KEY));
    let text = core::str::from_utf8(value.unwrap_or_default()).unwrap_or_default();
    Ok(text.trim_ascii().parse().unwrap_or(0))
}

/// Whether the mount that a descriptor lies on is idmapped. `None` if statmount(2) can't tell: it is missing before
/// Linux 6.8, and it knows only mounts that are attached in this process's namespace.
pub fn is_idmapped(mount: impl AsFd) -> Option<bool> {
    let attributes = attached_attributes(mount).ok()?;
    attributes.map(|attributes| attributes & libc::MOUNT_ATTR_IDMAP != 0)
}

/// The MOUNT_ATTR_* of the mount that a descriptor lies on, if it is attached in this process's namespace:
/// statmount(2), since Linux 6.8. ENOSYS before.
pub fn attached_attributes(mount: impl AsFd) -> Result<Option<u64>> {
    use rustix::fs::{AtFlags, StatxFlags};
    /// The number is the same on all architectures but alpha, where it belongs to another system call, which fails
    /// here.
    const SYS_STATMOUNT: libc::c_long = 457;
    const STATX_MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    const STATMOUNT_MNT_BASIC: u64 = 2;
    /// The first version of struct mnt_id_req in <linux/mount.h>.
    #[repr(C)]
    struct MntIdReq {
        size: u32,
        spare: u32,
        mount_id: u64,
        wanted: u64,
    }
    let stat = rustix::fs::statx(mount, c"", AtFlags::EMPTY_PATH, STATX_MNT_ID_UNIQUE)?;
    if stat.stx_mask & STATX_MNT_ID_UNIQUE.bits() == 0 {
        return Err(Errno::NOSYS);
    }
    let request = MntIdReq {
        size: size_of::<MntIdReq>() as u32,
        spare: 0,
        mount_id: stat.stx_mnt_id,
        wanted: STATMOUNT_MNT_BASIC,
    };
    // A struct statmount. Its second number is the mask of the fields that the kernel filled, and its ninth is
    // mnt_attr.
    let mut given = [0_u64; 64];
    // SAFETY: both structs are laid out as the kernel's, and their sizes are given.
    let result = unsafe {
        libc::syscall(
            SYS_STATMOUNT,
            &raw const request,
            given.as_mut_ptr(),
            size_of_val(&given),
            0,
        )
    };
    match result {
        0 if given[1] & STATMOUNT_MNT_BASIC != 0 => Ok(Some(given[8])),
        0 => Err(Errno::NOSYS),
        _ => match last_errno() {
            Errno::NOENT => Ok(None),
            errno => Err(errno),
        },
    }
}

impl Status {
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub fn is_character_device(&self, major: u32, minor: u32) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFCHR && self.device == (major, minor)
    }

    /// The device 1:3 is the null device: mem(4).
    pub fn is_dev_null(&self) -> bool {
        self.is_character_device(1, 3)
    }
}
