// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory straight from the kernel, for processes in which malloc must not be called: another thread of the program
//! may have held malloc's lock when a raw clone copied it.

use core::mem::{MaybeUninit, size_of};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, MremapFlags, ProtFlags};

/// Maps `bytes` bytes, all zero. The address is a multiple of the page size.
fn map(bytes: usize, flags: MapFlags) -> Result<NonNull<u8>> {
    // SAFETY: a new mapping at an address of the kernel's choice overlaps with nothing.
    let address = unsafe {
        rustix::mm::mmap_anonymous(
            core::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            flags,
        )
    }?;
    NonNull::new(address.cast()).ok_or(Errno::NOMEM)
}

/// Types of which all bytes may be zero.
///
/// # Safety
/// A value whose bytes are all zero is valid. The type needs no drop, and no alignment above a page's.
pub unsafe trait Zeroable {}

// SAFETY: every byte is a valid u8.
unsafe impl Zeroable for u8 {}
// SAFETY: an array has no bytes beside its elements.
unsafe impl<T: Zeroable, const N: usize> Zeroable for [T; N] {}

/// Types that two processes may use at once.
///
/// # Safety
/// The type is made of atomics only.
pub unsafe trait Shareable {}

/// A value in memory pages of its own, which are unmapped when it is dropped.
pub struct Page<T>(NonNull<T>);

impl<T> Page<T> {
    const FITS: () = assert!(!core::mem::needs_drop::<T>() && align_of::<T>() <= 4096);

    /// # Errors
    /// ENOMEM if the kernel has no memory.
    pub fn new(value: T) -> Result<Self> {
        Self::with(value, MapFlags::PRIVATE)
    }

    /// Memory that both sides of a fork share.
    pub fn shared(value: T) -> Result<Self>
    where
        T: Shareable,
    {
        Self::with(value, MapFlags::SHARED)
    }

    /// A value whose bytes are all zero. Pages that are never written cost no memory.
    pub fn zeroed() -> Result<Self>
    where
        T: Zeroable,
    {
        const { Self::FITS };
        Ok(Page(map(size_of::<T>(), MapFlags::PRIVATE)?.cast()))
    }

    fn with(value: T, flags: MapFlags) -> Result<Self> {
        const { Self::FITS };
        let place = map(size_of::<T>(), flags)?.cast::<T>();
        // SAFETY: the mapping is writable, and large and aligned enough for a T.
        unsafe { place.write(value) };
        Ok(Page(place))
    }
}

impl<T> Deref for Page<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the constructor wrote a valid T, and it stays mapped until the drop.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Page<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the constructor wrote a valid T, it stays mapped until the drop, and `&mut self` excludes other
        // borrows.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Page<T> {
    fn drop(&mut self) {
        // SAFETY: the constructor mapped this size, and no borrow outlives self. If munmap(2) fails, memory stays
        // mapped.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}

/// An array that grows, in memory pages of its own.
pub struct Grown<T> {
    first: NonNull<T>,
    len: usize,
    /// The mapping's size in bytes. 0 if nothing is mapped.
    mapped: usize,
}

impl<T: Copy> Grown<T> {
    pub fn new() -> Self {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096) };
        Grown {
            first: NonNull::dangling(),
            len: 0,
            mapped: 0,
        }
    }

    /// Makes room for `more` elements behind the last.
    pub fn reserve(&mut self, more: usize) -> Result<()> {
        let needed = self.len.checked_add(more).ok_or(Errno::NOMEM)?;
        let needed = needed.checked_mul(size_of::<T>()).ok_or(Errno::NOMEM)?;
        if needed <= self.mapped {
            return Ok(());
        }
        let bytes = needed
            .max(self.mapped.saturating_mul(2))
            .checked_next_multiple_of(4096)
            .ok_or(Errno::NOMEM)?;
        let first = if self.mapped == 0 {
            map(bytes, MapFlags::PRIVATE)?
        } else {
            // SAFETY: this function mapped the old size before, and no borrow is alive while self is borrowed
            // mutably.
            let moved = unsafe {
                rustix::mm::mremap(
                    self.first.as_ptr().cast(),
                    self.mapped,
                    bytes,
                    MremapFlags::MAYMOVE,
                )
            }?;
            NonNull::new(moved.cast()).ok_or(Errno::NOMEM)?
        };
        self.first = first.cast();
        self.mapped = bytes;
        Ok(())
    }

    pub fn push(&mut self, value: T) -> Result<()> {
        self.extend(&[value])
    }

    pub fn extend(&mut self, values: &[T]) -> Result<()> {
        self.reserve(values.len())?;
        // SAFETY: reserve() has made room behind the last element, and `values` is borrowed from elsewhere.
        unsafe {
            let end = self.first.as_ptr().add(self.len);
            core::ptr::copy_nonoverlapping(values.as_ptr(), end, values.len());
        }
        self.len += values.len();
        Ok(())
    }

    /// Drops the elements from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub fn pop(&mut self) -> Option<T> {
        let last = self.last().copied()?;
        self.len -= 1;
        Some(last)
    }

    /// At least `room` places behind the last element, for a system call to fill.
    pub fn spare(&mut self, room: usize) -> Result<&mut [MaybeUninit<T>]> {
        self.reserve(room)?;
        let places = self.mapped / size_of::<T>() - self.len;
        // SAFETY: so many elements fit between the last one and the end of the mapping.
        Ok(unsafe {
            let end = self.first.as_ptr().add(self.len);
            core::slice::from_raw_parts_mut(end.cast(), places)
        })
    }
}

impl Grown<u8> {
    /// Reads a file from the descriptor's offset to its end.
    pub fn read(file: impl std::os::fd::AsFd) -> Result<Self> {
        let mut text = Grown::new();
        loop {
            let (filled, _) = match rustix::io::read(&file, text.spare(4096)?) {
                Err(Errno::INTR) => continue,
                filled => filled?,
            };
            match filled.len() {
                0 => return Ok(text),
                length => text.len += length,
            }
        }
    }

    /// An array of `len` zeros.
    pub fn zeros(len: usize) -> Result<Self> {
        let mut made = Grown::new();
        made.reserve(len)?;
        // New memory from the kernel is zero.
        made.len = len;
        Ok(made)
    }
}

impl<T: Copy> Default for Grown<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for Grown<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were written from the first on; with none the pointer is dangling but aligned.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Grown<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `len` elements were written from the first on, and `&mut self` excludes other borrows.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Grown<T> {
    fn drop(&mut self) {
        if self.mapped > 0 {
            // SAFETY: reserve() mapped this size, and no borrow outlives self. If munmap(2) fails, memory stays
            // mapped.
            let _ = unsafe { rustix::mm::munmap(self.first.as_ptr().cast(), self.mapped) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_grows_and_keeps_what_it_has() {
        let mut numbers = Grown::new();
        for number in 0..10_000_u32 {
            numbers.push(number).unwrap();
        }
        assert!(numbers.iter().copied().eq(0..10_000));
        assert_eq!(numbers.pop(), Some(9_999));
        numbers.truncate(3);
        numbers.extend(&[7, 8]).unwrap();
        assert_eq!(*numbers, [0, 1, 2, 7, 8]);
        assert_eq!(Grown::<u32>::new().pop(), None);
    }

    #[test]
    fn a_file_is_read_whole() {
        let path = std::env::current_exe().unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let text = Grown::read(&file).unwrap();
        assert!(*text == *std::fs::read(path).unwrap());
    }
}
