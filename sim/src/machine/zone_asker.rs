//! A host of the office that looks up names in bursts, so that the gateway has many queries to one server at a time.
//! The checker `names-true` judges the answers; the host records that there are some.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use hickory_proto::op::{Message, ResponseCode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::identity::Identity;
use super::internet::DNS_PORT;
use super::pc::{question, when};
use super::stack::{SocketHandle, Stack, turn};
use super::{Machine, Record};

const OWN_PORT: u16 = 5_353;
/// The most queries of a burst.
const BURST_MAX: usize = 8;
/// The longest time between two bursts.
const PAUSE_MILLIS_MAX: u64 = 2_000;
/// How long an answer may take: a little longer than the gateway tries.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Names that are looked up together, and what they are called in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// What they are called.
    pub of: &'static str,
    /// The names, each with a dot at the end.
    pub names: Vec<String>,
}

/// An asker's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskerRecord(pub BTreeMap<&'static str, Asked>);

/// The look-ups of some names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Those with an answer: NOERROR or NXDOMAIN.
    pub answered: u64,
    /// Those without, or with an error.
    pub failed: u64,
    /// When the latest was answered.
    pub last_answer_at: Option<Instant>,
}

impl fmt::Display for AskerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (of, Asked { answered, failed, last_answer_at }) in &self.0 {
            write!(
                f,
                "{of}: {answered} answered, {failed} failed, the last answer {}; ",
                when(*last_answer_at)
            )?;
        }
        Ok(())
    }
}

/// The asker.
pub struct ZoneAsker {
    server: SocketAddrV4,
    stack: Stack,
    socket: SocketHandle,
    rng: StdRng,
    names: Vec<Names>,
    next_at: Instant,
    /// By identifier.
    waiting: BTreeMap<u16, Waiting>,
    due: Option<Instant>,
    record: AskerRecord,
}

struct Waiting {
    of: &'static str,
    until: Instant,
}

impl ZoneAsker {
    /// The host that is `identity`, and looks up `names`.
    pub fn new(identity: &Identity, names: Vec<Names>) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let mut stack = Stack::of(identity, rng.random());
        let socket = stack.bind_udp(OWN_PORT);
        let record = AskerRecord(names.iter().map(|names| (names.of, Asked::default())).collect());
        Self {
            server: SocketAddrV4::new(identity.router, DNS_PORT),
            stack,
            socket,
            rng,
            names,
            next_at: Instant::from_secs(3),
            waiting: BTreeMap::new(),
            due: Some(Instant::ZERO),
            record,
        }
    }

    fn work(&mut self, now: Instant) {
        self.hear(now);
        self.ask(now);
    }

    fn hear(&mut self, now: Instant) {
        while let Some((_, octets)) = self.stack.receive_udp(self.socket) {
            let Ok(answer) = Message::from_vec(&octets) else { continue };
            let Some(Waiting { of, .. }) = self.waiting.remove(&answer.metadata.id) else { continue };
            let asked = self.record.0.entry(of).or_default();
            if matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
                asked.answered += 1;
                asked.last_answer_at = Some(now);
            } else {
                asked.failed += 1;
            }
        }
        for Waiting { of, .. } in self.waiting.extract_if(.., |_, it| it.until <= now).map(|(_, it)| it) {
            self.record.0.entry(of).or_default().failed += 1;
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.next_at > now {
            return;
        }
        self.next_at = now + Duration::from_millis(self.rng.random_range(1..=PAUSE_MILLIS_MAX));
        let Some(Names { of, names }) = self.names.choose(&mut self.rng) else { return };
        for _ in 0..self.rng.random_range(1..=BURST_MAX) {
            let Some(name) = names.choose(&mut self.rng) else { continue };
            let id = self.rng.random();
            self.stack.send_udp(self.socket, self.server, &question(id, name));
            self.waiting.insert(id, Waiting { of, until: now + TIMEOUT });
        }
    }
}

impl Machine for ZoneAsker {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        let until = self.waiting.values().map(|waiting| waiting.until).min();
        self.due = self.stack.poll_timeout(now).into_iter().chain(until).chain([self.next_at]).min();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// An [`AskerRecord`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record.clone())
    }
}
