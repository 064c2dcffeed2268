//! All the scenarios over frames again, of a gateway with several workers: the crate's name says how many.

#[path = "../arp.rs"]
mod arp;
#[path = "../bridge.rs"]
mod bridge;
#[path = "../configure.rs"]
mod configure;
#[path = "../forwards.rs"]
mod forwards;
#[path = "../fragments.rs"]
mod fragments;
#[path = "../hairpin.rs"]
mod hairpin;
#[path = "../hostile.rs"]
mod hostile;
#[path = "../malformed.rs"]
mod malformed;
#[path = "../modes.rs"]
mod modes;
#[path = "../nat_icmp.rs"]
mod nat_icmp;
#[path = "../nat_tcp.rs"]
mod nat_tcp;
#[path = "../nat_udp.rs"]
mod nat_udp;
#[path = "../neighbor_claims.rs"]
mod neighbor_claims;
#[path = "../offload.rs"]
mod offload;
#[path = "../router.rs"]
mod router;
