//! Reassembles fragmented datagrams before they are delivered (RFC 791, section 3.2). This is for IPv4: a fragment of
//! IPv6 has a header of its own, which the stack does not parse yet.
//!
//! smoltcp does the work: a separate interface gets the fragments only, and a raw socket receives the reassembled
//! packets. So every packet that the rest of the stack gets has its ports. At most eight datagrams
//! (`SMOLTCP_REASSEMBLY_BUFFER_COUNT` in `.cargo/config.toml`) are reassembled at a time; fragments of others are
//! lost meanwhile.

use std::time::Duration;

use gatepost_ground::Instant;
use rand::rngs::StdRng;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::raw;
use smoltcp::wire::IpVersion;

use super::addresses::Addresses;
use super::ip::IpLayer;
use super::packet::Packet;

/// The longest IPv4 packet. A longer reassembled one does not fit the socket and is lost.
const PACKET_LEN_MAX: usize = u16::MAX as usize;
/// How long fragments wait for the others (RFC 791, section 3.2). RFC 1122, section 3.3.2 asks for a minute at least,
/// in which eight forged fragments would shut out all others.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The incomplete datagrams.
pub(super) struct Reassembly {
    ip: IpLayer,
    sockets: SocketSet<'static>,
    whole: SocketHandle,
}

impl Reassembly {
    pub(super) fn new(now: Instant, mtu: usize, rng: &mut StdRng) -> Self {
        let buffer = |len| raw::PacketBuffer::new(vec![raw::PacketMetadata::EMPTY], vec![0; len]);
        let socket = raw::Socket::new(Some(IpVersion::Ipv4), None, buffer(PACKET_LEN_MAX), buffer(0));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let whole = sockets.add(socket);
        let mut ip = IpLayer::new(now, mtu, rng);
        ip.set_reassembly_timeout(TIMEOUT);
        Self { ip, sockets, whole }
    }

    pub(super) fn set_addresses(&mut self, addresses: Addresses) {
        self.ip.set_addresses(addresses);
    }

    /// Adds a fragment; returns the whole packet, without options, if it was the last one missing.
    pub(super) fn receive(&mut self, now: Instant, fragment: &Packet<'_>) -> Option<Vec<u8>> {
        self.ip.receive(now, fragment.octets, &mut self.sockets);
        let socket = self.sockets.get_mut::<raw::Socket<'_>>(self.whole);
        socket.recv().ok().map(<[u8]>::to_vec)
    }
}
