//! VLAN tags: four octets between the source's MAC and the EtherType. (IEEE 802.1Q, 802.1ad)

use super::Malformed;
use super::ethernet::{EtherType, Header};

/// The outermost VLAN tag of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The VLAN, 0 to 4095. A tag of VLAN 0 carries a priority only: the frame belongs to the untagged network.
    pub vid: u16,
}

impl Tag {
    /// The size of a tag, in octets.
    pub const LEN: usize = 4;

    /// The most tags that a frame's headers are parsed through: a provider's and a customer's (802.1ad).
    pub const COUNT_MAX: usize = 2;

    /// The tag at the front of `frame`, whose EtherType says that there is one.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let tail = frame.get(Header::LEN..).ok_or(Malformed::Truncated)?;
        let [c0, c1, _, _] = *tail.first_chunk::<{ Self::LEN }>().ok_or(Malformed::Truncated)?;
        Ok(Self { vid: u16::from_be_bytes([c0, c1]) & 0x0fff })
    }
}

/// A VLAN's number. (IEEE 802.1Q)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// All numbers that a tag can carry.
    pub const COUNT: usize = 1 << 12;

    /// The VLAN `vid`, 1 to 4094; `None` for any other number. 0 is no VLAN, and 4095 is reserved.
    pub const fn new(vid: u16) -> Option<Self> {
        if vid > 0 && vid < 4095 { Some(Self(vid)) } else { None }
    }

    /// The number, as a tag carries it.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The number's place among all, less than [`VlanId::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize % Self::COUNT
    }
}

/// The payload of a frame behind its VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The protocol. It says that another tag follows if there are more than [`Tag::COUNT_MAX`].
    pub ether_type: EtherType,
    /// The payload's offset, in octets: [`Header::LEN`] if there is no tag.
    pub start: usize,
}

impl Payload {
    /// The payload of `frame`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if the frame ends in its tags.
    #[inline]
    pub fn of(frame: &[u8]) -> Result<Self, Malformed> {
        let ether_type = Header::parse(frame)?.ether_type;
        let untagged = Self { ether_type, start: Header::LEN };
        if ether_type.is_vlan() { untagged.behind_tags(frame) } else { Ok(untagged) }
    }

    fn behind_tags(self, frame: &[u8]) -> Result<Self, Malformed> {
        let mut payload = self;
        for _ in 0..Tag::COUNT_MAX {
            if !payload.ether_type.is_vlan() {
                break;
            }
            let tag = frame.get(payload.start..).ok_or(Malformed::Truncated)?;
            let [_, _, t0, t1] = *tag.first_chunk::<{ Tag::LEN }>().ok_or(Malformed::Truncated)?;
            payload =
                Self { ether_type: EtherType(u16::from_be_bytes([t0, t1])), start: payload.start + Tag::LEN };
        }
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: [u8; 12] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x10];

    fn frame(behind_macs: &[u8]) -> Vec<u8> {
        [&MACS, behind_macs].concat()
    }

    #[test]
    fn a_tag_has_a_vlan_behind_its_priority() {
        assert_eq!(Tag::parse(&frame(&[0x81, 0, 0xa0, 0, 8, 0])), Ok(Tag { vid: 0 }));
        assert_eq!(Tag::parse(&frame(&[0x81, 0, 0x60, 10, 8, 0])), Ok(Tag { vid: 10 }));
        assert_eq!(Tag::parse(&frame(&[0x88, 0xa8, 0xff, 0xff, 8, 0])), Ok(Tag { vid: 4095 }));
        assert_eq!(Tag::parse(&frame(&[0x81, 0, 0xa0, 0, 8])), Err(Malformed::Truncated));
    }

    #[test]
    fn a_vlan_has_a_number_that_is_not_reserved() {
        let numbers = [0, 1, 4094, 4095, 4096].map(|vid| VlanId::new(vid).map(VlanId::get));
        assert_eq!(numbers, [None, Some(1), Some(4094), None, None]);
    }

    #[test]
    fn the_payload_is_found_behind_two_tags_at_most() {
        let payload = |behind_macs: &[u8]| Payload::of(&frame(behind_macs));
        let at = |ether_type, start| Ok(Payload { ether_type, start });
        assert_eq!(payload(&[8, 0]), at(EtherType::IPV4, 14));
        assert_eq!(payload(&[0x81, 0, 0, 5, 8, 0]), at(EtherType::IPV4, 18));
        let double = [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x86, 0xdd];
        assert_eq!(payload(&double), at(EtherType::IPV6, 22));
        let triple = [&double[..8], &[0x81, 0, 0, 7, 8, 0]].concat();
        assert_eq!(payload(&triple), at(EtherType::VLAN, 22));
        for len in [1, 3, 5, 9] {
            assert_eq!(payload(&double[..len]), Err(Malformed::Truncated), "{len}");
        }
    }
}
