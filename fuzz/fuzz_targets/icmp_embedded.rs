//! Any ICMP message through the parser and the rewriting of the packet that it quotes.

#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use gatepost_fuzz::repair_packet;
use libfuzzer_sys::fuzz_target;
use gatepost_ground::wire::icmpv4::{Embedded, Header, Type};
use gatepost_ground::wire::{checksum, ipv4};

fuzz_target!(|message: &[u8]| {
    check(message);
    check(&repaired(message));
});

fn check(message: &[u8]) {
    let Ok(quoted) = Embedded::parse(message) else { return };
    check_ports(&quoted, &message[Header::LEN..]);
    let (source, destination) = (other(quoted.source, 1), other(quoted.destination, 2));
    let mut rewritten = message.to_vec();
    quoted.rewrite(&mut rewritten, source, destination).expect("it is the message that was parsed");
    let changed = Embedded::parse(&rewritten).expect("a rewritten message parses");
    assert_eq!((changed.source, changed.destination), (source, destination));
    assert_eq!(
        changed.header,
        ipv4::Header { source: *source.ip(), destination: *destination.ip(), ..quoted.header }
    );
    if checksum::is_valid(message) {
        assert!(checksum::is_valid(&rewritten));
    }

    // The way back leads to the same packet; a checksum may have become its other zero.
    changed.rewrite(&mut rewritten, quoted.source, quoted.destination).expect("it is the same message");
    let again = Embedded::parse(&rewritten).expect("a rewritten message parses");
    assert_eq!((again.source, again.destination), (quoted.source, quoted.destination));
}

/// Compares the addresses and ports that were read with those that etherparse reads.
fn check_ports(quoted: &Embedded, packet: &[u8]) {
    let theirs = LaxSlicedPacket::from_ip(packet).expect("etherparse takes what we take");
    let Some(LaxNetSlice::Ipv4(ip)) = &theirs.net else { panic!("etherparse finds no IPv4") };
    assert_eq!(*quoted.source.ip(), ip.header().source_addr());
    assert_eq!(*quoted.destination.ip(), ip.header().destination_addr());
    let ports = match &theirs.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Icmpv4(icmp)) => {
            let [high, low, ..] = icmp.bytes5to8();
            let identifier = u16::from_be_bytes([high, low]);
            if Type(icmp.type_u8()).is_query() { (identifier, 0) } else { (0, identifier) }
        }
        _ => return, // It is cut too short for etherparse.
    };
    assert_eq!((quoted.source.port(), quoted.destination.port()), ports);
}

/// Another address, and another port or identifier where there is one.
fn other(endpoint: SocketAddrV4, n: u8) -> SocketAddrV4 {
    let port = if endpoint.port() == 0 { 0 } else { 0xfff0 | u16::from(n) };
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, n), port)
}

/// The message with right checksums: its own, and the quoted packet's.
fn repaired(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(quoted) = message.get_mut(Header::LEN..) {
        repair_packet(quoted);
        message[2..4].fill(0);
        let sum = checksum::of(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}
