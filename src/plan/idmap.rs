// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans the mapping of an idmapped mount: the mount's own, crun's in an option, or the container's.

use std::os::fd::RawFd;

use super::{Idmap, Ids, MAX_ID_MAPPINGS, Mappings};
use crate::config::{Config, IdMapping};
use crate::error::{Error, Result};
use crate::text::Quoted;

/// The idmapping that an option asks for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The mounts below are mapped too.
    pub recursive: bool,
    /// The text behind "=".
    pub mapping: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    /// Reads an option such as crun's "idmap=uids=0-1-10#10-11-10;gids=0-100-10". `None` if it is another option.
    pub fn with_mapping(option: &'a [u8]) -> Option<Self> {
        let (recursive, mapping) = match option.strip_prefix(b"idmap=") {
            Some(mapping) => (false, mapping),
            None => (true, option.strip_prefix(b"ridmap=")?),
        };
        Some(Asked {
            recursive,
            mapping: Some(mapping),
        })
    }
}

/// `uids` and `gids` are the mount's own mappings.
pub fn idmap(
    config: &Config,
    (uids, gids): (&[IdMapping], &[IdMapping]),
    userns_fd: Option<RawFd>,
    asked: Option<Asked<'_>>,
) -> Result<Option<Idmap>> {
    check("uidMappings", uids)?;
    check("gidMappings", gids)?;
    let own = match (uids.is_empty(), gids.is_empty()) {
        (true, true) => None,
        (false, false) => Some(Mappings::new(uids, gids)),
        (true, false) => {
            return Err(Error::invalid(
                "uidMappings: missing, though there are gidMappings; the runtime-spec demands both \
                 (config.md, \"Mounts\")",
            ));
        }
        (false, true) => {
            return Err(Error::invalid(
                "gidMappings: missing, though there are uidMappings; the runtime-spec demands both \
                 (config.md, \"Mounts\")",
            ));
        }
    };
    let mapping = asked.and_then(|asked| asked.mapping);
    let mappings = match (own, mapping) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "options: \"idmap=\" and uidMappings and gidMappings exclude each other",
            ));
        }
        (None, Some(text)) => Some(explicit(config, text)?),
        (own, None) => own,
    };
    if let Some(fd) = userns_fd {
        if mappings.is_some() {
            return Err(Error::invalid(
                "userns_fd: it excludes mappings, in uid_mappings, gid_mappings and \"idmap=\"",
            ));
        }
        return Ok(Some(Idmap {
            recursive: asked.is_some_and(|asked| asked.recursive),
            mappings: Ids::Namespace(fd),
        }));
    }
    if asked.is_some() && mappings.is_none() && !config.user_namespace {
        return Err(Error::invalid(
            "options: \"idmap\" or \"ridmap\" without uidMappings and gidMappings takes the mappings \
             of the container's user namespace, but the container has none",
        ));
    }
    if asked.is_none() && mappings.is_none() {
        return Ok(None);
    }
    Ok(Some(Idmap {
        recursive: asked.is_some_and(|asked| asked.recursive),
        mappings: mappings.map_or(Ids::Containers, Ids::Own),
    }))
}

impl Mappings {
    fn new(uids: &[IdMapping], gids: &[IdMapping]) -> Self {
        Mappings {
            uids: text(uids),
            gids: text(gids),
        }
    }
}

fn text(mappings: &[IdMapping]) -> Vec<u8> {
    let line = |m: &IdMapping| format!("{} {} {}\n", m.container_id, m.host_id, m.count);
    mappings.iter().map(line).collect::<String>().into_bytes()
}

/// The mappings in crun's option. If it leaves out the uids or the gids, they are mapped as in the container.
fn explicit(config: &Config, text: &[u8]) -> Result<Mappings> {
    let (mut uids, mut gids) = (None, None);
    for part in text.split(|&b| b == b';').filter(|part| !part.is_empty()) {
        let (given, ranges, containers, field) = if let Some(ranges) = part.strip_prefix(b"uids=") {
            (&mut uids, ranges, &config.uid_mappings, "linux.uidMappings")
        } else if let Some(ranges) = part.strip_prefix(b"gids=") {
            (&mut gids, ranges, &config.gid_mappings, "linux.gidMappings")
        } else {
            return Err(wrong(
                part,
                "begins neither with \"uids=\" nor with \"gids=\"",
            ));
        };
        let parsed = ranges
            .split(|&b| b == b'#')
            .map(|text| range(text, containers, field))
            .collect::<Result<Vec<_>>>()?;
        if given.replace(parsed).is_some() {
            return Err(wrong(part, "is there twice"));
        }
    }
    let complete = |given: Option<Vec<IdMapping>>, containers: &[IdMapping], name| {
        let mappings = given.unwrap_or_else(|| containers.to_vec());
        if mappings.is_empty() {
            return Err(Error::invalid(format_args!(
                "options: \"idmap=\" has no {name}, and the mappings of the container's user namespace are not known"
            )));
        }
        check("options: \"idmap=\"", &mappings).map(|()| mappings)
    };
    Ok(Mappings::new(
        &complete(uids, &config.uid_mappings, "uids")?,
        &complete(gids, &config.gid_mappings, "gids")?,
    ))
}

/// Reads a mapping such as "0-100-10": the first id on the file system, the first id seen through the mount, and the
/// count. With "@" before it the second id is an id in the container.
fn range(text: &[u8], containers: &[IdMapping], field: &str) -> Result<IdMapping> {
    let (relative, numbers) = match text.strip_prefix(b"@") {
        Some(numbers) => (true, numbers),
        None => (false, text),
    };
    let mut numbers = numbers.split(|&b| b == b'-').map(number);
    let parsed = (numbers.next(), numbers.next(), numbers.next());
    let (Some(Some(first)), Some(Some(seen)), Some(Some(count))) = parsed else {
        return Err(wrong(
            text,
            "is not of three numbers with \"-\" between them",
        ));
    };
    if numbers.next().is_some() {
        return Err(wrong(text, "has more than three numbers"));
    }
    let host_id = if relative {
        let end = u64::from(seen) + u64::from(count);
        let position = |m: &IdMapping| {
            let within =
                seen >= m.container_id && end <= u64::from(m.container_id) + u64::from(m.count);
            within.then(|| m.host_id.checked_add(seen - m.container_id))?
        };
        containers.iter().find_map(position).ok_or_else(|| {
            wrong(
                text,
                &format!("lies in no one range of the container's {field}"),
            )
        })?
    } else {
        seen
    };
    Ok(IdMapping {
        container_id: first,
        host_id,
        count,
    })
}

fn number(text: &[u8]) -> Option<u32> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

fn wrong(part: &[u8], what: &str) -> Error {
    Error::invalid(format_args!("options: \"idmap=\": {} {what}", Quoted(part)))
}

fn check(field: &str, mappings: &[IdMapping]) -> Result<()> {
    if mappings.len() > MAX_ID_MAPPINGS {
        return Err(Error::invalid(format_args!(
            "{field}: {} mappings are more than the kernel takes ({MAX_ID_MAPPINGS})",
            mappings.len()
        )));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        if mapping.count == 0 {
            return Err(Error::invalid(format_args!(
                "{field}[{index}].size: it is 0"
            )));
        }
        // The number (uid_t) -1 is no id: user_namespaces(7).
        let ends = [mapping.container_id, mapping.host_id].map(|id| id.checked_add(mapping.count));
        if ends.contains(&None) {
            return Err(Error::invalid(format_args!(
                "{field}[{index}]: it goes beyond the largest id"
            )));
        }
    }
    let overlap = |a: &IdMapping, b: &IdMapping, first: fn(&IdMapping) -> u32| {
        first(a) < first(b) + b.count && first(b) < first(a) + a.count
    };
    for (index, a) in mappings.iter().enumerate() {
        for b in &mappings[..index] {
            if overlap(a, b, |m| m.container_id) || overlap(a, b, |m| m.host_id) {
                return Err(Error::invalid(format_args!(
                    "{field}[{index}]: it overlaps with one before"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let range = |container_id, host_id, count| IdMapping {
            container_id,
            host_id,
            count,
        };
        let mut config = Config::new(None);
        config.user_namespace = true;
        config.uid_mappings = vec![range(0, 0, 1), range(1, 2, 1000)];
        config.gid_mappings = vec![range(0, 500, 100)];
        config
    }

    fn explicit_texts(text: &str) -> Result<(String, String)> {
        let mappings = explicit(&config(), text.as_bytes())?;
        let string = |bytes| String::from_utf8(bytes).unwrap();
        Ok((string(mappings.uids), string(mappings.gids)))
    }

    #[test]
    fn as_in_cruns_manual() {
        let (uids, gids) = explicit_texts("uids=0-1-10#10-11-10;gids=0-100-10").unwrap();
        assert_eq!(uids, "0 1 10\n10 11 10\n");
        assert_eq!(gids, "0 100 10\n");
        assert_eq!(explicit_texts("uids=@1-3-10").unwrap().0, "1 4 10\n");
    }

    #[test]
    fn relative_ids_are_the_containers() {
        let (uids, gids) = explicit_texts("uids=@5000-0-1#7-70000-1;").unwrap();
        assert_eq!(uids, "5000 0 1\n7 70000 1\n");
        assert_eq!(gids, "0 500 100\n", "as in the container");
        for (text, sentence) in [
            ("uids=@0-0-2", "lies in no one range"),
            ("uids=@0-1000-2", "lies in no one range"),
            ("gids=@0-4294967295-4294967295", "lies in no one range"),
            ("uids=0-1", "three numbers"),
            ("uids=0-1-2-3", "more than three"),
            ("uids=0-1--2", "three numbers"),
            ("uids=0-1-4294967296", "three numbers"),
            ("uids=", "three numbers"),
            ("uids=0-1-0", "size: it is 0"),
            ("uids=0-0-2#1-5-2", "overlaps"),
            ("uids=0-0-1;uids=0-0-1", "twice"),
            ("pids=0-0-1", "neither"),
        ] {
            let error = explicit_texts(text).unwrap_err().to_string();
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }
}
