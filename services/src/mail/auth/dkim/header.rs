//! The header of a message in the form of DKIM, and the octets that a signature covers. (RFC 6376, sections 3.5, 3.7
//! and 5.4)

use std::collections::BTreeMap;
use std::ops::Range;

use super::canonical::{Canonicalization, canonical_field};

/// The octets of a header that are read.
pub const HEADER_OCTETS_MAX: usize = 128 << 10;

/// Splits a message that comes in portions: the header is stored, the body passed on. The header ends with the first
/// empty line.
#[derive(Debug, Default)]
pub struct HeaderReader {
    octets: Vec<u8>,
    /// Octets of the empty line that would end the header: of CRLF CRLF.
    matched: usize,
    is_over: bool,
    is_cut: bool,
}

/// The beginning of a message is that of a line, so that two octets of the four have been met.
const LINE_START: usize = 2;

impl HeaderReader {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self { matched: LINE_START, ..Self::default() }
    }

    /// Adds the next octets of the message. Returns those that belong to the body.
    pub fn push<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        if self.is_over {
            return octets;
        }
        let mut taken = octets.len();
        for (at, octet) in octets.iter().enumerate() {
            self.matched = match (self.matched, octet) {
                (0 | 2, b'\r') | (1 | 3, b'\n') => self.matched + 1,
                (_, b'\r') => 1,
                _ => 0,
            };
            if self.matched == 4 {
                self.is_over = true;
                taken = at + 1;
                break;
            }
        }
        let (header, body) = octets.split_at(taken);
        let room = HEADER_OCTETS_MAX - self.octets.len();
        self.is_cut |= header.len() > room;
        self.octets.extend_from_slice(&header[..header.len().min(room)]);
        body
    }

    /// Whether the header has come to its end.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The header, once it is over, or all of the message has come.
    pub fn finish(self) -> Header {
        Header::new(self.octets, self.is_cut)
    }
}

/// The header of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    octets: Vec<u8>,
    /// The range of each field without its final CRLF, and the length of its name.
    fields: Vec<(Range<usize>, usize)>,
    is_cut: bool,
}

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name as it is written, without white space before the colon.
    pub name: &'a [u8],
    /// The octets after the colon, still folded.
    pub value: &'a [u8],
    /// The whole field without its final CRLF.
    pub whole: &'a [u8],
}

impl Field<'_> {
    /// Whether it is called so.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl Header {
    fn new(octets: Vec<u8>, is_cut: bool) -> Self {
        let mut fields: Vec<(Range<usize>, usize)> = Vec::new();
        // Whether the previous line belongs to a field, so that a folded line continues it.
        let mut is_open = false;
        let mut start = 0;
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            let range = start..start + line.len();
            start = range.end;
            let end = range.start + line.strip_suffix(b"\r\n").unwrap_or(line).len();
            if matches!(line.first(), Some(b' ' | b'\t')) {
                if let (true, Some((field, _))) = (is_open, fields.last_mut()) {
                    field.end = end;
                }
                continue;
            }
            let colon = line.iter().position(|octet| *octet == b':').unwrap_or(0);
            let name = line[..colon].trim_ascii_end();
            is_open = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            if is_open {
                fields.push((range.start..end, name.len()));
            }
        }
        Self { octets, fields, is_cut }
    }

    /// The fields, from the top down. Lines that belong to no field are left out.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + ExactSizeIterator {
        self.fields.iter().map(|(range, name)| {
            let whole = &self.octets[range.clone()];
            let colon = whole.iter().position(|octet| *octet == b':').unwrap_or(*name);
            Field { name: &whole[..*name], value: whole.get(colon + 1..).unwrap_or_default(), whole }
        })
    }

    /// Whether the header is longer than [`HEADER_OCTETS_MAX`], and was truncated.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// The octets that a signature covers: the fields of `header` in `names`, each repetition one further up, and at the
/// end the signature's own field. A name without a further field is covered as absent, so that no attacker can add one.
/// (RFC 6376, section 5.4.2)
///
/// `signature` is the whole field, with an empty `b=` and without CRLF. `own` is its index, if it is one of the fields:
/// it was not yet when the signature was made. (RFC 6376, section 3.7)
pub fn signed_octets(
    header: &Header,
    names: &[impl AsRef<str>],
    kind: Canonicalization,
    signature: &[u8],
    own: Option<usize>,
) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| name.as_ref().to_ascii_lowercase().into_bytes()).collect();
    // The fields of each of the names, the topmost first: taken from the end. There can be very many others.
    let mut left: BTreeMap<&[u8], Vec<&[u8]>> = names.iter().map(|name| (&name[..], Vec::new())).collect();
    for (_, field) in header.fields().enumerate().filter(|(at, _)| Some(*at) != own) {
        if let Some(fields) = left.get_mut(&field.name.to_ascii_lowercase()[..]) {
            fields.push(field.whole);
        }
    }
    let mut octets = Vec::new();
    for name in &names {
        if let Some(field) = left.get_mut(&name[..]).and_then(Vec::pop) {
            canonical_field(kind, field, &mut octets);
        }
    }
    canonical_field(kind, signature, &mut octets);
    // RFC 6376, section 3.7: it has no line end.
    octets.truncate(octets.len() - 2);
    octets
}

/// The fields that occur at most once in a message, and that mail programs display or use to display the body.
// RFC 5322, section 3.6; RFC 2045, section 3
const SHOWN: [&str; 9] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Whether a signature of the fields in `names` prevents an added field from being displayed instead of a signed one:
/// singleton fields that occur several times must all be signed.
// RFC 6376, section 8.15
pub fn covers_shown(header: &Header, names: &[impl AsRef<str>]) -> bool {
    SHOWN.iter().all(|shown| {
        let fields = header.fields().filter(|field| field.is(shown)).count();
        fields < 2 || names.iter().filter(|name| name.as_ref().eq_ignore_ascii_case(shown)).count() >= fields
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8], portion: usize) -> (Header, Vec<u8>) {
        let (mut reader, mut body) = (HeaderReader::new(), Vec::new());
        message.chunks(portion).for_each(|octets| body.extend_from_slice(reader.push(octets)));
        (reader.finish(), body)
    }

    fn names(header: &Header) -> Vec<String> {
        header.fields().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    }

    /// RFC 5322, section 2.1: The first empty line ends the header.
    #[test]
    fn rfc5322_2_1_the_first_empty_line_ends_the_header() {
        for (message, fields, body) in [
            ("A: b\r\nC : d\r\n e\r\n\r\nF: g\r\n", &["A", "C"][..], "F: g\r\n"),
            ("\r\nbody", &[], "body"),
            ("A: b\r\n\r\n\r\n", &["A"], "\r\n"),
            ("A: b\r\n", &["A"], ""),
            ("A: b", &["A"], ""),
            ("", &[], ""),
            (" folded\r\nno field\r\n nor this\r\nA:\r\n\r\n", &["A"], ""),
            ("A: b\r\r\n\r\nc", &["A"], "c"),
        ] {
            for portion in [1, 2, 3, 1000] {
                let (header, rest) = read(message.as_bytes(), portion);
                assert_eq!(
                    (names(&header), rest),
                    (fields.iter().map(ToString::to_string).collect(), body.into()),
                    "{message:?}"
                );
            }
        }
        let (header, _) = read(b"C : d\r\n e\r\n\r\n", 1000);
        let field = header.fields().next().unwrap();
        assert_eq!((field.value, field.whole), (&b" d\r\n e"[..], &b"C : d\r\n e"[..]));
        assert!(field.is("c") && !field.is("c "));
    }

    #[test]
    fn of_a_long_header_the_beginning_is_kept() {
        let long = [b"A: b\r\n".repeat(HEADER_OCTETS_MAX / 6 + 10), b"\r\nbody".to_vec()].concat();
        for portion in [1000, long.len()] {
            let (header, body) = read(&long, portion);
            assert!(header.is_cut() && header.octets.len() == HEADER_OCTETS_MAX);
            assert_eq!(body, b"body");
        }
        assert!(!read(b"A: b\r\n\r\n", 1).0.is_cut());
    }

    /// RFC 6376, section 5.4.2: Fields of one name are taken from the bottom up, and one that is not there is nothing.
    #[test]
    fn rfc6376_5_4_2_fields_of_one_name_are_taken_from_the_bottom_up() {
        let (header, _) = read(b"A: 1\r\nB: 2\r\na: 3\r\nDKIM-Signature: b=x\r\n\r\n", 1000);
        let octets = |names: &[&str], kind, own| {
            String::from_utf8(signed_octets(&header, names, kind, b"DKIM-Signature: b=", own)).unwrap()
        };
        let (simple, relaxed) = (Canonicalization::Simple, Canonicalization::Relaxed);
        assert_eq!(octets(&["a", "b"], simple, None), "a: 3\r\nB: 2\r\nDKIM-Signature: b=");
        assert_eq!(octets(&["A", "A", "A", "X"], relaxed, None), "a:3\r\na:1\r\ndkim-signature:b=");
        assert_eq!(octets(&["dkim-signature"], simple, Some(3)), "DKIM-Signature: b=");
        assert_eq!(octets(&["dkim-signature"], simple, None), "DKIM-Signature: b=x\r\nDKIM-Signature: b=");
    }
}
