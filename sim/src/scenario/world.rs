//! Puts a world together on turmoil, and lets its time pass.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost_ground::Instant;
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::action::Action;
use super::office::{LEASED_HOST, Office, WanBy};
use super::outcome::{Account, Outcome, PcAccount, VisitAccount};
use super::progress::{Progress, Watch};
use crate::checkers::nothing_forged::NothingForged;
use crate::checkers::{self, Side};
use crate::machine::attacker::{Attacker, Shot};
use crate::machine::internet::{
    CHAT_ADDRESS, Internet, ProviderMood, RESOLVER_ADDRESSES, SharedTree, Tree, WEB_ADDRESSES,
};
use crate::machine::pc::{Habits, Pc, mac_of};
use crate::machine::spoofer::Spoofer;
use crate::machine::visitor::Visitor;
use crate::world::capture::Capture;
use crate::world::config_file::ConfigFile;
use crate::world::disk::{DiskMood, SimDisk};
use crate::world::gateway_host::{self, Setup, Socket};
use crate::world::link::{Link, Nic, perfect};
use crate::world::observer::{Observer, Shared};
use crate::world::panics::PanicWatch;
use crate::world::rack::{self, Rack};
use crate::world::segment::{QUEUE_FRAMES_MAX, SegmentId};

const GATEWAY: &str = "gateway";
const OFFICE: &str = "office";
const PROVIDER: &str = "provider";
/// The provider's host number in its network.
const PROVIDER_HOST: u32 = 1;
/// The attacker's host number in the provider's network.
const ATTACKER_HOST: u32 = 66;
/// The visitor's.
const VISITOR_HOST: u32 = 77;

/// Who is there besides PCs: the gateway, the spoofer, the internet, the attacker and the visitor.
const OTHER_HOSTS: usize = 5;
/// How often who watches is told how far it is.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

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
    tree: SharedTree,
    disk: Rc<SimDisk>,
    /// Whether the gateway has power.
    power: Rc<Cell<bool>>,
    /// Whether the gateway's host has crashed.
    has_crashed: bool,
    skew: Rc<Cell<i64>>,
    file: Rc<ConfigFile>,
    panics: Arc<AtomicBool>,
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
        let tree: SharedTree = Rc::new(RefCell::new(Tree::new()));
        let wrong_time = office.starts_at_a_wrong_time();
        let mut checkers = checkers::for_config(&config, &tree, office.bits_flip(), wrong_time);
        checkers.push(Box::new(NothingForged));
        let observer: Shared = Rc::new(RefCell::new(Observer::new(checkers, capture)));
        observer.borrow_mut().on_names(names_of(&office));
        let mut sim = turmoil::Builder::new()
            .tick_duration(office.tick)
            .min_message_latency(office.tick)
            .max_message_latency(office.tick)
            .udp_capacity(QUEUE_FRAMES_MAX)
            .simulation_duration(Duration::MAX)
            .rng_seed(rng.random())
            .build();
        let [gateway_ip, office_ip, provider_ip] = [GATEWAY, OFFICE, PROVIDER].map(|host| sim.lookup(host));

        let sockets = sockets(&office, cable_seed);
        let power = Rc::new(Cell::new(true));
        let disk = Rc::new(SimDisk::new(Rc::clone(&power), StdRng::from_rng(&mut rng)));
        let skew = Rc::new(Cell::new(0));
        let panics = Arc::new(AtomicBool::new(false));
        let file = Rc::new(ConfigFile::new(config));
        let setup = Setup {
            file: Rc::clone(&file),
            sockets: sockets.clone(),
            others: vec![office_ip, provider_ip],
            disk: Rc::clone(&disk),
            power: Rc::clone(&power),
            skew: Rc::clone(&skew),
            rng: Rc::new(RefCell::new(StdRng::from_rng(&mut rng))),
            panics: Arc::clone(&panics),
            observer: Rc::clone(&observer),
        };
        sim.host(GATEWAY, move || gateway_host::run(setup.clone()));

        let (office_rack, pcs) = mount_pcs(&office, cable_seed, &mut rng)?;
        let spoofer = Rc::new(RefCell::new(Spoofer::new(office.gateway_address())));
        let nic = Nic::new(&office.link_of("spoofer", "spoofer"), cable_seed, "spoofer");
        let segment = lan_segment(0);
        office_rack.borrow_mut().mount("spoofer", Rc::clone(&spoofer) as _, nic, segment, Instant::ZERO)?;
        let lan = (0..office.lan_ports).map(lan_segment).collect();
        start_rack(&mut sim, OFFICE, &office_rack, lan, gateway_ip, &observer);
        let (provider_rack, internet, attacker, visitor) =
            mount_provider(&office, &tree, cable_seed, &mut rng)?;
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
            tree,
            disk,
            power,
            has_crashed: false,
            skew,
            file,
            panics,
            observer,
        })
    }

    /// Lets its time pass.
    pub fn run(mut self, watch: Watch<'_>) -> Result<Outcome, String> {
        let actions: Vec<_> = self.office.actions_in_order().into_iter().cloned().collect();
        let events_all = actions.len();
        let mut actions = actions.into_iter().peekable();
        let panics = PanicWatch::begin();
        let (mut breakdown, mut is_cut_short) = (None, false);
        let mut watched_at = WATCH_INTERVAL;
        while self.sim.elapsed() < self.office.lasting {
            let stepped = panic::catch_unwind(AssertUnwindSafe(|| {
                while let Some((_, action, _)) = actions.next_if(|(time, ..)| *time <= self.sim.elapsed()) {
                    self.act(&action);
                }
                self.sim.step()
            }));
            let failed = match stepped {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("a panic".to_owned()),
            };
            breakdown = panics.first().or(failed);
            if breakdown.is_some() {
                break;
            }
            if !self.power.get() && !self.has_crashed {
                self.cut_power();
            }
            if self.sim.elapsed() >= watched_at {
                watched_at += WATCH_INTERVAL;
                is_cut_short = watch(&self.progress(events_all - actions.len())).is_break();
                if is_cut_short {
                    break;
                }
            }
        }
        let account = self.account();
        let expected = self.office.expectations.iter().filter(|_| !is_cut_short);
        let expectations = expected.map(|(what, check)| (what.clone(), check(&account))).collect();
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
            is_cut_short,
            account,
        })
    }

    fn progress(&self, events: usize) -> Progress {
        Progress {
            simulated: self.sim.elapsed(),
            lasting: self.office.lasting,
            hosts: self.pcs.len() + OTHER_HOSTS,
            frames: self.observer.borrow().frames(),
            events,
        }
    }

    fn act(&mut self, action: &Action) {
        self.observer.borrow_mut().on_event(action);
        match action {
            Action::Replug { machine, port } => {
                let port = self.office.lan_port(port).expect("validated");
                self.office_rack.borrow_mut().replug(machine, lan_segment(port));
            }
            Action::Sleep(machine) => self.office_rack.borrow_mut().set_asleep(machine, true),
            Action::Wake(machine) => self.office_rack.borrow_mut().set_asleep(machine, false),
            Action::Link { name, link } => self.set_link(name, link),
            Action::Partition(names) => {
                self.office_rack.borrow_mut().set_apart(names, apart_segment(&self.office));
            }
            Action::Reunite => self.office_rack.borrow_mut().reunite(),
            Action::Calm => self.calm(),
            Action::PowerCut => self.cut_power(),
            Action::PowerCutWhileWriting(nth) => self.disk.cut_power_while_writing(*nth),
            Action::PowerBack => self.restore_power(),
            Action::Renumber(network) => self.renumber(network.parse().expect("validated")),
            Action::Provider(mood) => self.set_provider(*mood),
            Action::DhcpSilent(is_silent) => self.internet.borrow_mut().set_dhcp_silent(*is_silent),
            Action::Dns { servers, mood } => self.internet.borrow_mut().set_dns_mood(servers, *mood),
            Action::NameMoves(name) => {
                let now = Instant::ZERO + self.sim.elapsed();
                self.tree.borrow_mut().move_name(now, name);
            }
            Action::Attack(shots) => self.attack(shots),
            Action::Spoof(tricks) => {
                self.spoofer.borrow_mut().play(tricks.iter().copied());
                self.office_rack.borrow().wake();
            }
            Action::Frame { machine, frame } => {
                let now = Instant::ZERO + self.sim.elapsed();
                for rack in [&self.office_rack, &self.provider_rack] {
                    rack.borrow_mut().send(now, machine, frame);
                }
            }
            Action::ClockJumps(secs) => self.skew.set(self.skew.get().saturating_add(*secs)),
            Action::Disk(mood) => self.disk.set_mood(*mood),
            Action::Reload(rules) => self.file.change(self.office.config_with(rules).expect("validated")),
            Action::ReloadRefused => self.file.offer_what_needs_a_restart(),
            Action::Panic => self.panics.store(true, Ordering::Relaxed),
        }
    }

    fn renumber(&mut self, network: Ipv4Net) {
        self.internet.borrow_mut().renumber(network);
        let [visitor, office] = [VISITOR_HOST, LEASED_HOST].map(|host| host_of(network, host));
        self.visitor.borrow_mut().move_to(visitor, office.addr());
        self.observer
            .borrow_mut()
            .on_names(names_on_wan(office.addr(), |host| host_of(network, host).addr()));
    }

    fn cut_power(&mut self) {
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
        self.power.set(true);
        self.has_crashed = false;
        self.sim.bounce(GATEWAY);
    }

    fn set_provider(&self, mood: ProviderMood) {
        self.internet.borrow_mut().set_mood(mood);
        self.provider_rack.borrow().wake();
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
        let link = &self.office.fitted(name, link.clone());
        for socket in &self.sockets {
            if socket.name == name || (name == "lan" && socket.side == Side::Lan) {
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
        for socket in &self.sockets {
            socket.nic.borrow_mut().set_link(&self.office.fitted(&socket.name, perfect()));
        }
        self.office_rack.borrow_mut().set_all_links(&perfect());
        self.office_rack.borrow_mut().reunite();
        self.spoofer.borrow_mut().stop();
        for name in ["internet", "attacker", "visitor"] {
            self.provider_rack.borrow_mut().set_link(name, &self.office.fitted(name, perfect()));
        }
        self.set_provider(ProviderMood::Up);
        let mut internet = self.internet.borrow_mut();
        internet.calm_dns();
        internet.set_dhcp_silent(false);
        self.disk.set_mood(DiskMood::Sound);
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

/// Where PCs are whose switch has lost its uplink.
fn apart_segment(office: &Office) -> SegmentId {
    lan_segment(office.lan_ports + 1)
}

fn sockets(office: &Office, cable_seed: u64) -> Vec<Socket> {
    let socket = |name: String, group: &str, side, segment| {
        let nic = Nic::new(&office.link_of(&name, group), cable_seed, &name);
        let has_super_frames = office.super_frames;
        Socket { name, side, segment, nic: Rc::new(RefCell::new(nic)), has_super_frames }
    };
    let lan =
        (0..office.lan_ports).map(|port| socket(format!("lan{port}"), "lan", Side::Lan, lan_segment(port)));
    let wan = office.has_wan().then(|| socket("wan".to_owned(), "wan", Side::Wan, wan_segment(office)));
    lan.chain(wan).collect()
}

type Pcs = (Rc<RefCell<Rack>>, Vec<Rc<RefCell<Pc>>>);

fn mount_pcs(office: &Office, cable_seed: u64, rng: &mut StdRng) -> Result<Pcs, String> {
    let mut rack = Rack::new(office.tick);
    let mut pcs = Vec::new();
    for number in 0..office.pcs {
        let habits = Habits {
            visit_every: office.visit_every,
            page_octets: office.page_octets,
            chats_every: (number < office.chatting).then_some(office.chatting_every),
            has_internet: office.has_wan(),
            asks: number < office.asking,
            asks_by_tcp: number < office.asking_by_tcp,
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
        rack.mount(name, Rc::clone(&pc) as _, nic, lan_segment(number % office.lan_ports), on_at)?;
        pcs.push(pc);
    }
    Ok((Rc::new(RefCell::new(rack)), pcs))
}

type Provider = (Rc<RefCell<Rack>>, Rc<RefCell<Internet>>, Rc<RefCell<Attacker>>, Rc<RefCell<Visitor>>);

fn mount_provider(
    office: &Office,
    tree: &SharedTree,
    cable_seed: u64,
    rng: &mut StdRng,
) -> Result<Provider, String> {
    let mut rack = Rack::new(office.tick);
    let tree = Rc::clone(tree);
    let mut internet = Internet::new(office.isp_network, office.isp_lease_secs, tree, rng.random());
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
    rack.mount("internet", Rc::clone(&internet) as _, nic("internet"), segment, Instant::ZERO)?;
    rack.mount("attacker", Rc::clone(&attacker) as _, nic("attacker"), segment, Instant::ZERO)?;
    rack.mount("visitor", Rc::clone(&visitor) as _, nic("visitor"), segment, Instant::ZERO)?;
    Ok((Rc::new(RefCell::new(rack)), internet, attacker, visitor))
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
    let names: Vec<_> = (0..office.lan_ports)
        .map(|port| format!("lan{port}"))
        .chain(["wan", "apart"].map(str::to_owned))
        .collect();
    let machines = (0..office.pcs).map(|pc| (mac_of(pc), format!("pc-{pc}")));
    Capture::begin(Box::new(BufWriter::new(file)), &names, machines).map_err(failed)
}

/// Who has an address in the beginning.
fn names_of(office: &Office) -> impl Iterator<Item = (Ipv4Addr, String)> {
    let numbered = |name: &str, addresses: &[Ipv4Addr]| {
        let named = (0..).zip(addresses).map(|(number, address)| (*address, format!("{name}-{number}")));
        named.collect::<Vec<_>>()
    };
    let gateway = [(office.gateway_address(), GATEWAY.to_owned())];
    let chat = [(CHAT_ADDRESS, "chat".to_owned())];
    let servers =
        numbered("resolver", &RESOLVER_ADDRESSES).into_iter().chain(numbered("web", &WEB_ADDRESSES));
    let wan = names_on_wan(office.wan_address(), |host| office.isp_host(host));
    gateway.into_iter().chain(chat).chain(servers).chain(wan)
}

/// Who has an address on the WAN, where the gateway has `gateway`.
fn names_on_wan(gateway: Ipv4Addr, host: impl Fn(u32) -> Ipv4Addr) -> [(Ipv4Addr, String); 4] {
    [
        (gateway, "gateway-wan".to_owned()),
        (host(PROVIDER_HOST), PROVIDER.to_owned()),
        (host(ATTACKER_HOST), "attacker".to_owned()),
        (host(VISITOR_HOST), "visitor".to_owned()),
    ]
}
