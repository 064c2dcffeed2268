//! The extraction of an answer from an upstream server's response: the chain from the question's name on, the SOA of a
//! negative answer, and the proofs for a client that requests signatures. All other records are ignored, so that they
//! are neither forwarded nor cached (RFC 2181, section 5.4.1).

use std::collections::BTreeSet;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::message::{Answer, Question, limit_negative_ttl};

/// The longest chain of one response.
const CHAIN_NAMES_MAX: usize = 16;

/// Extracts the answer to `question` from `response`, whose code is NOERROR or NXDOMAIN.
///
/// `is_local` names are not up to the server that answered: a chain that comes to one is continued elsewhere.
pub fn read_answer(question: &Question, response: Message, is_local: impl Fn(&Name) -> bool) -> Answer {
    let chain = Chain::follow(question, &response.answers, is_local);
    let code = response.metadata.response_code;
    let mut answers: Vec<_> = response.answers.into_iter().filter(|record| chain.has(record)).collect();
    chain.set_ttls_of_dnames(&mut answers);
    let mut answer = Answer::records(match question.record_type {
        RecordType::RRSIG => answers,
        _ => without_lone_signatures(answers),
    });
    if chain.found {
        // The proof that a wildcard applies to the name (RFC 4035, section 3.1.3.3).
        let is_of_proof = |record: &Record| question.dnssec_ok && is_proof(record.record_type());
        let proof = response.authorities.into_iter().filter(is_of_proof).collect();
        answer.authorities = without_lone_signatures(proof);
        return answer;
    }
    if !chain.left_to_us {
        let end = chain.end();
        let is_of_denial = |record: &Record| denies(record, end, question.dnssec_ok);
        let denial = response.authorities.into_iter().filter(is_of_denial).collect();
        answer.authorities = without_lone_signatures(denial);
        answer.authorities.iter_mut().for_each(limit_negative_ttl);
        answer.code = code;
    }
    let is_denied = answer.code == ResponseCode::NXDomain || answer.is_denial();
    if !is_denied && chain.names.len() > 1 {
        answer.continues_at = chain.names.into_iter().next_back();
    }
    answer
}

/// The names from the question's on along the CNAMEs.
struct Chain {
    /// At least the question's name.
    names: Vec<Name>,
    /// The last name has the requested type.
    found: bool,
    /// The last name is local.
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

    /// Whether `record` belongs to the chain, or to its proof.
    fn has(&self, record: &Record) -> bool {
        let record_type = record.record_type();
        let is_last = record.name == *self.end();
        if is_last && self.left_to_us {
            return false;
        }
        if record_type == self.record_type || record_type == RecordType::CNAME {
            return self.names.contains(&record.name);
        }
        let mut names = self.names.iter();
        match record_type {
            // RFC 6672, section 3.1: it goes to all clients, with the CNAME that is made of it.
            RecordType::DNAME => names.any(|name| redirects(record, name)),
            proof => self.dnssec_ok && is_proof(proof) && names.any(|name| record.name.zone_of(name)),
        }
    }

    /// Gives a CNAME with a TTL of zero that is made of a DNAME the TTL of the DNAME: some servers send zero, with
    /// which the answer would not be cached (RFC 6672, section 3.1).
    fn set_ttls_of_dnames(&self, records: &mut [Record]) {
        for name in &self.names {
            let is_dname =
                |record: &&Record| record.record_type() == RecordType::DNAME && redirects(record, name);
            let Some(ttl) = records.iter().find(is_dname).map(|dname| dname.ttl) else { continue };
            let is_alias =
                |record: &Record| record.record_type() == RecordType::CNAME && record.name == *name;
            for alias in records.iter_mut().filter(|record| is_alias(record) && record.ttl == 0) {
                alias.ttl = ttl;
            }
        }
    }
}

/// Whether `dname` is at a name above `name`.
fn redirects(dname: &Record, name: &Name) -> bool {
    dname.name != *name && dname.name.zone_of(name)
}

/// Whether `record` is the SOA of a denial of `name` or, for `dnssec_ok`, a part of its proof.
fn denies(record: &Record, name: &Name, dnssec_ok: bool) -> bool {
    match record.record_type() {
        RecordType::SOA => record.name.zone_of(name),
        proof => dnssec_ok && is_proof(proof),
    }
}

fn is_proof(record_type: RecordType) -> bool {
    matches!(record_type, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3)
}

/// The records without the signatures of sets that are not among them: a validator takes such a set for forged.
fn without_lone_signatures(mut records: Vec<Record>) -> Vec<Record> {
    let sets: BTreeSet<_> =
        records.iter().map(|record| (record.name.clone(), record.record_type())).collect();
    records.retain(|record| {
        signed_type(record).is_none_or(|signed| sets.contains(&(record.name.clone(), signed)))
    });
    records
}

/// The type that the signature `record` covers. (RFC 4034, section 3.1.1)
fn signed_type(record: &Record) -> Option<RecordType> {
    match &record.data {
        RData::Unknown { code: RecordType::RRSIG, rdata } => {
            let octets = rdata.anything.first_chunk()?;
            Some(RecordType::from(u16::from_be_bytes(*octets)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode};

    use super::super::testing::{a, cname, name, question, soa};
    use super::super::wire::opaque;
    use super::*;

    fn response(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.add_answers(answers).add_authorities(authorities);
        message
    }

    fn read(answers: Vec<Record>, authorities: Vec<Record>) -> Answer {
        read_code(ResponseCode::NoError, answers, authorities)
    }

    fn read_code(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Answer {
        let is_local = |asked: &Name| name("office.example.").zone_of(asked);
        let www = question("www.shop.example.", RecordType::A);
        read_answer(&www, response(code, answers, authorities), is_local)
    }

    #[test]
    fn a_chain_is_taken_whole_and_nothing_beside_it() {
        let chain = vec![
            cname("www.shop.example.", 60, "cdn.example."),
            cname("cdn.example.", 60, "edge.example."),
            a("edge.example.", 60, "203.0.113.7"),
        ];
        let mut with_more = chain.clone();
        with_more.insert(0, a("bank.example.", 60, "203.0.113.66"));
        assert_eq!(read(with_more, vec![soa("example.", 60, 60)]), Answer::records(chain));
    }

    #[test]
    fn a_chain_without_an_end_continues_there() {
        let start = vec![cname("www.shop.example.", 60, "cdn.example.")];
        let answer = read(start.clone(), vec![]);
        assert_eq!(answer.continues_at, Some(name("cdn.example.")));
        assert_eq!(answer.answers, start);
    }

    #[test]
    fn a_chain_that_comes_to_a_local_name_continues_in_the_zone() {
        let start = cname("www.shop.example.", 60, "pc1.office.example.");
        let claimed = a("pc1.office.example.", 60, "203.0.113.66");
        let answer =
            read_code(ResponseCode::NXDomain, vec![start.clone(), claimed], vec![soa("example.", 60, 60)]);
        let expected =
            Answer { continues_at: Some(name("pc1.office.example.")), ..Answer::records(vec![start]) };
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_chain_in_a_circle_ends() {
        let circle =
            vec![cname("www.shop.example.", 60, "b.example."), cname("b.example.", 60, "www.shop.example.")];
        let answer = read(circle, vec![]);
        assert_eq!(answer.continues_at, Some(name("b.example.")), "for the limit on aliases to stop");
    }

    #[test]
    fn a_chain_is_bounded() {
        let links: Vec<_> = std::iter::once(cname("www.shop.example.", 60, "n0.example."))
            .chain((0..100).map(|i| cname(&format!("n{i}.example."), 60, &format!("n{}.example.", i + 1))))
            .collect();
        let answer = read(links, vec![]);
        assert_eq!(answer.answers.len(), CHAIN_NAMES_MAX);
        assert!(answer.continues_at.is_some());
    }

    /// RFC 2308, section 5: Negative TTL is the smaller of TTL and minimum.
    #[test]
    fn rfc2308_negative_ttl_is_the_smaller_of_ttl_and_minimum() {
        for (ttl, minimum) in [(300, 60), (60, 300)] {
            let answer = read_code(ResponseCode::NXDomain, vec![], vec![soa("shop.example.", ttl, minimum)]);
            assert_eq!(answer.code, ResponseCode::NXDomain);
            assert_eq!(answer.authorities[0].ttl, 60);
        }
    }

    #[test]
    fn an_soa_from_elsewhere_denies_nothing() {
        assert_eq!(read(vec![], vec![soa("bank.example.", 60, 60)]), Answer::default());
    }

    fn record(owner: &str, record_type: RecordType) -> Record {
        Record::from_rdata(name(owner), 60, opaque(record_type, vec![0; 20]))
    }

    fn signature(owner: &str, of: RecordType) -> Record {
        let octets = u16::from(of).to_be_bytes();
        Record::from_rdata(name(owner), 60, opaque(RecordType::RRSIG, [&octets[..], &[0; 20]].concat()))
    }

    /// RFC 4035, section 3.1.3.3: The proof of a wildcard goes to those who ask for signatures.
    #[test]
    fn rfc4035_3_1_3_3_the_proof_of_a_wildcard_goes_to_those_who_ask_for_signatures() {
        let www = question("www.shop.example.", RecordType::A);
        let proof =
            vec![record("shop.example.", RecordType::NSEC), signature("shop.example.", RecordType::NSEC)];
        let beside = [record("shop.example.", RecordType::NS), signature("shop.example.", RecordType::NS)];
        let authorities = [&proof[..], &beside].concat();
        for dnssec_ok in [true, false] {
            let asked = Question { dnssec_ok, ..www.clone() };
            let found = vec![a("www.shop.example.", 60, "203.0.113.7")];
            let message = response(ResponseCode::NoError, found, authorities.clone());
            let answer = read_answer(&asked, message, |_| false);
            assert_eq!(answer.authorities, if dnssec_ok { proof.clone() } else { vec![] });
        }
    }

    /// RFC 4035, section 3.1.1: A signature goes with the records that it is of.
    #[test]
    fn rfc4035_3_1_1_a_signature_goes_with_the_records_that_it_is_of() {
        let www = Question { dnssec_ok: true, ..question("www.shop.example.", RecordType::A) };
        let soa = soa("shop.example.", 60, 60);
        let [of_soa, of_ns] = [RecordType::SOA, RecordType::NS].map(|of| signature("shop.example.", of));
        let of_nothing = record("shop.example.", RecordType::RRSIG);
        let authorities = vec![of_ns, of_nothing, soa.clone(), of_soa.clone()];
        let message = response(ResponseCode::NXDomain, vec![], authorities);
        assert_eq!(read_answer(&www, message, |_| false).authorities, [soa, of_soa]);

        let of_a = signature("www.shop.example.", RecordType::A);
        let of_mx = signature("www.shop.example.", RecordType::MX);
        let found = vec![a("www.shop.example.", 60, "203.0.113.7"), of_a.clone(), of_mx.clone()];
        let message = response(ResponseCode::NoError, found.clone(), vec![]);
        assert_eq!(read_answer(&www, message.clone(), |_| false).answers, found[..2]);
        // The signatures themselves were asked for.
        let signatures = Question { record_type: RecordType::RRSIG, ..www };
        assert_eq!(read_answer(&signatures, message, |_| false).answers, [of_a, of_mx]);
    }

    /// RFC 6672, section 3.1: A DNAME goes along with the alias that is made of it.
    #[test]
    fn rfc6672_3_1_a_dname_goes_along_with_the_alias_that_is_made_of_it() {
        let [dname, elsewhere, at_the_name] =
            ["shop.example.", "else.example.", "www.shop.example."].map(|owner| record(owner, 39.into()));
        let chain =
            [cname("www.shop.example.", 60, "www.new.example."), a("www.new.example.", 60, "203.0.113.7")];
        let whole = [&[dname][..], &chain].concat();
        assert_eq!(read([&whole[..], &[elsewhere, at_the_name]].concat(), vec![]).answers, whole);
    }

    /// RFC 6672, section 3.1: An alias with a TTL of zero has that of the DNAME that it is made of.
    #[test]
    fn rfc6672_3_1_an_alias_without_a_ttl_has_that_of_its_dname() {
        let [dname, of_another] = ["shop.example.", "else.example."].map(|owner| record(owner, 39.into()));
        let ttl_with = |dname: Record, ttl| {
            let chain = vec![dname, cname("www.shop.example.", ttl, "www.new.example.")];
            read(chain, vec![]).answers.pop().map(|alias| alias.ttl)
        };
        assert_eq!(ttl_with(dname.clone(), 0), Some(dname.ttl));
        assert_eq!(ttl_with(dname, 7), Some(7));
        assert_eq!(ttl_with(of_another, 0), Some(0));
    }

    #[test]
    fn signatures_go_to_those_who_ask_for_them() {
        let signature = signature("www.shop.example.", RecordType::A);
        let signed = vec![a("www.shop.example.", 60, "203.0.113.7"), signature];
        let plain = question("www.shop.example.", RecordType::A);
        let validating = Question { dnssec_ok: true, ..plain.clone() };
        for (asked, records) in [(plain, 1), (validating, 2)] {
            let message = response(ResponseCode::NoError, signed.clone(), vec![]);
            assert_eq!(read_answer(&asked, message, |_| false).answers.len(), records);
        }
    }
}
