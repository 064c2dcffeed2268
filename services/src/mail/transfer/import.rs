//! The import of messages from other programs' files.
//!
//! Each is accepted for one mailbox, with the origin [`Imported`](Origin::Imported), and durable when that is reported.
//! A message whose octets are already in the same folder of the mailbox is skipped: so an interrupted import can be
//! repeated without duplicates. A message that the files have twice is imported twice. A message that its owner has
//! deleted since is imported again. Flags and times are not compared.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::io;
use std::mem;

use rand::RngExt;
use rand::rngs::StdRng;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::lines::ToCrlf;
use super::offline::OfflineStore;
use crate::mail::store::{
    Accept, Change, Delivery, DraftId, Flags, FolderId, Mailbox, MailboxId, Origin, StoreError, Ticket, Uid,
    Unreadable, each_body_part,
};

/// The octets that are passed to the store at a time.
const PART_OCTETS: usize = 64 << 10;
/// Messages that are made durable together, and their octets.
const BATCH_MAX: usize = 256;
const BATCH_OCTETS_MAX: u64 = 4 << 20;

/// Imports messages into a mailbox.
pub struct Importer<'a> {
    store: OfflineStore<'a>,
    mailbox: MailboxId,
    /// The time of day, in seconds since 1970.
    time: u64,
    /// The folders' messages by length, so that only possible duplicates are read.
    known: BTreeMap<(FolderId, u64), Vec<Known>>,
    keys: (u64, u64),
    open: Option<Open>,
    waiting: Vec<Ticket>,
    waiting_octets: u64,
    sums: Sums,
}

/// A message of the mailbox.
#[derive(Clone, Copy, Debug)]
enum Known {
    Unread(Uid),
    Read(u128),
    /// It is unreadable, so nothing equals it.
    Unreadable,
}

/// A message that is being read.
struct Open {
    draft: DraftId,
    lines: ToCrlf,
    part: Vec<u8>,
    len: u64,
    hasher: SipHasher24,
}

/// The properties of a message besides its octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Its folder; `None` for the inbox.
    pub folder: Option<String>,
    /// Its flags.
    pub flags: Flags,
    /// When it was accepted, in seconds since 1970.
    pub time: u64,
    /// The file that it is from.
    pub source: String,
    /// The sender; empty if unknown.
    pub return_path: String,
}

/// The counts of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages that are stored now.
    pub imported: u64,
    /// Their octets.
    pub octets: u64,
    /// Messages that were there already.
    pub known: u64,
    /// Empty messages, which are skipped.
    pub empty: u64,
}

/// Why the import stops. Messages in [`Importer::sums`] are stored.
#[derive(Debug)]
pub enum ImportError {
    /// The store has rejected a change.
    Refused(StoreError),
    /// The source cannot be read.
    Io(io::Error),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ImportError {}

impl From<StoreError> for ImportError {
    fn from(refused: StoreError) -> Self {
        Self::Refused(refused)
    }
}

impl From<io::Error> for ImportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<'a> Importer<'a> {
    /// Imports into the mailbox `name`, created if missing, with the quota `quota`. `time` is the time of day in
    /// seconds since 1970.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub fn new(
        mut store: OfflineStore<'a>,
        name: &str,
        quota: u64,
        time: u64,
        rng: &mut StdRng,
    ) -> Result<Self, ImportError> {
        let (there, change) = store.state().provision(name, quota, time);
        let made = change.map(|change| store.change(change)).transpose()?;
        let made = made.and_then(|stored| stored.mailbox);
        let mailbox = there.or(made).ok_or(StoreError::NameTaken)?;
        let mut known: BTreeMap<_, Vec<Known>> = BTreeMap::new();
        for entry in store.state().mailbox(mailbox).into_iter().flat_map(Mailbox::entries) {
            known.entry((entry.folder, entry.size)).or_default().push(Known::Unread(entry.uid));
        }
        Ok(Self {
            store,
            mailbox,
            time,
            known,
            keys: (rng.random(), rng.random()),
            open: None,
            waiting: Vec::new(),
            waiting_octets: 0,
            sums: Sums::default(),
        })
    }

    /// The counts of durable messages.
    pub fn sums(&self) -> Sums {
        let waiting = self.waiting.len() as u64;
        Sums {
            imported: self.sums.imported - waiting,
            octets: self.sums.octets - self.waiting_octets,
            ..self.sums
        }
    }

    /// Adds octets of a message.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub fn part(&mut self, octets: &[u8]) -> Result<(), ImportError> {
        if octets.is_empty() {
            return Ok(());
        }
        if self.open.is_none() {
            self.open = Some(Open {
                draft: self.store.store.begin()?,
                lines: ToCrlf::default(),
                part: Vec::new(),
                len: 0,
                hasher: SipHasher24::new_with_keys(self.keys.0, self.keys.1),
            });
        }
        for octets in octets.chunks(PART_OCTETS) {
            let Some(open) = &mut self.open else { return Ok(()) };
            open.lines.push(octets, &mut open.part);
            if open.part.len() >= PART_OCTETS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let part = mem::take(&mut open.part);
        open.len += part.len() as u64;
        open.hasher.write(&part);
        let draft = open.draft;
        self.store.store.chunk(draft, &part)?;
        while self.store.store.is_draft_full(draft) && self.store.step() {}
        Ok(())
    }

    /// Aborts the current message, if there is one.
    pub fn give_up(&mut self) {
        if let Some(open) = self.open.take() {
            self.store.store.give_up(open.draft);
        }
    }

    /// Ends a message. It is stored once [`Importer::finish`] has succeeded, or [`Importer::sums`] counts it.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub fn end(&mut self, meta: &Meta) -> Result<(), ImportError> {
        self.flush()?;
        let Some(Open { draft, len, hasher, .. }) = self.open.take() else {
            self.sums.empty += 1;
            return Ok(());
        };
        let folder = self.folder(meta.folder.as_deref())?;
        let digest = hasher.finish128().as_u128();
        if self.is_known(folder, len, digest) {
            self.sums.known += 1;
            self.store.store.give_up(draft);
            return Ok(());
        }
        let delivery = Delivery { mailbox: self.mailbox, folder, flags: meta.flags, ..Delivery::default() };
        let accept = Accept {
            time: meta.time,
            source: meta.source.clone(),
            return_path: meta.return_path.clone(),
            origin: Origin::Imported { at: self.time },
            deliveries: vec![delivery],
            ..Accept::default()
        };
        self.waiting.push(self.store.store.commit(draft, accept)?);
        self.waiting_octets += len;
        self.sums.imported += 1;
        self.sums.octets += len;
        let is_batch = self.waiting.len() >= BATCH_MAX || self.waiting_octets >= BATCH_OCTETS_MAX;
        // A large one is not overtaken by those behind it.
        if is_batch || len > crate::mail::store::record::BODY_OCTETS_MAX as u64 {
            self.finish()
        } else {
            Ok(())
        }
    }

    /// Makes all imported messages durable.
    ///
    /// # Errors
    ///
    /// The store has rejected some of them.
    pub fn finish(&mut self) -> Result<(), ImportError> {
        self.store.settle();
        let mut refused = None;
        let count = self.waiting.len() as u64;
        let octets = mem::take(&mut self.waiting_octets);
        let mut stored = (0, 0);
        for ticket in mem::take(&mut self.waiting) {
            match self.store.outcome(ticket) {
                Ok(told) => {
                    let size = told.uids.first().and_then(|(id, uid)| {
                        self.store.state().mailbox(*id)?.entry(*uid).map(|entry| entry.size)
                    });
                    stored = (stored.0 + 1, stored.1 + size.unwrap_or(0));
                }
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        self.sums.imported -= count - stored.0;
        self.sums.octets = (self.sums.octets - octets) + stored.1;
        refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// The folder of that name, created if missing.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub fn folder(&mut self, name: Option<&str>) -> Result<FolderId, ImportError> {
        let Some(name) = name else { return Ok(FolderId(0)) };
        let mailbox = self.store.state().mailbox(self.mailbox).ok_or(StoreError::NoMailbox(self.mailbox))?;
        let there = (0..).zip(&mailbox.state().folders).find(|(_, folder)| *folder == name);
        if let Some((id, _)) = there {
            return Ok(FolderId(id));
        }
        self.finish()?;
        let added = self.store.change(Change::AddFolder { id: self.mailbox, name: name.to_owned() })?;
        Ok(added.folder.ok_or(StoreError::NoMailbox(self.mailbox))?)
    }

    /// Whether the folder had a message of these octets that is no other's of the files.
    fn is_known(&mut self, folder: FolderId, len: u64, digest: u128) -> bool {
        let Some(all) = self.known.get_mut(&(folder, len)) else { return false };
        let found = all.iter_mut().position(|known| {
            if let Known::Unread(uid) = *known {
                let read = read(&self.store, self.mailbox, uid, self.keys);
                *known = read.map_or(Known::Unreadable, Known::Read);
            }
            matches!(known, Known::Read(other) if *other == digest)
        });
        found.map(|at| all.swap_remove(at)).is_some()
    }
}

/// The digest of a message of the mailbox.
fn read(store: &OfflineStore<'_>, id: MailboxId, uid: Uid, keys: (u64, u64)) -> Result<u128, Unreadable> {
    let entry = *store.state().mailbox(id).and_then(|mailbox| mailbox.entry(uid)).ok_or(Unreadable::Gone)?;
    let message = store.message(id, &entry)?;
    let mut hasher = SipHasher24::new_with_keys(keys.0, keys.1);
    hasher.write(&message.prefix);
    each_body_part(store.disk, &message.body, |part| -> Result<(), Unreadable> {
        hasher.write(part);
        Ok(())
    })?;
    Ok(hasher.finish128().as_u128())
}

#[cfg(test)]
mod tests {
    use gatepost_ground::Instant;
    use rand::SeedableRng;

    use super::*;
    use crate::mail::store::Settings;
    use crate::store::Memory;

    #[test]
    fn a_message_has_its_own_time_and_is_here_since_the_import() {
        let (disk, mut rng) = (Memory::new(), StdRng::seed_from_u64(1));
        let seeded = StdRng::seed_from_u64(2);
        let store = OfflineStore::open(&disk, Settings::default(), Instant::ZERO, seeded).unwrap();
        let mut importer = Importer::new(store, "anna", 0, 1_800_000_000, &mut rng).unwrap();
        importer.part(b"Subject: old\n\n").unwrap();
        importer.end(&Meta { time: 1_000_000_000, ..Meta::default() }).unwrap();
        importer.finish().unwrap();
        let mailbox = importer.store.state().mailbox(importer.mailbox).unwrap();
        let entry = mailbox.entries()[0];
        assert_eq!((entry.time, entry.arrived), (1_000_000_000, 1_800_000_000));
    }
}
