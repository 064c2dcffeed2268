//! The filter of `gatepost capture --filter`: a small part of the language of tcpdump and Wireshark's capture filters.
//! (pcap-filter(7))
//!
//! ```text
//! expression = term { "or" term }
//! term       = factor { "and" factor }
//! factor     = "not" factor | "(" expression ")" | primitive
//! primitive  = [ "src" | "dst" ] ( "host" ADDRESS | "net" ADDRESS/LENGTH | "port" NUMBER )
//!            | "ether" "host" MAC | "proto" NUMBER | "tcp" | "udp" | "icmp" | "arp" | "ip"
//! ```
//!
//! `&&`, `||` and `!` stand for the words. A further fragment has no ports. The addresses of an ARP packet count as
//! hosts. VLAN tags are skipped.

use std::iter::Peekable;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::vec::IntoIter;

use gatepost_ground::MacAddr;
use gatepost_ground::wire::{Protocol, arp, ethernet};
use ipnet::Ipv4Net;

/// The longest filter, in octets.
pub const FILTER_LEN_MAX: usize = 1_024;

/// The deepest nesting of `not` and parentheses.
pub const DEPTH_MAX: usize = 32;

/// A condition on frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All frames.
    All,
    /// Each of them.
    And(Vec<Self>),
    /// One of them.
    Or(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// An address of the packet is in this network.
    Net(Side, Ipv4Net),
    /// A port of the packet.
    Port(Side, u16),
    /// A hardware address of the frame.
    Mac(MacAddr),
    /// The protocol of an IPv4 packet.
    Protocol(Protocol),
    /// The content of the frame.
    EtherType(ethernet::EtherType),
}

/// The end of a packet that a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Either.
    Any,
}

impl Filter {
    /// Reads a filter. An empty one passes all frames.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what can stand there.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > FILTER_LEN_MAX {
            return Err(format!("it is longer than {FILTER_LEN_MAX} characters"));
        }
        let mut words = Words { words: split(text).into_iter().peekable(), depth: 0 };
        if words.words.peek().is_none() {
            return Ok(Self::All);
        }
        let filter = words.expression()?;
        match words.words.next() {
            None => Ok(filter),
            Some(word) => Err(format!("{word:?} is one too many; write \"and\" or \"or\" before it")),
        }
    }

    /// Packets from or to an address.
    pub fn host(address: Ipv4Addr) -> Self {
        Self::Net(Side::Any, address.into())
    }

    /// Both conditions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All => other,
            _ if other == Self::All => self,
            _ => Self::And(vec![self, other]),
        }
    }

    /// Whether a frame with these octets meets the condition.
    pub fn passes(&self, frame: &[u8]) -> bool {
        matches!(self, Self::All) || Facts::of(frame).is_some_and(|facts| self.holds(&facts))
    }

    fn holds(&self, facts: &Facts) -> bool {
        let any = |side: Side, ends: [bool; 2]| match side {
            Side::Source => ends[0],
            Side::Destination => ends[1],
            Side::Any => ends[0] || ends[1],
        };
        match self {
            Self::All => true,
            Self::And(all) => all.iter().all(|one| one.holds(facts)),
            Self::Or(any) => any.iter().any(|one| one.holds(facts)),
            Self::Not(other) => !other.holds(facts),
            Self::Net(side, net) => {
                facts.addresses.is_some_and(|ends| any(*side, ends.map(|end| net.contains(&end))))
            }
            Self::Port(side, port) => {
                facts.ports.is_some_and(|ends| any(*side, ends.map(|end| end == *port)))
            }
            Self::Mac(mac) => facts.macs.contains(mac),
            Self::Protocol(protocol) => facts.protocol == Some(*protocol),
            Self::EtherType(ether_type) => facts.ether_type == *ether_type,
        }
    }
}

/// What a filter looks at; the source is first.
struct Facts {
    macs: [MacAddr; 2],
    ether_type: ethernet::EtherType,
    addresses: Option<[Ipv4Addr; 2]>,
    protocol: Option<Protocol>,
    ports: Option<[u16; 2]>,
}

/// The EtherTypes of VLAN tags. (IEEE 802.1Q, 802.1ad)
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const TAG_LEN: usize = 4;
/// The bits of the flags and the fragment offset that are the offset. (RFC 791, section 3.1)
const FRAGMENT_OFFSET: u16 = 0x1fff;

impl Facts {
    /// Those of a frame; `None` if it is shorter than its link header.
    fn of(frame: &[u8]) -> Option<Self> {
        let link = ethernet::Header::parse(frame).ok()?;
        let u16_at = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        let mut at = ethernet::Header::LEN;
        let mut ether_type = u16_at(at - 2)?;
        while TAGS.contains(&ether_type) {
            at += TAG_LEN;
            ether_type = u16_at(at - 2)?;
        }
        let ether_type = ethernet::EtherType(ether_type);
        let macs = [link.source, link.destination];
        let mut facts = Self { macs, ether_type, addresses: None, protocol: None, ports: None };
        let payload = frame.get(at..)?;
        if ether_type == ethernet::EtherType::ARP {
            let packet = arp::Packet::parse(payload).ok();
            facts.addresses = packet.map(|packet| [packet.sender_ip, packet.target_ip]);
        }
        if ether_type == ethernet::EtherType::IPV4 {
            facts.read_ipv4(payload);
        }
        Some(facts)
    }

    /// The addresses of a packet, which need not be valid otherwise.
    fn read_ipv4(&mut self, packet: &[u8]) {
        let Some(header) = packet.first_chunk::<20>() else { return };
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        self.addresses = Some([address(12), address(16)]);
        let protocol = Protocol(header[9]);
        self.protocol = Some(protocol);
        let is_first = u16::from_be_bytes([header[6], header[7]]) & FRAGMENT_OFFSET == 0;
        let transport = packet.get(usize::from(header[0] & 0xf) * 4..).unwrap_or_default();
        if let Some([a, b, c, d]) = transport.first_chunk()
            && is_first
            && matches!(protocol, Protocol::TCP | Protocol::UDP)
        {
            self.ports = Some([u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])]);
        }
    }
}

/// The words of a filter; parentheses and the signs of operators are words of their own.
fn split(text: &str) -> Vec<String> {
    let mut spaced = text.to_owned();
    for sign in ["(", ")", "&&", "||", "!"] {
        spaced = spaced.replace(sign, &format!(" {sign} "));
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

struct Words {
    words: Peekable<IntoIter<String>>,
    depth: usize,
}

impl Words {
    fn expression(&mut self) -> Result<Filter, String> {
        let mut terms = vec![self.term()?];
        while self.words.next_if(|word| word == "or" || word == "||").is_some() {
            terms.push(self.term()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Filter::Or(terms) })
    }

    fn term(&mut self) -> Result<Filter, String> {
        let mut factors = vec![self.factor()?];
        while self.words.next_if(|word| word == "and" || word == "&&").is_some() {
            factors.push(self.factor()?);
        }
        Ok(if factors.len() == 1 { factors.remove(0) } else { Filter::And(factors) })
    }

    fn factor(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} times"));
        }
        let word = self.next("a condition")?;
        let filter = match word.as_str() {
            "not" | "!" => Filter::Not(Box::new(self.factor()?)),
            "(" => {
                let inner = self.expression()?;
                if self.words.next_if_eq(")").is_none() {
                    return Err("a \")\" is missing".to_owned());
                }
                inner
            }
            "src" => self.end(Side::Source)?,
            "dst" => self.end(Side::Destination)?,
            "host" | "net" | "port" => self.of_end(&word, Side::Any)?,
            "ether" => {
                if self.words.next_if_eq("host").is_none() {
                    return Err("\"ether\" is followed by \"host MAC\"".to_owned());
                }
                Filter::Mac(self.value("a hardware address, such as 02:00:00:00:00:01")?)
            }
            "proto" => Filter::Protocol(Protocol(self.value("the number of a protocol, up to 255")?)),
            "tcp" => Filter::Protocol(Protocol::TCP),
            "udp" => Filter::Protocol(Protocol::UDP),
            "icmp" => Filter::Protocol(Protocol::ICMP),
            "ip" => Filter::EtherType(ethernet::EtherType::IPV4),
            "arp" => Filter::EtherType(ethernet::EtherType::ARP),
            _ => {
                return Err(format!(
                    "{word:?} is no condition; write host, net, port, src, dst, ether host, proto, tcp, udp, icmp, ip \
                     or arp"
                ));
            }
        };
        self.depth -= 1;
        Ok(filter)
    }

    /// The condition after `src` or `dst`.
    fn end(&mut self, side: Side) -> Result<Filter, String> {
        let word = self.next("host, net or port")?;
        self.of_end(&word, side)
    }

    fn of_end(&mut self, word: &str, side: Side) -> Result<Filter, String> {
        match word {
            "host" => {
                let address: Ipv4Addr = self.value("an IPv4 address, such as 192.168.1.20")?;
                Ok(Filter::Net(side, address.into()))
            }
            "net" => Ok(Filter::Net(side, self.value("a network, such as 192.168.1.0/24")?)),
            "port" => Ok(Filter::Port(side, self.value("a port, up to 65535")?)),
            _ => Err(format!("{word:?} is none of host, net and port")),
        }
    }

    fn value<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("{word:?} is not {what}"))
    }

    fn next(&mut self, what: &str) -> Result<String, String> {
        self.words.next().ok_or_else(|| format!("it ends where {what} is expected"))
    }
}

#[cfg(test)]
mod tests {
    use gatepost_ground::wire::arp::Packet;
    use proptest::prelude::*;

    use super::*;

    const PC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    /// A frame with an IPv4 packet from 192.168.1.20, port 5000, to 192.0.2.1, port 53.
    fn frame(protocol: u8, offset: u16, tags: usize) -> Vec<u8> {
        let mut octets = [&[2, 0, 0, 0, 0, 1][..], &PC.0].concat();
        (0..tags).for_each(|_| octets.extend([0x81, 0, 0, 7]));
        octets.extend([8, 0, 0x45, 0, 0, 28, 0, 0]);
        octets.extend(offset.to_be_bytes());
        octets.extend([64, protocol, 0, 0, 192, 168, 1, 20, 192, 0, 2, 1]);
        octets.extend([0x13, 0x88, 0, 53, 0, 8, 0, 0]);
        octets
    }

    fn passes(filter: &str, frame: &[u8]) -> bool {
        Filter::parse(filter).expect(filter).passes(frame)
    }

    #[test]
    fn each_condition_is_true_of_some_frames_and_not_of_others() {
        let udp = frame(17, 0, 0);
        for (filter, holds) in [
            ("", true),
            ("host 192.168.1.20", true),
            ("src host 192.168.1.20", true),
            ("dst host 192.168.1.20", false),
            ("net 192.0.2.0/24", true),
            ("src net 192.0.2.0/24", false),
            ("port 53", true),
            ("src port 53", false),
            ("dst port 53", true),
            ("udp", true),
            ("tcp", false),
            ("proto 17", true),
            ("ip", true),
            ("arp", false),
            ("ether host 02:00:00:00:00:07", true),
            ("ether host 02:00:00:00:00:08", false),
            ("not tcp and port 53", true),
            ("tcp or udp and port 54", false),
            ("(tcp or udp) and port 53", true),
            ("!(udp&&port 53)||arp", false),
        ] {
            assert_eq!(passes(filter, &udp), holds, "{filter}");
            assert_eq!(passes(filter, &frame(17, 0, 2)), holds, "{filter}, behind tags");
        }
        assert!(!passes("port 53", &frame(17, 9, 0)), "a further fragment has no ports");
        assert!(!passes("port 53", &frame(1, 0, 0)) && passes("icmp", &frame(1, 0, 0)));
        let arp = Packet::request(PC, [192, 168, 1, 20].into(), [192, 168, 1, 1].into()).to_frame(PC);
        assert!(passes("arp and host 192.168.1.1", &arp) && !passes("ip", &arp));
        assert!(!passes("not arp", &[0; 9]) && passes("", &[0; 9]), "no frame");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let deep = "not ".repeat(DEPTH_MAX) + "tcp";
        let long = "tcp or ".repeat(200);
        for (filter, why) in [
            ("tcp udp", "\"udp\" is one too many"),
            ("host", "it ends where an IPv4 address"),
            ("host www", "\"www\" is not an IPv4 address"),
            ("port 70000", "\"70000\" is not a port"),
            ("(tcp", "a \")\" is missing"),
            ("src tcp", "\"tcp\" is none of host, net and port"),
            ("ether 7", "\"ether\" is followed"),
            ("less 7", "\"less\" is no condition"),
            ("tcp and", "it ends where a condition"),
            (&deep, "it is nested more than"),
            (&long, "it is longer than"),
        ] {
            let error = Filter::parse(filter).expect_err(filter);
            assert!(error.starts_with(why), "{filter}: {error}");
        }
    }

    #[test]
    fn two_filters_are_both_to_hold() {
        let tcp = || Filter::parse("tcp").expect("a filter");
        assert_eq!(tcp().and(Filter::All), tcp());
        assert_eq!(Filter::All.and(tcp()), tcp());
        let both = tcp().and(Filter::parse("port 53 or port 54").expect("a filter"));
        assert!(!both.passes(&frame(17, 0, 0)) && both.passes(&frame(6, 0, 0)));
    }

    proptest! {
        #[test]
        fn no_text_and_no_frame_breaks_it(
            words in prop::collection::vec("not|and|or|\\(|\\)|host|port|53|tcp|src|1.2.3.4|[!-~ ]{0,4}", 0..12),
            octets in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(filter) = Filter::parse(&words.join(" ")) {
                filter.passes(&octets);
            }
            let mut packet = frame(6, 0, 1);
            packet.truncate(octets.len());
            Filter::parse("port 53 or arp").expect("a filter").passes(&packet);
        }
    }
}
