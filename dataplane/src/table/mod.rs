//! Tables that the dataplane's state stands in: entries of one size, found and listed by number, counted, timed.
//!
//! They are bounded, take their memory when room is made for them, and allocate nothing afterwards. They know no packet
//! and no policy.

mod huge_pages;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod octet_filter;
pub(crate) mod per_interface;
mod prefetch;
pub(crate) mod slab;
pub(crate) mod tally;
pub(crate) mod timer;
