//! BOOTP clients.

use super::*;
use crate::test_log::Log;

const PRINTER: u8 = 9;

fn office() -> Office {
    let parameters = Parameters {
        options: BTreeMap::from([(66, b"tftp.example".to_vec()), (67, b"boot".to_vec()), (128, vec![7; 60])]),
        next_server: Some(host(4)),
    };
    let reserved = Reservation { parameters, ..reservation(ReservedFor::Mac(pc(PRINTER)), host(200)) };
    Office::new(Config { reservations: vec![reserved], ..config() })
}

/// The request of a BOOTP client, as octets.
fn bootp(mac: MacAddr, vendor_area: &[u8]) -> Vec<u8> {
    let mut bytes = message::encode(&discover(mac));
    bytes.truncate(236);
    bytes.extend_from_slice(vendor_area);
    bytes.resize(300, 0);
    bytes
}

/// RFC 951, section 3: A BOOTP client gets its reserved address, its boot file and no options of DHCP's own.
#[test]
fn rfc951_3_a_bootp_client_gets_its_reserved_address_for_good() {
    for vendor_area in [&[99, 130, 83, 99, 255][..], &[0; 64], &[1, 2, 3, 4, 5]] {
        let mut office = office();
        let request = message::decode(&bootp(pc(PRINTER), vendor_area)).expect("a request");
        let reply = office.hear(&request).expect("an answer");
        assert_eq!(reply.message.yiaddr(), host(200));
        assert_eq!((reply.message.siaddr(), reply.message.fname()), (host(4), Some(&b"boot"[..])));
        assert_eq!(reply.destination.address, SocketAddrV4::new(host(200), CLIENT_PORT));
        assert_eq!(reply.destination.mac, pc(PRINTER));
        let sent = reply.layout.encode(&reply.message);
        assert_eq!(sent.len(), 300, "RFC 1542, section 2.1");
        let told: Vec<u8> = reply.message.opts().iter().map(|(code, _)| (*code).into()).collect();
        for code in [1, 3, 6, 12] {
            assert!(told.contains(&code), "{code}: {told:?}");
        }
        for code in [51, 52, 53, 54, 58, 59, 128] {
            assert!(!told.contains(&code), "{code}: {told:?}");
        }
        assert!(office.leases.borrow().at(host(200)).is_none(), "nothing is written");
    }
}

/// RFC 1534, section 2: A BOOTP client without a reservation gets no answer.
#[test]
fn rfc1534_2_a_bootp_client_without_a_reservation_gets_no_answer() {
    let mut office = office();
    let request = message::decode(&bootp(pc(8), &[99, 130, 83, 99, 255])).expect("a request");
    let (lines, answers) = Log::of(|| [(); 3].map(|()| office.hear(&request)));
    assert_eq!(answers, [None, None, None]);
    assert_eq!(lines.iter().filter(|line| line.contains("BOOTP client")).count(), 1);
}

/// RFC 951, section 7.3: A request for another server is ignored.
#[test]
fn rfc951_7_3_a_request_for_another_server_is_ignored() {
    let mut bytes = bootp(pc(PRINTER), &[99, 130, 83, 99, 255]);
    bytes[44..49].copy_from_slice(b"other");
    assert_eq!(office().hear(&message::decode(&bytes).expect("a request")), None);
}
