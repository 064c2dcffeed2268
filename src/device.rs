//! All that the gateway knows of a device: the trait that TAP ports implement, and the simulation's segments too.

use std::fmt;
use std::io;

use gatepost_ground::Offload;
use gatepost_ground::offload::SegmentKind;

/// An Ethernet port: whole frames, from the destination's MAC on, without FCS. It never blocks.
///
/// How to learn that a port has become readable or writable is not part of it: each event loop has its
/// own way.
pub trait Port {
    /// What may be left to do in the frames that it sends. Frames received may leave anything to do.
    fn abilities(&self) -> Abilities;

    /// What is at its other end, where the port can tell.
    fn link_state(&self) -> LinkState {
        LinkState::Up
    }

    /// Copies the next frame to `buffer`, and to `rest` what has no room there if the port has long
    /// frames; what does not fit is cut off.
    ///
    /// # Errors
    ///
    /// [`PortError::WouldBlock`] if no frame waits, [`PortError::Gone`] if none will ever come,
    /// [`PortError::Refused`] if this one is no frame; others may wait behind it.
    fn receive(&mut self, buffer: &mut [u8], rest: &mut [u8]) -> Result<Received, PortError>;

    /// Sends `frame`, which leaves `offload` to do. It must be able to.
    ///
    /// # Errors
    ///
    /// See [`PortError`]; the frame has then not been sent.
    fn transmit(&mut self, frame: &[u8], offload: Offload) -> Result<(), PortError>;
}

/// What is at a port's other end, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkState {
    /// Somebody who takes frames, as far as the port can tell.
    Up,
    /// Nobody: the kernel's side has neither bridge nor address, so that frames come to nothing.
    Unattached,
    /// The port is gone, or somebody has set it down.
    Down,
}

impl LinkState {
    /// The name that reports give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Unattached => "unattached",
            Self::Down => "down",
        }
    }
}

/// A frame that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its size, in octets.
    pub len: usize,
    /// What it leaves to do. The frame need not fit it.
    pub offload: Offload,
}

/// What may be left to do in the frames that a port sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// A checksum.
    pub checksum: bool,
    /// Segmentation of TCP.
    pub tcp_segmentation: bool,
    /// Segmentation of UDP.
    pub udp_segmentation: bool,
}

impl Abilities {
    /// Nothing.
    pub const NONE: Self = Self { checksum: false, tcp_segmentation: false, udp_segmentation: false };

    /// Whether `offload` may be left to do.
    pub fn include(self, offload: Offload) -> bool {
        match offload {
            Offload::None | Offload::Verified => true,
            Offload::Checksum(_) => self.checksum,
            Offload::Segmentation(segmentation) => match segmentation.kind {
                SegmentKind::Tcp => self.tcp_segmentation,
                SegmentKind::Udp => self.udp_segmentation,
            },
        }
    }
}

/// Why a port did not do what it was asked.
#[derive(Debug)]
pub enum PortError {
    /// Not now: no frame waits, or there is no room for one.
    WouldBlock,
    /// The port carries nothing at the moment, but may again by itself: somebody set it down.
    Down,
    /// The port does not exist any more and must be opened anew.
    Gone(io::Error),
    /// The port refused this one frame, took only a part of it, or gave one that is none.
    FrameRejected(io::Error),
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("the port is busy"),
            Self::Down => f.write_str("the port is down"),
            Self::Gone(error) => write!(f, "the port is gone: {error}"),
            Self::FrameRejected(error) => write!(f, "the port refused a frame: {error}"),
        }
    }
}

impl std::error::Error for PortError {}
