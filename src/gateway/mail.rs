//! The administrator's requests about mail and its queue, while the gateway runs.

use gatepost_services::mail::delivery::inspection::{Action, Changed, Listed, Selection, Unchanged};
use gatepost_services::mail::service::local::Serving;
use gatepost_services::mail::service::overview::{FolderStats, MailboxStats};
use gatepost_services::mail::store::QueueId;
use serde_json::Value;

use super::inspector::Inspector;
use crate::control::ReportError;
use crate::control::mail::{Off, QueueAction, QueueChanged, Request, Undone};
use crate::control::mailboxes::{Folder, Mailbox, Mailboxes};
use crate::control::report::{Queue, Queued};

impl Inspector {
    /// Why mail is disabled in the configuration in force; `None` if it is enabled.
    pub fn mail_off(&self) -> Option<Off> {
        Off::by(&self.config())
    }

    /// The mail for other servers.
    pub(crate) async fn mail_queue(&self) -> Result<Queue, ReportError> {
        let list = self.list.driver().list().await;
        let list = list.map_err(|why| ReportError::Unknown(why.to_string()))?;
        let queue = list.entries.into_iter().map(queued).collect();
        Ok(Queue { problem: list.problem, total: list.total, queue })
    }

    /// The mailboxes.
    pub(crate) async fn mailboxes(&self) -> Result<Mailboxes, ReportError> {
        let list = self.list.mail_state().mailboxes().await;
        let list = list.ok_or_else(|| ReportError::Unknown("the mail store is not open".to_owned()))?;
        Ok(Mailboxes { total: list.total, mailboxes: list.mailboxes.into_iter().map(mailbox).collect() })
    }

    /// Carries out a request about mail, and returns the outcome.
    ///
    /// # Errors
    ///
    /// Why the request was not carried out.
    pub async fn mail(&self, request: Request) -> Result<Value, Undone> {
        let report = match request {
            Request::Queue { action, id } => serde_json::to_value(self.change_queue(action, &id).await?),
            Request::Poll { dry_run } => serde_json::to_value(self.poll_mail(dry_run).await),
        };
        report.map_err(|error| undone(error.to_string(), "see the log"))
    }

    /// The handler for a program on this machine that submits mail.
    ///
    /// # Errors
    ///
    /// Why no mail is accepted.
    pub fn deliver(&self) -> Result<Serving, Undone> {
        let not_yet = || undone("its mail service has not begun".to_owned(), "try again");
        self.list.mail_state().serve_local().ok_or_else(not_yet)
    }

    async fn change_queue(&self, action: QueueAction, id: &str) -> Result<QueueChanged, Undone> {
        let unknown = |_| undone(format!("{id:?} is no number of a message"), SEE_QUEUE);
        let selection: Selection = id.parse().map_err(unknown)?;
        let what = match action {
            QueueAction::Hold => Action::Hold,
            QueueAction::Release => Action::Release,
            QueueAction::Delete => Action::Delete,
        };
        let Changed { changed, under_way, unreadable } =
            self.list.driver().change(what, selection).await.map_err(|why| {
                let remedy = match &why {
                    Unchanged::Off | Unchanged::NotReady => "try again, and see `gatepost show services`",
                    Unchanged::NoEntry(_) => SEE_QUEUE,
                    Unchanged::Refused(_) => "see whether the disk is full, and try again",
                };
                undone(why.to_string(), remedy)
            })?;
        let names = |ids: Vec<QueueId>| ids.iter().map(ToString::to_string).collect();
        let (changed, under_way, unreadable) = (names(changed), names(under_way), names(unreadable));
        Ok(QueueChanged { action, changed, under_way, unreadable })
    }
}

const SEE_QUEUE: &str = "write one that `gatepost show queue` has";

fn undone(why: String, remedy: &str) -> Undone {
    Undone { why, remedy: remedy.to_owned() }
}

fn mailbox(standing: MailboxStats) -> Mailbox {
    let percent = |quota: u64| u128::from(standing.octets) * 100 / u128::from(quota.max(1));
    let folder =
        |FolderStats { name, messages, octets }: FolderStats| Folder { folder: name, messages, octets };
    Mailbox {
        user: standing.name,
        messages: standing.messages,
        octets: standing.octets,
        quota: standing.quota,
        used_percent: standing.quota.map(|quota| u64::try_from(percent(quota)).unwrap_or(u64::MAX)),
        newest: standing.newest,
        pop3_locked: standing.is_held,
        folders: standing.folders.into_iter().map(folder).collect(),
    }
}

fn queued(listed: Listed) -> Queued {
    Queued {
        id: listed.id.to_string(),
        sender: listed.sender,
        recipient: listed.recipient,
        age_secs: listed.age_secs,
        size: listed.size,
        tries: listed.progress.tries,
        next_try_secs: listed.next_try_secs,
        last_reply: listed.progress.reply,
        held: listed.progress.is_held,
        under_way: listed.is_under_way,
    }
}
