//! What a bind brings in: a detached copy of a mount of the host's, by path, by descriptor, or opened by the host's side.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::callbacks::Request;
use super::way::Tree;
use super::{Caller, Context};
use crate::detached::{borrow_source, explain_descriptor, open_source};
use crate::error::{During, Error, Result};
use crate::plan::{Bind, Filesystem, Idmap, Link, Mount, Rootfs};
use crate::sys::fd::Fd;
use crate::sys::mount::{Status, status};
use crate::sys::namespace::is_attached;
use crate::sys::path::PATH_MAX;
use crate::sys::resolve::{read_link, split};

pub fn open<'a>(cx: &Context<'a>, mount: &Mount, bind: &Bind) -> Result<Tree<'a, 'a>> {
    let source = bind.source.as_bytes();
    if let Some(idmap) = &bind.idmap {
        let (tree, root) = idmapped(cx.caller(), &request_of(mount, bind, Some(idmap)))?;
        check_kind(bind, &root)?;
        return cx.way.adopt(tree, root.is_directory());
    }
    if let Some(raw) = cx.container.source_fd(mount) {
        let fd = borrow_source(bind, raw)?;
        let cloned = cx.way.clone_descriptor(cx.fds, fd, bind.recursive);
        return cloned.map_err(|error| explain_descriptor(bind, raw, error));
    }
    let error = match cx.way.clone_source(cx.fds, bind) {
        Ok(tree) => return Ok(tree),
        Err(error) => error,
    };
    if bind.ask_if_unreachable
        && let Some((tree, root)) = ask(cx.caller(), &request_of(mount, bind, None))?
    {
        return cx.way.adopt(tree, root.is_directory());
    }
    Err(explain(error.on(source)))
}

/// Makes the link that the source is anew at the destination. False if it is none, and to be bound.
pub fn copy_link(cx: &Context<'_>, mount: &Mount, bind: &Bind) -> Result<bool> {
    let source = bind.source.as_bytes();
    let link = match open_source(cx.fds, bind) {
        Ok(link) => link,
        // Told of by the bind.
        Err(_) => return Ok(false),
    };
    let mut target = [0; PATH_MAX];
    if read_link(link.as_fd(), &mut target)
        .during("readlinkat", source)?
        .is_none()
    {
        return Ok(false);
    }
    // Shorter than the buffer, which was zero.
    let target = CStr::from_bytes_until_nul(&target).unwrap_or_default();
    let destination = mount.destination.as_bytes();
    let path = cx
        .root
        .follow_directory(&mount.destination)
        .during("openat2", destination)?;
    let (directory, name) = split(path.as_c_str().to_bytes());
    let directory = cx
        .root
        .open_or_make(directory)
        .during("mkdirat", destination)?;
    match rustix::fs::symlinkat(target, &directory, name) {
        Err(Errno::EXIST) => {}
        result => return result.during("symlinkat", destination).map(|()| true),
    }
    let mut there = [0; PATH_MAX];
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let existing = rustix::fs::openat(&directory, name, flags, Mode::empty());
    let existing = cx.fds.own(existing.during("openat", destination)?);
    match read_link(existing.as_fd(), &mut there).during("readlinkat", destination)? {
        Some(length) if there[..length] == *target.to_bytes() => Ok(true),
        _ => Err(Error::check(
            Errno::EXIST,
            "with \"copy-symlink\" nothing else than the same link may be at the destination",
        )),
    }
}

fn explain(error: Error) -> Error {
    match error.errno {
        Errno::NOENT => error.explain("the bind's source does not exist"),
        Errno::ACCESS => error.explain("the bind's source can't be reached from here; rfs_callbacks.mountfd could open it on the host's side"),
        Errno::INVAL => error.explain("the bind's source lies on an unbindable mount, or has mounts below that are locked: then it must be bound recursively (rbind)"),
        _ => error,
    }
}

fn request_of<'a>(mount: &'a Mount, bind: &'a Bind, idmap: Option<&Idmap>) -> Request<'a> {
    Request {
        mount_index: mount.index,
        source: &bind.source,
        destination: &mount.destination,
        recursive: bind.recursive,
        idmap: idmap.is_some(),
        idmap_recursive: idmap.is_some_and(|idmap| idmap.recursive),
    }
}

/// A new file system that is idmapped, which the host's side makes.
pub fn new_idmapped<'a>(
    cx: &Context<'a>,
    mount: &Mount,
    wanted: &Filesystem,
    idmap: &Idmap,
) -> Result<Tree<'a, 'a>> {
    let request = Request {
        mount_index: mount.index,
        source: &wanted.source,
        destination: &mount.destination,
        recursive: false,
        idmap: true,
        idmap_recursive: idmap.recursive,
    };
    cx.way
        .adopt(directory(idmapped(cx.caller(), &request)?)?, true)
}

/// The rootfs, idmapped, with the mounts below it.
pub fn rootfs<'a>(caller: Caller<'a>, rootfs: &Rootfs, idmap: &Idmap) -> Result<Fd<'a>> {
    let request = Request {
        mount_index: usize::MAX,
        source: &rootfs.path,
        destination: c"/",
        recursive: true,
        idmap: true,
        idmap_recursive: idmap.recursive,
    };
    directory(idmapped(caller, &request)?)
}

fn directory((tree, root): (Fd<'_>, Status)) -> Result<Fd<'_>> {
    if root.is_directory() {
        return Ok(tree);
    }
    Err(Error::check(
        Errno::NOTDIR,
        "the mountfd callback returned a mount whose root is not a directory",
    ))
}

/// What only the host's side can open.
fn idmapped<'a>(caller: Caller<'a>, request: &Request<'_>) -> Result<(Fd<'a>, Status)> {
    ask(caller, request)?.ok_or_else(|| {
        Error::check(
            Errno::OPNOTSUPP,
            "an idmapped mount is opened by the host's side: rfs_callbacks.mountfd is needed for it",
        )
    })
}

/// Lets the host's side open a mount. `None`: there is nobody to ask.
fn ask<'a>(caller: Caller<'a>, request: &Request<'_>) -> Result<Option<(Fd<'a>, Status)>> {
    let Some(answer) = caller.call(|callbacks| callbacks.mountfd(request)) else {
        return Ok(None);
    };
    let source = request.source.to_bytes();
    let raw = answer.map_err(|error| error.on(source))?;
    let tree = caller
        .fds
        .adopt(raw)
        .during("mountfd callback", source)
        .map_err(|error| {
            error.explain(format_args!(
                "it returned {raw}, which is no open descriptor"
            ))
        })?;
    let root = check_detached(&tree, raw)?;
    Ok(Some((tree, root)))
}

/// What the source is, where it can be seen from here too.
fn check_kind(bind: &Bind, root: &Status) -> Result<()> {
    let seen = match bind.link {
        _ if bind.source_fd.is_some() => return Ok(()),
        Link::Follow => rustix::fs::stat(&bind.source),
        Link::Bind | Link::Copy => rustix::fs::lstat(&bind.source),
    };
    match seen {
        Ok(seen) if (seen.st_mode ^ root.mode) & libc::S_IFMT != 0 => Err(Error::invalid(
            "the mountfd callback returned a mount whose root is of another kind (directory, file) than the source",
        )),
        _ => Ok(()),
    }
}

/// Not the root of a mount: move_mount(2) would refuse it. Attached: it would be moved away from where it is.
fn check_detached(tree: &Fd<'_>, raw: i32) -> Result<Status> {
    let what = match place(tree.as_fd())? {
        (status, Place::Detached) => return Ok(status),
        (_, Place::BelowRoot) => "is not the root of a mount",
        (_, Place::Attached) => "is a mount that is attached",
    };
    Err(Error::invalid(format_args!(
        "the mountfd callback returned descriptor {raw}, which {what}; it must be a detached mount, as open_tree(2) gives with OPEN_TREE_CLONE"
    )))
}

/// Where a descriptor lies in a tree of mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    BelowRoot,
    /// The root of a mount that is attached.
    Attached,
    /// The root of a detached mount.
    Detached,
}

pub fn place(fd: BorrowedFd<'_>) -> Result<(Status, Place)> {
    let own = status(fd, c"").during("statx", b"")?;
    if !own.is_mount_root {
        return Ok((own, Place::BelowRoot));
    }
    let is_attached = if own.is_directory() {
        // Above the root of a detached mount there is nothing: ".." stays in it.
        status(fd, c"..").during("statx", b"..")?.mount_id != own.mount_id
    } else {
        is_attached(own.mount_id).during("read", b"/proc/self/mountinfo")?
    };
    let place = if is_attached {
        Place::Attached
    } else {
        Place::Detached
    };
    Ok((own, place))
}
