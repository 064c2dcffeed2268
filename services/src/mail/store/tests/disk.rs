//! A disk that can lose its power, for the model tests.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use crate::store::{Storage, list_in, part_of};

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mail) enum Loss {
    /// Only the process ends: the kernel knows all.
    Process,
    /// All of it is lost.
    All,
    /// None of it is lost.
    None,
    /// So many 256ths of the octets survive, and zeros take the place of the rest, or nothing.
    Torn(u8, bool),
}

#[derive(Default)]
pub(in crate::mail) struct FakeDisk(Mutex<State>);

#[derive(Clone, Default)]
struct State {
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    files: BTreeMap<u64, File>,
    next: u64,
    fails_to_sync: bool,
    fails_to_list: bool,
    is_silent: bool,
    syncs: usize,
    room: Option<usize>,
    /// What is said to be room instead.
    said_room: Option<u64>,
    /// The octets that were appended to all files.
    appended: usize,
    /// Octets of files that the medium does not give.
    unreadable: Vec<(String, Range<u64>)>,
}

#[derive(Clone, Default)]
struct File {
    cached: Vec<u8>,
    /// What the next sync makes durable: zeros for what a sync has failed to.
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl FakeDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn fork(&self) -> Self {
        Self(Mutex::new(self.state().clone()))
    }

    pub fn fail_to_sync(&self, fails: bool) {
        self.state().fails_to_sync = fails;
    }

    /// How often something was synced.
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// Directories cannot be read.
    pub fn fail_to_list(&self, fails: bool) {
        self.state().fails_to_list = fails;
    }

    /// It is known not to answer.
    pub fn be_silent(&self, is_silent: bool) {
        self.state().is_silent = is_silent;
    }

    /// There is room for so many octets more.
    pub fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// The reported free space, in place of the actual one.
    pub fn say_room(&self, room: u64) {
        self.state().said_room = Some(room);
    }

    /// How many octets were ever appended.
    pub fn appended(&self) -> usize {
        self.state().appended
    }

    /// Nobody can read these octets any more.
    pub fn make_unreadable(&self, name: &str, octets: Range<u64>) {
        self.state().unreadable.push((name.to_owned(), octets));
    }

    /// All octets can be read again.
    pub fn make_readable(&self) {
        self.state().unreadable.clear();
    }

    pub fn cut_power(&self, loss: Loss) {
        let mut state = self.state();
        if loss == Loss::Process {
            return;
        }
        if matches!(loss, Loss::None | Loss::Torn(..)) {
            state.synced_names = state.names.clone();
        }
        state.names = state.synced_names.clone();
        for file in state.files.values_mut() {
            let survives = match loss {
                Loss::All | Loss::Process => file.synced.clone(),
                Loss::None => file.written.clone(),
                Loss::Torn(part, is_zeroed) => {
                    let new = file.written.len() - file.synced.len();
                    let mut octets =
                        file.written[..file.synced.len() + new * usize::from(part) / 256].to_vec();
                    if is_zeroed {
                        octets.resize(file.written.len(), 0);
                    }
                    octets
                }
            };
            *file = File { cached: survives.clone(), written: survives.clone(), synced: survives };
        }
    }

    /// The files, for damage.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let id = state.names[name];
        let file = state.files.get_mut(&id).unwrap();
        change(&mut file.cached);
        (file.written, file.synced) = (file.cached.clone(), file.cached.clone());
    }
}

impl Storage for FakeDisk {
    fn is_silent(&self) -> bool {
        self.state().is_silent
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        Ok(state.names.get(name).map(|id| state.files[id].cached.clone()))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        let end = offset + len as u64;
        let is_bad = |(of, bad): &(String, Range<u64>)| of == name && bad.start < end && offset < bad.end;
        if state.unreadable.iter().any(is_bad) {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32));
        }
        Ok(state.names.get(name).map(|id| part_of(&state.files[id].cached, offset, len)))
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        let state = self.state();
        Ok(state.names.get(name).map(|id| state.files[id].cached.len() as u64))
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        if self.state().fails_to_list {
            return Err(io::Error::other("as the test wants"));
        }
        Ok(list_in(name, self.state().names.keys()))
    }

    fn space(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.said_room.or(state.room.map(|room| room as u64)).unwrap_or(u64::MAX))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        if let Some(id) = self.state().names.get(name).copied() {
            self.state().files.insert(id, File::default());
        }
        self.append(name, content)
    }

    fn append(&self, name: &str, record: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let next = state.next;
        let id = *state.names.entry(name.to_owned()).or_insert(next);
        state.next += u64::from(id == next);
        let fits = state.room.unwrap_or(usize::MAX).min(record.len());
        state.room = state.room.map(|room| room - fits);
        state.appended += fits;
        let file = state.files.entry(id).or_default();
        file.cached.extend_from_slice(&record[..fits]);
        file.written.extend_from_slice(&record[..fits]);
        if fits < record.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn rewrite(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        let mut state = self.state();
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let file = state.files.get_mut(&id).unwrap();
        let range = offset as usize..offset as usize + len;
        file.written[range.clone()].copy_from_slice(&file.cached[range]);
        Ok(())
    }

    fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let id = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Some(id) = state.names.remove(name) {
            let len = state.files[&id].cached.len();
            state.room = state.room.map(|room| room + len);
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let fails = state.fails_to_sync;
        state.syncs += 1;
        if let Some(id) = state.names.get(name).copied() {
            let file = state.files.get_mut(&id).unwrap();
            if fails {
                let synced = file.synced.len();
                file.written[synced..].fill(0);
            } else {
                file.synced = file.written.clone();
            }
        }
        if fails {
            return Err(io::Error::other("as the test wants"));
        }
        state.synced_names = state.names.clone();
        Ok(())
    }
}
