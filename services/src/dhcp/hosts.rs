//! The LAN's hosts by leases and reservations, as other services see them.
//!
//! A host has its name by its lease while that lasts, or by its reservation at any time: a camera with a manually
//! configured reserved address never takes a lease. If the two differ the lease wins, as it has the host's present
//! address: name and address resolve to each other.
//!
//! A reservation by one hardware address makes its host the holder of the address permanently, a lease as long as it
//! lasts. If the client of a reservation has a lease, the lease has the source of its frames.

use std::cell::{Ref, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;

use super::server::leases::{ClientKey, Lease, Leases, State};
use super::server::{Reservation, ReservedFor};
use crate::clock::Clock;
use crate::lan_hosts::{Holder, LanHosts, LeaseState, LeasedHost, LocalNames};

/// The lease table, which only the DHCP server changes.
pub type SharedLeases = Rc<RefCell<Leases>>;

/// The hosts of leases and reservations.
pub struct OfficeHosts {
    leases: Option<SharedLeases>,
    clock: Rc<dyn Clock>,
    /// The addresses of reserved names, in lower case.
    reserved: BTreeMap<String, Ipv4Addr>,
    /// The reserved addresses, with the names of those that have one.
    reserved_names: BTreeMap<Ipv4Addr, Option<String>>,
    /// The holders by reservation.
    holders: Rc<BTreeMap<Ipv4Addr, Holder>>,
}

impl OfficeHosts {
    /// The hosts of `leases`, which is `None` without a DHCP server, and of `reservations`.
    pub fn new(leases: Option<SharedLeases>, clock: Rc<dyn Clock>, reservations: &[Reservation]) -> Self {
        let (mut reserved, mut reserved_names) = (BTreeMap::new(), BTreeMap::new());
        for reservation in reservations {
            let name = reservation.hostname.as_ref().map(|name| name.to_ascii_lowercase());
            if let Some(name) = &name {
                reserved.entry(name.clone()).or_insert(reservation.address);
            }
            reserved_names.insert(reservation.address, name);
        }
        let holders = reservations.iter().filter_map(by_reservation).map(|holder| (holder.address, holder));
        let holders = Rc::new(holders.collect());
        Self { leases, clock, reserved, reserved_names, holders }
    }

    fn leases(&self) -> Option<Ref<'_, Leases>> {
        self.leases.as_ref().map(|leases| leases.borrow())
    }

    fn host(&self, lease: &Lease) -> LeasedHost {
        let now = self.clock.now();
        LeasedHost {
            address: lease.address,
            mac: if lease.state == State::Declined { lease.source } else { lease.mac },
            hostname: lease.hostname.clone(),
            client_id: match &lease.client {
                ClientKey::Id(id) => Some(id.clone()),
                ClientKey::Mac(_) => None,
            },
            state: match lease.state {
                State::Bound if lease.is_active(now) => LeaseState::Bound,
                State::Bound => LeaseState::Expired,
                State::Released => LeaseState::Released,
                State::Declined => LeaseState::Quarantined,
            },
            age: Duration::from_secs(self.clock.unix_time().0.saturating_sub(lease.since.0)),
            remaining: lease.remaining(now),
        }
    }
}

impl LocalNames for OfficeHosts {
    fn addresses(&self, label: &str) -> Vec<IpAddr> {
        let leased = self.leases().and_then(|leases| leases.address_of(label, self.clock.now()));
        leased.or_else(|| self.reserved.get(label).copied()).map(IpAddr::V4).into_iter().collect()
    }

    fn labels(&self) -> Vec<String> {
        let leases = self.leases();
        let leased = leases.iter().flat_map(|leases| leases.names(self.clock.now())).map(str::to_owned);
        let all: BTreeSet<_> = leased.chain(self.reserved.keys().cloned()).collect();
        all.into_iter().collect()
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        let IpAddr::V4(address) = address else { return None };
        let leases = self.leases();
        let leased = leases.as_ref().and_then(|leases| leases.name_of(address, self.clock.now()));
        leased.map(str::to_owned).or_else(|| self.reserved_names.get(&address)?.clone())
    }

    fn is_complete(&self) -> bool {
        self.leases().is_none_or(|leases| !leases.is_unread())
    }

    fn is_known(&self, address: IpAddr) -> bool {
        // DHCPv4 leases have no other addresses.
        let IpAddr::V4(address) = address else { return true };
        let Some(leases) = self.leases() else { return true };
        let is_leased = leases.at(address).is_some_and(|lease| lease.is_active(self.clock.now()));
        is_leased || self.reserved_names.contains_key(&address)
    }
}

impl LanHosts for OfficeHosts {
    fn leases(&self) -> Vec<LeasedHost> {
        let leases = self.leases();
        let active = leases.iter().flat_map(|leases| leases.active(self.clock.now()));
        active.map(|lease| self.host(lease)).collect()
    }

    fn former_leases(&self, max: usize) -> Vec<LeasedHost> {
        let leases = self.leases();
        let mut former: Vec<_> = leases.iter().flat_map(|leases| leases.former(self.clock.now())).collect();
        former.sort_by_key(|lease| (Reverse(lease.since), lease.address));
        former.into_iter().take(max).map(|lease| self.host(lease)).collect()
    }

    fn holders(&self) -> Vec<Holder> {
        let Some(leases) = self.leases() else { return Vec::new() };
        let now = self.clock.now();
        let mut holders = BTreeMap::clone(&self.holders);
        let leased = leases.iter().filter_map(|lease| of_address(&self.holders, lease, now));
        holders.extend(leased.map(|holder| (holder.address, holder)));
        holders.into_values().collect()
    }

    fn observe(&self, observer: Box<dyn Fn(BTreeMap<Ipv4Addr, Option<Holder>>)>) {
        let Some(leases) = &self.leases else { return };
        let (holders, clock) = (Rc::clone(&self.holders), Rc::clone(&self.clock));
        leases.borrow_mut().observe(move |changed| {
            let holder = |lease: &&Lease| (lease.address, of_address(&holders, lease, clock.now()));
            observer(changed.iter().map(holder).collect());
        });
    }
}

/// The holder of the address of `lease`; the reservation takes precedence, if there is one.
fn of_address(reserved: &BTreeMap<Ipv4Addr, Holder>, lease: &Lease, now: Instant) -> Option<Holder> {
    let leased = by_lease(lease, now);
    let Some(reserved) = reserved.get(&lease.address) else { return leased };
    let source =
        leased.filter(|leased| leased.mac == reserved.mac).map_or(reserved.mac, |leased| leased.source);
    Some(Holder { source, ..*reserved })
}

fn by_reservation(reservation: &Reservation) -> Option<Holder> {
    match reservation.clients[..] {
        [ReservedFor::Mac(mac)] => {
            Some(Holder { address: reservation.address, mac, source: mac, until: Instant::FAR_FUTURE })
        }
        // Its hardware address is unknown until it has a lease.
        _ => None,
    }
}

/// The holder by `lease`; `None` if the lease is not active.
fn by_lease(lease: &Lease, now: Instant) -> Option<Holder> {
    let until = now + lease.remaining(now);
    let holder = Holder { address: lease.address, mac: lease.mac, source: lease.source, until };
    lease.is_active(now).then_some(holder)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use crate::clock::UnixTime;
    use crate::dhcp::server::leases::{Claimant, Grant};
    use crate::store::Memory;
    use gatepost_ground::MacAddr;

    use super::*;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant::from_secs(100)
        }

        fn unix_time(&self) -> UnixTime {
            UnixTime(1_000)
        }
    }

    const RESERVED: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
    const LEASED: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 57);

    fn camera() -> Reservation {
        Reservation {
            hostname: Some("Camera".to_owned()),
            clients: vec![ReservedFor::Mac(MacAddr([2, 0, 0, 0, 0, 0x20]))],
            address: RESERVED,
            parameters: crate::dhcp::server::Parameters::default(),
        }
    }

    /// Names by the reservation of `camera`, and a lease of `address` for `hostname`.
    fn names(lease: Option<(Ipv4Addr, Option<&str>)>) -> OfficeHosts {
        let mut leases = Leases::open(std::sync::Arc::new(Memory::new()), Stopped.now(), Stopped.unix_time());
        if let Some((address, hostname)) = lease {
            let mac = MacAddr([2, 0, 0, 0, 0, 0x57]);
            let hostname = hostname.map(str::to_owned);
            let grant =
                Grant { address, client: ClientKey::Mac(mac), mac, source: mac, hostname, lease_secs: 60 };
            leases.bind(Stopped.now(), Stopped.unix_time(), grant).unwrap();
            leases.settle(Stopped.now(), Stopped.unix_time()).unwrap();
        }
        OfficeHosts::new(Some(Rc::new(RefCell::new(leases))), Rc::new(Stopped), &[camera()])
    }

    #[test]
    fn a_reserved_name_is_there_before_any_lease_and_without_a_dhcp_server() {
        for names in [names(None), OfficeHosts::new(None, Rc::new(Stopped), &[camera()])] {
            assert_eq!(names.addresses("camera"), [RESERVED]);
            assert_eq!(names.name(RESERVED.into()).as_deref(), Some("camera"));
            assert_eq!((names.addresses("other"), names.name(LEASED.into())), (Vec::new(), None));
        }
    }

    #[test]
    fn where_a_lease_says_otherwise_it_wins() {
        let elsewhere = names(Some((LEASED, Some("camera"))));
        assert_eq!(
            (elsewhere.addresses("camera"), elsewhere.labels()),
            (vec![LEASED.into()], vec!["camera".to_owned()])
        );
        assert_eq!(elsewhere.name(LEASED.into()).as_deref(), Some("camera"));
        assert_eq!(elsewhere.name(RESERVED.into()).as_deref(), Some("camera"));
        let of_another = names(Some((RESERVED, Some("bob"))));
        assert_eq!(of_another.name(RESERVED.into()).as_deref(), Some("bob"));
        assert_eq!(of_another.addresses("bob"), [RESERVED]);
        assert_eq!(of_another.labels(), ["bob", "camera"]);
        assert_eq!(of_another.addresses("camera"), [RESERVED]);
    }

    #[test]
    fn former_leases_are_those_that_ended_and_the_quarantined_the_latest_first() {
        let names = names(Some((LEASED, Some("bob"))));
        let active = LanHosts::leases(&names);
        assert_eq!((active[0].state, active[0].remaining.as_secs()), (LeaseState::Bound, 60));
        assert_eq!(names.former_leases(9), []);
        let leases = names.leases.clone().unwrap();
        let change = |change: &dyn Fn(&mut Leases)| {
            let mut leases = leases.borrow_mut();
            change(&mut leases);
            leases.settle(Stopped.now(), Stopped.unix_time()).unwrap();
        };
        change(&|leases| leases.release(Stopped.now(), UnixTime(900), LEASED).unwrap());
        let mac = MacAddr([2, 0, 0, 0, 0, 0x66]);
        let by = || Claimant { client: ClientKey::Mac(mac), mac, source: mac };
        change(&|leases| leases.quarantine(Stopped.now(), UnixTime(990), RESERVED, by(), 600).unwrap());
        let told = |max| -> Vec<_> {
            let former = names.former_leases(max).into_iter();
            former
                .map(|host| (host.address, host.state, host.age.as_secs(), host.remaining.as_secs()))
                .collect()
        };
        let quarantined = (RESERVED, LeaseState::Quarantined, 10, 600);
        assert_eq!(told(9), [quarantined, (LEASED, LeaseState::Released, 100, 0)]);
        assert_eq!(told(1), [quarantined]);
        assert_eq!(LanHosts::leases(&names), []);
        change(&|leases| leases.forget(Stopped.now(), Stopped.unix_time(), RESERVED).unwrap());
        assert_eq!(told(9).len(), 1, "a quarantine that is over is nothing to report");
    }

    #[test]
    fn who_has_a_lease_or_a_reservation_is_known() {
        let names = names(Some((LEASED, None)));
        assert!(names.is_known(LEASED.into()) && names.is_known(RESERVED.into()));
        assert!(!names.is_known(Ipv4Addr::new(192, 168, 1, 99).into()));
        let without_server = OfficeHosts::new(None, Rc::new(Stopped), &[]);
        assert!(without_server.is_known(LEASED.into()), "nobody keeps leases");
    }
}
