//! Frames that the dataplane made itself.

use gatepost_ground::{Frame, Offload, PortSet};

/// Frames that the dataplane made itself, each with the ports it goes out of.
#[derive(Debug)]
pub struct Output {
    frames: Vec<(PortSet, Frame)>,
    len: usize,
}

impl Output {
    /// The most frames that one [`process`](crate::Dataplane::process) or
    /// [`handle_timeout`](crate::Dataplane::handle_timeout) can make.
    pub const FRAMES_MAX: usize = 512;

    pub(super) fn new(frame_capacity: usize) -> Self {
        let frames = (0..Self::FRAMES_MAX).map(|_| (PortSet::EMPTY, Frame::with_capacity(frame_capacity)));
        Self { frames: frames.collect(), len: 0 }
    }

    /// Adds a frame that goes out of `ports`; `write` makes it in the buffer it gets, and returns its length. Returns
    /// `false`, and adds nothing, if there is no room or `write` returns `None`.
    pub fn make(&mut self, ports: PortSet, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let Some((slot_ports, frame)) = self.frames.get_mut(self.len) else { return false };
        let Some(len) = write(frame.buffer_mut()) else { return false };
        *slot_ports = ports;
        frame.set_len(len);
        frame.set_offload(Offload::None);
        self.len += 1;
        true
    }

    /// Adds a released frame, and leaves `frame` empty. Returns `false`, and changes nothing, if there is no room.
    pub fn release(&mut self, ports: PortSet, frame: &mut Frame) -> bool {
        let Some((slot_ports, slot)) = self.frames.get_mut(self.len) else { return false };
        frame.give_to(slot);
        *slot_ports = ports;
        self.len += 1;
        true
    }

    /// The number of frames for which there is room.
    pub fn remaining(&self) -> usize {
        self.frames.len() - self.len
    }

    /// Whether no frame was made.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The buffers of the frames made.
    pub(super) fn frames_mut(&mut self) -> impl Iterator<Item = &mut Frame> {
        self.frames[..self.len].iter_mut().map(|(_, frame)| frame)
    }

    /// Forgets the frames.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// The frames made, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PortSet, &Frame)> {
        self.frames[..self.len].iter().map(|(ports, frame)| (*ports, frame))
    }
}
