//! Sockets that neither the standard library nor tokio has a type for: Ethernet frames, pings, and news
//! of network devices.
#![expect(unsafe_code, reason = "two calls have no safe form; each says why it is sound")]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrLike, SockaddrStorage,
    bind, connect, socket,
};
use tokio::io::unix::AsyncFd;

/// The multicast group of link changes. (linux/rtnetlink.h: RTMGRP_LINK)
const LINK_GROUP: u32 = 1;

/// A socket on which messages are awaited.
#[derive(Debug)]
pub struct RawSocket {
    fd: AsyncFd<OwnedFd>,
}

impl RawSocket {
    /// Whole Ethernet frames on the device with number `device_index`, below the kernel's IP (packet(7)).
    /// DHCP needs it: a client without an address cannot be reached by any other socket.
    ///
    /// # Errors
    ///
    /// The process lacks CAP_NET_RAW, or there is no such device.
    pub fn packet(device_index: u32) -> io::Result<Self> {
        let socket = open(AddressFamily::Packet, SockProtocol::EthAll)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::sa_family_t,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: i32::try_from(device_index).map_err(io::Error::other)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointer is to a `sockaddr_ll` of the length given, which outlives the call.
        let address = unsafe { SockaddrStorage::from_raw((&raw const address).cast(), Some(len)) };
        bind(socket.as_raw_fd(), &address.ok_or(Errno::EINVAL)?)?;
        Self::register(socket)
    }

    /// ICMP to and from `peer`. What is sent begins with the ICMP header, what is received with the IP
    /// header (raw(7)).
    ///
    /// # Errors
    ///
    /// The process lacks CAP_NET_RAW, or there is no route.
    pub fn icmp(peer: Ipv4Addr) -> io::Result<Self> {
        let socket = open(AddressFamily::Inet, SockProtocol::Icmp)?;
        connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(peer, 0)))?;
        Self::register(socket)
    }

    /// A message for each change of a network device of this namespace (rtnetlink(7)).
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn device_changes() -> io::Result<Self> {
        let socket = open(AddressFamily::Netlink, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINK_GROUP))?;
        Self::register(socket)
    }

    /// Waits for a message, copies it to `buffer` and returns its length.
    ///
    /// # Errors
    ///
    /// What the kernel reports, for example that the device is gone.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.readable().await?;
            if let Ok(result) = ready.try_io(|fd| Ok(nix::unistd::read(fd, buffer)?)) {
                return result;
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// The socket does not take it now, or there is no way to its destination.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        nix::unistd::write(&self.fd, message)?;
        Ok(())
    }

    fn register(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is open, ours, and neither replaced nor closed before the `AsyncFd` is.
        let fd = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { fd })
    }
}

fn open(family: AddressFamily, protocol: SockProtocol) -> io::Result<OwnedFd> {
    Ok(socket(family, SockType::Raw, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, protocol)?)
}
