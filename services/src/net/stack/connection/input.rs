//! Segments from the peer (RFC 9293, section 3.10.7).

use std::time::Duration;

use gatepost_ground::Instant;

use super::super::segment::Fields;
use super::{Connection, PRESSED_LEN, Phase, Reaction, State, Timestamps, is_before, number_at, position_of};

/// The least time between two challenge ACKs. (RFC 5961, section 7)
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);
/// How long an acknowledgement waits for data to go with. (RFC 9293, section 3.8.6.3)
const ACKNOWLEDGEMENT_DELAY: Duration = Duration::from_millis(40);
/// The age at which a peer's timestamp is invalid. (RFC 7323, section 5.5)
const TIMESTAMP_LIFE: Duration = Duration::from_secs(24 * 24 * 3600);

impl Connection {
    /// Processes a segment of this connection.
    pub(in super::super) fn receive(&mut self, now: Instant, segment: &Fields<'_>) -> Reaction {
        match self.state {
            State::Closed => Reaction::Done,
            State::SynSent => self.receive_answer(now, segment),
            _ => self.receive_in_order(now, segment),
        }
    }

    /// Processes a segment in SYN-SENT. (RFC 9293, section 3.10.7.3)
    fn receive_answer(&mut self, now: Instant, segment: &Fields<'_>) -> Reaction {
        let is_right = |number| self.next == 1 && number == number_at(self.own_initial, 1);
        match segment.acknowledgement {
            Some(number) if !is_right(number) => {
                return if segment.is_reset { Reaction::Done } else { Reaction::Refuse };
            }
            Some(_) if segment.is_reset => self.end(),
            _ if segment.is_reset || !segment.is_syn => {}
            Some(_) => {
                self.learn_peer(now, segment);
                self.establish(now);
                self.due.acknowledgement = true;
            }
            None => {
                // Simultaneous open.
                self.learn_peer(now, segment);
                self.state = State::SynReceived;
                self.board.mark_all_lost();
                self.due.resend = true;
            }
        }
        Reaction::Done
    }

    /// The peer has acknowledged the SYN.
    fn establish(&mut self, now: Instant) {
        // A connection from a cookie has no SYN on the scoreboard.
        if !self.board.is_empty() {
            let rtt = self.rtt;
            match self.board.acknowledge(now, 1, &[], &rtt).rtt {
                Some(rtt) => self.rtt.measured(rtt),
                None => self.congestion.handshake_lost(),
            }
        }
        self.rtt.progressed();
        self.phase = Phase::Open;
        self.acknowledged = 1;
        self.peer_edge_from.1 = 1;
        self.timers.retransmit = None;
        self.state = if self.is_closing { State::FinWait1 } else { State::Established };
        self.wake();
    }

    /// Processes a segment in a state with known sequence numbers of the peer. (RFC 9293, section 3.10.7.4)
    fn receive_in_order(&mut self, now: Instant, segment: &Fields<'_>) -> Reaction {
        let expected = self.received_next();
        let start = position_of(self.peer_initial, segment.sequence, expected);
        if self.is_too_old(now, segment) {
            self.challenge(now, segment);
            return Reaction::Done;
        }
        let len = segment.payload.len() as i64;
        let end = start + len + i64::from(segment.is_syn) + i64::from(segment.is_fin);
        let window_end = self.own_edge.max(expected);
        let is_acceptable = if end == start {
            (expected..=window_end).contains(&start)
        } else {
            start <= window_end && end > expected && (start < window_end || start == expected)
        };
        if segment.is_reset {
            // RFC 5961, section 3.2
            if start == expected {
                self.end();
            } else if is_acceptable {
                self.challenge(now, segment);
            }
            return Reaction::Done;
        }
        if segment.is_syn {
            let is_right = segment.acknowledgement == Some(number_at(self.own_initial, 1)) && self.next == 1;
            if self.state == State::SynReceived && start == 0 && is_right {
                // Simultaneous open.
                self.establish(now);
                self.due.acknowledgement = true;
            } else if self.state == State::SynReceived && start == 0 {
                // The peer has not received the SYN-ACK.
                self.board.mark_all_lost();
                self.due.resend = true;
            } else {
                self.challenge(now, segment); // RFC 5961, section 4.2
            }
            return Reaction::Done;
        }
        if !is_acceptable {
            if len > 0 && end <= expected {
                self.duplicate = Some((start, start + len));
            }
            self.challenge(now, segment);
            return Reaction::Done;
        }
        let Some(number) = segment.acknowledgement else { return Reaction::Done };
        let acknowledged = position_of(self.own_initial, number, self.acknowledged);
        if self.state == State::SynReceived {
            if self.next == 0 || acknowledged != 1 {
                return Reaction::Refuse;
            }
            self.establish(now);
        } else if acknowledged > self.next || acknowledged < self.acknowledged - self.peer_window_max {
            self.challenge(now, segment); // RFC 5961, section 5.2
            return Reaction::Done;
        }
        self.note_timestamp(now, segment, start);
        self.last_active = now;
        self.take_acknowledgement(now, segment, start, acknowledged);
        if self.state == State::Closed {
            return Reaction::Done;
        }
        self.take_octets(now, segment, start, window_end)
    }

    /// Takes the data of a segment.
    fn take_octets(&mut self, now: Instant, segment: &Fields<'_>, start: i64, window_end: i64) -> Reaction {
        let is_receiving = matches!(self.state, State::Established | State::FinWait1 | State::FinWait2)
            && !self.is_finished();
        if !is_receiving {
            if !segment.payload.is_empty() || segment.is_fin {
                self.due.acknowledgement = true;
            }
            return Reaction::Done;
        }
        let expected = self.received.next();
        let is_in_order = start <= expected;
        let mut end_of_room = window_end;
        if self.is_pressed && !segment.payload.is_empty() {
            // The connection takes a segment that is larger than the buffer in parts.
            let unread = self.received.unread();
            let fits = unread == 0 || unread + segment.payload.len() <= PRESSED_LEN;
            if !is_in_order || !fits {
                self.due.acknowledgement = true;
                return Reaction::NoRoom;
            }
            end_of_room = end_of_room.min(expected + (PRESSED_LEN - unread) as i64);
        }
        let room = usize::try_from(end_of_room - start).unwrap_or(0);
        let payload = &segment.payload[..segment.payload.len().min(room)];
        let is_whole = payload.len() == segment.payload.len();
        if !payload.is_empty() {
            let end = start + payload.len() as i64;
            if end <= expected {
                self.duplicate = Some((start, end));
            }
            let had_out_of_order = self.received.has_out_of_order();
            self.received.insert(start, payload);
            // RFC 5681, section 4.2: what is out of order, or closes a gap, is acknowledged at once.
            self.acknowledge_octets(
                now,
                payload.len() as u64,
                !is_in_order || had_out_of_order || end <= expected,
            );
        }
        if !is_whole || segment.is_fin {
            self.due.acknowledgement = true;
        }
        let fin = start + segment.payload.len() as i64;
        if segment.is_fin && is_whole && self.fin_position.is_none() && fin >= self.received.next() {
            self.fin_position = Some(fin);
        }
        if self.is_finished() {
            self.received.close();
            self.due.acknowledgement = true;
            self.peer_finished();
        }
        if self.received.next() > expected || self.is_finished() {
            self.reader.take().into_iter().for_each(std::task::Waker::wake);
        }
        Reaction::Done
    }

    fn peer_finished(&mut self) {
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(),
            _ => {}
        }
    }

    /// Enters TIME-WAIT, in which the stack answers late segments of the peer.
    pub(super) fn enter_time_wait(&mut self) {
        self.state = State::TimeWait;
        self.timers.retransmit = None;
        self.timers.tail_probe = None;
    }

    /// Every second full segment is acknowledged at once, others a little later. (RFC 9293, section 3.8.6.3)
    fn acknowledge_octets(&mut self, now: Instant, octets: u64, is_urgent: bool) {
        self.unacknowledged += octets;
        if is_urgent || self.unacknowledged >= 2 * self.segment_size {
            self.due.acknowledgement = true;
        } else {
            self.timers.acknowledgement.get_or_insert(now + ACKNOWLEDGEMENT_DELAY);
        }
    }

    /// Marks an ACK as due that answers an unacceptable segment. The rate of the ACKs is limited for empty segments and
    /// SYNs (RFC 5961, section 7), but not for segments with data or FIN, which the peer retransmits until they are
    /// acknowledged.
    fn challenge(&mut self, now: Instant, segment: &Fields<'_>) {
        let is_data = !segment.payload.is_empty() || segment.is_fin;
        let is_due = self.last_challenge.is_none_or(|last| now.since(last) >= CHALLENGE_INTERVAL);
        if is_data && !segment.is_syn {
            self.due.acknowledgement = true;
        } else if is_due {
            self.last_challenge = Some(now);
            self.due.acknowledgement = true;
        }
    }

    /// PAWS: whether the segment's timestamp is too old. A reset is never too old. (RFC 7323, section 5.3)
    fn is_too_old(&self, now: Instant, segment: &Fields<'_>) -> bool {
        match (self.timestamps, segment.options.timestamps) {
            (Some(own), Some((peer, _))) => !segment.is_reset && own.is_after(now, peer),
            _ => false,
        }
    }

    /// Keeps the timestamp to echo. (RFC 7323, section 4.3)
    fn note_timestamp(&mut self, now: Instant, segment: &Fields<'_>, start: i64) {
        if let (Some(own), Some((newer, _))) = (&mut self.timestamps, segment.options.timestamps)
            && start <= self.last_ack_sent
            && !own.is_after(now, newer)
        {
            (own.peer, own.heard) = (newer, now);
        }
    }
}

impl Timestamps {
    /// Whether the peer's last timestamp is later than `value` and recent enough to compare. (RFC 7323, section 5.5)
    fn is_after(&self, now: Instant, value: u32) -> bool {
        is_before(value, self.peer) && now.since(self.heard) < TIMESTAMP_LIFE
    }
}
