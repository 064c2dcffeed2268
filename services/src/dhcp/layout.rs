//! The placement of a message's options: their order and their fields. (RFC 2132, sections 9.3 and 9.8; RFC 3396,
//! sections 5 and 6)

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOptions, MIN_PACKET_SIZE};

use super::message::{DhcpOption, FILE, HEADER_LEN, Message, OptionCode, SNAME};

/// The length of option 52, in octets.
const OVERLOAD_LEN: usize = 3;
const END: u8 = 255;

/// Options that must not be moved to `file` or `sname`: option 52 itself, those that identify the message, the mask,
/// which comes before the router (RFC 2132, section 3.3), and the relay agent's information, which is the last (RFC
/// 3046, section 2.1).
const IN_OPTIONS: [OptionCode; 6] = [
    OptionCode::OptionOverload,
    OptionCode::MessageType,
    OptionCode::ServerIdentifier,
    OptionCode::AddressLeaseTime,
    OptionCode::SubnetMask,
    OptionCode::RelayAgentInformation,
];

/// An option's code and its encoding, with code and length of each part.
type Encoded = (u8, Vec<u8>);

/// The order of a message's options, and the size of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The codes of the first options, in their order; as numbers, for the order of [`OptionCode`] does not tell all
    /// codes apart. Further options follow by code, and the relay agent's information is the last.
    pub order: Vec<u8>,
    /// The maximum size of the message, as a UDP payload, in octets. A longer one has options in `file` and
    /// `sname`, too.
    pub octets_max: usize,
}

impl Layout {
    /// All options by code, in the options field alone.
    pub const BY_CODE: Self = Self { order: Vec::new(), octets_max: usize::MAX };

    /// The message as a UDP payload, padded to what BOOTP relays expect (RFC 1542, section 2.1). It exceeds
    /// [`octets_max`](Self::octets_max) if its options do not fit into all fields.
    pub fn encode(&self, message: &Message) -> Vec<u8> {
        let mut header = message.clone();
        header.set_opts(DhcpOptions::new());
        let mut bytes = header.to_vec().expect("a header has no variable parts");
        bytes.truncate(HEADER_LEN);
        let mut options = self.ordered(message);
        let fields = self.overload(message, &mut options);
        for (field, place) in [(&fields.file, FILE), (&fields.sname, SNAME)] {
            let Some(bytes) = bytes.get_mut(place).filter(|_| !field.is_empty()) else { continue };
            let content = field.iter().flat_map(|(_, octets)| octets.iter().copied()).chain([END]);
            let content = content.chain(std::iter::repeat(0));
            bytes.iter_mut().zip(content).for_each(|(byte, octet)| *byte = octet);
        }
        bytes.extend(options.iter().flat_map(|(_, octets)| octets));
        bytes.push(END);
        bytes.resize(bytes.len().max(MIN_PACKET_SIZE), 0);
        bytes
    }

    /// The encoded options in their order.
    fn ordered(&self, message: &Message) -> Vec<Encoded> {
        let options = message.opts();
        let last = u8::from(OptionCode::RelayAgentInformation);
        let by_code =
            options.iter().map(|(code, _)| u8::from(*code)).filter(|code| !self.order.contains(code));
        let codes = self.order.iter().copied().chain(by_code).filter(|code| *code != last).chain([last]);
        let encoded = |option: &DhcpOption| option.to_vec().expect("what the gateway builds can be encoded");
        codes.filter_map(|code| Some((code, encoded(options.get(code.into())?)))).collect()
    }

    /// Moves options to `file` and `sname`, as far as these are free, from the last on until the rest fits.
    fn overload(&self, message: &Message, options: &mut Vec<Encoded>) -> Fields {
        let len = |options: &[Encoded]| options.iter().map(|(_, octets)| octets.len()).sum::<usize>();
        let mut fields = Fields::default();
        let mut excess = (HEADER_LEN + len(options) + 1).saturating_sub(self.octets_max);
        if excess == 0 {
            return fields;
        }
        // A field is free, too, if an option repeats its content.
        let has = |code| message.opts().get(code).is_some();
        let is_free = |field: Option<&[u8]>, code| field.is_none_or(<[u8]>::is_empty) || has(code);
        let mut rooms = [
            if is_free(message.fname(), OptionCode::BootfileName) { FILE.len() - 1 } else { 0 },
            if is_free(message.sname(), OptionCode::TFTPServerName) { SNAME.len() - 1 } else { 0 },
        ];
        excess += OVERLOAD_LEN;
        let mut staying = Vec::new();
        while let Some((code, octets)) = options.pop() {
            let suitable = |field: &usize| rooms.get(*field).is_some_and(|room| *room >= octets.len());
            let room = (0..rooms.len()).filter(suitable).min_by_key(|field| rooms.get(*field).copied());
            let moves = excess > 0 && !octets.is_empty() && !IN_OPTIONS.map(u8::from).contains(&code);
            let Some(field) = room.filter(|_| moves) else {
                staying.push((code, octets));
                continue;
            };
            excess = excess.saturating_sub(octets.len());
            let [file_room, sname_room] = &mut rooms;
            let (field, room) = match field {
                0 => (&mut fields.file, file_room),
                _ => (&mut fields.sname, sname_room),
            };
            *room -= octets.len();
            field.insert(0, (code, octets));
        }
        staying.reverse();
        *options = staying;
        let flags = u8::from(!fields.file.is_empty()) | u8::from(!fields.sname.is_empty()) << 1;
        if flags != 0 {
            let overload = u8::from(OptionCode::OptionOverload);
            let place =
                options.iter().take_while(|(code, _)| *code == u8::from(OptionCode::MessageType)).count();
            options.insert(place, (overload, vec![overload, 1, flags]));
        }
        fields
    }
}

/// The options in `file` and `sname`.
#[derive(Default)]
struct Fields {
    file: Vec<Encoded>,
    sname: Vec<Encoded>,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::message::{self, MessageType, decode, raw};
    use super::*;

    fn message(options: &[(u8, usize)]) -> Message {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(1, none, none, none, none, &[2, 0, 0, 0, 0, 1]);
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Offer));
        for (code, len) in options {
            message.opts_mut().insert(raw(OptionCode::from(*code), vec![*code; *len]));
        }
        message
    }

    /// The codes and lengths in the options field.
    fn heads(bytes: &[u8]) -> Vec<(u8, u8)> {
        let mut rest = &bytes[HEADER_LEN..];
        let mut heads = Vec::new();
        while let [code, len, after @ ..] = rest {
            if *code == END {
                break;
            }
            heads.push((*code, *len));
            rest = &after[usize::from(*len)..];
        }
        heads
    }

    /// RFC 2132, section 9.8: Options come in the order in which they are asked for, and option 82 is the last.
    #[test]
    fn rfc2132_9_8_options_come_in_the_order_in_which_they_are_asked_for() {
        let message = message(&[(82, 3), (43, 2), (150, 4), (200, 1)]);
        let order = vec![53, 82, 150, 43, 7];
        let bytes = Layout { order, octets_max: 548 }.encode(&message);
        assert_eq!(heads(&bytes), [(53, 1), (150, 4), (43, 2), (200, 1), (82, 3)]);
        assert_eq!(heads(&Layout::BY_CODE.encode(&message)), [(43, 2), (53, 1), (150, 4), (200, 1), (82, 3)]);
    }

    /// RFC 2132, section 9.3: What does not fit stands in fields that are free.
    #[test]
    fn rfc2132_9_3_what_does_not_fit_stands_in_fields_that_are_free() {
        let options = [(60, 200), (61, 40), (62, 110), (63, 50), (82, 10)];
        let layout = Layout { octets_max: 548, ..Layout::BY_CODE };
        let whole = message(&options);
        let bytes = layout.encode(&whole);
        assert_eq!(heads(&bytes), [(53, 1), (52, 1), (60, 200), (61, 40), (82, 10)]);
        assert!(bytes.len() <= 548);
        assert_eq!(bytes[FILE][..3], [62, 110, 62]);
        assert_eq!(bytes[SNAME][..3], [63, 50, 63]);
        let read = decode(&bytes).unwrap();
        for (code, len) in options {
            let content = vec![code; len];
            let code = OptionCode::from(code);
            let found = match read.opts().get(code) {
                Some(DhcpOption::ClientIdentifier(id)) => Some(&id[..]),
                _ => message::raw_option(&read, code),
            };
            assert_eq!(found, Some(&content[..]), "{code:?}");
        }
    }

    /// RFC 1542, section 2.1: A message has 300 octets at least.
    #[test]
    fn rfc1542_2_1_a_message_has_300_octets_at_least() {
        assert_eq!(Layout::BY_CODE.encode(&message(&[])).len(), 300);
        assert_eq!(Layout::BY_CODE.encode(&message(&[(60, 200)])).len(), HEADER_LEN + 3 + 202 + 1);
    }

    #[test]
    fn a_field_in_use_is_not_overwritten_unless_an_option_says_the_same() {
        let layout = Layout { octets_max: 548, ..Layout::BY_CODE };
        let mut named = message(&[(60, 250), (63, 60)]);
        named.set_fname(b"pxelinux.0").set_sname(b"server");
        let bytes = layout.encode(&named);
        assert!(bytes.len() > 548, "there is no place");
        assert!(bytes[FILE].starts_with(b"pxelinux.0\0") && bytes[SNAME].starts_with(b"server\0"));
        named.opts_mut().insert(raw(OptionCode::BootfileName, b"pxelinux.0".to_vec()));
        let bytes = layout.encode(&named);
        assert!(bytes.len() <= 548 && bytes[SNAME].starts_with(b"server\0"));
        assert_eq!(heads(&bytes), [(53, 1), (52, 1), (60, 250)]);
    }
}
