//! What the mail services share, whatever the configuration: the store, the logins, the count of connections and what
//! each source has sent.
//!
//! The store is opened once the first configuration that wants mail is in force, and stays open: one process alone
//! writes it. It is read beside everything else, as that can take minutes, and tried again as long as it cannot be: no
//! fault of the mail store keeps a gateway from starting. Until it is there clients are told to come back.

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
use crate::mail::sasl::{Request, Verdict};
use crate::mail::srs::Srs;
use crate::mail::store::{self, Change, Delivery, FolderId, INBOX, MailStore, MailboxId, Refused};
use crate::net::Net;
use crate::service::Host;
use crate::store::{Disk, SILENT, Storage, kept_key};
use crate::task::Task;
use crate::users::limit::Limits;
use crate::users::logins::{Logins, Scram};
use crate::users::verifier::Cost;
use crate::users::{User, passwords};
use crate::wait::first_of;
use crate::watch;
use crate::work::{self, Work};

/// How long a client waits for the store to be ready after a start, before it is told to come back.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long after a failure the store is opened again.
pub const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The administrator is told that the store is being read if that takes longer.
pub const READ_WITHIN: Duration = Duration::from_secs(10);

/// How old the knowledge of the disk's room may be.
pub const ROOM_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// How often the disk's room is looked at when no mail comes.
pub const ROOM_WATCHED_EVERY: Duration = Duration::from_secs(60);

/// The file of the key by which return paths are made.
const SRS_KEY: &str = "srs";

/// How often is looked whether the disk answers while somebody waits for it.
const SILENCE_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

const SHORT: &str = "no mail is taken: the disk has less room than mail.disk_reserve";
const DAMAGED: &str = "the mail store is damaged; `gatepost mail check` says what is lost";

/// What the mail services share.
pub struct Ground {
    settings: store::Settings,
    cost: Cost,
    progress: Rc<watch::Sender<Progress>>,
    /// Who can log in, and the domains that are left out of their names, once there are logins.
    users: Rc<RefCell<(Vec<User>, Vec<String>)>>,
    opens: RefCell<Option<Task>>,
    pub(super) connections: Rc<Connections>,
    pub(super) inboxes: Rc<OpenInboxes>,
    pub(super) rates: Rc<RefCell<Rates>>,
    /// By what programs of this machine are served.
    pub(super) local: RefCell<Weak<Shared>>,
}

/// How far the opening of the store is.
enum Progress {
    /// No configuration in force wanted mail.
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

/// What the store is opened with.
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

    async fn open(&mut self, settings: store::Settings, cost: Cost) -> Result<Opened, String> {
        let Self { storage, disk, work, clock, rng } = self;
        let of_job = Arc::clone(storage);
        // The key's own randomness, so that a job can have it.
        let mut for_key = StdRng::from_rng(rng);
        let key = work::run(&**work, move || passwords::decoy_key(&*of_job, &mut for_key)).await;
        let key = key.map_err(|error| error.to_string())?;
        let key = key.map_err(|error| format!("a key cannot be kept: {error}"))?;
        let srs = Self::srs(storage, &**work, rng).await?;
        let storage = || Arc::clone(storage);
        let logins =
            Logins::new(storage(), Rc::clone(work), Rc::clone(clock), (Limits::default(), cost), key, rng);
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
    /// What return paths are made with. Where its key cannot be kept, those that are made now are forgotten at the next
    /// start.
    async fn srs(storage: &Arc<dyn Storage>, work: &dyn Work, rng: &mut StdRng) -> Result<Srs, String> {
        let (of_job, mut for_key) = (Arc::clone(storage), StdRng::from_rng(rng));
        let passing = for_key.random();
        let key = work::run(work, move || kept_key(&*of_job, SRS_KEY, &mut for_key)).await;
        let key = key.map_err(|error| error.to_string())?;
        let key = key.unwrap_or_else(|error| {
            warn!("reports on mail that is sent on will find nobody after the next start: its key cannot be kept: {error}");
            passing
        });
        Ok(Srs::new(key))
    }
}

impl Ground {
    /// Nothing is opened yet. `cost` is that of passwords.
    pub fn new(settings: store::Settings, cost: Cost) -> Self {
        let rates = Rates::new(Shares::default().wan_messages_a_minute);
        Self {
            settings,
            cost,
            progress: Rc::new(watch::Sender::new(Progress::Closed)),
            users: Rc::default(),
            opens: RefCell::default(),
            connections: Rc::default(),
            inboxes: Rc::default(),
            rates: Rc::new(RefCell::new(rates)),
            local: RefCell::default(),
        }
    }

    /// What is open, if it is.
    pub fn opened(&self) -> Option<Rc<Opened>> {
        self.progress.borrow().opened()
    }

    /// What is open, as soon as it is.
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

    /// What is open, once its store takes messages after a start. `None` if it does not within [`READY_WITHIN`], or
    /// cannot be opened now.
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

    /// Has `users` be all that can log in, as [`Logins::set_users`] has it.
    pub(super) fn set_users(&self, users: &[User], domains: &[&str]) {
        let domains = domains.iter().copied().map(str::to_owned).collect();
        *self.users.borrow_mut() = (users.to_vec(), domains);
        if let Some(opened) = self.opened() {
            opened.set_users(&self.users.borrow());
        }
    }

    /// Opens what is not open yet, in a task of its own, until that succeeds.
    pub(in crate::mail) fn open(&self, mut opener: Opener) {
        let mut opens = self.opens.borrow_mut();
        if opens.is_some() {
            return;
        }
        let (settings, cost) = (self.settings, self.cost);
        let (progress, users) = (Rc::clone(&self.progress), Rc::clone(&self.users));
        progress.send_replace(Progress::Reading(opener.clock.now()));
        *opens = Some(Task::spawn(async move {
            loop {
                match opener.open(settings, cost).await {
                    Ok(opened) => {
                        opened.set_users(&users.borrow());
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

    /// What is wrong, for the administrator.
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
    /// Where messages are kept.
    pub store: MailStore,
    /// Who logs in.
    pub logins: Logins,
    /// What return paths of mail that is sent on are made with.
    pub srs: Srs,
    /// The answers of those who are away that are being stored: who answers whom.
    pub(super) answering: RefCell<BTreeSet<(String, String)>>,
    pub(super) clock: Rc<dyn Clock>,
    disk: Disk,
    /// The room on the disk, and when that was looked at.
    room: Cell<Option<(Instant, u64)>>,
    /// Whether it was less than is to be left.
    is_short: Cell<bool>,
    /// When whose mailbox is nearly full was told so.
    pub(super) quotas_told: RefCell<BTreeMap<MailboxId, Instant>>,
    /// Whether mail was lost before the start.
    is_damaged: bool,
    runs: Task,
}

impl Opened {
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

    fn set_users(&self, (users, domains): &(Vec<User>, Vec<String>)) {
        let domains: Vec<_> = domains.iter().map(String::as_str).collect();
        self.logins.set_users(users, &domains);
    }

    /// Whether the disk has room for `octets` beside the `reserve`. If it cannot be asked, the store will find out.
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

    /// Looks at the disk's room now and then, so that the administrator hears of it though no mail comes.
    pub(super) async fn watch_room(&self, reserve: u64) {
        loop {
            self.has_room(reserve, 0).await;
            let next = self.clock.now() + ROOM_WATCHED_EVERY;
            sleep_until(&*self.clock, Some(next)).await;
        }
    }

    /// What `reading` comes to; `None` once the disk is known not to answer.
    pub(in crate::mail) async fn unless_silent<T>(&self, reading: impl Future<Output = T>) -> Option<T> {
        let silent = async {
            while !self.disk.is_silent() {
                sleep(SILENCE_LOOKED_AT_EVERY).await;
            }
            None
        };
        first_of(silent, async { Some(reading.await) }).await
    }

    /// Has a note stand in the log, if there is one, in a task of its own. No mail depends on it.
    pub(in crate::mail) fn note(&self, note: Option<String>) {
        let Some(note) = note else { return };
        let store = self.store.clone();
        tokio::task::spawn_local(async move {
            if let Err(refused) = store.change(Change::Note(note)).await {
                debug!("what rules did with a message is not kept: {refused}");
            }
        });
    }

    /// The mailbox of `user`, which is made if there is none, and given the user's quota.
    pub(in crate::mail) async fn mailbox_of(&self, user: &User) -> Result<MailboxId, Refused> {
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
            (None, Err(Refused::NameTaken)) => {
                let made = self.store.look(|state| Some(state.mailbox_named(&user.name)?.state().id));
                made.ok_or(Refused::Busy)
            }
            (None, made) => made?.mailbox.ok_or(Refused::Busy),
        }
    }

    /// The folder of a mailbox that is called `name`, which is made if there is none. What is for a folder that cannot
    /// be made lies in the inbox.
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

    /// Has each of `users` have a mailbox, with the user's quota. What cannot be done now is done when a message comes.
    pub(super) async fn provide(&self, users: impl Iterator<Item = &User>) {
        self.store.ready().await;
        for user in users {
            if let Err(refused) = self.mailbox_of(user).await {
                warn!("{} has no mailbox yet: {refused}", user.name);
            }
        }
    }
}
