//! Which sources the gateway's own services admit.
//!
//! To others a port answers as if nobody listened there: a reset, or an ICMP error. The rules are about ports and not
//! about listeners, so that whoever serves a port does not know of them, and they are replaced as a whole.

use std::net::Ipv4Addr;

use gatepost_ground::wire::Protocol;
use ipnet::Ipv4Net;
use smoltcp::wire::{IpProtocol, Ipv4Packet};

/// A port that does not admit everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// [`Protocol::TCP`] or [`Protocol::UDP`].
    pub protocol: Protocol,
    /// The port, at every address of the stack's.
    pub port: u16,
    /// Who is admitted.
    pub from: Vec<Ipv4Net>,
}

/// The rules in force. A port without one admits everybody.
#[derive(Debug, Default)]
pub(super) struct Access {
    rules: Vec<AccessRule>,
}

impl Access {
    pub(super) fn new(rules: Vec<AccessRule>) -> Self {
        Self { rules }
    }

    /// Whether a whole `packet` may come to the port that it is for.
    pub(super) fn admits(&self, packet: &Ipv4Packet<&[u8]>) -> bool {
        let protocol = match packet.next_header() {
            IpProtocol::Tcp => Protocol::TCP,
            IpProtocol::Udp => Protocol::UDP,
            _ => return true,
        };
        // What is too short for a port is malformed, and told so by whoever parses it.
        let [_, _, high, low, ..] = *packet.payload() else { return true };
        self.admits_source(protocol, u16::from_be_bytes([high, low]), packet.src_addr())
    }

    fn admits_source(&self, protocol: Protocol, port: u16, source: Ipv4Addr) -> bool {
        let rule = self.rules.iter().find(|rule| rule.protocol == protocol && rule.port == port);
        rule.is_none_or(|rule| rule.from.iter().any(|network| network.contains(&source)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_a_rule_admits_whom_the_rule_names() {
        let from = vec!["192.168.1.0/24".parse().expect("a network")];
        let access = Access::new(vec![AccessRule { protocol: Protocol::UDP, port: 53, from }]);
        let admits =
            |protocol, port, last| access.admits_source(protocol, port, Ipv4Addr::new(192, 168, last, 9));
        assert!(admits(Protocol::UDP, 53, 1) && !admits(Protocol::UDP, 53, 2));
        assert!(admits(Protocol::TCP, 53, 2) && admits(Protocol::UDP, 54, 2));
    }
}
