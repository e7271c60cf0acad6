// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes one mount of the plan, by its kind.

use std::os::fd::OwnedFd;

use super::callbacks::Level;
use super::{Context, bind, cgroup, filesystem, make, missing, remount};
use crate::error::{Object, Result};
use crate::plan::{Kind, Mount};

/// Returns the root of the mount. `None` if it was passed over, or if the step made no mount.
pub fn mount(cx: &Context<'_>, mount: &Mount) -> Result<Option<OwnedFd>> {
    let attempted =
        attempt(cx, mount).map_err(|error| missing::explain(cx, &mount.destination, error));
    match attempted {
        Err(error) if mount.optional => {
            cx.container.pass_over(mount);
            let error = error.about(Object::Mount(mount.index), mount.destination.as_bytes());
            cx.log(
                Level::Warning,
                format_args!("optional, and passed over: {error}"),
            );
            Ok(None)
        }
        Ok(made) => {
            cx.container.cover_dev(mount);
            Ok(made)
        }
        Err(error) => Err(error),
    }
}

fn attempt(cx: &Context<'_>, mount: &Mount) -> Result<Option<OwnedFd>> {
    match &mount.kind {
        Kind::Filesystem(it) => filesystem::make(cx, mount, it).map(Some),
        Kind::Bind(it) => bind::mount(cx, mount, it),
        Kind::Remount(it) => remount::mount(cx, mount, it).map(|()| None),
        Kind::Make(it) => make::make(cx, &mount.destination, it).map(|()| None),
        Kind::Cgroup(it) => cgroup::mount(cx, mount, it).map(|()| None),
    }
}
