//! librfs sets up a Linux container's root filesystem for runtimes written in C.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod config;
pub mod error;
pub mod plan;
pub mod rootfs;
#[allow(unsafe_code)]
pub mod sys;
