//! A simulated world around the gateway, reproducible from one seed.
//!
//! The gateway in it is the production [`gatepost::gateway`], dataplane, host stack and services, unchanged: only its
//! ports, clock, randomness, disk and jobs are simulated. Around it are an office of up to 250 PCs and a provider with
//! the internet behind it, all on turmoil's network, all from one seed.
//!
//! ```text
//!             turmoil host "office"          turmoil host "gateway"         turmoil host "provider"
//!   pc-0 ─cable─┐                                                               ┌─cable─ internet
//!   pc-1 ─cable─┼─ segment lan0 ──cable── lan0 ─ Worker ─ wan ──cable── segment wan ─┼─cable─ attacker
//!   pc-2 ─cable─── segment lan1 ──cable── lan1 ─ Services                       └─cable─ visitor
//! ```
//!
//! - [`world`]: cables with their faults, the gateway's disk, and the simulation's own parts: segments, the gateway's
//!   host, racks, captures;
//! - [`machine`]: PCs, a spoofer among them, the internet with its tree of names, an attacker and a visitor, each
//!   with an Ethernet, ARP and TCP/IP of its own;
//! - [`checkers`]: promises that are checked during every run;
//! - [`scenario`]: actions and expectations, the named scenarios, and the swarm.
//!
//! [`scenario`] explains how to write a scenario, a machine, a server or a checker; [`command`] runs them.
//!
//! Why a run is reproducible: every machine has a random generator of its own, seeded from the run's seed; time is
//! turmoil's; everything runs on one thread; no code iterates over a table with a random order. The trace hash proves
//! it. Not simulated: DNSSEC, IPv6, and PCs that release or decline a lease.

pub mod checkers;
pub mod command;
pub mod machine;
pub mod mistake;
pub mod packet;
pub mod scenario;
pub mod world;
