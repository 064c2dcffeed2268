//! All accounts that are polled, over all configurations.
//!
//! Each account has a task that polls it when it is due, or on request. The state of an account (when it is due, its
//! last failure, its failed messages) survives a reload, and so does its lock: there are never two connections to one
//! account that do not know of each other's messages.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::{Mutex, Notify, Semaphore, oneshot};
use tracing::{debug, info, warn};

use super::account::Setbacks;
use super::collect::{Collected, PollError, PollParameters, collect};
use super::connect::{NoConnection, connect, environment};
use super::office::Office;
use super::schedule::{Outcome, Schedule};
use super::service::Settings;
use super::settings::{Account, Receives};
use super::stats::Stats;
use crate::addresses::Subscription;
use crate::clock::{Clock, sleep_until};
use crate::dns::resolver::Resolver;
use crate::mail::judge::Judges;
use crate::mail::pop3::client::FailureKind;
use crate::mail::sasl::client::Credentials;
use crate::mail::service::directory::Directory;
use crate::mail::service::remote::Remote;
use crate::mail::service::state::MailState;
use crate::net::Net;
use crate::tls::Tls;
use crate::wait::first_of;
use crate::watch;
use crate::work::Work;

/// Accounts that are connected to at a time; the others wait.
pub const CONNECTIONS_MAX: usize = 8;
/// The time after which a connection fetches no further message: it is closed with QUIT, so that the fetched messages
/// are deleted, and the next connection continues.
pub const ENOUGH_AFTER: Duration = Duration::from_secs(60 * 60);
/// The most pending requests to poll one account.
pub const ASKED_MAX: usize = 16;
/// The timeout of a request to poll all accounts.
pub const ASKED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// All accounts that are polled, over all configurations.
pub struct Polls<N: Net> {
    active: RefCell<Option<Rc<Active<N>>>>,
    /// By [`Account::key`].
    known: RefCell<BTreeMap<String, Rc<Known>>>,
    places: Rc<Semaphore>,
    stats: Rc<RefCell<Stats>>,
}

/// The state of an account over all configurations.
struct Known {
    /// The failed messages. Locked during a connection.
    turn: Mutex<Setbacks>,
    is_connected: Cell<bool>,
    account: RefCell<Account>,
    schedule: RefCell<Schedule>,
    asked: RefCell<Vec<Asked>>,
    woken: Notify,
    fetched: Cell<u64>,
    deleted: Cell<u64>,
    /// Messages that stay there: too long, to be tried again, and without a name.
    left: Cell<(usize, usize, usize)>,
}

struct Asked {
    is_dry: bool,
    answer: oneshot::Sender<Looked>,
}

/// The outcome of a poll of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The account.
    pub account: String,
    /// Why it was not fetched to its end.
    pub error: Option<String>,
    /// The result, or its preview.
    pub collected: Collected,
}

/// The status of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// The account.
    pub account: String,
    /// Its server, with the port.
    pub server: String,
    /// The user who receives the mail; `None` if it is distributed.
    pub user: Option<String>,
    /// Whether it is connected to now.
    pub is_connected: bool,
    /// The next poll and the last outcomes.
    pub schedule: Schedule,
    /// Messages that were fetched since the gateway began.
    pub fetched: u64,
    /// Messages that were deleted there.
    pub deleted: u64,
    /// Messages that stay there, as they are too long.
    pub too_long: usize,
    /// Failed messages that are tried again.
    pub set_back: usize,
    /// Messages that stay there, as they have no names of their own.
    pub nameless: usize,
}

/// The state of one configuration.
pub(super) struct Active<N: Net> {
    pub settings: Settings,
    pub net: N,
    pub clock: Rc<dyn Clock>,
    pub work: Rc<dyn Work>,
    pub resolver: Resolver,
    pub tls: Option<Rc<Tls>>,
    pub state: Rc<MailState>,
    pub remote: Rc<dyn Remote>,
    pub addresses: Subscription,
    pub rng: RefCell<StdRng>,
    pub office: OnceCell<Office>,
    /// Whether no new poll may begin.
    pub is_ending: watch::Sender<bool>,
    /// Polls in progress.
    pub under_way: watch::Sender<usize>,
}

impl<N: Net> Active<N> {
    fn draw(&self) -> u32 {
        self.rng.borrow_mut().random_range(0..1000)
    }

    async fn ending(&self) {
        self.is_ending.subscribe().raised().await;
    }

    /// The office, once its store accepts messages; `None` if it does not.
    async fn office(&self, stats: &Rc<RefCell<Stats>>) -> Option<&Office> {
        let opened = self.state.ready().await?;
        let mail = &self.settings.mail;
        Some(self.office.get_or_init(|| Office {
            opened,
            directory: Directory::new(&mail.users, &mail.domains, &mail.aliases),
            hostname: mail.hostname.clone(),
            domain: mail.domain.clone(),
            message_octets_max: mail.message_octets_max,
            disk_reserve: mail.disk_reserve,
            rules: mail.rules.clone(),
            judges: Judges::new(mail.judges.clone(), self.net.clone(), self.resolver.clone()),
            stats: Rc::clone(stats),
            remote: Rc::clone(&self.remote),
            clock: Rc::clone(&self.clock),
            events: self.state.events().clone(),
        }))
    }
}

impl<N: Net> Polls<N> {
    /// No accounts yet.
    pub fn new() -> Self {
        Self {
            active: RefCell::default(),
            known: RefCell::default(),
            places: Rc::new(Semaphore::new(CONNECTIONS_MAX)),
            stats: Rc::default(),
        }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.stats.borrow().clone()
    }

    fn count(&self, count: impl FnOnce(&mut Stats)) {
        count(&mut self.stats.borrow_mut());
    }

    /// The status of each account, in the order of the configuration.
    pub fn standings(&self) -> Vec<AccountStatus> {
        let Some(active) = self.active.borrow().clone() else { return Vec::new() };
        let known = self.known.borrow();
        let of_accounts = active.settings.accounts.iter();
        of_accounts.filter_map(|account| Some(known.get(&account.key())?.standing())).collect()
    }

    /// Polls all accounts now, and returns the outcomes that come within [`ASKED_WITHIN`]. `is_dry`: nothing is
    /// fetched.
    pub async fn look_at_all(&self, is_dry: bool) -> Vec<Looked> {
        let Some(active) = self.active.borrow().clone() else { return Vec::new() };
        let until = active.clock.now() + ASKED_WITHIN;
        let asked = active.settings.accounts.iter().map(|account| {
            let known = self.known.borrow().get(&account.key()).cloned();
            (account.key(), known.and_then(|known| known.ask(is_dry)))
        });
        // All are requested before the first is awaited.
        let asked: Vec<_> = asked.collect();
        let mut looked = Vec::new();
        for (account, answer) in asked {
            let failed = |why: &str| {
                let error = Some(why.to_owned());
                Looked { account: account.clone(), error, collected: Collected::default() }
            };
            let Some(answer) = answer else {
                looked.push(failed("too many wait for it; ask again"));
                continue;
            };
            let answered = async { answer.await.unwrap_or_else(|_| failed("the configuration has changed")) };
            let too_late = async {
                sleep_until(&*active.clock, Some(until)).await;
                failed("it takes long and goes on; `gatepost show mail` shows its progress")
            };
            looked.push(first_of(answered, too_late).await);
        }
        looked
    }

    /// Polls with `active` from now on; `None` stops polling.
    pub(super) fn set(&self, active: Option<&Rc<Active<N>>>) {
        *self.active.borrow_mut() = active.cloned();
        let mut before = std::mem::take(&mut *self.known.borrow_mut());
        let Some(active) = active else { return };
        let now = active.clock.now();
        for account in &active.settings.accounts {
            let key = account.key();
            let known = match before.remove(&key) {
                Some(known) => {
                    if known.account.replace(account.clone()) != *account {
                        known.schedule.borrow_mut().hasten(now, active.draw());
                    }
                    known
                }
                None => Rc::new(Known::new(account, now, active.draw())),
            };
            self.known.borrow_mut().insert(key, known);
        }
    }

    /// The tasks that poll the accounts of `active`, one each.
    pub(super) fn tasks(self: &Rc<Self>, active: &Rc<Active<N>>) -> Vec<impl Future<Output = ()> + 'static> {
        let known = self.known.borrow();
        let tasks = active.settings.accounts.iter().filter_map(|account| {
            let known = Rc::clone(known.get(&account.key())?);
            Some(Rc::clone(self).poll(Rc::clone(active), account.clone(), known))
        });
        tasks.collect()
    }

    fn is_in_force(&self, active: &Rc<Active<N>>) -> bool {
        let is_it = self.active.borrow().as_ref().is_some_and(|now| Rc::ptr_eq(now, active));
        is_it && !*active.is_ending.borrow()
    }

    /// Polls one account until `active` ends, or another is in force.
    async fn poll(self: Rc<Self>, active: Rc<Active<N>>, account: Account, known: Rc<Known>) {
        let mut addresses = active.addresses.clone();
        while self.is_in_force(&active) {
            if !known.is_due(active.clock.now()) {
                let (due, waits_for_connectivity) = known.when();
                let has_way = async {
                    // This ends when the publisher is gone.
                    if !waits_for_connectivity || addresses.changed().await.is_err() {
                        pending::<()>().await;
                    }
                    known.schedule.borrow_mut().hasten(active.clock.now(), 0);
                };
                let due = sleep_until(&*active.clock, Some(due));
                first_of(active.ending(), first_of(known.woken.notified(), first_of(due, has_way))).await;
                continue;
            }
            // A later change may be connectivity that the poll does not know of.
            addresses.mark_unchanged();
            // Later requests are for the next poll.
            let asked = std::mem::take(&mut *known.asked.borrow_mut());
            let (dry, wet): (Vec<_>, Vec<_>) = asked.into_iter().partition(|asked| asked.is_dry);
            for (asked, is_dry) in [(dry, true), (wet, false)] {
                let is_due = !is_dry && known.when().0 <= active.clock.now();
                if asked.is_empty() && !is_due {
                    continue;
                }
                let Some(looked) = self.look(&active, &account, &known, is_dry).await else { return };
                for asked in asked {
                    // The requester may be gone.
                    _ = asked.answer.send(looked.clone());
                }
            }
        }
    }

    /// Polls an account once; `None` if `active` has ended before.
    async fn look(
        &self,
        active: &Rc<Active<N>>,
        account: &Account,
        known: &Known,
        is_dry: bool,
    ) -> Option<Looked> {
        let ended = async {
            active.ending().await;
            None
        };
        let turn = async {
            let turn = known.turn.lock().await;
            // It is never closed.
            Some((turn, self.places.acquire().await.ok()?))
        };
        let (mut setbacks, _place) = first_of(ended, turn).await?;
        let under_way = UnderWay::begin(active, known);
        let (outcome, collected) = self.visit(active, account, &mut setbacks, is_dry).await;
        drop(under_way);
        let error = match &outcome {
            Outcome::Fetched { .. } => None,
            Outcome::Later(why) | Outcome::Failed(why) => Some(why.clone()),
            Outcome::Unreachable => Some("there is no way to its server now".to_owned()),
        };
        if !is_dry {
            self.take_note(active, account, known, (&outcome, &collected));
        }
        Some(Looked { account: account.key(), error, collected })
    }

    /// Records and logs the outcome of a poll.
    fn take_note(
        &self,
        active: &Active<N>,
        account: &Account,
        known: &Known,
        (outcome, collected): (&Outcome, &Collected),
    ) {
        let (key, mut schedule) = (account.key(), known.schedule.borrow_mut());
        let before = schedule.trouble().map(str::to_owned);
        schedule.looked(active.clock.now(), account.every, outcome, active.draw());
        let wait = schedule.due.since(active.clock.now()).as_secs();
        match (&before, schedule.trouble()) {
            (Some(_), None) => info!("mail of {key} is fetched again"),
            (before, Some(why)) if before.as_deref() != Some(why) => {
                warn!("mail of {key} is not fetched: {why}; it is tried again in {wait} s");
            }
            (_, why) => debug!("{key}: {} fetched, {why:?}, again in {wait} s", collected.fetched),
        }
        known.fetched.set(known.fetched.get() + collected.fetched);
        known.deleted.set(known.deleted.get() + collected.deleted);
        if *outcome != Outcome::Unreachable {
            let set_back = usize::try_from(collected.failed).unwrap_or(usize::MAX);
            let set_back = collected.waiting.saturating_add(set_back);
            known.left.set((collected.too_long, set_back, collected.nameless));
        }
        self.count(|stats| {
            stats.fetched += collected.fetched;
            stats.deleted += collected.deleted;
            stats.set_back += collected.failed;
            stats.failures += u64::from(matches!(outcome, Outcome::Later(_) | Outcome::Failed(_)));
        });
    }

    /// Connects to the account's server, and fetches new messages.
    async fn visit(
        &self,
        active: &Active<N>,
        account: &Account,
        setbacks: &mut Setbacks,
        is_dry: bool,
    ) -> (Outcome, Collected) {
        let nothing = |outcome| (outcome, Collected::default());
        let Some(office) = active.office(&self.stats).await else {
            return nothing(Outcome::Later("the mail store takes no mail now".to_owned()));
        };
        let password = match account.password.read(&*active.work).await {
            Ok(password) => password,
            Err(why) => return nothing(Outcome::Failed(why)),
        };
        let environment = environment(active, account);
        let stream = match connect(active, account, &environment).await {
            Ok(stream) => stream,
            Err(NoConnection::Unreachable) => return nothing(Outcome::Unreachable),
            Err(NoConnection::Failed(why)) => return nothing(Outcome::Failed(why)),
        };
        self.count(|stats| stats.connections += 1);
        let nonce = active.rng.borrow_mut().random();
        let login = Credentials { user: account.username.clone(), password, nonce };
        let enough = active.clock.now() + ENOUGH_AFTER;
        let has_to_end = || *active.is_ending.borrow() || active.clock.now() >= enough;
        let visit = PollParameters { login, is_dry, has_to_end: &has_to_end };
        let collected = collect(&environment, stream, account, office, setbacks, visit).await;
        let outcome = match &collected.trouble {
            None => Outcome::Fetched { is_more: collected.is_more },
            Some(trouble @ PollError::Store(_)) => Outcome::Later(trouble.to_string()),
            Some(trouble @ PollError::Server(failure)) if failure.kind == FailureKind::Busy => {
                Outcome::Later(trouble.to_string())
            }
            Some(trouble) => Outcome::Failed(trouble.to_string()),
        };
        (outcome, collected)
    }
}

impl<N: Net> Default for Polls<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A poll in progress, until this is dropped.
struct UnderWay<'a, N: Net> {
    active: &'a Active<N>,
    known: &'a Known,
}

impl<'a, N: Net> UnderWay<'a, N> {
    fn begin(active: &'a Active<N>, known: &'a Known) -> Self {
        active.under_way.send_modify(|count| *count += 1);
        known.is_connected.set(true);
        Self { active, known }
    }
}

impl<N: Net> Drop for UnderWay<'_, N> {
    fn drop(&mut self) {
        self.known.is_connected.set(false);
        self.active.under_way.send_modify(|count| *count -= 1);
    }
}

impl Known {
    fn new(account: &Account, now: Instant, dice: u32) -> Self {
        Self {
            turn: Mutex::default(),
            is_connected: Cell::new(false),
            account: RefCell::new(account.clone()),
            schedule: RefCell::new(Schedule::new(now, dice)),
            asked: RefCell::default(),
            woken: Notify::new(),
            fetched: Cell::new(0),
            deleted: Cell::new(0),
            left: Cell::new((0, 0, 0)),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.asked.borrow().is_empty() || self.schedule.borrow().due <= now
    }

    /// When it is polled next, and whether that waits for connectivity.
    fn when(&self) -> (Instant, bool) {
        let schedule = self.schedule.borrow();
        (schedule.due, schedule.waits_for_connectivity)
    }

    /// Requests a poll; `None` if too many requests are pending.
    fn ask(&self, is_dry: bool) -> Option<oneshot::Receiver<Looked>> {
        let mut asked = self.asked.borrow_mut();
        if asked.len() >= ASKED_MAX {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        asked.push(Asked { is_dry, answer });
        self.woken.notify_waiters();
        Some(answered)
    }

    fn standing(&self) -> AccountStatus {
        let account = self.account.borrow();
        let (too_long, set_back, nameless) = self.left.get();
        AccountStatus {
            account: account.key(),
            server: format!("{}:{}", account.server, account.port),
            user: match &account.receives {
                Receives::Person(user) => Some(user.clone()),
                Receives::Everybody { .. } => None,
            },
            is_connected: self.is_connected.get(),
            schedule: self.schedule.borrow().clone(),
            fetched: self.fetched.get(),
            deleted: self.deleted.get(),
            too_long,
            set_back,
            nameless,
        }
    }
}
