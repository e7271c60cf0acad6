// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors.

use core::ffi::c_char;

/// The part of a start in which an error arose.
pub type rfs_stage = u32;
/// Reading a configuration: rfs_config_*().
pub const RFS_STAGE_CONFIG: u32 = 1;
/// Turning a configuration into a plan: rfs_plan_*().
pub const RFS_STAGE_PLAN: u32 = 2;
/// Preparing the mount namespace and the rootfs itself.
pub const RFS_STAGE_ROOT: u32 = 3;
/// Mounting.
pub const RFS_STAGE_MOUNTS: u32 = 4;
/// Making device nodes and the links in /dev.
pub const RFS_STAGE_DEVICES: u32 = 5;
/// A hook failed, or the point callback.
pub const RFS_STAGE_HOOKS: u32 = 6;
/// Switching to the new root.
pub const RFS_STAGE_PIVOT: u32 = 7;
/// Working directory and standard descriptors in the new root.
pub const RFS_STAGE_PROCESS: u32 = 8;
/// Making mounts and the root read-only: rfs_finalize().
pub const RFS_STAGE_FINALIZE: u32 = 9;
/// Making paths read-only.
pub const RFS_STAGE_READONLY_PATHS: u32 = 10;
/// Masking paths.
pub const RFS_STAGE_MASKED_PATHS: u32 = 11;
/// Binding the console.
pub const RFS_STAGE_CONSOLE: u32 = 12;
/// Opening a mount on the host's side: rfs_mountfd_*().
pub const RFS_STAGE_MOUNTFD: u32 = 13;

/// What rfs_error.index counts.
pub type rfs_object = u32;
/// It counts nothing; the index is -1.
pub const RFS_OBJECT_NONE: u32 = 0;
/// The mounts, in the order in which they were given (config.json: mounts[index]).
pub const RFS_OBJECT_MOUNT: u32 = 1;
/// The configured devices (config.json: linux.devices[index]). A default device has index -1.
pub const RFS_OBJECT_DEVICE: u32 = 2;
/// The masked paths (config.json: linux.maskedPaths[index]).
pub const RFS_OBJECT_MASKED_PATH: u32 = 3;
/// The read-only paths (config.json: linux.readonlyPaths[index]).
pub const RFS_OBJECT_READONLY_PATH: u32 = 4;
/// The hooks of one kind, which the message names (config.json: hooks.prestart[index] and so on).
pub const RFS_OBJECT_HOOK: u32 = 5;

/// What went wrong. The caller owns it and sets `size`. It needs no cleaning up. Its content is undefined after
/// success.
///
/// If `size` is smaller than this header's, the struct is filled as far as it goes. If it is larger, the rest is left
/// alone. A `size` that does not reach the end of `index` is -EINVAL.
#[repr(C)]
pub struct rfs_error {
    /// sizeof(rfs_error), set by the caller.
    pub size: u64,
    /// The negative errno that the function returned.
    pub code: i32,
    /// RFS_STAGE_*: where it happened.
    pub stage: rfs_stage,
    /// RFS_OBJECT_*: what `index` counts.
    pub object: rfs_object,
    /// 0.
    pub reserved: u32,
    /// Which mount, device, path or hook of the configuration it is, from 0; -1 if it is none.
    pub index: i64,
    /// The operation that failed: the name of a system call ("move_mount"), "check" where a rule was broken, the name
    /// of a callback, or "hook" for a hook that ran and failed.
    pub operation: [c_char; 32],
    /// The path that the operation concerned, as configured. A long path keeps its end, after "...". It may be empty.
    pub path: [c_char; 256],
    /// One sentence for a person: which object, path and operation, the kernel's own message where it gave one, and
    /// what to do. It ends with no newline.
    ///
    /// Here, in `path` and in log messages, these are written as \xNN: bytes that are not UTF-8, control characters,
    /// characters without a width, and those that change the direction of writing. So a file's name can't move the
    /// terminal's cursor.
    pub message: [c_char; 1024],
    /// `message` without ": " and the words of the errno: for a caller that writes strerror(-code) itself.
    pub detail: [c_char; 1024],
}
