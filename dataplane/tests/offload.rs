//! Super-frames and frames with a partial checksum go through the dataplane like the segments, with complete checksums,
//! that they represent. A second codec computes these segments.

#![expect(clippy::unwrap_used, reason = "a test that cannot build its frames fails")]

mod common;

use std::net::Ipv4Addr;
use std::num::NonZero;
use std::time::Duration;

use common::*;
use etherparse::{IpNumber, Ipv4Header, PacketBuilder, TcpHeader, TcpOptionElement, UdpHeader};
use gatepost_dataplane::config::{Config, Mode, WanService};
use gatepost_dataplane::{DropReason, Verdict};
use gatepost_ground::offload::{GsoSegments, PartialChecksum, SEGMENTS_MAX, SegmentKind, Segmentation};
use gatepost_ground::wire::Protocol;
use gatepost_ground::wire::transport::fill_checksum;
use gatepost_ground::{MacAddr, Offload};
use proptest::prelude::*;

const PORT: u16 = 40_000;

/// A packet of one flow, whole and as a stack without offloads would send it.
#[derive(Clone, Debug)]
struct Flow {
    from: Host,
    /// The hardware address that it is sent to, and its addresses and ports.
    mac: MacAddr,
    addresses: [Ipv4Addr; 2],
    ports: [u16; 2],
    ip: IpFields,
    tcp: Option<TcpFields>,
    data: Vec<u8>,
    size: usize,
}

#[derive(Clone, Debug)]
struct IpFields {
    dont_fragment: bool,
    ttl: u8,
    id: u16,
    ecn: u8,
    has_options: bool,
}

#[derive(Clone, Debug)]
struct TcpFields {
    sequence: u32,
    fin: bool,
    psh: bool,
    cwr: bool,
    has_timestamps: bool,
}

impl Flow {
    fn ip_header(&self, id: u16) -> Ipv4Header {
        let protocol = if self.tcp.is_some() { IpNumber::TCP } else { IpNumber::UDP };
        let [source, destination] = self.addresses.map(|address| address.octets());
        let mut header = Ipv4Header::new(0, self.ip.ttl, protocol, source, destination).unwrap();
        header.dont_fragment = self.ip.dont_fragment;
        header.identification = id;
        header.ecn = self.ip.ecn.try_into().unwrap();
        if self.ip.has_options {
            // Router alert. // RFC 2113
            header.options = [148, 4, 0, 0].into();
        }
        header
    }

    /// The packet with `data`, which begins at `offset` of all.
    fn packet(&self, id: u16, offset: usize, data: &[u8]) -> Vec<u8> {
        let is_last = offset + data.len() == self.data.len();
        let ip = self.ip_header(id);
        let start = PacketBuilder::ethernet2(self.from.mac.0, self.mac.0)
            .ip(etherparse::IpHeaders::Ipv4(ip, Default::default()));
        let mut bytes = Vec::new();
        let Some(tcp) = &self.tcp else {
            start.udp(self.ports[0], self.ports[1]).write(&mut bytes, data).unwrap();
            return bytes;
        };
        let sequence = tcp.sequence.wrapping_add(offset as u32);
        let mut header = TcpHeader::new(self.ports[0], self.ports[1], sequence, 1000);
        header.ack = true;
        // All that the office's connection has sent before.
        header.acknowledgment_number = if self.ports[0] == 443 { 2 } else { 77 };
        header.fin = tcp.fin && is_last;
        header.psh = tcp.psh && is_last;
        header.cwr = tcp.cwr && offset == 0;
        if tcp.has_timestamps {
            header.set_options(&[TcpOptionElement::Timestamp(1, 2)]).unwrap();
        }
        start.tcp_header(header).write(&mut bytes, data).unwrap();
        bytes
    }

    /// The frames on a wire.
    fn segments(&self) -> Vec<Vec<u8>> {
        let chunks = self.data.chunks(self.size).enumerate();
        chunks
            .map(|(index, data)| self.packet(self.ip.id.wrapping_add(index as u16), index * self.size, data))
            .collect()
    }

    /// The frame that a TCP/IP stack with offloads gives to its device.
    fn super_frame(&self) -> (Vec<u8>, Offload) {
        let mut frame = self.packet(self.ip.id, 0, &self.data);
        let checksum = self.checksum();
        let transport_len = frame.len() - usize::from(checksum.start);
        if let Some(tcp) = &self.tcp {
            frame[usize::from(checksum.start) + 13] |= u8::from(tcp.fin) | u8::from(tcp.psh) << 3;
        }
        leave_checksum(&mut frame, checksum, self.addresses, transport_len);
        let kind = if self.tcp.is_some() { SegmentKind::Tcp } else { SegmentKind::Udp };
        let size = NonZero::new(self.size as u16).unwrap();
        (frame, Offload::Segmentation(Segmentation { kind, size, checksum }))
    }

    fn checksum(&self) -> PartialChecksum {
        let start = if self.ip.has_options { 38 } else { 34 };
        PartialChecksum { start, offset: if self.tcp.is_some() { 16 } else { 6 } }
    }
}

/// Puts the pseudo-header's sum in the place of a checksum.
fn leave_checksum(
    frame: &mut [u8],
    checksum: PartialChecksum,
    addresses: [Ipv4Addr; 2],
    transport_len: usize,
) {
    let at = usize::from(checksum.start + checksum.offset);
    let addresses = addresses.map(|address| address.octets()).concat();
    let protocol = frame[14 + 9];
    let pseudo = [&addresses[..], &[0, protocol], &(transport_len as u16).to_be_bytes()].concat();
    frame[at..at + 2].copy_from_slice(&sum(&pseudo).to_be_bytes());
}

/// The offload of the same frame with so many VLAN tags.
fn behind_tags(offload: Offload, tags: usize) -> Offload {
    let Offload::Segmentation(segmentation) = offload else { return offload };
    let start = segmentation.checksum.start + 4 * tags as u16;
    let checksum = PartialChecksum { start, ..segmentation.checksum };
    Offload::Segmentation(Segmentation { checksum, ..segmentation })
}

/// A gateway with an open TCP connection and UDP conversation of Alice's with the server.
fn office(config: Config) -> Bench {
    let mut bench = Bench::with_config(config);
    if bench.dataplane.config().mode != Mode::LanOnly {
        bench.send(LAN0, &tcp(ALICE, PORT, SERVER.address, 443, "S", 1, 0));
        let back = if bench.dataplane.config().mode.translates() { GATEWAY_WAN } else { ALICE.address };
        bench.send(WAN, &tcp(SERVER, 443, back, PORT, "SA", 76, 2));
        bench.send(LAN0, &tcp(ALICE, PORT, SERVER.address, 443, "A", 2, 77));
        bench.send(LAN0, &udp(ALICE, PORT, SERVER.address, 443, b"hello"));
    }
    bench
}

/// The senders and destinations of packets: to the WAN, from the WAN, or bridged on the LAN.
fn places(mode: Mode) -> impl Strategy<Value = (Host, MacAddr, [Ipv4Addr; 2], [u16; 2])> {
    let back = if mode.translates() { GATEWAY_WAN } else { ALICE.address };
    let bridged = (ALICE, BOB.mac, [ALICE.address, BOB.address], [PORT, 443]);
    let mut places = vec![bridged];
    if mode != Mode::LanOnly {
        places.push((ALICE, GATEWAY_LAN_MAC, [ALICE.address, SERVER.address], [PORT, 443]));
        places.push((SERVER, GATEWAY_WAN_MAC, [SERVER.address, back], [443, PORT]));
    }
    prop::sample::select(places)
}

fn flows(mode: Mode) -> impl Strategy<Value = Flow> {
    let ip = (any::<bool>(), 2u8.., any::<u16>(), 0u8..4, any::<bool>());
    let tcp = (any::<u32>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    // Connections of the office are at the beginning of their sequences.
    let tcp = tcp.prop_map(|(sequence, fin, psh, cwr, has_timestamps)| TcpFields {
        sequence: 2 + sequence % 1000,
        fin,
        psh,
        cwr,
        has_timestamps,
    });
    let data = prop::collection::vec(any::<u8>(), 1..8000);
    (places(mode), ip, prop::option::of(tcp), data, 36usize..3000).prop_map(
        |((from, mac, addresses, ports), ip, mut tcp, data, size)| {
            let (dont_fragment, ttl, id, ecn, has_options) = ip;
            if let Some(tcp) = tcp.as_mut().filter(|_| ports[0] == 443) {
                tcp.sequence += 75;
            }
            // Another test has packets with DF that exceed the MTU.
            let size = if dont_fragment { size.min(1500 - 24 - 32) } else { size };
            let ip = IpFields { dont_fragment, ttl, id, ecn, has_options };
            Flow { from, mac, addresses, ports, ip, tcp, data, size }
        },
    )
}

fn modes_and_flows() -> impl Strategy<Value = (Mode, Flow)> {
    prop::sample::select(Mode::ALL.to_vec()).prop_flat_map(|mode| (Just(mode), flows(mode)))
}

proptest! {
    // Of several workers, only what they hand over is new.
    #![proptest_config(cases(if workers() == 1 { 96 } else { 8 }))]

    #[test]
    fn segments_are_what_a_stack_without_offloads_sends((_, flow) in modes_and_flows()) {
        let (frame, offload) = flow.super_frame();
        prop_assert!(offload.fits(&frame));
        let expected = flow.segments();
        prop_assert_eq!(offload.frames(&frame), expected.len());
        let longest = expected.iter().map(Vec::len).max();
        prop_assert_eq!(Some(offload.frame_len_max(&frame)), longest);
        let mut written = vec![0; 4000];
        for (segment, expected) in GsoSegments::new(&frame, offload).zip(expected) {
            let len = segment.write(&mut written).expect("room");
            prop_assert_eq!(&written[..len], &expected[..]);
            prop_assert_eq!(segment.write(&mut written[..len - 1]), None);
        }
    }

    #[test]
    fn processed_and_segmented_is_segmented_and_processed((mode, flow) in modes_and_flows()) {
        let (mut one, mut many) = (office(config(mode)), office(config(mode)));
        let (frame, offload) = flow.super_frame();
        let outcome = one.send_offloaded(flow.from.port, &frame, offload);
        let mut expected = Vec::new();
        for segment in flow.segments() {
            expected.extend(many.send_unverified(flow.from.port, &segment).sent);
        }
        prop_assert!(!expected.is_empty(), "{:?}", outcome.verdict);
        prop_assert_eq!(outcome.sent, expected);
        if mode != Mode::LanOnly {
            // Nothing that the gateway counts on is behind.
            let mut next = udp(ALICE, PORT, SERVER.address, 443, b"next");
            set_dont_fragment(&mut next, false);
            prop_assert_eq!(one.send(LAN0, &next).sent, many.send(LAN0, &next).sent);
        }
    }

    #[test]
    fn a_super_frame_of_a_vlan_is_cut_into_segments_of_the_vlan(
        (_, flow) in modes_and_flows(),
        vids in prop::collection::vec(1u16..=4095, 1..=2),
    ) {
        let tag = |frame: Vec<u8>| vids.iter().fold(frame, |frame, vid| tagged(&frame, *vid));
        let (frame, offload) = flow.super_frame();
        let (frame, offload) = (tag(frame), behind_tags(offload, vids.len()));
        prop_assert!(offload.fits(&frame));
        let expected: Vec<_> = flow.segments().into_iter().map(tag).collect();
        prop_assert_eq!(Some(offload.frame_len_max(&frame)), expected.iter().map(Vec::len).max());
        let mut bench = office(config(Mode::LanOnly));
        let outcome = bench.send_offloaded(flow.from.port, &frame, offload);
        if flow.mac == BOB.mac {
            prop_assert_eq!(outcome.verdict, Verdict::Transmit(LAN1));
            let sent: Vec<_> = outcome.sent.into_iter().map(|sent| sent.bytes).collect();
            prop_assert_eq!(sent, expected);
        }
    }

    #[test]
    fn a_super_frame_of_vlan_0_goes_as_an_untagged_one((mode, flow) in modes_and_flows()) {
        let (mut one, mut other) = (office(config(mode)), office(config(mode)));
        let (frame, offload) = flow.super_frame();
        let expected = other.send_offloaded(flow.from.port, &frame, offload);
        let outcome = one.send_offloaded(flow.from.port, &tagged(&frame, 0), behind_tags(offload, 1));
        prop_assert_eq!((outcome.verdict, outcome.sent), (expected.verdict, expected.sent));
    }

    #[test]
    fn a_partial_checksum_is_completed_or_left_to_the_next((mode, mut flow) in modes_and_flows()) {
        flow.size = flow.data.len();
        let (mut partial, mut whole) = (office(config(mode)), office(config(mode)));
        let (frame, offload) = flow.super_frame();
        let offload = Offload::Checksum(offload.checksum().expect("a super-frame has one"));
        let expected = whole.send_unverified(flow.from.port, &flow.segments()[0]);
        let outcome = partial.send_offloaded(flow.from.port, &frame, offload);
        prop_assert_eq!(outcome.verdict, expected.verdict);
        prop_assert_eq!(outcome.sent, expected.sent);
    }

    #[test]
    fn whatever_a_host_says_of_a_frame_is_survived(
        (mode, flow) in modes_and_flows(),
        (start, offset, size, kind) in any::<(u16, u16, u16, Option<bool>)>(),
        near in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((0usize..80, any::<u8>()), 0..4),
    ) {
        let (mut frame, _) = flow.super_frame();
        frame.truncate(cut.index(frame.len()) + 1);
        for (at, bits) in flips {
            if let Some(octet) = frame.get_mut(at) {
                *octet ^= bits;
            }
        }
        let usual = flow.checksum();
        let checksum = if near { usual } else { PartialChecksum { start, offset } };
        let size = NonZero::new(size).unwrap_or(NonZero::<u16>::MIN);
        let kind = kind.map(|tcp| if tcp { SegmentKind::Tcp } else { SegmentKind::Udp });
        let offload = match kind {
            Some(kind) => Offload::Segmentation(Segmentation { kind, size, checksum }),
            None => Offload::Checksum(checksum),
        };
        let mut bench = office(config(mode));
        let outcome = bench.send_offloaded(flow.from.port, &frame, offload);
        if outcome.verdict == Verdict::Drop(DropReason::OffloadInvalid) {
            prop_assert_eq!(outcome.sent, []);
        }
        prop_assert!(GsoSegments::new(&frame, offload).len() <= SEGMENTS_MAX);
    }
}

/// A super-frame of Alice's to the server, 4000 octets of data.
fn upload() -> Flow {
    Flow {
        from: ALICE,
        mac: GATEWAY_LAN_MAC,
        addresses: [ALICE.address, SERVER.address],
        ports: [PORT, 443],
        ip: IpFields { dont_fragment: true, ttl: 64, id: 5, ecn: 0, has_options: false },
        tcp: Some(TcpFields { sequence: 2, fin: false, psh: true, cwr: false, has_timestamps: true }),
        data: (0..4000).map(|i| i as u8).collect(),
        size: 1448,
    }
}

#[test]
fn a_super_frame_is_one_frame_of_the_balance() {
    let mut bench = office(config(Mode::NatDmz));
    let before = bench.dataplane.counters().clone();
    let (frame, offload) = upload().super_frame();
    let outcome = bench.send_offloaded(LAN0, &frame, offload);
    assert_eq!((outcome.verdict, outcome.sent.len()), (Verdict::Transmit(WAN), 3));
    outcome.sent.iter().for_each(Sent::verify);
    let after = bench.dataplane.counters();
    assert_eq!((after.received, after.transmitted), (before.received + 1, before.transmitted + 1));
}

/// RFC 1191, section 4: Segments too long for the WAN are refused with its MTU.
#[test]
fn rfc1191_4_segments_too_long_for_the_wan_are_refused_with_its_mtu() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].mtu = 1400;
    let mut bench = office(config);
    let flow = upload();
    let (frame, offload) = flow.super_frame();
    let outcome = bench.send_offloaded(LAN0, &frame, offload);
    outcome.assert_dropped(DropReason::MtuExceeded);
    let error = outcome.one();
    error.verify();
    assert_eq!((error.ip().icmp(), &error.ip().payload()[6..8]), ((3, 4), &1400u16.to_be_bytes()[..]));
    // The ICMP error quotes a packet that the sender knows: the first segment.
    let first = &flow.segments()[0][14..];
    let quoted = error.ip().quoted().0;
    assert_eq!(quoted, &first[..quoted.len()]);

    let mut fitting = flow;
    fitting.size = 1400 - 52;
    let (frame, offload) = fitting.super_frame();
    assert_eq!(bench.send_offloaded(LAN0, &frame, offload).sent.len(), 3);
}

#[test]
fn a_hop_too_far_is_told_once() {
    let mut bench = office(config(Mode::NatDmz));
    let mut flow = upload();
    flow.ip.ttl = 1;
    let (frame, offload) = flow.super_frame();
    let outcome = bench.send_offloaded(LAN0, &frame, offload);
    outcome.assert_dropped(DropReason::TtlExpired);
    let quoted = outcome.one().ip().quoted().0;
    assert_eq!(quoted, &flow.segments()[0][14..][..quoted.len()]);
}

#[test]
fn segments_to_be_fragmented_go_all_or_none() {
    let mut flow = upload();
    flow.ip.dont_fragment = false;
    flow.tcp = None;
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].mtu = 576;
    let (frame, offload) = flow.super_frame();
    let mut bench = office(config.clone());
    let outcome = bench.send_offloaded(LAN0, &frame, offload);
    assert_eq!(outcome.verdict, Verdict::Consumed);
    assert_eq!(outcome.sent.iter().filter(|sent| sent.is_ipv4()).count(), 3 + 3 + 3);

    // More than a batch can make.
    flow.data = vec![7; 60_000];
    flow.size = 600;
    config.interfaces[WAN_SIDE.index()].mtu = 100;
    let (frame, offload) = flow.super_frame();
    let outcome = office(config).send_offloaded(LAN0, &frame, offload);
    outcome.assert_silently_dropped(DropReason::OutputFull);
}

#[test]
fn a_super_frame_waits_for_a_neighbour_in_one_piece() {
    let mut bench = Bench::cold(config(Mode::Router));
    let flow = Flow { from: ISP, mac: GATEWAY_WAN_MAC, addresses: [ISP.address, ALICE.address], ..upload() };
    let (frame, offload) = flow.super_frame();
    assert_eq!(bench.send_offloaded(WAN, &frame, offload).verdict, Verdict::Hold);
    let released = bench.send(LAN0, &arp_reply(ALICE, GATEWAY_LAN_MAC, GATEWAY_LAN)).sent;
    assert_eq!(released.len(), 3);
    released.iter().for_each(Sent::verify);
    assert_eq!(bench.dataplane.counters().transmitted, 1);
    // As it came but for the hop.
    let first = &released[0].ip().0;
    assert_eq!(first[20..], flow.segments()[0][34..]);

    // ARP fails: the ICMP error quotes the first segment.
    bench.send(WAN, &arp_request(ISP, GATEWAY_WAN));
    let flow = Flow { addresses: [ISP.address, BOB.address], ..flow };
    let (frame, offload) = flow.super_frame();
    assert_eq!(bench.send_offloaded(WAN, &frame, offload).verdict, Verdict::Hold);
    let sent = bench.pass(Duration::from_secs(10));
    let error = sent.iter().find(|sent| sent.port == WAN && sent.is_ipv4()).expect("an error");
    let quoted = error.ip().quoted().0;
    assert_eq!((error.ip().icmp(), quoted[2..4].to_vec()), ((3, 1), 1500u16.to_be_bytes().to_vec()));
}

#[test]
fn a_refused_syn_is_quoted_with_its_whole_checksum() {
    let syn = tcp(STRANGER, 7000, GATEWAY_WAN, 22, "S", 1, 0);
    let quoted = |frame: &[u8], offload| {
        let mut bench = Bench::new(Mode::Nat);
        bench.send_offloaded(WAN, frame, offload).assert_silently_dropped(DropReason::Unsolicited);
        bench.pass(Duration::from_secs(6))[0].ip().quoted().0.to_vec()
    };
    let (mut partial, checksum) = (syn.clone(), PartialChecksum { start: 34, offset: 16 });
    leave_checksum(&mut partial, checksum, [STRANGER.address, GATEWAY_WAN], 20);
    assert_eq!(quoted(&partial, Offload::Checksum(checksum)), quoted(&syn, Offload::None));
}

#[test]
fn the_host_stack_gets_whole_checksums() {
    let mut config = config(Mode::NatDmz);
    config.firewall.v4.wan_services = vec![WanService::for_all(Protocol::UDP, 53)];
    let mut bench = office(config);
    for (from, mac, to) in [(ALICE, GATEWAY_LAN_MAC, GATEWAY_LAN), (SERVER, GATEWAY_WAN_MAC, GATEWAY_WAN)] {
        let addresses = [from.address, to];
        let flow = Flow { from, mac, addresses, ports: [PORT, 53], tcp: None, ..upload() };
        let (frame, offload) = flow.super_frame();
        let outcome = bench.send_offloaded(from.port, &frame, offload);
        assert_eq!(outcome.verdict, TO_STACK);
        assert_eq!(outcome.local, Some(flow.segments().concat()));
    }
}

#[test]
fn a_syn_without_checksum_has_its_mss_clamped() {
    let mut config = config(Mode::NatDmz);
    config.interfaces[WAN_SIDE.index()].mtu = 1400;
    let mut header = TcpHeader::new(PORT + 1, 443, 1, 1000);
    header.syn = true;
    header.set_options(&[TcpOptionElement::MaximumSegmentSize(1460)]).unwrap();
    let mut frame = tcp_with_header(ALICE, SERVER.address, header);
    let checksum = PartialChecksum { start: 34, offset: 16 };
    leave_checksum(&mut frame, checksum, [ALICE.address, SERVER.address], 24);
    let outcome = office(config).send_offloaded(LAN0, &frame, Offload::Checksum(checksum));
    let syn = outcome.one();
    syn.verify();
    assert_eq!(syn.bytes[34 + 22..34 + 24], 1360u16.to_be_bytes());
}

#[test]
fn a_checksum_inside_of_a_packet_is_completed() {
    // As of a tunnel: the transport's own is whole, the one inside of it is not.
    let data: Vec<u8> = (0..100).collect();
    let mut frame = udp(ALICE, PORT, SERVER.address, 443, &data);
    let inner = PartialChecksum { start: 34 + 8 + 20, offset: 16 };
    let at = usize::from(inner.start + inner.offset);
    let expected = !sum(&frame[usize::from(inner.start)..]);
    let mut complete = frame.clone();
    complete[at..at + 2].copy_from_slice(&expected.to_be_bytes());
    let checksum = fill_checksum(ALICE.address, SERVER.address, Protocol::UDP, &mut complete[34..])
        .map(|()| [complete[40], complete[41]]);
    frame[40..42].copy_from_slice(&checksum.unwrap());
    let outcome = office(config(Mode::NatDmz)).send_offloaded(LAN0, &frame, Offload::Checksum(inner));
    let sent = outcome.one();
    sent.verify();
    assert_eq!(sent.bytes[42..], complete[42..]);
}

/// Virtio-net headers of a hostile host that contradict their frames.
#[test]
fn what_a_frame_cannot_be_is_dropped() {
    type Lie = (&'static str, fn(&mut Vec<u8>, &mut Segmentation));
    let lies: &[Lie] = &[
        ("a start in the Ethernet header", |_, said| said.checksum.start = 0),
        ("a start beyond the frame", |_, said| said.checksum.start = u16::MAX),
        ("a start that is not the transport's", |_, said| said.checksum.start += 4),
        ("a field beyond the frame", |_, said| said.checksum.offset = u16::MAX),
        ("a field that is not the transport's", |_, said| said.checksum.offset = 6),
        ("another protocol", |_, said| {
            said.kind = SegmentKind::Udp;
            said.checksum.offset = 6;
        }),
        ("more segments than any sender makes", |_, said| said.size = NonZero::<u16>::MIN),
        ("a packet longer than its frame", |frame, _| frame.truncate(3000)),
        ("a packet shorter than its frame", |frame, _| frame.push(0)),
        ("no data", |frame, _| {
            frame.truncate(34 + 32);
            change_header(frame, |header| header[2..4].copy_from_slice(&52u16.to_be_bytes()));
        }),
        ("a transport header longer than the packet", |frame, _| {
            frame.truncate(34 + 30);
            change_header(frame, |header| header[2..4].copy_from_slice(&50u16.to_be_bytes()));
        }),
        ("a transport header shorter than it can be", |frame, _| frame[34 + 12] = 0x40),
        ("a fragment", |frame, _| change_header(frame, |header| header[6] |= 0x20)),
        ("a later fragment", |frame, _| change_header(frame, |header| header[7] = 1)),
        ("many connections opened", |frame, _| frame[34 + 13] = 0x02),
        ("many connections reset", |frame, _| frame[34 + 13] = 0x14),
        ("urgent data in many places", |frame, _| frame[34 + 13] |= 0x20),
        ("nothing but headers of IPv6", |frame, _| frame[12..14].copy_from_slice(&[0x86, 0xdd])),
        ("what is no IP packet", |frame, _| frame[12..14].copy_from_slice(&[8, 6])),
        ("a frame of headers", |frame, _| frame.truncate(40)),
    ];
    let mut bench = office(config(Mode::NatDmz));
    for (what, lie) in lies {
        let (mut frame, offload) = upload().super_frame();
        let Offload::Segmentation(mut said) = offload else { panic!("a super-frame") };
        said.size = NonZero::new(2).filter(|_| what.starts_with("more")).unwrap_or(said.size);
        lie(&mut frame, &mut said);
        assert!(!Offload::Segmentation(said).fits(&frame), "{what}");
        let outcome = bench.send_offloaded(LAN0, &frame, Offload::Segmentation(said));
        assert_eq!(
            (outcome.verdict, outcome.sent),
            (Verdict::Drop(DropReason::OffloadInvalid), vec![]),
            "{what}"
        );
    }
    for (start, offset) in [(0, 16), (34, 4100), (u16::MAX, u16::MAX), (34 + 4032 - 1, 0)] {
        let (frame, _) = upload().super_frame();
        let outcome =
            bench.send_offloaded(LAN0, &frame, Offload::Checksum(PartialChecksum { start, offset }));
        outcome.assert_silently_dropped(DropReason::OffloadInvalid);
    }
}

#[test]
fn a_checksum_in_the_padding_of_a_packet_is_none() {
    let mut frame = echo_request(ALICE, GATEWAY_LAN, 1, 1);
    let padded = PartialChecksum { start: frame.len() as u16, offset: 0 };
    frame.resize(frame.len() + 18, 0);
    let outcome = office(config(Mode::NatDmz)).send_offloaded(LAN0, &frame, Offload::Checksum(padded));
    outcome.assert_silently_dropped(DropReason::OffloadInvalid);
}

/// RFC 8200, section 3: Super-frames of IPv6 are segmented, too.
#[test]
fn rfc8200_super_frames_of_ipv6_are_segmented_too() {
    let (source, destination) = ([1; 16], [2; 16]);
    let data: Vec<u8> = (0..3000).map(|i| i as u8).collect();
    let packet = |sequence, is_last, data: &[u8]| {
        let mut bytes = Vec::new();
        let start = PacketBuilder::ethernet2(ALICE.mac.0, BOB.mac.0).ipv6(source, destination, 64);
        let mut header = TcpHeader::new(1, 2, sequence, 1000);
        (header.ack, header.psh) = (true, is_last);
        start.tcp_header(header).write(&mut bytes, data).unwrap();
        bytes
    };
    let mut frame = packet(10, true, &data);
    let pseudo = [&source[..], &destination, &(3020u32).to_be_bytes(), &[0, 0, 0, 6]].concat();
    frame[54 + 16..54 + 18].copy_from_slice(&sum(&pseudo).to_be_bytes());
    let checksum = PartialChecksum { start: 54, offset: 16 };
    let said = Segmentation { kind: SegmentKind::Tcp, size: NonZero::new(1000).unwrap(), checksum };
    let mut bench = Bench::new(Mode::NatDmz);
    let sent = bench.send_offloaded(LAN0, &frame, Offload::Segmentation(said)).sent;
    let expected: Vec<_> = [(10, 0), (1010, 1000), (2010, 2000)]
        .map(|(seq, at)| packet(seq, at == 2000, &data[at..at + 1000]))
        .into();
    assert_eq!(sent.into_iter().map(|sent| sent.bytes).collect::<Vec<_>>(), expected);
}

/// RFC 768: A segment whose checksum is zero has all ones.
#[test]
fn rfc768_a_segment_whose_checksum_is_zero_has_all_ones() {
    // The first two octets of data are chosen so that the checksum comes out as zero.
    let mut frame = udp(ALICE, PORT, BOB.address, 443, &[0; 4]);
    frame[6..12].copy_from_slice(&ALICE.mac.0);
    frame[..6].copy_from_slice(&BOB.mac.0);
    let right = UdpHeader::from_slice(&frame[34..]).unwrap().0.checksum;
    frame[42..44].copy_from_slice(&right.to_be_bytes());
    let checksum = PartialChecksum { start: 34, offset: 6 };
    leave_checksum(&mut frame, checksum, [ALICE.address, BOB.address], 12);
    let outcome = Bench::new(Mode::NatDmz).send_offloaded(LAN0, &frame, Offload::Checksum(checksum));
    assert_eq!(outcome.one().bytes[40..42], [0xff, 0xff]);
}
