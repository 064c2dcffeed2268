//! The two ends of a flow that is to be opened.

use core::net::Ipv4Addr;

use super::holders::Source;
use crate::key::Endpoint;
use crate::nat::MappingId;

/// A flow to be opened, with its client and its server. An endpoint called remote is outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewFlow<A = Ipv4Addr> {
    /// From the inside to the outside.
    Outbound {
        /// The end that opens the flow.
        client: Client<A>,
        /// The end to which the flow is opened.
        remote: Endpoint<A>,
        /// The machine whose quota the flow counts against.
        source: Source,
    },
    /// From the outside to the inside.
    Inbound {
        /// The end that opens the flow.
        remote: Endpoint<A>,
        /// The end to which the flow is opened.
        server: Server<A>,
    },
}

impl<A> NewFlow<A> {
    /// The mapping of the server, if the flow is opened to a mapping.
    pub(super) fn mapped_server(&self) -> Option<MappingId> {
        match self {
            Self::Inbound { server: Server::Mapped(id), .. } => Some(*id),
            _ => None,
        }
    }
}

impl<A: Copy> NewFlow<A> {
    /// The external address of the client's mapping, which exists or will be created.
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
    /// The outside sees the external port of the client's mapping, which exists or will be created.
    Mapped {
        /// The endpoint on the inside.
        inside: Endpoint<A>,
        /// The address that the outside sees.
        external: A,
    },
    /// The outside sees an endpoint that the configuration gives the client.
    Static(StaticMapping<A>),
}

impl<A: Copy> Client<A> {
    /// The address that the outside sees.
    pub fn external_address(&self) -> A {
        match self {
            Self::Mapped { external, .. } => *external,
            Self::Static(mapping) => mapping.external.address,
        }
    }
}

/// An inside endpoint that a flow is opened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server<A = Ipv4Addr> {
    /// The inside endpoint of a mapping, if the mapping's filter admits the client.
    Mapped(MappingId),
    /// An inside endpoint with an external endpoint by configuration: a forward's target, or a service of the
    /// gateway.
    Static(StaticMapping<A>),
}

impl<A> Server<A> {
    /// The endpoint `inside`, which by configuration has the external endpoint `external`.
    pub fn static_mapping(inside: Endpoint<A>, external: Endpoint<A>) -> Self {
        Self::Static(StaticMapping { inside, external })
    }
}

/// An inside endpoint and its external endpoint, by configuration. Both are the same where nothing is translated. A
/// port of an external address must be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticMapping<A = Ipv4Addr> {
    /// The endpoint on the inside.
    pub inside: Endpoint<A>,
    /// The endpoint that the outside sees.
    pub external: Endpoint<A>,
}
