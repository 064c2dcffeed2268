//! Offers are probed: the office's DHCP server offers no address for which another machine answers.
//!
//! An address that the client has not had needs a recent ARP probe, and no other machine may have answered it first.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::MessageType;
use gatepost::config::Config;
use gatepost_ground::{Instant, MacAddr};

use super::{Checker, Passage, Side, Way};
use crate::packet::{Content, DHCP_SERVER_PORT, Packet, dhcp_message};

/// How long after its probes the server may offer an address again without others: an offer lasts for 28 s.
const PROBED_MAX: Duration = Duration::from_secs(30);
/// The longest time between two probes of one series.
const SERIES_GAP_MAX: Duration = Duration::from_millis(250);
/// The time that an answer may take in the gateway: the offer may overtake a later one.
const ANSWER_MAX: Duration = Duration::from_millis(100);
/// The most addresses that the checker remembers.
const ADDRESSES_MAX: usize = 4096;

/// Compares each offer with the probes of its address and their answers.
pub struct OffersProbed {
    own: Ipv4Addr,
    /// The last client to which each address was acknowledged.
    had: BTreeMap<Ipv4Addr, Vec<u8>>,
    series: BTreeMap<Ipv4Addr, Series>,
}

/// The probes of an address, one shortly after the other.
struct Series {
    last_probe: Instant,
    /// The first machine that has answered, and when.
    answer: Option<(MacAddr, Instant)>,
}

impl OffersProbed {
    /// For the server that `config` asks for.
    pub fn new(config: &Config) -> Self {
        Self { own: config.lan.address.addr(), had: BTreeMap::new(), series: BTreeMap::new() }
    }

    fn note_probe(&mut self, now: Instant, address: Ipv4Addr) {
        self.series.retain(|_, series| now.since(series.last_probe) < PROBED_MAX);
        if self.series.len() >= ADDRESSES_MAX {
            return;
        }
        let series = self.series.entry(address).or_insert(Series { last_probe: now, answer: None });
        if now.since(series.last_probe) > SERIES_GAP_MAX {
            series.answer = None;
        }
        series.last_probe = now;
    }

    fn note_answer(&mut self, now: Instant, address: Ipv4Addr, by: MacAddr) {
        if let Some(series) = self.series.get_mut(&address) {
            series.answer.get_or_insert((by, now));
        }
    }

    fn check(&self, now: Instant, address: Ipv4Addr, client: &[u8]) -> Result<(), String> {
        if self.had.get(&address).is_some_and(|had| had == client) {
            return Ok(());
        }
        let series = self.series.get(&address);
        let Some(series) = series.filter(|series| now.since(series.last_probe) < PROBED_MAX) else {
            return Err(format!("{address} is offered to {client:02x?}, and was not probed"));
        };
        match series.answer {
            Some((by, at)) if by.0 != client && now.since(at) > ANSWER_MAX => {
                Err(format!("{address} is offered to {client:02x?}, and {by} has answered for it at {at}"))
            }
            _ => Ok(()),
        }
    }

    fn note_server(&mut self, now: Instant, packet: &Packet) -> Result<(), String> {
        let Some((ip, DHCP_SERVER_PORT, _, payload)) = packet.udp() else { return Ok(()) };
        let Some(message) = dhcp_message(payload).filter(|_| ip.source == self.own) else { return Ok(()) };
        match message.opts().msg_type() {
            Some(MessageType::Offer) => self.check(now, message.yiaddr(), message.chaddr()),
            Some(MessageType::Ack) => {
                if self.had.len() < ADDRESSES_MAX {
                    self.had.insert(message.yiaddr(), message.chaddr().to_vec());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Checker for OffersProbed {
    fn name(&self) -> &'static str {
        "offers-probed"
    }

    fn promise(&self) -> &'static str {
        "the LAN's DHCP server offers a client an address that it has not had only after a probe that no other machine has \
         answered"
    }

    fn on_configure(&mut self, config: &Config) {
        self.own = config.lan.address.addr();
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        if side != Side::Lan {
            return Ok(());
        }
        match (way, &packet.content) {
            (Way::Out, Content::Arp { sender, target, is_request: true }) if sender.is_unspecified() => {
                self.note_probe(now, *target);
            }
            (Way::In, Content::Arp { sender, target, is_request: false }) if target.is_unspecified() => {
                self.note_answer(now, *sender, packet.source_mac);
            }
            (Way::Out, Content::Ipv4(_)) => return self.note_server(now, packet),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{acknowledgement, arp, config, dhcp, ip, packet, passage, udp};

    const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const SQUATTER: [u8; 6] = [2, 0, 0, 0, 0, 8];
    const ADDRESS: &str = "192.168.1.9";

    fn offer() -> Packet {
        let message = dhcp(&CLIENT, MessageType::Offer, |message| _ = message.set_yiaddr(ip(ADDRESS)));
        packet("192.168.1.1", "255.255.255.255", udp(67, 68, message))
    }

    fn answer(from: [u8; 6]) -> Packet {
        Packet { source_mac: MacAddr(from), ..arp(ADDRESS, "0.0.0.0", false) }
    }

    /// Whether an offer at `at_secs` is a violation, after frames at their times.
    fn is_told(at_secs: u64, frames: &[(u64, Way, Packet)]) -> bool {
        let mut checker = OffersProbed::new(&config());
        for (secs, way, packet) in frames {
            checker.on_passage(&passage(*secs, *way, Side::Lan, packet)).expect("no offer");
        }
        checker.on_passage(&passage(at_secs, Way::Out, Side::Lan, &offer())).is_err()
    }

    #[test]
    fn an_offer_of_what_was_not_probed_is_told() {
        let probe = (10, Way::Out, arp("0.0.0.0", ADDRESS, true));
        assert!(is_told(10, &[]));
        assert!(is_told(10, &[(10, Way::Out, arp("0.0.0.0", "192.168.1.8", true))]));
        assert!(!is_told(10, std::slice::from_ref(&probe)));
        assert!(is_told(41, &[probe]));
        let acknowledged = |client: &[u8]| (5, Way::Out, acknowledgement(client, ADDRESS, 60));
        assert!(!is_told(100, &[acknowledged(&CLIENT)]), "it has had the address");
        assert!(is_told(100, &[acknowledged(&CLIENT), acknowledged(&SQUATTER)]));
    }

    #[test]
    fn an_offer_of_what_another_machine_has_answered_for_is_told() {
        let probe = |secs| (secs, Way::Out, arp("0.0.0.0", ADDRESS, true));
        let answered = |from| (10, Way::In, answer(from));
        assert!(is_told(11, &[probe(10), answered(SQUATTER)]));
        assert!(!is_told(10, &[probe(10), answered(SQUATTER)]), "the answer is under way");
        assert!(!is_told(11, &[probe(10), answered(CLIENT), answered(SQUATTER)]));
        assert!(!is_told(12, &[probe(10), answered(SQUATTER), probe(12)]), "the next probe has no answer");
    }
}
