//! The answers of an authoritative name server. (RFC 1034, section 4.3.2)

use std::net::Ipv4Addr;

use gatepost_ground::Instant;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::response_to;
use super::tree::Tree;

/// The most aliases of one zone in an answer.
const ALIASES_MAX: usize = 8;

/// The answer of the name server at `server` to a question, which has not been truncated yet.
pub fn answer(tree: &Tree, server: Ipv4Addr, question: &Message, now: Instant) -> Message {
    let mut answer = response_to(question);
    let [query] = &question.queries[..] else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer;
    };
    let holder = tree.zones_at(server).filter(|zone| zone.zone_of(&query.name));
    let Some(zone) =
        holder.max_by_key(|zone| zone.num_labels()).filter(|_| query.query_class == DNSClass::IN)
    else {
        answer.metadata.response_code = ResponseCode::Refused;
        return answer;
    };
    let mut name = query.name.clone();
    for _ in 0..ALIASES_MAX {
        if let Some(cut) = tree.delegation(zone, &name) {
            if answer.answers.is_empty() {
                refer(tree, zone, cut, &mut answer, now);
            }
            return answer;
        }
        answer.metadata.authoritative = true;
        let found: Vec<_> = tree.records(&name, query.query_type, now).cloned().collect();
        if !found.is_empty() {
            answer.add_answers(found);
            return answer;
        }
        let Some(alias) = tree.records(&name, RecordType::CNAME, now).next() else {
            if !tree.exists(&name) {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_authorities(tree.records(zone, RecordType::SOA, now).cloned());
            return answer;
        };
        answer.add_answer(alias.clone());
        match &alias.data {
            RData::CNAME(target) if zone.zone_of(target) => name = target.0.clone(),
            _ => return answer,
        }
    }
    answer
}

/// Names the servers of `cut`, with the addresses of those that lie in `zone`.
fn refer(tree: &Tree, zone: &Name, cut: &Name, answer: &mut Message, now: Instant) {
    let servers: Vec<Record> = tree.records(cut, RecordType::NS, now).cloned().collect();
    for server in &servers {
        if let RData::NS(target) = &server.data
            && zone.zone_of(target)
        {
            answer.add_additionals(tree.records(target, RecordType::A, now).cloned());
        }
    }
    answer.add_authorities(servers);
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, Query};

    use super::super::servers_called;
    use super::super::tree::name;
    use super::*;

    fn ask(server: &str, asked: &str, record_type: RecordType) -> Message {
        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(name(asked), record_type));
        answer(&Tree::new(), servers_called(server).next().unwrap(), &question, Instant::ZERO)
    }

    fn owners(records: &[Record]) -> Vec<String> {
        records.iter().map(|record| record.name.to_ascii()).collect()
    }

    #[test]
    fn what_is_delegated_is_referred_with_glue_where_there_may_be_any() {
        let referral = ask("a.root", "web-0.example.com.", RecordType::A);
        assert!(!referral.metadata.authoritative && referral.answers.is_empty());
        assert_eq!(owners(&referral.authorities), ["com.", "com."]);
        assert_eq!(owners(&referral.additionals), ["a.gtld.net.", "b.gtld.net."]);
        let referral = ask("b.gtld.net", "web-0.example.com.", RecordType::A);
        assert_eq!(owners(&referral.authorities), ["example.com.", "example.com."]);
        assert_eq!(owners(&referral.additionals), ["ns-0.example.com."], "the other is in net");
    }

    /// RFC 1034, section 4.3.2: Existing names, missing names, and referrals.
    #[test]
    fn rfc1034_what_is_there_what_is_not_and_what_leads_elsewhere() {
        let found = ask("a.nic.example", "SITE-3.example.", RecordType::A);
        assert!(found.metadata.authoritative && found.answers.len() == 1);
        let alias = ask("a.nic.example", "site-14.example.", RecordType::A);
        assert_eq!(alias.answers[0].record_type(), RecordType::CNAME);
        assert_eq!(alias.answers.len(), 1, "the target is not its own to answer");
        let absent = ask("a.nic.example", "nobody.example.", RecordType::A);
        let empty = ask("a.nic.example", "site-3.example.", RecordType::MX);
        let non_terminal = ask("ns-0.example.net", "cdn.example.net.", RecordType::A);
        for (denial, code) in [
            (absent, ResponseCode::NXDomain),
            (empty, ResponseCode::NoError),
            (non_terminal, ResponseCode::NoError),
        ] {
            assert_eq!(denial.metadata.response_code, code);
            assert_eq!(denial.authorities[0].record_type(), RecordType::SOA);
        }
    }

    #[test]
    fn what_it_has_no_zone_for_is_refused() {
        let refused = ask("ns-0.example.com", "site-3.example.", RecordType::A);
        assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    }
}
