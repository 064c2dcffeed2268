//! Conversations with smoltcp's TCP, which was written by others.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State as PeerState};
use smoltcp::time::Instant as PeerInstant;
use smoltcp::wire::{HardwareAddress, IpCidr, TcpRepr};

use super::super::super::packet::Packet;
use super::super::super::segment::{Segment, packet};
use super::*;
use crate::cases;

const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7);
const PEERS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 4000);

#[derive(Default)]
struct Wire {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: PeerInstant) -> Option<(Received, Sending<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _now: PeerInstant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1040;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut packet = vec![0; len];
        let result = fill(&mut packet);
        self.0.push(packet);
        result
    }
}

/// smoltcp's end.
struct Peer {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

fn peer_time(now: Instant) -> PeerInstant {
    PeerInstant::from_micros(now.as_micros() as i64)
}

impl Peer {
    fn new(now: Instant, buffer_len: usize, seed: u64) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, peer_time(now));
        interface.update_ip_addrs(|list| list.push(IpCidr::new(PEERS.ip().into(), 24)).expect("room"));
        let buffer = || SocketBuffer::new(vec![0; buffer_len]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(Socket::new(buffer(), buffer()));
        Self { interface, wire, sockets, handle }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

/// Sends `len` octets each way, over a path that loses so many percent, and compares.
fn converse(len: [usize; 2], loss: u32, buffer_len: usize, is_begun_here: bool, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut now = Instant::from_secs(1);
    let mut peer = Peer::new(now, buffer_len, rng.random());
    let begin = Beginning { sequence: rng.random(), timestamp_offset: rng.random() };
    let mut ours = None;
    if is_begun_here {
        ours = Some(Connection::connect(now, begin, &SETTINGS));
        peer.socket().listen(PEERS).expect("closed");
    } else {
        let Peer { interface, sockets, handle, .. } = &mut peer;
        let socket: &mut Socket<'_> = sockets.get_mut(*handle);
        socket.connect(interface.context(), OURS, PEERS).expect("closed");
    }
    let streams = len.map(|len| (0..len).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
    let (mut written, mut read) = ([0, 0], [Vec::new(), Vec::new()]);
    let mut is_finished = [false; 2];
    let mut on_their_way: VecDeque<(Instant, bool, Vec<u8>)> = VecDeque::new();
    for _ in 0..1_000_000 {
        while let Some((_, is_for_us, octets)) = on_their_way
            .front()
            .filter(|(at, ..)| *at <= now)
            .is_some()
            .then(|| on_their_way.pop_front())
            .flatten()
        {
            if !is_for_us {
                peer.wire.received.push_back(octets);
                continue;
            }
            let ip = Packet::parse(&octets).expect("well-formed");
            let segment = Segment::parse(&ip).expect("well-formed");
            let fields = segment.fields();
            match &mut ours {
                None if fields.is_syn => ours = Some(Connection::accept(now, &fields, begin, &SETTINGS)),
                None => {}
                Some(ours) => assert_ne!(ours.receive(now, &fields), Reaction::Refuse),
            }
        }
        if let Some(ours) = &mut ours {
            if matches!(ours.state(), State::Established | State::CloseWait) && !ours.is_closing {
                written[0] += ours.write_now(&streams[0][written[0]..]);
                if written[0] == len[0] {
                    ours.close();
                }
            }
            let mut octets = [0; 5000];
            match ours.read_now(now, &mut octets) {
                Read::Octets(len) => read[0].extend_from_slice(&octets[..len]),
                Read::Pending => {}
                Read::Finished => is_finished[0] = true,
                Read::Broken => panic!("nobody resets"),
            }
        }
        let socket = peer.socket();
        if socket.can_send() && written[1] < len[1] {
            written[1] += socket.send_slice(&streams[1][written[1]..]).expect("it is open");
        }
        if written[1] == len[1] && socket.may_send() {
            socket.close();
        }
        while socket.can_recv() {
            socket.recv(|octets| (octets.len(), read[1].extend_from_slice(octets))).expect("there is some");
        }
        is_finished[1] |= read[1].len() == len[0] && !socket.may_recv();
        peer.interface.poll(peer_time(now), &mut peer.wire, &mut peer.sockets);
        let mut sent: Vec<(bool, Vec<u8>)> = peer.wire.sent.drain(..).map(|packet| (true, packet)).collect();
        for segment in ours.iter_mut().flat_map(|ours| ours.sent(now)) {
            let header = TcpRepr { src_port: OURS.port(), dst_port: PEERS.port(), ..segment.header };
            sent.push((false, packet(OURS, PEERS, &TcpRepr { payload: &segment.payload, ..header })));
        }
        for (is_for_us, packet) in sent {
            if !rng.random_ratio(loss, 100) {
                on_their_way.push_back((now + ms(20), is_for_us, packet));
            }
        }
        let is_ours_over =
            ours.as_ref().is_some_and(|ours| matches!(ours.state(), State::Closed | State::TimeWait));
        let is_peers_over =
            matches!(peer.socket().state(), PeerState::Closed | PeerState::TimeWait | PeerState::Listen);
        if is_finished == [true; 2] && is_ours_over && is_peers_over {
            assert!(read[0] == streams[1] && read[1] == streams[0]);
            return;
        }
        let peers_next = peer.interface.poll_at(peer_time(now), &peer.sockets);
        let peers_next = peers_next.map(|at| Instant::from_micros(at.total_micros() as u64));
        let next = on_their_way.front().map(|(at, ..)| *at).into_iter().chain(peers_next);
        let next = next.chain(ours.as_ref().and_then(Connection::deadline)).min();
        now = next.map_or(now + ms(1), |at| at.max(now + Duration::from_micros(10)).min(now + ms(100)));
    }
    panic!("they never end: {:?} {:?}", ours.map(|ours| ours.state()), peer.socket().state());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(60)))]

    #[test]
    fn smoltcp_and_this_tcp_understand_each_other(
        len in [0..60_000_usize, 0..60_000_usize],
        loss in 0..15_u32,
        buffer_len in prop_oneof![1000..8000_usize, Just(100_000_usize)],
        is_begun_here in any::<bool>(),
        seed in any::<u64>(),
    ) {
        converse(len, loss, buffer_len, is_begun_here, seed);
    }
}
