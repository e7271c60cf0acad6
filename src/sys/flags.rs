// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one table of the flags that a mount can have. A flag is one row, which names it as every system call and every
//! mount option does. A new flag is a new row.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_RELATIME, MOUNT_ATTR_STRICTATIME,
};

/// The flags of mount(2), in 64 bits on every machine. The `libc` crate has them as an unsigned long, the type of the
/// system call's argument.
macro_rules! mount_flags {
    ($($name:ident)*) => { $(pub const $name: u64 = libc::$name as u64;)* };
}

mount_flags! {
    MS_BIND MS_DIRSYNC MS_I_VERSION MS_LAZYTIME MS_MANDLOCK MS_NOATIME MS_NODEV MS_NODIRATIME MS_NOEXEC MS_NOSUID
    MS_NOSYMFOLLOW MS_PRIVATE MS_RDONLY MS_REC MS_RELATIME MS_REMOUNT MS_SHARED MS_SILENT MS_SLAVE MS_STRICTATIME
    MS_SYNCHRONOUS MS_UNBINDABLE
}

pub struct MountFlag {
    /// The option that sets the flag, the option that clears it, and the two that also do so on all mounts below:
    /// mount(8), and "Linux mount options" in the runtime-spec's config.md.
    pub set: &'static CStr,
    pub clear: &'static CStr,
    pub set_below: &'static CStr,
    pub clear_below: &'static CStr,
    /// MOUNT_ATTR_* of mount_setattr(2) and fsmount(2).
    pub attribute: u64,
    /// MS_* of mount(2).
    pub ms: u64,
    /// ST_* in the f_flags of statfs(2): calculate_f_flags() in fs/statfs.c. 0 for the one mode of access times that
    /// has no ST_* flag.
    st: u64,
    pub lock: Lock,
}

/// The changes that the kernel refuses on a mount that came from a more privileged user namespace into a less
/// privileged one: lock_mnt_tree() and can_change_locked_flags() in fs/namespace.c, mount_namespaces(7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// No change is refused: the flag has no MNT_LOCK_*.
    Never,
    /// Clearing it is refused.
    Set,
    /// Every change is refused: MNT_LOCK_ATIME, which covers all flags of access times.
    Atime,
}

const fn name(with_nul: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(with_nul.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a name has one NUL, at its end"),
    }
}

macro_rules! flag {
    ($set:literal, $clear:literal, $attribute:expr, $ms:expr, $st:expr, $lock:expr) => {
        MountFlag {
            set: name(concat!($set, "\0")),
            clear: name(concat!($clear, "\0")),
            set_below: name(concat!("r", $set, "\0")),
            clear_below: name(concat!("r", $clear, "\0")),
            attribute: $attribute,
            ms: $ms,
            st: $st,
            lock: $lock,
        }
    };
}

/// The order matters: if mount(2) is given several modes of access times, the last one here wins (path_mount() in
/// fs/namespace.c).
#[rustfmt::skip]
pub const FLAGS: [MountFlag; 9] = [
    //    set            clear            MOUNT_ATTR_*            MS_*            ST_*    locked
    flag!("ro",          "rw",            MOUNT_ATTR_RDONLY,      MS_RDONLY,      0x0001, Lock::Set),
    flag!("nosuid",      "suid",          MOUNT_ATTR_NOSUID,      MS_NOSUID,      0x0002, Lock::Set),
    flag!("nodev",       "dev",           MOUNT_ATTR_NODEV,       MS_NODEV,       0x0004, Lock::Set),
    flag!("noexec",      "exec",          MOUNT_ATTR_NOEXEC,      MS_NOEXEC,      0x0008, Lock::Set),
    flag!("nosymfollow", "symfollow",     MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW, 0x2000, Lock::Never),
    flag!("nodiratime",  "diratime",      MOUNT_ATTR_NODIRATIME,  MS_NODIRATIME,  0x0800, Lock::Atime),
    flag!("relatime",    "norelatime",    MOUNT_ATTR_RELATIME,    MS_RELATIME,    0x1000, Lock::Atime),
    flag!("noatime",     "atime",         MOUNT_ATTR_NOATIME,     MS_NOATIME,     0x0400, Lock::Atime),
    flag!("strictatime", "nostrictatime", MOUNT_ATTR_STRICTATIME, MS_STRICTATIME, 0,      Lock::Atime),
];

impl MountFlag {
    /// Whether the attributes have this flag. A mode of access times is a value of the field MOUNT_ATTR__ATIME, and
    /// every other flag is a bit.
    pub const fn is_atime_mode(&self) -> bool {
        self.attribute & !MOUNT_ATTR__ATIME == 0
    }

    const fn is_among(&self, attributes: u64) -> bool {
        if self.is_atime_mode() {
            attributes & MOUNT_ATTR__ATIME == self.attribute
        } else {
            attributes & self.attribute != 0
        }
    }
}

fn bits() -> impl Iterator<Item = &'static MountFlag> {
    FLAGS.iter().filter(|flag| !flag.is_atime_mode())
}

fn atime_modes() -> impl Iterator<Item = &'static MountFlag> {
    FLAGS.iter().filter(|flag| flag.is_atime_mode())
}

/// The attributes, and the MS_* flags, of the rows that are locked in the same way.
const fn sums(lock: Lock) -> (u64, u64) {
    let (mut attributes, mut ms) = (0, 0);
    let mut index = 0;
    while index < FLAGS.len() {
        if FLAGS[index].lock as u8 == lock as u8 {
            attributes |= FLAGS[index].attribute;
            ms |= FLAGS[index].ms;
        }
        index += 1;
    }
    (attributes, ms)
}

/// The attributes that concern access times, which are set together or not at all.
pub const ATIME: u64 = MOUNT_ATTR__ATIME | sums(Lock::Atime).0;
pub const MS_ATIME: u64 = sums(Lock::Atime).1;

/// All other attributes.
pub const NOT_ATIME: u64 = sums(Lock::Never).0 | sums(Lock::Set).0;

/// The attributes that can't be cleared where they are locked.
pub const LOCKABLE: u64 = sums(Lock::Set).0 | ATIME;

/// The MS_* flags that belong to a mount. The others belong to a superblock, or say what mount(2) does.
pub const MS_MOUNT_FLAGS: u64 = sums(Lock::Never).1 | sums(Lock::Set).1 | MS_ATIME;

/// The attributes that these MS_* flags set.
pub fn named_by_ms(ms: u64) -> u64 {
    let given = FLAGS.iter().filter(|flag| ms & flag.ms != 0);
    given.fold(0, |all, flag| all | flag.attribute)
}

/// The attributes of a new mount that is made with these MS_* flags. Without a mode of access times it is relatime.
pub fn from_ms(ms: u64) -> u64 {
    let given = bits().filter(|flag| ms & flag.ms != 0);
    let mode = atime_modes().filter(|mode| ms & mode.ms != 0).last();
    given.chain(mode).fold(0, |all, flag| all | flag.attribute)
}

/// The MS_* flags for attributes. A mode of access times is always among them, because without one a remount keeps
/// the mount's own.
pub fn to_ms(attributes: u64) -> u64 {
    let given = FLAGS.iter().filter(|flag| flag.is_among(attributes));
    given.fold(0, |all, flag| all | flag.ms)
}

/// The attributes that the f_flags of statfs(2) stand for.
pub fn from_st(st: u64) -> u64 {
    let given = bits().filter(|flag| st & flag.st != 0);
    let given_mode = atime_modes().filter(|mode| st & mode.st != 0).last();
    let mode = given_mode.or_else(|| atime_modes().find(|mode| mode.st == 0));
    given.chain(mode).fold(0, |all, flag| all | flag.attribute)
}

/// The options that set these attributes. relatime is not among them, because its value is 0.
pub fn names(attributes: u64) -> impl Iterator<Item = &'static str> {
    let given = FLAGS
        .iter()
        .filter(move |flag| attributes & flag.attribute != 0);
    given.map(|flag| flag.set.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_kernel() {
        assert_eq!(ATIME, 0x70 | 0x80);
        assert_eq!(MS_ATIME, 0x120_0000 | 0xc00);
        assert_eq!(NOT_ATIME, 0x0f | 0x20_0000);
        assert_eq!(LOCKABLE, 0xff);
        assert_eq!(MS_MOUNT_FLAGS, 0x120_0000 | 0xc00 | 0x100 | 0xf);
    }

    #[test]
    fn every_attribute_goes_to_ms_and_back() {
        for bits in 0..64 {
            for (mode, ms_mode) in [
                (0, MS_RELATIME),
                (MOUNT_ATTR_NOATIME, MS_NOATIME),
                (MOUNT_ATTR_STRICTATIME, MS_STRICTATIME),
            ] {
                // The first four have the same values as MS_* and ST_*.
                let attributes = mode | (bits & 15) | (bits & 16) << 3 | (bits & 32) << 16;
                let ms = ms_mode | (bits & 15) | (bits & 16) << 7 | (bits & 32) << 3;
                assert_eq!(to_ms(attributes), ms);
                assert_eq!(from_ms(ms), attributes);
                let st_mode = [0, 0x400, 0x1000]
                    [(ms_mode == MS_NOATIME) as usize + 2 * (ms_mode == MS_RELATIME) as usize];
                let st = st_mode | (bits & 15) | (bits & 16) << 7 | (bits & 32) << 8;
                assert_eq!(from_st(st), attributes);
            }
        }
    }

    #[test]
    fn of_several_modes_of_access_times_one_wins() {
        let atimes = MS_STRICTATIME | MS_NOATIME | MS_RELATIME;
        assert_eq!(from_ms(atimes), MOUNT_ATTR_STRICTATIME);
        assert_eq!(from_ms(MS_NOATIME | MS_RELATIME), MOUNT_ATTR_NOATIME);
        assert_eq!(from_ms(0), 0);
        assert_eq!(from_st(0x1400), MOUNT_ATTR_NOATIME);
    }

    #[test]
    fn flags_of_others_are_left_out() {
        let others = MS_BIND | MS_REC | MS_SYNCHRONOUS | MS_REMOUNT;
        assert_eq!(from_ms(others), 0);
        assert_eq!(named_by_ms(others), 0);
        assert_eq!(
            named_by_ms(MS_RDONLY | MS_STRICTATIME | MS_NOATIME),
            0x1 | 0x30
        );
        assert_eq!(to_ms(libc::MOUNT_ATTR_IDMAP), MS_RELATIME);
        // ST_MANDLOCK, ST_VALID.
        assert_eq!(from_st(0x1000 | 0x40 | 0x20), 0);
    }

    #[test]
    fn names_are_those_of_the_options_that_set() {
        let all = names(0x20_00bf);
        assert!(all.eq([
            "ro",
            "nosuid",
            "nodev",
            "noexec",
            "nosymfollow",
            "nodiratime",
            "noatime",
            "strictatime"
        ]));
        assert_eq!(names(libc::MOUNT_ATTR_IDMAP).count(), 0);
    }
}
