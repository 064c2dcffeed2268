//! What the checkers' tests share: packets by hand.

use std::net::Ipv4Addr;

use gatepost::config::Config;
use gatepost_dataplane::config::Segment;
use gatepost_dataplane::{Instant, MacAddr};

use super::{Passage, Way};
use crate::packet::{Content, Ipv4, Packet, Transport};

/// The default configuration: the LAN is 192.168.1.0/24, the mode `nat-dmz`.
pub fn config() -> Config {
    Config::default()
}

pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

pub fn packet(source: &str, destination: &str, transport: Transport) -> Packet {
    Packet {
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        content: Content::Ipv4(Ipv4 { source: ip(source), destination: ip(destination), ttl: 63, transport }),
    }
}

pub fn tcp(source_port: u16, destination_port: u16) -> Transport {
    Transport::Tcp { source_port, destination_port, is_opening: false, is_reset: false, checksum_ok: true }
}

pub fn udp(source_port: u16, destination_port: u16, payload: Vec<u8>) -> Transport {
    Transport::Udp { source_port, destination_port, payload, checksum_ok: true }
}

pub fn passage(secs: u64, way: Way, side: Segment, packet: &Packet) -> Passage<'_> {
    Passage { now: Instant::from_secs(secs), way, side, packet }
}
