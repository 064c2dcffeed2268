//! A world of names, of which checks ask.

use super::known::{Answer, Check, Question, Records, Step};
use crate::dns::resolver::{MailExchange, NoAnswer};

/// Names, each with a kind of record and its data; several rows are several records. `?` is no answer. What has
/// no row does not exist.
pub type World<'a> = &'a [(&'a str, &'a str, &'a str)];

/// The most questions of any check.
const QUESTIONS_MAX: usize = 200;

/// The answer to a question.
pub fn answer(world: World<'_>, question: &Question) -> Answer {
    let (name, kind) = match question {
        Question::Texts(name) => (name.clone(), "TXT"),
        Question::Ipv4(name) => (name.clone(), "A"),
        Question::Ipv6(name) => (name.clone(), "AAAA"),
        Question::MailExchanges(name) => (name.clone(), "MX"),
        Question::Names(address) => (address.to_string(), "PTR"),
    };
    let rows = || world.iter().filter(|(of, ..)| *of == name);
    let data: Vec<&str> = rows().filter(|(_, of, _)| *of == kind).map(|(.., data)| *data).collect();
    if data.contains(&"?") {
        return Err(NoAnswer::Unavailable);
    }
    if data.is_empty() {
        return Err(if rows().next().is_some() { NoAnswer::NoData } else { NoAnswer::NoName });
    }
    let data = data.into_iter();
    Ok(match question {
        Question::Texts(_) => Records::Texts(data.map(|text| text.as_bytes().to_vec()).collect()),
        Question::Ipv4(_) => Records::Ipv4(data.map(|text| text.parse().unwrap()).collect()),
        Question::Ipv6(_) => Records::Ipv6(data.map(|text| text.parse().unwrap()).collect()),
        Question::MailExchanges(_) => Records::MailExchanges(
            data.map(|host| MailExchange { preference: 10, host: host.to_owned() }).collect(),
        ),
        Question::Names(_) => Records::Names(data.map(str::to_owned).collect()),
    })
}

/// The outcome of a check, and what it asked for.
pub fn run<C: Check>(world: World<'_>, mut check: C) -> (C::Outcome, Vec<Question>) {
    let mut asked = Vec::new();
    loop {
        match check.step() {
            Step::Done(outcome) => return (outcome, asked),
            Step::Ask(question) => {
                assert!(!asked.contains(&question), "asked twice: {question:?}");
                check.answer(question.clone(), answer(world, &question));
                asked.push(question);
                assert!(asked.len() <= QUESTIONS_MAX);
            }
        }
    }
}
