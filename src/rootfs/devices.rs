// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the device nodes, and the links in /dev.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use libc::{MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::callbacks::Level;
use super::target::{self, Target};
use super::{Context, missing, recognise};
use crate::error::{During, Error, Object, Result};
use crate::explain::{self, KindOf, Wanted};
use crate::mount::Source;
use crate::mount::status_of;
use crate::plan::{Device, Shape};
use crate::sys::fd::{ENTRY, open};
use crate::sys::mount::{Attributes, DEVPTS, fs_type, status};
use crate::sys::path::chmod;
use crate::sys::resolve::make_file;
use crate::text::Quoted;

const DEV: &CStr = c"/dev";
/// The links that every container has by the runtime-spec (runtime-linux.md, "Dev symbolic links"). They lead to
/// /proc/self and not /proc/thread-self, as in distributions.
const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
];
/// This link is made only if the kernel has the file.
const KCORE: (&CStr, &CStr) = (c"/proc/kcore", c"core");
const PTMX_LINK: (&CStr, &CStr) = (c"pts/ptmx", c"ptmx");
const PTMX_TRIES: usize = 10;

pub fn fill(cx: &Context<'_>, devices: &[Device]) -> Result<()> {
    let dev = target::of_path(&cx.root(), DEV, Shape::Directory)?;
    recognise::check_directory(&cx.root(), cx.container, &dev, c"/dev/ptmx")
        .map_err(|error| error.on(b"/dev"))?;
    for device in devices {
        make(cx, &dev, device)
            .map_err(|error| explain_directory(cx, device, error))
            .map_err(|error| error.about(Object::Device(device.index), device.path.as_bytes()))?;
    }
    if cx.plan.ptmx_bind {
        bind_ptmx(cx, dev.as_fd()).map_err(|error| error.on(b"/dev/ptmx"))?;
    } else {
        make_ptmx(&dev).during("symlinkat", b"/dev/ptmx")?;
    }
    for link in LINKS {
        make_link(&dev, link)?;
    }
    if rustix::fs::access(KCORE.0, rustix::fs::Access::EXISTS).is_ok() {
        make_link(&dev, KCORE)?;
    }
    Ok(())
}

fn explain_directory(cx: &Context<'_>, device: &Device, error: Error) -> Error {
    let error = missing::explain(cx, &device.directory, error);
    let base = explain::Base::Inside(cx.root());
    match error.errno {
        Errno::NOTDIR => {
            explain::look_up(error, base, device.directory.as_bytes(), Wanted::Directory)
        }
        _ => error,
    }
}

/// A file that exists already stays, because an image or a mount may have its own.
fn make_link(dev: &Target<'_>, (to, name): (&CStr, &CStr)) -> Result<()> {
    match rustix::fs::symlinkat(to, dev, name) {
        Err(Errno::EXIST) => Ok(()),
        result => result.during("symlinkat", name.to_bytes()),
    }
}

/// Binds ptmx of the container's own devpts on an empty file. A link there is replaced, and a mount stays.
fn bind_ptmx(cx: &Context<'_>, dev: BorrowedFd<'_>) -> Result<()> {
    const SOURCE: &[u8] = b"/dev/pts/ptmx";
    let missing = "no devpts is mounted on /dev/pts, whose ptmx is to be bound";
    let ptmx = cx
        .root()
        .open(c"/dev/pts/ptmx", OFlags::PATH | OFlags::NOFOLLOW)
        .during("openat2", SOURCE)
        .map_err(|error| match error.errno {
            Errno::NOENT => error.explain(missing),
            _ => error,
        })?;
    if fs_type(&ptmx).during("fstatfs", SOURCE)? != DEVPTS {
        return Err(Error::check(Errno::NODEV, missing));
    }
    for _ in 0..PTMX_TRIES {
        let file = match make_file(dev, PTMX_LINK.1, 0) {
            Err(Errno::EXIST) => open(dev, PTMX_LINK.1, ENTRY),
            made => made,
        };
        let file = match file {
            Err(Errno::NOENT) => continue,
            file => file.during("openat", b"")?,
        };
        if is_mounted_on(dev, PTMX_LINK.1) {
            return Ok(());
        }
        let there = status_of(&file, b"")?;
        // A node and a file can be mounted on, but a link can't.
        let format = there.mode & libc::S_IFMT;
        if format == libc::S_IFREG || format == libc::S_IFCHR {
            let source = Source::Fd(ptmx.as_fd());
            return cx.api.clone(source, false, SOURCE)?.attach(&file);
        }
        remove_ptmx(dev).during("unlinkat", b"")?;
    }
    Err(Error::system(Errno::EXIST, "openat"))
}

fn remove_ptmx(dev: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dev, PTMX_LINK.1, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Makes /dev/ptmx a link to ptmx of the container's own devpts, whatever file or link it was. Another container may
/// do the same in this rootfs at the same time.
fn make_ptmx(dev: &Target<'_>) -> rustix::io::Result<()> {
    for _ in 0..PTMX_TRIES {
        match rustix::fs::symlinkat(PTMX_LINK.0, dev, PTMX_LINK.1) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
        let mut target = [0; 16];
        let length = rustix::fs::readlinkat_raw(dev, PTMX_LINK.1, &mut target);
        if length.is_ok_and(|length| &target[..length] == PTMX_LINK.0.to_bytes()) {
            return Ok(());
        }
        if is_mounted_on(dev.as_fd(), PTMX_LINK.1) {
            return Ok(());
        }
        remove_ptmx(dev.as_fd())?;
    }
    Err(Errno::EXIST)
}

fn make(cx: &Context<'_>, dev: &Target<'_>, device: &Device) -> Result<()> {
    let elsewhere;
    let directory = match device.directory.as_c_str() {
        directory if directory == DEV => dev.as_fd(),
        directory if directory == c"/" => cx.root.as_fd(),
        directory => {
            elsewhere = target::of_path(&cx.root(), directory, Shape::Directory)?;
            recognise::check_directory(&cx.root(), cx.container, &elsewhere, &device.path)?;
            elsewhere.as_fd()
        }
    };
    // A fifo needs no privilege: mknod(2).
    if cx.plan.user_namespace && device.mode & libc::S_IFMT != libc::S_IFIFO {
        return bind(cx, directory, device);
    }
    let made = rustix::fs::mknodat(
        directory,
        &device.name,
        FileType::from_raw_mode(device.mode),
        Mode::from_raw_mode(device.mode & !libc::S_IFMT),
        rustix::fs::makedev(device.major, device.minor),
    );
    let existed = match made {
        Ok(()) => false,
        Err(Errno::EXIST) if is_mounted_on(directory, &device.name) => return Ok(()),
        Err(Errno::EXIST) => true,
        Err(Errno::PERM) => {
            let path = &device.path;
            cx.log(
                Level::Debug,
                format_args!(
                    "{}: mknod(2) is refused, the host's is bound",
                    Quoted(path.to_bytes())
                ),
            );
            return bind(cx, directory, device);
        }
        Err(errno) => return Err(Error::system(errno, "mknodat").on(device.path.as_bytes())),
    };
    // Links are not followed, so the checks see the name's own inode.
    let stat = rustix::fs::statat(directory, &device.name, AtFlags::SYMLINK_NOFOLLOW)
        .during("fstatat", device.path.as_bytes())?;
    let number = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    if !is_device(stat.st_mode, number, device) {
        return Err(something_else(KindOf {
            mode: stat.st_mode,
            device: number,
        }));
    }
    let right_owner = (stat.st_uid, stat.st_gid) == (device.uid, device.gid);
    let right_mode = stat.st_mode & 0o7777 == device.mode & 0o7777;
    if existed || (right_owner && right_mode) {
        return Ok(());
    }
    own(directory, device)
}

/// Whether a mount of the plan or of a callback lies at a device's path. It stays.
fn is_mounted_on(directory: BorrowedFd<'_>, name: &CStr) -> bool {
    status(directory, name).is_ok_and(|there| there.is_mount_root)
}

fn something_else(there: KindOf) -> Error {
    Error::check(
        Errno::EXIST,
        format_args!(
            "the rootfs has something else at this path: {there}; remove it, or mount a tmpfs on its directory"
        ),
    )
}

/// Gives a new node its owner, and then its mode once more, because changing the owner clears bits of the mode.
fn own(directory: BorrowedFd<'_>, device: &Device) -> Result<()> {
    let path = device.path.as_bytes();
    let node = open(directory, &device.name, ENTRY).during("openat", path)?;
    let there = status_of(&node, path)?;
    if !is_device(there.mode, there.device, device) {
        return Err(Error::check(
            Errno::EXIST,
            "the new node was replaced while it was being made",
        ));
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    rustix::fs::chownat(&node, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .during("fchownat", path)?;
    chmod(&node, device.mode & 0o7777).during("chmod", path)
}

/// `number` is the major and minor number. A fifo has none.
fn is_device(mode: u32, number: (u32, u32), device: &Device) -> bool {
    let format = device.mode & libc::S_IFMT;
    mode & libc::S_IFMT == format
        && (format == libc::S_IFIFO || number == (device.major, device.minor))
}

/// Binds the host's node on an empty file, if nodes can't be made.
fn bind(cx: &Context<'_>, directory: BorrowedFd<'_>, device: &Device) -> Result<()> {
    let path = device.path.as_bytes();
    let node = Source::Path {
        path: &device.path,
        follow: true,
    };
    if is_mounted_on(directory, &device.name) {
        return Ok(());
    }
    let mut hosts = cx.api.clone(node, false, path).map_err(|error| {
        error.explain("nodes can't be made here, and the host has none to bind")
    })?;
    let found = status_of(&hosts, path)?;
    if !is_device(found.mode, found.device, device) {
        return Err(Error::check(
            Errno::NODEV,
            format_args!(
                "nodes can't be made here, and the host's file at this path is not that device but {}",
                KindOf::from(&found)
            ),
        ));
    }
    let other_mode = (found.mode ^ device.mode) & 0o7777 != 0;
    if device.index.is_some() && (other_mode || (device.uid, device.gid) != (0, 0)) {
        let path = &device.path;
        cx.log(
            Level::Warning,
            format_args!(
                "{}: the host's node is bound, with its own mode and owner instead of those asked for",
                Quoted(path.to_bytes())
            ),
        );
    }
    // The device and its mount belong to the host, and keep their mode and owner.
    hosts.change(
        false,
        &Attributes::setting(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
    )?;
    let file = match make_file(directory, &device.name, 0) {
        Ok(file) => file,
        Err(Errno::EXIST) => {
            let there = open(directory, &device.name, ENTRY).during("openat", path)?;
            let kind = status_of(&there, path)?;
            if kind.is_directory() {
                return Err(something_else(KindOf::from(&kind)));
            }
            there
        }
        Err(errno) => return Err(Error::system(errno, "openat").on(path)),
    };
    hosts.attach(&file)
}
