//! Reading an mbox, in parts of any length.

use std::mem;

use super::date;
use super::mbox::{FROM, NOBODY, STATUS, X_STATUS};
use crate::mail::store::Flags;

/// A longer line is neither a `From ` line nor one of flags or folders.
const LINE_OCTETS_MAX: usize = 1024;

/// The properties of a message besides its octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The sender; empty for none.
    pub sender: String,
    /// Its date, in seconds since 1970.
    pub time: Option<u64>,
    /// Its flags.
    pub flags: Flags,
    /// Its folder.
    pub folder: Option<String>,
}

/// Receives messages.
pub trait Sink {
    /// Why it does not.
    type Error;

    /// Octets of a message.
    ///
    /// # Errors
    ///
    /// They are rejected.
    fn part(&mut self, octets: &[u8]) -> Result<(), Self::Error>;

    /// The message ends.
    ///
    /// # Errors
    ///
    /// It is rejected.
    fn end(&mut self, head: &Head) -> Result<(), Self::Error>;
}

/// Finds messages in an mbox. Octets before the first `From ` line are not of any.
#[derive(Debug, Default)]
pub struct Parser {
    message: Option<Head>,
    line: Line,
    /// An empty line, which is the message's if more of the message follows.
    held: Vec<u8>,
    /// How many kinds of lines that may precede the message's own were removed.
    taken: Option<usize>,
    /// Whether this is the header of a message that another program has written, which has its flags anywhere in it.
    is_header: bool,
    /// Whether it is a header line that is too long to parse.
    is_long: bool,
    /// The octets of an undecided line.
    collected: Vec<u8>,
    /// Whether a CR is held back, as LF may follow.
    has_cr: bool,
}

/// The kind of the line.
#[derive(Debug, Default)]
enum Line {
    /// So many `>` and letters of [`FROM`].
    Start(u64, usize),
    Inside,
    /// It begins with [`FROM`].
    From(Vec<u8>),
    #[default]
    None,
}

/// The lines that may precede the message's own, in this order.
const OWN: [&[u8]; 3] = [b"Status: ", b"X-Status: ", b"X-Folder: "];
/// How many of these are flags, which other programs write anywhere in the header.
const FLAGS: usize = 2;

impl Parser {
    /// A parser at the beginning of a file.
    pub fn new() -> Self {
        Self { line: Line::Start(0, 0), ..Self::default() }
    }

    /// Reads further octets of the file.
    ///
    /// # Errors
    ///
    /// An error of `sink`.
    pub fn push<S: Sink>(&mut self, octets: &[u8], sink: &mut S) -> Result<(), S::Error> {
        if octets.is_empty() {
            return Ok(());
        }
        let mut text = Vec::with_capacity(octets.len() + 1);
        text.extend(mem::take(&mut self.has_cr).then_some(b'\r'));
        text.extend_from_slice(octets);
        self.has_cr = text.pop_if(|last| *last == b'\r').is_some();
        for piece in text.split_inclusive(|octet| *octet == b'\n') {
            self.piece(piece, sink)?;
        }
        Ok(())
    }

    /// Handles a line, or a part of one.
    fn piece<S: Sink>(&mut self, piece: &[u8], sink: &mut S) -> Result<(), S::Error> {
        if self.taken.is_none() && (!self.is_header || self.is_long) {
            self.is_long &= !piece.ends_with(b"\n");
            return self.text(piece, sink);
        }
        self.collected.extend_from_slice(piece);
        let is_whole = piece.ends_with(b"\n");
        if !is_whole && self.collected.len() <= LINE_OCTETS_MAX {
            return Ok(());
        }
        let line = mem::take(&mut self.collected);
        let Some(taken) = self.taken else { return self.header_line(&line, sink) };
        let kind = (taken..OWN.len()).find(|kind| line.starts_with(OWN[*kind])).filter(|_| is_whole);
        match kind.zip(self.message.as_mut()) {
            Some((kind, head)) => {
                head.read(kind, line[OWN[kind].len()..].trim_ascii());
                self.taken = (kind + 1 < OWN.len()).then_some(kind + 1);
                Ok(())
            }
            None => {
                self.taken = None;
                self.header_line(&line, sink)
            }
        }
    }

    /// Handles a header line, or the beginning of a long one. Flags in it are read, and stay.
    fn header_line<S: Sink>(&mut self, line: &[u8], sink: &mut S) -> Result<(), S::Error> {
        self.is_long = !line.ends_with(b"\n");
        self.is_header = !matches!(line, b"\n" | b"\r\n");
        let kind = (0..FLAGS).find(|kind| line.starts_with(OWN[*kind])).filter(|_| !self.is_long);
        if let Some((kind, head)) = kind.zip(self.message.as_mut()) {
            head.read(kind, line[OWN[kind].len()..].trim_ascii());
        }
        self.text(line, sink)
    }

    /// Handles text of a message, of one line.
    fn text<S: Sink>(&mut self, piece: &[u8], sink: &mut S) -> Result<(), S::Error> {
        let mut at = 0;
        while let Some(octet) = piece.get(at) {
            match &mut self.line {
                Line::Start(quotes, 0) if *octet == b'>' => *quotes += 1,
                Line::Start(quotes, matched) if *octet == FROM[*matched] => {
                    *matched += 1;
                    if *matched == FROM.len() {
                        let quotes = *quotes;
                        self.line = if quotes == 0 { Line::From(FROM.to_vec()) } else { Line::Inside };
                        if quotes > 0 {
                            self.give_head(quotes - 1, FROM.len(), sink)?;
                        }
                    }
                }
                Line::Start(quotes, matched) => {
                    let (quotes, matched) = (*quotes, *matched);
                    let rest = &piece[at..];
                    if (quotes, matched) == (0, 0) && matches!(rest, b"\n" | b"\r\n") {
                        let held = mem::replace(&mut self.held, rest.to_vec());
                        return self.give(&held, sink);
                    }
                    self.line = Line::Inside;
                    self.give_head(quotes, matched, sink)?;
                    continue;
                }
                Line::Inside => {
                    self.give_held(sink)?;
                    self.give(&piece[at..], sink)?;
                    if piece.ends_with(b"\n") {
                        self.line = Line::Start(0, 0);
                    }
                    return Ok(());
                }
                Line::From(line) => {
                    line.extend_from_slice(&piece[at..]);
                    if piece.ends_with(b"\n") || line.len() > LINE_OCTETS_MAX {
                        let line = mem::take(line);
                        return self.begin_by(&line, sink);
                    }
                    return Ok(());
                }
                Line::None => return Ok(()),
            }
            at += 1;
        }
        Ok(())
    }

    /// Handles a line that begins with `From `.
    fn begin_by<S: Sink>(&mut self, line: &[u8], sink: &mut S) -> Result<(), S::Error> {
        let is_whole = line.ends_with(b"\n");
        let head = Head::of_line(line).filter(|_| is_whole);
        // A file's first line is one, whatever its date.
        let head = head.or_else(|| (self.message.is_none() && is_whole).then(Head::default));
        self.line = if is_whole { Line::Start(0, 0) } else { Line::Inside };
        let Some(head) = head else {
            self.give_held(sink)?;
            return self.give(line, sink);
        };
        self.held.clear();
        if let Some(before) = self.message.replace(head) {
            sink.end(&before)?;
        }
        (self.taken, self.is_header, self.is_long) = (Some(0), false, false);
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// An error of `sink`.
    pub fn finish<S: Sink>(mut self, sink: &mut S) -> Result<(), S::Error> {
        if mem::take(&mut self.has_cr) {
            self.piece(b"\r", sink)?;
        }
        self.taken = None;
        let collected = mem::take(&mut self.collected);
        self.text(&collected, sink)?;
        match mem::take(&mut self.line) {
            Line::Start(quotes, matched) if quotes > 0 || matched > 0 => {
                self.give_head(quotes, matched, sink)?;
            }
            Line::From(line) => {
                self.give_held(sink)?;
                self.give(&line, sink)?;
            }
            Line::Start(..) | Line::Inside | Line::None => {}
        }
        self.message.take().map_or(Ok(()), |head| sink.end(&head))
    }

    fn give_head<S: Sink>(&mut self, quotes: u64, matched: usize, sink: &mut S) -> Result<(), S::Error> {
        self.give_held(sink)?;
        for _ in 0..quotes {
            self.give(b">", sink)?;
        }
        self.give(&FROM[..matched], sink)
    }

    fn give_held<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        let held = mem::take(&mut self.held);
        self.give(&held, sink)
    }

    fn give<S: Sink>(&self, octets: &[u8], sink: &mut S) -> Result<(), S::Error> {
        if self.message.is_none() || octets.is_empty() { Ok(()) } else { sink.part(octets) }
    }
}

impl Head {
    /// Parses a `From ` line. `None` if it has no date.
    fn of_line(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        let words: Vec<_> = text.split_whitespace().skip(1).collect();
        let (at, time) = (0..words.len()).find_map(|at| Some((at, date::read(&words[at..])?)))?;
        let sender = words[..at].join(" ");
        let is_nobody = sender == NOBODY || sender == "-";
        Some(Self {
            sender: if is_nobody { String::new() } else { sender },
            time: Some(time),
            ..Self::default()
        })
    }

    /// Reads the value of a line of [`OWN`].
    fn read(&mut self, kind: usize, value: &[u8]) {
        let flags = |of: &[(u8, Flags)]| {
            let set = of.iter().filter(|(letter, _)| value.contains(letter));
            set.fold(Flags::default(), |flags, (_, flag)| flags | *flag)
        };
        match kind {
            0 => self.flags = self.flags | flags(&STATUS),
            1 => self.flags = self.flags | flags(&X_STATUS),
            _ => {
                self.folder =
                    std::str::from_utf8(value).ok().filter(|name| !name.is_empty()).map(str::to_owned);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::mail::transfer::mbox::Writer;

    #[derive(Default)]
    struct Messages {
        all: Vec<(Head, Vec<u8>)>,
        open: Vec<u8>,
    }

    impl Sink for Messages {
        type Error = Infallible;

        fn part(&mut self, octets: &[u8]) -> Result<(), Infallible> {
            self.open.extend_from_slice(octets);
            Ok(())
        }

        fn end(&mut self, head: &Head) -> Result<(), Infallible> {
            self.all.push((head.clone(), mem::take(&mut self.open)));
            Ok(())
        }
    }

    /// The messages of a file that is read so many octets at a time.
    fn read(file: &[u8], step: usize) -> Vec<(Head, Vec<u8>)> {
        let (mut parser, mut messages) = (Parser::new(), Messages::default());
        let Ok(()) = file.chunks(step).try_for_each(|part| parser.push(part, &mut messages));
        let Ok(()) = parser.finish(&mut messages);
        messages.all
    }

    fn bodies(file: &str) -> Vec<String> {
        let bodies = |step| -> Vec<String> {
            let messages = read(file.as_bytes(), step).into_iter();
            messages.map(|(_, body)| String::from_utf8(body).unwrap()).collect()
        };
        let whole = bodies(usize::MAX);
        assert_eq!(bodies(1), whole, "octet by octet");
        whole
    }

    const FROM_LINE: &str = "From anna@office.example Thu Mar 15 12:30:12 2012\n";

    #[test]
    fn from_lines_that_other_programs_write_divide_and_text_does_not() {
        let file = format!("{FROM_LINE}A: 1\n\n>From x\n>>From y\nFrom here on\n\n\n{FROM_LINE}B: 2\n\n");
        assert_eq!(bodies(&file), ["A: 1\n\nFrom x\n>From y\nFrom here on\n\n", "B: 2\n"]);
        assert_eq!(bodies(&file.replace('\n', "\r\n"))[1], "B: 2\r\n");
        let without_empty_line = format!("{FROM_LINE}A: 1\n{FROM_LINE}B: 2");
        assert_eq!(bodies(&without_empty_line), ["A: 1\n", "B: 2"]);
        assert_eq!(bodies("From nobody at all\nA: 1\n"), ["A: 1\n"], "the first line needs no date");
        assert_eq!(bodies(&format!("{FROM_LINE}{FROM_LINE}")), ["", ""]);
        assert_eq!(bodies("no mbox\n"), [""; 0]);
        let unfinished = format!("{FROM_LINE}a\n\nFrom anna Thu Mar 15 12:30:12 2012");
        assert_eq!(bodies(&unfinished), ["a\n\nFrom anna Thu Mar 15 12:30:12 2012"]);
        let endless = format!("{FROM_LINE}From {}", "x".repeat(5000));
        assert_eq!(bodies(&endless), [endless[FROM_LINE.len()..].to_owned()]);
    }

    #[test]
    fn flags_are_read_anywhere_in_the_header_of_another_program() {
        let long = format!("References: {}\n", "x".repeat(3000));
        let body = format!("A: 1\n{long}Status: RO\nB: 2\nX-Status: F\n\nX-Status: A\n");
        for step in [1, 7, 100_000] {
            let file = format!("{FROM_LINE}{body}\n{FROM_LINE}C: 3\n{FROM_LINE}X-Status: D\n");
            let read = read(file.as_bytes(), step);
            let flags: Vec<_> = read.iter().map(|(head, _)| head.flags).collect();
            assert_eq!(flags, [Flags::SEEN | Flags::FLAGGED, Flags::default(), Flags::DELETED]);
            assert_eq!(read[0].1, body.as_bytes());
        }
    }

    #[test]
    fn a_sentence_with_a_date_divides_no_message() {
        let text = "From our talk on Thu Mar 15 12:30 2012 I know that\n";
        let file = format!("{FROM_LINE}A: 1\n\nText\n{text}\n{text}");
        assert_eq!(bodies(&file), [&file[FROM_LINE.len()..]]);
        let remote = "From anna Thu Mar 15 12:30:12 2012 CET remote from office\nB: 2\n";
        assert_eq!(bodies(&format!("{FROM_LINE}A: 1\n\n{remote}")), ["A: 1\n", "B: 2\n"]);
    }

    #[test]
    fn sender_date_flags_and_folder_are_read() {
        let file = format!("{FROM_LINE}Status: RO\nX-Status: AF\nX-Folder: Büro/Alt\nStatus: mine\n\n");
        let head = Head {
            sender: "anna@office.example".to_owned(),
            time: Some(1_331_814_612),
            flags: Flags::SEEN | Flags::ANSWERED | Flags::FLAGGED,
            folder: Some("Büro/Alt".to_owned()),
        };
        assert_eq!(read(file.as_bytes(), 3), [(head, b"Status: mine\n".to_vec())]);
        let nobody = read(b"From MAILER-DAEMON Thu Mar 15 12:30:12 2012\nA: 1\n", 100);
        assert_eq!(nobody[0].0, Head { time: Some(1_331_814_612), ..Head::default() });
    }

    proptest! {
        #[test]
        fn messages_come_back_whatever_is_in_them(
            messages in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
                ">", "From ", "Fro", "a", "\r\n", "\r\n\r\n", "\r", "Status: R\r\n", "X-Folder: x\r\n",
                "From a Thu Mar 15 12:30:12 2012\r\n",
            ]), 0..12), 0..4),
            step in 1_usize..40,
        ) {
            let mut writer = Writer::new(Vec::new());
            let flags = Flags::SEEN | Flags::DRAFT;
            let mut written = Vec::new();
            for parts in &messages {
                writer.begin("anna@office.example", 1_331_814_612, flags, "Sent").unwrap();
                parts.iter().for_each(|part| writer.part(part.as_bytes()).unwrap());
                writer.end().unwrap();
                // A CRLF behind a CR stays.
                let text = parts.concat().replace("\r\r\n", "\0").replace("\r\n", "\n");
                let mut text = text.replace('\0', "\r\r\n");
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                written.push(text);
            }
            let read = read(writer.get_mut(), step);
            for (head, _) in &read {
                prop_assert_eq!((head.time, head.flags), (Some(1_331_814_612), flags));
                prop_assert_eq!((&*head.sender, head.folder.as_deref()), ("anna@office.example", Some("Sent")));
            }
            let read: Vec<_> = read.into_iter().map(|(_, body)| String::from_utf8(body).unwrap()).collect();
            prop_assert_eq!(read, written);
        }
    }
}
