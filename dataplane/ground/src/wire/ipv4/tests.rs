use proptest::prelude::*;

use super::*;

/// An echo request, 84 octets in all; only the first of its data are here.
const PING: [u8; 28] = [
    0x45, 0x00, 0x00, 0x54, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x01, 0x9a, 0xfd, 0xc0, 0xa8, 0x01, 0x14, 0xc0,
    0xa8, 0x01, 0x01, 0x08, 0x00, 0x4d, 0x5a, 0x00, 0x01, 0x00, 0x02,
];

/// `PING`, whole, with options before its payload.
fn with_options(options: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let mut packet = [&PING[..20], options, &PING[20..]].concat();
    packet[0] += (options.len() / 4) as u8;
    packet[3] = packet.len() as u8;
    with_checksum(packet)
}

fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let header_len = usize::from(packet[0] & 0xf) * 4;
    packet[10..12].fill(0);
    let checksum = checksum::of(&packet[..header_len]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

#[test]
fn parses_a_captured_packet() {
    assert_eq!(Header::parse(&PING), Err(Malformed::Truncated));
    let header = Header::parse_embedded(&PING).expect("the header is whole");
    assert_eq!(header.to_string(), "192.168.1.20 > 192.168.1.1 ICMP ttl 64 length 84");
    assert_eq!((header.id, header.dont_fragment, header.is_fragment()), (0x1c46, true, false));
    assert_eq!(header.payload(&PING), &PING[20..]);
    assert_eq!(header.payload_len(), 64);
}

#[test]
fn the_payload_ends_before_the_frames_padding() {
    let mut packet = with_options(&[]);
    packet.extend([0; 18]);
    let header = Header::parse(&packet).expect("valid");
    assert_eq!(header.payload(&packet), &PING[20..]);
    assert_eq!(header.payload_mut(&mut packet).len(), 8);
    assert_eq!(header.payload(&[]), []);
}

#[test]
fn what_cannot_be_is_refused() {
    let valid = with_options(&[]);
    let broken = |at: usize, value: u8| {
        let mut packet = valid.clone();
        packet[at] = value;
        Header::parse(&with_checksum(packet))
    };
    assert_eq!(Header::parse(&valid[..19]), Err(Malformed::Truncated));
    assert_eq!(broken(0, 0x65), Err(Malformed::Unsupported));
    assert_eq!(broken(0, 0x44), Err(Malformed::Length));
    assert_eq!(broken(3, 19), Err(Malformed::Length));
    assert_eq!(broken(3, 29), Err(Malformed::Truncated));
    assert_eq!(broken(7, 1).map(|header| header.fragment_offset), Ok(8));
    // Ends beyond the largest packet, and a first fragment of 7 octets.
    let mut beyond = valid.clone();
    beyond[6..8].copy_from_slice(&[0x1f, 0xff]);
    assert_eq!(Header::parse(&with_checksum(beyond)), Err(Malformed::Length));
    let mut ragged = valid.clone();
    ragged[3] = 27;
    ragged[6] = 0x20;
    assert_eq!(Header::parse(&with_checksum(ragged)), Err(Malformed::Length));
}

/// RFC 1812, section 5.2.2: A wrong checksum is an error of its own.
#[test]
fn rfc1812_5_2_2_a_wrong_checksum_is_told_apart() {
    let mut packet = with_options(&[]);
    packet[8] ^= 1;
    assert_eq!(Header::parse(&packet), Err(Malformed::Checksum));
}

#[test]
fn source_routes_are_found() {
    let record_route = [1, 7, 7, 4, 0, 0, 0, 0];
    assert_eq!(Header::parse(&with_options(&record_route)).map(|header| header.source_routed), Ok(false));
    for kind in SOURCE_ROUTES {
        let options = [1, kind, 7, 4, 10, 0, 0, 1, 148, 4, 0, 0];
        let packet = with_options(&options);
        let header = Header::parse(&packet).expect("valid");
        assert!(header.source_routed && is_option_copied(kind));
        assert_eq!(header.options(&packet), options);
    }
    // The octets after the end of the options are padding.
    assert!(!Header::parse(&with_options(&[0, 131, 3, 4])).expect("valid").source_routed);
}

#[test]
fn options_that_do_not_add_up_are_refused() {
    for options in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 0, 0], [1, 1, 1, 7]] {
        assert_eq!(Header::parse(&with_options(&options)), Err(Malformed::Options), "{options:?}");
    }
}

#[test]
fn a_ttl_of_zero_stays() {
    let mut packet = with_options(&[]);
    packet[8] = 1;
    let mut packet = with_checksum(packet);
    for _ in 0..2 {
        HeaderMut::new(&mut packet).expect("room").decrement_ttl();
        assert_eq!(Header::parse(&packet).map(|header| header.ttl), Ok(0));
    }
}

/// RFC 6890, section 2.2.2: Special-purpose addresses are recognised.
#[test]
fn rfc6890_kinds_of_addresses() {
    let kind = |text: &str| AddressKind::of(text.parse().expect("an address"));
    for (text, expected) in [
        ("0.0.0.0", AddressKind::Unspecified),
        ("0.0.0.1", AddressKind::ThisNetwork),
        ("127.0.0.1", AddressKind::Loopback),
        ("169.254.1.1", AddressKind::LinkLocal),
        ("224.0.0.1", AddressKind::Multicast),
        ("239.255.255.255", AddressKind::Multicast),
        ("240.0.0.1", AddressKind::Reserved),
        ("255.255.255.254", AddressKind::Reserved),
        ("255.255.255.255", AddressKind::LimitedBroadcast),
        ("192.168.1.1", AddressKind::Unicast),
        ("126.255.255.255", AddressKind::Unicast),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

/// RFC 1812, section 5.3.7: Martians.
#[test]
fn rfc1812_5_3_7_martians() {
    use AddressKind::*;
    let sources = [Unspecified, ThisNetwork, Loopback, Multicast, Reserved, LimitedBroadcast];
    assert!(sources.iter().all(|kind| !kind.may_be_source()));
    assert!([Unspecified, ThisNetwork, Loopback, Reserved].iter().all(|kind| !kind.may_be_destination()));
    assert!(Unicast.may_be_source() && Unicast.may_be_destination() && Unicast.may_be_forwarded());
    assert!(LinkLocal.may_be_source() && !LinkLocal.may_be_forwarded());
}

fn headers() -> impl Strategy<Value = Header> {
    (any::<[u32; 2]>(), any::<[u8; 3]>(), any::<[u16; 2]>(), any::<bool>(), 0u16..1000, any::<bool>())
        .prop_map(
            |([source, destination], [protocol, ttl, class], [id, len], dont_fragment, offset, more)| {
                let len = (len % 1480) | 8;
                let len = if more { len & !7 } else { len };
                Header {
                    ttl,
                    id,
                    ds_field: class,
                    dont_fragment,
                    more_fragments: more,
                    fragment_offset: offset * 8,
                    ..Header::new(source.into(), destination.into(), Protocol(protocol), len)
                }
            },
        )
}

proptest! {
    #[test]
    fn parsing_is_the_inverse_of_writing(header in headers()) {
        let mut packet = vec![0; usize::from(header.total_len)];
        header.write(&mut packet).expect("room");
        prop_assert_eq!(Header::parse(&packet), Ok(header));
    }

    #[test]
    fn setters_keep_the_checksum_right(header in headers(), addresses: [u32; 2], id: u16) {
        let [source, destination] = addresses.map(Ipv4Addr::from);
        let mut packet = vec![0; usize::from(header.total_len)];
        header.write(&mut packet).expect("room");
        let mut view = HeaderMut::new(&mut packet).expect("room");
        view.decrement_ttl();
        view.set_source(source);
        view.set_destination(destination);
        view.set_id(id);
        let expected = Header { source, destination, id, ttl: header.ttl.saturating_sub(1), ..header };
        prop_assert_eq!(Header::parse(&packet), Ok(expected));
    }

    #[test]
    fn any_bytes_parse_or_are_refused(mut bytes: Vec<u8>, first in 0x40u8..0x50) {
        let _ = Header::parse(&bytes);
        if let Some(octet) = bytes.first_mut() {
            *octet = first;
        }
        if let Ok(header) = Header::parse_embedded(&bytes) {
            let _ = (header.payload(&bytes), header.to_string());
        }
        let _ = Options::new(&bytes).count();
    }

    #[test]
    fn agrees_with_etherparse(header in headers(), options in prop::collection::vec(Just(1u8), 0..40)) {
        let options = &options[..options.len() & !3];
        let mut reference = etherparse::Ipv4Header::new(
            header.payload_len(),
            header.ttl,
            etherparse::IpNumber(header.protocol.0),
            header.source.octets(),
            header.destination.octets(),
        ).expect("small");
        reference.options = options.try_into().expect("whole words");
        reference.total_len += options.len() as u16;
        reference.identification = header.id;
        reference.dont_fragment = header.dont_fragment;
        reference.more_fragments = header.more_fragments;
        reference.fragment_offset = (header.fragment_offset / 8).try_into().expect("13 bits");
        reference.dscp = (header.ds_field >> 2).try_into().expect("6 bits");
        reference.ecn = (header.ds_field & 3).try_into().expect("2 bits");
        reference.header_checksum = reference.calc_header_checksum();
        let header_len = Header::LEN_MIN + options.len();
        let expected = Header {
            header_len: header_len as u8,
            total_len: header.total_len + options.len() as u16,
            ..header
        };
        prop_assert_eq!(Header::parse_embedded(&reference.to_bytes()), Ok(expected));
    }
}
