// SPDX-License-Identifier: MIT OR Apache-2.0
//! librfs sets up a Linux container's root filesystem for runtimes written in C.
//!
//! The C header is the interface. This page is for people who work on the library. Data goes from [`config`] (the
//! configuration) through [`plan`] (frozen steps) to [`rootfs`] (the steps carried out), with [`sys`] below it.
#![deny(unsafe_op_in_unsafe_fn)]

#[allow(unsafe_code)]
pub mod capi;
pub mod config;
pub mod error;
mod explain;
pub mod hooks;
pub mod mount;
pub mod mountfd;
pub mod plan;
pub mod rootfs;
#[allow(unsafe_code)]
pub mod sys;
pub mod text;
