//! Paths on the stack, for the processes that must not allocate.

use core::ffi::CStr;

use rustix::io::{Errno, Result};

/// PATH_MAX of <linux/limits.h>, with the NUL.
pub const PATH_MAX: usize = 4096;

/// An absolute path, "/" when empty, NUL-terminated.
#[derive(Clone)]
pub struct PathBuf {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl PathBuf {
    pub fn root() -> Self {
        PathBuf {
            bytes: [0; PATH_MAX],
            len: 0,
        }
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
        self.truncate(
            self.as_bytes()
                .iter()
                .rposition(|&b| b == b'/')
                .unwrap_or(0),
        );
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
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"/")
    }
}

/// The components of a path, without empty ones and ".".
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
        .filter(|component| !component.is_empty() && *component != b".")
}

/// The path of a descriptor in procfs, for the calls that take nothing but a path.
pub fn of_descriptor(fd: std::os::fd::BorrowedFd<'_>) -> PathBuf {
    use std::os::fd::AsRawFd;
    let mut path = PathBuf::root();
    let number = crate::error::Text::<16>::format(fd.as_raw_fd());
    for component in ["proc", "self", "fd", number.as_str()] {
        // Far shorter than PATH_MAX.
        let _ = path.push(component.as_bytes());
    }
    path
}
