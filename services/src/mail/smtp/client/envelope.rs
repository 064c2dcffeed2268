//! The envelope of a message: the commands MAIL and RCPT. (RFC 5321, sections 4.1.1.2 and 4.1.1.3)

use std::fmt::Write;

use super::extensions::Extensions;
use crate::dns::name::a_labels;
use crate::mail::address::{Mailbox, ReversePath};
use crate::mail::smtp::{Notify, OriginalRecipient, RcptParameters, Return};

/// A message's envelope for one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The return path.
    pub sender: ReversePath,
    /// The octets of the message, about.
    pub size: u64,
    /// Whether the message has octets above 127.
    pub is_8bit: bool,
    /// Whether the message's header is not ASCII. Non-ASCII addresses are detected anyway.
    pub has_utf8_header: bool,
    /// RET. (RFC 3461, section 4.3)
    pub ret: Option<Return>,
    /// ENVID. (RFC 3461, section 4.4)
    pub envid: Option<String>,
    /// The recipients.
    pub recipients: Vec<EnvelopeRecipient>,
}

/// A recipient with the sender's options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeRecipient {
    /// The address.
    pub address: Mailbox,
    /// `NOTIFY` and `ORCPT`.
    pub parameters: RcptParameters,
}

impl Envelope {
    /// Whether the message needs SMTPUTF8 for all recipients. (RFC 6531, section 3.4)
    pub(super) fn needs_smtputf8(&self) -> bool {
        let is_ascii = match &self.sender {
            ReversePath::Null => true,
            ReversePath::Mailbox(mailbox) => in_ascii(mailbox).is_some(),
        };
        self.has_utf8_header || !is_ascii
    }

    /// Whether MAIL has SMTPUTF8.
    fn uses_smtputf8(&self) -> bool {
        self.needs_smtputf8() || self.recipients.iter().any(|recipient| !recipient.address.is_ascii())
    }

    /// The command MAIL, with the parameters that the server supports.
    pub(super) fn mail(&self, extensions: &Extensions) -> String {
        let sender = match &self.sender {
            ReversePath::Mailbox(sender) if !extensions.has_smtputf8 => format!("<{}>", spelled(sender)),
            sender => sender.to_string(),
        };
        let mut line = format!("MAIL FROM:{sender}");
        if extensions.size.is_some() {
            let _ = write!(line, " SIZE={}", self.size);
        }
        if extensions.has_8bitmime && self.is_8bit {
            line += " BODY=8BITMIME";
        }
        if extensions.has_smtputf8 && self.uses_smtputf8() {
            line += " SMTPUTF8";
        }
        if extensions.has_dsn {
            line += &mail_options(self.ret, self.envid.as_deref());
        }
        line + "\r\n"
    }

    /// The command RCPT for the recipient with this index.
    pub(super) fn rcpt(&self, at: usize, extensions: &Extensions) -> String {
        let EnvelopeRecipient { address, parameters } = &self.recipients[at];
        let address = if extensions.has_smtputf8 { address.to_string() } else { spelled(address) };
        let mut line = format!("RCPT TO:<{address}>");
        if extensions.has_dsn {
            line += &rcpt_options(parameters);
        }
        line + "\r\n"
    }
}

/// The address in ASCII, with the A-labels of its domain; `None` if its local part is not ASCII.
pub(super) fn in_ascii(mailbox: &Mailbox) -> Option<String> {
    if mailbox.is_ascii() {
        return Some(mailbox.to_string());
    }
    let domain = a_labels(&mailbox.domain.to_string())?;
    mailbox.local.as_str().is_ascii().then(|| format!("{}@{domain}", mailbox.local))
}

/// The address in ASCII, or as it is.
fn spelled(mailbox: &Mailbox) -> String {
    in_ascii(mailbox).unwrap_or_else(|| mailbox.to_string())
}

/// RET and ENVID, as MAIL has them behind the sender.
pub(in crate::mail) fn mail_options(ret: Option<Return>, envid: Option<&str>) -> String {
    let mut text = String::new();
    match ret {
        Some(Return::Full) => text += " RET=FULL",
        Some(Return::Headers) => text += " RET=HDRS",
        None => {}
    }
    if let Some(envid) = envid {
        let _ = write!(text, " ENVID={}", to_xtext(envid));
    }
    text
}

/// NOTIFY and ORCPT, as RCPT has them behind the recipient.
pub(in crate::mail) fn rcpt_options(parameters: &RcptParameters) -> String {
    let mut text = String::new();
    if let Some(notify) = parameters.notify {
        let _ = write!(text, " NOTIFY={}", notify_text(notify));
    }
    if let Some(OriginalRecipient { address_type, address }) = &parameters.orcpt {
        let address = if address_type == "utf-8" { utf8_xtext(address) } else { to_xtext(address) };
        let _ = write!(text, " ORCPT={address_type};{address}");
    }
    text
}

/// The value of NOTIFY. (RFC 3461, section 4.1)
fn notify_text(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let words: Vec<_> = words.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
    if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }
}

/// `text` as xtext. (RFC 3461, section 4)
pub(in crate::mail) fn to_xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' => _ = write!(encoded, "+{octet:02X}"),
            b'!'..=b'~' => encoded.push(char::from(octet)),
            _ => _ = write!(encoded, "+{octet:02X}"),
        }
    }
    encoded
}

/// `text` as utf-8-addr-xtext, which a server without SMTPUTF8 accepts, too. (RFC 6533, section 3)
fn utf8_xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '+' | '=' | '\\' => _ = write!(encoded, "\\x{{{:02X}}}", u32::from(c)),
            '!'..='~' => encoded.push(c),
            _ => _ = write!(encoded, "\\x{{{:02X}}}", u32::from(c)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        let recipient = |text: &str| EnvelopeRecipient {
            address: Mailbox::parse(text).unwrap(),
            parameters: RcptParameters {
                notify: Some(Notify { success: true, failure: false, delay: true }),
                orcpt: Some(OriginalRecipient {
                    address_type: "rfc822".into(),
                    address: "a+b=c d@x.example".into(),
                }),
            },
        };
        Envelope {
            sender: ReversePath::Mailbox(Mailbox::parse("anna@office.example").unwrap()),
            size: 1234,
            is_8bit: true,
            has_utf8_header: false,
            ret: Some(Return::Headers),
            envid: Some("QQ+314=1".into()),
            recipients: vec![recipient("\"b b\"@far.example"), recipient("c@far.example")],
        }
    }

    /// RFC 3461, section 4: What the sender asked for is sent on in xtext to a server that knows DSN.
    #[test]
    fn rfc3461_4_what_the_sender_asked_for_is_sent_on_in_xtext() {
        let all = Extensions::parse(&["far", "SIZE", "8BITMIME", "SMTPUTF8", "DSN"].map(str::to_owned));
        let mut envelope = envelope();
        let mail = "MAIL FROM:<anna@office.example> SIZE=1234 BODY=8BITMIME RET=HDRS ENVID=QQ+2B314+3D1\r\n";
        assert_eq!(envelope.mail(&all), mail);
        let rcpt =
            "RCPT TO:<\"b b\"@far.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb+3Dc+20d@x.example\r\n";
        assert_eq!(envelope.rcpt(0, &all), rcpt);
        let never = Notify { success: false, failure: false, delay: false };
        envelope.recipients[1].parameters.notify = Some(never);
        envelope.recipients[1].parameters.orcpt =
            Some(OriginalRecipient { address_type: "utf-8".into(), address: "jü=r@x".into() });
        let rcpt = "RCPT TO:<c@far.example> NOTIFY=NEVER ORCPT=utf-8;j\\x{FC}\\x{3D}r@x\r\n";
        assert_eq!(envelope.rcpt(1, &all), rcpt);
        assert_eq!(envelope.mail(&Extensions::default()), "MAIL FROM:<anna@office.example>\r\n");
        assert_eq!(envelope.rcpt(1, &Extensions::default()), "RCPT TO:<c@far.example>\r\n");
    }

    /// RFC 6531, section 3.4: SMTPUTF8 is asked for if an address or the header needs it, and for nothing else.
    #[test]
    fn rfc6531_3_4_smtputf8_is_asked_for_when_it_is_needed() {
        let all = Extensions::parse(&["far", "SMTPUTF8"].map(str::to_owned));
        let mut envelope = envelope();
        assert!(!envelope.mail(&all).contains("SMTPUTF8"));
        envelope.recipients[1].address = Mailbox::parse("jürgen@far.example").unwrap();
        assert!(envelope.mail(&all).contains(" SMTPUTF8") && !envelope.needs_smtputf8());
        envelope.recipients.pop();
        envelope.has_utf8_header = true;
        assert!(envelope.mail(&all).contains(" SMTPUTF8") && envelope.needs_smtputf8());
        envelope.has_utf8_header = false;
        envelope.sender = ReversePath::Null;
        assert_eq!(envelope.mail(&all), "MAIL FROM:<>\r\n");
    }
}
