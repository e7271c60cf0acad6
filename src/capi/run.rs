//! A plan carried out.

use core::ffi::c_int;
use core::mem::size_of;

use super::guard::guard;
use super::input::sized;
use super::plan::{demand, rfs_plan};
use super::types::*;
use crate::error::{Result, Stage};
use crate::plan::Plan;
use crate::rootfs;
use crate::rootfs::state::State;

/// In the container's process: makes the mounts, devices and links in the rootfs, calls the hooks,
/// makes the rootfs the root, and creates process.cwd. Afterwards the working directory is "/",
/// and those of descriptors 0, 1 and 2 that were the host's /dev/null are the container's.
///
/// callbacks may be NULL. The caller is in a new mount namespace and has CAP_SYS_ADMIN over it; the process should have one thread
/// or have unshared CLONE_FS. No heap allocation, but for cgroup v1, tmpcopyup and RFS_OPTION_NO_PIVOT.
///
/// After a failure the namespace is half made and good for nothing but _exit(); the host is untouched.
///
/// -EINVAL: called in the namespace where the plan was made, or a second time; or the kernel refused an argument.
/// -ENOENT, -EPERM, -ENODEV and so on: what the kernel answered; see the message.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_prepare(
    plan: *const rfs_plan,
    callbacks: *const rfs_callbacks,
    err: *mut rfs_error,
) -> c_int {
    let prepare = || {
        // SAFETY: the header demands that it come from rfs_plan_new.
        let plan = unsafe { demand(plan, Stage::Root) }?;
        let callbacks = if callbacks.is_null() {
            NO_CALLBACKS
        } else {
            // SAFETY: the header demands that they be as their size says.
            unsafe { sized("rfs_callbacks", callbacks) }.map_err(|error| error.at(Stage::Root))?
        };
        rootfs::prepare(&plan.plan, &plan.state, &callbacks)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, prepare) }
}

/// After rfs_prepare() and whatever must still write to the rootfs: makes the mounts that asked for
/// it, then the root, read-only, sets the umask, makes the read-only paths so and masks the masked
/// ones. No heap allocation.
///
/// -EINVAL: rfs_prepare() has not succeeded in this process. -EBUSY: a mount is still open for writing.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_finalize(plan: *const rfs_plan, err: *mut rfs_error) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { after_prepare(plan, Stage::Finalize, err, rootfs::finalize) }
}

/// Only the masked paths, for a runtime with RFS_OPTION_SEPARATE_MASKS. No heap allocation.
/// -EINVAL: rfs_prepare() has not succeeded in this process, or masking is left to rfs_finalize().
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mask_paths(plan: *const rfs_plan, err: *mut rfs_error) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { after_prepare(plan, Stage::MaskedPaths, err, rootfs::mask_paths) }
}

/// Only the read-only paths, for a runtime with RFS_OPTION_SEPARATE_MASKS. No heap allocation.
/// -EINVAL: rfs_prepare() has not succeeded in this process, or it is left to rfs_finalize().
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_readonly_paths(plan: *const rfs_plan, err: *mut rfs_error) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { after_prepare(plan, Stage::ReadonlyPaths, err, rootfs::readonly_paths) }
}

/// After rfs_prepare(): binds the pseudoterminal on /dev/console, which is created if missing. pty_fd is the terminal's
/// (not the controlling, "master") end, opened in the container's devpts (posix_openpt(3) after rfs_prepare()); borrowed.
/// It is checked to be a terminal of a devpts, and no path in the container leads to it.
///
/// -ENOTTY: pty_fd is not such a terminal.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_bind_console(pty_fd: c_int, err: *mut rfs_error) -> c_int {
    // SAFETY: err is NULL or as the header demands.
    unsafe { guard(err, || rootfs::console::bind_console(pty_fd)) }
}

const NO_CALLBACKS: rfs_callbacks = rfs_callbacks {
    size: size_of::<rfs_callbacks>() as u64,
    userdata: core::ptr::null_mut(),
    mountfd: None,
    hooks: None,
    log: None,
};

/// # Safety
/// `plan` is NULL or from rfs_plan_new; `err` as for `guard`.
unsafe fn after_prepare(
    plan: *const rfs_plan,
    stage: Stage,
    err: *mut rfs_error,
    step: fn(&Plan, &State) -> Result<()>,
) -> c_int {
    // SAFETY: as promised by the caller.
    unsafe {
        guard(err, || {
            demand(plan, stage).and_then(|plan| step(&plan.plan, &plan.state))
        })
    }
}
