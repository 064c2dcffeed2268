//! A packet socket: whole Ethernet frames on one interface, below the kernel's IP. (packet(7))
//!
//! DHCP needs it: a client without an address cannot be reached by any other socket.
#![expect(unsafe_code, reason = "the standard library has no packet sockets; each call says why it is sound")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;
use tokio::io::unix::AsyncFd;

/// A packet socket bound to one interface, for all protocols.
#[derive(Debug)]
pub struct PacketSocket {
    fd: AsyncFd<OwnedFd>,
}

impl PacketSocket {
    /// Opens a socket on the interface with number `interface_index`.
    ///
    /// # Errors
    ///
    /// The process lacks CAP_NET_RAW, or there is no such interface.
    pub fn open(interface_index: u32) -> io::Result<Self> {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: socket() takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol)) })?;
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: i32::try_from(interface_index).map_err(io::Error::other)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the pointer is to a sockaddr_ll that lives through the call, and the length is its own.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })?;
        Ok(Self { fd: AsyncFd::new(fd)? })
    }

    /// Waits for a frame, copies it to `buffer` and returns its length. Frames that the host itself
    /// sends are seen too.
    ///
    /// # Errors
    ///
    /// The interface went down or away.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.readable().await?;
            let read = |fd: &AsyncFd<OwnedFd>| nix::unistd::read(fd, buffer).map_err(io::Error::from);
            if let Ok(result) = ready.try_io(read) {
                return result;
            }
        }
    }

    /// Sends a frame; `false` if the interface does not take it now.
    pub fn send(&self, frame: &[u8]) -> bool {
        nix::unistd::write(&self.fd, frame).is_ok_and(|written| written == frame.len())
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
