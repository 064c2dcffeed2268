//! A bounded number of places for connections or handshakes: in all, for sources outside of the LAN, and for each source.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use crate::users::limit::source_of;

/// The most places in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacesMax {
    /// In all.
    pub all: usize,
    /// Of these, by sources that are not on the LAN.
    pub outside: usize,
    /// By one source: an IPv4 address, or an IPv6 /64.
    pub source: usize,
}

/// The places in use.
#[derive(Debug)]
pub(crate) struct Places {
    max: PlacesMax,
    /// Their number for each source, and whether the source is on the LAN.
    by_source: RefCell<BTreeMap<(IpAddr, bool), usize>>,
}

/// A place, released on drop.
#[derive(Debug)]
pub(crate) struct Place {
    places: Rc<Places>,
    source: (IpAddr, bool),
}

impl Places {
    /// Places of which none is in use.
    pub fn new(max: PlacesMax) -> Self {
        Self { max, by_source: RefCell::default() }
    }

    /// A place for `source`; `None` if the source, all sources outside of the LAN, or all sources together have reached
    /// their limit.
    pub fn take(self: &Rc<Self>, source: IpAddr, is_lan: bool) -> Option<Place> {
        let source = (source_of(source), is_lan);
        let mut by_source = self.by_source.borrow_mut();
        let all: usize = by_source.values().sum();
        let strangers = by_source.iter().filter(|((_, is_lan), _)| !is_lan);
        let outside: usize = strangers.map(|(_, count)| count).sum();
        let own = by_source.get(&source).copied().unwrap_or(0);
        let is_full = all >= self.max.all || !is_lan && outside >= self.max.outside;
        if is_full || own >= self.max.source {
            return None;
        }
        by_source.insert(source, own + 1);
        Some(Place { places: Rc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = self.places.by_source.borrow_mut();
        match by_source.get_mut(&self.source) {
            Some(own) if *own > 1 => *own -= 1,
            _ => _ = by_source.remove(&self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: PlacesMax = PlacesMax { all: 256, outside: 128, source: 16 };

    fn source(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_have_a_share_and_leave_the_lan_its_own() {
        let places = Rc::new(Places::new(MAX));
        let strangers: Vec<_> = (0..=u8::MAX)
            .filter_map(|number| places.take(source(&format!("192.0.2.{number}")), false))
            .collect();
        assert_eq!(strangers.len(), MAX.outside);
        let lan: Vec<_> = (0..=u8::MAX)
            .filter_map(|number| places.take(source(&format!("192.168.1.{number}")), true))
            .collect();
        assert_eq!(lan.len(), MAX.all - MAX.outside);
        assert!(places.take(source("198.51.100.1"), false).is_none());
        drop(strangers);
        assert!(places.take(source("198.51.100.1"), false).is_some());
    }

    #[test]
    fn a_source_has_a_share_and_a_place_that_is_left_is_free() {
        let places = Rc::new(Places::new(MAX));
        let take = |text: &str| places.take(source(text), true);
        let mut own: Vec<_> = (0..MAX.source).map(|_| take("2001:db8::1").expect("a place")).collect();
        assert!(take("2001:db8::2").is_none(), "a host has the whole /64");
        let other = take("2001:db8:0:1::1").expect("a place");
        own.pop();
        own.push(take("2001:db8::2").expect("a place"));
        let mut all = vec![other];
        for number in 0..=u8::MAX {
            all.extend(take(&format!("192.0.2.{number}")));
        }
        assert_eq!(own.len() + all.len(), MAX.all);
        assert!(take("198.51.100.1").is_none());
        drop(own);
        assert!(take("198.51.100.1").is_some());
        drop(all);
        assert!(places.by_source.borrow().is_empty());
    }
}
