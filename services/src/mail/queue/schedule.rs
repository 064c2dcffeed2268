//! When a message is tried again, when its sender is warned, and when it is given up. (RFC 5321, section 4.5.4.1)

use std::collections::VecDeque;

use crate::clock::UnixTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// How long it is to the next try, by how many there were; the last one repeats. The first is for servers that do not
/// know this one yet and want to see it come again; then RFC 5321 asks for 30 minutes at least.
const INTERVALS: [u64; 5] = [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];
/// When the sender is told that it takes long, in seconds.
pub const WARN_AFTER: u64 = 4 * HOUR;
/// When a message is given up, in seconds in which there was a way out. // RFC 5321, section 4.5.4.1: 4 to 5 days
pub const GIVE_UP_AFTER: u64 = 5 * 24 * HOUR;
/// How often a message has been tried, at least, when it is given up.
pub const TRIES_MIN: u32 = 3;
/// The shortest and the longest time that a server is believed when it says when to come again, in seconds.
const HINT_MIN: u64 = MINUTE;
const HINT_MAX: u64 = 4 * HOUR;
/// The outages that are remembered.
const OUTAGES_MAX: usize = 64;

/// When the next try is due after so many of them, the last of which was now and was answered by `reply`.
pub fn next_try(now: UnixTime, tries: u32, reply: &str) -> UnixTime {
    let at = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX).min(INTERVALS.len() - 1);
    let wait = hint(reply).unwrap_or(INTERVALS[at]);
    UnixTime(now.0.saturating_add(wait))
}

/// When the other side says that it may be tried again, in seconds from now: `try again in 300 s`, `retry in 5 minutes`,
/// `wait for 00:04:30`. It is said in many ways; what is not understood is not there.
pub fn hint(reply: &str) -> Option<u64> {
    let text = reply.to_lowercase();
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

/// `300 seconds`, `5m`, `00:05:00`, in seconds; `unit` is the word behind.
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

/// The times in which there was no way out. In them the clock of tries stands still.
#[derive(Clone, Debug, Default)]
pub struct Outages {
    past: VecDeque<(UnixTime, UnixTime)>,
    since: Option<UnixTime>,
}

impl Outages {
    /// Whether there is none now.
    pub fn is_over(&self) -> bool {
        self.since.is_none()
    }

    /// There is a way out from now on, or none.
    pub fn set(&mut self, now: UnixTime, is_way_out: bool) {
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

    /// How many seconds since `begin` there was a way out, as far as is remembered.
    pub fn way_out_since(&self, begin: UnixTime, now: UnixTime) -> u64 {
        let open = self.since.map(|since| (since, now));
        let out: u64 = self
            .past
            .iter()
            .copied()
            .chain(open)
            .map(|(from, to)| to.0.saturating_sub(from.0.max(begin.0)))
            .sum();
        now.0.saturating_sub(begin.0).saturating_sub(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5321, section 4.5.4.1: A message is tried after 5 minutes once, then ever more seldom.
    #[test]
    fn rfc5321_4_5_4_1_a_message_is_tried_ever_more_seldom() {
        let minutes = |tries| next_try(UnixTime(1000), tries, "450 not now").0.saturating_sub(1000) / 60;
        assert_eq!((1..=7).map(minutes).collect::<Vec<_>>(), [5, 30, 60, 120, 240, 240, 240]);
        assert_eq!((minutes(0), minutes(u32::MAX)), (5, 240));
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
        assert_eq!(next_try(UnixTime(0), 5, "450 try again in 300 s"), UnixTime(300));
    }

    #[test]
    fn the_clock_stands_still_while_there_is_no_way_out() {
        let at = UnixTime;
        let mut outages = Outages::default();
        assert_eq!(outages.way_out_since(at(100), at(500)), 400);
        outages.set(at(200), false);
        outages.set(at(250), false);
        assert!(!outages.is_over());
        assert_eq!(outages.way_out_since(at(100), at(500)), 100);
        outages.set(at(300), true);
        assert_eq!(outages.way_out_since(at(100), at(500)), 300);
        assert_eq!(outages.way_out_since(at(250), at(500)), 200, "a part of it");
        assert_eq!(outages.way_out_since(at(400), at(500)), 100);
        for second in 0..200 {
            outages.set(at(1000 + 2 * second), second % 2 == 0);
        }
        assert!(outages.past.len() <= OUTAGES_MAX);
        assert_eq!(outages.way_out_since(at(900), at(100)), 0, "a clock that jumps back");
    }
}
