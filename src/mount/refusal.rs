// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds out why a file system could not be made, and names the parameter, directory, device or namespace at fault.
//! It runs only after a failure, and decides only the message.

use core::ffi::CStr;
use core::fmt::{self, Display, Write};

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;

use super::NewSuperblock;
use crate::config::options::effect;
use crate::error::{Error, Sentence, Setting};
use crate::explain::{self, Base, KindOf, Wanted};
use crate::plan::label::is_label;
use crate::sys::fd::{DIRECTORY, open};
use crate::sys::mount::{Status, status};
use crate::text::{Escaped, Text};

/// Explains an error of the system calls that make a superblock and its mount.
pub fn explain(error: Error, wanted: &NewSuperblock<'_>) -> Error {
    if error.details().operation == "check" {
        return error;
    }
    match sentence(&error, wanted) {
        Some(sentence) => error.explain(sentence.as_str()),
        None => error,
    }
}

fn sentence(error: &Error, wanted: &NewSuperblock<'_>) -> Option<Sentence> {
    if wanted.fstype == c"overlay" && !matches!(error.errno, Errno::NODEV | Errno::PERM) {
        if let Some(sentence) = overlay(wanted) {
            return Some(sentence);
        }
    }
    match error.errno {
        Errno::NODEV => Some(Text::format(
            "the kernel knows no file system of this type: /proc/filesystems lists the types that it knows, and a \
                module may be missing",
        )),
        Errno::PERM => Some(not_permitted(wanted, error)),
        Errno::NOENT | Errno::NOTBLK | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS => {
            device(wanted.source)
        }
        Errno::INVAL => parameter(error, wanted),
        _ => None,
    }
}

fn not_permitted(wanted: &NewSuperblock<'_>, error: &Error) -> Sentence {
    let fstype = Escaped(wanted.fstype.to_bytes());
    // Such a file system belongs to the user namespace that owns the namespace it shows: proc_init_fs_context() in
    // fs/proc/root.c, for example.
    let namespace = match wanted.fstype.to_bytes() {
        b"proc" => "pid",
        b"sysfs" => "network",
        b"mqueue" => "ipc",
        b"cgroup" | b"cgroup2" => "cgroup",
        _ => {
            return Text::format(format_args!(
                "mounting {fstype} takes CAP_SYS_ADMIN in the initial user namespace: bind what is mounted on the \
                 host, or let the host's side make this mount (RFS_MOUNT_FROM_HOST)"
            ));
        }
    };
    // The rule is in mount_too_revealing() in fs/namespace.c.
    if error.details().kernel.as_str().contains("too revealing") {
        return Text::format(format_args!(
            "in a user namespace a new {fstype} must not show more than the one that is mounted already, but \
             parts of that are read-only or covered by another mount: change that outside, or bind it"
        ));
    }
    Text::format(format_args!(
        "mounting {fstype} takes CAP_SYS_ADMIN in the user namespace that owns this process's {namespace} namespace: \
         give the container one of its own ({{\"type\": \"{namespace}\"}} in linux.namespaces), bind the host's, or \
         let the host's side make this mount (RFS_MOUNT_FROM_HOST){}",
        // The kernel gives mount(2) no message that tells the two reasons apart.
        match (namespace, error.details().operation) {
            ("pid" | "network", "mount") =>
                "; nor may anything of the one that is mounted already be covered",
            _ => "",
        }
    ))
}

/// Explains an error of a file system's block device.
fn device(source: &CStr) -> Option<Sentence> {
    let path = source.to_bytes();
    if !path.starts_with(b"/") {
        return None;
    }
    if let Some(sentence) = explain::component(Base::Host, path, Wanted::Anything) {
        return Some(sentence);
    }
    let there = status(CWD, source).ok()?;
    (there.mode & libc::S_IFMT != libc::S_IFBLK).then(|| {
        Text::format(format_args!(
            "{} is {}, not a block device: losetup(8) makes one of a file",
            Escaped(path),
            KindOf::from(&there)
        ))
    })
}

fn parameter(error: &Error, wanted: &NewSuperblock<'_>) -> Option<Sentence> {
    let fstype = Escaped(wanted.fstype.to_bytes());
    let details = error.details();
    let (kernel, given) = (details.kernel.as_str(), details.acted_on.as_str());
    let key = given.split('=').next().unwrap_or_default();
    let is_unknown = kernel.contains("Unknown parameter");
    if is_label(key.as_bytes()) {
        // SELinux would have taken the parameter before the file system saw it.
        return Some(Text::format(if is_unknown {
            "SELinux is not enabled: without it no mount can have a label"
        } else {
            "SELinux's policy may not know the label"
        }));
    }
    if is_unknown {
        return Some(
            match small_letters(key).filter(|small| effect(small.as_bytes()).is_some()) {
                Some(small) => Text::format(format_args!(
                    "{fstype} has no such option; is \"{}\" meant?",
                    small.as_str()
                )),
                None => Text::format(format_args!("{fstype} has no such option")),
            },
        );
    }
    // The tmpfs of Linux 6.1 gives the same message for an id that is not mapped and for one that is no number.
    let is_bad = kernel.contains("Bad value");
    let is_number = given
        .rsplit('=')
        .next()
        .is_some_and(|value| value.parse::<u32>().is_ok());
    if matches!(key, "uid" | "gid") && (is_number || !is_bad) {
        return Some(Text::format(
            "the user namespace may have no such id: see the container's mappings",
        ));
    }
    if is_bad {
        return Some(Text::format(format_args!(
            "{fstype} does not take this value"
        )));
    }
    (details.operation == "mount").then(|| {
        Text::format(format_args!(
            "{fstype} refuses one of its options ({}); the kernel's log may say which",
            Options(wanted)
        ))
    })
}

/// The option in small letters. `None` if it has no capital letter, or is longer than every option that we know.
fn small_letters(option: &str) -> Option<Text<32>> {
    let mut small = Text::<32>::new();
    for c in option.chars() {
        small.write_char(c.to_ascii_lowercase()).ok()?;
    }
    (small.as_str() != option).then_some(small)
}

/// The parameters as fstab(5) writes them.
struct Options<'a>(&'a NewSuperblock<'a>);

impl Display for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let written = self.0.parameters.each(&mut |key, value| {
            let setting = Setting(key.to_bytes(), value.map(CStr::to_bytes));
            let written = write!(f, "{comma}{setting}");
            comma = ",";
            written.map_err(|_| Error::system(Errno::NOMEM, "write"))
        });
        written.map_err(|_| fmt::Error)
    }
}

/// A directory of which an overlay has one at most.
struct Layer {
    path: Text<160>,
    status: Status,
    is_readonly: bool,
}

impl Layer {
    fn of(path: &CStr) -> Option<Self> {
        let directory = open(CWD, path, DIRECTORY).ok()?;
        let flags = rustix::fs::fstatvfs(&directory).ok()?.f_flag;
        Some(Layer {
            path: Text::path(path.to_bytes()),
            status: status(&directory, c"").ok()?,
            is_readonly: flags.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

/// The kernel has these rules in ovl_get_workdir() and ovl_fs_params_verify() in fs/overlayfs.
fn overlay(wanted: &NewSuperblock<'_>) -> Option<Sentence> {
    let mut missing = None;
    let mut lower = 0;
    let (mut has_upper, mut has_work) = (false, false);
    let (mut upper, mut work) = (None, None);
    let seen = wanted.parameters.each(&mut |key, value| {
        let Some(value) = value else { return Ok(()) };
        let mut check = |path: &[u8]| {
            if missing.is_none() && path.starts_with(b"/") && !path.contains(&b'\\') {
                let found = explain::component(Base::Host, path, Wanted::Directory);
                missing = found.map(|it| {
                    let key = Escaped(key.to_bytes());
                    Text::format(format_args!("{key}: {}", it.as_str()))
                });
            }
        };
        match key.to_bytes() {
            b"lowerdir" => value
                .to_bytes()
                .split(|&b| b == b':')
                .filter(|path| !path.is_empty())
                .for_each(|path| {
                    lower += 1;
                    check(path);
                }),
            b"lowerdir+" | b"datadir+" => {
                lower += 1;
                check(value.to_bytes());
            }
            b"upperdir" => {
                check(value.to_bytes());
                (has_upper, upper) = (true, Layer::of(value));
            }
            b"workdir" => {
                check(value.to_bytes());
                (has_work, work) = (true, Layer::of(value));
            }
            _ => {}
        }
        Ok(())
    });
    seen.ok()?;
    if missing.is_some() {
        return missing;
    }
    if lower == 0 {
        return Some(Text::format(
            "lowerdir is missing: an overlay needs one directory or more to lie on",
        ));
    }
    if has_upper && !has_work {
        return Some(Text::format(
            "upperdir needs a workdir: an empty directory on the same mount as upperdir",
        ));
    }
    if !has_upper && lower < 2 {
        return Some(Text::format(
            "upperdir is missing: without it, and a workdir, an overlay needs two lower directories or more",
        ));
    }
    let (upper, work) = (upper?, work?);
    let (above, below) = (upper.path.as_str(), work.path.as_str());
    if upper.is_readonly {
        return Some(Text::format(format_args!(
            "upperdir: {above} is on a read-only mount or file system"
        )));
    }
    if upper.status.mount_id != work.status.mount_id {
        return Some(Text::format(format_args!(
            "upperdir {above} and workdir {below} must be on the same mount and file system, but are not"
        )));
    }
    let is_within = |path: &str, of: &str| {
        path.strip_prefix(of)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    (upper.status.inode == work.status.inode || is_within(above, below) || is_within(below, above))
        .then(|| {
            Text::format(format_args!(
                "upperdir {above} and workdir {below} must be two directories, and neither may lie in the other"
            ))
        })
}
