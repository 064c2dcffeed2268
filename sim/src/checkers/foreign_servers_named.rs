//! Foreign servers are named: the report of the services names each DHCP server other than the gateway's own whose
//! broadcasts pass the gateway, and no other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{Message, MessageType};
use gatepost::config::Config;
use gatepost_ground::{Instant, MacAddr};

use super::{Checker, Passage, Side, Snapshot, Way};
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, dhcp_message, dhcp_server_identifier};

/// The longest time until a server is named.
const NAMED_WITHIN: Duration = Duration::from_secs(2);
/// For how long it is named at least.
const NAMED_FOR: Duration = Duration::from_secs(3_500);
/// The most servers that the checker remembers; the report names no more.
const SERVERS_MAX: usize = 8;

/// Compares the report's note on DHCP with the offers of other servers.
pub struct ForeignServersNamed {
    own: Ipv4Addr,
    /// Whether the file has the gateway report others, and not block them.
    is_watching: bool,
    /// The servers that have offered addresses: hardware address, since when, and until when the offers surely count.
    offering: BTreeMap<Ipv4Addr, (MacAddr, Instant, Instant)>,
    /// Whether a client has asked another server.
    is_asked: bool,
}

impl ForeignServersNamed {
    /// For the server that `config` asks for.
    pub fn new(config: &Config) -> Self {
        let mut checker = Self {
            own: Ipv4Addr::UNSPECIFIED,
            is_watching: false,
            offering: BTreeMap::new(),
            is_asked: false,
        };
        checker.on_configure(config);
        checker
    }

    fn note_offer(&mut self, now: Instant, by: MacAddr, message: &Message) {
        let Some(server) = dhcp_server_identifier(message).filter(|_| !message.yiaddr().is_unspecified())
        else {
            return;
        };
        if self.offering.len() < SERVERS_MAX || self.offering.contains_key(&server) {
            let (_, _, until) = self.offering.entry(server).or_insert((by, now, now));
            *until = now + NAMED_FOR;
        }
    }
}

impl Checker for ForeignServersNamed {
    fn name(&self) -> &'static str {
        "foreign-servers-named"
    }

    fn promise(&self) -> &'static str {
        "another DHCP server whose broadcasts reach the gateway is named in the report of the services, and no other is"
    }

    fn on_boot(&mut self) {
        self.offering.clear();
        self.is_asked = false;
    }

    fn on_configure(&mut self, config: &Config) {
        let dhcp = &config.services.dhcp;
        self.own = config.lan.address.addr();
        self.is_watching = dhcp.enabled && dhcp.authoritative && !config.lan.dhcp_snooping;
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        let Some((ip, from, to, payload)) = packet.udp().filter(|_| (way, side) == (Way::In, Side::Lan))
        else {
            return Ok(());
        };
        let Some(message) = dhcp_message(payload) else { return Ok(()) };
        match (from, to, message.opts().msg_type()) {
            (DHCP_SERVER_PORT, DHCP_CLIENT_PORT, Some(MessageType::Offer))
                if ip.destination.is_broadcast() =>
            {
                self.note_offer(now, packet.source_mac, &message);
            }
            (_, DHCP_SERVER_PORT, Some(MessageType::Request)) => {
                self.is_asked |= dhcp_server_identifier(&message).is_some_and(|server| server != self.own);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let dhcp = snapshot.services.services.iter().find(|service| service.name == "dhcp");
        let Some(dhcp) = dhcp.filter(|dhcp| self.is_watching && dhcp.state == "running") else {
            return Ok(());
        };
        let note = dhcp.note.as_deref().unwrap_or_default();
        if self.offering.is_empty() && !self.is_asked && !note.is_empty() {
            return Err(format!("no other server has been heard, and the report says: {note}"));
        }
        let is_due = |since: Instant, until| snapshot.now.since(since) > NAMED_WITHIN && snapshot.now < until;
        let due = self.offering.iter().filter(|(_, (_, since, until))| is_due(*since, *until));
        let missing =
            due.map(|(server, (mac, ..))| format!("{server} ({mac})")).find(|named| !note.contains(named));
        missing.map_or(Ok(()), |named| Err(format!("{named} offers addresses, and the report says: {note}")))
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::DhcpOption;
    use gatepost::control::report::{Service, Services};

    use super::*;
    use crate::checkers::testing::{config, dhcp, ip, packet, passage, snapshot, udp};
    use crate::packet::Packet;

    fn offer() -> Packet {
        let message = dhcp(&[2, 0, 0, 0, 0, 9], MessageType::Offer, |message| {
            message.set_yiaddr(ip("192.168.0.9"));
            message.opts_mut().insert(DhcpOption::ServerIdentifier(ip("192.168.1.254")));
        });
        packet("192.168.1.254", "255.255.255.255", udp(67, 68, message))
    }

    fn told(checker: &mut ForeignServersNamed, secs: u64, note: Option<&str>) -> bool {
        let dhcp = Service {
            name: "dhcp".to_owned(),
            state: "running".to_owned(),
            problem: None,
            note: note.map(str::to_owned),
            listens: Vec::new(),
            counters: serde_json::from_str("{}").expect("no counters"),
        };
        checker
            .on_snapshot(&Snapshot { services: Services { services: vec![dhcp] }, ..snapshot(secs) })
            .is_err()
    }

    #[test]
    fn a_server_that_is_not_named_or_does_not_exist_is_told() {
        let named = Some("another DHCP server: 192.168.1.254 (02:00:00:00:00:01)");
        let mut checker = ForeignServersNamed::new(&config());
        assert!(!told(&mut checker, 1, None) && told(&mut checker, 1, named));
        checker.on_passage(&passage(10, Way::In, Side::Lan, &offer())).expect("others may break promises");
        assert!(!told(&mut checker, 11, None), "soon");
        assert!(told(&mut checker, 13, None) && !told(&mut checker, 13, named));
        assert!(told(&mut checker, 13, Some("192.168.1.254")), "without its hardware address");
        assert!(!told(&mut checker, 4_000, None), "it is gone");
        checker.on_boot();
        assert!(!told(&mut checker, 14, None));
    }
}
