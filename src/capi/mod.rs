// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C interface: arguments checked, the core called, a Result turned into an int. Only here stand `extern "C"` functions.

mod callbacks;
mod config;
mod container;
mod error;
mod guard;
mod hooks;
mod input;
mod mountfd;
mod plan;
pub mod types;
mod version;
