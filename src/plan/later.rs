// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the read-only mounts that become read-only only at the end, because something is still made in them.

use std::ffi::CString;

use libc::MOUNT_ATTR_RDONLY;

use super::{Kind, Mount};

/// A read-only tmpfs becomes read-only at the end, because the runtime may still write to it. A read-only bind does
/// so if a later mount or the working directory lies below it, because that may have to be made. A mount that a later
/// mount covers can't be found at the end, so it is made read-only at once.
pub fn defer_readonly(mounts: &mut [Mount], cwd: Option<&CString>) {
    let mut order: Vec<(CString, usize)> = Vec::with_capacity(mounts.len());
    let places = mounts.iter().enumerate();
    order.extend(places.map(|(place, mount)| (place_of(mount), place)));
    order.sort_unstable();
    for place in 0..mounts.len() {
        if !is_deferrable(&mounts[place]) {
            continue;
        }
        let destination = mounts[place].destination.as_bytes();
        let covered = covered_at(&order, destination, place);
        let end = covered.unwrap_or(mounts.len());
        let is_needed = has_below(&order, destination, place + 1..end)
            || (covered.is_none() && cwd.is_some_and(|cwd| is_below(cwd.as_bytes(), destination)));
        let is_later = match &mounts[place].kind {
            Kind::Bind(_) => is_needed && covered.is_none(),
            _ => is_needed || covered.is_none(),
        };
        if is_later {
            defer(&mut mounts[place]);
        }
    }
}

/// A file that is made at a path covers no mount there. It is made in that mount.
fn place_of(mount: &Mount) -> CString {
    if !mount.is_made() {
        return mount.destination.clone();
    }
    let inside = [mount.destination.as_bytes(), b"/."].concat();
    CString::new(inside).unwrap_or_default()
}

fn is_deferrable(mount: &Mount) -> bool {
    match &mount.kind {
        Kind::Filesystem(it) => {
            let is_filled = it.fstype.as_c_str() == c"tmpfs" || mount.is_on_dev();
            is_filled && it.attributes & MOUNT_ATTR_RDONLY != 0
        }
        Kind::Bind(it) => it.change.is_some_and(|change| change.is_readonly()) && !mount.from_host,
        Kind::Remount(_) | Kind::Cgroup(_) | Kind::Make(_) => false,
    }
}

fn defer(mount: &mut Mount) {
    mount.readonly_later = true;
    match &mut mount.kind {
        Kind::Filesystem(it) => {
            it.attributes &= !MOUNT_ATTR_RDONLY;
            it.parameters.retain(|given| given.key.as_c_str() != c"ro");
        }
        Kind::Bind(it) => {
            if let Some(change) = &mut it.change {
                change.leave_readonly();
            }
        }
        Kind::Remount(_) | Kind::Cgroup(_) | Kind::Make(_) => {}
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| (directory == b"/" && !rest.is_empty()) || rest.first() == Some(&b'/'))
}

/// The first later mount on the destination or on a directory above it.
fn covered_at(order: &[(CString, usize)], destination: &[u8], place: usize) -> Option<usize> {
    let ends = (1..=destination.len())
        .filter(|&end| end == destination.len() || end == 1 || destination[end] == b'/');
    ends.filter_map(|end| first_later(order, &destination[..end], place))
        .min()
}

fn first_later(order: &[(CString, usize)], path: &[u8], place: usize) -> Option<usize> {
    let next = order.partition_point(|(at, it)| (at.as_bytes(), *it) <= (path, place));
    let (at, found) = order.get(next)?;
    (at.as_bytes() == path).then_some(*found)
}

/// Whether one of these mounts lies below.
fn has_below(order: &[(CString, usize)], directory: &[u8], among: core::ops::Range<usize>) -> bool {
    let first = order.partition_point(|(at, _)| at.as_bytes() <= directory);
    let sorted_after = order[first..].iter();
    sorted_after
        .take_while(|(at, _)| at.as_bytes().starts_with(directory))
        .any(|(at, place)| among.contains(place) && is_below(at.as_bytes(), directory))
}
