//! The time [`Client`](super::client::Client) on sockets: it resolves the sources' names, and sends requests to them.
//!
//! Each request has a socket of its own on a random port (RFC 9109, section 4), which is open until the answer or for
//! [`PATIENCE`]. The client sends no requests while a daemon disciplines the kernel's clock.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::client::sample::SECOND;
use super::client::served_time::Change;
use super::client::{Request, SOURCES_MAX};
use super::codec::PORT;
use super::timekeeper::Timekeeper;
use crate::addresses::{InterfaceAddresses, Subscription};
use crate::clock::sleep_until;
use crate::dns::resolver::Resolver;
use crate::net::{Net, UdpSocket};
use crate::task::Task;
use crate::wait::first_of;

/// The timeout of a request. A later answer is useless: the bound of its error is half of the round-trip time.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The interval at which the client checks whether a daemon disciplines the kernel's clock.
const LOOK: Duration = Duration::from_secs(16);

/// How long the client uses resolved addresses: while more than half of [`SOURCES_MAX`] sources are reachable, and
/// otherwise.
const NAMES_HOLD: Duration = Duration::from_secs(3_600);
const NAMES_HOLD_FEW: Duration = Duration::from_secs(300);
/// The interval at which the client resolves names without an address again.
const NAMES_AGAIN: Duration = Duration::from_secs(16);

/// The longest answer that the client reads.
const DATAGRAM_OCTETS_MAX: usize = 1_024;

/// A source of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One server.
    Address(Ipv4Addr),
    /// All servers at the addresses of a name.
    Name(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The time client's task.
pub struct Asking<N: Net> {
    /// The network.
    pub net: N,
    /// The client, and its clocks.
    pub timekeeper: Timekeeper,
    /// The sources.
    pub sources: Vec<Source>,
    /// Resolves names.
    pub resolver: Resolver,
    /// The gateway's own addresses; when they change, the WAN may be up again.
    pub addresses: Subscription,
    /// The source of random timestamps, which must not be predictable.
    pub rng: StdRng,
}

impl<N: Net> Asking<N> {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let Self { net, timekeeper, sources, resolver, addresses, rng } = self;
        let changed = Notify::new();
        let finding = find(&timekeeper, &sources, &resolver, addresses, &changed);
        let asking = ask(&net, &timekeeper, rng, &changed);
        match first_of(finding, asking).await {}
    }
}

/// Resolves the sources for the client, and starts bursts after changes of the gateway's addresses.
async fn find(
    timekeeper: &Timekeeper,
    sources: &[Source],
    resolver: &Resolver,
    mut addresses: Subscription,
    changed: &Notify,
) -> Infallible {
    loop {
        let current = Rc::clone(&addresses.borrow_and_update());
        let own =
            current.interfaces.iter().filter_map(InterfaceAddresses::ipv4).map(|network| network.addr());
        timekeeper.client_mut().set_own_addresses(own.collect());
        let (found, has_names) = resolve(sources, resolver).await;
        let now = timekeeper.machine().now();
        let reachable = {
            let mut client = timekeeper.client_mut();
            // A name may resolve to other addresses each time. Reachable sources stay.
            let reachable: Vec<_> = client.reachable().collect();
            let all: Vec<_> = reachable.iter().copied().chain(found.iter().copied()).collect();
            client.set_sources(now, &all);
            reachable.len()
        };
        changed.notify_one();
        let hold = match reachable {
            _ if !has_names => None,
            _ if found.is_empty() => Some(NAMES_AGAIN),
            few if 2 * few <= SOURCES_MAX => Some(NAMES_HOLD_FEW),
            _ => Some(NAMES_HOLD),
        };
        let held = async {
            sleep_until(timekeeper.machine(), hold.map(|hold| now + hold)).await;
            false
        };
        let moved = async {
            match addresses.changed().await {
                Ok(()) => true,
                // Another configuration is in force.
                Err(_) => std::future::pending().await,
            }
        };
        if first_of(held, moved).await {
            timekeeper.client_mut().hurry(timekeeper.machine().now());
        }
    }
}

/// The addresses of the sources in their order, and whether there are names among the sources.
async fn resolve(sources: &[Source], resolver: &Resolver) -> (Vec<IpAddr>, bool) {
    let (mut found, mut has_names) = (Vec::new(), false);
    for source in sources {
        match source {
            Source::Address(address) => found.push(IpAddr::V4(*address)),
            Source::Name(name) => {
                has_names = true;
                let addresses = resolver.ipv4(name).await.unwrap_or_default();
                found.extend(addresses.into_iter().take(SOURCES_MAX).map(IpAddr::V4));
            }
        }
    }
    (found, has_names)
}

/// Sends the client's requests, and gives it the answers.
async fn ask<N: Net>(net: &N, timekeeper: &Timekeeper, mut rng: StdRng, changed: &Notify) -> Infallible {
    let mut exchanges: BTreeMap<IpAddr, Task> = BTreeMap::new();
    let mut was_disciplined = false;
    loop {
        let reading = timekeeper.reading();
        let is_disciplined = timekeeper.is_kernel_disciplined();
        if is_disciplined != was_disciplined {
            // The measurements are from before the change.
            timekeeper.client_mut().restart(reading.now);
            exchanges.clear();
        }
        was_disciplined = is_disciplined;
        if is_disciplined {
            sleep(LOOK).await;
            continue;
        }
        let requests = timekeeper.client_mut().handle_timeout(&reading, &mut rng);
        exchanges.retain(|_, task| !task.is_over());
        for request in requests {
            let exchange = exchange(net.clone(), timekeeper.clone(), request);
            // The client learns of no failure: it handles one like a lost answer.
            exchanges.insert(request.to, Task::spawn(async { _ = timeout(PATIENCE, exchange).await }));
        }
        let look = reading.now + LOOK;
        let due = timekeeper.client().poll_timeout().map_or(look, |due| due.min(look));
        let waited = sleep_until(timekeeper.machine(), Some(due));
        first_of(waited, changed.notified()).await;
    }
}

/// Sends one request, and waits for its answer.
async fn exchange<N: Net>(net: N, timekeeper: Timekeeper, request: Request) -> io::Result<()> {
    let socket = net.bind_udp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)).await?;
    let source = SocketAddr::new(request.to, PORT);
    socket.send_to(&request.octets, source).await?;
    let mut buffer = [0; DATAGRAM_OCTETS_MAX];
    loop {
        let (len, sender) = socket.recv_from(&mut buffer).await?;
        if sender != source {
            continue;
        }
        let reading = timekeeper.reading();
        let before = timekeeper.client().peer();
        let (is_answer, change) = timekeeper.client_mut().handle_answer(&reading, request.to, &buffer[..len]);
        log(&timekeeper, before, change);
        if is_answer {
            return Ok(());
        }
    }
}

fn log(timekeeper: &Timekeeper, before: Option<IpAddr>, change: Option<Change>) {
    let client = timekeeper.client();
    if let Some(peer) = client.peer().filter(|_| before.is_none()) {
        info!("the system peer is {peer}: {}", client.agreeing());
    }
    if let Some(Change::Stepped(nanos)) = change {
        let millis = nanos / (SECOND / 1_000);
        warn!("the gateway's own time was stepped by {millis} ms; the kernel's clock was not set");
    }
}
