//! Who has mail for an alias, and what a configuration may not say.

use std::net::IpAddr;

use super::super::directory::{MailDomain, Place};
use super::*;
use crate::mail::address::{ForwardPath, Unbracketed};
use crate::mail::service::tests::lab::{domain, user};
use crate::users::{Role, User};

fn mailbox(text: &str) -> Mailbox {
    let text = if text.contains('@') { text.to_owned() } else { format!("{text}@office.example") };
    Mailbox::parse(&text).expect("an address")
}

/// Aliases, each with its members in a line.
fn aliases(all: &[(&str, &str)]) -> Aliases {
    let alias = |(name, members): &(&str, &str)| Alias {
        address: mailbox(name),
        members: members.split_whitespace().map(mailbox).collect(),
    };
    Aliases { all: all.iter().map(alias).collect(), catch_all: None }
}

/// Anna, who is an owner, Berta and Carl. Berta alone is at `shop.example`, which is also called `store.example`.
fn directory(aliases: &Aliases) -> Directory {
    let users = [User { role: Role::Owner, ..user("anna") }, user("berta"), user("carl")];
    let same = |name: &str, other: &str| MailDomain { same_as: Some(other.to_owned()), ..domain(name, None) };
    let domains = [
        domain("office.example", None),
        same("smtp.office.example", "office.example"),
        domain("shop.example", Some(&["berta"])),
        same("store.example", "shop.example"),
    ];
    Directory::new(&users, &domains, aliases)
}

fn reached(directory: &Directory, recipient: &str) -> String {
    let (path, _) =
        ForwardPath::parse(&format!("<{recipient}>"), None, Unbracketed::Refused).expect(recipient);
    match directory.find(&path, |address| address == IpAddr::from([192, 168, 1, 1])) {
        Place::Here(Receivers { users, outside, .. }) => {
            let users = users.into_iter().map(str::to_owned);
            users.chain(outside.into_iter().map(Mailbox::to_string)).collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn assert_reached(aliases: &Aliases, expected: &[(&str, &str)]) {
    let directory = directory(aliases);
    assert_eq!(directory.faults(aliases), []);
    for (recipient, expected) in expected {
        assert_eq!(reached(&directory, recipient), *expected, "{recipient}");
    }
}

#[test]
fn an_alias_leads_to_many_nested_and_elsewhere_and_each_has_it_once() {
    let aliases = aliases(&[
        ("Sales", "anna berta"),
        ("office", "sales carl sales x@elsewhere.example"),
        ("all", "office anna+all x@elsewhere.example Sales@smtp.office.example"),
    ]);
    assert_reached(
        &aliases,
        &[
            ("sales@office.example", "anna berta"),
            ("SALES+new@office.example", "anna berta"),
            ("sales@smtp.office.example", "anna berta"),
            ("sales@[192.168.1.1]", "anna berta"),
            ("office@office.example", "anna berta carl x@elsewhere.example"),
            ("all@office.example", "anna berta carl x@elsewhere.example"),
            ("sales@shop.example", "nobody"),
            ("sales@elsewhere.example", "elsewhere"),
            ("sales%elsewhere.example@office.example", "route"),
        ],
    );
}

#[test]
fn an_alias_that_names_itself_keeps_a_copy() {
    let aliases = aliases(&[
        ("anna", "anna anna@elsewhere.example"),
        ("carl", "carl@elsewhere.example"),
        ("abuse", "abuse@smtp.office.example berta"),
    ]);
    assert_reached(
        &aliases,
        &[
            ("anna@office.example", "anna anna@elsewhere.example"),
            ("carl@office.example", "carl@elsewhere.example"),
            ("abuse@office.example", "anna berta anna@elsewhere.example"),
            ("postmaster@office.example", "anna anna@elsewhere.example"),
        ],
    );
}

#[test]
fn a_domain_has_aliases_of_its_own_by_each_of_its_names() {
    let aliases = aliases(&[
        ("info@shop.example", "carl"),
        ("info", "anna"),
        ("berta", "berta b@elsewhere.example"),
        ("owner@store.example", "berta@shop.example info@shop.example"),
    ]);
    assert_reached(
        &aliases,
        &[
            ("info@shop.example", "carl"),
            ("info@store.example", "carl"),
            ("info@office.example", "anna"),
            ("berta@shop.example", "berta b@elsewhere.example"),
            ("owner@shop.example", "berta carl b@elsewhere.example"),
            ("carl@shop.example", "nobody"),
        ],
    );
}

/// RFC 2142, section 2: The role addresses exist at all domains of the office, with the configured recipients.
#[test]
fn rfc2142_2_a_role_goes_to_the_owners_unless_an_alias_says_otherwise() {
    let aliases =
        aliases(&[("postmaster", "carl"), ("admin", "postmaster"), ("abuse@shop.example", "berta")]);
    assert_reached(
        &aliases,
        &[
            ("postmaster", "carl"),
            ("postmaster@office.example", "carl"),
            ("postmaster@shop.example", "carl"),
            ("admin@store.example", "carl"),
            ("abuse@shop.example", "berta"),
            ("abuse@office.example", "anna"),
            ("webmaster@shop.example", "anna"),
        ],
    );
}

#[test]
fn what_is_for_nobody_goes_where_all_of_that_goes_and_no_route_does() {
    let aliases = Aliases { catch_all: Some(mailbox("admin")), ..aliases(&[]) };
    assert_reached(
        &aliases,
        &[
            ("dave@office.example", "anna"),
            ("carl@shop.example", "anna"),
            ("berta@shop.example", "berta"),
            ("a!b@office.example", "route"),
            ("dave@elsewhere.example", "elsewhere"),
        ],
    );
    let elsewhere = Aliases { catch_all: Some(mailbox("x@elsewhere.example")), ..Aliases::default() };
    assert_reached(&elsewhere, &[("dave@office.example", "x@elsewhere.example")]);
}

fn told(all: &[(&str, &str)]) -> Vec<(usize, usize, FaultKind)> {
    let aliases = aliases(all);
    let faults = directory(&aliases).faults(&aliases);
    faults.into_iter().map(|fault| (fault.alias.unwrap(), fault.member, fault.what)).collect()
}

fn path(steps: &str) -> FaultKind {
    FaultKind::Loop(steps.split(' ').map(|step| mailbox(step).to_string()).collect())
}

#[test]
fn a_loop_is_told_once_where_the_first_of_its_aliases_leads_around() {
    assert_eq!(told(&[("a", "anna b"), ("b", "c"), ("c", "a")]), [(0, 1, path("a b c a"))]);
    // A diamond is no loop, nor is an alias that leads into one.
    assert_eq!(told(&[("x", "y z"), ("y", "anna"), ("z", "y")]), []);
    assert_eq!(told(&[("x", "a"), ("a", "b"), ("b", "a anna")]), [(1, 0, path("a b a"))]);
    // Two loops that have an alias in common.
    assert_eq!(told(&[("f", "a"), ("a", "f b"), ("b", "a")]), [(0, 0, path("f a f")), (1, 1, path("a b a"))]);
    // Through another name of our domain, and through the owners.
    assert_eq!(
        told(&[("a", "b@SMTP.office.example"), ("b", "a@smtp.office.example")]),
        [(0, 0, path("a b a"))]
    );
    assert_eq!(told(&[("anna", "postmaster")]), [(0, 0, path("anna postmaster anna"))]);
    assert_eq!(told(&[("abuse", "admin"), ("admin", "abuse")]), [(0, 0, path("abuse admin abuse"))]);
}

#[test]
fn members_that_do_not_exist_and_aliases_that_are_not_ours_are_told() {
    assert_eq!(
        told(&[
            ("a", "anna dave"),
            ("b", "b anna"),
            ("c@shop.example", "anna@shop.example"),
            ("d@elsewhere.example", "anna"),
            ("A@smtp.office.example", "berta"),
            ("e", "a"),
        ]),
        [
            (0, 1, FaultKind::Nobody),
            (1, 0, FaultKind::NobodyKeeps),
            (2, 0, FaultKind::Nobody),
            (3, 0, FaultKind::Foreign),
            (4, 0, FaultKind::Twice(0)),
        ]
    );
    // A catch-all user does not make a member exist.
    let aliases = Aliases { catch_all: Some(mailbox("dave")), ..aliases(&[("a", "edith")]) };
    let faults = directory(&aliases).faults(&aliases);
    let nobody = |alias| Fault { alias, member: 0, what: FaultKind::Nobody };
    assert_eq!(faults, [nobody(None), nobody(Some(0))]);
}

#[test]
fn the_way_to_a_person_and_those_who_are_reached_have_their_bounds() {
    let name = |number: usize| format!("a{number}");
    let chain = |len: usize| -> Vec<_> {
        (0..len).map(|n| (name(n), if n + 1 == len { "anna".to_owned() } else { name(n + 1) })).collect()
    };
    let told = |all: &[(String, String)]| {
        told(&all.iter().map(|(name, members)| (&name[..], &members[..])).collect::<Vec<_>>())
    };
    assert_eq!(told(&chain(DEPTH_MAX)), []);
    assert_eq!(told(&chain(DEPTH_MAX + 1)), [(0, 0, FaultKind::TooDeep)]);

    let outside = |from: usize, to: usize| {
        (from..to).map(|n| format!("x{n}@elsewhere.example")).collect::<Vec<_>>().join(" ")
    };
    let all = |more: usize| {
        [
            ("all".to_owned(), "half rest".to_owned()),
            ("half".to_owned(), outside(0, 500)),
            ("rest".to_owned(), outside(400, EXPANSION_MAX + more)),
        ]
    };
    assert_eq!(told(&all(0)), []);
    assert_eq!(told(&all(1)), [(0, 1, FaultKind::TooMany)]);
    let many = all(1);
    let many = aliases(&many.each_ref().map(|(name, members)| (&name[..], &members[..])));
    let directory = directory(&many);
    assert_eq!(reached(&directory, "all@office.example").split(' ').count(), EXPANSION_MAX);
}

/// A directory whose aliases are made at random ends every walk, whatever is wrong with it; one with nothing wrong
/// has a receiver for each alias.
#[test]
fn every_walk_ends_and_an_alias_without_a_fault_reaches_somebody() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    let mut rng = StdRng::seed_from_u64(7);
    let names =
        ["a", "b", "c", "d", "e", "anna", "abuse", "postmaster", "berta@shop.example", "x@elsewhere.example"];
    let mut without_fault = 0;
    for _ in 0..2000 {
        let count = rng.random_range(1..7);
        let all: Vec<_> = (0..count)
            .map(|place| {
                let count = rng.random_range(1..4);
                let members = (0..count).map(|_| names[rng.random_range(0..names.len())]);
                (names[place], members.collect::<Vec<_>>().join(" "))
            })
            .collect();
        let all: Vec<_> = all.iter().map(|(name, members)| (*name, &members[..])).collect();
        let aliases = aliases(&all);
        let directory = directory(&aliases);
        let is_right = directory.faults(&aliases).is_empty();
        without_fault += usize::from(is_right);
        for (name, _) in &all {
            let (_, steps) = directory.trace(&ForwardPath::Mailbox(mailbox(name)), |_| false);
            let is_wrong = |step: &Step| {
                !matches!(step.what, What::Alias | What::User | What::Outside | What::Owners | What::Again)
            };
            assert!(!(is_right && steps.iter().any(is_wrong)), "{all:?}");
            if is_right {
                assert_ne!(reached(&directory, &mailbox(name).to_string()), "nobody", "{all:?}");
            }
        }
    }
    assert!(without_fault > 100, "{without_fault} of them are right");
}
