//! The records of flipped octets on the gateway's disk: the messages that they may affect. No others change.

use std::collections::BTreeSet;

use super::Post;

/// The messages that flipped octets may affect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// Copies that may be lost, by mark and by mailbox or remote address.
    pub lost: BTreeSet<(String, String)>,
    /// Copies that may be there, or go out, once more, in the same way.
    pub again: BTreeSet<(String, String)>,
    /// Copies of which it may not be known any more why they wait, in the same way.
    pub reasons: BTreeSet<(String, String)>,
    /// Messages that may be unreadable, or back though they were deleted, by mailbox and number.
    pub numbers: BTreeSet<(String, u32)>,
    /// Whether messages of remote mailboxes may be fetched once more.
    pub is_fetched_again: bool,
}

impl Post {
    /// Octets have flipped.
    pub fn suffer(&mut self, mut harm: Harm) {
        let Harm { lost, again, reasons, numbers, is_fetched_again } = &mut self.harm;
        lost.append(&mut harm.lost);
        again.append(&mut harm.again);
        reasons.append(&mut harm.reasons);
        numbers.append(&mut harm.numbers);
        *is_fetched_again |= harm.is_fetched_again;
    }

    /// Whether a copy of a message may be lost.
    pub fn may_be_lost(&self, mark: &str, copy: &str) -> bool {
        self.harm.lost.contains(&(mark.to_owned(), copy.to_owned()))
    }

    /// Whether a message for `copy` may be unreadable, so that its mark is not known.
    pub fn may_be_unreadable(&self, copy: &str) -> bool {
        self.harm.lost.iter().any(|(_, of)| of == copy)
    }

    /// Whether a copy of a message may be there, or go out, once more.
    pub fn may_be_again(&self, mark: &str, copy: &str) -> bool {
        self.harm.again.contains(&(mark.to_owned(), copy.to_owned()))
            || self.harm.is_fetched_again && self.deposited.contains(mark)
    }

    /// Whether it may not be known why a copy of a message waits: also of one that has gone out, and is back on the
    /// disk where the gateway does not look before its next start.
    pub fn may_have_no_reason(&self, mark: &str, copy: &str) -> bool {
        let copy = (mark.to_owned(), copy.to_owned());
        self.harm.reasons.contains(&copy) || self.harm.again.contains(&copy)
    }

    /// Whether the message of that number in a mailbox may be unreadable, or back.
    pub fn is_harmed(&self, mailbox: &str, uid: u32) -> bool {
        self.harm.numbers.contains(&(mailbox.to_owned(), uid))
    }

    /// Whether a message of a mailbox may be back, so that it can hold more than its quota.
    pub fn has_harmed(&self, mailbox: &str) -> bool {
        self.harm.numbers.iter().any(|(of, _)| of == mailbox)
    }

    /// By how many messages the stored ones may differ from the accepted ones.
    pub fn harmed(&self) -> u64 {
        let Harm { lost, again, numbers, .. } = &self.harm;
        (lost.len() + again.len() + numbers.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_adds_up_and_is_of_what_it_names() {
        let mut post = Post::default();
        let copy = |mark: &str| (mark.to_owned(), "anna".to_owned());
        post.suffer(Harm { lost: BTreeSet::from([copy("mark-1")]), ..Harm::default() });
        post.suffer(Harm {
            again: BTreeSet::from([copy("mark-2")]),
            numbers: BTreeSet::from([("anna".to_owned(), 7)]),
            ..Harm::default()
        });
        assert_eq!(["mark-1", "mark-2"].map(|mark| post.may_be_lost(mark, "anna")), [true, false]);
        assert_eq!(["mark-1", "mark-2"].map(|mark| post.may_be_again(mark, "anna")), [false, true]);
        assert!(!post.may_be_lost("mark-1", "berta"));
        assert_eq!(["anna", "berta"].map(|copy| post.may_be_unreadable(copy)), [true, false]);
        assert_eq!([6, 7].map(|uid| post.is_harmed("anna", uid)), [false, true]);
        assert_eq!((post.has_harmed("anna"), post.has_harmed("berta"), post.harmed()), (true, false, 3));
    }
}
