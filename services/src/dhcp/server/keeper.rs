//! Writes the lease table's changes, by jobs that the caller runs.
//!
//! [`Leases::poll_request`] returns the next [`Request`] to the disk, one at a time. The caller
//! [performs](Request::perform) it off the services' thread and passes its outcome to [`Leases::handle_done`]. Then its
//! changes are in the table or void, as [`Leases::poll_outcome`] reports.
//!
//! A request can be cancelled with its waiting task: then the caller passes a failure to [`Leases::handle_done`]. Its
//! job may still run. If it has begun by then, the next write follows it, as both lock the journal, and replaces the
//! journal by the table's content; else the job finds that its number is not the current one, and does nothing.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatepost_ground::Instant;

use super::journal::{Batch, Content, Damage, JOURNAL_FILE, JOURNAL_SLACK_RECORDS, Journal, Written};
use super::leases::{ClientKey, Leases, RETRY_INTERVAL};
use super::records::to_record;
use crate::clock::UnixTime;
use crate::store::{Storage, Topic};
use crate::work::JobFailed;

/// The state of the table's journal.
pub(super) struct Keeper {
    disk: Arc<dyn Storage>,
    journal: State,
    /// Whether a request is in progress.
    is_busy: bool,
    /// The number of the last request that was not cancelled.
    current: Arc<AtomicU64>,
    outcomes: VecDeque<(Ipv4Addr, io::Result<()>)>,
}

enum State {
    Journal(Known),
    /// The journal could not be read yet. It is read again at `due`.
    Unread {
        due: Instant,
    },
}

struct Known {
    journal: Arc<Mutex<Journal>>,
    /// The damage that was read, until a copy is set aside.
    damages: Vec<Damage>,
    records: usize,
    must_replace: bool,
    from_reserve: bool,
}

impl Keeper {
    /// A journal on `disk` that has not been read.
    pub fn new(disk: Arc<dyn Storage>, now: Instant) -> Self {
        let journal = State::Unread { due: now };
        Self { disk, journal, is_busy: false, current: Arc::default(), outcomes: VecDeque::new() }
    }

    /// Whether the journal could not be read yet.
    pub fn is_unread(&self) -> bool {
        matches!(self.journal, State::Unread { .. })
    }
}

/// A request to the disk, which may take long.
pub struct Request {
    number: u64,
    current: Arc<AtomicU64>,
    task: Task,
}

enum Task {
    Read(Arc<dyn Storage>),
    SetAside(Arc<Mutex<Journal>>, Vec<Damage>),
    Write(Arc<Mutex<Journal>>, Batch),
}

/// The outcome of a [`Request`].
pub struct Completion {
    number: u64,
    outcome: Outcome,
}

enum Outcome {
    Read(io::Result<(Journal, Content)>),
    SetAside,
    Written {
        written: Written,
        records: usize,
        must_replace: bool,
    },
    /// It was cancelled before.
    Void,
}

impl Request {
    /// Performs the request, blocking the caller.
    pub fn perform(self) -> Completion {
        let Self { number, current, task } = self;
        let is_void = || current.load(Ordering::SeqCst) != number;
        let outcome = match task {
            Task::Read(disk) => Outcome::Read(Journal::open(disk)),
            Task::SetAside(journal, damages) => {
                lock(&journal).settle(&damages);
                Outcome::SetAside
            }
            Task::Write(journal, batch) => {
                let mut journal = lock(&journal);
                if is_void() {
                    return Completion { number, outcome: Outcome::Void };
                }
                let written = journal.write(&batch);
                Outcome::Written { written, records: journal.records(), must_replace: journal.must_replace() }
            }
        };
        Completion { number, outcome }
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    // After a panic the request replaces the file.
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leases {
    /// A table that loads the leases of `disk` with its first request. If the journal is damaged, its readable lines
    /// are used, and the damage is [reported](Storage::report). While the journal cannot be read nothing is known and
    /// no lease is granted.
    pub fn unread(disk: Arc<dyn Storage>, now: Instant) -> Self {
        Self::empty(disk, now)
    }

    /// The same, loaded before the function returns.
    pub fn open(disk: Arc<dyn Storage>, now: Instant, unix_now: UnixTime) -> Self {
        let mut leases = Self::unread(disk, now);
        // A read error is reported, and the read is tried again.
        _ = leases.settle(now, unix_now);
        leases
    }

    /// Performs all requests to the disk, blocking the caller.
    ///
    /// # Errors
    ///
    /// The error of the first change that became void.
    pub fn settle(&mut self, now: Instant, unix_now: UnixTime) -> io::Result<()> {
        while let Some(request) = self.poll_request(now) {
            self.handle_done(now, unix_now, Ok(request.perform()));
        }
        let outcomes: Vec<_> = std::iter::from_fn(|| self.poll_outcome()).collect();
        outcomes.into_iter().try_for_each(|(_, outcome)| outcome)
    }

    /// Whether an unread journal is to be read now.
    pub(super) fn is_read_due(&self, now: Instant) -> bool {
        self.read_due().is_some_and(|due| due <= now)
    }

    /// When an unread journal is tried again, by [`Leases::poll_request`].
    pub(super) fn read_due(&self) -> Option<Instant> {
        match self.keeper.journal {
            State::Unread { due } if !self.keeper.is_busy => Some(due),
            _ => None,
        }
    }

    /// The next request to the disk, if there is one. There is no further one until [`Leases::handle_done`] is called.
    pub fn poll_request(&mut self, now: Instant) -> Option<Request> {
        if self.keeper.is_busy {
            return None;
        }
        let task = match &mut self.keeper.journal {
            State::Unread { due } => (*due <= now).then(|| Task::Read(Arc::clone(&self.keeper.disk))),
            State::Journal(known) if !known.damages.is_empty() => {
                Some(Task::SetAside(Arc::clone(&known.journal), std::mem::take(&mut known.damages)))
            }
            State::Journal(_) => self.batch(now),
        };
        self.keeper.is_busy = task.is_some();
        let current = Arc::clone(&self.keeper.current);
        task.map(|task| Request { number: current.fetch_add(1, Ordering::SeqCst) + 1, current, task })
    }

    fn batch(&mut self, now: Instant) -> Option<Task> {
        self.waiting.begin();
        let State::Journal(known) = &self.keeper.journal else { return None };
        let writing = self.waiting.writing();
        let whose = writing.first()?.whose;
        let changes: Vec<Vec<_>> =
            writing.iter().map(|change| change.leases.iter().map(to_record).collect()).collect();
        let changed = || writing.iter().flat_map(|change| &change.leases);
        let added = changed().filter(|lease| self.at(lease.address).is_none()).count();
        let records = known.records + changed().count();
        let live = self.count() + added;
        let all = (known.must_replace || records > live + JOURNAL_SLACK_RECORDS).then(|| {
            let addresses: BTreeSet<_> = changed().map(|lease| lease.address).collect();
            let unchanged = self.iter().filter(|lease| !addresses.contains(&lease.address));
            unchanged.chain(changed()).map(to_record).collect()
        });
        let batch = Batch { now, whose, changes, all, from_reserve: known.from_reserve };
        Some(Task::Write(Arc::clone(&known.journal), batch))
    }

    /// Handles the outcome of the request. A failure cancels it.
    pub fn handle_done(&mut self, now: Instant, unix_now: UnixTime, done: Result<Completion, JobFailed>) {
        let current = self.keeper.current.load(Ordering::SeqCst);
        if !self.keeper.is_busy || done.as_ref().is_ok_and(|done| done.number != current) {
            return;
        }
        self.keeper.is_busy = false;
        match done.map(|done| done.outcome) {
            Ok(Outcome::Read(opened)) => self.read(now, unix_now, opened),
            Ok(Outcome::SetAside | Outcome::Void) => {}
            Ok(Outcome::Written { written, records, must_replace }) => {
                let State::Journal(known) = &mut self.keeper.journal else { return };
                (known.records, known.must_replace, known.from_reserve) = (records, must_replace, false);
                match written {
                    Written::OnceMore { from_reserve } => {
                        (known.must_replace, known.from_reserve) = (true, from_reserve);
                    }
                    Written::Completion(written) => self.written(now, written),
                }
            }
            Err(failed) => {
                self.keeper.current.fetch_add(1, Ordering::SeqCst);
                match &mut self.keeper.journal {
                    State::Unread { .. } => self.read(now, unix_now, Err(failed.into())),
                    State::Journal(known) => {
                        known.must_replace = true;
                        self.written(now, Err(failed.into()));
                    }
                }
            }
        }
    }

    fn read(&mut self, now: Instant, unix_now: UnixTime, opened: io::Result<(Journal, Content)>) {
        let problem = opened.as_ref().err().map(|error| {
            format!(
                "{JOURNAL_FILE} cannot be read: {error}; DHCP gives no leases, and names of leases are unknown; it is tried \
                 every {} s; see to system.state_dir",
                RETRY_INTERVAL.as_secs()
            )
        });
        self.keeper.disk.report(Topic::LeasesUnread, problem);
        self.keeper.journal = match opened {
            Ok((mut journal, content)) => {
                let damages = self.load(content, now, unix_now);
                if damages.is_empty() {
                    journal.settle(&[]);
                }
                let (records, must_replace) = (journal.records(), journal.must_replace());
                let journal = Arc::new(Mutex::new(journal));
                State::Journal(Known { journal, damages, records, must_replace, from_reserve: false })
            }
            Err(_) => State::Unread { due: now + RETRY_INTERVAL },
        };
    }

    fn written(&mut self, now: Instant, written: io::Result<()>) {
        let finished = self.waiting.finish();
        if written.is_ok() {
            self.notify(finished.iter().flat_map(|change| &change.leases));
        }
        for change in finished {
            for lease in &change.leases {
                let outcome = match &written {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                self.keeper.outcomes.push_back((lease.address, outcome));
            }
            if written.is_ok() {
                self.apply(now, change);
            }
        }
    }

    /// The outcome of a change: it is in the table, or void. The outcomes come in the order of the changes, each with
    /// the first address of its change.
    pub fn poll_outcome(&mut self) -> Option<(Ipv4Addr, io::Result<()>)> {
        self.keeper.outcomes.pop_front()
    }

    /// Whether a change of `address` is pending.
    pub fn is_changing(&self, address: Ipv4Addr) -> bool {
        self.waiting.concerns(address)
    }

    /// The client with a pending change to the name `name`, one label in lower case.
    pub(super) fn to_be_named(&self, name: &str) -> Option<&ClientKey> {
        self.waiting.named(name)
    }
}
