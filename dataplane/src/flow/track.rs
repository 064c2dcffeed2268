//! Tracking: the changes that a packet makes to the state, the deadline and the counters of its flow.

use gatepost_ground::Instant;

use super::entry::{Entry, Flow, Packet, Transport};
use super::error::FlowError;
use super::half_open::InboundState;
use super::holders::{HolderId, Holders};
use super::store::FlowId;
use super::table::FlowTable;
use super::tcp::{Phase, Timer};
use crate::config::Filtering;
use crate::key::{Address, Direction};
use crate::nat::mapping::space_of;
use crate::table::memory::Memory;
use crate::table::timer::Tick;

impl<A: Address, M: Memory> FlowTable<A, M> {
    /// Tracks a packet of `direction` of the flow `id`, which was just looked up.
    ///
    /// # Errors
    ///
    /// Why the packet must be dropped: [`FlowError::TcpState`] or [`FlowError::TcpSequence`] if a segment does not
    /// fit the connection.
    #[inline]
    pub fn track(
        &mut self,
        now: Instant,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
    ) -> Result<(), FlowError> {
        let (flow, mut nat) = self.flows.get_mut(id);
        let side = direction as usize;
        let from_inside = flow.inside == direction;
        let mut is_over = false;
        let (timer, timeout_secs, holds_mapping) = match packet.transport {
            Transport::Tcp(segment) => {
                let before = flow.tcp.phase();
                let timer = flow.tcp.track(direction, &segment, flow.inside)?;
                let phase = flow.tcp.phase();
                if before != phase {
                    self.log.changed(before, direction, &Flow { entry: flow, nat: nat.as_deref() });
                }
                if before != phase
                    && let Some(nat) = nat.as_deref_mut()
                    && let Some(mapping) = nat.mapping
                {
                    if before == Phase::Established {
                        nat.held = Tick::ZERO;
                        self.mappings.disconnect(mapping);
                        // Its flows that are opening or closing end by then.
                        let latest = Tick::after(now, self.timeouts.tcp_transitory_secs());
                        self.mappings.shorten(mapping, latest);
                    } else if phase == Phase::Established {
                        self.mappings.connect(mapping);
                    }
                }
                is_over = matches!(phase, Phase::Closing | Phase::Reset);
                // RFC 7857, section 7.1: an RST refreshes no mapping.
                let holds = timer == Timer::Restart && from_inside && phase != Phase::Reset;
                (timer, self.timeouts.tcp_secs(phase), holds)
            }
            // RFC 4787, REQ-6: only packets from the inside refresh the mapping.
            _ if !from_inside => (Timer::Keep, 0, false),
            Transport::Udp => (Timer::Restart, self.timeouts.udp_secs, true),
            Transport::IcmpQuery | Transport::IcmpReply => {
                (Timer::Restart, self.timeouts.icmp_query_secs, true)
            }
        };
        let deadline = match timer {
            Timer::Keep => flow.expires,
            Timer::Restart => Tick::after(now, timeout_secs),
            Timer::Shorten => flow.expires.min(Tick::after(now, timeout_secs)),
        };
        if deadline < flow.expires {
            self.wheel.hasten(flow.number, deadline);
        }
        flow.expires = deadline;
        // Deadlines are whole seconds, so the mapping is touched at most once a second.
        if let Some(nat) = nat.as_deref_mut().filter(|nat| holds_mapping && nat.held != deadline) {
            nat.held = deadline;
            if let Some(mapping) = nat.mapping {
                self.mappings.hold(mapping, deadline);
            }
        }
        let is_first = !flow.traffic[side].has_counted();
        flow.traffic[side].count(packet.octets);
        if is_first && from_inside && self.nat.filtering == Filtering::AddressDependent {
            let flow = Flow { entry: flow, nat: nat.as_deref() };
            flow.permission().into_iter().for_each(|permission| self.permissions.add(permission));
        }
        // The state of an established flow can change again only when its connection is over.
        if flow.inbound_state != InboundState::None || is_over {
            if let Some(holder) = flow.holder {
                advance(&mut self.holders, holder, flow, direction);
            } else {
                let wanted = flow.inbound_state_after(direction);
                if wanted != flow.inbound_state {
                    flow.inbound_state =
                        self.half_open.advance(flow.number, flow.opener(), flow.inbound_state, wanted);
                }
            }
        }
        Ok(())
    }
}

/// Updates whether a flow that `holder` opened from the inside is pending after a packet of `direction`.
fn advance<A: Address, M: Memory>(
    holders: &mut Holders<M>,
    holder: HolderId,
    flow: &mut Entry<A>,
    direction: Direction,
) {
    let (state, space) = (flow.pending_after(direction, InboundState::Pending), space_of(flow.key.protocol));
    match (core::mem::replace(&mut flow.inbound_state, state), state) {
        (InboundState::Pending, InboundState::None) => holders.dequeue(holder, space, flow.number),
        (InboundState::None, InboundState::Pending) => holders.enqueue(holder, space, flow.number),
        _ => {}
    }
}
