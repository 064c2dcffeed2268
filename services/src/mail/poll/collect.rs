//! One connection to an account: all new messages are fetched, stored and deleted there.
//!
//! | failure | consequence |
//! | --- | --- |
//! | the connection breaks | stored messages are remembered, and not delivered again; deletions are repeated |
//! | it breaks within a message, or the server rejects it | the message comes last the next time, with growing delays |
//! | a mailbox is full | the message stays there, and is tried later; the others come |
//! | the disk is full, or the store fails | the connection is closed with QUIT, and fetched messages are deleted |
//! | a message is longer than its server said, and than the limit | the connection is closed, and the message comes last |
//! | a reload, or the gateway stops | the current message is stored, and the connection is closed with QUIT |
//!
//! A dry run requests only headers. It stores, deletes and remembers nothing.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::mem;

use tracing::{debug, warn};

use super::account::{
    Action, FETCHES_MAX, Memory, Name, NeedsNames, Plan, Setbacks, Step, Terms, day_of, plan,
};
use super::distribute::Distributed;
use super::office::{Arrived, Office};
use super::settings::Account;
use crate::clock::Clock;
use crate::crypto::Sha256;
use crate::mail::auth::results::Strip;
use crate::mail::header::HEADER_OCTETS_MAX;
use crate::mail::pop3::client::{Answer, End, Failure, FailureKind, Output, Settings};
use crate::mail::pop3::connection::Connection;
use crate::mail::queue::connection::Environment;
use crate::mail::sasl::client::Credentials;
use crate::mail::store::{Change, Incoming, StoreError, UIDS_MAX, Uidls};
use crate::mail::transfer::lines::ToCrlf;
use crate::net::Stream;

/// The octets by which a message may exceed the size in the listing: servers count line ends as they store them.
const SIZE_SLACK: u64 = 1 << 20;

/// The most messages whose dispositions are reported.
pub const SEEN_MAX: usize = FETCHES_MAX;

/// The outcome of a connection to an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Messages that were fetched, and are safe.
    pub fetched: u64,
    /// The octets of those.
    pub octets: u64,
    /// Messages whose deletion the server has confirmed.
    pub deleted: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Messages that stay there, as they are too long.
    pub too_long: usize,
    /// Messages that failed before, and are not due.
    pub waiting: usize,
    /// Messages that stay there, as they have no names of their own.
    pub nameless: usize,
    /// Whether there is more to be fetched at once.
    pub is_more: bool,
    /// Why the connection did not come to its end.
    pub trouble: Option<PollError>,
    /// The first messages that something was done with, or would have been but for a dry run: at most [`SEEN_MAX`].
    pub seen: Vec<Seen>,
}

/// A message that something was done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name on its server, if it has one.
    pub uidl: Option<String>,
    /// Its octets, as its server counts.
    pub octets: u64,
    /// The disposition.
    pub disposition: Disposition,
    /// The receivers, and why; `None` if they were not determined.
    pub distributed: Option<Distributed>,
}

/// The disposition of a message, or its preview in a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It was fetched, and is safe here.
    Fetched,
    /// It was deleted there, as it was fetched before.
    Deleted,
    /// It stays there, as it is too long.
    TooLong,
    /// It failed, and is tried again.
    SetBack(String),
}

impl Disposition {
    /// Its name, for people and programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fetched => "fetch",
            Self::Deleted => "delete",
            Self::TooLong => "too-long",
            Self::SetBack(_) => "later",
        }
    }
}

/// The parameters of a connection.
pub struct PollParameters<'a> {
    /// The credentials.
    pub login: Credentials,
    /// Whether it is a dry run.
    pub is_dry: bool,
    /// Whether it is to end, behind the message at hand.
    pub has_to_end: &'a dyn Fn() -> bool,
}

/// Why an account was not fetched to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollError {
    /// The server, or the connection to it.
    Server(Failure),
    /// The store accepts no mail now.
    Store(StoreError),
    /// The server has no identifiers, so that messages cannot be left there.
    NeedsNames,
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(failure) => f.write_str(&failure.text),
            Self::Store(refused) => write!(f, "no mail is taken: {refused}"),
            Self::NeedsNames => f.write_str(
                "the server has no UIDL, without which messages cannot be left there; set leave_days = 0",
            ),
        }
    }
}

impl From<Failure> for PollError {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

/// Fetches the new messages of `account` over `stream`, with the parameters `visit`.
pub async fn collect(
    environment: &Environment,
    stream: Box<dyn Stream>,
    account: &Account,
    office: &Office,
    setbacks: &mut Setbacks,
    visit: PollParameters<'_>,
) -> Collected {
    let PollParameters { login, is_dry, has_to_end } = visit;
    let settings = Settings { encryption: account.encryption, login };
    let mut visiting = PollSession {
        clock: &*environment.clock,
        connection: Connection::new(environment.clone(), stream, settings),
        account,
        office,
        setbacks,
        has_to_end,
        collected: Collected::default(),
        marked: 0,
    };
    let outcome = if is_dry { visiting.look().await } else { visiting.run().await };
    visiting.collected.trouble = outcome.err();
    visiting.connection.close().await;
    visiting.collected
}

struct PollSession<'a> {
    clock: &'a dyn Clock,
    connection: Connection,
    account: &'a Account,
    office: &'a Office,
    setbacks: &'a mut Setbacks,
    has_to_end: &'a dyn Fn() -> bool,
    collected: Collected,
    /// Messages that are deleted once QUIT is confirmed.
    marked: u64,
}

impl PollSession<'_> {
    /// The plan, from the listing and the remembered messages.
    async fn plan(&mut self) -> Result<(Plan, Memory), PollError> {
        let listing = match self.connection.next().await {
            Output::Listing(listing) => listing,
            output => return Err(ended(output).into()),
        };
        let key = self.account.key();
        let memory = self.office.opened.store.look(|state| Memory::of(state.seen(&key)));
        let terms =
            Terms { leave_days: self.account.leave_days, message_octets_max: self.office.message_octets_max };
        let today = day_of(self.clock.unix_time());
        let now = self.clock.now();
        let Ok(plan) = plan(&listing, &memory, terms, self.setbacks, (now, today)) else {
            let NeedsNames = NeedsNames;
            self.quit().await?;
            return Err(PollError::NeedsNames);
        };
        (self.collected.too_long, self.collected.waiting) = (plan.too_long, plan.waiting);
        (self.collected.nameless, self.collected.is_more) = (plan.nameless, plan.is_more);
        Ok((plan, memory))
    }

    async fn run(&mut self) -> Result<(), PollError> {
        let (plan, memory) = self.plan().await?;
        self.forget(&plan.forget).await;
        // Messages without identifiers in this connection.
        let mut came = BTreeSet::new();
        for step in &plan.steps {
            if (self.has_to_end)() {
                self.collected.is_more = true;
                return Ok(self.quit().await?);
            }
            match step.action {
                Action::Delete => {
                    self.delete(step.message.number).await?;
                    self.saw(step, Disposition::Deleted, None);
                }
                Action::Tell => {
                    self.tell(step).await;
                    self.saw(step, Disposition::TooLong, None);
                }
                Action::Fetch => {
                    if let Err(refused) = self.fetch(step, &memory, &mut came).await? {
                        // Fetched messages are deleted all the same.
                        self.quit().await?;
                        return Err(PollError::Store(refused));
                    }
                }
            }
        }
        self.forget(&plan.forget_after(&came)).await;
        Ok(self.quit().await?)
    }

    /// Previews [`PollSession::run`].
    async fn look(&mut self) -> Result<(), PollError> {
        let (plan, _) = self.plan().await?;
        for step in plan.steps.iter().take(SEEN_MAX) {
            if (self.has_to_end)() {
                break;
            }
            match step.action {
                Action::Delete => self.saw(step, Disposition::Deleted, None),
                Action::Tell => self.saw(step, Disposition::TooLong, None),
                Action::Fetch => {
                    let (disposition, distributed) = self.look_at(step).await?;
                    self.saw(step, disposition, distributed);
                }
            }
        }
        Ok(self.quit().await?)
    }

    /// Previews the disposition of a message, by its header.
    async fn look_at(&mut self, step: &Step) -> Result<(Disposition, Option<Distributed>), Failure> {
        self.connection.session.top(step.message.number);
        let (mut lines, mut header) = (ToCrlf::default(), Vec::new());
        loop {
            match self.connection.next().await {
                Output::Octets(part) => {
                    let room = HEADER_OCTETS_MAX.saturating_sub(header.len());
                    lines.push(&part[..part.len().min(room)], &mut header);
                }
                Output::Answered(Answer::Whole) => {
                    return Ok((Disposition::Fetched, Some(self.office.receivers(self.account, &header))));
                }
                Output::Answered(Answer::Refused(text)) => {
                    let why = format!("the server does not tell its header: {text}");
                    return Ok((Disposition::SetBack(why), None));
                }
                output => return Err(ended(output)),
            }
        }
    }

    /// Records the disposition of a message.
    fn saw(&mut self, step: &Step, disposition: Disposition, distributed: Option<Distributed>) {
        if self.collected.seen.len() < SEEN_MAX {
            let (uidl, octets) = (step.message.uidl.clone(), step.message.size);
            self.collected.seen.push(Seen { uidl, octets, disposition, distributed });
        }
    }

    /// Fetches one message. Inner error: the store accepts none now.
    async fn fetch(
        &mut self,
        step: &Step,
        memory: &Memory,
        came: &mut BTreeSet<Name>,
    ) -> Result<Result<(), StoreError>, Failure> {
        let (office, account) = (self.office, self.account);
        let size = step.message.size;
        if !office.opened.has_room(office.disk_reserve, size).await {
            return Ok(Err(StoreError::NoRoom));
        }
        if let Err(refused) = office.check_room(account, size).await {
            self.set_back(step, &refused.to_string());
            return Ok(Ok(()));
        }
        let incoming = match office.opened.store.begin(0) {
            Ok(incoming) => incoming,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut arrival = Arrival::begin(incoming, office, account).await;
        self.connection.session.retrieve(step.message.number);
        let (mut octets, mut digest) = (0, Sha256::new());
        loop {
            match self.connection.next().await {
                Output::Octets(part) => {
                    octets += part.len() as u64;
                    if octets > office.message_octets_max.saturating_add(SIZE_SLACK) {
                        let text = "a message is longer than the server says, and than a message may be";
                        self.set_back(step, text);
                        self.connection.session.lost();
                        let kind = FailureKind::Protocol;
                        return Err(Failure { kind, text: text.to_owned() });
                    }
                    digest.update(&part);
                    arrival.push(&part).await;
                }
                Output::Answered(Answer::Whole) => break,
                Output::Answered(Answer::Refused(text)) => {
                    self.set_back(step, &format!("the server does not hand it out: {text}"));
                    return Ok(Ok(()));
                }
                output => {
                    let failure = ended(output);
                    self.set_back(step, &failure.text);
                    return Err(failure);
                }
            }
        }
        let name = match &step.message.uidl {
            Some(uidl) => Name::Uidl(uidl.clone()),
            None => Name::Octets(digest.finish()),
        };
        let is_known = step.message.uidl.is_none() && (memory.is_fetched(&name) || came.contains(&name));
        if step.message.uidl.is_none() {
            came.insert(name.clone());
        }
        if !is_known {
            let Arrival { incoming, octets: stored_octets, header, .. } = arrival.end().await;
            let distributed = office.receivers(account, &header);
            let kept = match incoming {
                Ok(incoming) => {
                    let arrived = Arrived {
                        incoming,
                        octets: stored_octets,
                        header: &header,
                        distributed: &distributed,
                    };
                    office.keep(account, arrived, name).await
                }
                Err(refused) => Err(refused),
            };
            match kept {
                Ok(stored) => {
                    debug!("{} of {} is message {:?}", step.key(), account.key(), stored.sequence);
                    self.collected.fetched += 1;
                    self.collected.octets += octets;
                    self.saw(step, Disposition::Fetched, Some(distributed));
                }
                Err(
                    refused @ (StoreError::NoRoom
                    | StoreError::Busy
                    | StoreError::Disk(_)
                    | StoreError::Newer),
                ) => {
                    return Ok(Err(refused));
                }
                Err(refused) => {
                    self.set_back(step, &refused.to_string());
                    return Ok(Ok(()));
                }
            }
        }
        self.setbacks.succeeded(&step.key());
        if account.leave_days == 0 {
            self.delete(step.message.number).await?;
        }
        Ok(Ok(()))
    }

    /// Records a failure of the message.
    fn set_back(&mut self, step: &Step, text: &str) {
        warn!("{} of {} stays there for now: {text}", step.key(), self.account.key());
        self.collected.failed += 1;
        self.setbacks.failed(self.clock.now(), &step.key());
        self.saw(step, Disposition::SetBack(text.to_owned()), None);
    }

    async fn tell(&mut self, step: &Step) {
        let Some(uidl) = step.message.uidl.clone() else { return };
        let told = self.office.tell(self.account, Name::Uidl(uidl), step.message.size).await;
        if let Err(refused) = told {
            warn!("there is no notice that {} of {} is too long: {refused}", step.key(), self.account.key());
        }
    }

    /// Has the server delete a message, which is safe here.
    async fn delete(&mut self, number: u32) -> Result<(), Failure> {
        self.connection.session.delete(number);
        match self.connection.next().await {
            Output::Answered(Answer::Deleted) => self.marked += 1,
            // It is tried again by the next connection.
            Output::Answered(_) => {}
            output => return Err(ended(output)),
        }
        Ok(())
    }

    async fn forget(&self, texts: &[String]) {
        for uidls in texts.chunks(UIDS_MAX) {
            let forget = Change::Forget(Uidls { account: self.account.key(), uidls: uidls.to_vec() });
            if let Err(refused) = self.office.opened.store.change(forget).await {
                // A later connection forgets them.
                return debug!("{} forgets nothing now: {refused}", self.account.key());
            }
        }
    }

    async fn quit(&mut self) -> Result<(), Failure> {
        self.connection.session.quit();
        match self.connection.next().await {
            Output::Close(End::Quit { is_confirmed }) => {
                self.collected.deleted = if is_confirmed { self.marked } else { 0 };
                Ok(())
            }
            output => Err(ended(output)),
        }
    }
}

/// A message being fetched.
struct Arrival {
    /// The stored octets, unless the store has rejected some.
    incoming: Result<Incoming, StoreError>,
    lines: ToCrlf,
    /// Removes forged results of this server. (RFC 8601, section 5)
    strip: Strip,
    /// Its beginning.
    header: Vec<u8>,
    /// The stored octets.
    octets: u64,
}

impl Arrival {
    async fn begin(incoming: Incoming, office: &Office, account: &Account) -> Self {
        let (lines, strip) = (ToCrlf::default(), Strip::new(&office.hostname));
        let mut arrival = Self { incoming: Ok(incoming), lines, strip, header: Vec::new(), octets: 0 };
        arrival.keep(office.received(account).as_bytes()).await;
        arrival
    }

    /// Adds the next octets from the server.
    async fn push(&mut self, part: &[u8]) {
        let (mut octets, mut kept) = (Vec::with_capacity(part.len()), Vec::with_capacity(part.len()));
        self.lines.push(part, &mut octets);
        self.strip.push(&octets, &mut kept);
        self.take(&kept).await;
    }

    async fn end(mut self) -> Self {
        let mut kept = Vec::new();
        self.strip.finish(&mut kept);
        self.take(&kept).await;
        self
    }

    async fn take(&mut self, octets: &[u8]) {
        let room = HEADER_OCTETS_MAX.saturating_sub(self.header.len());
        self.header.extend_from_slice(&octets[..octets.len().min(room)]);
        self.keep(octets).await;
    }

    /// Stores further octets, unless the store has rejected some. Rejected octets are read all the same: the connection
    /// continues after the message.
    async fn keep(&mut self, octets: &[u8]) {
        self.octets += octets.len() as u64;
        if let Ok(draft) = &mut self.incoming
            && let Err(refused) = draft.chunk(octets).await
        {
            drop(mem::replace(&mut self.incoming, Err(refused)));
        }
    }
}

/// Why there is no other output than that one.
fn ended(output: Output) -> Failure {
    match output {
        Output::Close(End::Failed(failure)) => failure,
        _ => Failure {
            kind: FailureKind::Protocol,
            text: "the server ended the connection before its time".to_owned(),
        },
    }
}
