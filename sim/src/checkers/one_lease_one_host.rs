//! One lease, one host: no address is leased to two clients at a time, with crashes or without.

use super::observed_leases::ObservedLeases;
use super::{Checker, Passage};

/// Reads every DHCP acknowledgement.
#[derive(Default)]
pub struct OneLeaseOneHost {
    leases: ObservedLeases,
}

impl Checker for OneLeaseOneHost {
    fn name(&self) -> &'static str {
        "one-lease-one-host"
    }

    fn promise(&self) -> &'static str {
        "no address is leased to a client while the lease of another client for it lasts"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Some((address, lease, Some(before))) = self.leases.observe(passage) else { return Ok(()) };
        if before.client == lease.client || before.until <= passage.now || before.may_be_over {
            return Ok(());
        }
        Err(format!(
            "{address} is leased to {:02x?} while it is {:02x?}'s until {}",
            lease.client, before.client, before.until
        ))
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::Encodable;
    use dhcproto::v4::{DhcpOption, Message, MessageType};
    use gatepost_ground::MacAddr;

    use super::*;
    use crate::checkers::testing::{ip, packet, passage, udp};
    use crate::checkers::{Side, Way};
    use crate::packet::Packet;

    fn ack(client: u8, address: &str) -> Packet {
        let mut message = Message::default();
        message.set_yiaddr(ip(address)).set_chaddr(&[2, 0, 0, 0, 0, client]);
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Ack));
        message.opts_mut().insert(DhcpOption::AddressLeaseTime(60));
        packet("192.168.1.1", "255.255.255.255", udp(67, 68, message.to_vec().unwrap()))
    }

    #[test]
    fn a_second_client_is_told_while_the_first_lease_lasts() {
        let mut checker = OneLeaseOneHost::default();
        let mut reported = |secs, client| {
            checker.on_passage(&passage(secs, Way::Out, Side::Lan, &ack(client, "192.168.1.9"))).is_err()
        };
        assert!(!reported(0, 1));
        assert!(!reported(30, 1));
        assert!(reported(60, 2));
        assert!(!reported(120, 3));
    }

    /// Whether the checker reports that another client gets the address, after a RELEASE in the first one's name from
    /// the machine `sender`.
    fn told_after_release(sender: u8) -> bool {
        let mut checker = OneLeaseOneHost::default();
        let first = ack(1, "192.168.1.9");
        checker.on_passage(&passage(0, Way::Out, Side::Lan, &first)).expect("the first lease");
        let mut message = Message::default();
        message.set_ciaddr(ip("192.168.1.9")).set_chaddr(&[2, 0, 0, 0, 0, 1]);
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Release));
        let release = packet("192.168.1.9", "192.168.1.1", udp(68, 67, message.to_vec().unwrap()));
        let release = Packet { source_mac: MacAddr([2, 0, 0, 0, 0, sender]), ..release };
        checker.on_passage(&passage(1, Way::In, Side::Lan, &release)).expect("nobody gets the address");
        let second = ack(2, "192.168.1.9");
        checker.on_passage(&passage(2, Way::Out, Side::Lan, &second)).is_err()
    }

    #[test]
    fn a_lease_ends_by_its_clients_release_and_by_nobody_elses() {
        assert!(!told_after_release(1));
        assert!(told_after_release(7));
    }
}
