//! The verdicts between the end of a message and its commit.

use crate::mail::auth::results::RESULTS_OCTETS_MAX;
use crate::mail::smtp::Rejection;

/// The most octets of the header lines that verdicts put before a message.
pub(in crate::mail) const FIELDS_OCTETS_MAX: usize = RESULTS_OCTETS_MAX + 512;

/// The most octets of such lines in all mailboxes of one message: they are in one record, with all else of the
/// deliveries.
const FIELDS_OF_ALL_OCTETS_MAX: usize = 256 << 10;

/// The octets that such a line may have in a message to so many mailboxes.
pub(in crate::mail) fn field_octets_max(deliveries: usize) -> usize {
    RESULTS_OCTETS_MAX.min(FIELDS_OF_ALL_OCTETS_MAX / deliveries.max(1))
}

/// A verdict on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mail) struct Verdict {
    /// Header lines to be put before it, with CRLF.
    pub fields: String,
    /// Its action.
    pub action: Action,
}

/// The action for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mail) enum Action {
    /// It is delivered.
    Accept,
    /// It is delivered to the folder for junk.
    Junk,
    /// Reject it.
    Refuse(Rejection),
}

impl Verdict {
    /// The verdict without objection.
    pub fn accept() -> Self {
        Self { fields: String::new(), action: Action::Accept }
    }

    /// Both: the lines of both, and the stricter action.
    pub fn and(self, other: Self) -> Self {
        let action = match (self.action, other.action) {
            (refusal @ Action::Refuse(_), _) | (_, refusal @ Action::Refuse(_)) => refusal,
            (Action::Junk, _) | (_, Action::Junk) => Action::Junk,
            (Action::Accept, Action::Accept) => Action::Accept,
        };
        Self { fields: self.fields + &other.fields, action }
    }

    /// The content of its field `Authentication-Results`, in one line.
    pub fn results(&self) -> String {
        let unfolded = self.fields.replace("\r\n\t", " ");
        let mut lines = unfolded.lines();
        lines.find_map(|line| line.strip_prefix("Authentication-Results: ")).unwrap_or_default().to_owned()
    }
}
