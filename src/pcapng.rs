//! Captures that Wireshark opens: pcapng with several interfaces, host names, and comments on packets.
//! (draft-ietf-opsawg-pcapng, sections 4.1 to 4.6)
//!
//! Time stamps are microseconds, the format's default. A name may be added at any time; a reader that reads the file
//! once knows the name from there on.

mod blocks;

use std::io::{self, Write};
use std::mem;
use std::net::Ipv4Addr;

pub use blocks::{Block, Blocks};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;
const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_DROP: u16 = 5;
const OPTION_EPB_FLAGS: u16 = 2;
const RECORD_END: u16 = 0;
const RECORD_IPV4: u16 = 1;
/// Octets of a block around its body: type, and the length before and after.
const BLOCK_FRAME_LEN: usize = 12;

/// The direction in which a frame passes an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was received.
    Inbound,
    /// It was sent.
    Outbound,
}

/// A capture that is being written.
pub struct PcapNg<W> {
    out: W,
    octets: u64,
}

impl<W: Write> PcapNg<W> {
    /// Begins a capture on interfaces with these names; the first is interface 0.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn begin<'a>(out: W, interfaces: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        let mut this = Self { out, octets: 0 };
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
            field(&mut interface, OPTION_IF_NAME, name.as_bytes());
            field(&mut interface, OPTION_END, &[]);
            this.block(INTERFACE_DESCRIPTION, &interface)?;
        }
        Ok(this)
    }

    /// Adds a frame that was seen on `interface`, `at_micros` after the epoch, with a comment for each of
    /// `comments`. The frame may be the beginning of one that is `original_len` octets long.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn frame(
        &mut self,
        at_micros: u64,
        interface: u32,
        frame: &[u8],
        original_len: usize,
        comments: &[String],
    ) -> io::Result<()> {
        self.packet((at_micros, interface), None, (frame, original_len), comments)
    }

    /// As [`PcapNg::frame`], with the frame's direction.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn passed(
        &mut self,
        at_micros: u64,
        interface: u32,
        direction: Direction,
        frame: &[u8],
        original_len: usize,
        comments: &[String],
    ) -> io::Result<()> {
        self.packet((at_micros, interface), Some(direction), (frame, original_len), comments)
    }

    fn packet(
        &mut self,
        (at_micros, interface): (u64, u32),
        direction: Option<Direction>,
        (frame, original_len): (&[u8], usize),
        comments: &[String],
    ) -> io::Result<()> {
        let micros = at_micros.to_le_bytes();
        let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        let mut packet = Vec::with_capacity(frame.len() + 24);
        packet.extend(interface.to_le_bytes());
        packet.extend(&micros[4..]);
        packet.extend(&micros[..4]);
        packet.extend(len(frame.len()));
        packet.extend(len(original_len));
        padded(&mut packet, frame);
        for comment in comments {
            field(&mut packet, OPTION_COMMENT, comment.as_bytes());
        }
        if let Some(direction) = direction {
            let flags = match direction {
                Direction::Inbound => 1_u32,
                Direction::Outbound => 2,
            };
            field(&mut packet, OPTION_EPB_FLAGS, &flags.to_le_bytes());
        }
        if !comments.is_empty() || direction.is_some() {
            field(&mut packet, OPTION_END, &[]);
        }
        self.block(ENHANCED_PACKET, &packet)
    }

    /// Adds the number of frames that were lost on `interface` so far.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn statistics(&mut self, at_micros: u64, interface: u32, lost: u64) -> io::Result<()> {
        let micros = at_micros.to_le_bytes();
        let mut statistics = interface.to_le_bytes().to_vec();
        statistics.extend(&micros[4..]);
        statistics.extend(&micros[..4]);
        field(&mut statistics, OPTION_IF_DROP, &lost.to_le_bytes());
        field(&mut statistics, OPTION_END, &[]);
        self.block(INTERFACE_STATISTICS, &statistics)
    }

    /// Names the host that has `address`.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn name(&mut self, address: Ipv4Addr, name: &str) -> io::Result<()> {
        let mut value = address.octets().to_vec();
        value.extend(name.bytes().filter(|octet| *octet != 0));
        value.push(0);
        let mut records = Vec::new();
        field(&mut records, RECORD_IPV4, &value);
        field(&mut records, RECORD_END, &[]);
        self.block(NAME_RESOLUTION, &records)
    }

    /// Octets written so far.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Flushes the writer, so that the file can be read up to here.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Flushes the writer and ends the capture.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.out)
    }

    /// `body` is a multiple of four octets long.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let len = u32::try_from(body.len() + BLOCK_FRAME_LEN).map_err(io::Error::other)?;
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(body)?;
        self.out.write_all(&len.to_le_bytes())?;
        self.octets += u64::from(len);
        Ok(())
    }
}

impl PcapNg<Vec<u8>> {
    /// Takes what was written since the last call.
    pub fn take_written(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }
}

/// Appends an option or a record: its code, the length of its value, and the value, which is cut where the
/// length would not fit.
fn field(block: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    block.extend(code.to_le_bytes());
    block.extend(len.to_le_bytes());
    padded(block, &value[..usize::from(len)]);
}

fn padded(block: &mut Vec<u8>, bytes: &[u8]) {
    block.extend(bytes);
    block.resize(block.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The capture after its section header and the description of `lan0`.
    fn after_interface(capture: PcapNg<Vec<u8>>) -> Vec<u8> {
        let written = capture.octets();
        let bytes = capture.finish().expect("memory takes it");
        assert_eq!(written, bytes.len() as u64);
        bytes[60..].to_vec()
    }

    fn begin() -> PcapNg<Vec<u8>> {
        PcapNg::begin(Vec::new(), ["lan0"]).expect("memory takes it")
    }

    #[test]
    fn a_capture_is_what_the_draft_says() {
        let mut capture = begin();
        let frame = [0xaa, 0xbb, 0xcc];
        capture.frame(0x1_0000_0002, 0, &frame, 5, &[]).expect("memory takes it");
        let bytes = capture.finish().expect("memory takes it");
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
            [5, 0, 0, 0],
            [0xaa, 0xbb, 0xcc, 0],
            [36, 0, 0, 0],
        ];
        assert_eq!(packet, expected.concat());
    }

    #[test]
    fn comments_follow_their_packet() {
        let mut capture = begin();
        capture.frame(0, 0, &[0xaa; 4], 4, &["hi".to_owned(), "all".to_owned()]).expect("memory takes it");
        let packet = after_interface(capture);
        let options = [[1, 0, 2, 0], [b'h', b'i', 0, 0], [1, 0, 3, 0], [b'a', b'l', b'l', 0], [0; 4]];
        assert_eq!(packet[32..52], options.concat());
        assert_eq!(packet[52..], [56, 0, 0, 0]);
    }

    #[test]
    fn a_comment_that_is_too_long_is_cut() {
        let mut capture = begin();
        capture.frame(0, 0, &[], 0, &["x".repeat(70_000)]).expect("memory takes it");
        let packet = after_interface(capture);
        assert_eq!(packet[28..32], [1, 0, 0xff, 0xff]);
        assert_eq!(packet.len(), 28 + 4 + 65_536 + 4 + 4);
    }

    #[test]
    fn a_frame_has_its_direction_after_its_comments() {
        let mut capture = begin();
        let comment = ["hi".to_owned()];
        capture.passed(0, 0, Direction::Outbound, &[0xaa; 4], 4, &comment).expect("memory takes it");
        let packet = after_interface(capture);
        let options = [[1, 0, 2, 0], [b'h', b'i', 0, 0], [2, 0, 4, 0], [2, 0, 0, 0], [0; 4]];
        assert_eq!(packet[32..52], options.concat());
    }

    #[test]
    fn lost_frames_are_a_statistic_of_their_interface() {
        let mut capture = begin();
        capture.statistics(0x1_0000_0002, 0, 7).expect("memory takes it");
        let block = after_interface(capture);
        let expected = [
            [5, 0, 0, 0],
            [40, 0, 0, 0],
            [0, 0, 0, 0],
            [1, 0, 0, 0],
            [2, 0, 0, 0],
            [5, 0, 8, 0],
            [7, 0, 0, 0],
            [0, 0, 0, 0],
            [0, 0, 0, 0],
            [40, 0, 0, 0],
        ];
        assert_eq!(block, expected.concat());
    }

    #[test]
    fn names_are_records() {
        let mut capture = begin();
        capture.name(Ipv4Addr::new(192, 0, 2, 1), "pc\0-1").expect("memory takes it");
        let block = after_interface(capture);
        let expected = [
            [4, 0, 0, 0],
            [32, 0, 0, 0],
            [1, 0, 9, 0],
            [192, 0, 2, 1],
            [b'p', b'c', b'-', b'1'],
            [0, 0, 0, 0],
            [0, 0, 0, 0],
            [32, 0, 0, 0],
        ];
        assert_eq!(block, expected.concat());
    }
}
