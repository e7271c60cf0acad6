//! A plan carried out.

use core::ffi::{CStr, c_char, c_int};
use core::mem::size_of;

use super::guard::guard;
use super::input::{hook_kind, invalid, null, sized, slice};
use super::plan::{demand, rfs_plan};
use super::types::*;
use crate::error::{Error, Result, Stage};
use crate::plan::Plan;
use crate::rootfs;
use crate::rootfs::state::State;

/// In the container's process: makes the mounts, devices and links in the rootfs, calls the hooks,
/// makes the rootfs the root, and creates process.cwd. Afterwards the working directory is "/",
/// and those of descriptors 0, 1 and 2 that were the host's /dev/null are the container's.
///
/// callbacks may be NULL. The caller is in a new mount namespace and has CAP_SYS_ADMIN over it; the process should have one thread
/// or have unshared CLONE_FS. No heap allocation, but for cgroup v1, tmpcopyup, "z" and "Z", and RFS_OPTION_NO_PIVOT.
///
/// After a failure the namespace is half made and good for nothing but _exit(). Outside the rootfs, where mount points,
/// nodes and links may have been made, the host is untouched, but for labels that "z" and "Z" had set.
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
        if callbacks.state.is_null() != (callbacks.state_len == 0) {
            return Err(invalid(
                "rfs_callbacks.state and state_len: one is given without the other",
            )
            .at(Stage::Root));
        }
        let state = callbacks.state.cast::<u8>();
        // SAFETY: the header demands state_len bytes there.
        unsafe { slice("rfs_callbacks.state", state, callbacks.state_len) }
            .map_err(|error| error.at(Stage::Root))?;
        rootfs::prepare(&plan.plan, &plan.state, &callbacks)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, prepare) }
}

/// After rfs_prepare() and whatever must still write to the rootfs: makes the mounts that asked for
/// it, then the root, read-only, sets the umask, makes the read-only paths so and masks the masked
/// ones. No heap allocation.
///
/// -EINVAL: rfs_prepare() has not succeeded in this process (one forked off later is another), or this has
/// been done already. -EBUSY: a mount is still open for writing.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_finalize(plan: *const rfs_plan, err: *mut rfs_error) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { after_prepare(plan, Stage::Finalize, err, rootfs::finalize) }
}

/// Only the masked paths, for a runtime with RFS_OPTION_SEPARATE_MASKS. No heap allocation.
/// -EINVAL: as rfs_finalize(), or masking is left to that.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_mask_paths(plan: *const rfs_plan, err: *mut rfs_error) -> c_int {
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { after_prepare(plan, Stage::MaskedPaths, err, rootfs::mask_paths) }
}

/// Only the read-only paths, for a runtime with RFS_OPTION_SEPARATE_MASKS. No heap allocation.
/// -EINVAL: as rfs_finalize(), or it is left to that.
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

/// Runs the plan's hooks of one kind (RFS_HOOKS_*) in turn, each to its end, and stops at the first that fails; of
/// RFS_HOOKS_POSTSTOP all are run, and the first failure is returned. It may be called in any process that has the plan, as often as
/// wanted, in the namespaces and root where the hooks belong: see RFS_HOOKS_*. No heap allocation.
///
/// state: state_len bytes of JSON (runtime-spec, "State"), which each hook finds on its standard input; NULL is not allowed.
/// Standard output and error are read, and their end is in err->message if the hook fails. A hook has no
/// other descriptor, the environment that was configured and no other, default signal dispositions, none blocked, and
/// the caller's working directory, umask and credentials. It is not the caller's child, but a grandchild. What it leaves
/// in the background is not waited for; its output has no reader then.
///
/// The caller may ignore SIGCHLD, or wait for all children in another thread; it gets no SIGCHLD.
///
/// -ECANCELED: a hook exited with another status than 0, or a signal killed it. -ETIMEDOUT: it ran longer than its timeout,
/// and was killed (but not what it had started). -ENOENT, -EACCES, -ENOEXEC and so on: execve(2) failed.
/// -EINVAL: an unknown kind, or no state. -ECHILD: the process between the caller and the hook was killed.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_run_hooks(
    plan: *const rfs_plan,
    kind: rfs_hook_kind,
    state: *const c_char,
    state_len: usize,
    err: *mut rfs_error,
) -> c_int {
    let run = || {
        let at = |error: Error| error.at(Stage::Hooks);
        // SAFETY: the header demands that it come from rfs_plan_new.
        let plan = unsafe { demand(plan, Stage::Hooks) }?;
        let kind = hook_kind(kind).map_err(at)?;
        // SAFETY: the header demands state_len bytes at state.
        let state = unsafe { slice("state", state.cast::<u8>(), state_len) }.map_err(at)?;
        if state.is_empty() {
            return Err(at(invalid("state is empty; hooks read JSON")));
        }
        rootfs::hooks::run(&plan.plan, kind, state)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, run) }
}

/// In an rfs_callbacks.hooks before RFS_HOOK_AFTER_PIVOT: binds what fd refers to (a file, a socket, a directory with the
/// mounts below it) at target, an absolute path in the container; a missing mount point is made. fd is borrowed (O_PATH is
/// enough), and of a file of this mount namespace: opened after unshare(2), or as a detached mount, such as
/// rfs_mountfd_open() gives, which then is what is attached. No heap allocation.
///
/// -EINVAL: not in such a callback; fd is of another mount namespace; the target is not absolute, or is the root, or /proc
/// or below.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_bind_fd(
    plan: *const rfs_plan,
    fd: c_int,
    target: *const c_char,
    err: *mut rfs_error,
) -> c_int {
    let bind = || {
        // SAFETY: as in demand.
        let plan = unsafe { demand(plan, Stage::Mounts) }?;
        if target.is_null() {
            return Err(null("target").at(Stage::Mounts));
        }
        // SAFETY: not NULL, and so a string, as the header demands.
        let target = unsafe { CStr::from_ptr(target) };
        rootfs::bind_fd(&plan.plan, &plan.state, fd, target)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, bind) }
}

const NO_CALLBACKS: rfs_callbacks = rfs_callbacks {
    size: size_of::<rfs_callbacks>() as u64,
    userdata: core::ptr::null_mut(),
    mountfd: None,
    hooks: None,
    log: None,
    state: core::ptr::null(),
    state_len: 0,
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
