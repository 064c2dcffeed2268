//! What is taken from an upstream server's response: the chain that starts at the question's name, and
//! the SOA that a negative answer needs. Everything else a server may have put in is left out, so that
//! it can neither be passed on nor cached (RFC 2181 section 5.4.1).

use std::net::IpAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::message::{Answer, Question};

/// The most names in the chain of one response.
const CHAIN_NAMES_MAX: usize = 16;

/// Reads the answer to `question` out of `response`, whose code is NOERROR or NXDOMAIN.
///
/// `is_local` tells the names that upstream servers have nothing to say about: a chain that comes to
/// one continues there. Addresses that `is_forbidden` names are left out.
pub fn read_answer(
    question: &Question,
    response: Message,
    is_local: impl Fn(&Name) -> bool,
    is_forbidden: impl Fn(IpAddr) -> bool,
) -> Answer {
    let chain = Chain::follow(question, &response.answers, is_local);
    let code = response.metadata.response_code;
    let belongs = |record: &Record| chain.has(record) && !record.data.ip_addr().is_some_and(&is_forbidden);
    let mut answer = Answer::records(response.answers.into_iter().filter(belongs).collect());
    if chain.found {
        return answer;
    }
    if !chain.left_to_us {
        let end = chain.end();
        answer.authorities = response
            .authorities
            .into_iter()
            .filter(|record| denies(record, end, question.dnssec_ok))
            .collect();
        answer.authorities.iter_mut().for_each(limit_negative_ttl);
        answer.code = code;
    }
    let is_denied = answer.code == ResponseCode::NXDomain || !answer.authorities.is_empty();
    if !is_denied && chain.names.len() > 1 {
        answer.continues_at = chain.names.into_iter().next_back();
    }
    answer
}

/// The names from the question's on along the CNAMEs.
struct Chain {
    /// At least the question's name.
    names: Vec<Name>,
    /// The last name has what was asked for.
    found: bool,
    /// The last name is a local one.
    left_to_us: bool,
    record_type: RecordType,
    dnssec_ok: bool,
}

impl Chain {
    fn follow(question: &Question, records: &[Record], is_local: impl Fn(&Name) -> bool) -> Self {
        let mut chain = Self {
            names: vec![question.name.clone()],
            found: false,
            left_to_us: false,
            record_type: question.record_type,
            dnssec_ok: question.dnssec_ok,
        };
        loop {
            let name = chain.end().clone();
            let here = || records.iter().filter(|record| record.name == name);
            chain.found = here().any(|record| record.record_type() == question.record_type);
            let target = here().find_map(|record| match &record.data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = target.filter(|target| !chain.found && !chain.names.contains(target)) else {
                return chain;
            };
            chain.left_to_us = is_local(&target);
            chain.names.push(target);
            if chain.left_to_us || chain.names.len() == CHAIN_NAMES_MAX {
                return chain;
            }
        }
    }

    fn end(&self) -> &Name {
        self.names.last().expect("it starts with the question's name")
    }

    /// Whether `record` is a part of it, or of its proof.
    fn has(&self, record: &Record) -> bool {
        let record_type = record.record_type();
        let is_last = record.name == *self.end();
        if is_last && self.left_to_us {
            return false;
        }
        if record_type == self.record_type || record_type == RecordType::CNAME {
            return self.names.contains(&record.name);
        }
        self.dnssec_ok && is_proof(record_type) && self.names.iter().any(|name| record.name.zone_of(name))
    }
}

/// Whether `record` is the SOA, or for those who want it a part of the proof, of what `name` lacks.
fn denies(record: &Record, name: &Name, dnssec_ok: bool) -> bool {
    match record.record_type() {
        RecordType::SOA => record.name.zone_of(name),
        proof => dnssec_ok && is_proof(proof),
    }
}

fn is_proof(record_type: RecordType) -> bool {
    matches!(record_type, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3) || record_type == DNAME
}

/// RFC 6672
const DNAME: RecordType = RecordType::Unknown(39);

/// RFC 2308 section 3: what the SOA denies holds for the smaller of its TTL and its MINIMUM.
fn limit_negative_ttl(record: &mut Record) {
    if let RData::SOA(soa) = &record.data {
        record.ttl = record.ttl.min(soa.minimum);
    }
}
