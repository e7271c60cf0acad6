// SPDX-License-Identifier: MIT OR Apache-2.0
//! The data string of mount(2), which stands for the parameters of fsconfig(2).

use core::ffi::CStr;

use rustix::io::Errno;

use super::Parameters;
use super::attributes::superblock_flag;
use super::label::is_label;
use crate::error::{During, Error, Result};
use crate::sys::page::Page;

/// The data has a page at most, with its NUL: copy_mount_options() in fs/namespace.c.
const DATA_MAX: usize = 4096;

/// A file system's parameters as mount(2) takes them.
pub struct Data {
    /// The parameters that mount(2) takes as MS_* flags instead of data.
    pub flags: u64,
    bytes: Page<[u8; DATA_MAX]>,
    length: usize,
}

impl Data {
    pub fn new(parameters: &dyn Parameters) -> Result<Self> {
        let mut data = Data {
            flags: 0,
            bytes: Page::zeroed().during("mmap", b"")?,
            length: 0,
        };
        parameters.each(&mut |key, value| data.push(key, value))?;
        Ok(data)
    }

    pub fn push(&mut self, key: &CStr, value: Option<&CStr>) -> Result<()> {
        if value.is_none() {
            if let Some(flag) = superblock_flag(key) {
                self.flags |= flag;
                return Ok(());
            }
        }
        // A label has commas in it, so it is put in quotes.
        let quote: &[u8] = if is_label(key.to_bytes()) { b"\"" } else { b"" };
        let comma: &[u8] = if self.length > 0 { b"," } else { b"" };
        self.append(comma)?;
        self.append(key.to_bytes())?;
        let Some(value) = value else { return Ok(()) };
        for part in [b"=", quote, value.to_bytes(), quote] {
            self.append(part)?;
        }
        Ok(())
    }

    fn append(&mut self, part: &[u8]) -> Result<()> {
        let end = self.length + part.len();
        if end >= DATA_MAX {
            return Err(Error::check(
                Errno::TOOBIG,
                format_args!(
                    "the options for the file system are more than mount(2) takes ({} bytes)",
                    DATA_MAX - 1
                ),
            ));
        }
        self.bytes[self.length..end].copy_from_slice(part);
        self.length = end;
        Ok(())
    }

    pub fn text(&self) -> &CStr {
        CStr::from_bytes_until_nul(&*self.bytes).unwrap_or_default()
    }
}
