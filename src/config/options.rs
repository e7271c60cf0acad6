//! The one table of mount options: runtime-spec config.md "Linux mount options", mount(8), mount_setattr(2),
//! and a few of crun's and LXC's.
//! An option that is not here is data for the file system.

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
};
use libc::{
    MS_BIND, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV,
    MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_PRIVATE, MS_RDONLY, MS_REC,
    MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SILENT, MS_SLAVE, MS_STRICTATIME, MS_SYNCHRONOUS,
    MS_UNBINDABLE,
};

/// What a mount point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Directory,
    File,
}

/// What an option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// MS_* to set.
    Set(u64),
    /// MS_* to clear.
    Clear(u64),
    /// MS_PRIVATE and its kin, perhaps with MS_REC.
    Propagation(u64),
    /// MOUNT_ATTR_* of the mount and all below it.
    Recursive {
        set: u64,
        clear: u64,
    },
    /// The mount is idmapped; with all below it.
    Idmap {
        recursive: bool,
    },
    /// A tmpfs begins with what it covers.
    CopyUp,
    /// crun's: a source that is a symbolic link is made anew as one at the destination.
    CopySymlink,
    /// crun's: a source that is a symbolic link is bound itself.
    SourceNoFollow,
    /// crun's: the destination must exist, and if it is a symbolic link it is mounted on itself.
    DestinationNoFollow,
    /// A bind's files are labelled for this container, or for all (SELinux).
    Relabel {
        shared: bool,
    },
    /// LXC's: a mount that fails is passed over.
    Optional,
    /// LXC's: what is made where nothing is.
    Create(Shape),
}

use Effect::{
    Clear, CopySymlink, CopyUp, Create, DestinationNoFollow, Idmap, Nothing, Optional, Propagation,
    Recursive, Relabel, Set, SourceNoFollow,
};

const fn all_below(set: u64) -> Effect {
    Recursive { set, clear: 0 }
}

const fn none_below(clear: u64) -> Effect {
    Recursive { set: 0, clear }
}

/// Access times are one field of three values: it is cleared whole before one is set
/// (mount_setattr(2)). Clearing a value leaves the default, relatime, which is 0.
const fn atime_below(set: u64) -> Effect {
    Recursive {
        set,
        clear: MOUNT_ATTR__ATIME,
    }
}

const TABLE: &[(&[u8], Effect)] = &[
    (b"Z", Relabel { shared: false }),
    (b"async", Clear(MS_SYNCHRONOUS)),
    (b"atime", Clear(MS_NOATIME)),
    (b"bind", Set(MS_BIND)),
    (b"copy-symlink", CopySymlink),
    (b"create=dir", Create(Shape::Directory)),
    (b"create=file", Create(Shape::File)),
    (b"defaults", Nothing),
    (b"dest-nofollow", DestinationNoFollow),
    (b"dev", Clear(MS_NODEV)),
    (b"diratime", Clear(MS_NODIRATIME)),
    (b"dirsync", Set(MS_DIRSYNC)),
    (b"exec", Clear(MS_NOEXEC)),
    (b"idmap", Idmap { recursive: false }),
    (b"iversion", Set(MS_I_VERSION)),
    (b"lazytime", Set(MS_LAZYTIME)),
    (b"loud", Clear(MS_SILENT)),
    (b"mand", Set(MS_MANDLOCK)),
    (b"noatime", Set(MS_NOATIME)),
    (b"nodev", Set(MS_NODEV)),
    (b"nodiratime", Set(MS_NODIRATIME)),
    (b"noexec", Set(MS_NOEXEC)),
    (b"noiversion", Clear(MS_I_VERSION)),
    (b"nolazytime", Clear(MS_LAZYTIME)),
    (b"nomand", Clear(MS_MANDLOCK)),
    (b"norelatime", Clear(MS_RELATIME)),
    (b"nostrictatime", Clear(MS_STRICTATIME)),
    (b"nosuid", Set(MS_NOSUID)),
    (b"nosymfollow", Set(MS_NOSYMFOLLOW)),
    (b"optional", Optional),
    (b"private", Propagation(MS_PRIVATE)),
    (b"ratime", atime_below(0)),
    (b"rbind", Set(MS_BIND | MS_REC)),
    (b"rdev", none_below(MOUNT_ATTR_NODEV)),
    (b"rdiratime", none_below(MOUNT_ATTR_NODIRATIME)),
    (b"relatime", Set(MS_RELATIME)),
    (b"remount", Set(MS_REMOUNT)),
    (b"rexec", none_below(MOUNT_ATTR_NOEXEC)),
    (b"ridmap", Idmap { recursive: true }),
    (b"rnoatime", atime_below(MOUNT_ATTR_NOATIME)),
    (b"rnodev", all_below(MOUNT_ATTR_NODEV)),
    (b"rnodiratime", all_below(MOUNT_ATTR_NODIRATIME)),
    (b"rnoexec", all_below(MOUNT_ATTR_NOEXEC)),
    (b"rnorelatime", atime_below(0)),
    (b"rnostrictatime", atime_below(0)),
    (b"rnosuid", all_below(MOUNT_ATTR_NOSUID)),
    (b"rnosymfollow", all_below(MOUNT_ATTR_NOSYMFOLLOW)),
    (b"ro", Set(MS_RDONLY)),
    (b"rprivate", Propagation(MS_PRIVATE | MS_REC)),
    (b"rrelatime", atime_below(0)),
    (b"rro", all_below(MOUNT_ATTR_RDONLY)),
    (b"rrw", none_below(MOUNT_ATTR_RDONLY)),
    (b"rshared", Propagation(MS_SHARED | MS_REC)),
    (b"rslave", Propagation(MS_SLAVE | MS_REC)),
    (b"rstrictatime", atime_below(MOUNT_ATTR_STRICTATIME)),
    (b"rsuid", none_below(MOUNT_ATTR_NOSUID)),
    (b"rsymfollow", none_below(MOUNT_ATTR_NOSYMFOLLOW)),
    (b"runbindable", Propagation(MS_UNBINDABLE | MS_REC)),
    (b"rw", Clear(MS_RDONLY)),
    (b"shared", Propagation(MS_SHARED)),
    (b"silent", Set(MS_SILENT)),
    (b"slave", Propagation(MS_SLAVE)),
    (b"src-nofollow", SourceNoFollow),
    (b"strictatime", Set(MS_STRICTATIME)),
    (b"suid", Clear(MS_NOSUID)),
    (b"symfollow", Clear(MS_NOSYMFOLLOW)),
    (b"sync", Set(MS_SYNCHRONOUS)),
    (b"tmpcopyup", CopyUp),
    (b"unbindable", Propagation(MS_UNBINDABLE)),
    (b"z", Relabel { shared: true }),
];

/// The effect of an option; `None` if it is the file system's.
pub fn effect(option: &[u8]) -> Option<Effect> {
    let index = TABLE
        .binary_search_by(|(name, _)| (*name).cmp(option))
        .ok()?;
    Some(TABLE[index].1)
}

/// The MS_* flags of a propagation's name: also the values of linux.rootfsPropagation.
pub fn propagation(name: &[u8]) -> Option<u64> {
    match effect(name)? {
        Propagation(flags) => Some(flags),
        _ => None,
    }
}

/// The names of MOUNT_ATTR_* flags, for errors and descriptions.
pub fn attribute_names(attributes: u64) -> impl Iterator<Item = &'static str> {
    [
        (MOUNT_ATTR_RDONLY, "ro"),
        (MOUNT_ATTR_NOSUID, "nosuid"),
        (MOUNT_ATTR_NODEV, "nodev"),
        (MOUNT_ATTR_NOEXEC, "noexec"),
        (MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
        (MOUNT_ATTR_NODIRATIME, "nodiratime"),
        (MOUNT_ATTR_NOATIME, "noatime"),
        (MOUNT_ATTR_STRICTATIME, "strictatime"),
    ]
    .into_iter()
    .filter(move |(bit, _)| attributes & bit != 0)
    .map(|(_, name)| name)
}

/// The name of MS_PRIVATE and its kin.
pub fn propagation_name(flags: u64) -> &'static str {
    TABLE
        .iter()
        .find(|(_, effect)| *effect == Propagation(flags))
        .and_then(|(name, _)| core::str::from_utf8(name).ok())
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_its_search() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
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
        let names: Vec<_> = attribute_names(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME).collect();
        assert_eq!(names, ["ro", "noatime"]);
    }
}
