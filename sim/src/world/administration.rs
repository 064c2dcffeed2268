//! The administrator's desk: changes of the gateway's file by the product's own transaction.
//!
//! The file is on a disk of its own, which is replaced at one instant; what is staged beside it, and the history, are
//! on the gateway's disk, with its moods and its power cuts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use gatepost::admin::AdminPages;
use gatepost::config::Config;
use gatepost::error::Error;
use gatepost::gateway::reload::Reloader;
use gatepost::transaction::{Archive, ConfigFile, Editor, Gate, Keeper, PutError, Request, STAYS_FOR, Takes};
use gatepost_services::clock::Clock;
use gatepost_services::service::LocalFuture;
use gatepost_services::store::Disk;
use gatepost_services::wait::first_of;
use tokio::sync::Notify;
use toml::{Table, Value};

use super::clock::now;
use super::observer::Shared;
use crate::checkers::Step;

/// The file's name.
const NAME: &str = "gatepost.toml";
/// Where a new text waits until it takes the file's place.
const STAGED: &str = "gatepost.toml.new";

/// A request of the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Apply these edits: for good, or unless they are confirmed within a time.
    Change(Vec<Edit>, Option<Duration>),
    /// Confirm the change that waits for it.
    Confirm,
    /// Undo it.
    Undo,
}

/// A setting by its key, with its new value in TOML; `None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The key, with dots.
    pub key: &'static str,
    /// The value.
    pub value: Option<String>,
}

/// What has become of the last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The gateway has booted since.
    #[default]
    Forgotten,
    /// It is being worked on.
    Pending,
    /// Nothing has changed.
    Refused,
    /// The change waits for its confirmation.
    Waits,
    /// The request is done.
    Done,
}

/// The file, and the requests that wait.
#[derive(Default)]
pub struct Desk {
    text: RefCell<String>,
    wishes: RefCell<VecDeque<Wish>>,
    is_changed: Notify,
    outcome: Cell<Outcome>,
    /// Whether a request is being worked on.
    is_busy: Cell<bool>,
    /// Whether a page's change is in its window.
    has_window_of_page: Cell<bool>,
}

impl Desk {
    /// The file says `text`, which is valid.
    pub(crate) fn write(&self, text: String) {
        self.text.replace(text);
    }

    /// Reads the file at a boot, which drops pending requests.
    ///
    /// # Errors
    ///
    /// The gateway has written a file that is not valid.
    pub(crate) fn boot(&self) -> Result<Config, Error> {
        self.wishes.borrow_mut().clear();
        self.outcome.set(Outcome::Forgotten);
        self.is_busy.set(false);
        self.has_window_of_page.set(false);
        Config::parse(NAME, &self.text.borrow()).map_err(Error::mistakes)
    }

    /// Makes a request.
    pub(crate) fn wish(&self, wish: Wish) {
        self.outcome.set(Outcome::Pending);
        self.wishes.borrow_mut().push_back(wish);
        self.is_changed.notify_one();
    }

    /// What has become of the last request.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.get()
    }

    /// The configuration of the file with these edits.
    fn edited(&self, edits: &[Edit]) -> Option<Config> {
        let mut table = self.text.borrow().parse::<Table>().ok()?;
        for Edit { key, value } in edits {
            let (section, key) = key.split_once('.')?;
            let section =
                table.entry(section).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
            match value {
                Some(value) => {
                    let mut parsed = format!("value = {value}").parse::<Table>().ok()?;
                    section.insert(key.to_owned(), parsed.remove("value")?);
                }
                None => _ = section.remove(key),
            }
        }
        Config::parse(NAME, &table.to_string()).ok()
    }

    async fn next(&self) -> Wish {
        self.is_busy.set(false);
        loop {
            if let Some(wish) = self.wishes.borrow_mut().pop_front() {
                self.is_busy.set(true);
                return wish;
            }
            self.is_changed.notified().await;
        }
    }
}

/// The parts of a running gateway that an administrator needs.
pub(crate) struct Place {
    /// The pages of its administration.
    pub pages: Rc<AdminPages>,
    /// The gateway's reloader.
    pub reloader: Reloader,
    /// Its clock.
    pub clock: Rc<dyn Clock>,
    /// Its disk.
    pub disk: Disk,
    /// The configuration with which it has booted.
    pub booted: Config,
}

/// Carries out the requests, without end, and informs the checkers.
///
/// # Errors
///
/// The gateway refuses an edit that is valid.
pub(crate) async fn administer(desk: Rc<Desk>, place: Place, observer: Shared) -> Result<(), Error> {
    let Place { pages, reloader, clock, disk, booted } = place;
    let [of_file, of_gateway] = [Rc::clone(&observer), Rc::clone(&observer)];
    let staged = RefCell::default();
    let file = File { desk: Rc::clone(&desk), disk: disk.clone(), staged, observer: of_file };
    let gateway = Gateway { desk: Rc::clone(&desk), reloader, observer: of_gateway };
    let text = desk.text.borrow().clone();
    let (gateway, archive) = (Box::new(gateway), Archive::new(disk));
    let keeper = Rc::new(Keeper::new(Box::new(file), (Some(text), booted), gateway, clock, archive));
    pages.change(Rc::downgrade(&keeper));
    let kept = async {
        keeper.run().await;
        Ok(())
    };
    first_of(kept, carry_out(&keeper, &desk, &observer)).await
}

async fn carry_out(keeper: &Keeper, desk: &Desk, observer: &Shared) -> Result<(), Error> {
    let by = Editor::new("the administrator");
    let tell = |step: Step<'_>| observer.borrow_mut().on_transaction(now(), &step);
    loop {
        let is_done = match desk.next().await {
            Wish::Change(edits, within) => {
                // Without a candidate the file is not what the administrator believes.
                let candidate = desk.edited(&edits).filter(|_| keeper.window().is_none());
                let Some(candidate) = candidate else {
                    desk.outcome.set(Outcome::Refused);
                    continue;
                };
                note(keeper, &by, edits).await?;
                tell(Step::Applies(&candidate, within));
                let request = Request { confirm: within, why: String::new() };
                let is_applied = keeper.apply(&by, request).await.is_ok();
                tell(Step::Applied(is_applied));
                if is_applied && within.is_some() {
                    desk.outcome.set(Outcome::Waits);
                    continue;
                }
                is_applied
            }
            Wish::Confirm => {
                tell(Step::Confirms);
                let is_confirmed = keeper.confirm(&by).await.is_ok();
                tell(Step::Confirmed(is_confirmed));
                is_confirmed
            }
            Wish::Undo => {
                tell(Step::Undoes);
                let is_undone = keeper.rollback(&by, None, Request::default()).await.is_ok();
                tell(Step::Undone(is_undone));
                is_undone
            }
        };
        desk.outcome.set(if is_done { Outcome::Done } else { Outcome::Refused });
    }
}

/// Notes `edits` in an empty candidate.
async fn note(keeper: &Keeper, by: &Editor, edits: Vec<Edit>) -> Result<(), Error> {
    // A roll back by the deadline is seen so.
    keeper.diff(by).await?;
    keeper.discard(by).await?;
    for Edit { key, value } in edits {
        match value {
            Some(value) => keeper.set(by, key, &value).await?,
            None => keeper.unset(by, key).await?,
        };
    }
    Ok(())
}

/// The step that follows on whether a configuration was taken.
type After = fn(bool) -> Step<'static>;

/// Has the gateway take configurations, and informs the checkers before and after.
struct Gateway {
    desk: Rc<Desk>,
    reloader: Reloader,
    observer: Shared,
}

impl Gateway {
    fn tell(&self, step: &Step<'_>) {
        self.observer.borrow_mut().on_transaction(now(), step);
    }

    /// The steps before and after `config` is taken, unless the desk tells them: a page's change begins, or ends without
    /// a confirmation.
    fn steps_of_page<'a>(&self, config: &'a Config) -> Option<(Step<'a>, After)> {
        if self.desk.is_busy.get() {
            return None;
        }
        if self.desk.has_window_of_page.take() {
            return Some((Step::Undoes, |is_undone| Step::Undone(is_undone)));
        }
        let is_of_file = Config::parse(NAME, &self.desk.text.borrow()).is_ok_and(|file| file == *config);
        if is_of_file {
            return None;
        }
        self.desk.has_window_of_page.set(true);
        let within = Duration::from_secs(config.services.admin.confirm_secs);
        Some((Step::Applies(config, Some(within)), |is_applied| Step::Applied(is_applied)))
    }
}

impl Takes for Gateway {
    fn check(&self, old: &Config, new: &Config) -> Result<(), Error> {
        self.reloader.check(old, new)
    }

    fn take(&self, config: Config) -> LocalFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let steps = self.steps_of_page(&config);
            if let Some((before, _)) = &steps {
                self.tell(before);
            }
            self.observer.borrow_mut().on_reload(&config);
            let taken = self.reloader.take(config.clone()).await;
            if taken.is_ok() {
                self.observer.borrow_mut().on_configure(&config);
            }
            if let Some((_, after)) = steps {
                self.tell(&after(taken.is_ok()));
                if taken.is_err() {
                    self.desk.has_window_of_page.set(false);
                }
            }
            taken
        })
    }
}

/// The file for the product.
struct File {
    desk: Rc<Desk>,
    disk: Disk,
    staged: RefCell<Option<String>>,
    observer: Shared,
}

impl ConfigFile for File {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn read(&self) -> LocalFuture<'_, io::Result<Option<String>>> {
        Box::pin(async { Ok(Some(self.desk.text.borrow().clone())) })
    }

    fn stage(&self, text: String) -> LocalFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.staged.take();
            self.disk.replace(STAGED, text.clone().into_bytes()).await?;
            self.staged.replace(Some(text));
            Ok(())
        })
    }

    fn put(
        &self,
        former: Option<String>,
        gate: Gate,
    ) -> LocalFuture<'_, Result<Option<io::Error>, PutError>> {
        Box::pin(async move {
            if former.as_ref() != Some(&*self.desk.text.borrow()) {
                return Err(PutError::Edited);
            }
            let staged = self.staged.take().ok_or_else(|| io::Error::other("nothing is staged"))?;
            if !gate.pass() {
                return Err(PutError::Late);
            }
            self.desk.text.replace(staged);
            if self.desk.has_window_of_page.take() {
                let mut observer = self.observer.borrow_mut();
                observer.on_transaction(now(), &Step::Confirms);
                observer.on_transaction(now(), &Step::Stays(STAYS_FOR));
                observer.on_transaction(now(), &Step::Confirmed(true));
            }
            Ok(None)
        })
    }

    fn forget(&self) -> LocalFuture<'_, ()> {
        Box::pin(async { _ = self.staged.take() })
    }
}
