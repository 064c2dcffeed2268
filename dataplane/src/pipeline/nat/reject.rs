//! What the gateway tells the sender of a packet that gets no flow.

use crate::firewall::{self, syn_reject::Quote};
use crate::flow::{FlowError, Packet, Transport};
use crate::handoff::DeliveryError;
use crate::icmp_error::IcmpError;
use crate::pipeline::Dataplane;
use crate::pipeline::context::Call;
use crate::pipeline::nat_action::{Arrival, NatDirection};

impl Dataplane {
    /// Tells the sender that its packet got no flow: tells an inside host that a limit was reached, and a host
    /// outside that the port is closed. A datagram that the mapping's filter drops is not answered: the inside host
    /// may be about to send its own, which opens the filter for the next one.
    pub(super) fn answer_flow_error(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        packet: &Packet,
        error: FlowError,
    ) {
        match (arrival.direction, error, packet.transport) {
            (
                NatDirection::Output | NatDirection::Hairpin,
                FlowError::TableFull | FlowError::HostLimit | FlowError::PortsExhausted,
                _,
            ) => {
                self.reject(
                    call,
                    arrival.ingress,
                    arrival.header,
                    arrival.frame,
                    DeliveryError::NoRoom.into(),
                );
            }
            (NatDirection::HairpinInput, FlowError::TableFull | FlowError::HostLimit, _) => {
                self.reject_undone(call, &mut Quote::of_frame(arrival.frame), DeliveryError::NoRoom);
            }
            // RFC 5382, REQ-4
            (NatDirection::Input, FlowError::Filtered, Transport::Tcp(_)) => {
                self.answer_unsolicited(call, arrival, packet);
            }
            _ => {}
        }
    }

    /// Tells a sender on the WAN that its packet is unsolicited: at once, for a SYN after a delay, and in stealth
    /// mode never.
    pub(super) fn answer_unsolicited(&mut self, call: &mut Call<'_>, arrival: Arrival<'_>, packet: &Packet) {
        if firewall::is_stealthy(&self.config) {
            return;
        }
        match packet.transport {
            Transport::Udp => {
                self.reject(call, arrival.ingress, arrival.header, arrival.frame, IcmpError::PortUnreachable);
            }
            Transport::Tcp(segment) if segment.flags.is_opening() => {
                let packet = arrival.frame.packet();
                if !self.syn_rejects.push(call.now, packet) {
                    self.counters.made_suppressed += 1;
                }
            }
            Transport::Tcp(_) | Transport::IcmpQuery | Transport::IcmpReply => {}
        }
    }
}
