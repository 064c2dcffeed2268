//! The content of records.
//!
//! A record asserts a fact that is valid from its position in the log on, such as the flags of a delivery or the name
//! of a mailbox. None is relative. So a record that is read twice, or repeated by a later one with its number, does no
//! known_damage.

use std::fmt;
use std::ops::BitOr;

/// A mailbox, which is a person's or a group's with all its folders. Numbers are not used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailboxId(pub u32);

/// A folder of a mailbox, by its index in the mailbox's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderId(pub u16);

/// The folder in which mail arrives, the only one in POP3.
pub const INBOX: FolderId = FolderId(0);

/// The name of the folder for mail that is perhaps unwanted: the quarantine.
pub const JUNK: &str = "Junk";

/// The unique identifier of a message in a mailbox. It grows with every message of the mailbox, in any folder, and is
/// not reused. (RFC 9051, section 2.3.1.1)
pub type Uid = u32;

/// The number of a record. An accepted message is called by that of its [`Accept`].
pub type Sequence = u64;

/// A remote recipient of an accepted message: the message, and the recipient's index in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueId {
    /// The message.
    pub message: Sequence,
    /// The recipient.
    pub recipient: u16,
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.recipient)
    }
}

/// The flags of a message in a mailbox, as bits. (RFC 9051, section 2.3.2)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// It was read.
    pub const SEEN: Self = Self(1);
    /// It was answered.
    pub const ANSWERED: Self = Self(2);
    /// It is marked.
    pub const FLAGGED: Self = Self(4);
    /// It is to be expunged.
    pub const DELETED: Self = Self(8);
    /// It is not finished.
    pub const DRAFT: Self = Self(16);
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The beginning of a segment.
    Start(Start),
    /// A message was accepted.
    Accept(Accept),
    /// A delivery to another server was tried, or is to be tried at another time.
    Attempt(Attempt),
    /// A queue entry is over.
    Done(Done),
    /// Messages were removed from a mailbox.
    Expunge(Expunge),
    /// Messages have other flags.
    Flags(SetFlags),
    /// A mailbox as it is from now on.
    Mailbox(MailboxState),
    /// Messages of a polled account were fetched.
    Seen(Uidls),
    /// A polled account does not have these messages any more.
    Forget(Uidls),
    /// Some earlier records were rejected, and are invalid.
    Abort(Abort),
    /// A note for readers of the log.
    Note(String),
}

/// The first record of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The segment before, and the number of its octets that were synced.
    pub previous: Option<(u32, u64)>,
}

/// An accepted message, with all of its recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// When it was accepted, in seconds since 1970.
    pub time: u64,
    /// The client: its address and HELO name.
    pub source: String,
    /// The address that bounces go to; empty for a bounce.
    pub return_path: String,
    /// Its origin.
    pub origin: Origin,
    /// The results of SPF, DKIM and DMARC, as in the header `Authentication-Results`.
    pub results: String,
    /// The deliveries to mailboxes here, one at most to each.
    pub deliveries: Vec<Delivery>,
    /// The remote recipients.
    pub remotes: Vec<Remote>,
    /// Queue entries that are over by this, such as the one of which it is the bounce.
    pub ends: Vec<QueueId>,
    /// Where its octets are.
    pub body: Body,
}

impl Accept {
    /// The time of arrival here, in seconds since 1970: an imported message was accepted elsewhere before.
    pub fn arrived(&self) -> u64 {
        match self.origin {
            Origin::Imported { at } if at > 0 => at,
            _ => self.time,
        }
    }
}

/// The origin of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Another program, by SMTP or LMTP.
    #[default]
    Smtp,
    /// A polled account.
    Polled {
        /// The account.
        account: String,
        /// The message's UIDL there; empty in a copy once that is forgotten.
        uidl: String,
    },
    /// Files, by the administrator.
    Imported {
        /// When, in seconds since 1970; 0 if it was by a version that did not write it.
        at: u64,
    },
    /// The gateway itself: a bounce, a vacation answer.
    Local,
    /// The voice service.
    Voice,
}

/// A delivery of a message to a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The message's UID there. The store assigns it at commit.
    pub uid: Uid,
    /// The folder.
    pub folder: FolderId,
    /// The flags.
    pub flags: Flags,
    /// The number of the record that last changed the delivery; 0 for that of the message.
    pub modseq: Sequence,
    /// Header lines before the message that are this delivery's own, such as `Delivered-To`.
    pub prefix: Vec<u8>,
    /// Further addresses by which the sender's message reached this mailbox, for traces. Very long lists are truncated.
    pub also_for: Vec<String>,
}

/// A remote recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// Its index in the list of recipients. The store assigns it at commit.
    pub number: u16,
    /// The address.
    pub recipient: String,
    /// The sender's DSN options: `NOTIFY`, `ORCPT`. (RFC 3461)
    pub options: String,
    /// The progress of the delivery.
    pub progress: Progress,
}

/// The progress of a remote delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How often it was tried.
    pub tries: u32,
    /// When it is to be tried next, in seconds since 1970.
    pub due: u64,
    /// Whether it waits until the administrator releases it.
    pub is_held: bool,
    /// Whether the sender was notified of a delay.
    pub is_warned: bool,
    /// The last reply of the server, or the last failure.
    pub reply: String,
}

/// Where the octets of a message are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Behind the text of the record.
    #[default]
    Inline,
    /// In a file of its own.
    File {
        /// The file.
        name: BodyName,
        /// Its length in octets.
        len: u64,
        /// The CRC-32 of its octets.
        checksum: u32,
    },
}

/// The name of a file that holds a large body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyName(pub u64);

/// The new progress of a queue entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The entry.
    pub entry: QueueId,
    /// Its progress.
    pub progress: Progress,
}

/// A queue entry that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The entry.
    pub entry: QueueId,
    /// The final reply, for traces.
    pub reply: String,
    /// When it ended, in seconds since 1970; 0 if unknown.
    pub time: u64,
}

impl Done {
    /// The end of `entry`. [`MailStore`](super::MailStore) sets the time.
    pub fn new(entry: QueueId, reply: String) -> Self {
        Self { entry, reply, time: 0 }
    }
}

/// Messages removed from a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expunge {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The messages.
    pub uids: Vec<Uid>,
}

/// Messages that have other flags from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFlags {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The messages.
    pub uids: Vec<Uid>,
    /// All flags that they have.
    pub flags: Flags,
    /// The number of the record that first removed them; 0 for this one.
    pub modseq: Sequence,
}

/// All that a mailbox is, but for the messages in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxState {
    /// Its number.
    pub id: MailboxId,
    /// Its name, as users' configuration has it.
    pub name: String,
    /// It changes if a mailbox is made anew by the same name. (RFC 9051, section 2.3.1.1)
    pub uid_validity: u32,
    /// The number that the next message gets, at least.
    pub uid_next: Uid,
    /// How many octets it may hold; 0 for any number.
    pub quota: u64,
    /// Whether it was removed, with all that was in it.
    pub is_removed: bool,
    /// The names of its folders; the first is the inbox's.
    pub folders: Vec<String>,
}

impl MailboxState {
    /// The name of a folder; that of the inbox for one that there is not.
    pub fn folder_name(&self, folder: FolderId) -> &str {
        self.folders.get(usize::from(folder.0)).map_or("INBOX", String::as_str)
    }

    /// The folder that is called `name`. The inbox is called so in any case. (RFC 9051, section 5.1)
    pub fn folder(&self, name: &str) -> Option<FolderId> {
        if name.eq_ignore_ascii_case("INBOX") {
            return Some(INBOX);
        }
        let at = self.folders.iter().position(|folder| folder == name)?;
        u16::try_from(at).ok().map(FolderId)
    }
}

/// Messages of a polled account, by their UIDLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uidls {
    /// The account.
    pub account: String,
    /// The messages.
    pub uidls: Vec<String>,
}

/// Records that do not hold: of each of these segments those from this offset on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abort {
    /// Segments, and offsets in them.
    pub from: Vec<(u32, u64)>,
}
