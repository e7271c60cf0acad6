// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hooks of the runtime-spec.

use core::ffi::{c_char, c_int};

use super::guard::guard;
use super::input::{hook_kind, invalid, slice};
use super::plan::{demand, rfs_plan};
use super::types::*;
use crate::error::{Error, Stage};
use crate::hooks;

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
        hooks::run(&plan.plan, kind, state)
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, run) }
}
