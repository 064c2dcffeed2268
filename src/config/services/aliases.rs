//! `mail.aliases` and `mail.catch_all`.

use gatepost_services::mail::address::{Domain, Mailbox, MailboxParts};
use gatepost_services::mail::service::aliases::{
    ALIASES_MAX, ALL_MEMBERS_MAX, Alias, Aliases, DEPTH_MAX, EXPANSION_MAX, Fault, FaultKind, MEMBERS_MAX,
};
use gatepost_services::mail::service::directory::{Directory, MailDomain};
use gatepost_services::users::User;

use crate::config::diagnostic::{Problem, Report, Span, nearest};
use crate::config::section::Section;
use crate::config::value::{Node, elements, parsed, quoted, unless_empty};

/// The aliases in the file, with their positions.
#[derive(Debug, Default)]
pub(super) struct Written {
    aliases: Aliases,
    places: Vec<Places>,
    catch_all: Option<Span>,
}

/// The positions of an alias.
#[derive(Debug)]
struct Places {
    name: Span,
    members: Vec<Span>,
}

/// The remedy for an unusable address.
const AN_ADDRESS: &str = "write a name, such as \"alice\", or an address, such as \"bob@elsewhere.example\"";

/// Reads both. A name without a domain is one of `domain`, the office's.
pub(super) fn read<'a>(mail: &mut Section<'a>, domain: &str, report: &'a Report) -> Written {
    let catch_all = mail.setting("catch_all", None, unless_empty(|text| address(text, domain)));
    let span = catch_all.written().map(|(_, span)| span);
    let mut written = Written::default();
    let mut members = 0;
    for node in mail.elements("aliases", ALIASES_MAX) {
        let Some((alias, places)) = read_alias(node, domain, report) else { continue };
        members += alias.members.len();
        if members > ALL_MEMBERS_MAX {
            let what = format!("the aliases have more than {ALL_MEMBERS_MAX} members");
            report.add(places.name, Problem::new(what, "name an alias as member instead of its members"));
            break;
        }
        written.aliases.all.push(alias);
        written.places.push(places);
    }
    written.aliases.catch_all = catch_all.value;
    written.catch_all = span;
    written
}

fn read_alias<'a>(node: &'a Node<'a>, domain: &str, report: &'a Report) -> Option<(Alias, Places)> {
    let mut alias = Section::element(node, "the alias", report)?;
    let name = alias.required("name", "\"sales\"", parsed(|text| name(text, domain)));
    let members = alias.required("members", "[\"alice\"]", |node, report| {
        let members = elements(node, MEMBERS_MAX, report)?;
        if members.is_empty() {
            let remedy = "name users, other aliases, or addresses elsewhere";
            report.add(node.span(), Problem::new("the alias has no members", remedy));
            return None;
        }
        // All members are read, so that all mistakes are reported.
        let members = members.iter().map(|member| {
            let read = parsed(|text| address(text, domain))(member, report);
            read.map(|address| (address, member.span()))
        });
        let members: Vec<_> = members.collect();
        members.into_iter().collect::<Option<Vec<_>>>()
    });
    alias.finish();
    let ((address, name), (members, _)) = (name?, members?);
    let (members, spans) = members.into_iter().unzip();
    Some((Alias { address, members }, Places { name, members: spans }))
}

/// The address of an alias.
fn name(text: &str, domain: &str) -> Result<Mailbox, Problem> {
    let address = address(text, domain)?;
    match address.local.as_str().split_once('+') {
        Some((name, _)) => {
            let what = format!("{} has a detail behind the +, which belongs to every address", quoted(text));
            Err(Problem::new(what, format!("write {}", quoted(name))))
        }
        None => Ok(address),
    }
}

/// The address that `text` is; without a domain one at `domain`.
pub(super) fn address(text: &str, domain: &str) -> Result<Mailbox, Problem> {
    let refused = |why: &str| Problem::new(format!("{} is {why}", quoted(text)), AN_ADDRESS);
    let parts = MailboxParts::parse(text).map_err(|error| refused(&error.to_string()))?;
    if parts.local.as_str().is_empty() {
        return Err(refused("no address"));
    }
    if parts.local.may_hold_route() {
        return Err(refused("an address that other servers read a route in"));
    }
    let domain = match parts.domain {
        Some(Domain::Literal(_)) => return Err(refused("at a host and not at a domain")),
        Some(domain) => domain,
        None => Domain::Name(domain.to_lowercase()),
    };
    Ok(Mailbox { local: parts.local, domain })
}

impl Written {
    /// The aliases. Mistakes in them are reported.
    pub fn check(self, users: &[User], domains: &[MailDomain], report: &Report) -> Aliases {
        let Self { aliases, places, catch_all } = self;
        let directory = Directory::new(users, domains, &aliases);
        for Fault { alias, member, what } in directory.faults(&aliases) {
            let named = alias.and_then(|place| aliases.all.get(place).zip(places.get(place)));
            let (address, name_span, to, member_span) = match named {
                Some((alias, places)) => {
                    let member_span = places.members.get(member);
                    (Some(&alias.address), Some(&places.name), alias.members.get(member), member_span)
                }
                None => (None, catch_all.as_ref(), aliases.catch_all.as_ref(), catch_all.as_ref()),
            };
            let (Some(name_span), Some(member_span)) = (name_span, member_span) else { continue };
            let name = address.map(Mailbox::to_string).unwrap_or_default();
            let (span, problem) = match what {
                FaultKind::Twice(first) => {
                    let problem =
                        Problem::new(format!("the alias {name} is there twice"), "name all members in one");
                    let first = places.get(first).map(|first| first.name.clone());
                    report.add_again(name_span.clone(), first, problem);
                    continue;
                }
                FaultKind::Foreign => {
                    let domain = address.map(|address| address.domain.to_string()).unwrap_or_default();
                    let remedy =
                        "write a name without a domain, or the domain as one of [[mail.domains]], too";
                    (name_span, Problem::new(format!("{domain} is no domain of the office's"), remedy))
                }
                FaultKind::Nobody => (member_span, nobody(to, users, &aliases)),
                FaultKind::NobodyKeeps => {
                    let what = format!("{name} names itself, and there is no user who is called so");
                    (member_span, Problem::new(what, "name the users who have its mail"))
                }
                FaultKind::Loop(path) => {
                    let what = format!("mail for this member goes round: {}", path.join(" -> "));
                    (member_span, Problem::new(what, "remove one of these members"))
                }
                FaultKind::TooDeep => {
                    let what = format!("more than {DEPTH_MAX} aliases lead to each other here");
                    (member_span, Problem::new(what, "name those who have the mail instead of aliases"))
                }
                FaultKind::TooMany => {
                    let what = format!("more than {EXPANSION_MAX} users and addresses have mail for {name}");
                    (member_span, Problem::new(what, "write it as several aliases"))
                }
            };
            report.add(span.clone(), problem);
        }
        aliases
    }
}

/// The problem of naming `to`, an address without a mailbox.
pub(super) fn nobody(to: Option<&Mailbox>, users: &[User], aliases: &Aliases) -> Problem {
    let written = to.map(Mailbox::to_string).unwrap_or_default();
    let local = to.map(|mailbox| mailbox.local.as_str()).unwrap_or_default();
    let users = users.iter().map(|user| user.name.as_str());
    let meant = nearest(local, users.chain(aliases.all.iter().map(|alias| alias.address.local.as_str())));
    let remedy = match meant.filter(|meant| *meant != local) {
        Some(meant) => format!("write {}", quoted(meant)),
        None => "write the name of a user or of an alias, or an address elsewhere".to_owned(),
    };
    Problem::new(format!("nobody has mail for {written}"), remedy)
}
