//! The tests of `office` that depend on how frames cross, over plain TAP devices.

/// The driver of the ports.
const DRIVER: &str = "plain";

/// The threads of the dataplane.
const WORKERS: u8 = 1;

#[path = "office/dhcp.rs"]
mod dhcp;
#[path = "office/dns.rs"]
mod dns;
#[path = "office/forwards.rs"]
mod forwards;
#[allow(dead_code, unused_imports, reason = "some of it is for tests that run on one driver only")]
#[path = "office/harness/mod.rs"]
mod harness;
#[path = "office/modes.rs"]
mod modes;
#[path = "office/nat.rs"]
mod nat;
#[path = "office/parallel.rs"]
mod parallel;
#[path = "office/scan.rs"]
mod scan;
#[path = "office/switch.rs"]
mod switch;
#[path = "office/taps.rs"]
mod taps;
#[path = "office/throughput.rs"]
mod throughput;
#[path = "office/wan.rs"]
mod wan;
