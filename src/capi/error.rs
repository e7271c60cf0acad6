// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes an Error into the caller's rfs_error.

use core::ffi::c_char;
use core::fmt::Display;
use core::mem::{offset_of, size_of};

use super::types::*;
use crate::error::{Error, Object, Stage};
use crate::text::Text;

/// The size up to the end of `index` in the first version. A smaller struct has no room for an error.
const SMALLEST: usize = offset_of!(rfs_error, operation);

impl rfs_error {
    pub const EMPTY: Self = rfs_error {
        size: size_of::<rfs_error>() as u64,
        code: 0,
        stage: 0,
        object: RFS_OBJECT_NONE,
        reserved: 0,
        index: -1,
        operation: [0; 32],
        path: [0; 256],
        message: [0; 1024],
        detail: [0; 1024],
    };
}

/// Whether `err` is NULL, or an aligned rfs_error whose size was set.
///
/// # Safety
/// `err` is NULL or readable for 8 bytes.
pub unsafe fn is_usable(err: *const rfs_error) -> bool {
    // SAFETY: as promised by the caller.
    err.is_null() || err.is_aligned() && unsafe { (*err).size } >= SMALLEST as u64
}

/// # Safety
/// `err` is NULL or writable for as many bytes as its `size` says.
pub unsafe fn fill(err: *mut rfs_error, error: &Error) {
    if err.is_null() {
        return;
    }
    // SAFETY: as promised by the caller.
    let size = unsafe { (*err).size };
    let details = error.details();
    let (object, index) = object(details.object);
    let mut filled = rfs_error {
        size,
        code: -error.errno.raw_os_error(),
        stage: stage(details.stage),
        object,
        index,
        ..rfs_error::EMPTY
    };
    copy(&mut filled.operation, details.operation.as_bytes());
    let path = if details.path.is_empty() {
        &details.acted_on
    } else {
        &details.path
    };
    copy(&mut filled.path, path.as_bytes());
    write(&mut filled.message, error);
    write(&mut filled.detail, error.detail());
    let length = usize::try_from(size)
        .unwrap_or(usize::MAX)
        .min(size_of::<rfs_error>());
    // SAFETY: `length` is within both; an rfs_error is plain data.
    unsafe {
        core::ptr::copy_nonoverlapping((&raw const filled).cast::<u8>(), err.cast::<u8>(), length);
    }
}

#[inline(never)]
fn write(to: &mut [c_char; 1024], text: impl Display) {
    copy(to, Text::<1023>::format(text).as_bytes());
}

/// Copies as much of a text as fits, and leaves at least one NUL.
fn copy<const N: usize>(to: &mut [c_char; N], from: &[u8]) {
    for (to, from) in to[..N - 1].iter_mut().zip(from) {
        *to = *from as c_char;
    }
}

fn stage(stage: Stage) -> rfs_stage {
    match stage {
        Stage::Config => RFS_STAGE_CONFIG,
        Stage::Plan => RFS_STAGE_PLAN,
        Stage::Root => RFS_STAGE_ROOT,
        Stage::Mounts => RFS_STAGE_MOUNTS,
        Stage::Devices => RFS_STAGE_DEVICES,
        Stage::Hooks => RFS_STAGE_HOOKS,
        Stage::Pivot => RFS_STAGE_PIVOT,
        Stage::Process => RFS_STAGE_PROCESS,
        Stage::Finalize => RFS_STAGE_FINALIZE,
        Stage::ReadonlyPaths => RFS_STAGE_READONLY_PATHS,
        Stage::MaskedPaths => RFS_STAGE_MASKED_PATHS,
        Stage::Console => RFS_STAGE_CONSOLE,
        Stage::Mountfd => RFS_STAGE_MOUNTFD,
    }
}

fn object(object: Object) -> (rfs_object, i64) {
    let position = |index: usize| i64::try_from(index).unwrap_or(-1);
    match object {
        Object::None => (RFS_OBJECT_NONE, -1),
        Object::Mount(index) => (RFS_OBJECT_MOUNT, position(index)),
        Object::Device(index) => (RFS_OBJECT_DEVICE, index.map_or(-1, position)),
        Object::MaskedPath(index) => (RFS_OBJECT_MASKED_PATH, position(index)),
        Object::ReadonlyPath(index) => (RFS_OBJECT_READONLY_PATH, position(index)),
        Object::Hook(_, index) => (RFS_OBJECT_HOOK, position(index)),
    }
}
