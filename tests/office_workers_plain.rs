//! The tests of `office` that depend on how frames cross, with three workers that share the queue of each port.

/// The driver of the ports.
const DRIVER: &str = "plain";

/// The threads of the dataplane.
const WORKERS: u8 = 3;

#[path = "office/forwards.rs"]
mod forwards;
#[allow(dead_code, unused_imports, reason = "some of it is for tests that run with one worker only")]
#[path = "office/harness/mod.rs"]
mod harness;
#[path = "office/lifecycle.rs"]
mod lifecycle;
#[path = "office/nat.rs"]
mod nat;
#[path = "office/parallel.rs"]
mod parallel;
#[path = "office/switch.rs"]
mod switch;
#[path = "office/throughput.rs"]
mod throughput;
#[path = "office/wan.rs"]
mod wan;
#[path = "office/workers.rs"]
mod workers;
