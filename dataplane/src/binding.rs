//! The holders of LAN addresses, by leases and reservations of one address family.
//!
//! The DHCP server publishes the table as a whole; dataplanes share it and only read it. An entry ends by itself with
//! its lease, so that a lease that is not renewed needs no publication.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use gatepost_ground::{Instant, MacAddr};

use crate::key::Address;

/// An address and the hardware addresses of the client that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<A = Ipv4Addr> {
    /// The address.
    pub ip: A,
    /// The hardware address of the client that has the lease or the reservation.
    pub mac: MacAddr,
    /// The source of the frame that requested the lease: the client's own hardware address, or that of a bridge (a
    /// Wi-Fi repeater) that replaces its clients' addresses. Of a reservation without a lease, the same as `mac`.
    pub source: MacAddr,
    /// When the lease ends; [`Instant::FAR_FUTURE`] for a reservation.
    pub until: Instant,
}

/// The bindings of a LAN, at most one for each address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bindings<A = Ipv4Addr> {
    /// The bindings in the order of their addresses.
    sorted: Vec<Binding<A>>,
}

impl<A> Default for Bindings<A> {
    /// No bindings.
    fn default() -> Self {
        Self { sorted: Vec::new() }
    }
}

impl<A: Address> Bindings<A> {
    /// The hardware address of the current holder of `ip`.
    pub fn holder(&self, now: Instant, ip: A) -> Option<MacAddr> {
        self.at(now, ip).map(|binding| binding.mac)
    }

    /// Whether a frame from the hardware address `mac` may carry a packet from `ip`: if `ip` has a holder now, only a
    /// frame from the holder or from the bridge that requested the lease may.
    pub fn may_send(&self, now: Instant, ip: A, mac: MacAddr) -> bool {
        self.at(now, ip).is_none_or(|binding| mac == binding.mac || mac == binding.source)
    }

    /// The hardware address at which the neighbour `ip` should be, if the neighbour table has it at `known`: `known`
    /// if that is the holder's, else the source of the lease's request. `None` if `ip` has no holder, or `known` is
    /// that source already.
    pub fn station(&self, now: Instant, ip: A, known: MacAddr) -> Option<MacAddr> {
        let Binding { mac, source, .. } = *self.at(now, ip)?;
        if known == mac { Some(mac) } else { Some(source).filter(|source| *source != known) }
    }

    /// The binding of `ip` now.
    fn at(&self, now: Instant, ip: A) -> Option<&Binding<A>> {
        let at = self.sorted.binary_search_by_key(&ip, |binding| binding.ip).ok()?;
        self.sorted.get(at).filter(|binding| now < binding.until)
    }
}

impl<A: Address> Bindings<A> {
    /// A copy of the table in which each of the addresses in `changes` has that binding, or none.
    pub fn with(&self, changes: &BTreeMap<A, Option<Binding<A>>>) -> Self {
        let mut sorted = Vec::with_capacity(self.sorted.len() + changes.len());
        let mut rest = self.sorted.as_slice();
        for (ip, binding) in changes {
            let (before, from) = rest.split_at(rest.partition_point(|known| known.ip < *ip));
            sorted.extend_from_slice(before);
            sorted.extend(*binding);
            rest = match from {
                [known, after @ ..] if known.ip == *ip => after,
                _ => from,
            };
        }
        sorted.extend_from_slice(rest);
        Self { sorted }
    }
}

impl<A: Address> FromIterator<Binding<A>> for Bindings<A> {
    /// Of several bindings of one address, the first counts.
    fn from_iter<T: IntoIterator<Item = Binding<A>>>(bindings: T) -> Self {
        let mut sorted: Vec<_> = bindings.into_iter().collect();
        sorted.sort_by_key(|binding| binding.ip);
        sorted.dedup_by_key(|binding| binding.ip);
        Self { sorted }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;
    use crate::key::testing::v6;

    const NOW: Instant = Instant::from_secs(1000);

    fn binding(ip: u8, mac: u8, until: Instant) -> Binding {
        let mac = MacAddr([2, 0, 0, 0, 0, mac]);
        Binding { ip: Ipv4Addr::new(192, 168, 1, ip), mac, source: mac, until }
    }

    #[test]
    fn a_binding_ends_with_its_lease() {
        let bindings: Bindings =
            [binding(20, 1, Instant::from_secs(1060)), binding(10, 2, Instant::FAR_FUTURE)]
                .into_iter()
                .collect();
        let holder = |secs, ip| bindings.holder(Instant::from_secs(secs), Ipv4Addr::new(192, 168, 1, ip));
        assert_eq!(holder(1059, 20), Some(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!(holder(1060, 20), None);
        assert_eq!(holder(1_000_000, 10), Some(MacAddr([2, 0, 0, 0, 0, 2])));
        assert_eq!(holder(1000, 15), None);
        assert_eq!(Bindings::default().holder(NOW, Ipv4Addr::UNSPECIFIED), None);
    }

    #[test]
    fn a_bound_address_sends_from_its_client_and_the_bridge_before_it_only() {
        let mac = |number| MacAddr([2, 0, 0, 0, 0, number]);
        let behind_bridge = Binding { source: mac(9), ..binding(20, 1, Instant::from_secs(1060)) };
        let bindings: Bindings = [behind_bridge, binding(10, 2, Instant::FAR_FUTURE)].into_iter().collect();
        let may_send = |secs, ip| {
            [1, 2, 9].map(|number| {
                bindings.may_send(Instant::from_secs(secs), Ipv4Addr::new(192, 168, 1, ip), mac(number))
            })
        };
        assert_eq!(may_send(1059, 20), [true, false, true]);
        assert_eq!(may_send(1060, 20), [true; 3], "the lease has ended");
        assert_eq!(may_send(1059, 10), [false, true, false]);
        assert_eq!(may_send(1059, 15), [true; 3], "nobody holds it");
    }

    #[test]
    fn addresses_change_their_holders_together() {
        let ip = |ip| Ipv4Addr::new(192, 168, 1, ip);
        let held = |at, mac| (ip(at), Some(binding(at, mac, Instant::FAR_FUTURE)));
        let mut bindings = Bindings::default();
        for changes in [&[held(20, 1)][..], &[held(30, 3), held(10, 2)], &[held(20, 4), (ip(25), None)]] {
            bindings = bindings.with(&changes.iter().copied().collect());
        }
        let holders =
            |bindings: &Bindings| [10, 20, 30].map(|at| bindings.holder(NOW, ip(at)).map(|mac| mac.0[5]));
        assert_eq!(holders(&bindings), [Some(2), Some(4), Some(3)]);
        let changes = [(ip(20), None), held(30, 5), (ip(10), None)].into();
        assert_eq!(holders(&bindings.with(&changes)), [None, None, Some(5)]);
        assert_eq!(bindings.with(&[(ip(15), None)].into()), bindings);
    }

    #[test]
    fn the_first_of_an_address_counts() {
        let bindings: Bindings =
            [binding(20, 1, Instant::FAR_FUTURE), binding(20, 2, Instant::FAR_FUTURE)].into_iter().collect();
        assert_eq!(bindings.holder(NOW, Ipv4Addr::new(192, 168, 1, 20)), Some(MacAddr([2, 0, 0, 0, 0, 1])));
    }

    #[test]
    fn addresses_of_ipv6_are_held_alike() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let until = Instant::from_secs(1060);
        let held = [v6(7, 30), v6(7, 20)].map(|ip| Binding { ip, mac, source: mac, until });
        let bindings: Bindings<Ipv6Addr> = held.into_iter().collect();
        assert_eq!(bindings.holder(NOW, v6(7, 20)), Some(mac));
        assert_eq!(bindings.holder(NOW, v6(7, 25)), None);
        assert!(!bindings.may_send(NOW, v6(7, 30), MacAddr([2, 0, 0, 0, 0, 2])));
        assert_eq!(bindings.with(&[(v6(7, 30), None)].into()).holder(NOW, v6(7, 30)), None);
    }
}
