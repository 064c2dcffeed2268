//! The collector: a server of the internet.

use std::sync::Arc;

use gatepost_ground::Instant;
use gatepost_sim::machine::Record;
use gatepost_sim::machine::internet::server::{Server, Wire};

use crate::protocol::Message;

/// The collector of one meter.
#[derive(Default)]
pub struct Collector {
    /// Hears nothing: a fault.
    pub is_silent: bool,
    /// The number of the latest reading.
    latest: u32,
}

/// What the collector has to tell in the end.
#[derive(Clone, Debug)]
pub struct CollectorRecord {
    /// Readings collected, each counted once.
    pub readings: u32,
}

impl Server for Collector {
    fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
        while let Some(datagram) = wire.receive() {
            let Some(Message::Reading { number, .. }) = Message::parse(&datagram.payload) else { continue };
            if self.is_silent {
                continue;
            }
            // The next one, or the latest over again, whose acknowledgement was lost.
            if number == self.latest + 1 {
                self.latest = number;
            }
            if number == self.latest {
                let answer = Message::Acknowledgement { number };
                wire.send(datagram.to, datagram.from, &answer.to_octets());
            }
        }
    }

    fn calm(&mut self) {
        self.is_silent = false;
    }

    fn record(&self) -> Arc<dyn Record> {
        Arc::new(CollectorRecord { readings: self.latest })
    }
}
