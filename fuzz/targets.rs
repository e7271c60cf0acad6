// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is fuzzed: a function for each parser of bytes that somebody else wrote. A panic is a finding; what the bytes
//! become is checked as far as it can be without a second parser. `make fuzz` gives them to cargo-fuzz, and
//! tests/fuzz.rs gives them the corpus and changes of it.

use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd};

use rfs::config::{Config, Mount, fstab, oci, options};
use rfs::error::Error;
use rfs::mountfd;
use rfs::plan::Plan;
use rfs::rootfs::{hierarchies, mountinfo};
use rfs::text::Escaped;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};

/// Gives whether it took what it was given.
pub type Target = fn(&[u8]) -> bool;

/// By the names of their corpora.
pub const TARGETS: [(&str, Target); 6] = [
    ("config", config),
    ("options", mount_options),
    ("fstab", fstab_lines),
    ("mountinfo", mountinfo_file),
    ("cgroup", cgroup_files),
    ("mountfd", mountfd_packets),
];

/// A config.json.
pub fn config(json: &[u8]) -> bool {
    oci::parse(json, b"/bundle")
        .map_err(sentence)
        .is_ok_and(|config| plan(&config))
}

/// A mount's type, source, destination and options, a line each.
pub fn mount_options(lines: &[u8]) -> bool {
    let mut lines = lines.split(|&b| b == b'\n').map(<[u8]>::to_vec);
    let mut config = Config::new(Some(b"/bundle/rootfs".to_vec()));
    config.bundle = Some(b"/bundle".to_vec());
    config.mounts.push(Mount {
        fstype: lines.next().filter(|it| !it.is_empty()),
        source: lines.next().filter(|it| !it.is_empty()),
        destination: lines.next().unwrap_or_default(),
        options: lines.collect(),
        ..Mount::default()
    });
    for option in &config.mounts[0].options {
        let known =
            (0..options::COUNT).any(|index| options::name(index).to_bytes() == option.as_slice());
        assert_eq!(options::effect(option).is_some(), known);
    }
    plan(&config)
}

/// Lines of LXC's, and all that come to be mounts as one plan.
pub fn fstab_lines(lines: &[u8]) -> bool {
    let mut config = Config::new(Some(b"/c/rootfs".to_vec()));
    let prefixes = [b"/c/rootfs".to_vec(), b"/c//rootfs/deep/".to_vec()];
    for line in lines.split_inclusive(|&b| b == b'\n') {
        let before = config.mounts.len();
        let added = fstab::add(&mut config, line, &prefixes);
        let index = added.map_err(sentence).ok().flatten();
        assert_eq!(index, (config.mounts.len() > before).then_some(before));
    }
    !config.mounts.is_empty() && plan(&config)
}

/// /proc/PID/mountinfo.
pub fn mountinfo_file(text: &[u8]) -> bool {
    for entry in mountinfo::entries(text) {
        for field in [entry.root, entry.mountpoint] {
            assert!(mountinfo::unescape(field).count() <= field.len());
        }
        for path in [entry.unescaped_root(), entry.unescaped_mountpoint()] {
            assert!(
                path.is_ok_and(|it| it.as_c_str().to_bytes().starts_with(b"/"))
                    || text.len() > 4000
            );
        }
    }
    mountinfo::entries(text).next().is_some()
}

/// /proc/PID/cgroup, an empty line, and /proc/PID/mountinfo.
pub fn cgroup_files(both: &[u8]) -> bool {
    let middle = both.windows(2).position(|it| it == b"\n\n");
    let (own, mounts) = both.split_at(middle.map_or(both.len(), |at| at + 1));
    if let Some(path) = hierarchies::unified(own) {
        assert!(!path.contains(&b'\n'));
    }
    let lines = own.split(|&b| b == b'\n').count();
    let mut found = 0;
    for hierarchy in hierarchies::discover(own, mounts) {
        found += 1;
        assert!(!hierarchy.controllers.is_empty());
        let Ok(mountpoint) = hierarchy.mountpoint() else {
            continue;
        };
        let above = mountpoint.as_c_str().to_owned();
        let Ok(directory) = hierarchy.own_directory(mountpoint).map_err(sentence) else {
            continue;
        };
        assert!(
            directory
                .as_c_str()
                .to_bytes()
                .starts_with(above.to_bytes())
                || above.as_c_str() == c"/"
        );
    }
    assert!(found <= lines);
    found > 0
}

/// What a peer sends, of which the first byte tells the kind of socket: to the host's side, whose plan has a mount that
/// may be asked for and one that may not, and as an answer to the container's side.
pub fn mountfd_packets(bytes: &[u8]) -> bool {
    let Some((kind, packet)) = bytes.split_first() else {
        return false;
    };
    let kind = if kind % 2 == 0 {
        SocketType::SEQPACKET
    } else {
        SocketType::STREAM
    };
    let mut config = Config::new(Some(b"/bundle/rootfs".to_vec()));
    for from_host in [false, true] {
        config.mounts.push(Mount {
            destination: b"/mnt".to_vec(),
            fstype: Some(b"bind".to_vec()),
            source: Some(b"/no/such/source".to_vec()),
            from_host,
            ..Mount::default()
        });
    }
    let plan = Plan::new(&config).unwrap();
    let mut was_answered = false;
    for is_host in [true, false] {
        let pair = socketpair(
            AddressFamily::UNIX,
            kind,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        );
        let (ours, peers) = pair.unwrap();
        let _ = rustix::net::send(&peers, packet, rustix::net::SendFlags::NOSIGNAL);
        rustix::net::shutdown(&peers, Shutdown::Write).unwrap();
        let raw = ours.as_fd().as_raw_fd();
        if is_host {
            was_answered = mountfd::answer(&plan, raw, -1, -1)
                .map_err(sentence)
                .is_ok();
        } else {
            // No descriptor comes with it.
            sentence(mountfd::request(raw, 1).unwrap_err());
        }
    }
    was_answered
}

/// What it becomes can be described, one JSON object a line.
fn plan(config: &Config) -> bool {
    let Ok(plan) = Plan::new(config).map_err(sentence) else {
        return false;
    };
    let mut text = Vec::new();
    plan.describe(&mut text).unwrap();
    for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        assert!(
            serde_json::from_slice::<serde_json::Value>(line)
                .unwrap()
                .is_object()
        );
    }
    for warning in &plan.warnings {
        is_plain(String::from_utf8_lossy(warning.to_bytes()));
    }
    true
}

/// An error says something, and nothing that a terminal obeys.
fn sentence(error: Error) {
    assert!(!error.to_string().is_empty());
    is_plain(error);
}

fn is_plain(text: impl Display) {
    let text = text.to_string();
    assert_eq!(text, Escaped(text.as_bytes()).to_string());
}
