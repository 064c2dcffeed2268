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

#[cfg(test)]
mod tests {
    use gatepost_dataplane::config::Segment;

    use super::*;
    use crate::checkers::testing::{packet, passage, tcp, udp};

    #[test]
    fn a_wrong_checksum_is_told_if_it_leaves() {
        let spoilt = |mut transport| {
            if let Transport::Tcp { checksum_ok, .. } | Transport::Udp { checksum_ok, .. } = &mut transport {
                *checksum_ok = false;
            }
            transport
        };
        let told = |way, transport| {
            let packet = packet("192.168.1.9", "198.51.100.1", transport);
            Checksums.on_passage(&passage(0, way, Segment::Wan, &packet)).is_err()
        };
        assert!(!told(Way::Out, tcp(1, 2)));
        assert!(told(Way::Out, spoilt(tcp(1, 2))));
        assert!(told(Way::Out, spoilt(udp(1, 2, Vec::new()))));
        assert!(!told(Way::In, spoilt(tcp(1, 2))));
    }
}
