//! A pool that runs low.

use super::*;
use crate::dhcp::server::scarcity::SHORT_SECS;
use crate::test_log::Log;

const DAY: u32 = 86_400;

/// A MAC that a maker has assigned.
fn printer(number: u8) -> MacAddr {
    MacAddr([0, 0, 0, 0, 0, number])
}

fn secs(reply: &Reply) -> Option<u32> {
    message::secs_option(&reply.message, OptionCode::AddressLeaseTime)
}

/// An office with `pool_len` addresses, of which clients have `taken` for a day.
fn office(pool_len: u8, taken: u8) -> Office {
    let reservations = vec![reservation(ReservedFor::Mac(pc(200)), host(200))];
    let pool = host(2)..=host(pool_len + 1);
    let mut office = Office::new(Config { pool, lease_secs: DAY, reservations, ..config() });
    (0..taken).for_each(|number| _ = office.lease(pc(number)));
    office.wait(1);
    office
}

impl Office {
    /// The durations of the offer and the lease of a new client.
    fn durations(&mut self, mac: MacAddr) -> [Option<u32>; 2] {
        let offer = self.hear(&discover(mac)).expect("an offer");
        [secs(&offer), secs(&self.ack(&select(mac, offer.message.yiaddr())))]
    }
}

#[test]
fn new_clients_with_random_macs_get_short_leases_while_less_than_a_quarter_is_free() {
    let mut office = office(20, 15);
    assert_eq!(office.durations(pc(15)), [Some(DAY); 2], "five of twenty are free");
    office.wait(1);
    assert_eq!(office.durations(pc(16)), [Some(SHORT_SECS); 2]);
    assert_eq!(office.durations(printer(1)), [Some(DAY); 2]);
    assert_eq!(office.durations(pc(200)), [Some(DAY); 2], "a reservation");
    office.wait(300);
    assert_eq!(secs(&office.ack(&renew(pc(16), host(18)))), Some(SHORT_SECS));
    assert_eq!(secs(&office.ack(&renew(pc(0), host(2)))), Some(DAY - 302), "the rest of its lease");
    (0..4).for_each(|number| _ = office.hear(&release(pc(number), host(number + 2))));
    office.wait(1);
    assert_eq!(secs(&office.ack(&renew(pc(16), host(18)))), Some(DAY), "the pool has recovered");
}

#[test]
fn a_hundred_phones_that_have_left_do_not_lock_out_a_printer() {
    let mut office = office(40, 0);
    for number in 0..100 {
        office.wait(2);
        _ = office
            .hear(&discover(pc(number)))
            .map(|offer| office.ack(&select(pc(number), offer.message.yiaddr())));
    }
    assert_eq!(office.hear(&discover(printer(1))), None);
    office.wait(u64::from(SHORT_SECS));
    assert_eq!(office.durations(printer(1)), [Some(DAY); 2]);
}

#[test]
fn an_exhausted_pool_is_logged_once_an_hour_with_the_remedy() {
    let mut office = office(2, 2);
    let (log, ()) = Log::of(|| {
        for number in 2..100 {
            office.wait(60);
            assert_eq!(office.hear(&discover(pc(number))), None);
        }
    });
    let lines: Vec<_> = log.iter().filter(|line| line.contains("no address left")).collect();
    assert_eq!(lines.len(), 2, "{log:?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("dhcp.pool"), "{lines:?}");
}

#[test]
fn a_pool_of_a_slash_16_is_used_to_its_last_address() {
    let first = u32::from(Ipv4Addr::new(10, 20, 0, 1));
    let last = u32::from(Ipv4Addr::new(10, 20, 255, 254));
    let mut office = Office::new(Config {
        server_address: Ipv4Addr::new(10, 20, 0, 1),
        router: Some(Ipv4Addr::new(10, 20, 0, 1)),
        prefix: "10.20.0.0/16".parse().unwrap(),
        pool: Ipv4Addr::from(first)..=Ipv4Addr::from(last),
        lease_secs: DAY,
        ..config()
    });
    let client = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr([2, 0, a, b, c, d])
    };
    for address in first + 1..last {
        let (mac, address) = (client(address), Ipv4Addr::from(address));
        let grant =
            Grant { address, client: ClientKey::Mac(mac), mac, source: mac, hostname: None, lease_secs: DAY };
        let (now, unix_now) = (office.now, office.unix_now());
        office.leases.borrow_mut().bind(now, unix_now, grant).unwrap();
        if u32::from(address) % 512 == 0 {
            office.write();
        }
    }
    office.write();
    let select = |mac, address| {
        let message = with(ask(MessageType::Request, mac), DhcpOption::RequestedIpAddress(address));
        with(message, DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 20, 0, 1)))
    };
    let offer = office.hear(&discover(pc(1))).expect("an offer");
    assert_eq!((offer.message.yiaddr(), secs(&offer)), (Ipv4Addr::from(last), Some(SHORT_SECS)));
    office.ack(&select(pc(1), Ipv4Addr::from(last)));
    assert_eq!(office.hear(&discover(pc(2))), None, "the pool is exhausted");
    office.wait(u64::from(SHORT_SECS));
    assert_eq!(office.offer(&discover(pc(2))), Some(Ipv4Addr::from(last)));
}
