//! The internet's name server, by hickory-proto, and what it is like to ask it.

use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rand::RngExt;
use rand::rngs::StdRng;

use super::{SITES, WEB_ADDRESSES};

/// How long answers may be kept.
const TTL_SECS: u32 = 60;
/// What a liar answers for every name.
pub const LIE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
/// The longest piece of garbage, in octets.
const GARBAGE_LEN_MAX: usize = 512;

/// How a name server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsMood {
    /// At once, and right.
    #[default]
    Truthful,
    /// Not at all.
    Silent,
    /// Right, but late.
    Slow(Duration),
    /// With random octets.
    Garbage,
    /// With a forgery, as somebody would who cannot see the question: under a wrong identifier.
    Forged,
}

/// The address of a name on the internet.
pub fn address_of(name: &str) -> Option<Ipv4Addr> {
    let number: usize = name.strip_prefix("site-")?.strip_suffix(".example.")?.parse().ok()?;
    (number < SITES).then(|| WEB_ADDRESSES[number % WEB_ADDRESSES.len()])
}

impl DnsMood {
    /// The answer to a datagram, with how long it takes.
    pub fn answer(self, datagram: &[u8], rng: &mut StdRng) -> Option<(Duration, Vec<u8>)> {
        let question = Message::from_vec(datagram).ok()?;
        match self {
            Self::Truthful => Some((Duration::ZERO, truth(&question)?)),
            Self::Slow(delay) => Some((delay, truth(&question)?)),
            Self::Silent => None,
            Self::Garbage => {
                let len = rng.random_range(0..GARBAGE_LEN_MAX);
                Some((Duration::ZERO, (0..len).map(|_| rng.random()).collect()))
            }
            Self::Forged => Some((Duration::ZERO, forgery(&question)?)),
        }
    }
}

fn truth(question: &Message) -> Option<Vec<u8>> {
    let query = question.queries.first()?;
    let name = query.name().to_ascii().to_lowercase();
    let mut answer = response(question, question.metadata.id);
    match address_of(&name) {
        Some(address) if query.query_type() == RecordType::A => {
            answer.add_answer(Record::from_rdata(query.name().clone(), TTL_SECS, RData::A(A(address))));
        }
        found => {
            if found.is_none() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_authority(authority());
        }
    }
    answer.to_vec().ok()
}

fn forgery(question: &Message) -> Option<Vec<u8>> {
    let query = question.queries.first()?;
    let mut answer = response(question, question.metadata.id.wrapping_add(1));
    answer.add_answer(Record::from_rdata(query.name().clone(), TTL_SECS, RData::A(A(LIE))));
    answer.to_vec().ok()
}

fn response(question: &Message, id: u16) -> Message {
    let mut answer = Message::new(id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(question.queries.iter().cloned());
    answer
}

fn authority() -> Record {
    let name = |text| Name::from_ascii(text).expect("a valid name");
    let soa = SOA::new(name("ns.example."), name("hostmaster.example."), 1, 3_600, 600, 86_400, TTL_SECS);
    Record::from_rdata(name("example."), TTL_SECS, RData::SOA(soa))
}
