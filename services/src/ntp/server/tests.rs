use proptest::prelude::*;

use super::*;
use crate::clock::{TimeSource, UnixTime};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 20));
const TRANSMIT: u64 = 0x0123_4567_89ab_cdef;
const BEGAN: Instant = Instant::from_secs(1_000);

const DISCIPLINED: Discipline = Discipline {
    is_synchronised: true,
    error_max: Duration::from_millis(30),
    error_estimate: Duration::from_millis(2),
    leap: None,
    precision: Duration::from_micros(1),
    source: None,
};

const UNDISCIPLINED: Discipline = Discipline { is_synchronised: false, ..DISCIPLINED };

fn request(version: u8, mode: u8) -> Vec<u8> {
    let mut octets = vec![0; HEADER_LEN];
    (octets[0], octets[2]) = (version << 3 | mode, 6);
    octets[40..48].copy_from_slice(&TRANSMIT.to_be_bytes());
    octets
}

fn arrival(discipline: Discipline, datagram: &[u8]) -> Arrival<'_> {
    let time = WallTime { secs: UnixTime(1_767_603_540), nanos: 250_000_000 };
    Arrival { now: BEGAN, time, discipline, source: CLIENT, is_inside: true, datagram }
}

/// The answer as the client parses it, sent half a second after the request's arrival.
fn read(reply: Reply) -> Header {
    let octets = reply.octets_at(reply.arrived + Duration::from_millis(500));
    Header::parse(&octets).expect("an NTP packet")
}

fn answer_of(local_stratum: u8, discipline: Discipline) -> Header {
    let reply = Server::new(BEGAN).handle(local_stratum, &arrival(discipline, &request(4, 3)));
    read(reply.expect("an answer"))
}

/// RFC 5905, section 9.2: The client's transmit timestamp comes back as the origin.
/// RFC 4330, section 6: Version and poll interval are those of the request.
#[test]
fn rfc5905_9_2_and_rfc4330_6_an_answer_is_to_its_request() {
    for version in 1..=4 {
        let datagram = request(version, 3);
        let reply = Server::new(BEGAN).handle(10, &arrival(DISCIPLINED, &datagram)).expect("an answer");
        let answer = read(reply);
        assert_eq!((answer.version, answer.mode, answer.poll), (version, Mode::Server, 6));
        assert_eq!(answer.origin, Timestamp(TRANSMIT));
        let [receive, transmit] = [answer.receive.0, answer.transmit.0];
        assert_eq!((receive >> 32, receive as u32), (1_767_603_540 + 2_208_988_800, 1 << 30));
        assert_eq!(transmit - receive, 1 << 31, "half a second");
        assert_eq!(answer.reference, answer.receive.whole_second());
    }
}

/// RFC 5905, section 7.3: A synchronised server sends leap, stratum, root dispersion and precision.
#[test]
fn rfc5905_7_3_a_synchronised_server_sends_its_error() {
    let answer = answer_of(10, DISCIPLINED);
    assert_eq!((answer.leap, answer.stratum, answer.precision), (Leap::None, STRATUM_SYNCHRONISED, -19));
    assert_eq!(answer.reference_id, THIS_MACHINE);
    assert_eq!(answer.root_dispersion, ShortSpan::at_least(Duration::from_micros(30_001)));
    assert_eq!(answer.root_delay, ShortSpan(0));
    let unestimated = answer_of(10, Discipline { error_estimate: Duration::ZERO, ..DISCIPLINED });
    assert_eq!(unestimated.root_dispersion, ShortSpan::at_least(Duration::from_micros(130_001)));
    for (leap, expected) in [(LeapSecond::Inserted, Leap::Inserted), (LeapSecond::Deleted, Leap::Deleted)] {
        assert_eq!(answer_of(10, Discipline { leap: Some(leap), ..DISCIPLINED }).leap, expected);
    }
}

/// RFC 5905, section 7.3: A server that knows its source sends stratum, reference id, root delay and reference time.
#[test]
fn rfc5905_7_3_a_server_sends_its_source() {
    let measured = WallTime { secs: UnixTime(1_767_603_500), nanos: 0 };
    let root_delay = Duration::from_millis(20);
    let source = TimeSource { stratum: 3, reference_id: [192, 0, 2, 1], root_delay, measured };
    let answer = answer_of(10, Discipline { source: Some(source), ..DISCIPLINED });
    assert_eq!((answer.leap, answer.stratum, answer.reference_id), (Leap::None, 3, [192, 0, 2, 1]));
    assert_eq!(answer.root_delay, ShortSpan::at_least(root_delay));
    assert_eq!(
        answer.root_dispersion,
        ShortSpan::at_least(Duration::from_micros(20_001)),
        "the rest of 30 ms"
    );
    assert_eq!(answer.reference, measured.into());
}

/// RFC 5905, section 7.3: An unsynchronised server sends stratum 16 and leap 3, unless it has a local stratum.
#[test]
fn rfc5905_7_3_an_unsynchronised_server_says_so() {
    let answer = answer_of(10, UNDISCIPLINED);
    assert_eq!((answer.leap, answer.stratum, answer.reference_id), (Leap::None, 10, LOCAL_CLOCK));
    assert_eq!(answer.root_dispersion, ShortSpan(1 << 16));
    assert_eq!(answer_of(1, UNDISCIPLINED).reference_id, *b"LOCL");
    let answer = answer_of(0, UNDISCIPLINED);
    assert_eq!((answer.leap, answer.stratum), (Leap::Unsynchronised, STRATUM_UNSYNCHRONISED));
    assert_eq!((answer.reference_id, answer.reference), ([0; 4], Timestamp(0)));
}

#[test]
fn the_dispersion_of_an_undisciplined_clock_grows_and_stays_below_two_seconds() {
    let datagram = request(4, 3);
    let mut server = Server::new(BEGAN);
    let mut after = |secs, discipline| {
        let now = BEGAN + Duration::from_secs(secs);
        let reply = server.handle(10, &Arrival { now, ..arrival(discipline, &datagram) });
        read(reply.expect("an answer")).root_dispersion.0
    };
    assert_eq!(after(0, UNDISCIPLINED), 0x1_0000);
    let hour = after(3_600, UNDISCIPLINED);
    assert!((0x1_0000 + 3_500..0x1_0000 + 3_600).contains(&hour), "54 ms: {hour:#x}");
    assert_eq!(after(1_000_000, UNDISCIPLINED), 0x1_ffff);
    assert!(after(1_000_001, DISCIPLINED) < 0x1_0000);
    assert_eq!(after(1_000_002, UNDISCIPLINED), 0x1_0000, "it is wrong from now on");
}

/// RFC 4330, section 6: A symmetric active request gets a symmetric passive answer, and no other mode is answered.
#[test]
fn rfc4330_6_clients_and_symmetric_active_peers_are_answered_alone() {
    let mut server = Server::new(BEGAN);
    for (mode, expected) in [(3, Mode::Server), (1, Mode::SymmetricPassive)] {
        let reply = server.handle(10, &arrival(DISCIPLINED, &request(3, mode)));
        let answer = read(reply.expect("an answer"));
        assert_eq!((answer.mode, answer.stratum), (expected, STRATUM_SYNCHRONISED));
        assert_eq!(answer.origin, Timestamp(TRANSMIT));
    }
    for mode in [0, 2, 4, 5, 6, 7] {
        assert_eq!(server.handle(10, &arrival(DISCIPLINED, &request(4, mode))), None, "mode {mode}");
    }
    assert_eq!(server.handle(10, &arrival(DISCIPLINED, b"short")), None);
    let Stats { requests, other_modes, malformed, answered, .. } = server.stats();
    assert_eq!((requests, other_modes, malformed, answered), (9, 6, 1, 2));
}

/// RFC 5905, section 7.4: A client over its limit gets the kiss code RATE, which is itself rate-limited.
#[test]
fn rfc5905_7_4_a_source_over_its_limit_gets_rate_limited_kisses() {
    let datagram = request(4, 3);
    let (mut server, mut answers) = (Server::new(BEGAN), Vec::new());
    for millis in 0..10_000 {
        let now = BEGAN + Duration::from_millis(millis);
        answers.extend(server.handle(10, &Arrival { now, ..arrival(DISCIPLINED, &datagram) }).map(read));
    }
    let (kisses, times): (Vec<Header>, Vec<_>) = answers.into_iter().partition(|answer| answer.stratum == 0);
    assert_eq!((times.len(), kisses.len()), (51, 2), "32 at once, two each second");
    for kiss in kisses {
        assert_eq!((kiss.leap, kiss.reference_id), (Leap::Unsynchronised, *b"RATE"));
        assert_eq!((kiss.origin, kiss.version), (Timestamp(TRANSMIT), 4));
    }
    let (now, source) = (BEGAN + Duration::from_secs(10), IpAddr::from([192, 168, 1, 21]));
    let other = Arrival { now, source, ..arrival(DISCIPLINED, &datagram) };
    assert_ne!(read(server.handle(10, &other).expect("an answer")).stratum, 0);
    let Stats { rate_limited, kisses_sent, answered, .. } = server.stats();
    assert_eq!((rate_limited, kisses_sent, answered), (10_000 - 51, 2, 52));
}

#[test]
fn without_a_local_stratum_an_unsynchronised_server_sends_no_kiss() {
    let (mut server, datagram) = (Server::new(BEGAN), request(4, 3));
    let replies = [(); 100].map(|()| server.handle(0, &arrival(UNDISCIPLINED, &datagram)));
    assert!(replies.iter().flatten().all(|reply| read(*reply).stratum == STRATUM_UNSYNCHRONISED));
    assert_eq!(replies.iter().flatten().count(), 32);
}

#[test]
fn all_sources_together_get_no_more_than_the_limit_of_all() {
    let (mut server, datagram) = (Server::new(BEGAN), request(4, 3));
    let answered = (0..100_000_u32).filter(|number| {
        let source = std::net::Ipv4Addr::from_bits(*number).into();
        server.handle(10, &Arrival { source, ..arrival(DISCIPLINED, &datagram) }).is_some()
    });
    assert_eq!(answered.count(), 500);
    let source = IpAddr::from([203, 0, 113, 9]);
    let of_others = Arrival { source, is_inside: false, ..arrival(DISCIPLINED, &datagram) };
    assert!(server.handle(10, &of_others).is_some(), "others have a limit of their own");
}

/// RFC 5905, section 9.2: The transmit timestamp is the receive timestamp plus the monotonic time since.
#[test]
fn rfc5905_9_2_the_transmit_timestamp_follows_monotonic_time() {
    let reply = Server::new(BEGAN).handle(10, &arrival(DISCIPLINED, &request(4, 3))).expect("an answer");
    for micros in [0, 1, 250_000, 3_000_000] {
        let span = Duration::from_micros(micros);
        let answer = Header::parse(&reply.octets_at(BEGAN + span)).expect("an NTP packet");
        assert_eq!(answer.transmit, answer.receive.after(span));
    }
}

/// RFC 4330, section 5: A request without a transmit timestamp is answered.
#[test]
fn rfc4330_5_a_request_without_a_time_is_answered() {
    let mut datagram = request(4, 3);
    datagram[40..48].fill(0);
    let reply = Server::new(BEGAN).handle(10, &arrival(DISCIPLINED, &datagram)).expect("an answer");
    assert_eq!(read(reply).origin, Timestamp(0));
}

/// RFC 5905, section 7.3: A message authentication code or an extension field behind a request changes nothing.
#[test]
fn rfc5905_7_3_an_answer_is_never_authenticated() {
    let unique_identifier = [&[0x01, 0x04, 0, 36][..], &[7; 32]].concat();
    for rest in [vec![0, 0, 0, 1], vec![9; 20], vec![9; 24], unique_identifier] {
        let plain = Server::new(BEGAN).handle(10, &arrival(DISCIPLINED, &request(4, 3)));
        let datagram = [request(4, 3), rest].concat();
        assert_eq!(Server::new(BEGAN).handle(10, &arrival(DISCIPLINED, &datagram)), plain);
    }
}

/// A flood with a forged source address uses up that source's limit only while it lasts.
#[test]
fn a_source_whose_address_others_forge_is_answered_once_they_stop() {
    let (mut server, datagram) = (Server::new(BEGAN), request(4, 3));
    let mut ask = |millis| {
        let now = BEGAN + Duration::from_millis(millis);
        server.handle(10, &Arrival { now, ..arrival(DISCIPLINED, &datagram) }).map(read)
    };
    for millis in 0..60_000 {
        _ = ask(millis);
    }
    let answer = ask(60_500).expect("an answer");
    assert_eq!(answer.stratum, STRATUM_SYNCHRONISED);
}

proptest! {
    #[test]
    fn no_answer_is_longer_than_its_request_and_answers_get_none(
        datagram in prop::collection::vec(any::<u8>(), 0..300),
        is_client in any::<bool>(),
        local_stratum in 0..16_u8,
        is_synchronised in any::<bool>(),
    ) {
        let mut datagram = datagram;
        if let (true, Some(first)) = (is_client, datagram.first_mut()) {
            *first = 0x23;
        }
        let discipline = Discipline { is_synchronised, ..DISCIPLINED };
        let mut server = Server::new(BEGAN);
        if let Some(reply) = server.handle(local_stratum, &arrival(discipline, &datagram)) {
            let octets = reply.octets_at(BEGAN);
            prop_assert!(octets.len() <= datagram.len());
            prop_assert_eq!(&octets[24..32], &datagram[40..48]);
            prop_assert_eq!(server.handle(local_stratum, &arrival(discipline, &octets)), None);
        }
    }
}
