//! What the services do with one exchange in memory, and how long that takes.
//!
//! - `dhcp/exchange`: DISCOVER, OFFER, REQUEST and ACK of a client with a lease, from and to octets, with the change of
//!   the journal on a disk in memory, among so many clients. The changes are synced one by one.
//! - `dns/cached`, `dns/local`: a query over UDP and its answer, among 1,000 names whose answers are cached, or of the
//!   office.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gatepost_ground::{Instant, MacAddr};
use gatepost_services::clock::UnixTime;
use gatepost_services::dhcp::message;
use gatepost_services::dhcp::server as dhcp_server;
use gatepost_services::dhcp::server::leases::{ClientKey, Grant, Leases};
use gatepost_services::dhcp::server::{Reply, WAITING_MAX};
use gatepost_services::dns;
use gatepost_services::dns::message::Transport;
use gatepost_services::dns::server::{Client, Output};
use gatepost_services::dns::{LocalNames, RecordValue, StaticRecord};
use gatepost_services::store::Memory;
use ipnet::Ipv4Net;
use rand::SeedableRng;
use rand::rngs::StdRng;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
const POOL_START: Ipv4Addr = Ipv4Addr::new(10, 20, 16, 0);
const LEASE_SECS: u32 = 86_400;
const DOMAIN: &str = "office.example";
const NAMES: u16 = 1_000;

fn lan() -> Ipv4Net {
    Ipv4Net::new_assert(SERVER, 16)
}

/// A DHCP server whose clients all have leases.
struct Dhcp {
    server: dhcp_server::Server,
    clients: u32,
    now: Instant,
    exchanges: u32,
}

impl Dhcp {
    fn new(clients: u32) -> Self {
        let now = Instant::from_secs(1_000);
        let mut leases = Leases::open(Arc::new(Memory::new()), now, unix_time(now));
        for number in 0..clients {
            let (address, mac) = (address(number), mac(number));
            let client = ClientKey::Mac(mac);
            let grant = Grant { address, client, mac, source: mac, hostname: None, lease_secs: LEASE_SECS };
            leases.bind(now, unix_time(now), grant).expect("the address is free");
            if number as usize % WAITING_MAX == WAITING_MAX - 1 {
                leases.settle(now, unix_time(now)).expect("a disk in memory");
            }
        }
        leases.settle(now, unix_time(now)).expect("a disk in memory");
        let config = dhcp_server::Config {
            lease_secs: LEASE_SECS,
            domain: DOMAIN.to_owned(),
            ntp_servers: vec![SERVER],
            ..dhcp_server::Config::new(lan(), POOL_START..=Ipv4Addr::new(10, 20, 79, 255))
        };
        let server = dhcp_server::Server::new(config, Rc::new(RefCell::new(leases)));
        Self { server, clients, now, exchanges: 0 }
    }

    /// The next client's four messages.
    fn exchange(&mut self) {
        let number = self.exchanges % self.clients;
        self.exchanges += 1;
        // An address changes once in ten seconds at most, after some changes.
        if number == 0 {
            self.now = self.now + Duration::from_secs(10);
        }
        let offer = self.handle(number, &discover(number)).expect("an OFFER at once");
        black_box(offer.to_frame(SERVER_MAC));
        let unsynced = self.handle(number, &request(number, offer.message.yiaddr()));
        assert!(unsynced.is_none(), "an ACK before the lease is on the disk");
        let disk_request = self.server.poll_request(self.now).expect("a change");
        self.server.handle_done(self.now, unix_time(self.now), Ok(disk_request.perform()));
        let ack = self.server.poll_reply().expect("an ACK");
        black_box(ack.to_frame(SERVER_MAC));
        while let Some(further) = self.server.poll_request(self.now) {
            self.server.handle_done(self.now, unix_time(self.now), Ok(further.perform()));
        }
    }

    fn handle(&mut self, number: u32, octets: &[u8]) -> Option<Reply> {
        let message = message::decode(octets).expect("a message");
        self.server.handle_message(self.now, unix_time(self.now), mac(number), &message)
    }
}

fn unix_time(now: Instant) -> UnixTime {
    UnixTime(1_700_000_000 + now.as_secs())
}

fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(POOL_START) + number)
}

/// A DISCOVER as dhclient sends it.
fn discover(number: u32) -> Vec<u8> {
    dhcp_message(number, &[53, 1, 1])
}

/// A REQUEST that accepts an offer.
fn request(number: u32, address: Ipv4Addr) -> Vec<u8> {
    dhcp_message(number, &[&[53, 1, 3, 50, 4][..], &address.octets(), &[54, 4], &SERVER.octets()].concat())
}

fn dhcp_message(number: u32, options: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; 236];
    octets[..3].copy_from_slice(&[1, 1, 6]);
    octets[4..8].copy_from_slice(&number.to_be_bytes());
    octets[28..34].copy_from_slice(&mac(number).0);
    octets.extend([99, 130, 83, 99]);
    octets.extend(options);
    octets.extend([55, 7, 1, 28, 2, 3, 15, 6, 12, 255]);
    octets
}

/// A DNS server with names in its cache and names of its own.
struct Dns {
    server: dns::server::Server,
    now: Instant,
}

impl Dns {
    fn new() -> Self {
        let record = |number| {
            let value = RecordValue::Address(Ipv4Addr::new(10, 20, 1, 1).into());
            StaticRecord { name: format!("pc{number}"), value }
        };
        let config = dns::Config {
            records: (0..NAMES).map(record).collect(),
            upstreams: vec![SocketAddr::from(([203, 0, 113, 53], 53))],
            ..dns::Config::new(DOMAIN, "gatepost", lan())
        };
        let rng = StdRng::from_seed([7; 32]);
        let server = dns::server::Server::new(config, Rc::new(NoLeases), rng).expect("a valid configuration");
        let mut dns = Self { server, now: Instant::from_secs(1_000) };
        for number in 0..NAMES {
            dns.fill(&query(number, "elsewhere"));
        }
        dns
    }

    /// Has the answer to `query` cached.
    fn fill(&mut self, query: &[u8]) {
        self.server.handle_query(self.now, CLIENT, query);
        while let Some(output) = self.server.poll_output() {
            let Output::Attempt(attempt) = output else { continue };
            let question = &query[12..];
            let header = [&attempt.message[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
            let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0xff, 0, 0, 4, 198, 51, 100, 7];
            let response = [&header[..], question, &answer].concat();
            self.server.handle_response(self.now, attempt.attempt, &response);
        }
    }

    fn ask(&mut self, query: &[u8]) {
        self.server.handle_query(self.now, CLIENT, black_box(query));
        let Some(Output::Reply { message, .. }) = self.server.poll_output() else {
            panic!("no answer at once")
        };
        // One record, and no error.
        assert_eq!((message[3] & 0xf, message[7]), (0, 1));
        black_box(message);
    }
}

const CLIENT: Client = Client {
    address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 2), 40_000)),
    transport: Transport::Udp,
    socket: 1,
};

struct NoLeases;

impl LocalNames for NoLeases {
    fn addresses(&self, _label: &str) -> Vec<std::net::IpAddr> {
        Vec::new()
    }

    fn name(&self, _address: std::net::IpAddr) -> Option<String> {
        None
    }
}

/// A query for the address of `pcNUMBER.ZONE.example`, without EDNS.
fn query(number: u16, zone: &str) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let mut octets = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [format!("pc{number}").as_str(), zone, "example", ""] {
        octets.push(u8::try_from(label.len()).expect("a short label"));
        octets.extend(label.as_bytes());
    }
    octets.extend([0, 1, 0, 1]);
    octets
}

fn dhcp_exchanges(c: &mut Criterion) {
    let mut group = c.benchmark_group("dhcp");
    for (clients, label) in [(100, "100 clients"), (10_000, "10k clients")] {
        let mut dhcp = Dhcp::new(clients);
        group.bench_function(format!("exchange/{label}"), |b| b.iter(|| dhcp.exchange()));
    }
}

fn dns_answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("dns");
    let mut dns = Dns::new();
    for (name, zone) in [("cached", "elsewhere"), ("local", "office")] {
        let queries: Vec<_> = (0..NAMES).map(|number| query(number, zone)).collect();
        let mut next = queries.iter().cycle();
        group.bench_function(name, |b| b.iter(|| dns.ask(next.next().expect("it has no end"))));
    }
}

criterion_group!(benches, dhcp_exchanges, dns_answers);
criterion_main!(benches);
