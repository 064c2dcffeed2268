use super::super::testing::{Leases, name, office};
use super::*;

fn zone_of(config: &Config) -> Zone {
    Zone::new(config, Rc::new(())).unwrap()
}

fn with_records(records: &[(&str, RecordValue)]) -> Config {
    let record =
        |(name, value): &(&str, RecordValue)| StaticRecord { name: (*name).into(), value: value.clone() };
    Config { records: records.iter().map(record).collect(), ..office() }
}

fn address(address: &str) -> RecordValue {
    RecordValue::Address(address.parse().unwrap())
}

fn lookup(zone: &Zone, owner: &str, record_type: RecordType) -> Answer {
    zone.lookup(&name(owner), record_type).unwrap_or_else(|| panic!("{owner} is not local"))
}

/// The answer's records as text, without owner and TTL.
fn data(zone: &Zone, owner: &str, record_type: RecordType) -> Vec<String> {
    let answer = lookup(zone, owner, record_type);
    assert_eq!(answer.code, ResponseCode::NoError, "{owner}");
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

/// The code of an answer without records, and the owner of its SOA.
fn denial(zone: &Zone, owner: &str, record_type: RecordType) -> (ResponseCode, String) {
    let answer = lookup(zone, owner, record_type);
    assert!(answer.answers.is_empty(), "{owner}");
    (answer.code, answer.authorities.first().map(|soa| soa.name.to_string()).unwrap_or_default())
}

#[test]
fn built_in_names_have_the_right_addresses() {
    let zone = zone_of(&office());
    let expected = [
        ("gatepost", "192.168.1.1"),
        ("corp", "192.168.1.1"),
        ("admin", "192.168.1.1"),
        ("lan", "192.168.1.1"),
        ("www", "203.0.113.10"),
        ("wan", "203.0.113.10"),
        ("smtp", "192.168.1.1 203.0.113.10"),
        ("pop", "192.168.1.1 203.0.113.10"),
    ];
    for (label, addresses) in expected {
        let found = data(&zone, &format!("{label}.OFFICE.example."), RecordType::A);
        assert_eq!(found.join(" "), addresses, "{label}");
    }
    assert_eq!(data(&zone, "office.example.", RecordType::MX), ["10 smtp.office.example."]);
    assert_eq!(data(&zone, "office.example.", RecordType::NS), ["gatepost.office.example."]);
    assert_eq!(data(&zone, "office.example.", RecordType::SOA).len(), 1);
    assert_eq!(data(&zone, "1.1.168.192.in-addr.arpa.", RecordType::PTR), ["gatepost.office.example."]);
}

#[test]
fn without_a_wan_address_its_names_are_there_and_have_none() {
    let zone = zone_of(&Config { wan: Vec::new(), ..office() });
    let nodata = (ResponseCode::NoError, "office.example.".to_owned());
    assert_eq!(denial(&zone, "www.office.example.", RecordType::A), nodata);
    assert_eq!(data(&zone, "smtp.office.example.", RecordType::A), ["192.168.1.1"]);
}

/// RFC 3596, section 2.1: Addresses of IPv6 are in records of type AAAA.
#[test]
fn rfc3596_2_1_addresses_of_ipv6_are_in_records_of_type_aaaa() {
    let wan = ["203.0.113.10", "2001:db8::10"].map(|text| text.parse().unwrap()).to_vec();
    let records = [("nas", address("192.168.1.40")), ("nas", address("2001:db8:1::40"))];
    let config = Config { wan, ..with_records(&records) };
    let zone = Zone::new(&config, Leases::of(&[("pc1", "2001:db8:1::50")])).unwrap();
    for (label, short, long) in
        [("www", "203.0.113.10", "2001:db8::10"), ("nas", "192.168.1.40", "2001:db8:1::40")]
    {
        let owner = format!("{label}.office.example.");
        assert_eq!(data(&zone, &owner, RecordType::A), [short]);
        assert_eq!(data(&zone, &owner, RecordType::AAAA), [long]);
    }
    // It is known inside and outside.
    assert_eq!(data(&zone, "smtp.office.example.", RecordType::A), ["192.168.1.1", "203.0.113.10"]);
    assert_eq!(data(&zone, "smtp.office.example.", RecordType::AAAA), ["2001:db8::10"]);
    assert_eq!(data(&zone, "pc1.office.example.", RecordType::AAAA), ["2001:db8:1::50"]);
    let nodata = (ResponseCode::NoError, "office.example.".to_owned());
    assert_eq!(denial(&zone, "pc1.office.example.", RecordType::A), nodata);
}

#[test]
fn leases_come_and_go_at_once() {
    let leases = Leases::of(&[("pc1", "192.168.1.50")]);
    let zone = Zone::new(&office(), Rc::<Leases>::clone(&leases)).unwrap();
    for owner in ["pc1.office.example.", "PC1.Office.Example.", "pc1."] {
        let answer = lookup(&zone, owner, RecordType::A);
        assert_eq!(answer.answers[0].data.to_string(), "192.168.1.50");
        assert_eq!((&answer.answers[0].name, answer.answers[0].ttl), (&name(owner), LEASE_TTL_SECS));
    }
    let reverse = "50.1.168.192.in-addr.arpa.";
    assert_eq!(data(&zone, reverse, RecordType::PTR), ["pc1.office.example."]);
    leases.release("pc1");
    let gone = (ResponseCode::NXDomain, "office.example.".to_owned());
    assert_eq!(denial(&zone, "pc1.office.example.", RecordType::A), gone);
    assert_eq!(denial(&zone, reverse, RecordType::PTR).0, ResponseCode::NXDomain);
    let soa = lookup(&zone, "pc1.office.example.", RecordType::A).authorities.remove(0);
    assert_eq!(soa.ttl, LEASE_TTL_SECS, "not to be cached");
}

#[test]
fn while_leases_cannot_be_read_no_name_that_they_can_have_is_denied() {
    for use_upstream in [true, false] {
        let leases = Leases::of(&[("pc1", "192.168.1.50")]);
        leases.is_unread.set(true);
        let config = Config { use_upstream, ..office() };
        let zone = Zone::new(&config, Rc::<Leases>::clone(&leases)).unwrap();
        assert_eq!(data(&zone, "pc1.office.example.", RecordType::A), ["192.168.1.50"]);
        assert_eq!(data(&zone, "www.office.example.", RecordType::A), ["203.0.113.10"]);
        let unknown = (ResponseCode::ServFail, String::new());
        for owner in ["pc2.office.example.", "pc2.", "60.1.168.192.in-addr.arpa."] {
            assert_eq!(denial(&zone, owner, RecordType::A), unknown, "{owner}");
        }
        for owner in ["a.pc2.office.example.", "wpad.office.example.", "60.2.168.192.in-addr.arpa."] {
            assert_eq!(denial(&zone, owner, RecordType::A).0, ResponseCode::NXDomain, "{owner}");
        }
        // A question about a top-level domain is none about a host.
        let of_domain = zone.lookup(&name("com."), RecordType::NS);
        assert_ne!(of_domain.map(|answer| answer.code), Some(ResponseCode::ServFail));
        leases.is_unread.set(false);
        let gone = (ResponseCode::NXDomain, "office.example.".to_owned());
        assert_eq!(denial(&zone, "pc2.office.example.", RecordType::A), gone);
    }
}

#[test]
fn a_lease_never_takes_the_name_of_a_server() {
    let taken = [("www", "192.168.1.66"), ("wpad", "192.168.1.66"), ("localhost", "192.168.1.66")];
    let zone = Zone::new(&office(), Leases::of(&taken)).unwrap();
    assert_eq!(data(&zone, "www.office.example.", RecordType::A), ["203.0.113.10"]);
    assert_eq!(denial(&zone, "wpad.office.example.", RecordType::A).0, ResponseCode::NXDomain);
    assert_eq!(data(&zone, "localhost.", RecordType::A), ["127.0.0.1"]);
}

#[test]
fn a_missing_type_of_a_local_name_is_nodata() {
    let zone = Zone::new(&office(), Leases::of(&[("pc1", "192.168.1.50")])).unwrap();
    let nodata = (ResponseCode::NoError, "office.example.".to_owned());
    for owner in ["gatepost.office.example.", "pc1.office.example.", "pc1.", "office.example."] {
        assert_eq!(denial(&zone, owner, RecordType::AAAA), nodata, "{owner}");
    }
}

#[test]
fn static_names_are_relative_or_absolute_and_replace_built_in_ones() {
    let config = with_records(&[
        ("nas", address("192.168.1.40")),
        ("host.partner.example.", address("198.51.100.7")),
        ("www", RecordValue::Alias("nas".into())),
    ]);
    let zone = zone_of(&config);
    assert_eq!(data(&zone, "nas.office.example.", RecordType::A), ["192.168.1.40"]);
    assert_eq!(data(&zone, "nas.", RecordType::A), ["192.168.1.40"]);
    assert_eq!(data(&zone, "40.1.168.192.in-addr.arpa.", RecordType::PTR), ["nas.office.example."]);
    assert_eq!(data(&zone, "host.partner.example.", RecordType::A), ["198.51.100.7"]);
    let nodata = (ResponseCode::NoError, "host.partner.example.".to_owned());
    assert_eq!(denial(&zone, "host.partner.example.", RecordType::AAAA), nodata);
    assert_eq!(zone.lookup(&name("other.partner.example."), RecordType::A), None);
    let alias = lookup(&zone, "www.office.example.", RecordType::A);
    assert_eq!(alias.continues_at, Some(name("nas.office.example.")));
    assert_eq!(alias.answers[0].data.to_string(), "nas.office.example.");
}

/// RFC 1035, section 3.3.14: A long text is cut into strings.
#[test]
fn rfc1035_a_long_text_is_cut_into_strings() {
    let text = "x".repeat(600);
    let zone = zone_of(&with_records(&[("info", RecordValue::Text(text.clone()))]));
    let answer = lookup(&zone, "info.office.example.", RecordType::TXT);
    let RData::TXT(txt) = &answer.answers[0].data else { panic!("{answer:?}") };
    assert_eq!(txt.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 255, 90]);
    let too_long = with_records(&[("info", RecordValue::Text("x".repeat(TEXT_OCTETS_MAX + 1)))]);
    assert_eq!(Zone::new(&too_long, Rc::new(())).err(), Some(ConfigError::TextTooLong("info".into())));
}

/// RFC 1034, section 3.6.2: A name with a CNAME has no other records.
#[test]
fn rfc1034_an_alias_is_alone() {
    let alias = || RecordValue::Alias("nas".into());
    let pairs = [
        ("x", alias(), address("192.168.1.2")),
        ("x", address("192.168.1.2"), alias()),
        ("x", alias(), alias()),
    ];
    for (label, first, second) in pairs {
        let config = with_records(&[(label, first), (label, second)]);
        assert_eq!(Zone::new(&config, Rc::new(())).err(), Some(ConfigError::AliasNotAlone("x".into())));
    }
    let config = with_records(&[("office.example.", alias())]);
    assert!(Zone::new(&config, Rc::new(())).is_err());
}

#[test]
fn what_is_no_name_is_an_error() {
    for wrong in ["", "a..b", &"x".repeat(64), "white space"] {
        let config = with_records(&[(wrong, address("192.168.1.2"))]);
        assert_eq!(Zone::new(&config, Rc::new(())).err(), Some(ConfigError::Name(wrong.into())));
    }
    assert!(Zone::new(&with_records(&[("a_b._tcp", address("192.168.1.2"))]), Rc::new(())).is_ok());
}

/// RFC 8020, section 2: A name with names below it exists.
#[test]
fn rfc8020_a_name_with_names_below_it_exists() {
    let zone = zone_of(&with_records(&[("a.b.c", address("192.168.1.2"))]));
    let nodata = (ResponseCode::NoError, "office.example.".to_owned());
    assert_eq!(denial(&zone, "c.office.example.", RecordType::A), nodata);
    assert_eq!(denial(&zone, "b.c.office.example.", RecordType::A), nodata);
    assert_eq!(denial(&zone, "d.c.office.example.", RecordType::A).0, ResponseCode::NXDomain);
    let config = Config { lan: "172.16.5.1/20".parse().unwrap(), ..office() };
    assert_eq!(denial(&zone_of(&config), "9.16.172.in-addr.arpa.", RecordType::PTR).0, ResponseCode::NoError);
}

#[test]
fn each_network_of_the_lan_has_reverse_names() {
    let config = Config { further_lans: vec!["10.0.7.1/24".parse().unwrap()], ..office() };
    let zone = zone_of(&config);
    assert!(["192.168.1.50", "10.0.7.50"].iter().all(|host| zone.is_on_lan(host.parse().unwrap())));
    assert!(!zone.is_on_lan("10.0.8.50".parse().unwrap()));
    for owner in ["1.1.168.192.in-addr.arpa.", "1.7.0.10.in-addr.arpa."] {
        assert_eq!(data(&zone, owner, RecordType::PTR), ["gatepost.office.example."]);
    }
    assert_eq!(data(&zone, "gatepost.office.example.", RecordType::A), ["192.168.1.1"], "the preferred one");
    assert_eq!(denial(&zone, "9.7.0.10.in-addr.arpa.", RecordType::PTR).1, "7.0.10.in-addr.arpa.");
    let leased = Zone::new(&config, Leases::of(&[("pc1", "10.0.7.50")])).unwrap();
    assert_eq!(data(&leased, "50.7.0.10.in-addr.arpa.", RecordType::PTR), ["pc1.office.example."]);
}

/// RFC 6303, section 4.1: Reverse zones of private addresses are not leaked.
#[test]
fn rfc6303_reverse_zones_of_private_addresses_are_not_leaked() {
    let zone = zone_of(&office());
    let denied = |owner: &str| denial(&zone, owner, RecordType::PTR);
    let nx = |soa: &str| (ResponseCode::NXDomain, soa.to_owned());
    assert_eq!(denied("5.2.168.192.in-addr.arpa."), nx("168.192.in-addr.arpa."));
    assert_eq!(denied("5.1.168.192.in-addr.arpa."), nx("1.168.192.in-addr.arpa."));
    assert_eq!(denied("1.0.31.172.in-addr.arpa."), nx("31.172.in-addr.arpa."));
    assert_eq!(denied("1.0.0.0.0.0.d.f.ip6.arpa."), nx("d.f.ip6.arpa."));
    assert_eq!(denied("10.in-addr.arpa.").0, ResponseCode::NoError);
    let soa = lookup(&zone, "10.in-addr.arpa.", RecordType::SOA).answers.remove(0);
    assert_eq!(soa.ttl, EMPTY_ZONE_TTL_SECS);
    assert!(soa.data.to_string().starts_with("10.in-addr.arpa. nobody.invalid."));
    assert_eq!(zone.lookup(&name("1.113.0.204.in-addr.arpa."), RecordType::PTR), None);
    assert_eq!(data(&zone, "1.0.0.127.in-addr.arpa.", RecordType::PTR), ["localhost."]);
}

/// RFC 6761, section 6: Special-use names are answered locally.
#[test]
fn rfc6761_special_names_are_answered_here() {
    let zone = zone_of(&office());
    assert_eq!(data(&zone, "localhost.", RecordType::A), ["127.0.0.1"]);
    assert_eq!(data(&zone, "x.localhost.", RecordType::AAAA), ["::1"]);
    assert_eq!(denial(&zone, "localhost.", RecordType::MX).0, ResponseCode::NoError);
    for absent in ["invalid.", "x.test.", "printer.local.", "abc.onion.", "x.alt.", "x.home.arpa."] {
        assert_eq!(denial(&zone, absent, RecordType::A).0, ResponseCode::NXDomain, "{absent}");
    }
}

/// RFC 9462, section 4: Without a designated resolver every name of its zone has no data.
#[test]
fn rfc9462_4_without_a_designated_resolver_every_name_of_its_zone_has_no_data() {
    let zone = zone_of(&office());
    let nodata = (ResponseCode::NoError, "resolver.arpa.".to_owned());
    for owner in ["resolver.arpa.", "_dns.resolver.arpa.", "a.b.resolver.arpa."] {
        assert_eq!(denial(&zone, owner, RecordType::Unknown(64)), nodata, "{owner}");
    }
}

/// RFC 8880, section 7.1: The name for finding a NAT64 has its two addresses.
#[test]
fn rfc8880_7_1_the_name_for_finding_a_nat64_has_its_two_addresses() {
    let zone = zone_of(&office());
    assert_eq!(data(&zone, "ipv4only.arpa.", RecordType::A), ["192.0.0.170", "192.0.0.171"]);
    assert_eq!(denial(&zone, "ipv4only.arpa.", RecordType::AAAA).0, ResponseCode::NoError);
    assert_eq!(data(&zone, "171.0.0.192.in-addr.arpa.", RecordType::PTR), ["ipv4only.arpa."]);
}

#[test]
fn a_forwarded_zone_is_not_local_and_what_is_more_exact_comes_first() {
    let forward = |zone: &str| ForwardZone { zone: zone.into(), servers: Vec::new() };
    let zones =
        ["Corp.local", "local", "sub.office.example", "168.192.in-addr.arpa", "1.168.192.in-addr.arpa."];
    let forwards = zones.map(forward).to_vec();
    let config = Config { forwards, ..with_records(&[("host.corp.local.", address("192.168.1.40"))]) };
    let zone = Zone::new(&config, Leases::of(&[("pc1", "192.168.1.50")])).unwrap();
    for (owner, place) in [
        ("corp.local.", 0),
        ("_ldap._tcp.corp.LOCAL.", 0),
        ("printer.local.", 1),
        ("x.sub.office.example.", 2),
        ("5.2.168.192.in-addr.arpa.", 3),
        ("60.1.168.192.in-addr.arpa.", 4),
    ] {
        for record_type in [RecordType::A, RecordType::SOA, RecordType::PTR] {
            assert_eq!(zone.lookup(&name(owner), record_type), None, "{owner}");
        }
        assert_eq!(zone.forward_of(&NameKey::new(&name(owner))), Some(place), "{owner}");
    }
    assert_eq!(data(&zone, "host.corp.local.", RecordType::A), ["192.168.1.40"]);
    assert_eq!(data(&zone, "50.1.168.192.in-addr.arpa.", RecordType::PTR), ["pc1.office.example."]);
    assert_eq!(zone.forward_of(&NameKey::new(&name("pc1.office.example."))), None);
    let only_below = zone_of(&Config { forwards: vec![forward("corp.local")], ..office() });
    assert_eq!(denial(&only_below, "local.", RecordType::A).0, ResponseCode::NoError, "it has a name below");
    assert_eq!(denial(&only_below, "else.local.", RecordType::A).0, ResponseCode::NXDomain);
    let own = Config { forwards: vec![forward("OFFICE.example")], ..office() };
    assert_eq!(Zone::new(&own, Rc::new(())).err(), Some(ConfigError::OwnZone("office.example".into())));
}

#[test]
fn a_service_has_a_host_and_a_port() {
    let pbx = RecordValue::Service { priority: 0, weight: 5, port: 5060, target: "pbx".into() };
    let zone = zone_of(&with_records(&[("_sip._tcp", pbx)]));
    let found = data(&zone, "_sip._tcp.office.example.", RecordType::SRV);
    assert_eq!(found, ["0 5 5060 pbx.office.example."]);
}

#[test]
fn the_offices_own_domain_comes_before_special_names() {
    let zone = zone_of(&Config { domain: "office.local".into(), ..office() });
    assert_eq!(data(&zone, "lan.office.local.", RecordType::A), ["192.168.1.1"]);
    assert_eq!(denial(&zone, "else.local.", RecordType::A).0, ResponseCode::NXDomain);
    let zone = zone_of(&Config { domain: "home.arpa".into(), ..office() });
    assert_eq!(data(&zone, "lan.home.arpa.", RecordType::A), ["192.168.1.1"]);
}

#[test]
fn a_bare_label_has_no_address_and_its_domain_is_not_denied() {
    let zone = zone_of(&office());
    assert_eq!(zone.lookup(&name("printer."), RecordType::A), Some(Answer::default()));
    assert_eq!(zone.lookup(&name("com."), RecordType::NS), None);
    assert_eq!(zone.lookup(&name("www.shop.example."), RecordType::A), None);
}

#[test]
fn stand_alone_everything_is_local() {
    let zone = zone_of(&Config {
        use_upstream: false,
        ..with_records(&[("a.isp.example.", address("198.51.100.1"))])
    });
    let nx = (ResponseCode::NXDomain, ".".to_owned());
    assert_eq!(denial(&zone, "www.shop.example.", RecordType::A), nx);
    assert_eq!(denial(&zone, "printer.", RecordType::A), nx);
    assert_eq!(denial(&zone, "isp.example.", RecordType::A).0, ResponseCode::NoError);
    assert_eq!(data(&zone, "a.isp.example.", RecordType::A), ["198.51.100.1"]);
    assert_eq!(data(&zone, "lan.", RecordType::A), ["192.168.1.1"]);
}

/// RFC 8482, section 4.2: A query of type ANY is answered with HINFO.
#[test]
fn rfc8482_any_is_answered_with_hinfo() {
    let zone = zone_of(&office());
    for owner in ["gatepost.office.example.", "office.example.", "localhost."] {
        assert_eq!(lookup(&zone, owner, RecordType::ANY), any_answer(&name(owner)));
    }
    assert_eq!(denial(&zone, "nobody.office.example.", RecordType::ANY).0, ResponseCode::NXDomain);
}

#[test]
fn the_lans_reverse_zones_cover_it_exactly() {
    let names = |net: &str| -> Vec<String> {
        reverse_zones(net.parse().unwrap()).iter().map(ToString::to_string).collect()
    };
    assert_eq!(names("192.168.1.1/24"), ["1.168.192.in-addr.arpa."]);
    assert_eq!(names("192.168.5.1/23"), ["4.168.192.in-addr.arpa.", "5.168.192.in-addr.arpa."]);
    assert_eq!(names("10.1.2.3/8"), ["10.in-addr.arpa."]);
    assert_eq!(names("198.51.100.9/30").len(), 4);
}

#[test]
fn texts_are_there_as_long_as_they_are_published() {
    let config = with_records(&[("own._domainkey", RecordValue::Text("the administrator's".into()))]);
    let zone = zone_of(&config);
    let key = "k1._domainkey.office.example.";
    assert_eq!(denial(&zone, key, RecordType::TXT).0, ResponseCode::NXDomain);
    let long = "x".repeat(300);
    let publish = |names: &[&str]| {
        config.texts.set(names.iter().map(|name| ((*name).to_owned(), long.clone())));
    };
    publish(&["K1._domainkey.office.example", "k1._domainkey.shop.example", "own._domainkey.office.example"]);
    for owner in [key, "k1._domainkey.SHOP.example."] {
        let answer = lookup(&zone, owner, RecordType::TXT);
        let RData::TXT(text) = &answer.answers[0].data else { panic!("{answer:?}") };
        let lengths: Vec<_> = text.txt_data.iter().map(|string| string.len()).collect();
        // RFC 6376, section 3.6.2.2: strings are read one behind the other.
        assert_eq!((lengths, answer.answers.len()), (vec![255, 45], 1), "{owner}");
    }
    let code = |owner: &str| denial(&zone, owner, RecordType::A).0;
    assert_eq!(code(key), ResponseCode::NoError);
    assert_eq!(code("_domainkey.office.example."), ResponseCode::NoError);
    let own = data(&zone, "own._domainkey.office.example.", RecordType::TXT);
    assert_eq!(own, ["the administrator's"], "it comes first");
    publish(&[]);
    assert_eq!(denial(&zone, key, RecordType::TXT).0, ResponseCode::NXDomain);
    assert!(zone.lookup(&name("k1._domainkey.shop.example."), RecordType::TXT).is_none());
}

#[test]
fn the_content_is_what_lookups_find() {
    let config = with_records(&[
        ("nas", address("192.168.1.40")),
        ("www.elsewhere.example.", address("198.51.100.1")),
        ("host.corp.local.", address("192.168.1.41")),
    ]);
    let forwards = vec![ForwardZone { zone: "corp.local".into(), servers: Vec::new() }];
    let config = Config { forwards, ..config };
    config.texts.set([("key._domainkey.office.example".to_owned(), "v=DKIM1".to_owned())]);
    let zone = Zone::new(&config, Leases::of(&[("pc1", "192.168.1.50"), ("nas", "192.168.1.51")])).unwrap();
    let content = zone.content();
    let told = |owner: &str| -> Vec<_> {
        let records = content.records.iter().filter(|record| record.name == name(owner));
        records.map(|record| (record.data.to_string(), record.ttl_secs, record.origin)).collect()
    };
    let of = |data: &str, ttl_secs, origin| vec![(data.to_owned(), ttl_secs, origin)];
    assert_eq!(told("pc1.office.example."), of("192.168.1.50", LEASE_TTL_SECS, Origin::Host));
    assert_eq!(told("50.1.168.192.in-addr.arpa."), of("pc1.office.example.", LEASE_TTL_SECS, Origin::Host));
    assert_eq!(told("nas.office.example."), of("192.168.1.40", OWN_TTL_SECS, Origin::Configuration));
    assert_eq!(told("www.elsewhere.example."), of("198.51.100.1", OWN_TTL_SECS, Origin::Configuration));
    assert_eq!(told("host.corp.local."), of("192.168.1.41", OWN_TTL_SECS, Origin::Configuration));
    let key = told("key._domainkey.office.example.");
    assert_eq!(key.iter().map(|(_, _, origin)| *origin).collect::<Vec<_>>(), [Origin::Service]);
    assert_eq!(told("office.example.").len(), 3, "SOA, NS and MX");
    assert_eq!(told("1.0.0.127.in-addr.arpa."), [], "special-use names are left out");
    assert!(content.zones.contains(&name("office.example.")));
    for record in &content.records {
        let found = lookup(&zone, &record.name.to_ascii(), record.data.record_type());
        let is_found = |answer: &Record| (answer.ttl, &answer.data) == (record.ttl_secs, &record.data);
        assert!(found.answers.iter().any(is_found), "{record:?}");
    }
    assert!(content.records.is_sorted_by_key(|record| NameKey::new(&record.name)));
}

/// RFC 6303, section 3: Special-use names do not leave the office, also if it uses them as its own zones.
#[test]
fn rfc6303_special_zones_that_are_the_offices_own_do_not_leave_it() {
    let lan = "10.0.0.1/8".parse().unwrap();
    let zone = zone_of(&Config { domain: "local".into(), lan, ..office() });
    assert_eq!(data(&zone, "gatepost.local.", RecordType::A), ["10.0.0.1"]);
    let special = |owner: &str| zone.lookup_special(&name(owner), RecordType::MX).map(|answer| answer.code);
    assert_eq!(special("host.local."), Some(ResponseCode::NXDomain));
    assert_eq!(special("7.0.0.10.in-addr.arpa."), Some(ResponseCode::NXDomain));
    assert_eq!(zone_of(&office()).lookup_special(&name("host.office.example."), RecordType::MX), None);
}

/// RFC 4592, section 3.3.1: A wildcard answers for names without records below the closest name that exists.
#[test]
fn rfc4592_3_3_1_a_wildcard_answers_for_names_below_the_closest_that_exists() {
    let records = [
        ("*", address("192.168.1.70")),
        ("*.dev", address("192.168.1.71")),
        ("api.dev", RecordValue::Text("here".into())),
        ("*.elsewhere.example.", RecordValue::Alias("nas".into())),
        ("nas", address("192.168.1.40")),
    ];
    let zone = Zone::new(&with_records(&records), Leases::of(&[("pc1", "192.168.1.50")])).unwrap();
    let found = |owner: &str| data(&zone, owner, RecordType::A);
    assert_eq!(found("anything.office.example."), ["192.168.1.70"]);
    assert_eq!(found("a.b.office.example."), ["192.168.1.70"]);
    assert_eq!(found("web.dev.office.example."), ["192.168.1.71"]);
    assert_eq!(found("a.web.dev.office.example."), ["192.168.1.71"]);
    assert_eq!(found("nas.office.example."), ["192.168.1.40"]);
    assert_eq!(found("pc1.office.example."), ["192.168.1.50"]);
    assert_eq!(data(&zone, "www.elsewhere.example.", RecordType::CNAME), ["nas.office.example."]);
    let nodata = (ResponseCode::NoError, "office.example.".to_owned());
    for owner in ["api.dev.office.example.", "dev.office.example."] {
        assert_eq!(denial(&zone, owner, RecordType::A), nodata, "{owner} exists");
    }
    assert_eq!(denial(&zone, "web.dev.office.example.", RecordType::MX), nodata);
    let nxdomain = (ResponseCode::NXDomain, "office.example.".to_owned());
    for owner in ["a.api.dev.office.example.", "a.pc1.office.example.", "a.nas.office.example."] {
        assert_eq!(denial(&zone, owner, RecordType::A), nxdomain, "{owner}");
    }
    assert_eq!(zone.lookup(&name("www.other.example."), RecordType::A), None, "not local");
}

/// RFC 6186, section 3: Mail programs find the servers of a domain by SRV records, which a static record replaces.
#[test]
fn rfc6186_3_services_have_srv_records_which_a_static_record_replaces() {
    let service =
        |port, target: &str| RecordValue::Service { priority: 0, weight: 1, port, target: target.into() };
    let of = |name: &str, value| StaticRecord { name: name.into(), value };
    let services = vec![of("_pop3s._tcp", service(995, "pop")), of("_submission._tcp", service(587, "smtp"))];
    let zone = zone_of(&Config {
        services,
        ..with_records(&[("_submission._tcp", service(587, "mail.isp.example."))])
    });
    let srv = |label: &str| data(&zone, &format!("{label}._tcp.office.example."), RecordType::SRV);
    assert_eq!(srv("_pop3s"), ["0 1 995 pop.office.example."]);
    assert_eq!(srv("_submission"), ["0 1 587 mail.isp.example."]);
}

/// RFC 8659, section 4.1: A CAA record has flags, a tag and a value.
#[test]
fn rfc8659_4_1_caa_records_have_flags_a_tag_and_a_value() {
    let caa = |tag: &str| RecordValue::CertificationAuthority {
        is_critical: true,
        tag: tag.into(),
        value: "ca.example".into(),
    };
    let zone = zone_of(&with_records(&[("office.example.", caa("issue"))]));
    let answer = lookup(&zone, "office.example.", RecordType::CAA);
    let mut wire = hickory_proto::serialize::binary::BinEncodable::to_bytes(&answer.answers[0].data).unwrap();
    assert_eq!(wire.split_off(2), b"issueca.example");
    assert_eq!(wire, [128, 5]);
    let refused = |tag| Zone::new(&with_records(&[("a", caa(tag))]), Rc::new(())).err();
    assert_eq!(
        [refused(""), refused("is-sue")],
        ["", "is-sue"].map(|tag| Some(ConfigError::Tag(tag.into())))
    );
}

#[test]
fn no_host_takes_the_apex_of_a_forwarded_zone() {
    let forwards = vec![ForwardZone { zone: "ad.office.example".into(), servers: Vec::new() }];
    let records = [("host.ad", address("192.168.1.60"))];
    let config = Config { forwards, ..with_records(&records) };
    let zone = Zone::new(&config, Leases::of(&[("ad", "192.168.1.50"), ("pc1", "192.168.1.51")])).unwrap();
    for record_type in [RecordType::A, RecordType::SOA] {
        assert_eq!(zone.lookup(&name("ad.office.example."), record_type), None, "{record_type}");
    }
    assert_eq!(data(&zone, "pc1.office.example.", RecordType::A), ["192.168.1.51"]);
    let nodata = (ResponseCode::NoError, "host.ad.office.example.".to_owned());
    assert_eq!(denial(&zone, "host.ad.office.example.", RecordType::AAAA), nodata, "for a short time");
}

#[test]
fn a_wildcard_is_no_reverse_name_and_a_published_text_is_a_name() {
    let records = [("*.dev", address("192.168.1.50")), ("*._domainkey", RecordValue::Text("any".into()))];
    let config = with_records(&records);
    config.texts.set([("k1._domainkey.office.example".to_owned(), "v=DKIM1".to_owned())]);
    let zone = Zone::new(&config, Leases::of(&[("pc1", "192.168.1.50")])).unwrap();
    assert_eq!(data(&zone, "50.1.168.192.in-addr.arpa.", RecordType::PTR), ["pc1.office.example."]);
    let nxdomain = (ResponseCode::NXDomain, "office.example.".to_owned());
    assert_eq!(denial(&zone, "a.k1._domainkey.office.example.", RecordType::TXT), nxdomain);
    assert_eq!(lookup(&zone, "k2._domainkey.office.example.", RecordType::TXT).answers.len(), 1);
}

fn name_server(server: &str) -> RecordValue {
    RecordValue::NameServer(server.into())
}

/// RFC 1034, section 4.3.2: A delegated zone is not answered from this one, and a referral names its servers.
#[test]
fn rfc1034_4_3_2_a_referral_names_the_servers_of_a_delegated_zone() {
    let config = with_records(&[
        ("branch", name_server("ns.branch")),
        ("branch", name_server("ns2")),
        ("branch", name_server("ns.elsewhere.example.")),
        ("ns.branch", address("192.168.1.60")),
        ("ns2", address("192.168.1.61")),
        ("*", address("192.168.1.70")),
        ("corp", name_server("ns2")),
    ]);
    let forwards = vec![ForwardZone { zone: "corp.local".into(), servers: Vec::new() }];
    let zone = Zone::new(&Config { forwards, ..config }, Leases::of(&[("branch", "192.168.1.50")])).unwrap();
    for owner in ["branch.office.example.", "pc.Branch.office.example.", "ns.branch.office.example."] {
        assert_eq!(zone.lookup(&name(owner), RecordType::A), None, "{owner}");
        assert_eq!(zone.forward_of(&NameKey::new(&name(owner))), Some(2));
        let referral = zone.referral(&name(owner)).unwrap();
        let servers: Vec<_> = referral.authorities.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(servers, ["ns.branch.office.example.", "ns2.office.example.", "ns.elsewhere.example."]);
        assert!(referral.authorities.iter().all(|record| record.name == name("branch.office.example.")));
        let glue: Vec<_> = referral.additionals.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(glue, ["192.168.1.60", "192.168.1.61"]);
    }
    assert_eq!(zone.lookup(&name("corp.office.example."), RecordType::A), None, "a built-in name");
    // RFC 4035, section 3.1.4.1
    let own = (ResponseCode::NoError, "office.example.".to_owned());
    assert_eq!(denial(&zone, "branch.office.example.", RecordType::DS), own);
    assert_eq!(zone.lookup(&name("pc.branch.office.example."), RecordType::DS), None);
    assert_eq!(data(&zone, "ns2.office.example.", RecordType::A), ["192.168.1.61"]);
    assert_eq!(zone.referral(&name("other.office.example.")), None);
    assert_eq!(zone.referral(&name("pc.corp.local.")), None);
    let content = zone.content();
    let shown = content.records.iter().filter(|record| record.data.record_type() == RecordType::NS);
    assert_eq!(shown.filter(|record| record.name == name("branch.office.example.")).count(), 3);
}

#[test]
fn a_delegation_that_cannot_be_is_an_error() {
    let error = |records: &[(&str, RecordValue)]| {
        let forwards = vec![ForwardZone { zone: "corp.office.example".into(), servers: Vec::new() }];
        let config = Config { forwards, ..with_records(records) };
        Zone::new(&config, Rc::new(())).err()
    };
    let ns = ("ns", address("192.168.1.60"));
    for zone in ["office.example.", "shop.example.", "*.branch", "corp"] {
        let expected = Some(ConfigError::NotDelegable(zone.to_owned()));
        assert_eq!(error(&[(zone, name_server("ns")), ns.clone()]), expected);
    }
    let unknown = Some(ConfigError::NoServerAddress("branch.office.example.".to_owned()));
    assert_eq!(error(&[("branch", name_server("ns.elsewhere.example."))]), unknown);
    let own = Some(ConfigError::NoServerAddress("branch.office.example.".to_owned()));
    assert_eq!(error(&[("branch", name_server("www"))]), own, "the gateway's WAN address changes");
    let branch = ("branch", name_server("ns"));
    for inside in [("pc.branch", address("192.168.1.61")), ("branch", RecordValue::Text("here".into()))] {
        let found = error(&[branch.clone(), ns.clone(), inside]);
        assert!(matches!(found, Some(ConfigError::InDelegatedZone(_))), "{found:?}");
    }
    let nested = ("sub.branch", name_server("ns"));
    let found = error(&[branch.clone(), nested, ns.clone()]);
    assert_eq!(found, Some(ConfigError::InDelegatedZone("sub.branch.office.example.".to_owned())));
    assert_eq!(error(&[branch, ns]), None);
}
