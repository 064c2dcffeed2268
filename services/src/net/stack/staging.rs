//! Staged binds: a service makes them ahead, and they receive nothing until all of them are activated at once.
//!
//! A reload builds the new services while the old ones still hold their ports. A staged handle of the stack
//! ([`Stack::stage`](super::Stack::stage)) lets the new services bind the same addresses and ports, and records the
//! binds. Until [`Stack::activate`](super::Stack::activate) they have no effect, and a failure leaves the old
//! ones unchanged.
//!
//! A listener or UDP socket belongs to the handle whose `Notify` is in the engine's table. Activation puts the new
//! handle's `Notify` there. The queue stays: waiting datagrams, handshakes in progress and connections that were not
//! accepted go over to the new handle. The old handle receives nothing more and can still send; dropping it closes
//! nothing. It keeps the connections that it has accepted.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use tokio::sync::Notify;

use super::addresses::{Addresses, wildcard};
use super::engine::Engine;

/// The most binds that wait for one activation.
pub const STAGED_BINDINGS_MAX: usize = 64;

/// The transport of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// The binds of one staged handle and its clones that wait for activation.
pub(super) struct PendingBinds {
    /// The addresses that the stack will have at activation.
    addresses: Addresses,
    /// `None` after activation.
    binds: RefCell<Option<Vec<PendingBind>>>,
}

struct PendingBind {
    transport: Transport,
    local: SocketAddr,
    /// The `Notify` of the listener or socket; gone when it is dropped.
    handle: Weak<Notify>,
}

impl PendingBinds {
    /// No binds, for a stack that will have `addresses`.
    pub(super) fn new(addresses: Addresses) -> Self {
        Self { addresses, binds: RefCell::new(Some(Vec::new())) }
    }

    /// Records a bind and returns the `Notify` that signals arrivals to its handle. `None` after activation.
    pub(super) fn bind(&self, transport: Transport, local: SocketAddr) -> io::Result<Option<Rc<Notify>>> {
        let mut binds = self.binds.borrow_mut();
        let Some(binds) = binds.as_mut() else { return Ok(None) };
        let address = local.ip();
        if !address.is_unspecified() && !self.addresses.contains(address) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        binds.retain(|bind| bind.handle.strong_count() > 0);
        if binds.iter().any(|bind| bind.transport == transport && overlap(bind.local, local)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        if binds.len() >= STAGED_BINDINGS_MAX {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many staged bindings"));
        }
        let handle = Rc::new(Notify::new());
        binds.push(PendingBind { transport, local, handle: Rc::downgrade(&handle) });
        Ok(Some(handle))
    }

    /// Gives `engine` all binds whose handle still exists. Later binds take effect at once.
    pub(super) fn activate(&self, engine: &mut Engine) {
        for PendingBind { transport, local, handle } in self.binds.take().into_iter().flatten() {
            let Some(handle) = handle.upgrade() else { continue };
            match transport {
                Transport::Tcp => engine.tcp.take_over(local, handle),
                Transport::Udp => engine.udp.take_over(local, handle),
            }
        }
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let meets = |one: IpAddr, other: IpAddr| one == other || one == wildcard(other);
    one.port() == other.port() && (meets(one.ip(), other.ip()) || meets(other.ip(), one.ip()))
}
