// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side, which opens the mounts that the container's process can't open, and the protocol by which that
//! process asks for them.
#![forbid(unsafe_code)]

mod idmap;
mod lock;
mod open;
mod request;
mod serve;
mod wire;

pub use idmap::Namespaces;
pub use open::open_wanted;
pub use request::request;
pub use serve::{answer, serve};

use crate::error::Result;
use crate::plan::{Idmap, Kind, Mount, Plan, Rootfs};

/// What a number in the plan stands for.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    Mount(&'a Mount),
    /// An optional mount that could not be planned. Only its index is known.
    PassedOver(usize),
    Rootfs(&'a Rootfs),
}

/// The number that stands for the rootfs. The mounts are counted from 0.
pub const ROOTFS: u64 = u64::MAX;

impl<'a> Wanted<'a> {
    pub fn of(plan: &'a Plan, index: u64) -> Result<Self> {
        if index == ROOTFS {
            return Ok(Wanted::Rootfs(&plan.rootfs));
        }
        let index = plan.configured(index)?;
        let mount = plan.mount(index);
        Ok(mount.map_or(Wanted::PassedOver(index), Wanted::Mount))
    }

    pub fn need(&self) -> Need {
        match self {
            Wanted::Mount(mount) => need(mount),
            Wanted::Rootfs(rootfs) if rootfs.idmap.is_some() => Need::Certainly,
            Wanted::Rootfs(rootfs) if rootfs.ask_if_unreachable => Need::Possibly,
            Wanted::Rootfs(_) | Wanted::PassedOver(_) => Need::Never,
        }
    }

    /// The mounts below come along.
    fn is_recursive(&self) -> bool {
        match self {
            Wanted::Mount(mount) => matches!(&mount.kind, Kind::Bind(bind) if bind.recursive),
            Wanted::Rootfs(_) => true,
            Wanted::PassedOver(_) => false,
        }
    }

    /// The mapping that it is attached with.
    pub fn idmap(&self) -> Option<&'a Idmap> {
        match self {
            Wanted::Mount(mount) => match &mount.kind {
                Kind::Bind(bind) => bind.idmap.as_ref(),
                Kind::Filesystem(filesystem) => filesystem.idmap.as_ref(),
                Kind::Cgroup(_) | Kind::Remount(_) | Kind::Make(_) => None,
            },
            Wanted::Rootfs(rootfs) => rootfs.idmap.as_ref(),
            Wanted::PassedOver(_) => None,
        }
    }
}

/// Whether the container's process will ask for a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Never,
    /// It asks only if it can't reach the source.
    Possibly,
    Certainly,
}

fn need(mount: &Mount) -> Need {
    if mount.from_host || mount.is_idmapped() {
        return Need::Certainly;
    }
    match &mount.kind {
        Kind::Bind(bind) if bind.ask_if_unreachable => Need::Possibly,
        _ => Need::Never,
    }
}
