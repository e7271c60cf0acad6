// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the arguments that C gives, without trust.

use core::ffi::{CStr, c_char};
use core::mem::{MaybeUninit, align_of, size_of};

use rustix::io::Errno;

use super::types::{
    rfs_callbacks, rfs_device, rfs_file, rfs_hook, rfs_id_mapping, rfs_mount, rfs_mount_request,
    rfs_options,
};
use crate::config::{Bytes, HookKind, IdMapping};
use crate::error::{Error, Result, Stage};

/// A larger struct is garbage: copy_struct_from_user() in the kernel draws the line at a page.
const LARGEST: u64 = 4096;
/// A larger config.json or array of options is garbage too.
const LARGEST_ARRAY: usize = 64 << 20;

/// A struct of the header that begins with its size.
///
/// # Safety
/// `repr(C)`, begins with `size: u64`, and is valid when all its bytes are zero.
pub unsafe trait Sized64: Copy {}

// SAFETY: the header declares the struct so, and its pointers, integers and optional functions may be zero.
unsafe impl Sized64 for rfs_mount {}
// SAFETY: the header declares the struct so, and its pointers and integers may be zero.
unsafe impl Sized64 for rfs_device {}
// SAFETY: the header declares the struct so, and its pointers and integers may be zero.
unsafe impl Sized64 for rfs_file {}
// SAFETY: the header declares the struct so, and its pointers and integers may be zero.
unsafe impl Sized64 for rfs_hook {}
// SAFETY: the header declares the struct so, and its pointers and integers may be zero.
unsafe impl Sized64 for rfs_mount_request {}
// SAFETY: the header declares the struct so, and its pointers and integers may be zero.
unsafe impl Sized64 for rfs_options {}
// SAFETY: the header declares the struct so, and its pointers, integers and optional functions may be zero.
unsafe impl Sized64 for rfs_callbacks {}

pub fn null(name: &str) -> Error {
    invalid(format_args!("{name} is NULL"))
}

/// Refuses a pointer that no object of its type can have: C programs make one by a cast.
pub fn aligned<T>(name: &str, pointer: *const T) -> Result<()> {
    if pointer.is_aligned() {
        return Ok(());
    }
    Err(invalid(format_args!(
        "{name} is misaligned: its address {pointer:p} is no multiple of {}",
        align_of::<T>()
    )))
}

pub fn invalid(explanation: impl core::fmt::Display) -> Error {
    Error::invalid(explanation).at(Stage::Config)
}

/// Copies a struct of the caller's version into one of this version. A smaller one is filled up with zeros. The
/// surplus of a larger one must be zero.
///
/// # Safety
/// `from` is NULL or readable for as many bytes as its first eight say.
pub unsafe fn sized<T: Sized64>(name: &str, from: *const T) -> Result<T> {
    if from.is_null() {
        return Err(null(name));
    }
    aligned(name, from)?;
    // SAFETY: readable, as promised, and begins with its size.
    let size = unsafe { from.cast::<u64>().read() };
    if size < size_of::<u64>() as u64 {
        return Err(invalid(format_args!(
            "{name}.size is {size}: set it to sizeof({name})"
        )));
    }
    let too_big = || {
        Error::check(
            Errno::TOOBIG,
            format_args!(
                "{name} is of {size} bytes and asks for what this version of librfs does not know"
            ),
        )
        .at(Stage::Config)
    };
    if size > LARGEST {
        return Err(too_big());
    }
    let size = size as usize;
    let known = size.min(size_of::<T>());
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes are in both; the surplus is readable, as promised; zeros and the copied fields are valid.
    let (copy, surplus) = unsafe {
        core::ptr::copy_nonoverlapping(from.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), known);
        let surplus = core::slice::from_raw_parts(from.cast::<u8>().add(known), size - known);
        (copy.assume_init(), surplus)
    };
    if surplus.iter().any(|&byte| byte != 0) {
        return Err(too_big());
    }
    Ok(copy)
}

pub fn known_flags(name: &str, flags: u64, known: u64) -> Result<()> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(invalid(format_args!(
            "{name}.flags: unknown bits {unknown:#x}"
        ))),
    }
}

/// # Safety
/// `string` is NULL or ends with NUL.
pub unsafe fn optional(string: *const c_char) -> Option<Bytes> {
    if string.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller.
    Some(unsafe { CStr::from_ptr(string) }.to_bytes().to_vec())
}

/// # Safety
/// `string` is NULL or ends with NUL.
pub unsafe fn required(name: &str, string: *const c_char) -> Result<Bytes> {
    // SAFETY: as promised by the caller.
    unsafe { optional(string) }.ok_or_else(|| null(name))
}

/// Checks an array's size against the limit for every array that a caller gives.
pub fn check_array(name: &str, length: usize, element: usize) -> Result<()> {
    if length <= LARGEST_ARRAY / element {
        return Ok(());
    }
    Err(Error::check(
        Errno::TOOBIG,
        format_args!("{name}: its length is {length}, which makes more than {LARGEST_ARRAY} bytes"),
    )
    .at(Stage::Config))
}

/// # Safety
/// `first` is NULL or the first of `length` elements.
pub unsafe fn slice<'a, T>(name: &str, first: *const T, length: usize) -> Result<&'a [T]> {
    if length == 0 {
        return Ok(&[]);
    }
    if first.is_null() {
        return Err(invalid(format_args!(
            "{name} is NULL, but its length is {length}"
        )));
    }
    aligned(name, first)?;
    check_array(name, length, size_of::<T>())?;
    // SAFETY: as promised by the caller.
    Ok(unsafe { core::slice::from_raw_parts(first, length) })
}

/// # Safety
/// As for `slice`, and each of them is NULL or ends with NUL.
pub unsafe fn strings(
    name: &str,
    one: &str,
    first: *const *const c_char,
    length: usize,
) -> Result<Vec<Bytes>> {
    // SAFETY: as promised by the caller.
    let strings = unsafe { slice(name, first, length) }?;
    // SAFETY: the caller promised that each string is NULL or ends with NUL.
    let string = |&string: &*const c_char| unsafe { required(one, string) };
    strings.iter().map(string).collect()
}

/// # Safety
/// `first` is NULL or the first of strings that end with NUL, with NULL after the last.
pub unsafe fn list(name: &str, first: *const *const c_char) -> Result<Vec<Bytes>> {
    let mut strings = Vec::new();
    if first.is_null() {
        return Ok(strings);
    }
    aligned(name, first)?;
    loop {
        check_array(name, strings.len(), size_of::<*const c_char>())?;
        // SAFETY: as promised by the caller: all before were strings.
        let Some(string) = (unsafe { optional(*first.add(strings.len())) }) else {
            return Ok(strings);
        };
        strings.push(string);
    }
}

/// RFS_HOOKS_*.
pub fn hook_kind(number: u32) -> Result<HookKind> {
    let kinds = (1..).zip(HookKind::ALL);
    let mut found = kinds.filter_map(|(number_of, kind)| (number_of == number).then_some(kind));
    found
        .next()
        .ok_or_else(|| invalid(format_args!("kind: {number} is none of RFS_HOOKS_*")))
}

/// # Safety
/// As for `slice`.
pub unsafe fn mappings(
    name: &str,
    first: *const rfs_id_mapping,
    length: usize,
) -> Result<Vec<IdMapping>> {
    // SAFETY: as promised by the caller.
    let mappings = unsafe { slice(name, first, length) }?;
    let mapping = |mapping: &rfs_id_mapping| IdMapping {
        container_id: mapping.container_id,
        host_id: mapping.host_id,
        count: mapping.count,
    };
    Ok(mappings.iter().map(mapping).collect())
}
