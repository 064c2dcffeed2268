use std::net::IpAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::mail::address::Domain;
use crate::mail::smtp::client::{Outcome, Report};

const OWN: &str = "203.0.113.10";

fn routes() -> Routes {
    Routes {
        own_names: vec!["smtp.office.example".into(), "office.example".into()],
        own_addresses: vec![OWN.parse().unwrap(), "192.168.1.1".parse().unwrap()],
        ..Routes::default()
    }
}

fn server(host: &str, port: u16) -> Server {
    let host = host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Address);
    Server { host, port }
}

/// A world of names: `mx NAME = 10 HOST, ...` and `NAME = ADDRESS, ...`; what is not there does not exist.
struct World(&'static [(&'static str, &'static str)]);

impl World {
    fn answer(&self, question: &Question) -> Answer {
        let find = |name: &str| self.0.iter().find(|(of, _)| *of == name).map(|(_, data)| *data);
        match question {
            Question::Mx(name) => Answer::Mx(match find(&format!("mx {name}")) {
                Some("?") => Err(NoAnswer::Unavailable),
                Some(data) => Ok(data.split(", ").map(exchange).collect()),
                None if find(name).is_some() => Err(NoAnswer::NoData),
                None => Err(NoAnswer::NoName),
            }),
            Question::Addresses(name) => Answer::Addresses(match find(name) {
                Some("?") => Err(NoAnswer::Unavailable),
                Some(data) => Ok(data.split(", ").map(|address| address.parse().unwrap()).collect()),
                None => Err(NoAnswer::NoName),
            }),
        }
    }

    /// The addresses that are tried for a domain, or why there are none.
    fn search(&self, routes: &Routes, domain: &str, seed: u64) -> Result<Vec<String>, Report> {
        let mut rng = StdRng::seed_from_u64(seed);
        let way = routes.next_hop(&Domain::parse(domain).unwrap());
        let (mut search, mut step) = Search::start(routes, &way, &mut rng);
        for _ in 0..=HOSTS_MAX + 1 {
            match step {
                Step::Ask(question) => step = search.answer(self.answer(&question), &mut rng),
                Step::Targets(targets) => {
                    return Ok(targets.iter().map(|target| target.address.to_string()).collect());
                }
                Step::None(report) => return Err(report),
            }
        }
        panic!("it asks on and on");
    }

    fn fails(&self, routes: &Routes, domain: &str) -> String {
        let report = self.search(routes, domain, 1).unwrap_err();
        let outcome = if report.outcome == Outcome::Failed { "failed" } else { "deferred" };
        format!("{outcome} {}", report.status)
    }
}

fn exchange(text: &str) -> MxRecord {
    let (preference, host) = text.split_once(' ').unwrap();
    MxRecord { preference: preference.parse().unwrap(), host: host.trim_end_matches('.').to_owned() }
}

/// RFC 5321, section 5.1: Hosts are tried by preference, and equal ones in an order that is drawn.
#[test]
fn rfc5321_5_1_hosts_are_tried_by_preference() {
    let world = World(&[
        ("mx far.example", "20 c.far.example, 10 a.far.example, 10 b.far.example"),
        ("a.far.example", "198.51.100.1"),
        ("b.far.example", "198.51.100.2"),
        ("c.far.example", "198.51.100.3"),
    ]);
    let mut first = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let found = world.search(&routes(), "far.example", seed).unwrap();
        assert_eq!((found.len(), found[2].as_str()), (3, "198.51.100.3:25"));
        assert_eq!(found, world.search(&routes(), "far.example", seed).unwrap(), "the seed draws it");
        first.insert(found[0].clone());
    }
    assert_eq!(first.len(), 2, "both come first now and then");
}

/// RFC 5321, section 5.1: Without MX records the domain's own addresses are its server.
#[test]
fn rfc5321_5_1_without_mx_records_the_domain_is_the_server() {
    let world = World(&[("far.example", "198.51.100.1"), ("mx gone.example", "10 no.gone.example")]);
    assert_eq!(world.search(&routes(), "far.example", 1).unwrap(), ["198.51.100.1:25"]);
    assert_eq!(world.fails(&routes(), "nowhere.example"), "failed 5.1.2");
    assert_eq!(world.fails(&routes(), "gone.example"), "failed 5.4.4");
    assert_eq!(world.search(&routes(), "[198.51.100.9]", 1).unwrap(), ["198.51.100.9:25"]);
}

/// RFC 7505, section 3: A domain with a null MX takes no mail.
#[test]
fn rfc7505_3_a_domain_with_a_null_mx_takes_no_mail() {
    let world = World(&[
        ("mx none.example", "0 ."),
        ("none.example", "198.51.100.1"),
        ("mx both.example", "0 ., 10 a.both.example"),
        ("a.both.example", "198.51.100.2"),
        ("mx twice.example", "0 ., 10 ."),
        ("twice.example", "198.51.100.3"),
    ]);
    assert_eq!(world.fails(&routes(), "twice.example"), "failed 5.1.10", "not its address");
    assert_eq!(world.fails(&routes(), "none.example"), "failed 5.1.10");
    assert_eq!(world.search(&routes(), "both.example", 1).unwrap(), ["198.51.100.2:25"]);
}

/// RFC 5321, section 5.1: What is not preferred to this server is passed over, so that no mail goes in circles.
#[test]
fn rfc5321_5_1_what_is_not_preferred_to_this_server_is_passed_over() {
    let world = World(&[
        (
            "mx backup.example",
            "10 a.backup.example, 20 smtp.office.example, 20 b.backup.example, 30 c.backup.example",
        ),
        ("mx alias.example", "10 a.backup.example, 20 ours.alias.example, 20 b.backup.example"),
        ("mx us.example", "10 smtp.office.example"),
        ("mx us2.example", "10 ours.alias.example, 10 b.backup.example"),
        ("a.backup.example", "198.51.100.1"),
        ("b.backup.example", "198.51.100.2"),
        ("c.backup.example", "198.51.100.3"),
        ("ours.alias.example", OWN),
    ]);
    for seed in 0..10 {
        for domain in ["backup.example", "alias.example"] {
            assert_eq!(world.search(&routes(), domain, seed).unwrap(), ["198.51.100.1:25"], "{domain}");
        }
        assert!(world.search(&routes(), "us2.example", seed).is_err());
    }
    assert_eq!(world.fails(&routes(), "us.example"), "failed 5.4.6");
    assert_eq!(world.fails(&routes(), "us2.example"), "failed 5.4.6");
    // However many hosts have the preference of this server, of which some are cut.
    let many: Vec<_> = (0..HOSTS_MAX + 2).map(|at| format!("10 h{at}.many.example")).collect();
    let many = format!("{}, 10 smtp.office.example, 5 a.backup.example", many.join(", "));
    let (routes, many) = (routes(), many.split(", ").map(exchange).collect::<Vec<_>>());
    for seed in 0..10 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut search, mut step) =
            Search::start(&routes, &NextHop::Domain("many.example".to_owned()), &mut rng);
        while let Step::Ask(question) = step {
            let answer = match &question {
                Question::Mx(_) => Answer::Mx(Ok(many.clone())),
                Question::Addresses(name) => {
                    assert_eq!(name, "a.backup.example", "{seed}");
                    world.answer(&question)
                }
            };
            step = search.answer(answer, &mut rng);
        }
        assert!(matches!(step, Step::Targets(targets) if targets.len() == 1));
    }
}

#[test]
fn nobody_outside_points_mail_at_machines_of_the_office() {
    let world = World(&[
        ("mx local.example", "10 localhost.local.example"),
        ("localhost.local.example", "127.0.0.1, ::1"),
        ("mx zero.example", "10 zero.zero.example"),
        ("zero.zero.example", "0.0.0.0"),
        ("mx printer.example", "10 printer.printer.example"),
        ("printer.printer.example", "192.168.1.20, 169.254.1.1, fd00::1"),
        ("gateway.example", "192.168.1.1"),
        ("mx all.example", "10 all.all.example"),
        ("all.all.example", "255.255.255.255, 224.0.0.1"),
        ("mx mixed.example", "10 printer.printer.example, 20 good.mixed.example"),
        ("good.mixed.example", "10.0.0.1, 198.51.100.4"),
        ("mx group.example", "10 all.all.example, 20 good.mixed.example"),
        ("mx mapped.example", "10 mapped.mapped.example"),
        ("mapped.mapped.example", "::ffff:203.0.113.10"),
        ("mx neighbour.example", "10 a.neighbour.example, 20 b.neighbour.example, 30 good.mixed.example"),
        ("a.neighbour.example", "203.0.113.11"),
        ("b.neighbour.example", "2001:db8:1::5"),
    ]);
    let mut office = Routes { has_ipv6: true, ..routes() };
    assert_eq!(world.fails(&office, "mapped.example"), "failed 5.4.6", "this server in another form");
    assert_eq!(world.search(&office, "group.example", 1).unwrap(), ["198.51.100.4:25"]);
    // The office has public addresses.
    office.lan = vec!["203.0.113.0/28".parse().unwrap(), "2001:db8:1::/64".parse().unwrap()];
    assert_eq!(world.search(&office, "neighbour.example", 1).unwrap(), ["198.51.100.4:25"]);
    assert_eq!(world.fails(&office, "[203.0.113.11]"), "failed 5.4.4");
    for domain in ["local.example", "zero.example", "all.example", "printer.example", "gateway.example"] {
        // Another network has addresses of its own for it, or a name service is wrong for a while.
        assert_eq!(world.fails(&routes(), domain), "deferred 4.4.4", "{domain}");
    }
    for literal in ["[192.168.1.20]", "[192.168.1.1]", "[127.0.0.1]"] {
        assert_eq!(world.fails(&routes(), literal), "failed 5.4.4", "{literal}");
    }
    assert_eq!(world.fails(&routes(), "[203.0.113.10]"), "failed 5.4.6");
    assert_eq!(world.search(&routes(), "mixed.example", 1).unwrap(), ["198.51.100.4:25"]);
}

#[test]
fn routes_and_the_smarthost_lead_anywhere_but_here() {
    let world = World(&[("mail.lan", "192.168.1.41, 192.168.1.1"), ("smtp.isp.example", "198.51.100.25")]);
    let mut routes = routes();
    for (domain, to, port) in [
        ("old.example", "192.168.1.40", 2525),
        ("named.example", "mail.lan", 25),
        ("own.example", OWN, 25),
        ("lost.example", "lost.lan", 25),
        ("loop.example", "127.0.0.1", 25),
    ] {
        routes.domains.insert(domain.to_owned(), server(to, port));
    }
    assert_eq!(world.search(&routes, "old.example", 1).unwrap(), ["192.168.1.40:2525"]);
    // An address of this server among others is one of a preference that is its own.
    assert_eq!(world.fails(&routes, "named.example"), "deferred 4.4.4");
    assert_eq!(world.fails(&routes, "own.example"), "deferred 4.4.4");
    assert_eq!(world.fails(&routes, "loop.example"), "deferred 4.4.4");
    assert_eq!(world.fails(&routes, "lost.example"), "deferred 4.4.4");
    routes.smarthost = Some(server("smtp.isp.example", 587));
    assert_eq!(world.search(&routes, "any.example", 1).unwrap(), ["198.51.100.25:587"]);
    assert_eq!(world.search(&routes, "old.example", 1).unwrap(), ["192.168.1.40:2525"]);
    let way = routes.next_hop(&Domain::parse("any.example").unwrap());
    assert!(matches!(way, NextHop::Server { is_smarthost: true, .. }));
}

/// RFC 5321, section 5.1: A domain without MX records and addresses takes no mail.
#[test]
fn rfc5321_5_1_a_domain_without_mx_records_and_addresses_takes_no_mail() {
    let (routes, mut rng) = (routes(), StdRng::seed_from_u64(1));
    let next_hop = NextHop::Domain("empty.example".to_owned());
    for (addresses, expected) in [
        (NoAnswer::NoData, (Outcome::Failed, "5.4.4")),
        (NoAnswer::NoName, (Outcome::Failed, "5.4.4")),
        (NoAnswer::Unavailable, (Outcome::Deferred, "4.4.3")),
    ] {
        let (mut search, _) = Search::start(&routes, &next_hop, &mut rng);
        search.answer(Answer::Mx(Err(NoAnswer::NoData)), &mut rng);
        let step = search.answer(Answer::Addresses(Err(addresses)), &mut rng);
        let Step::None(report) = step else { panic!("{step:?}") };
        assert_eq!((report.outcome, report.status.to_string().as_str()), expected, "{addresses:?}");
    }
}

#[test]
fn what_cannot_be_looked_up_is_tried_another_time() {
    let world = World(&[
        ("mx down.example", "?"),
        ("mx half.example", "10 a.half.example, 20 b.half.example"),
        ("a.half.example", "?"),
        ("b.half.example", "198.51.100.2"),
        ("mx hidden.example", "10 a.half.example"),
    ]);
    assert_eq!(world.fails(&routes(), "down.example"), "deferred 4.4.3");
    assert_eq!(world.fails(&routes(), "hidden.example"), "deferred 4.4.3");
    assert_eq!(world.search(&routes(), "half.example", 1).unwrap(), ["198.51.100.2:25"]);
}

#[test]
fn ipv6_is_tried_where_there_is_a_way() {
    let world = World(&[("six.example", "2001:db8::1"), ("two.example", "198.51.100.1, 2001:db8::1")]);
    let with = Routes { has_ipv6: true, ..routes() };
    assert_eq!(world.fails(&routes(), "six.example"), "deferred 4.4.4");
    assert_eq!(world.search(&routes(), "two.example", 1).unwrap(), ["198.51.100.1:25"]);
    assert_eq!(world.search(&with, "six.example", 1).unwrap(), ["[2001:db8::1]:25"]);
    assert_eq!(world.search(&with, "two.example", 1).unwrap().len(), 2);
}

#[test]
fn hosts_and_addresses_are_bounded() {
    let mut hosts: Vec<_> =
        (0..100).map(|at| MxRecord { preference: at, host: format!("h{at}.far.example") }).collect();
    hosts.reverse();
    let (routes, mut rng) = (routes(), StdRng::seed_from_u64(1));
    let (mut search, mut step) = Search::start(&routes, &NextHop::Domain("far.example".to_owned()), &mut rng);
    let mut asked = 0;
    let targets = loop {
        let answer = match step {
            Step::Ask(Question::Mx(_)) => Answer::Mx(Ok(hosts.clone())),
            Step::Ask(Question::Addresses(_)) => {
                asked += 1;
                Answer::Addresses(Ok((1..=200).map(|at| IpAddr::from([198, 51, 100, at])).collect()))
            }
            Step::Targets(targets) => break targets,
            Step::None(report) => panic!("{report:?}"),
        };
        step = search.answer(answer, &mut rng);
    };
    assert_eq!((asked, targets.len()), (HOSTS_MAX, TARGETS_MAX));
    let of_first = targets.iter().filter(|target| target.name == "h0.far.example").count();
    assert_eq!(of_first, HOST_ADDRESSES_MAX);
}
