//! Builds a world on turmoil, and runs it.

mod act;
mod machines;
mod make;
mod names;
mod segments;

use std::cell::RefCell;
use std::fs::File;
use std::io::BufWriter;
use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gatepost_ground::Instant;
use gatepost_services::dhcp::server::leases::JOURNAL_FILE;
use gatepost_services::mail::store::SEGMENTS;
use gatepost_services::tls::authority::Names;
use gatepost_services::tls::keeper::{OWN_FILE, authority_in};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::machines::Machines;
use self::segments::{lan_segment, wan_segment};
use super::action::Action;
use super::browsing::Browsing;
use super::gateway_config::own_mac;
use super::mail::{LOGINS, Mail, set_passwords};
use super::members::{INTERNET, Role};
use super::office::Office;
use super::outcome::Outcome;
use super::own::OwnChecker;
use super::progress::{Progress, Watch};
use crate::checkers::leases_durable::LeasesDurable;
use crate::checkers::mail_balance::MailBalance;
use crate::checkers::mail_kept::MailKept;
use crate::checkers::nothing_forged::NothingForged;
use crate::checkers::syncs_before_promises::{SyncsBeforePromises, Writes};
use crate::checkers::time_told::TimeTold;
use crate::checkers::{self, Side};
use crate::machine::internet::{Internet, SharedTree, Tree};
use crate::machine::pc::mac_of;
use crate::mistake::Mistake;
use crate::world::capture::Capture;
use crate::world::clock::{TimeOfDay, time_of_day};
use crate::world::config_file::ConfigFile;
use crate::world::disk::SimDisk;
use crate::world::gateway_host::{self, Setup, Socket};
use crate::world::mail_store;
use crate::world::observer::{Observer, Shared};
use crate::world::panics::PanicWatch;
use crate::world::pinholes::PinholeWishes;
use crate::world::pipe::Nic;
use crate::world::power::Power;
use crate::world::rack::{self, Rack};
use crate::world::rot::Rot;
use crate::world::segment::{QUEUE_FRAMES_MAX, SegmentId};

const GATEWAY: &str = "gateway";
const OFFICE: &str = "office";
const PROVIDER: &str = "provider";
/// The interval at which the watcher gets the progress, and machines outside get the office's address.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A world before its first tick.
pub struct World {
    sim: turmoil::Sim<'static>,
    office: Office,
    name: String,
    seed: u64,
    sockets: Vec<Socket>,
    machines: Machines,
    tree: SharedTree,
    disk: Arc<SimDisk>,
    rot: Rot,
    /// Whether the gateway has power.
    power: Power,
    /// Whether the gateway's host has crashed.
    has_crashed: bool,
    time_of_day: Rc<TimeOfDay>,
    file: Rc<ConfigFile>,
    pinholes: Rc<PinholeWishes>,
    panics: Arc<AtomicBool>,
    observer: Shared,
}

impl World {
    /// Builds the world.
    pub fn build(office: Office, name: &str, seed: u64, pcap: Option<&Path>) -> Result<Self, String> {
        office.validate()?;
        let config = office.gateway_config()?;
        let mut rng = StdRng::seed_from_u64(seed);
        let cable_seed = rng.random();
        let capture = pcap.map(|path| begin_capture(path, &office)).transpose()?;
        let tree: SharedTree = Rc::new(RefCell::new(Tree::new()));
        let wrong_time = office.starts_at_a_wrong_time();
        let mut checkers = checkers::for_config(&config, &tree, office.bits_flip(), wrong_time);
        checkers.push(Box::new(NothingForged::default()));
        let power = Power::on();
        let disk = Arc::new(SimDisk::new(power.clone(), StdRng::from_rng(&mut rng)));
        let clock = Rc::new(TimeOfDay::default());
        checkers.push(Box::new(TimeTold::new(&config, Rc::clone(&clock))));
        let journal = Arc::clone(&disk);
        checkers.push(Box::new(LeasesDurable::new(move || journal.durable(JOURNAL_FILE))));
        let [begun, durable] = [Arc::clone(&disk), Arc::clone(&disk)];
        let writes = Writes {
            begun: Box::new(move || begun.writes()),
            durable: Box::new(move |files| durable.last_durable(files)),
        };
        checkers.push(Box::new(SyncsBeforePromises::new(writes, JOURNAL_FILE, SEGMENTS)));
        let authorities = [
            office.mail.as_ref().map(|mail| &mail.authority),
            office.browsing.as_ref().map(|browsing| &browsing.authority),
        ];
        for authority in authorities.into_iter().flatten() {
            let names = Names::new(&config.system.hostname, &config.system.domain, []);
            let kept = Arc::clone(&disk);
            authority.issued_by(move |now| {
                let content = kept.durable(OWN_FILE);
                authority_in(&content, &names, time_of_day(now)).ok().flatten()
            });
        }
        if office.browsing.is_some() {
            let (users, password) = Browsing::logins();
            set_passwords(&*disk, seed, (&users, password))?;
        }
        if let Some(Mail { post, .. }) = &office.mail {
            set_passwords(&*disk, seed, LOGINS)?;
            let read = || {
                let (power, disk) = (power.clone(), Arc::clone(&disk));
                move || if power.is_on() { mail_store::read(&disk).map(Some) } else { Ok(None) }
            };
            checkers.push(Box::new(MailKept::new(Rc::clone(post), read())));
            checkers.push(Box::new(MailBalance::new(Rc::clone(post), read())));
        }
        for OwnChecker { make, line } in &office.own_checkers {
            let checker = make(&config);
            let name = checker.name();
            if checkers.iter().any(|other| other.name() == name) {
                return Err(Mistake::at(line, format!("there is a checker {name:?} already")).into());
            }
            checkers.push(checker);
        }
        let observer: Shared = Rc::new(RefCell::new(Observer::new(checkers, capture)));
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
        let panics = Arc::new(AtomicBool::new(false));
        let file = Rc::new(ConfigFile::new(config));
        if let Some(desk) = &office.desk {
            desk.write(office.gateway_text()?);
        }
        let pinholes = Rc::new(PinholeWishes::default());
        let setup = Setup {
            file: Rc::clone(&file),
            sockets: sockets.clone(),
            others: vec![office_ip, provider_ip],
            disk: Arc::clone(&disk),
            power: power.clone(),
            pinholes: Rc::clone(&pinholes),
            desk: office.desk.clone(),
            time_of_day: Rc::clone(&clock),
            rng: Rc::new(RefCell::new(StdRng::from_rng(&mut rng))),
            panics: Arc::clone(&panics),
            observer: Rc::clone(&observer),
        };
        sim.host(GATEWAY, move || gateway_host::run(setup.clone()));

        let machines = make::machines(&office, &tree, cable_seed, &mut rng)?;
        for (_, action, line) in &office.actions {
            if let Action::Act(act) = action {
                let mistake = machines.tell_any(&act.name, |found| act.mistake(Some(found)));
                if let Some(what) = mistake.unwrap_or_else(|| act.mistake(None)) {
                    return Err(Mistake::at(line, what).into());
                }
            }
        }
        let hosts = machines.tell(INTERNET, |it: &mut Internet| names::in_the_beginning(&office, it));
        observer.borrow_mut().on_names(hosts.into_iter().flatten());
        let lan = (0..office.lan_ports).map(lan_segment).collect();
        start_rack(&mut sim, OFFICE, &machines.lan, lan, gateway_ip, &observer);
        start_rack(&mut sim, PROVIDER, &machines.wan, vec![wan_segment(&office)], gateway_ip, &observer);
        let name = name.to_owned();
        Ok(Self {
            sim,
            office,
            name,
            seed,
            sockets,
            machines,
            tree,
            disk,
            rot: Rot::new(rng.random()),
            power,
            has_crashed: false,
            time_of_day: clock,
            file,
            pinholes,
            panics,
            observer,
        })
    }

    /// Runs the world.
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
            if !self.power.is_on() && !self.has_crashed {
                self.cut_power();
            }
            if self.sim.elapsed() >= watched_at {
                watched_at += WATCH_INTERVAL;
                if let Some(office) = self.customer() {
                    self.machines.tell_address(office);
                }
                is_cut_short = watch(&self.progress(events_all - actions.len())).is_break();
                if is_cut_short {
                    break;
                }
            }
        }
        let account = self.machines.account();
        if !is_cut_short && breakdown.is_none() {
            self.observer.borrow_mut().on_end(Instant::ZERO + self.sim.elapsed());
        }
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
            // The gateway is a host, too.
            hosts: self.machines.len() + 1,
            frames: self.observer.borrow().frames(),
            events,
        }
    }
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
    let machines = office.members().into_iter().filter_map(|member| match member.role {
        Role::Pc(number) => Some((mac_of(number), member.name)),
        Role::Own(number) => Some((own_mac(number), member.name)),
        _ => None,
    });
    Capture::begin(Box::new(BufWriter::new(file)), &segments::names(office), machines).map_err(failed)
}
