//! Gatepost's dataplane: frames in, frames out.
//!
//! Everything a gateway does to a packet happens here: the learning bridge, ARP, IPv4 forwarding,
//! fragmentation, the flow table that serves stateful inspection and NAT44 in one entry, the
//! firewall's modes and forwards, ICMP errors. It is pure: no I/O, no clock, no async, no locks and
//! nothing global. The caller hands it a [`Batch`] of frames and the time, and reads back a
//! [`Verdict`] for each frame and the frames the dataplane made itself.
//!
//! ```text
//!            Batch::receive          Dataplane::process             Batch::slots / Batch::output    
//!  port  ──────────────────▶ frames ───────────────────▶ verdicts ─────────────────────────────────▶ ports,
//!                                                                                                    host stack
//! ```
//!
//! Types that the other crates use too (frames, instants, wire formats) are in [`gatepost_ground`].
//!
//! In steady state `process` allocates nothing, reads no clock and makes no system call. Several dataplanes can run
//! side by side, one per worker thread, each with its [`Shard`] of the work. Dataplanes share no mutable state; the
//! caller carries the frames and notices between them.

pub mod alert;
pub mod batch;
pub mod binding;
pub mod bridge;
pub mod config;
pub mod counters;
pub mod drop_log;
pub mod drop_reason;
pub mod explain;
pub mod firewall;
pub mod flow;
pub mod fragment;
mod handoff;
mod hold;
pub mod icmp_error;
mod ingress;
pub mod key;
pub mod nat;
pub mod neighbor;
mod notice;
pub mod pipeline;
pub mod route;
mod shard;
mod table;
mod verdict;

pub use batch::{Batch, Output};
pub use config::Config;
pub use counters::Counters;
pub use drop_reason::DropReason;
pub use handoff::Handoff;
pub use ingress::Ingress;
pub use notice::Notice;
pub use pipeline::{Dataplane, FlowInfo, PinholeError};
pub use shard::Shard;
pub use verdict::{LocalClass, Verdict};
