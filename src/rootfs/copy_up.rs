// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out "tmpcopyup": copies the directory that a tmpfs will cover into the tmpfs while it is still detached.
//!
//! Each entry is opened once and never followed. Its descriptor tells its type, not the directory's list.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, SeekFrom, Statx, StatxFlags, Timespec, Timestamps,
    Uid, XattrFlags,
};
use rustix::io::Errno;

use super::walk::{Entry, READABLE, Visitor, walk};
use crate::error::{Error, Result};
use crate::plan::CopyUp;
use crate::sys::fd::{ENTRY, open};
use crate::sys::page::{Grown, Page};
use crate::sys::path::{PATH_MAX, PathBuf, of_descriptor};

/// XATTR_LIST_MAX and XATTR_SIZE_MAX of <linux/limits.h>.
const XATTR_MAX: usize = 65_536;
/// sendfile(2) moves at most 0x7ffff000 bytes at a time.
const CHUNK: u64 = 1 << 30;

/// Copies the content of the directory `from` into the root of the mount `to`. The directory's own attributes are
/// copied if `root` names them.
pub fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>, root: CopyUp) -> Result<()> {
    let open = |at| open(at, c".", READABLE).map_err(|errno| failed("openat", errno, b"."));
    let source = open(from)?;
    let mut copy = Copy {
        root: to,
        own: root,
        copy: open(to)?,
        directories: Grown::new(),
        links: Links::new()?,
        list: zeros()?,
        value: zeros()?,
    };
    let status = copy.status(source.as_fd(), b".")?;
    during("mmap", b".", copy.directories.push(status))?;
    walk(source, &mut copy)
}

fn zeros() -> Result<Grown<u8>> {
    during("mmap", b".", Grown::zeros(XATTR_MAX))
}

/// Adds the path of the current entry to an error.
fn during<T>(operation: &'static str, path: &[u8], result: rustix::io::Result<T>) -> Result<T> {
    result.map_err(|errno| failed(operation, errno, path))
}

#[cold]
#[inline(never)]
fn failed(operation: &'static str, errno: Errno, path: &[u8]) -> Error {
    let error = Error::system(errno, operation).on(path);
    match errno {
        Errno::NOSPC => error.explain(
            "the tmpfs is too small for what tmpcopyup copies into it: see its size= and nr_inodes=",
        ),
        Errno::NAMETOOLONG => error.explain("the tree is too deep to be copied"),
        Errno::BUSY if operation == "openat" => {
            error.explain("the directory was moved while it was copied")
        }
        Errno::INVAL if operation == "fchownat" => {
            error.explain("its owner has no id in this user namespace")
        }
        Errno::NOENT if operation == "open" || operation == "listxattr" => {
            error.explain("tmpcopyup needs a procfs on /proc")
        }
        _ => error,
    }
}

struct Copy<'a> {
    root: BorrowedFd<'a>,
    /// The attributes of the covered directory that the root gets.
    own: CopyUp,
    /// The copy of the current directory.
    copy: OwnedFd,
    /// The statx(2) results of each directory on the way to the current one.
    directories: Grown<Statx>,
    links: Links,
    list: Grown<u8>,
    value: Grown<u8>,
}

impl Visitor for Copy<'_> {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Option<OwnedFd>> {
        // O_PATH opens no device and no fifo: the descriptor only marks the place.
        let opened = match open(entry.directory, entry.name, ENTRY) {
            // The entry was removed since it was listed.
            Err(Errno::NOENT) => return Ok(None),
            opened => during("openat", entry.path, opened)?,
        };
        let status = self.status(opened.as_fd(), entry.path)?;
        let copied = if type_of(&status) == FileType::Directory {
            self.enter(entry, &opened, status).map(Some)
        } else {
            self.copy_entry(entry, &opened, &status).map(|()| None)
        };
        match copied {
            // The name was listed twice, because the entry was replaced meanwhile.
            Err(error) if error.errno == Errno::EXIST => Ok(None),
            copied => copied,
        }
    }

    fn leave(&mut self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let is_root = self.directories.len() == 1;
        let Some(status) = self.directories.pop() else {
            return Ok(());
        };
        let wanted = if is_root { self.own } else { CopyUp::ALL };
        self.set_attributes(directory, c".", &status, wanted, path)?;
        if !is_root {
            self.copy = during("openat", path, open(&self.copy, c"..", READABLE))?;
        }
        Ok(())
    }

    fn failed(&self, operation: &'static str, errno: Errno, path: &[u8]) -> Error {
        failed(operation, errno, path)
    }
}

fn type_of(status: &Statx) -> FileType {
    FileType::from_raw_mode(status.stx_mode.into())
}

impl Copy<'_> {
    fn status(&self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<Statx> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let status = rustix::fs::statx(fd, c"", flags, StatxFlags::BASIC_STATS);
        during("statx", path, status)
    }

    /// Makes a directory, which becomes the current one.
    fn enter(&mut self, entry: &Entry<'_>, opened: &OwnedFd, status: Statx) -> Result<OwnedFd> {
        let path = entry.path;
        let made = rustix::fs::mkdirat(&self.copy, entry.name, Mode::RWXU);
        during("mkdirat", path, made)?;
        let source = during("openat", path, open(opened, c".", READABLE))?;
        self.copy = during("openat", path, open(&self.copy, entry.name, READABLE))?;
        during("mmap", path, self.directories.push(status))?;
        Ok(source)
    }

    fn copy_entry(&mut self, entry: &Entry<'_>, opened: &OwnedFd, status: &Statx) -> Result<()> {
        let path = entry.path;
        let has_links = status.stx_nlink > 1;
        let first = has_links.then(|| self.links.find(status)).flatten();
        if let Some(first) = first {
            return during("linkat", path, self.link(first, entry.name));
        }
        match type_of(status) {
            FileType::RegularFile => self.copy_file(entry, opened, status)?,
            FileType::Symlink => self.copy_symlink(entry, opened)?,
            kind => {
                let device = rustix::fs::makedev(status.stx_rdev_major, status.stx_rdev_minor);
                let made = rustix::fs::mknodat(&self.copy, entry.name, kind, Mode::empty(), device);
                during("mknodat", path, made)?;
            }
        }
        self.set_attributes(opened.as_fd(), entry.name, status, CopyUp::ALL, path)?;
        if has_links {
            during("mmap", path, self.links.add(status, path))?;
        }
        Ok(())
    }

    /// Makes a hard link. The path is opened in steps, because it may be longer than the kernel takes.
    fn link(&self, mut first: &[u8], name: &CStr) -> rustix::io::Result<()> {
        let mut part = Page::<[u8; PATH_MAX]>::zeroed()?;
        let mut at: Option<OwnedFd> = None;
        while first.len() >= PATH_MAX {
            let slash = first[..PATH_MAX].iter().rposition(|&b| b == b'/');
            let slash = slash.ok_or(Errno::NAMETOOLONG)?;
            let from = at.as_ref().map_or(self.root, AsFd::as_fd);
            at = Some(open(from, c_str(&mut part, &first[..slash]), READABLE)?);
            first = &first[slash + 1..];
        }
        let from = at.as_ref().map_or(self.root, AsFd::as_fd);
        rustix::fs::linkat(
            from,
            c_str(&mut part, first),
            &self.copy,
            name,
            AtFlags::empty(),
        )
    }

    fn copy_symlink(&mut self, entry: &Entry<'_>, opened: &OwnedFd) -> Result<()> {
        let length = rustix::fs::readlinkat_raw(opened, c"", &mut self.value[..PATH_MAX]);
        let length = during("readlinkat", entry.path, length)?;
        self.value[length] = 0;
        let target = CStr::from_bytes_until_nul(&self.value).unwrap_or_default();
        let made = rustix::fs::symlinkat(target, &self.copy, entry.name);
        during("symlinkat", entry.path, made)
    }

    /// Copies a file up to the size that it had, so that copying a file that keeps growing comes to an end.
    fn copy_file(&mut self, entry: &Entry<'_>, opened: &OwnedFd, status: &Statx) -> Result<()> {
        let path = entry.path;
        // The descriptor is opened again by its name in procfs, because another file may have the entry's name now.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let source = during("open", path, open(CWD, &*of_descriptor(opened), flags))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.copy, entry.name, flags, Mode::RUSR | Mode::WUSR);
        let made = during("openat", path, made)?;
        let size = status.stx_size;
        if status.stx_blocks.saturating_mul(512) >= size {
            return during("sendfile", path, self.copy_range(&source, &made, 0, size));
        }
        let mut end = 0;
        while let Some(data) = next_data(&source, end, size) {
            end = data.end;
            let copied = self.copy_range(&source, &made, data.start, data.end);
            during("sendfile", path, copied)?;
        }
        during("ftruncate", path, rustix::fs::ftruncate(&made, size))
    }

    /// Copies by sendfile(2), because copy_file_range(2) never copies between different file systems (since Linux
    /// 5.19).
    fn copy_range(
        &mut self,
        source: &OwnedFd,
        copy: &OwnedFd,
        mut offset: u64,
        end: u64,
    ) -> rustix::io::Result<()> {
        rustix::fs::seek(copy, SeekFrom::Start(offset))?;
        while offset < end {
            let length = (end - offset).min(CHUNK) as usize;
            match rustix::fs::sendfile(copy, source, Some(&mut offset), length) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                // The source's file system can't splice.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    let length = length.min(self.value.len());
                    let value = &mut self.value[..length];
                    let read = rustix::io::retry_on_intr(|| {
                        rustix::io::pread(source, &mut *value, offset)
                    })?;
                    if read == 0 {
                        break;
                    }
                    let written =
                        rustix::io::retry_on_intr(|| rustix::io::write(copy, &value[..read]))?;
                    offset += written as u64;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Sets the attributes in an order in which none undoes another: chown(2) clears set-user-ID and capabilities,
    /// and every call changes the times.
    fn set_attributes(
        &mut self,
        opened: BorrowedFd<'_>,
        name: &CStr,
        status: &Statx,
        wanted: CopyUp,
        path: &[u8],
    ) -> Result<()> {
        let uid = wanted.uid.then(|| Uid::from_raw(status.stx_uid));
        let gid = wanted.gid.then(|| Gid::from_raw(status.stx_gid));
        let changed = rustix::fs::chownat(&self.copy, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        during("fchownat", path, changed)?;
        if wanted.mode && type_of(status) != FileType::Symlink {
            let mode = Mode::from_raw_mode(u32::from(status.stx_mode) & 0o7777);
            let changed = rustix::fs::chmodat(&self.copy, name, mode, AtFlags::empty());
            during("fchmodat", path, changed)?;
        }
        self.copy_xattrs(opened, name, path)?;
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: status.stx_atime.tv_sec,
                tv_nsec: status.stx_atime.tv_nsec.into(),
            },
            last_modification: Timespec {
                tv_sec: status.stx_mtime.tv_sec,
                tv_nsec: status.stx_mtime.tv_nsec.into(),
            },
        };
        let changed = rustix::fs::utimensat(&self.copy, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        during("utimensat", path, changed)
    }

    /// Copies extended attributes by paths in procfs, because before Linux 6.13 no other call works on O_PATH
    /// descriptors and links.
    fn copy_xattrs(&mut self, opened: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<()> {
        let from = of_descriptor(opened);
        let length = match rustix::fs::listxattr(&*from, &mut self.list[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
            listed => during("listxattr", path, listed)?,
        };
        let to = PathBuf::new(of_descriptor(&self.copy).to_bytes());
        let mut to = during("lsetxattr", path, to)?;
        during("lsetxattr", path, to.push(name.to_bytes()))?;
        for attribute in self.list[..length].split_inclusive(|&b| b == 0) {
            let Ok(attribute) = CStr::from_bytes_with_nul(attribute) else {
                continue;
            };
            if !is_copied(attribute) {
                continue;
            }
            let length = match rustix::fs::getxattr(&*from, attribute, &mut self.value[..]) {
                // ENODATA: the attribute was removed since it was listed. EOVERFLOW: a capability that holds only in
                // another user namespace (capabilities(7)).
                Err(Errno::NODATA | Errno::OVERFLOW) => continue,
                got => during("getxattr", path, got)?,
            };
            let value = &self.value[..length];
            match rustix::fs::lsetxattr(to.as_c_str(), attribute, value, XattrFlags::empty()) {
                // A tmpfs takes user.* only since Linux 6.6, and a start must not fail for that. Other attributes are
                // not left out: without an access list somebody could get in.
                Err(Errno::OPNOTSUPP)
                    if !attribute.to_bytes().starts_with(b"system.posix_acl_") => {}
                set => during("lsetxattr", path, set)?,
            }
        }
        Ok(())
    }
}

/// Copies a string into `room` with a NUL behind it.
fn c_str<'a>(room: &'a mut [u8; PATH_MAX], bytes: &[u8]) -> &'a CStr {
    room.fill(0);
    room[..bytes.len()].copy_from_slice(bytes);
    CStr::from_bytes_until_nul(room).unwrap_or_default()
}

/// Whether an extended attribute is copied. Those of security modules are not, except for capabilities: a label
/// belongs to the mount, and a signature holds for one inode.
fn is_copied(attribute: &CStr) -> bool {
    !attribute.to_bytes().starts_with(b"security.") || attribute == c"security.capability"
}

/// The next range between `offset` and `size` that is no hole. The whole range if the file system can't tell.
fn next_data(file: &OwnedFd, offset: u64, size: u64) -> Option<core::ops::Range<u64>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return None,
        Err(_) => offset,
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => end.min(size),
        _ => size,
    };
    (start < size).then_some(start..end)
}

/// A hash table with the first path of each file that has several.
struct Links {
    /// For each bucket one more than the number of its last record. 0 if the bucket is empty.
    last: Grown<usize>,
    records: Grown<Link>,
    paths: Grown<u8>,
}

#[derive(Clone, Copy)]
struct Link {
    /// The device is compared too, because there may be mounts in the source.
    identity: (u32, u32, u64),
    path: usize,
    path_length: usize,
    /// The bucket's record before this one, counted as in `last`.
    before: usize,
}

impl Links {
    const BUCKETS: usize = 1024;

    fn new() -> Result<Self> {
        let mut last = Grown::new();
        for _ in 0..Self::BUCKETS {
            during("mmap", b".", last.push(0))?;
        }
        Ok(Links {
            last,
            records: Grown::new(),
            paths: Grown::new(),
        })
    }

    fn bucket(status: &Statx) -> usize {
        (status.stx_ino % Self::BUCKETS as u64) as usize
    }

    fn find(&self, status: &Statx) -> Option<&[u8]> {
        let mut next = self.last[Self::bucket(status)];
        while let Some(link) = self.records.get(next.wrapping_sub(1)) {
            if link.identity == identity(status) {
                return Some(&self.paths[link.path..link.path + link.path_length]);
            }
            next = link.before;
        }
        None
    }

    fn add(&mut self, status: &Statx, path: &[u8]) -> rustix::io::Result<()> {
        let bucket = Self::bucket(status);
        self.records.push(Link {
            identity: identity(status),
            path: self.paths.len(),
            path_length: path.len(),
            before: self.last[bucket],
        })?;
        self.paths.extend(path)?;
        self.last[bucket] = self.records.len();
        Ok(())
    }
}

fn identity(status: &Statx) -> (u32, u32, u64) {
    (status.stx_dev_major, status.stx_dev_minor, status.stx_ino)
}
