//! Explanations are true: what `gatepost explain` says of a packet has become of that packet.
//!
//! Once a second the checker picks a packet that comes to the gateway: a SYN or a datagram that the gateway routes or
//! takes itself. It compares the explanation with the drops that the gateway remembers and with the frames that leave.
//! Reasons that are in the packet itself or with its real sender (checksums, forged sources, limits of a machine) are
//! not compared: an explanation is of a sound packet of the address's holder.

use std::net::{Ipv4Addr, SocketAddrV4};

use gatepost::config::Config;
use gatepost::control::drops::RecentDrop;
use gatepost::control::explain::{Asked, Explained, Transport as AskedProtocol};
use gatepost_ground::{Instant, MacAddr};
use serde_json::{Value, json};

use super::lan::Lan;
use super::{Checker, Passage, Side, Step, Way};
use crate::packet::{Content, Packet, Transport};

/// The reasons that follow from the configuration and the tables alone.
const COMPARED: [&str; 6] = [
    "unsolicited",
    "filtered",
    "service-source-denied",
    "forward-source-denied",
    "lan-not-reachable",
    "no-route",
];
/// The most frames that are remembered while the gateway deals with a packet.
const SENT_MAX: usize = 1_000;
/// The ports of DHCP, whose messages have no holder of an address as sender.
const DHCP_PORTS: [u16; 2] = [67, 68];

/// Compares explanations with what becomes of packets.
pub struct ExplanationsTrue {
    lan: Lan,
    phase: Phase,
}

enum Phase {
    /// No packet is wanted.
    Idle,
    /// The next packet that suits is picked.
    Looking,
    /// This packet is asked about.
    Picked(Picked),
}

struct Picked {
    protocol: AskedProtocol,
    from: SocketAddrV4,
    to: SocketAddrV4,
    side: Side,
    source_mac: MacAddr,
    /// The ends of the packets of its protocol that the gateway has sent since.
    sent: Vec<[SocketAddrV4; 2]>,
}

/// Protocol and ends of a packet with ports that is whole and sound; of TCP only SYNs, if `is_opening`.
fn ends(packet: &Packet, is_opening_only: bool) -> Option<(AskedProtocol, SocketAddrV4, SocketAddrV4)> {
    let Content::Ipv4(ip) = &packet.content else { return None };
    let (protocol, ports) = match ip.transport {
        Transport::Tcp { source_port, destination_port, is_opening, checksum_ok: true, .. }
            if is_opening || !is_opening_only =>
        {
            (AskedProtocol::Tcp, (source_port, destination_port))
        }
        Transport::Udp { source_port, destination_port, checksum_ok: true, .. } => {
            (AskedProtocol::Udp, (source_port, destination_port))
        }
        _ => return None,
    };
    let from = SocketAddrV4::new(ip.source, ports.0);
    let to = SocketAddrV4::new(ip.destination, ports.1);
    (ip.ttl > 1 && ports.0 != 0 && ports.1 != 0).then_some((protocol, from, to))
}

fn is_of_one_host(address: Ipv4Addr) -> bool {
    !address.is_multicast() && !address.is_broadcast() && !address.is_unspecified() && !address.is_loopback()
}

impl ExplanationsTrue {
    /// For the LAN of `config`.
    pub fn new(config: &Config) -> Self {
        Self { lan: Lan::of(config), phase: Phase::Idle }
    }

    /// The packet of `passage`, if its explanation can be compared.
    fn pick(&self, passage: &Passage<'_>) -> Option<Picked> {
        let (protocol, from, to) = ends(passage.packet, true)?;
        let is_routed = match passage.side {
            Side::Lan => self.lan.contains(from.ip()) && !self.lan.contains(to.ip()),
            Side::Wan => !self.lan.contains(from.ip()),
        };
        let suits = is_routed
            && !passage.packet.destination_mac.is_multicast()
            && is_of_one_host(*from.ip())
            && is_of_one_host(*to.ip())
            && ![from.port(), to.port()].iter().any(|port| DHCP_PORTS.contains(port));
        suits.then(|| Picked {
            protocol,
            from,
            to,
            side: passage.side,
            source_mac: passage.packet.source_mac,
            sent: Vec::new(),
        })
    }

    fn change(&mut self) {
        self.phase = Phase::Idle;
    }
}

impl Picked {
    fn name(&self) -> &'static str {
        match self.protocol {
            AskedProtocol::Udp => "udp",
            _ => "tcp",
        }
    }

    /// Compares an explanation of the packet with the `drops` since it came.
    fn compare(&self, explained: &Explained, drops: &[RecentDrop]) -> Result<(), String> {
        let is_its = |drop: &&RecentDrop| {
            drop.protocol.as_deref() == Some(self.name())
                && drop.source == Some(self.from.to_string())
                && drop.destination == Some(self.to.to_string())
                && drop.mac.as_deref().is_none_or(|mac| mac == self.source_mac.to_string())
        };
        let dropped = drops.iter().find(is_its);
        let is_compared = |reason: &str| COMPARED.contains(&reason);
        let what =
            || format!("{} from {} to {} on the {:?} side", self.name(), self.from, self.to, self.side);
        match (explained.reason.as_deref(), dropped) {
            (Some(reason), None) if is_compared(reason) => {
                Err(format!("{} is explained as dropped ({reason}), and was not dropped", what()))
            }
            (reason, Some(drop)) if is_compared(&drop.reason) && reason != Some(&drop.reason[..]) => {
                Err(format!(
                    "{} is explained as {} ({}), and was dropped: {}",
                    what(),
                    explained.verdict,
                    explained.meaning,
                    drop.reason
                ))
            }
            (None, None) if explained.verdict == "transmitted" => self.compare_sent(explained, what),
            _ => Ok(()),
        }
    }

    /// Compares the ends of the packet after NAT with what the gateway has sent.
    fn compare_sent(&self, explained: &Explained, what: impl Fn() -> String) -> Result<(), String> {
        let nat = explained.stages.iter().rfind(|stage| stage.stage == "nat");
        let after = nat.and_then(|stage| stage.details.get("after")).cloned();
        let after = after.unwrap_or_else(|| json!([self.from, self.to]));
        let is_sent =
            self.sent.iter().any(|ends| Value::from(ends.map(|end| end.to_string()).to_vec()) == after);
        if is_sent || self.sent.len() >= SENT_MAX {
            return Ok(());
        }
        Err(format!("{} is explained as sent on with the ends {after}, and no such packet left", what()))
    }
}

impl Checker for ExplanationsTrue {
    fn name(&self) -> &'static str {
        "explanations-true"
    }

    fn promise(&self) -> &'static str {
        "what is explained of a packet becomes of it"
    }

    fn on_boot(&mut self) {
        self.change();
    }

    fn on_reload(&mut self, _: &Config) {
        self.change();
    }

    fn on_configure(&mut self, config: &Config) {
        self.lan.settle(config);
        self.change();
    }

    fn on_transaction(&mut self, _: Instant, _: &Step<'_>) {
        self.change();
    }

    fn on_asking(&mut self) {
        self.phase = Phase::Looking;
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        match (&mut self.phase, passage.way) {
            (Phase::Looking, Way::In) => {
                if let Some(picked) = self.pick(passage) {
                    self.phase = Phase::Picked(picked);
                }
            }
            (Phase::Picked(picked), Way::Out) if picked.sent.len() < SENT_MAX => {
                if let Some((protocol, from, to)) = ends(passage.packet, false)
                    && protocol == picked.protocol
                {
                    picked.sent.push([from, to]);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn question(&self) -> Option<Asked> {
        let Phase::Picked(picked) = &self.phase else { return None };
        Some(Asked {
            from: *picked.from.ip(),
            from_port: Some(picked.from.port()),
            to: picked.to.ip().to_string(),
            to_port: Some(picked.to.port()),
            protocol: picked.protocol,
        })
    }

    fn on_explained(&mut self, explained: &Explained, drops: &[RecentDrop]) -> Result<(), String> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Picked(picked) => picked.compare(explained, drops),
            Phase::Idle | Phase::Looking => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatepost::control::explain::Stage;

    use super::*;
    use crate::checkers::testing::{config, packet, passage, segment, udp};

    fn pass(checker: &mut ExplanationsTrue, way: Way, side: Side, packet: &Packet) {
        checker.on_passage(&passage(1, way, side, packet)).expect("only explanations are judged");
    }

    /// A checker that has picked a datagram from the LAN to the internet, which left from 203.0.113.10.
    fn picked() -> ExplanationsTrue {
        let mut checker = ExplanationsTrue::new(&config());
        let query = packet("192.168.1.9", "198.18.7.7", udp(5000, 53, vec![]));
        pass(&mut checker, Way::In, Side::Lan, &query);
        assert_eq!(checker.question(), None, "nobody has asked for one");
        checker.on_asking();
        pass(&mut checker, Way::In, Side::Lan, &packet("192.168.1.9", "192.168.1.8", udp(5000, 53, vec![])));
        pass(&mut checker, Way::In, Side::Lan, &packet("192.168.1.9", "198.18.7.7", segment(5000, 80, "A")));
        assert_eq!(checker.question(), None, "one is bridged, one is no SYN");
        pass(&mut checker, Way::In, Side::Lan, &query);
        pass(&mut checker, Way::Out, Side::Wan, &packet("203.0.113.10", "198.18.7.7", udp(6000, 53, vec![])));
        let asked = checker.question().expect("it suits");
        assert_eq!((asked.from_port, asked.to_port, &asked.to[..]), (Some(5000), Some(53), "198.18.7.7"));
        checker
    }

    fn explained(verdict: &str, reason: Option<&str>, after: [&str; 2]) -> Explained {
        let details = [("after".to_owned(), json!(after))].into_iter().collect();
        let nat = Stage { stage: "nat".to_owned(), text: String::new(), details };
        Explained {
            protocol: "udp".to_owned(),
            from: String::new(),
            to: String::new(),
            stages: vec![nat],
            verdict: verdict.to_owned(),
            passes: reason.is_none(),
            reason: reason.map(str::to_owned),
            meaning: String::new(),
            made: 0,
        }
    }

    fn drop(reason: &str, destination: &str) -> RecentDrop {
        RecentDrop {
            reason: reason.to_owned(),
            protocol: Some("udp".to_owned()),
            source: Some("192.168.1.9:5000".to_owned()),
            destination: Some(destination.to_owned()),
            ..RecentDrop::default()
        }
    }

    const AFTER: [&str; 2] = ["203.0.113.10:6000", "198.18.7.7:53"];
    const TO: &str = "198.18.7.7:53";

    #[test]
    fn an_explanation_that_does_not_fit_is_reported() {
        let judge = |explained: &Explained, drops: &[RecentDrop]| picked().on_explained(explained, drops);
        let sent = explained("transmitted", None, AFTER);
        assert_eq!(judge(&sent, &[]), Ok(()));
        assert_eq!(judge(&sent, &[drop("unsolicited", "198.18.7.7:54")]), Ok(()), "another packet's");
        assert_eq!(judge(&sent, &[drop("udp-checksum", TO)]), Ok(()), "the packet's own fault");
        assert!(judge(&sent, &[drop("filtered", TO)]).is_err());
        assert!(judge(&explained("transmitted", None, ["203.0.113.10:6002", TO]), &[]).is_err());
        let dropped = explained("dropped", Some("filtered"), AFTER);
        assert_eq!(judge(&dropped, &[drop("filtered", TO)]), Ok(()));
        assert!(judge(&dropped, &[]).is_err());
        assert!(judge(&dropped, &[drop("unsolicited", TO)]).is_err());
        assert_eq!(judge(&explained("dropped", Some("flow-host-limit"), AFTER), &[]), Ok(()));
    }

    #[test]
    fn a_change_of_the_gateway_in_between_proves_nothing() {
        let dropped = explained("dropped", Some("filtered"), AFTER);
        let changes: [fn(&mut ExplanationsTrue); 3] =
            [Checker::on_boot, |it| it.on_reload(&config()), |it| it.on_configure(&config())];
        for change in changes {
            let mut checker = picked();
            change(&mut checker);
            assert_eq!((checker.question(), checker.on_explained(&dropped, &[])), (None, Ok(())));
        }
    }
}
