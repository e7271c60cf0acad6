// SPDX-License-Identifier: MIT OR Apache-2.0
//! What crosses the boundary: the structs and constants of the C header, documented for C, in the header's order.
#![allow(non_camel_case_types)]

mod config;
mod container;
mod error;
mod mountfd;

pub use config::*;
pub use container::*;
pub use error::*;
pub use mountfd::*;
