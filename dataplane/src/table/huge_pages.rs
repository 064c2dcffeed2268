//! Large tables in large pages.
//!
//! A look-up among a million flows reads a few cache lines anywhere in a hundred megabytes. With pages of 4 KiB the
//! processor walks the page table for nearly every one of them, with pages of 2 MiB for few, which saves a third of
//! the time. The kernel gives large pages on request (Linux Documentation/admin-guide/mm/transhuge.rst).
#![allow(unsafe_code, reason = "the advice is a system call that takes an address")]

/// A smaller table fits the processor's TLB anyway.
const WORTHWHILE_OCTETS: usize = 4 << 20;

/// Advises the kernel to back the memory of `table`, used or not, with large pages. The kernel may ignore the advice;
/// untouched memory stays unused.
pub(crate) fn advise<T>(table: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = table.as_mut_ptr().addr().next_multiple_of(PAGE);
        let end = (table.as_mut_ptr().addr() + table.capacity() * size_of::<T>()) & !(PAGE - 1);
        let Some(len) = end.checked_sub(start).filter(|len| *len >= WORTHWHILE_OCTETS) else { return };
        let start = table.as_mut_ptr().with_addr(start);
        // SAFETY: the pages lie within the table's own allocation, and this advice changes nothing that they hold.
        _ = unsafe { libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = table;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_changes_nothing_that_a_table_holds() {
        let mut table = Vec::with_capacity(WORTHWHILE_OCTETS);
        table.extend((0..WORTHWHILE_OCTETS).map(|number| number as u8));
        advise(&mut table);
        assert!(table.iter().zip(0..).all(|(octet, number): (_, usize)| *octet == number as u8));
        advise(&mut Vec::<u64>::new());
    }
}
