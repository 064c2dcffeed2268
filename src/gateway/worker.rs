//! One worker: a dataplane with its ports, its end of the link to the host stack and its inbox.
//!
//! A turn takes a batch from the inbox for each other worker, one from the ports and, in the first worker, one from
//! the host stack, so that none starves the others, and carries out every verdict. The worker's driver calls
//! [`Worker::turn`] when the worker was woken, when a port may have frames, at [`Worker::poll_timeout`], and at once
//! again while a turn returns that there is more to do. A new configuration is taken in, queries are answered and
//! commands are carried out only between batches.

use std::ptr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use crossbeam::channel::Receiver;
use gatepost_dataplane::binding::Bindings;
use gatepost_dataplane::{Batch, Config, Dataplane, DropReason, Ingress, Verdict};
use gatepost_ground::{Instant, PortId};
use tracing::{error, warn};

use super::bindings::SharedBindings;
use super::capture::Tapping;
use super::handover::Handover;
use super::link::{HostOutput, WorkerLink};
use super::ports::Ports;
use super::requests::{REQUESTS_MAX, Request};
use super::tap::Taps;
use crate::device::Port;

/// A running dataplane. It knows no device, no thread and no clock.
pub struct Worker<P> {
    dataplane: Dataplane,
    ports: Ports<P>,
    handover: Handover,
    to_host: WorkerLink,
    from_host: Option<HostOutput>,
    config: Cache<Arc<ArcSwap<Config>>, Arc<Config>>,
    bindings: Cache<SharedBindings, Arc<Bindings>>,
    requests: Receiver<Request>,
    batch: Batch,
    taps: Taps,
    /// The number of dropped frames and given-up tasks at which the next message is logged.
    internal_errors_due: u64,
}

/// The channels between a worker and the rest of the gateway.
pub(super) struct WorkerChannels {
    /// To the other workers, and from them.
    pub handover: Handover,
    /// To the host stack.
    pub to_host: WorkerLink,
    /// From the host stack: one worker has it.
    pub from_host: Option<HostOutput>,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Config>>,
    /// The leases and reservations of LAN addresses.
    pub bindings: SharedBindings,
    /// Incoming queries and commands.
    pub requests: Receiver<Request>,
}

impl<P: Port> Worker<P> {
    /// A worker for `ports`, numbered as in the configuration.
    pub(super) fn new(
        dataplane: Dataplane,
        mut ports: Ports<P>,
        channels: WorkerChannels,
        frame_capacity: usize,
    ) -> Self {
        ports.set_vlans(&dataplane.config().vlans);
        let WorkerChannels { handover, to_host, from_host, config, bindings, requests } = channels;
        let (config, bindings) = (Cache::new(config), Cache::new(bindings));
        Self {
            dataplane,
            ports,
            handover,
            to_host,
            from_host,
            config,
            bindings,
            requests,
            batch: Batch::new(frame_capacity),
            taps: Taps::default(),
            internal_errors_due: 1,
        }
    }

    /// Does the work that is possible now. Returns whether there is more to do at once.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.take_config(now);
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.dataplane.handle_timeout(now, &mut self.batch);
            self.carry_out(now);
        }
        self.take_over(now);
        let Self { dataplane, ports, batch, .. } = self;
        ports
            .receive(batch, &mut |verdict, reason, slot| dataplane.undeliverable(now, verdict, reason, slot));
        self.process(now);
        if let Some(output) = &self.from_host {
            output.take(&mut self.batch);
        }
        self.process(now);
        let Self { dataplane, handover, .. } = self;
        let more_to_tell = handover.tell(|| dataplane.pop_notice());
        handover.wake();
        while let Some(alert) = self.dataplane.pop_alert() {
            warn!("{}", alert.text(self.dataplane.config()));
        }
        self.log_internal_errors();
        for request in self.requests.try_iter().take(REQUESTS_MAX) {
            match request {
                Request::Query(query) => query.answer(now, &mut self.dataplane, &self.ports),
                Request::Command(command) => command.carry_out(now, &mut self.dataplane),
                Request::Tap(tap, reply) => {
                    self.taps.add(tap);
                    _ = reply.send(Tapping);
                }
            }
        }
        more_to_tell || self.has_more()
    }

    /// Whether other workers have left frames or notices, the host stack frames or the services requests, or a port may
    /// have frames. Each of these wakes the worker, so that a driver that waits for wake-ups need not ask.
    pub fn has_more(&self) -> bool {
        self.handover.has_any()
            || self.ports.is_readable()
            || self.from_host.as_ref().is_some_and(HostOutput::has_any)
            || !self.requests.is_empty()
    }

    /// Whether the worker has not applied the configuration in force yet. A change of it wakes the worker.
    pub fn has_new_config(&self) -> bool {
        !ptr::eq(Arc::as_ptr(&self.config.arc_swap().load()), self.dataplane.config())
    }

    /// Whether frames wait for the host stack and the services. The worker that delivers them wakes these.
    pub fn host_has_more(&self) -> bool {
        self.to_host.has_any()
    }

    /// When the next turn is due if no frame arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.dataplane.poll_timeout()
    }

    /// The dataplane's timers with their names; the earliest is [`Worker::poll_timeout`].
    pub fn timeouts(&self) -> impl Iterator<Item = (&'static str, Instant)> {
        self.dataplane.timeouts()
    }

    /// The ports.
    pub fn ports(&self) -> &Ports<P> {
        &self.ports
    }

    /// The ports, to open them.
    pub fn ports_mut(&mut self) -> &mut Ports<P> {
        &mut self.ports
    }

    /// Notes that the port with this number may take frames again.
    pub fn set_writable(&mut self, now: Instant, id: PortId) {
        let Self { dataplane, ports, .. } = self;
        ports.set_writable(id, &mut |verdict, reason, slot| {
            dataplane.undeliverable(now, verdict, reason, slot);
        });
    }

    /// Closes the port with this number, which is gone.
    pub fn close_port(&mut self, now: Instant, id: PortId, why: &str) {
        let Self { dataplane, ports, .. } = self;
        ports
            .close(id, why, &mut |verdict, reason, slot| dataplane.undeliverable(now, verdict, reason, slot));
    }

    /// Logs the number of frames and tasks lost to internal faults each time that it has doubled.
    fn log_internal_errors(&mut self) {
        let counters = self.dataplane.counters();
        let count = counters.drops[DropReason::InternalError] + counters.tasks_given_up;
        if count >= self.internal_errors_due {
            error!("frames and tasks lost to internal errors: {count}; please report it with the log");
            self.internal_errors_due = count.saturating_mul(2);
        }
    }

    fn take_config(&mut self, now: Instant) {
        let config = self.config.load();
        if !ptr::eq(&raw const **config, self.dataplane.config()) {
            self.dataplane.configure(now, Arc::clone(config));
            self.ports.set_vlans(&config.vlans);
        }
        let bindings = self.bindings.load();
        if !ptr::eq(&raw const **bindings, self.dataplane.bindings()) {
            self.dataplane.set_bindings(now, Arc::clone(bindings));
        }
    }

    /// Takes in the frames and notices of other workers.
    fn take_over(&mut self, now: Instant) {
        let Self { dataplane, handover, .. } = self;
        handover.notices(|from, notice| dataplane.apply_notice(now, from, notice));
        for _ in self.handover.shard().others() {
            self.handover.take(&mut self.batch);
            if self.batch.is_empty() {
                return;
            }
            self.process(now);
        }
    }

    fn process(&mut self, now: Instant) {
        if !self.batch.is_empty() {
            if !self.taps.is_empty() {
                self.taps.before(now, &self.batch, self.dataplane.config());
            }
            self.dataplane.process(now, &mut self.batch);
            self.carry_out(now);
        }
    }

    /// Carries the batch's verdicts out and empties it.
    fn carry_out(&mut self, now: Instant) {
        if !self.taps.is_empty() {
            self.taps.after(now, &self.batch, self.dataplane.config());
        }
        self.hand_over(now);
        self.deliver(now);
        let Self { dataplane, ports, batch, .. } = self;
        ports.transmit(batch, &mut |verdict, reason, slot| {
            dataplane.undeliverable(now, verdict, reason, slot);
        });
        batch.clear();
    }

    /// Leaves frames of the batch for their owners, and copies of ARP frames for all workers.
    fn hand_over(&mut self, now: Instant) {
        let Self { dataplane, handover, batch, .. } = self;
        for slot in batch.slots() {
            if let Verdict::HandOver(worker) = slot.verdict
                && !handover.offer(worker, slot.ingress, &slot.frame)
            {
                let lost = Some((slot.ingress, &slot.frame));
                dataplane.undeliverable(now, slot.verdict, DropReason::WorkerRingFull, lost);
            }
            if let (true, Ingress::Port(port)) = (slot.copy_to_others, slot.ingress) {
                // A lost copy is not the only one of its frame: a worker that has not learnt from it sends a request.
                for other in handover.shard().others() {
                    handover.offer(other, Ingress::ArpCopy(port), &slot.frame);
                }
            }
        }
        handover.wake();
    }

    /// Hands the batch's local frames to the host stack.
    fn deliver(&mut self, now: Instant) {
        let mut delivered = false;
        for slot in self.batch.slots() {
            let (Verdict::Local(class) | Verdict::Flood { local: Some(class), .. }) = slot.verdict else {
                continue;
            };
            // The host stack gets frames as a wire would carry them: with complete checksums, and not longer than the
            // MTU. If a segment behind a super-frame's first one is lost, its sender retransmits it.
            let mut frames = slot.frame.segments();
            let from = match slot.ingress {
                Ingress::Port(port) => Some(port),
                _ => None,
            };
            let mut deliver = || {
                frames
                    .next()
                    .is_some_and(|frame| self.to_host.deliver_with(class, from, |to| frame.write(to)))
            };
            if deliver() {
                delivered = true;
                while deliver() {}
            } else if matches!(slot.verdict, Verdict::Local(_)) {
                let lost = Some((slot.ingress, &slot.frame));
                self.dataplane.undeliverable(now, slot.verdict, DropReason::HostRingFull, lost);
            }
        }
        if delivered {
            self.to_host.wake_host();
        }
    }
}
