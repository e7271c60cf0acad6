//! A new superblock by fsopen(2), fsconfig(2) and fsmount(2).

use core::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::NewSuperblock;
use crate::error::{During, Error, Result};
use crate::plan::label::is_label;
use crate::sys::mount::Superblock;

/// ENODEV of fsopen(2) and mount(2).
pub const NO_SUCH_TYPE: &str = "the kernel knows no file system of this type";

/// A new superblock, configured and mounted but not attached.
pub fn superblock(wanted: &NewSuperblock<'_>) -> Result<OwnedFd> {
    let fstype = wanted.fstype.to_bytes();
    let superblock = Superblock::open(wanted.fstype)
        .during("fsopen", fstype)
        .map_err(|error| match error.errno {
            Errno::NODEV => error.explain(NO_SUCH_TYPE),
            _ => error,
        })?;
    let with_messages = |error: Error| error.said_by_kernel(superblock.messages());
    set_parameter(&superblock, c"source", Some(wanted.source))?;
    wanted
        .parameters
        .each(&mut |key, value| set_parameter(&superblock, key, value))?;
    if let Some(mode) = wanted.mode {
        set_parameter(&superblock, c"mode", Some(mode))?;
    }
    superblock
        .create()
        .during("fsconfig", fstype)
        .map_err(with_messages)?;
    superblock
        .mount(wanted.attributes)
        .during("fsmount", fstype)
        .map_err(with_messages)
}

fn set_parameter(superblock: &Superblock, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let explain = |error: Error| {
        let error = error.said_by_kernel(superblock.messages());
        if matches!(key.to_bytes(), b"uid" | b"gid") && error.errno == Errno::INVAL {
            return error.explain("the user namespace may have no such id");
        }
        if !is_label(key.to_bytes()) || error.errno != Errno::INVAL {
            return error;
        }
        // With SELinux it would have taken the parameter before the file system was asked.
        if error
            .details()
            .kernel
            .as_str()
            .contains("Unknown parameter")
        {
            return error.explain("SELinux is not enabled: without it no mount can have a label");
        }
        error.explain("SELinux's policy may not know the label")
    };
    superblock
        .set(key, value)
        .during("fsconfig", key.to_bytes())
        .map_err(explain)
}
