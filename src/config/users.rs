//! `[[users]]`

use std::collections::BTreeMap;

use gatepost_services::mail::rules::vacation::TEXT_OCTETS_MAX;
use gatepost_services::users::{Role, USERS_MAX, User};

use super::diagnostic::{Problem, Report, Span};
use super::section::Section;
use super::value::{Node, choice, parsed, quoted, unless_empty};

/// The longest name: the limit of other systems, below that of a file name.
const NAME_OCTETS_MAX: usize = 32;
/// The longest full name, in octets.
const FULL_NAME_OCTETS_MAX: usize = 256;
/// The default quota of a user's messages, in octets.
const QUOTA: u64 = 1 << 30;
/// The least quota: room for a few messages with pictures.
const QUOTA_MIN: u64 = 1 << 20;

/// The most polled remote mailboxes of one user.
const POLLED_MAX: usize = 16;

/// Names that no person may have, and their purposes.
const RESERVED: [(&str, &str); 8] = [
    ("abuse", "the address to which others complain (RFC 2142)"),
    ("admin", "the address of those who run the office's gateway"),
    ("anonymous", "what clients without a user call themselves"),
    ("hostmaster", "the address of those who run a zone (RFC 2142)"),
    ("mailer-daemon", "the sender of bounces"),
    ("postmaster", "the address that every domain must have (RFC 5321, section 4.5.1)"),
    ("root", "the administrator of many systems, whose mail comes from programs"),
    ("webmaster", "the address of those who run a web site (RFC 2142)"),
];

/// The polled remote mailboxes of a user, as written.
pub(super) struct Polled<'a> {
    /// The user's name.
    pub user: String,
    /// One each.
    pub accounts: &'a [Node<'a>],
}

/// The users in the file, with their settings.
#[derive(Default)]
pub(super) struct Written<'a> {
    /// The users.
    pub users: Vec<User>,
    /// Their polled remote mailboxes.
    pub polled: Vec<Polled<'a>>,
    /// The vacation replies, by the users' names.
    pub vacations: BTreeMap<String, String>,
}

/// Reads `users`, the array of tables of the file, with their mail settings.
pub(super) fn read<'a>(file: &mut Section<'a>, report: &'a Report) -> Written<'a> {
    let mut users: Vec<(User, Span)> = Vec::new();
    let mut written = Written::default();
    for node in file.elements("users", USERS_MAX) {
        let Some((user, accounts, vacation, span)) = read_user(node, report) else { continue };
        if !accounts.is_empty() {
            written.polled.push(Polled { user: user.name.clone(), accounts });
        }
        written.vacations.extend(vacation.map(|text| (user.name.clone(), text)));
        match users.iter().find(|(earlier, _)| earlier.name == user.name) {
            Some((_, first)) => {
                let problem =
                    Problem::new(format!("two users are called {}", user.name), "write another name");
                report.add_again(span, Some(first.clone()), problem);
            }
            None => users.push((user, span)),
        }
    }
    Written { users: users.into_iter().map(|(user, _)| user).collect(), ..written }
}

/// A user, with the polled mailboxes, the vacation reply and the position of the name.
fn read_user<'a>(
    node: &'a Node<'a>,
    report: &'a Report,
) -> Option<(User, &'a [Node<'a>], Option<String>, Span)> {
    let mut user = Section::element(node, "the user", report)?;
    let name = user.required("name", "\"alice\"", parsed(name));
    let full_name = user.setting("full_name", String::new(), parsed(full_name));
    let role = user.setting("role", Role::User, choice(&Role::ALL.map(|role| (role.name(), role))));
    let quota = user.setting("quota", QUOTA, super::value::size(QUOTA_MIN));
    let accounts: &[_] = user.elements("poll", POLLED_MAX);
    let vacation = user.setting("vacation", None, unless_empty(vacation)).value;
    user.finish();
    let (name, span) = name?;
    let user = User { name, full_name: full_name.value, role: role.value, quota: quota.value };
    Some((user, accounts, vacation, span))
}

/// The name of a user, which is valid as the local part of an address and as a file name on every system.
fn name(text: &str) -> Result<String, Problem> {
    let lower = text.to_lowercase();
    if let Some((_, what_for)) = RESERVED.iter().find(|(name, _)| *name == lower) {
        let what = format!("{} is {what_for}", quoted(text));
        return Err(Problem::new(what, "write a person's own name, such as \"alice\""));
    }
    if let Some((local, _)) = text.split_once('@') {
        let what = format!("{} is an address", quoted(text));
        return Err(Problem::new(what, format!("write {}", quoted(local.to_lowercase()))));
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let is_name = text.len() <= NAME_OCTETS_MAX
        && text.chars().all(is_legal)
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && !text.contains("..");
    if !is_name {
        let what = format!("{} is no name of a user", quoted(text));
        let remedy = format!(
            "write 1 to {NAME_OCTETS_MAX} lower-case letters, digits, \".\", \"-\" and \"_\", a letter or digit first and last"
        );
        return Err(Problem::new(what, remedy));
    }
    if lower != text {
        let what =
            format!("{} has capital letters, which logins and addresses do not tell apart", quoted(text));
        return Err(Problem::new(what, format!("write {}", quoted(lower))));
    }
    Ok(lower)
}

/// The vacation reply of a user.
fn vacation(text: &str) -> Result<String, Problem> {
    let is_wrong = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.len() > TEXT_OCTETS_MAX || text.chars().any(is_wrong) {
        let what = "the answer is too long, or has control characters";
        return Err(Problem::new(what, format!("write at most {TEXT_OCTETS_MAX} octets of text")));
    }
    Ok(text.to_owned())
}

/// The full name of a user.
fn full_name(text: &str) -> Result<String, Problem> {
    if text.len() > FULL_NAME_OCTETS_MAX || text.chars().any(char::is_control) {
        let what = format!("{} is no name of a person", quoted(text));
        let remedy = format!("write at most {FULL_NAME_OCTETS_MAX} octets without control characters");
        return Err(Problem::new(what, remedy));
    }
    Ok(text.to_owned())
}
