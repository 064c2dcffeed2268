//! A forgotten DHCP server on the LAN: a router that serves a client of its own, which is not simulated, by broadcasts.

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use gatepost_ground::{Instant, MacAddr};

use super::Machine;
use super::forgery::Path;
use super::identity::Identity;
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT};

/// The time between two offers.
const OFFER_INTERVAL: Duration = Duration::from_secs(20);
/// The client that is not simulated.
const CLIENT: MacAddr = MacAddr([0x02, 0x00, 0x5e, 0x51, 0, 1]);
/// The address that the server offers: in the LAN of another office.
const OFFERED: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 100);

/// The server.
pub struct ForgottenServer {
    mac: MacAddr,
    address: Ipv4Addr,
    next_at: Instant,
}

impl ForgottenServer {
    /// The server that `identity` names.
    pub fn new(identity: &Identity) -> Self {
        Self { mac: identity.mac, address: identity.address.addr(), next_at: Instant::ZERO + OFFER_INTERVAL }
    }

    fn offer(&self) -> Vec<u8> {
        let mut message = Message::default();
        message.set_opcode(Opcode::BootReply).set_chaddr(&CLIENT.0).set_yiaddr(OFFERED);
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Offer));
        message.opts_mut().insert(DhcpOption::ServerIdentifier(self.address));
        let path = Path {
            source_mac: self.mac,
            source: self.address,
            destination_mac: MacAddr::BROADCAST,
            destination: Ipv4Addr::BROADCAST,
        };
        path.datagram(DHCP_SERVER_PORT, DHCP_CLIENT_PORT, &message.to_vec().expect("a short message"))
    }
}

impl Machine for ForgottenServer {
    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn handle_frame(&mut self, _frame: Vec<u8>) {}

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        if self.next_at <= now {
            transmit(self.offer());
            self.next_at = now + OFFER_INTERVAL;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next_at)
    }
}
