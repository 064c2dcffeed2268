//! The header of a message being received.

use super::directory::Directory;
use crate::mail::address::{ForwardPath, Mailbox};
use crate::mail::header;

/// The octets of a header that are stored for rules and checks.
pub const HEAD_OCTETS_MAX: usize = 64 << 10;

/// The beginning of a message, up to the end of its header or [`HEAD_OCTETS_MAX`].
#[derive(Debug, Default)]
pub struct Head {
    octets: Vec<u8>,
    is_over: bool,
}

impl Head {
    /// The header of a message that begins with `octets`.
    pub fn of(octets: &[u8]) -> Self {
        let mut head = Self::default();
        head.take(octets);
        head
    }

    /// That of the message with `fields` before it, each with its CRLF.
    pub fn below(&self, fields: &str) -> Self {
        Self::of(&[fields.as_bytes(), &self.octets].concat())
    }

    /// Reads the next octets of the message, whose lines end with CRLF.
    pub fn take(&mut self, octets: &[u8]) {
        const END: &[u8] = b"\r\n\r\n";
        if self.is_over {
            return;
        }
        let from = self.octets.len().saturating_sub(END.len() - 1);
        let room = HEAD_OCTETS_MAX - self.octets.len();
        self.octets.extend_from_slice(&octets[..octets.len().min(room)]);
        let end = self.octets[from..].windows(END.len()).position(|octets| octets == END);
        if let Some(end) = end {
            // With the end of the last line, and without the empty one.
            self.octets.truncate(from + end + 2);
        }
        let is_empty = self.octets.starts_with(b"\r\n");
        self.is_over = end.is_some() || is_empty || self.octets.len() >= HEAD_OCTETS_MAX;
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Its fields, with names in lower case and values in one line.
    pub fn fields(&self) -> Vec<(String, String)> {
        header::fields(&self.octets)
    }

    /// The local addresses that have forwarded the message before, by its header.
    pub fn delivered_to<'a>(&self, directory: &'a Directory) -> impl Iterator<Item = Mailbox> + use<'a> {
        let fields = self.fields().into_iter().filter(|(name, _)| name == "delivered-to");
        let addresses = fields.filter_map(|(_, value)| header::address_in(&value));
        addresses.filter_map(|address| directory.canonical(&ForwardPath::Mailbox(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_where_it_ends_wherever_parts_are_cut() {
        let message = b"A: b\r\nDelivered-To: c\r\n\r\nD: e\r\n\r\n";
        for portion in 1..message.len() {
            let mut head = Head::default();
            message.chunks(portion).for_each(|portion| head.take(portion));
            let names: Vec<_> = head.fields().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["a", "delivered-to"], "{portion}");
            assert_eq!(head.octets.len(), message.len() - 2 - "D: e\r\n\r\n".len(), "{portion}");
        }
        let mut empty = Head::default();
        b"\r\nA: b\r\n".chunks(1).for_each(|octet| empty.take(octet));
        assert_eq!(empty.fields(), []);
        let mut endless = Head::default();
        (0..3000).for_each(|_| endless.take(b"A: bcdefghijklmnopqrstuvwxyz\r\n"));
        assert_eq!(endless.octets.len(), HEAD_OCTETS_MAX);
    }
}
