//! The behaviour of a name server.

use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, NS};
use hickory_proto::rr::{Name, RData, Record};
use rand::RngExt;
use rand::rngs::StdRng;

use super::tree::name;
use super::{Transport, encode, response_to};

/// The address in lies: nothing in the simulation has it.
pub const LIE: Ipv4Addr = Ipv4Addr::new(198, 18, 66, 66);
/// An address of the office, which no name of the internet has.
const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// Names that strangers' records are slipped in for.
const COVETED: [&str; 3] = ["site-0.example.", "web-1.example.com.", "pc-0.office.example."];
/// Short, so that lies expire soon after liars turn honest.
const LIE_TTL_SECS: u32 = 30;
/// How much sooner a forgery arrives than the answer that it wants to replace.
const FORGERY_LEAD: Duration = Duration::from_millis(10);
/// The longest piece of garbage, in octets.
const GARBAGE_LEN_MAX: usize = 512;

/// How a name server answers. The authorities and the provider's resolvers have the same moods.
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
    /// Right, but an off-path attacker is quicker, with a lie under another identifier.
    Forged,
    /// Right, but an answer to another question is quicker, under the right identifier.
    Misplaced,
    /// Right, with records beside the answer that it has no right to give.
    Poisoned,
    /// With an address of the office's inside for every name.
    Rebinding,
    /// That it could not find out.
    ServFail,
    /// With a referral to the root (lame delegation): it does not serve the zone.
    Lame,
    /// Over UDP, always that the answer is too long.
    Truncating,
    /// Right if the question has no EDNS.
    RejectingEdns(EdnsRejection),
    /// Right, but the question of the answer is in lower case.
    LosingCase,
    /// Right, but an off-path attacker is quicker, who guesses everything but the case of the question. A question
    /// without a capital letter is answered by the server alone.
    ForgedInLowerCase,
}

/// The answer of a name server to a question with EDNS that it rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdnsRejection {
    /// FORMERR, without the question. (RFC 6891, section 7)
    FormErr,
    /// BADVERS. (RFC 6891, section 6.1.3)
    BadVers,
    /// None. (RFC 8906, section 3.2.2)
    Silence,
}

impl DnsMood {
    /// Every mood in which names may fail; a slow one takes `delay`.
    pub fn bad(delay: Duration) -> [Self; 10] {
        [
            Self::Silent,
            Self::Slow(delay),
            Self::Garbage,
            Self::Forged,
            Self::Misplaced,
            Self::Poisoned,
            Self::Rebinding,
            Self::ServFail,
            Self::Lame,
            Self::Truncating,
        ]
    }

    /// The replies to `question`, whose answer is `truth`, with their delays.
    pub(super) fn replies(
        self,
        question: &Message,
        truth: Message,
        transport: Transport,
        rng: &mut StdRng,
    ) -> Vec<(Duration, Vec<u8>)> {
        let encoded = |answer| encode(question, answer, transport);
        let at_once = |answer| vec![(Duration::ZERO, encoded(answer))];
        match self {
            Self::Silent => Vec::new(),
            Self::Slow(delay) => vec![(delay, encoded(truth))],
            Self::Garbage => {
                let len = rng.random_range(0..GARBAGE_LEN_MAX);
                vec![(Duration::ZERO, (0..len).map(|_| rng.random()).collect())]
            }
            Self::Forged => {
                let mut lie = claim(question, LIE);
                lie.metadata.id = lie.metadata.id.wrapping_add(1);
                vec![(Duration::ZERO, encoded(lie)), (FORGERY_LEAD, encoded(truth))]
            }
            Self::Misplaced => {
                let mut lie = claim(question, LIE);
                lie.queries.iter_mut().for_each(|query| query.name = name(COVETED[0]));
                let is_another = lie.queries != question.queries;
                let lie = is_another.then(|| (Duration::ZERO, encoded(lie)));
                lie.into_iter().chain([(FORGERY_LEAD, encoded(truth))]).collect()
            }
            Self::ForgedInLowerCase => {
                let mut lie = claim(question, LIE);
                in_lower_case(&mut lie);
                let is_mixed =
                    question.queries.iter().zip(&lie.queries).any(|(q, l)| !q.name.eq_case(&l.name));
                let lie = is_mixed.then(|| (Duration::ZERO, encoded(lie)));
                lie.into_iter().chain([(FORGERY_LEAD, encoded(truth))]).collect()
            }
            Self::LosingCase => {
                let mut truth = truth;
                in_lower_case(&mut truth);
                at_once(truth)
            }
            Self::Poisoned => at_once(poisoned(question, truth)),
            Self::Rebinding => at_once(claim(question, INSIDE)),
            Self::ServFail => {
                let mut failure = response_to(question);
                failure.metadata.response_code = ResponseCode::ServFail;
                at_once(failure)
            }
            Self::Lame => {
                let mut referral = response_to(question);
                let root = RData::NS(NS(name("a.root.")));
                referral.add_authority(Record::from_rdata(Name::root(), LIE_TTL_SECS, root));
                at_once(referral)
            }
            Self::Truncating if transport == Transport::Udp => at_once(truth.truncate()),
            Self::RejectingEdns(rejection) if question.edns.is_some() => rejection
                .reply(question)
                .map(encoded)
                .map(|reply| (Duration::ZERO, reply))
                .into_iter()
                .collect(),
            Self::Truthful | Self::Truncating | Self::RejectingEdns(_) => at_once(truth),
        }
    }
}

impl EdnsRejection {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::FormErr, Self::BadVers, Self::Silence];

    fn reply(self, question: &Message) -> Option<Message> {
        let mut reply = response_to(question);
        match self {
            Self::FormErr => {
                reply.queries.clear();
                reply.edns = None;
                reply.metadata.response_code = ResponseCode::FormErr;
            }
            Self::BadVers => {
                reply.metadata.response_code = ResponseCode::BADVERS;
                if let Some(edns) = &mut reply.edns {
                    edns.set_rcode_high(ResponseCode::BADVERS.high());
                }
            }
            Self::Silence => return None,
        }
        Some(reply)
    }
}

/// Spells the questions of a message in lower case.
pub(super) fn in_lower_case(message: &mut Message) {
    message.queries.iter_mut().for_each(|query| query.name = query.name.to_lowercase());
}

/// An answer that every name asked for has `address`.
pub(super) fn claim(question: &Message, address: Ipv4Addr) -> Message {
    let mut answer = response_to(question);
    answer.metadata.authoritative = true;
    let lies = question.queries.iter().map(|query| lie(query.name.clone(), address));
    answer.add_answers(lies.collect::<Vec<_>>());
    answer
}

/// `truth` with addresses of other names, in every section.
fn poisoned(question: &Message, mut truth: Message) -> Message {
    let coveted = COVETED.map(name).into_iter().filter(|name| {
        question.queries.iter().all(|query| query.name != *name)
            && truth.answers.iter().all(|record| record.name != *name && !leads_to(record, name))
    });
    let lies: Vec<_> = coveted.map(|name| lie(name, LIE)).collect();
    truth.add_answers(lies.clone()).add_authorities(lies.clone()).add_additionals(lies);
    truth
}

fn leads_to(record: &Record, name: &Name) -> bool {
    matches!(&record.data, RData::CNAME(target) if target.0 == *name)
}

fn lie(owner: Name, address: Ipv4Addr) -> Record {
    Record::from_rdata(owner, LIE_TTL_SECS, RData::A(A(address)))
}
