//! IPv4 fragments: fragmenting packets that are too big, and tracking received fragments. (RFC 791, section 3.2;
//! RFC 4787, section 11)

use gatepost_ground::wire::ipv4::{self, Header};
use gatepost_ground::wire::options::Options;
use gatepost_ground::wire::{Malformed, checksum};

mod tracker;

pub use tracker::{FragmentKey, FragmentTracker, LaterFragment, is_sound};

/// The fragments of a packet that is too big for a link, first to last.
///
/// All fragments keep the packet's identification; options without the copy flag are in the first fragment only. A
/// packet that is a fragment itself is fragmented further. The caller checks whether the packet may be fragmented.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    header: Header,
    /// The header of the next fragment, with its options.
    head: Head,
    /// The header with the options of all fragments but the first.
    copied: Head,
    payload: &'a [u8],
    done: usize,
    mtu: usize,
}

/// A fragment: an IP packet of its own.
#[derive(Clone, Debug)]
pub struct Fragment<'a> {
    head: Head,
    payload: &'a [u8],
}

impl<'a> Fragments<'a> {
    /// Fragments `packet`, which has the valid `header`, into packets of at most `mtu` octets.
    ///
    /// # Errors
    ///
    /// [`Malformed::Length`] if the MTU has no room for a header and eight octets;
    /// [`Malformed::Options`], [`Malformed::Truncated`] if `header` is not that of the packet.
    pub fn new(packet: &'a [u8], header: &Header, mtu: u16) -> Result<Self, Malformed> {
        if usize::from(mtu) < usize::from(header.header_len) + 8 {
            return Err(Malformed::Length);
        }
        let bytes = packet.get(..usize::from(header.header_len)).ok_or(Malformed::Truncated)?;
        let mut head = Head::default();
        head.append(bytes);
        let mut copied = Head::default();
        copied.append(bytes.get(..Header::LEN_MIN).ok_or(Malformed::Truncated)?);
        for option in Options::new(header.options(packet)) {
            let option = option?;
            if ipv4::is_option_copied(option.kind) {
                copied.append(option.bytes);
            }
        }
        copied.pad();
        let payload = header.payload(packet);
        Ok(Self { header: *header, head, copied, payload, done: 0, mtu: usize::from(mtu) })
    }
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Fragment<'a>;

    fn next(&mut self) -> Option<Fragment<'a>> {
        let rest = self.payload.get(self.done..).filter(|rest| !rest.is_empty())?;
        let room = self.mtu - self.head.len;
        let is_last = rest.len() <= room;
        let payload = if is_last { rest } else { &rest[..room & !7] };
        let mut head = self.head;
        head.finish(&Header {
            total_len: (head.len + payload.len()) as u16,
            more_fragments: self.header.more_fragments || !is_last,
            fragment_offset: self.header.fragment_offset + self.done as u16,
            ..self.header
        });
        self.done += payload.len();
        self.head = self.copied;
        Some(Fragment { head, payload })
    }
}

impl Fragment<'_> {
    /// Writes the fragment to the beginning of `packet` and returns its size in octets.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] if there is no room; `packet` is then unchanged.
    pub fn write(&self, packet: &mut [u8]) -> Result<usize, Malformed> {
        let len = self.head.len + self.payload.len();
        let (head, payload) = packet.get_mut(..len).ok_or(Malformed::Truncated)?.split_at_mut(self.head.len);
        head.copy_from_slice(&self.head.bytes[..self.head.len]);
        payload.copy_from_slice(self.payload);
        Ok(len)
    }
}

/// A header with options that is being built.
#[derive(Clone, Copy, Debug)]
struct Head {
    bytes: [u8; Header::LEN_MAX],
    len: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self { bytes: [0; Header::LEN_MAX], len: 0 }
    }
}

impl Head {
    /// Appends a part of a header. There is room for the longest header.
    fn append(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    /// Pads to whole words. The padding octets are zero already, which is the end-of-options option.
    fn pad(&mut self) {
        self.len = self.len.next_multiple_of(4);
    }

    /// Writes `header` before the options.
    fn finish(&mut self, header: &Header) {
        header.write(&mut self.bytes).expect("a header has room in the longest one");
        self.bytes[0] = 0x40 | (self.len / 4) as u8;
        self.bytes[10..12].fill(0);
        let checksum = checksum::of(&self.bytes[..self.len]);
        self.bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use gatepost_ground::wire::Protocol;
    use proptest::prelude::*;

    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
    const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    fn packet(options: &[u8], payload: &[u8], header: Header) -> Vec<u8> {
        let mut head = Head::default();
        head.append(&[0; Header::LEN_MIN]);
        head.append(options);
        head.finish(&Header { total_len: (head.len + payload.len()) as u16, ..header });
        [&head.bytes[..head.len], payload].concat()
    }

    fn header() -> Header {
        Header { id: 0x1234, ttl: 9, ..Header::new(SOURCE, DESTINATION, Protocol::UDP, 0) }
    }

    fn fragments(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let header = Header::parse(packet).expect("valid");
        let fragments = Fragments::new(packet, &header, mtu).expect("room");
        let written = fragments.map(|fragment| {
            let mut bytes = vec![0; usize::from(mtu)];
            let len = fragment.write(&mut bytes).expect("no fragment is larger than the MTU");
            bytes.truncate(len);
            bytes
        });
        written.collect()
    }

    /// Puts fragments together as the RFC does, by their offsets.
    fn reassemble(fragments: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut total = None;
        for fragment in fragments {
            let header = Header::parse(fragment).expect("valid");
            let start = usize::from(header.fragment_offset);
            let end = start + usize::from(header.payload_len());
            payload.resize(payload.len().max(end), 0);
            payload[start..end].copy_from_slice(header.payload(fragment));
            if !header.more_fragments {
                total = Some(end);
            }
        }
        assert_eq!(total, Some(payload.len()));
        payload
    }

    #[test]
    fn a_packet_that_fits_stays_whole() {
        let whole = packet(&[], &[7; 556], header());
        assert_eq!(fragments(&whole, 576), [whole]);
    }

    /// RFC 791, section 3.1: Options are copied only if they say so.
    #[test]
    fn rfc791_3_1_options_are_copied_only_if_they_say_so() {
        // Record route, which stays in the first, and router alert, which is copied.
        let options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
        let fragments = fragments(&packet(&options, &[7; 1000], header()), 576);
        let first = Header::parse(&fragments[0]).expect("valid");
        assert_eq!(first.options(&fragments[0]), options);
        for later in &fragments[1..] {
            assert_eq!(Header::parse(later).expect("valid").options(later), [148, 4, 0, 0]);
        }
    }

    #[test]
    fn a_fragment_is_cut_further() {
        let middle = Header { more_fragments: true, fragment_offset: 1600, ..header() };
        let fragments = fragments(&packet(&[], &[7; 1200], middle), 576);
        let headers: Vec<_> =
            fragments.iter().map(|fragment| Header::parse(fragment).expect("valid")).collect();
        assert_eq!(
            headers.iter().map(|header| header.fragment_offset).collect::<Vec<_>>(),
            [1600, 2152, 2704]
        );
        assert!(headers.iter().all(|header| header.more_fragments && header.id == 0x1234 && header.ttl == 9));
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let packet = packet(&[], &[7; 100], header());
        let header = Header::parse(&packet).expect("valid");
        assert_eq!(Fragments::new(&packet, &header, 27).map(Iterator::count), Err(Malformed::Length));
        assert_eq!(Fragments::new(&packet, &header, 28).map(Iterator::count), Ok(13));
        assert_eq!(
            Fragments::new(&packet[..19], &header, 576).map(Iterator::count),
            Err(Malformed::Truncated)
        );
        let fragment = Fragments::new(&packet, &header, 28).expect("room").next().expect("a fragment");
        assert_eq!(fragment.write(&mut [0; 27]), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn fragments_put_together_are_the_packet(
            payload in prop::collection::vec(any::<u8>(), 1..5000),
            options in prop::collection::vec(Just(1u8), 0..=40),
            mtu in 68u16..2000,
        ) {
            let options = &options[..options.len() & !3];
            let fragments = fragments(&packet(options, &payload, header()), mtu);
            for fragment in &fragments {
                let parsed = Header::parse(fragment).expect("valid");
                prop_assert!(usize::from(parsed.total_len) == fragment.len() && fragment.len() <= usize::from(mtu));
                prop_assert_eq!((parsed.id, parsed.ttl, parsed.source), (0x1234, 9, SOURCE));
            }
            prop_assert_eq!(reassemble(&fragments), payload);
        }

        #[test]
        fn any_packet_is_cut_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), mtu: u16) {
            if let Ok(header) = Header::parse_embedded(&bytes) {
                let _ = Fragments::new(&bytes, &header, mtu).map(Iterator::count);
            }
            let _ = Fragments::new(&bytes, &self::header(), mtu).map(Iterator::count);
        }
    }
}
