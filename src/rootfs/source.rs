// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens the source of a mount: a copy of a mount of the host by path or by descriptor, or a mount that the host's
//! side has opened.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use super::assembly::separate_copy;
use super::callbacks::Request;
use super::{Caller, Context};
use crate::error::{During, Error, Result};
use crate::explain::{self, Wanted};
use crate::mount::status_of;
use crate::mount::{MountApi, Source, Tree};
use crate::plan::{Bind, Filesystem, Idmap, Link, Mount, Rootfs};
use crate::sys::fd::{self, CallersFd};
use crate::sys::flags;
use crate::sys::mount::{Status, status};
use crate::sys::namespace::is_attached;

/// Opens a bind's source.
pub fn of_bind<'a>(cx: &Context<'a>, mount: &'a Mount, bind: &'a Bind) -> Result<Tree<'a>> {
    let name = bind.source.as_bytes();
    if mount.from_host || bind.idmap.is_some() {
        let (tree, root) = demand(cx.caller, &request_of(mount, bind), bind.idmap.as_ref())?;
        check_kind(cx, mount, bind, &root)?;
        return cx.api.adopt(tree, name);
    }
    if let Some(raw) = cx.container.source_fd(mount) {
        return from_descriptor(
            cx,
            raw,
            bind.recursive,
            name,
            format_args!("source_fd {raw}"),
        );
    }
    if bind.relative {
        return from_container(cx, bind);
    }
    let path = Source::Path {
        path: &bind.source,
        follow: bind.link == Link::Follow,
    };
    let error = match cx.api.clone(path, bind.recursive, name) {
        Ok(tree) => return Ok(tree),
        Err(error) => error,
    };
    if bind.ask_if_unreachable {
        if let Some((tree, _)) = ask(cx.caller, &request_of(mount, bind))? {
            return cx.api.adopt(tree, name);
        }
    }
    Err(explain_source(cx, error, bind))
}

/// Opens a source with "relative": a path in the container, as the mounts before this one have left it.
fn from_container<'a>(cx: &Context<'a>, bind: &'a Bind) -> Result<Tree<'a>> {
    let name = bind.source.as_bytes();
    let flags = match bind.link {
        Link::Follow | Link::Copy => OFlags::PATH,
        Link::Bind => OFlags::PATH | OFlags::NOFOLLOW,
    };
    let source = cx
        .root()
        .open(&bind.source, flags)
        .during("openat2", name)
        .map_err(|error| match error.errno {
            Errno::NOENT => error.explain(
                "with \"relative\" the bind's source is a path in the container, where it does not exist",
            ),
            _ => error,
        })?;
    let cloned = cx
        .api
        .clone(Source::Fd(source.as_fd()), bind.recursive, name);
    cloned.map_err(|error| match error.errno {
        Errno::INVAL => error.explain(
            "the source lies on an unbindable mount, or has mounts below that are locked: then bind it \
                recursively (rbind)",
        ),
        _ => error,
    })
}

/// Takes the source from a descriptor that the caller gave.
pub fn from_descriptor<'a>(
    cx: &Context<'a>,
    raw: i32,
    recursive: bool,
    name: &'a [u8],
    given: core::fmt::Arguments<'_>,
) -> Result<Tree<'a>> {
    let fd = CallersFd::new(raw)
        .during("fcntl", name)
        .map_err(|error| error.explain(format_args!("{given} is not open in this process")))?;
    let (_, position) = position(fd)?;
    let tree = of_callers(cx.api, fd, position, recursive, name, given)?;
    if position == Position::Detached && cx.container.is_copy(raw) {
        separate_copy(cx.plan, &tree)?;
    }
    Ok(tree)
}

/// Takes a detached mount itself, because it lies nowhere else and can't be cloned before Linux 6.15. For any other
/// file it copies the mount that the file lies on.
pub fn of_callers<'a>(
    api: &'a MountApi,
    fd: CallersFd,
    position: Position,
    recursive: bool,
    name: &'a [u8],
    given: core::fmt::Arguments<'_>,
) -> Result<Tree<'a>> {
    if position == Position::Detached {
        return api.adopt(fd.duplicate().during("fcntl", name)?, name);
    }
    api.clone(Source::Fd(fd.as_fd()), recursive, name)
        .map_err(|error| explain_foreign(error, given))
}

/// Explains EINVAL, which the kernel answers for a file that this mount namespace does not have.
pub fn explain_foreign(error: Error, given: core::fmt::Arguments<'_>) -> Error {
    match error.errno {
        Errno::INVAL => error.explain(format_args!(
            "{given} lies on a mount of another mount namespace, or on an unbindable one: open it after \
                unshare(2), or give a detached mount (open_tree(2) with OPEN_TREE_CLONE)"
        )),
        _ => error,
    }
}

fn explain_source(cx: &Context<'_>, error: Error, bind: &Bind) -> Error {
    let found = explain::component(
        explain::Base::Host,
        bind.source.as_bytes(),
        Wanted::Anything,
    );
    let found = found.unwrap_or_default();
    let found = found.as_str();
    match error.errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP if !found.is_empty() => {
            error.explain(format_args!("the bind's source: {found}"))
        }
        Errno::ACCESS => error.explain(format_args!(
            "the bind's source can't be reached from here: {found}; rfs_callbacks.mountfd could open it on \
                the host's side"
        )),
        Errno::INVAL if cx.plan.start_propagation() & flags::MS_UNBINDABLE != 0 => error.explain(
            "linux.rootfsPropagation is unbindable or runbindable, and so is the mount that the source lies on",
        ),
        Errno::INVAL => error.explain("the bind's source lies on an unbindable mount, or has mounts below that \
            are locked: then it must be bound recursively (rbind)"),
        _ => error,
    }
}

fn request_of<'a>(mount: &'a Mount, bind: &'a Bind) -> Request<'a> {
    Request {
        mount_index: Some(mount.index),
        source: &bind.source,
        destination: &mount.destination,
        recursive: bind.recursive,
        idmap: bind.idmap.is_some(),
        idmap_recursive: is_recursive(bind.idmap.as_ref()),
    }
}

fn is_recursive(idmap: Option<&Idmap>) -> bool {
    idmap.is_some_and(|idmap| idmap.recursive)
}

/// Takes a new file system that the host's side makes.
pub fn filesystem_from_host<'a>(
    cx: &Context<'a>,
    mount: &'a Mount,
    wanted: &'a Filesystem,
) -> Result<Tree<'a>> {
    let request = Request {
        mount_index: Some(mount.index),
        source: &wanted.source,
        destination: &mount.destination,
        recursive: false,
        idmap: wanted.idmap.is_some(),
        idmap_recursive: is_recursive(wanted.idmap.as_ref()),
    };
    let opened = demand(cx.caller, &request, wanted.idmap.as_ref())?;
    cx.api.adopt(directory(opened)?, wanted.fstype.as_bytes())
}

/// Takes the rootfs, with the mounts below it, from the host's side. `None` if there is nobody to ask.
pub fn rootfs(caller: Caller<'_>, rootfs: &Rootfs) -> Result<Option<OwnedFd>> {
    let request = Request {
        mount_index: None,
        source: &rootfs.path,
        destination: c"/",
        recursive: true,
        idmap: rootfs.idmap.is_some(),
        idmap_recursive: is_recursive(rootfs.idmap.as_ref()),
    };
    let opened = match &rootfs.idmap {
        Some(_) => Some(demand(caller, &request, rootfs.idmap.as_ref())?),
        None => ask(caller, &request)?,
    };
    opened.map(directory).transpose()
}

fn directory((tree, root): (OwnedFd, Status)) -> Result<OwnedFd> {
    if root.is_directory() {
        return Ok(tree);
    }
    Err(Error::check(
        Errno::NOTDIR,
        "the mountfd callback returned a mount whose root is not a directory",
    ))
}

/// Takes a source that only the host's side can open.
fn demand(
    caller: Caller<'_>,
    request: &Request<'_>,
    idmap: Option<&Idmap>,
) -> Result<(OwnedFd, Status)> {
    ask(caller, request)?.ok_or_else(|| {
        let what = match idmap {
            Some(_) => "an idmapped mount is opened by the host's side",
            None => "RFS_MOUNT_FROM_HOST: the mount is opened by the host's side",
        };
        Error::check(
            Errno::OPNOTSUPP,
            format_args!("{what}: rfs_callbacks.mountfd is needed for it"),
        )
    })
}

/// Asks the host's side to open a mount. `None` if there is nobody to ask.
fn ask(caller: Caller<'_>, request: &Request<'_>) -> Result<Option<(OwnedFd, Status)>> {
    let Some(answer) = caller.call(|callbacks| callbacks.mountfd(request)) else {
        return Ok(None);
    };
    let source = request.source.to_bytes();
    let raw = answer.map_err(|error| error.on(source))?;
    let tree = fd::adopt(raw)
        .during("mountfd callback", source)
        .map_err(|error| {
            error.explain(format_args!(
                "it returned {raw}, which is no open descriptor"
            ))
        })?;
    let root = check_detached(&tree, raw)?;
    Ok(Some((tree, root)))
}

/// The kind of file that the source is, if this process can see it too.
fn check_kind(cx: &Context<'_>, mount: &Mount, bind: &Bind, root: &Status) -> Result<()> {
    let seen = match bind.link {
        _ if cx.container.source_fd(mount).is_some() => return Ok(()),
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

/// Checks that an answer is a detached mount. move_mount(2) would refuse a file that is not the root of a mount, and
/// would move an attached mount away from its place.
fn check_detached(tree: &OwnedFd, raw: i32) -> Result<Status> {
    let what = match position(tree)? {
        (status, Position::Detached) => return Ok(status),
        (_, Position::BelowRoot) => "is not the root of a mount",
        (_, Position::Attached) => "is a mount that is attached",
    };
    Err(Error::invalid(format_args!(
        "the mountfd callback returned descriptor {raw}, which {what}; it must be a detached mount, as \
            open_tree(2) gives with OPEN_TREE_CLONE"
    )))
}

/// The position of a descriptor's file in a tree of mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    BelowRoot,
    /// The root of an attached mount.
    Attached,
    /// The root of a detached mount.
    Detached,
}

pub fn position(fd: impl AsFd) -> Result<(Status, Position)> {
    let mount_of = |fd: BorrowedFd<'_>, path: &CStr| -> Result<u64> {
        Ok(status(fd, path).during("statx", path.to_bytes())?.mount_id)
    };
    let own = status_of(&fd, b"")?;
    if !own.is_mount_root {
        return Ok((own, Position::BelowRoot));
    }
    let is_attached = if own.is_directory() {
        // The root of a detached mount has no parent, so ".." leads to itself, as in "/". An id of 0 means that it is
        // unknown.
        mount_of(fd.as_fd(), c"..")? != own.mount_id
            || (own.mount_id != 0 && mount_of(CWD, c"/")? == own.mount_id)
    } else {
        is_attached(&fd, own.mount_id)
            .during("read", b"/proc/self/mountinfo")
            .map_err(explain_list)?
    };
    let position = if is_attached {
        Position::Attached
    } else {
        Position::Detached
    };
    Ok((own, position))
}

/// Before Linux 6.8 the list of mounts must be read to learn whether a file's mount is attached.
fn explain_list(error: Error) -> Error {
    match error.errno {
        Errno::NOENT => error.explain(
            "no procfs of this process's pid namespace is mounted on /proc; a process that has joined a container's \
             pid namespace is in it only after a fork(2)",
        ),
        _ => error,
    }
}
