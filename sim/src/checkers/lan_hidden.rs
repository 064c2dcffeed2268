//! The LAN is hidden: in the NAT modes none of its addresses ever appears on the WAN.

use std::net::Ipv4Addr;

use gatepost::config::Config;

use super::lan::Lan;
use super::{Checker, Passage, Side, Way};
use crate::packet::{Content, Ipv4, Transport};

/// Looks into every frame to the WAN, the packets quoted in ICMP errors included.
pub struct LanHidden {
    lan: Lan,
}

impl LanHidden {
    /// For the LAN of `config`.
    pub fn new(config: &Config) -> Self {
        Self { lan: Lan::of(config) }
    }

    fn shows(&self, ip: &Ipv4) -> Option<Ipv4Addr> {
        let quoted = match &ip.transport {
            Transport::IcmpError { about: Some(about) } => [Some(about.source), Some(about.destination)],
            _ => [None, None],
        };
        let seen = [Some(ip.source), Some(ip.destination)].into_iter().chain(quoted).flatten();
        seen.into_iter().find(|address| self.lan.contains(address))
    }
}

impl Checker for LanHidden {
    fn name(&self) -> &'static str {
        "lan-hidden"
    }

    fn promise(&self) -> &'static str {
        "no address of the LAN ever appears on the WAN, not even in a packet that an ICMP error quotes"
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_configure(&mut self, config: &Config) {
        self.lan.settle(config);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if (passage.way, passage.side) != (Way::Out, Side::Wan) {
            return Ok(());
        }
        let shown = match &passage.packet.content {
            Content::Arp { sender, target, .. } => {
                [sender, target].into_iter().copied().find(|address| self.lan.contains(address))
            }
            Content::Ipv4(ip) => self.shows(ip),
            Content::Other => None,
        };
        shown.map_or(Ok(()), |address| Err(format!("{address} is seen on the WAN: {:?}", passage.packet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, ip, packet, passage, tcp};
    use crate::packet::Quoted;

    #[test]
    fn lan_addresses_are_found_wherever_they_stand() {
        let mut checker = LanHidden::new(&config());
        let mut reported = |packet| checker.on_passage(&passage(0, Way::Out, Side::Wan, &packet)).is_err();
        assert!(!reported(packet("203.0.113.9", "198.51.100.1", tcp(1, 2))));
        assert!(reported(packet("192.168.1.9", "198.51.100.1", tcp(1, 2))));
        assert!(reported(packet("203.0.113.9", "192.168.1.9", tcp(1, 2))));
        let [source, destination] = ["198.51.100.1", "192.168.1.9"].map(ip);
        let about = Quoted { source, destination, octets: Vec::new() };
        assert!(reported(packet("203.0.113.9", "198.51.100.1", Transport::IcmpError { about: Some(about) })));
    }
}
