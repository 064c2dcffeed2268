//! The gateway's configuration file for an office.
//!
//! The office's choices (mode, ports, networks, reservations, forwards) are merged with the scenario's
//! [`Office::config`]: tables of the same name are merged, and the scenario's keys take precedence; lists of tables are
//! joined.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use gatepost::config::Config;
use gatepost_ground::MacAddr;
use ipnet::Ipv4Net;
use toml::{Table, Value};

use super::action::Rules;
use super::browsing::Browsing;
use super::mail::Mail;
use super::office::{OWN_HOST_FIRST, Office, Server, WanBy, pc_number};
use super::own::OwnMachine;
use crate::machine::identity::Identity;
use crate::machine::internet::{RESOLVER_ADDRESSES, WEB_PORT};
use crate::machine::pc::mac_of;
use crate::mistake::Mistake;

/// The host number on the LAN of the first reserved address.
const RESERVED_FIRST: u32 = 200;
/// The host numbers on the LAN of the pool.
const POOL: (u32, u32) = (2, 254);

impl Office {
    /// The gateway's configuration in the beginning.
    pub(super) fn gateway_config(&self) -> Result<Config, Mistake> {
        self.config_of(&self.extra_config, true).map_err(|mistakes| {
            let what = format!("{mistakes}; see mode(), lan(), lease_secs(), wan_mtu() and config()");
            Mistake::at(self.line_of("config"), what)
        })
    }

    /// The gateway's configuration with other rules.
    pub(super) fn config_with(&self, rules: &Rules) -> Result<Config, String> {
        self.config_of(&rules.config, rules.has_forwards)
    }

    /// The text of that configuration.
    pub(super) fn gateway_text(&self) -> Result<String, String> {
        self.text_of(&self.extra_config, true)
    }

    fn text_of(&self, extra: &str, has_forwards: bool) -> Result<String, String> {
        let extra = extra.parse::<Table>().map_err(|mistake| format!("the scenario's lines:\n{mistake}"))?;
        let mut table =
            self.own_config(has_forwards).parse::<Table>().map_err(|mistake| mistake.to_string())?;
        if let Some(mail) = &self.mail {
            merge(
                &mut table,
                mail.config(self.has_wan())
                    .parse()
                    .map_err(|mistake: toml::de::Error| mistake.to_string())?,
            );
        }
        if self.browsing.is_some() {
            let keys = Browsing::config().parse().map_err(|mistake: toml::de::Error| mistake.to_string())?;
            merge(&mut table, keys);
        }
        let names = self.names.config(|machine| {
            self.reserved().find(|reserved| reserved.name == machine).map(|reserved| reserved.address)
        });
        merge(&mut table, names.parse().map_err(|mistake: toml::de::Error| mistake.to_string())?);
        merge(&mut table, extra);
        Ok(table.to_string())
    }

    fn config_of(&self, extra: &str, has_forwards: bool) -> Result<Config, String> {
        let text = self.text_of(extra, has_forwards)?;
        let mut config = Config::parse("the gateway's configuration", &text).map_err(|mistakes| {
            let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            format!("{}\n{text}", mistakes.join("\n"))
        })?;
        Mail::tell_passwords(&mut config);
        Ok(config)
    }

    fn own_config(&self, has_forwards: bool) -> String {
        let ports: Vec<_> = (0..self.lan_ports).map(|port| format!("{{ tap = 'lan{port}' }}")).collect();
        let (pool_first, pool_last) = POOL;
        format!(
            "network.mode = '{}'\nsystem.workers = {}\nadmin.enabled = false\n[dhcp]\npool = '{}-{}'\nlease_secs = {}\n\
             [lan]\naddress = '{}/{}'\nports = [{}]\n{}\n{}",
            self.mode,
            self.workers,
            self.lan_host(pool_first),
            self.lan_host(pool_last),
            self.lease_secs,
            self.gateway_address(),
            self.lan_network().prefix_len(),
            ports.join(", "),
            self.wan_config(),
            self.rules(has_forwards),
        )
    }

    fn wan_config(&self) -> String {
        if !self.has_wan() {
            return "[dns]\nuse_upstream = false".to_owned();
        }
        let address = match self.wan {
            WanBy::Dhcp => "address = 'dhcp'".to_owned(),
            WanBy::Fixed => format!(
                "address = '{}/{}'\ngateway = '{}'\n[dns]\nupstream = ['{}', '{}']",
                self.fixed_address(),
                self.isp_network.prefix_len(),
                self.isp_router(),
                RESOLVER_ADDRESSES[0],
                RESOLVER_ADDRESSES[1],
            ),
        };
        format!("[wan]\nports = [{{ tap = 'wan' }}]\nmtu = {}\n{address}", self.wan_mtu)
    }

    /// The reservations and the firewall's rules, as in the file.
    fn rules(&self, has_forwards: bool) -> String {
        let mut text = String::new();
        for Reserved { mac, hostname, address, .. } in self.reserved() {
            let _ = writeln!(text, "[[dhcp.reservations]]\nmac = '{mac}'\naddress = '{address}'");
            if let Some(hostname) = hostname {
                let _ = writeln!(text, "hostname = '{hostname}'");
            }
        }
        for Server { pc, port, .. } in &self.servers {
            let Some(Reserved { address, .. }) = self.reserved().find(|it| it.name == *pc) else { continue };
            let _ = match port {
                None => writeln!(text, "[firewall]\ndmz_host = '{address}'"),
                Some(_) if !has_forwards => Ok(()),
                Some(port) => {
                    writeln!(text, "[[firewall.forwards]]\nwan_port = '{port}'\nto = '{address}:{WEB_PORT}'")
                }
            };
        }
        text
    }

    /// The machines with reservations, and their addresses.
    fn reserved(&self) -> impl Iterator<Item = Reserved<'_>> {
        let mut seen = BTreeSet::new();
        let pcs = self.servers.iter().map(|server| &server.pc).chain(&self.printer);
        let pcs = pcs.filter(move |pc| seen.insert(pc.as_str())).filter_map(|pc| {
            let is_printer = self.printer.as_ref() == Some(pc);
            Some((pc.as_str(), mac_of(pc_number(pc)?), is_printer.then_some("printer")))
        });
        let own = self.own_machines.iter().enumerate().filter(|(_, own)| self.lan_port(&own.port).is_some());
        let own = own
            .map(|(number, OwnMachine { name, .. })| (name.as_str(), own_mac(number), Some(name.as_str())));
        let addresses = (RESERVED_FIRST..).map(|host| self.lan_host(host));
        let reserved = |((name, mac, hostname), address)| Reserved { name, mac, hostname, address };
        pcs.chain(own).zip(addresses).map(reserved)
    }

    /// The identity of the scenario's own machine with this number.
    pub(super) fn identity(&self, number: usize, seed: u64) -> Identity {
        let name = self.own_machines[number].name.clone();
        let reserved = self.reserved().find(|reserved| reserved.name == name);
        let (address, prefix_len, router) = match reserved {
            Some(Reserved { address, .. }) => {
                (address, self.lan_network().prefix_len(), self.gateway_address())
            }
            None => {
                let host = OWN_HOST_FIRST + u32::try_from(number).expect("validated");
                (self.isp_host(host), self.isp_network.prefix_len(), self.isp_router())
            }
        };
        let address = Ipv4Net::new(address, prefix_len).expect("a network's own prefix");
        Identity { name, mac: own_mac(number), address, router, office: self.wan_address(), seed }
    }

    /// The gateway's address on the LAN: the first of its network.
    pub(super) fn gateway_address(&self) -> Ipv4Addr {
        self.lan_host(1)
    }

    /// A host of the LAN.
    fn lan_host(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.lan_network().network().to_bits().saturating_add(number))
    }

    /// The LAN's network.
    fn lan_network(&self) -> Ipv4Net {
        self.lan.parse().expect("validated")
    }
}

/// An address that is reserved for a machine.
struct Reserved<'a> {
    name: &'a str,
    mac: MacAddr,
    hostname: Option<&'a str>,
    address: Ipv4Addr,
}

/// The hardware address of the scenario's own machine with this number.
pub(super) fn own_mac(number: usize) -> MacAddr {
    MacAddr([0x02, 0x00, 0x5e, 0x40, 0x00, u8::try_from(number).expect("validated")])
}

/// Whether an office can be on the network `text`: it has room for the pool and the reservations.
pub(super) fn is_lan_network(text: &str) -> bool {
    text.parse::<Ipv4Net>().is_ok_and(|network| network.prefix_len() <= 24 && network.trunc() == network)
}

/// Merges `extra` into `base`.
fn merge(base: &mut Table, extra: Table) {
    for (key, value) in extra {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(extra)) => merge(base, extra),
            (Some(Value::Array(base)), Value::Array(extra)) if extra.iter().all(Value::is_table) => {
                base.extend(extra);
            }
            (_, value) => _ = base.insert(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatepost::config::RecordValue;

    use super::*;
    use crate::machine::internet::{OfficeZone, TcpManner, ZoneManner};
    use crate::scenario::names::Home;
    use crate::scenario::office::office;

    #[test]
    fn the_scenarios_keys_win_and_lists_are_joined() {
        let office = office()
            .printer("pc-1")
            .config("[dhcp]\nlease_secs = 77\n[[dhcp.reservations]]\nmac = '02:00:00:00:00:99'\n")
            .config("address = '192.168.1.99'\n");
        let config = office.gateway_config().expect("the gateway accepts it");
        assert_eq!(config.services.dhcp.lease_secs, 77);
        assert_eq!(config.services.dhcp.reservations.len(), 2);
        assert_eq!(config.services.dhcp.pool.0, Ipv4Addr::new(192, 168, 1, 2));
    }

    #[test]
    fn everything_follows_the_lans_network() {
        let office = office().lan("10.20.0.0/16").printer("pc-1").forwarded("pc-0", 8_080);
        let config = office.gateway_config().expect("the gateway accepts it");
        assert_eq!(config.lan.address.to_string(), "10.20.0.1/16");
        assert_eq!(config.services.dhcp.pool.1, Ipv4Addr::new(10, 20, 0, 254));
        let reserved: Vec<_> =
            config.services.dhcp.reservations.iter().map(|reservation| reservation.address).collect();
        assert_eq!(reserved, [Ipv4Addr::new(10, 20, 0, 200), Ipv4Addr::new(10, 20, 0, 201)]);
    }

    #[test]
    fn zones_have_the_servers_of_the_office_or_of_the_internet() {
        let manner = ZoneManner { keeps_case: true, truncates: false, over_tcp: TcpManner::InOrder };
        let office = office()
            .mixed_case()
            .zone(OfficeZone::Conditional, Home::Lan("lan0".to_owned()), manner)
            .zone(OfficeZone::Delegated, Home::Internet, manner);
        let rules = Rules { config: String::new(), has_forwards: true };
        let reloaded = office.config_with(&rules).expect("the gateway accepts it");
        for config in [office.gateway_config().expect("the gateway accepts it"), reloaded] {
            let dns = config.services.dns;
            assert!(dns.mixed_case);
            assert_eq!(dns.forwards[0].zone, "corp.example");
            assert_eq!(dns.forwards[0].servers, [Ipv4Addr::new(192, 168, 1, 200)]);
            let servers = dns.records.iter().filter_map(|record| match record.value {
                RecordValue::Address(address) => Some(address.to_string()),
                _ => None,
            });
            assert_eq!(servers.collect::<Vec<_>>(), ["198.18.60.1", "198.18.60.2"]);
        }
    }

    #[test]
    fn a_pc_that_is_several_things_has_one_reservation() {
        let office = office().forwarded("pc-1", 8_080).dmz_host("pc-0").printer("pc-1");
        let config = office.gateway_config().expect("the gateway accepts it");
        let names =
            config.services.dhcp.reservations.iter().map(|reservation| reservation.hostname.as_deref());
        assert_eq!(names.collect::<Vec<_>>(), [Some("printer"), None]);
    }

    #[test]
    fn a_network_without_room_for_the_pool_is_none() {
        for (network, is_one) in
            [("10.0.0.0/8", true), ("10.0.0.0/25", false), ("10.0.0.1/24", false), ("office", false)]
        {
            assert_eq!(is_lan_network(network), is_one, "{network}");
        }
    }
}
