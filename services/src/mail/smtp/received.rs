//! The Received field that a message gets. (RFC 5321, section 4.4; for `with` RFC 3848, section 1, and
//! RFC 6531, section 4.3)

use std::net::IpAddr;

use super::command::Hello;
use super::reply::printable;
use crate::calendar::Date;
use crate::clock::UnixTime;
use crate::mail::address::{Domain, ForwardPath, Literal};

/// The content of a Received field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    pub hello: Hello,
    /// The client's HELO name.
    pub client_name: &'a str,
    pub peer: IpAddr,
    pub peer_name: Option<&'a str>,
    pub hostname: &'a str,
    pub is_encrypted: bool,
    pub is_logged_in: bool,
    pub smtputf8: bool,
    /// The recipient, if there is one only: others must not learn of each other. (RFC 5321, section 7.6)
    pub only_recipient: Option<&'a ForwardPath>,
}

impl Received<'_> {
    /// The field, folded, with its CRLF. `id` is the server's name of the message.
    pub fn to_text(self, id: &str, now: UnixTime) -> String {
        let peer = Literal(self.peer);
        let name = self.client_name;
        // An invalid name is put into a comment, which can hold any printable text.
        let from = match (Domain::parse(name), self.peer_name) {
            (Ok(_), Some(peer_name)) if name.is_ascii() => format!("{name} ({} {peer})", comment(peer_name)),
            (Ok(_), None) if name.is_ascii() => format!("{name} ({peer})"),
            (_, Some(peer_name)) => {
                format!("{peer} ({} {peer}) (says {})", comment(peer_name), comment(name))
            }
            (_, None) => format!("{peer} ({peer}) (says {})", comment(name)),
        };
        let recipient = self.only_recipient.map(|path| format!("\r\n\tfor {path}")).unwrap_or_default();
        let (hostname, with, id) = (self.hostname, self.with(), atom(id));
        format!(
            "Received: from {from}\r\n\tby {hostname} with {with} id {id}{recipient};\r\n\t{}\r\n",
            date(now)
        )
    }

    /// The protocol's name.
    fn with(self) -> String {
        let s = if self.is_encrypted { "S" } else { "" };
        let a = if self.is_logged_in { "A" } else { "" };
        match (self.hello, self.smtputf8) {
            // RFC 3848, section 1, registers no name for HELO with TLS or a login.
            (Hello::Helo, _) => "SMTP".to_owned(),
            (Hello::Ehlo, false) => format!("ESMTP{s}{a}"),
            (Hello::Ehlo, true) => format!("UTF8SMTP{s}{a}"),
            (Hello::Lhlo, false) => format!("LMTP{s}{a}"),
            (Hello::Lhlo, true) => format!("UTF8LMTP{s}{a}"),
        }
    }
}

/// `text` escaped for a comment. (RFC 5322, section 3.2.2)
fn comment(text: &str) -> String {
    printable(text).replace(['(', ')', '\\'], "?")
}

/// `id` in the form of an id clause.
fn atom(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' }).collect()
}

/// A date as messages have it, in UTC. (RFC 5322, section 3.3)
pub(in crate::mail) fn date(now: UnixTime) -> String {
    let Date { year, month, day, weekday, hour, minute, second } = Date::after_1970(now.0);
    format!("{weekday}, {day} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::mail::address::Unbracketed;

    const NOW: UnixTime = UnixTime(1_709_210_096);

    fn from(client_name: &str) -> Received<'_> {
        Received {
            hello: Hello::Ehlo,
            client_name,
            peer: Ipv4Addr::new(192, 168, 1, 10).into(),
            peer_name: None,
            hostname: "smtp.office.example",
            is_encrypted: false,
            is_logged_in: false,
            smtputf8: false,
            only_recipient: None,
        }
    }

    /// RFC 5321, section 4.4: The field has the server, the protocol, the time, and the recipient if there is only one.
    #[test]
    fn rfc5321_4_4_the_field_tells_by_whom_how_when_and_for_whom() {
        let (anna, _) =
            ForwardPath::parse("<anna@office.example>", None, Unbracketed::Refused).expect("an address");
        let received =
            Received { peer_name: Some("pc1.office.example"), only_recipient: Some(&anna), ..from("pc1") };
        assert_eq!(
            received.to_text("17", NOW),
            "Received: from pc1 (pc1.office.example [192.168.1.10])\r\n\
             \tby smtp.office.example with ESMTP id 17\r\n\
             \tfor <anna@office.example>;\r\n\
             \tThu, 29 Feb 2024 12:34:56 +0000\r\n"
        );
        let of_many = from("pc1").to_text("17", NOW);
        assert!(!of_many.contains("for ") && of_many.contains("from pc1 ([192.168.1.10])\r\n"), "{of_many}");
    }

    /// RFC 5321, section 4.4: What a client calls itself stays in its place.
    #[test]
    fn rfc5321_4_4_what_a_client_calls_itself_stays_in_its_place() {
        for (name, expected) in [
            ("PC OF ANNA", "from [192.168.1.10] ([192.168.1.10]) (says PC OF ANNA)\r\n"),
            ("a) by evil (b\\", "from [192.168.1.10] ([192.168.1.10]) (says a? by evil ?b?)\r\n"),
            ("büro", "from [192.168.1.10] ([192.168.1.10]) (says b?ro)\r\n"),
            ("[192.168.1.10]", "from [192.168.1.10] ([192.168.1.10])\r\n"),
        ] {
            let text = from(name).to_text("1", NOW);
            assert!(text.contains(expected), "{text}");
        }
        assert!(from("a").to_text("1;\r\nX: y", NOW).contains("id 1---X--y;"));
    }

    /// RFC 3848, section 1: The protocol's name shows extensions, TLS and login.
    #[test]
    fn rfc3848_the_protocol_tells_of_extensions_tls_and_login() {
        let with = |hello, is_encrypted, is_logged_in, smtputf8| {
            Received { hello, is_encrypted, is_logged_in, smtputf8, ..from("a") }.with()
        };
        assert_eq!(with(Hello::Helo, false, false, false), "SMTP");
        assert_eq!(with(Hello::Ehlo, false, false, false), "ESMTP");
        assert_eq!(with(Hello::Ehlo, true, false, false), "ESMTPS");
        assert_eq!(with(Hello::Ehlo, false, true, false), "ESMTPA");
        assert_eq!(with(Hello::Ehlo, true, true, false), "ESMTPSA");
        assert_eq!(with(Hello::Lhlo, true, false, false), "LMTPS");
        assert_eq!(with(Hello::Ehlo, true, true, true), "UTF8SMTPSA");
    }

    /// RFC 5322, section 3.3: Dates.
    #[test]
    fn rfc5322_3_3_dates() {
        for (unix, expected) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
            (1_735_689_600, "Wed, 1 Jan 2025 00:00:00 +0000"),
            (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
        ] {
            assert_eq!(date(UnixTime(unix)), expected);
        }
    }
}
