//! The gateway's report about its mailboxes: `show mailboxes`.

use std::fmt;

use gatepost_services::mail::transfer::date;
use serde::{Deserialize, Serialize};

use super::table::{Table, octets, on_one_line, or_dash};

/// `show mailboxes`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailboxes {
    /// How many there are.
    pub total: usize,
    /// Some of them, by name: all, up to some bound.
    pub mailboxes: Vec<Mailbox>,
}

/// A mailbox, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Its user.
    pub user: String,
    /// The messages in all of its folders.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
    /// How many octets it may hold; `null` for any number.
    pub quota: Option<u64>,
    /// How much of that it holds, in whole per cent.
    pub used_percent: Option<u64>,
    /// When the newest message in it was accepted, in seconds since 1970.
    pub newest: Option<u64>,
    /// Whether a POP3 session has it, so that no other gets it.
    pub pop3_locked: bool,
    /// Its folders in the mailbox's own order, the inbox first.
    pub folders: Vec<Folder>,
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its name.
    pub folder: String,
    /// Its messages.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
}

impl fmt::Display for Mailboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["user", "folder", "messages", "size", "quota", "used", "newest (UTC)", "pop3"];
        let mut table = Table::new(header);
        for mailbox in &self.mailboxes {
            table.row([
                mailbox.user.clone(),
                String::new(),
                mailbox.messages.to_string(),
                octets(mailbox.octets),
                or_dash(mailbox.quota.map(octets).as_ref()),
                or_dash(mailbox.used_percent.map(|percent| format!("{percent} %")).as_ref()),
                or_dash(mailbox.newest.map(date::write).as_ref()),
                if mailbox.pop3_locked { "locked" } else { "-" }.to_owned(),
            ]);
            for folder in &mailbox.folders {
                let mut row = [const { String::new() }; 8];
                row[1] = on_one_line(&folder.folder);
                row[2] = folder.messages.to_string();
                row[3] = octets(folder.octets);
                table.row(row);
            }
        }
        table.fmt(f)?;
        let (shown, total) = (self.mailboxes.len(), self.total);
        if shown < total { writeln!(f, "the first {shown} of {total}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_has_a_line_and_one_for_each_folder() {
        let folder = |folder: &str, messages, octets| Folder { folder: folder.to_owned(), messages, octets };
        let anna = Mailbox {
            user: "anna".to_owned(),
            messages: 3,
            octets: 2500,
            quota: Some(10_000),
            used_percent: Some(25),
            newest: Some(1_709_210_096),
            pop3_locked: true,
            folders: vec![folder("INBOX", 2, 2000), folder("Li\x1bsts", 1, 500)],
        };
        let bert = Mailbox {
            user: "bert".to_owned(),
            messages: 0,
            octets: 0,
            quota: None,
            used_percent: None,
            newest: None,
            pop3_locked: false,
            folders: vec![folder("INBOX", 0, 0)],
        };
        let mailboxes = Mailboxes { total: 3, mailboxes: vec![anna, bert] };
        let expected = "\
            user  folder  messages  size     quota    used  newest (UTC)              pop3\n\
            anna          3         2.4 KiB  9.7 KiB  25 %  Thu Feb 29 12:34:56 2024  locked\n      \
            INBOX   2         1.9 KiB\n      \
            Li sts  1         500 B\n\
            bert          0         0 B      -        -     -                         -\n      \
            INBOX   0         0 B\n\
            the first 2 of 3\n";
        assert_eq!(mailboxes.to_string(), expected);
    }
}
