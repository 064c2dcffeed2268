//! The difference of two configurations in words: "the camera's port 8443 closes".
//!
//! Forwards, reservations, users, addresses and services are told by what they mean; everything else as
//! `KEY: OLD -> NEW`, with the default for what is not written. The file has no secrets, only the names of files that
//! have them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gatepost_dataplane::config::Mode;
use gatepost_services::words::on_one_line;
use serde::{Deserialize, Serialize};

use super::edit::{Flat, Stored};
use super::{Config, Forward, WanAddress};

/// The most changes that are told; of more, the last line has the number.
pub const CHANGES_MAX: usize = 200;

/// The longest value in a change, in characters.
const VALUE_CHARS_MAX: usize = 120;

/// All settings with their defaults.
const DEFAULTS: &str = include_str!("../../gatepost.example.toml");

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The setting that it is about.
    pub key: String,
    /// The difference in words.
    pub text: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The differences between two configurations, which have these texts; at most [`CHANGES_MAX`]. None if only comments
/// and layout differ.
pub fn changes(old: (&str, &Config), new: (&str, &Config)) -> Vec<Change> {
    let mut told = Told::default();
    told.addresses(old.1, new.1);
    told.forwards(old.1, new.1);
    told.reservations(old.1, new.1);
    told.users(old.1, new.1);
    told.services(old.1, new.1);
    told.others(old.0, new.0);
    let mut changes = told.changes;
    let more = changes.len().saturating_sub(CHANGES_MAX - 1);
    if more > 1 {
        changes.truncate(CHANGES_MAX - 1);
        changes.push(Change { key: String::new(), text: format!("and {more} more changes") });
    }
    changes
}

#[derive(Default)]
struct Told {
    changes: Vec<Change>,
    /// The beginnings of keys that are told already.
    topics: Vec<String>,
}

impl Told {
    fn tell(&mut self, key: impl Into<String>, text: String) {
        self.changes.push(Change { key: key.into(), text });
    }

    fn cover(&mut self, topics: &[&str]) {
        self.topics.extend(topics.iter().map(|&topic| topic.to_owned()));
    }

    fn addresses(&mut self, old: &Config, new: &Config) {
        self.cover(&["network.mode", "lan.address", "wan.address", "wan.gateway", "firewall.dmz_host"]);
        if old.mode != new.mode {
            let text = format!("the mode changes from {} to {}", old.mode.name(), new.mode.name());
            self.tell("network.mode", text);
        }
        if old.lan.address != new.lan.address {
            let text = format!("the LAN's address changes from {} to {}", old.lan.address, new.lan.address);
            self.tell("lan.address", text);
        }
        let wan = |config: &Config| match config.wan.address {
            WanAddress::Leased => "that of the provider's DHCP".to_owned(),
            WanAddress::Static { address, gateway: None } => address.to_string(),
            WanAddress::Static { address, gateway: Some(gateway) } => {
                format!("{address} by way of {gateway}")
            }
        };
        if old.wan.address != new.wan.address && new.mode != Mode::LanOnly {
            self.tell("wan.address", format!("the WAN's address changes from {} to {}", wan(old), wan(new)));
        }
        let text = match (old.firewall.dmz_host, new.firewall.dmz_host) {
            (old, new) if old == new => return,
            (_, Some(new)) => format!("what the WAN sends to nobody in particular goes to {new}"),
            (_, None) => "what the WAN sends to nobody in particular is dropped".to_owned(),
        };
        self.tell("firewall.dmz_host", text);
    }

    fn forwards(&mut self, old: &Config, new: &Config) {
        self.cover(&["firewall.forwards"]);
        let key = |forward: &Forward| format!("firewall.forwards.{}", forward.name);
        let port = |forward: &Forward| {
            let ports = forward.rules.first().map(|rule| rule.wan_ports.clone().into_inner());
            let ports = match ports {
                Some((first, last)) if first != last => format!("ports {first}-{last}"),
                Some((port, _)) => format!("port {port}"),
                None => "port".to_owned(),
            };
            format!("the {}'s {ports}", forward.name)
        };
        let to = |forward: &Forward| {
            let text = forward.to_string();
            text.split_once(" to ").map_or_else(String::new, |(_, to)| to.to_owned())
        };
        let (before, after) = (by_name(old), by_name(new));
        for (name, forward) in &before {
            match after.get(name) {
                None => self.tell(key(forward), format!("{} closes", port(forward))),
                Some(now) if now.rules == forward.rules => {}
                Some(now) if port(now) != port(forward) || now.rules.len() != forward.rules.len() => {
                    self.tell(key(forward), format!("the forward {forward} becomes {now}"));
                }
                Some(now) => {
                    self.tell(
                        key(forward),
                        format!("{} leads to {} instead of {}", port(now), to(now), to(forward)),
                    );
                }
            }
        }
        for (_, forward) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            self.tell(key(forward), format!("{} opens and leads to {}", port(forward), to(forward)));
        }
    }

    fn reservations(&mut self, old: &Config, new: &Config) {
        let by_address = |config: &Config| -> BTreeMap<_, _> { config.services.reservations().collect() };
        let (before, after) = (by_address(old), by_address(new));
        let what = |text: &str| text.split_once(' ').map_or_else(String::new, |(_, what)| what.to_owned());
        for (address, text) in &before {
            let key = format!("dhcp.reservations.\"{address}\"");
            match after.get(address) {
                None => self.tell(key, format!("{address} is no longer reserved for {}", what(text))),
                Some(now) if now != text => {
                    self.tell(
                        key,
                        format!("{address} is reserved for {} instead of {}", what(now), what(text)),
                    );
                }
                Some(_) => {}
            }
        }
        for (address, text) in after.iter().filter(|(address, _)| !before.contains_key(*address)) {
            let key = format!("dhcp.reservations.\"{address}\"");
            self.tell(key, format!("{address} is reserved for {}", what(text)));
        }
    }

    fn users(&mut self, old: &Config, new: &Config) {
        let find = |config: &Config, name: &str| config.users.iter().find(|user| user.name == name).cloned();
        for user in &old.users {
            let key = format!("users.{}", user.name);
            match find(new, &user.name) {
                None => {
                    self.topics.push(key.clone());
                    self.tell(key, format!("{} is no longer a user", user.name));
                }
                Some(now) if now.role != user.role => {
                    self.topics.push(format!("{key}.role"));
                    let text =
                        format!("{} becomes {} instead of {}", user.name, now.role.name(), user.role.name());
                    self.tell(format!("{key}.role"), text);
                }
                Some(_) => {}
            }
        }
        for user in new.users.iter().filter(|user| find(old, &user.name).is_none()) {
            let key = format!("users.{}", user.name);
            self.topics.extend(["name", "role"].map(|part| format!("{key}.{part}")));
            self.tell(key, format!("{} is a new user, with the role {}", user.name, user.role.name()));
        }
    }

    fn services(&mut self, old: &Config, new: &Config) {
        self.cover(&["firewall.wan_services"]);
        let states = |config: &Config| {
            let mail = ("mail", "mail", config.mail_off().is_none());
            config.services.switches().into_iter().chain([mail])
        };
        for ((section, name, before), (_, _, after)) in states(old).zip(states(new)) {
            self.topics.push(format!("{section}.enabled"));
            if before != after {
                let state = if after { "on" } else { "off" };
                self.tell(format!("{section}.enabled"), format!("{name} is switched {state}"));
            }
        }
        let open = |config: &Config| config.wan_services().map(|kind| kind.name).collect::<Vec<_>>();
        let (before, after) = (open(old), open(new));
        for name in before.iter().filter(|name| !after.contains(name)) {
            self.tell("firewall.wan_services", format!("{name} closes to the WAN"));
        }
        for name in after.iter().filter(|name| !before.contains(name)) {
            self.tell("firewall.wan_services", format!("{name} opens to the WAN"));
        }
    }

    /// The settings that no topic has told.
    fn others(&mut self, old: &str, new: &str) {
        let read = |text: &str| Stored::read(text).map(|stored| stored.flat()).unwrap_or_default();
        let (before, after, defaults) = (read(old), read(new), read(DEFAULTS));
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let reservation = |key: &str| {
            let is_told = ["hostname", "mac", "client_id", "address"]
                .iter()
                .any(|part| key.ends_with(&format!(".{part}")));
            key.starts_with("dhcp.reservations.") && is_told
        };
        for key in keys {
            let is_under = |topic: &String| {
                key.strip_prefix(topic.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let value = |flat: &Flat| flat.get(key).or_else(|| defaults.get(key)).cloned();
            let (was, is) = (value(&before), value(&after));
            if was == is || reservation(key) || self.topics.iter().any(is_under) {
                continue;
            }
            let shown = |value: Option<String>| value.map_or_else(|| "not set".to_owned(), short);
            self.tell(key.as_str(), format!("{key}: {} -> {}", shown(was), shown(is)));
        }
    }
}

fn by_name(config: &Config) -> BTreeMap<&str, &Forward> {
    config.firewall.forwards.iter().map(|forward| (forward.name.as_str(), forward)).collect()
}

/// A value on one line, cut to a length that can be read.
fn short(value: String) -> String {
    let line = on_one_line(&value);
    match line.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: &str, new: &str) -> Vec<String> {
        let config =
            |text: &str| Config::parse("test", text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let changes = changes((old, &config(old)), (new, &config(new)));
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn forwards_open_close_and_move() {
        let camera = "[[firewall.forwards]]\nname = 'camera'\nwan_port = '8443'\nto = '192.168.1.20:443'\n";
        assert_eq!(told(camera, ""), ["the camera's port 8443 closes"]);
        assert_eq!(told("", camera), ["the camera's port 8443 opens and leads to 192.168.1.20:443"]);
        assert_eq!(
            told(camera, &camera.replace(".20:", ".21:")),
            ["the camera's port 8443 leads to 192.168.1.21:443 instead of 192.168.1.20:443"]
        );
        assert_eq!(
            told(camera, &camera.replace("8443", "8444")),
            ["the forward camera: tcp 8443 to 192.168.1.20:443 becomes camera: tcp 8444 to 192.168.1.20:443"]
        );
    }

    #[test]
    fn people_addresses_and_services_are_told_by_what_they_mean() {
        let printer = "[[dhcp.reservations]]\nhostname = 'printer'\nmac = '02:00:00:00:00:20'\n\
                       address = '192.168.1.20'\n";
        assert_eq!(told("", printer), ["192.168.1.20 is reserved for printer (02:00:00:00:00:20)"]);
        assert_eq!(told(printer, ""), ["192.168.1.20 is no longer reserved for printer (02:00:00:00:00:20)"]);
        let alice = "mail.enabled = false\n[[users]]\nname = 'alice'\n";
        assert_eq!(told("mail.enabled = false\n", alice), ["alice is a new user, with the role user"]);
        assert_eq!(told(alice, "mail.enabled = false\n"), ["alice is no longer a user"]);
        assert_eq!(
            told(alice, &format!("{alice}role = 'owner'\nquota = '2 GiB'\n")),
            ["alice becomes owner instead of user", "users.alice.quota: not set -> \"2 GiB\""]
        );
        assert_eq!(
            told("", "lan.address = '192.168.1.2/24'\nntp.enabled = false\nfirewall.wan_services = ['dns']"),
            [
                "the LAN's address changes from 192.168.1.1/24 to 192.168.1.2/24",
                "NTP is switched off",
                "dns opens to the WAN"
            ]
        );
        assert_eq!(
            told(
                "",
                "wan.address = '203.0.113.10/24'\nwan.gateway = '203.0.113.1'\nnetwork.mode = 'nat'\n\
                      firewall.wan_services = []\nfirewall.dmz_host = '192.168.1.30'"
            ),
            [
                "the mode changes from nat-dmz to nat",
                "the WAN's address changes from that of the provider's DHCP to 203.0.113.10/24 by way of 203.0.113.1",
                "what the WAN sends to nobody in particular goes to 192.168.1.30",
            ]
        );
    }

    #[test]
    fn everything_else_is_told_with_its_default() {
        assert_eq!(told("", "dhcp.lease_secs = 600"), ["dhcp.lease_secs: 86400 -> 600"]);
        assert_eq!(told("dhcp.lease_secs = 600", "# only a comment"), ["dhcp.lease_secs: 600 -> 86400"]);
        assert_eq!(told("# one", "# other\ndhcp.lease_secs = 86400"), [""; 0]);
        let records: String = (0..300)
            .map(|n| format!("[[dns.records]]\nname = 'n{n}'\ntype = 'TXT'\nvalue = 'v'\n"))
            .collect();
        let told = told("", &records);
        assert_eq!((told.len(), told[CHANGES_MAX - 1].as_str()), (CHANGES_MAX, "and 701 more changes"));
    }
}
