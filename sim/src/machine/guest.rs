//! A visitor's phone, which comes and goes: it releases its address or leaves without a RELEASE, requests its former
//! address, one of another network or one that it never had, declines its address, and changes its hardware address and
//! its name. It sends its vendor class and a user class, and requests the options that phones boot from. Its DHCP
//! client is written here, with dhcproto's codec.
//!
//! While it has an address it queries the gateway for its own name and for the name of its address, for the checker
//! `names-true`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode, UnknownOption};
use gatepost_ground::{Instant, MacAddr};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::forgery::Path;
use super::internet::{DNS_PORT, reverse};
use super::pc::{DOMAIN, question};
use super::stack::{SocketHandle, Stack};
use super::{Machine, Record};
use crate::machine::identity::Identity;
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, Packet, dhcp_message};

const NAMES_PORT: u16 = 5_353;
/// The first octets of a guest's hardware addresses.
const GUEST_MAC: [u8; 4] = [0x02, 0x00, 0x5e, 0x50];
/// The time between two tries of a DHCP message, and how many there are.
const RETRY: Duration = Duration::from_secs(4);
const TRIES_MAX: u32 = 4;
/// The time between two pairs of questions for names.
const QUESTIONS_INTERVAL: Duration = Duration::from_secs(2);
/// The time after a DECLINE or a NAK. (RFC 2131, section 3.1)
const DECLINE_DELAY: Duration = Duration::from_secs(10);
const NAK_DELAY: Duration = Duration::from_secs(1);
/// How long a guest is away and stays, in milliseconds at most.
const AWAY_MILLIS_MAX: u64 = 10_000;
const STAY_MILLIS_MAX: u64 = 20_000;
/// The parameter request list of a phone, with vendor-specific options and boot servers.
const ASKED_FOR: [u8; 7] = [1, 3, 6, 15, 43, 66, 150];
/// An address of a network that the office is not on.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 99, 99, 99);

/// A guest's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestRecord {
    /// Addresses that it was given.
    pub leases: u64,
    /// Requests that were refused.
    pub refusals: u64,
    /// Addresses that it gave back.
    pub released: u64,
    /// Addresses that it declined.
    pub declined: u64,
    /// Hardware addresses and names that it changed.
    pub changes: u64,
    /// When it was last given an address.
    pub last_lease_at: Option<Instant>,
}

impl fmt::Display for GuestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leases, refusals, released, declined, changes, .. } = self;
        write!(
            f,
            "{leases} leases, {refusals} refusals, {released} released, {declined} declined, {changes} changes"
        )
    }
}

/// The phone.
pub struct Guest {
    gateway: Ipv4Addr,
    stack: Stack,
    names: SocketHandle,
    rng: StdRng,
    /// The scenario's name and number of it.
    name: String,
    machine: u8,
    /// How many hardware addresses and names it had before.
    macs_before: u8,
    names_before: u8,
    /// The hardware address of the last DHCP answer.
    server_mac: MacAddr,
    /// Received DHCP messages with their senders.
    heard: Vec<(MacAddr, Message)>,
    doing: Doing,
    /// Frames made so far.
    frames: Vec<Vec<u8>>,
    declines_next: bool,
    is_calm: bool,
    record: GuestRecord,
}

/// The activity of a guest.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// It is not there, and asks `first` when it comes.
    Away { until: Instant, first: Ask },
    /// It waits for an answer.
    Asking { ask: Ask, xid: u32, tries: u32, next: Instant },
    /// It has an address.
    Staying { address: Ipv4Addr, renew: Instant, leaves: Instant, asks_names: Instant },
}

/// The request of a guest to a DHCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// For an offer.
    Offer,
    /// For the address that was offered.
    Selected(Ipv4Addr),
    /// Whether the address is still its own: INIT-REBOOT.
    Verified(Ipv4Addr),
    /// To prolong the lease.
    Renewed(Ipv4Addr),
}

impl Guest {
    /// The guest that `identity` names, in the office from the start.
    pub fn new(identity: &Identity) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let [.., machine] = identity.mac.0;
        let mut stack = Stack::new(mac_of(machine, 0), rng.random());
        let names = stack.bind_udp(NAMES_PORT);
        Self {
            gateway: identity.router,
            stack,
            names,
            name: identity.name.clone(),
            machine,
            macs_before: 0,
            names_before: 0,
            server_mac: MacAddr::BROADCAST,
            heard: Vec::new(),
            doing: Doing::Away { until: Instant::ZERO, first: Ask::Offer },
            frames: Vec::new(),
            declines_next: false,
            is_calm: false,
            record: GuestRecord::default(),
            rng,
        }
    }

    fn begin(&mut self, now: Instant, ask: Ask) {
        self.doing = Doing::Asking { ask, xid: self.rng.random(), tries: 0, next: now };
    }

    /// Goes, and asks `first` when it comes back.
    fn go(&mut self, now: Instant, pause: Duration, first: Ask) {
        self.stack.set_address(None);
        self.doing = Doing::Away { until: now + pause, first };
    }

    /// Does what is due.
    fn work(&mut self, now: Instant) {
        match self.doing {
            Doing::Away { until, first } if until <= now => self.begin(now, first),
            Doing::Asking { ask, xid, tries, next } if next <= now => {
                if tries < TRIES_MAX {
                    self.doing = Doing::Asking { ask, xid, tries: tries + 1, next: now + RETRY };
                    self.ask(ask, xid);
                } else {
                    self.go(now, Duration::ZERO, Ask::Offer);
                }
            }
            Doing::Staying { address, leaves, .. } if leaves <= now && !self.is_calm => {
                self.leave(now, address);
            }
            Doing::Staying { address, renew, .. } if renew <= now => self.begin(now, Ask::Renewed(address)),
            Doing::Staying { address, renew, leaves, asks_names } if asks_names <= now => {
                self.ask_names(address);
                let asks_names = now + QUESTIONS_INTERVAL;
                self.doing = Doing::Staying { address, renew, leaves, asks_names };
            }
            _ => {}
        }
    }

    /// Leaves in one way or another.
    fn leave(&mut self, now: Instant, address: Ipv4Addr) {
        let pause = Duration::from_millis(self.rng.random_range(500..AWAY_MILLIS_MAX));
        match self.rng.random_range(0..7) {
            0 => {
                self.give_back(address);
                self.go(now, pause, Ask::Offer);
            }
            1 => self.go(now, pause, Ask::Verified(address)),
            2 => {
                self.give_back(address);
                self.change_mac();
                self.go(now, pause, Ask::Offer);
            }
            3 => {
                // The lease of the address is another hardware address's.
                self.change_mac();
                self.change_name();
                self.go(now, pause, Ask::Verified(address));
            }
            4 => {
                self.change_name();
                self.begin(now, Ask::Renewed(address));
            }
            5 => {
                let other = Ipv4Addr::from_bits(address.to_bits() ^ 1);
                let wanted = if self.rng.random() { ELSEWHERE } else { other };
                self.go(now, pause, Ask::Verified(wanted));
            }
            _ => {
                self.declines_next = true;
                self.give_back(address);
                self.go(now, pause, Ask::Offer);
            }
        }
    }

    fn change_mac(&mut self) {
        self.macs_before = self.macs_before.wrapping_add(1);
        self.stack = Stack::new(mac_of(self.machine, self.macs_before), self.rng.random());
        self.names = self.stack.bind_udp(NAMES_PORT);
        self.record.changes += 1;
    }

    fn change_name(&mut self) {
        self.names_before = self.names_before.wrapping_add(1);
        self.record.changes += 1;
    }

    fn hostname(&self) -> String {
        format!("phone-{}-{}", self.name, self.names_before)
    }

    fn give_back(&mut self, address: Ipv4Addr) {
        let mut message = self.message(MessageType::Release, 0);
        message.set_ciaddr(address);
        message.opts_mut().insert(DhcpOption::ServerIdentifier(self.gateway));
        self.unicast(&message);
        self.record.released += 1;
    }

    fn decline(&mut self, address: Ipv4Addr) {
        let mut message = self.message(MessageType::Decline, 0);
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
        message.opts_mut().insert(DhcpOption::ServerIdentifier(self.gateway));
        self.broadcast(&message);
        self.record.declined += 1;
    }

    fn ask(&mut self, ask: Ask, xid: u32) {
        let kind = if ask == Ask::Offer { MessageType::Discover } else { MessageType::Request };
        let mut message = self.message(kind, xid);
        message.opts_mut().insert(DhcpOption::Hostname(self.hostname()));
        let classes = [
            (OptionCode::ClassIdentifier, format!("Phone {}", self.name).into_bytes()),
            // RFC 3004, section 4: the class follows its length.
            (OptionCode::UserClass, b"\x05guest".to_vec()),
        ];
        for (code, class) in classes {
            message.opts_mut().insert(DhcpOption::Unknown(UnknownOption::new(code, class)));
        }
        let asked = ASKED_FOR.map(OptionCode::from).to_vec();
        message.opts_mut().insert(DhcpOption::ParameterRequestList(asked));
        match ask {
            Ask::Offer => {}
            Ask::Selected(address) => {
                message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
                message.opts_mut().insert(DhcpOption::ServerIdentifier(self.gateway));
            }
            Ask::Verified(address) => {
                message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
            }
            Ask::Renewed(address) => {
                message.set_ciaddr(address);
                return self.unicast(&message);
            }
        }
        self.broadcast(&message);
    }

    fn message(&self, kind: MessageType, xid: u32) -> Message {
        let mut message = Message::default();
        message.set_xid(xid).set_chaddr(&self.mac().0);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        message
    }

    fn broadcast(&mut self, message: &Message) {
        self.send(message, MacAddr::BROADCAST, Ipv4Addr::BROADCAST);
    }

    fn unicast(&mut self, message: &Message) {
        self.send(message, self.server_mac, self.gateway);
    }

    fn send(&mut self, message: &Message, destination_mac: MacAddr, destination: Ipv4Addr) {
        let path = Path { source_mac: self.mac(), source: message.ciaddr(), destination_mac, destination };
        let octets = message.to_vec().expect("a short message");
        self.frames.push(path.datagram(DHCP_CLIENT_PORT, DHCP_SERVER_PORT, &octets));
    }

    fn ask_names(&mut self, address: Ipv4Addr) {
        let own = format!("{}.{DOMAIN}.", self.hostname());
        let server = SocketAddrV4::new(self.gateway, DNS_PORT);
        for name in [own, reverse(address)] {
            let question = question(self.rng.random(), &name);
            self.stack.send_udp(self.names, server, &question);
        }
        while self.stack.receive_udp(self.names).is_some() {}
    }

    /// Takes a DHCP message in that is for this guest.
    fn hear(&mut self, now: Instant, source_mac: MacAddr, message: &Message) {
        let Doing::Asking { ask, xid, .. } = self.doing else { return };
        if message.xid() != xid || *message.chaddr() != self.mac().0 {
            return;
        }
        self.server_mac = source_mac;
        match (message.opts().msg_type(), ask) {
            (Some(MessageType::Offer), Ask::Offer) => {
                let ask = Ask::Selected(message.yiaddr());
                self.doing = Doing::Asking { ask, xid, tries: 0, next: now };
            }
            (
                Some(MessageType::Ack),
                Ask::Selected(address) | Ask::Verified(address) | Ask::Renewed(address),
            ) if message.yiaddr() == address => {
                self.take(now, message);
            }
            (Some(MessageType::Nak), Ask::Selected(_) | Ask::Verified(_) | Ask::Renewed(_)) => {
                self.record.refusals += 1;
                self.go(now, NAK_DELAY, Ask::Offer);
            }
            _ => {}
        }
    }

    /// Takes the address of an ACK, or declines it.
    fn take(&mut self, now: Instant, message: &Message) {
        let address = message.yiaddr();
        if std::mem::take(&mut self.declines_next) {
            self.decline(address);
            return self.go(now, DECLINE_DELAY, Ask::Offer);
        }
        let lease_secs = match message.opts().get(OptionCode::AddressLeaseTime) {
            Some(DhcpOption::AddressLeaseTime(secs)) => *secs,
            _ => return,
        };
        let prefix_len = match message.opts().get(OptionCode::SubnetMask) {
            Some(DhcpOption::SubnetMask(mask)) => u8::try_from(mask.to_bits().leading_ones()).unwrap_or(32),
            _ => return,
        };
        self.stack.set_address(Some((address, prefix_len)));
        self.record.leases += 1;
        self.record.last_lease_at = Some(now);
        let renew = now + Duration::from_secs((lease_secs / 2).into());
        let leaves = now + Duration::from_millis(self.rng.random_range(3_000..STAY_MILLIS_MAX));
        self.doing = Doing::Staying { address, renew, leaves, asks_names: now };
    }
}

impl Machine for Guest {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        if let Some(packet) = Packet::parse(&frame)
            && let Some((_, DHCP_SERVER_PORT, DHCP_CLIENT_PORT, payload)) = packet.udp()
        {
            self.heard.extend(dhcp_message(payload).map(|message| (packet.source_mac, message)));
            return;
        }
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.stack.poll(now);
        for (source_mac, message) in std::mem::take(&mut self.heard) {
            self.hear(now, source_mac, &message);
        }
        self.work(now);
        self.stack.poll(now);
        self.frames.drain(..).for_each(&mut *transmit);
        self.stack.drain(transmit);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(match self.doing {
            Doing::Away { until, .. } => until,
            Doing::Asking { next, .. } => next,
            Doing::Staying { renew, leaves, asks_names, .. } => {
                let leaves = if self.is_calm { renew } else { leaves };
                renew.min(leaves).min(asks_names)
            }
        })
    }

    /// Stays, from now on.
    fn calm(&mut self) {
        (self.is_calm, self.declines_next) = (true, false);
    }

    /// A [`GuestRecord`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record)
    }
}

/// The hardware address that a machine has after so many others.
fn mac_of(machine: u8, macs_before: u8) -> MacAddr {
    let [a, b, c, d] = GUEST_MAC;
    MacAddr([a, b, c, d, machine, macs_before])
}
