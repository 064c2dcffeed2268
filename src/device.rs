//! The gateway's view of a device: a trait that TAP ports and the simulation's segments implement.

use std::fmt;
use std::io;

use gatepost_ground::Offload;
use gatepost_ground::offload::SegmentKind;

/// An Ethernet port: whole frames, from the destination's MAC on, without FCS. It never blocks.
///
/// The trait does not cover readiness: each event loop has its own way to learn that a port has become readable or
/// writable.
pub trait Port {
    /// The offloads that sent frames may have. Received frames may have any offload.
    fn abilities(&self) -> Abilities;

    /// The link state, if the port reports one.
    fn link_state(&self) -> LinkState {
        LinkState::Up
    }

    /// Copies the next frame to `buffer`, and the octets that do not fit to `rest` if the port has long frames.
    /// Octets that do not fit there are cut off.
    ///
    /// # Errors
    ///
    /// [`PortError::WouldBlock`] if no frame waits, [`PortError::Gone`] if none will ever come,
    /// [`PortError::FrameRejected`] if this one is not a valid frame; others may wait behind it.
    fn receive(&mut self, buffer: &mut [u8], rest: &mut [u8]) -> Result<Received, PortError>;

    /// Sends `frame` with `offload`, which must be among the port's [`Abilities`].
    ///
    /// # Errors
    ///
    /// See [`PortError`]; the frame has then not been sent.
    fn transmit(&mut self, frame: &[u8], offload: Offload) -> Result<(), PortError>;
}

/// The link state of a port, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkState {
    /// A station or a bridge receives the frames, as far as the port can determine.
    Up,
    /// The kernel's side has neither bridge nor address, so that no one receives the frames.
    Unattached,
    /// The port is gone or set down.
    Down,
}

impl LinkState {
    /// The name in reports.
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
    /// The frame's length, in octets.
    pub len: usize,
    /// The frame's offload, which is not verified to fit the frame.
    pub offload: Offload,
}

/// The offloads that a port can send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Partial checksums.
    pub checksum: bool,
    /// TCP super-frames.
    pub tcp_segmentation: bool,
    /// UDP super-frames.
    pub udp_segmentation: bool,
}

impl Abilities {
    /// No offloads.
    pub const NONE: Self = Self { checksum: false, tcp_segmentation: false, udp_segmentation: false };

    /// Whether the port can send `offload`.
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

/// Why a port could not receive or send a frame.
#[derive(Debug)]
pub enum PortError {
    /// Not now: no frame waits, or there is no room for one.
    WouldBlock,
    /// The port is set down, and carries no frames until it is set up again.
    Down,
    /// The port does not exist any more and must be opened again.
    Gone(io::Error),
    /// The port rejected this frame, accepted only a part of it, or returned an invalid one.
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
