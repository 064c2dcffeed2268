//! The tree of names: the present and the former truth on the internet.
//!
//! ```text
//! .                     a.root  b.root
//! ├─ com, net           a.gtld.net  b.gtld.net
//! │  ├─ example.com     ns-0.example.com  ns-1.example.net     the web servers
//! │  └─ example.net     ns-0.example.net  ns-1.example.net     site-14.cdn and on: aliases into example.com
//! ├─ example            a.nic.example  b.nic.example           site-0 to site-13; site-14 and on: aliases into cdn;
//! │                                                            post-0 and on: mail for servers in example.net;
//! │                                                            text-0 and on: long texts
//! └─ in-addr.arpa       a.root  b.root
//!    └─ 18.198          ns-0.example.net  ns-1.example.net     the web servers' names
//! ```
//!
//! Every record is held once: the name servers of a zone are the delegation to it, their addresses the glue. A replaced
//! record stays with the time until which it was true, for the checkers.
//!
//! The mail of `post-0.example` goes to `mx-0.example.net`, and if that does not accept it to `mx-1`; each of the other
//! domains has the server with its number.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use gatepost_ground::Instant;
use hickory_proto::rr::rdata::{A, CNAME, MX, NS, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{MAIL_ADDRESSES, POP_ADDRESS, SITES, WEB_ADDRESSES};

/// The first site that is reached by aliases alone: one in its zone, one in the next, and the address in a
/// third.
pub const FIRST_ALIASED_SITE: usize = 14;

/// The octets of the texts of `text-0.example` and so on: more than fits into a datagram, into the cache's limit of one
/// answer, and into a machine's TCP buffer.
pub const LONG_TEXTS: [usize; 4] = [3_000, 4_500, 11_000, 20_000];
/// The most octets of one string of a text. (RFC 1035, section 3.3)
const STRING_OCTETS_MAX: usize = 255;

/// A zone whose name servers never answer.
pub const SILENT_ZONE: &str = "silent.example.";

/// Zones, with their name servers.
const ZONES: [(&str, [&str; 2]); 9] = [
    (".", ["a.root.", "b.root."]),
    ("in-addr.arpa.", ["a.root.", "b.root."]),
    ("com.", ["a.gtld.net.", "b.gtld.net."]),
    ("net.", ["a.gtld.net.", "b.gtld.net."]),
    ("example.", ["a.nic.example.", "b.nic.example."]),
    // The second is below another top-level domain: no glue comes with it.
    ("example.com.", ["ns-0.example.com.", "ns-1.example.net."]),
    ("example.net.", ["ns-0.example.net.", "ns-1.example.net."]),
    ("18.198.in-addr.arpa.", ["ns-0.example.net.", "ns-1.example.net."]),
    (SILENT_ZONE, ["ns-0.silent.example.", "ns-1.silent.example."]),
];
/// The name servers of [`SILENT_ZONE`]: no host has their addresses.
const SILENT_SERVERS: [(&str, Ipv4Addr); 2] = [
    ("ns-0.silent.example.", Ipv4Addr::new(198, 18, 5, 1)),
    ("ns-1.silent.example.", Ipv4Addr::new(198, 18, 5, 2)),
];
/// Name servers, with their addresses.
const NAME_SERVERS: [(&str, Ipv4Addr); 9] = [
    ("a.root.", Ipv4Addr::new(198, 18, 0, 1)),
    ("b.root.", Ipv4Addr::new(198, 18, 0, 2)),
    ("a.gtld.net.", Ipv4Addr::new(198, 18, 1, 1)),
    ("b.gtld.net.", Ipv4Addr::new(198, 18, 1, 2)),
    ("a.nic.example.", Ipv4Addr::new(198, 18, 2, 1)),
    ("b.nic.example.", Ipv4Addr::new(198, 18, 2, 2)),
    ("ns-0.example.com.", Ipv4Addr::new(198, 18, 3, 1)),
    ("ns-0.example.net.", Ipv4Addr::new(198, 18, 4, 1)),
    ("ns-1.example.net.", Ipv4Addr::new(198, 18, 4, 2)),
];
/// The TTLs of answers by their kind, in seconds.
const INFRASTRUCTURE_TTL_SECS: u32 = 3_600;
const SITE_TTL_SECS: u32 = 60;
const ALIAS_TTL_SECS: u32 = 20;
const NEGATIVE_TTL_SECS: u32 = 30;

/// All names, now and before.
#[derive(Debug)]
pub struct Tree {
    zones: Vec<Name>,
    nodes: BTreeMap<Name, Vec<Held>>,
}

/// A record and when it was true; without an end, it is.
#[derive(Debug)]
struct Held {
    record: Record,
    since: Instant,
    until: Option<Instant>,
}

impl Tree {
    /// The internet as it begins.
    pub fn new() -> Self {
        let mut tree = Self { zones: Vec::new(), nodes: BTreeMap::new() };
        for (zone, servers) in ZONES {
            tree.zones.push(name(zone));
            for server in servers {
                tree.add(zone, INFRASTRUCTURE_TTL_SECS, RData::NS(NS(name(server))));
            }
            let [primary, _] = servers.map(name);
            let soa =
                SOA::new(primary, name("hostmaster.example."), 1, 3_600, 600, 86_400, NEGATIVE_TTL_SECS);
            tree.add(zone, NEGATIVE_TTL_SECS, RData::SOA(soa));
        }
        for (server, address) in NAME_SERVERS.into_iter().chain(SILENT_SERVERS) {
            tree.add(server, INFRASTRUCTURE_TTL_SECS, RData::A(A(address)));
        }
        for (number, address) in WEB_ADDRESSES.into_iter().enumerate() {
            let web = format!("web-{number}.example.com.");
            tree.add(&web, SITE_TTL_SECS, RData::A(A(address)));
            tree.add(&reverse(address), SITE_TTL_SECS, RData::PTR(PTR(name(&web))));
        }
        for (number, address) in MAIL_ADDRESSES.into_iter().enumerate() {
            let (domain, server) = (format!("post-{number}.example."), mail_server(number));
            tree.add(&server, SITE_TTL_SECS, RData::A(A(address)));
            tree.add(&domain, SITE_TTL_SECS, RData::MX(MX::new(10, name(&server))));
        }
        for number in 0..LONG_TEXTS.len() {
            let text = long_text(number);
            let strings = TXT::from_bytes(text.chunks(STRING_OCTETS_MAX).collect());
            tree.add(&format!("text-{number}.example."), SITE_TTL_SECS, RData::TXT(strings));
        }
        tree.add("pop.example.net.", SITE_TTL_SECS, RData::A(A(POP_ADDRESS)));
        tree.add("post-0.example.", SITE_TTL_SECS, RData::MX(MX::new(20, name(&mail_server(1)))));
        for number in 0..SITES {
            let (site, web) = (format!("site-{number}.example."), number % WEB_ADDRESSES.len());
            if number < FIRST_ALIASED_SITE {
                tree.add(&site, SITE_TTL_SECS, RData::A(A(WEB_ADDRESSES[web])));
            } else {
                let edge = format!("site-{number}.cdn.example.net.");
                tree.add(&site, SITE_TTL_SECS, RData::CNAME(CNAME(name(&edge))));
                let web = format!("web-{web}.example.com.");
                tree.add(&edge, ALIAS_TTL_SECS, RData::CNAME(CNAME(name(&web))));
            }
        }
        tree
    }

    /// The zones that the name server at `address` has.
    pub fn zones_at(&self, address: Ipv4Addr) -> impl Iterator<Item = &Name> {
        self.zones.iter().filter(move |zone| {
            let mut servers = self.targets(zone, RecordType::NS, Instant::ZERO);
            servers.any(|server| self.addresses(&server, Instant::ZERO).any(|own| own == address))
        })
    }

    /// Where the walk begins.
    pub fn root_servers(&self) -> Vec<Ipv4Addr> {
        let root = Name::root();
        let servers = self.targets(&root, RecordType::NS, Instant::ZERO);
        servers.flat_map(|server| self.addresses(&server, Instant::ZERO).collect::<Vec<_>>()).collect()
    }

    /// The zone that is delegated from `zone` on the way to `name`, if there is one.
    pub fn delegation(&self, zone: &Name, name: &Name) -> Option<&Name> {
        let below = |apex: &&Name| *apex != zone && zone.zone_of(apex) && apex.zone_of(name);
        self.zones.iter().filter(below).min_by_key(|apex| apex.num_labels())
    }

    /// The records of a name that are true at `now`.
    pub fn records(
        &self,
        name: &Name,
        record_type: RecordType,
        now: Instant,
    ) -> impl Iterator<Item = &Record> {
        let held = self.nodes.get(name).into_iter().flatten();
        held.filter(move |held| held.is_true_within(now, now) && held.record.record_type() == record_type)
            .map(|held| &held.record)
    }

    /// Whether there is such a name, or one below it.
    pub fn exists(&self, asked: &Name) -> bool {
        self.nodes.keys().any(|name| asked.zone_of(name))
    }

    /// Whether `record` was true at some moment from `since` to `until`, whatever its TTL says.
    pub fn was_true(&self, record: &Record, since: Instant, until: Instant) -> bool {
        let held = self.nodes.get(&record.name).into_iter().flatten();
        held.clone().any(|held| held.record.data == record.data && held.is_true_within(since, until))
    }

    /// The TTL of the records of this name and type, in seconds.
    pub fn ttl(&self, name: &Name, record_type: RecordType) -> Option<u32> {
        let mut held = self.nodes.get(name).into_iter().flatten();
        held.find(|held| held.record.record_type() == record_type).map(|held| held.record.ttl)
    }

    /// Whether the name has an address of its own on a web server, so that it can move to another.
    pub fn can_move(&self, text: &str) -> bool {
        let Ok(name) = Name::from_ascii(format!("{text}.")) else { return false };
        self.addresses(&name, Instant::ZERO).any(|address| WEB_ADDRESSES.contains(&address))
    }

    /// Moves a name to the next web server.
    ///
    /// # Panics
    ///
    /// It cannot move.
    pub fn move_name(&mut self, now: Instant, text: &str) {
        let held = self.nodes.get_mut(&name(&format!("{text}."))).expect("validated");
        let latest = held.iter_mut().rfind(|held| held.record.record_type() == RecordType::A);
        let latest = latest.expect("validated");
        let RData::A(A(address)) = latest.record.data else { unreachable!("it is an A record") };
        let place = WEB_ADDRESSES.iter().position(|web| *web == address).expect("validated");
        latest.until = Some(now);
        let mut record = latest.record.clone();
        record.data = RData::A(A(WEB_ADDRESSES[(place + 1) % WEB_ADDRESSES.len()]));
        held.push(Held { record, since: now, until: None });
    }

    fn add(&mut self, owner: &str, ttl: u32, data: RData) {
        let record = Record::from_rdata(name(owner), ttl, data);
        self.nodes.entry(name(owner)).or_default().push(Held { record, since: Instant::ZERO, until: None });
    }

    fn targets(&self, name: &Name, record_type: RecordType, now: Instant) -> impl Iterator<Item = Name> {
        self.records(name, record_type, now).filter_map(|record| match &record.data {
            RData::NS(NS(target)) => Some(target.clone()),
            _ => None,
        })
    }

    fn addresses(&self, name: &Name, now: Instant) -> impl Iterator<Item = Ipv4Addr> {
        self.records(name, RecordType::A, now).filter_map(|record| match record.data {
            RData::A(A(address)) => Some(address),
            _ => None,
        })
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Held {
    fn is_true_within(&self, since: Instant, until: Instant) -> bool {
        self.since <= until && self.until.is_none_or(|end| since < end)
    }
}

/// All name servers' names, without the dot at the end.
pub fn name_servers() -> impl Iterator<Item = (&'static str, Ipv4Addr)> {
    NAME_SERVERS.into_iter().map(|(name, address)| (name.trim_end_matches('.'), address))
}

/// The text with this number: no two places in it are alike, and no two texts.
pub fn long_text(number: usize) -> Vec<u8> {
    let mut generator = StdRng::seed_from_u64(u64::try_from(number).expect("a small number"));
    (0..LONG_TEXTS[number]).map(|_| generator.random()).collect()
}

fn mail_server(number: usize) -> String {
    format!("mx-{number}.example.net.")
}

/// The name that an address is looked up by.
pub fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
}

/// A name, by its text.
pub fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a valid name")
}
