//! The services that the gateway itself provides.
//!
//! Every protocol is a state machine: its inputs are bytes, the time and randomness, and its caller asks for the next
//! action. A thin async shell connects it to [`net`], the gateway's own TCP and UDP, or to raw frames. All shells run
//! on one thread, in production and in simulation alike.

pub mod addresses;
pub mod admin;
pub(crate) mod calendar;
pub mod clock;
pub mod crypto;
pub mod dhcp;
pub mod dns;
pub mod events;
pub mod http;
pub mod lan_hosts;
mod limits;
mod log_limit;
pub mod mail;
pub mod net;
pub mod ntp;
pub mod own_time;
mod places;
pub mod service;
pub mod store;
pub mod task;
#[cfg(test)]
mod test_log;
pub mod tls;
pub mod users;
pub mod wait;
pub mod watch;
pub mod watched;
pub mod words;
pub mod work;

/// The number of cases or seeds for a test that has `full` by default, scaled by PROPTEST_CASES relative to proptest's
/// default of 256.
#[cfg(test)]
fn cases(full: u32) -> u32 {
    let share = u64::from(full) * u64::from(proptest::test_runner::Config::default().cases) / 256;
    u32::try_from(share.max(1)).unwrap_or(u32::MAX)
}
