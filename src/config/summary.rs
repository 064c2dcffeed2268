//! A configuration in one line, for people.

use std::fmt;

use gatepost_dataplane::config::{Mode, Segment};

use super::{Config, WanAddress};

/// What is set up, in one line.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |side: Segment| {
            let names =
                self.ports().filter(|(segment, _)| *segment == side).map(|(_, port)| port.to_string());
            names.collect::<Vec<_>>().join(", ")
        };
        write!(f, "{}, LAN {} on {}", self.mode.name(), self.lan.address, ports(Segment::Lan))?;
        match self.wan.address {
            _ if self.mode == Mode::LanOnly => Ok(()),
            WanAddress::Dhcp => write!(f, ", WAN by DHCP on {}", ports(Segment::Wan)),
            WanAddress::Static { address, .. } => write!(f, ", WAN {address} on {}", ports(Segment::Wan)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(text: &str) -> String {
        Config::parse("test", text).expect("a valid configuration").to_string()
    }

    #[test]
    fn summary_names_mode_addresses_and_ports() {
        assert_eq!(summary(""), "nat-dmz, LAN 192.168.1.1/24 on gp-lan0, WAN by DHCP on gp-wan0");
        assert_eq!(
            summary(
                "lan.ports = [{ tap = 'eth0', netns = 'pc1' }, { tap = 'eth0', netns = 'pc2' }]\n\
                 network.mode = 'router'\nwan.address = '203.0.113.10/24'"
            ),
            "router, LAN 192.168.1.1/24 on eth0 in netns pc1, eth0 in netns pc2, WAN 203.0.113.10/24 on gp-wan0"
        );
        assert_eq!(summary("network.mode = 'lan-only'"), "lan-only, LAN 192.168.1.1/24 on gp-lan0");
    }
}
