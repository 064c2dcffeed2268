//! Panics for broken invariants, one frame at a time.
//!
//! A stage that finds an invariant of the dataplane broken panics. Builds with debug assertions, and the simulation's
//! tests with them, let the panic end the program, so that the fault is found. A release build, which routes an
//! office, gives up the frame at hand as [`internal-error`](crate::DropReason::InternalError) and goes on with the next.
//! Tables that were being changed may then lack an entry, which ends by its time-out or is made anew.

use core::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Gives each number of `range` to `step`, in order. Returns the number whose step has panicked, if the panic was
/// caught; those behind it are then still to do.
#[inline]
pub(super) fn each(range: Range<usize>, step: impl FnMut(usize)) -> Option<usize> {
    if cfg!(debug_assertions) {
        range.for_each(step);
        None
    } else {
        each_caught(range, step)
    }
}

#[inline]
fn each_caught(range: Range<usize>, mut step: impl FnMut(usize)) -> Option<usize> {
    let mut at = range.start;
    // What a step leaves half done is in the caller's tables, which bear it; see above.
    let caught = catch_unwind(AssertUnwindSafe(|| {
        while at < range.end {
            step(at);
            at += 1;
        }
    }));
    caught.is_err().then_some(at)
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;
    use std::sync::Arc;

    use super::super::{Context, Dataplane};
    use super::*;
    use crate::DropReason;
    use crate::batch::{Batch, Frame, Ingress, Verdict};
    use crate::config::{Config, Filtering, Firewall, Inspection, Interface, Mode, Nat, Segment};
    use crate::port::PortId;
    use crate::shard::Shard;
    use crate::time::Instant;
    use crate::wire::ethernet::MacAddr;

    fn config() -> Config {
        let interface = |number| Interface {
            mac: MacAddr([2, 0, 0, 0, 0, number]),
            address: None,
            gateway: None,
            mtu: 1500,
        };
        Config {
            mode: Mode::NatDmz,
            ports: vec![Segment::Lan, Segment::Wan],
            lan: interface(1),
            wan: interface(2),
            firewall: Firewall::default(),
            nat: Nat { filtering: Filtering::AddressAndPortDependent, flows_max: 16, flows_per_host_max: 16 },
            inspection: Inspection::default(),
        }
    }

    #[test]
    fn a_frame_given_up_is_dropped_and_leaves_buffers_for_held_fragments() {
        let (config, now) = (config(), Instant::from_secs(10));
        let frame_capacity = config.frame_len_max();
        let shard = Shard::new(0, 2).expect("one of two");
        let mut dataplane = Dataplane::new(Arc::new(config), shard, [1; 32], now);
        // The stage that has failed held both.
        (dataplane.released, dataplane.gathered_frame) = (Frame::default(), Frame::default());
        let mut batch = Batch::new(frame_capacity);
        let received = batch.receive(Ingress::Port(PortId(0)), |_| Ok::<_, Infallible>(60));
        assert_eq!(received, Ok(true));
        let (slots, spare, output) = batch.split();
        dataplane.give_up(&mut Context::new(now, output, spare), &mut slots[0]);
        assert_eq!(slots[0].verdict, Verdict::Drop(DropReason::InternalError));
        assert!(dataplane.counters.balances());
        for buffer in [&mut dataplane.released, &mut dataplane.gathered_frame] {
            assert!(buffer.buffer_mut().len() >= frame_capacity);
        }
    }

    #[test]
    fn a_panic_ends_one_step_and_says_which() {
        let mut done = Vec::new();
        let mut from = 0;
        let mut panicked = Vec::new();
        let mut step = |number: usize| {
            assert!(number % 3 != 1, "an invariant");
            done.push(number);
        };
        while let Some(at) = each_caught(from..6, &mut step) {
            panicked.push(at);
            from = at + 1;
        }
        assert_eq!((done, panicked), (vec![0, 2, 3, 5], vec![1, 4]));
    }

    #[test]
    #[should_panic(expected = "an invariant")]
    fn a_build_with_debug_assertions_ends() {
        assert_eq!(each(0..2, |number| assert!(number == 0, "an invariant")), None);
    }
}
