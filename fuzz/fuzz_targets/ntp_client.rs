//! Datagrams from time servers to the time client: it never panics, measures only answers to its latest request, keeps
//! the spacing of requests, and its served time never goes back.

#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use gatepost_fuzz::Input;
use gatepost_ground::Instant;
use gatepost_services::clock::{UnixTime, WallTime};
use gatepost_services::ntp::client::served_time::Change;
use gatepost_services::ntp::client::{Client, Reading};
use gatepost_services::ntp::codec::Header;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

const SOURCES: u8 = 3;

fn source(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number % (SOURCES + 1)])
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut rng = StdRng::seed_from_u64(input.u8().into());
    let kernel = WallTime { secs: UnixTime(input.micros() / 1_000), nanos: 0 };
    let (mut client, mut micros) = (Client::default(), 0_u64);
    client.set_sources(Instant::ZERO, &(0..SOURCES).map(source).collect::<Vec<_>>());
    let mut asked = [None; SOURCES as usize];
    while !input.is_empty() {
        let (kind, number) = (input.u8(), input.u8());
        micros += input.micros();
        let (now, steady) = (Instant::from_micros(micros), Duration::from_micros(micros));
        let reading = Reading { now, steady, kernel };
        for request in client.handle_timeout(&reading, &mut rng) {
            let octets = request.octets;
            assert_eq!((octets[0], &octets[1..40]), (0x23, &[0; 39][..]), "a request discloses something about the machine");
            let index = (0..SOURCES).position(|number| source(number) == request.to).expect("a source");
            let before = asked[index].replace((now, octets));
            assert!(before.is_none_or(|(at, _)| now.since(at) >= Duration::from_secs(2)), "requests are less than 2 s apart");
        }
        assert!(client.poll_timeout().is_none_or(|due| due > now), "a due request was not sent");
        match kind % 8 {
            0 => client.hurry(now),
            1 if number == 0 => client.restart(now),
            _ => {
                let mut datagram = input.chunk().to_vec();
                let request = asked.get(usize::from(number % (SOURCES + 1))).copied().flatten();
                if let (2.., Some((_, request)), true) = (kind % 8, request, datagram.len() >= 48) {
                    // An answer with the right origin timestamp.
                    datagram[24..32].copy_from_slice(&request[40..48]);
                    datagram[0] = datagram[0] & 0xc0 | 0x24;
                }
                let told = client.served_time().map(|served| served.time_at(steady));
                let (is_answer, change) = client.handle_answer(&reading, source(number), &datagram);
                let origin = Header::parse(&datagram).map(|header| header.origin.0.to_be_bytes());
                let is_asked = request.is_some_and(|(_, request)| origin == request[40..48].try_into().ok());
                assert!(is_asked || !is_answer, "a datagram that answers no request counts as an answer");
                let (again, _) = client.handle_answer(&reading, source(number), &datagram);
                assert!(!again, "an answer counts twice");
                if let (Some(told), Some(Change::Slewed | Change::Held)) = (told, change) {
                    let now = client.served_time().map(|served| served.time_at(steady));
                    assert_eq!(now, Some(told), "the served time is stepped");
                }
            }
        }
        if let Some(served) = client.served_time() {
            assert!(served.error_at(steady) >= 0);
            let later = steady + Duration::from_secs(1);
            assert!(served.time_at(later) >= served.time_at(steady), "the time goes back");
        }
    }
});
