//! Warns users whose mailboxes are nearly full, by a message in them.

use std::time::Duration;

use tracing::warn;

use super::settings::Settings;
use super::state::Opened;
use crate::clock::UnixTime;
use crate::mail::smtp::date;
use crate::mail::store::{Accept, Change, Delivery, MailboxId, Origin};
use crate::words;

/// The least interval of warnings for one mailbox, even if it was less full in between.
pub const QUOTA_TOLD_EVERY: Duration = Duration::from_secs(24 * 3600);

impl Opened {
    /// Warns users whose mailboxes reach nine tenths of their quota, as long as this is polled.
    pub(super) async fn watch_quotas(&self, settings: &Settings) {
        loop {
            let mailbox = self.store.nearly_full().await;
            let now = self.clock.now();
            let last = self.quotas_told.borrow_mut().insert(mailbox, now);
            match last {
                // The warning was given, and counts on.
                Some(last) if now.since(last) < QUOTA_TOLD_EVERY => {
                    self.quotas_told.borrow_mut().insert(mailbox, last);
                }
                _ => self.tell_of_quota(settings, mailbox).await,
            }
        }
    }

    async fn tell_of_quota(&self, settings: &Settings, mailbox: MailboxId) {
        let state = self.store.look(|state| {
            let mailbox = state.mailbox(mailbox)?;
            Some((mailbox.state().name.clone(), mailbox.used(), mailbox.state().quota))
        });
        let Some((name, used, quota)) = state else { return };
        warn!("the mailbox of {name} holds nine tenths of its quota");
        let now = self.clock.unix_time();
        let prefix = format!("Return-Path: <>\r\nDelivered-To: {name}@{}\r\n", settings.domain);
        let accept = Accept {
            time: now.0,
            source: "this server, of the quota".to_owned(),
            origin: Origin::Local,
            deliveries: vec![Delivery { mailbox, prefix: prefix.into_bytes(), ..Delivery::default() }],
            ..Accept::default()
        };
        let message = notice(settings, &name, used, quota, now);
        if let Err(refused) = self.store.change(Change::Accept(accept, message.into_bytes())).await {
            warn!("{name} gets no mail about that: {refused}");
        }
    }
}

fn notice(settings: &Settings, name: &str, used: u64, quota: u64, now: UnixTime) -> String {
    let Settings { domain, hostname, .. } = settings;
    let percent = u128::from(used) * 100 / u128::from(quota.max(1));
    let (used, quota) = (words::octets(used), words::octets(quota));
    format!(
        "From: postmaster@{domain}\r\nTo: {name}@{domain}\r\nDate: {}\r\n\
        Message-ID: <{}.{name}.quota@{hostname}>\r\nSubject: Your mailbox is nearly full\r\n\
        Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
        Your mailbox {name}@{domain} holds {used}, which is {percent} % of\r\n\
        the {quota} that it may hold. When it is full, mail for you is refused, and\r\n\
        its senders are told so.\r\n\r\n\
        Delete messages that you need no more, or ask the postmaster for more room.\r\n",
        date(now),
        now.0,
    )
}
