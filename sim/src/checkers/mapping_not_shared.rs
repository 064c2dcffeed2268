//! Mappings are not shared, and each inside endpoint has one. (RFC 4787, REQ-1; RFC 5382, REQ-1)

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use gatepost::config::Config;
use gatepost::control::report::Flow;

use super::lan::Lan;
use super::{Checker, Snapshot};

/// Compares the flows that the gateway reports with each other.
pub struct MappingNotShared {
    lan: Lan,
}

/// A mapping: the inside endpoint and the external one.
pub type Mapping = (SocketAddr, SocketAddr);

/// The mapping that a flow from the network `lan` uses, if it uses one.
pub fn mapping(lan: &Lan, flow: &Flow) -> Option<Mapping> {
    let inside: SocketAddr = flow.client.parse().ok()?;
    let outside: SocketAddr = flow.client_seen_as.parse().ok()?;
    let is_inside = |address| matches!(address, IpAddr::V4(address) if lan.contains(&address));
    (is_inside(inside.ip()) && !is_inside(outside.ip())).then_some((inside, outside))
}

impl MappingNotShared {
    /// For the LAN of `config`.
    pub fn new(config: &Config) -> Self {
        Self { lan: Lan::of(config) }
    }

    fn check(&self, flows: &[Flow]) -> Result<(), String> {
        let mut insides = BTreeMap::new();
        let mut outsides = BTreeMap::new();
        for flow in flows {
            let Some((inside, outside)) = mapping(&self.lan, flow) else { continue };
            let protocol = flow.protocol.as_str();
            let owner = *insides.entry((protocol, outside)).or_insert(inside);
            if owner != inside {
                return Err(format!("{protocol} {outside} stands for {owner} and for {inside}"));
            }
            // Old mappings keep the old WAN address.
            let first = *outsides.entry((protocol, inside, outside.ip())).or_insert(outside);
            if first != outside {
                return Err(format!("{protocol} {inside} is seen as {first} and as {outside}"));
            }
        }
        Ok(())
    }
}

impl Checker for MappingNotShared {
    fn name(&self) -> &'static str {
        "mapping-not-shared"
    }

    fn promise(&self) -> &'static str {
        "an external endpoint belongs to one inside endpoint, and an inside endpoint has one external endpoint"
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
    use crate::checkers::testing::config;

    fn flow(client: &str, client_seen_as: &str) -> Flow {
        crate::checkers::testing::flow(client, client_seen_as, "198.51.100.1:53")
    }

    #[test]
    fn sharing_and_splitting_are_told() {
        let checker = MappingNotShared::new(&config());
        let [a, b] = ["192.168.1.8:1000", "192.168.1.9:1000"];
        let [x, y] = ["203.0.113.9:1000", "203.0.113.9:1001"];
        assert_eq!(checker.check(&[flow(a, x), flow(a, x), flow(b, y)]), Ok(()));
        assert!(checker.check(&[flow(a, x), flow(b, x)]).is_err());
        assert!(checker.check(&[flow(a, x), flow(a, y)]).is_err());
    }
}
