//! Staged bindings: they are made ahead and receive nothing until all of them are activated at once.
//!
//! A reload builds the new services while the old ones still hold their ports. A staged handle of the stack
//! ([`Stack::stage`](super::Stack::stage)) lets the new services bind the same addresses and ports, and records the
//! bindings. Until [`Stack::activate`](super::Stack::activate) they have no effect, and a failure leaves the old
//! bindings unchanged.
//!
//! The holder of a binding is the handle with the `Notify` in the engine's table. Activation puts the new holder's
//! `Notify` there. The queue stays: waiting datagrams, handshakes in progress and connections that were not accepted
//! go over to the new holder. The old holder receives nothing more from its binding and can still send from it;
//! dropping it closes nothing. It keeps the connections that it has accepted.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use tokio::sync::Notify;

use super::addresses::{Addresses, every};
use super::engine::Engine;

/// The most bindings of one stage.
pub const STAGED_BINDINGS_MAX: usize = 64;

/// The transport of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// The bindings of one staged handle and its clones.
pub(super) struct Stage {
    /// The addresses that the stack will have when the stage is activated.
    addresses: Addresses,
    /// `None` once the stage is activated.
    bindings: RefCell<Option<Vec<Binding>>>,
}

struct Binding {
    transport: Transport,
    local: SocketAddr,
    /// The holder; gone when the listener or socket is dropped.
    holder: Weak<Notify>,
}

impl Stage {
    /// A stage without bindings, of a stack that will have `addresses`.
    pub(super) fn new(addresses: Addresses) -> Self {
        Self { addresses, bindings: RefCell::new(Some(Vec::new())) }
    }

    /// Records a binding and returns the `Notify` that tells its holder of arrivals. `None` if the stage is activated
    /// already.
    pub(super) fn bind(&self, transport: Transport, local: SocketAddr) -> io::Result<Option<Rc<Notify>>> {
        let mut bindings = self.bindings.borrow_mut();
        let Some(bindings) = bindings.as_mut() else { return Ok(None) };
        let address = local.ip();
        if !address.is_unspecified() && !self.addresses.contains(address) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        bindings.retain(|binding| binding.holder.strong_count() > 0);
        if bindings.iter().any(|binding| binding.transport == transport && overlap(binding.local, local)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        if bindings.len() >= STAGED_BINDINGS_MAX {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many staged bindings"));
        }
        let holder = Rc::new(Notify::new());
        bindings.push(Binding { transport, local, holder: Rc::downgrade(&holder) });
        Ok(Some(holder))
    }

    /// Gives `engine` all bindings that still have a holder. Later bindings take effect at once.
    pub(super) fn activate(&self, engine: &mut Engine) {
        for Binding { transport, local, holder } in self.bindings.take().into_iter().flatten() {
            let Some(holder) = holder.upgrade() else { continue };
            match transport {
                Transport::Tcp => engine.tcp.take_over(local, holder),
                Transport::Udp => engine.udp.take_over(local, holder),
            }
        }
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let meets = |one: IpAddr, other: IpAddr| one == other || one == every(other);
    one.port() == other.port() && (meets(one.ip(), other.ip()) || meets(other.ip(), one.ip()))
}
