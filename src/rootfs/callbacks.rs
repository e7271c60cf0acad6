// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of the caller while a plan is carried out.

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
    /// `None`: the rootfs.
    pub mount_index: Option<usize>,
    pub source: &'a CStr,
    pub destination: &'a CStr,
    pub recursive: bool,
    pub idmap: bool,
    pub idmap_recursive: bool,
}

pub trait Callbacks {
    /// The number of a descriptor that is then ours. `None`: there is nobody to ask.
    fn mountfd(&self, request: &Request<'_>) -> Option<error::Result<RawFd>>;
    fn wants_points(&self) -> bool;
    fn point(&self, point: Point) -> Result<(), Errno>;
    /// The container's state, for the createContainer hooks. `None`: the caller runs them.
    fn state(&self) -> Option<&[u8]>;
    fn wants_log(&self) -> bool;
    fn log(&self, level: Level, message: &dyn Display);
}
