//! The state of the transaction, without I/O.
//!
//! | state | what changes it |
//! | --- | --- |
//! | no window | edits of the candidate; a [`Plan`] that is applied, or opens a window |
//! | window | the confirmation before the deadline, or the end |
//! | window past its deadline | what was confirmed last is taken again; tried every half second until it succeeds |
//!
//! The caller passes the text of the file with each request, and the time. [`Transaction::poll_timeout`] tells when
//! [`Transaction::due`] has something to roll back.

use std::time::Duration;

use gatepost_dataplane::config::Mode;
use gatepost_ground::Instant;
use gatepost_services::clock::UnixTime;
use gatepost_services::words::on_one_line;
use ipnet::Ipv4Net;

use super::candidate::Candidate;
use super::draft::{Batch, Draft, Noted, Unnoted};
use super::history::{Entry, History, Kind, TEXT_OCTETS_MAX};
use super::plan::{Plan, Request};
use super::report::{Diff, Edited, Pending, Versions, Window};
use super::seen::Seen;
use super::{CONFIRM_WITHIN, Editor, WHY_OCTETS_MAX};
use crate::config::change::{Change, changes};
use crate::config::edit::{Edit, EditError};
use crate::config::{Config, Diagnostic, WanAddress};
use crate::error::Error;

/// The time between two tries of a roll back that does not succeed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
struct OpenWindow {
    plan: Plan,
    deadline: Instant,
    /// Since the deadline: the next try of a roll back, and why the last one failed.
    retry: Option<(Instant, String)>,
}

/// The configuration, its candidate and its history.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The name of the file.
    name: String,
    /// The text and the configuration that were confirmed last.
    text: Option<String>,
    config: Config,
    candidate: Candidate,
    window: Option<OpenWindow>,
    history: History,
    seen: Seen,
}

impl Transaction {
    /// The file of this name has the text `text`, or does not exist, and `config` is in force.
    pub fn new(name: &str, text: Option<String>, config: Config) -> Self {
        Self {
            name: name.to_owned(),
            text,
            config,
            candidate: Candidate::default(),
            window: None,
            history: History::default(),
            seen: Seen::default(),
        }
    }

    /// The configuration that was confirmed last.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The text that was confirmed last.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Takes over the stored history. If the file is not its last version, the file is the next one, which is returned.
    pub fn restore(&mut self, stored: History, now: UnixTime) -> Vec<Entry> {
        let since = std::mem::replace(&mut self.history, stored);
        if since.last().is_some() {
            return since.entries().cloned().map(|entry| self.history.push(entry)).collect();
        }
        let (last, text) = (self.history.last(), self.text());
        if last.is_some_and(|last| last.is_of(text)) {
            return Vec::new();
        }
        let kind = if last.is_none() { Kind::Found } else { Kind::Edited };
        let former = last.and_then(|last| last.text.as_deref());
        let changes = former.and_then(|former| self.changes_of(former, text)).unwrap_or_default();
        let found = Entry::new(kind, now, text, changes);
        vec![self.history.push(found)]
    }

    /// Sets `key` in the candidate.
    ///
    /// # Errors
    ///
    /// What is wrong with the key or the value, or a window is open. The candidate is as before.
    pub fn set(&mut self, by: &Editor, file: Option<&str>, key: &str, value: &str) -> Result<Edited, Error> {
        self.edit(by, file, |candidate, file| {
            candidate.set(by, file, key, value).map(|edit| edit.to_string())
        })
    }

    /// Removes `key` from the candidate.
    ///
    /// # Errors
    ///
    /// What is wrong with the key, or a window is open. The candidate is as before.
    pub fn unset(&mut self, by: &Editor, file: Option<&str>, key: &str) -> Result<Edited, Error> {
        self.edit(by, file, |candidate, file| candidate.unset(by, file, key).map(|edit| edit.to_string()))
    }

    fn edit(
        &mut self,
        by: &Editor,
        file: Option<&str>,
        edit: impl FnOnce(&mut Candidate, (&str, &str)) -> Result<String, Error>,
    ) -> Result<Edited, Error> {
        self.refuse_in_window("the change is not noted")?;
        let file = file.unwrap_or_default();
        let mut candidate = self.candidate.clone();
        let done = edit(&mut candidate, (&self.name, file))?;
        if self.candidate.is_empty() {
            self.seen.begin();
        }
        self.candidate = candidate;
        let others = self.seen.look(by);
        self.seen.note(by, done.clone());
        self.seen.look(by);
        let mistakes = self.candidate.text(file).and_then(|text| self.parse(&text).map_err(lines)).err();
        Ok(Edited {
            done,
            pending: self.candidate.edits.len(),
            others,
            mistakes: mistakes.unwrap_or_default(),
        })
    }

    /// Makes the edits of `batch` in the candidate, all or none. What others have changed stays unseen: a form knows
    /// what has become of its own settings.
    ///
    /// # Errors
    ///
    /// Why none is made. The candidate is as before.
    pub fn note<E>(&mut self, by: &Editor, file: Option<&str>, batch: Batch<'_, E>) -> Noted<E> {
        self.refuse_in_window("the change is not noted")?;
        let file = file.unwrap_or_default();
        let before = self.draft(Some(file));
        let edits = (batch.edits)(&before).map_err(Unnoted::Refused)?;
        let mut candidate = self.candidate.clone();
        for edit in &edits {
            candidate = candidate.unchecked(by, file, edit.clone())?;
        }
        let (text, conflicts) = candidate.draft(file);
        let mistakes = Draft::of(&self.name, &text, conflicts).mistakes;
        let (refusing, noted): (Vec<_>, Vec<_>) = mistakes.into_iter().partition(|mistake| {
            let is_in_view = batch.view.iter().any(|key| mistake.is_in(key));
            is_in_view || mistake.is_local && !before.mistakes.contains(mistake)
        });
        if !refusing.is_empty() {
            return Err(Unnoted::Mistakes(refusing));
        }
        if self.candidate.is_empty() {
            self.seen.begin();
        }
        self.candidate = candidate;
        let done: Vec<_> = edits.iter().map(ToString::to_string).collect();
        done.iter().for_each(|done| self.seen.note(by, done.clone()));
        let mistakes = noted.into_iter().map(|mistake| mistake.text).collect();
        Ok(Edited { done: done.join("; "), pending: self.pending(), others: Vec::new(), mistakes })
    }

    /// The settings that the candidate makes of the file; in a window those in force.
    pub fn draft(&self, file: Option<&str>) -> Draft {
        match &self.window {
            Some(window) => Draft { is_closed: true, ..Draft::of(&self.name, &window.plan.text, Vec::new()) },
            None => {
                let (text, conflicts) = self.candidate.draft(file.unwrap_or_default());
                Draft::of(&self.name, &text, conflicts)
            }
        }
    }

    /// The number of edits that wait to be applied.
    pub fn pending(&self) -> usize {
        self.candidate.edits.len()
    }

    /// Empties the candidate.
    ///
    /// # Errors
    ///
    /// Others have changed it since the editor looked last, or a window is open.
    pub fn discard(&mut self, by: &Editor) -> Result<Edited, Error> {
        let what = "the candidate is as it was";
        self.refuse_in_window(what)?;
        self.refuse_unseen(by, what)?;
        let count = self.candidate.edits.len();
        self.candidate = Candidate::default();
        let done = format!("{count} discarded");
        if count > 0 {
            self.seen.note(by, "the candidate was discarded".to_owned());
            self.seen.look(by);
        }
        Ok(Edited { done, pending: 0, others: Vec::new(), mistakes: Vec::new() })
    }

    /// The differences of the candidate, or the open window. `check` tells what needs a restart.
    pub fn diff(
        &mut self,
        by: &Editor,
        file: Option<&str>,
        now: Instant,
        check: impl FnOnce(&Config, &Config) -> Result<(), Error>,
    ) -> Diff {
        let pending = |pended: &super::candidate::Pended| Pending {
            key: pended.edit.key.to_string(),
            value: pended.edit.value.clone(),
            who: pended.by.name().to_owned(),
        };
        let mut diff = Diff {
            pending: self.candidate.edits.iter().map(pending).collect(),
            others: self.seen.look(by),
            window: self.window(now),
            ..Diff::default()
        };
        if diff.window.is_some() {
            return diff;
        }
        match self.candidate.text(file.unwrap_or_default()) {
            Err(conflicts) => diff.conflicts = conflicts,
            Ok(text) => match self.parse(&text) {
                Ok((config, _)) => {
                    diff.changes = changes((self.text(), &self.config), (&text, &config));
                    diff.mistakes = check(&self.config, &config)
                        .err()
                        .map_or_else(Vec::new, |error| error.messages().to_vec());
                }
                Err(mistakes) => diff.mistakes = lines(mistakes),
            },
        }
        diff
    }

    /// The plan for applying the candidate.
    ///
    /// # Errors
    ///
    /// Why it cannot be applied. The candidate is as before.
    pub fn plan(&mut self, by: &Editor, file: Option<&str>, request: Request) -> Result<Plan, Error> {
        let what = "the change is not applied";
        self.refuse_in_window(what)?;
        self.refuse_unseen(by, what)?;
        if self.candidate.is_empty() {
            let remedy = if file.unwrap_or_default() == self.text() {
                "begin with `gatepost set KEY VALUE`"
            } else {
                "the file was edited: take it with `gatepost reload`"
            };
            return Err(Error::failed("there is nothing to apply", "the candidate has no changes", remedy));
        }
        let text = self.candidate.text(file.unwrap_or_default()).map_err(Error::mistakes)?;
        self.planned(Kind::Applied, by, file, text, request)
    }

    /// The plan for `edits` of the file beside the candidate, such as those of a user's own settings.
    ///
    /// # Errors
    ///
    /// Why they cannot be applied. The candidate is as before.
    pub fn plan_beside(
        &self,
        by: &Editor,
        file: Option<&str>,
        edits: &[Edit],
        why: &str,
    ) -> Result<Plan, Error> {
        let what = "the change is not applied";
        self.refuse_in_window(what)?;
        let mut text = file.unwrap_or_default().to_owned();
        if text != self.text() {
            let why = "the file was edited by hand, and is not in force";
            return Err(Error::failed(what, why, "take it with `gatepost reload` first"));
        }
        for edit in edits {
            text = match edit.apply(&text) {
                Err(EditError::Absent) => text,
                edited => edited.map_err(|error| Error::usage(format!("{}: {error}", edit.key)))?,
            };
        }
        let request = Request { confirm: None, why: why.to_owned() };
        let plan = self.planned(Kind::Applied, by, file, text, request)?;
        Ok(Plan { is_beside: true, ..plan })
    }

    /// The plan for going back to the version `number`, or to the one before the last.
    ///
    /// # Errors
    ///
    /// There is no such version, or it cannot be taken.
    pub fn plan_rollback(
        &mut self,
        by: &Editor,
        file: Option<&str>,
        number: Option<u64>,
        request: Request,
    ) -> Result<Plan, Error> {
        let what = "nothing is rolled back";
        self.refuse_in_window(what)?;
        let found = match number {
            Some(number) => self.history.get(number),
            None => self.history.entries().rev().nth(1),
        };
        let Some(entry) = found else {
            let why = match number {
                Some(number) => format!("the history has no version {number}"),
                None => "the history has no version before this one".to_owned(),
            };
            return Err(Error::failed(what, why, "see `gatepost history`"));
        };
        let number = entry.version.number;
        let Some(text) = entry.text.clone() else {
            let why = format!("version {number} has more than {TEXT_OCTETS_MAX} octets and was not kept");
            return Err(Error::failed(what, why, "take another one"));
        };
        if text == self.text() && file.unwrap_or_default() == text {
            let why = format!("version {number} is in force");
            return Err(Error::failed(what, why, "take another one, see `gatepost history`"));
        }
        let why = match request.why.as_str() {
            "" => format!("to version {number}"),
            why => format!("to version {number}: {why}"),
        };
        self.planned(Kind::RolledBack, by, file, text, Request { why, ..request })
    }

    fn planned(
        &self,
        kind: Kind,
        by: &Editor,
        file: Option<&str>,
        text: String,
        request: Request,
    ) -> Result<Plan, Error> {
        let Request { confirm, why } = request;
        if confirm.is_some_and(|within| !CONFIRM_WITHIN.contains(&within)) {
            let (min, max) = (CONFIRM_WITHIN.start().as_secs(), CONFIRM_WITHIN.end().as_secs());
            return Err(Error::usage(format!(
                "the time for the confirmation is out of range; write {min} to {max} s"
            )));
        }
        if why.len() > WHY_OCTETS_MAX {
            return Err(Error::usage(format!(
                "the reason is too long; write at most {WHY_OCTETS_MAX} octets"
            )));
        }
        let why = on_one_line(&why);
        let (config, warnings) = self.parse(&text).map_err(Error::mistakes)?;
        if confirm.is_some() {
            self.refuse_overlap(&config)?;
        }
        let changes = changes((self.text(), &self.config), (&text, &config));
        let base = file.map(str::to_owned);
        Ok(Plan {
            kind,
            by: by.clone(),
            why,
            confirm,
            is_beside: false,
            base,
            text,
            config,
            changes,
            warnings: lines(warnings),
        })
    }

    /// Refuses a window in which the WAN of `config` and the LAN's former network, which the gateway has, too, would
    /// overlap. (RFC 4787, REQ-7)
    fn refuse_overlap(&self, config: &Config) -> Result<(), Error> {
        let former = self.config.lan.address;
        let WanAddress::Static { address, gateway } = config.wan.address else { return Ok(()) };
        let has_wan = config.mode != Mode::LanOnly && config.lan.address != former;
        let overlaps = |wan: Ipv4Net| wan.contains(&former.network()) || former.contains(&wan.network());
        let is_behind_lan = gateway.is_some_and(|gateway| former.contains(&gateway));
        if !has_wan || !(overlaps(address) || is_behind_lan) {
            return Ok(());
        }
        let (wan, lan) = (address.trunc(), former.trunc());
        let why = format!(
            "until the confirmation the gateway has the LAN's former network {lan}, too, and the WAN {wan} \
                           or its router is in it"
        );
        let remedy = "apply lan.address first, or all without a confirmation";
        Err(Error::failed("the change is not applied", why, remedy))
    }

    /// The configuration that the gateway has while `plan` waits for its confirmation.
    pub fn config_in_window(&self, plan: &Plan) -> Config {
        plan.config.clone().until_confirmed(self.config.lan.address).reached_as_well_as(&self.config)
    }

    /// The gateway has taken the configuration of `plan`, which waits for its confirmation since `now`.
    pub fn opened(&mut self, plan: Plan, now: Instant) {
        let within = plan.confirm.unwrap_or_default();
        self.seen.note(&plan.by, "a change waits for its confirmation".to_owned());
        self.window = Some(OpenWindow { plan, deadline: now + within, retry: None });
    }

    /// The plan that waits for its confirmation.
    ///
    /// # Errors
    ///
    /// None does, or it is too late.
    pub fn to_confirm(&self, now: Instant) -> Result<&Plan, Error> {
        let what = "nothing is confirmed";
        match &self.window {
            None => {
                Err(Error::failed(what, "no change waits for its confirmation", "see `gatepost history`"))
            }
            Some(window) if window.retry.is_some() || now >= window.deadline => Err(too_late()),
            Some(window) => Ok(&window.plan),
        }
    }

    /// The gateway has the configuration of `plan`, and so has the file. Returns the new versions, the last of which is
    /// that of the plan.
    pub fn applied(&mut self, plan: Plan, now: UnixTime) -> Vec<Entry> {
        let Plan { kind, by, why, is_beside, base, text, config, changes, .. } = plan;
        let mut added = Vec::new();
        // An edit of the file by hand that was merged is a version of its own.
        let base = base.unwrap_or_default();
        if base != self.text() && base != text {
            let changes = self.changes_of(self.text(), &base).unwrap_or_default();
            added.push(self.history.push(Entry::new(Kind::Edited, now, &base, changes)));
        }
        let what = match kind {
            Kind::RolledBack => "a former version is in force",
            _ => "the candidate was applied",
        };
        added.push(self.history.push(Entry::new(kind, now, &text, changes).by(by.name(), &why)));
        if kind == Kind::Applied && !is_beside {
            self.candidate = Candidate::default();
        }
        if !is_beside {
            self.seen.note(&by, what.to_owned());
        }
        (self.text, self.config, self.window) = (Some(text), config, None);
        added
    }

    /// As [`Transaction::applied`], of the plan that waits for its confirmation.
    pub fn confirmed(&mut self, now: UnixTime) -> Vec<Entry> {
        self.window.take().map_or_else(Vec::new, |window| self.applied(window.plan, now))
    }

    /// The gateway has the configuration again that was confirmed last: at the request of `by`, or at the deadline. The
    /// candidate is as it was before the window.
    pub fn ended(&mut self, by: Option<&Editor>) {
        self.window = None;
        if let Some(by) = by {
            self.seen.note(by, "the change that waited for its confirmation was rolled back".to_owned());
        }
    }

    /// The gateway has taken the file, which has this text, at the request of `by`.
    pub fn reloaded(&mut self, by: &Editor, text: &str, config: Config, now: UnixTime) -> Vec<Entry> {
        let mut added = Vec::new();
        if text != self.text() {
            let changes = changes((self.text(), &self.config), (text, &config));
            added.push(self.history.push(Entry::new(Kind::Edited, now, text, changes).by(by.name(), "")));
            self.seen.note(by, "the file was edited".to_owned());
        }
        (self.text, self.config) = (Some(text.to_owned()), config);
        added
    }

    /// The open window.
    pub fn window(&self, now: Instant) -> Option<Window> {
        self.window.as_ref().map(|OpenWindow { plan, deadline, retry }| Window {
            remaining_secs: deadline.since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
            who: plan.by.name().to_owned(),
            why: plan.why.clone(),
            changes: plan.changes.clone(),
            problem: retry.as_ref().map(|(_, problem)| problem.clone()),
        })
    }

    /// When something is to be rolled back.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let window = self.window.as_ref()?;
        Some(window.retry.as_ref().map_or(window.deadline, |(due, _)| *due))
    }

    /// Whether something is to be rolled back now, to [`Transaction::config`].
    pub fn due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// A roll back was tried in vain, and is tried again. Nothing can be confirmed any more.
    pub fn not_ended(&mut self, now: Instant, problem: String) {
        if let Some(window) = &mut self.window {
            window.retry = Some((now + RETRY_AFTER, problem));
        }
    }

    /// The file could not be written after the gateway has taken the configuration of `plan`, and it does not take the
    /// former one either: this is tried again.
    pub fn stuck(&mut self, plan: Plan, now: Instant, problem: String) {
        self.window = Some(OpenWindow { plan, deadline: now, retry: Some((now + RETRY_AFTER, problem)) });
    }

    /// The versions, the latest first.
    pub fn versions(&self) -> Versions {
        let versions = self.history.entries().rev().map(|entry| entry.version.clone()).collect();
        Versions { versions, problems: Vec::new() }
    }

    /// Refuses to do something while a change waits for its confirmation.
    ///
    /// # Errors
    ///
    /// One waits.
    pub fn refuse_in_window(&self, what: &str) -> Result<(), Error> {
        let Some(window) = &self.window else { return Ok(()) };
        let why = format!("a change of {} waits for its confirmation", window.plan.by.name());
        Err(Error::failed(what, why, "first `gatepost confirm` or `gatepost rollback`"))
    }

    fn refuse_unseen(&mut self, by: &Editor, what: &str) -> Result<(), Error> {
        match self.seen.look(by) {
            unseen if unseen.is_empty() => Ok(()),
            unseen => {
                let why =
                    format!("others have changed the configuration since you looked ({})", unseen.join("; "));
                Err(Error::failed(what, why, "see `gatepost diff`, and then repeat it"))
            }
        }
    }

    fn parse(&self, text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
        Config::parse_with_warnings(&self.name, text)
    }

    /// The differences between two texts; `None` if one of them cannot be read.
    fn changes_of(&self, old: &str, new: &str) -> Option<Vec<Change>> {
        let (before, after) = (self.parse(old).ok()?.0, self.parse(new).ok()?.0);
        Some(changes((old, &before), (new, &after)))
    }
}

/// Why a change cannot be confirmed after its deadline.
pub(super) fn too_late() -> Error {
    Error::failed(
        "nothing is confirmed",
        "the time for it is over, and the change is rolled back",
        "apply it again",
    )
}

fn lines(mistakes: Vec<Diagnostic>) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}
