//! What clients are told.

use super::*;
use crate::dhcp::message::{FILE, SNAME};
use crate::dhcp::options::{BOOT_FILE, TFTP_SERVER_NAME, TFTP_SERVERS, VENDOR_CLASS, VENDOR_SPECIFIC};

const TFTP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 9);

fn told(options: &[(u8, &[u8])]) -> Parameters {
    let options = options.iter().map(|(code, content)| (*code, content.to_vec()));
    Parameters { options: options.collect(), next_server: None }
}

fn of_class(text: &str, parameters: Parameters) -> Match {
    let class = Pattern { text: text.to_owned(), is_prefix: true };
    Match { criteria: Criteria { vendor_class: Some(class), ..Criteria::default() }, parameters }
}

/// A client of vendor class `class` that asks for `codes`.
fn asking(mac: MacAddr, class: &str, codes: &[u8]) -> Message {
    let asked = codes.iter().copied().map(OptionCode::from).collect();
    let message = with(discover(mac), DhcpOption::ParameterRequestList(asked));
    with(message, message::raw(VENDOR_CLASS.into(), class.as_bytes().to_vec()))
}

/// The message as it is sent, and as it is read again.
fn sent(office: &mut Office, message: &Message) -> (Vec<u8>, Message) {
    let reply = office.hear(message).unwrap();
    let frame = reply.to_frame(MacAddr([2, 0, 0, 0, 1, 1])).unwrap();
    let payload = crate::dhcp::frame::Datagram::parse(&frame).unwrap().payload.to_vec();
    let read = message::decode(&payload).unwrap();
    (payload, read)
}

fn option(message: &Message, code: u8) -> Option<&[u8]> {
    message::raw_option(message, code.into())
}

#[test]
fn the_reservation_counts_before_the_match_and_that_before_the_general_and_the_automatic() {
    let mut reserved = reservation(ReservedFor::Mac(pc(1)), host(20));
    reserved.parameters = told(&[(150, b"r")]);
    let mut office = Office::new(Config {
        parameters: told(&[(150, b"g"), (43, b"g"), (224, b"g"), (15, b"g.example")]),
        matches: vec![
            of_class("Phone", told(&[(150, b"m"), (43, b"m")])),
            of_class("Pho", told(&[(43, b"n"), (225, b"n")])),
        ],
        reservations: vec![reserved],
        ..config()
    });
    let mut told_of = |mac, class| {
        let (_, told) = sent(&mut office, &asking(mac, class, &[150, 43, 224, 225]));
        [150, 43, 224, 225].map(|code| option(&told, code).map(<[u8]>::to_vec))
    };
    let texts = |texts: [&str; 4]| texts.map(|it| (!it.is_empty()).then(|| it.as_bytes().to_vec()));
    assert_eq!(told_of(pc(1), "Phone 7"), texts(["r", "m", "g", "n"]));
    assert_eq!(told_of(pc(2), "Phone 7"), texts(["m", "m", "g", "n"]));
    assert_eq!(told_of(pc(2), "Phony"), texts(["g", "n", "g", "n"]));
    assert_eq!(told_of(pc(2), "PC"), texts(["g", "g", "g", ""]));
    let (_, told) = sent(&mut office, &asking(pc(2), "PC", &[15]));
    assert_eq!(
        message::text_option(&told, OptionCode::DomainName),
        Some("g.example"),
        "not the automatic one"
    );
}

#[test]
fn an_empty_option_is_not_told_at_all() {
    let mut office = Office::new(Config {
        parameters: told(&[(6, &[192, 168, 1, 51]), (3, &[])]),
        matches: vec![of_class("Camera", told(&[(6, &[]), (42, &[])]))],
        ..config()
    });
    let mut codes = |class| {
        let (_, told) = sent(&mut office, &asking(pc(1), class, &[3, 6, 42]));
        [3, 6, 42].map(|code| told.opts().contains(OptionCode::from(code)))
    };
    assert_eq!(codes("PC"), [false, true, true]);
    assert_eq!(codes("Camera"), [false, false, false]);
}

/// RFC 2132, section 9.8: The client's order is kept, and what is set for it in particular comes behind that.
#[test]
fn rfc2132_9_8_the_clients_order_is_kept() {
    let mut office = Office::new(Config {
        parameters: told(&[(150, &[1; 4]), (100, b"CET")]),
        matches: vec![of_class("ubnt", told(&[(43, &[1, 4, 192, 168, 1, 9])]))],
        ..config()
    });
    let mut order = |message: &Message| {
        let reply = office.hear(message).unwrap();
        let codes = reply.layout.order.iter().copied();
        codes.filter(|code| reply.message.opts().contains(OptionCode::from(*code))).collect::<Vec<_>>()
    };
    assert_eq!(
        order(&asking(pc(1), "ubnt", &[150, 15, 6, 3, 1])),
        [53, 54, 51, 58, 59, 150, 15, 6, 1, 3, 43]
    );
    assert_eq!(order(&asking(pc(1), "PC", &[1, 3, 43])), [53, 54, 51, 58, 59, 1, 3]);
    assert_eq!(order(&discover(pc(1))), [53, 54, 51, 58, 59, 1, 3, 6, 15, 100, 150]);
}

/// RFC 2132, section 3.3: The mask comes before the router, in whatever order they are requested.
#[test]
fn rfc2132_3_3_the_mask_comes_before_the_router() {
    // In options of more octets than a message of 576 has.
    let parameters = told(&[(43, &[0; 140]), (60, &[0; 140])]);
    let mut office = Office::new(Config { parameters, ..config() });
    for codes in [&[3, 1][..], &[3], &[6, 3, 15], &[43, 60, 3, 1]] {
        let (octets, message) = sent(&mut office, &asking(pc(1), "PC", codes));
        assert_eq!(message::addresses_option(&message, OptionCode::Router), [SERVER]);
        let place = |option: &[u8]| octets.windows(option.len()).rposition(|window| window == option);
        let mask = place(&[1, 4, 255, 255, 255, 0]).unwrap();
        let router = place(&[3, 4, 192, 168, 1, 1]).unwrap();
        assert!(router < message::HEADER_LEN || mask < router, "{codes:?}");
        assert!(mask > message::HEADER_LEN, "read before the other fields");
    }
}

/// RFC 2131, section 2: Boot loaders read where they boot from in the fields before the options.
#[test]
fn rfc2131_2_boot_loaders_read_where_they_boot_from_in_the_fields() {
    let boot = Parameters { next_server: Some(TFTP), ..told(&[(BOOT_FILE, b"pxelinux.0")]) };
    let none = Parameters { next_server: Some(Ipv4Addr::UNSPECIFIED), ..told(&[(BOOT_FILE, b"")]) };
    let matches = vec![of_class("Old", told(&[(TFTP_SERVER_NAME, b"boot")])), of_class("Camera", none)];
    let mut office = Office::new(Config { parameters: boot, matches, ..config() });

    let (bytes, told) = sent(&mut office, &asking(pc(1), "PXEClient:Arch:00000:UNDI:002001", &[1, 3]));
    assert_eq!(told.siaddr(), TFTP);
    assert!(bytes[FILE].starts_with(b"pxelinux.0\0") && bytes[SNAME] == [0; 64]);
    assert_eq!((option(&told, 66), option(&told, 67)), (None, None), "not asked for");

    let (bytes, told) = sent(&mut office, &asking(pc(1), "PXEClient", &[66, 67]));
    assert!(bytes[FILE].starts_with(b"pxelinux.0\0"));
    assert_eq!((option(&told, 66), option(&told, 67)), (Some(&b"192.168.1.9"[..]), Some(&b"pxelinux.0"[..])));

    let (bytes, told) = sent(&mut office, &asking(pc(1), "Old", &[1]));
    assert!(bytes[SNAME].starts_with(b"boot\0"));
    assert_eq!((told.siaddr(), option(&told, 66)), (TFTP, Some(&b"boot"[..])));

    let (bytes, told) = sent(&mut office, &asking(pc(1), "Camera", &[66, 67]));
    assert_eq!((told.siaddr(), option(&told, 66), option(&told, 67)), (Ipv4Addr::UNSPECIFIED, None, None));
    assert_eq!(bytes[FILE], [0; 128]);

    let nak = office.nak(&reboot(pc(1), Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!((nak.message.siaddr(), nak.message.fname()), (Ipv4Addr::UNSPECIFIED, None));
}

/// UEFI 2.10, section 24.7: HTTP boot is offered to clients of HTTP boot, under their class.
#[test]
fn http_boot_is_offered_under_its_class_and_a_long_url_stands_in_option_67() {
    let url = |len| format!("http://192.168.1.9/{}", "x".repeat(len));
    for (len, is_long) in [(10, false), (108, false), (109, true), (230, true)] {
        let boot = told(&[(BOOT_FILE, url(len).as_bytes())]);
        let mut office = Office::new(Config { matches: vec![of_class("HTTPClient", boot)], ..config() });
        let uuid = message::raw(OptionCode::ClientMachineIdentifier, vec![0; 17]);
        let asks = with(asking(pc(1), "HTTPClient:Arch:00016:UNDI:003001", &[1]), uuid.clone());
        let (bytes, told) = sent(&mut office, &asks);
        assert_eq!(option(&told, VENDOR_CLASS), Some(&b"HTTPClient"[..]));
        assert_eq!(option(&told, BOOT_FILE), Some(url(len).as_bytes()));
        assert_eq!(told.opts().get(OptionCode::ClientMachineIdentifier), Some(&uuid));
        assert_eq!(bytes[FILE] == [0; 128], is_long, "{len}");
        let (_, told) = sent(&mut office, &asking(pc(1), "PXEClient", &[60, 67]));
        assert_eq!((option(&told, VENDOR_CLASS), option(&told, BOOT_FILE)), (None, None));
    }
}

/// RFC 2131, section 4.3.5: INFORM brings the same parameters without a lease.
#[test]
fn rfc2131_4_3_5_inform_brings_the_same_parameters() {
    let mut office = Office::new(Config { parameters: told(&[(252, b"\n")]), ..config() });
    let asked = vec![OptionCode::from(252), OptionCode::AddressLeaseTime];
    let mut message = with(ask(MessageType::Inform, pc(1)), DhcpOption::ParameterRequestList(asked));
    message.set_ciaddr(host(77));
    let reply = office.hear(&message).unwrap();
    assert_eq!(option(&reply.message, 252), Some(&b"\n"[..]));
    assert_eq!(message::secs_option(&reply.message, OptionCode::AddressLeaseTime), None);
    assert!(reply.message.yiaddr().is_unspecified());
}

/// RFC 2132, section 9.10: What a client takes no room for is left out, the least wanted first.
#[test]
fn rfc2132_9_10_the_least_wanted_is_left_out_first() {
    let long = [7; 120];
    let codes: Vec<u8> = (224..232).collect();
    let options: Vec<(u8, &[u8])> = codes.iter().map(|code| (*code, &long[..])).collect();
    let mut office = Office::new(Config { parameters: told(&options), ..config() });
    let wanted = [231, 1, 230, 3, 229, 228, 227, 6];
    let mut codes_of = |message: &Message| {
        let (bytes, told) = sent(&mut office, message);
        let there = wanted
            .into_iter()
            .filter(|code| told.opts().contains(OptionCode::from(*code)))
            .collect::<Vec<_>>();
        (bytes.len(), there)
    };
    let (len, told) = codes_of(&asking(pc(1), "PC", &wanted));
    assert!(len <= 548);
    assert_eq!(told, [231, 1, 230, 3, 229, 6], "two in the options and one in the field for the file");
    let large = DhcpOption::MaxMessageSize(1400);
    let (len, told) = codes_of(&with(asking(pc(1), "PC", &wanted), large));
    assert!(548 < len && len <= 1372);
    assert_eq!(told, wanted);
    let tiny = DhcpOption::MaxMessageSize(1);
    assert_eq!(codes_of(&with(asking(pc(1), "PC", &wanted), tiny)).1.len(), 6, "576 octets in any case");
}

/// RFC 3396, section 6: An option of more than 255 octets is split.
#[test]
fn rfc3396_an_option_of_more_than_255_octets_is_told_in_parts() {
    let content: Vec<u8> = (0..=255).chain(0..44).collect();
    let servers = [192, 168, 1, 9].repeat(70);
    let parameters = told(&[(VENDOR_SPECIFIC, &content), (TFTP_SERVERS, &servers)]);
    let mut office = Office::new(Config { parameters, ..config() });
    let asks = with(asking(pc(1), "AP", &[43, 150]), DhcpOption::MaxMessageSize(1500));
    let (_, told) = sent(&mut office, &asks);
    assert_eq!(option(&told, VENDOR_SPECIFIC), Some(&content[..]));
    assert_eq!(option(&told, TFTP_SERVERS), Some(&servers[..]));
}
