//! Two connections over a pipe.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::cases;

/// The time in which each conversation has to end.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// The faults of a pipe, in percent, and the delay of a segment.
#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: u32,
    duplication: u32,
    delay: Duration,
    jitter: Duration,
    /// Takes options away from all segments, as some boxes on the way do.
    strips: Strips,
}

#[derive(Clone, Copy, Debug)]
struct Strips {
    scale: bool,
    sack: bool,
    timestamps: bool,
}

/// One end, its service, and what that does.
struct End {
    connection: Connection,
    to_write: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    is_finished: bool,
    /// How much the service reads at a time, and how often.
    appetite: usize,
    pause: Duration,
    reads_at: Instant,
    sent: usize,
}

impl End {
    fn new(connection: Connection, to_write: Vec<u8>, appetite: usize, pause: Duration) -> Self {
        Self {
            connection,
            to_write,
            written: 0,
            read: Vec::new(),
            is_finished: false,
            appetite,
            pause,
            reads_at: Instant::ZERO,
            sent: 0,
        }
    }

    /// Has the service do what it can.
    fn serve(&mut self, now: Instant) {
        let is_open = matches!(self.connection.state(), State::Established | State::CloseWait);
        if is_open && !self.connection.is_closing {
            if self.written < self.to_write.len() {
                self.written += self.connection.write_now(&self.to_write[self.written..]);
            }
            if self.written == self.to_write.len() {
                self.connection.close();
            }
        }
        let has_news = self.connection.unread() > 0 || self.connection.is_finished();
        if has_news && self.reads_at <= now && !self.is_finished {
            self.reads_at = now + self.pause;
            let mut octets = vec![0; self.appetite];
            match self.connection.read_now(now, &mut octets) {
                Read::Octets(len) => self.read.extend_from_slice(&octets[..len]),
                Read::Pending => {}
                Read::Finished => self.is_finished = true,
                Read::Broken => panic!("nobody resets"),
            }
        }
    }

    fn is_done(&self) -> bool {
        self.is_finished && matches!(self.connection.state(), State::Closed | State::TimeWait)
    }

    fn wants(&self, now: Instant) -> Option<Instant> {
        let has_news = self.connection.unread() > 0 || self.connection.is_finished() && !self.is_finished;
        let reads_at = has_news.then_some(self.reads_at.max(now));
        self.connection.deadline().into_iter().chain(reads_at).min()
    }
}

struct Pipe {
    now: Instant,
    ends: [End; 2],
    /// Segments on their way, to which end.
    on_their_way: BTreeMap<(Instant, u64), (usize, Outgoing)>,
    count: u64,
    weather: Weather,
    rng: StdRng,
    is_pressed_at_times: bool,
}

impl Pipe {
    /// Runs until both ends are done.
    fn run(&mut self) {
        loop {
            for side in 0..2 {
                if self.is_pressed_at_times && self.rng.random_ratio(1, 50) {
                    let is_pressed = self.rng.random_ratio(1, 2);
                    self.ends[side].connection.set_pressed(is_pressed);
                }
                self.ends[side].serve(self.now);
                let sent = self.ends[side].connection.sent(self.now);
                assert!(sent.len() < 1000, "a storm of segments");
                self.ends[side].sent += sent.len();
                sent.into_iter().for_each(|segment| self.carry(1 - side, segment));
                assert!(
                    self.ends[side].connection.deadline().is_none_or(|at| at > self.now),
                    "a timer that never stops"
                );
            }
            if self.ends.iter().all(End::is_done) {
                return;
            }
            let arrival = self.on_their_way.keys().next().map(|(at, _)| *at);
            let wants = self.ends.iter().filter_map(|end| end.wants(self.now));
            let next = arrival.into_iter().chain(wants).min();
            self.now = next.expect("something happens").max(self.now);
            assert!(self.now.since(Instant::ZERO) < PATIENCE, "they never end: {:?}", self.states());
            while let Some(entry) = self.on_their_way.first_entry().filter(|entry| entry.key().0 <= self.now)
            {
                let (side, segment) = entry.remove();
                let reaction = self.ends[side].connection.receive(self.now, &segment.fields());
                assert_ne!(reaction, Reaction::Refuse, "nobody resets");
            }
        }
    }

    fn states(&self) -> Vec<State> {
        self.ends.iter().map(|end| end.connection.state()).collect()
    }

    fn carry(&mut self, to: usize, mut segment: Outgoing) {
        let Weather { loss, duplication, delay, jitter, strips } = self.weather;
        let header = &mut segment.header;
        header.window_scale = header.window_scale.filter(|_| !strips.scale);
        header.sack_permitted &= !strips.sack;
        header.timestamp = header.timestamp.filter(|_| !strips.timestamps);
        assert_ne!(header.control, TcpControl::Rst, "nobody resets");
        if self.rng.random_ratio(loss, 100) {
            return;
        }
        let copies = 1 + u32::from(self.rng.random_ratio(duplication, 100));
        for _ in 0..copies {
            let jitter = self.rng.random_range(Duration::ZERO..=jitter);
            let copy = Outgoing { header: segment.header, payload: segment.payload.clone() };
            self.count += 1;
            self.on_their_way.insert((self.now + delay + jitter, self.count), (to, copy));
        }
    }
}

fn stream(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8 ^ seed).collect()
}

fn any_weather() -> impl Strategy<Value = Weather> {
    let strips = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (0..=25_u32, 0..=10_u32, 0..=200_u64, 0..=100_u64, strips).prop_map(
        |(loss, duplication, delay, jitter, (scale, sack, timestamps))| Weather {
            loss,
            duplication,
            delay: ms(delay),
            jitter: ms(jitter),
            strips: Strips { scale, sack, timestamps },
        },
    )
}

/// A service's octets, its buffers, and how much it reads how often.
type Side = (usize, usize, usize, u64);

fn any_side() -> impl Strategy<Value = Side> {
    let len = prop_oneof![Just(0_usize), 1..3000_usize, 1..150_000_usize];
    let buffer = prop_oneof![200..5000_usize, Just(1 << 20)];
    let appetite = prop_oneof![100..3000_usize, Just(1 << 20)];
    (len, buffer, appetite, prop_oneof![Just(1_u64), 1..500_u64])
}

fn converse(
    weather: Weather,
    sides: [Side; 2],
    (seed, is_simultaneous, is_pressed_at_times): (u64, bool, bool),
) -> Pipe {
    let mut rng = StdRng::seed_from_u64(seed);
    let settings = sides.map(|(_, buffer_len_max, ..)| Settings { buffer_len_max, ..SETTINGS });
    let mut begin = || Beginning { sequence: rng.random(), timestamp_offset: rng.random() };
    let now = Instant::from_secs(1);
    let first = Connection::connect(now, begin(), &settings[0]);
    let second = Connection::connect(now, begin(), &settings[1]);
    let mut connections = [first, second];
    let mut count = 0;
    let mut on_their_way = BTreeMap::new();
    if !is_simultaneous {
        let syn = connections[0].poll(now).expect("a SYN");
        // The first SYN gets through, stripped as all.
        let mut fields = syn.fields();
        fields.options.window_shift = fields.options.window_shift.filter(|_| !weather.strips.scale);
        fields.options.is_sack_permitted &= !weather.strips.sack;
        fields.options.timestamps = fields.options.timestamps.filter(|_| !weather.strips.timestamps);
        connections[1] = Connection::accept(now, &fields, begin(), &settings[1]);
        on_their_way.insert((now + weather.delay, count), (1, syn));
        count += 1;
    }
    let [first, second] = connections;
    let end = |connection, (len, _, appetite, pause): Side, seed| {
        // A slow reader of much would take days.
        let pause = if len > 20_000 { pause.min(20) } else { pause };
        End::new(connection, stream(len, seed), appetite, ms(pause))
    };
    let pauses = [sides[1].0, sides[0].0];
    let sides = [0, 1].map(|side| {
        let (len, buffer, appetite, pause) = sides[side];
        (len, buffer, appetite, if pauses[side] > 20_000 { pause.min(20) } else { pause })
    });
    let ends = [end(first, sides[0], 1), end(second, sides[1], 2)];
    let mut pipe = Pipe { now, ends, on_their_way, count, weather, rng, is_pressed_at_times };
    pipe.run();
    pipe
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(200)))]

    /// Every octet arrives once and in order, both ends close, and neither waits or sends for ever.
    #[test]
    fn every_octet_arrives_once_and_in_order(
        weather in any_weather(),
        sides in [any_side(), any_side()],
        kind in (any::<u64>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2)),
    ) {
        let mut pipe = converse(weather, sides, kind);
        for (side, other) in [(0, 1), (1, 0)] {
            prop_assert_eq!(&pipe.ends[side].read, &pipe.ends[other].to_write);
            prop_assert_eq!(pipe.ends[side].connection.memory(), 0, "memory is given back");
        }
        let octets: usize = sides.iter().map(|side| side.0).sum();
        let least = sides.iter().map(|side| side.1.min(side.2).min(1000)).min().unwrap_or(1);
        let sent: usize = pipe.ends.iter().map(|end| end.sent).sum();
        let elapsed = pipe.now.since(Instant::ZERO).as_secs() as usize;
        prop_assert!(sent <= 20 * (octets / least + 20) + 10 * elapsed, "{sent} segments for {octets} octets");
        // No timer is left.
        for end in &mut pipe.ends {
            prop_assert_eq!(end.connection.deadline(), None);
        }
    }
}

#[test]
fn a_clean_path_carries_nothing_twice() {
    let weather = Weather {
        loss: 0,
        duplication: 0,
        delay: ms(25),
        jitter: ms(0),
        strips: Strips { scale: false, sack: false, timestamps: false },
    };
    let side = (500_000, 1 << 20, 1 << 20, 1);
    let pipe = converse(weather, [side, (0, 1 << 20, 1 << 20, 1)], (7, false, false));
    let segments = 500_000_usize.div_ceil(988);
    // SYN, its acknowledgement, and that of the other's FIN.
    assert!(pipe.ends[0].sent <= segments + 4, "{} for {segments}", pipe.ends[0].sent);
}
