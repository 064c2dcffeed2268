//! A host's network device: waiting for it, and DHCP on it.

use std::io;
use std::rc::Rc;

use gatepost_services::dhcp::inbox::{SendError, inbox};
use gatepost_services::dhcp::service::Port;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use tokio::task::spawn_local;

use super::raw_socket::RawSocket;
use crate::port::netdevice::NetDevice;

/// The longest frame that matters to DHCP.
const FRAME_LEN_MAX: usize = 2048;

/// Waits until `device`, which is called `name`, exists and is up, and returns its index. Before it is
/// up there is no route through it.
///
/// # Errors
///
/// The kernel's error.
pub async fn wait_for(name: &str, device: &NetDevice) -> io::Result<u32> {
    let changes = RawSocket::device_changes()?;
    loop {
        // Looked up after the subscription, so that no change falls between the two.
        match if_nametoindex(name) {
            Ok(index) if device.is_up()? => return Ok(index),
            Ok(_) | Err(Errno::ENODEV) => {}
            Err(errno) => return Err(errno.into()),
        }
        match changes.receive(&mut [0; 4096]).await {
            // ENOBUFS: changes were lost, so there were some.
            Err(error) if error.raw_os_error() != Some(Errno::ENOBUFS as i32) => return Err(error),
            _ => {}
        }
    }
}

/// Opens `device`, whose number is `index`, for a DHCP server or client.
///
/// # Errors
///
/// The kernel's error.
pub fn dhcp_port(index: u32, device: &NetDevice) -> io::Result<Port<impl Fn(&[u8]) -> bool + use<>>> {
    let socket = Rc::new(RawSocket::packet(index)?);
    let (sender, frames) = inbox();
    let receiver = Rc::clone(&socket);
    spawn_local(async move {
        let mut buffer = [0; FRAME_LEN_MAX];
        while let Ok(len) = receiver.receive(&mut buffer).await {
            // A full inbox loses the frame, as a full queue of a network card would.
            if sender.try_send(buffer[..len].to_vec().into()) == Err(SendError::Closed) {
                break;
            }
        }
    });
    let transmit = move |frame: &[u8]| socket.send(frame).is_ok();
    Ok(Port { mac: device.hardware_address()?, frames, transmit })
}
