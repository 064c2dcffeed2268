//! Questions to the name service, and the answers a check has had.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::name::a_labels;
use crate::dns::resolver::{MailExchange, NoAnswer};
use crate::mail::address::{DOMAIN_OCTETS_MAX, LABEL_OCTETS_MAX};

/// The most records of an answer that are used.
pub const RECORDS_MAX: usize = 100;
/// The most octets of records in all answers of a check. A sender's name servers can fill each answer, and a check has
/// many questions.
pub const OCTETS_MAX: usize = 64 << 10;

/// A question. Names have no dot at their end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The TXT records of a name.
    Texts(String),
    /// The IPv4 addresses of a name.
    Ipv4(String),
    /// The IPv6 addresses of a name.
    Ipv6(String),
    /// The MX records of a name.
    MailExchanges(String),
    /// The names of an address, by its PTR records.
    Names(IpAddr),
}

/// Records that answer a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// To [`Question::Texts`]: of each record the octets of its strings one behind the other.
    Texts(Vec<Vec<u8>>),
    /// To [`Question::Ipv4`].
    Ipv4(Vec<Ipv4Addr>),
    /// To [`Question::Ipv6`].
    Ipv6(Vec<Ipv6Addr>),
    /// To [`Question::MailExchanges`].
    MailExchanges(Vec<MailExchange>),
    /// To [`Question::Names`].
    Names(Vec<String>),
}

/// An answer: records, or the reason why there are none.
pub type Answer = Result<Records, NoAnswer>;

/// The next step of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Look this up, and pass the answer to the check.
    Ask(Question),
    /// It has ended.
    Done(T),
}

/// A check that needs DNS.
pub trait Check {
    /// Its result.
    type Outcome;

    /// The first question that is open, or the outcome.
    fn step(&self) -> Step<Self::Outcome>;

    /// Adds the answer to a question.
    fn answer(&mut self, question: Question, answer: Answer);
}

/// The question that has to be answered before a check can continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open(pub Question);

impl Records {
    /// About how many octets they take.
    fn octets(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(Vec::len).sum(),
            Self::Ipv4(addresses) => size_of_val(&addresses[..]),
            Self::Ipv6(addresses) => size_of_val(&addresses[..]),
            Self::MailExchanges(hosts) => hosts.iter().map(|exchange| exchange.host.len()).sum(),
            Self::Names(names) => names.iter().map(String::len).sum(),
        }
    }
}

/// The answers a check has had.
#[derive(Clone, Debug, Default)]
pub struct Known {
    answers: BTreeMap<Question, Answer>,
    /// The octets of their records.
    octets: usize,
}

impl Known {
    /// Adds an answer with at most [`RECORDS_MAX`] records. Records of another type, and those beyond [`OCTETS_MAX`],
    /// are ignored.
    pub fn insert(&mut self, question: Question, mut answer: Answer) {
        match (&question, &mut answer) {
            (_, Err(_)) => {}
            (Question::Texts(_), Ok(Records::Texts(texts))) => texts.truncate(RECORDS_MAX),
            (Question::Ipv4(_), Ok(Records::Ipv4(addresses))) => addresses.truncate(RECORDS_MAX),
            (Question::Ipv6(_), Ok(Records::Ipv6(addresses))) => addresses.truncate(RECORDS_MAX),
            (Question::MailExchanges(_), Ok(Records::MailExchanges(hosts))) => hosts.truncate(RECORDS_MAX),
            (Question::Names(_), Ok(Records::Names(names))) => names.truncate(RECORDS_MAX),
            (_, Ok(_)) => answer = Err(NoAnswer::Unavailable),
        }
        let octets = answer.as_ref().map_or(0, Records::octets);
        if self.octets + octets > OCTETS_MAX {
            answer = Err(NoAnswer::Unavailable);
        } else {
            self.octets += octets;
        }
        self.answers.insert(question, answer);
    }

    fn records(&self, question: Question) -> Result<Result<&Records, NoAnswer>, Open> {
        match self.answers.get(&question) {
            Some(answer) => Ok(answer.as_ref().map_err(|no_answer| *no_answer)),
            None => Err(Open(question)),
        }
    }

    /// The TXT records of `name`. An invalid name does not exist.
    ///
    /// # Errors
    ///
    /// The answer is not known yet.
    pub fn texts(&self, name: &str) -> Result<Result<&[Vec<u8>], NoAnswer>, Open> {
        let Some(name) = normal(name) else { return Ok(Err(NoAnswer::NoName)) };
        Ok(match self.records(Question::Texts(name))? {
            Ok(Records::Texts(texts)) => Ok(texts),
            Ok(_) => Err(NoAnswer::Unavailable),
            Err(no_answer) => Err(no_answer),
        })
    }

    /// The addresses of `name` that are of the same family as `like`.
    ///
    /// # Errors
    ///
    /// The answer is not known yet.
    pub fn addresses(&self, name: &str, like: IpAddr) -> Result<Result<Vec<IpAddr>, NoAnswer>, Open> {
        let Some(name) = normal(name) else { return Ok(Err(NoAnswer::NoName)) };
        let question = if like.is_ipv4() { Question::Ipv4(name) } else { Question::Ipv6(name) };
        Ok(match self.records(question)? {
            Ok(Records::Ipv4(addresses)) => Ok(addresses.iter().copied().map(IpAddr::V4).collect()),
            Ok(Records::Ipv6(addresses)) => Ok(addresses.iter().copied().map(IpAddr::V6).collect()),
            Ok(_) => Err(NoAnswer::Unavailable),
            Err(no_answer) => Err(no_answer),
        })
    }

    /// The MX records of `name`.
    ///
    /// # Errors
    ///
    /// The answer is not known yet.
    pub fn mail_exchanges(&self, name: &str) -> Result<Result<&[MailExchange], NoAnswer>, Open> {
        let Some(name) = normal(name) else { return Ok(Err(NoAnswer::NoName)) };
        Ok(match self.records(Question::MailExchanges(name))? {
            Ok(Records::MailExchanges(exchanges)) => Ok(exchanges),
            Ok(_) => Err(NoAnswer::Unavailable),
            Err(no_answer) => Err(no_answer),
        })
    }

    /// The names of `address`.
    ///
    /// # Errors
    ///
    /// The answer is not known yet.
    pub fn names(&self, address: IpAddr) -> Result<Result<&[String], NoAnswer>, Open> {
        Ok(match self.records(Question::Names(address))? {
            Ok(Records::Names(names)) => Ok(names),
            Ok(_) => Err(NoAnswer::Unavailable),
            Err(no_answer) => Err(no_answer),
        })
    }
}

/// `name` in A-labels, in lower case without a trailing dot; `None` if it is invalid.
pub fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(a_labels(name)?) };
    // A name of the DNS is as long as its text and two octets more. // RFC 1035, section 2.3.4
    let is_name = name.len() <= DOMAIN_OCTETS_MAX - 2
        && name.split('.').all(|label| (1..=LABEL_OCTETS_MAX).contains(&label.len()));
    is_name.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_does_not_exist_and_is_not_asked_for() {
        let known = Known::default();
        for wrong in ["", ".", "a..b", ".a", &"x".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(known.texts(wrong), Ok(Err(NoAnswer::NoName)), "{wrong}");
        }
        assert_eq!(known.texts("Far.Example."), Err(Open(Question::Texts("far.example".into()))));
    }

    #[test]
    fn records_of_another_kind_are_no_answer() {
        let mut known = Known::default();
        known.insert(Question::Texts("far.example".into()), Ok(Records::Names(vec![])));
        assert_eq!(known.texts("far.example"), Ok(Err(NoAnswer::Unavailable)));
    }

    #[test]
    fn of_a_long_answer_the_first_records_are_kept() {
        let mut known = Known::default();
        let addresses: Vec<_> = (0..200).map(Ipv4Addr::from_bits).collect();
        known.insert(Question::Ipv4("far.example".into()), Ok(Records::Ipv4(addresses.clone())));
        let kept = known.addresses("far.example", addresses[0].into()).unwrap().unwrap();
        assert_eq!(kept.len(), RECORDS_MAX);
        assert_eq!(kept[RECORDS_MAX - 1], addresses[RECORDS_MAX - 1]);
    }

    #[test]
    fn of_all_answers_so_much_is_kept() {
        const TEXT: usize = 5000;
        let mut known = Known::default();
        let name = |number: usize| format!("n{number}.far.example");
        for number in 0..100 {
            known.insert(Question::Texts(name(number)), Ok(Records::Texts(vec![vec![b'x'; TEXT]])));
            known.insert(Question::Names([192, 0, 2, 1].into()), Err(NoAnswer::NoData));
        }
        let kept =
            |number: &usize| matches!(known.texts(&name(*number)), Ok(Ok([text])) if text.len() == TEXT);
        assert_eq!((0..100).filter(kept).collect::<Vec<_>>(), (0..OCTETS_MAX / TEXT).collect::<Vec<_>>());
        assert_eq!(known.texts(&name(99)), Ok(Err(NoAnswer::Unavailable)));
    }
}
