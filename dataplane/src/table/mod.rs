//! The tables of the dataplane's state: entries of one size, found and listed by number, counted, timed.
//!
//! The tables are bounded, allocate only when room is made, and know neither packets nor policy.

mod huge_pages;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod memory;
pub(crate) mod octet_filter;
pub(crate) mod per_interface;
mod prefetch;
pub(crate) mod slab;
pub(crate) mod tally;
pub(crate) mod timer;
