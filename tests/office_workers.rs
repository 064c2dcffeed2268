//! The tests of `office` with two workers, on ports with a queue for each.

/// The driver of the ports.
const DRIVER: &str = "auto";

/// The threads of the dataplane.
const WORKERS: u8 = 2;

#[path = "office/dhcp.rs"]
mod dhcp;
#[path = "office/dns.rs"]
mod dns;
#[path = "office/forwards.rs"]
mod forwards;
#[allow(dead_code, unused_imports, reason = "some of it is for tests that run with one worker only")]
#[path = "office/harness/mod.rs"]
mod harness;
#[path = "office/hostile.rs"]
mod hostile;
#[path = "office/lifecycle.rs"]
mod lifecycle;
#[path = "office/modes.rs"]
mod modes;
#[path = "office/nat.rs"]
mod nat;
#[path = "office/parallel.rs"]
mod parallel;
#[path = "office/reload.rs"]
mod reload;
#[path = "office/scan.rs"]
mod scan;
#[path = "office/stun.rs"]
mod stun;
#[path = "office/switch.rs"]
mod switch;
#[path = "office/throughput.rs"]
mod throughput;
#[path = "office/wan.rs"]
mod wan;
#[path = "office/workers.rs"]
mod workers;
