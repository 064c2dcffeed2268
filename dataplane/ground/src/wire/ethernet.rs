//! Ethernet II frames. (IEEE 802.3, RFC 894)

use core::fmt;

use super::Malformed;
use crate::mac::MacAddr;

/// The type of an Ethernet frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// RFC 894.
    pub const IPV4: Self = Self(0x0800);
    /// RFC 826.
    pub const ARP: Self = Self(0x0806);
    /// IEEE 802.1Q: a VLAN tag.
    pub const VLAN: Self = Self(0x8100);
    /// RFC 2464.
    pub const IPV6: Self = Self(0x86dd);
    /// IEEE 802.1ad: a service VLAN tag.
    pub const SERVICE_VLAN: Self = Self(0x88a8);

    /// Whether a VLAN tag follows instead of a payload.
    pub const fn is_vlan(self) -> bool {
        matches!(self, Self::VLAN | Self::SERVICE_VLAN)
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.write_str("IPv4"),
            Self::ARP => f.write_str("ARP"),
            Self::VLAN => f.write_str("802.1Q"),
            Self::IPV6 => f.write_str("IPv6"),
            Self::SERVICE_VLAN => f.write_str("802.1ad"),
            Self(other) => write!(f, "{other:#06x}"),
        }
    }
}

/// The header of a frame. The payload begins at [`Header::LEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The destination.
    pub destination: MacAddr,
    /// The source.
    pub source: MacAddr,
    /// The type of the payload.
    pub ether_type: EtherType,
}

impl Header {
    /// The size of the header, in octets.
    pub const LEN: usize = 14;

    /// The header at the beginning of `frame`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] =
            *frame.first_chunk::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        Ok(Self {
            destination: MacAddr([d0, d1, d2, d3, d4, d5]),
            source: MacAddr([s0, s1, s2, s3, s4, s5]),
            ether_type: EtherType(u16::from_be_bytes([t0, t1])),
        })
    }

    /// Writes the header at the beginning of `frame`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if there is no room; `frame` is then unchanged.
    #[inline]
    pub fn write(self, frame: &mut [u8]) -> Result<(), Malformed> {
        let header = frame.first_chunk_mut::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        header[0..6].copy_from_slice(&self.destination.0);
        header[6..12].copy_from_slice(&self.source.0);
        header[12..14].copy_from_slice(&self.ether_type.0.to_be_bytes());
        Ok(())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} {}", self.source, self.destination, self.ether_type)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARP_REQUEST: [u8; 16] =
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x10, 0x08, 0x06, 0x00, 0x01];

    #[test]
    fn parses_a_captured_frame() {
        let header = Header::parse(&ARP_REQUEST).expect("whole");
        assert_eq!(header.to_string(), "02:00:00:00:00:10 > ff:ff:ff:ff:ff:ff ARP");
        assert!(header.destination.is_multicast());
        assert!(!header.source.is_multicast());
        assert_eq!(Header::parse(&ARP_REQUEST[..13]), Err(Malformed::Truncated));
    }

    #[test]
    fn writes_nothing_where_there_is_no_room() {
        let header = Header::parse(&ARP_REQUEST).expect("whole");
        let mut small = [0; 13];
        assert_eq!(header.write(&mut small), Err(Malformed::Truncated));
        assert_eq!(small, [0; 13]);
    }

    #[test]
    fn vlan_tags_are_known() {
        assert!(EtherType(0x8100).is_vlan() && EtherType(0x88a8).is_vlan());
        assert!(!EtherType::IPV4.is_vlan());
        assert_eq!(EtherType(0x1234).to_string(), "0x1234");
    }

    proptest! {
        #[test]
        fn writing_is_the_inverse_of_parsing(bytes: [u8; Header::LEN]) {
            let mut written = [0; Header::LEN];
            Header::parse(&bytes).expect("whole").write(&mut written).expect("room");
            prop_assert_eq!(written, bytes);
        }
    }
}
