//! Checks that every string meant for the kernel passes.

use std::ffi::CString;
use std::fmt::Display;

use rustix::io::Errno;

use crate::error::{Error, Result};

/// PATH_MAX and NAME_MAX of <linux/limits.h>; PATH_MAX counts the NUL.
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;

/// A string without a NUL inside. `field`: its name for errors.
pub fn c_string(field: impl Display, bytes: &[u8]) -> Result<CString> {
    CString::new(bytes)
        .map_err(|_| Error::invalid(format_args!("{field}: it has a NUL byte in it")))
}

/// A path on the host or in the container.
pub fn path(field: impl Display, bytes: &[u8]) -> Result<CString> {
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
    c_string(field, bytes)
}

/// A path in the container: absolute, without ".", ".." and doubled slashes.
pub struct Inside {
    pub path: CString,
    pub was_relative: bool,
}

/// Cleans a path in the container, which may not be the root. ".." is taken lexically, as runc does.
pub fn inside(field: impl Display, bytes: &[u8]) -> Result<Inside> {
    if bytes.is_empty() {
        return Err(Error::invalid(format_args!(
            "{field}: it is missing or empty"
        )));
    }
    let checked = path(&field, bytes)?;
    let cleaned = clean(checked.as_bytes());
    if cleaned == b"/" {
        return Err(Error::invalid(format_args!(
            "{field}: it is the container's root itself, which can't be a target"
        )));
    }
    Ok(Inside {
        path: c_string(field, &cleaned)?,
        was_relative: !bytes.starts_with(b"/"),
    })
}

/// A cleaned path's directory and last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
    (&path[..slash.max(1)], &path[slash + 1..])
}

/// A path without ".", "..", doubled and trailing slashes, from the root.
pub fn clean(bytes: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in bytes.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    let mut cleaned = vec![b'/'];
    cleaned.extend(components.join(&b'/'));
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
}
