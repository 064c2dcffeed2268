//! An attacker on the LAN: it claims other hosts' addresses, forges their packets, uses addresses of the pool
//! statically, or requests more than its share of the gateway's resources. It makes its frames with etherparse.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use etherparse::ArpOperation;
use gatepost_ground::{Instant, MacAddr};

use super::forgery::{Accepted, DhcpClaim, Overheard, Path, Saying, arp};
use super::internet::{CHAT_ADDRESS, DNS_PORT, SILENT_ZONE};
use super::pc::PCS_MAX;
use super::{Machine, Record};
use crate::packet::{Content, Packet};

/// Its hardware address.
pub const MAC: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x66, 0x66, 0x77]);
/// The first octets of the hardware addresses of DHCP clients that do not exist.
const NOBODY_MAC: [u8; 2] = [0x02, 0x66];
/// Time between two tricks.
const TRICK_INTERVAL: Duration = Duration::from_millis(100);
/// The most answers under way; further ones are not given.
const REPLIES_MAX: usize = 64;
/// How many names one trick asks for.
const NAMES_AT_ONCE: u64 = 10;
/// How many connections to the gateway one trick begins, how many it opens, and how many flows to the internet.
const HALF_OPEN_AT_ONCE: u16 = 20;
const HELD_AT_ONCE: u16 = 10;
const FLOWS_AT_ONCE: u16 = 100;
/// How many clients that do not exist one trick has ask for an address.
const CLIENTS_AT_ONCE: u32 = 10;
/// Of those that are offered an address, one in so many declines it.
const DECLINING_PART: u32 = 4;
/// The ports of connections that are begun only, and of those that are opened.
const HALF_OPEN_PORTS: Range<u16> = 40_000..60_000;
const HELD_PORTS: Range<u16> = 10_000..30_000;
/// An unused address on the internet.
const NOBODY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);
const SOURCE_PORT: u16 = 666;
/// RFC 862
const ECHO_PORT: u16 = 7;

/// The spoofer's tricks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Claims an address once, by broadcast.
    Claim(Ipv4Addr),
    /// Claims an address to the gateway alone, by an unsolicited ARP reply.
    Poison(Ipv4Addr),
    /// Uses an address statically from now on: claims it, and answers for it.
    Take(Ipv4Addr),
    /// Sends a datagram to the internet in the name of an address.
    SendAs(Ipv4Addr),
    /// Sends a frame under another machine's hardware address.
    Borrow(MacAddr),
    /// Queries the gateway from a forged address for ten names of a zone with silent servers.
    AskSilent(Ipv4Addr),
    /// Begins twenty connections to the gateway's name service in the name of an address, and no more.
    OpenHalf(Ipv4Addr),
    /// Opens ten connections to the gateway's DNS server from an address that it has taken, and sends nothing
    /// on them.
    HoldOpen(Ipv4Addr),
    /// Sends a hundred SYNs and as many datagrams to the internet from a forged address, to unused addresses.
    OpenFlows {
        /// The address.
        address: Ipv4Addr,
        /// The first port.
        port: u16,
        /// From each port to the next.
        step: u16,
    },
    /// Simulates ten DHCP clients that request addresses. They accept or decline their offers.
    AskForAddresses,
    /// Gives up by DHCP each address that it has overheard others ask for, by a DECLINE and a RELEASE. Then a
    /// client that does not exist asks for the address.
    GiveUpOthers {
        /// Whether it sends under the other machine's hardware address, and not its own.
        borrows: bool,
    },
}

/// The spoofer's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpooferRecord {
    /// Tricks played.
    pub played: u64,
}

/// The spoofer.
pub struct Spoofer {
    tricks: VecDeque<Trick>,
    taken: BTreeSet<Ipv4Addr>,
    gateway_address: Ipv4Addr,
    gateway: Option<MacAddr>,
    replies: Vec<Vec<u8>>,
    /// The address that each client has requested last, as broadcast.
    overheard: BTreeMap<MacAddr, Ipv4Addr>,
    /// DHCP clients made up so far.
    clients: u32,
    /// Ports of connections to the gateway used so far.
    half_open_ports: Ports,
    held_ports: Ports,
    next_at: Instant,
    played: u64,
}

impl Spoofer {
    /// A spoofer on the LAN of the gateway with this address, which means no good yet.
    pub fn new(gateway_address: Ipv4Addr) -> Self {
        Self {
            tricks: VecDeque::new(),
            taken: BTreeSet::new(),
            gateway_address,
            gateway: None,
            replies: Vec::new(),
            overheard: BTreeMap::new(),
            clients: 0,
            half_open_ports: Ports::of(HALF_OPEN_PORTS),
            held_ports: Ports::of(HELD_PORTS),
            next_at: Instant::ZERO,
            played: 0,
        }
    }

    /// Plays `tricks` from now on, one after the other.
    pub fn play(&mut self, tricks: impl IntoIterator<Item = Trick>) {
        self.tricks.extend(tricks);
    }

    /// Plays a trick in frames to the gateway, whose hardware address is `gateway`.
    fn play_one(&mut self, trick: Trick, gateway: MacAddr, transmit: &mut dyn FnMut(Vec<u8>)) {
        let number = self.played.to_be_bytes();
        let own = Path {
            source_mac: MAC,
            source: Ipv4Addr::UNSPECIFIED,
            destination_mac: gateway,
            destination: self.gateway_address,
        };
        match trick {
            Trick::Claim(address) => transmit(claim(address)),
            Trick::Poison(address) => {
                transmit(arp(MAC, ArpOperation::REPLY, address, gateway, self.gateway_address));
            }
            Trick::Take(address) => {
                self.taken.insert(address);
                transmit(claim(address));
            }
            Trick::SendAs(source) => {
                let out = Path { source, destination: CHAT_ADDRESS, ..own };
                transmit(out.datagram(SOURCE_PORT, ECHO_PORT, &number));
            }
            Trick::Borrow(source_mac) => {
                transmit(Path { source_mac, ..own }.datagram(SOURCE_PORT, ECHO_PORT, &number));
            }
            Trick::AskSilent(source) => {
                let names = (0..NAMES_AT_ONCE).map(|n| format!("n{}-{n}.{SILENT_ZONE}", self.played));
                names.for_each(|name| transmit(Path { source, ..own }.question(SOURCE_PORT, &name)));
            }
            Trick::OpenHalf(source) => {
                for _ in 0..HALF_OPEN_AT_ONCE {
                    transmit(Path { source, ..own }.syn(self.half_open_ports.take(), DNS_PORT));
                }
            }
            Trick::HoldOpen(source) => {
                for _ in 0..HELD_AT_ONCE {
                    transmit(Path { source, ..own }.syn(self.held_ports.take(), DNS_PORT));
                }
            }
            Trick::OpenFlows { address, port, step } => {
                let out = Path { source: address, destination: NOBODY, ..own };
                for n in 0..FLOWS_AT_ONCE {
                    let port = port.wrapping_add(step.wrapping_mul(n));
                    transmit(out.syn(port, ECHO_PORT));
                    let [.., host] = address.octets();
                    let [high, low] = port.to_be_bytes();
                    transmit(out.datagram(port, ECHO_PORT, &[host, high, low]));
                }
            }
            Trick::AskForAddresses => {
                (0..CLIENTS_AT_ONCE).for_each(|_| transmit(self.nobody(None).frame(Saying::Discover)));
            }
            Trick::GiveUpOthers { borrows } => {
                for (client, address) in self.overheard.clone() {
                    let source_mac = if borrows { client } else { MAC };
                    let claim = self.dhcp_claim(source_mac, client, Some(address));
                    transmit(claim.frame(Saying::Decline));
                    transmit(claim.frame(Saying::Release));
                    transmit(self.nobody(Some(address)).frame(Saying::Discover));
                }
            }
        }
    }

    /// A message of one more simulated client for `address`.
    fn nobody(&mut self, address: Option<Ipv4Addr>) -> DhcpClaim {
        self.clients += 1;
        let [high, low] = NOBODY_MAC;
        let [a, b, c, d] = self.clients.to_be_bytes();
        let client = MacAddr([high, low, a, b, c, d]);
        self.dhcp_claim(client, client, address)
    }

    fn dhcp_claim(&self, source_mac: MacAddr, client: MacAddr, address: Option<Ipv4Addr>) -> DhcpClaim {
        DhcpClaim { source_mac, client, address, server: self.gateway_address }
    }

    /// Answers as long as there is room.
    fn reply(&mut self, frame: Vec<u8>) {
        if self.replies.len() < REPLIES_MAX {
            self.replies.push(frame);
        }
    }

    fn hear_dhcp(&mut self, overheard: Overheard) {
        match overheard {
            Overheard::Wanted(client, address) => {
                if !is_nobody(client) && self.overheard.len() < PCS_MAX {
                    self.overheard.insert(client, address);
                }
            }
            Overheard::Offered(client, address) => {
                let [.., low] = client.0;
                let declines = u32::from(low).is_multiple_of(DECLINING_PART);
                let saying = if declines { Saying::Decline } else { Saying::Request };
                if is_nobody(client) {
                    self.reply(self.dhcp_claim(client, client, Some(address)).frame(saying));
                }
            }
        }
    }
}

impl Machine for Spoofer {
    fn mac(&self) -> MacAddr {
        MAC
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        let Some(packet) = Packet::parse(&frame) else { return };
        if let Some((_, source_port, _, payload)) = packet.udp() {
            if let Some(overheard) = Overheard::parse(source_port, payload) {
                self.hear_dhcp(overheard);
            }
            return;
        }
        if let Some(accepted) = Accepted::parse(&frame) {
            let is_held =
                HELD_PORTS.contains(&accepted.own_port) && self.taken.contains(&accepted.back.source);
            if is_held {
                self.reply(accepted.acknowledgement());
            }
            return;
        }
        let Content::Arp { sender, target, is_request } = packet.content else { return };
        if sender == self.gateway_address {
            self.gateway = Some(packet.source_mac);
        }
        if is_request && self.taken.contains(&target) {
            self.reply(arp(MAC, ArpOperation::REPLY, target, packet.source_mac, sender));
        }
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.replies.drain(..).for_each(&mut *transmit);
        if self.tricks.is_empty() || self.next_at > now {
            return;
        }
        self.next_at = now + TRICK_INTERVAL;
        let Some(gateway) = self.gateway else {
            let (nobody, asked) = (Ipv4Addr::UNSPECIFIED, self.gateway_address);
            return transmit(arp(MAC, ArpOperation::REQUEST, nobody, MacAddr::ZERO, asked));
        };
        if let Some(trick) = self.tricks.pop_front() {
            self.play_one(trick, gateway, transmit);
            self.played += 1;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (!self.tricks.is_empty()).then_some(self.next_at)
    }

    /// Gives everything up.
    fn calm(&mut self) {
        self.tricks.clear();
        self.taken.clear();
    }

    /// A [`SpooferRecord`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(SpooferRecord { played: self.played })
    }
}

/// Ports that are used in turn.
struct Ports {
    range: Range<u16>,
    next: u16,
}

impl Ports {
    fn of(range: Range<u16>) -> Self {
        Self { next: range.start, range }
    }

    fn take(&mut self) -> u16 {
        let port = self.next;
        self.next = if port + 1 == self.range.end { self.range.start } else { port + 1 };
        port
    }
}

fn claim(address: Ipv4Addr) -> Vec<u8> {
    arp(MAC, ArpOperation::REQUEST, address, MacAddr::ZERO, address)
}

/// Whether the spoofer has made the client up.
fn is_nobody(client: MacAddr) -> bool {
    client.0.starts_with(&NOBODY_MAC)
}
