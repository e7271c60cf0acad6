//! /proc/self/mountinfo, for the two steps that can't do without: cgroup v1 and the switch without a pivot. Allocates.

use crate::error::{During, Error, Result};

pub struct Entry {
    /// In the file system.
    pub root: Vec<u8>,
    pub mountpoint: Vec<u8>,
    pub fstype: Vec<u8>,
    /// Of the superblock, comma-separated.
    pub options: Vec<u8>,
}

pub fn read() -> Result<Vec<Entry>> {
    let text = read_file("/proc/self/mountinfo")?;
    Ok(text.split(|&b| b == b'\n').filter_map(parse).collect())
}

pub fn read_file(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
        .during("read", path.as_bytes())
        .map_err(|error: Error| error.explain("is /proc mounted?"))
}

/// proc_pid_mountinfo(5): after six fields come optional ones, a dash, and three more.
fn parse(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|&b| b == b' ');
    let root = unescape(fields.nth(3)?);
    let mountpoint = unescape(fields.next()?);
    fields.by_ref().find(|field| *field == b"-")?;
    let fstype = fields.next()?.to_vec();
    let options = fields.nth(1)?.to_vec();
    Some(Entry {
        root,
        mountpoint,
        fstype,
        options,
    })
}

/// The kernel writes space, tab, newline and backslash as \ and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|digits| digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        if let (b'\\', Some(digits)) = (byte, digits) {
            text.push(digits.iter().fold(0_u8, |value, d| {
                value.wrapping_mul(8).wrapping_add(d - b'0')
            }));
            rest = &after[3..];
        } else {
            text.push(byte);
            rest = after;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line = br"36 35 98:0 /a\040b /mnt/x\134y rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue";
        let entry = parse(line).unwrap();
        assert_eq!(entry.root, b"/a b");
        assert_eq!(entry.mountpoint, br"/mnt/x\y");
        assert_eq!(entry.fstype, b"ext4");
        assert_eq!(entry.options, b"rw,errors=continue");
        assert!(parse(b"").is_none());
        assert!(parse(b"1 2 3:4 / / rw").is_none());
    }
}
