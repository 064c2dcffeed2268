//! Fragments: packets are fragmented and reassembled by hand. (RFC 791, section 3.2)

use std::collections::{BTreeMap, VecDeque};

use etherparse::{IpFragOffset, Ipv4Header, Ipv4Slice};

/// The most packets with fragments that wait for others; a new packet replaces the oldest.
const PARTIAL_MAX: usize = 64;
/// A fragment begins at a multiple of so many octets.
const UNIT_LEN: usize = 8;

/// In which order fragments are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they are in the packet.
    Forwards,
    /// The last one first.
    Backwards,
    /// Every second one, then the others.
    Interleaved,
}

impl Order {
    /// Each of the orders.
    pub const ALL: [Self; 3] = [Self::Forwards, Self::Backwards, Self::Interleaved];
}

/// Fragments the packet with `header` and `payload`; a fragment's payload has at most `piece_len` octets, a multiple of
/// 8.
pub fn cut(header: &Ipv4Header, payload: &[u8], piece_len: usize, order: Order) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(piece_len);
    let piece = |(number, piece): (usize, &[u8])| {
        let mut header = header.clone();
        let offset = u16::try_from(number * piece_len / UNIT_LEN).expect("a packet is no longer");
        header.fragment_offset = IpFragOffset::try_new(offset).expect("a packet is no longer");
        header.more_fragments = number + 1 < count;
        header.dont_fragment = false;
        with_payload(header, piece)
    };
    let mut pieces: Vec<_> = payload.chunks(piece_len).enumerate().map(piece).collect();
    match order {
        Order::Forwards => {}
        Order::Backwards => pieces.reverse(),
        Order::Interleaved => {
            let (even, odd): (Vec<_>, Vec<_>) =
                pieces.into_iter().enumerate().partition(|(number, _)| number.is_multiple_of(2));
            pieces = even.into_iter().chain(odd).map(|(_, piece)| piece).collect();
        }
    }
    pieces
}

/// The packet with `payload`, its length and its header's checksum.
pub fn with_payload(mut header: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    header.set_payload_len(payload.len()).expect("a packet is no longer");
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes(), payload].concat()
}

/// Puts packets together.
#[derive(Default)]
pub struct Gatherer {
    partial: VecDeque<Partial>,
}

/// A packet being reassembled.
struct Partial {
    key: Key,
    /// Where each fragment begins.
    pieces: BTreeMap<usize, Vec<u8>>,
    /// The payload's length, once the last fragment has come.
    len: Option<usize>,
}

/// Source, destination, protocol and identification.
type Key = ([u8; 4], [u8; 4], u8, u16);

impl Gatherer {
    /// Takes in a packet, and gives back its payload if it is whole, or was the last fragment that was missing.
    pub fn take(&mut self, ip: &Ipv4Slice<'_>) -> Option<Vec<u8>> {
        let (header, payload) = (ip.header(), ip.payload().payload);
        if !header.is_fragmenting_payload() {
            return Some(payload.to_vec());
        }
        let key = (header.source(), header.destination(), header.protocol().0, header.identification());
        let at = self.partial.iter().position(|partial| partial.key == key).unwrap_or_else(|| {
            if self.partial.len() == PARTIAL_MAX {
                self.partial.pop_front();
            }
            self.partial.push_back(Partial { key, pieces: BTreeMap::new(), len: None });
            self.partial.len() - 1
        });
        let partial = self.partial.get_mut(at)?;
        let begins_at = usize::from(header.fragments_offset().value()) * UNIT_LEN;
        if !header.more_fragments() {
            partial.len = Some(begins_at + payload.len());
        }
        partial.pieces.insert(begins_at, payload.to_vec());
        let whole = partial.whole()?;
        self.partial.remove(at);
        Some(whole)
    }
}

impl Partial {
    fn whole(&self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        for (begins_at, piece) in &self.pieces {
            if *begins_at > whole.len() {
                return None;
            }
            whole.truncate(*begins_at);
            whole.extend_from_slice(piece);
        }
        (Some(whole.len()) == self.len).then_some(whole)
    }
}

#[cfg(test)]
mod tests {
    use etherparse::IpNumber;

    use super::*;

    #[test]
    fn a_packet_is_put_together_in_whatever_order_it_comes() {
        let payload: Vec<_> = (0..=255).cycle().take(3_000).collect::<Vec<u8>>();
        for order in Order::ALL {
            let header = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).expect("short");
            let pieces = cut(&header, &payload, 552, order);
            let mut gatherer = Gatherer::default();
            let mut take = |piece: &Vec<u8>| gatherer.take(&Ipv4Slice::from_slice(piece).expect("a packet"));
            let (last, others) = pieces.split_last().expect("six pieces");
            assert!(others.iter().all(|piece| take(piece).is_none() && take(piece).is_none()));
            assert_eq!((pieces.len(), take(last)), (6, Some(payload.clone())), "{order:?}");
            assert!(gatherer.partial.is_empty());
        }
    }

    #[test]
    fn packets_that_stay_partial_give_way() {
        let mut gatherer = Gatherer::default();
        for identification in 0..100 {
            let header = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).expect("short");
            let pieces = cut(&Ipv4Header { identification, ..header }, &[0; 16], 8, Order::Forwards);
            assert_eq!(gatherer.take(&Ipv4Slice::from_slice(&pieces[0]).expect("a packet")), None);
        }
        assert_eq!(gatherer.partial.len(), PARTIAL_MAX);
    }
}
