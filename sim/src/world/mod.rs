//! What the simulated office is made of below the machines: segments on turmoil's network, impaired
//! links, the gateway's ports, clock and disk, and the racks that machines are mounted in.

pub mod capture;
pub mod clock;
pub mod config_file;
pub mod disk;
pub mod gateway_host;
pub mod link;
pub mod observer;
pub mod panics;
pub mod power;
mod queues;
pub mod rack;
pub mod segment;
mod super_frames;
mod work;
