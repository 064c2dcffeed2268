//! smoltcp's interface, which reassembles fragments and rejects unwanted packets.
//!
//! smoltcp expects an interface with all sockets and a device with all packets. Here each call passes one packet and
//! the sockets concerned; answers go to the [`Outbox`].

use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant as SmoltcpInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::addresses::Addresses;
use super::outbox::Outbox;
use super::packet::destination;

/// The default TTL. (IANA: IP parameters)
pub(super) const HOP_LIMIT: u8 = 64;

/// The interface and its outbox.
pub(super) struct IpLayer {
    interface: Interface,
    pub(super) addresses: Addresses,
    pub(super) outbox: Outbox,
    /// Answers (resets, ICMP errors, duplicate acknowledgements) that the full outbox did not take.
    pub(super) replies_dropped: u64,
}

impl IpLayer {
    pub(super) fn new(now: Instant, mtu: usize, rng: &mut StdRng) -> Self {
        let mut outbox = Outbox::new(mtu, rng);
        let interface = interface(now, &mut outbox, rng);
        Self { interface, addresses: Addresses::default(), outbox, replies_dropped: 0 }
    }

    pub(super) fn set_addresses(&mut self, addresses: Addresses) {
        self.addresses = addresses;
        self.apply_addresses();
    }

    pub(super) fn set_reassembly_timeout(&mut self, timeout: Duration) {
        self.interface.set_reassembly_timeout(timeout.into());
    }

    /// Lets `sockets` process a packet; their immediate answers are queued.
    pub(super) fn receive(&mut self, now: Instant, packet: &[u8], sockets: &mut SocketSet<'_>) {
        let mut device = OnePacket {
            received: Some(packet),
            outbox: &mut self.outbox,
            replies_dropped: &mut self.replies_dropped,
        };
        self.interface.poll_ingress_single(smoltcp_instant(now), &mut device, sockets);
    }

    /// Answers a packet for a closed port or an unknown protocol: with an RST for TCP, else with port or protocol
    /// unreachable. Sends nothing where RFC 1122, section 3.2.2, forbids it.
    pub(super) fn refuse(&mut self, now: Instant, packet: &[u8]) {
        self.receive(now, packet, &mut SocketSet::new([]));
    }

    fn apply_addresses(&mut self) {
        let addresses = &self.addresses;
        self.interface.update_ip_addrs(|list| {
            list.clear();
            for network in addresses.iter() {
                let cidr = IpCidr::new(network.addr().into(), network.prefix_len());
                list.push(cidr).expect("`Addresses` is bounded by smoltcp's limit");
            }
        });
    }
}

/// A new interface without addresses.
fn interface(now: Instant, outbox: &mut Outbox, rng: &mut StdRng) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = rng.random();
    let mut device = OnePacket { received: None, outbox, replies_dropped: &mut 0 };
    Interface::new(config, &mut device, smoltcp_instant(now))
}

fn smoltcp_instant(now: Instant) -> SmoltcpInstant {
    SmoltcpInstant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// A device that has received at most one packet and sends to the outbox.
struct OnePacket<'a> {
    received: Option<&'a [u8]>,
    outbox: &'a mut Outbox,
    replies_dropped: &'a mut u64,
}

struct Received<'a>(&'a [u8]);

struct Sending<'a> {
    outbox: &'a mut Outbox,
    replies_dropped: &'a mut u64,
}

impl OnePacket<'_> {
    fn sending(&mut self) -> Sending<'_> {
        Sending { outbox: self.outbox, replies_dropped: self.replies_dropped }
    }
}

impl Device for OnePacket<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: SmoltcpInstant) -> Option<(Received<'_>, Sending<'_>)> {
        let packet = self.received.take()?;
        Some((Received(packet), self.sending()))
    }

    fn transmit(&mut self, _now: SmoltcpInstant) -> Option<Sending<'_>> {
        Some(self.sending())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.outbox.mtu();
        // `Segment::parse` has verified it.
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut packet = vec![0; len];
        let result = fill(&mut packet);
        if self.outbox.has_room_for(destination(&packet), len) {
            self.outbox.push(packet);
        } else {
            *self.replies_dropped += 1;
        }
        result
    }
}
