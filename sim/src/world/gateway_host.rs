//! The gateway in the simulation: the production [`Worker`]s and services, with ports that are plugged
//! into segments, simulated clocks, and a disk that outlives crashes.
//!
//! One turmoil host runs five tasks: the driver of the workers, which takes turns like the event loops of `gatepost
//! run`, one worker at a time and only when its event loop would take a turn; the services; an auditor that requests
//! the gateway's reports, as `gatepost show` does, for the checkers; one that requests a reload when the file has
//! changed, as `gatepost reload` does; and one that requests pinholes. A crash drops all five at once. turmoil crashes
//! a host between two ticks; from the instant of a power failure nothing that the gateway still does in its tick gets
//! out.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gatepost::config::Config;
use gatepost::control::What;
use gatepost::device::{Abilities, Port, PortError, Received};
use gatepost::error::Error;
use gatepost::gateway::inspector::Inspector;
use gatepost::gateway::services::Services;
use gatepost::gateway::worker::Worker;
use gatepost::gateway::{self, Environment};
use gatepost_ground::{Instant, Offload, PortId};
use gatepost_services::clock::Clock;
use gatepost_services::crypto::tls::KeySource;
use gatepost_services::service::LocalFuture;
use gatepost_services::store::Disk;
use gatepost_services::wait::first_of;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::de::DeserializeOwned;

use super::administration::{self, Desk, Place};
use super::clock::{SimClock, TimeOfDay, now, sleep_until};
use super::config_file::{self, ConfigFile};
use super::disk::SimDisk;
use super::observer::Shared;
use super::pinholes::{self, PinholeWishes};
use super::pipe::Nic;
use super::power::Power;
use super::queues::Queues;
use super::segment::{Jack, SegmentId, any_readable};
use super::super_frames::{self, HandedOn, SuperFrames};
use super::wakeups::Wakeups;
use super::work::SimWork;
use crate::checkers::{Side, Sleeper, Snapshot, Way};

/// How often the auditor asks for the counters and the tables' sizes.
const AUDIT_INTERVAL: Duration = Duration::from_secs(1);
/// Every so many audits the flows are asked for one by one.
const FLOWS_EVERY_AUDITS: u64 = 10;

/// The most turns that the workers take at one instant. A flood takes some hundreds; a real gateway that turns on and
/// on keeps a core busy and does nothing.
const TURNS_AT_ONCE_MAX: u32 = 100_000;

/// A port of the gateway's, and where it is plugged in.
#[derive(Clone)]
pub struct Socket {
    /// Its name in the configuration.
    pub name: String,
    /// Which side of the gateway it is on.
    pub side: Side,
    /// The segment.
    pub segment: SegmentId,
    /// Its card and cable; they outlive crashes.
    pub nic: Rc<RefCell<Nic>>,
    /// Whether its card makes and cuts super-frames.
    pub has_super_frames: bool,
}

impl Socket {
    /// Its side and its segment.
    fn place(&self) -> (Side, SegmentId) {
        (self.side, self.segment)
    }
}

/// All that a gateway boots from.
#[derive(Clone)]
pub struct Setup {
    /// The configuration.
    pub file: Rc<ConfigFile>,
    /// The ports, in the configuration's order.
    pub sockets: Vec<Socket>,
    /// The other turmoil hosts.
    pub others: Vec<IpAddr>,
    /// The state that survives a crash.
    pub disk: Arc<SimDisk>,
    /// Whether it has power.
    pub power: Power,
    /// The pinholes that it is to open.
    pub pinholes: Rc<PinholeWishes>,
    /// The administrator's desk, which then has the configuration file in place of `file`.
    pub desk: Option<Rc<Desk>>,
    /// Its time of day.
    pub time_of_day: Rc<TimeOfDay>,
    /// Whether the gateway's code panics when it next has something to send.
    pub panics: Arc<AtomicBool>,
    /// The generator that each boot takes its own from.
    pub rng: Rc<RefCell<StdRng>>,
    /// The observer.
    pub observer: Shared,
}

/// Boots a gateway and runs it for ever.
///
/// # Errors
///
/// A service cannot use its settings, or breaks down.
pub async fn run(setup: Setup) -> turmoil::Result {
    setup.observer.borrow_mut().on_boot();
    let clock = Rc::new(SimClock::boot(Rc::clone(&setup.time_of_day)));
    setup.pinholes.clear();
    let config = match &setup.desk {
        Some(desk) => desk.boot()?,
        None => setup.file.read(),
    };
    let wakeups = Arc::new(Wakeups::new(config.system.workers));
    let (workers, services, queues) = boot(&setup, config.clone(), &clock, &wakeups);
    setup.observer.borrow_mut().on_configure(&config);
    let (inspector, reloader) = (services.inspector(), services.reloader());
    let commander = services.commander();
    let wires = plug_in(&setup, queues).await?;
    let administering = administer(&setup, &clock, &services, config);
    let Setup { power, observer, file, pinholes, .. } = setup;
    let audit = audit(inspector, power.clone(), Rc::clone(&observer));
    let openings = pinholes::open(commander, pinholes, Rc::clone(&observer));
    let reload = config_file::reload(reloader, file, Rc::clone(&observer));
    let mut driver = Driver::new(workers, clock, wakeups, wires, power, observer);
    let serving = async { services.run(|| (), std::future::pending()).await.map_err(Error::from) };
    first_of(
        serving,
        first_of(driver.drive(), first_of(reload, first_of(administering, first_of(audit, openings)))),
    )
    .await?;
    Ok(())
}

/// Carries out the requests of the administrator, if there is one.
fn administer(
    setup: &Setup,
    clock: &Rc<SimClock>,
    services: &Services,
    booted: Config,
) -> LocalFuture<'static, Result<(), Error>> {
    let Some(desk) = setup.desk.clone() else { return Box::pin(std::future::pending()) };
    let storage = Arc::clone(&setup.disk);
    let disk = Disk::new(Arc::clone(&storage) as _, Rc::new(SimWork::new(storage)));
    let (pages, reloader) = (services.pages(), services.reloader());
    let place = Place { pages, reloader, clock: Rc::clone(clock) as _, disk, booted };
    Box::pin(administration::administer(desk, place, Rc::clone(&setup.observer)))
}

fn boot(
    setup: &Setup,
    config: Config,
    clock: &Rc<SimClock>,
    wakeups: &Arc<Wakeups>,
) -> (Vec<Worker<SimPort>>, Services, Vec<SharedQueues>) {
    let (wakeups, panics) = (Arc::clone(wakeups), Arc::clone(&setup.panics));
    let environment = Environment {
        clock: Rc::clone(clock) as Rc<dyn Clock>,
        storage: Arc::clone(&setup.disk) as _,
        work: Rc::new(SimWork::new(Arc::clone(&setup.disk))),
        rng: StdRng::from_rng(&mut *setup.rng.borrow_mut()),
        keys: KeySource::Seed,
        wake_worker: Arc::new(move |worker| {
            assert!(!panics.load(Ordering::Relaxed), "the scenario wants a panic");
            wakeups.wake(worker);
        }),
    };
    let workers = config.system.workers;
    let queues = |_| Rc::new(RefCell::new(Queues::new(workers, &mut setup.rng.borrow_mut())));
    let queues: Vec<SharedQueues> = setup.sockets.iter().map(queues).collect();
    let ports = setup.sockets.iter().zip(&queues).map(|(socket, queues)| {
        let port = |queue| SimPort {
            socket: socket.clone(),
            queues: Rc::clone(queues),
            queue,
            card: socket.has_super_frames.then(SuperFrames::default),
            observer: Rc::clone(&setup.observer),
        };
        (socket.name.clone(), (0..workers).map(port).collect())
    });
    let (workers, services) = gateway::build(config, ports, environment);
    (workers, services, queues)
}

async fn plug_in(setup: &Setup, queues: Vec<SharedQueues>) -> turmoil::Result<Vec<Wire>> {
    let mut wires = Vec::new();
    for (socket, queues) in setup.sockets.iter().zip(queues) {
        let jack = Jack::plug_in(socket.segment, &setup.others).await?;
        wires.push(Wire { socket: socket.clone(), jack, queues });
    }
    Ok(wires)
}

/// The queues of one port.
type SharedQueues = Rc<RefCell<Queues>>;

/// A worker's queue of a port.
struct SimPort {
    socket: Socket,
    queues: SharedQueues,
    queue: u8,
    /// The offloads of the card, if it has them.
    card: Option<SuperFrames>,
    observer: Shared,
}

impl Port for SimPort {
    fn abilities(&self) -> Abilities {
        if self.card.is_some() { super_frames::ABILITIES } else { Abilities::NONE }
    }

    fn receive(&mut self, buffer: &mut [u8], rest: &mut [u8]) -> Result<Received, PortError> {
        let take = || self.queues.borrow_mut().pop(self.queue);
        let (frame, offload) = if let Some(card) = &mut self.card {
            let HandedOn { wire, frame, offload } = card.hand_on(take).ok_or(PortError::WouldBlock)?;
            for frame in &wire {
                self.observer.borrow_mut().at_gateway(now(), Way::In, self.socket.place(), frame);
            }
            (frame, offload)
        } else {
            let frame = take().ok_or(PortError::WouldBlock)?;
            self.observer.borrow_mut().at_gateway(now(), Way::In, self.socket.place(), &frame);
            (frame, Offload::None)
        };
        let (first, second) = frame.split_at(frame.len().min(buffer.len()));
        let second = &second[..second.len().min(rest.len())];
        buffer[..first.len()].copy_from_slice(first);
        rest[..second.len()].copy_from_slice(second);
        Ok(Received { len: first.len() + second.len(), offload })
    }

    fn transmit(&mut self, frame: &[u8], offload: Offload) -> Result<(), PortError> {
        for frame in super_frames::cut(frame, offload) {
            self.observer.borrow_mut().at_gateway(now(), Way::Out, self.socket.place(), &frame);
            self.socket.nic.borrow_mut().outward.push(now(), frame);
        }
        Ok(())
    }
}

/// A port's place on its segment.
struct Wire {
    socket: Socket,
    jack: Jack,
    queues: SharedQueues,
}

/// Drives the workers over simulated ports.
struct Driver {
    workers: Vec<Worker<SimPort>>,
    /// Which workers have something left to do from their last turn.
    unfinished: Vec<bool>,
    clock: Rc<SimClock>,
    wakeups: Arc<Wakeups>,
    wires: Vec<Wire>,
    power: Power,
    observer: Shared,
    /// The instant of the last round of turns, and how many rounds there were at it.
    turned: (Instant, u32),
}

impl Driver {
    /// Workers that are to take their first turns.
    fn new(
        workers: Vec<Worker<SimPort>>,
        clock: Rc<SimClock>,
        wakeups: Arc<Wakeups>,
        wires: Vec<Wire>,
        power: Power,
        observer: Shared,
    ) -> Self {
        let unfinished = vec![true; workers.len()];
        Self { workers, unfinished, clock, wakeups, wires, power, observer, turned: (Instant::ZERO, 0) }
    }

    /// Drives the workers for ever.
    ///
    /// # Errors
    ///
    /// They turn on and on at one instant.
    async fn drive(&mut self) -> Result<(), Error> {
        while self.power.is_on() {
            self.count_round()?;
            self.receive();
            let mut is_any_due = false;
            for number in 0..self.workers.len() {
                if self.is_due(number) {
                    self.unfinished[number] = self.workers[number].turn(self.clock.now());
                    is_any_due = true;
                }
            }
            self.send();
            if is_any_due {
                // Its services have their turn, and then the workers that were woken.
                tokio::task::yield_now().await;
            } else {
                self.wait().await;
                self.look_for_sleepers();
            }
        }
        // Without power nothing moves until the host crashes, when the tick ends.
        std::future::pending().await
    }

    /// Whether the event loop of the worker with this number would take a turn: it was woken, its queue of a port is
    /// readable, its deadline has come, or its last turn has left work.
    fn is_due(&self, number: usize) -> bool {
        let worker = &self.workers[number];
        let was_woken = self.wakeups.take(number);
        was_woken
            || self.unfinished[number]
            || worker.ports().is_readable()
            || worker.poll_timeout().is_some_and(|due| due <= self.clock.now())
    }

    /// Reports workers that would sleep although they have work, as no thread has woken them.
    fn look_for_sleepers(&self) {
        for (number, worker) in self.workers.iter().enumerate() {
            let has_work = worker.has_more() || worker.has_new_config();
            if has_work && !self.wakeups.is_woken(number) {
                self.observer.borrow_mut().on_oversleeping(now(), Sleeper::Worker(number));
            }
        }
    }

    fn count_round(&mut self) -> Result<(), Error> {
        let (at, turns) = self.turned;
        self.turned = if at == now() { (at, turns + 1) } else { (now(), 1) };
        if self.turned.1 <= TURNS_AT_ONCE_MAX {
            return Ok(());
        }
        let what = format!("the workers turn on and on at {at}");
        Err(Error::failed(what, self.what_is_due(), "find what stays due though it was worked off"))
    }

    /// Whatever has the workers take another turn at this instant.
    fn what_is_due(&self) -> String {
        let mut due = Vec::new();
        for (number, worker) in self.workers.iter().enumerate() {
            let timeouts = worker.timeouts().filter(|(_, due)| *due <= self.clock.now());
            due.extend(timeouts.map(|(what, at)| format!("worker {number} has {what} due since {at}")));
            due.extend(worker.has_more().then(|| format!("worker {number} has more to do")));
        }
        for Wire { socket: Socket { name, nic, .. }, .. } in &self.wires {
            let since = nic.borrow().poll_timeout().filter(|due| *due <= now());
            due.extend(since.map(|at| format!("a frame of {name} is due since {at}")));
        }
        if due.is_empty() { "nothing is due".to_owned() } else { due.join(", ") }
    }

    /// Takes frames from the segments, and notes for each worker which of its queues have got any.
    fn receive(&mut self) {
        for (port, wire) in (0..).map(PortId).zip(&self.wires) {
            let mut nic = wire.socket.nic.borrow_mut();
            while let Some(frame) = wire.jack.receive() {
                nic.inward.push(now(), frame);
            }
            for queue in wire.queues.borrow_mut().distribute(now(), || nic.inward.pop(now())) {
                self.workers[queue].ports_mut().set_readable(port);
            }
        }
    }

    /// Puts frames that are due on the segments.
    fn send(&self) {
        for Wire { socket, jack, .. } in &self.wires {
            while let Some(frame) = socket.nic.borrow_mut().outward.pop(now()) {
                self.observer.borrow_mut().on_segment(now(), socket.segment, &frame);
                jack.send(&frame);
            }
        }
    }

    async fn wait(&self) {
        let since = now();
        let worker_due = self.workers.iter().filter_map(Worker::poll_timeout).min();
        let worker_due = worker_due.map(|due| now() + due.since(self.clock.now()));
        let nics = self.wires.iter().filter_map(|wire| wire.socket.nic.borrow().poll_timeout());
        let deadline = worker_due.into_iter().chain(nics).min();
        let arrival = any_readable(self.wires.iter().map(|wire| &wire.jack));
        first_of(self.wakeups.any(), first_of(arrival, sleep_until(deadline))).await;
        // When time advances, every woken worker has had a turn.
        if now() > since && self.workers.iter().any(Worker::host_has_more) {
            self.observer.borrow_mut().on_oversleeping(now(), Sleeper::Services);
        }
    }
}

/// Gives the gateway's reports to the checkers, for ever.
async fn audit(inspector: Inspector, power: Power, observer: Shared) -> Result<(), Error> {
    let mut audits = 0_u64;
    loop {
        tokio::time::sleep(AUDIT_INTERVAL).await;
        audits += 1;
        let snapshot = Snapshot {
            status: ask(&inspector, What::Status).await?,
            counters: ask(&inspector, What::Counters).await?,
            leases: ask(&inspector, What::Leases).await?,
            neighbors: ask(&inspector, What::Neighbors).await?,
            services: ask(&inspector, What::Services).await?,
            flows: if audits.is_multiple_of(FLOWS_EVERY_AUDITS) {
                Some(ask(&inspector, What::Flows).await?)
            } else {
                None
            },
            now: now(),
        };
        if power.is_on() {
            observer.borrow_mut().on_snapshot(&snapshot);
        }
    }
}

async fn ask<T: DeserializeOwned>(inspector: &Inspector, what: What) -> Result<T, Error> {
    let failed = |why: String| Error::failed("the gateway does not report", why, "see its log");
    let report = inspector.report(what).await.map_err(|error| failed(error.to_string()))?;
    serde_json::from_value(report).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::link::perfect;
    use crate::world::observer::Observer;
    use crate::world::pipe::Pipe;

    /// What a tick comes to in which workers are driven, and a frame is due in a direction of a card's.
    fn drive(power: Power, direction: fn(&mut Nic) -> &mut Pipe) -> Result<(), String> {
        let mut sim = turmoil::Builder::new().build();
        sim.host("gateway", move || {
            let mut nic = Nic::new(&perfect(), 1, "lan0");
            direction(&mut nic).push(Instant::ZERO, vec![0; 60]);
            let nic = Rc::new(RefCell::new(nic));
            let segment = SegmentId(0);
            let (name, side, has_super_frames) = ("lan0".to_owned(), Side::Lan, false);
            let socket = Socket { name, side, segment, nic, has_super_frames };
            let power = power.clone();
            async move {
                let jack = Jack::plug_in(segment, &[]).await?;
                let clock = Rc::new(SimClock::boot(Rc::default()));
                let observer = Rc::new(RefCell::new(Observer::new(Vec::new(), None)));
                let mut rng = StdRng::seed_from_u64(1);
                let queues = Rc::new(RefCell::new(Queues::new(0, &mut rng)));
                let wires = vec![Wire { socket, jack, queues }];
                let wakeups = Arc::new(Wakeups::new(0));
                Driver::new(Vec::new(), clock, wakeups, wires, power, observer).drive().await?;
                Ok(())
            }
        });
        sim.step().map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_gateway_whose_power_has_failed_does_nothing_until_its_tick_ends() {
        let power = Power::on();
        assert_eq!(drive(power.clone(), |nic| &mut nic.outward), Ok(()));
        power.switch(false);
        assert_eq!(drive(power, |nic| &mut nic.outward), Ok(()), "the frame stays due");
    }

    #[test]
    fn workers_that_turn_on_and_on_at_one_instant_are_told_with_what_is_due() {
        // No worker takes the frame.
        let told = drive(Power::on(), |nic| &mut nic.inward).expect_err("time does not go on");
        assert!(told.contains("turn on and on at 0.000000s"), "{told}");
        assert!(told.contains("a frame of lan0 is due since 0.000000s"), "{told}");
    }
}
