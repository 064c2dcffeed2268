//! DHCP messages: `dhcproto`'s types with a decoder that accepts any bytes. (RFC 2131, section 2; RFC 2132; RFC 3396,
//! sections 5 to 7)
//!
//! `dhcproto` decodes options one by one, stops at the first invalid one, and trusts lengths that a peer has written.
//! Here the options are collected first: from the options field and, if option 52 says so, from `file` and `sname`;
//! split options are joined (RFC 3396, section 7). Then the options that the gateway uses are validated and typed.
//! Others become [`DhcpOption::Unknown`], byte for byte, so that option 82 can be returned verbatim (RFC 3046, section
//! 2.2).

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::{self, DhcpOptionIterator};
use dhcproto::v4::{DhcpOptions, HType, MAGIC, UnknownOption};
use dhcproto::{Decodable, Decoder};
use gatepost_ground::MacAddr;

pub use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};

use super::layout::Layout;

/// The longest client identifier, in octets: what fits one option.
pub const CLIENT_ID_OCTETS_MAX: usize = 255;

/// Octets before the options: the header and the magic cookie. (RFC 2131, section 2)
pub(super) const HEADER_LEN: usize = 240;
pub(super) const SNAME: std::ops::Range<usize> = 44..108;
pub(super) const FILE: std::ops::Range<usize> = 108..236;
const COOKIE: std::ops::Range<usize> = 236..240;

/// Why received bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than the fixed part.
    TooShort,
    /// A reply without the magic cookie.
    NoCookie,
    /// The hardware address is not that of an Ethernet interface.
    HardwareAddress,
    /// A reply without a DHCP message type.
    NoMessageType,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than a DHCP header",
            Self::NoCookie => "without DHCP's magic cookie",
            Self::HardwareAddress => "the hardware address is not an Ethernet interface's",
            Self::NoMessageType => "without a DHCP message type",
        })
    }
}

impl std::error::Error for Malformed {}

/// Reads a message from a UDP payload.
///
/// An option that the gateway uses and whose length is wrong is left out. A request without a message type is that of a
/// BOOTP client, with or without the magic cookie (RFC 951, section 3; RFC 1497): it keeps `sname`, and nothing of its
/// vendor extensions.
///
/// # Errors
///
/// The payload is not a DHCP message.
pub fn decode(payload: &[u8]) -> Result<Message, Malformed> {
    let view = borrowed::Message::new(payload).map_err(|_| Malformed::TooShort)?;
    let is_request = view.opcode() == Opcode::BootRequest;
    let has_cookie = payload.get(COOKIE) == Some(&MAGIC);
    if !has_cookie && !is_request {
        return Err(Malformed::NoCookie);
    }
    if view.htype() != HType::Eth || usize::from(view.hlen()) != MacAddr::ZERO.0.len() {
        return Err(Malformed::HardwareAddress);
    }
    let header = payload.get(..HEADER_LEN).ok_or(Malformed::TooShort)?;
    let header = [header.get(..COOKIE.start).unwrap_or_default(), &MAGIC].concat();
    let mut message = Message::decode(&mut Decoder::new(&header)).map_err(|_| Malformed::TooShort)?;
    message.clear_fname();
    let options = if has_cookie { gather_options(payload) } else { Default::default() };
    message.set_opts(options.into_iter().filter_map(typed).collect::<DhcpOptions>());
    match message.opts().msg_type() {
        Some(_) => message.clear_sname(),
        None if is_request => _ = message.set_opts(DhcpOptions::new()),
        None => return Err(Malformed::NoMessageType),
    }
    Ok(message)
}

/// The transaction identifier of a payload, even of a malformed message.
pub fn xid(payload: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*payload.get(4..)?.first_chunk()?))
}

/// The message as a UDP payload, padded to what BOOTP relays expect (RFC 1542, section 2.1). Its options are in the
/// order of their codes, but the relay agent's information is the last (RFC 3046, section 2.1).
pub fn encode(message: &Message) -> Vec<u8> {
    Layout::BY_CODE.encode(message)
}

/// The client's hardware address. [`decode`] has validated its length.
pub fn mac(message: &Message) -> MacAddr {
    MacAddr(message.chaddr().try_into().unwrap_or_default())
}

/// The client identifier, if there is one that is neither empty nor too long.
pub fn client_id(message: &Message) -> Option<&[u8]> {
    match message.opts().get(OptionCode::ClientIdentifier) {
        Some(DhcpOption::ClientIdentifier(id)) if (1..=CLIENT_ID_OCTETS_MAX).contains(&id.len()) => Some(id),
        _ => None,
    }
}

/// The address in an option.
pub fn address_option(message: &Message, code: OptionCode) -> Option<Ipv4Addr> {
    match message.opts().get(code)? {
        DhcpOption::SubnetMask(address)
        | DhcpOption::RequestedIpAddress(address)
        | DhcpOption::ServerIdentifier(address) => Some(*address),
        _ => None,
    }
}

/// The addresses in an option; none if it is absent.
pub fn addresses_option(message: &Message, code: OptionCode) -> &[Ipv4Addr] {
    match message.opts().get(code) {
        Some(DhcpOption::Router(addresses) | DhcpOption::DomainNameServer(addresses)) => addresses,
        _ => &[],
    }
}

/// The number of seconds in an option.
pub fn secs_option(message: &Message, code: OptionCode) -> Option<u32> {
    match message.opts().get(code)? {
        DhcpOption::AddressLeaseTime(secs) | DhcpOption::Renewal(secs) | DhcpOption::Rebinding(secs) => {
            Some(*secs)
        }
        _ => None,
    }
}

/// The 16-bit number in an option.
pub fn u16_option(message: &Message, code: OptionCode) -> Option<u16> {
    match message.opts().get(code)? {
        DhcpOption::InterfaceMtu(number) | DhcpOption::MaxMessageSize(number) => Some(*number),
        _ => None,
    }
}

/// The text in an option.
pub fn text_option(message: &Message, code: OptionCode) -> Option<&str> {
    match message.opts().get(code)? {
        DhcpOption::Hostname(text) | DhcpOption::DomainName(text) | DhcpOption::Message(text) => Some(text),
        _ => None,
    }
}

/// The bytes of an untyped option.
pub fn raw_option(message: &Message, code: OptionCode) -> Option<&[u8]> {
    match message.opts().get(code)? {
        DhcpOption::Unknown(option) => Some(option.data()),
        _ => None,
    }
}

/// An option with the content `data`, bypassing `dhcproto`'s types.
pub fn raw(code: OptionCode, data: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(code, data))
}

/// The fields that contain options as well. (RFC 2132, section 9.3)
#[derive(Clone, Copy)]
struct Overload(u8);

impl Overload {
    fn file(self) -> bool {
        self.0 & 1 != 0
    }

    fn sname(self) -> bool {
        self.0 & 2 != 0
    }
}

fn gather_options(payload: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut gathered = BTreeMap::<u8, Vec<u8>>::new();
    let mut gather = |field: Option<&[u8]>| {
        for option in DhcpOptionIterator::new(field.unwrap_or_default()) {
            gathered.entry(option.code().into()).or_default().extend_from_slice(option.data());
        }
        gathered.get(&OptionCode::OptionOverload.into()).and_then(|data| data.first().copied())
    };
    let overload = Overload(gather(payload.get(HEADER_LEN..)).unwrap_or(0));
    // RFC 3396, section 5: the options field, then file, then sname.
    if overload.file() {
        gather(payload.get(FILE));
    }
    if overload.sname() {
        gather(payload.get(SNAME));
    }
    gathered
}

fn typed((code, data): (u8, Vec<u8>)) -> Option<DhcpOption> {
    let address = || Some(Ipv4Addr::from(<[u8; 4]>::try_from(data.as_slice()).ok()?));
    let secs = || Some(u32::from_be_bytes(data.as_slice().try_into().ok()?));
    let number = || Some(u16::from_be_bytes(data.as_slice().try_into().ok()?));
    // RFC 2132, section 2: a text may wrongly end with NUL.
    let text = || Some(String::from_utf8_lossy(&data).trim_end_matches('\0').to_owned());
    let addresses = || {
        let (addresses, rest) = data.as_chunks::<4>();
        let whole = rest.is_empty() && !addresses.is_empty();
        whole.then(|| addresses.iter().map(|octets| Ipv4Addr::from(*octets)).collect())
    };
    match OptionCode::from(code) {
        OptionCode::SubnetMask => address().map(DhcpOption::SubnetMask),
        OptionCode::RequestedIpAddress => address().map(DhcpOption::RequestedIpAddress),
        OptionCode::ServerIdentifier => address().map(DhcpOption::ServerIdentifier),
        OptionCode::Router => addresses().map(DhcpOption::Router),
        OptionCode::DomainNameServer => addresses().map(DhcpOption::DomainNameServer),
        OptionCode::AddressLeaseTime => secs().map(DhcpOption::AddressLeaseTime),
        OptionCode::Renewal => secs().map(DhcpOption::Renewal),
        OptionCode::Rebinding => secs().map(DhcpOption::Rebinding),
        OptionCode::InterfaceMtu => number().map(DhcpOption::InterfaceMtu),
        OptionCode::MaxMessageSize => number().map(DhcpOption::MaxMessageSize),
        OptionCode::Hostname => text().map(DhcpOption::Hostname),
        OptionCode::DomainName => text().map(DhcpOption::DomainName),
        OptionCode::Message => text().map(DhcpOption::Message),
        OptionCode::ClientIdentifier => Some(DhcpOption::ClientIdentifier(data)),
        OptionCode::ParameterRequestList => {
            Some(DhcpOption::ParameterRequestList(data.into_iter().map(OptionCode::from).collect()))
        }
        OptionCode::MessageType => match data.as_slice() {
            [kind] => Some(DhcpOption::MessageType(MessageType::from(*kind))),
            _ => None,
        },
        code => Some(raw(code, data)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[COOKIE].copy_from_slice(&MAGIC);
        bytes
    }

    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut bytes = header();
        bytes.extend_from_slice(&[53, 1, 1]);
        bytes.extend_from_slice(options);
        bytes.push(255);
        bytes
    }

    /// RFC 3396, section 7: Parts of an option are joined.
    #[test]
    fn rfc3396_parts_of_an_option_are_joined() {
        let message = decode(&with_options(&[61, 2, 1, 2, 12, 1, b'a', 61, 3, 3, 4, 5])).unwrap();
        assert_eq!(client_id(&message), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(text_option(&message, OptionCode::Hostname), Some("a"));
    }

    /// RFC 3396, section 6: A long option is split.
    #[test]
    fn rfc3396_a_long_option_is_split() {
        let mut message = decode(&with_options(&[])).unwrap();
        let id: Vec<u8> = (0..=255).chain(0..44).collect();
        message.opts_mut().insert(DhcpOption::ClientIdentifier(id.clone()));
        let again = decode(&encode(&message)).unwrap();
        let Some(DhcpOption::ClientIdentifier(joined)) = again.opts().get(OptionCode::ClientIdentifier)
        else {
            panic!("no client identifier");
        };
        assert_eq!(*joined, id);
        assert_eq!(client_id(&again), None, "longer than is understood");
    }

    /// RFC 2132, section 9.3: Overloaded fields hold options.
    /// RFC 3396, section 5: `file` is read before `sname`.
    #[test]
    fn rfc2132_9_3_overloaded_fields_hold_options() {
        let mut bytes = with_options(&[52, 1, 3]);
        bytes[FILE][..4].copy_from_slice(&[12, 1, b'a', 255]);
        bytes[SNAME][..5].copy_from_slice(&[12, 2, b'b', b'c', 255]);
        let message = decode(&bytes).unwrap();
        assert_eq!(text_option(&message, OptionCode::Hostname), Some("abc"));
    }

    /// RFC 3046, section 2.2: Option 82 is returned verbatim and last.
    #[test]
    fn rfc3046_option_82_is_returned_verbatim_and_last() {
        let relay = [82, 9, 2, 1, 7, 1, 1, 9, 1, 1, 8];
        let mut message = decode(&with_options(&relay)).unwrap();
        message.opts_mut().insert(raw(OptionCode::DomainSearch, vec![0]));
        let bytes = encode(&message);
        let end = bytes.iter().rposition(|byte| *byte == 255).unwrap();
        assert_eq!(bytes[end - relay.len()..end], relay);
        assert_eq!(bytes.windows(relay.len()).filter(|window| *window == relay).count(), 1);
    }

    #[test]
    fn options_of_a_wrong_length_are_left_out() {
        let message = decode(&with_options(&[50, 3, 1, 2, 3, 51, 5, 0, 0, 0, 0, 1, 12, 2, b'p', 0])).unwrap();
        assert_eq!(address_option(&message, OptionCode::RequestedIpAddress), None);
        assert_eq!(secs_option(&message, OptionCode::AddressLeaseTime), None);
        assert_eq!(text_option(&message, OptionCode::Hostname), Some("p"));
    }

    #[test]
    fn what_is_no_message_of_an_ethernet_interface_is_refused() {
        assert_eq!(decode(&[]).unwrap_err(), Malformed::TooShort);
        assert_eq!(decode(&header()[..239]).unwrap_err(), Malformed::TooShort);
        let reply = |mut bytes: Vec<u8>| {
            bytes[0] = 2;
            bytes
        };
        assert_eq!(decode(&reply(header())).unwrap_err(), Malformed::NoMessageType);
        assert_eq!(decode(&header()).map(|message| message.opts().msg_type()), Ok(None), "BOOTP");
        let mut bytes = with_options(&[]);
        bytes[2] = 200;
        assert_eq!(decode(&bytes).unwrap_err(), Malformed::HardwareAddress);
        let mut bytes = with_options(&[]);
        bytes[COOKIE][0] = 0;
        assert_eq!(decode(&reply(bytes.clone())).unwrap_err(), Malformed::NoCookie);
        assert_eq!(decode(&bytes).map(|message| message.opts().msg_type()), Ok(None), "BOOTP");
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(options in prop::collection::vec(any::<u8>(), 0..600), overload in 0u8..4) {
            let mut bytes = with_options(&[52, 1, overload]);
            bytes.pop();
            bytes.extend_from_slice(&options);
            if let Ok(message) = decode(&bytes) {
                let again = decode(&encode(&message));
                prop_assert_eq!(again.map(|again| again.opts().msg_type()), Ok(message.opts().msg_type()));
            }
        }
    }
}
