//! TCP segments in packets: parsing and building.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, TcpControl, TcpOption, TcpPacket, TcpRepr, TcpSeqNumber};

use super::packet::{Packet, Unreadable, encode};

/// The two ends of a connection, of one family: the gateway's, and the peer's.
pub(super) type Tuple = (SocketAddr, SocketAddr);

/// Feeds both ends of a connection to a keyed hash.
pub(super) fn hash_ends(hasher: &mut impl Hasher, (local, remote): Tuple) {
    for end in [local, remote] {
        match end.ip() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write(&end.port().to_be_bytes());
    }
}

/// A received segment with its ends.
pub(super) struct Segment<'a> {
    /// The segment's packet.
    pub(super) packet: &'a [u8],
    pub(super) tcp: TcpPacket<&'a [u8]>,
    /// The gateway's end and the peer's.
    pub(super) tuple: Tuple,
}

impl<'a> Segment<'a> {
    /// Parses the segment in an unfragmented packet.
    pub(super) fn parse(packet: &Packet<'a>) -> Result<Self, Unreadable> {
        debug_assert_eq!(packet.protocol, IpProtocol::Tcp);
        let tcp = TcpPacket::new_checked(packet.payload).map_err(|_| Unreadable::Malformed)?;
        let (source, destination) = (packet.source, packet.destination);
        if !tcp.verify_checksum(&source.into(), &destination.into()) {
            return Err(Unreadable::Checksum);
        }
        let local = SocketAddr::new(destination, tcp.dst_port());
        let remote = SocketAddr::new(source, tcp.src_port());
        Ok(Self { packet: packet.octets, tcp, tuple: (local, remote) })
    }

    /// Whether it is a SYN without ACK.
    pub(super) fn is_syn(&self) -> bool {
        self.tcp.syn() && !self.tcp.ack() && !self.tcp.rst()
    }

    /// Whether it may be the first segment of a connection after the SYN.
    pub(super) fn is_acknowledgement(&self) -> bool {
        self.tcp.ack() && !self.tcp.syn() && !self.tcp.rst()
    }

    /// The fields of the segment.
    pub(super) fn fields(&self) -> Fields<'a> {
        let tcp = &self.tcp;
        Fields {
            sequence: tcp.seq_number().0 as u32,
            acknowledgement: tcp.ack().then(|| tcp.ack_number().0 as u32),
            is_syn: tcp.syn(),
            is_fin: tcp.fin(),
            is_reset: tcp.rst(),
            window: tcp.window_len(),
            options: Options::parse(tcp.options()),
            payload: tcp.payload(),
        }
    }
}

/// The fields of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) sequence: u32,
    pub(super) acknowledgement: Option<u32>,
    pub(super) is_syn: bool,
    pub(super) is_fin: bool,
    pub(super) is_reset: bool,
    /// The window field, not scaled.
    pub(super) window: u16,
    pub(super) options: Options,
    pub(super) payload: &'a [u8],
}

/// The options of a segment that the stack uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// The maximum segment size, in octets. Zero counts as absent.
    pub(super) segment_size: Option<u16>,
    pub(super) window_shift: Option<u8>,
    pub(super) is_sack_permitted: bool,
    /// The SACK blocks: out-of-order data that the peer has beyond the acknowledgement number. The first one may be a
    /// duplicate report.
    pub(super) blocks: [Option<(u32, u32)>; 3],
    /// The peer's timestamp, and the one that it echoes.
    pub(super) timestamps: Option<(u32, u32)>,
}

impl Options {
    /// Parses options up to the first malformed one.
    fn parse(mut octets: &[u8]) -> Self {
        let mut options = Self::default();
        while let Ok((rest, option)) = TcpOption::parse(octets) {
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(size) => {
                    options.segment_size = Some(size).filter(|size| *size != 0);
                }
                TcpOption::WindowScale(shift) => options.window_shift = Some(shift),
                TcpOption::SackPermitted => options.is_sack_permitted = true,
                TcpOption::SackRange(blocks) => options.blocks = blocks,
                TcpOption::TimeStamp { tsval, tsecr } => options.timestamps = Some((tsval, tsecr)),
                TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
            }
            octets = rest;
        }
        options
    }
}

/// An empty segment.
pub(super) fn empty(from: SocketAddr, to: SocketAddr) -> TcpRepr<'static> {
    TcpRepr {
        src_port: from.port(),
        dst_port: to.port(),
        control: TcpControl::None,
        seq_number: TcpSeqNumber(0),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

/// The packet with `tcp` in it.
pub(super) fn packet(from: SocketAddr, to: SocketAddr, tcp: &TcpRepr<'_>) -> Vec<u8> {
    encode(from.ip(), to.ip(), IpProtocol::Tcp, tcp.buffer_len(), |payload| {
        let mut segment = TcpPacket::new_unchecked(payload);
        tcp.emit(&mut segment, &from.ip().into(), &to.ip().into(), &ChecksumCapabilities::default());
    })
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn each_bit_of_both_ends_counts_in_their_hash() {
        let hash = |tuple| {
            let mut hasher = DefaultHasher::new();
            hash_ends(&mut hasher, tuple);
            hasher.finish()
        };
        let short = |bits: u128| SocketAddr::from((Ipv4Addr::from_bits(bits as u32), (bits >> 32) as u16));
        let long = |bits: u128| SocketAddr::from((Ipv6Addr::from_bits(bits), 7));
        let ends: [(&dyn Fn(u128) -> SocketAddr, u32); 2] = [(&short, 48), (&long, 128)];
        for (end, len) in ends {
            let one = end(1 << 5);
            for changed in (0..len).map(|bit| end(1 << 5 ^ 1 << bit)) {
                assert_ne!(hash((changed, one)), hash((one, one)), "{changed}");
                assert_ne!(hash((one, changed)), hash((one, one)), "{changed}");
            }
        }
    }

    #[test]
    fn options_are_found_or_absent() {
        let all = [
            &[1, 3, 3, 7, 2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8][..],
            &[5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0],
        ]
        .concat();
        let found = Options {
            segment_size: Some(1460),
            window_shift: Some(7),
            is_sack_permitted: true,
            blocks: [Some((1, 2)), None, None],
            timestamps: Some((9, 8)),
        };
        assert_eq!(Options::parse(&all), found);
        for bad in [&[][..], &[0, 2, 4, 5, 180], &[2, 4, 0, 0], &[9, 0, 2, 4, 5, 180], &[2, 4, 5]] {
            assert_eq!(Options::parse(bad), Options::default(), "{bad:?}");
        }
    }
}
