//! A TAP device with the virtio-net header: frames of up to 64 KiB cross in one piece, their checksums
//! left to whoever they get to. One frame a system call, however long it is.

mod device;
mod virtio;

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use gatepost_dataplane::Offload;

use self::virtio::{Header, Invalid};
use super::{Abilities, Received};

/// A device's queue.
#[derive(Debug)]
pub struct Queue {
    file: File,
    abilities: Abilities,
}

impl Queue {
    /// Creates the device `name` in the calling thread's namespace, or takes one that is there and
    /// persistent.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the kernel leaves nothing to do in its frames; else what it refuses.
    pub fn create(name: &str) -> io::Result<Self> {
        let file = device::create(name)?;
        let abilities = device::enable_offloads(&file).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { file, abilities })
    }

    /// What may be left to do in the frames written.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Reads a frame to `buffer`, and to `rest` what does not fit.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; [`io::ErrorKind::InvalidData`] if the frame's header makes no sense: the next
    /// frame may be better.
    pub fn read(&self, buffer: &mut [u8], rest: &mut [u8]) -> io::Result<Received> {
        let mut header = [0; Header::LEN];
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer), IoSliceMut::new(rest)];
        let read = (&self.file).read_vectored(&mut parts)?;
        let len = read.checked_sub(Header::LEN).ok_or(Invalid)?.min(buffer.len() + rest.len());
        let offload = Header::parse(header).offload(&buffer[..len.min(buffer.len())])?;
        Ok(Received { len, offload })
    }

    /// Writes a frame, and returns how many octets of it were taken.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn write(&self, frame: &[u8], offload: Offload) -> io::Result<usize> {
        let header = Header::of(offload, frame).bytes();
        let written = (&self.file).write_vectored(&[IoSlice::new(&header), IoSlice::new(frame)])?;
        Ok(written.saturating_sub(Header::LEN))
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
