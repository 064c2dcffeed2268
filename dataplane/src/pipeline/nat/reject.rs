//! The gateway's ICMP errors and TCP resets to senders of packets that get no flow.

use gatepost_ground::wire::{Malformed, Protocol, ethernet, ipv4, tcp, transport};

use crate::explain::Run;
use crate::firewall::{self, syn_reject::Quote};
use crate::flow::{FlowError, Packet, Transport};
use crate::handoff::DeliveryError;
use crate::icmp_error::{IcmpError, may_answer};
use crate::pipeline::Dataplane;
use crate::pipeline::context::Call;
use crate::pipeline::nat_action::{Arrival, NatDirection};

impl<M: Run> Dataplane<M> {
    /// Rejects a packet that got no flow: an inside host gets an ICMP error if a limit was reached, and a reset if its
    /// TCP connection is unknown; a host outside gets the answer of a closed port. A datagram that the mapping's filter
    /// drops is not answered: the inside host may be about to send its own, which opens the filter for the next one.
    pub(super) fn answer_flow_error(
        &mut self,
        call: &mut Call<'_>,
        arrival: Arrival<'_>,
        packet: &Packet,
        error: FlowError,
    ) {
        match (arrival.direction, error, packet.transport) {
            (
                NatDirection::Outbound | NatDirection::HairpinOut,
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
            (NatDirection::HairpinIn, FlowError::TableFull | FlowError::HostLimit, _) => {
                self.reject_untranslated(call, &mut Quote::of_frame(arrival.frame), DeliveryError::NoRoom);
            }
            (NatDirection::Outbound | NatDirection::HairpinOut, FlowError::TcpState, _) => {
                self.reset_unknown(call, arrival);
            }
            // RFC 5382, REQ-4
            (NatDirection::Inbound, FlowError::Filtered, Transport::Tcp(_)) => {
                self.answer_unsolicited(call, arrival, packet);
            }
            _ => {}
        }
    }

    /// Resets the connection of a LAN host whose segment, which opens none, belongs to no flow: the connection is older
    /// than the gateway's last start, or was idle for longer than its flow lived. Nothing that the host sends can reach
    /// the other end any more, as the external port is not known; without the reset the host would send again for
    /// minutes before it connects anew. (RFC 9293, section 3.10.7.1; RFC 5382 has no requirement for this case)
    ///
    /// The reset goes to the hardware address that the segment came from, which need not be known as a neighbour yet. A
    /// source address that is leased or reserved to another machine is not answered.
    fn reset_unknown(&mut self, call: &mut Call<'_>, Arrival { ingress, header, frame, .. }: Arrival<'_>) {
        let segment = tcp::Header::parse(header.payload(frame.packet())).ok();
        let Some(reset) = segment.and_then(|segment| segment.reset()) else { return };
        let (Some(id), Ok(link)) = (self.ingress_interface(ingress), ethernet::Header::parse(frame.bytes()))
        else {
            return;
        };
        let mac = self.config.interface(id).mac();
        let is_broadcast = |address| self.networks.is_broadcast(address);
        if !may_answer(mac, header, frame.packet(), is_broadcast)
            || !self.bindings.may_send(call.now, header.source, link.source)
        {
            return;
        }
        let ports = self.links.ports_to(call.now, id, link.source);
        let link =
            ethernet::Header { destination: link.source, source: mac, ether_type: ethernet::EtherType::IPV4 };
        let is_made = self.error_limits[id].admit(call.now)
            && call.output.make(ports, |buffer| write_reset(buffer, link, header, &reset).ok());
        if is_made {
            self.counters.made += 1;
            self.counters.tcp_resets_made += 1;
        } else {
            self.counters.made_suppressed += 1;
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
                if !self.syn_rejects.push(call.now, Quote::of_frame(arrival.frame)) {
                    self.counters.made_suppressed += 1;
                }
            }
            Transport::Tcp(_) | Transport::IcmpQuery | Transport::IcmpReply => {}
        }
    }
}

/// Writes a frame with `reset`, which answers a packet with the header `answered`, and returns its size in octets.
fn write_reset(
    frame: &mut [u8],
    link: ethernet::Header,
    answered: &ipv4::Header,
    reset: &tcp::Header,
) -> Result<usize, Malformed> {
    const SEGMENT_LEN: u16 = tcp::Header::LEN_MIN as u16;
    let (source, destination) = (answered.destination, answered.source);
    link.write(frame)?;
    let packet = frame.get_mut(ethernet::Header::LEN..).ok_or(Malformed::Truncated)?;
    let header = ipv4::Header::new(source, destination, Protocol::TCP, SEGMENT_LEN);
    ipv4::Header { dont_fragment: true, ..header }.write(packet)?;
    let segment =
        packet.get_mut(ipv4::Header::LEN_MIN..).and_then(|rest| rest.get_mut(..tcp::Header::LEN_MIN));
    let segment = segment.ok_or(Malformed::Truncated)?;
    reset.write(segment)?;
    transport::fill_checksum(source, destination, Protocol::TCP, segment)?;
    Ok(ethernet::Header::LEN + ipv4::Header::LEN_MIN + tcp::Header::LEN_MIN)
}
