//! smoltcp's interface, driven for one socket set at a time.
//!
//! smoltcp wants an interface with all sockets and a device with all packets. Here the interface is
//! shared, and each call names the few sockets and the one packet that are concerned; what they answer
//! goes to the [`Outbox`].

use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;
use smoltcp::iface::{Config, Context, Interface, PollResult, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant as SmoltcpInstant;
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Cidr};

use super::addresses::Addresses;
use super::outbox::Outbox;

/// The interface and its way out.
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

    /// Makes the next initial sequence number independent of all before.
    ///
    /// smoltcp's own generator is small: who sees a few of its numbers can tell the next, which
    /// RFC 9293 section 3.4.1 (MUST-9) forbids. So each connection starts a new one.
    pub(super) fn reseed(&mut self, now: Instant, rng: &mut StdRng) {
        self.interface = interface(now, &mut self.outbox, rng);
        self.apply_addresses();
    }

    /// The context that smoltcp's sockets want.
    pub(super) fn context(&mut self) -> &mut Context {
        self.interface.context()
    }

    /// Has `sockets` process a packet; what they answer at once is queued, after `correct` has seen it.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        packet: &[u8],
        sockets: &mut SocketSet<'_>,
        correct: impl FnMut(&mut [u8]),
    ) {
        let mut device = OnePacket {
            received: Some(packet),
            outbox: &mut self.outbox,
            replies_dropped: &mut self.replies_dropped,
            correct,
        };
        self.interface.poll_ingress_single(smoltcp_instant(now), &mut device, sockets);
    }

    /// Answers a packet that nobody wants: RST to TCP, port or protocol unreachable to the rest, and
    /// nothing where RFC 1122 section 3.2.2 forbids it.
    pub(super) fn refuse(&mut self, now: Instant, packet: &[u8]) {
        self.receive(now, packet, &mut SocketSet::new([]), |_| ());
    }

    /// Queues the next packet of each of `sockets` that has one, after `correct` has seen it. Says
    /// whether there was any.
    pub(super) fn send(
        &mut self,
        now: Instant,
        sockets: &mut SocketSet<'_>,
        correct: impl FnMut(&mut [u8]),
    ) -> bool {
        let mut device = OnePacket {
            received: None,
            outbox: &mut self.outbox,
            replies_dropped: &mut self.replies_dropped,
            correct,
        };
        let result = self.interface.poll_egress(smoltcp_instant(now), &mut device, sockets);
        result == PollResult::SocketStateChanged
    }

    /// The next packet of `sockets`, which goes nowhere. There must be room in the outbox.
    pub(super) fn intercept(&mut self, now: Instant, sockets: &mut SocketSet<'_>) -> Option<Vec<u8>> {
        self.send(now, sockets, |_| ()).then(|| self.outbox.take_back()).flatten()
    }

    /// When one of `sockets` next wants to send.
    pub(super) fn send_at(&mut self, now: Instant, sockets: &SocketSet<'_>) -> Option<Instant> {
        let at = self.interface.poll_at(smoltcp_instant(now), sockets)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }

    fn apply_addresses(&mut self) {
        let addresses = &self.addresses;
        self.interface.update_ip_addrs(|list| {
            list.clear();
            for network in addresses.iter() {
                let cidr = IpCidr::Ipv4(Ipv4Cidr::new(network.addr(), network.prefix_len()));
                list.push(cidr).expect("`Addresses` is bounded by smoltcp's limit");
            }
        });
    }
}

/// A new interface without addresses.
fn interface(now: Instant, outbox: &mut Outbox, rng: &mut StdRng) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = rng.random();
    let mut device =
        OnePacket { received: None, outbox, replies_dropped: &mut 0, correct: |_: &mut [u8]| () };
    Interface::new(config, &mut device, smoltcp_instant(now))
}

fn smoltcp_instant(now: Instant) -> SmoltcpInstant {
    SmoltcpInstant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// A device that has received at most one packet and sends to the outbox.
struct OnePacket<'a, F> {
    received: Option<&'a [u8]>,
    outbox: &'a mut Outbox,
    replies_dropped: &'a mut u64,
    correct: F,
}

struct Received<'a>(&'a [u8]);

struct Sending<'a, F> {
    outbox: &'a mut Outbox,
    replies_dropped: &'a mut u64,
    correct: &'a mut F,
}

impl<F: FnMut(&mut [u8])> OnePacket<'_, F> {
    fn sending(&mut self) -> Sending<'_, F> {
        Sending { outbox: self.outbox, replies_dropped: self.replies_dropped, correct: &mut self.correct }
    }
}

impl<F: FnMut(&mut [u8])> Device for OnePacket<'_, F> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a, F>
    where
        Self: 'a;

    fn receive(&mut self, _now: SmoltcpInstant) -> Option<(Received<'_>, Sending<'_, F>)> {
        let packet = self.received.take()?;
        Some((Received(packet), self.sending()))
    }

    fn transmit(&mut self, _now: SmoltcpInstant) -> Option<Sending<'_, F>> {
        // Without a token the socket keeps what it has to send.
        let is_full = self.outbox.is_full();
        (!is_full).then(|| self.sending())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.outbox.mtu();
        // `Segment::parse` has verified it, and acknowledgements may have been shifted since.
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl<C: FnMut(&mut [u8])> TxToken for Sending<'_, C> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut packet = vec![0; len];
        let result = fill(&mut packet);
        (self.correct)(&mut packet);
        if self.outbox.has_room_for(len) {
            self.outbox.push(packet);
        } else {
            *self.replies_dropped += 1;
        }
        result
    }
}
