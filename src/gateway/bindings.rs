//! Publication of leases and reservations to the dataplanes.
//!
//! The table is published as a whole when services start with a configuration, and again when holders change: before
//! the clients learn of their leases, so that the dataplanes accept the clients' first packets. A publication copies
//! the table, once for each write to the disk, however many leases the write has.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gatepost_dataplane::binding::{Binding, Bindings};
use gatepost_services::lan_hosts::{Holder, LanHosts};

/// The table that all workers read.
pub type SharedBindings = Arc<ArcSwap<Bindings>>;

/// Publishes the holders that `hosts` knows, and from now on every change.
pub fn follow(bindings: &SharedBindings, hosts: &dyn LanHosts) {
    bindings.store(Arc::new(hosts.holders().into_iter().map(binding).collect()));
    let bindings = Arc::clone(bindings);
    hosts.observe(Box::new(move |holders| {
        let changes = holders.into_iter().map(|(address, holder)| (address, holder.map(binding)));
        bindings.store(Arc::new(bindings.load().with(&changes.collect())));
    }));
}

fn binding(holder: Holder) -> Binding {
    let Holder { address, mac, source, until } = holder;
    Binding { ip: address, mac, source, until }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::net::Ipv4Addr;
    use std::rc::Rc;
    use std::time::Duration;

    use gatepost_ground::{Instant, MacAddr};
    use gatepost_services::clock::{Clock, UnixTime};
    use gatepost_services::dhcp::hosts::OfficeHosts;
    use gatepost_services::dhcp::server::leases::{ClientKey, Grant, Leases};
    use gatepost_services::dhcp::server::{Parameters, Reservation, ReservedFor};
    use gatepost_services::store::Memory;

    use super::*;

    #[derive(Clone)]
    struct Stopped(Rc<Cell<Instant>>);

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            self.0.get()
        }

        fn unix_time(&self) -> UnixTime {
            UnixTime(1_800_000_000)
        }
    }

    const RESERVED: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
    const LEASED: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 30);

    fn mac(number: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, number])
    }

    fn reserved_for(client: ReservedFor, address: Ipv4Addr) -> Reservation {
        Reservation { hostname: None, clients: vec![client], address, parameters: Parameters::default() }
    }

    #[test]
    fn leases_and_reservations_bind_their_addresses() {
        let time = Rc::new(Cell::new(Instant::from_secs(1000)));
        let stopped = Stopped(Rc::clone(&time));
        let clock: Rc<dyn Clock> = Rc::new(stopped.clone());
        let leases = Leases::open(Arc::new(Memory::default()), stopped.now(), stopped.unix_time());
        let leases = Rc::new(RefCell::new(leases));
        let bind = |address, number| {
            let client = ClientKey::Mac(mac(number));
            let grant = Grant {
                address,
                client,
                mac: mac(number),
                source: mac(number),
                hostname: None,
                lease_secs: 60,
            };
            leases.borrow_mut().bind(stopped.now(), stopped.unix_time(), grant).expect("nothing waits");
            leases.borrow_mut().settle(stopped.now(), stopped.unix_time()).expect("memory");
        };
        bind(LEASED, 1);
        let reservations = [
            reserved_for(ReservedFor::Mac(mac(9)), RESERVED),
            reserved_for(ReservedFor::ClientId(vec![7]), Ipv4Addr::new(192, 168, 1, 21)),
        ];
        let bindings = SharedBindings::default();
        follow(&bindings, &OfficeHosts::new(Some(Rc::clone(&leases)), Rc::clone(&clock), &reservations));
        let holders = || {
            let all = [RESERVED, LEASED, Ipv4Addr::new(192, 168, 1, 21)];
            all.map(|ip| bindings.load().holder(stopped.now(), ip).map(|mac| mac.0[5]))
        };
        assert_eq!(holders(), [Some(9), Some(1), None]);

        bind(LEASED, 2);
        bind(RESERVED, 3);
        bind(Ipv4Addr::new(192, 168, 1, 21), 4);
        assert_eq!(holders(), [Some(9), Some(2), Some(4)], "a reservation counts before a lease");
        leases.borrow_mut().release(stopped.now(), stopped.unix_time(), LEASED).expect("nothing waits");
        leases.borrow_mut().settle(stopped.now(), stopped.unix_time()).expect("memory");
        assert_eq!(holders(), [Some(9), None, Some(4)]);

        time.set(stopped.now() + Duration::from_secs(60));
        assert_eq!(holders(), [Some(9), None, None], "leases end by themselves");
        follow(&bindings, &OfficeHosts::new(None, Rc::clone(&clock), &reservations));
        assert_eq!(holders(), [None; 3]);
    }

    #[test]
    fn one_write_is_published_once() {
        let clock: Rc<dyn Clock> = Rc::new(Stopped(Rc::new(Cell::new(Instant::from_secs(1000)))));
        let (now, unix_now) = (clock.now(), clock.unix_time());
        let leases = Rc::new(RefCell::new(Leases::open(Arc::new(Memory::default()), now, unix_now)));
        let hosts = OfficeHosts::new(Some(Rc::clone(&leases)), Rc::clone(&clock), &[]);
        let published = Rc::new(RefCell::new(Vec::new()));
        let observed = Rc::clone(&published);
        hosts.observe(Box::new(move |holders| observed.borrow_mut().push(holders.len())));
        let address = |number| Ipv4Addr::new(192, 168, 1, number);
        for number in 1..=9 {
            let (mac, lease_secs) = (mac(number), 60);
            let client = ClientKey::Mac(mac);
            let grant =
                Grant { address: address(number), client, mac, source: mac, hostname: None, lease_secs };
            leases.borrow_mut().bind(now, unix_now, grant).expect("nothing contradicts it");
        }
        leases.borrow_mut().settle(now, unix_now).expect("memory");
        assert_eq!(*published.borrow(), [9]);
    }

    #[test]
    fn frames_come_from_the_client_or_the_bridge_by_which_it_asked() {
        let clock: Rc<dyn Clock> = Rc::new(Stopped(Rc::new(Cell::new(Instant::from_secs(1000)))));
        let leases = Leases::open(Arc::new(Memory::default()), clock.now(), clock.unix_time());
        let leases = Rc::new(RefCell::new(leases));
        let bind = |address, number, source| {
            let client = ClientKey::Id(vec![1]);
            let (mac, source) = (mac(number), mac(source));
            let grant = Grant { address, client, mac, source, hostname: None, lease_secs: 60 };
            leases.borrow_mut().bind(clock.now(), clock.unix_time(), grant).expect("nothing waits");
            leases.borrow_mut().settle(clock.now(), clock.unix_time()).expect("memory");
        };
        bind(LEASED, 1, 8);
        let bindings = SharedBindings::default();
        let reservations = [reserved_for(ReservedFor::Mac(mac(9)), RESERVED)];
        follow(&bindings, &OfficeHosts::new(Some(Rc::clone(&leases)), Rc::clone(&clock), &reservations));
        let senders = |ip| {
            let may_send = |number: &u8| bindings.load().may_send(clock.now(), ip, mac(*number));
            (1..=9).filter(may_send).collect::<Vec<_>>()
        };
        assert_eq!((senders(LEASED), senders(RESERVED)), (vec![1, 8], vec![9]));
        // The client's card is replaced: it asks again under its client identifier.
        bind(LEASED, 2, 2);
        assert_eq!(senders(LEASED), [2]);
        // The host of the reservation asks through a bridge, too.
        bind(RESERVED, 9, 8);
        assert_eq!(senders(RESERVED), [8, 9]);
        leases.borrow_mut().release(clock.now(), clock.unix_time(), RESERVED).expect("nothing waits");
        leases.borrow_mut().settle(clock.now(), clock.unix_time()).expect("memory");
        assert_eq!(senders(RESERVED), [9]);
    }
}
