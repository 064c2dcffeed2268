//! The backend of a POP3 session.

use std::net::IpAddr;
use std::rc::Rc;

use gatepost_ground::Instant;
use tracing::warn;

use super::{HeldInbox, Shared};
use crate::mail::pop3::server::{Answer, Ask, Inbox, NotFetched, NotOpened, PART_OCTETS};
use crate::mail::sasl::{Request, Verdict};
use crate::mail::service::state::Opened;
use crate::mail::store::{BodyOctets, Change, Expunge, INBOX, Message, UIDS_MAX, Uid, Unreadable};

/// Answers one session.
pub(super) struct Backend {
    shared: Rc<Shared>,
    peer: IpAddr,
    open: Option<OpenInbox>,
    /// The message being sent.
    message: Option<Message>,
}

/// The inbox that the session has.
struct OpenInbox {
    opened: Rc<Opened>,
    held: HeldInbox,
}

impl Backend {
    pub fn new(shared: Rc<Shared>, peer: IpAddr) -> Self {
        Self { shared, peer, open: None, message: None }
    }

    pub fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// The answer to `ask`.
    pub async fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Authenticate(request) => Answer::Authenticate(self.authenticate(request).await),
            Ask::Open { user } => Answer::Open(self.open(&user).await),
            Ask::Fetch(uid) => Answer::Fetch(self.fetch(uid).await),
            Ask::Part { offset } => Answer::Part(self.part(offset).await),
            Ask::Update(uids) => Answer::Update(self.update(&uids).await),
        }
    }

    /// Drops the message being sent.
    pub fn forget(&mut self) {
        self.message = None;
    }

    /// Unlocks the inbox.
    pub fn let_go(&mut self) {
        self.forget();
        self.open = None;
    }

    async fn authenticate(&self, request: Request) -> Verdict {
        let verdict = self.shared.state.authenticate(self.peer, request, &self.shared.rng).await;
        let mut stats = self.shared.stats.borrow_mut();
        match &verdict {
            Verdict::Accepted { .. } => stats.logins += 1,
            Verdict::Verifier { .. } => {}
            Verdict::Refused | Verdict::Unavailable => stats.logins_failed += 1,
        }
        verdict
    }

    async fn open(&mut self, name: &str) -> Result<Inbox, NotOpened> {
        let opened = self.shared.state.ready().await.ok_or(NotOpened::TryLater)?;
        let user = opened.logins.user(name).ok_or(NotOpened::TryLater)?;
        let id = opened.mailbox_of(&user).await.map_err(|refused| {
            warn!("the mailbox of {name} cannot be opened: {refused}");
            NotOpened::TryLater
        })?;
        let Some(held) = self.shared.state.inboxes.hold(id) else {
            self.shared.stats.borrow_mut().mailbox_in_use += 1;
            return Err(NotOpened::InUse);
        };
        let inbox = opened.store.look(|state| {
            let mailbox = state.mailbox(id)?;
            let messages = mailbox.entries().iter().filter(|entry| entry.folder == INBOX);
            let messages = messages.map(|entry| (entry.uid, entry.size)).collect();
            Some(Inbox { uid_validity: mailbox.state().uid_validity, messages })
        });
        let inbox = inbox.ok_or(NotOpened::TryLater)?;
        self.open = Some(OpenInbox { opened, held });
        Ok(inbox)
    }

    /// A message that is partly sent cannot be taken back: so it is read whole before.
    async fn fetch(&mut self, uid: Uid) -> Result<u64, NotFetched> {
        let read = self.read(uid).await;
        let mut stats = self.shared.stats.borrow_mut();
        match read {
            Ok(message) => {
                stats.messages += 1;
                let octets = message.prefix.len() as u64 + message.body.len();
                self.message = Some(message);
                Ok(octets)
            }
            Err(why) => {
                stats.messages_unreadable += 1;
                warn!("a message cannot be read by POP3, number {uid} of its mailbox: {why}");
                Err(match why {
                    Unreadable::Gone => NotFetched::Gone,
                    Unreadable::Damaged => NotFetched::Damaged,
                    Unreadable::Io(_) => NotFetched::TryLater,
                })
            }
        }
    }

    /// The message with that UID, once its checksum is verified.
    async fn read(&self, uid: Uid) -> Result<Message, Unreadable> {
        let OpenInbox { opened, held } = self.open.as_ref().ok_or(Unreadable::Gone)?;
        let message = opened.store.read(held.id, uid).await?;
        if let BodyOctets::File { checksum, .. } = message.body {
            let (mut offset, mut hasher) = (0, crc32fast::Hasher::new());
            while offset < message.body.len() {
                let part = opened.store.read_body_part(&message.body, offset, PART_OCTETS).await?;
                offset += part.len() as u64;
                hasher.update(&part);
            }
            if hasher.finalize() != checksum {
                return Err(Unreadable::Damaged);
            }
        }
        Ok(message)
    }

    async fn part(&self, offset: u64) -> Option<Vec<u8>> {
        let (OpenInbox { opened, .. }, message) = (self.open.as_ref()?, self.message.as_ref()?);
        let before = message.prefix.len() as u64;
        let octets = match usize::try_from(offset).ok().and_then(|at| message.prefix.get(at..)) {
            Some(rest) if !rest.is_empty() => rest[..rest.len().min(PART_OCTETS)].to_vec(),
            _ => {
                let read = opened.store.read_body_part(&message.body, offset - before, PART_OCTETS).await;
                read.inspect_err(|why| warn!("a message broke off while it went out by POP3: {why}")).ok()?
            }
        };
        self.shared.stats.borrow_mut().octets += octets.len() as u64;
        Some(octets)
    }

    /// Removes messages; returns whether they are removed durably. The inbox is unlocked in any case.
    async fn update(&mut self, uids: &[Uid]) -> bool {
        let Some(OpenInbox { opened, held }) = self.open.take() else { return uids.is_empty() };
        for uids in uids.chunks(UIDS_MAX) {
            let change = Change::Expunge(Expunge { mailbox: held.id, uids: uids.to_vec() });
            if let Err(refused) = opened.store.change(change).await {
                warn!("messages cannot be deleted by POP3: {refused}");
                return false;
            }
            self.shared.stats.borrow_mut().messages_deleted += uids.len() as u64;
        }
        true
    }
}
