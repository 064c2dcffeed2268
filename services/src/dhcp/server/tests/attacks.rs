//! One machine against the others: forged messages, and exhaustion of the pool.

use gatepost_ground::PortId;

use super::*;

const ATTACKER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xbb]);

fn office(pool_len: u8) -> Office {
    Office::new(Config { pool: host(2)..=host(pool_len + 1), ports: 2, ..config() })
}

pub(super) fn at(mac: MacAddr, port: u8) -> Origin {
    Origin { mac, port: Some(PortId(port)) }
}

pub(super) fn numbered(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 7, number])
}

impl Office {
    fn hear_from(&mut self, origin: impl Into<Origin>, message: &Message) -> Option<Reply> {
        let unix_now = self.unix_now();
        let answer = self.server.handle_message(self.now, unix_now, origin, message);
        self.write();
        answer.or_else(|| self.server.poll_reply()).or_else(|| self.pass_probes_of_offers())
    }

    /// DISCOVER to ACK with frames from `origin`; `None` without an offer or an ACK.
    fn lease_from(&mut self, origin: impl Into<Origin>, mac: MacAddr) -> Option<Ipv4Addr> {
        let origin = origin.into();
        let address = self.hear_from(origin, &discover(mac))?.message.yiaddr();
        let reply = self.hear_from(origin, &select(mac, address))?;
        (reply.message.opts().msg_type() == Some(MessageType::Ack)).then_some(address)
    }

    /// The machine `mac` answers the probes of `address`.
    fn answer_probe(&mut self, address: Ipv4Addr, mac: MacAddr) {
        assert_eq!(self.server.poll_probe(), Some(address));
        let unix_now = self.unix_now();
        self.server.handle_arp(self.now, unix_now, address, mac);
        self.write();
    }

    pub(super) fn in_quarantine(&self) -> usize {
        let leases = self.leases.borrow();
        leases.iter().filter(|lease| lease.state == State::Declined && lease.is_blocked(self.now)).count()
    }
}

#[test]
fn declines_of_one_machine_leave_the_pool_to_the_others() {
    // Of those for which another machine answers, a quarter of the pool.
    for (is_answering, in_quarantine) in [(false, shares::SOURCE_QUARANTINES_MAX), (true, 22)] {
        let mut office = office(90);
        let known = office.lease(pc(1));
        for _ in 0..100 {
            let address = office.lease(ATTACKER);
            assert_eq!(office.hear(&decline(ATTACKER, address)), None);
            if is_answering && office.server.declines.is_pending(address) {
                office.answer_probe(address, pc(99));
            } else {
                office.pass_probes();
            }
        }
        assert_eq!(office.in_quarantine(), in_quarantine);
        office.ack(&renew(pc(1), known));
        for number in 2..=90 - u8::try_from(in_quarantine).unwrap() {
            office.lease(pc(number));
        }
    }
}

#[test]
fn a_new_client_passes_the_addresses_that_others_have_by_hand() {
    // Five are more than one machine may quarantine by DECLINE alone, ten more than a quarter of the pool.
    for (by_hand, pool_len) in [(5, 99), (10, 16)] {
        let mut office = office(pool_len);
        for number in 0..3 {
            let mut declined = Vec::new();
            let address = loop {
                let address = office.lease(pc(100 + number));
                let [.., last] = address.octets();
                if last > by_hand + 1 {
                    break address;
                }
                assert!(!declined.contains(&address), "{address} was offered again after {declined:?}");
                declined.push(address);
                office.hear(&decline(pc(100 + number), address));
                office.answer_probe(address, numbered(last));
            };
            office.ack(&renew(pc(100 + number), address));
        }
    }
}

#[test]
fn who_has_declined_too_many_is_offered_another_address_all_the_same() {
    let mut office = office(20);
    let mut addresses = Vec::new();
    for _ in 0..12 {
        let address = office.lease(pc(1));
        assert!(!addresses.contains(&address), "{address} after {addresses:?}");
        addresses.push(address);
        office.hear(&decline(pc(1), address));
        office.pass_probes();
        assert!(!office.leases.borrow().at(address).unwrap().is_active(office.now));
    }
    assert_eq!(office.in_quarantine(), shares::SOURCE_QUARANTINES_MAX);
    office.lease(pc(2));
}

#[test]
fn a_decline_for_which_there_is_no_place_ends_its_lease() {
    let mut office = office(100);
    for number in 0..u8::try_from(declines::DECLINES_MAX).unwrap() {
        let address = office.lease(numbered(number));
        office.hear(&decline(numbered(number), address));
    }
    let address = office.lease(pc(1));
    office.hear(&decline(pc(1), address));
    assert!(!office.server.declines.is_pending(address));
    assert_ne!(office.lease(pc(1)), address);
    assert_eq!(office.leases.borrow().at(address).unwrap().remaining(office.now), Duration::ZERO);
}

#[test]
fn declines_of_many_machines_take_a_quarter_of_the_pool_and_the_first_gives_way() {
    let mut office = office(16);
    for number in 1..=10 {
        let address = office.lease(numbered(number));
        office.hear(&decline(numbered(number), address));
        office.answer_probe(address, pc(99));
        assert_eq!(office.in_quarantine(), usize::from(number.min(4)));
    }
}

#[test]
fn a_decline_or_release_is_believed_only_from_where_the_lease_was_asked_for() {
    let mut office = office(10);
    let address = office.lease_from(at(pc(1), 1), pc(1)).expect("a lease");
    for origin in [at(ATTACKER, 1), at(ATTACKER, 2), at(pc(1), 2)] {
        for forged in [decline(pc(1), address), release(pc(1), address)] {
            assert_eq!(office.hear_from(origin, &forged), None);
            assert_eq!(office.server.poll_probe(), None);
            assert!(office.leases.borrow().at(address).unwrap().is_active(office.now), "{origin:?}");
        }
    }
    office.hear_from(at(pc(1), 1), &release(pc(1), address));
    assert!(!office.leases.borrow().at(address).unwrap().is_active(office.now));
}

#[test]
fn a_station_that_has_moved_to_another_port_renews_and_then_releases_there() {
    let mut office = office(10);
    let address = office.lease_from(at(pc(1), 1), pc(1)).expect("a lease");
    office.hear_from(at(pc(1), 2), &release(pc(1), address));
    assert!(office.leases.borrow().at(address).unwrap().is_active(office.now), "it was never heard there");
    let renewed = office.hear_from(at(pc(1), 2), &renew(pc(1), address)).expect("an answer");
    assert_eq!(renewed.message.opts().msg_type(), Some(MessageType::Ack));
    office.hear_from(at(pc(1), 1), &release(pc(1), address));
    assert!(office.leases.borrow().at(address).unwrap().is_active(office.now), "it has moved away");
    office.hear_from(at(pc(1), 2), &release(pc(1), address));
    assert!(!office.leases.borrow().at(address).unwrap().is_active(office.now));
}

#[test]
fn an_offer_can_be_declined_whatever_port_its_address_was_last_used_at() {
    let mut office = office(1);
    let address = office.lease_from(at(pc(1), 1), pc(1)).expect("a lease");
    office.hear_from(at(pc(1), 1), &release(pc(1), address));
    let offer = office.hear_from(at(pc(2), 2), &discover(pc(2))).expect("an offer");
    assert_eq!(offer.message.yiaddr(), address);
    office.hear_from(at(pc(2), 1), &decline(pc(2), address));
    assert_eq!(office.server.poll_probe(), None, "it was offered at the other port");
    office.hear_from(at(pc(2), 2), &decline(pc(2), address));
    assert_eq!(office.server.poll_probe(), Some(address));
}

#[test]
fn who_borrows_an_identifier_cannot_end_its_lease() {
    let mut office = office(10);
    let id = || DhcpOption::ClientIdentifier(vec![0, 5]);
    let address = office.offer(&with(discover(pc(1)), id())).expect("an offer");
    office.ack(&with(select(pc(1), address), id()));
    assert_eq!(office.hear(&with(release(ATTACKER, address), id())), None);
    assert_eq!(office.hear_from(ATTACKER, &with(renew(pc(1), address), id())).map(|_| ()), Some(()));
    assert_eq!(office.hear_from(ATTACKER, &with(release(pc(1), address), id())), None);
    assert!(office.leases.borrow().at(address).unwrap().is_active(office.now));
}

#[test]
fn a_bridge_that_puts_its_own_mac_on_frames_can_release_for_its_clients() {
    let mut office = office(10);
    let address = office.lease_from(numbered(1), pc(1)).expect("a lease");
    let mut office = office.restart();
    office.hear_from(ATTACKER, &release(pc(1), address));
    assert!(office.leases.borrow().at(address).unwrap().is_active(office.now));
    office.hear_from(numbered(1), &release(pc(1), address));
    assert!(!office.leases.borrow().at(address).unwrap().is_active(office.now));
}

#[test]
fn a_forged_decline_costs_a_reserved_host_nothing() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(200))];
    for answers in [true, false] {
        let mut office = Office::new(Config { reservations: reservations.clone(), ..config() });
        assert_eq!(office.lease(pc(1)), host(200));
        assert_eq!(office.hear(&decline(pc(1), host(200))), None);
        if answers {
            office.answer_probe(host(200), pc(1));
        } else {
            office.pass_probes();
        }
        assert_eq!(office.in_quarantine(), 0);
        office.ack(&renew(pc(1), host(200)));
        assert_eq!(office.lease(pc(1)), host(200));
    }
}

#[test]
fn a_lease_that_is_released_while_its_decline_is_verified_ends_afterwards() {
    for (reserved, answers) in [(false, true), (true, true), (true, false)] {
        let reservations = reserved.then(|| reservation(ReservedFor::Mac(pc(1)), host(4)));
        let mut office = Office::new(Config { reservations: reservations.into_iter().collect(), ..config() });
        let address = office.lease(pc(1));
        office.hear(&decline(pc(1), address));
        office.hear(&release(pc(1), address));
        assert!(office.leases.borrow().at(address).unwrap().is_active(office.now), "it may be in use");
        if answers {
            office.answer_probe(address, pc(1));
        } else {
            office.pass_probes();
        }
        office.write();
        let state = office.leases.borrow().at(address).map(|lease| lease.state);
        assert_eq!((state, office.in_quarantine()), (Some(State::Released), 0), "{reserved} {answers}");
    }
}

#[test]
fn a_renewal_ends_the_doubt_about_an_address() {
    let mut office = office(10);
    let address = office.lease(pc(1));
    office.hear(&decline(pc(1), address));
    office.ack(&renew(pc(1), address));
    office.pass_probes();
    assert_eq!(office.in_quarantine(), 0);
    office.ack(&renew(pc(1), address));
}

#[test]
fn a_quarantine_is_shorter_while_the_pool_runs_low_and_if_nobody_answers() {
    for (taken, is_answered, secs) in [(1, true, 3600), (7, true, 600), (12, true, 60), (1, false, 60)] {
        let mut office = office(12);
        let addresses: Vec<_> = (1..=taken).map(|number| office.lease(pc(number))).collect();
        office.hear(&decline(pc(1), addresses[0]));
        if is_answered {
            office.answer_probe(addresses[0], pc(99));
        } else {
            office.pass_probes();
        }
        let lease = office.leases.borrow().at(addresses[0]).unwrap().clone();
        assert_eq!((lease.state, lease.remaining(office.now).as_secs()), (State::Declined, secs), "{taken}");
    }
}

#[test]
fn a_declined_address_is_given_again_after_a_minute_unless_another_machine_answers_for_it() {
    for (is_answered, secs) in [(false, 60), (true, 3600)] {
        let mut office = office(12);
        let address = office.lease(pc(1));
        office.hear(&decline(pc(1), address));
        if is_answered {
            office.answer_probe(address, pc(99));
        } else {
            office.pass_probes();
        }
        let asked = || with(discover(pc(2)), DhcpOption::RequestedIpAddress(address));
        assert_ne!(office.offer(&asked()), Some(address));
        office.wait(secs - 1);
        assert_ne!(office.offer(&asked()), Some(address));
        office.server.offers.withdraw(&ClientKey::Mac(pc(2)));
        office.wait(1);
        assert_eq!(office.offer(&asked()), Some(address), "after {secs} s");
    }
}

#[test]
fn one_machine_of_many_names_has_its_share_of_leases() {
    let mut office = office(90);
    let known = office.lease(pc(1));
    // Many hardware addresses in frames from one, and many identifiers of one machine.
    let leases = (0..200).filter_map(|number| office.lease_from(ATTACKER, numbered(number))).count();
    assert_eq!(leases, 16);
    let id = |number: u8| DhcpOption::ClientIdentifier(vec![0, number]);
    let leases = (0..200).filter(|number| {
        let offer = office.hear(&with(discover(pc(2)), id(*number)));
        let address = offer.map(|offer| offer.message.yiaddr());
        address.is_some_and(|address| office.hear(&with(select(pc(2), address), id(*number))).is_some())
    });
    assert_eq!(leases.count(), 16);
    office.ack(&renew(pc(1), known));
    assert!((3..50).all(|number| office.lease_from(pc(number), pc(number)).is_some()));
    // It can renew its leases.
    let address = office.leases.borrow().of_client(&ClientKey::Mac(numbered(0))).unwrap().address;
    assert!(office.hear_from(ATTACKER, &renew(numbered(0), address)).is_some());
}

#[test]
fn a_relay_agent_has_half_of_the_pool() {
    let mut office = office(90);
    let relayed = |mut message: Message| {
        message.set_giaddr(RELAY);
        message
    };
    let leases = (0..200).filter(|number| {
        let offer = office.hear(&relayed(discover(numbered(*number))));
        let address = offer.map(|offer| offer.message.yiaddr());
        address.is_some_and(|address| office.hear(&relayed(select(numbered(*number), address))).is_some())
    });
    assert_eq!(leases.count(), 45);
}

#[test]
fn one_port_of_forged_senders_leaves_a_quarter_of_the_pool() {
    let mut office = office(16);
    let leases =
        (0..200).filter(|number| office.lease_from(at(numbered(*number), 1), numbered(*number)).is_some());
    assert_eq!(leases.count(), 12);
    assert!((1..=4).all(|number| office.lease_from(at(pc(number), 2), pc(number)).is_some()));
    office.wait(u64::from(LEASE_SECS));
    assert!(
        office.lease_from(at(numbered(201), 1), numbered(201)).is_some(),
        "leases that ended do not count"
    );
}

#[test]
fn offers_to_forged_senders_give_way() {
    let mut office = office(8);
    for number in 0..200 {
        office.hear_from(at(numbered(number), 1), &discover(numbered(number)));
    }
    assert!(office.lease_from(at(pc(1), 2), pc(1)).is_some());
    assert!(office.lease_from(at(pc(2), 2), pc(2)).is_some());
    let mut office = Office::new(Config { pool: host(2)..=host(9), ..config() });
    for number in 0..200 {
        office.hear_from(ATTACKER, &discover(numbered(number)));
    }
    assert!(office.lease_from(pc(1), pc(1)).is_some(), "without ports, by MAC");
}
