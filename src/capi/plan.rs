// SPDX-License-Identifier: MIT OR Apache-2.0
//! rfs_plan: what will be done.
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_int};
use std::sync::Arc;

use super::config::rfs_config;
use super::guard::guard;
use super::input::{aligned, null};
use super::types::*;
use crate::error::{During, Error, Result, Stage};
use crate::plan::Plan;
use crate::sys::namespace::{self, Identity};
use crate::{rootfs, sys};

/// What will be done for a container. It is checked, frozen and constant. Any number of containers, threads and
/// processes share it.
pub struct rfs_plan {
    pub(super) plan: Arc<Plan>,
    /// The mount namespace in which it was made.
    pub(super) planned_in: Identity,
}

/// Checks a configuration and turns it into a plan. It changes nothing. Call it on the host's side, before the fork (or
/// see RFS_OPTION_PLANNED_INSIDE). The configuration may be freed afterwards.
/// *out: owned by the caller; free it with rfs_plan_free().
///
/// -EINVAL: something in the configuration is impossible; the message says what.
/// -ENAMETOOLONG: a path over PATH_MAX or a name over NAME_MAX bytes. -E2BIG: too many mounts.
/// -ENOENT, -ENOTDIR, -ELOOP: the rootfs is missing, is not a directory, or is a symbolic link.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_plan_new(
    config: *const rfs_config,
    out: *mut *mut rfs_plan,
    err: *mut rfs_error,
) -> c_int {
    let make = || {
        if out.is_null() {
            return Err(null("out").at(Stage::Plan));
        }
        aligned("out", out).map_err(|error| error.at(Stage::Plan))?;
        // SAFETY: the header demands that it come from rfs_config_new or rfs_config_from_oci.
        let config = unsafe { config.as_ref() }.ok_or_else(|| null("config").at(Stage::Plan))?;
        let plan = Plan::new(&config.0)?;
        rootfs::check(&plan)?;
        let made = Box::new(rfs_plan {
            plan: Arc::new(plan),
            planned_in: namespace::identify(),
        });
        // SAFETY: out is not NULL, and so writable.
        unsafe { *out = Box::into_raw(made) };
        Ok(())
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, make) }
}

/// Writes the plan to fd (borrowed, at its file position) as JSON. Each line is an object for one step, in the order of
/// execution. The output is for people and tests: later versions may add keys.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn rfs_plan_describe(
    plan: *const rfs_plan,
    fd: c_int,
    err: *mut rfs_error,
) -> c_int {
    let describe = || {
        // SAFETY: the header demands that plan come from rfs_plan_new, or be NULL.
        let plan = unsafe { demand(plan, Stage::Plan) }?;
        let mut text = Vec::new();
        plan.plan
            .describe(&mut text)
            .map_err(|error| Error::invalid(error).at(Stage::Plan))?;
        write_all(fd, &text).map_err(|error| error.at(Stage::Plan))
    };
    // SAFETY: pointers are NULL or as the header demands.
    unsafe { guard(err, describe) }
}

/// A warning about the configuration: it works, but probably not as meant. i counts from 0; the result is NULL past the
/// last. The string belongs to the plan. The log callback of a container is told the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rfs_plan_warning(plan: *const rfs_plan, i: u64) -> *const c_char {
    // SAFETY: the header demands that it come from rfs_plan_new, or be NULL.
    let plan = unsafe { plan.as_ref() };
    let warning = plan.and_then(|plan| plan.plan.warnings.get(usize::try_from(i).ok()?));
    warning.map_or(core::ptr::null(), |warning| warning.as_ptr())
}

/// Frees a plan. Containers that were made from it stay valid. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rfs_plan_free(plan: *mut rfs_plan) {
    if !plan.is_null() {
        // SAFETY: the header demands that it come from rfs_plan_new and not be used again.
        drop(unsafe { Box::from_raw(plan) });
    }
}

/// # Safety
/// `plan` is NULL or from rfs_plan_new.
pub(super) unsafe fn demand<'a>(plan: *const rfs_plan, stage: Stage) -> Result<&'a rfs_plan> {
    // SAFETY: as promised by the caller.
    unsafe { plan.as_ref() }.ok_or_else(|| null("plan").at(stage))
}

fn write_all(fd: c_int, mut text: &[u8]) -> Result<()> {
    let fd = sys::fd::CallersFd::new(fd).during("fcntl", b"")?;
    while !text.is_empty() {
        match rustix::io::write(fd, text) {
            Ok(written) => text = &text[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::system(errno, "write")),
        }
    }
    Ok(())
}
