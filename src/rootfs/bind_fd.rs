//! What a descriptor of the runtime's refers to, bound in the container: a socket, a file of a handler.

use core::ffi::CStr;
use core::fmt::Display;
use std::os::fd::{AsFd, RawFd};

use rustix::io::Errno;

use super::callbacks::{Callbacks, HookPoint, Level, Request};
use super::source::{Place, place};
use super::state::State;
use super::way::Way;
use super::{Context, Umask, target};
use crate::error::{self, During, Error, Object, Result, Stage};
use crate::plan::{Plan, Shape};
use crate::sys::fd::{Fds, borrow};
use crate::sys::path::{PathBuf, components};
use crate::sys::resolve::Root;

/// To be called by a hooks callback while the host's files can still be reached.
pub fn bind_fd(plan: &Plan, state: &State, raw: RawFd, destination: &CStr) -> Result<()> {
    bind(plan, state, raw, destination).map_err(|error| {
        error
            .at(Stage::Mounts)
            .about(Object::None, destination.to_bytes())
    })
}

fn bind(plan: &Plan, state: &State, raw: RawFd, destination: &CStr) -> Result<()> {
    let root = borrow(state.root()?).during("fcntl", b"the rootfs")?;
    let destination = cleaned(destination)?;
    let fds = Fds::new();
    let umask = Umask::cleared();
    let way = Way::of(state, &fds)?;
    let cx = Context {
        plan,
        state,
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
            "the target is the container's root itself, which can't be one",
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
    fn wants_hooks(&self) -> bool {
        false
    }
    fn hook(&self, _: HookPoint) -> core::result::Result<(), Errno> {
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
