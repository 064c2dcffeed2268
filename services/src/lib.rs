//! What the gateway answers itself.
//!
//! Every protocol is a state machine that is given bytes, the time and randomness and is asked what to
//! do next; a thin async shell connects it to [`net`], the gateway's own TCP and UDP, or to raw frames
//! that whoever runs it passes in and out. The shells run on one thread, in production and in simulation alike.

pub mod addresses;
pub(crate) mod calendar;
pub mod clock;
pub mod crypto;
pub mod dhcp;
pub mod dns;
pub mod lan_hosts;
mod limits;
pub mod mail;
pub mod net;
pub mod ntp;
pub mod service;
pub mod store;
pub mod task;
pub mod tls;
pub mod users;
pub mod wait;
pub mod watch;
pub mod words;
pub mod work;

/// As many cases or seeds as `full`, or the share of them that PROPTEST_CASES is of proptest's own 256.
#[cfg(test)]
fn cases(full: u32) -> u32 {
    let share = u64::from(full) * u64::from(proptest::test_runner::Config::default().cases) / 256;
    u32::try_from(share.max(1)).unwrap_or(u32::MAX)
}
