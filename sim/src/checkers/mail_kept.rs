//! Mail is kept: the inboxes have exactly what senders were promised, whatever happens to the gateway and its disk.
//!
//! The senders' records ([`Post`]) have each message and the reply to each attempt to send it. After a 250 the
//! message is there; after another reply it is not; without a reply it may be there, once for each such attempt: the
//! one duplicate that SMTP cannot exclude (RFC 5321, section 6.1). At each boot, and in the end, the checker reads the
//! disk as the gateway's own start does.
//!
//! A message for another domain was accepted by a server there, waits in the queue, or is in a notice to its sender;
//! once, except for messages that a server has accepted without the gateway's knowledge ([`Arrived`]). While the
//! gateway has no address outside no failure counts as a try, and in the end an entry that has waited for long has a
//! reason.
//!
//! Octets of the store can flip on the disk. Then the messages of the damaged records may be lost or back, and no
//! others ([`Harm`](crate::machine::post::Harm)). `gatepost mail check` reports each flipped octet; `gatepost show
//! status` those that a start reads.

mod outage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::mail::queue::connection::STUCK_AFTER;
use gatepost_services::mail::store::Sequence;

use self::outage::Outage;
use super::state_sound::MAIL_DAMAGED;
use super::{Checker, Snapshot};
use crate::machine::mail_server::NOBODY;
use crate::machine::post::{
    Arrived, Copies, Failures, Gone, Kept, Letter, Post, SharedPost, domain_of, failures_in, is_elsewhere,
    mark_of,
};
use crate::world::disk::DiskMood;
use crate::world::mail_store::{Stored, StoredMessage};

/// An entry that has waited in the queue for so long, while the WAN had an address, has been tried and has an outcome.
const TRIED_WITHIN: Duration = Duration::from_secs(90);
/// From the beginning of a sender's DATA to the stored message, at most. A sender gives up after 60 s.
const TAKEN_WITHIN: Duration = Duration::from_secs(75);
/// The gateway reports a damaged store within this time of a start.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// The longest that the gateway waits with all messages for a server that does not greet.
// RFC 5321, section 4.5.3.2.1
const GREETED_WITHIN: Duration = Duration::from_mins(5);
/// The longest that the gateway waits with one message for a server that is silent. (RFC 5321, section 4.5.3.2.6)
const HANGS_MAX: Duration = Duration::from_secs(11 * 60);

/// Reads the mail on the disk; `None` while the disk cannot be read.
type Read = Box<dyn Fn() -> Result<Option<Stored>, String>>;

/// Compares the senders' records with the inboxes.
pub struct MailKept {
    post: SharedPost,
    read: Read,
    /// The marks of the messages that had a number, by mailbox and number.
    numbered: BTreeMap<(String, u32), String>,
    /// The violations found at boots.
    wrong_at_boot: Option<String>,
    outage: Outage,
    told: Told,
}

/// Whether the gateway reports that its mail store is damaged, as found at its start.
#[derive(Debug, Default)]
struct Told {
    is_needed: bool,
    /// When the first report came since the boot, and the last one, and whether that says so.
    first: Option<Instant>,
    last: Option<(Instant, bool)>,
}

impl Told {
    fn on_boot(&mut self) {
        *self = Self::default();
    }

    fn hear(&mut self, snapshot: &Snapshot) {
        self.first.get_or_insert(snapshot.now);
        let mut problems = snapshot.status.service_problems.iter();
        self.last = Some((snapshot.now, problems.any(|problem| problem.contains(MAIL_DAMAGED))));
    }

    fn check(&self) -> Result<(), String> {
        match self.first.zip(self.last) {
            Some((first, (last, false))) if self.is_needed && last.since(first) > TOLD_WITHIN => {
                Err("the store was found damaged at the start, and `gatepost show status` does not say so"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl MailKept {
    /// `post`: the records of all senders. `read` reads the mail on the disk.
    pub fn new(post: SharedPost, read: impl Fn() -> Result<Option<Stored>, String> + 'static) -> Self {
        Self {
            post,
            read: Box::new(read),
            numbered: BTreeMap::new(),
            wrong_at_boot: None,
            outage: Outage::default(),
            told: Told::default(),
        }
    }

    /// Checks the UIDs: a UID is never given twice. (RFC 9051, section 2.3.1.1)
    fn check_numbers(&mut self, stored: &Stored) -> Result<(), String> {
        let post = self.post.borrow();
        for (name, mailbox) in &stored.mailboxes {
            for (uid, message) in &mailbox.messages {
                let Some(mark) = message.octets.as_deref().and_then(mark_of) else { continue };
                if post.is_deleted(name, *uid) && !post.is_harmed(name, *uid) {
                    return Err(format!("message {uid} of {name} was deleted, and is there again"));
                }
                if let Some(fetched) = post.fetched_as(name, *uid).filter(|fetched| **fetched != mark) {
                    return Err(format!(
                        "number {uid} of {name} was that of {fetched} and is that of {mark}"
                    ));
                }
                let of = self.numbered.entry((name.clone(), *uid)).or_insert_with(|| mark.clone());
                if *of != mark {
                    return Err(format!("number {uid} of {name} was that of {of} and is that of {mark}"));
                }
            }
        }
        Ok(())
    }
}

impl Checker for MailKept {
    fn name(&self) -> &'static str {
        "mail-kept"
    }

    fn promise(&self) -> &'static str {
        "a message with a 250 is once, to the octet, in exactly the right inboxes, in the queue or on a remote server; a rejected one is in none"
    }

    fn on_boot(&mut self) {
        self.outage.on_boot();
        self.told.on_boot();
        // `on_end` reports a disk that still cannot be read then.
        if let Ok(Some(stored)) = (self.read)() {
            self.told.is_needed = stored.is_damaged;
            let checked = self.check_numbers(&stored).and_then(|()| check(&self.post.borrow(), &stored));
            self.wrong_at_boot = self.wrong_at_boot.take().or(checked.err());
        }
    }

    fn on_disk(&mut self, mood: DiskMood) {
        self.outage.on_disk(mood);
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        self.told.hear(snapshot);
        let Some(wan) = &snapshot.status.wan else { return Ok(()) };
        if self.outage.is_due(snapshot.now, wan.address.is_some())
            && let Ok(Some(stored)) = (self.read)()
        {
            return self.outage.look(stored.queue);
        }
        Ok(())
    }

    fn on_end(&mut self) -> Result<(), String> {
        if let Some(what) = self.wrong_at_boot.take() {
            return Err(format!("at a boot {what}"));
        }
        let Some(stored) = (self.read)()? else { return Ok(()) };
        self.check_numbers(&stored)?;
        let post = self.post.borrow();
        check(&post, &stored)?;
        self.told.check()?;
        check_left(&post, &stored)?;
        check_reasons(&post, &stored, &self.outage)
    }
}

/// Compares the records with the mail on the disk.
fn check(post: &Post, stored: &Stored) -> Result<(), String> {
    if let Some(fault) = post.faults().first() {
        return Err(fault.clone());
    }
    if let Some(octet) = stored.untold.first() {
        return Err(format!("{octet} has flipped, and `gatepost mail check` does not tell"));
    }
    let mut found: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for (name, mailbox) in &stored.mailboxes {
        for (uid, message) in &mailbox.messages {
            let at = || format!("message {uid} of {name}");
            if message.octets.is_none() && post.is_harmed(name, *uid) {
                continue;
            }
            if let Some(mark) = check_message(post, name, message).map_err(|why| format!("{} {why}", at()))? {
                *found.entry((name, mark)).or_default() += 1;
            }
        }
    }
    let told = failures(post, stored);
    let elsewhere = Elsewhere::new(stored, told.values());
    let gone = post.gone();
    for (mark, letter) in post.letters() {
        for (mailbox, copies) in &letter.copies {
            if is_elsewhere(mailbox) {
                elsewhere.check(post, (mark, letter), mailbox, copies)?;
                continue;
            }
            let Copies { taken, unknown, refused, .. } = copies;
            let times = found.get(&(mailbox.as_str(), mark.clone())).copied().unwrap_or(0);
            let Gone { surely, perhaps } =
                gone.get(&(mailbox.as_str(), mark.as_str())).copied().unwrap_or_default();
            // So many there have been.
            let (least, most) = (times + surely, times + surely + perhaps);
            let is_lost = most < *taken && !post.may_be_lost(mark, mailbox);
            let is_again = least > taken + unknown && !post.may_be_again(mark, mailbox);
            if is_lost || is_again {
                let sender = &letter.sender;
                return Err(format!(
                    "{mark} of {sender} is {times} times in the inbox of {mailbox}, {surely} were deleted and perhaps {perhaps} \
                     more; of the attempts to send it there {taken} were taken, {refused} refused, and {unknown} had no reply"
                ));
            }
        }
    }
    Ok(())
}

/// Checks users who leave mail on the server. They fetch a message twice if its unique-id changes, and never if it has
/// another message's unique-id. (RFC 1939, section 7)
fn check_left(post: &Post, stored: &Stored) -> Result<(), String> {
    for (user, Kept { times, caught_up_at }) in post.kept() {
        let copies_of = |mark: &str| post.letters().get(mark)?.copies.get(user).copied();
        for (mark, times) in times {
            let copies = copies_of(mark).unwrap_or_default();
            if *times > copies.taken + copies.unknown && !post.may_be_again(mark, user) {
                return Err(format!(
                    "{user}, who leaves mail there, has fetched {mark} {times} times by new names"
                ));
            }
        }
        let Some(caught_up_at) = caught_up_at else { continue };
        let inbox = stored.mailboxes.get(user).into_iter().flat_map(|mailbox| &mailbox.messages);
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        for (uid, message) in inbox.filter(|(uid, _)| !post.is_harmed(user, **uid)) {
            let Some(mark) = message.octets.as_deref().and_then(mark_of) else { continue };
            let Some(sent_at) = copies_of(&mark).and_then(|copies| copies.sent_at) else { continue };
            let there = found.entry(mark.clone()).or_default();
            *there += 1;
            if sent_at + TAKEN_WITHIN < *caught_up_at && times.get(&mark).is_none_or(|times| times < there) {
                return Err(format!(
                    "message {uid} of {user}, who leaves mail there, is {mark} and was not fetched"
                ));
            }
        }
    }
    Ok(())
}

/// The failed messages in non-delivery notices, those that users have fetched and those in their inboxes.
pub(super) fn failures(post: &Post, stored: &Stored) -> BTreeMap<(String, u32), Failures> {
    let mut told = post.notices().clone();
    for (name, mailbox) in &stored.mailboxes {
        let notices = mailbox.messages.iter().filter_map(|(uid, message)| {
            let octets = message.octets.as_deref().filter(|octets| mark_of(octets).is_none())?;
            Some(((name.clone(), *uid), failures_in(octets)?))
        });
        told.extend(notices);
    }
    told
}

/// Where messages for other domains are, as far as the gateway knows, by mark and address.
struct Elsewhere<'a> {
    queued: BTreeMap<(&'a str, &'a str), u32>,
    /// Those with a DSN to their sender: delivery has failed.
    failed: BTreeMap<(&'a str, &'a str), u32>,
}

impl<'a> Elsewhere<'a> {
    fn new(stored: &'a Stored, told: impl Iterator<Item = &'a Failures>) -> Self {
        let (mut queued, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for entry in stored.queue.values() {
            if let Some(mark) = &entry.mark {
                *queued.entry((mark.as_str(), entry.recipient.as_str())).or_default() += 1;
            }
        }
        for Failures { mark, recipients } in told {
            for recipient in recipients {
                *failed.entry((mark.as_str(), recipient.as_str())).or_default() += 1;
            }
        }
        Self { queued, failed }
    }

    /// Looks for all copies of a message for `recipient`.
    fn check(
        &self,
        post: &Post,
        (mark, letter): (&str, &Letter),
        recipient: &str,
        copies: &Copies,
    ) -> Result<(), String> {
        let Copies { taken, unknown, refused, .. } = copies;
        let Arrived { confirmed, unconfirmed } = post.arrived(mark, recipient);
        let queued = self.queued.get(&(mark, recipient)).copied().unwrap_or(0);
        let failed = self.failed.get(&(mark, recipient)).copied().unwrap_or(0);
        let all = confirmed + unconfirmed + queued + failed;
        let may_fail = recipient.split('@').next() == Some(NOBODY);
        // Each acceptance without the gateway's knowledge can be one more copy.
        let is_there = all >= *taken || post.may_be_lost(mark, recipient);
        let is_once = all <= taken + unknown + unconfirmed || post.may_be_again(mark, recipient);
        let is_well = is_there && is_once && (may_fail || failed == 0);
        if is_well {
            return Ok(());
        }
        let sender = &letter.sender;
        Err(format!(
            "{mark} of {sender} for {recipient} was taken {confirmed} times there, perhaps {unconfirmed} more, waits {queued} \
             times, and its sender was told {failed} times that it failed; of the attempts to hand it in {taken} were taken, \
             {refused} refused, and {unknown} had no reply"
        ))
    }
}

/// Looks for entries that have waited in the queue for long without a reason. A connection that hangs delays one
/// message, and others only until the gateway takes it for stuck, or gives it up if no greeting comes.
fn check_reasons(post: &Post, stored: &Stored, outage: &Outage) -> Result<(), String> {
    let Some((now, way_out_since)) = outage.way_out_since() else { return Ok(()) };
    let mut held: BTreeMap<&str, BTreeSet<Sequence>> = BTreeMap::new();
    for (id, entry) in stored.queue.iter().filter(|(_, entry)| entry.reply.is_empty()) {
        let letter = entry.mark.as_ref().and_then(|mark| post.letters().get(mark));
        let sent_at = letter.and_then(|letter| letter.copies.get(&entry.recipient)?.sent_at);
        let domain = domain_of(&entry.recipient);
        if post.ungreeted_at(domain).is_some_and(|at| now.since(at) < GREETED_WITHIN + TRIED_WITHIN) {
            continue;
        }
        let hung_at = post.hung_at(domain).iter().filter(|at| now.since(**at) < HANGS_MAX);
        let stuck_at = hung_at.clone().map(|at| *at + STUCK_AFTER).max();
        let since = [sent_at, stuck_at].into_iter().flatten().fold(way_out_since, Instant::max);
        if now.since(since) <= TRIED_WITHIN {
            continue;
        }
        let held = held.entry(domain).or_default();
        held.insert(id.message);
        if held.len() > hung_at.count() {
            let Some(mark) = &entry.mark else {
                if post.may_be_unreadable(&entry.recipient) {
                    continue;
                }
                return Err(format!("message {id} of the queue belongs to no sender"));
            };
            if post.may_have_no_reason(mark, &entry.recipient) {
                continue;
            }
            return Err(format!("{mark} for {} waits in the queue without a reason", entry.recipient));
        }
    }
    Ok(())
}

/// Compares a message in the mailbox `name` with what was sent; its mark, unless it is one of the gateway's own.
fn check_message(post: &Post, name: &str, message: &StoredMessage) -> Result<Option<String>, String> {
    let Some(octets) = &message.octets else { return Err("cannot be read".to_owned()) };
    let Some(mark) = mark_of(octets) else {
        let is_own = octets.starts_with(b"Return-Path: <>\r\n");
        return if is_own { Ok(None) } else { Err("is from an unknown sender".to_owned()) };
    };
    let letter = post.letters().get(&mark).ok_or("has an unknown mark")?;
    if !letter.copies.contains_key(name) {
        return Err(format!("is {mark} of {}, and not for {name}", letter.sender));
    }
    match letter.is_as_sent(octets) {
        true => Ok(Some(mark)),
        false => Err(format!("is {mark} of {}, and not as it was sent", letter.sender)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use gatepost_services::mail::store::QueueId;

    use super::*;
    use crate::checkers::testing::snapshot;
    use crate::machine::post::{Deletion, End, Harm, Letter};
    use crate::world::mail_store::{StoredEntry, StoredMailbox};

    const MARKED: &str = "mark-1";

    fn letter() -> Letter {
        Letter {
            sender: "scanner".to_owned(),
            header: format!("From: <a@b>\r\nSubject: {MARKED}\r\n"),
            body: ".\r\ntext\r\n".to_owned(),
            ..Letter::default()
        }
    }

    fn as_stored(header: &str, body: &str) -> Vec<u8> {
        format!("Return-Path: <a@b>\r\nReceived: by us\r\n{header}Date: now\r\n\r\n{body}").into_bytes()
    }

    fn whole() -> Vec<u8> {
        as_stored(&letter().header, &letter().body)
    }

    /// A message in the mailbox of that name, with that number.
    type At = (&'static str, u32, Option<Vec<u8>>);

    /// The checker's result after these attempts to send a message to anna, with these messages in mailboxes.
    fn reported(ends: &[End], messages: &[At]) -> Result<(), String> {
        told_at(ends, &[messages])
    }

    /// The same of messages at boots and in the end.
    fn told_at(ends: &[End], boots: &[&[At]]) -> Result<(), String> {
        let post = SharedPost::default();
        post.borrow_mut().write(MARKED, letter());
        for end in ends {
            let attempt = post.borrow_mut().begin(MARKED, BTreeSet::from(["anna".to_owned()]), Instant::ZERO);
            post.borrow_mut().end(&attempt, *end);
        }
        let stored = Rc::new(RefCell::new(Stored::default()));
        let shared = Rc::clone(&stored);
        let mut checker = MailKept::new(post, move || Ok(Some(shared.borrow().clone())));
        for (number, messages) in boots.iter().enumerate() {
            let mut now = Stored::default();
            for (name, uid, octets) in *messages {
                let mailbox: &mut StoredMailbox = now.mailboxes.entry((*name).to_owned()).or_default();
                mailbox.messages.insert(*uid, StoredMessage { octets: octets.clone() });
            }
            *stored.borrow_mut() = now;
            if number + 1 < boots.len() {
                checker.on_boot();
            }
        }
        checker.on_end()
    }

    #[test]
    fn what_is_lost_or_twice_or_refused_and_there_is_told() {
        use End::{Refused, Taken, Unknown};
        let once = [("anna", 1, Some(whole()))];
        let twice = [("anna", 1, Some(whole())), ("anna", 2, Some(whole()))];
        for (ends, is_never_well, is_once_well, is_twice_well) in [
            (&[Taken][..], false, true, false),
            (&[Refused], true, false, false),
            (&[Unknown], true, true, false),
            (&[Unknown, Taken], false, true, true),
            (&[Refused, Unknown], true, true, false),
        ] {
            assert_eq!(reported(ends, &[]).is_ok(), is_never_well, "{ends:?}");
            assert_eq!(reported(ends, &once).is_ok(), is_once_well, "{ends:?}");
            assert_eq!(reported(ends, &twice).is_ok(), is_twice_well, "{ends:?}");
        }
    }

    #[test]
    fn a_message_in_the_wrong_inbox_or_from_nobody_is_told() {
        let there = ("anna", 1, Some(whole()));
        assert!(reported(&[End::Taken], &[there.clone(), ("berta", 1, Some(whole()))]).is_err());
        let strange = as_stored("Subject: mark-2\r\n", "");
        assert!(reported(&[End::Taken], &[there.clone(), ("anna", 2, Some(strange))]).is_err());
        let without_mark = as_stored("Subject: hello\r\n", "");
        assert!(reported(&[End::Taken], &[there.clone(), ("anna", 2, Some(without_mark))]).is_err());
        let own = b"Return-Path: <>\r\nSubject: the mailbox is nearly full\r\n\r\n".to_vec();
        assert!(reported(&[End::Taken], &[there, ("anna", 2, Some(own))]).is_ok());
    }

    #[test]
    fn a_message_with_another_octet_or_that_cannot_be_read_is_told() {
        let Letter { header, body, .. } = letter();
        for octets in [
            Some(as_stored(&header, "..\r\ntext\r\n")),
            Some(as_stored(&header, "text\r\n")),
            Some(as_stored("Subject: mark-1\r\n", &body)),
            None,
        ] {
            assert!(reported(&[End::Taken], &[("anna", 1, octets.clone())]).is_err(), "{octets:?}");
        }
    }

    #[test]
    fn a_number_that_is_given_again_is_told() {
        let other = Some(as_stored("Subject: mark-1\r\n", ""));
        let boots = [&[("anna", 1, Some(whole()))][..], &[("anna", 1, Some(whole()))]];
        assert!(told_at(&[End::Taken], &boots).is_ok());
        let mut checker = MailKept::new(SharedPost::default(), || Ok(None));
        let with = |octets: Option<Vec<u8>>| {
            let message = BTreeMap::from([(1, StoredMessage { octets })]);
            let mailbox = StoredMailbox { messages: message, ..StoredMailbox::default() };
            Stored { mailboxes: BTreeMap::from([("anna".to_owned(), mailbox)]), ..Stored::default() }
        };
        assert!(checker.check_numbers(&with(Some(whole()))).is_ok());
        assert!(checker.check_numbers(&with(other)).is_ok(), "the same mark");
        assert!(checker.check_numbers(&with(Some(as_stored("Subject: mark-2\r\n", "")))).is_err());
    }

    #[test]
    fn what_is_deleted_is_not_missed_and_what_comes_back_or_was_not_deleted_is_told() {
        use Deletion::{Done, No, Unknown};
        for (deletion, is_well_without, is_well_with) in
            [(No, false, true), (Unknown, true, true), (Done, true, false)]
        {
            for (is_there, is_well) in [(false, is_well_without), (true, is_well_with)] {
                let post = SharedPost::default();
                post.borrow_mut().write(MARKED, letter());
                let attempt =
                    post.borrow_mut().begin(MARKED, BTreeSet::from(["anna".to_owned()]), Instant::ZERO);
                post.borrow_mut().end(&attempt, End::Taken);
                post.borrow_mut().fetch("anna", 7, &whole());
                if deletion != No {
                    post.borrow_mut().quit("anna", &[7]);
                }
                if deletion == Done {
                    post.borrow_mut().deleted("anna", &[7]);
                }
                let messages = is_there.then(|| (7, StoredMessage { octets: Some(whole()) }));
                let mailbox =
                    StoredMailbox { messages: messages.into_iter().collect(), ..StoredMailbox::default() };
                let mailboxes = BTreeMap::from([("anna".to_owned(), mailbox)]);
                let stored = Stored { mailboxes, ..Stored::default() };
                let mut checker = MailKept::new(post, move || Ok(Some(stored.clone())));
                assert_eq!(checker.on_end().is_ok(), is_well, "{deletion:?}, is there: {is_there}");
            }
        }
    }

    /// The checker's result for an accepted message for rita, with these arrivals, entries and notices.
    fn reported_elsewhere(to: &str, arrivals: &[bool], entries: u32, notices: u32) -> Result<(), String> {
        let post = SharedPost::default();
        post.borrow_mut().write(MARKED, letter());
        let attempt = post.borrow_mut().begin(MARKED, BTreeSet::from([to.to_owned()]), Instant::ZERO);
        post.borrow_mut().end(&attempt, End::Taken);
        for is_confirmed in arrivals {
            let arrival = post.borrow_mut().arrive("mx", to, &whole()).expect("as it was sent");
            if *is_confirmed {
                post.borrow_mut().confirm(&arrival);
            }
        }
        let notice = format!(
            "Return-Path: <>\r\n\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; {to}\r\n\
             Action: failed\r\n\r\nSubject: {MARKED}\r\n"
        );
        let message = StoredMessage { octets: Some(notice.into_bytes()) };
        let messages = (1..=notices).map(|uid| (uid, message.clone())).collect();
        let anna = StoredMailbox { messages, ..StoredMailbox::default() };
        let entry = StoredEntry {
            mark: Some(MARKED.to_owned()),
            recipient: to.to_owned(),
            reply: "450 not now".to_owned(),
            ..StoredEntry::default()
        };
        let queue = (1..=u64::from(entries))
            .map(|message| (QueueId { message, recipient: 0 }, entry.clone()))
            .collect();
        let mailboxes = BTreeMap::from([("anna".to_owned(), anna)]);
        let stored = Stored { mailboxes, queue, ..Stored::default() };
        MailKept::new(post, move || Ok(Some(stored.clone()))).on_end()
    }

    #[test]
    fn what_is_for_others_is_there_or_on_its_way_or_has_failed_and_that_once() {
        let rita = "rita@post-0.example";
        for (arrivals, entries, is_well) in [
            (&[][..], 0, false),
            (&[], 1, true),
            (&[], 2, false),
            (&[true], 0, true),
            (&[true], 1, false),
            (&[true, true], 0, false),
            (&[false], 1, true),
            (&[false, true], 0, true),
            (&[false, true], 1, false),
        ] {
            assert_eq!(
                reported_elsewhere(rita, arrivals, entries, 0).is_ok(),
                is_well,
                "{arrivals:?} {entries}"
            );
        }
        assert!(reported_elsewhere(rita, &[], 0, 1).is_err(), "no server has rejected her address");
        let gone = "gone@post-0.example";
        assert!(reported_elsewhere(gone, &[], 0, 1).is_ok());
        assert!(reported_elsewhere(gone, &[], 0, 2).is_err());
    }

    #[test]
    fn what_is_left_on_the_server_is_fetched_once() {
        let reported = |fetched: u32, is_caught_up: bool| {
            let post = SharedPost::default();
            post.borrow_mut().write(MARKED, letter());
            let attempt =
                post.borrow_mut().begin(MARKED, BTreeSet::from(["anna".to_owned()]), Instant::from_secs(1));
            post.borrow_mut().end(&attempt, End::Taken);
            (0..fetched).for_each(|_| post.borrow_mut().keep("anna", &whole()));
            post.borrow_mut().catch_up("anna", Instant::from_secs(if is_caught_up { 100 } else { 50 }));
            let messages = BTreeMap::from([(7, StoredMessage { octets: Some(whole()) })]);
            let mailbox = StoredMailbox { messages, ..StoredMailbox::default() };
            let mailboxes = BTreeMap::from([("anna".to_owned(), mailbox)]);
            let stored = Stored { mailboxes, ..Stored::default() };
            MailKept::new(post, move || Ok(Some(stored.clone()))).on_end().is_err()
        };
        assert_eq!([reported(0, false), reported(0, true)], [false, true], "it is missed");
        assert_eq!([reported(1, true), reported(2, true)], [false, true], "it comes again");
    }

    #[test]
    fn what_flipped_octets_may_cost_is_not_missed_and_all_else_is() {
        let reported = |harm: Harm, messages: &[At], untold: bool| {
            let post = SharedPost::default();
            post.borrow_mut().write(MARKED, letter());
            let attempt = post.borrow_mut().begin(MARKED, BTreeSet::from(["anna".to_owned()]), Instant::ZERO);
            post.borrow_mut().end(&attempt, End::Taken);
            post.borrow_mut().suffer(harm);
            let mut stored = Stored::default();
            stored.untold.extend(untold.then(|| "octet 7 of mail/checkpoint".to_owned()));
            for (name, uid, octets) in messages {
                let mailbox: &mut StoredMailbox = stored.mailboxes.entry((*name).to_owned()).or_default();
                mailbox.messages.insert(*uid, StoredMessage { octets: octets.clone() });
            }
            MailKept::new(post, move || Ok(Some(stored.clone()))).on_end().is_err()
        };
        let copy = || BTreeSet::from([(MARKED.to_owned(), "anna".to_owned())]);
        let lost =
            || Harm { lost: copy(), numbers: BTreeSet::from([("anna".to_owned(), 7)]), ..Harm::default() };
        let again = || Harm { again: copy(), ..Harm::default() };
        let [one, other] = [7, 8].map(|uid| ("anna", uid, Some(whole())));
        assert!(
            reported(Harm::default(), &[], false)
                && !reported(lost(), &[], false)
                && reported(again(), &[], false)
        );
        let damaged = |uid| [("anna", uid, None)];
        assert!(!reported(lost(), &damaged(7), false) && reported(lost(), &damaged(8), false));
        let changed = [("anna", 7, Some(as_stored(&letter().header, "text\r\n")))];
        assert!(reported(lost(), &changed, false), "it is served as if it were undamaged");
        let twice = [one, other];
        assert!(reported(lost(), &twice, false) && !reported(again(), &twice, false));
        assert!(reported(lost(), &[], true), "no damage is reported");
    }

    #[test]
    fn a_store_that_is_found_damaged_says_so() {
        let reported = |is_damaged: bool, secs: u64, problem: &str| {
            let stored = Stored { is_damaged, ..Stored::default() };
            let mut checker = MailKept::new(SharedPost::default(), move || Ok(Some(stored.clone())));
            checker.on_boot();
            for secs in [1, secs] {
                let mut snapshot = snapshot(secs);
                snapshot.status.service_problems = vec![problem.to_owned()];
                assert!(checker.on_snapshot(&snapshot).is_ok());
            }
            checker.on_end().is_err()
        };
        let says = format!("pop3: {MAIL_DAMAGED}");
        assert!(reported(true, 60, "no mail") && !reported(true, 60, &says) && !reported(true, 2, "no mail"));
        assert!(!reported(false, 60, "no mail"));
    }

    #[test]
    fn what_waits_for_long_says_why() {
        let rita = "rita@post-0.example";
        let reported = |reply: &str, secs: u64, messages: u64, hangs: u32| {
            let post = SharedPost::default();
            post.borrow_mut().write(MARKED, letter());
            let now = Instant::from_secs(100);
            let attempt = post.borrow_mut().begin(MARKED, BTreeSet::from([rita.to_owned()]), now);
            post.borrow_mut().end(&attempt, End::Taken);
            for _ in 0..hangs {
                post.borrow_mut().hang("post-0.example", now, true);
            }
            let entry = StoredEntry {
                mark: Some(MARKED.to_owned()),
                recipient: rita.to_owned(),
                reply: reply.to_owned(),
                ..StoredEntry::default()
            };
            let ids = (1..=messages).map(|message| QueueId { message, recipient: 0 });
            let queue = ids.map(|id| (id, entry.clone())).collect();
            let mut outage = Outage::default();
            for secs in [1, secs] {
                outage.is_due(Instant::from_secs(secs), true);
            }
            check_reasons(&post.borrow(), &Stored { queue, ..Stored::default() }, &outage)
        };
        assert!(reported("", 150, 1, 0).is_ok() && reported("450 not now", 200, 1, 0).is_ok());
        assert!(reported("", 200, 1, 0).is_err());
        assert!(reported("", 200, 1, 1).is_ok() && reported("", 2_000, 1, 1).is_err());
        // The connection does not delay other messages for long.
        assert!(
            reported("", 240, 2, 1).is_ok()
                && reported("", 260, 2, 1).is_err()
                && reported("", 260, 2, 2).is_ok()
        );
    }

    #[test]
    fn a_boot_that_found_a_message_lost_is_told_though_it_is_there_in_the_end() {
        let there = ("anna", 1, Some(whole()));
        assert!(told_at(&[End::Taken], &[&[], &[there]]).is_err());
    }
}
