//! The records of all senders of mail in a run: each message, its receivers, and the replies to its sender. A copy of a
//! message is identified by its mailbox, or by its remote address.
//!
//! Senders write them and checkers read them. The checkers' knowledge of mail comes from here and from the disk, as
//! neither TLS nor an inbox can be observed on the wire.

mod elsewhere;
mod harm;
mod kept;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use gatepost_ground::Instant;

pub use self::elsewhere::{Arrival, Arrived, Failures, domain_of, failures_in, is_elsewhere};
pub use self::harm::Harm;
pub use self::kept::Kept;

/// The records that a run's senders and checkers share.
pub type SharedPost = Rc<RefCell<Post>>;

/// The prefix of a message's mark; the mark is its subject, and unique.
pub const MARK: &str = "mark-";

/// The records.
#[derive(Debug, Default)]
pub struct Post {
    letters: BTreeMap<String, Letter>,
    /// Attempts that began since the gateway booted.
    tally: Tally,
    boots: u64,
    /// The fetched messages, by mailbox and number.
    fetched: BTreeMap<(String, u32), Fetched>,
    /// The fetched messages of users who leave mail on the server.
    kept: BTreeMap<String, Kept>,
    /// The DSNs that users have fetched, by mailbox and number.
    notices: BTreeMap<(String, u32), Failures>,
    /// The messages accepted by remote servers, by mark and address.
    arrived: BTreeMap<(String, String), Arrived>,
    /// When connections to servers of a domain ended of which the gateway may wait for a reply.
    hung: BTreeMap<String, Vec<Instant>>,
    /// When the last such connection to a domain ended in which the gateway had not been greeted.
    ungreeted: BTreeMap<String, Instant>,
    /// The marks of messages in a remote mailbox that the gateway polls.
    deposited: BTreeSet<String>,
    /// The messages that flipped octets may affect.
    harm: Harm,
    faults: Vec<String>,
}

/// A message that its user has fetched.
#[derive(Debug)]
struct Fetched {
    mark: String,
    deletion: Deletion,
}

/// A user's knowledge of the deletion of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It was not requested.
    No,
    /// It was requested, without a reply.
    Unknown,
    /// It was confirmed.
    Done,
}

/// Copies of a message that its user has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// The deletion was confirmed.
    pub surely: u32,
    /// There was no reply.
    pub perhaps: u32,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// Its sender.
    pub sender: String,
    /// The lines of its header, as they are sent.
    pub header: String,
    /// Its body, as it is before dots are doubled.
    pub body: String,
    /// The replies to the sender, for each mailbox of the message.
    pub copies: BTreeMap<String, Copies>,
}

/// A sender's knowledge of a message in one mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Attempts that were answered by 250.
    pub taken: u32,
    /// Attempts whose message was sent and not answered, including one in progress: whether it was accepted is unknown.
    pub unknown: u32,
    /// Attempts that were answered otherwise.
    pub refused: u32,
    /// When the message was last sent.
    pub sent_at: Option<Instant>,
}

/// The outcomes of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered by 250.
    pub taken: u64,
    /// The message was sent, without a reply so far.
    pub unknown: u64,
    /// Copies that users have asked to delete.
    pub deleted: u64,
    /// Copies that remote servers have accepted.
    pub left: u64,
}

/// An attempt whose message was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    mark: String,
    mailboxes: BTreeSet<String>,
    boots: u64,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The reply to the message's end was 250.
    Taken,
    /// The reply was another.
    Refused,
    /// There was none.
    Unknown,
}

impl Post {
    /// Notes a new message.
    pub fn write(&mut self, mark: &str, letter: Letter) {
        self.letters.insert(mark.to_owned(), letter);
    }

    /// Notes a new message in a remote mailbox that is polled for `mailbox`: it may be there from now on, once.
    pub fn deposit(&mut self, mark: &str, mut letter: Letter, mailbox: &str) {
        letter.copies.insert(mailbox.to_owned(), Copies { unknown: 1, ..Copies::default() });
        self.write(mark, letter);
        self.deposited.insert(mark.to_owned());
    }

    /// Notes that the gateway has deleted it on the remote server: it has to be in `mailbox`.
    pub fn collect(&mut self, mark: &str, mailbox: &str) {
        let letter = self.letters.get_mut(mark);
        if let Some(copies) = letter.and_then(|letter| letter.copies.get_mut(mailbox)) {
            (copies.taken, copies.unknown) = (1, 0);
        }
    }

    /// Notes an attempt to send the message with this mark to these mailboxes and remote addresses.
    pub fn begin(&mut self, mark: &str, mailboxes: BTreeSet<String>, now: Instant) -> Attempt {
        self.tally.unknown += 1;
        if let Some(letter) = self.letters.get_mut(mark) {
            for mailbox in &mailboxes {
                let copies = letter.copies.entry(mailbox.clone()).or_default();
                copies.unknown += 1;
                copies.sent_at = Some(now);
            }
        }
        Attempt { mark: mark.to_owned(), mailboxes, boots: self.boots }
    }

    /// Notes the end of `attempt`.
    pub fn end(&mut self, attempt: &Attempt, end: End) {
        if end == End::Unknown {
            return;
        }
        if attempt.boots == self.boots {
            self.tally.unknown -= 1;
            self.tally.taken += u64::from(end == End::Taken);
        }
        let Some(letter) = self.letters.get_mut(&attempt.mark) else { return };
        for mailbox in &attempt.mailboxes {
            let Some(copies) = letter.copies.get_mut(mailbox) else { continue };
            copies.unknown -= 1;
            match end {
                End::Taken => copies.taken += 1,
                _ => copies.refused += 1,
            }
        }
    }

    /// Notes a boot of the gateway, at which the tally restarts.
    pub fn on_boot(&mut self) {
        self.boots += 1;
        self.tally = Tally::default();
        self.hung.clear();
        self.ungreeted.clear();
    }

    /// `user` gets a listing with these messages.
    pub fn list(&mut self, user: &str, uids: impl Iterator<Item = u32>) {
        for uid in uids {
            if self.is_deleted(user, uid) && !self.is_harmed(user, uid) {
                self.fault(format!("message {uid} of {user} was deleted, and is told of again"));
            }
        }
    }

    /// `user` has fetched the message of that number.
    pub fn fetch(&mut self, user: &str, uid: u32, octets: &[u8]) {
        let Some(mark) = mark_of(octets) else {
            let told = failures_in(octets).map(|failures| ((user.to_owned(), uid), failures));
            return self.notices.extend(told);
        };
        match self.letters.get(&mark) {
            Some(letter) if letter.copies.contains_key(user) && letter.is_as_sent(octets) => {}
            _ => self.fault(format!("message {uid} of {user} is fetched as {mark}, and not as it was sent")),
        }
        let fetched = self.fetched.entry((user.to_owned(), uid));
        let fetched = fetched.or_insert_with(|| Fetched { mark: mark.clone(), deletion: Deletion::No });
        if fetched.mark != mark {
            let what = format!("number {uid} of {user} was that of {} and is that of {mark}", fetched.mark);
            self.fault(what);
        }
    }

    /// `user` asks that these messages be deleted.
    pub fn quit(&mut self, user: &str, uids: &[u32]) {
        self.tally.deleted += uids.len() as u64;
        self.set_deletion(user, uids, Deletion::Unknown);
    }

    /// `user` gets the confirmation that these messages are deleted.
    pub fn deleted(&mut self, user: &str, uids: &[u32]) {
        self.set_deletion(user, uids, Deletion::Done);
    }

    fn set_deletion(&mut self, user: &str, uids: &[u32], deletion: Deletion) {
        for uid in uids {
            if let Some(fetched) = self.fetched.get_mut(&(user.to_owned(), *uid)) {
                fetched.deletion = deletion;
            }
        }
    }

    /// Whether `user` got the confirmation that a message is deleted.
    pub fn is_deleted(&self, user: &str, uid: u32) -> bool {
        let fetched = self.fetched.get(&(user.to_owned(), uid));
        fetched.is_some_and(|fetched| fetched.deletion == Deletion::Done)
    }

    /// The mark of the message that `user` has fetched by that number.
    pub fn fetched_as(&self, user: &str, uid: u32) -> Option<&String> {
        self.fetched.get(&(user.to_owned(), uid)).map(|fetched| &fetched.mark)
    }

    /// The deleted messages, by mailbox and mark.
    pub fn gone(&self) -> BTreeMap<(&str, &str), Gone> {
        let mut gone: BTreeMap<(&str, &str), Gone> = BTreeMap::new();
        for ((user, _), Fetched { mark, deletion }) in &self.fetched {
            let of_mark = gone.entry((user, mark)).or_default();
            match deletion {
                Deletion::No => {}
                Deletion::Unknown => of_mark.perhaps += 1,
                Deletion::Done => of_mark.surely += 1,
            }
        }
        gone
    }

    /// The fetched notices, by mailbox and number.
    pub fn notices(&self) -> &BTreeMap<(String, u32), Failures> {
        &self.notices
    }

    /// The gateway sent a reply that is never right.
    pub fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// All messages, by their marks.
    pub fn letters(&self) -> &BTreeMap<String, Letter> {
        &self.letters
    }

    /// The outcomes of attempts that began since the gateway booted.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The replies of the gateway that are never right.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

impl Letter {
    /// Whether the body is the same to the octet, and the header has all that was sent. The gateway adds to it.
    pub fn is_as_sent(&self, octets: &[u8]) -> bool {
        let Some(header_len) = octets.windows(4).position(|at| at == b"\r\n\r\n").map(|at| at + 2) else {
            return false;
        };
        let (header, body) = octets.split_at(header_len);
        let header = String::from_utf8_lossy(header);
        body.strip_prefix(b"\r\n") == Some(self.body.as_bytes())
            && header.contains(&format!("\r\n{}", self.header))
    }
}

/// The mark in the subject of a message.
pub fn mark_of(octets: &[u8]) -> Option<String> {
    let lines = octets.split(|octet| *octet == b'\n').take_while(|line| *line != b"\r");
    let mut subjects = lines.filter_map(|line| line.strip_prefix(b"Subject: "));
    let subject = String::from_utf8_lossy(subjects.next()?).trim_end().to_owned();
    subject.starts_with(MARK).then_some(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_senders_are_told_is_counted_for_each_mailbox_and_since_the_boot() {
        let mut post = Post::default();
        post.write("mark-1", Letter::default());
        let both = || BTreeSet::from(["anna".to_owned(), "berta".to_owned()]);
        let attempt = post.begin("mark-1", both(), Instant::ZERO);
        assert_eq!(post.tally(), Tally { unknown: 1, ..Tally::default() });
        post.end(&attempt, End::Unknown);
        let attempt = post.begin("mark-1", both(), Instant::ZERO);
        post.end(&attempt, End::Refused);
        let before_the_boot = post.begin("mark-1", BTreeSet::from(["anna".to_owned()]), Instant::ZERO);
        assert_eq!(post.tally(), Tally { unknown: 2, ..Tally::default() });
        post.on_boot();
        let after = post.begin("mark-1", BTreeSet::from(["berta".to_owned()]), Instant::ZERO);
        post.end(&before_the_boot, End::Taken);
        post.end(&after, End::Taken);
        assert_eq!(post.tally(), Tally { taken: 1, ..Tally::default() });
        let copies = &post.letters()["mark-1"].copies;
        let once = Copies { taken: 1, unknown: 1, refused: 1, sent_at: Some(Instant::ZERO) };
        assert_eq!((copies["anna"], copies["berta"]), (once, once));
    }
}
