//! Fixtures of this module's tests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::config::Config;
use super::message::Question;
use crate::lan_hosts::LocalNames;

/// The office `office.example` at 192.168.1.1/24 with the WAN address 203.0.113.10.
pub fn office() -> Config {
    Config {
        wan: vec!["203.0.113.10".parse().unwrap()],
        upstreams: vec!["203.0.113.53:53".parse().unwrap(), "203.0.113.54:53".parse().unwrap()],
        ..Config::new("office.example", "gatepost", "192.168.1.1/24".parse().unwrap())
    }
}

/// Leases set by a test.
#[derive(Default)]
pub struct Leases {
    by_label: RefCell<BTreeMap<String, IpAddr>>,
    /// Whether leases are unknown.
    pub is_unread: Cell<bool>,
}

impl Leases {
    pub fn of(leases: &[(&str, &str)]) -> Rc<Self> {
        let this = Rc::new(Self::default());
        for (label, address) in leases {
            this.by_label.borrow_mut().insert((*label).to_owned(), address.parse().unwrap());
        }
        this
    }

    pub fn release(&self, label: &str) {
        self.by_label.borrow_mut().remove(label);
    }
}

impl LocalNames for Leases {
    fn addresses(&self, label: &str) -> Vec<IpAddr> {
        self.by_label.borrow().get(label).copied().into_iter().collect()
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        self.by_label.borrow().iter().find_map(|(label, &leased)| (leased == address).then(|| label.clone()))
    }

    fn labels(&self) -> Vec<String> {
        self.by_label.borrow().keys().cloned().collect()
    }

    fn is_complete(&self) -> bool {
        !self.is_unread.get()
    }

    fn is_known(&self, address: IpAddr) -> bool {
        self.name(address).is_some()
    }
}

pub fn name(name: &str) -> Name {
    let name = Name::from_ascii(name).unwrap();
    assert!(name.is_fqdn());
    name
}

pub fn a(owner: &str, ttl: u32, address: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(address.parse().unwrap())))
}

pub fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
    let data = SOA::new(name("ns.example."), name("hostmaster.example."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name(owner), ttl, RData::SOA(data))
}

pub fn question(owner: &str, record_type: RecordType) -> Question {
    Question { name: name(owner), record_type, dnssec_ok: false, checking_disabled: false }
}

/// A client's query with RD set.
pub fn query(id: u16, owner: &str, record_type: RecordType, edns_octets: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(owner), record_type));
    if let Some(octets) = edns_octets {
        let mut edns = Edns::new();
        edns.set_max_payload(octets);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// The response of an upstream server to `query`.
pub fn respond(
    query: &[u8],
    code: ResponseCode,
    answers: impl IntoIterator<Item = Record>,
    authorities: impl IntoIterator<Item = Record>,
) -> Message {
    let query = Message::from_vec(query).unwrap();
    let mut response = Message::response(query.metadata.id, OpCode::Query);
    response.metadata.response_code = code;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries);
    response.add_answers(answers).add_authorities(authorities);
    response.edns = query.edns;
    response
}

/// The addresses in a response's answer section.
pub fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().filter_map(|record| Some(record.data.ip_addr()?.to_string())).collect()
}
