//! The machines of a world, in the order of the office's list, and the racks that they are mounted in.

use std::any::Any;
use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;

use super::segments::{lan_segment, wan_segment};
use crate::machine::Machine;
use crate::machine::internet::Internet;
use crate::scenario::members::{INTERNET, Member, Plug};
use crate::scenario::office::Office;
use crate::scenario::outcome::{Account, MachineAccount};
use crate::world::link::Link;
use crate::world::pipe::Nic;
use crate::world::rack::Rack;

/// A machine and its entry in the office's list.
struct Entry {
    member: Member,
    machine: Rc<RefCell<dyn Machine>>,
}

/// All machines.
pub(super) struct Machines {
    entries: Vec<Entry>,
    /// The racks of the office, and those of the provider: turmoil's hosts.
    pub(super) lan: Rc<RefCell<Rack>>,
    pub(super) wan: Rc<RefCell<Rack>>,
}

impl Machines {
    /// No machines yet, in a world with such ticks.
    pub(super) fn new(tick: Duration) -> Self {
        let rack = || Rc::new(RefCell::new(Rack::new(tick)));
        Self { entries: Vec::new(), lan: rack(), wan: rack() }
    }

    /// Mounts a machine that is switched on at `on_at`, with the cable that `office` gives it.
    ///
    /// # Errors
    ///
    /// Another has its name or its MAC address.
    pub(super) fn mount(
        &mut self,
        office: &Office,
        cable_seed: u64,
        member: Member,
        machine: Rc<RefCell<dyn Machine>>,
        on_at: Instant,
    ) -> Result<(), String> {
        let nic = Nic::new(&office.link_of(&member.name, member.group()), cable_seed, &member.name);
        let segment = match member.plug {
            Plug::Lan(port) => lan_segment(port),
            Plug::Wan => wan_segment(office),
        };
        let rack = self.rack_of(&member);
        rack.borrow_mut().mount(&member.name, Rc::clone(&machine), nic, segment, on_at)?;
        self.entries.push(Entry { member, machine });
        Ok(())
    }

    /// The number of machines.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Calls `tell` with the machine called `name`, and has it polled; `None` if it is not a `T`.
    pub(super) fn tell<T: Machine, R>(&self, name: &str, tell: impl FnOnce(&mut T) -> R) -> Option<R> {
        let entry = self.entries.iter().find(|entry| entry.member.name == name)?;
        let mut machine = entry.machine.borrow_mut();
        let told = (&mut *machine as &mut dyn Any).downcast_mut().map(tell);
        self.rack_of(&entry.member).borrow().wake();
        told
    }

    /// Gives the machine or the server called `name` to `tell`, and has it polled.
    pub(super) fn tell_any<R>(&self, name: &str, tell: impl FnOnce(&mut dyn Any) -> R) -> Option<R> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.member.name == name) {
            let told = tell(&mut *entry.machine.borrow_mut());
            self.rack_of(&entry.member).borrow_mut().have_polled(name);
            return Some(told);
        }
        self.tell(INTERNET, |it: &mut Internet| it.server_mut(name).map(tell)).flatten()
    }

    /// Gives the cables called `name` another `link`.
    pub(super) fn set_link(&self, office: &Office, name: &str, link: &Link) {
        for Entry { member, .. } in self.entries.iter().filter(|entry| entry.member.is_called(name)) {
            let link = office.fitted(&member.name, link.clone());
            self.rack_of(member).borrow_mut().set_link(&member.name, &link);
        }
    }

    /// Mends every cable and ends every machine's faults.
    pub(super) fn calm(&self, office: &Office, link: &Link) {
        for Entry { member, machine } in &self.entries {
            let link = office.fitted(&member.name, link.clone());
            self.rack_of(member).borrow_mut().set_link(&member.name, &link);
            machine.borrow_mut().calm();
        }
        self.lan.borrow_mut().reunite();
        for rack in [&self.lan, &self.wan] {
            rack.borrow().wake();
        }
    }

    /// The provider has changed to `network`, where the office gets the address `office`.
    pub(super) fn renumber(&self, network: Ipv4Net, office: Ipv4Addr) {
        for Entry { machine, .. } in &self.entries {
            machine.borrow_mut().on_renumber(network, office);
        }
    }

    /// The office has the address `office` outside.
    pub(super) fn tell_address(&self, office: Ipv4Addr) {
        for Entry { machine, .. } in &self.entries {
            machine.borrow_mut().on_office_at(office);
        }
    }

    /// Sends a frame from the machine called `name`.
    pub(super) fn send(&self, now: Instant, name: &str, frame: &[u8]) {
        for rack in [&self.lan, &self.wan] {
            rack.borrow_mut().send(now, name, frame);
        }
    }

    /// The records of all machines.
    pub(super) fn account(&self) -> Account {
        let tell = |Entry { member, machine }: &Entry| MachineAccount {
            name: member.name.clone(),
            record: machine.borrow().record(),
        };
        Account { machines: self.entries.iter().map(tell).collect() }
    }

    fn rack_of(&self, member: &Member) -> &Rc<RefCell<Rack>> {
        if member.is_on_lan() { &self.lan } else { &self.wan }
    }
}
