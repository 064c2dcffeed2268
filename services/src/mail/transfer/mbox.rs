//! The mbox format: messages behind one another, each behind a line `From SENDER DATE`. (RFC 4155)
//!
//! Lines of a message that look like that line are quoted by a `>`, and those that are quoted already by one more
//! ("mboxrd"), so that messages are restored exactly. Reading removes one `>`, which is right for mboxrd, and for mboxo
//! in all but lines that began with `>From ` themselves. In mboxo and in files without quoting a line that begins with
//! `From ` and has no date is text.
//!
//! Three lines precede a message's own: `Status`, `X-Status` and `X-Folder`, with its flags and its folder. Reading
//! removes these there.

use std::io::{self, Write};

use super::date;
use super::lines::ToLf;
use crate::mail::store::Flags;

pub(super) const FROM: &[u8] = b"From ";
/// The sender of a message without one.
pub(super) const NOBODY: &str = "MAILER-DAEMON";

/// The letters of the lines `Status` and `X-Status`, by flags.
pub(super) const STATUS: [(u8, Flags); 1] = [(b'R', Flags::SEEN)];
pub(super) const X_STATUS: [(u8, Flags); 4] =
    [(b'A', Flags::ANSWERED), (b'F', Flags::FLAGGED), (b'T', Flags::DRAFT), (b'D', Flags::DELETED)];

/// Writes messages to an mbox.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    lines: ToLf,
    quoter: Quoter,
    is_line_open: bool,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, lines: ToLf::default(), quoter: Quoter::default(), is_line_open: false }
    }

    /// Begins a message.
    ///
    /// # Errors
    ///
    /// An error of `out`.
    pub fn begin(&mut self, sender: &str, time: u64, flags: Flags, folder: &str) -> io::Result<()> {
        let sender: String = sender.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        let sender = if sender.is_empty() { NOBODY } else { &sender };
        let letters = |of: &[(u8, Flags)]| -> String {
            let is_set = |flag: Flags| flags.0 & flag.0 != 0;
            of.iter().filter(|(_, flag)| is_set(*flag)).map(|(letter, _)| char::from(*letter)).collect()
        };
        let (status, x_status) = (letters(&STATUS), letters(&X_STATUS));
        let date = date::write(time);
        let folder: String = folder.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        (self.lines, self.quoter, self.is_line_open) = (ToLf::default(), Quoter::default(), false);
        write!(
            self.out,
            "From {sender} {date}\nStatus: {status}O\nX-Status: {x_status}\nX-Folder: {folder}\n"
        )
    }

    /// Adds octets of the message.
    ///
    /// # Errors
    ///
    /// An error of `out`.
    pub fn part(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut text = Vec::with_capacity(octets.len());
        self.lines.push(octets, &mut text);
        self.write_quoted(&text)
    }

    /// Ends the message: with an end of its last line, if that has none, and an empty line.
    ///
    /// # Errors
    ///
    /// An error of `out`.
    pub fn end(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        self.lines.finish(&mut text);
        self.write_quoted(&text)?;
        let mut rest = Vec::new();
        self.quoter.finish(&mut rest);
        self.out.write_all(&rest)?;
        self.out.write_all(if self.is_line_open { b"\n\n" } else { b"\n" })
    }

    fn write_quoted(&mut self, text: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(text.len() + 16);
        self.quoter.push(text, &mut out);
        self.is_line_open = text.last().map_or(self.is_line_open, |last| *last != b'\n');
        self.out.write_all(&out)
    }

    /// The output.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }
}

/// Quotes lines that begin with any number of `>` and `From `.
#[derive(Clone, Copy, Debug, Default)]
struct Quoter {
    /// Octets of the line are written already.
    is_inside: bool,
    quotes: u64,
    matched: usize,
}

impl Quoter {
    fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for octet in text {
            if self.is_inside {
                out.push(*octet);
                self.is_inside = *octet != b'\n';
            } else if self.matched == 0 && *octet == b'>' {
                self.quotes += 1;
            } else if *octet == FROM[self.matched] {
                self.matched += 1;
                if self.matched == FROM.len() {
                    out.push(b'>');
                    self.finish(out);
                    self.is_inside = true;
                }
            } else {
                self.finish(out);
                out.push(*octet);
                self.is_inside = *octet != b'\n';
            }
        }
    }

    /// Writes the held octets.
    fn finish(&mut self, out: &mut Vec<u8>) {
        (0..self.quotes).for_each(|_| out.push(b'>'));
        out.extend_from_slice(&FROM[..self.matched]);
        (self.quotes, self.matched) = (0, 0);
    }
}
