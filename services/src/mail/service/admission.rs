//! How much of the mail services one client gets: connections at a time, and messages a minute.
//!
//! A source is an IPv4 address, or the /64 of an IPv6 address. Half of all connections are for the LAN alone, so that a flood
//! from outside leaves the office its own.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::{Instant, RateLimit};

/// Connections at a time, of all mail services together.
pub const CONNECTIONS_MAX: usize = 1000;

/// Connections at a time that come from outside of the LAN.
pub const WAN_CONNECTIONS_MAX: usize = 500;

/// Sources whose messages are counted. With one more, the one that sent longest ago is forgotten.
pub const SOURCES_MAX: usize = 8192;

/// All connections of the mail services.
#[derive(Debug, Default)]
pub struct Connections {
    counts: RefCell<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_source: BTreeMap<IpAddr, usize>,
    all: usize,
    from_wan: usize,
}

/// The place of a connection. It is given up when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    connections: Rc<Connections>,
    source: IpAddr,
    is_lan: bool,
}

impl Connections {
    /// A place for a connection from `peer`, whose source may have `share` at a time; `None` if there is none.
    pub fn admit(self: &Rc<Self>, peer: IpAddr, is_lan: bool, share: usize) -> Option<Admitted> {
        let source = source_of(peer);
        let mut counts = self.counts.borrow_mut();
        let own = counts.by_source.get(&source).copied().unwrap_or(0);
        let is_full = counts.all >= CONNECTIONS_MAX
            || !is_lan && counts.from_wan >= WAN_CONNECTIONS_MAX
            || own >= share;
        if is_full {
            return None;
        }
        counts.by_source.insert(source, own + 1);
        counts.all += 1;
        counts.from_wan += usize::from(!is_lan);
        Some(Admitted { connections: Rc::clone(self), source, is_lan })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.connections.counts.borrow_mut();
        counts.all -= 1;
        counts.from_wan -= usize::from(!self.is_lan);
        if let Some(own) = counts.by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

/// The messages that sources send.
#[derive(Debug)]
pub struct Rates {
    each: RateLimit,
    /// Each source's limit, and when it sent last.
    sources: BTreeMap<IpAddr, (RateLimit, u64)>,
    by_use: BTreeSet<(u64, IpAddr)>,
    used: u64,
}

impl Rates {
    /// Each source may send so many messages a minute, at least one.
    pub fn new(a_minute: u32) -> Self {
        let a_minute = a_minute.max(1);
        let each = RateLimit::once_in(Duration::from_secs(60) / a_minute, a_minute);
        Self { each, sources: BTreeMap::new(), by_use: BTreeSet::new(), used: 0 }
    }

    /// Whether `peer` may send a message now; it counts if so.
    pub fn admit(&mut self, now: Instant, peer: IpAddr) -> bool {
        let source = source_of(peer);
        self.used += 1;
        let mut limit = match self.sources.remove(&source) {
            Some((limit, used)) => {
                self.by_use.remove(&(used, source));
                limit
            }
            None => {
                if self.sources.len() >= SOURCES_MAX
                    && let Some((_, longest_unused)) = self.by_use.pop_first()
                {
                    self.sources.remove(&longest_unused);
                }
                self.each
            }
        };
        let admits = limit.admit(now);
        self.sources.insert(source, (limit, self.used));
        self.by_use.insert((self.used, source));
        admits
    }
}

fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: usize) -> IpAddr {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) | ((number as u128) << 64) | 1).into()
    }

    #[test]
    fn a_source_has_a_share_of_connections_and_what_ends_makes_room() {
        let connections = Rc::new(Connections::default());
        let admit = |peer: IpAddr| connections.admit(peer, true, 3);
        let held: Vec<_> = (0..3).map(|_| admit(host(1)).unwrap()).collect();
        let neighbour: IpAddr = "2001:db8:0:1::2".parse().unwrap();
        assert!(admit(neighbour).is_none(), "the same network");
        let _other = admit(host(2)).unwrap();
        drop(held);
        assert!(admit(neighbour).is_some());
        assert_eq!(connections.counts.borrow().by_source.len(), 1, "nothing is kept of who is gone");
    }

    #[test]
    fn a_flood_from_outside_leaves_the_lan_its_half() {
        let connections = Rc::new(Connections::default());
        let held: Vec<_> =
            (0..CONNECTIONS_MAX).map_while(|number| connections.admit(host(number), false, 20)).collect();
        assert_eq!(held.len(), WAN_CONNECTIONS_MAX);
        let lan: IpAddr = [192, 168, 1, 10].into();
        let inside: Vec<_> =
            (0..CONNECTIONS_MAX).map_while(|_| connections.admit(lan, true, CONNECTIONS_MAX)).collect();
        assert_eq!(inside.len(), CONNECTIONS_MAX - WAN_CONNECTIONS_MAX);
    }

    #[test]
    fn messages_are_limited_by_source_and_the_longest_unused_is_forgotten() {
        let at = |millis: u64| Instant::from_millis(1_000_000 + millis);
        let mut rates = Rates::new(100);
        let sent = (0..200).filter(|_| rates.admit(at(0), host(1))).count();
        assert_eq!(sent, 100);
        assert!(rates.admit(at(0), host(2)));
        assert!(!rates.admit(at(599), host(1)) && rates.admit(at(600), host(1)));
        for number in 3..SOURCES_MAX + 3 {
            assert!(rates.admit(at(600), host(number)));
        }
        assert_eq!((rates.sources.len(), rates.by_use.len()), (SOURCES_MAX, SOURCES_MAX));
        assert!(!rates.sources.contains_key(&source_of(host(1))));
    }
}
