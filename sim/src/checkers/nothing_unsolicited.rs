//! Nothing unsolicited reaches the LAN: every packet from outside answers one from inside, or matches a forward.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use gatepost::config::Config;
use gatepost_dataplane::config::{Filtering, Forward};
use gatepost_dataplane::flow::Pinhole;
use gatepost_ground::wire::Protocol;
use gatepost_ground::{Instant, MacAddr};

use super::lan::Lan;
use super::{Checker, Passage, Side, Way};
use crate::packet::{Content, Ipv4, Transport};

/// Records the destinations that each LAN host has sent to.
pub struct NothingUnsolicited {
    lan: Lan,
    /// The rules in force; more than one set while the gateway changes its configuration.
    rules: Vec<Rules>,
    /// The gateway's own address on the WAN, through which LAN hosts reach each other.
    own: Option<Ipv4Addr>,
    /// Who has sent to whom. A crash of the gateway does not clear this: late replies stay solicited.
    asked: BTreeSet<Asked>,
    /// Pinholes, and the latest time at which each closes.
    pinholes: Vec<(Pinhole, Instant)>,
    /// The latest packets that LAN hosts sent to the LAN under foreign addresses. The bridge may forward them.
    bridged: VecDeque<Bridged>,
}

/// The most packets that the checker remembers for the bridge: a batch, which is all that the bridge holds.
const BRIDGED_MAX: usize = 256;

/// The most pinholes that the checker remembers, the latest ones.
const PINHOLES_MAX: usize = 1_024;

/// The senders that the gateway admits.
struct Rules {
    filtering: Filtering,
    dmz_host: Option<Ipv4Addr>,
    forwards: Vec<Forward>,
}

/// What tells apart the packets that the bridge forwards: the MAC of their sender, which routing replaces, their
/// addresses and their content.
type Bridged = (MacAddr, Ipv4Addr, Ipv4Addr, u64);

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
            lan: Lan::of(config),
            rules: vec![Rules::new(config)],
            own: None,
            asked: BTreeSet::new(),
            pinholes: Vec::new(),
            bridged: VecDeque::new(),
        }
    }

    fn ask(&mut self, ip: &Ipv4) {
        let any = Asked { protocol: Kind::Any, inside: (ip.source, 0), outside: (ip.destination, 0) };
        self.asked.insert(any);
        // Later fragments follow the first.
        let fragmented =
            || ip.fragmented_udp_ports().map(|(source, destination)| (Kind::Udp, source, destination));
        if let Some((protocol, source_port, destination_port)) = ports(&ip.transport).or_else(fragmented) {
            let asked = Asked {
                protocol,
                inside: (ip.source, source_port),
                outside: (ip.destination, destination_port),
            };
            // These hold for every filtering.
            self.asked.extend(FILTERINGS.map(|filtering| asked.admitted(filtering)));
        }
    }

    /// An admitted sender has a flow, which outlives the filtering that admitted it.
    fn note_admitted(&mut self, ip: &Ipv4) {
        if let Some((protocol, source_port, destination_port)) = ports(&ip.transport) {
            let (inside, outside) = ((ip.destination, destination_port), (ip.source, source_port));
            self.asked.insert(Asked { protocol, inside, outside });
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
                self.asked.contains(&asked)
                    || self.rules.iter().any(|rules| self.asked.contains(&asked.admitted(rules.filtering)))
            }
            None => match &ip.transport {
                Transport::IcmpError { about: Some(about) } => self.asked.contains(&Asked {
                    outside: (about.destination, 0),
                    inside: (about.source, 0),
                    protocol: Kind::Any,
                }),
                _ => self.asked.contains(&any),
            },
        }
    }

    /// Whether a pinhole admits the packet.
    fn is_let_in(&self, now: Instant, ip: &Ipv4) -> bool {
        let Some((kind, _, port)) = ports(&ip.transport) else { return false };
        self.pinholes.iter().any(|(pinhole, until)| {
            now <= *until
                && kind == Kind::of(pinhole.protocol)
                && (pinhole.inside.address, pinhole.inside.port) == (ip.destination, port)
                && pinhole.remote.is_none_or(|remote| remote == ip.source)
        })
    }

    /// Whether a rule admits the packet, or the error about a packet that a rule admitted.
    fn is_forwarded(&self, ip: &Ipv4) -> bool {
        let (kind, port) = match (&ip.transport, ports(&ip.transport)) {
            (_, Some((kind @ (Kind::Tcp | Kind::Udp), _, port))) => (Some(kind), Some(port)),
            (Transport::IcmpError { about: Some(about) }, _) if about.source == ip.destination => {
                (None, None)
            }
            _ => return false,
        };
        let is_from = |forward: &Forward| {
            // LAN hosts may use every forward.
            self.own == Some(ip.source) || forward.from.iter().any(|from| from.contains(&ip.source))
        };
        let wants = |forward: &Forward| {
            let last = forward.to_port.saturating_add(forward.wan_ports.end() - forward.wan_ports.start());
            forward.to == ip.destination
                && kind.is_none_or(|kind| kind == Kind::of(forward.protocol))
                && port.is_none_or(|port| (forward.to_port..=last).contains(&port))
                && (kind.is_none() || is_from(forward))
        };
        self.rules
            .iter()
            .any(|rules| rules.dmz_host == Some(ip.destination) || rules.forwards.iter().any(wants))
    }
}

impl Rules {
    fn new(config: &Config) -> Self {
        Self {
            filtering: config.nat.filtering,
            dmz_host: config.firewall.dmz_host,
            forwards: config.firewall.forwards.iter().flat_map(|forward| forward.rules.clone()).collect(),
        }
    }
}

const FILTERINGS: [Filtering; 3] =
    [Filtering::AddressAndPortDependent, Filtering::AddressDependent, Filtering::EndpointIndependent];

impl Asked {
    /// The part of a conversation that the filtering compares. (RFC 4787, section 5)
    fn admitted(self, filtering: Filtering) -> Self {
        let nobody = (Ipv4Addr::UNSPECIFIED, 0);
        let outside = match filtering {
            // No filtering admits a packet by its echo identifier alone.
            _ if self.protocol == Kind::Echo => self.outside,
            Filtering::AddressAndPortDependent => self.outside,
            Filtering::AddressDependent => (self.outside.0, 0),
            Filtering::EndpointIndependent => nobody,
        };
        Self { outside, ..self }
    }
}

impl Kind {
    fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::TCP => Self::Tcp,
            Protocol::UDP => Self::Udp,
            _ => Self::Any,
        }
    }
}

impl Checker for NothingUnsolicited {
    fn name(&self) -> &'static str {
        "nothing-unsolicited"
    }

    fn promise(&self) -> &'static str {
        "a packet that reaches the LAN from outside answers one from a LAN host, or matches a forward or an open pinhole"
    }

    fn on_boot(&mut self) {
        self.pinholes.clear();
    }

    fn on_pinhole(&mut self, pinhole: &Pinhole, until: Instant) {
        if self.pinholes.len() == PINHOLES_MAX {
            self.pinholes.remove(0);
        }
        self.pinholes.push((*pinhole, until));
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
        self.rules.push(Rules::new(config));
    }

    fn on_configure(&mut self, config: &Config) {
        self.rules = vec![Rules::new(config)];
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        if let (Side::Wan, Way::Out, Content::Arp { sender, .. }) =
            (passage.side, passage.way, &passage.packet.content)
            && !sender.is_unspecified()
        {
            self.own = Some(*sender);
        }
        let (Side::Lan, Some(ip)) = (passage.side, passage.packet.ipv4()) else { return Ok(()) };
        let on_the_bridge = (passage.packet.source_mac, ip.source, ip.destination, ip.content);
        match passage.way {
            Way::In if !self.lan.contains(&ip.source) && self.lan.contains(&ip.destination) => {
                if self.bridged.len() == BRIDGED_MAX {
                    self.bridged.pop_front();
                }
                self.bridged.push_back(on_the_bridge);
                Ok(())
            }
            Way::In if self.lan.contains(&ip.source) && !self.lan.contains(&ip.destination) => {
                self.ask(ip);
                Ok(())
            }
            Way::Out if !self.lan.contains(&ip.source) && self.lan.contains(&ip.destination) => {
                if self.is_solicited(ip) || self.is_let_in(passage.now, ip) {
                    self.note_admitted(ip);
                    return Ok(());
                }
                if self.is_forwarded(ip) || self.bridged.contains(&on_the_bridge) {
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
    use gatepost_dataplane::key::Endpoint;

    use super::*;
    use crate::checkers::testing::{arp, config, packet, passage, tcp, udp};
    use crate::packet::Packet;

    /// Whether the checker reports a packet that reaches the LAN.
    fn reported(checker: &mut NothingUnsolicited, packet: &Packet) -> bool {
        checker.on_passage(&passage(1, Way::Out, Side::Lan, packet)).is_err()
    }

    fn config_with(rules: &str) -> Config {
        Config::parse("a test", rules).expect("a valid configuration")
    }

    fn having_asked(config: &Config, question: Transport) -> NothingUnsolicited {
        let mut checker = NothingUnsolicited::new(config);
        let question = packet("192.168.1.9", "198.51.100.1", question);
        checker.on_passage(&passage(0, Way::In, Side::Lan, &question)).unwrap();
        checker
    }

    #[test]
    fn the_filter_decides_who_else_may_answer() {
        for (filtering, others) in [
            ("address-and-port-dependent", [true, true]),
            ("address-dependent", [false, true]),
            ("endpoint-independent", [false, false]),
        ] {
            let config = config_with(&format!("nat.filtering = '{filtering}'"));
            let mut checker = having_asked(&config, tcp(1000, 80));
            let answers = [("198.51.100.1", 81), ("198.51.100.2", 80)].map(|(source, port)| {
                reported(&mut checker, &packet(source, "192.168.1.9", tcp(port, 1000)))
            });
            assert_eq!(answers, others, "{filtering}");
            assert!(reported(&mut checker, &packet("198.51.100.1", "192.168.1.9", tcp(80, 1001))));
        }
    }

    #[test]
    fn rules_that_have_changed_are_the_rules_and_who_was_in_stays() {
        let lax = config_with("nat.filtering = 'endpoint-independent'");
        let strict =
            config_with("[[firewall.forwards]]\nwan_port = '8000'\nto = '192.168.1.20:80'\nprotocol = 'tcp'");
        let mut checker = having_asked(&lax, tcp(1000, 80));
        let from = |source| packet(source, "192.168.1.9", tcp(80, 1000));
        let forwarded = packet("198.51.100.4", "192.168.1.20", tcp(1, 80));
        assert!(!reported(&mut checker, &from("198.51.100.2")) && reported(&mut checker, &forwarded));
        checker.on_reload(&strict);
        assert!(!reported(&mut checker, &from("198.51.100.3")) && !reported(&mut checker, &forwarded));
        checker.on_configure(&strict);
        assert!(
            !reported(&mut checker, &from("198.51.100.2")) && !reported(&mut checker, &from("198.51.100.3"))
        );
        assert!(reported(&mut checker, &from("198.51.100.4")) && !reported(&mut checker, &forwarded));
        checker.on_configure(&lax);
        assert!(!reported(&mut checker, &from("198.51.100.4")) && reported(&mut checker, &forwarded));
    }

    #[test]
    fn an_echo_comes_back_from_whom_it_went_to_whatever_the_filter() {
        let config = config_with("nat.filtering = 'endpoint-independent'");
        let mut checker = having_asked(&config, Transport::Echo { id: 7, is_reply: false });
        let reply = |source| packet(source, "192.168.1.9", Transport::Echo { id: 7, is_reply: true });
        assert!(!reported(&mut checker, &reply("198.51.100.1")));
        assert!(reported(&mut checker, &reply("198.51.100.2")));
    }

    #[test]
    fn a_forward_wants_its_protocol_ports_and_sources_and_nothing_else() {
        let config = config_with(
            "[[firewall.forwards]]\nprotocol = 'tcp'\nwan_port = '8000-8001'\nto = '192.168.1.20:80'\n\
             from = ['198.51.100.0/24']",
        );
        let mut checker = NothingUnsolicited::new(&config);
        let to = |source, transport| packet(source, "192.168.1.20", transport);
        assert!(!reported(&mut checker, &to("198.51.100.1", tcp(1, 80))));
        assert!(!reported(&mut checker, &to("198.51.100.1", tcp(1, 81))));
        assert!(reported(&mut checker, &to("198.51.100.1", tcp(1, 82))));
        assert!(reported(&mut checker, &to("198.51.101.1", tcp(1, 80))));
        assert!(reported(&mut checker, &to("198.51.100.1", udp(1, 80, Vec::new()))));
        assert!(reported(&mut checker, &packet("198.51.100.1", "192.168.1.21", tcp(1, 80))));
        let own = arp("203.0.113.10", "203.0.113.1", true);
        checker.on_passage(&passage(1, Way::Out, Side::Wan, &own)).unwrap();
        assert!(!reported(&mut checker, &to("203.0.113.10", tcp(1, 80))));
    }

    #[test]
    fn the_default_machine_gets_everything_but_pings() {
        let mut checker = NothingUnsolicited::new(&config_with("firewall.dmz_host = '192.168.1.30'"));
        let to = |transport| packet("198.51.100.1", "192.168.1.30", transport);
        assert!(!reported(&mut checker, &to(udp(1, 2, Vec::new()))));
        assert!(reported(&mut checker, &to(Transport::Echo { id: 1, is_reply: false })));
        assert!(reported(&mut checker, &packet("198.51.100.1", "192.168.1.31", tcp(1, 2))));
    }

    #[test]
    fn a_pinhole_lets_in_whom_it_says_until_its_end_or_a_crash() {
        let mut checker = NothingUnsolicited::new(&config());
        let pinhole = Pinhole {
            protocol: Protocol::UDP,
            inside: Endpoint::new(Ipv4Addr::new(192, 168, 1, 9), 4_000),
            external: Ipv4Addr::new(203, 0, 113, 10),
            remote: Some(Ipv4Addr::new(198, 51, 100, 1)),
        };
        let reported = |checker: &mut NothingUnsolicited, secs: u16, source, port| {
            let packet = packet(source, "192.168.1.9", udp(secs, port, Vec::new()));
            checker.on_passage(&passage(secs.into(), Way::Out, Side::Lan, &packet)).is_err()
        };
        assert!(reported(&mut checker, 1, "198.51.100.1", 4_000));
        checker.on_pinhole(&pinhole, Instant::from_secs(10));
        assert!(!reported(&mut checker, 2, "198.51.100.1", 4_000));
        assert!(
            reported(&mut checker, 3, "198.51.100.1", 4_001)
                && reported(&mut checker, 4, "198.51.100.2", 4_000)
        );
        assert!(reported(&mut checker, 11, "198.51.100.1", 4_000));
        checker.on_boot();
        assert!(reported(&mut checker, 5, "198.51.100.1", 4_000));
    }

    #[test]
    fn a_host_with_a_foreign_address_reaches_the_lan_by_the_bridge_alone() {
        let mut checker = NothingUnsolicited::new(&config());
        let mut sent = packet("192.168.65.14", "192.168.1.1", udp(5353, 53, vec![1]));
        assert!(reported(&mut checker, &sent));
        checker.on_passage(&passage(1, Way::In, Side::Lan, &sent)).unwrap();
        assert!(!reported(&mut checker, &sent));
        sent.source_mac.0[5] ^= 1;
        assert!(reported(&mut checker, &sent));
    }

    #[test]
    fn only_the_asked_may_answer() {
        let mut checker = NothingUnsolicited::new(&config());
        let question = packet("192.168.1.9", "198.51.100.1", tcp(1000, 80));
        checker.on_passage(&passage(0, Way::In, Side::Lan, &question)).unwrap();
        let mut reported = |source, port| {
            let answer = packet(source, "192.168.1.9", tcp(port, 1000));
            checker.on_passage(&passage(1, Way::Out, Side::Lan, &answer)).is_err()
        };
        assert!(!reported("198.51.100.1", 80));
        assert!(reported("198.51.100.1", 81));
        assert!(reported("198.51.100.2", 80));
    }
}
