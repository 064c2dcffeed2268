//! Nothing forged: segments that an attacker injects blindly into other hosts' connections do not get through.
//!
//! An injected SYN or ICMP error does, and its receiver decides: it answers a SYN with a challenge ACK (RFC 5961,
//! section 4), and compares an ICMP error with the packets that it has sent (RFC 5927, section 4). After a SYN of the
//! attacker's own, where there was no connection, the attacker may send anything. UDP packets to a default host are
//! unsolicited in any case; the checkers of names and of unsolicited packets cover UDP.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{Checker, Passage, Side, Way};
use crate::machine::attacker::FORGED_TTL;
use crate::packet::Transport;

/// The most SYNs of the attacker that the checker remembers. Beyond, it judges nothing.
const OPENED_MAX: usize = 1 << 16;

/// Recognises the simulated attacker's packets by their TTL, which no other machine uses.
#[derive(Default)]
pub struct NothingForged {
    /// The connections in which the attacker's SYNs came through.
    opened: BTreeSet<(Ipv4Addr, u16)>,
}

impl Checker for NothingForged {
    fn name(&self) -> &'static str {
        "nothing-forged"
    }

    fn promise(&self) -> &'static str {
        "no RST and no data that an off-path attacker injects into a TCP connection reaches the LAN"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if (passage.side, passage.way) != (Side::Lan, Way::Out) {
            return Ok(());
        }
        let Some(ip) = passage.packet.ipv4().filter(|ip| ip.ttl == FORGED_TTL - 1) else { return Ok(()) };
        let Transport::Tcp { destination_port, is_opening, .. } = ip.transport else { return Ok(()) };
        let receiver = (ip.destination, destination_port);
        if self.opened.len() == OPENED_MAX || self.opened.contains(&receiver) {
            return Ok(());
        }
        if is_opening {
            self.opened.insert(receiver);
            return Ok(());
        }
        Err(format!("a forged packet came through: {:?}", passage.packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{packet, passage, segment, tcp};
    use crate::packet::{Content, Packet};

    #[test]
    fn what_is_forged_is_known() {
        let mut checker = NothingForged::default();
        let mut passes = |mut packet: Packet, ttl| {
            let Content::Ipv4(ip) = &mut packet.content else { unreachable!("it is one") };
            ip.ttl = ttl;
            checker.on_passage(&passage(0, Way::Out, Side::Lan, &packet)).is_ok()
        };
        let from_server = |transport| packet("198.51.100.1", "192.168.1.9", transport);
        let data = || from_server(tcp(80, 1000));
        assert!(passes(data(), 63) && !passes(data(), FORGED_TTL - 1));
        assert!(!passes(from_server(segment(80, 1000, "R")), FORGED_TTL - 1));
        let hosts_judge = [segment(80, 1000, "S"), Transport::IcmpError { about: None }];
        assert!(hosts_judge.into_iter().all(|transport| passes(from_server(transport), FORGED_TTL - 1)));
        assert!(passes(data(), FORGED_TTL - 1), "the attacker has opened it");
    }
}
