//! The "cgroup" mount: cgroup2 where the host has it alone, the v1 hierarchies otherwise. Allocates for v1.

use core::ffi::CStr;
use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::callbacks::Level;
use super::mounts::{bind, filesystem, finish};
use super::target;
use super::{Context, masks, mountinfo};
use crate::error::{Error, Result};
use crate::plan::{Bind, Cgroup, Filesystem, Kind, Mount, Parameter, Shape};
use crate::text::{Escaped, Quoted};

const MOUNTPOINT: &CStr = c"/sys/fs/cgroup";
/// <linux/magic.h>
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

pub fn mount(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    if is_unified()? {
        unified(cx, mount, wanted)
    } else {
        hierarchies(cx, mount, wanted)
    }
}

fn is_unified() -> Result<bool> {
    match rustix::fs::statfs(MOUNTPOINT) {
        #[allow(clippy::useless_conversion)] // f_type has another width elsewhere.
        Ok(filesystem) => Ok(i64::from(filesystem.f_type) == CGROUP2_SUPER_MAGIC),
        Err(errno) => Err(Error::system(errno, "statfs")
            .on(MOUNTPOINT.to_bytes())
            .explain("the host has no cgroups mounted there")),
    }
}

/// EPERM or EBUSY in a user namespace without a cgroup namespace of its own: then what the host has is bound.
fn unified(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    let target = target::of_mount(cx, mount, Shape::Directory)?;
    match cx.way.superblock(cx.fds, &wanted.unified, None) {
        Ok(mut tree) => return finish(cx, mount, &mut tree, &target),
        Err(error) if matches!(error.errno, Errno::PERM | Errno::BUSY) => cx.log(
            Level::Debug,
            format_args!(
                "mounts[{}]: cgroup2 can't be mounted here, and {} is bound: {error}",
                mount.index,
                Quoted(wanted.bind.source.to_bytes())
            ),
        ),
        Err(error) => return Err(error),
    }
    match bind(cx, mount, &wanted.bind) {
        Err(error) if error.errno == Errno::NOENT && wanted.mask_if_missing => {}
        result => return result,
    }
    // A rootless runtime outside its user namespace: the host's hierarchy must not stay writable below (CVE-2023-25809).
    masks::hide_directory(cx.fds, cx.way, target.as_fd(), cx.plan)
        .map(drop)
        .map_err(|error| error.on(mount.destination.as_bytes()))
}

/// A tmpfs with one mount for each hierarchy, and links from the controllers that share one.
fn hierarchies(cx: &Context<'_>, mount: &Mount, wanted: &Cgroup) -> Result<()> {
    filesystem(cx, mount, &wanted.tmpfs)?;
    let tmpfs = target::of_mount(cx, mount, Shape::Directory)?;
    for hierarchy in discover()? {
        let name = hierarchy.name();
        let at = Mount {
            index: mount.index,
            destination: c_string([mount.destination.as_bytes(), b"/", name].concat())?,
            kind: Kind::Filesystem(hierarchy_superblock(
                &hierarchy.controllers,
                wanted.hierarchy,
            )?),
            create: None,
            destination_nofollow: false,
            optional: false,
            surely_missing: false,
            recursive: mount.recursive,
            propagation: mount.propagation.clone(),
            below_shared: mount.below_shared,
        };
        match &at.kind {
            Kind::Filesystem(own) if wanted.namespace => filesystem(cx, &at, own)?,
            _ => {
                let source = Bind {
                    source: c_string(hierarchy.own_directory()?)?,
                    ..clone_bind(&wanted.bind)
                };
                bind(cx, &at, &source)?;
            }
        }
        for controller in name
            .split(|&b| b == b',')
            .filter(|controller| *controller != name)
        {
            match rustix::fs::symlinkat(name, &tmpfs, controller) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::system(errno, "symlinkat").on(controller)),
            }
        }
    }
    Ok(())
}

fn clone_bind(bind: &Bind) -> Bind {
    Bind {
        source: CString::default(),
        source_fd: None,
        link: bind.link,
        recursive: bind.recursive,
        change: bind.change,
        relabel: None,
        idmap: None,
        ask_if_unreachable: bind.ask_if_unreachable,
    }
}

/// In a cgroup namespace a v1 hierarchy is mounted anew and begins at the container's own cgroup.
/// `controllers`: as membership() gives them.
fn hierarchy_superblock(controllers: &[u8], attributes: u64) -> Result<Filesystem> {
    let parameter = |key: &[u8], value: Option<&[u8]>| -> Result<Parameter> {
        Ok(Parameter {
            key: c_string(key.to_vec())?,
            value: value.map(|value| c_string(value.to_vec())).transpose()?,
        })
    };
    let named = controllers.strip_prefix(b"name=");
    let parameters = match named {
        Some(name) => vec![parameter(b"none", None)?, parameter(b"name", Some(name))?],
        None => controllers
            .split(|&b| b == b',')
            .map(|controller| parameter(controller, None))
            .collect::<Result<_>>()?,
    };
    Ok(Filesystem {
        fstype: c"cgroup".into(),
        source: c_string(named.unwrap_or(b"cgroup").to_vec())?,
        parameters,
        attributes,
        plain_target: false,
        copy_mode: false,
        copy_up: None,
        readonly_later: false,
        root_label: None,
        idmap: None,
        instead: None,
    })
}

fn c_string(bytes: Vec<u8>) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::invalid("a cgroup's name has a NUL byte in it"))
}

struct Hierarchy {
    /// "cpu,cpuacct", "name=systemd".
    controllers: Vec<u8>,
    mountpoint: Vec<u8>,
    /// The directory of the hierarchy that is mounted there.
    root: Vec<u8>,
    /// The cgroup of this process in it.
    own: Vec<u8>,
}

impl Hierarchy {
    /// The last component of its mount point: "cpu,cpuacct", "systemd".
    fn name(&self) -> &[u8] {
        crate::sys::resolve::split(&self.mountpoint).1
    }

    /// The cgroup of this process, as a path on the host.
    fn own_directory(&self) -> Result<Vec<u8>> {
        let root = if self.root == b"/" {
            &b""[..]
        } else {
            &self.root
        };
        match self.own.strip_prefix(root) {
            Some(below) => Ok([&self.mountpoint, below].concat()),
            None => Err(Error::invalid(format_args!(
                "the cgroup {} of this process is outside of what is mounted at {}",
                Escaped(&self.own),
                Escaped(&self.mountpoint)
            ))),
        }
    }
}

/// The first mount of each v1 hierarchy that this process is in: cgroups(7).
fn discover() -> Result<Vec<Hierarchy>> {
    let own = mountinfo::read_file("/proc/self/cgroup")?;
    let mut memberships: Vec<(&[u8], &[u8])> =
        own.split(|&b| b == b'\n').filter_map(membership).collect();
    let mut hierarchies = Vec::new();
    for entry in mountinfo::read()?
        .into_iter()
        .filter(|entry| entry.fstype == b"cgroup")
    {
        let is_of = |controllers: &[u8]| {
            controllers.split(|&b| b == b',').any(|controller| {
                entry
                    .options
                    .split(|&b| b == b',')
                    .any(|option| option == controller)
            })
        };
        if let Some(position) = memberships
            .iter()
            .position(|(controllers, _)| is_of(controllers))
        {
            let (controllers, own) = memberships.swap_remove(position);
            hierarchies.push(Hierarchy {
                controllers: controllers.to_vec(),
                mountpoint: entry.mountpoint,
                root: entry.root,
                own: own.to_vec(),
            });
        }
    }
    Ok(hierarchies)
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
    fn the_own_directory_is_below_the_mount_point() {
        let hierarchy = |root: &[u8], own: &[u8]| Hierarchy {
            controllers: b"cpu,cpuacct".to_vec(),
            mountpoint: b"/sys/fs/cgroup/cpu,cpuacct".to_vec(),
            root: root.to_vec(),
            own: own.to_vec(),
        };
        assert_eq!(hierarchy(b"/", b"/x").name(), b"cpu,cpuacct");
        assert_eq!(
            hierarchy(b"/", b"/x").own_directory().unwrap(),
            b"/sys/fs/cgroup/cpu,cpuacct/x"
        );
        assert_eq!(
            hierarchy(b"/x", b"/x/y").own_directory().unwrap(),
            b"/sys/fs/cgroup/cpu,cpuacct/y"
        );
        assert!(hierarchy(b"/z", b"/x").own_directory().is_err());
    }
}
