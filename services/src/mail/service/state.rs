//! The state that all mail services share over all configurations: the store, the logins, and the counts of connections
//! and messages of each source.
//!
//! The store is opened when the first configuration with mail is in force, and stays open: only one process writes it.
//! Opening runs in the background, as it can take minutes, and is tried again while it fails: no fault of the mail
//! store keeps a gateway from starting. Until it is open clients are asked to retry later.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::admission::{Connections, Rates};
use super::pop3::OpenInboxes;
use super::settings::Shares;
use super::shared::Shared;
use crate::clock::{Clock, sleep_until};
use crate::events::Events;
use crate::mail::MailEvent;
use crate::mail::events::RECIPIENTS_SHOWN_MAX;
use crate::mail::sasl::{Request, Verdict};
use crate::mail::srs::Srs;
use crate::mail::store::{self, Change, Delivery, FolderId, INBOX, MailStore, MailboxId, StoreError};
use crate::net::Net;
use crate::service::Host;
use crate::store::{Disk, SILENT, Storage, kept_key};
use crate::task::Task;
use crate::users::User;
use crate::users::logins::{Logins, Scram};
use crate::users::office::OfficeLogins;
use crate::wait::first_of;
use crate::watch;
use crate::work::{self, Work};

/// How long a client waits for the store after a start, before it is asked to retry later.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long after a failure the store is opened again.
pub const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The time after which the status reports that the store is still being read.
pub const READ_WITHIN: Duration = Duration::from_secs(10);

/// How old the knowledge of the disk's room may be.
pub const ROOM_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// The interval of checks of the disk's free space without mail.
pub const ROOM_WATCHED_EVERY: Duration = Duration::from_secs(60);

/// The file of the key by which return paths are made.
const SRS_KEY: &str = "srs";

/// The interval of checks whether the disk responds while a client waits for it.
const SILENCE_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

const SHORT: &str = "no mail is taken: the disk has less room than mail.disk_reserve";
const DAMAGED: &str = "the mail store is damaged; `gatepost mail check` says what is lost";

/// The state that the mail services share.
pub struct MailState {
    settings: store::Settings,
    logins: Rc<OfficeLogins>,
    progress: Rc<watch::Sender<Progress>>,
    opens: RefCell<Option<Task>>,
    pub(super) connections: Rc<Connections>,
    pub(super) inboxes: Rc<OpenInboxes>,
    pub(super) rates: Rc<RefCell<Rates>>,
    /// The backend of programs on this machine.
    pub(super) local: RefCell<Weak<Shared>>,
    events: Events<MailEvent>,
}

/// How far the opening of the store is.
enum Progress {
    /// No configuration in force has enabled mail.
    Closed,
    /// It has been read since then.
    Reading(Instant),
    /// It cannot be opened, for this reason, and is tried again.
    Failed(String),
    Open(Rc<Opened>),
}

impl Progress {
    fn opened(&self) -> Option<Rc<Opened>> {
        if let Self::Open(opened) = self { Some(Rc::clone(opened)) } else { None }
    }
}

/// The parameters for opening the store.
pub(in crate::mail) struct Opener {
    storage: Arc<dyn Storage>,
    disk: Disk,
    work: Rc<dyn Work>,
    clock: Rc<dyn Clock>,
    rng: StdRng,
}

impl Opener {
    /// That of `host`.
    pub fn of<N: Net>(host: &Host<N>) -> Self {
        Self {
            storage: Arc::clone(&host.storage),
            disk: host.disk.clone(),
            work: Rc::clone(&host.work),
            clock: Rc::clone(&host.clock),
            rng: host.rng(),
        }
    }

    async fn open(&mut self, settings: store::Settings, logins: &OfficeLogins) -> Result<Opened, String> {
        let Self { storage, disk, work, clock, rng } = self;
        let logins = logins.open(storage, work, clock, rng).await?;
        let srs = Self::srs(storage, &**work, rng).await?;
        let storage = || Arc::clone(storage);
        let rng = StdRng::from_rng(rng);
        let opened = MailStore::open(storage(), Rc::clone(work), Rc::clone(clock), settings, rng).await;
        let (store, report) = opened.map_err(|error| format!("the mail store cannot be read: {error}"))?;
        if report.is_damaged() {
            error!("{DAMAGED}");
        }
        if report.newer.is_some() {
            error!("a newer version of this program has written to the mail store; no mail is taken");
        }
        let running = store.clone();
        Ok(Opened {
            store,
            logins,
            srs,
            answering: RefCell::default(),
            clock: Rc::clone(clock),
            disk: disk.clone(),
            room: Cell::new(None),
            is_short: Cell::new(false),
            quotas_told: RefCell::default(),
            is_damaged: report.is_damaged(),
            runs: Task::spawn(async move { running.run().await }),
        })
    }
}

impl Opener {
    /// The SRS key. If it cannot be stored, return paths made now become invalid at the next start.
    async fn srs(storage: &Arc<dyn Storage>, work: &dyn Work, rng: &mut StdRng) -> Result<Srs, String> {
        let (of_job, mut for_key) = (Arc::clone(storage), StdRng::from_rng(rng));
        let passing = for_key.random();
        let key = work::run(work, move || kept_key(&*of_job, SRS_KEY, &mut for_key)).await;
        let key = key.map_err(|error| error.to_string())?;
        let key = key.unwrap_or_else(|error| {
            warn!("reports on forwarded mail will not find its senders after the next start: the key cannot be stored: {error}");
            passing
        });
        Ok(Srs::new(key))
    }
}

impl MailState {
    /// Nothing is opened yet. Users log in by `logins`.
    pub fn new(settings: store::Settings, logins: Rc<OfficeLogins>) -> Self {
        let rates = Rates::new(Shares::default().wan_messages_a_minute);
        Self {
            settings,
            logins,
            progress: Rc::new(watch::Sender::new(Progress::Closed)),
            opens: RefCell::default(),
            connections: Rc::default(),
            inboxes: Rc::default(),
            rates: Rc::new(RefCell::new(rates)),
            local: RefCell::default(),
            events: Events::default(),
        }
    }

    /// The events of messages.
    pub fn events(&self) -> &Events<MailEvent> {
        &self.events
    }

    /// The open state, if it is open.
    pub fn opened(&self) -> Option<Rc<Opened>> {
        self.progress.borrow().opened()
    }

    /// Waits for the open state.
    pub async fn when_opened(&self) -> Rc<Opened> {
        let mut progress = self.progress.subscribe();
        loop {
            let opened = progress.borrow_and_update().opened();
            if let Some(opened) = opened {
                return opened;
            }
            // It cannot fail: the sender is here.
            _ = progress.changed().await;
        }
    }

    /// Waits until the store is open and accepts messages. `None` if that takes longer than [`READY_WITHIN`], or fails.
    pub async fn ready(&self) -> Option<Rc<Opened>> {
        let ready = async {
            let mut progress = self.progress.subscribe();
            let is_known = |progress: &Progress| matches!(progress, Progress::Failed(_) | Progress::Open(_));
            let opened = progress.wait_for(is_known).await.ok()?.opened()?;
            opened.store.ready().await;
            Some(opened)
        };
        timeout(READY_WITHIN, ready).await.ok().flatten()
    }

    /// Sets the users that can log in, as [`OfficeLogins::set_users`] does.
    pub(super) fn set_users(&self, users: &[User], domains: &[&str]) {
        self.logins.set_users(users, domains);
    }

    /// Opens the store in a task of its own, with retries, if it is not open.
    pub(in crate::mail) fn open(&self, mut opener: Opener) {
        let mut opens = self.opens.borrow_mut();
        if opens.is_some() {
            return;
        }
        let (settings, logins) = (self.settings, Rc::clone(&self.logins));
        let progress = Rc::clone(&self.progress);
        progress.send_replace(Progress::Reading(opener.clock.now()));
        *opens = Some(Task::spawn(async move {
            loop {
                match opener.open(settings, &logins).await {
                    Ok(opened) => {
                        let before = progress.send_replace(Progress::Open(Rc::new(opened)));
                        if matches!(before, Progress::Failed(_)) {
                            info!("the mail store is open");
                        }
                        return;
                    }
                    Err(why) => {
                        error!("no mail is taken: {why}");
                        progress.send_replace(Progress::Failed(why));
                    }
                }
                let again = opener.clock.now() + OPEN_AGAIN_AFTER;
                sleep_until(&*opener.clock, Some(again)).await;
            }
        }));
    }

    /// The answer to a login of a client at `peer`.
    pub(super) async fn authenticate(
        &self,
        peer: IpAddr,
        request: Request,
        rng: &RefCell<StdRng>,
    ) -> Verdict {
        let Some(opened) = self.opened() else { return Verdict::Unavailable };
        let logins = &opened.logins;
        match request {
            Request::Password { user, password } => logins.password(peer, &user, &password.0).await.into(),
            Request::Verifier { user } => match logins.scram_verifier(peer, &user).await {
                Scram::Verifier { verifier, is_decoy } => {
                    Verdict::Verifier { verifier, is_decoy, nonce: rng.borrow_mut().random() }
                }
                Scram::TooMany(_) | Scram::Unavailable => Verdict::Unavailable,
            },
            Request::Proved { user } => logins.scram_proved(peer, &user).into(),
        }
    }

    /// The current problem, for the administrator.
    pub(in crate::mail) fn trouble(&self, now: Instant) -> Option<String> {
        match &*self.progress.borrow() {
            Progress::Closed => None,
            Progress::Reading(since) => {
                let is_long = now.since(*since) >= READ_WITHIN;
                is_long.then(|| "the mail store is being read; no mail is taken yet".to_owned())
            }
            Progress::Failed(why) => Some(format!("no mail is taken: {why}")),
            Progress::Open(opened) => opened.trouble(),
        }
    }
}

/// The store and the logins.
pub struct Opened {
    /// The mail store.
    pub store: MailStore,
    /// The logins.
    pub logins: Rc<Logins>,
    /// The rewriting of return paths of forwarded mail.
    pub srs: Srs,
    /// Vacation answers being stored: user and addressee.
    pub(super) answering: RefCell<BTreeSet<(String, String)>>,
    pub(super) clock: Rc<dyn Clock>,
    disk: Disk,
    /// The disk's free space, and when it was checked.
    room: Cell<Option<(Instant, u64)>>,
    /// Whether it was less than is to be left.
    is_short: Cell<bool>,
    /// When each mailbox's user was last warned of a nearly full mailbox.
    pub(super) quotas_told: RefCell<BTreeMap<MailboxId, Instant>>,
    /// Whether mail was lost before the start.
    is_damaged: bool,
    runs: Task,
}

impl Opened {
    /// The names of the mailboxes that get `deliveries`.
    pub(in crate::mail) fn names(&self, deliveries: &[Delivery]) -> Vec<String> {
        self.store.look(|state| {
            let name = |delivery: &Delivery| Some(state.mailbox(delivery.mailbox)?.state().name.clone());
            deliveries.iter().filter_map(name).take(RECIPIENTS_SHOWN_MAX).collect()
        })
    }

    fn trouble(&self) -> Option<String> {
        if self.runs.is_over() {
            return Some("the mail store has ended; see the log, and start the gateway again".to_owned());
        }
        if self.disk.is_silent() {
            return Some(SILENT.to_owned());
        }
        let refused = self.store.trouble().map(|refused| format!("no mail is taken: {refused}"));
        let short = || self.is_short.get().then(|| SHORT.to_owned());
        let is_damaged = self.is_damaged || self.store.look(store::State::is_damaged);
        refused.or_else(short).or_else(|| is_damaged.then(|| DAMAGED.to_owned()))
    }

    /// Whether the disk has room for `octets` besides the `reserve`. If its free space is unknown, the store will find
    /// out.
    pub(in crate::mail) async fn has_room(&self, reserve: u64, octets: u64) -> bool {
        let now = self.clock.now();
        let known = self.room.get().filter(|(at, _)| now.since(*at) < ROOM_LOOKED_AT_EVERY);
        let room = match known {
            Some((_, room)) => room,
            None => {
                let room = self.disk.space().await.unwrap_or(u64::MAX);
                self.room.set(Some((now, room)));
                let is_short = room < reserve;
                if self.is_short.replace(is_short) != is_short {
                    if is_short { warn!("{SHORT}") } else { info!("the disk has room for mail again") }
                }
                room
            }
        };
        room >= reserve.saturating_add(octets)
    }

    /// So many octets of a message are about to be written.
    pub(super) fn takes_room(&self, octets: u64) {
        self.room.set(self.room.get().map(|(at, room)| (at, room.saturating_sub(octets))));
    }

    /// Checks the disk's free space periodically, so that the administrator learns of a full disk without incoming
    /// mail.
    pub(super) async fn watch_room(&self, reserve: u64) {
        loop {
            self.has_room(reserve, 0).await;
            let next = self.clock.now() + ROOM_WATCHED_EVERY;
            sleep_until(&*self.clock, Some(next)).await;
        }
    }

    /// The output of `reading`; `None` once the disk is known not to respond.
    pub(in crate::mail) async fn unless_silent<T>(&self, reading: impl Future<Output = T>) -> Option<T> {
        let silent = async {
            while !self.disk.is_silent() {
                sleep(SILENCE_LOOKED_AT_EVERY).await;
            }
            None
        };
        first_of(silent, async { Some(reading.await) }).await
    }

    /// Adds a note to the log, if there is one, in a task of its own. No mail depends on it.
    pub(in crate::mail) fn note(&self, note: Option<String>) {
        let Some(note) = note else { return };
        let store = self.store.clone();
        tokio::task::spawn_local(async move {
            if let Err(refused) = store.change(Change::Note(note)).await {
                debug!("what rules did with a message is not kept: {refused}");
            }
        });
    }

    /// The mailbox of `user`, created if missing, with the user's quota.
    pub(in crate::mail) async fn mailbox_of(&self, user: &User) -> Result<MailboxId, StoreError> {
        let time = self.clock.unix_time().0;
        let (known, change) = self.store.look(|state| state.provision(&user.name, user.quota, time));
        let made = match change {
            Some(change) => self.store.change(change).await,
            None => Ok(store::Stored::default()),
        };
        match (known, made) {
            (Some(id), made) => {
                if let Err(refused) = made {
                    warn!("the mailbox of {} keeps its former quota: {refused}", user.name);
                }
                Ok(id)
            }
            // Another connection was faster.
            (None, Err(StoreError::NameTaken)) => {
                let made = self.store.look(|state| Some(state.mailbox_named(&user.name)?.state().id));
                made.ok_or(StoreError::Busy)
            }
            (None, made) => made?.mailbox.ok_or(StoreError::Busy),
        }
    }

    /// The folder `name` of a mailbox, created if missing. If that fails, it is the inbox.
    pub async fn folder_of(&self, mailbox: MailboxId, name: &str) -> FolderId {
        let known = self.store.look(|state| state.mailbox(mailbox)?.state().folder(name));
        if let Some(folder) = known {
            return folder;
        }
        match self.store.change(Change::AddFolder { id: mailbox, name: name.to_owned() }).await {
            Ok(stored) => stored.folder.unwrap_or(INBOX),
            Err(refused) => {
                warn!("there is no folder {name:?}, and its mail lies in the inbox: {refused}");
                INBOX
            }
        }
    }

    /// Has each of `deliveries` lie in its mailbox's folder that is called `name`, as [`Opened::folder_of`] has it.
    pub async fn file(&self, deliveries: &mut [Delivery], name: &str) {
        for delivery in deliveries {
            delivery.folder = self.folder_of(delivery.mailbox, name).await;
        }
    }

    /// Creates a mailbox with the user's quota for each of `users`. Failures are retried when a message comes.
    pub(super) async fn provide(&self, users: impl Iterator<Item = &User>) {
        self.store.ready().await;
        for user in users {
            if let Err(refused) = self.mailbox_of(user).await {
                warn!("{} has no mailbox yet: {refused}", user.name);
            }
        }
    }
}
