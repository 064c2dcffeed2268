//! Questions as clients put them, and what is sent back: RFC 1035 section 4, EDNS(0) of RFC 6891.
//!
//! [`Request::parse`] takes what arrived and lets through one well-formed question of class IN. The
//! rest is rejected with the code that the RFCs name, or ignored where an answer could start a loop.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

/// The largest UDP message to a client without EDNS, RFC 1035 section 4.2.1.
pub const UDP_OCTETS_DEFAULT: u16 = 512;

/// The largest UDP message that is sent or asked for: it fits IPv6's smallest MTU, so it is never
/// fragmented (dnsflagday.net/2020).
pub const UDP_OCTETS_MAX: u16 = 1232;

const HEADER_OCTETS: usize = 12;
const FLAG_RESPONSE: u8 = 0x80;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// One message per datagram.
    Udp,
    /// Each message after its length in two octets (RFC 7766).
    Tcp,
}

/// A well-formed question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's identifier.
    pub id: u16,
    /// What it asks for, in its own spelling.
    pub name: Name,
    /// The type it asks for.
    pub record_type: RecordType,
    /// RD: it wants the question resolved.
    pub recursion_desired: bool,
    /// CD: it validates itself (RFC 4035 section 3.2.2).
    pub checking_disabled: bool,
    /// DO: it wants signatures (RFC 3225).
    pub dnssec_ok: bool,
    edns: bool,
    response_octets_max: u16,
}

/// What an arrived message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A question to answer.
    Request(Request),
    /// Nothing to answer in it; the response to send.
    Reject(Vec<u8>),
    /// A response, or too short to have an identifier: no answer, so that two servers never answer
    /// each other for ever.
    Ignore,
}

/// What there is to say to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// How it went, for the last name of the chain (RFC 6604).
    pub code: ResponseCode,
    /// The chain of CNAMEs from the question's name on, and the records at its end.
    pub answers: Vec<Record>,
    /// The SOA that a negative answer holds by.
    pub authorities: Vec<Record>,
    /// The chain is not at its end: this name is to be looked up next.
    pub continues_at: Option<Name>,
}

impl Answer {
    /// An answer that is only a code.
    pub fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }

    /// An answer of records.
    pub fn records(answers: Vec<Record>) -> Self {
        Self { answers, ..Self::default() }
    }

    /// The answer that something does not exist, by the authority of `soa`.
    pub fn negative(code: ResponseCode, soa: Record) -> Self {
        Self { code, authorities: vec![soa], ..Self::default() }
    }
}

/// What a response says beside the [`Answer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// AA: the question's name is in a zone of ours.
    pub authoritative: bool,
    /// RA: this client may have any name resolved.
    pub recursion_available: bool,
}

impl Request {
    /// Reads what a client sent.
    pub fn parse(bytes: &[u8], transport: Transport) -> Parsed {
        let Some(header) = bytes.first_chunk::<HEADER_OCTETS>() else { return Parsed::Ignore };
        if header[2] & FLAG_RESPONSE != 0 {
            return Parsed::Ignore;
        }
        let id = u16::from_be_bytes([header[0], header[1]]);
        let op_code = OpCode::from_u8(header[2] >> 3 & 0x0f);
        if op_code != OpCode::Query {
            return reject(Message::error_msg(id, op_code, ResponseCode::NotImp));
        }
        let question_count = u16::from_be_bytes([header[4], header[5]]);
        // RFC 9619: a query has exactly one question.
        let parsed = if question_count == 1 { Message::from_vec(bytes).ok() } else { None };
        let Some((message, query)) = parsed.and_then(|mut message| {
            let query = message.queries.pop()?;
            Some((message, query))
        }) else {
            return reject(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr));
        };
        Self::check(&message, query, transport)
    }

    fn check(message: &Message, query: Query, transport: Transport) -> Parsed {
        let edns = message.edns.as_ref();
        let response_octets_max = match (transport, edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => UDP_OCTETS_DEFAULT,
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(UDP_OCTETS_DEFAULT, UDP_OCTETS_MAX),
        };
        let refused = query.query_class != DNSClass::IN || is_meta(query.query_type);
        let request = Self {
            id: message.metadata.id,
            name: query.name,
            record_type: query.query_type,
            recursion_desired: message.metadata.recursion_desired,
            checking_disabled: message.metadata.checking_disabled,
            dnssec_ok: edns.is_some_and(|edns| edns.flags().dnssec_ok),
            edns: edns.is_some(),
            response_octets_max,
        };
        // RFC 6891 section 6.1.3
        if edns.is_some_and(|edns| edns.version() > 0) {
            return Parsed::Reject(request.respond(&Answer::code(ResponseCode::BADVERS), Flags::default()));
        }
        if refused {
            let mut response = request.response(&Answer::code(ResponseCode::Refused), Flags::default());
            for echoed in &mut response.queries {
                echoed.query_class = query.query_class;
            }
            return reject(response);
        }
        Parsed::Request(request)
    }

    /// The response to send. One that is too long for the client comes without any records and says so
    /// with TC, so that nobody takes a part for the whole (RFC 2181 section 9).
    pub fn respond(&self, answer: &Answer, flags: Flags) -> Vec<u8> {
        let mut response = self.response(answer, flags);
        let full = encode(&response);
        if full.len() <= usize::from(self.response_octets_max) {
            return full;
        }
        response.metadata.truncation = true;
        response.answers.clear();
        response.authorities.clear();
        encode(&response)
    }

    fn response(&self, answer: &Answer, flags: Flags) -> Message {
        let mut response = Message::response(self.id, OpCode::Query);
        response.metadata.recursion_desired = self.recursion_desired;
        response.metadata.checking_disabled = self.checking_disabled;
        response.metadata.authoritative = flags.authoritative;
        response.metadata.recursion_available = flags.recursion_available;
        response.metadata.response_code = answer.code;
        response.add_query(Query::query(self.name.clone(), self.record_type));
        response.answers.clone_from(&answer.answers);
        response.authorities.clone_from(&answer.authorities);
        if self.edns {
            response.set_edns(edns(self.dnssec_ok));
        }
        response
    }
}

/// What upstream servers are asked. It is also what an exchange with them is known by: clients that
/// differ only in spelling share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type.
    pub record_type: RecordType,
    /// DO: signatures are wanted.
    pub dnssec_ok: bool,
    /// CD: whoever asks validates himself.
    pub checking_disabled: bool,
}

impl Question {
    /// The query to send.
    pub fn query(&self, id: u16, with_edns: bool) -> Vec<u8> {
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.metadata.checking_disabled = self.checking_disabled;
        query.add_query(Query::query(self.name.clone(), self.record_type));
        if with_edns {
            query.set_edns(edns(self.dnssec_ok));
        }
        encode(&query)
    }

    /// Reads a response; `None` unless it answers exactly this question under `id` (RFC 5452
    /// section 9.1). Whether it came from whom it was asked is for the caller to see.
    pub fn read_response(&self, id: u16, bytes: &[u8]) -> Option<Message> {
        let question_count = bytes.get(4..6)?;
        if bytes.get(..2)? != id.to_be_bytes() || question_count != [0, 1] {
            return None;
        }
        let message = Message::from_vec(bytes).ok()?;
        let Metadata { message_type, op_code, .. } = message.metadata;
        let query = message.queries.first()?;
        let answers_this = message_type == MessageType::Response
            && op_code == OpCode::Query
            && query.name == self.name
            && query.query_type == self.record_type
            && query.query_class == DNSClass::IN;
        answers_this.then_some(message)
    }
}

fn edns(dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_OCTETS_MAX).set_dnssec_ok(dnssec_ok);
    edns
}

/// OPT and the transaction and transfer types, RFC 6895 section 3.1; ANY is not among them.
fn is_meta(record_type: RecordType) -> bool {
    let code = u16::from(record_type);
    record_type == RecordType::OPT || (128..=254).contains(&code)
}

fn reject(message: Message) -> Parsed {
    Parsed::Reject(encode(&message))
}

/// What does not fit into 65,535 octets is left out with TC set.
fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap_or_else(|_| {
        // What cannot be encoded is answered with a bare header.
        let Metadata { id, op_code, .. } = message.metadata;
        let [id_high, id_low] = id.to_be_bytes();
        let flags = [FLAG_RESPONSE | u8::from(op_code) << 3, ResponseCode::ServFail.low()];
        [id_high, id_low, flags[0], flags[1], 0, 0, 0, 0, 0, 0, 0, 0].to_vec()
    })
}
