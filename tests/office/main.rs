//! The whole program with real clients on real TAP devices.
//!
//! Every test builds its own office: network namespaces with the process id in their names, a gateway
//! whose ports are the namespaces' `eth0`, and foreign programs as clients and servers. Whatever it
//! made is removed when it ends, also when it fails. Needs root; `./dev test` installs the programs.
//!
//! The ports have the driver that they have by default, and there is one worker. `office_plain` runs what depends on
//! the driver on the other, `office_workers` and `office_workers_plain` most of it with several workers.

/// The driver of the ports.
const DRIVER: &str = "auto";

/// The threads of the dataplane.
const WORKERS: u8 = 1;

mod arp;
mod dhcp;
mod dns;
mod dns_floods;
mod forwards;
mod harness;
mod hostile;
mod lab;
mod lifecycle;
mod modes;
mod nat;
mod parallel;
mod reload;
mod running;
mod scan;
mod state;
mod stun;
mod switch;
mod taps;
mod throughput;
mod vlan;
mod wan;
