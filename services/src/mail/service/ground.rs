//! What the mail services share, whatever the configuration: the store, the logins, the count of connections and what each
//! source has sent.
//!
//! The store is opened when the first configuration that wants mail is prepared, and stays open: one process alone writes it.
//! It is there even if that configuration is refused then, as by another service, with what opening it has written.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::Instant;
use tokio::time::timeout;
use tracing::{error, warn};

use super::admission::{Connections, Rates};
use super::settings::Shares;
use crate::clock::Clock;
use crate::mail::store::{self, Change, MailStore, MailboxId, Refused};
use crate::net::Net;
use crate::service::{Host, Unprepared};
use crate::store::Disk;
use crate::task::Task;
use crate::users::limit::Limits;
use crate::users::logins::Logins;
use crate::users::verifier::Cost;
use crate::users::{User, passwords};
use crate::work;

/// How long a client waits for the store to be ready after a start, before it is told to come back.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// How old the knowledge of the disk's room may be.
pub const ROOM_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

const DAMAGED: &str = "the mail store is damaged; `gatepost mail check` says what is lost";

/// What the mail services share.
pub struct Ground {
    settings: store::Settings,
    cost: Cost,
    opened: RefCell<Option<Rc<Opened>>>,
    pub(super) connections: Rc<Connections>,
    pub(super) rates: Rc<RefCell<Rates>>,
}

impl Ground {
    /// Nothing is opened yet. `cost` is that of passwords.
    pub fn new(settings: store::Settings, cost: Cost) -> Self {
        let rates = Rates::new(Shares::default().wan_messages_a_minute);
        Self {
            settings,
            cost,
            opened: RefCell::default(),
            connections: Rc::default(),
            rates: Rc::new(RefCell::new(rates)),
        }
    }

    /// What is open, if it is.
    pub fn opened(&self) -> Option<Rc<Opened>> {
        self.opened.borrow().clone()
    }

    /// Opens what is not open yet.
    pub(super) async fn open<N: Net>(
        &self,
        service: &'static str,
        host: &Host<N>,
    ) -> Result<Rc<Opened>, Unprepared> {
        if let Some(opened) = self.opened() {
            return Ok(opened);
        }
        let unprepared = |why: String| {
            let remedy = "see that the state directory can be read and written".to_owned();
            Unprepared { service, why, remedy }
        };
        let mut rng = host.rng();
        let storage = Arc::clone(&host.storage);
        // The key's own randomness, so that a job can have it.
        let mut for_key = host.rng();
        let key = work::run(&*host.work, move || passwords::decoy_key(&*storage, &mut for_key)).await;
        let key = key.map_err(|error| unprepared(error.to_string()))?;
        let key = key.map_err(|error| unprepared(format!("it cannot keep a key: {error}")))?;
        let logins = Logins::new(
            Arc::clone(&host.storage),
            Rc::clone(&host.work),
            Rc::clone(&host.clock),
            (Limits::default(), self.cost),
            key,
            &mut rng,
        );
        let opened = MailStore::open(
            Arc::clone(&host.storage),
            Rc::clone(&host.work),
            Rc::clone(&host.clock),
            self.settings,
            rng,
        );
        let (store, report) =
            opened.await.map_err(|error| unprepared(format!("the mail store cannot be read: {error}")))?;
        if report.is_damaged() {
            error!("{DAMAGED}");
        }
        if report.newer.is_some() {
            error!("a newer version of this program has written to the mail store; no mail is taken");
        }
        let running = store.clone();
        let opened = Rc::new(Opened {
            store,
            logins,
            clock: Rc::clone(&host.clock),
            disk: host.disk.clone(),
            room: Cell::new(None),
            is_damaged: report.is_damaged(),
            runs: Task::spawn(async move { running.run().await }),
        });
        *self.opened.borrow_mut() = Some(Rc::clone(&opened));
        Ok(opened)
    }
}

/// The store and the logins.
pub struct Opened {
    /// Where messages are kept.
    pub store: MailStore,
    /// Who logs in.
    pub logins: Logins,
    clock: Rc<dyn Clock>,
    disk: Disk,
    /// The room on the disk, and when that was looked at.
    room: Cell<Option<(Instant, u64)>>,
    /// Whether mail was lost before the start.
    is_damaged: bool,
    runs: Task,
}

impl Opened {
    /// What is wrong with the store, for the administrator.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.runs.is_over() {
            return Some("the mail store has ended; see the log, and start the gateway again".to_owned());
        }
        let refused = self.store.trouble().map(|refused| format!("no mail is taken: {refused}"));
        refused.or_else(|| self.is_damaged.then(|| DAMAGED.to_owned()))
    }

    /// Waits until the store takes messages after a start. Whether it does within [`READY_WITHIN`].
    pub(super) async fn is_ready(&self) -> bool {
        timeout(READY_WITHIN, self.store.ready()).await.is_ok()
    }

    /// Whether the disk has room for `octets`. If it cannot be asked, the store will find out.
    pub(super) async fn has_room(&self, octets: u64) -> bool {
        let now = self.clock.now();
        let known = self.room.get().filter(|(at, _)| now.since(*at) < ROOM_LOOKED_AT_EVERY);
        let room = match known {
            Some((_, room)) => room,
            None => {
                let room = self.disk.space().await.unwrap_or(u64::MAX);
                self.room.set(Some((now, room)));
                room
            }
        };
        room >= octets
    }

    /// The mailbox of `user`, which is made if there is none, and given the user's quota.
    pub(super) async fn mailbox_of(&self, user: &User) -> Result<MailboxId, Refused> {
        let known = self.store.look(|state| {
            let state = state.mailbox_named(&user.name)?.state();
            Some((state.id, state.quota, state.folders.clone()))
        });
        match known {
            Some((id, quota, _)) if quota == user.quota => Ok(id),
            Some((id, _, folders)) => {
                let change = Change::SetMailbox { id, name: user.name.clone(), quota: user.quota, folders };
                if let Err(refused) = self.store.change(change).await {
                    warn!("the mailbox of {} keeps its former quota: {refused}", user.name);
                }
                Ok(id)
            }
            None => {
                let time = self.clock.unix_time().0;
                let change = Change::MakeMailbox { name: user.name.clone(), quota: user.quota, time };
                match self.store.change(change).await {
                    // Another connection was faster.
                    Err(Refused::NameTaken) => {
                        let made = self.store.look(|state| Some(state.mailbox_named(&user.name)?.state().id));
                        made.ok_or(Refused::Busy)
                    }
                    made => made?.mailbox.ok_or(Refused::Busy),
                }
            }
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
