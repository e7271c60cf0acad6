// SPDX-License-Identifier: MIT OR Apache-2.0
//! Walks through a tree of files that somebody else may change meanwhile. Every directory is opened from the
//! descriptor of its parent, and no link is followed. A tree of any depth is walked with one directory open at a
//! time. A directory is read to its end before its entries are visited, because a list that is read while entries
//! change may name them twice or never.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, RawDir};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::fd::open;
use crate::sys::page::Grown;

/// This is far deeper than real trees. It ends the walk of a tree that somebody keeps making deeper.
const MAX_DEPTH: usize = 16_384;
/// How many bytes of a directory are read at a time.
const LIST: usize = 8192;

/// Opens a directory to read its entries.
pub const READABLE: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An entry of a directory.
pub struct Entry<'a> {
    pub directory: BorrowedFd<'a>,
    pub name: &'a CStr,
    /// The type in the directory's list, which may be `Unknown` or no longer true.
    pub kind: FileType,
    /// Its path from the root of the walk.
    pub path: &'a [u8],
}

pub trait Visitor {
    /// Visits an entry. For a directory that is to be walked it returns a descriptor, opened READABLE.
    fn entry(&mut self, entry: &Entry<'_>) -> Result<Option<OwnedFd>>;

    /// Called when all entries of a directory have been visited. `path` begins at the root of the walk, and is empty
    /// for the root itself.
    fn leave(&mut self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<()>;

    /// Makes an error of the walk itself.
    fn failed(&self, operation: &'static str, errno: Errno, path: &[u8]) -> Error;
}

#[derive(Clone, Copy)]
struct OpenDirectory {
    device: u64,
    inode: u64,
    /// The directory's part of `names`, and the place of the next name.
    names: usize,
    next: usize,
    path_length: usize,
}

struct Walk<'v, V> {
    visitor: &'v mut V,
    path: Grown<u8>,
    /// For each entry of the directories on the way to the current one: a byte for its type, its name and a NUL.
    names: Grown<u8>,
    buffer: Grown<u8>,
    stack: Grown<OpenDirectory>,
}

/// Visits everything below a directory, which is opened READABLE.
pub fn walk(root: OwnedFd, visitor: &mut impl Visitor) -> Result<()> {
    let mut walk = Walk {
        visitor,
        path: Grown::new(),
        names: Grown::new(),
        buffer: Grown::new(),
        stack: Grown::new(),
    };
    let mut at = root;
    walk.enter(&at)?;
    while let Some(directory) = walk.stack.last().copied() {
        walk.path.truncate(directory.path_length);
        if directory.next < walk.names.len() {
            if let Some(below) = walk.visit(&at, directory.next)? {
                at = below;
                walk.enter(&at)?;
            }
            continue;
        }
        walk.visitor.leave(at.as_fd(), &walk.path)?;
        walk.names.truncate(directory.names);
        walk.stack.pop();
        if let Some(parent) = walk.stack.last().copied() {
            at = walk.open_parent(&at, &parent)?;
        }
    }
    Ok(())
}

impl<V: Visitor> Walk<'_, V> {
    #[cold]
    fn failed(&self, operation: &'static str, errno: Errno) -> Error {
        let path: &[u8] = if self.path.is_empty() {
            b"."
        } else {
            &self.path
        };
        self.visitor.failed(operation, errno, path)
    }

    fn during<T>(&self, operation: &'static str, result: rustix::io::Result<T>) -> Result<T> {
        result.map_err(|errno| self.failed(operation, errno))
    }

    /// Reads the names in a directory.
    fn enter(&mut self, directory: &OwnedFd) -> Result<()> {
        if self.stack.len() == MAX_DEPTH {
            return Err(self.failed("openat", Errno::NAMETOOLONG));
        }
        let stat = self.during("fstat", rustix::fs::fstat(directory))?;
        let start = self.names.len();
        let read = self.read_names(directory);
        self.during("getdents64", read)?;
        let pushed = self.stack.push(OpenDirectory {
            device: stat.st_dev,
            inode: stat.st_ino,
            names: start,
            next: start,
            path_length: self.path.len(),
        });
        self.during("mmap", pushed)
    }

    fn read_names(&mut self, directory: &OwnedFd) -> rustix::io::Result<()> {
        let mut entries = RawDir::new(directory, self.buffer.spare(LIST)?);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.names.push(kind_to_byte(entry.file_type()))?;
                self.names.extend(name.to_bytes_with_nul())?;
            }
        }
        Ok(())
    }

    /// Visits the entry whose place in `names` is `at`.
    fn visit(&mut self, directory: &OwnedFd, at: usize) -> Result<Option<OwnedFd>> {
        let listed = &self.names[at..];
        let kind = byte_to_kind(listed[0]);
        let name = CStr::from_bytes_until_nul(&listed[1..]).unwrap_or_default();
        let next = at + 1 + name.count_bytes() + 1;
        let separator: &[u8] = if self.path.is_empty() { b"" } else { b"/" };
        let appended = self.path.extend(separator);
        let appended = appended.and_then(|()| self.path.extend(name.to_bytes()));
        appended.map_err(|errno| self.visitor.failed("mmap", errno, b"."))?;
        if let Some(it) = self.stack.last_mut() {
            it.next = next;
        }
        self.visitor.entry(&Entry {
            directory: directory.as_fd(),
            name,
            kind,
            path: &self.path,
        })
    }

    /// If somebody has moved the directory elsewhere, the walk must not go on there.
    fn open_parent(&self, directory: &OwnedFd, expected: &OpenDirectory) -> Result<OwnedFd> {
        let parent = self.during("openat", open(directory, c"..", READABLE))?;
        let found = self.during("fstat", rustix::fs::fstat(&parent))?;
        if (found.st_dev, found.st_ino) != (expected.device, expected.inode) {
            return Err(self.failed("openat", Errno::BUSY));
        }
        Ok(parent)
    }
}

const KINDS: [FileType; 8] = [
    FileType::Unknown,
    FileType::RegularFile,
    FileType::Directory,
    FileType::Symlink,
    FileType::Fifo,
    FileType::Socket,
    FileType::CharacterDevice,
    FileType::BlockDevice,
];

fn kind_to_byte(kind: FileType) -> u8 {
    let place = KINDS.iter().position(|it| *it == kind);
    place.unwrap_or(0) as u8
}

fn byte_to_kind(byte: u8) -> FileType {
    KINDS
        .get(usize::from(byte))
        .copied()
        .unwrap_or(FileType::Unknown)
}
