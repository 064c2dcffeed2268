//! `gatepost mail list`, `mail show` and `mail search`.
//!
//! They read the store's files, as `mail export` does, and ask no gateway: so they do the same whether one runs or
//! not, a long search keeps no service waiting, and a message of any length is printed as it is stored.

use std::io::{self, IsTerminal, Write};

use gatepost_services::mail::store::{Entry, Flags, Mailbox, Message, Uid, Unreadable};
use gatepost_services::mail::transfer::date;
use gatepost_services::mail::transfer::excerpt::{Content, Head, contains, content, head};
use gatepost_services::mail::transfer::export::ExportError;
use gatepost_services::mail::transfer::reader::Reader;
use gatepost_services::store::ReadOnlyFiles;
use serde::Serialize;

use super::{NotRead, Options, Progress, print, print_json, remedy_of_reading, tell};
use crate::control::table::{Table, octets};
use crate::error::Error;

/// Octets of a message in which its header is looked for.
const HEADER_OCTETS: usize = 256 << 10;
/// Characters of a column.
const COLUMN_CHARS: usize = 50;

/// What `--json` prints of `list` and `search`. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct List {
    mailbox: String,
    messages: Vec<Listed>,
    unreadable: Vec<NotRead>,
}

#[derive(Debug, Serialize)]
struct Listed {
    uid: u32,
    /// The message's number in the store, which all of its copies have: `gatepost mail trace` takes it.
    id: u64,
    folder: String,
    flags: Vec<&'static str>,
    /// When it was accepted, in seconds since 1970.
    received: u64,
    size: u64,
    from: String,
    to: String,
    subject: String,
    /// What the message says itself.
    date: String,
    message_id: String,
}

/// What `--json` prints of `show`. The keys are stable, more may be added.
#[derive(Debug, Serialize)]
struct Shown {
    mailbox: String,
    #[serde(flatten)]
    listed: Listed,
    /// The address that bounces go to; empty for a bounce.
    return_path: String,
    /// The client that submitted the message.
    source: String,
    text: String,
    attachments: Vec<Attachment>,
}

#[derive(Debug, Serialize)]
struct Attachment {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    octets: u64,
}

/// Lists the messages of a mailbox, or those of them that have `text`. Whether all could be read.
pub(super) fn list(options: &Options, user: &str, text: Option<&str>) -> Result<bool, Error> {
    let state_dir = options.load_to_read()?.system.state_dir;
    let disk = ReadOnlyFiles::new(&state_dir);
    let mut reader = open(&disk, user)?;
    let uids: Vec<_> =
        reader.mailbox().into_iter().flat_map(Mailbox::entries).map(|entry| entry.uid).collect();
    let mut progress = Progress::new("read", options);
    let mut list = List { mailbox: user.to_owned(), messages: Vec::new(), unreadable: Vec::new() };
    for (uid, count) in uids.into_iter().zip(1..) {
        match look(&mut reader, uid, text) {
            Ok(Some(listed)) => list.messages.push(listed),
            // It has not the text, or was removed meanwhile.
            Ok(None) | Err(Unreadable::Gone) => {}
            Err(why) => list.unreadable.push(NotRead { uid, why: why.to_string() }),
        }
        progress.tell(count);
    }
    for NotRead { uid, why } in &list.unreadable {
        tell(&format!("message {uid} cannot be read: {why}; see `gatepost mail check`"));
    }
    if options.json {
        print_json(&list)?;
    } else {
        print(table(&list.messages).trim_end());
    }
    Ok(list.unreadable.is_empty())
}

/// Prints a message as it is stored, or with `--json` what people see of it.
pub(super) fn show(options: &Options, user: &str, uid: Uid) -> Result<(), Error> {
    let state_dir = options.load_to_read()?.system.state_dir;
    let disk = ReadOnlyFiles::new(&state_dir);
    let mut reader = open(&disk, user)?;
    let unreadable = |why: Unreadable| {
        let remedy = match &why {
            Unreadable::Gone => "write a number that `gatepost mail list` has".to_owned(),
            Unreadable::Damaged => "see `gatepost mail check`".to_owned(),
            Unreadable::Io(error) => remedy_of_reading(error).to_owned(),
        };
        Error::failed(format!("cannot show message {uid} of {user}"), why, remedy)
    };
    let (entry, message) = reader.message(uid).map_err(unreadable)?;
    if options.json {
        let octets = reader.whole(&message).map_err(unreadable)?;
        let Content { text, attachments } = content(&octets);
        let attachments = attachments.into_iter();
        return print_json(&Shown {
            mailbox: user.to_owned(),
            listed: listed(&reader, &entry, head(&octets)),
            return_path: message.accept.return_path,
            source: message.accept.source,
            text,
            attachments: attachments
                .map(|of| Attachment { name: of.name, kind: of.kind, octets: of.octets })
                .collect(),
        });
    }
    let mut stdout = io::stdout().lock();
    let is_terminal = stdout.is_terminal();
    reader
        .each_part(&message, |part| {
            let plain = is_terminal.then(|| part.iter().copied().map(harmless).collect::<Vec<_>>());
            // The exit code reports the outcome if stdout is closed.
            _ = stdout.write_all(plain.as_deref().unwrap_or(part));
            Ok::<_, Unreadable>(())
        })
        .map_err(unreadable)
}

/// An octet of a stranger's, which does nothing to a terminal.
fn harmless(octet: u8) -> u8 {
    if octet.is_ascii_control() && !b"\r\n\t".contains(&octet) { b'?' } else { octet }
}

fn open<'a>(disk: &'a ReadOnlyFiles, user: &str) -> Result<Reader<'a>, Error> {
    let reader = Reader::open(disk, user).map_err(|error| {
        let what = format!("cannot read the mailbox {user}");
        match error {
            ExportError::Store(error) => Error::failed(what, &error, remedy_of_reading(&error)),
            error => Error::failed(what, error, "name one that there is"),
        }
    })?;
    if reader.is_damaged() {
        tell("the mail store is damaged; see `gatepost mail check`");
    }
    Ok(reader)
}

/// What is listed of a message; `None` if it has not the `text` that is looked for.
fn look(reader: &mut Reader<'_>, uid: Uid, text: Option<&str>) -> Result<Option<Listed>, Unreadable> {
    let (entry, message): (Entry, Message) = reader.message(uid)?;
    let octets = match text {
        Some(_) => reader.whole(&message)?,
        None => reader.beginning(&message, HEADER_OCTETS)?,
    };
    let is_meant = text.is_none_or(|text| contains(&octets, text));
    Ok(is_meant.then(|| listed(reader, &entry, head(&octets))))
}

fn listed(reader: &Reader<'_>, entry: &Entry, head: Head) -> Listed {
    let folder = reader.mailbox().map(|mailbox| mailbox.state().folder_name(entry.folder));
    let Head { from, to, subject, date, message_id } = head;
    Listed {
        uid: entry.uid,
        folder: folder.unwrap_or_default().to_owned(),
        id: entry.message,
        flags: flags(entry.flags),
        received: entry.time,
        size: entry.size,
        from,
        to,
        subject,
        date,
        message_id,
    }
}

fn flags(of: Flags) -> Vec<&'static str> {
    let names = [
        (Flags::SEEN, "seen"),
        (Flags::ANSWERED, "answered"),
        (Flags::FLAGGED, "flagged"),
        (Flags::DELETED, "deleted"),
        (Flags::DRAFT, "draft"),
    ];
    names.into_iter().filter(|(flag, _)| of.0 & flag.0 != 0).map(|(_, name)| name).collect()
}

fn table(messages: &[Listed]) -> String {
    let column = |text: &str| text.chars().take(COLUMN_CHARS).collect::<String>();
    let mut table = Table::new(["uid", "id", "folder", "received (UTC)", "size", "from", "subject"]);
    for listed in messages {
        table.row([
            listed.uid.to_string(),
            listed.id.to_string(),
            column(&listed.folder),
            date::write(listed.received),
            octets(listed.size),
            column(&listed.from),
            column(&listed.subject),
        ]);
    }
    table.to_string()
}
