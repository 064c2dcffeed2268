//! The shells, connected by a wire, with paused time.

use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;
use rand::SeedableRng;
use tokio::task::LocalSet;

use super::*;
use crate::dhcp::inbox::inbox;
use crate::dhcp::server::leases::{Leases, State};
use crate::store;
use crate::work::AtOnce;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// Tokio's paused clock.
struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime(1_700_000_000 + self.now().as_secs())
    }
}

/// The end of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Dropped,
}

/// A server, and the log of its client.
struct Lab {
    clock: Rc<dyn Clock>,
    leases: Rc<RefCell<Leases>>,
    server: Rc<RefCell<Server>>,
    events: Rc<RefCell<Vec<Event>>>,
}

impl Lab {
    fn new() -> Self {
        let clock = Rc::new(Paused(tokio::time::Instant::now()));
        let disk = Arc::new(store::Memory::new());
        let leases = Leases::open(disk, clock.now(), clock.unix_time());
        let leases = Rc::new(RefCell::new(leases));
        let own = Ipv4Net::new_assert(SERVER, 24);
        let config = server::Config {
            dns_servers: vec![],
            ..server::Config::new(own, SERVER..=Ipv4Addr::new(192, 168, 1, 9))
        };
        let server = Rc::new(RefCell::new(Server::new(config, Rc::clone(&leases))));
        Self { clock, leases, server, events: Rc::default() }
    }

    /// Runs both for `duration` of simulated time, then ends the client as `end` says, and closes the wire.
    async fn run(&self, lease_file: Option<LeaseFile>, duration: Duration, end: End) {
        let (to_server, server_frames) = inbox();
        let (to_client, client_frames) = inbox();
        let server_port = Port {
            mac: SERVER_MAC,
            frames: server_frames,
            transmit: move |frame: &[u8]| to_client.try_send(frame.to_vec().into()).is_ok(),
        };
        let client_port = Port {
            mac: CLIENT_MAC,
            frames: client_frames,
            transmit: move |frame: &[u8]| to_server.try_send(frame.to_vec().into()).is_ok(),
        };
        let serve =
            serve(Rc::clone(&self.server), server_port, Rc::clone(&self.clock), Rc::new(AtOnce), pending());
        let config = client::Config::new(CLIENT_MAC);
        let events = Rc::clone(&self.events);
        let on_event = move |event| events.borrow_mut().push(event);
        let stop = async {
            tokio::time::sleep(duration).await;
            if end == End::Dropped {
                pending::<()>().await;
            }
        };
        let clock = Rc::clone(&self.clock);
        let rng = StdRng::seed_from_u64(3);
        LocalSet::new()
            .run_until(async {
                let server = tokio::task::spawn_local(serve);
                let client = run_client((config, rng), lease_file, client_port, clock, on_event, stop);
                let is_cut_off =
                    tokio::time::timeout(duration + Duration::from_secs(1), client).await.is_err();
                assert_eq!(is_cut_off, end == End::Dropped);
                server.await.expect("the server ends with the wire");
            })
            .await;
    }
}

#[tokio::test]
async fn what_is_due_goes_before_a_flood_of_frames() {
    let (sender, mut frames) = inbox();
    while sender.try_send(vec![0; 60].into()).is_ok() {}
    let input = next(pin!(pending()), &mut frames, std::future::ready(()), pending::<()>()).await;
    assert!(matches!(input, Input::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_client_renews_its_lease_and_releases_it_when_it_is_stopped() {
    let lab = Lab::new();
    let lease_file = LeaseFile {
        disk: Disk::new(Arc::new(store::Memory::new()), Rc::new(AtOnce)),
        file: "dhcp-client.json",
    };
    lab.run(Some(lease_file.clone()), Duration::from_secs(2 * 3600), End::Stopped).await;
    let own = identity(&client::Config::new(CLIENT_MAC));
    assert_eq!(lease_file.recall(&own, lab.clock.unix_time()).await, None);
    let events = lab.events.borrow();
    let configured = events.iter().filter(|event| matches!(event, Event::Configured(_))).count();
    assert!(configured >= 4, "a lease and its renewals: {events:?}");
    assert_eq!(events.last(), Some(&Event::Lost));
    let leases = lab.leases.borrow();
    assert_eq!(leases.iter().map(|lease| lease.state).collect::<Vec<_>>(), [State::Released]);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_a_memory_asks_for_its_address_again() {
    let lab = Lab::new();
    let lease_file = LeaseFile {
        disk: Disk::new(Arc::new(store::Memory::new()), Rc::new(AtOnce)),
        file: "dhcp-client.json",
    };
    lab.run(Some(lease_file.clone()), Duration::from_secs(60), End::Dropped).await;
    assert!(matches!(lab.events.borrow()[..], [Event::Configured(_)]));
    let own = identity(&client::Config::new(CLIENT_MAC));
    let other = identity(&client::Config { client_id: Some(vec![0, 1]), ..client::Config::new(CLIENT_MAC) });
    let now = lab.clock.unix_time();
    assert_eq!(lease_file.recall(&own, now).await, Some(Ipv4Addr::new(192, 168, 1, 2)));
    assert_eq!(lease_file.recall(&other, now).await, None, "another client's");
    assert_eq!(lease_file.recall(&own, UnixTime(now.0 + 3600)).await, None, "it has ended");
    let former = format!("{{\"address\":\"192.168.1.7\",\"until\":{}}}", now.0 + 9);
    let file = lease_file.file;
    let kept = lease_file.disk.read(file).await.unwrap().unwrap();
    lease_file.disk.replace(file, sealed::seal(former.as_bytes())).await.unwrap();
    assert_eq!(lease_file.recall(&own, now).await, Some(Ipv4Addr::new(192, 168, 1, 7)), "an older file");
    lease_file.disk.replace(file, kept).await.unwrap();
    lab.run(Some(lease_file.clone()), Duration::from_secs(60), End::Dropped).await;
    assert_eq!(lab.leases.borrow().iter().count(), 1);
    assert_eq!(lab.events.borrow()[0], lab.events.borrow()[1]);

    lease_file.keep(None).await;
    assert_eq!(lease_file.recall(&own, lab.clock.unix_time()).await, None);
    lease_file.disk.replace(lease_file.file, b"no JSON".to_vec()).await.unwrap();
    assert_eq!(lease_file.recall(&own, lab.clock.unix_time()).await, None);
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_no_requests_to_the_server_are_not_answered() {
    let lab = Lab::new();
    let (sender, frames) = inbox();
    let mut discover = crate::dhcp::testing::frame(crate::dhcp::testing::UDHCPC_DISCOVER);
    sender.try_send(discover.clone().into()).unwrap();
    sender.try_send(crate::dhcp::testing::frame(crate::dhcp::testing::UDHCPD_ACK).into()).unwrap();
    sender.try_send(vec![0xff; 60].into()).unwrap();
    discover[30..34].copy_from_slice(&[192, 168, 1, 77]);
    sender.try_send(discover.into()).unwrap();
    let answers = RefCell::new(Vec::new());
    let transmit = |frame: &[u8]| {
        answers.borrow_mut().push(frame.to_vec());
        true
    };
    let port = Port { mac: SERVER_MAC, frames, transmit };
    let stop = tokio::time::sleep(Duration::from_secs(1));
    serve(Rc::clone(&lab.server), port, Rc::clone(&lab.clock), Rc::new(AtOnce), stop).await;
    let answers = answers.borrow().iter().filter(|frame| Arp::parse(frame).is_none()).count();
    assert_eq!(answers, 1, "until it was stopped");
    assert!(sender.is_closed());
}
