//! Memory straight from the kernel, where malloc must not be called: another thread of the
//! program may have held its lock when a raw clone copied it.

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

/// A value in pages of its own, which go with it.
pub struct Page<T>(NonNull<T>);

impl<T> Page<T> {
    /// `None`: the kernel has no memory either.
    pub fn new(value: T) -> Option<Self> {
        Self::map(value, MapFlags::PRIVATE)
    }

    /// The same memory on both sides of a fork: T must be made of atomics.
    pub fn shared(value: T) -> Option<Self> {
        Self::map(value, MapFlags::SHARED)
    }

    fn map(value: T, flags: MapFlags) -> Option<Self> {
        const { assert!(!core::mem::needs_drop::<T>() && align_of::<T>() <= 4096) };
        // SAFETY: a new mapping at an address of the kernel's choice; it is large and aligned enough for a T.
        unsafe {
            let address = rustix::mm::mmap_anonymous(
                core::ptr::null_mut(),
                size_of::<T>(),
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            );
            let place = NonNull::new(address.ok()?.cast::<T>())?;
            place.write(value);
            Some(Page(place))
        }
    }
}

impl<T> Deref for Page<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: written in new, and unmapped only by the drop.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Page<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and self is borrowed alone.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Page<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in new with this size; nothing refers to it any more. Failing would be a leak, no more.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}
