//! Checksums: what leaves the gateway is right, also after NAT has rewritten it.

use super::{Checker, Passage, Way};
use crate::packet::Transport;

/// Computes the checksum of every TCP segment and UDP datagram in full.
pub struct Checksums;

impl Checker for Checksums {
    fn name(&self) -> &'static str {
        "checksums"
    }

    fn promise(&self) -> &'static str {
        "every TCP segment and UDP datagram leaves the gateway with a right checksum"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Some(ip) = passage.packet.ipv4().filter(|_| passage.way == Way::Out) else { return Ok(()) };
        match ip.transport {
            Transport::Tcp { checksum_ok: false, .. } | Transport::Udp { checksum_ok: false, .. } => {
                Err(format!("a wrong checksum: {:?}", passage.packet))
            }
            _ => Ok(()),
        }
    }
}
