// SPDX-License-Identifier: MIT OR Apache-2.0
//! Translates the MS_* flags that options name into the terms of mount_setattr(2).

use core::ffi::CStr;

use libc::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
};

use crate::sys::flags::{
    self, ATIME, LOCKABLE, MS_ATIME, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK,
    MS_MOUNT_FLAGS, MS_RDONLY, MS_SYNCHRONOUS, NOT_ATIME,
};

/// The flags of a superblock, and their parameters: vfs_parse_sb_flag() in fs/fs_context.c. The last flag has no
/// parameter there, and only mount(2) takes it.
pub const SUPERBLOCK_FLAGS: [(u64, &CStr); 6] = [
    (MS_RDONLY, c"ro"),
    (MS_SYNCHRONOUS, c"sync"),
    (MS_DIRSYNC, c"dirsync"),
    (MS_LAZYTIME, c"lazytime"),
    (MS_MANDLOCK, c"mand"),
    (MS_I_VERSION, c"iversion"),
];

/// The flag that a superblock's parameter stands for. `None` if it is another parameter.
pub fn superblock_flag(key: &CStr) -> Option<u64> {
    let mut flags = SUPERBLOCK_FLAGS.into_iter();
    flags.find(|(_, name)| *name == key).map(|(flag, _)| flag)
}

/// Attributes to clear, and then attributes to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub set: u64,
    pub clear: u64,
}

/// The change of its attributes that a bind's options ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindChange {
    set: u64,
    cleared: u64,
    /// Whether a mode of access times was asked for. If not, the source's mode stays, as with MS_REMOUNT of mount(2).
    atime: Option<u64>,
    /// Attributes that are neither set nor cleared yet, because that happens later.
    left: u64,
    /// Whether attributes that the options do not name stay as they are.
    keeps_others: bool,
    /// Whether locked attributes stay although options clear them: RFS_OPTION_KEEP_LOCKED.
    keeps_locked: bool,
    /// Whether the source's restrictions are added.
    keeps_restrictions: bool,
}

/// A change that adds to attributes that may be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    pub change: Change,
    /// Attributes that options asked to clear and that stay.
    pub kept: u64,
}

/// The attributes that forbid something to the users of a mount.
const RESTRICTIONS: u64 = MOUNT_ATTR_RDONLY
    | MOUNT_ATTR_NOSUID
    | MOUNT_ATTR_NODEV
    | MOUNT_ATTR_NOEXEC
    | MOUNT_ATTR_NOSYMFOLLOW;

/// Why a bind can't have the attributes that were asked for: some of its source's are locked (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    CannotClear(u64),
    CannotChangeAtime(u64),
}

impl BindChange {
    /// `None` if the options ask for no change, so that the source's attributes stay.
    pub fn new(set: u64, cleared: u64) -> Option<Self> {
        let is_asked = (set | cleared) & MS_MOUNT_FLAGS != 0;
        is_asked.then(|| Self::exactly(set, cleared))
    }

    /// A change even if the options ask for none, because a remount then clears all attributes.
    pub fn exactly(set: u64, cleared: u64) -> Self {
        let attributes = flags::from_ms(set);
        BindChange {
            set: attributes & NOT_ATIME,
            cleared: flags::named_by_ms(cleared),
            atime: (set & MS_ATIME != 0).then_some(attributes & ATIME),
            left: 0,
            keeps_others: false,
            keeps_locked: false,
            keeps_restrictions: false,
        }
    }

    /// Keeps the source's restrictions. Only its nodev can be cleared by an option.
    pub fn keep_restrictions(&mut self) {
        self.cleared &= MOUNT_ATTR_NODEV | !RESTRICTIONS;
        self.keeps_restrictions = true;
    }

    pub fn keeps_restrictions(&self) -> bool {
        self.keeps_restrictions
    }

    /// Whether the options ask for a read-only mount.
    pub fn is_readonly(&self) -> bool {
        self.set & MOUNT_ATTR_RDONLY != 0
    }

    /// Leaves it for later to make the mount read-only.
    pub fn leave_readonly(&mut self) {
        self.left = MOUNT_ATTR_RDONLY;
    }

    pub fn keep_others(&mut self) {
        self.keeps_others = true;
    }

    pub fn keep_locked(&mut self, keep: bool) {
        self.keeps_locked = keep;
    }

    /// The attributes to set, together with the source's that are kept.
    fn set_with(&self, source: u64) -> u64 {
        let kept = if self.keeps_restrictions {
            RESTRICTIONS & !self.cleared
        } else {
            0
        };
        self.set | (source & kept)
    }

    /// The change that replaces the source's attributes with those asked for, except the ones that are kept. `source`
    /// holds the source's MOUNT_ATTR_* flags, which count only if restrictions are kept.
    pub fn replacing(&self, source: u64) -> Change {
        let atime_clear = if self.atime.is_some() { ATIME } else { 0 };
        let set = self.set_with(source);
        let others = if self.keeps_others {
            self.cleared & NOT_ATIME & !set
        } else {
            NOT_ATIME & !set
        };
        Change {
            set: (set | self.atime.unwrap_or(0)) & !self.left,
            clear: (others | atime_clear) & !self.left,
        }
    }

    /// The change that keeps the source's attributes that may be locked, adds those asked for, and replaces the rest.
    /// `source` holds the source's MOUNT_ATTR_* flags.
    pub fn inheriting(&self, source: u64) -> Result<Inherited, Locked> {
        let cannot_clear = source & self.cleared & LOCKABLE;
        if cannot_clear != 0 && !self.keeps_locked {
            return Err(Locked::CannotClear(cannot_clear));
        }
        if self.atime.is_some_and(|atime| atime != source & ATIME) {
            return Err(Locked::CannotChangeAtime(source & ATIME));
        }
        let set = self.set_with(source) | (source & NOT_ATIME & LOCKABLE);
        let change = Change {
            set: set & !self.left,
            clear: source & NOT_ATIME & !set & !self.left,
        };
        Ok(Inherited {
            change,
            kept: cannot_clear,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::flags::{MS_NOATIME, MS_NOSUID, MS_NOSYMFOLLOW, MS_RELATIME};
    use crate::sys::flags::{MS_NODEV, MS_NOEXEC};
    use libc::MOUNT_ATTR_NOATIME;

    #[test]
    fn what_the_source_forbids_is_kept_if_asked_for() {
        let source = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        let cleared = MS_RDONLY | MS_NODEV | MS_NOEXEC;
        let mut change = BindChange::new(0, cleared).unwrap();
        assert_eq!(change.replacing(source).set, 0);
        change.keep_restrictions();
        let expected = source & !MOUNT_ATTR_NODEV;
        assert_eq!(change.replacing(source).set, expected);
        assert_eq!(change.replacing(source).clear, NOT_ATIME & !expected);
        // A locked nodev can't be cleared; the others need not.
        assert_eq!(
            change.inheriting(source),
            Err(Locked::CannotClear(MOUNT_ATTR_NODEV))
        );
        let mut change = BindChange::new(0, MS_RDONLY).unwrap();
        change.keep_restrictions();
        let source = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSYMFOLLOW;
        let expected = Change {
            set: source,
            clear: 0,
        };
        assert_eq!(change.inheriting(source), Ok(inherited(expected)));
    }

    fn inherited(change: Change) -> Inherited {
        Inherited { change, kept: 0 }
    }

    #[test]
    fn a_bind_without_flags_is_left_alone() {
        assert_eq!(BindChange::new(flags::MS_BIND | flags::MS_REC, 0), None);
        assert_eq!(
            BindChange::new(flags::MS_BIND | flags::MS_SYNCHRONOUS, 0),
            None
        );
        assert!(BindChange::new(flags::MS_BIND, MS_RDONLY).is_some());
    }

    #[test]
    fn flags_replace_and_atime_stays_unless_named() {
        let change = BindChange::new(MS_RDONLY, 0).unwrap().replacing(0);
        assert_eq!(change.set, MOUNT_ATTR_RDONLY);
        assert_eq!(change.clear, NOT_ATIME & !MOUNT_ATTR_RDONLY);
        let change = BindChange::new(MS_NOATIME, 0).unwrap().replacing(0);
        assert_eq!(change.set, MOUNT_ATTR_NOATIME);
        assert_eq!(change.clear, NOT_ATIME | ATIME);
    }

    #[test]
    fn locked_flags_are_inherited_or_an_error() {
        let nosuid = MOUNT_ATTR_NOSUID;
        let ask = |set, cleared| BindChange::new(set, cleared).unwrap();
        assert_eq!(
            ask(MS_RDONLY, 0).inheriting(nosuid),
            Ok(inherited(Change {
                set: MOUNT_ATTR_RDONLY | nosuid,
                clear: 0
            }))
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
    fn what_can_not_be_locked_is_replaced() {
        let source = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOSYMFOLLOW;
        for (set, cleared, attributes) in [
            (MS_RDONLY, 0, MOUNT_ATTR_RDONLY),
            (MS_RDONLY, MS_NOSYMFOLLOW, MOUNT_ATTR_RDONLY),
            (0, MS_NOSYMFOLLOW, 0),
        ] {
            assert_eq!(
                BindChange::new(set, cleared).unwrap().inheriting(source),
                Ok(inherited(Change {
                    set: attributes | MOUNT_ATTR_NOSUID,
                    clear: MOUNT_ATTR_NOSYMFOLLOW
                }))
            );
        }
        assert_eq!(
            BindChange::new(MS_NOSYMFOLLOW, 0)
                .unwrap()
                .inheriting(source),
            Ok(inherited(Change {
                set: source,
                clear: 0
            }))
        );
    }
}
