//! Acknowledgements, loss detection and timers.

use std::time::Duration;

use gatepost_ground::Instant;

use super::super::segment::Fields;
use super::{Connection, Phase, State, position_of};

/// The number of duplicate acknowledgements that indicate a loss. (RFC 5681, section 3.2)
const DUP_THRESH: u64 = 3;
/// The longest delay of the peer's acknowledgements, WCDelAckT. (RFC 8985, section 7.2)
const PEER_DELAY_MAX: Duration = Duration::from_millis(200);
/// The delay of a tail loss probe before the first measurement. (RFC 8985, section 7.2)
const PROBE_INITIAL: Duration = Duration::from_secs(1);
/// The least delay of a tail loss probe: even on a path without delay, the peer takes some time to answer.
const PROBE_MIN: Duration = Duration::from_millis(10);

impl Connection {
    /// Processes the acknowledgement and the window of a segment at `start`.
    pub(super) fn take_acknowledgement(
        &mut self,
        now: Instant,
        segment: &Fields<'_>,
        start: i64,
        acknowledged: i64,
    ) {
        let was_edge = self.peer_edge;
        self.take_window(segment, start, acknowledged);
        let (blocks, is_dsack) = self.blocks_of(segment, acknowledged);
        if is_dsack {
            self.board.on_dsack();
        }
        let before = self.in_flight();
        let is_repeated = acknowledged == self.acknowledged
            && segment.payload.is_empty()
            && !segment.is_fin
            && self.peer_edge == was_edge
            && !self.board.is_empty();
        let rtt = self.rtt;
        let delivered = self.board.acknowledge(now, acknowledged, &blocks, &rtt);
        if let Some(rtt) = delivered.rtt {
            self.rtt.measured(rtt);
        }
        let advanced = (acknowledged - self.acknowledged).max(0) as u64;
        if advanced > 0 {
            self.acknowledged = acknowledged;
            self.send.acknowledge(acknowledged);
            self.rtt.progressed();
            self.persist_doublings = 0;
            self.timers.persist = None;
            self.timers.retransmit = (!self.board.is_empty()).then(|| now + self.rtt.timeout());
            self.writer.take().into_iter().for_each(std::task::Waker::wake);
        }
        self.note_probe(acknowledged, is_dsack, is_repeated && !self.has_sack);
        self.leave_phase();
        if self.has_sack {
            self.timers.reordering = self.board.detect_lost(now, &self.rtt, self.phase != Phase::Open);
        } else {
            self.count_repeated(is_repeated, advanced);
        }
        self.enter_recovery();
        let window = self.congestion.window();
        let was_limited = self.is_limited || before * 2 >= window;
        if delivered.octets > 0 && was_limited && !matches!(self.phase, Phase::Recovery(_)) {
            let rtt = self.rtt.smoothed().unwrap_or_default();
            self.congestion.arrived(now, delivered.octets, rtt);
        }
        self.is_limited = false;
        if advanced > 0 || delivered.octets > 0 {
            self.arm_tail_probe(now);
        }
        if self.is_closing && self.acknowledged > self.send.end() {
            match self.state {
                State::FinWait1 => self.state = State::FinWait2,
                State::Closing => self.enter_time_wait(),
                State::LastAck => self.end(),
                _ => {}
            }
        }
    }

    /// RFC 9293, section 3.10.7.4: only a newer segment changes the window.
    fn take_window(&mut self, segment: &Fields<'_>, start: i64, acknowledged: i64) {
        if acknowledged < self.acknowledged || (start, acknowledged) < self.peer_edge_from {
            return;
        }
        let window = i64::from(segment.window) << self.peer_shift;
        self.peer_edge_from = (start, acknowledged);
        self.peer_window_max = self.peer_window_max.max(window);
        if acknowledged + window > self.peer_edge {
            self.timers.persist = None;
            self.persist_doublings = 0;
        }
        self.peer_edge = acknowledged + window;
    }

    /// The peer's SACK blocks, and whether the first one reports a duplicate (DSACK). (RFC 2883, section 4)
    fn blocks_of(&self, segment: &Fields<'_>, acknowledged: i64) -> ([Option<(i64, i64)>; 3], bool) {
        if !self.has_sack {
            return ([None; 3], false);
        }
        let position = |number| position_of(self.own_initial, number, acknowledged);
        let blocks =
            segment.options.blocks.map(|block| block.map(|(start, end)| (position(start), position(end))));
        let is_dsack = match blocks {
            [Some((start, end)), ..] if start < end && end <= acknowledged => true,
            [Some((start, end)), Some((from, to)), _] => from <= start && end <= to,
            _ => false,
        };
        let is_possible =
            |block: &(i64, i64)| block.0 < block.1 && block.0 >= acknowledged && block.1 <= self.next;
        (blocks.map(|block| block.filter(is_possible)), is_dsack)
    }

    /// The estimated number of octets in flight, SetPipe(). (RFC 6675, section 4; RFC 5681, section 3.2)
    pub(super) fn in_flight(&self) -> u64 {
        let arrived = if self.has_sack { 0 } else { self.repeated * self.segment_size };
        self.board.in_flight().saturating_sub(arrived)
    }

    /// Counts duplicate acknowledgements of a peer without SACK. Each of them means that a segment has arrived.
    /// (RFC 6582)
    fn count_repeated(&mut self, is_repeated: bool, advanced: u64) {
        if advanced > 0 {
            self.repeated = self.repeated.saturating_sub(advanced / self.segment_size);
            match self.phase {
                // RFC 6582, section 3.2: a partial acknowledgement shows that the next segment is lost, too.
                Phase::Recovery(_) => {
                    self.board.mark_first_lost();
                    self.due.resend = true;
                }
                Phase::Open => self.repeated = 0,
                Phase::Loss(_) => {}
            }
        } else if is_repeated && self.repeated < self.board.len() as u64 {
            self.repeated += 1;
            if self.phase == Phase::Open && self.repeated == DUP_THRESH {
                self.board.mark_first_lost();
            }
        }
    }

    /// Ends a phase of congestion when everything sent before its start is acknowledged.
    fn leave_phase(&mut self) {
        if let Phase::Recovery(end) | Phase::Loss(end) = self.phase
            && self.acknowledged >= end
        {
            self.phase = Phase::Open;
            self.repeated = 0;
            self.board.recovered();
        }
    }

    fn enter_recovery(&mut self) {
        if self.board.has_lost() && self.phase == Phase::Open {
            self.phase = Phase::Recovery(self.next);
            self.congestion.lost();
            self.due.resend = true;
            self.timers.tail_probe = None;
        }
    }

    /// Detects whether a tail loss probe has repaired a loss. (RFC 8985, section 7.4.2)
    fn note_probe(&mut self, acknowledged: i64, is_dsack: bool, is_repeated: bool) {
        let Some(probe) = self.probe.filter(|probe| acknowledged >= probe.end) else { return };
        if !probe.is_copy || is_dsack || is_repeated {
            self.probe = None;
        } else if acknowledged > probe.end {
            self.probe = None;
            if self.phase == Phase::Open {
                self.congestion.lost();
            }
        }
    }

    /// Sets the timer of the tail loss probe, PTO. (RFC 8985, section 7.2)
    pub(super) fn arm_tail_probe(&mut self, now: Instant) {
        let may_probe = self.has_sack
            && self.phase == Phase::Open
            && self.probe.is_none()
            && !self.board.is_empty()
            && !self.board.has_sacked()
            && self.acknowledged > 0;
        let pto = match self.rtt.smoothed() {
            None => PROBE_INITIAL,
            Some(smoothed) if self.board.len() == 1 => smoothed * 2 + PEER_DELAY_MAX,
            Some(smoothed) => smoothed * 2,
        };
        let at = now + pto.max(PROBE_MIN);
        self.timers.tail_probe =
            Some(at).filter(|at| may_probe && self.timers.retransmit.is_none_or(|rto| *at < rto));
    }

    /// Notes what is due at `now`.
    pub(super) fn handle_timers(&mut self, now: Instant) {
        let is_due = |timer: &mut Option<Instant>| timer.take_if(|at| *at <= now).is_some();
        if is_due(&mut self.timers.acknowledgement) {
            self.due.acknowledgement = true;
        }
        if is_due(&mut self.timers.reordering) {
            self.timers.reordering = self.board.detect_lost(now, &self.rtt, self.phase != Phase::Open);
            self.enter_recovery();
        }
        if is_due(&mut self.timers.tail_probe) && !self.board.is_empty() {
            self.due.tail_probe = true;
            self.timers.retransmit = Some(now + self.rtt.timeout());
        }
        if is_due(&mut self.timers.retransmit) && !self.board.is_empty() {
            self.time_out(now);
        }
        if is_due(&mut self.timers.persist) {
            (self.due.keep_alive, self.due.overrides_sws) = (true, true);
            self.persist_doublings = (self.persist_doublings + 1).min(9);
        }
        if self.keep_alive_at().is_some_and(|at| at <= now) {
            self.due.keep_alive = true;
        }
    }

    /// Handles a retransmission time-out. (RFC 6298, section 5; RFC 5681, section 3.1)
    fn time_out(&mut self, now: Instant) {
        self.rtt.back_off();
        if matches!(self.phase, Phase::Loss(_)) {
            self.congestion.timed_out_again();
        } else {
            self.congestion.timed_out();
        }
        self.phase = Phase::Loss(self.next);
        self.board.mark_all_lost();
        (self.repeated, self.probe) = (0, None);
        self.timers.tail_probe = None;
        self.timers.reordering = None;
        self.timers.retransmit = Some(now + self.rtt.timeout());
        self.due.tail_probe = false;
        self.due.resend = true;
    }

    /// When to send a keep-alive to a silent peer. (RFC 9293, section 3.8.4)
    fn keep_alive_at(&self) -> Option<Instant> {
        let is_idle = matches!(self.state, State::Established | State::CloseWait | State::FinWait2)
            && self.board.is_empty()
            && self.timers.persist.is_none();
        is_idle.then(|| self.last_active + self.settings.keep_alive)
    }

    /// When [`Connection::poll`] has something to do without an event.
    pub(in super::super) fn deadline(&self) -> Option<Instant> {
        self.timers.first().into_iter().chain(self.keep_alive_at()).min()
    }
}
