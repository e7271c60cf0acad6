// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sorts a mount's options by their purpose, and finds options that mean nothing.

use super::attributes::{Change, SUPERBLOCK_FLAGS};
use super::{Create, idmap, label};
use crate::config;
use crate::config::options::{self, Effect, effect};
use crate::error::{Error, Result};
use crate::sys::flags::MS_RDONLY;
use crate::text::Quoted;

/// Options that engines give a bind although they mean nothing there: Podman passes on the options of a named volume.
/// A "=" at the end stands for every value.
const IGNORED_FOR_BINDS: [&[u8]; 3] = [b"copy", b"nocopy", b"mode="];

/// Words that people write for an option's real name.
const SYNONYMS: [(&[u8], &str); 5] = [
    (b"read-only", "ro"),
    (b"readonly", "ro"),
    (b"read-write", "rw"),
    (b"readwrite", "rw"),
    (b"writable", "rw"),
];

/// The options of a mount, sorted by their purpose.
#[derive(Default)]
pub struct Options<'a> {
    pub set: u64,
    pub cleared: u64,
    pub propagation: Vec<u64>,
    pub recursive: Option<Change>,
    pub idmap: Option<idmap::Asked<'a>>,
    pub copy_up: bool,
    /// Files are relabelled, for all containers or for this one.
    pub relabel: Option<bool>,
    pub copy_symlink: bool,
    pub source_nofollow: bool,
    pub destination_nofollow: bool,
    pub optional: bool,
    pub create: Option<Create>,
    pub relative: bool,
    pub data: Vec<&'a [u8]>,
    /// There is an option that only a new file system can take.
    pub for_new: bool,
}

impl<'a> Options<'a> {
    pub fn parse(wanted: &'a config::Mount) -> Result<Self> {
        let fstype = wanted.fstype.as_deref().unwrap_or_default();
        let mut parsed = Options::default();
        for option in &wanted.options {
            if let Some(effect) = effect(option) {
                parsed.apply(effect)?;
                continue;
            }
            for piece in split(fstype, option).filter(|piece| !piece.is_empty()) {
                if let Some(effect) = effect(piece) {
                    parsed.apply(effect)?;
                } else if let Some(asked) = idmap::Asked::with_mapping(piece) {
                    parsed.idmap = Some(asked);
                } else {
                    parsed.data.push(piece);
                }
            }
            parsed.for_new |= idmap::Asked::with_mapping(option).is_none();
        }
        Ok(parsed)
    }

    fn apply(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Nothing => {}
            Effect::Set(flags) => {
                self.set |= flags;
                self.cleared &= !flags;
                self.for_new |= is_of_superblock(flags);
            }
            Effect::Clear(flags) => {
                self.set &= !flags;
                self.cleared |= flags;
            }
            Effect::Propagation(flags) => self.propagation.push(flags),
            Effect::Recursive { set, clear } => {
                let before = self.recursive.unwrap_or_default();
                self.recursive = Some(Change {
                    set: (before.set & !clear) | set,
                    clear: (before.clear & !set) | clear,
                });
            }
            Effect::Idmap { recursive } => {
                self.idmap = Some(idmap::Asked {
                    recursive,
                    mapping: None,
                });
            }
            Effect::CopyUp => {
                self.copy_up = true;
                self.for_new = true;
            }
            Effect::Relabel { shared } => {
                if self.relabel.replace(shared) == Some(!shared) {
                    return Err(Error::invalid(
                        "options: \"z\" and \"Z\" exclude each other",
                    ));
                }
            }
            Effect::CopySymlink => self.copy_symlink = true,
            Effect::SourceNoFollow => self.source_nofollow = true,
            Effect::DestinationNoFollow => self.destination_nofollow = true,
            Effect::Optional => self.optional = true,
            Effect::Create(shape) => {
                self.create = Some(shape.map_or(Create::Nothing, Create::Shape))
            }
            Effect::Relative => self.relative = true,
        }
        Ok(())
    }

    /// Refuses options that mean nothing for a bind, because a misspelt "ro" would leave the mount writable. Options
    /// that engines write all the same are passed to `ignored`. In a line of fstab(5) such an option is passed over,
    /// because those files are full of them.
    pub fn check_of_bind(
        &self,
        wanted: &config::Mount,
        mut ignored: impl FnMut(&[u8]),
    ) -> Result<()> {
        if !self.for_new {
            return Ok(());
        }
        for (index, option) in wanted.options.iter().enumerate() {
            if wanted.from_fstab {
                if is_for_new(option) {
                    ignored(option);
                }
                continue;
            }
            let wrong = |reason: &str| {
                Err(Error::invalid(format_args!(
                    "options[{index}]: {} {reason}",
                    Quoted(option)
                )))
            };
            match effect(option) {
                Some(Effect::CopyUp) => return wrong("is for a tmpfs only"),
                Some(Effect::Set(flags)) if is_of_superblock(flags) => {
                    return wrong(
                        "is for a new file system; a bind shows one that is set up already",
                    );
                }
                Some(_) => {}
                None if idmap::Asked::with_mapping(option).is_some() => {}
                None if is_ignored(option) => ignored(option),
                None if option.is_empty() => return wrong("is empty"),
                None => match meant(option) {
                    Some(meant) => {
                        return wrong(&format!(
                            "means nothing for a bind; probably meant: {meant}"
                        ));
                    }
                    None => return wrong("means nothing for a bind; leave it out"),
                },
            }
        }
        Ok(())
    }
}

/// The options one by one. Several may come in one string, as containerd writes an overlay's. With mount(2) the file
/// system would split the string, but fsconfig(2) takes one option at a time. So the string is split here in the same
/// places.
fn pieces(wanted: &config::Mount) -> impl Iterator<Item = &[u8]> {
    let fstype = wanted.fstype.as_deref().unwrap_or_default();
    let whole = wanted.options.iter().map(Vec::as_slice);
    let pieces = whole.flat_map(move |option| split(fstype, option));
    pieces.filter(|piece| !piece.is_empty())
}

fn split<'a>(fstype: &'a [u8], mut rest: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut is_done = false;
    core::iter::from_fn(move || {
        if is_done {
            return None;
        }
        let piece = match separator(fstype, rest) {
            Some(comma) => {
                let piece = &rest[..comma];
                rest = &rest[comma + 1..];
                piece
            }
            None => {
                is_done = true;
                rest
            }
        };
        Some(piece)
    })
}

/// The first comma that ends an option. A comma inside a value does not: a label's commas are in quotes (opt_len() in
/// security/selinux/ hooks.c) or before a category, overlay escapes them (ovl_next_opt() in fs/overlayfs/params.c),
/// and a tmpfs's `mpol` has lists of numbers (shmem_next_opt() in mm/shmem.c).
fn separator(fstype: &[u8], text: &[u8]) -> Option<usize> {
    let is_overlay = fstype == b"overlay";
    let has_lists = matches!(fstype, b"tmpfs" | b"devtmpfs");
    let key = text.split(|&b| b == b'=').next().unwrap_or_default();
    let has_categories = label::is_label(key);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_overlay,
            b'"' => is_quoted = !is_quoted,
            b',' => {
                let is_value = match &text[at + 1..] {
                    [b'0'..=b'9', ..] => has_lists,
                    [b'c', b'0'..=b'9', ..] => has_categories,
                    _ => false,
                };
                if !is_quoted && !is_value {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// If the mount fails, it is passed over.
pub fn is_optional(wanted: &config::Mount) -> bool {
    pieces(wanted).any(|option| effect(option) == Some(Effect::Optional))
}

/// Whether this is an option for a superblock, which a bind does not have.
fn is_of_superblock(flags: u64) -> bool {
    let others = SUPERBLOCK_FLAGS
        .iter()
        .filter(|(flag, _)| *flag != MS_RDONLY);
    others.fold(0, |all, (flag, _)| all | flag) & flags != 0
}

fn is_for_new(option: &[u8]) -> bool {
    match effect(option) {
        Some(Effect::CopyUp) => true,
        Some(Effect::Set(flags)) => is_of_superblock(flags),
        Some(_) => false,
        None => idmap::Asked::with_mapping(option).is_none(),
    }
}

fn is_ignored(option: &[u8]) -> bool {
    IGNORED_FOR_BINDS.iter().any(|known| match known {
        [.., b'='] => option.starts_with(known),
        _ => option == *known,
    })
}

/// The option that was probably meant by an unknown one, in quotes.
fn meant(option: &[u8]) -> Option<String> {
    let parts: Vec<&[u8]> = option
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .collect();
    if parts.len() > 1 {
        let known = parts.iter().all(|part| effect(part).is_some());
        let quoted: Vec<String> = parts.iter().map(|part| Quoted(part).to_string()).collect();
        return known.then(|| format!("{}, each an option of its own", quoted.join(", ")));
    }
    let plain = option.trim_ascii().to_ascii_lowercase();
    if let Some((_, name)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == plain) {
        return Some(format!("\"{name}\""));
    }
    let names = (0..options::COUNT).map(|index| options::name(index).to_bytes());
    let distances = names.map(|name| (distance(&plain, name), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (3 * distance <= plain.len().max(name.len())).then(|| Quoted(name).to_string())
}

/// The number of bytes to insert, remove or replace (Levenshtein's distance).
fn distance(a: &[u8], b: &[u8]) -> usize {
    const LONGEST: usize = 32;
    if a.len() > LONGEST {
        return usize::MAX / 4;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(fstype: &str, option: &str) -> Vec<String> {
        let pieces = split(fstype.as_bytes(), option.as_bytes());
        pieces
            .map(|it| str::from_utf8(it).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn options_are_split_as_the_kernel_does() {
        assert_eq!(split_of("ext4", "a,b=c,d"), ["a", "b=c", "d"]);
        assert_eq!(split_of("ext4", ",a,"), ["", "a", ""]);
        assert_eq!(split_of("ext4", r"a\,b"), [r"a\", "b"]);
        assert_eq!(
            split_of("ext4", r#"context="u:r:t:s0:c1,c2",b"#),
            [r#"context="u:r:t:s0:c1,c2""#, "b"]
        );
        assert_eq!(
            split_of("overlay", r"lowerdir=/a\,b\\,upperdir=/c"),
            [r"lowerdir=/a\,b\\", "upperdir=/c"]
        );
        assert_eq!(
            split_of("ext4", "context=u:r:t:s0:c1,c2,size=5"),
            ["context=u:r:t:s0:c1,c2", "size=5"]
        );
        assert_eq!(
            split_of("tmpfs", "mpol=bind:0,2,size=1m"),
            ["mpol=bind:0,2", "size=1m"]
        );
    }

    #[test]
    fn what_was_meant_is_said() {
        for (option, expected) in [
            (
                "rbind,ro",
                Some(r#""rbind", "ro", each an option of its own"#),
            ),
            (
                "ro, nosuid",
                Some(r#""ro", "nosuid", each an option of its own"#),
            ),
            ("ro,nonsense", None),
            (" ro", Some("\"ro\"")),
            ("RO", Some("\"ro\"")),
            ("readonly", Some("\"ro\"")),
            ("rroo", Some("\"rro\"")),
            ("nosiud", Some("\"nosuid\"")),
            ("rprivat", Some("\"rprivate\"")),
            ("x", None),
            ("nonsense", None),
        ] {
            assert_eq!(meant(option.as_bytes()).as_deref(), expected, "{option}");
        }
        assert_eq!(meant(&[b'r'; 100]), None);
    }
}
