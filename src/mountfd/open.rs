//! A mount opened for the container: a detached clone, complete when it is handed over.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{Namespaces, Need, Wanted};
use crate::detached::{change_attributes, clone_descriptor, clone_source, superblock};
use crate::error::{During, Error, Result};
use crate::plan::{Bind, Filesystem, Idmap, Kind, Mount, Plan, Switch};
use crate::sys::fd::{self, Fd, Fds};
use crate::sys::flags;
use crate::sys::mount::{Attributes, clone_tree, set_attributes};

/// Opens what the plan has. The error does not tell which.
pub fn open<'a>(
    plan: &'a Plan,
    wanted: Wanted<'a>,
    namespaces: &mut Namespaces<'a>,
) -> Result<OwnedFd> {
    let fds = Fds::new();
    let opened = match wanted {
        Wanted::Rootfs(Some(mapping)) => rootfs(&fds, plan, mapping, namespaces),
        Wanted::Mount(mount) if wanted.need() != Need::Never => match &mount.kind {
            Kind::Bind(it) => bind(&fds, plan, mount, it, namespaces),
            Kind::Filesystem(it) => filesystem(&fds, mount, it, namespaces),
            Kind::Cgroup(_) | Kind::Remount(_) => Err(needless()),
        },
        _ => Err(needless()),
    };
    opened.map(Fd::release).map_err(|error| match error.errno {
        Errno::PERM if error.details().explanation.is_empty() => error.explain(
            "it takes CAP_SYS_ADMIN in the user namespace that owns this mount namespace, and no seccomp policy against the call",
        ),
        Errno::NOSYS if error.details().explanation.is_empty() => error.explain(
            "mounts are opened with mount_setattr(2), of Linux 5.12, or fsopen(2), which this kernel or sandbox does not have",
        ),
        _ => error,
    })
}

fn needless() -> Error {
    Error::invalid(
        "the container's process makes this mount itself: only what is idmapped, and binds by path, are opened on the host's side",
    )
}

fn bind<'f, 'a>(
    fds: &'f Fds,
    plan: &Plan,
    mount: &Mount,
    bind: &'a Bind,
    namespaces: &mut Namespaces<'a>,
) -> Result<Fd<'f>> {
    let tree = match bind.source_fd {
        Some(raw) => clone_descriptor(fds, bind, raw)?,
        None => clone_source(fds, bind)
            .during("open_tree", bind.source.as_bytes())
            .map_err(explain_source)?,
    };
    set_propagation(plan, &tree)?;
    // The container's process sets them, too; but not before it has relabelled, which "ro" would forbid.
    if bind.relabel.is_none() {
        set_attributes_of(&tree, mount, bind)?;
    }
    if let Some(mapping) = &bind.idmap {
        idmap(&tree, mapping, namespaces)?;
    }
    Ok(tree)
}

/// A new superblock, which is the host's own: with its privilege, and not of the container's user namespace.
fn filesystem<'f, 'a>(
    fds: &'f Fds,
    mount: &Mount,
    wanted: &'a Filesystem,
    namespaces: &mut Namespaces<'a>,
) -> Result<Fd<'f>> {
    let tree = superblock(fds, wanted, None)?;
    if let Some(recursive) = mount.recursive {
        set_attributes(&tree, c"", true, &recursive.into()).during("mount_setattr", b"")?;
    }
    if let Some(mapping) = &wanted.idmap {
        idmap(&tree, mapping, namespaces)?;
    }
    Ok(tree)
}

fn rootfs<'f, 'a>(
    fds: &'f Fds,
    plan: &Plan,
    mapping: &'a Idmap,
    namespaces: &mut Namespaces<'a>,
) -> Result<Fd<'f>> {
    let path = plan.rootfs.path.as_bytes();
    let opened;
    let directory = match plan.rootfs.fd {
        Some(raw) => fd::borrow(raw)
            .during("fcntl", path)
            .map_err(|error| error.explain(format_args!("rootfs_fd {raw} is not open here")))?,
        None => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(CWD, &plan.rootfs.path, flags, Mode::empty());
            opened = fds.own(directory.during("openat", path)?);
            opened.as_fd()
        }
    };
    let tree = clone_tree(fds, directory, c"", true)
        .during("open_tree", path)
        .map_err(explain_source)?;
    set_propagation(plan, &tree)?;
    idmap(&tree, mapping, namespaces)?;
    Ok(tree)
}

fn set_attributes_of(tree: &Fd<'_>, mount: &Mount, bind: &Bind) -> Result<()> {
    if let Some(change) = &bind.change {
        change_attributes(None, tree.as_fd(), change)?;
    }
    match mount.recursive {
        Some(recursive) => {
            set_attributes(tree, c"", true, &recursive.into()).during("mount_setattr", b"")
        }
        None => Ok(()),
    }
}

fn explain_source(error: Error) -> Error {
    match error.errno {
        Errno::NOENT => error.explain("the source does not exist on the host either"),
        Errno::INVAL => error.explain("the source lies on an unbindable mount, or has mounts below that are locked: then it must be bound recursively (rbind)"),
        Errno::PERM => error.explain("cloning mounts takes CAP_SYS_ADMIN in the user namespace that owns this mount namespace"),
        Errno::NOSYS => error.explain("mounts are opened by open_tree(2), which this kernel or sandbox does not have"),
        _ => error,
    }
}

/// What the source's copy in the container's namespace would have: a clone of a shared mount would
/// carry the container's mounts to the host.
fn set_propagation(plan: &Plan, tree: &Fd<'_>) -> Result<()> {
    if plan.switch == Switch::Chroot {
        return Ok(());
    }
    let set = |flags| {
        let name = crate::config::options::propagation_name(flags).as_bytes();
        let attributes = Attributes::propagation(flags & !flags::MS_REC);
        set_attributes(tree, c"", true, &attributes).during("mount_setattr", name)
    };
    // Copies in a less privileged namespace are slaves: mount_namespaces(7).
    if plan.user_namespace {
        set(flags::MS_SLAVE | flags::MS_REC)?;
    }
    match plan.start_propagation() {
        flags if flags & flags::MS_REC != 0 => set(flags),
        _ => Ok(()),
    }
}

fn idmap<'a>(tree: &Fd<'_>, idmap: &'a Idmap, namespaces: &mut Namespaces<'a>) -> Result<()> {
    let namespace = namespaces.of(idmap)?;
    set_attributes(tree, c"", idmap.recursive, &Attributes::idmapped(namespace))
        .during("mount_setattr", b"idmap")
        .map_err(|error| explain_idmap(error, tree, idmap.recursive))
}

fn explain_idmap(error: Error, tree: &Fd<'_>, recursive: bool) -> Error {
    let below = if recursive {
        ", or one mounted below it,"
    } else {
        ""
    };
    match error.errno {
        Errno::INVAL => error.explain(format_args!(
            "{}{below} does not support idmapped mounts on this kernel, or the mapping is empty or the file system's own",
            Type::of(tree)
        )),
        Errno::PERM => error.explain(format_args!(
            "idmapping takes CAP_SYS_ADMIN in the user namespace that owns the file system and in that with the mapping; nor may the source{below} be idmapped already"
        )),
        Errno::NOSYS => error.explain("idmapped mounts need mount_setattr(2), of Linux 5.12"),
        _ => error,
    }
}

/// The type of a file system, by what statfs(2) tells: <linux/magic.h>.
struct Type(i64);

impl Type {
    fn of(tree: &Fd<'_>) -> Self {
        #[allow(clippy::useless_conversion)] // f_type has another width elsewhere.
        Type(rustix::fs::fstatfs(tree).map_or(0, |it| i64::from(it.f_type)))
    }
}

impl core::fmt::Display for Type {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = match self.0 {
            0x9fa0 => "proc",
            0x6265_6572 => "sysfs",
            0x6367_7270 => "cgroup2",
            0x0027_e0eb => "cgroup",
            0x1cd1 => "devpts",
            0x1980_0202 => "mqueue",
            0x0102_1994 => "tmpfs",
            0x8584_58f6 => "ramfs",
            0x794c_7630 => "overlay",
            0x6969 => "nfs",
            0x6573_5546 => "fuse",
            0x0102_1997 => "9p",
            0xef53 => "ext4",
            0x5846_5342 => "xfs",
            0x9123_683e => "btrfs",
            other => return write!(f, "the source's file system (type {other:#x})"),
        };
        write!(f, "the source's file system ({name})")
    }
}
