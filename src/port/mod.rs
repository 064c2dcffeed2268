//! Real input and output: TAP devices, the event loop over them, the process's clock, `gatepost run`.
//!
//! [`Port`] is all that the rest of the gateway knows of a device; the simulation's segments implement
//! it too.

use std::fmt;
use std::io;

pub mod clock;
pub mod event_loop;
pub mod netdevice;
mod operator;
mod run;
pub mod tap;

pub use run::run;

/// An Ethernet port: whole frames, from the destination's MAC on, without FCS. It never blocks.
///
/// How to learn that a port has become readable or writable is not part of it: each event loop has its
/// own way.
pub trait Port {
    /// Copies the next frame to `buffer` and returns its length; what does not fit is cut off.
    ///
    /// # Errors
    ///
    /// [`PortError::WouldBlock`] if no frame waits, [`PortError::Gone`] if none will ever come.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, PortError>;

    /// Sends `frame`.
    ///
    /// # Errors
    ///
    /// See [`PortError`]; the frame has then not been sent.
    fn transmit(&mut self, frame: &[u8]) -> Result<(), PortError>;
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
    /// The port refused this one frame or took only a part of it.
    Refused(io::Error),
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("the port is busy"),
            Self::Down => f.write_str("the port is down"),
            Self::Gone(error) => write!(f, "the port is gone: {error}"),
            Self::Refused(error) => write!(f, "the port refused a frame: {error}"),
        }
    }
}

impl std::error::Error for PortError {}
