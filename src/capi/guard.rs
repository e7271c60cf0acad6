// SPDX-License-Identifier: MIT OR Apache-2.0
//! One wrapper around every function that can fail. No panic unwinds into C, and every failure is reported in the
//! same way.

use core::any::Any;
use core::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use once_cell::sync::Lazy;
use rustix::io::Errno;

use super::error;
use super::types::rfs_error;
use crate::error::{Error, Result};

/// Runs the body of an exported function.
///
/// # Safety
/// `err` is NULL or points to an rfs_error as its `size` says.
pub unsafe fn guard(err: *mut rfs_error, body: impl FnOnce() -> Result<()>) -> c_int {
    // SAFETY: as promised by the caller.
    unsafe { guard_number(err, || body().map(|()| 0)) }
}

/// Like `guard` for a function that returns a number, which is not negative.
///
/// # Safety
/// As for `guard`.
pub unsafe fn guard_number(err: *mut rfs_error, body: impl FnOnce() -> Result<c_int>) -> c_int {
    // SAFETY: as promised by the caller.
    if !unsafe { error::is_usable(err) } {
        return -Errno::INVAL.raw_os_error();
    }
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(number)) => return number,
        Ok(Err(error)) => error,
        Err(payload) => internal_error(payload.as_ref()),
    };
    // SAFETY: `err` is NULL or points to an rfs_error, as the caller promised.
    unsafe { error::fill(err, &failure) };
    -failure.errno.raw_os_error()
}

fn internal_error(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::check(
        Errno::NOTRECOVERABLE,
        format_args!(
            "a defect in librfs, please report it: {}",
            text.unwrap_or("panic")
        ),
    )
}

/// Keeps Rust's report of a panic from stderr, which belongs to the caller. The error has it instead. The function
/// that makes the first object must call this before a fork, because the first call takes a lock.
pub fn silence_panics() {
    static SILENCED: Lazy<()> = Lazy::new(|| std::panic::set_hook(Box::new(|_| {})));
    Lazy::force(&SILENCED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_like_any_other() {
        // SAFETY: an rfs_error whose bytes are all zero is valid.
        let mut err: rfs_error = unsafe { core::mem::zeroed() };
        err.size = size_of::<rfs_error>() as u64;
        // SAFETY: `err` has the size that it states.
        let result = unsafe { guard(&mut err, || panic!("broken {}", 7)) };
        assert_eq!(result, -Errno::NOTRECOVERABLE.raw_os_error());
        assert_eq!(err.code, result);
        // SAFETY: fill ends it with NUL.
        let message = unsafe { core::ffi::CStr::from_ptr(err.message.as_ptr()) };
        assert!(message.to_str().unwrap().ends_with("broken 7"));
    }
}
