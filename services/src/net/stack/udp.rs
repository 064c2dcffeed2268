//! The UDP sockets.
//!
//! UDP needs no state machine, so only smoltcp's codecs are used: received datagrams wait in a bounded queue of their
//! socket, and sent ones go directly to the outbox. So an idle socket has no buffers, and sent datagrams survive the
//! socket.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use rand::rngs::StdRng;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IPV4_HEADER_LEN, IpProtocol, UDP_HEADER_LEN, UdpPacket, UdpRepr};
use tokio::sync::Notify;

use super::StackCounters;
use super::addresses::wildcard;
use super::ip::IpLayer;
use super::packet::{Packet, Unreadable, encode, header_len};
use super::port::{choose_port, is_taken};

/// The most received datagrams in a socket's queue.
pub const UDP_QUEUE_DATAGRAMS_MAX: usize = 64;
/// The most octets in a socket's queue.
pub const UDP_QUEUE_OCTETS_MAX: usize = 65_536;
/// The longest datagram by the length field of IPv4. That of IPv6 would leave 20 octets more.
pub const DATAGRAM_LEN_MAX: usize = u16::MAX as usize - IPV4_HEADER_LEN - UDP_HEADER_LEN;

/// The most peers of a socket that it answers from another address than the default source address.
pub(super) const REPLY_FROM_MAX: usize = 64;

/// The state of all UDP.
pub(super) struct Udp {
    sockets: BTreeMap<(u16, IpAddr), UdpSocket>,
    sockets_max: usize,
}

#[derive(Default)]
struct UdpSocket {
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
    queued_octets: usize,
    arrived: Rc<Notify>,
    /// Peers with the own address that they sent to, which answers come from (RFC 1122, section 4.1.3.5), the latest
    /// last. Only peers are listed for which source selection would pick another address.
    reply_from: VecDeque<(SocketAddr, IpAddr)>,
}

impl Udp {
    pub(super) fn new(sockets_max: usize) -> Self {
        Self { sockets: BTreeMap::new(), sockets_max }
    }

    /// Opens a socket. Returns its address and the `Notify` that signals received datagrams.
    pub(super) fn bind(
        &mut self,
        local: SocketAddr,
        rng: &mut StdRng,
    ) -> io::Result<(SocketAddr, Rc<Notify>)> {
        if self.sockets.len() >= self.sockets_max {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many UDP sockets"));
        }
        let port = match local.port() {
            0 => choose_port(rng, |port| !is_taken(&self.sockets, port, local.ip())),
            port => Some(port).filter(|port| !is_taken(&self.sockets, *port, local.ip())),
        };
        let port = port.ok_or(io::ErrorKind::AddrInUse)?;
        let socket = self.sockets.entry((port, local.ip())).or_default();
        Ok((SocketAddr::new(local.ip(), port), Rc::clone(&socket.arrived)))
    }

    /// Gives a socket, which need not exist yet, to another handle, with its received datagrams.
    pub(super) fn take_over(&mut self, local: SocketAddr, handle: Rc<Notify>) {
        // The notifications of the datagrams in the queue went to the old handle.
        handle.notify_one();
        self.sockets.entry((local.port(), local.ip())).or_default().arrived = handle;
    }

    /// Closes a socket, if `handle` still has it. Sent datagrams are not lost.
    pub(super) fn close(&mut self, local: SocketAddr, handle: &Rc<Notify>) {
        if self.socket(local).is_some_and(|socket| Rc::ptr_eq(&socket.arrived, handle)) {
            self.sockets.remove(&(local.port(), local.ip()));
        }
    }

    /// Takes the oldest datagram that the socket at `local` has received, if `handle` still has it.
    pub(super) fn receive_from(
        &mut self,
        local: SocketAddr,
        handle: &Rc<Notify>,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let socket = self.socket(local).filter(|socket| Rc::ptr_eq(&socket.arrived, handle))?;
        let (remote, datagram) = socket.queue.pop_front()?;
        socket.queued_octets -= datagram.len();
        Some((remote, datagram))
    }

    /// Sends a datagram. `Ok(false)` if there is no room in the outbox.
    pub(super) fn send(
        &mut self,
        local: SocketAddr,
        datagram: &[u8],
        remote: SocketAddr,
        ip: &mut IpLayer,
    ) -> io::Result<bool> {
        if datagram.len() > DATAGRAM_LEN_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "datagram too long"));
        }
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no destination"));
        }
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the socket is of the other address family",
            ));
        }
        let source = self.source_for(local, remote, ip)?;
        if !ip.outbox.has_room_for(remote.ip(), header_len(remote.ip()) + UDP_HEADER_LEN + datagram.len()) {
            return Ok(false);
        }
        ip.outbox.push(packet(SocketAddr::new(source, local.port()), datagram, remote));
        Ok(true)
    }

    /// Processes an unfragmented packet with UDP. `false` if no socket has the port.
    pub(super) fn receive(
        &mut self,
        packet: &Packet<'_>,
        ip: &IpLayer,
        counters: &mut StackCounters,
    ) -> bool {
        let (local, remote, datagram) = match parse(packet) {
            Ok(parsed) => parsed,
            Err(why) => {
                counters.count_unreadable(why);
                return true;
            }
        };
        let asked = local.ip();
        let key = [asked, wildcard(asked)]
            .into_iter()
            .chain(ip.addresses.stands_in_for(asked, remote.ip()))
            .map(|address| (local.port(), address))
            .find(|key| self.sockets.contains_key(key));
        let Some((key, socket)) = key.and_then(|key| Some((key, self.sockets.get_mut(&key)?))) else {
            counters.datagrams_unwanted += 1;
            return false;
        };
        counters.datagrams_dropped_queue_full += socket.make_room(remote.ip(), datagram.len());
        if socket.has_room_for(datagram.len()) {
            socket.remember(key.1, remote, asked, ip);
            socket.queued_octets += datagram.len();
            socket.queue.push_back((remote, datagram.to_vec()));
            socket.arrived.notify_one();
        } else {
            counters.datagrams_dropped_queue_full += 1;
        }
        true
    }

    fn source_for(&mut self, local: SocketAddr, remote: SocketAddr, ip: &IpLayer) -> io::Result<IpAddr> {
        if !local.ip().is_unspecified() && !ip.addresses.contains(local.ip()) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let mut peers = self.socket(local).into_iter().flat_map(|socket| &socket.reply_from);
        let asked = peers.find(|(peer, _)| *peer == remote).map(|(_, asked)| *asked);
        let asked = asked.filter(|asked| ip.addresses.contains(*asked));
        let source = asked.or_else(|| default_source(local.ip(), remote.ip(), ip));
        source.ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// The socket at `local`. `None` if another handle has taken it over and closed it.
    fn socket(&mut self, local: SocketAddr) -> Option<&mut UdpSocket> {
        self.sockets.get_mut(&(local.port(), local.ip()))
    }
}

impl UdpSocket {
    fn has_room_for(&self, octets: usize) -> bool {
        self.queue.len() < UDP_QUEUE_DATAGRAMS_MAX && self.queued_octets + octets <= UDP_QUEUE_OCTETS_MAX
    }

    /// Makes room for a datagram of `source` in a full queue: drops the latest datagrams of the sender with the most,
    /// as long as that sender keeps at least as many as `source` then has. Returns the number of dropped datagrams.
    fn make_room(&mut self, source: IpAddr, octets: usize) -> u64 {
        let mut dropped = 0;
        while !self.has_room_for(octets) {
            let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
            for (sender, _) in &self.queue {
                *counts.entry(sender.ip()).or_default() += 1;
            }
            let own = counts.get(&source).copied().unwrap_or(0);
            let busiest = counts.into_iter().max_by_key(|(_, count)| *count);
            let Some((busiest, _)) = busiest.filter(|(_, count)| *count > own + 1) else { break };
            let latest = self.queue.iter().rposition(|(sender, _)| sender.ip() == busiest);
            if let Some((_, datagram)) = latest.and_then(|latest| self.queue.remove(latest)) {
                self.queued_octets -= datagram.len();
                dropped += 1;
            }
        }
        dropped
    }

    /// Remembers the address at which `remote` has sent to a socket that is bound to `local`.
    fn remember(&mut self, local: IpAddr, remote: SocketAddr, asked: IpAddr, ip: &IpLayer) {
        self.reply_from.retain(|(peer, _)| *peer != remote);
        if !ip.addresses.contains(asked) || default_source(local, remote.ip(), ip) == Some(asked) {
            return;
        }
        if self.reply_from.len() >= REPLY_FROM_MAX {
            self.reply_from.pop_front();
        }
        self.reply_from.push_back((remote, asked));
    }
}

/// The source address that source selection picks for packets of a socket bound to `local` to `remote`.
fn default_source(local: IpAddr, remote: IpAddr, ip: &IpLayer) -> Option<IpAddr> {
    if local.is_unspecified() { ip.addresses.source_for(remote) } else { Some(local) }
}

/// The destination, the source and the payload of a datagram.
fn parse<'a>(packet: &Packet<'a>) -> Result<(SocketAddr, SocketAddr, &'a [u8]), Unreadable> {
    let udp = UdpPacket::new_checked(packet.payload).map_err(|_| Unreadable::Malformed)?;
    // RFC 8200, section 8.1: over IPv6 no checksum is a wrong one.
    let is_verified = udp.checksum() != 0 || packet.source.is_ipv4();
    if !is_verified || !udp.verify_checksum(&packet.source.into(), &packet.destination.into()) {
        return Err(Unreadable::Checksum);
    }
    if udp.dst_port() == 0 {
        return Err(Unreadable::Malformed);
    }
    let local = SocketAddr::new(packet.destination, udp.dst_port());
    Ok((local, SocketAddr::new(packet.source, udp.src_port()), udp.payload()))
}

/// A packet with a UDP datagram. Both ends are of one family.
fn packet(local: SocketAddr, datagram: &[u8], remote: SocketAddr) -> Vec<u8> {
    let udp = UdpRepr { src_port: local.port(), dst_port: remote.port() };
    encode(local.ip(), remote.ip(), IpProtocol::Udp, UDP_HEADER_LEN + datagram.len(), |payload| {
        udp.emit(
            &mut UdpPacket::new_unchecked(payload),
            &local.ip().into(),
            &remote.ip().into(),
            datagram.len(),
            |data| data.copy_from_slice(datagram),
            &ChecksumCapabilities::default(),
        );
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(socket: &mut UdpSocket, host: u8, octets: usize) -> (u64, bool) {
        let sender = SocketAddr::new([192, 168, 1, host].into(), 40_000);
        let dropped = socket.make_room(sender.ip(), octets);
        let is_taken = socket.has_room_for(octets);
        if is_taken {
            socket.queued_octets += octets;
            socket.queue.push_back((sender, vec![host; octets]));
        }
        (dropped, is_taken)
    }

    fn count(socket: &UdpSocket, host: u8) -> usize {
        socket.queue.iter().filter(|(sender, _)| sender.ip() == IpAddr::from([192, 168, 1, host])).count()
    }

    #[test]
    fn in_a_full_queue_the_busiest_sender_gives_way_to_others() {
        let mut socket = UdpSocket::default();
        for _ in 0..UDP_QUEUE_DATAGRAMS_MAX {
            assert_eq!(arrive(&mut socket, 2, 10), (0, true));
        }
        assert_eq!(arrive(&mut socket, 2, 10), (0, false));
        for _ in 0..UDP_QUEUE_DATAGRAMS_MAX / 2 {
            assert_eq!(arrive(&mut socket, 3, 10), (1, true));
        }
        assert_eq!(arrive(&mut socket, 3, 10), (0, false), "both have half");
        assert_eq!(arrive(&mut socket, 4, 10), (1, true));
        assert_eq!(
            (socket.queue.len(), socket.queued_octets),
            (UDP_QUEUE_DATAGRAMS_MAX, 10 * UDP_QUEUE_DATAGRAMS_MAX)
        );
        assert_eq!(count(&socket, 4), 1);
    }

    #[test]
    fn a_long_datagram_takes_no_more_than_its_share_of_places() {
        let mut socket = UdpSocket::default();
        while arrive(&mut socket, 2, 8_000).1 {}
        let before = count(&socket, 2);
        assert_eq!(arrive(&mut socket, 3, 20_000), (3, true));
        assert_eq!(count(&socket, 2), before - 3);
        assert!(socket.queued_octets <= UDP_QUEUE_OCTETS_MAX);
    }
}
