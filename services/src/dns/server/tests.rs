use hickory_proto::rr::Record;
use proptest::prelude::*;
use rand::SeedableRng;

use super::super::config::{ForwardZone, RecordValue, StaticRecord};
use super::super::forwarder::UPSTREAMS_MAX;
use super::super::testing::{Leases, a, addresses, cname, name, office, query, respond, soa};
use super::super::wire::opaque;
use super::*;

mod events;
mod shares;

const PC: &str = "192.168.1.50:40000";
const OUTSIDE: &str = "198.51.100.9:40000";

/// A server and its transcript.
struct Rig {
    server: Server,
    now: Instant,
    id: u16,
}

/// A query to an upstream server.
struct Sent {
    attempt: AttemptId,
    query: Vec<u8>,
}

impl Sent {
    fn name(&self) -> String {
        Message::from_vec(&self.query).unwrap().queries[0].name.to_string()
    }
}

impl Rig {
    fn new(config: Config) -> Self {
        let leases = Leases::of(&[("pc1", "192.168.1.50")]);
        Self::with_leases(config, leases)
    }

    fn with_leases(config: Config, leases: Rc<Leases>) -> Self {
        let server = Server::new(config, leases, StdRng::seed_from_u64(7)).unwrap();
        Self { server, now: Instant::from_secs(1_000), id: 0 }
    }

    fn client(address: &str) -> Client {
        Client { address: address.parse().unwrap(), transport: Transport::Udp, socket: 1 }
    }

    fn send(&mut self, from: &str, owner: &str, record_type: RecordType) {
        self.id += 1;
        self.server.handle_query(self.now, Self::client(from), &query(self.id, owner, record_type, None));
    }

    /// The response that needs no upstream query.
    fn ask(&mut self, from: &str, owner: &str, record_type: RecordType) -> Message {
        self.send(from, owner, record_type);
        self.replied()
    }

    fn replied(&mut self) -> Message {
        loop {
            match self.server.poll_output() {
                Some(Output::Reply { message, .. }) => return Message::from_vec(&message).unwrap(),
                Some(Output::Close(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn sent(&mut self) -> Sent {
        loop {
            match self.server.poll_output() {
                Some(Output::Attempt(UpstreamQuery { attempt, message, .. })) => {
                    return Sent { attempt, query: message };
                }
                Some(Output::Close(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn upstream(&mut self, to: &Sent, code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) {
        let response = respond(&to.query, code, answers, authorities).to_vec().unwrap();
        self.server.handle_response(self.now, to.attempt, &response);
    }

    /// Has the server cache an address of `owner` for `ttl` seconds, as a client asks for it.
    fn learn(&mut self, owner: &str, ttl: u32, address: &str) -> Message {
        self.send(PC, owner, RecordType::A);
        let sent = self.sent();
        self.upstream(&sent, ResponseCode::NoError, vec![a(owner, ttl, address)], vec![]);
        self.replied()
    }

    fn is_idle(&mut self) -> bool {
        !matches!(self.server.poll_output(), Some(Output::Attempt(_) | Output::Reply { .. }))
    }
}

#[test]
fn a_foreign_name_is_asked_for_once_and_then_known() {
    let mut rig = Rig::new(office());
    let response = rig.learn("www.shop.example.", 60, "203.0.113.7");
    assert_eq!(addresses(&response), ["203.0.113.7"]);
    assert!(response.metadata.recursion_available && !response.metadata.authoritative);
    rig.now = rig.now + std::time::Duration::from_secs(10);
    let response = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!(response.answers[0].ttl, 50);
    let stats = rig.server.stats();
    assert_eq!((stats.queries, stats.forwarded, stats.cached, stats.cached_records), (2, 1, 1, 1));
}

/// RFC 8767, section 4: A stale answer is better than none, also without an upstream server.
#[test]
fn rfc8767_4_a_stale_answer_is_given_without_an_upstream_server() {
    let mut rig = Rig::new(office());
    rig.learn("www.shop.example.", 60, "203.0.113.7");
    rig.server.set_upstreams(Vec::new());
    rig.now = rig.now + std::time::Duration::from_secs(100);
    let stale = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!((addresses(&stale), stale.answers[0].ttl), (vec!["203.0.113.7".to_owned()], 30));
    let other = rig.ask(PC, "other.shop.example.", RecordType::A);
    assert_eq!(other.metadata.response_code, ResponseCode::ServFail);
    let stats = rig.server.stats();
    assert_eq!((stats.stale, stats.unanswerable, stats.cached), (1, 1, 1));
}

/// RFC 8767, section 5: A client waits for 1.8 seconds if there is a stale answer.
#[test]
fn rfc8767_5_a_client_waits_for_1_8_seconds_if_there_is_a_stale_answer() {
    let mut rig = Rig::new(office());
    rig.learn("www.shop.example.", 60, "203.0.113.7");
    rig.now = rig.now + std::time::Duration::from_secs(100);
    rig.send(PC, "www.shop.example.", RecordType::A);
    let sent = rig.sent();
    let asked = rig.now;
    let mut stale = None;
    while stale.is_none() {
        rig.now = rig.server.poll_timeout().expect("upstream servers are waited for");
        rig.server.handle_timeout(rig.now);
        while let Some(output) = rig.server.poll_output() {
            if let Output::Reply { message, .. } = output {
                stale = Some(Message::from_vec(&message).unwrap());
            }
        }
    }
    let stale = stale.expect("it was waited for");
    assert_eq!((addresses(&stale), stale.answers[0].ttl), (vec!["203.0.113.7".to_owned()], 30));
    assert_eq!(rig.now.since(asked), std::time::Duration::from_millis(1_800));
    // The answer that comes late is the one for others.
    rig.upstream(&sent, ResponseCode::NoError, vec![a("www.shop.example.", 60, "203.0.113.8")], vec![]);
    while rig.server.poll_output().is_some() {}
    assert_eq!(addresses(&rig.ask(PC, "www.shop.example.", RecordType::A)), ["203.0.113.8"]);
    let stats = rig.server.stats();
    assert_eq!((stats.stale, stats.upstream_failures), (1, 0));
}

#[test]
fn exchanges_that_nobody_waits_for_make_room() {
    let mut rig = Rig::new(office());
    let names: Vec<_> = (0..forwarder::EXCHANGES_MAX).map(|n| format!("www.shop{n}.example{n}.")).collect();
    for name in &names {
        rig.learn(name, 1, "203.0.113.7");
    }
    let pass = |rig: &mut Rig, millis| {
        let until = rig.now + std::time::Duration::from_millis(millis);
        while let Some(due) = rig.server.poll_timeout().filter(|due| *due <= until) {
            rig.now = rig.now.max(due);
            rig.server.handle_timeout(rig.now);
        }
        rig.now = until;
        while rig.server.poll_output().is_some() {}
    };
    pass(&mut rig, 60_000);
    for half in names.chunks(forwarder::EXCHANGES_MAX / 2) {
        half.iter().for_each(|name| rig.send(PC, name, RecordType::A));
        pass(&mut rig, 1_900);
    }
    let stats = rig.server.stats();
    assert_eq!((stats.stale, stats.unanswerable), (names.len() as u64, 0));
    rig.send(PC, "www.other.example.", RecordType::A);
    rig.sent();
    assert_eq!(rig.server.stats().unanswerable, 0);
}

#[test]
fn a_popular_answer_is_fetched_again_before_it_expires() {
    let mut rig = Rig::new(office());
    rig.learn("www.shop.example.", 60, "203.0.113.7");
    rig.now = rig.now + std::time::Duration::from_secs(55);
    for _ in 0..2 {
        rig.ask(PC, "www.shop.example.", RecordType::A);
        assert!(rig.is_idle());
    }
    rig.send(PC, "www.shop.example.", RecordType::A);
    let (sent, response) = match (rig.server.poll_output(), rig.server.poll_output()) {
        (Some(Output::Reply { message, .. }), Some(Output::Attempt(query)))
        | (Some(Output::Attempt(query)), Some(Output::Reply { message, .. })) => {
            (Sent { attempt: query.attempt, query: query.message }, Message::from_vec(&message).unwrap())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(response.answers[0].ttl, 5, "the client does not wait");
    rig.upstream(&sent, ResponseCode::NoError, vec![a("www.shop.example.", 60, "203.0.113.8")], vec![]);
    assert!(rig.is_idle());
    rig.now = rig.now + std::time::Duration::from_secs(30);
    assert_eq!(addresses(&rig.ask(PC, "www.shop.example.", RecordType::A)), ["203.0.113.8"]);
    assert_eq!(rig.server.stats().prefetched, 1);
}

/// RFC 4035, section 3.2.3: AD of a trusted server is passed on for what it has validated.
#[test]
fn rfc4035_3_2_3_ad_of_a_trusted_server_is_passed_on_for_what_it_has_validated() {
    for trust_ad in [true, false] {
        let mut rig = Rig::new(Config {
            trust_ad,
            records: vec![StaticRecord {
                name: "alias".into(),
                value: RecordValue::Alias("www.shop.example.".into()),
            }],
            ..office()
        });
        let mut asked = |owner: &str, upstream: bool| {
            rig.id += 1;
            let mut query = Message::from_vec(&query(rig.id, owner, RecordType::A, None)).unwrap();
            query.metadata.authentic_data = true;
            rig.server.handle_query(rig.now, Rig::client(PC), &query.to_vec().unwrap());
            if upstream {
                let sent = rig.sent();
                let found = [a("www.shop.example.", 60, "203.0.113.7")];
                let mut response = respond(&sent.query, ResponseCode::NoError, found, []);
                response.metadata.authentic_data = true;
                rig.server.handle_response(rig.now, sent.attempt, &response.to_vec().unwrap());
            }
            rig.replied().metadata.authentic_data
        };
        assert_eq!(asked("www.shop.example.", true), trust_ad);
        assert_eq!(asked("www.shop.example.", false), trust_ad, "from the cache, too");
        assert!(!asked("alias.office.example.", false), "the alias is not signed");
    }
}

/// RFC 4035, section 3.1.3.3: The proofs of all parts of a chain are in its answer.
#[test]
fn rfc4035_3_1_3_3_the_proofs_of_all_parts_of_a_chain_are_in_its_answer() {
    let mut rig = Rig::new(office());
    let mut query = Message::from_vec(&query(1, "www.shop.example.", RecordType::A, Some(1232))).unwrap();
    query.edns.as_mut().unwrap().set_dnssec_ok(true);
    rig.server.handle_query(rig.now, Rig::client(PC), &query.to_vec().unwrap());
    let proof = |zone: &str| Record::from_rdata(name(zone), 60, opaque(RecordType::NSEC, vec![0; 9]));
    let sent = rig.sent();
    let alias = vec![cname("www.shop.example.", 60, "w.cdn.example.")];
    rig.upstream(&sent, ResponseCode::NoError, alias, vec![]);
    let sent = rig.sent();
    let found = vec![a("w.cdn.example.", 60, "203.0.113.7")];
    rig.upstream(&sent, ResponseCode::NoError, found, vec![proof("cdn.example.")]);
    let response = rig.replied();
    assert_eq!((response.answers.len(), response.authorities.len()), (2, 1));
}

/// The office with the domain controller 192.168.1.51, and with `plex.direct` exempt from the rebinding filter.
fn with_domain_controller() -> Config {
    let forward =
        |zone: &str| ForwardZone { zone: zone.into(), servers: vec!["192.168.1.51:53".parse().unwrap()] };
    Config {
        private_answers_from: vec!["plex.direct".into()],
        forwards: ["corp.local", "10.in-addr.arpa"].map(forward).to_vec(),
        ..office()
    }
}

#[test]
fn private_addresses_of_public_names_are_removed_and_counted_unless_they_are_meant() {
    for (owner, address, passes) in [
        ("x.evil.example.", "10.99.0.1", false),
        ("x.evil.example.", "192.168.1.7", false),
        ("x.evil.example.", "127.0.0.1", false),
        ("2.0.0.127.zen.list.example.", "127.0.0.2", true),
        ("192-168-1-50.abc.plex.direct.", "192.168.1.50", true),
        ("dc1.corp.local.", "192.168.1.51", true),
    ] {
        let mut rig = Rig::new(with_domain_controller());
        for from_cache in [false, true] {
            rig.send(PC, owner, RecordType::A);
            if !(from_cache && passes) {
                let sent = rig.sent();
                rig.upstream(&sent, ResponseCode::NoError, vec![a(owner, 60, address)], vec![]);
            }
            let expected: &[&str] = if passes { &[address] } else { &[] };
            assert_eq!(addresses(&rig.replied()), expected, "{owner} {address}");
        }
        assert_eq!(rig.server.stats().rebinding_filtered, if passes { 0 } else { 2 });
    }
}

#[test]
fn an_alias_of_a_public_name_gets_no_private_address_of_a_name_that_may_have_one() {
    for target in ["a.plex.direct.", "dc1.corp.local."] {
        let mut rig = Rig::new(with_domain_controller());
        rig.send(PC, target, RecordType::A);
        let sent = rig.sent();
        rig.upstream(&sent, ResponseCode::NoError, vec![a(target, 60, "192.168.1.51")], vec![]);
        assert_eq!(addresses(&rig.replied()), ["192.168.1.51"]);
        rig.send(PC, "x.evil.example.", RecordType::A);
        let sent = rig.sent();
        let alias = vec![cname("x.evil.example.", 60, target)];
        rig.upstream(&sent, ResponseCode::NoError, alias, vec![]);
        assert_eq!(addresses(&rig.replied()), [] as [&str; 0], "{target}");
        assert_eq!(rig.server.stats().rebinding_filtered, 1);
    }
}

#[test]
fn names_of_a_forwarded_zone_are_asked_of_its_servers_alone() {
    for use_upstream in [true, false] {
        let mut rig = Rig::new(Config { use_upstream, ..with_domain_controller() });
        for (owner, server) in [
            ("_ldap._tcp.dc._msdcs.corp.local.", "192.168.1.51:53"),
            ("7.30.20.10.in-addr.arpa.", "192.168.1.51:53"),
            ("www.shop.example.", "203.0.113.53:53"),
        ] {
            rig.send(PC, owner, RecordType::SRV);
            match rig.server.poll_output() {
                Some(Output::Attempt(query)) => assert_eq!(query.server.to_string(), server, "{owner}"),
                other => assert!(owner.starts_with("www") && !use_upstream, "{owner} {other:?}"),
            }
        }
        let denied = rig.ask(PC, "printer.local.", RecordType::A);
        assert_eq!(denied.metadata.response_code, ResponseCode::NXDomain, "it does not leave the office");
        let refused = rig.ask(OUTSIDE, "dc1.corp.local.", RecordType::A);
        assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    }
}

#[test]
fn a_public_server_has_no_say_about_a_forwarded_zone() {
    let mut rig = Rig::new(with_domain_controller());
    rig.send(PC, "www.shop.example.", RecordType::A);
    let sent = rig.sent();
    let claimed =
        vec![cname("www.shop.example.", 60, "dc1.corp.local."), a("dc1.corp.local.", 60, "203.0.113.66")];
    rig.upstream(&sent, ResponseCode::NoError, claimed, vec![]);
    assert_eq!(rig.sent().name(), "dc1.corp.local.");
}

#[test]
fn special_names_do_not_leave_the_office_for_its_own_services_either() {
    let mut rig = Rig::new(office());
    for owner in ["printer.local.", "1.0.0.10.in-addr.arpa."] {
        rig.id += 1;
        let query = query(rig.id, owner, RecordType::PTR, None);
        rig.server.handle_query_in(Scope::World, rig.now, Rig::client(PC), &query);
        assert_eq!(rig.replied().metadata.response_code, ResponseCode::NXDomain, "{owner}");
    }
}

#[test]
fn everybody_who_waits_gets_the_answer() {
    let mut rig = Rig::new(office());
    rig.send(PC, "www.shop.example.", RecordType::A);
    rig.send("192.168.1.51:40001", "www.shop.example.", RecordType::A);
    let sent = rig.sent();
    assert!(rig.is_idle(), "one query is enough");
    rig.upstream(&sent, ResponseCode::NoError, vec![a("www.shop.example.", 0, "203.0.113.7")], vec![]);
    assert_eq!([rig.replied().metadata.id, rig.replied().metadata.id], [1, 2]);
    rig.send(PC, "www.shop.example.", RecordType::A);
    _ = rig.sent();
}

#[test]
fn a_client_that_repeats_itself_gets_one_answer() {
    let mut rig = Rig::new(office());
    rig.send(PC, "www.shop.example.", RecordType::A);
    rig.id -= 1;
    rig.send(PC, "www.shop.example.", RecordType::A);
    let sent = rig.sent();
    rig.upstream(&sent, ResponseCode::NXDomain, vec![], vec![soa("shop.example.", 60, 60)]);
    assert_eq!(rig.replied().metadata.response_code, ResponseCode::NXDomain);
    assert!(rig.is_idle());
}

#[test]
fn own_names_are_answered_with_authority_and_never_asked_for() {
    let mut rig = Rig::new(office());
    for owner in ["pc1.office.example.", "nobody.office.example.", "9.1.168.192.in-addr.arpa.", "x.onion."] {
        assert!(rig.ask(PC, owner, RecordType::A).metadata.authoritative, "{owner}");
    }
    assert_eq!(rig.server.stats().local, 4);
}

#[test]
fn the_address_on_the_clients_side_comes_first() {
    let mut rig = Rig::new(office());
    let inside = rig.ask(PC, "smtp.office.example.", RecordType::A);
    assert_eq!(addresses(&inside), ["192.168.1.1", "203.0.113.10"]);
    let outside = rig.ask(OUTSIDE, "smtp.office.example.", RecordType::A);
    assert_eq!(addresses(&outside), ["203.0.113.10", "192.168.1.1"]);
}

#[test]
fn outside_clients_get_the_zone_and_nothing_else() {
    let mut rig = Rig::new(Config {
        records: vec![StaticRecord {
            name: "shop".into(),
            value: RecordValue::Alias("www.shop.example.".into()),
        }],
        ..office()
    });
    let www = rig.ask(OUTSIDE, "www.office.example.", RecordType::A);
    assert!(www.metadata.authoritative && !www.metadata.recursion_available);
    assert_eq!(addresses(&www), ["203.0.113.10"]);
    let alias = rig.ask(OUTSIDE, "shop.office.example.", RecordType::A);
    assert_eq!((alias.metadata.response_code, alias.answers.len()), (ResponseCode::NoError, 1));
    for foreign in ["www.shop.example.", "pc1.", "1.1.168.192.in-addr.arpa.", "localhost."] {
        let refused = rig.ask(OUTSIDE, foreign, RecordType::A);
        assert_eq!(refused.metadata.response_code, ResponseCode::Refused, "{foreign}");
        assert!(refused.answers.is_empty());
    }
    assert_eq!(rig.server.stats().refused, 4);
}

#[test]
fn without_rd_nobody_is_asked() {
    let mut rig = Rig::new(office());
    let mut bytes = query(1, "www.shop.example.", RecordType::A, None);
    bytes[2] = 0;
    rig.server.handle_query(rig.now, Rig::client(PC), &bytes);
    assert_eq!(rig.replied().metadata.response_code, ResponseCode::Refused);
}

#[test]
fn aliases_are_followed_between_zone_and_upstream() {
    let mut rig = Rig::new(Config {
        records: vec![StaticRecord {
            name: "shop".into(),
            value: RecordValue::Alias("www.shop.example.".into()),
        }],
        ..office()
    });
    rig.send(PC, "shop.office.example.", RecordType::A);
    let sent = rig.sent();
    assert_eq!(sent.name(), "www.shop.example.");
    rig.upstream(
        &sent,
        ResponseCode::NoError,
        vec![cname("www.shop.example.", 60, "wan.office.example.")],
        vec![],
    );
    let response = rig.replied();
    let owners: Vec<_> = response.answers.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(owners, ["shop.office.example.", "www.shop.example.", "wan.office.example."]);
    assert_eq!(addresses(&response), ["203.0.113.10"]);
    assert!(response.metadata.authoritative);
}

#[test]
fn aliases_are_followed_a_bounded_number_of_times() {
    let alias = |from: usize| StaticRecord {
        name: format!("n{from}"),
        value: RecordValue::Alias(format!("n{}", from + 1)),
    };
    let mut records: Vec<_> = (0..=ALIASES_MAX).map(alias).collect();
    let end = RecordValue::Address("192.168.1.40".parse().unwrap());
    records.push(StaticRecord { name: format!("n{}", ALIASES_MAX + 1), value: end });
    let mut rig = Rig::new(Config { records, ..office() });
    assert_eq!(addresses(&rig.ask(PC, "n1.office.example.", RecordType::A)), ["192.168.1.40"]);
    let too_far = rig.ask(PC, "n0.office.example.", RecordType::A);
    assert_eq!(too_far.metadata.response_code, ResponseCode::ServFail);
    assert!(too_far.answers.is_empty());
}

/// RFC 2308, section 5: A negative answer is passed on and cached with its SOA.
#[test]
fn rfc2308_a_denial_is_passed_on_and_remembered_with_its_soa() {
    let mut rig = Rig::new(office());
    rig.send(PC, "gone.shop.example.", RecordType::A);
    let sent = rig.sent();
    rig.upstream(&sent, ResponseCode::NXDomain, vec![], vec![soa("shop.example.", 300, 60)]);
    let first = rig.replied();
    assert_eq!((first.metadata.response_code, first.authorities[0].ttl), (ResponseCode::NXDomain, 60));
    rig.now = rig.now + std::time::Duration::from_secs(59);
    let again = rig.ask(PC, "gone.shop.example.", RecordType::MX);
    assert_eq!((again.metadata.response_code, again.authorities[0].ttl), (ResponseCode::NXDomain, 1));
}

/// RFC 9520, section 3.2: A failed question is not asked upstream again at once.
#[test]
fn rfc9520_a_failure_is_not_repeated_at_once() {
    let mut rig = Rig::new(Config { upstreams: vec!["203.0.113.53:53".parse().unwrap()], ..office() });
    rig.send(PC, "www.shop.example.", RecordType::A);
    let sent = rig.sent();
    rig.upstream(&sent, ResponseCode::ServFail, vec![], vec![]);
    assert_eq!(rig.replied().metadata.response_code, ResponseCode::ServFail);
    let again = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!(again.metadata.response_code, ResponseCode::ServFail);
    rig.now = rig.now + std::time::Duration::from_secs(5);
    rig.send(PC, "www.shop.example.", RecordType::A);
    _ = rig.sent();
}

#[test]
fn silence_ends_in_servfail() {
    let mut rig = Rig::new(office());
    rig.send(PC, "www.shop.example.", RecordType::A);
    let asked = rig.now;
    while let Some(deadline) = rig.server.poll_timeout() {
        rig.server.handle_timeout(deadline);
        rig.now = deadline;
    }
    let replies = std::iter::from_fn(|| rig.server.poll_output());
    let replies: Vec<_> = replies.filter(|output| matches!(output, Output::Reply { .. })).collect();
    let [Output::Reply { message, .. }] = replies.as_slice() else { panic!("{replies:?}") };
    assert_eq!(Message::from_vec(message).unwrap().metadata.response_code, ResponseCode::ServFail);
    assert_eq!(rig.now.since(asked).as_secs(), 6);
}

#[test]
fn without_upstream_servers_the_answer_is_servfail_at_once_until_there_are_some() {
    let mut rig = Rig::new(Config { upstreams: vec![], ..office() });
    let response = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
    rig.server.set_upstreams(vec!["203.0.113.53:53".parse().unwrap()]);
    rig.send(PC, "www.shop.example.", RecordType::A);
    _ = rig.sent();
}

#[test]
fn it_never_asks_itself() {
    let mut rig = Rig::new(office());
    let own = ["192.168.1.1:53", "203.0.113.10:53", "0.0.0.0:53"].map(|address| address.parse().unwrap());
    rig.server.set_upstreams(own.to_vec());
    let response = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn stand_alone_the_unknown_does_not_exist_at_once() {
    let mut rig = Rig::new(Config { use_upstream: false, ..office() });
    let response = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
    assert!(response.metadata.authoritative && response.metadata.recursion_available);
    assert_eq!(response.authorities.len(), 1);
}

#[test]
fn a_new_wan_address_is_seen_at_once() {
    let mut rig = Rig::new(Config { wan: Vec::new(), ..office() });
    assert!(rig.ask(PC, "www.office.example.", RecordType::A).answers.is_empty());
    rig.server.set_wan_addresses(vec!["203.0.113.99".parse().unwrap()]);
    assert_eq!(addresses(&rig.ask(PC, "www.office.example.", RecordType::A)), ["203.0.113.99"]);
}

#[test]
fn rebinding_is_filtered_unless_switched_off() {
    for (filter, expected) in [(true, vec![]), (false, vec!["192.168.1.1"])] {
        let mut rig = Rig::new(Config { rebinding_filter: filter, ..office() });
        rig.send(PC, "evil.shop.example.", RecordType::A);
        let sent = rig.sent();
        rig.upstream(&sent, ResponseCode::NoError, vec![a("evil.shop.example.", 60, "192.168.1.1")], vec![]);
        assert_eq!(addresses(&rig.replied()), expected);
    }
}

#[test]
fn a_foreign_name_does_not_borrow_an_address_of_the_inside() {
    for (filter, expected) in [(true, &[][..]), (false, &["192.168.1.50"])] {
        let mut rig = Rig::new(Config { rebinding_filter: filter, ..office() });
        rig.send(PC, "www.evil.example.", RecordType::A);
        let sent = rig.sent();
        let alias = cname("www.evil.example.", 60, "pc1.office.example.");
        rig.upstream(&sent, ResponseCode::NoError, vec![alias], vec![]);
        assert_eq!(addresses(&rig.replied()), expected);
        assert_eq!(addresses(&rig.ask(PC, "www.evil.example.", RecordType::A)), expected, "from the cache");
        assert_eq!(addresses(&rig.ask(PC, "pc1.office.example.", RecordType::A)), ["192.168.1.50"]);
    }
}

#[test]
fn the_lan_is_filtered_even_with_public_addresses() {
    let public = "198.51.100.1/24".parse().unwrap();
    for config in [Config { lan: public, ..office() }, Config { further_lans: vec![public], ..office() }] {
        let mut rig = Rig::new(config);
        rig.send(PC, "evil.shop.example.", RecordType::A);
        let sent = rig.sent();
        let answer = vec![a("evil.shop.example.", 60, "198.51.100.20")];
        rig.upstream(&sent, ResponseCode::NoError, answer, vec![]);
        assert!(addresses(&rig.replied()).is_empty());
    }
}

/// RFC 8482, section 4.2: A query of type ANY is not forwarded.
#[test]
fn rfc8482_any_is_not_forwarded() {
    let mut rig = Rig::new(office());
    let response = rig.ask(PC, "www.shop.example.", RecordType::ANY);
    assert_eq!(response.answers[0].record_type(), RecordType::HINFO);
}

#[test]
fn a_question_about_the_root_is_one() {
    let mut rig = Rig::new(office());
    rig.send(PC, ".", RecordType::NS);
    assert_eq!(rig.sent().name(), name(".").to_string());
}

proptest! {
    #[test]
    fn any_upstream_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut rig = Rig::new(office());
        rig.send(PC, "www.shop.example.", RecordType::A);
        let sent = rig.sent();
        rig.server.handle_response(rig.now, sent.attempt, &bytes);
        let matching = [&sent.query[..2], bytes.get(2..).unwrap_or_default()].concat();
        rig.server.handle_response(rig.now, sent.attempt, &matching);
    }

    #[test]
    fn a_damaged_upstream_response_is_taken_without_a_panic(
        damage in prop::collection::vec((2_usize..200, any::<u8>()), 1..8),
    ) {
        let mut rig = Rig::new(office());
        rig.send(PC, "www.shop.example.", RecordType::A);
        let sent = rig.sent();
        let answers = vec![cname("www.shop.example.", 60, "cdn.example."), a("cdn.example.", 60, "203.0.113.7")];
        let authorities = vec![soa("shop.example.", 60, 60)];
        let mut bytes = respond(&sent.query, ResponseCode::NoError, answers, authorities).to_vec().unwrap();
        for (place, byte) in damage {
            if let Some(target) = bytes.get_mut(place) {
                *target = byte;
            }
        }
        rig.server.handle_response(rig.now, sent.attempt, &bytes);
        while let Some(deadline) = rig.server.poll_timeout() {
            rig.server.handle_timeout(deadline);
        }
        let replies = std::iter::from_fn(|| rig.server.poll_output());
        let replies = replies.filter(|output| matches!(output, Output::Reply { .. })).count();
        prop_assert_eq!(replies, 1, "the client is answered whatever comes");
    }
}

/// RFC 1034, section 4.3.2: Clients without recursion get a referral to the servers of a delegated zone.
#[test]
fn rfc1034_4_3_2_a_delegated_zone_is_asked_for_the_lan_and_referred_to_for_the_wan() {
    let record = |name: &str, value| StaticRecord { name: name.into(), value };
    let records = vec![
        record("branch", RecordValue::NameServer("ns.branch".into())),
        record("ns.branch", RecordValue::Address("192.168.1.60".parse().unwrap())),
        record("alias", RecordValue::Alias("pc.branch".into())),
    ];
    let mut rig = Rig::new(Config { records, ..office() });
    rig.send(PC, "pc.branch.office.example.", RecordType::A);
    let query = loop {
        match rig.server.poll_output() {
            Some(Output::Attempt(query)) => break query,
            other => assert!(matches!(other, Some(Output::Close(_))), "{other:?}"),
        }
    };
    assert_eq!(query.server, "192.168.1.60:53".parse().unwrap());
    let sent = Sent { attempt: query.attempt, query: query.message };
    let found = a("pc.branch.office.example.", 60, "192.168.1.61");
    rig.upstream(&sent, ResponseCode::NoError, vec![found], vec![]);
    assert_eq!(addresses(&rig.replied()), ["192.168.1.61"]);

    for (owner, aliases) in [("pc.branch.office.example.", 0), ("alias.office.example.", 1)] {
        let referral = rig.ask(OUTSIDE, owner, RecordType::A);
        assert_eq!(referral.metadata.response_code, ResponseCode::NoError);
        assert_eq!(referral.metadata.authoritative, aliases > 0);
        assert!(!referral.metadata.recursion_available);
        assert_eq!(referral.answers.len(), aliases);
        let [server] = &referral.authorities[..] else { panic!("{referral:?}") };
        assert_eq!(server.data.to_string(), "ns.branch.office.example.");
        let [glue] = &referral.additionals[..] else { panic!("{referral:?}") };
        assert_eq!(
            (glue.name.clone(), glue.data.to_string()),
            (name("ns.branch.office.example."), "192.168.1.60".into())
        );
    }
    assert_eq!(rig.server.stats().refused, 0);
}

#[test]
fn the_first_addresses_of_a_delegated_zones_servers_are_queried() {
    let record = |name: &str, value| StaticRecord { name: name.into(), value };
    let mut records = vec![record("branch", RecordValue::NameServer("ns".into()))];
    let address = |number: usize| IpAddr::from([192, 168, 1, 60 + u8::try_from(number).unwrap()]);
    records.extend((0..=UPSTREAMS_MAX).map(|number| record("ns", RecordValue::Address(address(number)))));
    let mut rig = Rig::new(Config { records, ..office() });
    rig.server.set_wan_addresses(Vec::new());
    let states = rig.server.server_states(rig.now);
    let queried = states.iter().filter(|server| server.zone.as_deref() == Some("branch.office.example"));
    let queried: Vec<_> = queried.map(|server| server.address.ip()).collect();
    assert_eq!(queried, (0..UPSTREAMS_MAX).map(address).collect::<Vec<_>>());
    let referral = rig.ask(OUTSIDE, "pc.branch.office.example.", RecordType::A);
    assert_eq!(referral.additionals.len(), UPSTREAMS_MAX + 1, "a referral has all of them");
}
