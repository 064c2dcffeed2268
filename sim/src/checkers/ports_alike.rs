//! Ports are alike: a mapping's external port has the range and the parity of its inside port, also if another mapping
//! has the same one already. (RFC 4787, REQ-3a and REQ-4)

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use gatepost::config::Config;
use gatepost::control::report::Flow;

use super::lan::Lan;
use super::mapping_not_shared::mapping;
use super::{Checker, Snapshot};

/// The ports of a range of their own. (RFC 4787, REQ-3a)
const LOW_COUNT: usize = 1_024;
const PORTS_COUNT: usize = 1 << 16;
/// Ports of one range and parity run short if one in so many of them is in use: a mapping may then get another kind.
const SHORT_WHEN_TAKEN: usize = 4;

/// Checks the mappings of the flows that the gateway reports.
pub struct PortsAlike {
    lan: Lan,
    workers: usize,
    /// Hosts that are or were the targets of rules: their external ports are those of the rules.
    ruled: BTreeSet<IpAddr>,
    /// The mappings of the previous report.
    known: BTreeSet<(String, SocketAddr, SocketAddr)>,
    /// Whether ports were short in the previous report.
    was_short: bool,
}

impl PortsAlike {
    /// For the LAN and the rules of `config`.
    pub fn new(config: &Config) -> Self {
        let mut this = Self {
            lan: Lan::of(config),
            workers: config.system.workers.into(),
            ruled: BTreeSet::new(),
            known: BTreeSet::new(),
            was_short: false,
        };
        this.heed_rules_of(config);
        this
    }

    /// Accepts mappings of former rules, too.
    fn heed_rules_of(&mut self, config: &Config) {
        let forwards = config.firewall.forwards.iter().flat_map(|forward| &forward.rules);
        self.ruled.extend(forwards.map(|rule| IpAddr::V4(rule.to)));
        self.ruled.extend(config.firewall.dmz_host.map(IpAddr::V4));
    }

    fn check(&mut self, flows: &[Flow]) -> Result<(), String> {
        let mappings: BTreeSet<_> = flows
            .iter()
            .filter(|flow| ["tcp", "udp"].contains(&flow.protocol.as_str()))
            .filter_map(|flow| {
                mapping(&self.lan, flow).map(|(inside, outside)| (flow.protocol.clone(), inside, outside))
            })
            .collect();
        let is_short = self.is_short(&mappings);
        let is_excused = is_short || self.was_short;
        let unlike = mappings.difference(&self.known).find(|(_, inside, outside)| {
            kind(inside.port()) != kind(outside.port()) && !self.ruled.contains(&inside.ip()) && !is_excused
        });
        let told = unlike.map_or(Ok(()), |(protocol, inside, outside)| {
            Err(format!("{protocol} {inside} is seen as {outside}, which is of another range or parity"))
        });
        self.known = mappings;
        self.was_short = is_short;
        told
    }

    /// Whether ports of any kind run short, so that a new mapping may get one of another kind.
    fn is_short(&self, mappings: &BTreeSet<(String, SocketAddr, SocketAddr)>) -> bool {
        let mut taken: BTreeMap<_, usize> = BTreeMap::new();
        for (protocol, _, outside) in mappings {
            *taken.entry((protocol, outside.ip(), kind(outside.port()))).or_default() += 1;
        }
        taken.iter().any(|((.., (is_low, _)), taken)| {
            let there_are = if *is_low { LOW_COUNT } else { PORTS_COUNT - LOW_COUNT } / 2 / self.workers;
            taken * SHORT_WHEN_TAKEN > there_are
        })
    }
}

/// A port's range and parity.
fn kind(port: u16) -> (bool, bool) {
    (usize::from(port) < LOW_COUNT, port.is_multiple_of(2))
}

impl Checker for PortsAlike {
    fn name(&self) -> &'static str {
        "ports-alike"
    }

    fn promise(&self) -> &'static str {
        "a mapping's external port has the range and the parity of its inside port, unless ports run short"
    }

    fn on_boot(&mut self) {
        self.known.clear();
    }

    fn on_configure(&mut self, config: &Config) {
        self.heed_rules_of(config);
    }

    fn on_reload(&mut self, config: &Config) {
        self.lan.follow(config);
    }

    fn on_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        snapshot.flows.as_ref().map_or(Ok(()), |flows| self.check(&flows.flows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::{self, config};

    fn flow(inside: u16, outside: u16) -> Flow {
        let [inside, outside] = [format!("192.168.1.9:{inside}"), format!("203.0.113.9:{outside}")];
        testing::flow(&inside, &outside, "198.51.100.1:53")
    }

    #[test]
    fn another_range_or_parity_is_told_once() {
        let reported = |inside, outside| PortsAlike::new(&config()).check(&[flow(inside, outside)]).is_err();
        let ports =
            [(123, 123), (123, 125), (123, 122), (123, 1_025), (4_000, 65_534), (4_000, 4_001), (4_000, 4)];
        assert_eq!(
            ports.map(|(inside, outside)| reported(inside, outside)),
            [false, false, true, true, false, true, true]
        );
        let mut checker = PortsAlike::new(&config());
        assert!(checker.check(&[flow(1, 2)]).is_err() && checker.check(&[flow(1, 2)]).is_ok());
        checker.on_boot();
        assert!(checker.check(&[flow(1, 2)]).is_err());
    }

    #[test]
    fn a_rule_has_its_own_port_and_where_ports_run_short_any_will_do() {
        let rules = "[[firewall.forwards]]\nwan_port = '8000'\nto = '192.168.1.9:81'\nprotocol = 'udp'";
        let mut checker = PortsAlike::new(&Config::parse("a test", rules).expect("a valid configuration"));
        assert_eq!(checker.check(&[flow(81, 8_000)]), Ok(()));
        let mut checker = PortsAlike::new(&config());
        let mut flows: Vec<_> = (0..130).map(|n| flow(1 + 2 * n, 1 + 2 * n)).collect();
        flows.push(flow(301, 302));
        assert_eq!(checker.check(&flows), Ok(()));
        assert_eq!(checker.check(&[flow(303, 304)]), Ok(()));
        assert!(checker.check(&[flow(305, 306)]).is_err());
    }
}
