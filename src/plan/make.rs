// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans a step that makes a directory, a file or a link, or changes the file that is there.

use super::{Kind, Make, Mount, Node, paths, proc};
use crate::config::{self, Config, FileKind};
use crate::error::{Error, Result};

pub fn make(
    config: &Config,
    index: usize,
    wanted: &config::Mount,
    file: &config::File,
) -> Result<Mount> {
    let path = &wanted.destination;
    if !path.starts_with(b"/") {
        return Err(Error::invalid("path: it is missing, or not absolute"));
    }
    let cleaned = paths::inside_or_root("path", path)?;
    let destination = match &file.kind {
        FileKind::Directory | FileKind::Existing => paths::c_string("path", cleaned)?,
        FileKind::Regular(_) | FileKind::Link(_) => paths::below_root("path", cleaned)?,
    };
    if destination.as_bytes() == b"/" && config.host_root {
        return Err(Error::invalid(
            "path: RFS_OPTION_HOST_ROOT: \"/\" stays as it is",
        ));
    }
    if proc::rule(destination.as_bytes()) == proc::ProcRule::Refused {
        return Err(Error::invalid("path: nothing is made or changed in /proc"));
    }
    if let Some(mode) = file.mode.filter(|mode| *mode > 0o7777) {
        return Err(Error::invalid(format_args!(
            "mode: {mode:#o} has more than permission bits (07777)"
        )));
    }
    if (file.owner).is_some_and(|(uid, gid)| uid == u32::MAX || gid == u32::MAX) {
        return Err(Error::invalid("uid, gid: 4294967295 is no id"));
    }
    let node = match &file.kind {
        FileKind::Directory => Node::Directory,
        FileKind::Regular(content) => Node::Regular(content.clone()),
        FileKind::Link(target) if target.is_empty() => {
            return Err(Error::invalid("target: a symbolic link needs one"));
        }
        FileKind::Link(_) if file.mode.is_some() => {
            return Err(Error::invalid("mode: a symbolic link has none"));
        }
        FileKind::Link(target) => Node::Link(paths::path("target", target)?),
        FileKind::Existing if file.mode.is_none() && file.owner.is_none() => {
            return Err(Error::invalid(
                "type: 0 changes what is there, but neither RFS_FILE_MODE nor RFS_FILE_OWNER is set",
            ));
        }
        FileKind::Existing => Node::Existing,
    };
    Ok(Mount {
        index,
        destination,
        kind: Kind::Make(Make {
            node,
            mode: file.mode,
            owner: file.owner,
        }),
        create: None,
        below_proc: proc::Below::Nothing,
        destination_nofollow: false,
        from_host: false,
        optional: false,
        readonly_later: false,
        surely_missing: false,
        recursive: None,
        propagation: Vec::new(),
        below_shared: false,
        is_recognised: false,
    })
}
