//! The server's replies. (RFC 5321, section 4.2; RFC 2034 and RFC 3463 for the enhanced codes)

use std::borrow::Cow;
use std::fmt;

/// The longest external text in a reply, in octets: a line has 512. (RFC 5321, section 4.5.3.1.5)
const TEXT_OCTETS_MAX: usize = 400;

/// One reply of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The reply code.
    pub code: u16,
    /// The enhanced status code, such as `5.7.1`; empty where RFC 2034, section 3, excludes one.
    pub enhanced: &'static str,
    /// The text for people.
    pub text: Cow<'static, str>,
}

const fn reply(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
    Reply { code, enhanced, text: Cow::Borrowed(text) }
}

pub(super) const OK: Reply = reply(250, "2.0.0", "OK");
pub(super) const SENDER_OK: Reply = reply(250, "2.1.0", "sender OK");
pub(super) const RECIPIENT_OK: Reply = reply(250, "2.1.5", "recipient OK");
pub(super) const READY_FOR_DATA: Reply = reply(354, "", "end the message with a line that is one dot");
pub(super) const READY_FOR_TLS: Reply = reply(220, "2.0.0", "begin TLS");
pub(super) const LOGGED_IN: Reply = reply(235, "2.7.0", "logged in");
pub(super) const CANNOT_VERIFY: Reply = reply(252, "2.0.0", "send the message, and it will be seen");
pub(super) const HELP: Reply = reply(214, "2.0.0", "see RFC 5321");
pub(super) const BYE: Reply = reply(221, "2.0.0", "closing");

// Those that end the session.
pub(super) const TIMED_OUT: Reply = reply(421, "4.4.2", "nothing came for too long; closing");
pub(super) const SHUTTING_DOWN: Reply = reply(421, "4.3.2", "the server stops; try again later");
pub(super) const TOO_MANY_ERRORS: Reply = reply(421, "4.7.0", "too many errors; closing");
pub(super) const TOO_MANY_IDLE_COMMANDS: Reply =
    reply(421, "4.7.0", "too many commands without a message; closing");
pub(super) const NOT_SMTP: Reply = reply(421, "4.7.0", "this is no SMTP; closing");
pub(super) const BARE_LF: Reply = reply(421, "4.5.2", "lines end with CR and LF; closing");
pub(super) const BARE_LF_LAN: Reply = reply(500, "5.5.2", "lines end with CR and LF; closing");
pub(super) const ENDLESS: Reply = reply(421, "4.5.2", "there is no end of it; closing");
pub(super) const BDAT_WITHOUT_SIZE: Reply =
    reply(421, "4.5.4", "BDAT needs a number of octets; what follows cannot be read; closing");

// Errors of a command.
pub(super) const UNKNOWN_COMMAND: Reply = reply(500, "5.5.1", "no such command");
pub(super) const NO_COMMAND: Reply = reply(500, "5.5.2", "a command is printable text in UTF-8");
pub(super) const LINE_TOO_LONG: Reply = reply(500, "5.5.2", "the line is too long");
pub(super) const LOGIN_LINE_TOO_LONG: Reply = reply(500, "5.5.6", "the line is too long");
pub(super) const NO_ARGUMENT_ALLOWED: Reply = reply(501, "5.5.4", "the command takes no argument");
pub(super) const ARGUMENT_NEEDED: Reply = reply(501, "5.5.4", "the command needs an argument");
pub(super) const BAD_NAME: Reply = reply(501, "5.5.4", "the argument is a domain or an address literal");
pub(super) const BAD_ARGUMENT: Reply = reply(501, "5.5.4", "the argument cannot be read");
pub(super) const BAD_PARAMETER: Reply = reply(501, "5.5.4", "a parameter cannot be read");
pub(super) const UNKNOWN_PARAMETER: Reply = reply(555, "5.5.4", "no such parameter");
pub(super) const NOT_IMPLEMENTED: Reply = reply(502, "5.5.1", "not available here");
pub(super) const BAD_SENDER: Reply = reply(501, "5.1.7", "the sender is no mail address");
pub(super) const BAD_RECIPIENT: Reply = reply(501, "5.1.3", "the recipient is no mail address");
pub(super) const SENDER_WITHOUT_DOMAIN: Reply = reply(553, "5.1.7", "the sender's address needs a domain");
pub(super) const RECIPIENT_WITHOUT_DOMAIN: Reply =
    reply(553, "5.1.3", "the recipient's address needs a domain");
pub(super) const NEEDS_SMTPUTF8: Reply = reply(553, "5.6.7", "an address outside of ASCII needs SMTPUTF8");

// Commands before their time.
pub(super) const SAY_HELLO_FIRST: Reply = reply(503, "5.5.1", "say EHLO first");
pub(super) const SAY_LHLO_FIRST: Reply = reply(503, "5.5.1", "say LHLO first");
pub(super) const HELLO_OF_OTHERS: Reply = reply(500, "5.5.1", "another greeting belongs to this protocol");
pub(super) const TRANSACTION_OPEN: Reply = reply(503, "5.5.1", "not within a message");
pub(super) const NO_SENDER: Reply = reply(503, "5.5.1", "say MAIL first");
pub(super) const NO_RECIPIENT: Reply = reply(554, "5.5.1", "no recipient was accepted");
/// As [`NO_RECIPIENT`]. (RFC 2033, section 4.2)
pub(super) const NO_RECIPIENT_LMTP: Reply = reply(503, "5.5.1", "no recipient was accepted");
pub(super) const BDAT_BEGUN: Reply = reply(503, "5.5.1", "the message comes by BDAT");
pub(super) const TLS_ACTIVE: Reply = reply(503, "5.5.1", "TLS is active");
pub(super) const TLS_FIRST: Reply = reply(530, "5.7.0", "say STARTTLS first");

// Logins.
pub(super) const LOGIN_FIRST: Reply = reply(530, "5.7.0", "log in first");
pub(super) const LOGIN_TWICE: Reply = reply(503, "5.5.1", "logged in already");
pub(super) const LOGIN_NEEDS_TLS: Reply = reply(538, "5.7.11", "log in under TLS only");
pub(super) const UNKNOWN_MECHANISM: Reply = reply(504, "5.5.4", "no such mechanism");
pub(super) const LOGIN_CANCELLED: Reply = reply(501, "5.7.0", "login cancelled");
pub(super) const BAD_BASE64: Reply = reply(501, "5.5.2", "this is no base64");
pub(super) const BAD_LOGIN_MESSAGE: Reply = reply(501, "5.5.2", "this is no message of the mechanism");
pub(super) const LOGIN_REFUSED: Reply = reply(535, "5.7.8", "user or password are wrong");
pub(super) const LOGIN_UNAVAILABLE: Reply = reply(454, "4.7.0", "logins cannot be checked now");

// Errors of a message.
pub(super) const TOO_BIG: Reply = reply(552, "5.3.4", "the message is too big");
pub(super) const TOO_MANY_RECIPIENTS: Reply =
    reply(452, "4.5.3", "too many recipients; send the rest in a further message");
pub(super) const BAD_LINE_ENDS: Reply =
    reply(550, "5.6.0", "the message has a CR or an LF that is no line's end, or a NUL");
pub(super) const TOO_MANY_HOPS: Reply = reply(554, "5.4.6", "the message goes round in a loop");

impl Reply {
    fn new(code: u16, enhanced: &'static str, text: String) -> Self {
        Self { code, enhanced, text: Cow::Owned(text) }
    }

    /// The message is stored, with its identifier.
    pub(super) fn taken(id: &str) -> Self {
        Self::new(250, "2.6.0", format!("taken as {}", printable(id)))
    }

    /// A chunk was accepted, with the octets of the message so far.
    pub(super) fn chunk_taken(octets: u64) -> Self {
        Self::new(250, "2.0.0", format!("{octets} octets so far"))
    }

    /// Whether it is a temporary rejection.
    pub(super) const fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// Whether it is a permanent rejection.
    pub(super) const fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Its octets.
    pub(super) fn to_octets(&self) -> Vec<u8> {
        let Self { code, enhanced, text } = self;
        let space = if enhanced.is_empty() { "" } else { " " };
        format!("{code} {enhanced}{space}{text}\r\n").into_bytes()
    }
}

/// The octets of a reply of several lines, without enhanced codes. (RFC 5321, section 4.2.1)
pub(super) fn lines(code: u16, lines: &[String]) -> Vec<u8> {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let separator = if at + 1 == lines.len() { ' ' } else { '-' };
        text += &format!("{code}{separator}{line}\r\n");
    }
    text.into_bytes()
}

/// Why a sender, recipient or message is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such mailbox at a local domain.
    NoSuchMailbox,
    /// The address is of a rejected kind, such as one with a route.
    BadRecipient,
    /// The recipient's domain accepts no mail (null MX). (RFC 7505, section 4.1)
    DomainTakesNoMail,
    /// The sender's domain accepts no mail, so that it cannot be notified. (RFC 7505, section 4.2)
    SenderTakesNoMail,
    /// The client may not send to other domains.
    RelayDenied,
    /// The authenticated user may not send with this address.
    SenderDenied,
    /// The recipient's mailbox has no room now.
    MailboxFull,
    /// The recipient's mailbox has no room for this message.
    OverQuota,
    /// The server has no room now.
    NoRoom,
    /// The message is longer than the limit.
    TooBig,
    /// The message was here before, and would go round.
    Loop,
    /// The client sends too much in too short a time.
    TooFast,
    /// Something did not work that may work later.
    TryLater,
    /// A local policy rejects it, temporarily or permanently, with a text for the sender.
    Policy {
        /// Whether a later try can succeed.
        is_temporary: bool,
        /// The reason.
        text: String,
    },
}

impl From<&Rejection> for Reply {
    fn from(refusal: &Rejection) -> Self {
        match refusal {
            Rejection::NoSuchMailbox => reply(550, "5.1.1", "no such mailbox here"),
            Rejection::BadRecipient => reply(553, "5.1.3", "no such address is taken here"),
            Rejection::DomainTakesNoMail => reply(556, "5.1.10", "the recipient's domain takes no mail"),
            Rejection::SenderTakesNoMail => reply(550, "5.7.27", "the sender's domain takes no mail"),
            Rejection::RelayDenied => reply(550, "5.7.1", "no mail for that domain is taken from you"),
            Rejection::SenderDenied => reply(550, "5.7.1", "the sender's address is not yours"),
            Rejection::MailboxFull => reply(452, "4.2.2", "the mailbox is full"),
            Rejection::OverQuota => reply(552, "5.2.2", "the mailbox is full"),
            Rejection::NoRoom => reply(452, "4.3.1", "the server has no room now"),
            Rejection::TooBig => TOO_BIG,
            Rejection::Loop => TOO_MANY_HOPS,
            Rejection::TooFast => reply(450, "4.7.1", "too much in too short a time"),
            Rejection::TryLater => reply(451, "4.3.0", "try again later"),
            Rejection::Policy { is_temporary: true, text } => Self::new(451, "4.7.1", printable(text)),
            Rejection::Policy { is_temporary: false, text } => Self::new(550, "5.7.1", printable(text)),
        }
    }
}

/// The text for the client.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reply { code, enhanced, text } = Reply::from(self);
        write!(f, "{code} {enhanced} {text}")
    }
}

/// `text` in printable ASCII, cut to [`TEXT_OCTETS_MAX`].
pub(super) fn printable(text: &str) -> String {
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    text.chars().take(TEXT_OCTETS_MAX).map(|c| if is_printable(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5321, section 4.2.1: All lines but the last have a hyphen.
    #[test]
    fn rfc5321_4_2_1_all_lines_but_the_last_have_a_hyphen() {
        let octets = lines(250, &["a".to_owned(), "B C".to_owned()]);
        assert_eq!(octets, b"250-a\r\n250 B C\r\n");
        assert_eq!(OK.to_octets(), b"250 2.0.0 OK\r\n");
        assert_eq!(READY_FOR_DATA.to_octets(), b"354 end the message with a line that is one dot\r\n");
    }

    /// RFC 2034, section 4: The class of the enhanced code is that of the code.
    #[test]
    fn rfc2034_4_the_class_of_the_enhanced_code_is_that_of_the_code() {
        let policy = |is_temporary| Rejection::Policy { is_temporary, text: "no".to_owned() };
        for refusal in [
            Rejection::NoSuchMailbox,
            Rejection::BadRecipient,
            Rejection::DomainTakesNoMail,
            Rejection::SenderTakesNoMail,
            Rejection::RelayDenied,
            Rejection::SenderDenied,
            Rejection::MailboxFull,
            Rejection::OverQuota,
            Rejection::NoRoom,
            Rejection::TooBig,
            Rejection::Loop,
            Rejection::TooFast,
            Rejection::TryLater,
            policy(true),
            policy(false),
        ] {
            let reply = Reply::from(&refusal);
            assert_eq!(reply.code.to_string()[..1], reply.enhanced[..1], "{reply:?}");
            assert!(reply.to_octets().len() <= 512);
        }
    }

    #[test]
    fn a_text_of_others_stays_in_its_line() {
        let refusal = Rejection::Policy { is_temporary: false, text: "spam\r\n250 OK é".to_owned() };
        assert_eq!(Reply::from(&refusal).to_octets(), b"550 5.7.1 spam??250 OK ?\r\n");
        let long = Rejection::Policy { is_temporary: true, text: "x".repeat(10_000) };
        assert!(Reply::from(&long).to_octets().len() <= 512);
    }
}
