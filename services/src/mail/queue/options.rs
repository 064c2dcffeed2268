//! The sender's options for a queued message, as the store keeps them: the parameters of MAIL and RCPT in SMTP syntax.

use crate::mail::address::Mailbox;
use crate::mail::smtp::client::{mail_options, rcpt_options, to_xtext};
use crate::mail::smtp::{MailParameters, OriginalRecipient, RcptParameters, Return, from_xtext};

/// The sender's options for one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// RET: what a failure notice returns.
    pub ret: Option<Return>,
    /// ENVID: the sender's name for the transaction.
    pub envid: Option<String>,
    /// Whether the body can have octets above 127.
    pub is_8bit: bool,
    /// Whether addresses and header can be outside of ASCII.
    pub smtputf8: bool,
    /// `NOTIFY` and `ORCPT`.
    pub rcpt: RcptParameters,
    /// The address here that sends the message on, if it was not sent to the recipient.
    pub forwarded_by: Option<Mailbox>,
    /// Further addresses by which the message reached the recipient, for traces. Very long lists are truncated.
    pub also_for: Vec<Mailbox>,
    /// Whether the office itself sends the message, so that it is signed: its submitter may relay. Mail from outside
    /// that an alias or a rule forwards is not.
    pub is_ours: bool,
}

/// Before the address that sends a message on.
const FORWARDED_BY: &str = "FORWARDED-BY=";

/// The prefix of a further address by which the message came.
const ALSO_FOR: &str = "ALSO-FOR=";

/// The stored form of [`Options::is_ours`], which is no SMTP parameter.
const OURS: &str = "OURS";

impl Options {
    /// The options of MAIL and RCPT.
    pub fn new(mail: &MailParameters, rcpt: &RcptParameters) -> Self {
        Self {
            ret: mail.ret,
            envid: mail.envid.clone(),
            is_8bit: mail.is_8bit,
            smtputf8: mail.smtputf8,
            rcpt: rcpt.clone(),
            forwarded_by: None,
            also_for: Vec::new(),
            is_ours: false,
        }
    }

    /// The original recipient: as the sender gave it, or, for a forwarded message, the address that it was sent to.
    /// (RFC 3461, section 5.2.7)
    pub fn original(&self) -> Option<OriginalRecipient> {
        let by = || {
            let by = self.forwarded_by.as_ref()?;
            let address_type = if by.is_ascii() { "rfc822" } else { "utf-8" };
            Some(OriginalRecipient { address_type: address_type.to_owned(), address: by.to_string() })
        };
        self.rcpt.orcpt.clone().or_else(by)
    }

    /// The stored form.
    pub fn to_text(&self) -> String {
        let mut text = mail_options(self.ret, self.envid.as_deref()) + &rcpt_options(&self.rcpt);
        if self.is_8bit {
            text += " BODY=8BITMIME";
        }
        if self.smtputf8 {
            text += " SMTPUTF8";
        }
        if let Some(by) = &self.forwarded_by {
            text += &format!(" {FORWARDED_BY}{}", to_xtext(&by.to_string()));
        }
        for address in &self.also_for {
            text += &format!(" {ALSO_FOR}{}", to_xtext(&address.to_string()));
        }
        if self.is_ours {
            text = format!("{text} {OURS}");
        }
        text.trim_start().to_owned()
    }

    /// Parses the stored form. Invalid options are ignored.
    pub fn parse(text: &str) -> Self {
        let address = |word: &str| Mailbox::parse(&from_xtext(word)?).ok();
        let (mut by, mut also_for, mut is_ours) = (None, Vec::new(), false);
        let (mut rcpt, mut mail) = (Vec::new(), Vec::new());
        for word in text.split(' ') {
            if word == OURS {
                is_ours = true;
            } else if let Some(of) = word.strip_prefix(FORWARDED_BY) {
                by = by.or(Some(of));
            } else if let Some(of) = word.strip_prefix(ALSO_FOR) {
                also_for.extend(address(of));
            } else if word.starts_with("NOTIFY=") || word.starts_with("ORCPT=") {
                rcpt.push(word);
            } else {
                mail.push(word);
            }
        }
        let forwarded_by = by.and_then(address);
        let mail = MailParameters::parse(&format!(" {}", mail.join(" "))).unwrap_or_default();
        // Each is parsed by itself: if an ORCPT is too long, NOTIFY is still valid.
        let mut all = RcptParameters::default();
        for word in rcpt {
            let RcptParameters { notify, orcpt } =
                RcptParameters::parse(&format!(" {word}")).unwrap_or_default();
            all.notify = all.notify.or(notify);
            all.orcpt = all.orcpt.or(orcpt);
        }
        Self { forwarded_by, also_for, is_ours, ..Self::new(&mail, &all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::smtp::Notify;

    #[test]
    fn what_is_kept_is_read() {
        let notify = Some(Notify { success: true, failure: false, delay: true });
        let never = Some(Notify { success: false, failure: false, delay: false });
        let orcpt = |kind: &str, address: &str| {
            Some(OriginalRecipient { address_type: kind.to_owned(), address: address.to_owned() })
        };
        for options in [
            Options::default(),
            Options { is_ours: true, ..Options::default() },
            Options { ret: Some(Return::Headers), envid: Some("a+b=c d".to_owned()), ..Options::default() },
            Options {
                is_8bit: true,
                smtputf8: true,
                is_ours: true,
                ret: Some(Return::Full),
                rcpt: RcptParameters { notify, orcpt: orcpt("rfc822", "a b+c@x.example") },
                ..Options::default()
            },
            Options {
                forwarded_by: Mailbox::parse("\"a+b c\"@bücher.example").ok(),
                smtputf8: true,
                ..Options::default()
            },
            Options {
                also_for: ["all@x.example", "b\u{fc}ro@x.example"]
                    .map(|of| Mailbox::parse(of).unwrap())
                    .to_vec(),
                ..Options::default()
            },
            Options {
                rcpt: RcptParameters { notify: never, orcpt: orcpt("utf-8", "jürgen@x.example") },
                ..Options::default()
            },
        ] {
            assert_eq!(Options::parse(&options.to_text()), options, "{}", options.to_text());
        }
        // The stored form of a long one exceeds what can be parsed.
        let long = RcptParameters { notify: never, orcpt: orcpt("utf-8", &"中".repeat(100)) };
        let read = Options::parse(&Options { rcpt: long, ..Options::default() }.to_text());
        assert_eq!(read.rcpt, RcptParameters { notify: never, orcpt: None });
        assert_eq!(Options::parse("NOTIFY=SOMETIMES RET=HDRS").ret, Some(Return::Headers));
        assert_eq!(Options::parse("nonsense"), Options::default());
    }
}
