//! What the meter and the collector say to each other, in UDP datagrams.
//!
//! | | octets |
//! | --- | --- |
//! | reading | `R`, its number in four octets, the value in two |
//! | acknowledgement | `A`, the number of the reading in four octets |

use std::net::Ipv4Addr;

/// Where the collector is.
pub const COLLECTOR: Ipv4Addr = Ipv4Addr::new(198, 18, 99, 1);
/// Its port.
pub const PORT: u16 = 7_100;

/// A datagram of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The meter's.
    Reading {
        /// Counted from 1.
        number: u32,
        /// What it has measured.
        value: u16,
    },
    /// The collector's.
    Acknowledgement {
        /// Of the reading with this number.
        number: u32,
    },
}

impl Message {
    /// Its octets.
    pub fn to_octets(self) -> Vec<u8> {
        match self {
            Self::Reading { number, value } => {
                [&b"R"[..], &number.to_be_bytes(), &value.to_be_bytes()].concat()
            }
            Self::Acknowledgement { number } => [&b"A"[..], &number.to_be_bytes()].concat(),
        }
    }

    /// Reads a datagram; `None` if it is none of the protocol's.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let (kind, rest) = octets.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let number = u32::from_be_bytes(*number);
        match (kind, rest) {
            (b'R', [high, low]) => Some(Self::Reading { number, value: u16::from_be_bytes([*high, *low]) }),
            (b'A', []) => Some(Self::Acknowledgement { number }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written_and_anything_else_is_none() {
        for message in [Message::Reading { number: 7, value: 513 }, Message::Acknowledgement { number: 7 }] {
            let octets = message.to_octets();
            assert_eq!(Message::parse(&octets), Some(message));
            assert_eq!(Message::parse(&octets[..octets.len() - 1]), None);
        }
        assert_eq!(Message::parse(b""), None);
        assert_eq!(Message::parse(b"X\0\0\0\x01"), None);
    }
}
