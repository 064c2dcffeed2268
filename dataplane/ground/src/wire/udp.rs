//! UDP headers. (RFC 768)

use core::fmt;

use super::Malformed;
use super::checksum::Delta;

/// The header of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// The datagram's size with the header, in octets.
    pub len: u16,
    /// The checksum as sent; zero means that there is none.
    pub checksum: u16,
}

impl Header {
    /// The size of the header, in octets.
    pub const LEN: usize = 8;
    /// The offset of the checksum, in octets.
    pub const CHECKSUM_OFFSET: usize = 6;

    /// The header of the whole `datagram`, an IP packet's payload.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if the datagram is longer than the payload; [`Malformed::Length`] if
    /// it is shorter than its header.
    #[inline]
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let header = Self::parse_fragment(datagram)?;
        if usize::from(header.len) > datagram.len() { Err(Malformed::Truncated) } else { Ok(header) }
    }

    /// As [`Header::parse`], for a `datagram` of which only the beginning is there: a first fragment,
    /// or quoted in an ICMP error.
    ///
    /// # Errors
    ///
    /// As [`Header::parse`]; [`Malformed::Truncated`] only if the header itself is not whole.
    #[inline]
    pub fn parse_fragment(datagram: &[u8]) -> Result<Self, Malformed> {
        let [s0, s1, d0, d1, l0, l1, c0, c1] =
            *datagram.first_chunk::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        let header = Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            len: u16::from_be_bytes([l0, l1]),
            checksum: u16::from_be_bytes([c0, c1]),
        };
        if usize::from(header.len) < Self::LEN { Err(Malformed::Length) } else { Ok(header) }
    }

    /// Writes the header at the beginning of `datagram`, its checksum as it is.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if there is no room; `datagram` is then unchanged.
    pub fn write(&self, datagram: &mut [u8]) -> Result<(), Malformed> {
        let header = datagram.first_chunk_mut::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        header[0..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..6].copy_from_slice(&self.len.to_be_bytes());
        header[6..8].copy_from_slice(&self.checksum.to_be_bytes());
        Ok(())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP {} > {} length {}", self.source_port, self.destination_port, self.len)
    }
}

/// A header in place.
#[derive(Debug)]
pub struct HeaderMut<'a>(&'a mut [u8; Header::LEN]);

impl<'a> HeaderMut<'a> {
    /// The header at the beginning of `datagram`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    #[inline]
    pub fn new(datagram: &'a mut [u8]) -> Result<Self, Malformed> {
        datagram.first_chunk_mut().map(Self).ok_or(Malformed::Truncated)
    }

    /// Sets both ports and updates the checksum by `delta`, the change that the new ports and addresses make.
    /// A datagram without a checksum stays without.
    #[inline]
    pub fn set_ports(&mut self, source: u16, destination: u16, delta: Delta) {
        let checksum = updated_checksum(u16::from_be_bytes([self.0[6], self.0[7]]), delta);
        self.0[0..2].copy_from_slice(&source.to_be_bytes());
        self.0[2..4].copy_from_slice(&destination.to_be_bytes());
        self.0[6..8].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Sets both ports of a datagram with a partial checksum, which only the new addresses change, by `delta`.
    #[inline]
    pub fn set_ports_partial(&mut self, source: u16, destination: u16, delta: Delta) {
        let sum = delta.apply_to_sum(u16::from_be_bytes([self.0[6], self.0[7]]));
        self.0[0..2].copy_from_slice(&source.to_be_bytes());
        self.0[2..4].copy_from_slice(&destination.to_be_bytes());
        self.0[6..8].copy_from_slice(&sum.to_be_bytes());
    }
}

/// A datagram's `checksum` after a change. A missing checksum stays missing, and a computed zero is sent as all ones.
#[inline]
pub(super) const fn updated_checksum(checksum: u16, delta: Delta) -> u16 {
    if checksum == 0 { 0 } else { nonzero(delta.apply(checksum)) }
}

/// A computed checksum as it is sent: zero, which would mean none, as its other ones' complement form.
#[inline]
pub(crate) const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A DNS query, of which only the first octets of data are here.
    const QUERY: [u8; 12] = [0xd4, 0x31, 0x00, 0x35, 0x00, 0x2c, 0x1b, 0x7e, 0x5a, 0x01, 0x01, 0x00];

    #[test]
    fn parses_a_captured_datagram() {
        assert_eq!(Header::parse(&QUERY), Err(Malformed::Truncated));
        let header = Header::parse_fragment(&QUERY).expect("the header is whole");
        assert_eq!(header.to_string(), "UDP 54321 > 53 length 44");
        assert_eq!(header.checksum, 0x1b7e);
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(Header::parse_fragment(&QUERY[..7]), Err(Malformed::Truncated));
        let mut short = QUERY;
        short[5] = 7;
        assert_eq!(Header::parse(&short), Err(Malformed::Length));
        short[5] = 8;
        assert!(Header::parse(&short).is_ok());
    }

    /// RFC 768: A datagram without a checksum stays without.
    #[test]
    fn rfc768_a_datagram_without_a_checksum_stays_without() {
        let mut datagram = QUERY;
        datagram[6..8].fill(0);
        HeaderMut::new(&mut datagram).expect("room").set_ports(1, 2, Delta::NONE.replace_u16(54321, 1));
        assert_eq!(
            Header::parse_fragment(&datagram).map(|header| (header.source_port, header.checksum)),
            Ok((1, 0))
        );
    }

    /// RFC 768: A checksum of zero is sent as all ones.
    #[test]
    fn rfc768_a_checksum_of_zero_is_sent_as_all_ones() {
        let mut datagram = QUERY;
        // The change that makes the checksum zero.
        let delta = Delta::NONE.replace_u16(0, 0x1b7e);
        assert_eq!(delta.apply(0x1b7e), 0);
        HeaderMut::new(&mut datagram).expect("room").set_ports(54321, 53, delta);
        assert_eq!(datagram[6..8], [0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn writing_is_the_inverse_of_parsing(bytes: [u8; 8]) {
            if let Ok(header) = Header::parse_fragment(&bytes) {
                let mut written = [0; 8];
                header.write(&mut written).expect("room");
                prop_assert_eq!(written, bytes);
                let reference = etherparse::UdpHeader::from_slice(&bytes).expect("whole").0;
                prop_assert_eq!(
                    (header.source_port, header.destination_port, header.len, header.checksum),
                    (reference.source_port, reference.destination_port, reference.length, reference.checksum)
                );
            }
        }

        #[test]
        fn any_bytes_parse_or_are_refused(bytes: Vec<u8>) {
            let _ = Header::parse(&bytes);
        }
    }
}
