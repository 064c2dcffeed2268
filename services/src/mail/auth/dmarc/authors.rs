//! The domains in From. (RFC 5322, section 3.6.2; RFC 9989, section 5.3.1)
//!
//! Mail programs differ in their interpretation of an unusual From, and a forger knows the reader's program. So this
//! module does not look for the one right meaning: each domain that a program could display as the author's is checked.
//! If that is not enough, From is unclear, and the message cannot pass.
//!
//! | in From | the result |
//! | --- | --- |
//! | `@` and a domain, outside of quotes and comments: addresses, members of groups, a name that is an address | the domain is checked |
//! | `<a@b.example>` in quotes, in a comment, or in encoded words | the domain is checked |
//! | an address without brackets in quotes or in a comment, as lists name their senders | nothing |
//! | letters outside of ASCII | the domain is that of the A-labels |
//! | no field or several, no address, more than [`AUTHOR_DOMAINS_MAX`] domains | unclear |
//! | quotes, comments or brackets without an end, or within brackets; text behind them | unclear |
//! | a control character; `\` outside of quotes; white space or a comment in an address | unclear |
//! | a source route, an address literal, a local part with `@` or an encoded word in it | unclear |
//! | a header that was truncated, so that another From may follow | unclear |

use super::super::dkim::Header;
use super::super::known::normal;
use super::{AUTHOR_DOMAINS_MAX, DmarcResult, Outcome, Policy};
use crate::mail::address::Domain;
use crate::mail::rules::decoded;

/// The claimed authors of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authors {
    domains: Vec<String>,
    is_clear: bool,
}

impl Authors {
    /// Those of the message with this header.
    pub fn of(header: &Header) -> Self {
        let from = header.fields().filter(|field| field.is("From")).map(|field| field.value);
        let authors = Self::of_fields(from);
        Self { is_clear: authors.is_clear && !header.is_cut(), ..authors }
    }

    /// Those in the fields From that have these values.
    pub(super) fn of_fields<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut authors = Self { domains: Vec::new(), is_clear: true };
        let mut fields = 0_usize;
        for value in values {
            fields += 1;
            authors.read(&unfolded(value));
        }
        // RFC 5322, section 3.6
        authors.is_clear &= fields == 1 && !authors.domains.is_empty();
        authors
    }

    /// Their domains as the DNS has them, [`AUTHOR_DOMAINS_MAX`] at most.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Whether no program can show another author than these.
    pub fn is_clear(&self) -> bool {
        self.is_clear
    }

    /// The outcome of the message, given `outcomes` of its domains: the worst.
    pub fn outcome(&self, outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
        let unclear =
            || Outcome { result: DmarcResult::PermError, policy: Policy::None, domain: String::new() };
        outcomes.into_iter().chain((!self.is_clear).then(unclear)).max().unwrap_or_else(unclear)
    }

    fn read(&mut self, value: &str) {
        let (tokens, is_whole) = tokens(value);
        self.is_clear &= is_whole && has_brackets_in_order(&tokens);
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::At => self.read_address(&tokens[..at], &tokens[at + 1..]),
                Token::Quoted(text) | Token::Comment(text) => self.look_into(text),
                _ => {}
            }
        }
        if value.contains("=?") {
            self.look_into(&decoded(value));
        }
    }

    /// The address around an `@`.
    fn read_address(&mut self, before: &[Token], behind: &[Token]) {
        let is_local = match before {
            [.., Token::At, Token::Word(_) | Token::Quoted(_)] => false,
            [.., Token::Word(local)] => !local.contains("=?"),
            [.., Token::Quoted(local)] => !local.contains('@'),
            _ => false,
        };
        let is_gap = |token: &&Token| matches!(token, Token::Space | Token::Comment(_));
        let gap = behind.iter().take_while(is_gap).count();
        let (domain, after) = match &behind[gap..] {
            [Token::Word(domain), after @ ..] => (domain.as_str(), after),
            _ => return self.is_clear = false,
        };
        let is_end = match after.iter().find(|token| !is_gap(token)) {
            None | Some(Token::Open | Token::Close | Token::Comma) => true,
            // RFC 5322, section 4.4: an obsolete domain may continue after white space.
            Some(Token::Word(next)) => !next.starts_with('.'),
            Some(_) => false,
        };
        let is_added = self.add(domain);
        self.is_clear &= is_local && gap == 0 && is_end && is_added && !domain.ends_with('.');
    }

    /// Adds the domains of bracketed addresses in a text that is not an address list.
    fn look_into(&mut self, text: &str) {
        for inner in text.split('<').skip(1) {
            let inner = inner.split('>').next().unwrap_or_default();
            if let Some((_, domain)) = inner.rsplit_once('@') {
                // An invalid domain is no address to any program.
                _ = self.add(domain.trim());
            }
        }
    }

    /// Adds a domain. Whether it is one, and there is room for it.
    fn add(&mut self, domain: &str) -> bool {
        let Ok(Domain::Name(name)) = Domain::parse(domain) else { return false };
        let Some(domain) = normal(&name) else { return false };
        if self.domains.contains(&domain) {
            return true;
        }
        if self.domains.len() == AUTHOR_DOMAINS_MAX {
            self.is_clear = false;
            return false;
        }
        self.domains.push(domain);
        true
    }
}

/// A field's value in one line. (RFC 5322, section 2.2.3)
fn unfolded(value: &[u8]) -> String {
    String::from_utf8_lossy(value).replace("\r\n ", " ").replace("\r\n\t", "\t")
}

/// A part of a list of addresses. (RFC 5322, section 3.2)
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// An atom, or several with dots between them.
    Word(String),
    Quoted(String),
    Comment(String),
    Space,
    At,
    /// `<`
    Open,
    /// `>`
    Close,
    /// `,`, or `;`, which ends a group.
    Comma,
    /// Any other character that ends a word.
    Other,
}

/// The tokens of a value, and whether each can be only one.
fn tokens(value: &str) -> (Vec<Token>, bool) {
    let (mut tokens, mut is_whole) = (Vec::new(), !value.chars().any(|c| c.is_control() && c != '\t'));
    // Whether one was unterminated: then later ones are, too.
    let mut is_endless = false;
    let (mut rest, mut word) = (value.chars(), String::new());
    while let Some(c) = rest.next() {
        let token = match c {
            '"' | '(' if !is_endless => match enclosed(&mut rest, c == '(') {
                Some(text) if c == '(' => Token::Comment(text),
                Some(text) => Token::Quoted(text),
                None => {
                    is_endless = true;
                    Token::Other
                }
            },
            ' ' | '\t' => Token::Space,
            '@' => Token::At,
            '<' => Token::Open,
            '>' => Token::Close,
            ',' | ';' => Token::Comma,
            ':' | '[' | ']' | '"' | '(' => Token::Other,
            ')' | '\\' => {
                is_whole = false;
                Token::Other
            }
            c if c.is_control() => Token::Other,
            c => {
                word.push(c);
                continue;
            }
        };
        if !word.is_empty() {
            tokens.push(Token::Word(std::mem::take(&mut word)));
        }
        tokens.push(token);
    }
    if !word.is_empty() {
        tokens.push(Token::Word(word));
    }
    (tokens, is_whole && !is_endless)
}

/// The text up to the end of a quoted string, or of a comment, which can be nested. If it is unterminated, nothing of
/// `rest` is consumed, so that its content is checked.
fn enclosed(rest: &mut std::str::Chars<'_>, is_comment: bool) -> Option<String> {
    let (mut ahead, mut text, mut depth) = (rest.clone(), String::new(), 1_usize);
    while let Some(c) = ahead.next() {
        match c {
            '\\' => text.push(ahead.next()?),
            '(' if is_comment => depth += 1,
            ')' if is_comment => depth -= 1,
            '"' if !is_comment => depth = 0,
            c => text.push(c),
        }
        if depth == 0 {
            *rest = ahead;
            return Some(text);
        }
    }
    None
}

/// Whether bracketed addresses follow one another, with nothing between one and the next comma.
fn has_brackets_in_order(tokens: &[Token]) -> bool {
    let mut place = Place::Name;
    for token in tokens {
        place = match (place, token) {
            (place, Token::Space)
            | (place @ (Place::Name | Place::Behind), Token::Comment(_))
            | (place @ Place::Bracket { .. }, Token::Word(_) | Token::Quoted(_)) => place,
            (Place::Name | Place::Behind, Token::Comma) => Place::Name,
            (Place::Name, Token::Open) => Place::Bracket { has_address: false },
            (Place::Name, Token::Close) | (Place::Behind, _) => return false,
            (Place::Name, _) => Place::Name,
            (Place::Bracket { .. }, Token::At) => Place::Bracket { has_address: true },
            (Place::Bracket { has_address: true }, Token::Close) => Place::Behind,
            (Place::Bracket { .. }, _) => return false,
        };
    }
    !matches!(place, Place::Bracket { .. })
}

/// The position of a token within a list entry.
#[derive(Clone, Copy)]
enum Place {
    /// Before a bracket, if there is one.
    Name,
    Bracket {
        has_address: bool,
    },
    Behind,
}
