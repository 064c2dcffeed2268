//! Removes forged `Authentication-Results` of this server from a message. (RFC 8601, section 5)

/// The name of the fields to remove, in lower case.
const NAME: &[u8] = b"authentication-results";
/// The most octets of a field that are held back until its authserv-id is known. A field without one by then is
/// removed.
const HELD_OCTETS_MAX: usize = 4096;

/// Removes the fields `Authentication-Results` of one server from the header of a message, as a stream. All else stays
/// unchanged.
#[derive(Debug)]
pub struct Strip {
    hostname: String,
    place: Place,
    /// The beginning of a line that may be such a field, or of a field that is undecided.
    held: Vec<u8>,
    /// Whether the current line and its folded continuation are removed.
    goes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    /// Behind a CR at the start of a line.
    EmptyLine,
    /// Behind a CR without LF, which ends a line for some programs.
    BareCr,
    /// Within the name: the octets that match [`NAME`] so far; after these, white space.
    Name(usize),
    /// Behind a CR there.
    NameCr,
    /// At the start of a line in the name, which continues if the line is folded.
    NameLineStart,
    /// In the value of such a field, which is held.
    Value,
    /// Behind a CR there.
    ValueCr,
    /// At the start of a line in the value, which continues if the line is folded.
    ValueLineStart,
    /// In another line.
    Line,
    /// Behind a CR there.
    LineCr,
    Body,
}

impl Strip {
    /// For the server that is called `hostname`.
    pub fn new(hostname: &str) -> Self {
        Self { hostname: hostname.to_owned(), place: Place::LineStart, held: Vec::new(), goes: false }
    }

    /// Reads the next octets of the message, and appends those that stay to `into`.
    pub fn push(&mut self, octets: &[u8], into: &mut Vec<u8>) {
        for (at, octet) in octets.iter().enumerate() {
            if self.place == Place::Body {
                return into.extend_from_slice(&octets[at..]);
            }
            self.take(*octet, into);
        }
    }

    /// Appends the held octets at the end of the message, if they stay.
    pub fn finish(&mut self, into: &mut Vec<u8>) {
        self.decide(into);
    }

    fn take(&mut self, octet: u8, into: &mut Vec<u8>) {
        let is_blank = matches!(octet, b' ' | b'\t');
        match self.place {
            Place::ValueCr if octet != b'\n' => self.again(Place::ValueLineStart, octet, into),
            Place::ValueLineStart if !is_blank => {
                self.decide(into);
                self.goes = false;
                self.again(Place::LineStart, octet, into);
            }
            Place::Value | Place::ValueCr | Place::ValueLineStart => {
                self.held.push(octet);
                let is_long = self.held.len() >= HELD_OCTETS_MAX;
                if is_long {
                    self.decide(into);
                }
                self.place = match octet {
                    b'\r' if is_long => Place::LineCr,
                    b'\n' if is_long => Place::LineStart,
                    _ if is_long => Place::Line,
                    b'\r' => Place::ValueCr,
                    b'\n' => Place::ValueLineStart,
                    _ => Place::Value,
                };
            }
            Place::LineStart if octet == b'\r' => {
                self.goes = false;
                self.emit(octet, into);
                self.place = Place::EmptyLine;
            }
            // RFC 5322, section 2.1: an empty line is the header's end.
            Place::EmptyLine if octet == b'\n' => {
                self.emit(octet, into);
                self.place = Place::Body;
            }
            Place::EmptyLine => self.again(Place::BareCr, octet, into),
            Place::LineStart | Place::BareCr if is_blank => self.again(Place::Line, octet, into),
            Place::BareCr if octet == b'\r' => self.emit(octet, into),
            Place::LineStart | Place::BareCr => {
                self.goes = false;
                self.again(Place::Name(0), octet, into);
            }
            Place::NameCr if octet == b'\n' => self.hold(Place::NameLineStart, octet),
            Place::NameLineStart if is_blank => self.hold(Place::Name(NAME.len()), octet),
            // It is no field.
            Place::NameCr => {
                into.append(&mut self.held);
                self.again(Place::BareCr, octet, into);
            }
            Place::NameLineStart => {
                into.append(&mut self.held);
                self.again(Place::LineStart, octet, into);
            }
            Place::Name(matched) => {
                let is_whole = matched == NAME.len();
                match octet {
                    _ if NAME.get(matched).is_some_and(|next| octet.eq_ignore_ascii_case(next)) => {
                        self.hold(Place::Name(matched + 1), octet);
                    }
                    // RFC 5322, section 4.5: once there could be spaces before the colon.
                    b' ' | b'\t' if is_whole => self.hold(Place::Name(matched), octet),
                    b'\r' if is_whole => self.hold(Place::NameCr, octet),
                    b':' if is_whole => self.hold(Place::Value, octet),
                    _ => {
                        into.append(&mut self.held);
                        self.again(Place::Line, octet, into);
                    }
                }
            }
            Place::LineCr if octet != b'\n' => self.again(Place::BareCr, octet, into),
            Place::Line | Place::LineCr => {
                self.emit(octet, into);
                self.place = match octet {
                    b'\r' => Place::LineCr,
                    b'\n' => Place::LineStart,
                    _ => Place::Line,
                };
            }
            Place::Body => into.push(octet),
        }
    }

    /// Handles an octet again in the state `place`.
    fn again(&mut self, place: Place, octet: u8, into: &mut Vec<u8>) {
        self.place = place;
        self.take(octet, into);
    }

    /// Holds an octet back. A name followed by too much white space is removed.
    fn hold(&mut self, place: Place, octet: u8) {
        (self.place, self.goes) = (place, false);
        self.held.push(octet);
        if self.held.len() >= HELD_OCTETS_MAX {
            self.held.clear();
            (self.place, self.goes) = (Place::Line, true);
        }
    }

    fn emit(&self, octet: u8, into: &mut Vec<u8>) {
        if !self.goes {
            into.push(octet);
        }
    }

    /// Keeps or drops the held octets.
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

/// The authserv-id of a field's value; `None` if it cannot be determined. (RFC 8601, section 2.2)
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
            b';' => return Some(server),
            // An encoded word, which some programs decode; a token has none.
            b'?' if server.is_empty() => return None,
            // White space, or the end of a token. (RFC 2045, section 5.1)
            _ if *octet <= b' ' || b"<>@,:/[]?=\\".contains(octet) => {
                if !server.is_empty() {
                    return Some(server);
                }
            }
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
            "Authentication-Results \t : smtp.office.example; none\r\n",
            "Authentication-Results\r\n : smtp.office.example; none\r\n",
            "Authentication-Results \r\n\t\r\n :\r\n smtp.office.example; none\r\n",
            &format!("aUthentication-results{}: smtp.office.example; none\r\n", " ".repeat(HELD_OCTETS_MAX)),
            &format!(
                "Authentication-Results{}: smtp.office.example; none\r\n",
                "\r\n ".repeat(HELD_OCTETS_MAX)
            ),
            "Authentication-Results: \0smtp.office.example; none\r\n",
            "Authentication-Results: <smtp.office.example>; none\r\n",
            "Authentication-Results: smtp.office.example/1; none\r\n",
            "Authentication-Results: =?utf-8?q?smtp=2Eoffice.example?=; none\r\n",
            &format!("Authentication-Results: ({}); x\r\n y\r\n", "x".repeat(HELD_OCTETS_MAX)),
        ] {
            let message = format!("From: a\r\n{forged}Subject: b\r\n\r\n{forged}");
            assert_eq!(stripped(&message), format!("From: a\r\nSubject: b\r\n\r\n{forged}"), "{forged}");
            assert_eq!(stripped(forged), "", "{forged}");
        }
        let two = "Authentication-Results: smtp.office.example; a\r\n";
        assert_eq!(stripped(&format!("{two}{two}A: b\r\n{two}")), "A: b\r\n");
        assert_eq!(stripped(&format!("{two}\r\nbody")), "\r\nbody");
        // Some programs take a CR alone for the end of a line, and none for the end of the header.
        assert_eq!(stripped(&format!("A: b\r{two}\rC: d\r\n\r\r\n{two}\r\n")), "A: b\r\rC: d\r\n\r\r\n\r\n");
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
            "Authentication-Results\r\n\r\n : smtp.office.example; none\r\n",
            "Authentication-Results\r\r\n : smtp.office.example; none\r\n",
            "Authentication-Results \r\nA: b\r\n\r\n",
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
