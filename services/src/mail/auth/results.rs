//! The field `Authentication-Results`, with the results of the checks. (RFC 8601)

mod strip;

use std::fmt::Write as _;

use super::dkim::Signed;
use super::dmarc::{DmarcResult, Outcome, Policy};
use super::spf::SpfResult;

pub use strip::Strip;

/// The longest field that is written, in octets.
pub const RESULTS_OCTETS_MAX: usize = 2048;

/// The results of all checks of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// The result of SPF.
    pub spf: SpfResult,
    /// Of which domain.
    pub spf_domain: String,
    /// Whether it is the result for the HELO identity, and not for the return path.
    pub is_of_helo: bool,
    /// The result of DKIM for each signature.
    pub signed: Vec<Signed>,
    /// The result of DMARC.
    pub dmarc: Outcome,
}

impl Results {
    /// The field with its CRLF, by the server that is called `hostname`. It has at most `octets_max`: entries for which
    /// there is no room are left out, and without any there is no field.
    pub fn to_field(&self, hostname: &str, octets_max: usize) -> String {
        let mut entries = vec![self.dmarc_entry(), self.spf_entry()];
        entries.extend(self.signed.iter().map(dkim_entry));
        if self.signed.is_empty() {
            // RFC 8601, section 2.7.1: the message is not signed.
            entries.push("dkim=none".to_owned());
        }
        let mut field = format!("Authentication-Results: {}", value(hostname));
        let before = field.len();
        for entry in entries {
            let entry = format!(";\r\n\t{entry}");
            if field.len() + entry.len() + 2 <= octets_max {
                field += &entry;
            }
        }
        if field.len() == before {
            return String::new();
        }
        field + "\r\n"
    }

    fn dmarc_entry(&self) -> String {
        let Outcome { result, policy, domain } = &self.dmarc;
        let asks = match (result, policy) {
            (DmarcResult::Fail, Policy::None) => " (p=none)",
            (DmarcResult::Fail, Policy::Quarantine) => " (p=quarantine)",
            (DmarcResult::Fail, Policy::Reject) => " (p=reject)",
            _ => "",
        };
        format!("dmarc={result}{asks}{}", property("header.from", domain))
    }

    fn spf_entry(&self) -> String {
        let name = if self.is_of_helo { "smtp.helo" } else { "smtp.mailfrom" };
        format!("spf={}{}", self.spf, property(name, &self.spf_domain))
    }
}

fn dkim_entry(signed: &Signed) -> String {
    let Signed { result, why, domain, selector, start } = signed;
    let mut entry = format!("dkim={result}");
    if let Some(why) = why {
        // The text is this server's own.
        _ = write!(entry, " ({why})");
    }
    for (name, of) in [("header.d", domain), ("header.s", selector), ("header.b", start)] {
        entry += &property(name, of);
    }
    entry
}

/// A property with a space before it; nothing if it is empty. (RFC 8601, section 2.2)
fn property(name: &str, of: &str) -> String {
    if of.is_empty() { String::new() } else { format!(" {name}={}", value(of)) }
}

/// `text` as a token, or else quoted; characters other than printable ASCII become `?`. (RFC 2045, section 5.1)
fn value(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(c);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::auth::dkim::DkimResult;

    fn results(result: DmarcResult, policy: Policy) -> Results {
        Results {
            spf: SpfResult::Pass,
            spf_domain: "far.example".to_owned(),
            is_of_helo: false,
            signed: Vec::new(),
            dmarc: Outcome { result, policy, domain: "far.example".to_owned() },
        }
    }

    fn signed(result: DkimResult, why: Option<&'static str>, domain: &str) -> Signed {
        let (selector, start) = ("one".to_owned(), "ab/+cdef".to_owned());
        Signed { result, why, domain: domain.to_owned(), selector, start }
    }

    /// RFC 8601, section 2.2: The field names the server, and of each check its result and what it is of.
    #[test]
    fn rfc8601_2_2_the_field_names_the_server_and_each_result() {
        let plain = results(DmarcResult::Pass, Policy::None);
        assert_eq!(
            plain.to_field("smtp.office.example", 1000),
            "Authentication-Results: smtp.office.example;\r\n\tdmarc=pass header.from=far.example;\r\n\
             \tspf=pass smtp.mailfrom=far.example;\r\n\tdkim=none\r\n"
        );
        let signed = vec![
            signed(DkimResult::Pass, None, "far.example"),
            signed(DkimResult::Fail, Some("the body is another"), "x y\r\n\"\u{fc}"),
        ];
        let failed = Results {
            spf: SpfResult::SoftFail,
            is_of_helo: true,
            signed,
            ..results(DmarcResult::Fail, Policy::Reject)
        };
        assert_eq!(
            failed.to_field("smtp.office.example", 1000),
            "Authentication-Results: smtp.office.example;\r\n\tdmarc=fail (p=reject) header.from=far.example;\r\n\
             \tspf=softfail smtp.helo=far.example;\r\n\
             \tdkim=pass header.d=far.example header.s=one header.b=\"ab/+cdef\";\r\n\
             \tdkim=fail (the body is another) header.d=\"x y??\\\"?\" header.s=one header.b=\"ab/+cdef\"\r\n"
        );
        let nameless = Results {
            dmarc: Outcome { domain: String::new(), ..results(DmarcResult::PermError, Policy::None).dmarc },
            ..plain
        };
        assert!(nameless.to_field("a", 1000).contains(";\r\n\tdmarc=permerror;\r\n"));
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let signed = (0..200).map(|_| signed(DkimResult::Pass, None, "far.example")).collect();
        let many = Results { signed, ..results(DmarcResult::Fail, Policy::Quarantine) };
        let least = "Authentication-Results: smtp.office.example;\r\n\tdmarc=fail (p=quarantine) header.from=far.example\r\n";
        for octets_max in 0..400 {
            let field = many.to_field("smtp.office.example", octets_max);
            assert!(field.len() <= octets_max && (field.is_empty() || field.ends_with("\r\n")));
            let has_dmarc = field.contains("dmarc=fail (p=quarantine) header.from=far.example");
            assert_eq!(has_dmarc, octets_max >= least.len(), "{octets_max}: {field}");
        }
        let long = many.to_field("smtp.office.example", RESULTS_OCTETS_MAX);
        assert!(long.len() <= RESULTS_OCTETS_MAX && long.len() > RESULTS_OCTETS_MAX - 100);
    }
}
