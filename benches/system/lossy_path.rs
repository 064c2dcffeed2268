//! The host stack's TCP beside the kernel's over one path that loses packets and takes its time, and what idle
//! connections cost.
//!
//! ```sh
//! unshare --net cargo run --example lossy_path -- 5 4 cubic   # 5 rounds of 4 MiB; needs root
//! ```
//!
//! The path is in this program: a task takes packets from a TUN device, or from the stack, loses some by seeded dice,
//! holds the others for half of the round-trip time and gives them to the other end. Every round sends as much from
//! kernel to kernel, from the stack to the kernel and from the kernel to the stack, with the same dice; what is stated
//! are ratios within a round. The kernel's congestion control is the third argument's, CUBIC if there is none.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use gatepost::port::clock::SystemClock;
use gatepost_ground::Instant;
use gatepost_services::clock::Clock;
use gatepost_services::net::stack::{Stack, StackConfig, StackStream};
use gatepost_services::net::{Listener, Net};
use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpCongestion;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tun_tap::{Iface, Mode};

const LOSS: f64 = 0.01;
const ONE_WAY: Duration = Duration::from_millis(25);
const PORT: u16 = 7000;
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2)];
const IDLE_CONNECTIONS: u16 = 1000;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a TUN device, and a thread in it.
struct House {
    jobs: mpsc::Sender<Job>,
    tun: Rc<Tun>,
}

/// The device, and what comes from it.
struct Tun {
    device: Arc<Iface>,
    packets: RefCell<UnboundedReceiver<Vec<u8>>>,
}

impl House {
    fn new(address: Ipv4Addr) -> Self {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (ready, tun) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace: this needs root");
            let tun = Iface::without_packet_info("path0", Mode::Tun).expect("a TUN device");
            let setup = format!(
                "sysctl -qw net.ipv4.tcp_no_metrics_save=1; ip link set lo up; \
                 ip address add {address}/24 dev path0; ip link set path0 mtu 1500 up"
            );
            let status = Command::new("sh").args(["-c", &setup]).status().expect("sh");
            assert!(status.success(), "the device is set up");
            ready.send(tun).expect("somebody waits");
            waiting.into_iter().for_each(|job| job());
        });
        let device: Arc<Iface> = Arc::new(tun.recv().expect("the device"));
        let (reader, (sender, packets)) = (Arc::clone(&device), unbounded_channel());
        thread::spawn(move || {
            let mut packet = vec![0; 2048];
            while let Ok(len) = reader.recv(&mut packet) {
                _ = sender.send(packet[..len].to_vec());
            }
        });
        Self { jobs, tun: Rc::new(Tun { device, packets: RefCell::new(packets) }) }
    }

    /// Runs `job` in the namespace.
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        self.jobs.send(Box::new(move || _ = done.send(job()))).expect("the thread lives");
        result.await.expect("no panic")
    }
}

/// One end of the path.
#[derive(Clone)]
enum End {
    Kernel(Rc<Tun>),
    Stack(Stack, Rc<Queue>),
}

#[derive(Default)]
struct Queue {
    packets: RefCell<VecDeque<Vec<u8>>>,
    arrived: Notify,
}

impl End {
    /// A stack with `address`.
    fn stack(clock: &Rc<dyn Clock>, address: Ipv4Addr, seed: u64) -> Self {
        let queue = Rc::new(Queue::default());
        let sink = Rc::clone(&queue);
        let rng = StdRng::seed_from_u64(seed);
        let stack = Stack::new(StackConfig::default(), Rc::clone(clock), rng, move |packet| {
            sink.packets.borrow_mut().push_back(packet.to_vec());
            sink.arrived.notify_one();
            true
        });
        stack.set_addresses(&[IpNet::new_assert(address.into(), 24)]);
        Self::Stack(stack, queue)
    }

    async fn receive(&self) -> Vec<u8> {
        match self {
            Self::Kernel(tun) => {
                let next = poll_fn(|context| tun.packets.borrow_mut().poll_recv(context));
                next.await.expect("the device lives")
            }
            Self::Stack(_, queue) => loop {
                let packet = queue.packets.borrow_mut().pop_front();
                match packet {
                    Some(packet) => return packet,
                    None => queue.arrived.notified().await,
                }
            },
        }
    }

    fn deliver(&self, packet: &[u8]) {
        match self {
            Self::Kernel(tun) => _ = tun.device.send(packet),
            Self::Stack(stack, _) => stack.handle_packet(packet),
        }
    }
}

/// Packets on their way, with the time of their arrival.
type Held = RefCell<VecDeque<(Instant, Vec<u8>)>>;

/// Carries packets one way.
async fn carry(from: End, to: End, clock: Rc<dyn Clock>, seed: u64) {
    let queue: Rc<Held> = Rc::default();
    let arrived = Rc::new(Notify::new());
    let (waiting, news) = (Rc::clone(&queue), Rc::clone(&arrived));
    let leaving = Rc::clone(&clock);
    let outgoing = async move {
        loop {
            let next = waiting.borrow().front().map(|(at, _)| *at);
            match next {
                None => news.notified().await,
                Some(at) if at > leaving.now() => tokio::time::sleep(at.since(leaving.now())).await,
                Some(_) => {
                    let packet = waiting.borrow_mut().pop_front();
                    packet.into_iter().for_each(|(_, packet)| to.deliver(&packet));
                }
            }
        }
    };
    let mut dice = StdRng::seed_from_u64(seed);
    let incoming = async move {
        loop {
            let packet = from.receive().await;
            if !dice.random_bool(LOSS) {
                queue.borrow_mut().push_back((clock.now() + ONE_WAY, packet));
                arrived.notify_one();
            }
        }
    };
    gatepost_services::wait::first_of(outgoing, incoming).await;
}

/// How long it takes to send `len` octets from one end to the other, until the receiver has seen the end.
async fn transfer(
    ends: [&End; 2],
    houses: [&House; 2],
    (len, how): (usize, &OsString),
    clock: &Rc<dyn Clock>,
    seed: u64,
) -> f64 {
    let [sender, receiver] = ends;
    let tasks = LocalSet::new();
    let to = SocketAddr::new(IpAddr::V4(ADDRESSES[1]), PORT);
    tasks
        .run_until(async {
            let mut ways = tokio::task::JoinSet::new();
            ways.spawn_local(carry(sender.clone(), receiver.clone(), Rc::clone(clock), seed));
            ways.spawn_local(carry(receiver.clone(), sender.clone(), Rc::clone(clock), seed + 1));
            for end in ends {
                if let End::Stack(stack, _) = end {
                    let stack = stack.clone();
                    ways.spawn_local(async move { stack.run().await });
                }
            }
            let begun = clock.now();
            let received = match receiver {
                End::Kernel(_) => {
                    let listener = houses[1].run(move || TcpListener::bind(to)).await.expect("listen");
                    let jobs = houses[1].run(move || {
                        let mut stream = listener.accept().expect("accept").0;
                        let (mut octets, mut count) = (vec![0; 1 << 16], 0);
                        while let Ok(len @ 1..) = stream.read(&mut octets) {
                            count += len;
                        }
                        count
                    });
                    spawn_local(send(sender.clone(), houses[0].jobs.clone(), to, len, how.clone()));
                    jobs.await
                }
                End::Stack(stack, _) => {
                    let listener = stack.listen(to).await.expect("listen");
                    spawn_local(send(sender.clone(), houses[0].jobs.clone(), to, len, how.clone()));
                    let mut stream = listener.accept().await.expect("accept");
                    let (mut octets, mut count) = (vec![0; 1 << 16], 0);
                    while let Ok(len @ 1..) = stream.read(&mut octets).await {
                        count += len;
                    }
                    count
                }
            };
            assert_eq!(received, len, "all of it arrives");
            clock.now().since(begun).as_secs_f64()
        })
        .await
}

async fn send(sender: End, jobs: mpsc::Sender<Job>, to: SocketAddr, len: usize, how: OsString) {
    match sender {
        End::Kernel(_) => {
            let job = move || {
                let mut stream = TcpStream::connect(to).expect("connect");
                setsockopt(&stream, TcpCongestion, &how).expect("the kernel has it");
                stream.write_all(&vec![b'Z'; len]).expect("write");
            };
            jobs.send(Box::new(job)).expect("the thread lives");
        }
        End::Stack(stack, _) => {
            let mut stream = stack.connect(to).await.expect("connect");
            stream.write_all(&vec![b'Z'; len]).await.expect("write");
        }
    }
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// Opens connections between two stacks, each of which has carried something, and says what they cost.
async fn idle(clock: &Rc<dyn Clock>) {
    let ends = [End::stack(clock, ADDRESSES[0], 1), End::stack(clock, ADDRESSES[1], 2)];
    let (End::Stack(client, from_client), End::Stack(server, from_server)) = (&ends[0], &ends[1]) else {
        return;
    };
    let mut tasks = tokio::task::JoinSet::new();
    for (stack, queue, to) in [(client, from_client, server), (server, from_server, client)] {
        let (stack, queue, to) = (stack.clone(), Rc::clone(queue), to.clone());
        tasks.spawn_local(async move { stack.run().await });
        tasks.spawn_local(async move {
            let from = End::Stack(to.clone(), queue);
            loop {
                to.handle_packet(&from.receive().await);
            }
        });
    }
    let to = SocketAddr::new(IpAddr::V4(ADDRESSES[1]), PORT);
    let listener = server.listen(to).await.expect("listen");
    let before = resident();
    let mut streams: Vec<StackStream> = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        let mut client = client.connect(to).await.expect("connect");
        let mut server = listener.accept().await.expect("accept");
        let mut octets = [0; 1000];
        client.write_all(&octets).await.expect("write");
        server.read_exact(&mut octets).await.expect("read");
        server.write_all(&octets).await.expect("write");
        client.read_exact(&mut octets).await.expect("read");
        streams.extend([client, server]);
    }
    // The last acknowledgements are under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let used = resident() - before;
    println!("{} idle connections: {used} KiB resident, {} KiB of it buffers", streams.len(), {
        (client.counters().tcp_memory + server.counters().tcp_memory) / 1024
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |number| number.parse().expect("a number"));
    let (rounds, mebibytes): (usize, usize) = (number(5), number(4));
    let how = OsString::from(arguments.next().unwrap_or("cubic".to_owned()));
    let clock: Rc<dyn Clock> = Rc::new(SystemClock::new());
    LocalSet::new().run_until(idle(&clock)).await;
    let houses = ADDRESSES.map(House::new);
    let kernels = [0, 1].map(|side: usize| End::Kernel(Rc::clone(&houses[side].tun)));
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let seed = 100 * round as u64;
        let stacks = [0, 1].map(|side: usize| End::stack(&clock, ADDRESSES[side], seed + side as u64));
        let mut seconds = Vec::new();
        for ends in [[&kernels[0], &kernels[1]], [&stacks[0], &kernels[1]], [&kernels[0], &stacks[1]]] {
            seconds
                .push(transfer(ends, [&houses[0], &houses[1]], (mebibytes << 20, &how), &clock, seed).await);
        }
        println!(
            "round {round}: {mebibytes} MiB in {:.1} s kernel to kernel, {:.1} s from the stack, {:.1} s to it",
            seconds[0], seconds[1], seconds[2]
        );
        ratios[0].push(seconds[0] / seconds[1]);
        ratios[1].push(seconds[0] / seconds[2]);
    }
    for (what, ratios) in ["from the stack", "to the stack"].into_iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
        println!("{what}: {median:.2} of the kernel's rate ({least:.2}..{most:.2})");
    }
    std::process::exit(0); // the threads in the namespaces wait for ever
}
