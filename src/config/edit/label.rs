//! The names of elements of lists.

use std::net::Ipv4Addr;

/// The keys that can name an element of a list, in this order.
const NAMES: [&str; 9] =
    ["name", "hostname", "zone", "domain", "tap", "server", "code", "address", "wan_port"];

/// How a new element of a list gets its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// By the value under this key.
    Key(&'static str),
    /// By its position, as elements of this list have no names.
    Position,
}

/// The lists of tables; the keys leave out the labels of elements.
const LISTS: [(&[&str], Naming); 14] = [
    (&["users"], Naming::Key("name")),
    (&["users", "poll"], Naming::Key("server")),
    (&["lan", "ports"], Naming::Key("tap")),
    (&["wan", "ports"], Naming::Key("tap")),
    (&["firewall", "forwards"], Naming::Key("name")),
    (&["dhcp", "reservations"], Naming::Key("hostname")),
    (&["dhcp", "match"], Naming::Position),
    (&["dns", "records"], Naming::Key("name")),
    (&["dns", "forward"], Naming::Key("zone")),
    (&["mail", "domains"], Naming::Key("name")),
    (&["mail", "routes"], Naming::Key("domain")),
    (&["mail", "aliases"], Naming::Key("name")),
    (&["mail", "common_mailbox"], Naming::Key("server")),
    (&["mail", "rules"], Naming::Position),
];

/// The labels of a list's elements: their names, else their positions, from 1. `name` is the text of an element's value
/// under a key.
pub(super) fn labels<T>(
    elements: impl Iterator<Item = T>,
    name: impl Fn(&T, &str) -> Option<String>,
) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for (position, element) in elements.enumerate() {
        let own = NAMES.iter().find_map(|key| name(&element, key));
        let own = own.filter(|own| !own.is_empty() && !labels.contains(own));
        labels.push(own.unwrap_or_else(|| (position + 1).to_string()));
    }
    labels
}

/// How a new element of the list `list` would get its label; `None` if that is no list of tables.
pub(super) fn naming(list: &[&str], label: &str) -> Option<Naming> {
    let (_, naming) = LISTS.iter().find(|(known, _)| *known == list)?;
    // A reservation can do without a name, but not without an address.
    let is_by_address = *naming == Naming::Key("hostname") && label.parse::<Ipv4Addr>().is_ok();
    Some(if is_by_address { Naming::Key("address") } else { *naming })
}

/// A key without the labels of elements in it: the list or the table that it leads to.
pub(super) fn without_labels(parts: &[String]) -> Vec<&str> {
    let mut keys = Vec::new();
    let mut is_behind_list = false;
    for part in parts {
        is_behind_list = !is_behind_list && naming(&keys, part).is_some();
        if !is_behind_list {
            keys.push(part.as_str());
        }
    }
    keys
}
