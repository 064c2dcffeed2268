//! The WAN's address is the provider's: the gateway uses it only while its lease lasts, renews the lease in time, and
//! releases it before it becomes another client.

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use gatepost::config::Config;
use gatepost_dataplane::config::Mode;
use gatepost_ground::{Instant, MacAddr};

use super::lan::Lan;
use super::{Checker, Passage, Side, Snapshot, Way};
use crate::packet::{Content, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, Transport, dhcp_message};

/// How long after a lease frames with its address may still leave the gateway.
const UNDER_WAY_MAX: Duration = Duration::from_millis(100);
/// How long a lease lasts whose server does not say.
const UNTIMED_LEASE: Duration = Duration::from_secs(3600);
/// The part of T1 by which a client may renew early, so that clients do not renew together.
const FUZZ_DIVISOR: u32 = 32;

/// Compares the gateway's packets to the WAN with the lease by the provider's answers.
pub struct WanLease {
    /// The LAN's network in a mode without NAT.
    routed: Option<Lan>,
    transaction: Option<Transaction>,
    lease: Option<Lease>,
    /// The address of the lease before, and when that ended.
    former: Option<(Ipv4Addr, Instant)>,
}

/// The requests of the gateway's DHCP client with one transaction identifier.
struct Transaction {
    xid: u32,
    client: MacAddr,
    /// Whether it is to extend a lease.
    prolongs: bool,
    /// When the first and the last of its REQUESTs left.
    first: Instant,
    last: Instant,
    is_answered: bool,
}

/// A lease that the provider has acknowledged.
struct Lease {
    client: MacAddr,
    address: Ipv4Addr,
    /// The earliest time of a renewal: T1, or a little before.
    renew: Instant,
    /// T2
    rebind: Instant,
    end: Instant,
    is_renewal_sent: bool,
    is_rebinding_sent: bool,
}

impl WanLease {
    /// For a gateway whose WAN address comes from the provider.
    pub fn new(config: &Config) -> Self {
        let routed = (config.mode == Mode::Router).then(|| Lan::of(config));
        Self { routed, transaction: None, lease: None, former: None }
    }

    /// Ends the lease.
    fn end(&mut self, at: Instant) {
        if let Some(lease) = self.lease.take() {
            self.former = Some((lease.address, at));
        }
        self.transaction = self.transaction.take().filter(|transaction| !transaction.prolongs);
    }

    /// Ends the lease if its time is over. The gateway has to have requested an extension before.
    fn pass_time(&mut self, now: Instant) -> Result<(), String> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let Lease { address, rebind, end, is_renewal_sent, is_rebinding_sent, .. } = *lease;
        if now > end {
            self.end(end);
            if !is_rebinding_sent {
                return Err(format!(
                    "the lease of {address} ended at {end}, and was not rebound from {rebind} on"
                ));
            }
        } else if now > rebind && !is_renewal_sent {
            // Reported once.
            self.lease = self.lease.take().map(|lease| Lease { is_renewal_sent: true, ..lease });
            return Err(format!("the lease of {address} was not renewed until {rebind}"));
        }
        Ok(())
    }

    /// Whether the gateway may use `address` on the WAN.
    fn may_use(&self, address: Ipv4Addr, now: Instant) -> bool {
        let is_former =
            |(former, ended): (Ipv4Addr, Instant)| former == address && now.since(ended) <= UNDER_WAY_MAX;
        self.lease.as_ref().is_some_and(|lease| lease.address == address)
            || self.former.is_some_and(is_former)
            || self.routed.as_ref().is_some_and(|lan| lan.contains(&address))
    }

    /// Observes a message of the gateway's DHCP client.
    fn note_client(
        &mut self,
        now: Instant,
        client: MacAddr,
        to: Ipv4Addr,
        message: &Message,
    ) -> Result<(), String> {
        if let Some(lease) = self.lease.take_if(|lease| lease.client != client) {
            let Lease { client: former, address, .. } = lease;
            return Err(format!(
                "{client} asks for a lease, and that of {address} to {former} is not released"
            ));
        }
        match message.opts().msg_type() {
            Some(MessageType::Request) => {
                let prolongs = !message.ciaddr().is_unspecified();
                let began = self.transaction.as_ref().filter(|it| it.xid == message.xid() && !it.is_answered);
                let first = began.map_or(now, |transaction| transaction.first);
                let xid = message.xid();
                self.transaction =
                    Some(Transaction { xid, client, prolongs, first, last: now, is_answered: false });
                if prolongs { self.note_prolonging(now, message.ciaddr(), to) } else { Ok(()) }
            }
            Some(MessageType::Decline | MessageType::Release) => {
                self.end(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// RFC 2131, section 4.4.5: a renewal goes to the server from T1 to T2, a rebinding to all from T2 to the end.
    fn note_prolonging(&mut self, now: Instant, address: Ipv4Addr, to: Ipv4Addr) -> Result<(), String> {
        let Some(lease) = self.lease.as_mut().filter(|lease| lease.address == address) else {
            return Err(format!("a lease of {address} is to be prolonged, and there is none"));
        };
        let Lease { renew, rebind, end, .. } = *lease;
        let (what, from, until) = if to.is_broadcast() {
            lease.is_rebinding_sent = true;
            ("rebound", rebind, end)
        } else {
            lease.is_renewal_sent = true;
            ("renewed", renew, rebind)
        };
        if (from..=until).contains(&now) {
            return Ok(());
        }
        Err(format!("the lease of {address} is {what}, and that is to be done from {from} to {until}"))
    }

    /// Observes an answer of the provider's DHCP server.
    fn note_server(&mut self, now: Instant, message: &Message) {
        let is_answered = |it: &&mut Transaction| {
            it.xid == message.xid() && it.client.0 == *message.chaddr() && !it.is_answered
        };
        let Some(transaction) = self.transaction.as_mut().filter(is_answered) else { return };
        match message.opts().msg_type() {
            Some(MessageType::Ack) => {
                let Some(lease) = Lease::granted(transaction, message, now) else { return };
                let is_same = self.lease.as_ref().is_some_and(|held| held.address == lease.address);
                if is_same || !transaction.prolongs {
                    transaction.is_answered = true;
                    self.lease = Some(lease);
                }
            }
            Some(MessageType::Nak) if transaction.prolongs => self.end(now),
            _ => {}
        }
    }
}

impl Lease {
    /// The lease by an ACK at `now`, counted from its REQUEST. If the ACK comes after T2, there is no time for a
    /// renewal.
    fn granted(transaction: &Transaction, message: &Message, now: Instant) -> Option<Self> {
        let lasts = duration(message);
        let renew = time(message, OptionCode::Renewal).unwrap_or(lasts / 2);
        let rebind = time(message, OptionCode::Rebinding).unwrap_or(lasts / 8 * 7);
        let rebind = transaction.first + rebind;
        Some(Self {
            client: transaction.client,
            address: message.yiaddr(),
            renew: transaction.first + (renew - renew / FUZZ_DIVISOR),
            rebind,
            end: transaction.last + lasts,
            is_renewal_sent: rebind <= now,
            is_rebinding_sent: false,
        })
    }
}

/// How long the lease of an ACK lasts.
pub(super) fn duration(ack: &Message) -> Duration {
    time(ack, OptionCode::AddressLeaseTime).unwrap_or(UNTIMED_LEASE)
}

/// One of the times of a lease, if the server tells it.
fn time(ack: &Message, code: OptionCode) -> Option<Duration> {
    match ack.opts().get(code) {
        Some(
            DhcpOption::AddressLeaseTime(secs) | DhcpOption::Renewal(secs) | DhcpOption::Rebinding(secs),
        ) => Some(Duration::from_secs((*secs).into())),
        _ => None,
    }
}

impl Checker for WanLease {
    fn name(&self) -> &'static str {
        "wan-lease"
    }

    fn promise(&self) -> &'static str {
        "the gateway uses an address on the WAN while a lease of it lasts and no longer, renews the lease from T1 on, \
         rebinds it from T2 on, and releases it before it becomes another client"
    }

    fn on_boot(&mut self) {
        (self.transaction, self.lease, self.former) = (None, None, None);
    }

    fn on_reload(&mut self, config: &Config) {
        self.routed.iter_mut().for_each(|lan| lan.follow(config));
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        if side != Side::Wan {
            return Ok(());
        }
        self.pass_time(now)?;
        let dhcp = packet.udp().and_then(|(ip, from, to, payload)| {
            let is_whole = matches!(ip.transport, Transport::Udp { checksum_ok: true, .. });
            dhcp_message(payload).filter(|_| is_whole).map(|message| (ip.destination, from, to, message))
        });
        match (way, dhcp) {
            (Way::In, Some((_, DHCP_SERVER_PORT, DHCP_CLIENT_PORT, message))) => {
                self.note_server(now, &message);
            }
            (Way::Out, Some((to, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, message))) => {
                self.note_client(now, packet.source_mac, to, &message)?;
            }
            _ => {}
        }
        let source = match &packet.content {
            Content::Arp { sender, .. } => *sender,
            Content::Ipv4(ip) => ip.source,
            Content::Other => return Ok(()),
        };
        if way == Way::In || source.is_unspecified() || self.may_use(source, now) {
            return Ok(());
        }
        Err(format!("{source} is used, and there is no lease of it"))
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        self.pass_time(snapshot.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{arp, config, dhcp, ip, packet, passage, snapshot, tcp, udp};
    use crate::packet::Packet;

    const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const ADDRESS: &str = "203.0.113.100";

    /// A checker with hand-made input. Times are in seconds.
    struct Wan {
        checker: WanLease,
        xid: u32,
    }

    impl Wan {
        /// The gateway was given a lease of 80 s in the beginning: T1 is at 40, T2 at 70.
        fn leased() -> Self {
            let mut wan = Self { checker: WanLease::new(&config()), xid: 1 };
            wan.request(0, "0.0.0.0", "255.255.255.255").expect("it asks for an address");
            wan.answer(0, MessageType::Ack, 80);
            wan
        }

        fn see(&mut self, secs: u64, way: Way, packet: &Packet) -> Result<(), String> {
            self.checker.on_passage(&passage(secs, way, Side::Wan, packet))
        }

        fn request(&mut self, secs: u64, ciaddr: &str, to: &str) -> Result<(), String> {
            let message = dhcp(&GATEWAY, MessageType::Request, |message| {
                message.set_ciaddr(ip(ciaddr)).set_xid(self.xid);
            });
            self.see(secs, Way::Out, &packet(ciaddr, to, udp(68, 67, message)))
        }

        fn renew(&mut self, secs: u64) -> Result<(), String> {
            self.xid = 2;
            self.request(secs, ADDRESS, "203.0.113.1")
        }

        fn rebind(&mut self, secs: u64) -> Result<(), String> {
            self.xid = 3;
            self.request(secs, ADDRESS, "255.255.255.255")
        }

        fn answer(&mut self, secs: u64, kind: MessageType, lease_secs: u32) {
            self.answer_with(secs, kind, &[DhcpOption::AddressLeaseTime(lease_secs)]);
        }

        fn answer_with(&mut self, secs: u64, kind: MessageType, options: &[DhcpOption]) {
            let message = dhcp(&GATEWAY, kind, |message| {
                message.set_yiaddr(ip(ADDRESS)).set_xid(self.xid);
                options.iter().for_each(|option| _ = message.opts_mut().insert(option.clone()));
            });
            let answer = packet("203.0.113.1", "255.255.255.255", udp(67, 68, message));
            self.see(secs, Way::In, &answer).expect("the provider breaks no promise");
        }

        fn is_used(&mut self, secs: u64) -> Result<(), String> {
            self.see(secs, Way::Out, &packet(ADDRESS, "198.18.80.1", tcp(5_000, 80)))
        }
    }

    #[test]
    fn an_address_that_is_used_without_a_lease_is_told() {
        let mut wan = Wan { checker: WanLease::new(&config()), xid: 1 };
        wan.is_used(0).expect_err("before there is a lease");
        let mut wan = Wan::leased();
        wan.is_used(1).expect("within the lease");
        wan.see(1, Way::Out, &packet("203.0.113.99", "198.18.80.1", tcp(5_000, 80)))
            .expect_err("another address");
        wan.renew(40).expect("T1");
        wan.rebind(70).expect("T2");
        wan.is_used(79).expect("within the lease");
        wan.is_used(81).expect_err("after the lease");
        wan.see(81, Way::Out, &arp(ADDRESS, "203.0.113.1", true)).expect_err("in ARP too");
        wan.see(81, Way::Out, &arp("0.0.0.0", "203.0.113.1", true)).expect("a probe uses no address");
        wan.see(81, Way::In, &arp(ADDRESS, "203.0.113.1", true)).expect("another uses it");
        wan.checker.on_boot();
        wan.is_used(82).expect_err("after a boot");
    }

    #[test]
    fn a_lease_that_was_renewed_lasts_from_when_that_was_asked_for() {
        let mut wan = Wan::leased();
        wan.renew(45).expect("after T1");
        wan.answer(50, MessageType::Ack, 80);
        wan.answer(60, MessageType::Ack, 80);
        wan.is_used(100).expect("prolonged");
        wan.renew(90).expect("T1 again");
        wan.rebind(115).expect("T2 again");
        wan.is_used(126).expect_err("an answer that comes twice prolongs nothing");
    }

    #[test]
    fn what_the_gateway_asks_too_early_or_too_late_is_told() {
        let mut wan = Wan::leased();
        wan.renew(38).expect_err("long before T1");
        wan.renew(39).expect("a little before T1");
        wan.rebind(69).expect_err("before T2");
        wan.rebind(70).expect("T2");
        wan.renew(71).expect_err("after T2");
        wan.rebind(81).expect_err("after the end");
    }

    #[test]
    fn times_that_the_provider_tells_are_the_ones_that_count() {
        let mut wan = Wan { checker: WanLease::new(&config()), xid: 1 };
        wan.request(0, "0.0.0.0", "255.255.255.255").expect("it asks for an address");
        let times = [DhcpOption::AddressLeaseTime(80), DhcpOption::Renewal(10), DhcpOption::Rebinding(20)];
        wan.answer_with(0, MessageType::Ack, &times);
        wan.renew(10).expect("T1");
        wan.renew(21).expect_err("after T2");
        wan.rebind(21).expect("after T2");
    }

    #[test]
    fn without_a_lease_time_an_hour_counts_and_each_time_alone() {
        let leased = |times: &[DhcpOption]| {
            let mut wan = Wan { checker: WanLease::new(&config()), xid: 1 };
            wan.request(0, "0.0.0.0", "255.255.255.255").expect("it asks for an address");
            wan.answer_with(0, MessageType::Ack, times);
            wan
        };
        leased(&[]).renew(1_700).expect_err("long before T1");
        let mut wan = leased(&[DhcpOption::Renewal(10)]);
        wan.renew(10).expect("T1");
        wan.rebind(3_100).expect_err("before T2");
        wan.rebind(3_150).expect("T2");
        wan.is_used(3_600).expect("within the hour");
        wan.is_used(3_601).expect_err("after it");
    }

    #[test]
    fn a_lease_that_is_not_prolonged_in_time_is_told() {
        let mut wan = Wan::leased();
        wan.checker.on_snapshot(&snapshot(70)).expect("until T2 is time to renew");
        wan.checker.on_snapshot(&snapshot(71)).expect_err("it was not renewed");
        wan.checker.on_snapshot(&snapshot(80)).expect("told once");
        wan.checker.on_snapshot(&snapshot(81)).expect_err("it was not rebound");
        wan.checker.on_snapshot(&snapshot(82)).expect("told once");
    }

    #[test]
    fn an_address_that_was_refused_is_given_up_at_once() {
        let mut wan = Wan::leased();
        wan.renew(40).expect("T1");
        wan.answer(41, MessageType::Nak, 80);
        wan.is_used(41).expect("it was under way");
        wan.is_used(42).expect_err("it was refused");
        wan.rebind(70).expect_err("there is nothing to rebind");

        let mut wan = Wan::leased();
        wan.renew(40).expect("T1");
        wan.answer(41, MessageType::Ack, 80);
        wan.answer(41, MessageType::Nak, 80);
        wan.is_used(42).expect("it was answered before");
        let release = dhcp(&GATEWAY, MessageType::Release, |message| {
            message.set_ciaddr(ip(ADDRESS));
        });
        wan.see(43, Way::Out, &packet(ADDRESS, "203.0.113.1", udp(68, 67, release))).expect("given back");
        wan.is_used(44).expect_err("it was given back");
    }

    #[test]
    fn a_lease_that_is_not_released_before_another_client_asks_is_told() {
        let other = [2, 0, 0, 0, 0, 9];
        let message = |mac: &[u8], kind| {
            let message = dhcp(mac, kind, |message| _ = message.set_xid(9));
            let mut packet = packet("0.0.0.0", "255.255.255.255", udp(68, 67, message));
            packet.source_mac = MacAddr(mac.try_into().unwrap());
            packet
        };
        let mut wan = Wan::leased();
        let asked = message(&other, MessageType::Discover);
        wan.see(20, Way::Out, &asked).expect_err("the lease is not released");
        wan.see(21, Way::Out, &asked).expect("told once");
        let mut wan = Wan::leased();
        let client = packet("0.0.0.0", "255.255.255.255", udp(68, 67, Vec::new())).source_mac;
        wan.see(20, Way::Out, &message(&client.0, MessageType::Release)).expect("given back");
        wan.see(21, Way::Out, &asked).expect("the lease is released");
    }

    #[test]
    fn hosts_of_the_lan_are_seen_as_they_are_where_nothing_is_translated() {
        let config = Config { mode: Mode::Router, ..config() };
        let mut checker = WanLease::new(&config);
        let routed = packet("192.168.1.9", "198.18.80.1", tcp(5_000, 80));
        checker.on_passage(&passage(0, Way::Out, Side::Wan, &routed)).expect("a host of the LAN");
    }
}
