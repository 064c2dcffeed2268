//! The gateway's disk: it outlives crashes and keeps synced data. It can fail, be slow, and a power cut can come in the
//! middle of an operation.
//!
//! # Theory of operation
//!
//! A file has its content in the page cache, its durable content, and the ordered changes between the two, which the
//! next sync makes durable. A failed sync can leave zeros in those changes while the cache is sound, or have made them
//! durable all the same. Names are separate from files, and are durable or not as well. A power cut leaves all, none or
//! a part of the unsynced data, with zeros for the rest; of several changes of names any subset. The disk's own random
//! generator decides. `tests/storage` verifies that this covers all that a file system can leave after the calls of
//! `Files`.
//!
//! The gateway uses its disk in jobs (`world/work.rs`). The power can fail after a job was submitted and before it has
//! ended: then the job has not begun, or is done, or is interrupted.
//!
//! An octet at rest can flip ([`SimDisk::flip`]): durable content and cache have it from then on, until it is written
//! anew.
//!
//! The gateway has power while its `power` is on. Without power the disk ignores all requests: what the gateway still
//! does until its host has crashed has no effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::mem;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatepost_services::store::{Storage, checked_directory, checked_name, list_in, part_of};
use gatepost_services::work::Job;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::power::Power;

/// The duration of a job with a working disk.
const JOB_MILLIS: RangeInclusive<u64> = 0..=3;
/// The duration of a job with a slow disk.
const SLOW_JOB_MILLIS: RangeInclusive<u64> = 200..=2_000;
/// The changes that a job makes before the power fails in the middle of it, at most.
const CHANGES_BEFORE_CUT_MAX: u32 = 5;

/// The behaviour of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskMood {
    /// It works.
    #[default]
    Sound,
    /// It works, and takes its time.
    Slow,
    /// Half of each write has room, and the rest is rejected.
    Full,
    /// Refuses to write.
    WriteProtected,
    /// Accepts writes, and fails each sync. One failed sync in three has written the file's octets all the same.
    LosesWrites,
    /// Refuses to read, so that the gateway cannot even start.
    Unreadable,
}

impl fmt::Display for DiskMood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sound => "works",
            Self::Slow => "is slow",
            Self::Full => "is full",
            Self::WriteProtected => "refuses to write",
            Self::LosesWrites => "fails to sync",
            Self::Unreadable => "refuses to read",
        })
    }
}

/// The steps of a file's replacement by way of another, whose name ends in `.new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceStep {
    /// The other file is written.
    Write,
    /// It is synced.
    Sync,
    /// It gets the name of the first.
    Rename,
    /// The name is synced.
    SyncName,
}

impl ReplaceStep {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Write, Self::Sync, Self::Rename, Self::SyncName];
}

impl fmt::Display for ReplaceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "is written",
            Self::Sync => "is synced",
            Self::Rename => "gets its name",
            Self::SyncName => "has its name synced",
        })
    }
}

/// The disk.
pub struct SimDisk {
    power: Power,
    state: Mutex<State>,
}

struct State {
    rng: StdRng,
    mood: DiskMood,
    /// The power fails at so many changes from now.
    changes_left: Option<u32>,
    /// The power fails at that step of the next replacement that comes to it.
    cut_at: Option<ReplaceStep>,
    /// A file that was written beside another has its name, and that is not synced yet.
    has_replaced: bool,
    /// How many writes have begun.
    writes: u64,
    names: Names,
    synced_names: Names,
    /// The name changes between the two, in order.
    name_changes: Vec<NameChange>,
    files: BTreeMap<FileId, File>,
    next_file: FileId,
    /// Submitted jobs without effect so far.
    jobs: BTreeMap<u64, Job>,
    next_job: u64,
}

type FileId = u64;
type Names = BTreeMap<String, FileId>;
/// Which files some names are of from then on; `None`: of none. It is durable as a whole or not.
type NameChange = Vec<(String, Option<FileId>)>;

#[derive(Default)]
struct File {
    /// The cached content.
    cached: Vec<u8>,
    /// The durable content.
    synced: Vec<u8>,
    /// The unsynced changes, in order.
    unsynced: Vec<Change>,
    /// The numbers of the last write, and of the last that is durable.
    last_write: u64,
    last_durable: u64,
    /// Octets that have flipped, by their offsets, as they were written.
    flipped: BTreeMap<usize, u8>,
}

enum Change {
    Append(Vec<u8>),
    Replace(Vec<u8>),
    /// What lay from an offset on is written once more.
    Rewrite(usize, Vec<u8>),
}

impl SimDisk {
    /// An empty disk of the gateway that has power while `power` is on.
    pub fn new(power: Power, rng: StdRng) -> Self {
        let state = State {
            rng,
            mood: DiskMood::default(),
            changes_left: None,
            cut_at: None,
            has_replaced: false,
            writes: 0,
            names: Names::new(),
            synced_names: Names::new(),
            name_changes: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
            jobs: BTreeMap::new(),
            next_job: 0,
        };
        Self { power, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it better or worse.
    pub fn set_mood(&self, mood: DiskMood) {
        self.state().mood = mood;
    }

    /// The octets that a power cut at this moment would certainly leave of the file with the durable name `name`.
    pub fn durable(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        let file = state.synced_names.get(name).and_then(|id| state.files.get(id));
        file.map_or_else(Vec::new, |file| file.synced.clone())
    }

    /// The files that are durably called so, in order.
    pub fn durable_names(&self) -> Vec<String> {
        self.state().synced_names.keys().cloned().collect()
    }

    /// How many writes have begun.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// The number of the last durable write to files whose durable names have the prefix.
    pub fn last_durable(&self, prefix: &str) -> u64 {
        let state = self.state();
        let files = state.synced_names.iter().filter(|(name, _)| name.starts_with(prefix));
        files.filter_map(|(_, id)| state.files.get(id)).map(|file| file.last_durable).max().unwrap_or(0)
    }

    /// Flips those bits of an octet of the file that is durably called `name`, if it is at rest. Whether it has
    /// flipped.
    pub fn flip(&self, name: &str, offset: usize, bits: u8) -> bool {
        let mut state = self.state();
        let id = state.synced_names.get(name).copied();
        let Some(file) = id.and_then(|id| state.files.get_mut(&id)) else { return false };
        if file.unsynced.iter().any(|change| matches!(change, Change::Replace(_))) {
            return false;
        }
        let octets = file.synced.get_mut(offset).zip(file.cached.get_mut(offset));
        let Some((synced, cached)) = octets else { return false };
        file.flipped.entry(offset).or_insert(*synced);
        *synced ^= bits;
        *cached ^= bits;
        true
    }

    /// The octets that are read, and not as they were written: the files and the offsets in them.
    pub fn flipped(&self) -> Vec<(String, u64)> {
        let state = self.state();
        let mut all = Vec::new();
        for (name, id) in &state.names {
            let Some(file) = state.files.get(id) else { continue };
            let differs =
                |(at, was): &(&usize, &u8)| file.cached.get(**at).is_some_and(|octet| octet != *was);
            let offsets = file.flipped.iter().filter(differs).map(|(at, _)| *at as u64);
            all.extend(offsets.map(|offset| (name.clone(), offset)));
        }
        all
    }

    /// Keeps `job` until it is run; says by which number, how long until then, and how long from then to its end.
    pub(super) fn take(&self, job: Job) -> (u64, [Duration; 2]) {
        let mut state = self.state();
        let number = state.next_job;
        state.next_job += 1;
        state.jobs.insert(number, job);
        let millis = if state.mood == DiskMood::Slow { SLOW_JOB_MILLIS } else { JOB_MILLIS };
        let takes = state.rng.random_range(millis);
        let before = state.rng.random_range(0..=takes);
        (number, [before, takes - before].map(Duration::from_millis))
    }

    /// Runs the job of that number, unless it is gone.
    pub(super) fn run(&self, number: u64) {
        // It uses the disk.
        let job = self.state().jobs.remove(&number);
        if let Some(job) = job {
            job();
        }
    }

    /// Cuts the gateway's power, and loses unsynced data. Submitted jobs are done, not done or interrupted.
    pub fn cut_power(&self) {
        let jobs = mem::take(&mut self.state().jobs);
        for job in jobs.into_values() {
            let mut state = self.state();
            if state.rng.random() {
                state.changes_left = Some(state.rng.random_range(1..=CHANGES_BEFORE_CUT_MAX));
                drop(state);
                job();
            }
        }
        self.fail_power(&mut self.state());
    }

    fn fail_power(&self, state: &mut State) {
        (state.changes_left, state.cut_at, state.has_replaced) = (None, None, false);
        if self.power.switch(false) {
            state.lose_power();
        }
    }

    /// Makes the power fail in the middle of the `nth` write, sync or renaming from now, the next being 1.
    pub fn cut_power_while_writing(&self, nth: u32) {
        self.state().changes_left = Some(nth);
    }

    /// Makes the power fail when a file is next replaced, before or after that step.
    pub fn cut_power_while_replacing(&self, step: ReplaceStep) {
        self.state().cut_at = Some(step);
    }

    /// Changes something, unless the power fails: before that or after. `step`: it is that of a replacement.
    fn change<T>(
        &self,
        step: Option<ReplaceStep>,
        make: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.power.is_on() {
            return Err(failure("the power is off"));
        }
        let mut state = self.state();
        let ends_replacement = step.is_none() && state.has_replaced;
        let step = if ends_replacement { Some(ReplaceStep::SyncName) } else { step };
        state.has_replaced = step == Some(ReplaceStep::Rename);
        state.changes_left = state.changes_left.map(|left| left.saturating_sub(1));
        if state.changes_left != Some(0) && (step.is_none() || state.cut_at != step) {
            return make(&mut state);
        }
        let comes_after = state.rng.random();
        let made = if comes_after { make(&mut state).map(|_| ()) } else { Ok(()) };
        self.fail_power(&mut state);
        made.and(Err(failure("the power fails")))
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> io::Result<T> {
        let state = self.state();
        if !self.power.is_on() || state.mood == DiskMood::Unreadable {
            return Err(failure("read error"));
        }
        Ok(look(&state))
    }
}

impl Storage for SimDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let name = checked_name(name)?;
        self.look(|state| state.find(name).map(|file| file.cached.clone()))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let name = checked_name(name)?;
        self.look(|state| state.find(name).map(|file| part_of(&file.cached, offset, len)))
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        let name = checked_name(name)?;
        self.look(|state| state.find(name).map(|file| file.cached.len() as u64))
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let name = checked_directory(name)?;
        self.look(|state| list_in(name, state.names.keys()))
    }

    fn space(&self) -> io::Result<u64> {
        self.look(|state| if state.mood == DiskMood::Full { 0 } else { u64::MAX })
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let name = checked_name(name)?;
        self.change(step_of(name, ReplaceStep::Write), |state| {
            let (len, told) = state.room_for(content.len());
            let file = state.file_to_write(name);
            file.cached = content[..len].to_vec();
            file.flipped.clear();
            file.unsynced = vec![Change::Replace(content[..len].to_vec())];
            told
        })
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        let name = checked_name(name)?;
        self.change(step_of(name, ReplaceStep::Write), |state| {
            let (len, told) = state.room_for(record.len());
            let file = state.file_to_write(name);
            file.cached.extend_from_slice(&record[..len]);
            file.unsynced.push(Change::Append(record[..len].to_vec()));
            told
        })
    }

    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        let name = checked_name(name)?;
        self.change(None, |state| {
            if state.mood == DiskMood::WriteProtected {
                return Err(failure("write error"));
            }
            let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let until = offset.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
            let file = state.find(name).ok_or(io::ErrorKind::NotFound)?;
            let octets = file.cached.get(offset..until).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec();
            state.file_to_write(name).unsynced.push(Change::Rewrite(offset, octets));
            Ok(())
        })
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let (name, to) = (checked_name(name)?, checked_name(to)?);
        self.change(step_of(name, ReplaceStep::Rename), |state| {
            let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
            state.change_names(vec![(name.to_owned(), None), (to.to_owned(), Some(file))]);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = checked_name(name)?;
        self.change(None, |state| {
            if state.names.contains_key(name) {
                state.change_names(vec![(name.to_owned(), None)]);
            }
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let name = checked_name(name)?;
        self.change(step_of(name, ReplaceStep::Sync), |state| {
            let loses_writes = state.mood == DiskMood::LosesWrites;
            // A sync that fails may have written the octets.
            let is_kept = !loses_writes || state.rng.random_ratio(1, 3);
            let is_zeros = loses_writes && state.rng.random();
            if let Some(file) = state.find_mut(name) {
                if is_kept { file.sync() } else { file.fail_to_sync(is_zeros) }
            }
            if loses_writes {
                return Err(failure("sync error"));
            }
            if !mem::take(&mut state.name_changes).is_empty() {
                state.synced_names = state.names.clone();
                state.forget_nameless();
            }
            Ok(())
        })
    }
}

impl State {
    fn find(&self, name: &str) -> Option<&File> {
        self.files.get(self.names.get(name)?)
    }

    fn find_mut(&mut self, name: &str) -> Option<&mut File> {
        self.files.get_mut(self.names.get(name)?)
    }

    /// The file called `name`, which is made if missing, for the next write.
    fn file_to_write(&mut self, name: &str) -> &mut File {
        self.writes += 1;
        let id = self.names.get(name).copied().unwrap_or(self.next_file);
        if id == self.next_file {
            self.next_file += 1;
            self.change_names(vec![(name.to_owned(), Some(id))]);
        }
        let file = self.files.entry(id).or_default();
        file.last_write = self.writes;
        file
    }

    fn change_names(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.name_changes.push(change);
    }

    /// How many of `len` octets can be written, and the result.
    fn room_for(&self, len: usize) -> (usize, io::Result<()>) {
        match self.mood {
            DiskMood::Full => (len / 2, Err(io::ErrorKind::StorageFull.into())),
            DiskMood::WriteProtected => (0, Err(failure("write error"))),
            DiskMood::Sound | DiskMood::Slow | DiskMood::LosesWrites | DiskMood::Unreadable => (len, Ok(())),
        }
    }

    fn lose_power(&mut self) {
        let changes = mem::take(&mut self.name_changes);
        let are_all_kept: bool = self.rng.random();
        // Of several any can be kept, as directories are written in any order.
        let are_some_kept = !are_all_kept && changes.len() > 1;
        for change in &changes {
            if are_all_kept || (are_some_kept && self.rng.random()) {
                apply(&mut self.synced_names, change);
            }
        }
        self.names = self.synced_names.clone();
        self.forget_nameless();
        for id in self.names.values() {
            if let Some(file) = self.files.get_mut(id) {
                file.lose_power(&mut self.rng);
            }
        }
    }

    /// Files without a name, now and after a power cut, are gone.
    fn forget_nameless(&mut self) {
        let changed = self.name_changes.iter().flatten().filter_map(|(_, file)| *file);
        let named = self.names.values().chain(self.synced_names.values()).copied();
        let named: BTreeSet<_> = named.chain(changed).collect();
        self.files.retain(|id, _| named.contains(id));
    }
}

impl File {
    fn sync(&mut self) {
        self.last_durable = self.last_write;
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// A kernel that cannot write something back takes it for written all the same.
    fn fail_to_sync(&mut self, is_zeros: bool) {
        if !is_zeros {
            return;
        }
        for change in &mut self.unsynced {
            match change {
                Change::Append(octets) => octets.fill(0),
                Change::Replace(octets) => {
                    let same = common_len(&self.synced, octets);
                    octets[same..].fill(0);
                }
                // What lay there still does.
                Change::Rewrite(_, octets) => octets.clear(),
            }
        }
    }

    fn lose_power(&mut self, rng: &mut impl Rng) {
        let mut written = self.synced.clone();
        let is_replaced = self.unsynced.iter().any(|change| matches!(change, Change::Replace(_)));
        self.unsynced.drain(..).for_each(|change| change.apply(&mut written));
        let same = common_len(&self.synced, &written);
        let survives = match rng.random_range(0..4) {
            0 => mem::take(&mut self.synced),
            1 => written,
            part => {
                let len = rng.random_range(same..=written.len());
                let mut torn = written[..len].to_vec();
                // What was synced behind a part that is written once more is there.
                if !is_replaced {
                    torn.extend_from_slice(self.synced.get(len..).unwrap_or_default());
                }
                // The length has reached the disk, and the octets have not.
                if part == 2 && torn.len() < written.len() {
                    torn.resize(written.len(), 0);
                }
                torn
            }
        };
        let flipped = mem::take(&mut self.flipped);
        let (cached, synced) = (survives.clone(), survives);
        *self = Self { cached, synced, flipped, ..Self::default() };
    }
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Append(mut octets) => content.append(&mut octets),
            Self::Replace(octets) => *content = octets,
            Self::Rewrite(offset, octets) => {
                let until = offset + octets.len();
                content.resize(content.len().max(until), 0);
                content[offset..until].copy_from_slice(&octets);
            }
        }
    }
}

/// The step of a replacement that something done to the file `name` is, if it is one.
fn step_of(name: &str, step: ReplaceStep) -> Option<ReplaceStep> {
    name.ends_with(".new").then_some(step)
}

fn apply(names: &mut Names, change: &NameChange) {
    for (name, file) in change {
        match file {
            Some(file) => _ = names.insert(name.clone(), *file),
            None => _ = names.remove(name),
        }
    }
}

fn common_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn failure(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng;

    use super::*;

    fn disk(seed: u64) -> SimDisk {
        SimDisk::new(Power::on(), StdRng::seed_from_u64(seed))
    }

    fn content(disk: &SimDisk, name: &str) -> Option<String> {
        disk.power.switch(true);
        disk.read(name).unwrap().map(|content| String::from_utf8(content).unwrap())
    }

    /// What `name` holds after `work` and a power cut, over many seeds.
    fn survivors(name: &str, work: impl Fn(&SimDisk)) -> BTreeSet<Option<String>> {
        let after = |seed| {
            let disk = disk(seed);
            work(&disk);
            disk.cut_power();
            content(&disk, name)
        };
        (0..200).map(after).collect()
    }

    fn set(contents: &[&str]) -> BTreeSet<Option<String>> {
        contents.iter().map(|content| Some((*content).to_owned())).collect()
    }

    #[test]
    fn what_is_synced_survives_and_of_the_rest_anything_can() {
        let synced = survivors("file", |disk| {
            disk.append("file", b"ab").unwrap();
            disk.sync("file").unwrap();
        });
        assert_eq!(synced, set(&["ab"]));
        let torn = survivors("file", |disk| {
            disk.append("file", b"ab").unwrap();
            disk.sync("file").unwrap();
            disk.append("file", b"cd").unwrap();
        });
        assert_eq!(torn, set(&["ab", "abc", "abcd", "abc\0", "ab\0\0"]));
        let new = survivors("file", |disk| disk.append("file", b"x").unwrap());
        assert!(new.contains(&None), "its name was not synced: {new:?}");
    }

    #[test]
    fn a_replacement_is_whole_at_whichever_write_the_power_fails() {
        for nth in 1..=5 {
            let found = survivors("file", |disk| {
                disk.replace("file", b"old").unwrap();
                disk.cut_power_while_writing(nth);
                assert_eq!(disk.replace("file", b"new!").is_ok(), nth == 5);
            });
            let expected = match nth {
                1 | 2 => set(&["old"]),
                3 | 4 => set(&["old", "new!"]),
                _ => set(&["new!"]),
            };
            assert_eq!(found, expected, "{nth}");
        }
        let torn = survivors("file", |disk| {
            disk.replace("file", b"old").unwrap();
            disk.write("file.new", b"new!").unwrap();
            disk.rename("file.new", "file").unwrap();
        });
        assert!(torn.len() > 2, "a renaming of what is not synced: {torn:?}");
    }

    #[test]
    fn the_power_fails_at_the_step_of_a_replacement_that_it_is_to_and_at_no_other_write() {
        for (step, left) in
            ReplaceStep::ALL.into_iter().zip([&["old"][..], &["old"], &["old", "new!"], &["old", "new!"]])
        {
            let found = survivors("file", |disk| {
                disk.replace("file", b"old").unwrap();
                disk.cut_power_while_replacing(step);
                disk.append("other", b"octets").unwrap();
                disk.sync("other").unwrap();
                assert!(disk.replace("file", b"new!").is_err());
            });
            assert_eq!(found, set(left), "{step:?}");
        }
    }

    #[test]
    fn the_last_write_that_is_durable_is_told_of_the_files_with_durable_names() {
        let disk = disk(1);
        disk.append("log/1", b"one").unwrap();
        disk.append("log/1", b"two").unwrap();
        disk.append("other", b"one").unwrap();
        assert_eq!((disk.writes(), disk.last_durable("log/")), (3, 0));
        disk.sync("log/1").unwrap();
        assert_eq!((disk.last_durable("log/"), disk.last_durable("other")), (2, 0));
        disk.append("log/1", b"three").unwrap();
        disk.set_mood(DiskMood::LosesWrites);
        disk.sync("log/1").unwrap_err();
        assert_eq!(disk.last_durable("log/"), 2);
    }

    #[test]
    fn of_several_changes_of_names_any_can_survive() {
        let left = |name| {
            survivors(name, |disk| {
                disk.replace("a", b"a").unwrap();
                disk.replace("b", b"b").unwrap();
                disk.rename("a", "c").unwrap();
                disk.rename("b", "a").unwrap();
            })
        };
        let nothing_and = |contents| set(contents).into_iter().chain([None]).collect::<BTreeSet<_>>();
        assert_eq!(left("a"), nothing_and(&["a", "b"]));
        assert_eq!(left("b"), nothing_and(&["b"]));
        assert_eq!(left("c"), nothing_and(&["a"]));
    }

    #[test]
    fn without_power_nothing_is_done() {
        let disk = disk(1);
        disk.replace("file", b"old").unwrap();
        disk.cut_power_while_writing(1);
        assert!(disk.append("file", b"more").is_err());
        assert!(!disk.power.is_on());
        assert!(disk.replace("file", b"new").is_err() && disk.read("file").is_err());
        assert!(content(&disk, "file").unwrap().starts_with("old"));
    }

    #[test]
    fn a_full_disk_tears_what_is_appended_and_keeps_what_is_replaced() {
        let disk = disk(1);
        disk.append("journal", b"one").unwrap();
        disk.replace("file", b"old").unwrap();
        disk.set_mood(DiskMood::Full);
        assert!(disk.append("journal", b"long").is_err() && disk.replace("file", b"new").is_err());
        assert_eq!(content(&disk, "journal").unwrap(), "onelo");
        assert_eq!(content(&disk, "file").unwrap(), "old");
    }

    #[test]
    fn what_a_failed_sync_has_lost_a_later_one_does_not_bring_back_and_it_can_have_been_written() {
        let found = survivors("journal", |disk| {
            disk.append("journal", b"one").unwrap();
            disk.sync("journal").unwrap();
            disk.set_mood(DiskMood::LosesWrites);
            disk.append("journal", b"two").unwrap();
            assert!(disk.sync("journal").is_err());
            disk.set_mood(DiskMood::Sound);
            disk.append("journal", b"three").unwrap();
            disk.sync("journal").unwrap();
            assert_eq!(content(disk, "journal").unwrap(), "onetwothree");
        });
        assert_eq!(found, set(&["one\0\0\0three", "onetwothree"]));
    }

    #[test]
    fn what_a_failed_sync_has_lost_is_there_once_it_is_written_once_more() {
        let found = survivors("journal", |disk| {
            disk.append("journal", b"one").unwrap();
            disk.set_mood(DiskMood::LosesWrites);
            assert!(disk.sync("journal").is_err());
            disk.set_mood(DiskMood::Full);
            disk.rewrite("journal", 0, 3).unwrap();
            assert!(disk.rewrite("journal", 1, 3).is_err() && disk.rewrite("none", 0, 1).is_err());
            disk.set_mood(DiskMood::WriteProtected);
            assert!(disk.rewrite("journal", 0, 3).is_err());
            disk.set_mood(DiskMood::Sound);
            disk.sync("journal").unwrap();
        });
        assert_eq!(found, set(&["one"]));
    }

    #[test]
    fn of_what_is_written_once_more_anything_can_survive_and_what_was_synced_around_it_does() {
        let found = survivors("journal", |disk| {
            disk.append("journal", b"one").unwrap();
            disk.set_mood(DiskMood::LosesWrites);
            assert!(disk.sync("journal").is_err());
            disk.set_mood(DiskMood::Sound);
            disk.append("journal", b"two").unwrap();
            disk.sync("journal").unwrap();
            disk.rewrite("journal", 0, 3).unwrap();
        });
        let is_around = |content: &Option<String>| content.as_ref().is_some_and(|it| it.ends_with("two"));
        assert!(found.iter().all(is_around) && found.len() > 2, "{found:?}");
    }

    #[test]
    fn a_disk_refuses_to_write_or_to_read() {
        let disk = disk(1);
        disk.replace("file", b"old").unwrap();
        disk.set_mood(DiskMood::WriteProtected);
        assert!(disk.replace("file", b"new").is_err());
        assert_eq!(content(&disk, "file").unwrap(), "old");
        disk.set_mood(DiskMood::Unreadable);
        assert!(disk.read("file").is_err());
    }

    #[test]
    fn a_file_lies_in_directories_that_come_and_go_with_it() {
        let disk = disk(1);
        disk.append("mail/1", b"one").unwrap();
        disk.append("mail/2", b"two").unwrap();
        disk.sync("mail/1").unwrap();
        assert_eq!((disk.list("").unwrap(), disk.list("mail").unwrap().len()), (vec!["mail".to_owned()], 2));
        disk.remove("mail/2").unwrap();
        assert_eq!((disk.len("mail/1").unwrap(), disk.len("mail/2").unwrap()), (Some(3), None));
        assert_eq!(disk.read_at("mail/1", 1, 9).unwrap().unwrap(), b"ne");
        let removed = survivors("mail/2", |disk| {
            disk.append("mail/2", b"two").unwrap();
            disk.sync("mail/2").unwrap();
            disk.remove("mail/2").unwrap();
        });
        assert!(removed.contains(&None) && removed.len() > 1, "that it is gone was not synced: {removed:?}");
    }

    #[test]
    fn an_octet_that_flips_stays_so_over_a_power_cut_until_it_is_written_anew() {
        let disk = disk(1);
        disk.append("log", b"one").unwrap();
        disk.flip("log", 1, 1);
        assert_eq!(content(&disk, "log").unwrap(), "one", "it is not at rest");
        disk.sync("log").unwrap();
        disk.append("log", b"two").unwrap();
        disk.flip("log", 1, 1);
        disk.flip("log", 9, 1);
        assert_eq!(content(&disk, "log").unwrap(), "ooetwo");
        disk.sync("log").unwrap();
        disk.cut_power();
        assert_eq!(content(&disk, "log").unwrap(), "ooetwo");
        assert_eq!(disk.flipped(), [("log".to_owned(), 1)]);
        disk.flip("log", 1, 1);
        assert_eq!((disk.flipped(), content(&disk, "log").unwrap()), (Vec::new(), "onetwo".to_owned()));
        disk.flip("log", 2, 4);
        disk.write("log", b"three").unwrap();
        assert_eq!(disk.flipped(), []);
    }

    #[test]
    fn a_job_under_way_when_the_power_fails_is_done_or_not_or_cut_short() {
        let found: BTreeSet<_> = (0..200)
            .map(|seed| {
                let disk = Arc::new(disk(seed));
                disk.append("log", b"a").unwrap();
                disk.sync("log").unwrap();
                let used = Arc::clone(&disk);
                let job = move || _ = used.append("log", b"b").and_then(|()| used.sync("log"));
                let (number, _) = disk.take(Box::new(job));
                disk.cut_power();
                disk.run(number);
                content(&disk, "log")
            })
            .collect();
        assert_eq!(found, set(&["a", "ab", "a\0"]));
    }

    #[test]
    fn a_slow_disk_takes_its_time_and_has_its_effect_somewhere_in_it() {
        let disk = disk(1);
        let take = || disk.take(Box::new(|| ())).1;
        assert!((0..100).all(|_| take().iter().sum::<Duration>() <= Duration::from_millis(3)));
        disk.set_mood(DiskMood::Slow);
        let times: Vec<_> = (0..100).map(|_| take()).collect();
        assert!(times.iter().all(|takes| takes.iter().sum::<Duration>() >= Duration::from_millis(200)));
        assert!(
            times.iter().any(|[before, after]| before > after)
                && times.iter().any(|[before, after]| before < after)
        );
    }
}
