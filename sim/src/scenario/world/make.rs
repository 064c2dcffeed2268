//! Makes the machines of an office's list.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use gatepost_ground::Instant;
use rand::RngExt;
use rand::rngs::StdRng;

use super::machines::Machines;
use super::names::host_of;
use crate::machine::Machine;
use crate::machine::attacker::Attacker;
use crate::machine::internet::{DhcpTerms, Internet, SharedTree};
use crate::machine::pc::{Habits, Pc};
use crate::machine::spoofer::Spoofer;
use crate::machine::visitor::Visitor;
use crate::mistake::Mistake;
use crate::scenario::members::{INTERNET, Member, Role};
use crate::scenario::office::{ATTACKER_HOST, Office, VISITOR_HOST, WanBy};
use crate::scenario::own::OwnServer;

/// Makes and mounts all machines, with seeds of `rng`.
///
/// # Errors
///
/// Two machines have one name, one MAC address, or one address and port.
pub(super) fn machines(
    office: &Office,
    tree: &SharedTree,
    cable_seed: u64,
    rng: &mut StdRng,
) -> Result<Machines, String> {
    let mut machines = Machines::new(office.tick);
    for member in office.members() {
        let machine = machine(office, &member, tree, rng);
        let on_at = match member.role {
            Role::Pc(_) => arrival(office, rng),
            _ => Instant::ZERO,
        };
        let line = match member.role {
            Role::Own(number) => Some(office.own_machines[number].line),
            _ => None,
        };
        let mounted = machines.mount(office, cable_seed, member, machine, on_at);
        mounted.map_err(|what| line.map_or_else(|| what.clone(), |line| Mistake::at(line, &what).into()))?;
    }
    for OwnServer { name, site, make, line } in &office.own_servers {
        let server = make(rng.random());
        let added = machines.tell(INTERNET, |it: &mut Internet| it.add_server(name, site.clone(), server));
        added.expect("every world has an internet").map_err(|what| Mistake::at(line, what))?;
    }
    Ok(machines)
}

fn machine(
    office: &Office,
    member: &Member,
    tree: &SharedTree,
    rng: &mut StdRng,
) -> Rc<RefCell<dyn Machine>> {
    match member.role {
        Role::Pc(number) => shared(Pc::new(number, office.pcs, habits(office, number), rng.random())),
        Role::Spoofer => shared(Spoofer::new(office.gateway_address())),
        Role::Internet => shared(internet(office, tree, rng)),
        Role::Attacker => shared(Attacker::new(office.isp_host(ATTACKER_HOST))),
        Role::Own(number) => {
            let identity = office.identity(number, rng.random());
            (office.own_machines[number].make)(&identity)
        }
        Role::Visitor => {
            let address = host_of(office.isp_network, VISITOR_HOST);
            shared(Visitor::new(address, office.wan_address(), &office.server_ports(), rng.random()))
        }
    }
}

fn shared(machine: impl Machine) -> Rc<RefCell<dyn Machine>> {
    Rc::new(RefCell::new(machine))
}

fn internet(office: &Office, tree: &SharedTree, rng: &mut StdRng) -> Internet {
    let tree = Rc::clone(tree);
    let terms = DhcpTerms { times_secs: office.isp_times_secs, ..DhcpTerms::new(office.isp_lease_secs) };
    let mut internet = Internet::new(office.isp_network, terms, tree, rng.random());
    if office.mode == "router" {
        internet.route_back_to_customer((office.wan == WanBy::Fixed).then(|| office.fixed_address()));
    }
    internet
}

/// The interval at which a PC asks for the time, and that of a PC in a hurry.
const TIME_EVERY: Duration = Duration::from_secs(10);
const TIME_EVERY_IN_A_HURRY: Duration = Duration::from_millis(50);

/// The habits of the PC with this number.
fn habits(office: &Office, number: usize) -> Habits {
    Habits {
        visit_every: office.visit_every,
        page_octets: office.page_octets,
        chats_every: (number < office.chatting).then_some(office.chatting_every),
        has_internet: office.has_wan(),
        asks: number < office.asking,
        asks_by_tcp: number < office.asking_by_tcp,
        asks_time_every: (number < office.asking_time).then_some(if number < office.in_a_hurry {
            TIME_EVERY_IN_A_HURRY
        } else {
            TIME_EVERY
        }),
        knows_printer: office.has_printer(),
        serves: office.is_server(number),
        visits_own: office.own_server_for(number),
    }
}

/// The time at which a PC is switched on.
fn arrival(office: &Office, rng: &mut StdRng) -> Instant {
    let micros = u64::try_from(office.arriving_within.as_micros()).unwrap_or(u64::MAX);
    Instant::from_micros(rng.random_range(0..=micros))
}
