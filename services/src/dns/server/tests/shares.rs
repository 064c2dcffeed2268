//! One client's share against the others.

use super::super::super::forwarder::ATTEMPTS_MAX;
use super::super::super::waiting::{
    EXCHANGES_PER_FAILING_ZONE_MAX, EXCHANGES_PER_ZONE_MAX, WAITING_PER_CLIENT_MAX,
};
use super::*;

#[test]
fn a_client_with_its_share_of_waiting_questions_is_told_at_once() {
    let mut rig = Rig::new(office());
    for port in 0..WAITING_PER_CLIENT_MAX {
        let from = format!("192.168.1.50:{}", 1_024 + port);
        rig.send(&from, "www.shop.example.", RecordType::A);
    }
    _ = rig.sent();
    assert!(rig.is_idle());
    let response = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
    let stats = rig.server.stats();
    assert_eq!((stats.unanswerable, stats.client_share_full), (1, 1));
    rig.send("192.168.1.51:4000", "www.shop.example.", RecordType::A);
    assert!(rig.is_idle(), "the others wait on");
}

/// RFC 8767, section 4: A query without room gets a stale answer, and so does an evicted one.
#[test]
fn rfc8767_4_a_query_without_room_gets_a_stale_answer() {
    const BUSY: &str = "192.168.1.51:4000";
    let mut rig = Rig::new(office());
    rig.learn("www.shop.example.", 60, "203.0.113.7");
    rig.now = rig.now + std::time::Duration::from_secs(100);
    // A client with its share.
    for port in 0..WAITING_PER_CLIENT_MAX {
        rig.send(&format!("192.168.1.50:{}", 1_024 + port), "slow.shop.example.", RecordType::A);
    }
    _ = rig.sent();
    let stale = rig.ask(PC, "www.shop.example.", RecordType::A);
    assert_eq!(addresses(&stale), ["203.0.113.7"]);
    let stats = rig.server.stats();
    assert_eq!((stats.stale, stats.unanswerable, stats.client_share_full), (1, 0, 1));
    // RFC 8767, section 5: Nothing was tried, so that the query of another client goes out.
    rig.send("192.168.1.52:4000", "www.shop.example.", RecordType::A);
    _ = rig.sent();

    // A query that is evicted for the query of a less busy client.
    let mut rig = Rig::new(office());
    rig.learn("www.shop.example.", 60, "203.0.113.7");
    rig.now = rig.now + std::time::Duration::from_secs(100);
    rig.send(BUSY, "www.shop.example.", RecordType::A);
    for n in 1..EXCHANGES_PER_ZONE_MAX {
        rig.send(BUSY, &format!("n{n}.shop.example."), RecordType::A);
    }
    for _ in 0..EXCHANGES_PER_ZONE_MAX {
        _ = rig.sent();
    }
    rig.send(PC, "new.shop.example.", RecordType::A);
    assert_eq!(addresses(&rig.replied()), ["203.0.113.7"]);
    let stats = rig.server.stats();
    assert_eq!((stats.stale, stats.unanswerable, stats.exchanges_recycled), (1, 0, 1));
}

/// The answers for one client while another sends queries that upstream servers do not answer.
struct Flood {
    rig: Rig,
    /// The queries without a response.
    sent: Vec<Sent>,
    good: usize,
}

impl Flood {
    const VICTIM: &str = "192.168.1.60:5000";

    fn of(rig: Rig) -> Self {
        Self { rig, sent: Vec::new(), good: 0 }
    }

    /// Ten queries from `sources` for names from `owner`, 100 a second; then one of the victim's, which upstream
    /// servers answer.
    fn round(&mut self, round: usize, source: impl Fn(usize) -> String, owner: impl Fn(usize) -> String) {
        for n in 10 * round..10 * round + 10 {
            self.rig.now = self.rig.now + std::time::Duration::from_millis(10);
            let due = self.rig.server.poll_timeout().filter(|due| *due <= self.rig.now);
            if due.is_some() {
                self.rig.server.handle_timeout(self.rig.now);
            }
            self.rig.send(&source(n), &owner(n), RecordType::A);
            self.drain();
        }
        self.rig.send(Self::VICTIM, &format!("www.good{round}.example."), RecordType::A);
        self.drain();
        let is_good = |sent: &Sent| sent.name().contains("good");
        while let Some(place) = self.sent.iter().position(is_good) {
            let sent = self.sent.swap_remove(place);
            let answer = a(&sent.name(), 60, "203.0.113.7");
            self.rig.upstream(&sent, ResponseCode::NoError, vec![answer], vec![]);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.rig.server.poll_output() {
            match output {
                Output::Attempt(query) => {
                    self.sent.push(Sent { attempt: query.attempt, query: query.message });
                }
                Output::Close(attempt) => self.sent.retain(|sent| sent.attempt != attempt),
                Output::Reply { client, message } => {
                    let message = Message::from_vec(&message).unwrap();
                    let is_victims = client == Rig::client(Self::VICTIM);
                    self.good += usize::from(is_victims && !addresses(&message).is_empty());
                }
            }
        }
    }
}

#[test]
fn a_host_that_asks_for_a_silent_zone_takes_nothing_from_others() {
    let mut flood = Flood::of(Rig::new(office()));
    for round in 0..100 {
        let source = |n: usize| format!("192.168.1.50:{}", 1_024 + n);
        flood.round(round, source, |n| format!("n{n}.silent.example."));
    }
    assert_eq!(flood.good, 100);
    let stats = flood.rig.server.stats();
    assert!(stats.zone_share_full > 0 && stats.client_share_full == 0, "{stats:?}");
    assert!(flood.sent.len() <= EXCHANGES_PER_FAILING_ZONE_MAX * ATTEMPTS_MAX, "the zone is left in peace");
}

#[test]
fn a_host_that_asks_for_many_silent_zones_takes_nothing_from_others() {
    let mut flood = Flood::of(Rig::new(office()));
    for round in 0..100 {
        let source = |n: usize| format!("192.168.1.50:{}", 1_024 + n);
        flood.round(round, source, |n| format!("www.silent{n}.example."));
    }
    assert_eq!(flood.good, 100);
    assert!(flood.rig.server.stats().client_share_full > 0);
}

#[test]
fn forged_addresses_take_nothing_from_hosts_with_a_lease() {
    let leases = Leases::of(&[("pc1", "192.168.1.50"), ("victim", "192.168.1.60")]);
    let mut flood = Flood::of(Rig::with_leases(office(), leases));
    for round in 0..100 {
        let source = |n: usize| format!("192.168.1.{}:{}", 100 + n % 150, 1_024 + n);
        flood.round(round, source, |n| format!("www.silent{n}.example."));
    }
    assert_eq!(flood.good, 100);
}

#[test]
fn one_who_waits_for_an_exchange_that_gives_way_is_told() {
    let leases = Leases::of(&[("pc1", "192.168.1.50"), ("pc2", "192.168.1.60")]);
    let mut rig = Rig::with_leases(office(), leases);
    for port in 0..EXCHANGES_PER_ZONE_MAX {
        rig.send(PC, &format!("n{port}.shop.example."), RecordType::A);
        _ = rig.sent();
    }
    rig.send("192.168.1.60:5000", "www.shop.example.", RecordType::A);
    assert_eq!(rig.server.stats().exchanges_recycled, 1);
    let told = rig.replied();
    assert_eq!(told.queries[0].name, name("n0.shop.example."));
    assert_eq!(told.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(rig.sent().name(), "www.shop.example.");
}

/// RFC 9520, section 3.2: A name that fails while its zone answers is retried after growing pauses.
#[test]
fn rfc9520_a_name_that_fails_alone_is_left_in_peace_for_longer() {
    let mut rig = Rig::new(Config { upstreams: vec!["203.0.113.53:53".parse().unwrap()], ..office() });
    for pause_secs in [5, 10, 20] {
        rig.send(PC, "www.shop.example.", RecordType::A);
        let failing = rig.sent();
        rig.send(PC, &format!("w{pause_secs}.good.example."), RecordType::A);
        let good = rig.sent();
        let owner = good.name();
        rig.upstream(&good, ResponseCode::NoError, vec![a(&owner, 60, "203.0.113.7")], vec![]);
        _ = rig.replied();
        rig.upstream(&failing, ResponseCode::ServFail, vec![], vec![]);
        assert_eq!(rig.replied().metadata.response_code, ResponseCode::ServFail);
        rig.now = rig.now + std::time::Duration::from_secs(pause_secs - 1);
        let again = rig.ask(PC, "www.shop.example.", RecordType::A);
        assert_eq!(again.metadata.response_code, ResponseCode::ServFail, "after {pause_secs} s");
        rig.now = rig.now + std::time::Duration::from_secs(1);
    }
}

#[test]
fn answers_to_the_wan_are_limited_and_some_are_truncated() {
    let mut rig = Rig::new(office());
    let mut counts = [0, 0];
    for n in 0..1_000_u16 {
        rig.now = rig.now + std::time::Duration::from_millis(1);
        let bytes = query(n, "www.office.example.", RecordType::A, None);
        rig.server.handle_query(rig.now, Rig::client(OUTSIDE), &bytes);
        while let Some(Output::Reply { message, .. }) = rig.server.poll_output() {
            assert!(message.len() <= bytes.len() + 16, "one address");
            let message = Message::from_vec(&message).unwrap();
            assert_eq!(message.metadata.truncation, message.answers.is_empty());
            counts[usize::from(message.metadata.truncation)] += 1;
        }
    }
    assert_eq!(counts, [19, 196], "ten, ten more in a second, and every fifth of the rest");
    let stats = rig.server.stats();
    assert_eq!((stats.rate_limited_truncated, stats.rate_limited), (196, 785));
    // Another network, the LAN, and TCP are not limited.
    assert_eq!(
        addresses(&rig.ask("203.0.114.9:40000", "www.office.example.", RecordType::A)),
        ["203.0.113.10"]
    );
    for _ in 0..100 {
        _ = rig.ask(PC, "www.office.example.", RecordType::A);
        let tcp = Client { transport: Transport::Tcp, ..Rig::client(OUTSIDE) };
        rig.server.handle_query(rig.now, tcp, &query(1, "www.office.example.", RecordType::A, None));
        assert!(!rig.replied().metadata.truncation);
    }
}

#[test]
fn what_is_no_question_is_not_answered_more_often_than_one() {
    let mut rig = Rig::new(office());
    for n in 0..100 {
        let mut bytes = query(n, "www.office.example.", RecordType::A, None);
        bytes[2] = 5 << 3;
        rig.server.handle_query(rig.now, Rig::client(OUTSIDE), &bytes);
    }
    let replies = std::iter::from_fn(|| rig.server.poll_output()).count();
    assert_eq!(replies, 10 + 90 / 5);
}
