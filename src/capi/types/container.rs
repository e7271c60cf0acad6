// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the library asks of its caller while a container is set up.

use core::ffi::{c_char, c_int, c_void};

use super::error::rfs_error;

/// A mount that the host's side must open: an idmapped mount, one with RFS_MOUNT_FROM_HOST, or a bind or the rootfs
/// whose path can't be opened by the container's process.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_mount_request {
    /// sizeof(rfs_mount_request), set by the library.
    pub size: u64,
    /// RFS_REQUEST_*.
    pub flags: u64,
    /// Which mount of the configuration, from 0, or RFS_MOUNTFD_ROOTFS.
    pub mount_index: u64,
    /// The source of the mount. Valid during the call.
    pub source: *const c_char,
    /// The destination of the mount. Valid during the call.
    pub destination: *const c_char,
    /// Where a callback that fails may say why: to be filled by a function of this library, or its `message` by hand.
    /// Valid during the call, its size set. What is left empty adds nothing to the error.
    pub err: *mut rfs_error,
}
/// The descriptor must hold the whole tree of mounts below the source (AT_RECURSIVE).
pub const RFS_REQUEST_RECURSIVE: u64 = 1;
/// The mount must be idmapped with the mount's mappings, or the container's user namespace if it has none.
pub const RFS_REQUEST_IDMAP: u64 = 2;
/// The idmapping must cover the mounts below the source too.
pub const RFS_REQUEST_IDMAP_RECURSIVE: u64 = 4;

/// A moment of rfs_prepare() at which the point callback is called. No value is an rfs_hook_kind.
pub type rfs_point = u32;
/// The rootfs is a mount of its own. Nothing is mounted in it yet.
pub const RFS_POINT_ROOT_READY: u32 = 0x101;
/// All mounts are made. Nothing in /dev is made yet.
pub const RFS_POINT_MOUNTED: u32 = 0x102;
/// The devices and links in /dev are made, too. The old root is still the root, and the working directory has not
/// changed: the host runs the prestart and createRuntime hooks now, in this order.
pub const RFS_POINT_MOUNTS_READY: u32 = 0x103;
/// The working directory is the rootfs; the old root is still the root. The createContainer hooks are run now.
pub const RFS_POINT_CREATE_CONTAINER: u32 = 0x104;
/// The last moment at which the host's files can be reached.
pub const RFS_POINT_BEFORE_SWITCH: u32 = 0x105;
/// The rootfs is "/", the old root is gone, and nothing is read-only yet.
pub const RFS_POINT_AFTER_SWITCH: u32 = 0x106;

/// How much a message matters.
pub type rfs_log_level = u32;
/// The configuration works, but probably not as meant.
pub const RFS_LOG_WARNING: u32 = 1;
/// What the library chose to do where it had a choice.
pub const RFS_LOG_DEBUG: u32 = 2;

/// What the library asks of its caller. rfs_prepare() takes the callbacks, and they are used until the container's last
/// call. Every function may be NULL. A callback runs in the process and thread that called the library, with the umask
/// that this thread had. It must return; it must not jump away. It may call the functions that take a container, with
/// the same container, where these allow it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct rfs_callbacks {
    /// sizeof(rfs_callbacks).
    pub size: u64,
    /// Handed to every function as its first parameter.
    pub userdata: *mut c_void,
    /// Opens a mount on the host's side: returns a descriptor of a detached mount (open_tree(2) with
    /// OPEN_TREE_CLONE), which the library then owns and closes, or a negative errno. NULL: what needs it is an error.
    pub mountfd: Option<
        unsafe extern "C" fn(userdata: *mut c_void, request: *const rfs_mount_request) -> c_int,
    >,
    /// Called at each RFS_POINT_* in turn. If it returns a negative errno, rfs_prepare() ends and returns that. It may
    /// change what is mounted in the rootfs: later paths are resolved anew, from the container's root.
    /// rfs_container_root_fd() returns a descriptor of that root.
    pub point: Option<unsafe extern "C" fn(userdata: *mut c_void, point: rfs_point) -> c_int>,
    /// Takes a message of one line without a newline, valid during the call.
    pub log: Option<
        unsafe extern "C" fn(userdata: *mut c_void, level: rfs_log_level, message: *const c_char),
    >,
    /// The container's state (runtime-spec, "State"; status "creating"), state_len bytes of JSON, with which the
    /// createContainer hooks are run at RFS_POINT_CREATE_CONTAINER, after the point callback. NULL: the point callback
    /// runs them, with rfs_run_hooks(). A plan with createContainer hooks is -EINVAL if both `state` and `point` are
    /// NULL.
    pub state: *const c_char,
    /// How many bytes there are; not 0 with a state.
    pub state_len: usize,
}
