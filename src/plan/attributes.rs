//! MS_* flags, as options name them, in the terms of mount_setattr(2).

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID,
    MS_NOSYMFOLLOW, MS_RDONLY, MS_RELATIME, MS_STRICTATIME,
};

/// The attributes that are bits of their own.
const BITS: [(u64, u64); 5] = [
    (MS_RDONLY, MOUNT_ATTR_RDONLY),
    (MS_NOSUID, MOUNT_ATTR_NOSUID),
    (MS_NODEV, MOUNT_ATTR_NODEV),
    (MS_NOEXEC, MOUNT_ATTR_NOEXEC),
    (MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW),
];
const ALL_BITS: u64 = MOUNT_ATTR_RDONLY
    | MOUNT_ATTR_NOSUID
    | MOUNT_ATTR_NODEV
    | MOUNT_ATTR_NOEXEC
    | MOUNT_ATTR_NOSYMFOLLOW;
const ATIME: u64 = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
/// MS_* flags that are a mount's, not a superblock's.
pub const MS_MOUNT_FLAGS: u64 = MS_RDONLY
    | MS_NOSUID
    | MS_NODEV
    | MS_NOEXEC
    | MS_NOSYMFOLLOW
    | MS_NOATIME
    | MS_NODIRATIME
    | MS_RELATIME
    | MS_STRICTATIME;

/// Attributes to clear and then to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub set: u64,
    pub clear: u64,
}

fn bits(ms: u64) -> u64 {
    BITS.iter()
        .filter(|(flag, _)| ms & flag != 0)
        .fold(0, |all, (_, attribute)| all | attribute)
}

/// The access time attributes, by the rules of path_mount() in fs/namespace.c: strictatime wins, and relatime is the default.
fn atime(ms: u64) -> u64 {
    let mode = if ms & MS_STRICTATIME != 0 {
        MOUNT_ATTR_STRICTATIME
    } else if ms & MS_NOATIME != 0 {
        MOUNT_ATTR_NOATIME
    } else {
        0
    };
    let directories = if ms & MS_NODIRATIME != 0 {
        MOUNT_ATTR_NODIRATIME
    } else {
        0
    };
    mode | directories
}

/// The attributes of a new mount.
pub fn of_new_mount(ms: u64) -> u64 {
    bits(ms) | atime(ms)
}

/// What a bind's options ask of its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindChange {
    set: u64,
    cleared: u64,
    /// A mode of access times was asked for. Otherwise the source's stays: mount(2), MS_REMOUNT.
    atime: Option<u64>,
}

/// Why a bind can't have the attributes asked for, when some of its source's are locked (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    CannotClear(u64),
    CannotChangeAtime(u64),
}

impl BindChange {
    /// `None`: nothing was asked for, and the source's attributes stay as they are.
    pub fn new(set: u64, cleared: u64) -> Option<Self> {
        let is_asked = (set | cleared) & MS_MOUNT_FLAGS != 0;
        is_asked.then(|| Self::exactly(set, cleared))
    }

    /// Also where nothing was asked for: a remount then clears all.
    pub fn exactly(set: u64, cleared: u64) -> Self {
        let atime_flags = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
        let cleared_atime = if cleared & MS_NOATIME != 0 {
            MOUNT_ATTR_NOATIME
        } else {
            0
        } | if cleared & MS_NODIRATIME != 0 {
            MOUNT_ATTR_NODIRATIME
        } else {
            0
        };
        BindChange {
            set: bits(set),
            cleared: bits(cleared) | cleared_atime,
            atime: (set & atime_flags != 0).then(|| atime(set)),
        }
    }

    /// What was asked for replaces what the source has.
    pub fn replacing(&self) -> Change {
        let atime_clear = if self.atime.is_some() { ATIME } else { 0 };
        Change {
            set: self.set | self.atime.unwrap_or(0),
            clear: (ALL_BITS & !self.set) | atime_clear,
        }
    }

    /// What was asked for is added to what the source has, which may be locked. `source`: its MOUNT_ATTR_*.
    pub fn inheriting(&self, source: u64) -> Result<Change, Locked> {
        let cannot_clear = source & self.cleared;
        if cannot_clear != 0 {
            return Err(Locked::CannotClear(cannot_clear));
        }
        if self.atime.is_some_and(|atime| atime != source & ATIME) {
            return Err(Locked::CannotChangeAtime(source & ATIME));
        }
        Ok(Change {
            set: self.set | (source & ALL_BITS),
            clear: 0,
        })
    }
}

/// The MOUNT_ATTR_* of a mount from the f_flags that statfs(2) gives of it (calculate_f_flags() in fs/statfs.c).
pub fn from_statfs(flags: u64) -> u64 {
    // The ST_* flags of <linux/statfs.h>: the same bits as MS_* for these, but not for all.
    const ST_NOATIME: u64 = 0x400;
    const ST_NODIRATIME: u64 = 0x800;
    const ST_RELATIME: u64 = 0x1000;
    const ST_NOSYMFOLLOW: u64 = 0x2000;
    let symfollow = if flags & ST_NOSYMFOLLOW != 0 {
        MOUNT_ATTR_NOSYMFOLLOW
    } else {
        0
    };
    let same = flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    let directories = if flags & ST_NODIRATIME != 0 {
        MOUNT_ATTR_NODIRATIME
    } else {
        0
    };
    let mode = if flags & ST_NOATIME != 0 {
        MOUNT_ATTR_NOATIME
    } else if flags & ST_RELATIME != 0 {
        0
    } else {
        MOUNT_ATTR_STRICTATIME
    };
    bits(same) | symfollow | directories | mode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_without_flags_is_left_alone() {
        assert_eq!(BindChange::new(libc::MS_BIND | libc::MS_REC, 0), None);
        assert_eq!(
            BindChange::new(libc::MS_BIND | libc::MS_SYNCHRONOUS, 0),
            None
        );
        assert!(BindChange::new(libc::MS_BIND, MS_RDONLY).is_some());
    }

    #[test]
    fn flags_replace_and_atime_stays_unless_named() {
        let change = BindChange::new(MS_RDONLY, 0).unwrap().replacing();
        assert_eq!(change.set, MOUNT_ATTR_RDONLY);
        assert_eq!(change.clear, ALL_BITS & !MOUNT_ATTR_RDONLY);
        let change = BindChange::new(MS_NOATIME, 0).unwrap().replacing();
        assert_eq!(change.set, MOUNT_ATTR_NOATIME);
        assert_eq!(change.clear, ALL_BITS | ATIME);
    }

    #[test]
    fn locked_flags_are_inherited_or_an_error() {
        let nosuid = MOUNT_ATTR_NOSUID;
        let ask = |set, cleared| BindChange::new(set, cleared).unwrap();
        assert_eq!(
            ask(MS_RDONLY, 0).inheriting(nosuid),
            Ok(Change {
                set: MOUNT_ATTR_RDONLY | nosuid,
                clear: 0
            })
        );
        assert_eq!(
            ask(MS_RDONLY, MS_NOSUID).inheriting(nosuid),
            Err(Locked::CannotClear(nosuid))
        );
        assert_eq!(
            ask(MS_NOATIME, 0).inheriting(0),
            Err(Locked::CannotChangeAtime(0))
        );
        assert!(ask(MS_RELATIME, 0).inheriting(0).is_ok());
    }

    #[test]
    fn statfs_without_an_atime_flag_means_strictatime() {
        assert_eq!(from_statfs(0), MOUNT_ATTR_STRICTATIME);
        assert_eq!(from_statfs(0x1000 | MS_NODEV), MOUNT_ATTR_NODEV);
        assert_eq!(
            from_statfs(0x2400),
            MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_NOATIME
        );
    }
}
