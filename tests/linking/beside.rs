// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another Rust library in the same program: with its own copy of the standard library, and a panic that it catches.

use std::{ffi::c_int, panic};

#[unsafe(no_mangle)]
pub extern "C" fn beside() -> c_int {
    panic::set_hook(Box::new(|_| {}));
    match panic::catch_unwind(|| std::hint::black_box(&[7][..]).iter().sum::<c_int>() / std::hint::black_box(0)) {
        Ok(_) => 0,
        Err(_) => 7,
    }
}
