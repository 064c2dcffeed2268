//! Writes captures that Wireshark opens: pcapng, every segment an interface.
//! (draft-ietf-opsawg-pcapng: sections 4.1 to 4.3)

use std::io::{self, Write};

use gatepost_dataplane::Instant;

use super::segment::SegmentId;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;
const OPTION_END: u16 = 0;
const OPTION_IF_NAME: u16 = 2;
/// Octets of a block around its body: type, and the length before and after.
const BLOCK_FRAME_LEN: usize = 12;

/// A capture in the making. Time stamps are microseconds, the format's default.
pub struct PcapNg<W> {
    out: W,
}

impl<W: Write> PcapNg<W> {
    /// Begins a capture on interfaces with these names; the first is segment 0.
    ///
    /// # Errors
    ///
    /// What the writer refuses.
    pub fn begin<'a>(out: W, interfaces: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        let mut this = Self { out };
        let mut section = Vec::new();
        section.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        section.extend(1_u16.to_le_bytes());
        section.extend(0_u16.to_le_bytes());
        section.extend(u64::MAX.to_le_bytes());
        this.block(SECTION_HEADER, &section)?;
        for name in interfaces {
            let mut interface = Vec::new();
            interface.extend(LINKTYPE_ETHERNET.to_le_bytes());
            interface.extend(0_u16.to_le_bytes());
            interface.extend(0_u32.to_le_bytes());
            interface.extend(OPTION_IF_NAME.to_le_bytes());
            interface.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
            interface.extend(padded(name.as_bytes()));
            interface.extend(OPTION_END.to_le_bytes());
            interface.extend(0_u16.to_le_bytes());
            this.block(INTERFACE_DESCRIPTION, &interface)?;
        }
        Ok(this)
    }

    /// Adds a frame.
    ///
    /// # Errors
    ///
    /// What the writer refuses.
    pub fn frame(&mut self, at: Instant, segment: SegmentId, frame: &[u8]) -> io::Result<()> {
        let micros = at.as_micros().to_le_bytes();
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut packet = Vec::with_capacity(frame.len() + 24);
        packet.extend(u32::from(segment.0).to_le_bytes());
        packet.extend(&micros[4..]);
        packet.extend(&micros[..4]);
        packet.extend(len);
        packet.extend(len);
        packet.extend(padded(frame));
        self.block(ENHANCED_PACKET, &packet)
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    ///
    /// What the writer refuses.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// `body` is a multiple of four octets long.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let len = u32::try_from(body.len() + BLOCK_FRAME_LEN).map_err(io::Error::other)?.to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len)?;
        self.out.write_all(body)?;
        self.out.write_all(&len)
    }
}

fn padded(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let padding = bytes.len().next_multiple_of(4) - bytes.len();
    bytes.iter().copied().chain(std::iter::repeat_n(0, padding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_what_the_draft_says() {
        let mut capture = PcapNg::begin(Vec::new(), ["lan0"]).unwrap();
        capture.frame(Instant::from_micros(0x1_0000_0002), SegmentId(0), &[0xaa, 0xbb, 0xcc]).unwrap();
        let bytes = capture.finish().unwrap();
        let (section, rest) = bytes.split_at(28);
        assert_eq!(section[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
        assert_eq!((section[4], section[24]), (28, 28));
        let (interface, packet) = rest.split_at(32);
        assert_eq!(interface[..10], [1, 0, 0, 0, 32, 0, 0, 0, 1, 0]);
        assert_eq!(interface[16..24], [2, 0, 4, 0, b'l', b'a', b'n', b'0']);
        let expected = [
            [6, 0, 0, 0],
            [36, 0, 0, 0],
            [0, 0, 0, 0],
            [1, 0, 0, 0],
            [2, 0, 0, 0],
            [3, 0, 0, 0],
            [3, 0, 0, 0],
            [0xaa, 0xbb, 0xcc, 0],
            [36, 0, 0, 0],
        ];
        assert_eq!(packet, expected.concat());
    }
}
