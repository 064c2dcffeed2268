//! The service of an [`OfficeZone`], wherever its server is: its answers, and how they come over UDP and TCP.

use std::collections::BTreeMap;
use std::time::Duration;

use gatepost_ground::Instant;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::mood::{LIE, claim, in_lower_case};
use super::office_zones::OfficeZone;
use super::tree::name;
use super::{Transport, encode, response_to};

/// The most answers that wait; further queries get none.
const ANSWERS_MAX: usize = 1_024;
/// How long the server takes for an answer: so long that the queries of a burst meet on one connection.
const DELAY: Duration = Duration::from_millis(20);
/// The longest time that an answer out of order takes.
const DISORDER_MILLIS_MAX: u64 = 200;

/// How a server of a zone answers. All manners are permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneManner {
    /// Whether the question of a response is spelled like that of the query, or in lower case.
    pub keeps_case: bool,
    /// Whether all answers over UDP are truncated, so that all queries come over TCP.
    pub truncates: bool,
    /// Over TCP.
    pub over_tcp: TcpManner,
}

/// How a server answers over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpManner {
    /// In the order of the queries.
    InOrder,
    /// In any order. (RFC 7766, section 6.2.1.1)
    OutOfOrder,
    /// The server closes each connection after an answer, and leaves the other queries on it unanswered.
    ClosesAfterAnswer,
    /// The first of two servers does not answer.
    Silent,
}

impl TcpManner {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::InOrder, Self::OutOfOrder, Self::ClosesAfterAnswer, Self::Silent];
}

/// The service. Its clients are told apart by a `C`.
pub struct ZoneService<C> {
    zone: OfficeZone,
    manner: ZoneManner,
    /// In the order they are due, and in which their queries came.
    due: BTreeMap<(Instant, u64), (C, Vec<u8>)>,
    taken: u64,
    rng: StdRng,
}

impl<C: Copy + PartialEq> ZoneService<C> {
    /// The service of `zone`.
    pub fn new(zone: OfficeZone, manner: ZoneManner, seed: u64) -> Self {
        Self { zone, manner, due: BTreeMap::new(), taken: 0, rng: StdRng::seed_from_u64(seed) }
    }

    /// Whether a connection ends after an answer.
    pub fn closes_after_answer(&self) -> bool {
        self.manner.over_tcp == TcpManner::ClosesAfterAnswer
    }

    /// Takes in a query over UDP.
    pub fn ask_by_udp(&mut self, now: Instant, client: C, message: &[u8]) {
        self.ask(now + DELAY, client, Transport::Udp, message);
    }

    /// Takes in a query over TCP, at the first server or at another.
    pub fn ask_by_tcp(&mut self, now: Instant, client: C, is_first: bool, message: &[u8]) {
        let disorder = match self.manner.over_tcp {
            TcpManner::Silent if is_first => return,
            TcpManner::OutOfOrder => Duration::from_millis(self.rng.random_range(0..DISORDER_MILLIS_MAX)),
            _ => Duration::ZERO,
        };
        self.ask(now + DELAY + disorder, client, Transport::Tcp, message);
    }

    /// An answer that is due.
    pub fn take_due(&mut self, now: Instant) -> Option<(C, Vec<u8>)> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// Gives up the answers for a client.
    pub fn forget(&mut self, client: C) {
        self.due.retain(|_, (other, _)| *other != client);
    }

    /// When an answer is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    fn ask(&mut self, due: Instant, client: C, transport: Transport, message: &[u8]) {
        let question = Message::from_vec(message).ok();
        let question = question.filter(|question| question.metadata.message_type == MessageType::Query);
        if let Some(question) = question.filter(|_| self.due.len() < ANSWERS_MAX) {
            let mut answer = self.answer(&question);
            if !self.manner.keeps_case {
                in_lower_case(&mut answer);
            }
            if self.manner.truncates && transport == Transport::Udp {
                answer = answer.truncate();
            }
            self.taken += 1;
            self.due.insert((due, self.taken), (client, encode(&question, answer, transport)));
        }
    }

    /// The truth; for a name of another zone a lie, which nobody may believe.
    fn answer(&self, question: &Message) -> Message {
        let mut answer = response_to(question);
        let [query] = &question.queries[..] else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return answer;
        };
        if !self.zone.contains(&query.name) {
            return claim(question, LIE);
        }
        answer.metadata.authoritative = true;
        let mut asked = query.name.clone();
        let alias = self.zone.records(&query.name, RecordType::CNAME).next();
        if let Some(alias) = alias {
            if let RData::CNAME(target) = &alias.data {
                asked = target.0.clone();
            }
            answer.add_answer(alias.clone());
        }
        let found: Vec<_> = self.zone.records(&asked, query.query_type).cloned().collect();
        if found.is_empty() {
            if !self.zone.exists(&asked) {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_authorities(self.soa());
        }
        answer.add_answers(found);
        answer
    }

    fn soa(&self) -> Vec<Record> {
        let apex = name(self.zone.apex());
        self.zone.records(&apex, RecordType::SOA).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, Query};

    use super::*;

    fn service(over_tcp: TcpManner) -> ZoneService<u8> {
        let manner = ZoneManner { keeps_case: false, truncates: true, over_tcp };
        ZoneService::new(OfficeZone::Conditional, manner, 1)
    }

    fn query(id: u16, asked: &str) -> Vec<u8> {
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(name(asked), RecordType::A));
        query.to_vec().unwrap()
    }

    fn answers(service: &mut ZoneService<u8>) -> Vec<Message> {
        let due = std::iter::from_fn(|| service.take_due(Instant::from_secs(10)));
        due.map(|(_, answer)| Message::from_vec(&answer).unwrap()).collect()
    }

    #[test]
    fn names_exist_are_empty_or_are_denied() {
        let mut service = service(TcpManner::InOrder);
        let asked = ["host-3", "alias", "deep", "host-0.deep", "nobody"];
        for (id, label) in (0..).zip(asked) {
            let asked = format!("{label}.corp.example.");
            service.ask_by_tcp(Instant::ZERO, 0, true, &query(id, &asked));
        }
        let told: Vec<_> = answers(&mut service)
            .iter()
            .map(|answer| (answer.metadata.response_code, answer.answers.len(), answer.authorities.len()))
            .collect();
        let (found, denied) = (ResponseCode::NoError, ResponseCode::NXDomain);
        assert_eq!(told, [(found, 1, 0), (found, 2, 0), (found, 0, 1), (found, 1, 0), (denied, 0, 1)]);
        service.ask_by_tcp(Instant::ZERO, 0, true, &query(7, "site-0.example."));
        let [stray] = &answers(&mut service)[..] else { panic!("one answer") };
        assert_eq!(stray.answers[0].data.ip_addr(), Some(LIE.into()), "another zone's");
    }

    #[test]
    fn over_udp_answers_are_truncated_and_lose_the_case() {
        let mut service = service(TcpManner::InOrder);
        service.ask_by_udp(Instant::ZERO, 0, &query(7, "HOST-3.corp.example."));
        let [answer] = &answers(&mut service)[..] else { panic!("one answer") };
        assert!(answer.metadata.truncation);
        assert!(answer.queries[0].name.eq_case(&name("host-3.corp.example.")));
    }

    #[test]
    fn answers_come_in_another_order_or_not_at_all() {
        let ids = |over_tcp| {
            let mut service = service(over_tcp);
            for id in 0..8 {
                service.ask_by_tcp(Instant::ZERO, 0, true, &query(id, "host-3.corp.example."));
            }
            answers(&mut service).iter().map(|answer| answer.metadata.id).collect::<Vec<_>>()
        };
        assert!(ids(TcpManner::InOrder).is_sorted());
        assert!(!ids(TcpManner::OutOfOrder).is_sorted());
        assert!(ids(TcpManner::Silent).is_empty());
    }
}
