//! What it takes to open a flow.

use core::net::Ipv4Addr;

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;

use super::entry::{Egress, Flow, Quota, Transport};
use super::holders::{Holders, Source};
use super::key::{Address, Endpoint, FlowKey};
use super::room::{Reach, Search};
use super::tally::Tally;
use super::timer::Tick;
use super::{FlowId, FlowTable, Refused, tcp};
use crate::config::{Filtering, Nat};
use crate::nat::{Mapping, MappingId};

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

/// An inside endpoint that opens a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client<A = Ipv4Addr> {
    /// It is seen by the external port that its mapping has, or gets.
    Mapped(Endpoint<A>),
    /// It is seen by an endpoint that is its own by configuration.
    Static(Binding<A>),
}

/// An inside endpoint that a flow is opened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server<A = Ipv4Addr> {
    /// The owner of a mapping, if its filter admits the client.
    Mapped(MappingId),
    /// One that is seen by an endpoint that is its own by configuration: a forward's target, or a
    /// service of the gateway.
    Static(Binding<A>),
}

/// An inside endpoint and how the outside sees it, by configuration. Both are the same where nothing is
/// translated. The external port, if it is of the external address, must be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<A = Ipv4Addr> {
    /// The endpoint on the inside.
    pub inside: Endpoint<A>,
    /// The endpoint that the outside sees.
    pub external: Endpoint<A>,
}

impl<A: Address> FlowTable<A> {
    /// Puts in the flow that `new` asks for, for which others may have given way, or says why there cannot be one.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        new: &NewFlow<A>,
        egress: [Egress; 2],
        transport: Transport,
    ) -> Result<FlowId, Refused> {
        let mut search = Search::default();
        loop {
            match self.prepare(now, new, egress, transport, &search) {
                Ok(flow) => return Ok(self.insert(now, flow, self.quota(new))),
                Err(refused) if self.make_room(new, transport.protocol(), refused, &mut search) => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The flow that `new` asks for if there is room so far as it has searched. Only a mapping may be new.
    #[inline]
    fn prepare(
        &mut self,
        now: Instant,
        new: &NewFlow<A>,
        egress: [Egress; 2],
        transport: Transport,
        search: &Search,
    ) -> Result<Flow<A>, Refused> {
        let protocol = transport.protocol();
        if !self.admits(now, protocol, new) {
            return Err(Refused::Filtered);
        }
        match transport {
            Transport::Tcp(segment) if !tcp::opens(segment.flags) => return Err(Refused::TcpState),
            Transport::IcmpReply => return Err(Refused::Unasked),
            Transport::Tcp(_) | Transport::Udp | Transport::IcmpQuery => {}
        }
        if let NewFlow::Inbound { remote, .. } = new
            && Some(remote.address) != self.external_address()
            && !self.visitors.admits(remote.address)
        {
            return Err(Refused::SourceLimit);
        }
        // First, so that nothing gives way to what is refused all the same.
        if self.is_used_up(self.quota(new)) {
            return Err(Refused::HostLimit);
        }
        let leaves = search.flows.reach.leaves_flows(self.flows_max);
        if self.flows.len() >= (self.flows_max - leaves) as usize {
            return Err(Refused::TableFull);
        }

        let mut expires = Tick::after(now, self.timeouts.opening_secs(protocol));
        let (mut client, server) = match *new {
            NewFlow::Outbound { client, remote, .. } => {
                (self.client(protocol, client, search.ports.reach)?, Party::outside(remote))
            }
            NewFlow::Inbound { remote, server } => (Party::outside(remote), self.server(server)),
        };
        if let (NewFlow::Inbound { .. }, Some(mapping)) = (new, server.mapping) {
            // RFC 4787 REQ-6: what comes in does not prolong the mapping.
            expires = expires.min(self.mappings[mapping].held_until);
        }
        let mut keys = [
            FlowKey { protocol, source: client.inner, destination: server.outer },
            FlowKey { protocol, source: server.inner, destination: client.outer },
        ];
        if let Some(mapping) = client.mapping
            && self.lookup(&keys[1]).is_some()
            && self.mappings.move_if_unused(mapping)
        {
            // The port that it would keep is in use towards this very remote: the default machine's, which is
            // not reserved.
            client = Party::mapped(mapping, &self.mappings[mapping]);
            keys[1].destination = client.outer;
        }
        if keys.iter().any(|key| self.lookup(key).is_some()) {
            client.mapping.into_iter().for_each(|mapping| self.mappings.remove_if_unused(mapping));
            return Err(Refused::Ambiguous);
        }
        let mappings = [client.mapping, server.mapping];
        Ok(Flow::new(keys, mappings, [client.inside, server.inside], egress, expires))
    }

    /// Whether the server's filter takes in the client. (RFC 4787 section 5)
    fn admits(&self, now: Instant, protocol: Protocol, new: &NewFlow<A>) -> bool {
        let NewFlow::Inbound { remote, server: Server::Mapped(id) } = *new else { return true };
        // A query names its asker and nobody who would be asked: no identifier leads inside.
        let is_open = protocol != Protocol::ICMP && self.mappings[id].held_until > Tick::at(now);
        is_open
            && match self.nat.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => self.permissions.count((id, remote.address)) > 0,
                Filtering::AddressAndPortDependent => false,
            }
    }

    /// Whether no more flows may count against `quota`. Of a shard among several, one host may have no more
    /// than half, so that what it sends from a single port leaves others their room.
    fn is_used_up(&self, quota: Quota<A>) -> bool {
        let here = self.count(quota);
        let is_crowded = !self.shard.is_sole()
            && !matches!(quota, Quota::Hairpin(_))
            && here >= (self.flows_max / 2).max(1);
        is_crowded || here.saturating_add(self.shares.elsewhere(quota)) >= self.limit_of(quota)
    }

    /// How many flows may count against `quota`, in all shards.
    /// The gateway opens flows for all hosts together: it asks for each name from another port.
    pub(super) fn limit_of(&self, quota: Quota<A>) -> u32 {
        let Nat { flows_max, flows_per_host_max, .. } = self.nat;
        match quota {
            Quota::Client(Source::Gateway) => flows_per_host_max.max(flows_max / 4),
            Quota::Client(Source::Station(..)) | Quota::Server(_) => flows_per_host_max,
            Quota::Client(Source::Stranger(_)) => (flows_per_host_max / STRANGERS_PART).max(1),
            Quota::Hairpin(_) => flows_max,
        }
    }

    /// How many flows of this shard count against `quota`.
    pub(super) fn count(&self, quota: Quota<A>) -> u32 {
        count(&self.holders, &self.quotas, quota)
    }

    /// What a flow counts against.
    pub(super) fn quota_of(&self, flow: &Flow<A>) -> Quota<A> {
        flow.holder.map_or_else(|| flow.inbound_quota(), |holder| Quota::Client(self.holders.source(holder)))
    }

    /// What a flow will be counted against.
    pub(super) fn quota(&self, new: &NewFlow<A>) -> Quota<A> {
        match *new {
            NewFlow::Outbound { source, .. } => Quota::Client(self.holders.resolve(source)),
            NewFlow::Inbound { remote, .. } if Some(remote.address) == self.external_address() => {
                Quota::Hairpin(remote.address)
            }
            NewFlow::Inbound { server, .. } => Quota::Server(self.server(server).inner.address),
        }
    }

    fn client(&mut self, protocol: Protocol, client: Client<A>, reach: Reach) -> Result<Party<A>, Refused> {
        match client {
            Client::Mapped(inside) => {
                let id = self.mappings.find_or_create(protocol, inside, reach)?;
                Ok(Party::mapped(id, &self.mappings[id]))
            }
            Client::Static(binding) => Ok(Party::bound(binding)),
        }
    }

    fn server(&self, server: Server<A>) -> Party<A> {
        match server {
            Server::Mapped(id) => Party::mapped(id, &self.mappings[id]),
            Server::Static(binding) => Party::bound(binding),
        }
    }
}

/// How many flows count against `quota`.
pub(super) fn count<A: Address>(holders: &Holders, quotas: &Tally<Quota<A>>, quota: Quota<A>) -> u32 {
    match quota {
        Quota::Client(source) => holders.count(source),
        Quota::Server(_) | Quota::Hairpin(_) => quotas.count(quota),
    }
}

/// The part of a host's limit that the strangers of a port have together.
const STRANGERS_PART: u32 = 4;

/// One side of a flow.
struct Party<A> {
    /// As it sends.
    inner: Endpoint<A>,
    /// As the other side sees it.
    outer: Endpoint<A>,
    mapping: Option<MappingId>,
    inside: bool,
}

impl<A: Address> Party<A> {
    fn outside(remote: Endpoint<A>) -> Self {
        Self { inner: remote, outer: remote, mapping: None, inside: false }
    }

    fn mapped(id: MappingId, mapping: &Mapping<A>) -> Self {
        Self { inner: mapping.inside, outer: mapping.external, mapping: Some(id), inside: true }
    }

    fn bound(binding: Binding<A>) -> Self {
        Self { inner: binding.inside, outer: binding.external, mapping: None, inside: true }
    }
}
