//! An administrator's machine on the LAN, with an address of its own: its page changes the gateway's configuration,
//! finds the gateway at its new address, and confirms.
//!
//! The page knows the address at which it has found the gateway. It asks there for the gateway's name until it gets an
//! answer, and then asks at the address in the answer; an answer from there is what it confirms by.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use hickory_proto::op::Message;
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::identity::Identity;
use super::internet::DNS_PORT;
use super::pc::question;
use super::stack::{SocketHandle, Stack, turn};
use super::{Machine, Record};
use crate::world::administration::{Desk, Edit, Outcome, Wish};

const OWN_PORT: u16 = 40_053;
/// The interval of questions, and of looks at the outcome of a request.
const INTERVAL: Duration = Duration::from_millis(250);
/// Before a change is undone by hand.
const UNDO_AFTER: Duration = Duration::from_secs(3);
/// The gateway's name.
const NAME: &str = "gatepost.office.example.";

/// A change of the configuration.
#[derive(Clone, Debug)]
pub struct Change {
    /// The edits.
    pub edits: Vec<Edit>,
    /// The LAN's address afterwards, if that changes.
    pub lan: Option<Ipv4Net>,
    /// The time for the confirmation; `None`: it is final.
    pub within: Option<Duration>,
    /// What the administrator then does.
    pub then: Then,
}

/// What the administrator does while a change waits for confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Confirms it as soon as the gateway is found.
    Confirm,
    /// Leaves it to the deadline.
    Leave,
    /// Undoes it.
    Undo,
}

/// What has become of the changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Final at once, or confirmed.
    pub done: u64,
    /// Left to the deadline, or undone.
    pub left: u64,
    /// Refused, or not confirmed.
    pub refused: u64,
    /// Lost as the gateway lost its power.
    pub lost: u64,
    /// Not confirmed in time, as the gateway was not found.
    pub missed: u64,
}

/// The machine.
pub struct Administrator {
    desk: Rc<Desk>,
    stack: Stack,
    socket: SocketHandle,
    rng: StdRng,
    /// The machine's own address, and the gateway's as far as it knows.
    own: Ipv4Net,
    gateway: Ipv4Addr,
    changes: VecDeque<Change>,
    doing: Option<(Change, Doing)>,
    due: Instant,
    next_at: Instant,
    record: Changes,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Waits for the outcome of the change.
    Applying,
    /// Asks at this address until the time for the confirmation is over.
    Finding { at: Ipv4Addr, id: u16, until: Instant },
    /// Undoes the change then.
    UndoingAt(Instant),
    /// Waits for the outcome of the confirmation, or of the undoing.
    Ending,
}

impl Administrator {
    /// The machine that `identity` names, which makes its requests at `desk`.
    pub fn new(identity: &Identity, desk: Rc<Desk>) -> Self {
        let mut rng = StdRng::seed_from_u64(identity.seed);
        let mut stack = Stack::of(identity, rng.random());
        let socket = stack.bind_udp(OWN_PORT);
        Self {
            desk,
            stack,
            socket,
            rng,
            own: identity.address,
            gateway: identity.router,
            changes: VecDeque::new(),
            doing: None,
            due: Instant::ZERO,
            next_at: Instant::ZERO,
            record: Changes::default(),
        }
    }

    /// Makes this change, after those before it.
    pub fn change(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    fn work(&mut self, now: Instant) {
        self.listen(now);
        if now < self.next_at {
            return;
        }
        self.next_at = now + INTERVAL;
        let Some((change, doing)) = self.doing.take() else {
            if let Some(change) = self.changes.pop_front() {
                self.desk.wish(Wish::Change(change.edits.clone(), change.within));
                self.doing = Some((change, Doing::Applying));
            }
            return;
        };
        self.doing = match (doing, self.desk.outcome()) {
            (Doing::Applying | Doing::Ending, Outcome::Pending) => Some((change, doing)),
            (_, Outcome::Forgotten) => {
                self.record.lost += 1;
                None
            }
            (Doing::Applying, Outcome::Waits) => self.follow(now, change),
            (Doing::Applying | Doing::Ending, Outcome::Done) => {
                self.finish(&change);
                None
            }
            (Doing::Applying | Doing::Ending, _) => {
                self.record.refused += 1;
                None
            }
            (Doing::UndoingAt(at), _) if now < at => Some((change, doing)),
            (Doing::UndoingAt(_), _) => {
                self.desk.wish(Wish::Undo);
                Some((change, Doing::Ending))
            }
            (Doing::Finding { until, .. }, _) if now >= until => {
                self.record.missed += 1;
                None
            }
            (Doing::Finding { at, id, .. }, _) => {
                self.stack.send_udp(self.socket, SocketAddrV4::new(at, DNS_PORT), &question(id, NAME));
                Some((change, doing))
            }
        };
    }

    /// What follows on a change that waits for confirmation.
    fn follow(&mut self, now: Instant, change: Change) -> Option<(Change, Doing)> {
        let doing = match change.then {
            Then::Confirm => {
                let until = now + change.within.unwrap_or_default();
                Doing::Finding { at: self.gateway, id: self.rng.random(), until }
            }
            Then::Undo => Doing::UndoingAt(now + UNDO_AFTER),
            Then::Leave => {
                self.record.left += 1;
                return None;
            }
        };
        Some((change, doing))
    }

    /// The last request is done.
    fn finish(&mut self, change: &Change) {
        if change.then == Then::Undo && change.within.is_some() {
            self.record.left += 1;
            return;
        }
        self.record.done += 1;
        let Some(lan) = change.lan else { return };
        // The machine takes an address of the new network, with the same host number.
        let host = self.own.addr().to_bits() & 0xff;
        let own = Ipv4Addr::from_bits(lan.addr().to_bits() & !0xff | host);
        let own = if lan.contains(&self.own.addr()) { self.own.addr() } else { own };
        self.own = Ipv4Net::new(own, lan.prefix_len()).expect("a network's own prefix");
        self.gateway = lan.addr();
        self.stack.set_address(Some((own, lan.prefix_len())));
        self.stack.set_router(Some(self.gateway));
    }

    /// Reads the answers of the gateway.
    fn listen(&mut self, now: Instant) {
        while let Some((from, octets)) = self.stack.receive_udp(self.socket) {
            let Some((_, Doing::Finding { at, id, until })) = self.doing else { continue };
            let answer = Message::from_vec(&octets).ok().filter(|answer| answer.metadata.id == id);
            let told = answer.as_ref().and_then(|answer| answer.answers.first()?.data.ip_addr());
            let next = match told {
                Some(IpAddr::V4(told)) if *from.ip() == at && told == at => {
                    self.desk.wish(Wish::Confirm);
                    Doing::Ending
                }
                // The gateway's name has moved.
                Some(IpAddr::V4(told)) if *from.ip() == at => {
                    self.next_at = now;
                    Doing::Finding { at: told, id: self.rng.random(), until }
                }
                _ => continue,
            };
            self.doing.iter_mut().for_each(|(_, doing)| *doing = next);
        }
    }
}

impl Machine for Administrator {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        turn(self, now, transmit, |it| &mut it.stack, |it| it.work(now));
        self.due = self.stack.poll_timeout(now).into_iter().chain([self.next_at]).min().unwrap_or(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let is_busy = self.doing.is_some() || !self.changes.is_empty();
        is_busy.then_some(self.due)
    }

    /// What has become of the [`Changes`].
    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record)
    }
}
