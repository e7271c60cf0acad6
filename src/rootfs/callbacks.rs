// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls to the caller while a plan is carried out.

use core::ffi::CStr;
use core::fmt::Display;
use std::os::fd::RawFd;

use rustix::io::Errno;

use crate::error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    RootReady,
    Mounted,
    MountsReady,
    CreateContainer,
    BeforeSwitch,
    AfterSwitch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Warning,
    Debug,
}

/// A mount that the host's side must open.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The mount's index. `None` stands for the rootfs.
    pub mount_index: Option<usize>,
    pub source: &'a CStr,
    pub destination: &'a CStr,
    pub recursive: bool,
    pub idmap: bool,
    pub idmap_recursive: bool,
}

pub trait Callbacks {
    /// Asks for a mount. The library owns the descriptor in the answer. `None` if the caller gave no callback for it.
    fn mountfd(&self, request: &Request<'_>) -> Option<error::Result<RawFd>>;
    fn wants_points(&self) -> bool;
    fn point(&self, point: Point) -> Result<(), Errno>;
    /// The container's state for the createContainer hooks. `None` if the caller runs them.
    fn state(&self) -> Option<&[u8]>;
    fn wants_log(&self) -> bool;
    fn log(&self, level: Level, message: &dyn Display);
}
