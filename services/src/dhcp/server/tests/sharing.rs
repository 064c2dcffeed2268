//! One reserved address for a machine with two interfaces.

use super::*;

const CABLE: u8 = 1;
const WIFI: u8 = 2;

fn laptop() -> Office {
    let clients = vec![ReservedFor::Mac(pc(CABLE)), ReservedFor::Mac(pc(WIFI))];
    let laptop = Reservation { clients, ..reservation(ReservedFor::Mac(pc(CABLE)), host(20)) };
    Office::new(Config { reservations: vec![laptop], ..config() })
}

#[test]
fn the_interface_that_asks_last_gets_the_address_that_the_other_does_not_use() {
    let mut office = laptop();
    for number in [CABLE, WIFI, CABLE] {
        assert_eq!(office.lease(pc(number)), host(20));
        assert_eq!(office.leases.borrow().name_of(host(20), office.now), Some("printer"));
        office.ack(&renew(pc(number), host(20)));
    }
    office.nak(&renew(pc(WIFI), host(20)));
    office.nak(&select(pc(WIFI), host(20)));
    assert_eq!(office.lease(pc(3)), host(2), "others are not affected");
    office.nak(&select(pc(3), host(20)));
}

#[test]
fn while_both_interfaces_are_used_the_later_one_gets_an_address_of_the_pool() {
    let mut office = laptop();
    assert_eq!(office.lease(pc(CABLE)), host(20));
    // The kernel of the laptop may answer for the address at either interface.
    for answering in [CABLE, WIFI] {
        let unix_now = office.unix_now();
        let discover = discover(pc(WIFI));
        assert_eq!(office.server.handle_message(office.now, unix_now, pc(WIFI), &discover), None);
        assert_eq!(office.server.poll_probe(), Some(host(20)));
        office.server.handle_arp(office.now, unix_now, host(20), pc(answering));
        let offer = office.server.poll_reply().or_else(|| office.pass_probes_of_offers());
        assert_eq!(offer.map(|offer| offer.message.yiaddr()), Some(host(2)));
        office.ack(&select(pc(WIFI), host(2)));
    }
    office.wait(u64::from(LEASE_SECS) / 2);
    office.ack(&renew(pc(CABLE), host(20)));
    office.ack(&renew(pc(WIFI), host(2)));
    office.hear(&release(pc(CABLE), host(20)));
    office.nak(&renew(pc(WIFI), host(2)));
    assert_eq!(office.lease(pc(WIFI)), host(20));
}
