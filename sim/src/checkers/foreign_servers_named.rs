//! Foreign servers are named: the report of the services names each DHCP server other than the gateway's own whose
//! broadcasts pass the gateway, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{MessageType, Opcode};
use gatepost::config::Config;
use gatepost_ground::{Instant, MacAddr};

use super::lan::Lan;
use super::{Checker, Passage, Side, Snapshot, Way};
use crate::packet::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, Transport, dhcp_message, dhcp_server_identifier};

/// The longest time until a server is named.
const NAMED_WITHIN: Duration = Duration::from_secs(2);
/// For how long it is named at least.
const NAMED_FOR: Duration = Duration::from_secs(3_500);
/// The most servers that the report names.
const SERVERS_MAX: usize = 8;

/// Compares the report's note on DHCP with the offers of other servers.
pub struct ForeignServersNamed {
    lan: Lan,
    /// Whether the file has the gateway report others, and not block them.
    is_watching: bool,
    /// Whether the server ran at the last report.
    is_running: bool,
    /// The servers that have broadcast offers to the running server.
    offering: BTreeMap<Ipv4Addr, Offering>,
    /// The servers of which the gateway may know since its boot: by answers of any kind, or by requests to them. One more
    /// than the report names, at most.
    heard: BTreeSet<Ipv4Addr>,
}

struct Offering {
    mac: MacAddr,
    /// Since when it has offered addresses with this hardware address.
    since: Instant,
    /// Until when the offers surely count.
    until: Instant,
}

impl ForeignServersNamed {
    /// For the server that `config` asks for.
    pub fn new(config: &Config) -> Self {
        let mut checker = Self {
            lan: Lan::default(),
            is_watching: false,
            is_running: false,
            offering: BTreeMap::new(),
            heard: BTreeSet::new(),
        };
        checker.on_configure(config);
        checker
    }

    fn note_heard(&mut self, server: Ipv4Addr) {
        if self.heard.len() <= SERVERS_MAX {
            self.heard.insert(server);
        }
    }

    fn note_offer(&mut self, now: Instant, by: MacAddr, server: Ipv4Addr) {
        let is_known = self.offering.contains_key(&server);
        if !self.is_watching || !self.is_running || (!is_known && self.offering.len() >= SERVERS_MAX) {
            return;
        }
        let offering = self.offering.entry(server).or_insert(Offering { mac: by, since: now, until: now });
        if offering.mac != by {
            (offering.mac, offering.since) = (by, now);
        }
        offering.until = now + NAMED_FOR;
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
        self.is_running = false;
        self.offering.clear();
        self.heard.clear();
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_configure(&mut self, config: &Config) {
        let dhcp = &config.services.dhcp;
        self.lan.follow(config);
        self.is_watching = dhcp.enabled && dhcp.authoritative && !config.lan.dhcp_snooping;
        if !self.is_watching {
            self.offering.clear();
        }
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let Passage { now, way, side, packet, .. } = *passage;
        let Some((ip, from, to, payload)) = packet.udp().filter(|_| (way, side) == (Way::In, Side::Lan))
        else {
            return Ok(());
        };
        let Some(message) = dhcp_message(payload) else { return Ok(()) };
        // A relay agent broadcasts the gateway's own answers.
        let Some(server) = dhcp_server_identifier(&message).filter(|server| !self.lan.is_own(*server)) else {
            return Ok(());
        };
        self.note_heard(server);
        let is_sound = matches!(ip.transport, Transport::Udp { checksum_ok: true, .. });
        let is_offer = message.opcode() == Opcode::BootReply
            && message.opts().msg_type() == Some(MessageType::Offer)
            && !message.yiaddr().is_unspecified();
        let is_broadcast =
            (from, to) == (DHCP_SERVER_PORT, DHCP_CLIENT_PORT) && ip.destination.is_broadcast();
        if is_sound && is_offer && is_broadcast {
            self.note_offer(now, packet.source_mac, server);
        }
        Ok(())
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let dhcp = snapshot.services.services.iter().find(|service| service.name == "dhcp");
        let dhcp = dhcp.filter(|dhcp| dhcp.state == "running");
        self.is_running = dhcp.is_some();
        let Some(dhcp) = dhcp else {
            self.offering.clear();
            return Ok(());
        };
        if !self.is_watching {
            return Ok(());
        }
        let note = dhcp.note.as_deref().unwrap_or_default();
        if self.heard.is_empty() && !note.is_empty() {
            return Err(format!("no other server has been heard, and the report says: {note}"));
        }
        if self.heard.len() > SERVERS_MAX {
            return Ok(());
        }
        let is_due = |offering: &Offering| {
            snapshot.now.since(offering.since) > NAMED_WITHIN && snapshot.now < offering.until
        };
        let due = self.offering.iter().filter(|(_, offering)| is_due(offering));
        let names = due.map(|(server, offering)| format!("{server} ({})", offering.mac));
        let missing = names.into_iter().find(|named| !note.contains(named));
        missing.map_or(Ok(()), |named| Err(format!("{named} offers addresses, and the report says: {note}")))
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::DhcpOption;
    use gatepost::control::report::{Service, Services};

    use super::*;
    use crate::checkers::testing::{config, dhcp, ip, packet, passage, snapshot, udp};
    use crate::packet::{Content, Ipv4, Packet};

    fn answer(kind: MessageType, server: &str) -> Packet {
        let message = dhcp(&[2, 0, 0, 0, 0, 9], kind, |message| {
            message.set_opcode(Opcode::BootReply).set_yiaddr(ip("192.168.0.9"));
            message.opts_mut().insert(DhcpOption::ServerIdentifier(ip(server)));
        });
        packet("192.168.1.254", "255.255.255.255", udp(67, 68, message))
    }

    fn offer() -> Packet {
        answer(MessageType::Offer, "192.168.1.254")
    }

    fn hear(checker: &mut ForeignServersNamed, secs: u64, packet: &Packet) {
        checker.on_passage(&passage(secs, Way::In, Side::Lan, packet)).expect("others may break promises");
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
        let named = Some(NAMED);
        let mut checker = ForeignServersNamed::new(&config());
        assert!(!told(&mut checker, 1, None) && told(&mut checker, 1, named));
        hear(&mut checker, 10, &offer());
        assert!(!told(&mut checker, 11, None), "soon");
        assert!(told(&mut checker, 13, None) && !told(&mut checker, 13, named));
        assert!(told(&mut checker, 13, Some("192.168.1.254")), "without its hardware address");
        assert!(!told(&mut checker, 4_000, None), "it is gone");
        checker.on_boot();
        assert!(!told(&mut checker, 14, None));
    }

    const NAMED: &str = "another DHCP server: 192.168.1.254 (02:00:00:00:00:01)";

    #[test]
    fn what_the_server_may_have_heard_may_be_named() {
        let request = dhcp(&[2, 0, 0, 0, 0, 9], MessageType::Request, |message| {
            message.opts_mut().insert(DhcpOption::ServerIdentifier(ip("192.168.1.254")));
        });
        let request = packet("0.0.0.0", "255.255.255.255", udp(68, 67, request));
        let [ack, nak] = [MessageType::Ack, MessageType::Nak].map(|kind| answer(kind, "192.168.1.254"));
        for heard in [ack, nak, request] {
            let mut checker = ForeignServersNamed::new(&config());
            assert!(!told(&mut checker, 1, None));
            hear(&mut checker, 10, &heard);
            assert!(!told(&mut checker, 13, Some(NAMED)) && !told(&mut checker, 13, None));
        }
    }

    #[test]
    fn what_the_server_may_not_have_heard_need_not_be_named() {
        let mut checker = ForeignServersNamed::new(&config());
        hear(&mut checker, 1, &offer());
        assert!(!told(&mut checker, 13, None), "it may not have run");
        let mut damaged = offer();
        if let Content::Ipv4(Ipv4 { transport: Transport::Udp { checksum_ok, .. }, .. }) =
            &mut damaged.content
        {
            *checksum_ok = false;
        }
        hear(&mut checker, 14, &damaged);
        assert!(!told(&mut checker, 17, None));
        let relayed = answer(MessageType::Offer, "192.168.1.1");
        hear(&mut checker, 20, &relayed);
        assert!(!told(&mut checker, 23, None), "the gateway's own answer");
        let mut snooping = config();
        snooping.lan.dhcp_snooping = true;
        checker.on_configure(&snooping);
        hear(&mut checker, 30, &offer());
        checker.on_configure(&config());
        assert!(!told(&mut checker, 33, None), "it was blocked");
        hear(&mut checker, 40, &offer());
        assert!(told(&mut checker, 43, None));
    }

    #[test]
    fn the_last_hardware_address_is_named_and_no_more_than_eight_servers_are() {
        let mut checker = ForeignServersNamed::new(&config());
        assert!(!told(&mut checker, 1, None));
        hear(&mut checker, 10, &offer());
        let moved = Packet { source_mac: MacAddr([2, 0, 0, 0, 0, 7]), ..offer() };
        hear(&mut checker, 20, &moved);
        assert!(!told(&mut checker, 21, Some(NAMED)), "soon");
        assert!(told(&mut checker, 23, Some(NAMED)));
        assert!(!told(&mut checker, 23, Some("192.168.1.254 (02:00:00:00:00:07)")));
        for host in 101..108 {
            hear(&mut checker, 30, &answer(MessageType::Offer, &format!("192.168.1.{host}")));
        }
        assert!(told(&mut checker, 33, None));
        hear(&mut checker, 34, &answer(MessageType::Nak, "192.168.1.200"));
        assert!(!told(&mut checker, 37, None), "one of nine is forgotten");
    }
}
