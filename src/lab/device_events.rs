//! Waiting for a network device to appear, told by the kernel. (rtnetlink(7))

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;

/// The multicast group of link changes. // linux/rtnetlink.h: RTMGRP_LINK
const LINK_GROUP: u32 = 1;

/// Waits until the device `name` exists in this namespace and returns its index.
///
/// # Errors
///
/// The kernel gives no netlink socket.
pub async fn wait_for(name: &str) -> io::Result<u32> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINK_GROUP))?;
    let socket = AsyncFd::new(socket)?;
    loop {
        // Looked up after the subscription, so that no appearance falls between the two.
        match if_nametoindex(name) {
            Ok(index) => return Ok(index),
            Err(Errno::ENODEV) => next_event(&socket).await?,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits for something to happen to some device.
async fn next_event(socket: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut message = [0; 4096];
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|fd| Ok(nix::unistd::read(fd, &mut message)?)) {
            Ok(Ok(_)) => return Ok(()),
            // ENOBUFS: events were lost, so something has happened.
            Ok(Err(error)) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
}
