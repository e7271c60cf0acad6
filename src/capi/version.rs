// SPDX-License-Identifier: MIT OR Apache-2.0
//! The library's version.

use core::ffi::{CStr, c_char};

/// The version of the library that is linked: "MAJOR.MINOR.PATCH". Static; compare with RFS_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn rfs_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}
