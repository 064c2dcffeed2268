//! The lease table.
//!
//! The table holds the last client and state of each address, and keeps entries as long as it has room: a client that
//! returns after its lease has expired gets its old address again, unless another client needed it. Each change is on
//! disk before it is in the table, and an address has one entry only, so that no failure leases it twice. A change is
//! pending until then (`waiting`), and readers of the table see the former state; `keeper` writes it.
//!
//! While the process runs, leases expire by monotonic time, so that a step of the time of day ends no lease. Across a
//! restart the time of day decides, and no lease has more time left than it was granted. But the time of day may have
//! been stepped ahead meanwhile: until the whole granted duration has passed once more, such a lease is doubtful, and
//! its address is the last choice for other clients.
//!
//! Once the table [serves](Leases::serve) certain networks, leases of other networks, from before a renumbering, are neither
//! shown nor in DNS. They stay in the table and in the journal, for an office that returns to its former network.
//!
//! Limits: [`LEASES_MAX`] entries. When the table is full, the least recently used entry is removed; if all are in use,
//! one of another network; else there is no further lease. The choice of a client's address is not made here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use ipnet::Ipv4Net;

use super::index::{Ages, Gaps, Use};
use super::journal::{Content, Priority};
pub use super::journal::{Damage, JOURNAL_FILE, RESERVE_FILE, State};
use super::keeper::Keeper;
use super::records::{from_record, released};
use super::waiting::{Change, Waiting};
use crate::clock::UnixTime;
use crate::store::Storage;

/// The most entries: the hosts of a /16.
pub const LEASES_MAX: usize = 65_536;

/// How long an address is the last choice for other clients if a damaged journal may have had a lease of it: the
/// default duration of a lease. See [`Leases::is_suspect`].
const SUSPICION: Duration = Duration::from_secs(86_400);
/// The interval of retries after a disk was unreadable or full.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The identity of a client: its client identifier or, without one, its hardware address. (RFC 2131, section 4.2)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientKey {
    /// Its client identifier (option 61).
    Id(Vec<u8>),
    /// Its hardware address.
    Mac(MacAddr),
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => {
                f.write_str("id")?;
                id.iter().try_for_each(|octet| write!(f, ":{octet:02x}"))
            }
            Self::Mac(mac) => write!(f, "mac:{mac}"),
        }
    }
}

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The present or last client.
    pub client: ClientKey,
    /// The hardware address of that client.
    pub mac: MacAddr,
    /// The source of the frame that requested the lease: the client's own hardware address, or that of a bridge or
    /// relay agent in between. For a quarantined address for which another machine answered, that machine's.
    pub source: MacAddr,
    /// The name of that client, one label in lower case, unique among leases.
    pub hostname: Option<String>,
    /// The last event.
    pub state: State,
    /// The time of that event.
    pub since: UnixTime,
    /// When the lease or the quarantine ends by the time of day; for a released lease, when it ended.
    pub until: UnixTime,
    /// The same by monotonic time.
    pub(super) expires: Instant,
    /// When it has ended whatever the time of day was.
    pub(super) surely_ended: Instant,
}

impl Lease {
    /// Whether a client has the address.
    pub fn is_active(&self, now: Instant) -> bool {
        self.state == State::Bound && now < self.expires
    }

    /// Whether its client may still use the address, if the time of day was wrong.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        self.state == State::Bound && !self.is_active(now) && now < self.surely_ended
    }

    /// The time that is left at `now`.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.expires.since(now)
    }

    /// Whether the address must not be given to another client.
    pub fn is_blocked(&self, now: Instant) -> bool {
        self.state != State::Released && now < self.expires
    }

    fn in_use(&self) -> Use {
        let expires = (self.state != State::Released).then_some(self.expires);
        Use { address: self.address, expires, until: self.until }
    }
}

/// A lease to grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The address.
    pub address: Ipv4Addr,
    /// The client.
    pub client: ClientKey,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The source of the frame that requested it.
    pub source: MacAddr,
    /// Its name; another lease with the name loses it.
    pub hostname: Option<String>,
    /// The duration.
    pub lease_secs: u32,
}

/// The sender of a statement about an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// Its identity.
    pub client: ClientKey,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The source of the frame with the statement.
    pub source: MacAddr,
}

/// The lease table.
pub struct Leases {
    by_address: BTreeMap<Ipv4Addr, Lease>,
    by_client: BTreeMap<ClientKey, Ipv4Addr>,
    by_name: BTreeMap<String, Ipv4Addr>,
    by_source: BTreeMap<MacAddr, BTreeSet<Ipv4Addr>>,
    gaps: Gaps,
    ages: Ages,
    /// The networks served, which may overlap.
    networks: Vec<Ipv4Net>,
    /// The addresses for which a damaged journal may have had more changes.
    suspects: BTreeSet<Ipv4Addr>,
    /// When these, and addresses without an entry, stop being suspect.
    suspicion_ends: Instant,
    /// The names of clients with an unrecorded lease of a reserved address, and its end.
    unkept: BTreeMap<Ipv4Addr, (String, Instant)>,
    /// The changes that are not on disk yet.
    pub(super) waiting: Waiting,
    /// The number of changes rejected because they could not wait.
    turned_away: u64,
    pub(super) keeper: Keeper,
    observer: Option<Observer>,
}

/// A callback for changed leases.
type Observer = Box<dyn Fn(&[&Lease])>;

impl Leases {
    /// An empty table.
    pub(super) fn empty(disk: Arc<dyn Storage>, now: Instant) -> Self {
        Self {
            by_address: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_source: BTreeMap::new(),
            gaps: Gaps::default(),
            ages: Ages::default(),
            networks: vec![Ipv4Net::default()],
            suspects: BTreeSet::new(),
            suspicion_ends: Instant::ZERO,
            unkept: BTreeMap::new(),
            waiting: Waiting::default(),
            turned_away: 0,
            keeper: Keeper::new(disk, now),
            observer: None,
        }
    }

    /// Loads the journal's content; returns its damage.
    pub(super) fn load(&mut self, content: Content, now: Instant, unix_now: UnixTime) -> Vec<Damage> {
        let Content { changes, mut damages, .. } = content;
        for (line, change) in changes {
            for record in change {
                let lease = from_record(record, now, unix_now);
                let loaded = lease.and_then(|lease| {
                    self.make_room_for(&[lease.address], now).map_err(|error| error.to_string())?;
                    self.insert(lease);
                    Ok(())
                });
                if let Err(reason) = loaded {
                    damages.push(line.damage(reason));
                }
            }
        }
        damages.sort_by_key(|damage| damage.line);
        if !damages.is_empty() {
            self.suspicion_ends = now + SUSPICION;
            self.suspects.extend(damages.iter().flat_map(|damage| &damage.addresses));
        }
        self.notify(self.by_address.values());
        damages
    }

    /// The damage of a journal with these octets.
    pub fn damages(octets: &[u8]) -> Vec<Damage> {
        let mut leases = Self::empty(Arc::new(crate::store::Memory::new()), Instant::ZERO);
        leases.load(Content::parse(octets), Instant::ZERO, UnixTime(0))
    }

    /// Whether a damaged journal may have had a lease of `address`, so that a client may use it.
    pub fn is_suspect(&self, address: Ipv4Addr, now: Instant) -> bool {
        now < self.suspicion_ends && self.suspects.contains(&address)
    }

    /// Whether a damaged journal may have had leases of addresses without an entry.
    pub fn is_incomplete(&self, now: Instant) -> bool {
        now < self.suspicion_ends
    }

    /// Whether the journal could not be read yet, so that all leases are unknown.
    pub fn is_unread(&self) -> bool {
        self.keeper.is_unread()
    }

    /// The number of changes rejected so far: too many waited for the disk, or one that they would contradict.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Sets the served networks; before the first call, every network is. Leases of other networks are neither
    /// [active](Self::active) nor found by name.
    pub fn serve(&mut self, networks: Vec<Ipv4Net>) {
        self.networks = networks;
    }

    /// Whether `address` is in a served network.
    fn serves(&self, address: Ipv4Addr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Sets the one `observer`, called with the leases that change, once their changes are on disk; of several changes
    /// of an address the last counts. The observer must not use the table.
    pub fn observe(&mut self, observer: impl Fn(&[&Lease]) + 'static) {
        self.observer = Some(Box::new(observer));
    }

    /// Calls the observer with `changed` leases.
    pub(super) fn notify<'a>(&self, changed: impl Iterator<Item = &'a Lease>) {
        if let Some(observer) = &self.observer {
            observer(&changed.collect::<Vec<_>>());
        }
    }

    /// The address of the active lease named `name`, in any case.
    pub fn address_of(&self, name: &str, now: Instant) -> Option<Ipv4Addr> {
        let name = name.to_ascii_lowercase();
        let kept = self.by_name.get(&name).and_then(|address| self.active_at(*address, now));
        let mut unkept = self.unkept.keys().copied();
        kept.map(|lease| lease.address)
            .or_else(|| unkept.find(|address| self.unkept_name(*address, now) == Some(name.as_str())))
    }

    /// The names of active leases.
    pub fn names(&self, now: Instant) -> impl Iterator<Item = &str> {
        let kept = self.by_name.iter().filter(move |(_, address)| self.active_at(**address, now).is_some());
        let unkept = self.unkept.keys().filter_map(move |address| self.unkept_name(*address, now));
        kept.map(|(name, _)| name.as_str()).chain(unkept)
    }

    /// The name of the active lease of `address`, one label in lower case.
    pub fn name_of(&self, address: Ipv4Addr, now: Instant) -> Option<&str> {
        let kept = self.active_at(address, now).and_then(|lease| lease.hostname.as_deref());
        kept.or_else(|| self.unkept_name(address, now))
    }

    fn unkept_name(&self, address: Ipv4Addr, now: Instant) -> Option<&str> {
        let (name, ends) = self.unkept.get(&address).filter(|_| self.serves(address))?;
        (*ends > now).then_some(name.as_str())
    }

    /// Records an unrecorded lease: the client `name`, one label in lower case, has its reserved `address` until
    /// `ends`.
    pub fn note_unkept(&mut self, address: Ipv4Addr, name: String, ends: Instant) {
        self.unkept.insert(address, (name, ends));
    }

    /// The active leases of the networks served, by address.
    pub fn active(&self, now: Instant) -> impl Iterator<Item = &Lease> {
        self.served().filter(move |lease| lease.is_active(now))
    }

    /// The entries of the networks served that no client has: leases that have ended, and quarantined addresses.
    pub fn former(&self, now: Instant) -> impl Iterator<Item = &Lease> {
        let is_former = move |lease: &&Lease| match lease.state {
            State::Bound => !lease.is_active(now),
            State::Released => true,
            State::Declined => lease.is_blocked(now),
        };
        self.served().filter(is_former)
    }

    fn served(&self) -> impl Iterator<Item = &Lease> {
        self.by_address.values().filter(|lease| self.serves(lease.address))
    }

    fn active_at(&self, address: Ipv4Addr, now: Instant) -> Option<&Lease> {
        self.at(address).filter(|lease| lease.is_active(now) && self.serves(address))
    }

    /// All entries, by address, including expired and released leases and those of other networks.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_address.values()
    }

    /// The number of entries.
    pub(super) fn count(&self) -> usize {
        self.by_address.len()
    }

    /// The entry of `address`.
    pub fn at(&self, address: Ipv4Addr) -> Option<&Lease> {
        self.by_address.get(&address)
    }

    /// The present or last lease of `client`.
    pub fn of_client(&self, client: &ClientKey) -> Option<&Lease> {
        self.by_address.get(self.by_client.get(client)?)
    }

    /// The entries of clients behind the MAC `source`.
    pub fn of_source(&self, source: MacAddr) -> impl Iterator<Item = &Lease> {
        self.by_source.get(&source).into_iter().flatten().filter_map(|address| self.at(*address))
    }

    /// The addresses of `range` that must not be given to other clients, in order.
    pub fn blocked(&self, range: &RangeInclusive<Ipv4Addr>, now: Instant) -> impl Iterator<Item = &Lease> {
        let entries = (!range.is_empty()).then(|| self.by_address.range(range.clone()));
        entries.into_iter().flatten().map(|(_, lease)| lease).filter(move |lease| lease.is_blocked(now))
    }

    /// The addresses of `range` in quarantine, and those that are once that is on disk.
    pub fn quarantined(
        &self,
        range: &RangeInclusive<Ipv4Addr>,
        now: Instant,
    ) -> impl Iterator<Item = &Lease> {
        let present = self.blocked(range, now).filter(|lease| !self.is_changing(lease.address));
        let is_coming = move |lease: &&Lease| range.contains(&lease.address) && lease.is_blocked(now);
        let coming = self.waiting.changes().flat_map(|change| &change.leases).filter(is_coming);
        present.chain(coming).filter(|lease| lease.state == State::Declined)
    }

    /// The addresses of `range` without an entry, in order.
    pub fn unknown(&self, range: &RangeInclusive<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> {
        self.gaps.within(range)
    }

    /// The least recently used address of `range` that `suits` accepts. Doubtful ones come last.
    pub fn least_recently_used(
        &self,
        range: &RangeInclusive<Ipv4Addr>,
        now: Instant,
        suits: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let lease =
            |address: Ipv4Addr| self.at(address).filter(|_| range.contains(&address) && suits(address));
        let key = |lease: &&Lease| (lease.is_doubtful(now), lease.until, lease.address);
        let (in_order, not_in_order) = self.ages.unused(now);
        let mut doubtful = None;
        let first = in_order.filter_map(lease).find(|lease| {
            let is_doubtful = lease.is_doubtful(now);
            doubtful = doubtful.or(is_doubtful.then_some(*lease));
            !is_doubtful
        });
        let candidates = first.into_iter().chain(doubtful).chain(not_in_order.filter_map(lease));
        candidates.min_by_key(key).map(|lease| lease.address)
    }

    /// Grants or renews a lease, once that is on disk. The client's former lease, if for another address, ends.
    ///
    /// # Errors
    ///
    /// The table is full, or [another reason](Self::release) prevents the change.
    pub fn bind(&mut self, now: Instant, unix_now: UnixTime, grant: Grant) -> io::Result<()> {
        let taken_name = grant.hostname.as_ref().and_then(|name| self.by_name.get(name)).copied();
        let former = self.of_client(&grant.client).filter(|lease| lease.state == State::Bound);
        let is_renewal = former.is_some_and(|lease| lease.address == grant.address && lease.is_active(now));
        let whose = if is_renewal { Priority::Known } else { Priority::Others };
        let expires = now + Duration::from_secs(grant.lease_secs.into());
        let mut changes = vec![Lease {
            address: grant.address,
            client: grant.client,
            mac: grant.mac,
            source: grant.source,
            hostname: grant.hostname,
            state: State::Bound,
            since: unix_now,
            until: UnixTime(unix_now.0.saturating_add(grant.lease_secs.into())),
            expires,
            surely_ended: expires,
        }];
        if let Some(former) = former.filter(|lease| lease.address != grant.address) {
            changes.push(released(former, now, unix_now));
        }
        if let Some(holder) = taken_name.and_then(|address| self.at(address))
            && changes.iter().all(|change| change.address != holder.address)
        {
            changes.push(Lease { hostname: None, ..holder.clone() });
        }
        self.commit(now, whose, changes)
    }

    /// Ends the lease of `address`, if there is one, once that is on disk; its client is remembered.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`]: too many changes wait for the disk, or one that this one would contradict. Or the
    /// leases could not be read yet. No lease changes then.
    pub fn release(&mut self, now: Instant, unix_now: UnixTime, address: Ipv4Addr) -> io::Result<()> {
        let Some(lease) = self.at(address) else { return Ok(()) };
        self.commit(now, Priority::Others, vec![released(lease, now, unix_now)])
    }

    /// Quarantines `address` for `secs`, once that is on disk: `by` has found it in use.
    ///
    /// # Errors
    ///
    /// The table is full, or [another reason](Self::release) prevents the change.
    pub fn quarantine(
        &mut self,
        now: Instant,
        unix_now: UnixTime,
        address: Ipv4Addr,
        by: Claimant,
        secs: u32,
    ) -> io::Result<()> {
        let expires = now + Duration::from_secs(secs.into());
        let Claimant { client, mac, source } = by;
        let lease = Lease {
            address,
            client,
            mac,
            source,
            hostname: None,
            state: State::Declined,
            since: unix_now,
            until: UnixTime(unix_now.0.saturating_add(secs.into())),
            expires,
            surely_ended: expires,
        };
        self.commit(now, Priority::Others, vec![lease])
    }

    /// Ends the lease of `address`, if there is one, once that is on disk, for a client that must not get it again:
    /// unlike after a [release](Self::release), the address is not the client's former one.
    ///
    /// # Errors
    ///
    /// A [reason](Self::release) that prevents the change.
    pub fn forget(&mut self, now: Instant, unix_now: UnixTime, address: Ipv4Addr) -> io::Result<()> {
        let Some(lease) = self.at(address) else { return Ok(()) };
        // A quarantine of no length.
        let ended = Lease { state: State::Declined, ..released(lease, now, unix_now) };
        self.commit(now, Priority::Others, vec![ended])
    }

    /// Queues the changes of several addresses, which become durable together or not at all. The first one determines
    /// the priority.
    fn commit(&mut self, now: Instant, whose: Priority, leases: Vec<Lease>) -> io::Result<()> {
        if self.is_unread() {
            return Err(io::Error::other("what the disk holds could not be read"));
        }
        let change = Change { whose, leases };
        self.waiting.check(&change).inspect_err(|_| self.turned_away += 1)?;
        let addresses: Vec<_> = change.leases.iter().map(|lease| lease.address).collect();
        self.make_room_for(&addresses, now)?;
        self.waiting.push(change);
        Ok(())
    }

    /// Applies a change that is on disk.
    pub(super) fn apply(&mut self, now: Instant, change: Change) {
        self.ages.advance(now, |address| self.by_address.get(&address).map(|lease| lease.until));
        if let Some(given) = change.given() {
            self.unkept.remove(&given.address);
        }
        for lease in change.leases {
            self.suspects.remove(&lease.address);
            self.insert(lease);
        }
    }

    /// Makes room for an entry of the first address in `changing`: if the table is full, the least recently used entry
    /// is removed.
    fn make_room_for(&mut self, changing: &[Ipv4Addr], now: Instant) -> io::Result<()> {
        let is_known = changing.first().is_some_and(|address| self.by_address.contains_key(address));
        if is_known || self.by_address.len() + self.waiting.len() < LEASES_MAX {
            return Ok(());
        }
        let may_go = |address: Ipv4Addr| !changing.contains(&address) && !self.waiting.concerns(address);
        let everywhere = Ipv4Addr::UNSPECIFIED..=Ipv4Addr::BROADCAST;
        let unused = self.least_recently_used(&everywhere, now, may_go);
        let ends = || [self.by_address.keys().next(), self.by_address.keys().next_back()];
        let is_foreign = |end: &Ipv4Addr| !self.serves(*end) && may_go(*end);
        let foreign = || ends().into_iter().flatten().copied().find(is_foreign);
        let removed = unused.or_else(foreign).and_then(|address| self.remove(address));
        removed.map(drop).ok_or_else(|| {
            io::Error::new(io::ErrorKind::QuotaExceeded, format!("all {LEASES_MAX} leases are in use"))
        })
    }

    fn insert(&mut self, lease: Lease) {
        self.remove(lease.address);
        // If a client has several entries, the one that it uses is indexed.
        let is_known = self.by_client.contains_key(&lease.client);
        if lease.state == State::Bound || (lease.state == State::Released && !is_known) {
            self.by_client.insert(lease.client.clone(), lease.address);
        }
        if let Some(name) = &lease.hostname {
            self.by_name.insert(name.clone(), lease.address);
        }
        self.by_source.entry(lease.source).or_default().insert(lease.address);
        self.gaps.fill(lease.address);
        self.ages.insert(lease.in_use());
        self.by_address.insert(lease.address, lease);
    }

    fn remove(&mut self, address: Ipv4Addr) -> Option<Lease> {
        let lease = self.by_address.remove(&address)?;
        if let Some(addresses) = self.by_source.get_mut(&lease.source) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_source.remove(&lease.source);
            }
        }
        self.gaps.open(address);
        self.ages.remove(lease.in_use());
        if self.by_client.get(&lease.client) == Some(&address) {
            self.by_client.remove(&lease.client);
        }
        if let Some(name) = &lease.hostname
            && self.by_name.get(name) == Some(&address)
        {
            self.by_name.remove(name);
        }
        Some(lease)
    }
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
