//! Prefetching of memory.
//!
//! A large table is in main memory, and a look-up waits for memory twice, for the index and for the entry. A batch
//! that prefetches for all of its look-ups waits for many at a time: with a million flows this halves the time of
//! each look-up. Loading the same lines early without a prefetch gains half as much.
#![allow(unsafe_code, reason = "the processor's prefetch has no safe equivalent in the standard library")]

/// Starts to fetch the cache lines of `value`, without waiting for them.
#[inline]
pub(crate) fn read<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = core::ptr::from_ref(value).cast::<i8>();
        // A value that is not aligned to a cache line reaches into one more.
        for offset in (0..size_of::<T>()).step_by(64).chain([size_of::<T>().saturating_sub(1)]) {
            // SAFETY: a prefetch is a hint: it changes no memory and faults at no address, and this one
            // lies within `value`. SSE, which it needs, is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
