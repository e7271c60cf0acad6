// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a new superblock by fsopen(2), fsconfig(2) and fsmount(2).

use core::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::{NewSuperblock, refusal};
use crate::error::{During, Error, Result};
use crate::sys::mount::Superblock;

/// A new superblock, configured and mounted but not attached.
pub fn superblock(wanted: &NewSuperblock<'_>) -> Result<OwnedFd> {
    make(wanted).map_err(|error| refusal::explain(error, wanted))
}

/// Whether the kernel takes an overlay's lower directories one by one. A kernel that knows "lowerdir+" looks for the
/// directory. A kernel from 6.5 on that does not know it answers EINVAL. A kernel before 6.5 takes any option, but
/// none with a comma: legacy_parse_param() in fs/fs_context.c.
pub fn overlay_takes_layers() -> bool {
    let asked = Superblock::new(c"overlay").and_then(|it| it.set(c"lowerdir+", Some(c"/,")));
    matches!(asked, Ok(()) | Err(Errno::NOENT))
}

fn make(wanted: &NewSuperblock<'_>) -> Result<OwnedFd> {
    let fstype = wanted.fstype.to_bytes();
    let superblock = Superblock::new(wanted.fstype).during("fsopen", fstype)?;
    let with_messages = |error: Error| error.said_by_kernel(superblock.messages());
    let set = |key: &CStr, value: Option<&CStr>| {
        superblock.set(key, value).map_err(|errno| {
            let error = Error::system(errno, "fsconfig");
            with_messages(error.on_parameter(key.to_bytes(), value.map(CStr::to_bytes)))
        })
    };
    set(c"source", Some(wanted.source))?;
    wanted.parameters.each(&mut |key, value| set(key, value))?;
    if let Some(mode) = wanted.mode {
        set(c"mode", Some(mode))?;
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
