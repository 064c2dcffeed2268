//! The model of eviction: limits, reserves and the flows that may be recycled. Where the table may choose, its choice
//! is checked and taken over.

use super::*;

/// The state of a new flow's search for room.
#[derive(Default)]
struct Search {
    /// Steps tried.
    tried: u32,
    /// 0: it leaves the reserve. 1: it leaves the gateway's part of that. 2: it leaves nothing.
    access: usize,
}

impl Model {
    fn floor(&self) -> usize {
        (self.limits.1 / 4).max(1)
    }

    /// The ports above 1023 that mappings of `protocol` to the address `wan` may have, and those that are free.
    pub(super) fn ports(&self, protocol: Protocol, wan: Ipv4Addr) -> [usize; 2] {
        let high = |range: &RangeInclusive<u16>| (*range.start()).max(1024)..=*range.end();
        let reserved: usize = self.reserved.iter().map(|range| high(range).len()).sum();
        let mappings = self.mappings.iter().filter(|((other, (_, to)), _)| (*other, *to) == (protocol, wan));
        let owned = mappings.filter(|(_, mapping)| mapping.external.port >= 1024).count();
        [64512 - reserved, 64512 - reserved - owned]
    }

    /// Whether an inside endpoint has a port, or there is one for it that leaves so many free.
    pub(super) fn port(
        &self,
        protocol: Protocol,
        (client, wan): Inside,
        reserved_ports: usize,
    ) -> Result<(), FlowError> {
        let has_mapping = self.mappings.contains_key(&(protocol, (client, wan)));
        let [_, free] = self.ports(protocol, wan);
        let is_low_free = || {
            let is_owned = |port: u16| {
                let mut mappings = self.mappings.iter();
                mappings.any(|((other, _), mapping)| {
                    *other == protocol && mapping.external == Endpoint::new(wan, port)
                })
            };
            (1..1024).any(|port| !has(self.reserved, port) && !is_owned(port))
        };
        if has_mapping || free > reserved_ports || client.port < 1024 && is_low_free() {
            Ok(())
        } else {
            Err(FlowError::PortsExhausted)
        }
    }

    /// The flows of `source`, of one protocol's kind or of all.
    fn flows_of(&self, source: Source, space: Option<usize>) -> usize {
        self.of(source, space).count()
    }

    fn of(&self, source: Source, space: Option<usize>) -> impl Iterator<Item = &ModelFlow> {
        let is_of = move |flow: &&ModelFlow| {
            flow.source == Some(source) && space.is_none_or(|space| space_of(flow.keys[0].protocol) == space)
        };
        self.flows.iter().filter(is_of)
    }

    /// The pending flows of `source` in `space`, the oldest first.
    fn pending(&self, source: Source, space: usize) -> Vec<[FlowKey; 2]> {
        let mut pending: Vec<_> =
            self.of(source, Some(space)).filter(|flow| flow.inbound_state == InboundState::Pending).collect();
        pending.sort_by_key(|flow| flow.queued_at);
        pending.into_iter().map(|flow| flow.keys).collect()
    }

    fn sources(&self) -> Vec<Source> {
        let mut sources = Vec::new();
        for source in self.flows.iter().filter_map(|flow| flow.source) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        sources
    }

    fn digits(&self, source: Source, space: usize) -> u32 {
        usize::BITS - self.pending(source, space).len().leading_zeros()
    }

    /// The sources with the most pending flows in `space`, to a power of two.
    fn most_pending(&self, space: usize) -> Vec<Source> {
        let sources = self.sources();
        let most = sources.iter().map(|source| self.digits(*source, space)).max().unwrap_or(0);
        sources.into_iter().filter(|source| most > 0 && self.digits(*source, space) == most).collect()
    }

    /// The flows of `source` in `spaces`, all and pending ones.
    fn counts(&self, source: Source, spaces: &[usize]) -> [usize; 2] {
        [
            spaces.iter().map(|space| self.flows_of(source, Some(*space))).sum(),
            spaces.iter().map(|space| self.pending(source, *space).len()).sum(),
        ]
    }

    /// Whether a flow of `other` may be recycled for `own`.
    fn gives(&self, other: Source, own: Option<Source>, least: usize, spaces: &[usize]) -> bool {
        let [_, own_pending] = own.map_or([0; 2], |own| self.counts(own, spaces));
        let [flows, pending] = self.counts(other, spaces);
        own != Some(other) && flows >= least && pending >= own_pending
    }

    /// The source whose flow is recycled for `own` when `most` has the most pending flows.
    fn candidate(&self, most: Source, own: Option<Source>, least: usize) -> Option<Source> {
        if self.gives(most, own, least, &[0, 1, 2]) {
            return Some(most);
        }
        own.filter(|own| self.counts(*own, &[0, 1, 2])[1] >= least)
    }

    /// The oldest pending flow of the longest queue of `source`.
    fn oldest_of(&self, source: Source) -> Vec<[FlowKey; 2]> {
        let queues = [0, 1, 2].map(|space| self.pending(source, space));
        let longest = queues.iter().map(Vec::len).max().unwrap_or(0);
        queues.into_iter().find(|queue| queue.len() == longest).into_iter().flatten().take(1).collect()
    }

    /// The flow that a source at its own limit loses. A model's queue is shorter than what the table examines.
    fn own_of(&self, source: Source) -> Vec<[FlowKey; 2]> {
        let is_over = |keys: &[FlowKey; 2]| {
            let mut flows = self.flows.iter();
            flows.any(|flow| flow.keys == *keys && matches!(flow.tcp.phase(), Phase::Closing | Phase::Reset))
        };
        let over = self.pending(source, space_of(Protocol::TCP)).into_iter().find(is_over);
        over.map_or_else(|| self.oldest_of(source), |keys| vec![keys])
    }

    /// The flows that may be recycled in the table: sets, one of which the table has ended.
    fn may_give_way(&self, own: Option<Source>, least: usize) -> Vec<Vec<[FlowKey; 2]>> {
        let most: Vec<_> = (0..3).flat_map(|space| self.most_pending(space)).collect();
        let candidates = most.iter().map(|most| self.candidate(*most, own, least));
        let candidates = candidates
            .chain(most.is_empty().then(|| own.filter(|own| self.counts(*own, &[0, 1, 2])[1] >= least)));
        candidates
            .map(|candidate| candidate.map_or(Vec::new(), |candidate| self.oldest_of(candidate)))
            .collect()
    }

    /// The flows that may be recycled for a port of `protocol` of the address `wan`: for each order in which the
    /// holders may be examined, all flows that end.
    fn may_free_port(
        &self,
        own: Source,
        (protocol, wan): (Protocol, Ipv4Addr),
        least: usize,
    ) -> Vec<Vec<[FlowKey; 2]>> {
        let space = space_of(protocol);
        let mut candidates = self.sources();
        candidates.retain(|source| {
            self.digits(*source, space) > 0 && self.gives(*source, Some(own), least, &[space])
        });
        if candidates.is_empty() && self.pending(own, space).len() >= least {
            candidates.push(own);
        }
        let mut may = Vec::new();
        self.free_port_of(&candidates, (protocol, wan), &[], &mut may);
        may
    }

    /// Adds to `may` what ends when `candidates`, of which those with more pending flows come first, are asked for a
    /// port after the flows that have `ended`.
    fn free_port_of(
        &self,
        candidates: &[Source],
        (protocol, wan): (Protocol, Ipv4Addr),
        ended: &[[FlowKey; 2]],
        may: &mut Vec<Vec<[FlowKey; 2]>>,
    ) {
        let space = space_of(protocol);
        let Some(most) = candidates.iter().map(|candidate| self.digits(*candidate, space)).max() else {
            may.push(ended.to_vec());
            return;
        };
        let users = |client: Endpoint, ended: &[[FlowKey; 2]]| {
            let uses = |flow: &&ModelFlow| {
                flow.keys[0].protocol == protocol
                    && flow.mapped.contains(&Some((client, wan)))
                    && !ended.contains(&flow.keys)
            };
            // A pinhole is one more user of its mapping.
            let pinholes = usize::from(self.pinholes.contains_key(&(protocol, (client, wan))));
            pinholes + self.flows.iter().filter(uses).count()
        };
        for candidate in candidates.iter().filter(|candidate| self.digits(**candidate, space) == most) {
            let mut pending = self.pending(*candidate, space);
            pending.retain(|[_, reply]| reply.destination.address == wan);
            if let Some(alone) = pending.iter().find(|keys| users(keys[0].source, ended) == 1) {
                may.push([ended, &[*alone]].concat());
                continue;
            }
            let ended = [ended, &pending].concat();
            if pending.iter().any(|keys| users(keys[0].source, &ended) == 0) {
                may.push(ended);
                continue;
            }
            let others: Vec<_> = candidates.iter().copied().filter(|other| other != candidate).collect();
            self.free_port_of(&others, (protocol, wan), &ended, may);
        }
    }

    /// The oldest flow from outside of those that count against `quota`.
    fn queued_to(&self, quota: Quota) -> Vec<[FlowKey; 2]> {
        let queue = self.queue().into_iter().map(|at| &self.flows[at]);
        queue.filter(|flow| self.quota(flow) == quota).map(|flow| flow.keys).take(1).collect()
    }

    /// Ends the same one of the sets in `may` that the table has ended (`gone`), but leaves the mapping of `server`.
    /// Returns whether there was one.
    fn recycle(
        &mut self,
        may: &[Vec<[FlowKey; 2]>],
        gone: &mut Vec<[FlowKey; 2]>,
        server: Option<(Protocol, Inside)>,
    ) -> bool {
        let is_gone = |set: &&Vec<[FlowKey; 2]>| gone.starts_with(set);
        let sets = may.iter().filter(|set| !set.is_empty());
        let Some(chosen) = sets.clone().find(is_gone).cloned() else {
            assert!(may.iter().any(Vec::is_empty) || sets.count() == 0, "one of {may:?} gives way");
            return false;
        };
        gone.drain(..chosen.len());
        let over: Vec<_> = self.flows.iter().map(|flow| chosen.contains(&flow.keys)).collect();
        self.end_but(server, |at| over[at]);
        true
    }
}

impl Pair {
    /// Whether there is room for a new flow; others may be recycled for it.
    pub(super) fn model_admit(
        &mut self,
        key: &FlowKey,
        client: Option<Inside>,
        server: Option<(Protocol, Inside)>,
        quota: Quota,
        gone: &mut Vec<[FlowKey; 2]>,
    ) -> Result<(), FlowError> {
        let wan = client.map_or(WANS[0], |(_, wan)| wan);
        let [ports, _] = self.model.ports(key.protocol, wan);
        let (mut flows, mut free) = (Search::default(), Search::default());
        let mut tried_own = false;
        loop {
            let leaves = [self.model.limits.0 / 32, self.model.limits.0 / 128, 0][flows.access];
            let reserved_ports = [ports / 8, ports / 32, 0][free.access];
            let admitted = self.model_admits(key, client, server, quota, leaves, reserved_ports);
            let Err(refused) = admitted else { return Ok(()) };
            let own = match quota {
                Quota::Client(source) => Some(source),
                Quota::Server(_) | Quota::Hairpin(_) => None,
            };
            let floor = self.model.floor();
            let has_room = match refused {
                FlowError::HostLimit if !tried_own => {
                    tried_own = true;
                    let may = match quota {
                        Quota::Server(_) => self.model.queued_to(quota),
                        Quota::Client(source) => self.model.own_of(source),
                        _ => Vec::new(),
                    };
                    self.model.recycle(&[may], gone, server)
                }
                FlowError::TableFull => loop {
                    let (before, mut has_recycled) = (flows.access, false);
                    flows.tried += 1;
                    match flows.tried {
                        1 | 3 => {
                            let least = if flows.tried == 1 { floor } else { 0 };
                            let may = match self.model.queue().first() {
                                _ if self.model.flows.len() > self.model.limits.0 => Vec::new(),
                                Some(oldest) => vec![vec![self.model.flows[*oldest].keys]],
                                None if matches!(quota, Quota::Server(_)) => Vec::new(),
                                None => self.model.may_give_way(own, least),
                            };
                            has_recycled = self.model.recycle(&may, gone, server);
                            flows.access = if has_recycled { 2 } else { before };
                        }
                        2 => {
                            let is_entitled = match own {
                                Some(source) => self.model.flows_of(source, None) < floor,
                                None => matches!(quota, Quota::Hairpin(_)),
                            };
                            if is_entitled {
                                flows.access = before.max(1);
                            }
                        }
                        _ => break false,
                    }
                    if has_recycled || flows.access > before {
                        break true;
                    }
                },
                FlowError::PortsExhausted => loop {
                    let (Some(source), access, mut has_recycled) = (own, free.access, false) else {
                        break false;
                    };
                    let space = Some(space_of(key.protocol));
                    free.tried += 1;
                    match free.tried {
                        1 | 3 => {
                            let least = if free.tried == 1 { floor } else { 0 };
                            let may = self.model.may_free_port(source, (key.protocol, wan), least);
                            let [_, before] = self.model.ports(key.protocol, wan);
                            self.model.recycle(&may, gone, server);
                            let [_, after] = self.model.ports(key.protocol, wan);
                            has_recycled = after > before;
                            free.access = if has_recycled { 2 } else { access };
                        }
                        2 if self.model.flows_of(source, space) < floor => free.access = access.max(1),
                        2 => {}
                        _ => break false,
                    }
                    if has_recycled || free.access > access {
                        break true;
                    }
                },
                _ => false,
            };
            if !has_room {
                return Err(refused);
            }
        }
    }

    /// Whether a new flow meets the filter and the limits, and leaves so much room and so many ports free.
    fn model_admits(
        &self,
        key: &FlowKey,
        client: Option<Inside>,
        server: Option<(Protocol, Inside)>,
        quota: Quota,
        leaves: usize,
        reserved_ports: usize,
    ) -> Result<(), FlowError> {
        let from = key.source.address;
        if server.is_some_and(|server| !self.model.admits(server, from)) {
            return Err(FlowError::Filtered);
        }
        if matches!(quota, Quota::Server(_))
            && self.model.inbound_count(from, InboundState::Embryonic) >= self.model.embryonic_each_max()
        {
            return Err(FlowError::RemoteLimit);
        }
        self.model.limit(quota, leaves)?;
        client.map_or(Ok(()), |client| self.model.port(key.protocol, client, reserved_ports))
    }
}
