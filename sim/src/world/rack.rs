//! A rack: one turmoil host that many simulated machines are mounted in, because turmoil's step grows
//! with the cube of its hosts.
//!
//! Each machine has its own network card, cable and MAC address. Machines of one rack on one segment hear
//! each other as quickly as those of other hosts: after a tick. Cards are not promiscuous: a frame
//! for somebody else stops there.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use gatepost_dataplane::{Instant, MacAddr};
use gatepost_services::race::race;
use tokio::sync::Notify;

use super::clock::{now, sleep_until};
use super::link::{Link, Nic};
use super::observer::Shared;
use super::segment::{Jack, SegmentId, TICK, any_readable};
use crate::machine::Machine;

/// A rack with its machines; the world keeps a hand on it while its host runs.
pub struct Rack {
    places: Vec<Place>,
    /// Woken when the world has changed something.
    changed: Rc<Notify>,
}

struct Place {
    name: String,
    machine: Rc<RefCell<dyn Machine>>,
    nic: Nic,
    segment: SegmentId,
    /// When the machine is switched on.
    on_at: Instant,
    is_asleep: bool,
}

impl Rack {
    /// An empty rack.
    pub fn new() -> Self {
        Self { places: Vec::new(), changed: Rc::new(Notify::new()) }
    }

    /// Mounts a machine that is switched on at `on_at`, and plugs it in.
    pub fn mount(
        &mut self,
        name: &str,
        machine: Rc<RefCell<dyn Machine>>,
        nic: Nic,
        segment: SegmentId,
        on_at: Instant,
    ) {
        self.places.push(Place { name: name.to_owned(), machine, nic, segment, on_at, is_asleep: false });
    }

    /// Plugs a machine into another segment; `false` if there is none of this name.
    pub fn replug(&mut self, name: &str, segment: SegmentId) -> bool {
        self.changed.notify_one();
        self.place(name).map(|place| place.segment = segment).is_some()
    }

    /// Puts a machine to sleep: it hears and does nothing, and remembers everything. Or wakes it up.
    pub fn set_asleep(&mut self, name: &str, is_asleep: bool) {
        self.changed.notify_one();
        if let Some(place) = self.place(name) {
            place.is_asleep = is_asleep;
            place.nic.clear();
        }
    }

    /// Gives a machine another cable; `false` if there is none of this name.
    pub fn set_link(&mut self, name: &str, link: &Link) -> bool {
        self.place(name).map(|place| place.nic.set_link(link)).is_some()
    }

    /// Gives every machine another cable.
    pub fn set_all_links(&mut self, link: &Link) {
        for place in &mut self.places {
            place.nic.set_link(link);
        }
    }

    /// Makes the rack look at machines that the world has told something.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    fn place(&mut self, name: &str) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.name == name)
    }

    /// Gives a frame that is on `segment` to everybody there but `sender`.
    fn deliver(&mut self, at: Instant, segment: SegmentId, frame: &[u8], sender: Option<usize>) {
        let Some(destination) = destination(frame) else { return };
        for (number, place) in self.places.iter_mut().enumerate() {
            let is_for_it = destination.is_multicast() || destination == place.machine.borrow().mac();
            if place.segment == segment && Some(number) != sender && place.is_on(at) && is_for_it {
                place.nic.inward.push(at, frame.to_vec());
            }
        }
    }

    /// Lets every machine do what is due, and gives back the frames that go out on segments.
    fn work(&mut self, now: Instant) -> Vec<(SegmentId, Vec<u8>, usize)> {
        let mut sent = Vec::new();
        let awake = self.places.iter_mut().enumerate().filter(|(_, place)| place.is_on(now));
        for (number, Place { machine, nic, segment, .. }) in awake {
            let mut machine = machine.borrow_mut();
            let mut heard = false;
            while let Some(frame) = nic.inward.pop(now) {
                machine.handle_frame(frame);
                heard = true;
            }
            if heard || machine.poll_timeout().is_some_and(|due| due <= now) {
                machine.poll(now, &mut |frame| nic.outward.push(now, frame));
            }
            while let Some(frame) = nic.outward.pop(now) {
                sent.push((*segment, frame, number));
            }
        }
        sent
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = |place: &Place| {
            let own = place.machine.borrow().poll_timeout().map(|due| due.max(place.on_at));
            own.into_iter().chain(place.nic.poll_timeout()).min()
        };
        self.places.iter().filter(|place| !place.is_asleep).filter_map(due).min()
    }
}

impl Place {
    fn is_on(&self, at: Instant) -> bool {
        self.on_at <= at && !self.is_asleep
    }
}

impl Default for Rack {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a rack for ever, on `segments` with the turmoil hosts `others`.
///
/// # Errors
///
/// It cannot be plugged in.
pub async fn run(
    rack: Rc<RefCell<Rack>>,
    segments: Vec<SegmentId>,
    others: Vec<IpAddr>,
    observer: Shared,
) -> turmoil::Result {
    let mut jacks = Vec::new();
    for segment in segments {
        jacks.push((segment, Jack::plug_in(segment, &others).await?));
    }
    let changed = Rc::clone(&rack.borrow().changed);
    loop {
        let deadline = {
            let mut rack = rack.borrow_mut();
            for (segment, jack) in &jacks {
                while let Some(frame) = jack.receive() {
                    rack.deliver(now(), *segment, &frame, None);
                }
            }
            for (segment, frame, sender) in rack.work(now()) {
                observer.borrow_mut().on_segment(now(), segment, &frame);
                if let Some((_, jack)) = jacks.iter().find(|(id, _)| *id == segment) {
                    jack.send(&frame);
                }
                rack.deliver(now() + TICK, segment, &frame, Some(sender));
            }
            rack.poll_timeout()
        };
        let arrival = any_readable(jacks.iter().map(|(_, jack)| jack));
        race(changed.notified(), race(arrival, sleep_until(deadline))).await;
    }
}

fn destination(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk::<6>().map(|octets| MacAddr(*octets))
}
