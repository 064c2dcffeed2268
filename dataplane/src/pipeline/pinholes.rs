//! The commands that open and close pinholes.

use core::fmt;
use core::time::Duration;

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;

use super::Dataplane;
use super::contain::Task;
use super::network::Networks;
use crate::config::Config;
use crate::firewall;
use crate::flow::{FlowError, Opened, Pinhole};
use crate::key::Endpoint;

/// Why there is no pinhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinholeError {
    /// The gateway does not translate in this mode, so no host needs a pinhole.
    NotTranslated,
    /// The protocol is not TCP or UDP, or the port is 0.
    NoPort,
    /// The address is not an inside host's.
    NotInside,
    /// A forward leads to the inside port already, from this external port.
    Forwarded(u16),
    /// There is no room for the pinhole, or no external address.
    Flow(FlowError),
    /// An internal fault of the dataplane.
    Fault,
}

impl fmt::Display for PinholeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTranslated => f.write_str("nothing is translated in this mode"),
            Self::NoPort => f.write_str("it is no port of TCP or UDP"),
            Self::NotInside => f.write_str("the address is not in a network of the inside"),
            Self::Forwarded(port) => write!(f, "a forward leads there from port {port}"),
            Self::Flow(FlowError::TableFull) => f.write_str("there are too many pinholes"),
            Self::Flow(FlowError::HostLimit) => f.write_str("the host has too many pinholes"),
            Self::Flow(FlowError::PortsExhausted) => f.write_str("no external port is free"),
            Self::Flow(FlowError::NoAddress) => f.write_str("the gateway has no such external address"),
            Self::Flow(error) => write!(f, "it does not fit the flow table: {error:?}"),
            Self::Fault => f.write_str("an internal error"),
        }
    }
}

impl core::error::Error for PinholeError {}

impl Dataplane {
    /// Opens `pinhole` for `lifetime`. A pinhole that is open already gets the new `lifetime` from now on and the new
    /// remote. `None` if another worker's dataplane owns the inside port: the command goes to all workers, and one of
    /// them answers.
    ///
    /// # Errors
    ///
    /// Why the pinhole cannot be opened. A pinhole that is open already stays unchanged.
    pub fn open_pinhole(
        &mut self,
        now: Instant,
        pinhole: &Pinhole,
        lifetime: Duration,
    ) -> Option<Result<Opened, PinholeError>> {
        if !self.owns(pinhole.inside) {
            return None;
        }
        if let Err(error) = may_open(&self.config, &self.networks, pinhole.protocol, pinhole.inside) {
            return Some(Err(error));
        }
        let mut outcome = Err(PinholeError::Fault);
        self.contained(now, Task::Command, |dataplane| {
            outcome = dataplane.flows.open_pinhole(now, pinhole, lifetime).map_err(PinholeError::Flow);
        });
        Some(outcome)
    }

    /// Closes the pinholes of an inside endpoint at all external addresses. Returns whether there was one; `None` if
    /// another worker's dataplane owns the port.
    pub fn close_pinholes(&mut self, now: Instant, protocol: Protocol, inside: Endpoint) -> Option<bool> {
        if !self.owns(inside) {
            return None;
        }
        let mut was_open = false;
        self.contained(now, Task::Command, |dataplane| {
            was_open = dataplane.flows.close_pinholes_of(protocol, inside);
        });
        Some(was_open)
    }

    /// Closes the pinholes that the configuration no longer admits.
    pub(super) fn close_forbidden_pinholes(&mut self) {
        let Self { config, flows, networks, .. } = self;
        flows.close_pinholes_where(|mapping| {
            may_open(config, networks, mapping.protocol, mapping.inside).is_err()
        });
    }

    /// Whether this worker owns the packets from the inside endpoint, and so those to the external port of its
    /// mapping.
    fn owns(&self, inside: Endpoint) -> bool {
        self.shard.of_port(inside.port) == self.shard.index()
    }
}

/// Whether `config`, with its `networks`, admits a pinhole for `inside`.
fn may_open(
    config: &Config,
    networks: &Networks,
    protocol: Protocol,
    inside: Endpoint,
) -> Result<(), PinholeError> {
    let is_special = networks.own_role(inside.address).is_some() || networks.is_broadcast(inside.address);
    if !config.mode.translates() {
        return Err(PinholeError::NotTranslated);
    }
    if inside.port == 0 || !matches!(protocol, Protocol::TCP | Protocol::UDP) {
        return Err(PinholeError::NoPort);
    }
    if is_special || !networks.is_inside(inside.address) {
        return Err(PinholeError::NotInside);
    }
    match firewall::external_port(&config.firewall.v4, protocol, inside) {
        Some(port) => Err(PinholeError::Forwarded(port)),
        None => Ok(()),
    }
}
