//! Rules of persons: what becomes of a message that comes for them, by what its header says.
//!
//! A rule asks for parts of the header, and all that it asks for must be there. What it does:
//!
//! | rule | what becomes of the message | the rules behind it |
//! | --- | --- | --- |
//! | `folder` | it lies in that folder | are not looked at |
//! | `discard` | it is gone | are not looked at |
//! | `forward` with `keep = false` | it goes on to that address | are not looked at |
//! | `forward` | it goes on, and stays, too | are looked at |
//!
//! So the first rule that decides where a message lies is the only one. Rules are read in the order of the file, those
//! for everybody among those for one person. Here is what they say, without any I/O: who does it is
//! [`sorting`](super::service).

pub mod vacation;
mod words;

use std::collections::BTreeMap;

use super::address::Mailbox;
use crate::words::folded;
pub(in crate::mail) use words::decoded;

/// The most rules.
pub const RULES_MAX: usize = 1000;
/// The longest text that a rule looks for, in octets.
pub const TEXT_OCTETS_MAX: usize = 256;
/// The most addresses that one message goes on to by the rules of one person.
pub const FORWARDS_MAX: usize = 20;

/// The fields that say to whom a message goes.
const TO: [&str; 4] = ["to", "cc", "resent-to", "resent-cc"];
/// The fields that say from whom it comes.
const FROM: [&str; 3] = ["from", "sender", "resent-from"];

/// All that is said of persons' mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The rules, in their order.
    pub all: Vec<Rule>,
    /// What those who are away answer, by their names as users.
    pub vacations: BTreeMap<String, String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The user that it is for; `None`: everybody.
    pub user: Option<String>,
    /// What it asks for.
    pub when: When,
    /// What it does.
    pub action: Action,
}

/// What a rule asks of a message. No case counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// A field that must be there.
    pub header: Option<String>,
    /// What that field must hold.
    pub contains: Option<String>,
    /// What must be among those to whom the message goes.
    pub to: Option<String>,
    /// What must be in the sender's name or address.
    pub from: Option<String>,
}

/// What a rule does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It lies in this folder.
    File(String),
    /// It goes on to an address.
    Forward {
        /// Where.
        to: Mailbox,
        /// Whether it stays, too.
        keeps: bool,
    },
    /// It is gone.
    Discard,
}

/// What becomes of a message for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Where it goes on to, each address once.
    pub forwards: Vec<&'a Mailbox>,
    /// What becomes of it here.
    pub end: End<'a>,
}

/// What becomes of a message in the mailbox that it came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// It lies in the inbox.
    Inbox,
    /// It lies in this folder.
    Folder(&'a str),
    /// It went on, and does not stay.
    Gone,
    /// It was not wanted.
    Discarded,
}

/// A header, as rules read it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Names and values, in lower case.
    fields: Vec<(String, String)>,
}

impl Seen {
    /// The header of these fields, whose names are in lower case.
    pub fn of(fields: &[(String, String)]) -> Self {
        let seen = fields.iter().map(|(name, value)| (name.clone(), folded(&decoded(value))));
        Self { fields: seen.collect() }
    }

    /// Whether one of the fields that are called so holds `text`.
    fn holds(&self, names: &[&str], text: &str) -> bool {
        let text = folded(text);
        self.fields.iter().any(|(name, value)| names.contains(&name.as_str()) && value.contains(&text))
    }
}

impl When {
    /// Whether a message has all that is asked for; `original` is the address that it was sent to.
    fn holds(&self, seen: &Seen, original: &str) -> bool {
        let has_field = self.header.as_ref().is_none_or(|name| {
            seen.holds(&[&name.to_lowercase()], self.contains.as_deref().unwrap_or_default())
        });
        let is_to =
            self.to.as_ref().is_none_or(|to| seen.holds(&TO, to) || folded(original).contains(&folded(to)));
        has_field && is_to && self.from.as_ref().is_none_or(|from| seen.holds(&FROM, from))
    }
}

impl Rules {
    /// Whether nothing is said of anybody's mail.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.vacations.is_empty()
    }

    /// What becomes of a message that came for `user` at the address `original`.
    pub fn decide(&self, user: &str, seen: &Seen, original: &str) -> Decision<'_> {
        let mut forwards = Vec::new();
        let of_user = self.all.iter().filter(|rule| rule.user.as_ref().is_none_or(|of| of == user));
        for rule in of_user.filter(|rule| rule.when.holds(seen, original)) {
            let end = match &rule.action {
                Action::File(folder) => End::Folder(folder),
                Action::Discard => End::Discarded,
                Action::Forward { to, keeps } => {
                    if !forwards.contains(&to) && forwards.len() < FORWARDS_MAX {
                        forwards.push(to);
                    }
                    if *keeps || !forwards.contains(&to) {
                        continue;
                    }
                    End::Gone
                }
            };
            return Decision { forwards, end };
        }
        Decision { forwards, end: End::Inbox }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cases;
    use crate::mail::header::fields;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    fn rule(user: &str, when: When, action: Action) -> Rule {
        Rule { user: (!user.is_empty()).then(|| user.to_owned()), when, action }
    }

    fn header(name: &str, contains: &str) -> When {
        let contains = (!contains.is_empty()).then(|| contains.to_owned());
        When { header: Some(name.to_owned()), contains, ..When::default() }
    }

    fn to(text: &str) -> When {
        When { to: Some(text.to_owned()), ..When::default() }
    }

    fn from(text: &str) -> When {
        When { from: Some(text.to_owned()), ..When::default() }
    }

    fn file(folder: &str) -> Action {
        Action::File(folder.to_owned())
    }

    fn forward(to: &str, keeps: bool) -> Action {
        Action::Forward { to: mailbox(to), keeps }
    }

    const MESSAGE: &str = "List-Id: The <Announce.office.example>\r\n\
        From: =?utf-8?q?J=C3=BCrgen?= <j@b.example>\r\nTo: all@office.example\r\n\
        Cc: Dora <dora@c.example>\r\nX-Street: =?utf-8?q?Hauptstra=C3=9Fe?=\r\n\
        Subject: =?iso-8859-1?Q?Rechnung_f=FCr?=\r\n =?UTF-8?B?IE3DpHJ6?=\r\n\r\n\
        Subject: body\r\n";

    fn decide(all: Vec<Rule>, user: &str) -> String {
        let rules = Rules { all, ..Rules::default() };
        let seen = Seen::of(&fields(MESSAGE.as_bytes()));
        let Decision { forwards, end } = rules.decide(user, &seen, "anna+x@office.example");
        let forwards: Vec<_> = forwards.iter().map(ToString::to_string).collect();
        format!("{end:?} {}", forwards.join(" ")).trim_end().to_owned()
    }

    #[test]
    fn a_rule_asks_for_parts_of_the_header_in_any_case_and_as_people_read_it() {
        for (when, is_met) in [
            (When::default(), true),
            (header("list-id", "ANNOUNCE"), true),
            (header("List-Id", ""), true),
            (header("List-Id", "other"), false),
            (header("X-Spam", ""), false),
            (header("Subject", "rechnung für märz"), true),
            (header("Subject", "body"), false),
            (to("ALL@"), true),
            (to("dora"), true),
            (to("anna+x@office"), true),
            (to("j@b.example"), false),
            (from("JÜRGEN"), true),
            (header("X-Street", "HAUPTSTRASSE"), true),
            (from("j@b.example"), true),
            (from("dora"), false),
            (When { to: Some("all@".into()), ..header("List-Id", "announce") }, true),
            (When { to: Some("berta@".into()), ..header("List-Id", "announce") }, false),
        ] {
            let expected = if is_met { "Folder(\"X\")" } else { "Inbox" };
            assert_eq!(decide(vec![rule("anna", when.clone(), file("X"))], "anna"), expected, "{when:?}");
        }
    }

    #[test]
    fn the_first_rule_that_decides_where_it_lies_is_the_only_one() {
        let any = When::default;
        let all = || {
            vec![
                rule("berta", any(), Action::Discard),
                rule("", from("j@b"), forward("archive@c.example", true)),
                rule("anna", from("nobody"), file("Never")),
                rule("anna", any(), forward("archive@c.example", true)),
                rule("anna", to("all"), file("All")),
                rule("anna", any(), forward("late@c.example", false)),
            ]
        };
        assert_eq!(decide(all(), "anna"), "Folder(\"All\") archive@c.example");
        assert_eq!(decide(all(), "berta"), "Discarded");
        assert_eq!(decide(all(), "carl"), "Inbox archive@c.example");
        assert_eq!(decide(all()[5..].to_vec(), "anna"), "Gone late@c.example");
        assert_eq!(decide(Vec::new(), "anna"), "Inbox");
    }

    #[test]
    fn a_message_goes_on_to_so_many_and_then_stays() {
        let many = |keeps| {
            (0..FORWARDS_MAX + 1)
                .map(|number| {
                    rule(
                        "anna",
                        When::default(),
                        forward(&format!("a{number}@c.example"), keeps || number < FORWARDS_MAX),
                    )
                })
                .collect::<Vec<_>>()
        };
        for keeps in [true, false] {
            let decided = decide(many(keeps), "anna");
            assert!(decided.starts_with("Inbox a0@") && !decided.contains("a20@"), "{decided}");
        }
    }

    prop_compose! {
        fn any_rule()(
            user in prop::sample::select(vec!["", "anna", "berta"]),
            text in prop::option::of("[a-z]{0,2}"),
            place in 0..4,
            action in 0..4,
            number in 0..3,
        ) -> Rule {
            let when = match (place, text) {
                (0, text) => When { header: Some("subject".to_owned()), contains: text, ..When::default() },
                (1, to) => When { to, ..When::default() },
                (2, from) => When { from, ..When::default() },
                _ => When::default(),
            };
            let action = match action {
                0 => file(&format!("F{number}")),
                1 => Action::Discard,
                keeps => forward(&format!("a{number}@c.example"), keeps == 2),
            };
            rule(user, when, action)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(cases(512)))]

        /// No message is lost but by a rule that says so, and none goes to an address twice.
        #[test]
        fn a_message_lies_somewhere_goes_on_or_was_discarded_by_a_rule(
            all in prop::collection::vec(any_rule(), 0..8),
            header in "((From|To|Subject|X): [a-z=?]{0,8}\r\n){0,4}",
        ) {
            let rules = Rules { all, ..Rules::default() };
            let seen = Seen::of(&fields(header.as_bytes()));
            let decision = rules.decide("anna", &seen, "anna@office.example");
            let of_anna = || rules.all.iter().filter(|rule| rule.user.as_deref().is_none_or(|of| of == "anna"));
            let has = |wanted: &dyn Fn(&Action) -> bool| of_anna().any(|rule| wanted(&rule.action));
            match decision.end {
                End::Inbox => {}
                End::Folder(folder) => prop_assert!(has(&|action| *action == file(folder))),
                End::Gone => prop_assert!(!decision.forwards.is_empty()),
                End::Discarded => prop_assert!(has(&|action| *action == Action::Discard)),
            }
            for (at, forward) in decision.forwards.iter().enumerate() {
                prop_assert!(!decision.forwards[..at].contains(forward));
            }
            // Rules of others change nothing.
            let own = Rules { all: of_anna().cloned().collect(), ..Rules::default() };
            prop_assert_eq!(own.decide("anna", &seen, "anna@office.example"), decision);
        }
    }
}
