//! What records say.
//!
//! A record is an assertion that holds from its place in the log on: a delivery has these flags, a mailbox is called
//! so. None says by how much something changes. So a record that is read twice, or that a later one of its number
//! repeats, does no harm.

use std::fmt;
use std::ops::BitOr;

/// A mailbox, which is a person's or a group's with all its folders. Numbers are not used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MailboxId(pub u32);

/// A folder of a mailbox, by its place in the mailbox's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderId(pub u16);

/// The folder in which mail arrives, the only one that POP3 sees.
pub const INBOX: FolderId = FolderId(0);

/// The name of the folder for mail that is perhaps unwanted: the quarantine.
pub const JUNK: &str = "Junk";

/// The number of a message in a mailbox. It grows with every message of the mailbox, whatever its folder, and is not
/// used again. (RFC 9051, section 2.3.1.1)
pub type Uid = u32;

/// The number of a record. An accepted message is called by that of its [`Accept`].
pub type Sequence = u64;

/// A recipient elsewhere of an accepted message: the message, and the recipient's place in its list.
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

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A segment begins.
    Start(Start),
    /// A message was accepted.
    Accept(Accept),
    /// A delivery to another server was tried, or is to be tried at another time.
    Attempt(Attempt),
    /// A queue entry is over.
    Done(Done),
    /// Messages are gone from a mailbox.
    Expunge(Expunge),
    /// Messages have other flags.
    Flags(SetFlags),
    /// A mailbox as it is from now on.
    Mailbox(MailboxState),
    /// Messages of an account elsewhere were fetched.
    Seen(Uidls),
    /// An account elsewhere has no such messages any more.
    Forget(Uidls),
    /// What some records before say is refused, and does not hold.
    Abort(Abort),
    /// For whoever reads the log.
    Note(String),
}

/// The first record of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The segment before, and the octets of it that were synced.
    pub previous: Option<(u32, u64)>,
}

/// An accepted message, with all of its recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// When it was accepted, in seconds since 1970.
    pub time: u64,
    /// Who handed it in: an address, and what the peer called itself.
    pub source: String,
    /// The address that bounces go to; empty for a bounce.
    pub return_path: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What SPF, DKIM and DMARC said, as in the header `Authentication-Results`.
    pub results: String,
    /// The deliveries to mailboxes here, one at most to each.
    pub deliveries: Vec<Delivery>,
    /// The recipients elsewhere.
    pub remotes: Vec<Remote>,
    /// Queue entries that are over by this, such as the one of which it is the bounce.
    pub ends: Vec<QueueId>,
    /// Where its octets are.
    pub body: Body,
}

impl Accept {
    /// Since when the message is here, in seconds since 1970: an imported one was accepted elsewhere before.
    pub fn arrived(&self) -> u64 {
        match self.origin {
            Origin::Imported { at } if at > 0 => at,
            _ => self.time,
        }
    }
}

/// Where a message comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Another program, by SMTP or LMTP.
    #[default]
    Smtp,
    /// An account elsewhere.
    Polled {
        /// The account.
        account: String,
        /// What the message is called there; empty in a copy once that is forgotten.
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
    /// The message's number there. The store gives it when the message is committed.
    pub uid: Uid,
    /// The folder.
    pub folder: FolderId,
    /// The flags.
    pub flags: Flags,
    /// The number of the record that changed the delivery last; 0 for that of the message.
    pub modseq: Sequence,
    /// Header lines before the message that are this delivery's own, such as `Delivered-To`.
    pub prefix: Vec<u8>,
    /// Further addresses by which the sender's message came to this mailbox, for traces. Of very many some are left
    /// out.
    pub also_for: Vec<String>,
}

/// A recipient elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// Its place in the list of recipients. The store gives it when the message is committed.
    pub number: u16,
    /// The address.
    pub recipient: String,
    /// What the sender asked for: `NOTIFY`, `ORCPT`. (RFC 3461)
    pub options: String,
    /// How the delivery stands.
    pub progress: Progress,
}

/// How the delivery to another server stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How often it was tried.
    pub tries: u32,
    /// When it is to be tried next, in seconds since 1970.
    pub due: u64,
    /// Whether it waits until the administrator releases it.
    pub is_held: bool,
    /// Whether the sender was told that it takes long.
    pub is_warned: bool,
    /// What the other server said last, or what came in between.
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

/// How the delivery of a queue entry stands from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The entry.
    pub entry: QueueId,
    /// How it stands.
    pub progress: Progress,
}

/// A queue entry that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The entry.
    pub entry: QueueId,
    /// How it ended, for who asks where the mail is.
    pub reply: String,
    /// When it ended, in seconds since 1970; 0 if that is not known.
    pub time: u64,
}

impl Done {
    /// That `entry` is over. [`MailStore`](super::MailStore) says when.
    pub fn new(entry: QueueId, reply: String) -> Self {
        Self { entry, reply, time: 0 }
    }
}

/// Messages that are gone from a mailbox.
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
    /// The number of the record that said so first; 0 for this one.
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

/// Messages of an account elsewhere, by what they are called there.
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
