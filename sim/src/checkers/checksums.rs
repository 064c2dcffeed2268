//! Checksums: every TCP segment and UDP datagram from the gateway has a correct checksum, also after NAT has rewritten
//! it.

use super::{Checker, Passage, Side, Way};
use crate::packet::Transport;

/// Computes the checksum of every TCP segment and UDP datagram in full.
pub struct Checksums {
    /// Whether cables flip bits. Then bridged frames may have wrong checksums; NAT drops such packets.
    pub is_only_nat: bool,
}

impl Checker for Checksums {
    fn name(&self) -> &'static str {
        "checksums"
    }

    fn promise(&self) -> &'static str {
        "every TCP segment and UDP datagram leaves the gateway with a correct checksum"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if passage.way == Way::In || (self.is_only_nat && passage.side == Side::Lan) {
            return Ok(());
        }
        let Some(ip) = passage.packet.ipv4() else { return Ok(()) };
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
        let reported = |way, transport| {
            let packet = packet("192.168.1.9", "198.51.100.1", transport);
            Checksums { is_only_nat: true }.on_passage(&passage(0, way, Side::Wan, &packet)).is_err()
        };
        let on_lan = |is_only_nat| {
            let packet = packet("192.168.1.9", "192.168.1.8", spoilt(tcp(1, 2)));
            Checksums { is_only_nat }.on_passage(&passage(0, Way::Out, Side::Lan, &packet)).is_err()
        };
        assert!(on_lan(false) && !on_lan(true));
        assert!(!reported(Way::Out, tcp(1, 2)));
        assert!(reported(Way::Out, spoilt(tcp(1, 2))));
        assert!(reported(Way::Out, spoilt(udp(1, 2, Vec::new()))));
        assert!(!reported(Way::In, spoilt(tcp(1, 2))));
    }
}
