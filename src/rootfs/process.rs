//! The process itself in its new root: standard descriptors and the working directory.

use core::ffi::CStr;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::Context;
use super::target;
use crate::error::{During, Error, Result};
use crate::plan::Shape;
use crate::sys::fd::{self, Fds};
use crate::sys::mount::status;

pub const DEV_NULL: &CStr = c"/dev/null";
const STANDARD: [i32; 3] = [0, 1, 2];

pub fn enter(cx: &Context<'_>) -> Result<()> {
    if cx.plan.dev.is_some() {
        reopen_null(cx.fds)?;
    }
    cx.plan
        .cwd
        .as_deref()
        .map_or(Ok(()), |cwd| make_cwd(cx, cwd))
}

/// The host's /dev/null on a standard descriptor becomes the container's.
fn reopen_null(fds: &Fds) -> Result<()> {
    // One of ours may have the number of one that the caller closed.
    fds.flush();
    let is_null = |raw| status(fd::standard(raw), c"").is_ok_and(|status| status.is_dev_null());
    // All three before the open, whose number may be that of one that is closed.
    let nulls = STANDARD.map(|raw| is_null(raw).then_some(raw));
    if nulls == [None; 3] {
        return Ok(());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::openat(CWD, DEV_NULL, flags, Mode::empty())
        .during("openat", DEV_NULL.to_bytes())?;
    let null = fds.own(null);
    if !status(&null, c"")
        .during("statx", DEV_NULL.to_bytes())?
        .is_dev_null()
    {
        return Err(not_null());
    }
    for raw in nulls.into_iter().flatten() {
        fd::replace_standard(std::os::fd::AsFd::as_fd(&null), raw)
            .during("dup3", DEV_NULL.to_bytes())?;
    }
    Ok(())
}

/// Something else there would be masked with, or become a standard stream (CVE-2025-31133).
pub fn not_null() -> Error {
    Error::check(
        Errno::NODEV,
        "the container's /dev/null is not the null device (character device 1:3)",
    )
}

fn make_cwd(cx: &Context<'_>, cwd: &CStr) -> Result<()> {
    match cx.root.open(cwd, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(_) => return Ok(()),
        Err(Errno::NOENT) => {}
        Err(errno) => {
            return Err(explain_cwd(
                Error::system(errno, "openat2").on(cwd.to_bytes()),
            ));
        }
    }
    target::open(cx, cwd, Shape::Directory)
        .map(drop)
        .map_err(explain_cwd)
}

fn explain_cwd(error: Error) -> Error {
    error.explain("process.cwd could not be created in the rootfs")
}
