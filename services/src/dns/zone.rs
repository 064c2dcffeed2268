//! The local zones: the office's zone, its reverse zones, and special-use zones that must not leave the office.
//!
//! A [`Zone`] is made from the configuration and consists of
//!
//! - *nodes*, names with records: built-in and static ones, in the office's domain or anywhere;
//! - *cuts*, the apexes of the zones that are answered locally. A name below a cut that has no node does not exist, or
//!   is an empty non-terminal if there are names below it. Zones that are forwarded are cuts, too, and so are zones
//!   below the office's domain that it delegates: clients with recursion get the answers of their servers, others a
//!   referral.
//!
//! The names of the LAN's hosts are in neither: each query asks [`LocalNames`], and the [texts](PublishedTexts) that
//! other services publish. A node takes precedence over both, so that no host can take the name of a server. While the
//! leases are unknown, a name that a lease can have fails and is not denied. In stand-alone mode the root is a cut too,
//! so that every name is local.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HINFO, MX, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::Ipv4Net;

use super::config::{Config, ConfigError, ForwardZone, RecordValue, StaticRecord};
use super::inspection::{LocalRecord, LocalZones, Origin};
use super::message::Answer;
use super::name::{NameKey, absolute};
use super::published::{PublishedTexts, strings};
use super::special;
use super::wire::opaque;
use crate::lan_hosts::LocalNames;

/// The TTL of the office's own names: short, so that a change of the WAN address or of the configuration is effective
/// soon.
pub const OWN_TTL_SECS: u32 = 60;

/// The TTL of a lease's name, and of its denial: zero, as a lease can come or go at any moment, and another query costs
/// one round trip on the LAN.
pub const LEASE_TTL_SECS: u32 = 0;

/// The TTL of denials in empty or absent zones. (RFC 6303, section 3)
pub const EMPTY_ZONE_TTL_SECS: u32 = 10_800;

/// Names that programs trust implicitly: a host must not get them by requesting a lease (CERT VU#598349).
const LEASE_NAMES_REFUSED: [&str; 3] = ["wpad", "isatap", "localhost"];

/// The label of a wildcard, as in a [`NameKey`].
const WILDCARD: &[u8] = b"\x01*";

/// The preference of the built-in MX.
const MX_PREFERENCE: u16 = 10;

/// The local zones.
pub struct Zone {
    origin: Name,
    origin_key: NameKey,
    host: Name,
    lans: Vec<Ipv4Net>,
    wan: Vec<IpAddr>,
    nodes: BTreeMap<NameKey, Vec<RData>>,
    /// Whether any node is a wildcard: without one no name is looked for closest to which there could be one.
    has_wildcards: bool,
    cuts: BTreeMap<NameKey, Cut>,
    /// The cuts of special-use zones that are the office's own zones, such as `local.` as its domain.
    replaced_cuts: BTreeMap<NameKey, Cut>,
    /// The delegated zones among those that are [forwarded](Kind::Forwarded).
    delegations: BTreeMap<usize, Delegation>,
    leases: Rc<dyn LocalNames>,
    texts: PublishedTexts,
}

/// The apex of a zone that is answered locally.
struct Cut {
    apex: Name,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The office's domain, a reverse zone of the LAN, or in stand-alone mode the root.
    Own,
    /// The name and all below it is this host (RFC 6761, section 6.3).
    Localhost,
    /// Exists, without names below it.
    Empty,
    /// Every name exists, without records.
    Silent,
    /// Does not exist.
    Absent,
    /// Is not local: the [`ForwardZone`](super::config::ForwardZone) with this place in the configuration, or behind
    /// these a delegated zone.
    Forwarded(usize),
}

/// A zone below the office's domain that other servers have.
struct Delegation {
    apex: Name,
    servers: Vec<Name>,
}

/// A name that a lease can have.
enum Leasable<'a> {
    /// A host's, a single label below the office's domain.
    Label(&'a str),
    /// The reverse name of an address of the LAN.
    Address(IpAddr),
}

impl Zone {
    /// Builds the zones.
    ///
    /// # Errors
    ///
    /// A name or a record that DNS does not allow.
    pub fn new(config: &Config, leases: Rc<dyn LocalNames>) -> Result<Self, ConfigError> {
        let root = Name::root();
        let origin = absolute(&config.domain, &root)?;
        let host = absolute(&config.hostname, &origin)?;
        let mut zone = Self {
            origin_key: NameKey::new(&origin),
            origin,
            host,
            lans: config.lans().collect(),
            wan: config.wan.clone(),
            nodes: BTreeMap::new(),
            has_wildcards: false,
            cuts: BTreeMap::new(),
            replaced_cuts: BTreeMap::new(),
            delegations: BTreeMap::new(),
            leases,
            texts: config.texts.clone(),
        };
        zone.add_cuts(config)?;
        zone.add_built_in_names(config)?;
        for StaticRecord { name, value } in &config.services {
            let (owner, data) = (absolute(name, &zone.origin)?, zone.record_data(name, value)?);
            zone.node(&owner).push(data);
        }
        let delegations = zone.read_delegations(&config.records)?;
        // Static names replace built-in ones, and so do delegated zones.
        zone.nodes.retain(|key, _| !delegations.keys().any(|apex| key.is_in(apex)));
        zone.add_static_names(&config.records)?;
        zone.add_delegations(delegations, config)?;
        zone.has_wildcards = zone.nodes.keys().any(|key| key.labels().last() == Some(b"*"));
        Ok(zone)
    }

    /// Whether `name` is the office's domain or below it.
    pub fn is_own(&self, name: &Name) -> bool {
        NameKey::new(name).is_in(&self.origin_key)
    }

    /// Whether `address` is on the LAN.
    pub fn is_on_lan(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if self.lans.iter().any(|lan| lan.contains(&address)))
    }

    /// The answer for a local name; `None` if the name is not local, and upstream servers are to be queried.
    pub fn lookup(&self, name: &Name, record_type: RecordType) -> Option<Answer> {
        let key = NameKey::new(name);
        let cut = self.cut_of(&key);
        if let Some(delegation) = cut.and_then(|cut| self.delegation_at(cut)) {
            // RFC 4035, section 3.1.4.1: DS belongs to the delegating zone.
            let is_ds = record_type == RecordType::DS && delegation.apex == *name;
            let own = self.cuts.get(&self.origin_key).filter(|_| is_ds)?;
            return Some(Answer::negative(ResponseCode::NoError, self.soa(own)));
        }
        let has_apex = |cut: &&Cut| !matches!(cut.kind, Kind::Absent | Kind::Forwarded(_));
        if let Some(cut) = cut.filter(has_apex).filter(|cut| cut.apex == *name) {
            match record_type {
                RecordType::SOA => return Some(Answer::records(vec![self.soa(cut)])),
                RecordType::NS => return Some(Answer::records(vec![self.ns(cut)])),
                _ => {}
            }
        }
        if let Some(node) = self.nodes.get(&key) {
            return Some(self.answer_from(name, &key, OWN_TTL_SECS, node, record_type));
        }
        if let Some(text) = self.texts.get(&key) {
            return Some(self.answer_from(name, &key, OWN_TTL_SECS, &[text], record_type));
        }
        let lease = self.lease(&key);
        if !lease.is_empty() {
            return Some(self.answer_from(name, &key, LEASE_TTL_SECS, &lease, record_type));
        }
        if cut.is_some_and(|cut| matches!(cut.kind, Kind::Forwarded(_))) {
            return None;
        }
        if self.may_be_leased(&key) {
            return Some(Answer::code(ResponseCode::ServFail));
        }
        if let Some(node) = self.wildcard(&key) {
            return Some(self.answer_from(name, &key, OWN_TTL_SECS, node, record_type));
        }
        if let Some(cut) = cut.filter(|cut| !cut.apex.is_root()) {
            return Some(self.answer_from_cut(cut, name, &key, record_type));
        }
        let label = single_label(&key);
        if let Some(answer) = label.and_then(|label| self.lookup_label(label, name, record_type)) {
            return Some(answer);
        }
        if let Some(root) = cut {
            return Some(self.answer_from_cut(root, name, &key, record_type));
        }
        // Addresses of a bare label are not queried upstream: it is the name of a host that is not here. The answer is
        // NODATA and not NXDOMAIN, which would deny a whole top-level domain (RFC 8020).
        let is_bare = label.is_some() && is_address(record_type);
        is_bare.then(Answer::default)
    }

    /// The referral for a name in a delegated zone. (RFC 1034, section 4.3.2, step 3b)
    pub fn referral(&self, name: &Name) -> Option<Answer> {
        let delegation = self.delegation_at(self.cut_of(&NameKey::new(name))?)?;
        let inside = delegation.servers.iter().filter(|server| self.origin.zone_of(server));
        let glue = inside.flat_map(|server| {
            let addresses = self.static_addresses(server);
            addresses.map(|address| Record::from_rdata(server.clone(), OWN_TTL_SECS, address_data(address)))
        });
        Some(Answer {
            authorities: delegation.ns().collect(),
            additionals: glue.collect(),
            ..Answer::default()
        })
    }

    /// The delegated zones, each with the known addresses of its servers, in the order of their places behind the
    /// forwarded zones.
    pub fn delegations(&self) -> impl Iterator<Item = (&Name, Vec<IpAddr>)> {
        self.delegations.values().map(|delegation| {
            let servers = delegation.servers.iter();
            (&delegation.apex, servers.flat_map(|server| self.queried_addresses(server)).collect())
        })
    }

    fn delegation_at(&self, cut: &Cut) -> Option<&Delegation> {
        match cut.kind {
            Kind::Forwarded(place) => self.delegations.get(&place),
            _ => None,
        }
    }

    /// The addresses of a name server by which the gateway, which speaks IPv4 alone, can query it.
    fn queried_addresses(&self, name: &Name) -> impl Iterator<Item = IpAddr> {
        self.static_addresses(name).filter(IpAddr::is_ipv4)
    }

    fn static_addresses(&self, name: &Name) -> impl Iterator<Item = IpAddr> {
        let node = self.nodes.get(&NameKey::new(name));
        node.into_iter().flatten().filter_map(RData::ip_addr)
    }

    /// The answer for a special-use name, which does not leave the office whoever asks for it.
    pub fn lookup_special(&self, name: &Name, record_type: RecordType) -> Option<Answer> {
        let key = NameKey::new(name);
        let is_not_own = |cut: &&Cut| cut.kind != Kind::Own;
        let cut_at = |zone| self.cuts.get(zone).filter(is_not_own).or_else(|| self.replaced_cuts.get(zone));
        let cut = key.zones().filter_map(cut_at).last()?;
        match cut.kind {
            Kind::Own | Kind::Forwarded(_) => None,
            Kind::Localhost | Kind::Empty | Kind::Silent | Kind::Absent => {
                Some(self.answer_from_cut(cut, name, &key, record_type))
            }
        }
    }

    /// The records of the office's domain and of its reverse zones, of static names elsewhere, also in forwarded zones,
    /// and of the LAN's hosts, as [`lookup`](Self::lookup) finds them; and the servers of delegated zones. Special-use
    /// names are left out.
    pub fn content(&self) -> LocalZones {
        let is_special = |cut: &Cut| !matches!(cut.kind, Kind::Own | Kind::Forwarded(_));
        let is_shown = |key: &NameKey| !self.cut_of(key).is_some_and(is_special);
        let own = || self.cuts.values().filter(|cut| cut.kind == Kind::Own);
        let mut records = Vec::new();
        for cut in own() {
            let apex = [self.soa(cut), self.ns(cut)].map(|record| (record.ttl, record.data));
            records.push((NameKey::new(&cut.apex), Origin::Configuration, apex.to_vec()));
        }
        for delegation in self.delegations.values() {
            let servers = delegation.ns().map(|record| (record.ttl, record.data)).collect();
            records.push((NameKey::new(&delegation.apex), Origin::Configuration, servers));
        }
        let with_ttl = |ttl, data: Vec<RData>| data.into_iter().map(|data| (ttl, data)).collect();
        for (key, node) in &self.nodes {
            records.push((key.clone(), Origin::Configuration, with_ttl(OWN_TTL_SECS, node.clone())));
        }
        for (key, text) in self.texts.all().into_iter().filter(|(key, _)| !self.nodes.contains_key(key)) {
            records.push((key, Origin::Service, with_ttl(OWN_TTL_SECS, vec![text])));
        }
        for key in self.leased_keys() {
            let leased = self.lease(&key);
            records.push((key, Origin::Host, with_ttl(LEASE_TTL_SECS, leased)));
        }
        records.retain(|(key, ..)| is_shown(key));
        records.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let local = |(key, origin, data): (NameKey, Origin, Vec<(u32, RData)>)| {
            let name = key.to_name().unwrap_or_default();
            data.into_iter().map(move |(ttl_secs, data)| LocalRecord {
                name: name.clone(),
                ttl_secs,
                data,
                origin,
            })
        };
        LocalZones {
            zones: own().map(|cut| cut.apex.clone()).collect(),
            records: records.into_iter().flat_map(local).collect(),
        }
    }

    /// The names that leases and reservations alone give, and the reverse names of their addresses.
    fn leased_keys(&self) -> BTreeSet<NameKey> {
        let labels = self.leases.labels();
        let names = labels.iter().filter_map(|label| self.origin.prepend_label(label.as_str()).ok());
        let mut keys = BTreeSet::new();
        for key in names.map(|name| NameKey::new(&name)) {
            let addresses = self.lease(&key).into_iter().filter_map(|data| data.ip_addr());
            keys.extend(addresses.map(|address| NameKey::new(&Name::from(address))));
            keys.insert(key);
        }
        keys.retain(|key| !self.nodes.contains_key(key) && self.texts.get(key).is_none());
        keys
    }

    /// The place of the forwarded zone that the name with this key is in, in the configuration, or behind these of the
    /// delegated zone.
    pub fn forward_of(&self, key: &NameKey) -> Option<usize> {
        match self.cut_of(key)?.kind {
            Kind::Forwarded(zone) => Some(zone),
            _ => None,
        }
    }

    /// The answer for the bare `label`, queried as `name`, if the domain has a name with this label.
    fn lookup_label(&self, label: &[u8], name: &Name, record_type: RecordType) -> Option<Answer> {
        let relative = Name::from_labels([label]).ok()?.append_domain(&self.origin).ok()?;
        let key = NameKey::new(&relative);
        let is_unknown = || is_address(record_type) && self.may_be_leased(&key);
        if !self.nodes.contains_key(&key) && self.lease(&key).is_empty() && !is_unknown() {
            return None;
        }
        let mut answer = self.lookup(&relative, record_type)?;
        for record in &mut answer.answers {
            record.name.clone_from(name);
        }
        Some(answer)
    }

    fn answer_from(
        &self,
        name: &Name,
        key: &NameKey,
        ttl: u32,
        node: &[RData],
        record_type: RecordType,
    ) -> Answer {
        let records = |wanted: RecordType| -> Vec<Record> {
            let matching = node.iter().filter(|data| data.record_type() == wanted);
            matching.map(|data| Record::from_rdata(name.clone(), ttl, data.clone())).collect()
        };
        if record_type == RecordType::ANY {
            return any_answer(name);
        }
        let found = records(record_type);
        if !found.is_empty() {
            return Answer::records(found);
        }
        if let Some(RData::CNAME(CNAME(target))) = node.first() {
            let continues_at = Some(target.clone());
            return Answer { continues_at, ..Answer::records(records(RecordType::CNAME)) };
        }
        Answer::negative(ResponseCode::NoError, self.soa_for(name, key))
    }

    /// The records of the wildcard for a name without records of its own: of the wildcard below the closest name that
    /// exists, unless the name itself exists. (RFC 4592, section 3.3.1)
    fn wildcard(&self, key: &NameKey) -> Option<&[RData]> {
        if !self.has_wildcards || self.has_names_below(key) {
            return None;
        }
        let zones: Vec<_> = key.zones().map(NameKey::of_zone).collect();
        let (_, ancestors) = zones.split_last()?;
        let has_records = |zone: &NameKey| {
            self.nodes.contains_key(zone) || self.texts.get(zone).is_some() || !self.lease(zone).is_empty()
        };
        let closest = ancestors.iter().rev().find(|zone| has_records(zone) || self.has_names_below(zone))?;
        self.nodes.get(&[closest.as_bytes(), WILDCARD].concat()[..]).map(Vec::as_slice)
    }

    /// The answer for a name without records of its own, below `cut`.
    fn answer_from_cut(&self, cut: &Cut, name: &Name, key: &NameKey, record_type: RecordType) -> Answer {
        let soa = self.soa(cut);
        let is_reverse_part = || cut.kind == Kind::Own && is_reverse_part(key);
        let exists = match cut.kind {
            Kind::Localhost | Kind::Silent => true,
            Kind::Absent | Kind::Forwarded(_) => self.has_names_below(key),
            Kind::Own | Kind::Empty => *name == cut.apex || self.has_names_below(key) || is_reverse_part(),
        };
        match record_type {
            _ if !exists => Answer::negative(ResponseCode::NXDomain, soa),
            RecordType::ANY => any_answer(name),
            _ if is_address(record_type) && cut.kind == Kind::Localhost => loopback(name, record_type),
            _ => Answer::negative(ResponseCode::NoError, soa),
        }
    }

    /// The records of a name from leases: its addresses, or for a reverse name its host.
    fn lease(&self, key: &NameKey) -> Vec<RData> {
        match self.leasable(key) {
            Some(Leasable::Label(label)) => {
                self.leases.addresses(label).into_iter().map(address_data).collect()
            }
            Some(Leasable::Address(address)) => self.leased_name(address).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Whether a name without a known lease may have one all the same.
    fn may_be_leased(&self, key: &NameKey) -> bool {
        !self.leases.is_complete() && self.leasable(key).is_some()
    }

    /// The kind of lease that could have this name.
    fn leasable<'a>(&self, key: &'a NameKey) -> Option<Leasable<'a>> {
        let Some(below) = key.labels_below(&self.origin_key) else {
            let address = reverse_address(key).map(IpAddr::V4).filter(|&address| self.is_on_lan(address));
            return address.map(Leasable::Address);
        };
        // No host takes the apex of a forwarded zone, such as that of a directory service below the domain.
        let is_apex = self.cuts.contains_key(key);
        let label = only(below).filter(|_| !is_apex).and_then(|label| std::str::from_utf8(label).ok());
        label.filter(|label| !LEASE_NAMES_REFUSED.contains(label)).map(Leasable::Label)
    }

    /// The host at an address of the LAN.
    fn leased_name(&self, address: IpAddr) -> Option<RData> {
        let label = self.leases.name(address)?;
        if LEASE_NAMES_REFUSED.contains(&label.as_str()) {
            return None;
        }
        Some(RData::PTR(PTR(absolute(&label, &self.origin).ok()?)))
    }

    fn cut_of(&self, key: &NameKey) -> Option<&Cut> {
        key.zones().filter_map(|zone| self.cuts.get(zone)).last()
    }

    fn has_names_below(&self, key: &NameKey) -> bool {
        use std::ops::Bound::{Excluded, Unbounded};
        let below = |next: Option<&NameKey>| next.is_some_and(|next| next.is_in(key));
        let after = (Excluded(key.as_bytes()), Unbounded);
        below(self.nodes.range::<[u8], _>(after).next().map(|(next, _)| next))
            || below(self.cuts.range::<[u8], _>(after).next().map(|(next, _)| next))
            || self.texts.has_names_below(key)
    }

    /// The SOA for a denial of `name`, which has a node. A name outside of all local zones is a zone of its own.
    fn soa_for(&self, name: &Name, key: &NameKey) -> Record {
        match self.cut_of(key) {
            Some(cut) if !matches!(cut.kind, Kind::Forwarded(_)) => self.soa(cut),
            _ => self.soa(&Cut { apex: name.clone(), kind: Kind::Own }),
        }
    }

    fn soa(&self, cut: &Cut) -> Record {
        // RFC 6303, section 3: empty zones
        let nobody = || Name::from_ascii("nobody.invalid.").expect("a constant");
        let (owner, primary, mailbox, ttl) = match cut.kind {
            Kind::Own => {
                let mailbox = self.origin.prepend_label("postmaster").unwrap_or_else(|_| nobody());
                (&cut.apex, &self.host, mailbox, LEASE_TTL_SECS)
            }
            Kind::Localhost | Kind::Empty | Kind::Silent => {
                (&cut.apex, &cut.apex, nobody(), EMPTY_ZONE_TTL_SECS)
            }
            Kind::Absent | Kind::Forwarded(_) => {
                (&Name::root(), &Name::root(), nobody(), EMPTY_ZONE_TTL_SECS)
            }
        };
        // These zones are not transferred, so serial and timers do not matter.
        let soa = SOA::new(primary.clone(), mailbox, 1, 3600, 1200, 604_800, ttl);
        Record::from_rdata(owner.clone(), ttl.max(OWN_TTL_SECS), RData::SOA(soa))
    }

    fn ns(&self, cut: &Cut) -> Record {
        let server = if cut.kind == Kind::Own { &self.host } else { &cut.apex };
        Record::from_rdata(cut.apex.clone(), OWN_TTL_SECS, RData::NS(NS(server.clone())))
    }

    fn add_cuts(&mut self, config: &Config) -> Result<(), ConfigError> {
        for zone in special::empty_zones() {
            self.add_cut(Name::from_ascii(&zone).expect("a constant"), Kind::Empty);
        }
        for zone in special::ABSENT_ZONES {
            self.add_cut(Name::from_ascii(zone).expect("a constant"), Kind::Absent);
        }
        self.add_cut(Name::from_ascii("localhost.").expect("a constant"), Kind::Localhost);
        self.add_cut(Name::from_ascii(special::RESOLVER_ZONE).expect("a constant"), Kind::Silent);
        if !config.use_upstream {
            self.add_cut(Name::root(), Kind::Own);
        }
        for zone in config.lans().flat_map(reverse_zones) {
            self.add_cut(zone, Kind::Own);
        }
        for (place, ForwardZone { zone, .. }) in config.forwards.iter().enumerate() {
            self.add_cut(absolute(zone, &Name::root())?, Kind::Forwarded(place));
        }
        match self.cuts.get(&self.origin_key) {
            Some(Cut { kind: Kind::Forwarded(_), .. }) => Err(ConfigError::OwnZone(config.domain.clone())),
            _ => {
                self.add_cut(self.origin.clone(), Kind::Own);
                Ok(())
            }
        }
    }

    /// A later cut replaces an equal one.
    fn add_cut(&mut self, apex: Name, kind: Kind) {
        let key = NameKey::new(&apex);
        let replaced = self.cuts.insert(key.clone(), Cut { apex, kind });
        if let Some(replaced) = replaced.filter(|replaced| kind == Kind::Own && replaced.kind != Kind::Own) {
            self.replaced_cuts.insert(key, replaced);
        }
    }

    fn add_built_in_names(&mut self, config: &Config) -> Result<(), ConfigError> {
        let lan = [IpAddr::V4(config.lan.addr())];
        let wan = self.wan.clone();
        for label in ["corp", "admin", "lan"] {
            self.add_addresses(label, lan)?;
        }
        for label in ["www", "wan"] {
            self.add_addresses(label, wan.iter().copied())?;
        }
        for label in ["smtp", "pop"] {
            self.add_addresses(label, lan.into_iter().chain(wan.iter().copied()))?;
        }
        let host = self.host.clone();
        self.node(&host).push(RData::A(A(config.lan.addr())));
        let exchange = absolute("smtp", &self.origin)?;
        self.node(&self.origin.clone()).push(RData::MX(MX::new(MX_PREFERENCE, exchange)));
        for address in config.lans().map(|lan| lan.addr()) {
            self.node(&Name::from(address)).push(RData::PTR(PTR(host.clone())));
        }
        let localhost = Name::from_ascii("localhost.").expect("a constant");
        self.node(&Name::from(Ipv4Addr::LOCALHOST)).push(RData::PTR(PTR(localhost)));
        let (ipv4only, addresses) = special::IPV4ONLY;
        let ipv4only = Name::from_ascii(ipv4only).expect("a constant");
        for address in addresses {
            self.node(&ipv4only).push(RData::A(A(address)));
            self.node(&Name::from(address)).push(RData::PTR(PTR(ipv4only.clone())));
        }
        Ok(())
    }

    fn add_addresses(
        &mut self,
        label: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), ConfigError> {
        let name = absolute(label, &self.origin)?;
        // The name exists even while the WAN has no address.
        let node = self.node(&name);
        node.extend(addresses.into_iter().map(address_data));
        Ok(())
    }

    fn node(&mut self, name: &Name) -> &mut Vec<RData> {
        self.nodes.entry(NameKey::new(name)).or_default()
    }

    fn add_static_names(&mut self, records: &[StaticRecord]) -> Result<(), ConfigError> {
        let mut statics: BTreeMap<NameKey, Vec<RData>> = BTreeMap::new();
        let is_own = |record: &&StaticRecord| !matches!(record.value, RecordValue::NameServer(_));
        for StaticRecord { name, value } in records.iter().filter(is_own) {
            let owner = absolute(name, &self.origin)?;
            let data = self.record_data(name, value)?;
            let node = statics.entry(NameKey::new(&owner)).or_default();
            let is_alias = matches!(data, RData::CNAME(_));
            let alone = node.is_empty() || !is_alias && !matches!(node.first(), Some(RData::CNAME(_)));
            if !alone || is_alias && owner == self.origin {
                return Err(ConfigError::AliasNotAlone(name.clone()));
            }
            if let RecordValue::Address(address) = value {
                self.add_reverse(*address, owner);
            }
            node.push(data);
        }
        for (key, node) in statics {
            // Static records replace built-in ones: all of them for an alias, else those of the same type.
            let built_in = self.nodes.entry(key).or_default();
            let is_alias = matches!(node.first(), Some(RData::CNAME(_)));
            let types: Vec<_> = node.iter().map(RData::record_type).collect();
            built_in.retain(|data| !is_alias && !types.contains(&data.record_type()));
            built_in.extend(node);
        }
        Ok(())
    }

    fn read_delegations(
        &self,
        records: &[StaticRecord],
    ) -> Result<BTreeMap<NameKey, Delegation>, ConfigError> {
        let mut delegations: BTreeMap<NameKey, Delegation> = BTreeMap::new();
        for StaticRecord { name, value } in records {
            let RecordValue::NameServer(server) = value else { continue };
            let (apex, server) = (absolute(name, &self.origin)?, absolute(server, &self.origin)?);
            let key = NameKey::new(&apex);
            if self.cuts.contains_key(&key) || !self.is_own(&apex) || apex.is_wildcard() {
                return Err(ConfigError::NotDelegable(name.clone()));
            }
            let delegation = delegations.entry(key).or_insert(Delegation { apex, servers: Vec::new() });
            delegation.servers.push(server);
        }
        Ok(delegations)
    }

    /// Adds the delegated zones behind the forwarded ones.
    fn add_delegations(
        &mut self,
        delegations: BTreeMap<NameKey, Delegation>,
        config: &Config,
    ) -> Result<(), ConfigError> {
        // Built-in names do not count: whether they have addresses depends on the WAN.
        let has_address =
            |record: &&StaticRecord| matches!(record.value, RecordValue::Address(IpAddr::V4(_)));
        let addressed = config.records.iter().filter(has_address);
        let addressed: BTreeSet<NameKey> = addressed
            .map(|record| Ok(NameKey::new(&absolute(&record.name, &self.origin)?)))
            .collect::<Result<_, ConfigError>>()?;
        for (key, delegation) in &delegations {
            let is_server =
                |other: &NameKey| delegation.servers.iter().any(|server| NameKey::new(server) == *other);
            let is_glue = |(other, node): (&NameKey, &Vec<RData>)| {
                is_server(other) && node.iter().all(|data| is_address(data.record_type()))
            };
            let mut records = self.nodes.iter().filter(|(other, _)| other.is_in(key));
            let mut zones =
                self.cuts.keys().chain(delegations.keys()).filter(|other| *other != key && other.is_in(key));
            let stranger = records.find(|record| !is_glue(*record)).map(|(other, _)| other).or(zones.next());
            if let Some(stranger) = stranger.and_then(NameKey::to_name) {
                return Err(ConfigError::InDelegatedZone(stranger.to_ascii()));
            }
            if !delegation.servers.iter().any(|server| addressed.contains(&NameKey::new(server))) {
                return Err(ConfigError::NoServerAddress(delegation.apex.to_ascii()));
            }
        }
        for (place, delegation) in (config.forwards.len()..).zip(delegations.into_values()) {
            self.add_cut(delegation.apex.clone(), Kind::Forwarded(place));
            self.delegations.insert(place, delegation);
        }
        Ok(())
    }

    /// The first name of an address on the LAN becomes its reverse name.
    fn add_reverse(&mut self, address: IpAddr, name: Name) {
        if self.is_on_lan(address) && !name.is_wildcard() {
            let node = self.node(&Name::from(address));
            if node.is_empty() {
                node.push(RData::PTR(PTR(name)));
            }
        }
    }

    fn record_data(&self, name: &str, value: &RecordValue) -> Result<RData, ConfigError> {
        Ok(match value {
            RecordValue::Address(address) => address_data(*address),
            RecordValue::Alias(target) => RData::CNAME(CNAME(absolute(target, &self.origin)?)),
            RecordValue::MailExchange { preference, exchange } => {
                RData::MX(MX::new(*preference, absolute(exchange, &self.origin)?))
            }
            RecordValue::Service { priority, weight, port, target } => {
                RData::SRV(SRV::new(*priority, *weight, *port, absolute(target, &self.origin)?))
            }
            RecordValue::NameServer(server) => RData::NS(NS(absolute(server, &self.origin)?)),
            RecordValue::Pointer(target) => RData::PTR(PTR(absolute(target, &self.origin)?)),
            RecordValue::CertificationAuthority { is_critical, tag, value } => {
                caa_data(*is_critical, tag, value)?
            }
            RecordValue::Text(text) => RData::TXT(text_data(name, text)?),
        })
    }
}

impl Delegation {
    fn ns(&self) -> impl Iterator<Item = Record> {
        let record = |server: &Name| {
            Record::from_rdata(self.apex.clone(), OWN_TTL_SECS, RData::NS(NS(server.clone())))
        };
        self.servers.iter().map(record)
    }
}

fn is_address(record_type: RecordType) -> bool {
    matches!(record_type, RecordType::A | RecordType::AAAA)
}

/// The record of an address, A or AAAA.
fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// The longest text of a TXT record, in octets; with its length octets it fits into a message.
const TEXT_OCTETS_MAX: usize = 65_000;

fn text_data(name: &str, text: &str) -> Result<TXT, ConfigError> {
    if text.len() > TEXT_OCTETS_MAX {
        return Err(ConfigError::TextTooLong(name.to_owned()));
    }
    Ok(strings(text))
}

/// A CAA record. (RFC 8659, section 4.1)
fn caa_data(is_critical: bool, tag: &str, value: &str) -> Result<RData, ConfigError> {
    let is_tag = tag.bytes().all(|octet| octet.is_ascii_alphanumeric());
    let tag_octets = u8::try_from(tag.len()).ok().filter(|&octets| octets > 0 && is_tag);
    let tag_octets = tag_octets.ok_or_else(|| ConfigError::Tag(tag.to_owned()))?;
    if value.len() > TEXT_OCTETS_MAX {
        return Err(ConfigError::TextTooLong(tag.to_owned()));
    }
    let mut data = vec![u8::from(is_critical) << 7, tag_octets];
    data.extend_from_slice(tag.as_bytes());
    data.extend_from_slice(value.as_bytes());
    Ok(opaque(RecordType::CAA, data))
}

fn loopback(name: &Name, record_type: RecordType) -> Answer {
    let data = match record_type {
        RecordType::AAAA => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
        _ => RData::A(A(Ipv4Addr::LOCALHOST)),
    };
    Answer::records(vec![Record::from_rdata(name.clone(), EMPTY_ZONE_TTL_SECS, data)])
}

/// The answer to ANY for a name that exists, or that was not looked up. (RFC 8482, section 4.2)
pub fn any_answer(name: &Name) -> Answer {
    let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
    Answer::records(vec![Record::from_rdata(name.clone(), EMPTY_ZONE_TTL_SECS, data)])
}

fn only<'a>(mut labels: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let first = labels.next()?;
    labels.next().is_none().then_some(first)
}

fn single_label(key: &NameKey) -> Option<&[u8]> {
    only(key.labels())
}

/// The address whose reverse name this is.
fn reverse_address(key: &NameKey) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = reverse_octets(key)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

/// Whether reverse names may lie below this name.
fn is_reverse_part(key: &NameKey) -> bool {
    reverse_octets(key).is_some_and(|octets| octets.len() < 4)
}

/// The octets in a name below `in-addr.arpa.`, outermost first.
fn reverse_octets(key: &NameKey) -> Option<Vec<u8>> {
    let mut labels = key.labels();
    if labels.next()? != b"arpa" || labels.next()? != b"in-addr" {
        return None;
    }
    labels.map(|label| std::str::from_utf8(label).ok()?.parse().ok()).collect()
}

/// The reverse zones that cover `net`, with cuts at octets.
fn reverse_zones(net: Ipv4Net) -> Vec<Name> {
    let octets = net.prefix_len().div_ceil(8).max(1);
    let zone = |part: Ipv4Net| Name::from(part.network()).trim_to(usize::from(octets) + 2);
    net.trunc().subnets(octets * 8).map(|parts| parts.map(zone).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
