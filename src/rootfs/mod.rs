//! A plan carried out: system calls only, in the container's process.
#![forbid(unsafe_code)]

mod bind_fd;
pub mod callbacks;
mod cgroup;
pub mod console;
pub mod container;
mod copy_up;
mod devices;
mod finalize;
pub mod hooks;
mod masks;
mod mountinfo;
mod mounts;
mod names;
mod prepare;
mod process;
mod relabel;
mod root;
mod source;
mod switch;
mod target;
mod way;

pub use bind_fd::bind_fd;
pub use finalize::{finalize, mask_paths, readonly_paths};
pub use prepare::prepare;
pub use root::check;

use rustix::fs::Mode;

use crate::plan::Plan;
use crate::sys::fd::Fds;
use crate::sys::resolve::Root;
use callbacks::Callbacks;
use container::Container;
use way::Way;

/// What every step of rfs_prepare acts with.
struct Context<'a> {
    plan: &'a Plan,
    container: &'a Container,
    callbacks: &'a dyn Callbacks,
    umask: &'a Umask,
    fds: &'a Fds,
    way: &'a Way<'a>,
    root: Root<'a>,
}

/// Who called rfs_prepare.
#[derive(Clone, Copy)]
struct Caller<'a> {
    callbacks: &'a dyn Callbacks,
    umask: &'a Umask,
    fds: &'a Fds,
}

impl<'a> Context<'a> {
    fn caller(&self) -> Caller<'a> {
        Caller {
            callbacks: self.callbacks,
            umask: self.umask,
            fds: self.fds,
        }
    }

    fn call<T>(&self, call: impl FnOnce(&dyn Callbacks) -> T) -> T {
        self.caller().call(call)
    }

    fn log(&self, level: callbacks::Level, message: impl core::fmt::Display) {
        self.caller().log(level, message);
    }
}

impl Caller<'_> {
    /// Runs the caller's code, with its umask and none of our descriptors that wait to be closed.
    fn call<T>(&self, call: impl FnOnce(&dyn Callbacks) -> T) -> T {
        self.fds.flush();
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

/// No umask, so that nodes and directories get the modes asked for without a chmod. The caller's returns with the drop.
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
