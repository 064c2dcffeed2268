use core::net::Ipv6Addr;

use gatepost_ground::PortId;
use proptest::prelude::*;

use super::*;
use crate::key::testing::v6;

type Tracker = FragmentTracker<u32>;

const NOW: Instant = Instant::from_secs(1000);
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const INGRESS: Ingress = Ingress::Port(PortId(3));

fn tracker() -> Tracker {
    Tracker::new([1, 2, 3, 4], 64)
}

fn key(id: u16) -> FragmentKey {
    let header = Header { id, ..Header::new(SOURCE, DESTINATION, Protocol::UDP, 8) };
    FragmentKey::new(Some(InterfaceId(0)), &header)
}

#[test]
fn fragments_of_another_family_are_tracked_alike() {
    let mut tracker = FragmentTracker::<u32, Ipv6Addr>::new([1, 2, 3, 4], 64);
    let key = |id| FragmentKey {
        interface: None,
        source: v6(1, 20),
        destination: v6(2, 7),
        protocol: Protocol::UDP,
        id,
    };
    let mut later = |id| tracker.later(NOW, &key(id), INGRESS, &mut frame(7));
    assert_eq!((later(1 << 20), later(1)), (LaterFragment::Held, LaterFragment::Held));
    assert!(tracker.first(NOW, &key(1 << 20), 99));
    let mut released = frame(0);
    assert_eq!(tracker.release(NOW, &key(1 << 20), &mut released), Some(INGRESS));
    assert_eq!((released.bytes(), tracker.known(NOW, &key(1))), (&[7][..], None));
    assert_eq!(tracker.later(NOW, &key(1 << 20), INGRESS, &mut frame(8)), LaterFragment::Known(99));
}

fn frame(octet: u8) -> Frame {
    let mut frame = Frame::with_capacity(64);
    frame.buffer_mut()[0] = octet;
    frame.set_len(1);
    frame
}

fn later(tracker: &mut Tracker, now: Instant, id: u16, octet: u8) -> LaterFragment<u32> {
    tracker.later(now, &key(id), INGRESS, &mut frame(octet))
}

/// The first fragment comes; returns the first octets of what it let go.
fn first(tracker: &mut Tracker, now: Instant, id: u16, value: u32) -> Vec<u8> {
    let mut released = Vec::new();
    assert!(tracker.first(now, &key(id), value));
    let mut frame = frame(0);
    while let Some(ingress) = tracker.release(now, &key(id), &mut frame) {
        assert_eq!(ingress, INGRESS);
        released.push(frame.bytes()[0]);
    }
    released
}

fn expired(tracker: &mut Tracker, now: Instant) -> Vec<u8> {
    let mut expired = Vec::new();
    tracker.handle_timeout(now, &mut |_, frame| expired.push(frame.bytes()[0]));
    expired
}

/// RFC 4787, REQ-14: Fragments in order follow the first.
#[test]
fn rfc4787_req14_fragments_in_order_follow_the_first() {
    let mut tracker = tracker();
    assert_eq!(first(&mut tracker, NOW, 1, 77), []);
    assert_eq!(later(&mut tracker, NOW, 1, 0), LaterFragment::Known(77));
    let last = NOW + Tracker::KNOWN - Duration::from_micros(1);
    assert_eq!(later(&mut tracker, last, 1, 0), LaterFragment::Known(77));
    assert_eq!(later(&mut tracker, NOW + Tracker::KNOWN, 1, 0), LaterFragment::Held);
}

/// RFC 4787, REQ-14: Fragments out of order wait for the first.
#[test]
fn rfc4787_req14a_fragments_out_of_order_wait_for_the_first() {
    let mut tracker = tracker();
    let mut second = frame(2);
    assert_eq!(tracker.later(NOW, &key(1), INGRESS, &mut second), LaterFragment::Held);
    assert!(second.bytes().is_empty(), "the tracker left an empty buffer");
    assert_eq!(later(&mut tracker, NOW, 1, 3), LaterFragment::Held);
    assert_eq!(later(&mut tracker, NOW, 2, 9), LaterFragment::Held);
    assert_eq!(first(&mut tracker, NOW, 1, 77), [2, 3]);
    assert_eq!(later(&mut tracker, NOW, 1, 4), LaterFragment::Known(77));
    assert_eq!(tracker.poll_timeout(), Some(NOW + Tracker::HELD), "the other packet still waits");
}

#[test]
fn a_packet_is_told_by_all_that_names_it() {
    let mut tracker = tracker();
    first(&mut tracker, NOW, 1, 77);
    let others = [
        FragmentKey { interface: Some(InterfaceId(1)), ..key(1) },
        FragmentKey { interface: None, ..key(1) },
        FragmentKey { source: DESTINATION, ..key(1) },
        FragmentKey { destination: SOURCE, ..key(1) },
        FragmentKey { protocol: Protocol::TCP, ..key(1) },
        key(2),
    ];
    for other in others {
        assert_eq!(tracker.later(NOW, &other, INGRESS, &mut frame(0)), LaterFragment::Held, "{other:?}");
    }
}

#[test]
fn fragments_whose_first_does_not_come_expire() {
    let mut tracker = tracker();
    assert_eq!(tracker.poll_timeout(), None);
    later(&mut tracker, NOW, 1, 1);
    let then = NOW + Duration::from_millis(500);
    later(&mut tracker, then, 2, 2);
    later(&mut tracker, then, 1, 3);
    assert_eq!(tracker.poll_timeout(), Some(NOW + Tracker::HELD));
    assert_eq!(expired(&mut tracker, NOW + Tracker::HELD - Duration::from_micros(1)), []);
    assert_eq!(expired(&mut tracker, NOW + Tracker::HELD), [1, 3]);
    assert_eq!(tracker.poll_timeout(), Some(then + Tracker::HELD));
    assert_eq!(expired(&mut tracker, then + Tracker::HELD), [2]);
    assert_eq!(tracker.poll_timeout(), None);
    assert_eq!(first(&mut tracker, then + Tracker::HELD, 1, 77), []);
}

/// RFC 4787, REQ-14a: A flood of later fragments is bounded and firsts still pass.
#[test]
fn rfc4787_req14_a_flood_of_later_fragments_is_bounded_and_firsts_still_pass() {
    let mut tracker = tracker();
    for id in 0..Tracker::HELD_MAX {
        assert_eq!(later(&mut tracker, NOW, id, 1), LaterFragment::Held);
    }
    let mut refused = frame(9);
    assert_eq!(tracker.later(NOW, &key(5000), INGRESS, &mut refused), LaterFragment::Full);
    assert_eq!(refused.bytes(), [9]);
    assert_eq!(first(&mut tracker, NOW, 5001, 77), []);
    assert_eq!(later(&mut tracker, NOW, 5001, 0), LaterFragment::Known(77));
    assert_eq!(first(&mut tracker, NOW, 0, 78), [1]);
    assert_eq!(later(&mut tracker, NOW, 5000, 1), LaterFragment::Held, "what was let go makes room");
}

#[test]
fn one_packet_holds_no_more_than_the_largest_has() {
    let mut tracker = tracker();
    for _ in 0..Tracker::HELD_EACH_MAX {
        assert_eq!(later(&mut tracker, NOW, 1, 1), LaterFragment::Held);
    }
    assert_eq!(later(&mut tracker, NOW, 1, 1), LaterFragment::Full);
    assert_eq!(later(&mut tracker, NOW, 2, 1), LaterFragment::Held);
}

#[test]
fn a_full_table_forgets_the_packet_whose_first_came_longest_ago() {
    let mut tracker = tracker();
    for id in 0..40_000 {
        first(&mut tracker, NOW + Duration::from_micros(id.into()), id, id.into());
    }
    let now = NOW + Duration::from_millis(40);
    assert_eq!(later(&mut tracker, now, 39_999, 0), LaterFragment::Known(39_999));
    assert_eq!(later(&mut tracker, now, 0, 0), LaterFragment::Held);
}

#[test]
fn a_full_set_of_packets_that_wait_admits_no_other() {
    let mut tracker = tracker();
    let target = tracker.index(&key(0));
    let mut same_set =
        (0..=u16::MAX).filter(|id| tracker.index(&key(*id)) == target).collect::<Vec<_>>().into_iter();
    for id in same_set.by_ref().take(WAYS) {
        assert_eq!(later(&mut tracker, NOW, id, 1), LaterFragment::Held);
    }
    let ninth = same_set.next().expect("a hundred share a set");
    assert_eq!(later(&mut tracker, NOW, ninth, 1), LaterFragment::Full);
    assert!(!tracker.first(NOW, &key(ninth), 77));
}

/// RFC 1858, section 3.2: Tiny and overlapping fragments are not sound.
/// RFC 3128: Tiny and overlapping fragments are not sound.
#[test]
fn rfc1858_rfc3128_tiny_and_overlapping_fragments_are_not_sound() {
    let fragment = |protocol, fragment_offset, len| {
        is_sound(&Header {
            fragment_offset,
            more_fragments: true,
            ..Header::new(SOURCE, DESTINATION, protocol, len)
        })
    };
    assert!(!fragment(Protocol::TCP, 0, 16), "too small for the header");
    assert!(fragment(Protocol::TCP, 0, 24));
    assert!(!fragment(Protocol::TCP, 8, 1480), "overlaps the flags");
    assert!(!fragment(Protocol::TCP, 16, 1480));
    assert!(fragment(Protocol::TCP, 24, 1480));
    assert!(fragment(Protocol::UDP, 0, 8) && fragment(Protocol::UDP, 8, 8));
    assert!(fragment(Protocol::ICMP, 0, 8) && fragment(Protocol::ICMP, 8, 8));
}

proptest! {
    #[test]
    fn every_held_fragment_comes_out_once(
        steps in prop::collection::vec((0u8..4, 0u16..6, 0u64..1_000), 1..300)
    ) {
        let mut tracker = tracker();
        let mut now = NOW;
        let (mut held, mut out) = (0, 0);
        for (action, id, millis) in steps {
            now = now + Duration::from_millis(millis);
            match action {
                0 => out += first(&mut tracker, now, id, 7).len(),
                1 => out += expired(&mut tracker, now).len(),
                _ => held += usize::from(later(&mut tracker, now, id, 1) == LaterFragment::Held),
            }
        }
        out += expired(&mut tracker, now + Tracker::HELD).len();
        prop_assert_eq!(held, out);
        prop_assert_eq!(tracker.poll_timeout(), None);
    }
}
