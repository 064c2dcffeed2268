//! Segments to the peer.

use std::time::Duration;

use gatepost_ground::Instant;
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber, TcpTimestampRepr};

use super::{Connection, Probe, State, number_at};

/// The longest time between two window probes to a peer with a zero window. (RFC 9293, section 3.8.6.1)
const PERSIST_MAX: Duration = Duration::from_secs(60);

/// A segment to send, without ports.
#[derive(Debug)]
pub(in super::super) struct Outgoing {
    pub(in super::super) header: TcpRepr<'static>,
    pub(in super::super) payload: Vec<u8>,
}

impl Connection {
    /// The next segment to send, if there is one now.
    pub(in super::super) fn poll(&mut self, now: Instant) -> Option<Outgoing> {
        self.handle_timers(now);
        self.next_segment(now)
    }

    fn next_segment(&mut self, now: Instant) -> Option<Outgoing> {
        if std::mem::take(&mut self.due.reset) {
            return Some(self.header(now, TcpControl::Rst, self.acceptable_position()));
        }
        match self.state {
            State::Closed => return None,
            State::SynSent | State::SynReceived => return self.handshake(now),
            State::TimeWait => {}
            _ => {
                // SACK blocks are sent in a segment without data, as there may be no room beside data.
                let tells_blocks = self.due.acknowledgement && self.received.has_out_of_order();
                if !tells_blocks && let Some(segment) = self.octets(now) {
                    return Some(segment);
                }
            }
        }
        if std::mem::take(&mut self.due.keep_alive) {
            self.due.overrides_sws = false;
            self.last_active = now;
            return Some(self.header(now, TcpControl::None, self.acknowledged - 1));
        }
        self.due.acknowledgement.then(|| self.header(now, TcpControl::None, self.acceptable_position()))
    }

    fn handshake(&mut self, now: Instant) -> Option<Outgoing> {
        if self.next == 0 {
            self.board.push(now, 0, 1);
            self.next = 1;
            self.due.resend = false;
        } else if !std::mem::take(&mut self.due.resend) || self.board.resend_lost(now).is_none() {
            // RFC 9293, section 3.10.7.4: an unacceptable segment is answered here, too.
            let is_answer = std::mem::take(&mut self.due.acknowledgement) && self.state == State::SynReceived;
            return is_answer.then(|| self.header(now, TcpControl::None, self.acceptable_position()));
        }
        self.timers.retransmit = Some(now + self.rtt.timeout());
        Some(self.header(now, TcpControl::Syn, 0))
    }

    /// The next data segment: a retransmission, a probe or new data.
    fn octets(&mut self, now: Instant) -> Option<Outgoing> {
        if self.board.has_lost() {
            let may_resend = self.due.resend || self.in_flight() < self.congestion.window();
            if !may_resend {
                self.is_limited = true;
                return None;
            }
            let sent = self.board.resend_lost(now)?;
            self.due.resend = false;
            self.timers.retransmit.get_or_insert(now + self.rtt.timeout());
            return Some(self.segment(now, sent.start, sent.end));
        }
        self.due.resend = false;
        let is_probe = std::mem::take(&mut self.due.tail_probe);
        if let Some(end) = self.new_end(now, is_probe) {
            if is_probe {
                self.probe = Some(Probe { end, is_copy: false });
            }
            let start = self.next;
            self.board.push(now, start, end);
            self.next = end;
            (self.due.overrides_sws, self.due.keep_alive) = (false, false);
            self.timers.persist = None;
            self.timers.retransmit.get_or_insert(now + self.rtt.timeout());
            self.arm_tail_probe(now);
            return Some(self.segment(now, start, end));
        }
        if is_probe && let Some(sent) = self.board.resend_last(now) {
            self.probe = Some(Probe { end: self.next, is_copy: true });
            return Some(self.segment(now, sent.start, sent.end));
        }
        None
    }

    /// Where the next new segment ends, if one can be sent.
    fn new_end(&mut self, now: Instant, is_probe: bool) -> Option<i64> {
        let end_of_octets = self.send.end();
        let unsent = end_of_octets - self.next;
        let has_more = unsent > 0 || self.is_closing && unsent == 0;
        if !has_more || self.board.is_full() {
            return None;
        }
        let room = (self.peer_edge - self.next).max(0);
        let len = unsent.min(self.segment_size as i64).min(room);
        // RFC 9293, section 3.8.6.2.1; a FIN takes no room.
        let is_worth_it = len == unsent
            || len == self.segment_size as i64
            || len > 0 && (len >= self.peer_window_max / 2 || self.due.overrides_sws);
        if !is_worth_it {
            if self.board.is_empty() && self.timers.persist.is_none() && !self.due.keep_alive {
                let interval = self.rtt.timeout() * (1 << self.persist_doublings);
                self.timers.persist = Some(now + interval.min(PERSIST_MAX));
            }
            return None;
        }
        if self.board.is_empty() && now.since(self.last_sent) > self.rtt.timeout() {
            self.congestion.idled();
        }
        let in_flight = self.in_flight();
        if !is_probe && in_flight > 0 && in_flight + len as u64 > self.congestion.window() {
            self.is_limited = true;
            return None;
        }
        let end = self.next + len;
        Some(end + i64::from(self.is_closing && end == end_of_octets))
    }

    /// The segment with the octets from `start` to `end`, with the FIN if it is in this range.
    fn segment(&mut self, now: Instant, start: i64, end: i64) -> Outgoing {
        let end_of_octets = self.send.end();
        let control = if self.is_closing && end > end_of_octets {
            TcpControl::Fin
        } else if end == end_of_octets {
            TcpControl::Psh
        } else {
            TcpControl::None
        };
        let payload = self.send.copy(start, end);
        self.last_sent = now;
        let mut segment = self.header_beside(now, control, start, payload.len());
        segment.payload = payload;
        segment
    }

    fn header(&mut self, now: Instant, control: TcpControl, position: i64) -> Outgoing {
        self.header_beside(now, control, position, 0)
    }

    /// A segment without data, with room for `octets`.
    fn header_beside(&mut self, now: Instant, control: TcpControl, position: i64, octets: usize) -> Outgoing {
        let is_syn = control == TcpControl::Syn;
        let is_first = self.state == State::SynSent;
        if is_syn {
            self.own_edge = self.received.next() + i64::from(self.settings.window_initial());
        } else {
            self.own_edge = self.edge_to_offer();
        }
        let left = (self.own_edge - self.received.next()).max(0);
        let shift = if is_syn { 0 } else { self.own_shift };
        // Rounded up, so that the right edge stays where it was offered, but not beyond what the buffer holds: the edge
        // would move on with each segment that a service does not read. (RFC 7323, section 2.4)
        let rounded_up = (left + (1 << shift) - 1) >> shift;
        let is_room = rounded_up << shift <= self.room();
        let window = u16::try_from(if is_room { rounded_up } else { left >> shift }).unwrap_or(u16::MAX);
        self.own_edge = self.own_edge.max(self.received.next() + (i64::from(window) << shift));
        let has_scale = is_first || self.own_shift > 0 || self.peer_shift > 0;
        let header = TcpRepr {
            src_port: 0,
            dst_port: 0,
            control,
            seq_number: TcpSeqNumber(number_at(self.own_initial, position) as i32),
            ack_number: (!is_first)
                .then(|| TcpSeqNumber(number_at(self.peer_initial, self.received_next()) as i32)),
            window_len: window,
            window_scale: (is_syn && has_scale).then_some(self.own_shift),
            max_seg_size: is_syn.then_some(self.settings.segment_size),
            sack_permitted: is_syn && self.has_sack,
            sack_ranges: if is_syn || is_first { [None; 3] } else { self.blocks_beside(octets) },
            timestamp: self.timestamps.map(|timestamps| {
                let tsval = (now.as_millis() as u32).wrapping_add(timestamps.offset);
                TcpTimestampRepr { tsval, tsecr: timestamps.peer }
            }),
            payload: &[],
        };
        if !is_first {
            self.last_ack_sent = self.received_next();
            self.unacknowledged = 0;
            self.duplicate = None;
            self.due.acknowledgement = false;
            self.timers.acknowledgement = None;
        }
        Outgoing { header, payload: Vec::new() }
    }

    /// The SACK blocks for the peer, as far as there is room beside `octets` of data.
    fn blocks_beside(&self, octets: usize) -> [Option<(u32, u32)>; 3] {
        if !self.has_sack {
            return [None; 3];
        }
        let [first, second, third] = self.received.sack_blocks();
        let blocks = match self.duplicate {
            None => [first, second, third],
            duplicate => [duplicate, first, second],
        };
        let room = (self.segment_size as usize).saturating_sub(octets + 4) / 8;
        let mut left = room;
        blocks.map(|block| {
            let (start, end) = block.filter(|_| left > 0)?;
            left -= 1;
            Some((number_at(self.peer_initial, start), number_at(self.peer_initial, end)))
        })
    }

    /// The position of an empty segment: SND.NXT, but not beyond the right edge of the peer's window. (Linux:
    /// `tcp_acceptable_seq`)
    fn acceptable_position(&self) -> i64 {
        self.next.min(self.peer_edge.max(self.acknowledged))
    }
}
