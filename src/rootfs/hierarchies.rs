// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the cgroup hierarchies that a process is in, by /proc/PID/cgroup and mountinfo: cgroups(7).

use super::mountinfo::{self, Entry};
use crate::error::{During, Error, Result};
use crate::sys::path::{PathBuf, below, components};
use crate::text::Escaped;

/// A hierarchy of cgroup v1 that a process is in, and where it is mounted.
pub struct Hierarchy<'a> {
    /// The controllers or the name, such as "cpu,cpuacct" or "name=systemd".
    pub controllers: &'a [u8],
    /// The cgroup of this process in the hierarchy.
    own: &'a [u8],
    mount: Entry<'a>,
}

impl Hierarchy<'_> {
    pub fn mountpoint(&self) -> rustix::io::Result<PathBuf> {
        self.mount.unescaped_mountpoint()
    }

    /// The cgroup of this process, as a path on the host below the hierarchy's mount point.
    pub fn own_directory(&self, mountpoint: PathBuf) -> Result<PathBuf> {
        let root = self.mount.unescaped_root().during("mmap", b"")?;
        let mut directory = mountpoint;
        let Some(below) = below(root.as_c_str().to_bytes(), self.own) else {
            return Err(Error::invalid(format_args!(
                "the cgroup {} of this process is outside of what is mounted at {}",
                Escaped(self.own),
                Escaped(directory.as_c_str().to_bytes())
            )));
        };
        for component in components(below) {
            directory.push(component).during("open_tree", self.own)?;
        }
        Ok(directory)
    }
}

/// The first mount of each v1 hierarchy that this process is in: cgroups(7).
struct Hierarchies<'a, M> {
    own: &'a [u8],
    mounts: M,
    /// A bit is set for each line of `own` whose hierarchy was found.
    found: u64,
}

/// `own` is the text of /proc/self/cgroup, and `mounts` that of /proc/self/mountinfo.
pub fn discover<'a>(own: &'a [u8], mounts: &'a [u8]) -> impl Iterator<Item = Hierarchy<'a>> {
    Hierarchies {
        own,
        mounts: mountinfo::entries(mounts).filter(|mount| mount.fstype == b"cgroup"),
        found: 0,
    }
}

impl<'a, M: Iterator<Item = Entry<'a>>> Iterator for Hierarchies<'a, M> {
    type Item = Hierarchy<'a>;

    fn next(&mut self) -> Option<Hierarchy<'a>> {
        loop {
            let mount = self.mounts.next()?;
            let is_of = |controllers: &[u8]| {
                let mut options = mount.options.split(|&b| b == b',');
                options.any(|option| controllers.split(|&b| b == b',').any(|it| it == option))
            };
            let lines = self.own.split(|&b| b == b'\n').filter_map(membership);
            // The kernel has far fewer hierarchies.
            let mut lines = (0..u64::BITS).zip(lines);
            let found = self.found;
            let line = lines.find(|(number, (controllers, _))| {
                found & (1 << number) == 0 && is_of(controllers)
            });
            if let Some((number, (controllers, own))) = line {
                self.found |= 1 << number;
                return Some(Hierarchy {
                    controllers,
                    own,
                    mount,
                });
            }
        }
    }
}

/// The cgroup of a process in v2's hierarchy, from the text of its /proc/PID/cgroup. `None` if there is none, or if
/// it is outside of the cgroup namespace: then it begins with "/.." (cgroup_namespaces(7)).
pub fn unified(own: &[u8]) -> Option<&[u8]> {
    let mut lines = own.split(|&b| b == b'\n');
    let own = lines.find_map(|line| line.strip_prefix(b"0::"))?;
    components(own)
        .next()
        .is_some_and(|first| first != b"..")
        .then_some(own)
}

/// Splits a line such as "4:cpu,cpuacct:/path" into the controllers (or "name=systemd") and the path. v2's line has
/// no controllers.
fn membership(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.splitn(3, |&b| b == b':').skip(1);
    let controllers = fields
        .next()
        .filter(|controllers| !controllers.is_empty())?;
    Some((controllers, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_are_read() {
        assert_eq!(
            membership(b"4:cpu,cpuacct:/a:b"),
            Some((&b"cpu,cpuacct"[..], &b"/a:b"[..]))
        );
        assert_eq!(membership(b"0::/"), None);
        assert_eq!(membership(b""), None);
    }

    #[test]
    fn the_unified_hierarchy_has_a_line_without_controllers() {
        assert_eq!(unified(b"4:cpu:/x\n0::/a/b\n"), Some(&b"/a/b"[..]));
        assert_eq!(unified(b"0::/\n"), None);
        assert_eq!(unified(b"0::/../../a\n"), None);
        assert_eq!(unified(b"4:cpu:/x\n"), None);
    }

    #[test]
    fn the_first_mount_of_each_hierarchy_is_found() {
        let own = b"5:cpu,cpuacct:/x/y\n4:name=systemd:/z\n0::/\n";
        let mounts = b"1 0 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            2 0 0:1 / /again rw - cgroup cgroup rw,cpu,cpuacct\n\
            3 0 0:2 /z /a\\040b rw - cgroup cgroup rw,xattr,name=systemd\n\
            4 0 0:3 / /other rw - cgroup cgroup rw,memory\n";
        let found: Vec<_> = discover(own, mounts)
            .map(|it| {
                let mountpoint = it.mountpoint().unwrap();
                let directory = it.own_directory(mountpoint).unwrap();
                (it.controllers.to_vec(), directory.as_c_str().to_owned())
            })
            .collect();
        let expected = [
            (&b"cpu,cpuacct"[..], c"/sys/fs/cgroup/cpu,cpuacct/x/y"),
            (b"name=systemd", c"/a b"),
        ];
        let expected = expected.map(|(controllers, path)| (controllers.to_vec(), path.to_owned()));
        assert_eq!(found, expected);
    }
}
