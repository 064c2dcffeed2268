//! Names are true: every DNS answer to the LAN is right at its time, for leases, for zones with servers of their own and
//! for the internet.

mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{CLIENT_PORT, MessageType as DhcpKind};
use gatepost::config::Config;
use gatepost_ground::Instant;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::IpNet;

use self::zones::Zones;
use super::lan::Lan;
use super::observed_leases::{LEASE_END_GRACE, ObservedLeases};
use super::{Checker, Passage, Side, Way, wan_lease};
use crate::machine::attacker::FORGED_TTL;
use crate::machine::internet::{INTERNET, SharedTree};
use crate::packet::{Ipv4, Transport, dhcp_message};
use crate::world::disk::DiskMood;

/// A lease lasts from its request on, and the checker knows the time of the answer.
const WAN_LEASE_SLACK: Duration = Duration::from_secs(5);

const DNS_PORT: u16 = 53;
/// The longest time from an authority's answer to its arrival at the host: slow name servers, lost frames.
const UNDER_WAY_MAX: Duration = Duration::from_secs(20);
/// The gateway waits at least so long for a resolver's answer; it may ignore a later one.
const AWAITED_MAX: Duration = Duration::from_secs(6);
/// The longest time after its last query to the resolvers, or after its loss of the internet, in which the gateway may
/// use an expired answer: the time until the exchange fails, and the 30 s of RFC 8767, section 5.
const STALE_AFTER_QUESTION_MAX: Duration = Duration::from_secs(38);
/// If nothing has come from the internet for so long, the gateway may be cut off.
const CUT_OFF_MIN: Duration = Duration::from_secs(3);
/// The longest TTL of an expired answer, in seconds.
const STALE_TTL_SECS_MAX: u32 = 30;
/// The longest time for which an answer waits in the gateway for the client's hardware address.
const HELD_MAX: Duration = Duration::from_secs(4);
/// The longest time without use of a disk after it has failed: the gateway tries a full or unreadable disk again after
/// ten seconds.
const DISK_SHUNNED_MAX: Duration = Duration::from_secs(12);
/// The most identifiers that the checker remembers of the queries for one name.
const IDS_MAX: usize = 32;

/// Compares every answer with the observed leases, and with the internet's names, present and past.
pub struct NamesTrue {
    leases: ObservedLeases,
    /// The addresses of the names that the configuration reserves, which are names without a lease too.
    reserved: BTreeMap<String, Ipv4Addr>,
    /// All addresses that the configuration reserves. Their clients get them also while the disk cannot store leases.
    reserved_addresses: BTreeSet<Ipv4Addr>,
    /// Those of them whose leases may not be on the disk: their names are gone after a power cut.
    unkept: BTreeSet<Ipv4Addr>,
    /// The addresses of clients that took other names while the disk rejected the change.
    renamed_unkept: BTreeSet<Ipv4Addr>,
    is_disk_broken: bool,
    /// The last time at which the disk failed.
    disk_broken_at: Option<Instant>,
    /// The times of hosts' queries without an answer so far, by address, port and identifier.
    asked_at: BTreeMap<(Ipv4Addr, u16, u16), Instant>,
    /// Whether the gateway always knows which leases last.
    knows_leases: bool,
    lan: Lan,
    /// With a dot before and after.
    domain: String,
    zones: Zones,
    tree: SharedTree,
    /// The gateway's queries to its resolvers without a good answer so far.
    unanswered: BTreeMap<Name, Unanswered>,
    /// The packets from the internet, and those to it: without an address on the WAN the gateway sends none, and has no
    /// upstream server, whatever still arrives.
    internet: [Traffic; 2],
    /// When the provider's lease ends, if it is known.
    wan_lease_ends: Option<Instant>,
}

/// The packets of a direction: the time of the latest, and of the latest after a long silence.
#[derive(Clone, Copy, Default)]
struct Traffic {
    latest: Instant,
    resumed: Instant,
}

impl Traffic {
    fn note(&mut self, now: Instant) {
        if now.since(self.latest) >= CUT_OFF_MIN {
            self.resumed = now;
        }
        self.latest = now;
    }

    /// Whether there is none at `now`, or there was none a short time ago.
    fn may_be_cut_off(&self, now: Instant) -> bool {
        now.since(self.latest) >= CUT_OFF_MIN || now.since(self.resumed) < STALE_AFTER_QUESTION_MAX
    }
}

#[derive(Default)]
struct Unanswered {
    asked_last: Instant,
    /// The identifiers and times of the last queries.
    ids: Vec<(u16, Instant)>,
}

impl NamesTrue {
    /// For the domain of `config`, and the names of `tree`. The names of machines are compared if the gateway
    /// `knows_leases`.
    pub fn new(config: &Config, tree: SharedTree, knows_leases: bool) -> Self {
        Self {
            leases: ObservedLeases::of_config(config),
            reserved: reserved_names(config),
            reserved_addresses: config.services.dhcp.reservations.iter().map(|it| it.address).collect(),
            unkept: BTreeSet::new(),
            renamed_unkept: BTreeSet::new(),
            is_disk_broken: false,
            disk_broken_at: None,
            asked_at: BTreeMap::new(),
            knows_leases,
            lan: Lan::of(config),
            domain: format!(".{}.", config.system.domain),
            zones: Zones::of_config(config),
            tree,
            unanswered: BTreeMap::new(),
            internet: Default::default(),
            wan_lease_ends: None,
        }
    }

    /// Checks an answer to a query of the time `asked_at`.
    fn check(&self, answer: &Message, asked_at: Instant, now: Instant) -> Result<(), String> {
        let Some(query) = answer.queries.first() else { return Ok(()) };
        if let Some(zone) = self.zones.of(query.name()) {
            return zones::check(zone, query.name(), query.query_type(), answer);
        }
        let text = query.name().to_ascii().to_lowercase();
        if let Some(label) = text.strip_suffix(&self.domain) {
            return if query.query_type() == RecordType::A {
                self.check_lease(label, answer, asked_at, now)
            } else {
                Ok(())
            };
        }
        if let Ok(IpNet::V4(asked)) = query.name().parse_arpa_name()
            && self.lan.contains(&asked.addr())
        {
            return self.check_reverse(asked.addr(), answer, asked_at, now);
        }
        for record in &answer.answers {
            self.check_record(record, answer, now)?;
        }
        self.check_denial(query, answer, now)
    }

    fn check_lease(
        &self,
        label: &str,
        answer: &Message,
        asked_at: Instant,
        now: Instant,
    ) -> Result<(), String> {
        if !is_machine(label) || !self.knows_leases || self.leases.is_doubtful(label, now) {
            return Ok(());
        }
        let lease = self.leases.lease_of(label);
        if lease.is_some_and(|(_, lease, _)| lease.may_be_over) {
            return Ok(());
        }
        let known = |at: Instant| {
            let leased = lease.filter(|(_, lease, since)| *since <= at && at < lease.until);
            let known = leased.map(|(address, ..)| address).or_else(|| self.reserved.get(label).copied());
            // What has an address of a former network has no name by it.
            known.filter(|address| self.lan.contains(address))
        };
        let until = lease.map_or(Instant::ZERO, |(_, lease, _)| lease.until);
        let told = answer.answers.iter().find_map(|record| match &record.data {
            RData::A(a) => Some(a.0),
            _ => None,
        });
        // The lease is on disk before its ACK, and the power can fail between the two.
        let is_asked_for = told.is_some() && told == self.leases.asked_for(label);
        let is_unkept = told.or(known(now)).is_some_and(|address| self.renamed_unkept.contains(&address));
        // An answer that waits in the gateway may be out of date when it leaves.
        let is_true = [now, asked_at].iter().any(|at| told == known(*at));
        if !says(answer) || is_true || is_asked_for || is_unkept || is_about(until, now) {
            return Ok(());
        }
        Err(format!("{label} is {told:?} for the gateway, and {:?} by leases and reservations", known(now)))
    }

    /// The name of an address is that of the client with its lease, or else that of its reservation.
    fn check_reverse(
        &self,
        address: Ipv4Addr,
        answer: &Message,
        asked_at: Instant,
        now: Instant,
    ) -> Result<(), String> {
        let told = answer.answers.iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.to_ascii().to_lowercase()),
            _ => None,
        });
        if !self.knows_leases || self.renamed_unkept.contains(&address) {
            return Ok(());
        }
        let Some(told) = told else {
            let known = self.leases.name_of(address, asked_at, now).filter(|label| is_machine(label));
            return match known.filter(|_| says(answer)) {
                Some(known) => {
                    Err(format!("{address} has no name for the gateway, and is {known} by its lease"))
                }
                None => Ok(()),
            };
        };
        match told.strip_suffix(&self.domain).filter(|label| is_machine(label)) {
            Some(label) => match self.leases.lease_of(label) {
                _ if self.leases.is_doubtful(label, now) => Ok(()),
                Some((leased, lease, _))
                    if leased == address && (lease.until > now || is_about(lease.until, now)) =>
                {
                    Ok(())
                }
                _ if self.leases.asked_for(label) == Some(address) => Ok(()),
                _ if self.reserved.get(label) == Some(&address) => Ok(()),
                known => {
                    Err(format!("{address} is {label} for the gateway, and that is {known:?} by the leases"))
                }
            },
            None => Ok(()),
        }
    }

    /// An answer about the internet was true when the authority gave it, no longer ago than its TTL.
    fn check_record(&self, record: &Record, answer: &Message, now: Instant) -> Result<(), String> {
        if record.name.to_ascii().to_lowercase().ends_with(&self.domain) {
            return Ok(());
        }
        let tree = self.tree.borrow();
        let ttl = tree.ttl(&record.name, record.record_type()).unwrap_or(0);
        let age = Duration::from_secs(ttl.saturating_sub(record.ttl).into()) + UNDER_WAY_MAX;
        let since = Instant::ZERO + now.since(Instant::ZERO).saturating_sub(age);
        if record.ttl <= ttl && tree.was_true(record, since, now) {
            return Ok(());
        }
        let is_stale = record.ttl <= STALE_TTL_SECS_MAX && tree.was_true(record, Instant::ZERO, now);
        if is_stale && self.may_be_stale(answer, now) {
            return Ok(());
        }
        Err(format!("{record} is told, and was not true from {since} on"))
    }

    /// NXDOMAIN is only for a name that does not exist, and NODATA only for a type that the name does not have.
    fn check_denial(&self, query: &Query, answer: &Message, now: Instant) -> Result<(), String> {
        // An answer without an SOA: the rebinding filter has removed its records.
        if !says(answer) || answer.authorities.is_empty() {
            return Ok(());
        }
        let alias = answer.answers.iter().rev().find_map(|record| match &record.data {
            RData::CNAME(target) => Some(&target.0),
            _ => None,
        });
        let (name, kind) = (alias.unwrap_or(query.name()), query.query_type());
        let tree = self.tree.borrow();
        let is_wrong = match answer.metadata.response_code {
            ResponseCode::NXDomain => tree.exists(name),
            _ => [kind, RecordType::CNAME].iter().any(|kind| tree.records(name, *kind, now).next().is_some()),
        };
        if is_wrong { Err(format!("{name} {kind} is denied, and there is one")) } else { Ok(()) }
    }

    fn may_be_stale(&self, answer: &Message, now: Instant) -> bool {
        let is_without_lease = self.wan_lease_ends.is_some_and(|ends| now + WAN_LEASE_SLACK >= ends);
        if is_without_lease || self.internet.iter().any(|traffic| traffic.may_be_cut_off(now)) {
            return true;
        }
        let asked = answer.queries.iter().map(Query::name);
        let mut names = asked.chain(answer.answers.iter().map(|record| &record.name));
        names.any(|name| {
            let unanswered = self.unanswered.get(name);
            unanswered.is_some_and(|question| now.since(question.asked_last) < STALE_AFTER_QUESTION_MAX)
        })
    }

    /// Observes an ACK, and whether its lease may not be on the disk.
    fn note_lease(&mut self, passage: &Passage<'_>) {
        if self.is_disk_broken {
            self.disk_broken_at = Some(passage.now);
        }
        let Some((address, ..)) = self.leases.observe(passage) else { return };
        let is_shunned = self.disk_broken_at.is_some_and(|at| passage.now.since(at) < DISK_SHUNNED_MAX);
        if !is_shunned {
            self.renamed_unkept.remove(&address);
        } else if self.leases.is_renamed(passage.now) {
            self.renamed_unkept.insert(address);
        }
        if is_shunned && self.reserved_addresses.contains(&address) {
            self.unkept.insert(address);
        } else {
            self.unkept.remove(&address);
        }
    }

    /// Observes a host's query.
    fn note_asked(&mut self, ip: &Ipv4, port: u16, question: &Message, now: Instant) {
        self.asked_at.retain(|_, at| now.since(*at) <= HELD_MAX);
        self.asked_at.entry((ip.source, port, question.metadata.id)).or_insert(now);
    }

    /// The time of the query that is answered at `now`, if known.
    fn take_asked(&mut self, ip: &Ipv4, port: u16, answer: &Message, now: Instant) -> Instant {
        let asked_at = self.asked_at.remove(&(ip.destination, port, answer.metadata.id));
        asked_at.filter(|at| now.since(*at) <= HELD_MAX).unwrap_or(now)
    }

    fn note_packet(&mut self, passage: &Passage<'_>) {
        let Some(ip) = passage.packet.ipv4().filter(|_| passage.side == Side::Wan) else { return };
        let [from, to] = &mut self.internet;
        match passage.way {
            // A forged packet needs no path from the internet: its sender is a neighbour of the gateway.
            Way::In if INTERNET.contains(&ip.source) && ip.ttl != FORGED_TTL => from.note(passage.now),
            Way::In if let Some(ends) = lease_end(passage) => {
                if self.wan_lease_ends.is_some_and(|former| passage.now + WAN_LEASE_SLACK >= former) {
                    // The gateway had no address, and begins to send anew.
                    *to = Traffic::default();
                }
                self.wan_lease_ends = Some(ends);
            }
            Way::Out if INTERNET.contains(&ip.destination) => to.note(passage.now),
            Way::In | Way::Out => {}
        }
    }

    fn note_question(&mut self, question: &Message, now: Instant) {
        let Some(query) = question.queries.first() else { return };
        let unanswered = self.unanswered.entry(query.name().clone()).or_default();
        unanswered.asked_last = now;
        unanswered.ids.push((question.metadata.id, now));
        if unanswered.ids.len() > IDS_MAX {
            unanswered.ids.remove(0);
        }
    }

    fn note_answer(&mut self, answer: &Message, now: Instant) {
        let Some(query) = answer.queries.first() else { return };
        let is_good = says(answer)
            && !answer.metadata.truncation
            && (answer.answers.iter().chain(&answer.authorities))
                .any(|record| record.record_type() == RecordType::SOA || record.name == *query.name());
        let is_awaited =
            |(id, asked): &(u16, Instant)| *id == answer.metadata.id && now.since(*asked) <= AWAITED_MAX;
        let is_asked = |question: &Unanswered| question.ids.iter().any(is_awaited);
        if is_good && self.unanswered.get(query.name()).is_some_and(is_asked) {
            self.unanswered.remove(query.name());
        }
    }
}

impl Checker for NamesTrue {
    fn name(&self) -> &'static str {
        "names-true"
    }

    fn promise(&self) -> &'static str {
        "the office's names and addresses resolve by lease, otherwise by reservation, and other names as their zone says \
         or has said within the TTL; only the servers of a zone are asked for its names"
    }

    fn on_boot(&mut self) {
        self.asked_at.clear();
        for address in std::mem::take(&mut self.unkept) {
            self.leases.doubt(address);
        }
    }

    fn on_disk(&mut self, mood: DiskMood) {
        self.is_disk_broken = !matches!(mood, DiskMood::Sound | DiskMood::Slow);
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_configure(&mut self, config: &Config) {
        self.lan.settle(config);
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        self.note_lease(passage);
        self.note_packet(passage);
        let Some((ip, source_port, destination_port, payload)) = passage.packet.udp() else { return Ok(()) };
        let is_whole = matches!(ip.transport, Transport::Udp { checksum_ok: true, .. });
        if !is_whole || ![source_port, destination_port].contains(&DNS_PORT) {
            return Ok(());
        }
        let Ok(message) = Message::from_vec(payload) else { return Ok(()) };
        let is_answer = message.metadata.message_type == MessageType::Response;
        match (passage.way, passage.side) {
            // An answer from the internet passes on to a host that has asked there itself, or to the default host.
            (Way::Out, Side::Lan) if is_answer && !INTERNET.contains(&ip.source) => {
                let asked_at = self.take_asked(ip, destination_port, &message, passage.now);
                return self.check(&message, asked_at, passage.now);
            }
            (Way::In, Side::Lan) if !is_answer => self.note_asked(ip, source_port, &message, passage.now),
            (Way::Out, Side::Wan) if !is_answer => {
                self.note_question(&message, passage.now);
                let asked = message.queries.first().map(Query::name);
                return asked.map_or(Ok(()), |name| self.zones.check_query(name, ip.destination));
            }
            (Way::In, Side::Wan) if is_answer => self.note_answer(&message, passage.now),
            _ => {}
        }
        Ok(())
    }
}

fn reserved_names(config: &Config) -> BTreeMap<String, Ipv4Addr> {
    let reservations = config.services.dhcp.reservations.iter();
    let named = reservations.filter_map(|it| Some((it.hostname.as_ref()?.to_lowercase(), it.address)));
    named.collect()
}

/// Whether a name of the office belongs to a machine, which has the name with its lease.
fn is_machine(label: &str) -> bool {
    label.starts_with("pc-") || label.starts_with("phone-") || label == "printer"
}

/// Whether an answer states anything that can be compared.
fn says(answer: &Message) -> bool {
    matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn is_about(until: Instant, now: Instant) -> bool {
    until.since(now).max(now.since(until)) < LEASE_END_GRACE
}

/// When the client of a DHCP server has no lease any more, if it is an ACK or a NAK.
fn lease_end(passage: &Passage<'_>) -> Option<Instant> {
    let (.., payload) = passage.packet.udp().filter(|(_, _, port, _)| *port == CLIENT_PORT)?;
    let message = dhcp_message(payload)?;
    match message.opts().msg_type()? {
        DhcpKind::Ack => Some(passage.now + wan_lease::duration(&message)),
        DhcpKind::Nak => Some(passage.now),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use dhcproto::v4::{self, DhcpOption};
    use gatepost_ground::MacAddr;
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{A, PTR, SOA};

    use super::*;
    use crate::checkers::testing::{acknowledgement, config, dhcp, ip, packet, passage, tcp, udp};
    use crate::machine::internet::{Tree, WEB_ADDRESSES};
    use crate::packet::Content;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(kind: MessageType, asked: &str) -> Message {
        let mut message = Message::new(7, kind, OpCode::Query);
        message.add_query(Query::query(name(asked), RecordType::A));
        message
    }

    fn reported(asked: &str, ttl: u32, address: Ipv4Addr) -> Message {
        let mut answer = message(MessageType::Response, asked);
        answer.add_answer(Record::from_rdata(name(asked), ttl, RData::A(A(address))));
        answer
    }

    fn checker() -> (NamesTrue, SharedTree) {
        let tree: SharedTree = Rc::new(RefCell::new(Tree::new()));
        (NamesTrue::new(&config(), Rc::clone(&tree), true), tree)
    }

    fn on_lan(checker: &mut NamesTrue, secs: u64, answer: &Message) -> Result<(), String> {
        let datagram = udp(53, 5_353, answer.to_vec().unwrap());
        let answer = packet("192.168.1.1", "192.168.1.9", datagram);
        checker.on_passage(&passage(secs, Way::Out, Side::Lan, &answer))
    }

    /// A packet comes from the internet, and one goes there.
    fn hear(checker: &mut NamesTrue, secs: u64) {
        let page = packet("198.18.80.1", "203.0.113.100", tcp(80, 1_025));
        checker.on_passage(&passage(secs, Way::In, Side::Wan, &page)).unwrap();
        send(checker, secs);
    }

    fn send(checker: &mut NamesTrue, secs: u64) {
        let question = packet("203.0.113.100", "198.18.80.1", tcp(1_025, 80));
        checker.on_passage(&passage(secs, Way::Out, Side::Wan, &question)).unwrap();
    }

    #[test]
    fn what_a_server_of_the_internet_says_itself_is_not_told_by_the_gateway() {
        let (mut checker, _) = checker();
        let lie = reported("site-0.example.", 30, Ipv4Addr::new(192, 168, 1, 1)).to_vec().unwrap();
        let mut passes = |source| {
            let answer = packet(source, "192.168.1.9", udp(53, 5_353, lie.clone()));
            checker.on_passage(&passage(10, Way::Out, Side::Lan, &answer))
        };
        assert!(passes("192.168.1.1").is_err());
        assert_eq!(passes("198.18.53.1"), Ok(()));
    }

    #[test]
    fn an_address_is_told_no_longer_than_its_ttl_after_the_name_has_moved() {
        let (mut checker, tree) = checker();
        let [old, new, ..] = WEB_ADDRESSES;
        tree.borrow_mut().move_name(Instant::from_secs(100), "site-0.example");
        (0..190).for_each(|secs| hear(&mut checker, secs));
        let mut tell =
            |secs, ttl, address| on_lan(&mut checker, secs, &reported("site-0.example.", ttl, address));
        assert_eq!(tell(99, 60, old), Ok(()));
        assert_eq!(tell(150, 5, old), Ok(()), "kept for 55 s");
        assert_eq!(tell(150, 5, new), Ok(()));
        assert!(tell(150, 60, old).is_err(), "as if it was new");
        assert!(tell(190, 1, old).is_err());
        assert!(tell(190, 61, new).is_err(), "for longer than its zone says");
        assert!(tell(190, 1, ip("198.18.66.66")).is_err());
    }

    #[test]
    fn what_is_too_old_is_told_only_while_the_resolvers_fail() {
        let (mut checker, tree) = checker();
        tree.borrow_mut().move_name(Instant::from_secs(100), "site-0.example");
        let stale = reported("site-0.example.", 30, WEB_ADDRESSES[0]);
        let upstream = |message: Message, from: &str, to: &str, ports: (u16, u16)| {
            packet(from, to, udp(ports.0, ports.1, message.to_vec().unwrap()))
        };
        let question = message(MessageType::Query, "site-0.example.");
        let question = upstream(question, "203.0.113.100", "198.18.53.1", (1_024, 53));
        let answer = reported("site-0.example.", 60, WEB_ADDRESSES[1]);
        let answer = upstream(answer, "198.18.53.1", "203.0.113.100", (53, 1_024));
        let mut verdicts = Vec::new();
        for secs in 200..400 {
            match secs {
                300 | 350 => checker.on_passage(&passage(secs, Way::Out, Side::Wan, &question)).unwrap(),
                355 => checker.on_passage(&passage(secs, Way::In, Side::Wan, &answer)).unwrap(),
                _ => {}
            }
            if [200, 299, 306, 345, 352, 356].contains(&secs) {
                verdicts.push(on_lan(&mut checker, secs, &stale).is_ok());
            }
            hear(&mut checker, secs);
        }
        // Cut off; online and has not asked; has asked, long ago, and again; was told better.
        assert_eq!(verdicts, [true, false, true, false, true, false]);
    }

    #[test]
    fn a_gateway_that_can_send_nothing_may_tell_what_is_too_old() {
        for (sends, is_passed) in [(false, true), (true, false)] {
            let (mut checker, tree) = checker();
            tree.borrow_mut().move_name(Instant::from_secs(100), "site-0.example");
            (0..250).for_each(|secs| hear(&mut checker, secs));
            for secs in 250..300 {
                let page = packet("198.18.80.1", "203.0.113.100", tcp(80, 1_025));
                checker.on_passage(&passage(secs, Way::In, Side::Wan, &page)).unwrap();
                if sends {
                    send(&mut checker, secs);
                }
            }
            let stale = reported("site-0.example.", 30, WEB_ADDRESSES[0]);
            assert_eq!(on_lan(&mut checker, 300, &stale).is_ok(), is_passed);
        }
    }

    #[test]
    fn a_gateway_whose_lease_is_refused_may_tell_what_is_too_old() {
        for (kind, is_passed) in [(v4::MessageType::Nak, true), (v4::MessageType::Ack, false)] {
            let (mut checker, tree) = checker();
            tree.borrow_mut().move_name(Instant::from_secs(100), "site-0.example");
            (0..300).for_each(|secs| hear(&mut checker, secs));
            let mut message = v4::Message::default();
            message.opts_mut().insert(DhcpOption::MessageType(kind));
            let datagram = udp(67, 68, dhcproto::Encodable::to_vec(&message).unwrap());
            let answer = packet("203.0.113.1", "255.255.255.255", datagram);
            checker.on_passage(&passage(300, Way::In, Side::Wan, &answer)).unwrap();
            let stale = reported("site-0.example.", 30, WEB_ADDRESSES[0]);
            assert_eq!(on_lan(&mut checker, 300, &stale).is_ok(), is_passed);
        }
    }

    #[test]
    fn a_forged_packet_does_not_show_that_the_internet_is_reachable() {
        for (ttl, is_passed) in [(FORGED_TTL, true), (63, false)] {
            let (mut checker, tree) = checker();
            tree.borrow_mut().move_name(Instant::from_secs(100), "site-0.example");
            for secs in 0..300 {
                let mut page = packet("198.18.80.1", "203.0.113.100", tcp(80, 1_025));
                if let Content::Ipv4(ip) = &mut page.content {
                    ip.ttl = ttl;
                }
                checker.on_passage(&passage(secs, Way::In, Side::Wan, &page)).unwrap();
                send(&mut checker, secs);
            }
            let stale = reported("site-0.example.", 30, WEB_ADDRESSES[0]);
            assert_eq!(on_lan(&mut checker, 300, &stale).is_ok(), is_passed, "{ttl}");
        }
    }

    #[test]
    fn what_exists_is_not_denied() {
        let (mut checker, _) = checker();
        let mut denied = |asked: &str| {
            let mut denial = message(MessageType::Response, asked);
            denial.metadata.response_code = ResponseCode::NXDomain;
            let soa = SOA::new(name("a."), name("b."), 1, 2, 3, 4, 5);
            denial.add_authority(Record::from_rdata(name("example."), 5, RData::SOA(soa)));
            on_lan(&mut checker, 1, &denial)
        };
        assert_eq!(denied("nobody.example."), Ok(()));
        assert!(denied("site-0.example.").is_err());
        assert!(denied("cdn.example.net.").is_err(), "there are names below it");
    }

    const PC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    /// `pc-9` gets 192.168.1.9 for a minute, at 0 s.
    fn lease(checker: &mut NamesTrue) {
        lease_at(checker, 0);
    }

    fn lease_at(checker: &mut NamesTrue, secs: u64) {
        request(checker, secs);
        acknowledge(checker, secs);
    }

    fn request(checker: &mut NamesTrue, secs: u64) {
        request_as(checker, secs, "PC-9");
    }

    fn request_as(checker: &mut NamesTrue, secs: u64, name: &str) {
        let request = dhcp(&PC, v4::MessageType::Request, |message| {
            message.opts_mut().insert(DhcpOption::Hostname(name.to_owned()));
            message.opts_mut().insert(DhcpOption::RequestedIpAddress(ip("192.168.1.9")));
        });
        let request = packet("0.0.0.0", "255.255.255.255", udp(68, 67, request));
        checker.on_passage(&passage(secs, Way::In, Side::Lan, &request)).unwrap();
    }

    fn acknowledge(checker: &mut NamesTrue, secs: u64) {
        let acknowledgement = acknowledgement(&PC, "192.168.1.9", 60);
        checker.on_passage(&passage(secs, Way::Out, Side::Lan, &acknowledgement)).unwrap();
    }

    /// Whether the checker lets an answer about a machine pass.
    fn passes(checker: &mut NamesTrue, secs: u64, machine: &str, address: Option<&str>) -> bool {
        let name = format!("{machine}.office.example.");
        let answer = match address {
            Some(address) => reported(&name, 60, ip(address)),
            None => {
                let mut denial = message(MessageType::Response, &name);
                denial.metadata.response_code = ResponseCode::NXDomain;
                denial
            }
        };
        on_lan(checker, secs, &answer).is_ok()
    }

    /// Whether the checker lets an answer about the name of 192.168.1.9 pass.
    fn reverse_passes(checker: &mut NamesTrue, secs: u64, machine: Option<&str>) -> bool {
        let asked = "9.1.168.192.in-addr.arpa.";
        let mut answer = Message::new(7, MessageType::Response, OpCode::Query);
        answer.add_query(Query::query(name(asked), RecordType::PTR));
        match machine {
            Some(machine) => {
                let data = RData::PTR(PTR(name(&format!("{machine}.office.example."))));
                answer.add_answer(Record::from_rdata(name(asked), 60, data));
            }
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        on_lan(checker, secs, &answer).is_ok()
    }

    #[test]
    fn the_address_of_a_lease_has_the_name_of_its_client() {
        let (mut checker, _) = checker();
        assert!(reverse_passes(&mut checker, 0, None), "there is no lease");
        lease(&mut checker);
        assert!(reverse_passes(&mut checker, 5, Some("pc-9")));
        assert!(!reverse_passes(&mut checker, 5, None));
        assert!(reverse_passes(&mut checker, 90, None), "the lease is over");
    }

    #[test]
    fn a_client_that_takes_another_name_has_that_and_no_other() {
        let (mut checker, _) = checker();
        lease(&mut checker);
        request_as(&mut checker, 10, "pc-8");
        assert!(passes(&mut checker, 10, "pc-9", None), "the gateway may know already");
        acknowledge(&mut checker, 10);
        assert!(passes(&mut checker, 12, "pc-9", Some("192.168.1.9")), "the answer was held");
        assert!(passes(&mut checker, 12, "pc-8", Some("192.168.1.9")));
        assert!(!passes(&mut checker, 20, "pc-8", None));
        assert!(!passes(&mut checker, 20, "pc-9", Some("192.168.1.9")));
        assert!(passes(&mut checker, 20, "pc-9", None));
        assert!(
            reverse_passes(&mut checker, 20, Some("pc-8")) && !reverse_passes(&mut checker, 20, Some("pc-9"))
        );
    }

    #[test]
    fn a_pc_is_where_its_lease_says_and_nowhere_after() {
        let (mut checker, _) = checker();
        lease(&mut checker);
        let mut passes = |secs, address| passes(&mut checker, secs, "pc-9", address);
        assert!(passes(30, Some("192.168.1.9")));
        assert!(!passes(30, Some("192.168.1.8")));
        assert!(!passes(30, None));
        assert!(passes(70, None));
        assert!(!passes(70, Some("192.168.1.9")));
    }

    #[test]
    fn an_answer_may_be_of_the_moment_at_which_it_was_asked_for() {
        let (mut checker, _) = checker();
        let ask = |checker: &mut NamesTrue, millis| {
            let question = message(MessageType::Query, "pc-9.office.example.").to_vec().unwrap();
            let question = packet("192.168.1.9", "192.168.1.1", udp(5_353, 53, question));
            let now = Instant::from_millis(millis);
            checker.on_passage(&Passage { now, ..passage(0, Way::In, Side::Lan, &question) }).unwrap();
        };
        lease_at(&mut checker, 10);
        ask(&mut checker, 9_000);
        assert!(passes(&mut checker, 11, "pc-9", None), "before there was a lease");
        assert!(!passes(&mut checker, 11, "pc-9", None), "it was asked for once");
        ask(&mut checker, 9_000);
        lease_at(&mut checker, 20);
        assert!(!passes(&mut checker, 14, "pc-9", None), "too long ago");
        ask(&mut checker, 19_000);
        assert!(!passes(&mut checker, 21, "pc-9", None), "it was only renewed meanwhile");
    }

    #[test]
    fn who_gives_up_a_lease_before_it_is_acknowledged_may_have_none() {
        let (mut checker, _) = checker();
        request(&mut checker, 0);
        let given_up = dhcp(&PC, v4::MessageType::Release, |message| {
            message.set_ciaddr(ip("192.168.1.9"));
        });
        let mut given_up = packet("192.168.1.9", "192.168.1.1", udp(68, 67, given_up));
        given_up.source_mac = MacAddr(PC);
        checker.on_passage(&passage(0, Way::In, Side::Lan, &given_up)).unwrap();
        acknowledge(&mut checker, 1);
        assert!(
            passes(&mut checker, 5, "pc-9", None) && passes(&mut checker, 5, "pc-9", Some("192.168.1.9"))
        );
        lease_at(&mut checker, 10);
        assert!(!passes(&mut checker, 13, "pc-9", None), "it has asked again");
    }

    #[test]
    fn a_name_that_the_disk_did_not_keep_is_gone_after_a_power_cut() {
        let text = "[dhcp]\npool = '192.168.1.2-192.168.1.254'\n[[dhcp.reservations]]\n\
                    mac = '02:00:00:00:00:09'\naddress = '192.168.1.9'\n\
                    [lan]\nports = [{ tap = 'lan0' }]\n[wan]\nports = [{ tap = 'wan' }]\naddress = 'dhcp'\n";
        let config = Config::parse("a test", text).unwrap();
        let mut checker = NamesTrue::new(&config, Rc::default(), true);
        checker.on_disk(DiskMood::LosesWrites);
        lease_at(&mut checker, 0);
        assert!(!passes(&mut checker, 5, "pc-9", None), "it is known as long as the gateway runs");
        checker.on_boot();
        assert!(passes(&mut checker, 5, "pc-9", None));
        checker.on_disk(DiskMood::Sound);
        lease_at(&mut checker, 30);
        checker.on_boot();
        assert!(!passes(&mut checker, 40, "pc-9", None), "it is on disk");
        let of_the_pool =
            Config::parse("a test", &text.replace("00:09", "00:08").replace("1.9'", "1.8'")).unwrap();
        let mut checker = NamesTrue::new(&of_the_pool, Rc::default(), true);
        checker.on_disk(DiskMood::LosesWrites);
        lease_at(&mut checker, 0);
        checker.on_boot();
        assert!(
            !passes(&mut checker, 5, "pc-9", None),
            "what is not reserved is acknowledged once it is kept"
        );
    }

    #[test]
    fn a_machine_goes_by_the_name_that_the_configuration_gives_it() {
        let text = "[dhcp]\npool = '192.168.1.2-192.168.1.254'\n[[dhcp.reservations]]\n\
                    mac = '02:00:00:00:00:09'\naddress = '192.168.1.9'\nhostname = 'printer'\n\
                    [lan]\nports = [{ tap = 'lan0' }]\n[wan]\nports = [{ tap = 'wan' }]\naddress = 'dhcp'\n";
        let config = Config::parse("a test", text).unwrap();
        let mut checker = NamesTrue::new(&config, Rc::default(), true);
        lease(&mut checker);
        assert!(passes(&mut checker, 30, "printer", Some("192.168.1.9")));
        assert!(!passes(&mut checker, 30, "printer", None));
        assert!(passes(&mut checker, 30, "pc-9", None));
        assert!(passes(&mut checker, 90, "printer", Some("192.168.1.9")), "reserved without a lease too");
        assert!(!passes(&mut checker, 90, "printer", Some("192.168.1.8")));
        assert!(!passes(&mut checker, 90, "printer", None));
    }
}
