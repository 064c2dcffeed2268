//! `mail.rules` and `mail.keep_days`.

use gatepost_services::mail::address::ForwardPath;
use gatepost_services::mail::rules::{Action, RULES_MAX, Rule, Rules, TEXT_OCTETS_MAX, When};
use gatepost_services::mail::service::KeepDays;
use gatepost_services::mail::service::directory::{Directory, MailDomain, Place};
use gatepost_services::mail::store::NAME_OCTETS_MAX;
use gatepost_services::users::User;
use toml::de::DeValue;

use super::aliases::address;
use super::mail::Aliases;
use crate::config::diagnostic::{Problem, Report, Span, nearest};
use crate::config::section::Section;
use crate::config::value::{Expected, Node, boolean, integer, parsed, quoted, wrong_type};

/// The longest name of a field.
const FIELD_OCTETS_MAX: usize = 80;
/// The longest finite retention of mail, in days.
const DAYS_MAX: u32 = 36_500;
/// The most folders with a retention.
const FOLDERS_MAX: usize = 128;

/// The rules in the file with their positions.
#[derive(Debug, Default)]
pub(super) struct Written {
    rules: Vec<Rule>,
    /// The position of each rule's address.
    addresses: Vec<Option<Span>>,
}

/// Reads the rules. An address without a domain is one of `domain`, the office's.
pub(super) fn read<'a>(mail: &mut Section<'a>, domain: &str, users: &[User], report: &'a Report) -> Written {
    let mut written = Written::default();
    for node in mail.elements("rules", RULES_MAX) {
        if let Some((rule, span)) = read_rule(node, domain, users, report) {
            written.rules.push(rule);
            written.addresses.push(span);
        }
    }
    written
}

fn read_rule<'a>(
    node: &'a Node<'a>,
    domain: &str,
    users: &[User],
    report: &'a Report,
) -> Option<(Rule, Option<Span>)> {
    let mut rule = Section::element(node, "the rule", report)?;
    let user = rule.setting("user", None, parsed(|text| user_of(text, users).map(Some)));
    let header = rule.setting("header", None, parsed(|text| field(text).map(Some)));
    let contains = rule.setting("contains", None, parsed(|text| sought(text).map(Some)));
    let to = rule.setting("to", None, parsed(|text| sought(text).map(Some)));
    let from = rule.setting("from", None, parsed(|text| sought(text).map(Some)));
    let folder = rule.setting("folder", None, parsed(|text| folder_of(text).map(Some)));
    let forward = rule.setting("forward", None, parsed(|text| address(text, domain).map(Some)));
    let keep = rule.setting("keep", true, boolean);
    let discard = rule.setting("discard", false, boolean);
    let span = rule.span();
    rule.finish();

    if let (Some((_, span)), None, Some(())) = (contains.written(), &header.value, header.known().map(|_| ()))
    {
        let problem =
            Problem::new("contains says nothing without a header", "write header = \"Subject\", too");
        report.add(span, problem);
        return None;
    }
    if let (Some((_, span)), None, Some(())) = (keep.written(), &forward.value, forward.known().map(|_| ())) {
        report.add(span, Problem::new("keep belongs to forward", "remove it"));
        return None;
    }
    // A check that depends on an invalid value is skipped.
    user.known().and(header.known()).and(contains.known()).and(to.known()).and(from.known())?;
    folder.known().and(forward.known()).and(keep.known()).and(discard.known())?;
    let address = forward.written().map(|(_, span)| span);
    let (user, keeps) = (user.value, keep.value);
    let when = When { header: header.value, contains: contains.value, to: to.value, from: from.value };
    let action = match (folder.value, forward.value, discard.value) {
        (Some(folder), None, false) => Action::File(folder),
        (None, Some(to), false) => Action::Forward { to, keeps },
        (None, None, true) if when == When::default() => {
            let what = "the rule discards all mail";
            report.add(span, Problem::new(what, "write what it is for: header, to or from"));
            return None;
        }
        (None, None, true) => Action::Discard,
        (None, None, false) => {
            let remedy = "write folder = \"Lists\", forward = \"bob@elsewhere.example\" or discard = true";
            report.add(span, Problem::new("the rule does nothing", remedy));
            return None;
        }
        _ => {
            let remedy = "write a rule for each, a forward with keep = true first";
            report.add(span, Problem::new("the rule does several things", remedy));
            return None;
        }
    };
    Some((Rule { user, when, action }, address))
}

fn user_of(text: &str, users: &[User]) -> Result<String, Problem> {
    if users.iter().any(|user| user.name == text) {
        return Ok(text.to_owned());
    }
    let remedy = match nearest(text, users.iter().map(|user| user.name.as_str())) {
        Some(meant) => format!("write {}", quoted(meant)),
        None => "write the name of a user, or remove it: then the rule is for everybody".to_owned(),
    };
    Err(Problem::new(format!("there is no user {}", quoted(text)), remedy))
}

/// The name of a field. (RFC 5322, section 2.2)
fn field(text: &str) -> Result<String, Problem> {
    let name = text.strip_suffix(':').unwrap_or(text);
    let is_right = |octet: u8| octet.is_ascii_graphic() && octet != b':';
    if name.is_empty() || name.len() > FIELD_OCTETS_MAX || !name.bytes().all(is_right) {
        let what = format!("{} is no name of a header field", quoted(text));
        return Err(Problem::new(what, "write one such as \"Subject\" or \"List-Id\""));
    }
    Ok(name.to_owned())
}

/// The text to match.
fn sought(text: &str) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::new("there is nothing to look for", "write a part of what is in the header"));
    }
    if text.len() > TEXT_OCTETS_MAX || text.chars().any(char::is_control) {
        let what = format!("{} is in no header", quoted(text));
        let remedy = format!("write at most {TEXT_OCTETS_MAX} octets without control characters");
        return Err(Problem::new(what, remedy));
    }
    Ok(text.to_owned())
}

fn folder_of(text: &str) -> Result<String, Problem> {
    let is_right = text.trim() == text && !text.is_empty() && !text.chars().any(char::is_control);
    if !is_right || text.len() > NAME_OCTETS_MAX {
        let what = format!("{} is no name of a folder", quoted(text));
        return Err(Problem::new(what, "write one such as \"Lists\""));
    }
    Ok(text.to_owned())
}

impl Written {
    /// Checks the rules' addresses, and reports invalid ones.
    pub fn check(self, users: &[User], domains: &[MailDomain], aliases: &Aliases, report: &Report) -> Rules {
        let Self { rules, addresses } = self;
        let directory = Directory::new(users, domains, aliases);
        for (rule, span) in rules.iter().zip(addresses) {
            let (Action::Forward { to, .. }, Some(span)) = (&rule.action, span) else { continue };
            match directory.find(&ForwardPath::Mailbox(to.clone()), |_| false) {
                Place::Nobody | Place::Route => {
                    let remedy = "write the name of a user or of an alias, or an address elsewhere";
                    report.add(span, Problem::new(format!("nobody has mail for {to}"), remedy));
                }
                Place::Here(reached) if reached.outside.is_empty() => {
                    if let ([to], Some(user)) = (&reached.users[..], &rule.user)
                        && to == user
                    {
                        let what = format!("the rule sends mail of {user} on to {user}");
                        report.add(span, Problem::new(what, "write another address, or remove the rule"));
                    }
                }
                Place::Here(_) | Place::Elsewhere => {}
            }
        }
        Rules { all: rules, ..Rules::default() }
    }
}

/// The default retention.
pub(super) fn keep_days_by_default() -> KeepDays {
    KeepDays::from([("inbox".to_owned(), 0), ("junk".to_owned(), 30)])
}

/// The retention in days, by folder.
pub(super) fn keep_days(node: &Node<'_>, report: &Report) -> Option<KeepDays> {
    let DeValue::Table(folders) = node.get_ref() else {
        return wrong_type(node, Expected::Table, report);
    };
    if folders.len() > FOLDERS_MAX {
        let remedy = format!("write at most {FOLDERS_MAX}");
        report.add(node.span(), Problem::new("the table has too many folders", remedy));
        return None;
    }
    let mut all = keep_days_by_default();
    let mut is_right = true;
    let mut named: Vec<String> = Vec::new();
    let mut folders: Vec<_> = folders.iter().collect();
    folders.sort_by_key(|(name, _)| name.span().start);
    for (name, days) in folders {
        let lower = match folder_of(name.get_ref()) {
            Ok(name) => name.to_lowercase(),
            Err(problem) => {
                report.add(name.span(), problem);
                is_right = false;
                continue;
            }
        };
        if named.contains(&lower) {
            let what = format!("the folder {} is there twice", quoted(name.get_ref()));
            report.add(name.span(), Problem::new(what, "remove one"));
            is_right = false;
        }
        named.push(lower.clone());
        match integer(0..=DAYS_MAX)(days, report) {
            Some(days) => _ = all.insert(lower, days),
            None => is_right = false,
        }
    }
    is_right.then_some(all)
}
