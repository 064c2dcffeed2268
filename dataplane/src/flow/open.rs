//! Opening a flow.

use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;

use super::entry::{Egress, Packet, Record, Transport};
use super::error::FlowError;
use super::eviction::{ReserveAccess, Search};
use super::lookup::KeyHash;
use super::new::{Client, NewFlow, Server, StaticMapping};
use super::store::FlowId;
use super::table::FlowTable;
use super::tcp;
use crate::config::Filtering;
use crate::key::{Address, Direction, Endpoint, FlowKey};
use crate::nat::{Mapping, MappingId};
use crate::table::memory::Memory;
use crate::table::timer::Tick;

impl<A: Address, M: Memory> FlowTable<A, M> {
    /// Opens a flow for `packet`, its first packet, for which [`FlowTable::lookup`] found none. `egress` has the
    /// destination of each direction's packets.
    ///
    /// # Errors
    ///
    /// Why the packet must be dropped. Nothing has changed then, except that flows may have been recycled for a flow
    /// that is rejected for another reason.
    pub fn open(
        &mut self,
        now: Instant,
        new: &NewFlow<A>,
        egress: [Egress; 2],
        packet: &Packet,
    ) -> Result<FlowId, FlowError> {
        let server = new.mapped_server();
        // The mapping must not end with a flow that is recycled for this one.
        server.into_iter().for_each(|mapping| self.mappings.acquire(mapping));
        let inserted = self.admit(now, new, egress, packet.transport);
        server.into_iter().for_each(|mapping| self.mappings.release(mapping));
        let id = inserted?;
        self.track(now, id, Direction::Original, packet)?;
        Ok(id)
    }

    /// Adds the flow that `new` describes, recycling others if needed, or returns why the flow cannot be opened.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        new: &NewFlow<A>,
        egress: [Egress; 2],
        transport: Transport,
    ) -> Result<FlowId, FlowError> {
        let mut search = Search::default();
        loop {
            match self.prepare(now, new, egress, transport, &search) {
                Ok((record, hashes)) => return Ok(self.insert(now, record, hashes, self.quota(new))),
                Err(error) if self.evict_for(new, transport.protocol(), error, &mut search) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Builds the flow that `new` describes, with the hashes of its keys, if there is room for it at this state of
    /// the `search`. Changes nothing except that it may create a mapping.
    #[inline]
    fn prepare(
        &mut self,
        now: Instant,
        new: &NewFlow<A>,
        egress: [Egress; 2],
        transport: Transport,
        search: &Search,
    ) -> Result<(Record<A>, [KeyHash; 2]), FlowError> {
        let protocol = transport.protocol();
        if !self.admits(now, protocol, new) {
            return Err(FlowError::Filtered);
        }
        match transport {
            Transport::Tcp(segment) if !tcp::opens(segment.flags) => return Err(FlowError::TcpState),
            Transport::IcmpReply => return Err(FlowError::Unasked),
            Transport::Tcp(_) | Transport::Udp | Transport::IcmpQuery => {}
        }
        let is_hairpin = self.is_hairpin(new);
        if let NewFlow::Inbound { remote, .. } = new
            && !is_hairpin
            && !self.half_open.admits(remote.address)
        {
            return Err(FlowError::RemoteLimit);
        }
        // The quota is checked first, so that no flow is recycled for one that is rejected anyway.
        if self.is_used_up(self.quota(new)) {
            return Err(FlowError::HostLimit);
        }
        let kept_free = search.flows.access.kept_free_flows(self.flows_max);
        if self.flows.len() >= (self.flows_max - kept_free) as usize {
            return Err(FlowError::TableFull);
        }

        let mut expires = Tick::after(now, self.timeouts.opening_secs(protocol));
        let (mut client, server) = match *new {
            NewFlow::Outbound { client, remote, .. } => {
                (self.client(protocol, client, search.ports.access)?, FlowEnd::outside(remote))
            }
            NewFlow::Inbound { remote, server } => (FlowEnd::outside(remote), self.server(server)),
        };
        if let (NewFlow::Inbound { remote, .. }, Some(mapping)) = (new, server.mapping)
            && !self.pinholes.admit(now, mapping, remote.address)
        {
            // RFC 4787, REQ-6: inbound packets do not refresh the mapping.
            expires = expires.min(self.mappings[mapping].held_until);
        }
        let mut keys = [
            FlowKey { protocol, source: client.internal, destination: server.external },
            FlowKey { protocol, source: server.internal, destination: client.external },
        ];
        let mut hashes = keys.each_ref().map(|key| self.hash(key));
        let mut is_ambiguous = self.lookup_hashed(hashes[1], &keys[1]).is_some();
        if is_ambiguous
            && let Some(mapping) = client.mapping
            && self.mappings.move_if_unused(mapping)
        {
            // The mapping's preferred port is in use towards this remote by a flow to the default host, whose ports
            // are not reserved.
            client = FlowEnd::mapped(mapping, &self.mappings[mapping]);
            keys[1].destination = client.external;
            hashes[1] = self.hash(&keys[1]);
            is_ambiguous = self.lookup_hashed(hashes[1], &keys[1]).is_some();
        }
        if is_ambiguous || self.lookup_hashed(hashes[0], &keys[0]).is_some() {
            client.mapping.into_iter().for_each(|mapping| self.mappings.remove_if_unused(mapping));
            return Err(FlowError::Ambiguous);
        }
        let (inside, mapping) = match new {
            NewFlow::Outbound { .. } => (Direction::Original, client.mapping),
            NewFlow::Inbound { .. } => (Direction::Reply, server.mapping),
        };
        Ok((Record::new(keys, mapping, inside, egress, expires, is_hairpin), hashes))
    }

    /// Whether the server's filter admits the client. (RFC 4787, section 5)
    fn admits(&self, now: Instant, protocol: Protocol, new: &NewFlow<A>) -> bool {
        let NewFlow::Inbound { remote, server: Server::Mapped(id) } = *new else { return true };
        // An ICMP query has the identifier of its sender only, so no identifier leads to an inside host.
        if self.pinholes.admit(now, id, remote.address) {
            return true;
        }
        let is_open = protocol != Protocol::ICMP && self.mappings[id].held_until > Tick::at(now);
        is_open
            && match self.nat.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => self.permissions.count((id, remote.address)) > 0,
                Filtering::AddressAndPortDependent => false,
            }
    }

    fn client(
        &mut self,
        protocol: Protocol,
        client: Client<A>,
        access: ReserveAccess,
    ) -> Result<FlowEnd<A>, FlowError> {
        match client {
            Client::Mapped { inside, external } => {
                let keep_free = |ports| access.kept_free_ports(ports);
                let id = self.mappings.find_or_create(protocol, inside, external, keep_free)?;
                Ok(FlowEnd::mapped(id, &self.mappings[id]))
            }
            Client::Static(mapping) => Ok(FlowEnd::from_static(mapping)),
        }
    }

    /// The address of the inside host that is `server`.
    pub fn server_host(&self, server: &Server<A>) -> A {
        match server {
            Server::Mapped(id) => self.mappings[*id].inside.address,
            Server::Static(mapping) => mapping.inside.address,
        }
    }

    fn server(&self, server: Server<A>) -> FlowEnd<A> {
        match server {
            Server::Mapped(id) => FlowEnd::mapped(id, &self.mappings[id]),
            Server::Static(mapping) => FlowEnd::from_static(mapping),
        }
    }
}

/// One end of a flow, before the flow exists.
struct FlowEnd<A> {
    /// The endpoint as its own packets have it.
    internal: Endpoint<A>,
    /// The endpoint as the other side sees it; the same for a remote endpoint.
    external: Endpoint<A>,
    mapping: Option<MappingId>,
}

impl<A: Address> FlowEnd<A> {
    fn outside(remote: Endpoint<A>) -> Self {
        Self { internal: remote, external: remote, mapping: None }
    }

    fn mapped(id: MappingId, mapping: &Mapping<A>) -> Self {
        Self { internal: mapping.inside, external: mapping.external, mapping: Some(id) }
    }

    fn from_static(mapping: StaticMapping<A>) -> Self {
        Self { internal: mapping.inside, external: mapping.external, mapping: None }
    }
}
