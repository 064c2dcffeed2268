//! The provider's router between its customers. A customer with a single address knows no neighbours, so its packets to
//! another customer go through the router. Frames are parsed and made with etherparse.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::Ipv4Addr;

use etherparse::{ArpOperation, Ethernet2Header, Ipv4Header};
use gatepost_ground::MacAddr;

use crate::machine::forgery;

/// The most packets that wait for a customer's hardware address.
const WAITING_MAX: usize = 64;

/// The customers that the router has heard of by ARP.
#[derive(Default)]
pub struct Customers {
    neighbors: BTreeMap<Ipv4Addr, MacAddr>,
    /// Packets to other customers, the oldest first.
    waiting: VecDeque<(Ipv4Addr, Vec<u8>)>,
}

impl Customers {
    /// Notes the hardware address of a customer, and returns the packets that have waited for it.
    pub fn note(&mut self, address: Ipv4Addr, mac: MacAddr) -> Vec<Vec<u8>> {
        self.neighbors.insert(address, mac);
        let (known, waiting): (VecDeque<_>, _) =
            mem::take(&mut self.waiting).into_iter().partition(|(to, _)| *to == address);
        self.waiting = waiting;
        known.into_iter().map(|(_, frame)| with_destination(frame, mac)).collect()
    }

    /// What the router, which has the addresses `own`, sends for the packet in `frame` to the customer `to`: the
    /// packet, or else an ARP request.
    pub fn forward(&mut self, own: (Ipv4Addr, MacAddr), frame: &[u8], to: Ipv4Addr) -> Option<Vec<u8>> {
        let (address, mac) = own;
        let frame = forwarded(frame, mac)?;
        if let Some(neighbor) = self.neighbors.get(&to) {
            return Some(with_destination(frame, *neighbor));
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((to, frame));
        Some(forgery::arp(mac, ArpOperation::REQUEST, address, MacAddr::ZERO, to))
    }
}

/// The packet in `frame` with one hop less, from `mac`; `None` if it is damaged or this hop was its last.
fn forwarded(frame: &[u8], mac: MacAddr) -> Option<Vec<u8>> {
    let (ethernet, packet) = Ethernet2Header::from_slice(frame).ok()?;
    let (mut ip, payload) = Ipv4Header::from_slice(packet).ok()?;
    if ip.header_checksum != ip.calc_header_checksum() || ip.time_to_live <= 1 {
        return None;
    }
    ip.time_to_live -= 1;
    ip.header_checksum = ip.calc_header_checksum();
    let ethernet = Ethernet2Header { source: mac.0, ..ethernet };
    Some([&ethernet.to_bytes()[..], &ip.to_bytes(), payload].concat())
}

fn with_destination(mut frame: Vec<u8>, mac: MacAddr) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac.0);
    frame
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::packet::{Content, Packet};

    const ROUTER: (Ipv4Addr, MacAddr) = (Ipv4Addr::new(203, 0, 113, 1), MacAddr([2, 0, 0, 0, 0, 1]));
    const OFFICE: (Ipv4Addr, MacAddr) = (Ipv4Addr::new(203, 0, 113, 100), MacAddr([2, 0, 0, 0, 0, 2]));
    const OTHER: (Ipv4Addr, MacAddr) = (Ipv4Addr::new(203, 0, 113, 200), MacAddr([2, 0, 0, 0, 0, 3]));

    fn datagram(ttl: u8) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(OFFICE.1.0, ROUTER.1.0)
            .ipv4(OFFICE.0.octets(), OTHER.0.octets(), ttl)
            .udp(1, 2)
            .write(&mut frame, b"hello")
            .unwrap();
        frame
    }

    #[test]
    fn a_packet_between_customers_is_forwarded_once_its_receiver_is_known() {
        let mut customers = Customers::default();
        let asked = customers.forward(ROUTER, &datagram(64), OTHER.0).unwrap();
        let asked = Packet::parse(&asked).unwrap().content;
        assert_eq!(asked, Content::Arp { sender: ROUTER.0, target: OTHER.0, is_request: true });
        assert_eq!(customers.note(OFFICE.0, OFFICE.1), Vec::<Vec<u8>>::new());
        let released = customers.note(OTHER.0, OTHER.1);
        let [sent] = &released[..] else { panic!("{released:?}") };
        let packet = Packet::parse(sent).unwrap();
        assert_eq!((packet.source_mac, packet.destination_mac), (ROUTER.1, OTHER.1));
        let ip = packet.ipv4().unwrap();
        assert_eq!((ip.source, ip.destination, ip.ttl), (OFFICE.0, OTHER.0, 63));
        assert_eq!(customers.note(OTHER.0, OTHER.1), Vec::<Vec<u8>>::new(), "it is sent once");
        assert_eq!(customers.forward(ROUTER, &datagram(64), OTHER.0).as_ref(), Some(sent));
    }

    #[test]
    fn a_damaged_packet_and_one_without_hops_are_not_forwarded() {
        let mut customers = Customers::default();
        customers.note(OTHER.0, OTHER.1);
        let mut damaged = datagram(64);
        damaged[22] = 65;
        assert_eq!(customers.forward(ROUTER, &damaged, OTHER.0), None);
        assert_eq!(customers.forward(ROUTER, &datagram(1), OTHER.0), None);
    }

    #[test]
    fn packets_for_hosts_that_do_not_exist_take_no_more_than_their_room() {
        let mut customers = Customers::default();
        for _ in 0..2 * WAITING_MAX {
            customers.forward(ROUTER, &datagram(64), OTHER.0);
        }
        assert_eq!(customers.note(OTHER.0, OTHER.1).len(), WAITING_MAX);
    }
}
