//! DNS messages of clients and to clients. (RFC 1035, section 4; EDNS(0): RFC 6891)
//!
//! [`Request::parse`] accepts one well-formed question of class IN. Others are rejected with the code that the RFCs
//! specify, or ignored if a response could start a loop. A query has no answers; one with more records than a query can
//! have is rejected unread, so that its names cost nothing.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::wire::{ReadMessage, read_message};

/// The largest UDP message to a client without EDNS, RFC 1035, section 4.2.1.
pub const UDP_OCTETS_DEFAULT: u16 = 512;

/// The largest UDP message that is sent or accepted: it fits IPv6's smallest MTU, so it is never fragmented
/// (dnsflagday.net/2020).
pub const UDP_OCTETS_MAX: u16 = 1232;

const HEADER_OCTETS: usize = 12;

/// The most records of a query's authority section: the SOA of IXFR. (RFC 1995, section 3)
const AUTHORITIES_MAX: u16 = 1;

/// The most records of a query's additional section: OPT, and a signature (RFC 8945, section 5.1).
const ADDITIONALS_MAX: u16 = 2;

const FLAG_RESPONSE: u8 = 0x80;

/// The transport of a message.
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
    /// The name, in the client's spelling.
    pub name: Name,
    /// The type.
    pub record_type: RecordType,
    /// RD: recursion is desired.
    pub recursion_desired: bool,
    /// CD: the client validates (RFC 4035, section 3.2.2).
    pub checking_disabled: bool,
    /// DO: the client requests signatures (RFC 3225).
    pub dnssec_ok: bool,
    /// AD: the client understands AD in the response (RFC 6840, section 5.7).
    pub authentic_data: bool,
    edns: bool,
    response_octets_max: u16,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A query to answer.
    Request(Request),
    /// An invalid query, with the response to send.
    Reject(Vec<u8>),
    /// A response, or too short to have an identifier: ignored, so that two servers never answer each other for ever.
    Ignore,
}

/// The answer to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The code, for the last name of the chain (RFC 6604).
    pub code: ResponseCode,
    /// The CNAME chain from the question's name on, and the records at its end.
    pub answers: Vec<Record>,
    /// The SOA of a negative answer, or the servers of a referral, and, for clients that request signatures, proofs.
    pub authorities: Vec<Record>,
    /// The addresses of the servers of a referral.
    pub additionals: Vec<Record>,
    /// AD: a trusted upstream server has validated all of it (RFC 4035, section 3.2.3).
    pub authenticated: bool,
    /// The chain is incomplete: the next name to look up.
    pub continues_at: Option<Name>,
}

impl Answer {
    /// An answer with a code only.
    pub fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }

    /// An answer with records.
    pub fn records(answers: Vec<Record>) -> Self {
        Self { answers, ..Self::default() }
    }

    /// Whether it denies the name or the type, with an SOA (RFC 2308, section 2).
    pub fn is_denial(&self) -> bool {
        self.authorities.iter().any(|record| record.record_type() == RecordType::SOA)
    }

    /// A negative answer with the SOA `soa`.
    pub fn negative(code: ResponseCode, mut soa: Record) -> Self {
        limit_negative_ttl(&mut soa);
        Self { code, authorities: vec![soa], ..Self::default() }
    }
}

/// RFC 2308, section 3: the TTL of a negative answer is the smaller of the SOA's TTL and its MINIMUM.
pub fn limit_negative_ttl(record: &mut Record) {
    if let RData::SOA(soa) = &record.data {
        record.ttl = record.ttl.min(soa.minimum);
    }
}

/// The flags of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// AA: the question's name is in a local zone.
    pub authoritative: bool,
    /// RA: recursion is available to this client.
    pub recursion_available: bool,
}

impl Request {
    /// Parses a client's message.
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
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // RFC 9619: a query has exactly one question.
        let is_query =
            count(4) == 1 && count(6) == 0 && count(8) <= AUTHORITIES_MAX && count(10) <= ADDITIONALS_MAX;
        let read = if is_query { read_message(bytes) } else { None };
        let Some((message, query)) =
            read.filter(|read| read.is_well_formed).and_then(|ReadMessage { mut message, .. }| {
                let query = message.queries.pop()?;
                Some((message, query))
            })
        else {
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
            authentic_data: message.metadata.authentic_data,
            edns: edns.is_some(),
            response_octets_max,
        };
        // RFC 6891, section 6.1.3
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

    /// Builds the response. One that is too long for the client has no records and the TC bit, so that no client takes
    /// a part for the whole (RFC 2181, section 9).
    pub fn respond(&self, answer: &Answer, flags: Flags) -> Vec<u8> {
        let full = encode(&self.response(answer, flags));
        if full.len() <= usize::from(self.response_octets_max) {
            return full;
        }
        self.respond_truncated(flags)
    }

    /// A response without records and with the TC bit, which makes clients use TCP. It is no longer than the query.
    pub fn respond_truncated(&self, flags: Flags) -> Vec<u8> {
        let mut response = self.response(&Answer::default(), flags);
        response.metadata.truncation = true;
        encode(&response)
    }

    fn response(&self, answer: &Answer, flags: Flags) -> Message {
        let mut response = Message::response(self.id, OpCode::Query);
        response.metadata.recursion_desired = self.recursion_desired;
        response.metadata.checking_disabled = self.checking_disabled;
        response.metadata.authoritative = flags.authoritative;
        response.metadata.recursion_available = flags.recursion_available;
        response.metadata.response_code = answer.code;
        response.metadata.authentic_data = answer.authenticated && (self.dnssec_ok || self.authentic_data);
        response.add_query(Query::query(self.name.clone(), self.record_type));
        response.answers.clone_from(&answer.answers);
        response.authorities.clone_from(&answer.authorities);
        response.additionals.clone_from(&answer.additionals);
        if self.edns {
            response.set_edns(edns(self.dnssec_ok));
        }
        response
    }
}

/// The properties of a query to an upstream server beside its question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryFlags {
    /// Whether it has OPT.
    pub with_edns: bool,
    /// AD: the response is to tell whether the server has validated it (RFC 6840, section 5.7).
    pub authentic_data: bool,
}

/// A question to upstream servers. It identifies an exchange: clients that differ only in spelling share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type.
    pub record_type: RecordType,
    /// DO: signatures are requested.
    pub dnssec_ok: bool,
    /// CD: the client validates.
    pub checking_disabled: bool,
}

impl Question {
    /// The query to send.
    pub fn query(&self, id: u16, QueryFlags { with_edns, authentic_data }: QueryFlags) -> Vec<u8> {
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.metadata.checking_disabled = self.checking_disabled;
        query.metadata.authentic_data = authentic_data;
        query.add_query(Query::query(self.name.clone(), self.record_type));
        if with_edns {
            query.set_edns(edns(self.dnssec_ok));
        }
        encode(&query)
    }

    /// Parses a response; `None` unless it answers exactly this question with `id` (RFC 5452, section 9.1). Only an
    /// error may lack the question, since servers that cannot read a query answer so. The caller verifies the sender.
    pub fn read_response(&self, id: u16, bytes: &[u8]) -> Option<ReadMessage> {
        let question_count = bytes.get(4..6)?;
        if bytes.get(..2)? != id.to_be_bytes() || !matches!(question_count, [0, 0 | 1]) {
            return None;
        }
        let read = read_message(bytes)?;
        let Metadata { message_type, op_code, response_code, .. } = read.message.metadata;
        let is_about_this = match read.message.queries.first() {
            Some(query) => {
                query.name == self.name
                    && query.query_type == self.record_type
                    && query.query_class == DNSClass::IN
            }
            None => !is_answer(response_code),
        };
        let answers_this = message_type == MessageType::Response && op_code == OpCode::Query && is_about_this;
        answers_this.then_some(read)
    }
}

/// Whether a response with `code` is an answer, and not an error.
pub fn is_answer(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn edns(dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_OCTETS_MAX).set_dnssec_ok(dnssec_ok);
    edns
}

/// OPT and the transaction and transfer types except ANY. (RFC 6895, section 3.1)
fn is_meta(record_type: RecordType) -> bool {
    let code = u16::from(record_type);
    record_type == RecordType::OPT || (128..=254).contains(&code)
}

fn reject(message: Message) -> Parsed {
    Parsed::Reject(encode(&message))
}

/// Encodes `message`; records beyond 65,535 octets are left out, with the TC bit set.
fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap_or_else(|_| {
        // A message that cannot be encoded is answered with a bare header.
        let Metadata { id, op_code, .. } = message.metadata;
        let [id_high, id_low] = id.to_be_bytes();
        let flags = [FLAG_RESPONSE | u8::from(op_code) << 3, ResponseCode::ServFail.low()];
        [id_high, id_low, flags[0], flags[1], 0, 0, 0, 0, 0, 0, 0, 0].to_vec()
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, RecordType};
    use proptest::prelude::*;

    use super::super::testing::{a, name, query, question};
    use super::*;

    fn request(bytes: &[u8], transport: Transport) -> Request {
        match Request::parse(bytes, transport) {
            Parsed::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn rejection(bytes: &[u8]) -> Message {
        match Request::parse(bytes, Transport::Udp) {
            Parsed::Reject(message) => Message::from_vec(&message).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn answer_of(count: u8) -> Answer {
        let address = |octet| RData::A(A::new(203, 0, 113, octet));
        let owner = name("many.example.");
        Answer::records((0..count).map(|i| Record::from_rdata(owner.clone(), 60, address(i))).collect())
    }

    /// RFC 1035, section 4.1.1: A response echoes ID, question and RD.
    #[test]
    fn rfc1035_a_response_echoes_id_question_and_rd() {
        let request = request(&query(0x1234, "WwW.example.", RecordType::A, None), Transport::Udp);
        let flags = Flags { authoritative: true, recursion_available: true };
        let answer = Answer::records(vec![a("www.example.", 60, "203.0.113.1")]);
        let response = Message::from_vec(&request.respond(&answer, flags)).unwrap();
        assert_eq!(response.metadata.id, 0x1234);
        assert_eq!(response.metadata.message_type, MessageType::Response);
        assert!(response.metadata.authoritative && response.metadata.recursion_available);
        assert!(response.metadata.recursion_desired && !response.metadata.authentic_data);
        assert!(response.queries[0].name.eq_case(&name("WwW.example.")), "in the client's spelling");
        assert_eq!(response.answers, answer.answers);
        assert_eq!(response.edns, None);
    }

    #[test]
    fn responses_and_fragments_are_never_answered() {
        let mut response = query(1, "www.example.", RecordType::A, None);
        response[2] |= FLAG_RESPONSE;
        assert_eq!(Request::parse(&response, Transport::Udp), Parsed::Ignore);
        assert_eq!(Request::parse(&response[..11], Transport::Udp), Parsed::Ignore);
    }

    #[test]
    fn what_cannot_be_read_is_a_format_error_under_its_id() {
        let whole = query(0xbeef, "www.example.", RecordType::A, None);
        let rejected = rejection(&whole[..whole.len() - 3]);
        assert_eq!((rejected.metadata.id, rejected.metadata.response_code), (0xbeef, ResponseCode::FormErr));
    }

    /// RFC 9619, section 4: A query has one question.
    #[test]
    fn rfc9619_a_query_has_one_question() {
        for count in [0, 2] {
            let mut bytes = query(7, "www.example.", RecordType::A, None);
            bytes[5] = count;
            assert_eq!(rejection(&bytes).metadata.response_code, ResponseCode::FormErr);
        }
    }

    #[test]
    fn a_query_with_records_that_no_query_has_is_a_format_error() {
        let root_a = b"\0\0\x01\0\x01\0\0\0\0\0\x04\x0a\0\0\x01";
        for (place, count) in [(7, 1), (9, 2), (11, 3)] {
            let mut bytes = query(7, "www.example.", RecordType::A, None);
            bytes[place] = count;
            (0..count).for_each(|_| bytes.extend(root_a));
            assert_eq!(rejection(&bytes).metadata.response_code, ResponseCode::FormErr, "{place}");
        }
        let mut signed = query(7, "www.example.", RecordType::A, None);
        signed[9] = 1;
        signed[11] = 2;
        (0..3).for_each(|_| signed.extend(root_a));
        assert_eq!(request(&signed, Transport::Udp).name, name("www.example."));
    }

    /// RFC 1035, section 4.1.4: A name that points at itself is a format error.
    #[test]
    fn rfc1035_a_name_that_points_at_itself_is_a_format_error() {
        let mut bytes = query(7, ".", RecordType::A, None);
        bytes.splice(12..13, [0xc0, 12]);
        assert_eq!(rejection(&bytes).metadata.response_code, ResponseCode::FormErr);
    }

    #[test]
    fn other_operations_are_not_implemented() {
        let mut bytes = query(7, "www.example.", RecordType::A, None);
        bytes[2] = 5 << 3;
        let rejected = rejection(&bytes);
        assert_eq!(rejected.metadata.response_code, ResponseCode::NotImp);
        assert_eq!(rejected.metadata.op_code, OpCode::Update);
    }

    #[test]
    fn transfers_and_other_classes_are_refused() {
        let transfer = rejection(&query(7, "example.", RecordType::AXFR, None));
        assert_eq!(transfer.metadata.response_code, ResponseCode::Refused);
        let mut chaos = query(7, "version.bind.", RecordType::TXT, None);
        let class = chaos.len() - 1;
        chaos[class] = 3;
        let rejected = rejection(&chaos);
        assert_eq!(rejected.metadata.response_code, ResponseCode::Refused);
        assert_eq!(rejected.queries[0].query_class, DNSClass::CH);
    }

    /// RFC 6891, section 6.1.3: An unknown version is BADVERS.
    #[test]
    fn rfc6891_an_unknown_version_is_badvers() {
        let mut message = Message::from_vec(&query(7, "www.example.", RecordType::A, Some(1232))).unwrap();
        message.edns.as_mut().unwrap().set_version(1);
        let rejected = rejection(&message.to_vec().unwrap());
        assert_eq!(u16::from(rejected.metadata.response_code), 16);
        assert_eq!(rejected.edns.map(|edns| edns.version()), Some(0));
    }

    /// RFC 6891, section 6.1.1: OPT answers OPT.
    #[test]
    fn rfc6891_opt_answers_opt() {
        let request = request(&query(7, "www.example.", RecordType::A, Some(4096)), Transport::Udp);
        let response = Message::from_vec(&request.respond(&Answer::default(), Flags::default())).unwrap();
        assert_eq!(response.edns.map(|edns| edns.max_payload()), Some(UDP_OCTETS_MAX));
    }

    /// RFC 2181, section 9: A response that is too long is truncated to its question.
    #[test]
    fn rfc2181_a_response_that_is_too_long_is_cut_to_its_question() {
        // 12 octets of header, 18 of question, 16 for each further address, 11 for OPT.
        let sizes = [(None, 30, 31), (Some(512), 29, 30), (Some(100), 29, 30), (Some(65_535), 74, 75)];
        for (edns, most, too_many) in sizes {
            let request = request(&query(7, "many.example.", RecordType::A, edns), Transport::Udp);
            let fits = request.respond(&answer_of(most), Flags::default());
            assert!(!Message::from_vec(&fits).unwrap().metadata.truncation, "{edns:?}");
            let cut = Message::from_vec(&request.respond(&answer_of(too_many), Flags::default())).unwrap();
            assert!(cut.metadata.truncation && cut.answers.is_empty(), "{edns:?}");
            assert_eq!((cut.queries.len(), cut.edns.is_some()), (1, edns.is_some()));
        }
    }

    /// RFC 7766, section 5: Over TCP no response is truncated.
    #[test]
    fn rfc7766_over_tcp_nothing_is_cut() {
        let request = request(&query(7, "many.example.", RecordType::A, None), Transport::Tcp);
        let response = Message::from_vec(&request.respond(&answer_of(200), Flags::default())).unwrap();
        assert_eq!((response.answers.len(), response.metadata.truncation), (200, false));
    }

    /// RFC 5452, section 9.1: A response matches its query or is none.
    #[test]
    fn rfc5452_a_response_matches_its_query_or_is_none() {
        let question = question("www.example.", RecordType::A);
        let mut response =
            Message::from_vec(&question.query(99, QueryFlags { with_edns: true, ..QueryFlags::default() }))
                .unwrap()
                .into_response();
        let read = |message: &Message| question.read_response(99, &message.to_vec().unwrap());
        assert!(read(&response).is_some());
        let wrongs: [fn(&mut Message); 5] = [
            |message| message.metadata.id = 98,
            |message| message.metadata.message_type = MessageType::Query,
            |message| message.queries[0].name = name("www.evil."),
            |message| message.queries[0].query_type = RecordType::AAAA,
            |message| message.queries.clear(),
        ];
        for wrong in wrongs {
            let mut message = response.clone();
            wrong(&mut message);
            assert!(read(&message).is_none());
        }
        response.queries[0].name = name("WWW.EXAMPLE.");
        assert!(read(&response).is_some(), "RFC 4343: case does not matter");
        for (code, is_response) in [(ResponseCode::FormErr, true), (ResponseCode::NXDomain, false)] {
            let mut header = Message::response(99, OpCode::Query);
            header.metadata.response_code = code;
            assert_eq!(read(&header).is_some(), is_response, "only an error may lack the question: {code}");
        }
    }

    /// RFC 4035, section 3.2.3: AD goes to those who ask for it or for signatures.
    #[test]
    fn rfc4035_3_2_3_ad_goes_to_those_who_ask_for_it_or_for_signatures() {
        for (authentic_data, dnssec_ok) in [(false, false), (true, false), (false, true)] {
            let bytes = query(7, "www.example.", RecordType::A, Some(1232));
            let mut asked = Message::from_vec(&bytes).unwrap();
            asked.metadata.authentic_data = authentic_data;
            asked.edns.as_mut().unwrap().set_dnssec_ok(dnssec_ok);
            let request = request(&asked.to_vec().unwrap(), Transport::Udp);
            for authenticated in [true, false] {
                let answer = Answer { authenticated, ..answer_of(1) };
                let response = Message::from_vec(&request.respond(&answer, Flags::default())).unwrap();
                let expected = authenticated && (authentic_data || dnssec_ok);
                assert_eq!(response.metadata.authentic_data, expected, "{authentic_data} {dnssec_ok}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            _ = Request::parse(&bytes, Transport::Udp);
        }

        #[test]
        fn a_damaged_query_is_answered_under_its_id_or_not_at_all(
            damage in prop::collection::vec((2_usize..60, any::<u8>()), 1..6),
        ) {
            let mut bytes = query(0x4242, "www.office.example.", RecordType::A, Some(1232));
            for (place, byte) in damage {
                if let Some(target) = bytes.get_mut(place) {
                    *target = byte;
                }
            }
            match Request::parse(&bytes, Transport::Udp) {
                Parsed::Request(request) => prop_assert_eq!(request.id, 0x4242),
                Parsed::Reject(message) => prop_assert_eq!(&message[..2], &[0x42, 0x42]),
                Parsed::Ignore => {}
            }
        }
    }
}
