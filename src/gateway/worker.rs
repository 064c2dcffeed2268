//! One worker: a dataplane with its ports and its end of the link to the host stack.
//!
//! A turn takes one batch from the ports and one from the host stack, so that neither starves the
//! other, and carries out every verdict. Whoever drives a worker calls [`Worker::turn`] when a port or
//! the link may have something and at [`Worker::poll_timeout`], at once again while a turn says that
//! there is more to do. In between, and only there, a new configuration is taken in and questions are
//! answered.

use std::ptr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use crossbeam::channel::Receiver;
use gatepost_dataplane::config::Segment;
use gatepost_dataplane::{Batch, Config, Dataplane, DropReason, Ingress, Instant, PortId, Verdict};
use gatepost_services::link::WorkerLink;

use super::ports::Ports;
use super::query::Query;
use crate::port::Port;

/// A dataplane at work. It knows no device, no thread and no clock.
pub struct Worker<P> {
    dataplane: Dataplane,
    ports: Ports<P>,
    link: WorkerLink,
    config: Cache<Arc<ArcSwap<Config>>, Arc<Config>>,
    queries: Receiver<Query>,
    batch: Batch,
}

impl<P: Port> Worker<P> {
    /// A worker for `ports`, numbered as in the configuration.
    pub(super) fn new(
        dataplane: Dataplane,
        ports: Ports<P>,
        link: WorkerLink,
        config: Arc<ArcSwap<Config>>,
        queries: Receiver<Query>,
        frame_capacity: usize,
    ) -> Self {
        Self {
            dataplane,
            ports,
            link,
            config: Cache::new(config),
            queries,
            batch: Batch::new(frame_capacity),
        }
    }

    /// Does what can be done now. Says whether there is more to do at once.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.take_config(now);
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.dataplane.handle_timeout(now, &mut self.batch);
            self.carry_out();
        }
        let Self { dataplane, ports, batch, .. } = self;
        ports.receive(batch, &mut |verdict, reason| dataplane.undeliverable(verdict, reason));
        self.process(now);
        let more_from_host = self.link.take(&mut self.batch);
        self.process(now);
        while let Ok(query) = self.queries.try_recv() {
            query.answer(now, &self.dataplane, &self.ports);
        }
        more_from_host || self.ports.is_readable()
    }

    /// When the next turn is due even if nothing arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.dataplane.poll_timeout()
    }

    /// The ports.
    pub fn ports(&self) -> &Ports<P> {
        &self.ports
    }

    /// The ports, to open them.
    pub fn ports_mut(&mut self) -> &mut Ports<P> {
        &mut self.ports
    }

    /// The port with this number may take frames again.
    pub fn set_writable(&mut self, id: PortId) {
        let Self { dataplane, ports, .. } = self;
        ports.set_writable(id, &mut |verdict, reason| dataplane.undeliverable(verdict, reason));
    }

    /// The port with this number is gone.
    pub fn close_port(&mut self, id: PortId, why: &str) {
        let Self { dataplane, ports, .. } = self;
        ports.close(id, why, &mut |verdict, reason| dataplane.undeliverable(verdict, reason));
    }

    fn take_config(&mut self, now: Instant) {
        let config = self.config.load();
        if !ptr::eq(&raw const **config, self.dataplane.config()) {
            self.dataplane.configure(now, Arc::clone(config));
        }
    }

    fn process(&mut self, now: Instant) {
        if !self.batch.is_empty() {
            self.dataplane.process(now, &mut self.batch);
            self.carry_out();
        }
    }

    /// Carries the batch's verdicts out and empties it.
    fn carry_out(&mut self) {
        self.deliver();
        let Self { dataplane, ports, batch, .. } = self;
        ports.transmit(batch, &mut |verdict, reason| dataplane.undeliverable(verdict, reason));
        batch.clear();
    }

    /// Hands the batch's local frames to the host stack.
    fn deliver(&mut self) {
        let mut delivered = false;
        for slot in self.batch.slots() {
            let (Verdict::Local | Verdict::Flood { local: true, .. }) = slot.verdict else { continue };
            let segment = match slot.ingress {
                Ingress::Port(id) => self.dataplane.config().segment(id).unwrap_or(Segment::Lan),
                Ingress::Host | Ingress::Taken(_) | Ingress::Heard(_) => Segment::Lan,
                Ingress::HostRaw(segment) => segment,
            };
            // The host stack gets what a wire would carry: whole checksums, nothing longer than the MTU. What
            // is lost of a super-frame behind its first segment is sent again.
            let mut frames = slot.frame.segments();
            let mut deliver =
                || frames.next().is_some_and(|frame| self.link.deliver_with(segment, |to| frame.write(to)));
            if deliver() {
                delivered = true;
                while deliver() {}
            } else if slot.verdict == Verdict::Local {
                self.dataplane.undeliverable(slot.verdict, DropReason::HostRingFull);
            }
        }
        if delivered {
            self.link.wake_host();
        }
    }
}
