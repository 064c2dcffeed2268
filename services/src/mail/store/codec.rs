//! The text form of records.

use super::content::{
    Abort, Accept, Attempt, Body, BodyName, Content, Delivery, Done, Expunge, Flags, FolderId, MailboxId,
    MailboxState, Origin, Progress, QueueId, Remote, SetFlags, Start, Uidls,
};
use super::text::{Line, Lines, Malformed, Values, lines};

const START: u8 = 1;
const ACCEPT: u8 = 2;
const ATTEMPT: u8 = 3;
const DONE: u8 = 4;
const EXPUNGE: u8 = 5;
const FLAGS: u8 = 6;
pub(super) const MAILBOX: u8 = 7;
const SEEN: u8 = 8;
const FORGET: u8 = 9;
const ABORT: u8 = 10;
const NOTE: u8 = 11;

impl Content {
    /// Whether this program writes records of that kind.
    pub fn is_known(kind: u8) -> bool {
        (START..=NOTE).contains(&kind)
    }

    /// The kind of the record, and its text.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        let mut text = Lines::default();
        let kind = match self {
            Self::Start(start) => {
                if let Some((segment, len)) = start.previous {
                    text.line("previous").number(segment).number(len);
                }
                START
            }
            Self::Accept(accept) => {
                write_accept(&mut text, accept);
                ACCEPT
            }
            Self::Attempt(attempt) => {
                write_progress(write_entry(text.line("attempt"), attempt.entry), &attempt.progress);
                ATTEMPT
            }
            Self::Done(done) => {
                let line = write_entry(text.line("done"), done.entry).octets(&done.reply);
                _ = if done.time > 0 { line.number(done.time) } else { line };
                DONE
            }
            Self::Expunge(expunge) => {
                write_all(text.line("expunge").number(expunge.mailbox.0), &expunge.uids);
                EXPUNGE
            }
            Self::Flags(set) => {
                let line = text.line("flags").number(set.mailbox.0).number(set.flags.0).number(set.modseq);
                write_all(line, &set.uids);
                FLAGS
            }
            Self::Mailbox(mailbox) => {
                write_mailbox(&mut text, mailbox);
                MAILBOX
            }
            Self::Seen(uidls) => {
                write_uidls(text.line("seen"), uidls);
                SEEN
            }
            Self::Forget(uidls) => {
                write_uidls(text.line("forget"), uidls);
                FORGET
            }
            Self::Abort(abort) => {
                for (segment, offset) in &abort.from {
                    _ = text.line("abort").number(segment).number(offset);
                }
                ABORT
            }
            Self::Note(note) => {
                _ = text.line("note").octets(note);
                NOTE
            }
        };
        (kind, text.into_octets())
    }

    /// Decodes the text of a record of that kind.
    ///
    /// # Errors
    ///
    /// This program does not write such a record.
    pub fn decode(kind: u8, text: &[u8]) -> Result<Self, Malformed> {
        let mut text = lines(text);
        let content = match kind {
            START => {
                let mut start = Start::default();
                if let Some(line) = text.next() {
                    let mut values = expect(line, "previous")?;
                    start.previous = Some((values.number()?, values.number()?));
                }
                Self::Start(start)
            }
            ACCEPT => Self::Accept(read_accept(&mut text)?),
            ATTEMPT => {
                let mut values = expect_next(&mut text, "attempt")?;
                let entry = read_entry(&mut values)?;
                Self::Attempt(Attempt { entry, progress: read_progress(&mut values)? })
            }
            DONE => {
                let mut values = expect_next(&mut text, "done")?;
                let (entry, reply) = (read_entry(&mut values)?, values.text()?);
                // Versions before this one wrote no time, and read no further than the reply.
                let time = if values.is_empty() { 0 } else { values.number()? };
                Self::Done(Done { entry, reply, time })
            }
            EXPUNGE => {
                let mut values = expect_next(&mut text, "expunge")?;
                Self::Expunge(Expunge {
                    mailbox: MailboxId(values.number()?),
                    uids: read_all(&mut values, Values::number)?,
                })
            }
            FLAGS => {
                let mut values = expect_next(&mut text, "flags")?;
                Self::Flags(SetFlags {
                    mailbox: MailboxId(values.number()?),
                    flags: Flags(values.number()?),
                    modseq: values.number()?,
                    uids: read_all(&mut values, Values::number)?,
                })
            }
            MAILBOX => Self::Mailbox(read_mailbox(&mut text)?),
            SEEN => Self::Seen(read_uidls(expect_next(&mut text, "seen")?)?),
            FORGET => Self::Forget(read_uidls(expect_next(&mut text, "forget")?)?),
            ABORT => {
                let mut abort = Abort::default();
                for line in text.by_ref() {
                    let mut values = expect(line, "abort")?;
                    abort.from.push((values.number()?, values.number()?));
                }
                Self::Abort(abort)
            }
            NOTE => Self::Note(expect_next(&mut text, "note")?.text()?),
            _ => return Err(Malformed),
        };
        if text.next().is_some() { Err(Malformed) } else { Ok(content) }
    }
}

fn write_accept(text: &mut Lines, accept: &Accept) {
    let Accept { time, source, return_path, origin, results, deliveries, remotes, ends, body } = accept;
    text.line("accept").number(time).octets(source).octets(return_path).octets(results);
    match origin {
        Origin::Smtp => _ = text.line("origin").number("smtp"),
        Origin::Imported { at } => _ = text.line("origin").number("imported").number(at),
        Origin::Local => _ = text.line("origin").number("local"),
        Origin::Voice => _ = text.line("origin").number("voice"),
        Origin::Polled { account, uidl } => {
            _ = text.line("origin").number("polled").octets(account).octets(uidl);
        }
    }
    if let Body::File { name, len, checksum } = body {
        text.line("body").number(name.0).number(len).number(checksum);
    }
    for delivery in deliveries {
        let Delivery { mailbox, uid, folder, flags, modseq, prefix, also_for } = delivery;
        let line = text.line("deliver").number(mailbox.0).number(uid).number(folder.0);
        let mut line = line.number(flags.0).number(modseq).octets(prefix);
        for address in also_for {
            line = line.octets(address);
        }
    }
    for remote in remotes {
        let Remote { number, recipient, options, progress } = remote;
        let line = text.line("remote").number(number).octets(recipient).octets(options);
        write_progress(line, progress);
    }
    for entry in ends {
        _ = write_entry(text.line("ends"), *entry);
    }
}

fn read_accept<'a>(
    text: &mut impl Iterator<Item = Result<(&'a str, Values<'a>), Malformed>>,
) -> Result<Accept, Malformed> {
    let mut values = expect_next(text, "accept")?;
    let (time, source, return_path) = (values.number()?, values.text()?, values.text()?);
    let mut accept = Accept { time, source, return_path, results: values.text()?, ..Accept::default() };
    let mut values = expect_next(text, "origin")?;
    accept.origin = match values.word()? {
        "smtp" => Origin::Smtp,
        // Former versions wrote no time, and read no further than the word.
        "imported" => Origin::Imported { at: if values.is_empty() { 0 } else { values.number()? } },
        "local" => Origin::Local,
        "voice" => Origin::Voice,
        "polled" => Origin::Polled { account: values.text()?, uidl: values.text()? },
        _ => return Err(Malformed),
    };
    for line in text {
        let (key, mut values) = line?;
        match key {
            "body" => {
                let (name, len) = (BodyName(values.number()?), values.number()?);
                accept.body = Body::File { name, len, checksum: values.number()? };
            }
            "deliver" => accept.deliveries.push(Delivery {
                mailbox: MailboxId(values.number()?),
                uid: values.number()?,
                folder: FolderId(values.number()?),
                flags: Flags(values.number()?),
                modseq: values.number()?,
                prefix: values.octets()?,
                // Former versions wrote none, and read no further than the prefix.
                also_for: read_all(&mut values, Values::text)?,
            }),
            "remote" => accept.remotes.push(Remote {
                number: values.number()?,
                recipient: values.text()?,
                options: values.text()?,
                progress: read_progress(&mut values)?,
            }),
            "ends" => accept.ends.push(read_entry(&mut values)?),
            _ => return Err(Malformed),
        }
    }
    Ok(accept)
}

fn write_mailbox(text: &mut Lines, mailbox: &MailboxState) {
    let MailboxState { id, name, uid_validity, uid_next, quota, is_removed, folders } = mailbox;
    let line = text.line("mailbox").number(id.0).octets(name).number(uid_validity).number(uid_next);
    line.number(quota).number(u8::from(*is_removed));
    for folder in folders {
        text.line("folder").octets(folder);
    }
}

fn read_mailbox<'a>(
    text: &mut impl Iterator<Item = Result<(&'a str, Values<'a>), Malformed>>,
) -> Result<MailboxState, Malformed> {
    let mut values = expect_next(text, "mailbox")?;
    let mut mailbox = MailboxState {
        id: MailboxId(values.number()?),
        name: values.text()?,
        uid_validity: values.number()?,
        uid_next: values.number()?,
        quota: values.number()?,
        is_removed: values.number::<u8>()? != 0,
        folders: Vec::new(),
    };
    for line in text {
        mailbox.folders.push(expect(line, "folder")?.text()?);
    }
    Ok(mailbox)
}

pub(super) fn write_progress(line: Line<'_>, progress: &Progress) {
    let Progress { tries, due, is_held, is_warned, reply } = progress;
    let flags = u8::from(*is_held) | u8::from(*is_warned) << 1;
    line.number(tries).number(due).number(flags).octets(reply);
}

pub(super) fn read_progress(values: &mut Values<'_>) -> Result<Progress, Malformed> {
    let (tries, due, flags) = (values.number()?, values.number()?, values.number::<u8>()?);
    let (is_held, is_warned) = (flags & 1 != 0, flags & 2 != 0);
    Ok(Progress { tries, due, is_held, is_warned, reply: values.text()? })
}

fn write_entry(line: Line<'_>, entry: QueueId) -> Line<'_> {
    line.number(entry.message).number(entry.recipient)
}

fn read_entry(values: &mut Values<'_>) -> Result<QueueId, Malformed> {
    Ok(QueueId { message: values.number()?, recipient: values.number()? })
}

fn write_uidls(mut line: Line<'_>, uidls: &Uidls) {
    line = line.octets(&uidls.account);
    for uidl in &uidls.uidls {
        line = line.octets(uidl);
    }
}

fn read_uidls(mut values: Values<'_>) -> Result<Uidls, Malformed> {
    Ok(Uidls { account: values.text()?, uidls: read_all(&mut values, Values::text)? })
}

fn write_all<T: std::fmt::Display>(mut line: Line<'_>, values: &[T]) {
    for value in values {
        line = line.number(value);
    }
}

fn read_all<'a, T>(
    values: &mut Values<'a>,
    read: impl Fn(&mut Values<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut all = Vec::new();
    while !values.is_empty() {
        all.push(read(values)?);
    }
    Ok(all)
}

fn expect<'a>(line: Result<(&'a str, Values<'a>), Malformed>, wanted: &str) -> Result<Values<'a>, Malformed> {
    line.and_then(|(key, values)| if key == wanted { Ok(values) } else { Err(Malformed) })
}

fn expect_next<'a>(
    text: &mut impl Iterator<Item = Result<(&'a str, Values<'a>), Malformed>>,
    wanted: &str,
) -> Result<Values<'a>, Malformed> {
    expect(text.next().ok_or(Malformed)?, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = QueueId { message: 7, recipient: 2 };
        let progress =
            Progress { tries: 3, due: 9, is_held: true, is_warned: true, reply: "450 later\r\n%".to_owned() };
        let accept = Accept {
            time: 1,
            source: "192.0.2.1 pc of anna".to_owned(),
            return_path: String::new(),
            origin: Origin::Polled { account: "a b".to_owned(), uidl: "x\u{e4}".to_owned() },
            results: "spf=none".to_owned(),
            deliveries: vec![Delivery {
                mailbox: MailboxId(3),
                uid: 4,
                folder: FolderId(1),
                flags: Flags::SEEN | Flags::DRAFT,
                modseq: 5,
                prefix: b"Delivered-To: a\r\n\0\xff".to_vec(),
                also_for: vec!["all@a b".to_owned(), "x@y".to_owned()],
            }],
            remotes: vec![Remote {
                number: 1,
                recipient: "b@example".to_owned(),
                options: String::new(),
                progress: progress.clone(),
            }],
            ends: vec![entry],
            body: Body::File { name: BodyName(8), len: 9, checksum: 10 },
        };
        let mailbox = MailboxState {
            id: MailboxId(1),
            name: "anna".to_owned(),
            uid_validity: 2,
            uid_next: 3,
            quota: 4,
            is_removed: true,
            folders: vec!["INBOX".to_owned(), "Entw\u{fc}rfe".to_owned()],
        };
        let uidls = Uidls { account: "a".to_owned(), uidls: vec!["1".to_owned(), String::new()] };
        for content in [
            Content::Start(Start { previous: None }),
            Content::Start(Start { previous: Some((1, 2)) }),
            Content::Accept(Accept::default()),
            Content::Accept(Accept { origin: Origin::Imported { at: 7 }, ..Accept::default() }),
            Content::Accept(accept),
            Content::Attempt(Attempt { entry, progress }),
            Content::Done(Done { time: 11, ..Done::new(entry, "250".to_owned()) }),
            Content::Done(Done::new(entry, String::new())),
            Content::Expunge(Expunge { mailbox: MailboxId(1), uids: vec![1, 2] }),
            Content::Flags(SetFlags { mailbox: MailboxId(1), uids: vec![], flags: Flags(3), modseq: 4 }),
            Content::Mailbox(mailbox),
            Content::Seen(uidls.clone()),
            Content::Forget(uidls),
            Content::Abort(Abort { from: vec![(1, 2), (3, 0)] }),
            Content::Note("a note".to_owned()),
        ] {
            let (kind, text) = content.encode();
            assert_eq!(Content::decode(kind, &text), Ok(content), "{}", String::from_utf8_lossy(&text));
            assert_eq!(Content::decode(kind, b"else\n"), Err(Malformed));
            assert_eq!(Content::decode(99, &text), Err(Malformed));
        }
    }

    #[test]
    fn what_earlier_versions_have_imported_says_no_time() {
        let (kind, text) = Content::Accept(Accept::default()).encode();
        let text = String::from_utf8(text).unwrap().replace("origin smtp", "origin imported");
        let Ok(Content::Accept(accept)) = Content::decode(kind, text.as_bytes()) else { panic!("{text}") };
        assert_eq!(accept.origin, Origin::Imported { at: 0 });
        assert_eq!(Accept { time: 9, ..accept }.arrived(), 9);
    }
}
