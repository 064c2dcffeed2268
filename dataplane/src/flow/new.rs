//! What a flow that is to be opened connects.

use core::net::Ipv4Addr;

use super::holders::Source;
use crate::key::Endpoint;
use crate::nat::MappingId;

/// A flow to be opened: who talks to whom. An endpoint called remote is on the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewFlow<A = Ipv4Addr> {
    /// From the inside to the outside.
    Outbound {
        /// Who opens it.
        client: Client<A>,
        /// To whom.
        remote: Endpoint<A>,
        /// Which machine it counts against.
        source: Source,
    },
    /// From the outside to the inside.
    Inbound {
        /// Who opens it.
        remote: Endpoint<A>,
        /// To whom.
        server: Server<A>,
    },
}

impl<A> NewFlow<A> {
    /// The mapping that it is opened to, if it is.
    pub(super) fn mapped_server(&self) -> Option<MappingId> {
        match self {
            Self::Inbound { server: Server::Mapped(id), .. } => Some(*id),
            _ => None,
        }
    }
}

impl<A: Copy> NewFlow<A> {
    /// The external address of the mapping that its client has, or gets.
    pub(super) fn mapped_client(&self) -> Option<A> {
        match self {
            Self::Outbound { client: Client::Mapped { external, .. }, .. } => Some(*external),
            _ => None,
        }
    }
}

/// An inside endpoint that opens a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client<A = Ipv4Addr> {
    /// It is seen by the external port that its mapping has, or gets.
    Mapped {
        /// The endpoint on the inside.
        inside: Endpoint<A>,
        /// The address that the outside sees.
        external: A,
    },
    /// It is seen by an endpoint that is its own by configuration.
    Static(StaticMapping<A>),
}

impl<A: Copy> Client<A> {
    /// The address that the outside sees.
    pub fn external_address(&self) -> A {
        match self {
            Self::Mapped { external, .. } => *external,
            Self::Static(binding) => binding.external.address,
        }
    }
}

/// An inside endpoint that a flow is opened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server<A = Ipv4Addr> {
    /// The owner of a mapping, if its filter admits the client.
    Mapped(MappingId),
    /// One that is seen by an endpoint that is its own by configuration: a forward's target, or a
    /// service of the gateway.
    Static(StaticMapping<A>),
}

impl<A> Server<A> {
    /// An inside endpoint that the outside sees at `external`, by configuration.
    pub fn seen_as(inside: Endpoint<A>, external: Endpoint<A>) -> Self {
        Self::Static(StaticMapping { inside, external })
    }
}

/// An inside endpoint and how the outside sees it, by configuration. Both are the same where nothing is
/// translated. The external port, if it is of an external address, must be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticMapping<A = Ipv4Addr> {
    /// The endpoint on the inside.
    pub inside: Endpoint<A>,
    /// The endpoint that the outside sees.
    pub external: Endpoint<A>,
}
