// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sets up the process itself in its new root: standard descriptors and the working directory.

use core::ffi::CStr;

use std::os::fd::AsFd;

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use super::Context;
use super::{missing, target};
use crate::error::{During, Error, Result};
use crate::explain::{self, KindOf, Wanted};
use crate::mount::status_of;
use crate::plan::Shape;
use crate::sys::fd::{STANDARD, open};
use crate::sys::mount::{Status, status};

pub const DEV_NULL: &CStr = c"/dev/null";

pub fn enter(cx: &Context<'_>) -> Result<()> {
    if cx.container.fills_dev() {
        reopen_null()?;
    }
    cx.plan
        .cwd
        .as_deref()
        .map_or(Ok(()), |cwd| make_cwd(cx, cwd))
}

/// Replaces the host's /dev/null on a standard descriptor by the container's.
fn reopen_null() -> Result<()> {
    // All three are checked before the open, because openat(2) may return the number of one that is closed.
    let nulls = STANDARD.map(|it| status(it, c"").is_ok_and(|status| status.is_dev_null()));
    if nulls == [false; 3] {
        return Ok(());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = open(CWD, DEV_NULL, flags).during("openat", DEV_NULL.to_bytes())?;
    let there = status_of(&null, DEV_NULL.to_bytes())?;
    if !there.is_dev_null() {
        return Err(not_null(&there));
    }
    for (standard, _) in STANDARD
        .into_iter()
        .zip(nulls)
        .filter(|(_, is_null)| *is_null)
    {
        standard
            .replace(null.as_fd())
            .during("dup3", DEV_NULL.to_bytes())?;
    }
    Ok(())
}

/// Opens /dev/null and checks it, because another file there would become a mask or a standard stream
/// (CVE-2025-31133).
pub fn not_null(there: &Status) -> Error {
    Error::check(
        Errno::NODEV,
        format_args!(
            "the container's /dev/null is {}, not the null device (character device 1:3)",
            KindOf::from(there)
        ),
    )
}

fn make_cwd(cx: &Context<'_>, cwd: &CStr) -> Result<()> {
    match cx.root().open(cwd, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(_) => return Ok(()),
        Err(Errno::NOENT) => {}
        Err(errno) => {
            let error = Error::system(errno, "openat2").on(cwd.to_bytes());
            let base = explain::Base::Inside(cx.root());
            let error = explain::look_up(error, base, cwd.to_bytes(), Wanted::Directory);
            return Err(explain_cwd(error));
        }
    }
    target::of_path(&cx.root(), cwd, Shape::Directory)
        .map(drop)
        .map_err(|error| explain_cwd(missing::explain(cx, cwd, error)))
}

fn explain_cwd(error: Error) -> Error {
    let why = error.details().explanation.clone();
    error.explain(format_args!("process.cwd: {}", why.as_str()))
}
