//! Any DNS message, as the server reads it and as the codec of NLnet Labs does, which shares no code with the server's:
//! both accept or refuse it, and names, types, classes, TTLs and data are the same, also once the server has passed the
//! records on.
//!
//! The two may differ in these cases, and in no others:
//!
//! - The server refuses a name with a pointer to octets that are not before the labels that the pointer ends, or with
//!   labels that reach from there into these (RFC 1035, section 4.1.4: a prior occurrence). Such a name is refused here
//!   too.
//! - The server refuses a query with more than one question, an answer, more than the SOA of IXFR as authority, or more
//!   additional records than OPT and a signature.
//! - The server leaves out a malformed record of the types on whose data it acts, and those of other classes.
//! - The server passes on the data of other types as it is, malformed or not (RFC 3597, section 3). Where names in it
//!   may be compressed, nothing is said of malformed data, nor of the types that the other codec does not know.

#![no_main]

use std::ops::Range;

use domain::base::message::{Message, RecordSection};
use domain::base::rdata::ComposeRecordData;
use domain::base::{ParsedName, ToName};
use domain::rdata::AllRecordData;
use gatepost_services::dns::message::{Answer, Flags, Parsed, QueryFlags, Question, Request, Transport};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 12;
const IN: u16 = 1;
const OPT: u16 = 41;
const A: u16 = 1;
const SOA: u16 = 6;
const MINFO: u16 = 14;
const MX: u16 = 15;
const RP: u16 = 17;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const NAPTR: u16 = 35;
/// NS, CNAME and PTR beside those above.
const ACTED_ON: [u16; 7] = [A, 2, 5, SOA, 12, MX, AAAA];
/// MD, MF, MB, MG, MR and DNAME beside those above.
const WITH_NAMES: [u16; 10] = [3, 4, 7, 8, 9, MINFO, RP, SRV, NAPTR, 39];
/// AFSDB, RT, SIG, PX, NXT
const WITH_UNKNOWN_NAMES: [u16; 5] = [18, 21, 24, 26, 30];

const NOERROR: u8 = 0;
const FORMERR: u8 = 1;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;

fuzz_target!(|bytes: &[u8]| {
    let theirs = Theirs::read(bytes);
    check_query(bytes, theirs.as_ref());
    check_response(bytes, theirs.as_ref());
});

/// A message as the other codec reads it.
struct Theirs {
    /// The first question.
    asked: Option<Asked>,
    /// Answer, authority and additional section.
    sections: [Section; 3],
}

/// A question.
struct Asked {
    /// The name, uncompressed.
    name: Vec<u8>,
    record_type: u16,
    class: u16,
}

#[derive(Default)]
struct Section {
    records: Vec<TheirRecord>,
    /// Whether it could be read to its end.
    is_whole: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct TheirRecord {
    /// The owner, uncompressed.
    owner: Vec<u8>,
    record_type: u16,
    class: u16,
    ttl: u32,
    data: Data,
}

/// The data with which the server is to pass on a record.
#[derive(Debug, PartialEq, Eq)]
enum Data {
    /// These octets, with uncompressed names.
    Octets(Vec<u8>),
    /// The record is to be left out.
    Malformed,
    /// Any.
    Any,
}

impl Theirs {
    /// `None` if the header or the questions cannot be read.
    fn read(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_octets(bytes).ok()?;
        let mut questions = message.question();
        let mut asked = None;
        for _ in 0..message.header_counts().qdcount() {
            let at = questions.pos();
            let question = questions.next()?.ok().filter(|_| leads_back(bytes, at))?;
            asked.get_or_insert(Asked {
                name: wire(question.qname()),
                record_type: question.qtype().to_int(),
                class: question.qclass().to_int(),
            });
        }
        let mut sections: [Section; 3] = Default::default();
        let mut present = questions.answer().ok();
        for section in &mut sections {
            let Some(mut records) = present else { break };
            *section = Section::read(bytes, &mut records);
            present = if section.is_whole { records.next_section().ok().flatten() } else { None };
        }
        Some(Self { asked, sections })
    }

    fn is_whole(&self) -> bool {
        self.sections.iter().all(|section| section.is_whole) && self.opts().count() <= 1
    }

    fn opts(&self) -> impl Iterator<Item = &TheirRecord> {
        self.sections[2].records.iter().filter(|record| record.record_type == OPT)
    }
}

impl Section {
    fn read(bytes: &[u8], records: &mut RecordSection<'_, &[u8]>) -> Self {
        let mut section = Self::default();
        loop {
            let at = records.pos();
            match records.next() {
                Some(Ok(record)) if leads_back(bytes, at) => {
                    let read = record.to_any_record::<AllRecordData<&[u8], ParsedName<&[u8]>>>().ok();
                    let read = read.map(|read| {
                        let mut octets = Vec::new();
                        _ = read.data().compose_rdata(&mut octets);
                        octets
                    });
                    let record_type = record.rtype().to_int();
                    let start = records.pos() - usize::from(record.rdlen());
                    section.records.push(TheirRecord {
                        owner: wire(&record.owner()),
                        record_type,
                        class: record.class().to_int(),
                        ttl: record.ttl().as_secs(),
                        data: Data::of(record_type, read, bytes, start..records.pos()),
                    });
                }
                Some(_) => return section,
                None => return Self { is_whole: true, ..section },
            }
        }
    }

    /// What the server is to pass on of it.
    fn passed_on(&self) -> impl Iterator<Item = &TheirRecord> {
        let is_data = |record: &&TheirRecord| record.class == IN && record.record_type != OPT;
        self.records.iter().filter(is_data).filter(|record| record.data != Data::Malformed)
    }
}

impl Data {
    /// The data at `range` of a message, which the other codec has `read`.
    fn of(record_type: u16, read: Option<Vec<u8>>, bytes: &[u8], range: Range<usize>) -> Self {
        let is_acted_on = ACTED_ON.contains(&record_type);
        if WITH_UNKNOWN_NAMES.contains(&record_type) {
            return Self::Any;
        }
        if !is_acted_on && !WITH_NAMES.contains(&record_type) {
            return Self::Octets(bytes[range].to_vec());
        }
        match read.filter(|_| names_lead_back(record_type, bytes, range.start)) {
            Some(octets) => Self::Octets(octets),
            None if is_acted_on => Self::Malformed,
            None => Self::Any,
        }
    }
}

/// Whether the names in the data at `start` are none that the server refuses. The other codec has read them.
fn names_lead_back(record_type: u16, bytes: &[u8], start: usize) -> bool {
    let after_string = |at: usize| at + 1 + usize::from(bytes[at]);
    let (mut at, names) = match record_type {
        A | AAAA => (start, 0),
        SOA | MINFO | RP => (start, 2),
        MX => (start + 2, 1),
        SRV => (start + 6, 1),
        NAPTR => (after_string(after_string(after_string(start + 4))), 1),
        _ => (start, 1),
    };
    (0..names).all(|_| {
        let name = at;
        while (1..64).contains(&bytes[at]) {
            at = after_string(at);
        }
        at += if bytes[at] == 0 { 1 } else { 2 };
        leads_back(bytes, name)
    })
}

fn wire(name: &impl ToName) -> Vec<u8> {
    name.to_vec().as_octets().clone()
}

const POINTER: u8 = 0xc0;

/// Whether every pointer of the name at `start` leads to labels that end before those that the pointer ends begin.
fn leads_back(bytes: &[u8], start: usize) -> bool {
    let (mut at, mut run) = (start, start);
    let mut end = bytes.len();
    loop {
        match bytes.get(at) {
            _ if at >= end => return false,
            Some(len) if *len < 64 && *len > 0 => at += 1 + usize::from(*len),
            Some(high) if *high >= POINTER => {
                let Some(low) = bytes.get(at + 1) else { return false };
                at = usize::from(high & !POINTER) << 8 | usize::from(*low);
                if at >= run {
                    return false;
                }
                (end, run) = (run, at);
            }
            _ => return true,
        }
    }
}

fn check_query(bytes: &[u8], theirs: Option<&Theirs>) {
    let parsed = Request::parse(bytes, Transport::Tcp);
    let Some(header @ &[_, _, flags, flags_low, ..]) = bytes.first_chunk::<HEADER>() else {
        return assert_eq!(parsed, Parsed::Ignore);
    };
    if flags & 0x80 != 0 {
        return assert_eq!(parsed, Parsed::Ignore);
    }
    if flags >> 3 & 0xf != 0 {
        return check_rejection(bytes, &parsed, NOTIMP, 0);
    }
    let counts = [4, 6, 8, 10].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let is_query = matches!(counts, [1, 0, 0..=1, 0..=2]);
    let asked = theirs.filter(|read| is_query && read.is_whole());
    let Some((read, asked)) = asked.and_then(|read| Some((read, read.asked.as_ref()?))) else {
        return check_rejection(bytes, &parsed, FORMERR, 0);
    };
    let opt = read.opts().next();
    // RFC 6891, section 6.1.3: the upper octet of the code, the version, and DO as the first flag.
    let [_, version, opt_flags, _] = opt.map_or([0; 4], |opt| opt.ttl.to_be_bytes());
    if version > 0 {
        return check_rejection(bytes, &parsed, NOERROR, 1);
    }
    if asked.class != IN || asked.record_type == OPT || (128..=254).contains(&asked.record_type) {
        return check_rejection(bytes, &parsed, REFUSED, 0);
    }
    let Parsed::Request(request) = parsed else { panic!("refused: {parsed:?}") };
    assert_eq!(request.id.to_be_bytes(), bytes[..2]);
    assert_eq!(octets(&request.name), asked.name);
    assert_eq!(u16::from(request.record_type), asked.record_type);
    assert_eq!(request.recursion_desired, flags & 1 != 0);
    assert_eq!(request.authentic_data, flags_low & 0x20 != 0);
    assert_eq!(request.checking_disabled, flags_low & 0x10 != 0);
    assert_eq!(request.dnssec_ok, opt_flags & 0x80 != 0);
}

/// The server rejects the query with a code; `upper` is the part of the code in OPT.
fn check_rejection(query: &[u8], parsed: &Parsed, code: u8, upper: u8) {
    let Parsed::Reject(reply) = parsed else { panic!("to be rejected with {upper}/{code}: {parsed:?}") };
    let theirs = Theirs::read(reply).expect("a reply is read");
    let opt = theirs.opts().next().map_or(0, |opt| opt.ttl.to_be_bytes()[0]);
    assert!(theirs.is_whole());
    assert_eq!((&reply[..2], reply[3] & 0xf, opt), (&query[..2], code, upper));
}

fn check_response(bytes: &[u8], theirs: Option<&Theirs>) {
    let Some(theirs) = theirs else { return };
    let Some(asked) = &theirs.asked else { return };
    let question = Question {
        name: Name::read(&mut BinDecoder::new(&asked.name)).expect("a name"),
        record_type: RecordType::from(asked.record_type),
        dnssec_ok: false,
        checking_disabled: false,
    };
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    let is_response = bytes[2] & 0xf8 == 0x80 && bytes[4..6] == [0, 1] && asked.class == IN;
    let read = question.read_response(id, bytes);
    assert_eq!(read.is_some(), is_response);
    let Some(read) = read else { return };
    let [answers, authorities, _] = &theirs.sections;
    assert_eq!((read.has_all_answers, read.is_well_formed), (answers.is_whole, theirs.is_whole()));

    let query = question.query(id, QueryFlags { with_edns: false, authentic_data: false });
    let Parsed::Request(request) = Request::parse(&query, Transport::Tcp) else { return };
    let answer = Answer {
        code: read.message.metadata.response_code,
        answers: read.message.answers,
        authorities: read.message.authorities,
        ..Answer::default()
    };
    let reply = request.respond(&answer, Flags::default());
    if reply[2] & 2 != 0 {
        // Longer than 65,535 octets.
        return;
    }
    let replied = Theirs::read(&reply).expect("a reply is read");
    assert!(replied.is_whole());
    assert_eq!(replied.asked.map(|asked| asked.name).as_ref(), Some(&asked.name));
    for (got, sent) in [answers, authorities].into_iter().zip(&replied.sections) {
        let got: Vec<_> = got.passed_on().collect();
        assert_eq!(got.len(), sent.records.len(), "{got:?} {:?}", sent.records);
        for (got, sent) in got.into_iter().zip(&sent.records) {
            let head =
                |record: &TheirRecord| (record.owner.clone(), record.record_type, record.class, record.ttl);
            assert_eq!(head(sent), head(got));
            assert!(got.data == Data::Any || sent.data == got.data, "{got:?} became {sent:?}");
        }
    }
}

/// The name on the wire.
fn octets(name: &Name) -> Vec<u8> {
    let labels = name.iter().flat_map(|label| [&[label.len() as u8][..], label].concat());
    labels.chain([0]).collect()
}
