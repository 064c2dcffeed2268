//! Users' rules: the disposition of a message by its header.
//!
//! A rule matches parts of the header, all of which must match. Its effect:
//!
//! | rule | effect on the message | later rules |
//! | --- | --- | --- |
//! | `folder` | it is filed in that folder | are skipped |
//! | `discard` | it is discarded | are skipped |
//! | `forward` with `keep = false` | it is forwarded to that address | are skipped |
//! | `forward` | it is forwarded, and a copy is stored | are evaluated |
//!
//! So only the first rule that files a message does so. Rules are evaluated in the order of the file, those for all
//! users among those for one. This module only decides, without I/O; [`sorting`](super::service) carries the decision
//! out.

pub mod vacation;
mod words;

use std::collections::BTreeMap;

use super::address::Mailbox;
use crate::words::folded;
pub(in crate::mail) use words::decoded;

/// The most rules.
pub const RULES_MAX: usize = 1000;
/// The longest text that a rule matches, in octets.
pub const TEXT_OCTETS_MAX: usize = 256;
/// The most addresses to which the rules of one user forward a message.
pub const FORWARDS_MAX: usize = 20;

/// The fields with recipients.
const TO: [&str; 4] = ["to", "cc", "resent-to", "resent-cc"];
/// The fields with senders.
const FROM: [&str; 3] = ["from", "sender", "resent-from"];

/// All rules and vacation answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The rules, in their order.
    pub all: Vec<Rule>,
    /// The vacation answers by user name.
    pub vacations: BTreeMap<String, String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's user; `None` for all users.
    pub user: Option<String>,
    /// Its condition.
    pub when: When,
    /// Its effect.
    pub action: Action,
}

/// The condition of a rule, matched regardless of case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// A field that must exist.
    pub header: Option<String>,
    /// A text that this field must contain.
    pub contains: Option<String>,
    /// A text that the recipients must contain.
    pub to: Option<String>,
    /// A text that the sender's name or address must contain.
    pub from: Option<String>,
}

/// The effect of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It lies in this folder.
    File(String),
    /// Forward it to an address.
    Forward {
        /// Where.
        to: Mailbox,
        /// Whether it stays, too.
        keeps: bool,
    },
    /// Discard it.
    Discard,
}

/// The disposition of a message for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The addresses to forward it to, without duplicates.
    pub forwards: Vec<&'a Mailbox>,
    /// Its local disposition.
    pub end: End<'a>,
}

/// The local disposition of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// It lies in the inbox.
    Inbox,
    /// It lies in this folder.
    Folder(&'a str),
    /// It was forwarded, and is not stored.
    Gone,
    /// It is discarded.
    Discarded,
}

/// A header, as rules read it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Names and values, in lower case.
    fields: Vec<(String, String)>,
}

impl Seen {
    /// The matched parts of the header `fields`, whose names are in lower case.
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
    /// Whether a message matches; `original` is the address that it was sent to.
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
    /// Whether there are neither rules nor vacation answers.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.vacations.is_empty()
    }

    /// The disposition of a message for `user` at the address `original`.
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

        /// A message is lost only by a rule that discards it, and goes to no address twice.
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
