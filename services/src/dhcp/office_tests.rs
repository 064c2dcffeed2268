//! Server and clients on one segment in simulated time, with loss, duplicates and power cuts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::client::{self, Client, Event, Output};
use super::frame::Datagram;
use super::message;
use super::server::leases::Leases;
use super::server::{self, Server};
use crate::cases;
use crate::clock::UnixTime;
use crate::store::{Memory, Storage};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 0]);
const UNIX_ORIGIN: u64 = 1_700_000_000;
const DAY: Duration = Duration::from_secs(86_400);

struct Office {
    config: server::Config,
    disk: Arc<Memory>,
    server: Server,
    clients: Vec<Client>,
    /// The addresses that clients use.
    addresses: BTreeMap<usize, Ipv4Addr>,
    /// Addresses that clients lost or changed.
    changes: usize,
    now: Instant,
    rng: StdRng,
    loss: f64,
    duplication: f64,
}

impl Office {
    fn new(seed: u64, clients: u8, lease_secs: u32) -> Self {
        let own = Ipv4Net::new_assert(SERVER, 24);
        let pool = Ipv4Addr::new(192, 168, 1, 1)..=Ipv4Addr::new(192, 168, 1, clients + 1);
        let config = server::Config { lease_secs, ..server::Config::new(own, pool) };
        let disk = Arc::new(Memory::new());
        let mut rng = StdRng::seed_from_u64(seed);
        let clients = (0..clients).map(|number| client(number, &mut rng, None)).collect();
        Self {
            server: start(&config, &disk, Instant::ZERO),
            config,
            disk,
            clients,
            addresses: BTreeMap::new(),
            changes: 0,
            now: Instant::ZERO,
            rng,
            loss: 0.0,
            duplication: 0.0,
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let dues = self.clients.iter().filter_map(Client::poll_timeout).chain(self.server.poll_timeout());
            let due = dues.min().expect("clients do not stop");
            if due > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(due);
            self.serve();
            for index in 0..self.clients.len() {
                self.clients[index].handle_timeout(self.now);
                self.drain(index);
            }
            self.check();
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(output) = self.clients[index].poll_output() {
            match output {
                Output::Transmit(frame) => self.carry(index, &frame),
                Output::Event(Event::Configured(lease)) => {
                    let former = self.addresses.insert(index, lease.address.addr());
                    self.changes += usize::from(former.is_some_and(|former| former != lease.address.addr()));
                }
                Output::Event(Event::Lost) => {
                    self.changes += usize::from(self.addresses.remove(&index).is_some());
                }
                Output::Event(Event::Remarked(_) | Event::Refused(_)) => {}
            }
        }
    }

    fn carry(&mut self, index: usize, frame: &[u8]) {
        let mut copies = 1 + usize::from(self.rng.random_bool(self.duplication));
        if self.rng.random_bool(self.loss) {
            copies = 0;
        }
        for _ in 0..copies {
            let Some(answer) = self.answer(frame) else { continue };
            if !self.rng.random_bool(self.loss) {
                self.clients[index].handle_frame(self.now, &answer);
            }
        }
    }

    fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let datagram = Datagram::parse(frame)?;
        let message = message::decode(datagram.payload).unwrap();
        let unix_now = UnixTime(UNIX_ORIGIN + self.now.as_secs());
        let reply = self.server.handle_message(self.now, unix_now, datagram.source_mac, &message);
        while let Some(request) = self.server.poll_request(self.now) {
            self.server.handle_done(self.now, unix_now, Ok(request.perform()));
        }
        reply.or_else(|| self.server.poll_reply())?.to_frame(SERVER_MAC)
    }

    /// The server does what is due. Nobody answers its probes.
    fn serve(&mut self) {
        let unix_now = UnixTime(UNIX_ORIGIN + self.now.as_secs());
        self.server.handle_timeout(self.now, unix_now);
        while self.server.poll_probe().is_some() {}
        while let Some(reply) = self.server.poll_reply() {
            let answer = reply.to_frame(SERVER_MAC).expect("a frame");
            for client in &mut self.clients {
                if !self.rng.random_bool(self.loss) {
                    client.handle_frame(self.now, &answer);
                }
            }
        }
    }

    /// Asserts that no two clients use one address.
    fn check(&self) {
        let mut users = BTreeMap::new();
        for (client, address) in &self.addresses {
            assert_ne!(*address, SERVER);
            assert_eq!(users.insert(address, client), None, "{address} is leased twice");
        }
    }

    /// The gateway loses power in the middle of a write, and restarts.
    fn cut_power(&mut self) {
        let torn = b"[{\"address\":\"192.168.1.2\",\"client\":\"mac:02:00:00:00:00:99\",\"mac\":\"02:0";
        let len = self.rng.random_range(0..=torn.len());
        self.disk.append("dhcp-leases.jsonl", &torn[..len]).unwrap();
        self.server = start(&self.config, &self.disk, self.now);
    }

    /// A client restarts, with or without its lease remembered, perhaps after a RELEASE.
    fn restart_client(&mut self) {
        let index = self.rng.random_range(0..self.clients.len());
        if self.rng.random_bool(0.3) {
            self.clients[index].release();
            self.drain(index);
        }
        let remembered = self.addresses.remove(&index).filter(|_| self.rng.random_bool(0.5));
        let number = u8::try_from(index).unwrap();
        self.clients[index] = client(number, &mut self.rng, remembered);
    }
}

fn client(number: u8, rng: &mut StdRng, remembered: Option<Ipv4Addr>) -> Client {
    let config = client::Config {
        client_id: number.is_multiple_of(2).then(|| vec![0, number]),
        hostname: Some(format!("pc{number}")),
        broadcast: number.is_multiple_of(3),
        ..client::Config::new(MacAddr([2, 0, 0, 0, 0, number]))
    };
    Client::new(config, StdRng::seed_from_u64(rng.random()), remembered)
}

fn start(config: &server::Config, disk: &Arc<Memory>, now: Instant) -> Server {
    let unix_now = UnixTime(UNIX_ORIGIN + now.as_secs());
    let leases = Leases::open(Arc::clone(disk) as Arc<dyn Storage>, now, unix_now);
    Server::new(config.clone(), Rc::new(RefCell::new(leases)))
}

#[test]
fn a_year_of_renewals_keeps_every_address() {
    let mut office = Office::new(1, 4, 86_400);
    office.run(DAY / 1440);
    let first = office.addresses.clone();
    assert_eq!(first.len(), 4);
    office.loss = 0.3;
    office.run(DAY * 365);
    assert_eq!((&office.addresses, office.changes), (&first, 0));
}

#[test]
fn whatever_happens_no_address_is_leased_twice_and_all_come_up_in_the_end() {
    for seed in 0..cases(6).into() {
        let mut office = Office::new(seed, 12, 600);
        office.loss = 0.2;
        office.duplication = 0.1;
        for _ in 0..200 {
            let secs = office.rng.random_range(1..300);
            office.run(Duration::from_secs(secs));
            match office.rng.random_range(0..4) {
                0 => office.cut_power(),
                1 => office.restart_client(),
                _ => {}
            }
        }
        office.loss = 0.0;
        office.run(Duration::from_secs(1200));
        assert_eq!(office.addresses.len(), office.clients.len(), "seed {seed}");
    }
}
