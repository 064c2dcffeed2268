//! The stack as a state machine: packets and the time in, packets out.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use gatepost_ground::wire::{checksum, icmpv4, ipv4};
use gatepost_ground::{EchoLimit, Instant};
use ipnet::IpNet;
use rand::RngExt;
use rand::rngs::StdRng;
use smoltcp::wire::IpProtocol;
use tokio::sync::Notify;

use super::access::Access;
use super::addresses::{Addresses, is_unicast};
use super::ip::IpLayer;
use super::packet::Packet;
use super::reassembly::Reassembly;
use super::segment::Segment;
use super::tcp::{SocketId, Tcp};
use super::udp::Udp;
use super::{StackConfig, StackCounters};

/// RFC 791, section 3.2: the size that every host accepts; a smaller MTU allows no useful segment.
const MTU_MIN: usize = 576;

/// The origin of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Another host, by the dataplane.
    Network,
    /// The stack itself, to one of its own addresses.
    Own,
}

/// The state of the stack.
pub(super) struct Engine {
    pub(super) ip: IpLayer,
    pub(super) tcp: Tcp,
    pub(super) udp: Udp,
    pub(super) access: Access,
    reassembly: Reassembly,
    counters: StackCounters,
    echo_limit: EchoLimit,
    rng: StdRng,
}

impl Engine {
    pub(super) fn new(now: Instant, config: StackConfig, mut rng: StdRng) -> Self {
        let mtu = config.mtu.max(MTU_MIN);
        Self {
            ip: IpLayer::new(now, mtu, &mut rng),
            tcp: Tcp::new(config, mtu, &mut rng),
            udp: Udp::new(config.udp_sockets_max),
            access: Access::default(),
            reassembly: Reassembly::new(now, mtu, &mut rng),
            counters: StackCounters::default(),
            echo_limit: EchoLimit::new(rng.random(), 1),
            rng,
        }
    }

    pub(super) fn counters(&self) -> StackCounters {
        StackCounters {
            connections: self.tcp.len() as u64,
            half_open: self.tcp.half_open() as u64,
            tcp_memory: self.tcp.memory() as u64,
            replies_dropped_outbox_full: self.ip.replies_dropped,
            ..self.counters.clone()
        }
    }

    pub(super) fn set_addresses(&mut self, networks: &[IpNet]) {
        let addresses = Addresses::new(networks);
        self.tcp.retain_addresses(|address| addresses.contains(address));
        self.reassembly.set_addresses(addresses.clone());
        self.ip.set_addresses(addresses);
    }

    /// Processes a packet. Octets behind its end are ignored.
    pub(super) fn handle_packet(&mut self, now: Instant, packet: &[u8], origin: Origin) {
        let packet = match Packet::parse(packet) {
            Ok(packet) => packet,
            Err(why) => return self.counters.count_unreadable(why),
        };
        if !self.is_acceptable(&packet, origin) {
            self.counters.packets_not_ours += 1;
        } else if !packet.is_fragment {
            self.deliver(now, &packet);
        } else {
            self.counters.fragments += 1;
            if let Some(whole) = self.reassembly.receive(now, &packet) {
                self.counters.packets_reassembled += 1;
                match Packet::parse(&whole) {
                    Ok(whole) => self.deliver(now, &whole),
                    Err(why) => self.counters.count_unreadable(why),
                }
            }
        }
    }

    /// Counts an IPv6 packet, which the stack does not accept.
    pub(super) fn count_ipv6(&mut self) {
        self.counters.packets_malformed += 1;
    }

    /// Lets all TCP sockets with something to send take turns, as far as the outbox has room.
    pub(super) fn poll(&mut self, now: Instant) {
        self.tcp.poll(now, &mut self.ip);
    }

    pub(super) fn listen(&mut self, local: SocketAddr) -> io::Result<(SocketAddr, Rc<Notify>)> {
        self.check_local(local)?;
        self.tcp.listen(local, &mut self.rng)
    }

    pub(super) fn bind_udp(&mut self, local: SocketAddr) -> io::Result<(SocketAddr, Rc<Notify>)> {
        self.check_local(local)?;
        self.udp.bind(local, &mut self.rng)
    }

    /// Sends a datagram. `Ok(false)` if there is no room in the outbox.
    pub(super) fn send_udp(
        &mut self,
        local: SocketAddr,
        datagram: &[u8],
        remote: SocketAddr,
    ) -> io::Result<bool> {
        self.udp.send(local, datagram, remote, &mut self.ip)
    }

    pub(super) fn connect(&mut self, now: Instant, remote: SocketAddr) -> io::Result<SocketId> {
        let address = remote.ip();
        let is_host = is_unicast(address) && !self.ip.addresses.is_broadcast(address);
        if remote.port() == 0 || address.is_unspecified() || address.is_loopback() || !is_host {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the address of a host"));
        }
        let source = self.ip.addresses.source_for(address).ok_or(io::ErrorKind::NetworkUnreachable)?;
        self.tcp.connect(now, source, remote, &mut self.rng)
    }

    /// Whether a host takes such a packet at all (RFC 1122, section 3.2.1.3).
    fn is_acceptable(&self, packet: &Packet<'_>, origin: Origin) -> bool {
        let (source, destination) = (packet.source, packet.destination);
        let addresses = &self.ip.addresses;
        let is_for_us = addresses.contains(destination) || addresses.is_broadcast(destination);
        let is_from_host = is_unicast(source)
            && !source.is_unspecified()
            && !source.is_loopback()
            && !addresses.is_broadcast(source);
        is_for_us && is_from_host && addresses.contains(source) == (origin == Origin::Own)
    }

    /// Delivers an unfragmented packet to its UDP or TCP socket.
    fn deliver(&mut self, now: Instant, packet: &Packet<'_>) {
        let is_to_us_only = self.ip.addresses.contains(packet.destination);
        // The gateway itself may use all of its services.
        if !self.access.admits(packet) && !self.ip.addresses.contains(packet.source) {
            self.counters.sources_refused += 1;
            if is_to_us_only {
                self.ip.refuse(now, packet.octets);
            }
            return;
        }
        match packet.protocol {
            IpProtocol::Udp => {
                let is_taken = self.udp.receive(packet, &self.ip, &mut self.counters);
                if !is_taken && is_to_us_only {
                    self.ip.refuse(now, packet.octets);
                }
            }
            // RFC 9293, MUST-57: nothing but unicast.
            _ if !is_to_us_only => self.counters.packets_not_ours += 1,
            IpProtocol::Tcp => match Segment::parse(packet) {
                Ok(segment) => {
                    self.tcp.receive(now, &segment, &mut self.ip, &mut self.rng, &mut self.counters);
                }
                Err(why) => self.counters.count_unreadable(why),
            },
            // RFC 1122, section 3.2.2.1: never an error about an error.
            IpProtocol::Icmp if packet.source.is_ipv4() => self.answer_echo(now, packet.octets),
            // RFC 4443, section 2.4: the same holds for IPv6, whose echo requests the stack does not answer yet.
            IpProtocol::Icmpv6 if packet.source.is_ipv6() => self.counters.icmp_ignored += 1,
            _ => {
                self.counters.protocols_unknown += 1;
                self.ip.refuse(now, packet.octets);
            }
        }
    }

    /// Answers an echo request that came in fragments (RFC 1812, section 4.3.3.6). The dataplane has answered
    /// unfragmented requests, and packets with options do not get here.
    fn answer_echo(&mut self, now: Instant, packet: &[u8]) {
        let Ok(header) = ipv4::Header::parse(packet) else { return };
        let mut reply = packet.get(..usize::from(header.total_len)).unwrap_or_default().to_vec();
        let message = icmpv4::Header::parse(header.payload(&reply));
        if !checksum::is_valid(header.payload(&reply)) {
            self.counters.checksums_wrong += 1;
        } else if message.is_ok_and(|message| message.kind != icmpv4::Type::ECHO_REQUEST) {
            self.counters.icmp_ignored += 1;
        } else if !header.options(&reply).is_empty() || icmpv4::make_echo_reply(&mut reply, &header).is_err()
        {
            self.counters.packets_malformed += 1;
        } else if !self.echo_limit.admit(now, header.source) {
            self.counters.echo_replies_limited += 1;
        } else if self.ip.outbox.has_room_for(header.source.into(), reply.len()) {
            self.ip.outbox.push(reply);
        } else {
            self.ip.replies_dropped += 1;
        }
    }

    fn check_local(&self, local: SocketAddr) -> io::Result<()> {
        let address = local.ip();
        if address.is_unspecified() || self.ip.addresses.contains(address) {
            return Ok(());
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}
