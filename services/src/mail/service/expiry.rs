//! Removes expired messages from folders with a configured retention.
//!
//! A message's age counts from its arrival here: for an imported one from the import. Times of day can be wrong, above
//! all just after a start; so nothing is removed in the first hour, and a message from the future stays. An inbox that
//! is open in a POP3 session does not change, since the client has its listing (RFC 1939, section 8).

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{debug, warn};

use super::state::MailState;
use crate::clock::{Clock, UnixTime, sleep_until};
use crate::mail::store::{Change, Expunge, FolderId, INBOX, Mailbox, UIDS_MAX, Uid};

/// The interval of checks, and the delay of the first one after a start.
pub const EVERY: Duration = Duration::from_secs(3600);

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// The retention in days by the names of folders in lower case. Other folders have none.
pub type KeepDays = BTreeMap<String, u32>;

/// The messages of `mailbox` that are too old, at most [`UIDS_MAX`].
pub(super) fn expired(mailbox: &Mailbox, keep_days: &KeepDays, now: UnixTime, has_inbox: bool) -> Vec<Uid> {
    let folders = mailbox.state().folders.iter().zip(0..).map(|(name, number)| (FolderId(number), name));
    let kept = folders.filter_map(|(id, name)| {
        let days = keep_days.get(&name.to_lowercase()).filter(|days| **days > 0)?;
        Some((id, u64::from(*days) * SECONDS_A_DAY))
    });
    let kept: BTreeMap<_, _> = kept.filter(|(id, _)| *id != INBOX || has_inbox).collect();
    if kept.is_empty() {
        return Vec::new();
    }
    let is_old = |time: u64, folder: &FolderId| {
        kept.get(folder).is_some_and(|keeps| now.0.checked_sub(time).is_some_and(|age| age >= *keeps))
    };
    let old = mailbox.entries().iter().filter(|entry| is_old(entry.arrived.into(), &entry.folder));
    old.map(|entry| entry.uid).take(UIDS_MAX).collect()
}

/// Removes expired messages permanently.
pub(in crate::mail) async fn expire(state: &MailState, keep_days: &KeepDays, clock: &dyn Clock) {
    let opened = state.when_opened().await;
    opened.store.ready().await;
    loop {
        sleep_until(clock, Some(clock.now() + EVERY)).await;
        let ids: Vec<_> = opened.store.look(|state| {
            state.mailboxes().map(|mailbox| (mailbox.state().id, mailbox.state().name.clone())).collect()
        });
        for (id, name) in ids {
            loop {
                let has_inbox = !state.inboxes.is_held(id);
                let uids = opened.store.look(|state| {
                    let mailbox = state.mailbox(id)?;
                    Some(expired(mailbox, keep_days, clock.unix_time(), has_inbox))
                });
                let uids = uids.unwrap_or_default();
                let (count, is_all) = (uids.len(), uids.len() < UIDS_MAX);
                if uids.is_empty() {
                    break;
                }
                match opened.store.change(Change::Expunge(Expunge { mailbox: id, uids })).await {
                    Ok(_) => debug!("{count} messages of {name} were older than they are kept"),
                    Err(refused) => {
                        warn!("messages of {name} that are older than they are kept stay: {refused}");
                        break;
                    }
                }
                if is_all {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::service::tests::lab::{Lab, NOW, simulate, user};
    use crate::mail::store::{Accept, Delivery, JUNK, Origin};

    #[test]
    fn what_is_older_than_its_folder_keeps_it_is_removed_and_nothing_else() {
        simulate(async {
            let lab = Lab::smtp().await;
            let opened = lab.state.opened().unwrap();
            let id = opened.mailbox_of(&user("anna")).await.unwrap();
            let day = |days: u64| NOW - days * SECONDS_A_DAY;
            for (folder, time) in
                [("INBOX", day(10)), (JUNK, day(10)), (JUNK, day(3)), ("Lists", 0), ("INBOX", NOW + 1)]
            {
                let folder = opened.folder_of(id, folder).await;
                let deliveries = vec![Delivery { mailbox: id, folder, ..Delivery::default() }];
                let accept = Accept { time, deliveries, ..Accept::default() };
                opened.store.change(Change::Accept(accept, b"a: b\r\n".to_vec())).await.unwrap();
            }
            let expired = |keep_days: &[(&str, u32)], now: u64, has_inbox: bool| {
                let keep_days = keep_days.iter().map(|(name, days)| ((*name).to_owned(), *days)).collect();
                opened.store.look(|state| {
                    super::expired(state.mailbox(id).unwrap(), &keep_days, UnixTime(now), has_inbox)
                })
            };
            assert_eq!(expired(&[], NOW, true), [0; 0]);
            assert_eq!(expired(&[("inbox", 0), ("junk", 0)], NOW, true), [0; 0]);
            assert_eq!(expired(&[("junk", 10)], NOW, true), [2]);
            assert_eq!(expired(&[("junk", 10)], NOW - 1, true), [0; 0]);
            assert_eq!(expired(&[("junk", 3)], NOW, true), [2, 3]);
            assert_eq!(expired(&[("inbox", 1), ("junk", 30)], NOW, true), [1]);
            assert_eq!(expired(&[("inbox", 1), ("junk", 3)], NOW, false), [2, 3], "a session has the inbox");
            assert_eq!(expired(&[("lists", 1)], 0, true), [0; 0]);
            assert_eq!(expired(&[("lists", 1)], NOW, true), [4]);

            // One that was imported three days ago, whatever its original time.
            let folder = opened.folder_of(id, "Old").await;
            let deliveries = vec![Delivery { mailbox: id, folder, ..Delivery::default() }];
            let origin = Origin::Imported { at: day(3) };
            let accept = Accept { time: day(1000), origin, deliveries, ..Accept::default() };
            opened.store.change(Change::Accept(accept, b"a: b\r\n".to_vec())).await.unwrap();
            assert_eq!(expired(&[("old", 4)], NOW, true), [0; 0]);
            assert_eq!(expired(&[("old", 3)], NOW, true), [6]);
        });
    }
}
