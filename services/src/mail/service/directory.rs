//! Who receives mail here: the users, at each of the office's domains.
//!
//! A recipient is judged by its domain first. At a domain of ours the local part, in any case and without what follows a
//! `+`, is a user of the domain, or a role that each domain has: what comes for those goes to the owners, or else to
//! the first user. (RFC 5321, section 4.5.1; RFC 2142)

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::mail::address::{Domain, ForwardPath, LocalPart};
use crate::users::{Role, User};

/// The local parts that every domain has, and `admin`, to which many programs report. // RFC 5321, section 4.5.1; RFC 2142
const ROLES: [&str; 5] = ["postmaster", "abuse", "hostmaster", "webmaster", "admin"];

/// A domain of the office's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailDomain {
    /// Its name, in lower case.
    pub name: String,
    /// The names of the users who receive there; `None`: all.
    pub users: Option<Vec<String>>,
}

/// Who receives mail here.
#[derive(Clone, Debug)]
pub struct Directory {
    domains: BTreeMap<String, Option<BTreeSet<String>>>,
    users: BTreeMap<String, User>,
    stewards: Vec<String>,
}

/// Where a recipient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// These users have it.
    Here(&'a [String]),
    /// At a domain of ours, and nobody has it.
    Nobody,
    /// At a domain of ours, with a local part that other servers would read a route in.
    Route,
    /// At a domain that is not ours.
    Elsewhere,
}

impl Directory {
    /// The directory of these users at these domains. The first user has what is for the owners if nobody is one.
    pub fn new(users: &[User], domains: &[MailDomain]) -> Self {
        let domains = domains.iter().map(|domain| {
            let users = domain.users.as_ref().map(|users| users.iter().cloned().collect());
            (domain.name.to_lowercase(), users)
        });
        let owners = users.iter().filter(|user| user.role == Role::Owner).map(|user| user.name.clone());
        let mut stewards: Vec<_> = owners.collect();
        if stewards.is_empty() {
            stewards.extend(users.first().map(|user| user.name.clone()));
        }
        let users = users.iter().map(|user| (user.name.clone(), user.clone()));
        Self { domains: domains.collect(), users: users.collect(), stewards }
    }

    /// Where `recipient` is; `is_own` tells of the gateway's own addresses.
    pub fn find(&self, recipient: &ForwardPath, is_own: impl Fn(IpAddr) -> bool) -> Place<'_> {
        let mailbox = match recipient {
            ForwardPath::Postmaster => return self.stewards(),
            ForwardPath::Mailbox(mailbox) => mailbox,
        };
        let members = match &mailbox.domain {
            Domain::Name(name) => self.domains.get(name).map(Option::as_ref),
            Domain::Literal(address) => is_own(*address).then_some(None),
        };
        let Some(members) = members else { return Place::Elsewhere };
        if mailbox.local.may_hold_route() {
            return Place::Route;
        }
        let name = user_part(&mailbox.local);
        if ROLES.contains(&name.as_str()) {
            return self.stewards();
        }
        match self.users.get(&name) {
            Some(user) if members.is_none_or(|members| members.contains(&name)) => {
                Place::Here(std::slice::from_ref(&user.name))
            }
            _ => Place::Nobody,
        }
    }

    /// The user that is called so.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All users.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    fn stewards(&self) -> Place<'_> {
        if self.stewards.is_empty() { Place::Nobody } else { Place::Here(&self.stewards) }
    }
}

/// The local part in lower case, without `+detail`. // RFC 5233, section 1
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
        };
        Directory::new(users, &[domain("office.example", None), domain("shop.example", Some(&["anna"]))])
    }

    fn find(directory: &Directory, recipient: &str) -> String {
        let (path, _) = ForwardPath::parse(recipient, None, Unbracketed::Refused).expect("an address");
        match directory.find(&path, |address| address == IpAddr::from([192, 168, 1, 1])) {
            Place::Here(users) => users.join(" "),
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
