//! The server while changes wait for the disk.

use super::*;

impl Office {
    /// Handles a message without serving the disk.
    fn hear_only(&mut self, message: &Message) -> Option<Reply> {
        let (source, unix_now) = (message::mac(message), self.unix_now());
        let answer = self.server.handle_message(self.now, unix_now, source, message);
        answer.or_else(|| self.pass_probes_of_offers())
    }

    fn begin(&mut self) -> DiskRequest {
        self.server.poll_request(self.now).expect("something to write")
    }

    /// Performs `request`, and returns the replies that have waited for it.
    fn end(&mut self, request: DiskRequest) -> Vec<Reply> {
        let unix_now = self.unix_now();
        self.server.handle_done(self.now, unix_now, Ok(request.perform()));
        std::iter::from_fn(|| self.server.poll_reply()).collect()
    }
}

fn given(replies: &[Reply]) -> Vec<(MessageType, Ipv4Addr)> {
    let kind = |reply: &Reply| reply.message.opts().msg_type().expect("a kind");
    replies.iter().map(|reply| (kind(reply), reply.message.yiaddr())).collect()
}

fn select_offer(office: &mut Office, number: u8) -> Ipv4Addr {
    let offer = office.hear_only(&discover(pc(number))).expect("an offer");
    let address = offer.message.yiaddr();
    assert_eq!(office.hear_only(&select(pc(number), address)), None, "it is not on disk");
    address
}

/// RFC 2131, section 3.1 (4): The lease is on disk before the ACK.
#[test]
fn nobody_is_told_before_the_disk_has_it_and_others_are_served_meanwhile() {
    let mut office = Office::new(config());
    let known = office.lease(pc(9));
    assert_eq!(select_offer(&mut office, 1), host(3));
    let writing = office.begin();
    assert!(office.server.poll_request(office.now).is_none(), "one at a time");
    // No other client gets the address, and it has no lease yet.
    let wish = with(discover(pc(2)), DhcpOption::RequestedIpAddress(host(3)));
    assert_eq!(office.hear_only(&wish).map(|reply| reply.message.yiaddr()), Some(host(4)));
    let nak = office.hear_only(&select(pc(2), host(3))).expect("an answer");
    assert_eq!(given(&[nak]), [(MessageType::Nak, Ipv4Addr::UNSPECIFIED)]);
    assert_eq!(office.leases.borrow().at(host(3)), None);
    // Changes that come meanwhile are written together.
    assert_eq!(office.hear_only(&select(pc(2), host(4))), None);
    select_offer(&mut office, 3);
    assert_eq!(given(&office.end(writing)), [(MessageType::Ack, host(3))]);
    let before = office.disk.syncs();
    let writing = office.begin();
    assert_eq!(given(&office.end(writing)), [(MessageType::Ack, host(4)), (MessageType::Ack, host(5))]);
    assert_eq!(office.disk.syncs() - before, 1, "both share a sync");
    assert!(office.server.poll_request(office.now).is_none());
    assert_eq!(office.restart().leases.borrow().iter().count(), 4, "with {known}");
}

#[test]
fn who_asks_again_meanwhile_is_answered_once() {
    let mut office = Office::new(config());
    let address = select_offer(&mut office, 1);
    let writing = office.begin();
    let mut again = select(pc(1), address);
    again.set_xid(7);
    assert_eq!((office.hear_only(&again), office.leases.borrow().turned_away()), (None, 0));
    let replies = office.end(writing);
    assert_eq!((given(&replies), replies[0].message.xid()), (vec![(MessageType::Ack, address)], 7));
    assert!(office.server.poll_request(office.now).is_none());
}

#[test]
fn if_the_disk_refuses_in_the_end_the_rest_of_the_lease_is_told() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    office.wait(100);
    assert_eq!(office.hear_only(&renew(pc(1), address)), None);
    let newcomer = select_offer(&mut office, 2);
    office.disk.is_full.store(true, Ordering::Relaxed);
    office.wait(50);
    let mut replies = Vec::new();
    while let Some(request) = office.server.poll_request(office.now) {
        replies.extend(office.end(request));
    }
    assert_eq!(given(&replies), [(MessageType::Ack, address)]);
    assert_eq!(
        message::secs_option(&replies[0].message, OptionCode::AddressLeaseTime),
        Some(LEASE_SECS - 150)
    );
    assert_eq!(office.leases.borrow().at(newcomer), None);
}

#[test]
fn a_release_meanwhile_is_dealt_with_after_it() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    assert_eq!(office.hear_only(&renew(pc(1), address)), None);
    let writing = office.begin();
    assert_eq!(office.hear_only(&release(pc(1), address)), None);
    assert_eq!(given(&office.end(writing)), [(MessageType::Ack, address)]);
    let writing = office.begin();
    assert_eq!(office.end(writing), []);
    assert_eq!(office.leases.borrow().at(address).map(|lease| lease.state), Some(State::Released));
}

#[test]
fn no_end_of_its_lease_meanwhile_prevents_the_quarantine_of_a_declined_address() {
    // A second DECLINE ends the lease if its sender has declined as many addresses as it may.
    for (ends, declined) in [(release as fn(_, _) -> _, 1), (decline, shares::SOURCE_QUARANTINES_MAX)] {
        let mut office = Office::new(config());
        let mut address = Ipv4Addr::UNSPECIFIED;
        for _ in 0..declined {
            address = office.lease(pc(1));
            assert_eq!(office.hear_only(&decline(pc(1), address)), None);
        }
        assert_eq!(office.hear_only(&ends(pc(1), address)), None);
        let unix_now = office.unix_now();
        office.server.handle_arp(office.now, unix_now, address, pc(9));
        office.write();
        let is_in_quarantine = office.leases.borrow().at(address).is_some_and(|it| it.is_blocked(office.now));
        assert!(is_in_quarantine, "{declined} declined");
    }
}

#[test]
fn who_asks_again_after_a_release_meanwhile_keeps_its_lease() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    assert_eq!(office.hear_only(&renew(pc(1), address)), None);
    let writing = office.begin();
    assert_eq!(office.hear_only(&release(pc(1), address)), None);
    assert_eq!(office.hear_only(&renew(pc(1), address)), None);
    assert_eq!(given(&office.end(writing)), [(MessageType::Ack, address)]);
    assert!(office.server.poll_request(office.now).is_none(), "nothing is released");
    assert_eq!(office.leases.borrow().at(address).map(|lease| lease.state), Some(State::Bound));
}

#[test]
fn a_name_goes_to_one_of_those_that_wait() {
    let mut office = Office::new(config());
    let named = |message| with(message, DhcpOption::Hostname("pc".to_owned()));
    for number in [1, 2] {
        let offer = office.hear_only(&named(discover(pc(number)))).expect("an offer");
        assert_eq!(office.hear_only(&named(select(pc(number), offer.message.yiaddr()))), None);
    }
    let writing = office.begin();
    assert_eq!(office.end(writing).len(), 2);
    let leases = office.leases.borrow();
    let names = [2, 3].map(|number| leases.at(host(number)).and_then(|lease| lease.hostname.clone()));
    assert_eq!(names, [Some("pc".to_owned()), None]);
}

#[test]
fn a_client_is_given_one_address_at_a_time() {
    let mut office = Office::new(config());
    let address = select_offer(&mut office, 1);
    let wish = with(discover(pc(1)), DhcpOption::RequestedIpAddress(host(5)));
    assert!(office.hear_only(&wish).is_some());
    assert_eq!(office.hear_only(&select(pc(1), host(5))), None);
    assert_eq!(office.leases.borrow().turned_away(), 1);
    let writing = office.begin();
    assert_eq!(given(&office.end(writing)), [(MessageType::Ack, address)]);
}

#[test]
fn what_waits_counts_as_the_senders_share() {
    let mut office = Office::new(Config { pool: host(1)..=host(100), ..config() });
    let share = shares::of_source(&office.server.config.pool, false);
    let mut waiting = 0;
    for number in 0..100_u8 {
        let with_id = |message| with(message, DhcpOption::ClientIdentifier(vec![0, number]));
        if let Some(offer) = office.hear_only(&with_id(discover(pc(1)))) {
            office.hear_only(&with_id(select(pc(1), offer.message.yiaddr())));
            waiting += 1;
        }
    }
    assert_eq!(waiting, share);
    let writing = office.begin();
    assert_eq!(office.end(writing).len(), share);
}

#[test]
fn beyond_the_most_that_wait_a_client_is_not_answered_and_asks_again() {
    let mut office = Office::new(Config {
        server_address: Ipv4Addr::new(10, 0, 0, 1),
        prefix: "10.0.0.0/8".parse().unwrap(),
        pool: Ipv4Addr::new(10, 0, 1, 0)..=Ipv4Addr::new(10, 0, 200, 0),
        ..config()
    });
    let ask = |office: &mut Office, number: u16| {
        let [high, low] = number.to_be_bytes();
        let mac = MacAddr([2, 0, 0, 9, high, low]);
        let Some(offer) = office.hear_only(&discover(mac)) else { return };
        let server = DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 0, 1));
        // The limits of a port are those of a second each.
        office.wait(1);
        office.hear_only(&with(reboot(mac, offer.message.yiaddr()), server));
    };
    let max = u16::try_from(WAITING_MAX).unwrap();
    for number in 0..max + 3 {
        ask(&mut office, number);
    }
    assert_eq!(office.leases.borrow().turned_away(), 3);
    let writing = office.begin();
    assert_eq!(office.end(writing).len(), WAITING_MAX);
    ask(&mut office, max);
    let writing = office.begin();
    assert_eq!(office.end(writing).len(), 1);
}

#[test]
fn what_is_given_up_is_void_and_does_not_stay_on_the_disk() {
    for has_begun in [false, true] {
        let mut office = Office::new(config());
        let known = office.lease(pc(1));
        let newcomer = select_offer(&mut office, 2);
        let request = office.begin();
        let unix_now = office.unix_now();
        let give_up = |office: &mut Office| {
            office.server.handle_done(office.now, unix_now, Err(crate::work::JobFailed));
        };
        let done = if has_begun {
            let done = request.perform();
            give_up(&mut office);
            done
        } else {
            give_up(&mut office);
            request.perform()
        };
        assert_eq!(office.leases_on_disk(), if has_begun { 2 } else { 1 });
        // Its completion comes too late.
        office.server.handle_done(office.now, unix_now, Ok(done));
        assert_eq!((office.server.poll_reply(), office.leases.borrow().at(newcomer)), (None, None));
        office.ack(&renew(pc(1), known));
        assert_eq!(office.leases_on_disk(), 1);
    }
}

impl Office {
    /// The number of leases that a restart would find.
    fn leases_on_disk(&self) -> usize {
        let leases = Leases::open(self.disk.clone(), self.now, self.unix_now());
        leases.iter().count()
    }
}

#[test]
fn a_job_that_breaks_down_is_as_a_disk_that_refuses() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    office.wait(100);
    assert_eq!(office.hear_only(&renew(pc(1), address)), None);
    drop(office.begin());
    let unix_now = office.unix_now();
    office.server.handle_done(office.now, unix_now, Err(crate::work::JobFailed));
    let reply = office.server.poll_reply().expect("an answer");
    assert_eq!(message::secs_option(&reply.message, OptionCode::AddressLeaseTime), Some(LEASE_SECS - 100));
    office.ack(&renew(pc(1), address));
    let journal = office.disk.read(JOURNAL_FILE).unwrap().unwrap();
    assert_eq!(journal.iter().filter(|octet| **octet == b'\n').count(), 1, "it was replaced");
}

#[test]
fn a_lease_that_ends_before_the_disk_has_it_is_not_told() {
    let mut office = Office::new(config());
    select_offer(&mut office, 1);
    let writing = office.begin();
    office.wait(u64::from(config().lease_secs));
    assert_eq!(given(&office.end(writing)), []);
}
