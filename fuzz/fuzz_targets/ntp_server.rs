//! Datagrams from many sources to the time server: it never panics, answers nothing but requests, with no more octets than
//! it was sent, and each answer belongs to its request.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatepost_fuzz::Input;
use gatepost_ground::Instant;
use gatepost_services::clock::{Discipline, LeapSecond, UnixTime, WallTime};
use gatepost_services::ntp::codec::{Header, Mode};
use gatepost_services::ntp::server::{Arrival, Server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let local_stratum = input.u8() % 16;
    let mut now = Instant::from_secs(1);
    let mut server = Server::new(now);
    while !input.is_empty() {
        let (kind, source) = (input.u8(), input.u8());
        now = now + Duration::from_micros(input.micros());
        let time = WallTime { secs: UnixTime(input.micros() << (kind & 0x3f)), nanos: u32::from(input.u16()) * 15_000 };
        let discipline = Discipline {
            is_synchronised: kind & 0x40 != 0,
            error_max: Duration::from_micros(input.micros()),
            error_estimate: Duration::from_micros(u64::from(kind)),
            leap: (kind & 0x80 != 0).then_some(LeapSecond::Inserted),
            precision: Duration::from_micros(input.micros()),
            source: None,
        };
        let datagram = input.chunk();
        let (source, is_inside) = (IpAddr::V4(Ipv4Addr::new(192, 168, 1, source)), source & 1 == 0);
        let arrival = Arrival { now, time, discipline, source, is_inside, datagram };
        let read = Header::parse(datagram);
        if let Some(header) = &read {
            assert_eq!(header.to_octets()[..], datagram[..48], "a header is printed as it was read");
        }
        let Some(reply) = server.handle(local_stratum, &arrival) else { continue };
        let request = read.expect("nothing but a packet is answered");
        let octets = reply.octets_at(now);
        assert!(octets.len() <= datagram.len(), "an answer is longer than its request");
        let answer = Header::parse(&octets).expect("an answer of ours parses");
        let modes = [(Mode::Client, Mode::Server), (Mode::SymmetricActive, Mode::SymmetricPassive)];
        assert!(modes.contains(&(request.mode, answer.mode)), "{:?} is answered by {:?}", request.mode, answer.mode);
        assert_eq!(answer.version, request.version);
        assert_eq!(answer.origin, request.transmit, "the answer is to another request");
        assert_eq!((answer.receive, answer.transmit), (time.into(), time.into()));
        let again = Arrival { datagram: &octets, ..arrival };
        assert_eq!(server.handle(local_stratum, &again), None, "an answer is answered");
    }
});
