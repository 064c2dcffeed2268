//! The office that the DNS targets ask for.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use gatepost_services::dns::{Config, LocalNames, RecordValue, StaticRecord};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData};

/// Somebody who may ask anything.
pub const LAN_CLIENT: SocketAddrV4 = SocketAddrV4::new(PC1, 40_000);
/// Somebody who may ask for the office's names.
pub const WAN_CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 40_000);
/// Names that only upstream servers know, each with the type and class that are asked for.
pub const QUESTIONS: [&[u8]; 3] = [
    b"\x03www\x07example\x03net\0\0\x01\0\x01",
    b"\x07example\x03net\0\0\x0f\0\x01",
    b"\x017\x03100\x0251\x03198\x07in-addr\x04arpa\0\0\x0c\0\x01",
];

const PC1: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const ZONE: &str = "office.example.";

/// `office.example` at 192.168.1.1/24, with one host and two static names.
pub fn office() -> Config {
    let lan = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 1), 24);
    let upstream = |n| SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, n), 53).into();
    let record = |name: &str, value| StaticRecord { name: name.to_owned(), value };
    Config {
        wan: vec![Ipv4Addr::new(203, 0, 113, 10).into()],
        records: vec![
            record("nas", RecordValue::Address(Ipv4Addr::new(192, 168, 1, 40).into())),
            record("shop", RecordValue::Alias("www.example.net.".to_owned())),
        ],
        upstreams: vec![upstream(53), upstream(54)],
        mixed_case: true,
        ..Config::new("office.example", "gatepost", lan)
    }
}

/// The one host, `pc1`.
pub struct Leases;

impl LocalNames for Leases {
    fn addresses(&self, label: &str) -> Vec<IpAddr> {
        if label == "pc1" { vec![PC1.into()] } else { Vec::new() }
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        (address == PC1).then(|| "pc1".to_owned())
    }
}

/// The octets of the question that `bytes` begin with, a name without pointers.
pub fn question_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(label) = bytes.get(len).filter(|label| **label != 0) {
        len += 1 + usize::from(*label);
    }
    (len + 5).min(bytes.len())
}

/// The addresses that a response gives to names outside of the office.
pub fn foreign_addresses(response: &[u8]) -> Vec<Ipv4Addr> {
    let zone = Name::from_ascii(ZONE).expect("a name");
    let message = Message::from_vec(response).expect("a response of ours parses");
    let foreign = message.answers.iter().filter(|record| !zone.zone_of(&record.name));
    foreign
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .collect()
}
