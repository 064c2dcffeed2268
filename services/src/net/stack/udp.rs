//! The UDP sockets.
//!
//! UDP needs no state machine, so smoltcp is used for its codecs only: received datagrams wait in a
//! bounded queue of their socket, and what is sent goes straight to the outbox. So a socket costs no
//! buffers while it is idle, and what it has sent survives it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use rand::rngs::StdRng;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UDP_HEADER_LEN, UdpPacket, UdpRepr,
};
use tokio::sync::Notify;

use super::StackCounters;
use super::ip::{HOP_LIMIT, IpLayer};
use super::port::{choose_port, is_taken};

/// Received datagrams that a socket keeps for its service.
pub const UDP_QUEUE_DATAGRAMS_MAX: usize = 64;
/// Octets that a socket keeps for its service.
pub const UDP_QUEUE_OCTETS_MAX: usize = 65_536;
/// The longest datagram: what the length field of IPv4 leaves.
pub const DATAGRAM_LEN_MAX: usize = u16::MAX as usize - IPV4_HEADER_LEN - UDP_HEADER_LEN;

/// Peers of a socket that asked at another address than they would be answered from.
const UNUSUAL_PEERS_MAX: usize = 64;
/// The state of all UDP.
pub(super) struct Udp {
    sockets: BTreeMap<(u16, Ipv4Addr), Bound>,
    sockets_max: usize,
}

#[derive(Default)]
struct Bound {
    queue: VecDeque<(SocketAddrV4, Vec<u8>)>,
    queued_octets: usize,
    arrived: Rc<Notify>,
    /// RFC 1122 section 4.1.3.5: an answer comes from the address that was asked. Only who would be
    /// answered from another one is remembered, the latest last.
    unusual_peers: VecDeque<(SocketAddrV4, Ipv4Addr)>,
}

impl Udp {
    pub(super) fn new(sockets_max: usize) -> Self {
        Self { sockets: BTreeMap::new(), sockets_max }
    }

    /// Opens a socket; says where, and what tells of arrivals.
    pub(super) fn bind(
        &mut self,
        local: SocketAddrV4,
        rng: &mut StdRng,
    ) -> io::Result<(SocketAddrV4, Rc<Notify>)> {
        if self.sockets.len() >= self.sockets_max {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many UDP sockets"));
        }
        let port = match local.port() {
            0 => choose_port(rng, |port| !is_taken(&self.sockets, port, *local.ip())),
            port => Some(port).filter(|port| !is_taken(&self.sockets, *port, *local.ip())),
        };
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        let bound = self.sockets.entry((port, *local.ip())).or_default();
        Ok((SocketAddrV4::new(*local.ip(), port), Rc::clone(&bound.arrived)))
    }

    /// Gives a socket, which need not exist yet, to another holder, with what it has received.
    pub(super) fn take_over(&mut self, local: SocketAddrV4, holder: Rc<Notify>) {
        // What has arrived was told to the former holder only.
        holder.notify_one();
        self.sockets.entry((local.port(), *local.ip())).or_default().arrived = holder;
    }

    /// Closes a socket, if `holder` still holds it; what it has sent is on its way.
    pub(super) fn close(&mut self, local: SocketAddrV4, holder: &Rc<Notify>) {
        if self.bound(local).is_some_and(|bound| Rc::ptr_eq(&bound.arrived, holder)) {
            self.sockets.remove(&(local.port(), *local.ip()));
        }
    }

    /// Takes the oldest datagram that the socket at `local` has received, if `holder` still holds it.
    pub(super) fn receive_from(
        &mut self,
        local: SocketAddrV4,
        holder: &Rc<Notify>,
    ) -> Option<(SocketAddrV4, Vec<u8>)> {
        let bound = self.bound(local).filter(|bound| Rc::ptr_eq(&bound.arrived, holder))?;
        let (remote, datagram) = bound.queue.pop_front()?;
        bound.queued_octets -= datagram.len();
        Some((remote, datagram))
    }

    /// Sends a datagram. `Ok(false)` if there is no room in the outbox.
    pub(super) fn send(
        &mut self,
        local: SocketAddrV4,
        datagram: &[u8],
        remote: SocketAddrV4,
        ip: &mut IpLayer,
    ) -> io::Result<bool> {
        if datagram.len() > DATAGRAM_LEN_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "datagram too long"));
        }
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no destination"));
        }
        let source = self.source_for(local, remote, ip)?;
        if !ip.outbox.has_room_for(IPV4_HEADER_LEN + UDP_HEADER_LEN + datagram.len()) {
            return Ok(false);
        }
        ip.outbox.push(encode(SocketAddrV4::new(source, local.port()), datagram, remote));
        Ok(true)
    }

    /// Processes a whole packet with UDP in it. `false` if nobody has the port.
    pub(super) fn receive(
        &mut self,
        packet: &Ipv4Packet<&[u8]>,
        ip: &IpLayer,
        counters: &mut StackCounters,
    ) -> bool {
        let (source, destination) = (IpAddress::Ipv4(packet.src_addr()), IpAddress::Ipv4(packet.dst_addr()));
        let Ok(udp) = UdpPacket::new_checked(packet.payload()) else {
            counters.packets_malformed += 1;
            return true;
        };
        if !udp.verify_checksum(&source, &destination) {
            counters.checksums_wrong += 1;
            return true;
        }
        let Ok(repr) = UdpRepr::parse(&udp, &source, &destination, &ChecksumCapabilities::ignored()) else {
            counters.packets_malformed += 1;
            return true;
        };
        let datagram = udp.payload();
        let (remote, asked) = (packet.src_addr(), packet.dst_addr());
        let key = [asked, Ipv4Addr::UNSPECIFIED]
            .into_iter()
            .chain(ip.addresses.stands_in_for(asked, remote))
            .map(|address| (repr.dst_port, address))
            .find(|key| self.sockets.contains_key(key));
        let Some((key, bound)) = key.and_then(|key| Some((key, self.sockets.get_mut(&key)?))) else {
            counters.datagrams_unwanted += 1;
            return false;
        };
        let remote = SocketAddrV4::new(remote, repr.src_port);
        counters.datagrams_dropped_queue_full += bound.make_room(*remote.ip(), datagram.len());
        if bound.has_room_for(datagram.len()) {
            bound.remember(key.1, remote, asked, ip);
            bound.queued_octets += datagram.len();
            bound.queue.push_back((remote, datagram.to_vec()));
            bound.arrived.notify_one();
        } else {
            counters.datagrams_dropped_queue_full += 1;
        }
        true
    }

    fn source_for(
        &mut self,
        local: SocketAddrV4,
        remote: SocketAddrV4,
        ip: &IpLayer,
    ) -> io::Result<Ipv4Addr> {
        if !local.ip().is_unspecified() && !ip.addresses.contains(*local.ip()) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let mut peers = self.bound(local).into_iter().flat_map(|bound| &bound.unusual_peers);
        let asked = peers.find(|(peer, _)| *peer == remote).map(|(_, asked)| *asked);
        let asked = asked.filter(|asked| ip.addresses.contains(*asked));
        let source = asked.or_else(|| usual_source(*local.ip(), *remote.ip(), ip));
        source.ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// The socket at `local`. `None` if its holder has closed it after another one had taken it over.
    fn bound(&mut self, local: SocketAddrV4) -> Option<&mut Bound> {
        self.sockets.get_mut(&(local.port(), *local.ip()))
    }
}

impl Bound {
    fn has_room_for(&self, octets: usize) -> bool {
        self.queue.len() < UDP_QUEUE_DATAGRAMS_MAX && self.queued_octets + octets <= UDP_QUEUE_OCTETS_MAX
    }

    /// Drops what other senders have in a full queue for a datagram of `source`: of the sender that has most, its
    /// latest, as long as that sender keeps at least as many as `source` then has. Returns how many were dropped.
    fn make_room(&mut self, source: Ipv4Addr, octets: usize) -> u64 {
        let mut dropped = 0;
        while !self.has_room_for(octets) {
            let mut counts: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
            for (sender, _) in &self.queue {
                *counts.entry(*sender.ip()).or_default() += 1;
            }
            let own = counts.get(&source).copied().unwrap_or(0);
            let busiest = counts.into_iter().max_by_key(|(_, count)| *count);
            let Some((busiest, _)) = busiest.filter(|(_, count)| *count > own + 1) else { break };
            let latest = self.queue.iter().rposition(|(sender, _)| *sender.ip() == busiest);
            if let Some((_, datagram)) = latest.and_then(|latest| self.queue.remove(latest)) {
                self.queued_octets -= datagram.len();
                dropped += 1;
            }
        }
        dropped
    }

    /// Notes where `remote` has asked a socket that is bound to `local`.
    fn remember(&mut self, local: Ipv4Addr, remote: SocketAddrV4, asked: Ipv4Addr, ip: &IpLayer) {
        self.unusual_peers.retain(|(peer, _)| *peer != remote);
        if !ip.addresses.contains(asked) || usual_source(local, *remote.ip(), ip) == Some(asked) {
            return;
        }
        if self.unusual_peers.len() >= UNUSUAL_PEERS_MAX {
            self.unusual_peers.pop_front();
        }
        self.unusual_peers.push_back((remote, asked));
    }
}

/// Where a socket that is bound to `local` speaks to `remote` from, if that has not asked at another address.
fn usual_source(local: Ipv4Addr, remote: Ipv4Addr, ip: &IpLayer) -> Option<Ipv4Addr> {
    if local.is_unspecified() { ip.addresses.source_for(remote) } else { Some(local) }
}

/// An IPv4 packet with a UDP datagram.
fn encode(local: SocketAddrV4, datagram: &[u8], remote: SocketAddrV4) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let ip = Ipv4Repr {
        src_addr: *local.ip(),
        dst_addr: *remote.ip(),
        next_header: IpProtocol::Udp,
        payload_len: UDP_HEADER_LEN + datagram.len(),
        hop_limit: HOP_LIMIT,
    };
    let udp = UdpRepr { src_port: local.port(), dst_port: remote.port() };
    let mut packet = vec![0; IPV4_HEADER_LEN + ip.payload_len];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(&mut packet[IPV4_HEADER_LEN..]),
        &IpAddress::Ipv4(ip.src_addr),
        &IpAddress::Ipv4(ip.dst_addr),
        datagram.len(),
        |payload| payload.copy_from_slice(datagram),
        &checksums,
    );
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(bound: &mut Bound, host: u8, octets: usize) -> (u64, bool) {
        let sender = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, host), 40_000);
        let dropped = bound.make_room(*sender.ip(), octets);
        let is_taken = bound.has_room_for(octets);
        if is_taken {
            bound.queued_octets += octets;
            bound.queue.push_back((sender, vec![host; octets]));
        }
        (dropped, is_taken)
    }

    fn count(bound: &Bound, host: u8) -> usize {
        bound.queue.iter().filter(|(sender, _)| sender.ip().octets()[3] == host).count()
    }

    #[test]
    fn in_a_full_queue_the_busiest_sender_gives_way_to_others() {
        let mut bound = Bound::default();
        for _ in 0..UDP_QUEUE_DATAGRAMS_MAX {
            assert_eq!(arrive(&mut bound, 2, 10), (0, true));
        }
        assert_eq!(arrive(&mut bound, 2, 10), (0, false));
        for _ in 0..UDP_QUEUE_DATAGRAMS_MAX / 2 {
            assert_eq!(arrive(&mut bound, 3, 10), (1, true));
        }
        assert_eq!(arrive(&mut bound, 3, 10), (0, false), "both have half");
        assert_eq!(arrive(&mut bound, 4, 10), (1, true));
        assert_eq!(
            (bound.queue.len(), bound.queued_octets),
            (UDP_QUEUE_DATAGRAMS_MAX, 10 * UDP_QUEUE_DATAGRAMS_MAX)
        );
        assert_eq!(count(&bound, 4), 1);
    }

    #[test]
    fn a_long_datagram_takes_no_more_than_its_share_of_places() {
        let mut bound = Bound::default();
        while arrive(&mut bound, 2, 8_000).1 {}
        let before = count(&bound, 2);
        assert_eq!(arrive(&mut bound, 3, 20_000), (3, true));
        assert_eq!(count(&bound, 2), before - 3);
        assert!(bound.queued_octets <= UDP_QUEUE_OCTETS_MAX);
    }
}
