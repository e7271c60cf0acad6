// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors and system calls: what the layers above act with. `unsafe` stands here and in `capi` only.

pub mod fd;
pub mod flags;
pub mod mount;
pub mod namespace;
pub mod page;
pub mod path;
pub mod process;
pub mod resolve;
pub mod userns;
