//! The host's side: opens the mounts that the container's process can't, and the way in which that
//! process asks for them.
#![forbid(unsafe_code)]

mod idmap;
mod open;
mod request;
mod serve;
mod wire;

pub use idmap::Namespaces;
pub use open::open;
pub use request::request;
pub use serve::serve;

use crate::plan::{Kind, Mount};

/// Whether the container's process will ask for a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Never,
    /// Only if it can't reach the source.
    Possibly,
    Certainly,
}

pub fn need(mount: &Mount) -> Need {
    match &mount.kind {
        Kind::Bind(bind) if bind.idmap.is_some() => Need::Certainly,
        Kind::Bind(bind) if bind.ask_if_unreachable => Need::Possibly,
        Kind::Bind(_) | Kind::Filesystem(_) | Kind::Cgroup(_) | Kind::Remount(_) => Need::Never,
    }
}
