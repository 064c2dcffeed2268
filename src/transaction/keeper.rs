//! Drives the [`Transaction`]: reads and writes the file, has the gateway take configurations, keeps the deadline.
//!
//! One request after the other has its turn, and so has the deadline. A confirmation that is written when the deadline
//! comes gives way to it: until the new file is put in the place of the old one, the change is not confirmed. While a
//! deadline runs, no other request waits for the file's disk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gatepost_services::clock::{Clock, sleep_until};
use gatepost_services::wait::first_of;
use tokio::sync::{Mutex, Notify};
use tracing::{error, info, warn};

use super::archive::Archive;
use super::history::{Entry, History};
use super::plan::{Plan, Request};
use super::report::{Applied, Diff, Edited, Versions, Window};
use super::state::{Transaction, too_late};
use super::{ConfigFile, Editor, PutError, Takes};
use crate::config::Config;
use crate::error::Error;

/// The configuration of a running gateway as a transaction.
pub struct Keeper {
    state: RefCell<Transaction>,
    /// What is wrong with the stored history.
    problems: RefCell<Vec<String>>,
    /// Whether the stored history is read. Nothing is stored before.
    is_restored: Cell<bool>,
    /// Versions that are not stored yet, the oldest first.
    unstored: RefCell<Vec<Entry>>,
    /// The turn of one request, or of the deadline.
    turn: Mutex<()>,
    /// The deadline has changed.
    changed: Notify,
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
            changed: Notify::new(),
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
        let (history, problems) = self.archive.read().await.unwrap_or_else(|error| {
            warn!("the history of the configuration cannot be read: {error}");
            (History::default(), vec![format!("the history cannot be read: {error}")])
        });
        *self.problems.borrow_mut() = problems;
        let added = self.state.borrow_mut().restore(history, self.clock.unix_time());
        self.unstored.borrow_mut().clear();
        self.is_restored.set(true);
        self.store(added).await;
        std::future::pending::<()>().await;
    }

    async fn keep_deadlines(&self) {
        loop {
            let due = self.state.borrow().poll_timeout();
            first_of(self.changed.notified(), sleep_until(&*self.clock, due)).await;
            if self.state.borrow().due(self.clock.now()) {
                let _turn = self.turn.lock().await;
                if self.state.borrow().due(self.clock.now()) {
                    self.roll_back(None).await.unwrap_or_else(|problem| {
                        error!("the change that was not confirmed cannot be rolled back: {problem}; it is tried again");
                    });
                }
            }
        }
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
        let _turn = self.turn.lock().await;
        self.state.borrow().refuse_in_window("the change is not noted")?;
        let file = self.read().await?;
        self.state.borrow_mut().set(by, file.as_deref(), key, value)
    }

    /// Removes `key`, so that it has its default.
    ///
    /// # Errors
    ///
    /// As [`Keeper::set`].
    pub async fn unset(&self, by: &Editor, key: &str) -> Result<Edited, Error> {
        let _turn = self.turn.lock().await;
        self.state.borrow().refuse_in_window("the change is not noted")?;
        let file = self.read().await?;
        self.state.borrow_mut().unset(by, file.as_deref(), key)
    }

    /// Empties the candidate.
    ///
    /// # Errors
    ///
    /// Others have changed it since the editor looked last, or a window is open.
    pub async fn discard(&self, by: &Editor) -> Result<Edited, Error> {
        let _turn = self.turn.lock().await;
        self.state.borrow_mut().discard(by)
    }

    /// The differences of the candidate, and the open window.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn diff(&self, by: &Editor) -> Result<Diff, Error> {
        let _turn = self.turn.lock().await;
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
        let _turn = self.turn.lock().await;
        self.state.borrow().refuse_in_window("the change is not applied")?;
        let file = self.read().await?;
        let plan = self.state.borrow_mut().plan(by, file.as_deref(), request)?;
        self.carry_out(plan).await
    }

    /// Ends the open window; without one goes back to the version `number`, or to the one before the last.
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
        let _turn = self.turn.lock().await;
        let window = self.window();
        if let (Some(_), None) = (window, number) {
            self.roll_back(Some(by)).await?;
            self.changed.notify_one();
            return Ok(self.told(Vec::new(), None, None, Vec::new()));
        }
        self.state.borrow().refuse_in_window("nothing is rolled back")?;
        let file = self.read().await?;
        let plan = self.state.borrow_mut().plan_rollback(by, file.as_deref(), number, request)?;
        self.carry_out(plan).await
    }

    async fn carry_out(&self, plan: Plan) -> Result<Applied, Error> {
        let former = self.state.borrow().config().clone();
        self.gateway.check(&former, plan.config())?;
        let (changes, warnings) = (plan.changes().to_vec(), plan.warnings().to_vec());
        if let Some(within) = plan.confirm() {
            let config = self.state.borrow().config_in_window(&plan);
            self.gateway.take(config).await?;
            self.state.borrow_mut().opened(plan, self.clock.now());
            self.changed.notify_one();
            info!("a change is in force for {} s unless it is confirmed", within.as_secs());
            return Ok(self.told(changes, None, Some(within.as_secs()), warnings));
        }
        // A full disk is noticed here, before anything has changed.
        self.file.stage(plan.text().to_owned()).await.map_err(|error| self.unwritten(&error))?;
        if let Err(error) = self.gateway.take(plan.config().clone()).await {
            self.file.forget().await;
            return Err(error);
        }
        if let Err(error) = self.put(&plan).await {
            if let Err(problem) = self.gateway.take(former).await {
                self.state.borrow_mut().stuck(plan, self.clock.now(), problem.to_string());
                self.changed.notify_one();
            }
            return Err(error);
        }
        let added = self.state.borrow_mut().applied(plan, self.clock.unix_time());
        let number = added.last().map(|entry| entry.number);
        info!("version {} of the configuration is in force and in {}", number.unwrap_or(0), self.file.name());
        let warnings = warnings.into_iter().chain(self.store(added).await).collect();
        Ok(self.told(changes, number, None, warnings))
    }

    /// Makes the change final that waits for it.
    ///
    /// # Errors
    ///
    /// None waits, or it is too late, or the file cannot be written: the window is as before then.
    pub async fn confirm(&self, by: &Editor) -> Result<Applied, Error> {
        let _turn = self.turn.lock().await;
        let (plan, deadline, has_former) = {
            let state = self.state.borrow();
            let plan = state.to_confirm(self.clock.now())?.clone();
            let has_former = state.config_in_window(&plan).lan.former_address.is_some();
            (plan, state.poll_timeout(), has_former)
        };
        let staged = async { Some(self.file.stage(plan.text().to_owned()).await) };
        let late = async {
            sleep_until(&*self.clock, deadline).await;
            None
        };
        match first_of(staged, late).await {
            Some(staged) => staged.map_err(|error| self.unwritten(&error))?,
            None => return Err(too_late()),
        }
        self.put(&plan).await?;
        let added = self.state.borrow_mut().confirmed(self.clock.unix_time());
        self.changed.notify_one();
        info!("the change is confirmed ({})", by.name());
        let number = added.last().map(|entry| entry.number);
        let mut warnings = plan.warnings().to_vec();
        // In the window the gateway had the former address of the LAN, too.
        if has_former && let Err(error) = self.gateway.take(plan.config().clone()).await {
            warnings.push(format!("the LAN's former address stays for now: {error}; `gatepost reload`"));
        }
        warnings.extend(self.store(added).await);
        Ok(self.told(plan.changes().to_vec(), number, None, warnings))
    }

    /// The versions, the latest first.
    pub fn history(&self) -> Versions {
        Versions { problems: self.problems.borrow().clone(), ..self.state.borrow().versions() }
    }

    /// The version of this number, with its text.
    pub fn version(&self, number: u64) -> Option<Entry> {
        self.state.borrow().history().get(number).cloned()
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
        let _turn = self.turn.lock().await;
        self.state.borrow().refuse_in_window("the file is not taken")?;
        let Some(text) = self.read().await? else {
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

    async fn read(&self) -> Result<Option<String>, Error> {
        self.file.read().await.map_err(|error| {
            let remedy = "give a configuration that can be read, as UTF-8 text";
            Error::usage(format!("{}: {error}; {remedy}", self.file.name()))
        })
    }

    async fn put(&self, plan: &Plan) -> Result<(), Error> {
        self.file.put(plan.base().map(str::to_owned)).await.map_err(|error| match error {
            PutError::Edited => Error::failed(
                format!("{} is as it was", self.file.name()),
                "it was edited by hand in the meantime",
                "see `gatepost diff`, and apply again",
            ),
            PutError::Io(error) => self.unwritten(&error),
        })
    }

    fn unwritten(&self, error: &std::io::Error) -> Error {
        let what = format!("{} is as it was", self.file.name());
        Error::failed(
            what,
            format_args!("the new one cannot be written: {error}"),
            "make room there, or allow it, and repeat it",
        )
    }

    /// Stores versions. Returns what is wrong.
    async fn store(&self, added: Vec<Entry>) -> Option<String> {
        self.unstored.borrow_mut().extend(added);
        while self.is_restored.get() {
            let entry = self.unstored.borrow().first().cloned()?;
            if let Err(error) = self.archive.store(&entry).await {
                let problem = format!(
                    "the history cannot be stored now: {error}; it is tried again with the next change"
                );
                warn!("{problem}");
                return Some(problem);
            }
            self.unstored.borrow_mut().retain(|other| other.number != entry.number);
        }
        None
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
