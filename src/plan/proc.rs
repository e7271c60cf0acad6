// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules for mounts on /proc and below it. If a container's /proc is not a real procfs, the runtime's writes of
//! labels and similar files can be led elsewhere: CVE-2019-16884, CVE-2019-19921.

/// Single files that lxcfs and CRIU mount there. They are harmless and have long been in use.
const LXCFS: [&[u8]; 10] = [
    b"/proc/cpuinfo",
    b"/proc/diskstats",
    b"/proc/loadavg",
    b"/proc/meminfo",
    b"/proc/slabinfo",
    b"/proc/stat",
    b"/proc/swaps",
    b"/proc/sys/crypto/fips_enabled",
    b"/proc/sys/kernel/ns_last_pid",
    b"/proc/uptime",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcRule {
    /// Neither /proc nor below it, or one of the allowed files.
    Free,
    /// /proc itself, where only a procfs may be mounted.
    Proc,
    /// Below /proc, where nothing may be mounted.
    Refused,
}

/// What else may be mounted below /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    Nothing,
    /// A file or directory of the container's own procfs, by "relative".
    OwnProcfs,
    /// The same, or a file over a file, by RFS_OPTION_MOUNTS_BELOW_PROC.
    Files,
}

/// `path` must be absolute, without links, ".", ".." and doubled slashes.
pub fn rule(path: &[u8]) -> ProcRule {
    match path.strip_prefix(b"/proc") {
        Some(b"") => ProcRule::Proc,
        Some([b'/', ..]) if !LXCFS.contains(&path) => ProcRule::Refused,
        _ => ProcRule::Free,
    }
}

pub const REFUSED: &str = "nothing may be mounted below /proc but the files that lxcfs provides (cpuinfo, meminfo, \
                           stat, uptime and so on), unless RFS_OPTION_MOUNTS_BELOW_PROC allows it";
pub const NOT_PROCFS: &str = "only a proc file system, new or bound, may be mounted on /proc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proc_and_what_is_below_are_guarded() {
        assert_eq!(rule(b"/proc"), ProcRule::Proc);
        assert_eq!(rule(b"/proc/meminfo"), ProcRule::Free);
        assert_eq!(rule(b"/proc/meminfo/x"), ProcRule::Refused);
        assert_eq!(rule(b"/proc/sys"), ProcRule::Refused);
        assert_eq!(rule(b"/process"), ProcRule::Free);
        assert_eq!(rule(b"/a/proc/sys"), ProcRule::Free);
    }
}
