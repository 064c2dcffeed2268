//! What one machine can have written to the disk, and what known clients get meanwhile.

use super::*;

impl Office {
    /// The number of lines in the journal.
    fn lines(&self) -> usize {
        let journal = self.disk.read(JOURNAL_FILE).expect("it is not unreadable").unwrap_or_default();
        journal.iter().filter(|octet| **octet == b'\n').count()
    }
}

fn lease_secs(reply: &Reply) -> Option<u32> {
    message::secs_option(&reply.message, OptionCode::AddressLeaseTime)
}

#[test]
fn a_client_that_renews_without_end_has_the_rest_of_what_is_on_disk() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    let before = office.lines();
    for _ in 0..1000 {
        assert_eq!(lease_secs(&office.ack(&renew(pc(1), address))), Some(LEASE_SECS));
    }
    assert_eq!(office.lines() - before, 64);
    office.wait(9);
    assert_eq!(lease_secs(&office.ack(&renew(pc(1), address))), Some(LEASE_SECS - 9));
    // What it was granted is what it has after a crash.
    let mut restarted = office.restart();
    assert_eq!(restarted.leases.borrow().at(address).unwrap().remaining(restarted.now).as_secs(), 3591);
    assert_eq!(lease_secs(&restarted.ack(&renew(pc(1), address))), Some(LEASE_SECS));
}

#[test]
fn another_name_with_each_renewal_is_written_no_more_often() {
    let mut office = Office::new(config());
    let address = office.lease(pc(1));
    let before = office.lines();
    for number in 0..1000 {
        office.ack(&with(renew(pc(1), address), DhcpOption::Hostname(format!("pc-{number}"))));
    }
    assert_eq!(office.lines() - before, 64);
    assert_eq!(office.leases.borrow().name_of(address, office.now), Some("pc-63"));
}

#[test]
fn leases_that_are_taken_and_given_back_without_end_are_written_to_a_limit() {
    let mut office = Office::new(config());
    let known = office.lease(pc(1));
    let before = office.lines();
    for _ in 0..1000 {
        if let Some(address) = office.offer(&discover(pc(2)))
            && office.hear(&select(pc(2), address)).is_some()
        {
            office.hear(&release(pc(2), address));
        }
    }
    assert_eq!(office.lines() - before, 256);
    assert_eq!(office.hear(&select(pc(2), host(3))), None, "no further change");
    // Other clients behind the same port are served, known and new ones.
    assert_eq!(lease_secs(&office.ack(&renew(pc(1), known))), Some(LEASE_SECS));
    office.lease(pc(3));
}

#[test]
fn beside_forged_senders_the_known_renew_and_the_reserved_get_their_address() {
    let reservations = vec![reservation(ReservedFor::Mac(pc(9)), host(200))];
    let mut office = Office::new(Config { reservations, ..config() });
    let known = office.lease(pc(1));
    let before = office.lines();
    for number in 0..2000_u32 {
        let [.., high, low] = number.to_be_bytes();
        let forged = MacAddr([2, 0, 0, 9, high, low]);
        if let Some(address) = office.offer(&discover(forged))
            && office.hear(&select(forged, address)).is_some()
        {
            office.hear(&release(forged, address));
        }
    }
    assert_eq!(office.lines() - before, 511, "with that of the known client");
    assert_eq!(lease_secs(&office.ack(&renew(pc(1), known))), Some(LEASE_SECS));
    assert_eq!(office.lease(pc(9)), host(200));
    // Until the offers to the forged senders end.
    office.wait(30);
    office.lease(pc(3));
}
