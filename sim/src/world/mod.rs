//! The lower parts of the simulated office: segments on turmoil's network, impaired links, the gateway's ports, clock
//! and disk, and the racks of machines.

pub mod administration;
pub(crate) mod capture;
pub(crate) mod clock;
pub(crate) mod config_file;
pub mod disk;
pub(crate) mod gateway_host;
pub mod link;
pub mod mail_store;
pub(crate) mod observer;
pub(crate) mod panics;
pub(crate) mod pinholes;
pub mod pipe;
pub mod power;
mod queues;
pub(crate) mod rack;
pub mod rot;
pub(crate) mod segment;
mod super_frames;
mod wakeups;
mod work;

pub use observer::Violation;
