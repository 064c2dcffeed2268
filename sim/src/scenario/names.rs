//! The names of an office that are not the provider's: zones with servers of their own, and hosts that look up names.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::office::Office;
use super::outcome::Account;
use crate::machine::internet::{OfficeZone, ZoneManner, ZoneServer};
use crate::machine::zone_asker::{Asked, AskerRecord, Names, ZoneAsker};
use crate::machine::zone_host::ZoneHost;

/// The host that looks up names.
const ASKER: &str = "asker";
/// The names of the internet that it looks up: an empty non-terminal, names below it, and others.
const INTERNET_NAMES: [&str; 5] = [
    "cdn.example.net.",
    "site-14.cdn.example.net.",
    "site-15.cdn.example.net.",
    "web-0.example.com.",
    "nobody.example.",
];

/// What the office's name service does besides asking the provider's resolvers.
#[derive(Debug, Default)]
pub(super) struct OfficeNames {
    pub(super) mixed_case: bool,
    pub(super) zones: Vec<(OfficeZone, Home)>,
}

/// Where the servers of a zone are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// Two on the internet.
    Internet,
    /// One at a port of the gateway's switch, such as `lan0`.
    Lan(String),
}

impl Office {
    /// The gateway asks its upstream servers in mixed case.
    pub fn mixed_case(mut self) -> Self {
        self.names.mixed_case = true;
        self
    }

    /// A zone has servers of its own, and the gateway's file leads to them: by NS records, or by a conditional zone.
    #[track_caller]
    pub fn zone(mut self, zone: OfficeZone, home: Home, manner: ZoneManner) -> Self {
        let name = host_name(zone);
        self.names.zones.push((zone, home.clone()));
        match home {
            Home::Internet => {
                let site = ZoneServer::site(zone, name);
                self.server(name, site, move |seed| ZoneServer::new(zone, manner, seed))
            }
            Home::Lan(port) => {
                self.machine(name, &port, move |identity| ZoneHost::new(identity, zone, manner))
            }
        }
    }

    /// A host at `port` looks up the names of all zones that the office has so far, and of the internet.
    #[track_caller]
    pub fn looking_up(self, port: &str) -> Self {
        let zones = self.names.zones.iter().map(|(zone, _)| Names { of: zone.apex(), names: zone.names() });
        let internet = Names { of: "the internet", names: INTERNET_NAMES.map(str::to_owned).to_vec() };
        let names: Vec<_> = zones.chain(self.has_wan().then_some(internet)).collect();
        self.machine(ASKER, port, move |identity| ZoneAsker::new(identity, names.clone()))
    }

    /// Whether a host looks up names.
    pub(super) fn looks_up(&self) -> bool {
        self.has_own_machine(ASKER)
    }
}

impl OfficeNames {
    /// The gateway's configuration, where `address` is that of a machine of the office.
    pub(super) fn config(&self, address: impl Fn(&str) -> Option<Ipv4Addr>) -> String {
        let mut text = if self.mixed_case { "dns.mixed_case = true\n" } else { "" }.to_owned();
        for (zone, home) in &self.zones {
            let servers: Vec<_> = match home {
                Home::Internet => zone.internet_addresses().to_vec(),
                Home::Lan(_) => address(host_name(*zone)).into_iter().collect(),
            };
            let apex = zone.apex().trim_end_matches('.');
            if *zone == OfficeZone::Conditional {
                let servers: Vec<_> = servers.iter().map(|server| format!("'{server}'")).collect();
                let _ =
                    writeln!(text, "[[dns.forward]]\nzone = '{apex}'\nservers = [{}]", servers.join(", "));
                continue;
            }
            for (number, server) in servers.iter().enumerate() {
                let name = format!("ns-{number}.{apex}.");
                for (owner, kind, value) in
                    [(format!("{apex}."), "NS", name.clone()), (name, "A", server.to_string())]
                {
                    let _ = writeln!(
                        text,
                        "[[dns.records]]\nname = '{owner}'\ntype = '{kind}'\nvalue = '{value}'"
                    );
                }
            }
        }
        text
    }
}

/// Checks what the host that looks up names has found of each zone, and of the internet.
pub(super) fn every_zone(account: &Account, holds: impl Fn(&Asked) -> bool) -> Result<(), String> {
    let record = account.record::<AskerRecord>(ASKER);
    if record.0.values().all(holds) { Ok(()) } else { Err(record.to_string()) }
}

/// The name of the zone's server in captures and reservations.
fn host_name(zone: OfficeZone) -> &'static str {
    match zone {
        OfficeZone::Delegated => "lab-ns",
        OfficeZone::Conditional => "corp-ns",
    }
}
