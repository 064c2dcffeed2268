//! The events of a world.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::Ordering;
use std::time::Duration;

use gatepost_dataplane::flow::Pinhole;
use gatepost_dataplane::key::Endpoint;
use gatepost_ground::Instant;
use gatepost_ground::wire::Protocol;
use ipnet::Ipv4Net;

use super::names::{self, host_of};
use super::segments::{apart_segment, lan_segment};
use super::{GATEWAY, World};
use crate::checkers::Side;
use crate::machine::attacker::{Attacker, Shot};
use crate::machine::internet::Internet;
use crate::machine::spoofer::Spoofer;
use crate::scenario::action::Action;
use crate::scenario::mail::Mail;
use crate::scenario::members::{ATTACKER, INTERNET, SPOOFER};
use crate::scenario::office::{LEASED_HOST, WanBy};
use crate::world::disk::DiskMood;
use crate::world::link::{Link, perfect};
use crate::world::rot::{Flip, RotIn};

impl World {
    pub(super) fn act(&mut self, action: &Action) {
        self.observer.borrow_mut().on_event(action);
        match action {
            Action::Replug { machine, port } => {
                let port = self.office.lan_port(port).expect("validated");
                self.machines.lan.borrow_mut().replug(machine, lan_segment(port));
            }
            Action::Sleep(machine) => self.machines.lan.borrow_mut().set_asleep(machine, true),
            Action::Wake(machine) => self.machines.lan.borrow_mut().set_asleep(machine, false),
            Action::Link { name, link } => self.set_link(name, link),
            Action::Partition(names) => {
                self.machines.lan.borrow_mut().set_apart(names, apart_segment(&self.office));
            }
            Action::Reunite => self.machines.lan.borrow_mut().reunite(),
            Action::Calm => self.calm(),
            Action::PowerCut => self.cut_power(),
            Action::PowerCutWhileWriting(nth) => self.disk.cut_power_while_writing(*nth),
            Action::PowerCutWhileReplacing(step) => self.disk.cut_power_while_replacing(*step),
            Action::PowerBack => self.restore_power(),
            Action::Renumber(network) => self.renumber(network.parse().expect("validated")),
            Action::Provider(mood) => self.tell_internet(|it| it.set_mood(*mood)),
            Action::DhcpOfProvider(mood) => self.tell_internet(|it| it.set_dhcp_mood(*mood)),
            Action::LeaseForm(form) => self.tell_internet(|it| it.set_lease_form(*form)),
            Action::NameServersTold(servers) => self.tell_internet(|it| it.set_name_servers_told(servers)),
            Action::Dns { servers, mood } => self.tell_internet(|it| it.set_dns_mood(servers, *mood)),
            Action::NameMoves(name) => {
                let now = Instant::ZERO + self.sim.elapsed();
                self.tree.borrow_mut().move_name(now, name);
            }
            Action::Attack(shots) => self.attack(shots),
            Action::Spoof(tricks) => {
                self.machines.tell(SPOOFER, |spoofer: &mut Spoofer| spoofer.play(tricks.iter().copied()));
            }
            Action::Frame { machine, frame } => {
                let now = Instant::ZERO + self.sim.elapsed();
                self.machines.send(now, machine, frame);
            }
            Action::Act(act) => {
                let now = Instant::ZERO + self.sim.elapsed();
                self.machines.tell_any(&act.name, |machine| act.run(machine, now));
            }
            Action::OpenPinhole { protocol, inside, secs } => self.open_pinhole(*protocol, *inside, *secs),
            Action::ClockJumps(secs) => self.time_of_day.jump(Instant::ZERO + self.sim.elapsed(), *secs),
            Action::Clock(state) => self.time_of_day.set_state(Instant::ZERO + self.sim.elapsed(), *state),
            Action::Disk(mood) => self.set_disk(*mood),
            Action::Rot(place) => self.rot(*place),
            Action::Reload(rules) => self.file.change(self.office.config_with(rules).expect("validated")),
            Action::ReloadRefused => self.file.offer_what_needs_a_restart(),
            Action::Panic => self.panics.store(true, Ordering::Relaxed),
        }
    }

    fn renumber(&mut self, network: Ipv4Net) {
        let office = host_of(network, LEASED_HOST).addr();
        self.machines.renumber(network, office);
        self.observer.borrow_mut().on_names(names::on_wan(network, office));
    }

    pub(super) fn cut_power(&mut self) {
        self.disk.cut_power();
        self.sim.crash(GATEWAY);
        self.has_crashed = true;
        for socket in &self.sockets {
            socket.nic.borrow_mut().clear();
        }
    }

    fn restore_power(&mut self) {
        if !self.has_crashed {
            self.cut_power();
        }
        self.power.switch(true);
        self.has_crashed = false;
        self.sim.bounce(GATEWAY);
    }

    /// The office's address on the WAN, if it has one.
    pub(super) fn customer(&self) -> Option<Ipv4Addr> {
        match self.office.wan {
            WanBy::Dhcp => self.tell_internet(|it| it.customer()),
            WanBy::Fixed => Some(self.office.fixed_address()),
        }
    }

    fn open_pinhole(&self, protocol: Protocol, inside: SocketAddrV4, secs: u32) {
        if let Some(external) = self.customer() {
            let inside = Endpoint::new(*inside.ip(), inside.port());
            let pinhole = Pinhole { protocol, inside, external, remote: None };
            self.pinholes.wish(pinhole, Duration::from_secs(secs.into()));
        }
    }

    fn attack(&mut self, shots: &[Shot]) {
        if let Some(victim) = self.customer() {
            self.machines.tell(ATTACKER, |it: &mut Attacker| it.attack(victim, shots.iter().copied()));
        }
    }

    fn tell_internet<R>(&self, tell: impl FnOnce(&mut Internet) -> R) -> R {
        self.machines.tell(INTERNET, tell).expect("every world has an internet")
    }

    fn set_link(&mut self, name: &str, link: &Link) {
        for socket in &self.sockets {
            if socket.name == name || (name == "lan" && socket.side == Side::Lan) {
                socket.nic.borrow_mut().set_link(&self.office.fitted(&socket.name, link.clone()));
            }
        }
        self.machines.set_link(&self.office, name, link);
    }

    fn calm(&mut self) {
        for socket in &self.sockets {
            socket.nic.borrow_mut().set_link(&self.office.fitted(&socket.name, perfect()));
        }
        self.machines.calm(&self.office, &perfect());
        self.set_disk(DiskMood::Sound);
    }

    fn rot(&mut self, place: RotIn) {
        let Some(Mail { post, .. }) = &self.office.mail else { return };
        if let Some(Flip { file, offset, harm }) = self.rot.flip(&self.disk, place) {
            let mut observer = self.observer.borrow_mut();
            observer.on_event(format!("octet {offset} of {file} has flipped: {harm:?}"));
            observer.on_rot(&file);
            post.borrow_mut().suffer(harm);
        }
    }

    fn set_disk(&self, mood: DiskMood) {
        self.disk.set_mood(mood);
        self.observer.borrow_mut().on_disk(mood);
    }
}
