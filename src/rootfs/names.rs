//! The names in a directory, read to the end before its tree is walked on: a list that is read while
//! things change may name them twice or never.

use core::ffi::CStr;

#[derive(Default)]
pub struct Names {
    /// Each with its NUL.
    bytes: Vec<u8>,
    /// Where the next one begins.
    next: usize,
}

impl Names {
    pub fn push(&mut self, name: &CStr) {
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    pub fn take(&mut self) -> Option<&CStr> {
        let name = CStr::from_bytes_until_nul(&self.bytes[self.next..]).ok()?;
        self.next += name.count_bytes() + 1;
        Some(name)
    }
}
