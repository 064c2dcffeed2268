//! Containment of panics: a broken invariant costs one frame or one task.
//!
//! A stage that finds an invariant of the dataplane broken panics. Builds with debug assertions, and the simulation's
//! tests with them, let the panic end the program, so that the fault is found. A release build, which routes an
//! office, drops the current frame as [`internal-error`](crate::DropReason::InternalError) and goes on with the next.
//! A table that was being changed may then have an incomplete entry, which ends by its time-out or is made again.
//!
//! The same holds for the dataplane's other work: each [`Task`] is given up alone, and counted as `tasks_given_up`.
//! Since the timer that was due would be due again at once, no timer runs for [`PAUSE`] afterwards.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gatepost_ground::Instant;

use super::Dataplane;

/// How long timers wait after a task was given up.
const PAUSE: Duration = Duration::from_secs(1);

/// The work of a dataplane besides deciding on frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// End the flows that are due.
    Flows,
    /// Send ARP requests, and drop the frames held for neighbours that do not answer.
    Neighbors,
    /// Drop held fragments that are due.
    Fragments,
    /// Reject the unsolicited SYNs that are due.
    SynRejects,
    /// Announce the gateway's addresses.
    Announcements,
    /// Take in a notice of another worker.
    Notice,
    /// Take in leases and reservations.
    Bindings,
    /// Take in a new configuration.
    Configuration,
    /// Carry out a command.
    Command,
}

/// Whether panics are caught, and until when timers wait since one was.
#[derive(Clone, Debug)]
pub(super) struct Containment {
    catches: bool,
    paused_until: Instant,
    /// The task that panics.
    #[cfg(test)]
    broken: Option<Task>,
    /// The stages panic at frames that begin with this octet.
    #[cfg(test)]
    broken_frames: Option<u8>,
}

impl Default for Containment {
    fn default() -> Self {
        Self {
            catches: !cfg!(debug_assertions),
            paused_until: Instant::ZERO,
            #[cfg(test)]
            broken: None,
            #[cfg(test)]
            broken_frames: None,
        }
    }
}

impl Containment {
    /// Whether panics are caught.
    #[inline]
    pub const fn catches(&self) -> bool {
        self.catches
    }

    /// Panics as a stage would if `frame` is one that the test wants broken.
    #[cfg(test)]
    pub fn check(&self, frame: &[u8]) {
        assert!(self.broken_frames.is_none_or(|octet| frame.first() != Some(&octet)), "an invariant");
    }

    /// When a timer that is due at `due` may run.
    #[inline]
    pub fn defer(&self, due: Instant) -> Instant {
        due.max(self.paused_until)
    }
}

impl Dataplane {
    /// Runs `task`, or gives it up if it panics and panics are caught.
    pub(super) fn contained(&mut self, now: Instant, task: Task, run: impl FnOnce(&mut Self)) {
        let run = |dataplane: &mut Self| {
            #[cfg(test)]
            assert_ne!(dataplane.containment.broken, Some(task), "an invariant");
            run(dataplane);
        };
        if !self.containment.catches {
            run(self);
        } else if catch_unwind(AssertUnwindSafe(|| run(self))).is_err() {
            self.task_given_up(now, task);
        }
    }

    #[cold]
    fn task_given_up(&mut self, now: Instant, task: Task) {
        // The task may have taken one of the buffers before it panicked.
        self.reserve_frames();
        self.counters.tasks_given_up += 1;
        if !matches!(task, Task::Notice | Task::Bindings | Task::Configuration | Task::Command) {
            self.containment.paused_until = now + PAUSE;
        }
    }
}

/// Gives each of `items` to `step`, in order. `true` if a step has panicked and the panic was caught: that was for the
/// last item taken, and those behind it are still to do. A build without debug assertions catches panics whatever
/// `catches` says, so that the packet path has no branch for it.
#[inline]
pub(super) fn each<T>(catches: bool, items: &mut impl Iterator<Item = T>, step: impl FnMut(T)) -> bool {
    if cfg!(debug_assertions) && !catches {
        items.for_each(step);
        false
    } else {
        // A step that panics leaves its work half done in the caller's tables, which tolerate that; see the module's
        // documentation.
        catch_unwind(AssertUnwindSafe(|| items.for_each(step))).is_err()
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;
    use std::sync::Arc;

    use gatepost_ground::wire::Protocol;
    use gatepost_ground::{Frame, InterfaceId, MacAddr, PortId};

    use super::super::{PREFETCH_CHUNK, PinholeError};
    use super::*;
    use crate::DropReason;
    use crate::batch::Batch;
    use crate::config::{Mode, testing};
    use crate::flow::Pinhole;
    use crate::ingress::Ingress;
    use crate::key::Endpoint;
    use crate::notice::Notice;
    use crate::shard::Shard;
    use crate::verdict::Verdict;

    #[test]
    fn a_frame_given_up_is_dropped_and_leaves_buffers_for_held_fragments() {
        let (config, now) = (testing::config(Mode::NatDmz), Instant::from_secs(10));
        let frame_capacity = config.frame_len_max();
        let shard = Shard::new(0, 2).expect("one of two");
        let mut dataplane = Dataplane::new(Arc::new(config), shard, [1; 32], now);
        // The stage that has failed held both.
        (dataplane.released, dataplane.fragment_owner_frame) = (Frame::default(), Frame::default());
        let mut batch = Batch::new(frame_capacity);
        let received = batch.receive(Ingress::Port(PortId(0)), |_| Ok::<_, Infallible>(60));
        assert_eq!(received, Ok(true));
        let (slots, ..) = batch.split();
        dataplane.give_up(&mut slots[0]);
        assert_eq!(slots[0].verdict, Verdict::Drop(DropReason::InternalError));
        assert!(dataplane.counters.balances());
        for buffer in [&mut dataplane.released, &mut dataplane.fragment_owner_frame] {
            assert!(buffer.buffer_mut().len() >= frame_capacity);
        }
    }

    /// A dataplane with an address on the LAN that is to be announced, in which `broken` panics.
    fn broken(broken: Task, is_caught: bool) -> Dataplane {
        let mut config = testing::config(Mode::NatDmz);
        config.interfaces[0].addresses = Some(ipnet::IpNet::new_assert([192, 168, 1, 1].into(), 24)).into();
        let shard = Shard::new(0, 2).expect("one of two");
        let mut dataplane = Dataplane::new(Arc::new(config), shard, [1; 32], Instant::from_secs(10));
        dataplane.containment =
            Containment { catches: is_caught, broken: Some(broken), ..Containment::default() };
        dataplane
    }

    /// Has `dataplane` do every task.
    fn do_everything(dataplane: &mut Dataplane, now: Instant) -> usize {
        let mut batch = Batch::new(dataplane.config.frame_len_max());
        dataplane.handle_timeout(now, &mut batch);
        let notice =
            Notice::Station { interface: InterfaceId(0), mac: MacAddr([2, 0, 0, 0, 0, 9]), port: PortId(0) };
        dataplane.apply_notice(now, 1, notice);
        dataplane.set_bindings(now, Arc::default());
        let config = Arc::clone(&dataplane.config);
        dataplane.configure(now, config);
        let inside = Endpoint::new([192, 168, 1, 9].into(), 5000);
        let pinhole =
            Pinhole { protocol: Protocol::UDP, inside, external: [203, 0, 113, 10].into(), remote: None };
        let opened = dataplane.open_pinhole(now, &pinhole, Duration::from_secs(60));
        let fault = Some(Err(PinholeError::Fault));
        assert_eq!(opened == fault, dataplane.containment.broken == Some(Task::Command), "{opened:?}");
        batch.output().iter().count()
    }

    const TASKS: [Task; 9] = [
        Task::Flows,
        Task::Neighbors,
        Task::Fragments,
        Task::SynRejects,
        Task::Announcements,
        Task::Notice,
        Task::Bindings,
        Task::Configuration,
        Task::Command,
    ];

    #[test]
    fn a_task_that_fails_is_given_up_alone_and_not_tried_again_at_once() {
        for task in TASKS {
            let mut now = Instant::from_secs(10);
            let mut dataplane = broken(task, true);
            let announced = do_everything(&mut dataplane, now);
            assert_eq!(dataplane.counters.tasks_given_up, 1, "{task:?}");
            assert_eq!(announced, usize::from(task != Task::Announcements), "{task:?}");
            assert_eq!(dataplane.stations(now).count(), usize::from(task != Task::Notice), "{task:?}");
            assert!(dataplane.counters.balances());
            // Timers that are due do not make the worker spin.
            let is_timer = !matches!(task, Task::Notice | Task::Bindings | Task::Configuration);
            let due = dataplane.poll_timeout().expect("an announcement");
            assert!(!is_timer || due >= now + PAUSE, "{task:?}");
            dataplane.containment.broken = None;
            now = now + Duration::from_secs(10);
            assert_eq!(do_everything(&mut dataplane, now), 1, "{task:?}");
            assert_eq!(dataplane.counters.tasks_given_up, 1, "{task:?}");
        }
    }

    #[test]
    fn a_build_with_debug_assertions_ends_with_a_task() {
        for task in TASKS {
            let mut dataplane = broken(task, false);
            let ended =
                catch_unwind(AssertUnwindSafe(|| do_everything(&mut dataplane, Instant::from_secs(10))));
            assert!(ended.is_err(), "{task:?}");
        }
    }

    #[test]
    fn neighbours_that_fail_do_not_end_a_batch_of_frames() {
        let now = Instant::from_secs(10);
        let mut dataplane = broken(Task::Neighbors, true);
        let mut batch = Batch::new(dataplane.config.frame_len_max());
        let mut frame = Frame::with_capacity(dataplane.config.frame_len_max());
        dataplane.neighbors.resolve(now, InterfaceId(0), [192, 168, 1, 7].into(), &mut frame);
        assert!(dataplane.neighbors.poll_timeout().is_some_and(|due| due <= now), "it is to be asked for");
        for _ in 0..2 {
            dataplane.process(now, &mut batch);
            assert_eq!(dataplane.counters.tasks_given_up, 1, "not again at once");
        }
    }

    #[test]
    fn of_a_batch_the_frames_with_which_a_stage_fails_are_dropped_alone() {
        const BROKEN: u8 = 0xbb;
        let (config, now) = (Arc::new(testing::config(Mode::NatDmz)), Instant::from_secs(10));
        let mut batch = Batch::new(config.frame_len_max());
        let mut dataplane = Dataplane::new(config, Shard::new(0, 2).expect("one of two"), [1; 32], now);
        dataplane.containment =
            Containment { catches: true, broken_frames: Some(BROKEN), ..Containment::default() };
        // At both ends of two chunks, and next to each other.
        let broken = [0, 1, 7, PREFETCH_CHUNK - 1, PREFETCH_CHUNK, 2 * PREFETCH_CHUNK - 1];
        for at in 0..2 * PREFETCH_CHUNK {
            let received = batch.receive(Ingress::Port(PortId(0)), |buffer| {
                buffer[0] = if broken.contains(&at) { BROKEN } else { 2 };
                // Too short for a header.
                Ok::<_, Infallible>(8)
            });
            assert_eq!(received, Ok(true));
        }
        dataplane.process(now, &mut batch);
        for (at, slot) in batch.slots().iter().enumerate() {
            let is_broken = broken.contains(&at);
            let reason = if is_broken { DropReason::InternalError } else { DropReason::FrameTruncated };
            assert_eq!(slot.verdict, Verdict::Drop(reason), "{at}");
        }
        assert_eq!(dataplane.counters.drops[DropReason::InternalError], broken.len() as u64);
        assert!(dataplane.counters.balances());
    }

    #[test]
    #[should_panic(expected = "an invariant")]
    fn a_build_with_debug_assertions_ends() {
        assert!(!each(false, &mut (0..2), |number| assert!(number == 0, "an invariant")));
    }
}
