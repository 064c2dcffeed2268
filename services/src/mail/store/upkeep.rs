//! The store's background work, one request at a time: removal of unreferenced files, the reserve, checkpoints, and
//! compaction.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use gatepost_ground::Instant;

use super::change::StoreError;
use super::checkpoint::{Writer, expected_len};
use super::compaction;
use super::content::{BodyName, Content};
use super::layout::{CHECKPOINT, NEW_CHECKPOINT, RESERVE, body_file};
use super::log::Logged;
use super::mailbox::Place;
use super::record::{Scanner, Step, decode};
use super::request::{Answer, Task};
use super::start::PART_OCTETS;
use super::store::{RETRY_INTERVAL, Store};

/// The octets that are reserved for deletions, and for the batches that a start writes once more.
pub const RESERVE_OCTETS: u64 = 8 << 20;
/// A checkpoint is made so long after the log has grown, at the latest.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(600);
/// The longest pause before a write that had no room is tried again.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The most records, and octets, of a compacted segment that one batch handles.
const LEAVING_MAX: usize = 64;
const LEAVING_OCTETS_MAX: usize = 1 << 20;
/// Facts that these records speak of; that of one record may be beyond it.
const LEAVING_FACTS_MAX: usize = 1000;

/// The background work, and the state of the disk.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// Large bodies of before the start that no record names.
    orphans: Vec<BodyName>,
    /// The current or next step.
    doing: Option<Doing>,
    /// Whether a request is in progress.
    is_busy: bool,
    has_reserve: bool,
    is_full: bool,
    /// When a missing reserve is created again.
    reserve_due: Option<Instant>,
    reserve_pause: Pause,
    checkpoint_pause: Pause,
    trouble: Option<StoreError>,
    /// Octets of the log after the last checkpoint, and the limit for a new one.
    grown: u64,
    checkpoint_due: Option<Instant>,
    /// The segment at which the checkpoint on the disk ends.
    checkpoint: Option<u32>,
    /// Segments that are not compacted, as they are damaged or could not be.
    left_alone: BTreeSet<u32>,
    /// Segments whose needed records had no room.
    without_room: BTreeSet<u32>,
    /// Octets of records in each segment that repeat others, and are needed as long as those are: copies of attempts or
    /// ends, and states of mailboxes. Copying them again would gain nothing.
    repeated: BTreeMap<u32, u64>,
    /// Octets of other records that have come since.
    new_octets: u64,
}

/// How long to wait after the next failure: longer after each, so that a disk that has no room is not filled for ever.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(RETRY_INTERVAL)
    }
}

impl Pause {
    fn failed(&mut self) -> Duration {
        let next = (self.0 * 2).min(PAUSE_MAX);
        std::mem::replace(&mut self.0, next)
    }
}

#[derive(Debug)]
enum Doing {
    RemoveBody(BodyName),
    CutReserve,
    CutFailedReserve,
    /// Queries the disk's free space for it.
    FindRoomForReserve,
    WriteReserve,
    SyncReserve,
    CutCheckpoint(Writer),
    CutFailedCheckpoint,
    FindRoomForCheckpoint(Writer),
    WriteCheckpoint(Writer, Vec<u8>),
    SyncCheckpoint(Writer),
    RenameCheckpoint(Writer),
    SettleCheckpoint(Writer),
    ReadSegment(Box<Compaction>, u64),
    /// The segment's needed records are in a batch.
    Copy(Box<Compaction>),
    RemoveSegment(u32),
    SettleSegment(u32),
}

#[derive(Debug)]
struct Compaction {
    segment: u32,
    scanner: Scanner,
    damage: Option<u64>,
}

impl Upkeep {
    pub fn new(
        orphans: Vec<BodyName>,
        has_reserve: bool,
        checkpoint: Option<u32>,
        left_alone: BTreeSet<u32>,
    ) -> Self {
        Self {
            orphans,
            doing: None,
            is_busy: false,
            has_reserve,
            is_full: false,
            reserve_due: (!has_reserve).then_some(Instant::ZERO),
            reserve_pause: Pause::default(),
            checkpoint_pause: Pause::default(),
            trouble: None,
            grown: 0,
            checkpoint_due: None,
            checkpoint,
            left_alone,
            without_room: BTreeSet::new(),
            repeated: BTreeMap::new(),
            new_octets: 0,
        }
    }

    /// Whether only small records are written.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Why the disk failed the last time.
    pub fn trouble(&self) -> Option<StoreError> {
        self.trouble.clone()
    }

    fn due(&self, may_make_checkpoint: bool) -> Option<Instant> {
        self.reserve_due.into_iter().chain(self.checkpoint_due.filter(|_| may_make_checkpoint)).min()
    }

    /// A batch is durable, or a checkpoint is to be made as if one were.
    pub fn log_grew(&mut self, octets: u64) {
        self.grown += octets;
        self.trouble = None;
    }

    /// Records that so many octets of a batch in `segment` only repeat other records, and so many are new.
    pub fn repeated(&mut self, segment: u32, octets: u64, new_octets: u64) {
        *self.repeated.entry(segment).or_default() += octets;
        self.new_octets = self.new_octets.saturating_add(new_octets);
        // By now much of it is not needed any more, and a compaction costs less than the log's growth.
        if self.new_octets > self.repeated.values().sum() {
            self.repeated.clear();
            self.new_octets = 0;
        }
    }

    /// Handles the outcome of the batch with the needed records.
    pub fn copies_done(&mut self, done: Result<(), &StoreError>) {
        match self.doing.take() {
            Some(Doing::Copy(compaction)) if done.is_ok() => {
                self.doing = Some(Doing::ReadSegment(compaction, u64::MAX));
                self.is_busy = false;
            }
            Some(Doing::Copy(compaction)) => {
                let has_room = done != Err(&StoreError::NoRoom);
                let left = if has_room { &mut self.left_alone } else { &mut self.without_room };
                left.insert(compaction.segment);
                self.is_busy = false;
            }
            other => self.doing = other,
        }
    }

    pub fn disk_failed(&mut self, now: Instant, why: StoreError) {
        if why == StoreError::NoRoom {
            self.is_full = true;
            self.reserve_due.get_or_insert(now + RETRY_INTERVAL);
        }
        self.trouble = Some(why);
    }

    pub fn can_give_up_reserve(&self) -> bool {
        self.has_reserve && self.is_full && self.trouble == Some(StoreError::NoRoom)
    }

    pub fn reserve_given_up(&mut self, now: Instant) {
        self.has_reserve = false;
        self.reserve_due = Some(now + RETRY_INTERVAL);
    }
}

impl Store {
    fn is_upkeep_possible(&self) -> bool {
        !self.upkeep.is_busy && self.is_ready() && !self.is_newer()
    }

    /// When background work is due, if nothing else happens.
    pub(super) fn upkeep_due(&self) -> Option<Instant> {
        self.upkeep.due(self.may_make_checkpoint()).filter(|_| self.is_upkeep_possible())
    }

    /// A checkpoint ends after the last segment. As long as that has rejected records without an abort in another one,
    /// reading the whole log would apply them, and starting at the checkpoint would not.
    fn may_make_checkpoint(&self) -> bool {
        !self.upkeep.is_full && self.aborting.is_none()
    }

    pub(super) fn poll_upkeep(&mut self, now: Instant) -> Option<Task> {
        while self.is_upkeep_possible() {
            let doing = self.upkeep.doing.take().or_else(|| self.next_upkeep(now))?;
            let doing = match doing {
                Doing::ReadSegment(compaction, u64::MAX) => self.scan(compaction),
                doing => Some(doing),
            };
            let Some(doing) = doing else { continue };
            if let Some(task) = self.task_of(&doing) {
                self.upkeep.is_busy = true;
                self.upkeep.doing = Some(doing);
                return Some(task);
            }
        }
        None
    }

    fn task_of(&self, doing: &Doing) -> Option<Task> {
        let (reserve, new) = (RESERVE.to_owned(), NEW_CHECKPOINT.to_owned());
        Some(match doing {
            Doing::RemoveBody(name) => Task::Remove { file: body_file(*name) },
            Doing::CutReserve | Doing::CutFailedReserve => Task::Remove { file: reserve },
            Doing::WriteReserve => {
                let len = usize::try_from(self.settings.reserve_octets).unwrap_or(0);
                Task::Append { file: reserve, octets: vec![b'.'; len] }
            }
            Doing::SyncReserve => Task::Sync { file: reserve },
            Doing::FindRoomForReserve | Doing::FindRoomForCheckpoint(_) => Task::Space,
            Doing::CutCheckpoint(_) | Doing::CutFailedCheckpoint => Task::Remove { file: new },
            Doing::WriteCheckpoint(_, octets) => Task::Append { file: new, octets: octets.clone() },
            Doing::SyncCheckpoint(_) => Task::Sync { file: new },
            Doing::RenameCheckpoint(_) => Task::Rename { file: new, to: CHECKPOINT.to_owned() },
            Doing::SettleCheckpoint(_) | Doing::SettleSegment(_) => {
                Task::Sync { file: CHECKPOINT.to_owned() }
            }
            Doing::ReadSegment(compaction, offset) => {
                let file = self.segments.file(compaction.segment)?;
                Task::Read { file, offset: *offset, len: PART_OCTETS }
            }
            Doing::RemoveSegment(segment) => Task::Remove { file: self.segments.file(*segment)? },
            Doing::Copy(_) => return None,
        })
    }

    fn next_upkeep(&mut self, now: Instant) -> Option<Doing> {
        if self.upkeep.grown > 0 {
            self.upkeep.checkpoint_due.get_or_insert(now + CHECKPOINT_INTERVAL);
        }
        let is_due = self.upkeep.checkpoint_due.is_some_and(|due| due <= now);
        if let Some(name) = self.state.unused.pop().or_else(|| self.upkeep.orphans.pop()) {
            Some(Doing::RemoveBody(name))
        } else if self.upkeep.reserve_due.is_some_and(|due| due <= now) {
            self.upkeep.reserve_due = None;
            Some(Doing::CutReserve)
        } else if self.may_make_checkpoint()
            && (is_due || self.upkeep.grown >= self.settings.checkpoint_octets)
        {
            self.upkeep.checkpoint_due = None;
            self.upkeep.grown = 0;
            Some(Doing::CutCheckpoint(Writer::new(self.segments.end())))
        } else {
            let segment = self.segment_to_compact()?;
            let marker = self.segments.files.get(&segment)?.marker;
            let scanner = Scanner::new(marker, 0);
            Some(Doing::ReadSegment(Box::new(Compaction { segment, scanner, damage: None }), 0))
        }
    }

    /// A segment of which most is not needed, or a short one; on a full disk one of which nearly nothing is needed. The
    /// checkpoint has its content, and a later segment begins with the state of all mailboxes.
    fn segment_to_compact(&self) -> Option<u32> {
        let open = self.segments.open()?;
        let before = self.upkeep.checkpoint?.min(open);
        let exists = |number: &u32| self.segments.files.contains_key(number);
        let is_candidate = |(number, file): &(&u32, &super::log::SegmentFile)| {
            let known = self.state.segments.get(number);
            let live = known.map_or(0, |segment| segment.live);
            let repeated = self.upkeep.repeated.get(number).copied().unwrap_or(0);
            let aborts = known.is_some_and(|segment| segment.aborts_in.iter().any(exists));
            let Upkeep { is_full, left_alone, without_room, .. } = &self.upkeep;
            let is_left = left_alone.contains(number) || without_room.contains(number);
            let is_short = file.len < self.settings.segment_octets / 4 || (live + repeated) * 2 < file.len;
            !aborts && !is_left && if *is_full { live == 0 } else { is_short }
        };
        self.segments.files.range(..before).find(is_candidate).map(|(number, _)| *number)
    }

    /// Continues with a segment, as far as it was read.
    fn scan(&mut self, mut compaction: Box<Compaction>) -> Option<Doing> {
        let segment = compaction.segment;
        let marker = self.segments.files.get(&segment)?.marker;
        let synced = self.state.segments.get(&segment).map_or(0, |segment| segment.synced);
        let (mut octets, mut facts) = (0, 0);
        loop {
            let is_enough = self.leaving.len() >= LEAVING_MAX
                || octets >= LEAVING_OCTETS_MAX
                || facts >= LEAVING_FACTS_MAX;
            let step = if is_enough { None } else { Some(compaction.scanner.step()) };
            match step {
                Some(Step::Record(offset, frame)) => {
                    let place = Place { segment, len: frame.len() as u32, offset };
                    let decoded = decode(marker, compaction.scanner.record());
                    let decoded = decoded.and_then(|(_, text, body)| {
                        Some((Content::decode(frame.kind, text).ok()?, body.to_vec()))
                    });
                    let Some((content, body)) = decoded else { return self.leave_damaged(segment) };
                    if compaction.damage.is_some() {
                        return self.leave_alone(segment);
                    }
                    let body_len = frame.body_len();
                    let logged =
                        Logged { sequence: frame.sequence, is_copy: false, place, body_len, content };
                    octets += frame.len();
                    facts += compaction::facts(&logged.content);
                    self.leaving.push((logged, body));
                }
                Some(Step::Damage { offset, .. }) if offset < synced => return self.leave_damaged(segment),
                // An append that was cut short, if nothing is behind it.
                Some(Step::Damage { offset, .. }) => compaction.damage = Some(offset),
                Some(Step::Newer { .. }) => return self.leave_alone(segment),
                Some(Step::More(offset)) if self.leaving.is_empty() => {
                    return Some(Doing::ReadSegment(compaction, offset));
                }
                Some(Step::End) if self.leaving.is_empty() => {
                    // Otherwise a part of it was misplaced.
                    let is_needed = self.state.is_needed(segment);
                    return if is_needed {
                        self.leave_alone(segment)
                    } else {
                        Some(Doing::RemoveSegment(segment))
                    };
                }
                Some(Step::More(_) | Step::End) | None => {
                    self.upkeep.doing = Some(Doing::Copy(compaction));
                    self.upkeep.is_busy = true;
                    return None;
                }
            }
        }
    }

    /// The same for a damaged one, of which later starts have to know.
    fn leave_damaged(&mut self, segment: u32) -> Option<Doing> {
        self.state.known_damage.damaged.insert(segment);
        self.leave_alone(segment)
    }

    fn leave_alone(&mut self, segment: u32) -> Option<Doing> {
        self.leaving.clear();
        self.upkeep.left_alone.insert(segment);
        None
    }

    pub(super) fn upkeep_done(&mut self, now: Instant, done: io::Result<Answer>) {
        self.upkeep.is_busy = false;
        let Some(doing) = self.upkeep.doing.take() else { return };
        self.upkeep.doing = match done {
            Ok(answer) => self.next_step(now, doing, answer),
            Err(_) => self.step_failed(now, doing),
        };
    }

    fn next_step(&mut self, now: Instant, doing: Doing, answer: Answer) -> Option<Doing> {
        let space = if let Answer::Space(space) = answer { space } else { 0 };
        match doing {
            Doing::RemoveBody(_) | Doing::CutFailedReserve | Doing::CutFailedCheckpoint | Doing::Copy(_) => {
                None
            }
            Doing::CutReserve => Some(Doing::FindRoomForReserve),
            // Some room is left for new records, and for other programs.
            Doing::FindRoomForReserve if space / 2 < self.settings.reserve_octets => {
                self.upkeep.reserve_due = Some(now + RETRY_INTERVAL);
                None
            }
            Doing::FindRoomForReserve => Some(Doing::WriteReserve),
            Doing::CutCheckpoint(writer) => Some(Doing::FindRoomForCheckpoint(writer)),
            Doing::FindRoomForCheckpoint(_)
                if space < expected_len(&self.state).saturating_add(self.settings.reserve_octets) =>
            {
                self.upkeep.checkpoint_due = Some(now + RETRY_INTERVAL);
                None
            }
            Doing::WriteReserve => Some(Doing::SyncReserve),
            Doing::SyncReserve => {
                self.upkeep.has_reserve = true;
                self.upkeep.is_full = false;
                self.upkeep.reserve_pause = Pause::default();
                self.upkeep.without_room.clear();
                None
            }
            Doing::FindRoomForCheckpoint(mut writer) | Doing::WriteCheckpoint(mut writer, _) => {
                Some(match writer.part(&self.state) {
                    Some(octets) => Doing::WriteCheckpoint(writer, octets),
                    None => Doing::SyncCheckpoint(writer),
                })
            }
            Doing::SyncCheckpoint(writer) => Some(Doing::RenameCheckpoint(writer)),
            Doing::RenameCheckpoint(writer) => Some(Doing::SettleCheckpoint(writer)),
            Doing::SettleCheckpoint(writer) => {
                self.upkeep.checkpoint = Some(writer.position.0);
                self.upkeep.checkpoint_pause = Pause::default();
                None
            }
            Doing::ReadSegment(mut compaction, _) => {
                let Answer::Octets(Some(octets)) = answer else {
                    return self.leave_alone(compaction.segment);
                };
                compaction.scanner.feed(&octets);
                Some(Doing::ReadSegment(compaction, u64::MAX))
            }
            Doing::RemoveSegment(segment) => Some(Doing::SettleSegment(segment)),
            Doing::SettleSegment(segment) => {
                self.segments.files.remove(&segment);
                self.state.remove_segment(segment);
                self.upkeep.repeated.remove(&segment);
                None
            }
        }
    }

    fn step_failed(&mut self, now: Instant, doing: Doing) -> Option<Doing> {
        match doing {
            // A file that cannot be removed is tried again at the next start.
            Doing::RemoveBody(_) | Doing::CutFailedReserve | Doing::CutFailedCheckpoint | Doing::Copy(_) => {}
            Doing::CutReserve | Doing::FindRoomForReserve | Doing::WriteReserve | Doing::SyncReserve => {
                self.upkeep.reserve_due = Some(now + self.upkeep.reserve_pause.failed());
                // A part of it may be there.
                return Some(Doing::CutFailedReserve);
            }
            Doing::CutCheckpoint(_)
            | Doing::FindRoomForCheckpoint(_)
            | Doing::WriteCheckpoint(..)
            | Doing::SyncCheckpoint(_)
            | Doing::RenameCheckpoint(_)
            | Doing::SettleCheckpoint(_) => {
                self.upkeep.checkpoint_due = Some(now + self.upkeep.checkpoint_pause.failed());
                // Once it is renamed there is no such file.
                return Some(Doing::CutFailedCheckpoint);
            }
            Doing::ReadSegment(compaction, _) => return self.leave_alone(compaction.segment),
            Doing::RemoveSegment(segment) | Doing::SettleSegment(segment) => {
                return self.leave_alone(segment);
            }
        }
        None
    }
}
