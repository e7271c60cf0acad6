// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts that the host's side opens.

use core::ffi::c_int;

/// Stands for the rootfs where a mount is named by its index.
pub const RFS_MOUNTFD_ROOTFS: u64 = u64::MAX;
/// The container's process makes this mount itself, and never asks for it.
pub const RFS_MOUNTFD_NEVER: c_int = 0;
/// It asks if it can't open the bind's source, or the rootfs.
pub const RFS_MOUNTFD_POSSIBLY: c_int = 1;
/// It asks: the mount is idmapped, or has RFS_MOUNT_FROM_HOST.
pub const RFS_MOUNTFD_CERTAINLY: c_int = 2;
