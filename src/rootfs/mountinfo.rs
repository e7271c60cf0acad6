// SPDX-License-Identifier: MIT OR Apache-2.0
//! /proc/self/mountinfo, for the two steps that can't do without: cgroup v1 and the switch without a pivot.

use rustix::fs::{CWD, OFlags};

use crate::error::{During, Error, Result};
use crate::sys::fd::open;
use crate::sys::page::Grown;
use crate::sys::path::PathBuf;

/// A file of the process in procfs, whole.
pub fn read_file(path: &'static str) -> Result<Grown<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    open(CWD, path, flags)
        .and_then(Grown::read)
        .during("read", path.as_bytes())
        .map_err(|error: Error| error.explain("is /proc mounted?"))
}

/// A line. The kernel has written space, tab, newline and backslash as \ and three octal digits.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The mount's root, as a path in its file system.
    pub root: &'a [u8],
    pub mountpoint: &'a [u8],
    pub fstype: &'a [u8],
    /// The options of the superblock, with commas between them.
    pub options: &'a [u8],
}

impl Entry<'_> {
    pub fn unescaped_root(&self) -> rustix::io::Result<PathBuf> {
        path(self.root)
    }

    pub fn unescaped_mountpoint(&self) -> rustix::io::Result<PathBuf> {
        path(self.mountpoint)
    }
}

fn path(field: &[u8]) -> rustix::io::Result<PathBuf> {
    let mut bytes = Grown::new();
    for byte in unescape(field) {
        bytes.push(byte)?;
    }
    PathBuf::new(&bytes)
}

pub fn entries(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    text.split(|&b| b == b'\n').filter_map(parse)
}

/// proc_pid_mountinfo(5): after six fields come optional ones, a dash, and three more.
fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.split(|&b| b == b' ');
    let root = fields.nth(3)?;
    let mountpoint = fields.next()?;
    fields.by_ref().find(|field| *field == b"-")?;
    let fstype = fields.next()?;
    let options = fields.nth(1)?;
    Some(Entry {
        root,
        mountpoint,
        fstype,
        options,
    })
}

/// A field as it was before the kernel wrote it: never longer than what is written.
pub fn unescape(field: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = field;
    core::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        let digits = after
            .get(..3)
            .filter(|digits| digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        if let (b'\\', Some(digits)) = (byte, digits) {
            rest = &after[3..];
            return Some(digits.iter().fold(0_u8, |value, d| {
                value.wrapping_mul(8).wrapping_add(d - b'0')
            }));
        }
        rest = after;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line = br"36 35 98:0 /a\040b /mnt/x\134y rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue";
        let entry = parse(line).unwrap();
        assert!(unescape(entry.root).eq(*b"/a b"));
        assert!(unescape(entry.mountpoint).eq(*br"/mnt/x\y"));
        assert_eq!(entry.fstype, b"ext4");
        assert_eq!(entry.options, b"rw,errors=continue");
        assert!(parse(b"").is_none());
        assert!(parse(b"1 2 3:4 / / rw").is_none());
    }
}
