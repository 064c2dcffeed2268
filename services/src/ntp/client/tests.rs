use std::net::Ipv4Addr;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::association::BURST;
use super::*;
use crate::clock::UnixTime;
use crate::ntp::codec::{Header, Leap, Mode, ShortSpan, Timestamp};

const MS: Nanos = 1_000_000;
/// The right time when steady time begins.
const BEGAN: Nanos = 1_767_603_540 * SECOND;

/// A time server.
#[derive(Clone, Copy)]
struct Server {
    /// The error of its time.
    wrong: Nanos,
    /// The one-way delays of the request and the answer.
    delays: [Nanos; 2],
    /// Whether it answers.
    is_there: bool,
}

const GOOD: Server = Server { wrong: 0, delays: [10 * MS, 10 * MS], is_there: true };

/// A machine whose oscillator drifts, and its time servers.
struct World {
    client: Client,
    servers: Vec<Server>,
    rng: StdRng,
    /// The rate at which the right time gains on the oscillator, in parts per 10^9.
    drift: Nanos,
    now: Nanos,
}

fn address(number: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(number).expect("few servers") + 1])
}

impl World {
    fn new(drift: Nanos, servers: &[Server]) -> Self {
        let mut client = Client::default();
        let addresses: Vec<_> = (0..servers.len()).map(address).collect();
        client.set_sources(Instant::ZERO, &addresses);
        Self { client, servers: servers.to_vec(), rng: StdRng::seed_from_u64(1), drift, now: 0 }
    }

    fn right(&self, steady: Nanos) -> Nanos {
        BEGAN + steady + steady * self.drift / SECOND
    }

    fn reading(&self) -> Reading {
        let steady = Duration::from_nanos(u64::try_from(self.now).expect("after the beginning"));
        let kernel = WallTime { secs: UnixTime(7), nanos: 0 };
        Reading {
            now: Instant::from_micros(u64::try_from(self.now / 1_000).expect("it fits")),
            steady,
            kernel,
        }
    }

    fn answer(&self, server: Server, request: &[u8]) -> Header {
        let request = Header::parse(request).expect("a request");
        let wall = |nanos: Nanos| WallTime {
            secs: UnixTime(u64::try_from(nanos / SECOND).expect("after 1970")),
            nanos: u32::try_from(nanos % SECOND).expect("less than a second"),
        };
        let time = wall(self.right(self.now) + server.delays[0] + server.wrong).into();
        Header {
            leap: Leap::None,
            version: 4,
            mode: Mode::Server,
            stratum: 2,
            poll: 6,
            precision: -20,
            root_delay: ShortSpan(0x100),
            root_dispersion: ShortSpan(0x80),
            reference_id: [127, 0, 0, 1],
            reference: time,
            origin: request.transmit,
            receive: time,
            transmit: time,
        }
    }

    /// Goes on for so many seconds. `check` sees every whole second.
    fn run(&mut self, secs: Nanos, mut check: impl FnMut(&Self)) {
        let end = self.now + secs * SECOND;
        while self.now < end {
            let mut coming = Vec::new();
            let reading = self.reading();
            for request in self.client.handle_timeout(&reading, &mut self.rng) {
                let number = (0..).find(|number| address(*number) == request.to).expect("a source");
                let server = self.servers[number];
                if server.is_there {
                    let answer = self.answer(server, &request.octets);
                    coming.push((
                        self.now + server.delays[0] + server.delays[1],
                        request.to,
                        answer.to_octets(),
                    ));
                }
            }
            coming.sort();
            let began = self.now;
            for (at, from, octets) in coming {
                self.now = at;
                let reading = self.reading();
                let (is_answer, _) = self.client.handle_answer(&reading, from, &octets);
                assert!(is_answer);
            }
            self.now = began + SECOND;
            check(self);
        }
    }

    /// The actual error of the served time, and the bound that it announces.
    fn errors(&self) -> Option<(Nanos, Nanos)> {
        let (served, steady) = (self.client.served_time()?, self.reading().steady);
        let time = served.time_at(steady);
        let time = Nanos::from(time.secs.0) * SECOND + Nanos::from(time.nanos);
        Some((time - self.right(self.now), served.error_at(steady)))
    }
}

/// The served time is right within its error.
fn is_honest(world: &World) {
    if let Some((wrong, error)) = world.errors() {
        assert!(
            wrong.abs() <= error,
            "wrong by {wrong}, with an announced error of {error} at {}",
            world.now
        );
    }
}

#[test]
fn four_sources_of_which_one_lies_and_one_has_an_asymmetric_path() {
    let asymmetric = Server { delays: [2 * MS, 120 * MS], ..GOOD };
    let liar = Server { wrong: 700 * MS, ..GOOD };
    let mut world = World::new(-180_000, &[GOOD, liar, asymmetric, GOOD]);
    world.run(4_000, is_honest);
    let (wrong, error) = world.errors().expect("it is known");
    assert!(wrong.abs() < 15 * MS && error < 60 * MS, "{wrong} {error}");
    assert_eq!(world.client.agreeing().to_string(), "3 of 4 sources agree");
    assert!(world.client.poll > POLL_MIN, "the poll interval has grown");
    let rate = world.client.follower.rate();
    assert!(
        (rate.ppb + 180_000).abs() <= rate.skew_ppb && rate.skew_ppb < 60_000,
        "{rate:?} {}",
        world.client.poll
    );
}

#[test]
fn two_that_disagree_are_not_followed_and_one_alone_is() {
    let mut world = World::new(0, &[GOOD, Server { wrong: SECOND, ..GOOD }]);
    world.run(600, is_honest);
    assert!(world.client.served_time().is_none());
    assert_eq!(world.client.agreeing().to_string(), "2 of 2 sources answer, and no majority agrees");
    assert!(world.client.stats().source_disagreements > 0);
    let mut world = World::new(0, &[GOOD, Server { is_there: false, ..GOOD }]);
    world.run(60, is_honest);
    assert!(world.errors().is_some());
    assert_eq!(world.client.agreeing().to_string(), "1 of 2 sources agree");
}

#[test]
fn a_falseticker_that_answers_first_when_the_wan_comes_up_is_not_followed() {
    for silent in 20..150 {
        let mut servers = [GOOD; 4].map(|server| Server { is_there: false, ..server });
        servers[0].wrong = 98 * SECOND;
        let mut world = World::new(0, &servers);
        world.run(silent, is_honest);
        world.servers.iter_mut().for_each(|server| server.is_there = true);
        world.run(300, is_honest);
        assert!(world.errors().is_some());
    }
}

#[test]
fn without_sources_the_time_goes_on_and_its_error_grows() {
    let mut world = World::new(120_000, &[GOOD; 4]);
    world.run(1_000, is_honest);
    world.servers.iter_mut().for_each(|server| server.is_there = false);
    let (_, before) = world.errors().expect("it is known");
    world.run(20_000, is_honest);
    let (_, after) = world.errors().expect("it is known");
    assert!(after > before + 20_000 * 15_000, "15 ppm of it: {after}");
    assert_eq!(world.client.agreeing().to_string(), "none of 4 sources answers");
    let requests = world.client.stats().source_requests;
    world.run(10_240, is_honest);
    assert!(world.client.stats().source_requests - requests <= 48, "each once in 1,024 s");
    world.servers.iter_mut().for_each(|server| server.is_there = true);
    world.run(1_100, is_honest);
    let (_, settled) = world.errors().expect("it is known");
    assert!(settled < 100 * MS, "{settled}");
}

/// RFC 5905, section 8: An answer to another request than the latest is bogus, and so is a second one to it.
#[test]
fn rfc5905_8_forged_and_repeated_answers_do_not_count() {
    let mut world = World::new(0, &[GOOD]);
    let reading = world.reading();
    let [request] = world.client.handle_timeout(&reading, &mut world.rng)[..] else { panic!("one source") };
    let right = world.answer(GOOD, &request.octets);
    world.now += 20 * MS;
    let reading = world.reading();
    let wrong = Header { origin: Timestamp(right.origin.0 ^ 1), ..right };
    let request_back = Header { mode: Mode::Client, ..right };
    for forged in [wrong, request_back, Header { version: 0, ..right }] {
        assert!(!world.client.handle_answer(&reading, address(0), &forged.to_octets()).0);
    }
    assert!(!world.client.handle_answer(&reading, address(1), &right.to_octets()).0, "from another address");
    assert!(world.client.handle_answer(&reading, address(0), &right.to_octets()).0);
    assert!(!world.client.handle_answer(&reading, address(0), &right.to_octets()).0, "a second time");
    let Stats { source_bogus, source_answers, .. } = world.client.stats();
    assert_eq!((source_bogus, source_answers), (5, 1));
}

/// RFC 5905, section 7.4: DENY and RSTR end the requests, and RATE makes them rarer, if they answer a request.
#[test]
fn rfc5905_7_4_kisses_are_obeyed() {
    let kissed = |code: &[u8; 4]| {
        let mut world = World::new(0, &[GOOD]);
        let reading = world.reading();
        let [request] = world.client.handle_timeout(&reading, &mut world.rng)[..] else {
            panic!("one source")
        };
        let kiss = Header { stratum: 0, reference_id: *code, ..world.answer(GOOD, &request.octets) };
        let forged = Header { origin: Timestamp(7), ..kiss };
        world.client.handle_answer(&reading, address(0), &forged.to_octets());
        assert!(world.client.poll_timeout().is_some());
        world.client.handle_answer(&reading, address(0), &kiss.to_octets());
        (world.client.poll_timeout(), world.client.stats().source_kisses)
    };
    assert_eq!([kissed(b"DENY"), kissed(b"RSTR")], [(None, 1); 2]);
    assert_eq!(kissed(b"RATE"), (Some(Instant::from_secs(128)), 1));
    assert_eq!(kissed(b"STEP"), (Some(Instant::from_secs(2)), 0));
}

/// RFC 5905, section 11.2: Unsynchronised sources, and those too far from the root, are not followed.
#[test]
fn rfc5905_11_2_sources_that_are_not_fit_are_not_followed() {
    let followed = |edit: fn(&mut Header)| {
        let mut world = World::new(0, &[GOOD]);
        for _ in 0..BURST {
            let reading = world.reading();
            let requests = world.client.handle_timeout(&reading, &mut world.rng);
            let mut answer = world.answer(GOOD, &requests[0].octets);
            edit(&mut answer);
            world.now += 20 * MS;
            let reading = world.reading();
            world.client.handle_answer(&reading, address(0), &answer.to_octets());
            world.now += 2 * SECOND;
        }
        world.client.served_time().is_some()
    };
    assert!(followed(|_| ()));
    assert!(!followed(|answer| answer.leap = Leap::Unsynchronised));
    assert!(!followed(|answer| answer.stratum = 16));
    assert!(!followed(|answer| answer.stratum = 15));
    assert!(!followed(|answer| answer.stratum = u8::MAX));
    assert!(followed(|answer| answer.stratum = 14));
    assert!(!followed(|answer| answer.root_dispersion = ShortSpan(3 << 15)));
    assert!(!followed(|answer| answer.root_delay = ShortSpan(3 << 16)));
    assert!(!followed(|answer| answer.root_delay = ShortSpan(u32::MAX)));
    assert!(!followed(|answer| answer.receive = Timestamp(0)));
    assert!(!followed(|answer| answer.transmit = Timestamp(0)));
    assert!(!followed(|answer| answer.transmit = Timestamp(answer.receive.0 - 1_000)));
    assert!(!followed(|answer| answer.transmit = Timestamp(answer.receive.0 + (1 << 32))));
}

/// RFC 5905, section 7.3: A source whose reference identifier is an address of this gateway is a timing loop.
#[test]
fn rfc5905_7_3_a_source_that_follows_this_gateway_is_not_followed() {
    let own = [Ipv4Addr::new(203, 0, 113, 2), Ipv4Addr::new(192, 168, 1, 1)];
    let outcome = |stratum, reference_id: [u8; 4]| {
        let mut world = World::new(0, &[GOOD]);
        world.client.set_own_addresses(own.to_vec());
        let reading = world.reading();
        let requests = world.client.handle_timeout(&reading, &mut world.rng);
        let answer = Header { stratum, reference_id, ..world.answer(GOOD, &requests[0].octets) };
        world.client.handle_answer(&reading, address(0), &answer.to_octets());
        (world.client.stats().source_answers, world.client.stats().source_unusable)
    };
    assert_eq!(outcome(3, own[0].octets()), (0, 1), "it follows the WAN's address");
    assert_eq!(outcome(3, own[1].octets()), (0, 1), "it follows the LAN's address");
    assert_eq!(outcome(3, [203, 0, 113, 3]), (1, 0));
    assert_eq!(outcome(1, own[0].octets()), (1, 0), "at stratum 1 it is a code");
}

/// RFC 5905, section 13: Requests begin with a burst, and are a poll interval apart afterwards.
#[test]
fn rfc5905_13_a_burst_and_then_a_poll_interval() {
    let mut world = World::new(0, &[GOOD]);
    let mut sent = Vec::new();
    let mut before = 0;
    world.run(200, |world| {
        let requests = world.client.stats().source_requests;
        if requests > before {
            sent.push(world.now / SECOND - 1);
        }
        before = requests;
    });
    assert_eq!(sent[..4], [0, 2, 4, 6]);
    assert!(sent[4..].windows(2).all(|pair| (60..=64).contains(&(pair[1] - pair[0]))), "{sent:?}");
}

#[test]
fn requests_disclose_nothing_about_the_machine() {
    let mut world = World::new(0, &[GOOD; 4]);
    let reading = world.reading();
    let mut requests = world.client.handle_timeout(&reading, &mut world.rng);
    assert!(requests.iter().all(|request| request.octets[0] == 0x23 && request.octets[1..40] == [0; 39]));
    requests.sort_by_key(|request| request.octets[40..].to_vec());
    requests.dedup_by_key(|request| request.octets[40..].to_vec());
    assert_eq!(requests.len(), 4, "no nonce is used twice");
}

#[test]
fn sources_are_bounded_and_keep_their_samples() {
    let mut world = World::new(0, &[GOOD; 2]);
    world.run(100, is_honest);
    let addresses: Vec<_> = (0..6).map(address).chain([address(0)]).collect();
    world.client.set_sources(world.reading().now, &addresses);
    assert_eq!(world.client.associations.len(), SOURCES_MAX);
    assert!(world.client.associations[0].is_reachable() && !world.client.associations[2].is_reachable());
    world.client.restart(world.reading().now);
    assert!(world.client.served_time().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_served_time_is_right_within_its_error_if_most_sources_are_right(
        drift in -450_000..450_000_i128,
        good in prop::collection::vec((0..200_i128, 0..200_i128), 3..=3),
        // An error below the root distances cannot be detected.
        lie in 1_000..100_000_i128,
    ) {
        let mut servers: Vec<_> =
            good.iter().map(|(out, back)| Server { delays: [out * MS, back * MS], ..GOOD }).collect();
        servers.push(Server { wrong: lie * MS, ..GOOD });
        let mut world = World::new(drift, &servers);
        let mut failed = None;
        world.run(3_000, |world| {
            if let Some((wrong, error)) = world.errors().filter(|(wrong, error)| wrong.abs() > *error) {
                failed.get_or_insert((world.now, wrong, error));
            }
        });
        prop_assert_eq!(failed, None);
        prop_assert!(world.errors().is_some());
    }

    #[test]
    fn no_octets_are_too_much(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..20),
        is_answer in any::<bool>(),
    ) {
        let mut world = World::new(0, &[GOOD; 2]);
        for mut datagram in datagrams {
            let reading = world.reading();
            let requests = world.client.handle_timeout(&reading, &mut world.rng);
            world.now += 100 * MS;
            let reading = world.reading();
            if let (true, Some(origin), Some(request)) = (is_answer, datagram.get_mut(24..32), requests.first()) {
                origin.copy_from_slice(&request.octets[40..48]);
                datagram[0] = 0x24;
            }
            world.client.handle_answer(&reading, address(0), &datagram);
            if let Some(served) = world.client.served_time() {
                _ = (served.time_at(Duration::from_secs(1 << 40)), served.error_at(Duration::from_secs(1 << 40)));
            }
            world.now += 2 * SECOND;
        }
    }
}
