use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::wire::checksum;

const INSIDE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 20), 40_000);
const OUTSIDE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 61_000);
const REMOTE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 53);

/// A whole packet from `source` to `destination`.
fn packet(protocol: Protocol, source: SocketAddrV4, destination: SocketAddrV4, data: &[u8]) -> Vec<u8> {
    let mut payload = match protocol {
        Protocol::ICMP => {
            let header = Header { kind: Type::ECHO_REQUEST, code: 0, checksum: 0, rest: [0, 0, 0, 7] };
            let mut head = vec![0; 8];
            header.write(&mut head).expect("room");
            head[4..6].copy_from_slice(&source.port().to_be_bytes());
            head
        }
        _ => {
            let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()];
            let mut head = ports.concat();
            head.resize(if protocol == Protocol::TCP { 20 } else { 8 }, 0x50);
            head
        }
    };
    payload.extend(data);
    if protocol == Protocol::UDP {
        let len = payload.len() as u16;
        payload[4..6].copy_from_slice(&len.to_be_bytes());
    }
    transport::fill_checksum(*source.ip(), *destination.ip(), protocol, &mut payload).expect("room");
    let mut packet = vec![0; 20];
    let header = ipv4::Header::new(*source.ip(), *destination.ip(), protocol, payload.len() as u16);
    header.write(&mut packet).expect("room");
    packet.extend(payload);
    packet
}

/// An ICMP error that quotes the first octets of `packet`.
fn error_about(packet: &[u8], quoted_len: usize) -> Vec<u8> {
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend(&packet[..quoted_len.min(packet.len())]);
    let sum = checksum::of(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

#[test]
fn parses_captured_messages() {
    let request = [0x08, 0x00, 0x4d, 0x5a, 0x00, 0x01, 0x00, 0x02];
    let header = Header::parse(&request).expect("whole");
    assert_eq!(header.to_string(), "ICMP echo request id 1");
    let too_big = [0x03, 0x04, 0x00, 0x00, 0x00, 0x00, 0x05, 0x78];
    let header = Header::parse(&too_big).expect("whole");
    assert_eq!(header.to_string(), "ICMP destination unreachable code 4");
    assert_eq!(header.next_hop_mtu(), 1400);
    assert_eq!(Header::parse(&too_big[..7]), Err(Malformed::Truncated));
}

#[test]
fn an_echo_reply_of_zeros_has_a_right_checksum() {
    let host = SocketAddrV4::new(*INSIDE.ip(), 0);
    let mut packet = packet(Protocol::ICMP, host, REMOTE, &[0; 8]);
    packet[27] = 0; // the sequence number
    transport::fill_checksum(*host.ip(), *REMOTE.ip(), Protocol::ICMP, &mut packet[20..]).expect("room");
    let header = ipv4::Header::parse(&packet).expect("valid");
    make_echo_reply(&mut packet, &header).expect("an echo request");
    assert_eq!(packet[20..28], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    assert!(checksum::is_valid(&packet[20..]));
}

#[test]
fn a_type_is_an_error_a_query_a_reply_or_none() {
    let errors = [3, 4, 5, 11, 12];
    for number in 0..=255 {
        let kind = Type(number);
        assert_eq!(kind.is_error(), errors.contains(&number));
        assert_eq!(kind.is_query(), [8, 13].contains(&number));
        assert_eq!(kind.is_query_reply(), [0, 14].contains(&number));
    }
}

/// RFC 1122, section 3.2.2.6: An echo reply returns the data.
#[test]
fn rfc1122_3_2_2_6_an_echo_reply_returns_the_data() {
    let mut ping = packet(Protocol::ICMP, INSIDE, REMOTE, b"0123456789");
    let header = ipv4::Header::parse(&ping).expect("valid");
    make_echo_reply(&mut ping, &header).expect("a request");
    let reply = ipv4::Header::parse(&ping).expect("valid");
    assert_eq!((reply.source, reply.destination, reply.ttl), (header.destination, header.source, 64));
    let message = reply.payload(&ping);
    assert!(checksum::is_valid(message));
    let icmp = Header::parse(message).expect("whole");
    assert_eq!((icmp.kind, icmp.identifier()), (Type::ECHO_REPLY, INSIDE.port()));
    assert_eq!(&message[8..], b"0123456789");
    assert_eq!(make_echo_reply(&mut ping, &reply), Err(Malformed::Unsupported));
}

/// RFC 5508, REQ-3b: Embedded options are passed over.
#[test]
fn rfc5508_req3b_embedded_options_are_passed_over() {
    let plain = packet(Protocol::UDP, OUTSIDE, REMOTE, b"data");
    let mut with_options = [&plain[..20], &[1; 8], &plain[20..]].concat();
    with_options[0] = 0x47;
    with_options[3] += 8;
    with_options[10..12].fill(0);
    let sum = checksum::of(&with_options[..28]);
    with_options[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut message = error_about(&with_options, 28 + 8);
    let embedded = Embedded::parse(&message).expect("valid");
    assert_eq!((embedded.source, embedded.destination), (OUTSIDE, REMOTE));
    embedded.rewrite(&mut message, INSIDE, REMOTE).expect("valid");
    assert_eq!(Embedded::parse(&message).map(|embedded| embedded.source), Ok(INSIDE));
    assert!(checksum::is_valid(&message));
}

/// RFC 5508, REQ-3a: An embedded header with a wrong checksum is refused.
#[test]
fn rfc5508_req3a_an_embedded_header_with_a_wrong_checksum_is_refused() {
    let mut quoted = packet(Protocol::UDP, OUTSIDE, REMOTE, b"");
    quoted[8] ^= 1;
    assert_eq!(Embedded::parse(&error_about(&quoted, 28)), Err(Malformed::Checksum));
}

/// RFC 5508, REQ-3d: An error about an error is refused.
#[test]
fn rfc5508_req3d_an_error_about_an_error_is_refused() {
    let inner = error_about(&packet(Protocol::UDP, OUTSIDE, REMOTE, b""), 28);
    let mut quoted = vec![0; 20];
    let header = ipv4::Header::new(*OUTSIDE.ip(), *REMOTE.ip(), Protocol::ICMP, inner.len() as u16);
    header.write(&mut quoted).expect("room");
    quoted.extend(inner);
    assert_eq!(Embedded::parse(&error_about(&quoted, 60)), Err(Malformed::Unsupported));
}

#[test]
fn a_later_fragment_quoted_has_no_ports() {
    let mut quoted = packet(Protocol::UDP, OUTSIDE, REMOTE, &[0; 8]);
    let header = ipv4::Header { fragment_offset: 8, ..ipv4::Header::parse(&quoted).expect("valid") };
    header.write(&mut quoted).expect("room");
    assert_eq!(Embedded::parse(&error_about(&quoted, 36)), Err(Malformed::Unsupported));
}

#[test]
fn too_little_quoted_is_refused() {
    let quoted = packet(Protocol::TCP, OUTSIDE, REMOTE, b"");
    for len in 0..28 {
        assert_eq!(Embedded::parse(&error_about(&quoted, len)), Err(Malformed::Truncated), "{len}");
    }
    assert!(Embedded::parse(&error_about(&quoted, 28)).is_ok());
}

/// RFC 768: An embedded datagram without a checksum stays without.
#[test]
fn rfc768_an_embedded_datagram_without_a_checksum_stays_without() {
    let mut quoted = packet(Protocol::UDP, OUTSIDE, REMOTE, b"data");
    quoted[26..28].fill(0);
    let mut message = error_about(&quoted, 32);
    let embedded = Embedded::parse(&message).expect("valid");
    embedded.rewrite(&mut message, INSIDE, REMOTE).expect("valid");
    assert_eq!(message[8 + 26..8 + 28], [0, 0]);
    assert!(checksum::is_valid(&message));
}

proptest! {
    /// RFC 5508, REQ-4: A rewritten error is the error about the rewritten packet.
    #[test]
    fn rfc5508_req4_a_rewritten_error_is_the_error_about_the_rewritten_packet(
        protocol in prop::sample::select(vec![Protocol::TCP, Protocol::UDP, Protocol::ICMP]),
        ports: [u16; 2],
        address: u32,
        data: Vec<u8>,
        quoted_len in (14usize..100).prop_map(|words| words * 2),
    ) {
        let new = SocketAddrV4::new(address.into(), ports[0]);
        let old = SocketAddrV4::new(*OUTSIDE.ip(), ports[1]);
        let remote = if protocol == Protocol::ICMP { SocketAddrV4::new(*REMOTE.ip(), 0) } else { REMOTE };
        let mut message = error_about(&packet(protocol, old, remote, &data), quoted_len);
        let embedded = Embedded::parse(&message).expect("valid");
        prop_assert_eq!((embedded.source, embedded.destination), (old, remote));
        embedded.rewrite(&mut message, new, remote).expect("valid");
        prop_assert_eq!(message, error_about(&packet(protocol, new, remote, &data), quoted_len));
    }

    #[test]
    fn setters_keep_the_checksum_right(identifier: u16, data: Vec<u8>) {
        let mut ping = packet(Protocol::ICMP, INSIDE, REMOTE, &data);
        let message = &mut ping[20..];
        let mut view = HeaderMut::new(message).expect("room");
        view.set_identifier(identifier);
        view.set_kind(Type::TIMESTAMP);
        prop_assert!(checksum::is_valid(message));
        let header = Header::parse(message).expect("whole");
        prop_assert_eq!((header.kind, header.identifier()), (Type::TIMESTAMP, identifier));
    }

    #[test]
    fn writing_is_the_inverse_of_parsing(bytes: [u8; 8]) {
        let mut written = [0; 8];
        Header::parse(&bytes).expect("whole").write(&mut written).expect("room");
        prop_assert_eq!(written, bytes);
    }

    #[test]
    fn any_bytes_parse_or_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(embedded) = Embedded::parse(&bytes) {
            embedded.rewrite(&mut bytes, INSIDE, REMOTE).expect("it was parsed");
        }
        let _ = Header::parse(&bytes).map(|header| header.to_string());
    }
}
