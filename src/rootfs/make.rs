// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out a step between the mounts: makes a directory, a file with its content or a symbolic link, or changes
//! the mode and owner of the file that is there.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{Context, target};
use crate::error::{During, Error, Result};
use crate::mount::status_of;
use crate::plan::{Content, Make, Node};
use crate::sys::fd::{CallersFd, DIRECTORY, open};
use crate::sys::page::Page;
use crate::sys::path::{Name, PathBuf, chmod, split};
use crate::sys::resolve::{Opened, Root};

const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const CHUNK: usize = 65_536;

pub fn make(cx: &Context<'_>, path: &CStr, wanted: &Make) -> Result<()> {
    let root = cx.root();
    let bytes = path.to_bytes();
    if bytes == b"/" {
        return change(&root_itself(cx)?, bytes, wanted);
    }
    let plain = root.follow_directory(path).during("openat2", bytes)?;
    target::refuse_below_proc(plain.as_c_str())?;
    match &wanted.node {
        Node::Directory => {
            directory(&root, &plain, bytes).and_then(|it| change(&it, bytes, wanted))
        }
        Node::Existing => {
            let there = root
                .open_plain(plain.as_c_str(), OFlags::PATH | OFlags::NOFOLLOW)
                .during("openat2", bytes)?;
            change(&there, bytes, wanted)
        }
        Node::Regular(content) => {
            let (directory, name) = parent(&root, &plain, "openat", bytes)?;
            let made = rustix::fs::openat(&directory, &*name, NEW_FILE, Mode::from_raw_mode(0o644))
                .during("openat", bytes)
                .map_err(explain_existing)?;
            fill(&made, content, bytes)?;
            change(&made, bytes, wanted)
        }
        Node::Link(to) => {
            let (directory, name) = parent(&root, &plain, "symlinkat", bytes)?;
            rustix::fs::symlinkat(to, &directory, &*name)
                .during("symlinkat", bytes)
                .map_err(explain_existing)?;
            let Some(owner) = wanted.owner else {
                return Ok(());
            };
            chown(
                directory.as_fd(),
                &name,
                AtFlags::SYMLINK_NOFOLLOW,
                owner,
                bytes,
            )
        }
    }
}

/// Opens the directory in which the file is made, and returns the name in it.
fn parent<'a>(
    root: &Root<'a>,
    plain: &PathBuf,
    call: &'static str,
    path: &[u8],
) -> Result<(Opened<'a>, Name)> {
    let (directory, name) = split(plain.as_c_str().to_bytes());
    let directory = root.open_or_make(directory).during("mkdirat", path)?;
    Ok((directory, Name::new(name).during(call, path)?))
}

fn root_itself(cx: &Context<'_>) -> Result<OwnedFd> {
    open(&cx.root, c".", DIRECTORY).during("openat", b"/")
}

fn directory(root: &Root<'_>, plain: &PathBuf, name: &[u8]) -> Result<OwnedFd> {
    let made = root.make_directories(plain.as_c_str().to_bytes());
    let (opened, _) = made
        .during("mkdirat", name)
        .map_err(|error| match error.errno {
            Errno::NOTDIR | Errno::LOOP => error
                .explain("something that is no directory is in the way; a link is not followed"),
            _ => error,
        })?;
    open(opened.as_fd(), c".", DIRECTORY).during("openat", name)
}

fn explain_existing(error: Error) -> Error {
    match error.errno {
        Errno::EXIST => error.explain("something is there already, and nothing is replaced"),
        _ => error,
    }
}

/// The owner comes first, because changing it clears the set-user-ID and set-group-ID bits (chown(2)).
fn change(file: &OwnedFd, path: &[u8], wanted: &Make) -> Result<()> {
    if let Some(owner) = wanted.owner {
        chown(file.as_fd(), c"", AtFlags::EMPTY_PATH, owner, path)?;
    }
    let Some(mode) = wanted.mode else {
        return Ok(());
    };
    if matches!(wanted.node, Node::Regular(_)) {
        return rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).during("fchmod", path);
    }
    let there = status_of(file, path)?;
    if there.mode & libc::S_IFMT == libc::S_IFLNK {
        return Err(Error::check(
            Errno::LOOP,
            "it is a symbolic link, which has no mode and is not followed",
        ));
    }
    chmod(file, mode).during("chmod", path)
}

fn chown(
    at: BorrowedFd<'_>,
    name: &CStr,
    flags: AtFlags,
    (uid, gid): (u32, u32),
    path: &[u8],
) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(at, name, Some(uid), Some(gid), flags)
        .during("fchownat", path)
        .map_err(|error| match error.errno {
            Errno::INVAL => error.explain("the user namespace has no such id"),
            _ => error,
        })
}

fn fill(made: &OwnedFd, content: &Content, path: &[u8]) -> Result<()> {
    match content {
        Content::Bytes(bytes) => write_all(made, bytes).during("write", path),
        Content::Descriptor(raw) => copy(made, *raw, path),
    }
}

fn copy(made: &OwnedFd, raw: RawFd, path: &[u8]) -> Result<()> {
    let from = CallersFd::new(raw).during("fcntl", path).map_err(|error| {
        error.explain(format_args!("content_fd {raw} is not open in this process"))
    })?;
    let mut block = Page::<[u8; CHUNK]>::zeroed().during("mmap", path)?;
    let mut offset = 0;
    loop {
        let read = match rustix::io::pread(from.as_fd(), &mut block[..], offset) {
            // A pipe can't be read at an offset.
            Err(Errno::SPIPE) => rustix::io::read(from.as_fd(), &mut block[..]),
            read => read,
        };
        let length = match read {
            Err(Errno::INTR) => continue,
            read => read
                .during("read", path)
                .map_err(|error| error.explain(format_args!("content_fd {raw} can't be read")))?,
        };
        if length == 0 {
            return Ok(());
        }
        write_all(made, &block[..length]).during("write", path)?;
        offset += length as u64;
    }
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
