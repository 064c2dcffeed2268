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
//! Sequence numbers are not looked at: a check of windows belongs into [`State::next`].

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
