//! The last lines of the process's log, for `gatepost show log` and the pages.
//!
//! A process has one log, so it has one such list. A simulated gateway logs nothing, and its list is empty.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// The most lines that are kept.
pub const LINES_MAX: usize = 500;

/// The most octets of a line that are kept.
pub const LINE_OCTETS_MAX: usize = 1000;

/// The process's last lines.
pub static RECENT: RecentLog = RecentLog::new();

/// The last lines of a log.
#[derive(Debug)]
pub struct RecentLog(Mutex<VecDeque<String>>);

impl RecentLog {
    /// A log without lines.
    pub const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// Adds a line, which is cut if it is too long; the oldest line goes if there are too many.
    pub fn push(&self, line: &str) {
        let line = line.trim_end();
        let end = line.floor_char_boundary(LINE_OCTETS_MAX);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line.get(..end).unwrap_or_default().to_owned());
    }

    /// All lines, the oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Default for RecentLog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_cut() {
        let log = RecentLog::new();
        for number in 0..LINES_MAX + 2 {
            log.push(&format!("line {number}\n"));
        }
        let lines = log.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES_MAX, "line 2"));
        log.push(&"\u{e4}".repeat(LINE_OCTETS_MAX));
        let last = log.lines().pop().expect("a line");
        assert_eq!((last.len(), log.lines().len()), (LINE_OCTETS_MAX, LINES_MAX));
        log.push(&format!("x{}", "\u{e4}".repeat(LINE_OCTETS_MAX)));
        assert_eq!(log.lines().pop().expect("a line").len(), LINE_OCTETS_MAX - 1, "no half letter");
    }
}
