// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C interface. Each function checks its arguments, calls the core, and turns a Result into an int. All functions
//! that are `extern "C"` are here.

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
