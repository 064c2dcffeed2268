//! A lenient parser of headers from anywhere.

use std::borrow::Cow;

use crate::mail::address::Mailbox;

/// The octets of a header that are read.
pub const HEADER_OCTETS_MAX: usize = 256 << 10;

/// The most addresses of one message that are read.
pub(super) const ADDRESSES_MAX: usize = 2000;

/// The fields of the header at the start of `message`, in order, with names in lower case and unfolded values. Lines
/// that belong to no field are left out.
pub(super) fn fields(message: &[u8]) -> Vec<(String, String)> {
    let message = &message[..message.len().min(HEADER_OCTETS_MAX)];
    let mut fields: Vec<(String, String)> = Vec::new();
    // Whether the previous line belongs to a field, so that a folded line continues it.
    let mut is_open = false;
    for line in message.split(|octet| *octet == b'\n') {
        let line = String::from_utf8_lossy(line.trim_ascii_end());
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            if let (true, Some((_, value))) = (is_open, fields.last_mut()) {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        let field = line.split_once(':').filter(|(name, _)| is_name(name.trim_end()));
        is_open = field.is_some();
        fields.extend(
            field.map(|(name, value)| (name.trim_end().to_ascii_lowercase(), value.trim().to_owned())),
        );
    }
    fields
}

/// RFC 5322, section 2.2
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic())
}

/// The addresses in a list of them, such as the value of To. (RFC 5322, section 3.4)
///
/// Display names, comments and group names are skipped. A malformed entry does not affect others.
pub(super) fn addresses(value: &str) -> Vec<Mailbox> {
    let mut scan = Scan::default();
    if !scan.run(value, true) {
        // An unterminated quote or comment is taken literally.
        scan = Scan::default();
        scan.run(value, false);
    }
    scan.found
}

/// One walk over a list of addresses.
#[derive(Default)]
struct Scan {
    found: Vec<Mailbox>,
    /// The text since the last separator, without comments.
    text: String,
    /// Whether it contains the beginning of an address, so that a colon belongs to a route or an address literal.
    has_address: bool,
    /// The text within angle brackets.
    angle: Option<String>,
    is_in_angle: bool,
}

impl Scan {
    /// Whether all quotes and comments had their ends.
    fn run(&mut self, value: &str, heeds_quotes: bool) -> bool {
        let (mut is_quoted, mut is_escaped, mut depth) = (false, false, 0_usize);
        for c in value.chars() {
            if is_escaped {
                is_escaped = false;
                if depth == 0 {
                    self.push(c);
                }
                continue;
            }
            match c {
                '\\' if is_quoted || depth > 0 => {
                    is_escaped = true;
                    if is_quoted {
                        self.push(c);
                    }
                }
                '(' if heeds_quotes && !is_quoted => depth += 1,
                ')' if depth > 0 => depth -= 1,
                _ if depth > 0 => {}
                '"' if heeds_quotes => {
                    is_quoted = !is_quoted;
                    self.push(c);
                }
                _ if is_quoted => self.push(c),
                '<' => (self.is_in_angle, self.angle) = (true, Some(String::new())),
                '>' => self.is_in_angle = false,
                ',' | ';' if !self.is_in_angle => self.end(),
                // The name of a group ends.
                ':' if !self.is_in_angle && !self.has_address => self.text.clear(),
                _ => self.push(c),
            }
        }
        self.end();
        !is_quoted && depth == 0
    }

    fn push(&mut self, c: char) {
        match &mut self.angle {
            Some(angle) if self.is_in_angle => angle.push(c),
            Some(_) => {}
            None => {
                self.has_address |= matches!(c, '[' | '@');
                self.text.push(c);
            }
        }
    }

    fn end(&mut self) {
        let text = std::mem::take(&mut self.text);
        let address = self.angle.take().unwrap_or(text);
        (self.is_in_angle, self.has_address) = (false, false);
        if self.found.len() < ADDRESSES_MAX {
            self.found.extend(address_in(&address));
        }
    }
}

/// The address at the beginning of `text`.
pub(super) fn address_in(text: &str) -> Option<Mailbox> {
    let text = text.trim();
    let text = text.strip_prefix('<').unwrap_or(text);
    // RFC 5322, section 4.4: a route is dropped.
    let text = match text.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => text,
    };
    let whole = || Mailbox::parse(text.trim_end_matches('>').trim()).ok();
    // Without quotes an address is one word; the text after it is ignored.
    let word = || {
        let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ','));
        words.find(|word| word.contains('@')).and_then(|word| Mailbox::parse(word).ok())
    };
    whole().or_else(word)
}

/// The clause `for` of a Received field. (RFC 5321, section 4.4)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReceivedFor {
    /// There is none.
    Absent,
    /// One address.
    Address(Mailbox),
    /// Several addresses, or an invalid one: the field's value.
    Unclear(String),
}

/// The clause `for` of a Received field's value.
pub(super) fn received_for(value: &str) -> ReceivedFor {
    let text = without_comments(value);
    // RFC 5321, section 4.4: a semicolon and the date end it.
    let clauses = text.split_once(';').map_or(&*text, |(clauses, _)| clauses);
    let mut words = clauses.split_whitespace();
    let Some(_) = words.find(|word| word.eq_ignore_ascii_case("for")) else { return ReceivedFor::Absent };
    let rest = words.collect::<Vec<_>>().join(" ");
    let target = match rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((inner, _)) => inner,
        None => rest.split(' ').next().unwrap_or_default(),
    };
    match Mailbox::parse(target.trim_end_matches(',')) {
        _ if target.is_empty() => ReceivedFor::Absent,
        Ok(mailbox) => ReceivedFor::Address(mailbox),
        Err(_) => ReceivedFor::Unclear(target.to_owned()),
    }
}

fn without_comments(value: &str) -> Cow<'_, str> {
    if !value.contains('(') {
        return Cow::Borrowed(value);
    }
    let (mut depth, mut is_escaped, mut text) = (0_usize, false, String::new());
    for c in value.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if depth > 0 => is_escaped = true,
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth == 0 => text.push(c),
            _ => {}
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;

    fn found(value: &str) -> String {
        addresses(value).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn fields_are_unfolded_and_what_is_none_is_left_out() {
        let header = "To: a,\r\n\tb\nno field\n  of it\nX-One :  1 \r\nSubject:\r\n\r\nTo: body";
        let expected = [("to", "a, b"), ("x-one", "1"), ("subject", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(header.as_bytes()), expected);
        assert_eq!(fields(b""), []);
        assert_eq!(fields(b"\r\nTo: a"), []);
        let endless = b"X: y\r\n".repeat(HEADER_OCTETS_MAX);
        assert!(fields(&endless).len() <= HEADER_OCTETS_MAX / 6 + 1);
    }

    /// RFC 5322, section 3.4: Addresses have names, comments and groups around them.
    #[test]
    fn rfc5322_3_4_addresses_are_found_among_names_comments_and_groups() {
        for (value, expected) in [
            ("anna@office.example", "anna@office.example"),
            ("Anna <anna@Office.Example>, bob@x.example", "anna@office.example bob@x.example"),
            ("\"Last, First <no@x>\" <anna@office.example>", "anna@office.example"),
            ("anna@office.example (the (nested) boss, c@d.example)", "anna@office.example"),
            (
                "The team: anna@office.example, Bob <bob@office.example>;",
                "anna@office.example bob@office.example",
            ),
            ("undisclosed-recipients:;", ""),
            ("<@relay.example:anna@office.example>", "anna@office.example"),
            ("\"a b\"@office.example", "\"a b\"@office.example"),
            ("=?utf-8?q?J=C3=BCrgen?= <j@office.example>", "j@office.example"),
            ("anna@[192.168.1.1]", "anna@[192.168.1.1]"),
            ("anna@[IPv6:2001:db8::1]", "anna@[IPv6:2001:db8::1]"),
            // Broken.
            ("\"Anna <anna@office.example>", "anna@office.example"),
            ("Anna (no end <anna@office.example>", "anna@office.example"),
            ("Anna <anna@office.example", "anna@office.example"),
            ("anna@office.example bob@office.example", "anna@office.example"),
            ("<<anna@office.example>>", "anna@office.example"),
            (",,;<>,anna@office.example,,", "anna@office.example"),
            ("anna, @, <@>, anna@, <anna>", ""),
        ] {
            assert_eq!(found(value), expected, "{value}");
        }
        let many = "a@b.example,".repeat(ADDRESSES_MAX + 1);
        assert_eq!(addresses(&many).len(), ADDRESSES_MAX);
    }

    /// Scanning back at each colon would take quadratic time.
    #[test]
    fn colons_behind_a_long_word_cost_no_more_than_other_characters() {
        let long = format!("{}@{}, b@c.example", "a".repeat(4 << 20), ":".repeat(4 << 20));
        assert_eq!(found(&long), "b@c.example");
    }

    /// RFC 5321, section 4.4: The clause `for` names one recipient, and precedes the date.
    #[test]
    fn rfc5321_4_4_the_clause_for_names_one_recipient() {
        let address = |text: &str| ReceivedFor::Address(Mailbox::parse(text).unwrap());
        let unclear = |text: &str| ReceivedFor::Unclear(text.to_owned());
        for (value, expected) in [
            (
                "from a by b with ESMTP id 7 for <anna@office.example>; Mon, 1 Jan 2024",
                address("anna@office.example"),
            ),
            ("by b for anna@office.example; Mon", address("anna@office.example")),
            (
                "from x (for <no@x.example>) by b FOR <anna@office.example> (x); Mon",
                address("anna@office.example"),
            ),
            ("by b for <multiple recipients>; Mon", unclear("multiple recipients")),
            ("by b for multiple recipients; Mon", unclear("multiple")),
            ("by b for <anna>; Mon", unclear("anna")),
            ("by b for; Mon", ReceivedFor::Absent),
            ("by b; for <anna@office.example>", ReceivedFor::Absent),
            ("", ReceivedFor::Absent),
        ] {
            assert_eq!(received_for(value), expected, "{value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(512)))]

        #[test]
        fn any_octets_are_read(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            for (_, value) in fields(&octets) {
                addresses(&value);
                received_for(&value);
            }
        }

        #[test]
        fn any_list_is_read(value in "[\"()<>@:;,. \\\\a\\[\\]]{0,40}") {
            addresses(&value);
            received_for(&value);
        }
    }
}
