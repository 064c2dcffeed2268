//! The blocks of a capture that comes in parts.

use std::io;

use super::{BLOCK_FRAME_LEN, ENHANCED_PACKET, INTERFACE_STATISTICS, OPTION_IF_DROP};

/// The longest block, in octets: more than any that a gateway writes.
const BLOCK_LEN_MAX: usize = 1 << 20;

/// Cuts a capture into its blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    pending: Vec<u8>,
}

/// A whole block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    octets: Vec<u8>,
}

impl Blocks {
    /// Adds octets of the capture.
    pub fn push(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
    }

    /// The next block; `None` if it has not come whole.
    ///
    /// # Errors
    ///
    /// The octets are none of a capture.
    pub fn take(&mut self) -> io::Result<Option<Block>> {
        let Some(len) = u32_at(&self.pending, 4) else { return Ok(None) };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if !(BLOCK_FRAME_LEN..=BLOCK_LEN_MAX).contains(&len) || !len.is_multiple_of(4) {
            return Err(io::Error::other("it sends no capture"));
        }
        if self.pending.len() < len {
            return Ok(None);
        }
        Ok(Some(Block { octets: self.pending.drain(..len).collect() }))
    }
}

impl Block {
    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Whether it has a frame.
    pub fn is_frame(&self) -> bool {
        self.kind() == Some(ENHANCED_PACKET)
    }

    /// The frames that were lost on an interface, if it says so at the capture's end.
    pub fn lost(&self) -> Option<u64> {
        const OPTIONS: usize = 20;
        if self.kind() != Some(INTERFACE_STATISTICS) {
            return None;
        }
        let option = self.octets.get(OPTIONS..)?;
        let (code, value) = (option.first_chunk()?, option.get(4..)?.first_chunk()?);
        (u16::from_le_bytes(*code) == OPTION_IF_DROP).then(|| u64::from_le_bytes(*value))
    }

    fn kind(&self) -> Option<u32> {
        u32_at(&self.octets, 0)
    }
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*octets.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::super::{Direction, PcapNg};
    use super::*;

    #[test]
    fn blocks_come_whole_however_the_capture_is_cut() {
        let mut capture = PcapNg::begin(Vec::new(), ["lan", "wan"]).expect("memory takes it");
        capture.passed(7, 1, Direction::Inbound, &[1; 9], 9, &["why".to_owned()]).expect("memory takes it");
        capture.statistics(8, 0, 0).expect("memory takes it");
        capture.statistics(8, 1, 5).expect("memory takes it");
        let octets = capture.take_written();
        assert!(capture.take_written().is_empty());
        for len in [1, 3, 64, 1_000] {
            let (mut blocks, mut whole) = (Blocks::default(), Vec::new());
            for part in octets.chunks(len) {
                blocks.push(part);
                while let Some(block) = blocks.take().expect("a capture") {
                    whole.push(block);
                }
            }
            let frames: Vec<_> = whole.iter().map(Block::is_frame).collect();
            assert_eq!(frames, [false, false, false, true, false, false]);
            let lost: Vec<_> = whole.iter().filter_map(Block::lost).collect();
            assert_eq!(lost, [0, 5]);
            assert_eq!(whole.iter().flat_map(Block::octets).copied().collect::<Vec<_>>(), octets);
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        for len in [0, 8, 13, u32::MAX] {
            let mut blocks = Blocks::default();
            blocks.push(&[&[0; 4][..], &len.to_le_bytes()].concat());
            assert!(blocks.take().is_err(), "{len}");
        }
    }
}
