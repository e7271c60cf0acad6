// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths for processes that must not allocate from the heap and have little stack.

use core::ffi::CStr;
use core::fmt::Write;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

use super::page::Page;
use crate::text::Text;

/// PATH_MAX of <linux/limits.h>, with the NUL.
pub const PATH_MAX: usize = 4096;
/// NAME_MAX of <linux/limits.h>, without the NUL.
pub const NAME_MAX: usize = 255;

/// An absolute path, "/" when empty, NUL-terminated.
pub struct PathBuf {
    bytes: Page<[u8; PATH_MAX]>,
    len: usize,
}

impl PathBuf {
    pub fn root() -> Result<Self> {
        Ok(PathBuf {
            bytes: Page::zeroed()?,
            len: 0,
        })
    }

    /// The path must have no "..".
    pub fn new(path: &[u8]) -> Result<Self> {
        let mut made = Self::root()?;
        for component in components(path) {
            made.push(component)?;
        }
        Ok(made)
    }

    pub fn push(&mut self, component: &[u8]) -> Result<()> {
        let end = self.len + 1 + component.len();
        if end >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        self.bytes[self.len] = b'/';
        self.bytes[self.len + 1..end].copy_from_slice(component);
        self.len = end;
        Ok(())
    }

    /// Removes the last component; the root stays the root.
    pub fn pop(&mut self) {
        let slash = self.as_bytes().iter().rposition(|&b| b == b'/');
        self.truncate(slash.unwrap_or(0));
    }

    pub fn clear(&mut self) {
        self.truncate(0);
    }

    fn truncate(&mut self, len: usize) {
        self.bytes[len..self.len].fill(0);
        self.len = len;
    }

    pub fn is_root(&self) -> bool {
        self.len == 0
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn as_c_str(&self) -> &CStr {
        if self.is_root() {
            return c"/";
        }
        CStr::from_bytes_until_nul(&*self.bytes).unwrap_or(c"/")
    }
}

/// The components of a path, without empty ones and ".".
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
        .filter(|component| !component.is_empty() && *component != b".")
}

/// The rest of a path below a directory, compared component by component. `None` if the path is not below it.
pub fn below<'a>(directory: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    if directory == b"/" {
        return Some(path);
    }
    path.strip_prefix(directory)
        .filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Splits a path into its directory and its last component. The directory of "/x" is "/".
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash.max(1)], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// One component of a path, with the NUL at its end.
pub struct Name([u8; NAME_MAX + 1]);

impl Name {
    /// # Errors
    /// ENAMETOOLONG for more than NAME_MAX bytes.
    pub fn new(component: &[u8]) -> Result<Self> {
        let mut name = [0; NAME_MAX + 1];
        let room = name[..NAME_MAX].get_mut(..component.len());
        room.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(component);
        Ok(Name(name))
    }
}

impl core::ops::Deref for Name {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// A short string for the kernel that has a number in it, such as "/proc/self/fd/3".
pub struct ShortString([u8; 64]);

impl ShortString {
    /// A text that is too long is cut.
    pub fn format(text: core::fmt::Arguments<'_>) -> Self {
        let mut written = Text::<63>::new();
        let _ = written.write_fmt(text);
        let mut bytes = [0; 64];
        bytes[..written.as_bytes().len()].copy_from_slice(written.as_bytes());
        ShortString(bytes)
    }
}

impl core::ops::Deref for ShortString {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// The path of a descriptor in procfs, for system calls that take only a path.
pub fn of_descriptor(fd: impl AsFd) -> ShortString {
    ShortString::format(format_args!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Changes the permission bits of a file by a descriptor of any kind. fchmod(2) refuses O_PATH descriptors, so this
/// goes by the descriptor's name in procfs, which nobody can exchange.
pub fn chmod(fd: impl AsFd, mode: u32) -> Result<()> {
    rustix::fs::chmod(&*of_descriptor(fd), rustix::fs::Mode::from_raw_mode(mode))
}

/// The working directory: getcwd(2).
pub fn getcwd(buffer: &mut [u8; PATH_MAX]) -> Result<&CStr> {
    // SAFETY: the kernel writes at most as many bytes as the buffer is said to have.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    if length < 0 {
        return Err(super::mount::last_errno());
    }
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_its_last_slash() {
        assert_eq!(split(b"/a/b"), (&b"/a"[..], &b"b"[..]));
        assert_eq!(split(b"/a"), (&b"/"[..], &b"a"[..]));
        assert_eq!(split(b"/"), (&b"/"[..], &b""[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }

    #[test]
    fn a_directory_is_taken_off_by_components() {
        assert_eq!(below(b"/a/r", b"/a/r/x"), Some(&b"/x"[..]));
        assert_eq!(below(b"/a/r", b"/a/r"), Some(&b""[..]));
        assert_eq!(below(b"/a/r", b"/a/rx"), None);
        assert_eq!(below(b"/a/r", b"/b"), None);
        assert_eq!(below(b"/", b"/b"), Some(&b"/b"[..]));
    }
}
