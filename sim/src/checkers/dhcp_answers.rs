//! DHCP answers: the office's DHCP server sends consistent lease times, a NAK exactly when one is due, no offer of an
//! address that its client has declined, and the options that the configuration has for the client.

pub(super) mod parameters;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use gatepost::config::Config;
use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;

use self::parameters::AdvertisedParameters;
use super::lan::Lan;
use super::observed_leases::ObservedLeases;
use super::{Checker, Passage, SegmentId, Side, Snapshot, Way};
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, Transport, dhcp_message, dhcp_server_identifier};
use crate::world::disk::DiskMood;

/// The longest time until a NAK. The server writes nothing for it.
const NAK_MAX: Duration = Duration::from_secs(1);
/// The time after a boot or a disk failure in which the gateway may not know its leases.
const UNSURE_MAX: Duration = Duration::from_secs(30);
/// The least time for which the server offers a declined address to no client.
const QUARANTINE_MIN: Duration = Duration::from_secs(50);
/// From this number of leases on the pool may run low, and the server reuses addresses in quarantine.
const LEASES_MAX: usize = 100;
/// The most addresses that one machine has in quarantine. The server ignores its further DECLINEs.
const QUARANTINES_OF_ONE_MAX: usize = 4;
/// The most DECLINEs that the server verifies at a time, each for less than this. It ignores further ones.
const VERIFIED_MAX: usize = 64;
const VERIFIED_FOR: Duration = Duration::from_secs(2);

/// Compares the server's answers with the leases it has acknowledged.
pub struct DhcpAnswers {
    lan: Lan,
    /// The LAN's network, in which an address is as good as its lease.
    network: Ipv4Net,
    is_authoritative: bool,
    /// Whether the gateway always knows which leases last.
    knows_leases: bool,
    leases: ObservedLeases,
    /// Requests without an answer so far, by client and transaction.
    asked: BTreeMap<(Vec<u8>, u32), Asked>,
    /// Addresses that clients have declined, and when.
    declined: BTreeMap<Ipv4Addr, (Vec<u8>, Instant)>,
    /// When the latest DECLINEs came, as many as the server verifies at a time.
    declines: VecDeque<Instant>,
    /// The segments of clients. The server believes a DECLINE only from the port of the lease's REQUEST.
    segments: BTreeMap<Vec<u8>, Segments>,
    parameters: AdvertisedParameters,
    is_disk_sound: bool,
    /// The gateway has booted, or its disk has changed, since the last frame.
    is_unsettled: bool,
    /// When that was last seen.
    unsettled_at: Instant,
}

/// A REQUEST.
struct Asked {
    address: Ipv4Addr,
    since: Instant,
    verdict: Verdict,
}

/// The segments on which a client's REQUESTs reach the gateway.
#[derive(Default)]
struct Segments {
    /// The segment of the last REQUEST.
    asked_on: Option<SegmentId>,
    /// The segment of the last one before an ACK.
    leased_on: Option<SegmentId>,
}

/// The answer that a REQUEST must get.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A NAK. (RFC 2131, section 4.3.2)
    Nak,
    /// No NAK: the client has a lease of the address, or is unknown and may be another server's client.
    NoNak,
    /// Any answer, or none.
    Either,
}

impl DhcpAnswers {
    /// For the server that `config` asks for. The leases are compared if the gateway `knows_leases`.
    pub fn new(config: &Config, knows_leases: bool) -> Self {
        Self {
            lan: Lan::of(config),
            network: config.lan.address.trunc(),
            is_authoritative: config.services.dhcp.authoritative,
            knows_leases,
            leases: ObservedLeases::of_config(config),
            asked: BTreeMap::new(),
            declined: BTreeMap::new(),
            declines: VecDeque::new(),
            segments: BTreeMap::new(),
            parameters: AdvertisedParameters::new(&config.services.dhcp),
            is_disk_sound: true,
            is_unsettled: true,
            unsettled_at: Instant::ZERO,
        }
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.is_disk_sound && now.since(self.unsettled_at) > UNSURE_MAX
    }

    /// The answer due to a REQUEST for `address` that does not answer an offer.
    fn verdict(&self, client: &[u8], address: Ipv4Addr, now: Instant) -> Verdict {
        let Ok(mac) = <[u8; 6]>::try_from(client).map(MacAddr) else { return Verdict::Either };
        if !self.network.contains(&address) {
            // A client of a former network keeps its lease until the change is confirmed.
            return if self.lan.contains(&address) { Verdict::Either } else { Verdict::Nak };
        }
        if !self.knows_leases {
            return Verdict::Either;
        }
        if self.leases.is_held_by(address, mac, now) {
            if self.leases.is_to_move_from(address, mac) { Verdict::Either } else { Verdict::NoNak }
        } else if self.leases.holds_another(address, mac, now) || self.is_anothers(address, now) {
            Verdict::Nak
        } else if !self.is_authoritative && !self.leases.is_known(client) {
            Verdict::NoNak
        } else {
            Verdict::Either
        }
    }

    /// Whether the server may send a NAK to a client that it does not know, as another client has the address.
    fn is_anothers(&self, address: Ipv4Addr, now: Instant) -> bool {
        self.is_authoritative && self.leases.is_held(address, now)
    }

    fn note_client(&mut self, now: Instant, segment: SegmentId, sender: MacAddr, message: &Message) {
        let client = message.chaddr().to_vec();
        let wanted = match message.opts().get(OptionCode::RequestedIpAddress) {
            Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
            _ => None,
        };
        self.parameters.note_question(message);
        match message.opts().msg_type() {
            Some(MessageType::Request) => {
                self.segments.entry(client.clone()).or_default().asked_on = Some(segment);
                let is_selecting = dhcp_server_identifier(message).is_some();
                let address = wanted.unwrap_or(message.ciaddr());
                if !is_selecting {
                    // The client that has declined it uses it all the same.
                    self.declined.retain(|declined, (by, _)| *declined != address || *by != client);
                }
                if is_selecting || client != sender.0 || !self.is_settled(now) {
                    return;
                }
                let verdict = self.verdict(&client, address, now);
                self.asked.entry((client, message.xid())).or_insert(Asked { address, since: now, verdict });
            }
            Some(MessageType::Decline) => {
                let may_verify = self.note_decline(now);
                let Some(address) = wanted.filter(|address| self.leases.is_held_by(*address, sender, now))
                else {
                    return;
                };
                let others = self.declined.values().filter(|(by, _)| *by == client).count();
                let leased_on = self.segments.get(&client).and_then(|segments| segments.leased_on);
                let is_kept = may_verify
                    && leased_on.is_none_or(|leased_on| leased_on == segment)
                    && client == sender.0
                    && others < QUARANTINES_OF_ONE_MAX
                    && self.is_settled(now)
                    && !self.leases.is_reserved(address);
                if is_kept {
                    self.declined.insert(address, (client, now));
                }
            }
            _ => {}
        }
    }

    /// Notes a DECLINE. Returns whether the server certainly has room to verify it.
    fn note_decline(&mut self, now: Instant) -> bool {
        let is_full = self.declines.len() == VERIFIED_MAX;
        let earliest = if is_full { self.declines.pop_front() } else { None };
        self.declines.push_back(now);
        earliest.is_none_or(|at| now.since(at) > VERIFIED_FOR)
    }

    fn note_server(&mut self, message: &Message) -> Result<(), String> {
        let (kind, address) = (message.opts().msg_type(), message.yiaddr());
        if matches!(kind, Some(MessageType::Offer | MessageType::Ack)) {
            fits(message)?;
            self.parameters.check(message)?;
            if let Some((_, at)) = self.declined.get(&address) {
                return Err(format!("{address} is given to somebody, and was declined at {at}"));
            }
        }
        if !matches!(kind, Some(MessageType::Ack | MessageType::Nak)) {
            return Ok(());
        }
        if let (Some(MessageType::Ack), Some(segments)) = (kind, self.segments.get_mut(message.chaddr())) {
            segments.leased_on = segments.asked_on;
        }
        let Some(asked) = self.asked.remove(&(message.chaddr().to_vec(), message.xid())) else {
            return Ok(());
        };
        match (kind, asked.verdict) {
            (Some(MessageType::Nak), Verdict::NoNak) => {
                Err(format!("{} is refused to {:02x?} without a reason", asked.address, message.chaddr()))
            }
            (Some(MessageType::Ack), Verdict::Nak) => {
                Err(format!("{} is given to {:02x?}, to whom it cannot be", asked.address, message.chaddr()))
            }
            _ => Ok(()),
        }
    }

    /// Forgets requests and quarantines that are over.
    fn pass_time(&mut self, now: Instant) -> Result<(), String> {
        if std::mem::take(&mut self.is_unsettled) {
            self.unsettled_at = now;
            self.asked.clear();
            self.declined.clear();
        }
        if self.leases.active(now) > LEASES_MAX {
            self.declined.clear();
        }
        self.declined.retain(|_, (_, at)| now.since(*at) < QUARANTINE_MIN);
        let is_late = |asked: &Asked| now.since(asked.since) > NAK_MAX;
        let late: Vec<_> = self.asked.extract_if(.., |_, asked| is_late(asked)).collect();
        match late.iter().find(|(_, asked)| asked.verdict == Verdict::Nak) {
            Some(((client, _), asked)) => Err(format!(
                "{client:02x?} asked for {} at {}, and was not refused",
                asked.address, asked.since
            )),
            None => Ok(()),
        }
    }
}

/// RFC 2131, section 4.4.5: T1 is before T2, and T2 before the end of the lease.
fn fits(message: &Message) -> Result<(), String> {
    let secs = |code| match message.opts().get(code) {
        Some(
            DhcpOption::AddressLeaseTime(secs) | DhcpOption::Renewal(secs) | DhcpOption::Rebinding(secs),
        ) => Some(*secs),
        _ => None,
    };
    let times = [OptionCode::Renewal, OptionCode::Rebinding, OptionCode::AddressLeaseTime].map(secs);
    let told: Vec<_> = times.into_iter().flatten().collect();
    if told.windows(2).all(|pair| pair[0] < pair[1]) && told.first() != Some(&0) {
        return Ok(());
    }
    Err(format!("T1, T2 and the lease of {} do not fit: {times:?}", message.yiaddr()))
}

impl Checker for DhcpAnswers {
    fn name(&self) -> &'static str {
        "dhcp-answers"
    }

    fn promise(&self) -> &'static str {
        "the office's DHCP server sends a NAK exactly when one is due, T1 before T2 and T2 before the lease's end, no \
         offer of an address that its client has declined, and the options that the configuration has for the client"
    }

    fn on_boot(&mut self) {
        self.is_unsettled = true;
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
        self.parameters.may_be(&config.services.dhcp);
    }

    fn on_configure(&mut self, config: &Config) {
        self.parameters.is(&config.services.dhcp);
        if self.network != config.lan.address.trunc() {
            self.network = config.lan.address.trunc();
            self.is_unsettled = true;
        }
    }

    fn on_disk(&mut self, mood: DiskMood) {
        self.is_disk_sound = mood == DiskMood::Sound;
        // A client may have a lease that a damaged journal has lost.
        self.knows_leases &= mood != DiskMood::LosesWrites;
        self.is_unsettled = true;
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, segment, packet } = *passage;
        let Some((ip, from, to, payload)) = packet.udp().filter(|_| side == Side::Lan) else { return Ok(()) };
        if way == Way::Out && !self.lan.is_own(ip.source) {
            // Another server's answer is bridged.
            return Ok(());
        }
        if !matches!(ip.transport, Transport::Udp { checksum_ok: true, .. }) {
            return Ok(());
        }
        self.pass_time(now)?;
        let message = match (way, from, to) {
            (Way::In, DHCP_CLIENT_PORT, DHCP_SERVER_PORT)
            | (Way::Out, DHCP_SERVER_PORT, DHCP_CLIENT_PORT) => dhcp_message(payload),
            _ => None,
        };
        let Some(message) = message else { return Ok(()) };
        let checked = match way {
            Way::In => {
                self.note_client(now, segment, packet.source_mac, &message);
                Ok(())
            }
            Way::Out => self.note_server(&message),
        };
        self.leases.observe(passage);
        checked
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        self.pass_time(snapshot.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{acknowledgement, config, dhcp, ip, packet, passage, snapshot, udp};
    use crate::packet::Packet;

    const HOLDER: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 8];
    const ADDRESS: &str = "192.168.1.9";

    /// A checker of an office in which `HOLDER` was given a lease of `ADDRESS` for an hour, long after the boot.
    fn leased(is_authoritative: bool) -> DhcpAnswers {
        let mut config = config();
        config.services.dhcp.authoritative = is_authoritative;
        leased_by(&config)
    }

    fn leased_by(config: &Config) -> DhcpAnswers {
        let mut checker = DhcpAnswers::new(config, true);
        checker.on_snapshot(&snapshot(0)).expect("nothing has happened");
        answer(&mut checker, 100, acknowledgement(&HOLDER, ADDRESS, 3_600)).expect("a lease");
        checker
    }

    fn answer(checker: &mut DhcpAnswers, secs: u64, packet: Packet) -> Result<(), String> {
        checker.on_passage(&passage(secs, Way::Out, Side::Lan, &packet))
    }

    /// A client asks for an address that it believes to have.
    fn ask(checker: &mut DhcpAnswers, client: [u8; 6], kind: MessageType, address: &str) {
        let packet = from_client(client, kind, address);
        checker.on_passage(&passage(100, Way::In, Side::Lan, &packet)).expect("clients break no promise");
    }

    fn from_client(client: [u8; 6], kind: MessageType, address: &str) -> Packet {
        let message = dhcp(&client, kind, |message| {
            message.set_xid(7).opts_mut().insert(DhcpOption::RequestedIpAddress(ip(address)));
        });
        let mut packet = packet("0.0.0.0", "255.255.255.255", udp(68, 67, message));
        packet.source_mac = MacAddr(client);
        packet
    }

    fn reply(client: [u8; 6], kind: MessageType, address: &str) -> Packet {
        let message = dhcp(&client, kind, |message| {
            message.set_xid(7).set_yiaddr(ip(address));
            message.opts_mut().insert(DhcpOption::AddressLeaseTime(60));
        });
        packet("192.168.1.1", "255.255.255.255", udp(67, 68, message))
    }

    #[test]
    fn a_nak_that_is_due_and_does_not_come_is_told() {
        for (client, address, is_due) in [
            (OTHER, "10.0.0.9", true),
            (HOLDER, "192.168.1.8", true),
            (HOLDER, ADDRESS, false),
            (OTHER, "192.168.1.8", false),
        ] {
            let mut checker = leased(true);
            ask(&mut checker, client, MessageType::Request, address);
            assert_eq!(
                checker.on_snapshot(&snapshot(102)).is_err(),
                is_due,
                "{address} is asked for, and silence"
            );
            ask(&mut checker, client, MessageType::Request, address);
            let told = answer(&mut checker, 100, reply(client, MessageType::Ack, address)).is_err();
            assert_eq!(told, is_due, "{address} is given");
        }
        let mut checker = leased(true);
        ask(&mut checker, OTHER, MessageType::Request, "10.0.0.9");
        answer(&mut checker, 100, reply(OTHER, MessageType::Nak, "0.0.0.0")).expect("it was due");
        checker.on_snapshot(&snapshot(102)).expect("it has come");
    }

    #[test]
    fn a_nak_that_is_not_due_is_told() {
        for (is_authoritative, client, address, is_wrong) in [
            (true, HOLDER, ADDRESS, true),
            (false, OTHER, "192.168.1.8", true),
            (true, OTHER, "192.168.1.8", false),
        ] {
            let mut checker = leased(is_authoritative);
            ask(&mut checker, client, MessageType::Request, address);
            let told = answer(&mut checker, 100, reply(client, MessageType::Nak, "0.0.0.0")).is_err();
            assert_eq!(told, is_wrong, "{address}");
        }
    }

    #[test]
    fn a_nak_may_move_a_client_to_its_reserved_address_and_not_away_from_it() {
        for (reserved, is_wrong) in [(ADDRESS, true), ("192.168.1.200", false)] {
            let mac = MacAddr(HOLDER);
            let text = format!("[[dhcp.reservations]]\nmac = '{mac}'\naddress = '{reserved}'");
            let mut checker = leased_by(&Config::parse("test", &text).expect("a configuration"));
            ask(&mut checker, HOLDER, MessageType::Request, ADDRESS);
            let told = answer(&mut checker, 100, reply(HOLDER, MessageType::Nak, "0.0.0.0")).is_err();
            assert_eq!(told, is_wrong, "{reserved} is reserved");
        }
    }

    #[test]
    fn nothing_is_sure_while_the_disk_is_bad_and_soon_after_a_boot() {
        for unsettle in
            [|it: &mut DhcpAnswers| it.on_disk(DiskMood::Full), |it: &mut DhcpAnswers| it.on_boot()]
        {
            let mut checker = leased(true);
            unsettle(&mut checker);
            checker.on_snapshot(&snapshot(99)).expect("nothing is asked");
            ask(&mut checker, OTHER, MessageType::Request, "10.0.0.9");
            checker.on_snapshot(&snapshot(102)).expect("it may not answer");
        }
    }

    #[test]
    fn an_address_that_was_declined_and_is_offered_is_told() {
        let mut checker = leased(true);
        ask(&mut checker, HOLDER, MessageType::Decline, ADDRESS);
        for client in [HOLDER, OTHER] {
            answer(&mut checker, 130, reply(client, MessageType::Offer, ADDRESS)).expect_err("too early");
        }
        answer(&mut checker, 130, reply(OTHER, MessageType::Offer, "192.168.1.8")).expect("another address");
        answer(&mut checker, 161, reply(OTHER, MessageType::Offer, ADDRESS)).expect("later");

        let mut checker = leased(true);
        ask(&mut checker, OTHER, MessageType::Decline, ADDRESS);
        answer(&mut checker, 130, reply(HOLDER, MessageType::Offer, ADDRESS))
            .expect("it was another's to decline");

        let mut checker = leased(true);
        ask(&mut checker, HOLDER, MessageType::Decline, ADDRESS);
        ask(&mut checker, HOLDER, MessageType::Request, ADDRESS);
        answer(&mut checker, 130, reply(HOLDER, MessageType::Ack, ADDRESS))
            .expect("its client uses it after all");

        for (segment, is_believed) in [(SegmentId(0), true), (SegmentId(1), false)] {
            let mut checker = leased(true);
            ask(&mut checker, HOLDER, MessageType::Request, ADDRESS);
            answer(&mut checker, 100, acknowledgement(&HOLDER, ADDRESS, 3_600)).expect("its own");
            let declined = from_client(HOLDER, MessageType::Decline, ADDRESS);
            let passage = passage(100, Way::In, Side::Lan, &declined);
            checker.on_passage(&Passage { segment, ..passage }).expect("a client may decline");
            let offered = answer(&mut checker, 130, reply(HOLDER, MessageType::Offer, ADDRESS));
            assert_eq!(offered.is_err(), is_believed, "{segment:?}");
        }

        for (others, may_be_ignored) in [(VERIFIED_MAX - 1, false), (VERIFIED_MAX, true)] {
            let mut checker = leased(true);
            (0..others).for_each(|_| ask(&mut checker, OTHER, MessageType::Decline, "192.168.1.8"));
            ask(&mut checker, HOLDER, MessageType::Decline, ADDRESS);
            let offered = answer(&mut checker, 130, reply(OTHER, MessageType::Offer, ADDRESS));
            assert_eq!(offered.is_ok(), may_be_ignored, "{others} others");
        }
    }

    #[test]
    fn times_that_do_not_fit_are_told() {
        for (renew, rebind, is_wrong) in
            [(30, 52, false), (52, 30, true), (30, 30, true), (30, 60, true), (0, 30, true)]
        {
            let message = dhcp(&OTHER, MessageType::Offer, |message| {
                message.opts_mut().insert(DhcpOption::AddressLeaseTime(60));
                message.opts_mut().insert(DhcpOption::Renewal(renew));
                message.opts_mut().insert(DhcpOption::Rebinding(rebind));
            });
            let offer = packet("192.168.1.1", "255.255.255.255", udp(67, 68, message));
            assert_eq!(answer(&mut leased(true), 100, offer).is_err(), is_wrong, "{renew} and {rebind}");
        }
    }
}
