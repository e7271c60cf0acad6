// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one table of mount options. The options of flags come from `sys::flags`. The others come from "Linux mount
//! options" in the runtime-spec's config.md and from mount(8), and a few from crun and LXC. An option that is not in
//! the table is data for the file system.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use libc::MOUNT_ATTR__ATIME;

use crate::sys::flags::{
    FLAGS, MS_BIND, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_PRIVATE, MS_REC,
    MS_REMOUNT, MS_SHARED, MS_SILENT, MS_SLAVE, MS_SYNCHRONOUS, MS_UNBINDABLE, MountFlag,
};

/// The kind of file that a mount point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Directory,
    File,
}

/// The effect that an option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// Sets these MS_* flags.
    Set(u64),
    /// Clears these MS_* flags.
    Clear(u64),
    /// Sets the propagation: MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, perhaps with MS_REC.
    Propagation(u64),
    /// Changes MOUNT_ATTR_* flags of the mount and of all mounts below it.
    Recursive {
        set: u64,
        clear: u64,
    },
    /// Idmaps the mount, and if `recursive` the mounts below it too.
    Idmap {
        recursive: bool,
    },
    /// The tmpfs gets a copy of the directory that it covers.
    CopyUp,
    /// crun's option: if the source is a symbolic link, the same link is made at the destination.
    CopySymlink,
    /// crun's option: if the source is a symbolic link, the link itself is bound.
    SourceNoFollow,
    /// crun's option: the destination must exist, and if it is a symbolic link the mount goes on the link itself.
    DestinationNoFollow,
    /// Labels a bind's files for this container, or for all containers if `shared` (SELinux).
    Relabel {
        shared: bool,
    },
    /// LXC's option: if the mount fails, it is passed over.
    Optional,
    /// LXC's option: the mount point that is made where none is. `None` makes none.
    Create(Option<Shape>),
    /// LXC's option: a bind's source is a path in the container.
    Relative,
}

use Effect::{
    Clear, CopySymlink, CopyUp, Create, DestinationNoFollow, Idmap, Nothing, Optional, Propagation,
    Recursive, Relabel, Relative, Set, SourceNoFollow,
};

const OTHERS: [(&CStr, Effect); 36] = [
    (c"Z", Relabel { shared: false }),
    (c"async", Clear(MS_SYNCHRONOUS)),
    (c"bind", Set(MS_BIND)),
    (c"copy-symlink", CopySymlink),
    (c"create=dir", Create(Some(Shape::Directory))),
    (c"create=file", Create(Some(Shape::File))),
    (c"create=none", Create(None)),
    (c"defaults", Nothing),
    (c"dest-nofollow", DestinationNoFollow),
    (c"dirsync", Set(MS_DIRSYNC)),
    (c"idmap", Idmap { recursive: false }),
    (c"iversion", Set(MS_I_VERSION)),
    (c"lazytime", Set(MS_LAZYTIME)),
    (c"loud", Clear(MS_SILENT)),
    (c"mand", Set(MS_MANDLOCK)),
    (c"noiversion", Clear(MS_I_VERSION)),
    (c"nolazytime", Clear(MS_LAZYTIME)),
    (c"nomand", Clear(MS_MANDLOCK)),
    (c"optional", Optional),
    (c"private", Propagation(MS_PRIVATE)),
    (c"rbind", Set(MS_BIND | MS_REC)),
    (c"relative", Relative),
    (c"remount", Set(MS_REMOUNT)),
    (c"ridmap", Idmap { recursive: true }),
    (c"rprivate", Propagation(MS_PRIVATE | MS_REC)),
    (c"rshared", Propagation(MS_SHARED | MS_REC)),
    (c"rslave", Propagation(MS_SLAVE | MS_REC)),
    (c"runbindable", Propagation(MS_UNBINDABLE | MS_REC)),
    (c"shared", Propagation(MS_SHARED)),
    (c"silent", Set(MS_SILENT)),
    (c"slave", Propagation(MS_SLAVE)),
    (c"src-nofollow", SourceNoFollow),
    (c"sync", Set(MS_SYNCHRONOUS)),
    (c"tmpcopyup", CopyUp),
    (c"unbindable", Propagation(MS_UNBINDABLE)),
    (c"z", Relabel { shared: true }),
];

const fn below(set: u64, clear: u64) -> Effect {
    Recursive { set, clear }
}

/// The four options of a flag.
const fn of_flag(flag: &MountFlag) -> [(&'static CStr, Effect); 4] {
    let bit = flag.attribute;
    let (set_below, clear_below) = if flag.is_atime_mode() {
        // The mode of access times is one field of three values. mount_setattr(2) wants the field cleared whole
        // before a value is set. Clearing it alone leaves relatime, whose value is 0.
        (below(bit, MOUNT_ATTR__ATIME), below(0, MOUNT_ATTR__ATIME))
    } else {
        (below(bit, 0), below(0, bit))
    };
    [
        (flag.set, Set(flag.ms)),
        (flag.clear, Clear(flag.ms)),
        (flag.set_below, set_below),
        (flag.clear_below, clear_below),
    ]
}

pub const COUNT: usize = OTHERS.len() + 4 * FLAGS.len();

/// Compares two names in the order of their bytes.
static TABLE: [(&CStr, Effect); COUNT] = sorted();

/// The table, sorted by insertion when the library is compiled.
const fn sorted() -> [(&'static CStr, Effect); COUNT] {
    let mut table = [(c"", Nothing); COUNT];
    let mut count = 0;
    while count < COUNT {
        let new = if count < OTHERS.len() {
            OTHERS[count]
        } else {
            let index = count - OTHERS.len();
            of_flag(&FLAGS[index / 4])[index % 4]
        };
        let mut at = count;
        while at > 0 && is_less(new.0, table[at - 1].0) {
            table[at] = table[at - 1];
            at -= 1;
        }
        table[at] = new;
        count += 1;
    }
    table
}

const fn is_less(left: &CStr, right: &CStr) -> bool {
    let (left, right) = (left.to_bytes_with_nul(), right.to_bytes_with_nul());
    let mut index = 0;
    // The loop ends at a NUL at the latest, because all names differ.
    while left[index] == right[index] {
        index += 1;
    }
    left[index] < right[index]
}

/// The name of an option, in the order of their bytes.
pub const fn name(index: usize) -> &'static CStr {
    TABLE[index].0
}

/// The first eight bytes of each name, so that a search compares few names whole.
static BEGINNINGS: [u64; COUNT] = {
    let mut beginnings = [0; COUNT];
    let mut index = 0;
    while index < COUNT {
        beginnings[index] = beginning(TABLE[index].0.to_bytes());
        index += 1;
    }
    beginnings
};

/// The first eight bytes as a number that sorts as the bytes do.
const fn beginning(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let mut index = 0;
    while index < bytes.len() && index < name.len() {
        bytes[index] = name[index];
        index += 1;
    }
    u64::from_be_bytes(bytes)
}

/// The effect of an option. `None` if the option is data for the file system.
pub fn effect(option: &[u8]) -> Option<Effect> {
    let wanted = beginning(option);
    let first = BEGINNINGS.partition_point(|it| *it < wanted);
    let count = BEGINNINGS[first..]
        .iter()
        .take_while(|it| **it == wanted)
        .count();
    let mut alike = TABLE[first..first + count].iter();
    let found = alike.find(|(name, _)| name.to_bytes() == option);
    found.map(|(_, effect)| *effect)
}

/// The MS_* flags of a propagation's name. linux.rootfsPropagation has the same names.
pub fn propagation(name: &[u8]) -> Option<u64> {
    match effect(name)? {
        Propagation(flags) => Some(flags),
        _ => None,
    }
}

/// The name of a propagation's MS_* flags.
pub fn propagation_name(flags: u64) -> &'static str {
    TABLE
        .iter()
        .find(|(_, effect)| *effect == Propagation(flags))
        .and_then(|(name, _)| name.to_str().ok())
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{
        MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
        MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME,
        MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_RDONLY,
        MS_RELATIME, MS_STRICTATIME,
    };

    #[test]
    fn the_table_is_sorted_for_its_search() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (name, effect) in OTHERS {
            assert_eq!(self::effect(name.to_bytes()), Some(effect));
        }
    }

    #[test]
    fn the_options_of_flags_are_those_of_the_runtime_spec() {
        let flags: [(&str, Effect); 36] = [
            ("ro", Set(MS_RDONLY)),
            ("rw", Clear(MS_RDONLY)),
            ("nosuid", Set(MS_NOSUID)),
            ("suid", Clear(MS_NOSUID)),
            ("nodev", Set(MS_NODEV)),
            ("dev", Clear(MS_NODEV)),
            ("noexec", Set(MS_NOEXEC)),
            ("exec", Clear(MS_NOEXEC)),
            ("nosymfollow", Set(MS_NOSYMFOLLOW)),
            ("symfollow", Clear(MS_NOSYMFOLLOW)),
            ("nodiratime", Set(MS_NODIRATIME)),
            ("diratime", Clear(MS_NODIRATIME)),
            ("noatime", Set(MS_NOATIME)),
            ("atime", Clear(MS_NOATIME)),
            ("strictatime", Set(MS_STRICTATIME)),
            ("nostrictatime", Clear(MS_STRICTATIME)),
            ("relatime", Set(MS_RELATIME)),
            ("norelatime", Clear(MS_RELATIME)),
            ("rro", below(MOUNT_ATTR_RDONLY, 0)),
            ("rrw", below(0, MOUNT_ATTR_RDONLY)),
            ("rnosuid", below(MOUNT_ATTR_NOSUID, 0)),
            ("rsuid", below(0, MOUNT_ATTR_NOSUID)),
            ("rnodev", below(MOUNT_ATTR_NODEV, 0)),
            ("rdev", below(0, MOUNT_ATTR_NODEV)),
            ("rnoexec", below(MOUNT_ATTR_NOEXEC, 0)),
            ("rexec", below(0, MOUNT_ATTR_NOEXEC)),
            ("rnosymfollow", below(MOUNT_ATTR_NOSYMFOLLOW, 0)),
            ("rsymfollow", below(0, MOUNT_ATTR_NOSYMFOLLOW)),
            ("rnodiratime", below(MOUNT_ATTR_NODIRATIME, 0)),
            ("rdiratime", below(0, MOUNT_ATTR_NODIRATIME)),
            ("rnoatime", below(MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME)),
            ("ratime", below(0, MOUNT_ATTR__ATIME)),
            (
                "rstrictatime",
                below(MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
            ),
            ("rnostrictatime", below(0, MOUNT_ATTR__ATIME)),
            ("rrelatime", below(0, MOUNT_ATTR__ATIME)),
            ("rnorelatime", below(0, MOUNT_ATTR__ATIME)),
        ];
        assert_eq!(flags.len() + OTHERS.len(), COUNT);
        for (name, expected) in flags {
            assert_eq!(effect(name.as_bytes()), Some(expected), "{name}");
        }
    }

    #[test]
    fn names_go_both_ways() {
        for name in [
            "private", "rprivate", "slave", "rslave", "shared", "rshared",
        ] {
            assert_eq!(
                propagation_name(propagation(name.as_bytes()).unwrap()),
                name
            );
        }
        assert_eq!(propagation(b"ro"), None);
        assert_eq!(effect(b"size=5"), None);
    }
}
