//! The receivers of a message in a common mailbox, by its header.
//!
//! The envelope is lost. So its traces are evaluated, the most reliable first, and the first rule with a result
//! decides:
//!
//! | rule | evaluates | no result if |
//! | --- | --- | --- |
//! | [`Rule::Envelope`] | the configured field, or the first of [`ENVELOPE_FIELDS`] | it has no address at a local domain |
//! | [`Rule::Received`] | the clause `for` of the topmost Received fields | it is missing, has several addresses, or none at a local domain |
//! | [`Rule::Addressees`] | Resent-To, Resent-Cc and Resent-Bcc, or else To, Cc and Bcc | they have no user's address |
//! | [`Rule::Otherwise`] | | |
//!
//! The envelope and `for` belong to this copy: if they name an unknown address at a local domain, the message goes to
//! the configured user, and not to others in To, who have a copy of their own. Nothing is bounced, as its sender may
//! have seen it delivered long ago; nothing is distributed to other domains. (Only a user's own rule forwards it.)

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::mail::address::Mailbox;
use crate::mail::header::{ReceivedFor, addresses, fields, received_for};
use crate::mail::smtp::client::printable;

/// The fields that hold an envelope's recipient, the surest first.
pub const ENVELOPE_FIELDS: [&str; 6] =
    ["X-Envelope-To", "Envelope-To", "X-Original-To", "X-Rcpt-To", "X-Delivered-To", "Delivered-To"];
/// The topmost Received fields that are evaluated: those of the provider. Lower ones may be forged.
pub const RECEIVED_MAX: usize = 4;
/// The most receivers of one message.
pub const RECEIVERS_MAX: usize = 500;
/// The most places that the header line lists as evaluated.
const LOOKED_AT_MAX: usize = 20;
/// The most characters quoted from one place.
const LOOKED_AT_CHARS_MAX: usize = 100;

/// Of an address at some domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These users have it.
    Users(Vec<String>),
    /// It is at a local domain, and no user has it.
    Nobody,
    /// It is at another domain.
    Elsewhere,
}

/// How an account's messages are distributed.
#[derive(Clone, Copy, Debug)]
pub struct Distribution<'a> {
    /// The field with the envelope's recipient; by default the first known kind that is present.
    pub envelope_field: Option<&'a str>,
    /// The name of the account, which its server may put in where it had many recipients.
    pub account: &'a str,
    /// The receivers of messages without a result.
    pub otherwise_to: &'a [String],
}

/// The rule that determined the receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The account is a person's.
    Account,
    /// A field that holds the envelope's recipient.
    Envelope,
    /// The clause `for` of a Received field.
    Received,
    /// The addressees.
    Addressees,
    /// No rule had a result.
    Otherwise,
}

impl Rule {
    /// Its name, for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Envelope => "envelope",
            Self::Received => "received",
            Self::Addressees => "addressees",
            Self::Otherwise => "otherwise",
        }
    }
}

/// A user who receives a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The user's name.
    pub user: String,
    /// The address by which the user was found.
    pub address: Option<Mailbox>,
}

/// The receivers of a message, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributed {
    /// The rule that decided.
    pub rule: Rule,
    /// The field that decided.
    pub field: Option<String>,
    /// The receivers, without duplicates.
    pub receivers: Vec<Receiver>,
    /// The places that were evaluated before, with their content.
    pub looked_at: Vec<String>,
}

impl Distributed {
    /// The header line with the decision, folded, with its CRLF.
    pub fn to_header(&self) -> String {
        let mut line = format!("X-Distributed-By: {}", self.rule.name());
        if let Some(field) = &self.field {
            line += &format!(" ({})", comment(field));
        }
        if self.rule == Rule::Otherwise {
            line += "; nobody here is named in";
            let places = self.looked_at.iter().map(|place| format!("\r\n\t{}", comment(place)));
            line += &places.collect::<Vec<_>>().join(",");
        }
        line + "\r\n"
    }
}

/// `text` escaped for a header.
fn comment(text: &str) -> String {
    printable(text)
        .chars()
        .map(|c| if c.is_ascii() && !matches!(c, '(' | ')' | '\\') { c } else { '?' })
        .collect()
}

/// The receivers of the message that begins with `header`; `find` looks up an address.
pub fn distribute(header: &[u8], how: &Distribution<'_>, find: impl Fn(&Mailbox) -> Found) -> Distributed {
    let mut search = Search { fields: fields(header), how, find, looked_at: Vec::new() };
    let (rule, decided) = match search.envelope() {
        Some(decided) => (Rule::Envelope, Some(decided)),
        None => match search.received() {
            Some(decided) => (Rule::Received, Some(decided)),
            None => (Rule::Addressees, search.addressees()),
        },
    };
    let Search { looked_at, .. } = search;
    match decided {
        Some((field, receivers)) if !receivers.is_empty() => {
            Distributed { rule, field: Some(field), receivers, looked_at }
        }
        _ => {
            let receivers = how.otherwise_to.iter().take(RECEIVERS_MAX);
            let receivers = receivers.map(|user| Receiver { user: user.clone(), address: None }).collect();
            Distributed { rule: Rule::Otherwise, field: None, receivers, looked_at }
        }
    }
}

struct Search<'a, F> {
    fields: Vec<(String, String)>,
    how: &'a Distribution<'a>,
    find: F,
    looked_at: Vec<String>,
}

/// A field, and the receivers by it.
type Decided = (String, Vec<Receiver>);

impl<F: Fn(&Mailbox) -> Found> Search<'_, F> {
    /// The receivers by the envelope's field; an empty list if it names only unknown local addresses.
    fn envelope(&mut self) -> Option<Decided> {
        let names: Vec<&str> = match self.how.envelope_field {
            Some(name) => vec![name],
            None => ENVELOPE_FIELDS.to_vec(),
        };
        for name in names {
            let found = self.envelope_field(name);
            if found.is_empty() {
                continue;
            }
            self.look(name, &found);
            let of_ours: Vec<_> = found.into_iter().filter(|mailbox| self.names_somebody(mailbox)).collect();
            if !of_ours.is_empty() {
                return Some((name.to_owned(), self.users(&of_ours)));
            }
        }
        None
    }

    /// The addresses in the topmost fields of that name, between which the mail was not received by another server.
    fn envelope_field(&self, name: &str) -> Vec<Mailbox> {
        let from = self.fields.iter().position(|(field, _)| field.eq_ignore_ascii_case(name));
        let fields = &self.fields[from.unwrap_or(self.fields.len())..];
        let block = fields.iter().take_while(|(field, _)| field != "received");
        let of_name = block.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        of_name.flat_map(|(_, value)| addresses(value)).collect()
    }

    /// Whether an address in the envelope is at a local domain, and not the account's own.
    fn names_somebody(&self, mailbox: &Mailbox) -> bool {
        match (self.find)(mailbox) {
            Found::Users(_) => true,
            Found::Nobody => !self.is_account(mailbox),
            Found::Elsewhere => false,
        }
    }

    fn is_account(&self, mailbox: &Mailbox) -> bool {
        let account = self.how.account;
        match account.contains('@') {
            true => mailbox.to_string().eq_ignore_ascii_case(account),
            false => mailbox.local.as_str().eq_ignore_ascii_case(account),
        }
    }

    /// The receivers by the clause `for`.
    fn received(&mut self) -> Option<Decided> {
        let values = self.fields.iter().filter(|(name, _)| name == "received").take(RECEIVED_MAX);
        let clauses: Vec<_> = values.map(|(_, value)| received_for(value)).collect();
        for clause in clauses {
            match clause {
                ReceivedFor::Absent => {}
                // Lower fields belong to a list or a forwarder before.
                ReceivedFor::Unclear(text) => {
                    self.note("Received for", &text);
                    return None;
                }
                ReceivedFor::Address(mailbox) => {
                    self.look("Received for", std::slice::from_ref(&mailbox));
                    if self.names_somebody(&mailbox) {
                        return Some(("Received".to_owned(), self.users(&[mailbox])));
                    }
                }
            }
        }
        None
    }

    /// The users among the addressees.
    fn addressees(&mut self) -> Option<Decided> {
        let (mut names, mut found) = (Vec::new(), Vec::new());
        for kinds in [["Resent-To", "Resent-Cc", "Resent-Bcc"], ["To", "Cc", "Bcc"]] {
            for kind in kinds {
                let of_kind = self.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(kind));
                let of_kind: Vec<_> = of_kind.flat_map(|(_, value)| addresses(value)).collect();
                self.look(kind, &of_kind);
                let is_ours = |mailbox: &Mailbox| matches!((self.find)(mailbox), Found::Users(_));
                let ours: Vec<_> = of_kind.into_iter().filter(is_ours).collect();
                if !ours.is_empty() {
                    names.push(kind);
                    found.extend(ours);
                }
            }
            if !found.is_empty() {
                return Some((names.join(", "), self.users(&found)));
            }
        }
        None
    }

    /// The users with these addresses, without duplicates.
    fn users(&self, addresses: &[Mailbox]) -> Vec<Receiver> {
        let (mut known, mut receivers) = (BTreeSet::new(), Vec::new());
        for address in addresses {
            let Found::Users(users) = (self.find)(address) else { continue };
            for user in users {
                if receivers.len() < RECEIVERS_MAX && known.insert(user.clone()) {
                    receivers.push(Receiver { user, address: Some(address.clone()) });
                }
            }
        }
        receivers
    }

    fn look(&mut self, place: &str, found: &[Mailbox]) {
        let texts: Vec<_> = found.iter().take(LOOKED_AT_MAX).map(ToString::to_string).collect();
        self.note(place, &texts.join(" "));
    }

    fn note(&mut self, place: &str, found: &str) {
        if self.looked_at.len() < LOOKED_AT_MAX {
            let found = if found.is_empty() { "nothing" } else { found };
            self.looked_at.push(format!("{place}: {found}").chars().take(LOOKED_AT_CHARS_MAX).collect());
        }
    }
}
