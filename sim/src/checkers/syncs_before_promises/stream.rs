//! The lines that one end of a TCP connection sends, as they pass a port of the gateway.

use std::collections::BTreeMap;

/// The most octets of a line that the stream keeps; it drops the rest of the line.
const LINE_OCTETS_MAX: usize = 256;
/// The most segments that wait for one before them.
const WAITING_MAX: usize = 64;

/// The octets of one end.
#[derive(Debug)]
pub(super) struct Stream {
    /// The sequence number of the next octet.
    next: u32,
    /// Out-of-order segments.
    waiting: BTreeMap<u32, Vec<u8>>,
    /// The line so far.
    line: Vec<u8>,
}

impl Stream {
    /// Its first octet has the sequence number `first`.
    pub(super) fn new(first: u32) -> Self {
        Self { next: first, waiting: BTreeMap::new(), line: Vec::new() }
    }

    /// Adds a segment. Returns the lines that end in it, or in out-of-order segments behind it, without CRLF.
    pub(super) fn take(&mut self, sequence: u32, octets: &[u8]) -> Vec<String> {
        if !octets.is_empty() && self.waiting.len() < WAITING_MAX {
            self.waiting.insert(sequence, octets.to_vec());
        }
        let mut lines = Vec::new();
        while let Some(octets) = self.pop() {
            self.next = self.next.wrapping_add(u32::try_from(octets.len()).unwrap_or(0));
            for octet in octets {
                if octet == b'\n' {
                    lines.push(String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned());
                    self.line.clear();
                } else if self.line.len() < LINE_OCTETS_MAX {
                    self.line.push(octet);
                }
            }
        }
        lines
    }

    /// The next octets of the segments that are there.
    fn pop(&mut self) -> Option<Vec<u8>> {
        let next = self.next;
        // How much of a segment is known already; one that is still to wait begins ahead.
        let known = |sequence: u32| usize::try_from(next.wrapping_sub(sequence)).unwrap_or(usize::MAX);
        let is_ahead = |sequence: u32| next.wrapping_sub(sequence) > u32::MAX / 2;
        self.waiting.retain(|sequence, octets| is_ahead(*sequence) || known(*sequence) < octets.len());
        let sequence = *self.waiting.keys().find(|sequence| !is_ahead(**sequence))?;
        self.waiting.remove(&sequence).map(|octets| octets[known(sequence)..].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_whatever_is_lost_sent_again_or_overtakes() {
        let first = u32::MAX - 1;
        let at = |offset: u32| first.wrapping_add(offset);
        let mut stream = Stream::new(first);
        assert_eq!(stream.take(at(0), b"a"), [""; 0]);
        assert_eq!(stream.take(at(3), b"\r\nd"), [""; 0], "something is missing");
        assert_eq!(stream.take(at(0), b"ab"), [""; 0]);
        assert_eq!(stream.take(at(1), b"bc"), ["abc"]);
        assert_eq!(stream.take(at(6), b"e\r\n\r\n"), ["de", ""]);
        assert_eq!(stream.take(at(3), b"\r\nd"), [""; 0], "once more");
    }
}
