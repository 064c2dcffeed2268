//! Command lines. (RFC 5321, section 4.1)

use super::parameters::{MailParameters, RcptParameters};
use super::reply::{
    ARGUMENT_NEEDED, BAD_ARGUMENT, BAD_RECIPIENT, BAD_SENDER, BDAT_WITHOUT_SIZE, NEEDS_SMTPUTF8,
    NO_ARGUMENT_ALLOWED, NO_COMMAND, RECIPIENT_WITHOUT_DOMAIN, Reply, SENDER_WITHOUT_DOMAIN, UNKNOWN_COMMAND,
};
use crate::mail::address::{AddressError, Domain, ForwardPath, ReversePath, Unbracketed};

/// By which command a client introduced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// SMTP with extensions.
    Ehlo,
    /// SMTP as it was first.
    Helo,
    /// LMTP. (RFC 2033)
    Lhlo,
}

/// The commands of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// Its argument is parsed later, by the policy for the client.
    Hello(Hello, &'a str),
    Mail(ReversePath, MailParameters),
    Rcpt(ForwardPath, RcptParameters),
    Data,
    Bdat {
        size: u64,
        is_last: bool,
    },
    /// An invalid BDAT, whose octets follow all the same.
    BadBdat {
        size: u64,
    },
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    StartTls,
    Auth {
        mechanism: &'a str,
        initial: Option<&'a str>,
    },
    /// The beginning of another protocol, of which a browser's form could make use.
    NotSmtp,
}

/// How addresses may be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spelling<'a> {
    /// The domain of addresses without one; `None` if they must have one.
    pub domain: Option<&'a Domain>,
    pub unbracketed: Unbracketed,
    /// Whether non-ASCII addresses are accepted: MAIL had SMTPUTF8. MAIL sets it itself.
    pub smtputf8: bool,
}

impl<'a> Command<'a> {
    /// Parses a line of UTF-8 without control characters.
    pub fn parse(line: &'a str, spelling: Spelling<'_>) -> Result<Self, Reply> {
        if line.chars().any(char::is_control) {
            return Err(NO_COMMAND);
        }
        // RFC 5321, section 4.1.1: white space before the end is overlooked.
        let line = line.trim_end_matches(' ');
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let argument = argument.trim_start_matches(' ');
        let alone = |command| if argument.is_empty() { Ok(command) } else { Err(NO_ARGUMENT_ALLOWED) };
        let with_argument = |command| if argument.is_empty() { Err(ARGUMENT_NEEDED) } else { Ok(command) };
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => with_argument(Self::Hello(Hello::Ehlo, argument)),
            "HELO" => with_argument(Self::Hello(Hello::Helo, argument)),
            "LHLO" => with_argument(Self::Hello(Hello::Lhlo, argument)),
            "MAIL" => mail(argument, spelling),
            "RCPT" => rcpt(argument, spelling),
            "DATA" => alone(Self::Data),
            "BDAT" => bdat(argument),
            "RSET" => alone(Self::Rset),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => with_argument(Self::Vrfy),
            "EXPN" => with_argument(Self::Expn),
            "HELP" => Ok(Self::Help),
            "QUIT" => alone(Self::Quit),
            "STARTTLS" => alone(Self::StartTls),
            "AUTH" => auth(argument),
            "GET" | "POST" | "PUT" | "HEAD" | "CONNECT" | "OPTIONS" => Ok(Self::NotSmtp),
            _ => Err(UNKNOWN_COMMAND),
        }
    }
}

/// The text after `keyword:`, with tolerance for a space.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Result<&'a str, Reply> {
    let (word, rest) = argument.split_once(':').ok_or(BAD_ARGUMENT)?;
    if word.trim_end_matches(' ').eq_ignore_ascii_case(keyword) {
        Ok(rest.trim_start_matches(' '))
    } else {
        Err(BAD_ARGUMENT)
    }
}

fn mail<'a>(argument: &str, spelling: Spelling<'_>) -> Result<Command<'a>, Reply> {
    let text = after_keyword(argument, "FROM")?;
    let (path, rest) =
        ReversePath::parse(text, spelling.domain, spelling.unbracketed).map_err(|e| match e {
            AddressError::NoDomain => SENDER_WITHOUT_DOMAIN,
            _ => BAD_SENDER,
        })?;
    let parameters = MailParameters::parse(rest)?;
    let is_ascii = match &path {
        ReversePath::Null => true,
        ReversePath::Mailbox(mailbox) => mailbox.is_ascii(),
    };
    if !is_ascii && !parameters.smtputf8 {
        return Err(NEEDS_SMTPUTF8);
    }
    Ok(Command::Mail(path, parameters))
}

fn rcpt<'a>(argument: &str, spelling: Spelling<'_>) -> Result<Command<'a>, Reply> {
    let text = after_keyword(argument, "TO")?;
    let (path, rest) =
        ForwardPath::parse(text, spelling.domain, spelling.unbracketed).map_err(|e| match e {
            AddressError::NoDomain => RECIPIENT_WITHOUT_DOMAIN,
            _ => BAD_RECIPIENT,
        })?;
    let parameters = RcptParameters::parse(rest)?;
    if !path.is_ascii() && !spelling.smtputf8 {
        return Err(NEEDS_SMTPUTF8);
    }
    Ok(Command::Rcpt(path, parameters))
}

/// RFC 3030, section 2: the octets follow even if the command is invalid, so their number is parsed first.
fn bdat<'a>(argument: &str) -> Result<Command<'a>, Reply> {
    let (size, rest) = argument.split_once(' ').unwrap_or((argument, ""));
    let is_number = !size.is_empty() && size.bytes().all(|octet| octet.is_ascii_digit());
    let size = size.parse().ok().filter(|_| is_number).ok_or(BDAT_WITHOUT_SIZE)?;
    Ok(match rest.trim_start_matches(' ') {
        "" => Command::Bdat { size, is_last: false },
        last if last.eq_ignore_ascii_case("LAST") => Command::Bdat { size, is_last: true },
        _ => Command::BadBdat { size },
    })
}

/// RFC 4954, section 4.
fn auth(argument: &str) -> Result<Command<'_>, Reply> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(ARGUMENT_NEEDED)?;
    let initial = words.next();
    if words.next().is_some() { Err(BAD_ARGUMENT) } else { Ok(Command::Auth { mechanism, initial }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Spelling<'_> =
        Spelling { domain: None, unbracketed: Unbracketed::Refused, smtputf8: false };

    fn parse(line: &str) -> Result<Command<'_>, Reply> {
        Command::parse(line, STRICT)
    }

    /// RFC 5321, section 2.4: Verbs and keywords have any case.
    #[test]
    fn rfc5321_2_4_verbs_and_keywords_have_any_case() {
        assert_eq!(parse("ehlo  pc1 "), Ok(Command::Hello(Hello::Ehlo, "pc1")));
        assert_eq!(parse("Data"), Ok(Command::Data));
        assert!(matches!(parse("mail from:<> body=8bitmime"), Ok(Command::Mail(ReversePath::Null, _))));
        assert!(matches!(parse("Rcpt To: <a@b.example>"), Ok(Command::Rcpt(..))));
        assert!(matches!(parse("MAIL  FROM :<a@b.example>"), Ok(Command::Mail(..))));
    }

    /// RFC 5321, section 4.3.2: What cannot be read is refused by what is wrong.
    #[test]
    fn rfc5321_4_3_2_what_cannot_be_read_is_refused_by_what_is_wrong() {
        for (line, reply) in [
            ("", UNKNOWN_COMMAND),
            ("FOO", UNKNOWN_COMMAND),
            ("MAILFROM:<a@b.example>", UNKNOWN_COMMAND),
            ("NO\u{7}OP", NO_COMMAND),
            ("RSET\rRSET", NO_COMMAND),
            ("EHLO", ARGUMENT_NEEDED),
            ("VRFY", ARGUMENT_NEEDED),
            ("DATA now", NO_ARGUMENT_ALLOWED),
            ("QUIT x", NO_ARGUMENT_ALLOWED),
            ("STARTTLS x", NO_ARGUMENT_ALLOWED),
            ("MAIL", BAD_ARGUMENT),
            ("MAIL TO:<a@b.example>", BAD_ARGUMENT),
            ("MAIL FROM:", BAD_SENDER),
            ("MAIL FROM:<a@b", BAD_SENDER),
            ("MAIL FROM:a@b.example", BAD_SENDER),
            ("MAIL FROM:<a>", SENDER_WITHOUT_DOMAIN),
            ("RCPT TO:<>", BAD_RECIPIENT),
            ("RCPT TO:<a>", RECIPIENT_WITHOUT_DOMAIN),
            ("RCPT TO:<jürgen@b.example>", NEEDS_SMTPUTF8),
            ("MAIL FROM:<a@büro.example>", NEEDS_SMTPUTF8),
            ("AUTH", ARGUMENT_NEEDED),
            ("AUTH PLAIN a b", BAD_ARGUMENT),
        ] {
            assert_eq!(parse(line), Err(reply), "{line:?}");
        }
        assert!(parse("MAIL FROM:<a@büro.example> SMTPUTF8").is_ok());
        assert!(Command::parse("RCPT TO:<jürgen@b.example>", Spelling { smtputf8: true, ..STRICT }).is_ok());
    }

    /// RFC 3030, section 2: The number of octets is read even if the rest is invalid.
    #[test]
    fn rfc3030_2_the_number_of_octets_is_known_whatever_else_is_wrong() {
        assert_eq!(parse("BDAT 5"), Ok(Command::Bdat { size: 5, is_last: false }));
        assert_eq!(parse("bdat 0 last"), Ok(Command::Bdat { size: 0, is_last: true }));
        assert_eq!(parse("BDAT 5 X"), Ok(Command::BadBdat { size: 5 }));
        assert_eq!(parse("BDAT 5 LAST X"), Ok(Command::BadBdat { size: 5 }));
        for wrong in ["BDAT", "BDAT LAST", "BDAT -5", "BDAT +5", "BDAT 99999999999999999999"] {
            assert_eq!(parse(wrong), Err(BDAT_WITHOUT_SIZE), "{wrong}");
        }
    }

    #[test]
    fn another_protocol_is_noticed() {
        assert_eq!(parse("POST / HTTP/1.1"), Ok(Command::NotSmtp));
        assert_eq!(parse("CONNECT mail:25 HTTP/1.1"), Ok(Command::NotSmtp));
    }
}
