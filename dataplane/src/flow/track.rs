//! Packets of a flow: what each changes of its state, its deadline and its counts.

use gatepost_ground::Instant;

use super::entry::{Packet, Transport};
use super::refused::Refused;
use super::table::{FlowId, FlowTable};
use super::tcp::{self, Timer};
use super::visitors::Visit;
use crate::config::Filtering;
use crate::key::{Address, Direction};
use crate::nat::mapping::space_of;
use crate::table::timer::Tick;

impl<A: Address> FlowTable<A> {
    /// Takes a packet of `direction` of the flow `id`, which was just looked up.
    ///
    /// # Errors
    ///
    /// Why the packet must be dropped: [`Refused::TcpState`] or [`Refused::TcpSequence`] if a segment
    /// is none of the connection's.
    #[inline]
    pub fn track(
        &mut self,
        now: Instant,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
    ) -> Result<(), Refused> {
        let flow = &mut self.flows[id.0];
        let way = direction as usize;
        let from_inside = flow.inside[way];
        let mut is_over = false;
        let (timer, timeout_secs, holds_mapping) = match packet.transport {
            Transport::Tcp(segment) => {
                let timer = flow.tcp.next(direction, &segment, flow.inside)?;
                let phase = flow.tcp.phase();
                is_over = matches!(phase, tcp::Phase::Closing | tcp::Phase::Reset);
                // RFC 7857 section 7.1: an RST refreshes no mapping.
                let holds = timer == Timer::Restart && from_inside && phase != tcp::Phase::Reset;
                (timer, self.timeouts.tcp_secs(phase), holds)
            }
            // RFC 4787 REQ-6: only the inside refreshes.
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
            self.wheel.hasten(id.0, deadline);
        }
        flow.expires = deadline;
        // Once a second is enough.
        if holds_mapping && flow.held != deadline {
            flow.held = deadline;
            if let Some(mapping) = flow.mappings[way] {
                self.mappings.hold(mapping, deadline);
            }
        }
        let is_first = !flow.traffic[way].has_counted();
        flow.traffic[way].count(packet.octets);
        if is_first && self.nat.filtering == Filtering::AddressDependent {
            flow.permission(direction).into_iter().for_each(|permission| self.permissions.add(permission));
        }
        // A conversation that goes on is not looked at again until it is over.
        if flow.visit != Visit::None || is_over {
            if flow.holder.is_some() {
                self.advance(id, direction);
            } else {
                let wanted = flow.visit_after(direction);
                if wanted != flow.visit {
                    flow.visit = self.visitors.advance(id.0, flow.opener(), flow.visit, wanted);
                }
            }
        }
        Ok(())
    }

    /// Sees whether a flow that the inside opened is pending after a packet of `direction`.
    fn advance(&mut self, id: FlowId, direction: Direction) {
        let flow = &mut self.flows[id.0];
        let Some(holder) = flow.holder else { return };
        let (visit, space) = (flow.pending_after(direction), space_of(flow.keys[0].protocol));
        match (core::mem::replace(&mut flow.visit, visit), visit) {
            (Visit::Pending, Visit::None) => self.holders.dequeue(holder, space, id.0),
            (Visit::None, Visit::Pending) => self.holders.enqueue(holder, space, id.0),
            _ => {}
        }
    }
}
