//! Fetching memory before it is needed.
//!
//! A large table lies in main memory, and a look-up waits for it twice, once for the index and once for
//! the entry. A batch that announces its look-ups first waits for many at a time: among a million flows
//! that halves the time for each, and loading the same lines early without a prefetch gains half of it.
#![allow(unsafe_code, reason = "the processor's prefetch has no safe equivalent in the standard library")]

/// Asks for the cache lines of `value`, and goes on at once.
#[inline]
pub(crate) fn read<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = core::ptr::from_ref(value).cast::<i8>();
        // A value that does not begin with a line ends in one more.
        for offset in (0..size_of::<T>()).step_by(64).chain([size_of::<T>().saturating_sub(1)]) {
            // SAFETY: a prefetch is a hint: it changes no memory and faults at no address, and this one
            // lies within `value`. SSE, which it needs, is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
