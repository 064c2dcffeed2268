//! Mail balances: the gateway's mail counters agree with the replies that senders got, and with the disk.
//!
//! A message counts once it is durable. So since a boot the gateway has counted as many as senders got a 250 for, plus
//! at most those whose reply was lost; and the disk has as many messages more than at the boot, except removed ones. No
//! inbox exceeds its quota. Messages whose octets have flipped on the disk may be missing, or back after a deletion.

use super::mail_kept::failures;
use super::{Checker, Snapshot};
use crate::machine::post::{SharedPost, Tally};
use crate::world::mail_store::Stored;

/// Reads the mail on the disk; `None` while the disk cannot be read.
type Read = Box<dyn Fn() -> Result<Option<Stored>, String>>;

/// The services that accept messages, and the counter of each.
const SERVICES: [&str; 2] = ["smtp", "submission"];
const MESSAGES: &str = "messages";

/// Compares the counters with the senders' records and the disk.
pub struct MailBalance {
    post: SharedPost,
    read: Read,
    /// The messages on the disk at the boot, if known.
    at_boot: Option<u64>,
    /// The counters of the latest report since then, and the senders' records at that time.
    counted: Option<(u64, Tally)>,
}

impl MailBalance {
    /// `post`: the records of all senders. `read` reads the mail on the disk.
    pub fn new(post: SharedPost, read: impl Fn() -> Result<Option<Stored>, String> + 'static) -> Self {
        Self { post, read: Box::new(read), at_boot: None, counted: None }
    }
}

impl Checker for MailBalance {
    fn name(&self) -> &'static str {
        "mail-balance"
    }

    fn promise(&self) -> &'static str {
        "the mail counters agree with the replies that senders got, and with the disk; no inbox exceeds its quota"
    }

    fn on_boot(&mut self) {
        self.post.borrow_mut().on_boot();
        self.counted = None;
        self.at_boot = (self.read)().ok().flatten().map(|stored| stored.messages.len() as u64);
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let services = &snapshot.services.services;
        let of = |name| services.iter().find(|service| service.name == name);
        let counts = SERVICES.iter().filter_map(|name| of(*name)?.counters.get(MESSAGES));
        let counted = counts.sum();
        let tally = self.post.borrow().tally();
        self.counted = Some((counted, tally));
        let Tally { taken, unknown, .. } = tally;
        if (taken..=taken + unknown).contains(&counted) {
            return Ok(());
        }
        Err(format!(
            "{counted} messages are counted since the boot; {taken} were taken, and {unknown} had no reply"
        ))
    }

    fn on_end(&mut self) -> Result<(), String> {
        let Some(stored) = (self.read)()? else { return Ok(()) };
        for (name, mailbox) in &stored.mailboxes {
            // The quota counts exactly the octets in the mailbox.
            let octets = mailbox.messages.values().filter_map(|message| message.octets.as_ref());
            let used = mailbox.used.max(octets.map(|octets| octets.len() as u64).sum());
            let quota = mailbox.quota;
            if quota > 0 && used > quota && !self.post.borrow().has_harmed(name) {
                return Err(format!("the inbox of {name} holds {used} octets, and may hold {quota}"));
            }
        }
        let (Some(before), Some((counted, then))) = (self.at_boot, self.counted) else { return Ok(()) };
        let post = self.post.borrow();
        let now = post.tally();
        // The most that was counted since the latest report: messages accepted since, and those without a reply.
        let more = (now.taken - then.taken.min(now.taken)) + now.unknown;
        let after = stored.messages.len() as u64;
        // A message of several copies is gone when the last copy is.
        let failed = failures(&post, &stored).values().map(|it| it.recipients.len() as u64).sum::<u64>();
        let Tally { deleted, left, .. } = now;
        let harmed = post.harmed();
        let is_there = after <= before + counted + more + harmed;
        if is_there && before + counted <= after + deleted + left + failed + harmed {
            return Ok(());
        }
        Err(format!(
            "{counted} messages are counted since the boot; the disk had {before} and has {after}; {deleted} copies were \
             deleted, {left} are elsewhere, and {failed} failed"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::{BTreeMap, BTreeSet};
    use std::rc::Rc;

    use gatepost::control::report::{Service, Services};
    use gatepost_ground::Instant;

    use super::*;
    use crate::checkers::testing::snapshot;
    use crate::machine::post::{End, Letter};
    use crate::world::mail_store::{StoredMailbox, StoredMessage};

    fn counting(smtp: u64, submission: u64) -> Snapshot {
        let service = |name: &str, messages| Service {
            name: name.to_owned(),
            state: "running".to_owned(),
            problem: None,
            note: None,
            listens: Vec::new(),
            counters: BTreeMap::from([(MESSAGES.to_owned(), messages)]),
        };
        let services = vec![service("smtp", smtp), service("submission", submission), service("dns", 99)];
        Snapshot { services: Services { services }, ..snapshot(1) }
    }

    fn send(post: &SharedPost, end: End) {
        let mut post = post.borrow_mut();
        post.write("mark-1", Letter::default());
        let attempt = post.begin("mark-1", BTreeSet::from(["anna".to_owned()]), Instant::ZERO);
        post.end(&attempt, end);
    }

    /// A checker after a boot at which there were 5 messages, and how many there are from now on.
    fn booted() -> (SharedPost, MailBalance, Rc<Cell<u64>>) {
        let post = SharedPost::default();
        let there = Rc::new(Cell::new(5));
        let shared = Rc::clone(&there);
        let mut checker = MailBalance::new(Rc::clone(&post), move || {
            Ok(Some(Stored { messages: (0..shared.get()).collect(), ..Stored::default() }))
        });
        send(&post, End::Taken);
        checker.on_boot();
        (post, checker, there)
    }

    #[test]
    fn what_is_counted_and_was_not_taken_or_the_other_way_round_is_told() {
        let (post, mut checker, _) = booted();
        assert!(checker.on_snapshot(&counting(0, 0)).is_ok(), "what was taken before the boot");
        assert!(checker.on_snapshot(&counting(1, 0)).is_err());
        send(&post, End::Taken);
        send(&post, End::Taken);
        assert!(checker.on_snapshot(&counting(1, 0)).is_err());
        assert!(checker.on_snapshot(&counting(1, 1)).is_ok());
        send(&post, End::Unknown);
        send(&post, End::Refused);
        assert!(checker.on_snapshot(&counting(2, 1)).is_ok());
        assert!(checker.on_snapshot(&counting(3, 1)).is_err());
    }

    #[test]
    fn what_is_counted_and_not_kept_or_the_other_way_round_is_told() {
        let (post, mut checker, there) = booted();
        send(&post, End::Taken);
        assert!(checker.on_snapshot(&counting(1, 0)).is_ok());
        assert!(checker.on_end().is_err(), "counted and not there");
        there.set(6);
        assert!(checker.on_end().is_ok());
        there.set(7);
        assert!(checker.on_end().is_err(), "there and not counted");
        send(&post, End::Taken);
        assert!(checker.on_end().is_ok(), "taken since the latest report");
    }

    #[test]
    fn what_users_delete_is_not_missed() {
        let (post, mut checker, there) = booted();
        assert!(checker.on_snapshot(&counting(0, 0)).is_ok());
        post.borrow_mut().quit("anna", &[1]);
        there.set(4);
        assert!(checker.on_end().is_ok());
        there.set(3);
        assert!(checker.on_end().is_err());
    }

    #[test]
    fn an_inbox_over_its_quota_is_told() {
        let reported = |used, octets| {
            let message = StoredMessage { octets: Some(vec![0; octets]) };
            let messages = BTreeMap::from([(1, message)]);
            let mailbox = StoredMailbox { quota: 10, used, messages };
            let mailboxes = BTreeMap::from([("anna".to_owned(), mailbox)]);
            let stored = Stored { mailboxes, ..Stored::default() };
            MailBalance::new(SharedPost::default(), move || Ok(Some(stored.clone()))).on_end().is_err()
        };
        assert!(reported(11, 0) && !reported(10, 10));
        assert!(reported(0, 11), "what is there and not counted");
    }
}
