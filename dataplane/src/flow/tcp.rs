//! TCP connection tracking. (RFC 9293; RFC 5382; RFC 5961; RFC 7857; RFC 6146, section 3.5.2)
//!
//! The tracker keeps the flags seen of each side of a connection instead of one side's state machine. So it covers
//! every order in which SYN, SYN-ACK, ACK and FIN of the two sides may cross, simultaneous open included. The
//! [`Phase`] follows from the flags seen:
//!
//! | phase       | SYN and ACK of both sides | FIN of both sides | RST   | SYN of a new connection |
//! |-------------|---------------------------|-------------------|-------|-------------------------|
//! | Opening     | Established               | Closing           | Reset |                         |
//! | Established |                           | Closing           | Reset | see below               |
//! | Closing     |                           |                   | Reset | Opening                 |
//! | Reset       | see below                 | see below         |       | Opening                 |
//!
//! A segment other than RST and SYN returns a connection from Reset to the phase that the flags of both sides give.
//!
//! A connection counts as established only when both sides have acknowledged the other's SYN, so a flood of SYNs that
//! a server answers creates no two-hour entries. A half-closed connection is established, as its other half may run
//! for hours. An RST may be forged, so a later segment revives the connection; a host that has truly reset it answers
//! that segment with another RST. (RFC 6146, section 3.5.2.2)
//!
//! # Sequence numbers
//!
//! An attacker who does not see a connection cannot guess its sequence numbers. So a segment must be within the
//! receiver's window, or be a possible retransmission of data that the receiver has acknowledged:
//!
//! ```text
//!   data:    acked − window of the receiver  ≤  last octet,   first octet  ≤  limit
//!   ACK:     acked of the receiver − window of the sender  ≤  ACK  ≤  end of the receiver   (RFC 5961, section 5.2)
//!   RST:     acked  ≤  RST  ≤  limit                                                        (RFC 5961, section 3.2)
//! ```
//!
//! In the names of Linux's conntrack, `end` is `td_end`, `limit` is `td_maxend` and `window` is `td_maxwin`. For each
//! side, `end` is the number after the last octet that it sent, `acked` the number after the last octet acknowledged to
//! it, `limit` the number after the last octet that it may send, and `window` the largest window that it offered. All
//! segments pass the gateway, and a segment lost behind the gateway is retransmitted through it, so an honest segment
//! is never out of bounds. The first ACK of a SYN must acknowledge exactly the SYN. Selective acknowledgments (RFC
//! 2018) change none of the bounds and are not read.
//!
//! An RST within bounds but neither at `acked` nor at `end` passes without a change of state: its receiver sends a
//! challenge ACK, and a genuine RST comes again with the exact number. (RFC 5961, section 3.2) A SYN into an
//! established connection also passes without a change of state, unless the other end, which has forgotten the old
//! connection, answers with a SYN-ACK: then a new connection begins. (RFC 5961, section 4)
//!
//! A connection whose beginning was not seen, because it is older than the gateway's last start, is not picked up:
//! its external port and its windows are not known. Its LAN host gets an RST as soon as it sends
//! (`pipeline/nat/reject.rs`), and connects anew.

use gatepost_ground::wire::options::HeaderOption;
use gatepost_ground::wire::tcp::{Flags, Header};

use crate::key::Direction;

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// At least one side has not sent or not acknowledged a SYN.
    Opening,
    /// Both sides have sent and acknowledged a SYN, and at most one has sent FIN.
    Established,
    /// Both sides have sent FIN.
    Closing,
    /// One side has sent RST.
    Reset,
}

/// The fields of a TCP segment that connection tracking needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSegment {
    /// The control bits.
    pub flags: Flags,
    /// The sequence number of the first octet, or of the SYN.
    pub sequence: u32,
    /// The acknowledgment number, valid with [`Flags::ACK`].
    pub acknowledgment: u32,
    /// The window field, not scaled.
    pub window: u16,
    /// The number of data octets.
    pub data_len: u16,
    /// The window scale that a SYN offers.
    pub scale: Option<u8>,
    /// Whether the segment is a first fragment, and so has more data than `data_len`.
    pub is_fragmented: bool,
}

/// The largest window scale. (RFC 7323, section 2.3)
const SCALE_MAX: u8 = 14;

const OPTION_WINDOW_SCALE: u8 = 3;

impl TcpSegment {
    /// The fields of the TCP `segment` with `header`; `is_fragmented` if it is a first fragment.
    #[inline]
    pub fn of(header: &Header, segment: &[u8], is_fragmented: bool) -> Self {
        let scale = if header.flags.contains(Flags::SYN) { window_scale(header, segment) } else { None };
        Self {
            flags: header.flags,
            sequence: header.sequence,
            acknowledgment: header.acknowledgment,
            window: header.window,
            data_len: header.payload_len,
            scale,
            is_fragmented,
        }
    }

    /// The sequence number after the last octet. SYN and FIN count as one octet each.
    fn end(&self) -> u32 {
        let controls = (self.flags.0 & (Flags::SYN.0 | Flags::FIN.0)).count_ones();
        self.sequence.wrapping_add(u32::from(self.data_len)).wrapping_add(controls)
    }
}

#[cold]
fn window_scale(header: &Header, segment: &[u8]) -> Option<u8> {
    let scale = |option: HeaderOption<'_>| match *option.bytes {
        [OPTION_WINDOW_SCALE, 3, shift] => Some(shift.min(SCALE_MAX)),
        _ => None,
    };
    header.options(segment).map_while(Result::ok).find_map(scale)
}

/// Whether a segment with `flags` opens a connection: SYN without ACK, RST and FIN.
pub(crate) fn opens(flags: Flags) -> bool {
    flags.contains(Flags::SYN) && !flags.intersects(Flags::ACK | Flags::RST | Flags::FIN)
}

/// The effect of a segment on the idle timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The timer runs on.
    Keep,
    /// The timer restarts with the timeout of the phase.
    Restart,
    /// The timer ends no later than one that starts now.
    Shorten,
}

/// Why a segment does not belong to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// The segment fits no state of the connection.
    State,
    /// The sequence or acknowledgment number is out of bounds.
    Sequence,
}

/// The tracked state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// For each side, the number after the last octet that it sent.
    end: [u32; 2],
    /// For each side, the number after the last octet that it may send.
    limit: [u32; 2],
    /// For each side, the number after the last octet that was acknowledged to it; its initial sequence number before
    /// that.
    acked: [u32; 2],
    /// The sequence number of a SYN into the established connection, if `stray` has one.
    stray_sequence: u32,
    /// The largest window that each side offered, before scaling.
    window: [u16; 2],
    /// The window scale of each side: 0 to [`SCALE_MAX`], or [`NO_SCALE`].
    scale: [u8; 2],
    stray: StraySyn,
    state: State,
}

/// The scale of a side that has sent no SYN, or a SYN without a window scale.
const NO_SCALE: u8 = 15;

/// The direction and the window scale of a SYN into the established connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StraySyn(u8);

impl StraySyn {
    const NONE: Self = Self(u8::MAX);

    fn new(direction: Direction, scale: u8) -> Self {
        Self((direction as u8) << 4 | scale)
    }

    /// The window scale of the SYN, if it went in `direction`.
    fn scale(self, direction: Direction) -> Option<u8> {
        (self != Self::NONE && self.0 >> 4 == direction as u8).then_some(self.0 & 0x0f)
    }
}

impl Connection {
    /// The state before any segment.
    pub(crate) const NEW: Self = Self {
        end: [0; 2],
        limit: [0; 2],
        acked: [0; 2],
        stray_sequence: 0,
        window: [0; 2],
        scale: [NO_SCALE; 2],
        stray: StraySyn::NONE,
        state: State::NEW,
    };

    /// The phase of the connection.
    pub(crate) fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// Tracks a segment in `direction` and returns its effect on the idle timer. The sender of the direction `inside`
    /// is inside. A segment that is not valid changes nothing.
    ///
    /// The timer measures idle time. A host outside alone must not be able to keep a connection open, so in all
    /// phases but the established one only segments from inside restart the timer, and an RST starts the four minutes
    /// of RFC 7857, section 2.2, only for a connection in which the inside has sent a SYN.
    #[inline]
    pub(crate) fn track(
        &mut self,
        direction: Direction,
        segment: &TcpSegment,
        inside: Direction,
    ) -> Result<Timer, Invalid> {
        let before = self.phase();
        if self.take(direction, segment)? == Effect::PassedOn {
            return Ok(Timer::Keep);
        }
        let from_inside = direction == inside;
        Ok(match self.phase() {
            Phase::Established => Timer::Restart,
            Phase::Closing if before != Phase::Closing || from_inside => Timer::Restart,
            Phase::Opening if from_inside => Timer::Restart,
            Phase::Reset if before != Phase::Reset => {
                if self.state.saw(SYN, inside) {
                    Timer::Restart
                } else {
                    Timer::Shorten
                }
            }
            Phase::Closing | Phase::Opening | Phase::Reset => Timer::Keep,
        })
    }

    /// Whether the sender of `direction` may have sent a segment with this sequence number. An ICMP error that quotes
    /// another number comes from a host that does not see the connection. (RFC 5927, section 4.1)
    pub(crate) fn may_have_sent(&self, direction: Direction, sequence: u32) -> bool {
        if self.stray.scale(direction).is_some() && sequence == self.stray_sequence {
            return true;
        }
        let (side, peer) = (direction as usize, direction.opposite() as usize);
        let lowest = self.acked[side].wrapping_sub(self.window_of(peer)).wrapping_sub(PROBE);
        let highest = self.end[side].wrapping_add(self.unseen_max());
        self.state.saw(SYN, direction)
            && is_at_or_after(sequence, lowest)
            && is_at_or_after(highest, sequence)
    }

    #[inline]
    fn take(&mut self, direction: Direction, segment: &TcpSegment) -> Result<Effect, Invalid> {
        let flags = segment.flags;
        let (state, peer) = (self.state, direction.opposite());
        if flags.intersects(Flags::SYN | Flags::RST) {
            return self.take_control(direction, segment);
        }
        // Every other segment acknowledges. (RFC 9293, section 3.10.7.4)
        if !flags.contains(Flags::ACK) || !state.saw(SYN, peer) {
            return Err(Invalid::State);
        }
        if !state.saw(SYN, direction) {
            // The other end of an old connection answers a SYN with a bare ACK, which has to pass so that it is
            // answered with an RST. Data does not pass: without the peer's number a forged segment cannot be detected.
            let is_bare = !flags.contains(Flags::FIN) && segment.data_len == 0 && !segment.is_fragmented;
            return if is_bare { Ok(Effect::PassedOn) } else { Err(Invalid::State) };
        }
        if !self.is_sequence_fit(direction, segment) || !self.is_ack_fit(direction, segment) {
            return Err(Invalid::Sequence);
        }
        let fin = if flags.contains(Flags::FIN) { FIN } else { 0 };
        self.state = state.revived().and(ACKED | fin, direction);
        self.learn(direction, segment);
        Ok(Effect::Applied)
    }

    #[cold]
    fn take_control(&mut self, direction: Direction, segment: &TcpSegment) -> Result<Effect, Invalid> {
        if segment.flags.contains(Flags::RST) {
            self.take_rst(direction, segment)
        } else if segment.flags.contains(Flags::ACK) {
            self.take_syn_ack(direction, segment)
        } else if opens(segment.flags) {
            Ok(self.take_syn(direction, segment))
        } else {
            Err(Invalid::State)
        }
    }

    fn take_rst(&mut self, direction: Direction, segment: &TcpSegment) -> Result<Effect, Invalid> {
        let (side, sequence) = (direction as usize, segment.sequence);
        let knows_sender = self.state.saw(SYN, direction);
        let knows_receiver = self.state.saw(SYN, direction.opposite());
        let is_exact = match (knows_sender, knows_receiver) {
            // The RST rejects the SYN that it acknowledges. (RFC 9293, section 3.10.7.3)
            (false, _) if !segment.flags.contains(Flags::ACK) || !self.is_ack_fit(direction, segment) => {
                return Err(Invalid::Sequence);
            }
            (false, _) => true,
            // An RST at another number than the end of its sender's SYN answers the ACK of an old connection's other
            // end.
            (true, false) => sequence == self.end[side],
            (true, true) => {
                // A segment that was sent before the sender's FIN arrived is answered with an RST at the number of
                // the FIN, which the other end accepts. (Linux net/ipv4/tcp_input.c, tcp_reset_check)
                let is_fin = self.state.saw(FIN, direction) && sequence.wrapping_add(1) == self.end[side];
                let is_end = sequence == self.end[side] || is_fin;
                let is_within =
                    is_at_or_after(sequence, self.acked[side]) && is_at_or_after(self.limit[side], sequence);
                if !is_within && !is_end {
                    return Err(Invalid::Sequence);
                }
                is_end || sequence == self.acked[side]
            }
        };
        if is_exact {
            self.state = State(self.state.0 | RESET);
        }
        Ok(if is_exact { Effect::Applied } else { Effect::PassedOn })
    }

    fn take_syn(&mut self, direction: Direction, segment: &TcpSegment) -> Effect {
        let peer = direction.opposite();
        match self.phase() {
            // The same ports are used again for a new connection.
            Phase::Closing | Phase::Reset => {
                *self = Self::NEW;
                self.begin(direction, segment);
                Effect::Applied
            }
            Phase::Opening if !self.state.saw(SYN, direction) || !self.state.saw(ACKED, peer) => {
                self.begin(direction, segment);
                Effect::Applied
            }
            // A retransmitted SYN whose answer was lost.
            Phase::Opening if segment.sequence.wrapping_add(1) == self.acked[direction as usize] => {
                Effect::Applied
            }
            // The peer answers with a challenge ACK, unless it has forgotten the connection.
            Phase::Opening | Phase::Established => {
                self.stray_sequence = segment.sequence;
                self.stray = StraySyn::new(direction, segment.scale.unwrap_or(NO_SCALE));
                Effect::PassedOn
            }
        }
    }

    fn take_syn_ack(&mut self, direction: Direction, segment: &TcpSegment) -> Result<Effect, Invalid> {
        let peer = direction.opposite();
        let is_known = self.state.saw(SYN, direction) && self.state.saw(ACKED, peer);
        let is_fit =
            self.is_ack_fit(direction, segment) && (!is_known || self.is_sequence_fit(direction, segment));
        if !self.state.saw(SYN, peer) {
            return Err(Invalid::State);
        } else if is_fit && !is_known {
            self.begin(direction, segment);
        } else if !is_fit {
            let answered = segment.acknowledgment == self.stray_sequence.wrapping_add(1);
            let scale = self.stray.scale(peer).filter(|_| answered).ok_or(Invalid::Sequence)?;
            let syn =
                TcpSegment { sequence: self.stray_sequence, flags: Flags::SYN, ..TcpSegment::default() };
            *self = Self::NEW;
            self.begin(peer, &TcpSegment { scale: Some(scale).filter(|scale| *scale != NO_SCALE), ..syn });
            self.begin(direction, segment);
        }
        self.state = self.state.revived().and(ACKED, direction);
        self.learn(direction, segment);
        Ok(Effect::Applied)
    }

    /// Starts a side's sequence numbers with its SYN.
    fn begin(&mut self, direction: Direction, syn: &TcpSegment) {
        let (side, peer) = (direction as usize, direction.opposite() as usize);
        self.state = self.state.revived().and(SYN, direction);
        self.scale[side] = syn.scale.unwrap_or(NO_SCALE);
        // The window of a SYN is not scaled. // RFC 7323, section 2.2
        self.window[side] = (u32::from(syn.window).div_ceil(1 << self.shift(side))) as u16;
        if self.state.saw_both(SYN) && self.scale.contains(&NO_SCALE) {
            // Windows are scaled only if both SYNs have a window scale.
            let unscaled = |side: usize| self.window_of(side).min(u32::from(u16::MAX)) as u16;
            self.window = [unscaled(0), unscaled(1)];
            self.scale = [NO_SCALE; 2];
        }
        self.acked[side] = syn.sequence;
        self.end[side] = syn.end();
        self.limit[side] = syn.end().wrapping_add(self.window_of(peer));
    }

    /// Whether the segment is within the receiver's window, or was within it before.
    #[inline]
    fn is_sequence_fit(&self, direction: Direction, segment: &TcpSegment) -> bool {
        let (side, peer) = (direction as usize, direction.opposite() as usize);
        let lowest = self.acked[side].wrapping_sub(self.window_of(peer)).wrapping_sub(PROBE);
        let highest = self.limit[side].wrapping_add(PROBE);
        is_at_or_after(highest, segment.sequence) && is_at_or_after(segment.end(), lowest)
    }

    /// Whether the acknowledgment is one that the receiver accepts, or accepted before.
    #[inline]
    fn is_ack_fit(&self, direction: Direction, segment: &TcpSegment) -> bool {
        let (side, peer) = (direction as usize, direction.opposite() as usize);
        let acknowledgment = segment.acknowledgment;
        let lowest = if self.state.saw(ACKED, direction) {
            self.acked[peer].wrapping_sub(self.window_of(side)).wrapping_sub(PROBE)
        } else {
            self.acked[peer].wrapping_add(1) // its SYN
        };
        is_at_or_after(acknowledgment, lowest)
            && is_at_or_after(self.end[peer].wrapping_add(self.unseen_max()), acknowledgment)
    }

    /// The most octets that a side may have sent behind the last one known: those of a fragmented segment, of which
    /// only the first fragment has been counted.
    fn unseen_max(&self) -> u32 {
        if self.state.0 & FRAGMENTED == 0 { 0 } else { u32::from(u16::MAX) }
    }

    /// Updates both sides' numbers by a segment with an acknowledgment.
    #[inline]
    fn learn(&mut self, direction: Direction, segment: &TcpSegment) {
        let (side, peer) = (direction as usize, direction.opposite() as usize);
        let raise =
            |number: &mut u32, to: u32| *number = if is_at_or_after(to, *number) { to } else { *number };
        if segment.is_fragmented {
            self.state = State(self.state.0 | FRAGMENTED);
        }
        raise(&mut self.end[side], segment.end());
        raise(&mut self.acked[peer], segment.acknowledgment);
        raise(&mut self.end[peer], segment.acknowledgment);
        let is_scaled = !segment.flags.contains(Flags::SYN);
        let window = u32::from(segment.window) << if is_scaled { self.shift(side) } else { 0 };
        raise(&mut self.limit[peer], segment.acknowledgment.wrapping_add(window));
        if is_scaled {
            self.window[side] = self.window[side].max(segment.window);
        }
    }

    /// The largest window that a side offered, scaled, in octets.
    #[inline]
    fn window_of(&self, side: usize) -> u32 {
        u32::from(self.window[side]) << self.shift(side)
    }

    #[inline]
    fn shift(&self, side: usize) -> u8 {
        let scale = self.scale[side];
        if scale == NO_SCALE { 0 } else { scale }
    }
}

/// The effect of a segment on the tracked state: applied, or passed on for its receiver to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Applied,
    PassedOn,
}

/// The tolerance of the bounds: a keep-alive repeats one acknowledged octet, and a window probe or a FIN is one octet
/// beyond the window. (RFC 9293, section 3.8.4; RFC 9293, section 3.8.6.1)
const PROBE: u32 = 1;

/// Whether the sequence number `number` is `other` or comes after it, modulo 2^32. (RFC 9293, section 3.4)
#[inline]
const fn is_at_or_after(number: u32, other: u32) -> bool {
    number.wrapping_sub(other) < 1 << 31
}

/// The flags seen of a connection: three for each side, whether it was reset, and whether a segment was fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State(u8);

const SYN: u8 = 0b01;
const ACKED: u8 = 0b01 << 2;
const FIN: u8 = 0b01 << 4;
const RESET: u8 = 1 << 6;
const FRAGMENTED: u8 = 1 << 7;

impl State {
    const NEW: Self = Self(0);

    fn phase(self) -> Phase {
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

    const fn revived(self) -> Self {
        Self(self.0 & !RESET)
    }

    const fn and(self, flags: u8, direction: Direction) -> Self {
        Self(self.0 | flags << direction as u8)
    }

    const fn saw(self, flags: u8, direction: Direction) -> bool {
        self.0 >> direction as u8 & flags == flags
    }

    const fn saw_both(self, flags: u8) -> bool {
        self.saw(flags, Direction::Original) && self.saw(flags, Direction::Reply)
    }
}

#[cfg(test)]
mod tests;
