// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks the paths and strings that go to the kernel.

use std::ffi::CString;
use std::fmt::Display;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::path::{NAME_MAX, PATH_MAX};

/// Makes a C string of bytes that have no NUL in them. `field` is its name in errors.
pub fn c_string(field: impl Display, bytes: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(bytes)
        .map_err(|_| Error::invalid(format_args!("{field}: it has a NUL byte in it")))
}

/// Checks a path on the host or in the container.
pub fn path(field: impl Display, bytes: &[u8]) -> Result<CString> {
    check(&field, bytes)?;
    c_string(field, bytes)
}

fn check(field: impl Display, bytes: &[u8]) -> Result<()> {
    if bytes.len() >= PATH_MAX {
        return Err(Error::check(
            Errno::NAMETOOLONG,
            format_args!(
                "{field}: {} bytes are more than a path may have (PATH_MAX, {})",
                bytes.len(),
                PATH_MAX - 1
            ),
        ));
    }
    if let Some(long) = bytes
        .split(|&b| b == b'/')
        .find(|name| name.len() > NAME_MAX)
    {
        return Err(Error::check(
            Errno::NAMETOOLONG,
            format_args!(
                "{field}: a component of {} bytes is longer than a name may be (NAME_MAX, {NAME_MAX})",
                long.len()
            ),
        ));
    }
    Ok(())
}

/// Cleans a path in the container: the result is absolute, without ".", ".." and doubled slashes.
pub struct Inside {
    pub path: CString,
    pub was_relative: bool,
}

/// Cleans a path in the container, which may not be the root.
pub fn inside(field: impl Display, bytes: &[u8]) -> Result<Inside> {
    if bytes.is_empty() {
        return Err(Error::invalid(format_args!(
            "{field}: it is missing or empty"
        )));
    }
    let path = below_root(&field, inside_or_root(&field, bytes)?)?;
    Ok(Inside {
        path,
        was_relative: !bytes.starts_with(b"/"),
    })
}

/// Cleans a path in the container. ".." is taken lexically, as runc does.
pub fn inside_or_root(field: impl Display, bytes: &[u8]) -> Result<Vec<u8>> {
    check(field, bytes).map(|()| clean(bytes))
}

/// A cleaned path that may not be the root.
pub fn below_root(field: impl Display, cleaned: Vec<u8>) -> Result<CString> {
    if cleaned == b"/" {
        return Err(Error::invalid(format_args!(
            "{field}: it is the container's root itself, which can't be a target"
        )));
    }
    c_string(field, cleaned)
}

/// Removes slashes and "." at the end of a path, because O_NOFOLLOW notices a symbolic link only in the last
/// component.
pub fn without_trailing_dots(mut path: &[u8]) -> &[u8] {
    loop {
        match path {
            [rest @ .., b'/'] | [rest @ .., b'/', b'.'] if !rest.is_empty() => path = rest,
            _ => return path,
        }
    }
}

/// A path without ".", "..", doubled and trailing slashes, from the root.
pub fn clean(bytes: &[u8]) -> Vec<u8> {
    // There is room for the NUL of a C string, and for the slash before a relative path.
    let is_relative = !bytes.starts_with(b"/");
    let mut cleaned = Vec::with_capacity(bytes.len() + 1 + usize::from(is_relative));
    for component in bytes.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let slash = cleaned.iter().rposition(|&b| b == b'/');
                cleaned.truncate(slash.unwrap_or(0));
            }
            name => {
                cleaned.push(b'/');
                cleaned.extend_from_slice(name);
            }
        }
    }
    if cleaned.is_empty() {
        cleaned.push(b'/');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_from_the_root() {
        assert_eq!(clean(b"/a//b/./c/../d/"), b"/a/b/d");
        assert_eq!(clean(b"../../x"), b"/x");
        assert_eq!(clean(b""), b"/");
        assert!(inside("x", b"/a/..").is_err());
        assert!(inside("x", b"a").unwrap().was_relative);
    }

    #[test]
    fn what_only_follows_a_link_is_taken_off() {
        for path in [&b"/a/l"[..], b"/a/l/", b"/a/l//", b"/a/l/.", b"/a/l/././/"] {
            assert_eq!(without_trailing_dots(path), b"/a/l");
        }
        for kept in [&b"/a/l.."[..], b"/a/.l", b"/a/l/..", b"/", b"/.", b""] {
            assert_eq!(without_trailing_dots(kept), kept);
        }
    }
}
