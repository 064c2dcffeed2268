//! Leases while the disk refuses: what is acknowledged is on disk already, or reserved.

use super::*;

#[test]
fn on_a_disk_that_refuses_a_known_client_has_the_rest_of_its_lease() {
    let mut office = Office::new(config());
    office.lease(pc(1));
    office.disk.is_full.set(true);
    for (waits, left) in [(0, 3600), (1800, 1800), (1799, 1)] {
        office.wait(waits);
        let ack = office.ack(&renew(pc(1), host(2))).message;
        assert_eq!(message::secs_option(&ack, OptionCode::AddressLeaseTime), Some(left));
        assert_eq!(message::secs_option(&ack, OptionCode::Renewal), Some(left / 2));
        assert_eq!(office.hear(&select(pc(2), host(3))), None, "a newcomer has nothing on disk");
    }
    office.wait(1);
    assert_eq!(office.hear(&select(pc(1), host(2))), None, "its end is what was promised");
    office.disk.is_full.set(false);
    assert_eq!(office.lease(pc(1)), host(2));
    assert_eq!(office.lease(pc(2)), host(3));
}

#[test]
fn on_a_disk_that_refuses_a_reserved_address_is_given_for_a_while() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(200))];
    let mut office = Office::new(Config { reservations, ..config() });
    office.disk.is_full.set(true);
    assert_eq!(office.offer(&discover(pc(1))), Some(host(200)));
    let ack = office.ack(&select(pc(1), host(200))).message;
    assert_eq!(message::secs_option(&ack, OptionCode::AddressLeaseTime), Some(UNKEPT_SECS));
    assert_eq!(office.leases.borrow().iter().count(), 0);
}
