//! Any DHCP message, as server and client read it and as the codec of smoltcp does, which shares no code with theirs:
//! the fields of the header are the same and so are the options, also once the message has been encoded again.
//!
//! The two may differ in these cases, and in no others:
//!
//! - A message that is not of an Ethernet interface, and a reply without cookie or message type, is refused. A request
//!   without these is that of a BOOTP client, and has no options.
//! - An option that the gateway uses and whose length is wrong is left out, as is one without content.
//! - An option is left out if a part of it that follows another part directly is cut off by the field's end.
//! - A text that the gateway uses loses the NULs at its end, and what is not UTF-8 in it.

#![no_main]

use std::collections::BTreeMap;

use gatepost_services::dhcp::message::{self, Message};
use libfuzzer_sys::fuzz_target;
use smoltcp::wire::{DhcpPacket, EthernetAddress};

const SNAME: usize = 44;
const FILE: usize = 108;
const COOKIE: usize = 236;
const OPTIONS: usize = 240;
const MAGIC: u32 = 0x6382_5363;
const REQUEST: u8 = 1;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;

fuzz_target!(|bytes: &[u8]| {
    let read = message::decode(bytes);
    let Some(theirs) = Theirs::read(bytes) else {
        return assert!(read.is_err(), "{read:?} of what is too short");
    };
    let is_request = bytes[0] == REQUEST;
    let is_dhcp = theirs.usable().contains_key(&MESSAGE_TYPE);
    let is_ethernet = bytes[1..3] == [1, 6];
    assert_eq!(read.is_ok(), is_ethernet && (is_request || is_dhcp), "{read:?}");
    let Ok(message) = read else { return };
    assert_eq!(message.xid(), theirs.packet.transaction_id());
    check_fields(&message, &theirs.packet);

    let encoded = message::encode(&message);
    let again = Theirs::read(&encoded).expect("what is encoded is read");
    check_fields(&message, &again.packet);
    let expected = if is_dhcp { theirs.usable() } else { BTreeMap::new() };
    assert_eq!(again.options(), expected);
});

/// A message as the other codec reads it.
struct Theirs<'a> {
    bytes: &'a [u8],
    packet: DhcpPacket<&'a [u8]>,
}

impl<'a> Theirs<'a> {
    /// `None` if it is shorter than the fixed part.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let packet = DhcpPacket::new_checked(bytes).ok()?;
        Some(Self { bytes, packet })
    }

    /// All options, with the parts of each joined, in the order of RFC 3396, section 5; none without the cookie.
    fn options(&self) -> BTreeMap<u8, Vec<u8>> {
        let mut options = BTreeMap::<u8, Vec<u8>>::new();
        if self.packet.magic_number() != MAGIC {
            return options;
        }
        let mut gather = |message: &[u8]| {
            for (code, data) in whole_options(message, &DhcpPacket::new_unchecked(message)) {
                options.entry(code).or_default().extend(data);
            }
            options.get(&OVERLOAD).and_then(|fields| fields.first().copied()).unwrap_or(0)
        };
        let overload = gather(self.bytes);
        // The codec reads the options field alone: a field with options is put in its place.
        for (bit, field) in [(1, FILE..COOKIE), (2, SNAME..FILE)] {
            if overload & bit != 0 {
                gather(&[&self.bytes[..OPTIONS], &self.bytes[field]].concat());
            }
        }
        options
    }

    /// The options as the gateway understands them.
    fn usable(&self) -> BTreeMap<u8, Vec<u8>> {
        let understood = |(code, data): (u8, Vec<u8>)| {
            let has_length = match code {
                1 | 50 | 51 | 54 | 58 | 59 => data.len() == 4,
                3 | 6 => data.len().is_multiple_of(4),
                26 | 57 => data.len() == 2,
                MESSAGE_TYPE => data.len() == 1,
                _ => true,
            };
            let data = match code {
                12 | 15 | 56 => String::from_utf8_lossy(&data).trim_end_matches('\0').as_bytes().to_vec(),
                _ => data,
            };
            (has_length && !data.is_empty()).then_some((code, data))
        };
        self.options().into_iter().filter_map(understood).collect()
    }
}

/// The options in a message's options field, but for the parts of one whose next part is cut off.
fn whole_options<'a>(message: &[u8], packet: &'a DhcpPacket<&[u8]>) -> Vec<(u8, &'a [u8])> {
    let mut options: Vec<_> = packet.options().map(|option| (option.kind, option.data)).collect();
    let end = |data: &[u8]| data.as_ptr().addr() + data.len() - message.as_ptr().addr();
    let Some((cut, mut start)) = options.last().map(|(code, data)| (*code, end(data))) else {
        return options;
    };
    if message.get(start) == Some(&cut) {
        while let Some((_, data)) = options.pop_if(|(code, data)| *code == cut && end(data) == start) {
            start -= 2 + data.len();
        }
    }
    options
}

fn check_fields(message: &Message, theirs: &DhcpPacket<&[u8]>) {
    let addresses = [message.ciaddr(), message.yiaddr(), message.siaddr(), message.giaddr()];
    let their_addresses = [theirs.client_ip(), theirs.your_ip(), theirs.server_ip(), theirs.relay_agent_ip()];
    assert_eq!(addresses, their_addresses);
    assert_eq!(u8::from(message.opcode()), u8::from(theirs.opcode()));
    assert_eq!((message.xid(), message.secs()), (theirs.transaction_id(), theirs.secs()));
    assert_eq!((message.hops(), message.flags().broadcast()), (theirs.hops(), !theirs.flags().is_empty()));
    assert_eq!(EthernetAddress(message::mac(message).0), theirs.client_hardware_address());
}
