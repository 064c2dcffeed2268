//! The gateway's disk: it outlives crashes and keeps what was synced. It can fail, and a power cut can come
//! in the middle of what it does.
//!
//! # Theory of operation
//!
//! A file has three contents: what is read, which is the kernel's cache; what the next sync makes durable,
//! which is less if a sync has failed; and what is durable. Names are kept apart from files, and
//! are durable or not as well. A power cut leaves of what was not synced everything, nothing, or a part,
//! whose rest can be zeros; dice of the disk's own decide.
//!
//! The gateway has power while its `power` is true. Without, the disk does nothing any more: what the
//! gateway's program still does until its host has crashed leaves no trace.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use gatepost_services::store::Disk;
use rand::RngExt;
use rand::rngs::StdRng;

/// What a disk is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskMood {
    /// It works.
    #[default]
    Sound,
    /// Half of what is written finds room, and the rest is refused.
    Full,
    /// Refuses to write.
    WriteProtected,
    /// Takes what is written, fails to sync it, and loses it.
    LosesWrites,
    /// Refuses to read, so that the gateway cannot even start.
    Unreadable,
}

impl fmt::Display for DiskMood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sound => "works",
            Self::Full => "is full",
            Self::WriteProtected => "refuses to write",
            Self::LosesWrites => "fails to sync",
            Self::Unreadable => "refuses to read",
        })
    }
}

/// The disk.
pub struct SimDisk {
    power: Rc<Cell<bool>>,
    mood: Cell<DiskMood>,
    /// The power fails at so many changes from now.
    changes_left: Cell<Option<u32>>,
    state: RefCell<State>,
}

struct State {
    rng: StdRng,
    names: Names,
    synced_names: Names,
}

type Names = BTreeMap<String, Rc<RefCell<File>>>;

#[derive(Default)]
struct File {
    /// What is read.
    cached: Vec<u8>,
    /// What the next sync makes durable.
    written: Vec<u8>,
    /// What is durable.
    synced: Vec<u8>,
}

impl SimDisk {
    /// An empty disk of the gateway that has power while `power` says so.
    pub fn new(power: Rc<Cell<bool>>, rng: StdRng) -> Self {
        let state = State { rng, names: Names::new(), synced_names: Names::new() };
        Self { power, mood: Cell::default(), changes_left: Cell::new(None), state: RefCell::new(state) }
    }

    /// Makes it better or worse.
    pub fn set_mood(&self, mood: DiskMood) {
        self.mood.set(mood);
    }

    /// Ends the gateway's power, and loses what was not synced.
    pub fn cut_power(&self) {
        self.changes_left.set(None);
        if self.power.replace(false) {
            self.state.borrow_mut().lose_power();
        }
    }

    /// Makes the power fail in the middle of the `nth` write, sync or renaming from now, the next being 1.
    pub fn cut_power_while_writing(&self, nth: u32) {
        self.changes_left.set(Some(nth));
    }

    /// Changes something, unless the power fails: before that or after.
    fn change<T>(&self, make: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        if !self.power.get() {
            return Err(failure("the power is off"));
        }
        let left = self.changes_left.get().map(|left| left.saturating_sub(1));
        self.changes_left.set(left);
        if left != Some(0) {
            return make(&mut self.state.borrow_mut());
        }
        let comes_after = self.state.borrow_mut().rng.random();
        let made = if comes_after { make(&mut self.state.borrow_mut()).map(|_| ()) } else { Ok(()) };
        self.cut_power();
        made.and(Err(failure("the power fails")))
    }

    /// How much of `len` octets can be written, and what is said then.
    fn room_for(&self, len: usize) -> (usize, io::Result<()>) {
        match self.mood.get() {
            DiskMood::Full => (len / 2, Err(io::ErrorKind::StorageFull.into())),
            DiskMood::WriteProtected => (0, Err(failure("write error"))),
            DiskMood::Sound | DiskMood::LosesWrites | DiskMood::Unreadable => (len, Ok(())),
        }
    }
}

impl Disk for SimDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if !self.power.get() || self.mood.get() == DiskMood::Unreadable {
            return Err(failure("read error"));
        }
        Ok(self.state.borrow().names.get(name).map(|file| file.borrow().cached.clone()))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let (len, told) = self.room_for(content.len());
        self.change(|state| {
            let mut file = state.file(name).borrow_mut();
            file.cached = content[..len].to_vec();
            file.written = content[..len].to_vec();
            told
        })
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        let (len, told) = self.room_for(record.len());
        self.change(|state| {
            let mut file = state.file(name).borrow_mut();
            file.cached.extend_from_slice(&record[..len]);
            file.written.extend_from_slice(&record[..len]);
            told
        })
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        self.change(|state| {
            let file = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.change(|state| {
            if self.mood.get() == DiskMood::LosesWrites {
                state.fail_to_sync(name);
                return Err(failure("sync error"));
            }
            if let Some(file) = state.names.get(name) {
                let mut file = file.borrow_mut();
                file.synced = file.written.clone();
            }
            state.synced_names = state.names.clone();
            Ok(())
        })
    }
}

impl State {
    fn file(&mut self, name: &str) -> &RefCell<File> {
        self.names.entry(name.to_owned()).or_default()
    }

    /// A kernel that cannot write something back takes it for written all the same.
    fn fail_to_sync(&mut self, name: &str) {
        if let Some(file) = self.names.get(name) {
            let mut file = file.borrow_mut();
            let same = common_len(&file.synced, &file.written);
            file.written[same..].fill(0);
        }
    }

    fn lose_power(&mut self) {
        if self.rng.random() {
            self.synced_names = self.names.clone();
        }
        self.names = self.synced_names.clone();
        for file in self.names.values() {
            file.borrow_mut().lose_power(&mut self.rng);
        }
    }
}

impl File {
    fn lose_power(&mut self, rng: &mut StdRng) {
        let same = common_len(&self.synced, &self.written);
        let survives = match rng.random_range(0..4) {
            0 => self.synced.clone(),
            1 => self.written.clone(),
            part => {
                let len = rng.random_range(same..=self.written.len());
                let mut torn = self.written[..len].to_vec();
                // The length has reached the disk, and the octets have not.
                if part == 2 {
                    torn.resize(self.written.len(), 0);
                }
                torn
            }
        };
        *self = Self { cached: survives.clone(), written: survives.clone(), synced: survives };
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
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn disk(seed: u64) -> SimDisk {
        SimDisk::new(Rc::new(Cell::new(true)), StdRng::seed_from_u64(seed))
    }

    fn content(disk: &SimDisk, name: &str) -> Option<String> {
        disk.power.set(true);
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
    fn without_power_nothing_is_done() {
        let disk = disk(1);
        disk.replace("file", b"old").unwrap();
        disk.cut_power_while_writing(1);
        assert!(disk.append("file", b"more").is_err());
        assert!(!disk.power.get());
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
    fn what_a_failed_sync_has_lost_a_later_one_does_not_bring_back() {
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
        assert_eq!(found, set(&["one\0\0\0three"]));
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
}
