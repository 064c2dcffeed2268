//! When a message is tried again, when its sender is warned, and when it is given up. (RFC 5321, section 4.5.4.1)

use std::collections::VecDeque;
use std::time::Duration;

use gatepost_ground::Instant;

use crate::clock::{Clock, UnixTime};
use crate::mail::store::REPLY_OCTETS_MAX;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The interval to the next try by the number of tries; the last one repeats. The first is for greylisting servers; for
/// the others RFC 5321 recommends at least 30 minutes.
const INTERVALS: [u64; 5] = [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, WAIT_MAX];
/// The longest wait for a try, in seconds.
const WAIT_MAX: u64 = 4 * HOUR;
/// When the sender is notified of a delay, in seconds.
pub const WARN_AFTER: u64 = 4 * HOUR;
/// When a message is given up, in seconds with connectivity in one process. (RFC 5321, section 4.5.4.1: 4 to 5 days)
pub const GIVE_UP_AFTER: u64 = 5 * 24 * HOUR;
/// The number of tries in [`GIVE_UP_AFTER`], after which a message is given up however short processes live.
pub const GIVE_UP_TRIES: u32 = 35;
/// The least number of tries by one process before a message is given up.
pub const TRIES_MIN: u32 = 3;
/// The shortest and the longest retry hint of a server that is honoured, in seconds.
const HINT_MIN: u64 = MINUTE;
const HINT_MAX: u64 = WAIT_MAX;
/// After how many tries a server can ask for more time, and not for less.
const HINT_TRIES: u32 = 3;
/// The most outages that are remembered.
const OUTAGES_MAX: usize = 64;

/// The present, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the clock that does not jump.
    pub instant: Instant,
    /// The time of day.
    pub time: UnixTime,
}

impl Now {
    /// The clock's present time.
    pub fn of(clock: &dyn Clock) -> Self {
        Self { instant: clock.now(), time: clock.unix_time() }
    }

    /// The instant of the stored time `due` of an entry whose next try is never farther away than `longest` seconds. A
    /// later time was stored when the clock was ahead, and is due now; if it is later by at most a minute, the entry
    /// waits for `longest`.
    pub fn instant_of(self, due: UnixTime, longest: u64) -> Instant {
        let wait = due.0.saturating_sub(self.time.0);
        let is_foreign = wait.saturating_sub(longest) > MINUTE;
        self.instant + Duration::from_secs(if is_foreign { 0 } else { wait.min(longest) })
    }

    /// The seconds since an instant.
    pub(super) fn secs_since(self, instant: Instant) -> u64 {
        self.instant.since(instant).as_secs()
    }
}

/// The seconds to the next try after so many tries, the last of which was answered by `reply`.
pub fn wait(tries: u32, reply: &str) -> u64 {
    let interval = interval(tries);
    match hint(reply) {
        Some(hint) if tries <= HINT_TRIES => hint,
        Some(hint) => hint.max(interval),
        None => interval,
    }
}

/// The longest time to the next try of an entry with so many tries and this last reply, in seconds. An entry without a
/// try is due at once.
pub fn longest_wait(tries: u32, reply: &str) -> u64 {
    if tries == 0 && reply.is_empty() { 0 } else { wait(tries, reply) }
}

fn interval(tries: u32) -> u64 {
    let at = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX).min(INTERVALS.len() - 1);
    INTERVALS[at]
}

/// How long a message is tried on after so many tries, about, in seconds.
pub fn time_left(tries: u32) -> u64 {
    (tries..GIVE_UP_TRIES).map(interval).sum()
}

/// The retry hint in a reply, in seconds from now: `try again in 300 s`, `retry in 5 minutes`, `wait for 00:04:30`.
/// Other wordings are ignored. It reads no more of the reply than the store keeps, so that the result is reproducible.
pub fn hint(reply: &str) -> Option<u64> {
    let text = reply[..reply.floor_char_boundary(REPLY_OCTETS_MAX)].to_lowercase();
    let is_about_time = ["again", "retry", "wait", "later", "greylist", "graylist", "grey-list", "gray-list"];
    if !is_about_time.iter().any(|word| text.contains(word)) {
        return None;
    }
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
        .filter(|word| !word.is_empty())
        .collect();
    let secs = words.iter().enumerate().find_map(|(at, word)| {
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        if !matches!(before, "in" | "for" | "after" | "wait" | "least" | "about") {
            return None;
        }
        time(word, words.get(at + 1).copied().unwrap_or_default())
    })?;
    Some(secs.clamp(HINT_MIN, HINT_MAX))
}

/// `300 seconds`, `5m`, `00:05:00`, in seconds; `unit` is the next word.
fn time(word: &str, unit: &str) -> Option<u64> {
    if word.contains(':') {
        let field = |text: &str| text.parse::<u64>().ok().filter(|_| text.len() <= 2);
        let fields: Option<Vec<u64>> = word.split(':').map(field).collect();
        let fields = fields.filter(|fields| fields.len() <= 3)?;
        return Some(fields.iter().fold(0, |secs, field| secs * 60 + field));
    }
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (number, glued) = word.split_at(digits);
    let unit = if glued.is_empty() { unit } else { glued };
    let of_unit = match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(of_unit)
}

/// The times without connectivity, in which the retry clock stops.
#[derive(Clone, Debug, Default)]
pub struct Outages {
    past: VecDeque<(Instant, Instant)>,
    since: Option<Instant>,
}

impl Outages {
    /// Whether there is no outage now.
    pub fn is_over(&self) -> bool {
        self.since.is_none()
    }

    /// Sets whether there is connectivity.
    pub fn set(&mut self, now: Instant, is_way_out: bool) {
        match (self.since, is_way_out) {
            (Some(since), true) => {
                self.since = None;
                if self.past.len() == OUTAGES_MAX {
                    self.past.pop_front();
                }
                self.past.push_back((since, now));
            }
            (None, false) => self.since = Some(now),
            _ => {}
        }
    }

    /// The seconds with connectivity since `begin`, as far as outages are remembered.
    pub fn connected_since(&self, begin: Instant, now: Instant) -> u64 {
        let open = self.since.map(|since| (since, now));
        let out: Duration =
            self.past.iter().copied().chain(open).map(|(from, to)| to.since(from.max(begin))).sum();
        now.since(begin).saturating_sub(out).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5321, section 4.5.4.1: A message is tried after 5 minutes once, then ever more seldom.
    #[test]
    fn rfc5321_4_5_4_1_a_message_is_tried_ever_more_seldom() {
        let minutes = |tries| wait(tries, "450 not now") / 60;
        assert_eq!((1..=7).map(minutes).collect::<Vec<_>>(), [5, 30, 60, 120, 240, 240, 240]);
        assert_eq!((minutes(0), minutes(u32::MAX)), (5, 240));
        assert!((GIVE_UP_AFTER..GIVE_UP_AFTER + WAIT_MAX).contains(&time_left(1)), "the tries of five days");
        assert_eq!((time_left(GIVE_UP_TRIES), time_left(u32::MAX)), (0, 0));
    }

    #[test]
    fn a_hint_of_the_other_side_is_honoured() {
        for (reply, secs) in [
            ("450 4.7.1 try again in 300 s", 300),
            ("451 4.7.1 Greylisting in action, please come back in 00:04:30", 270),
            ("450 Greylisted for 5 minutes", 300),
            ("421 too busy, retry after 2 hours", 7200),
            ("451 Please wait 10m and retry", 600),
            ("450 4.2.0 Greylisted: retry in 600s.", 600),
            ("450 try again in 1 second", 60),
            ("450 try again in 90 hours", 4 * 3600),
        ] {
            assert_eq!(hint(reply), Some(secs), "{reply}");
        }
        for reply in [
            "450 4.7.1 greylisted",
            "450 too many connections in 300 seconds",
            "450 try again in a while",
            "450 try again in 99999999999999999999 seconds",
            "450 try again in 18446744073709551615 hours",
            "451 again in 1:2:3:4:5:6:7:8:9:99999999999999999",
            "452 mailbox has 300 messages, try again later",
            "",
        ] {
            assert_eq!(hint(reply), None, "{reply}");
        }
    }

    /// RFC 5321, section 4.5.4.1: A server that says a constant does not have a message tried each minute for days.
    #[test]
    fn rfc5321_4_5_4_1_a_hint_shortens_the_first_waits_only() {
        let waits = |reply: &str| (1..=5).map(|tries| wait(tries, reply)).collect::<Vec<_>>();
        assert_eq!(waits("450 try again in 300 s"), [300, 300, 300, 7200, 14400]);
        assert_eq!(waits("450 try again in 3 hours"), [10_800, 10_800, 10_800, 10_800, 14400]);
    }

    #[test]
    fn what_is_due_later_than_its_longest_wait_is_due_now() {
        let now = Now { instant: Instant::from_secs(50), time: UnixTime(1_000_000) };
        for (due, secs) in
            [(0, 50), (999_999, 50), (1_000_060, 110), (1_000_300, 350), (1_000_360, 350), (1_000_361, 50)]
        {
            assert_eq!(now.instant_of(UnixTime(due), 300), Instant::from_secs(secs), "{due}");
        }
        assert_eq!(now.instant_of(UnixTime(1_000_001), 0), now.instant);
        assert_eq!(now.instant_of(UnixTime(u64::MAX), WAIT_MAX), now.instant);
    }

    #[test]
    fn the_longest_wait_is_the_one_that_was_given() {
        assert_eq!(
            (longest_wait(0, ""), longest_wait(0, "the message cannot be read now")),
            (0, wait(1, ""))
        );
        for reply in ["450 not now", "450 try again in 2 hours"] {
            assert!((1..9).all(|tries| longest_wait(tries, reply) == wait(tries, reply)), "{reply}");
        }
        // The store truncates the hint.
        let long = format!("450 {}try again in 3600 seconds", "-".repeat(REPLY_OCTETS_MAX - 23));
        assert_eq!(hint(&long), hint(&long[..REPLY_OCTETS_MAX]));
    }

    #[test]
    fn the_clock_stands_still_while_there_is_no_way_out() {
        let at = Instant::from_secs;
        let mut outages = Outages::default();
        assert_eq!(outages.connected_since(at(100), at(500)), 400);
        outages.set(at(200), false);
        outages.set(at(250), false);
        assert!(!outages.is_over());
        assert_eq!(outages.connected_since(at(100), at(500)), 100);
        outages.set(at(300), true);
        assert_eq!(outages.connected_since(at(100), at(500)), 300);
        assert_eq!(outages.connected_since(at(250), at(500)), 200, "a part of it");
        assert_eq!(outages.connected_since(at(400), at(500)), 100);
        for second in 0..200 {
            outages.set(at(1000 + 2 * second), second % 2 == 0);
        }
        assert!(outages.past.len() <= OUTAGES_MAX);
        assert_eq!(outages.connected_since(at(900), at(100)), 0, "a clock that jumps back");
    }
}
