//! Nothing unsolicited reaches the LAN: what comes through from outside was asked for, or a forward wants it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use gatepost::config::Config;
use gatepost_dataplane::config::{Filtering, Forward, Segment};
use ipnet::Ipv4Net;

use super::{Checker, Passage, Way};
use crate::packet::{Ipv4, Transport};

/// Keeps a book of whom each LAN host has spoken to.
pub struct NothingUnsolicited {
    lan: Ipv4Net,
    filtering: Filtering,
    dmz_host: Option<Ipv4Addr>,
    forwards: Vec<Forward>,
    /// Who asked whom. Crashes do not clear it: what was asked for stays asked for.
    asked: BTreeSet<Asked>,
}

/// An inside endpoint and an outside endpoint; an echo has its identifier for the inside port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    protocol: Kind,
    inside: (Ipv4Addr, u16),
    outside: (Ipv4Addr, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tcp,
    Udp,
    Echo,
    /// Any packet at all, from host to host.
    Any,
}

impl NothingUnsolicited {
    /// For the LAN, the filtering and the forwards of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            lan: config.lan.address.trunc(),
            filtering: config.nat.filtering,
            dmz_host: config.firewall.dmz_host,
            forwards: config.firewall.forwards.iter().flat_map(|forward| forward.rules.clone()).collect(),
            asked: BTreeSet::new(),
        }
    }

    fn ask(&mut self, ip: &Ipv4) {
        let any = Asked { protocol: Kind::Any, inside: (ip.source, 0), outside: (ip.destination, 0) };
        self.asked.insert(any);
        if let Some((protocol, source_port, destination_port)) = ports(&ip.transport) {
            self.asked.insert(self.admitted(Asked {
                protocol,
                inside: (ip.source, source_port),
                outside: (ip.destination, destination_port),
            }));
        }
    }

    fn is_solicited(&self, ip: &Ipv4) -> bool {
        let any = Asked { protocol: Kind::Any, inside: (ip.destination, 0), outside: (ip.source, 0) };
        match ports(&ip.transport) {
            Some((protocol, source_port, destination_port)) => {
                let asked = Asked {
                    protocol,
                    inside: (ip.destination, destination_port),
                    outside: (ip.source, source_port),
                };
                self.asked.contains(&self.admitted(asked))
            }
            None => match ip.transport {
                Transport::IcmpError { about: Some(about) } => self.asked.contains(&Asked {
                    outside: (about.destination, 0),
                    inside: (about.source, 0),
                    protocol: Kind::Any,
                }),
                _ => self.asked.contains(&any),
            },
        }
    }

    /// What of a conversation the filtering looks at. // RFC 4787 section 5
    fn admitted(&self, asked: Asked) -> Asked {
        let nobody = (Ipv4Addr::UNSPECIFIED, 0);
        let outside = match self.filtering {
            Filtering::AddressAndPortDependent => asked.outside,
            Filtering::AddressDependent => (asked.outside.0, 0),
            Filtering::EndpointIndependent => nobody,
        };
        Asked { outside, ..asked }
    }

    fn is_forwarded(&self, ip: &Ipv4) -> bool {
        let port = ports(&ip.transport).map(|(_, _, destination_port)| destination_port);
        let wants = |forward: &Forward| {
            let last = forward.to_port + (forward.wan_ports.end() - forward.wan_ports.start());
            forward.to == ip.destination
                && port.is_none_or(|port| (forward.to_port..=last).contains(&port))
                && forward.from.iter().any(|from| from.contains(&ip.source))
        };
        self.dmz_host == Some(ip.destination) || self.forwards.iter().any(wants)
    }
}

impl Checker for NothingUnsolicited {
    fn name(&self) -> &'static str {
        "nothing-unsolicited"
    }

    fn promise(&self) -> &'static str {
        "what reaches the LAN from outside answers a LAN host that asked, or a forward wants it"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let (Segment::Lan, Some(ip)) = (passage.side, passage.packet.ipv4()) else { return Ok(()) };
        match passage.way {
            Way::In if self.lan.contains(&ip.source) && !self.lan.contains(&ip.destination) => {
                self.ask(ip);
                Ok(())
            }
            Way::Out if !self.lan.contains(&ip.source) && self.lan.contains(&ip.destination) => {
                if self.is_solicited(ip) || self.is_forwarded(ip) {
                    return Ok(());
                }
                Err(format!("nobody asked for {:?}", passage.packet))
            }
            _ => Ok(()),
        }
    }
}

fn ports(transport: &Transport) -> Option<(Kind, u16, u16)> {
    match transport {
        Transport::Tcp { source_port, destination_port, .. } => {
            Some((Kind::Tcp, *source_port, *destination_port))
        }
        Transport::Udp { source_port, destination_port, .. } => {
            Some((Kind::Udp, *source_port, *destination_port))
        }
        Transport::Echo { id, is_reply: false } => Some((Kind::Echo, *id, 0)),
        Transport::Echo { id, is_reply: true } => Some((Kind::Echo, 0, *id)),
        Transport::IcmpError { .. } | Transport::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, packet, passage, tcp};

    #[test]
    fn only_the_asked_may_answer() {
        let mut checker = NothingUnsolicited::new(&config());
        let question = packet("192.168.1.9", "198.51.100.1", tcp(1000, 80));
        checker.on_passage(&passage(0, Way::In, Segment::Lan, &question)).unwrap();
        let mut told = |source, port| {
            let answer = packet(source, "192.168.1.9", tcp(port, 1000));
            checker.on_passage(&passage(1, Way::Out, Segment::Lan, &answer)).is_err()
        };
        assert!(!told("198.51.100.1", 80));
        assert!(told("198.51.100.1", 81));
        assert!(told("198.51.100.2", 80));
    }
}
