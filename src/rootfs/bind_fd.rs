//! What a descriptor of the runtime's refers to, bound in the container: a socket, a file of a handler.

use core::ffi::CStr;
use core::fmt::Display;
use std::os::fd::{AsFd, RawFd};

use rustix::io::Errno;

use super::callbacks::{Callbacks, Level, Point, Request};
use super::container::{Container, Reach};
use super::finalize::open_root;
use super::source::{Place, place};
use super::way::Way;
use super::{Context, Umask, target};
use crate::error::{self, During, Error, Object, Result, Stage};
use crate::plan::Shape;
use crate::sys::fd::{Fds, borrow};
use crate::sys::path::{PathBuf, components};
use crate::sys::resolve::Root;

/// Called in a callback, or after rfs_prepare().
pub fn bind_fd(container: &Container, raw: RawFd, destination: &CStr) -> Result<()> {
    bind(container, raw, destination).map_err(|error| {
        error
            .at(Stage::Mounts)
            .about(Object::None, destination.to_bytes())
    })
}

fn bind(container: &Container, raw: RawFd, destination: &CStr) -> Result<()> {
    let reach = container.reach()?;
    let fds = Fds::new();
    let switched;
    let root = match reach {
        Reach::Callback { root, .. } => borrow(root).during("fcntl", b"the rootfs")?,
        Reach::Switched => {
            switched = open_root(container, &fds)?;
            switched.as_fd()
        }
    };
    let destination = cleaned(destination)?;
    let umask = Umask::cleared();
    let way = Way::of(container, &fds)?;
    let cx = Context {
        plan: &container.plan,
        container,
        callbacks: &Nobody,
        umask: &umask,
        fds: &fds,
        way: &way,
        root: Root::new(root, &fds),
    };
    let source = borrow(raw)
        .during("fcntl", b"")
        .map_err(|error| error.explain(format_args!("descriptor {raw} is not open")))?;
    let (status, place) = place(source)?;
    let explain = |error: Error| {
        match error.errno {
        Errno::INVAL => error.explain(format_args!(
            "descriptor {raw} is of no file that this mount namespace has: open it after unshare(2), or give a detached mount (open_tree(2) with OPEN_TREE_CLONE)"
        )),
        _ => error,
    }
    };
    // What the host's side has opened is detached. It has no other place, and before Linux 6.15 can't be cloned.
    let cloned = match place {
        Place::Detached => None,
        _ => Some(way.clone_descriptor(&fds, source, true).map_err(explain)?),
    };
    let shape = if status.is_directory() {
        Shape::Directory
    } else {
        Shape::File
    };
    let target = target::open(&cx, destination.as_c_str(), shape)?;
    if target.is_proc {
        return Err(Error::invalid("/proc is for the container's own procfs"));
    }
    let attached = match cloned {
        Some(mut tree) => tree.attach(&target),
        None => way.attach_descriptor(source, target.as_fd()),
    };
    attached.map_err(explain)
}

/// The rules about /proc are about a path without "..". ".." is taken lexically, as in a configuration.
fn cleaned(path: &CStr) -> Result<PathBuf> {
    let path = path.to_bytes();
    if !path.starts_with(b"/") {
        return Err(Error::invalid("the target is not absolute"));
    }
    let mut cleaned = PathBuf::root();
    for component in components(path) {
        match component {
            b".." => cleaned.pop(),
            name => cleaned.push(name).during("check", b"")?,
        }
    }
    if cleaned.is_root() {
        return Err(Error::invalid(
            "the target is the container's root itself, on which nothing can be bound",
        ));
    }
    Ok(cleaned)
}

/// Nothing here is asked of anybody.
struct Nobody;

impl Callbacks for Nobody {
    fn mountfd(&self, _: &Request<'_>) -> Option<error::Result<RawFd>> {
        None
    }
    fn wants_points(&self) -> bool {
        false
    }
    fn point(&self, _: Point) -> core::result::Result<(), Errno> {
        Ok(())
    }
    fn state(&self) -> Option<&[u8]> {
        None
    }
    fn wants_log(&self) -> bool {
        false
    }
    fn log(&self, _: Level, _: &dyn Display) {}
}
