use rand::SeedableRng;

use super::super::testing::{a, name, question, respond, soa};
use super::*;
use hickory_proto::rr::rdata::NS;
use hickory_proto::rr::{RData, Record, RecordType};

const PRIMARY: &str = "203.0.113.53:53";
const SECONDARY: &str = "203.0.113.54:53";

fn forwarder(upstreams: &[&str]) -> Forwarder {
    let mut forwarder = Forwarder::new(StdRng::seed_from_u64(1), QuerySettings::default());
    forwarder.set_upstreams(upstreams.iter().map(|address| address.parse().unwrap()));
    forwarder
}

fn www() -> Question {
    question("www.shop.example.", RecordType::A)
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

struct Sent {
    attempt: AttemptId,
    server: String,
    transport: Transport,
    query: Vec<u8>,
}

impl Sent {
    fn id(&self) -> u16 {
        u16::from_be_bytes([self.query[0], self.query[1]])
    }

    fn has_edns(&self) -> bool {
        Message::from_vec(&self.query).unwrap().edns.is_some()
    }

    fn response(&self, code: ResponseCode) -> Message {
        let answers = (code == ResponseCode::NoError).then(|| a("www.shop.example.", 60, "203.0.113.7"));
        respond(&self.query, code, answers, [])
    }
}

/// The query that is sent next.
fn sent(forwarder: &mut Forwarder) -> Sent {
    match forwarder.poll_output() {
        Some(Output::Attempt(UpstreamQuery { attempt, server, transport, message })) => {
            Sent { attempt, server: server.to_string(), transport, query: message }
        }
        other => panic!("{other:?}"),
    }
}

/// Whether the exchange is over, and with what code; all sockets are closed first.
fn done(forwarder: &mut Forwarder) -> Option<Option<ResponseCode>> {
    loop {
        match forwarder.poll_output()? {
            Output::Close(_) => {}
            Output::Done { outcome, .. } => {
                assert!(forwarder.poll_output().is_none() && forwarder.attempts.is_empty());
                return Some(match outcome {
                    Outcome::Answered { message, .. } => Some(message.metadata.response_code),
                    Outcome::Failed | Outcome::FailedAlone => None,
                });
            }
            other @ Output::Attempt(_) => panic!("{other:?}"),
        }
    }
}

fn answer(forwarder: &mut Forwarder, now: Instant, to: &Sent, response: &Message) {
    forwarder.handle_response(now, to.attempt, &response.to_vec().unwrap());
}

#[test]
fn the_primary_is_asked_and_its_answer_ends_the_exchange() {
    let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let query = sent(&mut forwarder);
    assert_eq!((query.server.as_str(), query.transport), (PRIMARY, Transport::Udp));
    let message = Message::from_vec(&query.query).unwrap();
    assert!(message.metadata.recursion_desired && message.edns.is_some());
    answer(&mut forwarder, ms(20), &query, &query.response(ResponseCode::NoError));
    assert_eq!(done(&mut forwarder), Some(Some(ResponseCode::NoError)));
    assert_eq!(forwarder.poll_timeout(), None);
}

#[test]
fn identical_questions_share_one_exchange() {
    let mut forwarder = forwarder(&[PRIMARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    forwarder.ask(ms(1), &question("WWW.shop.example.", RecordType::A), Group::Upstream).unwrap();
    _ = sent(&mut forwarder);
    assert!(forwarder.poll_output().is_none());
    forwarder.ask(ms(1), &question("www.shop.example.", RecordType::AAAA), Group::Upstream).unwrap();
    _ = sent(&mut forwarder);
}

#[test]
fn after_silence_the_other_server_is_asked_and_the_first_may_still_answer() {
    let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let first = sent(&mut forwarder);
    assert_eq!(forwarder.poll_timeout(), Some(ms(1_500)));
    forwarder.handle_timeout(ms(1_500));
    let second = sent(&mut forwarder);
    assert_eq!(second.server, SECONDARY);
    answer(&mut forwarder, ms(1_600), &first, &first.response(ResponseCode::NoError));
    assert_eq!(done(&mut forwarder), Some(Some(ResponseCode::NoError)));
    answer(&mut forwarder, ms(1_601), &second, &second.response(ResponseCode::NXDomain));
    assert!(forwarder.poll_output().is_none(), "too late");
}

#[test]
fn when_all_are_silent_the_exchange_fails_within_six_seconds() {
    let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let mut servers = vec![sent(&mut forwarder).server];
    for _ in 1..ATTEMPTS_MAX {
        let deadline = forwarder.poll_timeout().unwrap();
        forwarder.handle_timeout(deadline);
        servers.push(sent(&mut forwarder).server);
    }
    assert_eq!(servers, [PRIMARY, SECONDARY, PRIMARY, SECONDARY]);
    let deadline = forwarder.poll_timeout().unwrap();
    assert_eq!(deadline, ms(6_000));
    forwarder.handle_timeout(deadline);
    assert_eq!(done(&mut forwarder), Some(None));
}

#[test]
fn a_silent_server_is_asked_last_for_a_while() {
    let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
    let mut ask = |at: Instant| {
        forwarder.ask(at, &www(), Group::Upstream).unwrap();
        let query = sent(&mut forwarder);
        let first = query.server.clone();
        if at == ms(0) {
            forwarder.handle_timeout(ms(1_500));
            let query = sent(&mut forwarder);
            answer(&mut forwarder, ms(1_510), &query, &query.response(ResponseCode::NoError));
        } else {
            answer(&mut forwarder, at, &query, &query.response(ResponseCode::NoError));
        }
        assert!(done(&mut forwarder).is_some());
        first
    };
    assert_eq!(ask(ms(0)), PRIMARY);
    assert_eq!(ask(ms(2_000)), SECONDARY);
    assert_eq!(ask(ms(31_499)), SECONDARY);
    assert_eq!(ask(ms(31_500)), PRIMARY);
}

#[test]
fn an_error_makes_the_other_server_be_asked_at_once() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
        forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
        let first = sent(&mut forwarder);
        answer(&mut forwarder, ms(5), &first, &first.response(code));
        assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
        let second = sent(&mut forwarder);
        assert_eq!(second.server, SECONDARY);
        answer(&mut forwarder, ms(9), &second, &second.response(code));
        assert_eq!(done(&mut forwarder), Some(None), "and each only once");
    }
}

/// RFC 2308, section 2.2: A referral is no answer, and a negative answer is one.
#[test]
fn rfc2308_a_referral_is_no_answer_and_a_denial_is_one() {
    let ns = Record::from_rdata(name("example."), 60, RData::NS(NS(name("ns.example."))));
    let denial = [ns.clone(), soa("example.", 60, 60)];
    for (authorities, is_answer) in [(vec![ns], false), (vec![], true), (denial.to_vec(), true)] {
        let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
        forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
        let first = sent(&mut forwarder);
        let empty = respond(&first.query, ResponseCode::NoError, [], authorities);
        answer(&mut forwarder, ms(5), &first, &empty);
        assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
        if is_answer {
            assert_eq!(done(&mut forwarder), Some(Some(ResponseCode::NoError)));
        } else {
            assert_eq!(sent(&mut forwarder).server, SECONDARY);
        }
    }
}

/// RFC 7766, section 5: A truncated answer is fetched over TCP.
#[test]
fn rfc7766_a_truncated_answer_is_fetched_over_tcp() {
    let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let udp = sent(&mut forwarder);
    let mut truncated = udp.response(ResponseCode::NoError);
    truncated.metadata.truncation = true;
    answer(&mut forwarder, ms(5), &udp, &truncated);
    assert!(matches!(forwarder.poll_output(), Some(Output::Close(id)) if id == udp.attempt));
    let tcp = sent(&mut forwarder);
    assert_eq!((tcp.server.as_str(), tcp.transport), (PRIMARY, Transport::Tcp));
    answer(&mut forwarder, ms(9), &tcp, &tcp.response(ResponseCode::NoError));
    assert_eq!(done(&mut forwarder), Some(Some(ResponseCode::NoError)));
}

#[test]
fn a_refused_connection_makes_the_other_server_be_asked() {
    let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let first = sent(&mut forwarder);
    forwarder.handle_failure(ms(5), first.attempt);
    assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
    assert_eq!(sent(&mut forwarder).server, SECONDARY);
}

/// RFC 6891, section 6.2.2: A server without EDNS is queried again without.
#[test]
fn rfc6891_a_server_without_edns_is_asked_without() {
    let mut forwarder = forwarder(&[PRIMARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let first = sent(&mut forwarder);
    let mut error = first.response(ResponseCode::FormErr);
    error.edns = None;
    answer(&mut forwarder, ms(5), &first, &error);
    assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
    let second = sent(&mut forwarder);
    assert_eq!(Message::from_vec(&second.query).unwrap().edns, None);
    let mut error = second.response(ResponseCode::FormErr);
    error.edns = None;
    answer(&mut forwarder, ms(9), &second, &error);
    assert_eq!(done(&mut forwarder), Some(None), "and not for ever");
}

/// RFC 6891, section 7: However a server rejects EDNS it is asked without.
#[test]
fn rfc6891_7_however_a_server_rejects_edns_it_is_asked_without() {
    let bare = |query: &Sent, code| {
        let mut header = Message::response(query.id(), hickory_proto::op::OpCode::Query);
        header.metadata.response_code = code;
        header
    };
    let without_opt = |query: &Sent, code| {
        let mut response = query.response(code);
        response.edns = None;
        response
    };
    let with_opt = |query: &Sent, code: ResponseCode| {
        let mut response = query.response(code);
        response.edns.as_mut().unwrap().set_rcode_high(code.high());
        response
    };
    type Rejection<'a> = &'a dyn Fn(&Sent, ResponseCode) -> Message;
    let rejections: [(Rejection<'_>, ResponseCode); 8] = [
        (&bare, ResponseCode::FormErr),
        (&bare, ResponseCode::Refused),
        (&without_opt, ResponseCode::FormErr),
        (&without_opt, ResponseCode::NotImp),
        (&without_opt, ResponseCode::ServFail),
        (&without_opt, ResponseCode::Refused),
        (&with_opt, ResponseCode::FormErr),
        (&with_opt, ResponseCode::BADVERS),
    ];
    for (number, (reject, code)) in rejections.into_iter().enumerate() {
        let mut forwarder = forwarder(&[PRIMARY]);
        forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
        let first = sent(&mut forwarder);
        assert!(first.has_edns());
        answer(&mut forwarder, ms(5), &first, &reject(&first, code));
        assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))), "{number} {code}");
        let second = sent(&mut forwarder);
        assert!(!second.has_edns(), "{number} {code}");
        answer(&mut forwarder, ms(9), &second, &second.response(ResponseCode::NoError));
        assert_eq!(done(&mut forwarder), Some(Some(ResponseCode::NoError)));
    }
}

/// RFC 8906: A server that is silent if asked with EDNS is asked without.
#[test]
fn rfc8906_a_server_that_is_silent_if_asked_with_edns_is_asked_without() {
    let mut forwarder = forwarder(&[PRIMARY]);
    let mut asks = |at: u64, answers_edns: bool| {
        forwarder.ask(ms(at), &www(), Group::Upstream).unwrap();
        let mut with_edns = Vec::new();
        loop {
            let query = sent(&mut forwarder);
            with_edns.push(query.has_edns());
            if answers_edns || !query.has_edns() {
                answer(&mut forwarder, ms(at), &query, &query.response(ResponseCode::NoError));
                assert!(done(&mut forwarder).is_some());
                return with_edns;
            }
            let deadline = forwarder.poll_timeout().unwrap();
            forwarder.handle_timeout(deadline);
        }
    };
    assert_eq!(asks(0, false), [true, false]);
    assert_eq!(asks(10_000, true), [true]);
    for exchange in 1..=u64::from(FAILURES_MIN) {
        assert_eq!(asks(exchange * 20_000, false), [true, true, true, false], "packets may be lost");
    }
    assert_eq!(asks(100_000, false), [false], "the server does not support EDNS");
    assert_eq!(asks(1_000_000, true), [true], "until it is tried again");
}

/// RFC 8914: A failure with OPT is no rejection of EDNS.
#[test]
fn rfc8914_a_failure_with_opt_is_no_rejection_of_edns() {
    let mut forwarder = forwarder(&[PRIMARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let query = sent(&mut forwarder);
    answer(&mut forwarder, ms(5), &query, &query.response(ResponseCode::ServFail));
    assert_eq!(done(&mut forwarder), Some(None));
}

#[test]
fn an_answer_that_is_cut_off_within_a_record_is_fetched_over_tcp() {
    let mut forwarder = forwarder(&[PRIMARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let udp = sent(&mut forwarder);
    let mut response = udp.response(ResponseCode::NoError);
    response.edns = None;
    let whole = response.to_vec().unwrap();
    forwarder.handle_response(ms(5), udp.attempt, &whole[..whole.len() - 2]);
    assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
    let tcp = sent(&mut forwarder);
    assert_eq!(tcp.transport, Transport::Tcp);
    let whole = tcp.response(ResponseCode::NoError).to_vec().unwrap();
    // OPT has 11 octets.
    forwarder.handle_response(ms(9), tcp.attempt, &whole[..whole.len() - 13]);
    assert_eq!(done(&mut forwarder), Some(None));
}

/// RFC 6840, section 5.7: AD in a query asks for AD.
#[test]
fn rfc6840_5_7_ad_in_a_query_asks_for_ad() {
    for asks_ad in [true, false] {
        let settings = QuerySettings { asks_ad, ..QuerySettings::default() };
        let mut forwarder = Forwarder::new(StdRng::seed_from_u64(1), settings);
        forwarder.set_upstreams([PRIMARY.parse().unwrap()]);
        forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
        let query = Message::from_vec(&sent(&mut forwarder).query).unwrap();
        assert_eq!(query.metadata.authentic_data, asks_ad);
    }
}

/// RFC 5452, section 9.1: A datagram that does not match the query is ignored.
#[test]
fn rfc5452_what_does_not_match_is_as_if_it_had_not_come() {
    let mut forwarder = forwarder(&[PRIMARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let query = sent(&mut forwarder);
    let mut forged = query.response(ResponseCode::NoError);
    forged.metadata.id ^= 1;
    let mut elsewhere = query.response(ResponseCode::NoError);
    elsewhere.queries[0].name = name("www.else.example.");
    for forged in [forged, elsewhere] {
        assert!(!forwarder.handle_response(ms(5), query.attempt, &forged.to_vec().unwrap()));
    }
    assert!(!forwarder.handle_response(ms(5), query.attempt, b"garbage"));
    assert!(forwarder.poll_output().is_none());
    let response = query.response(ResponseCode::NXDomain).to_vec().unwrap();
    assert!(forwarder.handle_response(ms(6), query.attempt, &response));
    assert_eq!(done(&mut forwarder), Some(Some(ResponseCode::NXDomain)));
}

fn in_mixed_case(upstreams: &[&str]) -> Forwarder {
    let settings = QuerySettings { mixes_case: true, ..QuerySettings::default() };
    let mut forwarder = Forwarder::new(StdRng::seed_from_u64(1), settings);
    forwarder.set_upstreams(upstreams.iter().map(|address| address.parse().unwrap()));
    forwarder
}

#[test]
fn a_response_has_to_keep_the_case_of_the_question() {
    let mut forwarder = in_mixed_case(&[PRIMARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let query = sent(&mut forwarder);
    let asked = Message::from_vec(&query.query).unwrap().queries[0].name.clone();
    assert!(asked == www().name && !asked.eq_case(&www().name), "{asked}");
    let mut response = query.response(ResponseCode::NoError);
    response.answers[0].name = asked;
    answer(&mut forwarder, ms(5), &query, &response);
    loop {
        match forwarder.poll_output() {
            Some(Output::Close(_)) => {}
            Some(Output::Done { outcome: Outcome::Answered { message, .. }, .. }) => {
                assert!(message.answers[0].name.eq_case(&www().name), "spelled as it was asked for");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_that_does_not_keep_the_case_costs_no_answer() {
    let lower = |query: &Sent| {
        let mut response = query.response(ResponseCode::NoError);
        response.queries[0].name = response.queries[0].name.to_lowercase();
        response
    };
    let mut forwarder = in_mixed_case(&[PRIMARY, SECONDARY]);
    let mut ask = |at: u64| {
        forwarder.ask(ms(at), &www(), Group::Upstream).unwrap();
        let first = sent(&mut forwarder);
        answer(&mut forwarder, ms(at), &first, &lower(&first));
        let again = match (forwarder.poll_output(), forwarder.poll_output()) {
            (Some(Output::Close(_)), Some(Output::Attempt(again))) => again,
            (Some(Output::Close(_)), Some(Output::Done { .. })) => return 1,
            other => panic!("{other:?}"),
        };
        let UpstreamQuery { attempt, server, transport, message: query } = again;
        assert_eq!((server.to_string().as_str(), transport), (PRIMARY, Transport::Udp));
        assert_ne!(first.query[..2], query[..2], "the ID");
        let second = Sent { attempt, server: server.to_string(), transport, query };
        answer(&mut forwarder, ms(at), &second, &lower(&second));
        assert_eq!(done(&mut forwarder), Some(Some(ResponseCode::NoError)));
        2
    };
    for exchange in 0..u64::from(FAILURES_MIN) {
        assert_eq!(ask(exchange * 1_000), 2);
    }
    assert_eq!(ask(10_000), 1, "it is asked without");
    assert_eq!(ask(1_000_000), 2, "until it is tried again");
}

/// RFC 5452, section 9.2: Every attempt has another id.
#[test]
fn rfc5452_every_attempt_has_another_id() {
    let mut forwarder = forwarder(&[PRIMARY]);
    let mut ids = std::collections::BTreeSet::new();
    for i in 0..200 {
        forwarder.ask(ms(0), &question(&format!("n{i}.example."), RecordType::A), Group::Upstream).unwrap();
        let query = sent(&mut forwarder).query;
        ids.insert([query[0], query[1]]);
    }
    assert!(ids.len() > 190, "{} of 200 differ", ids.len());
}

#[test]
fn the_servers_of_a_zone_are_asked_alone_and_fail_alone() {
    let mut forwarder = forwarder(&[PRIMARY]);
    forwarder.set_zones([["192.168.1.51:53".parse().unwrap()]]);
    forwarder.ask(ms(0), &www(), Group::Zone(0)).unwrap();
    let query = sent(&mut forwarder);
    assert_eq!(query.server, "192.168.1.51:53");
    let other = question("www.else.example.", RecordType::A);
    forwarder.ask(ms(1), &other, Group::Upstream).unwrap();
    let public = sent(&mut forwarder);
    assert_eq!(public.server, PRIMARY);
    let answered = respond(&public.query, ResponseCode::NXDomain, [], []);
    answer(&mut forwarder, ms(2), &public, &answered);
    while forwarder.poll_output().is_some() {}
    answer(&mut forwarder, ms(3), &query, &query.response(ResponseCode::ServFail));
    assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
    let outcome = forwarder.poll_output();
    assert!(matches!(outcome, Some(Output::Done { outcome: Outcome::Failed, .. })), "{outcome:?}");
    assert_eq!(forwarder.ask(ms(4), &www(), Group::Zone(1)), Err(QueryError::NoUpstream));
}

#[test]
fn a_lack_of_room_says_nothing_of_the_server() {
    let mut forwarder = forwarder(&[PRIMARY, SECONDARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    let udp = sent(&mut forwarder);
    let mut truncated = udp.response(ResponseCode::NoError);
    truncated.metadata.truncation = true;
    answer(&mut forwarder, ms(5), &udp, &truncated);
    assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
    let tcp = sent(&mut forwarder);
    assert_eq!((tcp.server.as_str(), tcp.transport), (PRIMARY, Transport::Tcp));
    forwarder.handle_no_room(ms(6), tcp.attempt);
    assert!(matches!(forwarder.poll_output(), Some(Output::Close(_))));
    assert_eq!(sent(&mut forwarder).server, SECONDARY, "the exchange goes on with the next server");
    let states = forwarder.server_states(ms(6), &[]);
    assert!(states.iter().all(|server| server.down_for.is_zero()), "{states:?}");
    forwarder.ask(ms(7), &question("www.else.example.", RecordType::A), Group::Upstream).unwrap();
    assert_eq!(sent(&mut forwarder).server, PRIMARY, "it is still preferred");
}

#[test]
fn a_full_table_refuses() {
    let mut forwarder = forwarder(&[PRIMARY]);
    for i in 0..EXCHANGES_MAX {
        forwarder.ask(ms(0), &question(&format!("n{i}.example."), RecordType::A), Group::Upstream).unwrap();
    }
    assert_eq!(forwarder.ask(ms(0), &www(), Group::Upstream), Err(QueryError::Full));
    assert_eq!(
        forwarder.ask(ms(0), &question("n0.example.", RecordType::A), Group::Upstream),
        Ok(()),
        "it is under way"
    );
}

#[test]
fn without_servers_nothing_is_asked() {
    let mut forwarder = forwarder(&[]);
    assert_eq!(forwarder.ask(ms(0), &www(), Group::Upstream), Err(QueryError::NoUpstream));
    assert_eq!(forwarder.poll_timeout(), None);
}

#[test]
fn servers_that_go_away_are_not_waited_for_for_ever() {
    let mut forwarder = forwarder(&[PRIMARY]);
    forwarder.ask(ms(0), &www(), Group::Upstream).unwrap();
    _ = sent(&mut forwarder);
    forwarder.set_upstreams([]);
    forwarder.handle_timeout(ms(1_500));
    assert_eq!(done(&mut forwarder), Some(None));
}
