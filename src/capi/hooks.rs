// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hooks of the runtime-spec.

use core::ffi::{c_char, c_int};

use super::guard::guard;
use super::input::{hook_kind, invalid, slice};
use super::plan::{demand, rfs_plan};
use super::types::*;
use crate::error::{Error, Stage};
use crate::hooks;

/// Runs the plan's hooks of one kind (RFS_HOOKS_*) in turn, each to its end, and stops at the first that fails. The
/// hooks of RFS_HOOKS_POSTSTOP are all run, and the first failure is returned. The function may be called in any
/// process that has the plan, as often as wanted, in the namespaces and root where the hooks belong: see RFS_HOOKS_*.
/// No heap allocation.
///
/// state: state_len bytes of JSON (runtime-spec, "State"), which each hook finds on its standard input; NULL is not
/// allowed. The output and error of a hook are read; if it fails, err->message has their last part. A hook has no other
/// descriptor. It has the environment that was configured and no other, the default signal dispositions, no blocked
/// signal, and the caller's working directory, umask and credentials. It is not the caller's child, but a grandchild.
/// Processes that it leaves in the background are not waited for, and nobody reads their output.
///
/// The caller may ignore SIGCHLD, or wait for all children in another thread; it gets no SIGCHLD.
///
/// -ECANCELED: a hook exited with another status than 0, or a signal killed it. -ETIMEDOUT: it ran longer than its
/// timeout, and was killed (but not what it had started). -ENOENT, -EACCES, -ENOEXEC and so on: execve(2) failed.
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
        hooks::run(&plan.plan, kind, state)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, run) }
}
