//! Forwards end: once a forward is removed from the configuration, no packet passes it.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost::config::Config;
use gatepost_dataplane::config::Forward;
use gatepost_dataplane::flow::Pinhole;
use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;

use super::lan::Lan;
use super::{Checker, Passage, Side, Way};
use crate::packet::Transport;

/// How long a frame can wait for its neighbour: three ARP requests.
const HELD: Duration = Duration::from_secs(4);
/// The largest number of remembered targets of former forwards, the latest.
const FORMER_MAX: usize = 1_024;

/// Records the targets of present and former forwards.
pub struct ForwardsEnd {
    lan: Lan,
    in_force: Targets,
    /// The targets of the configuration that a reload activates, until it is in force.
    upcoming: Option<Targets>,
    /// The targets of removed forwards.
    former: Vec<Former>,
}

/// The targets of TCP forwards.
#[derive(Clone)]
struct Targets {
    forwards: Vec<Forward>,
    dmz_host: Option<Ipv4Addr>,
}

struct Former {
    forward: Forward,
    /// When the forward was first seen to be gone.
    gone_at: Option<Instant>,
}

impl ForwardsEnd {
    /// For the LAN and the forwards of `config`.
    pub fn new(config: &Config) -> Self {
        Self { lan: Lan::of(config), in_force: Targets::of(config), upcoming: None, former: Vec::new() }
    }

    /// Whether any configuration that may be in force leads there.
    fn leads_to(&self, address: Ipv4Addr, port: u16) -> bool {
        self.upcoming.iter().chain([&self.in_force]).any(|targets| targets.lead_to(address, port))
    }
}

impl Targets {
    fn of(config: &Config) -> Self {
        let all = config.firewall.forwards.iter().flat_map(|forward| forward.rules.clone());
        let forwards = all.filter(|forward| forward.protocol == Protocol::TCP).collect();
        Self { forwards, dmz_host: config.firewall.dmz_host }
    }

    fn lead_to(&self, address: Ipv4Addr, port: u16) -> bool {
        self.dmz_host == Some(address) || self.forwards.iter().any(|it| leads_to(it, address, port))
    }
}

fn leads_to(forward: &Forward, address: Ipv4Addr, port: u16) -> bool {
    let last = forward.to_port.saturating_add(forward.wan_ports.end() - forward.wan_ports.start());
    forward.to == address && (forward.to_port..=last).contains(&port)
}

impl Checker for ForwardsEnd {
    fn name(&self) -> &'static str {
        "forwards-end"
    }

    fn promise(&self) -> &'static str {
        "once a forward is removed from the configuration, connections through it end and no new ones begin"
    }

    fn on_pinhole(&mut self, pinhole: &Pinhole, _until: Instant) {
        let Pinhole { inside, .. } = pinhole;
        self.former.retain(|former| !leads_to(&former.forward, inside.address, inside.port));
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
        self.upcoming = Some(Targets::of(config));
    }

    fn on_configure(&mut self, config: &Config) {
        let before = std::mem::replace(&mut self.in_force, Targets::of(config));
        self.upcoming = None;
        let gone = before.forwards.into_iter().map(|forward| Former { forward, gone_at: None });
        self.former.extend(gone);
        let Self { former, in_force, .. } = self;
        former.retain(|former| !in_force.forwards.contains(&former.forward));
        former.drain(..former.len().saturating_sub(FORMER_MAX));
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let unseen = self.former.iter_mut().filter(|former| former.gone_at.is_none());
        unseen.for_each(|former| former.gone_at = Some(passage.now));
        let (Side::Lan, Way::Out, Some(ip)) = (passage.side, passage.way, passage.packet.ipv4()) else {
            return Ok(());
        };
        let Transport::Tcp { destination_port: port, .. } = ip.transport else { return Ok(()) };
        if self.lan.contains(&ip.source) || ip.is_own_reset() || self.leads_to(ip.destination, port) {
            return Ok(());
        }
        let led_there = |former: &&Former| leads_to(&former.forward, ip.destination, port);
        match self.former.iter().find(led_there).and_then(|former| former.gone_at) {
            Some(gone_at) if passage.now.since(gone_at) > HELD => {
                Err(format!("by a forward that is gone since {gone_at}: {:?}", passage.packet))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{config, packet, passage, tcp, udp};
    use crate::packet::Packet;

    fn with_forward() -> Config {
        let rules = "[[firewall.forwards]]\nwan_port = '8000-8001'\nto = '192.168.1.20:80'\nprotocol = 'tcp'";
        Config::parse("a test", rules).expect("a valid configuration")
    }

    fn reported(checker: &mut ForwardsEnd, secs: u64, packet: &Packet) -> bool {
        checker.on_passage(&passage(secs, Way::Out, Side::Lan, packet)).is_err()
    }

    #[test]
    fn what_comes_by_a_forward_that_is_gone_is_told() {
        let mut checker = ForwardsEnd::new(&with_forward());
        let visit = |port| packet("198.51.100.1", "192.168.1.20", tcp(1000, port));
        assert!(!reported(&mut checker, 1, &visit(80)));
        checker.on_reload(&config());
        assert!(!reported(&mut checker, 2, &visit(80)), "both may be in force");
        checker.on_configure(&config());
        assert!(!reported(&mut checker, 3, &visit(80)), "it may have waited for its neighbour");
        assert!(reported(&mut checker, 8, &visit(80)) && reported(&mut checker, 8, &visit(81)));
        assert!(!reported(&mut checker, 8, &visit(82)));
        let datagram = packet("198.51.100.1", "192.168.1.20", udp(1000, 80, Vec::new()));
        let colleague = packet("192.168.1.9", "192.168.1.20", tcp(1000, 80));
        assert!(!reported(&mut checker, 8, &datagram) && !reported(&mut checker, 8, &colleague));
    }

    #[test]
    fn a_forward_that_is_back_or_the_default_machine_is_led_to() {
        let mut checker = ForwardsEnd::new(&with_forward());
        let visit = packet("198.51.100.1", "192.168.1.20", tcp(1000, 80));
        checker.on_configure(&config());
        assert!(!reported(&mut checker, 1, &visit) && reported(&mut checker, 9, &visit));
        checker.on_reload(&with_forward());
        assert!(!reported(&mut checker, 10, &visit));
        checker.on_configure(&with_forward());
        assert!(!reported(&mut checker, 20, &visit));
        let dmz =
            Config::parse("a test", "firewall.dmz_host = '192.168.1.20'").expect("a valid configuration");
        checker.on_configure(&dmz);
        assert!(!reported(&mut checker, 30, &visit) && !reported(&mut checker, 40, &visit));
    }
}
