//! A rack: one turmoil host with many simulated machines, because the cost of turmoil's step grows with the cube of its
//! hosts.
//!
//! Each machine has its own network card, cable and MAC address. Frames between machines of one rack take as long as
//! those between hosts: one tick. Cards are not promiscuous: a frame for another machine is dropped.

use std::cell::RefCell;
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::{Instant, MacAddr};
use gatepost_services::wait::first_of;
use tokio::sync::Notify;

use super::clock::{now, sleep_until};
use super::link::Link;
use super::observer::Shared;
use super::pipe::Nic;
use super::segment::{Jack, SegmentId, any_readable};
use crate::machine::Machine;

/// A rack with its machines; the world keeps a hand on it while its host runs.
pub struct Rack {
    places: Vec<Place>,
    /// How long a frame takes from one machine to another.
    tick: Duration,
    /// Woken when the world has changed something.
    changed: Rc<Notify>,
}

struct Place {
    name: String,
    machine: Rc<RefCell<dyn Machine>>,
    nic: Nic,
    segment: SegmentId,
    /// Where it is instead, since a switch between lost its uplink.
    apart: Option<SegmentId>,
    /// When the machine is switched on.
    on_at: Instant,
    is_asleep: bool,
    /// Whether it is polled next even if nothing is due.
    wants_poll: bool,
}

impl Place {
    fn segment(&self) -> SegmentId {
        self.apart.unwrap_or(self.segment)
    }

    fn is_on(&self, at: Instant) -> bool {
        self.on_at <= at && !self.is_asleep
    }
}

impl Rack {
    /// An empty rack in a world with such ticks.
    pub fn new(tick: Duration) -> Self {
        Self { places: Vec::new(), tick, changed: Rc::new(Notify::new()) }
    }

    /// Mounts a machine that is switched on at `on_at`, and plugs it in.
    ///
    /// # Errors
    ///
    /// Another has its name or its MAC address.
    pub fn mount(
        &mut self,
        name: &str,
        machine: Rc<RefCell<dyn Machine>>,
        nic: Nic,
        segment: SegmentId,
        on_at: Instant,
    ) -> Result<(), String> {
        let mac = machine.borrow().mac();
        let is_same = |place: &&Place| place.name == name || place.machine.borrow().mac() == mac;
        if let Some(Place { name: other, .. }) = self.places.iter().find(is_same) {
            let both = if other == name { format!("name {name:?}") } else { format!("MAC address {mac}") };
            return Err(format!("{name} and {other} have one {both}; change one of them"));
        }
        let name = name.to_owned();
        self.places.push(Place {
            name,
            machine,
            nic,
            segment,
            apart: None,
            on_at,
            is_asleep: false,
            wants_poll: false,
        });
        Ok(())
    }

    /// Plugs a machine into another segment; `false` if there is none of this name.
    pub fn replug(&mut self, name: &str, segment: SegmentId) -> bool {
        self.changed.notify_one();
        self.place(name).map(|place| place.segment = segment).is_some()
    }

    /// Puts a machine to sleep, in which it keeps its state, receives no frames and does nothing; or wakes it up.
    pub fn set_asleep(&mut self, name: &str, is_asleep: bool) {
        self.changed.notify_one();
        if let Some(place) = self.place(name) {
            place.is_asleep = is_asleep;
            place.nic.clear();
        }
    }

    /// Puts the machines called `names` on a segment of their own, which no other host is plugged into.
    pub fn set_apart(&mut self, names: &[String], segment: SegmentId) {
        for place in &mut self.places {
            if names.contains(&place.name) {
                place.apart = Some(segment);
            }
        }
    }

    /// Puts every machine back where it is plugged in.
    pub fn reunite(&mut self) {
        for place in &mut self.places {
            place.apart = None;
        }
    }

    /// Gives a machine another cable; `false` if there is none of this name.
    pub fn set_link(&mut self, name: &str, link: &Link) -> bool {
        self.place(name).map(|place| place.nic.set_link(link)).is_some()
    }

    /// Sends a frame from a machine over its cable, if it is here; asleep or not yet on, it sends nothing.
    pub fn send(&mut self, now: Instant, name: &str, frame: &[u8]) {
        self.changed.notify_one();
        if let Some(place) = self.place(name).filter(|place| place.is_on(now)) {
            place.nic.outward.push(now, frame.to_vec());
        }
    }

    /// Polls a machine at once, as the world has changed its state.
    pub fn have_polled(&mut self, name: &str) {
        self.changed.notify_one();
        if let Some(place) = self.place(name) {
            place.wants_poll = true;
        }
    }

    /// Makes the rack poll machines that the world has notified.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    fn place(&mut self, name: &str) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.name == name)
    }

    /// Passes a frame on `segment` to all machines there except `sender`.
    fn deliver(&mut self, at: Instant, segment: SegmentId, frame: &[u8], sender: Option<usize>) {
        let Some(destination) = destination(frame) else { return };
        for (number, place) in self.places.iter_mut().enumerate() {
            let is_for_it = destination.is_multicast() || destination == place.machine.borrow().mac();
            if place.segment() == segment && Some(number) != sender && place.is_on(at) && is_for_it {
                place.nic.inward.push(at, frame.to_vec());
            }
        }
    }

    /// Polls every machine that is due, and returns the outgoing frames.
    fn work(&mut self, now: Instant) -> Vec<(SegmentId, Vec<u8>, usize)> {
        let mut sent = Vec::new();
        for (number, place) in self.places.iter_mut().enumerate().filter(|(_, place)| place.is_on(now)) {
            let segment = place.segment();
            let Place { machine, nic, wants_poll, .. } = place;
            let mut machine = machine.borrow_mut();
            while let Some(frame) = nic.inward.pop(now) {
                machine.handle_frame(frame);
                machine.poll(now, &mut |frame| nic.outward.push(now, frame));
            }
            if mem::take(wants_poll) || machine.poll_timeout().is_some_and(|due| due <= now) {
                machine.poll(now, &mut |frame| nic.outward.push(now, frame));
            }
            while let Some(frame) = nic.outward.pop(now) {
                sent.push((segment, frame, number));
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
                let heard_at = now() + rack.tick;
                rack.deliver(heard_at, segment, &frame, Some(sender));
            }
            rack.poll_timeout()
        };
        let arrival = any_readable(jacks.iter().map(|(_, jack)| jack));
        first_of(changed.notified(), first_of(arrival, sleep_until(deadline))).await;
    }
}

fn destination(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk::<6>().map(|octets| MacAddr(*octets))
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv4Net;

    use super::*;
    use crate::machine::attacker::Attacker;
    use crate::machine::internet::{DhcpTerms, Internet};
    use crate::world::link::perfect;
    use crate::world::segment::TICK;

    #[test]
    fn no_two_machines_have_one_name_or_one_mac_address() {
        let mut rack = Rack::new(TICK);
        let mut mount = |name: &str, machine: Rc<RefCell<dyn Machine>>| {
            rack.mount(name, machine, Nic::new(&perfect(), 1, name), SegmentId(0), Instant::ZERO)
        };
        let attacker = || Rc::new(RefCell::new(Attacker::new([203, 0, 113, 66].into())));
        let network: Ipv4Net = "203.0.113.0/24".parse().expect("a network");
        assert_eq!(mount("attacker", attacker()), Ok(()));
        let told = mount("another", attacker()).expect_err("one MAC address");
        assert!(told.starts_with("another and attacker have one MAC address"), "{told}");
        let internet = Rc::new(RefCell::new(Internet::new(network, DhcpTerms::new(60), Rc::default(), 1)));
        let told = mount("attacker", internet).expect_err("one name");
        assert!(told.contains("one name \"attacker\""), "{told}");
    }
}
