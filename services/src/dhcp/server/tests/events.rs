//! What those see who watch the server.

use super::*;
use crate::events::{Events, Watcher};

fn watched(config: Config) -> (Office, Watcher<DhcpEvent>) {
    let mut office = Office::new(config);
    let events = Events::default();
    let watcher = events.watch();
    office.server = office.server.with_events(events);
    (office, watcher)
}

/// The new events: their names, addresses and reasons.
fn told(watcher: &mut Watcher<DhcpEvent>) -> Vec<(String, Option<Ipv4Addr>, String)> {
    let new = watcher.take(100);
    assert_eq!(new.missed, 0);
    let parts = |(_, event): (Instant, DhcpEvent)| {
        assert_eq!(event.mac.parse::<MacAddr>().map(MacAddr::is_multicast), Ok(false), "{event}");
        (event.event, event.address, event.reason.unwrap_or_default())
    };
    new.events.into_iter().map(parts).collect()
}

/// An event as [`told`] has it.
fn event(
    name: &str,
    address: impl Into<Option<Ipv4Addr>>,
    reason: &str,
) -> (String, Option<Ipv4Addr>, String) {
    (name.to_owned(), address.into(), reason.to_owned())
}

#[test]
fn each_message_is_told_once_with_its_reason() {
    let (mut office, mut watcher) = watched(config());
    let address = office.lease(pc(1));
    office.hear(&release(pc(1), address));
    office.offer(&discover(pc(1)));
    assert_eq!(
        told(&mut watcher),
        [
            event("DISCOVER", None, ""),
            event("probe", address, "ARP asks whether another machine uses it"),
            event("OFFER", address, "a free address of the pool, for 3600 s"),
            event("REQUEST", address, ""),
            event("ACK", address, "leased, for 3600 s"),
            event("RELEASE", address, ""),
            event("DISCOVER", None, ""),
            event("OFFER", address, "the address that it had, for 3600 s"),
        ]
    );
}

#[test]
fn whoever_gets_no_address_is_told_with_the_reason() {
    let (mut office, mut watcher) = watched(Config { pool: host(2)..=host(2), ..config() });
    office.lease(pc(1));
    told(&mut watcher);
    assert_eq!(office.offer(&discover(pc(2))), None);
    office.nak(&select(pc(2), host(2)));
    office.hear(&release(pc(2), host(2)));
    assert_eq!(
        told(&mut watcher),
        [
            event("DISCOVER", None, ""),
            event("unanswered", None, "no address is free"),
            event("REQUEST", host(2), ""),
            event("NAK", None, "address not available"),
            event("RELEASE", host(2), ""),
        ]
    );
}

#[test]
fn a_conflict_names_the_machine_that_uses_the_address() {
    let (mut office, mut watcher) = watched(config());
    let address = office.lease(pc(1));
    office.hear(&decline(pc(1), address));
    told(&mut watcher);
    let unix_now = office.unix_now();
    office.server.handle_arp(office.now, unix_now, address, pc(9));
    let new = watcher.take(9).events;
    let [(_, conflict)] = &new[..] else { panic!("{new:?}") };
    assert_eq!((&conflict.event[..], &conflict.mac), ("conflict", &pc(9).to_string()));
    assert_eq!(
        conflict.to_string(),
        format!(
            "conflict    {}  {address}      -  its client has declined it, and this machine uses it",
            pc(9)
        )
    );
}
