//! Addresses are probed before they are offered.

use super::attacks::{at, numbered};
use super::*;
use crate::dhcp::server::unoffered::{PASSED_OVER_MAX, PROBED_MAX};
use crate::test_log::Log;

/// A machine with a manually configured address.
const SQUATTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);

impl Office {
    /// Handles a message and nothing that is due later.
    fn hear_now(&mut self, origin: impl Into<Origin>, message: &Message) -> Option<Reply> {
        let unix_now = self.unix_now();
        self.server.handle_message(self.now, unix_now, origin, message)
    }

    /// The machine `mac` answers for `address`.
    fn claim(&mut self, address: Ipv4Addr, mac: MacAddr) -> Option<Reply> {
        let unix_now = self.unix_now();
        self.server.handle_arp(self.now, unix_now, address, mac);
        self.write();
        self.server.poll_reply()
    }

    /// Waits for the next timer, and handles it.
    fn pass_timer(&mut self) -> Option<Reply> {
        self.now = self.server.poll_timeout().expect("a timer");
        let unix_now = self.unix_now();
        self.server.handle_timeout(self.now, unix_now);
        self.server.poll_reply()
    }

    /// The answer to a DISCOVER of `mac`, where `answerer` has the machine that answers for an address.
    fn offer_beside(
        &mut self,
        mac: MacAddr,
        answerer: impl Fn(Ipv4Addr) -> Option<MacAddr>,
    ) -> Option<Ipv4Addr> {
        let mut reply = self.hear_now(mac, &discover(mac));
        while reply.is_none() && self.server.unoffered.len() > 0 {
            reply = match self.server.poll_probe() {
                Some(address) => answerer(address).and_then(|answerer| self.claim(address, answerer)),
                None => self.pass_timer(),
            };
        }
        self.write();
        Some(reply?.message.yiaddr())
    }

    /// The answer to a DISCOVER of `mac`, where `SQUATTER` answers for the addresses up to `last`.
    fn offer_beside_squatter(&mut self, mac: MacAddr, last: Ipv4Addr) -> Option<Ipv4Addr> {
        self.offer_beside(mac, |address| (address <= last).then_some(SQUATTER))
    }
}

/// A machine of its own for each address.
fn own_machine(address: Ipv4Addr) -> MacAddr {
    numbered(address.octets()[3])
}

/// RFC 2131, section 3.1 (2): A server checks that an address is not in use before it offers it.
#[test]
fn rfc2131_3_1_an_address_is_probed_before_it_is_offered() {
    let mut office = Office::new(config());
    let begin = office.now;
    assert_eq!(office.hear_now(pc(1), &discover(pc(1))), None);
    assert_eq!([office.server.poll_probe(), office.server.poll_probe()], [Some(host(2)), None]);
    assert_eq!(office.pass_timer(), None);
    assert_eq!([office.server.poll_probe(), office.server.poll_probe()], [Some(host(2)), None]);
    let offer = office.pass_timer().expect("an offer");
    assert_eq!((offer.message.yiaddr(), office.now.since(begin).as_millis()), (host(2), 400));
    assert_eq!(office.server.poll_timeout(), None);

    let again = office.hear_now(pc(1), &discover(pc(1)));
    assert_eq!(again.map(|offer| offer.message.yiaddr()), Some(host(2)), "probed a moment ago");
    office.ack(&select(pc(1), host(2)));
    for wait in [0, LEASE_SECS, 0] {
        office.wait(u64::from(wait));
        let again = office.hear_now(pc(1), &discover(pc(1)));
        assert_eq!(again.map(|offer| offer.message.yiaddr()), Some(host(2)), "its last address");
        office.hear(&release(pc(1), host(2)));
    }
    office.wait(60);
    let wish = with(discover(pc(2)), DhcpOption::RequestedIpAddress(host(2)));
    assert_eq!(office.hear_now(pc(2), &wish), None, "another client's last address");
    assert_eq!(office.server.poll_probe(), Some(host(2)));
}

/// RFC 2131, section 3.1 (2): An address that another machine uses is offered to nobody.
#[test]
fn rfc2131_3_1_an_address_in_foreign_use_is_offered_to_nobody() {
    let mut office = Office::new(config());
    assert_eq!(office.offer_beside_squatter(pc(1), host(3)), Some(host(4)));
    assert_eq!(
        (office.server.counters().addresses_in_foreign_use, office.in_quarantine()),
        (2, 1),
        "of a small pool"
    );
    assert_eq!(office.offer_beside_squatter(pc(2), host(3)), Some(host(5)));
    office.wait(u64::from(QUARANTINE_SECS));
    assert_eq!(office.offer_beside_squatter(pc(3), host(3)), Some(host(4)), "the offer has expired");
    assert!(office.server.counters().addresses_in_foreign_use >= 2);
    assert_eq!(office.offer_beside_squatter(SQUATTER, host(0)), Some(host(5)), "as any client");
}

#[test]
fn a_client_that_uses_its_address_already_is_offered_it() {
    let mut office = Office::new(config());
    assert_eq!(office.hear_now(pc(1), &discover(pc(1))), None);
    let offer = office.claim(host(2), pc(1)).expect("an offer");
    assert_eq!((offer.message.yiaddr(), office.in_quarantine()), (host(2), 0));
    // A wireless bridge answers for its clients.
    assert_eq!(office.hear_now(SQUATTER, &discover(pc(2))), None);
    assert_eq!(office.claim(host(3), SQUATTER).map(|offer| offer.message.yiaddr()), Some(host(3)));
}

/// RFC 2131, section 3.1 (2): The check for one client delays no other.
#[test]
fn others_are_served_while_a_discover_waits() {
    let mut office = Office::new(config());
    let known = office.lease(pc(9));
    assert_eq!(office.hear_now(pc(1), &discover(pc(1))), None);
    let offer = office.hear_now(pc(9), &discover(pc(9)));
    assert_eq!(offer.map(|offer| offer.message.yiaddr()), Some(known));
    office.ack(&renew(pc(9), known));
    assert_eq!(office.hear_now(pc(2), &discover(pc(2))), None);
    let probed = std::iter::from_fn(|| office.server.poll_probe());
    assert_eq!(probed.collect::<Vec<_>>(), [host(3), host(4)], "one each");
}

#[test]
fn a_client_that_retransmits_meanwhile_gets_one_answer_to_its_last_message() {
    let mut office = Office::new(config());
    assert_eq!(office.hear_now(pc(1), &discover(pc(1))), None);
    assert_eq!(office.pass_timer(), None);
    let mut again = discover(pc(1));
    again.set_xid(7);
    assert_eq!(office.hear_now(pc(1), &again), None);
    let offer = office.pass_timer().expect("an offer");
    assert_eq!(
        (offer.message.xid(), office.server.poll_reply(), office.server.poll_timeout()),
        (7, None, None)
    );
}

#[test]
fn one_port_that_floods_leaves_probes_to_others() {
    let mut office = Office::new(Config { pool: host(2)..=host(250), ports: 2, ..config() });
    for number in 0..100 {
        let offer = office.hear_now(at(numbered(number), 1), &discover(numbered(number)));
        assert_eq!(offer.is_some(), usize::from(number) >= PROBED_MAX, "unprobed, {number}");
    }
    assert_eq!(office.server.unoffered.len(), PROBED_MAX);
    assert_eq!(office.hear_now(at(pc(1), 2), &discover(pc(1))), None);
    assert_eq!(office.server.unoffered.len(), PROBED_MAX);
    let unprobed = office.server.poll_reply().expect("an offer to the client without a place");
    assert_eq!(message::mac(&unprobed.message), numbered(0));
    let mut offers = std::iter::from_fn(|| {
        while office.server.poll_timeout().is_some() {
            let reply = office.pass_timer();
            office.server.add_ready(office.now, reply);
        }
        office.server.poll_reply()
    });
    assert!(offers.any(|offer| message::mac(&offer.message) == pc(1)));
}

#[test]
fn more_clients_behind_a_bridge_than_its_share_do_not_probe_for_ever() {
    let mut office = Office::new(Config { pool: host(2)..=host(17), ..config() });
    for number in 0..6 {
        assert_eq!(office.hear_now(SQUATTER, &discover(numbered(number))), None);
    }
    let mut offers = 0;
    // Each of them has two probes and a timeout.
    for _ in 0..100 {
        if office.server.poll_timeout().is_none() {
            break;
        }
        let reply = office.pass_timer();
        offers += usize::from(reply.is_some());
        offers += std::iter::from_fn(|| office.server.poll_reply()).count();
    }
    assert_eq!((office.server.poll_timeout(), offers), (None, 4));
}

#[test]
fn the_client_of_a_relay_agent_is_offered_no_address_in_use() {
    let mut office = Office::new(config());
    let mut relayed = discover(pc(1));
    relayed.set_giaddr(RELAY);
    assert_eq!(office.hear_now(RELAY_MAC, &relayed), None);
    assert_eq!(office.claim(host(2), SQUATTER), None);
    assert_eq!([office.server.poll_probe(), office.server.poll_probe()], [Some(host(2)), Some(host(3))]);
}

#[test]
fn the_client_of_a_reserved_address_in_foreign_use_gets_another_meanwhile() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(9))];
    let mut office = Office::new(Config { reservations, ..config() });
    assert_eq!(office.hear_now(pc(1), &discover(pc(1))), None);
    assert_eq!(office.server.poll_probe(), Some(host(9)));
    assert_eq!(office.claim(host(9), SQUATTER), None);
    assert_eq!(office.server.poll_probe(), Some(host(2)));
    assert_eq!(office.pass_probes_of_offers().map(|offer| offer.message.yiaddr()), Some(host(2)));
    office.ack(&select(pc(1), host(2)));
    office.wait(u64::from(LEASE_SECS) / 2);
    office.nak(&renew(pc(1), host(2)));
    assert_eq!(office.lease(pc(1)), host(9), "the squatter is gone");
}

#[test]
fn a_client_whose_reserved_address_is_in_foreign_use_gets_the_one_that_it_was_offered() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(1)), host(9))];
    let mut office = Office::new(Config { reservations, ..config() });
    // The machine at the address has changed so many leases that its answers quarantine nothing.
    let now = office.now;
    while office.server.writes.admit(now, SQUATTER.into(), false) {}
    let offer = office.offer_beside(pc(1), |address| (address == host(9)).then_some(SQUATTER));
    assert_eq!((offer, office.in_quarantine()), (Some(host(2)), 0));
    office.ack(&select(pc(1), host(2)));
}

#[test]
fn more_addresses_in_foreign_use_than_can_be_in_quarantine_are_passed_over() {
    let mut office = Office::new(Config { pool: host(2)..=host(101), ..config() });
    let offers = |office: &mut Office| {
        office.offer_beside(pc(1), |address| (address <= host(59)).then(|| own_machine(address)))
    };
    let disputed = offers(&mut office).expect("an offer");
    assert!(disputed <= host(59), "{disputed}: more than are passed over for one DISCOVER");
    office.ack(&select(pc(1), disputed));
    office.hear(&decline(pc(1), disputed));
    office.pass_probes();
    assert_eq!(offers(&mut office), Some(host(60)));
}

#[test]
fn one_machine_that_answers_every_probe_stops_no_client() {
    let mut office = Office::new(Config { pool: host(2)..=host(101), ..config() });
    let (log, offers) = Log::of(|| {
        [1, 2, 3].map(|number| {
            let offer = office.offer_beside_squatter(pc(number), host(255)).expect("an offer");
            office.ack(&select(pc(number), offer));
            offer
        })
    });
    assert_eq!(offers, [18, 19, 20].map(host), "it is believed for as many as it could lease");
    assert_eq!(office.in_quarantine(), 16);
    assert_eq!(log.iter().filter(|line| line.contains("proxy ARP")).count(), 1, "{log:?}");
}

#[test]
fn many_machines_that_answer_every_probe_stop_no_client() {
    for pool_len in [2, 4, 100] {
        let mut office = Office::new(Config { pool: host(2)..=host(pool_len + 1), ..config() });
        for round in 0..20 {
            let offer = office.offer_beside(pc(1), |address| Some(own_machine(address)));
            let address = offer.expect("an offer");
            office.ack(&select(pc(1), address));
            office.hear(&release(pc(1), address));
            office.server.leases.borrow_mut().forget(office.now, office.unix_now(), address).unwrap();
            office.write();
            assert!(office.in_quarantine() <= shares::quarantines(&office.server.config.pool), "{round}");
        }
        office.lease(pc(2));
    }
}

#[test]
fn a_client_that_retransmits_while_probes_are_answered_goes_on() {
    let mut office = Office::new(Config { pool: host(2)..=host(101), ..config() });
    let mut reply = office.hear_now(pc(1), &discover(pc(1)));
    let mut answers = 0;
    while reply.is_none() && answers <= PASSED_OVER_MAX {
        let address = office.server.poll_probe().expect("a probe");
        assert_eq!(office.hear_now(pc(1), &discover(pc(1))), None);
        reply = office.claim(address, own_machine(address));
        answers += 1;
    }
    assert!(reply.is_some());
}

#[test]
fn an_address_that_cannot_be_quarantined_is_passed_over_once() {
    let mut office = Office::new(config());
    office.disk.is_full.store(true, Ordering::Relaxed);
    assert_eq!(office.offer_beside_squatter(pc(1), host(3)), Some(host(4)));
    assert_eq!((office.server.counters().addresses_in_foreign_use, office.in_quarantine()), (2, 0));
}

#[test]
fn a_quarantine_is_charged_to_the_machine_that_answers() {
    let mut office = Office::new(config());
    let now = office.now;
    let mut may_change = |origin: MacAddr| office.server.writes.admit(now, origin.into(), false);
    while may_change(pc(1)) {}
    assert_eq!(office.offer_beside_squatter(pc(1), host(3)), Some(host(4)));
    assert_eq!(office.in_quarantine(), 1);
    office.wait(u64::from(QUARANTINE_SECS));
    let now = office.now;
    while office.server.writes.admit(now, SQUATTER.into(), false) {}
    assert_eq!(office.offer_beside_squatter(pc(2), host(3)), Some(host(4)));
    assert_eq!(office.in_quarantine(), 0);
}

#[test]
fn addresses_in_foreign_use_are_logged_a_few_times_a_minute() {
    let mut office = Office::new(Config { pool: host(2)..=host(101), ..config() });
    let (log, _) = Log::of(|| office.offer_beside(pc(1), |address| Some(own_machine(address))));
    let count = log.iter().filter(|line| line.contains("in foreign use")).count();
    assert_eq!((count, office.server.counters().addresses_in_foreign_use), (8, PASSED_OVER_MAX as u64));
}

#[test]
fn a_new_configuration_ends_the_waiting() {
    let mut office = Office::new(config());
    assert_eq!(office.hear_now(pc(1), &discover(pc(1))), None);
    office.server.set_config(config());
    assert_eq!((office.server.poll_timeout(), office.claim(host(2), SQUATTER)), (None, None));
    assert_eq!(office.offer(&discover(pc(1))), Some(host(2)));
}
