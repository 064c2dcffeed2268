//! Puts a world together on turmoil, and lets its time pass.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use gatepost_dataplane::Instant;
use gatepost_dataplane::config::Segment;
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::action::Action;
use super::office::{LEASED_HOST, Office, WanBy};
use super::outcome::{Account, Outcome, PcAccount, VisitAccount};
use crate::checkers;
use crate::machine::attacker::{Attacker, Shot};
use crate::machine::internet::{DnsMood, Internet};
use crate::machine::pc::{Habits, Pc};
use crate::machine::spoofer::Spoofer;
use crate::machine::visitor::Visitor;
use crate::world::disk::SimDisk;
use crate::world::gateway_host::{self, Setup, Socket};
use crate::world::link::{Link, Nic, perfect};
use crate::world::observer::{Capture, Observer, Shared};
use crate::world::pcapng::PcapNg;
use crate::world::rack::{self, Rack};
use crate::world::segment::{QUEUE_FRAMES_MAX, SegmentId, TICK};

const GATEWAY: &str = "gateway";
const OFFICE: &str = "office";
const PROVIDER: &str = "provider";
/// The attacker's host number in the provider's network.
const ATTACKER_HOST: u32 = 66;
/// The visitor's.
const VISITOR_HOST: u32 = 77;

/// A world whose time has not begun.
pub struct World {
    sim: turmoil::Sim<'static>,
    office: Office,
    name: String,
    seed: u64,
    sockets: Vec<Socket>,
    office_rack: Rc<RefCell<Rack>>,
    provider_rack: Rc<RefCell<Rack>>,
    pcs: Vec<Rc<RefCell<Pc>>>,
    internet: Rc<RefCell<Internet>>,
    attacker: Rc<RefCell<Attacker>>,
    spoofer: Rc<RefCell<Spoofer>>,
    visitor: Rc<RefCell<Visitor>>,
    disk: Rc<SimDisk>,
    skew: Rc<Cell<Duration>>,
    observer: Shared,
}

impl World {
    /// Builds it.
    pub fn build(office: Office, name: &str, seed: u64, pcap: Option<&Path>) -> Result<Self, String> {
        office.validate()?;
        let config = office.gateway_config()?;
        let mut rng = StdRng::seed_from_u64(seed);
        let cable_seed = rng.random();
        let capture = pcap.map(|path| begin_capture(path, &office)).transpose()?;
        let checkers = checkers::for_config(&config, office.bits_flip());
        let observer: Shared = Rc::new(RefCell::new(Observer::new(checkers, capture)));
        let mut sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .min_message_latency(TICK)
            .max_message_latency(TICK)
            .udp_capacity(QUEUE_FRAMES_MAX)
            .simulation_duration(Duration::MAX)
            .rng_seed(rng.random())
            .build();
        let [gateway_ip, office_ip, provider_ip] = [GATEWAY, OFFICE, PROVIDER].map(|host| sim.lookup(host));

        let sockets = sockets(&office, cable_seed);
        let disk = Rc::new(SimDisk::default());
        let skew = Rc::new(Cell::new(Duration::ZERO));
        let setup = Setup {
            config,
            sockets: sockets.clone(),
            others: vec![office_ip, provider_ip],
            disk: Rc::clone(&disk) as _,
            skew: Rc::clone(&skew),
            rng: Rc::new(RefCell::new(StdRng::from_rng(&mut rng))),
            observer: Rc::clone(&observer),
        };
        sim.host(GATEWAY, move || gateway_host::run(setup.clone()));

        let (office_rack, pcs) = mount_pcs(&office, cable_seed, &mut rng);
        let spoofer = Rc::new(RefCell::new(Spoofer::default()));
        let nic = Nic::new(&office.link_of("spoofer", "spoofer"), cable_seed, "spoofer");
        office_rack.borrow_mut().mount(
            "spoofer",
            Rc::clone(&spoofer) as _,
            nic,
            lan_segment(0),
            Instant::ZERO,
        );
        let lan = (0..office.lan_ports).map(lan_segment).collect();
        start_rack(&mut sim, OFFICE, &office_rack, lan, gateway_ip, &observer);
        let (provider_rack, internet, attacker, visitor) = mount_provider(&office, cable_seed, &mut rng);
        start_rack(&mut sim, PROVIDER, &provider_rack, vec![wan_segment(&office)], gateway_ip, &observer);
        let name = name.to_owned();
        Ok(Self {
            sim,
            office,
            name,
            seed,
            sockets,
            office_rack,
            provider_rack,
            pcs,
            internet,
            attacker,
            spoofer,
            visitor,
            disk,
            skew,
            observer,
        })
    }

    /// Lets its time pass.
    pub fn run(mut self) -> Result<Outcome, String> {
        let mut actions = self.office.actions.clone();
        actions.sort_by_key(|(time, _)| *time);
        let mut actions = actions.into_iter().peekable();
        let mut breakdown = None;
        while self.sim.elapsed() < self.office.lasting {
            while let Some((_, action)) = actions.next_if(|(time, _)| *time <= self.sim.elapsed()) {
                self.act(&action);
            }
            if let Err(error) = self.sim.step() {
                breakdown = Some(error.to_string());
                break;
            }
        }
        let account = self.account();
        let checked = self.office.expectations.iter().map(|(what, check)| (what.clone(), check(&account)));
        let expectations = checked.collect();
        let mut observer = self.observer.borrow_mut();
        observer.finish().map_err(|error| format!("the capture cannot be written: {error}"))?;
        Ok(Outcome {
            scenario: self.name,
            seed: self.seed,
            options: self.office.describe(),
            simulated: self.sim.elapsed(),
            frames: observer.frames(),
            trace_hash: observer.trace_hash(),
            promises: observer.promises(),
            violations: observer.violations().to_vec(),
            expectations,
            breakdown,
            account,
        })
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Replug { machine, port } => {
                let port = self.office.lan_port(port).expect("validated");
                self.office_rack.borrow_mut().replug(machine, lan_segment(port));
            }
            Action::Sleep(machine) => self.office_rack.borrow_mut().set_asleep(machine, true),
            Action::Wake(machine) => self.office_rack.borrow_mut().set_asleep(machine, false),
            Action::Link { name, link } => self.set_link(name, link),
            Action::Calm => self.calm(),
            Action::PowerCut => self.cut_power(),
            Action::PowerBack => self.sim.bounce(GATEWAY),
            Action::Renumber(network) => self.renumber(*network),
            Action::DhcpSilent(is_silent) => self.internet.borrow_mut().set_dhcp_silent(*is_silent),
            Action::Dns(mood) => self.internet.borrow_mut().set_dns_mood(*mood),
            Action::Attack(shots) => self.attack(shots),
            Action::Spoof(tricks) => {
                self.spoofer.borrow_mut().play(tricks.iter().copied());
                self.office_rack.borrow().wake();
            }
            Action::ClockJumps(by) => self.skew.set(self.skew.get() + *by),
            Action::DiskFull(is_full) => self.disk.set_full(*is_full),
        }
    }

    fn renumber(&mut self, network: Ipv4Net) {
        self.internet.borrow_mut().renumber(network);
        let [visitor, office] = [VISITOR_HOST, LEASED_HOST].map(|host| host_of(network, host));
        self.visitor.borrow_mut().move_to(visitor, office.addr());
    }

    fn cut_power(&mut self) {
        self.sim.crash(GATEWAY);
        for socket in &self.sockets {
            socket.nic.borrow_mut().clear();
        }
    }

    fn attack(&mut self, shots: &[Shot]) {
        let victim = match self.office.wan {
            WanBy::Dhcp => self.internet.borrow().customer(),
            WanBy::Fixed => Some(self.office.fixed_address()),
        };
        if let Some(victim) = victim {
            self.attacker.borrow_mut().attack(victim, shots.iter().copied());
            self.provider_rack.borrow().wake();
        }
    }

    fn set_link(&mut self, name: &str, link: &Link) {
        for socket in &self.sockets {
            if socket.name == name || (name == "lan" && socket.side == Segment::Lan) {
                socket.nic.borrow_mut().set_link(link);
            }
        }
        for rack in [&self.office_rack, &self.provider_rack] {
            rack.borrow_mut().set_link(name, link);
        }
        if name == "pcs" {
            self.office_rack.borrow_mut().set_all_links(link);
        }
    }

    fn calm(&mut self) {
        let link = perfect();
        for socket in &self.sockets {
            socket.nic.borrow_mut().set_link(&link);
        }
        self.office_rack.borrow_mut().set_all_links(&link);
        self.provider_rack.borrow_mut().set_all_links(&link);
        self.spoofer.borrow_mut().stop();
        let mut internet = self.internet.borrow_mut();
        internet.set_dns_mood(DnsMood::Truthful);
        internet.set_dhcp_silent(false);
        self.disk.set_full(false);
    }

    fn account(&self) -> Account {
        let account = |pc: &Rc<RefCell<Pc>>| {
            let pc = pc.borrow();
            PcAccount { name: pc.name().to_owned(), diary: pc.diary().clone() }
        };
        let attacker = self.attacker.borrow();
        let visitor = self.visitor.borrow();
        let visits = visitor.visits().iter().map(|visits| VisitAccount {
            pages: visits.pages,
            failed: visits.failed,
            last_page_at: visits.last_page_at,
        });
        Account {
            pcs: self.pcs.iter().map(account).collect(),
            customer: self.internet.borrow().customer(),
            visits: visits.collect(),
            fired: attacker.fired(),
            tricks: self.spoofer.borrow().played(),
            attack_answers: attacker.answers(),
            open_ports: attacker.open_ports().to_vec(),
        }
    }
}

fn lan_segment(port: usize) -> SegmentId {
    SegmentId(u8::try_from(port).expect("validated"))
}

fn wan_segment(office: &Office) -> SegmentId {
    lan_segment(office.lan_ports)
}

fn sockets(office: &Office, cable_seed: u64) -> Vec<Socket> {
    let socket = |name: String, group: &str, side, segment| {
        let nic = Nic::new(&office.link_of(&name, group), cable_seed, &name);
        Socket { name, side, segment, nic: Rc::new(RefCell::new(nic)) }
    };
    let lan = (0..office.lan_ports)
        .map(|port| socket(format!("lan{port}"), "lan", Segment::Lan, lan_segment(port)));
    lan.chain([socket("wan".to_owned(), "wan", Segment::Wan, wan_segment(office))]).collect()
}

fn mount_pcs(
    office: &Office,
    cable_seed: u64,
    rng: &mut StdRng,
) -> (Rc<RefCell<Rack>>, Vec<Rc<RefCell<Pc>>>) {
    let mut rack = Rack::new();
    let mut pcs = Vec::new();
    for number in 0..office.pcs {
        let habits = Habits {
            visit_every: office.visit_every,
            chats_every: (number < office.chatting).then_some(office.chatting_every),
            asks: number < office.asking,
            knows_printer: office.has_printer(),
            serves: office.is_server(number),
            visits_own: office.own_server_for(number),
        };
        let pc = Pc::new(number, office.pcs, habits, rng.random());
        let name = pc.name();
        let pc = Rc::new(RefCell::new(pc));
        let micros = u64::try_from(office.arriving_within.as_micros()).unwrap_or(u64::MAX);
        let on_at = Instant::from_micros(rng.random_range(0..=micros));
        let nic = Nic::new(&office.link_of(name, "pcs"), cable_seed, name);
        rack.mount(name, Rc::clone(&pc) as _, nic, lan_segment(number % office.lan_ports), on_at);
        pcs.push(pc);
    }
    (Rc::new(RefCell::new(rack)), pcs)
}

type Provider = (Rc<RefCell<Rack>>, Rc<RefCell<Internet>>, Rc<RefCell<Attacker>>, Rc<RefCell<Visitor>>);

fn mount_provider(office: &Office, cable_seed: u64, rng: &mut StdRng) -> Provider {
    let mut rack = Rack::new();
    let mut internet = Internet::new(office.isp_network, office.isp_lease_secs, rng.random());
    if office.mode == "router" {
        internet.route_back_to_customer((office.wan == WanBy::Fixed).then(|| office.fixed_address()));
    }
    let internet = Rc::new(RefCell::new(internet));
    let attacker = Rc::new(RefCell::new(Attacker::new(office.isp_host(ATTACKER_HOST))));
    let address = host_of(office.isp_network, VISITOR_HOST);
    let visitor = Visitor::new(address, office.wan_address(), &office.server_ports(), rng.random());
    let visitor = Rc::new(RefCell::new(visitor));
    let nic = |name| Nic::new(&office.link_of(name, name), cable_seed, name);
    let segment = wan_segment(office);
    rack.mount("internet", Rc::clone(&internet) as _, nic("internet"), segment, Instant::ZERO);
    rack.mount("attacker", Rc::clone(&attacker) as _, nic("attacker"), segment, Instant::ZERO);
    rack.mount("visitor", Rc::clone(&visitor) as _, nic("visitor"), segment, Instant::ZERO);
    (Rc::new(RefCell::new(rack)), internet, attacker, visitor)
}

/// A host of a network, with its prefix.
fn host_of(network: Ipv4Net, number: u32) -> Ipv4Net {
    let address = Ipv4Addr::from_bits(network.network().to_bits() + number);
    Ipv4Net::new(address, network.prefix_len()).expect("a network's own prefix")
}

fn start_rack(
    sim: &mut turmoil::Sim<'static>,
    host: &str,
    rack: &Rc<RefCell<Rack>>,
    segments: Vec<SegmentId>,
    gateway: IpAddr,
    observer: &Shared,
) {
    let (rack, observer) = (Rc::clone(rack), Rc::clone(observer));
    sim.host(host, move || {
        rack::run(Rc::clone(&rack), segments.clone(), vec![gateway], Rc::clone(&observer))
    });
}

fn begin_capture(path: &Path, office: &Office) -> Result<Capture, String> {
    let failed = |error| format!("the capture {} cannot be written: {error}", path.display());
    let file = File::create(path).map_err(failed)?;
    let names: Vec<_> =
        (0..office.lan_ports).map(|port| format!("lan{port}")).chain(["wan".to_owned()]).collect();
    PcapNg::begin(Box::new(BufWriter::new(file)) as _, names.iter().map(String::as_str)).map_err(failed)
}
