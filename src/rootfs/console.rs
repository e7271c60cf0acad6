//! /dev/console from the terminal's own descriptor: a path such as /dev/pts/0 could be swapped
//! in the container (CVE-2025-52565).

use std::os::fd::{BorrowedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::way::Way;
use crate::error::{During, Error, Object, Result, Stage};
use crate::sys::classic::is_refusal;
use crate::sys::fd::{self, Fd, Fds};
use crate::sys::mount::{Status, status};

const CONSOLE: &[u8] = b"/dev/console";
/// <linux/magic.h>
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// The majors of the terminals' ends: Documentation/admin-guide/devices.txt, "UNIX98 PTY slaves".
const PTS_MAJORS: core::ops::RangeInclusive<u32> = 136..=143;

pub fn bind_console(pty: RawFd) -> Result<()> {
    bind(pty).map_err(|error| error.at(Stage::Console).about(Object::None, CONSOLE))
}

fn bind(raw: RawFd) -> Result<()> {
    let fds = Fds::new();
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
    match bind_by(&Way::Detached, &fds, pty) {
        Err(error) if is_refusal(error.errno) => bind_by(&Way::staged(&fds)?, &fds, pty),
        bound => bound,
    }
}

fn bind_by<'a>(way: &Way<'a>, fds: &'a Fds, pty: BorrowedFd<'_>) -> Result<()> {
    let mut tree = way.clone_descriptor(fds, pty, false).map_err(|error| {
        let error = error.on(b"pty_fd");
        match error.errno {
            Errno::INVAL => error.explain("the terminal is of a devpts outside the container: open it there, after rfs_prepare()"),
            _ => error,
        }
    })?;
    let target = open_target(fds)?;
    tree.attach(&target).map_err(|error| error.on(CONSOLE))
}

/// /dev/console itself, made if it is missing.
fn open_target(fds: &Fds) -> Result<Fd<'_>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let dev =
        fds.own(rustix::fs::openat(CWD, c"/dev", flags, Mode::empty()).during("openat", b"/dev")?);
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
