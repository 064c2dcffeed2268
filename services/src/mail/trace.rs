//! Traces: the store's knowledge of a message, from the record that accepted it to each copy's place.
//!
//! Records stay in the log until their segment is compacted, and then those without a valid fact are dropped: for a
//! message in a mailbox or the queue, the fates of its other copies; for others everything, sooner or later. The
//! effects of rules stay until [`NOTES_KEPT`](super::store::NOTES_KEPT) later records have come. The trace shows what
//! is left, and the copies with an unknown outcome.
//!
//! Nothing is written, and a gateway may be running there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::str::FromStr;

use super::header;
use super::queue::{DELETED, Options};
use super::store::{
    Accept, Body, BodyOctets, Content, Delivery, Done, History, MailboxId, NOTE_OCTETS_MAX, Origin, Progress,
    QueueId, Record, Remote, Sequence, State, Uid, history, read_body_part, recover,
};
use crate::store::Storage;

/// The most messages of one trace.
pub const MESSAGES_MAX: usize = 20;
/// The octets of a large body in which its header is searched.
const HEAD_OCTETS: usize = 64 << 10;
/// How often the log is read: the second time finds changes made meanwhile, and records before the one by which a
/// message was found by its identifier.
const LOOKS_MAX: usize = 2;

/// Which messages are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That of the store's number.
    Number(Sequence),
    /// That of a queue entry, which is or was there.
    Entry(QueueId),
    /// The message that SMTP accepted with this identifier.
    Taken(String),
    /// Those that call themselves so, without angle brackets.
    MessageId(String),
}

/// A text that calls no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoName;

impl FromStr for Wanted {
    type Err = NoName;

    /// Reads `12` or `12.0`, as the queue has it; `65e07d30.0123456789abcdef`, as SMTP replies; or a Message-ID.
    fn from_str(text: &str) -> Result<Self, NoName> {
        let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
        if bare.is_some() || text.contains('@') {
            let id = bare.unwrap_or(text).trim();
            return if id.is_empty() { Err(NoName) } else { Ok(Self::MessageId(id.to_owned())) };
        }
        let (first, second) = text.split_once('.').unwrap_or((text, ""));
        let is_hexadecimal = |text: &str| text.bytes().all(|octet| octet.is_ascii_hexdigit());
        if second.len() == 16 && !first.is_empty() && is_hexadecimal(first) && is_hexadecimal(second) {
            return Ok(Self::Taken(text.to_ascii_lowercase()));
        }
        let message = first.parse().map_err(|_| NoName)?;
        if !text.contains('.') {
            return Ok(Self::Number(message));
        }
        let recipient = second.parse().map_err(|_| NoName)?;
        Ok(Self::Entry(QueueId { message, recipient }))
    }
}

impl Wanted {
    /// The store's number, if it is known from the beginning.
    fn number(&self) -> Option<Sequence> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Entry(entry) => Some(entry.message),
            Self::Taken(_) | Self::MessageId(_) => None,
        }
    }
}

/// The client of a message accepted by SMTP or LMTP, as the record of the message has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The client's address.
    pub peer: String,
    /// The client's HELO name.
    pub helo: String,
    /// The identifier in the reply.
    pub id: String,
    /// The authenticated user.
    pub user: Option<String>,
}

impl fmt::Display for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, helo, id, user } = self;
        write!(f, "{peer} {helo} as {id}")?;
        user.iter().try_for_each(|user| write!(f, " by {user}"))
    }
}

impl Handed {
    /// Parses the source in a record; `None` if the message has another origin.
    pub fn parse(source: &str) -> Option<Self> {
        // The HELO name can contain spaces; the rest does not.
        let (client, taken) = source.rsplit_once(" as ")?;
        let (peer, helo) = client.split_once(' ').unwrap_or((client, ""));
        let (id, user) = match taken.split_once(" by ") {
            Some((id, user)) => (id, Some(user.to_owned())),
            None => (taken, None),
        };
        Some(Self { peer: peer.to_owned(), helo: helo.to_owned(), id: id.to_owned(), user })
    }
}

/// The result of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The messages, by their numbers.
    pub messages: Vec<Traced>,
    /// Notes of messages that rules have discarded.
    pub discarded: Vec<String>,
    /// Whether there are more messages, which are not shown.
    pub is_cut: bool,
    /// Whether something of the store cannot be read.
    pub is_damaged: bool,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// Its number.
    pub id: Sequence,
    /// Its acceptance; `None` if its record is gone.
    pub accepted: Option<Accepted>,
    /// Its copies.
    pub copies: Vec<Copy>,
    /// The effects of rules.
    pub rules: Vec<String>,
}

/// The acceptance of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// When, in seconds since 1970.
    pub time: u64,
    /// The source, as text.
    pub source: String,
    /// Its origin.
    pub origin: Origin,
    /// The address that bounces go to; empty for a bounce.
    pub return_path: String,
    /// The results of SPF, DKIM and DMARC.
    pub results: String,
    /// Its length in octets, without the header lines that are a mailbox's own.
    pub size: u64,
    /// Its Message-ID, without angle brackets.
    pub message_id: Option<String>,
}

/// A copy of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The address that the sender used, or that a rule forwarded it from, if known.
    pub asked: Option<String>,
    /// The receiving address, if known.
    pub recipient: Option<String>,
    /// Its place or outcome.
    pub fate: CopyState,
}

/// The place or outcome of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// In a mailbox.
    Here {
        /// The user.
        mailbox: String,
        /// The folder.
        folder: String,
        /// Its number there.
        uid: Uid,
    },
    /// It was deleted from a mailbox, by POP3 or as `mail.keep_days` has it.
    Deleted {
        /// The user.
        mailbox: String,
        /// The number it had there.
        uid: Uid,
    },
    /// Its mailbox was removed.
    MailboxRemoved,
    /// It waits in the queue.
    Queued(QueueId, Progress),
    /// Another server has accepted it.
    Delivered(Done),
    /// It could not be delivered, and no notice was due.
    Failed(Done),
    /// The administrator deleted it from the queue.
    Cancelled(Done),
    /// It could not be delivered, and the sender or the postmaster has a notice, of this number.
    Bounced(QueueId, Sequence),
    /// It is gone, and the store does not have its outcome.
    Unknown(Option<QueueId>),
}

impl CopyState {
    /// The queue entry that it is about.
    pub fn entry(&self) -> Option<QueueId> {
        match self {
            Self::Here { .. } | Self::Deleted { .. } | Self::MailboxRemoved => None,
            Self::Queued(entry, _) | Self::Bounced(entry, _) => Some(*entry),
            Self::Delivered(done) | Self::Failed(done) | Self::Cancelled(done) => Some(done.entry),
            Self::Unknown(entry) => *entry,
        }
    }
}

/// A record about a traced message.
enum Fact {
    Accepted(Sequence, Box<(Accept, Accepted)>),
    Over(Done),
    Told(Vec<QueueId>, Sequence),
    Expunged(MailboxId, Vec<Uid>),
    /// Of a message, by a record of this number.
    Rule(Sequence, Sequence, String),
    /// By a record of this number.
    Discarded(Sequence, String),
}

/// The note about the message `of` for traces: the effects of rules. `None` without effects.
pub fn note(of: impl fmt::Display, acts: &[String]) -> Option<String> {
    (!acts.is_empty()).then(|| written(of, acts))
}

fn written(of: impl fmt::Display, acts: &[String]) -> String {
    let mut note = format!("of {of}: {}", acts.join("; "));
    note.truncate(note.floor_char_boundary(NOTE_OCTETS_MAX));
    note
}

/// The same for a message that rules discarded, with its other properties. SMTP has accepted it as `of`, or it was
/// fetched from the account `of`.
pub fn discarded(
    of: &str,
    source: impl fmt::Display,
    return_path: &str,
    fields: &[(String, String)],
    acts: &[String],
) -> String {
    let mut came = format!("from {source}, return path <{return_path}>");
    let message_id = fields.iter().find(|(name, _)| name == "message-id").map(|(_, value)| value.trim());
    if let Some(message_id) = message_id.filter(|id| !id.is_empty()) {
        came += &format!(", Message-ID {message_id}");
    }
    written(of, &[&[came], acts].concat())
}

/// Traces the messages that are `wanted`.
///
/// # Errors
///
/// An error of the storage.
pub fn trace(disk: &dyn Storage, wanted: &Wanted) -> io::Result<Trace> {
    let (mut trace, mut found) = (Trace::default(), Found::default());
    found.messages.extend(wanted.number());
    for look in 1..=LOOKS_MAX {
        let mut search = Search { disk, wanted, found, discarded: BTreeSet::new(), is_cut: false };
        let History { picked, is_cut } = history(disk, |record| search.pick(record))?;
        let recovered = recover(disk)?;
        trace = put_together(picked, recovered.state());
        if let Wanted::Entry(entry) = wanted {
            let has_entry =
                |message: &Traced| message.copies.iter().any(|copy| copy.fate.entry() == Some(*entry));
            trace.messages.retain(has_entry);
        }
        trace.is_cut = is_cut || search.is_cut;
        trace.is_damaged = recovered.report().is_damaged();
        found = search.found;
        let is_found = look > 1 || wanted.number().is_some();
        let mut copies = trace.messages.iter().flat_map(|message| &message.copies);
        if is_found && !copies.any(|copy| matches!(copy.fate, CopyState::Unknown(_))) {
            break;
        }
    }
    Ok(trace)
}

/// The messages that are meant.
#[derive(Default)]
struct Found {
    messages: BTreeSet<Sequence>,
    deliveries: BTreeSet<(MailboxId, Uid)>,
}

/// Searches for the traced messages, and records about them.
struct Search<'a> {
    disk: &'a dyn Storage,
    wanted: &'a Wanted,
    found: Found,
    /// Discarded messages, by the numbers of their notes.
    discarded: BTreeSet<Sequence>,
    is_cut: bool,
}

impl Search<'_> {
    fn pick(&mut self, record: Record<'_>) -> Option<Fact> {
        match record.content {
            Content::Accept(accept) => self.pick_accept(record, accept),
            Content::Done(done) => {
                self.found.messages.contains(&done.entry.message).then(|| Fact::Over(done.clone()))
            }
            Content::Expunge(expunge) => {
                let uids = expunge.uids.iter().copied();
                let uids: Vec<_> =
                    uids.filter(|uid| self.found.deliveries.contains(&(expunge.mailbox, *uid))).collect();
                (!uids.is_empty()).then_some(Fact::Expunged(expunge.mailbox, uids))
            }
            Content::Note(note) => self.pick_note(record.sequence, note),
            _ => None,
        }
    }

    fn pick_accept(&mut self, record: Record<'_>, accept: &Accept) -> Option<Fact> {
        let Record { sequence, body, .. } = record;
        let is_known = self.found.messages.contains(&sequence);
        let message_id = || message_id(self.disk, accept, body);
        let is_wanted = match self.wanted {
            Wanted::Number(_) | Wanted::Entry(_) => is_known,
            Wanted::Taken(id) => Handed::parse(&accept.source).is_some_and(|handed| handed.id == *id),
            Wanted::MessageId(id) => message_id().as_ref() == Some(id),
        };
        if !is_wanted {
            let ends = accept.ends.iter().copied();
            let ends: Vec<_> = ends.filter(|entry| self.found.messages.contains(&entry.message)).collect();
            return (!ends.is_empty()).then_some(Fact::Told(ends, sequence));
        }
        if !is_known && self.found.messages.len() >= MESSAGES_MAX {
            self.is_cut = true;
            return None;
        }
        let accepted = Accepted {
            time: accept.time,
            source: accept.source.clone(),
            origin: accept.origin.clone(),
            return_path: accept.return_path.clone(),
            results: accept.results.clone(),
            size: match accept.body {
                // A length in memory fits.
                Body::Inline => body.len() as u64,
                Body::File { len, .. } => len,
            },
            message_id: message_id(),
        };
        self.found.messages.insert(sequence);
        let deliveries = accept.deliveries.iter().map(|delivery| (delivery.mailbox, delivery.uid));
        self.found.deliveries.extend(deliveries);
        Some(Fact::Accepted(sequence, Box::new((accept.clone(), accepted))))
    }

    fn pick_note(&mut self, sequence: Sequence, note: &str) -> Option<Fact> {
        let (of, acts) = note.strip_prefix("of ")?.split_once(": ")?;
        if let Some(message) = of.parse().ok().filter(|number| self.found.messages.contains(number)) {
            return Some(Fact::Rule(message, sequence, acts.to_owned()));
        }
        let is_meant = match self.wanted {
            Wanted::Number(_) | Wanted::Entry(_) => false,
            Wanted::Taken(id) => of == id,
            Wanted::MessageId(id) => {
                let came = acts.split_once("; ").map_or(acts, |(came, _)| came);
                came.rsplit_once(", Message-ID ").is_some_and(|(_, value)| bare(value) == id)
            }
        };
        if !is_meant {
            return None;
        }
        if !self.discarded.contains(&sequence) && self.discarded.len() >= MESSAGES_MAX {
            self.is_cut = true;
            return None;
        }
        self.discarded.insert(sequence);
        Some(Fact::Discarded(sequence, acts.to_owned()))
    }
}

/// What a message calls itself, without angle brackets.
fn message_id(disk: &dyn Storage, accept: &Accept, body: &[u8]) -> Option<String> {
    let fields = match accept.body {
        Body::Inline => header::fields(body),
        Body::File { .. } => {
            let body = BodyOctets::of(accept, body);
            header::fields(&read_body_part(disk, &body, 0, HEAD_OCTETS).ok()?)
        }
    };
    let value = fields.into_iter().find(|(name, _)| name == "message-id")?.1;
    Some(bare(&value).to_owned()).filter(|id| !id.is_empty())
}

/// A Message-ID without angle brackets.
fn bare(value: &str) -> &str {
    value.strip_prefix('<').and_then(|value| value.strip_suffix('>')).unwrap_or(value)
}

/// What is known of one message's copies.
#[derive(Default)]
struct Known {
    accepted: Option<Accepted>,
    deliveries: BTreeMap<(MailboxId, Uid), Delivery>,
    remotes: BTreeMap<QueueId, Option<Remote>>,
    rules: BTreeMap<Sequence, String>,
}

fn put_together(picked: Vec<Fact>, state: &State) -> Trace {
    let mut messages = BTreeMap::<Sequence, Known>::new();
    let (mut over, mut told) = (BTreeMap::<QueueId, Done>::new(), BTreeMap::<QueueId, Sequence>::new());
    let mut expunged = BTreeSet::new();
    let mut discarded = BTreeMap::new();
    for fact in picked {
        match fact {
            Fact::Accepted(id, of_record) => {
                let (accept, accepted) = *of_record;
                let known = messages.entry(id).or_default();
                // A record that takes this one's place has what is left of it.
                known.accepted.get_or_insert(accepted);
                for delivery in accept.deliveries {
                    known.deliveries.entry((delivery.mailbox, delivery.uid)).or_insert(delivery);
                }
                for remote in accept.remotes {
                    let entry = QueueId { message: id, recipient: remote.number };
                    known.remotes.insert(entry, Some(remote));
                }
            }
            Fact::Over(done) => {
                messages.entry(done.entry.message).or_default().remotes.entry(done.entry).or_default();
                over.insert(done.entry, done);
            }
            Fact::Told(entries, notice) => {
                for entry in entries {
                    messages.entry(entry.message).or_default().remotes.entry(entry).or_default();
                    told.insert(entry, notice);
                }
            }
            Fact::Expunged(mailbox, uids) => expunged.extend(uids.into_iter().map(|uid| (mailbox, uid))),
            // A copy that compaction has made has the number of the record that it is of.
            Fact::Rule(id, by, acts) => _ = messages.entry(id).or_default().rules.insert(by, acts),
            Fact::Discarded(by, acts) => _ = discarded.insert(by, acts),
        }
    }
    let traced = messages.into_iter().map(|(id, known)| {
        let here = known.deliveries.into_values().flat_map(|delivery| {
            let is_expunged = expunged.contains(&(delivery.mailbox, delivery.uid));
            of_delivery(&delivery, state, is_expunged)
        });
        let elsewhere = known.remotes.into_iter().flat_map(|(entry, remote)| {
            let fate = match (state.queued(entry), told.get(&entry), over.remove(&entry)) {
                (Some(queued), ..) => CopyState::Queued(entry, queued.progress.clone()),
                (None, Some(notice), _) => CopyState::Bounced(entry, *notice),
                (None, None, Some(done)) => of_done(done),
                (None, None, None) => CopyState::Unknown(Some(entry)),
            };
            let recipient = remote.as_ref().map(|remote| remote.recipient.clone());
            let Options { forwarded_by, also_for, .. } =
                remote.map(|remote| Options::parse(&remote.options)).unwrap_or_default();
            let first = forwarded_by.map(|by| by.to_string()).or_else(|| recipient.clone());
            of_each(first, also_for.iter().map(ToString::to_string), &Copy { asked: None, recipient, fate })
        });
        let copies = here.chain(elsewhere).collect();
        Traced { id, accepted: known.accepted, copies, rules: known.rules.into_values().collect() }
    });
    let messages = traced.collect();
    Trace { messages, discarded: discarded.into_values().collect(), ..Trace::default() }
}

fn of_done(done: Done) -> CopyState {
    match done.reply.as_bytes().first() {
        Some(b'2') => CopyState::Delivered(done),
        Some(_) if done.reply == DELETED => CopyState::Cancelled(done),
        Some(_) => CopyState::Failed(done),
        None => CopyState::Unknown(Some(done.entry)),
    }
}

/// `copy` for each address by which the message came to it.
fn of_each(first: Option<String>, also: impl Iterator<Item = String>, copy: &Copy) -> Vec<Copy> {
    let mut all: Vec<Copy> = Vec::new();
    for asked in [first].into_iter().chain(also.map(Some)) {
        if all.iter().all(|known| known.asked != asked) {
            all.push(Copy { asked, ..copy.clone() });
        }
    }
    all
}

fn of_delivery(delivery: &Delivery, state: &State, is_expunged: bool) -> Vec<Copy> {
    let Delivery { mailbox, uid, prefix, also_for, .. } = delivery;
    let fields = header::fields(prefix);
    let field = |wanted: &str| {
        let mut fields = fields.iter().filter(|(name, _)| name == wanted);
        fields.next().map(|(_, value)| value.clone())
    };
    let fate = match state.mailbox(*mailbox).map(|mailbox| (mailbox, mailbox.entry(*uid))) {
        Some((of, Some(entry))) => CopyState::Here {
            mailbox: of.state().name.clone(),
            folder: of.state().folder_name(entry.folder).to_owned(),
            uid: *uid,
        },
        Some((of, None)) if is_expunged => CopyState::Deleted { mailbox: of.state().name.clone(), uid: *uid },
        Some((_, None)) => CopyState::Unknown(None),
        None => CopyState::MailboxRemoved,
    };
    let recipient = field("delivered-to");
    let first = field("x-original-to").or_else(|| recipient.clone());
    of_each(first, also_for.iter().cloned(), &Copy { asked: None, recipient, fate })
}

#[cfg(test)]
mod tests;
