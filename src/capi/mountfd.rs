//! The host's side of a mountfd request.

use core::ffi::c_int;
use std::os::fd::IntoRawFd;

use rustix::io::Errno;

use super::guard::guard_number;
use super::plan::{demand, rfs_plan};
use super::types::*;
use crate::error::{Error, Object, Stage};
use crate::mountfd::{self, Namespaces, Need};

/// Whether rfs_prepare() will ask its mountfd callback for a mount: RFS_MOUNTFD_*. For a runtime that opens all
/// that is needed before the fork.
///
/// -EINVAL: plan is NULL, or mount_index is beyond the configuration's mounts.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_plan_mountfd_needed(
    plan: *const rfs_plan,
    mount_index: usize,
) -> c_int {
    // SAFETY: the header demands that it come from rfs_plan_new.
    let plan = unsafe { plan.as_ref() };
    match plan.and_then(|plan| plan.plan.mounts.get(mount_index)) {
        None => -Errno::INVAL.raw_os_error(),
        Some(mount) => match mountfd::need(mount) {
            Need::Never => RFS_MOUNTFD_NEVER,
            Need::Possibly => RFS_MOUNTFD_POSSIBLY,
            Need::Certainly => RFS_MOUNTFD_CERTAINLY,
        },
    }
}

/// On the host's side: opens a mount of the plan for the container's process: a detached clone of the source in this
/// process's mount namespace, with its flags, the propagation it would have in the container's namespace, and its
/// idmapping. A mountfd callback can return it as it is. The mounts of rfs_plan_mountfd_needed() other than
/// RFS_MOUNTFD_NEVER can be opened.
///
/// userns_fd: the container's user namespace (/proc/PID/ns/user), borrowed, with its mappings written; for mounts that
/// are idmapped without mappings of their own. -1: none. For mappings of the mount's own a user namespace is made, by
/// a process that is gone before this returns; it sends no SIGCHLD, and no wait(2) without __WALL sees it.
/// A mount's source_fd is taken as a descriptor of this process.
/// Any thread may call it. Needs root on the host, for an idmapped mount over the file system too, and /proc.
///
/// Returns a descriptor (O_CLOEXEC), which is the caller's, or a negative errno.
/// -EINVAL: no such mount, or none that needs help; no mappings; a file system that can't be idmapped; the mappings are
/// refused. -ENOSYS: the kernel has no mount_setattr(2) (Linux 5.12). -EPERM: no privilege. -ENOENT and so on: the source.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mountfd_open(
    plan: *const rfs_plan,
    mount_index: usize,
    userns_fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    let open = || {
        // SAFETY: as in demand.
        let plan = &unsafe { demand(plan, Stage::Mountfd) }?.plan;
        let mount = plan.mounts.get(mount_index).ok_or_else(|| {
            let count = plan.mounts.len();
            Error::invalid(format_args!(
                "mount_index is {mount_index}, but the plan has {count} mounts"
            ))
            .at(Stage::Mountfd)
        })?;
        let opened = Namespaces::new(userns_fd)
            .and_then(|mut namespaces| mountfd::open(plan, mount, &mut namespaces));
        let opened = opened.map_err(|error| {
            let object = Object::Mount(mount_index);
            error
                .at(Stage::Mountfd)
                .about(object, mount.destination.as_bytes())
        })?;
        Ok(opened.into_raw_fd())
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard_number(err, open) }
}
