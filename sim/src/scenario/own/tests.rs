use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use gatepost_ground::MacAddr;
use ipnet::Ipv4Net;

use super::*;
use crate::checkers::{Passage, Side};
use crate::machine::Record;
use crate::machine::internet::Site;
use crate::machine::internet::server::Wire;
use crate::machine::stack::{SocketHandle, Stack};
use crate::scenario::{Office, act, calm, office, renumber};
use crate::world::link::cut;

const TIME: Duration = Duration::from_secs(5);
const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 99, 1);
const PORT: u16 = 7_000;

/// A machine that sends only what an action makes it send.
struct Speaker {
    stack: Stack,
    socket: SocketHandle,
    wanted: u8,
    record: Spoken,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spoken {
    polled_at: Vec<Instant>,
    answered_at: Vec<Instant>,
    was_calmed: bool,
    network: Option<Ipv4Net>,
}

impl Speaker {
    fn new(identity: &Identity) -> Self {
        let mut stack = Stack::of(identity, identity.seed);
        let socket = stack.bind_udp(PORT);
        Self { stack, socket, wanted: 0, record: Spoken::default() }
    }
}

impl Machine for Speaker {
    fn mac(&self) -> MacAddr {
        self.stack.mac()
    }

    fn handle_frame(&mut self, frame: Vec<u8>) {
        self.stack.handle_frame(frame);
    }

    fn poll(&mut self, now: Instant, transmit: &mut dyn FnMut(Vec<u8>)) {
        if self.wanted > 0 {
            self.record.polled_at.push(now);
        }
        for _ in 0..std::mem::take(&mut self.wanted) {
            self.stack.send_udp(self.socket, SocketAddrV4::new(HERE, PORT), b"word");
        }
        self.stack.poll(now);
        while self.stack.receive_udp(self.socket).is_some() {
            self.record.answered_at.push(now);
        }
        self.stack.drain(transmit);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn calm(&mut self) {
        self.record.was_calmed = true;
    }

    fn on_renumber(&mut self, network: Ipv4Net, _office: Ipv4Addr) {
        self.record.network = Some(network);
    }

    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.record.clone())
    }
}

/// An echo server that an action switches on.
#[derive(Default)]
struct Parrot {
    is_awake: bool,
    kept: Vec<crate::machine::internet::server::Datagram>,
    seed: u64,
}

impl Server for Parrot {
    fn poll(&mut self, _now: Instant, wire: &mut Wire<'_>) {
        while let Some(said) = wire.receive() {
            self.kept.push(said);
        }
        if self.is_awake {
            self.kept.drain(..).for_each(|said| wire.send(said.to, said.from, &said.payload));
        }
    }

    fn record(&self) -> Arc<dyn Record> {
        Arc::new(self.seed)
    }
}

fn quiet() -> Office {
    office()
        .pcs(1)
        .machine("speaker", "lan0", Speaker::new)
        .server("parrot", Site::at(HERE).udp(PORT), |seed| Parrot { seed, ..Parrot::default() })
        .lasting(3 * TIME)
}

fn speaking() -> Office {
    quiet().at(TIME, act("speaker", "speaks", |it: &mut Speaker, _| it.wanted = 3))
}

#[test]
fn what_is_done_to_a_machine_or_a_server_shows_at_once_through_nat() {
    let office = speaking()
        .at(2 * TIME, act("parrot", "wakes up", |it: &mut Parrot, _| it.is_awake = true))
        .at(3 * TIME, calm());
    let outcome = office.run("speaks", 1, None).expect("it can be built");
    assert!(outcome.passed(), "{outcome}");
    let spoken: &Spoken = outcome.account.record("speaker");
    assert_eq!(spoken.polled_at, [Instant::ZERO + TIME]);
    // At once, but for the ways of the frames.
    let woken_at = Instant::ZERO + 2 * TIME;
    let within = woken_at..woken_at + Duration::from_millis(10);
    assert!(
        spoken.answered_at.len() == 3 && spoken.answered_at.iter().all(|at| within.contains(at)),
        "{spoken:?}"
    );
    let options = &outcome.options;
    assert!(options.contains("speaker is plugged into lan0"), "{options}");
    assert!(options.contains("server parrot at 198.18.99.1, UDP 7000"), "{options}");
    assert!(options.contains("5.000 s: speaker speaks"), "{options}");
}

#[test]
fn a_machine_on_the_wan_has_the_internet_behind_the_providers_router_and_cables_of_own_machines_can_be_cut() {
    let speaks = |name| act(name, "speaks", |it: &mut Speaker, _| it.wanted = 3);
    let awake = |it: &mut Parrot, _| it.is_awake = true;
    let office = quiet()
        .machine("peer", "wan", Speaker::new)
        .link("speaker", cut())
        .at(Duration::ZERO, act("parrot", "wakes up", awake))
        .at(TIME, speaks("peer"))
        .at(TIME, speaks("speaker"));
    let outcome = office.run("on-the-wan", 1, None).expect("it can be built");
    let answers = |name| outcome.account.record::<Spoken>(name).answered_at.len();
    assert_eq!((answers("peer"), answers("speaker")), (3, 0), "{outcome}");
}

#[test]
fn calm_and_a_renumbering_reach_own_machines() {
    let office = speaking().at(TIME, renumber("192.0.2.0/24")).at(2 * TIME, calm());
    let outcome = office.run("told", 1, None).expect("it can be built");
    let spoken: &Spoken = outcome.account.record("speaker");
    assert!(spoken.was_calmed);
    assert_eq!(spoken.network.map(|network| network.to_string()).as_deref(), Some("192.0.2.0/24"));
}

#[test]
fn own_seeds_follow_the_runs_seed_and_leave_other_seeds_alone() {
    let seed =
        |run| *quiet().run("seeds", run, None).expect("it can be built").account.record::<u64>("parrot");
    assert_eq!(seed(1), seed(1));
    assert_ne!(seed(1), seed(2));
    let diary =
        |office: Office| office.run("luck", 1, None).expect("it can be built").account.pc("pc-0").clone();
    let alone = office().pcs(1).lasting(3 * TIME);
    assert_eq!(diary(quiet()), diary(alone));
}

/// Counts frames, and reports the third datagram as a violation.
#[derive(Default)]
struct NoThird(u8);

impl Checker for NoThird {
    fn name(&self) -> &'static str {
        "no-third"
    }

    fn promise(&self) -> &'static str {
        "there is no third word"
    }

    fn on_passage(&mut self, passage: &Passage<'_>) -> Result<(), String> {
        let is_word =
            passage.side == Side::Wan && passage.packet.udp().is_some_and(|(.., said)| said == b"word");
        self.0 += u8::from(is_word);
        if is_word && self.0 == 3 { Err("a third word".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn an_own_checker_watches_and_its_violation_fails_the_run() {
    let outcome = speaking().checker(|_| NoThird::default()).run("third", 1, None).expect("it can be built");
    assert!(!outcome.passed());
    let broken: Vec<_> =
        outcome.violations.iter().map(|broken| (broken.checker, broken.what.as_str())).collect();
    assert_eq!(broken, [("no-third", "a third word")]);
    assert_eq!(outcome.promises.last(), Some(&("no-third", "there is no third word")));
}
