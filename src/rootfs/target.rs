// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the place of a mount: it is resolved once, inside the rootfs, and made if it is missing.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{During, Error, Result};
use crate::explain::{self, Wanted};
use crate::plan::{Create, Mount, Shape, proc};
use crate::sys::mount::Status;
use crate::sys::resolve::{Opened, Root};
use crate::text::Escaped;

pub struct Target<'a> {
    fd: Opened<'a>,
    /// The target existed before.
    pub existed: bool,
    pub is_proc: bool,
    /// The target lies below /proc, where not everything may be mounted.
    pub is_below_proc: bool,
}

/// The way in which a destination is opened.
#[derive(Clone, Copy)]
struct How {
    /// The mount point that is made if none is there.
    create: Create,
    /// Whether the target may lie below /proc, because the mount is checked for that.
    below_proc: proc::Below,
}

impl AsFd for Target<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Shape {
    /// The kind of mount point that a mount with this root needs.
    pub fn of(root: &Status) -> Self {
        if root.is_directory() {
            Shape::Directory
        } else {
            Shape::File
        }
    }
}

const MUST_BE_PLAIN: &str = "proc and sysfs must be mounted on ordinary directory";
const MODE_OF_FILES: u32 = 0o644;

/// Opens a mount's destination, through links inside the rootfs. The links are resolved first, and the result is
/// opened without following any. So the rules for /proc hold for the file that was opened.
pub fn of_path<'a>(root: &Root<'a>, destination: &CStr, shape: Shape) -> Result<Target<'a>> {
    let how = How {
        create: Create::Shape(shape),
        below_proc: proc::Below::Nothing,
    };
    open_as(root, destination, how)
}

fn open_as<'a>(root: &Root<'a>, destination: &CStr, how: How) -> Result<Target<'a>> {
    match at(root, destination, how) {
        Err(error) if error.errno == Errno::LOOP => {}
        Err(error) if must_exist_already(how, &error) => return Err(error),
        result => return result.map_err(|error| explain_in(root, destination, error)),
    }
    let followed = root
        .follow(destination)
        .during("openat2", destination.to_bytes())
        .map_err(|error| explain_in(root, destination, error))?;
    if followed.is_root() {
        return Err(Error::invalid(
            "its links lead to the container's root itself, which can't be a target",
        ));
    }
    at(root, followed.as_c_str(), how).map_err(|error| match error.errno {
        Errno::LOOP => error.explain("a link appeared on the way while it was being resolved"),
        _ if must_exist_already(how, &error) => error,
        _ => explain_in(root, destination, error),
    })
}

/// The error tells already why no mount point was made.
fn must_exist_already(how: How, error: &Error) -> bool {
    how.create == Create::Nothing && error.errno == Errno::NOENT
}

fn explain_in(root: &Root<'_>, destination: &CStr, error: Error) -> Error {
    let base = explain::Base::Inside(*root);
    explain::look_up(error, base, destination.to_bytes(), Wanted::Anything)
}

/// Opens the destination of a mount of a plan. `shape` is the kind of the mount's root.
pub fn of_mount<'a>(root: &Root<'a>, mount: &Mount, shape: Shape) -> Result<Target<'a>> {
    if mount.destination_nofollow {
        return existing(root, &mount.destination);
    }
    let how = How {
        create: mount.create.unwrap_or(Create::Shape(shape)),
        below_proc: mount.below_proc,
    };
    if mount.surely_missing && how.create == Create::Shape(Shape::Directory) {
        let path = mount.destination.to_bytes();
        match root.make_directories(path) {
            Ok((fd, made)) => {
                return Ok(Target {
                    fd,
                    existed: !made,
                    is_proc: false,
                    is_below_proc: false,
                });
            }
            // There is a link on the way, or a file that is no directory.
            Err(Errno::LOOP | Errno::NOTDIR) => {}
            Err(errno) => return Err(not_made(errno, path)),
        }
    }
    open_as(root, &mount.destination, how)
}

/// Opens a destination that must exist and may be a link itself.
fn existing<'a>(root: &Root<'a>, destination: &CStr) -> Result<Target<'a>> {
    let path = root
        .follow_directory(destination)
        .during("openat2", destination.to_bytes())?;
    let rule = refuse_below_proc(path.as_c_str())?;
    let fd = root
        .open_plain(path.as_c_str(), OFlags::PATH | OFlags::NOFOLLOW)
        .during("openat2", destination.to_bytes())
        .map_err(|error| match error.errno {
            Errno::NOENT => error.explain("with \"dest-nofollow\" the destination must exist"),
            _ => error,
        })?;
    Ok(Target {
        fd: Opened::Below(fd),
        existed: true,
        is_proc: rule == proc::ProcRule::Proc,
        is_below_proc: false,
    })
}

pub fn refuse_below_proc(path: &CStr) -> Result<proc::ProcRule> {
    let rule = proc::rule(path.to_bytes());
    if rule == proc::ProcRule::Refused {
        return Err(Error::invalid(format_args!(
            "it leads to {}: {}",
            Escaped(path.to_bytes()),
            proc::REFUSED
        )));
    }
    Ok(rule)
}

fn at<'a>(root: &Root<'a>, path: &CStr, how: How) -> Result<Target<'a>> {
    let rule = match proc::rule(path.to_bytes()) {
        proc::ProcRule::Refused if how.below_proc != proc::Below::Nothing => {
            proc::ProcRule::Refused
        }
        _ => refuse_below_proc(path)?,
    };
    let (fd, existed) = match root.open_plain(path, OFlags::PATH) {
        Ok(fd) => (Opened::Below(fd), true),
        Err(Errno::NOENT) => (make(root, path, how.create)?, false),
        Err(errno) => return Err(Error::system(errno, "openat2").on(path.to_bytes())),
    };
    Ok(Target {
        fd,
        existed,
        is_proc: rule == proc::ProcRule::Proc,
        is_below_proc: rule == proc::ProcRule::Refused,
    })
}

fn make<'a>(root: &Root<'a>, path: &CStr, create: Create) -> Result<Opened<'a>> {
    let path = path.to_bytes();
    let made = match create {
        Create::Nothing => return Err(must_exist(path)),
        Create::Shape(Shape::Directory) => root.make_directories(path).map(|(fd, _)| fd),
        Create::Shape(Shape::File) => root.make_file(path, MODE_OF_FILES).map(Opened::Below),
    };
    made.map_err(|errno| not_made(errno, path))
}

fn must_exist(path: &[u8]) -> Error {
    Error::system(Errno::NOENT, "openat2").on(path).explain(
        "the mount point is missing, and is only made with the option \"create=dir\" or \"create=file\"",
    )
}

fn not_made(errno: Errno, path: &[u8]) -> Error {
    Error::system(errno, "mkdirat")
        .on(path)
        .explain("it is missing, and could not be made")
}

/// Opens the destination of a proc or sysfs: a real directory, with no link on the way. Otherwise an image could lead
/// the runtime's own writes to /proc elsewhere (CVE-2019-19921, CVE-2023-27561).
pub fn plain_directory<'a>(root: &Root<'a>, mount: &Mount) -> Result<Target<'a>> {
    let destination = &mount.destination;
    let path = destination.to_bytes();
    let (fd, existed) = match root.open_plain(destination, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(fd) => (Opened::Below(fd), true),
        Err(Errno::NOENT) if mount.create == Some(Create::Nothing) => return Err(must_exist(path)),
        Err(Errno::NOENT) => {
            let made = root.make_directories(path);
            (made.map_err(|errno| not_made(errno, path))?.0, false)
        }
        Err(errno) => {
            let error = Error::system(errno, "openat2").on(path);
            return Err(match errno {
                Errno::LOOP | Errno::NOTDIR => explain_plain(root, path, error),
                _ => error,
            });
        }
    };
    Ok(Target {
        fd,
        existed,
        is_below_proc: false,
        is_proc: proc::rule(destination.to_bytes()) == proc::ProcRule::Proc,
    })
}

/// The sentence begins as in runc and crun, because their users search for these words.
fn explain_plain(root: &Root<'_>, path: &[u8], error: Error) -> Error {
    let base = explain::Base::Inside(*root);
    match explain::component(base, path, Wanted::PlainDirectory) {
        Some(it) => error.explain(format_args!("{MUST_BE_PLAIN}: {}", it.as_str())),
        None => error.explain(MUST_BE_PLAIN),
    }
}
