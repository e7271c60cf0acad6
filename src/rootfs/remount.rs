// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries out "bind,remount": the mount at a destination gets other flags.

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Context;
use super::complete::{change_all, change_bind};
use crate::error::{During, Error, Result};
use crate::mount::status_of;
use crate::plan::Mount;
use crate::plan::attributes::BindChange;

/// MS_REMOUNT of mount(2) takes only the root of a mount.
pub fn mount(cx: &Context<'_>, mount: &Mount, wanted: &BindChange) -> Result<()> {
    let destination = mount.destination.to_bytes();
    let nothing_there = |errno| {
        Error::check(
            errno,
            "options: \"remount\", but nothing is mounted at the destination",
        )
    };
    let there = match cx.root().open(&mount.destination, OFlags::PATH) {
        Err(errno @ Errno::NOENT) => return Err(nothing_there(errno)),
        there => there.during("openat2", destination)?,
    };
    let status = status_of(&there, destination)?;
    if !status.is_mount_root {
        return Err(nothing_there(Errno::INVAL));
    }
    change_bind(cx, mount, &there, wanted, destination)?;
    change_all(cx, mount, &there, destination)
}
