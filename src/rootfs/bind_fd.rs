// SPDX-License-Identifier: MIT OR Apache-2.0
//! Binds the file behind a descriptor of the runtime in the container: a socket, a terminal, or a handler's file.

use core::ffi::CStr;
use std::os::fd::{AsFd, RawFd};

use rustix::io::Errno;

use super::container::Container;
use super::reach::ContainerRoot;
use super::source::{explain_foreign, of_callers, position};
use super::{Umask, target};
use crate::error::{During, Error, Object, Result, Stage};
use crate::mount::MountApi;
use crate::plan::Shape;
use crate::sys::fd::CallersFd;
use crate::sys::path::{PathBuf, components};
use crate::sys::resolve::Root;

/// Binds the file. This is called in a callback or after rfs_prepare().
pub fn bind_fd(container: &Container, raw: RawFd, destination: &CStr) -> Result<()> {
    bind(container, raw, destination).map_err(|error| {
        error
            .at(Stage::Mounts)
            .about(Object::None, destination.to_bytes())
    })
}

fn bind(container: &Container, raw: RawFd, destination: &CStr) -> Result<()> {
    let root = ContainerRoot::of(container, false)?;
    let destination = cleaned(destination)?;
    let _umask = Umask::cleared();
    let source = CallersFd::new(raw)
        .during("fcntl", b"")
        .map_err(|error| error.explain(format_args!("descriptor {raw} is not open")))?;
    let (status, position) = position(source)?;
    let api = MountApi::new(container.is_classic());
    let mut tree = of_callers(
        &api,
        source,
        position,
        true,
        b"",
        format_args!("descriptor {raw}"),
    )?;
    let root = Root::new(root.as_fd());
    let target = target::of_path(&root, destination.as_c_str(), Shape::of(&status))?;
    if target.is_proc {
        return Err(Error::invalid("/proc is for the container's own procfs"));
    }
    tree.attach(&target).map_err(|error| match error.errno {
        Errno::INVAL => explain_foreign(error, format_args!("descriptor {raw}")),
        _ => error,
    })
}

/// Removes ".." from the path lexically, as in a configuration, because the rules for /proc compare paths without it.
fn cleaned(path: &CStr) -> Result<PathBuf> {
    let path = path.to_bytes();
    if !path.starts_with(b"/") {
        return Err(Error::invalid("the target is not absolute"));
    }
    let mut cleaned = PathBuf::root().during("mmap", b"")?;
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
