//! The meter: a machine on the LAN.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use gatepost_sim::machine::stack::{SocketHandle, Stack};
use gatepost_sim::machine::{Machine, Record};
use gatepost_sim::scenario::Identity;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::protocol::{COLLECTOR, Message, PORT};

const OWN_PORT: u16 = 40_100;
/// From an acknowledgement to the next reading.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an acknowledgement is waited for.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The meter.
pub struct Meter {
    /// Does not wait for acknowledgements: a fault, to see that it is found.
    pub is_impatient: bool,
    mac: MacAddr,
    stack: Stack,
    socket: SocketHandle,
    rng: StdRng,
    /// The latest reading, if it is not acknowledged.
    waiting: Option<Message>,
    /// Its number.
    number: u32,
    /// When there is something to send next.
    next_at: Instant,
    due: Option<Instant>,
    record: MeterRecord,
}

/// What the meter has to tell in the end.
#[derive(Clone, Debug, Default)]
pub struct MeterRecord {
    /// Readings that were acknowledged.
    pub acknowledged: u32,
    /// How often a reading was sent again.
    pub repeated: u32,
}

impl Meter {
    /// A meter that is `identity`.
    pub fn new(identity: &Identity) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let mut stack = Stack::of(identity, rng.random());
        let socket = stack.bind_udp(OWN_PORT);
        Self {
            is_impatient: false,
            mac: identity.mac,
            stack,
            socket,
            waiting: None,
            number: 0,
            next_at: Instant::from_millis(rng.random_range(0..1_000)),
            due: Some(Instant::ZERO),
            record: MeterRecord::default(),
            rng,
        }
    }

    fn hear(&mut self, now: Instant) {
        while let Some((_, octets)) = self.stack.receive_udp(self.socket) {
            let is_latest = Message::parse(&octets) == Some(Message::Acknowledgement { number: self.number });
            if is_latest && self.waiting.take().is_some() {
                self.record.acknowledged += 1;
                self.next_at = now + PAUSE;
            }
        }
    }

    fn speak(&mut self, now: Instant) {
        if self.next_at > now {
            return;
        }
        let reading = match self.waiting.filter(|_| !self.is_impatient) {
            Some(reading) => {
                self.record.repeated += 1;
                reading
            }
            None => {
                self.number += 1;
                Message::Reading { number: self.number, value: self.rng.random() }
            }
        };
        self.waiting = Some(reading);
        self.next_at = now + TIMEOUT;
        self.stack.send_udp(self.socket, SocketAddrV4::new(COLLECTOR, PORT), &reading.to_octets());
    }
}

impl Machine for Meter {
    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        self.stack.poll(now);
        self.hear(now);
        self.speak(now);
        self.stack.poll(now);
        self.stack.drain(transmit);
        self.due = self.stack.poll_timeout(now).into_iter().chain([self.next_at]).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn calm(&mut self) {
        self.is_impatient = false;
    }

    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record.clone())
    }
}
