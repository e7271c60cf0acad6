// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds out why a path could not be opened, and names the component at fault. It runs only after a failure, and
//! decides only the message.
#![forbid(unsafe_code)]

use core::ffi::CStr;
use core::fmt::{self, Display};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Sentence};
use crate::sys::fd::open;
use crate::sys::mount::{Status, status};
use crate::sys::path::{PathBuf, components};
use crate::sys::resolve::Root;
use crate::text::{Escaped, Text};

/// The root in which a path is looked up.
#[derive(Clone, Copy)]
pub enum Base<'a> {
    /// The container's root.
    Inside(Root<'a>),
    Host,
}

impl Base<'_> {
    fn descriptor(self, path: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        match self {
            Base::Inside(root) => root.open(path, flags),
            Base::Host => open(CWD, path, flags | OFlags::CLOEXEC),
        }
    }
}

/// The kind of file that is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Anything,
    Directory,
    /// A directory to which no symbolic link leads.
    PlainDirectory,
}

/// Adds the component of the path at fault to an error, if a path can cause such an error.
pub fn look_up(error: Error, base: Base<'_>, path: &[u8], wanted: Wanted) -> Error {
    let is_of_a_look_up = matches!(
        error.errno,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS
    );
    match is_of_a_look_up.then(|| component(base, path, wanted)) {
        Some(Some(sentence)) => error.explain(sentence.as_str()),
        _ => error,
    }
}

/// Names the component of an absolute path at which a look-up ends, because it is missing, is no directory, is part
/// of a loop, or can't be searched. `None` if the path can be opened or the reason is unknown.
pub fn component(base: Base<'_>, path: &[u8], wanted: Wanted) -> Option<Sentence> {
    let mut prefix = PathBuf::root().ok()?;
    let mut names = components(path).peekable();
    while let Some(name) = names.next() {
        prefix.push(name).ok()?;
        let shown = Escaped(prefix.as_c_str().to_bytes());
        let flags = match wanted {
            Wanted::PlainDirectory => OFlags::PATH | OFlags::NOFOLLOW,
            _ => OFlags::PATH,
        };
        match base.descriptor(prefix.as_c_str(), flags) {
            Ok(there) => {
                let there = status(&there, c"").ok()?;
                let must_be_directory = names.peek().is_some() || wanted != Wanted::Anything;
                if must_be_directory && !there.is_directory() {
                    let kind = KindOf::from(&there);
                    return Some(Text::format(format_args!(
                        "{shown} is {kind}, not a directory"
                    )));
                }
            }
            Err(errno) => return unreachable(base, prefix, errno),
        }
    }
    None
}

fn unreachable(base: Base<'_>, mut path: PathBuf, errno: Errno) -> Option<Sentence> {
    let link = base.descriptor(path.as_c_str(), OFlags::PATH | OFlags::NOFOLLOW);
    let target = link.ok().and_then(LinkTarget::read);
    let shown = Escaped(path.as_c_str().to_bytes());
    let sentence = match (errno, target) {
        (Errno::NOENT, None) => Text::format(format_args!("{shown} does not exist")),
        (Errno::NOENT, Some(target)) => Text::format(format_args!(
            "{shown} is a symbolic link to {target}, which does not exist"
        )),
        (Errno::LOOP, Some(target)) => Text::format(format_args!(
            "{shown} is a symbolic link to {target}, which leads into a loop or over more than 40 links"
        )),
        (Errno::NOTDIR, Some(target)) => Text::format(format_args!(
            "{shown} is a symbolic link to {target}, and something on the way there is not a directory"
        )),
        (Errno::ACCESS, Some(target)) => Text::format(format_args!(
            "{shown} is a symbolic link to {target}, and this process may not search a directory on the way there"
        )),
        (Errno::ACCESS, None) => {
            path.pop();
            let shown = Escaped(path.as_c_str().to_bytes());
            Text::format(format_args!(
                "this process may not search the directory {shown}"
            ))
        }
        _ => return None,
    };
    Some(sentence)
}

/// The target of a link.
struct LinkTarget {
    bytes: [u8; 128],
    length: usize,
}

impl LinkTarget {
    /// Reads a link's target. `None` if the file is no link.
    fn read(link: OwnedFd) -> Option<Self> {
        let mut bytes = [0; 128];
        let length = rustix::fs::readlinkat_raw(&link, c"", &mut bytes[..]).ok()?;
        Some(LinkTarget { bytes, length })
    }
}

impl Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.bytes[..self.length]).fmt(f)
    }
}

/// The words for a kind of file.
pub struct KindOf {
    pub mode: u32,
    pub device: (u32, u32),
}

impl From<&Status> for KindOf {
    fn from(status: &Status) -> Self {
        let (mode, device) = (status.mode, status.device);
        KindOf { mode, device }
    }
}

impl Display for KindOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.device;
        match self.mode & libc::S_IFMT {
            libc::S_IFDIR => f.write_str("a directory"),
            libc::S_IFLNK => f.write_str("a symbolic link"),
            libc::S_IFIFO => f.write_str("a fifo"),
            libc::S_IFSOCK => f.write_str("a socket"),
            libc::S_IFCHR => write!(f, "the character device {major}:{minor}"),
            libc::S_IFBLK => write!(f, "the block device {major}:{minor}"),
            _ => f.write_str("a regular file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_component_that_is_to_blame_is_named() {
        let dir = std::env::temp_dir().join(format!("rfs-explain-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("there")).unwrap();
        std::fs::write(dir.join("file"), b"").unwrap();
        symlink("nowhere", dir.join("dangling")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        symlink("file/x", dir.join("through")).unwrap();
        let says = |path: &str, wanted| {
            let path = dir.join(path);
            let said = component(Base::Host, path.as_os_str().as_bytes(), wanted);
            let said = said.map(|it| it.as_str().replace(dir.to_str().unwrap(), "D"));
            said.unwrap_or_default()
        };
        for (path, wanted, sentence) in [
            ("there", Wanted::Directory, ""),
            ("file", Wanted::Anything, ""),
            (
                "dangling",
                Wanted::PlainDirectory,
                "D/dangling is a symbolic link, not a directory",
            ),
            (
                "there/gone/x",
                Wanted::Anything,
                "D/there/gone does not exist",
            ),
            (
                "file",
                Wanted::Directory,
                "D/file is a regular file, not a directory",
            ),
            (
                "file/x/y",
                Wanted::Anything,
                "D/file is a regular file, not a directory",
            ),
            (
                "dangling/x",
                Wanted::Anything,
                "D/dangling is a symbolic link to nowhere, which does not exist",
            ),
            (
                "loop",
                Wanted::Anything,
                "D/loop is a symbolic link to loop, which leads into a loop or over more than 40 links",
            ),
            (
                "through",
                Wanted::Anything,
                "D/through is a symbolic link to file/x, and something on the way there is not a directory",
            ),
        ] {
            assert_eq!(says(path, wanted), sentence, "{path}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
