//! How much went through the gateway: over the WAN, and of each host of the LAN, for an hour, a day and a month.
//!
//! Ports count octets, and flows count theirs. [`SAMPLED_EVERY`] the gateway reads the counters, a bounded part of the
//! flows at a time ([`flows`]), and adds what is new to the [`history`]. So the packets' path counts nothing more for
//! it. Every flow outlives its last packet by more than that time, unless it is recycled or ended by hand or by another
//! configuration: what such a flow carried since the last reading is missing.
//!
//! The history is in memory: it survives a reload, and begins anew with the process.

pub mod flows;
pub mod history;
pub mod report;

use std::time::Duration;

/// How often the counters are read: more often than the shortest-lived flow ends, which is one of ICMP.
pub const SAMPLED_EVERY: Duration = Duration::from_secs(15);
