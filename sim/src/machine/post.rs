//! The books of all who send mail in a run: what each message is, who is to have it, and what its sender was told.
//!
//! Senders write them and checkers read them. What a checker knows of mail comes from here and from the disk, as neither
//! what goes through TLS nor what lies in an inbox can be seen on the wire.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The books that a run's senders and checkers share.
pub type SharedPost = Rc<RefCell<Post>>;

/// What a message's mark begins with; the mark is its subject, and no other message has it.
pub const MARK: &str = "mark-";

/// The books.
#[derive(Debug, Default)]
pub struct Post {
    letters: BTreeMap<String, Letter>,
    /// Attempts that began since the gateway booted.
    tally: Tally,
    boots: u64,
    faults: Vec<String>,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// Who sends it.
    pub sender: String,
    /// The lines of its header, as they are sent.
    pub header: String,
    /// Its body, as it is before dots are doubled.
    pub body: String,
    /// What the sender was told, for each mailbox that the message is for.
    pub copies: BTreeMap<String, Copies>,
}

/// What a sender knows of a message in one mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Attempts that were answered by 250.
    pub taken: u32,
    /// Attempts whose message went out and was not answered: whether it was taken is not known. One that is under way
    /// is among them.
    pub unknown: u32,
    /// Attempts that were answered otherwise.
    pub refused: u32,
}

/// What became of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered by 250.
    pub taken: u64,
    /// The message went out, and no answer came, or has not come yet.
    pub unknown: u64,
}

/// An attempt whose message has gone out.
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
    /// Takes note of a new message.
    pub fn write(&mut self, mark: &str, letter: Letter) {
        self.letters.insert(mark.to_owned(), letter);
    }

    /// The message of that mark goes out, for these mailboxes.
    pub fn begin(&mut self, mark: &str, mailboxes: BTreeSet<String>) -> Attempt {
        self.tally.unknown += 1;
        if let Some(letter) = self.letters.get_mut(mark) {
            for mailbox in &mailboxes {
                letter.copies.entry(mailbox.clone()).or_default().unknown += 1;
            }
        }
        Attempt { mark: mark.to_owned(), mailboxes, boots: self.boots }
    }

    /// `attempt` is over.
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

    /// The gateway boots: the tally is of those attempts that begin from now on.
    pub fn on_boot(&mut self) {
        self.boots += 1;
        self.tally = Tally::default();
    }

    /// The gateway said to a sender what it never may.
    pub fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// All messages, by their marks.
    pub fn letters(&self) -> &BTreeMap<String, Letter> {
        &self.letters
    }

    /// What became of the attempts that began since the gateway booted.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What the gateway said and never may.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_senders_are_told_is_counted_for_each_mailbox_and_since_the_boot() {
        let mut post = Post::default();
        post.write("mark-1", Letter::default());
        let both = || BTreeSet::from(["anna".to_owned(), "berta".to_owned()]);
        let attempt = post.begin("mark-1", both());
        assert_eq!(post.tally(), Tally { taken: 0, unknown: 1 });
        post.end(&attempt, End::Unknown);
        let attempt = post.begin("mark-1", both());
        post.end(&attempt, End::Refused);
        let before_the_boot = post.begin("mark-1", BTreeSet::from(["anna".to_owned()]));
        assert_eq!(post.tally(), Tally { taken: 0, unknown: 2 });
        post.on_boot();
        let after = post.begin("mark-1", BTreeSet::from(["berta".to_owned()]));
        post.end(&before_the_boot, End::Taken);
        post.end(&after, End::Taken);
        assert_eq!(post.tally(), Tally { taken: 1, unknown: 0 });
        let copies = &post.letters()["mark-1"].copies;
        let once = Copies { taken: 1, unknown: 1, refused: 1 };
        assert_eq!((copies["anna"], copies["berta"]), (once, once));
    }
}
