//! The store over a disk, for services.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use rand::rngs::StdRng;
use tokio::sync::{Notify, oneshot};

use super::Settings;
use super::change::{Change, StoreError, Stored};
use super::content::{Accept, MailboxId, QueueId, Uid};
use super::draft::{DraftId, Part};
use super::layout::body_file;
use super::mailbox::Place;
use super::message::{BodyOctets, Message, Unreadable};
use super::quota::ReservationId;
use super::record::Marker;
use super::report::Report;
use super::request::{Answer, Lane};
use super::start::recover;
use super::state::State;
use super::store::{Store, Ticket};
use crate::clock::{Clock, sleep_until};
use crate::store::{Disk, Storage};
use crate::work::{self, Work};

/// How often a message that moves while it is read is looked up again.
const LOOKUPS_MAX: usize = 4;

/// A request in progress, with its answer.
type UnderWay = Pin<Box<dyn Future<Output = (Lane, io::Result<Answer>)>>>;

/// The mail store. Clones share it. One task has to [run](MailStore::run) it.
#[derive(Clone)]
pub struct MailStore {
    shared: Rc<Shared>,
}

struct Shared {
    store: RefCell<Store>,
    disk: Disk,
    clock: Rc<dyn Clock>,
    /// Notified when the running task has work.
    wanted: Notify,
    /// Something was done.
    progress: Notify,
    /// Notified when the queue has new entries.
    queued: Notify,
    waiting: RefCell<BTreeMap<Ticket, Waiting>>,
    /// Mailboxes that have reached nine tenths of their quota, without a warning yet.
    nearly_full: RefCell<BTreeSet<MailboxId>>,
}

/// The actions due at the outcome of a change.
struct Waiting {
    /// The channel of the caller, which may be gone.
    told: oneshot::Sender<Result<Stored, StoreError>>,
    /// The reservations to release.
    reserved: Vec<ReservationId>,
}

impl MailStore {
    /// Loads the store, off the services' thread.
    ///
    /// # Errors
    ///
    /// An error of the storage.
    pub async fn open(
        storage: Arc<dyn Storage>,
        work: Rc<dyn Work>,
        clock: Rc<dyn Clock>,
        settings: Settings,
        rng: StdRng,
    ) -> io::Result<(Self, Report)> {
        let of_job = Arc::clone(&storage);
        let recovered = work::run(&*work, move || recover(&*of_job)).await??;
        let report = recovered.report().clone();
        let shared = Shared {
            store: RefCell::new(Store::new(settings, recovered, rng)),
            disk: Disk::new(storage, work),
            clock,
            wanted: Notify::new(),
            progress: Notify::new(),
            queued: Notify::new(),
            waiting: RefCell::default(),
            nearly_full: RefCell::default(),
        };
        Ok((Self { shared: Rc::new(shared) }, report))
    }

    /// Runs the store's requests until this is dropped. Afterwards pending calls never return.
    pub async fn run(&self) {
        let Shared { store, disk, clock, wanted, progress, .. } = &*self.shared;
        let mut under_way: Vec<UnderWay> = Vec::new();
        loop {
            let asked = wanted.notified();
            while let Some(request) = { store.borrow_mut().poll_request(clock.now()) } {
                let disk = disk.clone();
                under_way.push(Box::pin(async move { (request.lane, request.task.perform_on(&disk).await) }));
            }
            self.tell();
            progress.notify_waiters();
            let due = store.borrow().poll_timeout();
            let (mut asked, mut timeout) = (pin!(asked), pin!(sleep_until(&**clock, due)));
            let done = poll_fn(|context| {
                for at in 0..under_way.len() {
                    if let Poll::Ready(done) = under_way[at].as_mut().poll(context) {
                        drop(under_way.remove(at));
                        return Poll::Ready(Some(done));
                    }
                }
                let is_asked = asked.as_mut().poll(context).is_ready();
                let is_due = timeout.as_mut().poll(context).is_ready();
                if is_asked || is_due { Poll::Ready(None) } else { Poll::Pending }
            })
            .await;
            if let Some((lane, done)) = done {
                store.borrow_mut().handle_done(clock.now(), lane, done);
            }
        }
    }

    fn tell(&self) {
        while let Some((ticket, outcome)) = { self.shared.store.borrow_mut().poll_outcome() } {
            if let Ok(stored) = &outcome {
                self.shared.nearly_full.borrow_mut().extend(&stored.nearly_full);
                if stored.is_queued {
                    self.shared.queued.notify_one();
                }
            }
            let waiting = self.shared.waiting.borrow_mut().remove(&ticket);
            if let Some(Waiting { told, reserved }) = waiting {
                self.shared.store.borrow_mut().release_all(reserved);
                _ = told.send(outcome);
            }
        }
    }

    /// Waits until the loaded state is durable.
    pub async fn ready(&self) {
        while !self.shared.store.borrow().is_ready() {
            self.shared.progress.notified().await;
        }
    }

    /// Why the store accepts no messages, or accepted none at the last try.
    pub fn trouble(&self) -> Option<StoreError> {
        self.shared.store.borrow().trouble()
    }

    /// The next mailbox that has reached nine tenths of its quota by a message. Only one of several waiting callers
    /// gets it.
    pub async fn nearly_full(&self) -> MailboxId {
        loop {
            let next = self.shared.nearly_full.borrow_mut().pop_first();
            if let Some(mailbox) = next {
                return mailbox;
            }
            self.shared.progress.notified().await;
        }
    }

    /// Waits until the queue has further entries, whatever created them: those [after](State::queue_after) the last
    /// known one. For one caller.
    pub async fn queued(&self) {
        self.shared.queued.notified().await;
    }

    /// Reads the state, once it is [ready](MailStore::ready).
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(self.shared.store.borrow().state())
    }

    /// Makes a change. Dropping the future does not cancel it.
    ///
    /// # Errors
    ///
    /// Why it is not made.
    pub async fn change(&self, change: Change) -> Result<Stored, StoreError> {
        self.submit(change)?.await
    }

    /// Whether the store accepts changes now. It writes a record, which is durable when this returns.
    ///
    /// # Errors
    ///
    /// Why it accepts none.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.change(Change::Probe).await.map(drop)
    }

    /// Makes several independent changes, and returns all outcomes in order. They share one sync as far as they fit in
    /// a batch, and no other change comes between. Dropping the future does not cancel them.
    pub async fn change_all(
        &self,
        changes: impl IntoIterator<Item = Change>,
    ) -> Vec<Result<Stored, StoreError>> {
        let submitted: Vec<_> = changes.into_iter().map(|change| self.submit(change)).collect();
        let mut outcomes = Vec::new();
        for submitted in submitted {
            outcomes.push(match submitted {
                Ok(outcome) => outcome.await,
                Err(refused) => Err(refused),
            });
        }
        outcomes
    }

    /// Submits a change, and reserves the room of its message, respecting other reservations.
    fn submit(
        &self,
        mut change: Change,
    ) -> Result<impl Future<Output = Result<Stored, StoreError>> + use<>, StoreError> {
        if let Change::Done(done) = &mut change {
            done.time = self.shared.clock.unix_time().0;
        }
        let mut reserved = Vec::new();
        let submitted = {
            let mut store = self.shared.store.borrow_mut();
            let submitted = store.reserve_whole(&change, &mut reserved).and_then(|()| store.submit(change));
            if submitted.is_err() {
                store.release_all(mem::take(&mut reserved));
            }
            submitted?
        };
        Ok(self.outcome(submitted, reserved))
    }

    /// The outcome of a change; `reserved` is released then.
    fn outcome(
        &self,
        ticket: Ticket,
        reserved: Vec<ReservationId>,
    ) -> impl Future<Output = Result<Stored, StoreError>> + use<> {
        let (told, outcome) = oneshot::channel();
        self.shared.waiting.borrow_mut().insert(ticket, Waiting { told, reserved });
        self.shared.wanted.notify_one();
        async move { outcome.await.unwrap_or_else(|_| Err(StoreError::Disk("the store has ended".to_owned()))) }
    }

    /// Whether a mailbox has room for `octets` besides the reservations. It reserves nothing.
    ///
    /// # Errors
    ///
    /// There is no such mailbox, or it is full: [`StoreError::MailboxFull`].
    pub fn check_room(&self, mailbox: MailboxId, octets: u64) -> Result<(), StoreError> {
        self.shared.store.borrow().check_room(mailbox, octets)
    }

    /// Begins a message of about `size` octets, if known.
    ///
    /// # Errors
    ///
    /// The store accepts no messages now.
    pub fn begin(&self, size: u64) -> Result<Incoming, StoreError> {
        self.begin_from(size, None)
    }

    /// The same for a message from the source `stranger`. Strangers have a share of the resources for drafts, and each
    /// of them a part of that.
    ///
    /// # Errors
    ///
    /// The store accepts no messages now.
    pub fn begin_from(&self, size: u64, stranger: Option<IpAddr>) -> Result<Incoming, StoreError> {
        let draft = self.shared.store.borrow_mut().begin_from(stranger)?;
        let (store, is_strange) = (self.clone(), stranger.is_some());
        Ok(Incoming { store, draft: Some(draft), is_strange, size, came: 0, reservations: Vec::new() })
    }

    /// Reads a message of a mailbox.
    ///
    /// # Errors
    ///
    /// Why it cannot be read; [`Unreadable::Gone`] if it is not in the mailbox.
    pub async fn read(&self, mailbox: MailboxId, uid: Uid) -> Result<Message, Unreadable> {
        let entry = self.look(|state| state.mailbox(mailbox)?.entry(uid).copied()).ok_or(Unreadable::Gone)?;
        let find = |state: &State| Some(state.mailbox(mailbox)?.entry(uid)?.place);
        self.read_record(find, |marker, octets| Message::parse(marker, octets, mailbox, &entry)).await
    }

    /// Reads the message of a queue entry.
    ///
    /// # Errors
    ///
    /// Why it cannot be read; [`Unreadable::Gone`] if it is not in the queue.
    pub async fn read_queued(&self, id: QueueId) -> Result<Message, Unreadable> {
        let find = |state: &State| Some(state.queued(id)?.place);
        self.read_record(find, |marker, octets| Message::parse_queued(marker, octets, id)).await
    }

    /// Reads a record at the position from `find`, again if it moves meanwhile.
    async fn read_record(
        &self,
        find: impl Fn(&State) -> Option<Place>,
        parse: impl Fn(Marker, &[u8]) -> Result<Message, Unreadable>,
    ) -> Result<Message, Unreadable> {
        let mut outcome = Err(Unreadable::Gone);
        for _ in 0..LOOKUPS_MAX {
            let (place, segment) = {
                let store = self.shared.store.borrow();
                let place = find(store.state()).ok_or(Unreadable::Gone)?;
                (place, store.segment_file(place.segment))
            };
            let Some((file, marker)) = segment else { return Err(Unreadable::Gone) };
            let octets = self.shared.disk.read_at(&file, place.offset, place.len as usize).await?;
            outcome = match octets {
                Some(octets) => parse(marker, &octets),
                None => Err(Unreadable::Gone),
            };
            if outcome.is_ok() || self.look(&find) == Some(place) {
                break;
            }
        }
        outcome
    }

    /// Reads at most `len` octets of a body from `offset` on, as [`read_body_part`](super::read_body_part) does.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub async fn read_body_part(
        &self,
        body: &BodyOctets,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, Unreadable> {
        match body {
            BodyOctets::Inline(octets) => Ok(crate::store::part_of(octets, offset, len)),
            BodyOctets::File { file, .. } => {
                let len = body.part_len(offset, len);
                let octets = self.shared.disk.read_at(file, offset, len).await?;
                BodyOctets::check_part(octets, len)
            }
        }
    }
}

/// Room for a message in one mailbox.
struct Reserved {
    /// `None` before the first octet: then it holds no reservation.
    id: Option<ReservationId>,
    mailbox: MailboxId,
    /// Octets of the header lines that are the mailbox's own.
    prefix: u64,
}

impl Reserved {
    /// Grows it to `octets` at least.
    fn grow(&mut self, store: &mut Store, octets: u64, is_strange: bool) -> Result<(), StoreError> {
        let octets = octets.saturating_add(self.prefix);
        match self.id {
            Some(id) => store.grow(id, octets),
            None => {
                self.id = Some(store.reserve_for(self.mailbox, octets, is_strange)?);
                Ok(())
            }
        }
    }
}

/// A message being received. Dropping it before the commit aborts it.
pub struct Incoming {
    store: MailStore,
    /// `None` once it is committed.
    draft: Option<DraftId>,
    is_strange: bool,
    size: u64,
    came: u64,
    reservations: Vec<Reserved>,
}

impl Incoming {
    /// Whether a mailbox has room for `octets` of it besides the reservations. It reserves nothing.
    ///
    /// # Errors
    ///
    /// There is no such mailbox, or it is full: [`StoreError::MailboxFull`].
    pub fn check_room(&self, mailbox: MailboxId, octets: u64) -> Result<(), StoreError> {
        let store = self.store.shared.store.borrow();
        store.check_room(mailbox, octets)?;
        if self.is_strange { store.check_share(mailbox, 0) } else { Ok(()) }
    }

    /// Reserves room in a mailbox for the message, and the delivery's own header lines of at most `prefix` octets;
    /// before the first octet, with that.
    ///
    /// # Errors
    ///
    /// There is no such mailbox, or it is full: [`StoreError::MailboxFull`].
    pub fn reserve(&mut self, mailbox: MailboxId, prefix: u64) -> Result<(), StoreError> {
        let octets = self.size.max(self.came);
        let mut reserved = Reserved { id: None, mailbox, prefix };
        if octets == 0 {
            self.check_room(mailbox, prefix)?;
        } else {
            reserved.grow(&mut self.store.shared.store.borrow_mut(), octets, self.is_strange)?;
        }
        self.reservations.push(reserved);
        Ok(())
    }

    /// Reserves room for the next `octets`. Returns the full mailboxes: their reservations are released, and the
    /// message must not be delivered there.
    pub fn make_room(&mut self, octets: u64) -> Vec<MailboxId> {
        let after = self.came.saturating_add(octets);
        let mut store = self.store.shared.store.borrow_mut();
        let is_strange = self.is_strange;
        // If there are too many reservations, the message is rejected as a whole when its octets come.
        let full = self.reservations.extract_if(.., |reserved| {
            matches!(reserved.grow(&mut store, after, is_strange), Err(refused) if refused != StoreError::Busy)
        });
        let full: Vec<_> = full.collect();
        store.release_all(full.iter().filter_map(|reserved| reserved.id));
        full.into_iter().map(|reserved| reserved.mailbox).collect()
    }

    /// Releases the reservations in mailboxes for which `is_left` holds: the message must not be delivered there.
    pub fn give_back(&mut self, is_left: impl Fn(MailboxId) -> bool) {
        let left: Vec<_> = self.reservations.extract_if(.., |reserved| is_left(reserved.mailbox)).collect();
        let mut store = self.store.shared.store.borrow_mut();
        store.release_all(left.iter().filter_map(|reserved| reserved.id));
    }

    /// Adds further octets, and waits until there is room for more.
    ///
    /// # Errors
    ///
    /// The message cannot be stored: a mailbox is full as it is longer than announced, or the disk fails.
    pub async fn chunk(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        let Shared { store, wanted, progress, .. } = &*self.store.shared;
        let draft = self.draft.ok_or(StoreError::NoDraft)?;
        self.came += octets.len() as u64;
        for reserved in &mut self.reservations {
            reserved.grow(&mut store.borrow_mut(), self.came, self.is_strange)?;
        }
        store.borrow_mut().chunk(draft, octets)?;
        while store.borrow().is_draft_full(draft) {
            wanted.notify_one();
            progress.notified().await;
        }
        Ok(())
    }

    /// At most `len` of the octets so far, from `offset` on; none at the end.
    ///
    /// # Errors
    ///
    /// The message cannot be stored, or not be read.
    pub async fn part(&self, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let Shared { store, wanted, progress, disk, .. } = &*self.store.shared;
        let draft = self.draft.ok_or(StoreError::NoDraft)?;
        loop {
            let part = store.borrow().draft_part(draft, offset, len)?;
            match part {
                Part::Octets(octets) => return Ok(octets),
                Part::InFile(name, len) => {
                    let octets = disk.read_at(&body_file(name), offset, len).await;
                    let octets = octets.map_err(|error| StoreError::Disk(error.to_string()))?;
                    return octets.filter(|octets| octets.len() == len).ok_or(StoreError::NoDraft);
                }
                Part::UnderWay => {
                    wanted.notify_one();
                    progress.notified().await;
                }
            }
        }
    }

    /// Accepts the message. With `Ok` it is durable, and in its mailboxes.
    ///
    /// # Errors
    ///
    /// Why it is rejected; then it is not stored, also not after a crash.
    pub async fn commit(mut self, accept: Accept) -> Result<Stored, StoreError> {
        let draft = self.draft.take().ok_or(StoreError::NoDraft)?;
        let ticket = self.store.shared.store.borrow_mut().commit(draft, accept)?;
        let reserved = mem::take(&mut self.reservations).into_iter().filter_map(|reserved| reserved.id);
        self.store.outcome(ticket, reserved.collect()).await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Shared { store, wanted, .. } = &*self.store.shared;
        let mut store = store.borrow_mut();
        store.release_all(self.reservations.drain(..).filter_map(|reserved| reserved.id));
        if let Some(draft) = self.draft.take() {
            store.give_up(draft);
        }
        wanted.notify_one();
    }
}
