//! The segments in flight, and the detection of lost ones: RACK (RFC 8985).
//!
//! A segment is lost when one that was sent sufficiently later has arrived: later by the reordering window
//! (RACK.reo_wnd). The window is a quarter of the least round-trip time, and larger when the peer reports duplicates
//! (DSACK). Until the path is seen to reorder, the window is zero during a recovery and once DupThresh segments are
//! SACKed. `rack` and `fack` are RACK.segment and RACK.fack of the RFC.

use std::collections::VecDeque;
use std::time::Duration;

use gatepost_ground::Instant;

use super::rtt::Rtt;

/// The most segments in flight.
pub(super) const SEGMENTS_MAX: usize = 2048;

/// The number of SACKed segments beyond a missing one at which it is lost, if the path does not reorder: DupThresh.
/// (RFC 8985, section 3.3.2)
const DUP_THRESH: usize = 3;
/// The number of recoveries after a DSACK for which the reordering window stays large. (RFC 8985, section 6.2)
const REO_WND_PERSIST: u32 = 16;

/// A segment that was sent. Positions count the octets of the stream, with SYN and FIN as one each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) start: i64,
    pub(super) end: i64,
    at: Instant,
    status: Status,
    is_resent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    InFlight,
    /// The peer has the segment, but not all before it.
    Sacked,
    Lost,
}

impl Sent {
    fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }
}

/// The segments that are not acknowledged, in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Scoreboard {
    sent: VecDeque<Sent>,
    /// Octets in flight.
    in_flight: u64,
    /// Segments that are SACKed.
    sacked: usize,
    /// Segments that are lost.
    lost: usize,
    /// RACK.xmit_ts and RACK.end_seq: when the most recently sent segment of those that have arrived was sent, and its
    /// end.
    rack: Option<(Instant, i64)>,
    /// RACK.rtt.
    rack_rtt: Duration,
    /// RACK.fack: the highest end of the segments that have arrived.
    fack: i64,
    /// RACK.reordering_seen.
    is_reordered: bool,
    /// Whether a segment was retransmitted since the scoreboard was last empty.
    has_resent: bool,
    /// RACK.reo_wnd_mult - 1.
    reo_wnd_mult: u32,
    /// RACK.reo_wnd_persist.
    reo_wnd_persist: u32,
}

/// The octets that an acknowledgement acknowledges or SACKs for the first time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    /// The number of octets.
    pub(super) octets: u64,
    /// The round-trip time of the last of the segments that was sent only once.
    pub(super) rtt: Option<Duration>,
}

impl Scoreboard {
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.sent.len() >= SEGMENTS_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// The octets that are neither lost nor SACKed: the pipe. (RFC 6675, section 2)
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    pub(super) fn has_sacked(&self) -> bool {
        self.sacked > 0
    }

    pub(super) fn memory(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds a new segment that was sent.
    pub(super) fn push(&mut self, now: Instant, start: i64, end: i64) {
        let sent = Sent { start, end, at: now, status: Status::InFlight, is_resent: false };
        self.in_flight += sent.len();
        self.sent.push_back(sent);
    }

    /// Marks the first lost segment as retransmitted now, and returns it.
    pub(super) fn resend_lost(&mut self, now: Instant) -> Option<Sent> {
        if self.lost == 0 {
            return None;
        }
        let index = self.sent.iter().position(|sent| sent.status == Status::Lost)?;
        Some(self.resend(index, now))
    }

    /// Marks the last segment that is not SACKed as retransmitted now, for a probe, and returns it. (RFC 8985, section
    /// 7.3)
    pub(super) fn resend_last(&mut self, now: Instant) -> Option<Sent> {
        let index = self.sent.iter().rposition(|sent| sent.status != Status::Sacked)?;
        Some(self.resend(index, now))
    }

    fn resend(&mut self, index: usize, now: Instant) -> Sent {
        self.set_status(index, Status::InFlight);
        self.has_resent = true;
        let sent = &mut self.sent[index];
        (sent.at, sent.is_resent) = (now, true);
        *sent
    }

    fn set_status(&mut self, index: usize, status: Status) {
        let sent = &mut self.sent[index];
        let old = std::mem::replace(&mut sent.status, status);
        let len = sent.len();
        self.tally(old, len, false);
        self.tally(status, len, true);
    }

    fn tally(&mut self, status: Status, len: u64, is_more: bool) {
        let step = |count: &mut usize| if is_more { *count += 1 } else { *count -= 1 };
        match status {
            Status::InFlight if is_more => self.in_flight += len,
            Status::InFlight => self.in_flight -= len,
            Status::Sacked => step(&mut self.sacked),
            Status::Lost => step(&mut self.lost),
        }
    }

    /// Takes in an acknowledgement of everything before `acknowledged`, with SACK `blocks`.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        acknowledged: i64,
        blocks: &[Option<(i64, i64)>],
        rtt: &Rtt,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        while let Some(first) = self.sent.front().copied().filter(|first| first.start < acknowledged) {
            if first.end > acknowledged {
                // The peer acknowledges a part of the segment: its window had no room for the rest.
                let part = (acknowledged - first.start) as u64;
                if first.status == Status::InFlight {
                    self.in_flight -= part;
                }
                if first.status != Status::Sacked {
                    delivered.octets += part;
                }
                self.sent[0].start = acknowledged;
                break;
            }
            self.sent.pop_front();
            self.tally(first.status, first.len(), false);
            if first.status != Status::Sacked {
                self.note_delivery(now, &first, rtt, &mut delivered);
            }
        }
        for (start, end) in blocks.iter().flatten().copied() {
            let mut index = self.sent.partition_point(|sent| sent.start < start);
            while let Some(sent) = self.sent.get(index).copied().filter(|sent| sent.end <= end) {
                if sent.status != Status::Sacked {
                    self.set_status(index, Status::Sacked);
                    self.note_delivery(now, &sent, rtt, &mut delivered);
                }
                index += 1;
            }
        }
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
            self.has_resent = false;
        }
        delivered
    }

    fn note_delivery(&mut self, now: Instant, sent: &Sent, rtt: &Rtt, delivered: &mut Delivered) {
        delivered.octets += sent.len();
        let took = now.since(sent.at);
        if sent.is_resent {
            // The ACK came sooner than the least RTT after the retransmission, so it is for the original transmission.
            // (RFC 8985, section 6.2)
            if rtt.least().is_none_or(|least| took < least) {
                return;
            }
        } else {
            delivered.rtt = Some(took);
            // RFC 8985, section 6.2
            self.is_reordered |= sent.end < self.fack;
        }
        self.fack = self.fack.max(sent.end);
        if self.rack.is_none_or(|rack| rack < (sent.at, sent.end)) {
            (self.rack, self.rack_rtt) = (Some((sent.at, sent.end)), took);
        }
    }

    /// Takes in a DSACK: the peer received a segment twice, so it was late and not lost. (RFC 8985, section 6.2)
    pub(super) fn on_dsack(&mut self) {
        self.reo_wnd_mult = (self.reo_wnd_mult + 1).min(8);
        self.reo_wnd_persist = REO_WND_PERSIST;
    }

    /// Notes that a recovery has ended.
    pub(super) fn recovered(&mut self) {
        self.reo_wnd_persist = self.reo_wnd_persist.saturating_sub(1);
        if self.reo_wnd_persist == 0 {
            self.reo_wnd_mult = 0;
        }
    }

    /// Marks the segments lost of which a later one has arrived. Returns when the next one will be lost.
    /// (RFC 8985, section 6.2)
    pub(super) fn detect_lost(&mut self, now: Instant, rtt: &Rtt, is_recovering: bool) -> Option<Instant> {
        // Without a SACKed or retransmitted segment none can be lost.
        let rack = self.rack.filter(|_| self.sacked > 0 || self.has_resent)?;
        let window = self.reordering_window(rtt, is_recovering);
        let mut look_again: Option<Instant> = None;
        for index in 0..self.sent.len() {
            let sent = self.sent[index];
            if sent.status != Status::InFlight || (sent.at, sent.end) >= rack {
                continue;
            }
            let lost_at = sent.at + self.rack_rtt + window;
            if lost_at <= now {
                self.set_status(index, Status::Lost);
            } else {
                look_again = Some(look_again.map_or(lost_at, |at| at.min(lost_at)));
            }
        }
        look_again
    }

    fn reordering_window(&self, rtt: &Rtt, is_recovering: bool) -> Duration {
        if !self.is_reordered && (is_recovering || self.sacked >= DUP_THRESH) {
            return Duration::ZERO;
        }
        let (Some(least), Some(smoothed)) = (rtt.least(), rtt.smoothed()) else { return Duration::ZERO };
        (least / 4 * (self.reo_wnd_mult + 1)).min(smoothed)
    }

    /// Marks the first segment lost, for a peer without SACK that has sent duplicate ACKs. (RFC 6582, section 3.2)
    pub(super) fn mark_first_lost(&mut self) {
        if self.sent.front().is_some_and(|first| first.status == Status::InFlight) {
            self.set_status(0, Status::Lost);
        }
    }

    /// Marks all segments lost after a time-out, except those that were SACKed; those too if the first one was SACKed,
    /// as the peer has then discarded it (SACK reneging). (RFC 2018, section 8)
    pub(super) fn mark_all_lost(&mut self) {
        let is_reneged = self.sent.front().is_some_and(|first| first.status == Status::Sacked);
        for index in 0..self.sent.len() {
            if self.sent[index].status == Status::InFlight || is_reneged {
                self.set_status(index, Status::Lost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn rtt() -> Rtt {
        let mut rtt = Rtt::default();
        rtt.measured(RTT);
        rtt
    }

    /// Ten segments of 100 octets, a millisecond apart.
    fn ten() -> Scoreboard {
        let mut board = Scoreboard::default();
        for number in 0..10 {
            board.push(at(number as u64), number * 100, number * 100 + 100);
        }
        board
    }

    fn lost(board: &Scoreboard) -> Vec<i64> {
        board.sent.iter().filter(|sent| sent.status == Status::Lost).map(|sent| sent.start).collect()
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_and_measured() {
        let mut board = ten();
        let delivered = board.acknowledge(at(103), 350, &[], &rtt());
        assert_eq!((delivered.octets, delivered.rtt), (350, Some(Duration::from_millis(101))));
        assert_eq!((board.in_flight(), board.len()), (650, 7));
        board.acknowledge(at(120), 1000, &[], &rtt());
        assert_eq!((board.in_flight(), board.memory()), (0, 0));
    }

    /// RFC 8985, section 6.2: Three later arrivals make a loss at once and fewer after a quarter of the time.
    #[test]
    fn rfc8985_6_2_three_later_arrivals_make_a_loss_at_once_and_fewer_after_a_quarter_of_the_time() {
        let mut board = ten();
        board.acknowledge(at(101), 100, &[Some((200, 300))], &rtt());
        let again = board.detect_lost(at(102), &rtt(), false);
        assert_eq!((lost(&board), again), (vec![], Some(at(1 + 99 + 25))));
        board.acknowledge(at(104), 100, &[Some((200, 500))], &rtt());
        assert_eq!(board.detect_lost(at(104), &rtt(), false), None);
        assert_eq!(lost(&board), [100]);
        assert_eq!(board.in_flight(), 500);
        // Sent again, it is lost again only once something later than that has arrived.
        let again = board.resend_lost(at(104)).expect("one is lost");
        assert_eq!((again.start, again.end), (100, 200));
        board.acknowledge(at(109), 100, &[Some((200, 1000))], &rtt());
        assert_eq!((board.detect_lost(at(109), &rtt(), true), lost(&board)), (None, vec![]));
        board.push(at(110), 1000, 1100);
        board.acknowledge(at(210), 100, &[Some((200, 1100))], &rtt());
        board.detect_lost(at(210), &rtt(), true);
        assert_eq!(lost(&board), [100]);
    }

    /// RFC 8985, section 6.2: A path that reorders is given time.
    #[test]
    fn rfc8985_6_2_a_path_that_reorders_is_given_time() {
        let mut board = ten();
        board.acknowledge(at(101), 100, &[Some((300, 400))], &rtt());
        board.acknowledge(at(102), 100, &[Some((200, 400))], &rtt());
        assert!(board.is_reordered);
        board.acknowledge(at(103), 100, &[Some((200, 800))], &rtt());
        assert!(board.detect_lost(at(104), &rtt(), false).is_some());
        assert_eq!(lost(&board), [0; 0]);
        board.on_dsack();
        let later = board.detect_lost(at(130), &rtt(), false);
        assert_eq!((lost(&board), later), (vec![], Some(at(1 + 96 + 50))));
    }

    /// RFC 2018, section 8: After a time-out what the peer threw away is sent again.
    #[test]
    fn rfc2018_8_after_a_time_out_what_the_peer_threw_away_is_sent_again() {
        let mut board = ten();
        board.acknowledge(at(101), 0, &[Some((200, 300))], &rtt());
        board.mark_all_lost();
        assert_eq!(lost(&board), [0, 100, 300, 400, 500, 600, 700, 800, 900]);
        board.acknowledge(at(301), 200, &[], &rtt());
        board.mark_all_lost();
        assert_eq!(lost(&board).first(), Some(&200));
    }

    #[test]
    fn a_copy_that_arrives_too_soon_is_no_measurement() {
        let mut board = ten();
        board.mark_all_lost();
        board.resend_lost(at(300));
        let delivered = board.acknowledge(at(310), 100, &[], &rtt());
        assert_eq!((delivered.octets, delivered.rtt, board.rack), (100, None, None));
    }
}
