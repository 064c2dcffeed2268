//! The part of a message that TOP returns: its header, the empty line, and the first lines of its body. (RFC 1939,
//! section 7)

/// Selects the part of a message that comes in any portions.
#[derive(Debug)]
pub(super) struct Top {
    place: Place,
    /// Lines of the body that are still included.
    lines: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the start of a line of the header.
    LineStart,
    /// Behind the CR that a line of the header began with.
    EmptyCr,
    InHeader,
    Body,
}

impl Top {
    /// The header and `lines` of the body.
    pub fn new(lines: u64) -> Self {
        Self { place: Place::LineStart, lines }
    }

    /// How many of the next octets are included, and whether that was the end.
    pub fn take(&mut self, octets: &[u8]) -> (usize, bool) {
        for (at, octet) in octets.iter().enumerate() {
            self.place = match (self.place, octet) {
                (Place::Body, b'\n') => {
                    self.lines = self.lines.saturating_sub(1);
                    Place::Body
                }
                (Place::Body, _) | (Place::LineStart | Place::EmptyCr, b'\n') => Place::Body,
                (Place::LineStart, b'\r') => Place::EmptyCr,
                (_, b'\n') => Place::LineStart,
                (_, _) => Place::InHeader,
            };
            if self.place == Place::Body && self.lines == 0 && *octet == b'\n' {
                return (at + 1, true);
            }
        }
        (octets.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(message: &str, lines: u64, portion: usize) -> String {
        let (mut top, mut shown) = (Top::new(lines), String::new());
        for octets in message.as_bytes().chunks(portion) {
            let (taken, is_end) = top.take(octets);
            shown += std::str::from_utf8(&octets[..taken]).unwrap();
            if is_end {
                break;
            }
        }
        shown
    }

    /// RFC 1939, section 7: TOP shows the header, the empty line, and so many lines of the body.
    #[test]
    fn rfc1939_7_top_shows_the_header_the_empty_line_and_some_lines() {
        let message = "a: b\r\n c\r\n\r\none\r\n\r\nthree\r\n";
        for portion in 1..=message.len() {
            for (lines, expected) in [
                (0, "a: b\r\n c\r\n\r\n"),
                (1, "a: b\r\n c\r\n\r\none\r\n"),
                (2, "a: b\r\n c\r\n\r\none\r\n\r\n"),
                (3, message),
                (4, message),
                (u64::MAX, message),
            ] {
                assert_eq!(top(message, lines, portion), expected, "{lines} in {portion}");
            }
            assert_eq!(top("a: b\r\n", 1, portion), "a: b\r\n", "without a body");
            assert_eq!(top("\r\none\r\ntwo\r\n", 1, portion), "\r\none\r\n", "without a header");
            assert_eq!(top("", 0, portion), "");
        }
    }
}
