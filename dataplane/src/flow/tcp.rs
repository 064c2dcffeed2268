//! TCP connection tracking. (RFC 9293, RFC 5382, RFC 7857, RFC 6146 section 3.5.2)
//!
//! What was seen of a connection is kept as a set of facts for either side, not as the state of one
//! side's machine: so every order in which SYN, SYN-ACK, ACK and FIN of two sides may cross is covered,
//! simultaneous open included. The [`Phase`] follows from the facts:
//!
//! ```text
//!            both sides: SYN, and ACK          both sides: FIN
//!  Opening ─────────────────────────▶ Established ─────────────▶ Closing
//!     ▲  └──────────┐                  │      ▲                     │
//!     │         RST ▼      RST         │      │ anything but RST    │ RST
//!     │            Reset ◀─────────────┴──────┘ (it was no RST of   │
//!     │              │ ▲                         the connection's)  │
//!     │ SYN          │ └────────────────────────────────────────────┘
//!     └──────────────┴───────────────────────────────────────────── Closing: SYN
//! ```
//!
//! A connection counts as established only when both sides have acknowledged the other's SYN: a flood
//! of SYNs that a server answers holds nothing for two hours. A half-closed connection is established,
//! as its other half may run for hours. An RST may be forged, so a segment after it revives the
//! connection; whoever reset it truly will answer with another RST. (RFC 6146 section 3.5.2.2)
//!
//! Sequence numbers are not looked at: a check of windows belongs into `State::next`.

use super::key::Direction;
use crate::wire::tcp::Flags;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not both sides have sent and acknowledged a SYN.
    Opening,
    /// Data flows, at least one way.
    Established,
    /// Both sides have sent FIN.
    Closing,
    /// One side has sent RST.
    Reset,
}

/// Whether this is the first segment of a connection: SYN without ACK, RST and FIN.
pub(crate) fn opens(flags: Flags) -> bool {
    flags.contains(Flags::SYN) && !flags.intersects(Flags::ACK | Flags::RST | Flags::FIN)
}

/// What a segment does to the idle timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// It runs on.
    Keep,
    /// It starts anew with the timeout of the phase.
    Restart,
    /// It ends no later than a timer that starts now.
    Shorten,
}

/// The segment fits no state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// What was seen of a connection: three facts for either side, and whether it was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(u8);

const SYN: u8 = 0b01;
const ACKED: u8 = 0b01 << 2;
const FIN: u8 = 0b01 << 4;
const RESET: u8 = 1 << 6;

impl State {
    /// Nothing was seen yet.
    pub(crate) const NEW: Self = Self(0);

    /// The state after a segment in `direction`, and what that does to the timer. `inside` tells of
    /// each direction whether its sender is on the protected side.
    ///
    /// The timer is idle time; but an outsider alone must not be able to keep anything open, so in all
    /// phases but the established one only the inside's segments restart it, and an RST gives four more
    /// minutes (RFC 7857 section 2.2) only to a connection that the inside wanted.
    pub(crate) fn next(
        self,
        direction: Direction,
        flags: Flags,
        inside: [bool; 2],
    ) -> Result<(Self, Timer), Invalid> {
        let next = self.with(direction, flags)?;
        let from_inside = inside[direction as usize];
        let timer = match next.phase() {
            Phase::Established => Timer::Restart,
            Phase::Closing if self.phase() != Phase::Closing || from_inside => Timer::Restart,
            Phase::Opening if from_inside => Timer::Restart,
            Phase::Reset if self.phase() != Phase::Reset => {
                let wanted = Direction::BOTH.iter().any(|d| inside[*d as usize] && next.saw(SYN, *d));
                if wanted { Timer::Restart } else { Timer::Shorten }
            }
            Phase::Closing | Phase::Opening | Phase::Reset => Timer::Keep,
        };
        Ok((next, timer))
    }

    /// Where the connection stands.
    pub(crate) fn phase(self) -> Phase {
        if self.0 & RESET != 0 {
            Phase::Reset
        } else if self.saw_both(FIN) {
            Phase::Closing
        } else if self.saw_both(SYN | ACKED) {
            Phase::Established
        } else {
            Phase::Opening
        }
    }

    fn with(self, direction: Direction, flags: Flags) -> Result<Self, Invalid> {
        let peer = direction.opposite();
        if flags.contains(Flags::RST) {
            return Ok(Self(self.0 | RESET));
        }
        if opens(flags) {
            return Ok(match self.phase() {
                // The same ports again, for a new connection.
                Phase::Closing | Phase::Reset => Self::NEW.and(SYN, direction),
                Phase::Opening => self.and(SYN, direction),
                // The peer answers with a challenge. (RFC 5961 section 4)
                Phase::Established => self,
            });
        }
        // Every other segment acknowledges. (RFC 9293 section 3.10.7.4)
        if !flags.contains(Flags::ACK) {
            return Err(Invalid);
        }
        let revived = Self(self.0 & !RESET);
        if flags.contains(Flags::SYN) {
            return if revived.saw(SYN, peer) {
                Ok(revived.and(SYN | ACKED, direction))
            } else {
                Err(Invalid)
            };
        }
        if !revived.saw(SYN, direction) {
            // An old connection's other end answers a SYN with a bare ACK, so that it is told RST.
            return if self.saw(SYN, peer) && !flags.contains(Flags::FIN) { Ok(self) } else { Err(Invalid) };
        }
        if !revived.saw(SYN, peer) {
            return Err(Invalid);
        }
        let fin = if flags.contains(Flags::FIN) { FIN } else { 0 };
        Ok(revived.and(ACKED | fin, direction))
    }

    const fn and(self, facts: u8, direction: Direction) -> Self {
        Self(self.0 | facts << direction as u8)
    }

    const fn saw(self, facts: u8, direction: Direction) -> bool {
        self.0 >> direction as u8 & facts == facts
    }

    const fn saw_both(self, facts: u8) -> bool {
        self.saw(facts, Direction::Original) && self.saw(facts, Direction::Reply)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Direction::{Original, Reply};
    use super::*;

    const SYN: Flags = Flags::SYN;
    const ACK: Flags = Flags::ACK;
    const RST: Flags = Flags::RST;
    const SYN_ACK: Flags = Flags(Flags::SYN.0 | Flags::ACK.0);
    const FIN: Flags = Flags(Flags::FIN.0 | Flags::ACK.0);

    /// The client is inside.
    const INSIDE: [bool; 2] = [true, false];

    fn after(segments: &[(Direction, Flags)]) -> Result<State, Invalid> {
        let follow = |state: State, (direction, flags): &(Direction, Flags)| {
            state.next(*direction, *flags, INSIDE).map(|(state, _)| state)
        };
        segments.iter().try_fold(State::NEW, follow)
    }

    fn phase(segments: &[(Direction, Flags)]) -> Option<Phase> {
        after(segments).ok().map(State::phase)
    }

    const HANDSHAKE: [(Direction, Flags); 3] = [(Original, SYN), (Reply, SYN_ACK), (Original, ACK)];

    fn and_then(segments: &[(Direction, Flags)]) -> Option<Phase> {
        phase(&[&HANDSHAKE, segments].concat())
    }

    #[test]
    fn a_connection_is_established_when_both_have_acknowledged() {
        assert_eq!(phase(&HANDSHAKE[..1]), Some(Phase::Opening));
        assert_eq!(phase(&HANDSHAKE[..2]), Some(Phase::Opening));
        assert_eq!(phase(&HANDSHAKE), Some(Phase::Established));
    }

    #[test]
    fn rfc5382_req2_simultaneous_open_in_every_order() {
        let orders = [
            [(Original, SYN), (Reply, SYN), (Original, SYN_ACK), (Reply, SYN_ACK)],
            [(Original, SYN), (Reply, SYN), (Reply, SYN_ACK), (Original, SYN_ACK)],
            [(Original, SYN), (Reply, SYN), (Original, ACK), (Reply, ACK)],
        ];
        for order in orders {
            assert_eq!(phase(&order), Some(Phase::Established));
        }
    }

    #[test]
    fn a_connection_closes_when_both_have_sent_fin_in_either_order() {
        assert_eq!(and_then(&[(Reply, FIN)]), Some(Phase::Established));
        for order in [[Original, Reply], [Reply, Original]] {
            let [first, second] = order;
            assert_eq!(and_then(&[(first, FIN), (second, FIN)]), Some(Phase::Closing));
            assert_eq!(and_then(&[(first, FIN), (second, FIN), (first, ACK)]), Some(Phase::Closing));
        }
    }

    #[test]
    fn a_fin_before_the_last_ack_of_the_handshake_counts() {
        let segments = [(Original, SYN), (Reply, SYN_ACK), (Reply, FIN), (Original, ACK), (Original, FIN)];
        assert_eq!(phase(&segments), Some(Phase::Closing));
    }

    #[test]
    fn an_rst_resets_from_every_phase_and_anything_else_revives() {
        assert_eq!(phase(&[(Original, SYN), (Reply, RST)]), Some(Phase::Reset));
        assert_eq!(and_then(&[(Reply, RST)]), Some(Phase::Reset));
        assert_eq!(and_then(&[(Reply, RST), (Original, ACK)]), Some(Phase::Established));
        let closed = [(Original, FIN), (Reply, FIN), (Reply, RST)];
        assert_eq!(and_then(&closed), Some(Phase::Reset));
    }

    #[test]
    fn a_syn_starts_anew_only_after_the_end() {
        assert_eq!(and_then(&[(Original, SYN)]), Some(Phase::Established));
        for last in [(Reply, FIN), (Reply, RST)] {
            for from in Direction::BOTH {
                assert_eq!(and_then(&[(Original, FIN), last, (from, SYN)]), Some(Phase::Opening));
            }
        }
    }

    #[test]
    fn an_old_connections_other_end_may_answer_a_syn_with_an_ack() {
        let segments = [(Original, SYN), (Reply, ACK), (Original, RST), (Original, SYN)];
        assert_eq!(phase(&segments), Some(Phase::Opening));
    }

    #[test]
    fn what_fits_no_state_is_invalid() {
        assert_eq!(after(&[(Original, SYN), (Original, ACK)]), Err(Invalid));
        assert_eq!(after(&[(Original, SYN), (Original, SYN_ACK)]), Err(Invalid));
        assert_eq!(after(&[(Original, SYN), (Reply, FIN)]), Err(Invalid));
        assert_eq!(after(&[&HANDSHAKE[..], &[(Original, Flags(0))]].concat()), Err(Invalid));
    }

    #[test]
    fn outside_the_established_phase_only_the_inside_restarts_the_timer() {
        let timer = |segments: &[(Direction, Flags)], direction, flags| {
            after(segments).unwrap().next(direction, flags, INSIDE).unwrap().1
        };
        assert_eq!(timer(&HANDSHAKE[..1], Original, SYN), Timer::Restart);
        assert_eq!(timer(&HANDSHAKE[..1], Reply, SYN_ACK), Timer::Keep);
        assert_eq!(timer(&HANDSHAKE, Reply, ACK), Timer::Restart);
        assert_eq!(timer(&HANDSHAKE, Reply, RST), Timer::Restart);
        assert_eq!(timer(&[(Reply, SYN)], Original, RST), Timer::Shorten);
        let closing = [&HANDSHAKE[..], &[(Original, FIN), (Reply, FIN)]].concat();
        assert_eq!(timer(&closing, Reply, FIN), Timer::Keep);
        assert_eq!(timer(&closing, Original, ACK), Timer::Restart);
    }

    proptest! {
        /// After a handshake whatever two honest ends send passes, in whatever order it crosses.
        #[test]
        fn no_segment_of_an_established_connection_is_invalid(
            segments in prop::collection::vec((any::<bool>(), prop::sample::select(vec![ACK, FIN, RST])), 0..20),
        ) {
            let segments: Vec<_> =
                segments.into_iter().map(|(back, flags)| (if back { Reply } else { Original }, flags)).collect();
            prop_assert!(and_then(&segments).is_some());
        }
    }
}
