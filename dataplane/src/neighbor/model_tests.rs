//! The table against a model: a list that is searched from end to end, with the rules written out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{LAN, WAN};
use super::*;

const NOW: Instant = Instant::from_secs(1000);
const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OUR_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const SOMEBODY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
/// More neighbours than a set has places, and some of other sets.
const CROWD: usize = WAYS + 3;
const HOSTS: usize = CROWD + 3;

type Host = (InterfaceId, Ipv4Addr);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The gateway has a frame for a host.
    Resolve { host: usize },
    /// A host says where it is; a lease says where it is to be.
    Hear { host: usize, mac: u8, how: How, is_copy: bool, holder: Option<u8> },
    /// The table does what is due.
    Timeout,
    /// Time goes on.
    Wait { millis: u64 },
    /// Every address of an interface is leased to one.
    Follow { interface: InterfaceId, mac: u8 },
    /// A interface has become another.
    Forget { interface: InterfaceId },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Answer,
    Question,
    Announcement,
}

/// What happened, with frames by their first octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Request(Host, Option<MacAddr>),
    Release(MacAddr, u8),
    Expired(Host, u8),
    Moved(Host, MacAddr, MacAddr),
    Refused(Host, MacAddr, MacAddr),
}

#[derive(Clone, Copy, Debug)]
enum ModelPhase {
    Incomplete { requests: u8, next: Instant },
    Known { until: Instant },
    Probe { requests: u8, next: Instant },
    Doubted { claim: ModelClaim, until: Instant },
    Contested { claim: ModelClaim, requests: u8, next: Instant },
    Unreachable { until: Instant },
}

#[derive(Clone, Copy, Debug)]
struct ModelClaim {
    claimant: MacAddr,
    is_copy: bool,
}

#[derive(Clone, Debug)]
struct ModelNeighbor {
    host: Host,
    set: usize,
    mac: MacAddr,
    phase: ModelPhase,
    used: Instant,
    /// When its last contest began.
    contested: Option<Instant>,
    held: Vec<u8>,
}

impl ModelNeighbor {
    fn state(&self, now: Instant) -> Option<State> {
        match self.phase {
            ModelPhase::Incomplete { .. } => Some(State::Incomplete),
            ModelPhase::Known { until } if now < until => Some(State::Reachable),
            ModelPhase::Known { .. } => Some(State::Stale),
            ModelPhase::Probe { .. } | ModelPhase::Doubted { .. } => Some(State::Probe),
            ModelPhase::Contested { .. } => Some(State::Contested),
            ModelPhase::Unreachable { until } => (now < until).then_some(State::Unreachable),
        }
    }

    fn shown(&self, now: Instant) -> Option<Neighbor> {
        let state = self.state(now)?;
        let is_known = !matches!(state, State::Incomplete | State::Unreachable);
        let ((interface, ip), mac) = (self.host, is_known.then_some(self.mac));
        Some(Neighbor { interface, ip: ip.into(), mac, state, held: self.held.len() })
    }
}

/// The time between two requests of a contest.
const THIRD: Duration = Duration::from_millis(100);

impl ModelNeighbor {
    fn claim(&mut self, now: Instant, claim: ModelClaim) {
        match (self.phase, self.contested.map(|began| began + Duration::from_secs(1))) {
            (ModelPhase::Doubted { .. } | ModelPhase::Contested { .. }, _) => {}
            (_, Some(from)) if from > now => self.phase = ModelPhase::Doubted { claim, until: from },
            _ => self.begin_contest(now, claim),
        }
    }

    fn begin_contest(&mut self, now: Instant, claim: ModelClaim) {
        self.contested = Some(now);
        let (requests, next) = if claim.is_copy { (1, now + THIRD) } else { (0, now) };
        self.phase = ModelPhase::Contested { claim, requests, next };
    }
}

#[derive(Default)]
struct Model(Vec<ModelNeighbor>);

impl Model {
    fn find(&mut self, host: Host) -> Option<&mut ModelNeighbor> {
        self.0.iter_mut().find(|neighbor| neighbor.host == host)
    }

    /// Adds a neighbour; in a full set it takes the place of the one that can best be spared, but of
    /// none that frames wait for.
    fn add(&mut self, now: Instant, host: Host, set: usize) -> Option<&mut ModelNeighbor> {
        let of_set = |neighbor: &&ModelNeighbor| neighbor.set == set;
        if self.0.iter().filter(of_set).count() == WAYS {
            let rank = |neighbor: &&ModelNeighbor| match neighbor.phase {
                ModelPhase::Unreachable { .. } => (1, neighbor.used),
                ModelPhase::Incomplete { .. } => (2, neighbor.used),
                ModelPhase::Known { .. }
                | ModelPhase::Probe { .. }
                | ModelPhase::Doubted { .. }
                | ModelPhase::Contested { .. } => (3, neighbor.used),
            };
            let spare = self.0.iter().filter(of_set).filter(|neighbor| neighbor.held.is_empty());
            let displaced = spare.min_by_key(rank)?.host;
            self.0.retain(|neighbor| neighbor.host != displaced);
        }
        let phase = ModelPhase::Incomplete { requests: 0, next: now };
        let (mac, contested, held) = (MacAddr::ZERO, None, Vec::new());
        self.0.push(ModelNeighbor { host, set, mac, phase, used: now, contested, held });
        self.0.last_mut()
    }

    fn resolve(&mut self, now: Instant, host: Host, set: usize, frame: u8) -> Resolution {
        let neighbor = if self.find(host).is_some() { self.find(host) } else { self.add(now, host, set) };
        let Some(neighbor) = neighbor else { return Resolution::TableFull };
        neighbor.used = now;
        match neighbor.state(now) {
            None => neighbor.phase = ModelPhase::Incomplete { requests: 0, next: now },
            Some(State::Stale) => neighbor.phase = ModelPhase::Probe { requests: 0, next: now },
            Some(_) => {}
        }
        match neighbor.phase {
            ModelPhase::Known { .. } | ModelPhase::Probe { .. } | ModelPhase::Doubted { .. } => {
                Resolution::Known(neighbor.mac)
            }
            ModelPhase::Unreachable { .. } => Resolution::Unreachable,
            _ if neighbor.held.len() == NeighborTable::HELD_EACH_MAX => Resolution::QueueFull,
            ModelPhase::Incomplete { .. } | ModelPhase::Contested { .. } => {
                neighbor.held.push(frame);
                Resolution::Held
            }
        }
    }

    fn hear(
        &mut self,
        now: Instant,
        (host, set): (Host, usize),
        mac: MacAddr,
        how: How,
        (is_copy, holder): (bool, Option<MacAddr>),
    ) -> Vec<Seen> {
        if let Some(holder) = holder.filter(|holder| *holder != mac) {
            return if is_copy { Vec::new() } else { vec![Seen::Refused(host, holder, mac)] };
        }
        let asks_us_anew = self.find(host).is_none() && matches!(how, How::Question);
        let neighbor = if asks_us_anew { self.add(now, host, set) } else { self.find(host) };
        let Some(neighbor) = neighbor else { return Vec::new() };
        let mut events = Vec::new();
        let has_address =
            !matches!(neighbor.phase, ModelPhase::Incomplete { .. } | ModelPhase::Unreachable { .. });
        let is_claim = has_address && neighbor.mac != mac;
        if is_claim && holder.is_none() {
            neighbor.claim(now, ModelClaim { claimant: mac, is_copy });
            return events;
        }
        match neighbor.phase {
            _ if is_claim && is_copy => {}
            _ if is_claim => events.push(Seen::Moved(host, neighbor.mac, mac)),
            ModelPhase::Doubted { claim, .. } | ModelPhase::Contested { claim, .. } if !claim.is_copy => {
                events.push(Seen::Refused(host, mac, claim.claimant));
            }
            _ => {}
        }
        let until = match (how, neighbor.phase) {
            (How::Announcement, ModelPhase::Known { .. } | ModelPhase::Unreachable { .. })
                if neighbor.mac != mac =>
            {
                now
            }
            (How::Announcement, ModelPhase::Known { until } | ModelPhase::Unreachable { until }) => until,
            _ => now + NeighborTable::REACHABLE,
        };
        neighbor.phase = ModelPhase::Known { until };
        neighbor.mac = mac;
        events.extend(neighbor.held.drain(..).map(|frame| Seen::Release(mac, frame)));
        events
    }

    fn timeout(&mut self, now: Instant) -> Vec<Seen> {
        let mut events = Vec::new();
        for neighbor in &mut self.0 {
            if let ModelPhase::Doubted { claim, until } = neighbor.phase
                && until <= now
            {
                neighbor.begin_contest(now, claim);
            }
            let (requests, next, unicast_to) = match &mut neighbor.phase {
                ModelPhase::Incomplete { requests, next } => (requests, next, None),
                ModelPhase::Probe { requests, next } => (requests, next, Some(neighbor.mac)),
                ModelPhase::Contested { claim, requests, next } => {
                    if *next > now {
                        continue;
                    }
                    if *requests < NeighborTable::REQUESTS_MAX {
                        *requests += 1;
                        *next = now + THIRD;
                        events.push(Seen::Request(neighbor.host, Some(neighbor.mac)));
                        continue;
                    }
                    let ModelClaim { claimant, is_copy } = *claim;
                    if !is_copy {
                        events.push(Seen::Moved(neighbor.host, neighbor.mac, claimant));
                    }
                    neighbor.mac = claimant;
                    neighbor.phase = ModelPhase::Known { until: now };
                    events.extend(neighbor.held.drain(..).map(|frame| Seen::Release(claimant, frame)));
                    continue;
                }
                ModelPhase::Known { .. } | ModelPhase::Doubted { .. } | ModelPhase::Unreachable { .. } => {
                    continue;
                }
            };
            if *next > now {
                continue;
            }
            if *requests < NeighborTable::REQUESTS_MAX {
                *requests += 1;
                *next = now + NeighborTable::RETRANSMISSION;
                events.push(Seen::Request(neighbor.host, unicast_to));
            } else {
                let pause = if unicast_to.is_some() { Duration::ZERO } else { NeighborTable::UNREACHABLE };
                neighbor.phase = ModelPhase::Unreachable { until: now + pause };
                events.extend(neighbor.held.drain(..).map(|frame| Seen::Expired(neighbor.host, frame)));
            }
        }
        events
    }

    fn follow(&mut self, now: Instant, interface: InterfaceId, mac: MacAddr) -> (u64, u64) {
        let (mut moved, mut refused) = (0, 0);
        for neighbor in &mut self.0 {
            let Some(known) = neighbor.shown(now).and_then(|shown| shown.mac) else { continue };
            if neighbor.host.0 != interface {
                continue;
            }
            if known == mac {
                if let ModelPhase::Doubted { claim, .. } | ModelPhase::Contested { claim, .. } =
                    neighbor.phase
                {
                    refused += u64::from(!claim.is_copy);
                    neighbor.phase = ModelPhase::Probe { requests: 0, next: now };
                }
                continue;
            }
            moved += 1;
            neighbor.mac = mac;
            neighbor.phase = if neighbor.held.is_empty() {
                ModelPhase::Known { until: now }
            } else {
                ModelPhase::Probe { requests: 0, next: now }
            };
        }
        (moved, refused)
    }

    fn forget(&mut self, interface: InterfaceId) -> Vec<Seen> {
        let (gone, left): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|neighbor| neighbor.host.0 == interface);
        self.0 = left;
        let expired = |neighbor: &ModelNeighbor| {
            let host = neighbor.host;
            neighbor.held.iter().map(move |frame| Seen::Expired(host, *frame)).collect::<Vec<_>>()
        };
        gone.iter().flat_map(expired).collect()
    }

    fn next(&self) -> Option<Instant> {
        let next = |neighbor: &ModelNeighbor| match neighbor.phase {
            ModelPhase::Incomplete { next, .. }
            | ModelPhase::Probe { next, .. }
            | ModelPhase::Doubted { until: next, .. }
            | ModelPhase::Contested { next, .. } => Some(next),
            ModelPhase::Known { .. } | ModelPhase::Unreachable { .. } => None,
        };
        self.0.iter().filter_map(next).min()
    }
}

/// Events of one neighbour in their order, neighbours in a defined one. `destinations` has the neighbour that
/// each frame is for.
fn sorted(mut events: Vec<Seen>, destinations: &BTreeMap<u8, Host>) -> Vec<Seen> {
    events.sort_by_key(|event| {
        let (interface, ip) = match event {
            Seen::Request(host, _)
            | Seen::Expired(host, _)
            | Seen::Moved(host, ..)
            | Seen::Refused(host, ..) => *host,
            Seen::Release(_, frame) => destinations[frame],
        };
        (interface.0, ip)
    });
    events
}

fn seen(event: &Event<'_>) -> Seen {
    match event {
        Event::SendRequest { interface, ip, unicast_to } => Seen::Request((*interface, *ip), *unicast_to),
        Event::Release { mac, frame, .. } => Seen::Release(*mac, frame.bytes()[0]),
        Event::Expired { interface, ip, frame } => Seen::Expired((*interface, *ip), frame.bytes()[0]),
        Event::Moved(claim) => Seen::Moved((claim.interface, claim.ip), claim.known, claim.claimant),
        Event::ClaimRefused(claim) => Seen::Refused((claim.interface, claim.ip), claim.known, claim.claimant),
    }
}

fn hosts(table: &NeighborTable) -> Vec<Host> {
    let all = || {
        let ips = (0..).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + n));
        ips.flat_map(|ip| [(LAN, ip), (WAN, ip)])
    };
    let index = |(interface, ip): Host| table.index(ip.on(interface));
    let crowd = all().filter(|host| index(*host) == index((LAN, SOMEBODY)));
    crowd.take(CROWD).chain(all().take(HOSTS - CROWD)).collect()
}

fn packet(ip: Ipv4Addr, mac: MacAddr, how: How) -> (arp::Packet, bool) {
    match how {
        How::Answer => (arp::Packet::request(US, OUR_IP, ip).reply(mac), true),
        How::Question => (arp::Packet::request(mac, ip, OUR_IP), true),
        How::Announcement => (arp::Packet::announcement(mac, ip), false),
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop::sample::select(vec![How::Answer, How::Answer, How::Question, How::Announcement]);
    let interface = prop::sample::select(vec![LAN, WAN]);
    let holder = prop::sample::select(vec![None, None, None, Some(1), Some(2)]);
    let millis = prop::sample::select(vec![1, 100, 100, 300, 400, 1000, 1000, 1700, 5000, 20_000, 60_000]);
    let step = prop_oneof![
        10 => (0..HOSTS).prop_map(|host| Step::Resolve { host }),
        8 => (0..HOSTS, 1..4_u8, how, any::<bool>(), holder).prop_map(|(host, mac, how, is_copy, holder)| {
            Step::Hear { host, mac, how, is_copy, holder }
        }),
        5 => Just(Step::Timeout),
        5 => millis.prop_map(|millis| Step::Wait { millis }),
        1 => (interface.clone(), 1..4_u8).prop_map(|(interface, mac)| Step::Follow { interface, mac }),
        1 => interface.prop_map(|interface| Step::Forget { interface }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn agrees_with_the_model(steps in steps()) {
        let mut table = NeighborTable::new([1, 2, 3, 4], 64);
        let hosts = hosts(&table);
        let set = |table: &NeighborTable, (interface, ip): Host| table.index(ip.on(interface));
        let mut model = Model::default();
        let mut destinations = BTreeMap::new();
        let mut now = NOW;
        for (step, number) in steps.into_iter().zip(1..) {
            now = now + Duration::from_micros(1); // no two neighbours were last used at one time
            let (mut events, mut expected) = (Vec::new(), Vec::new());
            let mut collect = |event: Event<'_>| events.push(seen(&event));
            match step {
                Step::Wait { millis } => now = now + Duration::from_millis(millis),
                Step::Resolve { host } => {
                    let (interface, ip) = hosts[host];
                    let mut frame = Frame::with_capacity(64);
                    destinations.insert(number, hosts[host]);
                    frame.buffer_mut()[0] = number;
                    frame.set_len(1);
                    let resolution = table.resolve(now, interface, ip, &mut frame);
                    prop_assert_eq!(resolution, model.resolve(now, hosts[host], set(&table, hosts[host]), number));
                }
                Step::Hear { host, mac, how, is_copy, holder } => {
                    let (interface, ip) = hosts[host];
                    let mac_of = |number| MacAddr([2, 0, 0, 0, 1, number]);
                    let (mac, holder) = (mac_of(mac), holder.map(mac_of));
                    let (packet, is_for_us) = packet(ip, mac, how);
                    table.handle_arp(now, interface, &packet, ArpContext { is_for_us, is_copy, holder }, &mut collect);
                    let host = (hosts[host], set(&table, hosts[host]));
                    expected = model.hear(now, host, mac, how, (is_copy, holder));
                }
                Step::Timeout => {
                    table.handle_timeout(now, &mut collect);
                    expected = model.timeout(now);
                    prop_assert!(table.poll_timeout().is_none_or(|due| due > now));
                }
                Step::Follow { interface, mac } => {
                    let mac = MacAddr([2, 0, 0, 0, 1, mac]);
                    let moved = table.follow_holders(now, interface, |_, _| Some(mac));
                    prop_assert_eq!(moved, model.follow(now, interface, mac));
                }
                Step::Forget { interface } => {
                    table.forget(|gone, _| gone == interface, &mut collect);
                    expected = model.forget(interface);
                }
            }
            prop_assert_eq!(sorted(events, &destinations), sorted(expected, &destinations));
            let is_early_enough = table.poll_timeout().is_some_and(|due| Some(due) <= model.next());
            prop_assert!(model.next().is_none() || is_early_enough);
            for host in &hosts {
                let shown = model.find(*host).and_then(|neighbor| neighbor.shown(now));
                let mac = shown.and_then(|neighbor| neighbor.mac);
                let is_fresh =
                    shown.is_some_and(|neighbor| !matches!(neighbor.state, State::Stale | State::Contested));
                prop_assert_eq!(table.last_known(now, host.0, host.1), mac);
                prop_assert_eq!(table.lookup(now, host.0, host.1), mac.filter(|_| is_fresh));
            }
        }
        let by_host = |mut shown: Vec<Neighbor>| {
            shown.sort_by_key(|neighbor| (neighbor.interface, neighbor.ip));
            shown
        };
        let expected = model.0.iter().filter_map(|neighbor| neighbor.shown(now)).collect();
        prop_assert_eq!(by_host(table.neighbors(now).map(Neighbor::of_any_family).collect()), by_host(expected));
    }
}
