//! The changes of the store, and their outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::content::{
    Accept, Attempt, Content, Delivery, Done, Expunge, FolderId, MailboxId, MailboxState, Origin, QueueId,
    Sequence, SetFlags, Uid, Uidls,
};
use super::log::fits;
use super::mailbox::Mailbox;
use super::state::State;
use super::{
    FOLDERS_MAX, MAILBOXES_MAX, NAME_OCTETS_MAX, RECIPIENTS_MAX, REPLY_OCTETS_MAX, Settings, UIDS_MAX,
};

/// The text of a probe's record.
pub(super) const PROBE: &str = "a probe of the log";

/// A change of the stored state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Accepts a message that fits in a record. Longer ones are [begun](super::Store::begin). One without a receiver is
    /// rejected; a polled one is [seen](Change::Seen).
    Accept(Accept, Vec<u8>),
    /// Sets the progress of a remote delivery. Of its reply the first [`REPLY_OCTETS_MAX`] octets are stored.
    Attempt(Attempt),
    /// A queue entry is over.
    Done(Done),
    /// Messages of a mailbox are removed. Those that are not there are not missed.
    Expunge(Expunge),
    /// Messages of a mailbox get other flags. Those that are not there are not missed.
    Flags(SetFlags),
    /// A mailbox is made.
    MakeMailbox {
        /// Its name, which no other mailbox has.
        name: String,
        /// How many octets it may hold; 0 for any number.
        quota: u64,
        /// The time of day, in seconds since 1970.
        time: u64,
    },
    /// Sets the name, quota, or list of folders of a mailbox. To add a folder use [AddFolder](Change::AddFolder), as a
    /// list overwrites concurrent additions.
    SetMailbox {
        /// The mailbox.
        id: MailboxId,
        /// Its name, which no other mailbox has.
        name: String,
        /// How many octets it may hold; 0 for any number.
        quota: u64,
        /// The names of its folders, by their ids: those that there are, perhaps with other names, and new ones behind.
        folders: Vec<String>,
    },
    /// A mailbox gets a folder, unless it has one of that name.
    AddFolder {
        /// The mailbox.
        id: MailboxId,
        /// The folder's name.
        name: String,
    },
    /// A mailbox is removed, with all that is in it.
    RemoveMailbox(MailboxId),
    /// Remembers messages of a polled account as fetched.
    Seen(Uidls),
    /// Forgets messages of a polled account.
    Forget(Uidls),
    /// A note for readers of the log. If it is no longer than [`NOTE_OCTETS_MAX`](super::NOTE_OCTETS_MAX), it stays
    /// until [`NOTES_KEPT`](super::NOTES_KEPT) other records have come, or the disk is full; else until its segment is
    /// compacted.
    Note(String),
    /// An empty record: when it is durable, the log accepts changes of that size.
    Probe,
}

/// A change that is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The number of its record; `None` if there was nothing to change. It identifies an accepted message.
    pub sequence: Option<Sequence>,
    /// The numbers that an accepted message has in mailboxes, in the order of its deliveries.
    pub uids: Vec<(MailboxId, Uid)>,
    /// The mailbox that was made.
    pub mailbox: Option<MailboxId>,
    /// The folder, added or existing.
    pub folder: Option<FolderId>,
    /// Whether an accepted message has remote recipients, which are in the queue.
    pub is_queued: bool,
    /// Mailboxes that hold nine tenths of their quota since this message.
    pub nearly_full: Vec<MailboxId>,
}

/// Why a change is not made. Nothing has changed then, and will not after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The disk is full. Deletions are still possible.
    NoRoom,
    /// The mailbox is full.
    MailboxFull(MailboxId),
    /// There is no such mailbox, or no such folder in it.
    NoMailbox(MailboxId),
    /// There is no such queue entry.
    NoEntry(QueueId),
    /// A message has no receiver.
    NoRecipient,
    /// Another mailbox has that name.
    NameTaken,
    /// Two folders of the mailbox would have one name.
    FolderTwice,
    /// More than one of the store's limits allows: which.
    TooMuch(&'static str),
    /// Too much waits already: for the disk, or in the queue.
    Busy,
    /// The disk failed: how.
    Disk(String),
    /// A newer program has written here. This one changes nothing.
    Newer,
    /// There is no such draft, or it is committed already.
    NoDraft,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("the disk is full"),
            Self::MailboxFull(_) => f.write_str("the mailbox is full"),
            Self::NoMailbox(_) => f.write_str("there is no such mailbox or folder"),
            Self::NoEntry(entry) => write!(f, "there is no {entry} in the queue"),
            Self::NoRecipient => f.write_str("the message is for nobody"),
            Self::NameTaken => f.write_str("another mailbox has that name"),
            Self::FolderTwice => f.write_str("two folders would have one name"),
            Self::TooMuch(limit) => write!(f, "more than the store's limit: {limit}"),
            Self::Busy => f.write_str("too much waits already"),
            Self::Disk(error) => write!(f, "the disk failed: {error}"),
            Self::Newer => f.write_str("a newer version of this program has written to the mail store"),
            Self::NoDraft => f.write_str("there is no such message on its way in"),
        }
    }
}

impl std::error::Error for StoreError {}

impl Change {
    /// Whether it needs the room that is reserved for deletions when the disk is full.
    pub(super) fn grows(&self) -> bool {
        matches!(
            self,
            Self::Accept(..)
                | Self::MakeMailbox { .. }
                | Self::AddFolder { .. }
                | Self::Seen(_)
                | Self::Note(_)
        )
    }

    /// Whether it changes the set of mailboxes, on which others in a batch depend.
    pub(super) fn is_structural(&self) -> bool {
        matches!(
            self,
            Self::MakeMailbox { .. }
                | Self::SetMailbox { .. }
                | Self::AddFolder { .. }
                | Self::RemoveMailbox(_)
        )
    }

    /// The body of its record.
    pub(super) fn body(&self) -> &[u8] {
        if let Self::Accept(_, body) = self { body } else { &[] }
    }

    /// An estimate of its record's length.
    pub(super) fn len(&self) -> usize {
        const OF_LINE: usize = 200;
        match self {
            Self::Accept(accept, body) => {
                let of_delivery = |delivery: &Delivery| {
                    delivery.prefix.len() + delivery.also_for.iter().map(String::len).sum::<usize>()
                };
                let prefixes: usize = accept.deliveries.iter().map(of_delivery).sum();
                let remotes = accept.remotes.iter();
                let remotes: usize =
                    remotes.map(|remote| remote.recipient.len() + remote.options.len()).sum();
                let lines = 2 + accept.deliveries.len() + accept.remotes.len();
                body.len() + prefixes + remotes + accept.results.len() + lines * OF_LINE
            }
            Self::Expunge(expunge) => OF_LINE + expunge.uids.len() * 8,
            Self::Flags(set) => OF_LINE + set.uids.len() * 8,
            Self::Seen(uidls) | Self::Forget(uidls) => (1 + uidls.uidls.len()) * OF_LINE,
            Self::Attempt(attempt) => OF_LINE + attempt.progress.reply.len(),
            Self::Done(done) => OF_LINE + done.reply.len(),
            Self::Note(note) => OF_LINE + note.len(),
            Self::Probe
            | Self::MakeMailbox { .. }
            | Self::SetMailbox { .. }
            | Self::AddFolder { .. }
            | Self::RemoveMailbox(_) => OF_LINE,
        }
    }
}

impl State {
    /// The mailbox of that name, and the change that creates it or sets its quota, if one is needed. `time` is of day,
    /// in seconds since 1970.
    pub fn provision(&self, name: &str, quota: u64, time: u64) -> (Option<MailboxId>, Option<Change>) {
        let name = name.to_owned();
        let Some(known) = self.mailbox_named(&name).map(Mailbox::state) else {
            return (None, Some(Change::MakeMailbox { name, quota, time }));
        };
        let (id, folders) = (known.id, known.folders.clone());
        let differs = known.quota != quota;
        (Some(id), differs.then_some(Change::SetMailbox { id, name, quota, folders }))
    }
}

/// The sizes that a batch in the making adds to mailboxes.
pub(super) type Added = BTreeMap<MailboxId, u64>;

/// The record for `change`, or `None` if there is nothing to change; and the outcome. Numbers are taken from `state`.
pub(super) fn resolve(
    change: &Change,
    state: &mut State,
    added: &mut Added,
    settings: &Settings,
) -> Result<(Option<Content>, Stored), StoreError> {
    let mut stored = Stored::default();
    let content = match change {
        Change::Accept(accept, body) => {
            let mut accept = accept.clone();
            check_accept(&accept, state, settings)?;
            let sizes = sizes(&accept, body);
            for (delivery, size) in accept.deliveries.iter().zip(&sizes) {
                let before = added.get(&delivery.mailbox).copied().unwrap_or(0);
                let mailbox =
                    state.mailbox(delivery.mailbox).ok_or(StoreError::NoMailbox(delivery.mailbox))?;
                let quota = mailbox.state.quota;
                if mailbox.state.uid_next == Uid::MAX {
                    return Err(StoreError::MailboxFull(delivery.mailbox));
                }
                if quota > 0 && mailbox.used().saturating_add(before).saturating_add(*size) > quota {
                    return Err(StoreError::MailboxFull(delivery.mailbox));
                }
            }
            stored.is_queued = !accept.remotes.is_empty();
            for (remote, number) in accept.remotes.iter_mut().zip(0..) {
                remote.number = number;
                cut(&mut remote.progress.reply);
            }
            for delivery in &mut accept.deliveries {
                // A number of as many digits as any, to see whether the record fits.
                (delivery.uid, delivery.modseq) = (Uid::MAX, 0);
            }
            let content = Content::Accept(accept);
            if !fits(&content, body) {
                return Err(StoreError::TooMuch("octets of a record"));
            }
            let Content::Accept(mut accept) = content else { return Ok((None, stored)) };
            for (delivery, size) in accept.deliveries.iter_mut().zip(sizes) {
                let Some(mailbox) = state.mailboxes.get_mut(&delivery.mailbox) else { continue };
                delivery.uid = mailbox.state.uid_next;
                mailbox.state.uid_next = delivery.uid.saturating_add(1);
                *added.entry(delivery.mailbox).or_default() += size;
                stored.uids.push((delivery.mailbox, delivery.uid));
            }
            Content::Accept(accept)
        }
        Change::Attempt(attempt) => {
            state.queued(attempt.entry).ok_or(StoreError::NoEntry(attempt.entry))?;
            let mut attempt = attempt.clone();
            cut(&mut attempt.progress.reply);
            Content::Attempt(attempt)
        }
        Change::Done(done) => {
            if state.queued(done.entry).is_none() {
                return Ok((None, stored));
            }
            let mut done = done.clone();
            cut(&mut done.reply);
            Content::Done(done)
        }
        Change::Expunge(Expunge { mailbox, uids }) => {
            let uids = present(state, *mailbox, uids)?;
            if uids.is_empty() {
                return Ok((None, stored));
            }
            Content::Expunge(Expunge { mailbox: *mailbox, uids })
        }
        Change::Flags(set) => {
            let uids = present(state, set.mailbox, &set.uids)?;
            if uids.is_empty() {
                return Ok((None, stored));
            }
            Content::Flags(SetFlags { uids, modseq: 0, ..set.clone() })
        }
        Change::MakeMailbox { name, quota, time } => {
            check_name(state, name, None)?;
            if state.mailboxes.len() >= MAILBOXES_MAX || state.next_mailbox == u32::MAX {
                return Err(StoreError::TooMuch("mailboxes, those that were removed included"));
            }
            let of_time = u32::try_from(*time).unwrap_or(u32::MAX);
            let id = MailboxId(state.next_mailbox.max(1));
            // Neither is used again, even if the record fails.
            state.next_mailbox = id.0 + 1;
            state.last_uid_validity = of_time.max(state.last_uid_validity.saturating_add(1));
            stored.mailbox = Some(id);
            Content::Mailbox(MailboxState {
                id,
                name: name.clone(),
                uid_validity: state.last_uid_validity,
                uid_next: 1,
                quota: *quota,
                is_removed: false,
                folders: vec!["INBOX".to_owned()],
            })
        }
        Change::SetMailbox { id, name, quota, folders } => {
            let mailbox = state.mailbox(*id).ok_or(StoreError::NoMailbox(*id))?;
            check_name(state, name, Some(*id))?;
            if folders.len() < mailbox.state.folders.len() || folders.len() > FOLDERS_MAX {
                return Err(StoreError::TooMuch("folders of a mailbox"));
            }
            folders.iter().try_for_each(|name| check_length(name))?;
            if folders.iter().collect::<BTreeSet<_>>().len() < folders.len() {
                return Err(StoreError::FolderTwice);
            }
            let (name, quota, folders) = (name.clone(), *quota, folders.clone());
            Content::Mailbox(MailboxState { name, quota, folders, ..mailbox.state.clone() })
        }
        Change::AddFolder { id, name } => {
            let known = &state.mailbox(*id).ok_or(StoreError::NoMailbox(*id))?.state;
            check_length(name)?;
            let at = known.folders.iter().position(|folder| folder == name);
            let id_of = |at: usize| FolderId(u16::try_from(at).unwrap_or(u16::MAX));
            stored.folder = Some(id_of(at.unwrap_or(known.folders.len())));
            if at.is_some() {
                return Ok((None, stored));
            }
            if known.folders.len() >= FOLDERS_MAX {
                return Err(StoreError::TooMuch("folders of a mailbox"));
            }
            let mut mailbox = known.clone();
            mailbox.folders.push(name.clone());
            Content::Mailbox(mailbox)
        }
        Change::RemoveMailbox(id) => {
            let mailbox = state.mailbox(*id).ok_or(StoreError::NoMailbox(*id))?;
            Content::Mailbox(MailboxState { is_removed: true, folders: Vec::new(), ..mailbox.state.clone() })
        }
        Change::Seen(uidls) => {
            check_uidls(uidls)?;
            check_seen(state, uidls.uidls.len(), settings)?;
            Content::Seen(uidls.clone())
        }
        Change::Forget(uidls) => {
            check_uidls(uidls)?;
            Content::Forget(uidls.clone())
        }
        Change::Note(note) => Content::Note(note.clone()),
        Change::Probe => Content::Note(PROBE.to_owned()),
    };
    if !fits(&content, change.body()) {
        return Err(StoreError::TooMuch("octets of a record"));
    }
    Ok((Some(content), stored))
}

fn check_accept(accept: &Accept, state: &State, settings: &Settings) -> Result<(), StoreError> {
    let count = accept.deliveries.len() + accept.remotes.len();
    if count == 0 {
        return Err(StoreError::NoRecipient);
    }
    if count > RECIPIENTS_MAX {
        return Err(StoreError::TooMuch("recipients of a message"));
    }
    // A notice replaces the entries that it ends, so a full queue does not block.
    let ended = accept.ends.iter().filter(|id| state.queue.contains_key(id)).count();
    let queued = (state.queue.len() + accept.remotes.len()).saturating_sub(ended);
    if !accept.remotes.is_empty() && queued > settings.queue_max {
        return Err(StoreError::Busy);
    }
    if matches!(accept.origin, Origin::Polled { .. }) {
        check_seen(state, 1, settings)?;
    }
    let mut mailboxes = BTreeSet::new();
    for delivery in &accept.deliveries {
        let id = delivery.mailbox;
        let mailbox = state.mailbox(id).ok_or(StoreError::NoMailbox(id))?;
        if usize::from(delivery.folder.0) >= mailbox.state.folders.len() {
            return Err(StoreError::NoMailbox(id));
        }
        if mailbox.entries().len() >= settings.messages_max {
            return Err(StoreError::MailboxFull(id));
        }
        if !mailboxes.insert(id) {
            return Err(StoreError::TooMuch("deliveries of a message to one mailbox"));
        }
    }
    Ok(())
}

/// Truncates a reply. A copy of the message's record holds those of all of its recipients.
fn cut(reply: &mut String) {
    reply.truncate(reply.floor_char_boundary(REPLY_OCTETS_MAX));
}

/// The octets that each delivery adds to its mailbox.
pub(super) fn sizes(accept: &Accept, body: &[u8]) -> Vec<u64> {
    let of_body = match accept.body {
        super::content::Body::Inline => body.len() as u64,
        super::content::Body::File { len, .. } => len,
    };
    accept.deliveries.iter().map(|delivery| of_body.saturating_add(delivery.prefix.len() as u64)).collect()
}

fn check_length(name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > NAME_OCTETS_MAX {
        return Err(StoreError::TooMuch("octets of a name"));
    }
    Ok(())
}

fn check_name(state: &State, name: &str, own: Option<MailboxId>) -> Result<(), StoreError> {
    check_length(name)?;
    let other = state.names.get(name).filter(|id| Some(**id) != own);
    if other.is_some() { Err(StoreError::NameTaken) } else { Ok(()) }
}

fn check_seen(state: &State, count: usize, settings: &Settings) -> Result<(), StoreError> {
    let is_too_much = state.seen.len() + count > settings.seen_max;
    if is_too_much { Err(StoreError::TooMuch("messages that were fetched elsewhere")) } else { Ok(()) }
}

fn check_uidls(uidls: &Uidls) -> Result<(), StoreError> {
    if uidls.uidls.len() > UIDS_MAX { Err(StoreError::TooMuch("messages of one change")) } else { Ok(()) }
}

/// Those of `uids` that are in the mailbox.
fn present(state: &State, id: MailboxId, uids: &[Uid]) -> Result<Vec<Uid>, StoreError> {
    if uids.len() > UIDS_MAX {
        return Err(StoreError::TooMuch("messages of one change"));
    }
    let mailbox = state.mailbox(id).ok_or(StoreError::NoMailbox(id))?;
    Ok(uids.iter().copied().filter(|uid| mailbox.entry(*uid).is_some()).collect())
}
