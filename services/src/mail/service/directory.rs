//! The directory of local receivers: the users at each of the office's domains, and the aliases.
//!
//! A recipient is looked up by its domain first. At a local domain the local part, in any case and without a suffix
//! after `+`, is an [alias](super::aliases), a user of the domain, or a role address of each domain, whose mail the
//! owners receive, or without owners the first user. (RFC 5321, section 4.5.1; RFC 2142)

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::aliases::{Aliases, DEPTH_MAX, Receivers, Step, Target, Walk};
use crate::mail::address::{Domain, ForwardPath, LocalPart, Mailbox};
use crate::users::{Role, User};

/// The local parts that every domain has, and `admin`, to which many programs report. (RFC 5321, section 4.5.1; RFC
/// 2142)
const ROLES: [&str; 5] = ["postmaster", "abuse", "hostmaster", "webmaster", "admin"];

/// A domain of the office's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailDomain {
    /// Its name, in lower case.
    pub name: String,
    /// The names of the users who receive there; `None` for all.
    pub users: Option<Vec<String>>,
    /// The domain before it in the list of which it is another name: all addresses there are the same.
    pub same_as: Option<String>,
}

/// The directory of local receivers.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The places of domains in `members`, by all of their names. The office's is the first.
    domains: BTreeMap<String, usize>,
    members: Vec<Members>,
    aliases: BTreeMap<Local, Vec<Target>>,
    catch_all: Option<Target>,
    users: BTreeMap<String, User>,
    stewards: Vec<String>,
}

/// The receivers at a domain.
#[derive(Clone, Debug)]
struct Members {
    domain: String,
    /// `None` for all users.
    users: Option<BTreeSet<String>>,
}

/// An address at a local domain, normalised to the domain's first name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Local {
    domain: usize,
    name: String,
}

impl Local {
    /// The address `name` at the office's domain.
    pub fn of_office(name: &str) -> Self {
        Self { domain: 0, name: name.to_owned() }
    }
}

/// The meaning of an address at a local domain.
pub(super) enum Meaning<'a> {
    /// An alias with these members.
    Alias(&'a [Target]),
    /// That of a user.
    User(&'a str),
    /// A role address, with the names of the owners.
    Owners(&'a [String]),
    /// Unknown.
    Nobody,
}

/// Where a recipient is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// At a local domain, with these receivers.
    Here(Receivers<'a>),
    /// At a local domain, and unknown.
    Nobody,
    /// At a local domain, with a local part that other servers might interpret as a route.
    Route,
    /// At another domain.
    Elsewhere,
}

impl Directory {
    /// The directory of these users, domains and aliases; the first domain is the office's. Without an owner the first
    /// user receives the owners' mail.
    pub fn new(users: &[User], domains: &[MailDomain], aliases: &Aliases) -> Self {
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut members = Vec::new();
        for domain in domains {
            let other = domain.same_as.as_ref().and_then(|other| places.get(&other.to_lowercase()));
            let place = other.copied().unwrap_or(members.len());
            if place == members.len() {
                let users = domain.users.as_ref().map(|users| users.iter().cloned().collect());
                members.push(Members { domain: domain.name.to_lowercase(), users });
            }
            places.insert(domain.name.to_lowercase(), place);
        }
        let owners = users.iter().filter(|user| user.role == Role::Owner).map(|user| user.name.clone());
        let mut stewards: Vec<_> = owners.collect();
        if stewards.is_empty() {
            stewards.extend(users.first().map(|user| user.name.clone()));
        }
        let users = users.iter().map(|user| (user.name.clone(), user.clone())).collect();
        let (domains, no_aliases) = (places, BTreeMap::new());
        let mut this = Self { domains, members, aliases: no_aliases, catch_all: None, users, stewards };
        for alias in &aliases.all {
            if let Target::Here(address) = this.target(&alias.address) {
                let targets = alias.members.iter().map(|member| this.target(member)).collect();
                this.aliases.entry(address).or_insert(targets);
            }
        }
        this.catch_all = aliases.catch_all.as_ref().map(|mailbox| this.target(mailbox));
        this
    }

    /// Looks up `recipient`; `is_own` tests for the gateway's own addresses.
    pub fn find(&self, recipient: &ForwardPath, is_own: impl Fn(IpAddr) -> bool) -> Place<'_> {
        self.trace(recipient, is_own).0
    }

    /// Looks up `recipient`, with the steps; `is_own` tests for the gateway's own addresses.
    pub fn trace(&self, recipient: &ForwardPath, is_own: impl Fn(IpAddr) -> bool) -> (Place<'_>, Vec<Step>) {
        let address = match recipient {
            ForwardPath::Postmaster => Local::of_office("postmaster"),
            ForwardPath::Mailbox(mailbox) => {
                let domain = match &mailbox.domain {
                    Domain::Name(name) => self.domains.get(name).copied(),
                    Domain::Literal(address) => is_own(*address).then_some(0),
                };
                let Some(domain) = domain else { return (Place::Elsewhere, Vec::new()) };
                if mailbox.local.may_hold_route() {
                    return (Place::Route, Vec::new());
                }
                Local { domain, name: user_part(&mailbox.local) }
            }
        };
        let mut walk = Walk::new(self);
        match (self.meaning(&address), &self.catch_all) {
            (Meaning::Nobody, Some(target)) => walk.catch(&address, target),
            _ => walk.visit(&address, 0),
        }
        let place = if walk.reached.is_empty() { Place::Nobody } else { Place::Here(walk.reached) };
        (place, walk.steps)
    }

    /// Whether `domain` is a name of a local domain.
    pub fn is_ours(&self, domain: &Domain) -> bool {
        matches!(domain, Domain::Name(name) if self.domains.contains_key(name))
    }

    /// The normalised address of `path`, which is at a local domain or an address of the gateway's; `None` at another
    /// domain.
    pub fn canonical(&self, path: &ForwardPath) -> Option<Mailbox> {
        let (domain, name) = match path {
            ForwardPath::Postmaster => (0, "postmaster".to_owned()),
            ForwardPath::Mailbox(Mailbox { local, domain: Domain::Name(name) }) => {
                (*self.domains.get(name)?, user_part(local))
            }
            ForwardPath::Mailbox(Mailbox { local, domain: Domain::Literal(_) }) => (0, user_part(local)),
        };
        let domain = Domain::Name(self.members.get(domain)?.domain.clone());
        Some(Mailbox { local: LocalPart::new(&name)?, domain })
    }

    /// Whether `address` is one of `user`'s own: the user's name at one of the user's domains, even if an alias of that
    /// name forwards copies; or an alias of such addresses. Another user's name, a role address or an unknown one is
    /// not, wherever its mail goes.
    pub fn is_own(&self, address: &Mailbox, user: &str) -> bool {
        self.is_own_target(&self.target(address), user, 0)
    }

    fn is_own_target(&self, target: &Target, user: &str, depth: usize) -> bool {
        let Target::Here(address) = target else { return false };
        match (self.meaning_without_alias(address), self.aliases.get(address)) {
            (Meaning::User(name), _) => {
                let mut walk = Walk::new(self);
                walk.visit(address, 0);
                name == user && walk.reached.users.contains(&user)
            }
            (Meaning::Nobody, Some(members)) => {
                let is_others = self.users.contains_key(&address.name) || depth >= DEPTH_MAX;
                !is_others && members.iter().all(|member| self.is_own_target(member, user, depth + 1))
            }
            (Meaning::Owners(_) | Meaning::Nobody | Meaning::Alias(_), _) => false,
        }
    }

    /// The user that is called so.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// The receivers of the owners' mail.
    pub fn stewards(&self) -> impl Iterator<Item = &str> {
        self.stewards.iter().map(String::as_str)
    }

    /// All users.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// Where the address of an alias or of a member leads.
    pub(super) fn target(&self, mailbox: &Mailbox) -> Target {
        let domain = match &mailbox.domain {
            Domain::Name(name) => self.domains.get(name).copied(),
            Domain::Literal(_) => None,
        };
        match domain {
            Some(domain) => Target::Here(Local { domain, name: user_part(&mailbox.local) }),
            None => Target::Outside(mailbox.clone()),
        }
    }

    /// The meaning of `address`.
    pub(super) fn meaning(&self, address: &Local) -> Meaning<'_> {
        let office = || Local::of_office(&address.name);
        let of_role =
            || ROLES.contains(&address.name.as_str()).then(|| self.aliases.get(&office())).flatten();
        match self.aliases.get(address).or_else(of_role) {
            Some(members) => Meaning::Alias(members),
            None => self.meaning_without_alias(address),
        }
    }

    /// The meaning of `address` without regard to aliases.
    pub(super) fn meaning_without_alias(&self, address: &Local) -> Meaning<'_> {
        if ROLES.contains(&address.name.as_str()) {
            return if self.stewards.is_empty() { Meaning::Nobody } else { Meaning::Owners(&self.stewards) };
        }
        let members = self.members.get(address.domain).and_then(|members| members.users.as_ref());
        match self.users.get(&address.name) {
            Some(user) if members.is_none_or(|members| members.contains(&user.name)) => {
                Meaning::User(&user.name)
            }
            _ => Meaning::Nobody,
        }
    }

    /// Whether `address` is an alias.
    pub(super) fn is_alias(&self, address: &Local) -> bool {
        self.aliases.contains_key(address)
    }

    /// The receivers of the catch-all.
    pub(super) fn catch_all(&self) -> Option<&Target> {
        self.catch_all.as_ref()
    }

    /// `address` as people write it.
    pub(super) fn written(&self, address: &Local) -> String {
        let domain = self.members.get(address.domain).map_or("", |members| &members.domain);
        format!("{}@{domain}", address.name)
    }
}

/// The local part in lower case, without `+detail`. (RFC 5233, section 1)
fn user_part(local: &LocalPart) -> String {
    let local = local.as_str();
    local.split_once('+').map_or(local, |(user, _)| user).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::Unbracketed;

    fn user(name: &str, role: Role) -> User {
        User { name: name.to_owned(), full_name: String::new(), role, quota: 1 << 30 }
    }

    fn directory(users: &[User]) -> Directory {
        let domain = |name: &str, users: Option<&[&str]>| MailDomain {
            name: name.to_owned(),
            users: users.map(|users| users.iter().copied().map(str::to_owned).collect()),
            same_as: None,
        };
        let domains = [domain("office.example", None), domain("shop.example", Some(&["anna"]))];
        Directory::new(users, &domains, &Aliases::default())
    }

    fn find(directory: &Directory, recipient: &str) -> String {
        let (path, _) = ForwardPath::parse(recipient, None, Unbracketed::Refused).expect("an address");
        match directory.find(&path, |address| address == IpAddr::from([192, 168, 1, 1])) {
            Place::Here(reached) => reached.users.join(" "),
            Place::Nobody => "nobody".to_owned(),
            Place::Route => "route".to_owned(),
            Place::Elsewhere => "elsewhere".to_owned(),
        }
    }

    #[test]
    fn a_user_receives_at_each_of_the_users_domains_in_any_case_and_with_any_detail() {
        let directory = directory(&[user("anna", Role::User), user("b.b", Role::User)]);
        for (recipient, expected) in [
            ("<anna@office.example>", "anna"),
            ("<ANNA@Office.Example>", "anna"),
            ("<anna+lists@office.example>", "anna"),
            ("<anna+@office.example>", "anna"),
            ("<\"anna\"@office.example>", "anna"),
            ("<b.b@office.example>", "b.b"),
            ("<anna@shop.example>", "anna"),
            ("<b.b@shop.example>", "nobody"),
            ("<carl@office.example>", "nobody"),
            ("<+anna@office.example>", "nobody"),
            ("<anna@[192.168.1.1]>", "anna"),
            ("<anna@[192.168.1.2]>", "elsewhere"),
            ("<anna@sub.office.example>", "elsewhere"),
            ("<anna@elsewhere.example>", "elsewhere"),
        ] {
            assert_eq!(find(&directory, recipient), expected, "{recipient}");
        }
    }

    /// RFC 5321, section 4.5.1: Mail for the postmaster is taken at every domain.
    #[test]
    fn rfc5321_4_5_1_mail_for_the_postmaster_is_taken_at_every_domain() {
        let boss = || user("boss", Role::Owner);
        let of_owners = directory(&[user("anna", Role::User), boss(), user("chef", Role::Owner)]);
        let of_first = directory(&[user("anna", Role::User), user("b.b", Role::Operator)]);
        for recipient in [
            "<postmaster>",
            "<Postmaster@office.example>",
            "<postmaster@shop.example>",
            "<POSTMASTER@[192.168.1.1]>",
            "<abuse@shop.example>",
            "<hostmaster@office.example>",
            "<webmaster@shop.example>",
            "<admin@office.example>",
        ] {
            assert_eq!(find(&of_owners, recipient), "boss chef", "{recipient}");
            assert_eq!(find(&of_first, recipient), "anna", "{recipient}");
        }
        assert_eq!(find(&of_first, "<postmaster@elsewhere.example>"), "elsewhere");
        assert_eq!(find(&directory(&[]), "<postmaster>"), "nobody");
    }

    #[test]
    fn a_route_in_a_local_part_is_taken_by_no_domain_of_ours() {
        let directory = directory(&[user("anna", Role::User)]);
        for recipient in [
            "<a%elsewhere.example@office.example>",
            "<elsewhere.example!a@office.example>",
            "<\"a@elsewhere.example\"@office.example>",
            "<a%elsewhere.example@[192.168.1.1]>",
        ] {
            assert_eq!(find(&directory, recipient), "route", "{recipient}");
        }
        assert_eq!(find(&directory, "<@office.example:a@elsewhere.example>"), "elsewhere");
    }
}
