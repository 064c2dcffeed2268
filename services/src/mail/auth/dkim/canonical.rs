//! The canonical forms of header fields and bodies. (RFC 6376, section 3.4)

#[cfg(test)]
mod tests;

use crate::crypto::{Sha256, Sha256Digest};

/// Octets of a canonical body that are digested at a time.
const PORTION_OCTETS: usize = 4096;

/// The changes in transit that a signature tolerates. (RFC 6376, section 3.4)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canonicalization {
    /// Nothing, but for empty lines at the end of the body.
    #[default]
    Simple,
    /// White space, the folding of header fields, and the case of their names, too.
    Relaxed,
}

/// Adds the canonical form of a header field to `into`, with CRLF at its end. `field` is its name, its colon and its
/// value as it is folded, without the CRLF at its end.
pub fn canonical_field(kind: Canonicalization, field: &[u8], into: &mut Vec<u8>) {
    match kind {
        // RFC 6376, section 3.4.1
        Canonicalization::Simple => into.extend_from_slice(field),
        // RFC 6376, section 3.4.2
        Canonicalization::Relaxed => {
            let colon = field.iter().position(|octet| *octet == b':').unwrap_or(field.len());
            let (name, value) = field.split_at(colon);
            into.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
            into.push(b':');
            let start = into.len();
            // A line end is no octet of the value: only the white space behind it is.
            let unfolded = value.iter().skip(1).filter(|octet| !matches!(octet, b'\r' | b'\n'));
            let mut has_space = false;
            for octet in unfolded {
                if matches!(octet, b' ' | b'\t') {
                    has_space = true;
                    continue;
                }
                if std::mem::take(&mut has_space) && into.len() > start {
                    into.push(b' ');
                }
                into.push(*octet);
            }
        }
    }
    into.extend(b"\r\n");
}

/// The digest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digested {
    /// SHA-256 of its canonical form, or of the requested prefix.
    pub digest: Sha256Digest,
    /// Octets of all of its canonical form.
    pub octets: u64,
}

/// The digest of the canonical form of a body that comes in portions.
pub struct BodyDigest {
    kind: Canonicalization,
    digest: Sha256,
    /// Octets that are not digested yet.
    portion: Vec<u8>,
    /// The octets that may still be digested, and those of the canonical form so far.
    room: u64,
    octets: u64,
    /// Line ends that are digested only if more octets follow.
    line_ends: u64,
    is_after_cr: bool,
    /// White space was met that is one space, if anything follows it in the line.
    has_space: bool,
}

impl BodyDigest {
    /// Of nothing yet. With `octets_max` only so many octets of the canonical form are digested. (RFC 6376, section
    /// 3.5, l=)
    pub fn new(kind: Canonicalization, octets_max: Option<u64>) -> Self {
        Self {
            kind,
            digest: Sha256::new(),
            portion: Vec::new(),
            room: octets_max.unwrap_or(u64::MAX),
            octets: 0,
            line_ends: 0,
            is_after_cr: false,
            has_space: false,
        }
    }

    /// Adds the next octets of the body.
    pub fn push(&mut self, mut octets: &[u8]) {
        while let Some((&octet, rest)) = octets.split_first() {
            if self.is_after_cr {
                self.is_after_cr = false;
                if octet == b'\n' {
                    self.line_ends += 1;
                    self.has_space = false;
                    octets = rest;
                    continue;
                }
                self.text(b"\r");
            }
            octets = match octet {
                b'\r' => {
                    self.is_after_cr = true;
                    rest
                }
                b' ' | b'\t' if self.kind == Canonicalization::Relaxed => {
                    self.has_space = true;
                    rest
                }
                _ => {
                    let is_plain = |octet: &u8| match octet {
                        b'\r' => false,
                        b' ' | b'\t' => self.kind == Canonicalization::Simple,
                        _ => true,
                    };
                    let plain = octets.iter().take_while(|octet| is_plain(octet)).count();
                    let (text, rest) = octets.split_at(plain);
                    self.text(text);
                    rest
                }
            };
        }
    }

    /// The digest of the whole body.
    pub fn finish(mut self) -> Digested {
        if self.is_after_cr {
            self.text(b"\r");
        }
        // RFC 6376, sections 3.4.3 and 3.4.4: empty lines at the end are ignored. The last line gets a CRLF if it has
        // none; an empty body is one CRLF or, in the relaxed form, nothing.
        if self.octets > 0 || self.kind == Canonicalization::Simple {
            self.emit(b"\r\n");
        }
        self.flush();
        Digested { digest: self.digest.finish(), octets: self.octets }
    }

    /// Adds octets that are neither line ends nor, in the relaxed form, white space.
    fn text(&mut self, text: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.emit(b"\r\n");
        }
        if std::mem::take(&mut self.has_space) {
            self.emit(b" ");
        }
        self.emit(text);
    }

    fn emit(&mut self, octets: &[u8]) {
        self.octets += octets.len() as u64;
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let within = &octets[..octets.len().min(room)];
        self.room -= within.len() as u64;
        self.portion.extend_from_slice(within);
        if self.portion.len() >= PORTION_OCTETS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.digest.update(&self.portion);
        self.portion.clear();
    }
}
