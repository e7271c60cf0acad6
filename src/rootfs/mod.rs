// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out a plan in the container's process. It makes system calls only.
#![forbid(unsafe_code)]

mod assembly;
mod attach;
mod bind;
mod bind_fd;
pub mod callbacks;
mod cgroup;
mod complete;
pub mod console;
pub mod container;
mod copy_up;
mod devices;
mod filesystem;
mod finalize;
pub mod hierarchies;
mod make;
mod masks;
mod missing;
pub mod mountinfo;
mod mounts;
mod prepare;
mod reach;
mod recognise;
mod relabel;
mod remount;
mod root;
mod source;
mod stdio;
mod switch;
mod target;
mod walk;

pub use attach::attach;
pub use bind_fd::bind_fd;
pub use finalize::{finalize, mask_paths, readonly_paths};
pub use prepare::prepare;
pub use root::check;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::Mode;

use crate::mount::MountApi;
use crate::plan::Plan;
use crate::sys::resolve::Root;
use callbacks::Callbacks;
use container::Container;

/// The context that every step of rfs_prepare works in.
struct Context<'a> {
    plan: &'a Plan,
    container: &'a Container,
    caller: Caller<'a>,
    api: &'a MountApi,
    /// The rootfs, or the root of a mount that the plan has put on "/".
    root: OwnedFd,
}

/// The caller of the library.
#[derive(Clone, Copy)]
struct Caller<'a> {
    callbacks: &'a dyn Callbacks,
    umask: &'a Umask,
}

impl Context<'_> {
    fn root(&self) -> Root<'_> {
        Root::new(self.root.as_fd())
    }

    fn log(&self, level: callbacks::Level, message: impl core::fmt::Display) {
        self.caller.log(level, message);
    }
}

impl Caller<'_> {
    /// Runs the caller's code, with its umask.
    fn call<T>(&self, call: impl FnOnce(&dyn Callbacks) -> T) -> T {
        rustix::process::umask(self.umask.callers);
        let result = call(self.callbacks);
        rustix::process::umask(Mode::empty());
        result
    }

    fn log(&self, level: callbacks::Level, message: impl core::fmt::Display) {
        if self.callbacks.wants_log() {
            self.call(|callbacks| callbacks.log(level, &message));
        }
    }
}

/// Clears the umask, so that nodes and directories get the modes that were asked for without a chmod(2). Dropping it
/// restores the caller's.
struct Umask {
    callers: Mode,
}

impl Umask {
    fn cleared() -> Self {
        Umask {
            callers: rustix::process::umask(Mode::empty()),
        }
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        rustix::process::umask(self.callers);
    }
}
