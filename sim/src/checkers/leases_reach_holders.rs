//! Leases reach their holders: packets for a leased address go to the hardware address that holds the lease, whichever
//! host claims the address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use gatepost_ground::MacAddr;

use super::{Checker, Passage, Side, Snapshot, Way};
use crate::packet::Content;

/// Compares where packets go with what the gateway reports of its leases before and after.
#[derive(Default)]
pub struct LeasesReachHolders {
    gateway: String,
    holders: BTreeMap<Ipv4Addr, String>,
    /// The destinations of packets that did not go to the holder of the latest report. A lease may have begun since
    /// then.
    elsewhere: BTreeMap<Ipv4Addr, MacAddr>,
}

impl Checker for LeasesReachHolders {
    fn name(&self) -> &'static str {
        "leases-reach-holders"
    }

    fn promise(&self) -> &'static str {
        "packets from the gateway to a leased address go to the hardware address that holds the lease"
    }

    fn on_boot(&mut self) {
        *self = Self::default();
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Content::Ipv4(ip) = &passage.packet.content else { return Ok(()) };
        let is_gateways = passage.packet.source_mac.to_string() == self.gateway;
        if passage.side != Side::Lan || passage.way != Way::Out || !is_gateways {
            return Ok(());
        }
        let to = passage.packet.destination_mac;
        // DHCP also sends to clients without a lease.
        if !to.is_multicast()
            && self.holders.get(&ip.destination).is_some_and(|holder| *holder != to.to_string())
        {
            self.elsewhere.insert(ip.destination, to);
        }
        Ok(())
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let leases = snapshot.leases.leases.iter();
        let holders: BTreeMap<_, _> = leases.map(|lease| (lease.address, lease.mac.clone())).collect();
        let before = std::mem::replace(&mut self.holders, holders);
        self.gateway.clone_from(&snapshot.status.lan.mac);
        for (address, to) in std::mem::take(&mut self.elsewhere) {
            let holder = before.get(&address).filter(|holder| self.holders.get(&address) == Some(holder));
            if let Some(holder) = holder {
                return Err(format!("a packet for {address} went to {to}, and {holder} holds the lease"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gatepost::control::report::Lease;

    use super::*;
    use crate::checkers::testing::{ip, packet, passage, snapshot, tcp};
    use crate::packet::Packet;

    const HOLDER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn leased(secs: u64, mac: MacAddr) -> Snapshot {
        let lease = Lease {
            address: ip("192.168.1.9"),
            mac: mac.to_string(),
            maker: None,
            locally_administered: true,
            hostname: None,
            client_id: None,
            state: "bound".to_owned(),
            age_secs: 0,
            expires_in_secs: 60,
            last_seen_secs: 0,
        };
        let mut snapshot = snapshot(secs);
        snapshot.leases.leases.push(lease);
        snapshot
    }

    fn sent_to(mac: MacAddr) -> Packet {
        Packet { destination_mac: mac, ..packet("198.51.100.1", "192.168.1.9", tcp(80, 5000)) }
    }

    /// Whether the checker reports a packet to `mac` between reports of the lease as `before` and `after`.
    fn reported(mac: MacAddr, before: MacAddr, after: MacAddr) -> bool {
        let mut checker = LeasesReachHolders::default();
        checker.on_snapshot(&leased(0, before)).expect("nothing was sent");
        checker.on_passage(&passage(0, Way::Out, Side::Lan, &sent_to(mac))).expect("it is judged later");
        checker.on_snapshot(&leased(1, after)).is_err()
    }

    #[test]
    fn a_packet_that_goes_to_another_is_told() {
        let other = MacAddr([2, 0, 0, 0, 0, 8]);
        assert!(reported(other, HOLDER, HOLDER));
        assert!(!reported(HOLDER, HOLDER, HOLDER));
        assert!(!reported(MacAddr::BROADCAST, HOLDER, HOLDER));
        assert!(!reported(other, HOLDER, other), "the lease has changed");
        assert!(!reported(HOLDER, other, HOLDER));
    }

    #[test]
    fn what_others_send_is_theirs() {
        let mut checker = LeasesReachHolders::default();
        checker.on_snapshot(&leased(0, HOLDER)).expect("nothing was sent");
        let bridged =
            Packet { source_mac: MacAddr([2, 0, 0, 0, 0, 7]), ..sent_to(MacAddr([2, 0, 0, 0, 0, 8])) };
        checker.on_passage(&passage(0, Way::Out, Side::Lan, &bridged)).expect("it is a PC's");
        checker.on_snapshot(&leased(1, HOLDER)).expect("it is a PC's");
    }
}
