// SPDX-License-Identifier: MIT OR Apache-2.0
//! The "cgroup" mount: cgroup2 where the host has it alone, the v1 hierarchies otherwise.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::callbacks::Level;
use super::complete::{attach, change_bind};
use super::mountinfo::{self, Entry, unescape};
use super::{Context, filesystem, masks, target};
use crate::error::{During, Error, Result};
use crate::mount::{MountApi, NewSuperblock, Source};
use crate::plan::{CGROUP_MOUNTPOINT, Cgroup, Hierarchies as Asked, Mount, Parameters, Shape};
use crate::sys::fd::{DIRECTORY, open};
use crate::sys::mount::{CGROUP2, FsType};
use crate::sys::path::{Name, PathBuf, below, components};
use crate::text::{Escaped, Quoted};

const MEMBERSHIP: &str = "/proc/self/cgroup";

pub fn mount(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    if wanted.is_unified {
        return unified(cx, mount, wanted);
    }
    match &wanted.hierarchies {
        Asked::All => {}
        Asked::Unified => return unified(cx, mount, wanted),
        Asked::One(controllers) => return one(cx, mount, wanted, controllers),
    }
    match rustix::fs::statfs(CGROUP_MOUNTPOINT) {
        Ok(it) if FsType(it.f_type as u32) == CGROUP2 => unified(cx, mount, wanted),
        Ok(_) => hierarchies(cx, mount, wanted),
        Err(_) if wanted.mask_if_missing => hide(cx, mount),
        Err(errno) => Err(Error::system(errno, "statfs")
            .on(CGROUP_MOUNTPOINT.to_bytes())
            .explain("the host has no cgroups mounted there")),
    }
}

/// The host has cgroup2 where the container's is taken from, and nothing of v1.
pub fn is_unified_alone() -> bool {
    rustix::fs::statfs(CGROUP_MOUNTPOINT).is_ok_and(|it| FsType(it.f_type as u32) == CGROUP2)
}

/// A rootless runtime outside its user namespace: the host's hierarchy must not stay writable below (CVE-2023-25809).
fn hide(cx: &Context<'_>, mount: &Mount) -> Result<()> {
    let target = target::of_mount(&cx.root(), mount, Shape::Directory)?;
    masks::hide_directory(cx.api, target.as_fd(), cx.plan).map(drop)
}

/// EPERM or EBUSY in a user namespace without a cgroup namespace of its own: then what the host has is bound.
fn unified(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    let target = target::of_mount(&cx.root(), mount, Shape::Directory)?;
    let error = match cx.api.superblock(&wanted.unified.superblock()) {
        Ok(tree) => return attach(cx, mount, tree, &target).map(drop),
        Err(error) if matches!(error.errno, Errno::PERM | Errno::BUSY) => error,
        Err(error) => return Err(error),
    };
    let own;
    let source = match wanted.path.as_deref() {
        Some(path) => path,
        None => {
            own = own_directory(wanted)?;
            own.as_c_str()
        }
    };
    cx.log(
        Level::Debug,
        format_args!(
            "mounts[{}]: cgroup2 can't be mounted here, and {} is bound: {error}",
            mount.index,
            Quoted(source.to_bytes())
        ),
    );
    match bind(cx, mount, wanted, source, false, target.as_fd()) {
        Err(error) if error.errno == Errno::NOENT && wanted.mask_if_missing => {
            masks::hide_directory(cx.api, target.as_fd(), cx.plan).map(drop)
        }
        result => result,
    }
}

/// The directory of this process's cgroup: what the caller knows only after the clone. It is the whole hierarchy if
/// there is no cgroup namespace, or none but its root is seen.
fn own_directory(wanted: &Cgroup) -> Result<PathBuf> {
    let mut path = match wanted.hierarchies {
        Asked::Unified => unified_mountpoint()?,
        _ => PathBuf::new(CGROUP_MOUNTPOINT.to_bytes()).during("mmap", b"")?,
    };
    if !wanted.namespace {
        return Ok(path);
    }
    let text = mountinfo::read_file(MEMBERSHIP)?;
    let mut lines = text.split(|&b| b == b'\n');
    let Some(own) = lines.find_map(|line| line.strip_prefix(b"0::")) else {
        return Ok(path);
    };
    // A cgroup outside of the namespace's begins with "/..": cgroup_namespaces(7).
    if components(own).next().is_none_or(|first| first == b"..") {
        return Ok(path);
    }
    for component in components(own) {
        path.push(component).during("open_tree", own)?;
    }
    Ok(path)
}

/// Where the host has cgroup2, alone or beside v1.
fn unified_mountpoint() -> Result<PathBuf> {
    let mounts = mountinfo::read_file("/proc/self/mountinfo")?;
    let mut all = mountinfo::entries(&mounts).filter(|mount| mount.fstype == b"cgroup2");
    let Some(first) = all.next() else {
        return Err(not_there(
            "options: \"unified\", but the host has no cgroup2 mounted",
        ));
    };
    unescaped(first.mountpoint).during("mmap", b"")
}

fn not_there(sentence: &'static str) -> Error {
    Error::check(Errno::NODEV, sentence)
}

/// One hierarchy of v1, which is mounted itself.
fn one(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup, controllers: &CStr) -> Result<()> {
    let own = mountinfo::read_file(MEMBERSHIP)?;
    let mounts = mountinfo::read_file("/proc/self/mountinfo")?;
    let found = discover(&own, &mounts).find(|it| has_all(it.controllers, controllers.to_bytes()));
    let Some(hierarchy) = found else {
        return Err(not_there(
            "the host has no hierarchy of cgroup v1 with these controllers mounted that this process is in",
        ));
    };
    let target = target::of_mount(&cx.root(), mount, Shape::Directory)?;
    attach_hierarchy(cx, mount, wanted, &hierarchy, target.as_fd())
}

/// Whether all that are wanted are among a hierarchy's controllers.
fn has_all(controllers: &[u8], wanted: &[u8]) -> bool {
    let mut wanted = wanted.split(|&b| b == b',');
    wanted.all(|wanted| controllers.split(|&b| b == b',').any(|it| it == wanted))
}

fn bind(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Cgroup,
    source: &CStr,
    recursive: bool,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let path = Source::Path {
        path: source,
        follow: true,
    };
    // A lifetime of its own: the name is that of the source, which may be made here.
    let api: &MountApi = cx.api;
    let tree = api.clone(path, recursive, source.to_bytes())?;
    if let Some(change) = &wanted.change {
        change_bind(cx, mount, &tree, change, tree.name())?;
    }
    attach(cx, mount, tree, target).map(drop)
}

/// A tmpfs with one mount for each hierarchy, and links from the controllers that share one.
fn hierarchies(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    let own = mountinfo::read_file(MEMBERSHIP)?;
    let mounts = mountinfo::read_file("/proc/self/mountinfo")?;
    if discover(&own, &mounts).next().is_none() {
        if wanted.mask_if_missing {
            return hide(cx, mount);
        }
        return Err(Error::check(
            Errno::NODEV,
            "the host has no cgroup hierarchy mounted that this process is in",
        ));
    }
    let tmpfs = filesystem::make(cx, mount, &wanted.tmpfs)?;
    let mut all = discover(&own, &mounts);
    all.try_for_each(|hierarchy| add(cx, mount, wanted, &tmpfs, &hierarchy))
        .inspect_err(|_| {
            // What is not complete must not stay. If this fails, too, the first error tells why.
            let _ = crate::mount::unmount(&tmpfs);
        })
}

fn add(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Cgroup,
    tmpfs: &OwnedFd,
    hierarchy: &Hierarchy<'_>,
) -> Result<()> {
    let mountpoint = hierarchy.mountpoint().during("mmap", b"")?;
    let path = mountpoint.as_c_str().to_bytes();
    let name = components(path).last().unwrap_or_default();
    let directory = Name::new(name).during("mkdirat", name)?;
    rustix::fs::mkdirat(tmpfs, &*directory, Mode::from_raw_mode(0o755)).during("mkdirat", name)?;
    let target = open(tmpfs, &*directory, DIRECTORY).during("openat", name)?;
    attach_hierarchy(cx, mount, wanted, hierarchy, target.as_fd())?;
    for controller in name
        .split(|&b| b == b',')
        .filter(|controller| *controller != name)
    {
        let link = Name::new(controller).during("symlinkat", controller)?;
        match rustix::fs::symlinkat(&*directory, tmpfs, &*link) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::system(errno, "symlinkat").on(controller)),
        }
    }
    Ok(())
}

fn attach_hierarchy(
    cx: &Context<'_>,
    mount: &Mount,
    wanted: &Cgroup,
    hierarchy: &Hierarchy<'_>,
    target: BorrowedFd<'_>,
) -> Result<()> {
    if wanted.namespace {
        // In a cgroup namespace a hierarchy is mounted anew, and begins at the container's own cgroup.
        let controllers = Controllers(hierarchy.controllers);
        let source = Name::new(controllers.named().unwrap_or(b"cgroup"))
            .during("fsconfig", hierarchy.controllers)?;
        let api: &MountApi = cx.api;
        let tree = api.superblock(&NewSuperblock {
            fstype: c"cgroup",
            source: &source,
            parameters: &controllers,
            mode: None,
            attributes: wanted.hierarchy,
            needs_mount2: false,
            layers: None,
        })?;
        return attach(cx, mount, tree, target).map(drop);
    }
    let source = hierarchy.own_directory(hierarchy.mountpoint().during("mmap", b"")?)?;
    bind(cx, mount, wanted, source.as_c_str(), true, target)
}

/// "cpu,cpuacct", "name=systemd", as parameters of a v1 hierarchy.
struct Controllers<'a>(&'a [u8]);

impl<'a> Controllers<'a> {
    fn named(&self) -> Option<&'a [u8]> {
        self.0.strip_prefix(b"name=")
    }
}

impl Parameters for Controllers<'_> {
    fn each(&self, set: &mut dyn FnMut(&CStr, Option<&CStr>) -> Result<()>) -> Result<()> {
        if let Some(name) = self.named() {
            set(c"none", None)?;
            return set(c"name", Some(&*Name::new(name).during("fsconfig", name)?));
        }
        self.0.split(|&b| b == b',').try_for_each(|controller| {
            set(&Name::new(controller).during("fsconfig", controller)?, None)
        })
    }
}

struct Hierarchy<'a> {
    /// "cpu,cpuacct", "name=systemd".
    controllers: &'a [u8],
    /// The cgroup of this process in it.
    own: &'a [u8],
    mount: Entry<'a>,
}

impl Hierarchy<'_> {
    fn mountpoint(&self) -> rustix::io::Result<PathBuf> {
        unescaped(self.mount.mountpoint)
    }

    /// The cgroup of this process, as a path on the host below the hierarchy's mount point.
    fn own_directory(&self, mountpoint: PathBuf) -> Result<PathBuf> {
        let root = unescaped(self.mount.root).during("mmap", b"")?;
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

fn unescaped(field: &[u8]) -> rustix::io::Result<PathBuf> {
    let mut bytes = crate::sys::page::Grown::new();
    for byte in unescape(field) {
        bytes.push(byte)?;
    }
    PathBuf::new(&bytes)
}

/// The first mount of each v1 hierarchy that this process is in: cgroups(7).
struct Hierarchies<'a, M> {
    own: &'a [u8],
    mounts: M,
    /// A bit for each line of `own` whose hierarchy was found.
    found: u64,
}

/// `own`: /proc/self/cgroup. `mounts`: /proc/self/mountinfo.
fn discover<'a>(own: &'a [u8], mounts: &'a [u8]) -> impl Iterator<Item = Hierarchy<'a>> {
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

/// "4:cpu,cpuacct:/path": the controllers (or "name=systemd") and the path. v2's line has no controllers.
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
    fn a_path_lies_below_another_by_components() {
        assert_eq!(below(b"/", b"/x"), Some(&b"/x"[..]));
        assert_eq!(below(b"/x", b"/x/y"), Some(&b"/y"[..]));
        assert_eq!(below(b"/x", b"/x"), Some(&b""[..]));
        assert_eq!(below(b"/x", b"/xset/y"), None);
        assert_eq!(below(b"/z", b"/x"), None);
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
