use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::cases;

fn office() -> Domain {
    Domain::Name("office.example".to_owned())
}

fn mailbox(local: &str, domain: &str) -> Mailbox {
    Mailbox { local: LocalPart::new(local).unwrap(), domain: Domain::parse(domain).unwrap() }
}

fn forward(text: &str) -> Result<(ForwardPath, &str), AddressError> {
    ForwardPath::parse(text, None, Unbracketed::Refused)
}

fn to(text: &str) -> Mailbox {
    match forward(text) {
        Ok((ForwardPath::Mailbox(mailbox), "")) => mailbox,
        other => panic!("{text}: {other:?}"),
    }
}

/// RFC 5321, section 4.1.2: Spellings of one mailbox are one mailbox.
#[test]
fn rfc5321_4_1_2_spellings_of_one_mailbox_are_one() {
    let anna = mailbox("anna", "office.example");
    for text in [
        "<anna@office.example>",
        "<anna@OFFICE.Example>",
        "<anna@office.example.>",
        "<\"anna\"@office.example>",
        "<\"a\\nna\"@office.example>",
        "<@relay.example:anna@office.example>",
        "<@a.example,@[IPv6:2001:db8::1],@[192.0.2.1]:anna@office.example>",
    ] {
        assert_eq!(to(text), anna, "{text}");
    }
    assert_ne!(to("<Anna@office.example>"), anna, "local parts have cases of their own");
}

/// RFC 5321, section 4.1.2: Quotes hold what an atom cannot.
#[test]
fn rfc5321_4_1_2_quotes_hold_what_an_atom_cannot() {
    for (text, local, printed) in [
        ("<\"a b\"@c.example>", "a b", "\"a b\"@c.example"),
        ("<\"a>b\"@c.example>", "a>b", "\"a>b\"@c.example"),
        ("<\"a\\\"b\\\\\"@c.example>", "a\"b\\", "\"a\\\"b\\\\\"@c.example"),
        ("<\"a.b\"@c.example>", "a.b", "a.b@c.example"),
        ("<\"a..b\"@c.example>", "a..b", "\"a..b\"@c.example"),
        ("<\"\"@c.example>", "", "\"\"@c.example"),
        ("<\"a\\@b\"@c.example>", "a@b", "\"a@b\"@c.example"),
    ] {
        let read = to(text);
        assert_eq!((read.local.as_str(), read.to_string().as_str()), (local, printed), "{text}");
    }
}

/// RFC 5321, section 4.1.3: Address literals of both families.
#[test]
fn rfc5321_4_1_3_address_literals() {
    let v4 = Domain::Literal(Ipv4Addr::new(192, 168, 1, 1).into());
    assert_eq!(Domain::parse("[192.168.1.1]"), Ok(v4.clone()));
    assert_eq!(Domain::parse("[IPV6:2a01::1]").unwrap().to_string(), "[IPv6:2a01::1]");
    assert_eq!(Domain::parse("[IPv6:::ffff:192.168.1.1]"), Ok(v4), "it is the same host");
    for wrong in [
        "[]",
        "[192.168.1]",
        "[192.168.1.256]",
        "[2a01::1]",
        "[IPv6:192.168.1.1]",
        "[IPv6:x]",
        "[x-tag:y]",
        "[192.168.1.1",
        "[é]",
    ] {
        assert_eq!(Domain::parse(wrong), Err(AddressError::Domain), "{wrong}");
    }
}

/// RFC 5321, section 4.1.2: What is no address is none.
#[test]
fn rfc5321_4_1_2_what_is_no_address_is_none() {
    for wrong in [
        "",
        "<",
        "<>",
        "<@>",
        "<a>",
        "<@b.example>",
        "<a@>",
        "<a@b@c.example>",
        "<a b@c.example>",
        "<.a@c.example>",
        "<a.@c.example>",
        "<a..b@c.example>",
        "<\"a@c.example>",
        "<\"a\"b@c.example>",
        "<\"a\\\u{e9}\"@c.example>",
        "<a@-c.example>",
        "<a@c..example>",
        "<a@c_d.exam ple>",
        "<a@192.168.1.1>",
        "<a@1>",
        "<a\u{7f}@c.example>",
        "<\"a\tb\"@c.example>",
        "<(a)a@c.example>",
        "<@relay.example,a@c.example>",
        "<@relay.example a@c.example>",
        "a@c.example",
        " <a@c.example>",
    ] {
        assert!(forward(wrong).is_err(), "{wrong}: {:?}", forward(wrong));
    }
    let of_len =
        |local: usize, label: usize| format!("<{}@{}.example>", "l".repeat(local), "d".repeat(label));
    assert!(forward(&of_len(LOCAL_OCTETS_MAX, LABEL_OCTETS_MAX)).is_ok());
    assert_eq!(forward(&of_len(LOCAL_OCTETS_MAX + 1, 1)), Err(AddressError::TooLong));
    assert_eq!(forward(&of_len(1, LABEL_OCTETS_MAX + 1)), Err(AddressError::Domain));
    assert_eq!(forward(&format!("<a@{}example>", "d.".repeat(125))), Err(AddressError::TooLong));
}

/// RFC 5321, section 4.5.1: Postmaster needs no domain.
#[test]
fn rfc5321_4_5_1_postmaster_needs_no_domain() {
    for text in ["<postmaster>", "<PostMaster>", "<\"postmaster\">"] {
        assert_eq!(forward(text), Ok((ForwardPath::Postmaster, "")), "{text}");
    }
    assert_eq!(to("<Postmaster@c.example>"), mailbox("Postmaster", "c.example"));
    assert_eq!(forward("<anna>"), Err(AddressError::NoDomain));
    let completed = ForwardPath::parse("<anna> NOTIFY=NEVER", Some(&office()), Unbracketed::Refused);
    assert_eq!(completed, Ok((ForwardPath::Mailbox(mailbox("anna", "office.example")), " NOTIFY=NEVER")));
}

/// RFC 5321, section 4.5.5: The null reverse path.
#[test]
fn rfc5321_4_5_5_the_null_reverse_path() {
    let parse = |text| ReversePath::parse(text, None, Unbracketed::Refused);
    assert_eq!(parse("<> SIZE=1"), Ok((ReversePath::Null, " SIZE=1")));
    assert_eq!(parse("<a@b.example>"), Ok((ReversePath::Mailbox(mailbox("a", "b.example")), "")));
    assert!(parse("< >").is_err());
    assert!(parse("a@b.example").is_err());
    let lenient = ReversePath::parse("scanner SIZE=1", Some(&office()), Unbracketed::Accepted);
    assert_eq!(lenient, Ok((ReversePath::Mailbox(mailbox("scanner", "office.example")), " SIZE=1")));
}

/// RFC 6531, section 3.3: Addresses are UTF-8.
#[test]
fn rfc6531_3_3_addresses_are_utf8() {
    let read = to("<jürgen@büro.example>");
    assert_eq!(read.to_string(), "jürgen@büro.example");
    assert!(!read.is_ascii());
    assert!(!mailbox("a", "büro.example").is_ascii());
    assert!(mailbox("a", "b.example").is_ascii());
    for wrong in ["<a\u{85}@b.example>", "<\"a\u{9b}\"@b.example>", "<a\u{2003}b@b.example>"] {
        assert!(forward(wrong).is_err(), "{wrong:?}");
    }
}

/// RFC 5321, section 3.6.1: What once led on through us is seen in the address, however it is written.
#[test]
fn rfc5321_3_6_1_routes_in_a_local_part_are_seen() {
    let of = |text| {
        let mailbox = to(text);
        (mailbox.domain, mailbox.local.may_hold_route())
    };
    for trick in [
        "<a%b.example@office.example>",
        "<b.example!a@office.example>",
        "<\"a@b.example\"@office.example>",
        "<\"a\\@b.example\"@office.example>",
        "<\"a\\%b.example\"@office.example>",
        "<@b.example:\"c@d.example\"@office.example>",
    ] {
        assert_eq!(of(trick), (office(), true), "{trick}");
    }
    // The source route goes, and what remains is no address of ours.
    assert_eq!(to("<@office.example:a@b.example>"), mailbox("a", "b.example"));
    assert!(!mailbox("anna+list", "office.example").local.may_hold_route());
}

fn domains() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]{1,5}){1,3}",
        any::<Ipv4Addr>().prop_map(|address| Literal(address.into()).to_string()),
        any::<Ipv6Addr>().prop_map(|address| Literal(IpAddr::V6(address).to_canonical()).to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn what_is_printed_is_read_as_it_was(local in "\\PC{0,40}", domain in domains()) {
        let Some(local) = LocalPart::new(&local) else { return Ok(()) };
        let printed = Mailbox { local, domain: Domain::parse(&domain).unwrap() };
        prop_assert_eq!(&to(&format!("<{printed}>")), &printed);
        prop_assert_eq!(Mailbox::parse(&printed.to_string()), Ok(printed));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[<>@\":,\\\\.\\[\\]%a-c \u{e9}\0]{0,30}") {
        let office = office();
        for unbracketed in [Unbracketed::Accepted, Unbracketed::Refused] {
            if let Ok((path, rest)) = ForwardPath::parse(&text, Some(&office), unbracketed) {
                prop_assert!(text.ends_with(rest));
                let printed = path.to_string();
                prop_assert_eq!(forward(&printed), Ok((path, "")));
            }
        }
    }
}

#[test]
fn a_local_part_shows_what_it_is() {
    for local in
        ["\"a\u{2028}b\"", "\"a\u{202e}b\"", "a\u{202e}b", "\"a\u{200b}\"", "a\u{feff}", "\"a\u{7}\""]
    {
        let address = format!("{local}@office.example");
        assert_eq!(Mailbox::parse(&address), Err(AddressError::Syntax), "{address:?}");
    }
    // Joiners belong to words of some languages.
    assert!(Mailbox::parse("a\u{200c}b@office.example").is_ok());
}

#[test]
fn a_domain_outside_of_ascii_is_in_lower_case_and_has_no_other_dots() {
    assert_eq!(Domain::parse("B\u{dc}RO.example"), Domain::parse("b\u{fc}ro.example"));
    assert_ne!(Domain::parse("b\u{fc}ro.example"), Domain::parse("buro.example"));
    for dot in ['\u{3002}', '\u{ff0e}', '\u{ff61}'] {
        assert_eq!(Domain::parse(&format!("office{dot}example")), Err(AddressError::Domain));
    }
}
