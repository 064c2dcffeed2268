//! Nothing forged: what an attacker puts blindly into others' connections does not get through.
//!
//! An opening and an ICMP error do: their receiver judges them. The one is answered with a challenge ACK (RFC 5961
//! section 4), the other is compared with what was sent (RFC 5927 section 4). What a default machine gets of UDP was
//! asked for by nobody in any case; the checkers of names and of what is unsolicited judge UDP.

use super::{Checker, Passage, Side, Way};
use crate::machine::attacker::FORGED_TTL;
use crate::packet::Transport;

/// Knows what the simulated attacker forges by its time to live, which no other machine uses.
pub struct NothingForged;

impl Checker for NothingForged {
    fn name(&self) -> &'static str {
        "nothing-forged"
    }

    fn promise(&self) -> &'static str {
        "no RST and no data reaches the LAN from somebody who does not see the TCP connection that it is put into"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let sent = passage.packet.ipv4().filter(|ip| ip.ttl == FORGED_TTL - 1);
        let is_forged =
            sent.is_some_and(|ip| matches!(ip.transport, Transport::Tcp { is_opening: false, .. }));
        if (passage.side, passage.way, is_forged) == (Side::Lan, Way::Out, true) {
            return Err(format!("a forged packet came through: {:?}", passage.packet));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{packet, passage, segment, tcp};
    use crate::packet::{Content, Packet};

    #[test]
    fn what_is_forged_is_known() {
        let passes = |mut packet: Packet, ttl| {
            let Content::Ipv4(ip) = &mut packet.content else { unreachable!("it is one") };
            ip.ttl = ttl;
            NothingForged.on_passage(&passage(0, Way::Out, Side::Lan, &packet)).is_ok()
        };
        let from_server = |transport| packet("198.51.100.1", "192.168.1.9", transport);
        let data = || from_server(tcp(80, 1000));
        assert!(passes(data(), 63) && !passes(data(), FORGED_TTL - 1));
        assert!(!passes(from_server(segment(80, 1000, "R")), FORGED_TTL - 1));
        let hosts_judge = [segment(80, 1000, "S"), Transport::IcmpError { about: None }];
        assert!(hosts_judge.into_iter().all(|transport| passes(from_server(transport), FORGED_TTL - 1)));
    }
}
