//! What the store does beside the log: it removes files that nothing needs, and keeps room for deletions.

use std::io;

use gatepost_ground::Instant;

use super::change::Refused;
use super::content::BodyName;
use super::layout::{RESERVE, body_file};
use super::request::{Answer, Task};
use super::store::{RETRY_INTERVAL, Store};

/// The octets that are kept for deletions.
pub const RESERVE_OCTETS: u64 = 1 << 20;

/// What is done, and what is known of the disk.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// Large bodies of before the start that no record names.
    orphans: Vec<BodyName>,
    /// What is done, or to be done next.
    doing: Option<Doing>,
    /// Whether a request is under way.
    is_busy: bool,
    has_reserve: bool,
    is_full: bool,
    /// When the reserve is made again, if there is none.
    reserve_due: Option<Instant>,
    trouble: Option<Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    RemoveBody(BodyName),
    CutReserve,
    CutFailedReserve,
    WriteReserve,
    SyncReserve,
}

impl Upkeep {
    pub fn new(orphans: Vec<BodyName>, has_reserve: bool) -> Self {
        Self {
            orphans,
            doing: None,
            is_busy: false,
            has_reserve,
            is_full: false,
            reserve_due: (!has_reserve).then_some(Instant::ZERO),
            trouble: None,
        }
    }

    /// Whether only what needs little room is written.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Why the disk refused the last time.
    pub fn trouble(&self) -> Option<Refused> {
        self.trouble.clone()
    }

    pub fn due(&self) -> Option<Instant> {
        self.reserve_due
    }

    /// A batch is durable.
    pub fn log_works(&mut self) {
        self.trouble = None;
    }

    pub fn disk_failed(&mut self, now: Instant, why: Refused) {
        if why == Refused::NoRoom {
            self.is_full = true;
            self.reserve_due.get_or_insert(now + RETRY_INTERVAL);
        }
        self.trouble = Some(why);
    }

    pub fn can_give_up_reserve(&self) -> bool {
        self.has_reserve && self.is_full && self.trouble == Some(Refused::NoRoom)
    }

    pub fn reserve_given_up(&mut self, now: Instant) {
        self.has_reserve = false;
        self.reserve_due = Some(now + RETRY_INTERVAL);
    }
}

impl Store {
    pub(super) fn poll_upkeep(&mut self, now: Instant) -> Option<Task> {
        if self.upkeep.is_busy || !self.is_ready() {
            return None;
        }
        let doing = self.upkeep.doing.or_else(|| self.next_upkeep(now))?;
        self.upkeep.doing = Some(doing);
        self.upkeep.is_busy = true;
        let file = RESERVE.to_owned();
        Some(match doing {
            Doing::RemoveBody(name) => Task::Remove { file: body_file(name) },
            Doing::CutReserve | Doing::CutFailedReserve => Task::Remove { file },
            Doing::WriteReserve => {
                let len = usize::try_from(self.settings.reserve_octets).unwrap_or(0);
                Task::Append { file, octets: vec![b'.'; len] }
            }
            Doing::SyncReserve => Task::Sync { file },
        })
    }

    fn next_upkeep(&mut self, now: Instant) -> Option<Doing> {
        if let Some(name) = self.state.unused.pop().or_else(|| self.upkeep.orphans.pop()) {
            return Some(Doing::RemoveBody(name));
        }
        if self.upkeep.reserve_due.is_some_and(|due| due <= now) {
            self.upkeep.reserve_due = None;
            return Some(Doing::CutReserve);
        }
        None
    }

    pub(super) fn upkeep_done(&mut self, now: Instant, done: io::Result<Answer>) {
        self.upkeep.is_busy = false;
        let Some(doing) = self.upkeep.doing.take() else { return };
        let is_done = done.is_ok();
        self.upkeep.doing = match doing {
            Doing::CutReserve if is_done => Some(Doing::WriteReserve),
            Doing::WriteReserve if is_done => Some(Doing::SyncReserve),
            Doing::SyncReserve if is_done => {
                self.upkeep.has_reserve = true;
                self.upkeep.is_full = false;
                None
            }
            Doing::CutReserve | Doing::WriteReserve | Doing::SyncReserve => {
                self.upkeep.reserve_due = Some(now + RETRY_INTERVAL);
                // A part of it may be there.
                Some(Doing::CutFailedReserve)
            }
            // A file that cannot be removed is tried again at the next start.
            Doing::RemoveBody(_) | Doing::CutFailedReserve => None,
        };
    }
}
