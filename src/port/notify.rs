//! Notifications of the process's state to the service manager. (sd_notify(3))
//!
//! Without `NOTIFY_SOCKET` in the environment no notifications are sent. A manager that does not listen is no reason
//! to stop.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;

use super::clock::monotonic_micros;

/// The service manager.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// The manager that the environment names, or none.
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self { socket: None } };
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket) },
            Err(error) => {
                warn!("the service manager is not told: {}: {error}", name.display());
                Self { socket: None }
            }
        }
    }

    /// Reports that every port and service answers.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=Every port and service answers\n");
    }

    /// Reports that a new configuration is being read; [`Manager::ready`] follows.
    pub fn reloading(&self) {
        // Units of `Type=notify-reload` need the time.
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_micros()));
    }

    /// Reports that the gateway ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    fn tell(&self, state: &str) {
        if let Some((socket, manager)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), manager)
        {
            warn!("the service manager is not told: {error}");
        }
    }
}

/// A socket of our own, and the address of that with the name, which is a path, or begins with `@` in place of the NUL
/// of an abstract name.
fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the gateway.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_in_order() {
        let name = format!("gatepost-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let manager = UnixDatagram::bind_addr(&address).expect("nobody else has it");
        let told = Manager { socket: Some(connect(format!("@{name}").as_ref()).expect("it is there")) };
        told.ready();
        told.reloading();
        told.stopping();
        let mut buffer = [0; 256];
        for expected in ["READY=1\n", "RELOADING=1\nMONOTONIC_USEC=", "STOPPING=1\n"] {
            let len = manager.recv(&mut buffer).expect("it was sent");
            assert!(buffer[..len].starts_with(expected.as_bytes()), "{expected}");
        }
        Manager { socket: None }.ready();
    }
}
