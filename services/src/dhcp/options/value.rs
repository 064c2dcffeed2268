//! The contents of options, encoded.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The content of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Addresses, the preferred first.
    Addresses(Vec<Ipv4Addr>),
    /// Text, not terminated. (RFC 2132, section 2)
    Text(String),
    /// An integer of 8 bits.
    U8(u8),
    /// An integer of 16 bits.
    U16(u16),
    /// An integer of 32 bits.
    U32(u32),
    /// Domain names without trailing dots, whose labels are 1 to 63 octets long.
    Domains(Vec<String>),
    /// SIP servers by name. (RFC 3361, section 3.1)
    SipNames(Vec<String>),
    /// SIP servers by address. (RFC 3361, section 3.2)
    SipAddresses(Vec<Ipv4Addr>),
    /// Destinations with their routers. (RFC 3442, section "Classless Route Option Format")
    Routes(Vec<(Ipv4Net, Ipv4Addr)>),
    /// Vendor-specific options, each with its code; one longer than 255 octets is split. (RFC 3396, section 6)
    Encapsulated(Vec<(u8, Vec<u8>)>),
    /// Uninterpreted octets.
    Octets(Vec<u8>),
}

impl Value {
    /// The encoded content, without code and length.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Addresses(addresses) => octets_of(addresses),
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::U8(number) => vec![*number],
            Self::U16(number) => number.to_be_bytes().to_vec(),
            Self::U32(number) => number.to_be_bytes().to_vec(),
            Self::Domains(names) => names.iter().flat_map(|name| wire_name(name)).collect(),
            Self::SipNames(names) if names.is_empty() => Vec::new(),
            Self::SipNames(names) => {
                [0].into_iter().chain(names.iter().flat_map(|name| wire_name(name))).collect()
            }
            Self::SipAddresses(addresses) if addresses.is_empty() => Vec::new(),
            Self::SipAddresses(addresses) => [1].into_iter().chain(octets_of(addresses)).collect(),
            Self::Routes(routes) => routes.iter().flat_map(|(to, via)| wire_route(*to, *via)).collect(),
            Self::Encapsulated(options) => {
                options.iter().flat_map(|(code, content)| wire_option(*code, content)).collect()
            }
            Self::Octets(octets) => octets.clone(),
        }
    }
}

/// The length of an encoded option with a content of `len` octets: each part of 255 octets has a code and a length.
/// (RFC 3396, section 6)
pub fn encoded_len(len: usize) -> usize {
    len + 2 * len.div_ceil(usize::from(u8::MAX))
}

fn octets_of(addresses: &[Ipv4Addr]) -> Vec<u8> {
    addresses.iter().flat_map(Ipv4Addr::octets).collect()
}

fn wire_option(code: u8, content: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(encoded_len(content.len()));
    for part in content.chunks(usize::from(u8::MAX)) {
        octets.extend([code, u8::try_from(part.len()).unwrap_or(u8::MAX)]);
        octets.extend_from_slice(part);
    }
    octets
}

/// The uncompressed encoding: not all clients read compressed names in option 119. (RFC 3397, section 2, allows both.)
fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let labels = labels.flat_map(|label| {
        let len = u8::try_from(label.len()).unwrap_or(u8::MAX);
        [len].into_iter().chain(label.bytes())
    });
    labels.chain([0]).collect()
}

/// Prefix length, significant octets of the destination, router.
fn wire_route(to: Ipv4Net, via: Ipv4Addr) -> Vec<u8> {
    let significant = usize::from(to.prefix_len().div_ceil(8));
    let destination = to.network().octets();
    let destination = destination.into_iter().take(significant);
    [to.prefix_len()].into_iter().chain(destination).chain(via.octets()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    /// RFC 3442, section "Classless Route Option Format": Routes are encoded as the RFC's examples are.
    #[test]
    fn rfc3442_routes_are_encoded_as_the_rfcs_examples_are() {
        for (to, expected) in [
            ("0.0.0.0/0", &[0][..]),
            ("10.0.0.0/8", &[8, 10]),
            ("10.0.0.0/24", &[24, 10, 0, 0]),
            ("10.17.0.0/16", &[16, 10, 17]),
            ("10.27.129.0/24", &[24, 10, 27, 129]),
            ("10.229.0.128/25", &[25, 10, 229, 0, 128]),
            ("10.198.122.47/32", &[32, 10, 198, 122, 47]),
        ] {
            let encoded = Value::Routes(vec![(to.parse().unwrap(), ip("192.168.1.254"))]).encode();
            assert_eq!(encoded, [expected, &[192, 168, 1, 254]].concat(), "{to}");
        }
    }

    /// RFC 3397, section 2: A search list holds names in the encoding of DNS.
    #[test]
    fn rfc3397_a_search_list_holds_names_in_the_encoding_of_dns() {
        let names = ["eng.apple.com", "marketing.apple.com"].map(str::to_owned).to_vec();
        let expected = b"\x03eng\x05apple\x03com\0\x09marketing\x05apple\x03com\0";
        assert_eq!(Value::Domains(names.clone()).encode(), expected);
        assert_eq!(Value::SipNames(names).encode(), [&[0], &expected[..]].concat());
    }

    #[test]
    fn each_type_has_its_encoding() {
        assert_eq!(
            Value::Addresses(vec![ip("192.168.1.9"), ip("10.0.0.1")]).encode(),
            [192, 168, 1, 9, 10, 0, 0, 1]
        );
        assert_eq!(Value::SipAddresses(vec![ip("10.0.0.1")]).encode(), [1, 10, 0, 0, 1]);
        assert_eq!(Value::Text("\n".to_owned()).encode(), b"\n");
        assert_eq!(Value::U8(64).encode(), [64]);
        assert_eq!(Value::U16(1400).encode(), [5, 0x78]);
        assert_eq!(Value::U32(0x0102_0304).encode(), [1, 2, 3, 4]);
        assert_eq!(Value::Octets(vec![1, 4]).encode(), [1, 4]);
        let inner = vec![(1, vec![192, 168, 1, 9]), (2, vec![7; 256])];
        let encoded = Value::Encapsulated(inner).encode();
        assert_eq!(encoded[..8], [1, 4, 192, 168, 1, 9, 2, 255]);
        assert_eq!(encoded[encoded.len() - 3..], [2, 1, 7]);
        for none in [Value::Addresses(vec![]), Value::SipNames(vec![]), Value::SipAddresses(vec![])] {
            assert!(none.encode().is_empty());
        }
    }

    #[test]
    fn each_part_of_a_long_option_has_a_head() {
        assert_eq!([0, 1, 255, 256, 510].map(encoded_len), [0, 3, 257, 260, 514]);
    }
}
