// SPDX-License-Identifier: MIT OR Apache-2.0
//! Binds /dev/console by the terminal's own descriptor, because a path such as /dev/pts/0 could be exchanged in the
//! container (CVE-2025-52565).

use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::container::Container;
use super::reach::ContainerRoot;
use super::recognise::check_directory;
use crate::error::{During, Error, Object, Result, Stage};
use crate::mount::status_of;
use crate::mount::{MountApi, Source};
use crate::sys::fd::{CallersFd, ENTRY, open};
use crate::sys::mount::{DEVPTS, Status, fs_type};
use crate::sys::resolve::{Root, make_file};

const CONSOLE: &[u8] = b"/dev/console";
/// The major numbers of terminals: "UNIX98 PTY slaves" in Documentation/admin-guide/devices.txt.
const PTS_MAJORS: core::ops::RangeInclusive<u32> = 136..=143;

pub fn bind_console(container: &Container, pty: RawFd) -> Result<()> {
    bind(container, pty).map_err(|error| error.at(Stage::Console).about(Object::None, CONSOLE))
}

fn bind(container: &Container, raw: RawFd) -> Result<()> {
    let root = ContainerRoot::of(container, true)?;
    let pty = CallersFd::new(raw)
        .during("fcntl", b"pty_fd")
        .map_err(|error| error.explain(format_args!("pty_fd {raw} is not open")))?;
    let in_devpts = fs_type(pty).during("fstatfs", b"pty_fd")? == DEVPTS;
    if !in_devpts || !is_terminal(&status_of(pty, b"pty_fd")?) {
        return Err(Error::check(
            Errno::NOTTY,
            format_args!("descriptor {raw} is not the terminal's end of a pseudoterminal"),
        ));
    }
    let api = MountApi::new(container.is_classic());
    let mut tree = api
        .clone(Source::Fd(pty.as_fd()), false, b"pty_fd")
        .map_err(|error| match error.errno {
            Errno::INVAL => error.explain(
                "the terminal is of a devpts that this mount namespace does not have: open it in the container",
            ),
            _ => error,
        })?;
    tree.attach(open_target(&Root::new(root.as_fd()), container)?)
}

/// Opens /dev/console itself, and makes it if it is missing.
fn open_target(root: &Root<'_>, container: &Container) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dev = root
        .open_plain(c"/dev", flags)
        .during("openat2", b"/dev")
        .map_err(|error| match error.errno {
            Errno::LOOP => error.explain(
                "/dev is a symbolic link: make it a directory in the image, or mount a tmpfs on it",
            ),
            _ => error,
        })?;
    check_directory(root, container, &dev, c"/dev/console")?;
    // The file is only a mount point, so its own type does not matter.
    match make_file(&dev, c"console", 0o600) {
        Err(Errno::EXIST) => open(&dev, c"console", ENTRY),
        made => made,
    }
    .during("openat", CONSOLE)
}

fn is_terminal(status: &Status) -> bool {
    status.mode & libc::S_IFMT == libc::S_IFCHR && PTS_MAJORS.contains(&status.device.0)
}
