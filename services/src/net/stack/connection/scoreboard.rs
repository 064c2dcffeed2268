//! What was sent and is not acknowledged yet, segment by segment, and which of it is lost: RACK (RFC 8985).
//!
//! A segment is lost when one that was sent sufficiently later has arrived. How much later, the reordering window says:
//! nothing at first, a quarter of the least round-trip time once the path was seen to reorder, and more when the peer
//! reports what arrived twice.

use std::collections::VecDeque;
use std::time::Duration;

use gatepost_ground::Instant;

use super::rtt::Rtt;

/// Segments that can be on their way.
pub(super) const SEGMENTS_MAX: usize = 2048;

/// Segments that have arrived beyond one that is lost, if the path does not reorder. (RFC 8985, section 3.3.2)
const REORDERING_THRESHOLD: usize = 3;
/// Recoveries after which the reordering window is as small as at first. (RFC 8985, section 6.2)
const WINDOW_PERSISTS: u32 = 16;

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
    OnItsWay,
    /// The peer has it, and not all before it.
    Arrived,
    Lost,
}

impl Sent {
    fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }
}

/// The segments in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Scoreboard {
    sent: VecDeque<Sent>,
    on_its_way: u64,
    arrived: usize,
    lost: usize,
    /// The latest sent of those that have arrived, with its end.
    latest: Option<(Instant, i64)>,
    latest_rtt: Duration,
    /// The highest end of what has arrived.
    highest: i64,
    is_reordered: bool,
    /// Something was sent again since nothing was under way.
    has_resent: bool,
    window_factor: u32,
    window_persists: u32,
}

/// What an acknowledgement said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrival {
    /// How many octets have arrived that were not known to.
    pub(super) octets: u64,
    /// The round-trip time of the latest of them that was sent but once.
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

    /// Octets that are neither lost nor known to have arrived. (RFC 6675, section 2, pipe)
    pub(super) fn on_its_way(&self) -> u64 {
        self.on_its_way
    }

    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    pub(super) fn has_arrived_beyond(&self) -> bool {
        self.arrived > 0
    }

    pub(super) fn memory(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A new segment was sent.
    pub(super) fn push(&mut self, now: Instant, start: i64, end: i64) {
        let sent = Sent { start, end, at: now, status: Status::OnItsWay, is_resent: false };
        self.on_its_way += sent.len();
        self.sent.push_back(sent);
    }

    /// The first that is lost, noted as sent again now.
    pub(super) fn resend_lost(&mut self, now: Instant) -> Option<Sent> {
        if self.lost == 0 {
            return None;
        }
        let index = self.sent.iter().position(|sent| sent.status == Status::Lost)?;
        Some(self.resend(index, now))
    }

    /// The last that has not arrived, noted as sent again now: a probe. (RFC 8985, section 7.3)
    pub(super) fn resend_last(&mut self, now: Instant) -> Option<Sent> {
        let index = self.sent.iter().rposition(|sent| sent.status != Status::Arrived)?;
        Some(self.resend(index, now))
    }

    fn resend(&mut self, index: usize, now: Instant) -> Sent {
        self.set_status(index, Status::OnItsWay);
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
            Status::OnItsWay if is_more => self.on_its_way += len,
            Status::OnItsWay => self.on_its_way -= len,
            Status::Arrived => step(&mut self.arrived),
            Status::Lost => step(&mut self.lost),
        }
    }

    /// Everything before `acknowledged` has arrived, and so have `blocks`.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        acknowledged: i64,
        blocks: &[Option<(i64, i64)>],
        rtt: &Rtt,
    ) -> Arrival {
        let mut arrival = Arrival::default();
        while let Some(first) = self.sent.front().copied().filter(|first| first.start < acknowledged) {
            if first.end > acknowledged {
                // A part of it: the peer's window had no more room.
                let part = (acknowledged - first.start) as u64;
                if first.status == Status::OnItsWay {
                    self.on_its_way -= part;
                }
                if first.status != Status::Arrived {
                    arrival.octets += part;
                }
                self.sent[0].start = acknowledged;
                break;
            }
            self.sent.pop_front();
            self.tally(first.status, first.len(), false);
            if first.status != Status::Arrived {
                self.note_arrival(now, &first, rtt, &mut arrival);
            }
        }
        for (start, end) in blocks.iter().flatten().copied() {
            let mut index = self.sent.partition_point(|sent| sent.start < start);
            while let Some(sent) = self.sent.get(index).copied().filter(|sent| sent.end <= end) {
                if sent.status != Status::Arrived {
                    self.set_status(index, Status::Arrived);
                    self.note_arrival(now, &sent, rtt, &mut arrival);
                }
                index += 1;
            }
        }
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
            self.has_resent = false;
        }
        arrival
    }

    fn note_arrival(&mut self, now: Instant, sent: &Sent, rtt: &Rtt, arrival: &mut Arrival) {
        arrival.octets += sent.len();
        let took = now.since(sent.at);
        if sent.is_resent {
            // Rather the first copy has arrived. (RFC 8985, section 6.2, step 2)
            if rtt.least().is_none_or(|least| took < least) {
                return;
            }
        } else {
            arrival.rtt = Some(took);
            // RFC 8985, section 6.2, step 3
            self.is_reordered |= sent.end < self.highest;
        }
        self.highest = self.highest.max(sent.end);
        if self.latest.is_none_or(|latest| latest < (sent.at, sent.end)) {
            (self.latest, self.latest_rtt) = (Some((sent.at, sent.end)), took);
        }
    }

    /// The peer says that something has arrived twice: it was late and not lost. (RFC 8985, section 6.2, step 4)
    pub(super) fn arrived_twice(&mut self) {
        self.window_factor = (self.window_factor + 1).min(8);
        self.window_persists = WINDOW_PERSISTS;
    }

    /// A recovery has ended.
    pub(super) fn recovered(&mut self) {
        self.window_persists = self.window_persists.saturating_sub(1);
        if self.window_persists == 0 {
            self.window_factor = 0;
        }
    }

    /// Notes what is lost, as what was sent later has arrived. Says when to look again. (RFC 8985, section 6.2, step 5)
    pub(super) fn detect_lost(&mut self, now: Instant, rtt: &Rtt, is_recovering: bool) -> Option<Instant> {
        // As long as all goes in order nothing can be lost.
        let latest = self.latest.filter(|_| self.arrived > 0 || self.has_resent)?;
        let window = self.reordering_window(rtt, is_recovering);
        let mut look_again: Option<Instant> = None;
        for index in 0..self.sent.len() {
            let sent = self.sent[index];
            if sent.status != Status::OnItsWay || (sent.at, sent.end) >= latest {
                continue;
            }
            let lost_at = sent.at + self.latest_rtt + window;
            if lost_at <= now {
                self.set_status(index, Status::Lost);
            } else {
                look_again = Some(look_again.map_or(lost_at, |at| at.min(lost_at)));
            }
        }
        look_again
    }

    fn reordering_window(&self, rtt: &Rtt, is_recovering: bool) -> Duration {
        if !self.is_reordered && (is_recovering || self.arrived >= REORDERING_THRESHOLD) {
            return Duration::ZERO;
        }
        let (Some(least), Some(smoothed)) = (rtt.least(), rtt.smoothed()) else { return Duration::ZERO };
        (least / 4 * (self.window_factor + 1)).min(smoothed)
    }

    /// The first is lost: the peer does not say what has arrived, but that something has. (RFC 6582)
    pub(super) fn first_lost(&mut self) {
        if self.sent.front().is_some_and(|first| first.status == Status::OnItsWay) {
            self.set_status(0, Status::Lost);
        }
    }

    /// Nothing was heard for a time-out: all is lost that is not known to have arrived, and what is, too, if the peer
    /// must have thrown it away. (RFC 2018, section 8)
    pub(super) fn all_lost(&mut self) {
        let is_thrown_away = self.sent.front().is_some_and(|first| first.status == Status::Arrived);
        for index in 0..self.sent.len() {
            if self.sent[index].status == Status::OnItsWay || is_thrown_away {
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
        let arrival = board.acknowledge(at(103), 350, &[], &rtt());
        assert_eq!((arrival.octets, arrival.rtt), (350, Some(Duration::from_millis(101))));
        assert_eq!((board.on_its_way(), board.len()), (650, 7));
        board.acknowledge(at(120), 1000, &[], &rtt());
        assert_eq!((board.on_its_way(), board.memory()), (0, 0));
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
        assert_eq!(board.on_its_way(), 500);
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
        board.arrived_twice();
        let later = board.detect_lost(at(130), &rtt(), false);
        assert_eq!((lost(&board), later), (vec![], Some(at(1 + 96 + 50))));
    }

    /// RFC 2018, section 8: After a time-out what the peer threw away is sent again.
    #[test]
    fn rfc2018_8_after_a_time_out_what_the_peer_threw_away_is_sent_again() {
        let mut board = ten();
        board.acknowledge(at(101), 0, &[Some((200, 300))], &rtt());
        board.all_lost();
        assert_eq!(lost(&board), [0, 100, 300, 400, 500, 600, 700, 800, 900]);
        board.acknowledge(at(301), 200, &[], &rtt());
        board.all_lost();
        assert_eq!(lost(&board).first(), Some(&200));
    }

    #[test]
    fn a_copy_that_arrives_too_soon_is_no_measurement() {
        let mut board = ten();
        board.all_lost();
        board.resend_lost(at(300));
        let arrival = board.acknowledge(at(310), 100, &[], &rtt());
        assert_eq!((arrival.octets, arrival.rtt, board.latest), (100, None, None));
    }
}
