//! Leases while the disk fails: acknowledged are only leases on disk, or reservations.

use super::*;
use crate::dhcp::server::leases::RETRY_INTERVAL;

#[test]
fn on_a_disk_that_refuses_a_known_client_has_the_rest_of_its_lease() {
    let mut office = Office::new(config());
    office.lease(pc(1));
    office.disk.is_full.store(true, Ordering::Relaxed);
    let cases = [
        (0, 3600, Some(1800), Some(3150)),
        (1800, 1800, Some(900), Some(1575)),
        // RFC 2131, section 4.4.5: T1 is before T2, and T2 before the end.
        (1795, 5, Some(2), Some(4)),
        (4, 1, None, None),
    ];
    for (waits, left, renews, rebinds) in cases {
        office.wait(waits);
        let ack = office.ack(&renew(pc(1), host(2))).message;
        assert_eq!(message::secs_option(&ack, OptionCode::AddressLeaseTime), Some(left));
        assert_eq!(message::secs_option(&ack, OptionCode::Renewal), renews);
        assert_eq!(message::secs_option(&ack, OptionCode::Rebinding), rebinds);
        assert_eq!(office.hear(&select(pc(2), host(3))), None, "a newcomer has nothing on disk");
    }
    office.wait(1);
    assert_eq!(office.hear(&select(pc(1), host(2))), None, "its end is what was promised");
    office.disk.is_full.store(false, Ordering::Relaxed);
    office.wait(10);
    assert_eq!(office.lease(pc(1)), host(2));
    assert_eq!(office.lease(pc(2)), host(3));
}

#[test]
fn on_a_disk_that_refuses_a_reserved_address_is_given_for_a_while() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(200))];
    let mut office = Office::new(Config { reservations, ..config() });
    office.disk.is_full.store(true, Ordering::Relaxed);
    assert_eq!(office.offer(&discover(pc(1))), Some(host(200)));
    let ack = office.ack(&select(pc(1), host(200))).message;
    assert_eq!(message::secs_option(&ack, OptionCode::AddressLeaseTime), Some(UNKEPT_SECS));
    assert_eq!(office.leases.borrow().iter().count(), 0);

    // Its name exists as long, although nothing is on disk.
    let known = |office: &Office| {
        let leases = office.leases.borrow();
        let name = leases.name_of(host(200), office.now).map(str::to_owned);
        (leases.address_of("PRINTER", office.now), name)
    };
    assert_eq!(known(&office), (Some(host(200)), Some("printer".to_owned())));
    office.wait(u64::from(UNKEPT_SECS) - 1);
    assert_eq!(known(&office).0, Some(host(200)));
    office.wait(1);
    assert_eq!(known(&office), (None, None));
}

#[test]
fn while_the_leases_cannot_be_read_nobody_is_refused_and_nothing_is_offered_that_cannot_be_kept() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(9)), host(200))];
    let mut office = Office::new(Config { reservations, ..config() });
    office.lease(pc(1));
    office.disk.is_unreadable.store(true, Ordering::Relaxed);
    let mut office = office.restart();
    for known in [renew(pc(1), host(2)), reboot(pc(1), host(2)), discover(pc(1)), discover(pc(2))] {
        assert_eq!(office.hear(&known), None);
    }
    office.nak(&reboot(pc(2), Ipv4Addr::new(10, 0, 0, 7)));
    assert_eq!(office.offer(&discover(pc(9))), Some(host(200)), "the configuration promises it");
    office.ack(&select(pc(9), host(200)));
    office.disk.is_unreadable.store(false, Ordering::Relaxed);
    office.wait(10);
    office.ack(&renew(pc(1), host(2)));
    office.nak(&reboot(pc(2), host(2)));
    assert_eq!(office.lease(pc(2)), host(3));
}

#[test]
fn leases_that_could_not_be_read_are_tried_again_though_nobody_asks() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    office.disk.is_unreadable.store(true, Ordering::Relaxed);
    let mut office = office.restart();
    for _ in 0..2 {
        let due = office.server.poll_timeout().expect("a time for it");
        assert_eq!(due, office.now + RETRY_INTERVAL);
        assert!(office.server.poll_request(office.now).is_none(), "not yet");
        office.now = due;
        let reading = office.server.poll_request(due).expect("the journal is read");
        assert_eq!(office.server.poll_timeout(), None, "one at a time");
        let unix_now = office.unix_now();
        office.server.handle_done(due, unix_now, Ok(reading.perform()));
        office.disk.is_unreadable.store(false, Ordering::Relaxed);
    }
    assert_eq!((office.server.poll_timeout(), office.leases.borrow().is_unread()), (None, false));
    assert!(office.leases.borrow().at(address).is_some_and(|lease| lease.is_active(office.now)));
}

#[test]
fn a_client_whose_lease_may_have_been_damaged_is_not_refused() {
    let mut office = Office::new(config());
    office.lease(pc(1));
    office.lease(pc(2));
    let mut journal = office.disk.read(JOURNAL_FILE).unwrap().unwrap();
    journal[2] ^= 1;
    office.disk.cache.write(JOURNAL_FILE, &journal).unwrap();
    let mut office = office.restart();
    assert_eq!(office.hear(&renew(pc(1), host(2))), None);
    assert_eq!(office.hear(&reboot(pc(1), host(2))), None);
    office.ack(&renew(pc(2), host(3)));
    office.nak(&renew(pc(2), host(4)));
    office.wait(86_400);
    office.nak(&renew(pc(1), host(2)));
}
