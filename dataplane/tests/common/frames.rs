//! Frames as hosts send them, and what may happen to them on the way.

use std::net::Ipv4Addr;

use etherparse::{PacketBuilder, TcpHeader, TcpOptionElement};
use gatepost_ground::MacAddr;

use super::sent::sum;
use super::{GATEWAY_LAN_MAC, GATEWAY_WAN_MAC, Host, WAN};

/// The destination's MAC for a packet from `from`: the gateway's on that segment.
fn gateway_mac(from: Host) -> MacAddr {
    if from.port == WAN { GATEWAY_WAN_MAC } else { GATEWAY_LAN_MAC }
}

fn packet(from: Host, to: Ipv4Addr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(from.mac.0, gateway_mac(from).0).ipv4(from.address.octets(), to.octets(), 64)
}

pub fn udp(from: Host, from_port: u16, to: Ipv4Addr, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).udp(from_port, to_port).write(&mut bytes, payload).unwrap();
    bytes
}

/// TCP segments of one direction, with flags as letters: `S`, `A`, `F`, `R`, `P`.
pub fn tcp(
    from: Host,
    from_port: u16,
    to: Ipv4Addr,
    to_port: u16,
    flags: &str,
    seq: u32,
    ack: u32,
) -> Vec<u8> {
    let mut header = TcpHeader::new(from_port, to_port, seq, 64_000);
    header.syn = flags.contains('S');
    header.ack = flags.contains('A');
    header.fin = flags.contains('F');
    header.rst = flags.contains('R');
    header.psh = flags.contains('P');
    header.acknowledgment_number = ack;
    tcp_with_header(from, to, header)
}

/// Carries four octets of data if PSH is set.
pub fn tcp_with_header(from: Host, to: Ipv4Addr, header: TcpHeader) -> Vec<u8> {
    let payload: &[u8] = if header.psh { b"data" } else { b"" };
    let mut bytes = Vec::new();
    packet(from, to).tcp_header(header).write(&mut bytes, payload).unwrap();
    bytes
}

/// A SYN, or a SYN-ACK if `flags` has an `A`, that offers `mss`.
pub fn syn(from: Host, from_port: u16, to: Ipv4Addr, to_port: u16, flags: &str, mss: u16) -> Vec<u8> {
    let mut header = TcpHeader::new(from_port, to_port, 1000, 64_000);
    header.syn = true;
    header.ack = flags.contains('A');
    header.acknowledgment_number = 1001;
    header.set_options(&[TcpOptionElement::MaximumSegmentSize(mss)]).expect("room");
    tcp_with_header(from, to, header)
}

pub fn echo_request(from: Host, to: Ipv4Addr, id: u16, seq: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).icmpv4_echo_request(id, seq).write(&mut bytes, b"ping").unwrap();
    bytes
}

pub fn echo_reply(from: Host, to: Ipv4Addr, id: u16, seq: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).icmpv4_echo_reply(id, seq).write(&mut bytes, b"ping").unwrap();
    bytes
}

/// An ICMP error by `from` to `to` about `about`, an IPv4 packet.
pub fn icmp_error(from: Host, to: Ipv4Addr, kind: u8, code: u8, rest: u32, about: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet(from, to).icmpv4_raw(kind, code, rest.to_be_bytes()).write(&mut bytes, about).unwrap();
    bytes
}

pub fn arp_request(from: Host, target: Ipv4Addr) -> Vec<u8> {
    arp(1, from, MacAddr::ZERO, target, MacAddr::BROADCAST)
}

pub fn arp_reply(from: Host, to_mac: MacAddr, to: Ipv4Addr) -> Vec<u8> {
    arp(2, from, to_mac, to, to_mac)
}

pub fn arp(operation: u16, from: Host, target_mac: MacAddr, target: Ipv4Addr, to: MacAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packet = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        etherparse::ArpOperation(operation),
        &from.mac.0,
        &from.address.octets(),
        &target_mac.0,
        &target.octets(),
    )
    .unwrap();
    PacketBuilder::ethernet2(from.mac.0, to.0).arp(packet).write(&mut bytes).unwrap();
    bytes
}

/// Changes a frame's IPv4 header and puts its checksum right again.
pub fn change_header(frame: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let header_len = usize::from(frame[14] & 15) * 4;
    let header = &mut frame[14..14 + header_len];
    change(header);
    header[10..12].fill(0);
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

pub fn set_ttl(frame: &mut [u8], ttl: u8) {
    change_header(frame, |header| header[8] = ttl);
}

pub fn set_protocol(frame: &mut [u8], protocol: u8) {
    change_header(frame, |header| header[9] = protocol);
}

pub fn set_dont_fragment(frame: &mut [u8], dont: bool) {
    change_header(frame, |header| header[6] = u8::from(dont) << 6);
}

/// Makes a frame a fragment that begins `offset` octets into its packet.
pub fn set_fragment(frame: &mut [u8], offset: u16, more: bool) {
    let field = (offset / 8) | (u16::from(more) << 13);
    change_header(frame, |header| header[6..8].copy_from_slice(&field.to_be_bytes()));
}

pub fn set_identification(frame: &mut [u8], identification: u16) {
    change_header(frame, |header| header[4..6].copy_from_slice(&identification.to_be_bytes()));
}

/// Puts an IPv4 header's checksum right, if there is room for a header.
pub fn mend_header(frame: &mut [u8]) {
    let is_whole = frame.len() > 14 && frame.len() >= 14 + usize::from(frame[14] & 15) * 4;
    if is_whole && frame[14] & 15 >= 5 {
        change_header(frame, |_| ());
    }
}

/// An IPv4 packet without options, with `options` (whole words) put in.
pub fn with_ip_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut frame = [&[0; 14], &packet[..20], options, &packet[20..]].concat();
    let len = u16::try_from(frame.len() - 14).unwrap();
    frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    change_header(&mut frame, |header| header[2..4].copy_from_slice(&len.to_be_bytes()));
    frame.split_off(14)
}

/// Cuts a frame's packet into fragments of `size` octets of payload each, a multiple of eight.
pub fn fragment(frame: &[u8], identification: u16, size: usize) -> Vec<Vec<u8>> {
    let payload = &frame[34..];
    let count = payload.len().div_ceil(size);
    let cut = |(i, part): (usize, &[u8])| {
        let mut fragment = [&frame[..34], part].concat();
        let len = u16::try_from(20 + part.len()).unwrap();
        change_header(&mut fragment, |header| header[2..4].copy_from_slice(&len.to_be_bytes()));
        set_fragment(&mut fragment, u16::try_from(i * size).unwrap(), i + 1 < count);
        set_identification(&mut fragment, identification);
        fragment
    };
    payload.chunks(size).enumerate().map(cut).collect()
}

/// The frame with a VLAN tag of priority 5 in front of those that it has.
pub fn tagged(frame: &[u8], vid: u16) -> Vec<u8> {
    let control = (5 << 13 | vid).to_be_bytes();
    [&frame[..12], &[0x81, 0], &control, &frame[12..]].concat()
}
