// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans the device nodes: the default devices of the runtime-spec (config-linux.md, "Default Devices") and those
//! that the configuration adds.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use super::{Device, paths};
use crate::config::{self, Config, DeviceKind};
use crate::error::{Error, Object, Result, Stage};
use crate::sys::path;
use crate::text::Quoted;

/// The name below /dev and the minor number. All but tty have the major number of mem(4).
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];
const DEFAULT_MODE: u32 = 0o666;
/// The limits come from dev_t inside the kernel: MINORBITS in <linux/kdev_t.h>.
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;
/// /dev/ptmx is made as a link to the container's devpts, so a device of that path is refused.
const PTMX: &[u8] = b"/dev/ptmx";

pub fn devices(config: &Config, warn: &mut impl FnMut(String)) -> Result<Vec<Device>> {
    let mut devices: Vec<Device> = Vec::with_capacity(config.devices.len());
    let mut places: BTreeMap<CString, usize> = BTreeMap::new();
    for (index, wanted) in config.devices.iter().enumerate() {
        let locate = |error: Error| {
            error
                .at(Stage::Plan)
                .about(Object::Device(Some(index)), &wanted.path)
        };
        let device = device(index, wanted, warn).map_err(locate)?;
        if device.path.as_bytes() == PTMX {
            continue;
        }
        let place = *places.entry(device.path.clone()).or_insert(devices.len());
        match devices.get(place) {
            None => devices.push(device),
            Some(other) if same_node(other, &device) => {}
            Some(other) => {
                let first = other.index.unwrap_or(0);
                return Err(locate(Error::invalid(format_args!(
                    "path: linux.devices[{first}] has the same path, but is another device"
                ))));
            }
        }
    }
    if config.default_devices {
        let missing = DEFAULT.iter().filter_map(|&(path, major, minor)| {
            let path = CString::new(path).ok()?;
            let given = places.contains_key(&path);
            let (directory, name) = split(&path);
            (!given).then_some(Device {
                index: None,
                path,
                directory,
                name,
                mode: libc::S_IFCHR | DEFAULT_MODE,
                major,
                minor,
                uid: 0,
                gid: 0,
            })
        });
        let missing: Vec<_> = missing.collect();
        devices.splice(0..0, missing);
    }
    Ok(devices)
}

/// Splits a path into its directory and the name in it.
fn split(path: &CStr) -> (CString, CString) {
    let (directory, name) = path::split(path.to_bytes());
    // Parts of a C string have no NUL, so this can't fail.
    let part = |part: &[u8]| CString::new(part).unwrap_or_default();
    (part(directory), part(name))
}

fn same_node(a: &Device, b: &Device) -> bool {
    (a.mode, a.major, a.minor, a.uid, a.gid) == (b.mode, b.major, b.minor, b.uid, b.gid)
}

fn device(index: usize, wanted: &config::Device, warn: &mut impl FnMut(String)) -> Result<Device> {
    let path = paths::inside("path", &wanted.path)?;
    if path.was_relative {
        warn(format!(
            "linux.devices[{index}]: the path {} is not absolute; it is taken from \"/\"",
            Quoted(&wanted.path)
        ));
    }
    let format = match wanted.kind {
        DeviceKind::Block => libc::S_IFBLK,
        DeviceKind::Character => libc::S_IFCHR,
        DeviceKind::Fifo => libc::S_IFIFO,
    };
    let (major, minor) = match wanted.kind {
        DeviceKind::Fifo => (0, 0),
        _ => (
            number("major", wanted.major, MAX_MAJOR)?,
            number("minor", wanted.minor, MAX_MINOR)?,
        ),
    };
    // `podman run --privileged` writes the file's type into the mode too.
    let mode = wanted.file_mode.unwrap_or(DEFAULT_MODE);
    if mode & libc::S_IFMT != 0 && mode & libc::S_IFMT != format {
        return Err(Error::invalid(format_args!(
            "fileMode: {mode:#o} has the file type bits of another type (inode(7)); leave them out"
        )));
    }
    let permissions = mode & !libc::S_IFMT;
    if permissions & !0o7777 != 0 {
        return Err(Error::invalid(format_args!(
            "fileMode: {permissions:#o} has more than permission bits (07777)"
        )));
    }
    let (directory, name) = split(&path.path);
    Ok(Device {
        index: Some(index),
        path: path.path,
        directory,
        name,
        mode: format | permissions,
        major,
        minor,
        uid: wanted.uid,
        gid: wanted.gid,
    })
}

fn number(field: &str, number: u32, max: u32) -> Result<u32> {
    if number > max {
        return Err(Error::invalid(format_args!(
            "{field}: {number} is not a device number (0 to {max})"
        )));
    }
    Ok(number)
}
