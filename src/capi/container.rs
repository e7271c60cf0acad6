// SPDX-License-Identifier: MIT OR Apache-2.0
//! rfs_container: one start of a plan, carried out.
#![allow(non_camel_case_types)]

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_int};
use core::mem::size_of;

use rustix::io::Errno;

use super::guard::guard;
use super::input::{aligned, check_array, invalid, null, sized};
use super::plan::{demand as demand_plan, rfs_plan};
use super::types::*;
use crate::error::{Error, Result, Stage};
use crate::rootfs::{self, container::Container};

/// One start of a plan, with all that changes while the plan is carried out. It is made before the fork, and used by
/// one process and thread.
pub struct rfs_container {
    container: Container,
    /// Those given to rfs_prepare(), which serve to the end.
    callbacks: Cell<rfs_callbacks>,
}

/// Makes a container of a plan; nothing is touched and no path is opened. To be called before the fork: it allocates,
/// and what comes after it does not. The plan may be freed afterwards.
/// *out: owned by the caller; each side of the fork may free its copy with rfs_container_free().
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_container_new(
    plan: *const rfs_plan,
    out: *mut *mut rfs_container,
    err: *mut rfs_error,
) -> c_int {
    let make = || {
        if out.is_null() {
            return Err(null("out").at(Stage::Plan));
        }
        aligned("out", out).map_err(|error| error.at(Stage::Plan))?;
        // SAFETY: the header demands that it come from rfs_plan_new.
        let plan = unsafe { demand_plan(plan, Stage::Plan) }?;
        let made = Box::new(rfs_container {
            container: Container::new(&plan.plan, plan.planned_in),
            callbacks: Cell::new(NO_CALLBACKS),
        });
        // SAFETY: out is not NULL, and so writable.
        unsafe { *out = Box::into_raw(made) };
        Ok(())
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, make) }
}

/// Before rfs_prepare(): gives the rootfs as a directory's descriptor (O_PATH is enough). It wins over the path and
/// over rfs_options.rootfs_fd. Borrowed: the number is noted, and what it refers to when rfs_prepare() runs counts. See
/// rfs_options.rootfs_fd for what it may be.
///
/// -EINVAL: rfs_prepare() has been called; the plan has RFS_OPTION_TMPFS_ROOTFS or RFS_OPTION_HOST_ROOT. -EBADF: fd is
/// negative.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_container_set_rootfs_fd(
    container: *mut rfs_container,
    fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        with(container, Stage::Root, err, |it| {
            check_fd(fd)
                .and_then(|fd| it.container.set_rootfs_fd(fd))
                .map_err(|error| error.at(Stage::Root))
        })
    }
}

/// Before rfs_prepare(): gives the source of a bind, mounts[index], as a descriptor (O_PATH is enough). It wins over
/// the path and over rfs_mount.source_fd. Borrowed, like the descriptor of rfs_container_set_rootfs_fd(). See
/// rfs_mount.source_fd for what it may be.
///
/// -EINVAL: no such mount, or none that is a bind; the host's side opens its source (RFS_MOUNT_FROM_HOST, or it is
/// idmapped); an option is for a source given by path ("relative", "copy-symlink", "src-nofollow"); rfs_prepare() has
/// been called. -EBADF: fd is negative.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_container_set_source_fd(
    container: *mut rfs_container,
    index: u64,
    fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        with(container, Stage::Mounts, err, |it| {
            check_fd(fd)
                .and_then(|fd| it.container.set_source_fd(index, fd))
                .map_err(|error| error.at(Stage::Mounts))
        })
    }
}

/// In a callback of rfs_prepare(): a descriptor (O_PATH) of the container's root as it is now. What the caller opened
/// before rfs_prepare() lies below the mount that the rootfs has become, and what is mounted there is not seen in the
/// container. Borrowed: it is good until the callback returns.
///
/// -EINVAL: container is NULL, or this is not called in such a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rfs_container_root_fd(container: *const rfs_container) -> c_int {
    // SAFETY: the header demands that it come from rfs_container_new, or be NULL.
    let container = unsafe { container.as_ref() };
    let root = container.and_then(|it| it.container.root_fd());
    root.unwrap_or(-Errno::INVAL.raw_os_error())
}

/// In the container's process: makes the mounts, devices and links in the rootfs, calls the callbacks,
/// makes the rootfs the root, and creates process.cwd. Afterwards the working directory is "/". A descriptor 0, 1 or 2
/// that referred to the host's /dev/null then refers to the container's.
///
/// callbacks may be NULL; what they point to must be valid until the container's last call. The caller is in a new
/// mount namespace and has CAP_SYS_ADMIN over it; the process has one thread or has unshared CLONE_FS. It may share its
/// memory with the process that made the container (CLONE_VM).
///
/// After a failure the mount namespace is incomplete, and the process can only report the error and call _exit(2). On
/// the host nothing outside the rootfs is changed, except for labels that "z" and "Z" have set.
///
/// -EINVAL: called in the mount namespace where the plan was made, or a second time; or the kernel refused an argument.
/// -ENOENT, -EPERM, -ENODEV and so on: what the kernel answered; see the message. -ENOMEM: there is no memory.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_prepare(
    container: *mut rfs_container,
    callbacks: *const rfs_callbacks,
    err: *mut rfs_error,
) -> c_int {
    let prepare = |it: &rfs_container| {
        let callbacks = if callbacks.is_null() {
            NO_CALLBACKS
        } else {
            // SAFETY: the header demands that they be as their size says.
            unsafe { sized("rfs_callbacks", callbacks) }.map_err(|error| error.at(Stage::Root))?
        };
        if callbacks.state.is_null() != (callbacks.state_len == 0) {
            return Err(invalid(
                "rfs_callbacks.state and state_len: one is given without the other",
            )
            .at(Stage::Root));
        }
        check_array("rfs_callbacks.state", callbacks.state_len, 1)
            .map_err(|error| error.at(Stage::Root))?;
        if it.container.is_new() {
            it.callbacks.set(callbacks);
        }
        rootfs::prepare(&it.container, &callbacks)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { with(container, Stage::Root, err, prepare) }
}

/// The last step, after rfs_prepare() and after everything that must still write to the rootfs. It makes the mounts
/// that asked for it read-only, then the root. It sets the umask, makes the read-only paths read-only and masks the
/// masked paths.
///
/// -EINVAL: rfs_prepare() has not succeeded with this container; "/" is not the root that it has made; or
/// rfs_finalize() has succeeded already. -EBUSY: a file on a mount is still open for writing.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_finalize(container: *mut rfs_container, err: *mut rfs_error) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        with(container, Stage::Finalize, err, |it| {
            rootfs::finalize(&it.container, &it.callbacks.get())
        })
    }
}

/// Masks the masked paths, and does nothing else, for a runtime with RFS_OPTION_SEPARATE_MASKS.
/// -EINVAL: as rfs_finalize(), or the plan leaves masking to rfs_finalize().
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mask_paths(
    container: *mut rfs_container,
    err: *mut rfs_error,
) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        with(container, Stage::MaskedPaths, err, |it| {
            rootfs::mask_paths(&it.container)
        })
    }
}

/// Makes the read-only paths read-only, and does nothing else, for a runtime with RFS_OPTION_SEPARATE_MASKS.
/// -EINVAL: as rfs_finalize(), or the plan leaves this to rfs_finalize().
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_readonly_paths(
    container: *mut rfs_container,
    err: *mut rfs_error,
) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        with(container, Stage::ReadonlyPaths, err, |it| {
            rootfs::readonly_paths(&it.container)
        })
    }
}

/// Binds a pseudoterminal on the container's /dev/console, which is created if missing. It may be called in an
/// rfs_callbacks.point from RFS_POINT_MOUNTS_READY on, and after rfs_prepare() until rfs_finalize(). pty_fd is the
/// terminal's (not the controlling, "master") end. Its devpts must be mounted in this mount namespace: it is the
/// container's own (posix_openpt(3) after rfs_prepare(), TIOCGPTPEER), or before the switch also the host's. O_PATH is
/// enough. pty_fd is borrowed. The library checks that it is a terminal of a devpts, and uses no path in the container
/// to reach it. For further terminals see rfs_bind_fd().
///
/// -ENOTTY: pty_fd is not such a terminal. -EINVAL: it is called elsewhere.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_bind_console(
    container: *mut rfs_container,
    pty_fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe {
        with(container, Stage::Console, err, |it| {
            rootfs::console::bind_console(&it.container, pty_fd)
        })
    }
}

/// Binds what fd refers to (a file, a socket, a terminal, a directory with the mounts below it) at target, an absolute
/// path in the container; a missing mount point is made. It may be called in an rfs_callbacks.point, and after
/// rfs_prepare() until rfs_finalize(). fd is borrowed (O_PATH is enough). It is of a file of this mount namespace:
/// opened after unshare(2) and, after the switch, in the container; or it is a detached mount, such as
/// rfs_mountfd_open() gives, which is then attached itself.
///
/// -EINVAL: it is called elsewhere; fd is of another mount namespace; target is not absolute, or is "/", or is /proc
/// or below it.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_bind_fd(
    container: *mut rfs_container,
    fd: c_int,
    target: *const c_char,
    err: *mut rfs_error,
) -> c_int {
    let bind = |it: &rfs_container| {
        if target.is_null() {
            return Err(null("target").at(Stage::Mounts));
        }
        // SAFETY: not NULL, and so a string, as the header demands.
        let target = unsafe { CStr::from_ptr(target) };
        rootfs::bind_fd(&it.container, fd, target)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { with(container, Stage::Mounts, err, bind) }
}

/// Frees a container. NULL is allowed. The function frees memory of the heap: in the child of a raw clone made by a
/// program with threads, leave that to execve(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rfs_container_free(container: *mut rfs_container) {
    if !container.is_null() {
        // SAFETY: the header demands that it come from rfs_container_new and not be used again.
        drop(unsafe { Box::from_raw(container) });
    }
}

const NO_CALLBACKS: rfs_callbacks = rfs_callbacks {
    size: size_of::<rfs_callbacks>() as u64,
    userdata: core::ptr::null_mut(),
    mountfd: None,
    point: None,
    log: None,
    state: core::ptr::null(),
    state_len: 0,
};

fn check_fd(fd: c_int) -> Result<c_int> {
    if fd < 0 {
        return Err(Error::check(
            Errno::BADF,
            format_args!("fd is {fd}, which is no descriptor"),
        ));
    }
    Ok(fd)
}

/// # Safety
/// `container` is NULL or from rfs_container_new; `err` as for `guard`.
unsafe fn with(
    container: *mut rfs_container,
    stage: Stage,
    err: *mut rfs_error,
    call: impl FnOnce(&rfs_container) -> Result<()>,
) -> c_int {
    // SAFETY: as promised by the caller. A callback may call in again with the same container: it is borrowed shared.
    unsafe {
        guard(err, || {
            let container = container.as_ref();
            call(container.ok_or_else(|| null("container").at(stage))?)
        })
    }
}
