//! The sources that the gateway's own services admit.
//!
//! To other sources a port answers as if it were closed: with a reset or an ICMP error. The rules are for ports and
//! not for listeners, so that the services need not know them, and they are replaced as a whole.

use std::net::IpAddr;

use gatepost_ground::wire::Protocol;
use ipnet::IpNet;
use smoltcp::wire::IpProtocol;

use super::packet::Packet;

/// A port that admits some networks only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// [`Protocol::TCP`] or [`Protocol::UDP`].
    pub protocol: Protocol,
    /// The port, at every address of the stack's.
    pub port: u16,
    /// The admitted networks.
    pub from: Vec<IpNet>,
}

/// The rules in force. A port without a rule admits all sources.
#[derive(Debug, Default)]
pub(super) struct Access {
    rules: Vec<AccessRule>,
}

impl Access {
    pub(super) fn new(rules: Vec<AccessRule>) -> Self {
        Self { rules }
    }

    /// Whether an unfragmented `packet` is admitted to its destination port.
    pub(super) fn admits(&self, packet: &Packet<'_>) -> bool {
        let protocol = match packet.protocol {
            IpProtocol::Tcp => Protocol::TCP,
            IpProtocol::Udp => Protocol::UDP,
            _ => return true,
        };
        // A packet too short for a port is malformed, which its parser reports.
        let [_, _, high, low, ..] = *packet.payload else { return true };
        self.admits_source(protocol, u16::from_be_bytes([high, low]), packet.source)
    }

    fn admits_source(&self, protocol: Protocol, port: u16, source: IpAddr) -> bool {
        let rule = self.rules.iter().find(|rule| rule.protocol == protocol && rule.port == port);
        rule.is_none_or(|rule| rule.from.iter().any(|network| network.contains(&source)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_a_rule_admits_whom_the_rule_names() {
        let from =
            ["192.168.1.0/24", "2001:db8:1::/64"].map(|text| text.parse().expect("a network")).to_vec();
        let access = Access::new(vec![AccessRule { protocol: Protocol::UDP, port: 53, from }]);
        for networks in ["192.168.1.9 192.168.2.9", "2001:db8:1::9 2001:db8:2::9"] {
            let mut sources = networks.split(' ').map(|text| text.parse().expect("an address"));
            let (inside, outside) = (sources.next().expect("one"), sources.next().expect("two"));
            assert!(access.admits_source(Protocol::UDP, 53, inside));
            assert!(!access.admits_source(Protocol::UDP, 53, outside));
            assert!(access.admits_source(Protocol::TCP, 53, outside));
            assert!(access.admits_source(Protocol::UDP, 54, outside));
        }
    }
}
