//! Sources are true: no host of the office can send to the internet with a source address that is not the office's.
//! (RFC 2827, section 3; RFC 1812, section 5.3.8)

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use gatepost::config::Config;

use super::lan::Lan;
use super::{Checker, Passage, Side, Way};
use crate::packet::Content;

/// Checks the source of every packet to the WAN. The gateway's own addresses there are the senders of its ARP requests.
pub struct SourcesTrue {
    /// The other networks whose addresses may appear: the LAN in a mode without NAT.
    lan: Option<Lan>,
    own: BTreeSet<Ipv4Addr>,
}

impl SourcesTrue {
    /// For the mode and the LAN of `config`.
    pub fn new(config: &Config) -> Self {
        let lan = Lan::of(config);
        Self { lan: (!config.mode.translates()).then_some(lan), own: BTreeSet::new() }
    }
}

impl Checker for SourcesTrue {
    fn name(&self) -> &'static str {
        "sources-true"
    }

    fn promise(&self) -> &'static str {
        "a packet to the WAN has the gateway's own address as its source, or in mode router a LAN address"
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.iter_mut().for_each(|lan| lan.follow(config));
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if (passage.way, passage.side) != (Way::Out, Side::Wan) {
            return Ok(());
        }
        match &passage.packet.content {
            Content::Arp { sender, .. } => {
                self.own.insert(*sender);
                Ok(())
            }
            Content::Ipv4(ip) => {
                let source = ip.source;
                // A DHCP client has no address yet.
                let is_true = source.is_unspecified()
                    || self.own.contains(&source)
                    || self.lan.as_ref().is_some_and(|lan| lan.contains(&source));
                if is_true {
                    Ok(())
                } else {
                    Err(format!("somebody poses as {source}: {:?}", passage.packet))
                }
            }
            Content::Other => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{arp, config, packet, passage, tcp};

    #[test]
    fn only_the_gateway_speaks_to_the_wan() {
        let mut checker = SourcesTrue::new(&config());
        let mut reported = |packet| checker.on_passage(&passage(0, Way::Out, Side::Wan, &packet)).is_err();
        assert!(!reported(arp("203.0.113.10", "203.0.113.1", true)));
        assert!(!reported(packet("203.0.113.10", "198.51.100.1", tcp(1, 2))));
        assert!(!reported(packet("0.0.0.0", "255.255.255.255", tcp(1, 2))));
        assert!(reported(packet("198.51.100.9", "198.51.100.1", tcp(1, 2))));
        assert!(reported(packet("192.168.1.9", "198.51.100.1", tcp(1, 2))));
    }
}
