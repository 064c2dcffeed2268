//! A TAP device with the virtio-net header: frames of up to 64 KiB cross in one piece, their checksums
//! left to whoever they get to. One frame a system call, however long it is.

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
    /// Creates the device `name` with so many queues in the calling thread's namespace, or takes one that is there and
    /// persistent; that may have one queue only. One that will `persist` can have more queues another time.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the kernel leaves nothing to do in its frames; else what it refuses.
    pub fn create(name: &str, queues: u8, persist: bool) -> io::Result<Vec<Self>> {
        let files = device::create(name, queues, persist)?;
        let abilities = files.first().and_then(device::enable_offloads).ok_or(io::ErrorKind::Unsupported)?;
        Ok(files.into_iter().map(|file| Self { file, abilities }).collect())
    }

    /// A queue of the persistent device `name` that nobody has, in whose frames nothing is left to do.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; `EBUSY` if somebody has the device.
    pub fn take_plain(name: &str) -> io::Result<Self> {
        let (file, _) = device::attach_to_free(name)?;
        device::disable_offloads(&file)?;
        Ok(Self { file, abilities: Abilities::NONE })
    }

    /// What may be left to do in the frames written.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Reads a frame to `buffer`, and to `rest` what does not fit.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; [`io::ErrorKind::InvalidData`] if the frame's header makes no sense: the next frame
    /// may be better.
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

    /// Writes a frame, and returns how many octets of it were taken.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
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

/// Where a short frame stands behind its header, to cross in one piece: for the kernel, to gather it from two places costs
/// more than the copy does.
#[derive(Debug)]
pub struct Staging {
    buffer: Box<[u8]>,
    /// Whether the frame before was a long one: then the next is read to its place at once.
    expects_long: bool,
}

impl Staging {
    /// The longest frame that is copied to be written.
    const SHORT_LEN_MAX: usize = 2048;

    /// Room for any frame; memory that only short ones have used is not resident beyond these.
    pub fn new() -> Self {
        Self { buffer: vec![0; Header::LEN + FRAME_LEN_MAX].into_boxed_slice(), expects_long: false }
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
