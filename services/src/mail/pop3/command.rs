//! The commands of a client. (RFC 1939, sections 5 to 7; RFC 2449; RFC 2595; RFC 5034)

/// The longest command line except AUTH, in octets without its CRLF. RFC 2449, section 4, specifies 255 with CRLF; a
/// password may be longer.
pub(super) const COMMAND_OCTETS_MAX: usize = 512;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    User(&'a str),
    Pass(&'a str),
    Auth {
        mechanism: &'a str,
        initial: Option<&'a str>,
    },
    Stls,
    Capa,
    Quit,
    Stat,
    /// The sizes of all messages, or of one.
    List(Option<usize>),
    /// The names of all messages, or of one.
    Uidl(Option<usize>),
    Retr(usize),
    Dele(usize),
    Top {
        number: usize,
        lines: u64,
    },
    Noop,
    Rset,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The command is unknown.
    Command,
    /// The command's argument is invalid.
    Argument,
}

impl<'a> Command<'a> {
    /// Reads a line without its CRLF. Message numbers count from 1, as they are written.
    pub fn parse(line: &'a str) -> Result<Self, Unknown> {
        let (word, argument) = line.split_once(' ').map_or((line, None), |(word, rest)| (word, Some(rest)));
        let word = word.to_ascii_uppercase();
        match word.as_str() {
            // Blanks belong to a password. // RFC 1939, section 7
            "PASS" => argument.map(Self::Pass).ok_or(Unknown::Argument),
            "USER" => argument
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(Self::User)
                .ok_or(Unknown::Argument),
            _ => Self::parse_words(&word, argument.unwrap_or_default()),
        }
    }

    fn parse_words(word: &str, arguments: &'a str) -> Result<Self, Unknown> {
        let mut words = arguments.split(' ').filter(|argument| !argument.is_empty());
        let (first, second) = (words.next(), words.next());
        if words.next().is_some() {
            return Err(Unknown::Argument);
        }
        let one = |first: Option<&str>| first.and_then(number).ok_or(Unknown::Argument);
        let one_or_all =
            |first: Option<&str>| first.map(|text| number(text).ok_or(Unknown::Argument)).transpose();
        let command = match word {
            "AUTH" => {
                let mechanism = first.ok_or(Unknown::Argument)?;
                return Ok(Self::Auth { mechanism, initial: second });
            }
            "TOP" => {
                let lines = second.and_then(number).ok_or(Unknown::Argument)?;
                return Ok(Self::Top { number: one(first)?, lines: lines as u64 });
            }
            "LIST" => Self::List(one_or_all(first)?),
            "UIDL" => Self::Uidl(one_or_all(first)?),
            "RETR" => Self::Retr(one(first)?),
            "DELE" => Self::Dele(one(first)?),
            "STLS" => Self::Stls,
            "CAPA" => Self::Capa,
            "QUIT" => Self::Quit,
            "STAT" => Self::Stat,
            "NOOP" => Self::Noop,
            "RSET" => Self::Rset,
            _ => return Err(Unknown::Command),
        };
        let takes_one = matches!(command, Self::List(_) | Self::Uidl(_) | Self::Retr(_) | Self::Dele(_));
        let is_too_much = second.is_some() || first.is_some() && !takes_one;
        if is_too_much { Err(Unknown::Argument) } else { Ok(command) }
    }
}

/// Digits alone; a number that is too large is that of no message.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1939, section 3: Keywords have any case, and arguments follow behind a space.
    #[test]
    fn rfc1939_3_keywords_have_any_case_and_arguments_follow_a_space() {
        for (line, expected) in [
            ("stat", Ok(Command::Stat)),
            ("LIST", Ok(Command::List(None))),
            ("List 2", Ok(Command::List(Some(2)))),
            ("UIDL  2 ", Ok(Command::Uidl(Some(2)))),
            ("TOP 1 0", Ok(Command::Top { number: 1, lines: 0 })),
            ("RETR 99999999999999999999999", Ok(Command::Retr(usize::MAX))),
            ("USER anna@office.example", Ok(Command::User("anna@office.example"))),
            ("PASS  two  words ", Ok(Command::Pass(" two  words "))),
            ("PASS ", Ok(Command::Pass(""))),
            ("AUTH PLAIN =", Ok(Command::Auth { mechanism: "PLAIN", initial: Some("=") })),
            ("", Err(Unknown::Command)),
            ("XTND x", Err(Unknown::Command)),
            ("APOP anna c4c9334bac560ecc979e58001b3e22fb", Err(Unknown::Command)),
            ("USER", Err(Unknown::Argument)),
            ("USER  ", Err(Unknown::Argument)),
            ("PASS", Err(Unknown::Argument)),
            ("AUTH", Err(Unknown::Argument)),
            ("AUTH PLAIN a b", Err(Unknown::Argument)),
            ("RETR", Err(Unknown::Argument)),
            ("RETR -1", Err(Unknown::Argument)),
            ("RETR +1", Err(Unknown::Argument)),
            ("DELE 1 2", Err(Unknown::Argument)),
            ("TOP 1", Err(Unknown::Argument)),
            ("TOP 1 -1", Err(Unknown::Argument)),
            ("STAT 1", Err(Unknown::Argument)),
        ] {
            assert_eq!(Command::parse(line), expected, "{line:?}");
        }
    }
}
