//! The world around the gateway, simulated: one seed, the same bytes.
//!
//! The gateway in it is the production [`gatepost::gateway`], dataplane, host stack and services, unchanged:
//! only its ports, clock, randomness, disk and jobs are the simulation's. Around it are an office of up to
//! 250 PCs and a provider with the internet behind it, all on turmoil's network, all under one seed.
//!
//! ```text
//!             turmoil host "office"          turmoil host "gateway"         turmoil host "provider"
//!   pc-0 ─cable─┐                                                               ┌─cable─ internet
//!   pc-1 ─cable─┼─ segment lan0 ──cable── lan0 ─ Worker ─ wan ──cable── segment wan ─┼─cable─ attacker
//!   pc-2 ─cable─── segment lan1 ──cable── lan1 ─ Services                       └─cable─ visitor
//! ```
//!
//! - [`world`]: cables with their faults, the gateway's disk, and what only the simulation itself sees: segments, the
//!   gateway's host, racks, captures;
//! - [`machine`]: PCs, a spoofer among them, the internet with its tree of names, an attacker and a visitor, each
//!   with an Ethernet, ARP and TCP/IP of its own;
//! - [`checkers`]: the promises that are watched all the time;
//! - [`scenario`]: the vocabulary, the scenarios with a name, and the swarm.
//!
//! How to write a scenario, a machine, a server or a checker of one's own is told by [`scenario`]; [`command`] runs
//! them.
//!
//! What makes a run repeat exactly: every machine draws from a generator of its own that comes from the
//! seed; time is turmoil's; everything runs on one thread; nothing iterates over a table with a random order.
//! The trace hash shows it. What is not simulated: DNSSEC, IPv6, and PCs that release or decline a lease.

pub mod checkers;
pub mod command;
pub mod machine;
pub mod mistake;
pub mod packet;
pub mod scenario;
pub mod world;
