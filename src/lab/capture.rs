//! A capture of the frames at the hosts' devices, on request: pcapng, with an interface for each host.
//!
//! A thread enters the network namespace of each host, opens a packet socket there, and from then on writes frames. A
//! host's device is one end of its cable, so that a frame from one host to another is captured twice, with the time at
//! each. Long frames are cut to [`SNAP_LEN`] octets. Frames that come faster than the disk can write are lost when the
//! sockets' buffers are full.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimestampns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket,
};
use nix::sys::time::TimeSpec;
use nix::unistd::pipe2;

use super::member::Member;
use crate::error::Error;
use crate::pcapng::PcapNg;

/// The captured octets of a frame: all, unless it is a super-frame.
const SNAP_LEN: usize = 2_048;
/// The most octets of a capture; later frames are not written.
const CAPTURE_LEN_MAX: u64 = 1 << 30;
/// The frames read from one socket in a turn.
const TURN_FRAMES_MAX: usize = 256;
/// Turns after the end: more than a full buffer of the shortest frames needs.
const LAST_TURNS_MAX: usize = 64;
/// The buffer of each socket, in octets; the kernel may give less. (socket(7): rmem_max)
const SOCKET_BUFFER_LEN: usize = 4 << 20;
/// The kind of the loopback device. (linux/if_arp.h: ARPHRD_LOOPBACK)
const LOOPBACK: u16 = 772;

/// A host's address and its name in the capture.
type HostName = (Ipv4Addr, String);

/// The file of a capture.
#[derive(Debug)]
pub struct CaptureFile {
    path: PathBuf,
    file: File,
}

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    thread: JoinHandle<io::Result<Written>>,
    names: Sender<HostName>,
    /// Ends the thread when it is closed.
    stop: OwnedFd,
}

/// Why there is no capture in the file of this path, or not all of it.
#[derive(Debug)]
pub struct CaptureError(PathBuf, io::Error);

impl From<CaptureError> for Error {
    fn from(CaptureError(path, why): CaptureError) -> Self {
        let what = format!("cannot capture to {}", path.display());
        Self::failed(what, why, "name a file in a directory of yours with room")
    }
}

/// The outcome of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    frames: u64,
    /// Frames that came after the capture was full.
    refused: u64,
}

/// A frame of one host, until it is written.
struct Caught {
    at_micros: u64,
    interface: u32,
    bytes: Vec<u8>,
    original_len: usize,
}

impl CaptureFile {
    /// Makes the file `path`, or empties it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn create(path: PathBuf) -> Result<Self, CaptureError> {
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(CaptureError(path, error)),
        }
    }
}

impl Capture {
    /// Starts to capture at the devices of `hosts`.
    ///
    /// # Errors
    ///
    /// The hosts' namespaces cannot be entered, or the file cannot be written.
    pub fn begin<'a>(
        to: CaptureFile,
        hosts: impl IntoIterator<Item = &'a Member>,
    ) -> Result<Self, CaptureError> {
        let CaptureFile { path, file } = to;
        let hosts: Vec<_> = hosts.into_iter().map(|host| (host.name().to_owned(), host.pid())).collect();
        let begun = || {
            let (stopped, stop) = pipe2(OFlag::O_CLOEXEC)?;
            let (names, named) = mpsc::channel();
            let (ready, is_ready) = mpsc::channel();
            let thread = thread::Builder::new().name("capture".to_owned()).spawn(move || {
                // Signals are for the thread that ends the lab in order.
                SigSet::all().thread_block()?;
                let sockets = hosts.iter().map(|(_, pid)| open(*pid)).collect::<io::Result<Vec<_>>>()?;
                let capture =
                    PcapNg::begin(BufWriter::new(file), hosts.iter().map(|(name, _)| name.as_str()))?;
                _ = ready.send(());
                write(capture, CAPTURE_LEN_MAX, &sockets, &named, &stopped)
            })?;
            io::Result::Ok((thread, names, stop, is_ready))
        };
        let (thread, names, stop, is_ready) = match begun() {
            Ok(begun) => begun,
            Err(error) => return Err(CaptureError(path, error)),
        };
        if is_ready.recv().is_ok() {
            return Ok(Self { path, thread, names, stop });
        }
        let ended = ended(thread).and_then(|_| Err(io::Error::other("it ended at once")));
        ended.map_err(|error| CaptureError(path, error))
    }

    /// Names the host that has `address`.
    pub fn name(&self, address: Ipv4Addr, name: &str) {
        // A failed capture reports that when it is finished.
        _ = self.names.send((address, name.to_owned()));
    }

    /// Ends the capture, and returns its outcome.
    ///
    /// # Errors
    ///
    /// The file could not be written.
    pub fn finish(self) -> Result<String, CaptureError> {
        drop(self.stop);
        let path = self.path.display();
        match ended(self.thread) {
            Ok(Written { frames, refused: 0 }) => Ok(format!("{path} has {frames} frames")),
            Ok(Written { frames, refused }) => {
                Ok(format!("{path} is full with {frames} frames; {refused} more are not in it"))
            }
            Err(error) => Err(CaptureError(self.path, error)),
        }
    }
}

/// Opens a socket for all frames of the hosts' devices in the network namespace of process `pid`.
fn open(pid: u32) -> io::Result<OwnedFd> {
    // Of this thread only.
    setns(File::open(format!("/proc/{pid}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    // Without a bound device, it captures on devices that are created later, too.
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    setsockopt(&socket, RcvBuf, &SOCKET_BUFFER_LEN)?;
    Ok(socket)
}

/// Writes frames until the other end of `stopped` is closed, and those that wait then at the sockets, up to `len_max`
/// octets and one frame. Hosts that continue to send do not delay the end.
fn write(
    mut capture: PcapNg<impl Write>,
    len_max: u64,
    sockets: &[OwnedFd],
    names: &Receiver<HostName>,
    stopped: &OwnedFd,
) -> io::Result<Written> {
    let mut written = Written::default();
    let mut buffer = vec![0; SNAP_LEN];
    let mut last_turns = 0;
    loop {
        let mut watched: Vec<_> = [stopped]
            .into_iter()
            .chain(sockets)
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .collect();
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_stopped = watched[0].any().unwrap_or(true);
        for (address, name) in names.try_iter() {
            capture.name(address, &name)?;
        }
        let mut caught = Vec::new();
        let mut is_drained = true;
        for (interface, socket) in (0..).zip(sockets) {
            is_drained &= receive(socket, interface, &mut buffer, &mut caught)?;
        }
        caught.sort_by_key(|frame| frame.at_micros);
        for frame in &caught {
            if capture.octets() < len_max {
                capture.frame(frame.at_micros, frame.interface, &frame.bytes, frame.original_len, &[])?;
                written.frames += 1;
            } else {
                written.refused += 1;
            }
        }
        capture.flush()?;
        last_turns += usize::from(is_stopped);
        if is_stopped && (is_drained || last_turns == LAST_TURNS_MAX) {
            capture.finish()?;
            return Ok(written);
        }
    }
}

/// Reads the frames that wait at `socket`, up to [`TURN_FRAMES_MAX`]. Returns whether those were all.
fn receive(
    socket: &OwnedFd,
    interface: u32,
    buffer: &mut [u8],
    caught: &mut Vec<Caught>,
) -> io::Result<bool> {
    for _ in 0..TURN_FRAMES_MAX {
        let mut space = cmsg_space!(TimeSpec);
        let mut buffers = [io::IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
        let received = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags);
        let (original_len, source, time) = match received {
            Ok(message) => {
                let time = message.cmsgs()?.find_map(|message| match message {
                    ControlMessageOwned::ScmTimestampns(time) => Some(time),
                    _ => None,
                });
                (message.bytes, message.address, time)
            }
            Err(Errno::EAGAIN) => return Ok(true),
            // The device was set down, or the buffer was full: later frames are still there.
            Err(Errno::ENETDOWN | Errno::ENOBUFS | Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if source.is_some_and(|source| source.hatype() == LOOPBACK) {
            continue;
        }
        let bytes = buffer[..original_len.min(SNAP_LEN)].to_vec();
        let at_micros = time.map_or(0, micros);
        caught.push(Caught { at_micros, interface, bytes, original_len });
    }
    Ok(false)
}

/// Microseconds since 1970.
fn micros(time: TimeSpec) -> u64 {
    let (secs, nanos) = (time.tv_sec(), time.tv_nsec());
    u64::try_from(secs).unwrap_or(0) * 1_000_000 + u64::try_from(nanos).unwrap_or(0) / 1_000
}

/// Waits for the end of a capture's thread.
fn ended(thread: JoinHandle<io::Result<Written>>) -> io::Result<Written> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// What a capture of at most `len_max` octets comes to if `frames` frames wait at its end.
    fn written(frames: usize, len_max: u64) -> Written {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        setsockopt(&socket, RcvBuf, &SOCKET_BUFFER_LEN).expect("a socket has a buffer");
        for _ in 0..frames {
            let to = socket.local_addr().expect("it is bound");
            socket.send_to(&[7], to).expect("loopback takes it");
        }
        let capture = PcapNg::begin(Vec::new(), ["pc-1"]).expect("memory takes it");
        let (stopped, stop) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        drop(stop);
        let (_names, named) = mpsc::channel();
        write(capture, len_max, &[socket.into()], &named, &stopped).expect("memory takes it")
    }

    #[test]
    fn what_waits_at_the_end_is_in_the_capture() {
        const FRAMES: usize = TURN_FRAMES_MAX + 10;
        assert_eq!(written(FRAMES, u64::MAX), Written { frames: FRAMES as u64, refused: 0 });
    }

    #[test]
    fn what_comes_to_a_full_capture_is_counted() {
        assert_eq!(written(10, 0), Written { frames: 0, refused: 10 });
        let Written { frames, refused } = written(100, 1_000);
        assert!((1..100).contains(&frames), "{frames}");
        assert_eq!(frames + refused, 100);
    }
}
