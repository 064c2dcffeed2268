use std::cell::Cell;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::mail::auth::known::Check as _;
use crate::mail::auth::testing::{World, run};

fn check(address: &str, helo: &str, sender: &str) -> Check {
    let sender = match sender {
        "" => ReversePath::Null,
        sender => ReversePath::Mailbox(Mailbox::parse(sender).unwrap()),
    };
    Check::new(Identity::MailFrom, address.parse().unwrap(), &Domain::parse(helo).unwrap(), &sender)
}

/// The result for a client at `address` that sends from `anna@far.example`.
fn result_at(world: World<'_>, address: &str) -> SpfResult {
    run(world, check(address, "mail.far.example", "anna@far.example")).0
}

/// The result of one record of `far.example` for 192.0.2.1, which `host.far.example` has.
fn result_of(record: &str) -> SpfResult {
    let world = [
        ("far.example", "TXT", record),
        ("far.example", "A", "192.0.2.9"),
        ("host.far.example", "A", "192.0.2.1"),
        ("192.0.2.1", "PTR", "host.far.example"),
    ];
    result_at(&world, "192.0.2.1")
}

/// RFC 7208, section 4.3: An identity that is no domain has no result; a sender without a name is the postmaster.
#[test]
fn rfc7208_4_3_an_identity_that_is_no_domain_says_nothing() {
    let none = (SpfResult::None, vec![]);
    assert_eq!(run(&[], check("192.0.2.1", "[192.0.2.1]", "")), none);
    assert_eq!(run(&[], check("192.0.2.1", "mail.far.example", "anna@[192.0.2.1]")), none);
    assert_eq!(run(&[], check("192.0.2.1", "mail.far.example", "anna@localhost")), none);
    assert_eq!(result_at(&[], "192.0.2.1"), SpfResult::None);
    let world = [
        ("mail.far.example", "TXT", "v=spf1 exists:%{l}.%{o} -all"),
        ("postmaster.mail.far.example", "A", "127.0.0.2"),
    ];
    assert_eq!(run(&world, check("192.0.2.1", "mail.far.example", "")).0, SpfResult::Pass);
}

/// RFC 7208, section 2.3: The client's own name is checked by itself.
#[test]
fn rfc7208_2_3_the_client_s_own_name_is_an_identity() {
    let world = [("mail.far.example", "TXT", "v=spf1 -all"), ("far.example", "TXT", "v=spf1 +all")];
    let sender = ReversePath::Mailbox(Mailbox::parse("anna@far.example").unwrap());
    let helo = Domain::parse("mail.far.example").unwrap();
    for (identity, expected) in [(Identity::Helo, SpfResult::Fail), (Identity::MailFrom, SpfResult::Pass)] {
        let check = Check::new(identity, "192.0.2.1".parse().unwrap(), &helo, &sender);
        assert_eq!(run(&world, check).0, expected);
    }
}

/// RFC 7208, section 4.4: A name service that does not answer is a passing error, wherever it is asked.
#[test]
fn rfc7208_4_4_no_answer_is_a_passing_error() {
    for world in [
        &[("far.example", "TXT", "?")][..],
        &[("far.example", "TXT", "v=spf1 a:x.far.example +all"), ("x.far.example", "A", "?")],
        &[("far.example", "TXT", "v=spf1 mx +all"), ("far.example", "MX", "?")],
        &[
            ("far.example", "TXT", "v=spf1 mx +all"),
            ("far.example", "MX", "x.example"),
            ("x.example", "A", "?"),
        ],
        &[("far.example", "TXT", "v=spf1 include:x.example +all"), ("x.example", "TXT", "?")],
        &[("far.example", "TXT", "v=spf1 redirect=x.example"), ("x.example", "TXT", "?")],
        &[("far.example", "TXT", "v=spf1 exists:x.example +all"), ("x.example", "A", "?")],
    ] {
        assert_eq!(result_at(world, "192.0.2.1"), SpfResult::TempError, "{world:?}");
    }
    // What the client's own names come to is not the domain's fault. (section 5.5)
    let world = [("far.example", "TXT", "v=spf1 ptr -all"), ("192.0.2.1", "PTR", "?")];
    assert_eq!(result_at(&world, "192.0.2.1"), SpfResult::Fail);
}

/// RFC 7208, section 4.5: A record has the version as its first word; two of them are wrong.
#[test]
fn rfc7208_4_5_a_domain_has_one_record() {
    for (texts, expected) in [
        (&["v=spf10", "v=spf2.0/pra -all", "verification=1", " v=spf1 -all"][..], SpfResult::None),
        (&["v=spf1"], SpfResult::Neutral),
        (&["V=SPF1 -all"], SpfResult::Fail),
        (&["verification=\u{e4}", "v=spf1 -all"], SpfResult::Fail),
        (&["v=spf1 -all", "v=spf1 -all"], SpfResult::PermError),
    ] {
        let world: Vec<_> = texts.iter().map(|text| ("far.example", "TXT", *text)).collect();
        assert_eq!(result_at(&world, "192.0.2.1"), expected, "{texts:?}");
    }
}

/// RFC 7208, section 4.6: What is wrong anywhere in a record makes all of it wrong, before anything is asked.
#[test]
fn rfc7208_4_6_a_record_that_is_wrong_is_an_error() {
    for wrong in [
        "v=spf1 +all foo",
        "v=spf1 all:x.example",
        "v=spf1 all/8",
        "v=spf1 all.",
        "v=spf1 --all",
        "v=spf1 -",
        "v=spf1 a:",
        "v=spf1 a:museum",
        "v=spf1 a:museum.",
        "v=spf1 a:111.222.33.44",
        "v=spf1 a:abc.123",
        "v=spf1 a:x.example.-com",
        "v=spf1 a:x.example:8080",
        "v=spf1 a/33",
        "v=spf1 a//129",
        "v=spf1 a/",
        "v=spf1 a/08",
        "v=spf1 a/24/64",
        "v=spf1 a//64/24",
        "v=spf1 a:x.example/",
        "v=spf1 a:x\u{0}.example",
        "v=spf1 mx:",
        "v=spf1 mx/33",
        "v=spf1 ptr:",
        "v=spf1 ptr/24",
        "v=spf1 include",
        "v=spf1 include:",
        "v=spf1 include/24",
        "v=spf1 include:x.example/24",
        "v=spf1 exists",
        "v=spf1 exists:x.example/24",
        "v=spf1 ip4",
        "v=spf1 ip4:1.2.3",
        "v=spf1 ip4:1.2.3.4/33",
        "v=spf1 ip4:1.2.3.4/032",
        "v=spf1 ip4:1.2.3.4:8080",
        "v=spf1 ip4:1.2.3.4//32",
        "v=spf1 ip4:1.2.3.4/",
        "v=spf1 ip4/24",
        "v=spf1 ip6::CAFE::BABE",
        "v=spf1 ip6:2001:db8::1/129",
        "v=spf1 ip6:192.0.2.1",
        "v=spf1 redirect=",
        "v=spf1 redirect=x.example redirect=x.example",
        "v=spf1 redirect:x.example",
        "v=spf1 exp=",
        "v=spf1 exp=x.example exp=x.example",
        "v=spf1 redirect=x.example/24",
        "v=spf1 =x",
        "v=spf1 1a=x",
        "v=spf1 a=%",
        "v=spf1 exists:%{x}.example",
        "v=spf1 exists:%{d0}.example",
        "v=spf1 exists:%{d",
        "v=spf1 exists:%{}.example",
        "v=spf1 exists:%{d1rx}",
        "v=spf1 exists:%d.example",
        "v=spf1 exists:%{c}.example",
        "v=spf1 exists:%{\u{e4}}.example",
        "v=spf1 exists:%\u{e4}",
        "v=spf1 a:x.example\rptr",
        "v=spf1\t-all x",
        "v=spf1 -all\tx",
        "v=spf1 a:\u{e4}.example",
        "v=spf1 \u{e4}",
    ] {
        let expected = if wrong.starts_with("v=spf1\t") { SpfResult::None } else { SpfResult::PermError };
        let world = [("far.example", "TXT", wrong)];
        let (result, asked) = run(&world, check("192.0.2.1", "mail.far.example", "anna@far.example"));
        assert_eq!((result, asked.len()), (expected, 1), "{wrong:?}");
    }
    let long = format!("v=spf1 {} -all", "x=y ".repeat(2048));
    assert_eq!(result_of(&long), SpfResult::PermError);
}

/// RFC 7208, section 4.6.2: The first mechanism that matches decides, by its qualifier; without one it is neutral.
#[test]
fn rfc7208_4_6_2_the_first_match_decides() {
    for (record, expected) in [
        ("v=spf1 ip4:192.0.2.2 ?all -all", SpfResult::Neutral),
        ("v=spf1 ip4:192.0.2.1 -all", SpfResult::Pass),
        ("v=spf1  +IP4:192.0.2.0/24   -ALL  ", SpfResult::Pass),
        ("v=spf1 ~ip4:192.0.2.1 -all", SpfResult::SoftFail),
        ("v=spf1 -ip4:192.0.2.1 +all", SpfResult::Fail),
        ("v=spf1 ip4:192.0.2.2", SpfResult::Neutral),
        ("v=spf1 moo.cow-far_out=man:dog/cat ip4:192.0.2.1", SpfResult::Pass),
        ("v=spf1 exp=why.far.example -all", SpfResult::Fail),
        ("v=spf1 -all redirect=x.example", SpfResult::Fail),
    ] {
        assert_eq!(result_of(record), expected, "{record}");
    }
}

/// RFC 7208, section 5.3: `a` compares as many bits as it says, of the client's family.
#[test]
fn rfc7208_5_3_addresses_are_compared_by_their_first_bits() {
    let world = |record: &'static str| {
        [
            ("far.example", "TXT", record),
            ("far.example", "A", "192.0.2.1"),
            ("far.example", "AAAA", "2001:db8::1"),
            ("foo:bar/baz.far.example", "A", "192.0.2.7"),
        ]
    };
    for (record, address, expected) in [
        ("v=spf1 a -all", "192.0.2.1", SpfResult::Pass),
        ("v=spf1 a -all", "192.0.2.2", SpfResult::Fail),
        ("v=spf1 a/31 -all", "192.0.2.0", SpfResult::Pass),
        ("v=spf1 a/0 -all", "203.0.113.1", SpfResult::Pass),
        ("v=spf1 a//0 -all", "203.0.113.1", SpfResult::Fail),
        ("v=spf1 a/0 -all", "2001:db8::2", SpfResult::Fail),
        ("v=spf1 a/0//64 -all", "2001:db8::2", SpfResult::Pass),
        ("v=spf1 a:far.example//0 -all", "2001:dead::2", SpfResult::Pass),
        ("v=spf1 a:FAR.example. -all", "192.0.2.1", SpfResult::Pass),
        ("v=spf1 a:foo:bar/baz.far.example -all", "192.0.2.7", SpfResult::Pass),
        ("v=spf1 a -all", "::ffff:192.0.2.1", SpfResult::Pass),
        ("v=spf1 ip4:192.0.2.0/24 -all", "::ffff:192.0.2.1", SpfResult::Pass),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8:ffff::1", SpfResult::Pass),
        ("v=spf1 ip6:::ffff:192.0.2.1 -all", "192.0.2.1", SpfResult::Fail),
        ("v=spf1 ip6:::/0 -all", "192.0.2.1", SpfResult::Fail),
    ] {
        assert_eq!(result_at(&world(record), address), expected, "{record} {address}");
    }
}

/// RFC 7208, section 5.2: `include` matches what passes, and a domain without a record is wrong there.
#[test]
fn rfc7208_5_2_include_matches_what_passes() {
    for (included, expected) in [
        ("v=spf1 +all", SpfResult::Pass),
        ("v=spf1 -all", SpfResult::Fail),
        ("v=spf1 ~all", SpfResult::Fail),
        ("v=spf1 ?all", SpfResult::Fail),
        ("v=spf1 foo", SpfResult::PermError),
        ("nothing", SpfResult::PermError),
    ] {
        let world = [("far.example", "TXT", "v=spf1 include:x.example -all"), ("x.example", "TXT", included)];
        assert_eq!(result_at(&world, "192.0.2.1"), expected, "{included}");
    }
}

/// RFC 7208, section 6.1: `redirect` decides where nothing matches, with the other domain as the one that is checked.
#[test]
fn rfc7208_6_1_redirect_goes_on_at_another_domain() {
    for (other, expected) in [
        ("v=spf1 a -all", SpfResult::Pass),
        ("v=spf1 ~all", SpfResult::SoftFail),
        ("v=spf1", SpfResult::Neutral),
        ("nothing", SpfResult::PermError),
    ] {
        let world = [
            ("far.example", "TXT", "v=spf1 redirect=x.example ip4:192.0.2.2"),
            ("x.example", "TXT", other),
            ("x.example", "A", "192.0.2.1"),
        ];
        assert_eq!(result_at(&world, "192.0.2.1"), expected, "{other}");
    }
}

/// RFC 7208, section 5.4: `mx` compares the addresses of the domain's mail servers, and not its own.
#[test]
fn rfc7208_5_4_mx_compares_the_mail_servers() {
    let world = [
        ("far.example", "TXT", "v=spf1 mx/31 -all"),
        ("far.example", "A", "192.0.2.9"),
        ("far.example", "MX", "x.example"),
        ("far.example", "MX", "y.example"),
        ("x.example", "A", "192.0.2.4"),
        ("y.example", "A", "192.0.2.2"),
    ];
    assert_eq!(result_at(&world, "192.0.2.3"), SpfResult::Pass);
    assert_eq!(result_at(&world, "192.0.2.9"), SpfResult::Fail);
    let without = [("far.example", "TXT", "v=spf1 mx -all"), ("far.example", "A", "192.0.2.9")];
    assert_eq!(result_at(&without, "192.0.2.9"), SpfResult::Fail);
}

/// RFC 7208, section 5.5: A name of the client counts if it has the client's address and is in the domain.
#[test]
fn rfc7208_5_5_ptr_wants_the_name_to_have_the_address() {
    for (name, address, expected) in [
        ("host.far.example", "192.0.2.1", SpfResult::Pass),
        ("far.example", "192.0.2.1", SpfResult::Pass),
        ("host.far.example", "192.0.2.2", SpfResult::Fail),
        ("host.notfar.example", "192.0.2.1", SpfResult::Fail),
        ("notfar.example", "192.0.2.1", SpfResult::Fail),
    ] {
        let record = if name == "far.example" { "v=spf1 ptr:FAR.example. -all" } else { "v=spf1 ptr -all" };
        let world = [("far.example", "TXT", record), ("192.0.2.1", "PTR", name), (name, "A", address)];
        assert_eq!(result_at(&world, "192.0.2.1"), expected, "{name} {address}");
    }
    // The eleventh name is not resolved.
    let names: Vec<_> = (0..11).map(|n| format!("h{n:02}.far.example")).collect();
    let mut world = vec![("far.example", "TXT", "v=spf1 ptr -all"), ("h10.far.example", "A", "192.0.2.1")];
    world.extend(names.iter().map(|name| ("192.0.2.1", "PTR", &**name)));
    assert_eq!(result_at(&world, "192.0.2.1"), SpfResult::Fail);
    world.push(("h09.far.example", "A", "192.0.2.1"));
    assert_eq!(result_at(&world, "192.0.2.1"), SpfResult::Pass);
}

/// RFC 7208, section 5.7: `exists` queries an IPv4 address, whatever the client's family.
#[test]
fn rfc7208_5_7_exists_asks_for_ipv4() {
    for (kind, data, expected) in
        [("A", "127.0.0.2", SpfResult::Pass), ("AAAA", "2001:db8::1", SpfResult::Fail)]
    {
        let world = [("far.example", "TXT", "v=spf1 exists:x.example -all"), ("x.example", kind, data)];
        assert_eq!(result_at(&world, "2001:db8::7"), expected);
    }
}

/// RFC 7208, section 4.6.4: Ten terms with lookups are allowed; the eleventh is an error, in whichever record.
#[test]
fn rfc7208_4_6_4_ten_terms_ask_and_no_more() {
    let hosts: Vec<_> = (0..11).map(|n| format!("h{n}.example")).collect();
    let spf = |count: usize| {
        let terms: String = hosts[..count].iter().map(|host| format!(" a:{host}")).collect();
        format!("v=spf1{terms} ip4:192.0.2.1 -all")
    };
    let addresses = || hosts.iter().map(|host| (&**host, "A", "198.51.100.1"));
    let (nine, ten, eleven) = (spf(9), spf(10), spf(11));
    for (record, expected) in [(&ten, SpfResult::Pass), (&eleven, SpfResult::PermError)] {
        let world: Vec<_> = addresses().chain([("far.example", "TXT", &**record)]).collect();
        assert_eq!(result_at(&world, "192.0.2.1"), expected, "{record}");
    }
    for (first, expected) in [
        ("v=spf1 include:x.example -all", SpfResult::Pass),
        ("v=spf1 redirect=x.example", SpfResult::Pass),
        ("v=spf1 exists:no.example include:x.example", SpfResult::PermError),
        ("v=spf1 ptr redirect=x.example", SpfResult::PermError),
    ] {
        let rows = [("far.example", "TXT", first), ("x.example", "TXT", &*nine)];
        let world: Vec<_> = addresses().chain(rows).collect();
        assert_eq!(result_at(&world, "192.0.2.1"), expected, "{first}");
    }
    // A record that includes itself ends so, too.
    assert_eq!(result_of("v=spf1 include:far.example"), SpfResult::PermError);
    assert_eq!(result_of("v=spf1 redirect=far.example"), SpfResult::PermError);
}

/// RFC 7208, section 4.6.4: An `mx` with more than ten mail servers is an error.
#[test]
fn rfc7208_4_6_4_ten_mail_servers_and_no_more() {
    let hosts: Vec<_> = (0..11).map(|n| format!("h{n}.example")).collect();
    for (count, expected) in [(10, SpfResult::Pass), (11, SpfResult::PermError)] {
        let mut world = vec![("far.example", "TXT", "v=spf1 mx -all")];
        for host in &hosts[..count] {
            world.push(("far.example", "MX", host));
            world.push((host, "A", if *host == hosts[count - 1] { "192.0.2.1" } else { "192.0.2.2" }));
        }
        assert_eq!(result_at(&world, "192.0.2.1"), expected, "{count}");
    }
}

/// RFC 7208, section 4.6.4: Two questions may come to nothing; the third is an error.
#[test]
fn rfc7208_4_6_4_two_questions_come_to_nothing_and_no_more() {
    assert_eq!(result_of("v=spf1 a:a.example exists:b.example ip4:192.0.2.1"), SpfResult::Pass);
    assert_eq!(result_of("v=spf1 a:a.example mx:b.example a:c.example ip4:192.0.2.1"), SpfResult::PermError);
    // An invalid name is not resolved.
    let long = "x".repeat(64);
    let record = format!("v=spf1 a:a.example a:{long}.example a:..example a:b.example ip4:192.0.2.1");
    assert_eq!(result_of(&record), SpfResult::Pass);
    // Mail servers without an address count.
    let world = [
        ("far.example", "TXT", "v=spf1 mx ip4:192.0.2.1"),
        ("far.example", "MX", "a.example"),
        ("far.example", "MX", "b.example"),
        ("far.example", "MX", "c.example"),
    ];
    assert_eq!(result_at(&world, "192.0.2.1"), SpfResult::PermError);
}

/// RFC 7208, section 7.4: The macros of the RFC's examples expand as in the RFC.
#[test]
fn rfc7208_7_4_macros_stand_for_what_the_examples_say() {
    for (address, text, expected) in [
        ("192.0.2.3", "%{s}", "strong-bad@email.example.com"),
        ("192.0.2.3", "%{o}", "email.example.com"),
        ("192.0.2.3", "%{d}", "email.example.com"),
        ("192.0.2.3", "%{d4}", "email.example.com"),
        ("192.0.2.3", "%{d3}", "email.example.com"),
        ("192.0.2.3", "%{d2}", "example.com"),
        ("192.0.2.3", "%{d1}", "com"),
        ("192.0.2.3", "%{dr}", "com.example.email"),
        ("192.0.2.3", "%{d2r}", "example.email"),
        ("192.0.2.3", "%{l}", "strong-bad"),
        ("192.0.2.3", "%{l-}", "strong.bad"),
        ("192.0.2.3", "%{lr}", "strong-bad"),
        ("192.0.2.3", "%{lr-}", "bad.strong"),
        ("192.0.2.3", "%{l1r-}", "strong"),
        ("192.0.2.3", "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("192.0.2.3", "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("192.0.2.3", "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("192.0.2.3", "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("192.0.2.3", "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        (
            "2001:db8::cb01",
            "%{ir}.%{v}._spf.%{d2}",
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
        ),
        ("192.0.2.3", "%{S}", "strong-bad%40email.example.com"),
        ("192.0.2.3", "%{h}%%%_%-.x", "mail.example.com% %20.x"),
        ("192.0.2.3", "%{p}.x", "unknown.x"),
        ("192.0.2.3", "%{d18446744073709551616}", "email.example.com"),
    ] {
        let mut check = check(address, "mail.example.com", "strong-bad@email.example.com");
        let names = Question::Names(address.parse().unwrap());
        check.answer(names, Err(NoAnswer::NoName));
        let parsed = MacroString::parse_domain(text).unwrap();
        let Ok(expanded) = Evaluation::new(&check).expand(&parsed, "email.example.com") else {
            panic!("{text}")
        };
        assert_eq!(expanded, expected, "{text}");
    }
}

/// RFC 7208, section 7.3: A name that would be too long loses labels on its left; the client's name is one in the domain.
#[test]
fn rfc7208_7_3_long_names_are_cut_and_the_client_s_name_is_one_in_the_domain() {
    let local = "a".repeat(60);
    let tail = ["b".repeat(60), "c".repeat(60), "d".repeat(60), "e".repeat(60)].join(".");
    let check = check("192.0.2.3", "mail.example.com", &format!("{local}@far.example"));
    let parsed = MacroString::parse_domain(&format!("%{{l}}.{tail}.example")).unwrap();
    let Ok(expanded) = Evaluation::new(&check).expand(&parsed, "far.example") else { panic!() };
    assert_eq!(expanded, format!("{tail}.example"));
    // A record full of macros expands to no more octets than a name can have.
    let (local, made) = ("b".repeat(49), Cell::new(0));
    let expand = |text: &str| {
        made.set(0);
        let value = |_| {
            made.set(made.get() + 1);
            local.clone()
        };
        MacroString::parse_domain(text).unwrap().expand(&value)
    };
    assert_eq!(expand(&format!("%{{l}}{}", ".%{l}".repeat(700))), [&local[..]; 5].join("."));
    assert!(made.get() < 20, "{}", made.get());
    let endless = expand(&format!("a.{}", "%{l}".repeat(800)));
    assert!(normal(&endless).is_none() && made.get() < 20, "{endless}");

    let world = [
        ("far.example", "TXT", "v=spf1 exists:%{p}.x.example -all"),
        ("192.0.2.1", "PTR", "other.example"),
        ("192.0.2.1", "PTR", "host.far.example"),
        ("192.0.2.1", "PTR", "far.example"),
        ("other.example", "A", "192.0.2.1"),
        ("host.far.example", "A", "192.0.2.1"),
    ];
    let (_, asked) = run(&world, self::check("192.0.2.1", "mail.far.example", "anna@far.example"));
    assert!(asked.contains(&Question::Ipv4("host.far.example.x.example".into())), "{asked:?}");
}

fn term() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["a.example", "b.example", "%{d}", "%{p}.a.example", "%{i}.b.example"]);
    let kind = prop::sample::select(vec!["a:", "mx:", "include:", "ptr:", "exists:", "redirect=", "~mx:"]);
    prop_oneof![
        (kind, name).prop_map(|(kind, name)| format!("{kind}{name}")),
        "[ -~]{0,12}",
        Just("-all".to_owned()),
    ]
}

proptest! {
    /// Whatever records say: the check ends, asks for nothing twice and for no more than the bound.
    #[test]
    fn every_check_ends_within_its_bound(
        records in prop::collection::vec(prop::collection::vec(term(), 0..14), 3),
        hosts in prop::collection::vec("[a-c]\\.example", 0..12),
        address in prop::sample::select(vec!["192.0.2.1", "2001:db8::1"]),
    ) {
        let texts: Vec<_> = records.iter().map(|terms| format!("v=spf1 {}", terms.join(" "))).collect();
        let names = ["far.example", "a.example", "b.example"];
        let mut world: Vec<_> = names.iter().zip(&texts).map(|(name, text)| (*name, "TXT", &**text)).collect();
        for host in &hosts {
            world.push(("a.example", "MX", host));
            world.push((address, "PTR", host));
        }
        run(&world, check(address, "mail.far.example", "anna@far.example"));
    }

    /// Any octets are a record, or none.
    #[test]
    fn any_text_is_a_record_or_none(rest in prop::collection::vec(any::<u8>(), 0..80)) {
        let text = [b"v=spf1 ", &rest[..]].concat();
        let _ = Record::parse(&text);
    }

    /// The bits that are compared are the first ones.
    #[test]
    fn networks_are_compared_bit_by_bit(a: u128, b: u128, length in 0..=128_u8) {
        let (a6, b6) = (IpAddr::V6(a.into()), IpAddr::V6(b.into()));
        let expected = (0..u32::from(length)).all(|bit| (a ^ b) << bit >> 127 == 0);
        prop_assert_eq!(is_in(a6, b6, length), expected);
        prop_assert!(is_in(a6, a6, length));
    }
}
