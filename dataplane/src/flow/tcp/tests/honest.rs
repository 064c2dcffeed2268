//! Two honest ends on a bad network, and a blind attacker.
//!
//! The ends send, repeat, acknowledge, probe and close as RFC 9293 lets them, in any order, and either
//! side of the tracker loses, repeats and reorders what they send. The oracle is the receiving end:
//! whatever it would take when it arrives must have passed.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A side sends as much new data as it may, up to so many octets.
    Send { side: usize, octets: u16 },
    /// A side repeats what is not acknowledged.
    Repeat { side: usize, octets: u16 },
    /// A side acknowledges, or keeps alive.
    Acknowledge { side: usize, is_probe: bool },
    /// A side has taken octets from its buffer, or offers no room.
    Window { side: usize, octets: u32 },
    /// A side has no more to send.
    Finish { side: usize },
    /// One of the segments on their way arrives, at the tracker or at the other end.
    Arrive { number: usize, is_lost: bool, is_repeated: bool },
    /// A forged segment.
    Attack { direction: Direction, segment: TcpSegment },
}

/// One end. (RFC 9293, section 3.3.1)
struct End {
    /// Acknowledged by the other end.
    una: u32,
    /// To be sent next.
    nxt: u32,
    /// Permitted.
    limit: u32,
    /// Expected next.
    expected: u32,
    /// The right edge of its window: it never goes back.
    edge: u32,
    shift: u8,
    has_finished: bool,
}

impl End {
    fn segment(&self, flags: Flags, sequence: u32, data_len: u16) -> TcpSegment {
        let window = self.edge.wrapping_sub(self.expected) >> self.shift;
        TcpSegment {
            flags,
            sequence,
            acknowledgment: self.expected,
            window: window.min(65_535) as u16,
            data_len,
            ..TcpSegment::default()
        }
    }

    /// Whether it takes the segment: RFC 9293, section 3.4; RFC 5961, section 5.2.
    fn would_take(&self, segment: &TcpSegment) -> bool {
        let window = self.edge.wrapping_sub(self.expected);
        let is_in_window = |number: u32| number.wrapping_sub(self.expected) < window;
        let len = segment.end().wrapping_sub(segment.sequence);
        let is_acceptable = match (len, window) {
            (0, 0) => segment.sequence == self.expected,
            (_, 0) => false,
            (0, _) => is_in_window(segment.sequence),
            (_, _) => is_in_window(segment.sequence) || is_in_window(segment.end().wrapping_sub(1)),
        };
        is_acceptable && self.nxt.wrapping_sub(segment.acknowledgment) <= self.nxt.wrapping_sub(self.una)
    }

    fn take(&mut self, segment: &TcpSegment, peer_shift: u8) {
        self.una = segment.acknowledgment;
        let limit = segment.acknowledgment.wrapping_add(u32::from(segment.window) << peer_shift);
        if is_at_or_after(limit, self.limit) {
            self.limit = limit;
        }
        // The end drops data beyond a gap.
        let len = segment.end().wrapping_sub(segment.sequence);
        if self.expected.wrapping_sub(segment.sequence) < len {
            self.expected = segment.end();
            if is_at_or_after(self.expected, self.edge) {
                self.edge = self.expected;
            }
        }
    }
}

struct World {
    connection: Connection,
    ends: [End; 2],
    /// On their way to the tracker, and those that are behind it with whether they passed.
    before: Vec<(usize, TcpSegment)>,
    behind: Vec<(usize, TcpSegment, bool)>,
}

impl World {
    fn new(first: [u32; 2], windows: [u32; 2], shifts: [u8; 2]) -> Self {
        let syn = |side: usize, flags| TcpSegment {
            flags,
            sequence: first[side],
            acknowledgment: first[1 - side].wrapping_add(1),
            window: windows[side].min(65_535) as u16,
            scale: Some(shifts[side]),
            ..TcpSegment::default()
        };
        let ends = [0, 1].map(|side| End {
            una: first[side].wrapping_add(1),
            nxt: first[side].wrapping_add(1),
            limit: first[side].wrapping_add(1).wrapping_add(windows[1 - side].min(65_535)),
            expected: first[1 - side].wrapping_add(1),
            edge: first[1 - side].wrapping_add(1).wrapping_add(windows[side]),
            shift: shifts[side],
            has_finished: false,
        });
        let mut connection = Connection::NEW;
        let ack = ends[0].segment(ACK, ends[0].nxt, 0);
        for (direction, segment) in [(Original, syn(0, SYN)), (Reply, syn(1, SYN_ACK)), (Original, ack)] {
            connection.track(direction, &segment, INSIDE).expect("a handshake");
        }
        let mut world = Self { connection, ends, before: Vec::new(), behind: Vec::new() };
        world.behind.push((0, ack, true));
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { side, octets } => {
                let end = &mut self.ends[side];
                let room = end.limit.wrapping_sub(end.nxt);
                if end.has_finished || room == 0 || room >= 1 << 31 {
                    return;
                }
                let len = room.min(u32::from(octets)) as u16;
                let segment = end.segment(ACK, end.nxt, len);
                end.nxt = segment.end();
                self.before.push((side, segment));
            }
            Step::Repeat { side, octets } => {
                let end = &self.ends[side];
                let flight = end.nxt.wrapping_sub(end.una).saturating_sub(u32::from(end.has_finished));
                let segment = end.segment(ACK, end.una, flight.min(u32::from(octets)) as u16);
                self.before.push((side, segment));
            }
            Step::Acknowledge { side, is_probe } => {
                let end = &self.ends[side];
                let sequence = if is_probe { end.una.wrapping_sub(1) } else { end.nxt };
                self.before.push((side, end.segment(ACK, sequence, 0)));
            }
            Step::Window { side, octets } => {
                let end = &mut self.ends[side];
                let edge = end.expected.wrapping_add(octets);
                if is_at_or_after(edge, end.edge) {
                    end.edge = edge;
                }
            }
            Step::Finish { side } => {
                let end = &mut self.ends[side];
                if !end.has_finished {
                    let segment = end.segment(FIN, end.nxt, 0);
                    end.nxt = segment.end();
                    end.has_finished = true;
                    self.before.push((side, segment));
                }
            }
            Step::Arrive { number, is_lost, is_repeated } => self.arrive(number, is_lost, is_repeated),
            Step::Attack { direction, segment } => {
                let before = self.connection;
                let is_blind = !self.ends[direction.opposite() as usize].would_take(&segment);
                let result = self.connection.track(direction, &segment, INSIDE);
                assert!(result.is_ok() || self.connection == before, "what is refused changes nothing");
                // One that is within bounds, by luck or as the ends are behind, is the receiver's to judge.
                if is_blind {
                    self.connection = before;
                }
            }
        }
    }

    fn arrive(&mut self, number: usize, is_lost: bool, is_repeated: bool) {
        let total = self.before.len() + self.behind.len();
        let Some(number) = number.checked_rem(total) else { return };
        if number < self.before.len() {
            let (side, segment) = self.before[number];
            if !is_repeated {
                self.before.remove(number);
            }
            if !is_lost {
                let direction = Direction::BOTH[side];
                let is_taken = self.connection.track(direction, &segment, INSIDE).is_ok();
                self.behind.push((side, segment, is_taken));
            }
            return;
        }
        let (side, segment, is_taken) = self.behind[number - self.before.len()];
        if !is_repeated {
            self.behind.remove(number - self.before.len());
        }
        let peer_shift = self.ends[side].shift;
        let receiver = &mut self.ends[1 - side];
        if !is_lost && receiver.would_take(&segment) {
            assert!(is_taken, "{segment:?} of side {side} is good: {:?}", self.connection);
            receiver.take(&segment, peer_shift);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = 0usize..2;
    let octets = prop_oneof![1u16..2000, Just(65_000u16)];
    let segment = (
        prop::sample::select(vec![ACK, FIN, RST, Flags::RST, SYN, SYN_ACK]),
        any::<[u32; 2]>(),
        any::<u16>(),
        0u16..1500,
    )
        .prop_map(|(flags, [sequence, acknowledgment], window, data_len)| TcpSegment {
            flags,
            sequence,
            acknowledgment,
            window,
            data_len,
            ..TcpSegment::default()
        });
    let step = prop_oneof![
        6 => (side.clone(), octets.clone()).prop_map(|(side, octets)| Step::Send { side, octets }),
        2 => (side.clone(), octets).prop_map(|(side, octets)| Step::Repeat { side, octets }),
        3 => (side.clone(), any::<bool>()).prop_map(|(side, is_probe)| Step::Acknowledge { side, is_probe }),
        2 => (side.clone(), prop_oneof![Just(0u32), 1u32..100_000])
            .prop_map(|(side, octets)| Step::Window { side, octets }),
        1 => side.prop_map(|side| Step::Finish { side }),
        20 => (any::<usize>(), 0u8..8, 0u8..8).prop_map(|(number, lost, repeated)| Step::Arrive {
            number,
            is_lost: lost == 0,
            is_repeated: repeated == 0,
        }),
        2 => (prop::sample::select(Direction::BOTH.to_vec()), segment)
            .prop_map(|(direction, segment)| Step::Attack { direction, segment }),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn whatever_the_receiving_end_would_take_passes(
        first: [u32; 2],
        windows in (1u32..200_000, 1u32..200_000),
        shifts in (0u8..4, 0u8..15),
        steps in steps(),
    ) {
        let mut world = World::new(first, [windows.0, windows.1], [shifts.0, shifts.1]);
        for step in steps {
            world.step(step);
        }
    }

    /// Of 2³² numbers an attacker hits a window of 64,000 once in 30,000 shots at best.
    #[test]
    fn a_blind_segment_is_refused(
        flags in prop::sample::select(vec![ACK, FIN, RST, Flags::RST, SYN_ACK]),
        offset in 70_000u32..u32::MAX - 70_000,
        acknowledgment: u32,
        direction in prop::sample::select(Direction::BOTH.to_vec()),
    ) {
        let mut connection = small_talk(&HANDSHAKE).unwrap();
        let before = connection;
        let sequence = ISN.wrapping_add(offset);
        let blind = TcpSegment { sequence, acknowledgment, ..segment(flags) };
        prop_assert_eq!(connection.track(direction, &blind, INSIDE), Err(Invalid::Sequence));
        prop_assert_eq!(connection, before);
    }
}
