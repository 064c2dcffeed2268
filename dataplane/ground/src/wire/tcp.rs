//! TCP headers. (RFC 9293)

use core::fmt;
use core::ops::BitOr;

use etherparse::TcpHeaderSlice;
use etherparse::err::tcp::HeaderSliceError;

use super::Malformed;
use super::checksum::Delta;
use super::options::{HeaderOption, Options};

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender is done.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Aborts a connection.
    pub const RST: Self = Self(0x04);
    /// Hand to the application at once.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// RFC 3168.
    pub const ECE: Self = Self(0x40);
    /// RFC 3168.
    pub const CWR: Self = Self(0x80);

    /// Whether all of `flags` are set.
    #[inline]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// Whether a TCP sends such a segment at all: SYN, FIN and RST exclude each other, and all but
    /// a SYN and a RST acknowledge. What is not possible (nothing set, FIN alone, FIN+PSH+URG,
    /// SYN+FIN, SYN+RST) is how scanners identify systems. (RFC 9293, section 3.10)
    #[inline]
    pub const fn is_possible(self) -> bool {
        let kind = self.0 & (Self::SYN.0 | Self::FIN.0 | Self::RST.0);
        let acknowledges = self.contains(Self::ACK);
        kind.count_ones() <= 1 && (acknowledges || kind == Self::SYN.0 || kind == Self::RST.0)
    }

    /// Whether it asks for a connection: SYN without ACK.
    #[inline]
    pub const fn is_opening(self) -> bool {
        self.contains(Self::SYN) && !self.contains(Self::ACK)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Flags, &str); 8] = [
            (Flags::SYN, "SYN"),
            (Flags::FIN, "FIN"),
            (Flags::RST, "RST"),
            (Flags::PSH, "PSH"),
            (Flags::ACK, "ACK"),
            (Flags::URG, "URG"),
            (Flags::ECE, "ECE"),
            (Flags::CWR, "CWR"),
        ];
        let mut separator = "";
        for (flag, name) in NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "+";
            }
        }
        if self.0 == 0 { f.write_str("none") } else { Ok(()) }
    }
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// The sequence number of the first octet of data, or of the SYN.
    pub sequence: u32,
    /// The next octet that the sender expects, if [`Flags::ACK`].
    pub acknowledgment: u32,
    /// The header's size with options, in octets: 20 to 60.
    pub header_len: u8,
    /// The control bits.
    pub flags: Flags,
    /// The window field, not scaled.
    pub window: u16,
    /// The octets of data in the segment; in a first fragment, those that are in it.
    pub payload_len: u16,
}

impl Header {
    /// The size of a header without options, in octets.
    pub const LEN_MIN: usize = 20;
    /// The offset of the checksum, in octets.
    pub const CHECKSUM_OFFSET: usize = 16;

    /// The header at the beginning of `segment`, an IP packet's payload.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`], and [`Malformed::Length`] if the data offset points into the header.
    #[inline]
    pub fn parse(segment: &[u8]) -> Result<Self, Malformed> {
        let slice = TcpHeaderSlice::from_slice(segment).map_err(|error| match error {
            HeaderSliceError::Len(_) => Malformed::Truncated,
            HeaderSliceError::Content(_) => Malformed::Length,
        })?;
        let header_len = slice.slice().len();
        let payload_len = segment.len() - header_len;
        Ok(Self {
            source_port: slice.source_port(),
            destination_port: slice.destination_port(),
            sequence: slice.sequence_number(),
            acknowledgment: slice.acknowledgment_number(),
            header_len: header_len as u8,
            flags: Flags(slice.slice().get(13).copied().unwrap_or_default()),
            window: slice.window_size(),
            payload_len: u16::try_from(payload_len).map_err(|_| Malformed::Length)?,
        })
    }

    /// Writes the header at the beginning of `segment`, without options, urgent pointer or checksum.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if there is no room; `segment` is then unchanged.
    pub fn write(&self, segment: &mut [u8]) -> Result<(), Malformed> {
        let header = segment.first_chunk_mut::<{ Self::LEN_MIN }>().ok_or(Malformed::Truncated)?;
        header[0..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&self.acknowledgment.to_be_bytes());
        header[12] = 0x50;
        header[13] = self.flags.0;
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        header[16..20].fill(0);
        Ok(())
    }

    /// The header of the reset that answers this segment of an unknown connection: its sequence number is the one that
    /// the sender expects, so the sender accepts it. `None` for a reset, which is never answered, and for
    /// a segment that acknowledges nothing. (RFC 9293, section 3.5.2; RFC 9293, section 3.10.7.1)
    pub fn reset(&self) -> Option<Self> {
        let is_answered = self.flags.contains(Flags::ACK) && !self.flags.contains(Flags::RST);
        is_answered.then_some(Self {
            source_port: self.destination_port,
            destination_port: self.source_port,
            sequence: self.acknowledgment,
            acknowledgment: 0,
            header_len: Self::LEN_MIN as u8,
            flags: Flags::RST,
            window: 0,
            payload_len: 0,
        })
    }

    /// The options of the `segment` that the header is of.
    #[inline]
    pub fn options<'a>(&self, segment: &'a [u8]) -> Options<'a> {
        Options::new(segment.get(Self::LEN_MIN..usize::from(self.header_len)).unwrap_or_default())
    }

    /// Whether the options of the `segment` that the header is of add up.
    #[inline]
    pub fn has_sound_options(&self, segment: &[u8]) -> bool {
        // Without options, or with timestamps in the usual layout (RFC 7323, appendix A): nearly every segment.
        usize::from(self.header_len) == Self::LEN_MIN
            || self.header_len == 32
                && segment.get(Self::LEN_MIN..).is_some_and(|o| o.starts_with(&TIMESTAMPS))
            || self.options(segment).all(|option| option.is_ok())
    }

    /// The largest segment that the sender of this `segment` takes. (RFC 9293, section 3.7.1)
    pub fn mss(&self, segment: &[u8]) -> Option<u16> {
        self.mss_option(segment).map(|(_, mss)| mss)
    }

    /// The offset of the MSS option's value in the segment, and the value.
    fn mss_option(&self, segment: &[u8]) -> Option<(usize, u16)> {
        let mss = |option: HeaderOption<'_>| match *option.bytes {
            [OPTION_MSS, _, high, low] => {
                Some((Self::LEN_MIN + option.offset + 2, u16::from_be_bytes([high, low])))
            }
            _ => None,
        };
        self.options(segment).map_while(Result::ok).find_map(mss)
    }
}

const OPTION_MSS: u8 = 2;
/// Two octets of padding, then the type and the length of the option.
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TCP {} > {} {} seq {} ack {} win {} length {}",
            self.source_port,
            self.destination_port,
            self.flags,
            self.sequence,
            self.acknowledgment,
            self.window,
            self.payload_len
        )
    }
}

/// A header in place.
#[derive(Debug)]
pub struct HeaderMut<'a>(&'a mut [u8; Header::LEN_MIN]);

impl<'a> HeaderMut<'a> {
    /// The header at the beginning of `segment`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    #[inline]
    pub fn new(segment: &'a mut [u8]) -> Result<Self, Malformed> {
        segment.first_chunk_mut().map(Self).ok_or(Malformed::Truncated)
    }

    /// Sets both ports and updates the checksum by `delta`, the change that the new ports and addresses make.
    #[inline]
    pub fn set_ports(&mut self, source: u16, destination: u16, delta: Delta) {
        self.0[0..2].copy_from_slice(&source.to_be_bytes());
        self.0[2..4].copy_from_slice(&destination.to_be_bytes());
        self.apply(delta);
    }

    /// Sets both ports of a segment with a partial checksum, which only the new addresses change, by `delta`.
    #[inline]
    pub fn set_ports_partial(&mut self, source: u16, destination: u16, delta: Delta) {
        self.0[0..2].copy_from_slice(&source.to_be_bytes());
        self.0[2..4].copy_from_slice(&destination.to_be_bytes());
        let sum = delta.apply_to_sum(u16::from_be_bytes([self.0[16], self.0[17]]));
        self.0[16..18].copy_from_slice(&sum.to_be_bytes());
    }

    #[inline]
    fn apply(&mut self, delta: Delta) {
        let checksum = delta.apply(u16::from_be_bytes([self.0[16], self.0[17]]));
        self.0[16..18].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Lowers the MSS option of `segment`, a SYN, to at most `mss_max`; one that has none stays without.
///
/// Path MTU discovery fails where ICMP is filtered; a segment size that fits does not need it.
///
/// # Errors
///
/// As [`Header::parse`].
pub fn clamp_mss(segment: &mut [u8], mss_max: u16) -> Result<(), Malformed> {
    let header = Header::parse(segment)?;
    let Some((at, mss)) = header.mss_option(segment).filter(|(_, mss)| *mss > mss_max) else { return Ok(()) };
    if let Some(value) = segment.get_mut(at..at + 2) {
        value.copy_from_slice(&mss_max.to_be_bytes());
    }
    // A value at an odd offset is in two words of the sum: with its octets swapped the sum is the same.
    // (RFC 1071, section 2)
    let delta = if at.is_multiple_of(2) {
        Delta::NONE.replace_u16(mss, mss_max)
    } else {
        Delta::NONE.replace_u16(mss.swap_bytes(), mss_max.swap_bytes())
    };
    HeaderMut::new(segment)?.apply(delta);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::checksum;

    /// A SYN with MSS 1460, SACK permitted, timestamps and a window scale of 7.
    const SYN: [u8; 40] = [
        0xc3, 0x50, 0x00, 0x50, 0x12, 0x34, 0x56, 0x78, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02, 0xfa, 0xf0, 0x00,
        0x00, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
        0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
    ];

    #[test]
    fn parses_a_captured_syn() {
        let header = Header::parse(&SYN).expect("valid");
        assert_eq!(header.to_string(), "TCP 50000 > 80 SYN seq 305419896 ack 0 win 64240 length 0");
        assert_eq!(header.mss(&SYN), Some(1460));
        assert!(header.flags.is_opening());
    }

    /// RFC 9293, section 3.5.2: A reset has the number that its receiver waits for, and answers no reset.
    #[test]
    fn rfc9293_3_5_2_a_reset_has_the_number_that_its_receiver_waits_for() {
        let syn = Header::parse(&SYN).expect("valid");
        let data = Header { flags: Flags::ACK | Flags::PSH, acknowledgment: 77, payload_len: 9, ..syn };
        let reset = data.reset().expect("it is answered");
        assert_eq!(reset.to_string(), "TCP 80 > 50000 RST seq 77 ack 0 win 0 length 0");
        assert_eq!(reset.reset(), None);
        assert_eq!(Header { flags: Flags::ACK | Flags::RST, ..data }.reset(), None);
        assert_eq!(syn.reset(), None);
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(Header::parse(&SYN[..19]), Err(Malformed::Truncated));
        assert_eq!(Header::parse(&SYN[..39]), Err(Malformed::Truncated));
        let mut short = SYN;
        short[12] = 0x40;
        assert_eq!(Header::parse(&short), Err(Malformed::Length));
    }

    /// RFC 9293, section 3.1: Options must add up.
    #[test]
    fn rfc9293_3_1_options_must_add_up() {
        let header = Header::parse(&SYN).expect("valid");
        assert!(header.has_sound_options(&SYN));
        for (at, len) in [(21, 0), (21, 1), (21, 21), (25, 17), (39, 0)] {
            let mut segment = SYN;
            segment[at] = len;
            if at == 39 {
                segment[38] = 3; // a type at the very end
                segment[37] = 1;
                segment[36] = 1;
                segment[39] = 3;
            }
            assert!(!header.has_sound_options(&segment), "{at} {len}");
        }
        let mut timestamps = SYN;
        timestamps[12] = 0x80;
        timestamps[20..24].copy_from_slice(&TIMESTAMPS);
        assert!(Header::parse(&timestamps).expect("valid").has_sound_options(&timestamps));
    }

    /// RFC 9293, section 3.10: Impossible flags.
    #[test]
    fn rfc9293_3_10_impossible_flags() {
        use Flags as F;
        for flags in [
            F(0),
            F::FIN,
            F::FIN | F::PSH | F::URG,
            F::SYN | F::FIN,
            F::SYN | F::RST,
            F::FIN | F::RST | F::ACK,
            F::PSH,
            F::URG,
            F(0xff),
        ] {
            assert!(!flags.is_possible(), "{flags}");
        }
        for flags in [
            F::SYN,
            F::SYN | F::ECE | F::CWR,
            F::SYN | F::ACK,
            F::ACK,
            F::ACK | F::PSH,
            F::FIN | F::ACK,
            F::RST,
            F::RST | F::ACK,
        ] {
            assert!(flags.is_possible(), "{flags}");
        }
    }

    #[test]
    fn an_mss_is_lowered_and_never_raised() {
        for prefix in [&[1u8, 1][..], &[1], &[]] {
            let mut segment = SYN[..20].to_vec();
            segment.extend(prefix);
            segment.extend([2, 4, 5, 180]);
            segment.resize(28, 0);
            segment[12] = 0x70;
            let sum = checksum::of(&segment);
            segment[16..18].copy_from_slice(&sum.to_be_bytes());
            let before = segment.clone();
            clamp_mss(&mut segment, 1460).expect("valid");
            assert_eq!(segment, before);
            clamp_mss(&mut segment, 1400).expect("valid");
            let header = Header::parse(&segment).expect("valid");
            assert_eq!(header.mss(&segment), Some(1400));
            assert!(checksum::is_valid(&segment), "option at {}", 20 + prefix.len());
        }
    }

    #[test]
    fn a_segment_without_mss_stays() {
        let mut segment = SYN;
        segment[20..24].fill(1);
        let before = segment;
        clamp_mss(&mut segment, 536).expect("valid");
        assert_eq!(segment, before);
    }

    proptest! {
        #[test]
        fn parsing_is_the_inverse_of_writing(
            (source_port, destination_port, sequence, acknowledgment, flags, window, payload_len)
                in any::<(u16, u16, u32, u32, u8, u16, u8)>()
        ) {
            let header = Header {
                source_port,
                destination_port,
                sequence,
                acknowledgment,
                header_len: 20,
                flags: Flags(flags),
                window,
                payload_len: payload_len.into(),
            };
            let mut segment = vec![0; 20 + usize::from(payload_len)];
            header.write(&mut segment).expect("room");
            prop_assert_eq!(Header::parse(&segment), Ok(header));
        }

        #[test]
        fn set_ports_keeps_the_checksum_right(ports: [u16; 2], data: Vec<u8>) {
            let mut segment = [&SYN[..], &data].concat();
            let sum = checksum::of(&segment);
            segment[16..18].copy_from_slice(&sum.to_be_bytes());
            let delta = Delta::NONE.replace_u16(50000, ports[0]).replace_u16(80, ports[1]);
            HeaderMut::new(&mut segment).expect("room").set_ports(ports[0], ports[1], delta);
            let header = Header::parse(&segment).expect("valid");
            prop_assert_eq!([header.source_port, header.destination_port], ports);
            prop_assert!(checksum::is_valid(&segment));
        }

        #[test]
        fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::parse(&bytes) {
                let _ = (header.mss(&bytes), header.to_string());
                let _ = clamp_mss(&mut bytes.clone(), 536);
            }
        }
    }
}
