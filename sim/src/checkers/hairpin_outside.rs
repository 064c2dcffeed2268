//! Hairpins come from outside: a LAN host that reaches another through the WAN address has the address that the WAN
//! sees, or the answers would bypass the gateway. (RFC 4787, REQ-9a; RFC 5382, REQ-8a)

use std::collections::BTreeSet;

use gatepost::config::Config;
use gatepost_ground::MacAddr;

use super::lan::Lan;
use super::{Checker, Passage, Side, Way};

/// Looks at the source of every packet that the gateway itself sends to the LAN.
pub struct HairpinOutside {
    lan: Lan,
    /// The stations heard on the LAN: the gateway only bridges their frames.
    stations: BTreeSet<MacAddr>,
}

impl HairpinOutside {
    /// For the LAN of `config`.
    pub fn new(config: &Config) -> Self {
        Self { lan: Lan::of(config), stations: BTreeSet::new() }
    }
}

impl Checker for HairpinOutside {
    fn name(&self) -> &'static str {
        "hairpin-outside"
    }

    fn promise(&self) -> &'static str {
        "a packet that the gateway forwards from one LAN host to another does not have a LAN address as its source"
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { way, side: Side::Lan, packet, .. } = *passage else { return Ok(()) };
        if way == Way::In {
            self.stations.insert(packet.source_mac);
            return Ok(());
        }
        let Some(ip) = packet.ipv4().filter(|_| !self.stations.contains(&packet.source_mac)) else {
            return Ok(());
        };
        if self.lan.contains(&ip.source) && !self.lan.is_own(ip.source) {
            return Err(format!("{} is seen on the LAN behind the gateway: {packet:?}", ip.source));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, packet, passage, tcp};

    #[test]
    fn a_lan_address_behind_the_gateway_is_told_and_behind_its_station_not() {
        let mut checker = HairpinOutside::new(&config());
        let mut reported = |way, source| {
            let packet = packet(source, "192.168.1.9", tcp(1, 2));
            checker.on_passage(&passage(0, way, Side::Lan, &packet)).is_err()
        };
        assert!(!reported(Way::Out, "192.168.1.1"));
        assert!(!reported(Way::Out, "203.0.113.9"));
        assert!(reported(Way::Out, "192.168.1.8"));
        assert!(!reported(Way::In, "192.168.1.8"));
        assert!(!reported(Way::Out, "192.168.1.8"));
    }
}
