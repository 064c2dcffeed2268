//! Drives the [`Transaction`]: reads and writes the file, has the gateway take configurations, keeps the deadline.
//!
//! One request after the other has its turn, and so has the deadline. A confirmation gives way to the deadline until the
//! rename begins that puts the new file in the place of the old one: a disk that hangs while the new file is written, or
//! the old one is compared, does not delay the roll back, and a job that comes back later finds its [`Gate`] closed.
//! While a deadline runs, no other request waits for the file's disk. A request waits [`TURN_WITHIN`] for its turn and
//! [`DISK_WITHIN`] for the disk, and is refused then.

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::clock::{Clock, sleep_until};
use gatepost_services::wait::first_of;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tracing::{error, info, warn};

use super::archive::Archive;
use super::draft::{Batch, Draft, Noted};
use super::history::{Entry, HISTORY_MAX};
use super::plan::{Plan, Request};
use super::report::{Applied, Diff, Edited, Versions, Window};
use super::state::{Transaction, too_late};
use super::{ConfigFile, Editor, Gate, PutError, Takes};
use crate::config::Config;
use crate::config::edit::Edit;
use crate::error::Error;

/// How long a request waits for its turn. With [`DISK_WITHIN`] it is less than a client waits for the answer.
pub const TURN_WITHIN: Duration = Duration::from_secs(4);

/// How long a request waits for the disk to read or to stage the file.
pub const DISK_WITHIN: Duration = Duration::from_secs(4);

/// The time between two changes of users' own settings.
pub const AMENDED_AGAIN: Duration = Duration::from_secs(5);

/// How long the gateway stays at the LAN's former address after a confirmation by page, for the answer to a browser that
/// has an address of the former network.
pub const STAYS_FOR: Duration = Duration::from_secs(10);

/// The time between two tries to read the stored history.
const RESTORED_AGAIN: Duration = Duration::from_secs(10);

/// The configuration of a running gateway as a transaction.
pub struct Keeper {
    state: RefCell<Transaction>,
    /// What is wrong with the stored history.
    problems: RefCell<Vec<String>>,
    /// Whether the stored history is read. Nothing is stored before.
    is_restored: Cell<bool>,
    /// Versions that are not stored yet, the oldest first; at most [`HISTORY_MAX`].
    unstored: RefCell<Vec<Entry>>,
    /// The turn of one request, or of the deadline.
    turn: Mutex<()>,
    /// When a user's own settings were changed last.
    amended: Cell<Option<Instant>>,
    /// A deadline has changed.
    changed: Notify,
    /// When the gateway leaves the state of a window that was confirmed.
    stays_until: Cell<Option<Instant>>,
    file: Box<dyn ConfigFile>,
    gateway: Box<dyn Takes>,
    clock: Rc<dyn Clock>,
    archive: Archive,
}

impl Keeper {
    /// The keeper of `file`, whose text is `text`, for `gateway`, in which `config` is in force. [`Keeper::run`] must
    /// run beside the requests.
    pub fn new(
        file: Box<dyn ConfigFile>,
        (text, config): (Option<String>, Config),
        gateway: Box<dyn Takes>,
        clock: Rc<dyn Clock>,
        archive: Archive,
    ) -> Self {
        Self {
            state: RefCell::new(Transaction::new(&file.name(), text, config)),
            problems: RefCell::default(),
            is_restored: Cell::new(false),
            unstored: RefCell::default(),
            turn: Mutex::default(),
            amended: Cell::default(),
            changed: Notify::new(),
            stays_until: Cell::default(),
            file,
            gateway,
            clock,
            archive,
        }
    }

    /// Reads the history, and keeps the deadlines. Never returns.
    pub async fn run(&self) {
        first_of(self.restore(), self.keep_deadlines()).await;
    }

    async fn restore(&self) {
        let (history, problems) = loop {
            match self.archive.read().await {
                Ok(read) => break read,
                // Without the stored versions nobody knows the number of the next one.
                Err(error) => {
                    let problem = format!("the history cannot be read: {error}; it is tried again");
                    let former = self.problems.replace(vec![problem.clone()]);
                    if former.first() != Some(&problem) {
                        warn!("{problem}");
                    }
                }
            }
            sleep_until(&*self.clock, Some(self.clock.now() + RESTORED_AGAIN)).await;
        };
        *self.problems.borrow_mut() = problems;
        let added = self.state.borrow_mut().restore(history, self.clock.unix_time());
        self.is_restored.set(true);
        self.store(added).await;
        std::future::pending::<()>().await;
    }

    async fn keep_deadlines(&self) {
        loop {
            let due = self.state.borrow().poll_timeout().into_iter().chain(self.stays_until.get()).min();
            first_of(self.changed.notified(), sleep_until(&*self.clock, due)).await;
            if self.state.borrow().due(self.clock.now()) {
                let _turn = self.turn.lock().await;
                if self.state.borrow().due(self.clock.now()) {
                    self.roll_back(None).await.unwrap_or_else(|problem| {
                        error!("the change that was not confirmed cannot be rolled back: {problem}; it is tried again");
                    });
                }
            }
            if self.stays_until.get().is_some_and(|until| until <= self.clock.now()) {
                let _turn = self.turn.lock().await;
                self.stays_until.take();
                // The end of another window takes what is confirmed, too.
                if self.window().is_none() {
                    self.leave_window().await.into_iter().for_each(|problem| warn!("{problem}"));
                }
            }
        }
    }

    /// Takes what is confirmed without what a window adds: short leases, and the LAN's former address. Returns what is
    /// wrong.
    async fn leave_window(&self) -> Option<String> {
        let config = self.state.borrow().config().clone();
        let error = self.gateway.take(config).await.err()?;
        let what = "DHCP leases stay short for now, and a former address of the LAN stays";
        Some(format!("{what}: {error}; `gatepost reload`"))
    }

    /// Takes the configuration again that was confirmed last.
    async fn roll_back(&self, by: Option<&Editor>) -> Result<(), Error> {
        let config = self.state.borrow().config().clone();
        match self.gateway.take(config).await {
            Ok(()) => {
                self.state.borrow_mut().ended(by);
                let by = by.map_or("as nobody has confirmed it", Editor::name);
                info!("the change that was not confirmed is rolled back ({by})");
                Ok(())
            }
            Err(problem) => {
                self.state.borrow_mut().not_ended(self.clock.now(), problem.to_string());
                self.changed.notify_one();
                Err(problem)
            }
        }
    }

    /// Sets `key` in the candidate to `value`: TOML, or else a text.
    ///
    /// # Errors
    ///
    /// What is wrong with the key or the value, or why it cannot be noted. The candidate is as before.
    pub async fn set(&self, by: &Editor, key: &str, value: &str) -> Result<Edited, Error> {
        let _turn = self.turn().await?;
        let file = self.read_outside_window("the change is not noted").await?;
        self.state.borrow_mut().set(by, file.as_deref(), key, value)
    }

    /// Removes `key`, so that it has its default.
    ///
    /// # Errors
    ///
    /// As [`Keeper::set`].
    pub async fn unset(&self, by: &Editor, key: &str) -> Result<Edited, Error> {
        let _turn = self.turn().await?;
        let file = self.read_outside_window("the change is not noted").await?;
        self.state.borrow_mut().unset(by, file.as_deref(), key)
    }

    /// Makes the edits of `batch` in the candidate, all or none.
    ///
    /// # Errors
    ///
    /// Why none is made. The candidate is as before.
    pub async fn note<E>(&self, by: &Editor, batch: Batch<'_, E>) -> Noted<E> {
        let _turn = self.turn().await?;
        let file = self.read_outside_window("the change is not noted").await?;
        self.state.borrow_mut().note(by, file.as_deref(), batch)
    }

    /// The settings that the candidate makes of the file; in a window those in force.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn draft(&self) -> Result<Draft, Error> {
        let file = if self.window().is_some() { None } else { self.read().await? };
        Ok(self.state.borrow().draft(file.as_deref()))
    }

    /// The number of edits that wait to be applied.
    pub fn pending(&self) -> usize {
        self.state.borrow().pending()
    }

    /// Empties the candidate.
    ///
    /// # Errors
    ///
    /// Others have changed it since the editor looked last, or a window is open.
    pub async fn discard(&self, by: &Editor) -> Result<Edited, Error> {
        let _turn = self.turn().await?;
        self.state.borrow_mut().discard(by)
    }

    /// The differences of the candidate, and the open window.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn diff(&self, by: &Editor) -> Result<Diff, Error> {
        let _turn = self.turn().await?;
        let file = if self.window().is_some() { None } else { self.read().await? };
        let check = |old: &Config, new: &Config| self.gateway.check(old, new);
        Ok(self.state.borrow_mut().diff(by, file.as_deref(), self.clock.now(), check))
    }

    /// Applies the candidate, for good or until it is confirmed.
    ///
    /// # Errors
    ///
    /// Why nothing has changed.
    pub async fn apply(&self, by: &Editor, request: Request) -> Result<Applied, Error> {
        let _turn = self.turn().await?;
        let file = self.read_outside_window("the change is not applied").await?;
        let plan = self.state.borrow_mut().plan(by, file.as_deref(), request)?;
        self.carry_out(plan).await
    }

    /// Applies `edits` for good, beside the candidate: a user's own settings. Each renews all services, so not more often
    /// than once in five seconds.
    ///
    /// # Errors
    ///
    /// Why nothing has changed.
    pub async fn amend(&self, by: &Editor, edits: &[Edit], why: &str) -> Result<Applied, Error> {
        let _turn = self.turn().await?;
        let now = self.clock.now();
        if self.amended.get().is_some_and(|last| now.since(last) < AMENDED_AGAIN) {
            let why = "somebody has changed something a moment ago";
            let remedy = format!("repeat it in {} s", AMENDED_AGAIN.as_secs());
            return Err(Error::failed("the change is not applied", why, remedy));
        }
        let file = self.read_outside_window("the change is not applied").await?;
        let plan = self.state.borrow().plan_beside(by, file.as_deref(), edits, why)?;
        self.amended.set(Some(now));
        self.carry_out(plan).await
    }

    /// Ends the open window; without one goes back to the version `number`, or to the one before the last. A window that
    /// ends while the request waits for its turn is rolled back, and nothing else.
    ///
    /// # Errors
    ///
    /// Why nothing has changed.
    pub async fn rollback(
        &self,
        by: &Editor,
        number: Option<u64>,
        request: Request,
    ) -> Result<Applied, Error> {
        let ends_window = number.is_none() && self.window().is_some();
        let _turn = self.turn().await?;
        if ends_window {
            if self.window().is_none() {
                let why = "the change was confirmed or rolled back meanwhile";
                return Err(Error::failed("nothing is rolled back", why, "see `gatepost history`"));
            }
            self.roll_back(Some(by)).await?;
            self.changed.notify_one();
            return Ok(self.told(Vec::new(), None, None, Vec::new()));
        }
        let file = self.read_outside_window("nothing is rolled back").await?;
        let plan = self.state.borrow_mut().plan_rollback(by, file.as_deref(), number, request)?;
        self.carry_out(plan).await
    }

    async fn carry_out(&self, plan: Plan) -> Result<Applied, Error> {
        let former = self.state.borrow().config().clone();
        self.gateway.check(&former, &plan.config)?;
        let (changes, warnings) = (plan.changes.clone(), plan.warnings.clone());
        if let Some(within) = plan.confirm {
            let config = self.state.borrow().config_in_window(&plan);
            self.gateway.take(config).await?;
            self.state.borrow_mut().opened(plan, self.clock.now());
            self.changed.notify_one();
            info!("a change is in force for {} s unless it is confirmed", within.as_secs());
            return Ok(self.told(changes, None, Some(within.as_secs()), warnings));
        }
        // A full disk is noticed here, before anything has changed.
        self.stage(&plan).await?;
        if let Err(error) = self.gateway.take(plan.config.clone()).await {
            self.file.forget().await;
            return Err(error);
        }
        let unsynced = match self.put(&plan, Gate::default()).await {
            Ok(unsynced) => unsynced,
            Err(error) => {
                if let Err(problem) = self.gateway.take(former).await {
                    self.state.borrow_mut().stuck(plan, self.clock.now(), problem.to_string());
                    self.changed.notify_one();
                }
                return Err(error);
            }
        };
        let added = self.state.borrow_mut().applied(plan, self.clock.unix_time());
        let number = added.last().map(|entry| entry.version.number);
        info!("version {} of the configuration is in force and in {}", number.unwrap_or(0), self.file.name());
        let warnings = warnings.into_iter().chain(unsynced).chain(self.store(added).await).collect();
        Ok(self.told(changes, number, None, warnings))
    }

    /// Makes the change final that waits for it.
    ///
    /// # Errors
    ///
    /// None waits, or it is too late, or the file cannot be written: the window is as before then.
    pub async fn confirm(&self, by: &Editor) -> Result<Applied, Error> {
        self.confirm_and_stay(by, Duration::ZERO).await
    }

    /// As [`Keeper::confirm`], but the gateway stays at the LAN's former address for the time `stay` after it.
    ///
    /// # Errors
    ///
    /// As [`Keeper::confirm`].
    pub async fn confirm_and_stay(&self, by: &Editor, stay: Duration) -> Result<Applied, Error> {
        let _turn = self.turn().await?;
        let (plan, deadline) = {
            let state = self.state.borrow();
            (state.to_confirm(self.clock.now())?.clone(), state.poll_timeout())
        };
        self.before(deadline, self.stage(&plan)).await.ok_or_else(too_late)??;
        // The disk may have answered, and this have its turn, only at the deadline.
        if self.state.borrow().due(self.clock.now()) {
            // The removal begins, and the roll back does not wait for its end.
            first_of(self.file.forget(), ready(())).await;
            return Err(too_late());
        }
        let gate = Gate::default();
        let mut put = pin!(self.put(&plan, gate.clone()));
        let unsynced = match self.before(deadline, put.as_mut()).await {
            Some(put) => put?,
            None if gate.close() => return Err(too_late()),
            // The rename has begun in time.
            None => put.await?,
        };
        let added = self.state.borrow_mut().confirmed(self.clock.unix_time());
        self.changed.notify_one();
        info!("the change is confirmed ({})", by.name());
        let number = added.last().map(|entry| entry.version.number);
        let mut warnings: Vec<_> = plan.warnings.iter().cloned().chain(unsynced).collect();
        if stay.is_zero() {
            warnings.extend(self.leave_window().await);
        } else {
            self.stays_until.set(Some(self.clock.now() + stay));
            self.changed.notify_one();
        }
        warnings.extend(self.store(added).await);
        Ok(self.told(plan.changes.clone(), number, None, warnings))
    }

    /// The versions, the latest first.
    pub fn history(&self) -> Versions {
        Versions { problems: self.problems.borrow().clone(), ..self.state.borrow().versions() }
    }

    /// The open window.
    pub fn window(&self) -> Option<Window> {
        self.state.borrow().window(self.clock.now())
    }

    /// Has the gateway take the file as it is. Returns its configuration and its warnings.
    ///
    /// # Errors
    ///
    /// Why nothing has changed: a window is open, or the file is wrong.
    pub async fn reload(&self, by: &Editor) -> Result<(Config, Vec<String>), Error> {
        let _turn = self.turn().await?;
        let Some(text) = self.read_outside_window("the file is not taken").await? else {
            let why = "it runs on the built-in configuration";
            let remedy = format!("write {}, or begin with `gatepost set KEY VALUE`", self.file.name());
            return Err(Error::failed("there is nothing to reload", why, remedy));
        };
        let (config, warnings) =
            Config::parse_with_warnings(&self.file.name(), &text).map_err(Error::mistakes)?;
        self.gateway.take(config.clone()).await?;
        let added = self.state.borrow_mut().reloaded(by, &text, config.clone(), self.clock.unix_time());
        let mut warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        warnings.extend(self.store(added).await);
        Ok((config, warnings))
    }

    /// The name of the file.
    pub fn file_name(&self) -> String {
        self.file.name()
    }

    /// The turn of a request.
    async fn turn(&self) -> Result<MutexGuard<'_, ()>, Error> {
        let due = self.clock.now() + TURN_WITHIN;
        self.before(Some(due), self.turn.lock()).await.ok_or_else(|| {
            let why = "another request has not ended yet; its disk or a service does not answer";
            Error::failed("nothing has changed", why, "look at the disk of the configuration, and repeat it")
        })
    }

    /// What `work` returns, if it does before `due`.
    async fn before<T>(&self, due: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
        let late = async {
            sleep_until(&*self.clock, due).await;
            None
        };
        first_of(async { Some(work.await) }, late).await
    }

    /// What the file's disk answers, or that it does not.
    async fn of_disk<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let due = self.clock.now() + DISK_WITHIN;
        self.before(Some(due), work).await.unwrap_or_else(|| {
            let why = format!("its disk does not answer within {} s", DISK_WITHIN.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        })
    }

    /// Reads the file, but does not wait for its disk while a change waits for its confirmation: `what` is refused then.
    async fn read_outside_window(&self, what: &str) -> Result<Option<String>, Error> {
        self.state.borrow().refuse_in_window(what)?;
        self.read().await
    }

    async fn read(&self) -> Result<Option<String>, Error> {
        let name = self.file.name();
        self.of_disk(self.file.read()).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::ResourceBusy => Error::failed(
                "nothing has changed",
                format!("{name}: {error}"),
                "look at the disk, and repeat it",
            ),
            _ => {
                Error::usage(format!("{name}: {error}; give a configuration that can be read, as UTF-8 text"))
            }
        })
    }

    async fn stage(&self, plan: &Plan) -> Result<(), Error> {
        self.of_disk(self.file.stage(plan.text.clone())).await.map_err(|error| self.unwritten(&error))
    }

    /// Puts what is staged in the place of the file. Returns a warning if that is not durable yet.
    async fn put(&self, plan: &Plan, gate: Gate) -> Result<Option<String>, Error> {
        let what = || format!("{} is as it was", self.file.name());
        let why = "it was edited by hand in the meantime";
        match self.file.put(plan.base.clone(), gate).await {
            Ok(unsynced) => Ok(unsynced.map(|error| {
                let name = self.file.name();
                let warning =
                    format!("{name} is new, but may be lost at a power cut: {error}; look at its disk");
                warn!("{warning}");
                warning
            })),
            Err(PutError::Edited) if plan.confirm.is_some() => {
                Err(Error::failed(what(), why, "`gatepost rollback`, see `gatepost diff`, and apply again"))
            }
            Err(PutError::Edited) => Err(Error::failed(what(), why, "see `gatepost diff`, and apply again")),
            Err(PutError::Late) => Err(too_late()),
            Err(PutError::Io(error)) => Err(self.unwritten(&error)),
        }
    }

    fn unwritten(&self, error: &io::Error) -> Error {
        let what = format!("{} is as it was", self.file.name());
        let remedy = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::ResourceBusy => "look at the disk, and repeat it",
            io::ErrorKind::PermissionDenied => "allow it, and repeat it",
            _ => "make room there, or allow it, and repeat it",
        };
        Error::failed(what, format_args!("the new one cannot be written: {error}"), remedy)
    }

    /// Stores versions. Returns what is wrong.
    async fn store(&self, added: Vec<Entry>) -> Option<String> {
        if !self.is_restored.get() {
            // They are in the history, and stored with it.
            return None;
        }
        {
            let mut unstored = self.unstored.borrow_mut();
            unstored.extend(added);
            let excess = unstored.len().saturating_sub(HISTORY_MAX);
            unstored.drain(..excess);
        }
        loop {
            let entry = self.unstored.borrow().first().cloned()?;
            if let Err(error) = self.archive.store(&entry).await {
                let problem = format!(
                    "the history cannot be stored now: {error}; it is tried again with the next change"
                );
                warn!("{problem}");
                return Some(problem);
            }
            self.unstored.borrow_mut().retain(|other| other.version.number != entry.version.number);
        }
    }

    fn told(
        &self,
        changes: Vec<crate::config::change::Change>,
        version: Option<u64>,
        confirm_within_secs: Option<u64>,
        warnings: Vec<String>,
    ) -> Applied {
        Applied { file: self.file.name(), version, changes, confirm_within_secs, warnings }
    }
}
