//! Two stacks, back to back over a wire that can lose, repeat and reorder; time is simulated.

mod access;
mod floods;
mod ipv6;
mod other_address;
mod packets;
mod staging;
mod tcp;
mod udp;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};

use gatepost_ground::Instant;
use rand::{RngExt, SeedableRng};
use smoltcp::wire::Ipv4Packet;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::cases;
use crate::clock::UnixTime;
use crate::net::{Listener, Stream};

const A: [u8; 4] = [192, 168, 1, 1];
const B: [u8; 4] = [192, 168, 1, 2];

/// Longer than any test takes, in simulated time.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Runs `test` in simulated time, which passes when all tasks wait.
fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let bounded = async { tokio::time::timeout(FOR_EVER, test).await.expect("the test ends") };
    LocalSet::new().block_on(&runtime, bounded)
}

struct SimulatedClock(tokio::time::Instant);

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime::default()
    }
}

fn clock() -> Rc<dyn Clock> {
    Rc::new(SimulatedClock(tokio::time::Instant::now()))
}

fn network(address: [u8; 4]) -> IpNet {
    IpNet::new(address.into(), 24).expect("a prefix length")
}

fn at(address: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// `port` on every address.
fn on(port: u16) -> SocketAddr {
    at([0; 4], port)
}

fn octets(len: usize, seed: u64) -> Vec<u8> {
    let mut octets = vec![0; len];
    StdRng::seed_from_u64(seed).fill(&mut octets[..]);
    octets
}

/// The faults of a wire, in percent, and the longest delay of a packet.
#[derive(Clone, Copy, Default)]
struct Impairment {
    loss: u32,
    duplication: u32,
    delay_max: Duration,
}

/// Two stacks with one address each.
struct Pair {
    a: Stack,
    b: Stack,
    is_cut: Rc<Cell<bool>>,
    trace: Rc<RefCell<DefaultHasher>>,
}

impl Pair {
    fn new(config: StackConfig, seed: u64, impairment: Impairment) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_cut = Rc::new(Cell::new(false));
        let trace = Rc::new(RefCell::new(DefaultHasher::new()));
        let clock = clock();
        let [(a, from_a), (b, from_b)] = [A, B].map(|address| {
            let wire = Wire::default();
            let stack = Stack::new(config, Rc::clone(&clock), StdRng::from_rng(&mut rng), wire.sink());
            stack.set_addresses(&[network(address)]);
            let driver = stack.clone();
            spawn_local(async move { driver.run().await });
            (stack, wire)
        });
        for (wire, to) in [(from_a, &b), (from_b, &a)] {
            let carrier = Carrier {
                wire,
                to: to.clone(),
                impairment,
                is_cut: Rc::clone(&is_cut),
                trace: Rc::clone(&trace),
                clock: Rc::clone(&clock),
            };
            spawn_local(carrier.run(StdRng::from_rng(&mut rng)));
        }
        Self { a, b, is_cut, trace }
    }

    fn perfect() -> Self {
        Self::new(StackConfig::default(), 1, Impairment::default())
    }

    /// A connection from `a` to `b`, both its ends.
    async fn connected(&self) -> (StackStream, StackStream) {
        let listener = self.b.listen(on(7)).await.expect("listen");
        let client = self.a.connect(at(B, 7)).await.expect("connect");
        let server = listener.accept().await.expect("accept");
        assert_eq!((client.local_addr(), client.peer_addr()), (server.peer_addr(), server.local_addr()));
        (client, server)
    }

    fn hash(&self) -> u64 {
        self.trace.borrow().finish()
    }
}

#[derive(Clone, Default)]
struct Wire {
    packets: Rc<RefCell<VecDeque<Vec<u8>>>>,
    arrived: Rc<Notify>,
}

impl Wire {
    /// Few packets fit, as in a ring.
    const PACKETS_MAX: usize = 64;

    fn sink(&self) -> impl FnMut(&[u8]) -> bool + 'static {
        let wire = self.clone();
        move |packet| {
            let mut packets = wire.packets.borrow_mut();
            let has_room = packets.len() < Self::PACKETS_MAX;
            if has_room {
                packets.push_back(packet.to_vec());
                wire.arrived.notify_one();
            }
            has_room
        }
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.packets.borrow_mut().pop_front()
    }
}

struct Carrier {
    wire: Wire,
    to: Stack,
    impairment: Impairment,
    is_cut: Rc<Cell<bool>>,
    trace: Rc<RefCell<DefaultHasher>>,
    clock: Rc<dyn Clock>,
}

impl Carrier {
    async fn run(self, mut rng: StdRng) {
        loop {
            let Some(packet) = self.wire.take() else {
                self.wire.arrived.notified().await;
                continue;
            };
            (self.clock.now(), &packet).hash(&mut *self.trace.borrow_mut());
            let Impairment { loss, duplication, delay_max } = self.impairment;
            if self.is_cut.get() || rng.random_ratio(loss, 100) {
                continue;
            }
            for _ in 0..=u32::from(rng.random_ratio(duplication, 100)) {
                if delay_max.is_zero() {
                    self.to.handle_packet(&packet);
                    continue;
                }
                let (to, packet, delay) =
                    (self.to.clone(), packet.clone(), rng.random_range(Duration::ZERO..delay_max));
                spawn_local(async move {
                    tokio::time::sleep(delay).await;
                    to.handle_packet(&packet);
                });
            }
        }
    }
}
