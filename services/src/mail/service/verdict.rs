//! What stands between the end of a message and its commit: what those who look at it make of it.

use crate::mail::auth::results::RESULTS_OCTETS_MAX;
use crate::mail::smtp::Refusal;

/// The most octets of the header lines that verdicts put before a message.
pub(in crate::mail) const FIELDS_OCTETS_MAX: usize = RESULTS_OCTETS_MAX + 512;

/// The most octets of such lines in all mailboxes of one message: they stand in one record, with all else of the
/// deliveries.
const FIELDS_OF_ALL_OCTETS_MAX: usize = 256 << 10;

/// The octets that such a line may have in a message to so many mailboxes.
pub(in crate::mail) fn field_octets_max(deliveries: usize) -> usize {
    RESULTS_OCTETS_MAX.min(FIELDS_OF_ALL_OCTETS_MAX / deliveries.max(1))
}

/// What somebody makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mail) struct Verdict {
    /// Header lines to be put before it, with CRLF.
    pub fields: String,
    /// What is to become of it.
    pub action: Action,
}

/// What is to become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mail) enum Action {
    /// It is delivered.
    Accept,
    /// It is delivered to the folder for junk.
    Junk,
    /// It is refused.
    Refuse(Refusal),
}

impl Verdict {
    /// That nobody has anything to say.
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

    /// What the field `Authentication-Results` among its lines says, in one line.
    pub fn results(&self) -> String {
        let unfolded = self.fields.replace("\r\n\t", " ");
        let mut lines = unfolded.lines();
        lines.find_map(|line| line.strip_prefix("Authentication-Results: ")).unwrap_or_default().to_owned()
    }
}
