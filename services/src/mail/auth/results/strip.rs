//! Takes out of a message what strangers say in this server's name. (RFC 8601, section 5)

/// The name of the fields that are looked at, in lower case.
const NAME: &[u8] = b"authentication-results";
/// Octets of a field that are held back at most until it is known whose it is. One that has not said so by then goes.
const HELD_OCTETS_MAX: usize = 4096;

/// Takes the fields `Authentication-Results` of one server out of the header of a message that streams through. All else stays
/// as it is.
#[derive(Debug)]
pub struct Strip {
    hostname: String,
    place: Place,
    /// The beginning of a line that may be such a field, or all of one so far.
    held: Vec<u8>,
    /// Whether the line goes, and with it those that are folded behind it.
    goes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    /// So many octets of a line agree with [`NAME`]; what is behind it is white space so far.
    Name(usize),
    /// In the value of such a field, which is held.
    Value,
    /// At the start of a line behind such a field, which goes on if the line is folded.
    ValueLineStart,
    /// In another line.
    Line,
    Body,
}

impl Strip {
    /// For the server that is called `hostname`.
    pub fn new(hostname: &str) -> Self {
        Self { hostname: hostname.to_owned(), place: Place::LineStart, held: Vec::new(), goes: false }
    }

    /// Takes the next octets of the message, and adds those that stay to `into`.
    pub fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        for (at, octet) in octets.iter().enumerate() {
            if self.place == Place::Body {
                return into.extend_from_slice(&octets[at..]);
            }
            self.take(*octet, into);
        }
    }

    /// Adds what is held at the end of the message, if it stays.
    pub fn finish(&mut self, into: &mut Vec<u8>) {
        self.decide(into);
    }

    fn take(&mut self, octet: u8, into: &mut Vec<u8>) {
        match self.place {
            Place::ValueLineStart if !matches!(octet, b' ' | b'\t') => {
                self.decide(into);
                self.goes = false;
                self.place = Place::LineStart;
                self.take(octet, into);
            }
            Place::Value | Place::ValueLineStart => {
                self.held.push(octet);
                self.place = if octet == b'\n' { Place::ValueLineStart } else { Place::Value };
                if self.held.len() >= HELD_OCTETS_MAX {
                    self.decide(into);
                    self.place = if octet == b'\n' { Place::LineStart } else { Place::Line };
                }
            }
            Place::LineStart => {
                match octet {
                    // RFC 5322, section 2.1: an empty line is the header's end.
                    b'\r' => {
                        self.goes = false;
                        self.emit(octet, into);
                        self.place = Place::Body;
                        return;
                    }
                    b' ' | b'\t' => self.place = Place::Line,
                    _ => {
                        self.goes = false;
                        self.place = Place::Name(0);
                    }
                }
                self.take(octet, into);
            }
            Place::Name(matched) => {
                let is_next = NAME.get(matched).is_some_and(|next| octet.eq_ignore_ascii_case(next));
                self.place = match octet {
                    _ if is_next => Place::Name(matched + 1),
                    // RFC 5322, section 4.5: once there could be spaces before the colon.
                    b' ' | b'\t' if matched == NAME.len() && self.held.len() < HELD_OCTETS_MAX => self.place,
                    b':' if matched == NAME.len() => Place::Value,
                    _ => Place::Line,
                };
                if self.place == Place::Line {
                    into.append(&mut self.held);
                    self.take(octet, into);
                } else {
                    self.held.push(octet);
                }
            }
            Place::Line => {
                self.emit(octet, into);
                if octet == b'\n' {
                    self.place = Place::LineStart;
                }
            }
            Place::Body => into.push(octet),
        }
    }

    fn emit(&self, octet: u8, into: &mut Vec<u8>) {
        if !self.goes {
            into.push(octet);
        }
    }

    /// Has what is held stay or go.
    fn decide(&mut self, into: &mut Vec<u8>) {
        let colon = self.held.iter().position(|octet| *octet == b':');
        let is_whole = self.held.len() < HELD_OCTETS_MAX;
        let server = colon.map(|colon| server(&self.held[colon + 1..], is_whole));
        self.goes = match server {
            // Not even a field yet.
            None => false,
            Some(None) => true,
            Some(Some(server)) => is_same(&server, self.hostname.as_bytes()),
        };
        if self.goes {
            self.held.clear();
        } else {
            into.append(&mut self.held);
        }
    }
}

fn is_same(server: &[u8], hostname: &[u8]) -> bool {
    server.strip_suffix(b".").unwrap_or(server).eq_ignore_ascii_case(hostname)
}

/// The server that a field's value names; `None` if more octets are needed to tell. // RFC 8601, section 2.2
fn server(value: &[u8], is_whole: bool) -> Option<Vec<u8>> {
    let (mut depth, mut is_quoted, mut is_escaped) = (0_usize, false, false);
    let mut server = Vec::new();
    for octet in value {
        match octet {
            _ if is_escaped => {
                is_escaped = false;
                if depth == 0 {
                    server.push(*octet);
                }
            }
            b'\\' if depth > 0 || is_quoted => is_escaped = true,
            b'(' if !is_quoted => {
                if depth == 0 && !server.is_empty() {
                    return Some(server);
                }
                depth += 1;
            }
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            b'"' if is_quoted => return Some(server),
            b'"' if server.is_empty() => is_quoted = true,
            _ if is_quoted => server.push(*octet),
            b' ' | b'\t' | b'\r' | b'\n' if server.is_empty() => {}
            b' ' | b'\t' | b'\r' | b'\n' | b';' => return Some(server),
            _ => server.push(*octet),
        }
    }
    is_whole.then_some(server)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    fn stripped_by(message: &[u8], portion: usize) -> String {
        let (mut strip, mut octets) = (Strip::new("smtp.office.example"), Vec::new());
        message.chunks(portion).for_each(|portion| strip.push(portion, &mut octets));
        strip.finish(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    }

    fn stripped(message: &str) -> String {
        let outcomes: Vec<_> =
            [1, 2, 3, 7, 10_000].map(|portion| stripped_by(message.as_bytes(), portion)).into();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:#?}");
        outcomes[0].clone()
    }

    /// RFC 8601, section 5: What strangers say in this server's name goes.
    #[test]
    fn rfc8601_5_what_strangers_say_in_this_server_s_name_goes() {
        for forged in [
            "Authentication-Results: smtp.office.example; spf=pass\r\n",
            "AUTHENTICATION-RESULTS:SMTP.Office.Example.;dkim=pass\r\n",
            "Authentication-Results : smtp.office.example 1;\r\n\tspf=pass\r\n dkim=pass\r\n",
            "Authentication-Results:\r\n (a (nested\\)) comment)\r\n\tsmtp.office.example(x); none\r\n",
            "Authentication-Results: \"smtp.office\\.example\"; none\r\n",
            &format!("Authentication-Results: ({}); x\r\n y\r\n", "x".repeat(HELD_OCTETS_MAX)),
        ] {
            let message = format!("From: a\r\n{forged}Subject: b\r\n\r\n{forged}");
            assert_eq!(stripped(&message), format!("From: a\r\nSubject: b\r\n\r\n{forged}"), "{forged}");
            assert_eq!(stripped(forged), "", "{forged}");
        }
        let two = "Authentication-Results: smtp.office.example; a\r\n";
        assert_eq!(stripped(&format!("{two}{two}A: b\r\n{two}")), "A: b\r\n");
        assert_eq!(stripped(&format!("{two}\r\nbody")), "\r\nbody");
    }

    #[test]
    fn what_others_say_stays() {
        let long = "x".repeat(2 * HELD_OCTETS_MAX);
        for message in [
            "",
            "\r\n",
            "\r\nAuthentication-Results: smtp.office.example; none\r\n",
            "Authentication-Results: far.example; spf=pass\r\n\tsmtp.office.example\r\n\r\nbody",
            "Authentication-Results: x.smtp.office.example; none\r\n",
            "Authentication-Results:\r\n",
            "Authentication-Results",
            "Authentication-Results\r\n smtp.office.example; none\r\n\r\n",
            "X-Authentication-Results: smtp.office.example; none\r\n",
            "Authentication-Results-X: smtp.office.example; none\r\n",
            "A: b\r\n Authentication-Results: smtp.office.example; none\r\n",
            &format!("Authentication-Results: far.example; {long}\r\n {long}\r\nA: b\r\n\r\n"),
        ] {
            assert_eq!(stripped(message), message);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(256)))]

        #[test]
        fn portions_make_no_difference(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "Authentication-Results", ":", " ", "\r\n", "smtp.office.example", ";", "(", ")", "\"", "\\", "x", "\r", "\n",
                ]),
                0..30,
            ),
            portion in 1_usize..9,
        ) {
            let message = parts.concat();
            let whole = stripped_by(message.as_bytes(), 10_000);
            prop_assert_eq!(stripped_by(message.as_bytes(), portion), &whole[..]);
            prop_assert!(whole.len() <= message.len());
        }
    }
}
