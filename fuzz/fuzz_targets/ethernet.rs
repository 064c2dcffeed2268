//! Any frame through the parsers and setters of `wire`: they never panic, and where both accept they
//! read what etherparse reads.

#![no_main]

use std::net::Ipv4Addr;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacketSlice, Ethernet2HeaderSlice, Icmpv4Slice, Ipv4Slice, LaxIpv4Slice,
    TcpOptionElement, TcpSlice, UdpHeaderSlice,
};
use gatepost_fuzz::{PACKET, is_sum_right, repair};
use libfuzzer_sys::fuzz_target;
use gatepost_ground::wire::checksum::Delta;
use gatepost_ground::wire::ethernet::{EtherType, Header};
use gatepost_ground::wire::{Malformed, Protocol, arp, icmpv4, ipv4, tcp, transport, udp};

fuzz_target!(|frame: &[u8]| {
    check_frame(frame);
    let mut repaired = frame.to_vec();
    repair(&mut repaired);
    check_frame(&repaired);
});

fn check_frame(frame: &[u8]) {
    let theirs = Ethernet2HeaderSlice::from_slice(frame);
    let Ok(header) = Header::parse(frame) else { return assert!(theirs.is_err()) };
    let theirs = theirs.expect("as long for etherparse as for us");
    assert_eq!(header.source.0, theirs.source());
    assert_eq!(header.destination.0, theirs.destination());
    assert_eq!(header.ether_type.0, theirs.ether_type().0);
    let mut written = [0; PACKET];
    header.write(&mut written).expect("room for a header");
    assert_eq!(written, frame[..PACKET]);

    let _ = header.to_string();
    match header.ether_type {
        EtherType::ARP => check_arp(&frame[PACKET..]),
        EtherType::IPV4 => check_ipv4(&frame[PACKET..]),
        _ => {}
    }
}

fn check_arp(payload: &[u8]) {
    let theirs = ArpPacketSlice::from_slice(payload);
    let Ok(packet) = arp::Packet::parse(payload) else {
        return assert!(!theirs.is_ok_and(|packet| is_for_us_to_read(&packet)), "we do not take it");
    };
    let theirs = theirs.expect("etherparse takes every ARP packet");
    assert_eq!(packet.operation == arp::Operation::Request, theirs.operation() == ArpOperation::REQUEST);
    assert_eq!(packet.sender_mac.0, theirs.sender_hw_addr());
    assert_eq!(packet.sender_ip.octets(), theirs.sender_protocol_addr());
    assert_eq!(packet.target_mac.0, theirs.target_hw_addr());
    assert_eq!(packet.target_ip.octets(), theirs.target_protocol_addr());
    assert_eq!(packet.to_bytes(), payload[..arp::Packet::LEN]);
    let _ = packet.to_string();
}

/// Whether it is for Ethernet and IPv4, a request or a reply, and from one host.
fn is_for_us_to_read(packet: &ArpPacketSlice<'_>) -> bool {
    let sender = packet.sender_hw_addr();
    packet.hw_addr_type() == ArpHardwareId::ETHERNET
        && packet.proto_addr_type() == etherparse::EtherType::IPV4
        && (packet.hw_addr_size(), packet.proto_addr_size()) == (6, 4)
        && [ArpOperation::REQUEST, ArpOperation::REPLY].contains(&packet.operation())
        && sender != [0; 6]
        && sender[0] & 1 == 0
}

/// Whether it is whole, or a fragment of a packet that there can be.
fn is_for_us_to_forward(ip: &Ipv4Slice<'_>) -> bool {
    let header = ip.header();
    // etherparse counts an authentication header to the headers.
    let len = usize::from(header.total_len()) - header.slice().len();
    let end = usize::from(header.fragments_offset().byte_offset()) + len;
    let is_possible = len > 0 && (!header.more_fragments() || len.is_multiple_of(8));
    !header.is_fragmenting_payload() || is_possible && ipv4::Header::LEN_MIN + end <= 0xffff
}

fn check_ipv4(packet: &[u8]) {
    let theirs = Ipv4Slice::from_slice(packet);
    let header = match ipv4::Header::parse(packet) {
        Ok(header) => header,
        // What only we look at.
        Err(Malformed::Checksum | Malformed::Options) => return,
        Err(_) => {
            return assert!(!theirs.is_ok_and(|ip| is_for_us_to_forward(&ip)), "we do not take it");
        }
    };
    let (theirs, _) = LaxIpv4Slice::from_slice(packet).expect("etherparse takes what we take");
    let ip = theirs.header();
    assert_eq!((header.ttl, header.id), (ip.ttl(), ip.identification()));
    assert_eq!(header.ds_field, packet[1]);
    assert_eq!(header.dont_fragment, ip.dont_fragment());
    assert_eq!(header.more_fragments, ip.more_fragments());
    assert_eq!(header.fragment_offset, ip.fragments_offset().byte_offset());
    assert_eq!(header.source, ip.source_addr());
    assert_eq!(header.destination, ip.destination_addr());
    assert_eq!(header.protocol.0, ip.protocol().0);
    assert_eq!(usize::from(header.header_len), ip.slice().len());
    assert_eq!(header.total_len, ip.total_len());
    assert_eq!(header.is_fragment(), ip.is_fragmenting_payload());
    assert_eq!(header.options(packet), ip.options());
    assert!(is_sum_right(ip.slice()));
    assert_eq!(header.payload(packet).len(), usize::from(header.payload_len()));
    let _ = header.to_string();

    let mut changed = packet.to_vec();
    let new = ipv4::Header { source: OTHER, ttl: 7, id: 9, ..header };
    let mut ip = ipv4::HeaderMut::new(&mut changed).expect("a header");
    ip.set_source(new.source);
    ip.set_destination(new.destination);
    ip.set_ttl(new.ttl);
    ip.set_id(new.id);
    assert_eq!(ipv4::Header::parse(&changed), Ok(new));

    let payload = header.payload(packet);
    match header.protocol {
        Protocol::UDP => check_udp(&header, payload),
        Protocol::TCP => check_tcp(&header, payload),
        Protocol::ICMP => check_icmp(packet, &header, payload),
        _ => {}
    }
}

fn check_udp(ip: &ipv4::Header, payload: &[u8]) {
    let Ok(header) = udp::Header::parse(payload) else { return };
    let theirs = UdpHeaderSlice::from_slice(payload).expect("etherparse takes what we take");
    assert_eq!(
        (header.source_port, header.destination_port),
        (theirs.source_port(), theirs.destination_port())
    );
    assert_eq!((header.len, header.checksum), (theirs.length(), theirs.checksum()));
    let _ = header.to_string();

    let mut changed = payload.to_vec();
    let delta = port_delta(header.source_port, header.destination_port);
    udp::HeaderMut::new(&mut changed).expect("a header").set_ports(PORTS.0, PORTS.1, delta);
    check_rewritten(ip, payload, &changed);
}

fn check_tcp(ip: &ipv4::Header, payload: &[u8]) {
    let Ok(header) = tcp::Header::parse(payload) else { return };
    let theirs = TcpSlice::from_slice(payload).expect("etherparse takes what we take");
    assert_eq!(
        (header.source_port, header.destination_port),
        (theirs.source_port(), theirs.destination_port())
    );
    assert_eq!(header.sequence, theirs.sequence_number());
    assert_eq!(header.acknowledgment, theirs.acknowledgment_number());
    assert_eq!(usize::from(header.header_len), theirs.header_len());
    assert_eq!(header.flags.contains(tcp::Flags::SYN), theirs.syn());
    assert_eq!(header.flags.contains(tcp::Flags::ACK), theirs.ack());
    assert_eq!(header.flags.contains(tcp::Flags::FIN), theirs.fin());
    assert_eq!(header.flags.contains(tcp::Flags::RST), theirs.rst());
    assert_eq!(usize::from(header.payload_len), theirs.payload().len());
    let is_mss = |option| match option {
        Ok(TcpOptionElement::MaximumSegmentSize(mss)) => Some(mss),
        _ => None,
    };
    // etherparse stops at options that have another length than they should, and we go on.
    if let Some(mss) = theirs.options_iterator().find_map(is_mss) {
        assert_eq!(header.mss(payload), Some(mss));
    }
    let _ = header.to_string();

    let mut changed = payload.to_vec();
    tcp::clamp_mss(&mut changed, 1200).expect("it parses");
    assert!(header.mss(&changed) <= header.mss(payload).map(|mss| mss.min(1200)));
    check_rewritten(ip, payload, &changed);
    let delta = port_delta(header.source_port, header.destination_port);
    tcp::HeaderMut::new(&mut changed).expect("a header").set_ports(PORTS.0, PORTS.1, delta);
    check_rewritten(ip, payload, &changed);
}

fn check_icmp(packet: &[u8], ip: &ipv4::Header, payload: &[u8]) {
    let Ok(header) = icmpv4::Header::parse(payload) else { return };
    let _ = header.to_string();
    if let Ok(theirs) = Icmpv4Slice::from_slice(payload) {
        assert_eq!((header.kind.0, header.code), (theirs.type_u8(), theirs.code_u8()));
        assert_eq!((header.checksum, header.rest), (theirs.checksum(), theirs.bytes5to8()));
    }
    let mut changed = payload.to_vec();
    icmpv4::HeaderMut::new(&mut changed).expect("a header").set_identifier(PORTS.0);
    check_rewritten(ip, payload, &changed);

    let mut reply = packet.to_vec();
    if icmpv4::make_echo_reply(&mut reply, ip).is_ok() {
        let answer = ipv4::Header::parse(&reply).expect("a reply is a packet");
        assert_eq!((answer.source, answer.destination), (ip.destination, ip.source));
        check_rewritten(ip, payload, answer.payload(&reply));
    }
}

/// A rewritten payload has a right checksum if it had one before.
fn check_rewritten(ip: &ipv4::Header, before: &[u8], after: &[u8]) {
    if !ip.is_fragment() && transport::is_checksum_valid(ip, before) {
        assert!(transport::is_checksum_valid(ip, after));
    }
}

const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const PORTS: (u16, u16) = (0x1234, 0xfffe);

fn port_delta(source: u16, destination: u16) -> Delta {
    Delta::NONE.replace_u16(source, PORTS.0).replace_u16(destination, PORTS.1)
}
