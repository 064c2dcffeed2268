//! The reading of DNS messages, as lenient as a forwarder has to be.
//!
//! Only the types that this server acts on are decoded (`DECODED`). The data of all other types is opaque and is
//! passed on octet for octet (RFC 3597, section 3); names in it that may be compressed are expanded (RFC 3597, section
//! 4). A record of class IN that cannot be decoded is left out, alone. Of the additional section only the fixed part of
//! OPT is read (RFC 6891, section 6.1), and none of its options.

use hickory_proto::op::{Edns, Header, Message, Query};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, Restrict};

/// The types whose data is decoded; except for TXT, which is opaque if it is malformed, their data must be well formed.
const DECODED: [RecordType; 8] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::TXT,
];

/// The place of names in the data of a type.
struct Layout {
    record_type: u16,
    /// Octets before the names.
    before: usize,
    /// Character strings after these octets.
    strings: usize,
    names: usize,
}

/// The types other than [`DECODED`] whose names may be compressed. (RFC 3597, section 4; DNAME: RFC 6672, section 2.5)
const WITH_NAMES: [Layout; 15] = [
    Layout::new(3, 0, 0, 1),   // MD
    Layout::new(4, 0, 0, 1),   // MF
    Layout::new(7, 0, 0, 1),   // MB
    Layout::new(8, 0, 0, 1),   // MG
    Layout::new(9, 0, 0, 1),   // MR
    Layout::new(14, 0, 0, 2),  // MINFO
    Layout::new(17, 0, 0, 2),  // RP
    Layout::new(18, 2, 0, 1),  // AFSDB
    Layout::new(21, 2, 0, 1),  // RT
    Layout::new(24, 18, 0, 1), // SIG
    Layout::new(26, 2, 0, 2),  // PX
    Layout::new(30, 0, 0, 1),  // NXT
    Layout::new(33, 6, 0, 1),  // SRV
    Layout::new(35, 4, 3, 1),  // NAPTR
    Layout::new(39, 0, 0, 1),  // DNAME
];

impl Layout {
    const fn new(record_type: u16, before: usize, strings: usize, names: usize) -> Self {
        Self { record_type, before, strings, names }
    }

    fn of(record_type: RecordType) -> Option<&'static Self> {
        WITH_NAMES.iter().find(|layout| layout.record_type == u16::from(record_type))
    }
}

/// A message that was read.
#[derive(Debug)]
pub struct ReadMessage {
    /// The header, the questions, the records of class IN of the sections Answer and Authority, and OPT without
    /// options.
    pub message: Message,
    /// Whether the answer section could be read to its end.
    pub has_all_answers: bool,
    /// Whether the message could be read to its end and has at most one OPT.
    pub is_well_formed: bool,
}

/// Reads a message; `None` if its header or its questions cannot be read.
pub fn read_message(bytes: &[u8]) -> Option<ReadMessage> {
    let mut decoder = BinDecoder::new(bytes);
    let Header { metadata, counts, .. } = Header::read(&mut decoder).ok()?;
    let mut message = Message::new(metadata.id, metadata.message_type, metadata.op_code);
    message.metadata = metadata;
    for _ in 0..counts.queries {
        message.add_query(Query::read(&mut decoder).ok()?);
    }
    let answers = read_section(&mut decoder, counts.answers, |record| {
        message.answers.extend(record.decode());
        true
    });
    let authorities = answers.and_then(|()| {
        read_section(&mut decoder, counts.authorities, |record| {
            message.authorities.extend(record.decode());
            true
        })
    });
    let additionals = authorities.and_then(|()| {
        read_section(&mut decoder, counts.additionals, |record| {
            let Some(edns) = record.edns() else { return true };
            let is_first = message.edns.is_none();
            if is_first {
                message.metadata.merge_response_code(edns.rcode_high());
                message.set_edns(edns);
            }
            is_first
        })
    });
    Some(ReadMessage { message, has_all_answers: answers.is_some(), is_well_formed: additionals.is_some() })
}

/// Passes the records of a section to `take` until it returns `false`; `None` if it did, or if a record was cut off.
fn read_section(
    decoder: &mut BinDecoder<'_>,
    count: u16,
    mut take: impl FnMut(&RawRecord<'_>) -> bool,
) -> Option<()> {
    (0..count).try_for_each(|_| RawRecord::read(decoder).filter(|record| take(record)).map(drop))
}

/// A record whose data is not decoded.
struct RawRecord<'a> {
    name: Name,
    record_type: RecordType,
    class: u16,
    ttl: u32,
    data: &'a [u8],
    /// The message, and the index of the data in it, for names that are compressed.
    message: BinDecoder<'a>,
    data_index: u16,
}

impl<'a> RawRecord<'a> {
    fn read(decoder: &mut BinDecoder<'a>) -> Option<Self> {
        let name = Name::read(decoder).ok()?;
        let record_type = RecordType::read(decoder).ok()?;
        let class = decoder.read_u16().ok()?.unverified();
        let ttl = decoder.read_u32().ok()?.unverified();
        let len = decoder.read_u16().ok()?.unverified();
        let data_index = u16::try_from(decoder.index()).ok()?;
        let data = decoder.read_slice(usize::from(len)).ok()?.unverified();
        Some(Self { name, record_type, class, ttl, data, message: decoder.clone(0), data_index })
    }

    /// The record, unless it is of another class, or malformed.
    fn decode(&self) -> Option<Record> {
        let is_data = self.class == u16::from(DNSClass::IN) && self.record_type != RecordType::OPT;
        let data = if is_data { self.decode_data()? } else { return None };
        Some(Record::from_rdata(self.name.clone(), self.ttl, data))
    }

    fn decode_data(&self) -> Option<RData> {
        if DECODED.contains(&self.record_type) {
            let length = Restrict::new(u16::try_from(self.data.len()).ok()?);
            let decoded = RData::read(&mut self.data_decoder(), self.record_type, length).ok();
            if decoded.is_some() || self.record_type != RecordType::TXT {
                return decoded;
            }
        }
        Some(opaque(self.record_type, self.expand().unwrap_or_else(|| self.data.to_vec())))
    }

    /// The data with its names uncompressed, if the type has names that may be compressed.
    fn expand(&self) -> Option<Vec<u8>> {
        let layout = Layout::of(self.record_type)?;
        let mut decoder = self.data_decoder();
        let mut data = decoder.read_slice(layout.before).ok()?.unverified().to_vec();
        for _ in 0..layout.strings {
            let string = decoder.read_character_data().ok()?.unverified();
            data.push(u8::try_from(string.len()).ok()?);
            data.extend(string);
        }
        for _ in 0..layout.names {
            write_name(&mut data, &Name::read(&mut decoder).ok()?);
        }
        let read = decoder.index().checked_sub(usize::from(self.data_index))?;
        data.extend(self.data.get(read..)?);
        Some(data)
    }

    fn data_decoder(&self) -> BinDecoder<'a> {
        self.message.clone(self.data_index)
    }

    /// The fixed part of OPT. (RFC 6891, section 6.1.3)
    fn edns(&self) -> Option<Edns> {
        if self.record_type != RecordType::OPT {
            return None;
        }
        let [rcode_high, version, flags, _] = self.ttl.to_be_bytes();
        let mut edns = Edns::new();
        edns.set_max_payload(self.class).set_version(version).set_rcode_high(rcode_high);
        edns.set_dnssec_ok(flags & 0x80 != 0);
        Some(edns)
    }
}

/// Appends the name, uncompressed.
pub fn write_name(data: &mut Vec<u8>, name: &Name) {
    for label in name {
        data.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
        data.extend(label);
    }
    data.push(0);
}

/// Data that is passed on as it is.
pub fn opaque(record_type: RecordType, data: Vec<u8>) -> RData {
    let mut rdata = NULL::new();
    rdata.anything = data;
    RData::Unknown { code: record_type, rdata }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, ResponseCode};

    use super::super::testing::{a, query};
    use super::*;

    const UNKNOWN: u16 = 65_400;

    /// A response to a query for `record_type` of `x.example.` with this data of the record, whose owner is compressed.
    fn response(record_type: u16, class: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = query(7, "x.example.", RecordType::from(record_type), None);
        bytes[2] |= 0x80;
        bytes[7] = 1;
        bytes.extend([0xc0, 12]);
        bytes.extend(record_type.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        bytes.extend(60_u32.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
        bytes
    }

    /// The data of the one record as it is passed on.
    fn passed_on(record_type: u16, data: &[u8]) -> Vec<u8> {
        let read = read_message(&response(record_type, 1, data)).unwrap();
        assert!(read.has_all_answers && read.is_well_formed, "{record_type}");
        let [record] = &read.message.answers[..] else { panic!("{record_type} {:?}", read.message) };
        assert_eq!(record.record_type(), RecordType::from(record_type));
        let mut alone = Message::new(7, MessageType::Response, OpCode::Query);
        alone.add_answer(record.clone());
        // The header has 12 octets, the owner 11; type, class, TTL and length have 10.
        alone.to_vec().unwrap().split_off(12 + 11 + 10)
    }

    /// RFC 3597, section 3: What is not understood is passed on as it is.
    #[test]
    fn rfc3597_3_what_is_not_understood_is_passed_on_as_it_is() {
        let odd: [(u16, &[u8]); 9] = [
            (16, b""),
            (16, b"\x05ab"),
            (16, b"\x02\xff\x00"),
            // HTTPS with a port of three octets, and with parameters out of order
            (65, b"\0\x01\0\0\x03\0\x03\x01\xbb\0"),
            (65, b"\0\x01\0\0\x04\0\x04\x01\x02\x03\x04\0\x01\0\x03\x02h2"),
            // CAA with a tag that has a hyphen
            (257, b"\0\x03a-bx"),
            (35, b"\0\x0a\0\x64\x01-\0\0\0"),
            (41_000, b""),
            (UNKNOWN, b"\xc0\x0cwhatever"),
        ];
        for (record_type, data) in odd {
            assert_eq!(passed_on(record_type, data), data, "{record_type}");
        }
    }

    /// RFC 3597, section 4: Names of the old types are expanded.
    #[test]
    fn rfc3597_4_names_of_the_old_types_are_expanded() {
        let expanded = b"\x01s\x01x\x07example\0";
        let with = |before: &[u8], after: &[u8]| [before, after].concat();
        let layouts: [(u16, &[u8]); 4] =
            [(33, b"\0\x01\0\x02\x14\x66"), (18, b"\0\x01"), (39, b""), (35, b"\0\x01\0\x02\x01s\0\x02!!")];
        for (record_type, before) in layouts {
            let compressed = with(before, b"\x01s\xc0\x0c");
            assert_eq!(passed_on(record_type, &compressed), with(before, expanded), "{record_type}");
            assert_eq!(passed_on(record_type, &with(before, expanded)), with(before, expanded));
        }
    }

    #[test]
    fn a_malformed_record_is_left_out_alone() {
        for (record_type, data) in
            [(1, &b"\x01\x02\x03"[..]), (28, b"\x01"), (5, b"\xc0"), (6, b"\0"), (1, b"")]
        {
            let read = read_message(&response(record_type, 1, data)).unwrap();
            assert!(read.has_all_answers && read.is_well_formed && read.message.answers.is_empty());
        }
        let chaos = read_message(&response(16, 3, b"\x01x")).unwrap();
        assert!(chaos.message.answers.is_empty(), "of another class");
    }

    #[test]
    fn what_follows_the_answer_does_not_cost_it() {
        let mut whole = Message::new(7, MessageType::Response, OpCode::Query);
        whole.add_answer(a("x.example.", 60, "203.0.113.7"));
        whole.add_authority(a("x.example.", 60, "203.0.113.8"));
        let bytes = whole.to_vec().unwrap();
        let read = read_message(&bytes[..bytes.len() - 1]).unwrap();
        assert!(read.has_all_answers && !read.is_well_formed);
        assert_eq!(read.message.answers, whole.answers);
    }

    /// RFC 6891, section 6.1: The options of OPT do not matter and a second OPT does.
    #[test]
    fn rfc6891_6_1_the_options_of_opt_do_not_matter_and_a_second_opt_does() {
        let mut bytes = query(7, "x.example.", RecordType::A, None);
        // BADVERS, with an option that is longer than the record
        let opt = b"\0\0\x29\x04\xd0\x01\0\x80\0\0\x05\0\x0a\0\xffx";
        bytes.extend(opt);
        bytes[11] = 1;
        let read = read_message(&bytes).unwrap();
        let edns = read.message.edns.as_ref().unwrap();
        assert!(read.is_well_formed && edns.flags().dnssec_ok);
        assert_eq!((edns.max_payload(), edns.version()), (1_232, 0));
        assert_eq!(read.message.metadata.response_code, ResponseCode::BADSIG, "as the codec calls 16");
        bytes.extend(opt);
        bytes[11] = 2;
        assert!(!read_message(&bytes).unwrap().is_well_formed);
    }
}
