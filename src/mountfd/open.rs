// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens a mount for the container: a detached clone or a new file system. It is complete before it is handed over.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use super::wire::{ANSWER, Answer};
use super::{Namespaces, Wanted};
use crate::error::{During, Error, Result};
use crate::explain::{self, Base};
use crate::mount::{MountApi, Source, Tree};
use crate::plan::{Bind, Idmap, Kind, Mount, Plan, Switch};
use crate::sys::fd::{self, CallersFd, DIRECTORY};
use crate::sys::flags;
use crate::sys::mount::{Attributes, FsType, fs_type};
use crate::sys::{namespace, process};

/// Opens a mount of the plan. The caller adds to the error which mount it was.
pub fn open_wanted<'a>(
    plan: &'a Plan,
    wanted: Wanted<'a>,
    namespaces: &mut Namespaces<'a>,
) -> Result<OwnedFd> {
    let opened = match namespaces.mounts() {
        None => open_here(plan, wanted),
        Some(mntns) => {
            let answer = process::in_child(|| open_in(plan, wanted, mntns).encode());
            let answer: Option<[u8; ANSWER]> = answer.during("clone", b"mntns_fd")?;
            accept(answer.as_ref().and_then(Answer::decode))
        }
    };
    let opened = opened.map_err(explain)?;
    if let Some(mapping) = wanted.idmap() {
        idmap(&opened, mapping, namespaces.of(mapping)?).map_err(explain)?;
    }
    let opened = match namespaces.lock(plan, wanted, &opened)? {
        Some(locked) => locked,
        None => opened,
    };
    set_propagation(plan, wanted, &opened).map_err(explain)?;
    Ok(opened)
}

fn explain(error: Error) -> Error {
    match error.errno {
        Errno::PERM if error.details().explanation.is_empty() => error.explain(
            "it takes CAP_SYS_ADMIN in the user namespace that owns this mount namespace, and no seccomp \
                policy against the call",
        ),
        Errno::NOSYS if error.details().explanation.is_empty() => error.explain(
            "mounts are opened with mount_setattr(2), of Linux 5.12, or fsopen(2), which this kernel or \
                sandbox does not have",
        ),
        _ => error,
    }
}

/// Opens the mount in a process of its own, which shares the table of descriptors with the caller.
fn open_in(plan: &Plan, wanted: Wanted<'_>, mntns: CallersFd) -> Answer {
    let opened = namespace::join(mntns)
        .during("setns", b"mntns_fd")
        .and_then(|()| open_here(plan, wanted));
    match opened {
        Ok(fd) => Answer::giving(fd.into_raw_fd() as u64),
        Err(error) => Answer::refusing(0, &error),
    }
}

pub(super) fn accept(answer: Option<Answer>) -> Result<OwnedFd> {
    let answer = answer.ok_or_else(|| {
        Error::check(
            Errno::CHILD,
            "the process that entered a mount namespace for it was killed",
        )
    })?;
    if answer.errno != 0 {
        let errno = Errno::from_raw_os_error(answer.errno);
        return Err(Error::check(errno, answer.message.as_str()));
    }
    fd::adopt(answer.index as i32).during("open_tree", b"mntns_fd")
}

fn open_here(plan: &Plan, wanted: Wanted<'_>) -> Result<OwnedFd> {
    let api = MountApi::new(false);
    match wanted {
        Wanted::Rootfs(_) => rootfs(&api, plan),
        Wanted::PassedOver(_) => Err(Error::invalid(
            "the mount is optional, and was passed over by the plan: there is nothing to open",
        )),
        Wanted::Mount(mount) => open_mount(&api, mount),
    }
}

fn open_mount(api: &MountApi, mount: &Mount) -> Result<OwnedFd> {
    let tree = match &mount.kind {
        Kind::Bind(bind) => {
            let tree = clone(api, bind)?;
            // These attributes are not set here if files get a label, which "ro" would forbid. The container's
            // process sets them after that.
            if let (Some(change), None) = (&bind.change, &bind.relabel) {
                api.change_bind(&tree, change, tree.name())?;
            }
            tree
        }
        // The host's side makes it, with its own privilege, so it does not belong to the container's user namespace.
        Kind::Filesystem(wanted) => api.superblock(&wanted.superblock())?,
        Kind::Cgroup(wanted) => api.superblock(&wanted.unified.superblock())?,
        Kind::Make(_) => {
            return Err(Error::invalid(
                "this step makes a file: there is no mount to open",
            ));
        }
        Kind::Remount(_) => {
            return Err(Error::invalid(
                "options: \"remount\" changes a mount of the container: there is nothing to open",
            ));
        }
    };
    let is_relabelled = matches!(&mount.kind, Kind::Bind(bind) if bind.relabel.is_some());
    if let Some(recursive) = mount.recursive.filter(|_| !is_relabelled) {
        api.change_recursively(&tree, recursive, tree.name())?;
    }
    Ok(tree.into_fd())
}

fn clone<'a>(api: &'a MountApi, bind: &'a Bind) -> Result<Tree<'a>> {
    let name = bind.source.as_bytes();
    let Some(raw) = bind.source_fd else {
        let path = Source::Path {
            path: &bind.source,
            follow: bind.link == crate::plan::Link::Follow,
        };
        return api
            .clone(path, bind.recursive, name)
            .map_err(|error| explain_path(error, name));
    };
    let fd = CallersFd::new(raw).during("fcntl", name).map_err(|error| {
        error.explain(format_args!("source_fd {raw} is not open in this process"))
    })?;
    api.clone(Source::Fd(fd.as_fd()), bind.recursive, name)
        .map_err(explain_source)
}

fn rootfs(api: &MountApi, plan: &Plan) -> Result<OwnedFd> {
    let path = plan.rootfs.path.as_bytes();
    let opened;
    let callers;
    let directory: BorrowedFd<'_> = match plan.rootfs.fd {
        Some(raw) => {
            callers = CallersFd::new(raw)
                .during("fcntl", path)
                .map_err(|error| error.explain(format_args!("rootfs_fd {raw} is not open here")))?;
            callers.as_fd()
        }
        None => {
            let flags = DIRECTORY | OFlags::NOFOLLOW;
            opened = fd::open(CWD, &plan.rootfs.path, flags).during("openat", path)?;
            opened.as_fd()
        }
    };
    let tree = api
        .clone(Source::Fd(directory), true, path)
        .map_err(explain_source)?;
    Ok(tree.into_fd())
}

fn explain_path(error: Error, path: &[u8]) -> Error {
    let found = explain::component(Base::Host, path, explain::Wanted::Anything);
    match (error.errno, found) {
        (Errno::NOENT, Some(it)) => error.explain(format_args!(
            "the source does not exist on the host either: {}",
            it.as_str()
        )),
        (Errno::NOTDIR | Errno::LOOP | Errno::ACCESS, Some(it)) => error.explain(it.as_str()),
        _ => explain_source(error),
    }
}

fn explain_source(error: Error) -> Error {
    match error.errno {
        Errno::INVAL => error.explain(
            "the source lies on an unbindable mount, or has mounts below that are \
            locked: then it must be bound recursively (rbind)",
        ),
        Errno::PERM => error.explain(
            "cloning mounts takes CAP_SYS_ADMIN in the user namespace that owns this \
            mount namespace",
        ),
        Errno::NOSYS => error.explain(
            "mounts are opened by open_tree(2), which this kernel or sandbox does not have",
        ),
        _ => error,
    }
}

/// Sets the propagation. This comes last, because a copy for another user namespace changes it.
fn set_propagation(plan: &Plan, wanted: Wanted<'_>, tree: &OwnedFd) -> Result<()> {
    let api = MountApi::new(false);
    let Wanted::Mount(mount) = wanted else {
        return separate(plan, &api, tree);
    };
    if matches!(mount.kind, Kind::Bind(_)) {
        separate(plan, &api, tree)?;
    }
    let mut asked = mount.propagation.iter().filter(|_| mount.from_host);
    asked.try_for_each(|&flags| api.set_propagation(tree, flags))
}

/// The propagation that the source's copy in the container's mount namespace would have. A clone of a shared mount
/// would propagate the container's mounts to the host.
fn separate(plan: &Plan, api: &MountApi, tree: &OwnedFd) -> Result<()> {
    if plan.switch == Switch::Chroot {
        return Ok(());
    }
    // The kernel makes the copies in a less privileged mount namespace slaves: mount_namespaces(7).
    if plan.user_namespace {
        api.set_propagation(tree, flags::MS_SLAVE | flags::MS_REC)?;
    }
    match plan.start_propagation() {
        flags if flags & flags::MS_REC != 0 => api.set_propagation(tree, flags),
        _ => Ok(()),
    }
}

fn idmap(tree: &OwnedFd, idmap: &Idmap, namespace: &OwnedFd) -> Result<()> {
    let mapped = Attributes::idmapped(namespace);
    MountApi::new(false)
        .change(tree, idmap.recursive, &mapped, b"idmap")
        .map_err(|error| explain_idmap(error, tree, idmap.recursive))
}

fn explain_idmap(error: Error, tree: &OwnedFd, recursive: bool) -> Error {
    let below = if recursive {
        ", or one mounted below it,"
    } else {
        ""
    };
    match error.errno {
        Errno::INVAL => error.explain(format_args!(
            "{}{below} does not support idmapped mounts on this kernel, or the mapping is empty or the file \
                system's own",
            Type(fs_type(tree).unwrap_or(FsType(0)))
        )),
        Errno::PERM => error.explain(format_args!(
            "idmapping takes CAP_SYS_ADMIN in the user namespace that owns the file system and in that with \
                the mapping; nor may the source{below} be idmapped already"
        )),
        Errno::NOSYS => error.explain("idmapped mounts need mount_setattr(2), of Linux 5.12"),
        _ => error,
    }
}

/// The name of a file system's type.
struct Type(FsType);

impl core::fmt::Display for Type {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = match self.0.0 {
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
