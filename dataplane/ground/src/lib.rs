//! The types below all of Gatepost's crates: time, hardware addresses, wire formats, frames.
//!
//! The dataplane, the services, the gateway and the simulation share these types, so that none of them imports
//! another for a type. Like the dataplane, this crate is pure: no I/O, no clock, nothing global.
//!
//! | module                    | what it has                                                                |
//! |---------------------------|----------------------------------------------------------------------------|
//! | `time`                    | [`Instant`]: time is an argument                                           |
//! | `mac`, `port`, `interface`| [`MacAddr`]; [`PortId`] and [`PortSet`]; [`InterfaceId`] and [`Role`]      |
//! | [`wire`]                  | bytes on the wire: one file per protocol                                   |
//! | `frame`, [`offload`]      | [`Frame`]: the octets of a frame, and its offloads                         |
//! | `rate_limit`, `echo_limit`| [`RateLimit`], [`EchoLimit`]: how much is sent in answer to others         |
//! | `counted`                 | [`counters!`]: structs of counters with a glossary                         |

mod counted;
mod echo_limit;
mod frame;
mod interface;
mod mac;
pub mod offload;
mod port;
mod rate_limit;
mod time;
pub mod wire;

pub use echo_limit::EchoLimit;
pub use frame::Frame;
pub use interface::{InterfaceId, Role};
pub use mac::{MacAddr, ParseMacAddrError};
pub use offload::Offload;
pub use port::{PortId, PortSet};
pub use rate_limit::RateLimit;
pub use time::Instant;
