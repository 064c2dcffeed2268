//! The server's extensions in its reply to EHLO. (RFC 5321, section 4.1.1.1)

use crate::mail::sasl::Mechanism;

/// The server's extensions that a client can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The largest message in octets; 0 if it is not declared. (RFC 1870)
    pub size: Option<u64>,
    /// RFC 2920
    pub has_pipelining: bool,
    /// RFC 6152
    pub has_8bitmime: bool,
    /// RFC 6531
    pub has_smtputf8: bool,
    /// RFC 3461
    pub has_dsn: bool,
    /// RFC 3207
    pub has_starttls: bool,
    /// RFC 4954
    pub mechanisms: Vec<Mechanism>,
}

impl Extensions {
    /// Reads the lines of the reply, of which the first is the server's name.
    pub fn parse(lines: &[String]) -> Self {
        let mut this = Self::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                // A value that is no number is ignored.
                "SIZE" => this.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0)),
                "PIPELINING" => this.has_pipelining = true,
                "8BITMIME" => this.has_8bitmime = true,
                "SMTPUTF8" => this.has_smtputf8 = true,
                "DSN" => this.has_dsn = true,
                "STARTTLS" => this.has_starttls = true,
                "AUTH" => words.for_each(|name| this.add_mechanism(name)),
                // The form of a draft, which some servers still have.
                keyword => {
                    if let Some(first) = keyword.strip_prefix("AUTH=") {
                        this.add_mechanism(first);
                        words.for_each(|name| this.add_mechanism(name));
                    }
                }
            }
        }
        this
    }

    fn add_mechanism(&mut self, name: &str) {
        if let Some(mechanism) = Mechanism::named(name)
            && !self.mechanisms.contains(&mechanism)
        {
            self.mechanisms.push(mechanism);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5321, section 4.1.1.1: Keywords are case-insensitive, and unknown ones are ignored.
    #[test]
    fn rfc5321_4_1_1_1_keywords_have_any_case_and_unknown_ones_are_passed_over() {
        let lines = "DSN at your service|size 1000|Pipelining|8bitmime|X-FOO bar||starttls|smtputf8|\
            AUTH plain CRAM-MD5 SCRAM-SHA-256|AUTH=LOGIN PLAIN|dsn";
        let lines: Vec<_> = lines.split('|').map(str::to_owned).collect();
        let read = Extensions::parse(&lines);
        let expected = Extensions {
            size: Some(1000),
            has_pipelining: true,
            has_8bitmime: true,
            has_smtputf8: true,
            has_dsn: true,
            has_starttls: true,
            mechanisms: vec![Mechanism::Plain, Mechanism::ScramSha256, Mechanism::Login],
        };
        assert_eq!(read, expected);
        assert_eq!(Extensions::parse(&lines[..1]), Extensions::default(), "the first line is a name");
    }

    /// RFC 1870, section 4: A size of 0, or none, sets no limit.
    #[test]
    fn rfc1870_4_a_size_of_0_or_none_sets_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE many"] {
            assert_eq!(Extensions::parse(&["far".into(), line.into()]).size, Some(0), "{line}");
        }
    }
}
