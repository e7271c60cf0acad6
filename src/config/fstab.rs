// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads lines of fstab(5), as LXC has them in lxc.mount.entry and lxc.mount.fstab: lxc.container.conf(5).

use super::options::{Effect, effect};
use super::{Bytes, Config, Mount};
use crate::error::{Error, Result};
use crate::sys::flags::{MS_BIND, MS_REMOUNT};
use crate::text::Quoted;

/// Adds a line's mount and returns its index. `None` if the line has no mount, or one whose destination is not in the
/// container.
pub fn add(config: &mut Config, line: &[u8], prefixes: &[Bytes]) -> Result<Option<usize>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.contains(&b'\n') {
        return Err(Error::invalid(
            "line: there is a newline in it; give the lines one by one",
        ));
    }
    let mut fields = line
        .split(|b| matches!(b, b' ' | b'\t' | b'\r'))
        .filter(|field| !field.is_empty());
    let source = match fields.next() {
        None => return Ok(None),
        Some(comment) if comment.starts_with(b"#") => return Ok(None),
        Some(source) => unescape(source)?,
    };
    let missing = |field| {
        Error::invalid(format_args!(
            "line: the field {field} is missing; fstab(5) has source, destination, type and options"
        ))
    };
    let destination = unescape(fields.next().ok_or_else(|| missing("destination"))?)?;
    let fstype = unescape(fields.next().ok_or_else(|| missing("type"))?)?;
    let options = unescape(fields.next().unwrap_or(b"defaults"))?;
    let Some(destination) = inside(&destination, prefixes) else {
        config.warnings.push(format!(
            "fstab: {} is passed over: it is an absolute path, and so one of the host, but not in the rootfs",
            Quoted(&destination)
        ));
        return Ok(None);
    };
    config
        .mounts
        .push(mount(source, destination, fstype, &options)?);
    Ok(Some(config.mounts.len() - 1))
}

fn mount(source: Bytes, destination: Bytes, fstype: Bytes, options: &[u8]) -> Result<Mount> {
    let mut options: Vec<Bytes> = options
        .split(|&b| b == b',')
        .filter(|option| !option.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let sets = |option: &[u8], flag| matches!(effect(option), Some(Effect::Set(flags)) if flags & flag != 0);
    let is_bind = fstype == b"bind" || options.iter().any(|option| sets(option, MS_BIND));
    if is_bind {
        // LXC makes the bind and then remounts it with its flags, so "remount" means nothing more here.
        options.retain(|option| !sets(option, MS_REMOUNT));
    }
    if !options
        .iter()
        .any(|option| matches!(effect(option), Some(Effect::Create(_))))
    {
        options.push(b"create=none".to_vec());
    }
    for option in &mut options {
        match option.as_slice() {
            b"idmap=container" => *option = b"idmap".to_vec(),
            [b'i', b'd', b'm', b'a', b'p', b'=', b'/', ..] => {
                return Err(Error::invalid(format_args!(
                    "options: {}: open the user namespace, and give it to rfs_config_add_mount() as \
                        rfs_mount.userns_fd",
                    Quoted(option)
                )));
            }
            _ => {}
        }
    }
    Ok(Mount {
        destination,
        fstype: Some(fstype),
        source: Some(source),
        options,
        keep_restrictions: is_bind,
        from_fstab: true,
        ..Mount::default()
    })
}

/// The destination as a path in the container. `None` if it is an absolute path outside of the rootfs.
fn inside(destination: &[u8], prefixes: &[Bytes]) -> Option<Bytes> {
    if !destination.starts_with(b"/") {
        return Some([b"/", destination].concat());
    }
    let below = |prefix: &Bytes| {
        let mut rest = components(destination);
        let is_below = components(prefix).all(|name| rest.next() == Some(name));
        is_below.then(|| (components(prefix).count(), rest))
    };
    let (_, rest) = prefixes
        .iter()
        .filter(|prefix| prefix.starts_with(b"/"))
        .filter_map(below)
        .max_by_key(|(length, _)| *length)?;
    let mut path = b"/".to_vec();
    for name in rest {
        path.extend([name, b"/"].concat());
    }
    Some(path)
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// A field without its escapes. A backslash and three octal digits are a byte (getmntent(3)), and two backslashes are
/// one.
fn unescape(field: &[u8]) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => ((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'), after),
            _ => (byte, after),
        };
        if byte == 0 {
            return Err(Error::invalid(format_args!(
                "line: the field {} has a NUL byte in it",
                Quoted(field)
            )));
        }
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, prefixes: &[&str]) -> Option<Mount> {
        let mut config = Config::new(None);
        let prefixes: Vec<Bytes> = prefixes.iter().map(|it| it.as_bytes().to_vec()).collect();
        let index = add(&mut config, line.as_bytes(), &prefixes).unwrap();
        index.map(|index| config.mounts[index].clone())
    }

    fn options(line: &str) -> Vec<String> {
        let all = parsed(line, &[]).unwrap().options;
        all.into_iter()
            .map(|it| String::from_utf8(it).unwrap())
            .collect()
    }

    #[test]
    fn fields_are_taken_apart() {
        let mount = parsed("  /a\\040b\t\tc\\134d   none bind,ro,create=dir 0 0\n", &[]).unwrap();
        assert_eq!(mount.source.as_deref(), Some(&b"/a b"[..]));
        assert_eq!(mount.destination, b"/c\\d");
        assert_eq!(mount.fstype.as_deref(), Some(&b"none"[..]));
        assert_eq!(mount.options, [&b"bind"[..], b"ro", b"create=dir"]);
        assert!(mount.keep_restrictions && mount.from_fstab);
        assert!(!parsed("proc proc proc", &[]).unwrap().keep_restrictions);
    }

    #[test]
    fn empty_lines_and_comments_are_none() {
        for line in ["", "\n", " \t ", "# /a b none bind", "  #x"] {
            assert!(parsed(line, &[]).is_none(), "{line:?}");
        }
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for line in [
            "a",
            "a b",
            "a b c\nd e f",
            "a\\000 b c",
            "a b none idmap=/proc/1/ns/user",
        ] {
            let mut config = Config::new(None);
            assert!(add(&mut config, line.as_bytes(), &[]).is_err(), "{line:?}");
            assert!(config.mounts.is_empty());
        }
    }

    #[test]
    fn a_bind_is_not_remounted_and_nothing_is_made_unless_asked_for() {
        assert_eq!(
            options("/a b none bind,remount,ro"),
            ["bind", "ro", "create=none"]
        );
        assert_eq!(options("p p proc remount"), ["remount", "create=none"]);
        assert_eq!(options("p p proc"), ["defaults", "create=none"]);
        assert_eq!(
            options("/a b bind create=file,,idmap=container"),
            ["create=file", "idmap"]
        );
    }

    #[test]
    fn absolute_destinations_are_paths_of_the_host() {
        let destination = |line, prefixes: &[&str]| {
            parsed(line, prefixes).map(|it| String::from_utf8(it.destination).unwrap())
        };
        let prefixes = ["/c/rootfs", "//c/./rootfs/deep/", "relative"];
        assert_eq!(
            destination("/a /c/rootfs/b none bind", &prefixes).as_deref(),
            Some("/b/")
        );
        assert_eq!(
            destination("/a /c//rootfs/deep/b none bind", &prefixes).as_deref(),
            Some("/b/")
        );
        assert_eq!(destination("/a /c/rootfs2/b none bind", &prefixes), None);
        assert_eq!(destination("/a /b none bind", &[]), None);
        assert_eq!(
            destination("/a b/../c none bind", &prefixes).as_deref(),
            Some("/b/../c")
        );
        let mut config = Config::new(None);
        assert!(add(&mut config, b"/a /b none bind", &[]).unwrap().is_none());
        assert!(config.warnings[0].contains("\"/b\" is passed over"));
    }
}
