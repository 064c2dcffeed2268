//! The world around the gateway, for deterministic simulation on turmoil.
//!
//! This crate is where the simulated office will live: virtual Ethernet segments, impaired links,
//! the machines of a LAN packed into racks, an internet with its DHCP, DNS and web servers, and the
//! checkers that watch every invariant while a seed runs. The gateway in it is the production
//! [`Gateway`], which knows no device; only ports, clock, randomness and disk are the simulation's.
//! It is empty until that work lands.
//!
//! [`Gateway`]: https://docs.rs/gatepost
