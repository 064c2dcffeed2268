//! The limits of concurrent handshakes, in all and for each source.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use crate::users::limit::source_of;

/// The most concurrent handshakes of servers. One holds up to 64 KiB of an incomplete message.
pub const HANDSHAKES_MAX: usize = 256;

/// Of these, the most from sources that are not on the LAN: half, so that these cannot exclude the LAN.
pub const HANDSHAKES_OUTSIDE_MAX: usize = 128;

/// The most concurrent handshakes of one source (an IPv4 address, an IPv6 /64).
pub const HANDSHAKES_PER_SOURCE_MAX: usize = 16;

/// The handshakes in progress.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Their number for each source, and whether the source is on the LAN.
    by_source: RefCell<BTreeMap<(IpAddr, bool), usize>>,
}

/// One handshake's slot, released on drop.
#[derive(Debug)]
pub(super) struct Place {
    handshakes: Rc<Handshakes>,
    source: (IpAddr, bool),
}

impl Handshakes {
    /// A slot for a handshake with `source`; `None` if the source, all sources outside of the LAN, or all sources
    /// together have reached their limit.
    pub fn begin(self: &Rc<Self>, source: IpAddr, is_lan: bool) -> Option<Place> {
        let source = (source_of(source), is_lan);
        let mut by_source = self.by_source.borrow_mut();
        let all: usize = by_source.values().sum();
        let strangers = by_source.iter().filter(|((_, is_lan), _)| !is_lan);
        let outside: usize = strangers.map(|(_, count)| count).sum();
        let own = by_source.get(&source).copied().unwrap_or(0);
        let is_full = all >= HANDSHAKES_MAX || !is_lan && outside >= HANDSHAKES_OUTSIDE_MAX;
        if is_full || own >= HANDSHAKES_PER_SOURCE_MAX {
            return None;
        }
        by_source.insert(source, own + 1);
        Some(Place { handshakes: Rc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = self.handshakes.by_source.borrow_mut();
        match by_source.get_mut(&self.source) {
            Some(own) if *own > 1 => *own -= 1,
            _ => _ = by_source.remove(&self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_have_a_share_and_leave_the_lan_its_own() {
        let handshakes = Rc::new(Handshakes::default());
        let strangers: Vec<_> = (0..=u8::MAX)
            .filter_map(|number| handshakes.begin(source(&format!("192.0.2.{number}")), false))
            .collect();
        assert_eq!(strangers.len(), HANDSHAKES_OUTSIDE_MAX);
        let lan: Vec<_> = (0..=u8::MAX)
            .filter_map(|number| handshakes.begin(source(&format!("192.168.1.{number}")), true))
            .collect();
        assert_eq!(lan.len(), HANDSHAKES_MAX - HANDSHAKES_OUTSIDE_MAX);
        assert!(handshakes.begin(source("198.51.100.1"), false).is_none());
        drop(strangers);
        assert!(handshakes.begin(source("198.51.100.1"), false).is_some());
    }

    #[test]
    fn a_source_has_a_share_and_a_place_that_is_left_is_free() {
        let handshakes = Rc::new(Handshakes::default());
        let begin = |text: &str| handshakes.begin(source(text), true);
        let mut own: Vec<_> =
            (0..HANDSHAKES_PER_SOURCE_MAX).map(|_| begin("2001:db8::1").expect("a place")).collect();
        assert!(begin("2001:db8::2").is_none(), "a host has the whole /64");
        let other = begin("2001:db8:0:1::1").expect("a place");
        own.pop();
        own.push(begin("2001:db8::2").expect("a place"));
        let mut all = vec![other];
        for number in 0..=u8::MAX {
            all.extend(begin(&format!("192.0.2.{number}")));
        }
        assert_eq!(own.len() + all.len(), HANDSHAKES_MAX);
        assert!(begin("198.51.100.1").is_none());
        drop(own);
        assert!(begin("198.51.100.1").is_some());
        drop(all);
        assert!(handshakes.by_source.borrow().is_empty());
    }
}
