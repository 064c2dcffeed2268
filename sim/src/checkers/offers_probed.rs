//! Offers are probed: the office's DHCP server offers no address for which another machine answers.
//!
//! An address that the client has not had needs a recent ARP probe, and no other machine may have answered it first. The
//! server may offer an address unprobed in three cases that an attack can cause: many addresses are probed already, many
//! addresses were passed over, or all addresses that are free.

mod former_clients;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use gatepost::config::Config;
use gatepost_ground::{Instant, MacAddr};

use self::former_clients::FormerClients;
use super::lan::Lan;
use super::{Checker, Passage, Side, Way};
use crate::packet::{Content, DHCP_SERVER_PORT, Packet, dhcp_message, dhcp_server_identifier};
use crate::world::disk::DiskMood;

/// How long after its probes the server may offer an address again without others: an offer lasts for 28 s.
const PROBED_MAX: Duration = Duration::from_secs(30);
/// The longest time between two probes of one series.
const SERIES_GAP_MAX: Duration = Duration::from_millis(250);
/// The time that an answer may take in the gateway: the offer may overtake a later one.
const ANSWER_MAX: Duration = Duration::from_millis(100);
/// An answer later than this after the last probe may come too late.
const ANSWERED_WITHIN: Duration = Duration::from_millis(150);
/// The time in which the server surely waits for the answers of a probe.
const PENDING_FOR: Duration = Duration::from_millis(600);
/// With this number of addresses under probe the server may offer another one unprobed. Its limit is 64.
const PENDING_MAX: usize = 48;
/// For how long the server may count the answers of a machine.
const ANSWERS_COUNT_FOR: Duration = Duration::from_secs(3600);
/// The most addresses for which the server believes one machine, but for small pools.
const ANSWERS_OF_ONE_MAX: usize = 16;
const ANSWERS_OF_ONE_MIN: usize = 4;
/// The server may offer an address unprobed if others have answered for so many in this time.
const PASSED_OVER_MAX: usize = 32;
const PASSED_OVER_WITHIN: Duration = Duration::from_secs(15);
/// With so few addresses that have had no client, all may be taken: by clients, offers and quarantines.
const UNTOUCHED_MAX: usize = 64;
/// The most addresses, clients and machines that the checker remembers.
const REMEMBERED_MAX: usize = 4096;

/// Compares each offer with the probes of its address and their answers.
pub struct OffersProbed {
    lan: Lan,
    pool: (Ipv4Addr, Ipv4Addr),
    clients: FormerClients,
    /// The sources of the clients' last DISCOVERs: bridges and relay agents may answer for their clients.
    senders: BTreeMap<Vec<u8>, MacAddr>,
    series: BTreeMap<Ipv4Addr, Series>,
    /// The answers of each machine.
    answers: BTreeMap<MacAddr, BTreeMap<Ipv4Addr, Instant>>,
    /// Whether a lease on the disk may be an older one than the last.
    is_disk_unsure: bool,
    /// Whether there was more than the checker remembers.
    is_incomplete: bool,
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
        Self {
            lan: Lan::of(config),
            pool: config.services.dhcp.pool,
            clients: FormerClients::default(),
            senders: BTreeMap::new(),
            series: BTreeMap::new(),
            answers: BTreeMap::new(),
            is_disk_unsure: false,
            is_incomplete: false,
        }
    }

    fn note_probe(&mut self, now: Instant, address: Ipv4Addr) {
        self.series.retain(|_, series| now.since(series.last_probe) < PROBED_MAX);
        if self.series.len() >= REMEMBERED_MAX {
            self.is_incomplete = true;
            return;
        }
        let series = self.series.entry(address).or_insert(Series { last_probe: now, answer: None });
        // An answer ends a series, so a probe after an answer begins the next one.
        if now.since(series.last_probe) > SERIES_GAP_MAX || series.answer.is_some() {
            series.answer = None;
        }
        series.last_probe = now;
    }

    fn note_answer(&mut self, now: Instant, address: Ipv4Addr, by: MacAddr) {
        let Some(series) = self.series.get_mut(&address) else { return };
        if now.since(series.last_probe) > ANSWERED_WITHIN {
            return;
        }
        series.answer.get_or_insert((by, now));
        if self.answers.len() >= REMEMBERED_MAX {
            self.is_incomplete = true;
            return;
        }
        let addresses = self.answers.entry(by).or_default();
        addresses.retain(|_, at| now.since(*at) < ANSWERS_COUNT_FOR);
        addresses.insert(address, now);
    }

    /// Whether the server may not believe the answers of the machine `by`.
    fn may_disbelieve(&self, now: Instant, by: MacAddr) -> bool {
        let pool_len = u32::from(self.pool.1).saturating_sub(u32::from(self.pool.0)).saturating_add(1);
        let quarter = usize::try_from(pool_len / 4).unwrap_or(usize::MAX);
        let addresses_max = quarter.clamp(ANSWERS_OF_ONE_MIN, ANSWERS_OF_ONE_MAX);
        let answers = self.answers.get(&by).into_iter().flat_map(BTreeMap::values);
        answers.filter(|at| now.since(**at) < ANSWERS_COUNT_FOR).count() > addresses_max
    }

    /// Whether the server may offer an address unprobed.
    fn may_be_unprobed(&self, now: Instant) -> bool {
        let pending =
            self.series.values().filter(|series| now.since(series.last_probe) < PENDING_FOR).count();
        let answers = self.answers.values().flat_map(BTreeMap::values);
        let answered = answers.filter(|at| now.since(**at) < PASSED_OVER_WITHIN).count();
        let may_be_exhausted = || self.clients.untouched(self.pool) <= UNTOUCHED_MAX;
        pending >= PENDING_MAX || answered >= PASSED_OVER_MAX || (answered > 0 && may_be_exhausted())
    }

    fn check(&self, now: Instant, offer: &Message) -> Result<(), String> {
        let (address, client) = (offer.yiaddr(), offer.chaddr());
        if self.is_incomplete
            || self.clients.may_have_had(address, offer, self.is_disk_unsure)
            || self.may_be_unprobed(now)
        {
            return Ok(());
        }
        let series = self.series.get(&address);
        let Some(series) = series.filter(|series| now.since(series.last_probe) < PROBED_MAX) else {
            return Err(format!("{address} is offered to {client:02x?}, and was not probed"));
        };
        let is_others = |by: MacAddr| by.0 != client && self.senders.get(client) != Some(&by);
        match series.answer {
            Some((by, at))
                if is_others(by) && now.since(at) > ANSWER_MAX && !self.may_disbelieve(now, by) =>
            {
                Err(format!("{address} is offered to {client:02x?}, and {by} has answered for it at {at}"))
            }
            _ => Ok(()),
        }
    }

    fn note_client(&mut self, packet: &Packet) {
        let Some((_, _, DHCP_SERVER_PORT, payload)) = packet.udp() else { return };
        let Some(message) = dhcp_message(payload) else { return };
        match message.opts().msg_type() {
            Some(MessageType::Discover) if self.senders.len() < REMEMBERED_MAX => {
                self.senders.insert(message.chaddr().to_vec(), packet.source_mac);
            }
            Some(MessageType::Discover) => self.is_incomplete = true,
            Some(MessageType::Request) => {
                let address = match message.opts().get(OptionCode::RequestedIpAddress) {
                    Some(DhcpOption::RequestedIpAddress(address)) => *address,
                    _ => message.ciaddr(),
                };
                if dhcp_server_identifier(&message).is_none_or(|server| self.lan.is_own(server)) {
                    self.clients.note_request(address, &message);
                }
            }
            _ => {}
        }
    }

    fn note_server(&mut self, now: Instant, packet: &Packet) -> Result<(), String> {
        let Some((ip, DHCP_SERVER_PORT, _, payload)) = packet.udp() else { return Ok(()) };
        let Some(message) = dhcp_message(payload).filter(|_| self.lan.is_own(ip.source)) else {
            return Ok(());
        };
        match message.opts().msg_type() {
            Some(MessageType::Offer) => self.check(now, &message),
            Some(MessageType::Ack) if !message.yiaddr().is_unspecified() => {
                self.clients.note_ack(message.yiaddr(), &message);
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
         answered, but for one that answers for more than its share"
    }

    fn on_configure(&mut self, config: &Config) {
        self.lan.follow(config);
        self.pool = config.services.dhcp.pool;
    }

    fn on_disk(&mut self, mood: DiskMood) {
        self.is_disk_unsure |= mood == DiskMood::LosesWrites;
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
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
            (Way::In, Content::Ipv4(_)) => self.note_client(packet),
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
        answer_for(ADDRESS, from)
    }

    fn answer_for(address: &str, from: [u8; 6]) -> Packet {
        Packet { source_mac: MacAddr(from), ..arp(address, "0.0.0.0", false) }
    }

    /// The probe of an address at 10 s, and `by`'s answer.
    fn answered_at_10(host: usize, by: [u8; 6]) -> [(u64, Way, Packet); 2] {
        let address = format!("192.168.1.{host}");
        [(10, Way::Out, arp("0.0.0.0", &address, true)), (10, Way::In, answer_for(&address, by))]
    }

    /// A client's message from the frame source `from`.
    fn asked(from: [u8; 6], kind: MessageType, edit: impl FnOnce(&mut Message)) -> Packet {
        let message = dhcp(&CLIENT, kind, edit);
        Packet { source_mac: MacAddr(from), ..packet("0.0.0.0", "255.255.255.255", udp(68, 67, message)) }
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

    #[test]
    fn a_bridge_may_answer_for_its_client_and_an_answer_come_too_late() {
        let discover = (9, Way::In, asked(SQUATTER, MessageType::Discover, |_| {}));
        let [probe, answer] = answered_at_10(9, SQUATTER);
        assert!(is_told(11, &[probe.clone(), answer.clone()]));
        assert!(!is_told(11, &[discover, probe.clone(), answer.clone()]));
        assert!(!is_told(20, &[probe.clone(), (11, Way::In, answer.2.clone())]), "nobody waits any more");
        assert!(!is_told(11, &[probe.clone(), answer, probe]), "the next series has no answer");
    }

    #[test]
    fn a_lease_may_be_on_the_disk_without_its_acknowledgement() {
        let wish = |message: &mut Message| {
            message.opts_mut().insert(DhcpOption::RequestedIpAddress(ip(ADDRESS)));
        };
        let request = |edit: fn(&mut Message)| {
            let edited = |message: &mut Message| {
                wish(message);
                edit(message);
            };
            (5, Way::In, asked(CLIENT, MessageType::Request, edited))
        };
        let from_own = |message: &mut Message| {
            message.opts_mut().insert(DhcpOption::ServerIdentifier(ip("192.168.1.1")));
        };
        let from_other = |message: &mut Message| {
            message.opts_mut().insert(DhcpOption::ServerIdentifier(ip("192.168.1.2")));
        };
        assert!(!is_told(100, &[request(from_own)]));
        assert!(is_told(100, &[request(from_other)]));
        let others = (6, Way::Out, acknowledgement(&SQUATTER, ADDRESS, 60));
        assert!(is_told(100, &[request(from_own), others]));
    }

    #[test]
    fn a_client_is_known_by_its_identifier_and_a_disk_may_have_an_older_lease() {
        let named = |client: &[u8], kind| {
            let message = dhcp(client, kind, |message| {
                message.set_yiaddr(ip(ADDRESS)).opts_mut().insert(DhcpOption::ClientIdentifier(vec![0, 1]));
            });
            packet("192.168.1.1", "255.255.255.255", udp(67, 68, message))
        };
        let mut checker = OffersProbed::new(&config());
        let mut tells =
            |way_out: Packet| checker.on_passage(&passage(10, Way::Out, Side::Lan, &way_out)).is_err();
        assert!(!tells(named(&SQUATTER, MessageType::Ack)));
        assert!(!tells(named(&CLIENT, MessageType::Offer)), "the same client with another hardware address");
        assert!(tells(offer()));
        assert!(!tells(acknowledgement(&CLIENT, ADDRESS, 60)) && !tells(named(&SQUATTER, MessageType::Ack)));
        assert!(tells(offer()), "another client has had it since");
        checker.on_disk(DiskMood::LosesWrites);
        assert!(checker.on_passage(&passage(10, Way::Out, Side::Lan, &offer())).is_ok());
    }

    #[test]
    fn a_machine_that_answers_for_all_addresses_need_not_be_believed() {
        let told_beside = |others: usize| {
            let others = (20..20 + others).flat_map(|host| answered_at_10(host, SQUATTER));
            is_told(11, &others.chain(answered_at_10(9, SQUATTER)).collect::<Vec<_>>())
        };
        assert!(told_beside(15) && !told_beside(16));
    }

    #[test]
    fn in_an_attack_an_address_may_be_unprobed() {
        let told_beside = |others: usize, answers: usize| {
            let own = |host| [2, 0, 0, 0, 1, u8::try_from(host).expect("a host")];
            let others = (20..20 + others).flat_map(|host| {
                let [probe, answer] = answered_at_10(host, own(host));
                [Some(probe), (host < 20 + answers).then_some(answer)].into_iter().flatten()
            });
            is_told(10, &others.collect::<Vec<_>>())
        };
        assert!(told_beside(47, 0) && !told_beside(48, 0), "many are probed");
        assert!(told_beside(32, 31) && !told_beside(32, 32), "many were passed over");
        let taken = (20..250).map(|host| {
            let address = format!("192.168.1.{host}");
            (5, Way::Out, acknowledgement(&SQUATTER, &address, 60))
        });
        let taken: Vec<_> = taken.collect();
        assert!(is_told(10, &taken));
        assert!(!is_told(10, &[&taken[..], &answered_at_10(19, SQUATTER)[..]].concat()), "no other is left");
    }
}
