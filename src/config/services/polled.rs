//! `[[users.poll]]` and `[[mail.common_mailbox]]`: remote mailboxes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost_services::mail::address::{ForwardPath, Mailbox};
use gatepost_services::mail::mx::Host as MailHost;
use gatepost_services::mail::poll::{Account, Receives};
use gatepost_services::mail::pop3::client::Encryption;
use gatepost_services::mail::secret::Secret;
use gatepost_services::mail::service::aliases::Aliases;
use gatepost_services::mail::service::directory::{Directory, MailDomain, Place};
use gatepost_services::users::User;

use super::aliases::{address, nobody};
use super::mail::mail_server;
use crate::config::diagnostic::{Problem, Report, Span};
use crate::config::section::Section;
use crate::config::users::Polled;
use crate::config::value::{choice, integer, parsed, quoted, unless_empty};

/// The most common ones.
const COMMON_MAX: usize = 64;
/// The most of all together.
const ALL_MAX: usize = 1024;
/// The port with implicit TLS. (RFC 8314, section 3.3)
const TLS_PORT: u16 = 995;
/// The longest name of an account, in octets: it fits into the store's key of remembered messages.
const USERNAME_OCTETS_MAX: usize = 200;
const EVERY_SECS: u32 = 300;
const EXAMPLE: &str = "write a server such as \"pop.isp.example:995\" or \"192.168.1.40:110\"";

/// A remote mailbox with its position in the file.
struct Written {
    account: Account,
    /// The user's name there, of the configuration.
    span: Span,
    otherwise_to: Option<Span>,
}

/// The context in which they are checked.
pub(super) struct Around<'a> {
    /// The names by which this server is called, in lower case.
    pub own_names: &'a [String],
    /// The office's domain.
    pub domain: &'a str,
    /// Relative paths start there.
    pub folder: &'a Path,
}

/// All that is read, to be [checked](All::check).
pub(super) struct All(Vec<Written>);

/// Reads those of `users`, and the common ones of the section `mail`.
pub(super) fn read<'a>(
    mail: &mut Section<'a>,
    users: &[Polled<'a>],
    around: &Around<'_>,
    report: &'a Report,
) -> All {
    let mut all = Vec::new();
    for Polled { user, accounts } in users {
        for node in *accounts {
            let Some(section) = Section::element(node, "the mailbox to poll", report) else { continue };
            let receives = |_: &mut Section<'a>| (Receives::Person(user.clone()), None);
            all.extend(read_account(section, around, receives));
        }
    }
    for node in mail.elements("common_mailbox", COMMON_MAX) {
        let Some(section) = Section::element(node, "the common mailbox", report) else { continue };
        all.extend(read_account(section, around, |section| read_common(section, around)));
    }
    if let Some(excess) = all.get(ALL_MAX) {
        let what = format!("there are more than {ALL_MAX} mailboxes to poll");
        report.add(excess.span.clone(), Problem::new(what, "remove some"));
        all.truncate(ALL_MAX);
    }
    All(all)
}

fn read_common(section: &mut Section<'_>, around: &Around<'_>) -> (Receives, Option<Span>) {
    let to = section.setting("otherwise_to", None, unless_empty(|text| address(text, around.domain)));
    let field = section.setting("envelope_header", None, unless_empty(field_name));
    let span = to.written().map(|(_, span)| span);
    (Receives::Everybody { otherwise_to: to.value, envelope_field: field.value }, span)
}

fn read_account<'a>(
    mut section: Section<'a>,
    around: &Around<'_>,
    receives: impl FnOnce(&mut Section<'a>) -> (Receives, Option<Span>),
) -> Option<Written> {
    let server = |text: &str| mail_server(text, TLS_PORT, around.own_names, EXAMPLE);
    let server = section.required("server", "\"pop.isp.example:995\"", parsed(server));
    let username = section.required("username", "\"alice77\"", parsed(username));
    let password = section.required("password_file", "\"alice-isp.secret\"", parsed(path));
    let every = section.setting("every_secs", EVERY_SECS, integer(60..=86_400));
    let leave_days = section.setting("leave_days", 0, integer(0..=3650));
    let ways = [
        ("if-offered", Encryption::Opportunistic),
        ("required", Encryption::Required),
        ("never", Encryption::Never),
    ];
    let tls = section.setting("tls", Encryption::Opportunistic, choice(&ways));
    let (receives, otherwise_to) = receives(&mut section);
    let begins_with_tls = server.as_ref().is_some_and(|(server, _)| server.port == TLS_PORT);
    if let (true, Some((Encryption::Opportunistic | Encryption::Never, span))) =
        (begins_with_tls, tls.written())
    {
        let what = format!("port {TLS_PORT} begins with TLS");
        section.report(span, Problem::new(what, "remove tls, or write the server with port 110"));
    }
    section.finish();
    let ((server, _), (username, span), (path, _)) = (server?, username?, password?);
    let account = Account {
        server: match server.host {
            MailHost::Name(name) => name,
            MailHost::Address(address) => address.to_string(),
        },
        port: server.port,
        encryption: if begins_with_tls { Encryption::Active } else { tls.value },
        username,
        password: Secret::File(around.folder.join(path)),
        receives,
        every: Duration::from_secs(every.value.into()),
        leave_days: leave_days.value.into(),
    };
    Some(Written { account, span, otherwise_to })
}

impl All {
    /// The mailboxes. Mistakes in them together, and in their receivers, are reported.
    pub fn check(
        self,
        users: &[User],
        domains: &[MailDomain],
        aliases: &Aliases,
        report: &Report,
    ) -> Vec<Account> {
        let directory = Directory::new(users, domains, aliases);
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        for Written { account, span, otherwise_to } in &self.0 {
            if let Some(first) = places.get(&account.key()) {
                let what =
                    format!("the mailbox of {} on {} is polled twice", account.username, account.server);
                let remedy = "remove one; a [[mail.common_mailbox]] can be for several";
                report.add_again(span.clone(), Some(first.clone()), Problem::new(what, remedy));
            }
            places.entry(account.key()).or_insert_with(|| span.clone());
            if let (Receives::Everybody { otherwise_to: Some(to), .. }, Some(span)) =
                (&account.receives, otherwise_to)
                && let Some(problem) = of_receiver(to, &directory, (users, aliases))
            {
                report.add(span.clone(), problem);
            }
        }
        self.0.into_iter().map(|written| written.account).collect()
    }
}

/// The problem of `to` as the address for messages without a known receiver, if it has one.
fn of_receiver(to: &Mailbox, directory: &Directory, known: (&[User], &Aliases)) -> Option<Problem> {
    match directory.find(&ForwardPath::Mailbox(to.clone()), |_| false) {
        Place::Here(reached) if !reached.users.is_empty() => None,
        Place::Here(_) => {
            let what = format!("{to} leads to other servers only, and a common mailbox is for users here");
            Some(Problem::new(what, "write the name of a user, or of an alias that has one"))
        }
        Place::Elsewhere => {
            let what = format!("{to} is not ours, and a common mailbox is for users here");
            Some(Problem::new(what, "write the name of a user or of an alias"))
        }
        Place::Nobody | Place::Route => Some(nobody(Some(to), known.0, known.1)),
    }
}

/// A user's name on another server.
fn username(text: &str) -> Result<String, Problem> {
    if text.is_empty() || text.len() > USERNAME_OCTETS_MAX || text.chars().any(char::is_control) {
        let what = format!("{} is no name of a user there", quoted(text));
        let remedy = format!("write 1 to {USERNAME_OCTETS_MAX} octets without control characters");
        return Err(Problem::new(what, remedy));
    }
    Ok(text.to_owned())
}

/// The path of an existing file.
fn path(text: &str) -> Result<PathBuf, Problem> {
    if text.is_empty() || text.contains('\0') {
        let what = format!("{} is no path", quoted(text));
        return Err(Problem::new(what, "write the path of a file with the password in its first line"));
    }
    Ok(text.into())
}

/// The name of a field of a header. (RFC 5322, section 2.2)
fn field_name(text: &str) -> Result<String, Problem> {
    if text.len() > 64 || !text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':') {
        let what = format!("{} is no name of a header", quoted(text));
        return Err(Problem::new(what, "write one such as \"X-Envelope-To\""));
    }
    Ok(text.to_owned())
}
