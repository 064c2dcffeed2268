//! A gateway without a device: queues for ports, memory for a disk, and time that passes at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_dataplane::DropReason;
use gatepost_ground::{Instant, MacAddr, Offload};
use gatepost_services::clock::{Clock, UnixTime};
use gatepost_services::crypto::tls::KeySource;
use gatepost_services::dhcp::client::{self, Event};
use gatepost_services::dhcp::frame::Datagram;
use gatepost_services::dhcp::inbox::{self, inbox};
use gatepost_services::dhcp::server::leases::Leases;
use gatepost_services::dhcp::server::{self, Server};
use gatepost_services::dhcp::service as dhcp;
use gatepost_services::store::{Memory, Storage};
use gatepost_services::work::{AtOnce, Work};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::task::{LocalSet, spawn_local};

use super::inspector::Inspector;
use super::link::RING_FRAMES_OF_PORT_MAX;
use super::requests::REQUESTS_MAX;
use super::services::Services;
use super::worker::Worker;
use super::{Environment, build};
use crate::config::Config;
use crate::control::{ReportError, What};
use crate::device::{Abilities, Port, PortError, Received};

mod capture;
mod endings;
mod events;
mod explain;
mod former_address;
mod lease_shares;
mod mail;
mod pinholes;
mod reloads;
mod tls;
mod traffic;

const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 10]);
const PROVIDER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 99]);

/// The frames to and from a port; whichever worker looks first gets the next.
#[derive(Clone, Debug, Default)]
struct Cable {
    to_gateway: Rc<RefCell<VecDeque<Vec<u8>>>>,
    from_gateway: Rc<RefCell<VecDeque<Vec<u8>>>>,
}

impl Port for Cable {
    fn abilities(&self) -> Abilities {
        Abilities::NONE
    }

    fn receive(&mut self, buffer: &mut [u8], _: &mut [u8]) -> Result<Received, PortError> {
        let frame = self.to_gateway.borrow_mut().pop_front().ok_or(PortError::WouldBlock)?;
        buffer[..frame.len()].copy_from_slice(&frame);
        Ok(Received { len: frame.len(), offload: Offload::None })
    }

    fn transmit(&mut self, frame: &[u8], _: Offload) -> Result<(), PortError> {
        self.from_gateway.borrow_mut().push_back(frame.to_vec());
        Ok(())
    }
}

impl Cable {
    fn send(&self, frame: &[u8]) -> bool {
        self.to_gateway.borrow_mut().push_back(frame.to_vec());
        true
    }
}

#[derive(Clone, Copy)]
struct SimulatedClock(tokio::time::Instant);

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(1_700_000_000 + self.now().as_secs())
    }
}

/// The reports of a gateway that has been built and does not run.
pub(crate) fn inspector(settings: &str) -> Inspector {
    Office::new(settings).0.inspector
}

/// A gateway with one port on either side, and a second one on the LAN if the settings name it.
struct Office {
    clock: SimulatedClock,
    workers: Vec<Worker<Cable>>,
    inspector: Inspector,
    lan: Cable,
    lan2: Cable,
    wan: Cable,
    /// Whoever is plugged in, and its cable.
    peers: Vec<(Cable, inbox::Sender)>,
}

impl Office {
    fn new(settings: &str) -> (Self, Services) {
        Self::on(Arc::new(Memory::new()), settings)
    }

    /// The same with a disk.
    fn on(storage: Arc<dyn Storage>, settings: &str) -> (Self, Services) {
        Self::with(storage, Rc::new(AtOnce), settings)
    }

    /// The same with an executor of long work, such as that of the disk.
    fn with(storage: Arc<dyn Storage>, work: Rc<dyn Work>, settings: &str) -> (Self, Services) {
        let clock = SimulatedClock(tokio::time::Instant::now());
        let (lan, lan2, wan) = (Cable::default(), Cable::default(), Cable::default());
        let config = Config::parse("test", settings).expect("a valid configuration");
        let cable_of = |interface, name: &str| match (interface, name) {
            (Config::WAN, _) => &wan,
            (_, "lan2") => &lan2,
            _ => &lan,
        };
        let devices = |cable: &Cable| vec![cable.clone(); config.system.workers.into()];
        let ports =
            config.ports().map(|(interface, port)| (&port.tap, devices(cable_of(interface, &port.tap))));
        let ports: Vec<_> = ports.map(|(name, devices)| (name.clone(), devices)).collect();
        let environment = Environment {
            clock: Rc::new(clock),
            storage,
            work,
            rng: StdRng::seed_from_u64(1),
            keys: KeySource::Seed,
            wake_worker: Arc::new(|_| ()),
        };
        let (workers, services) = build(config, ports, environment);
        let inspector = services.inspector();
        (Self { clock, workers, inspector, lan, lan2, wan, peers: Vec::new() }, services)
    }

    /// As `new`, with the services running.
    fn running(settings: &str) -> Self {
        let (office, services) = Self::new(settings);
        spawn_local(services.run(|| (), pending()));
        office
    }

    /// A host on the LAN that gets its address by DHCP.
    fn plug_in_host(&mut self, name: &str) -> Rc<RefCell<Option<client::Lease>>> {
        let lease = Rc::new(RefCell::new(None));
        let known = Rc::clone(&lease);
        let on_event = move |event| match event {
            Event::Configured(lease) => *known.borrow_mut() = Some(lease),
            Event::Lost => *known.borrow_mut() = None,
            Event::Remarked(remark) => panic!("{remark}"),
            Event::Refused(refusal) => panic!("{refusal:?}"),
        };
        let hostname = Some(name.to_owned());
        let config = client::Config { hostname, ..client::Config::new(HOST_MAC) };
        let port = self.plug_in(self.lan.clone(), HOST_MAC);
        let rng = StdRng::seed_from_u64(2);
        spawn_local(dhcp::run_client((config, rng), None, port, Rc::new(self.clock), on_event, pending()));
        lease
    }

    /// A provider whose DHCP server gives out addresses of `network`, which is a /24.
    fn plug_in_provider(&mut self, [a, b, c]: [u8; 3]) {
        let own = Ipv4Addr::new(a, b, c, 254);
        let pool = Ipv4Addr::new(a, b, c, 50)..=Ipv4Addr::new(a, b, c, 60);
        let config = server::Config {
            lease_secs: 600,
            ..server::Config::new(ipnet::Ipv4Net::new_assert(own, 24), pool)
        };
        let disk: Arc<dyn Storage> = Arc::new(Memory::new());
        let leases = Leases::open(disk, self.clock.now(), self.clock.unix_time());
        let server = Server::new(config, Rc::new(RefCell::new(leases)));
        let port = self.plug_in(self.wan.clone(), PROVIDER_MAC);
        let server = Rc::new(RefCell::new(server));
        spawn_local(dhcp::serve(server, port, Rc::new(self.clock), Rc::new(AtOnce), pending()));
    }

    fn plug_in(&mut self, cable: Cable, mac: MacAddr) -> dhcp::Port<impl Fn(&[u8]) -> bool + use<>> {
        let (sender, frames) = inbox();
        self.peers.push((cable.clone(), sender));
        dhcp::Port { mac, frames, transmit: move |frame: &[u8]| cable.send(frame) }
    }

    /// Lets everybody work for a while.
    async fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            for worker in &mut self.workers {
                for id in worker.ports().iter().map(|(id, _)| id).collect::<Vec<_>>() {
                    worker.ports_mut().set_readable(id);
                }
            }
            let mut more = true;
            while more {
                more = false;
                for worker in &mut self.workers {
                    more |= worker.turn(self.clock.now());
                }
                more |= self.workers.iter().any(Worker::has_more);
            }
            for (cable, peer) in &self.peers {
                for frame in cable.from_gateway.borrow_mut().drain(..) {
                    peer.try_send(frame.into()).expect("the peer listens");
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A report, which the worker has to be driven for.
    async fn report(&mut self, what: What) -> Value {
        let inspector = self.inspector.clone();
        let report = spawn_local(async move { inspector.report(what).await });
        self.pass(Duration::from_millis(20)).await;
        report.await.expect("no panic").expect("a report")
    }
}

/// Runs a test where tasks can be spawned locally and time passes as soon as all tasks are idle.
fn simulate(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), test);
}

#[test]
fn an_office_comes_up() {
    comes_up(1);
}

#[test]
fn an_office_with_several_workers_comes_up() {
    comes_up(2);
    comes_up(16);
}

fn comes_up(workers: u8) {
    simulate(async move {
        let mut office = Office::running(&format!("system.workers = {workers}"));
        office.plug_in_provider([203, 0, 113]);
        let lease = office.plug_in_host("alice");
        office.pass(Duration::from_secs(20)).await;

        let lease = lease.borrow_mut().take().expect("a lease");
        assert_eq!(lease.router, Some(Ipv4Addr::new(192, 168, 1, 1)));
        let leases = office.report(What::Leases).await;
        assert_eq!(leases["leases"][0]["hostname"], "alice");
        assert_eq!(leases["leases"][0]["address"], lease.address.addr().to_string());

        let status = office.report(What::Status).await;
        let wan_address = status["wan"]["address"].as_str().expect("an address");
        assert!(wan_address.starts_with("203.0.113."), "{wan_address}");
        assert_eq!(status["wan"]["gateway"], "203.0.113.254");
        assert_eq!(status["dns_upstream"][0], "203.0.113.254");
        assert_eq!(office.report(What::Counters).await["dropped"], 0);
    });
}

/// RFC 4787, REQ-7: A lease in the lans own network is refused.
#[test]
fn rfc4787_req7_a_lease_in_the_lans_own_network_is_refused() {
    simulate(async {
        let mut office = Office::running("");
        office.plug_in_provider([192, 168, 1]);
        office.pass(Duration::from_secs(20)).await;
        let status = office.report(What::Status).await;
        assert!(status["wan"]["address"].is_null(), "{status}");
        assert_eq!(status["lan"]["address"], "192.168.1.1/24");
        let problem = status["service_problems"][0].as_str().expect("a problem");
        assert!(problem.starts_with("wan: DHCP server 192.168.1.254: its lease is refused"), "{problem}");
        assert!(problem.contains("overlaps the LAN 192.168.1.0/24; set another lan.address"), "{problem}");
    });
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let frames = |settings: &'static str| {
        let frames = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&frames);
        simulate(async move {
            let mut office = Office::running(settings);
            office.pass(Duration::from_secs(60)).await;
            seen.borrow_mut().extend(office.wan.from_gateway.borrow_mut().drain(..));
        });
        frames.take()
    };
    for settings in ["", "system.workers = 3"] {
        let first = frames(settings);
        assert!(!first.is_empty());
        assert_eq!(first, frames(settings));
    }
}

#[test]
fn a_host_stack_that_does_not_keep_up_costs_only_its_own_frames() {
    host_stack_does_not_keep_up("");
    host_stack_does_not_keep_up("system.workers = 2");
}

fn host_stack_does_not_keep_up(settings: &str) {
    simulate(async {
        let (mut office, _services) = Office::new(settings);
        let datagram = Datagram {
            source_mac: HOST_MAC,
            destination_mac: office.inspector.plan.load().interface(Config::LAN).mac(),
            source: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 10), 5000),
            destination: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 53),
            payload: b"query",
        };
        let frame = datagram.to_frame().expect("it is short");
        for _ in 0..RING_FRAMES_OF_PORT_MAX + 7 {
            office.lan.send(&frame);
        }
        let counters = office.report(What::Counters).await;
        assert_eq!(counters["local"], RING_FRAMES_OF_PORT_MAX);
        assert_eq!(counters["dropped"], 7);
        let drops = office.report(What::Drops).await;
        let full = drops["drops"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|drop| drop["reason"] == DropReason::HostRingFull.name());
        assert_eq!(full.expect("every reason is listed")["count"], 7);
    });
}

#[test]
fn a_worker_takes_so_many_questions_and_refuses_more() {
    simulate(async {
        let (mut office, _services) = Office::new("");
        let ask = |inspector: &Inspector| {
            let inspector = inspector.clone();
            spawn_local(async move { inspector.report(What::Counters).await })
        };
        let waiting: Vec<_> = (0..REQUESTS_MAX).map(|_| ask(&office.inspector)).collect();
        let refused = ask(&office.inspector).await.expect("no panic");
        assert!(matches!(refused, Err(ReportError::TooManyAsk)), "{refused:?}");
        office.pass(Duration::from_millis(5)).await;
        for report in waiting {
            assert!(report.await.expect("no panic").is_ok());
        }
    });
}

#[test]
fn what_the_services_count_is_shown_and_outlives_a_reload() {
    simulate(async {
        let (mut office, services) = Office::new("");
        let reloader = services.reloader();
        spawn_local(services.run(|| (), pending()));
        office.pass(Duration::from_millis(10)).await;
        let frame_to = |destination_mac: MacAddr, destination: &str| {
            let datagram = Datagram {
                source_mac: HOST_MAC,
                destination_mac,
                source: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 10), 5000),
                destination: destination.parse().expect("an address"),
                payload: b"query",
            };
            datagram.to_frame().expect("it is short")
        };
        let gateway = office.inspector.plan.load().interface(Config::LAN).mac();
        let mut damaged = frame_to(gateway, "192.168.1.1:53");
        *damaged.last_mut().expect("it has octets") ^= 1;
        office.lan.send(&damaged);
        office.lan.send(&frame_to(gateway, "192.168.1.1:53"));
        office.lan.send(&frame_to(gateway, "192.168.1.1:54"));
        office.lan.send(&frame_to(MacAddr::BROADCAST, "255.255.255.255:67"));
        office.pass(Duration::from_millis(10)).await;
        for is_reloaded in [false, true] {
            let counters = office.report(What::Counters).await;
            let host_stack = &counters["host_stack"];
            assert_eq!(
                (&host_stack["checksums_wrong"], &host_stack["datagrams_unwanted"]),
                (&1.into(), &1.into())
            );
            assert_eq!((&counters["dns"]["queries"], &counters["dns"]["malformed"]), (&1.into(), &1.into()));
            assert_eq!(counters["dhcp"]["to_server"], 1, "{counters}");
            if !is_reloaded {
                let reloader = reloader.clone();
                let config = Config::parse("test", "").expect("a valid configuration");
                let reload = spawn_local(async move { reloader.reload(config).await });
                office.pass(Duration::from_millis(10)).await;
                reload.await.expect("no panic").expect("the same configuration");
            }
        }
    });
}
