//! The storage of a job's outcome.

use std::time::Duration;

use rand::Rng;
use tokio::time::sleep;
use tracing::{error, warn};

use super::driver::{Active, DeliveryDriver};
use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
use crate::mail::bounce::{Action, Addressee, Notice, RecipientStatus, ReportingMta};
use crate::mail::queue::{PendingNotice, Settlement, remote_of_ours};
use crate::mail::service::directory::Place;
use crate::mail::service::remote::Delivered;
use crate::mail::service::state::Opened;
use crate::mail::smtp::client::Report;
use crate::mail::store::{Accept, Change, Delivery, Done, Origin, QueueId, StoreError};
use crate::net::Net;

/// The delay before a rejected change is tried again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The message that a notice reports.
pub(super) struct Original<'a> {
    /// The beginning of the message.
    pub head: &'a [u8],
    /// Whether that is the whole message.
    pub is_whole: bool,
}

impl<N: Net> DeliveryDriver<N> {
    /// Stores the outcome of a job. It returns when all is stored.
    pub(super) async fn keep(
        &self,
        active: &Active<N>,
        opened: &Opened,
        settlement: Settlement,
        original: &Original<'_>,
    ) {
        self.keep_changes(active, opened, settlement.changes).await;
        for notice in settlement.notices {
            self.keep_notice(active, opened, notice, original).await;
        }
    }

    /// Stores `changes`, repeating rejected ones until they are stored.
    async fn keep_changes(&self, active: &Active<N>, opened: &Opened, mut changes: Vec<Change>) {
        loop {
            let outcomes = opened.store.change_all(changes.iter().cloned()).await;
            let mut outcomes = outcomes.into_iter();
            changes.retain(|_| match outcomes.next() {
                // A finished entry needs no further change.
                None | Some(Ok(_) | Err(StoreError::NoEntry(_))) => false,
                Some(Err(refused)) => {
                    warn!("what came of a delivery cannot be stored yet: {refused}");
                    true
                }
            });
            if changes.is_empty() {
                return;
            }
            active.count(|stats| stats.kept_late += 1);
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Notifies a sender of delivery to local mailboxes. This is not durable: a power cut in between loses the notice,
    /// and no mail.
    pub(super) async fn keep_report(&self, active: &Active<N>, opened: &Opened, delivered: Delivered) {
        let Delivered { sender, recipients, envid, accepted, header } = delivered;
        let status = |(recipient, orcpt)| RecipientStatus {
            recipient,
            orcpt,
            forwarded_by: None,
            report: Report::delivered(),
            server: None,
        };
        let recipients = recipients.into_iter().map(status).collect();
        let sender = ReversePath::Mailbox(sender);
        let notice = Notice::of(&sender, Action::Delivered, recipients, None, envid, accepted);
        let Some(notice) = notice else { return };
        let pending = PendingNotice { notice, ends: Vec::new(), postponed: Vec::new(), is_last: false };
        self.keep_notice(active, opened, pending, &Original { head: &header, is_whole: false }).await;
    }

    async fn keep_notice(
        &self,
        active: &Active<N>,
        opened: &Opened,
        pending: PendingNotice,
        original: &Original<'_>,
    ) {
        let PendingNotice { mut notice, ends, .. } = pending.clone();
        if let Addressee::Sender(sender) = &mut notice.to {
            // A remote server may bounce a forwarded message to the return path that was made here.
            let now = active.clock.unix_time();
            let original = opened.srs.original(sender, |domain| active.directory.is_ours(domain), now);
            *sender = original.unwrap_or_else(|| sender.clone());
        }
        let id = format!("{:x}.{:016x}", active.clock.unix_time().0, active.rng().next_u64());
        let mta = ReportingMta {
            hostname: &active.settings.hostname,
            domain: &active.settings.domain,
            id: &id,
            now: active.clock.unix_time(),
        };
        let octets = notice.to_octets(&mta, original.head, original.is_whole);
        let outcome = match &notice.to {
            Addressee::Sender(sender) => self.notify(active, opened, Some(sender), &ends, &octets).await,
            Addressee::Postmaster => Err(StoreError::NoRecipient),
        };
        match outcome {
            Ok(()) => return active.count(|stats| stats.notices += 1),
            Err(refused) if pending.is_put_off(&refused) => {
                warn!("a notice to {:?} cannot be stored yet: {refused}", notice.to);
                return self.keep_changes(active, opened, pending.postponed).await;
            }
            Err(_) => {}
        }
        match self.notify(active, opened, None, &ends, &octets).await {
            Ok(()) => active.count(|stats| stats.notices_to_postmaster += 1),
            Err(refused) if pending.is_put_off(&refused) => {
                self.keep_changes(active, opened, pending.postponed).await;
            }
            Err(refused) => {
                for recipient in &notice.recipients {
                    let (address, report) = (&recipient.recipient, &recipient.report.text);
                    error!(
                        "mail to {address} is lost, and there is no sender to notify: {report} ({refused})"
                    );
                }
                let over = |entry| Change::Done(Done::new(entry, "nobody could be told".to_owned()));
                self.keep_changes(active, opened, ends.into_iter().map(over).collect()).await;
            }
        }
    }

    /// Stores a notice for `sender`, or for the local postmaster.
    async fn notify(
        &self,
        active: &Active<N>,
        opened: &Opened,
        sender: Option<&Mailbox>,
        ends: &[QueueId],
        octets: &[u8],
    ) -> Result<(), StoreError> {
        let path = sender.map_or(ForwardPath::Postmaster, |sender| ForwardPath::Mailbox(sender.clone()));
        let mut accept = Accept {
            time: active.clock.unix_time().0,
            source: "a notice of this server".to_owned(),
            origin: Origin::Local,
            ends: ends.to_vec(),
            ..Accept::default()
        };
        match (active.find(&path), sender) {
            (Place::Here(reached), sender) => {
                // A notice for the postmaster stays here: forwarded, it could return as the next notice.
                let (users, outside) = match sender {
                    Some(_) => (reached.users, reached.outside),
                    None if reached.users.is_empty() => (active.directory.stewards().collect(), Vec::new()),
                    None => (reached.users, Vec::new()),
                };
                let mut refused = StoreError::NoRecipient;
                for name in users {
                    match active.deliver_to(opened, name, octets.len() as u64).await {
                        Ok(delivery) => accept.deliveries.push(delivery),
                        Err(why) => refused = why,
                    }
                }
                let now = active.clock.unix_time();
                let remotes = outside.into_iter();
                let remotes =
                    remotes.map(|to| remote_of_ours(to, &Default::default(), &Default::default(), now));
                accept.remotes.extend(remotes);
                if accept.deliveries.is_empty() && accept.remotes.is_empty() {
                    return Err(refused);
                }
            }
            (Place::Elsewhere, Some(sender)) => {
                let now = active.clock.unix_time();
                let remote = remote_of_ours(sender, &Default::default(), &Default::default(), now);
                accept.remotes.push(remote);
            }
            _ => return Err(StoreError::NoRecipient),
        }
        opened.store.change(Change::Accept(accept, octets.to_vec())).await.map(drop)
    }
}

impl<N: Net> Active<N> {
    /// The delivery of a notice of so many octets to the mailbox of this user.
    async fn deliver_to(&self, opened: &Opened, name: &str, octets: u64) -> Result<Delivery, StoreError> {
        let user = self.directory.user(name).ok_or(StoreError::NoRecipient)?;
        let mailbox = opened.mailbox_of(user).await?;
        let domain = &self.settings.domain;
        let prefix = format!("Return-Path: <>\r\nDelivered-To: {name}@{domain}\r\n").into_bytes();
        opened.store.check_room(mailbox, octets.saturating_add(prefix.len() as u64))?;
        Ok(Delivery { mailbox, prefix, ..Delivery::default() })
    }
}
