//! What a bind brings in: a detached copy of a mount of the host's, by path, by descriptor, or opened by the host's side.

use rustix::fs::CWD;
use rustix::io::Errno;

use super::Context;
use super::callbacks::Request;
use crate::error::{During, Error, Result};
use crate::plan::{Bind, Mount};
use crate::sys::fd::{self, Fd};
use crate::sys::mount::{clone_tree, status};
use crate::sys::namespace::is_attached;

pub fn open<'a>(cx: &Context<'a>, mount: &Mount, bind: &Bind) -> Result<Fd<'a>> {
    let source = bind.source.as_bytes();
    if bind.idmap.is_some() {
        return ask(cx, mount, bind)?.ok_or_else(|| {
            Error::check(
                Errno::OPNOTSUPP,
                "an idmapped mount is opened by the host's side: rfs_callbacks.mountfd is needed for it",
            )
        });
    }
    if let Some(raw) = bind.source_fd {
        let fd = fd::borrow(raw).during("fcntl", source).map_err(|error| {
            error.explain(format_args!("source_fd {raw} is not open in this process"))
        })?;
        return clone_tree(cx.fds, fd, c"", bind.recursive).during("open_tree", source).map_err(|error| {
            match error.errno {
                Errno::INVAL => error.explain(format_args!(
                    "source_fd {raw} is of another mount namespace, if it was opened before unshare(2), or of a detached or unbindable mount"
                )),
                _ => error,
            }
        });
    }
    let errno = match clone_tree(cx.fds, CWD, &bind.source, bind.recursive) {
        Ok(tree) => return Ok(tree),
        Err(errno) => errno,
    };
    if bind.ask_if_unreachable
        && let Some(tree) = ask(cx, mount, bind)?
    {
        return Ok(tree);
    }
    Err(explain(Error::system(errno, "open_tree").on(source)))
}

fn explain(error: Error) -> Error {
    match error.errno {
        Errno::NOENT => error.explain("the bind's source does not exist"),
        Errno::ACCESS => error.explain("the bind's source can't be reached from here; rfs_callbacks.mountfd could open it on the host's side"),
        Errno::INVAL => error.explain("the bind's source lies on an unbindable mount, or has mounts below that are locked: then it must be bound recursively (rbind)"),
        _ => error,
    }
}

/// Lets the host's side open it. `None`: there is nobody to ask.
fn ask<'a>(cx: &Context<'a>, mount: &Mount, bind: &Bind) -> Result<Option<Fd<'a>>> {
    let request = Request {
        mount_index: mount.index,
        source: &bind.source,
        destination: &mount.destination,
        recursive: bind.recursive,
        idmap: bind.idmap.is_some(),
        idmap_recursive: bind.idmap.is_some_and(|idmap| idmap.recursive),
    };
    let Some(answer) = cx.call(|callbacks| callbacks.mountfd(&request)) else {
        return Ok(None);
    };
    let source = bind.source.as_bytes();
    let raw = answer.during("mountfd callback", source)?;
    let tree = cx
        .fds
        .adopt(raw)
        .during("mountfd callback", source)
        .map_err(|error| {
            error.explain(format_args!(
                "it returned {raw}, which is no open descriptor"
            ))
        })?;
    check_detached(&tree, raw)?;
    Ok(Some(tree))
}

/// Not the root of a mount: move_mount(2) would refuse it. Attached: it would be moved away from where it is.
fn check_detached(tree: &Fd<'_>, raw: i32) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::invalid(format_args!(
            "the mountfd callback returned descriptor {raw}, which {what}; it must be a detached mount, as open_tree(2) gives with OPEN_TREE_CLONE"
        )))
    };
    let own = status(tree, c"").during("statx", b"")?;
    if !own.is_mount_root {
        return refuse("is not the root of a mount");
    }
    let is_attached = if own.is_directory() {
        // Above the root of a detached mount there is nothing: ".." stays in it.
        status(tree, c"..").during("statx", b"..")?.mount_id != own.mount_id
    } else {
        is_attached(own.mount_id).during("read", b"/proc/self/mountinfo")?
    };
    if is_attached {
        return refuse("is a mount that is attached");
    }
    Ok(())
}
