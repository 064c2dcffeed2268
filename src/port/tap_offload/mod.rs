//! A TAP device with the virtio-net header: super-frames of up to 64 KiB cross as one frame, with partial checksums.
//! Each system call carries one frame, however long it is.

mod device;
pub mod virtio;

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use gatepost_ground::Offload;
use gatepost_ground::offload::FRAME_LEN_MAX;

use self::virtio::{Header, Invalid};
use crate::device::{Abilities, Received};

pub use self::device::set_persistent;

/// One queue of a device.
#[derive(Debug)]
pub struct Queue {
    file: File,
    abilities: Abilities,
}

impl Queue {
    /// Creates the device `name` with this number of queues in the calling thread's namespace, or opens an existing
    /// persistent one, which may have one queue only. A device that will `persist` can have more queues at a later
    /// start.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the kernel has no offloads; else the kernel's error.
    pub fn create(name: &str, queues: u8, persist: bool) -> io::Result<Vec<Self>> {
        let files = device::create(name, queues, persist)?;
        let abilities = files.first().and_then(device::enable_offloads).ok_or(io::ErrorKind::Unsupported)?;
        Ok(files.into_iter().map(|file| Self { file, abilities }).collect())
    }

    /// A queue without offloads of the persistent device `name`, which no other process has open.
    ///
    /// # Errors
    ///
    /// The kernel's error; `EBUSY` if another process has the device open.
    pub fn take_plain(name: &str) -> io::Result<Self> {
        let (file, _) = device::attach_to_free(name)?;
        device::disable_offloads(&file)?;
        Ok(Self { file, abilities: Abilities::NONE })
    }

    /// The offloads that written frames may have.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Reads a frame to `buffer`, and the octets that do not fit to `rest`.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; [`io::ErrorKind::InvalidData`] if the frame's header is invalid; the next frame may
    /// be valid.
    pub fn read(&self, staging: &mut Staging, buffer: &mut [u8], rest: &mut [u8]) -> io::Result<Received> {
        let is_staged = !staging.expects_long;
        let mut header = [0; Header::LEN];
        let read = if is_staged {
            (&self.file).read(&mut staging.buffer)?
        } else {
            let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer), IoSliceMut::new(rest)];
            (&self.file).read_vectored(&mut parts)?
        };
        let len = read.checked_sub(Header::LEN).ok_or(Invalid)?.min(buffer.len() + rest.len());
        staging.expects_long = len > buffer.len();
        let beginning_len = len.min(buffer.len());
        let beginning = &mut buffer[..beginning_len];
        if is_staged {
            let (staged_header, frame) = staging.buffer[..Header::LEN + len].split_at(Header::LEN);
            header.copy_from_slice(staged_header);
            let (start, end) = frame.split_at(beginning_len);
            beginning.copy_from_slice(start);
            rest[..end.len()].copy_from_slice(end);
        }
        let offload = Header::parse(header).offload(beginning)?;
        Ok(Received { len, offload })
    }

    /// Writes a frame, and returns the number of octets taken.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn write(&self, staging: &mut Staging, frame: &[u8], offload: Offload) -> io::Result<usize> {
        let header = Header::of(offload, frame).bytes();
        let whole_len = Header::LEN + frame.len();
        let written = if frame.len() <= Staging::SHORT_LEN_MAX {
            let whole = &mut staging.buffer[..whole_len];
            whole[..Header::LEN].copy_from_slice(&header);
            whole[Header::LEN..].copy_from_slice(frame);
            (&self.file).write(whole)?
        } else {
            (&self.file).write_vectored(&[IoSlice::new(&header), IoSlice::new(frame)])?
        };
        Ok(written.saturating_sub(Header::LEN))
    }
}

/// A buffer in which a short frame is copied behind its header, so that both cross as one: the copy costs less than
/// the kernel's scatter-gather.
#[derive(Debug)]
pub struct Staging {
    buffer: Box<[u8]>,
    /// Whether the last frame was a long one; then the next is read directly into its buffer.
    expects_long: bool,
}

impl Staging {
    /// The longest frame that is copied to be written.
    const SHORT_LEN_MAX: usize = 2048;

    /// Room for any frame. Memory beyond the longest frame so far is not resident.
    pub fn new() -> Self {
        Self { buffer: vec![0; Header::LEN + FRAME_LEN_MAX].into_boxed_slice(), expects_long: false }
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
