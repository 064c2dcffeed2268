//! Packets, calls of services and time through the host stack: it never panics, what it sends is sound,
//! and what nobody keeps up ends.
//!
//! The input is steps: each a kind, a time span and what the kind needs. A service echoes TCP on port 7
//! and another closes at once on port 9; UDP is echoed on port 7. Conversations come about because a step
//! can answer what the stack sent last.

#![no_main]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use etherparse::PacketBuilder;
use gatepost_fuzz::office::{GATEWAY_LAN as LAN, GATEWAY_WAN as WAN};
use gatepost_fuzz::{Input, has_right_packet_checksums, repair_packet};
use gatepost_services::clock::{Clock, UnixTime};
use gatepost_services::net::stack::{Stack, StackConfig, StackListener};
use gatepost_services::net::{Listener, Net, UdpSocket};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{LocalSet, spawn_local};
use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::ipv4::{AddressKind, Header};
use gatepost_ground::wire::tcp::{Flags, self};

/// Whom packets are from and for: peers, the stack itself, everybody and nobody.
const ADDRESSES: [Ipv4Addr; 8] = [
    Ipv4Addr::new(192, 168, 1, 10),
    Ipv4Addr::new(198, 51, 100, 7),
    LAN,
    WAN,
    Ipv4Addr::new(192, 168, 1, 255),
    Ipv4Addr::BROADCAST,
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::UNSPECIFIED,
];
const PORTS: [u16; 4] = [7, 9, 53, 40_000];
const MTU: usize = 1500;
const CONNECTIONS_MAX: usize = 8;
/// The longest patience is that of three keep-alives, and then that with whom nobody owns.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const EVERYTHING_ENDS: Duration = Duration::from_secs(3600);

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    LocalSet::new().block_on(&runtime, async {
        let mut input = Input::new(bytes);
        let mut host = Host::new().await;
        while !input.is_empty() {
            host.step(&mut input);
            host.pass(Duration::from_micros(input.micros())).await;
        }
        host.pass(EVERYTHING_ENDS).await;
        assert_eq!(host.stack.counters().connections, 0, "a connection never ends");
    });
});

/// A stack, its services, and the packets that it sent.
struct Host {
    stack: Stack,
    sent: Rc<RefCell<Vec<Vec<u8>>>>,
    last_sent: Vec<u8>,
}

impl Host {
    async fn new() -> Self {
        let sent = Rc::new(RefCell::new(Vec::new()));
        let (sink, mut offered) = (Rc::clone(&sent), 0_u32);
        let config = StackConfig {
            mtu: MTU,
            tcp_buffer_len: 4096,
            tcp_memory_max: 16 * 1024,
            connections_max: CONNECTIONS_MAX,
            udp_sockets_max: 4,
            keep_alive: KEEP_ALIVE,
        };
        let clock = Rc::new(SimulatedClock(tokio::time::Instant::now()));
        let stack = Stack::new(config, clock, StdRng::from_seed([7; 32]), move |packet| {
            offered += 1;
            let has_room = offered % REFUSED_EVERY != 0;
            if has_room {
                sink.borrow_mut().push(packet.to_vec());
            }
            has_room
        });
        stack.set_addresses(&addresses(0));
        let driver = stack.clone();
        spawn_local(async move { driver.run().await });
        spawn_local(echo(listen(&stack, 7).await));
        spawn_local(close(listen(&stack, 9).await));
        let udp = stack.bind_udp(on(7)).await.expect("a free port");
        spawn_local(async move {
            let mut buffer = [0; 2048];
            while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
                _ = udp.send_to(&buffer[..len], from).await;
            }
        });
        Self { stack, sent, last_sent: Vec::new() }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0 => self.stack.handle_packet(input.chunk()),
            1 => self.stack.handle_packet(&repaired(input.chunk())),
            2 | 3 => self.stack.handle_packet(&built(input)),
            4 | 5 => self.stack.handle_packet(&self.answer(input)),
            6 => {
                let (stack, to) = (self.stack.clone(), remote(input));
                spawn_local(async move {
                    let Ok(mut stream) = stack.connect(to).await else { return };
                    if stream.write_all(&[b'Z'; 3000]).await.is_ok() && stream.shutdown().await.is_ok() {
                        _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                });
            }
            _ => self.stack.set_addresses(&addresses(input.u8())),
        }
        assert!(self.stack.counters().connections <= CONNECTIONS_MAX as u64);
    }

    /// Lets time pass, in which everybody does what is due.
    async fn pass(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        for _ in 0..WAKES_MAX {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            let sent = self.sent.take();
            sent.iter().for_each(|packet| check_sent(packet));
            self.last_sent = sent.into_iter().next_back().unwrap_or(std::mem::take(&mut self.last_sent));
            if tokio::time::Instant::now() >= end {
                return;
            }
            let wait = end - tokio::time::Instant::now();
            tokio::time::sleep(wait.min(time / WAKES_MAX * 2)).await;
        }
        tokio::time::sleep_until(end).await;
    }

    /// The peer's packet in answer to the last that the stack sent: for TCP, the next in order or nearly.
    fn answer(&self, input: &mut Input<'_>) -> Vec<u8> {
        let (flags, ahead, payload_len) = (input.u8(), input.u8(), input.u16() % 1400);
        let Ok(got) = Header::parse(&self.last_sent) else { return Vec::new() };
        let from = PacketBuilder::ipv4(got.destination.octets(), got.source.octets(), 64);
        let payload = vec![b'Z'; usize::from(payload_len)];
        let mut packet = Vec::new();
        let received = got.payload(&self.last_sent);
        match (got.protocol, tcp::Header::parse(received)) {
            (Protocol::TCP, Ok(segment)) => {
                let is_numbered = |flag| u32::from(segment.flags.contains(flag));
                let len = u32::from(segment.payload_len) + is_numbered(Flags::SYN) + is_numbered(Flags::FIN);
                let sequence = segment.acknowledgment.wrapping_add(u32::from(ahead >> 4));
                let acknowledgment = segment.sequence.wrapping_add(len).wrapping_sub(u32::from(ahead & 0xf));
                from.tcp(segment.destination_port, segment.source_port, sequence, 4000)
                    .ack(acknowledgment)
                    .write(&mut packet, &payload)
                    .expect("it fits");
                packet[Header::LEN_MIN + 13] = flags;
            }
            (Protocol::UDP, _) if received.len() >= 8 => {
                let port = |at: usize| u16::from_be_bytes([received[at], received[at + 1]]);
                from.udp(port(2), port(0)).write(&mut packet, &payload).expect("it fits");
            }
            _ => {}
        }
        repaired(&packet)
    }
}

/// The sink has no room now and then.
const REFUSED_EVERY: u32 = 8;
/// More turns than it takes from a packet to its echo.
const YIELDS: usize = 8;
/// How often in a time span what was sent is looked at.
const WAKES_MAX: u32 = 64;

fn check_sent(packet: &[u8]) {
    let header = Header::parse(packet).expect("what is sent is a packet");
    assert_eq!(usize::from(header.total_len), packet.len());
    assert!(packet.len() <= MTU, "{} octets", packet.len());
    assert!([LAN, WAN].contains(&header.source), "{header} is from somebody else");
    // The dataplane lets nobody else's packets through to the stack, so the others have not to be told apart.
    let nobody = [
        AddressKind::Unspecified,
        AddressKind::Loopback,
        AddressKind::Multicast,
        AddressKind::LimitedBroadcast,
    ];
    assert!(!nobody.contains(&AddressKind::of(header.destination)), "{header}");
    assert!(has_right_packet_checksums(packet), "{header} has a wrong checksum");
}

/// A packet from one of the addresses to another.
fn built(input: &mut Input<'_>) -> Vec<u8> {
    let (from, to, ports) = (address(input.u8()), address(input.u8()), input.u8());
    let (from_port, to_port) = (PORTS[usize::from(ports & 3)], PORTS[usize::from(ports >> 2 & 3)]);
    let (protocol, flags, sequence) = (input.u8(), input.u8(), input.u8());
    let payload = vec![b'Z'; usize::from(input.u16() % 1440)];
    let ip = PacketBuilder::ipv4(from.octets(), to.octets(), 64);
    let mut packet = Vec::new();
    if protocol & 1 == 0 {
        let segment = ip.tcp(from_port, to_port, u32::from(sequence), 4000);
        segment.write(&mut packet, &payload).expect("it fits");
        packet[Header::LEN_MIN + 13] = flags;
    } else {
        ip.udp(from_port, to_port).write(&mut packet, &payload).expect("it fits");
    }
    let fragmentation = (u16::from(protocol >> 7) << 13) | u16::from(protocol >> 1 & 0x3f);
    packet[6..8].copy_from_slice(&fragmentation.to_be_bytes());
    packet[4] = sequence;
    repaired(&packet)
}

fn repaired(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    repair_packet(&mut packet);
    packet
}

fn address(choice: u8) -> Ipv4Addr {
    ADDRESSES[usize::from(choice) % ADDRESSES.len()]
}

fn remote(input: &mut Input<'_>) -> SocketAddr {
    let (to, port) = (address(input.u8()), PORTS[usize::from(input.u8() & 3)]);
    SocketAddr::new(IpAddr::V4(to), port)
}

fn addresses(choice: u8) -> Vec<IpNet> {
    let both = [LAN, WAN].map(|address| IpNet::new_assert(address.into(), 24));
    both.into_iter().enumerate().filter(|(n, _)| choice >> n & 1 == 0).map(|(_, net)| net).collect()
}

fn on(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

async fn listen(stack: &Stack, port: u16) -> StackListener {
    stack.listen(on(port)).await.expect("a free port")
}

async fn echo(listener: StackListener) {
    while let Ok(mut stream) = listener.accept().await {
        spawn_local(async move {
            let mut buffer = [0; 512];
            while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..len]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn close(listener: StackListener) {
    while let Ok(stream) = listener.accept().await {
        drop(stream);
    }
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
