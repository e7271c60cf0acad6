// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the caller's functions the core's Callbacks.

use core::ffi::{c_char, c_int};
use core::fmt::Display;
use core::mem::size_of;
use std::os::fd::RawFd;

use rustix::io::Errno;

use super::types::*;
use crate::error::{self, Error};
use crate::rootfs::callbacks::{Callbacks, Level, Point, Request};
use crate::text::{Escaped, Text};

impl Callbacks for rfs_callbacks {
    fn mountfd(&self, request: &Request<'_>) -> Option<error::Result<RawFd>> {
        let mountfd = self.mountfd?;
        let mut err = rfs_error::EMPTY;
        let flag = |wanted: bool, flag: u64| if wanted { flag } else { 0 };
        let request = rfs_mount_request {
            size: size_of::<rfs_mount_request>() as u64,
            flags: flag(request.recursive, RFS_REQUEST_RECURSIVE)
                | flag(request.idmap, RFS_REQUEST_IDMAP)
                | flag(request.idmap_recursive, RFS_REQUEST_IDMAP_RECURSIVE),
            mount_index: match request.mount_index {
                None => RFS_MOUNTFD_ROOTFS,
                Some(index) => index as u64,
            },
            source: request.source.as_ptr(),
            destination: request.destination.as_ptr(),
            err: &raw mut err,
        };
        // SAFETY: the caller gave the function for this, with this userdata.
        let answer = answer(unsafe { mountfd(self.userdata, &request) });
        Some(answer.map_err(|errno| {
            let error = Error::system(errno, "mountfd callback");
            match text(&err.message) {
                b"" => error,
                said => error.explain(format_args!("the host's side says: {}", Escaped(said))),
            }
        }))
    }

    fn wants_points(&self) -> bool {
        self.point.is_some()
    }

    fn point(&self, point: Point) -> Result<(), Errno> {
        let Some(call) = self.point else {
            return Ok(());
        };
        let point = match point {
            Point::RootReady => RFS_POINT_ROOT_READY,
            Point::Mounted => RFS_POINT_MOUNTED,
            Point::MountsReady => RFS_POINT_MOUNTS_READY,
            Point::CreateContainer => RFS_POINT_CREATE_CONTAINER,
            Point::BeforeSwitch => RFS_POINT_BEFORE_SWITCH,
            Point::AfterSwitch => RFS_POINT_AFTER_SWITCH,
        };
        // SAFETY: the function and its userdata are the caller's, who promised that they fit.
        answer(unsafe { call(self.userdata, point) }).map(drop)
    }

    fn state(&self) -> Option<&[u8]> {
        // SAFETY: the caller gave state_len bytes for the time of the call.
        (!self.state.is_null())
            .then(|| unsafe { core::slice::from_raw_parts(self.state.cast(), self.state_len) })
    }

    fn wants_log(&self) -> bool {
        self.log.is_some()
    }

    fn log(&self, level: Level, message: &dyn Display) {
        let Some(log) = self.log else {
            return;
        };
        let level = match level {
            Level::Warning => RFS_LOG_WARNING,
            Level::Debug => RFS_LOG_DEBUG,
        };
        let text = Text::<1023>::format(message);
        let mut line = [0; 1024];
        line[..text.as_bytes().len()].copy_from_slice(text.as_bytes());
        // SAFETY: the function and its userdata are the caller's, who promised that they fit; the line ends with NUL.
        unsafe { log(self.userdata, level, line.as_ptr().cast()) };
    }
}

/// The text that a callback wrote into an rfs_error. Its NUL may be missing.
fn text(message: &[c_char]) -> &[u8] {
    // SAFETY: both types have one size, and every byte is valid in both.
    let bytes = unsafe { &*(core::ptr::from_ref(message) as *const [u8]) };
    let length = bytes.iter().position(|&byte| byte == 0);
    &bytes[..length.unwrap_or(bytes.len())]
}

/// A callback's result: a negative errno is an error, another number is the answer.
fn answer(result: c_int) -> Result<c_int, Errno> {
    /// The kernel's MAX_ERRNO.
    const MAX: c_int = 4095;
    if result >= 0 {
        Ok(result)
    } else if result >= -MAX {
        Err(Errno::from_raw_os_error(-result))
    } else {
        Err(Errno::INVAL)
    }
}
