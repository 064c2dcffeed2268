//! Leases are durable: an acknowledged lease is on the disk, and survives a power cut.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use dhcproto::v4::MessageType;
use gatepost::config::Config;
use gatepost_ground::MacAddr;

use super::{Checker, Passage, Side, Way};
use crate::packet::{DHCP_SERVER_PORT, dhcp_message};

/// Looks for each acknowledged lease among what a power cut at this moment would leave of the journal.
///
/// A reserved address needs no record: the configuration promises it.
pub struct LeasesDurable {
    journal: Box<dyn Fn() -> Vec<u8>>,
    reserved: BTreeSet<Ipv4Addr>,
}

impl LeasesDurable {
    /// `journal`: what is durable of the gateway's journal of leases.
    pub fn new(journal: impl Fn() -> Vec<u8> + 'static) -> Self {
        Self { journal: Box::new(journal), reserved: BTreeSet::new() }
    }
}

impl Checker for LeasesDurable {
    fn name(&self) -> &'static str {
        "leases-durable"
    }

    fn promise(&self) -> &'static str {
        "a lease is synced to the disk before the server sends its ACK"
    }

    fn on_reload(&mut self, config: &Config) {
        self.reserved.extend(config.services.dhcp.reservations.iter().map(|reservation| reservation.address));
    }

    fn on_configure(&mut self, config: &Config) {
        self.reserved =
            config.services.dhcp.reservations.iter().map(|reservation| reservation.address).collect();
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Some((_, DHCP_SERVER_PORT, _, payload)) = passage.packet.udp() else { return Ok(()) };
        let Some(message) = dhcp_message(payload) else { return Ok(()) };
        let is_ack = message.opts().msg_type() == Some(MessageType::Ack);
        let address = message.yiaddr();
        if (passage.side, passage.way, is_ack) != (Side::Lan, Way::Out, true)
            || address.is_unspecified()
            || self.reserved.contains(&address)
        {
            return Ok(());
        }
        let Ok(client) = <[u8; 6]>::try_from(message.chaddr()) else { return Ok(()) };
        let journal = String::from_utf8_lossy(&(self.journal)()).into_owned();
        // A line is a list of records, each with its braces.
        let parts = [format!("\"{address}\""), format!("\"{}\"", MacAddr(client)), "\"bound\"".to_owned()];
        let is_there = journal.split('{').any(|record| parts.iter().all(|part| record.contains(part)));
        if is_there {
            return Ok(());
        }
        Err(format!("{address} is acknowledged to {} and not on the disk", MacAddr(client)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use dhcproto::Encodable;
    use dhcproto::v4::{DhcpOption, Message};

    use super::*;
    use crate::checkers::testing::{ip, packet, passage, udp};

    #[test]
    fn an_ack_of_what_is_not_on_the_disk_is_told() {
        let journal = Rc::new(RefCell::new(String::new()));
        let shared = Rc::clone(&journal);
        let mut checker = LeasesDurable::new(move || shared.borrow().clone().into_bytes());
        let mut reported = |kind| {
            let mut message = Message::default();
            message.set_yiaddr(ip("192.168.1.9")).set_chaddr(&[2, 0, 0, 0, 0, 1]);
            message.opts_mut().insert(DhcpOption::MessageType(kind));
            let answer = packet("192.168.1.1", "255.255.255.255", udp(67, 68, message.to_vec().unwrap()));
            checker.on_passage(&passage(0, Way::Out, Side::Lan, &answer)).is_err()
        };
        assert!(!reported(MessageType::Offer) && reported(MessageType::Ack));
        let record = |address, mac, state| {
            format!("2 00000000 [{{\"address\":\"{address}\",\"mac\":\"{mac}\",\"state\":\"{state}\"}}]\n")
        };
        let others = [
            record("192.168.1.9", "02:00:00:00:00:02", "bound"),
            record("192.168.1.99", "02:00:00:00:00:01", "bound"),
            record("192.168.1.9", "02:00:00:00:00:01", "released"),
        ];
        *journal.borrow_mut() = others.concat();
        assert!(reported(MessageType::Ack));
        journal.borrow_mut().push_str(&record("192.168.1.9", "02:00:00:00:00:01", "bound"));
        assert!(!reported(MessageType::Ack));
    }

    #[test]
    fn a_reserved_address_is_promised_by_the_configuration() {
        let text = "dhcp.reservations = [{ mac = '02:00:00:00:00:01', address = '192.168.1.9' }]";
        let config = Config::parse("test", text).expect("a valid configuration");
        let mut checker = LeasesDurable::new(Vec::new);
        checker.on_configure(&config);
        let mut message = Message::default();
        message.set_yiaddr(ip("192.168.1.9")).set_chaddr(&[2, 0, 0, 0, 0, 1]);
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Ack));
        let answer = packet("192.168.1.1", "255.255.255.255", udp(67, 68, message.to_vec().unwrap()));
        assert!(checker.on_passage(&passage(0, Way::Out, Side::Lan, &answer)).is_ok());
    }
}
