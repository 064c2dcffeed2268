//! `gatepost explain --from A --to B`: the question, and the report of what would become of the packet.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::mail::Undone;
use crate::error::Error;

/// The exit code if nobody answers: no gateway, or no DNS server for a name.
pub const EX_UNANSWERED: u8 = 3;

/// A packet that is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The sender's address.
    pub from: Ipv4Addr,
    /// The sender's port; `None` for any that clients use.
    pub from_port: Option<u16>,
    /// The destination: an address, or a name that the gateway's DNS resolves.
    pub to: String,
    /// The destination's port; `None` for a ping.
    pub to_port: Option<u16>,
    /// The protocol.
    pub protocol: Transport,
}

/// A protocol that can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP: the packet is a SYN.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP: the packet is an echo request.
    Icmp,
}

impl Asked {
    /// The packet of the command line's `--from` and `--to`.
    ///
    /// # Errors
    ///
    /// One of them is not understood.
    pub fn parse(from: &str, to: &str) -> Result<Self, Error> {
        let unclear = |option: &str, what: &str, why: &str, example: &str| {
            Error::usage(format!("{option} \"{what}\" is not understood: {why}; write {example}"))
        };
        let (address, from_port) = with_port(from)
            .ok_or_else(|| unclear("--from", from, "its port is none", "--from 192.168.1.20:50000"))?;
        let from = Ipv4Addr::from_str(address)
            .map_err(|_| unclear("--from", from, "it is no IPv4 address", "--from 192.168.1.20"))?;
        let example = "--to www.example.net:443/tcp, or --to 192.0.2.1/icmp";
        let (place, protocol) =
            to.rsplit_once('/').ok_or_else(|| unclear("--to", to, "it has no protocol", example))?;
        let protocol = match protocol {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "icmp" => Transport::Icmp,
            _ => return Err(unclear("--to", to, "the protocol is not tcp, udp or icmp", example)),
        };
        let (host, to_port) =
            with_port(place).ok_or_else(|| unclear("--to", to, "its port is none", example))?;
        match (protocol, to_port) {
            (Transport::Tcp | Transport::Udp, None) => {
                return Err(unclear("--to", to, "it has no port", example));
            }
            (Transport::Icmp, Some(_)) => return Err(unclear("--to", to, "a ping has no port", example)),
            _ if host.is_empty() => return Err(unclear("--to", to, "it has no address", example)),
            _ => {}
        }
        Ok(Self { from, from_port, to: host.to_owned(), to_port, protocol })
    }
}

/// A host and its port, if one is written; `None` if that is no port.
fn with_port(text: &str) -> Option<(&str, Option<u16>)> {
    let Some((host, port)) = text.split_once(':') else { return Some((text, None)) };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some((host, Some(port)))
}

/// `explain`: what would become of a packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// The packet's source.
    pub from: String,
    /// The packet's destination.
    pub to: String,
    /// The stages that the packet goes through, in their order.
    pub stages: Vec<Stage>,
    /// `transmitted`, `flooded`, `local` (for the gateway itself), `consumed` (answered, or sent in fragments), `held`
    /// (until a neighbour is known) or `dropped`.
    pub verdict: String,
    /// Whether the packet passes. A held one does, if the neighbour answers.
    pub passes: bool,
    /// The drop reason, of a packet that is dropped.
    pub reason: Option<String>,
    /// What happens, in a sentence.
    pub meaning: String,
    /// The frames that the gateway would send because of the packet: ICMP errors, a TCP reset, fragments.
    pub made: u64,
}

/// The decision of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// `interface`, `worker`, `route`, `rule`, `flow`, `nat`, `hairpin` or `neighbor`.
    pub stage: String,
    /// The decision, in words.
    pub text: String,
    /// The decision's parts, by name.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} > {}", self.protocol, self.from, self.to)?;
        for Stage { stage, text, .. } in &self.stages {
            writeln!(f, "  {stage:9}  {text}")?;
        }
        writeln!(f, "  {:9}  {}", "verdict", self.meaning)?;
        match self.made {
            0 => Ok(()),
            1 => writeln!(f, "  {:9}  the gateway sends a frame because of it", ""),
            made => writeln!(f, "  {:9}  the gateway sends {made} frames because of it", ""),
        }
    }
}

/// Why a packet is not explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unexplained {
    /// Nobody answers.
    Unanswered(Undone),
    /// The packet makes no sense.
    Wrong(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_documented() {
        let asked = Asked::parse("192.168.1.20", "www.example.net:443/tcp").expect("documented");
        let expected = Asked {
            from: Ipv4Addr::new(192, 168, 1, 20),
            from_port: None,
            to: "www.example.net".to_owned(),
            to_port: Some(443),
            protocol: Transport::Tcp,
        };
        assert_eq!(asked, expected);
        let asked = Asked::parse("192.168.1.20:5060", "192.0.2.1:5060/udp").expect("documented");
        assert_eq!((asked.from_port, asked.protocol), (Some(5060), Transport::Udp));
        let asked = Asked::parse("192.168.1.20", "192.0.2.1/icmp").expect("documented");
        assert_eq!((asked.to_port, asked.protocol), (None, Transport::Icmp));
    }

    #[test]
    fn what_is_wrong_with_a_packet_is_said_with_an_example() {
        for (from, to, why) in [
            ("pc", "192.0.2.1:80/tcp", "it is no IPv4 address"),
            ("192.0.2.1:x", "192.0.2.1:80/tcp", "its port is none"),
            ("192.0.2.1", "192.0.2.1:80", "it has no protocol"),
            ("192.0.2.1", "192.0.2.1:80/sctp", "the protocol is not tcp, udp or icmp"),
            ("192.0.2.1", "192.0.2.1:0/tcp", "its port is none"),
            ("192.0.2.1", "192.0.2.1/tcp", "it has no port"),
            ("192.0.2.1", "192.0.2.1:8/icmp", "a ping has no port"),
            ("192.0.2.1", ":80/udp", "it has no address"),
        ] {
            let error = Asked::parse(from, to).expect_err("it is wrong").to_string();
            assert!(error.contains(why) && error.contains("; write --"), "{error}");
        }
    }
}
