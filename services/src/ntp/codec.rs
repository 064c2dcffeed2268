//! NTP packets: the header, and the layout of the fields behind it. (RFC 5905, section 7.3; RFC 7822, section 3)

use std::time::Duration;

use crate::clock::WallTime;

/// The octets of the header.
pub const HEADER_LEN: usize = 48;

/// The port of servers. // RFC 5905, section 7.2
pub const PORT: u16 = 123;

/// The accepted versions: all have the same header fields. // RFC 4330, section 5
pub const VERSIONS: std::ops::RangeInclusive<u8> = 1..=4;

/// The stratum of an unsynchronised clock. The server sends it as it is (RFC 5905, figure 11); some implementations
/// send 0 instead, which is also the stratum of a kiss-o'-death. // RFC 5905, section 7.3
pub const STRATUM_UNSYNCHRONISED: u8 = 16;

/// The kiss code that asks a client to send less often. // RFC 5905, section 7.4
pub const KISS_RATE: [u8; 4] = *b"RATE";

/// The kiss codes that ask a client to send nothing more. // RFC 5905, section 7.4
pub const KISSES_OF_DENIAL: [[u8; 4]; 2] = [*b"DENY", *b"RSTR"];

/// Seconds from 1900-01-01, where NTP's first era begins, to 1970-01-01. // RFC 5905, figure 4
const UNIX_EPOCH_SECS: u64 = 2_208_988_800;

/// 2020-01-01, in seconds since 1970-01-01: no timestamp is of an earlier time.
const ERA_PIVOT_SECS: u64 = 1_577_836_800;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// The longest message authentication code without extension fields: a key identifier and 20 octets. Longer contents
/// begin with an extension field. // RFC 7822, section 3
const MAC_LEN_MAX: usize = 24;

/// The shortest extension field. // RFC 7822, section 3
const EXTENSION_LEN_MIN: usize = 16;

/// The warning of a leap second, or of a clock without a source. (RFC 5905, section 7.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
    /// No warning.
    None,
    /// The last minute of the day has 61 seconds.
    Inserted,
    /// The last minute of the day has 59 seconds.
    Deleted,
    /// The clock is unsynchronised.
    Unsynchronised,
}

impl Leap {
    const ALL: [Self; 4] = [Self::None, Self::Inserted, Self::Deleted, Self::Unsynchronised];
}

/// The mode of a packet. (RFC 5905, section 7.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reserved.
    Reserved,
    /// Symmetric active: a peer that sends its time and requests the other's.
    SymmetricActive,
    /// Symmetric passive: a peer's answer to a symmetric active one.
    SymmetricPassive,
    /// A client's request.
    Client,
    /// A server's answer.
    Server,
    /// A broadcast of the time.
    Broadcast,
    /// A message of the control protocol.
    Control,
    /// Private use.
    Private,
}

impl Mode {
    const ALL: [Self; 8] = [
        Self::Reserved,
        Self::SymmetricActive,
        Self::SymmetricPassive,
        Self::Client,
        Self::Server,
        Self::Broadcast,
        Self::Control,
        Self::Private,
    ];
}

/// A point in time: seconds since the beginning of its era, and a fraction in units of 2^-32 s. An era has 2^32
/// seconds; the second one begins on 2036-02-07. Zero means that the time is unknown. (RFC 5905, section 6)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The known point in time with this value. Zero, as at the beginning of an era, becomes the next value.
    fn known(octets: u64) -> Self {
        Self(octets.max(1))
    }

    /// The whole second before this known time.
    pub fn whole_second(self) -> Self {
        Self::known(self.0 >> 32 << 32)
    }

    /// The time when `span` has passed since this one.
    pub fn after(self, span: Duration) -> Self {
        // The bits above 64 are the era number.
        let parts = (span.as_nanos() << 32) / u128::from(NANOS_PER_SEC);
        Self::known(self.0.wrapping_add(parts as u64))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Of all eras it is in the one that puts it
    /// between 2020 and 2156: a client whose clock is wrong cannot tell the era by that.
    pub fn unix_nanos(self) -> i128 {
        let secs = (self.0 >> 32).wrapping_sub(ERA_PIVOT_SECS + UNIX_EPOCH_SECS) & u64::from(u32::MAX);
        let fraction = i128::from(self.0 & u64::from(u32::MAX));
        let second = i128::from(NANOS_PER_SEC);
        i128::from(ERA_PIVOT_SECS + secs) * second + ((fraction * second) >> 32)
    }
}

impl From<WallTime> for Timestamp {
    fn from(time: WallTime) -> Self {
        // The bits above 32 are the era number, which a packet does not have.
        let secs = time.secs.0.wrapping_add(UNIX_EPOCH_SECS) << 32;
        let fraction = (u64::from(time.nanos) << 32) / NANOS_PER_SEC;
        Self::known(secs | fraction.min(u64::from(u32::MAX)))
    }
}

/// A span of time in units of 2^-16 s, up to 18 hours. (RFC 5905, section 6)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShortSpan(pub u32);

impl ShortSpan {
    /// `span`, rounded up, or the longest span of the format.
    pub fn at_least(span: Duration) -> Self {
        let parts = (span.as_nanos() << 16).div_ceil(NANOS_PER_SEC.into());
        Self(u32::try_from(parts).unwrap_or(u32::MAX))
    }

    /// The span in nanoseconds, rounded up.
    pub fn nanos(self) -> u64 {
        (u64::from(self.0) * NANOS_PER_SEC).div_ceil(1 << 16)
    }
}

/// `span` as a power of two of seconds, rounded up: its exponent, at least that of a nanosecond.
pub fn exponent(span: Duration) -> i8 {
    let nanos = span.as_nanos().max(1);
    (-30..31)
        .find(|exponent: &i8| {
            let shift = u32::from(exponent.unsigned_abs());
            let second = u128::from(NANOS_PER_SEC);
            if *exponent < 0 { nanos << shift <= second } else { nanos <= second << shift }
        })
        .unwrap_or(31)
}

/// The header of an NTP packet. (RFC 5905, section 7.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The warning of a leap second.
    pub leap: Leap,
    /// The protocol's version, 0 to 7.
    pub version: u8,
    /// The mode.
    pub mode: Mode,
    /// The number of servers between the clock and its primary source; 0 in a kiss-o'-death.
    pub stratum: u8,
    /// The maximum interval between two packets (poll), as a power of two of seconds.
    pub poll: i8,
    /// The precision of the clock, as a power of two of seconds.
    pub precision: i8,
    /// The round-trip time to the primary source.
    pub root_delay: ShortSpan,
    /// The maximum error of the clock, without half of the root delay.
    pub root_dispersion: ShortSpan,
    /// The reference id: the clock's source, or the kiss code.
    pub reference_id: [u8; 4],
    /// The reference timestamp: when the clock was last set or corrected.
    pub reference: Timestamp,
    /// The origin timestamp: when the request left, by the client's clock.
    pub origin: Timestamp,
    /// The receive timestamp: when the request arrived, by the server's clock.
    pub receive: Timestamp,
    /// The transmit timestamp: when the packet leaves, by its sender's clock.
    pub transmit: Timestamp,
}

impl Header {
    /// Reads the header of `datagram`, and ignores the contents of extension fields and of a message authentication
    /// code behind it. `None` if it is no NTP packet of [`VERSIONS`].
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (header, rest) = datagram.split_first_chunk::<HEADER_LEN>()?;
        let version = header[0] >> 3 & 0b111;
        if !VERSIONS.contains(&version) || !is_trailer(rest) {
            return None;
        }
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let timestamp = |at: usize| Timestamp(u64::from(word(at)) << 32 | u64::from(word(at + 4)));
        Some(Self {
            leap: Leap::ALL[usize::from(header[0] >> 6)],
            version,
            mode: Mode::ALL[usize::from(header[0] & 0b111)],
            stratum: header[1],
            poll: header[2].cast_signed(),
            precision: header[3].cast_signed(),
            root_delay: ShortSpan(word(4)),
            root_dispersion: ShortSpan(word(8)),
            reference_id: word(12).to_be_bytes(),
            reference: timestamp(16),
            origin: timestamp(24),
            receive: timestamp(32),
            transmit: timestamp(40),
        })
    }

    /// The header in wire format, with the lowest three bits of the version.
    pub fn to_octets(&self) -> [u8; HEADER_LEN] {
        let mut octets = [0; HEADER_LEN];
        octets[0] = (self.leap as u8) << 6 | (self.version & 0b111) << 3 | self.mode as u8;
        octets[1] = self.stratum;
        octets[2] = self.poll.cast_unsigned();
        octets[3] = self.precision.cast_unsigned();
        octets[4..8].copy_from_slice(&self.root_delay.0.to_be_bytes());
        octets[8..12].copy_from_slice(&self.root_dispersion.0.to_be_bytes());
        octets[12..16].copy_from_slice(&self.reference_id);
        octets[16..24].copy_from_slice(&self.reference.0.to_be_bytes());
        octets[24..32].copy_from_slice(&self.origin.0.to_be_bytes());
        octets[32..40].copy_from_slice(&self.receive.0.to_be_bytes());
        octets[40..48].copy_from_slice(&self.transmit.0.to_be_bytes());
        octets
    }
}

/// Whether `rest` is valid behind a header: extension fields, and a message authentication code of 4, 20 or 24
/// octets. // RFC 7822, section 3
fn is_trailer(mut rest: &[u8]) -> bool {
    while rest.len() > MAC_LEN_MAX {
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        match rest.split_at_checked(len) {
            Some((_, behind)) if len >= EXTENSION_LEN_MIN && len.is_multiple_of(4) => rest = behind,
            _ => return false,
        }
    }
    matches!(rest.len(), 0 | 4 | 20 | MAC_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::array::{uniform4, uniform8};
    use proptest::prelude::*;

    use super::*;
    use crate::clock::UnixTime;

    /// A client's packet: version 4, mode 3.
    fn request() -> Vec<u8> {
        let mut octets = vec![0; HEADER_LEN];
        octets[0] = 0x23;
        octets
    }

    fn with(rest: &[u8]) -> Option<Header> {
        Header::parse(&[&request()[..], rest].concat())
    }

    fn extension(len: u16, octets: usize) -> Vec<u8> {
        let mut field = vec![0; octets];
        field[2..4].copy_from_slice(&len.to_be_bytes());
        field
    }

    fn wall(secs: u64, nanos: u32) -> WallTime {
        WallTime { secs: UnixTime(secs), nanos }
    }

    /// RFC 5905, section 6: Seconds are counted from 1900, and the second era begins in 2036.
    #[test]
    fn rfc5905_6_timestamps_go_over_into_the_next_era() {
        assert_eq!(Timestamp::from(wall(0, 0)), Timestamp(0x83aa_7e80_0000_0000));
        // RFC 5905, figure 4: the first day of Unix, the last of era 0, the first of era 1.
        assert_eq!(Timestamp::from(wall(0, 500_000_000)), Timestamp(0x83aa_7e80_8000_0000));
        assert_eq!(Timestamp::from(wall(2_085_978_495, 999_999_999)), Timestamp(0xffff_ffff_ffff_fffb));
        assert_eq!(Timestamp::from(wall(2_085_978_497, 250_000_000)), Timestamp(0x0000_0001_4000_0000));
        assert_eq!(Timestamp(0x1234_5678_9abc_def0).whole_second(), Timestamp(0x1234_5678_0000_0000));
        let late = Timestamp(0xffff_ffff_8000_0000);
        assert_eq!(late.after(Duration::from_millis(750)), Timestamp(0x0000_0000_4000_0000));
    }

    /// RFC 5905, section 6: The timestamp 0 means that there is none, and no time is encoded as 0.
    #[test]
    fn rfc5905_6_the_beginning_of_an_era_is_not_encoded_as_zero() {
        let began = Timestamp::from(wall(2_085_978_496, 0));
        assert_eq!(began, Timestamp(1));
        assert_eq!(Timestamp(0x0000_0000_1234_5678).whole_second(), Timestamp(1));
        assert_eq!(Timestamp(0xffff_ffff_8000_0000).after(Duration::from_millis(500)), Timestamp(1));
    }

    /// RFC 5905, section 6: A timestamp belongs to the era in which it is at or after 2020.
    #[test]
    fn rfc5905_6_a_timestamp_is_read_in_its_era() {
        for secs in [1_577_836_800, 1_767_603_540, 2_085_978_495, 2_085_978_496, 5_872_804_095] {
            let read = Timestamp::from(wall(secs, 250_000_000)).unix_nanos();
            assert_eq!(read, i128::from(secs) * 1_000_000_000 + 250_000_000, "{secs}");
        }
        assert_eq!(ShortSpan(1).nanos(), 15_259);
    }

    /// RFC 5905, section 7.3: The precision is a power of two of seconds.
    #[test]
    fn rfc5905_7_3_spans_are_rounded_up() {
        let nanos = Duration::from_nanos;
        let spans = [nanos(1_000_000_000), nanos(15_259), nanos(1), nanos(0), Duration::MAX];
        assert_eq!(spans.map(ShortSpan::at_least).map(|span| span.0), [0x1_0000, 2, 1, 0, u32::MAX]);
        let spans =
            [nanos(1_000), nanos(1), nanos(0), nanos(1_000_000_000), nanos(3_000_000_000), Duration::MAX];
        assert_eq!(spans.map(exponent), [-19, -29, -29, 0, 2, 31]);
    }

    /// RFC 7822, section 3: Extension fields and a message authentication code may follow the header.
    #[test]
    fn rfc7822_3_extension_fields_and_codes_are_tolerated() {
        for len in [0, 4, 20, 24] {
            assert!(with(&vec![9; len]).is_some(), "{len}");
        }
        assert!(with(&extension(28, 28)).is_some());
        assert!(with(&[extension(16, 16), extension(28, 28), vec![7; 20]].concat()).is_some());
        for rest in
            [vec![0; 3], vec![0; 12], vec![0; 28], extension(27, 28), extension(32, 28), extension(12, 40)]
        {
            assert_eq!(with(&rest), None, "{rest:?}");
        }
    }

    #[test]
    fn what_is_too_short_or_of_another_version_is_no_packet() {
        assert_eq!(Header::parse(&request()[..HEADER_LEN - 1]), None);
        for version in 0..8 {
            let mut octets = request();
            octets[0] = version << 3 | 3;
            assert_eq!(Header::parse(&octets).is_some(), VERSIONS.contains(&version), "{version}");
        }
    }

    proptest! {
        #[test]
        fn a_header_comes_back_as_it_was(octets in uniform4(uniform8(any::<u8>())), more in uniform8(any::<u16>())) {
            let mut octets = [octets.concat(), more.iter().flat_map(|word| word.to_be_bytes()).collect()].concat();
            octets[0] = octets[0] & 0b1100_0111 | (1 + octets[1] % 4) << 3;
            let header = Header::parse(&octets).expect("a header");
            prop_assert_eq!(&header.to_octets()[..], &octets[..]);
            prop_assert_eq!(Header::parse(&header.to_octets()), Some(header));
        }

        #[test]
        fn no_octets_are_too_much(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(header) = Header::parse(&octets) {
                prop_assert_eq!(&header.to_octets()[..], &octets[..HEADER_LEN]);
            }
        }

        #[test]
        fn no_time_is_too_much(secs in any::<u64>(), nanos in any::<u32>(), span in any::<Duration>()) {
            let time = Timestamp::from(wall(secs, nanos));
            _ = (time.after(span), ShortSpan::at_least(span), exponent(span));
        }
    }
}
