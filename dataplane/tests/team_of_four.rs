//! Scenarios over frames again, of a gateway with four workers: those in which the state of one worker decides about
//! frames that another receives. With four, the worker that receives a fragment, the one that collects it and the one
//! that owns its flow can all be different.
//!
//! Work that each worker does alone (bridging, the modes, routing, malformed frames) is not repeated. `workers.rs`
//! tests with random conversations that hosts see the same behaviour of 2, 3, 4 and 16 workers.

#![allow(
    clippy::duplicate_mod,
    reason = "each scenario brings its own bench along, as a test of its own does"
)]

/// A configuration reaches every worker.
#[path = "configure.rs"]
mod configure;
/// A forward is owned by its inside port.
#[path = "forwards.rs"]
mod forwards;
/// Fragments are gathered by one worker and owned by another.
#[path = "fragments.rs"]
mod fragments;
/// A hairpinned packet has two owners.
#[path = "hairpin.rs"]
mod hairpin;
/// Whoever owns a packet knows the interface that it came in by.
#[path = "interfaces.rs"]
mod interfaces;
/// An error is owned with the packet that it quotes.
#[path = "nat_icmp.rs"]
mod nat_icmp;
/// A mapping is owned by its external port.
#[path = "nat_tcp.rs"]
mod nat_tcp;
#[path = "nat_udp.rs"]
mod nat_udp;
/// Every worker learns from all ARP.
#[path = "neighbor_claims.rs"]
mod neighbor_claims;
/// A super-frame is handed over in one piece.
#[path = "offload.rs"]
mod offload;
/// Each external address has ports of every worker.
#[path = "outsides.rs"]
mod outsides;
/// A command goes to all workers, and the owner of the inside port carries it out.
#[path = "pinholes.rs"]
mod pinholes;
/// Each worker makes room among its own flows and ports.
#[path = "port_exhaustion.rs"]
mod port_exhaustion;
/// The worker that owns a segment answers it where it came in.
#[path = "unknown_connections.rs"]
mod unknown_connections;
/// Whoever owns a packet knows the VLAN that it came in by.
#[path = "vlan_interfaces.rs"]
mod vlan_interfaces;
