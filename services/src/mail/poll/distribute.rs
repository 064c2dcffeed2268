//! Who gets a message of a common mailbox, by what its header says.
//!
//! The envelope, which would say it, is gone. So the traces of it are looked at, the surest first, and the first rule
//! that has something to say decides:
//!
//! | rule | looks at | says nothing if |
//! | --- | --- | --- |
//! | [`Rule::Envelope`] | the field of the configuration, or the first of [`ENVELOPE_FIELDS`] | it names nobody at a domain of ours |
//! | [`Rule::Received`] | the clause `for` of the topmost Received fields | it is not there, or names several, or nobody at a domain of ours |
//! | [`Rule::Addressees`] | Resent-To, Resent-Cc and Resent-Bcc, or else To, Cc and Bcc | it names none of our users |
//! | [`Rule::Otherwise`] | | |
//!
//! The envelope and `for` tell of this copy: what they name at a domain of ours and is nobody's goes to whom the
//! configuration says, and not to others who are named in To and have a copy of their own. Nothing is bounced, as its
//! sender may have seen it delivered long ago; nothing is distributed to other domains. (Only a user's own rule sends
//! it on.)

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::mail::address::Mailbox;
use crate::mail::header::{ReceivedFor, addresses, fields, received_for};
use crate::mail::smtp::client::printable;

/// The fields that hold an envelope's recipient, the surest first.
pub const ENVELOPE_FIELDS: [&str; 6] =
    ["X-Envelope-To", "Envelope-To", "X-Original-To", "X-Rcpt-To", "X-Delivered-To", "Delivered-To"];
/// The topmost Received fields that are looked at: those of the provider. What is below can be anybody's.
pub const RECEIVED_MAX: usize = 4;
/// The most users who get one message.
pub const RECEIVERS_MAX: usize = 500;
/// The most places that a message's header is said to have been looked at for.
const LOOKED_AT_MAX: usize = 20;
/// The characters of what was found in one place.
const LOOKED_AT_CHARS_MAX: usize = 100;

/// Of an address at some domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These users have it.
    Users(Vec<String>),
    /// It is at a domain of ours, and no user has it.
    Nobody,
    /// It is at a domain that is not ours.
    Elsewhere,
}

/// How an account's messages are distributed.
#[derive(Clone, Copy, Debug)]
pub struct Distribution<'a> {
    /// The field that holds the envelope's recipient; without it the first kind that is there.
    pub envelope_field: Option<&'a str>,
    /// The name of the account, which its server may put in where it had many recipients.
    pub account: &'a str,
    /// The users who get what nobody is named in.
    pub otherwise_to: &'a [String],
}

/// By what it was decided who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The account is a person's.
    Account,
    /// A field that holds the envelope's recipient.
    Envelope,
    /// The clause `for` of a Received field.
    Received,
    /// Whom the message is addressed to.
    Addressees,
    /// Nobody is named.
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

/// A user who gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The user's name.
    pub user: String,
    /// The address by which the user was found.
    pub address: Option<Mailbox>,
}

/// Who gets a message, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributed {
    /// What decided.
    pub rule: Rule,
    /// The field that decided.
    pub field: Option<String>,
    /// Who gets it, each once.
    pub receivers: Vec<Receiver>,
    /// What was looked at before, each with what was there.
    pub looked_at: Vec<String>,
}

impl Distributed {
    /// The header line that says how it was decided, folded, with its CRLF.
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

/// `text` as it can stand in a header.
fn comment(text: &str) -> String {
    printable(text)
        .chars()
        .map(|c| if c.is_ascii() && !matches!(c, '(' | ')' | '\\') { c } else { '?' })
        .collect()
}

/// Who gets the message that begins with `header`; `find` tells of an address.
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

/// A field, and who is named there.
type Decided = (String, Vec<Receiver>);

impl<F: Fn(&Mailbox) -> Found> Search<'_, F> {
    /// Who the envelope's field names; nobody at all if it names addresses of ours that no user has.
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

    /// Whether an address in the envelope tells of somebody at a domain of ours, and not of the account.
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

    /// Whom the provider received the message for.
    fn received(&mut self) -> Option<Decided> {
        let values = self.fields.iter().filter(|(name, _)| name == "received").take(RECEIVED_MAX);
        let clauses: Vec<_> = values.map(|(_, value)| received_for(value)).collect();
        for clause in clauses {
            match clause {
                ReceivedFor::Absent => {}
                // What is below tells of the way to the list or to whoever sent it on.
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

    /// Whom the message is addressed to, of our users.
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

    /// The users who have these addresses, each once.
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
