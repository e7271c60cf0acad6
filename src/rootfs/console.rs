//! /dev/console from the terminal's own descriptor: a path such as /dev/pts/0 could be swapped
//! in the container (CVE-2025-52565).

use std::os::fd::{AsFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::container::{Container, Reach};
use super::finalize::open_root;
use super::way::Way;
use crate::error::{During, Error, Object, Result, Stage};
use crate::sys::fd::{self, Fd, Fds};
use crate::sys::mount::{Status, status};
use crate::sys::resolve::Root;

const CONSOLE: &[u8] = b"/dev/console";
/// <linux/magic.h>
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// The majors of the terminals' ends: Documentation/admin-guide/devices.txt, "UNIX98 PTY slaves".
const PTS_MAJORS: core::ops::RangeInclusive<u32> = 136..=143;

pub fn bind_console(container: &Container, pty: RawFd) -> Result<()> {
    bind(container, pty).map_err(|error| error.at(Stage::Console).about(Object::None, CONSOLE))
}

fn bind(container: &Container, raw: RawFd) -> Result<()> {
    let reach = container.reach()?;
    let fds = Fds::new();
    let switched;
    let root = match reach {
        Reach::Callback { has_dev: false, .. } => {
            return Err(Error::invalid(
                "the container's /dev is not complete before RFS_POINT_MOUNTS_READY",
            ));
        }
        Reach::Callback { root, .. } => fd::borrow(root).during("fcntl", b"the rootfs")?,
        Reach::Switched => {
            switched = open_root(container, &fds)?;
            switched.as_fd()
        }
    };
    let pty = fd::borrow(raw)
        .during("fcntl", b"")
        .map_err(|error| error.explain(format_args!("pty_fd {raw} is not open")))?;
    let filesystem = rustix::fs::fstatfs(pty).during("fstatfs", b"pty_fd")?;
    #[allow(clippy::useless_conversion)] // f_type has another width elsewhere.
    let in_devpts = i64::from(filesystem.f_type) == DEVPTS_SUPER_MAGIC;
    if !in_devpts || !is_terminal(&status(pty, c"").during("statx", b"pty_fd")?) {
        return Err(Error::check(
            Errno::NOTTY,
            format_args!("descriptor {raw} is not the terminal's end of a pseudoterminal"),
        ));
    }
    let way = Way::of(container, &fds)?;
    let mut tree = way.clone_descriptor(&fds, pty, false).map_err(|error| {
        let error = error.on(b"pty_fd");
        match error.errno {
            Errno::INVAL => error.explain(
                "the terminal is of a devpts that this mount namespace does not have: open it in the container",
            ),
            _ => error,
        }
    })?;
    let target = open_target(&fds, &Root::new(root, &fds))?;
    tree.attach(&target).map_err(|error| error.on(CONSOLE))
}

/// /dev/console itself, made if it is missing.
fn open_target<'a>(fds: &'a Fds, root: &Root<'a>) -> Result<Fd<'a>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dev = root.open_plain(c"/dev", flags).during("openat2", b"/dev")?;
    // Readers find it by its name; what it is is the pty's matter, once that is mounted on it.
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&dev, c"console", create, Mode::from_raw_mode(0o600));
    let target = match made {
        Err(Errno::EXIST) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&dev, c"console", flags, Mode::empty())
        }
        made => made,
    };
    Ok(fds.own(target.during("openat", CONSOLE)?))
}

fn is_terminal(status: &Status) -> bool {
    status.mode & libc::S_IFMT == libc::S_IFCHR && PTS_MAJORS.contains(&status.device.0)
}
