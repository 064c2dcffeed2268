//! The plan for each message of an account, from the listing and the remembered messages.
//!
//! The record that delivers a fetched message remembers the message's identifier (UIDL) and the day. The message is
//! deleted from the server `leave_days` later, and forgotten when a complete listing lacks it: an acknowledged deletion
//! that was not carried out is repeated, and causes no second delivery.
//!
//! If a server has no identifiers, messages are remembered by the digest of their octets. Such a message has to be
//! fetched to be recognised, so it cannot be left on the server: with `leave_days` the account is rejected. Two
//! identical messages count as one.
//!
//! | message | action |
//! | --- | --- |
//! | new | fetched, and deleted once it is safe here, or left |
//! | fetched, and its days are over | deleted |
//! | fetched, and its days are not over | left |
//! | longer than the limit | left, and its receiver is notified once |
//! | without an identifier, with `leave_days` | left; the account's state says so |
//! | failed before | fetched behind all others, and not before it is due again |

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use data_encoding::HEXLOWER;
use gatepost_ground::Instant;

use crate::clock::UnixTime;
use crate::crypto::Sha256Digest;
use crate::mail::pop3::client::{Listed, Listing};

/// The most messages that one connection fetches, so that fetched messages are deleted from time to time.
pub const FETCHES_MAX: usize = 1000;
/// The delay before a failed message is tried again for the first time.
pub const SETBACK_FIRST: Duration = Duration::from_secs(10 * 60);
/// The longest.
pub const SETBACK_LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
/// The most messages of an account whose failures are remembered.
pub const SETBACKS_MAX: usize = 10_000;

/// The key by which a message is remembered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Its name on its server.
    Uidl(String),
    /// The SHA-256 of its octets.
    Octets(Sha256Digest),
}

/// Why a message is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It is delivered.
    Fetched,
    /// Its receiver was notified that it is too long.
    Told,
}

/// A remembered message, in the form of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Why.
    pub what: What,
    /// When that was, in days since 1970.
    pub day: u64,
    /// The message.
    pub name: Name,
}

impl Remembered {
    /// Parses the output of [`Remembered::to_text`]; `None` if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let what = match parts.next()? {
            "fetched" => What::Fetched,
            "told" => What::Told,
            _ => return None,
        };
        let day = parts.next()?.parse().ok()?;
        let (kind, name) = (parts.next()?, parts.next()?);
        let name = match kind {
            "uidl" => Name::Uidl(name.to_owned()),
            "sha256" => Name::Octets(HEXLOWER.decode(name.as_bytes()).ok()?.try_into().ok()?),
            _ => return None,
        };
        Some(Self { what, day, name })
    }

    /// The stored text.
    pub fn to_text(&self) -> String {
        let what = match self.what {
            What::Fetched => "fetched",
            What::Told => "told",
        };
        let (kind, name) = match &self.name {
            Name::Uidl(uidl) => ("uidl", uidl.clone()),
            Name::Octets(digest) => ("sha256", HEXLOWER.encode(digest)),
        };
        format!("{what} {} {kind} {name}", self.day)
    }
}

/// The day of a time, in days since 1970.
pub fn day_of(time: UnixTime) -> u64 {
    time.0 / (24 * 60 * 60)
}

/// All remembered messages of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By message: the day, and the stored text.
    fetched: BTreeMap<Name, (u64, String)>,
    told: BTreeMap<Name, String>,
    /// Unreadable texts, which name no message.
    unreadable: Vec<String>,
}

impl Memory {
    /// The messages of these stored texts.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut memory = Self::default();
        for text in texts {
            match Remembered::parse(text) {
                Some(Remembered { what: What::Fetched, day, name }) => {
                    _ = memory.fetched.insert(name, (day, text.to_owned()));
                }
                Some(Remembered { what: What::Told, name, .. }) => {
                    _ = memory.told.insert(name, text.to_owned());
                }
                None => memory.unreadable.push(text.to_owned()),
            }
        }
        memory
    }

    /// Whether the message was delivered.
    pub fn is_fetched(&self, name: &Name) -> bool {
        self.fetched.contains_key(name)
    }
}

/// Failed messages with the times of their next tries. This does not survive the process.
#[derive(Clone, Debug, Default)]
pub struct Setbacks(BTreeMap<String, Setback>);

#[derive(Clone, Copy, Debug)]
struct Setback {
    wait: Duration,
    due: Instant,
}

impl Setbacks {
    /// Records a failure of the message with this key.
    pub fn failed(&mut self, now: Instant, key: &str) {
        let wait = self.0.get(key).map_or(SETBACK_FIRST, |former| (former.wait * 2).min(SETBACK_LONGEST));
        if self.0.len() < SETBACKS_MAX || self.0.contains_key(key) {
            self.0.insert(key.to_owned(), Setback { wait, due: now + wait });
        }
    }

    /// The message of that key is safe.
    pub fn succeeded(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// How many messages wait.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The action for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is fetched.
    Fetch,
    /// It is deleted there: it was fetched before.
    Delete,
    /// It is too long: notify its receiver, and leave it.
    Tell,
}

/// A message and its action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The message.
    pub message: Listed,
    /// The action.
    pub action: Action,
}

impl Step {
    /// The key of its failures.
    pub fn key(&self) -> String {
        key_of(&self.message)
    }
}

fn key_of(message: &Listed) -> String {
    match &message.uidl {
        Some(uidl) => format!("uidl {uidl}"),
        None => format!("message {} of {}", message.number, message.size),
    }
}

/// The plan for an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Remembered messages that are gone from the server.
    pub forget: Vec<String>,
    /// Remembered messages without identifiers, which are forgotten unless they are found again: see
    /// [`Plan::forget_after`].
    unless_seen: BTreeMap<Name, String>,
    /// Messages that stay for now: they are too long.
    pub too_long: usize,
    /// Messages that stay for now: they failed, and are not due.
    pub waiting: usize,
    /// Messages that stay: they have no name of their own, and messages are left there.
    pub nameless: usize,
    /// Whether there is more to be done by a further connection.
    pub is_more: bool,
}

impl Plan {
    /// The further messages to forget after all steps, of which `seen` were the messages without identifiers.
    pub fn forget_after(&self, seen: &BTreeSet<Name>) -> Vec<String> {
        let gone = self.unless_seen.iter().filter(|(name, _)| !seen.contains(name));
        gone.map(|(_, text)| text.clone()).collect()
    }
}

/// The account's settings for its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// For how many days messages stay there once they are fetched.
    pub leave_days: u64,
    /// The octets of a message at most.
    pub message_octets_max: u64,
}

/// The server has no identifiers, and messages are to be left there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsNames;

/// Plans the steps for a listing.
///
/// # Errors
///
/// [`NeedsNames`]
pub fn plan(
    listing: &Listing,
    memory: &Memory,
    terms: Terms,
    setbacks: &mut Setbacks,
    (now, today): (Instant, u64),
) -> Result<Plan, NeedsNames> {
    if !listing.has_uidls && terms.leave_days > 0 && !listing.messages.is_empty() {
        return Err(NeedsNames);
    }
    let mut plan = Plan::default();
    // Failed messages come last, so that they cannot keep the others from being fetched.
    let mut again = Vec::new();
    for message in &listing.messages {
        let step = |action| Step { message: message.clone(), action };
        let name = message.uidl.clone().map(Name::Uidl);
        let known = name.as_ref().and_then(|name| memory.fetched.get(name));
        if let Some((day, _)) = known {
            if today >= day.saturating_add(terms.leave_days) {
                plan.steps.push(step(Action::Delete));
            }
        } else if message.size > terms.message_octets_max {
            plan.too_long += 1;
            if name.is_some_and(|name| !memory.told.contains_key(&name)) {
                plan.steps.push(step(Action::Tell));
            }
        } else if name.is_none() && terms.leave_days > 0 {
            plan.nameless += 1;
        } else {
            match setbacks.0.get(&key_of(message)) {
                Some(setback) if now < setback.due => plan.waiting += 1,
                Some(_) => again.push(step(Action::Fetch)),
                None => plan.steps.push(step(Action::Fetch)),
            }
        }
    }
    plan.steps.extend(again);
    if listing.is_complete {
        plan.forget_gone(listing, memory);
        let keys: BTreeSet<_> = listing.messages.iter().map(key_of).collect();
        setbacks.0.retain(|key, _| keys.contains(key));
    }
    let mut fetches = plan.steps.iter().enumerate().filter(|(_, step)| step.action == Action::Fetch);
    if let Some((at, _)) = fetches.nth(FETCHES_MAX) {
        plan.steps.truncate(at);
        plan.is_more = true;
        plan.unless_seen.clear();
    }
    Ok(plan)
}

impl Plan {
    /// Finds remembered messages that are not listed.
    fn forget_gone(&mut self, listing: &Listing, memory: &Memory) {
        let listed = listing.messages.iter().filter_map(|message| message.uidl.clone());
        let listed: BTreeSet<_> = listed.map(Name::Uidl).collect();
        // All messages without identifiers are fetched, so that remembered ones are found again or are gone.
        let nameless = listing.messages.iter().filter(|message| message.uidl.is_none()).count();
        let fetched_nameless = self.steps.iter().filter(|step| step.message.uidl.is_none()).count();
        for (name, (_, text)) in &memory.fetched {
            match name {
                Name::Uidl(_) if !listed.contains(name) => self.forget.push(text.clone()),
                Name::Octets(_) if nameless == 0 => self.forget.push(text.clone()),
                Name::Octets(_) if fetched_nameless == nameless => {
                    self.unless_seen.insert(name.clone(), text.clone());
                }
                _ => {}
            }
        }
        let told = memory.told.iter().filter(|(name, _)| !listed.contains(name));
        self.forget.extend(told.map(|(_, text)| text.clone()));
        self.forget.extend(memory.unreadable.iter().cloned());
    }
}
