//! DHCP: the server for the LAN's hosts, and the client by which the gateway gets its address on the WAN.
//!
//! Both are state machines without I/O; [`service`] connects them to an [`inbox`] of raw Ethernet frames.

pub mod client;
pub mod frame;
mod hostname;
pub mod hosts;
pub mod inbox;
pub mod intake;
mod layout;
pub mod message;
pub mod office;
#[cfg(test)]
mod office_tests;
pub mod options;
pub mod server;
pub mod service;
#[cfg(test)]
mod testing;
