//! Statistics of mail: of all mailboxes together, and of each.

use gatepost_ground::Instant;
use tokio::task::yield_now;

use super::state::MailState;
use crate::mail::store::{Entry, Mailbox};

/// The most folders of all mailboxes in a list: a mailbox whose folders exceed it is not listed. The first always is.
pub const FOLDERS_LISTED_MAX: usize = 10_000;

/// The statistics of mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The store's problem.
    pub problem: Option<String>,
    /// Remote recipients without their message yet.
    pub queued: usize,
    /// Those of them that are held.
    pub held: usize,
    /// Mailboxes.
    pub mailboxes: usize,
    /// Messages in all of them.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
    /// Connections of all mail services.
    pub connections: usize,
    /// Those from outside of the LAN.
    pub connections_outside: usize,
}

/// The listed mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxList {
    /// How many mailboxes there are.
    pub total: usize,
    /// The first of them by name.
    pub mailboxes: Vec<MailboxStats>,
}

/// The statistics of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxStats {
    /// Its name, which is its user's.
    pub name: String,
    /// Its folders in the mailbox's order, the inbox first.
    pub folders: Vec<FolderStats>,
    /// Messages in all of them.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
    /// The quota in octets; `None` without one.
    pub quota: Option<u64>,
    /// The time of acceptance of the newest message, in seconds since 1970.
    pub newest: Option<u64>,
    /// Whether a POP3 session has its inbox.
    pub is_held: bool,
}

/// The statistics of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderStats {
    /// Its name.
    pub name: String,
    /// Its messages.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
}

impl MailboxStats {
    fn of(mailbox: &Mailbox, is_held: bool) -> Self {
        let state = mailbox.state();
        let folder = |name: &String| FolderStats { name: name.clone(), ..FolderStats::default() };
        let mut folders: Vec<_> = state.folders.iter().map(folder).collect();
        for Entry { folder, size, .. } in mailbox.entries() {
            if let Some(folder) = folders.get_mut(usize::from(folder.0)) {
                folder.messages += 1;
                folder.octets = folder.octets.saturating_add(*size);
            }
        }
        Self {
            name: state.name.clone(),
            folders,
            messages: mailbox.entries().len(),
            octets: mailbox.used(),
            quota: Some(state.quota).filter(|quota| *quota > 0),
            newest: mailbox.entries().iter().map(|entry| entry.time).max(),
            is_held,
        }
    }
}

impl MailState {
    /// The statistics of each mailbox; `None` while the store is not open. The function yields between two mailboxes.
    pub async fn mailboxes(&self) -> Option<MailboxList> {
        self.mailboxes_within(FOLDERS_LISTED_MAX).await
    }

    /// The same with another bound.
    pub(super) async fn mailboxes_within(&self, folders_max: usize) -> Option<MailboxList> {
        let opened = self.opened()?;
        let mut names: Vec<_> = opened.store.look(|state| {
            let mailboxes = state.mailboxes().map(Mailbox::state);
            mailboxes.map(|mailbox| (mailbox.name.clone(), mailbox.id, mailbox.folders.len())).collect()
        });
        names.sort();
        let mut list = MailboxList { total: names.len(), mailboxes: Vec::new() };
        let mut folders = 0;
        for (_, id, of_mailbox) in names {
            folders += of_mailbox;
            if folders > folders_max && !list.mailboxes.is_empty() {
                break;
            }
            let is_held = self.inboxes.is_held(id);
            let standing = opened.store.look(|state| Some(MailboxStats::of(state.mailbox(id)?, is_held)));
            list.mailboxes.extend(standing);
            yield_now().await;
        }
        Some(list)
    }

    /// The present statistics. While the store is not open its content is unknown.
    pub fn overview(&self, now: Instant) -> Overview {
        let (connections, connections_outside) = self.connections.count();
        let problem = self.trouble(now);
        let mut overview = Overview { problem, connections, connections_outside, ..Overview::default() };
        if let Some(opened) = self.opened() {
            opened.store.look(|state| {
                for (_, entry) in state.queue() {
                    overview.queued += 1;
                    overview.held += usize::from(entry.progress.is_held);
                }
                for mailbox in state.mailboxes() {
                    overview.mailboxes += 1;
                    overview.messages += mailbox.entries().len();
                    overview.octets += mailbox.used();
                }
            });
        }
        overview
    }
}
