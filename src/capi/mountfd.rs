// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of a mountfd request.

use core::ffi::{c_int, c_void};
use std::os::fd::IntoRawFd;

use rustix::io::Errno;

use super::guard::{guard, guard_number};
use super::input::{null, sized};
use super::plan::{demand, rfs_plan};
use super::types::*;
use crate::error::{Error, Object, Stage};
use crate::mountfd::{self, Namespaces, Need, Wanted};
use crate::rootfs;

/// Whether rfs_prepare() will ask its mountfd callback for a mount: RFS_MOUNTFD_*. For a runtime that opens all
/// that is needed before the fork.
///
/// -EINVAL: plan is NULL, or index is beyond the configuration's mounts and not RFS_MOUNTFD_ROOTFS.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_plan_mountfd_needed(plan: *const rfs_plan, index: u64) -> c_int {
    // SAFETY: the header demands that it come from rfs_plan_new.
    let plan = unsafe { plan.as_ref() };
    match plan.and_then(|plan| Wanted::of(&plan.plan, index).ok()) {
        None => -Errno::INVAL.raw_os_error(),
        Some(wanted) => match wanted.need() {
            Need::Never => RFS_MOUNTFD_NEVER,
            Need::Possibly => RFS_MOUNTFD_POSSIBLY,
            Need::Certainly => RFS_MOUNTFD_CERTAINLY,
        },
    }
}

/// On the host's side: opens any mount of the plan but a remount, or the rootfs (RFS_MOUNTFD_ROOTFS), for the
/// container's process: a detached clone of the source, or a new file system, with its flags, the propagation it
/// would have in the container's namespace, and its idmapping. A mountfd callback can return it as it is. A file
/// system of a namespace (proc, mqueue, sysfs, cgroup2) is that of the namespaces that the calling thread is in.
///
/// userns_fd: the container's user namespace (/proc/PID/ns/user), borrowed, with its mappings written; for mounts
/// that are idmapped without mappings of their own, and to lock the mount's flags: with it, and a plan for a
/// container in a user namespace, the container's root can't clear "ro", "nosuid", "nodev" and "noexec" again. -1:
/// none. For mappings of the mount's own a user namespace is made, by a process that is gone before this returns; it
/// sends no SIGCHLD, and no wait(2) without __WALL sees it. mntns_fd: the mount namespace in which paths are meant
/// (/proc/PID/ns/mnt), borrowed: in the container's own, sources that earlier mounts brought are found. A process
/// that enters it is made, and is gone before this returns. -1: the caller's. A mount's source_fd, and rootfs_fd, is
/// taken as a descriptor of this process. Any thread may call it. Needs root on the host, for an idmapped mount over
/// the file system too, and /proc.
///
/// Returns a descriptor (O_CLOEXEC), which is the caller's, or a negative errno.
/// -ENOSPC: no mount namespace can be made to lock the mount's flags (user.max_mnt_namespaces).
/// -EINVAL: no such mount, or a remount; no mappings; a file system that can't be idmapped; the mappings are
/// refused. -ENOSYS: the kernel has no mount_setattr(2) (Linux 5.12). -EPERM: no privilege. -ENOENT and so on: the
/// source.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mountfd_open(
    plan: *const rfs_plan,
    index: u64,
    userns_fd: c_int,
    mntns_fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    let open = || {
        // SAFETY: the header demands that plan come from rfs_plan_new, or be NULL.
        let plan = &unsafe { demand(plan, Stage::Mountfd) }?.plan;
        let wanted = Wanted::of(plan, index).map_err(|error| error.at(Stage::Mountfd))?;
        let opened = Namespaces::new(userns_fd, mntns_fd)
            .and_then(|mut namespaces| mountfd::open_wanted(plan, wanted, &mut namespaces));
        let opened = opened.map_err(|error| {
            let error = error.at(Stage::Mountfd);
            match wanted {
                Wanted::Mount(mount) => {
                    error.about(Object::Mount(mount.index), mount.destination.as_bytes())
                }
                Wanted::PassedOver(index) => error.about(Object::Mount(index), b""),
                Wanted::Rootfs(_) => error.about(Object::None, plan.rootfs.path.as_bytes()),
            }
        })?;
        Ok(opened.into_raw_fd())
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard_number(err, open) }
}

/// On the host's side: answers the requests that the container's process makes with rfs_mountfd_request(). A request
/// holds nothing but the index of a mount. The function returns 0 when that process closes its end of the socket, or
/// ends. If a mount can't be opened, the process gets the error and its reason, and the function waits for the next
/// request. Equal mappings share a user namespace.
///
/// socket: one end (borrowed) of a socketpair(2) of AF_UNIX, SOCK_SEQPACKET or SOCK_STREAM. The other end must be open
/// in no process but the container's, and not in this one, or its closing is never noticed. With SO_RCVTIMEO set,
/// -EAGAIN ends it at that time. userns_fd and mntns_fd: as for rfs_mountfd_open(). A source_fd or rootfs_fd of the
/// plan is refused.
///
/// A process that breaks the protocol ends the function with an error. -EBADMSG: it sent something that is no request.
/// -EPROTO: it sent 16 times an index that is unknown, needs no help or was served before, or it does not read the
/// answers. No SIGPIPE is raised.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mountfd_serve(
    plan: *const rfs_plan,
    socket: c_int,
    userns_fd: c_int,
    mntns_fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    let serve = || {
        // SAFETY: the header demands that plan come from rfs_plan_new, or be NULL.
        let plan = unsafe { demand(plan, Stage::Mountfd) }?;
        mountfd::serve(&plan.plan, socket, userns_fd, mntns_fd)
            .map_err(|error| error.at(Stage::Mountfd))
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, serve) }
}

/// On the host's side: answers one request, for a runtime whose event loop has found the socket readable. The
/// parameters are those of rfs_mountfd_serve(). Nothing is kept between calls: a process that was taken over may ask
/// for the same mount again and again. The caller can count the calls and stop.
///
/// Returns 1 after an answer, also one that refuses; 0 when the other end is closed; or the negative errno with which
/// rfs_mountfd_serve() would have ended.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mountfd_answer(
    plan: *const rfs_plan,
    socket: c_int,
    userns_fd: c_int,
    mntns_fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    let answer = || {
        // SAFETY: the header demands that plan come from rfs_plan_new, or be NULL.
        let plan = unsafe { demand(plan, Stage::Mountfd) }?;
        mountfd::answer(&plan.plan, socket, userns_fd, mntns_fd)
            .map(c_int::from)
            .map_err(|error| error.at(Stage::Mountfd))
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard_number(err, answer) }
}

/// In the container's process: a ready rfs_callbacks.mountfd, whose userdata is a pointer to an int: the other end of
/// rfs_mountfd_serve()'s socket. A callback with a userdata of its own can call it. No heap allocation.
///
/// Returns a descriptor, or the negative errno that the host's side sent; its message is then in request->err.
/// -ECONNRESET: the other end of the socket is closed.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mountfd_request(
    socket: *mut c_void,
    request: *const rfs_mount_request,
) -> c_int {
    // SAFETY: NULL, or as its size says.
    let request = unsafe { sized("rfs_mount_request", request) };
    let err = request
        .as_ref()
        .map_or(core::ptr::null_mut(), |request| request.err);
    let ask = || {
        let index = request?.mount_index;
        // SAFETY: the header demands a pointer to an int.
        let socket = unsafe { socket.cast::<c_int>().as_ref() }.ok_or_else(|| null("socket"))?;
        Ok(mountfd::request(*socket, index)?.into_raw_fd())
    };
    // SAFETY: err is NULL or as the header demands.
    unsafe {
        guard_number(err, || {
            ask().map_err(|error: Error| error.at(Stage::Mountfd))
        })
    }
}

/// In a process that has joined the namespaces of a running container: attaches a detached mount at the destination of
/// mounts[index] of the plan. The process has joined with setns(2) at least the container's mount namespace, and the
/// user namespace that owns it. The destination is looked for in this process's "/", as rfs_prepare() does it, and is
/// made if it is missing. The mount is attached as it is. Nothing is allocated from the heap.
///
/// plan: of the container's configuration with the mount added to it, or of any other configuration that has the mount.
/// mountfd: what rfs_mountfd_open() gave, or open_tree(2) with OPEN_TREE_CLONE. Borrowed: the caller closes it. After
/// success it refers to the attached mount. If the mount's root is a file, the container must have a procfs on /proc
/// that shows this process.
///
/// -EINVAL: there is no such mount, or it is a remount, or its destination is "/"; mountfd is not a detached mount;
/// this is the mount namespace in which the plan was made; the destination breaks a rule about /proc. -EBADF: mountfd
/// is not open. -ENOTDIR: one of mount and destination is a directory, and the other is a file. -ENOSYS, -EPERM: the
/// kernel or its policy refuses move_mount(2), and no other call attaches a detached mount. Others: what the kernel
/// answered.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_attach(
    plan: *const rfs_plan,
    index: u64,
    mountfd: c_int,
    err: *mut rfs_error,
) -> c_int {
    let attach = || {
        // SAFETY: the header demands that plan come from rfs_plan_new, or be NULL.
        let plan = unsafe { demand(plan, Stage::Mounts) }?;
        rootfs::attach(&plan.plan, &plan.planned_in, index, mountfd)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, attach) }
}
