//! A neighbour whose address another hardware address claims.

use super::tests::*;
use super::*;

const COPY: ArpContext = ArpContext { is_for_us: false, is_copy: true, holder: None };

fn millis(millis: u64) -> Instant {
    NOW + Duration::from_millis(millis)
}

fn claim(mac: MacAddr) -> arp::Packet {
    arp::Packet::announcement(mac, HOST)
}

/// A table that knows [`HOST`] at `mac(20)`.
fn table_with_host() -> NeighborTable {
    let mut table = table();
    resolve(&mut table, NOW, HOST);
    timeout(&mut table, NOW);
    reply(&mut table, NOW, HOST, mac(20));
    table
}

fn asked() -> Seen {
    Seen::Request(HOST, Some(mac(20)))
}

#[test]
fn a_claim_is_refused_when_the_known_address_answers_and_frames_wait_meanwhile() {
    for (kind, packet, is_for_us) in [
        ("announcement", claim(mac(21)), false),
        ("reply", arp::Packet::request(US, OUR_IP, HOST).reply(mac(21)), true),
        ("request", arp::Packet::request(mac(21), HOST, OUR_IP), true),
        ("request of another", arp::Packet::request(mac(21), HOST, nth(9)), false),
    ] {
        let mut table = table_with_host();
        assert_eq!(hear(&mut table, NOW, &packet, is_for_us), [], "{kind}");
        assert_eq!(timeout(&mut table, NOW), [asked()], "{kind}");
        assert_eq!(state(&table, NOW, HOST), Some(State::Contested));
        assert_eq!(table.lookup(NOW, LAN, HOST), None);
        assert_eq!(table.last_known(NOW, LAN, HOST), Some(mac(20)));
        assert_eq!(table.resolve(NOW, LAN, HOST, &mut frame(7)), Resolution::Held);

        let events = reply(&mut table, millis(5), HOST, mac(20));
        assert_eq!(events, [Seen::Refused(mac(20), mac(21)), Seen::Release(mac(20), 7)], "{kind}");
        assert_eq!(table.lookup(millis(59_000), LAN, HOST), Some(mac(20)));
        assert_eq!(timeout(&mut table, secs(10)), []);
    }
}

#[test]
fn a_claim_is_believed_when_the_known_address_does_not_answer_in_time() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    for time in [0, 100, 200] {
        assert_eq!(timeout(&mut table, millis(time)), [asked()]);
        assert_eq!(table.poll_timeout(), Some(millis(time + 100)));
    }
    resolve(&mut table, millis(250), HOST);
    assert_eq!(timeout(&mut table, millis(299)), []);
    let events = timeout(&mut table, millis(300));
    assert_eq!(events, [Seen::Moved(mac(20), mac(21)), Seen::Release(mac(21), 1)]);
    assert_eq!(table.poll_timeout(), None);

    // The new address has to answer, too.
    assert_eq!(state(&table, millis(300), HOST), Some(State::Stale));
    assert_eq!(resolve(&mut table, millis(301), HOST), Resolution::Known(mac(21)));
    assert_eq!(timeout(&mut table, millis(301)), [Seen::Request(HOST, Some(mac(21)))]);
}

#[test]
fn a_lost_answer_loses_nobody_its_address() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    for time in [0, 100, 200] {
        timeout(&mut table, millis(time));
    }
    assert_eq!(reply(&mut table, millis(299), HOST, mac(20)), [Seen::Refused(mac(20), mac(21))]);
}

#[test]
fn whatever_the_known_address_sends_refutes_the_claim() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    let question = arp::Packet::request(mac(20), HOST, nth(9));
    assert_eq!(hear(&mut table, millis(1), &question, false), [Seen::Refused(mac(20), mac(21))]);
    assert_eq!(timeout(&mut table, secs(10)), []);
}

#[test]
fn a_flood_of_claims_costs_three_requests_a_second_and_holds_frames_once_a_second() {
    let mut table = table_with_host();
    let (mut requests, mut refused, mut held) = (0, 0, 0);
    for time in 0..10_000 {
        let now = millis(time);
        let other = mac(100 + (time % 50) as u8);
        let mut events = hear(&mut table, now, &claim(other), false);
        events.extend(timeout(&mut table, now));
        held += usize::from(resolve(&mut table, now, HOST) == Resolution::Held);
        for event in events {
            match event {
                Seen::Request(_, to) => {
                    assert_eq!(to, Some(mac(20)));
                    requests += 1;
                    let answers = reply(&mut table, now, HOST, mac(20));
                    refused += answers.iter().filter(|event| matches!(event, Seen::Refused(..))).count();
                }
                Seen::Refused(..) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((requests, refused, held), (10, 10, 10));
    assert_eq!(table.last_known(millis(10_000), LAN, HOST), Some(mac(20)));
}

#[test]
fn a_neighbour_that_was_just_contested_is_used_until_it_can_be_asked_again() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    timeout(&mut table, NOW);
    reply(&mut table, millis(1), HOST, mac(20));
    // Its card is replaced a moment later.
    hear(&mut table, millis(2), &claim(mac(22)), false);
    assert_eq!(table.lookup(millis(500), LAN, HOST), Some(mac(20)));
    assert_eq!(timeout(&mut table, millis(999)), []);
    assert_eq!(table.poll_timeout(), Some(secs(1)));
    for time in [1000, 1100, 1200] {
        assert_eq!(timeout(&mut table, millis(time)), [asked()]);
        assert_eq!(state(&table, millis(time), HOST), Some(State::Contested));
    }
    assert_eq!(timeout(&mut table, millis(1300)), [Seen::Moved(mac(20), mac(22))]);
}

#[test]
fn a_stale_neighbour_and_one_being_asked_are_not_taken_over_either() {
    for is_asked in [false, true] {
        let mut table = table_with_host();
        if is_asked {
            resolve(&mut table, secs(61), HOST);
            assert_eq!(timeout(&mut table, secs(61)), [asked()]);
        }
        hear(&mut table, secs(61), &arp::Packet::request(US, OUR_IP, HOST).reply(mac(21)), true);
        assert_eq!(timeout(&mut table, secs(61)), [asked()]);
        assert_eq!(reply(&mut table, secs(61), HOST, mac(20)), [Seen::Refused(mac(20), mac(21))]);
        assert_eq!(table.lookup(secs(61), LAN, HOST), Some(mac(20)));
    }
}

#[test]
fn a_neighbour_that_is_not_known_belongs_to_whoever_answers_first() {
    let mut table = table();
    resolve(&mut table, NOW, HOST);
    timeout(&mut table, NOW);
    assert_eq!(reply(&mut table, NOW, HOST, mac(21)), [Seen::Release(mac(21), 1)]);
    // Without a lease the claim is contested and reported.
    hear(&mut table, NOW, &claim(mac(20)), false);
    assert_eq!(timeout(&mut table, NOW), [Seen::Request(HOST, Some(mac(21)))]);
}

#[test]
fn held_frames_of_a_contested_neighbour_are_bounded_as_others() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    for _ in 0..NeighborTable::HELD_EACH_MAX {
        assert_eq!(resolve(&mut table, NOW, HOST), Resolution::Held);
    }
    assert_eq!(resolve(&mut table, NOW, HOST), Resolution::QueueFull);
    assert_eq!(reply(&mut table, NOW, HOST, mac(20)).len(), 1 + NeighborTable::HELD_EACH_MAX);
}

#[test]
fn a_segment_that_changed_forgets_its_contests() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    resolve(&mut table, NOW, HOST);
    let mut events = Vec::new();
    table.forget(|interface, _| interface == LAN, &mut |event| {
        events.push(matches!(event, Event::Expired { .. }));
    });
    assert_eq!(events, [true]);
    assert_eq!(timeout(&mut table, secs(1)), []);
    assert_eq!(table.poll_timeout(), None);
}

#[test]
fn of_several_workers_the_others_ask_only_if_no_answer_has_come() {
    let mut table = table_with_host();
    hear_as(&mut table, NOW, &claim(mac(21)), COPY);
    assert_eq!(timeout(&mut table, NOW), []);
    assert_eq!(table.poll_timeout(), Some(millis(100)));
    let answer = arp::Packet::request(US, OUR_IP, HOST).reply(mac(20));
    assert_eq!(hear_as(&mut table, millis(50), &answer, COPY), [], "the first tells of it");
    assert_eq!(table.lookup(millis(50), LAN, HOST), Some(mac(20)));

    // A second claim within a second is doubted first, and then the same.
    hear_as(&mut table, millis(500), &claim(mac(21)), COPY);
    assert_eq!(timeout(&mut table, secs(1)), []);
    assert_eq!(state(&table, secs(1), HOST), Some(State::Contested));
    assert_eq!(hear_as(&mut table, millis(1050), &answer, COPY), []);

    hear_as(&mut table, secs(2), &claim(mac(21)), COPY);
    let at = |time| secs(2) + Duration::from_millis(time);
    assert_eq!([100, 200].map(|time| timeout(&mut table, at(time))), [vec![asked()], vec![asked()]]);
    assert_eq!(timeout(&mut table, at(300)), []);
    assert_eq!(resolve(&mut table, at(300), HOST), Resolution::Known(mac(21)));
}

#[test]
fn a_lease_says_who_has_an_address() {
    let held_by = |number| ArpContext { holder: Some(mac(number)), ..ArpContext::default() };
    let mut table = table_with_host();
    let refused = [Seen::Refused(mac(20), mac(21))];
    assert_eq!(hear_as(&mut table, NOW, &claim(mac(21)), held_by(20)), refused);
    assert_eq!(table.lookup(NOW, LAN, HOST), Some(mac(20)), "it is not even asked");
    assert_eq!(timeout(&mut table, secs(1)), []);

    // The address was given to another.
    assert_eq!(hear_as(&mut table, secs(1), &claim(mac(22)), held_by(22)), [Seen::Moved(mac(20), mac(22))]);
    assert_eq!(resolve(&mut table, secs(1), HOST), Resolution::Known(mac(22)));
}

#[test]
fn nobody_but_the_holder_of_a_lease_can_answer_for_its_address() {
    let held_by = |is_copy| ArpContext { is_for_us: true, is_copy, holder: Some(mac(20)) };
    let mut table = table();
    let request = arp::Packet::request(mac(21), HOST, OUR_IP);
    assert_eq!(hear_as(&mut table, NOW, &request, held_by(false)), [Seen::Refused(mac(20), mac(21))]);
    assert_eq!(hear_as(&mut table, NOW, &request, held_by(true)), [], "the first tells of it");
    assert_eq!(table.neighbors(NOW).count(), 0);
    resolve(&mut table, NOW, HOST);
    let reply_of = |number| arp::Packet::request(US, OUR_IP, HOST).reply(mac(number));
    assert_eq!(hear_as(&mut table, NOW, &reply_of(21), held_by(false)).len(), 1);
    assert_eq!(hear_as(&mut table, NOW, &reply_of(20), held_by(false)), [Seen::Release(mac(20), 1)]);
}

#[test]
fn the_holder_of_a_lease_ends_a_contest() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    resolve(&mut table, NOW, HOST);
    let held_by = ArpContext { holder: Some(mac(22)), ..ArpContext::default() };
    let events = hear_as(&mut table, NOW, &claim(mac(22)), held_by);
    assert_eq!(events, [Seen::Moved(mac(20), mac(22)), Seen::Release(mac(22), 1)]);
}

#[test]
fn a_neighbour_is_where_a_new_lease_says() {
    let mut table = table_with_host();
    let holder = |ip, _| (ip == HOST).then_some(mac(22));
    assert_eq!(table.follow_holders(NOW, WAN, holder), (0, 0));
    assert_eq!(table.follow_holders(NOW, LAN, holder), (1, 0));
    assert_eq!(table.follow_holders(NOW, LAN, holder), (0, 0));
    assert_eq!(state(&table, NOW, HOST), Some(State::Stale));
    assert_eq!(resolve(&mut table, NOW, HOST), Resolution::Known(mac(22)));
    assert_eq!(timeout(&mut table, NOW), [Seen::Request(HOST, Some(mac(22)))]);
}

#[test]
fn frames_held_for_a_contested_neighbour_wait_for_the_holder_of_a_new_lease() {
    let mut table = table_with_host();
    hear(&mut table, NOW, &claim(mac(21)), false);
    resolve(&mut table, NOW, HOST);
    assert_eq!(table.follow_holders(NOW, LAN, |_, _| Some(mac(22))), (1, 0));
    assert_eq!(timeout(&mut table, NOW), [Seen::Request(HOST, Some(mac(22)))]);
    assert_eq!(reply(&mut table, NOW, HOST, mac(22)), [Seen::Release(mac(22), 1)]);
}

#[test]
fn a_new_lease_of_the_known_address_ends_the_contest() {
    let mut table = table_with_host();
    let known = table.last_known(NOW, LAN, HOST);
    hear(&mut table, NOW, &claim(mac(21)), false);
    assert_eq!(state(&table, NOW, HOST), Some(State::Contested));
    assert_eq!(table.follow_holders(NOW, LAN, |_, _| known), (0, 1));
    assert_eq!(table.follow_holders(NOW, LAN, |_, _| known), (0, 0));
    assert_eq!(resolve(&mut table, NOW, HOST), Resolution::Known(known.expect("it was heard")));
}
